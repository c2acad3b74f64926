"""Which eigenvalues of two matrices are shared, up to perturbations that rounding explains."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from analysis.sylvester.intertwiners import (
    Intertwiners,
    intertwiners,
)
from analysis.sylvester.invariant_subspaces import (
    Cluster,
    block_minima,
    invariant_clusters,
)

# --- all solutions ------------------------------------------------------------------------------------------


def spectral_norm(A: np.ndarray) -> float:
    """Largest singular value."""
    return float(np.linalg.norm(A, 2))


class Problem(NamedTuple):
    """P, M, a matrix R similar to M, and B, such that φ Bᴴ solves P θ = θ M iff P φ = φ R; the moments behind M."""

    P: np.ndarray
    M: np.ndarray
    R: np.ndarray
    B: np.ndarray
    precision: np.dtype
    moments: tuple[np.ndarray, np.ndarray] | None = None
    pencil: Pencil | None = None


def cluster_distances(left: list[Cluster], right: list[Cluster]) -> np.ndarray:
    """Least distance of the eigenvalues of clusters, for every pair."""
    rows, columns = (np.concatenate([c.eigenvalues for c in side]) for side in (left, right))
    starts = [np.cumsum([0, *(c.size for c in side[:-1])]) for side in (left, right)]
    return block_minima(np.abs(np.subtract.outer(rows, columns)), *starts)


class Shared(NamedTuple):
    """Solutions θ = X Φ Yᴴ of one pair of clusters, with ‖P θ − θ M‖_F <= residual·‖θ‖_F, and their perturbation."""

    X: np.ndarray
    Y: np.ndarray
    Phi: Intertwiners
    residual: float
    perturbation: float


class Nearness:
    """σmin(A − λ)/‖A‖: the relative perturbation of A after which λ is an eigenvalue. Two triangular solves each."""

    def __init__(self, A: np.ndarray):
        self.size = spectral_norm(A) or 1.0
        self.T = scipy.linalg.schur(A, output="complex")[0]

    def __call__(self, value: complex) -> float:
        shifted = self.T - value * np.eye(len(self.T))
        pivots = np.abs(np.diag(shifted))
        if np.min(pivots) == 0:
            return 0.0
        if len(shifted) <= 64:
            return float(np.linalg.svd(shifted, compute_uv=False)[-1]) / self.size
        x = np.ones(len(shifted), dtype=complex) / np.sqrt(len(shifted))
        smallest = np.inf
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(3):  # inverse iteration on AᴴA, from above
                y = scipy.linalg.solve_triangular(shifted, x, trans="C", check_finite=False)
                z = scipy.linalg.solve_triangular(shifted, y, check_finite=False)
                if not np.all(np.isfinite(z)):
                    return 0.0
                smallest = float(np.sqrt(np.linalg.norm(x) / np.linalg.norm(z)))
                x = z / np.linalg.norm(z)
        return smallest / self.size


class Pencil:
    """Σd u = r Σs u with uᵀΣs u = 1: how far r moves when both moments are perturbed relative to their norms."""

    def __init__(self, sigma_s: np.ndarray, sigma_d: np.ndarray, B: np.ndarray, R: np.ndarray):
        self.B, self.sigma_s, self.sigma_d = B, spectral_norm(sigma_s), spectral_norm(sigma_d)
        self.ratios, q = np.linalg.eigh(R)
        self.movable = self._of(q, self.ratios)

    def _of(self, q: np.ndarray, ratios: np.ndarray) -> np.ndarray:
        return np.sum(np.abs(self.B @ q) ** 2, axis=0) * (self.sigma_d + np.abs(ratios) * self.sigma_s)

    def __call__(self, value: complex) -> float:
        return float(np.min(np.abs(self.ratios - value) / np.where(self.movable == 0, 1.0, self.movable)))

    def widened(self, cluster: Cluster, tolerance: float) -> Cluster:
        """Return the cluster with the radius that a perturbation of the moments gives it."""
        X, T = cluster.invariant_subspace()
        movable = float(np.max(self._of(X, np.diag(T).real)))
        return cluster._replace(radius=max(cluster.radius, tolerance * movable))


def common_clusters(a: np.ndarray, reach_a: float, b: np.ndarray, reach_b: float) -> np.ndarray:
    """Eigenvalues of two clusters, and the means of those, that are within reach of both."""
    values = np.concatenate([a, b, [np.mean(a), np.mean(b)]])
    away_a, away_b = (np.min(np.abs(np.subtract.outer(values, c)), axis=1) for c in (a, b))
    return np.unique(values[(away_a <= reach_a) & (away_b <= reach_b)])


def shared_clusters(
    problem: Problem, tolerance: float, norms: tuple[float, float]
) -> tuple[list[Shared], list[Cluster], list[Cluster], np.ndarray]:
    """Return what pairs of clusters share, the clusters of P and of Mᴴ, and the distances of the other pairs."""
    P, M = problem.P, problem.R
    left = invariant_clusters(P, tolerance * norms[0])
    right = invariant_clusters(M.conj().T, tolerance * norms[1])
    if problem.pencil is not None:
        right = [problem.pencil.widened(cluster, tolerance) for cluster in right]
    distance = cluster_distances(left, [c._replace(eigenvalues=c.eigenvalues.conj()) for c in right])
    shared = []
    near: tuple[Any, Any] | None = None
    for i, j in np.argwhere(distance <= np.add.outer([c.reach for c in left], [c.reach for c in right])):
        (X, T), (Y, S_adjoint) = left[i].invariant_subspace(), right[j].invariant_subspace()
        Phi = intertwiners(T, S_adjoint.conj().T, left[i].radius + right[j].radius)
        if not Phi.eigenvalues.size:
            continue
        near = near or (Nearness(P), problem.pencil or Nearness(M))
        candidates = common_clusters(
            left[i].eigenvalues, left[i].reach, right[j].eigenvalues.conj(), right[j].reach
        )
        perturbation = min(max(near[0](value), near[1](value)) for value in (*candidates, *Phi.eigenvalues))
        if perturbation > tolerance:
            continue
        distance[i, j] = np.inf
        subspaces = np.linalg.norm(P @ X - X @ T) + np.linalg.norm(M.conj().T @ Y - Y @ S_adjoint)
        shared.append(Shared(X, Y, Phi, Phi.residual + float(subspaces), perturbation))
    return shared, left, right, distance
