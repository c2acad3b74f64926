"""C10: the models of RAFT on digits: Tables 1 and 3, Figures 1 and 4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis.experiments.experiment import Curve, Effort, Experiment, Measurement, Outcome, compare
from analysis.experiments.seeds import (
    CONFIDENCE,
    along_training,
    clearly_above,
    network,
    said,
    seeds_of,
    spread,
    trained,
)

if TYPE_CHECKING:
    from dynamics.training import TrainingRun, TrainingSettings

RANDOM_ACCURACY = 42.74
"""Probe accuracy of the random encoder in Tables 1 and 3, per cent."""


class Row(NamedTuple):
    """A row of Table 1 or 3, with a name of Table 2.

    Parameters
    ----------
    model
        A name of `dynamics.training.presets.TABLE_2`.
    beta
        β, with α = 1; None for BYOL, which has no weights.
    accuracy
        Probe accuracy that the source prints, per cent; NaN where it prints a curve only.
    """

    model: str
    beta: float | None
    accuracy: float

    @property
    def name(self) -> str:
        """The model, with β where it is not 1."""
        return self.model if self.beta in (None, 1.0) else f"{self.model}, β = {self.beta:g}"


ROWS = (
    Row("BYOL-MLPP", None, 64.32),
    Row("BYOL'-MLPP", 1.0, 69.21),
    Row("RAFT-MLPP", 0.1, 65.53),
    Row("RAFT-MLPP", 1.0, 71.31),
    Row("RAFT-MLPP", 10.0, 25.88),
    Row("BYOL-LP", None, 67.64),
    Row("BYOL-LPI", None, np.nan),
    Row("BYOL'-LP", 1.0, 68.61),
    Row("RAFT-LP", 0.1, 52.57),
    Row("RAFT-LP", 1.0, 67.55),
    Row("RAFT-LP", 10.0, 66.10),
    Row("BYOL-NP", None, 20.92),
    Row("BYOL'-NP", 1.0, 16.92),
    Row("BYOL'-NP", 10.0, 24.42),
    Row("BYOL'-NP", 100.0, 37.48),
    Row("RAFT-NP", 1.0, 11.72),
    Row("RAFT-NP", 10.0, 32.13),
    Row("RAFT-NP", 100.0, 29.36),
    Row("TanBYOL-LP", None, 67.63),
    Row("TanBYOL'-LP", 1.0, 67.66),
    Row("TanRAFT-LP", 1.0, 69.31),
)
"""Every row of Tables 1 and 3, and of Figure 1."""
QUICK_MODELS = ("BYOL-LP", "BYOL-NP", "BYOL'-LP", "RAFT-LP")


class Found(NamedTuple):
    """Metrics of one row, each (n_seeds, T)."""

    row: Row
    steps: np.ndarray
    metrics: dict[str, np.ndarray]

    def last(self, name: str) -> np.ndarray:
        """A metric at the end, one number a seed."""
        return self.metrics[name][:, -1]


def settings_of(effort: Effort, model: str, betas: tuple[float, ...]) -> TrainingSettings:
    """A model of Table 2 on digits, one run for each β given."""
    from dynamics.training.presets import TABLE_2

    kind, predictor, tangential = TABLE_2[model]
    objective: dict[str, Any] = {"kind": kind, "normalize": True, "tangential": tangential}
    if kind != "byol":
        objective["beta"] = betas
    return network(effort, predictor=predictor, objective=objective)


def find(effort: Effort, rows: tuple[Row, ...]) -> list[Found]:
    """Train all rows; those of one model that differ in β go through one compiled program."""
    seeds = seeds_of(effort)
    n = len(seeds)
    models = list(dict.fromkeys(row.model for row in rows))
    found = []
    for index, model in enumerate(models):
        own = [row for row in rows if row.model == model]
        betas = tuple(row.beta for row in own for _ in seeds if row.beta is not None)
        run = trained(settings_of(effort, model, betas), seeds * len(own))
        found += [Found(row, run.steps, _part(run, slice(i * n, (i + 1) * n))) for i, row in enumerate(own)]
        effort.report(index + 1, len(models))
    return found


def _part(run: TrainingRun, runs: slice) -> dict[str, np.ndarray]:
    return {name: run.metrics[name][runs] for name in ("alignment", "uniformity", "probe_accuracy", "loss")}


def beside_random(found: Found) -> Measurement:
    """Measure whether the probe is above or below the random encoder's, as the source has it for this row."""
    accuracy = found.metrics["probe_accuracy"]
    below = found.row.accuracy < RANDOM_ACCURACY
    pair = (accuracy[:, 0], accuracy[:, -1]) if below else (accuracy[:, -1], accuracy[:, 0])
    measured = clearly_above("", *pair)
    table = (
        ""
        if np.isnan(found.row.accuracy)
        else f"; source {found.row.accuracy:g} % against {RANDOM_ACCURACY} %"
    )
    return Measurement(
        name=f"{found.row.name}: probe accuracy",
        predicted=f"{'below' if below else 'above'} random, {said(accuracy[:, 0])}",
        measured=f"{said(found.last('probe_accuracy'))}; alignment {said(found.last('alignment'), 4)},"
        f" uniformity {said(found.last('uniformity'), 2)}",
        tolerance=float(measured.predicted),
        holds=measured.holds,
        note=measured.note + table,
        relation=measured.relation,
    )


