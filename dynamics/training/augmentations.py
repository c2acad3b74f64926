"""The named augmentations drawn on the device: the same random maps as `dynamics.data.augmentations`, drawn by JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dynamics.data.augmentation import Augmentation
from dynamics.data.augmentations import Crop, Erase, Flip, Gain, Noise, Roll, Scramble, Shift
from dynamics.training.generator import normal


def augment(chain: Sequence[Augmentation], key: Any, images: Any) -> Any:
    """Draw one view of each image.

    Parameters
    ----------
    chain
        Augmentations in their order; whether they suit the samples is checked where data are loaded.
    key
        Randomness, one key for the whole batch.
    images
        Shape (N, h, w, c) or (N, d).

    Returns
    -------
    array
        Views, of the shape and type of `images`.
    """
    for index, augmentation in enumerate(chain):
        images = _VIEWS[type(augmentation)](augmentation, jax.random.fold_in(key, index), images)
    return images


def _shift(a: Shift, key: Any, x: Any) -> Any:
    n, h, w, _ = x.shape
    down, right = jax.random.randint(key, (2, n, 1), -a.k, a.k + 1)
    rows, columns = (jnp.arange(h) - down) % h, (jnp.arange(w) - right) % w
    return x[jnp.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _roll(_: Roll, key: Any, x: Any) -> Any:
    n, _, w, _ = x.shape
    columns = (jnp.arange(w) - jax.random.randint(key, (n, 1), 0, w)) % w
    return jnp.take_along_axis(x, columns[:, None, :, None], axis=2)


def _noise(a: Noise, key: Any, x: Any) -> Any:
    return x + a.s * normal(key, x.shape, x.dtype)


def _flip(a: Flip, key: Any, x: Any) -> Any:
    mirrored = jax.random.bernoulli(key, 0.5, (len(x), 1, 1, 1))
    return jnp.where(mirrored, x[:, :, ::-1], x)


def _crop(a: Crop, key: Any, x: Any) -> Any:
    n, h, w, _ = x.shape
    for_side, for_place = jax.random.split(key)
    side = jax.random.uniform(for_side, (n, 1), x.dtype, a.f, 1.0)
    top, left = jax.random.uniform(for_place, (2, n, 1), x.dtype) * (1 - side)
    R = _interpolation(h * top + side * (jnp.arange(h, dtype=x.dtype) + 0.5) - 0.5, h)
    C = _interpolation(w * left + side * (jnp.arange(w, dtype=x.dtype) + 0.5) - 0.5, w)
    return jnp.einsum("nih,nhwc,njw->nijc", R, x, C)


def _interpolation(at: Any, size: int) -> Any:
    """Weights (…, size) of pixels in the linear interpolation at coordinates (…), constant past the ends."""
    return jnp.maximum(
        0, 1 - jnp.abs(jnp.clip(at, 0, size - 1)[..., None] - jnp.arange(size, dtype=at.dtype))
    )


def _erase(a: Erase, key: Any, x: Any) -> Any:
    n, h, w, _ = x.shape
    side = a.side(h, w)
    for_rows, for_columns = jax.random.split(key)
    rows = jnp.arange(h) - jax.random.randint(for_rows, (n, 1), 0, h - side + 1)
    columns = jnp.arange(w) - jax.random.randint(for_columns, (n, 1), 0, w - side + 1)
    in_rows, in_columns = (rows >= 0) & (rows < side), (columns >= 0) & (columns < side)
    erased = in_rows[:, :, None] & in_columns[:, None, :]
    return jnp.where(erased[..., None], 0, x)


def _scramble(a: Scramble, key: Any, x: Any) -> Any:
    X = x.reshape(len(x), -1)
    U = jnp.asarray(a.basis(X.shape[1]), x.dtype)
    Z = X @ U
    # B z is N(0, ‖z‖² I) for one z, and every view has a B of its own
    BZ = jnp.linalg.norm(Z, axis=1, keepdims=True) * normal(key, Z.shape, x.dtype)
    return (X + (BZ - Z) @ U.T).reshape(x.shape)


def _gain(a: Gain, key: Any, x: Any) -> Any:
    return x * (1 + a.s * normal(key, (len(x),) + (1,) * (x.ndim - 1), x.dtype))


_VIEWS: dict[type[Augmentation], Callable[[Any, Any, Any], Any]] = {
    Shift: _shift,
    Roll: _roll,
    Noise: _noise,
    Flip: _flip,
    Crop: _crop,
    Erase: _erase,
    Scramble: _scramble,
    Gain: _gain,
}
