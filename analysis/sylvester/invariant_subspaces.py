"""Invariant subspaces that rounding leaves standing: eigenvalues in clusters that can be told apart.

Rounding δ spreads an eigenvalue of a Jordan block of size k over a circle of radius δ^(1/k), so no decision can rest
on a single eigenvalue. The invariant subspace of all of them, A X = X T, is another matter: when A moves by ε, T moves
by ε ‖Π‖ at most to first order, Π the spectral projector, and ‖Π‖ is large only where other eigenvalues are too near.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import scipy.linalg
from scipy.linalg import lapack
from scipy.sparse.csgraph import connected_components


class Cluster(NamedTuple):
    """Eigenvalues that cannot be told apart, and their invariant subspace, A X = X T.

    Parameters
    ----------
    eigenvalues
        Eigenvalues of T, shape (m,), complex.
    radius
        ρ >= uncertainty·‖Π‖: how far T can move when A moves by `uncertainty`.
    departure
        ν = sqrt(‖T‖² − Σ|λ|²), Frobenius norm: departure of T from normality; 0 for simple eigenvalues.
    separated
        Whether 4 uncertainty·‖Π‖ <= sep(T, rest), so that no such perturbation mixes in other eigenvalues.
    invariant_subspace
        () -> X (n, m) with orthonormal columns, and T (m, m), triangular (real A: with 2×2 blocks); computed when
        it is first asked for.
    """

    eigenvalues: np.ndarray
    radius: float
    departure: float
    separated: bool
    invariant_subspace: Callable[[], tuple[np.ndarray, np.ndarray]]

    @property
    def size(self) -> int:
        """Number of eigenvalues."""
        return self.eigenvalues.size

    @property
    def reach(self) -> float:
        """How far t an eigenvalue of T can move when T moves by ρ (Henrici 1962): t <= m ρ or tᵐ <= m ρ νᵐ⁻¹."""
        m, shift = self.size, self.size * self.radius
        return max(shift, shift ** (1 / m) * self.departure ** (1 - 1 / m))


def _reorder(
    T: np.ndarray, Q: np.ndarray, members: np.ndarray, *, condition: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """Bring eigenvalues to the head of a Schur form; return it, its eigenvalues, and 1/‖Π‖ and sep on demand."""
    n, m = len(T), np.count_nonzero(members)
    work, job = max(n, 2 * m * (n - m)), "B" if condition else "N"
    if np.iscomplexobj(T):
        T, Q, eigenvalues, _, inverse_norm, sep, info = lapack.ztrsen(members, T, Q, job=job, lwork=work)
    else:
        T, Q, *parts, _, inverse_norm, sep, info = lapack.dtrsen(
            members, T, Q, job=job, lwork=work, liwork=work
        )
        eigenvalues = parts[0] + 1j * parts[1]
    # LAPACK declines to swap eigenvalues that it cannot tell apart
    return (T, Q, eigenvalues, inverse_norm, sep) if info == 0 else (T, Q, eigenvalues, 0.0, 0.0)


def schur_eigenvalues(T: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Eigenvalues of a Schur form A = Q T Qᴴ, real or complex, in the order of the diagonal.

    >>> schur_eigenvalues(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.eye(2))
    array([0.+1.j, 0.-1.j])
    """
    return _reorder(T, Q, np.zeros(len(T), dtype=bool), condition=False)[2]


def _projector_norms(T: np.ndarray, smallest_gap: float) -> np.ndarray:
    """Norms ‖Π‖ = ‖v‖‖u‖/|uᴴ v| for the eigenvalues of a triangular T one by one, gaps cut off below."""

    def eigenvectors(T: np.ndarray) -> np.ndarray:
        values, V = np.diag(T), np.eye(len(T), dtype=complex)
        for row in range(len(T) - 2, -1, -1):
            gaps = values[row + 1 :] - values[row]
            gaps[np.abs(gaps) < smallest_gap] = smallest_gap
            V[row, row + 1 :] = T[row, row + 1 :] @ V[row + 1 :, row + 1 :] / gaps
        return V

    # overflow says that the eigenvalue is as good as defective
    with np.errstate(over="ignore", invalid="ignore"):
        right, left = eigenvectors(T), eigenvectors(T.T[::-1, ::-1])[:, ::-1]
        norms = np.linalg.norm(right, axis=0) * np.linalg.norm(left, axis=0)
    return np.where(np.isfinite(norms), norms, np.inf)


