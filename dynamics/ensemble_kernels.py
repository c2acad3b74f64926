"""The compiled part of `dynamics.ensemble`: one source of the step, driven in lanes on the CPU and in threads on CUDA.

A trajectory is advanced by `attempt`, one try of the embedded Runge–Kutta pair of Tsitouras (2011) of order 5(4)
with its step control. On the CPU `lane_kernel` keeps `LANES` trajectories in one array, field by field, so that the
compiler turns the loop over lanes into vector instructions; a lane that has ended is refilled at once. On CUDA
`cuda_kernel` gives each trajectory a thread.

All of it is in one file because Numba's cache on disk notices changes of the file that a kernel is in, of no other.
This module imports Numba: only `dynamics.ensemble` imports it, when it is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import cuda, njit, types

VARIANTS = (
    "full",
    "fixed-target",
    "tied",
    "no-predictor",
    "no-ema",
    "no-stop-gradient",
    "symmetric-predictor",
    "fast-predictor",
    "directpred",
    "directset",
)
"""Variants that are compiled; a kernel knows them by their index."""
(FULL, FIXED, TIED, IDENTITY, NO_EMA, NO_STOP, SYMMETRIC, FAST, DIRECTPRED, DIRECTSET) = range(len(VARIANTS))

STEADY, END_TIME, DIVERGED, MAX_STEPS = range(4)
RUNNING, NOT_YET, TOO_SLOW = range(4, 7)  # no ends

LANES = 64  # a multiple of what the widest vector registers hold, in float32 too

# NaN and infinity keep their meaning: a trajectory that runs away is told by them.
FAST_MATH = {"contract", "reassoc", "nsz", "arcp"}
_device = njit(forceinline=True, fastmath=FAST_MATH, error_model="numpy")

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


@_device
def _larger(a: Any, b: Any) -> Any:
    # unlike max() this is one instruction, gives b if a is NaN, and exists on CUDA
    return a if a > b else b


@_device
def _smaller(a: Any, b: Any) -> Any:
    return a if a < b else b


# --- the flow -----------------------------------------------------------------------------------------------
# y = (w1, w2, θ); p = (λs, λd, 1/τo, 1/τp, 1/τt, η)


@_device
def constrained(kind: Any, y: Any, p: Any) -> Any:
    """The state on which the variant lives, as `VectorField.constrain`."""
    w1, w2, th = y
    if kind == TIED:
        return w1, w1, th
    if kind == IDENTITY:
        return w1, w2 * 0 + 1, th
    if kind in (NO_EMA, NO_STOP):
        return w1, w2, w1
    if kind == FAST:
        return w1, (th * p[1] / (w1 * p[0]) if w1 != 0 else w1), th
    if kind == DIRECTPRED:
        s = _larger(p[0] * w1 * w1, p[0] * 0)
        return w1, math.sqrt(s) + s / 10, th
    if kind == DIRECTSET:
        return w1, _larger(p[0] * w1 * w1, p[0] * 0), th
    return y


@_device
def derivative(kind: Any, y: Any, p: Any) -> Any:
    """d(w1, w2, θ)/dt of the variant, as its field in `dynamics.mode_fields`."""
    w1, w2, th = constrained(kind, y, p)
    ls, ld, over_to, over_tp, over_tt, eta = p
    if kind == IDENTITY:
        return (th * ld - w1 * ls) * over_to - eta * w1, w2 * 0, (w1 - th) * over_tt
    e = th * ld - w2 * w1 * ls
    pull = w2 * e + (w2 * w1 * ld - w1 * ls) if kind == NO_STOP else w2 * e
    dw1 = pull * over_to - eta * w1
    dw2 = w1 * e * over_tp - eta * w2
    if kind in (FAST, DIRECTPRED, DIRECTSET):
        dw2 = w2 * 0
    if kind == FIXED:
        return dw1, dw2, th * 0
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
def step(kind: Any, y: Any, h: Any, k1: Any, p: Any, tableau: Any) -> Any:
    """One step of Tsitouras' pair: the state after it, its slope there, and the estimated error."""
    (a,) = tableau[0]
    k2 = derivative(kind, _axpy(h * a, k1, y), p)
    a, b = tableau[1]
    k3 = derivative(kind, _axpy(h, _axpy(b, k2, _scaled(a, k1)), y), p)
    a, b, c = tableau[2]
    k4 = derivative(kind, _axpy(h, _axpy(c, k3, _axpy(b, k2, _scaled(a, k1))), y), p)
    a, b, c, d = tableau[3]
    k5 = derivative(kind, _axpy(h, _axpy(d, k4, _axpy(c, k3, _axpy(b, k2, _scaled(a, k1)))), y), p)
    a, b, c, d, e = tableau[4]
    slope = _axpy(e, k5, _axpy(d, k4, _axpy(c, k3, _axpy(b, k2, _scaled(a, k1)))))
    k6 = derivative(kind, _axpy(h, slope, y), p)
    a, b, c, d, e, f = tableau[5]
    slope = _axpy(f, k6, _axpy(e, k5, _axpy(d, k4, _axpy(c, k3, _axpy(b, k2, _scaled(a, k1))))))
    z = _axpy(h, slope, y)
    k7 = derivative(kind, z, p)
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
def attempt(kind: Any, y: Any, k: Any, h: Any, p: Any, rtol: Any, atol: Any, tableau: Any) -> Any:
    """Try a step of size h: the state and slope after it, whether it is accurate enough, and the next step size.

    The error of w1 and θ is measured against the encoder, that of w2 against the larger of both. The step changes
    by 0.9 error^(−3/16), four square roots in single precision: the exponent −1/5 would take a power.
    """
    z, slope, error = step(kind, y, h, k, p, tableau)
    encoder = _larger(_larger(abs(y[0]), abs(z[0])), _larger(abs(y[2]), abs(z[2])))
    predictor = _larger(encoder, _larger(abs(y[1]), abs(z[1])))
    # w2 first and w1 last: a NaN anywhere is one in the error of w1, and of two numbers _larger gives that
    relative = _larger(
        np.float32(abs(error[1])) / np.float32(atol + rtol * predictor),
        np.float32(_larger(abs(error[2]), abs(error[0]))) / np.float32(atol + rtol * encoder),
    )
    accepted = relative <= np.float32(1)
    eighth = math.sqrt(math.sqrt(math.sqrt(relative)))
    factor = _larger(np.float32(0.9) / (eighth * math.sqrt(eighth)), np.float32(0.2))
    factor = factor if factor < np.float32(8) else np.float32(8)
    return z, slope, accepted, factor * h


