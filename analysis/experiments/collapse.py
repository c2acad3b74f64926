"""C3: without predictor, or without stop-gradient, features collapse at the predicted rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from analysis.experiments.experiment import Curve, Effort, Experiment, Measurement, Outcome, Panel, compare
from analysis.experiments.runs import Estimate, clocked, noisy_digits, student
from dynamics.exact.no_predictor import no_predictor_matrix_solution
from dynamics.states import MatrixState, random_state
from dynamics.system import MatrixSystem
from dynamics.training import (
    EncoderSettings,
    ObjectiveSettings,
    OptimizerSettings,
    PredictorSettings,
    TargetSettings,
    TrainingRun,
    TrainingSettings,
    flow_of,
    load_data,
    train,
)

FEATURES = 8
TAU_TARGET = 0.5
SHRINKAGE = 4.0
"""−d‖W‖²/dt over the loss without stop-gradient (R12)."""
ENCODERS = {
    "linear": EncoderSettings(features=FEATURES),
    "MLP": EncoderSettings(kind="mlp", features=FEATURES, widths=(32,)),
    "convolutional": EncoderSettings(kind="conv", features=FEATURES, widths=(8,)),
}


class Decay(NamedTuple):
    """Squared norm of the last layer along a run, its course by R12, and the largest excess that steps explain."""

    steps: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    excess: float


def euler_mean(start: MatrixState, system: MatrixSystem, dt: float, n_steps: int) -> np.ndarray:
    """Mean of W after n_steps steps without predictor, each on a batch of its own: steps are linear in (W, Θ).

    W ← W + dt (Θ Σd − W Σs)/τo, then Θ ← Θ + dt (W − Θ)/τt with the new W.
    """
    W, _, Th = start
    for _ in range(n_steps):
        W = W + dt * (Th @ system.sigma_d - W @ system.sigma_s) / system.tau_online
        Th = Th + dt * (W - Th) / system.tau_target
    return W


def effective_rank(W: np.ndarray, sigma: np.ndarray) -> float:
    """Exponential of the entropy of the eigenvalues of W Σ Wᵀ."""
    eigenvalues = np.maximum(np.linalg.eigvalsh(W @ sigma @ W.T), 0)
    p = eigenvalues[eigenvalues > 0] / np.sum(eigenvalues)
    return float(np.exp(-np.sum(p * np.log(p))))


def _jackknife(samples: np.ndarray, function: Any) -> Estimate:
    """Function of the mean of samples, and its standard error by leaving out one sample at a time."""
    n, total = len(samples), np.sum(samples, axis=0)
    left_out = np.array([function((total - sample) / (n - 1)) for sample in samples])
    error = np.sqrt((n - 1) * np.mean((left_out - np.mean(left_out, axis=0)) ** 2, axis=0))
    return Estimate(function(total / n), error)


def no_predictor(n_seeds: int, counts: tuple[int, ...], seed: int) -> tuple[list[Measurement], list[Curve]]:
    """Linear networks on digits, predictor I and EMA: W(t) follows the matrix exponential of R11."""
    settings = replace(noisy_digits("shift:1", features=FEATURES), predictor=PredictorSettings(kind="none"))
    data = load_data(settings.data, n_evaluation=2)
    dt = 0.01
    ts = dt * np.array(counts)
    start = random_state(data.n1, FEATURES, scale_online=0.1, scale_predictor=1.0, seed=seed)
    moments = data.moments()
    system = flow_of(clocked(settings, dt, 1, tau_target=TAU_TARGET), moments).system
    flow = no_predictor_matrix_solution(ts, start, system).online
    fine_ts = np.linspace(0, ts[-1], 41)
    course = no_predictor_matrix_solution(fine_ts, start, system).online
    seeds = [seed * n_seeds + k for k in range(n_seeds)]
    ends = [
        train(clocked(settings, dt, k, tau_target=TAU_TARGET), seeds, initial=start, data=data).final.online
        for k in counts
    ]

    def size(W: np.ndarray) -> float:
        return float(np.linalg.norm(W))

    def rank(W: np.ndarray) -> float:
        return effective_rank(W, moments.sigma_d)

    measurements, curves = [], []
    note = (
        f"1.5 times the error of steps of {dt:g}, twice the change from half the step in the exact mean of steps,"
        f" and {student(n_seeds):.1f} standard errors of {n_seeds} seeds"
    )
    stepped = [[euler_mean(start, system, dt / n, n * k) for k in counts] for n in (1, 2)]
    for name, panel, function in (
        ("‖W‖ left", "‖W(t)‖", size),
        ("effective rank left", "effective rank", rank),
    ):
        theory = np.array([function(W) for W in flow])
        coarse, fine = (np.array([function(W) for W in means]) for means in stepped)
        found = [_jackknife(samples.astype(np.float64), function) for samples in ends]
        value, error = (np.array(part) for part in zip(*found, strict=True))
        tolerance = 3 * np.abs(coarse - fine) + student(n_seeds) * error
        for k in (0, len(counts) - 1):
            name_at = f"{name} at t = {ts[k]:g}, no predictor, linear"
            measurements.append(compare(name_at, theory[k], value[k], tolerance[k], note))
        axes = Panel(f"{panel}, no predictor", "time", panel)
        curves.append(axes.theory("R11", fine_ts, [function(W) for W in course]))
        curves.append(axes.training("training", ts, value, error))
    return measurements, curves


def _last_layer(run: TrainingRun, *, end: bool) -> np.ndarray:
    """Squared norm of weights and bias of the encoder's last layer, (n_runs,)."""
    state = run.state if end else run.start
    leaves = [np.asarray(leaf, np.float64) for leaf in state.online.encoder[-1].values()]
    return np.sum([np.sum(leaf.reshape(len(leaf), -1) ** 2, axis=1) for leaf in leaves], axis=0)


