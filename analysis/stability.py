"""Linear stability of fixed points of the full flow: the spectrum of its Jacobian and what decides it (R4, R9, R10).

The Jacobian of 2 n1 n2 + n2² unknowns is sparse in coordinates adapted to the fixed point: inputs along joint
eigenvectors of Σs and Σd, features along the columns of W and then a Schur basis of P. The strongly connected
components of its graph are diagonal blocks of a block triangular form, so their spectra together are the whole
spectrum. At decoupled fixed points these blocks are those of R9, one a (row, mode) pair; at others they are as small
as the point allows, down to one block for all unknowns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from dynamics.fields import VectorField, error_matrix, full_field
from dynamics.mode_fields import full_mode_field
from dynamics.modes import COMMUTING, commutator, joint_eigenbasis
from dynamics.predictors import times
from dynamics.states import MatrixState, ModeState, pack, unpack
from dynamics.system import MatrixSystem, ModeSystem

Method = Literal["auto", "blocks", "dense", "iterative"]
Verdict = Literal["stable", "saddle", "unstable", "degenerate"]

MAX_BLOCK = 2000
"""Largest block that "auto" hands to a dense eigensolver: seconds on one core."""

MAX_ENTRIES = 20_000_000
"""Most non-zero entries of a Jacobian that "auto" assembles: half a gigabyte."""

MAX_RIGHTMOST = 128
"""Eigenvalues that are not negative that "iterative" looks for before it gives up counting."""

ZERO = 1e-10
"""What counts as zero, relative to the largest of its kind: rounding of eigenvalues of condition up to 10⁵."""


@dataclass(frozen=True, eq=False)
class Stability:
    """Spectrum of the Jacobian of the full flow at a fixed point.

    Parameters
    ----------
    residual
        `fixed_point_residual` of the state.
    n_unknowns
        2 n1 n2 + n2².
    method
        "blocks", "dense" (one block holds every unknown) or "iterative".
    largest_block
        Size of the largest dense eigenproblem that was solved; 0 for "iterative".
    eigenvalues
        Descending real part: all n_unknowns of them, or for "iterative" the rightmost, without n2² zeros at η = 0.
    n_positive, n_zero, n_negative
        How many eigenvalues have a real part above, within and below `zero_tolerance` of 0; None where an
        iterative search ended before it reached the negative ones.
    n_zero_forced
        Zeros that every fixed point like this one must have: the dimension of the tangent space of the fixed
        points around it (`forced_zeros`). None where it is not known.
    max_real, min_real
        Largest and smallest real part, NaN where an iterative search did not converge.
    zero_tolerance
        Width of zero that was used.
    zero_spread
        Largest modulus that a forced zero had before it was set to 0: the accuracy reached. NaN for "iterative".
    """

    residual: float
    n_unknowns: int
    method: Method
    largest_block: int
    eigenvalues: np.ndarray
    n_positive: int | None
    n_zero: int | None
    n_negative: int | None
    n_zero_forced: int | None
    max_real: float
    min_real: float
    zero_tolerance: float
    zero_spread: float

    @property
    def n_zero_other(self) -> int | None:
        """Zeros that nothing forces: a bifurcation or a point that is not hyperbolic across the fixed points."""
        if self.n_zero is None or self.n_zero_forced is None:
            return None
        return self.n_zero - self.n_zero_forced

    @property
    def verdict(self) -> Verdict | None:
        """Stable, saddle, unstable or degenerate across the fixed points; None where the counts are not known."""
        if self.n_positive is None or self.n_negative is None or self.n_zero_other is None:
            return "saddle" if self.max_real > self.zero_tolerance and self.min_real < 0 else None
        return _verdict(self.n_positive, self.n_zero_other, self.n_negative)


class DecoupledForm(NamedTuple):
    """A fixed point in the coordinates of R9: P = Q diag(p) Qᵀ and row i of Qᵀ W is w_i u_iᵀ.

    Parameters
    ----------
    predictor
        p, shape (n2,).
    amplitude
        w_i, shape (n2,); 0 for a collapsed row.
    mode
        Index of the mode that row i selected, shape (n2,); −1 for a collapsed row.
    lambda_s, lambda_d
        Eigenvalues of the modes, shape (n1,), ratio descending.
    features, directions
        Q (n2, n2) and the joint eigenvectors as columns (n1, n1), both orthogonal. Q is the identity where the
        state was decoupled as given.
    """

    predictor: np.ndarray
    amplitude: np.ndarray
    mode: np.ndarray
    lambda_s: np.ndarray
    lambda_d: np.ndarray
    features: np.ndarray
    directions: np.ndarray


class PairCondition(NamedTuple):
    """What R10 says of one (row, mode) pair of a decoupled fixed point.

    Parameters
    ----------
    row, mode
        Indices, from 0, of the row of W and of the mode, ratio descending.
    selected
        Whether some row selected the mode.
    verdict
        "stable", "unstable" or "degenerate".
    margin
        w_j²λs_j/τp + p_i (p_i λs_j − λd_j)/τo, of the sign of the product of the pair's two eigenvalues that
        nothing forces to be 0.
    sentence
        The same in words.
    """

    row: int
    mode: int
    selected: bool
    verdict: Literal["stable", "unstable", "degenerate"]
    margin: float
    sentence: str


_SIGN: dict[int, Literal["degenerate", "stable", "unstable"]] = {0: "degenerate", 1: "stable", -1: "unstable"}


# --- the Jacobian -----------------------------------------------------------------------------------------------


def jacobian_operator(state: MatrixState, system: MatrixSystem) -> Any:
    """Jacobian of the full flow as a linear operator on packed states, with its adjoint.

    δE = δΘ Σd − (δP W + P δW) Σs,
    δW' = (δPᵀ E + Pᵀ δE)/τo − η δW,  δP' = (δE Wᵀ + E δWᵀ)/τp − η δP,  δΘ' = (δW − δΘ)/τt.

    Parameters
    ----------
    state, system
        Any state, a fixed point or not.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        Shape (n, n), n = 2 n1 n2 + n2², on vectors in the order of `dynamics.states.pack`. One product costs
        about twice the field.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(2), 0.5 * np.eye(2))
    >>> jacobian_operator(system.state(np.eye(2), np.eye(2)), system).shape
    (12, 12)
    """
    from scipy.sparse.linalg import LinearOperator

    state = system.state(*state)
    W, P, _ = state
    sigma_s, sigma_d = system.sigma_s, system.sigma_d
    to, tp, tt, eta = system.tau_online, system.tau_predictor, system.tau_target, system.weight_decay
    E = error_matrix(state, system)

    def matvec(v: np.ndarray) -> np.ndarray:
        dW, dP, dTh = unpack(np.ravel(v), state)
        dE = times(dTh, sigma_d) - times(dP @ W + P @ dW, sigma_s)
        return pack(
            MatrixState(
                (dP.T @ E + P.T @ dE) / to - eta * dW,
                (dE @ W.T + E @ dW.T) / tp - eta * dP,
                (dW - dTh) / tt,
            )
        )

    def rmatvec(v: np.ndarray) -> np.ndarray:
        A, B, C = unpack(np.ravel(v), state)
        G = P @ A / to + B @ W / tp  # what multiplies δE
        G_s = times(G, sigma_s)
        return pack(
            MatrixState(
                B.T @ E / tp - P.T @ G_s - eta * A + C / tt,
                E @ A.T / to - G_s @ W.T - eta * B,
                times(G, sigma_d) - C / tt,
            )
        )

    n = W.size + P.size + W.size
    return LinearOperator((n, n), matvec=matvec, rmatvec=rmatvec, dtype=np.float64)


def dense_jacobian(state: MatrixState, system: MatrixSystem) -> np.ndarray:
    """Jacobian of the full flow as a matrix (n, n), n = 2 n1 n2 + n2²: see `jacobian_operator`.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(1), 0.5 * np.eye(1))
    >>> dense_jacobian(system.state([[1.0]], [[0.5]]), system)
    array([[-0.25, -0.5 ,  0.25],
           [-0.5 , -1.  ,  0.5 ],
           [ 1.  ,  0.  , -1.  ]])
    """
    W, P, Th = system.state(*state)
    return _assemble(W, P, error_matrix(MatrixState(W, P, Th), system), system).toarray()


def _assemble(W: np.ndarray, P: np.ndarray, E: np.ndarray, system: MatrixSystem) -> Any:
    """Assemble the Jacobian as a sparse matrix, by vec(A X B) = (A ⊗ Bᵀ) vec X in row-major order."""
    from scipy import sparse

    to, tp, tt, eta = system.tau_online, system.tau_predictor, system.tau_target, system.weight_decay
    n2, n1 = W.shape
    diagonal = system.sigma_s.ndim == 1
    sigma_s, sigma_d = (
        sparse.diags_array(sigma) if diagonal else sigma for sigma in (system.sigma_s, system.sigma_d)
    )
    W_s, W_d = times(W, system.sigma_s), times(W, system.sigma_d)
    one, eye_W, eye_P = sparse.eye_array(n2), sparse.eye_array(n1 * n2), sparse.eye_array(n2 * n2)
    transpose = sparse.csr_array(eye_P)[np.arange(n2 * n2).reshape(n2, n2).T.ravel()]

    def kron(A: Any, B: Any) -> Any:
        return sparse.kron(sparse.coo_array(A), sparse.coo_array(B), format="csr")

    jacobian = sparse.block_array(
        [
            [
                -kron(P.T @ P, sigma_s) / to - eta * eye_W,
                (kron(one, E.T) @ transpose - kron(P.T, W_s.T)) / to,
                kron(P.T, sigma_d) / to,
            ],
            [
                (transpose @ kron(one, E) - kron(P, W_s)) / tp,
                -kron(one, W_s @ W.T) / tp - eta * eye_P,
                kron(one, W_d) / tp,
            ],
            [eye_W / tt, None, -eye_W / tt],
        ],
        format="csr",
    )
    jacobian.eliminate_zeros()
    return jacobian


# --- coordinates in which it is sparse --------------------------------------------------------------------------


class _Adapted(NamedTuple):
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


def _runs(keys: np.ndarray, tolerance: float) -> list[np.ndarray]:
    """Group indices whose keys (n, ...) agree: sorted by the first, neighbours within `tolerance` of each other."""
    order = np.argsort(keys[:, 0], kind="stable")
    apart = np.any(np.abs(np.diff(keys[order], axis=0)) > tolerance, axis=1)
    return np.split(order, np.flatnonzero(apart) + 1)


def _joint_eigenspaces(lambda_s: np.ndarray, lambda_d: np.ndarray) -> list[np.ndarray]:
    s = lambda_s / (np.max(np.abs(lambda_s)) or 1.0)
    d = lambda_d / (np.max(np.abs(lambda_d)) or 1.0)
    return _runs(np.stack([s + np.pi / 4 * d, s, d], axis=1), COMMUTING)


def _adapt(state: MatrixState, system: MatrixSystem, tolerance: float) -> _Adapted:
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
    return _Adapted(W, P, np.where(np.abs(E) <= tolerance * size, 0.0, E), system, Q, directions, eigenspaces)


def _components(matrix: Any) -> np.ndarray:
    """Label of the strongly connected component of each unknown."""
    from scipy.sparse.csgraph import connected_components

    return connected_components(matrix, connection="strong")[1]


def _block_spectrum(matrix: Any, component: np.ndarray) -> np.ndarray:
    """Eigenvalues of a sparse matrix from its strongly connected components, in batches of one size."""
    size = np.bincount(component)
    order = np.argsort(component, kind="stable")
    place = np.empty_like(order)  # of an unknown within its component
    place[order] = np.arange(order.size) - np.repeat(np.cumsum(size) - size, size)
    entries = matrix.tocoo()
    inside = component[entries.row] == component[entries.col]
    row, column, value = entries.row[inside], entries.col[inside], entries.data[inside]
    spectra = []
    for m in np.unique(size):
        number = np.cumsum(size == m) - 1  # of a component among those of its size
        mine = size[component[row]] == m
        blocks = np.zeros((number[-1] + 1, m, m))
        blocks[number[component[row[mine]]], place[row[mine]], place[column[mine]]] = value[mine]
        spectra.append(np.linalg.eigvals(blocks).ravel())
    return np.concatenate(spectra)


# --- fixed points -----------------------------------------------------------------------------------------------


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


class _Rest(NamedTuple):
    """A state that passed for a fixed point, its residual, and the relative size of entries that may be noise."""

    state: MatrixState
    residual: float
    noise: float


def _require_fixed_point(state: MatrixState, system: MatrixSystem, tolerance: float) -> _Rest:
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
    return _Rest(state, residual, min(tolerance, 1e3 * (residual + np.finfo(float).eps)))


def decoupled_form(
    state: MatrixState, system: MatrixSystem, *, tolerance: float = 1e-6
) -> DecoupledForm | None:
    """Bring a state into the form of R9 by a rotation of the features, where there is one.

    P = Q diag(p) Qᵀ, row i of Qᵀ W U is zero or w_i e_jᵀ with j = mode[i], no mode twice. Two rows that select one
    mode, or one row that mixes modes of equal (λs, λd), are such a form after a rotation.

    Parameters
    ----------
    state, system
        A state with Θ = W.
    tolerance
        What counts as zero, relative to the largest entry of W and of P.

    Returns
    -------
    DecoupledForm or None
        None where Σs and Σd do not commute, P is not symmetric, or W's rows lie along no joint eigenvectors.

    Examples
    --------
    >>> system = MatrixSystem(np.ones(2), np.array([0.5, 0.2]))
    >>> form = decoupled_form(system.state([[1.0, 0.0], [1.0, 0.0]], 0.5 * np.eye(2)), system)
    >>> np.sort(form.amplitude).round(3), np.sort(form.mode)
    (array([0.   , 1.414]), array([-1,  0]))
    """
    form = _adapt(system.state(*state), system, tolerance)
    W, P = form.W, form.P
    held = W != 0
    diagonal = np.count_nonzero(P - np.diag(np.diag(P))) == 0
    if not (form.eigenspaces and diagonal and held.sum(axis=0).max() <= 1 and held.sum(axis=1).max() <= 1):
        return None
    mode = np.where(held.any(axis=1), np.argmax(held, axis=1), -1)
    sigma_s, sigma_d = form.system.sigma_s, form.system.sigma_d
    return DecoupledForm(
        np.diag(P).copy(), W.sum(axis=1), mode, sigma_s, sigma_d, form.features, form.directions
    )


def forced_zeros(state: MatrixState, system: MatrixSystem, *, tolerance: float = 1e-6) -> int | None:
    """Dimension of the tangent space of the fixed points at a fixed point: zero eigenvalues that it must have.

    At η = 0 the tangents solve δP W + P δW = δW M, Θ = W moving along (R4). W's row space is invariant under M, and
    they number n2² + Σ_j dim ker(P − r_j) over the modes j of M that W left out: n2² motions of the features and, for
    each resonance (R17), a row that may start to grow. The conserved C of R2 forces no more of them where P is normal.
    At η > 0 what is left are rotations, of the features and of inputs within joint eigenspaces of Σs and Σd.

    Parameters
    ----------
    state, system
        A fixed point.
    tolerance
        As in `stability`.

    Returns
    -------
    int or None
        None at η = 0 where Σs and Σd do not commute and Σs has a negative eigenvalue.

    Examples
    --------
    >>> system = MatrixSystem(np.ones(2), np.array([0.5, 0.2]))
    >>> learned, collapsed = system.state([[1.0, 0.0]], [[0.5]]), system.state([[0.0, 0.0]], [[0.5]])
    >>> forced_zeros(learned, system), forced_zeros(collapsed, system)
    (1, 2)
    """
    rest = _require_fixed_point(state, system, tolerance)
    return _forced_zeros(_adapt(rest.state, system, rest.noise), rest.noise)


def _forced_zeros(form: _Adapted, tolerance: float) -> int | None:
    """Count the tangents of the fixed points in adapted coordinates: see `forced_zeros`."""
    if form.system.weight_decay > 0:
        return _rotations(form)
    pencil = _pencil(form)
    if pencil is None:
        return None
    lambda_s, lambda_d, W = pencil
    P = form.P
    n2 = P.shape[0]
    size = np.hypot(lambda_s, lambda_d)
    dead = size <= ZERO * np.max(size, initial=0.0)
    count = n2 * n2 + n2 * int(np.sum(dead))
    s, d, W = lambda_s[~dead] / size[~dead], lambda_d[~dead] / size[~dead], W[:, ~dead]
    if not s.size:
        return count
    resonances = np.linalg.svd(d[:, None, None] * np.eye(n2) - s[:, None, None] * P, compute_uv=False)
    nullity = np.sum(resonances <= max(ZERO, tolerance) * (1 + np.linalg.norm(P, 2)), axis=1)
    scale = np.max(np.abs(W), initial=0.0)
    for modes in _runs(np.arctan2(d, s)[:, None], COMMUTING):
        if nullity[modes[0]]:
            rank = int(np.sum(np.linalg.svd(W[:, modes], compute_uv=False) > tolerance * scale))
            count += (modes.size - rank) * int(nullity[modes[0]])
    return count


def _pencil(form: _Adapted) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Eigenvalues (λs, λd) of the modes of M and W in their coordinates; None where Σs is indefinite."""
    sigma_s, sigma_d = form.system.sigma_s, form.system.sigma_d
    if sigma_s.ndim == 1:
        return sigma_s, sigma_d, form.W
    s, U = np.linalg.eigh(sigma_s)
    floor = s.size * np.finfo(float).eps * np.max(np.abs(s))
    if s[0] < -floor:
        return None
    A = U[:, s > floor] * np.sqrt(s[s > floor])  # Σs = A Aᵀ, and M becomes the symmetric R = A⁺ Σd A⁺ᵀ
    A_plus = (A / s[s > floor]).T
    r, V = np.linalg.eigh(A_plus @ sigma_d @ A_plus.T)
    dead = np.zeros(s.size - r.size)
    W = np.hstack([form.W @ A @ V, np.zeros((form.W.shape[0], dead.size))])
    return np.append(np.ones(r.size), dead), np.append(r, dead), W


