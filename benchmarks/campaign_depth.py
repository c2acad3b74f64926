"""Fates of random deep encoders against R320, by a compiled integrator of its own (Dormand and Prince, order 5).

Every start is followed until it is beside a learned point, |v/r − 1| < 1e-4, or beside a collapsed one that
attracts, a layer and its target below 1e-9 with v outside [0, r]. The error of a step is kept below 1e-9. What is
neither by then is undecided, and reported.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from numba import njit

from analysis.depth.fates import deep_fate
from dynamics.fields.deep import DeepState, DeepSystem

LEARNED, COLLAPSED, UNDECIDED = 0, 1, 2
A = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [1 / 5, 0, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ]
)
E = np.array([71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])


@njit(cache=False)
def _speed(y, L, s, d, to, tp, tt, averaged, out):
    omega, theta = 1.0, 1.0
    for k in range(L):
        omega *= y[k]
        theta *= y[L + 1 + k] if averaged else y[k]
    v = y[L]
    e = theta * d - v * omega * s
    for k in range(L):
        other = 1.0
        for j in range(L):
            if j != k:
                other *= y[j]
        out[k] = v * other * e / to[k]
        out[L + 1 + k] = (y[k] - y[L + 1 + k]) / tt
    out[L] = omega * e / tp


@njit(cache=False)
def _follow(y, L, s, d, to, tp, tt, averaged, tolerance, most_steps, coefficients, error_weights):
    n, r = 2 * L + 1, d / s
    k, trial, h = np.zeros((7, n)), np.zeros(n), 1e-3
    _speed(y, L, s, d, to, tp, tt, averaged, k[0])
    for _ in range(most_steps):
        for stage in range(1, 7):
            for i in range(n):
                moved = 0.0
                for j in range(stage):
                    moved += coefficients[stage, j] * k[j, i]
                trial[i] = y[i] + h * moved
            _speed(trial, L, s, d, to, tp, tt, averaged, k[stage])
        error = 0.0
        for i in range(n):
            e = 0.0
            for j in range(7):
                e += error_weights[j] * k[j, i]
            error = max(error, abs(h * e) / (tolerance * (1e-3 + max(abs(y[i]), abs(trial[i])))))
        if error <= 1.0:
            y[:] = trial
            k[0] = k[6]
            smallest = np.inf
            for j in range(L):
                smallest = min(smallest, max(abs(y[j]), abs(y[L + 1 + j]) if averaged else 0.0))
            v = y[L]
            if abs(v / r - 1) < 1e-4 and smallest > 1e-3:
                return 0
            if smallest < 1e-9 and (v < -1e-3 or v > r * (1 + 1e-3)):
                return 1
        h *= min(4.0, max(0.2, 0.9 * (error + 1e-300) ** -0.2))
    return 2


def followed(
    start: DeepState, system: DeepSystem, *, averaged: bool = True, most_steps: int = 400_000
) -> np.ndarray:
    """Fate of every mode: LEARNED, COLLAPSED or UNDECIDED."""
    follow: Any = _follow
    L, fates = system.depth, []
    for k in range(system.n_modes):
        y = np.concatenate([start.layers[:, k], start.predictor[k : k + 1], start.targets[:, k]])
        rates = [
            float(np.broadcast_to(x, system.n_modes)[k]) for x in (system.tau_predictor, system.tau_target)
        ]
        s, d = float(system.lambda_s[k]), float(system.lambda_d[k])
        fates.append(follow(y, L, s, d, system.layer_times[:, 0], *rates, averaged, 1e-9, most_steps, A, E))
    return np.array(fates)


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
