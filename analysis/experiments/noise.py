"""C20: what batches of finite size do to learned modes, by the trainer: spread, slow balancing, competition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from analysis.experiments.experiment import Curve, Effort, Experiment, Measurement, Outcome, Panel, compare
from analysis.experiments.flow_limit import exact_settings
from analysis.experiments.runs import clocked, mean_of, student
from analysis.steps.competition import mode_competition
from analysis.steps.noise import balancing_path, stationary_covariance
from dynamics.data.moments import Moments
from dynamics.states import MatrixState
from dynamics.system import ModeSystem
from dynamics.training import ObjectiveSettings, TrainingSettings, load_data, train

RATIO = 0.5
SYSTEM = ModeSystem(1.0, RATIO)


def on_batches(ratios: Any, batch: int) -> TrainingSettings:
    """Linear networks on Gaussian batches of modes with λs = 1, with the loss ½‖z1 − z2‖² of one view."""
    ratios = np.asarray(ratios, dtype=np.float64)
    settings = exact_settings(Moments.from_eigenvalues(np.ones(len(ratios)), ratios), len(ratios))
    return replace(
        settings,
        data=replace(settings.data, source="gaussian"),
        objective=ObjectiveSettings(symmetric=False, halved=True),
        batch=batch,
    )


def trained(
    settings: TrainingSettings, start: MatrixState, step: float, rate: float, n_steps: int, seeds: list[int]
) -> MatrixState:
    """Ends of runs from one start, one per seed."""
    clock = clocked(settings, step, n_steps, tau_target=step / rate)
    run = train(clock, seeds, initial=start, data=load_data(clock.data, n_evaluation=2))
    return MatrixState(*(np.asarray(part, np.float64) for part in run.final))


def spread(seeds: list[int]) -> list[Measurement]:
    """Stationary variances about a learned point at a batch of 256."""
    step, rate, batch = 0.3, 0.1, 256
    start = MatrixState(*(np.array([[x]]) for x in (RATIO, RATIO, RATIO)))
    w1, w2, th = (
        part[:, 0, 0] for part in trained(on_batches([RATIO], batch), start, step, rate, 250, seeds)
    )
    found = stationary_covariance(RATIO, SYSTEM, step, rate, batch)
    e = th * RATIO - w1 * w2
    rows = (
        ("Var e", e * e, found.covariance[0, 0]),
        ("Var(W − Θ)", (w1 - th) ** 2, found.covariance[1, 1]),
        ("Var w2", (w2 - RATIO) ** 2, found.predictor),
    )
    return [
        _means(f"{name} at rest", exact, values, 8 / batch * exact, "8/B for next orders")
        for name, values, exact in rows
    ]


def _means(name: str, exact: float, values: np.ndarray, allowed: float, reason: str) -> Measurement:
    mean = mean_of(values)
    errors = student(len(values))
    note = f"{errors:.1f} standard errors of {len(values)} runs, and {reason}"
    return compare(name, exact, mean.value, errors * mean.error + allowed, note)


def balancing(seeds: list[int], steps: tuple[int, ...]) -> tuple[list[Measurement], list[Curve]]:
    """Mean invariant along the learned line at a batch of 2."""
    step, batch = 0.05, 2
    start = MatrixState(*(np.array([[x]]) for x in (1.0, RATIO, 1.0)))
    c0 = 1 - RATIO**2
    ts = step * np.array([0, *steps])
    path = balancing_path(ts, c0, SYSTEM, step, step, batch)
    found, measurements = [np.full(len(seeds), c0)], []
    for n, theory in zip(steps, path[1:], strict=True):
        end = trained(on_batches([RATIO], batch), start, step, step, n, seeds)
        c = end.online[:, 0, 0] ** 2 - end.predictor[:, 0, 0] ** 2
        found.append(c)
        # εA (1 + 2/B) of what has been travelled, times that of the order that is in
        allowed = (step * 1.25 * 2) ** 2 * (c0 - theory)
        measurements.append(_means(f"c after {n} steps", theory, c, allowed, "(εA(1 + 2/B))² of the way"))
    panel = Panel("slow balancing", "time", "invariant c")
    fine = np.linspace(0.0, ts[-1], 41)
    means = [mean_of(c) for c in found]
    return measurements, [
        panel.theory("R307", fine, balancing_path(fine, c0, SYSTEM, step, step, batch)),
        panel.training("training", ts, [m.value for m in means], [m.error for m in means]),
    ]


def competition(seeds: list[int], n_steps: int) -> tuple[list[Measurement], list[Curve]]:
    """Squared norms of two rows at a batch of 4, beside the law of Lotka and Volterra."""
    ratios, step, rate, batch, w = (0.97, 0.7), 0.02, 0.1, 4, 1.2
    start = MatrixState(w * np.eye(2), np.diag(ratios), w * np.eye(2))
    end = trained(on_batches(ratios, batch), start, step, rate, n_steps, seeds)
    rows = np.sum(end.online**2, axis=2)
    ts = np.linspace(0.0, step * n_steps, 41)
    law = mode_competition([w**2] * 2, ModeSystem(np.ones(2), ratios), step, batch, ts).squares
    measurements, curves = [], []
    panel = Panel("competition of modes", "time", "‖row‖²")
    for k, ratio in enumerate(ratios):
        # next order: εA (1 + 2/B) of the way, A = r² + w² at most, for each of the two moments that enter
        allowed = 2 * step * (ratio**2 + w**2) * (1 + 2 / batch) * abs(law[-1, k] - w**2)
        measurements.append(
            _means(f"‖row‖², r = {ratio:g}", law[-1, k], rows[:, k], allowed, "2εA(1 + 2/B) of the way")
        )
        mean = mean_of(rows[:, k])
        curves.append(panel.theory(f"R310, r = {ratio:g}", ts, law[:, k]))
        curves.append(panel.training(f"r = {ratio:g}", [0.0, ts[-1]], [w**2, mean.value], [0.0, mean.error]))
    return measurements, curves


def run(effort: Effort) -> Outcome:
    """Train on batches: the spread at rest, the slow drift of the invariant, and two modes that compete."""
    quick = effort.quick
    n = 128 if quick else 2048
    seeds = [effort.seed * n + k for k in range(n)]
    measurements = spread(seeds)
    effort.report(0.3)
    more, curves = balancing(seeds, (300,) if quick else (300, 600, 1200, 2133))
    measurements += more
    effort.report(0.6)
    few = seeds[:32] if quick else seeds[:256]
    more, others = competition(few, 1000 if quick else 20_000)
    effort.report(1)
    return Outcome(tuple(measurements + more), tuple(curves + others))


EXPERIMENTS = (
    Experiment(
        "C20",
        "Noise spreads, balances, and lets modes compete",
        "On Gaussian batches a trainer keeps the covariance of R308 about a learned point, loses its invariant "
        "at the rate of"
        " R307, and changes the sizes of two modes as R310 says.",
        run,
    ),
)
