"""R201–R205 in the registry: each is told apart from a broken version of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analysis.results.registry import check, collect
from analysis.results.trees import tree_moments
from analysis.trees.activations import conditional_means
from analysis.trees.ceilings import Ceiling, linear_ceiling, linear_ceiling_limit, posterior
from analysis.trees.moments import (
    conditional_covariance,
    edge_correlations,
    layer_covariance,
    layer_traces,
    path_correlation,
)
from dynamics.data.latent_trees import LatentTree, path_polarities, polarity

RESULTS = collect((tree_moments,))


def with_kernels(tree: LatentTree, change: Callable[[np.ndarray], Any]) -> LatentTree:
    """The tree with other kernels of the same sizes."""
    kernels = [None if node == tree.root else change(tree.kernel(node)) for node in range(tree.n_nodes)]
    return LatentTree(tree.parents, kernels, tree.root_law)


def symmetrised(tree: LatentTree) -> LatentTree:
    """Symmetric kernels with ρ = 2P(1|1) − 1, which is their polarity only if they were symmetric."""
    return with_kernels(tree, lambda P: [[P[1, 1], P[1, 0]], [P[1, 0], P[1, 1]]])


def without_square(tree: LatentTree) -> float:
    """(1 − ρ_0)/(1 − ρ_0²)."""
    return float(1 / (1 + tree.root_law[1] - tree.root_law[0]))


def adding_correlations(tree: LatentTree) -> np.ndarray:
    """Ceilings by c = Σ κ²c, at most 1, in place of signal-to-noise ratios."""
    squared, _ = edge_correlations(tree)
    c = np.ones(tree.n_nodes)
    for level in reversed(tree.levels[1:]):
        c[level.parents] = np.minimum(np.add.reduceat(squared[level.nodes] * c[level.nodes], level.starts), 1)
    return np.sqrt(c)


def by_polarities(tree: LatentTree) -> np.ndarray:
    """Linear ceilings by |ρ| where correlations differ from it: asymmetric kernels."""
    law = LatentTree(tree.parents, tree.kernels, [0.5, 0.5])
    rho = polarity(law.table)
    c = np.ones(tree.n_nodes)
    for level in reversed(tree.levels[1:]):
        signal = rho[level.nodes] ** 2 * c[level.nodes]
        with np.errstate(divide="ignore"):
            odds = np.add.reduceat(signal / (1 - signal), level.starts)
        c[level.parents] = 1 / (1 + 1 / np.where(odds > 0, odds, 1e-300))
    return np.sqrt(c)


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R201", {"centred": lambda P, law: np.asarray(P) - 1 / np.shape(P)[-1]}),
    ("R201", {"paths": lambda tree: path_polarities(symmetrised(tree))}),
    ("R201", {"paths": lambda tree: np.abs(path_polarities(tree))}),
    ("R202", {"block": lambda tree, node, a: conditional_covariance(symmetrised(tree), node, a)}),
    ("R202", {"layer": lambda tree, nodes, s: layer_covariance(symmetrised(tree), nodes, s)}),
    ("R202", {"edge": lambda P: 2 * P[1, 1] - 1}),
    ("R202", {"edge": lambda P: 1.0}),
    ("R202", {"block": lambda tree, node, a: without_square(tree) * conditional_covariance(tree, node, a)}),
    ("R202", {"layer": lambda tree, nodes, s: without_square(tree) * layer_covariance(tree, nodes, s)}),
    ("R202", {"bound": lambda tree, node: path_correlation(tree, node) ** 2}),
    ("R202", {"bound": lambda tree, node: abs(np.prod([np.linalg.svd(tree.kernel(node))[1][1]]))}),
    ("R203", {"number": lambda b, rho: b * rho}),
    ("R203", {"number": lambda b, rho: b * abs(rho)}),
    ("R203", {"traces": lambda tree, s: without_square(tree) * layer_traces(tree, s)}),
    ("R203", {"traces": lambda tree, s: layer_traces(tree, s) / [len(level.nodes) for level in tree.levels]}),
    ("R203", {"paths": lambda tree: path_polarities(tree) * (tree.height > 400)}),
    ("R204", {"ceilings": adding_correlations}),
    ("R204", {"ceilings": by_polarities}),
    ("R204", {"limit": lambda b, rho: linear_ceiling_limit(b, rho) ** 2}),
    ("R205", {"belief": lambda tree, leaves: posterior(LatentTree(
        tree.parents, tree.kernels, np.full(len(tree.root_law), 1 / len(tree.root_law))), leaves)}),
    ("R205", {"belief": lambda tree, leaves: np.sqrt(posterior(tree, leaves))}),
    ("R205", {"ceiling": lambda tree, method: Ceiling(linear_ceiling(tree), 0.0, 1)}),
    ("R205", {"means": lambda tree, w, node: conditional_means(tree, w, node, rectify=False)}),
    ("R205", {"means": lambda tree, w, node: conditional_means(symmetrised(tree), w, node)}),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "subjects"), MUTANTS, ids=[f"{name}-{next(iter(s))}-{k}" for k, (name, s) in enumerate(MUTANTS)]
)
def test_a_broken_version_is_caught(name: str, subjects: dict[str, Any], seed: int) -> None:
    assert check(RESULTS[name], n_trials=4, seed=seed, **subjects).verdict == "violated"


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)
