"""The explicit pair on CUDA: kernels that take a batch of trajectories from their starts to their ends.

A GPU loses most where the threads of a warp wait for each other, so each kind of work has a kernel of its own:

- `check` counts arguments that are out of range, where the host has not seen them.
- `begin` writes for each trajectory a record of all that the pair needs.
- `advance` tries steps, and does nothing else. Its threads live as long as there is work: one whose trajectory has to
  be looked at takes the next, and the threads of a warp do so together, once in some tries. In float32 it has no
  float64 instruction.
- `see_to` looks at the trajectories that `advance` left: at their end time, at rest, or out of tries. It writes the
  results of those that have ended. The others come back: in another round, or on the list of what is left.
- `finish` brings what the last round has left to its end, each trajectory in one go, with the stiff method of
  `dynamics.integration.mode_course` where the pair is not the right one.

`advance` and `see_to` are launched a few times, each round for the trajectories that the one before left running;
the host does not wait for any of them. Proofs of rest and the stiff method work in float64 for float32 ensembles too.

This module imports Numba: only `dynamics.integration.cuda_ensemble` imports it, when it is called.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dynamics.integration import cuda_trajectory
from dynamics.integration.cuda_trajectory import (
    END,
    LOOK,
    USUAL,
    P,
    brought_to_its_end,
    concluded,
    judged,
    keep,
    kept_states,
    next_save,
    opening,
    parameters_of,
    rates_of,
    resumed,
    size_of,
    start_of,
    tried,
    widened,
)
from dynamics.integration.explicit_pair import ONE, PAUSE, VERSION, ZERO, numbers
from dynamics.integration.mode_course import NOT_YET, STIFF
from dynamics.integration.mode_ends import MAX_STEPS, RUNNING, UNDECIDED
from dynamics.integration.mode_flow import TIED
from dynamics.integration.numba_cuda import SIMULATED, cuda

THREADS = 128
"""Threads of a block."""
TRIES = {"float64": 16, "float32": 8}
"""Tries between two times at which the threads of a warp take new work."""
REGISTERS = {"float64": 96, "float32": 64}
"""Registers of a thread of `advance`: 5 and 8 blocks fit a multiprocessor of 65,536."""
NEVER = 2**30  # tries

# What kernels tell each other: how many trajectories are left to finish, how many of them are taken; then the same for
# every round.
LEFT, LEFT_TAKEN, IN_ROUND, TAKEN = 0, 1, 2, 3

PARAMETERS = (
    *("lambda_s", "lambda_d", "tau_online", "tau_predictor", "tau_target", "weight_decay"),
    *("online", "predictor", "target", "t_end"),
)
"""Names of the arrays in `given`, in order."""

# A constant of every kernel, hence in its key: Numba's cache on disk notices no change of another file, nor of options.
_VERSION = zlib.crc32(Path(cuda_trajectory.__file__).read_bytes(), VERSION)


class Kernels(NamedTuple):
    """Kernels of a variant, see the module."""

    check: Any
    begin: Any
    advance: Any
    see_to: Any
    finish: Any


@cache
def cuda_kernels(
    form: tuple[int, float, float],
    dtype: str,
    saving: bool,
    tries_a_turn: int | None = None,
    registers: int | None = None,
) -> Kernels:
    """Kernels of a variant for CUDA, compiled when they are launched, or loaded from the cache on disk.

    A batch holds the trajectories first <= i < first + n of the arrays in `given`, those of `PARAMETERS`, of which
    number q is read at i·stride[q]: the stride of an array that holds one number for all is zero. `control`, `found`,
    `status`, `fates`, `counts`, `save_at` and `saved` are those of `lane_kernels.lane_kernel`; while a trajectory
    runs, `counts` holds its tries, and how many of them were rejected.

    `check` adds to `wrong` values out of range of each of `PARAMETERS` and, last, starts that are not the variant's.
    Between the others travel `records`, shape (n, 16), or (n, 17) where states are kept; `lists`, shape (2, n),
    the trajectories of this round and the next; `left`, shape (n,), those that rounds have not ended; `n_saved`, how
    many states are kept; and `tally`, two numbers for every round and two more.
    """
    real, tableau, epsilon = numbers(dtype)
    coefficients, wide, version = tableau, real is np.float64, _VERSION
    turn = TRIES[dtype] if tries_a_turn is None else tries_a_turn
    bound = REGISTERS[dtype] if registers is None else registers
    # the simulator knows of no registers
    bounded = {} if SIMULATED else {"max_registers": bound}

    @cuda.jit(cache=True)
    def check(n: Any, given: Any, stride: Any, wrong: Any) -> None:
        i = cuda.grid(1) + 0 * version
        if i >= n:
            return
        for q in range(9):
            x = given[q][i * stride[q]]
            low = (q in (2, 3, 4) and not x > ZERO) or (q == 5 and not x >= ZERO)
            if low or not abs(x) < np.inf:
                cuda.atomic.add(wrong, q, 1)
        if not given[9][i * stride[9]] > ZERO:
            cuda.atomic.add(wrong, 9, 1)
        start = start_of(given, stride, i)
        if form[0] == TIED and (start[0] != start[1] or given[2][i * stride[2]] != given[3][i * stride[3]]):
            cuda.atomic.add(wrong, 10, 1)

    @cuda.jit(cache=True)
    def begin(
        n: Any,
        first: Any,
        given: Any,
        stride: Any,
        control: Any,
        records: Any,
        lists: Any,
        tally: Any,
        counts: Any,
        save_at: Any,
        n_saved: Any,
        saved: Any,
    ) -> None:
        j = cuda.grid(1) + 0 * version
        if j >= n:
            return
        if j == 0:
            for field in range(tally.size):
                tally[field] = 0
            tally[IN_ROUND] = n
        i = first + j
        rtol, _, first_way, look = control
        start = start_of(given, stride, i)
        to, tp, tt = given[2][i * stride[2]], given[3][i * stride[3]], given[4][i * stride[4]]
        p = (
            given[0][i * stride[0]],
            given[1][i * stride[1]],
            ONE / to,
            ONE / tp,
            ONE / tt,
            given[5][i * stride[5]],
        )
        end = given[9][i * stride[9]]
        y, k, h, own_look = opening(form, start, p, rtol, first_way, look)
        keep(records, j, y, k, real(0), h, own_look)
        records[j, END] = end
        for q in range(6):
            records[j, P + q] = p[q]
        if saving:
            records[j, USUAL], n_saved[j] = own_look, 0
            for s in range(save_at.size):
                saved[0][s, i], saved[1][s, i], saved[2][s, i] = real(np.nan), real(np.nan), real(np.nan)
        lists[0, j], counts[0][i], counts[1][i] = j, 0, 0

    @cuda.jit(cache=True, **bounded)
    def advance(
        number: Any,
        first: Any,
        tableau: Any,
        control: Any,
        pause: Any,
        patience: Any,
        records: Any,
        lists: Any,
        tally: Any,
        counts: Any,
        save_at: Any,
        n_saved: Any,
        saved: Any,
    ) -> None:
        rtol, atol = control[0], control[1]
        # instructions have room for a constant of 32 bits; one of 64 is best read where arguments are
        own = tableau if wide else coefficients
        in_round, row = tally[IN_ROUND + 2 * number] + 0 * (version + bound), number & 1
        busy, j, i = False, lists[0, 0], first
        # of their types; what a thread starts with is read below
        p = parameters_of(records, 0)
        y, k, t, h, end, own_look = resumed(records, 0)
        tries, rejected, awake, s = np.int32(0), np.int32(0), np.int32(0), 0
        while True:
            if not busy:
                taken = cuda.atomic.add(tally, TAKEN + 2 * number, 1)
                if taken >= in_round:
                    break
                j = lists[row, taken]
                i, busy = first + j, True
                p = parameters_of(records, j)
                y, k, t, h, end, own_look = resumed(records, j)
                tries, rejected = np.int32(counts[0][i]), np.int32(counts[1][i])
                awake = np.int32(min(tries + pause, patience))
                if saving:
                    s = n_saved[j]
            for _ in range(turn):
                old, t_old = y, t
                y, k, t, h, accepted = tried(form, y, k, t, h, end, p, rtol, atol, own)
                tries = np.int32(tries + 1)
                rejected = np.int32(rejected + (0 if accepted else 1))
                if saving and s < save_at.size and t >= save_at[s]:
                    s = kept_states(form, old, t_old, t, p, own, save_at, s, i, saved)
                    own_look = records[j, USUAL]
                if (t >= end) | (size_of(k) <= own_look) | (not h > epsilon * t) | (tries >= awake):
                    busy = False
                    break
            if not busy:
                keep(records, j, y, k, t, h, own_look)
                counts[0][i], counts[1][i] = tries, rejected
                if saving:
                    n_saved[j] = s

    @cuda.jit(cache=True)
    def see_to(
        number: Any,
        first: Any,
        given: Any,
        stride: Any,
        control: Any,
        max_steps: Any,
        patience: Any,
        records: Any,
        lists: Any,
        left: Any,
        tally: Any,
        found: Any,
        status: Any,
        fates: Any,
        counts: Any,
        save_at: Any,
        n_saved: Any,
        saved: Any,
    ) -> None:
        place = cuda.grid(1) + 0 * version
        if place >= tally[IN_ROUND + 2 * number]:
            return
        rtol, atol, first_way, look = control
        j = lists[number & 1, place]
        i = first + j
        start, rates, p = start_of(given, stride, i), rates_of(given, stride, i), parameters_of(records, j)
        y, k, t, h, end, own_look = resumed(records, j)
        tries, rejected, s = np.int64(counts[0][i]), np.int64(counts[1][i]), 0
        if not size_of(k) <= own_look:  # its pause is over
            _, _, _, own_look = opening(form, start, p, rtol, first_way, look)
        until, keeping = end, False
        if saving:
            s = n_saved[j]
            keeping = s < save_at.size and save_at[s] <= end
            until = next_save(save_at, s, end)
        outcome, z, fate, t, y = judged(
            form, start, rates, y, k, t, h, end, until, keeping, own_look, rtol, atol, epsilon
        )
        if outcome == NOT_YET:
            own_look, outcome = size_of(k) / np.float32(10), RUNNING
        if outcome == RUNNING and tries >= patience:
            outcome = STIFF if tries < max_steps else MAX_STEPS
        if outcome in (RUNNING, STIFF):
            records[j, LOOK], status[i], fates[i] = own_look, outcome, fate
            if outcome == RUNNING and 2 * number + 4 < tally.size:
                lists[1 - (number & 1), cuda.atomic.add(tally, IN_ROUND + 2 * number + 2, 1)] = j
            else:
                left[cuda.atomic.add(tally, LEFT, 1)] = j
        else:
            concluded(
                *(form, i, outcome, fate, z, y, t, start, p, end, tries, rejected),
                *(found, status, fates, counts, save_at, s, saved),
            )

    @cuda.jit(cache=True)
    def finish(
        first: Any,
        given: Any,
        stride: Any,
        control: Any,
        max_steps: Any,
        patience: Any,
        records: Any,
        left: Any,
        tally: Any,
        found: Any,
        status: Any,
        fates: Any,
        counts: Any,
        save_at: Any,
        n_saved: Any,
        saved: Any,
    ) -> None:
        rtol, atol, first_way, look = control
        while True:
            taken = cuda.atomic.add(tally, LEFT_TAKEN, 1) + 0 * version
            if taken >= tally[LEFT]:
                break
            j = left[taken]
            i = first + j
            start, rates, p = (
                start_of(given, stride, i),
                rates_of(given, stride, i),
                parameters_of(records, j),
            )
            y, k, t, h, end, own_look = resumed(records, j)
            tries: Any = np.int64(counts[0][i])
            rejected: Any = np.int64(counts[1][i])
            outcome: Any = np.int64(status[i])
            fate, z, s = np.int64(fates[i]), y, 0
            wake = min(tries + PAUSE, patience)
            if saving:
                s = n_saved[j]
            _, _, _, usual_look = opening(form, start, p, rtol, first_way, look)
            while outcome == RUNNING:
                old, t_old = y, t
                y, k, t, h, accepted = tried(form, y, k, t, h, end, p, rtol, atol, tableau)
                tries += 1
                rejected += 0 if accepted else 1
                if tries >= wake:
                    own_look, wake = usual_look, patience
                until, keeping = end, False
                if saving:
                    if s < save_at.size and t >= save_at[s]:
                        s = kept_states(form, old, t_old, t, p, tableau, save_at, s, i, saved)
                        own_look = usual_look
                    until = next_save(save_at, s, end)
                    keeping = s < save_at.size and save_at[s] <= end
                outcome, z, fate, t, y = judged(
                    form, start, rates, y, k, t, h, end, until, keeping, own_look, rtol, atol, epsilon
                )
                if outcome == NOT_YET:
                    own_look, outcome = size_of(k) / np.float32(10), RUNNING
                    wake = min(tries + PAUSE, patience)
                if outcome == RUNNING and tries >= patience:
                    outcome = STIFF if tries < max_steps else MAX_STEPS
            if outcome == STIFF:
                begins: Any = widened(y)
                began: Any = np.float64(t)
                if fate == UNDECIDED:  # afresh: the signs and the leaf of the start hold to rounding then
                    s, begins, began = 0, widened(start), 0.0
                if not saving:
                    s = save_at.size
                x, last_time, outcome, fate, more, failed = brought_to_its_end(
                    *(form, widened(start), begins, began, rates, np.float64(end)),
                    *(np.float64(rtol), np.float64(atol), max_steps - tries, save_at, s, i, saved),
                )
                y, t = (real(x[0]), real(x[1]), real(x[2])), real(last_time)
                z = y
                tries, rejected = tries + more, rejected + failed
            concluded(
                *(form, i, outcome, fate, z, y, t, start, p, end, tries, rejected),
                *(found, status, fates, counts, save_at, s, saved),
            )

    return Kernels(check, begin, advance, see_to, finish)
