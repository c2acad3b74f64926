"""Two layers under the simple contrastive loss, solved: blow-up in finite time, weight decay as a change of time."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from dynamics.exact.arithmetic import solution_times
from dynamics.exact.quadrature import integral_over_decades
from dynamics.fields.two_layers import TwoLayerState, branch_speed

EPS = float(np.finfo(np.float64).eps)
MOST = math.log(np.finfo(np.float64).max)


class Modes(NamedTuple):
    """A node in the eigenbasis of A: w1 = Σ_i a_i v_i."""

    a: np.ndarray
    eigenvalues: np.ndarray
    vectors: np.ndarray | None


class BlowUpBounds(NamedTuple):
    """Closed bounds of the blow-up time."""

    lower: float
    upper: float


def log_of_logarithmic_mean(log_x: float, log_y: float) -> float:
    """Logarithm of (x − y)/(ln x − ln y), the logarithmic mean of x, y > 0, from their logarithms.

    >>> log_of_logarithmic_mean(0.5, 0.5)
    0.5
    """
    gap = abs(log_x - log_y)
    return max(log_x, log_y) + (math.log(-math.expm1(-gap) / gap) if gap else 0.0)


def two_layer_time(s: Any, w1: Any, w2: float, A: Any, *, branches: str = "one") -> np.ndarray:
    """Time t at which a node has come to s, in the clock ds = w2² dt.

        t = (1/c) ∫_0^s ds′ / (w2² + Σ_i a_i² (e^{2λ_i s′} − 1))

    Parameters
    ----------
    s
        Values >= 0, any shape; inf gives the time of blow-up.
    w1, w2, A, branches
        As for `blow_up_time`.

    Returns
    -------
    array
        Times, the shape of `s`; inf where w2 = 0, or where s = inf is never reached.

    Notes
    -----
    Source: R124.

    Examples
    --------
    >>> float(two_layer_time(1.0, [0.0], 2.0, [1.0]))
    0.25
    """
    modes, c = _modes(w1, w2, A), branch_speed(branches)
    values = np.asarray(s, dtype=np.float64)
    if np.any(np.isnan(values) | (values < 0)):
        raise ValueError(f"`s` must be >= 0, got {s}")
    return np.array([_time(float(one), modes, w2) / c for one in values.ravel()]).reshape(values.shape)


def two_layer_state(
    ts: Any, w1: Any, w2: float, A: Any, *, weight_decay: float = 0.0, branches: str = "one"
) -> TwoLayerState:
    """State of a node at given times.

        w1 = e^{−ηt} e^{As} w1(0),   w2² = e^{−2ηt} (w2(0)² + Σ_i a_i² (e^{2λ_i s} − 1)),   t(s) of `two_layer_time`

    where decay runs the undecayed solution on the clock θ of `decayed_time`.

    Parameters
    ----------
    ts
        Times >= 0, before the blow-up, any shape.
    w1, w2, A, weight_decay, branches
        As for `blow_up_time`.

    Returns
    -------
    TwoLayerState
        `bottom` ts.shape + (d,) and `top` ts.shape. Near the blow-up they are as uncertain as (T* − t)/T* is.

    Raises
    ------
    ValueError
        A time is negative, or is not before the blow-up.

    Notes
    -----
    Source: R124, R125.

    Examples
    --------
    >>> two_layer_state(0.25, [0.0], 2.0, [1.0])
    TwoLayerState(bottom=array([0.]), top=array(2.))
    """
    from scipy.optimize import brentq

    times = solution_times(ts)
    modes, c = _modes(w1, w2, A), branch_speed(branches)
    theta = c * decayed_time(times, weight_decay)
    end = _time(math.inf, modes, w2)
    if np.any(theta >= end):
        when = blow_up_time(w1, w2, A, weight_decay=weight_decay, branches=branches)
        raise ValueError(f"`ts` must be before the blow-up at t = {when:.10g}, got {np.max(times):.10g}")

    def s_at(target: float) -> float:
        if target == 0 or w2 == 0:
            return 0.0
        high = target * w2**2  # s if w2 stood still; it grows, so s is larger
        while _time(high, modes, w2) < target:
            high *= 2
        low = target * w2**2
        found = brentq(lambda s: _time(s, modes, w2) / target - 1, low, high, xtol=EPS * low, rtol=4 * EPS)
        return float(found)

    a, lam, vectors = modes
    s = np.array([s_at(float(one)) for one in theta.ravel()]).reshape(theta.shape)[..., None]
    shrunk = np.exp(-weight_decay * times)
    bottom = a * np.exp(lam * s)
    top = np.copysign(np.sqrt(w2**2 + (a**2 * np.expm1(2 * lam * s)).sum(axis=-1)), w2)
    bottom = bottom if vectors is None else bottom @ vectors.T
    return TwoLayerState(shrunk[..., None] * bottom, np.asarray(shrunk * top))


def blow_up_time(w1: Any, w2: float, A: Any, *, weight_decay: float = 0.0, branches: str = "one") -> float:
    """Time at which a two-layer node with constant A blows up under the simple contrastive loss.

        T* = (1/c) ∫_0^∞ ds / (w2² + Σ_i a_i² (e^{2λ_i s} − 1)),    a_i = v_iᵀw1

    and with weight decay η at t = −ln(1 − 2ηT*)/(2η), or never if 2ηT* >= 1.

    Parameters
    ----------
    w1
        Lower weights of the node at the start, shape (d,).
    w2
        Its upper weight at the start.
    A
        Covariance over sources of its gated mean view, symmetric and positive semidefinite, shape (d, d); or its
        eigenvalues λ_i >= 0, shape (d,), with w1 given in its eigenbasis.
    weight_decay
        η >= 0, a rate, on both layers.
    branches
        Which branches carry the gradient: "one" (c = 1) or "all" (c = 2).

    Returns
    -------
    float
        Relative error below 1e-12, times 1/(1 − 2ηT*) with decay. inf where it never blows up: w2 = 0, or A w1 = 0;
        for a matrix A, components of w1 and eigenvalues of A that are rounding count as zero.

    Raises
    ------
    ValueError
        A number is not finite, a shape does not fit, A is not symmetric or not positive semidefinite, η < 0.

    Notes
    -----
    Source: R124, R125; DD theorem 5.

    Examples
    --------
    >>> round(blow_up_time([0.05, 0.3, 0.2], 0.5, [2.0, 1.0, 0.4]), 12)
    2.768225073473
    """
    modes, c = _modes(w1, w2, A), branch_speed(branches)
    return float(decayed_time_inverse(_time(math.inf, modes, w2) / c, weight_decay))


def blow_up_bounds(w1: Any, w2: float, A: Any, *, branches: str = "one") -> BlowUpBounds:
    """Closed bounds of the blow-up time without weight decay.

        ln(w2²/N)/(2λ1(w2² − N)) <= c T* <= ln(w2²/a1²)/(2λ1(w2² − a1²)),    N = ‖w1‖²

    with λ1 the largest eigenvalue of A and a1 the component of w1 along its eigenvectors. Both are equal, and are T*,
    where w1 is such an eigenvector.

    Parameters
    ----------
    w1, w2, A, branches
        As for `blow_up_time`.

    Returns
    -------
    BlowUpBounds
        inf where the denominator vanishes: both for w2 = 0, w1 = 0 or A = 0, the upper one for a1 = 0.

    Notes
    -----
    Source: R124.

    Examples
    --------
    >>> [round(bound, 4) for bound in blow_up_bounds([0.05, 0.3, 0.2], 0.5, [2.0, 1.0, 0.4])]
    [1.3508, 4.6517]
    """
    (a, lam, _), c = _modes(w1, w2, A), branch_speed(branches)
    top = float(np.max(lam))

    def bound(length: float) -> float:
        if top == 0 or length == 0 or w2 == 0:
            return math.inf
        mean = log_of_logarithmic_mean(2 * math.log(abs(w2)), 2 * math.log(length))
        return _exp(-mean - math.log(2 * c) - math.log(top))

    leading = a[lam >= top * (1 - len(lam) * EPS)]
    return BlowUpBounds(bound(_length(a)), bound(_length(leading)))


def decayed_time(t: Any, weight_decay: float, degree: int = 3) -> np.ndarray:
    """Clock of the undecayed solution under weight decay: w(t) = e^{−ηt} w̃(θ(t)).

        θ = (1 − e^{−(p−1)ηt}) / ((p−1)η)

    Parameters
    ----------
    t
        Times >= 0, any shape.
    weight_decay
        η >= 0, a rate, the same on all layers.
    degree
        p >= 2: the field is homogeneous of degree p in the weights, 3 for two layers.

    Returns
    -------
    array
        θ, the shape of t; t itself for η = 0.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Holds for any field that is homogeneous of degree p, with a full top layer or ReLU as well. Source: R125.

    Examples
    --------
    >>> float(decayed_time(1e9, 0.5))
    1.0
    """
    rate = _clock_rate(weight_decay, degree)
    times = solution_times(t)
    return times if rate == 0 else -np.expm1(-rate * times) / rate


def decayed_time_inverse(theta: Any, weight_decay: float, degree: int = 3) -> np.ndarray:
    """Time t at which the clock of `decayed_time` shows θ: −ln(1 − (p−1)ηθ)/((p−1)η), or inf if it never does.

    >>> float(decayed_time_inverse(1.0, 0.5))
    inf
    """
    rate = _clock_rate(weight_decay, degree)
    theta = np.asarray(theta, dtype=np.float64)
    if rate == 0:
        return theta
    reached = theta < 1 / rate
    reached &= rate * theta < 1
    return np.where(reached, -np.log1p(-rate * np.where(reached, theta, 0.0)) / rate, np.inf)


def _clock_rate(weight_decay: float, degree: int) -> float:
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"`weight_decay` must be finite and >= 0, got {weight_decay}")
    if degree < 2:
        raise ValueError(f"`degree` must be >= 2, got {degree}")
    return (degree - 1) * weight_decay


def _length(vector: np.ndarray) -> float:
    return math.hypot(*vector.tolist())


def _exp(logarithm: float) -> float:
    return math.exp(logarithm) if logarithm < MOST else math.inf


def _modes(w1: Any, w2: float, A: Any) -> Modes:
    w1, A = np.asarray(w1, dtype=np.float64), np.asarray(A, dtype=np.float64)
    if w1.ndim != 1 or w1.size == 0 or not np.all(np.isfinite(w1)):
        raise ValueError(f"`w1` must be finite numbers of shape (d,), got {w1}")
    if not math.isfinite(w2):
        raise ValueError(f"`w2` must be a finite number, got {w2}")
    d = len(w1)
    if A.shape not in ((d,), (d, d)) or not np.all(np.isfinite(A)):
        raise ValueError(f"`A` must be finite, of shape ({d},) or ({d}, {d}), got shape {A.shape}")
    if A.ndim == 1:
        if np.any(A < 0):
            raise ValueError(f"`A` must have eigenvalues >= 0, got {np.min(A)}")
        return Modes(w1, A, None)
    largest = np.max(np.abs(A))
    if np.max(np.abs(A - A.T)) > d * EPS * largest:
        raise ValueError(f"`A` must be symmetric, got {A}")
    lam, vectors = np.linalg.eigh(A)
    if lam[0] < -d * d * EPS * largest:
        raise ValueError(f"`A` must have eigenvalues >= 0, got {lam[0]}")
    a = w1 @ vectors
    lam = np.where(lam > d * EPS * largest, lam, 0.0)
    return Modes(np.where(np.abs(a) > d * EPS * _length(w1), a, 0.0), lam, vectors)


def _time(s: float, modes: Modes, w2: float) -> float:
    """∫_0^s ds′/(w2² + Σ a_i² (e^{2λ_i s′} − 1)), all in logarithms, which neither over- nor underflow."""
    from scipy.special import exprel

    grows = (modes.a != 0) & (modes.eigenvalues > 0)
    if w2 == 0:
        return math.inf
    log_w2 = 2 * math.log(abs(w2))
    if s == 0:
        return 0.0
    if not np.any(grows):
        return math.inf if math.isinf(s) else _exp(math.log(s) - log_w2)
    rates = 2 * modes.eigenvalues[grows]
    log_a, log_rates = 2 * np.log(np.abs(modes.a[grows])), np.log(rates)

    def log_integrand(log_s: Any) -> Any:
        log_x = np.asarray(log_s)[..., None] + log_rates
        x = np.exp(np.clip(log_x, -700.0, 700.0))
        # ln(e^x − 1), for large x and for small
        log_growth = np.where(
            x > 1, x + np.log1p(-np.exp(-np.maximum(x, 1.0))), log_x + np.log(exprel(np.minimum(x, 1.0)))
        )
        return -np.logaddexp(log_w2, np.logaddexp.reduce(log_a + log_growth, axis=-1))

    # g changes where a mode starts to grow, and where it overtakes w2², at ln(1 + w2²/a²)/(2λ)
    ratio = log_w2 - log_a
    overtakes = np.where(ratio < -40, ratio, np.log(np.logaddexp(0.0, np.maximum(ratio, -40.0))))
    log_scales = np.concatenate([-log_rates, overtakes - log_rates])
    if math.isinf(s):
        return _exp(integral_over_decades(log_integrand, log_scales))
    upper = math.log(s)
    return _exp(integral_over_decades(log_integrand, np.minimum(log_scales, upper), upper=upper))