def _rotations(form: _Adapted) -> int:
    """Dimension of {(A W + W B, A P − P A)}, A antisymmetric, B antisymmetric on each joint eigenspace."""
    from scipy import sparse

    W, P = form.W, form.P
    n2, n1 = W.shape

    def antisymmetric(i: np.ndarray, j: np.ndarray, n: int) -> Any:
        """Columns vec(e_i e_jᵀ − e_j e_iᵀ)."""
        k, ones = np.arange(i.size), np.ones(i.size)
        entries = (
            np.concatenate([ones, -ones]),
            (np.concatenate([i * n + j, j * n + i]), np.concatenate([k, k])),
        )
        return sparse.csr_array(entries, shape=(n * n, i.size))

    held = np.any(W != 0, axis=0)
    pairs = [
        (i, j) for modes in form.eigenspaces for i in modes for j in modes if i < j and (held[i] or held[j])
    ]
    A = antisymmetric(*np.triu_indices(n2, 1), n2)
    i, j = np.array(pairs, dtype=int).reshape(-1, 2).T
    B = antisymmetric(i, j, n1)
    W, P, one = sparse.coo_array(W), sparse.coo_array(P), sparse.eye_array(n2)
    generators = sparse.block_array(
        [
            [sparse.kron(one, W.T) @ A, sparse.kron(W, sparse.eye_array(n1)) @ B],
            [(sparse.kron(one, P.T) - sparse.kron(P, one)) @ A, None],
        ],
        format="csc",
    )
    if not generators.shape[1]:
        return 0
    gram = (generators.T @ generators).tocsr()
    gram.eliminate_zeros()
    squares = _block_spectrum(gram, _components(gram)).real
    return int(np.sum(squares > squares.size * np.finfo(float).eps * np.max(squares)))


