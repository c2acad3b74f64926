"""Networks on latent trees: outputs and measurements by hand, steps against theory, conserved norms, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from analysis.experiments.runs import mean_of, student
from analysis.trees.layer_law import unit_balance
from analysis.trees.lucky_nodes import updated_weights
from dynamics.data.latent_trees import LatentTree, polarity
from dynamics.training.tree_networks import (
    TreeNetworkSettings,
    draw_tree_network,
    measure_levels,
    tree_activations,
    tree_loss,
)
from dynamics.training.tree_training import TreeNetworkRun, complete_shape, train_tree_networks

EPS = float(np.finfo(float).eps)
SMALL = TreeNetworkSettings(units=3, floor=1e-30)


def trained(
    n: int,
    height: int,
    settings: TreeNetworkSettings,
    records: list[int],
    *,
    scale: float = 1.0,
    **options: Any,
) -> TreeNetworkRun:
    trees = [LatentTree.drawn(2, height, 0.7, 1.0, seed=k) for k in range(n)]
    starts = [[scale * layer for layer in draw_tree_network(2, height, settings, seed=k)] for k in range(n)]
    return train_tree_networks(settings, trees, starts, records, n_evaluated=512, **options)


def outputs_by_hand(weights: Any, x: np.ndarray, shifts: dict[tuple[int, int], Any] | None = None) -> Any:
    """Output of one pattern of leaves, latent by latent; `shifts` is added to pre-activations (level, latent)."""
    f = [x[k : k + 1] for k in range(len(x))]
    for level in reversed(range(len(weights))):
        b = len(f) // len(weights[level])
        above = []
        for i, w in enumerate(weights[level]):
            pre = w @ np.concatenate(f[b * i : b * i + b])
            if shifts is not None:
                pre = pre + shifts.get((level, i), 0.0)
            above.append(np.maximum(pre, 0) if level else pre)
        f = above
    return f[0]


@pytest.mark.parametrize(("branching", "height"), [(1, 3), (2, 3), (3, 2)])
def test_outputs_are_those_of_latents_one_by_one(branching: int, height: int) -> None:
    weights = draw_tree_network(branching, height, SMALL, seed=1)
    x = np.random.default_rng(0).standard_normal((branching**height, 7))
    with jax.enable_x64(True):
        found = tree_activations(weights, x)
    by_hand = np.array([outputs_by_hand(weights, column) for column in x.T])
    assert_allclose(found[0][0], by_hand, atol=64 * EPS * np.abs(by_hand).max())


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("loss", ["infonce", "simple"])
def test_the_loss_is_that_by_hand(loss: str, normalised: bool) -> None:
    settings = replace(SMALL, loss=loss, normalised=normalised)
    weights = draw_tree_network(2, 2, settings, seed=2)
    x = np.random.default_rng(1).uniform(0.1, 1.0, (4, 15))
    f = np.array([outputs_by_hand(weights, column) for column in x.T])
    if normalised:
        f /= np.linalg.norm(f, axis=1)[:, None]
    anchor, positive, negative = np.split(f, 3)
    gap = (((anchor - positive) ** 2).sum(1) - ((anchor - negative) ** 2).sum(1)) / 2
    stated = np.mean(gap) if loss == "simple" else np.mean(np.log1p(np.exp(gap / 0.1)))
    with jax.enable_x64(True):
        assert_allclose(tree_loss(settings, weights, x), stated, rtol=1e-12)


@pytest.mark.parametrize("normalised", [False, True])
def test_norms_of_operators_are_those_of_all_products_listed(normalised: bool) -> None:
    """J by differences of outputs, K sample by sample, and the whole covariance matrix: height 3, any root law."""
    rng = np.random.default_rng(3)
    settings = replace(SMALL, leaf_values=(-0.5, 1.5))
    weights = draw_tree_network(2, 3, settings, seed=4)
    states = [rng.integers(0, 2, (2**level, 12)).astype(bool) for level in range(4)]
    states[0][:] = np.repeat([False, True], 6)
    x = np.where(states[3], 1.5, -0.5)

    def output(column: np.ndarray, shifts: Any) -> np.ndarray:
        f = outputs_by_hand(weights, column, shifts)
        return f / np.linalg.norm(f) if normalised and np.any(f) else f

    with jax.enable_x64(True):
        levels = [
            [np.asarray(part) for part in level] for level in measure_levels(settings, weights, states, 0.3)
        ]
        activations = [np.asarray(f) for f in tree_activations(weights, x)]
    h = 1e-6
    for level, layer in enumerate(weights):
        for i in range(len(layer)):
            K = []
            for n, column in enumerate(x.T):
                J = []
                alive = activations[level][i, n] > 0 if level else np.ones(3, bool)
                for j in range(3):
                    step = h * np.eye(3)[j] * alive[j]
                    J.append(
                        (output(column, {(level, i): step}) - output(column, {(level, i): -step})) / (2 * h)
                    )
                inputs = np.concatenate([activations[level + 1][c, n] for c in (2 * i, 2 * i + 1)])
                K.append(np.einsum("k,ja->kja", inputs, np.array(J)).reshape(-1, 3))
            means = np.array(K).reshape(2, 6, -1, 3).mean(axis=1)
            gap = means[1] - means[0]
            stated = 0.3 * 0.7 * np.linalg.norm(gap @ gap.T)
            # central differences of step 1e-6 have errors of 1e-10 and less beside sizes of one
            assert_allclose(levels[level][2 if normalised else 1][i], stated, rtol=1e-6, atol=1e-9)


def test_correlations_are_those_of_numpy_and_constant_units_have_none() -> None:
    rng = np.random.default_rng(5)
    weights = [layer.copy() for layer in draw_tree_network(2, 2, SMALL, seed=6)]
    weights[1][0] = -np.abs(weights[1][0])  # all units of the first latent below are dead
    states = [rng.integers(0, 2, (2**level, 400)).astype(bool) for level in range(3)]
    with jax.enable_x64(True):
        found = measure_levels(SMALL, weights, states, 0.5)
        f = tree_activations(weights, states[2].astype(float))
    assert found[1][0][0] == 0.0
    for level, i in ((0, 0), (1, 1)):
        units = np.asarray(f[level][i]).T
        stated = [abs(np.corrcoef(unit, states[level][i])[0, 1]) for unit in units if unit.std() > 0]
        assert_allclose(found[level][0][i], max(stated), rtol=1e-10)


def test_the_mean_step_of_one_layer_is_that_of_theory() -> None:
    """R209: without hidden units the gradient of the simple loss through all branches is −2 V w."""
    settings = TreeNetworkSettings(units=2, loss="simple", normalised=False, batch=4000, learning_rate=0.5)
    tree, n = LatentTree.binary(2, 1, [0.9, -0.6], root_polarity=0.4), 24
    start = draw_tree_network(2, 1, settings, seed=7)
    run = train_tree_networks(settings, [tree] * n, [start] * n, [1], n_evaluated=4)
    mean, error = mean_of(run.final[0][:, 0])
    a = 0.5 * polarity(tree.table[1:])
    stated = np.array([updated_weights(w, a, 1.0, 0.4, 0.5, branches="all") for w in start[0][0]])
    tolerance = student(n, 1 - 1e-5) * error
    assert np.all(np.abs(mean - stated) <= tolerance)
    one = np.array([updated_weights(w, a, 1.0, 0.4, 0.5) for w in start[0][0]])
    assert np.any(np.abs(mean - one) > tolerance)  # one branch alone would be seen


def test_under_normalisation_layers_grow_by_the_squares_of_the_steps_alone() -> None:
    run = trained(3, 3, SMALL, [0, 1, 50, 200])
    grown = run.squared_norms[:, :1] + run.increments
    # each step rounds sums over 384 samples, of gradients that are as large as their own squares' roots
    size = np.max(run.squared_norms, axis=(1, 2), keepdims=True)
    assert np.all(np.abs(run.squared_norms - grown) <= 200 * 1000 * EPS * size)
    assert run.increments[:, -1].min() > 1e-3
    for layer, part in enumerate(run.final):
        assert_allclose(np.sum(part**2, axis=(1, 2, 3)), run.squared_norms[:, -1, layer], rtol=100 * EPS)


def test_without_normalisation_all_layers_gain_alike_and_units_stay_balanced() -> None:
    settings = replace(SMALL, normalised=False, learning_rate=1e-4)
    run = trained(2, 3, settings, [0, 100])
    flowed = run.squared_norms - run.increments
    gained = flowed[:, 1] - flowed[:, 0]
    assert_allclose(gained, gained[:, :1].repeat(3, axis=1), rtol=1e-9)
    assert np.abs(gained).min() > 1e-3
    for k in range(2):
        start = draw_tree_network(2, 3, settings, seed=k)
        before, after = unit_balance(start), unit_balance([part[k] for part in run.final])
        for one, other in zip(before, after, strict=True):
            # what is not conserved is of second order in the step
            assert np.abs(one - other).max() <= 2 * run.increments[k, -1].sum()
    assert run.increments[:, -1].max() < 0.02 * np.abs(gained).min()


def test_the_scale_of_all_weights_is_a_scale_of_the_step() -> None:
    """R211: from c W with c² ε every record of a normalised network is the same, and ‖OP‖ has its degrees."""
    c = 2.0  # exact
    plain = trained(2, 3, SMALL, [0, 20])
    scaled = trained(2, 3, replace(SMALL, learning_rate=0.1 * c**2), [0, 20], scale=c)
    for one, other in zip(plain.levels, scaled.levels, strict=True):
        # roundings of the two runs are the same but for those of the step, which 20 steps may enlarge
        assert_allclose(other.correlation, one.correlation, rtol=1e-9)
        assert_allclose(other.covariance_norm, c**4 * one.covariance_norm, rtol=1e-9)
        assert_allclose(other.normalised_covariance_norm, one.normalised_covariance_norm / c**2, rtol=1e-9)
    lowest = plain.levels[-1].data_factor
    assert_array_equal(lowest[:, 0], lowest[:, 1])


def test_networks_learn_alone_as_beside_others_and_as_they_are_measured() -> None:
    several, alone = trained(3, 2, SMALL, [0, 3, 9]), trained(1, 2, SMALL, [9])
    for one, other in zip(several.final, alone.final, strict=True):
        assert_allclose(one[0], other[0], rtol=1e-9, atol=1e-12)
    assert not np.allclose(
        several.levels[0].correlation[0], trained(1, 2, SMALL, [0, 3, 9], seed=1).levels[0].correlation[0]
    )


def test_certain_latents_are_told_by_every_unit_that_is_on() -> None:
    tree = LatentTree.binary(2, 3, 1.0)
    start = [np.abs(layer) for layer in draw_tree_network(2, 3, SMALL)]
    run = train_tree_networks(SMALL, [tree], [start], [0], n_evaluated=64)
    for level in run.levels:
        assert_allclose(level.correlation, 1.0, rtol=1e-12)


def test_overflows_are_not_taken_for_constant_units() -> None:
    settings = replace(SMALL, loss="simple", normalised=False, learning_rate=10.0)
    run = trained(2, 2, settings, [0, 60])
    assert np.all(run.levels[0].correlation[:, 0] > 0)
    assert np.all(np.isnan(run.levels[0].correlation[:, 1]))
    assert not np.isfinite(run.squared_norms[:, 1]).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 0}, "`units` must be an integer >= 1, got 0"),
        ({"batch": True}, "`batch` must be an integer >= 1, got True"),
        ({"loss": "mse"}, "`loss` must be one of infonce, simple, got 'mse'"),
        ({"temperature": 0.0}, "`temperature` must be finite and > 0, got 0.0"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be finite and > 0, got nan"),
        ({"weight_std": -1.0}, "`weight_std` must be finite and > 0, got -1.0"),
        ({"floor": float("inf")}, "`floor` must be finite and > 0, got inf"),
        ({"leaf_values": (0.0,)}, "`leaf_values` must be two finite numbers, got (0.0,)"),
    ],
)
def test_settings_refuse_nonsense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        TreeNetworkSettings(**options)
    assert str(caught.value) == message


TREE, START = LatentTree.binary(2, 2, 0.8), draw_tree_network(2, 2, SMALL)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train_tree_networks(SMALL, [], [], [0]), "`starts` must be one per tree, got 0 for 0 trees"),
        (
            lambda: train_tree_networks(SMALL, [TREE], [START] * 2, [0]),
            "`starts` must be one per tree, got 2 for 1 trees",
        ),
        (
            lambda: train_tree_networks(SMALL, [TREE], [START], [3, 3]),
            "`records` must be increasing whole numbers >= 0, got [3, 3]",
        ),
        (
            lambda: train_tree_networks(SMALL, [TREE], [START], []),
            "`records` must be increasing whole numbers >= 0, got []",
        ),
        (
            lambda: train_tree_networks(SMALL, [TREE], [START], [0.5]),
            "`records` must be increasing whole numbers >= 0, got [0.5]",
        ),
        (
            lambda: train_tree_networks(SMALL, [TREE], [START], [0], n_evaluated=5),
            "`n_evaluated` must be even and >= 4, got 5",
        ),
        (
            lambda: train_tree_networks(SMALL, [TREE], [START[:1]], [0]),
            "`starts` must have shapes [(1, 3, 6), (2, 3, 2)], got [(1, 3, 6)]",
        ),
        (
            lambda: train_tree_networks(SMALL, [TREE, LatentTree.binary(2, 3, 0.8)], [START] * 2, [0]),
            "`trees` must have one shape",
        ),
        (
            lambda: complete_shape(LatentTree([-1, 0, 0, 1], [None, *[np.eye(2)] * 3], [0.5, 0.5])),
            "`trees` must be complete trees of binary variables, numbered level by level",
        ),
        (lambda: draw_tree_network(0, 2, SMALL), "`branching` must be >= 1, got 0"),
        (lambda: draw_tree_network(2, 0, SMALL), "`height` must be >= 1, got 0"),
    ],
)
def test_runs_refuse_what_does_not_fit(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == message
