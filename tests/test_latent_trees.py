"""Latent trees: laws and samples, sums over all joint states against message passing, ceilings, moments, refusals."""

from __future__ import annotations

import json
from typing import Any

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from analysis.results.trees.small_trees import (
    activations,
    joint_states,
    means_by_state,
    random_network,
    random_tree,
)
from analysis.trees.activations import activation_law, conditional_means, rectified_mean
from analysis.trees.ceilings import (
    bayes_ceiling,
    linear_ceiling,
    linear_ceiling_limit,
    linear_ceilings,
    posterior,
    posterior_law,
)
from analysis.trees.lucky_nodes import nodes_needed
from analysis.trees.moments import (
    conditional_covariance,
    covariance_of_means,
    edge_correlations,
    kesten_stigum,
    layer_covariance,
    layer_traces,
    maximal_correlation,
    means_given_root,
    path_correlation,
    selectivity,
)
from analysis.trees.summary import summary
from dynamics.data.augmentations import Crop, Noise
from dynamics.data.dataset_moments import dataset_moments
from dynamics.data.datasets import load
from dynamics.data.latent_trees import LatentTree, jax_sampler, marginals, path_polarities, polarity
from dynamics.data.tree_files import load_tree_file
from dynamics.data.tree_moments import leaf_moments, leaf_scale, tree_view_moments
from dynamics.training.data import load_data
from dynamics.training.parts import DataSettings

EPS = float(np.finfo(float).eps)


def asymmetric(branching: int, height: int, seed: int) -> LatentTree:
    """A complete binary tree with any kernels."""
    rng = np.random.default_rng(seed)
    shape = LatentTree.binary(branching, height, 0.5)
    return LatentTree(shape.parents, rng.dirichlet(np.ones(2), (shape.n_nodes, 2)), rng.dirichlet(np.ones(2)))


def mixed(seed: int = 0) -> LatentTree:
    """Nodes of 2, 3 and 4 states, numbered in no order, with the root in the middle."""
    rng = np.random.default_rng(seed)
    parents, states = [3, 0, 3, -1, 2, 0, 2], [3, 2, 4, 3, 2, 4, 3]
    kernels = [
        None if up < 0 else rng.dirichlet(np.ones(m), states[up])
        for up, m in zip(parents, states, strict=True)
    ]
    return LatentTree(parents, kernels, rng.dirichlet(np.ones(3)))


# --- the tree ---------------------------------------------------------------------------------------------------


def test_levels_hold_every_node_once_with_siblings_together() -> None:
    tree = mixed()
    assert (tree.root, tree.height, tree.leaves.tolist()) == (3, 2, [1, 4, 5, 6])
    for depth, level in enumerate(tree.levels[1:], start=1):
        starts = np.flatnonzero(np.append(True, np.diff(tree.parents[level.nodes]) != 0))
        assert_array_equal(level.starts, starts)
        assert_array_equal(level.parents, tree.parents[level.nodes[level.starts]])
        assert set(level.parents) <= set(tree.levels[depth - 1].nodes)
    assert sorted(np.concatenate([level.nodes for level in tree.levels])) == list(range(7))


def test_marginals_are_those_of_the_joint_law() -> None:
    tree = mixed()
    states, p = joint_states(tree)
    for node in range(tree.n_nodes):
        summed = np.bincount(states[:, node], p, minlength=4)
        assert_allclose(marginals(tree)[node], summed, rtol=0, atol=len(p) * EPS)


@pytest.mark.parametrize("draw", ["numpy", "jax"])
@pytest.mark.parametrize("root", [None, 1])
def test_samples_follow_the_joint_law(draw: str, root: int | None) -> None:
    tree, n = mixed(), 40_000
    if draw == "numpy":
        drawn = tree.sample(np.random.default_rng(0), n, root=root)
    else:
        drawn = np.asarray(jax.jit(lambda key: jax_sampler(tree)(key, n, root=root))(jax.random.key(0)))
    states, p = joint_states(tree)
    if root is not None:
        p = np.where(states[:, 3] == root, p, 0) / tree.root_law[root]
    shape = tuple(tree.n_states)
    seen = np.bincount(np.ravel_multi_index(tuple(drawn.T.astype(int)), shape), minlength=len(p)) / n
    expected = np.bincount(np.ravel_multi_index(tuple(states.T), shape), p, minlength=len(p))
    # χ² of 1728 cells or fewer has mean k and variance about 2k plus Σ 1/(n p): unlikely cells are pooled
    large = expected * n > 5
    chi = np.sum((seen[large] - expected[large]) ** 2 / expected[large]) * n
    rest = abs(seen[~large].sum() - expected[~large].sum())
    assert abs(chi - large.sum()) < 5 * np.sqrt(2 * large.sum())
    assert rest <= 5 * np.sqrt(expected[~large].sum() / n)


