"""Which directions of feature space have learned which mode of the data: partial collapse (R4, R8, R10, R18)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.fates import Fate
from dynamics.modes import spectrum
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem

RESONANT = 1e-3
"""A predictor eigenvalue has learned a mode when it is this close to a ratio of M; farther away it is undecided."""


class EigenspaceFates(NamedTuple):
    """Fate of every eigenspace of the predictor, those that learned first, by descending eigenvalue.

    Parameters
    ----------
    predictor_eigenvalue
        Eigenvalue p of P, complex, shape (n2,).
    amplitude
        ‖vᵀW‖ for a unit left eigenvector v of P within its block: the size of the row that belongs to p.
    ratio
        Eigenvalue r of M nearest to p, NaN where the eigenspace collapsed.
    mode
        Index of r in the descending spectrum of M, −1 where the eigenspace collapsed.
    fate
        learned: vᵀW is an eigenvector of M with eigenvalue p; collapsed: vᵀW = 0; undecided: not at rest.
    """

    predictor_eigenvalue: np.ndarray
    amplitude: np.ndarray
    ratio: np.ndarray
    mode: np.ndarray
    fate: np.ndarray


def _left_eigen(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eig(block.T)
    order = np.argsort(-values.real, kind="stable")
    return values[order].astype(complex), vectors[:, order]


def _column_space(W: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal bases of the column space of W, singular values above `tolerance`, and of its complement."""
    U, singular, _ = np.linalg.svd(W)
    rank = int(np.sum(singular > tolerance))
    return U[:, :rank], U[:, rank:]


def eigenspace_fates(state: MatrixState, system: MatrixSystem, *, tolerance: float) -> EigenspaceFates:
    """Split feature space by the predictor: what has learned a mode of M and what has collapsed.

    At a fixed point P W = W M, so the column space of W is invariant under P. With Q an orthonormal basis of it, the
    eigenvalues of Qᵀ P Q are eigenvalues of M (R18) and their rows vᵀW eigenvectors; on the complement W vanishes.

    Parameters
    ----------
    state
        A state at rest, or as far as it has come.
    system
        Gives M = Σd Σs⁻¹.
    tolerance
        Singular values of W below it count as zero, > 0.

    Returns
    -------
    EigenspaceFates

    Examples
    --------
    >>> system = MatrixSystem(np.eye(2), np.diag([0.9, 0.4]))
    >>> state = system.state([[0.9, 0.0], [0.0, 0.0]], np.diag([0.9, -0.2]))
    >>> eigenspace_fates(state, system, tolerance=1e-9).fate.tolist()
    ['learned', 'collapsed']
    """
    W, P, _ = state
    Q, Z = _column_space(W, tolerance)
    learned, inside = _left_eigen(Q.T @ P @ Q)
    collapsed, outside = _left_eigen(Z.T @ P @ Z)
    amplitude = np.concatenate(
        [np.linalg.norm(inside.T @ Q.T @ W, axis=1), np.linalg.norm(outside.T @ Z.T @ W, axis=1)]
    )
    ratios = spectrum(system)
    away = np.abs(learned[:, None] - ratios[None, :])
    mode = np.argmin(away, axis=1)
    resonant = away[np.arange(learned.size), mode] <= RESONANT
    n_collapsed = collapsed.size
    return EigenspaceFates(
        predictor_eigenvalue=np.concatenate([learned, collapsed]),
        amplitude=amplitude,
        ratio=np.concatenate([ratios[mode], np.full(n_collapsed, np.nan)]),
        mode=np.concatenate([mode, np.full(n_collapsed, -1)]),
        fate=np.concatenate(
            [
                np.where(resonant, str(Fate.LEARNED), str(Fate.UNDECIDED)),
                np.full(n_collapsed, str(Fate.COLLAPSED)),
            ]
        ),
    )


def resonance_error(state: MatrixState, system: MatrixSystem, *, tolerance: float) -> float:
    """Largest distance of a predictor eigenvalue on the column space of W from the spectrum of M (R18).

    Zero at every fixed point, up to rounding; also zero where W has collapsed altogether.

    Parameters
    ----------
    state, system, tolerance
        As for `eigenspace_fates`.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(2), np.diag([0.9, 0.4]))
    >>> round(resonance_error(system.state([[0.9, 0.0]], [[0.7]]), system, tolerance=1e-9), 12)
    0.2
    """
    W, P, _ = state
    Q, _ = _column_space(W, tolerance)
    eigenvalues = np.linalg.eigvals(Q.T @ P @ Q)
    away = np.abs(eigenvalues[:, None] - spectrum(system)[None, :])
    return float(np.max(np.min(away, axis=1), initial=0.0))
