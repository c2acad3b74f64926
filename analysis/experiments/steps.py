"""C19: where real steps change a fate, and the largest step that is stable, by the trainer in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.experiments.experiment import Curve, Effort, Experiment, Measurement, Outcome, Panel, compare
from analysis.experiments.flow_limit import exact_settings
from analysis.experiments.runs import clocked
from analysis.steps.critical_steps import pair_critical_steps
from analysis.steps.fates import boundary_shift
from analysis.steps.noise import error_map
from dynamics.data.moments import Moments
from dynamics.states import MatrixState, ModeState
from dynamics.system import ModeSystem
from dynamics.training import ObjectiveSettings, TrainingSettings, load_data, train

RATIO = 0.5
SYSTEM = ModeSystem(1.0, RATIO)
STARTS = 65
"""Starts of the predictor among which the boundary is sought."""
SETTLING = 60.0
"""Time of a run: what is left of the change of c at the boundary falls like ε/t²."""
KICK, AMPLITUDE = 1e-6, 0.5


def one_mode() -> TrainingSettings:
    """Linear networks of one mode that see its exact moments, with the loss ½‖z1 − z2‖² of one view."""
    settings = exact_settings(Moments.from_eigenvalues([1.0], [RATIO]), 1)
    return replace(settings, objective=ObjectiveSettings(symmetric=False, halved=True))


def ends(settings: TrainingSettings, start: ModeState, step: float, rate: float, n_steps: int) -> ModeState:
    """Ends of one-mode networks after n_steps steps of size ε, one per start."""
    clock = clocked(settings, step, n_steps, tau_target=step / rate)
    single = MatrixState(*(np.asarray(part, np.float64)[:, None, None] for part in start))
    run = train(clock, [0] * len(start.online), initial=single, data=load_data(clock.data, n_evaluation=2))
    return ModeState(*(np.asarray(part, np.float64)[:, 0, 0] for part in run.final))


def boundary(step: float) -> tuple[Measurement, np.ndarray, np.ndarray]:
    """Boundary of w2(0) between learning and collapse from w1(0) = 1, θ(0) = 0, h = ε: the last c∞ above −τp r²."""
    found = boundary_shift(1.0, 0.0, SYSTEM, step, step, tolerance=1e-6)
    w2 = np.linspace(found.flow, 2 * found.steps - found.flow, STARTS)
    start = ModeState(np.ones(STARTS), w2, np.zeros(STARTS))
    end = ends(one_mode(), start, step, step, int(SETTLING / step))
    c = end.online**2 - end.predictor**2
    learned = c > -(RATIO**2)
    measured = float(w2[learned][-1] + w2[~learned][0]) / 2 if 0 < np.sum(learned) < STARTS else np.nan
    spacing = float(w2[1] - w2[0])
    measurement = compare(
        f"boundary of w2(0), ε = {step:g}",
        found.steps,
        measured,
        spacing + step / SETTLING**2,
        "a cell of the starts that were trained, and ε/t² for what a run leaves of the change of c",
    )
    return measurement, w2, c


def kicks(rate: float) -> list[Measurement]:
    """Growth of a small error in 200 steps just below and just above the critical step."""
    value = float(pair_critical_steps(RATIO, AMPLITUDE, SYSTEM, rate).flip[0])
    found = []
    for factor in (0.99, 1.01):
        step, n = factor * value, 200
        start = ModeState(*(np.array([x]) for x in (AMPLITUDE, RATIO + KICK, AMPLITUDE)))
        end = ends(one_mode(), start, step, rate, n)
        e = float((end.target * RATIO - end.online * end.predictor)[0])
        M, _ = error_map(AMPLITUDE, SYSTEM, step, rate)
        predicted = np.linalg.matrix_power(M, n) @ [-KICK * AMPLITUDE, 0.0]
        found.append(
            compare(
                f"growth of an error per step, ε = {factor:g} ε*, h = {rate:g}",
                np.log(abs(predicted[0]) / (KICK * AMPLITUDE)) / n,
                np.log(abs(e) / (KICK * AMPLITUDE)) / n,
                1e-4,
                "1 % of the growth to the critical step: the error stays below 10⁻⁴ of the weights, squares below that",
            )
        )
    return found


def run(effort: Effort) -> Outcome:
    """Train across the boundary at several steps, and kick a learned point at steps about the critical one."""
    steps = (0.2, 0.5) if effort.quick else (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
    measurements: list[Measurement] = []
    curves: list[Curve] = []
    for k, step in enumerate(steps):
        measurement, w2, c = boundary(step)
        measurements.append(measurement)
        panel = Panel("boundary of fates", "w2(0)", "c at the end")
        curves.append(panel.training(f"ε = {step:g}", w2, c))
        effort.report(k + 1, len(steps) + 2)
    curves.append(panel.theory("−τp r²", w2, np.full_like(w2, -(RATIO**2))))
    for rate in (0.2,) if effort.quick else (0.2, 0.5, 1.0):
        measurements += kicks(rate)
    effort.report(1)
    return Outcome(tuple(measurements), tuple(curves))


EXPERIMENTS = (
    Experiment(
        "C19",
        "Real steps move fates and stability",
        "A trainer learns the strip of starts that R302 gives beyond the boundary of the flow, and loses a "
        "learned point just"
        " above the critical step of R303, not below.",
        run,
    ),
)