def test_a_state_of_probability_zero_is_never_drawn() -> None:
    law = [0.1] * 7 + [0.3, 0.0]  # sums of .1 round
    tree = LatentTree([-1, 0], [None, np.tile(law, (9, 1))], law)
    assert tree.sample(np.random.default_rng(0), 100_000).max() == 7
    assert int(jax_sampler(tree)(jax.random.key(1), 100_000).max()) == 7


def test_the_jax_sampler_runs_in_a_scan_and_keeps_the_root() -> None:
    tree = LatentTree.binary(3, 2, [1.0, -1.0])
    draw = jax_sampler(tree, tree.leaves)

    def step(key: Any, _: Any) -> Any:
        key, own = jax.random.split(key)
        return key, draw(own, 2, root=np.array([0, 1]))

    _, drawn = jax.lax.scan(step, jax.random.key(0), length=3)
    assert_array_equal(drawn, np.broadcast_to([[[1] * 9, [0] * 9]], (3, 2, 9)))


def test_large_trees_need_no_recursion() -> None:
    wide, long = LatentTree.binary(2, 16, 0.9), LatentTree.binary(1, 20_000, 0.9999)
    assert (wide.n_nodes, wide.height, long.height) == (131_071, 16, 20_000)
    assert wide.sample(np.random.default_rng(0), 2).shape == (2, 131_071)
    # as many factors, each rounded once, and (1 ± ρ)/2 as well
    assert_allclose(path_polarities(long)[-1], 0.9999**20_000, rtol=40_000 * EPS)
    assert_allclose(linear_ceiling(long), 0.9999**20_000, rtol=1e-9)


def test_a_cut_tree_has_the_laws_of_the_whole() -> None:
    tree = mixed()
    assert_array_equal(tree.cut(1).root_law, tree.root_law)
    assert_allclose(marginals(tree.cut(1)), marginals(tree)[[0, 2, 3]], rtol=0, atol=0)
    assert_allclose(marginals(tree.cut(2)), marginals(tree), rtol=0, atol=0)
    with pytest.raises(ValueError, match="`depth` must be an integer from 0 to 2, got 3"):
        tree.cut(3)


def test_polarity_needs_no_symmetry() -> None:
    tree = asymmetric(1, 3, 0)
    whole = tree.kernel(1) @ tree.kernel(2) @ tree.kernel(3)
    assert_allclose(path_polarities(tree)[3], np.linalg.det(whole), atol=8 * EPS)
    assert_allclose(polarity(tree.table[1:]), [np.linalg.det(P) for P in tree.table[1:]], atol=4 * EPS)


GOOD = [[0.5, 0.5], [0.25, 0.75]]


