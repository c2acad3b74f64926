"""Networks on digits that experiments share, and what the spread over seeds allows to be said of them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis.experiments.experiment import Curve, Effort, Measurement, at_least
from analysis.experiments.runs import mean_of, student

if TYPE_CHECKING:
    from dynamics.training import DataSettings, TrainingData, TrainingRun, TrainingSettings

DIGITS = {"source": "digits", "augmentations": ("shift:1", "noise:0.3")}
"""Views of digits: cyclic shifts by a pixel, then noise."""
MOST_SAMPLES = 5000
"""Samples of other data than digits, at most: what is true of the moments of all is true of those of some."""
CONFIDENCE = 0.99
"""Of intervals over seeds: chance breaks one of a hundred, and one of two hundred where one side counts."""


def images(effort: Effort) -> dict[str, Any]:
    """Views that an experiment is made on: of digits, or in the same way of the data that are asked for.

    >>> images(Effort()) == DIGITS
    True
    """
    return DIGITS if effort.data is None else DIGITS | {"source": effort.data, "limit": MOST_SAMPLES}


@lru_cache(maxsize=4)
def views(data: DataSettings) -> TrainingData:
    """Samples of a run, loaded once."""
    from dynamics.training import load_data

    return load_data(data)


@lru_cache(maxsize=64)
def trained(settings: TrainingSettings, seeds: tuple[int, ...]) -> TrainingRun:
    """Train, or return what was trained before with the same settings and seeds."""
    from dynamics.training import train

    return train(settings, seeds, data=views(settings.data))


class Spread(NamedTuple):
    """A mean over seeds and how well it is known.

    Parameters
    ----------
    mean
        Mean over seeds.
    half_width
        Half the width of its confidence interval, Student's t at `CONFIDENCE` times the standard error.
    """

    mean: Any
    half_width: Any


def spread(values: Any) -> Spread:
    """Mean over seeds, the first axis, and the half width of its interval of confidence `CONFIDENCE`.

    Raises
    ------
    ValueError
        There are fewer than two seeds.

    Examples
    --------
    >>> spread([1.0, 1.0, 1.0])
    Spread(mean=np.float64(1.0), half_width=np.float64(0.0))
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        raise ValueError(f"`values` must hold at least two seeds, got {len(values)}")
    mean, error = mean_of(values)
    return Spread(mean, student(len(values), CONFIDENCE) * error)


def said(values: Any, digits: int = 3) -> str:
    """Mean ± standard error in words, as tables of papers have it.

    >>> said([0.5, 0.5])
    '0.500 ± 0.000'
    """
    mean, error = mean_of(np.asarray(values, np.float64))
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def clearly_above(name: str, higher: Any, lower: Any) -> Measurement:
    """Measure that one quantity exceeds another, seed by seed, by more than seeds can explain.

    Parameters
    ----------
    name
        What is compared.
    higher, lower
        Values over the same seeds, which see the same batches, shape (n,).

    Examples
    --------
    >>> clearly_above("probe", [0.8, 0.9, 0.85], [0.8, 0.9, 0.86]).holds
    False
    """
    mean, half_width = spread(np.asarray(higher, np.float64) - np.asarray(lower, np.float64))
    note = (
        f"paired over {len(higher)} seeds: the mean difference has to exceed {half_width:.2g},"
        f" half its {CONFIDENCE:.0%} interval"
    )
    return replace(at_least(name, half_width, mean, note), holds=bool(mean > half_width))


def not_below(name: str, value: Any, reference: Any) -> Measurement:
    """Measure that one quantity does not fall below another, seed by seed, by more than seeds can explain.

    >>> not_below("probe", [0.8, 0.9, 0.85], [0.8, 0.9, 0.86]).holds
    True
    """
    mean, half_width = spread(np.asarray(value, np.float64) - np.asarray(reference, np.float64))
    note = f"paired over {len(value)} seeds: slack is half the {CONFIDENCE:.0%} interval of the difference"
    return at_least(name, 0.0, mean, note, slack=half_width)


def along_training(panel: str, label: str, steps: np.ndarray, values: Any, y_label: str) -> Curve:
    """Points of a figure: the mean of values (n_seeds, T) at these steps, with its interval."""
    mean, half_width = spread(values)
    return Curve(panel, label, "training", steps, mean, "gradient steps", y_label, half_width)


def seeds_of(effort: Effort) -> tuple[int, ...]:
    """Seeds of the networks that experiments share: 48, or 32 in quick experiments."""
    return tuple(range(effort.seed, effort.seed + (32 if effort.quick else 48)))


def network(effort: Effort, **parts: Any) -> TrainingSettings:
    """Small networks, as far as not told otherwise: ReLU encoder, linear predictor, normalised BYOL, Adam."""
    from dynamics.training import TrainingSettings

    steps = 1500 if effort.quick else 3000
    settings: dict[str, Any] = {
        "data": images(effort),
        "encoder": {"kind": "mlp", "widths": (64,), "features": 16},
        "predictor": {"kind": "linear"},
        "objective": {"normalize": True},
        "target": {"decay": 0.99},
        "optimizer": {"kind": "adam", "learning_rate": 5e-3},
        "steps": steps,
        "batch": 32,
        "metrics_every": steps // 10,
    }
    return TrainingSettings(**settings | parts)