# --- rest ---------------------------------------------------------------------------------------------------


@_device
def leaf(kind: Any, y: Any, p: Any) -> Any:
    """What the flow conserves at η = 0, and its gradient in (w1, w2): R2, R12 or R21; zeros where nothing is known."""
    w1, w2, _ = y
    ls, ld, over_to, over_tp, _, _ = p
    if kind == FAST:
        return w1, w1 * 0 + 1, w1 * 0
    if kind == NO_STOP:
        r = ld / ls
        x, q, ratio = w2 - r, 1 - r * r, over_to / over_tp
        if ls > 0 and x != 0:
            value = w1 * w1 - ratio * (x * x + q * math.log(x * x))
            return value, 2 * w1, -2 * ratio * (x + q / x)
    elif kind in (FULL, SYMMETRIC, FIXED, NO_EMA, TIED):
        return w1 * w1 / over_to - w2 * w2 / over_tp, 2 * w1 / over_to, -2 * w2 / over_tp
    return w1 * 0, w1 * 0, w1 * 0


@_device
def held_flow(kind: Any, y: Any, held: Any, p: Any, level: Any, rate: Any) -> Any:
    """The flow, with what it cannot change drawn back at a given rate, so that its rest is isolated.

    Drawn back are the leaf, at η = 0, and the coordinates that the variant holds or slaves.
    """
    f1, f2, f3 = derivative(kind, y, p)
    if kind in (TIED, IDENTITY, FAST, DIRECTPRED, DIRECTSET):
        f2 = rate * (held[1] - y[1])
    if kind in (FIXED, NO_EMA, NO_STOP):
        f3 = rate * (held[2] - y[2])
    if kind != TIED and p[5] == 0:
        value, n1, n2 = leaf(kind, y, p)
        square = n1 * n1 + n2 * n2
        if square > 0:
            pull = rate * (level - value) / square
            f1 += pull * n1
            f2 += pull * n2
    return f1, f2, f3


@_device
def _cross(a: Any, b: Any) -> Any:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@_device
def _dot(a: Any, b: Any) -> Any:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@_device
def _solved(a: Any, b: Any, c: Any, det: Any, x: Any) -> Any:
    """Solve the matrix with columns a, b, c for x, by Cramer's rule."""
    return _dot(x, _cross(b, c)) / det, _dot(a, _cross(x, c)) / det, _dot(a, _cross(b, x)) / det


