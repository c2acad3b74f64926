"""Where a start ends, predicted without following the flow: exact fates of modes, and of the rows of a network.

For one mode with η = 0 the flow stays on its leaf of constant c = τo w1² − τp w2² and every trajectory converges
(R6), so the leaf, not the target, decides between learning and collapse. Other variants have results of their own,
listed at `predict_fates`; where nothing is proved the prediction is empty, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from dynamics.invariants import mode_invariant
from dynamics.mode_fields import MODE_FIELDS
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem

SIGN_ACCURACY = 1e-8
"""A start whose θ is within this fraction of the stable manifold's θ keeps an undecided sign."""

_CHUNK = 1024  # starts integrated at once: the error norm is a mean, so one of them can be √1024 times worse
_RTOL = 1e-11  # and 32 times this is far below SIGN_ACCURACY
_SERIES_END = 1e-3  # the manifold's series is cut after y², so its relative error here is about 1e-12


class Fate(StrEnum):
    """What becomes of a mode: its online weight ends away from zero, or at zero, or it is not known."""

    LEARNED = "learned"
    COLLAPSED = "collapsed"
    UNDECIDED = "undecided"


class Prediction(NamedTuple):
    """Predicted ends, one for each start and mode; arrays of the shape of the starts.

    Parameters
    ----------
    fate
        "learned" (w1 ends away from 0), "collapsed" (w1 ends at 0), or "" where no result applies.
    online, predictor, target
        End point (w1, w2, θ); NaN where unknown.
    amplitude
        |w1| at the end, known also where the sign of w1 is not; NaN where unknown.
    algebraic
        True where the end is approached like a power of t, not exponentially: do not integrate until it is reached.
    reason
        The result used and the condition that holds, in words.
    """

    fate: np.ndarray
    online: np.ndarray
    predictor: np.ndarray
    target: np.ndarray
    amplitude: np.ndarray
    algebraic: np.ndarray
    reason: np.ndarray


class _Case(NamedTuple):
    """If `when`, the end is (online, predictor, target). Of several cases the first that holds counts.

    The mode has collapsed if `online` is 0. Where only its sign is unknown, `online` is NaN and `amplitude` is not.
    """

    when: Any
    reason: str
    online: Any = np.nan
    predictor: Any = np.nan
    target: Any = np.nan
    algebraic: Any = False
    amplitude: Any = None


def _assemble(cases: list[_Case], shape: tuple[int, ...]) -> Prediction:
    unknown = (np.full(shape, np.nan) for _ in range(4))
    ends = Prediction(
        np.full(shape, "", dtype="<U9"), *unknown, np.zeros(shape, dtype=bool), np.full(shape, "", dtype=object)
    )
    left = np.ones(shape, dtype=bool)
    for case in cases:
        now = left & case.when
        left &= ~now
        amplitude = np.abs(case.online) if case.amplitude is None else case.amplitude
        fate = np.where(np.isnan(amplitude), "", np.where(amplitude == 0, Fate.COLLAPSED, Fate.LEARNED))
        values = (fate, case.online, case.predictor, case.target, amplitude, case.algebraic, case.reason)
        for end, value in zip(ends, values, strict=True):
            end[now] = np.broadcast_to(value, shape)[now]
    return ends


def _root(x: Any) -> Any:
    return np.sqrt(np.maximum(x, 0.0))


def _branch(state: ModeState, system: ModeSystem) -> Any:
    """Predictor as seen from λd >= 0, since (w2, λd) → (−w2, −λd) leaves the flow as it is."""
    return np.where(system.lambda_d < 0, -1.0, 1.0) * state.predictor


