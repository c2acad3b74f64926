"""Time of a compiled step on a batch against that of its random numbers alone (R306), on one core."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from _harness import measure, write_table

from dynamics.integration.discrete_ensemble import iterate_ensemble
from dynamics.integration.discrete_kernels import draw_batches
from dynamics.system import ModeSystem

RUNS, STEPS = 100, 10_000
"""A slice of 10⁶ runs of 10⁴ steps."""


def steps(batch: int) -> None:
    system = ModeSystem(np.ones(RUNS), np.full(RUNS, 0.5))
    iterate_ensemble(system.state(0.5, 0.5, 0.5), system, 0.05, 0.05, STEPS, batch=batch, threads=1)


def numbers(batch: int) -> None:
    out = np.empty((STEPS, 2))
    for k in range(RUNS):
        draw_batches(np.uint64(0), k, batch, out)


def main() -> None:
    rows: list[dict[str, object]] = []
    for batch in (1, 2, 4, 64):
        contenders: dict[str, Callable[[], None]] = {
            "steps": partial(steps, batch),
            "numbers alone": partial(numbers, batch),
        }
        times = measure(contenders, repeats=7)
        quotient = times["steps"].median / times["numbers alone"].median
        each = 1e9 * times["steps"].median / (RUNS * STEPS)
        rows.append(
            {
                "batch": batch,
                "ns per step": f"{each:.3g}",
                "over numbers alone": f"{quotient:.3g}",
                "10⁶ runs × 10⁴ steps, one core (s)": f"{10 * each:.4g}",
            }
        )
    write_table("noisy-steps", rows)


if __name__ == "__main__":
    main()