# --- the spectrum -----------------------------------------------------------------------------------------------


def stability(
    state: MatrixState,
    system: MatrixSystem,
    *,
    method: Method = "auto",
    tolerance: float = 1e-6,
    zero_tolerance: float | None = None,
) -> Stability:
    """Spectrum of the Jacobian at a fixed point of the full flow, and how many directions leave it (R9).

    Parameters
    ----------
    state, system
        A fixed point, at any η >= 0, with any Σs and Σd.
    method
        "blocks": dense eigenproblems of the strongly connected components in adapted coordinates; exact for every
        fixed point. "dense": one eigenproblem of the assembled Jacobian. "iterative": Arnoldi's method for the
        rightmost eigenvalues. "auto": "blocks", or "iterative" where a block is larger than `MAX_BLOCK` or the
        Jacobian has more than `MAX_ENTRIES` entries.
    tolerance
        Largest `fixed_point_residual` that counts as rest, in (0, 1). Entries of W and P below a thousand times the
        residual and at most this, relative to the largest and in adapted coordinates, are taken as 0: the spectrum
        is that of a state so near.
    zero_tolerance
        Real parts within it count as zero; left out, the largest of `ZERO` times the spectral radius, the residual
        and twice `zero_spread`.

    Returns
    -------
    Stability
        By R4 `n_zero_forced` eigenvalues are 0; the smallest ones are taken for them and set to 0, the others are
        judged by `zero_tolerance`. "iterative" finds copies of a multiple eigenvalue by deflation, and leaves
        counts None where it did not converge or found more than `MAX_RIGHTMOST` that are not negative.

    Raises
    ------
    ValueError
        The state is not a fixed point within `tolerance`, or an option is not one of those above.

    Notes
    -----
    W → S W, P → S P S⁻¹ leads from fixed point to fixed point (R4) but keeps the spectrum only for orthogonal S.

    Examples
    --------
    >>> system = MatrixSystem(np.ones(3), np.array([0.9, 0.5, 0.2]))
    >>> result = stability(system.state([[0.9, 0.0, 0.0]], [[0.9]]), system)
    >>> result.n_unknowns, result.n_positive, result.n_zero_forced, result.verdict
    (7, 0, 1, 'stable')
    """
    if method not in get_args(Method):
        raise ValueError(f"`method` must be one of {', '.join(get_args(Method))}, got {method!r}")
    if zero_tolerance is not None and not (np.isfinite(zero_tolerance) and zero_tolerance >= 0):
        raise ValueError(f"`zero_tolerance` must be finite and >= 0, got {zero_tolerance}")
    rest = _require_fixed_point(state, system, tolerance)
    form = _adapt(rest.state, system, rest.noise)
    forced = _forced_zeros(form, rest.noise)
    if method == "dense":
        jacobian = dense_jacobian(rest.state, system)
        return _counted(np.linalg.eigvals(jacobian), len(jacobian), rest.residual, forced, zero_tolerance)
    if method == "blocks" or (method == "auto" and _n_entries(form) <= MAX_ENTRIES):
        jacobian = _assemble(form.W, form.P, form.E, form.system)
        component = _components(jacobian)
        largest = int(np.bincount(component).max())
        if method == "blocks" or largest <= MAX_BLOCK:
            return _counted(
                _block_spectrum(jacobian, component), largest, rest.residual, forced, zero_tolerance
            )
    return _iterative(rest, system, forced, zero_tolerance)


