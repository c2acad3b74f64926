"""Layers, predictors, targets and optimisers against NumPy, SciPy and recurrences written out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose
from scipy.signal import correlate2d

from dynamics.fields.predictors import DIRECT_OPTIONS, directpred_predictor
from dynamics.training import (
    EncoderSettings,
    OptimizerSettings,
    PredictorSettings,
    TargetSettings,
    networks,
    optimizers,
    predictors,
    targets,
)
from dynamics.training.generator import new_key

RNG = np.random.default_rng(1)
KEY = new_key(0)


def test_batch_norm_is_that_of_numpy_view_by_view() -> None:
    x = RNG.standard_normal((2, 10, 3)) * 2 + 1
    weights = {"scale": jnp.array([1.0, 2.0, 3.0]), "shift": jnp.array([0.0, 1.0, -1.0])}
    statistics = {"mean": jnp.zeros(3), "variance": jnp.ones(3)}
    y, after = networks.BatchNorm().apply(weights, statistics, jnp.asarray(x), training=True)
    mean, variance = np.zeros(3), np.ones(3)
    for view in range(2):
        seen = x[view]
        wanted = (seen - seen.mean(0)) / np.sqrt(seen.var(0) + 1e-5) * [1, 2, 3] + [0, 1, -1]
        assert_allclose(y[view], wanted, rtol=1e-12)
        mean, variance = 0.9 * mean + 0.1 * seen.mean(0), 0.9 * variance + 0.1 * seen.var(0, ddof=1)
    assert_allclose(after["mean"], mean, rtol=1e-12)
    assert_allclose(after["variance"], variance, rtol=1e-12)
    evaluated, unchanged = networks.BatchNorm().apply(weights, after, jnp.asarray(x), training=False)
    assert_allclose(evaluated, (x - mean) / np.sqrt(variance + 1e-5) * [1, 2, 3] + [0, 1, -1], rtol=1e-12)
    assert unchanged is after


def test_batch_norm_of_images_is_that_of_their_pixels() -> None:
    x = jnp.asarray(RNG.standard_normal((1, 4, 5, 6, 3)))
    layer = networks.BatchNorm()
    weights, statistics, _ = layer.init(KEY, (5, 6, 3), 1.0, x.dtype)
    images, after = layer.apply(weights, statistics, x, training=True)
    pixels, same = layer.apply(weights, statistics, x.reshape(1, -1, 3), training=True)
    assert_allclose(images.reshape(pixels.shape), pixels, rtol=1e-10, atol=1e-12)
    assert_allclose(after["variance"], same["variance"], rtol=1e-12)


def test_gradients_pass_through_the_statistics_of_the_batch() -> None:
    # adding a constant to all samples changes nothing, so gradients have no such part; nor does scaling them, but
    # for the floor of the variance
    x = jnp.asarray(RNG.standard_normal((1, 8, 2)))
    layer = networks.BatchNorm()
    weights, statistics, _ = layer.init(KEY, (2,), 1.0, x.dtype)
    up = jnp.asarray(RNG.standard_normal((1, 8, 2)))
    g = jax.grad(lambda v: jnp.sum(up * layer.apply(weights, statistics, v, training=True)[0]))(x)
    assert_allclose(jnp.sum(g, 1), 0, atol=1e-12)
    y, _ = layer.apply(weights, statistics, x, training=True)
    floor = networks.VARIANCE_FLOOR / (x.var(1) + networks.VARIANCE_FLOOR)
    assert_allclose(jnp.sum(g * (x - x.mean(1)), 1), floor * jnp.sum(up * y, 1), rtol=1e-8, atol=1e-14)


def scipy_convolution(x: Any, kernel: Any) -> Any:
    """Of images (..., h, w, c), one channel and one image after the other."""
    y = np.zeros((*x.shape[:-1], kernel.shape[-1]))
    for image in np.ndindex(x.shape[:-3]):
        for c, out in np.ndindex(kernel.shape[2:]):
            y[(*image, slice(None), slice(None), out)] += correlate2d(
                x[image][:, :, c], kernel[:, :, c, out], mode="same"
            )
    return y


# on both sides of what is summed by elements, for images down to one pixel
@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("shape", [(5, 6, 1), (5, 6, 3), (4, 4, 4), (3, 4, 5), (1, 4, 2), (1, 1, 7)])
def test_the_convolution_is_that_of_scipy(shape: tuple[int, int, int], stacked: bool) -> None:
    with jax.enable_x64(True):
        layer = networks.Conv(2, stacked)
        weights, _, after = layer.init(KEY, shape, 1.0, jnp.float64)
        weights["bias"] = jnp.array([0.5, -1.0])
        x = RNG.standard_normal((2, 3, *shape))
        y, _ = layer.apply(weights, (), jnp.asarray(x), training=True)
        wanted = scipy_convolution(x, np.asarray(weights["weight"]))
        assert_allclose(y - weights["bias"], wanted, rtol=1e-11, atol=1e-13)
        assert after == (*shape[:2], 2)


# 7 images of 16 x 16 x 16 are two portions of three in the gradient of the kernel, and one image more
@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("shape", [(5, 5, 6, 1), (4, 3, 5, 6), (2, 1, 1, 5), (7, 16, 16, 16)])
def test_gradients_of_the_convolution_are_differences(shape: tuple[int, ...], stacked: bool) -> None:
    # the map is linear in the images and in the kernel, so a difference over a step of any size is the derivative
    # but for rounding: sums of up to 10⁵ products of numbers of order one, to 1e-16 each
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        layer = networks.Conv(3, stacked)
        x, kernel, bias = (rng.standard_normal(s) for s in (shape, (3, 3, shape[-1], 3), 3))
        g = rng.standard_normal((*shape[:-1], 3))

        def value(x: Any, kernel: Any, bias: Any) -> Any:
            y, _ = layer.apply({"weight": kernel, "bias": bias}, (), x[None], training=True)
            return jnp.sum(g * y[0])

        found = jax.grad(value, (0, 1, 2))(x, kernel, bias)
        for _ in range(3):
            dx, dk, db = (rng.standard_normal(a.shape) for a in (x, kernel, bias))
            assert_allclose(np.sum(found[0] * dx), np.sum(g * scipy_convolution(dx, kernel)), rtol=1e-9)
            assert_allclose(np.sum(found[1] * dk), np.sum(g * scipy_convolution(x, dk)), rtol=1e-9)
            assert_allclose(np.sum(found[2] * db), np.sum(g * db), rtol=1e-9)


@pytest.mark.parametrize("at_once", [1, 3, 4, 6, 7, 8])
def test_features_worked_out_in_portions_are_those_of_all_samples(at_once: int) -> None:
    layers = networks.encoder_layers(
        EncoderSettings(kind="conv", widths=(4,), features=5, batch_norm=True), stacked=False
    )
    with jax.enable_x64(True):
        weights, statistics, _ = networks.init(layers, KEY, (4, 4, 1), 1.0, jnp.float64)
        x = jnp.asarray(RNG.standard_normal((2, 7, 4, 4, 1)))
        wanted, _ = networks.apply(layers, weights, statistics, x, training=False)
        found = networks.evaluate(layers, weights, statistics, x, at_once)
    assert_allclose(found, wanted, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(("h", "w"), [(4, 6), (5, 3), (1, 4)])
def test_pooling_averages_two_by_two_pixels(h: int, w: int) -> None:
    x = RNG.standard_normal((1, 2, h, w, 3))
    layer = networks.HalfSize()
    y, _ = layer.apply((), (), jnp.asarray(x), training=True)
    _, _, shape = layer.init(KEY, (h, w, 3), 1.0, None)
    assert y.shape == (1, 2, *shape)
    rows = (
        [x[:, :, i] for i in range(h)]
        if h == 1
        else [(x[:, :, 2 * i] + x[:, :, 2 * i + 1]) / 2 for i in range(h // 2)]
    )
    wanted = np.stack(rows, 2)
    wanted = np.stack([(wanted[:, :, :, 2 * j] + wanted[:, :, :, 2 * j + 1]) / 2 for j in range(w // 2)], 3)
    assert_allclose(y, wanted, rtol=1e-12)
    # linear, so that the gradient of Σ g y is the transposed map: Σ g y(d) = Σ (gradient) d for every d
    g, d = RNG.standard_normal(y.shape), RNG.standard_normal(x.shape)
    with jax.enable_x64(True):
        gradient = jax.grad(lambda v: jnp.sum(g * layer.apply((), (), v, training=True)[0]))(x)
        assert_allclose(
            np.sum(gradient * d), np.sum(g * layer.apply((), (), d, training=True)[0]), rtol=1e-11
        )


@pytest.mark.parametrize(
    ("settings", "n_weights"),
    [
        (EncoderSettings(features=5), 5 * 48),
        (EncoderSettings(kind="mlp", widths=(7, 6), features=5), 7 * 49 + 6 * 8 + 5 * 7),
        (EncoderSettings(kind="mlp", widths=(7,), features=5, batch_norm=True), 7 * 49 + 2 * 7 + 5 * 8),
        (EncoderSettings(kind="conv", widths=(4, 6), features=5), 4 * 28 + 6 * 37 + 5 * 7),
    ],
)
def test_encoders_have_the_layers_that_they_should(settings: EncoderSettings, n_weights: int) -> None:
    layers = networks.encoder_layers(settings)
    weights, statistics, shape = networks.init(layers, KEY, (4, 4, 3), 1.0, jnp.float64)
    assert sum(leaf.size for leaf in jax.tree.leaves(weights)) == n_weights
    assert shape == (5,)
    x = jnp.asarray(RNG.standard_normal((2, 6, 4, 4, 3)))
    y, _ = networks.apply(layers, weights, statistics, x, training=True)
    assert y.shape == (2, 6, 5)


def test_weights_start_with_the_variance_that_keeps_that_of_features() -> None:
    layers = networks.two_layers(1000, 1000, batch_norm=False)
    weights, _, _ = networks.init(layers, KEY, (500,), 3.0, jnp.float64)
    # relative error of a variance from n numbers is √(2/n): 0.2 % and 0.14 %
    assert np.var(weights[0]["weight"]) == pytest.approx(2 * 9 / 500, rel=0.01)
    assert np.var(weights[2]["weight"]) == pytest.approx(9 / 1000, rel=0.01)


@pytest.mark.parametrize("shape", [(2, 7, 5), (1, 3, 1, 5, 1)])
def test_linear_networks_multiplied_out_have_the_outputs_and_gradients_of_their_factors(
    shape: tuple[int, ...],
) -> None:
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        W, P, Th = (rng.standard_normal(size) for size in ((3, 5), (3, 3), (3, 5)))
        x, g = rng.standard_normal(shape), rng.standard_normal((*shape[:2], 3))

        def factors(W: Any, P: Any, Th: Any, x: Any) -> tuple[Any, Any]:
            flat = x.reshape(*shape[:2], 5)
            return flat @ W.T @ P.T, jax.lax.stop_gradient(flat @ Th.T)

        def value(network: Any) -> Any:
            def one(W: Any, P: Any, Th: Any) -> Any:
                q, t = network(W, P, Th, x)
                return jnp.sum(g * q) + jnp.sum(q * t) + jnp.sum(t**2)

            return jax.value_and_grad(one, (0, 1, 2))(W, P, Th)

        (found, gradients), (wanted, expected) = value(networks.online_and_target), value(factors)
        assert_allclose(found, wanted, rtol=1e-13)
        for mine, theirs in zip(gradients, expected, strict=True):
            assert_allclose(mine, theirs, rtol=1e-12, atol=1e-13)


# --- predictors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "low", "high"), [("positive", 0.0, 0.3), ("uniform", -0.3, 0.3)])
def test_predictors_start_in_their_range(start: str, low: float, high: float) -> None:
    for kind in ("linear", "mlp"):
        settings = PredictorSettings(kind=kind, start=start, scale=0.3)
        weights, _ = predictors.init(settings, KEY, 40, 0.3, jnp.float64)
        drawn = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(weights) if leaf.ndim == 2])
        # 1,600 numbers or more come within a hundredth of both ends but for e⁻¹⁶
        assert low <= drawn.min() <= low + 0.01
        assert high - 0.01 <= drawn.max() <= high


def test_linear_predictors_start_at_the_identity_or_symmetric() -> None:
    identity, _ = predictors.init(PredictorSettings(start="identity"), KEY, 3, 0.5, jnp.float64)
    assert_allclose(identity["weight"], np.eye(3), rtol=0)
    symmetric, _ = predictors.init(PredictorSettings(symmetric=True), KEY, 3, 0.5, jnp.float64)
    assert_allclose(symmetric["weight"], symmetric["weight"].T, rtol=0)
    assert np.any(np.asarray(symmetric["weight"]) != np.eye(3))


@pytest.mark.parametrize("option", DIRECT_OPTIONS)
def test_direct_predictors_follow_the_running_average(option: str) -> None:
    settings = PredictorSettings(kind="direct", option=option, average=0.3, refresh=2)
    weights, statistics = predictors.init(settings, KEY, 3, 1.0, jnp.float64)
    F, P = np.zeros((3, 3)), np.zeros((3, 3))
    for step in range(4):
        z = RNG.standard_normal((2, 7, 3))
        rho = 0.3 if step else 0.0
        F = rho * F + (1 - rho) * np.einsum("vni,vnj->ij", z, z) / 14
        if step % 2 == 0:
            P = directpred_predictor(F, **DIRECT_OPTIONS[option])
        q, statistics = predictors.apply(
            settings, weights, statistics, jnp.asarray(z), jnp.asarray(z), step, 0.3
        )
        assert_allclose(q, z @ P.T, rtol=1e-9, atol=1e-12)
    assert_allclose(predictors.matrix(settings, weights, statistics), P, rtol=1e-9, atol=1e-12)


def test_the_optimal_predictor_is_the_least_squares_solution() -> None:
    settings = PredictorSettings(kind="optimal", average=0.0)
    weights, statistics = predictors.init(settings, KEY, 3, 1.0, jnp.float64)
    z, t = RNG.standard_normal((2, 1, 20, 3))
    q, _ = predictors.apply(
        settings, weights, statistics, jnp.asarray(z), jnp.asarray(t), 1, jnp.asarray(0.0)
    )
    wanted = z[0] @ np.linalg.lstsq(z[0], t[0], rcond=None)[0]
    assert_allclose(q[0], wanted, rtol=1e-10, atol=1e-12)


# --- targets and optimisers ---------------------------------------------------------------------------------


def test_the_average_and_its_schedules() -> None:
    online = {"w": jnp.asarray(RNG.standard_normal(4))}
    target = {"w": jnp.asarray(RNG.standard_normal(4))}
    for schedule, gamma in (("constant", 0.9), ("cosine", 1 - 0.1 * (np.cos(np.pi * 30 / 100) + 1) / 2)):
        settings = TargetSettings(decay=0.9, schedule=schedule)
        after = targets.follow(settings, target, online, jnp.asarray(0.9), 30, 100)
        assert_allclose(after["w"], gamma * target["w"] + (1 - gamma) * online["w"], rtol=1e-12)
    assert targets.follow(TargetSettings(kind="none"), target, online, 0.9, 0, 1) is online
    assert targets.follow(TargetSettings(kind="fixed"), target, online, 0.9, 0, 1) is target


def descend(settings: OptimizerSettings, gradients: list[Any], start: Any, decay: float, steps: int) -> Any:
    transformation = optimizers.direction(settings, decay, settings.momentum)
    weights, memory = start, transformation.init(start)
    for k, g in enumerate(gradients):
        v, memory = transformation.update(g, memory, weights)
        rate = optimizers.rate(settings, settings.learning_rate, k, steps)
        weights = jax.tree.map(lambda w, d, rate=rate: w - rate * d, weights, v)
    return weights


def trees(n: int) -> list[Any]:
    return [
        {"w": jnp.asarray(RNG.standard_normal((3, 2))), "b": jnp.asarray(RNG.standard_normal(3))}
        for _ in range(n)
    ]


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam", "lars"])
def test_optimisers_follow_their_recurrences(kind: str) -> None:
    momentum = {"momentum": 0.8} if kind in ("momentum", "lars") else {}
    settings = OptimizerSettings(kind=kind, learning_rate=0.1, **momentum)
    start, *gradients = trees(6)
    found = descend(settings, gradients, start, 0.05, 5)
    for name in ("w", "b"):
        w = np.asarray(start[name])
        m, s, v = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
        for k, tree in enumerate(gradients, start=1):
            bare = np.asarray(tree[name])
            g = bare + 0.05 * w
            if kind == "momentum":
                v = 0.8 * v + g
            elif kind == "adam":
                m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g**2
                v = (m / (1 - 0.9**k)) / (np.sqrt(s / (1 - 0.999**k)) + 1e-8)
            elif kind == "lars":
                trust = 1e-3 * np.linalg.norm(w) / np.linalg.norm(g)
                v = 0.8 * v + (trust * g if name == "w" else bare)
            else:
                v = g
            w = w - 0.1 * v
        assert_allclose(found[name], w, rtol=1e-11)


def test_lars_is_that_of_optax() -> None:
    settings = OptimizerSettings(kind="lars", learning_rate=0.1, momentum=0.8)
    start, *gradients = trees(5)
    matrices = {"w": True, "b": False}
    peer = optax.lars(
        0.1, 0.05, weight_decay_mask=matrices, trust_coefficient=1e-3, trust_ratio_mask=matrices, momentum=0.8
    )
    weights, memory = start, peer.init(start)
    for g in gradients:
        updates, memory = peer.update(g, memory, weights)
        weights = optax.apply_updates(weights, updates)
    found = descend(settings, gradients, start, 0.05, 4)
    for name in matrices:
        assert_allclose(found[name], weights[name], rtol=1e-12)


def test_the_cosine_schedule_of_the_learning_rate() -> None:
    settings = OptimizerSettings(learning_rate=0.2, schedule="cosine")
    rates = [float(optimizers.rate(settings, jnp.asarray(0.2), k, 4)) for k in range(5)]
    assert_allclose(rates, [0.2 * (np.cos(np.pi * k / 4) + 1) / 2 for k in range(5)], rtol=1e-6, atol=1e-9)


def test_relu_keeps_what_is_positive() -> None:
    from dynamics.training.networks import Relu

    shown, _ = Relu().apply((), (), np.array([-1.5, 0.0, 2.5]), training=False)
    assert shown.tolist() == [0.0, 0.0, 2.5]
