"""Batch normalisation of features whose gradients may stop at the mean or at the deviation, in JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from dynamics.normalisation import Normaliser


def batch_normalised(z: Any, normaliser: Normaliser, axis: int = -2) -> Any:
    """Features normalised by the statistics of their batch: what `dynamics.normalisation.normalise` does by hand.

    Parameters
    ----------
    z
        Features, (…, B, n).
    normaliser
        What is done, and where gradients stop.
    axis
        Axis of the batch.

    Returns
    -------
    array
        Like z.

    Notes
    -----
    Source: R213, R218; DD Table 4.

    Examples
    --------
    >>> batch_normalised(jnp.array([[1.0], [3.0]]), Normaliser(mean="full")).ravel().tolist()
    [-1.0, 1.0]
    """
    if not normaliser.active:
        return z
    mean = jnp.mean(z, axis, keepdims=True)
    stopped = jax.lax.stop_gradient(mean)
    c = {"none": z, "forward": z - stopped, "full": z - mean, "backward": z - mean + stopped}[normaliser.mean]
    if normaliser.std == "none":
        return c
    # the deviation is about the mean of what is divided, through which gradients pass as far as they pass through c
    variance = jnp.mean((z - mean) ** 2, axis, keepdims=True) + normaliser.epsilon
    if normaliser.std == "detached":
        variance = jax.lax.stop_gradient(variance)
    return c * jax.lax.rsqrt(variance)
