"""How fast contrastive losses make an encoder grow: bounds (R108), and laws without augmentation noise (R114)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.exact.arithmetic import solution_times
from dynamics.exact.infonce import check_negatives
from dynamics.exact.one_negative import check_temperature

ETA = 0.7651470246254080
"""η(3/2) = (1 − 2^{−1/2}) ζ(3/2)."""


def noiseless_growth(ts: Any, lambda_s: float, temperature: float) -> Any:
    """Norm s(t) of one row without augmentation noise, r = 1, under InfoNCE with one negative, for large times.

        s = (1.5 √2 λs η(3/2) √τ t)^{2/3},

    so that ‖w‖ grows as t^{1/3}: continuous data keep a few pairs that are not told apart.

    Parameters
    ----------
    ts
        Times t >= 0, any shape.
    lambda_s, temperature
        λs > 0 and τ > 0.

    Returns
    -------
    float or array
        The leading term, whose relative error tends to 0.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R114.

    Examples
    --------
    >>> round(float(noiseless_growth(1e5, 1.0, 1.0)), 1)
    2975.6
    """
    check_temperature(temperature)
    if not 0 < lambda_s < np.inf:
        raise ValueError(f"`lambda_s` must be finite and > 0, got {lambda_s}")
    t = solution_times(ts)
    return (np.cbrt(1.5 * np.sqrt(2) * ETA * lambda_s * np.sqrt(temperature) * t) ** 2)[()]


def separated_growth(ts: Any, distance: float, start: float, temperature: float) -> Any:
    """Weight w(t) of one row on two points ±m without augmentation, under InfoNCE with one negative.

        [log y + Ei(y)]₀ᵗ = 4m² t/τ,  y = 2m² w²/τ,

    so that w grows as √(τ log t/(2m²)): separated data are told apart ever better.

    Parameters
    ----------
    ts
        Times t >= 0, any shape.
    distance
        m > 0.
    start
        w(0), not 0.
    temperature
        τ > 0.

    Returns
    -------
    float or array
        With the sign of the start.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R114.

    Examples
    --------
    >>> round(float(separated_growth(0.0, 1.0, -0.3, 1.0)), 12)
    -0.3
    """
    from scipy.optimize import brentq
    from scipy.special import expi

    check_temperature(temperature)
    for name, value in (("distance", distance), ("start", abs(start))):
        if not 0 < value < np.inf:
            raise ValueError(f"`{name}` must be finite and not 0, got {value}")
    scale = 2 * (distance / temperature) * distance
    began = scale * start**2

    def clock(y: float) -> float:
        return float(np.log(y) + expi(y))

    def reached(t: float) -> float:
        sought = clock(began) + 2 * scale * t
        high = max(began, 1.0)
        while clock(high) < sought:
            high *= 2
        low = min(began, high)
        return (
            low if t == 0 else float(brentq(lambda y: clock(y) - sought, low, high, xtol=1e-15, rtol=1e-15))
        )

    y = np.vectorize(reached, otypes=[float])(solution_times(ts))
    return (np.copysign(np.sqrt(y / scale), start))[()]


def norm_growth_bound(negatives: float) -> float:
    """Fastest growth of ‖W‖² under InfoNCE, 4 W0(H/e), whatever the temperature, data and depth.

    Parameters
    ----------
    negatives
        H, an integer >= 1 or infinite.

    Returns
    -------
    float
        Infinite for infinitely many.

    Raises
    ------
    ValueError
        H is out of range.

    Notes
    -----
    Source: R108.

    Examples
    --------
    >>> [round(norm_growth_bound(H), 6) for H in (1, 2, 10, 100)]
    [1.113858, 1.852222, 4.627474, 10.543732]
    """
    check_negatives(negatives)
    return 4 * _lambert_of_exponential(float(np.log(negatives)) - 1) if negatives < np.inf else np.inf


def triplet_growth_bound(temperature: float, margin: float) -> float:
    """Fastest growth of ‖W‖² under the triplet loss, 4τ W0(e^{m/τ − 1}).

    Parameters
    ----------
    temperature, margin
        τ > 0 and m >= 0.

    Returns
    -------
    float
        It tends to 4m as τ → 0.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R108.

    Examples
    --------
    >>> round(triplet_growth_bound(1.0, 0.0), 6)
    1.113858
    """
    check_temperature(temperature)
    if not 0 <= margin < np.inf:
        raise ValueError(f"`margin` must be finite and >= 0, got {margin}")
    return 4 * temperature * _lambert_of_exponential(margin / temperature - 1)


def _lambert_of_exponential(x: float) -> float:
    """W0(e^x), for any x."""
    from scipy.special import wrightomega

    return float(np.real(wrightomega(x)))
