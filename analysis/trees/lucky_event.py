"""The event of theorem 7, a unit that is large on one value of a latent and off on the other (R206, R207)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

NEGLIGIBLE = 40.0
"""Integrands below e^{−40} of their largest value are left out: less than one rounding of the integral."""

# --- R206: how far a rectifier can raise a mean -------------------------------------------------------------


def relu_jensen_bound(mean: Any, variance: Any) -> Any:
    """Largest E ψ(X) − ψ(E X) of a rectifier ψ over all laws with this mean and variance.

        E ψ(X) − ψ(E X) ≤ ½ (√(μ² + V) − |μ|) ≤ ½ √V

    Parameters
    ----------
    mean
        μ, any real, any shape.
    variance
        V >= 0.

    Returns
    -------
    float or ndarray
        In the shape of μ and V together. Evaluated as ½ V/(√(μ² + V) + |μ|), which does not cancel.

    Raises
    ------
    ValueError
        V is negative or a value is not finite.

    Notes
    -----
    Attained by `jensen_attaining_law`. Source: R206; DD lemma 6 has √V.

    Examples
    --------
    >>> round(relu_jensen_bound(0.5, 1.0), 5)
    0.30902
    """
    mu, V = _law_of(mean, variance)
    root = np.sqrt(V)
    below = np.hypot(mu, root) + np.abs(mu)
    bound = 0.5 * root * (root / np.where(below == 0, 1.0, below))
    return bound if bound.ndim else float(bound)


class TwoPointLaw(NamedTuple):
    """Law of a variable with two values, each of shape (2,)."""

    values: np.ndarray
    probabilities: np.ndarray


def jensen_attaining_law(mean: float, variance: float) -> TwoPointLaw:
    """Law with this mean and variance whose mean a rectifier raises most.

        X = ±h,  P(X = h) = ½ (1 + μ/h),  h = √(μ² + V)

    Parameters
    ----------
    mean
        μ, any real.
    variance
        V >= 0.

    Returns
    -------
    TwoPointLaw
        Values (−h, h) and their probabilities; the smaller one is evaluated as V/(2h(h + |μ|)).

    Raises
    ------
    ValueError
        V is negative or a value is not finite.

    Notes
    -----
    Source: R206.

    Examples
    --------
    >>> jensen_attaining_law(0.0, 4.0).values.tolist()
    [-2.0, 2.0]
    """
    mu, V = (float(part) for part in _law_of(mean, variance))
    root = math.sqrt(V)
    h = math.hypot(mu, root)
    small = (root / h) * (root / (h + abs(mu))) / 2 if h else 0.5
    low, high = (small, 1 - small) if mu >= 0 else (1 - small, small)
    return TwoPointLaw(np.array([-h, h]), np.array([low, high]))


def _law_of(mean: Any, variance: Any) -> tuple[np.ndarray, np.ndarray]:
    mu, V = np.broadcast_arrays(np.asarray(mean, np.float64), np.asarray(variance, np.float64))
    if not np.all(np.isfinite(mu)):
        raise ValueError(f"`mean` must be finite, got {mean}")
    if not np.all((V >= 0) & np.isfinite(V)):
        raise ValueError(f"`variance` must be finite and >= 0, got {variance}")
    return mu, V


# --- R207: the event of theorem 7 ---------------------------------------------------------------------------


def event_probability(c: float, r: float) -> float:
    """Gaussian probability that a random unit is large on one value of a latent and off on the other.

        Q(c, r) = P(v⁺ ≥ √c σ⁺, v⁻ < 0) = ∫_{√c}^∞ φ(x) Φ(−r x/√(1 − r²)) dx = 1/(2π) ∫_0^{arccos r} e^{−c/(2 sin²φ)} dφ

    The last form, an integral over the angle of (v⁺, v⁻), has a positive smooth integrand and keeps its relative
    accuracy in the tail.

    Parameters
    ----------
    c
        Squared size of v⁺ in units of its variance, >= 0.
    r
        Correlation of the pre-activations v⁺ and v⁻, which is the cosine of u⁺ and u⁻, in [0, 1]: activations are not
        negative (see `event_correlation`).

    Returns
    -------
    float
        Relative error 1e-12 or less; 0 for r = 1, and where the probability underflows.

    Raises
    ------
    ValueError
        A value is out of range.

    Notes
    -----
    Source: R207; DD (113)–(114). The probability falls like e^{−c/(2(1 − r²))}.

    Examples
    --------
    >>> f"{event_probability(9, 0.2195):.3g}", event_probability(9, 1)
    ('0.000311', 0.0)
    """
    from scipy.integrate import quad

    _refuse_size(c)
    if not 0 <= r <= 1:
        raise ValueError(f"`r` must be >= 0 and <= 1, got {r}")
    sine = math.sqrt((1 - r) * (1 + r))
    if sine == 0:
        return 0.0
    top = math.atan2(sine, r)
    largest = math.exp(-c / (2 * sine) / sine)  # of the integrand, at the upper end
    if largest == 0:
        return 0.0
    slope = r / sine
    # e^{−c cot²/2} is negligible beyond this cotangent
    bottom = math.atan2(1.0, math.hypot(slope, math.sqrt(2 * NEGLIGIBLE / c))) if c > 0 else 0.0

    def falling(angle: float) -> float:
        cotangent = math.cos(angle) / math.sin(angle)
        return math.exp(-c / 2 * (cotangent - slope) * (cotangent + slope))

    return largest * float(quad(falling, bottom, top, epsabs=0, epsrel=1e-12, limit=200)[0]) / (2 * math.pi)


def event_correlation(selectivity: Any, mean: Any, polarity: Any) -> float:
    """Correlation of the pre-activations of a random unit at the two values of its latent.

        r = ⟨u⁺, u⁻⟩/(‖u⁺‖ ‖u⁻‖) = (‖v̄‖² − ‖a‖²)/(‖u⁺‖ ‖u⁻‖),   u^± = v̄ ± a,   a_k = ρ_k s_k

    Parameters
    ----------
    selectivity
        s_k = ½ (v_k(1) − v_k(0)) of the children, shape (N,).
    mean
        v̄_k = ½ (v_k(1) + v_k(0)) >= |s_k|, as activations are not negative.
    polarity
        ρ_k between the latent and that of child k, in [−1, 1].

    Returns
    -------
    float
        r >= 0; 1 exactly or within rounding for parallel u⁺ and u⁻, where the event cannot happen; NaN where u⁺ or u⁻
        is zero.

    Raises
    ------
    ValueError
        A mean is less than |s|, or a polarity out of range.

    Notes
    -----
    Source: R207.

    Examples
    --------
    >>> round(event_correlation([0.5] * 8, [0.5] * 8, [0.8, -0.8] * 4), 4)
    0.2195
    """
    plus, minus = conditional_inputs(selectivity, mean, polarity)
    norms = float(np.linalg.norm(plus) * np.linalg.norm(minus))
    return min(float(plus @ minus) / norms, 1.0) if norms else math.nan


def conditional_inputs(selectivity: Any, mean: Any, polarity: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean activations of a unit's children given its latent, u^± = v̄ ± ρ s, each of shape (N,): see R207.

    Parameters and refusals are those of `event_correlation`.

    >>> [u.tolist() for u in conditional_inputs([0.5], [0.5], [0.5])]
    [[0.75], [0.25]]
    """
    s, v, rho = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(part, np.float64)) for part in (selectivity, mean, polarity))
    )
    if not np.all(v >= np.abs(s)):
        raise ValueError(f"`mean` must be >= |selectivity|, got {mean} with {selectivity}")
    if not np.all(np.abs(rho) <= 1):
        raise ValueError(f"`polarity` must be >= -1 and <= 1, got {polarity}")
    return v + rho * s, v - rho * s