def _n_entries(form: _Adapted) -> int:
    """Bound the number of entries of the assembled Jacobian from those of its factors."""
    count = np.count_nonzero
    W, P, E, system = form.W, form.P, form.E, form.system
    n2 = P.shape[0]
    W_s, W_d = times(W, system.sigma_s), times(W, system.sigma_d)
    online = count(P.T @ P) * count(system.sigma_s) + count(P) * (count(W_s) + count(system.sigma_d))
    predictor = count(P) * count(W_s) + n2 * (count(W_s @ W.T) + count(W_d))
    return int(online + predictor + 2 * n2 * count(E) + 2 * W.size)


def _counted(
    eigenvalues: np.ndarray, largest: int, residual: float, forced: int | None, zero_tolerance: float | None
) -> Stability:
    n = eigenvalues.size
    eigenvalues = eigenvalues[np.argsort(np.abs(eigenvalues))]
    spread = float(np.max(np.abs(eigenvalues[:forced]), initial=0.0)) if forced else 0.0
    if zero_tolerance is None:
        # where a forced zero meets another one, both are off by the square root of rounding, one like the other
        zero_tolerance = max(ZERO * float(np.abs(eigenvalues[-1])), residual, 2 * spread)
    eigenvalues[: forced or 0] = 0.0
    eigenvalues = eigenvalues[np.argsort(-eigenvalues.real, kind="stable")]
    n_positive = int(np.sum(eigenvalues.real > zero_tolerance))
    n_negative = int(np.sum(eigenvalues.real < -zero_tolerance))
    return Stability(
        residual=residual,
        n_unknowns=n,
        method="dense" if largest == n else "blocks",
        largest_block=largest,
        eigenvalues=eigenvalues,
        n_positive=n_positive,
        n_zero=n - n_positive - n_negative,
        n_negative=n_negative,
        n_zero_forced=forced,
        max_real=float(eigenvalues[0].real),
        min_real=float(eigenvalues[-1].real),
        zero_tolerance=zero_tolerance,
        zero_spread=spread,
    )


