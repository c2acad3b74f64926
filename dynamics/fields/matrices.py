"""The vector fields of the full network, one function a variant: (t, state, system) -> state.

Each is written with the operators that NumPy, JAX and object arrays of SymPy symbols share, so the code that is
integrated is the code that is differentiated and the code that is compared with the printed equation. The
one-mode counterparts are in `dynamics.fields.modes`, under the same names.

Sources: DD appendix F ("Understanding self-supervised learning with dual deep networks"), NC ("Understanding
self-supervised learning dynamics without contrastive pairs").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dynamics.fields.in_place import gradient_flow
from dynamics.fields.predictors import directpred_predictor, feature_covariance, optimal_predictor, times
from dynamics.fields.vector_field import TargetRule, VectorField
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem


def error_matrix(state: MatrixState, system: MatrixSystem) -> Any:
    """Correlation of prediction error and input, E = Θ Σd − P W Σs, shape (n2, n1): −∂L/∂(P W)."""
    W, P, Th = state
    return times(Th, system.sigma_d) - times(P @ W, system.sigma_s)


def _gradient_flow(state: MatrixState, system: MatrixSystem) -> tuple[Any, Any]:
    W, P, _ = state
    E = error_matrix(state, system)
    return (
        P.T @ E / system.tau_online - system.weight_decay * W,
        E @ W.T / system.tau_predictor - system.weight_decay * P,
    )


def _target_is_online(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    return MatrixState(state.online, state.predictor, state.online)


def _full(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    dW, dP = _gradient_flow(state, system)
    return MatrixState(dW, dP, (state.online - state.target) / system.tau_target)


def _fixed_target(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    dW, dP = _gradient_flow(state, system)
    return MatrixState(dW, dP, 0.0 * state.target)


def _identity_predictor(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    W, P, Th = state
    return MatrixState(W, P.__array_namespace__().eye(P.shape[0]), Th)


def _no_predictor(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    W, P, Th = state
    E = times(Th, system.sigma_d) - times(W, system.sigma_s)
    dW = E / system.tau_online - system.weight_decay * W
    return MatrixState(dW, 0.0 * P, (W - Th) / system.tau_target)


def _no_ema(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    dW, dP = _gradient_flow(state, system)
    return MatrixState(dW, dP, dW)


def _no_stop_gradient(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    W, P, _ = state
    PW = P @ W
    E = times(W, system.sigma_d) - times(PW, system.sigma_s)
    E_target = times(PW, system.sigma_d) - times(W, system.sigma_s)
    dW = (P.T @ E + E_target) / system.tau_online - system.weight_decay * W
    dP = E @ W.T / system.tau_predictor - system.weight_decay * P
    return MatrixState(dW, dP, dW)


def _symmetric(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    W, P, Th = state
    return MatrixState(W, (P + P.T) / 2, Th)


def _symmetric_predictor(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    dW, G = _gradient_flow(state, system)
    return MatrixState(dW, (G + G.T) / 2, (state.online - state.target) / system.tau_target)


def _optimal(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    return MatrixState(state.online, optimal_predictor(state, system), state.target)


def _slaved_predictor(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    dW, _ = _gradient_flow(state, system)
    return MatrixState(dW, 0.0 * state.predictor, (state.online - state.target) / system.tau_target)


full_field = VectorField("full", _full, target_rule=TargetRule.FOLLOWS).computed_in_place(
    gradient_flow(TargetRule.FOLLOWS)
)
"""E = Θ Σd − P W Σs; dW/dt = Pᵀ E/τo − η W, dP/dt = E Wᵀ/τp − η P, dΘ/dt = (W − Θ)/τt (R1, R29; DD 179–180)."""

fixed_target_field = VectorField(
    "fixed-target", _fixed_target, target_rule=TargetRule.FIXED
).computed_in_place(gradient_flow(TargetRule.FIXED))
"""The flow with Θ constant (R13)."""

no_predictor_field = VectorField("no-predictor", _no_predictor, _identity_predictor)
"""The flow with P = I constant: linear in (W, Θ) (R11; DD F.3)."""

no_ema_field = VectorField(
    "no-ema", _no_ema, _target_is_online, target_rule=TargetRule.ONLINE
).computed_in_place(gradient_flow(TargetRule.ONLINE))
"""The flow with Θ = W behind the stop-gradient (R14)."""

no_stop_gradient_field = VectorField("no-stop-gradient", _no_stop_gradient, _target_is_online)
"""Θ = W and the gradient through both branches: dW/dt = [Pᵀ(W Σd − P W Σs) + P W Σd − W Σs]/τo − η W (R12)."""

symmetric_predictor_field = VectorField("symmetric-predictor", _symmetric_predictor, _symmetric)
"""The flow projected on symmetric predictors: dP/dt = ½(G + Gᵀ), G the predictor's part of the flow (R19)."""

