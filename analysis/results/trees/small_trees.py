"""Small random trees and networks for trials, and the sums over all of their joint states: R201–R205."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.trees.activations import child_nodes
from dynamics.data.latent_trees import LatentTree


def random_tree(
    rng: np.random.Generator, n_nodes: int, most_states: int = 2, least: float = 0.0
) -> LatentTree:
    """Draw a tree of any shape with asymmetric kernels; one row in four is certain of a state where `least` is 0.

    Parameters
    ----------
    rng, n_nodes
        Source of randomness, and the number of nodes, >= 2.
    most_states
        Nodes have 2 to so many states.
    least
        Smallest probability in a row, times the number of states, in [0, 1).
    """
    parents = np.array([-1, *(int(rng.integers(node)) for node in range(1, n_nodes))])
    states = rng.integers(2, most_states + 1, n_nodes)
    kernels: list[Any] = [None]
    for node in range(1, n_nodes):
        rows = rng.dirichlet(np.ones(states[node]), states[parents[node]])
        certain = rng.random(len(rows)) < (0.25 if least == 0 else 0.0)
        rows[certain] = np.eye(states[node])[rng.integers(0, states[node], np.count_nonzero(certain))]
        kernels.append((1 - least) * rows + least / states[node])
    law = rng.dirichlet(np.ones(states[0]))
    return LatentTree(parents, kernels, (1 - least) * law + least / states[0])


def joint_states(tree: LatentTree) -> tuple[np.ndarray, np.ndarray]:
    """All joint states of a small tree, shape (S, n), and their probabilities, shape (S,)."""
    grids = np.indices(tuple(tree.n_states.tolist())).reshape(tree.n_nodes, -1).T
    probabilities = tree.root_law[grids[:, tree.root]]
    for node in range(tree.n_nodes):
        if node != tree.root:
            probabilities = probabilities * tree.table[node][grids[:, tree.parents[node]], grids[:, node]]
    return grids, probabilities


def means_by_state(
    values: np.ndarray, given: np.ndarray, probabilities: np.ndarray, n_states: int
) -> np.ndarray:
    """E[values | given = i] over joint states, shape (n_states, K); 0 where the state has probability 0."""
    means = np.zeros((n_states, values.shape[1]))
    for i in range(n_states):
        weights = np.where(given == i, probabilities, 0.0)
        if weights.sum() > 0:
            means[i] = weights @ values / weights.sum()
    return means


def random_network(rng: np.random.Generator, tree: LatentTree, units: int = 2) -> list[Any]:
    """Draw the weights of a rectified network on a tree, of so many units per node; a leaf is one activation."""
    children = [child_nodes(tree, node) for node in range(tree.n_nodes)]
    return [
        rng.standard_normal((units, sum(units if len(children[child]) else 1 for child in own)))
        if len(own)
        else None
        for own in children
    ]


def activations(tree: LatentTree, weights: list[Any], states: np.ndarray) -> list[np.ndarray]:
    """Activations of every node at joint states (S, n): one array (S, K) per node."""
    values: list[Any] = [None] * tree.n_nodes
    for level in reversed(tree.levels):
        for node in level.nodes:
            own = child_nodes(tree, int(node))
            values[node] = states[:, [node]].astype(np.float64)
            if len(own):
                below = np.concatenate([values[child] for child in own], axis=1)
                values[node] = np.maximum(below @ np.asarray(weights[node]).T, 0.0)
    return values
