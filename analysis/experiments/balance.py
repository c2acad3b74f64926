"""C5: steps keep the balance of encoder and predictor to first order, and the balance keeps rank."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
from analysis.experiments.flow_limit import SECOND_ORDER, TAU_TARGET, exact_settings, gaussian_moments
from analysis.experiments.runs import Estimate, clocked, flow_end, log_slope
from dynamics.fields.matrices import error_matrix
from dynamics.integration.integrate import integrate
from dynamics.invariants import balance_matrix, eigenvalue_floor, rank_floor
from dynamics.states import MatrixState, random_state
from dynamics.system import MatrixSystem
from dynamics.training import Flow, TrainingData, TrainingRun, TrainingSettings, flow_of, load_data, train

N1, N2 = 4, 3
DT, T_END = 0.05, 60.0
"""Step and time of runs whose ranks are counted."""
VANISHED = 0.02
"""Singular values of W below this count as lost; starts are of order one."""


def drift_rate(state: MatrixState, system: MatrixSystem) -> Any:
    """First-order drift of C by steps dt, as a rate over dt: dC/dt = dt (Pᵀ E Eᵀ P/τo − W Eᵀ E Wᵀ/τp)."""
    W, P, _ = state
    E = error_matrix(state, system)
    A, B = P.mT @ E, W @ E.mT
    return A @ A.mT / system.tau_online - B @ B.mT / system.tau_predictor


def integrated_drift(start: MatrixState, flow: Flow, t_end: float) -> np.ndarray:
    """Drift of C until a time, over dt, to first order: the rate integrated along the flow."""
    ts = np.linspace(0, t_end, 401)
    states = integrate(start, flow.system, flow.vector_field, ts=ts, rtol=1e-9, atol=1e-11).states
    return np.trapezoid(drift_rate(MatrixState(*states), flow.system), ts, axis=0)


def _network() -> tuple[TrainingSettings, TrainingData]:
    settings = exact_settings(gaussian_moments(), N2)
    return settings, load_data(settings.data, n_evaluation=4 * N1)


def drift(seed: int) -> tuple[list[Measurement], list[Curve]]:
    """Drift of C over five steps: proportional to the step, and equal to its integral along the flow."""
    settings, data = _network()
    t_end, counts = 4.0, (40, 80, 160, 320, 640)
    start = random_state(N1, N2, scale_online=0.5, scale_predictor=0.5, seed=seed)
    flow = flow_of(clocked(settings, t_end / counts[0], 1, tau_target=TAU_TARGET), gaussian_moments())
    predicted = integrated_drift(start, flow, t_end)
    drifts = []
    for count in counts:
        clock = clocked(settings, t_end / count, count, tau_target=TAU_TARGET)
        run = train(clock, seed, initial=start, data=data)
        end = MatrixState(*(part[0] for part in run.final))
        drifts.append(balance_matrix(end, flow.system) - balance_matrix(start, flow.system))
    dt = t_end / np.array(counts)
    sizes = np.linalg.norm(drifts, axis=(1, 2))
    relative = [
        np.linalg.norm(drift / h - predicted) / np.linalg.norm(predicted)
        for drift, h in zip(drifts, dt, strict=True)
    ]
    slope = log_slope(dt, Estimate(sizes, np.zeros(len(dt))))
    measurements = [
        compare(
            "log-log slope of the balance drift",
            1.0,
            slope.value,
            SECOND_ORDER,
            "the second order in the step",
        ),
        compare(
            "drift of C less its integral along the flow, relative",
            0.0,
            relative[-1],
            1.5 * abs(relative[-2] - relative[-1]),
            "first order in the step: 1.5 times the change from twice the step",
        ),
    ]
    panel = Panel("balance drift", "step dt", "‖C(t) − C(0)‖", log_x=True, log_y=True)
    line = np.linalg.norm(predicted) * dt
    curves = [panel.theory("integral along the flow", dt, line), panel.training("training", dt, sizes)]
    return measurements, curves


def _starts(n: int, *, scale_online: float, scale_predictor: float, seed: int) -> MatrixState:
    states = [
        random_state(N1, N2, scale_online=scale_online, scale_predictor=scale_predictor, seed=seed * n + k)
        for k in range(n)
    ]
    return MatrixState(*(np.stack(parts) for parts in zip(*states, strict=True)))


def _runs(
    settings: TrainingSettings, data: TrainingData, start: MatrixState, dt: float, n_steps: int
) -> TrainingRun:
    settings = clocked(settings, dt, n_steps, tau_target=TAU_TARGET)
    settings = replace(settings, metrics_every=max(1, n_steps // 50))
    return train(settings, [0] * len(start.online), initial=start, data=data)


def _each(states: MatrixState) -> list[MatrixState]:
    return [MatrixState(*parts) for parts in zip(*states, strict=True)]


def floor(n: int, seed: int) -> Measurement:
    """Small predictors: C ≻ 0, so the smallest eigenvalue of W Wᵀ stays above that of C(0)."""
    settings, data = _network()
    moments = gaussian_moments()
    system = MatrixSystem(moments.sigma_s, moments.sigma_d)
    start = _starts(n, scale_online=0.8, scale_predictor=0.1, seed=seed)
    kept = [k for k, state in enumerate(_each(start)) if rank_floor(state, system) == N2]
    run = _runs(settings, data, start, DT, round(T_END / DT))
    floors = np.array([eigenvalue_floor(state, system)[-1] for state in _each(start)])[kept]
    # F = W S Wᵀ with S of the samples on which features are measured, so λmin(F) >= λmin(W Wᵀ) λmin(S)
    least = np.linalg.eigvalsh(data.evaluation.T @ data.evaluation / len(data.evaluation))[0]
    lowest = np.min(run.metrics["feature_eigenvalues"][kept, :, -1], axis=1)
    drift = np.max(run.metrics["balance_drift"][kept], axis=1)
    room = lowest - (floors - drift) * least
    return at_least(
        "least room above the rank floor, C ≻ 0",
        0.0,
        float(np.min(room / lowest)) if len(kept) else np.nan,
        f"{len(kept)} of {n} starts have C ≻ 0; the floor λmin(C(0))/τo sinks by the measured drift of C, O(step)",
    )


def lost(n: int, seed: int) -> tuple[Measurement, list[Curve]]:
    """Large predictors: the directions that W loses, by training and by the flow from the same starts."""
    settings, data = _network()
    start = _starts(n, scale_online=0.3, scale_predictor=1.0, seed=seed)
    n_steps = 2 * round(T_END / DT / 2)
    fine, coarse = (
        np.linalg.svd(_runs(settings, data, start, h, count).final.online, compute_uv=False)
        for h, count in ((DT, n_steps), (2 * DT, n_steps // 2))
    )
    flow = flow_of(clocked(settings, DT, n_steps, tau_target=TAU_TARGET), gaussian_moments())
    by_flow = [flow_end(state, flow, T_END).online for state in _each(start)]
    theory = np.linalg.svd(np.array(by_flow), compute_uv=False)
    borderline = np.abs(fine - VANISHED) <= 1.5 * np.abs(coarse - fine)
    measurement = compare(
        f"directions lost of {theory.size}, large predictor",
        float(np.sum(theory < VANISHED)),
        float(np.sum(fine < VANISHED)),
        float(np.sum(borderline)),
        f"{np.sum(borderline)} singular values lie within the error of a step of the border"
        f" {VANISHED:g}, judged by the change from twice the step",
    )
    panel = Panel("singular values of W, large predictor", "by the flow", "by training")
    ends = np.array([0.0, np.max(theory)])
    return measurement, [
        panel.theory("equal", ends, ends),
        panel.training("training", theory.ravel(), fine.ravel()),
    ]


def run(effort: Effort) -> Outcome:
    """Measure the drift of C over five steps, and the ranks that small and large predictors keep."""
    n = 40 if effort.quick else 200
    measurements, curves = drift(effort.seed)
    effort.report(1, 3)
    measurements.append(floor(n, effort.seed))
    effort.report(2, 3)
    fraction, more = lost(n, effort.seed)
    effort.report(1)
    return Outcome((*measurements, fraction), (*curves, *more))


EXPERIMENTS = (
    Experiment(
        "C5",
        "Balance and rank",
        "C = τo W Wᵀ − τp Pᵀ P is constant along the flow and drifts by O(dt) under steps (R2); C ≻ 0 keeps the rank"
        " of W, and large predictors lose as many directions as the flow says (R8).",
        run,
    ),
)
