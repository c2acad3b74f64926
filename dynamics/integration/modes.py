"""Integration of modes one by one: every mode has its own clock, its own units, and its own proof of rest."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dynamics.fields.vector_field import VectorField
from dynamics.integration import mode_course, mode_ends, mode_flow, mode_step
from dynamics.integration.mode_ends import DIVERGED, END_TIME, MAX_STEPS, RUNNING, SLOW, STEADY
from dynamics.integration.trajectory import Status, Trajectory, check_tolerances, checked_times
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import Variant, mode_variant

REST = 1e-8
"""A run is at rest when every weight is within this fraction of the weights at its end, whatever the tolerances."""

_STATUSES = {
    STEADY: Status.STEADY,
    END_TIME: Status.END_TIME,
    SLOW: Status.SLOW,
    DIVERGED: Status.DIVERGED,
    MAX_STEPS: Status.MAX_STEPS,
}
_WORST = (Status.STEADY, Status.END_TIME, Status.SLOW, Status.DIVERGED, Status.MAX_STEPS)
_LOCAL = 0.1  # local tolerance over asked tolerance: the global error stays within 10 times of what was asked
_EVALUATIONS = 6  # of the field, a try
_SAMPLES = 1024


@dataclass
class _Step:
    """What is needed to evaluate the mode anywhere in one step."""

    t: float
    h: float
    state: Any
    dense: Any
    mode: int
    log_scale: float


@dataclass
class _Run:
    """One mode on its way, in balanced, scaled units of its own."""

    kind: int
    start: Any
    p: Any
    units: Any
    rtol: float
    atol: float
    y: Any
    h: float
    t: float = 0.0
    mode: int = -1
    log_scale: float = 0.0
    steps: list[_Step] = field(default_factory=list)
    n_tried: int = 0

    def __post_init__(self) -> None:
        self.mode = self.kind

    @property
    def state(self) -> Any:
        return mode_course.true_state(self.kind, self.mode, self.y, self.log_scale)

    def arrived(self, t: float = np.inf) -> tuple[int, Any]:
        """Where the run goes from its state at a time, the last one if left out."""
        return mode_ends.arrived(self.kind, self.state_at(t), self.start, self.p)

    def state_at(self, t: float) -> Any:
        if t >= self.t or not self.steps:
            return self.state
        step = self.steps[max(0, bisect_right(self.steps, t, key=lambda step: step.t) - 1)]
        y, second = mode_step.between(
            step.mode, step.state, step.h, (t - step.t) / step.h, step.dense, self.p
        )
        if step.mode != self.kind:
            y = mode_course.true_state(self.kind, step.mode, y, step.log_scale + second)
        return mode_flow.constrained(self.kind, y, self.p)

    def at_rest(self) -> bool:
        """Whether the run is in its end for all purposes: it has arrived, and next to nothing is left to travel."""
        outcome, end = self.arrived()
        if outcome != STEADY:
            return False
        encoder, predictor = mode_ends.distance(self.state, end)
        size = abs(end[0]) if end[0] != 0 else max(abs(self.start[0]), abs(self.start[2]))
        own = abs(end[1]) if end[1] != 0 else max(size, abs(self.start[1]))
        return encoder <= REST * size and predictor <= REST * own

    def advance(self, end: float, budget: int, *, open_ended: bool) -> int:
        """Integrate to the time `end`, or open-ended until the run is at rest or known to be slow."""
        if self.t == 0 and open_ended and self.at_rest():
            return STEADY
        while self.t < end:
            if self.n_tried >= budget:
                return MAX_STEPS
            self.n_tried += 1
            final = self.t + self.h >= end
            h = end - self.t if final else self.h
            z, dense, accepted, proposed = mode_step.attempted(
                self.mode, self.y, h, self.p, self.rtol, self.atol
            )
            if mode_course.overshoots(self.kind, self.mode, z, self.log_scale, dense):
                accepted, proposed = False, h / 2
            if accepted:
                self.steps.append(_Step(self.t, h, self.y, dense, self.mode, self.log_scale))
                self.t = end if final else self.t + h
                if self.mode != self.kind:
                    self.log_scale += dense[4]
                self.mode, self.y, self.log_scale = mode_course.switched(
                    self.kind, self.mode, z, self.log_scale, self.p
                )
                if open_ended:
                    if self.at_rest():
                        return STEADY
                    if self.arrived()[0] == SLOW:
                        return SLOW
            self.h = proposed
            failure = mode_course.failed(self.kind, self.mode, self.y, self.h, self.start, self.p)
            if failure != RUNNING:
                return failure
        return END_TIME

    def at(self, times: np.ndarray) -> np.ndarray:
        """(w1, w2, θ) at increasing times in the run's units, shape (3, T); the last state after the last step."""
        found = np.empty((3, times.size))
        for column, t in enumerate(times):
            found[:, column] = mode_flow.unscaled(self.kind, self.state_at(t), self.units)
        return found


