"""How fast contrastive losses make an encoder grow: the simple loss (R113), bounds (R108), no noise (R114)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.exact.arithmetic import solution_times
from dynamics.exact.infonce import check_negatives
from dynamics.exact.one_negative import check_temperature

ETA = 0.7651470246254080
"""η(3/2) = (1 − 2^{−1/2}) ζ(3/2)."""


_SPEEDS = {"all": 2.0, "one": 1.0}
"""Speed c of the flow of the simple loss: through all branches, or through the first alone (R105)."""


def _speed(branches: str) -> float:
    if branches not in _SPEEDS:
        raise ValueError(f"`branches` must be one of {', '.join(_SPEEDS)}, got {branches!r}")
    return _SPEEDS[branches]


def simple_encoder(ts: Any, W: Any, sigma_d: Any, *, branches: str = "all") -> Any:
    """Exact flow of a linear encoder under the simple loss, W(t) = W(0) e^{cΣd t}.

    Every row turns to the top eigenvector of Σd: the second singular value over the first falls as e^{−c(λ1−λ2)t}.

    Parameters
    ----------
    ts
        Times t >= 0, any shape.
    W
        Encoder at the start, shape (n2, n1).
    sigma_d
        Covariance V = Σd of the augmentation-averaged view, shape (n1, n1).
    branches
        "all", c = 2, the gradient; or "one", c = 1, the gradient through the first view alone.

    Returns
    -------
    array
        Shape ts.shape + (n2, n1); infinite where it overflows.

    Raises
    ------
    ValueError
        A time is negative or not finite, or `branches` is neither.

    Notes
    -----
    Source: R113.

    Examples
    --------
    >>> simple_encoder(0.5, [[1.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]]).round(6)
    array([[2.718282, 1.      ]])
    """
    c, t = _speed(branches), solution_times(ts)[..., None, None]
    values, vectors = np.linalg.eigh(np.asarray(sigma_d, dtype=np.float64))
    with np.errstate(over="ignore"):
        return (np.asarray(W, dtype=np.float64) @ vectors * np.exp(c * values * t)) @ vectors.T


def turning_factor(step: float, first: float, second: float, *, branches: str = "all") -> float:
    """Largest factor of tan θ, θ the angle of a row to the top eigenvector of Σd, in a step of gradient descent.

        (1 + cελ2)/(1 + cελ1), met where no other mode than the second is excited; e^{−c(λ1 − λ2)t} in the flow.

    Parameters
    ----------
    step
        ε >= 0.
    first, second
        λ1 >= λ2 >= 0, the two largest eigenvalues of Σd.
    branches
        As for `simple_encoder`.

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
    c = _speed(branches)
    return (1 + c * step * second) / (1 + c * step * first)


def turning_time(start: float, end: float, first: float, second: float, *, branches: str = "all") -> float:
    """Time by which a row has turned from an angle to a smaller one, ln(tan θ0/tan φ)/(c(λ1 − λ2)) at most.

    Parameters
    ----------
    start, end
        Angles to the top eigenvector, 0 < φ <= θ0 < π/2.
    first, second
        λ1 > λ2 >= 0, the two largest eigenvalues of Σd.
    branches
        As for `simple_encoder`.

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
    return float(np.log(np.tan(start) / np.tan(end)) / (_speed(branches) * (first - second)))


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
