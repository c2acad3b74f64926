"""Coordinates in which the Jacobian at a fixed point falls into blocks, and the spectrum of those blocks (R4, R9)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dynamics.fields.matrices import error_matrix, full_field
from dynamics.fields.predictors import times
from dynamics.modes import COMMUTING, commutator, joint_eigenbasis
from dynamics.states import MatrixState, pack
from dynamics.system import MatrixSystem

ZERO = 1e-10
"""What counts as zero, relative to the largest of its kind: rounding of eigenvalues of condition up to 10⁵."""


def fixed_point_residual(state: MatrixState, system: MatrixSystem) -> float:
    """How far a state is from rest: max of ‖d state/dt‖ and, at η = 0, of ‖P W Σs − W Σd‖ and ‖Θ − W‖ (R4).

    Parameters
    ----------
    state, system
        Any state.

    Returns
    -------
    float
        The largest of these Frobenius norms. The field alone is quadratically small near W = P = 0; the condition
        of R4 is linear there. R4 needs Σs ⪰ 0.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(2), 0.5 * np.eye(2))
    >>> fixed_point_residual(system.state(np.eye(2), 0.5 * np.eye(2)), system)
    0.0
    """
    state = system.state(*state)
    W, P, Th = state
    norms = [np.linalg.norm(pack(full_field(0.0, state, system)))]
    if system.weight_decay == 0:
        norms += [np.linalg.norm(error_matrix(MatrixState(W, P, W), system)), np.linalg.norm(Th - W)]
    return float(max(norms))


class Rest(NamedTuple):
    """A state that passed for a fixed point, its residual, and the relative size of entries that may be noise."""

    state: MatrixState
    residual: float
    noise: float


def require_fixed_point(state: MatrixState, system: MatrixSystem, tolerance: float) -> Rest:
    """Check that a state is at rest within `tolerance`, or raise a ValueError that names its residual."""
    if not (np.isfinite(tolerance) and 0 < tolerance < 1):
        raise ValueError(f"`tolerance` must be above 0 and below 1, got {tolerance}")
    state = system.state(*state)
    residual = fixed_point_residual(state, system)
    if residual > tolerance:
        raise ValueError(
            f"the state must be a fixed point within `tolerance` = {tolerance:.3g}, got a residual of {residual:.3g}"
        )
    # an entry that decays at a rate of 1e-3 leaves a residual a thousand times smaller than itself
    return Rest(state, residual, min(tolerance, 1e3 * (residual + np.finfo(float).eps)))


class Adapted(NamedTuple):
    """A fixed point in coordinates in which its Jacobian is sparse: W → Qᵀ W U, P → Qᵀ P Q."""

    W: np.ndarray
    P: np.ndarray
    E: np.ndarray
    system: MatrixSystem
    features: np.ndarray
    directions: np.ndarray
    eigenspaces: list[np.ndarray]  # modes with equal (λs, λd), empty where Σs and Σd do not commute


def _cleaned(A: np.ndarray, tolerance: float) -> np.ndarray:
    return np.where(np.abs(A) <= tolerance * np.max(np.abs(A), initial=0.0), 0.0, A)


def _nearest_identity(Q: np.ndarray) -> np.ndarray:
    """Order and sign the columns of Q so that rows and modes keep their names where they can."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(-np.abs(Q))
    Q = Q[:, columns[np.argsort(rows)]]
    return Q * np.where(np.diag(Q) < 0, -1.0, 1.0)


def runs(keys: np.ndarray, tolerance: float) -> list[np.ndarray]:
    """Group indices whose keys (n, ...) agree: sorted by the first, neighbours within `tolerance` of each other."""
    order = np.argsort(keys[:, 0], kind="stable")
    apart = np.any(np.abs(np.diff(keys[order], axis=0)) > tolerance, axis=1)
    return np.split(order, np.flatnonzero(apart) + 1)


def _joint_eigenspaces(lambda_s: np.ndarray, lambda_d: np.ndarray) -> list[np.ndarray]:
    s = lambda_s / (np.max(np.abs(lambda_s)) or 1.0)
    d = lambda_d / (np.max(np.abs(lambda_d)) or 1.0)
    return runs(np.stack([s + np.pi / 4 * d, s, d], axis=1), COMMUTING)