def integrate_modes(
    state: ModeState,
    system: ModeSystem,
    vector_field: VectorField,
    t_end: float | None = None,
    *,
    ts: Any = None,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    max_steps: int = 100_000,
    progress: Callable[[float, float], None] | None = None,
) -> tuple[Trajectory[ModeState], np.ndarray]:
    """Follow decoupled modes from a start, to rest or to a given time, and report what each of them did.

    Every mode is integrated by itself, by the stiff method of `dynamics.integration.mode_step`, in units in which
    its largest weight and its fastest rate are near one. Rates and weights may lie decades apart.

    Parameters
    ----------
    state
        Start w1, w2, θ, each of shape (n_modes,).
    system
        Moments, time constants and weight decay of the modes.
    vector_field
        The mode field of a variant of `dynamics.variants.VARIANTS`.
    t_end
        End time > 0. Left out, the run goes on until every mode is at rest (within `REST` of its end, which is
        proved to be its end, see `dynamics.integration.mode_ends.arrived`) or known to approach its end like a power
        of t.
    ts
        Instead of `t_end`: increasing times at which states are kept; the first is the start.
    rtol, atol
        Relative tolerance, and absolute tolerance of w2; both in (0, 1e-2]. The global error is meant to stay
        within 10 times rtol·|state| + atol as long as the trajectory itself does not amplify errors.
    max_steps
        Budget of tried steps per mode, >= 1.
    progress
        Called as progress(modes done, modes) after every mode.

    Returns
    -------
    trajectory
        Its status is the worst of the modes': steady, end-time, slow, diverged or max-steps.
    fates
        What each mode did, shape (n_modes,): "learned", "collapsed", or "undecided" where the run has not shown it.

    Raises
    ------
    ValueError
        An argument is out of range, the variant is not defined for the start, or the rates of a mode are further
        apart than numbers can represent.

    Examples
    --------
    >>> from dynamics.fields.modes import full_mode_field
    >>> system = ModeSystem(lambda_s=1.0, lambda_d=0.5)
    >>> trajectory, fates = integrate_modes(system.state(0.1, 0.1, 0.1), system, full_mode_field)
    >>> trajectory.status.value, round(float(trajectory.final.predictor[0]), 6), str(fates[0])
    ('steady', 0.5, 'learned')
    """
    check_tolerances(rtol, atol, max_steps)
    t0, last, asked = checked_times(t_end, ts)
    variant = mode_variant(vector_field)
    start = system.state(*state)
    vector_field.require(start, system)
    runs = [_opened(k, start, system, variant, rtol, atol) for k in range(system.n_modes)]
    open_ended = last is None
    codes = []
    for k, run in enumerate(runs):
        end = np.inf if last is None else (last - t0) / run.units[1]
        codes.append(run.advance(end, max_steps, open_ended=open_ended))
        if progress is not None:
            progress(k + 1, len(runs))
    longest = max(run.t * run.units[1] for run in runs) if last is None else last - t0
    if open_ended and len(runs) > 1:
        # modes that came to rest early go on to the end of the slowest: a few ever longer steps
        for run, code in zip(runs, codes, strict=True):
            if code == STEADY and run.t * run.units[1] < longest:
                run.advance(longest / run.units[1], max_steps, open_ended=False)
    statuses = [_STATUSES[code] for code in codes]
    if not open_ended:
        statuses = [
            Status.STEADY if status is Status.END_TIME and run.at_rest() else status
            for status, run in zip(statuses, runs, strict=True)
        ]
    if any(status.failed for status in statuses):
        longest = min(run.t * run.units[1] for run in runs)
    if asked is not None:
        ts = asked[asked - t0 <= longest]
    else:
        knots = np.unique(
            np.concatenate([[step.t * run.units[1] for step in run.steps] for run in runs] + [[0.0, longest]])
        )
        knots = knots[knots <= longest]
        stride = -(-knots.size // _SAMPLES)
        ts = t0 + np.append(knots[:-1:stride], knots[-1]) if knots.size > 1 else t0 + knots

    def evaluate(times: np.ndarray) -> ModeState:
        flat = np.atleast_1d(times)
        parts = np.stack([run.at((flat - t0) / run.units[1]) for run in runs], axis=-1)
        found = ModeState(*parts)
        return found if np.ndim(times) else ModeState(*(part[0] for part in found))

    n_tried, n_taken = sum(run.n_tried for run in runs), sum(len(run.steps) for run in runs)
    trajectory = Trajectory(
        ts=np.asarray(ts, dtype=np.float64),
        states=evaluate(np.asarray(ts, dtype=np.float64)),
        status=max(statuses, key=_WORST.index),
        method="rosenbrock",
        n_field_evaluations=_EVALUATIONS * n_tried,
        n_steps=n_taken,
        n_rejected=n_tried - n_taken,
        distance=np.nan,
        _dense=evaluate,
    )
    return trajectory, np.array(
        [_fate(run, status, longest / run.units[1]) for run, status in zip(runs, statuses, strict=True)]
    )


def _opened(k: int, start: ModeState, system: ModeSystem, variant: Variant, rtol: float, atol: float) -> _Run:
    rates = (
        system.lambda_s,
        system.lambda_d,
        system.tau_online,
        system.tau_predictor,
        system.tau_target,
        system.weight_decay,
    )
    values = tuple(float(np.broadcast_to(rate, (system.n_modes,))[k]) for rate in rates)
    weights = tuple(float(part[k]) for part in start)
    if variant.kind is None:
        raise ValueError(f"the variant {variant.name} is not integrated mode by mode")
    y, p, _, units, proper = mode_flow.scaled(variant.kind, weights, values, np.inf, variant.direct)
    if not proper:
        names = ("lambda_s", "lambda_d", "tau_online", "tau_predictor", "tau_target", "weight_decay")
        given = ", ".join(f"{name} {value:g}" for name, value in zip(names, values, strict=True))
        raise ValueError(
            f"the rates λs/(τo τp), λd/(τo √τp), 1/τt and η of mode {k + 1}, at the size of its weights, must lie"
            f" within 290 decades of each other, got {given}"
        )
    local_rtol, local_atol = max(_LOCAL * rtol, 1e-13), _LOCAL * atol * units[3] / units[0]
    h = mode_step.first_step(variant.kind, y, p, local_rtol)
    return _Run(variant.kind, y, p, units, local_rtol, local_atol, y, h)


def _fate(run: _Run, status: Status, t: float) -> str:
    """What the run has shown by the time t."""
    if status.failed and mode_course.failed(run.kind, run.mode, run.y, run.h, run.start, run.p) != RUNNING:
        return "undecided"
    outcome, end = run.arrived(t)
    if outcome == RUNNING:
        return "undecided"
    return "collapsed" if end[0] == 0 else "learned"
