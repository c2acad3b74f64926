"""The compiled part of `dynamics.integration.ensemble` on CUDA: each trajectory has a thread.

It is advanced by `attempt`, one try of the pair of `dynamics.integration.explicit_pair`, and ended as lanes are.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from dynamics.integration.explicit_pair import (
    HANDOVER,
    attempt,
    brought_to_its_end_on_cuda,
    constrained,
    departure,
    derivative,
    looked_on_cuda,
    opening,
    step,
)
from dynamics.integration.explicit_pair import NEVER as _NEVER
from dynamics.integration.explicit_pair import PAUSE as _PAUSE
from dynamics.integration.explicit_pair import VERSION as _VERSION
from dynamics.integration.explicit_pair import chosen as _chosen
from dynamics.integration.explicit_pair import numbers as _numbers
from dynamics.integration.explicit_pair import size as _size
from dynamics.integration.explicit_pair import smaller as _smaller
from dynamics.integration.explicit_pair import wide as _wide
from dynamics.integration.mode_flow import END_TIME, MAX_STEPS, NOT_YET, RUNNING, STEADY, STIFF, UNDECIDED


@cache
def cuda_kernel(form: tuple[int, float, float], dtype: str) -> Any:
    """Compile, or load from the cache on disk, the kernel of a variant for CUDA: one thread per trajectory.

    It takes the arguments of `lane_kernel` but for the range.
    """
    real, tableau, epsilon = _numbers(dtype)
    version = _VERSION

    @cuda.jit(cache=True, fastmath=False)
    def integrate_thread(
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
        i = cuda.grid(1) + 0 * version  # type: ignore[attr-defined]
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
        wide = _wide(start)
        rates = (
            np.float64(lambda_s[i]),
            np.float64(lambda_d[i]),
            np.float64(tau_online[i]),
            np.float64(tau_predictor[i]),
            np.float64(tau_target[i]),
            np.float64(weight_decay[i]),
        )
        y, k, h, usual_look = opening(form, start, p, rtol, first_way, look)
        t, own_look, wake, s = real(0), usual_look, _NEVER, 0
        tries, rejected, outcome, fate, z = 0, 0, RUNNING, UNDECIDED, y
        broken = False
        patience = min(max_steps, HANDOVER)
        while outcome == RUNNING:
            tries += 1
            final = t + h >= end
            h = end - t if final else h
            old, old_t = y, t
            new, slope, accepted, proposed = attempt(form, y, k, h, p, rtol, atol, tableau)
            y, k = _chosen(accepted, new, y), _chosen(accepted, slope, k)
            t = (end if final else t + h) if accepted else t
            rejected += 0 if accepted else 1
            h = proposed
            if tries >= wake:
                own_look, wake = usual_look, _NEVER
            while s < save_at.size and t >= save_at[s]:
                x, _, _ = step(form, old, save_at[s] - old_t, derivative(form, old, p), p, tableau)
                x = constrained(form, x, p)
                online_saved[s, i], predictor_saved[s, i], target_saved[s, i] = x
                s += 1
                own_look = usual_look
            until = _smaller(save_at[s], end) if s < save_at.size else end
            z = y
            broken = not h > epsilon * t or not _size(y) < np.inf
            if broken:
                outcome = STIFF
            elif t >= end:
                _, _, fate = looked_on_cuda(
                    *(form, wide, _wide(y), rates, 0.0, np.float64(rtol), np.float64(atol))
                )
                outcome = END_TIME
            elif _size(k) <= own_look or _size(k) == 0:
                outcome, x64, fate = looked_on_cuda(
                    *(form, wide, _wide(y), rates, np.float64(until - t)),
                    *(np.float64(rtol), np.float64(atol)),
                )
                z = real(x64[0]), real(x64[1]), real(x64[2])
                if outcome == NOT_YET:
                    own_look, wake, outcome = _size(k) / 10, tries + _PAUSE, RUNNING
            if outcome == RUNNING and tries >= patience:
                outcome = STIFF if tries < max_steps else MAX_STEPS
        accepted_tries = tries - rejected
        if outcome == STIFF:
            begin, began = _wide(y), np.float64(t)
            if fate == UNDECIDED:
                s, begin, began = 0, wide, np.float64(0)
            x64, last_time, outcome, fate, more, failed = brought_to_its_end_on_cuda(
                *(form, wide, begin, began, rates, np.float64(end)),
                *(np.float64(rtol), np.float64(atol), max_steps - tries, save_at, s, i, saved),
            )
            y, t = (real(x64[0]), real(x64[1]), real(x64[2])), real(last_time)
            z = y
            accepted_tries, rejected = accepted_tries + more - failed, rejected + failed
        if outcome != STEADY:
            z = constrained(form, z, p)
        while outcome == STEADY and s < save_at.size and save_at[s] <= end:
            if save_at[s] > t:
                online_saved[s, i], predictor_saved[s, i], target_saved[s, i] = z
            s += 1
        online_end[i], predictor_end[i], target_end[i] = z
        t_last[i], status[i], drift[i] = t, outcome, departure(form, start, y, p, t)
        fates[i], n_accepted[i], n_rejected[i] = fate, accepted_tries, rejected

    return integrate_thread
