"""The covariance operator of one linear neuron on Gaussian views, and when it is positive semidefinite (R112)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dynamics.contrastive_losses import ContrastiveLoss, InfoNCELoss, SimpleLoss, pair_weights
from dynamics.fields.infonce import saturation_share
from dynamics.system import MatrixSystem

NODES = 60
"""Gauss–Hermite nodes along each of the three Gaussian variables of one negative."""


@dataclass(frozen=True, eq=False)
class GaussianOperator:
    """OP = 2 E[Σξ] Σd + U C Uᵀ, of rank <= 2 beside its multiple of Σd.

    Parameters
    ----------
    sigma_d
        Σd, shape (n1, n1).
    scale
        2 E[Σ_k ξ_k].
    U
        Directions a and b, shape (n1, 2), in the span of Σs w and Σd w: the mean of an anchor given its output and its
        positive's is a p + b q, with p and q independent standard Gaussians; b = 0 without augmentation along w.
    C
        Shape (2, 2), symmetric.
    error
        Standard error of the entries of C and of `scale`, the largest, where they are sampled; the largest change from
        40 to `NODES` nodes where they are integrated; 0 where they are exact.
    """

    sigma_d: np.ndarray
    scale: float
    U: np.ndarray
    C: np.ndarray
    error: float

    @property
    def matrix(self) -> np.ndarray:
        """OP, shape (n1, n1)."""
        return self.scale * self.sigma_d + self.U @ self.C @ self.U.T

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Eigenvalues of OP, ascending, shape (n1,)."""
        return np.linalg.eigvalsh(self.matrix)


def _kappa(s: Any, temperature: float) -> Any:
    """κ of one row with s = wᵀΣs w; it is 1 to rounding long before s/τ leaves the range of floats."""
    with np.errstate(over="ignore"):
        y = np.minimum(np.asarray(s) / temperature, 1e300)
    return saturation_share(y[..., None, None])[..., 0, 0]


def gaussian_operator(
    system: MatrixSystem,
    w: Any,
    loss: ContrastiveLoss,
    *,
    negatives: float = 1,
    draws: int = 100_000,
    seed: int = 0,
) -> GaussianOperator:
    """Covariance operator, through all branches, of a linear neuron f = wᵀx on centred Gaussian views.

        OP = 2 E[Σ_k ξ_k] Σd + U C Uᵀ;   InfoNCE, H → ∞: OP = (2/τ)[Σd − κ(s) Σs w wᵀ Σs/s],  s = wᵀΣs w

    for any loss of the differences r_k − r₊.

    Parameters
    ----------
    system
        Σs and Σd, 0 ≼ Σd ≼ Σs.
    w
        Weights of the neuron, shape (n1,), with s > 0.
    loss
        A loss of the differences.
    negatives
        H: 1 integrates with `NODES`³ Gauss–Hermite nodes; more are drawn; infinity has the closed form of InfoNCE, with
        or without the positive in the denominator. The simple loss is exact for every H.
    draws, seed
        Of more than one negative: draws >= 2.

    Returns
    -------
    GaussianOperator
        With an estimate of its error.

    Raises
    ------
    ValueError
        s = 0, H is out of range, or H is infinite for another loss than InfoNCE or the simple one.

    Notes
    -----
    Gauss–Hermite nodes resolve weights ξ that vary over distances of size 1: at temperatures far below s see the
    `error`. Source: R112 (ii) and (iii), new.

    Examples
    --------
    >>> system = MatrixSystem(np.diag([1.0, 2.0]), np.diag([0.5, 1.8]))
    >>> gaussian_operator(system, [2.0, 0.1], InfoNCELoss(), negatives=np.inf).eigenvalues.round(2)
    array([-0.76,  3.59])
    """
    sigma_s, sigma_d = (np.diag(m) if m.ndim == 1 else m for m in (system.sigma_s, system.sigma_d))
    w = np.asarray(w, dtype=np.float64)
    if w.shape != (system.n1,):
        raise ValueError(f"`w` must have shape ({system.n1},), got {w.shape}")
    noise = sigma_s - sigma_d
    s, common, along = (float(w @ m @ w) for m in (sigma_s, sigma_s + sigma_d, noise))
    if not 0 < s < np.inf:
        raise ValueError(f"`w` must give outputs of a finite variance wᵀΣs w > 0, got {s}")
    along = max(along, 0.0)
    # f1 = √s(α p + β q) and f₊ = √s(α p − β q)
    a = (sigma_s + sigma_d) @ w / np.sqrt(2 * common)
    b = noise @ w / np.sqrt(2 * along) if along > 0 else np.zeros_like(w)
    U = np.column_stack([a, b])
    alpha_beta = np.sqrt(np.array([common, along]) / (2 * s))
    if isinstance(loss, SimpleLoss):
        return GaussianOperator(sigma_d, 2.0, U, np.zeros((2, 2)), 0.0)
    if negatives == np.inf:
        if not isinstance(loss, InfoNCELoss):
            raise ValueError(f"`negatives` must be finite unless the loss is InfoNCE or simple, got {loss!r}")
        T = loss.temperature
        C = -2 / T * _kappa(s, T) * np.outer(alpha_beta, alpha_beta)  # Σs w/√s = α a + β b
        return GaussianOperator(sigma_d, 2 / T, U, C, 0.0)
    if negatives != int(negatives) or negatives < 1:
        raise ValueError(f"`negatives` must be an integer >= 1, or infinite, got {negatives}")
    if negatives == 1:
        coarse, fine = (_integrated(s, alpha_beta, loss, nodes) for nodes in (40, NODES))
        total, C = fine
        error = max(abs(total - coarse[0]), float(np.max(np.abs(C - coarse[1]))))
        return GaussianOperator(sigma_d, 2 * total, U, C, error)
    if draws < 2:
        raise ValueError(f"`draws` must be an integer >= 2, got {draws}")
    normals = np.random.default_rng(seed).standard_normal((draws, 2 + int(negatives)))
    parts = _summands(s, alpha_beta, loss, normals[:, 0], normals[:, 1], normals[:, 2:])
    error = float(np.max(np.std(parts, axis=0, ddof=1))) / np.sqrt(draws)
    total, C = _collected(np.mean(parts, axis=0))
    return GaussianOperator(sigma_d, 2 * total, U, C, error)


