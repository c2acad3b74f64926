"""C2: which starts of one-mode networks collapse under SGD, against the exact fate map."""

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
    at_most,
    compare,
)
from analysis.experiments.flow_limit import exact_settings
from analysis.experiments.runs import clocked
from analysis.fates.fate import Fate
from analysis.fates.predictions import predict_fates
from dynamics.data.moments import Moments
from dynamics.fields.modes import full_mode_field
from dynamics.integration.integrate import integrate
from dynamics.invariants import mode_invariant
from dynamics.states import MatrixState, ModeState
from dynamics.system import ModeSystem
from dynamics.training import DataSettings, EncoderSettings, TrainingSettings, load_data, train

LAMBDA_S, LAMBDA_D = 1.0, 0.5
HALF_SIDE = 1.0
"""Starts fill the square |w1|, |w2| < 1; Θ starts at W."""
SETTLED = 20.0
"""Flow until the slowest start outside the band has settled by e^−6: at a distance δ from the border in c, fixed
points attract at the rate λs δ/(2(1 + λs r²))."""
AGREEMENT = 0.999


class _Map(NamedTuple):
    """Fates by training, those of theory, distance of c from its border, and drift of c by training and by theory."""

    start: ModeState
    learned: np.ndarray
    predicted: np.ndarray
    distance: np.ndarray
    drift: np.ndarray
    predicted_drift: np.ndarray
    band: float


def starts(n: int) -> ModeState:
    """Centres of n × n cells of the square, none of which lies on an axis or a border of the map."""
    side = HALF_SIDE * (2 * np.arange(n) + 1 - n) / n
    w1, w2 = (part.ravel() for part in np.meshgrid(side, side + HALF_SIDE / (3 * n)))
    return ModeState(w1, w2, w1.copy())


def drift_rate(state: ModeState, system: ModeSystem) -> np.ndarray:
    """First-order drift of the invariant c by steps dt, as a rate: dc/dt = dt e² (w2²/τo − w1²/τp)."""
    w1, w2, th = state
    e = th * system.lambda_d - w2 * w1 * system.lambda_s
    return e**2 * (w2**2 / system.tau_online - w1**2 / system.tau_predictor)


def border(state: ModeState, system: ModeSystem) -> np.ndarray:
    """Value of c at or below which a start collapses: −τp r² for w2 > 0, else 0 (R6)."""
    return np.where(state.predictor > 0, -system.tau_predictor * system.ratio**2, 0.0)


def _trained(
    start: ModeState, settings: TrainingSettings, dt: float, n_steps: int, seeds: list[int]
) -> ModeState:
    """Ends of one-mode networks, one a start."""
    settings = clocked(settings, dt, n_steps, tau_target=1.0)
    single = MatrixState(*(part[:, None, None] for part in start))
    run = train(settings, seeds, initial=single, data=load_data(settings.data, n_evaluation=2))
    return ModeState(*(part[:, 0, 0] for part in run.final))


def _map(n: int, dt: float) -> _Map:
    start = starts(n)
    count = n * n
    system = ModeSystem(np.full(count, LAMBDA_S), np.full(count, LAMBDA_D))
    # nearly all of the drift of c comes while the weights are still far from rest
    ts = np.concatenate([np.arange(0, 5, 0.05), np.arange(5, 50, 0.5)])
    flow = integrate(start, system, full_mode_field, ts=ts, rtol=1e-6, atol=1e-8).states
    predicted_drift = dt * np.trapezoid(drift_rate(flow, system), ts, axis=0)
    band = float(np.max(np.abs(predicted_drift)))

    settings = exact_settings(Moments.from_eigenvalues([LAMBDA_S], [LAMBDA_D]), 1)
    end = _trained(start, settings, dt, int(SETTLED / band / dt), [0] * count)
    # what learns outside the band ends with |w1| >= sqrt(band), what collapses has shrunk by far more than half
    learned = np.abs(end.online) > np.sqrt(band / system.tau_online) / 2
    c = mode_invariant(start, system)
    return _Map(
        start,
        learned,
        predict_fates(start, system).fate == Fate.LEARNED,
        np.abs(c - border(start, system)),
        mode_invariant(end, system) - c,
        predicted_drift,
        band,
    )


