"""Deep (leaky) ReLU networks: connections against autodiff, products without connections, refusals (R101–R103)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from dynamics.deep_networks import (
    BIAS_REFUSAL,
    DeepReLU,
    connection,
    distance_gradient,
    forward,
    output_jacobian,
    pull_back,
    push_forward,
    unvec,
    vec,
)

RTOL = 1e-10


def network(seed: int, widths: tuple[int, ...], leak: float = 0.0, activated_top: bool = False) -> DeepReLU:
    rng = np.random.default_rng(seed)
    shapes = zip(widths[1:], widths[:-1], strict=True)
    return DeepReLU([rng.standard_normal(s) * np.sqrt(2 / s[1]) for s in shapes], leak, activated_top)


def by_hand(weights: Any, leak: float, activated_top: bool, x: Any) -> Any:
    """The network in JAX, written apart from the library."""
    for number, W in enumerate(weights, start=1):
        x = W @ x
        if number < len(weights) or activated_top:
            x = jax.nn.leaky_relu(x, leak)
    return x


NETWORKS = [
    (0, (3, 2), 0.0, False),
    (1, (5, 4, 3), 0.0, False),
    (2, (6, 8, 7, 2), 0.2, True),
    (3, (64, 64, 32, 16), 0.0, False),
    (4, (4, 9, 5, 7, 6, 3), 1.0, False),
    (5, (7, 64, 5, 33, 12, 8, 4), -0.3, False),
]
each = pytest.mark.parametrize(("seed", "widths", "leak", "top"), NETWORKS, ids=[str(n[1]) for n in NETWORKS])


@each
def test_connections_are_the_gradient_of_distances_for_every_layer_and_target(
    seed: int, widths: tuple[int, ...], leak: float, top: bool
) -> None:
    # ∂/∂vec W_l ½‖f1 − f2‖² = K_1(f1 − f2) = K_1(K_1ᵀ vec W_1 − K_2,l′ᵀ vec W_2,l′), whatever the target's depth and l′
    net = network(seed, widths, leak, top)
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, widths[0]))
    for target in (network(seed + 100, widths, leak, top), network(seed + 100, (widths[0], 6, widths[-1]))):
        with jax.enable_x64(True):
            f2 = by_hand(target.weights, target.leak, target.activated_top, y)

            def r(weights: Any, f2: Any = f2) -> Any:
                return jnp.sum((by_hand(weights, leak, top, x) - f2) ** 2) / 2

            gradients = jax.grad(r)(tuple(map(jnp.asarray, net.weights)))
        for layer, gradient in enumerate(gradients, start=1):
            wanted = vec(np.asarray(gradient))
            K1 = connection(net, x, layer)
            scale = np.max(np.abs(wanted))
            for other in range(1, target.depth + 1):
                f_2 = connection(target, y, other).T @ vec(target.weights[other - 1])
                found = K1 @ (K1.T @ vec(net.weights[layer - 1]) - f_2)
                assert_allclose(found, wanted, rtol=RTOL, atol=RTOL * scale)
            assert_allclose(
                distance_gradient(net, x, np.asarray(f2), layer), wanted, rtol=RTOL, atol=RTOL * scale
            )


@each
def test_jacobians_and_outputs_are_those_of_autodiff(
    seed: int, widths: tuple[int, ...], leak: float, top: bool
) -> None:
    net = network(seed, widths, leak, top)
    x = np.random.default_rng(seed).standard_normal((2, widths[0]))
    found = forward(net, x)
    with jax.enable_x64(True):
        assert_allclose(
            found.output, [by_hand(net.weights, leak, top, row) for row in x], rtol=1e-12, atol=1e-12
        )
        for layer in range(1, net.depth + 1):

            def above(pre: Any, layer: int = layer) -> Any:
                if layer < net.depth or top:
                    pre = jax.nn.leaky_relu(pre, leak)
                return by_hand(net.weights[layer:], leak, top, pre) if layer < net.depth else pre

            for k in range(2):
                wanted = jax.jacobian(above)(jnp.asarray(found.pre[layer - 1][k]))
                assert_allclose(output_jacobian(net, x, layer)[k], wanted, rtol=RTOL, atol=RTOL)


@each
def test_products_without_connections_are_products_with_them(
    seed: int, widths: tuple[int, ...], leak: float, top: bool
) -> None:
    net = network(seed, widths, leak, top)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((5, widths[0]))
    found = forward(net, x)
    for layer in range(1, net.depth + 1):
        K = connection(net, x, layer)
        v = rng.standard_normal((K.shape[1], 3))
        y = rng.standard_normal((5, 3, widths[-1]))
        size = np.linalg.norm(K)
        assert_allclose(
            push_forward(net, found, layer, v),
            np.einsum("nia,im->nma", K, v),
            atol=1e-14 * size * np.linalg.norm(v),
        )
        assert_allclose(
            pull_back(net, found, layer, y),
            np.einsum("nia,nma->im", K, y),
            atol=1e-14 * size * np.linalg.norm(y),
        )


def test_weights_may_be_traced_by_jax() -> None:
    net = network(1, (3, 4, 2))
    x = np.array([0.3, -1.0, 0.7])

    def energy(weights: Any) -> Any:
        return jnp.sum(forward(DeepReLU(weights), jnp.asarray(x)).output ** 2) / 2

    with jax.enable_x64(True):
        traced = tuple(map(jnp.asarray, net.weights))
        gradient = jax.grad(energy)(traced)
        K = jax.jit(lambda weights: connection(DeepReLU(weights), jnp.asarray(x), 1))(traced)
    assert_allclose(K, connection(net, x, 1), rtol=1e-12, atol=1e-15)
    wanted = connection(net, x, 1) @ forward(net, x).output
    assert_allclose(vec(np.asarray(gradient[0])), wanted, rtol=1e-12, atol=1e-15)


def test_columns_are_stacked() -> None:
    W = np.arange(6.0).reshape(2, 3)
    assert vec(W).tolist() == [0, 3, 1, 4, 2, 5]
    assert np.array_equal(unvec(vec(W), W.shape), W)


def test_at_a_kink_the_slope_is_the_leak() -> None:
    net = DeepReLU(([[1.0]], [[1.0]]), leak=0.25)
    assert output_jacobian(net, [0.0], 1).item() == 0.25


def test_normalised_gradient_is_that_of_autodiff() -> None:
    net = network(6, (5, 7, 3), 0.1)
    rng = np.random.default_rng(0)
    x, f2 = rng.standard_normal(5), rng.standard_normal(3)

    def r(weights: Any) -> Any:
        f1 = by_hand(weights, 0.1, False, x)
        return jnp.sum((f1 / jnp.linalg.norm(f1) - f2 / jnp.linalg.norm(f2)) ** 2) / 2

    with jax.enable_x64(True):
        gradients = jax.grad(r)(tuple(map(jnp.asarray, net.weights)))
    for layer in (1, 2):
        found = distance_gradient(net, x, f2, layer, normalised=True)
        assert_allclose(found, vec(np.asarray(gradients[layer - 1])), rtol=RTOL, atol=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeepReLU([]), "`weights` must hold at least one layer, got none"),
        (
            lambda: DeepReLU([[1.0]]),
            r"`weights` must be matrices \(n_l, n_{l−1}\), got shape \(1,\) in layer 1",
        ),
        (lambda: DeepReLU([[[np.inf]]]), "`weights` must be finite, got inf in layer 1"),
        (
            lambda: DeepReLU([np.ones((2, 3)), np.ones((1, 3))]),
            r"`weights` of layer 2 must have 2 columns, the width of the layer below, got shape \(1, 3\)",
        ),
        (lambda: DeepReLU([[[1.0]]], leak=np.nan), "`leak` must be finite, got nan"),
        (lambda: forward(DeepReLU([[[1.0]]]), [1.0, 2.0]), r"`x` must have shape \(..., 1\), got \(2,\)"),
        (lambda: connection(DeepReLU([[[1.0]]]), [1.0], 2), "`layer` must be from 1 to 1, got 2"),
        (lambda: output_jacobian(DeepReLU([[[1.0]]]), [1.0], 0), "`layer` must be from 1 to 1, got 0"),
        (
            lambda: distance_gradient(DeepReLU([[[1.0]]]), [1.0], [1.0, 2.0], 1),
            r"`other` must have shape \(..., 1\), got \(2,\)",
        ),
        (
            lambda: distance_gradient(DeepReLU([np.eye(2)]), [0.0, 0.0], [1.0, 2.0], 1, normalised=True),
            "`x` and `other` must give outputs that have a direction, got one of norm 0",
        ),
    ],
)
def test_refusals(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_biases_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="K_lᵀ vec W_l misses f_L") as refused:
        DeepReLU([[[1.0]]], biases=[[1.0]])
    assert str(refused.value) == BIAS_REFUSAL
