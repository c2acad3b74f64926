"""Closed-form solutions of the flows: no predictor, a constant target, no EMA; and the EMA recurrence."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from dynamics.exact.fixed_points import leaf_eigenvalues, refuse_weight_decay
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem

_LOG_RANGE = 600.0
"""The longest y: with e^−600 of the way left one has arrived, and e^600 does not overflow."""


class EmaGrowth(NamedTuple):
    """Growth of the recurrence of R28: κ, and the bound λ/(1/α + 1/η) that it never exceeds."""

    rate: np.ndarray
    bound: np.ndarray


def _times(ts: Any) -> np.ndarray:
    times = np.asarray(ts, dtype=np.float64)
    bad = ~(np.isfinite(times) & (times >= 0))
    if np.any(bad):
        raise ValueError(f"`ts` must be finite and >= 0, got {times[bad].flat[0]}")
    return times


def no_predictor_eigenvalues(system: ModeSystem) -> np.ndarray:
    """Eigenvalues of the flow without predictor, [[−λs/τo − η, λd/τo], [1/τt, −1/τt]].

    Returns
    -------
    array (n_modes, 2)
        Complex, the larger real part first. For λs > 0, both are negative iff λd < λs + τo η: collapse from
        everywhere. One is exactly 0 when λd = λs and η = 0.

    Notes
    -----
    Source: R11; DD F.3.

    Examples
    --------
    >>> no_predictor_eigenvalues(ModeSystem(1.0, 1.0)).real
    array([[ 0., -2.]])
    """
    beta, gamma = _no_predictor_leaf(system)
    return leaf_eigenvalues(beta, gamma, system)


def _no_predictor_leaf(system: ModeSystem) -> tuple[np.ndarray, np.ndarray]:
    beta = system.lambda_d / system.tau_online
    return beta, (system.lambda_s - system.lambda_d) / system.tau_online + system.weight_decay


def no_predictor_solution(ts: Any, state: ModeState, system: ModeSystem) -> ModeState:
    """Exact flow of modes without predictor: (w1, θ)(t) = exp(A t) (w1, θ)(0).

    With A of `no_predictor_eigenvalues`, s its larger eigenvalue and 2δ the distance to the other one,

        exp(A t) = e^{s t} [½(1 + e^{−2δt}) I + (1 − e^{−2δt})/(2δ) (A − ½ tr A)].

    Parameters
    ----------
    ts
        Times t >= 0, any shape.
    state
        Start w1, θ, shape (n_modes,); its w2 is not used.
    system
        Any eigenvalues, weight decay included.

    Returns
    -------
    ModeState
        Shape ts.shape + (n_modes,); w2 = 1.

    Raises
    ------
    ValueError
        A time is negative or not finite.

    Notes
    -----
    Source: R11; DD F.3.

    Examples
    --------
    >>> system = ModeSystem(1.0, 1.0)
    >>> no_predictor_solution(50.0, system.state(online=0.3, target=0.1), system).online
    array([0.2])
    """
    t = _times(ts)[..., None]
    w1, _, th = state
    beta, gamma = _no_predictor_leaf(system)
    zeta = 1 / np.asarray(system.tau_target)
    s, other = np.moveaxis(no_predictor_eigenvalues(system), -1, 0)
    two_delta = s - other
    decayed = np.exp(-two_delta * t)
    mean = (1 + decayed) / 2
    slope = np.where(two_delta == 0, t, -np.expm1(-two_delta * t) / np.where(two_delta == 0, 1.0, two_delta))
    half = (zeta - beta - gamma) / 2
    online = np.exp(s * t) * (mean * w1 + slope * (half * w1 + beta * th))
    target = np.exp(s * t) * (mean * th + slope * (zeta * w1 - half * th))
    return ModeState(online.real, np.ones_like(online.real), target.real)


def no_predictor_matrix_solution(ts: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    """Exact flow of the full network without predictor: [W Θ](t) = [W Θ](0) exp(K t).

    K = [[−Σs/τo − η I, I/τt], [Σd/τo, −I/τt]], acting from the right, whether Σs and Σd commute or not.

    Parameters
    ----------
    ts
        Times t >= 0, shape (T,) or scalar.
    state
        Start W, Θ, shape (n2, n1); its P is not used.
    system
        Moments, time constants and weight decay.

    Returns
    -------
    MatrixState
        Time first; P = I. One exponential of a 2 n1 × 2 n1 matrix a time, O(T n1³).

    Raises
    ------
    ValueError
        A time is negative or not finite.

    Notes
    -----
    Source: R11; DD F.3.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(2), np.diag([1.0, 0.5]))
    >>> no_predictor_matrix_solution(100.0, system.state(np.eye(2), np.eye(2)), system).online.round(6)
    array([[1., 0.],
           [0., 0.]])
    """
    from scipy.linalg import expm

    times = _times(ts)
    W, P, Th = state
    one = np.eye(system.n1)
    sigma_s, sigma_d = (s if s.ndim == 2 else np.diag(s) for s in (system.sigma_s, system.sigma_d))
    K = np.block(
        [
            [-sigma_s / system.tau_online - system.weight_decay * one, one / system.tau_target],
            [sigma_d / system.tau_online, -one / system.tau_target],
        ]
    )
    both = np.hstack([W, Th]) @ expm(K * times[..., None, None])
    identity = np.broadcast_to(np.eye(P.shape[0]), (*times.shape, *P.shape)).copy()
    return MatrixState(both[..., : system.n1], identity, both[..., system.n1 :])


def fixed_target_solution(ts: Any, state: ModeState, system: ModeSystem) -> ModeState:
    """Exact flow of modes with a constant target.

    With x = sqrt(τo) w1 and y = sqrt(τp) w2, the product of p = x + y and q = x − y is the invariant c, and
    z = (p/p(0))² = (q(0)/q)² obeys a Riccati equation with constant coefficients,

        dz/dt = −a p(0)² z² + 2h z + a q(0)²,   a = λs/(2 τo τp),  h = θ λd/sqrt(τo τp),

    whose solution, with δ = sqrt(h² + a²c²) and S = tanh(δt)/δ, is

        z = [1 + (h + a q(0)²) S]/[1 + (a p(0)² − h) S].

    It is R13's u = w1 w2 = (p² − q²)/(4 sqrt(τo τp)), in variables that need no case for c > 0, = 0, < 0 and
    carry the signs of both weights. Both sides of the fraction are evaluated times 1 + e^{−2δt}, as sums of
    positive terms.

    Parameters
    ----------
    ts
        Times t >= 0, any shape.
    state
        Start w1, w2 and the constant θ, shape (n_modes,), any signs.
    system
        λs >= 0, any λd, any τo and τp, η = 0.

    Returns
    -------
    ModeState
        Shape ts.shape + (n_modes,). The error is a few roundings of max(|x|, |y|), also next to the invariant lines
        x = ±y, and δt roundings more of what is far from its end.

    Raises
    ------
    ValueError
        A time is negative or not finite; η ≠ 0; λs < 0, where solutions leave in finite time (R26).

    Notes
    -----
    Source: R13; DD F, Figure 5 left.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> end = fixed_target_solution(200.0, system.state(0.3, -0.1, 1.0), system)
    >>> np.round(end.online * end.predictor, 12)
    array([0.5])
    """
    t = _times(ts)[..., None]
    refuse_weight_decay(system)
    if np.any(system.lambda_s < 0):
        raise ValueError(f"`lambda_s` must be >= 0 for this closed form, got {np.min(system.lambda_s)}")
    w1, w2, th = state
    root_o, root_p = np.sqrt(system.tau_online), np.sqrt(system.tau_predictor)
    p0, q0 = root_o * w1 + root_p * w2, root_o * w1 - root_p * w2
    # the smaller of the two cancels; their product, the invariant, is known to one rounding
    c = _exactly(system.tau_online, w1, system.tau_predictor, w2)
    p0, q0 = (
        np.where(np.abs(one) >= np.abs(other), one, c / np.where(other == 0, 1.0, other))
        for one, other in ((p0, q0), (q0, p0))
    )
    a = system.lambda_s / (2 * system.tau_online * system.tau_predictor)
    h = th * system.lambda_d / (root_o * root_p)
    ac = a * c
    delta = np.hypot(h, ac)
    safe = np.where(delta == 0, 1.0, delta)
    decayed = np.exp(-2 * delta * t)
    rise = np.where(delta == 0, 2 * t, -np.expm1(-2 * delta * t) / safe)
    # 1 ± h/δ; the smaller one from δ² − h² = (a c)², for h/δ may be 1 to rounding
    large = 1 + np.abs(h) / safe
    small = np.where(delta == 0, 1.0, (ac / safe) * (ac / (safe + np.abs(h))))
    plus, minus = np.where(h >= 0, large, small), np.where(h >= 0, small, large)
    numerator = plus + minus * decayed + a * q0**2 * rise
    denominator = minus + plus * decayed + a * p0**2 * rise
    # p = 0 and q = 0 are invariant lines, on which the other term may underflow
    p = p0 * np.sqrt(numerator / np.where(p0 == 0, 1.0, denominator))
    q = q0 * np.sqrt(denominator / np.where(q0 == 0, 1.0, numerator))
    return ModeState((p + q) / (2 * root_o), (p - q) / (2 * root_p), np.broadcast_to(th, p.shape).copy())


def _log1p_over(d: float, v: Any) -> Any:
    """ln(1 + d v)/d, continued by v at d = 0."""
    return np.log1p(d * v) / d if d != 0 else v


def _exactly(a: Any, x: Any, b: Any, y: Any) -> np.ndarray:
    """A x² − b y², rounded once, for numbers or arrays of one axis: exact in rational numbers."""
    parts = zip(*np.broadcast_arrays(*map(np.atleast_1d, (a, x, b, y))), strict=True)
    rational = ([Fraction(float(number)) for number in part] for part in parts)
    return np.array([float(a * x**2 - b * y**2) for a, x, b, y in rational])


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
    c = _exactly(to, w1, tp, w2) / tp
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
    t = _times(ts)
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


def ema_growth(learning_rate: Any, target_rate: Any, gain: Any) -> EmaGrowth:
    """Growth rate κ of w(t+1) = w(t) + α[−w(t) + (1 + λ) v(t)], v(t+1) = (1 − η) v(t) + η w(t).

    κ = ½(η + α)(sqrt(1 + 4αηλ/(η + α)²) − 1) <= λ/(1/α + 1/η); generic starts grow as (1 + κ)ᵗ.

    Parameters
    ----------
    learning_rate
        α, in (0, 1].
    target_rate
        η = 1 − γ with γ the EMA coefficient, in (0, 1].
    gain
        λ, any real number with 1 + 4αηλ/(η + α)² >= 0; broadcasts with the others.

    Returns
    -------
    EmaGrowth
        κ, the larger root of κ² + (α + η)κ = αηλ, and its bound.

    Raises
    ------
    ValueError
        A rate is out of range, or λ so negative that the recurrence oscillates.

    Notes
    -----
    Source: R28; DD theorem 9, which prints 1 − λ.

    Examples
    --------
    >>> ema_growth(0.5, 0.5, 3.0)
    EmaGrowth(rate=np.float64(0.5), bound=np.float64(0.75))
    """
    alpha, eta, lam = (np.asarray(value, dtype=np.float64) for value in (learning_rate, target_rate, gain))
    for name, value in (("learning_rate", alpha), ("target_rate", eta)):
        bad = ~((value > 0) & (value <= 1))
        if np.any(bad):
            raise ValueError(f"`{name}` must be in (0, 1], got {value[bad].flat[0]}")
    under_root = 1 + 4 * alpha * eta * lam / (eta + alpha) ** 2
    if not np.all(under_root >= 0):
        raise ValueError(f"`gain` must be >= −(α + η)²/(4αη) for a real growth rate, got {np.min(lam)}")
    bound = alpha * eta * lam / (alpha + eta)
    return EmaGrowth(2 * bound / (np.sqrt(under_root) + 1), bound)
