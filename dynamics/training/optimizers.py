"""Optimisers: what an optax transformation makes of a gradient, before the learning rate."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from dynamics.training.parts import OptimizerSettings
from dynamics.training.targets import half_cosine

TRUST = 1e-3
"""Trust coefficient of LARS."""


def direction(settings: OptimizerSettings, weight_decay: Any, momentum: Any) -> optax.GradientTransformation:
    """Transformation from gradients g to directions v, to be used as θ ← θ − ε v.

        sgd       v = g + decay·θ
        momentum  v ← μ v + g + decay·θ
        adam      v = m̂/(√n̂ + 1e-8), m and n the averages (0.9, 0.999) of g + decay·θ and of its square
        lars      v ← μ v + trust·(g + decay·θ) ‖θ‖/‖g + decay·θ‖, for vectors v ← μ v + g

    Parameters
    ----------
    settings
        Gives the kind.
    weight_decay, momentum
        Scalars, or traced arrays of no dimensions.
    """
    decayed = optax.add_decayed_weights(weight_decay)
    if settings.kind == "adam":
        return optax.chain(decayed, optax.scale_by_adam())
    if settings.kind == "momentum":
        return optax.chain(decayed, optax.trace(momentum))
    if settings.kind == "lars":
        return optax.chain(
            optax.add_decayed_weights(weight_decay, mask=_matrices),
            optax.masked(optax.scale_by_trust_ratio(trust_coefficient=TRUST), _matrices),
            optax.trace(momentum),
        )
    return decayed


def _matrices(weights: Any) -> Any:
    return jax.tree.map(lambda w: w.ndim > 1, weights)


def rate(settings: OptimizerSettings, learning_rate: Any, step: Any, steps: int) -> Any:
    """Learning rate ε at step k of K, constant or ε (cos(πk/K) + 1)/2."""
    if settings.schedule == "constant":
        return learning_rate
    return learning_rate * half_cosine(step, steps, jnp.result_type(learning_rate))