def last_layer_decay(settings: TrainingSettings, seed: int) -> Decay:
    """Squared norm of the encoder's last layer, which the loss sees through W_L h alone: it is 2-homogeneous in it.

        ‖θ_L‖² ← ‖θ_L‖² − 4 ε loss + ε² ‖∇_L‖²      (no stop-gradient; half the loss where one stops it at P = I)

    The last term is at least 0 and at most ε² times the squared gradient of the whole encoder.
    """
    data = load_data(settings.data, n_evaluation=32)
    stops = np.unique(np.linspace(settings.steps / 5, settings.steps, 5).astype(int))
    rate = float(np.asarray(settings.optimizer.learning_rate))
    share = SHRINKAGE / 2 if settings.objective.stop_gradient else SHRINKAGE
    runs = [train(replace(settings, steps=int(k)), seed, data=data) for k in stops]
    start = float(_last_layer(runs[0], end=False)[0])
    measured = np.array([start, *(float(_last_layer(run, end=True)[0]) for run in runs)])
    last = runs[-1].metrics
    loss, gradient = (np.cumsum(last[name][0, :-1].astype(np.float64) ** power) for name, power in _SUMS)
    predicted = start - share * rate * np.concatenate([[0.0], loss[stops - 1]])
    return Decay(np.concatenate([[0], stops]), measured, predicted, rate**2 * float(gradient[-1]))


_SUMS = (("loss", 1), ("gradient_norm", 2))


def last_layer(
    what: str, name: str, settings: TrainingSettings, seed: int
) -> tuple[Measurement, list[Curve]]:
    """How much the last layer shrinks, over what the loss along the run says."""
    decay = last_layer_decay(settings, seed)
    lost, expected = (path[0] - path[-1] for path in (decay.measured, decay.predicted))
    rounding = np.finfo(np.float32).eps * settings.steps * decay.measured[0] / expected
    panel = Panel(f"{name}, {what}", "step", "last layer ‖θ_L‖²")
    measurement = compare(
        f"shrinkage of ‖θ_L‖² over that by its loss, {what}, {name}",
        1.0,
        lost / expected,
        decay.excess / expected + rounding,
        "the second order of each step, at most ε² Σ ‖gradient‖², and float32 rounding of each step",
    )
    return measurement, [
        panel.theory("R12", decay.steps, decay.predicted),
        panel.training("training", decay.steps, decay.measured),
    ]


def without(what: str, steps: int) -> TrainingSettings:
    """Settings without EMA and "no stop-gradient" or "no predictor", on digits."""
    base = TrainingSettings(
        data=noisy_digits(features=FEATURES).data,
        target=TargetSettings(kind="none"),
        optimizer=OptimizerSettings(learning_rate=0.002),
        steps=steps,
        metrics_every=1,
    )
    if what == "no predictor":
        return replace(base, predictor=PredictorSettings(kind="none"))
    return replace(base, objective=ObjectiveSettings(stop_gradient=False))


def run(effort: Effort) -> Outcome:
    """Train without predictor and without stop-gradient, and compare what is left with R11 and R12."""
    n_seeds, counts = (16, (50, 100, 200, 400)) if effort.quick else (64, (50, 100, 200, 400, 800))
    measurements, curves = no_predictor(n_seeds, counts, effort.seed)
    effort.report(0.5)
    # the quick version leaves out the second, which is the first at half the speed
    kinds = ("no stop-gradient",) if effort.quick else ("no stop-gradient", "no predictor")
    cases = [(what, *encoder) for what in kinds for encoder in ENCODERS.items()]
    for done, (what, name, encoder) in enumerate(cases):
        settings = replace(without(what, 100 if effort.quick else 400), encoder=encoder)
        measurement, more = last_layer(what, name, settings, effort.seed)
        measurements.append(measurement)
        curves += more
        effort.report(0.5 + 0.5 * (done + 1) / len(cases))
    return Outcome(tuple(measurements), tuple(curves))


EXPERIMENTS = (
    Experiment(
        "C3",
        "Collapse without predictor or stop-gradient",
        "Without predictor W(t) decays by a matrix exponential, fastest where the ratio is smallest, so that rank falls"
        " (R11); without stop-gradient d‖W‖²/dt = −4L, and the same holds of the last layer of any encoder (R12).",
        run,
    ),
)