def _conserved_cases(state: ModeState, system: ModeSystem) -> list[_Case]:
    """R6: on a leaf of constant c the flow converges."""
    w1, w2, _ = state
    to, tp, r = system.tau_online, system.tau_predictor, system.ratio
    c, floor, branch = mode_invariant(state, system), -tp * r**2, _branch(state, system)
    collapsed, learned = np.sign(w2) * _root(-c / tp), _root((c - floor) / to)
    signed = np.sign(w1) * learned
    return [
        _Case((w1 == 0) & (w2 == 0), "w1 = w2 = 0: only θ moves, and decays", 0.0, 0.0, 0.0),
        _Case((branch > 0) & (c <= floor), "R6: w2 > 0 and c <= -τp r²", 0.0, collapsed, 0.0, c == floor),
        _Case((branch <= 0) & (c <= 0), "R6: w2 <= 0 and c <= 0", 0.0, collapsed, 0.0, c == 0),
        _Case(c > 0, "R6: c > 0, the sign of w1 is conserved", signed, r, signed),
        _Case(c == 0, "R6: c = 0 and w2 > 0, the sign of w1 is conserved", signed, r, signed),
        _Case(
            c < 0,
            "R6: -τp r² < c < 0 and w2 > 0, the saddle's stable manifold decides the sign of w1",
            predictor=r,
            amplitude=learned,
        ),
    ]


class _Sheet(NamedTuple):
    """Solutions p± of λd p − λs p² = η τo (R15), as seen from λd >= 0; NaN beyond the saddle-node."""

    lower: Any
    upper: Any
    discriminant: Any


def _sheet(system: ModeSystem) -> _Sheet:
    ls, ld, decay = system.lambda_s, np.abs(system.lambda_d), system.weight_decay * system.tau_online
    discriminant = ld**2 - 4 * decay * ls
    root = np.sqrt(np.where(discriminant < 0, np.nan, discriminant))
    # 2 η τo/(λd + √) is [λd − √]/(2 λs) without its cancellation; both are 0 at λd = η = 0
    total = np.where(ld + root == 0, 1.0, ld + root)
    return _Sheet(2 * decay / total, (ld + root) / (2 * ls), discriminant)


def _ordered_cases(
    when: Any, state: ModeState, system: ModeSystem, lower: Any, upper: Any, predictor: Any
) -> list[_Case]:
    """Ends of a planar cooperative flow of (w1, θ), w1 ≠ 0, with saddle w1 = θ = ±lower and nodes 0, ±upper.

    With w1 > 0 both ∂ẇ1/∂θ and ∂θ̇/∂w1 are positive, so the flow keeps the order of starts: what lies above the
    saddle in both coordinates stays above it.
    """
    w1, _, th = state
    x, z, sign = np.abs(w1), np.sign(w1) * th, np.sign(w1)
    apart = (x != lower) | (z != lower)
    end = sign * upper
    slow = _sheet(system).discriminant == 0
    return [
        _Case(when & apart & (x <= lower) & (z <= lower), "R15: w1 and θ below the saddle p-", 0.0, 0.0, 0.0),
        _Case(when & apart & (x >= lower) & (z >= lower), "R15: w1 and θ above the saddle p-", end, predictor, end, slow),
        _Case(when, "R15: neither above nor below the saddle p-, no result applies"),
    ]


def _decayed_cases(state: ModeState, system: ModeSystem) -> list[_Case]:
    """R15 and what follows from it for starts off the balanced sheet.

    max(|w1|, |θ|) never grows while |w2 λd| − w2² λs < η τo: always if η > η*, else within the box |w2| < p-,
    |w1|, |θ| < p- √(τp/τo), whose corner is the saddle and which no trajectory leaves.
    """
    w1, w2, th = state
    kappa = np.sqrt(system.tau_predictor / system.tau_online)
    lower, upper, discriminant = _sheet(system)
    box = (np.abs(w2) < lower) & (np.maximum(np.abs(w1), np.abs(th)) < kappa * lower)
    balanced, branch = mode_invariant(state, system) == 0, _branch(state, system)
    return [
        _Case((w1 == 0) & ((th == 0) | (w2 == 0)), "R15: w1 = 0 for all times, the rest decays", 0.0, 0.0, 0.0),
        _Case(discriminant < 0, "R15: η > η*", 0.0, 0.0, 0.0),
        _Case(box, "R15: within the box below the saddle p-", 0.0, 0.0, 0.0),
        _Case(balanced & (branch < 0), "R15: c = 0 and w2 < 0", 0.0, 0.0, 0.0),
        *_ordered_cases(
            balanced, state, system, kappa * lower, kappa * upper, np.where(branch < 0, -1, 1) * np.sign(w2) * upper
        ),
        _Case(True, "R15: c ≠ 0 and η <= η*, no result applies"),
    ]