def largest_event_size(inputs: Any) -> float:
    """Largest c at which bounded weights can be in the event at all.

        |w_k| ≤ σ_w √(3/N)  ⇒  c ≤ 3 ‖u⁺‖₁²/‖u⁺‖₂² ≤ 3N

    Parameters
    ----------
    inputs
        u⁺, shape (N,), not all zero.

    Raises
    ------
    ValueError
        All inputs are zero.

    Notes
    -----
    Attained by weights at their bounds with the signs of u⁺, if v⁻ < 0 there. Source: R207.

    Examples
    --------
    >>> round(largest_event_size([0.9, 0.9]), 12)
    6.0
    """
    u = np.abs(np.asarray(inputs, np.float64))
    if not np.any(u > 0):
        raise ValueError(f"`inputs` must not be zero, got {inputs}")
    u = u / u.max()
    return float(3 * u.sum() ** 2 / (u @ u))


def polarity_threshold(c: float) -> float:
    """Polarity beyond which the printed bound of theorem 7 is positive without noise, ρ = √(6/(c + 6)).

    It is due to loose constants: `sensitivity_bound` is positive for every polarity once c > ¾ (R207).

    >>> round(polarity_threshold(9), 6)
    0.632456
    """
    _refuse_size(c)
    return math.sqrt(6 / (c + 6))


def sensitivity_bound(
    c: float, selectivity: Any, polarity: Any, *, weight_std: float = 1.0, noise: float = 0.0
) -> float:
    """Least sensitivity λ = |v(1)² − v(0)²| of a unit in the event, on the side with ‖u⁺‖ ≥ ‖u⁻‖.

        λ ≥ σ_w²/N Σ_k [s_k² (c(1 + ρ_k²) − ¾(1 − ρ_k²)) − ¾ σ_l²]

    Parameters
    ----------
    c
        Size of the event, >= 0.
    selectivity, polarity
        s_k and ρ_k of the children, shape (N,).
    weight_std
        σ_w: weights have variance σ_w²/N and |w| ≤ σ_w √(3/N).
    noise
        σ_l², the largest variance of a child's activation given its own latent, >= 0.

    Returns
    -------
    float
        May be negative, and then says nothing.

    Notes
    -----
    Given the latent, children are independent, with variance at most s_k²(1 − ρ_k²) + σ_l²; v(0)² is at most a quarter
    of the variance of the pre-activation (R206). Source: R207; DD (9) has 3σ_w²/N Σ [s_k²((c + 6)ρ_k²/6 − 1) − σ_l²].

    Examples
    --------
    >>> round(sensitivity_bound(1.0, [0.5, 0.5], [0.0, 0.0]), 12)
    0.0625
    """
    _refuse_size(c)
    s, rho = (np.atleast_1d(np.asarray(part, np.float64)) for part in (selectivity, polarity))
    gain = s**2 * (c * (1 + rho**2) - 0.75 * (1 - rho) * (1 + rho)) - 0.75 * noise
    return float(weight_std**2 * np.mean(gain))


def _refuse_size(c: float) -> None:
    if not (math.isfinite(c) and c >= 0):
        raise ValueError(f"`c` must be finite and >= 0, got {c}")