fast_predictor_field = VectorField("fast-predictor", _slaved_predictor, _optimal)
"""The limit τp → 0: P is optimal for the current W and Θ at all times, so W Wᵀ is conserved at η = 0 (R21)."""


def direct_field(name: str = "directpred", **options: Any) -> VectorField:
    """DirectPred or DirectSet flow: P is a function of F = W Σs Wᵀ at all times (R22).

    Parameters
    ----------
    name
        Name of the variant.
    **options
        options of `dynamics.fields.predictors.directpred_spectrum`.
    """

    def direct(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
        P = directpred_predictor(feature_covariance(state.online, system), **options)
        return MatrixState(state.online, P, state.target)

    return VectorField(name, _slaved_predictor, direct)


directpred_field = direct_field("directpred", epsilon=0.1, exponent=0.5)
"""P = Û diag(√s_j + 0.1 max s) Ûᵀ with F = Û diag(s) Ûᵀ (R22; NC)."""

directset_field = direct_field("directset", epsilon=0.0, exponent=1.0)
"""P = F, the DirectSet predictor with exponent 1 (R22)."""


def proportional_ema_field(ratio: Callable[[Any], Any]) -> VectorField:
    """The flow with a target proportional to the online weights, Θ = τ(t) W (R19, R20; NC).

    Parameters
    ----------
    ratio
        τ(t), a function of time.

    Examples
    --------
    >>> import numpy as np
    >>> system = MatrixSystem(np.eye(2), np.eye(2))
    >>> field = proportional_ema_field(lambda t: 0.5)
    >>> field.constrain(0.0, system.state(np.eye(2), np.eye(2)), system).target[0]
    array([0.5, 0. ])
    """

    def proportional(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
        return MatrixState(state.online, state.predictor, ratio(t) * state.online)

    return VectorField("proportional-ema", _fixed_target, proportional)


def aligned_field(ratio: Callable[[Any], Any]) -> VectorField:
    """The flow under the assumptions of NC: symmetric predictor and proportional target, Θ = τ(t) W.

    dW/dt = Pᵀ E/τo − η W,   dP/dt = ½(G + Gᵀ) with G = E Wᵀ/τp − η P

    Parameters
    ----------
    ratio
        τ(t), a function of time.

    Notes
    -----
    Source: R19; NC.

    Examples
    --------
    >>> import numpy as np
    >>> system = MatrixSystem(np.eye(2), np.eye(2))
    >>> state = system.state(np.eye(2), [[0.0, 1.0], [0.0, 0.0]])
    >>> aligned_field(lambda t: 0.5).constrain(0.0, state, system).predictor
    array([[0. , 0.5],
           [0.5, 0. ]])
    """
    proportional = proportional_ema_field(ratio)

    def constrain(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
        return proportional.constrain(t, symmetric_predictor_field.constrain(t, state, system), system)

    return replace(symmetric_predictor_field, name="aligned", constrain=constrain)
