"""What a thread on CUDA does with one trajectory: the device functions of `dynamics.integration.cuda_kernels`."""

from __future__ import annotations

import sys
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np
from numba import njit
from numba.core.dispatcher import Dispatcher

from dynamics.integration import explicit_pair as pair
from dynamics.integration import mode_course
from dynamics.integration.explicit_pair import FLOW
from dynamics.integration.mode_course import STIFF
from dynamics.integration.mode_ends import END_TIME, RUNNING, STEADY, UNDECIDED
from dynamics.integration.numba_cuda import SIMULATED

# A record: state, slope, time, step to try, speed at which to look, end time, (λs, λd, 1/τo, 1/τp, 1/τt, η), and for
# runs that keep states the speed to go back to after each of them. Sixteen float64 are one line of the GPU's cache.
Y, K, T, H, LOOK, END, P, USUAL = 0, 3, 6, 7, 8, 9, 10, 16


@cache
def _without_fast_math(module: str) -> dict[str, Any]:
    """Names of a module of the pair, whose functions are compiled afresh, each calling the others' new versions.

    Numba's CUDA knows fast mathematics as a whole or not at all, and as a whole it takes for granted that nothing is
    NaN or infinite, by which a trajectory that runs away is told. Multiplications and additions are fused in any case.
    """
    names = dict(vars(sys.modules[module]))
    functions = {
        name: item.py_func
        for name, item in names.items()
        if isinstance(item, Dispatcher) and item.py_func.__module__ == module
    }
    for name, function in functions.items():
        again = FunctionType(function.__code__, names, name, function.__defaults__, function.__closure__)
        names[name] = njit(forceinline=True, error_model="numpy")(again)
    return names


def _of_the_pair(name: str) -> Any:
    function = getattr(pair, name)
    return function if SIMULATED else _without_fast_math(function.py_func.__module__)[name]


attempt, step, derivative, constrained, opening, departure, size_of, chosen, smaller, widened = (
    _of_the_pair(name)
    for name in (
        *("attempt", "step", "derivative", "constrained", "opening", "departure"),
        *("size", "chosen", "smaller", "wide"),
    )
)
finished = FLOW["finished"]
# Numba's simulator of CUDA hands out arrays that only interpreted code can take
brought_to_its_end = (vars(mode_course) if SIMULATED else FLOW)["brought_to_its_end"]


def _device(function: Any) -> Any:
    return function if SIMULATED else njit(forceinline=True, error_model="numpy")(function)


@_device
def start_of(given: Any, stride: Any, i: Any) -> Any:
    """(w1, w2, θ) that trajectory i starts from."""
    return given[6][i * stride[6]], given[7][i * stride[7]], given[8][i * stride[8]]


@_device
def rates_of(given: Any, stride: Any, i: Any) -> Any:
    """(λs, λd, τo, τp, τt, η) of trajectory i, as `mode_course` takes them."""
    return (
        np.float64(given[0][i * stride[0]]),
        np.float64(given[1][i * stride[1]]),
        np.float64(given[2][i * stride[2]]),
        np.float64(given[3][i * stride[3]]),
        np.float64(given[4][i * stride[4]]),
        np.float64(given[5][i * stride[5]]),
    )


@_device
def three(records: Any, j: Any, field: Any) -> Any:
    """State or slope of a record."""
    return records[j, field], records[j, field + 1], records[j, field + 2]


@_device
def parameters_of(records: Any, j: Any) -> Any:
    """(λs, λd, 1/τo, 1/τp, 1/τt, η) of a record, as the pair takes them."""
    return (
        records[j, P],
        records[j, P + 1],
        records[j, P + 2],
        records[j, P + 3],
        records[j, P + 4],
        records[j, P + 5],
    )


@_device
def resumed(records: Any, j: Any) -> Any:
    """State, slope, time, step to try, end time and speed at which to look of a record."""
    y, k = three(records, j, Y), three(records, j, K)
    return y, k, records[j, T], records[j, H], records[j, END], records[j, LOOK]


