"""The compiled part of `dynamics.integration.ensemble`: an explicit pair, and its lanes on the CPU.

A trajectory is advanced by `attempt`, one try of the embedded Runge–Kutta pair of Tsitouras (2011) of order 5(4)
with its step control. On the CPU `lane_kernel` keeps `LANES` trajectories in one array, field by field, so that the
compiler turns the loop over lanes into vector instructions; a lane that has ended is refilled at once. The same pair
runs on CUDA in `dynamics.integration.cuda_kernels`.

A trajectory whose rates lie far apart would take explicit steps for ever. One that has not ended after `HANDOVER`
tries, or that numbers at their own scale do not hold, is brought to its end by the stiff method of
`dynamics.integration.mode_flow`, compiled here from the same source that integrates single runs. The proof of rest
is there too.

Numba's cache on disk notices changes of the file that a kernel is in, of no other: so the text of `mode_flow` is part
of every kernel's key. This module imports Numba: only `dynamics.integration.ensemble` imports it, when it is called.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from numba import njit, types

from dynamics.integration import mode_flow
from dynamics.integration.mode_flow import (
    DIRECT,
    END_TIME,
    FAST,
    FIXED,
    IDENTITY,
    MAX_STEPS,
    NO_EMA,
    NO_STOP,
    NOT_YET,
    RUNNING,
    STEADY,
    STIFF,
    TIED,
    UNDECIDED,
)

LANES = 64  # a multiple of what the widest vector registers hold, in float32 too
HANDOVER = 400
"""Tries of the explicit pair after which the stiff method takes over."""

# NaN and infinity keep their meaning: a trajectory that runs away is told by them.
FAST_MATH = {"contract", "reassoc", "nsz", "arcp"}
_device = njit(forceinline=True, fastmath=FAST_MATH, error_model="numpy")


def _compiled(module: ModuleType) -> dict[str, Any]:
    """Compile the functions of a module that runs without Numba too, each calling the others' compiled versions."""
    names: dict[str, Any] = dict(vars(module))
    functions = {name: item for name, item in names.items() if isinstance(item, FunctionType)}
    for name, function in functions.items():
        names[name] = njit(FunctionType(function.__code__, names, name), error_model="numpy", cache=True)
    return {name: names[name] for name in functions}


FLOW = _compiled(mode_flow)
looked, brought_to_its_end = FLOW["looked"], FLOW["brought_to_its_end"]
_VERSION = zlib.crc32(Path(mode_flow.__file__).read_bytes())  # a constant of every kernel, hence in its key

