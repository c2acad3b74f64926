"""How fast contrastive losses turn and grow an encoder: the simple loss (R113), and views without noise (R114)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.exact.arithmetic import solution_times
from dynamics.exact.contrastive import check_branches
from dynamics.exact.one_negative import check_temperature

ETA = 0.7651470246254080
"""η(3/2) = (1 − 2^{−1/2}) ζ(3/2)."""


def turning_factor(step: float, first: float, second: float, *, branches: int = 2) -> float:
    """Largest factor of tan θ, θ the angle of a row to the top eigenvector of Σd, in a step of gradient descent.

        (1 + cελ2)/(1 + cελ1), met where no other mode than the second is excited; e^{−c(λ1 − λ2)t} in the flow.

    Parameters
    ----------
    step
        ε >= 0.
    first, second
        λ1 >= λ2 >= 0, the two largest eigenvalues of Σd.
    branches
        As for `dynamics.exact.contrastive.simple_encoder`.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R113.

    Examples
    --------
    >>> round(turning_factor(0.5, 2.0, 1.0), 6)  # (1 + 1)/(1 + 2)
    0.666667
    """
    if not 0 <= step < np.inf:
        raise ValueError(f"`step` must be finite and >= 0, got {step}")
    if not 0 <= second <= first < np.inf:
        raise ValueError(
            f"`first` and `second` must be finite with first >= second >= 0, got {first} and {second}"
        )
    check_branches(branches)
    return (1 + branches * step * second) / (1 + branches * step * first)


def turning_time(start: float, end: float, first: float, second: float, *, branches: int = 2) -> float:
    """Time by which a row has turned from an angle to a smaller one, ln(tan θ0/tan φ)/(c(λ1 − λ2)) at most.

    Parameters
    ----------
    start, end
        Angles to the top eigenvector, 0 < φ <= θ0 < π/2.
    first, second
        λ1 > λ2 >= 0, the two largest eigenvalues of Σd.
    branches
        As for `dynamics.exact.contrastive.simple_encoder`.

    Returns
    -------
    float
        Met where no other mode than the second is excited.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R113.

    Examples
    --------
    >>> turning_time(0.5, 0.5, 2.0, 1.0)
    0.0
    """
    if not 0 < end <= start < np.pi / 2:
        raise ValueError(
            f"`start` and `end` must be angles with 0 < end <= start < π/2, got {start} and {end}"
        )
    if not 0 <= second < first < np.inf:
        raise ValueError(
            f"`first` and `second` must be finite with first > second >= 0, got {first} and {second}"
        )
    check_branches(branches)
    return float(np.log(np.tan(start) / np.tan(end)) / (branches * (first - second)))


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
