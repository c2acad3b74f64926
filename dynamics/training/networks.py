"""Networks as lists of layers: encoders, projectors and MLP predictors, with their batch statistics.

Inputs are (V, N, …): V views of N samples. Layers are frozen descriptions; weights and running statistics are pytrees
that go in and come out, so that runs can be stacked and differentiated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from dynamics.training import convolutions
from dynamics.training.generator import normal
from dynamics.training.parts import EncoderSettings

STATISTICS_RATE = 0.1
"""Running statistics ← 0.9 running + 0.1 batch."""
VARIANCE_FLOOR = 1e-5
"""Added to variances before they are divided by."""

Shape = tuple[int, ...]


class Layer(Protocol):
    """A map of (V, N, *shape) whose weights and running statistics are given from outside."""

    def init(self, key: Any, shape: Shape, scale: Any, dtype: Any) -> tuple[Any, Any, Shape]:
        """Return weights, running statistics, and the shape of one output, for inputs of `shape`."""

    def apply(self, weights: Any, statistics: Any, x: Any, *, training: bool) -> tuple[Any, Any]:
        """Return outputs and the running statistics that go with them."""


@dataclass(frozen=True)
class Linear:
    """x ↦ W x + b on flattened samples, W (features, d) starting as gain·scale·N(0, 1)/√d, b at 0.

    Parameters
    ----------
    features
        Dimension of the output.
    bias
        Whether there is a b.
    gain
        √2 before a ReLU keeps the variance of features from layer to layer; 1 otherwise.
    """

    features: int
    bias: bool = True
    gain: float = 1.0

    def init(self, key: Any, shape: Shape, scale: Any, dtype: Any) -> tuple[Any, Any, Shape]:
        d = int(np.prod(shape))
        std = jnp.asarray(self.gain * scale / np.sqrt(d), dtype)
        weights = {"weight": std * normal(key, (self.features, d), dtype)}
        if self.bias:
            weights["bias"] = jnp.zeros(self.features, dtype)
        return weights, (), (self.features,)

    def apply(self, weights: Any, statistics: Any, x: Any, *, training: bool) -> tuple[Any, Any]:
        y = x.reshape(*x.shape[:2], -1) @ weights["weight"].T
        return (y + weights["bias"] if self.bias else y), statistics


@dataclass(frozen=True)
class Conv:
    """3 x 3 convolution with zero padding, images (h, w, c) to (h, w, channels).

    Parameters
    ----------
    channels
        Of the output.
    stacked
        Whether the layer must do for runs that are stacked; see `convolutions`.
    """

    channels: int
    stacked: bool = True

    def init(self, key: Any, shape: Shape, scale: Any, dtype: Any) -> tuple[Any, Any, Shape]:
        h, w, c = shape
        std = jnp.asarray(np.sqrt(2) * scale / np.sqrt(9 * c), dtype)
        kernel = std * normal(key, (3, 3, c, self.channels), dtype)
        return {"weight": kernel, "bias": jnp.zeros(self.channels, dtype)}, (), (h, w, self.channels)

    def apply(self, weights: Any, statistics: Any, x: Any, *, training: bool) -> tuple[Any, Any]:
        if self.stacked:
            y = convolutions.by_products(x, weights["weight"])
        else:
            y = convolutions.of_one_run(x.reshape(-1, *x.shape[2:]), weights["weight"])
        return y.reshape(*x.shape[:-1], self.channels) + weights["bias"], statistics


@dataclass(frozen=True)
class BatchNorm:
    """y = scale (x − mean)/√(variance + 1e-5) + shift, by the statistics of each view's batch, or running ones.

    Mean and variance are those of the batch (divided by N) in training; running averages, with the unbiased variance,
    serve for evaluation. Images are normalised a channel.
    """

    def init(self, key: Any, shape: Shape, scale: Any, dtype: Any) -> tuple[Any, Any, Shape]:
        ones, zeros = jnp.ones(shape[-1], dtype), jnp.zeros(shape[-1], dtype)
        return {"scale": ones, "shift": zeros}, {"mean": zeros, "variance": ones}, shape

    def apply(self, weights: Any, statistics: Any, x: Any, *, training: bool) -> tuple[Any, Any]:
        if training:
            axes = tuple(range(1, x.ndim - 1))
            mean = jnp.mean(x, axes, keepdims=True)
            variance = jnp.mean((x - mean) ** 2, axes, keepdims=True)
            n = int(np.prod([x.shape[axis] for axis in axes]))
            seen = {"mean": mean, "variance": variance * (n / (n - 1))}
            # one update a view, as if the views had passed one after the other
            for view in range(x.shape[0]):
                statistics = {
                    name: (1 - STATISTICS_RATE) * old + STATISTICS_RATE * seen[name][view].reshape(-1)
                    for name, old in statistics.items()
                }
        else:
            mean, variance = statistics["mean"], statistics["variance"]
        y = (x - mean) * jax.lax.rsqrt(variance + VARIANCE_FLOOR)
        return weights["scale"] * y + weights["shift"], statistics


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""

    def init(self, key: Any, shape: Shape, scale: Any, dtype: Any) -> tuple[Any, Any, Shape]:
        return (), (), shape

    def apply(self, weights: Any, statistics: Any, x: Any, *, training: bool) -> tuple[Any, Any]:
        return jnp.maximum(x, 0), statistics


@dataclass(frozen=True)
class HalfSize:
    """Mean over 2 x 2 pixels; a last odd row or column is left out, a side of one pixel is kept."""

    def init(self, key: Any, shape: Shape, scale: Any, dtype: Any) -> tuple[Any, Any, Shape]:
        h, w, c = shape
        return (), (), (max(1, h // 2), max(1, w // 2), c)

    def apply(self, weights: Any, statistics: Any, x: Any, *, training: bool) -> tuple[Any, Any]:
        for axis in (2, 3):
            if x.shape[axis] > 1:
                x = _halved(jax.lax.slice_in_dim(x, 0, x.shape[axis] // 2 * 2, axis=axis), axis)
        return x, statistics


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _halved(x: Any, axis: int) -> Any:
    """Means of neighbours along an axis of even size; its gradient is one pass over memory, which slices' is not."""
    even, odd = (jax.lax.slice_in_dim(x, k, None, 2, axis) for k in (0, 1))
    return (even + odd) / 2


