"""Closed-form solutions of the flows: no predictor, a constant target, no EMA; and the EMA recurrence."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from dynamics.exact.arithmetic import difference_of_squares, solution_times
from dynamics.exact.fixed_points import refuse_weight_decay
from dynamics.states import ModeState
from dynamics.system import ModeSystem

_LOG_RANGE = 600.0
"""The longest y: with e^−600 of the way left one has arrived, and e^600 does not overflow."""


def _log1p_over(d: float, v: Any) -> Any:
    """ln(1 + d v)/d, continued by v at d = 0."""
    return np.log1p(d * v) / d if d != 0 else v


_FAR = 4.0
_SERIES = 32
"""Terms of a power series in numbers up to 1/_FAR that leave less than rounding."""


class _NoEmaPath:
    """One mode's path on its leaf without EMA, in units of τo/λs: dw/dt = (w² + c)(r − w) with w = w2.

    The path is written in y = ln((w(0) − ℓ)/(w − ℓ)), ℓ the limit of w, in which the distance to the limit,
    the time and m = w² + c = τo w1²/τp are all known to relative accuracy. It starts from w(0), m(0) and c, none of
    which is taken from the others: they would cancel where w1, or c, is small. `above` is r² + c, which decides where
    a leaf with c < 0 ends. The path is at rest when m(0) underflows.

    Far out, where w² ≫ r² + |c|, the logarithms of the closed form cancel: there the time is the power series

        ∫ dw/((w² + c)(r − w)) = Σ h_n w^{−2−n}/(n + 2),   h_n = Σ_j r^{n−2j} (−c)^j.
    """

    def __init__(self, w0: float, m0: float, c: float, above: float, r: float):
        self.w0, self.m0, self.c, self.above, self.r = w0, m0, c, above, r
        self.k = float(np.sqrt(max(-c, 0.0)))
        self.at_rest = m0 == 0 or w0 == r
        self.limit = r if c > 0 or (w0 >= 0 and above >= 0) else -self.k if w0 < 0 else self.k
        self.gap0 = w0 - r if self.limit == r else m0 / (w0 + self.limit)
        edge = _FAR * float(np.hypot(r, np.sqrt(abs(c))))
        self.near: _NoEmaPath | None = None
        if abs(w0) > edge:
            start = float(np.copysign(edge, w0))
            self.near = _NoEmaPath(start, start**2 + c, c, above, r)

    @np.errstate(over="ignore")
    def at(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the time, F(w) − F(w(0)) of R14 over r² + c, and w and m then."""
        if self.near is None:
            return self._closed(y)
        near = self.near
        edge = -np.log1p((near.w0 - self.w0) / self.gap0)
        far = self._series(np.minimum(y, edge))
        after, w, m = near._closed(np.maximum(y - edge, 0.0))
        inside = y > edge
        before = self._series(edge)[0]
        return (
            np.where(inside, before + after, far[0]),
            np.where(inside, w, far[1]),
            np.where(inside, m, far[2]),
        )

    def _series(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        w0, r, c, limit = self.w0, self.r, self.c, self.limit
        shift, gap = self.gap0 * np.expm1(-y), self.gap0 * np.exp(-y)
        w = limit + gap
        m = c + w**2
        length = -np.log1p(shift / w0)
        z = np.where(length >= 0, w, w0)
        ratio, square = r / z, -c / z**2
        h, even = np.ones_like(ratio), np.ones_like(ratio)
        total = np.zeros_like(ratio)
        for n in range(_SERIES):
            total -= h / (n + 2) * np.expm1(-(n + 2) * np.abs(length))
            even = even * square if n % 2 else even
            h = ratio * h + (even if n % 2 else 0.0)
        return np.copysign(1.0, length) * total / z**2, w, m

    def _closed(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        w0, m0, r, c, k, limit = self.w0, self.m0, self.r, self.c, self.k, self.limit
        gap, shift = self.gap0 * np.exp(-y), self.gap0 * np.expm1(-y)
        w = limit + gap
        if c > 0:
            angle = np.arctan2(np.sqrt(c) * shift, m0 + w0 * shift) / np.sqrt(c)
            change = shift * (w + w0) / m0  # m/m0 − 1, which cancels where m is the smaller one
            log = np.where(change < -0.5, np.log((c + w**2) / m0), np.log1p(np.maximum(change, -0.5))) / 2
            return (y + log + r * angle) / self.above, w, c + w**2
        # partial fractions over the nodes −k, k, r in the pairs (k, r) and (−k, k), either of which may
        # coalesce, with the node that is the limit taken out of the logarithms
        apart = self.above / (r + k)  # r − k
        if limit == r:
            g = m0 / (w0 + k)
            time = _log1p_over(apart, np.expm1(y) / g) + _log1p_over(2 * k, shift / (m0 + g * shift))
            m = m0 + shift * (w + w0) if w0 < r else apart * (r + k) + gap * (w + r)
        elif limit == k:
            time = _log1p_over(-apart, np.expm1(y) / (w0 - r)) - _log1p_over(2 * k, np.expm1(y) / (w0 + k))
            m = gap * (w + k)
        else:
            near = shift / ((r - w) * (w0 - k))
            time = _log1p_over(apart, near) + _log1p_over(2 * k, np.expm1(y) / (k - w0))
            m = gap * (w - k)
        return time / (r + k), w, m

    def clock(self, t: np.ndarray) -> np.ndarray:
        """Return y at time t by bisection of the increasing t(y): the last float64 that is not late."""
        # floats >= 0 are ordered as their bits: halving those keeps relative accuracy down to the smallest y
        low, high = np.zeros(t.shape, np.int64), np.full(t.shape, np.float64(_LOG_RANGE).view(np.int64))
        while np.any(high - low > 1):
            middle = low + (high - low) // 2
            early = self.at(middle.view(np.float64))[0] <= t
            low, high = np.where(early, middle, low), np.where(early, high, middle)
        return low.view(np.float64)


def _no_ema_paths(state: ModeState, system: ModeSystem) -> list[_NoEmaPath]:
    refuse_weight_decay(system)
    for name, value in (("lambda_s", system.lambda_s), ("lambda_d", system.lambda_d)):
        if np.any(value <= 0):
            raise ValueError(f"`{name}` must be > 0 for this closed form, got {np.min(value)}")
    w1, w2, _ = state
    to, tp = system.tau_online, system.tau_predictor
    m = np.broadcast_to(to / tp * w1**2, w2.shape)
    c = difference_of_squares(to, w1, tp, w2) / tp
    modes = zip(w2, m, c, _above(state, system), system.ratio, strict=True)
    return [_NoEmaPath(*map(float, mode)) for mode in modes]


def _above(state: ModeState, system: ModeSystem) -> np.ndarray:
    """r² + c of each mode, c in units of τp, rounded once."""
    values = (
        state.online,
        state.predictor,
        system.tau_online,
        system.tau_predictor,
        system.lambda_s,
        system.lambda_d,
    )
    found = []
    for mode in zip(*np.broadcast_arrays(*values), strict=True):
        w1, w2, to, tp, ls, ld = (Fraction(float(number)) for number in mode)
        found.append(float((ld / ls) ** 2 + to / tp * w1**2 - w2**2))
    return np.array(found)


def no_ema_time(predictor: Any, state: ModeState, system: ModeSystem) -> np.ndarray:
    """Exact time at which the predictor of each mode without EMA has a given value.

        t = τo [F(w2) − F(w2(0))]/(λs(r² + c)),   F(w) = ½ ln(w² + c) + r A(w) − ln|r − w|,

    with c = τo w1(0)²/τp − w2(0)² and A(w) = arctan(w/√c)/√c, −1/w, or (1/2k) ln|(w − k)/(w + k)|, k = √−c,
    for c >, =, < 0. The differences are rearranged so that they hold through c = 0, and through c = −r² where
    the difference of F and the factor r² + c vanish together.

    Parameters
    ----------
    predictor
        w2, shape (..., n_modes) or broadcastable to it.
    state
        Start w1, w2, shape (n_modes,); its θ is not used, as θ = w1.
    system
        λs > 0, λd > 0, any τo and τp, η = 0.

    Returns
    -------
    array (..., n_modes)
        Negative where w2 lies before the start; inf at the limit of w2; NaN where the path never leads.

    Raises
    ------
    ValueError
        λs or λd is not positive, or η ≠ 0.

    Notes
    -----
    Source: R14, with τo and τp restored.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> no_ema_time(np.array([[0.1], [0.4], [0.5]]), system.state(0.1, 0.1), system).round(6)
    array([[ 0.      ],
           [26.090355],
           [      inf]])
    """
    paths = _no_ema_paths(state, system)
    asked = np.asarray(predictor, dtype=np.float64)
    asked = np.broadcast_to(asked, np.broadcast_shapes(asked.shape, (len(paths),)))
    times = np.empty(asked.shape)
    # outside the path the logarithms have no real value: those times are NaN
    with np.errstate(divide="ignore", invalid="ignore"):
        for i, path in enumerate(paths):
            w = asked[..., i]
            if path.at_rest:
                times[..., i] = np.where(w == path.w0, 0.0, np.nan)
                continue
            y = -np.log1p((w - path.w0) / path.gap0)
            times[..., i] = np.where(w == path.limit, np.inf, path.at(y)[0])
    return times * (system.tau_online / system.lambda_s)


def no_ema_solution(ts: Any, state: ModeState, system: ModeSystem) -> ModeState:
    """Exact flow of modes without EMA, θ = w1: `no_ema_time` inverted.

    w2(t) is monotone, and w1(t) = sign(w1(0)) sqrt((τp/τo)(w2² + c)) follows on the leaf.

    Parameters
    ----------
    ts
        Times t >= 0, any shape.
    state
        Start w1, w2, shape (n_modes,), any signs; its θ is not used.
    system
        λs > 0, λd > 0, any τo and τp, η = 0.

    Returns
    -------
    ModeState
        Shape ts.shape + (n_modes,). w2 to a few roundings of itself and w1, and what a rounding of t moves it by;
        from starts w2 < 0 of leaves c > 0, that pass zero, to a few roundings of r. w1 to relative accuracy also
        while it collapses, down to some 1e-130 of its start, where it is held.

    Raises
    ------
    ValueError
        A time is negative or not finite; λs or λd is not positive; η ≠ 0.

    Notes
    -----
    On which side of the boundaries c = 0 (for w2 < 0) and c = −r² (for w2 > 0) a start lies is decided by the
    numbers as they are given, in exact arithmetic. Source: R14.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> no_ema_solution(200.0, system.state(0.3, 0.1), system).online.round(6)
    array([0.574456])
    """
    t = solution_times(ts)
    paths = _no_ema_paths(state, system)
    w2, m = np.empty((*t.shape, len(paths))), np.empty((*t.shape, len(paths)))
    unit = np.broadcast_to(system.tau_online / system.lambda_s, (len(paths),))
    for i, path in enumerate(paths):
        if path.at_rest:
            w2[..., i], m[..., i] = path.w0, path.m0
        else:
            _, w2[..., i], m[..., i] = path.at(path.clock(t / unit[i]))
    w1 = np.sign(state.online) * np.sqrt(system.tau_predictor * m / system.tau_online)
    return ModeState(w1, w2, w1.copy())


def escape_time(weight: Any, system: ModeSystem, *, fraction: float = 0.5) -> np.ndarray:
    """Exact time that tied weights without EMA take from w to a fraction of r: they leave the origin slowly.

    dw/dt = w²(λd − λs w)/τ, so the time grows as τ/(λd w) for small w, not as ln(1/w).

    Parameters
    ----------
    weight
        w = w1 = w2 = θ at the start, > 0, scalar or shape (n_modes,).
    system
        λs > 0, λd > 0, τo = τp = τ, η = 0.
    fraction
        Where the escape ends, as a fraction of r, in (0, 1).

    Returns
    -------
    array (n_modes,)
        The time; negative for a start beyond the fraction.

    Raises
    ------
    ValueError
        `weight` or `fraction` is out of range, or the system is not as above.

    Notes
    -----
    Source: R14.

    Examples
    --------
    >>> escape_time(1e-4, ModeSystem(1.0, 0.5)).round(1)
    array([20026.1])
    """
    if not 0 < fraction < 1:
        raise ValueError(f"`fraction` must be in (0, 1), got {fraction}")
    if np.any(np.asarray(system.tau_online) != np.asarray(system.tau_predictor)):
        raise ValueError(
            "tied weights must have `tau_online` = `tau_predictor`,"
            f" got {system.tau_online} and {system.tau_predictor}"
        )
    start = system.state(weight, weight, weight)
    if np.any(start.online <= 0):
        raise ValueError(f"`weight` must be > 0 to escape, got {np.min(start.online)}")
    return no_ema_time(fraction * system.ratio, start, system)
