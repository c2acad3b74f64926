"""What an experiment of `dyn confirm` is: a prediction of theory beside what real gradient steps do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.results.registry import Verdict
from analysis.runs.simulation import plain

KINDS = ("theory", "training")
RELATIONS = ("eq", "lt", "gt")
DATA = ("", "samples", "classes")
"""What an experiment needs of the data that it may be made on: nothing, as it has its own; samples; classes too."""
SEEDS = 2**20
"""Number of seeds to choose from: each is a start for the seeds of thousands of runs, which end at 2³²."""
Number = float | np.floating[Any]


@dataclass(frozen=True)
class Effort:
    """How much work an experiment may do.

    Parameters
    ----------
    quick
        A small version, in seconds rather than minutes; its tolerances are those of its own sizes.
    seed
        Seed of everything random, an integer in [0, 2²⁰); equal seeds give equal outcomes.
    progress
        Called as progress(done, total) with the share of one experiment that is done; None for silence.
    data
        Source of samples as `dynamics.data.datasets.load` takes it, in place of digits; None for digits.
    """

    quick: bool = False
    seed: int = 0
    progress: Callable[[float, float], None] | None = None
    data: str | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.seed, (int, np.integer)) and not isinstance(self.seed, bool)
        if not (whole and 0 <= self.seed < SEEDS):
            raise ValueError(f"`seed` must be an integer >= 0 and < {SEEDS}, got {self.seed!r}")

    @property
    def data_name(self) -> str:
        """What the data are called: a source without its folder, or the name of a file.

        >>> Effort().data_name, Effort(data="mnist:/somewhere").data_name, Effort(data="a/x.npy").data_name
        ('digits', 'mnist', 'x.npy')
        """
        if self.data is None:
            return "digits"
        path = Path(self.data)
        return path.name if path.suffix in (".npy", ".npz") else self.data.partition(":")[0]

    def report(self, done: float, total: float = 1.0) -> None:
        """Tell the caller how far the experiment is."""
        if self.progress is not None:
            self.progress(done, total)


@dataclass(frozen=True)
class Measurement:
    """One number, or one fact, that theory predicts and training measures.

    Parameters
    ----------
    name
        What is measured, such as "log-log slope, digits".
    predicted, measured
        Numbers, or words where the prediction is no number.
    tolerance
        Largest difference that the prediction allows; None where it is no number.
    holds
        Whether the measurement agrees. `compare` and `at_least` derive it.
    note
        How the tolerance follows from seeds (standard errors) and step size.
    relation
        What must hold: ``eq``, measured = predicted ± tolerance; ``lt``, measured < predicted + tolerance; ``gt``,
        measured > predicted − tolerance. Rounding does not tell < from ≤.
    """

    name: str
    predicted: float | str
    measured: float | str
    tolerance: float | None
    holds: bool
    note: str
    relation: str

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise ValueError(f"`relation` must be one of {', '.join(RELATIONS)}, got {self.relation!r}")

    @property
    def required(self) -> str:
        """What must hold, as it is printed.

        >>> compare("slope", 1.0, 0.98, 0.1, "").required, at_most("drift", 1e-3, 5e-4, "").required
        ('= 1 ± 0.1', '< 0.001')
        """
        if isinstance(self.predicted, str):
            return self.predicted
        tolerance = self.tolerance or 0.0
        if self.relation == "eq":
            return f"= {self.predicted:.5g} ± {tolerance:.2g}"
        if self.relation == "lt":
            return f"< {self.predicted + tolerance:.5g}"
        return f"> {self.predicted - tolerance:.5g}"

    def report(self) -> dict[str, Any]:
        """Return the measurement as a dictionary of plain values; None for what is not finite."""
        report: dict[str, Any] = plain(asdict(self)) | {"required": self.required}
        return report


def compare(name: str, predicted: Number, measured: Number, tolerance: Number, note: str) -> Measurement:
    """Measure a number that should be equal to its prediction: |measured − predicted| ≤ tolerance.

    >>> compare("slope", 1.0, 0.98, 0.1, "the asked bound").holds
    True
    """
    holds = abs(float(measured) - float(predicted)) <= float(tolerance)  # False for NaN
    return Measurement(name, float(predicted), float(measured), float(tolerance), holds, note, "eq")


def at_least(name: str, bound: Number, measured: Number, note: str, *, slack: Number = 0.0) -> Measurement:
    """Measure a number that should not be below a bound: measured ≥ bound − slack.

    >>> at_least("agreement", 0.999, 0.998, "the asked bound").holds
    False
    """
    holds = float(measured) >= float(bound) - float(slack)
    return Measurement(name, float(bound), float(measured), float(slack), holds, note, "gt")


def at_most(name: str, bound: Number, measured: Number, note: str, *, slack: Number = 0.0) -> Measurement:
    """Measure a number that should not be above a bound: measured ≤ bound + slack.

    >>> at_most("drift", 1e-3, 5e-4, "second order in the step").holds
    True
    """
    holds = float(measured) <= float(bound) + float(slack)
    return Measurement(name, float(bound), float(measured), float(slack), holds, note, "lt")


@dataclass(frozen=True, eq=False)
class Curve:
    """A line or points for the figure of an experiment.

    Parameters
    ----------
    panel
        Title of the panel it belongs to; curves of one panel share its axes.
    label
        For the legend.
    kind
        "theory", drawn as a line, or "training", drawn as points.
    x, y
        Shape (n,).
    x_label, y_label
        Axis labels, the same for all curves of a panel.
    error
        Half the height of the error band of y, shape (n,), such as a standard error; None for none.
    log_x, log_y
        Logarithmic axes.
    """

    panel: str
    label: str
    kind: str
    x: np.ndarray
    y: np.ndarray
    x_label: str = ""
    y_label: str = ""
    error: np.ndarray | None = None
    log_x: bool = False
    log_y: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"`kind` must be one of {', '.join(KINDS)}, got {self.kind!r}")
        for name in ("x", "y") if self.error is None else ("x", "y", "error"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        if self.x.ndim != 1 or self.y.shape != self.x.shape:
            raise ValueError(f"`x` and `y` must have one shape (n,), got {self.x.shape} and {self.y.shape}")
        if self.error is not None and self.error.shape != self.x.shape:
            raise ValueError(f"`error` must have the shape of `x`, {self.x.shape}, got {self.error.shape}")


@dataclass(frozen=True)
class Panel:
    """Axes that curves share: makes curves of theory and of training.

    Parameters
    ----------
    title, x_label, y_label, log_x, log_y
        As for `Curve`.

    Examples
    --------
    >>> Panel("drift", "step", "drift").theory("R2", [0.0, 1.0], [0.0, 2.0]).kind
    'theory'
    """

    title: str
    x_label: str
    y_label: str
    log_x: bool = False
    log_y: bool = False

    def theory(self, label: str, x: Any, y: Any) -> Curve:
        """Curve that theory predicts."""
        return self._curve(label, "theory", x, y, None)

    def training(self, label: str, x: Any, y: Any, error: Any = None) -> Curve:
        """Points that training gave, with half the height of their error bars."""
        return self._curve(label, "training", x, y, error)

    def _curve(self, label: str, kind: str, x: Any, y: Any, error: Any) -> Curve:
        scales = {"log_x": self.log_x, "log_y": self.log_y}
        return Curve(self.title, label, kind, x, y, self.x_label, self.y_label, error, **scales)


@dataclass(frozen=True)
class Outcome:
    """What an experiment found.

    Parameters
    ----------
    measurements
        Each prediction beside its measurement; none where the experiment could not be made.
    curves
        For the figure.
    reason
        Why it fails, or where theory ends; may be empty if it holds.
    """

    measurements: tuple[Measurement, ...]
    curves: tuple[Curve, ...] = ()
    reason: str = ""

    @property
    def verdict(self) -> Verdict:
        """Violated when one measurement disagrees, not-applicable when there is none, else holds."""
        if not self.measurements:
            return Verdict.NOT_APPLICABLE
        return Verdict.HOLDS if all(m.holds for m in self.measurements) else Verdict.VIOLATED


@dataclass(frozen=True)
class Experiment:
    """A prediction that training can confirm or refute.

    Parameters
    ----------
    id
        "C1", "C2", …
    title
        A few words.
    prediction
        What theory says, with its results ("R6").
    run
        (effort) -> Outcome.
    data
        What it needs of data other than digits, one of `DATA`; empty where it takes none.
    """

    id: str
    title: str
    prediction: str
    run: Callable[[Effort], Outcome]
    data: str = ""

    def __post_init__(self) -> None:
        if self.data not in DATA:
            raise ValueError(f"`data` must be one of {', '.join(map(repr, DATA))}, got {self.data!r}")