def _feature_motions(state: MatrixState, tolerance: float) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """Projection on n2² of the tangents that η = 0 forces, and their number.

    With W = L S Rᵀ of rank k and N spanning the complement of L they are δW = δΘ = X Rᵀ,
    δP = (X S⁻¹ Lᵀ P L S − P X) S⁻¹ Lᵀ + Z Nᵀ for any X and Z, and X = δW R, Z = δP N read them off again.
    """
    W, P, _ = state
    L, s, Rt = np.linalg.svd(W)
    k = int(np.sum(s > tolerance * s[0]))
    L, N, s, R = L[:, :k], L[:, k:], s[:k], Rt[:k].T
    M = (L.T @ P @ L) * s / s[:, None]

    def project(v: np.ndarray) -> np.ndarray:
        dW, dP, _ = unpack(v, state)
        X, Z = dW @ R, dP @ N
        moved = X @ R.T
        return pack(MatrixState(moved, (X @ M - P @ X) / s @ L.T + Z @ N.T, moved))

    return project, P.size


class _Rightmost(NamedTuple):
    """Every eigenvalue right of the cut and then some left of it; `complete` where all of the former are there."""

    eigenvalues: np.ndarray
    complete: bool


def _rightmost(multiply: Callable[[np.ndarray], np.ndarray], n: int, *, cut: float, limit: int) -> _Rightmost:
    """Find eigenvalues of positive real part above `cut`, every copy of them, by Arnoldi's method and deflation.

    A − 2 ρ V Vᵀ, V an orthonormal basis of an invariant subspace, moves the eigenvalues that V holds to the left and
    keeps the others. A Krylov space shows one copy of a multiple eigenvalue; deflation lets the next pass show another.
    """
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigs

    V, found = np.empty((n, 0)), np.empty(0)
    start = np.random.default_rng(0).standard_normal(n)
    for _ in range(limit + 1):  # a pass that does not end the search finds one at least
        reach = 2 * np.max(np.abs(found), initial=0.0)
        deflated = LinearOperator(
            (n, n), matvec=lambda v, V=V, reach=reach: multiply(v) - reach * (V @ (V.T @ v)), dtype=np.float64
        )
        try:
            values, vectors = eigs(
                deflated, k=min(6, n - 2), ncv=min(n, 64), which="LR", v0=start, maxiter=500
            )
        except ArpackError:
            break
        kept = vectors[:, values.real >= cut]
        if not kept.size:
            return _Rightmost(np.concatenate([found, values]), True)
        fresh = np.hstack([kept.real, kept.imag])
        U, size, _ = np.linalg.svd(fresh - V @ (V.T @ fresh), full_matrices=False)
        V = np.linalg.qr(np.hstack([V, U[:, size > 1e-8 * size[0]]]))[0]  # what is left out comes back
        found = np.linalg.eigvals(V.T @ np.stack([multiply(v) for v in V.T], axis=1))
        if found.size > limit:
            break
    return _Rightmost(found, False)


