"""How large InfoNCE makes a linear encoder: where modes saturate, and what finitely many negatives change."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.exact.one_negative import check_temperature, one_negative
from dynamics.exact.several_negatives import one_row

LARGEST_RATIO = 0.98
"""Up to which r the norm is computed for a finite number of negatives above one: it grows as 1/(2(1 − r))."""


def saturation(ratio: Any) -> Any:
    """Where a mode of ratio r saturates under InfoNCE with many negatives, y*(r) = s/τ.

        y* = 2/(√(9 − 8r) − 1) − 1 = r (q + 1)/((1 − r)(q + 3)),  q = √(9 − 8r),

    in the second form, in which nothing cancels: (2/3) r as r → 0, 1/(2(1 − r)) as r → 1.

    Parameters
    ----------
    ratio
        r <= 1, any shape; modes with r <= 0, which weight decay makes, do not grow.

    Returns
    -------
    float or array
        0 for r <= 0, infinite for r = 1.

    Raises
    ------
    ValueError
        A ratio exceeds 1 or is NaN.

    Notes
    -----
    Source: R116.

    Examples
    --------
    >>> np.round(saturation([0.5, 0.9, 1.0]), 7)
    array([0.618034, 4.854102,      inf])
    """
    r = _ratios(ratio)
    q = np.sqrt(9 - 8 * r)
    with np.errstate(divide="ignore", over="ignore"):
        return (r * ((q + 1) / (q + 3)) / (1 - r))[()]


def one_negative_saturation(ratio: Any) -> Any:
    """Where a mode of ratio r saturates with one negative, s/τ = 2r/((1 − r)(3 + r)).

    Parameters
    ----------
    ratio
        r <= 1, any shape.

    Returns
    -------
    float or array
        0 for r <= 0, infinite for r = 1.

    Raises
    ------
    ValueError
        A ratio exceeds 1 or is NaN.

    Notes
    -----
    Source: R114.

    Examples
    --------
    >>> np.round(one_negative_saturation([0.3, 0.5, 0.7, 0.9]), 7)
    array([0.2597403, 0.5714286, 1.2612613, 4.6153846])
    """
    r = _ratios(ratio)
    with np.errstate(divide="ignore", over="ignore"):
        return (2 * r / (3 + r) / (1 - r))[()]


def _ratios(ratio: Any) -> np.ndarray:
    r = np.asarray(ratio, dtype=np.float64)
    if not np.all(r <= 1):
        raise ValueError(f"`ratio` must be <= 1, got {r[~(r <= 1)].flat[0]}")
    return np.maximum(r, 0.0)


def check_negatives(negatives: Any) -> None:
    """Refuse a number of negatives that is neither an integer >= 1 nor infinite."""
    if not (negatives >= 1 and (negatives == np.inf or negatives == int(negatives))):
        raise ValueError(f"`negatives` must be an integer >= 1, or infinite, got {negatives}")


def saturation_norm(
    ratio: float,
    temperature: float,
    *,
    negatives: float = np.inf,
    margin: float = 0.0,
    weight_decay: float = 0.0,
    lambda_s: float | None = None,
) -> float:
    """Norm s = w Σs wᵀ at which one row along a mode is at rest.

    With λs ∂L/∂s + λd ∂L/∂d + η/2 = 0 at d = r s, whose root is the only one, as the loss is convex in wᵀw:
    τ y*(r − ητ/(2λs)) for H = ∞, 2rτ/((1 − r)(3 + r)) for H = 1 and η = 0, and else a numerical root.

    Parameters
    ----------
    ratio
        r of the mode, from 0 to 1.
    temperature
        τ > 0.
    negatives
        H, an integer >= 1 or infinite.
    margin
        m >= 0 of the triplet loss over τ, log(1 + e^{(r₊ − r₋ + m)/τ}), which has one negative.
    weight_decay, lambda_s
        η >= 0, a rate, and λs > 0, which it needs.

    Returns
    -------
    float
        0 where the mode is not learned, infinite where nothing holds it. Numerical roots are good to about 1e-9.

    Raises
    ------
    ValueError
        A number is out of range; more than one and finitely many negatives with r above 0.98 and no weight decay, for
        which the quadrature grows too long.

    Notes
    -----
    Source: R114, R116, R119.

    Examples
    --------
    >>> saturation_norm(0.5, 2.0, negatives=1)
    1.1428571428571428
    >>> round(saturation_norm(0.5, 1.0, weight_decay=0.1, lambda_s=1.0), 6)  # y*(0.45)
    0.510814
    """
    check_temperature(temperature)
    check_negatives(negatives)
    if not 0 <= ratio <= 1:
        raise ValueError(f"`ratio` must be from 0 to 1, got {ratio}")
    if not 0 <= margin < np.inf:
        raise ValueError(f"`margin` must be finite and >= 0, got {margin}")
    if margin and negatives != 1:
        raise ValueError(f"`margin` must be 0 unless there is one negative, got {margin:g}")
    if not 0 <= weight_decay < np.inf:
        raise ValueError(f"`weight_decay` must be finite and >= 0, got {weight_decay}")
    if weight_decay and not (lambda_s is not None and 0 < lambda_s < np.inf):
        raise ValueError(f"`lambda_s` must be finite and > 0 with weight decay, got {lambda_s}")
    # −η w in units of the pull on a small row: ητ/(2λs)
    pull = weight_decay * temperature / (2 * lambda_s) if weight_decay and lambda_s is not None else 0.0
    if negatives == np.inf:
        return float(temperature * saturation(ratio - pull))
    if not (weight_decay or margin) and negatives == 1:
        return float(temperature * one_negative_saturation(ratio))
    return temperature * _numerical_root(ratio, int(negatives), margin / temperature, pull)


def _numerical_root(ratio: float, negatives: int, margin: float, pull: float) -> float:
    """Root in y = s/τ of slope(y)/y + pull, which rises from pull − r Σp_k, p_k the weights at y = 0."""
    from scipy.optimize import brentq
    from scipy.special import expit

    active = float(expit(margin)) if negatives == 1 else negatives / (negatives + 1.0)
    if ratio * active <= pull:
        return 0.0
    if ratio == 1 and not pull:
        return np.inf
    if negatives > 1 and ratio > LARGEST_RATIO:
        raise ValueError(
            f"`negatives` must be 1 or inf for a ratio above {LARGEST_RATIO}, where the quadrature for a number in"
            f" between grows too long, got {negatives} and r = {ratio:.6g}; the norm lies between those of 1 and of inf"
        )

    def excess(log_y: float) -> float:
        y = float(np.exp(log_y))
        if negatives > 1:
            return one_row(y, ratio, negatives).slope / y + pull
        found = one_negative([[y]], [[ratio * y]], 1.0, margin)
        return float(found.by_sigma_s[0, 0] + ratio * found.by_sigma_d[0, 0]) + pull

    # the roots without margin and weight decay are between those of 1 and of ∞ negatives, up to the quadrature's error
    high = float(np.log(min(saturation(ratio), 1e3))) + 0.01
    low = float(np.log(one_negative_saturation(min(ratio, 0.999)))) - 0.01
    while excess(low) > 0:
        low -= 1.0
    while excess(high) < 0:
        high += 1.0
    return float(np.exp(brentq(excess, low, high, xtol=1e-11, rtol=1e-11)))


def saturated_loss(ratio: Any) -> Any:
    """What a saturated mode adds to the mean-field loss, ℓ(r) = y(1 − r) − ½ log(1 + y) − ½ y/(1 + y) at y = y*(r).

    Parameters
    ----------
    ratio
        r <= 1, any shape.

    Returns
    -------
    float or array
        <= 0, and −∞ at r = 1.

    Raises
    ------
    ValueError
        A ratio exceeds 1 or is NaN.

    Notes
    -----
    Source: R116.

    Examples
    --------
    >>> round(float(saturated_loss(0.5)), 6)
    -0.122572
    """
    r = _ratios(ratio)
    y = saturation(r)
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.sqrt(9 - 8 * r)
        found = r * (q + 1) / (q + 3) - np.log1p(y) / 2 - np.where(np.isinf(y), 0.5, y / (1 + y) / 2)
    return found[()]


def finite_negative_correction(
    S: Any, D: Any, temperature: float, *, positive_in_denominator: bool = True
) -> float:
    """What a finite number H of negatives adds to the mean-field InfoNCE, times H, to leading order.

    With y the eigenvalues of S/τ: without the positive in the denominator

        −½ (Π (1 + y)^{3/2} (1 + 3y)^{−1/2} − 1),

    and with it, as InfoNCE is printed, E[e^{−r₊/τ}/m(f)] more, m(f) = E[e^{−r₋/τ} | f]:

        det(I + S/τ)^{½} det(I + G B)^{−½},  G = [[S, D], [D, S]],  B = [[I, −I], [−I, I]]/τ − diag((τI + S)^{−1}, 0).

    Parameters
    ----------
    S, D
        Second moments of the outputs, shape (n2, n2), 0 ≼ D ≼ S.
    temperature
        τ > 0.
    positive_in_denominator
        Which form.

    Returns
    -------
    float
        E L_H = L∞ + log H + this/H + O(H^{−2}).

    Raises
    ------
    ValueError
        The temperature is not positive.

    Notes
    -----
    Source: R118.

    Examples
    --------
    >>> round(finite_negative_correction([[0.0]], [[0.0]], 1.0), 12)  # log(1 + 1/H)
    1.0
    """
    check_temperature(temperature)
    S, D = (np.atleast_2d(np.asarray(part, dtype=np.float64)) / temperature for part in (S, D))
    y = np.maximum(np.linalg.eigvalsh(S), 0.0)
    # log of Π (1 + y)³/(1 + 3y) under the root: (1 + y)³/(1 + 3y) = 1 + y²(3 + y)/(1 + 3y)
    log_root = float(np.sum(np.log1p(y**2 * (3 + y) / (1 + 3 * y))) / 2)
    without = -np.expm1(log_root) / 2
    if not positive_in_denominator:
        return float(without)
    n2 = len(S)
    eye, zero = np.eye(n2), np.zeros((n2, n2))
    G = np.block([[S, D], [D, S]])
    B = np.block([[eye, -eye], [-eye, eye]]) - np.block([[np.linalg.inv(eye + S), zero], [zero, zero]])
    _, log_det = np.linalg.slogdet(np.eye(2 * n2) + G @ B)
    return float(without + np.exp((np.sum(np.log1p(y)) - log_det) / 2))
