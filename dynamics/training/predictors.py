"""Predictors q: none, trained ones, and those that are set as a function of the features (R18, R21, R22)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from dynamics.fields.predictors import DIRECT_OPTIONS, directpred_predictor
from dynamics.training import networks
from dynamics.training.generator import normal
from dynamics.training.lapack import one_by_one
from dynamics.training.parts import PredictorSettings


def init(settings: PredictorSettings, key: Any, features: int, scale: Any, dtype: Any) -> tuple[Any, Any]:
    """Weights and statistics of a predictor on features of dimension n2.

    Parameters
    ----------
    settings, key
        What to make, and the randomness for it.
    features
        n2.
    scale
        Of the start; see `PredictorSettings.start`.
    dtype
        Of all arrays.

    Returns
    -------
    weights, statistics
        ``linear`` has weights {"weight": P}; ``direct`` and ``optimal`` have statistics F̂, Ĉ and P.
    """
    if settings.kind == "linear":
        P = _start(settings, key, (features, features), scale, dtype)
        return {"weight": symmetric_part(P) if settings.symmetric else P}, ()
    if settings.kind == "mlp":
        weights, statistics, _ = networks.init(_mlp(settings, features), key, (features,), 1.0, dtype)
        drawn = [
            layer
            | {
                "weight": _start(
                    settings, jax.random.fold_in(key, index), layer["weight"].shape, scale, dtype
                )
            }
            if "weight" in layer
            else layer
            for index, layer in enumerate(weights)
        ]
        return tuple(drawn), statistics
    if settings.kind in ("direct", "optimal"):
        zeros = jnp.zeros((features, features), dtype)
        return (), {"features": zeros, "cross": zeros, "predictor": zeros}
    return (), ()


def apply(
    settings: PredictorSettings,
    weights: Any,
    statistics: Any,
    z: Any,
    targets: Any,
    step: Any,
    average: Any,
) -> tuple[Any, Any]:
    """Predictions q(z) in training, and the statistics after this batch.

    Parameters
    ----------
    settings, weights, statistics
        The predictor.
    z
        Online features (V, N, n2).
    targets
        Target features (V, N, n2) that `z` predicts, view by view; for ``optimal`` alone.
    step
        Steps taken so far: statistics start with the batch of step 0.
    average
        ρ of the running averages.
    """
    if settings.kind == "mlp":
        return networks.apply(_mlp(settings, z.shape[-1]), weights, statistics, z, training=True)
    if settings.kind in ("direct", "optimal"):
        statistics = _averaged(settings, statistics, *jax.lax.stop_gradient((z, targets)), step, average)
    P = matrix(settings, weights, statistics)
    return (z if P is None else z @ P.T), statistics


def evaluate(settings: PredictorSettings, weights: Any, statistics: Any, z: Any) -> Any:
    """Predictions q(z) with running statistics, which stay as they are."""
    if settings.kind == "mlp":
        return networks.apply(_mlp(settings, z.shape[-1]), weights, statistics, z, training=False)[0]
    P = matrix(settings, weights, statistics)
    return z if P is None else z @ P.T


def matrix(settings: PredictorSettings, weights: Any, statistics: Any) -> Any:
    """P (n2, n2) of a predictor that is linear, None for one that is not, or not there."""
    if settings.kind == "linear":
        return weights["weight"]
    return statistics["predictor"] if settings.kind in ("direct", "optimal") else None


def symmetric_part(P: Any) -> Any:
    """½(P + Pᵀ)."""
    return (P + P.T) / 2


def _mlp(settings: PredictorSettings, features: int) -> tuple[networks.Layer, ...]:
    return networks.two_layers(settings.hidden, features, batch_norm=settings.batch_norm)


def _start(settings: PredictorSettings, key: Any, shape: tuple[int, int], scale: Any, dtype: Any) -> Any:
    if settings.start == "identity":
        return jnp.eye(shape[0], dtype=dtype)
    if settings.start == "normal":
        return jnp.asarray(scale / shape[1] ** 0.5, dtype) * normal(key, shape, dtype)
    lowest = 0.0 if settings.start == "positive" else -1.0
    return jnp.asarray(scale, dtype) * jax.random.uniform(key, shape, dtype, lowest, 1.0)


def _averaged(
    settings: PredictorSettings, statistics: Any, z: Any, targets: Any, step: Any, average: Any
) -> Any:
    """F̂ ← ρF̂ + (1 − ρ)E[z zᵀ] and Ĉ ← ρĈ + (1 − ρ)E[t zᵀ]; P follows them every `refresh` steps."""
    n = z.shape[0] * z.shape[1]
    seen = {"features": jnp.einsum("vni,vnj->ij", z, z) / n}
    if settings.kind == "optimal":
        seen["cross"] = jnp.einsum("vni,vnj->ij", targets, z) / n
    kept = jnp.where(step == 0, jnp.zeros_like(average), average)
    statistics = statistics | {name: kept * statistics[name] + (1 - kept) * now for name, now in seen.items()}

    def refreshed(s: Any) -> Any:
        if settings.kind == "optimal":
            inverse = one_by_one(lambda F: jnp.linalg.pinv(F, hermitian=True))
            return s["cross"] @ inverse(s["features"])
        return one_by_one(lambda F: directpred_predictor(F, **DIRECT_OPTIONS[settings.option]))(s["features"])

    if settings.refresh == 1:
        return statistics | {"predictor": refreshed(statistics)}
    P = jax.lax.cond(step % settings.refresh == 0, refreshed, lambda s: s["predictor"], statistics)
    return statistics | {"predictor": P}
