"""How the target network follows the online one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from dynamics.training.parts import TargetSettings


def decay(settings: TargetSettings, gamma: Any, step: Any, steps: int) -> Any:
    """γ of the exponential moving average at a step.

        constant  γ_k = γ
        cosine    γ_k = 1 − (1 − γ)(cos(πk/K) + 1)/2

    Parameters
    ----------
    settings
        Gives the schedule.
    gamma
        γ at the start, in [0, 1].
    step, steps
        k and K.

    Notes
    -----
    Source: BYOL for the cosine.
    """
    if settings.schedule == "constant":
        return gamma
    return 1 - (1 - gamma) * half_cosine(step, steps, jnp.result_type(gamma))


def half_cosine(step: Any, steps: int, dtype: Any) -> Any:
    """(cos(πk/K) + 1)/2, from 1 at k = 0 to 0 at k = K.

    >>> float(half_cosine(0, 10, "float32"))
    1.0
    """
    return (jnp.cos(jnp.pi * jnp.asarray(step, dtype) / steps) + 1) / 2


def follow(settings: TargetSettings, target: Any, online: Any, gamma: Any, step: Any, steps: int) -> Any:
    """Target weights after a step, ξ ← γξ + (1 − γ)θ for the average; `online` holds the weights after the step."""
    if settings.kind == "fixed":
        return target
    if settings.kind == "none":
        return online
    kept = decay(settings, gamma, step, steps)
    return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, target, online)
