"""Where a rectified neuron turns on Gaussian clusters: what it climbs, where it can rest (R127, R128)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from dynamics.data.clusters import GaussianMixture

_RESTARTS, _STILL = 30, 1e-8
SAME = 1e-6
"""Directions closer than this are one: optimisation leaves gradients of 1e-9, next to curvatures of order one."""


def gated_mean(w: Any, mixture: GaussianMixture) -> np.ndarray:
    """Mean of the views that a rectified neuron responds to, E[1(wᵀx > 0) x | cluster k], for every cluster.

        u_k = μ_k Φ(h_k) + Σw φ(h_k)/√(wᵀΣw),   h_k = wᵀμ_k/√(wᵀΣw)

    Parameters
    ----------
    w
        Weights, shape (d,), or (..., d) for several neurons; none zero.
    mixture
        π_k, μ_k and Σ. Where wᵀΣw = 0, Φ is the step function, 0 at 0, and the second term vanishes.

    Returns
    -------
    array
        Shape (..., K, d). wᵀu_k is the mean output f̄_k, and u_k its gradient by w.

    Raises
    ------
    ValueError
        `w` is not so.

    Notes
    -----
    Source: R127.

    Examples
    --------
    >>> gated_mean([1.0], GaussianMixture([1], [[0.0]], 1.0)).round(6)  # 1/√(2π)
    array([[0.398942]])
    """
    from scipy.special import ndtr

    w = _direction(w, mixture)
    Sw = w @ mixture.covariance
    deviation = np.sqrt(np.maximum((w * Sw).sum(axis=-1), 0.0))[..., None]
    projections = w @ mixture.centres.T
    noisy = deviation > 0
    unit = np.where(noisy, deviation, 1.0)
    h = projections / unit
    with np.errstate(under="ignore", over="ignore"):
        density = np.where(noisy, np.exp(-(h**2) / 2) / math.sqrt(2 * math.pi), 0.0)
    share = np.where(noisy, ndtr(h), projections > 0)
    return np.asarray(mixture.centres * share[..., None] + density[..., None] * (Sw / unit)[..., None, :])


def gated_covariance(w: Any, mixture: GaussianMixture) -> np.ndarray:
    """Covariance over clusters of the gated mean, A(w) = V_k[u_k(w)], shape (d, d), or (..., d, d) for several w.

    It depends on the direction of w alone. The lower weights of node j of a diagonal two-layer network move along
    A(w_j) w_j under the simple loss.

    >>> gated_covariance([1.0], GaussianMixture([1, 1], [[0.0], [2.0]], 0.0))
    array([[1.]])
    """
    U = gated_mean(w, mixture)
    U = U - (mixture.prior @ U)[..., None, :]
    return np.asarray(np.swapaxes(mixture.prior[:, None] * U, -1, -2) @ U)


def selectivity_objective(w: Any, mixture: GaussianMixture) -> float:
    """Variance over clusters of the mean output, V(w) = V_k[E[ReLU(wᵀx) | k]] = wᵀA(w)w.

    A(w) w is half its gradient, so the direction of w climbs V on the sphere.

    Parameters
    ----------
    w, mixture
        As for `gated_mean`.

    Notes
    -----
    Homogeneous of degree 2. Source: R127.

    Examples
    --------
    >>> selectivity_objective([2.0], GaussianMixture([1, 1], [[0.0], [2.0]], 0.0))
    4.0
    """
    f = gated_mean(w, mixture) @ np.asarray(w, dtype=np.float64)
    return float(mixture.prior @ (f - mixture.prior @ f) ** 2)


class FixedDirections(NamedTuple):
    """Directions at which a neuron can rest, in the order in which they were found.

    Parameters
    ----------
    directions
        Unit vectors, shape (n, d): maxima of V on the sphere.
    objectives
        V at each, shape (n,).
    residuals
        Part of A(w)w across w, relative to V: zero at a fixed direction, shape (n,).
    ends
        Which of them each start came to, shape (n_starts,); −1 for a start at which V = 0, where the neuron stays.
    """

    directions: np.ndarray
    objectives: np.ndarray
    residuals: np.ndarray
    ends: np.ndarray


def fixed_directions(mixture: GaussianMixture, starts: Any) -> FixedDirections:
    """Stable directions of the flow dw/dt = A(w) w that ascents of V from some starts find.

    Parameters
    ----------
    mixture
        Clusters with a positive definite Σ, without which V has kinks at its maxima.
    starts
        Shape (n_starts, d), none zero.

    Returns
    -------
    FixedDirections
        Directions that agree to `SAME` are one. A `residual` that is not small says that an ascent got stuck.

    Raises
    ------
    ValueError
        Σ is singular, or a start is zero.

    Notes
    -----
    Ascents by BFGS in w/‖w‖: they end at a maximum, but not always at that of the flow from the same start. Source:
    R127.

    Examples
    --------
    >>> found = fixed_directions(GaussianMixture([1, 1], [[1.0, 0.0], [-1.0, 0.0]], 0.01), [[1.0, 0.1], [-1.0, 0.2]])
    >>> found.directions.round(6) + 0.0
    array([[ 1.,  0.],
           [-1.,  0.]])
    """
    from scipy.optimize import minimize

    if np.linalg.eigvalsh(mixture.covariance)[0] <= 0:
        raise ValueError(
            "`covariance` must be positive definite to look for fixed directions, got a singular one"
        )

    def descent(v: np.ndarray) -> tuple[float, np.ndarray]:
        """−ln V and its slope: where few views are seen V is tiny, but climbs as well."""
        length = float(np.linalg.norm(v))
        w = v / length
        climb = gated_covariance(w, mixture) @ w
        value = float(w @ climb)
        if value <= 0:
            return np.inf, np.zeros_like(v)
        return -math.log(value), -2 * (climb / value - w) / length

    directions: list[np.ndarray] = []
    ends = []
    for start in np.asarray(starts, dtype=np.float64):
        w0 = _direction(start, mixture)
        if selectivity_objective(w0, mixture) == 0:
            ends.append(-1)
            continue
        w = w0 / np.linalg.norm(w0)
        for _ in range(
            _RESTARTS
        ):  # a line search that overshoots leaves the sphere's neighbourhood, and is begun anew
            w = minimize(descent, w, jac=True, method="BFGS", options={"gtol": 1e-10}).x
            w = w / np.linalg.norm(w)
            if np.linalg.norm(descent(w)[1]) < _STILL:
                break
        near = [k for k, other in enumerate(directions) if np.linalg.norm(w - other) < SAME]
        if not near:
            directions.append(w)
        ends.append(near[0] if near else len(directions) - 1)
    values = np.array([selectivity_objective(w, mixture) for w in directions])
    climbs = [gated_covariance(w, mixture) @ w for w in directions]
    across = [
        float(np.linalg.norm(climb - w * (w @ climb))) / value if value else 0.0
        for w, climb, value in zip(directions, climbs, values, strict=True)
    ]
    return FixedDirections(np.array(directions), values, np.array(across), np.array(ends))


def isolated_centres(mixture: GaussianMixture) -> np.ndarray:
    """Numbers k of the centres with μ_lᵀμ_k <= 0 for all l ≠ k: a neuron along μ_k responds to no other.

    As Σ → 0 these are fixed directions, and generically no other centre is one: it would need every other centre
    that is active at μ_k to have the mean projection of all clusters. Whether a centre stands at the origin plays
    no part, and a centre at the origin is no direction.

    Parameters
    ----------
    mixture
        Clusters; Σ plays no part.

    Returns
    -------
    array
        Ascending integers.

    Notes
    -----
    Source: R128, which corrects DD 4.2.

    Examples
    --------
    >>> isolated_centres(GaussianMixture([1, 1, 1], [[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]], 0.0))
    array([1])
    """
    mu = mixture.centres
    products = mu @ mu.T
    np.fill_diagonal(products, -1.0)
    return np.flatnonzero(np.all(products <= 0, axis=1) & mu.any(axis=1))


def _direction(w: Any, mixture: GaussianMixture) -> np.ndarray:
    """Vectors scaled to largest entry 1, so that no square over- or underflows."""
    w = np.asarray(w, dtype=np.float64)
    d = mixture.centres.shape[1]
    if w.shape[-1:] != (d,):
        raise ValueError(f"`w` must be finite, not zero, of shape ({d},), got {w}")
    scale = np.max(np.abs(w), axis=-1, keepdims=True)
    if not np.all(np.isfinite(scale) & (scale > 0)):
        raise ValueError(f"`w` must be finite, not zero, of shape ({d},), got {w}")
    return np.asarray(w / scale)
