"""Eigenmodes: when the full flow decouples into one-mode flows, the reduction and its inverse (R3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem

COMMUTING = 1e-10
"""Σs and Σd count as commuting below this relative commutator: rounding of products of matrices up to n = 10⁴."""


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
    """Relative commutator ‖Σs Σd − Σd Σs‖/‖Σs Σd‖ in the Frobenius norm; 0 where Σs Σd = 0.

    >>> commutator(MatrixSystem(np.eye(2), np.diag([0.5, 0.2])))
    0.0
    """
    if system.sigma_s.ndim == 1:
        return 0.0
    product = system.sigma_s @ system.sigma_d
    size = float(np.linalg.norm(product))
    return float(np.linalg.norm(product - product.T)) / size if size else 0.0


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
    sigma_s, sigma_d = system.sigma_s, system.sigma_d
    if sigma_s.ndim == 1:
        directions, lambda_s, lambda_d = np.eye(system.n1), sigma_s, sigma_d
    else:
        size = commutator(system)
        if size > COMMUTING:
            raise ValueError(
                "Σs and Σd must commute for the flow to decouple into modes,"
                f" got ‖ΣsΣd − ΣdΣs‖/‖ΣsΣd‖ = {size:.3g}; integrate the full flow instead"
            )
        # eigenvectors of a combination in which equal eigenvalues of one matrix are told apart by the other
        scale_s, scale_d = np.linalg.norm(sigma_s), np.linalg.norm(sigma_d)
        combination = sigma_s / (scale_s or 1.0) + np.pi / 4 * sigma_d / (scale_d or 1.0)
        directions = np.linalg.eigh(combination)[1]
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
        Matrix state and system, n2 <= n1.
    tolerance
        What counts as zero, relative to the largest entry of each part.

    Raises
    ------
    ValueError
        Σs and Σd do not commute, or the state is not decoupled: which part is not, and by how much.
    """
    W, P, Th = system.state(*state)
    n2 = W.shape[0]
    basis = joint_eigenbasis(system)
    off_diagonal = np.max(np.abs(P - np.diag(np.diag(P))), initial=0.0)
    if off_diagonal > tolerance * np.max(np.abs(P), initial=0.0):
        raise ValueError(f"`predictor` must be diagonal to decouple, got an off-diagonal entry of {off_diagonal:.3g}")
    coordinates = np.abs(W @ basis.directions) + np.abs(Th @ basis.directions)
    selected = np.argmax(coordinates, axis=1)
    free = iter(sorted(set(range(system.n1)) - set(selected[coordinates.max(axis=1) > 0].tolist())))
    for row in np.flatnonzero(coordinates.max(axis=1) == 0):  # a row of zeros may stand for any unused mode
        selected[row] = next(free, selected[row])
    if len(set(selected.tolist())) < n2:
        raise ValueError("rows of `online` and `target` must lie along different eigenvectors to decouple")
    rest = coordinates.copy()
    rest[np.arange(n2), selected] = 0.0
    if rest.max() > tolerance * coordinates.max(initial=0.0):
        row = int(np.argmax(rest.max(axis=1)))
        raise ValueError(
            "each row of `online` and `target` must lie along one joint eigenvector of Σs and Σd to decouple,"
            f" row {row} has {rest[row].max():.3g} along another"
        )
    directions = basis.directions[:, selected].T
    modes = ModeSystem(
        basis.lambda_s[selected],
        basis.lambda_d[selected],
        tau_online=system.tau_online,
        tau_predictor=system.tau_predictor,
        tau_target=system.tau_target,
        weight_decay=system.weight_decay,
    )
    w, th = np.sum(W * directions, axis=1), np.sum(Th * directions, axis=1)
    return ModeReduction(ModeState(w, np.diag(P).copy(), th), modes, directions)


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