@pytest.mark.parametrize(
    ("parents", "kernels", "law", "message"),
    [
        (
            [-1, 0],
            [None, [[0.5, 0.6], [0.25, 0.75]]],
            [0.5, 0.5],
            "`kernels` must have rows of probabilities",
        ),
        (
            [-1, 0],
            [None, [[1.5, -0.5], [0.25, 0.75]]],
            [0.5, 0.5],
            "`kernels` must have rows of probabilities",
        ),
        (
            [-1, 0],
            [None, [[np.nan, 1], [0.25, 0.75]]],
            [0.5, 0.5],
            "`kernels` must have rows of probabilities",
        ),
        ([-1, 0], [None, "ab"], [0.5, 0.5], "`kernels` must be matrices of numbers"),
        ([-1, 0], [None], [0.5, 0.5], "`kernels` must be one per node, 2, got 1"),
        ([-1, 0], [None, GOOD], [0.25, 0.25, 0.5], "`kernels` must have one row per state of the parent, 3"),
        ([-1, 0], [None, GOOD], [0.5, 0.6], "`root_law` must be probabilities that sum to 1"),
        ([0, 0], [None, GOOD], [0.5, 0.5], "`parents` must have -1 once, for the root, got it 0 times"),
        ([-1, 2, 1], [None, GOOD, GOOD], [0.5, 0.5], "`parents` must lead every node to the root, got 2"),
        ([-1, 2], [None, GOOD], [0.5, 0.5], "`parents` must be numbers of nodes, from 0 to 1"),
        ([-1, 0.0], [None, GOOD], [0.5, 0.5], "`parents` must be whole numbers"),
    ],
)
def test_what_is_no_tree_is_refused(parents: Any, kernels: Any, law: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LatentTree(parents, kernels, law)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: LatentTree.binary(2, 3, 1.1), "`polarity` must be in"),
        (lambda: LatentTree.binary(2, 3, [0.5, 0.5]), "3 numbers \\(one per level\\) or 14"),
        (lambda: LatentTree.binary(2, 3, 0.5, -2), "`root_polarity` must be in"),
        (lambda: LatentTree.binary(0, 3, 0.5), "`branching` must be an integer >= 1"),
        (lambda: LatentTree.binary(2, 0, 0.5), "`height` must be an integer >= 1"),
        (lambda: LatentTree.binary(2, 10**9, 0.5), "`height` must leave a tree of at most"),
        (lambda: LatentTree.drawn(2, 3, 0.9, 0.7), "`low` must be at most `high`"),
        (lambda: LatentTree.drawn(2, 3, 0.7, 0.9, -1), "`seed` must be an integer >= 0"),
        (lambda: LatentTree.binary(2, 3, 0.5).sample(np.random.default_rng(0), 1, root=2), "`root` must be"),
        (lambda: LatentTree.binary(2, 3, 0.5).kernel(0), "`node` must not be the root"),
        (lambda: polarity(np.eye(3)), "`kernel` must have shape"),
        (lambda: path_polarities(mixed()), "two states per node"),
        (lambda: edge_correlations(mixed()), "two states per node"),
        (lambda: posterior_law(mixed()), "two states per node"),
        (lambda: selectivity([1.0, 2.0, 3.0]), "`conditional_mean` must have shape"),
        (lambda: means_given_root(mixed(), 1, [[1.0]]), "`conditional_means` must have shape \\(2, K\\)"),
        (lambda: posterior(mixed(), [0, 0]), "`leaves` must be states, whole numbers of shape \\(N, 4\\)"),
        (lambda: posterior(mixed(), [0, 0, 9, 0]), "`leaves` must be states of the leaves"),
        (lambda: posterior(LatentTree.binary(2, 1, 1.0), [0, 1]), "`leaves` must be possible"),
        (lambda: bayes_ceiling(mixed()), "must have a root that takes two states"),
        (lambda: bayes_ceiling(LatentTree.binary(2, 1, 0.5, 1.0)), "must have a root that takes two states"),
        (lambda: bayes_ceiling(LatentTree.binary(2, 1, 0.5), "guess"), "`method` must be law or sample"),
        (
            lambda: bayes_ceiling(LatentTree.binary(2, 1, 0.5), n_samples=1),
            "`n_samples` must be an integer >= 2",
        ),
        (lambda: bayes_ceiling(LatentTree.drawn(2, 5, 0.7, 1), "law"), "a law of at most"),
        (lambda: linear_ceiling_limit(0, 0.5), "`branching` must be"),
        (lambda: linear_ceiling_limit(2, 1.5), "`polarity` must be"),
        (
            lambda: conditional_means(LatentTree.binary(2, 1, 0.5), [[[1.0]], None, None], 0),
            "`weights` must have",
        ),
        (lambda: conditional_means(LatentTree.binary(2, 1, 0.5), [None] * 3, 1), "`node` must have children"),
        (lambda: nodes_needed(1.0), "`confidence` must be in"),
        (lambda: leaf_scale(LatentTree.binary(2, 1, 1.0, 1.0)), "must have leaves that vary"),
        (lambda: tree_view_moments(LatentTree.binary(2, 1, 0.5), [Crop(0.5)]), "must know which pixels"),
        (lambda: summary(LatentTree.binary(2, 1, 0.5), 0), "`units_per_latent` must be an integer >= 1"),
        (lambda: summary(LatentTree.binary(2, 1, 0.5).cut(0)), "at least one edge"),
    ],
)
def test_bad_input_is_refused(made: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made()


# --- theorem 6 (R202, R203) -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("branching", "height", "joint"), [(2, 3, 32_768), (3, 2, 8_192)])
def test_all_joint_states_against_message_passing(branching: int, height: int, joint: int) -> None:
    tree = asymmetric(branching, height, seed=branching)
    weights = random_network(np.random.default_rng(1), tree, units=3)
    states, p = joint_states(tree)
    assert len(states) == joint
    values = activations(tree, weights, states)
    for level in tree.levels[1:-1]:
        means = {int(node): conditional_means(tree, weights, int(node)) for node in level.nodes}
        for node, v in means.items():
            assert_allclose(v, means_by_state(values[node], states[:, node], p, 2), rtol=0, atol=1e-13)
        together = np.concatenate([values[node] for node in level.nodes], axis=1)
        wanted = covariance_of_means(tree.root_law, means_by_state(together, states[:, 0], p, 2))
        s = np.concatenate([selectivity(v) for v in means.values()])
        nodes = np.repeat(level.nodes, 3)
        assert_allclose(layer_covariance(tree, nodes, s), wanted, rtol=0, atol=1e-13)
        for parent in level.parents:
            own = tree.parents[nodes] == parent
            a = polarity(tree.table[nodes[own]]) * s[own]
            block = wanted[np.ix_(own, own)]
            assert_allclose(conditional_covariance(tree, int(parent), a), block, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("branching", "rho", "factor"), [(2, 0.6, 0.72), (2, 0.8, 1.28), (3, 0.6, 1.08)])
def test_layer_traces_by_the_kesten_stigum_number(branching: int, rho: float, factor: float) -> None:
    tree = LatentTree.binary(branching, 2, rho)
    states, p = joint_states(tree)
    means = means_by_state(states.astype(float), states[:, 0], p, 2)
    wanted = np.diag(covariance_of_means(tree.root_law, means))
    traces = layer_traces(tree)
    assert_allclose(traces, [wanted[level.nodes].sum() for level in tree.levels], rtol=1e-12)
    assert_allclose(traces, 0.25 * factor ** np.arange(3), rtol=1e-14)
    assert kesten_stigum(branching, rho) == pytest.approx(factor, rel=4 * EPS)


def test_polarities_below_one_whose_product_stays() -> None:
    path = LatentTree.binary(1, 2000, 1 - 1 / (np.arange(1, 2001) + 1) ** 2)
    assert path_polarities(path)[-1] == pytest.approx(0.50025, abs=5e-6)


def test_maximal_correlations_bound_what_reaches_the_root() -> None:
    tree, rng = mixed(), np.random.default_rng(0)
    for node in range(tree.n_nodes):
        m = tree.n_states[node]
        v = rng.standard_normal((m, 5))
        at_root = covariance_of_means(tree.root_law, means_given_root(tree, node, v))
        bound = path_correlation(tree, node) ** 2 * covariance_of_means(marginals(tree)[node, :m], v)
        assert np.linalg.eigvalsh(bound - at_root)[0] >= -64 * EPS * np.trace(bound)
    tree = asymmetric(2, 1, 0)
    squared, lacking = edge_correlations(tree)
    # the largest singular value rounds by some eps of 1
    assert maximal_correlation(tree.kernel(1), tree.root_law) == pytest.approx(np.sqrt(squared[1]), rel=1e-13)
    assert_allclose(squared + lacking, 1, rtol=4 * EPS)


# --- ceilings (R204, R205) --------------------------------------------------------------------------------------


def linear_ceiling_of_levels(rho: float, height: int) -> float:
    """R204 for two equal children, level by level."""
    c = 1.0
    for _ in range(height):
        t = 2 * rho**2 * c / (1 - rho**2 * c)
        c = t / (1 + t)
    return c**0.5


@pytest.mark.parametrize(
    ("rho", "by_height", "limit"),
    [
        (0.85, [0.9159, 0.8688, 0.8401, 0.8218, 0.8099], 0.7848),
        (0.95, None, 0.9444),
        (0.7, None, 0.0),
        (0.75, None, 0.4714),
    ],
)
def test_linear_ceilings_of_the_table(rho: float, by_height: list[float] | None, limit: float) -> None:
    found = [linear_ceiling(LatentTree.binary(2, height, rho)) for height in range(1, 6)]
    if by_height is not None:
        assert_allclose(found, by_height, rtol=0, atol=5e-5)
    assert linear_ceiling_limit(2, rho) == pytest.approx(limit, abs=5e-5)
    assert np.all(np.diff(found) < 0)
    assert found[-1] > limit
    # 200 levels on: the recursion contracts by bρ² < .98 or 1/(bρ²) < .9 per level
    high = linear_ceiling_of_levels(rho, 200)
    assert high == pytest.approx(linear_ceiling_limit(2, rho), abs=0.98**100)


@pytest.mark.parametrize("least", [0.2, 0.05])
@pytest.mark.parametrize("seed", range(4))
def test_the_linear_ceiling_solves_the_normal_equations_on_all_leaves(seed: int, least: float) -> None:
    tree = random_tree(np.random.default_rng(seed), 15, least=least)
    states, p = joint_states(tree)
    centred = states - p @ states
    S = (centred.T * p) @ centred
    leaves, root = tree.leaves, tree.root
    c = S[leaves, root] @ np.linalg.solve(S[np.ix_(leaves, leaves)], S[leaves, root]) / S[root, root]
    # sums over 2^15 states round by some eps, and solving multiplies that by the inverse's size
    tolerance = 64 * EPS * np.linalg.norm(np.linalg.inv(S[np.ix_(leaves, leaves)]), 2)
    assert_allclose(linear_ceilings(tree)[root] ** 2, c, rtol=0, atol=tolerance)


def test_the_linear_ceiling_is_the_top_ratio_of_the_views() -> None:
    """Σd of centred views is the covariance with the root times its transpose, over the root's variance."""
    data = load("tree:height=4:low=.6:high=.95")
    assert data.tree is not None
    top, *others = dataset_moments(data, []).ratios
    assert top == pytest.approx(linear_ceiling(data.tree) ** 2, rel=1e-12)
    assert max(others) < 1e-12


def test_the_linear_ceiling_keeps_its_digits_near_polarity_one() -> None:
    # 1 − c of one edge is 1 − ρ² = (1 − ρ)(1 + ρ); P(0|1) = 2⁻⁴⁰ is exact
    tiny = 2.0**-40
    tree = LatentTree([-1, 0], [None, [[1 - tiny, tiny], [tiny, 1 - tiny]]], [0.5, 0.5])
    _, lacking = edge_correlations(tree)
    assert lacking[1] == pytest.approx(4 * tiny * (1 - tiny), rel=8 * EPS)
    assert linear_ceiling(LatentTree.binary(3, 3, 1.0)) == 1
    assert linear_ceiling(LatentTree.binary(3, 3, 0.0)) == 0
    assert linear_ceiling(LatentTree.binary(2, 2, 0.5, root_polarity=1.0)) == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_bayes_ceiling_by_its_law_by_all_leaves_and_by_samples(seed: int) -> None:
    tree = LatentTree.drawn(2, 3, 0.4, 0.9, seed)
    leaves = np.indices((2,) * 8).reshape(8, -1).T
    states, p = joint_states(tree)
    both = np.zeros((256, 2))
    np.add.at(both, (np.ravel_multi_index(tuple(states[:, tree.leaves].T), (2,) * 8), states[:, 0]), p)
    assert_allclose(posterior(tree, leaves), both / both.sum(1, keepdims=True), rtol=0, atol=1e-13)
    m = np.diff(both, axis=1)[:, 0] / both.sum(1)
    exact = bayes_ceiling(tree, "law")
    assert exact.n_atoms == 256
    assert exact.correlation**2 == pytest.approx(np.sum(both.sum(1) * m**2), rel=1e-13)
    assert exact.correlation**2 == pytest.approx(2 * np.sum(both[:, 1] * m), rel=1e-13)  # E[m | z = 1]
    sampled = bayes_ceiling(tree, "sample", n_samples=20_000, seed=seed)
    assert abs(sampled.correlation - exact.correlation) < 4 * sampled.standard_error
    assert exact.correlation > linear_ceiling(tree)


def test_a_value_both_ways() -> None:
    """E[m²] = .161894483 is that of ρ = .566693… on eight leaves, by atoms and over all 256 states of the leaves."""
    from scipy.optimize import brentq

    def by_law(rho: float) -> float:
        return bayes_ceiling(LatentTree.binary(2, 3, rho), "law").correlation ** 2 - 0.161894483

    rho = brentq(by_law, 0.1, 0.9, xtol=1e-14)
    tree = LatentTree.binary(2, 3, rho)
    leaves = np.indices((2,) * 8).reshape(8, -1).T
    m = np.diff(posterior(tree, leaves), axis=1)[:, 0]
    states, p = joint_states(tree)
    weights = np.bincount(np.ravel_multi_index(tuple(states[:, tree.leaves].T), (2,) * 8), p)
    assert weights @ m**2 == pytest.approx(0.161894483, abs=1e-13)


@pytest.mark.parametrize(("height", "n_atoms"), [(1, 3), (2, 5), (3, 13)])
def test_equal_posteriors_are_one_atom(height: int, n_atoms: int) -> None:
    """A level's n atoms, symmetric about 0, give n (n + 1)/2 sums, of which the (n + 1)/2 of x and −x are one."""
    law = posterior_law(LatentTree.binary(2, height, 0.57))
    assert law is not None
    assert len(law) == n_atoms
    assert_allclose(law.sum(0), 1, rtol=16 * EPS)


@pytest.mark.parametrize(
    ("low", "height", "linear", "bayes"),
    [
        (0.7, 4, 0.849, 0.877),
        (0.8, 4, 0.897, 0.922),
        (0.9, 4, 0.956, 0.973),
    ],
)
def test_mean_ceilings_of_drawn_polarities(low: float, height: int, linear: float, bayes: float) -> None:
    trees = [LatentTree.drawn(2, height, low, 1.0, seed) for seed in range(60)]
    for wanted, found in (
        (linear, np.array([linear_ceiling(tree) for tree in trees])),
        (bayes, np.array([bayes_ceiling(tree).correlation for tree in trees])),
    ):
        # both means are over 60 draws
        assert abs(found.mean() - wanted) < 4 * np.sqrt(2 / 60) * found.std(ddof=1) + 5e-4


def test_many_leaves_do_not_underflow() -> None:
    tree = LatentTree.binary(5000, 1, 0.01)
    states = tree.sample(np.random.default_rng(0), 3, root=1)[:, tree.leaves].astype(int)
    # log-odds are (number of ones − number of zeros) log(1.01/.99)
    odds = (2 * states.sum(1) - 5000) * np.log(1.01 / 0.99)
    assert_allclose(posterior(tree, states)[:, 1], 1 / (1 + np.exp(-odds)), rtol=1e-10)


# --- conditional means of rectified units -----------------------------------------------------------------------


def test_meeting_in_the_middle_is_the_sum_over_all_atoms_at_height_five() -> None:
    tree, rng = LatentTree.drawn(2, 5, 0.5, 1.0), np.random.default_rng(3)
    network = random_network(rng, tree, units=2)
    sides = [activation_law(tree, network, child) for child in (1, 2)]
    w = np.split(network[0][0], 2)
    found = conditional_means(tree, network, 0)[:, 0]
    # the second way: a histogram of one side against every atom of the other, in blocks
    (a, p), (b, q) = (
        (law.values @ part, law.probabilities @ tree.kernel(child).T)
        for law, part, child in zip(sides, w, (1, 2), strict=True)
    )
    wanted = np.zeros(2)
    for block in np.array_split(np.arange(len(a)), 64):
        wanted += np.einsum("ik,ij,jk->k", p[block], np.maximum(a[block][:, None] + b, 0), q, optimize=True)
    assert_allclose(found, wanted, rtol=1e-12)


def test_sorted_tails_are_the_double_sum() -> None:
    rng = np.random.default_rng(0)
    a, b = (
        rng.standard_normal(50).round(1),
        rng.standard_normal(40).round(1),
    )  # with ties, and sums that are zero
    p, q = rng.dirichlet(np.ones(50), 3).T, rng.dirichlet(np.ones(40), 3).T
    wanted = np.einsum("ik,ij,jk->k", p, np.maximum(a[:, None] + b, 0), q)
    assert_allclose(rectified_mean(a, p, b, q), wanted, rtol=0, atol=16 * EPS)


def test_a_root_without_rectifier_is_linear() -> None:
    tree = mixed()
    network = random_network(np.random.default_rng(0), tree)
    states, p = joint_states(tree)
    values = activations(tree, network, states)
    below = np.concatenate([values[0], values[2]], axis=1) @ np.asarray(network[3]).T
    wanted = means_by_state(below, states[:, 3], p, 3)
    assert_allclose(conditional_means(tree, network, 3, rectify=False), wanted, rtol=0, atol=1e-13)


# --- data -------------------------------------------------------------------------------------------------------


def test_leaf_moments_are_those_of_the_joint_law() -> None:
    tree = mixed()
    states, p = joint_states(tree)
    x = states[:, tree.leaves].astype(float)
    found = leaf_moments(tree)
    assert_allclose(found.mean, p @ x, rtol=1e-13)
    assert_allclose(found.sigma_s, (x.T * p) @ x, rtol=1e-13)
    h = means_by_state(x, states[:, tree.root], p, 3)
    assert_allclose(found.sigma_d, (h.T * tree.root_law) @ h, rtol=1e-13)


def test_moments_of_a_source_are_exact_and_take_noise() -> None:
    data = load("tree:height=2:polarity=0.5:n=10")
    assert data.images.shape == (10, 4)
    moments = dataset_moments(data, [Noise(0.5)])
    # unit variances; siblings share ρ², cousins ρ⁴, and views ρ⁴
    wanted = np.full((4, 4), 0.0625) + np.kron(np.eye(2), np.full((2, 2), 0.25 - 0.0625)) + 0.75 * np.eye(4)
    assert_allclose(moments.sigma_s, wanted + 0.25 * np.eye(4), rtol=0, atol=8 * EPS)
    assert_allclose(moments.sigma_d, np.full((4, 4), 0.0625), rtol=0, atol=8 * EPS)
    assert moments.standard_error is None


def test_training_draws_views_with_these_moments() -> None:
    from dynamics.training.data import draw_views

    data = load_data(DataSettings(source="tree:height=2:low=.6:high=.9:n=4000"))
    n = 100_000
    samples = jax.tree.map(lambda a: np.asarray(a, np.float32), data.samples)
    x1, x2 = np.asarray(draw_views(data.settings, (), samples, jax.random.key(0), n), np.float64)
    moments = data.moments()
    # products have a variance of about 1, and 3,000 samples are not quite half zeros, half ones
    error = 6 / np.sqrt(n) + 6 / np.sqrt(3000) * np.max(np.abs(samples.images.mean(0)))
    assert np.max(np.abs(x1.T @ x1 / n - moments.sigma_s)) < error
    assert np.max(np.abs(x2.T @ x1 / n - moments.sigma_d)) < error
    assert np.trace(data.spectrum.sigma_d) == pytest.approx(np.trace(moments.sigma_d), rel=1e-12)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("tree:height=0", "height of tree must be an integer from 1"),
        ("tree:height=30", "height of tree must leave at most 4096 leaves"),
        ("tree:polarity=2", "polarity of tree must be a number in"),
        ("tree:polarity=x", "polarity of tree must be a number in"),
        ("tree:low=.5", "low and high of tree must go together"),
        ("tree:low=.5:high=.6:polarity=.5", "without polarity"),
        ("tree:low=.9:high=.7", "low of tree must be at most high"),
        ("tree:n=1", "n of tree must be an integer from 2"),
        ("tree:seed=-1", "seed of tree must be an integer from 0"),
        ("tree:depth=3", "tree must be given as"),
        ("tree:n=5:n=6", "tree must be given as"),
    ],
)
def test_bad_sources_are_refused(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(source)


def test_a_file_gives_the_tree_back(tmp_path: Any) -> None:
    tree = mixed()
    kernels = [None if node == tree.root else tree.kernel(node).tolist() for node in range(7)]
    content = {"parents": tree.parents.tolist(), "kernels": kernels, "root_law": tree.root_law.tolist()}
    (tmp_path / "tree.json").write_text(json.dumps(content))
    assert_array_equal(load_tree_file(tmp_path / "tree.json").table, tree.table)


@pytest.mark.parametrize("a", [0.0, 1e-320, 1e-200, 1e-16, 0.5, 1.0])
@pytest.mark.parametrize("b", [0.0, 1e-310, 1e-8, 0.3, 1.0])
@pytest.mark.filterwarnings("error")
def test_ceilings_at_the_ends_of_all_probabilities(a: float, b: float) -> None:
    P = [[1 - a, a], [b, 1 - b]]
    for c in (1e-310, 1e-100, 1e-8, 0.4, 1 - 1e-12):
        kernels = [None, P, [[c, 1 - c], [0.5, 0.5]], [[1 - c, c], [1 - b, b]], P]
        tree = LatentTree([-1, 0, 0, 1, 1], kernels, [c, 1 - c])
        linear, bayes = linear_ceiling(tree), bayes_ceiling(tree, "law").correlation
        # both are roots of numbers that round by some eps of 1
        assert 0 <= linear <= min(bayes + 4 * EPS**0.5, 1)
        assert bayes <= 1
