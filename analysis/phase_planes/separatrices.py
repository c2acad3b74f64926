"""Separatrices: the stable manifolds of saddles, which part the basins of a plane, and their unstable manifolds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from analysis.phase_planes.planes import Plane, checked_window
from dynamics.exact.fixed_points import refuse_weight_decay
from dynamics.invariants import scaled_invariant
from dynamics.quadratic import even_part, shifted
from dynamics.system import ModeSystem

_CHUNK = 1024  # curves integrated at once: the error norm is a mean, so one of them can be √1024 times worse
_RTOL = 1e-11
_LN2 = float(np.log(2.0))
_OFFSET = 1e-6  # of the window: a manifold leaves its tangent by the square of this
_AT_REST = 1e-9  # of the window: distance of a point to where it should be
_STILL = 1e-10  # of the window, in a time of the fastest rate at the point
_LONGEST = 1e4  # such times
_SERIES_END = 1e-3  # the series is cut after y² and its terms fall by a factor y²/3 at least


def leaf_separatrix(online: Any, predictor: Any, system: ModeSystem) -> np.ndarray:
    """Target on the stable manifold of the saddle (0, k, 0) of a leaf −τp r² < c < 0, k = sqrt(−c/τp).

    A start of the full flow with θ above it ends at w1 > 0, one below at w1 < 0 (R6). In terms of y and m with
    w1 = sqrt(−c/τo) sinh y, w2 = k cosh y and θ = −m w1 the manifold obeys, for α = τo/(τt λs k²), ρ = r/k,

        sinh(y) dm/dy = α (1 + m)/(ρ m + cosh y) − m cosh y,

    integrated from the saddle outwards, where it contracts.

    Parameters
    ----------
    online, predictor
        w1 and w2, shape (..., n_modes).
    system
        λs > 0, η = 0; for λd < 0 the manifold is that of (−w2, −λd).

    Returns
    -------
    array (..., n_modes)
        θ, with a relative error below 1e-9, infinite beyond floats; NaN on leaves without the saddle and for λs <= 0.

    Raises
    ------
    ValueError
        η ≠ 0: then there are no leaves.

    Notes
    -----
    θ falls with w1 and is odd in it; as |w1| → ∞ it tends to a finite limit. Source: R6.

    Examples
    --------
    >>> leaf_separatrix(0.1, 0.3, ModeSystem(1.0, 0.5)).round(6)
    array([-0.729883])
    """
    refuse_weight_decay(system)
    c, n = scaled_invariant(online, predictor, system)
    w1, w2, ls, ld, to, tp, tt, c, n = np.broadcast_arrays(
        online,
        predictor,
        system.lambda_s,
        system.lambda_d,
        system.tau_online,
        system.tau_predictor,
        system.tau_target,
        c,
        n,
    )
    theta = np.full(w1.shape, np.nan)
    may = (ls > 0) & (c < 0) & (ld != 0) & (np.where(ld < 0, -w2, w2) > 0)
    w1, ls, ld, to, tp, tt, c, n = (part[may] for part in (w1, ls, np.abs(ld), to, tp, tt, c, n))
    log_k = (np.log(-c) - np.log(tp)) / 2 + n * _LN2
    log_rho = np.log(ld) - np.log(ls) - log_k
    log_alpha = np.log(to) - np.log(tt) - np.log(ls) - 2 * log_k
    unit_o, half_o = even_part(to)
    y = np.arcsinh(np.sqrt(unit_o / -c) * np.abs(shifted(w1, half_o - n)))
    saddle = log_rho > 0
    log_m = np.full(w1.shape, np.nan)
    log_m[saddle] = _log_slope(y[saddle], log_alpha[saddle], log_rho[saddle])
    power = np.where(saddle, np.rint(np.where(saddle, log_m, 0.0) / _LN2), 0.0)
    mantissa, exponent = np.frexp(w1)
    theta[may] = -shifted(np.exp(log_m - power * _LN2) * mantissa, power.astype(int) + exponent)
    return theta


def _log_slope(y: np.ndarray, log_alpha: np.ndarray, log_rho: np.ndarray) -> np.ndarray:
    """q(y) = ln m(y) of `leaf_separatrix`, one curve an entry.

        dq/dy = [α (1 + e^{−q})/(ρ e^q + cosh y) − cosh y]/sinh y

    α and ρ may be larger and smaller than all floats, but the first term in brackets stays near 1.
    """
    # m stays finite at the saddle if ρ m² + (1 − α) m − α = 0 there; the form without cancellation is taken, in units
    # of the largest of 1, α and √(α ρ)
    unit = np.maximum(np.maximum(log_alpha, (log_alpha + log_rho) / 2), 0.0)
    gap = np.abs(np.exp(-unit) - np.exp(log_alpha - unit))
    log_sum = unit + np.log(gap + np.sqrt(gap**2 + 4 * np.exp(log_alpha + log_rho - 2 * unit))) - _LN2
    q0 = np.where(log_alpha < 0, log_alpha - log_sum, log_sum - log_rho)
    # and m = m0 + m2 y² + ..., from the linearisation of the right-hand side in m and cosh y
    log_below = np.logaddexp(log_rho + q0, 0.0)
    rate_m = np.exp(log_alpha - 2 * log_below) - np.exp(log_alpha + log_rho - 2 * log_below) - 1
    m2_over_m0 = -(1 + np.exp(-log_below)) / (2 * (2 - rate_m))
    q = q0 + np.log1p(m2_over_m0 * np.minimum(y, _SERIES_END) ** 2)
    far = np.flatnonzero(y > _SERIES_END)
    for part in (far[i : i + _CHUNK] for i in range(0, far.size, _CHUNK)):
        a, p, length = log_alpha[part], log_rho[part], np.log(y[part] / _SERIES_END)

        def rate(s: float, q: np.ndarray, a: Any = a, p: Any = p, length: Any = length) -> np.ndarray:
            at = _SERIES_END * np.exp(length * s)
            below = np.logaddexp(p + q, np.log(np.cosh(at)))
            pull = np.exp(a - below) + np.exp(a - q - below)
            return length * at * (pull / np.sinh(at) - 1 / np.tanh(at))

        solution = solve_ivp(rate, (0.0, 1.0), q[part], method="DOP853", rtol=1e-13, atol=_RTOL)
        q[part] = solution.y[:, -1]
    return q


class Separatrix(NamedTuple):
    """Invariant manifolds of a point, polylines of shape (k, 2) from the point outwards.

    Parameters
    ----------
    stable
        The two branches that flow into the point: of a saddle, the boundary between basins.
    unstable
        The two branches that flow out of it; none if the point is half-stable.
    """

    stable: list[np.ndarray]
    unstable: list[np.ndarray]


def separatrix(
    plane: Plane,
    point: tuple[float, float],
    u_range: tuple[float, float],
    v_range: tuple[float, float],
    *,
    n_points: int = 400,
) -> Separatrix:
    """Stable and unstable manifold of a saddle or half-stable point of a plane, as far as the window.

    Each branch starts 10⁻⁶ of the window from the point along an eigenvector, where the manifold is as good as
    straight, and is integrated outwards, backward in time if stable; errors across a manifold contract on the way.

    Parameters
    ----------
    plane
        A plane of `analysis.phase_planes.planes`.
    point
        (u, v), a fixed point in the window.
    u_range, v_range
        The window, smaller bound first.
    n_points
        Points of each branch, spaced evenly along it in units of the window.

    Returns
    -------
    Separatrix
        Within 10⁻⁸ of the window. A branch ends at the border of the window, or where it comes to rest, or, at
        an algebraic approach, after 10⁴ times of the fastest rate at the point.

    Raises
    ------
    ValueError
        The point is outside the window, does not rest, or attracts or repels from all sides; the window is empty.

    Notes
    -----
    On leaves of the full flow the stable manifold is `leaf_separatrix`. Sources: R5 to R7, R13, R15.

    Examples
    --------
    >>> from analysis.phase_planes.planes import fixed_target_plane
    >>> found = separatrix(fixed_target_plane(ModeSystem(1.0, 0.5), 1.0), (0.0, 0.0), (-1, 1), (-1, 1), n_points=3)
    >>> sorted(branch[-1].round(6).tolist() for branch in found.stable)
    [[-1.0, 1.0], [1.0, -1.0]]
    """
    window = checked_window(u_range, v_range)
    if n_points < 2:
        raise ValueError(f"`n_points` must be >= 2, got {n_points}")
    start, size = np.asarray(point, dtype=np.float64), np.ptp(window, axis=1)
    if not np.all((start >= window[:, 0]) & (start <= window[:, 1])):
        raise ValueError(f"`point` must lie in the window {window.tolist()}, got {start.tolist()}")

    # x = (u, v) in units of the window, from the point
    def flow(x: np.ndarray) -> np.ndarray:
        return np.array(plane(*(start + size * x))) / size

    step = 1e-30j * np.eye(2)
    rates, vectors = np.linalg.eig(np.column_stack([flow(h).imag / 1e-30 for h in step]))
    fastest = float(np.max(np.abs(rates)))
    drift = float(np.linalg.norm(flow(np.zeros(2))))
    if drift > _AT_REST * fastest:
        raise ValueError(f"`point` must be a fixed point, at {start.tolist()} the flow has speed {drift:.3g}")
    order = np.argsort(rates.real)
    zero = np.sqrt(np.finfo(float).eps) * fastest
    if np.iscomplexobj(rates) or rates[order[0]] >= -zero or rates[order[1]] < -zero:
        raise ValueError(f"`point` must be a saddle or half-stable, got eigenvalues {rates.tolist()}")

    def manifold(direction: np.ndarray, time: float) -> list[np.ndarray]:
        low, high = (window.T - start) / size
        clock = time / fastest
        branches = (_branch(flow, sign * direction, clock, low, high, n_points) for sign in (1, -1))
        return [start + size * branch for branch in branches]

    unstable = manifold(vectors[:, order[1]], 1.0) if rates[order[1]] > zero else []
    return Separatrix(manifold(vectors[:, order[0]], -1.0), unstable)


def _branch(
    flow: Callable[[np.ndarray], np.ndarray],
    direction: np.ndarray,
    clock: float,
    low: np.ndarray,
    high: np.ndarray,
    n_points: int,
) -> np.ndarray:
    """Points, evenly spaced, from 0 along a direction and on with the flow, time in units of `clock`."""

    def rate(t: float, x: np.ndarray) -> np.ndarray:
        return clock * flow(x)

    def border(t: float, x: np.ndarray) -> float:
        return float(min(np.min(x - low), np.min(high - x)))

    def speed(t: float, x: np.ndarray) -> float:
        return float(np.linalg.norm(rate(t, x))) - _STILL

    for event in (border, speed):
        event.terminal, event.direction = True, -1  # type: ignore[attr-defined]
    begin = _OFFSET * direction / np.linalg.norm(direction)
    solution = solve_ivp(
        rate,
        (0.0, _LONGEST),
        begin,
        method="DOP853",
        rtol=_RTOL,
        atol=1e-13,
        events=(border, speed),
        dense_output=True,
    )
    # between steps the curve is a polynomial of degree 7: finely cut, its chords measure its length
    times = np.interp(
        np.arange(0, solution.t.size - 1 + 1 / 16, 1 / 16), np.arange(solution.t.size), solution.t
    )
    curve = np.column_stack([np.zeros(2), solution.sol(times)])
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve), axis=0))])
    even = np.linspace(0.0, arc[-1], n_points)
    points = solution.sol(np.interp(even, arc[1:], times)).T
    points[even < arc[1]] = 0.0
    return points