def block_minima(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Smallest entry of every block of a matrix whose blocks begin at the given rows and columns.

    >>> block_minima(np.array([[3.0, 1.0, 2.0]]), [0], [0, 2])
    array([[1., 2.]])
    """
    return np.minimum.reduceat(np.minimum.reduceat(values, rows, axis=0), columns, axis=1)


def invariant_clusters(A: np.ndarray, uncertainty: float) -> list[Cluster]:
    """Cluster the eigenvalues of a matrix that is known up to a perturbation of 2-norm `uncertainty`.

    Clusters that are neither `separated` nor out of each other's `reach` are merged with their nearest neighbours,
    until there are none or one cluster is left.

    Parameters
    ----------
    A
        Shape (n, n), real or complex, finite. The eigenvalues of a real one stay with their conjugates.
    uncertainty
        In the units of A, not below its rounding; 0 only for A = 0.

    Returns
    -------
    list of Cluster
        Their sizes add up to n. A matrix far from normal comes to one cluster with all eigenvalues.

    Notes
    -----
    Stewart (1973) and Demmel (1986) for separation; LAPACK's xTRSEN for ‖Π‖ and sep, the latter an estimate.
    Time O(n³) where most eigenvalues are simple; memory O(n²) and that of the subspaces asked for.

    Examples
    --------
    >>> [cluster.size for cluster in invariant_clusters(np.array([[1.0, 1.0], [1e-15, 1.0]]), 1e-14)]
    [2]
    """
    hermitian = np.array_equal(A, A.conj().T)
    if hermitian:
        eigenvalues, Q = np.linalg.eigh(A)
        T, norms = np.diag(eigenvalues), np.ones(len(A))
    else:
        T, Q = scipy.linalg.schur(A)
        eigenvalues = schur_eigenvalues(T, Q)
        norms = _projector_norms(T if np.iscomplexobj(T) else scipy.linalg.rsf2csf(T, Q)[0], uncertainty)
    distances = np.abs(np.subtract.outer(eigenvalues, eigenvalues))
    np.fill_diagonal(distances, np.inf)
    nearest: np.ndarray = np.min(distances, axis=1)
    simple = 100 * uncertainty * norms < nearest

    def cluster(members: np.ndarray) -> Cluster:
        m, values = np.count_nonzero(members), eigenvalues[members]
        if hermitian:
            form = Q[:, members], np.diag(values).astype(A.dtype)
            return Cluster(values.astype(complex), uncertainty, 0.0, True, lambda: form)
        if np.all(simple[members]):

            @cache
            def invariant_subspace() -> tuple[np.ndarray, np.ndarray]:
                T_m, Q_m, *_ = _reorder(T, Q, members, condition=False)
                return Q_m[:, :m].copy(), T_m[:m, :m].copy()

            return Cluster(values, uncertainty * np.sum(norms[members]), 0.0, True, invariant_subspace)
        T_m, Q_m, values, inverse_norm, sep = _reorder(T, Q, members, condition=True)
        form, values = (Q_m[:, :m].copy(), T_m[:m, :m].copy()), values[:m]
        departure = float(np.sqrt(max(np.sum(np.abs(form[1]) ** 2) - np.sum(np.abs(values) ** 2), 0.0)))
        radius = uncertainty / inverse_norm if inverse_norm > 0 else np.inf
        return Cluster(values, radius, departure, 4 * uncertainty <= sep * inverse_norm, lambda: form)

    conjugate_pairs = np.tril(T, -1) != 0
    unclear = ~simple[:, None] & (distances <= 2 * nearest[:, None])
    count, label = connected_components(
        (distances <= 4 * uncertainty) | conjugate_pairs | unclear, directed=False
    )
    known: dict[bytes, Cluster] = {}
    while True:
        sets = label == np.arange(count)[:, None]
        for members in sets:
            if members.tobytes() not in known:
                known[members.tobytes()] = cluster(members)
        clusters = [known[members.tobytes()] for members in sets]
        order = np.argsort(label, kind="stable")
        starts = np.searchsorted(label[order], np.arange(count))
        between = block_minima(distances[np.ix_(order, order)], starts, starts)
        np.fill_diagonal(between, np.inf)
        reach = np.array([c.reach for c in clusters])
        mixed = ~np.array([c.separated for c in clusters]) & np.any(
            between <= np.add.outer(reach, reach), axis=1
        )
        if count == 1 or not np.any(mixed):
            return clusters
        links = mixed[:, None] & (between <= 2 * np.min(between, axis=1, keepdims=True))
        count, merged = connected_components(links, directed=False)
        label = merged[label]
