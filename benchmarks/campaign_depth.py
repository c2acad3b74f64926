"""Fates of random deep encoders against R320, each with rates of its own.

Every start is followed until it is in a neighbourhood from which a stated argument leads to its end
(`dynamics.integration.deep_kernels.arrived`). What is in none by then is undecided, and reported.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from analysis.depth.fates import deep_fate
from dynamics.fields.deep import DeepState, DeepSystem, deep_field, deep_no_ema_field
from dynamics.integration.deep_ensemble import integrate_deep_ensemble
from dynamics.integration.ensemble import FATES

LEARNED, COLLAPSED, UNDECIDED = (FATES.index(name) for name in ("learned", "collapsed", "undecided"))


def followed(
    start: DeepState, system: DeepSystem, *, averaged: bool = True, max_steps: int = 400_000
) -> np.ndarray:
    """Fate of every mode: LEARNED, COLLAPSED or UNDECIDED."""
    vector_field = deep_field if averaged else deep_no_ema_field
    return integrate_deep_ensemble(start, system, vector_field, max_steps=max_steps, threads=1).fate


def draw(rng: np.random.Generator, depth: int, spread: float) -> tuple[DeepState, DeepSystem]:
    """One mode: rates log-uniform in e^{±spread}, N(0, 1) weights, targets that have nothing to do with them."""
    rates = np.exp(rng.uniform(-spread, spread, depth + 3))
    s, d = rates[0], rates[0] * rng.uniform(0.1, 1.0)
    system = DeepSystem(s, d, depth=depth, tau_online=rates[3:], tau_predictor=rates[1], tau_target=rates[2])
    return system.deep_state(
        rng.standard_normal(depth), rng.standard_normal(), rng.standard_normal(depth)
    ), system


def main() -> None:
    """Compare, and print a line per depth and flow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", type=int, default=10_000)
    parser.add_argument("--spread", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for depth in range(2, 7):
        for averaged in (True, False):
            rng = np.random.default_rng([options.seed, depth])
            began, counts = time.perf_counter(), np.zeros((2, 3), dtype=int)
            wrong = 0
            for _ in range(options.systems):
                start, system = draw(rng, depth, options.spread)
                if not averaged:
                    start = start._replace(targets=start.layers)
                said = int(deep_fate(start, system).fate[0] == "collapsed")
                did = int(followed(start, system, averaged=averaged)[0])
                counts[said, did] += 1
                wrong += did != UNDECIDED and did != said
            seconds = time.perf_counter() - began
            print(
                f"L = {depth}, {'average of every layer' if averaged else 'no average'}: {wrong} mismatches of"
                f" {options.systems}, {counts[:, 2].sum()} undecided, {counts[1].sum()} said to collapse,"
                f" {seconds:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