def _gradient_of_halved(axis: int, _: None, g: Any) -> tuple[Any]:
    twice = jnp.broadcast_to(
        jnp.expand_dims(g / 2, axis + 1), (*g.shape[: axis + 1], 2, *g.shape[axis + 1 :])
    )
    return (twice.reshape(*g.shape[:axis], -1, *g.shape[axis + 1 :]),)


_halved.defvjp(lambda x, axis: (_halved(x, axis), None), _gradient_of_halved)


@dataclass(frozen=True)
class PixelMean:
    """Mean over all pixels, (h, w, c) to (c,)."""

    def init(self, key: Any, shape: Shape, scale: Any, dtype: Any) -> tuple[Any, Any, Shape]:
        return (), (), shape[-1:]

    def apply(self, weights: Any, statistics: Any, x: Any, *, training: bool) -> tuple[Any, Any]:
        return jnp.mean(x, (2, 3)), statistics


def encoder_layers(settings: EncoderSettings, *, stacked: bool = True) -> tuple[Layer, ...]:
    """Layers of the encoder f, from a sample to its representation; they do for runs that are `stacked`, or do not."""
    before_relu: tuple[Layer, ...] = (BatchNorm(), Relu()) if settings.batch_norm else (Relu(),)
    if settings.kind == "linear":
        return (Linear(settings.features, bias=False),)
    if settings.kind == "mlp":
        hidden = [(Linear(width, gain=np.sqrt(2)), *before_relu) for width in settings.widths]
        return (*(layer for block in hidden for layer in block), Linear(settings.features))
    blocks = [(Conv(width, stacked), *before_relu, HalfSize()) for width in settings.widths]
    return (*(layer for block in blocks for layer in block), PixelMean(), Linear(settings.features))


