"""Linear stability of fixed points of the full flow: the spectrum of its Jacobian and what decides it (R4, R9, R10).

The Jacobian of 2 n1 n2 + n2² unknowns is sparse in coordinates adapted to the fixed point: inputs along joint
eigenvectors of Σs and Σd, features along the columns of W and then a Schur basis of P. The strongly connected
components of its graph are diagonal blocks of a block triangular form, so their spectra together are the whole
spectrum. At decoupled fixed points these blocks are those of R9, one a (row, mode) pair; at others they are as small
as the point allows, down to one block for all unknowns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
"""Largest block that "auto" hands to a dense eigensolver: half a minute on one core."""

MAX_ENTRIES = 20_000_000
"""Most non-zero entries of a Jacobian that "auto" assembles: half a gigabyte."""

# A rounding error ε moves a double eigenvalue, which every fold has, by √ε.
ROUNDING = float(np.sqrt(np.finfo(float).eps))


@dataclass(frozen=True)
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
        Descending real part: all n_unknowns of them, or for "iterative" the rightmost without forced zeros.
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
        Largest modulus that a forced zero had before it was set to 0: the accuracy reached.
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
        rates = {
            name: getattr(system, name) for name in ("tau_online", "tau_predictor", "tau_target", "weight_decay")
        }
        system = MatrixSystem(basis.lambda_s, basis.lambda_d, **rates)
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


def _block_spectrum(jacobian: Any) -> tuple[np.ndarray, int]:
    """Eigenvalues of a sparse matrix from its strongly connected components, and the size of the largest."""
    from scipy.sparse.csgraph import connected_components

    component = connected_components(jacobian, connection="strong")[1]
    size = np.bincount(component)
    order = np.argsort(component, kind="stable")
    place = np.empty_like(order)  # of an unknown within its component
    place[order] = np.arange(order.size) - np.repeat(np.cumsum(size) - size, size)
    entries = jacobian.tocoo()
    inside = component[entries.row] == component[entries.col]
    row, column, value = entries.row[inside], entries.col[inside], entries.data[inside]
    spectra = []
    for m in np.unique(size):
        number = np.cumsum(size == m) - 1  # of a component among those of its size
        mine = size[component[row]] == m
        blocks = np.zeros((number[-1] + 1, m, m))
        blocks[number[component[row[mine]]], place[row[mine]], place[column[mine]]] = value[mine]
        spectra.append(np.linalg.eigvals(blocks).ravel())
    return np.concatenate(spectra), int(size.max())


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


def _require_fixed_point(state: MatrixState, system: MatrixSystem, tolerance: float) -> tuple[MatrixState, float]:
    if not (np.isfinite(tolerance) and 0 < tolerance < 1):
        raise ValueError(f"`tolerance` must be above 0 and below 1, got {tolerance}")
    state = system.state(*state)
    residual = fixed_point_residual(state, system)
    if residual > tolerance:
        raise ValueError(
            f"the state must be a fixed point within `tolerance` = {tolerance:.3g}, got a residual of {residual:.3g}"
        )
    return state, residual


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
    >>> decoupled_form(system.state([[1.0, 0.0], [1.0, 0.0]], 0.5 * np.eye(2)), system).amplitude.round(3)
    array([1.414, 0.   ])
    """
    form = _adapt(system.state(*state), system, tolerance)
    W, P = form.W, form.P
    held = W != 0
    diagonal = np.count_nonzero(P - np.diag(np.diag(P))) == 0
    if not (form.eigenspaces and diagonal and held.sum(axis=0).max() <= 1 and held.sum(axis=1).max() <= 1):
        return None
    mode = np.where(held.any(axis=1), np.argmax(held, axis=1), -1)
    sigma_s, sigma_d = form.system.sigma_s, form.system.sigma_d
    return DecoupledForm(np.diag(P).copy(), W.sum(axis=1), mode, sigma_s, sigma_d, form.features, form.directions)


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
    >>> forced_zeros(system.state([[1.0, 0.0]], [[0.5]]), system), forced_zeros(system.state([[0.0, 0.0]], [[0.5]]), system)
    (1, 2)
    """
    state, _ = _require_fixed_point(state, system, tolerance)
    return _forced_zeros(_adapt(state, system, tolerance), tolerance)


def _forced_zeros(form: _Adapted, tolerance: float) -> int | None:
    if form.system.weight_decay > 0:
        return _rotations(form)
    pencil = _pencil(form)
    if pencil is None:
        return None
    lambda_s, lambda_d, W = pencil
    P = form.P
    n2 = P.shape[0]
    size = np.hypot(lambda_s, lambda_d)
    dead = size <= ROUNDING * np.max(size, initial=0.0)
    count = n2 * n2 + n2 * int(np.sum(dead))
    s, d, W = lambda_s[~dead] / size[~dead], lambda_d[~dead] / size[~dead], W[:, ~dead]
    if not s.size:
        return count
    resonances = np.linalg.svd(d[:, None, None] * np.eye(n2) - s[:, None, None] * P, compute_uv=False)
    nullity = np.sum(resonances <= ROUNDING * (1 + np.linalg.norm(P, 2)), axis=1)
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
        entries = (np.concatenate([ones, -ones]), (np.concatenate([i * n + j, j * n + i]), np.concatenate([k, k])))
        return sparse.csr_array(entries, shape=(n * n, i.size))

    held = np.any(W != 0, axis=0)
    pairs = [(i, j) for modes in form.eigenspaces for i in modes for j in modes if i < j and (held[i] or held[j])]
    A = antisymmetric(*np.triu_indices(n2, 1), n2)
    B = antisymmetric(*np.array(pairs, dtype=int).reshape(-1, 2).T, n1)
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
    squares = _block_spectrum(gram)[0].real
    return int(np.sum(squares > ROUNDING * np.max(squares)))


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
        Largest `fixed_point_residual` that counts as rest, in (0, 1). Entries of W and P smaller than this times the
        largest, in adapted coordinates, are taken as 0: the spectrum is that of a state so near.
    zero_tolerance
        Real parts within it count as zero; left out, √ε_machine times the spectral radius, or `zero_spread`
        where that is larger.

    Returns
    -------
    Stability
        By R4 `n_zero_forced` eigenvalues are 0; the smallest ones are taken for them and set to 0, the others
        are judged by `zero_tolerance`. "iterative" sees copies of a multiple eigenvalue only as rounding
        shows them, and leaves counts None where it did not converge or found 128 eigenvalues not yet negative.

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
    state, residual = _require_fixed_point(state, system, tolerance)
    form = _adapt(state, system, tolerance)
    forced = _forced_zeros(form, tolerance)
    common = {"residual": residual, "n_unknowns": pack(state).size, "n_zero_forced": forced}
    if method in ("auto", "blocks"):
        spectrum = _structured(form, exhaustive=method == "blocks")
        if spectrum is not None:
            return _summary(*spectrum, zero_tolerance, common)
    if method == "dense":
        return _summary(
            np.linalg.eigvals(dense_jacobian(state, system)), common["n_unknowns"], zero_tolerance, common
        )
    return _iterative(state, system, tolerance, zero_tolerance, common)