def mapped(n: int, dt: float) -> Outcome:
    """Train n × n starts by steps of 2 dt and dt, and compare fates with R6 and drifts of c with the flow's."""
    coarse, fine = _map(n, 2 * dt), _map(n, dt)
    wrong = fine.learned != fine.predicted
    outside = fine.distance > fine.band
    agreement = 1 - np.mean(wrong[outside])
    slope, _ = np.polyfit(fine.predicted_drift, fine.drift, 1)
    coarse_slope, _ = np.polyfit(coarse.predicted_drift, coarse.drift, 1)
    measurements = (
        at_least(
            "agreement outside the band", AGREEMENT, agreement,
            f"{np.sum(outside)} of {n * n} starts lie outside |c − border| <= {fine.band:.3g}, the largest first-order"
            f" drift of c by steps of {dt:g}",
        ),
        at_most(
            "farthest mismatch from the border, in c", fine.band,
            float(np.max(fine.distance[wrong], initial=0.0)), "the same band, O(step)",
        ),
        compare(
            "drift of c over its integral along the flow", 1.0, slope, 1.5 * abs(coarse_slope - slope),
            "first order in the step: the change from twice the step, and half of that for the second order",
        ),
    )  # fmt: skip
    return Outcome(measurements, _curves(fine))


def _curves(found: _Map) -> tuple[Curve, ...]:
    w1, w2, _ = found.start
    r = LAMBDA_D / LAMBDA_S
    x = np.linspace(-HALF_SIDE, HALF_SIDE, 201)
    panel = Panel("fates over the start", "online w1(0)", "predictor w2(0)")
    above = np.sqrt(x**2 + r**2)
    shown = above <= HALF_SIDE
    order = np.argsort(found.predicted_drift)
    drift = Panel("drift of the invariant", "integral along the flow", "drift of c")
    return (
        panel.theory("c = −τp r²", x[shown], above[shown]),
        panel.theory("c = 0", x, -np.abs(x)),
        panel.training("collapsed", w1[~found.learned], w2[~found.learned]),
        drift.theory("equal", found.predicted_drift[order], found.predicted_drift[order]),
        drift.training("training", found.predicted_drift, found.drift),
    )


def noise_rate(state: ModeState, system: ModeSystem, batch: int) -> np.ndarray:
    """What Gaussian batches add to the size of `drift_rate`, at most: e² gains the variance of one view over B.

    By Isserlis, Var[(θ x2 − w1 w2 x1) x1] = λs E[(θ x2 − w1 w2 x1)²] + e²; the symmetric loss averages two.
    """
    w1, w2, th = state
    u = w1 * w2
    e = th * system.lambda_d - u * system.lambda_s
    spread = th**2 * system.lambda_s - 2 * u * th * system.lambda_d + u**2 * system.lambda_s
    variance = (system.lambda_s * spread + e**2) / batch
    return variance * np.abs(w2**2 / system.tau_online - w1**2 / system.tau_predictor)


def noisy_agreement(n: int, dt: float, t_end: float, batch: int, seed: int) -> Measurement:
    """Fates of n × n starts in Gaussian batches: noise widens the band by its own drift of c, which lasts."""
    start, system = starts(n), ModeSystem(np.full(n * n, LAMBDA_S), np.full(n * n, LAMBDA_D))
    ts = np.linspace(0, t_end, 801)
    flow = integrate(start, system, full_mode_field, ts=ts, rtol=1e-6, atol=1e-8).states
    rate = np.abs(drift_rate(flow, system)) + noise_rate(flow, system, batch)
    band = dt * np.trapezoid(rate, ts, axis=0)
    data = DataSettings(source="gaussian", sigma_s=[LAMBDA_S], sigma_d=[LAMBDA_D])
    settings = TrainingSettings(data=data, batch=batch, encoder=EncoderSettings(features=1))
    end = _trained(start, settings, dt, round(t_end / dt), [seed * n * n + k for k in range(n * n)])
    distance = np.abs(mode_invariant(start, system) - border(start, system))
    outside = distance > np.maximum(band, SETTLED / t_end)
    learned = np.abs(end.online) > np.sqrt(SETTLED / t_end / system.tau_online) / 2
    agree = learned == (predict_fates(start, system).fate == Fate.LEARNED)
    return at_least(
        f"agreement outside the band, batches of {batch}",
        AGREEMENT,
        np.mean(agree[outside]),
        f"{np.sum(outside)} of {n * n} starts lie farther from the border than the drift of c by steps of {dt:g} and"
        f" by noise until t = {t_end:g}, and than {SETTLED / t_end:.2g}, where fates settle later",
    )


def run(effort: Effort) -> Outcome:
    """Map 2,500 starts; or 10,000, and 2,500 in noisy batches."""
    if effort.quick:
        return mapped(50, 0.05)
    outcome = mapped(100, 0.05)
    effort.report(0.4)
    noisy = noisy_agreement(50, 0.05, 600.0, 32, effort.seed)
    return Outcome((*outcome.measurements, noisy), outcome.curves)


EXPERIMENTS = (
    Experiment(
        "C2",
        "Fates of one-mode networks",
        "A start collapses iff c <= −τp r² (w2 > 0) or c <= 0 (w2 <= 0), c = τo w1² − τp w2², whatever the target"
        " (R6); steps move c, and with it the border, by O(dt).",
        run,
    ),
)
