"""C18: how many one-mode networks die when their predictor is drawn anew, and what a restart adds to a larger one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.experiments.experiment import (
    Curve,
    Effort,
    Experiment,
    Measurement,
    Outcome,
    Panel,
    at_least,
    compare,
)
from analysis.experiments.flow_limit import exact_settings
from analysis.experiments.runs import clocked, student
from analysis.fates.restarts import collapse_fraction
from dynamics.data.moments import Moments
from dynamics.exact.restarts import RestartLaw, restart_map
from dynamics.states import MatrixState
from dynamics.training import load_data, train

RATIO, SIZE = 0.5, 0.01
"""r, and x = τo w1²/τp at rest before the first restart."""
DT, PERIOD = 0.05, 400.0
"""Step, and time from one restart to the next."""
DEAD = 0.02
"""|w1| below which a mode at the end of a period has died; it started at 0.1 or more."""
WIDTH = 6 / PERIOD + 0.02
"""Distance of c from an edge below which a mode is left out: there it moves at a rate below 6/period, or ends on the
side to which steps push it, whose drift of c is of order dt e² w²."""
LAWS = (RestartLaw(0.5), RestartLaw(1.0), RestartLaw(0.05, "positive"), RestartLaw(0.6, "positive"))
RATIOS = (0.9, 0.75, 0.6)
"""Of the larger network."""
AGREEMENT = 0.999


class _Chains(NamedTuple):
    """Networks under one law: whether each is dead after every restart, what the map says, and which are too close."""

    dead: np.ndarray
    said: np.ndarray
    close: np.ndarray


def _chains(law: RestartLaw, n: int, restarts: int, seed: int) -> _Chains:
    """Train n one-mode networks from rest, with a fresh predictor each after every period; the dead are set to zero."""
    moments = Moments.from_eigenvalues([1.0], [RATIO])
    settings = exact_settings(moments, 1)
    data = load_data(settings.data, n_evaluation=2)
    settings = clocked(settings, DT, round(PERIOD / DT), tau_target=1.0)
    rng = np.random.default_rng([seed, LAWS.index(law)])
    x = np.full(n, SIZE)
    weights = np.sqrt(x)[:, None, None]
    dead, said, close = np.zeros((3, restarts, n), dtype=bool)
    doubtful = np.zeros(n, dtype=bool)
    for k in range(restarts):
        p = law.draw(rng, n)
        edge = x + np.where(p > 0, RATIO**2, 0.0)
        doubtful |= (x > 0) & (np.abs(p**2 - edge) < WIDTH)
        x = restart_map(x, p, RATIO)
        run = train(settings, [0] * n, initial=MatrixState(weights, p[:, None, None], weights), data=data)
        weights = run.final.online
        # what is left of a dead mode after a finite period would come back under a small positive predictor
        weights = np.where(np.abs(weights) < DEAD, 0.0, weights)
        dead[k] = weights[:, 0, 0] == 0
        said[k], close[k] = x == 0, doubtful
    return _Chains(dead, said, close)


def fractions(n: int, restarts: int, laws: tuple[RestartLaw, ...], effort: Effort) -> Outcome:
    """Compare networks one by one with the map, and their fractions with R226."""
    measurements: list[Measurement] = []
    panel = Panel("dead after k restarts", "restarts k", "fraction dead")
    curves: list[Curve] = []
    ks = list(range(1, restarts + 1))
    for done, law in enumerate(laws):
        found = _chains(law, n, restarts, effort.seed)
        clear = ~found.close[-1]
        agreement = np.mean(found.dead[:, clear] == found.said[:, clear])
        name = f"{law.kind}, a = {law.scale:g}"
        measurements.append(
            at_least(
                f"agreement with the map, {name}",
                AGREEMENT,
                float(agreement),
                f"{np.sum(clear)} of {n} networks never came within {WIDTH:g} of an edge in c",
            )
        )
        exact = np.array([collapse_fraction(SIZE, RATIO, law, k) for k in ks])
        trained = found.dead.mean(axis=1)
        error = np.sqrt(np.maximum(exact * (1 - exact), 0) / n)
        other = np.mean(found.dead != found.said, axis=1)
        for k in (0, restarts - 1):
            measurements.append(
                compare(
                    f"dead after {k + 1} restart{'s' * (k > 0)}, {name}",
                    exact[k],
                    trained[k],
                    student(n) * error[k] + other[k] + 1e-4,
                    f"{student(n):.1f} standard errors of {n} networks, and the {other[k]:.2g} near an edge that"
                    " ended on its other side",
                )
            )
        curves.append(panel.theory(f"R226, {name}", ks, exact))
        curves.append(panel.training(f"trained, {name}", ks, trained, error))
        effort.report((done + 1) / (len(laws) + 1))
    return Outcome(tuple(measurements), tuple(curves))


class _Growth(NamedTuple):
    """Networks under restarts: mean tr W Wᵀ at the end of every period, that of R227, and ranks."""

    trace: np.ndarray
    said: np.ndarray
    rank: int


def _growth(dt: float, restarts: int, n: int, seed: int) -> _Growth:
    moments = Moments.from_eigenvalues([1.0] * 3, list(RATIOS))
    settings = exact_settings(moments, 3)
    data = load_data(settings.data, n_evaluation=4)
    settings = clocked(settings, dt, round(80.0 / dt), tau_target=1.0)
    law = RestartLaw(0.15)
    rng = np.random.default_rng([seed, len(LAWS)])
    weights = np.broadcast_to(0.6 * np.eye(3), (n, 3, 3))
    trace: list[float] = []
    said: list[float] = []
    for _ in range(restarts + 1):
        p = law.draw(rng, (n, 3, 3))
        before = said[-1] if said else float(np.mean(np.sum(weights**2, axis=(1, 2))))
        said.append(before + sum(r**2 for r in RATIOS) - float(np.mean(np.sum(p**2, axis=(1, 2)))))
        weights = train(settings, [0] * n, initial=MatrixState(weights, p, weights), data=data).final.online
        trace.append(float(np.mean(np.sum(weights**2, axis=(1, 2)))))
    return _Growth(np.array(trace), np.array(said), int(np.min(np.linalg.matrix_rank(weights, tol=DEAD))))


def growth(restarts: int, n: int, effort: Effort) -> Outcome:
    """Train networks of three modes, and compare what restarts add to tr W Wᵀ with R227."""
    coarse, fine = (_growth(dt, restarts, n, effort.seed) for dt in (2 * DT, DT))
    panel = Panel("a network under restarts", "restarts", "tr W Wᵀ")
    steps = list(range(restarts + 1))
    measurements = (
        compare(
            f"tr W Wᵀ after {restarts} restarts",
            fine.said[-1],
            fine.trace[-1],
            1.5 * abs(coarse.trace[-1] - fine.trace[-1]),
            "every restart adds Σ r² less ‖P‖² of the fresh predictor; 1.5 times the change from twice the step",
        ),
        at_least("least rank, small fresh predictors", 3.0, fine.rank, "all directions safe (R8)"),
    )
    return Outcome(
        measurements, (panel.theory("R227", steps, fine.said), panel.training("trained", steps, fine.trace))
    )


def run(effort: Effort) -> Outcome:
    """Kill networks by restarts, and enlarge one."""
    laws = LAWS[1:3] if effort.quick else LAWS
    one = fractions(300 if effort.quick else 2000, 2 if effort.quick else 3, laws, effort)
    two = growth(2 if effort.quick else 4, 4 if effort.quick else 16, effort)
    effort.report(1)
    return Outcome((*one.measurements, *two.measurements), (*one.curves, *two.curves))


EXPERIMENTS = (
    Experiment(
        "C18",
        "Restarts of the predictor",
        "A fresh predictor kills a mode at rest iff p <= −√x or p >= √(x + r²), x = τo w1²/τp, and else enlarges it by "
        "r² − p² (R225), so that fractions are known (R226); small ones kill nothing, and enlarge all of W (R227).",
        run,
    ),
)