def _integrated(
    s: float, alpha_beta: np.ndarray, loss: ContrastiveLoss, nodes: int
) -> tuple[float, np.ndarray]:
    x, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / np.sum(weights)
    p, q, n = (grid.ravel() for grid in np.meshgrid(x, x, x, indexing="ij"))
    together = np.einsum("i,j,k->ijk", weights, weights, weights).ravel()
    return _collected(together @ _summands(s, alpha_beta, loss, p, q, n[:, None]))


def _summands(
    s: float, alpha_beta: np.ndarray, loss: ContrastiveLoss, p: np.ndarray, q: np.ndarray, n: np.ndarray
) -> np.ndarray:
    """Σξ and the entries of C at Gaussian variables p, q (m,) and n (m, H): (m, 4), means of which are the answer.

    Given the outputs, x1 − x_k has mean a(p − α n_k) + b(q − β n_k) and x1 − x₊ has mean 2 b q; around them they vary
    as they do without, less the variances of these means.
    """
    alpha, beta = alpha_beta
    r_pos = 2 * s * (beta * q) ** 2
    r_neg = s / 2 * ((alpha * p + beta * q)[:, None] - n) ** 2
    _, xi = pair_weights(loss, r_pos, r_neg)
    total = np.sum(xi, axis=1)
    u, v = p[:, None] - alpha * n, q[:, None] - beta * n
    aa = np.sum(xi * (u * u - 1 - alpha**2), axis=1)
    ab = np.sum(xi * (u * v - alpha * beta), axis=1)
    bb = np.sum(xi * (v * v - 1 - beta**2), axis=1) - 4 * total * (q * q - 1)
    return np.column_stack([total, aa, ab, bb])


def _collected(means: np.ndarray) -> tuple[float, np.ndarray]:
    total, aa, ab, bb = means
    return float(total), np.array([[aa, ab], [ab, bb]])


def semidefinite_share(lambda_s: Any, ratios: Any, w: Any, temperature: float = 1.0) -> Any:
    """κ(s) Σ_i q_i/r_i: the operator of InfoNCE with H → ∞ is positive semidefinite exactly where this is <= 1.

    Parameters
    ----------
    lambda_s, ratios
        λs > 0 and r = λd/λs in (0, 1] of decoupled modes, shape (n_modes,).
    w
        Weights of one linear neuron on the modes, shape (..., n_modes), not all zero; q_i = w_i²λs_i/s.
    temperature
        τ > 0.

    Returns
    -------
    Array
        Shape (...).

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    OP = (2/τ)[Σd − κ Σs w wᵀΣs/s] is Σd less one square: 1 >= κ (Σs w)ᵀ Σd⁻¹ (Σs w)/s. Source: R112 (iii), new.

    Examples
    --------
    >>> float(semidefinite_share([1.0], [0.5], [1.0]))
    1.25
    """
    lambda_s, r, w = (np.asarray(value, dtype=np.float64) for value in (lambda_s, ratios, w))
    for name, value, high in (("lambda_s", lambda_s, np.inf), ("ratios", r, 1.0)):
        if not np.all((value > 0) & (value <= high) & np.isfinite(value)):
            bound = "> 0" if high == np.inf else "> 0 and <= 1"
            raise ValueError(f"`{name}` must be finite and {bound}, got {value}")
    if not 0 < temperature < np.inf:
        raise ValueError(f"`temperature` must be finite and > 0, got {temperature}")
    parts = w**2 * lambda_s
    s = np.sum(parts, axis=-1)
    if not np.all((s > 0) & np.isfinite(s)):
        raise ValueError("`w` must be finite and have an entry that is not 0")
    return _kappa(s, temperature) * np.sum(parts / r, axis=-1) / s
