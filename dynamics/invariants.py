"""The balance law of the flow (R2), the leaves it cuts, and the rank that it guards (R8)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.quadratic import binary_exponent, even_part, shifted
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem


def mode_invariant(state: ModeState, system: ModeSystem) -> Any:
    """Scalar invariant of each mode, c = τo w1² − τp w2²: the leaf on which the mode moves.

    Parameters
    ----------
    state
        w1, w2 and θ, shape (..., n_modes): a start, or a trajectory with time first.
    system
        Gives τo and τp.

    Returns
    -------
    array (..., n_modes)
        c, in units of time times weight squared. c(t) = e^{−2ηt} c(0) for the variants in
        `dynamics.variants.BALANCED_MODE_VARIANTS`, for every λs, λd and θ(t).

    Notes
    -----
    Source: R2; NC for τo = 1.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5, tau_predictor=2.0)
    >>> mode_invariant(system.state(online=0.5, predictor=0.25), system)
    array([0.125])
    """
    w1, w2, _ = state
    if not all(isinstance(part, (float, np.ndarray)) and np.isrealobj(part) for part in (w1, w2)):
        return system.tau_online * w1**2 - system.tau_predictor * w2**2  # to be differentiated
    c, exponent = scaled_invariant(w1, w2, system)
    return shifted(c, 2 * exponent)


def scaled_invariant(online: Any, predictor: Any, system: ModeSystem) -> tuple[np.ndarray, np.ndarray]:
    """Mode invariant as c' 4ⁿ, of weights whose squares no float may hold.

    Parameters
    ----------
    online, predictor
        w1 and w2, shape (..., n_modes).
    system
        Gives τo and τp.

    Returns
    -------
    c, n
        c' of the size of the larger of its two terms over 4ⁿ, between ⅛ and 2 if nothing cancels, and n.

    Examples
    --------
    >>> c, n = scaled_invariant(2.0**600, 0.0, ModeSystem(1.0, 0.5))
    >>> c.item() * 2.0 ** (2 * n.item() - 1200)
    1.0
    """
    to, half_o = even_part(system.tau_online)
    tp, half_p = even_part(system.tau_predictor)
    n = np.maximum(binary_exponent(online, half_o), binary_exponent(predictor, half_p))
    c = to * shifted(online, half_o - n) ** 2 - tp * shifted(predictor, half_p - n) ** 2
    return c, n


def balance_matrix(state: MatrixState, system: MatrixSystem) -> Any:
    """Balance matrix of encoder and predictor, C = τo W Wᵀ − τp Pᵀ P.

    Parameters
    ----------
    state
        W (..., n2, n1) and P (..., n2, n2): a start, or a trajectory with time first.
    system
        Gives τo and τp.

    Returns
    -------
    array (..., n2, n2)
        C, symmetric. C(t) = e^{−2ηt} C(0) for `dynamics.variants.BALANCED_VARIANTS`, every Σs, Σd and Θ(t).

    Notes
    -----
    Source: R2; NC for τo = 1.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(2), 0.5 * np.eye(2))
    >>> balance_matrix(system.state([[1.0, 0.0], [0.0, 2.0]], np.eye(2)), system)
    array([[0., 0.],
           [0., 3.]])
    """
    W, P, _ = state
    return system.tau_online * (W @ W.mT) - system.tau_predictor * (P.mT @ P)


def balance_drift(ts: np.ndarray, states: ModeState | MatrixState, system: ModeSystem | MatrixSystem) -> Any:
    """Largest departure of a trajectory from the balance law, max over t of ‖C(t) − e^{−2η(t − t0)} C(t0)‖.

    Absolute, in the units of c: it compares directly with c itself, with the threshold −τp r² that decides a
    fate (R6), and with the eigenvalues of C, none of which it can have moved by more (R8). Relative to C(t0)
    it would be infinite on the balanced leaf C = 0, where tied and decayed weights live.

    Parameters
    ----------
    ts
        Times t0 … of the trajectory, shape (T,).
    states
        The trajectory, time first, of a variant that conserves the balance (`dynamics.variants`).
    system
        Gives τo, τp and η.

    Returns
    -------
    array (n_modes,) or float
        One number a mode, or the Frobenius norm for matrices; NaN when the trajectory holds NaN.

    Notes
    -----
    Source: R2.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> trajectory = ModeState(np.array([[3.0], [4.0]]), np.array([[0.0], [2.0]]), np.zeros((2, 1)))
    >>> balance_drift(np.array([0.0, 1.0]), trajectory, system)
    array([3.])
    """
    elapsed = np.asarray(ts) - ts[0]
    if isinstance(system, ModeSystem):
        c = mode_invariant(ModeState(*states), system)
        law = np.exp(-2 * system.weight_decay * elapsed[:, None]) * c[0]
        return np.max(np.abs(c - law), axis=0)
    C = balance_matrix(MatrixState(*states), system)
    law = np.exp(-2 * system.weight_decay * elapsed)[:, None, None] * C[0]
    return float(np.max(np.linalg.norm(C - law, axis=(-2, -1))))


def eigenvalue_floor(state: MatrixState, system: MatrixSystem, ts: Any = 0.0) -> np.ndarray:
    """Lower bounds on the eigenvalues of W Wᵀ, λ_i(W Wᵀ)(t) >= max(0, e^{−2ηt} λ_i(C(0))/τo).

    Since τo W Wᵀ = C + τp Pᵀ P and Pᵀ P is positive semidefinite, Weyl's inequality orders the eigenvalues.

    Parameters
    ----------
    state
        Start, W (n2, n1) and P (n2, n2), of a variant in `dynamics.variants.BALANCED_VARIANTS`.
    system
        Gives τo, τp and η.
    ts
        Times t since the start, any shape.

    Returns
    -------
    array (..., n2)
        Bounds in descending order, one for each eigenvalue of W Wᵀ (the squared singular values of W, padded
        with zeros when n2 > n1). Sharp at t = 0 when P = 0.

    Notes
    -----
    Source: R8.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(2), 0.5 * np.eye(2))
    >>> eigenvalue_floor(system.state([[3.0, 0.0], [0.0, 1.0]], 2 * np.eye(2)), system)
    array([5., 0.])
    """
    eigenvalues = np.linalg.eigvalsh(balance_matrix(state, system))[::-1]
    decay = np.exp(-2 * system.weight_decay * np.asarray(ts, dtype=np.float64))
    return decay[..., None] * np.maximum(eigenvalues, 0.0) / system.tau_online


def rank_floor(state: MatrixState, system: MatrixSystem) -> int:
    """Rank that the encoder can never lose, rank W(t) >= n₊(C(0)): the number of positive eigenvalues of C.

    C ≻ 0, a small predictor on a larger encoder, excludes any collapse.

    Parameters
    ----------
    state
        Start, W (n2, n1) and P (n2, n2), of a variant in `dynamics.variants.BALANCED_VARIANTS`.
    system
        Gives τo and τp.

    Returns
    -------
    int
        Between 0 and n2. Eigenvalues within rounding of zero do not count, so the floor is certain: the
        products W Wᵀ and Pᵀ P and the symmetric eigensolver together move no eigenvalue of C by more than
        ε (n1 + 2 n2)(τo‖W‖² + τp‖P‖²), with ε the machine epsilon and Frobenius norms.

    Notes
    -----
    With weight decay the inertia of C(t) = e^{−2ηt} C(0) is the same at all finite times, but
    `eigenvalue_floor` sinks to zero: the floor says nothing about the limit t → ∞. Source: R8.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(2), 0.5 * np.eye(2))
    >>> rank_floor(system.state([[3.0, 0.0], [0.0, 1.0]], 2 * np.eye(2)), system)
    1
    """
    W, P, _ = state
    n2, n1 = W.shape
    size = system.tau_online * np.sum(W**2) + system.tau_predictor * np.sum(P**2)
    rounding = np.finfo(np.float64).eps * (n1 + 2 * n2) * size
    return int(np.sum(np.linalg.eigvalsh(balance_matrix(state, system)) > rounding))


def squared_row_norms(state: MatrixState) -> Any:
    """Squared norm ‖w_i‖² of every row of the encoder: what the deviation in the graph of gradients conserves.

    Parameters
    ----------
    state
        W (..., n2, n1): a start, or a trajectory with time first.

    Returns
    -------
    array (..., n2)
        ‖w_i(t)‖² = e^{−2ηt}‖w_i(0)‖² under batch normalisation with gradients through mean and deviation.

    Notes
    -----
    Source: R218.

    Examples
    --------
    >>> squared_row_norms(MatrixState(np.array([[3.0, 4.0]]), np.eye(1), np.zeros((1, 2))))
    array([25.])
    """
    return (state.online**2).sum(-1)


def diagonal_balance(state: MatrixState, system: MatrixSystem) -> Any:
    """Balance of every row of the encoder and the predictor's column behind it, τo‖w_i‖² − τp‖P_{:i}‖².

    Parameters
    ----------
    state
        W (..., n2, n1) and P (..., n2, n2).
    system
        Gives τo and τp.

    Returns
    -------
    array (..., n2)
        The diagonal of `balance_matrix`. It is e^{−2ηt} times its start under batch normalisation with a detached
        deviation, where the rest of that matrix is not conserved.

    Notes
    -----
    Source: R221.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(2), 0.5 * np.eye(2))
    >>> diagonal_balance(system.state([[1.0, 0.0], [0.0, 2.0]], np.eye(2)), system)
    array([0., 3.])
    """
    return system.tau_online * squared_row_norms(state) - system.tau_predictor * (state.predictor**2).sum(-2)
