"""C12: modes are learned one after the other, at the times of the exact solution."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from analysis.confirm.experiment import Curve, Effort, Experiment, Measurement, Outcome, Panel, compare
from analysis.confirm.flow_limit import exact_settings
from analysis.confirm.runs import clocked, mean_of, noisy_digit_modes, noisy_digits, student
from dynamics.exact import no_ema_solution, no_ema_time
from dynamics.modes import expand_modes
from dynamics.moments import Moments
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
    times = t0 + (levels - y0) / (y1 - y0) * (t1 - t0)
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
        )
    ]
    for mode, at in enumerate(predicted):
        # the error of the fine step is the change from twice the step, to first order; half of it for the second
        tolerance = 1.5 * change[mode] + student(len(fine)) * error[mode]
        found.append(compare(f"time of mode {mode + 1}, {name}", at, value[mode], tolerance, note))
    return found


def _exact() -> tuple[TrainingSettings, TrainingData, ModeSystem, np.ndarray]:
    system = ModeSystem([1.0, 1.0, 1.0, 1.0], [0.8, 0.6, 0.45, 0.3])
    settings = exact_settings(Moments.from_eigenvalues(system.lambda_s, system.lambda_d), 4)
    return settings, load_data(settings.data, n_evaluation=2), system, np.eye(4)


def _digits() -> tuple[TrainingSettings, TrainingData, ModeSystem, np.ndarray]:
    settings, basis = noisy_digits(features=4), noisy_digit_modes(4)
    data = load_data(settings.data, n_evaluation=2)
    return settings, data, ModeSystem(basis.lambda_s, basis.lambda_d), basis.directions.T


def run(effort: Effort) -> Outcome:
    """Train from small balanced starts without EMA, and time when each mode has half of its final predictor."""
    n_seeds = 8 if effort.quick else 24
    cases = (
        ("exact moments", *_exact(), 0.05, 0.05, 1),
        ("digits in batches of 256", *_digits(), 0.1, 0.005, n_seeds),
    )
    measurements: list[Measurement] = []
    curves: list[Curve] = []
    for done, (name, settings, data, system, directions, small, dt, n_runs) in enumerate(cases):
        settings = replace(settings, target=TargetSettings(kind="none"), batch=settings.batch and 256)
        modes = system.state(small, small, small)
        start = expand_modes(modes, directions)
        levels = system.ratio / 2
        predicted = no_ema_time(levels, modes, system)
        n_steps = round(1.3 * float(np.max(predicted)) / dt)
        seeds = [effort.seed * n_runs + k for k in range(n_runs)]
        coarse = _paths(settings, data, start, 2 * dt, -(-n_steps // 2), seeds)
        ts, fine = _paths(settings, data, start, dt, n_steps, seeds)
        note = "1.5 times the change from twice the step" + (
            f", and {student(n_runs):.1f} standard errors of seeds" if n_runs > 1 else ""
        )
        times = crossing_times(*coarse, levels), crossing_times(ts, fine, levels)
        measurements += _measured(name, predicted, *times, note)
        curves += _curves(name, system, modes, ts, fine)
        effort.report(done + 1, len(cases))
    return Outcome(tuple(measurements), tuple(curves))


EXPERIMENTS = (
    Experiment(
        "C12",
        "Modes learned one after the other",
        "Without EMA, mode i reaches w2 = r/2 at the time [F(r/2) − F(w2(0))]/(λs(r² + c)): from small starts the"
        " modes with large λd come first (R14).",
        run,
    ),
)