def projector_layers(settings: EncoderSettings) -> tuple[Layer, ...]:
    """Layers of the projector g, none when the representation itself is predicted."""
    if not settings.projector:
        return ()
    hidden, output = settings.projector
    return two_layers(hidden, output, batch_norm=settings.projector_batch_norm)


def two_layers(hidden: int, output: int, *, batch_norm: bool) -> tuple[Layer, ...]:
    """Linear, batch normalisation if asked for, ReLU, linear: the projector and predictor of RAFT.

    >>> len(two_layers(8, 4, batch_norm=True))
    4
    """
    middle: tuple[Layer, ...] = (BatchNorm(), Relu()) if batch_norm else (Relu(),)
    return (Linear(hidden, gain=np.sqrt(2)), *middle, Linear(output))


def init(layers: Sequence[Layer], key: Any, shape: Shape, scale: Any, dtype: Any) -> tuple[Any, Any, Shape]:
    """Weights and running statistics of a network, one entry a layer, and the shape of one output.

    >>> weights, _, shape = init(two_layers(8, 4, batch_norm=False), jax.random.key(0), (3,), 1.0, "float32")
    >>> weights[0]["weight"].shape, shape
    ((8, 3), (4,))
    """
    weights, statistics = [], []
    for index, layer in enumerate(layers):
        w, s, shape = layer.init(jax.random.fold_in(key, index), shape, scale, dtype)
        weights.append(w)
        statistics.append(s)
    return tuple(weights), tuple(statistics), shape


def apply(
    layers: Sequence[Layer], weights: Any, statistics: Any, x: Any, *, training: bool
) -> tuple[Any, Any]:
    """Outputs (V, N, …) of a network for inputs (V, N, …), and its running statistics after them."""
    after = []
    for layer, w, s in zip(layers, weights, statistics, strict=True):
        x, s = layer.apply(w, s, x, training=training)
        after.append(s)
    return x, tuple(after)


def evaluate(layers: Sequence[Layer], weights: Any, statistics: Any, x: Any, at_once: int) -> Any:
    """Outputs (V, N, …) of a network with running statistics, worked out for so many of the N samples at a time."""

    def of(some: Any) -> Any:
        return apply(layers, weights, statistics, some, training=False)[0]

    n = x.shape[1]
    if n <= at_once:
        return of(x)

    def put(k: Any, y: Any) -> Any:
        # the last portion is moved back to where it is whole, by both functions alike
        some = jax.lax.dynamic_slice_in_dim(x, k * at_once, at_once, axis=1)
        return jax.lax.dynamic_update_slice_in_dim(y, of(some), k * at_once, axis=1)

    shape = jax.eval_shape(of, x)
    return jax.lax.fori_loop(0, -(-n // at_once), put, jnp.zeros(shape.shape, shape.dtype))


@jax.custom_vjp
def online_and_target(W: Any, P: Any, Th: Any, x: Any) -> tuple[Any, Any]:
    """Outputs q = P W x and t = Θ x of linear networks by one product with [P W; Θ]; no gradient flows to Θ and x.

    Parameters
    ----------
    W, P, Th
        Matrices (n2, n1), (n2, n2) and (n2, n1).
    x
        Views (V, N, …) of n1 numbers each.

    Returns
    -------
    q, t
        Shape (V, N, n2).
    """
    return _online_and_target(W, P, Th, x)[0]


def _online_and_target(W: Any, P: Any, Th: Any, x: Any) -> tuple[tuple[Any, Any], tuple[Any, Any, Any]]:
    n2, n1 = W.shape
    rows = x.reshape(-1, n1)
    both = rows @ jnp.concatenate([P @ W, Th]).T
    q, t = (part.reshape(*x.shape[:2], n2) for part in (both[:, :n2], both[:, n2:]))
    return (q, t), (W, P, rows)


def _gradient_of_online(
    kept: tuple[Any, Any, Any], gradients: tuple[Any, Any]
) -> tuple[Any, Any, None, None]:
    W, P, rows = kept
    product = gradients[0].reshape(len(rows), -1).T @ rows
    return P.T @ product, product @ W.T, None, None


online_and_target.defvjp(_online_and_target, _gradient_of_online)
