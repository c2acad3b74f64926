"""Pages `table-2` and `figure-9`: rectified networks on latent trees, what their units learn and how fast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.runs.trees import drawn_trees, trained_on_trees
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import is_narrow, panels
from figures.panels.tree_networks import draw_correlations, draw_operator_norms
from figures.style import style

PRINTED = {
    2: {0.7: (0.51, 0.69, 0.76), 0.8: (0.65, 0.76, 0.79), 0.9: (0.81, 0.85, 0.86)},
    5: {0.7: (0.60, 0.72, 0.88), 0.8: (0.73, 0.80, 0.87), 0.9: (0.87, 0.90, 0.95)},
}
"""DD Table 2 by units and δ: at the start, after 1 epoch and after 20, of a length that is not given."""
_UNSTATED = (
    "The source gives neither optimiser, step, batch, weights nor coding of the leaves: here plain SGD, weights "
    "uniform with variance σ_w²/fan-in, leaves 0 and 1, SimCLR with one negative and normalised outputs"
)


@dataclass(frozen=True, eq=False)
class TreeTable:
    """Correlations of the root with its best unit.

    Parameters
    ----------
    parameters
        As given.
    steps
        At the start, early and at the end, shape (3,).
    correlations
        Shape (units, δ, n_seeds, 3).
    ceilings
        Bayes ceiling of each tree, shape (δ, n_seeds).
    """

    parameters: dict[str, Any]
    steps: np.ndarray
    correlations: np.ndarray
    ceilings: np.ndarray


@dataclass(frozen=True, eq=False)
class OperatorNorms:
    """Norms of covariance operators over steps.

    Parameters
    ----------
    parameters
        As given.
    steps
        Shape (T,).
    norms, normalised
        ‖OP‖ averaged over the latents of a level, with J of the output before its normaliser and after it, shape
        (levels, n_seeds, T).
    """

    parameters: dict[str, Any]
    steps: np.ndarray
    norms: np.ndarray
    normalised: np.ndarray


def compute_table_2(
    *,
    n_seeds: int = 8,
    height: int = 5,
    units: tuple[int, ...] = (2, 5),
    lows: tuple[float, ...] = (0.7, 0.8, 0.9),
    early: int = 25,
    steps: int = 100,
    learning_rate: float = 0.1,
    batch: int = 128,
    weight_std: float = math.sqrt(2),
    temperature: float = 0.1,
    seed: int = 0,
) -> TreeTable:
    """Train networks on trees of their own, and measure how well the root is told by its best unit (R205, R212).

    Parameters
    ----------
    n_seeds, seed
        Number of trees per δ, with a network each, and the first seed; the source has 30.
    height
        L, edges from the root to a leaf of complete binary trees.
    units
        |N_μ|, units per latent.
    lows
        δ: polarities are uniform on [δ, 1].
    early, steps
        Steps after which is measured.
    learning_rate, batch
        Step of SGD > 0, and triples per step.
    weight_std
        σ_w > 0; with normalised outputs it is a scale of the step (R211).
    temperature
        τ > 0.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> compute_table_2(n_seeds=2, height=1, units=(2,), lows=(0.8,), early=1, steps=2).correlations.shape
    (1, 1, 2, 3)
    """
    from dynamics.training.tree_networks import TreeNetworkSettings

    parameters = {**locals()}
    parameters.pop("TreeNetworkSettings")
    if not (units and lows):
        raise ValueError(f"`units` and `lows` must not be empty, got {units} and {lows}")
    if not 0 < early < steps:
        raise ValueError(f"`early` must be >= 1 and < {steps}, the steps, got {early}")
    records = (0, early, steps)
    found = [
        [
            trained_on_trees(
                TreeNetworkSettings(
                    units=count,
                    learning_rate=learning_rate,
                    batch=batch,
                    weight_std=weight_std,
                    temperature=temperature,
                ),
                drawn_trees(n_seeds, height, low, seed=seed),
                records,
                seed=seed,
            )
            for low in lows
        ]
        for count in units
    ]
    return TreeTable(
        parameters,
        np.array(records),
        np.array([[one.correlations for one in row] for row in found]),
        np.array([one.ceilings for one in found[0]]),
    )


def draw_table_2(found: TreeTable) -> Figure:
    """One panel per number of units: bars by δ, the ceilings, and what the source prints where it has the same."""
    with style():
        units, lows = found.parameters["units"], found.parameters["lows"]
        n = found.correlations.shape[2]
        ends = found.correlations[..., -1]
        rises = bool(np.all(np.mean(ends - found.correlations[..., 0], axis=-1) > 0))
        headline = (
            "The root's best unit "
            + ("learns, and stays below" if rises else "stays below")
            + " the Bayes ceiling"
        )
        figure, axes = panels(headline, len(units), columns=len(units), aspect=0.7 if is_narrow() else 0.85)
        times = ["start", *(f"{step} steps" for step in found.steps[1:])]
        for ax, count, values in zip(axes, units, found.correlations, strict=True):
            known = PRINTED.get(count, {})
            printed = np.array([known[low] for low in lows]) if all(low in known for low in lows) else None
            errors = values.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else np.zeros(values[:, 0].shape)
            draw_correlations(
                ax, lows, times, values.mean(axis=1), errors, found.ceilings.mean(axis=1), printed
            )
            ax.set_title(f"$|N_\\mu| = {count}$")
            ax.set_xlabel(r"$\delta$, of polarities in $[\delta, 1]$")
        axes[0].set_ylabel("correlation with the root")
        legend_below(figure, axes[0].get_legend_handles_labels()[0])
        return figure


def caption_table_2(found: TreeTable) -> str:
    """Say what was trained, and how far from the ceiling it ends."""
    share = (found.correlations[..., -1] / found.ceilings).mean(axis=-1)
    said = "; ".join(
        f"|N| = {count}: "
        + ", ".join(
            f"{one:.2f} at δ = {low:g}" for low, one in zip(found.parameters["lows"], row, strict=True)
        )
        for count, row in zip(found.parameters["units"], share, strict=True)
    )
    ceilings = ", ".join(f"{one:.3f}" for one in found.ceilings.mean(axis=1))
    return (
        "Largest correlation of the root of a binary latent tree with one of its units, means over trees with "
        f"standard errors; {described(found.parameters)}. Lines are the mean Bayes ceilings of the same trees (R205), "
        f"{ceilings}, which no function of the leaves exceeds. Share of it at the end, {said}. Diamonds are what the "
        f"source prints for its own draws after 0, 1 and 20 epochs. {_UNSTATED} (R212)."
    )


def compute_figure_9(
    *,
    n_seeds: int = 8,
    height: int = 4,
    units: int = 5,
    low: float = 0.8,
    steps: int = 50,
    learning_rate: float = 0.1,
    batch: int = 128,
    weight_std: float = math.sqrt(2),
    temperature: float = 0.1,
    seed: int = 0,
) -> OperatorNorms:
    """Train networks on trees of their own, and follow the norms of their covariance operators (R211, R212).

    Parameters
    ----------
    n_seeds, seed, height, learning_rate, batch, weight_std, temperature
        As for `compute_table_2`.
    units
        |N_μ|, units per latent.
    low
        δ: polarities are uniform on [δ, 1].
    steps
        Steps, an integer >= 10; the source shows 50 iterations.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> compute_figure_9(n_seeds=2, height=2, units=2, steps=10).norms.shape
    (2, 2, 11)
    """
    from dynamics.training.tree_networks import TreeNetworkSettings

    parameters = {**locals()}
    parameters.pop("TreeNetworkSettings")
    if steps < 10:
        raise ValueError(f"`steps` must be >= 10, got {steps}")
    settings = TreeNetworkSettings(
        units=units, learning_rate=learning_rate, batch=batch, weight_std=weight_std, temperature=temperature
    )
    records = np.unique(np.linspace(0, steps, 11).astype(int)).tolist()
    run = trained_on_trees(settings, drawn_trees(n_seeds, height, low, seed=seed), records, seed=seed).run
    return OperatorNorms(
        parameters,
        run.steps,
        np.array([level.covariance_norm.mean(axis=2) for level in run.levels]),
        np.array([level.normalised_covariance_norm.mean(axis=2) for level in run.levels]),
    )


def draw_figure_9(found: OperatorNorms) -> Figure:
    """‖OP‖ by level over steps: with J of the output before its normaliser on the left, after it on the right."""
    with style():
        rises = bool(np.median(found.norms[0, :, -1] / found.norms[0, :, 0]) > 1)
        headline = (
            "The covariance operator "
            + ("grows" if rises else "does not grow")
            + " at the root; which J decides the rest"
        )
        figure, axes = panels(headline, 2, columns=2)
        for ax, norms, title in zip(
            axes, (found.norms, found.normalised), ("$J$ of $f$", r"$J$ of $f / \Vert f \Vert$"), strict=True
        ):
            draw_operator_norms(ax, found.steps, norms)
            ax.set_title(title)
            ax.set_xlabel("gradient steps")
        axes[0].set_ylabel(r"$\Vert \mathrm{OP} \Vert_F$")
        legend_below(figure, axes[0].get_legend_handles_labels()[0])
        return figure


def caption_figure_9(found: OperatorNorms) -> str:
    """Say what was trained, and where the norms go."""

    def moves(norms: np.ndarray) -> str:
        middle = np.median(norms, axis=1)
        return ", ".join(
            f"{first:.2g} to {last:.2g}" for first, last in zip(middle[:, 0], middle[:, -1], strict=True)
        )

    return (
        "Frobenius norms of the covariance operators of networks on binary latent trees, averaged over the latents of "
        f"a level, medians and middle halves of the runs; {described(found.parameters)}. With J of the output before "
        f"its normaliser, from the root down, {moves(found.norms)}; with J of the normalised output "
        f"{moves(found.normalised)}. The first is of degree 2(L − 1) in σ_w and the second of degree −2, and at the "
        "lowest level the factor of the data is constant (R211); the source does not say which one it shows. "
        f"{_UNSTATED} (R212)."
    )


TABLE_2 = Page(
    "table-2",
    "Correlations of the root of a latent tree with its best unit (DD Table 2)",
    compute_table_2,
    draw_table_2,
    caption_table_2,
)
"""What units learn of the root, beside what can be learned."""

FIGURE_9 = Page(
    "figure-9",
    "Norms of covariance operators on a latent tree (DD Figures 9 and 10)",
    compute_figure_9,
    draw_figure_9,
    caption_figure_9,
)
"""Which layers learn."""
