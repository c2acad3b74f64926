"""Invariant subspaces that rounding leaves standing: eigenvalues in clusters that can be told apart.

A single eigenvalue of a general matrix may be anywhere within the k-th root of rounding (k the size of its Jordan
block), so no decision can rest on one. A cluster with its invariant subspace, A X = X T, moves smoothly as long as
perturbations stay below sep(T, rest)/(4 ‖Π‖), Π its spectral projector; T itself then moves by at most ‖Π‖ times as
much.
"""

from __future__ import annotations

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
    subspace
        X, shape (n, m), with orthonormal columns.
    block
        T, shape (m, m), upper triangular, with 2×2 blocks on the diagonal if A is real.
    radius
        ρ = uncertainty·‖Π‖: how far T can move when A moves by `uncertainty`.
    resolved
        Whether uncertainty <= sep/(4 ‖Π‖), so that no such perturbation mixes these eigenvalues with others.
    """

    eigenvalues: np.ndarray
    subspace: np.ndarray
    block: np.ndarray
    radius: float
    resolved: bool


def _reorder(
    T: np.ndarray, Q: np.ndarray, members: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """Bring eigenvalues to the head of a Schur form; return it, its eigenvalues, 1/‖Π‖ and sep (0 if it fails)."""
    n, m = len(T), np.count_nonzero(members)
    work = max(n, 2 * m * (n - m))
    if np.iscomplexobj(T):
        T, Q, eigenvalues, _, inverse_norm, sep, info = lapack.ztrsen(members, T, Q, lwork=work)
    else:
        T, Q, real, imag, _, inverse_norm, sep, info = lapack.dtrsen(members, T, Q, lwork=work, liwork=work)
        eigenvalues = real + 1j * imag
    return (T, Q, eigenvalues, inverse_norm, sep) if info == 0 else (T, Q, eigenvalues, 0.0, 0.0)


def schur_eigenvalues(T: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Eigenvalues of a Schur form A = Q T Qᴴ, real or complex, in the order of the diagonal.

    >>> schur_eigenvalues(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.eye(2))
    array([0.+1.j, 0.-1.j])
    """
    return _reorder(T, Q, np.zeros(len(T), dtype=bool))[2]


def block_minima(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Smallest entry of every block of a matrix whose blocks begin at the given rows and columns.

    >>> block_minima(np.array([[3.0, 1.0, 2.0]]), [0], [0, 2])
    array([[1., 2.]])
    """
    return np.minimum.reduceat(np.minimum.reduceat(values, rows, axis=0), columns, axis=1)


def invariant_clusters(A: np.ndarray, uncertainty: float) -> list[Cluster]:
    """Cluster the eigenvalues of a matrix that is known up to a perturbation of 2-norm `uncertainty`.

    Clusters that are not resolved are merged with their nearest neighbour until all are, or one is left.

    Parameters
    ----------
    A
        Shape (n, n), real or complex, finite. The eigenvalues of a real one stay with their conjugates.
    uncertainty
        >= 0, in the units of A.

    Returns
    -------
    list of Cluster
        Their sizes add up to n. A single cluster with all eigenvalues is what a matrix far from normal comes to.

    Notes
    -----
    Stewart (1973) and Demmel (1986) for the condition; LAPACK's xTRSEN for ‖Π‖ and sep, the latter an estimate.
    Time O(n³) where most eigenvalues are simple; memory O(n²).

    Examples
    --------
    >>> [len(c.block) for c in invariant_clusters(np.array([[1.0, 1.0], [1e-15, 1.0]]), 1e-15)]
    [2]
    """
    normal = np.array_equal(A, A.conj().T)
    if normal:
        w, Q = np.linalg.eigh(A)
        T, eigenvalues = np.diag(w).astype(A.dtype), w.astype(complex)
    else:
        T, Q = scipy.linalg.schur(A)
        eigenvalues = schur_eigenvalues(T, Q)

    def cluster(members: np.ndarray) -> Cluster:
        if normal:
            return Cluster(
                eigenvalues[members], Q[:, members], T[np.ix_(members, members)], uncertainty, True
            )
        m = np.count_nonzero(members)
        T_m, Q_m, values, inverse_norm, sep = _reorder(T, Q, members)
        radius = uncertainty / inverse_norm if inverse_norm > 0 else np.inf
        resolved = m == len(A) or 4 * uncertainty <= sep * inverse_norm
        return Cluster(values[:m], Q_m[:, :m].copy(), T_m[:m, :m].copy(), radius, resolved)

    distances = np.abs(np.subtract.outer(eigenvalues, eigenvalues))
    conjugate_pairs = np.tril(T, -1) != 0
    count, label = connected_components((distances <= 4 * uncertainty) | conjugate_pairs, directed=False)
    known: dict[bytes, Cluster] = {}
    while True:
        sets = label == np.arange(count)[:, None]
        for members in sets:
            if members.tobytes() not in known:
                known[members.tobytes()] = cluster(members)
        clusters = [known[members.tobytes()] for members in sets]
        unresolved = np.flatnonzero([not c.resolved for c in clusters])
        if unresolved.size == 0:
            return clusters
        order = np.argsort(label, kind="stable")
        starts = np.searchsorted(label[order], np.arange(count))
        between = block_minima(distances[np.ix_(order, order)], starts, starts)
        np.fill_diagonal(between, np.inf)
        links = np.zeros((count, count), dtype=bool)
        links[unresolved, np.argmin(between[unresolved], axis=1)] = True
        count, merged = connected_components(links, directed=False)
        label = merged[label]
