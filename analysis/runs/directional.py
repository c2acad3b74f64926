"""One run of modes under the cosine loss or the IsoLoss, and what theory says of its end (R315, R323)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from analysis.fates.fate import Fate, Prediction
from analysis.fates.predictions import predict_fates
from analysis.runs.simulation import COLLAPSED, ModeSimulation
from dynamics.exact.cosine import iso_fate
from dynamics.fields.cosine import (
    cosine_mode_field,
    cosine_no_ema_mode_field,
    iso_mode_field,
    iso_no_ema_mode_field,
    mode_scales,
)
from dynamics.fields.vector_field import VectorField
from dynamics.integration.trajectory import Status, Trajectory
from dynamics.invariants import balance_drift, mode_invariant
from dynamics.states import ModeState
from dynamics.system import ModeSystem

FIELDS: dict[tuple[str, str], VectorField] = {
    ("cosine", "full"): cosine_mode_field,
    ("cosine", "no-ema"): cosine_no_ema_mode_field,
    ("iso", "full"): iso_mode_field,
    ("iso", "no-ema"): iso_no_ema_mode_field,
}
"""Fields of modes by objective and variant."""


def simulate_directional(
    state: ModeState,
    system: ModeSystem,
    objective: str = "cosine",
    variant: str = "full",
    t_end: float | None = None,
    **options: Any,
) -> ModeSimulation:
    """Run modes under the cosine loss in high dimension, or under the IsoLoss, and compare with R315 or R323.

    Parameters
    ----------
    state, system, t_end, **options
        As for `dynamics.integration.integrate.integrate`.
    objective, variant
        A key of `FIELDS`.

    Returns
    -------
    ModeSimulation
        Of the cosine loss predictions are those of R6 with r/κ for r and κ that of the end, so they are made for runs
        at rest alone: κ∞ is not known beforehand. Of the IsoLoss the prediction is that of R323, and `drift` is NaN.

    Raises
    ------
    ValueError
        There is no such field; weight decay under the IsoLoss; weight decay under the cosine loss without `t_end`, as
        weights then die for ever while directions come to rest (R312).

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> simulate_directional(system.state(0.3, -0.4, 0.3), system, "iso").fate.tolist()
    ['learned']
    """
    from dynamics.integration.integrate import integrate  # SciPy's integrators take their time to import

    if (objective, variant) not in FIELDS:
        known = ", ".join(f"{one} {two}" for one, two in FIELDS)
        raise ValueError(f"`objective` and `variant` must be one of {known}, got {objective} {variant}")
    decays = bool(np.any(np.asarray(system.weight_decay) != 0))
    if decays and objective == "iso":
        raise ValueError(f"`weight_decay` must be 0 with the objective iso, got {system.weight_decay}")
    if decays and t_end is None:
        raise ValueError(
            "`t_end` must be given with weight decay under the objective cosine, whose weights die while their"
            f" directions come to rest (R312), got a weight decay of {system.weight_decay}"
        )
    field = FIELDS[objective, variant]
    trajectory = integrate(state, system, field, t_end, **options)
    start = trajectory.initial
    unknown = np.full(system.n_modes, np.nan)
    if objective == "iso":
        prediction, invariant, drift = _iso_prediction(start, system), unknown, unknown
    else:
        prediction = _cosine_prediction(trajectory, system)
        invariant = mode_invariant(start, system)
        drift = balance_drift(trajectory.ts, trajectory.states, system)
    return ModeSimulation(system, field, trajectory, prediction, _fates(trajectory), invariant, drift)


def _fates(trajectory: Trajectory[ModeState]) -> np.ndarray:
    start, end = trajectory.initial, trajectory.final
    if trajectory.status is not Status.STEADY:
        return np.full(start.online.shape, str(Fate.UNDECIDED))
    zero = max(COLLAPSED * float(np.max(np.abs(start.online))), 2 * trajectory.distance)
    return np.where(np.abs(end.online) <= zero, str(Fate.COLLAPSED), str(Fate.LEARNED))


def _unpredicted(n: int, reason: str) -> Prediction:
    nothing = np.full(n, np.nan)
    empty = np.full(n, "", dtype="<U9")
    reasons = np.full(n, reason, dtype=object)
    return Prediction(empty, nothing, nothing, nothing, nothing, np.zeros(n, dtype=bool), reasons)


def _cosine_prediction(trajectory: Trajectory[ModeState], system: ModeSystem) -> Prediction:
    """R6 with r/κ∞, its reasons those of R315."""
    if trajectory.status is not Status.STEADY or np.any(np.asarray(system.weight_decay) != 0):
        return _unpredicted(system.n_modes, "R315 speaks of runs at rest without weight decay")
    kappa = float(mode_scales(trajectory.final, system).kappa[0])
    if not kappa > 0:
        return _unpredicted(system.n_modes, "R315 asks for κ > 0")
    scaled = replace(system, lambda_s=kappa * system.lambda_s)
    found = predict_fates(trajectory.initial, scaled, "full")
    reasons = np.array([f"R315, κ = {kappa:.7g}: {reason}" for reason in found.reason], dtype=object)
    return found._replace(reason=reasons)


def _iso_prediction(start: ModeState, system: ModeSystem) -> Prediction:
    """R323."""
    known = (start.online != 0) & (system.lambda_s > 0) & (system.lambda_d > 0)
    proper = replace(
        system, lambda_s=np.where(known, system.lambda_s, 1.0), lambda_d=np.where(known, system.lambda_d, 1.0)
    )
    collapsed, ends = iso_fate(start, proper)
    fate = np.where(collapsed, str(Fate.COLLAPSED), str(Fate.LEARNED))
    w, p = (np.where(known, part, np.nan) for part in (ends.online, ends.predictor))
    # the sign is that of w1 where θ begins with the same one; elsewhere it is not known
    sign = np.where(start.online * start.target > 0, np.sign(start.online), np.where(collapsed, 1.0, np.nan))
    return Prediction(
        fate=np.where(known, fate, ""),
        online=sign * w + 0.0,  # no −0
        predictor=p,
        target=sign * w + 0.0,
        amplitude=w,
        algebraic=np.zeros(w.shape, dtype=bool),
        reason=np.where(known, "R323", "no result applies").astype(object),
    )
