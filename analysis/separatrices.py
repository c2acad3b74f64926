"""Separatrices: the stable manifolds of saddles, which part the basins of a plane, and their unstable manifolds."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from dynamics.mode_fixed_points import refuse_weight_decay
from dynamics.system import ModeSystem

_CHUNK = 1024  # curves integrated at once: the error norm is a mean, so one of them can be √1024 times worse
_RTOL = 1e-11
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
        θ, with a relative error below 1e-9; NaN on leaves without the saddle and for λs <= 0.

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
    w1, w2, ls, ld, to, tp, tt = np.broadcast_arrays(
        online,
        predictor,
        system.lambda_s,
        system.lambda_d,
        system.tau_online,
        system.tau_predictor,
        system.tau_target,
    )
    c, proper = to * w1**2 - tp * w2**2, np.where(ls > 0, ls, 1.0)
    k, r = np.sqrt(np.maximum(-c / tp, 0.0)), np.abs(ld) / proper
    has_saddle = (ls > 0) & (k > 0) & (k < r) & (np.where(ld < 0, -w2, w2) > 0)
    theta = np.full(w1.shape, np.nan)
    y, alpha, rho = (
        part[has_saddle]
        for part in (
            np.arcsinh(np.abs(w1) / np.sqrt(np.where(has_saddle, -c / to, 1.0))),
            to / (tt * proper * np.where(has_saddle, k, 1.0) ** 2),
            r / np.where(has_saddle, k, 1.0),
        )
    )
    theta[has_saddle] = -_slope(y, alpha, rho) * w1[has_saddle]
    return theta


def _slope(y: np.ndarray, alpha: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """m(y) of `leaf_separatrix`, one curve an entry."""
    # m stays finite at the saddle if ρ m² + (1 − α) m − α = 0 there; the form without cancellation is taken
    root = np.sqrt((1 - alpha) ** 2 + 4 * alpha * rho)
    m0 = np.where(alpha < 1, 2 * alpha / (np.abs(1 - alpha) + root), (np.abs(1 - alpha) + root) / (2 * rho))
    # and m = m0 + m2 y² + ..., from the linearisation of the right-hand side in m and cosh y
    rate_m = alpha * (1 - rho) / (rho * m0 + 1) ** 2 - 1
    rate_cosh = -alpha * (1 + m0) / (rho * m0 + 1) ** 2 - m0
    m2 = rate_cosh / (2 * (2 - rate_m))
    slope = m0 + m2 * np.minimum(y, _SERIES_END) ** 2
    far = np.flatnonzero(y > _SERIES_END)
    for part in (far[i : i + _CHUNK] for i in range(0, far.size, _CHUNK)):
        a, p, length = alpha[part], rho[part], np.log(y[part] / _SERIES_END)

        def rate(s: float, m: np.ndarray, a: Any = a, p: Any = p, length: Any = length) -> np.ndarray:
            at = _SERIES_END * np.exp(length * s)
            return length * at / np.sinh(at) * (a * (1 + m) / (p * m + np.cosh(at)) - m * np.cosh(at))

        slope[part] = solve_ivp(rate, (0.0, 1.0), slope[part], method="DOP853", rtol=_RTOL, atol=0.0).y[:, -1]
    return slope
