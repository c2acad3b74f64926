"""The gradient flow of matrices, computed in place for integration.

The equations are those of `dynamics.fields.matrices`, in NumPy alone and with as few calls as they take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dynamics.fields.vector_field import Binding, TargetRule
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem


def _times(sigma: np.ndarray) -> Callable[[np.ndarray, np.ndarray], Any]:
    """(X, out) -> X Σ, as `predictors.times`."""
    if sigma.ndim == 1:
        return lambda X, out: np.multiply(X, sigma, out=out)
    return lambda X, out: np.dot(X, sigma, out=out)


def gradient_flow(rule: TargetRule) -> Callable[[MatrixState, MatrixSystem], Binding]:
    """The flow dW/dt = PᵀE/τo − ηW, dP/dt = EWᵀ/τp − ηP, E = Θ Σd − P W Σs, with the target's rule, for `VectorField`.

    Examples
    --------
    >>> from dynamics.fields.matrices import full_field
    >>> system = MatrixSystem(np.eye(2), 0.5 * np.eye(2), weight_decay=0.1)
    >>> state = system.state([[1.0, 2.0]], [[0.3]])
    >>> found = MatrixState(*(np.empty_like(part) for part in state))
    >>> gradient_flow(TargetRule.FOLLOWS)(state, system)(state, found)(0.0)
    >>> [np.allclose(*pair) for pair in zip(found, full_field(0.0, state, system))]
    [True, True, True]
    """

    def of_system(like: MatrixState, system: MatrixSystem) -> Binding:
        times_s, times_d, eta = _times(system.sigma_s), _times(system.sigma_d), float(system.weight_decay)
        to, tp, tt = float(system.tau_online), float(system.tau_predictor), float(system.tau_target)
        # E, and what is subtracted: shared by all that are bound, as none keeps anything
        E, other, square = np.empty_like(like[0]), np.empty_like(like[0]), np.empty_like(like[1])

        def finished(rate: np.ndarray, tau: float, weights: np.ndarray, room: np.ndarray) -> None:
            if tau != 1.0:
                rate /= tau
            if eta:
                np.multiply(weights, eta, out=room)
                rate -= room

        def bind(state: MatrixState, derivative: MatrixState) -> Callable[[float], None]:
            (W, P, Th), (dW, dP, dTh) = state, derivative
            seen, PT, WT = (W if rule is TargetRule.ONLINE else Th), P.T, W.T

            def evaluate(t: float) -> None:
                np.dot(P, W, out=dW)
                times_s(dW, other)
                times_d(seen, E)
                np.subtract(E, other, out=E)
                np.dot(PT, E, out=dW)
                np.dot(E, WT, out=dP)
                finished(dW, to, W, other)
                finished(dP, tp, P, square)
                if rule is TargetRule.FOLLOWS:
                    np.subtract(W, Th, out=dTh)
                    if tt != 1.0:
                        np.divide(dTh, tt, out=dTh)
                else:
                    dTh[...] = dW if rule is TargetRule.ONLINE else 0.0

            return evaluate

        return bind

    return of_system
