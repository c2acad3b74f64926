"""Weight decay that a mode of a deep encoder survives (R322)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynamics.exact.deep import check_depth


class DecayRest(NamedTuple):
    """Fixed points v > 0 of a balanced mode under weight decay, and where they meet.

    Parameters
    ----------
    lower, upper
        The saddle and the stable point; NaN where η is above the threshold. They are one at the threshold.
    fold
        v at which they meet, (2L − 1) r/(2L).
    """

    lower: float
    upper: float
    fold: float


def decay_threshold(depth: int, lambda_s: Any, lambda_d: Any, speed: Any = 1.0) -> Any:
    """Weight decay above which a mode of a deep encoder is lost.

        η*_L = κ λd r^{2L−1} (2L − 1)^{2L−1}/(2L)^{2L},   r = λd/λs

    Parameters
    ----------
    depth
        L >= 1; L = 1 is R15.
    lambda_s, lambda_d
        λs > 0, λd >= 0.
    speed
        κ = Π_l (τp/τ_l)/τp of balanced weights, 1 where all τ = 1.

    Raises
    ------
    ValueError
        An argument is out of range.

    Notes
    -----
    At fixed η a mode is kept iff λd r^{2L−1} is large: selection by r sharpens with depth. Source: R322.

    Examples
    --------
    >>> [round(float(decay_threshold(L, 1.0, 0.8)), 6) for L in (1, 2, 3, 4)]
    [0.16, 0.0432, 0.017558, 0.008235]
    """
    L = check_depth(depth)
    s, d = np.asarray(lambda_s, dtype=np.float64), np.asarray(lambda_d, dtype=np.float64)
    if not np.all(np.isfinite(s) & (s > 0)):
        raise ValueError(f"`lambda_s` must be finite and > 0, got {lambda_s}")
    if not np.all(np.isfinite(d) & (d >= 0)):
        raise ValueError(f"`lambda_d` must be finite and >= 0, got {lambda_d}")
    with np.errstate(over="ignore"):
        return speed * d / (2 * L) * (d / s * (1 - 1 / (2 * L))) ** (2 * L - 1)


def balanced_speed(layer_times: Any, tau_predictor: float) -> float:
    """Speed κ = Π_l (τp/τ_l)/τp of a balanced mode, τ_l w_l² = τp v²: dv/dt = κ v^{2L} (λd − λs v) − η v.

    >>> balanced_speed([1.0, 2.0], 1.0)
    0.5
    """
    return float(np.prod(tau_predictor / np.asarray(layer_times, dtype=np.float64)) / tau_predictor)


def decay_rest(
    depth: int, lambda_s: float, lambda_d: float, weight_decay: float, speed: float = 1.0
) -> DecayRest:
    """Where a balanced mode of a deep encoder can rest: κ v^{2L−1} (λd − λs v) = η, v > 0.

    Parameters
    ----------
    depth, lambda_s, lambda_d, speed
        As for `decay_threshold`, λd > 0.
    weight_decay
        η >= 0. At 0 the lower point is the origin, the upper one r.

    Raises
    ------
    ValueError
        An argument is out of range.

    Notes
    -----
    Source: R322.

    Examples
    --------
    >>> decay_rest(2, 1.0, 0.8, 0.99 * 0.0432).upper.__round__(4)
    0.6239
    """
    from scipy.optimize import brentq

    L = check_depth(depth)
    star = float(decay_threshold(L, lambda_s, lambda_d, speed))
    if not (np.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"`weight_decay` must be finite and >= 0, got {weight_decay}")
    if lambda_d <= 0:
        raise ValueError(f"`lambda_d` must be > 0, got {lambda_d}")
    r = lambda_d / lambda_s
    fold = r * (1 - 1 / (2 * L))
    if weight_decay > star:
        return DecayRest(np.nan, np.nan, fold)
    if weight_decay == 0:
        return DecayRest(0.0, r, fold)
    n = 2 * L - 1
    # in units of r, x^n (1 − x) = height; in logarithms, so that roots of any size are known to a few roundings
    with np.errstate(divide="ignore"):
        height = float(np.log(weight_decay / star) + n * np.log1p(-1 / (2 * L)) - np.log(2 * L))

    def below(u: float) -> float:  # x = e^u up to the fold
        return float(n * u + np.log1p(-np.exp(u)) - height)

    def above(u: float) -> float:  # 1 − x = e^u from there on
        return float(u + n * np.log1p(-np.exp(u)) - height)

    top, last = float(np.log1p(-1 / (2 * L))), -float(np.log(2 * L))
    if below(top) <= 0 or above(last) <= 0:  # at the threshold, up to rounding
        return DecayRest(fold, fold, fold)
    if not np.isfinite(height):  # η is nothing beside the threshold
        return DecayRest(0.0, r, fold)
    tolerance: dict[str, Any] = {"xtol": 1e-15, "rtol": 4 * np.finfo(float).eps}
    # without 1 − x, or without x^n, the left side is larger: roots are farther in
    lower = np.exp(brentq(below, height / n, top, **tolerance))
    upper = -np.expm1(brentq(above, height, last, **tolerance))
    return DecayRest(float(r * lower), float(r * upper), fold)