def equal_accuracy(name: str, a: Found, b: Found) -> Measurement:
    """Measure that two rows have one probe accuracy, as far as seeds can tell."""
    mean, half_width = spread(a.last("probe_accuracy") - b.last("probe_accuracy"))
    source = a.row.accuracy - b.row.accuracy
    note = (
        f"half the {CONFIDENCE:.0%} interval over {len(a.last('loss'))} seeds; the source has {source:+.2f} %"
    )
    return compare(name, 0.0, mean, half_width, note)


def equivalences(found: dict[str, Found]) -> list[Measurement]:
    """Rows that theory says are one: RAFT and BYOL′ from starts whose sign is free (R25), tangential or not (R27)."""
    pairs = [("RAFT-LP", "BYOL'-LP", "R25"), ("RAFT-MLPP", "BYOL'-MLPP", "R25")]
    pairs += [(f"Tan{model}", model, "R27") for model in ("BYOL-LP", "BYOL'-LP", "RAFT-LP")]
    return [
        equal_accuracy(f"{a} less {b} ({source}): probe accuracy", found[a], found[b])
        for a, b, source in pairs
        if a in found and b in found
    ]


def recovery(found: Found) -> Measurement:
    """Measure that uniformity, lost at first from P = I, comes back."""
    uniformity = found.metrics["uniformity"]
    return clearly_above(
        f"{found.row.name}: uniformity at its worst less at the end",
        np.max(uniformity, axis=1),
        uniformity[:, -1],
    )


def curves(found: dict[str, Found]) -> list[Curve]:
    """Figure 1, loss, uniformity and probe along training, and Figure 4, traces of alignment and uniformity."""
    drawn = []
    for name, label in (("loss", "loss"), ("uniformity", "uniformity"), ("probe_accuracy", "probe accuracy")):
        for model in ("BYOL-NP", "BYOL-LP", "BYOL-LPI", "BYOL-MLPP"):
            if model in found:
                one = found[model]
                drawn.append(along_training(label, model, one.steps, one.metrics[name], label))
    for row, one in found.items():
        if row.startswith(("BYOL'-NP", "RAFT-NP", "RAFT-LP")):
            x, y = (np.mean(one.metrics[name], axis=0) for name in ("alignment", "uniformity"))
            panel = f"trace of {one.row.model}"
            drawn.append(Curve(panel, row, "training", x, y, "alignment", "uniformity", log_x=True))
    return drawn


def run(effort: Effort) -> Outcome:
    """Train every row, or in the quick version those that carry the claims, and compare with the random encoder."""
    rows = tuple(
        row for row in ROWS if not effort.quick or (row.model in QUICK_MODELS and row.beta in (None, 1.0))
    )
    found = {one.row.name: one for one in find(effort, rows)}
    measurements = [beside_random(one) for one in found.values()] + equivalences(found)
    measurements += [recovery(one) for name, one in found.items() if name == "BYOL-LPI"]
    failed = [m.name for m in measurements if not m.holds]
    reason = f"{effort.data_name} do not show what the source has of {'; '.join(failed)}" if failed else ""
    return Outcome(tuple(measurements), tuple(curves(found)), reason)


EXPERIMENTS = (
    Experiment(
        "C10",
        "RAFT's models on digits",
        "without a predictor features collapse below the random encoder, with one they rise above it; RAFT is BYOL′"
        " (R11, R25, R27; RAFT, Tables 1 and 3)",
        run,
        data="classes",
    ),
)
