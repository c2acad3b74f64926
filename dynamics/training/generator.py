"""The random numbers of training: a counter-based generator for `jax.random`, cheap on CPUs and quick to compile.

Word c of the stream of a key (k0, k1) is

    triple32(lowbias32(c + k0) ^ k1)

with bijections of 32 bits made of shifts and multiplications (C. Wellons, hash-prospector) whose avalanche is that of a
random permutation to a few per cent of a bit. That is five multiplications a word against a hundred operations of
Threefry, and noise is most of what a small network costs. It is a generator for simulation, not for secrets.

Keys behave as all keys of JAX do: they fold in step numbers, split, and are stacked by vmap, each with its own stream.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl

Shape = tuple[int, ...]


def _lowbias32(x: Any) -> Any:
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return x ^ (x >> 16)


def _triple32(x: Any) -> Any:
    x = (x ^ (x >> 17)) * np.uint32(0xED5AD4BB)
    x = (x ^ (x >> 11)) * np.uint32(0xAC4C1B51)
    x = (x ^ (x >> 15)) * np.uint32(0x31848BAB)
    return x ^ (x >> 14)


def _words(key: Any, counter: Any) -> Any:
    return _triple32(_lowbias32(counter + key[0]) ^ key[1])


def _derived(key: Any, data: Any) -> Any:
    """Keys from a key and numbers, (..., 2); the constants keep them apart from words of the stream."""
    data = jnp.asarray(data, jnp.uint32)
    first = _words(key ^ np.uint32(0x9E3779B9), data)
    second = _words(key ^ np.uint32(0x85EBCA6B), data ^ first)
    return jnp.stack([first, second], axis=-1)


def _seeded(seed: Any) -> Any:
    return _derived(jnp.zeros(2, jnp.uint32), seed)


def _split(key: Any, shape: Shape) -> Any:
    counter = jax.lax.iota(jnp.uint32, int(np.prod(shape)))
    return _derived(key ^ np.uint32(0xC2B2AE35), counter).reshape(*shape, 2)


def _random_bits(key: Any, width: int, shape: Shape) -> Any:
    counter = jax.lax.iota(jnp.uint32, int(np.prod(shape)))
    if width == 64:
        high, low = (_words(key, 2 * counter + k).astype(jnp.uint64) for k in (0, 1))
        return ((high << 32) | low).reshape(shape)
    return _words(key, counter).astype(f"uint{width}").reshape(shape)


_IMPLEMENTATION = define_prng_impl(
    key_shape=(2,),
    seed=_seeded,
    split=_split,
    random_bits=_random_bits,
    fold_in=_derived,
    name="dyn_counter",
    tag="dyn",
)


def new_key(seed: Any) -> Any:
    """Key of a seed in [0, 2³²), for the functions of `jax.random`.

    >>> jax.random.uniform(new_key(0), (3,)).shape
    (3,)
    """
    return jax.random.key(seed, impl=_IMPLEMENTATION)
