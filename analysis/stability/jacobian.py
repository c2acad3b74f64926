"""The Jacobian of the full flow, as an operator and as a matrix, and those of one-mode fields."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.fields.matrices import error_matrix
from dynamics.fields.modes import full_mode_field
from dynamics.fields.predictors import times
from dynamics.fields.vector_field import VectorField
from dynamics.states import MatrixState, ModeState, pack, unpack
from dynamics.system import MatrixSystem, ModeSystem


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
    return sparse_jacobian(W, P, error_matrix(MatrixState(W, P, Th), system), system).toarray()


def sparse_jacobian(W: np.ndarray, P: np.ndarray, E: np.ndarray, system: MatrixSystem) -> Any:
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


def moving_parts(field: VectorField, system: ModeSystem) -> tuple[str, ...]:
    """Parts of a one-mode state that a variant moves: not those it holds constant, nor those that follow others.

    Examples
    --------
    >>> from dynamics.fields.modes import fixed_target_mode_field, tied_mode_field
    >>> moving_parts(fixed_target_mode_field, ModeSystem(1.0, 0.5)), moving_parts(tied_mode_field, ModeSystem(1.0, 0.5))
    (('online', 'predictor'), ('online', 'target'))
    """
    probe = system.state(online=0.7, predictor=0.6, target=0.4)  # no rest point of any variant lies here
    kept, velocity = field.constrain(0.0, probe, system), field(0.0, probe, system)
    return tuple(
        name
        for name in ModeState._fields
        if np.any(np.abs(getattr(velocity, name)) > 1e-10)
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
        A variant of `dynamics.fields.modes`.

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
