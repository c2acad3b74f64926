"""LAPACK for runs that are stacked: on CPUs one matrix after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.custom_batching import sequential_vmap


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of matrices that vmap maps over runs one at a time on CPUs, and all at once elsewhere.

    XLA hands the parts of a batch of LAPACK calls to its pool of threads and waits for them on a thread of that pool:
    where cores are few and several such batches are under way, as in a measurement, it waits for ever.

    >>> import jax.numpy as jnp
    >>> jax.vmap(one_by_one(jnp.linalg.eigvalsh))(2.0 * jnp.eye(2)[None]).tolist()
    [[2.0, 2.0]]
    """
    sequential = sequential_vmap(lambda *matrices: function(*matrices))  # hides options, which are no arrays

    def apply(*matrices: Any) -> Any:
        return jax.lax.platform_dependent(*matrices, cpu=sequential, default=function)

    return apply
