"""Closed-form solutions without a predictor: one mode and matrices (R13)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.exact.arithmetic import solution_times
from dynamics.exact.fixed_points import leaf_eigenvalues
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem


def no_predictor_eigenvalues(system: ModeSystem) -> np.ndarray:
    """Eigenvalues of the flow without predictor, [[−λs/τo − η, λd/τo], [1/τt, −1/τt]].

    Returns
    -------
    array (n_modes, 2)
        Complex, the larger real part first. For λs > 0, both are negative iff λd < λs + τo η: collapse from
        everywhere. One is exactly 0 when λd = λs and η = 0.

    Notes
    -----
    Source: R11; DD F.3.

    Examples
    --------
    >>> no_predictor_eigenvalues(ModeSystem(1.0, 1.0)).real
    array([[ 0., -2.]])
    """
    beta, gamma = _no_predictor_leaf(system)
    return leaf_eigenvalues(beta, gamma, system)


def _no_predictor_leaf(system: ModeSystem) -> tuple[np.ndarray, np.ndarray]:
    beta = system.lambda_d / system.tau_online
    return beta, (system.lambda_s - system.lambda_d) / system.tau_online + system.weight_decay


def no_predictor_solution(ts: Any, state: ModeState, system: ModeSystem) -> ModeState:
    """Exact flow of modes without predictor: (w1, θ)(t) = exp(A t) (w1, θ)(0).

    With A of `no_predictor_eigenvalues`, s its larger eigenvalue and 2δ the distance to the other one,

        exp(A t) = e^{s t} [½(1 + e^{−2δt}) I + (1 − e^{−2δt})/(2δ) (A − ½ tr A)].

    Parameters
    ----------
    ts
        Times t >= 0, any shape.
    state
        Start w1, θ, shape (n_modes,); its w2 is not used.
    system
        Any eigenvalues, weight decay included.

    Returns
    -------
    ModeState
        Shape ts.shape + (n_modes,); w2 = 1.

    Raises
    ------
    ValueError
        A time is negative or not finite.

    Notes
    -----
    Source: R11; DD F.3.

    Examples
    --------
    >>> system = ModeSystem(1.0, 1.0)
    >>> no_predictor_solution(50.0, system.state(online=0.3, target=0.1), system).online
    array([0.2])
    """
    t = solution_times(ts)[..., None]
    w1, _, th = state
    beta, gamma = _no_predictor_leaf(system)
    zeta = 1 / np.asarray(system.tau_target)
    s, other = np.moveaxis(no_predictor_eigenvalues(system), -1, 0)
    two_delta = s - other
    decayed = np.exp(-two_delta * t)
    mean = (1 + decayed) / 2
    slope = np.where(two_delta == 0, t, -np.expm1(-two_delta * t) / np.where(two_delta == 0, 1.0, two_delta))
    half = (zeta - beta - gamma) / 2
    online = np.exp(s * t) * (mean * w1 + slope * (half * w1 + beta * th))
    target = np.exp(s * t) * (mean * th + slope * (zeta * w1 - half * th))
    return ModeState(online.real, np.ones_like(online.real), target.real)


def no_predictor_matrix_solution(ts: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    """Exact flow of the full network without predictor: [W Θ](t) = [W Θ](0) exp(K t).

    K = [[−Σs/τo − η I, I/τt], [Σd/τo, −I/τt]], acting from the right, whether Σs and Σd commute or not.

    Parameters
    ----------
    ts
        Times t >= 0, shape (T,) or scalar.
    state
        Start W, Θ, shape (n2, n1); its P is not used.
    system
        Moments, time constants and weight decay.

    Returns
    -------
    MatrixState
        Time first; P = I. One exponential of a 2 n1 × 2 n1 matrix a time, O(T n1³).

    Raises
    ------
    ValueError
        A time is negative or not finite.

    Notes
    -----
    Source: R11; DD F.3.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(2), np.diag([1.0, 0.5]))
    >>> no_predictor_matrix_solution(100.0, system.state(np.eye(2), np.eye(2)), system).online.round(6)
    array([[1., 0.],
           [0., 0.]])
    """
    from scipy.linalg import expm

    times = solution_times(ts)
    W, P, Th = state
    one = np.eye(system.n1)
    sigma_s, sigma_d = (s if s.ndim == 2 else np.diag(s) for s in (system.sigma_s, system.sigma_d))
    K = np.block(
        [
            [-sigma_s / system.tau_online - system.weight_decay * one, one / system.tau_target],
            [sigma_d / system.tau_online, -one / system.tau_target],
        ]
    )
    both = np.hstack([W, Th]) @ expm(K * times[..., None, None])
    identity = np.broadcast_to(np.eye(P.shape[0]), (*times.shape, *P.shape)).copy()
    return MatrixState(both[..., : system.n1], identity, both[..., system.n1 :])