@_device
def keep(records: Any, j: Any, y: Any, k: Any, t: Any, h: Any, own_look: Any) -> None:
    """Write what moves to a record."""
    records[j, Y], records[j, Y + 1], records[j, Y + 2] = y
    records[j, K], records[j, K + 1], records[j, K + 2] = k
    records[j, T], records[j, H], records[j, LOOK] = t, h, own_look


@_device
def next_save(save_at: Any, s: Any, end: Any) -> Any:
    """Next time at which the state is asked for: one of `save_at`, or the end."""
    return smaller(save_at[s], end) if s < save_at.size else end


@_device
def tried(
    form: Any, y: Any, k: Any, t: Any, h: Any, end: Any, p: Any, rtol: Any, atol: Any, tableau: Any
) -> Any:
    """State, slope and time after a try, the next step to try, and whether the try was accepted."""
    final = t + h >= end
    h = end - t if final else h
    new, slope, accepted, proposed = attempt(form, y, k, h, p, rtol, atol, tableau)
    later = (end if final else t + h) if accepted else t
    return chosen(accepted, new, y), chosen(accepted, slope, k), later, proposed, accepted


@_device
def kept_states(
    form: Any, y: Any, t_old: Any, t: Any, p: Any, tableau: Any, save_at: Any, s: Any, i: Any, saved: Any
) -> Any:
    """Write the states at the times `save_at` that a step from y at `t_old` has passed, and count them."""
    while s < save_at.size and t >= save_at[s]:
        x, _, _ = step(form, y, save_at[s] - t_old, derivative(form, y, p), p, tableau)
        x = constrained(form, x, p)
        saved[0][s, i], saved[1][s, i], saved[2][s, i] = x
        s += 1
    return s


@_device
def judged(
    form: Any,
    start: Any,
    rates: Any,
    y: Any,
    k: Any,
    t: Any,
    h: Any,
    end: Any,
    until: Any,
    keeping: Any,
    own_look: Any,
    rtol: Any,
    atol: Any,
    epsilon: Any,
) -> Any:
    """How a trajectory goes on or ends, in which state, and what it did; the time and the state it has come to.

    `keeping` says that a state is to be kept at the time `until`.
    """
    if (t < end and not h > epsilon * t) or not size_of(y) < np.inf:
        return STIFF, y, UNDECIDED, t, y
    if t < end and not size_of(k) <= own_look:
        return RUNNING, y, UNDECIDED, t, y
    left = until - t if t < end else t - t
    outcome, x, fate, passed = finished(
        *(form, widened(start), widened(y), rates, np.float64(left)),
        *(np.float64(rtol), np.float64(atol)),
    )
    if t >= end:
        return END_TIME, y, fate, t, y
    z = type(t)(x[0]), type(t)(x[1]), type(t)(x[2])
    if passed > 0 and keeping:
        return STIFF, y, fate, t, y  # which keeps states on its way
    if passed > 0:
        return outcome, z, fate, end, z
    return outcome, z, fate, t, y


@_device
def concluded(
    form: Any,
    i: Any,
    outcome: Any,
    fate: Any,
    z: Any,
    y: Any,
    t: Any,
    start: Any,
    p: Any,
    end: Any,
    tries: Any,
    rejected: Any,
    found: Any,
    status: Any,
    fates: Any,
    counts: Any,
    save_at: Any,
    s: Any,
    saved: Any,
) -> None:
    """Write the results of trajectory i, which ended in z; y is where it was at time t."""
    if outcome != STEADY:  # an end is on the variant's states already
        z = constrained(form, z, p)
    while outcome == STEADY and s < save_at.size and save_at[s] <= end:
        if save_at[s] > t:
            saved[0][s, i], saved[1][s, i], saved[2][s, i] = z
        s += 1
    found[0][i], found[1][i], found[2][i] = z
    found[3][i], found[4][i] = t, departure(form, start, y, p, t)
    status[i], fates[i] = outcome, fate
    counts[0][i], counts[1][i] = tries - rejected, rejected
