"""Trajectories of one mode in lanes on the CPU: `LANES` of them are tried at once, field by field, in vectors.

A step is taken in one pass over the lanes per stage: a stage needs few of the processor's registers, a whole step more
than there are. A lane that has something to see to, its end, rest or a step too short, is frozen and raises a flag.
Flags are looked at once in `TRIES` tries, and a lane that has ended is refilled. Frozen lanes do not move, so
results do not depend on when they are looked at, nor on which trajectories go together.

Lanes that may have ended are glanced at first, `AT_ONCE` together (`dynamics.integration.glances`); what a glance
cannot tell is looked at one by one.

A trajectory whose rates lie far apart would take explicit steps for ever. One that has not ended after `HANDOVER`
tries, or that numbers at their own scale do not hold, is brought to its end by the stiff method of
`dynamics.integration.mode_course`, compiled from the same source that integrates single runs. So is the proof of rest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit, types

from dynamics.integration import glances
from dynamics.integration.explicit_pair import (
    FAST_MATH,
    HANDOVER,
    PAUSE,
    VERSION,
    brought_to_its_end,
    chosen,
    constrained,
    controlled,
    departure,
    derivative,
    finished,
    last_stage,
    numbers,
    opening,
    size,
    slope_2,
    slope_3,
    slope_4,
    slope_5,
    slope_6,
    smaller,
    stage,
    step,
    wide,
)
from dynamics.integration.glances import (
    AT_ONCE,
    CLOSE,
    GLANCE,
    GLANCED,
    GOING,
    NOT_NEAR,
    UNSAID,
    glanced_at,
    glances_at,
    put,
)
from dynamics.integration.mode_course import NOT_YET, STIFF
from dynamics.integration.mode_ends import END_TIME, MAX_STEPS, RUNNING, STEADY, UNDECIDED

LANES = 64
"""A multiple of what the widest vector registers hold, in float32 too; all fields fit the innermost cache."""
TRIES = 4
"""Tries between two looks at the flags."""

# Fields of a lane. LOOK is the speed below which it may be at rest, WAKE the number of tries at which it is looked at
# in any case, FLAG that it is frozen.
(T, H, END, SAVE, LOOK, WAKE, TRIED, REJECTED, FLAG) = (np.uint64(i * LANES) for i in range(9))
(W1, W2, TH, A1, A2, A3, OLD_T, OLD_1, OLD_2, OLD_3) = (np.uint64(i * LANES) for i in range(9, 19))
(LS, LD, TO, TP, TT, ETA, STEP) = (np.uint64(i * LANES) for i in range(19, 26))
(B1, B2, B3, C1, C2, C3, D1, D2, D3) = (np.uint64(i * LANES) for i in range(26, 35))
(E1, E2, E3, F1, F2, F3) = (np.uint64(i * LANES) for i in range(35, 41))  # slopes A to F of the six stages
(S1, S2, S3) = (np.uint64(i * LANES) for i in range(41, 44))  # start
_FIELDS = 44


_inlined = njit(forceinline=True, fastmath=FAST_MATH, error_model="numpy")


@_inlined
def _three(lane: Any, at: Any) -> Any:
    """A state or slope of a lane, whose first field is at `at`."""
    return lane[at], lane[at + np.uint64(LANES)], lane[at + np.uint64(2 * LANES)]


@_inlined
def _rates(lane: Any, j: Any) -> Any:
    """(λs, λd, 1/τo, 1/τp, 1/τt, η) of lane j."""
    return lane[LS + j], lane[LD + j], lane[TO + j], lane[TP + j], lane[TT + j], lane[ETA + j]


@cache
def lane_kernel(form: tuple[int, float, float], dtype: str, saving: bool) -> Callable[..., None]:
    """Compile, or load from the cache on disk, the kernel of a variant for the CPU.

    kernel(first, last, tries, given, control, max_steps, found, status, fate, counts, save_at, saved): trajectories
    first <= i < last of the arrays in `given`, (λs, λd, τo, τp, τt, η, w1, w2, θ, t_end), with `tries` >= 1 between
    two looks; control = (rtol, atol, first_way, look); found = (w1, w2, θ, t, drift); counts = (accepted, rejected);
    `save_at` (K,) and saved, three arrays (K, N), are not touched unless `saving`.
    """
    real, tableau, epsilon = numbers(dtype)
    glanced = form[0] in GLANCED
    version = VERSION + glances.VERSION
    scalar = types.float64 if real is np.float64 else types.float32
    given, kept = types.Array(scalar, 1, "A", readonly=True), types.Array(scalar, 1, "C")
    status, counts = types.Array(types.uint8, 1, "C"), types.Array(types.uint32, 1, "C")
    signature = types.void(
        *(types.int64, types.int64, types.int64, types.UniTuple(given, 10), types.UniTuple(scalar, 4)),
        types.int64,
        *(types.UniTuple(kept, 5), status, status, types.UniTuple(counts, 2)),
        *(given, types.UniTuple(types.Array(scalar, 2, "C"), 3)),
    )

    @njit(signature, cache=True, nogil=True, fastmath=FAST_MATH, error_model="numpy")
    def integrate_lanes(
        first: Any,
        last: Any,
        tries: Any,
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
        patience = min(max_steps, HANDOVER)
        seen, near = np.zeros(LANES, np.uint64), np.zeros(GLANCE)
        lane[FLAG : FLAG + LANES] = 1
        upcoming, n_busy = first, 0
        while True:
            n_seen = 0
            for j in range(np.uint64(LANES)):
                if lane[FLAG + j] != 0:
                    seen[n_seen] = j
                    n_seen += 1
            for n in range(n_seen):
                g = np.uint64(n % AT_ONCE)
                if glanced and g == 0:
                    for s in range(np.uint64(min(AT_ONCE, n_seen - n))):
                        j = seen[np.uint64(n) + s]
                        y = _three(lane, W1 + j)
                        left = lane[END + j] - lane[T + j]
                        if saving:  # no glance before states are kept
                            left = smaller(lane[SAVE + j], lane[END + j]) - lane[T + j]
                            left = left if lane[T + j] < lane[SAVE + j] else real(-1)
                        put(near, s, _three(lane, S1 + j), y, _rates(lane, j), left)
                    glances_at(form[0], near, np.float64(rtol), np.float64(atol))
                j = seen[n]
                i = who[j]
                if i >= 0:
                    start = online[i], predictor[i], target[i]
                    y = _three(lane, W1 + j)
                    k = _three(lane, A1 + j)
                    p = _rates(lane, j)
                    t, h, end, until = lane[T + j], lane[H + j], lane[END + j], lane[END + j]
                    tried = np.int64(lane[TRIED + j])
                    begun = wide(start)
                    rates = (
                        np.float64(lambda_s[i]),
                        np.float64(lambda_d[i]),
                        np.float64(tau_online[i]),
                        np.float64(tau_predictor[i]),
                        np.float64(tau_target[i]),
                        np.float64(weight_decay[i]),
                    )
                    looks_again = tried >= lane[WAKE + j]
                    if saving:
                        old = _three(lane, OLD_1 + j)
                        looks_again |= t >= lane[SAVE + j]
                        while t >= lane[SAVE + j]:
                            s, part = n_saved[j], lane[SAVE + j] - lane[OLD_T + j]
                            z, _, _ = step(form, old, part, derivative(form, old, p), p, tableau)
                            z = constrained(form, z, p)
                            online_saved[s, i], predictor_saved[s, i], target_saved[s, i] = z
                            n_saved[j] = s + 1
                            lane[SAVE + j] = save_at[s + 1] if s + 1 < save_at.size else np.inf
                        until = smaller(lane[SAVE + j], end)
                    if looks_again:
                        _, _, _, lane[LOOK + j] = opening(form, start, p, rtol, first_way, look)
                        lane[WAKE + j] = patience
                    z, outcome, fate = y, RUNNING, UNDECIDED
                    broken = (t < end and not h > epsilon * t) or not size(y) < np.inf
                    if broken:
                        outcome, fate = STIFF, UNDECIDED
                    elif t >= end or size(k) <= lane[LOOK + j] or size(k) == 0:
                        said, told, x = glanced_at(near, g)
                        if not glanced or said == UNSAID:
                            outcome, x, fate, passed = finished(
                                *(form, begun, wide(y), rates, np.float64(max(until - t, real(0)))),
                                *(np.float64(rtol), np.float64(atol)),
                            )
                            z = real(x[0]), real(x[1]), real(x[2])
                        else:
                            fate, passed, outcome = told, 0.0, STEADY
                            if said == NOT_NEAR:
                                outcome = NOT_YET
                            else:
                                z = real(x[0]), real(x[1]), real(x[2])
                            if said in (CLOSE, GOING):
                                passed = np.float64(until - t)
                            if said == GOING:
                                outcome = END_TIME
                        if t >= end:
                            outcome, z = END_TIME, y
                        elif passed > 0 and saving and lane[SAVE + j] <= end:
                            outcome, z = STIFF, y  # which keeps states on its way
                        elif passed > 0:
                            t, y = end, z
                        if outcome == NOT_YET:
                            lane[LOOK + j] = size(k) / 10
                            lane[WAKE + j] = min(tried + PAUSE, patience)
                    if outcome >= RUNNING and outcome != STIFF:
                        if tried < patience:
                            lane[FLAG + j] = 0
                            continue
                        outcome = STIFF if tried < max_steps else MAX_STEPS
                    rejected = np.int64(lane[REJECTED + j])
                    accepted = tried - rejected
                    if outcome == STIFF:
                        s, begin, began = n_saved[j], wide(y), np.float64(t)
                        if fate == UNDECIDED:
                            # afresh: the signs and the leaf of the start hold to rounding then
                            s, begin, began = 0, begun, np.float64(0)
                        if not saving:
                            s = save_at.size
                        x, last_time, outcome, fate, more, failed = brought_to_its_end(
                            *(form, begun, begin, began, rates, np.float64(end)),
                            *(np.float64(rtol), np.float64(atol), max_steps - tried),
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
                    who[j] = -1
                if upcoming < last:
                    i, n_busy = upcoming, n_busy + 1
                    upcoming += 1
                    who[j], n_saved[j] = i, 0
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
                    lane[S1 + j], lane[S2 + j], lane[S3 + j] = y
                    lane[A1 + j], lane[A2 + j], lane[A3 + j] = k
                    lane[LS + j], lane[LD + j], lane[TO + j], lane[TP + j], lane[TT + j], lane[ETA + j] = p
                    lane[T + j], lane[H + j], lane[END + j], lane[LOOK + j] = 0, h, t_end[i], own_look
                    lane[TRIED + j], lane[REJECTED + j], lane[WAKE + j], lane[FLAG + j] = 0, 0, patience, 0
                    if saving:
                        lane[SAVE + j] = save_at[0]
            if n_busy == 0:
                break
            for _ in range(tries):
                for j in range(np.uint64(LANES)):
                    y = _three(lane, W1 + j)
                    p = _rates(lane, j)
                    a = _three(lane, A1 + j)
                    t, h, end = lane[T + j], lane[H + j], lane[END + j]
                    h = end - t if t + h >= end else h
                    lane[STEP + j] = h
                    lane[B1 + j], lane[B2 + j], lane[B3 + j] = stage(form, y, h, slope_2(tableau[0], a), p)
                for j in range(np.uint64(LANES)):
                    y = _three(lane, W1 + j)
                    p = _rates(lane, j)
                    a = _three(lane, A1 + j)
                    b = _three(lane, B1 + j)
                    k = stage(form, y, lane[STEP + j], slope_3(tableau[1], a, b), p)
                    lane[C1 + j], lane[C2 + j], lane[C3 + j] = k
                for j in range(np.uint64(LANES)):
                    y = _three(lane, W1 + j)
                    p = _rates(lane, j)
                    a = _three(lane, A1 + j)
                    b = _three(lane, B1 + j)
                    c = _three(lane, C1 + j)
                    k = stage(form, y, lane[STEP + j], slope_4(tableau[2], a, b, c), p)
                    lane[D1 + j], lane[D2 + j], lane[D3 + j] = k
                for j in range(np.uint64(LANES)):
                    y = _three(lane, W1 + j)
                    p = _rates(lane, j)
                    a = _three(lane, A1 + j)
                    b = _three(lane, B1 + j)
                    c = _three(lane, C1 + j)
                    d = _three(lane, D1 + j)
                    k = stage(form, y, lane[STEP + j], slope_5(tableau[3], a, b, c, d), p)
                    lane[E1 + j], lane[E2 + j], lane[E3 + j] = k
                for j in range(np.uint64(LANES)):
                    y = _three(lane, W1 + j)
                    p = _rates(lane, j)
                    a = _three(lane, A1 + j)
                    b = _three(lane, B1 + j)
                    c = _three(lane, C1 + j)
                    d = _three(lane, D1 + j)
                    e = _three(lane, E1 + j)
                    k = stage(form, y, lane[STEP + j], slope_6(tableau[4], a, b, c, d, e), p)
                    lane[F1 + j], lane[F2 + j], lane[F3 + j] = k
                for j in range(np.uint64(LANES)):
                    y = _three(lane, W1 + j)
                    p = _rates(lane, j)
                    a = _three(lane, A1 + j)
                    b = _three(lane, B1 + j)
                    c = _three(lane, C1 + j)
                    d = _three(lane, D1 + j)
                    e = _three(lane, E1 + j)
                    f = _three(lane, F1 + j)
                    h, t, end = lane[STEP + j], lane[T + j], lane[END + j]
                    z, slope, error = last_stage(form, y, h, a, b, c, d, e, f, p, tableau)
                    accepted, proposed = controlled(form, y, z, error, h, rtol, atol)
                    live = lane[FLAG + j] == 0
                    moves = accepted & live
                    if saving:
                        lane[OLD_T + j] = t if live else lane[OLD_T + j]
                        lane[OLD_1 + j] = y[0] if live else lane[OLD_1 + j]
                        lane[OLD_2 + j] = y[1] if live else lane[OLD_2 + j]
                        lane[OLD_3 + j] = y[2] if live else lane[OLD_3 + j]
                    later = end if t + lane[H + j] >= end else t + h
                    proposed = proposed if live else lane[H + j]
                    slope = chosen(moves, slope, a)
                    t = later if moves else t
                    tried = lane[TRIED + j] + (real(1) if live else real(0))
                    lane[W1 + j], lane[W2 + j], lane[TH + j] = chosen(moves, z, y)
                    lane[A1 + j], lane[A2 + j], lane[A3 + j] = slope
                    lane[T + j], lane[H + j], lane[TRIED + j] = t, proposed, tried
                    lane[REJECTED + j] += real(1) if live & (not accepted) else real(0)
                    event = (t >= end) | (size(slope) <= lane[LOOK + j]) | (not proposed > epsilon * t)
                    event |= tried >= lane[WAKE + j]
                    if saving:
                        event |= t >= lane[SAVE + j]
                    lane[FLAG + j] = real(1) if event | (not live) else real(0)

    return integrate_lanes