def _iterative(
    rest: _Rest, system: MatrixSystem, forced: int | None, zero_tolerance: float | None
) -> Stability:
    """Rightmost eigenvalues by Arnoldi's method, the forced zeros of η = 0 moved out of the way.

    J − c Π with Π the projection on the feature motions has −c in place of n2² zeros and else the spectrum of J.
    J + c makes what is near 0 large: ARPACK's stopping rule is relative to the modulus.
    """
    W, P, _ = rest.state
    jacobian = jacobian_operator(rest.state, system)
    n = jacobian.shape[0]
    sigma_size = np.linalg.norm(system.sigma_s, np.inf if system.sigma_s.ndim == 1 else 2)
    c = float(
        1 / system.tau_target
        + np.linalg.norm(P, 2) ** 2 * sigma_size / system.tau_online
        + np.linalg.norm(W, 2) ** 2 * sigma_size / system.tau_predictor
        + system.weight_decay
    )
    if zero_tolerance is None:
        zero_tolerance = max(ZERO * c, rest.residual)
    project, n_moved = (
        _feature_motions(rest.state, rest.noise) if system.weight_decay == 0 else (np.zeros_like, 0)
    )
    right = _rightmost(
        lambda v: jacobian.matvec(v) + c * (v - project(v)), n, cut=c - zero_tolerance, limit=MAX_RIGHTMOST
    )
    left = _rightmost(lambda v: c * v - jacobian.matvec(v), n, cut=np.inf, limit=0)
    eigenvalues = right.eigenvalues[np.argsort(-right.eigenvalues.real)] - c
    n_positive = int(np.sum(eigenvalues.real > zero_tolerance))
    n_zero = int(np.sum(np.abs(eigenvalues.real) <= zero_tolerance)) + n_moved
    reals = [*eigenvalues.real, *[0.0] * bool(n_moved)]
    return Stability(
        residual=rest.residual,
        n_unknowns=n,
        method="iterative",
        largest_block=0,
        eigenvalues=eigenvalues,
        n_positive=n_positive if right.complete else None,
        n_zero=n_zero if right.complete else None,
        n_negative=n - n_positive - n_zero if right.complete else None,
        n_zero_forced=forced,
        max_real=float(max(reals)) if eigenvalues.size else np.nan,
        min_real=c - float(np.max(left.eigenvalues.real)) if left.complete else np.nan,
        zero_tolerance=zero_tolerance,
        zero_spread=np.nan,
    )


