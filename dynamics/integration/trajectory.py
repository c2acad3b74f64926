"""A trajectory, how its run ended, and the checks that runs share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Generic

import numpy as np

from dynamics.states import State

LOOSEST = 1e-2
"""Largest tolerance: beyond it a step may cross a boundary between fates."""


class Status(StrEnum):
    """How a run ended; the value is the word in JSON, `message` the sentence."""

    STEADY = "steady"
    END_TIME = "end-time"
    SLOW = "slow"
    UNBOUNDED = "unbounded"
    DIVERGED = "diverged"
    MAX_STEPS = "max-steps"
    BLOW_UP = "blow-up"
    DEATH = "death"

    @property
    def failed(self) -> bool:
        """Whether this is a numerical failure rather than an answer."""
        return self in (Status.DIVERGED, Status.MAX_STEPS)

    @property
    def message(self) -> str:
        """One sentence for people."""
        return {
            Status.STEADY: "the trajectory came to rest",
            Status.END_TIME: "the end time was reached before the trajectory came to rest",
            Status.SLOW: "the trajectory still crawls: it approaches its end like a power of t, or takes too long",
            Status.UNBOUNDED: "the direction of the weights came to rest, and their norm grows for ever",
            Status.DIVERGED: "the trajectory grew without bound",
            Status.MAX_STEPS: "the step budget was spent, or weights sank so low that numbers no longer hold them",
            Status.BLOW_UP: "the trajectory became infinite in finite time",
            Status.DEATH: "a row of the encoder reached zero in finite time",
        }[self]


@dataclass(frozen=True, eq=False)
class Trajectory(Generic[State]):
    """A solution of the flow at discrete times, and how it was found.

    Parameters
    ----------
    ts
        Times, shape (T,), increasing, the first one the start.
    states
        The state at `ts`, each part with time as first axis.
    status
        Why the run ended; anything but steady or end-time means that `final` is not a resting point.
    method
        "explicit", "exponential", or both in the order of use; or "implicit".
    n_field_evaluations, n_steps, n_rejected
        Cost: evaluations of the vector field, or of products with its Jacobian by implicit steps; accepted and rejected
        steps.
    distance
        Distance still to be travelled at the end: to the given end point where one was given, else as the
        linearised flow predicts it; NaN where it was not needed.
    """

    ts: np.ndarray
    states: State
    status: Status
    method: str
    n_field_evaluations: int
    n_steps: int
    n_rejected: int
    distance: float
    _dense: Callable[[np.ndarray], State] | None = field(default=None, repr=False)

    @property
    def t(self) -> float:
        """Time at which the run ended."""
        return float(self.ts[-1])

    @property
    def initial(self) -> State:
        """State at the start."""
        return self.states._make(part[0] for part in self.states)

    @property
    def final(self) -> State:
        """State at the end."""
        return self.states._make(part[-1] for part in self.states)

    def resampled(self, n: int) -> Trajectory[State]:
        """Return the trajectory at about n times that follow the integrator's own steps, dense where much happens.

        A run with `dense=True` is evaluated between its steps; another one is thinned to at most n states.
        """
        last = len(self.ts) - 1
        if self._dense is None or last == 0:
            kept = np.unique(np.linspace(0, last, min(n, last + 1)).round().astype(int))
            states = self.states._make(part[kept] for part in self.states)
            return replace(self, ts=self.ts[kept], states=states)
        ts = np.unique(np.interp(np.linspace(0, last, n), np.arange(last + 1), self.ts))
        return replace(self, ts=ts, states=self(ts))

    def __call__(self, t: Any) -> State:
        """Evaluate the trajectory anywhere between its first and last time, to the accuracy of the run.

        Parameters
        ----------
        t
            A time or an array of times within the run.

        Raises
        ------
        ValueError
            A time lies outside the run, or the run was made without `dense=True`.
        """
        if self._dense is None:
            raise ValueError(
                "this trajectory holds its samples only; integrate with dense=True to evaluate it"
            )
        t = np.asarray(t, dtype=np.float64)
        if not np.all((t >= self.ts[0]) & (t <= self.ts[-1])):
            raise ValueError(f"`t` must lie within the run, [{self.ts[0]:g}, {self.ts[-1]:g}], got {t}")
        return self._dense(t)


def check_tolerances(rtol: float, atol: float, max_steps: int) -> None:
    """Refuse tolerances that mean nothing: 0 < rtol, atol <= `LOOSEST`, and a budget of at least one step.

    >>> check_tolerances(0.1, 1e-10, 10)
    Traceback (most recent call last):
    ValueError: `rtol` must be > 0 and <= 0.01, got 0.1
    """
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not 0 < value <= LOOSEST:
            raise ValueError(f"`{name}` must be > 0 and <= {LOOSEST}, got {value}")
    if max_steps < 1:
        raise ValueError(f"`max_steps` must be >= 1, got {max_steps}")


def checked_times(t_end: float | None, ts: Any) -> tuple[float, float | None, np.ndarray | None]:
    """Start, end and asked times of a run from its `t_end` or `ts`, checked; None for what was not given."""
    if ts is not None:
        if t_end is not None:
            raise ValueError("give `t_end` or `ts`, not both")
        asked = np.asarray(ts, dtype=np.float64)
        if asked.ndim != 1 or asked.size < 2 or not np.all(np.isfinite(asked)) or np.any(np.diff(asked) <= 0):
            raise ValueError(
                f"`ts` must be at least two increasing finite times, the first one the start, got {asked}"
            )
        return float(asked[0]), float(asked[-1]), asked
    if t_end is not None and not (np.isfinite(t_end) and t_end > 0):
        raise ValueError(f"`t_end` must be finite and > 0, got {t_end}")
    return 0.0, t_end, None
