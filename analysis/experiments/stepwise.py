"""C12: modes are learned one after the other, at the times of the exact solution."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from analysis.experiments.experiment import Curve, Effort, Experiment, Measurement, Outcome, Panel, compare
from analysis.experiments.flow_limit import exact_settings
from analysis.experiments.runs import clocked, mean_of, noisy_digit_modes, noisy_digits, student
from dynamics.data.moments import Moments
from dynamics.exact.no_ema import no_ema_solution, no_ema_time
from dynamics.modes import expand_modes
from dynamics.states import MatrixState, ModeState
from dynamics.system import ModeSystem
from dynamics.training import TargetSettings, TrainingData, TrainingSettings, load_data, train


def crossing_times(ts: np.ndarray, paths: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """First times at which paths (n_runs, T, n) reach their levels (n,), by linear interpolation; NaN if never.

    >>> crossing_times(np.array([0.0, 1.0, 2.0]), np.array([[[0.0], [1.0], [3.0]]]), np.array([2.0]))
    array([[1.5]])
    """
    above = paths >= levels
    after = np.clip(np.argmax(above, axis=1), 1, None)[:, None]
    y0, y1 = (np.take_along_axis(paths, k, axis=1)[:, 0] for k in (after - 1, after))
    t0, t1 = ts[after[:, 0] - 1], ts[after[:, 0]]
    times = t0 + (levels - y0) / np.where(y1 == y0, np.nan, y1 - y0) * (t1 - t0)
    return np.where(np.any(above, axis=1), times, np.nan)


def _paths(
    settings: TrainingSettings, data: TrainingData, start: MatrixState, dt: float, n_steps: int, seeds: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Times, and the eigenvalues of the predictor (n_runs, T, n2) in descending order."""
    settings = replace(clocked(settings, dt, n_steps), metrics_every=max(1, n_steps // 400))
    run = train(settings, seeds, initial=start, data=data)
    return dt * run.steps, run.metrics["predictor_eigenvalues"][..., 0]


def _curves(
    panel: str, system: ModeSystem, start: ModeState, ts: np.ndarray, paths: np.ndarray
) -> list[Curve]:
    axes = Panel(panel, "time", "eigenvalues of the predictor")
    theory = no_ema_solution(ts, start, system).predictor
    mean, error = mean_of(paths)
    few = slice(None, None, max(1, len(ts) // 60))
    curves = []
    for mode, lambda_d in enumerate(system.lambda_d):
        label = f"λd = {lambda_d:.2f}"
        curves.append(axes.theory(f"R14, {label}", ts, theory[:, mode]))
        curves.append(axes.training(label, ts[few], mean[few, mode], error[few, mode]))
    return curves


def _measured(
    name: str, predicted: np.ndarray, coarse: np.ndarray, fine: np.ndarray, note: str
) -> list[Measurement]:
    """Times of crossing (n_runs, n) by two steps, one twice the other, beside the predicted ones (n,)."""
    value, error = mean_of(fine)
    change = np.abs(mean_of(coarse).value - value)
    order = np.argsort(value, kind="stable")
    expected = np.argsort(predicted, kind="stable")
    found = [
        Measurement(
            f"order, {name}",
            " ".join(str(k + 1) for k in expected),
            " ".join(str(k + 1) for k in order),
            None,
            bool(np.array_equal(order, expected)) and bool(np.all(np.isfinite(value))),
            "times of half the final predictor, sorted",
            "eq",
        )
    ]
    for mode, at in enumerate(predicted):
        # the error of the fine step is the change from twice the step, to first order; half of it for the second
        tolerance = 1.5 * change[mode] + student(len(fine)) * error[mode]
        found.append(compare(f"time of mode {mode + 1}, {name}", at, value[mode], tolerance, note))
    return found


class Case(NamedTuple):
    """Networks whose rows each hold one mode, and the balanced weights that these start with."""

    name: str
    settings: TrainingSettings
    data: TrainingData
    system: ModeSystem
    directions: np.ndarray
    small: float
    dt: float
    n_seeds: int


def exact_case() -> Case:
    """Four modes with λs = 1 by steps of the flow."""
    system = ModeSystem([1.0, 1.0, 1.0, 1.0], [0.8, 0.6, 0.45, 0.3])
    settings = exact_settings(Moments.from_eigenvalues(system.lambda_s, system.lambda_d), 4)
    data = load_data(settings.data, n_evaluation=2)
    return Case("exact moments", settings, data, system, np.eye(4), 0.05, 0.05, 1)


def digits_case(n_seeds: int) -> Case:
    """The first four modes of digits under noise, in batches."""
    settings, basis = replace(noisy_digits(features=4), batch=256), noisy_digit_modes(4)
    system = ModeSystem(basis.lambda_s, basis.lambda_d)
    data = load_data(settings.data, n_evaluation=2)
    return Case("digits in batches of 256", settings, data, system, basis.directions.T, 0.1, 0.005, n_seeds)


def timed(case: Case, seed: int) -> tuple[list[Measurement], list[Curve]]:
    """Train from small balanced starts without EMA, and time when each mode has half of its final predictor."""
    system, dt = case.system, case.dt
    settings = replace(case.settings, target=TargetSettings(kind="none"))
    modes = system.state(case.small, case.small, case.small)
    start = expand_modes(modes, case.directions)
    levels = system.ratio / 2
    predicted = no_ema_time(levels, modes, system)
    n_steps = round(1.3 * float(np.max(predicted)) / dt)
    seeds = [seed * case.n_seeds + k for k in range(case.n_seeds)]
    coarse = _paths(settings, case.data, start, 2 * dt, -(-n_steps // 2), seeds)
    ts, fine = _paths(settings, case.data, start, dt, n_steps, seeds)
    note = "1.5 times the change from twice the step"
    if case.n_seeds > 1:
        note += f", and {student(case.n_seeds):.1f} standard errors of {case.n_seeds} seeds"
    times = crossing_times(*coarse, levels), crossing_times(ts, fine, levels)
    return _measured(case.name, predicted, *times, note), _curves(case.name, system, modes, ts, fine)


def run(effort: Effort) -> Outcome:
    """Time modes on exact moments and on digits."""
    measurements, curves = timed(exact_case(), effort.seed)
    effort.report(0.3)
    more, more_curves = timed(digits_case(8 if effort.quick else 24), effort.seed)
    effort.report(1)
    return Outcome((*measurements, *more), (*curves, *more_curves))


EXPERIMENTS = (
    Experiment(
        "C12",
        "Modes learned one after the other",
        "Without EMA, mode i reaches w2 = r/2 at the time [F(r/2) − F(w2(0))]/(λs(r² + c)): from small starts the"
        " modes with large λd come first (R14).",
        run,
    ),
)