# --- R10, pair by pair ------------------------------------------------------------------------------------------


def pair_conditions(
    state: MatrixState, system: MatrixSystem, *, tolerance: float = 1e-6
) -> list[PairCondition]:
    """Which (row, mode) pairs make a decoupled fixed point stable or unstable, and why (R10).

    A block of R9 has, besides a forced zero, the two roots of s² + b s + c, where
    b = 1/τt + p_i²λs_j/τo + w_j²λs_j/τp and c τt = margin = w_j²λs_j/τp + p_i (p_i λs_j − λd_j)/τo, with w_j = 0 for
    a mode that no row selected. For λs_j > 0 the pair is stable iff the margin is positive: a selected one iff
    w_j²/τp > (p_i/τo)(r_j − p_i), any other iff p_i < 0 or p_i > r_j.

    Parameters
    ----------
    state, system
        A decoupled fixed point at η = 0, up to a rotation of the features: see `decoupled_form`.
    tolerance
        As in `stability`.

    Returns
    -------
    list of PairCondition
        One for each row and each mode with λs_j > 0 or λd_j ≠ 0, row by row.

    Raises
    ------
    ValueError
        η > 0, the state is not a fixed point, or not a decoupled one, or some λs_j < 0.

    Examples
    --------
    >>> system = MatrixSystem(np.ones(3), np.array([0.9, 0.45, 0.3]))
    >>> state = system.state([[0.4, 0.0, 0.0], [0.0, 0.45, 0.0]], np.diag([0.9, 0.45]))
    >>> [pair.sentence for pair in pair_conditions(state, system) if pair.verdict == "unstable"]
    ['row 1 is unstable towards mode 0, which row 0 holds: w²/τp = 0.16 < (p/τo)(r − p) = 0.2025']
    """
    if system.weight_decay > 0:
        raise ValueError(f"the pairs of R10 are those of `weight_decay` = 0, got {system.weight_decay}")
    rest = _require_fixed_point(state, system, tolerance)
    form = decoupled_form(rest.state, system, tolerance=tolerance)
    if form is None:
        raise ValueError(
            "the fixed point must be decoupled: commuting Σs and Σd, a symmetric predictor and rows of `online` along"
            " joint eigenvectors, up to a rotation of the features; `stability` takes any other"
        )
    if np.any(form.lambda_s < 0):
        raise ValueError(f"the eigenvalues of `sigma_s` must be >= 0, got {form.lambda_s.min():.3g}")
    ls, ld, p = form.lambda_s, form.lambda_d, form.predictor[:, None]
    holder = np.full(ls.size, -1)
    holder[form.mode[form.mode >= 0]] = np.flatnonzero(form.mode >= 0)
    w = np.where(holder >= 0, form.amplitude[holder], 0.0)
    support, push = w**2 * ls / system.tau_predictor, p * (ld - p * ls) / system.tau_online
    size = support + np.abs(p) * (np.abs(ld) + np.abs(p) * ls) / system.tau_online
    sign = np.where(
        np.abs(support - push) <= max(ZERO, rest.noise) * size, 0, np.sign(support - push)
    ).astype(int)
    pairs = []
    for i, j in np.argwhere(np.broadcast_to((ls > 0) | (ld != 0), sign.shape)).tolist():
        k = int(sign[i, j])
        towards = f"row {i} is {_SIGN[k]} towards mode {j}"
        if holder[j] >= 0:
            sizes = f"w²/τp = {support[j] / ls[j]:.4g} {'=><'[k]} (p/τo)(r − p) = {push[i, j] / ls[j]:.4g}"
            sentence = f"{towards}, which row {holder[j]} holds: {sizes}"
        else:
            place = ("an end of", "outside", "inside")[k]
            r = ld[j] / ls[j] if ls[j] else np.inf
            sentence = f"{towards}: p = {p[i, 0]:.4g} is {place} the interval from 0 to r = {r:.4g}"
        margin = float(support[j] - push[i, j])
        pairs.append(PairCondition(i, j, bool(holder[j] >= 0), _SIGN[k], margin, sentence))
    return pairs


