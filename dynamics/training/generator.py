"""The random numbers of training: a counter-based generator for `jax.random`, cheap on CPUs and quick to compile.

Word c of the stream of a key (k0, k1) is triple32(c + k0), with k1 joined in after the first of its three rounds of
shifts and multiplication. triple32 (C. Wellons, hash-prospector) is a bijection of 32 bits whose avalanche is that of a
random permutation to a few per cent of a bit. That is three multiplications a word against a hundred operations of
Threefry, and noise is most of what a small network costs. It is a generator for simulation, not for secrets.

Keys behave as all keys of JAX do: they fold in step numbers, split, and are stacked by vmap, each with its own stream.

Normal numbers in single precision have a way of their own, `normal`, a third of the operations of `jax.random.normal`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl

Shape = tuple[int, ...]


def _words(key: Any, counter: Any) -> Any:
    x = counter + key[0]
    x = (x ^ (x >> 17)) * np.uint32(0xED5AD4BB) ^ key[1]
    x = (x ^ (x >> 11)) * np.uint32(0xAC4C1B51)
    x = (x ^ (x >> 15)) * np.uint32(0x31848BAB)
    return x ^ (x >> 14)


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


_IMPLEMENTATIONS = {"triple32": _IMPLEMENTATION, "threefry": "threefry2x32"}


def new_key(seed: Any, generator: str = "triple32") -> Any:
    """Key of a seed in [0, 2³²), for the functions of `jax.random`.

    Parameters
    ----------
    seed
        An integer, or an array of no dimension.
    generator
        ``triple32``, or ``threefry``, JAX's own.

    Examples
    --------
    >>> jax.random.uniform(new_key(0), (3,)).shape
    (3,)
    >>> bool(new_key(7, "threefry") == jax.random.key(7, impl="threefry2x32"))
    True
    """
    return jax.random.key(seed, impl=_IMPLEMENTATIONS[generator])


# log2(1 + m)/m for m in [√½ − 1, √2 − 1], to 3e-7
_LOG2 = (
    1.44269973, -0.72137587, 0.48046503, -0.35896184, 0.29726261, -0.27269804, 0.17063454,
)  # fmt: skip
# √2 erfinv(x)/x as a ratio of polynomials in log2(1 − x²), to 1.3e-6 of itself where 1 − |x| >= 2⁻³²
_NUMERATOR = (
    1.253315695, -0.41988595542, 0.066982770779, -0.0069097472764, 4.7562617399e-4, -2.3177445207e-6,
)  # fmt: skip
_DENOMINATOR = (1.0, -0.15357594558, 0.019260526647, -0.0019843543802, 4.4692469977e-5)
_SQRT_HALF_BITS = np.int32(0x3F3504F3)


def normal(key: Any, shape: Shape, dtype: Any) -> Any:
    """Standard normal numbers, with a key of ``triple32`` in single precision one word and some forty operations each.

        z = ± √2 erfinv(1 − q),   q = (k + ½)/2³¹,   sign and k from the 32 bits of a word

    Parameters
    ----------
    key
        A key of `new_key`.
    shape, dtype
        Of the array. ``float64``, and keys of ``threefry``, have the numbers of `jax.random.normal`.

    Returns
    -------
    array
        Within 3e-6 of the exact quantile (relatively, and 2e-7 absolutely near 0); |z| <= 6.34.

    Examples
    --------
    >>> normal(new_key(0), (2, 3), "float32").shape
    (2, 3)
    """
    if jnp.dtype(dtype) != jnp.float32 or jax.random.key_impl(key) == _IMPLEMENTATIONS["threefry"]:
        return jax.random.normal(key, shape, dtype)
    return _from_word(jax.random.bits(key, (int(np.prod(shape)),), jnp.uint32)).reshape(shape)


def _from_word(word: Any) -> Any:
    k = (word & np.uint32(0x7FFFFFFF)).astype(jnp.int32)
    q = (k.astype(jnp.float32) + np.float32(0.5)) * np.float32(2**-31)
    log = _log2(q * (2 - q))
    z = (1 - q) * _polynomial(_NUMERATOR, log) / _polynomial(_DENOMINATOR, log)
    sign = word & np.uint32(0x80000000)
    return jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(z, jnp.uint32) | sign, jnp.float32)


def _log2(x: Any) -> Any:
    """Logarithm of positive normal numbers, from their bits: half the work of XLA's."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    exponent = (bits - _SQRT_HALF_BITS) >> 23
    m = jax.lax.bitcast_convert_type(bits - (exponent << 23), jnp.float32) - 1
    return exponent.astype(jnp.float32) + m * _polynomial(_LOG2, m)


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    value = jnp.float32(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + np.float32(coefficient)
    return value
