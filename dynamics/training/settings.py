"""What a training run is: frozen settings, checked at birth, that read back from JSON as they were.

Scalars that may be swept (`SWEPT`) take one number, or one a run: runs then differ in them and share the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any

from dynamics.training.normalisers import NormalisationSettings
from dynamics.training.parts import (
    DTYPES,
    DataSettings,
    EncoderSettings,
    ObjectiveSettings,
    OptimizerSettings,
    PredictorSettings,
    Swept,
    TargetSettings,
    check_choice,
    check_whole,
)

GENERATORS = ("triple32", "threefry")
MATMULS = ("float32", "tf32")

SWEPT: dict[str, tuple[str, ...]] = {
    "encoder": ("scale",),
    "predictor": ("scale", "average"),
    "objective": (
        "alpha", "beta", "temperature", "margin",
        "off_diagonal", "invariance", "variance", "covariance",
    ),
    "target": ("decay",),
    "optimizer": (
        "learning_rate", "predictor_rate", "weight_decay", "predictor_weight_decay", "momentum",
    ),
}  # fmt: skip
"""Scalars that may differ from run to run, by the part they belong to."""

_PARTS: dict[str, type] = {
    "data": DataSettings,
    "encoder": EncoderSettings,
    "predictor": PredictorSettings,
    "objective": ObjectiveSettings,
    "target": TargetSettings,
    "optimizer": OptimizerSettings,
    "normalisation": NormalisationSettings,
}


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """One training run, or several that differ in swept scalars.

    Parameters
    ----------
    data, encoder, predictor, objective, target, optimizer, normalisation
        Settings of the parts; dictionaries of their fields will do.
    steps
        Gradient steps K >= 1.
    batch
        Samples a step, >= 2; None for the source ``exact``, which uses all of its pairs, and for no other.
    dtype
        ``float32`` or ``float64``.
    matmul
        How a GPU multiplies matrices in single precision: ``float32``, or ``tf32``, which is quicker and keeps 10 bits
        of each factor's mantissa. It changes nothing on a CPU.
    generator
        Random numbers of starts and batches: ``triple32``, the quick one of `dynamics.training.generator`, or
        ``threefry``, JAX's own.
    metrics_every
        Steps between two measurements, >= 1; the start and the end are measured as well.

    Raises
    ------
    ValueError
        A value is out of range, or parts do not fit one another: which, what is accepted, what was given.

    Examples
    --------
    >>> settings = TrainingSettings(optimizer={"learning_rate": [0.1, 0.2]}, steps=10)
    >>> settings.n_settings, TrainingSettings.from_json(settings.to_json()) == settings
    (2, True)
    """

    data: DataSettings = field(default_factory=DataSettings)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    predictor: PredictorSettings = field(default_factory=PredictorSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    target: TargetSettings = field(default_factory=TargetSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    normalisation: NormalisationSettings = field(default_factory=NormalisationSettings)
    steps: int = 1000
    batch: int | None = 128
    dtype: str = "float32"
    matmul: str = "float32"
    generator: str = "triple32"
    metrics_every: int = 100

    def __post_init__(self) -> None:
        for name, kind in _PARTS.items():
            object.__setattr__(self, name, _part(name, kind, getattr(self, name)))
        for name in ("steps", "metrics_every"):
            object.__setattr__(self, name, check_whole(name, getattr(self, name), 1))
        if (self.batch is None) != (self.data.source == "exact"):
            wanted = "None: all pairs are used" if self.batch is not None else "an integer >= 2"
            raise ValueError(f"`batch` must be {wanted} for the source {self.data.source}, got {self.batch}")
        if self.batch is not None:
            object.__setattr__(self, "batch", check_whole("batch", self.batch, 2))
        check_choice("dtype", self.dtype, DTYPES)
        check_choice("matmul", self.matmul, MATMULS)
        check_choice("generator", self.generator, GENERATORS)
        if not self.objective.stop_gradient and self.target.kind != "none":
            raise ValueError(
                f"`objective.stop_gradient` false needs the target none, got {self.target.kind}:"
                " no gradient reaches weights that are averages or fixed"
            )
        if self.objective.row.alone and (self.predictor.kind, self.target.kind) != ("none", "none"):
            raise ValueError(
                f"the objective {self.objective.kind} needs neither predictor nor target,"
                f" got {self.predictor.kind} and {self.target.kind}"
            )
        if self.predictor.kind == "optimal" and self.objective.kind != "byol":
            raise ValueError(
                f"the predictor optimal must go with the objective byol, got {self.objective.kind}"
            )
        if self.objective.row.alone and not self.objective.stop_gradient:
            raise ValueError(f"`objective.stop_gradient` must be left out for {self.objective.kind}")
        if self.objective.normalize and self.encoder.output == 1:
            raise ValueError(
                "`objective.normalize` must go with at least 2 features: a single one becomes ±1, which has no gradient"
                " (R129); got 1"
            )
        lengths = {name: len(value) for name, value in self.swept().items() if isinstance(value, tuple)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"swept scalars must have one length, got {lengths}")

    @property
    def n_settings(self) -> int:
        """Number of settings that are swept, 1 when none is."""
        return next((len(value) for value in self.swept().values() if isinstance(value, tuple)), 1)

    def swept(self) -> dict[str, Swept]:
        """Scalars that may be swept, as ``part.name``."""
        return {
            f"{part}.{name}": getattr(getattr(self, part), name)
            for part, names in SWEPT.items()
            for name in names
        }

    def repeated(self, n: int) -> TrainingSettings:
        """Return the settings with each swept value n times in a row, for n seeds of each.

        >>> TrainingSettings(optimizer={"learning_rate": [0.1, 0.2]}).repeated(2).optimizer.learning_rate
        (0.1, 0.1, 0.2, 0.2)
        """
        parts = {
            part: replace(
                getattr(self, part),
                **{
                    name: tuple(item for item in value for _ in range(n))
                    for name in names
                    if isinstance(value := getattr(getattr(self, part), name), tuple)
                },
            )
            for part, names in SWEPT.items()
        }
        return replace(self, **parts)

    def at(self, index: int) -> TrainingSettings:
        """Return the settings of one run of a sweep.

        >>> TrainingSettings(optimizer={"learning_rate": [0.1, 0.2]}).at(1).optimizer.learning_rate
        0.2
        """
        parts = {}
        for part, names in SWEPT.items():
            old = getattr(self, part)
            values = {name: getattr(old, name) for name in names}
            picked = {name: v[index] for name, v in values.items() if isinstance(v, tuple)}
            parts[part] = replace(old, **picked)
        return replace(self, **parts)

    def to_json(self) -> str:
        """Return the settings as JSON, which `from_json` reads back as they were."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrainingSettings:
        """Read settings from JSON; anything left out keeps its default.

        Raises
        ------
        ValueError
            The text is no JSON object, or a name or value is not accepted.

        Examples
        --------
        >>> TrainingSettings.from_json('{"steps": 5}').steps
        5
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"settings must be JSON: {error}") from None
        return _part("settings", cls, values)


def _part(name: str, kind: type, value: Any) -> Any:
    """Return `value` as an instance of `kind`, made from a dictionary where it is one."""
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping) or is_dataclass(value):
        raise ValueError(f"`{name}` must be {kind.__name__} or a dictionary of its fields, got {value!r}")
    known = {item.name for item in fields(kind)}
    if unknown := sorted(set(value) - known):
        raise ValueError(f"`{name}` must name {', '.join(sorted(known))}, got {', '.join(unknown)}")
    return kind(**value)
