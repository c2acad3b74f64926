"""How theory describes a training run: the vector field, the system and the time step of its flow."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dynamics.data.moments import Moments
from dynamics.data.objective_moments import objective_moments
from dynamics.fields.batch_normalised import BASES, batch_normalised_field
from dynamics.fields.matrices import (
    direct_field,
    fast_predictor_field,
    fixed_target_field,
    full_field,
    no_ema_field,
    no_predictor_field,
    no_stop_gradient_field,
    symmetric_predictor_field,
)
from dynamics.fields.predictors import DIRECT_OPTIONS
from dynamics.fields.vector_field import VectorField
from dynamics.objectives import linear_objectives
from dynamics.system import MatrixSystem
from dynamics.training.settings import TrainingSettings


class Flow(NamedTuple):
    """The flow that small steps of a linear run approach.

    Parameters
    ----------
    vector_field, system
        The variant and its moments, time constants and weight decay.
    dt
        Time that one step takes: a run of K steps ends at t = K dt.
    """

    vector_field: VectorField
    system: MatrixSystem
    dt: float


def flow_of(settings: TrainingSettings, moments: Moments, index: int = 0) -> Flow:
    """Flow of a linear network under SGD, with time counted so that τo = 1.

        dt = factor·ε,  τp = 1/αp,  τt = dt/(1 − γ),  η = weight_decay·ε/dt

    with the factor 1, 2 or 4 of `ObjectiveSettings.step_factor` (R1, R29); Σs and Σd are the objective's (R24, R26).

    Parameters
    ----------
    settings
        A linear encoder without projector, a predictor that is a matrix or none, SGD, squared errors.
    moments
        Σs and Σd of the views, as `TrainingData.moments` gives them: about the mean that settings add to views.
    index
        Which run of a sweep.

    Returns
    -------
    Flow
        One step on a batch with exactly these moments takes W to W + dt·dW and P to P + dt·dP, without error.

    Raises
    ------
    ValueError
        No flow of the theory describes these settings: which one does not fit.

    Examples
    --------
    >>> settings = TrainingSettings(optimizer={"learning_rate": 0.01, "predictor_rate": 2.0})
    >>> flow = flow_of(settings, Moments.from_eigenvalues([1.0], [0.5]))
    >>> flow.dt, flow.system.tau_predictor
    (0.04, 0.5)
    """
    one = settings.at(index)
    _require_flow(one)
    objective = one.objective
    value = {name: float(np.asarray(number)) for name, number in one.swept().items()}
    rate, predictor_rate = value["optimizer.learning_rate"], value["optimizer.predictor_rate"]
    weights = {name: value[f"objective.{name}"] for name in objective.row.weights}
    sigma_s, sigma_d = objective_moments(objective.kind, moments, **weights)
    dt = objective.step_factor * rate
    kept = value["target.decay"] if one.target.kind == "ema" else 0.0
    system = MatrixSystem(
        sigma_s,
        sigma_d,
        tau_predictor=1 / predictor_rate if one.predictor.trained else 1.0,
        tau_target=dt / (1 - kept) if kept < 1 else 1.0,
        weight_decay=value["optimizer.weight_decay"] * rate / dt,
    )
    if one.normalisation.active or np.any(one.normalisation.mean):
        return _normalised_flow(one, system, dt, moments)
    return Flow(_field(one), system, dt)


def _normalised_flow(settings: TrainingSettings, system: MatrixSystem, dt: float, moments: Moments) -> Flow:
    """Flow of large batches with a mean of the views and a normaliser: moments are about that mean."""
    normalisation = settings.normalisation
    everywhere = np.broadcast_to(np.asarray(normalisation.mean, dtype=np.float64), (moments.n_inputs,))
    mu = everywhere if moments.support is None else moments.support.T @ everywhere
    outside = 0.0 if moments.support is None else np.max(np.abs(everywhere - moments.support @ mu))
    outer = np.outer(mu, mu)
    S, D = (np.diag(sigma) if sigma.ndim == 1 else sigma for sigma in (system.sigma_s, system.sigma_d))
    raw = replace(system, sigma_s=S + outer, sigma_d=D + outer)
    base, before, after = _field(settings), normalisation.of_projector, normalisation.of_predictor
    demands = {
        "normalisation.mean must lie where the views vary, unless it is subtracted": outside
        <= 1e-12 * np.max(np.abs(everywhere))
        or before.subtracts,
    }
    if normalisation.active:
        demands |= {
            "objective must be byol": settings.objective.kind == "byol",
            "projector or predictor must be normalised, not both": not (before.active and after.active),
            "the predictor's outputs must not be divided": after.std == "none",
            f"the flow must be one of {', '.join(one.name for one in BASES)}": base in BASES,
        }
    for demand, met in demands.items():
        if not met:
            raise ValueError(f"no flow describes these settings: {demand}")
    if not normalisation.active:
        return Flow(base, raw, dt)
    field = batch_normalised_field(
        after if after.active else before,
        mu,
        base=base,
        target_centred=normalisation.of_target.subtracts,
        after_predictor=after.active,
    )
    return Flow(field, raw, dt)


def _require_flow(settings: TrainingSettings) -> None:
    encoder, predictor, objective = settings.encoder, settings.predictor, settings.objective
    optimizer, target = settings.optimizer, settings.target
    value = {name: float(np.asarray(number)) for name, number in settings.swept().items()}
    rate_p, decay_p = value["optimizer.predictor_rate"], value["optimizer.predictor_weight_decay"]
    one_decay = np.isclose(rate_p * decay_p, value["optimizer.weight_decay"], rtol=1e-12, atol=0)
    at_once = (value["predictor.average"], predictor.refresh) == (0, 1)
    kept = value["target.decay"] if target.kind == "ema" else 0.0
    averaged = target.kind == "ema" and 0 < kept < 1
    plain = predictor.kind == "linear" and not predictor.symmetric
    demands = {
        "encoder must be linear, without projector": encoder.kind == "linear" and not encoder.projector,
        "predictor must be a matrix that never starts anew": predictor.kind != "mlp"
        and not predictor.reinitialise,
        "predictor.average must be 0 and predictor.refresh 1": predictor.kind in ("none", "linear")
        or at_once,
        f"objective must be one of {', '.join(linear_objectives())}": objective.row.transform is not None,
        "objective.normalize must be false": not objective.normalize,
        "optimizer must be sgd at a constant rate": (optimizer.kind, optimizer.schedule)
        == ("sgd", "constant"),
        "optimizer.predictor_rate must be > 0": rate_p > 0 or not predictor.trained,
        "optimizer.predictor_weight_decay must be weight_decay/predictor_rate, one η for both": one_decay
        or not predictor.trained,
        "target.schedule must be constant": target.schedule == "constant",
        "target must be ema with a decay between 0 and 1 unless the predictor is linear and not symmetric": averaged
        or plain,
        "objective must be byol with a linear predictor where no gradient is stopped": objective.stop_gradient
        or (objective.kind == "byol" and plain),
    }
    for demand, met in demands.items():
        if not met:
            raise ValueError(f"no flow describes these settings: {demand}")


def _field(settings: TrainingSettings) -> VectorField:
    predictor, target = settings.predictor, settings.target
    if not settings.objective.stop_gradient:
        return no_stop_gradient_field
    if predictor.kind == "none":
        return no_predictor_field
    if predictor.kind == "optimal":
        return fast_predictor_field
    if predictor.kind == "direct":
        return direct_field(**DIRECT_OPTIONS[predictor.option])
    if predictor.symmetric:
        return symmetric_predictor_field
    if target.kind == "none" or (target.kind == "ema" and target.decay == 0):
        return no_ema_field
    if target.kind == "fixed" or target.decay == 1:
        return fixed_target_field
    return full_field
