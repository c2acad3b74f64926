"""C1: gradient steps follow the flow, with an error proportional to the step."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from analysis.experiments.experiment import Curve, Effort, Experiment, Measurement, Outcome, Panel, compare
from analysis.experiments.runs import (
    Estimate,
    clocked,
    flat,
    flow_end,
    length_of_mean,
    log_slope,
    noisy_digits,
    student,
)
from dynamics.data.moments import Moments
from dynamics.fields.matrices import full_field
from dynamics.states import MatrixState, random_state
from dynamics.system import MatrixSystem
from dynamics.training import (
    DataSettings,
    EncoderSettings,
    ObjectiveSettings,
    OptimizerSettings,
    TrainingData,
    TrainingSettings,
    flow_of,
    load_data,
    train,
)

TAU_TARGET = 1.0
"""τt, held fixed while the step shrinks."""
SECOND_ORDER = 0.1
"""What the next order in the step may add to the slope: error = a dt + b dt² has the slope 1 + O(b dt/a)."""
FORMS = (
    ("halved, one view", ObjectiveSettings(symmetric=False, halved=True), 1),
    ("one view", ObjectiveSettings(symmetric=False), 2),
    ("symmetric", ObjectiveSettings(), 4),
)
"""Forms of the loss, and the time dt/ε of the flow that a step takes under each (R1, R29)."""


def gaussian_moments() -> Moments:
    """Σs and Σd of four dimensions that do not commute: noise of another shape than the signal."""
    signal = np.array(
        [[1.0, 0.3, 0.0, 0.1], [0.3, 0.8, 0.2, 0.0], [0.0, 0.2, 0.5, 0.1], [0.1, 0.0, 0.1, 0.3]]
    )
    return Moments.additive_noise(signal, np.diag([0.1, 0.4, 0.2, 0.6]))


def exact_settings(moments: Moments, n2: int) -> TrainingSettings:
    """A linear network that sees pairs with exactly these moments: a step is a step of the flow."""
    return TrainingSettings(
        data=DataSettings(source="exact", sigma_s=moments.sigma_s, sigma_d=moments.sigma_d),
        batch=None,
        encoder=EncoderSettings(features=n2),
        dtype="float64",
    )


class Case(NamedTuple):
    """Networks that are trained to the time t_end of the flow, with several numbers of steps."""

    name: str
    settings: TrainingSettings
    data: TrainingData
    n_seeds: int
    t_end: float
    n_steps: tuple[int, ...]


def cases(effort: Effort) -> list[Case]:
    """Exact moments and batches, of Gaussian samples and of digits; the quick version has one of each."""
    moments = gaussian_moments()
    exact = exact_settings(moments, 3)
    gaussian = replace(exact, data=replace(exact.data, source="gaussian"), batch=64, dtype="float32")
    digits = noisy_digits(features=4)
    images = load_data(digits.data, n_evaluation=16)
    found = [
        Case(
            "exact Gaussian moments",
            exact,
            load_data(exact.data, n_evaluation=16),
            1,
            4.0,
            (40, 80, 160, 320, 640),
        ),
        Case(
            "digits in batches of 128",
            digits,
            images,
            48 if effort.quick else 256,
            0.5,
            (20, 40, 80, 160, 320),
        ),
    ]
    if not effort.quick:
        of_digits = exact_settings(images.moments(), 4)
        found += [
            Case(
                "exact moments of digits",
                of_digits,
                load_data(of_digits.data, n_evaluation=16),
                1,
                0.5,
                (20, 40, 80, 160, 320),
            ),
            Case(
                "Gaussian in batches of 64",
                gaussian,
                load_data(gaussian.data, n_evaluation=16),
                256,
                4.0,
                (20, 40, 80, 160, 320),
            ),
        ]
    return found


def _start(case: Case, seed: int) -> MatrixState:
    n1, n2 = case.data.n1, case.settings.encoder.features
    return random_state(n1, n2, scale_online=0.5 / np.sqrt(n1 / 4), scale_predictor=0.5, seed=seed)


def _errors(case: Case, effort: Effort) -> Estimate:
    """Distance of the mean of all seeds from the flow at one time, for every step."""
    start = _start(case, effort.seed)
    seeds = [effort.seed * case.n_seeds + k for k in range(case.n_seeds)]
    found, end = [], None
    for n_steps in case.n_steps:
        settings = clocked(case.settings, case.t_end / n_steps, n_steps, tau_target=TAU_TARGET)
        if end is None:
            end = flow_end(start, flow_of(settings, case.data.moments()), case.t_end)
        run = train(settings, seeds, initial=start, data=case.data)
        found.append(length_of_mean(flat(run.final) - flat(MatrixState(*(part[None] for part in end)))))
    return Estimate(*(np.array(part) for part in zip(*found, strict=True)))


def step_factor(form: ObjectiveSettings, seed: int) -> float:
    """Time of the flow that one step of size ε takes, over ε, measured as ⟨ΔW, dW/dt⟩/(ε ‖dW/dt‖²)."""
    moments, rate = gaussian_moments(), 0.01
    settings = replace(
        exact_settings(moments, 3), objective=form, optimizer=OptimizerSettings(learning_rate=rate), steps=1
    )
    start = random_state(4, 3, scale_online=0.5, scale_predictor=0.5, seed=seed)
    run = train(settings, seed, initial=start)
    slope = full_field(0.0, start, MatrixSystem(moments.sigma_s, moments.sigma_d)).online
    return float(np.sum((run.final.online[0] - start.online) * slope) / (rate * np.sum(slope**2)))


def followed(case: Case, effort: Effort) -> tuple[Measurement, list[Curve]]:
    """Train to one time of the flow by several steps, and fit the slope of ln error over ln step."""
    dt, errors = case.t_end / np.array(case.n_steps), _errors(case, effort)
    slope = log_slope(dt, errors)
    note = f"{SECOND_ORDER:g} for the second order in the step"
    if case.n_seeds > 1:
        note += f", and {student(case.n_seeds):.1f} standard errors of {case.n_seeds} seeds"
    tolerance = SECOND_ORDER + student(case.n_seeds) * slope.error
    panel = Panel(case.name, "step dt", "distance from the flow", log_x=True, log_y=True)
    line = np.exp(np.mean(np.log(errors.value / dt))) * dt
    return compare(f"log-log slope, {case.name}", 1.0, slope.value, tolerance, note), [
        panel.theory("slope 1", dt, line),
        panel.training("training", dt, errors.value, errors.error),
    ]


def run(effort: Effort) -> Outcome:
    """Shrink the step on Gaussian samples and on digits, and measure the time that a step of each loss takes."""
    measurements: list[Measurement] = []
    curves: list[Curve] = []
    chosen = cases(effort)
    for done, case in enumerate(chosen):
        measurement, more = followed(case, effort)
        measurements.append(measurement)
        curves += more
        effort.report(done + 1, len(chosen) + 1)
    note = "rounding: a step on exact moments is a step of the flow"
    measurements += [
        compare(f"dt/ε, {name}", factor, step_factor(form, effort.seed), 1e-9, note)
        for name, form, factor in FORMS
    ]
    effort.report(1)
    return Outcome(tuple(measurements), tuple(curves))


EXPERIMENTS = (
    Experiment(
        "C1",
        "SGD follows the flow",
        "The distance of SGD from the flow at a fixed time is proportional to the step, and one step of size ε takes"
        " the time ε, 2ε or 4ε, by the form of the loss (R1, R29).",
        run,
    ),
)