TABLEAU = (
    (0.161,),
    (-0.008480655492356989, 0.335480655492357),
    (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
    (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
    (
        5.86145544294642,
        -12.92096931784711,
        8.159367898576159,
        -0.071584973281401,
        -0.028269050394068383,
    ),
    (
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
    ),
    (
        -0.00178001105222577714,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        0.015151515151515152,
    ),
)
"""Tsitouras' pair: the stages, the step of order 5, whose slope opens the next step, and its error."""

# Of the narrower type: beside a float64 they are one, while a Python number would turn a float32 into a float64.
ZERO, ONE = np.float32(0), np.float32(1)


@_device
def _larger(a: Any, b: Any) -> Any:
    # unlike max() this is one instruction, gives b if a is NaN, and exists on CUDA
    return a if a > b else b


@_device
def _smaller(a: Any, b: Any) -> Any:
    return a if a < b else b


# --- the flow -----------------------------------------------------------------------------------------------
# form = (kind, α½, α1), see `dynamics.variants`; y = (w1, w2, θ); p = (λs, λd, 1/τo, 1/τp, 1/τt, η)


@_device
def constrained(form: Any, y: Any, p: Any) -> Any:
    """The state on which the variant lives, as `VectorField.constrain`."""
    w1, w2, th = y
    kind = form[0]
    if kind == TIED:
        return w1, w1, th
    if kind == IDENTITY:
        return w1, w2 * ZERO + ONE, th
    if kind in (NO_EMA, NO_STOP):
        return w1, w2, w1
    if kind == FAST:
        return w1, (th * p[1] / (w1 * p[0]) if w1 != ZERO else w1), th
    if kind == DIRECT:
        s = _larger(p[0] * w1 * w1, p[0] * ZERO)
        return w1, type(s)(form[1]) * math.sqrt(s) + type(s)(form[2]) * s, th
    return y


@_device
def derivative(form: Any, y: Any, p: Any) -> Any:
    """d(w1, w2, θ)/dt of the variant, as its field in `dynamics.fields.modes`."""
    w1, w2, th = constrained(form, y, p)
    kind = form[0]
    ls, ld, over_to, over_tp, over_tt, eta = p
    if kind == IDENTITY:
        return (th * ld - w1 * ls) * over_to - eta * w1, w2 * ZERO, (w1 - th) * over_tt
    e = th * ld - w2 * w1 * ls
    pull = w2 * e + (w2 * w1 * ld - w1 * ls) if kind == NO_STOP else w2 * e
    dw1 = pull * over_to - eta * w1
    dw2 = w1 * e * over_tp - eta * w2
    if kind in (FAST, DIRECT):
        dw2 = w2 * ZERO
    if kind == FIXED:
        return dw1, dw2, th * ZERO
    if kind in (NO_EMA, NO_STOP):
        return dw1, dw2, dw1
    return dw1, dw2, (w1 - th) * over_tt


# --- the step -----------------------------------------------------------------------------------------------


@_device
def _scaled(a: Any, x: Any) -> Any:
    return a * x[0], a * x[1], a * x[2]


@_device
def _axpy(a: Any, x: Any, y: Any) -> Any:
    return a * x[0] + y[0], a * x[1] + y[1], a * x[2] + y[2]


@_device
def step(form: Any, y: Any, h: Any, k1: Any, p: Any, tableau: Any) -> Any:
    """One step of Tsitouras' pair: the state after it, its slope there, and the estimated error."""
    (a,) = tableau[0]
    k2 = derivative(form, _axpy(h * a, k1, y), p)
    a, b = tableau[1]
    k3 = derivative(form, _axpy(h, _axpy(b, k2, _scaled(a, k1)), y), p)
    a, b, c = tableau[2]
    k4 = derivative(form, _axpy(h, _axpy(c, k3, _axpy(b, k2, _scaled(a, k1))), y), p)
    a, b, c, d = tableau[3]
    k5 = derivative(form, _axpy(h, _axpy(d, k4, _axpy(c, k3, _axpy(b, k2, _scaled(a, k1)))), y), p)
    a, b, c, d, e = tableau[4]
    slope = _axpy(e, k5, _axpy(d, k4, _axpy(c, k3, _axpy(b, k2, _scaled(a, k1)))))
    k6 = derivative(form, _axpy(h, slope, y), p)
    a, b, c, d, e, f = tableau[5]
    slope = _axpy(f, k6, _axpy(e, k5, _axpy(d, k4, _axpy(c, k3, _axpy(b, k2, _scaled(a, k1))))))
    z = _axpy(h, slope, y)
    k7 = derivative(form, z, p)
    a, b, c, d, e, f, g = tableau[6]
    error = _axpy(f, k6, _axpy(e, k5, _axpy(d, k4, _axpy(c, k3, _axpy(b, k2, _scaled(a, k1))))))
    return z, k7, _scaled(h, _axpy(g, k7, error))


@_device
def _size(y: Any) -> Any:
    return _larger(_larger(abs(y[0]), abs(y[1])), abs(y[2]))


@_device
def _chosen(first: Any, x: Any, y: Any) -> Any:
    return x[0] if first else y[0], x[1] if first else y[1], x[2] if first else y[2]


@_device
def attempt(form: Any, y: Any, k: Any, h: Any, p: Any, rtol: Any, atol: Any, tableau: Any) -> Any:
    """Try a step of size h: the state and slope after it, whether it is accurate enough, and the next step size.

    The error of w1 and θ is measured against the encoder, which leaves and approaches zero by multiplication, that of
    w2 against the larger of both. The step changes by 0.9 error^(−3/16), four square roots in single precision: the
    exponent −1/5 would take a power.
    """
    z, slope, error = step(form, y, h, k, p, tableau)
    encoder = _larger(abs(y[0]), abs(z[0]))
    if form[0] not in (FIXED, FAST, DIRECT):
        encoder = _larger(encoder, _larger(abs(y[2]), abs(z[2])))
    predictor = _larger(encoder, _larger(abs(y[1]), abs(z[1])))
    # w2 first and w1 last: a NaN anywhere is one in the error of w1, and of two numbers _larger gives that
    follower = error[2]
    if form[0] in (FAST, DIRECT):  # their θ is not bounded by w1, whose sign it must not hide
        follower = follower * (encoder / _larger(encoder, _larger(abs(y[2]), abs(z[2]))))
    relative = _larger(
        np.float32(abs(error[1])) / np.float32(atol + rtol * predictor),
        np.float32(_larger(abs(follower), abs(error[0]))) / np.float32(TINY + rtol * encoder),
    )
    accepted = relative <= np.float32(1)
    eighth = math.sqrt(math.sqrt(math.sqrt(relative)))
    factor = _larger(np.float32(0.9) / (eighth * math.sqrt(eighth)), np.float32(0.2))
    factor = factor if factor < np.float32(8) else np.float32(8)
    return z, slope, accepted, factor * h


# --- rest, and what a trajectory did --------------------------------------------------------------------------


@_device
def opening(form: Any, start: Any, p: Any, rtol: Any, first_way: Any, look: Any) -> Any:
    """Constrained start, its slope, the first step to try, and the speed to look at.

    The first step moves Euler's method by a fraction `first_way` of the state.
    """
    y = constrained(form, start, p)
    k = derivative(form, y, p)
    size, speed = _size(y), _size(k)
    h = first_way * size / speed if speed > ZERO else ONE / p[4]
    return y, k, h, look * p[4] * _larger(size, abs(p[1] / p[0]) if p[0] != ZERO else size)


@_device
def departure(form: Any, start: Any, y: Any, p: Any, t: Any) -> Any:
    """How far c = τo w1² − τp w2² has come off e^{−2ηt} c(0) (R2)."""
    a, b, _ = constrained(form, start, p)
    c0 = (a * a) / p[2] - (b * b) / p[3]
    a, b, _ = constrained(form, y, p)
    return abs((a * a) / p[2] - (b * b) / p[3] - c0 * math.exp(-(p[5] + p[5]) * t))


# --- drivers ------------------------------------------------------------------------------------------------

# Fields of a lane. LOOK is the speed below which it may be at rest, EVENT that there is something to see to.
(T, H, END, SAVE, LOOK, REJECTED, EVENT) = (np.uint64(i * LANES) for i in range(7))
(W1, W2, TH, K1, K2, K3, OLD_T, OLD_1, OLD_2, OLD_3) = (np.uint64(i * LANES) for i in range(7, 17))
(LS, LD, TO, TP, TT, ETA) = (np.uint64(i * LANES) for i in range(17, 23))
_FIELDS = 23
PAUSE = 16
"""Tries until a trajectory that was seen not to be at rest is looked at again."""
_NEVER = 2**62
TINY = np.float32(1e-30)


def numbers(dtype: str) -> tuple[Any, Any, Any]:
    """Scalar type, tableau and machine epsilon."""
    real = np.dtype(dtype).type
    return real, tuple(tuple(real(a) for a in row) for row in TABLEAU), np.finfo(real).eps


@cache
def lane_kernel(form: tuple[int, float, float], dtype: str, saving: bool) -> Callable[..., None]:
    """Compile, or load from the cache on disk, the kernel of a variant for the CPU.

    kernel(first, last, given, control, max_steps, found, status, fate, counts, save_at, saved): trajectories
    first <= i < last of the arrays in `given`, (λs, λd, τo, τp, τt, η, w1, w2, θ, t_end); control = (rtol, atol,
    first_way, look); found = (w1, w2, θ, t, drift); counts = (accepted, rejected); `save_at` (K,) and saved, three
    arrays (K, N), are not touched unless `saving`.
    """
    real, tableau, epsilon = numbers(dtype)
    version = _VERSION
    scalar = types.float64 if real is np.float64 else types.float32
    given, kept = types.Array(scalar, 1, "A", readonly=True), types.Array(scalar, 1, "C")
    status, counts = types.Array(types.uint8, 1, "C"), types.Array(types.uint32, 1, "C")
    signature = types.void(
        *(types.int64, types.int64, types.UniTuple(given, 10), types.UniTuple(scalar, 4), types.int64),
        *(types.UniTuple(kept, 5), status, status, types.UniTuple(counts, 2)),
        *(given, types.UniTuple(types.Array(scalar, 2, "C"), 3)),
    )

    @njit(signature, cache=True, nogil=True, fastmath=FAST_MATH, error_model="numpy")
    def integrate_lanes(
        first: Any,
        last: Any,
        given: Any,
        control: Any,
        max_steps: Any,
        found: Any,
        status: Any,
        fates: Any,
        counts: Any,
        save_at: Any,
        saved: Any,
    ) -> None:
        lambda_s, lambda_d, tau_online, tau_predictor, tau_target, weight_decay = given[:6]
        online, predictor, target, t_end = given[6:]
        rtol, atol, first_way, look = control
        online_end, predictor_end, target_end, t_last, drift = found
        n_accepted, n_rejected = counts
        online_saved, predictor_saved, target_saved = saved
        lane = np.zeros(_FIELDS * LANES + 0 * version, real)
        who, n_saved = np.full(LANES, -1), np.zeros(LANES, np.int64)
        born, wake = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
        patience = min(max_steps, HANDOVER)
        upcoming, n_busy, now = first, 0, 0
        while True:
            for j in range(np.uint64(LANES)):
                if lane[EVENT + j] == 0 and now < wake[j]:
                    continue
                i = who[j]
                if i >= 0:
                    start = online[i], predictor[i], target[i]
                    y = lane[W1 + j], lane[W2 + j], lane[TH + j]
                    k = lane[K1 + j], lane[K2 + j], lane[K3 + j]
                    p = lane[LS + j], lane[LD + j], lane[TO + j], lane[TP + j], lane[TT + j], lane[ETA + j]
                    t, h, end, until = lane[T + j], lane[H + j], lane[END + j], lane[END + j]
                    wide = _wide(start)
                    rates = (
                        np.float64(lambda_s[i]),
                        np.float64(lambda_d[i]),
                        np.float64(tau_online[i]),
                        np.float64(tau_predictor[i]),
                        np.float64(tau_target[i]),
                        np.float64(weight_decay[i]),
                    )
                    looks_again = now >= wake[j]
                    if saving:
                        old = lane[OLD_1 + j], lane[OLD_2 + j], lane[OLD_3 + j]
                        looks_again |= t >= lane[SAVE + j]
                        while t >= lane[SAVE + j]:
                            s, part = n_saved[j], lane[SAVE + j] - lane[OLD_T + j]
                            z, _, _ = step(form, old, part, derivative(form, old, p), p, tableau)
                            z = constrained(form, z, p)
                            online_saved[s, i], predictor_saved[s, i], target_saved[s, i] = z
                            n_saved[j] = s + 1
                            lane[SAVE + j] = save_at[s + 1] if s + 1 < save_at.size else np.inf
                        until = _smaller(lane[SAVE + j], end)
                    if looks_again:
                        _, _, _, lane[LOOK + j] = opening(form, start, p, rtol, first_way, look)
                        wake[j] = born[j] + patience
                    z, outcome, fate = y, RUNNING, UNDECIDED
                    broken = not h > epsilon * t or not _size(y) < np.inf
                    if broken:
                        outcome, fate = STIFF, UNDECIDED
                    elif t >= end:
                        _, _, fate = looked(
                            *(form, wide, _wide(y), rates, 0.0, np.float64(rtol), np.float64(atol))
                        )
                        outcome = END_TIME
                    elif _size(k) <= lane[LOOK + j] or _size(k) == 0:
                        outcome, x, fate = looked(
                            *(form, wide, _wide(y), rates, np.float64(until - t)),
                            *(np.float64(rtol), np.float64(atol)),
                        )
                        z = real(x[0]), real(x[1]), real(x[2])
                        if outcome == NOT_YET:
                            lane[LOOK + j] = _size(k) / 10
                            wake[j] = _smaller(now + PAUSE, born[j] + patience)
                    if outcome >= RUNNING and outcome != STIFF:
                        if now - born[j] < patience:
                            continue
                        outcome = STIFF if now - born[j] < max_steps else MAX_STEPS
                    rejected = np.int64(lane[REJECTED + j])
                    accepted = now - born[j] - rejected
                    if outcome == STIFF:
                        s, begin, began = n_saved[j], _wide(y), np.float64(t)
                        if fate == UNDECIDED:
                            # afresh: the signs and the leaf of the start hold to rounding then
                            s, begin, began = 0, wide, np.float64(0)
                        if not saving:
                            s = save_at.size
                        x, last_time, outcome, fate, more, failed = brought_to_its_end(
                            *(form, wide, begin, began, rates, np.float64(end)),
                            *(np.float64(rtol), np.float64(atol), max_steps - (now - born[j])),
                            *(save_at, s, i, saved),
                        )
                        y, t = (real(x[0]), real(x[1]), real(x[2])), real(last_time)
                        z = y
                        accepted, rejected = accepted + more - failed, rejected + failed
                    if outcome != STEADY:  # an end is on the variant's states already
                        z = constrained(form, z, p)
                    if saving and outcome == STEADY:
                        for s in range(n_saved[j], save_at.size):
                            if save_at[s] <= end and save_at[s] > t:
                                online_saved[s, i], predictor_saved[s, i], target_saved[s, i] = z
                    online_end[i], predictor_end[i], target_end[i] = z
                    t_last[i], status[i], drift[i] = t, outcome, departure(form, start, y, p, t)
                    fates[i], n_accepted[i], n_rejected[i] = fate, accepted, rejected
                    n_busy -= 1
                # a lane without a trajectory rests at zero, and its end is never reached
                for field in range(np.uint64(_FIELDS)):
                    lane[field * np.uint64(LANES) + j] = 0
                lane[END + j], lane[LOOK + j] = np.inf, -1
                who[j], n_saved[j], wake[j] = -1, 0, _NEVER
                if upcoming < last:
                    i, n_busy = upcoming, n_busy + 1
                    upcoming += 1
                    who[j], born[j], wake[j] = i, now, now + patience
                    p = (
                        lambda_s[i],
                        lambda_d[i],
                        1 / tau_online[i],
                        1 / tau_predictor[i],
                        1 / tau_target[i],
                        weight_decay[i],
                    )
                    y, k, h, own_look = opening(
                        *(form, (online[i], predictor[i], target[i]), p, rtol, first_way, look)
                    )
                    lane[W1 + j], lane[W2 + j], lane[TH + j] = y
                    lane[K1 + j], lane[K2 + j], lane[K3 + j] = k
                    lane[LS + j], lane[LD + j], lane[TO + j], lane[TP + j], lane[TT + j], lane[ETA + j] = p
                    lane[H + j], lane[END + j], lane[LOOK + j] = h, t_end[i], own_look
                    if saving:
                        lane[SAVE + j] = save_at[0]
            if n_busy == 0:
                break
            deadline, n_events = wake.min(), real(0)
            while n_events == 0 and now < deadline:
                now += 1
                for j in range(np.uint64(LANES)):
                    y = lane[W1 + j], lane[W2 + j], lane[TH + j]
                    k = lane[K1 + j], lane[K2 + j], lane[K3 + j]
                    p = lane[LS + j], lane[LD + j], lane[TO + j], lane[TP + j], lane[TT + j], lane[ETA + j]
                    t, h, end = lane[T + j], lane[H + j], lane[END + j]
                    final = t + h >= end
                    h = end - t if final else h
                    z, slope, accepted, proposed = attempt(form, y, k, h, p, rtol, atol, tableau)
                    if saving:
                        lane[OLD_T + j] = t
                        lane[OLD_1 + j], lane[OLD_2 + j], lane[OLD_3 + j] = y
                    slope = _chosen(accepted, slope, k)
                    t = (end if final else t + h) if accepted else t
                    lane[W1 + j], lane[W2 + j], lane[TH + j] = _chosen(accepted, z, y)
                    lane[K1 + j], lane[K2 + j], lane[K3 + j] = slope
                    lane[T + j], lane[H + j] = t, proposed
                    lane[REJECTED + j] += real(0) if accepted else real(1)
                    event = (t >= end) | (_size(slope) <= lane[LOOK + j]) | (not proposed > epsilon * t)
                    if saving:
                        event |= t >= lane[SAVE + j]
                    flag = real(1) if event else real(0)
                    lane[EVENT + j] = flag
                    n_events += flag

    return integrate_lanes


@_device
def _wide(y: Any) -> Any:
    return np.float64(y[0]), np.float64(y[1]), np.float64(y[2])
