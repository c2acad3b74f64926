"""C8: predictors that are set from the features' spectrum do as well as one that is trained (R22)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from analysis.experiments.experiment import Effort, Experiment, Measurement, Outcome
from analysis.experiments.seeds import along_training, network, not_below, said, seeds_of, trained
from dynamics.fields.predictors import DIRECT_OPTIONS

QUICK_OPTIONS = ("sqrt-0.1", "normalised-set-0.1")
AVERAGES = (0.3, 0.5, 0.998)
"""ρ of the published running averages of F̂."""
REFRESHES = (1, 5)
"""Steps between two settings of P in published codes."""


def trained_predictor(effort: Effort) -> np.ndarray:
    """Probe accuracy along training with a linear predictor that gradients move, shape (n_seeds, T)."""
    return trained(network(effort), seeds_of(effort)).metrics["probe_accuracy"]


class Found(NamedTuple):
    """Probe accuracy along training (n_seeds, T), and the least over the largest eigenvalue of P at the end."""

    accuracy: np.ndarray
    evenness: float


def set_predictors(effort: Effort) -> dict[str, Found]:
    """Train with each published predictor, and with each ρ and interval of one of them."""
    seeds = seeds_of(effort)
    cases: dict[str, dict[str, Any]] = {
        name: {"option": name} for name in (QUICK_OPTIONS if effort.quick else DIRECT_OPTIONS)
    }
    if not effort.quick:
        first = {"option": QUICK_OPTIONS[0]}
        cases |= {f"{QUICK_OPTIONS[0]}, ρ = {rho:g}": first | {"average": rho} for rho in AVERAGES[1:]}
        cases |= {f"{QUICK_OPTIONS[0]}, every {n} steps": first | {"refresh": n} for n in REFRESHES[1:]}
    found = {}
    for index, (name, options) in enumerate(cases.items()):
        run = trained(network(effort, predictor={"kind": "direct", **options}), seeds)
        p = run.metrics["predictor_eigenvalues"][:, -1, :, 0]
        evenness = float(np.mean(np.min(p, axis=1) / np.max(p, axis=1)))
        found[name] = Found(run.metrics["probe_accuracy"], evenness)
        effort.report(index + 1, len(cases))
    return found


def as_good(name: str, found: Found, reference: np.ndarray) -> Measurement:
    """Measure that a predictor that is set gives a probe accuracy not below the trained predictor's."""
    accuracy = found.accuracy
    measured = not_below(name, accuracy[:, -1], reference[:, -1])
    return Measurement(
        name=f"{name}: probe accuracy",
        predicted=f"not below the trained predictor, {said(reference[:, -1])}",
        measured=f"{said(accuracy[:, -1])}; random encoder {said(accuracy[:, 0])};"
        f" eigenvalues of P from {found.evenness:.2f} to 1 of the largest",
        tolerance=measured.tolerance,
        holds=measured.holds,
        note=measured.note,
        relation=measured.relation,
    )


def run(effort: Effort) -> Outcome:
    """Train with every published predictor on the same starts and batches."""
    reference = trained_predictor(effort)
    found = set_predictors(effort)
    measurements = [as_good(name, one, reference) for name, one in found.items()]
    steps = trained(network(effort), seeds_of(effort)).steps
    families: dict[str, dict[str, np.ndarray]] = {}
    for name, one in found.items():
        families.setdefault(_family(name), {"trained": reference})[name] = one.accuracy
    curves = [
        along_training(family, name, steps, accuracy, "held-out accuracy")
        for family, accuracies in families.items()
        for name, accuracy in accuracies.items()
    ]
    failed = [name for name, m in zip(found, measurements, strict=True) if not m.holds]
    reason = ""
    if failed:
        reason = (
            f"short of the trained predictor: {', '.join(failed)}. A rule that adds ε max s to √s depends on the scale"
            " of the features: where they are large P nears a multiple of I, which is no predictor (R11); rules on"
            " s/max s do not"
        )
    return Outcome(tuple(measurements), tuple(curves), reason)


def _family(name: str) -> str:
    """Rules that differ in ε alone, or in how F̂ and P are kept up to date."""
    option, comma, _ = name.partition(",")
    return f"{option}, otherwise averaged" if comma else option.partition("-0.")[0]


EXPERIMENTS = (
    Experiment(
        "C8",
        "DirectPred and DirectSet",
        "a predictor set from the spectrum of the features does what gradients would make it do: the probe is as good"
        " as with a trained one (R22)",
        run,
        data="classes",
    ),
)
