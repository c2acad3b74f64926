"""Eigenmodes: when the full flow decouples into one-mode flows, the reduction and its inverse (R3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dynamics.fields.predictors import times
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem

COMMUTING = 1e-10
"""Σs and Σd count as commuting below this relative commutator: rounding of products of matrices up to n = 10⁴."""

_WEIGHTS = (0.6180339887, 1.3247179572)  # of Σd beside Σs; any two numbers that are not simple fractions


class JointEigenbasis(NamedTuple):
    """Orthonormal eigenvectors that Σs and Σd share, and their eigenvalues, ratio λd/λs descending.

    Parameters
    ----------
    directions
        Eigenvectors u as columns, shape (n1, n1).
    lambda_s, lambda_d
        Eigenvalues, shape (n1,).
    """

    directions: np.ndarray
    lambda_s: np.ndarray
    lambda_d: np.ndarray


class ModeReduction(NamedTuple):
    """A matrix state as decoupled modes, one a row of W.

    Parameters
    ----------
    state, system
        The one-mode states and their system, n_modes = n2.
    directions
        Eigenvector of each row, shape (n2, n1).
    """

    state: ModeState
    system: ModeSystem
    directions: np.ndarray


def commutator(system: MatrixSystem) -> float:
    """Relative commutator of Σs and Σd; 0 for diagonal ones.

    >>> commutator(MatrixSystem(np.eye(2), np.diag([0.5, 0.2])))
    0.0
    """
    return 0.0 if system.sigma_s.ndim == 1 else relative_commutator(system.sigma_s, system.sigma_d)


def relative_commutator(A: np.ndarray, B: np.ndarray) -> float:
    """‖A B − B A‖/‖A B‖ in the Frobenius norm for symmetric A and B; 0 where one of them is 0.

    >>> relative_commutator(np.eye(2), np.diag([0.5, 0.2]))
    0.0
    """
    if not (np.any(A) and np.any(B)):
        return 0.0
    product = (A / np.max(np.abs(A))) @ (B / np.max(np.abs(B)))  # whatever the units, without overflow
    size = float(np.linalg.norm(product))
    return float(np.linalg.norm(product - product.T)) / size if size else 0.0


def spectrum(system: MatrixSystem) -> np.ndarray:
    """Eigenvalues r of M = Σd Σs⁻¹, descending, shape (n1,): what a predictor can hold (R18).

    By the symmetric problem Λ^{−½} Vᵀ Σd V Λ^{−½} with Σs = V Λ Vᵀ where Σs ≻ 0. An indefinite Σs (R26) leaves a
    general problem, of which the real parts are returned: the pencil comes from two moments that share eigenvectors.

    Raises
    ------
    numpy.linalg.LinAlgError
        Σs is singular: reduce it to its support first (`dynamics.data.moments.Moments` does).

    Examples
    --------
    >>> spectrum(MatrixSystem(2 * np.eye(2), np.diag([0.4, 1.0])))
    array([0.5, 0.2])
    """
    sigma_s, sigma_d = system.sigma_s, system.sigma_d
    values, V = (sigma_s, None) if sigma_s.ndim == 1 else np.linalg.eigh(sigma_s)
    rounding = 0.0 if V is None else len(values) * np.finfo(float).eps * np.max(np.abs(values))
    if np.min(np.abs(values)) <= rounding:
        raise np.linalg.LinAlgError("Σs is singular, reduce it to its support first")
    if V is None:
        return np.sort(sigma_d / sigma_s)[::-1]
    if values[0] > 0:
        root = V / np.sqrt(values)
        return np.linalg.eigvalsh(root.T @ sigma_d @ root)[::-1]
    return np.sort(np.linalg.eigvals(np.linalg.solve(sigma_s, sigma_d)).real)[::-1]


def joint_eigenbasis(system: MatrixSystem) -> JointEigenbasis:
    """Diagonalise commuting Σs and Σd together.

    Raises
    ------
    ValueError
        Σs and Σd do not commute, so no such basis exists (R3); the commutator is named.

    Examples
    --------
    >>> basis = joint_eigenbasis(MatrixSystem(np.eye(2), np.array([[0.5, 0.1], [0.1, 0.5]])))
    >>> np.round(basis.lambda_d, 12)
    array([0.6, 0.4])
    """
    _require_commuting(system)
    sigma_s, sigma_d = system.sigma_s, system.sigma_d
    if sigma_s.ndim == 1:
        directions, lambda_s, lambda_d = np.eye(system.n1), sigma_s, sigma_d
    else:
        # Eigenvectors of a combination, in which equal eigenvalues of one matrix are told apart by the other. Now
        # and then a combination has equal eigenvalues of its own: then another one is better.
        S, D = (sigma / (np.linalg.norm(sigma) or 1.0) for sigma in (sigma_s, sigma_d))
        candidates = [np.linalg.eigh(S + weight * D)[1] for weight in _WEIGHTS]
        directions = min(candidates, key=lambda U: _off_diagonal(U.T @ S @ U) + _off_diagonal(U.T @ D @ U))
        lambda_s = np.einsum("ji,jk,ki->i", directions, sigma_s, directions, optimize=True)
        lambda_d = np.einsum("ji,jk,ki->i", directions, sigma_d, directions, optimize=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        order = np.argsort(-np.where(lambda_s != 0, lambda_d / lambda_s, 0.0), kind="stable")
    return JointEigenbasis(directions[:, order], lambda_s[order], lambda_d[order])


def reduce_to_modes(state: MatrixState, system: MatrixSystem, *, tolerance: float = 1e-10) -> ModeReduction:
    """Reduce a decoupled matrix state to one-mode states (R3; DD F.4).

    Row i of W is w_i u_iᵀ and row i of Θ is θ_i u_iᵀ with orthonormal joint eigenvectors u_i of Σs and Σd, and
    P = diag(p). The flow stays so, and (w_i, p_i, θ_i) follows the one-mode flow with the eigenvalues of u_i.

    Parameters
    ----------
    state, system
        Matrix state and system, n2 <= n1. A row of zeros stands for a mode that no other row has selected.
    tolerance
        What counts as zero, relative to the largest entry of W, P, Θ, Σs and Σd.

    Raises
    ------
    ValueError
        Σs and Σd do not commute, or the state is not decoupled: which part is not, and by how much.
    """
    W, P, Th = system.state(*state)
    if len(W) > system.n1:
        raise ValueError(
            f"`online` must have at most {system.n1} rows, its columns, to decouple, got {len(W)}"
        )
    _require_commuting(system)
    mixed = _off_diagonal(P)
    if mixed > tolerance * np.max(np.abs(P)):
        raise ValueError(
            f"`predictor` must be diagonal to decouple, got an off-diagonal entry of {mixed:.3g}"
        )
    U = _row_directions(W, Th)
    S, D = times(U, system.sigma_s), times(U, system.sigma_d)
    w, th, lambda_s, lambda_d = (np.sum(X * U, axis=1) for X in (W, Th, S, D))
    for X, along, whole in (
        (W, w, W),
        (Th, th, Th),
        (S, lambda_s, system.sigma_s),
        (D, lambda_d, system.sigma_d),
    ):
        astray = np.max(np.abs(X - along[:, None] * U), axis=1) / (np.max(np.abs(whole)) or 1.0)
        row = int(np.argmax(astray))
        if astray[row] > tolerance:
            raise ValueError(
                "each row of `online` and `target` must lie along one joint eigenvector of Σs and Σd to decouple,"
                f" row {row} strays from that by {astray[row]:.3g}, more than {tolerance:g}"
            )
    if _off_diagonal(U @ U.T) > tolerance:
        raise ValueError("rows of `online` and `target` must lie along different eigenvectors to decouple")
    empty = ~np.any(U, axis=1)
    if np.any(empty):
        U[empty] = _unused_directions(U[~empty], system)[: np.sum(empty)]
        lambda_s, lambda_d = (
            np.sum(times(U, sigma) * U, axis=1) for sigma in (system.sigma_s, system.sigma_d)
        )
    modes = ModeSystem(
        lambda_s,
        lambda_d,
        tau_online=system.tau_online,
        tau_predictor=system.tau_predictor,
        tau_target=system.tau_target,
        weight_decay=system.weight_decay,
    )
    return ModeReduction(ModeState(w, np.diag(P).copy(), th), modes, U)


def _require_commuting(system: MatrixSystem) -> None:
    size = commutator(system)
    if size > COMMUTING:
        raise ValueError(
            "Σs and Σd must commute for the flow to decouple into modes,"
            f" got ‖ΣsΣd − ΣdΣs‖/‖ΣsΣd‖ = {size:.3g}; integrate the full flow instead"
        )


def _off_diagonal(matrix: np.ndarray) -> float:
    return float(np.max(np.abs(matrix - np.diag(np.diag(matrix)))))


def _row_directions(W: np.ndarray, Th: np.ndarray) -> np.ndarray:
    """Unit vector along each row of W, or of Θ where that is longer, its largest entry > 0; zero for empty rows."""
    longer = np.where((np.linalg.norm(W, axis=1) >= np.linalg.norm(Th, axis=1))[:, None], W, Th)
    length = np.linalg.norm(longer, axis=1)
    largest = longer[np.arange(len(longer)), np.argmax(np.abs(longer), axis=1)]
    return longer * (np.sign(largest) / np.where(length == 0, 1.0, length))[:, None]


def _unused_directions(U: np.ndarray, system: MatrixSystem) -> np.ndarray:
    """Joint eigenvectors orthogonal to the rows of U, as rows: a row of zeros may stand for any of them."""
    others = np.linalg.svd(U)[2][len(U) :]
    S, D = (others @ times(others, sigma).T for sigma in (system.sigma_s, system.sigma_d))
    return joint_eigenbasis(MatrixSystem((S + S.T) / 2, (D + D.T) / 2)).directions.T @ others


def expand_modes(state: ModeState, directions: np.ndarray) -> MatrixState:
    """Rebuild the matrix state from its modes: W_i = w_i u_iᵀ, P = diag(p), Θ_i = θ_i u_iᵀ.

    Parameters
    ----------
    state
        One-mode states, each part of shape (n2,).
    directions
        Orthonormal rows u_i, shape (n2, n1), as in `ModeReduction`.

    Examples
    --------
    >>> one = np.array([1.0])
    >>> expand_modes(ModeState(one, 2 * one, 3 * one), np.array([[0.0, 1.0]])).online
    array([[0., 1.]])
    """
    w, p, th = state
    return MatrixState(w[:, None] * directions, np.diag(p), th[:, None] * directions)
