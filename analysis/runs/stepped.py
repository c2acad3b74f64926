"""Runs of gradient descent with real steps, with or without batches, and what theory says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.fates.fate import Fate, Prediction
from analysis.runs.simulation import (
    COLLAPSED,
    MatrixSimulation,
    ModeSimulation,
    invariant_and_drift,
    matrix_simulation,
    plain,
)
from dynamics.fields.matrices import full_field
from dynamics.fields.modes import full_mode_field
from dynamics.integration.discrete import EmaOrder
from dynamics.integration.stepping import iterate, one_mode, orbit_period, remaining_way
from dynamics.integration.trajectory import Status, Trajectory
from dynamics.invariants import mode_invariant
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem


@dataclass(frozen=True)
class Steps:
    """How a run of gradient descent was made.

    Parameters
    ----------
    n
        Steps asked for, >= 1.
    size
        ε > 0.
    ema_rate, ema_order
        h in [0, 1], and which encoder the average takes in.
    batch
        B, or None for the population.
    """

    n: int
    size: float
    ema_rate: float
    ema_order: EmaOrder = EmaOrder.PRACTICAL
    batch: int | None = None

    def run(self, state: Any, system: Any, *, seed: int = 0, **options: Any) -> Trajectory[Any]:
        """Follow gradient descent from a state."""
        from dynamics.integration.batch_noise import batches

        noisy = None
        if self.batch is not None:
            noisy = batches(np.random.default_rng(seed), system, self.batch)
        return iterate(
            state, system, self.size, self.ema_rate, self.n, self.ema_order, batches=noisy, **options
        )

    def report(self, trajectory: Trajectory[Any], system: Any) -> dict[str, Any]:
        """Return the steps as plain values, with the period of the orbit at the end; null with batches."""
        period = None
        if self.batch is None and trajectory.status is not Status.DIVERGED:
            steady = trajectory.status is Status.STEADY
            period = 1 if steady else orbit_period(trajectory.final, system, *self._map)
        return {
            "n": trajectory.n_steps,
            "size": self.size,
            "ema_rate": self.ema_rate,
            "ema_order": str(self.ema_order),
            "batch": self.batch,
            "period": period,
        }

    @property
    def _map(self) -> tuple[float, float, EmaOrder]:
        return self.size, self.ema_rate, self.ema_order


@dataclass(frozen=True, eq=False, kw_only=True)
class SteppedModes(ModeSimulation):
    """A run of modes by gradient descent; `drift` is how far its invariant moved, which R301 says."""

    steps: Steps

    def report(self) -> dict[str, Any]:
        """Return the run as `dyn simulate --step --json` prints it."""
        return {**super().report(), "steps": plain(self.steps.report(self.trajectory, self.system))}


@dataclass(frozen=True, eq=False, kw_only=True)
class SteppedMatrices(MatrixSimulation):
    """A run of the full network by gradient descent."""

    steps: Steps

    def report(self) -> dict[str, Any]:
        """Return the run as `dyn simulate --step --json` prints it."""
        return {**super().report(), "steps": plain(self.steps.report(self.trajectory, self.system))}


def step_modes(
    state: ModeState, system: ModeSystem, steps: Steps, *, seed: int = 0, **options: Any
) -> SteppedModes:
    """Run modes by gradient descent, and compare with R302, or with R307 and R309 where batches are drawn.

    Parameters
    ----------
    state, system
        Start and system of decoupled modes.
    steps
        How to step.
    seed
        Of the batches.
    **options
        As for `dynamics.integration.stepping.iterate`.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> run = step_modes(system.state(0.3, 0.1, 0.3), system, Steps(400, 1.0, 1.0))
    >>> run.fate.item(), run.agrees
    ('learned', [True])
    """
    trajectory = steps.run(state, system, seed=seed, **options)
    fate = np.full(system.n_modes, str(Fate.UNDECIDED), dtype="<U9")
    if steps.batch is None and trajectory.status is not Status.DIVERGED:
        for k in range(system.n_modes):
            fate[k] = _fate_of_mode(trajectory, system, steps, k)
    invariant, drift = invariant_and_drift(trajectory, system, full_mode_field)
    prediction = predict_steps(trajectory.initial, system, steps)
    return SteppedModes(system, full_mode_field, trajectory, prediction, fate, invariant, drift, steps=steps)


def _fate_of_mode(trajectory: Trajectory[ModeState], system: ModeSystem, steps: Steps, k: int) -> str:
    """Fate of one mode at rest; a mode that still moves is undecided, whatever the others do."""
    end, one = one_mode(trajectory.final, system, k)
    if remaining_way(end, one, steps.size, steps.ema_rate, steps.ema_order) > COLLAPSED / 10:
        return str(Fate.UNDECIDED)
    start = max(abs(float(part[k])) for part in trajectory.initial)
    encoder = max(abs(float(end.online[0])), abs(float(end.target[0])))
    return str(Fate.LEARNED if encoder > COLLAPSED * start else Fate.COLLAPSED)


def predict_steps(start: ModeState, system: ModeSystem, steps: Steps) -> Prediction:
    """What theory says of gradient descent from a start: R302, or R307 and R309 where batches are drawn.

    Parameters
    ----------
    start, system
        Start and system of decoupled modes.
    steps
        How to step. With batches no fate is certain: then the end is that of the balancing law at the last step.

    Returns
    -------
    Prediction
        Empty under weight decay, for λs <= 0 or λd < 0, and where a step has |κ| >= 1.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> predict_steps(system.state(1.0, 1.12, 0.0), system, Steps(1, 0.2, 0.2)).fate
    array(['learned'], dtype='<U9')
    """
    shape = (system.n_modes,)
    empty = np.full(shape, np.nan)
    reason = np.full(shape, "no result applies", dtype=object)
    nothing = Prediction(
        np.full(shape, "", dtype="<U9"), empty, empty, empty, empty, np.zeros(shape, dtype=bool), reason
    )
    if np.any(np.asarray(system.weight_decay) != 0):
        return nothing
    if np.any(system.lambda_s <= 0) or np.any(system.lambda_d < 0):
        return nothing
    if steps.batch is not None:
        return _predict_noisy(start, system, steps, steps.batch, nothing)
    from analysis.steps.fates import discrete_fate

    found = discrete_fate(start, system, steps.size, steps.ema_rate, steps.ema_order)
    learned, collapsed = found.fate == Fate.LEARNED, found.fate == Fate.COLLAPSED
    root = np.sqrt(np.maximum(-found.invariant, 0) / system.tau_predictor)
    end = np.where(found.invariant > 0, np.sign(start.online), np.nan) * found.amplitude
    online = np.where(learned, end, np.where(collapsed, 0.0, np.nan))
    ratio = np.broadcast_to(system.ratio, shape)
    predictor = np.where(
        learned, ratio, np.where(collapsed, np.sign(np.asarray(start.predictor)) * root, np.nan)
    )
    for k in range(system.n_modes):
        strip = found.fate[k] == Fate.LEARNED and found.flow[k] == Fate.COLLAPSED
        if not (learned[k] or collapsed[k]):
            kappa = f"largest |κ| {found.largest_kappa[k]:.3g}"
            reason[k] = f"R302 promises nothing: {kappa}, or the step is beyond R303's at the end"
        elif strip:
            reason[k] = "R302: in the strip that the flow collapses and gradient descent learns"
        else:
            reason[k] = f"R302: R6 with c∞ = {found.invariant[k]:.6g}"
    fate = np.where(learned | collapsed, found.fate, "")
    algebraic = np.zeros(shape, dtype=bool)
    return Prediction(fate, online, predictor, online, found.amplitude, algebraic, reason)


def _predict_noisy(
    start: ModeState, system: ModeSystem, steps: Steps, batch: int, nothing: Prediction
) -> Prediction:
    from analysis.fates.predictions import predict_fates
    from analysis.steps.noisy_collapse import collapse_predictors
    from dynamics.exact.balancing import balancing_law

    flow = predict_fates(start, system, "full")
    c = balancing_law(steps.n * steps.size, mode_invariant(start, system), system, steps.size, batch)
    edge = system.tau_predictor * system.ratio**2
    amplitude = np.sqrt(np.maximum(c + edge, 0.0) / system.tau_online)
    learned = flow.fate == Fate.LEARNED
    online = np.where(learned, np.sign(start.online) * amplitude, np.nan)
    reason = nothing.reason.copy()
    low, high = collapse_predictors(system, steps.size, batch)
    for k in range(system.n_modes):
        reason[k] = (
            "R307: the balancing law, from a start that the flow learns"
            if learned[k]
            else f"R309: a collapsed predictor attracts typical runs above {low[k]:.4g}, their mean square above"
            f" {high[k]:.4g}"
        )
    predictor = np.where(learned, system.ratio, np.nan)
    return nothing._replace(online=online, predictor=predictor, target=online, reason=reason)


def step_matrices(
    state: MatrixState, system: MatrixSystem, steps: Steps, *, seed: int = 0, **options: Any
) -> SteppedMatrices:
    """Run the full network by gradient descent, and compare its end with R8, R10 and R18.

    Parameters
    ----------
    state, system, steps, seed, **options
        As for `step_modes`.

    Examples
    --------
    >>> from dynamics.states import random_state
    >>> system = MatrixSystem(np.eye(2), np.diag([0.9, 0.5]))
    >>> start = random_state(2, 1, scale_online=0.3, scale_predictor=0.1, seed=1)
    >>> step_matrices(start, system, Steps(2000, 0.5, 0.5)).trajectory.status.value
    'steady'
    """
    trajectory = steps.run(state, system, seed=seed, **options)
    found = matrix_simulation(trajectory, system, full_field)
    return SteppedMatrices(**{**vars(found), "rank_floor": None}, steps=steps)