# --- one mode ---------------------------------------------------------------------------------------------------


def moving_parts(field: VectorField, system: ModeSystem) -> tuple[str, ...]:
    """Parts of a one-mode state that a variant moves: not those it holds constant, nor those that follow others.

    Examples
    --------
    >>> from dynamics.mode_fields import fixed_target_mode_field, tied_mode_field
    >>> moving_parts(fixed_target_mode_field, ModeSystem(1.0, 0.5)), moving_parts(tied_mode_field, ModeSystem(1.0, 0.5))
    (('online', 'predictor'), ('online', 'target'))
    """
    probe = system.state(online=0.7, predictor=0.6, target=0.4)  # no rest point of any variant lies here
    kept, velocity = field.constrain(0.0, probe, system), field(0.0, probe, system)
    return tuple(
        name
        for name in ModeState._fields
        if np.any(np.abs(getattr(velocity, name)) > ZERO)
        and np.all(getattr(kept, name) == getattr(probe, name))
    )


def mode_jacobian(state: ModeState, system: ModeSystem, field: VectorField = full_mode_field) -> np.ndarray:
    """Jacobian of a one-mode vector field, restricted to the parts that it moves.

    For the full flow, with e = θ λd − w2 w1 λs, over (w1, w2, θ):

        [[−w2² λs/τo − η, (e − w1 w2 λs)/τo, w2 λd/τo],
         [(e − w1 w2 λs)/τp, −w1² λs/τp − η, w1 λd/τp],
         [1/τt, 0, −1/τt]]

    Parameters
    ----------
    state, system
        Any one-mode states, a fixed point or not.
    field
        A variant of `dynamics.mode_fields`.

    Returns
    -------
    array (n_modes, k, k)
        Over the k parts that `moving_parts` names, by the complex step: exact to rounding. NaN or infinite where
        the field has no derivative, as DirectPred's at w1 = 0.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> mode_jacobian(system.state(0.5, 0.5, 0.5), system)[0]
    array([[-0.25, -0.25,  0.25],
           [-0.25, -0.25,  0.25],
           [ 1.  ,  0.  , -1.  ]])
    """
    parts = moving_parts(field, system)
    start = system.state(*state)
    step = 1e-200  # its square is 0: no truncation error
    jacobian = np.empty((system.n_modes, len(parts), len(parts)))
    for column, moved in enumerate(parts):
        velocity = field(0.0, start._replace(**{moved: getattr(start, moved) + step * 1j}), system)
        for row, name in enumerate(parts):
            jacobian[:, row, column] = np.imag(getattr(velocity, name)) / step
    return jacobian


def classify(eigenvalues: np.ndarray, tolerance: float | None = None, *, n_zero_forced: int = 0) -> Verdict:
    """Name the stability of a fixed point from the signs of its eigenvalues' real parts.

    Parameters
    ----------
    eigenvalues
        All eigenvalues at one fixed point, shape (k,).
    tolerance
        Real parts within it count as zero, >= 0; left out, `ZERO` times the largest modulus.
    n_zero_forced
        Zeros to leave out of account, such as the one along a line of fixed points (R5).

    Returns
    -------
    str
        "stable": all real parts negative; "saddle": both signs; "unstable": some positive and none negative;
        "degenerate": zeros that nothing forces and no positive one. A half-stable point (R7) is degenerate here: to
        tell it takes the centre manifold.

    Raises
    ------
    ValueError
        There are no eigenvalues, one is not finite, or fewer are zero than `n_zero_forced`.

    Examples
    --------
    >>> classify(np.array([-1.0, 0.0])), classify(np.array([-1.0, 0.0]), n_zero_forced=1)
    ('degenerate', 'stable')
    """
    real = np.real(eigenvalues)
    if real.ndim != 1 or real.size == 0 or not np.all(np.isfinite(eigenvalues)):
        raise ValueError(f"`eigenvalues` must be a vector of finite numbers, got {eigenvalues!r}")
    if tolerance is None:
        tolerance = ZERO * float(np.max(np.abs(eigenvalues)))
    n_zero = int(np.sum(np.abs(real) <= tolerance))
    if n_zero < n_zero_forced:
        raise ValueError(f"`n_zero_forced` must be at most the {n_zero} zeros there are, got {n_zero_forced}")
    return _verdict(int(np.sum(real > tolerance)), n_zero - n_zero_forced, int(np.sum(real < -tolerance)))


def _verdict(n_positive: int, n_zero_other: int, n_negative: int) -> Verdict:
    if n_positive:
        return "saddle" if n_negative else "unstable"
    return "degenerate" if n_zero_other else "stable"
