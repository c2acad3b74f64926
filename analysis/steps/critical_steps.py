"""The largest stable step of gradient descent at a decoupled fixed point, in closed form (R303)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from analysis.stability.adapted import require_fixed_point
from analysis.stability.pair_conditions import decoupled_form, pair_margins
from dynamics.exact.fixed_points import refuse_weight_decay
from dynamics.integration.discrete import EmaOrder, checked_step
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem, ModeSystem

FLIP, NEIMARK_SACKER = "flip", "neimark-sacker"


class CriticalStep(NamedTuple):
    """Below which step gradient descent is stable at a fixed point, and how it becomes unstable there.

    Parameters
    ----------
    value
        ε*: 0 where the flow itself is unstable or degenerate, infinite where every step is stable.
    kind
        "flip", an eigenvalue −1, or "neimark-sacker", a pair of complex eigenvalues of modulus one; None where ε* is
        0 or infinite.
    row, mode
        Indices of the pair that decides, from 0; modes in the order of descending ratio.
    """

    value: float
    kind: str | None
    row: int
    mode: int


class PairSteps(NamedTuple):
    """Critical steps of pairs of rows and modes, arrays of one shape: at a flip, and at a Neimark–Sacker point."""

    flip: np.ndarray
    neimark_sacker: np.ndarray


def pair_critical_steps(
    predictor: Any,
    amplitude: Any,
    system: ModeSystem,
    ema_rate: float,
    order: EmaOrder = EmaOrder.PRACTICAL,
) -> PairSteps:
    """Critical steps of row i, with predictor p_i, towards mode j, which a row of amplitude w_j holds.

    With A = λs_j (p_i²/τo + w_j²/τp) and s = λd_j p_i/τo, and where A > s (R10), a step is stable iff

        ε (A ± s h/(2 − h)) < 2,   + lagged, − practical,   and   h + ε (1 − h) A + ε h s > 0   if lagged.

    Parameters
    ----------
    predictor, amplitude
        p_i and w_j, broadcasting with the modes; w_j = 0 where no row holds mode j.
    system
        One mode for each j, λs > 0 and η = 0.
    ema_rate
        h in (0, 1], the same at every step size; at h = 0 the target is fixed, and A alone counts.
    order
        Order of the average.

    Returns
    -------
    PairSteps
        Infinite where there is no such step. Whether A > s is not asked.

    Raises
    ------
    ValueError
        h is out of range, some λs <= 0, or η ≠ 0.

    Notes
    -----
    Source: R303. Off the line of fixed points a step maps (e, W − Θ) linearly; these are the conditions of Jury on the
    trace and determinant of that 2×2 matrix.

    Examples
    --------
    >>> pair_critical_steps(0.5, 0.5, ModeSystem(1.0, 0.5), 0.2).flip.round(7)
    array([4.2352941])
    """
    refuse_weight_decay(system)
    checked_step(1.0, ema_rate)
    if np.any(system.lambda_s <= 0):
        raise ValueError(f"`lambda_s` must be > 0, got {np.min(system.lambda_s)}")
    p, w = np.asarray(predictor, np.float64), np.asarray(amplitude, np.float64)
    encoder = system.lambda_s * p**2 / system.tau_online
    A = encoder + system.lambda_s * w**2 / system.tau_predictor
    s = system.lambda_d * p / system.tau_online
    h = ema_rate
    lagged = EmaOrder(order) is EmaOrder.LAGGED
    curvature = A + (h if lagged else -h) / (2 - h) * s
    shrinking = -((1 - h) * A + h * s) if lagged else np.zeros_like(A)
    with np.errstate(divide="ignore"):
        flip = np.where(curvature > 0, 2 / np.where(curvature > 0, curvature, 1.0), np.inf)
        spiral = np.where(shrinking > 0, h / np.where(shrinking > 0, shrinking, 1.0), np.inf)
    return PairSteps(flip, spiral)


def critical_step(
    state: MatrixState,
    system: MatrixSystem,
    ema_rate: float,
    order: EmaOrder = EmaOrder.PRACTICAL,
    *,
    tolerance: float = 1e-6,
) -> CriticalStep:
    """Largest stable step of gradient descent at a decoupled fixed point: the least over its pairs.

    Parameters
    ----------
    state, system
        A decoupled fixed point at η = 0, up to a rotation of the features.
    ema_rate, order
        As for `pair_critical_steps`.
    tolerance
        What counts as rest, as in `analysis.stability.spectrum.stability`.

    Returns
    -------
    CriticalStep
        0 where a pair is unstable or degenerate in the flow (R10), named by its row and mode.

    Raises
    ------
    ValueError
        The state is no fixed point or not decoupled; η > 0; some λs <= 0.

    Notes
    -----
    Source: R303.

    Examples
    --------
    >>> system = MatrixSystem(np.ones(1), np.array([0.5]))
    >>> critical_step(system.state([[0.5]], [[0.5]]), system, 0.2)
    CriticalStep(value=4.235294117647059, kind='flip', row=0, mode=0)
    """
    rest = require_fixed_point(state, system, tolerance)
    form = decoupled_form(rest.state, system, tolerance=tolerance)
    if form is None:
        raise ValueError(
            "the fixed point must be decoupled for a critical step in closed form: commuting Σs and Σd, a symmetric"
            " predictor and rows of `online` along joint eigenvectors, up to a rotation of the features"
        )
    margins = pair_margins(form, system, rest.noise)
    unstable = np.argwhere((margins.sign <= 0) & ~margins.resonant)
    degenerate = np.argwhere(margins.resonant)
    modes = ModeSystem(
        form.lambda_s,
        form.lambda_d,
        tau_online=system.tau_online,
        tau_predictor=system.tau_predictor,
        tau_target=system.tau_target,
        weight_decay=system.weight_decay,
    )
    amplitude = np.where(margins.holder >= 0, form.amplitude[margins.holder], 0.0)
    steps = pair_critical_steps(form.predictor[:, None], amplitude, modes, ema_rate, order)
    for found in (unstable, degenerate):
        if len(found):
            return CriticalStep(0.0, None, *map(int, found[0]))
    least = np.minimum(steps.flip, steps.neimark_sacker)
    row, mode = (int(k) for k in np.unravel_index(np.argmin(least), least.shape))
    value = float(least[row, mode])
    kind = FLIP if steps.flip[row, mode] <= steps.neimark_sacker[row, mode] else NEIMARK_SACKER
    return CriticalStep(value, kind if np.isfinite(value) else None, row, mode)
