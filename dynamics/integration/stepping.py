"""Runs of gradient descent: where they are at rest, and the period of those that are not (R301–R305)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dynamics.integration.discrete import EmaOrder, checked_step, gradient_step
from dynamics.integration.trajectory import Status, Trajectory
from dynamics.states import ModeState, State, pack, unpack
from dynamics.system import ModeSystem

LARGEST_DENSE = 800
"""Unknowns up to which the Jacobian of a step is formed to prove rest."""
_LOOK_AHEAD = 30
"""Rest is judged over the next 2³⁰ steps of the linearised map."""
_UNIT = 1e-7
"""How far an eigenvalue 1, along the fixed points around, may be found outside the unit circle: the square root of
rounding, where two of them meet."""
_LONGEST_PERIOD = 64
_AT_REST = 1e-8


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
    if remaining_way(state, system, step, ema_rate, order) <= _AT_REST:
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
