"""Does training agree with theory: the experiments of `dyn confirm`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from analysis.experiments import (
    ablations,
    alignment,
    balance,
    circles,
    collapse,
    depth,
    direct,
    explosion,
    fate_map,
    flow_limit,
    infonce,
    mirrored,
    moment_losses,
    noise,
    normalisation,
    objectives,
    resonance,
    restarts,
    steps,
    stepwise,
    trees,
    two_layers,
    weight_decay,
)
from analysis.experiments.experiment import (
    Curve,
    Effort,
    Experiment,
    Measurement,
    Outcome,
    at_least,
    at_most,
    compare,
)
from analysis.experiments.seeds import images, views
from analysis.results.registry import Verdict

__all__ = [
    "EXPERIMENTS",
    "Confirmation",
    "Curve",
    "Effort",
    "Experiment",
    "Measurement",
    "Outcome",
    "Verdict",
    "at_least",
    "at_most",
    "compare",
    "confirm",
]

_MODULES = (
    flow_limit,
    fate_map,
    collapse,
    resonance,
    balance,
    weight_decay,
    alignment,
    direct,
    mirrored,
    objectives,
    ablations,
    stepwise,
    explosion,
    two_layers,
    infonce,
    restarts,
    trees,
    normalisation,
    depth,
    steps,
    noise,
    moment_losses,
    circles,
)

EXPERIMENTS: dict[str, Experiment] = {
    experiment.id: experiment
    for experiment in sorted(
        (experiment for module in _MODULES for experiment in module.EXPERIMENTS),
        key=lambda experiment: int(experiment.id[1:]),
    )
}
"""All experiments by id, in order."""


@dataclass(frozen=True)
class Confirmation:
    """An experiment with what it found, how long that took, and the data in place of digits, if any."""

    experiment: Experiment
    outcome: Outcome
    seconds: float
    data: str | None = None

    @property
    def decisive(self) -> Measurement | None:
        """The first measurement that disagrees, else the first of all; None where nothing was measured."""
        measurements = self.outcome.measurements
        return next((m for m in measurements if not m.holds), measurements[0] if measurements else None)

    def report(self) -> dict[str, Any]:
        """Return the confirmation as a dictionary of plain values, as `dyn confirm --json` prints it.

        ``predicted``, ``relation``, ``measured``, ``tolerance`` are those of the decisive measurement, named by
        ``quantity``.
        """
        measurements = [m.report() for m in self.outcome.measurements]
        decisive = self.decisive.report() if self.decisive is not None else {}
        return {
            "id": self.experiment.id,
            "title": self.experiment.title,
            "prediction": self.experiment.prediction,
            "data": self.data,
            "quantity": decisive.get("name"),
            "predicted": decisive.get("predicted"),
            "relation": decisive.get("relation"),
            "required": decisive.get("required"),
            "measured": decisive.get("measured"),
            "tolerance": decisive.get("tolerance"),
            "verdict": str(self.outcome.verdict),
            "reason": self.outcome.reason,
            "seconds": self.seconds,
            "measurements": measurements,
        }


def confirm(experiment: Experiment, effort: Effort | None = None) -> Confirmation:
    """Make an experiment: train, and put what training did beside what theory predicts.

    Parameters
    ----------
    experiment
        One of `EXPERIMENTS`.
    effort
        How much work it may do; the full version with seed 0 when left out.

    Returns
    -------
    Confirmation
        Its `outcome.verdict` is holds | violated | not-applicable, and `report()` its JSON. Runs that diverge
        show up as measurements that disagree.

    Raises
    ------
    ValueError
        Data are given to an experiment that takes none, or data without classes to one whose probe needs them.
    """
    began = time.perf_counter()
    effort = effort or Effort()
    check_data(experiment, effort)
    outcome = experiment.run(effort)
    return Confirmation(experiment, outcome, time.perf_counter() - began, effort.data)


def check_data(experiment: Experiment, effort: Effort) -> None:
    """Refuse data that an experiment does not take.

    Examples
    --------
    >>> check_data(EXPERIMENTS["C1"], Effort(data="photos"))
    Traceback (most recent call last):
    ValueError: `data` must go with C4, C8, C10, C11, C13, got C1
    """
    if effort.data is None:
        return
    takers = [name for name, row in EXPERIMENTS.items() if row.data]
    if experiment.id not in takers:
        raise ValueError(f"`data` must go with {', '.join(takers)}, got {experiment.id}")
    if experiment.data == "classes":
        from dynamics.training import DataSettings

        if views(DataSettings(**images(effort))).probe is None:
            raise ValueError(f"`data` must have classes for the probe of {experiment.id}, got {effort.data}")
