"""Lucky nodes: random rectified units that already tell the values of a binary latent apart (R208, R209)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dynamics.fields.two_layers import branch_speed

LUCKY = 0.25
"""Least probability with which a node with symmetric random weights is as selective as half the median (R208)."""

# --- R208: what is lucky for every law of weights -----------------------------------------------------------


def unit_selectivity(weights: Any, activations: Any, laws: Any, *, slope: float = 0.0) -> Any:
    """Selectivity of units, s = ½ (E[ψ(⟨w, f⟩)|z = 1] − E[ψ(⟨w, f⟩)|z = 0]), by enumeration.

    Parameters
    ----------
    weights
        w, shape (N,) or (n_units, N).
    activations
        Every joint outcome f of the children, shape (n_outcomes, N).
    laws
        Probabilities of the outcomes given z = 0 and z = 1, shape (2, n_outcomes).
    slope
        α of a leaky rectifier ψ(x) = max(x, αx), 0 <= α <= 1.

    Returns
    -------
    float or ndarray
        s, shape (n_units,) for a matrix of weights.

    Notes
    -----
    For every law and every fan-in s(w) − s(−w) = `selectivity_gap`. Source: R208.

    Examples
    --------
    >>> unit_selectivity([1.0], [[0.0], [1.0]], [[0.9, 0.1], [0.1, 0.9]])
    0.4
    """
    _refuse_slope(slope)
    x = np.asarray(weights, np.float64) @ np.asarray(activations, np.float64).T
    gap = np.subtract(*np.asarray(laws, np.float64)[::-1])
    s = np.maximum(x, slope * x) @ gap / 2
    return s if s.ndim else float(s)


def selectivity_gap(weights: Any, child_selectivity: Any, *, slope: float = 0.0) -> Any:
    """Selectivity of a unit less that of the unit with opposite weights, which no law of the data changes.

        s(w) − s(−w) = (1 + α) ⟨w, a⟩,   as ψ(x) − ψ(−x) = (1 + α) x

    Parameters
    ----------
    weights
        w, shape (N,) or (n_units, N).
    child_selectivity
        a_k = ρ_k s_k, shape (N,).
    slope
        α of a leaky rectifier, 0 for the plain one.

    Notes
    -----
    So one of w and −w has |s| ≥ ½ (1 + α) |⟨w, a⟩|. Source: R208.

    Examples
    --------
    >>> selectivity_gap([1.0, -2.0], [0.5, 0.25])
    0.0
    """
    _refuse_slope(slope)
    gap = (1 + slope) * (np.asarray(weights, np.float64) @ np.asarray(child_selectivity, np.float64))
    return gap if gap.ndim else float(gap)


def lucky_probability_bound(q: float, weights: Any, child_selectivity: Any, *, slope: float = 0.0) -> float:
    """Least probability that a unit has |s| ≥ q, under a symmetric law of weights.

        P(|s| ≥ q) ≥ ½ P((1 + α)|⟨w, a⟩| ≥ 2q)

    Parameters
    ----------
    q
        Selectivity, >= 0.
    weights
        Draws of w, shape (n_draws, N). With every −w among them, the bound holds for the draws themselves.
    child_selectivity
        a_k = ρ_k s_k, shape (N,).
    slope
        α of a leaky rectifier.

    Notes
    -----
    With q half the median of (1 + α)|⟨w, a⟩| it is ¼ at least. Source: R208.

    Examples
    --------
    >>> lucky_probability_bound(0.25, [[1.0], [-1.0], [0.1], [-0.1]], [0.5])
    0.25
    """
    if not q >= 0:
        raise ValueError(f"`q` must be >= 0, got {q}")
    gaps = np.abs(selectivity_gap(np.atleast_2d(weights), child_selectivity, slope=slope))
    return float(np.mean(gaps >= 2 * q)) / 2


def mean_square_bound(child_selectivity: Any, *, weight_std: float = 1.0, slope: float = 0.0) -> float:
    """Least E s² of a unit with symmetric independent weights of variance σ_w²/N.

        E s² ≥ ¼ (1 + α)² E⟨w, a⟩² = (1 + α)² σ_w² ‖a‖²/(4N)

    Parameters
    ----------
    child_selectivity
        a_k = ρ_k s_k, shape (N,).
    weight_std
        σ_w.
    slope
        α of a leaky rectifier.

    Notes
    -----
    Source: R208.

    Examples
    --------
    >>> mean_square_bound([0.4, 0.4])
    0.04000000000000001
    """
    _refuse_slope(slope)
    return float(((1 + slope) * weight_std / 2) ** 2 * np.mean(np.square(child_selectivity)))


def nodes_needed(confidence: float = 0.95, *, probability: float = LUCKY) -> int:
    """Number of independent nodes of which one at least succeeds.

        1 − (1 − p)ⁿ ≥ confidence

    Parameters
    ----------
    confidence
        In [0, 1).
    probability
        p of one node: `LUCKY` for half the median of |⟨w, a⟩| (R208), `lucky_event.event_probability` for theorem 7
        (R207).

    Raises
    ------
    ValueError
        A value is out of range; with p = 0 no number is enough.

    Examples
    --------
    >>> nodes_needed(), nodes_needed(probability=8.29e-5)
    (11, 36136)
    """
    if not 0 <= confidence < 1:
        raise ValueError(f"`confidence` must be in [0, 1), got {confidence}")
    if not 0 < probability <= 1:
        raise ValueError(f"`probability` must be > 0 and <= 1, got {probability}")
    if probability == 1:
        return int(confidence > 0)
    needed = math.log1p(-confidence) / math.log1p(-probability)
    return math.ceil(needed * (1 - 1e-15))  # a whole number stays itself


def antithetic_weights(
    rng: np.random.Generator, n_units: int, fan_in: int, *, weight_std: float = 1.0
) -> np.ndarray:
    """Draw weights uniform on ±σ_w √(3/N) in pairs w, −w, so that each pair has a selective unit.

        max |s| ≥ ½ max |⟨w, a⟩|,  without any probability

    Parameters
    ----------
    rng
        Source of randomness.
    n_units
        Number of units, even.
    fan_in
        N >= 1.
    weight_std
        σ_w; a weight has variance σ_w²/N.

    Returns
    -------
    ndarray
        Shape (n_units, N): row 2i + 1 is minus row 2i.

    Raises
    ------
    ValueError
        `n_units` is odd or not positive.

    Notes
    -----
    Source: R208.

    Examples
    --------
    >>> antithetic_weights(np.random.default_rng(0), 4, 3).sum(axis=0).tolist()
    [0.0, 0.0, 0.0]
    """
    if n_units < 2 or n_units % 2:
        raise ValueError(f"`n_units` must be even and >= 2, got {n_units}")
    half = rng.uniform(-1, 1, (n_units // 2, fan_in)) * weight_std * math.sqrt(3 / fan_in)
    return np.stack([half, -half], axis=1).reshape(n_units, fan_in)


def _refuse_slope(slope: float) -> None:
    if not 0 <= slope <= 1:
        raise ValueError(f"`slope` must be >= 0 and <= 1, got {slope}")


# --- R209: one update ---------------------------------------------------------------------------------------


def updated_weights(
    weights: Any,
    child_selectivity: Any,
    path_polarity: float,
    root_polarity: float,
    step: float,
    *,
    branches: str = "one",
) -> np.ndarray:
    """Weights of a unit after a step on the simple loss, with JᵀJ = I.

        w ← (I + ε θ a aᵀ) w,   θ = ρ_0μ² (1 − ρ_0²),   so  aᵀw ← (1 + ε θ ‖a‖²) aᵀw

    Parameters
    ----------
    weights
        w, shape (N,).
    child_selectivity
        a_k = ρ_k s_k, shape (N,).
    path_polarity, root_polarity
        ρ_0μ and ρ_0, in [−1, 1].
    step
        ε >= 0.
    branches
        "one" where the gradient goes through one of the two views, "all" where it goes through both: 2ε for ε.

    Returns
    -------
    ndarray
        Shape (N,).

    Raises
    ------
    ValueError
        `branches` is neither.

    Notes
    -----
    Source: R209; DD below (9), for one branch. Layers above make JᵀJ move: see R210.

    Examples
    --------
    >>> updated_weights([1.0, 0.0], [0.5, 0.0], 1.0, 0.0, 0.4).tolist()
    [1.1, 0.0]
    """
    w, a = np.asarray(weights, np.float64), np.asarray(child_selectivity, np.float64)
    theta = path_polarity**2 * (1 - root_polarity) * (1 + root_polarity)
    return np.asarray(w + branch_speed(branches) * step * theta * a * (a @ w))