def adapt(state: MatrixState, system: MatrixSystem, tolerance: float) -> Adapted:
    """Choose inputs U and features Q that show the structure of a fixed point.

    U are joint eigenvectors, turned within each joint eigenspace so that W has as few columns there as its rank.
    The columns of W are eigenvectors of P at η = 0 (R4), so their QR factor starts a Schur basis of P; the rest of
    it comes from P on the complement. Where P is normal it becomes (block) diagonal.
    """
    from scipy.linalg import qr, schur

    W, P, _ = state
    directions, eigenspaces = np.eye(system.n1), []
    if commutator(system) <= COMMUTING:
        basis = joint_eigenbasis(system)
        directions = basis.directions
        eigenspaces = _joint_eigenspaces(basis.lambda_s, basis.lambda_d)
        for modes in eigenspaces:
            if modes.size > 1:
                modes = np.sort(modes)
                Vt = np.linalg.svd(W @ directions[:, modes])[2]
                directions[:, modes] = directions[:, modes] @ _nearest_identity(Vt.T)
        system = replace(system, sigma_s=basis.lambda_s, sigma_d=basis.lambda_d)
    W = _cleaned(W @ directions, tolerance)

    columns = W[:, np.any(W != 0, axis=0)]
    Q, rank = np.eye(W.shape[0]), 0
    if columns.size:
        Q, R, _ = qr(columns, pivoting=True)
        pivots = np.abs(np.diag(R))
        rank = int(np.sum(pivots > tolerance * pivots[0]))
    for part in (slice(None, rank), slice(rank, None)):
        compressed = Q[:, part].T @ P @ Q[:, part]
        if compressed.size:
            Q[:, part] = Q[:, part] @ schur(_cleaned(compressed, tolerance), output="real")[1]
    Q = _nearest_identity(Q)

    W, P = _cleaned(Q.T @ W, tolerance), _cleaned(Q.T @ P @ Q, tolerance)
    W_d, PW_s = times(W, system.sigma_d), P @ times(W, system.sigma_s)
    E = W_d - PW_s
    size = max(np.max(np.abs(W_d)), np.max(np.abs(PW_s)))
    return Adapted(W, P, np.where(np.abs(E) <= tolerance * size, 0.0, E), system, Q, directions, eigenspaces)


def components(matrix: Any) -> np.ndarray:
    """Label of the strongly connected component of each unknown."""
    from scipy.sparse.csgraph import connected_components

    return connected_components(matrix, connection="strong")[1]


def diagonal_blocks(matrix: Any, component: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks of a sparse matrix on its strongly connected components, those of one size m in one array (k, m, m)."""
    size = np.bincount(component)
    order = np.argsort(component, kind="stable")
    place = np.empty_like(order)  # of an unknown within its component
    place[order] = np.arange(order.size) - np.repeat(np.cumsum(size) - size, size)
    entries = matrix.tocoo()
    inside = component[entries.row] == component[entries.col]
    row, column, value = entries.row[inside], entries.col[inside], entries.data[inside]
    for m in np.unique(size):
        number = np.cumsum(size == m) - 1  # of a component among those of its size
        mine = size[component[row]] == m
        blocks = np.zeros((number[-1] + 1, m, m))
        blocks[number[component[row[mine]]], place[row[mine]], place[column[mine]]] = value[mine]
        yield blocks


def block_spectrum(matrix: Any, component: np.ndarray) -> np.ndarray:
    """Eigenvalues of a sparse matrix from its strongly connected components."""
    return np.concatenate([np.linalg.eigvals(B).ravel() for B in diagonal_blocks(matrix, component)])


class Spectrum(NamedTuple):
    """Eigenvalues, and how far each may be off."""

    eigenvalues: np.ndarray
    errors: np.ndarray


def bounded_spectrum(blocks: Iterable[np.ndarray], noise: float) -> Spectrum:
    """Eigenvalues of blocks (k, m, m), and a bound on the error of each.

    To first order an eigenvalue λ with left and right eigenvectors y and x moves by κ ‖δB‖, κ = ‖y‖‖x‖/|yᴴx|, and a
    backward stable solver finds the eigenvalues of B + δB with ‖δB‖ ≤ m ε ‖B‖. B is balanced first, by powers of 2
    and so without error: rates of very different sizes then keep their own accuracy. To second order a pair of
    eigenvalues that nearly meet moves by the square root, which κ stands for once it reaches 1/ε.

    Parameters
    ----------
    blocks
        Square blocks.
    noise
        Relative error of the entries, such as that of a state that is nearly at rest; at least that of rounding.
    """
    from scipy.linalg import eig, matrix_balance

    values, errors = [], []
    for stack in blocks:
        m = stack.shape[1]
        level = max(noise, m * float(np.finfo(float).eps))
        if m == 1:  # the entry itself
            values.append(stack.ravel().astype(complex))
            errors.append(level * np.abs(stack.ravel()))
            continue
        for block in stack:
            balanced = matrix_balance(block, permute=False)[0]
            found, left, right = eig(balanced, left=True, right=True)
            overlap = np.abs(np.sum(left.conj() * right, axis=0))  # of vectors of norm 1
            size = level * np.linalg.norm(balanced)
            with np.errstate(divide="ignore"):
                errors.append(np.minimum(size / overlap, np.sqrt(m * level) * np.linalg.norm(balanced)))
            values.append(found)
    return Spectrum(np.concatenate(values), np.concatenate(errors))
