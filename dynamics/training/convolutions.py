"""Convolutions of 3 x 3 pixels with zero padding, in the form that suits what they run on.

Both functions are one map, y[p] = Σ x[p + d] k[d] over the nine shifts d, with x = 0 outside the image. `by_products`
is one matrix product with the nine shifted images, which stays one product when runs are stacked: it is right for GPUs.
CPUs are several times as fast at `of_one_run`, which must not be stacked: a convolution whose kernels differ from run
to run is one with groups, at which XLA is hundreds of times slower there.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

FEW_CHANNELS = 4
"""Up to so many input channels a sum of products by elements is faster than a matrix product, and joins what follows it
in one pass over memory: a tenth of the time for grey images."""
PORTION = 2**20
"""Bytes of shifted images at a time in the gradient of the kernel: few enough to stay in the cache of a core."""


def by_products(x: Any, kernel: Any) -> Any:
    """Convolve by one product with the nine shifted images; runs may be stacked.

    Parameters
    ----------
    x
        Images (…, h, w, c).
    kernel
        Shape (3, 3, c, channels).

    Returns
    -------
    array
        Shape (…, h, w, channels).

    Examples
    --------
    >>> by_products(jnp.ones((1, 2, 2, 1)), jnp.ones((3, 3, 1, 1)))[0, :, :, 0].tolist()
    [[4.0, 4.0], [4.0, 4.0]]
    """
    return jnp.concatenate(_cut(_padded(x)), axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


@jax.custom_vjp
def of_one_run(x: Any, kernel: Any) -> Any:
    """Convolve images on a CPU; runs must come one after the other.

    Parameters
    ----------
    x
        Images (N, h, w, c).
    kernel
        Shape (3, 3, c, channels).

    Returns
    -------
    array
        Shape (N, h, w, channels).

    Examples
    --------
    >>> of_one_run(jnp.ones((1, 2, 2, 1)), jnp.ones((3, 3, 1, 1)))[0, :, :, 0].tolist()
    [[4.0, 4.0], [4.0, 4.0]]
    """
    if x.shape[-1] > FEW_CHANNELS:
        return _convolved(x, kernel)
    # XLA would take the middle image from x, not from what is padded, and find no vector code for x cut from an array
    terms = zip(_cut(lax.optimization_barrier(_padded(x))), kernel.reshape(9, *kernel.shape[2:]), strict=True)
    return sum(image[..., c : c + 1] * k[c] for image, k in terms for c in range(x.shape[-1]))


def _with_inputs(x: Any, kernel: Any) -> tuple[Any, tuple[Any, Any]]:
    return of_one_run(x, kernel), (x, kernel)


def _gradients(inputs: tuple[Any, Any], g: Any) -> tuple[Any, Any]:
    x, kernel = inputs
    turned = jnp.swapaxes(kernel[::-1, ::-1], 2, 3)
    return _convolved(g, turned), _gradient_of_kernel(x, g).reshape(kernel.shape)


of_one_run.defvjp(_with_inputs, _gradients)


def _gradient_of_kernel(x: Any, g: Any) -> Any:
    """Σ over pixels of x[p + d] g[p], (9 c, channels), a portion of the images at a time."""
    n, h, w, c = x.shape
    size = max(1, min(n, PORTION // (9 * h * w * c * x.dtype.itemsize)))

    def of_portion(images: Any, g: Any) -> Any:
        shifted = jnp.concatenate(_cut(_padded(images)), axis=-1).reshape(-1, 9 * c)
        return g.reshape(-1, g.shape[-1]).T @ shifted

    def add(k: Any, total: Any) -> Any:
        return total + of_portion(*(lax.dynamic_slice_in_dim(a, k * size, size) for a in (x, g)))

    whole = n // size
    total = lax.fori_loop(0, whole, add, jnp.zeros((g.shape[-1], 9 * c), x.dtype))
    if n > whole * size:
        total = total + of_portion(x[whole * size :], g[whole * size :])
    return total.T


def _convolved(x: Any, kernel: Any) -> Any:
    """The convolution of XLA, which calls a library on CPUs."""
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _padded(x: Any) -> Any:
    return jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(1, 1), (1, 1), (0, 0)])


def _cut(padded: Any) -> list[Any]:
    """The nine images x[p + d], row by row, of x with a frame of zeros."""
    h, w = (size - 2 for size in padded.shape[-3:-1])
    return [padded[..., i : i + h, j : j + w, :] for i in range(3) for j in range(3)]