@_device
def _contracts(a: Any, b: Any, c: Any, rate: Any) -> Any:
    """Whether all eigenvalues of the matrix with columns a, b, c have real parts below −rate, by Hurwitz's test."""
    a = a[0] + rate, a[1], a[2]
    b = b[0], b[1] + rate, b[2]
    c = c[0], c[1], c[2] + rate
    trace = a[0] + b[1] + c[2]
    minors = a[0] * b[1] - a[1] * b[0] + a[0] * c[2] - a[2] * c[0] + b[1] * c[2] - b[2] * c[1]
    det = _dot(a, _cross(b, c))
    return trace < 0 and det < 0 and trace * minors < det


@_device
def resting_place(kind: Any, y: Any, p: Any, level: Any, left: Any, tolerance: Any, difference: Any) -> Any:
    """Where the trajectory from y comes to rest, and whether it is certain to be there after the time `left`.

    Newton steps d1, d2, d3 with one Jacobian lead to the fixed point on the leaf. It stands for the state after
    `left` if the last is below a tenth of the tolerance, the flow is as good as linear on the way, |d2| <= |d1|/20,
    and all eigenvalues of the Jacobian are so negative that d1 has shrunk to a hundredth of the tolerance.

    Returns STEADY, NOT_YET, or TOO_SLOW: stable and linear, but not in the time left, however long one waits.
    """
    rate = p[4] + (p[2] + p[3]) * abs(p[0])
    u, v, w = y
    h = difference * _size(y)
    flow = held_flow(kind, y, y, p, level, rate)
    # columns of the Jacobian
    a = _scaled(1 / h, _axpy(-1, flow, held_flow(kind, (u + h, v, w), y, p, level, rate)))
    b = _scaled(1 / h, _axpy(-1, flow, held_flow(kind, (u, v + h, w), y, p, level, rate)))
    c = _scaled(1 / h, _axpy(-1, flow, held_flow(kind, (u, v, w + h), y, p, level, rate)))
    det = _dot(a, _cross(b, c))
    if not det < 0:
        return y, NOT_YET
    d1 = _solved(a, b, c, det, flow)
    z = _axpy(-1, d1, y)
    d2 = _solved(a, b, c, det, held_flow(kind, z, y, p, level, rate))
    z = _axpy(-1, d2, z)
    d3 = _solved(a, b, c, det, held_flow(kind, z, y, p, level, rate))
    way = _size(d1)
    if not (20 * _size(d2) <= way and 10 * _size(d3) <= tolerance):
        return y, NOT_YET
    shrinking = _larger(math.log(_larger(100 * way / tolerance, 1)) / left, rate * difference)
    if _contracts(a, b, c, shrinking):
        return _axpy(-1, d3, z), STEADY
    return y, TOO_SLOW if _contracts(a, b, c, rate * difference) else NOT_YET


# --- a trajectory from start to end ---------------------------------------------------------------------------


@_device
def opening(kind: Any, start: Any, p: Any, rtol: Any, atol: Any, first_way: Any, look: Any) -> Any:
    """Constrained start, its slope, the first step to try, the absolute tolerance, and the speed to look at.

    The first step moves Euler's method by a fraction `first_way` of the state. The tolerance is never above
    rtol times the size of the encoder, which leaves the origin by multiplication.
    """
    y = constrained(kind, start, p)
    k = derivative(kind, y, p)
    size, speed, encoder = _size(y), _size(k), _larger(abs(y[0]), abs(y[2]))
    h = first_way * size / speed if speed > 0 else 1 / p[4]
    own_atol = _larger(_smaller(atol, rtol * encoder), atol * 0 + 1e-30) if encoder > 0 else atol
    return y, k, h, own_atol, look * p[4] * _larger(size, abs(p[1] / p[0]) if p[0] != 0 else size)


@_device
def judged(
    kind: Any,
    start: Any,
    y: Any,
    k: Any,
    h: Any,
    t: Any,
    end: Any,
    until: Any,
    look: Any,
    p: Any,
    rtol: Any,
    atol: Any,
    epsilon: Any,
    difference: Any,
) -> Any:
    """Whether a trajectory has ended at time t, and how; the state that it ends in."""
    if not h > epsilon * t or not _size(y) < np.inf:
        return y, DIVERGED
    if t >= end:
        return y, DIVERGED if _size(y) > 1e8 * (1 + _size(start)) else END_TIME
    speed = _size(k)
    if speed == 0:
        return y, STEADY
    if speed > look:
        return y, RUNNING
    level, _, _ = leaf(kind, constrained(kind, start, p), p)
    return resting_place(kind, y, p, level, until - t, atol + rtol * _size(y), difference)


