"""Bifurcations of gradient descent as its step grows: the points of a leaf, and where each loses stability (R303)."""

from __future__ import annotations

import numpy as np

from analysis.fixed_points.diagrams import Bifurcation, Branch, SpecialPoint
from analysis.fixed_points.one_mode import fixed_points
from analysis.fixed_points.special_points import Kind
from analysis.stability.verdicts import Verdict
from analysis.steps.critical_steps import pair_critical_steps
from dynamics.integration.discrete import EmaOrder, checked_step
from dynamics.system import ModeSystem

PARAMETER = "step"
"""What moves."""
_VALUES = 201


def step_bifurcation(
    system: ModeSystem,
    interval: tuple[float, float],
    invariant: float,
    ema_rate: float,
    order: EmaOrder = EmaOrder.PRACTICAL,
) -> Bifurcation:
    """Fixed points of one mode on a leaf, which do not move with the step, and the steps at which each changes.

    Parameters
    ----------
    system
        One mode, λs > 0 and η = 0.
    interval
        Range of ε, 0 < lo < hi.
    invariant
        c of the leaf.
    ema_rate, order
        h in [0, 1], the same at every step, and the order of the average.

    Returns
    -------
    Bifurcation
        Eigenvalues are those of a step over (e, W − Θ), and stability says how many of them are outside the
        unit circle.
        Points are of type flip, where a cycle of period 2 branches off, or neimark-sacker.

    Raises
    ------
    ValueError
        A number is out of range, or more than one mode.

    Notes
    -----
    Source: R303.

    Examples
    --------
    >>> found = step_bifurcation(ModeSystem(1.0, 0.5), (1.0, 5.0), 0.0, 0.2)
    >>> [(point.type, round(point.value, 7)) for point in found.points if point.online > 0]
    [('flip', 4.2352941)]
    """
    low, high = (float(end) for end in interval)
    if not 0 < low < high < np.inf:
        raise ValueError(f"`interval` must be finite with 0 < lo < hi for the step, got {interval}")
    checked_step(low, ema_rate)
    if not np.all(system.lambda_s > 0):
        raise ValueError(f"`lambda_s` must be > 0, got {np.min(system.lambda_s)}")
    branches: list[Branch] = []
    points: list[SpecialPoint] = []
    for point in fixed_points(system, "full", invariant=invariant).points:
        w, p, th = (float(x) for x in (point.online, point.predictor, point.target))
        pair = pair_critical_steps(p, w, system, ema_rate, order)
        flip, spiral = float(pair.flip[0]), float(pair.neimark_sacker[0])
        special: list[tuple[float, Kind]] = [(flip, "flip")]
        if spiral < flip:  # past a flip the eigenvalues are real
            special.append((spiral, "neimark-sacker"))
        inside = [(value, kind) for value, kind in special if low <= value <= high]
        values = np.unique(np.concatenate([np.linspace(low, high, _VALUES), [value for value, _ in inside]]))
        eigenvalues = np.stack([_multipliers(float(s), p, w, system, ema_rate, order) for s in values])
        known = {value for value, _ in inside}
        stability: tuple[Verdict, ...] = tuple(
            "degenerate" if value in known else _verdict(row)
            for value, row in zip(values.tolist(), eigenvalues, strict=True)
        )
        online, predictor, target = (np.full_like(values, x) for x in (w, p, th))
        branches.append(Branch(point.name, values, online, predictor, target, eigenvalues, stability))
        points += [SpecialPoint(kind, PARAMETER, value, w, p, th) for value, kind in inside]
    points.sort(key=lambda found: found.value)
    return Bifurcation(PARAMETER, (low, high), tuple(branches), tuple(points))


def _multipliers(
    step: float, p: float, w: float, system: ModeSystem, h: float, order: EmaOrder
) -> np.ndarray:
    """Both eigenvalues of a step off the fixed points, complex, the larger modulus first."""
    ls, ld, to, tp = (
        float(np.squeeze(x))
        for x in (system.lambda_s, system.lambda_d, system.tau_online, system.tau_predictor)
    )
    A, s = ls * (p**2 / to + w**2 / tp), ld * p / to
    if EmaOrder(order) is EmaOrder.PRACTICAL:
        M = [[1 - step * A + h * step * s, ld * h], [(1 - h) * step * p / to, 1 - h]]
    else:
        M = [[1 - step * A, ld * h], [step * p / to, 1 - h]]
    found = np.linalg.eigvals(np.array(M)).astype(np.complex128)
    return found[np.argsort(-np.abs(found), kind="stable")]


def _verdict(multipliers: np.ndarray) -> Verdict:
    size = np.abs(multipliers)
    if np.any(np.abs(size - 1) <= 16 * np.finfo(float).eps):
        return "degenerate"
    by_number: tuple[Verdict, ...] = ("stable", "saddle", "unstable")
    return by_number[int(np.sum(size > 1))]
