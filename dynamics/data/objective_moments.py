"""Moments of the flow of an objective: BYOL′ and RAFT follow BYOL's flow with moments of their own (R24, R26)."""

from __future__ import annotations

import numpy as np

from dynamics.data.moments import Moments
from dynamics.objectives import linear_objectives


def byol_prime_moments(moments: Moments, alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Moments with which the BYOL flow is that of BYOL′: Σs′ = 2α(Σs − Σd) + β Σs, Σd′ = β Σs.

    Parameters
    ----------
    moments
        Σs and Σd of the views.
    alpha, beta
        Weights of alignment and of the cross-model loss, α finite and >= 0, β finite and > 0.

    Returns
    -------
    tuple
        Σs′ and Σd′, shape (n1, n1) each; their ratios r′ = β/(β + 2α(1 − r)) rise with r.

    Raises
    ------
    ValueError
        A weight is out of range.

    Notes
    -----
    Let A = P W. BYOL′ = α E‖A x1 − A x2‖² + β E‖A x1 − sg(Θ x1)‖² has one view in its cross-model loss, and

        ∂BYOL′/∂A = 2 [2α A (Σs − Σd) + β (A Σs − Θ Σs)] = −2 (Θ Σd′ − A Σs′),

    so −½ ∇BYOL′ is the BYOL flow with Σs′ and Σd′. BYOL′ has no ½ in front, BYOL = ½ E‖A x1 − sg(Θ x2)‖² has: t is
    the same in both. Source: R24.

    Examples
    --------
    >>> byol_prime_moments(Moments.from_eigenvalues(1.0, 0.5), 1.0, 1.0)
    (array([[2.]]), array([[1.]]))
    """
    return objective_moments("byol-prime", moments, alpha, beta)


def raft_moments(moments: Moments, alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Moments with which the BYOL flow is that of RAFT: Σs′ = 2α(Σs − Σd) − β Σs, Σd′ = −β Σs.

    Parameters, what is raised and the derivation are those of `byol_prime_moments` with −β for β, squared errors
    without normalisation. Plain arrays, for Σs′ may be indefinite: modes with 2α(1 − r) < β run away. Source: R26.

    >>> raft_moments(Moments.from_eigenvalues(1.0, 0.5), 1.0, 2.0)
    (array([[-1.]]), array([[-2.]]))
    """
    return objective_moments("raft", moments, alpha, beta)


def objective_moments(
    objective: str, moments: Moments, alpha: float = 1.0, beta: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Moments with which the BYOL flow is that of an objective of `dynamics.objectives.OBJECTIVES`.

    Parameters
    ----------
    objective
        Name of a row that has such moments.
    moments
        Σs and Σd of the views.
    alpha, beta
        Its weights, α finite and >= 0, β finite and > 0; byol has none.

    Raises
    ------
    ValueError
        No flow of (W, P, Θ) follows the objective, or a weight is out of range.

    Examples
    --------
    >>> objective_moments("byol", Moments.from_eigenvalues(1.0, 0.5))
    (array([[1.]]), array([[0.5]]))
    """
    known = linear_objectives()
    if objective not in known:
        raise ValueError(f"`objective` must be one of {', '.join(known)}, got {objective!r}")
    transform = known[objective].transform
    assert transform is not None
    alpha, beta = objective_weights(alpha, beta)
    if known[objective].weights and moments.sigma_s.dtype != object:  # symbols have no size
        _check_size(moments.sigma_s, alpha, beta)
    sigma_s, sigma_d = transform(moments.sigma_s, moments.sigma_d, alpha, beta)
    return sigma_s, sigma_d


def objective_weights(alpha: float, beta: float) -> tuple[float, float]:
    """The weights α >= 0 and β > 0 of an objective, checked."""
    if not 0 <= alpha < np.inf:
        raise ValueError(f"`alpha` must be finite and >= 0, got {alpha}")
    if not 0 < beta < np.inf:
        raise ValueError(f"`beta` must be finite and > 0, got {beta}")
    return alpha, beta


_MOST_BINARY = 1020
"""Largest binary exponent of moments."""


def _check_size(sigma_s: np.ndarray, alpha: float, beta: float) -> None:
    """Refuse weights with which 2α(Σs − Σd) ± βΣs leaves the range of floats."""
    size = np.frexp(np.max(np.abs(sigma_s)))[1]
    most = max(np.frexp(alpha)[1] + 1, np.frexp(beta)[1])
    if most + max(size, 0) + 1 > _MOST_BINARY or np.frexp(beta)[1] + size < -_MOST_BINARY:
        raise ValueError(
            "`alpha` and `beta` must leave 2α(Σs − Σd) and βΣs within 1e-307 and 1e307, got"
            f" {alpha:g} and {beta:g} with Σs of size {np.max(np.abs(sigma_s)):.3g}"
        )
