"""What batches of finite size do to a learned mode: stationary spread, and slow balancing (R307, R308)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynamics.exact.fixed_points import refuse_weight_decay
from dynamics.integration.batch_noise import check_batch
from dynamics.integration.discrete import checked_step
from dynamics.system import ModeSystem


class StationarySpread(NamedTuple):
    """Stationary covariance around a learned point.

    Parameters
    ----------
    covariance
        Of (e, W − Θ), shape (2, 2).
    predictor
        Var w2.
    """

    covariance: np.ndarray
    predictor: float


def numbers_of(system: ModeSystem) -> tuple[float, float, float, float, float]:
    """λs, λd, r, τo and τp of one mode."""
    if system.n_modes != 1:
        raise ValueError(f"`system` must have one mode, got {system.n_modes}")
    refuse_weight_decay(system)
    ls, ld = float(system.lambda_s[0]), float(system.lambda_d[0])
    if not ls > 0 or abs(ld) > ls:
        raise ValueError(f"`lambda_s` must be > 0 and at least |λd|, got {ls} with λd = {ld}")
    to, tp = (float(np.squeeze(tau)) for tau in (system.tau_online, system.tau_predictor))
    return ls, ld, ld / ls, to, tp


def error_map(
    amplitude: float, system: ModeSystem, step: float, ema_rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """One step in the practical order near a learned point: y⁺ = M y + ξ n over y = (e, W − Θ), ξ the noise of ê.

        M = [[1 − εA + hεu, λd h], [(1 − h) ε r/τo, 1 − h]],   n = (−εA + hεu, (1 − h) ε r/τo)

    Parameters
    ----------
    amplitude
        w ≠ 0 of the point (w, r, w); A = λs (r²/τo + w²/τp) and u = λs r²/τo.
    system
        One mode, λs > 0 and |λd| <= λs, η = 0.
    step, ema_rate
        ε > 0 and h in (0, 1].

    Returns
    -------
    M, n
        Shapes (2, 2) and (2,).

    Notes
    -----
    Source: R308.

    Examples
    --------
    >>> error_map(0.5, ModeSystem(1.0, 0.5), 1.0, 1.0)[0]
    array([[0.75, 0.5 ],
           [0.  , 0.  ]])
    """
    ls, ld, r, to, tp = numbers_of(system)
    checked_step(step, ema_rate)
    u = ls * r**2 / to
    A = u + ls * amplitude**2 / tp
    pull, follow = -step * A + ema_rate * step * u, (1 - ema_rate) * step * r / to
    return np.array([[1 + pull, ld * ema_rate], [follow, 1 - ema_rate]]), np.array([pull, follow])


def stationary_covariance(
    amplitude: float, system: ModeSystem, step: float, ema_rate: float, batch: int
) -> StationarySpread:
    """Covariance of (e, W − Θ) that noisy steps keep near a learned point: S = M S Mᵀ + Var ξ n nᵀ.

    Parameters
    ----------
    amplitude, system, step, ema_rate
        As for `error_map`, below the critical step, h > 0.
    batch
        B >= 1; Var ξ = w² (λs² − λd²)/B. To first order in 1/B: at small B the invariant drifts meanwhile (R307).

    Returns
    -------
    StationarySpread
        With Var w2 of δw2 = −(e + λd (W − Θ))/(λs w).

    Raises
    ------
    ValueError
        The point is not stable at this step, or a number is out of range.

    Notes
    -----
    Source: R308. Without average Var e = ε v Var ξ/(2 − ε v), v = λs w²/τp.

    Examples
    --------
    >>> spread = stationary_covariance(1.0, ModeSystem(1.0, 0.5), 0.5, 1.0, 75)
    >>> round(spread.covariance[0, 0], 9), round(0.5 * 0.75 / 75 / 1.5, 9)
    (np.float64(0.003333333), 0.003333333)
    """
    from scipy.linalg import solve_discrete_lyapunov

    check_batch(batch)
    ls, ld, *_ = numbers_of(system)
    M, n = error_map(amplitude, system, step, ema_rate)
    radius = float(np.max(np.abs(np.linalg.eigvals(M))))
    if not radius < 1:
        raise ValueError(
            f"`step` must be below the critical step of the learned point, got a spectral radius {radius:.6g}"
        )
    noise = amplitude**2 * (ls - ld) * (ls + ld) / batch
    S = np.asarray(solve_discrete_lyapunov(M, noise * np.outer(n, n)))
    towards = np.array([1.0, ld])
    return StationarySpread(S, float(towards @ S @ towards / (ls * amplitude) ** 2))


def frozen_encoder_variance(gain: float, system: ModeSystem, batch: int) -> float:
    """Stationary variance of w2 with a frozen encoder, exact at any noise: g (λs² − λd²)/(B [2λs − g λs² (1 + 2/B)]).

    Parameters
    ----------
    gain
        g = ε w²/τp > 0.
    system
        One mode.
    batch
        B >= 1.

    Returns
    -------
    float
        Infinite from g λs (1 + 2/B) = 2 on: noise lowers the critical step 2/λs.

    Notes
    -----
    Source: R308.

    Examples
    --------
    >>> round(frozen_encoder_variance(0.5, ModeSystem(1.0, 0.5), 4), 12)
    0.075
    """
    check_batch(batch)
    if not gain > 0:
        raise ValueError(f"`gain` must be > 0, got {gain}")
    ls, ld, *_ = numbers_of(system)
    left = 2 - gain * ls * (1 + 2 / batch)
    return float(gain * (ls - ld) * (ls + ld) / (batch * ls * left)) if left > 0 else float(np.inf)


def mean_square_error(
    invariant: float, system: ModeSystem, step: float, ema_rate: float, batch: int
) -> float:
    """Mean of ê² on a batch at a point of the learned line, with the stationary spread about it.

        E ê² = (1 + 2/B) S_ee + E θ² (λs² − λd²)/B,   S = M S Mᵀ + [w² (λs² − λd²) + 2 S_ee]/B n nᵀ

    E θ² is not w²: at a given c, τo E w1² = c + τp E w2², with Var w2 and the shift of its mean that E w1 e = 0 asks
    for, and θ lags behind w, which the law itself lets drift.

    Parameters
    ----------
    invariant
        c > −τp r².
    system, step, ema_rate, batch
        As for `stationary_covariance`.

    Notes
    -----
    Source: R307, with R308 at the next order. Var ê = [θ² (λs² − λd²) + 2e²]/B holds at any state (R306).

    Examples
    --------
    >>> round(mean_square_error(0.75, ModeSystem(1.0, 0.5), 1e-9, 1e-9, 2), 6)
    0.375
    """
    ls, ld, r, to, tp = numbers_of(system)
    w = float(np.sqrt((invariant + tp * r**2) / to))
    left = (ls - ld) * (ls + ld) / batch
    unit = stationary_covariance(w, system, step, ema_rate, batch).covariance / (w**2 * left)
    # noise that is proportional to S_ee itself: S = unit (w² left + 2 S_ee/B)
    own = 1 - 2 / batch * unit[0, 0]
    if not own > 0:
        raise ValueError(f"`step` must be small enough for a finite mean square at this batch, got {step}")
    S = unit * w**2 * left / own
    # δw2 = −(e + λd q)/(λs w), and at a given c δw1 = k δw2
    k, towards = tp * r / (to * w), -np.array([1.0, ld]) / (ls * w)
    with_error, with_lag = towards @ S
    variance = float(towards @ S @ towards)
    # θ lags behind the drift of w, by (1 − h)/h of its change per step
    lag = (1 - ema_rate) / ema_rate * -(step**2) * invariant * w * left / (2 * to**2 * tp)
    shift = (k * with_error / (ls * w) - k * variance - r * lag) / w
    square = r**2 + 2 * r * shift + variance
    target = (invariant + tp * square) / to - 2 * (k * with_lag + w * lag) + S[1, 1]
    return float((1 + 2 / batch) * S[0, 0] + target * left)


class BalancingMoments(NamedTuple):
    """Mean and variance of the invariant over runs, each of shape (T,)."""

    mean: np.ndarray
    variance: np.ndarray


def balancing_path(
    ts: Any, invariant: float, system: ModeSystem, step: float, ema_rate: float, batch: int
) -> np.ndarray:
    """Mean of the invariant over runs along the learned line: see `balancing_moments`.

    Examples
    --------
    >>> round(float(balancing_path([0.0, 106.65], 0.75, ModeSystem(1.0, 0.5), 0.05, 0.05, 2)[-1]), 3)
    0.201
    """
    return balancing_moments(ts, invariant, system, step, ema_rate, batch).mean


def balancing_moments(
    ts: Any, invariant: float, system: ModeSystem, step: float, ema_rate: float, batch: int
) -> BalancingMoments:
    """Mean and variance of the invariant over runs along the learned line, to the next order.

        dm/dt = f(m) + f''(m) v/2,   f(c) = −(ε/(τo τp)) c E ê²(c)
        dv/dt = 2 f'(m) v + (ε³/(τo τp)²) m² Var ê²,   Var ê² = [3 (1 + 2/B) − 1] (E ê²)²

    v is the variance of c between runs: f is convex, and its mean is not f at the mean.

    Parameters
    ----------
    ts
        Increasing times from 0 on, shape (T,).
    invariant
        c0 > −τp r², the same for all runs.
    system, step, ema_rate, batch
        As for `stationary_covariance`.

    Returns
    -------
    BalancingMoments
        m(t) and v(t), with `mean_square_error` at each c on the way; f' and f'' keep the shape c (c + τp r²) of the
        first order. ê is taken to be new at every step, which leaves v a tenth or two too small.

    Notes
    -----
    Source: R307. Its first order is `dynamics.exact.balancing.balancing_law`.

    Examples
    --------
    >>> found = balancing_moments([0.0, 106.65], 0.75, ModeSystem(1.0, 0.5), 0.05, 0.05, 2)
    >>> [round(float(part[-1]), 4) for part in (found.mean, np.sqrt(found.variance))]
    [0.201, 0.0091]
    """
    from scipy.integrate import solve_ivp

    _, _, r, to, tp = numbers_of(system)
    edge = -tp * r**2
    if not invariant > edge:
        raise ValueError(f"`invariant` must be > {edge:.6g} for a learned point, got {invariant}")
    kurtosis = 3 * (1 + 2 / batch)

    def slope(_: float, moments: np.ndarray) -> list[float]:
        c, variance = moments
        square = mean_square_error(float(c), system, step, ema_rate, batch)
        rate = -step / (to * tp) * square
        bend, tilt = 2 * rate / (c - edge), rate * (2 * c - edge) / (c - edge)
        spread = step**3 / (to * tp) ** 2 * (c * square) ** 2 * (kurtosis - 1)
        return [rate * c + bend * variance / 2, 2 * tilt * variance + spread]

    ts = np.asarray(ts, dtype=np.float64)
    start = [invariant, 0.0]
    found = solve_ivp(slope, (0.0, float(ts[-1])), start, t_eval=ts, rtol=1e-8, atol=1e-12)
    return BalancingMoments(*np.asarray(found.y))
