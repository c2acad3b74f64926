"""Gradient descent with real steps, and its moving average, in place of the flow (R301–R305).

One step of size ε changes W and P by ε times the field of the flow. The target moves by a rate h per step, in one of
two orders: `practical`, Θ⁺ = Θ + h(W⁺ − Θ), as trainers do, and `lagged`, Θ⁺ = Θ + h(W − Θ), the explicit Euler step
of the flow. Fixed points are those of the flow in both. h = 0 is a fixed target; h = 1 in the practical order is
SimSiam, a target without average.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np

from dynamics.fields.matrices import error_matrix, full_field
from dynamics.fields.modes import full_mode_field
from dynamics.fields.vector_field import VectorField
from dynamics.states import MatrixState, ModeState, State
from dynamics.system import MatrixSystem, ModeSystem


class EmaOrder(StrEnum):
    """Which encoder the moving average takes in: the one after the step, or the one before it."""

    PRACTICAL = "practical"
    LAGGED = "lagged"


def checked_step(step: float, ema_rate: float) -> None:
    """Refuse a step that is not positive and a rate of the moving average outside [0, 1].

    >>> checked_step(0.1, 2.0)
    Traceback (most recent call last):
    ValueError: `ema_rate` must be >= 0 and <= 1, got 2.0
    """
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"`step` must be finite and > 0, got {step}")
    if not 0 <= ema_rate <= 1:
        raise ValueError(f"`ema_rate` must be >= 0 and <= 1, got {ema_rate}")


def gradient_step(
    state: State, system: Any, step: Any, ema_rate: Any, order: EmaOrder = EmaOrder.PRACTICAL
) -> State:
    """One step of gradient descent and of the moving average.

        W⁺ = (1 − εη) W + ε PᵀE/τo,   P⁺ = (1 − εη) P + ε E Wᵀ/τp,   Θ⁺ = Θ + h (W⁺ or W − Θ)

    Parameters
    ----------
    state
        `ModeState` or `MatrixState`; floats, or SymPy symbols and JAX arrays.
    system
        A system of the same kind, or an object with its moments and rates, such as a batch. τt is not used.
    step
        ε > 0, in units of time. A loss without the factor ½ makes it 2ε, one that is symmetrised as well 4ε.
    ema_rate
        h in [0, 1], the share of the target that each step replaces; 1 − h is the momentum of the average.
    order
        Whether the average takes in W⁺ (practical) or W (lagged).

    Returns
    -------
    state
        After the step, of the kind that was given; not finite where it overflows.

    Notes
    -----
    Source: R301; RAFT, algorithm 1, line 12 for the practical order.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> gradient_step(system.state(1.0, 1.0, 1.0), system, 0.5, 0.1)
    ModeState(online=array([0.75]), predictor=array([0.75]), target=array([0.975]))
    """
    field = full_mode_field if isinstance(state, ModeState) else full_field
    moved = field.derivative(0.0, state, system)
    online = state[0] + step * moved[0]
    followed = online if EmaOrder(order) is EmaOrder.PRACTICAL else state[0]
    return state._make((online, state[1] + step * moved[1], state[2] + ema_rate * (followed - state[2])))


def balance_factor(error: Any, step: Any, system: Any) -> Any:
    """Factor by which one step multiplies the invariant of a mode, c⁺/c = (1 − εη)² − κ², κ = εe/√(τo τp).

    With a = √τo w1 + √τp w2 and b = √τo w1 − √τp w2 the step is a⁺ = (1 − εη + κ) a, b⁺ = (1 − εη − κ) b, and c = ab.

    Parameters
    ----------
    error
        e = θ λd − w2 w1 λs before the step, or that of a batch: it holds pathwise (R306).
    step
        ε > 0.
    system
        Gives τo, τp and η.

    Notes
    -----
    Source: R301, R306.

    Examples
    --------
    >>> balance_factor(0.5, 1.0, ModeSystem(1.0, 0.5))
    0.75
    """
    # (1 − εη − κ)(1 − εη + κ) keeps its sign where κ is near 1
    kappa = step * error / (system.tau_online * system.tau_predictor) ** 0.5
    kept = 1 - step * system.weight_decay
    return (kept - kappa) * (kept + kappa)


def balanced_after(state: MatrixState, system: MatrixSystem, step: float) -> np.ndarray:
    """Balance matrix after one step, C⁺ = (1 − εη)² C + ε² [Pᵀ E Eᵀ P/τo − W Eᵀ E Wᵀ/τp].

    Parameters
    ----------
    state, system
        W, P and Θ before the step; any Σs and Σd.
    step
        ε > 0.

    Returns
    -------
    array (n2, n2)
        τo W Wᵀ − τp Pᵀ P after the step, in either order of the average.

    Notes
    -----
    Source: R301.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(1), 0.5 * np.eye(1))
    >>> balanced_after(system.state([[2.0]], [[1.0]]), system, 1.0)
    array([[0.]])
    """
    from dynamics.invariants import balance_matrix

    E = error_matrix(state, system)
    pulled, pushed = state.predictor.T @ E, state.online @ E.T
    kept = (1 - step * system.weight_decay) ** 2 * balance_matrix(state, system)
    changed: np.ndarray = kept + step**2 * (
        pulled @ pulled.T / system.tau_online - pushed @ pushed.T / system.tau_predictor
    )
    return changed


def modified_field(step: float, order: EmaOrder = EmaOrder.PRACTICAL) -> VectorField:
    """The flow of modes that gradient descent follows to second order, dy/dt = f + ε(g − ½ f′f).

    Parameters
    ----------
    step
        ε >= 0; the rate of the average is h = ε/τt.
    order
        g = (0, 0, f_w/τt) in the practical order and 0 in the lagged one.

    Returns
    -------
    VectorField
        Of modes. A run of gradient descent is within O(ε²) of it at a fixed time.

    Notes
    -----
    Source: R304. On it dc/dt = −ε e² c/(τo τp) at η = 0, to leading order.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> modified_field(0.1)(0.0, system.state(1.0, 1.0, 1.0), system).online
    array([-0.5625])
    """
    practical = EmaOrder(order) is EmaOrder.PRACTICAL

    def derivative(t: Any, state: ModeState, system: ModeSystem) -> ModeState:
        w1, w2, th = state
        e = th * system.lambda_d - w2 * w1 * system.lambda_s
        f1, f2, f3 = full_mode_field.derivative(t, state, system)
        along_e = f3 * system.lambda_d - (f2 * w1 + w2 * f1) * system.lambda_s
        second = (
            (f2 * e + w2 * along_e) / system.tau_online - system.weight_decay * f1,
            (f1 * e + w1 * along_e) / system.tau_predictor - system.weight_decay * f2,
            (f1 - f3) / system.tau_target,
        )
        ahead = f1 / system.tau_target if practical else 0.0
        return ModeState(
            f1 - step / 2 * second[0], f2 - step / 2 * second[1], f3 + step * (ahead - second[2] / 2)
        )

    return VectorField("modified", derivative)


def balanced_map(y: Any, gain: Any) -> Any:
    """One step on the balanced sheet c = 0 without average, y⁺ = y + k y² (1 − y).

    Parameters
    ----------
    y
        w2/r, any shape; there τo w1² = τp w2² and θ = w1.
    gain
        k = ε λs r²/τo.

    Notes
    -----
    Source: R305.

    Examples
    --------
    >>> balanced_map(0.5, 2.0)
    0.75
    """
    return y + gain * y * y * (1 - y)
