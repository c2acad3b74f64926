"""Integration up to the time at which a solution becomes infinite: an answer, not a failure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamics.integration.trajectory import LOOSEST, Status, check_tolerances

LARGEST = 1e150
"""Norm beyond which squares overflow."""
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class BlowUpRun:
    """A run on a clock that slows down as the solution grows.

    Parameters
    ----------
    ts
        Times, shape (T,), not decreasing: near the blow-up several agree to rounding.
    states
        A NamedTuple like the start, each part with time as first axis.
    status
        blow-up, end-time, steady (the field vanishes at the start), diverged (the norm passed `LARGEST` and no
        blow-up time could be told) or max-steps.
    t
        Time of the blow-up, or time at which the run ended.
    error
        Estimate of the error of a blow-up time: the change from a run with tolerances 100 times as large, the time
        that was extrapolated, and rounding. NaN for any other status.
    n_field_evaluations
        Cost.
    """

    ts: np.ndarray
    states: Any
    status: Status
    t: float
    error: float
    n_field_evaluations: int

    @property
    def final(self) -> Any:
        """State at the end of the run."""
        return type(self.states)(*(part[-1] for part in self.states))


def integrate_to_blow_up(
    field: Callable[[float, Any], Any],
    start: Any,
    *,
    t_end: float | None = None,
    rtol: float = 1e-11,
    atol: float = 1e-15,
    max_steps: int = 20000,
) -> BlowUpRun:
    """Follow dy/dt = F(t, y) through the growth that precedes a blow-up in finite time.

        dy/dσ = F/k,   dt/dσ = 1/k,   k = k0 + ‖F‖/‖y‖

    with k0 the rate ‖F‖/‖y‖ of the start, or 1/t_end where that is more. Where ‖y‖ grows like (T* − t)^{−1/q}, its
    logarithm grows in proportion to σ and T* − t falls like e^{−qσ}. What is left at the end is extrapolated,
    T* − t = 1/(q ρ) with ρ = d ln‖y‖/dt and q = d ln ρ/d ln‖y‖ of the last steps.

    Parameters
    ----------
    field
        (t, state) -> derivative, NamedTuples like `start`.
    start
        A NamedTuple of arrays, finite.
    t_end
        Time at which to stop at the latest, finite and > 0; left out, the run goes on until the solution blows up
        or its norm passes `LARGEST`.
    rtol, atol
        Tolerances of SciPy's DOP853, > 0 and at most `dynamics.integration.trajectory.LOOSEST`; `atol` is relative
        to the norm of the start, and near rounding unless given: small weights
        that grow count as much as large ones.
    max_steps
        Most steps, >= 1.

    Returns
    -------
    BlowUpRun
        Whatever happens; `status` names it.

    Raises
    ------
    ValueError
        The start is not finite, or an option is out of range.

    Notes
    -----
    Source: second method of R109, R124 and R125.

    Examples
    --------
    >>> from typing import NamedTuple
    >>> class Scalar(NamedTuple):
    ...     x: Any
    >>> run = integrate_to_blow_up(lambda t, y: Scalar(y.x**2), Scalar(np.array([4.0])))
    >>> str(run.status), round(run.t, 9)
    ('blow-up', 0.25)
    """
    check_tolerances(rtol, atol, max_steps)
    if t_end is not None and not (math.isfinite(t_end) and t_end > 0):
        raise ValueError(f"`t_end` must be finite and > 0, got {t_end}")
    if not all(np.all(np.isfinite(part)) for part in start):
        raise ValueError("`start` must be finite, got a weight that is not")
    run = _follow(field, start, t_end, rtol, atol, max_steps)
    if run.status is not Status.BLOW_UP:
        return run
    coarse = _follow(field, start, t_end, min(LOOSEST, 100 * rtol), min(LOOSEST, 100 * atol), max_steps)
    change = abs(run.t - coarse.t) if coarse.status is Status.BLOW_UP else math.inf
    evaluations = run.n_field_evaluations + coarse.n_field_evaluations
    return BlowUpRun(run.ts, run.states, run.status, run.t, run.error + change, evaluations)


def _follow(
    field: Callable[[float, Any], Any],
    start: Any,
    t_end: float | None,
    rtol: float,
    atol: float,
    max_steps: int,
) -> BlowUpRun:
    from scipy.integrate import DOP853

    shapes = [np.shape(part) for part in start]
    cuts = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    kind = type(start)
    evaluations = 0

    def unpacked(vectors: np.ndarray) -> Any:
        parts = np.split(vectors, cuts, axis=-1)
        return kind(
            *(part.reshape(vectors.shape[:-1] + shape) for part, shape in zip(parts, shapes, strict=True))
        )

    def derivative(t: float, y: np.ndarray) -> np.ndarray:
        nonlocal evaluations
        evaluations += 1
        return np.concatenate([np.ravel(part) for part in field(t, unpacked(y))])

    y0 = np.concatenate([np.ravel(part) for part in start]).astype(np.float64)
    F0, size = derivative(0.0, y0), float(np.linalg.norm(y0))
    if not F0.any():
        return BlowUpRun(np.zeros(1), unpacked(y0[None]), Status.STEADY, 0.0, math.nan, evaluations)
    k0 = float(np.linalg.norm(F0)) / size if size else float(np.linalg.norm(F0))
    if t_end is not None:
        k0 = max(k0, 1 / t_end)

    def slowed(sigma: float, z: np.ndarray) -> np.ndarray:
        F = derivative(z[-1], z[:-1])
        k = k0 + float(np.linalg.norm(F)) / max(float(np.linalg.norm(z[:-1])), np.finfo(float).tiny)
        return np.append(F, 1.0) / k

    scale = np.append(np.full(len(y0), size or 1.0), 1 / k0)
    stepper = DOP853(slowed, 0.0, np.append(y0, 0.0), math.inf, rtol=max(rtol, 100 * EPS), atol=atol * scale)
    ts, ys, rates = [0.0], [y0], [_growth(F0, y0)]
    status, t, error = Status.MAX_STEPS, 0.0, math.nan
    for _ in range(max_steps):
        stepper.step()
        if stepper.status == "failed":
            break
        y, now = stepper.y[:-1], float(stepper.y[-1])
        if t_end is not None and now >= t_end:
            y = _state_at(stepper.dense_output(), t_end, stepper.t_old, stepper.t)
            ts.append(t_end)
            ys.append(y)
            status, t = Status.END_TIME, t_end
            break
        ts.append(now)
        ys.append(y.copy())
        rates.append(_growth(derivative(now, y), y))
        t = now
        left = _time_left(ys, rates)
        if left <= rtol * now:
            status, t = Status.BLOW_UP, now + left
            error = left + 4 * EPS * len(ts) * now
            break
        if not np.linalg.norm(y) < LARGEST:
            status = Status.DIVERGED
            break
    if status is Status.BLOW_UP and t_end is not None and t > t_end:
        status, t, error = Status.END_TIME, t_end, math.nan
    return BlowUpRun(np.array(ts), unpacked(np.array(ys)), status, t, error, evaluations)


def _growth(F: np.ndarray, y: np.ndarray) -> float:
    """Rate of ln‖y‖."""
    squared = float(y @ y)
    return float(F @ y) / squared if squared else 0.0


def _time_left(ys: list[np.ndarray], rates: list[float], back: int = 4) -> float:
    """1/(q ρ), q the slope of ln ρ over ln‖y‖ in the last steps; inf where the solution does not run away."""
    if len(ys) <= back or min(rates[-1 - back :]) <= 0:
        return math.inf
    grown = math.log(np.linalg.norm(ys[-1]) / np.linalg.norm(ys[-1 - back]))
    quickened = math.log(rates[-1] / rates[-1 - back])
    if grown <= 0 or quickened <= 0:
        return math.inf
    return grown / quickened / rates[-1]


def _state_at(dense: Any, t: float, before: float, after: float) -> np.ndarray:
    """State where the time, the last component of an interpolant, is t."""
    from scipy.optimize import brentq

    sigma = brentq(lambda s: dense(s)[-1] - t, before, after, xtol=4 * EPS * max(after, 1e-300), rtol=4 * EPS)
    return np.asarray(dense(sigma)[:-1])
