"""One mode with batch normalisation of its feature: closed forms (R221).

With s = sign(w θ) the normalised feature sees p = s w2 alone, which relaxes to r whatever w does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynamics.exact.arithmetic import difference_of_squares
from dynamics.exact.fixed_points import refuse_weight_decay
from dynamics.states import ModeState
from dynamics.system import ModeSystem


class DetachedEnd(NamedTuple):
    """End of modes with a detached deviation, shape (n_modes,) each.

    Parameters
    ----------
    time
        At which w reaches zero; infinite where it never does.
    online
        |w| at the end: 0, or √((c + τp r²)/τo).
    """

    time: np.ndarray
    online: np.ndarray


def _aligned(state: ModeState, system: ModeSystem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """|w|, p = s w2 and r of modes whose encoder and target have one sign."""
    refuse_weight_decay(system)
    if np.any(system.lambda_s <= 0):
        raise ValueError(f"`lambda_s` must be > 0 for a deviation, got {np.min(system.lambda_s)}")
    w, p, theta = (np.asarray(part, dtype=np.float64) for part in state)
    if np.any(w == 0):
        raise ValueError("`online` must not be zero, which cannot be normalised")
    if np.any(same := np.sign(w) != np.sign(theta)):
        k = int(np.argmax(same))
        raise ValueError(
            f"`target` must have the sign of `online` {w.flat[k]:g} for this closed form, got {theta.flat[k]:g}"
        )
    return np.abs(w), p, system.ratio


def detached_end(state: ModeState, system: ModeSystem) -> DetachedEnd:
    """Where modes with a detached deviation end, and when those die that do.

        c = τo w² − τp p²,   p* = sign(p0) √(−c/τp),   t = τp ln((r − p0)/(r − p*))

    Parameters
    ----------
    state
        Start w, p, θ, shape (n_modes,), w ≠ 0 and θ of its sign.
    system
        λs > 0, any λd >= 0, any τo and τp, η = 0.

    Returns
    -------
    DetachedEnd
        A mode dies where c ≤ −τp r² for p0 > 0, or c ≤ 0 for p0 ≤ 0: as without normalisation (R6), but in finite time
        off the boundary. Otherwise w rests at √((c + τp r²)/τo).

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R221.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> float(detached_end(system.state(0.1, 0.6, 0.1), system).time[0].round(5))
    0.08765
    >>> float(detached_end(system.state(0.3, 0.1, 0.1), system).online[0].round(6))
    0.574456
    """
    w, p0, r = _aligned(state, system)
    to, tp = system.tau_online, system.tau_predictor
    c = difference_of_squares(to, w, tp, p0)
    dies = np.where(p0 > 0, c <= -tp * r**2, (c <= 0) & (p0 < 0))
    zero = np.where(dies, np.copysign(np.sqrt(np.maximum(-c, 0.0) / tp), p0), 0.0)  # p*
    # p* − p0 and r − p* by differences of squares: either may cancel
    sum_of_both = zero + p0
    moved = -(to / tp) * w**2 / np.where(dies, sum_of_both, 1.0)
    left = np.where(p0 > 0, (r**2 + c / tp) / np.where(dies, r + zero, 1.0), r - zero)
    with np.errstate(divide="ignore", invalid="ignore"):
        time = np.where(dies, np.where(left == 0, np.inf, tp * np.log1p(moved / left)), np.inf)
    rest = np.sqrt(np.maximum(c + tp * r**2, 0.0) / to)
    return DetachedEnd(time, np.where(dies, 0.0, rest))


def detached_solution(ts: Any, state: ModeState, system: ModeSystem) -> ModeState:
    """Weights w and p of modes with a detached deviation at given times; θ is not followed.

        p = r + (p0 − r) e^{−t/τp},   τo w² = c + τp p²

    Parameters
    ----------
    ts
        Times t >= 0, any shape.
    state, system
        As for `detached_end`.

    Returns
    -------
    ModeState
        Shape ts.shape + (n_modes,); w = 0 from its death on, and θ NaN.

    Notes
    -----
    Source: R221.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> detached_solution(50.0, system.state(0.3, 0.1, 0.1), system).predictor
    array([0.5])
    """
    w, p0, r = _aligned(state, system)
    t = np.asarray(ts, dtype=np.float64)[..., None]
    p = r + (p0 - r) * np.exp(-t / system.tau_predictor)
    gained = -np.expm1(-t / system.tau_predictor) * (r - p0)  # p − p0
    square = w**2 + system.tau_predictor / system.tau_online * gained * (p + p0)
    alive = t < detached_end(state, system).time
    size = np.where(alive, np.sqrt(np.maximum(square, 0.0)), 0.0)
    return ModeState(np.sign(state.online) * size, p, np.full(p.shape, np.nan))


def attached_solution(ts: Any, state: ModeState, system: ModeSystem) -> ModeState:
    """Weights w and p of modes with the deviation in the graph of gradients: w never moves, and p relaxes to r.

    Parameters
    ----------
    ts, state, system
        As for `detached_solution`.

    Returns
    -------
    ModeState
        Shape ts.shape + (n_modes,).

    Notes
    -----
    Source: R221, R218.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> attached_solution(50.0, system.state(0.3, 0.1, 0.1), system).online
    array([0.3])
    """
    _, p0, r = _aligned(state, system)
    t = np.asarray(ts, dtype=np.float64)[..., None]
    p = r + (p0 - r) * np.exp(-t / system.tau_predictor)
    w, theta = (np.broadcast_to(np.asarray(part, dtype=np.float64), p.shape) for part in state[::2])
    return ModeState(w.copy(), p, w + (theta - w) * np.exp(-t / system.tau_target))
