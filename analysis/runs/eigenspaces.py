"""Which directions of feature space have learned which mode of the data: partial collapse (R4, R8, R10, R18)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.fates.fate import Fate
from dynamics.modes import spectrum
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem

RESONANT = 1e-3
"""A predictor eigenvalue has learned a mode when it is this close to where R15 and R18 have it; farther away not."""


class EigenspaceFates(NamedTuple):
    """Fate of every eigenspace of the predictor, those that learned first, by descending eigenvalue.

    Parameters
    ----------
    predictor_eigenvalue
        Eigenvalue p of P, complex, shape (n2,).
    amplitude
        ‖vᵀW‖ for a unit left eigenvector v of P within its block: the size of the row that belongs to p.
    ratio
        Eigenvalue r of M that p belongs to, NaN where the eigenspace learned none.
    mode
        Index of r in the descending spectrum of M, −1 where the eigenspace learned none.
    fate
        learned: p is an eigenvalue of M, or with weight decay a level p± of R15, or it is at rest with vᵀW ≠ 0 for
        another reason, such as a target that is fixed; collapsed: vᵀW = 0; undecided: not at rest.
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


class _Levels(NamedTuple):
    """Where each predictor eigenvalue belongs: ratio of M, its index, and how far from where theory has it."""

    ratio: np.ndarray
    mode: np.ndarray
    distance: np.ndarray


def _levels(p: np.ndarray, system: MatrixSystem) -> _Levels:
    """Nearest ratio of M at η = 0 (R18); with weight decay the mode uᵀ of p (p Σs − Σd) u = −η τo u nearest to p.

    At rest with weight decay p uᵀ(Σd − p Σs) = η τo uᵀ for the row uᵀ of W that belongs to p: with a = uᵀΣs u and
    b = uᵀΣd u, p is a root of a p² − b p + η τo, the p± of R15.
    """
    ratios = spectrum(system)
    if system.weight_decay == 0:
        away = np.abs(p[:, None] - ratios)
        mode = np.argmin(away, axis=1)
        return _Levels(ratios[mode], mode, away[np.arange(p.size), mode])
    sigma_s, sigma_d = (np.diag(s) if s.ndim == 1 else s for s in (system.sigma_s, system.sigma_d))
    decay = system.weight_decay * system.tau_online
    found = []
    for value in p:
        rates, U = np.linalg.eigh(value.real * (sigma_d - value.real * sigma_s))
        u = U[:, np.argmin(np.abs(rates - decay))]
        a, b = u @ sigma_s @ u, u @ sigma_d @ u
        roots = np.roots([a, -b, decay])
        found.append((np.argmin(np.abs(ratios - b / a)), np.min(np.abs(roots - value))))
    mode = np.array([index for index, _ in found], dtype=int)
    return _Levels(ratios[mode], mode, np.array([distance for _, distance in found]))


class PredictorRows(NamedTuple):
    """Rows of the encoder that belong to the eigenvalues of the predictor; those of the column space of W first.

    Parameters
    ----------
    predictor_eigenvalue
        p, complex, shape (n2,): of P within the column space of W, and of P within its complement.
    rows
        vᵀW for a unit left eigenvector v within its block, complex, shape (n2, n1).
    n_inside
        Number of those that belong to the column space of W.
    """

    predictor_eigenvalue: np.ndarray
    rows: np.ndarray
    n_inside: int


def predictor_rows(online: np.ndarray, predictor: np.ndarray, *, tolerance: float) -> PredictorRows:
    """Split the encoder by the left eigenvectors of the predictor, each within the column space of W or beside it.

    Parameters
    ----------
    online, predictor
        W (n2, n1) and P (n2, n2).
    tolerance
        Singular values of W up to it count as zero.

    Examples
    --------
    >>> found = predictor_rows(np.diag([0.9, 0.0]), np.diag([0.9, -0.2]), tolerance=1e-9)
    >>> found.predictor_eigenvalue.real, found.n_inside
    (array([ 0.9, -0.2]), 1)
    """
    W, P = online, predictor
    Q, Z = _column_space(W, tolerance)
    learned, inside = _left_eigen(Q.T @ P @ Q)
    collapsed, outside = _left_eigen(Z.T @ P @ Z)
    rows = np.concatenate([inside.T @ Q.T @ W, outside.T @ Z.T @ W])
    return PredictorRows(np.concatenate([learned, collapsed]), rows, learned.size)


def eigenspace_fates(
    state: MatrixState, system: MatrixSystem, *, tolerance: float, at_rest: bool = False
) -> EigenspaceFates:
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
    at_rest
        Whether the state is known to be at rest, so that nothing that has not collapsed is undecided.

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
    p, rows, n_inside = predictor_rows(state.online, state.predictor, tolerance=tolerance)
    ratio, mode, distance = _levels(p[:n_inside], system)
    resonant = distance <= RESONANT
    n_collapsed = p.size - n_inside
    return EigenspaceFates(
        predictor_eigenvalue=p,
        amplitude=np.linalg.norm(rows, axis=1),
        ratio=np.concatenate([np.where(resonant, ratio, np.nan), np.full(n_collapsed, np.nan)]),
        mode=np.concatenate([np.where(resonant, mode, -1), np.full(n_collapsed, -1)]),
        fate=np.concatenate(
            [
                np.where(resonant | at_rest, str(Fate.LEARNED), str(Fate.UNDECIDED)),
                np.full(n_collapsed, str(Fate.COLLAPSED)),
            ]
        ),
    )


def resonance_error(state: MatrixState, system: MatrixSystem, *, tolerance: float) -> float:
    """Largest distance of a predictor eigenvalue on the column space of W from where theory has it (R18, R15).

    That is the spectrum of M, or with weight decay the nearest level p± of R15. Zero up to rounding at every fixed
    point with Θ = W at η = 0, and at η > 0 where P is normal, as it is when Σs and Σd commute; also zero where W has
    collapsed altogether.

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
    return float(np.max(_levels(eigenvalues, system).distance, initial=0.0))