@_device
def departure(kind: Any, start: Any, y: Any, p: Any, t: Any) -> Any:
    """How far c = τo w1² − τp w2² has come off e^{−2ηt} c(0) (R2)."""
    c0, _, _ = leaf(FULL, constrained(kind, start, p), p)
    c, _, _ = leaf(FULL, constrained(kind, y, p), p)
    return abs(c - c0 * math.exp(-2 * p[5] * t))


# --- drivers ------------------------------------------------------------------------------------------------

# Fields of a lane. LOOK is the speed below which it may be at rest, EVENT that there is something to see to.
(T, H, END, SAVE, LOOK, ATOL, REJECTED, EVENT) = (np.uint64(i * LANES) for i in range(8))
(W1, W2, TH, K1, K2, K3, OLD_T, OLD_1, OLD_2, OLD_3) = (np.uint64(i * LANES) for i in range(8, 18))
(LS, LD, TO, TP, TT, ETA) = (np.uint64(i * LANES) for i in range(18, 24))
_FIELDS = 24
_PAUSE = 16  # tries until a trajectory that was seen not to be at rest is looked at again
_NEVER = 2**62


def _numbers(dtype: str) -> tuple[Any, Any, Any, Any]:
    """Scalar type, tableau, machine epsilon, and relative step of difference quotients."""
    real = np.dtype(dtype).type
    epsilon = np.finfo(real).eps
    return real, tuple(tuple(real(a) for a in row) for row in TABLEAU), epsilon, np.sqrt(epsilon)


