"""The vector fields of decoupled eigenmodes, one function a variant, vectorised over modes.

With e = θ λd − w2 w1 λs, the full flow of one mode is

    dw1/dt = w2 e/τo − η w1,   dw2/dt = w1 e/τp − η w2,   dθ/dt = (w1 − θ)/τt.

They are the fields of `dynamics.fields.matrices` for 1×1 matrices (R3), under the same names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dynamics.fields.predictors import directpred_spectrum, optimal_mode_predictor
from dynamics.fields.vector_field import VectorField
from dynamics.quadratic import are_floats, product
from dynamics.states import ModeState
from dynamics.system import ModeSystem


def _gradient_flow(state: ModeState, system: ModeSystem) -> tuple[Any, Any]:
    w1, w2, th = state
    e = th * system.lambda_d - w2 * w1 * system.lambda_s
    return (
        w2 * e / system.tau_online - system.weight_decay * w1,
        w1 * e / system.tau_predictor - system.weight_decay * w2,
    )


def _target_is_online(t: Any, state: ModeState, system: ModeSystem) -> ModeState:
    return ModeState(state.online, state.predictor, state.online)


def _full(t: Any, state: ModeState, system: ModeSystem) -> ModeState:
    dw1, dw2 = _gradient_flow(state, system)
    return ModeState(dw1, dw2, (state.online - state.target) / system.tau_target)


def _fixed_target(t: Any, state: ModeState, system: ModeSystem) -> ModeState:
    dw1, dw2 = _gradient_flow(state, system)
    return ModeState(dw1, dw2, 0.0 * state.target)


def _predictor_is_online(t: Any, state: ModeState, system: ModeSystem) -> ModeState:
    return ModeState(state.online, state.online, state.target)


def _require_tied(state: ModeState, system: ModeSystem) -> None:
    if np.any(np.asarray(state.online) != np.asarray(state.predictor)):
        raise ValueError(
            "the tied variant must start with `predictor` = `online`,"
            f" got online {np.asarray(state.online)} and predictor {np.asarray(state.predictor)}"
        )
    if np.any(np.asarray(system.tau_online) != np.asarray(system.tau_predictor)):
        raise ValueError(
            "the tied variant must have `tau_online` = `tau_predictor`,"
            f" got {system.tau_online} and {system.tau_predictor}"
        )


def _identity_predictor(t: Any, state: ModeState, system: ModeSystem) -> ModeState:
    return ModeState(state.online, 0.0 * state.predictor + 1.0, state.target)


def _no_predictor(t: Any, state: ModeState, system: ModeSystem) -> ModeState:
    w1, w2, th = state
    e = th * system.lambda_d - w1 * system.lambda_s
    dw1 = e / system.tau_online - system.weight_decay * w1
    return ModeState(dw1, 0.0 * w2, (w1 - th) / system.tau_target)


def _no_ema(t: Any, state: ModeState, system: ModeSystem) -> ModeState:
    dw1, dw2 = _gradient_flow(state, system)
    return ModeState(dw1, dw2, dw1)


def _no_stop_gradient(t: Any, state: ModeState, system: ModeSystem) -> ModeState:
    w1, w2, _ = state
    e = w1 * system.lambda_d - w2 * w1 * system.lambda_s
    e_target = w2 * w1 * system.lambda_d - w1 * system.lambda_s
    dw1 = (w2 * e + e_target) / system.tau_online - system.weight_decay * w1
    dw2 = w1 * e / system.tau_predictor - system.weight_decay * w2
    return ModeState(dw1, dw2, dw1)


def _optimal(t: Any, state: ModeState, system: ModeSystem) -> ModeState:
    return ModeState(state.online, optimal_mode_predictor(state, system), state.target)


def _slaved_predictor(t: Any, state: ModeState, system: ModeSystem) -> ModeState:
    w1, w2, th = state
    dw1, _ = _gradient_flow(state, system)
    return ModeState(dw1, 0.0 * w2, (w1 - th) / system.tau_target)


full_mode_field = VectorField("full", _full)
"""dw1/dt = w2 e/τo − η w1, dw2/dt = w1 e/τp − η w2, dθ/dt = (w1 − θ)/τt (R3)."""

fixed_target_mode_field = VectorField("fixed-target", _fixed_target)
"""The flow with θ constant (R13)."""

tied_mode_field = VectorField("tied", _full, _predictor_is_online, _require_tied)
"""w1 = w2 = w with τo = τp: dw/dt = w(θ λd − w² λs)/τ − η w (R7); both weights are carried, equal."""

no_predictor_mode_field = VectorField("no-predictor", _no_predictor, _identity_predictor)
"""w2 = 1 constant: linear in (w1, θ) (R11)."""

no_ema_mode_field = VectorField("no-ema", _no_ema, _target_is_online)
"""θ = w1 behind the stop-gradient (R14)."""

no_stop_gradient_mode_field = VectorField("no-stop-gradient", _no_stop_gradient, _target_is_online)
"""θ = w1 and the gradient through both branches (R12)."""

symmetric_predictor_mode_field = VectorField("symmetric-predictor", _full)
"""A 1×1 predictor is symmetric: the full flow."""

fast_predictor_mode_field = VectorField("fast-predictor", _slaved_predictor, _optimal)
"""The limit τp → 0: w2 = θ λd/(w1 λs), hence e = 0 and w1 is conserved at η = 0 (R21)."""


def direct_mode_field(name: str = "directpred", **options: Any) -> VectorField:
    """DirectPred or DirectSet on each mode by itself: w2 is a function of s = λs w1² (R22).

    Parameters
    ----------
    name
        Name of the variant.
    **options
        options of `dynamics.fields.predictors.directpred_spectrum`.
    """

    def direct(t: Any, state: ModeState, system: ModeSystem) -> ModeState:
        w1 = state.online
        if are_floats(system.lambda_s, w1):  # infinite where that is beyond floats
            s = product(system.lambda_s, w1, w1)
        else:
            s = system.lambda_s * w1**2
        w2 = directpred_spectrum(s[..., None], **options)[..., 0]
        return ModeState(state.online, w2, state.target)

    return VectorField(name, _slaved_predictor, direct)


directpred_mode_field = direct_mode_field("directpred", epsilon=0.1, exponent=0.5)
"""w2 = √s + 0.1 s with s = λs w1² (R22; NC)."""

directset_mode_field = direct_mode_field("directset", epsilon=0.0, exponent=1.0)
"""w2 = s = λs w1² (R22)."""


def proportional_ema_mode_field(ratio: Callable[[Any], Any]) -> VectorField:
    """The flow with a target proportional to the online weight, θ = τ(t) w1 (R19, R20; NC).

    Parameters
    ----------
    ratio
        τ(t), a function of time.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> proportional_ema_mode_field(lambda t: 0.5).constrain(0.0, system.state(online=0.2), system).target
    array([0.1])
    """

    def proportional(t: Any, state: ModeState, system: ModeSystem) -> ModeState:
        return ModeState(state.online, state.predictor, ratio(t) * state.online)

    return VectorField("proportional-ema", _fixed_target, proportional)
