"""Why directions of a network collapsed, or will: each cause with its knob, its threshold and its result.

Every lost direction is put down to the first mechanism that is enough to lose it, and causes are ranked by how many
directions they account for. Causes that are possible, but not shown, come last.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from analysis.fates.fate import Fate
from analysis.runs.directions import Directions, is_identity, restless
from analysis.runs.run_settings import RunSettings
from dynamics.data.dumps import Dump


class Cause(NamedTuple):
    """A reason for collapse.

    Parameters
    ----------
    knob
        What to turn: ``stop-gradient``, ``predictor``, ``weight-decay``, ``learning-rate``, ``batch``, ``decay`` or
        ``augmentation``.
    value, threshold
        Where the knob stands, and the value beyond which the direction is lost; None where neither the dump nor the
        settings tell.
    result
        The result of the theory behind it.
    advice
        One sentence.
    directions
        How many directions that are lost, or cannot rest, it accounts for; 0 for a cause that is possible, but not
        shown.
    """

    knob: str
    value: float | None
    threshold: float | None
    result: str
    advice: str
    directions: int


def find_causes(found: Directions, dump: Dump, settings: RunSettings, told: float) -> list[Cause]:
    """Causes of the collapse of directions, those with the most evidence first.

    Parameters
    ----------
    found
        Directions of the last layer.
    dump, settings
        What is known of the network.
    told
        Ratios below this cannot be told from 0.

    Returns
    -------
    list of Cause
        Empty where nothing is lost.
    """
    lost = (found.fate == Fate.COLLAPSED) | (found.predicted == Fate.COLLAPSED) | restless(found, settings)
    causes, left = [], lost.copy()
    for mechanism in _MECHANISMS:
        mine = left & np.broadcast_to(mechanism.applies(found, dump, settings, told), left.shape)
        if np.any(mine):
            causes.append(mechanism.cause(found, settings, mine))
            left &= ~mine
    causes.sort(key=lambda cause: -cause.directions)
    return causes + _possible(found, dump, settings, left)


class _Mechanism(NamedTuple):
    """When a mechanism is enough to lose a direction, and how it is reported."""

    applies: Any
    cause: Any


def _negative(found: Directions, settings: RunSettings, mine: np.ndarray) -> Cause:
    worst = float(np.min(found.predictor.real[mine]))
    advice = (
        "eigenvalues of the predictor are negative where the encoder is too small to turn them: start the predictor"
        " closer to a positive multiple of the identity, or the encoder larger than the predictor"
    )
    return Cause("predictor", worst, 0.0, "R6", advice, int(mine.sum()))


def _large(found: Directions, settings: RunSettings, mine: np.ndarray) -> Cause:
    p = np.where(mine, found.predictor.real, -np.inf)
    worst = int(np.argmax(p))
    threshold = float(np.sqrt(found.ratio[worst] ** 2 + found.amplitude[worst] ** 2 / settings.tau_predictor))
    advice = (
        "eigenvalues of the predictor are too large for an encoder this small: start the predictor smaller, or the"
        " encoder larger"
    )
    return Cause("predictor", float(p[worst]), threshold, "R6", advice, int(mine.sum()))


def _decay(found: Directions, settings: RunSettings, mine: np.ndarray) -> Cause:
    largest, least = (float(f(found.decay_threshold[mine])) for f in (np.max, np.min))
    advice = (
        f"no direction that was lost can be held above {largest:.3g}: set --weight-decay below {least:.3g}"
    )
    return Cause("weight-decay", settings.weight_decay, largest, "R15", advice, int(mine.sum()))


def _starved(found: Directions, settings: RunSettings, mine: np.ndarray) -> Cause:
    advice = (
        "weight decay is below its threshold, but pulls a start this small to zero: start larger, or warm the"
        " weight decay up"
    )
    largest = float(np.max(found.decay_threshold[mine]))
    return Cause("weight-decay", settings.weight_decay, largest, "R15", advice, int(mine.sum()))


def _leak(found: Directions, settings: RunSettings, mine: np.ndarray) -> Cause:
    advice = "the gradient passes through the target, which shrinks every encoder: detach the target"
    return Cause("stop-gradient", 0.0, 1.0, "R12", advice, int(mine.sum()))


def _no_predictor(found: Directions, settings: RunSettings, mine: np.ndarray) -> Cause:
    advice = "the predictor is the identity, and what augmentation changes decays: train a predictor"
    return Cause("predictor", 1.0, float(np.max(found.ratio[mine])), "R11", advice, int(mine.sum()))


def _overstepped(found: Directions, settings: RunSettings, mine: np.ndarray) -> Cause:
    largest, least = (float(f(found.critical_rate[mine])) for f in (np.max, np.min))
    advice = (
        f"steps above {largest:.3g} are too long for any of these directions to rest: set the learning rate below"
        f" {least:.3g}"
    )
    return Cause("learning-rate", settings.learning_rate, largest, "R303", advice, int(mine.sum()))


def _fixed_target(found: Directions, settings: RunSettings, mine: np.ndarray) -> Cause:
    advice = (
        "the target never moves, and no encoder is learned where it has none: set the average's decay below 1"
    )
    return Cause("decay", settings.decay, 1.0, "R13", advice, int(mine.sum()))


def _augmented(found: Directions, settings: RunSettings, mine: np.ndarray) -> Cause:
    advice = (
        "nothing that is left to learn survives augmentation: augment less, or make the last layer narrower"
    )
    return Cause("augmentation", float(np.max(found.ratio[mine])), None, "R5", advice, int(mine.sum()))


_MECHANISMS = (
    _Mechanism(lambda found, dump, settings, told: not settings.stop_gradient, _leak),
    _Mechanism(
        lambda found, dump, settings, told: is_identity(dump.predictor, dump.rounding) & (found.ratio < 1),
        _no_predictor,
    ),
    _Mechanism(
        lambda found, dump, settings, told: (found.fate == Fate.COLLAPSED) & (found.ratio <= told),
        _augmented,
    ),
    _Mechanism(
        lambda found, dump, settings, told: (
            found.decay_threshold < (settings.weight_decay if settings.weight_decay is not None else -1)
        ),
        _decay,
    ),
    _Mechanism(
        lambda found, dump, settings, told: found.critical_rate < (settings.learning_rate or 0),
        _overstepped,
    ),
    _Mechanism(lambda found, dump, settings, told: settings.decay == 1, _fixed_target),
    _Mechanism(
        lambda found, dump, settings, told: (found.predictor.real < 0) & (found.margin <= 0),
        _negative,
    ),
    _Mechanism(
        lambda found, dump, settings, told: (found.predictor.real > 0) & (found.margin <= 0),
        _large,
    ),
    _Mechanism(
        lambda found, dump, settings, told: (found.predicted == Fate.COLLAPSED) & bool(settings.weight_decay),
        _starved,
    ),
)
"""In the order in which they are asked: what loses every direction first."""


def _possible(found: Directions, dump: Dump, settings: RunSettings, left: np.ndarray) -> list[Cause]:
    """Causes that would explain what is left, and that neither the dump nor the settings rule out."""
    from dynamics.training.diagnosis import HELD

    if dump.online is None:
        return []
    causes = []
    if dump.predictor is None and np.any(left):
        advice = "the file has no predictor: a network without one collapses; if yours has one, add it as `predictor`"
        causes.append(Cause("predictor", None, None, "R11", advice, 0))
    puzzling = left | (found.fate == Fate.UNDECIDED)
    causes += _of_batches(found, settings, puzzling)
    if not np.any(puzzling):
        return causes
    if settings.weight_decay is None:
        largest = float(np.max(found.decay_threshold[puzzling]))
        advice = f"weight decay above {largest:.3g} would leave encoder and predictor this small: add --weight-decay"
        causes.append(Cause("weight-decay", None, largest, "R15", advice, 0))
    if dump.predictor is not None and settings.stop_gradient:
        advice = (
            "theory has these directions grow: train longer, and if they shrink, look for a gradient that passes"
            " through the target"
        )
        causes.append(Cause("stop-gradient", None, None, "R12", advice, 0))
    # weight decay takes the predictor with it, a gradient through the target leaves it
    rest = HELD * found.ratio[puzzling]
    if np.any(np.abs(found.predictor[puzzling]) > rest):
        causes.reverse()
    return causes


def _of_batches(found: Directions, settings: RunSettings, puzzling: np.ndarray) -> list[Cause]:
    """What the noise of batches may have done: it kills small encoders near r, and wears learned ones down."""
    if settings.batch is None or settings.learning_rate is None:
        return []
    causes = []
    p, edge = found.predictor.real, found.noise_boundary
    near = puzzling & (p > edge) & (p < found.ratio)
    if np.any(near):
        advice = (
            f"on batches of {settings.batch} the typical encoder that is this small dies where its predictor is above"
            f" {np.min(edge[near]):.3g}: take larger batches or shorter steps"
        )
        causes.append(Cause("batch", float(settings.batch), None, "R309", advice, 0))
    worn = np.isfinite(found.wear_steps) & (found.margin > 0)
    if np.any(worn):
        advice = (
            "noise of small batches wears the amplitude of what is held down to √(τp/τo) r in about"
            f" {np.min(found.wear_steps[worn]):.3g} steps, and with it what protects from collapse"
        )
        causes.append(Cause("batch", float(settings.batch), None, "R307", advice, 0))
    return causes
