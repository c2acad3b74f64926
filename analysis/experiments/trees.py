"""C16: networks on latent trees, Table 2 and Figures 9 and 10 of DD claim by claim (R210–R212)."""

from __future__ import annotations

from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from analysis.experiments.experiment import Curve, Effort, Experiment, Measurement, Outcome, at_most
from analysis.experiments.seeds import along_training, clearly_above, said
from analysis.runs.trees import TreeRuns, drawn_trees, trained_on_trees

EVALUATED = 2048
"""Samples that a correlation is measured on, as `train_tree_networks` takes them."""
PRINTED = {0.7: 0.88, 0.8: 0.87, 0.9: 0.95}
"""DD Table 2, five units per latent after 20 epochs, by δ."""
UNITS = 5
"""Units per latent where nothing else is said."""
EARLY = 25
"""The first steps, in which most of the rise happens."""

Key = tuple[int, int, float]
"""Height, units per latent and δ."""


class Plan(NamedTuple):
    """What is trained.

    Parameters
    ----------
    n_seeds
        Trees of each kind, with a network each.
    n_starts
        Trees for the first steps, at the middle δ: starts vary by an order of magnitude, and many units are off.
    height
        L of Table 2.
    units, lows
        |N_μ|, and δ: polarities are uniform on [δ, 1].
    heights
        Heights that are compared at five units and the middle δ.
    records
        Steps at which is measured.
    """

    n_seeds: int
    n_starts: int
    height: int
    units: tuple[int, ...]
    lows: tuple[float, ...]
    heights: tuple[int, ...]
    records: tuple[int, ...]

    @property
    def middle(self) -> float:
        """The δ that figures show."""
        return self.lows[len(self.lows) // 2]

    @property
    def keys(self) -> list[Key]:
        """What is trained for Table 2."""
        return [(self.height, units, low) for units, low in product(self.units, self.lows)]

    @property
    def first_keys(self) -> list[tuple[int, int]]:
        """Height and units of what is followed for the first steps, once each."""
        wanted = [
            *((height, UNITS) for height in self.heights),
            *((self.height, units) for units in self.units),
        ]
        return list(dict.fromkeys(wanted))


FULL = Plan(
    30, 240, 5, (2, UNITS, 10), (0.7, 0.8, 0.9), (3, 4, 5), (0, 5, 10, 15, 20, EARLY, 50, 100, 200, 500)
)
QUICK = Plan(128, 128, 3, (UNITS,), (0.7, 0.9), (3,), (0, EARLY, 50))


def table(plan: Plan, runs: dict[Key, TreeRuns], first: dict[tuple[int, int], TreeRuns]) -> list[Measurement]:
    """What Table 2 says of correlations with the root, as fractions of the ceiling of the same draw."""
    found = []
    for units in plan.units:
        share = first[plan.height, units].fractions
        name = f"|N| = {units}: correlation over ceiling after {EARLY} steps, less start"
        found.append(clearly_above(name, share[:, 1], share[:, 0]))
    for few, many in pairwise(plan.units):
        ends = [
            np.mean([runs[plan.height, units, low].fractions[:, -1] for low in plan.lows], axis=0)
            for units in (many, few)
        ]
        found.append(clearly_above(f"correlation over ceiling at the end, |N| = {many} less {few}", *ends))
    for low, high in pairwise(plan.lows):
        ends = [runs[plan.height, UNITS, delta].correlations[:, -1] for delta in (high, low)]
        found.append(clearly_above(f"correlation at the end, δ = {high:g} less {low:g}", *ends))
    excess = max(
        float(np.max((one.correlations - one.ceilings[:, None]) * np.sqrt(EVALUATED) / _spread(one)))
        for one in runs.values()
    )
    name = "largest correlation less Bayes ceiling of its tree, in standard errors of its samples"
    note = f"R205: no function of the leaves exceeds it; 5 standard errors of {EVALUATED} samples"
    return [*found, at_most(name, 0.0, excess, note, slack=5.0)]


def _spread(one: TreeRuns) -> np.ndarray:
    """√samples times the standard error of a correlation c, 1 − c²."""
    return 1 - np.minimum(one.correlations, 1 - 1e-6) ** 2


def operators(
    plan: Plan, runs: dict[Key, TreeRuns], first: dict[tuple[int, int], TreeRuns]
) -> list[Measurement]:
    """What Figures 9 and 10 say of ‖OP‖, and what they do not: log10, J before the normaliser but where said."""
    early = plan.records.index(EARLY)
    found = []
    for height in plan.heights:
        root = first[height, UNITS].logarithms(0)
        name = f"L = {height}: log10 ‖OP‖ of the root after {EARLY} steps, less start"
        found.append(clearly_above(name, root[:, 1], root[:, 0]))
    shown = runs[plan.height, UNITS, plan.middle]
    for above, below in pairwise(range(plan.height)):
        ends = [shown.logarithms(level)[:, -1] for level in (above, below)]
        found.append(clearly_above(f"log10 ‖OP‖ at the end, level {above} less level {below}", *ends))
    for low, high in pairwise(plan.lows):
        starts = [runs[plan.height, UNITS, delta].logarithms(0)[:, 0] for delta in (high, low)]
        found.append(
            clearly_above(f"log10 ‖OP‖ of the root at the start, δ = {high:g} less {low:g}", *starts)
        )
    for few, many in pairwise(plan.units):
        starts = [runs[plan.height, units, plan.middle].logarithms(0)[:, 0] for units in (many, few)]
        found.append(clearly_above(f"log10 ‖OP‖ of the root at the start, |N| = {many} less {few}", *starts))
    for low_tree, high_tree in pairwise(plan.heights):
        starts = [first[height, UNITS].logarithms(1)[:, 0] for height in (low_tree, high_tree)]
        name = f"log10 ‖OP‖ below the root at the start, L = {low_tree} less {high_tree}"
        found.append(clearly_above(name, *starts))
    for level in range(1, plan.height):
        norms = shown.logarithms(level, normalised=True)
        name = f"level {level}: log10 ‖OP‖ with J of the normalised output, start less {EARLY} steps"
        found.append(clearly_above(name, norms[:, 0], norms[:, early]))
    factors = shown.run.levels[-1].data_factor
    change = float(np.max(np.abs(factors - factors[:, :1]) / factors[:, :1]))
    note = "R211: a constant of the data; all records are taken on the same leaves"
    return [
        *found,
        at_most("relative change of the data factor at the lowest level", 0.0, change, note, slack=1e-12),
    ]


def curves(plan: Plan, runs: dict[Key, TreeRuns]) -> list[Curve]:
    """Correlations over ceilings by δ, and ‖OP‖ by level."""
    steps = np.array(plan.records)
    found = []
    for low, units in product(plan.lows, plan.units):
        share = runs[plan.height, units, low].fractions
        panel = f"root, L = {plan.height}, δ = {low:g}"
        found.append(along_training(panel, f"|N| = {units}", steps, share, "correlation / ceiling"))
    for level in range(plan.height):
        norms = runs[plan.height, UNITS, plan.middle].logarithms(level)
        panel = f"|N| = {UNITS}, δ = {plan.middle:g}"
        found.append(along_training(panel, f"level {level}", steps, norms, "log10 ‖OP‖"))
    return found


def run(effort: Effort) -> Outcome:
    """Train networks on trees of their own, and measure correlations and covariance operators (R210–R212)."""
    from dynamics.training.tree_networks import TreeNetworkSettings

    plan = QUICK if effort.quick else FULL

    def trained(key: Key, n_seeds: int, records: tuple[int, ...]) -> TreeRuns:
        height, units, low = key
        trees = drawn_trees(n_seeds, height, low, seed=effort.seed)
        return trained_on_trees(TreeNetworkSettings(units=units), trees, records, seed=effort.seed)

    total = len(plan.keys) + len(plan.first_keys)
    runs: dict[Key, TreeRuns] = {}
    for key in plan.keys:
        runs[key] = trained(key, plan.n_seeds, plan.records)
        effort.report(len(runs), total)
    first: dict[tuple[int, int], TreeRuns] = {}
    for height, units in plan.first_keys:
        first[height, units] = trained((height, units, plan.middle), plan.n_starts, (0, EARLY))
        effort.report(len(runs) + len(first), total)
    lines = [
        f"δ = {low:g}: {said(one.correlations[:, -1])} of {said(one.ceilings)}"
        + (f" (printed {PRINTED[low]})" if low in PRINTED and not effort.quick else "")
        for low in plan.lows
        for one in [runs[plan.height, UNITS, low]]
    ]
    reason = (
        "the source gives neither optimiser, step, batch, weights, coding of leaves nor the J of its figures; here SGD "
        f"0.1, batch 128, σ_w = √2, leaves 0 and 1, {plan.records[-1]} steps, {plan.n_seeds} seeds. Correlation of the "
        f"root at the end and its Bayes ceiling, |N| = {UNITS}, mean ± standard error: " + "; ".join(lines)
    )
    return Outcome(
        (*table(plan, runs, first), *operators(plan, runs, first)), tuple(curves(plan, runs)), reason
    )


EXPERIMENTS = (
    Experiment(
        "C16",
        "Networks on latent trees",
        "Correlations of the root with its best unit rise in the first steps, with units per latent and with polarity,"
        " and stay below the Bayes ceiling of their tree (R205, R208). ‖OP‖ of the root rises, and after training falls"
        " level by level from the root down; lower levels need not grow (R211, R212).",
        run,
    ),
)
