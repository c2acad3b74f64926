"""Zero eigenvalues that a fixed point must have: the tangents of the fixed points around it (R4, R17)."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.stability.adapted import (
    ZERO,
    Adapted,
    adapt,
    block_spectrum,
    components,
    require_fixed_point,
    runs,
)
from dynamics.modes import COMMUTING
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem


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
    rest = require_fixed_point(state, system, tolerance)
    return count_forced_zeros(adapt(rest.state, system, rest.noise), rest.noise)


def count_forced_zeros(form: Adapted, tolerance: float) -> int | None:
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
    for modes in runs(np.arctan2(d, s)[:, None], COMMUTING):
        if nullity[modes[0]]:
            rank = int(np.sum(np.linalg.svd(W[:, modes], compute_uv=False) > tolerance * scale))
            count += (modes.size - rank) * int(nullity[modes[0]])
    return count


def _pencil(form: Adapted) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
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


def _rotations(form: Adapted) -> int:
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
    squares = block_spectrum(gram, components(gram)).real
    return int(np.sum(squares > squares.size * np.finfo(float).eps * np.max(squares)))
