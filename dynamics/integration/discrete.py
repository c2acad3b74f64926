"""Gradient descent with real steps, and its moving average, in place of the flow (R301–R305).

One step of size ε changes W and P by ε times the field of the flow. The target moves by a rate h per step, in one of
two orders: `practical`, Θ⁺ = Θ + h(W⁺ − Θ), as trainers do, and `lagged`, Θ⁺ = Θ + h(W − Θ), the explicit Euler step
of the flow. Fixed points are those of the flow in both. h = 0 is a fixed target; h = 1 in the practical order is
SimSiam, a target without average.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

import numpy as np

from dynamics.fields.matrices import error_matrix, full_field
from dynamics.fields.modes import full_mode_field
from dynamics.fields.vector_field import VectorField
from dynamics.integration.trajectory import Status, Trajectory
from dynamics.states import MatrixState, ModeState, State, pack, unpack
from dynamics.system import MatrixSystem, ModeSystem

LARGEST_DENSE = 800
"""Unknowns up to which the Jacobian of a step is formed to prove rest."""
_LOOK_AHEAD = 30
"""Rest is judged over the next 2³⁰ steps of the linearised map."""
_UNIT = 1e-7
"""How far an eigenvalue 1, along the fixed points around, may be found outside the unit circle: the square root of
rounding, where two of them meet."""
_LONGEST_PERIOD = 64


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


def iterate(
    state: State,
    system: Any,
    step: float,
    ema_rate: float,
    n_steps: int,
    order: EmaOrder = EmaOrder.PRACTICAL,
    *,
    rtol: float = 1e-10,
    n_saved: int = 1000,
    batches: Iterator[Any] | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> Trajectory[State]:
    """Follow gradient descent for a number of steps, or until it is at rest.

    Parameters
    ----------
    state, system
        Start, and a system of the same kind.
    step, ema_rate, order
        As for `gradient_step`.
    n_steps
        Number of steps, >= 1.
    rtol
        What counts as rest, relative to the largest weight (of each mode): see below.
    n_saved
        States that are kept, about, evenly spaced, besides the start and the end.
    batches
        Endless iterator over systems, one per step, such as `batch_noise.batches`; then nothing is ever at rest.
    progress
        Called as progress(done, total).

    Returns
    -------
    Trajectory
        Times are ε times the number of steps. `steady` where the map, linearised at the end, goes no farther than
        `rtol` in the next 2³⁰ steps: an unstable point is not rest, and neither is an orbit of period 2 (`orbit_period`
        tells it). `diverged` with the last finite state where a weight overflows; else `end-time`.

    Raises
    ------
    ValueError
        The step, the rate or a number of steps is out of range.

    Notes
    -----
    Source: R301–R303.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> run = iterate(system.state(0.3, 0.1, 0.3), system, 0.5, 0.5, 1000)
    >>> run.status.value, run.final.online.round(7)
    ('steady', array([0.5717574]))
    """
    checked_step(step, ema_rate)
    for name, number in (("n_steps", n_steps), ("n_saved", n_saved)):
        if number < 1:
            raise ValueError(f"`{name}` must be an integer >= 1, got {number}")
    order = EmaOrder(order)
    block = max(1, n_steps // n_saved)
    ts, kept, status, done = [0.0], [state], Status.END_TIME, 0
    look_again = np.inf
    distance = np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        while done < n_steps and status is Status.END_TIME:
            for _ in range(min(block, n_steps - done)):
                before = state
                seen = system if batches is None else next(batches)
                state = gradient_step(before, seen, step, ema_rate, order)
                done += 1
                if not all(np.all(np.isfinite(part)) for part in state):
                    state, done, status = before, done - 1, Status.DIVERGED
                    break
            if step * done > ts[-1]:
                ts.append(step * done)
                kept.append(state)
            if progress is not None:
                progress(done, n_steps)
            if status is Status.END_TIME and batches is None:
                moved = _moved(before, state)
                if moved <= min(1e3 * rtol, look_again) or done == n_steps:
                    distance = remaining_way(state, system, step, ema_rate, order)
                    if distance <= rtol:
                        status = Status.STEADY
                    look_again = moved / 2
    states = state._make(np.stack(part) for part in zip(*kept, strict=True))
    return Trajectory(np.array(ts), states, status, "gradient-descent", done, done, 0, distance)


def _scales(state: Any) -> list[Any]:
    """Size that each part is measured by: its largest weight, for modes one by one."""
    if isinstance(state, ModeState):
        size = np.max(np.abs(np.stack([np.asarray(part, dtype=np.float64) for part in state])), axis=0)
    else:
        size = np.max([np.max(np.abs(part)) for part in state])
    return [np.where(size == 0, 1.0, size)] * len(state)


def _moved(before: Any, after: Any) -> float:
    """Largest change of one step, relative to the sizes of the state before it."""
    return max(
        float(np.max(np.abs(b - a) / scale))
        for a, b, scale in zip(before, after, _scales(before), strict=True)
    )


def step_jacobian(
    state: Any, system: Any, step: float, ema_rate: float, order: EmaOrder = EmaOrder.PRACTICAL
) -> np.ndarray:
    """Jacobian of one step over the packed state, dense, shape (n, n), by complex steps: exact to rounding.

    >>> system = ModeSystem(1.0, 0.5)
    >>> step_jacobian(system.state(0.0, 1.0, 0.0), system, 0.5, 0.1).round(3)
    array([[0.5  , 0.   , 0.25 ],
           [0.   , 1.   , 0.   ],
           [0.05 , 0.   , 0.925]])
    """
    y = pack(state)
    tiny = 1e-100
    columns = []
    for k in range(y.size):
        nudged = y.astype(np.complex128)
        nudged[k] += 1j * tiny
        moved = gradient_step(unpack(nudged, state), system, step, ema_rate, order)
        columns.append(np.concatenate([np.ravel(part).imag for part in moved]) / tiny)
    return np.stack(columns, axis=1)


def remaining_way(
    state: Any, system: Any, step: float, ema_rate: float, order: EmaOrder = EmaOrder.PRACTICAL
) -> float:
    """How far the map, linearised at a state, goes in the next 2³⁰ steps, relative to the largest weight.

    Small only at rest: an unstable direction, however faint, goes far. Infinite where that is more than floats hold, or
    where a Jacobian of more than `LARGEST_DENSE` unknowns would have to be formed; zero where the step moves nothing.
    """
    if isinstance(state, ModeState):
        return max(
            _linear_way(*one_mode(state, system, k), step, ema_rate, order) for k in range(system.n_modes)
        )
    return _linear_way(state, system, step, ema_rate, order)


def one_mode(state: ModeState, system: ModeSystem, k: int) -> tuple[ModeState, ModeSystem]:
    """State and system of mode k alone."""
    names = ("tau_online", "tau_predictor", "tau_target", "weight_decay")
    rates = {name: float(np.broadcast_to(getattr(system, name), system.lambda_s.shape)[k]) for name in names}
    one = ModeSystem(system.lambda_s[k], system.lambda_d[k], **rates)
    return ModeState(*(part[k : k + 1] for part in state)), one


def _linear_way(state: Any, system: Any, step: float, ema_rate: float, order: EmaOrder) -> float:
    y = pack(state)
    moved = pack(gradient_step(state, system, step, ema_rate, order)) - y
    if not np.any(moved):
        return 0.0
    if y.size > LARGEST_DENSE:
        return float(np.inf)
    scale = np.concatenate(
        [
            np.broadcast_to(size, np.shape(part)).ravel()
            for size, part in zip(_scales(state), state, strict=True)
        ]
    )
    jacobian = step_jacobian(state, system, step, ema_rate, order) * scale / scale[:, None]
    if np.max(np.abs(np.linalg.eigvals(jacobian))) > 1 + _UNIT:
        return float(np.inf)
    # the last digit of a weight may go on flickering: that leads nowhere along the fixed points around
    flicker = np.abs(moved) <= 4 * np.finfo(float).eps * scale
    # [[J, d], [0, 1]] maps (way, 1) to the way after one more step; squared 30 times
    affine = np.eye(y.size + 1)
    affine[:-1, :-1] = jacobian
    affine[:-1, -1] = np.where(flicker, 0.0, moved / scale)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(_LOOK_AHEAD):
            affine = affine @ affine
            if not np.all(np.isfinite(affine)):
                return float(np.inf)
    return float(np.max(np.abs(affine[:-1, -1])))


def orbit_period(
    state: Any, system: Any, step: float, ema_rate: float, order: EmaOrder = EmaOrder.PRACTICAL
) -> int | None:
    """Period of the orbit of the map through a state: 1 at a fixed point, 2 past the first doubling.

    Parameters
    ----------
    state, system, step, ema_rate, order
        The end of a run of `iterate`.

    Returns
    -------
    int or None
        Smallest p <= 64 for which the orbit returns after p steps to within 10⁻⁶ of what one step moves it, for two
        rounds. A run that spirals or flips to rest returns only where its rate is within 10⁻⁶ of 1. None where there
        is no such p: chaos, a transient, or overflow.

    Notes
    -----
    Source: R305.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> end = iterate(system.state(0.4, 0.4, 0.4), system, 2.1 / 0.25, 1.0, 2000).final
    >>> orbit_period(end, system, 2.1 / 0.25, 1.0)
    2
    """
    if _linear_way(state, system, step, ema_rate, order) == 0.0:
        return 1
    orbit = [pack(state)]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(2 * _LONGEST_PERIOD):
            state = gradient_step(state, system, step, ema_rate, order)
            orbit.append(pack(state))
    path = np.stack(orbit)
    if not np.all(np.isfinite(path)):
        return None
    one = float(np.max(np.abs(np.diff(path, axis=0))))
    rounding = 64 * np.finfo(float).eps * float(np.max(np.abs(path)))
    if one <= rounding:
        return 1
    for period in range(2, _LONGEST_PERIOD + 1):
        if np.max(np.abs(path[period:] - path[:-period])) <= 1e-6 * one + rounding:
            return period
    return None