@cache
def lane_kernel(kind: int, dtype: str, saving: bool) -> Callable[..., None]:
    """Compile, or load from the cache on disk, the kernel of a variant for the CPU.

    It integrates the trajectories first <= i < last, and lets other threads run meanwhile.
    """
    real, tableau, epsilon, difference = _numbers(dtype)
    scalar = types.float64 if real is np.float64 else types.float32
    given, kept = types.Array(scalar, 1, "A", readonly=True), types.Array(scalar, 1, "C")
    status, counts = types.Array(types.uint8, 1, "C"), types.Array(types.uint32, 1, "C")
    signature = types.void(
        *(types.int64, types.int64, types.UniTuple(given, 10), types.UniTuple(scalar, 4), types.int64),
        *(types.UniTuple(kept, 5), status, types.UniTuple(counts, 2)),
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
        lane = np.zeros(_FIELDS * LANES, real)
        who, n_saved = np.full(LANES, -1), np.zeros(LANES, np.int64)
        born, wake = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
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
                    looks_again = now >= wake[j]
                    if saving:
                        old = lane[OLD_1 + j], lane[OLD_2 + j], lane[OLD_3 + j]
                        looks_again |= t >= lane[SAVE + j]
                        while t >= lane[SAVE + j]:
                            s, part = n_saved[j], lane[SAVE + j] - lane[OLD_T + j]
                            z, _, _ = step(kind, old, part, derivative(kind, old, p), p, tableau)
                            z = constrained(kind, z, p)
                            online_saved[s, i], predictor_saved[s, i], target_saved[s, i] = z
                            n_saved[j] = s + 1
                            lane[SAVE + j] = save_at[s + 1] if s + 1 < save_at.size else np.inf
                        until = _smaller(lane[SAVE + j], end)
                    if looks_again:
                        _, _, _, _, lane[LOOK + j] = opening(kind, start, p, rtol, atol, first_way, look)
                        wake[j] = born[j] + max_steps
                    z, outcome = judged(
                        *(kind, start, y, k, h, t, end, until, lane[LOOK + j], p),
                        *(rtol, lane[ATOL + j], epsilon, difference),
                    )
                    if outcome == TOO_SLOW:
                        lane[LOOK + j] = 0
                    elif outcome == NOT_YET:
                        lane[LOOK + j] = _size(k) / 10
                        wake[j] = _smaller(now + _PAUSE, born[j] + max_steps)
                    if outcome > MAX_STEPS:
                        if now - born[j] < max_steps:
                            continue
                        outcome = MAX_STEPS
                    z = constrained(kind, z, p)
                    if saving and outcome == STEADY:
                        for s in range(n_saved[j], save_at.size):
                            if save_at[s] <= end:
                                online_saved[s, i], predictor_saved[s, i], target_saved[s, i] = z
                    online_end[i], predictor_end[i], target_end[i] = z
                    t_last[i], status[i], drift[i] = t, outcome, departure(kind, start, y, p, t)
                    n_rejected[i] = lane[REJECTED + j]
                    n_accepted[i] = now - born[j] - n_rejected[i]
                    n_busy -= 1
                # a lane without a trajectory rests at zero, and its end is never reached
                for field in range(np.uint64(_FIELDS)):
                    lane[field * np.uint64(LANES) + j] = 0
                lane[END + j], lane[ATOL + j], lane[LOOK + j] = np.inf, 1, -1
                who[j], n_saved[j], wake[j] = -1, 0, _NEVER
                if upcoming < last:
                    i, n_busy = upcoming, n_busy + 1
                    upcoming += 1
                    who[j], born[j], wake[j] = i, now, now + max_steps
                    p = (
                        lambda_s[i],
                        lambda_d[i],
                        1 / tau_online[i],
                        1 / tau_predictor[i],
                        1 / tau_target[i],
                        weight_decay[i],
                    )
                    y, k, h, own_atol, own_look = opening(
                        *(kind, (online[i], predictor[i], target[i]), p, rtol, atol, first_way, look)
                    )
                    lane[W1 + j], lane[W2 + j], lane[TH + j] = y
                    lane[K1 + j], lane[K2 + j], lane[K3 + j] = k
                    lane[LS + j], lane[LD + j], lane[TO + j], lane[TP + j], lane[TT + j], lane[ETA + j] = p
                    lane[H + j], lane[END + j], lane[ATOL + j], lane[LOOK + j] = (
                        h,
                        t_end[i],
                        own_atol,
                        own_look,
                    )
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
                    z, slope, accepted, proposed = attempt(kind, y, k, h, p, rtol, lane[ATOL + j], tableau)
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


@cache
def cuda_kernel(kind: int, dtype: str) -> Any:
    """Compile, or load from the cache on disk, the kernel of a variant for CUDA: one thread a trajectory.

    It takes the arguments of `lane_kernel` but for the range.
    """
    real, tableau, epsilon, difference = _numbers(dtype)

    @cuda.jit(cache=True, fastmath=False)
    def integrate_thread(
        given: Any,
        control: Any,
        max_steps: Any,
        found: Any,
        status: Any,
        counts: Any,
        save_at: Any,
        saved: Any,
    ) -> None:
        i = cuda.grid(1)  # type: ignore[attr-defined]
        if i >= status.size:
            return
        lambda_s, lambda_d, tau_online, tau_predictor, tau_target, weight_decay = given[:6]
        online, predictor, target, t_end = given[6:]
        rtol, atol, first_way, look = control
        online_end, predictor_end, target_end, t_last, drift = found
        n_accepted, n_rejected = counts
        online_saved, predictor_saved, target_saved = saved
        start = online[i], predictor[i], target[i]
        end = t_end[i]
        p = (
            lambda_s[i],
            lambda_d[i],
            1 / tau_online[i],
            1 / tau_predictor[i],
            1 / tau_target[i],
            weight_decay[i],
        )
        y, k, h, own_atol, usual_look = opening(kind, start, p, rtol, atol, first_way, look)
        t, own_look, wake, s = real(0), usual_look, _NEVER, 0
        tries, rejected, outcome, z = 0, 0, RUNNING, y
        while outcome > MAX_STEPS:
            tries += 1
            final = t + h >= end
            h = end - t if final else h
            old, old_t = y, t
            new, slope, accepted, proposed = attempt(kind, y, k, h, p, rtol, own_atol, tableau)
            y, k = _chosen(accepted, new, y), _chosen(accepted, slope, k)
            t = (end if final else t + h) if accepted else t
            rejected += 0 if accepted else 1
            h = proposed
            if tries >= wake:
                own_look, wake = usual_look, _NEVER
            while s < save_at.size and t >= save_at[s]:
                z, _, _ = step(kind, old, save_at[s] - old_t, derivative(kind, old, p), p, tableau)
                z = constrained(kind, z, p)
                online_saved[s, i], predictor_saved[s, i], target_saved[s, i] = z
                s += 1
                own_look = usual_look
            until = _smaller(save_at[s], end) if s < save_at.size else end
            z, outcome = judged(
                *(kind, start, y, k, h, t, end, until, own_look, p, rtol, own_atol, epsilon, difference)
            )
            if outcome == TOO_SLOW:
                own_look *= 0
            elif outcome == NOT_YET:
                own_look, wake = _size(k) / 10, tries + _PAUSE
            if outcome > MAX_STEPS and tries >= max_steps:
                outcome = MAX_STEPS
        z = constrained(kind, z, p)
        while outcome == STEADY and s < save_at.size and save_at[s] <= end:
            online_saved[s, i], predictor_saved[s, i], target_saved[s, i] = z
            s += 1
        online_end[i], predictor_end[i], target_end[i] = z
        t_last[i], status[i], drift[i] = t, outcome, departure(kind, start, y, p, t)
        n_accepted[i], n_rejected[i] = tries - rejected, rejected

    return integrate_thread
