"""Exact conditional means of rectified units on a latent tree: by atoms, and by meeting in the middle (R205)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dynamics.data.latent_trees import LatentTree

MOST_ATOMS = 2**20
"""Most atoms of a law that is listed."""


class Atoms(NamedTuple):
    """Law of the activations at a node, given the node's state.

    Parameters
    ----------
    values
        Activations of each atom, shape (atoms, K).
    probabilities
        P(atom | z), shape (atoms, m); columns sum to 1.
    """

    values: np.ndarray
    probabilities: np.ndarray


def activation_law(tree: LatentTree, weights: Sequence[Any], node: int) -> Atoms:
    """List the law of a node's activations given its state, pushing atoms up from the leaves.

        f_μj = ψ(Σ_k w_jk f_k),  k over the activations of the children of μ, ψ(x) = max(x, 0);  f = z at a leaf

    Parameters
    ----------
    tree
        Any tree.
    weights
        One matrix per node: w of node μ, shape (units of μ, activations of its children together), the children in
        the order of `child_nodes`. Entries of leaves, and of nodes that are not below `node`, are not read.
    node
        The node μ.

    Returns
    -------
    Atoms
        2^leaves atoms below a binary node, fewer where activations are equal.

    Raises
    ------
    ValueError
        More than `MOST_ATOMS` atoms are needed, or a matrix does not fit.

    Notes
    -----
    Source: R205.

    Examples
    --------
    >>> tree = LatentTree.binary(2, 1, 0.5)
    >>> activation_law(tree, [[[1.0, -1.0]], None, None], 0).values.ravel().tolist()
    [0.0, 1.0]
    """
    laws: dict[int, Atoms] = {}
    for parent, children in reversed(_families(tree, node)):
        law = _sum_law(tree, weights, parent, children, _laws_of(tree, children, laws))
        laws[parent] = _merged(np.maximum(law.values, 0.0), law.probabilities)
    return laws[node] if laws else _leaf_law(tree, node)


def conditional_means(
    tree: LatentTree, weights: Sequence[Any], node: int, *, rectify: bool = True
) -> np.ndarray:
    """Means of a node's activations given its state, v_j(z_μ) = E[f_μj | z_μ], meeting in the middle.

    Children are split into two groups, whose sums A and B are independent given z_μ, and E ψ(A + B) is found by
    sorting B and summing its tail: the atoms of the two groups are added, not multiplied.

    Parameters
    ----------
    tree, weights, node
        As for `activation_law`; a node that is not a leaf.
    rectify
        False for a node without ψ, as the root of a network has none.

    Returns
    -------
    array
        v, shape (states of μ, units of μ).

    Raises
    ------
    ValueError
        A group needs more than `MOST_ATOMS` atoms, a matrix does not fit, or the node is a leaf.

    Notes
    -----
    With two children per node of two states, height 5 takes 65,536 atoms per side. Source: R205.

    Examples
    --------
    >>> tree = LatentTree.binary(2, 1, 0.5)
    >>> conditional_means(tree, [[[1.0, -1.0]], None, None], 0).ravel().tolist()
    [0.1875, 0.1875]
    """
    families = _families(tree, node)
    if not families:
        raise ValueError(f"`node` must have children, got the leaf {node}")
    children = families[0][1]
    laws = [activation_law(tree, weights, int(child)) for child in children]
    parts = _split(weights[node], laws, node)
    means = []
    for unit in range(len(parts[0])):
        rows = [part[unit : unit + 1] for part in parts]
        half = (len(children) + 1) // 2
        A, B = (
            _added(tree, node, children[some], laws[some], rows[some])
            for some in (slice(half), slice(half, None))
        )
        if rectify:
            means.append(rectified_mean(A.values[:, 0], A.probabilities, B.values[:, 0], B.probabilities))
        else:
            means.append(A.values[:, 0] @ A.probabilities + B.values[:, 0] @ B.probabilities)
    return np.array(means).T


def rectified_mean(a: Any, p: Any, b: Any, q: Any) -> np.ndarray:
    """Mean of a rectified sum of two independent variables, E ψ(A + B), from their atoms.

        E ψ(A + B) = Σ_i p_i Σ_{b_j > −a_i} q_j (a_i + b_j)

    Parameters
    ----------
    a, p
        Values of A, shape (n_a,), and their probabilities under each of m laws, shape (n_a, m).
    b, q
        The same of B, shapes (n_b,) and (n_b, m).

    Returns
    -------
    array
        One mean per law, shape (m,).

    Notes
    -----
    O((n_a + n_b) log n_b). Source: R205.

    Examples
    --------
    >>> rectified_mean([-1.0, 1.0], [[0.5], [0.5]], [-1.0, 2.0], [[0.5], [0.5]])
    array([1.])
    """
    a, p, b, q = (np.asarray(part, dtype=np.float64) for part in (a, p, b, q))
    order = np.argsort(b)
    b, q = b[order], q[order]
    zero = np.zeros((1, q.shape[1]))
    # what lies above each place: probabilities, and values times probabilities
    tail = np.concatenate([np.cumsum(q[::-1], axis=0)[::-1], zero])
    moment = np.concatenate([np.cumsum((b[:, None] * q)[::-1], axis=0)[::-1], zero])
    place = np.searchsorted(b, -a, side="right")
    return np.asarray(np.sum(p * (a[:, None] * tail[place] + moment[place]), axis=0))


def child_nodes(tree: LatentTree, node: int) -> np.ndarray:
    """Children of a node, in the order of their numbers.

    >>> child_nodes(LatentTree.binary(2, 2, 0.5), 1).tolist()
    [3, 4]
    """
    return np.flatnonzero(tree.parents == node)


def _families(tree: LatentTree, node: int) -> list[tuple[int, np.ndarray]]:
    """Every node from `node` down that has children, with them, parents before their children."""
    below, families = {int(node)}, []
    for level in tree.levels[1:]:
        for parent, children in zip(level.parents, np.split(level.nodes, level.starts[1:]), strict=True):
            if int(parent) in below:
                families.append((int(parent), children))
                below.update(children.tolist())
    return families


def _leaf_law(tree: LatentTree, leaf: int) -> Atoms:
    m = int(tree.n_states[leaf])
    return Atoms(np.arange(m, dtype=np.float64)[:, None], np.eye(m))


def _laws_of(tree: LatentTree, children: np.ndarray, laws: dict[int, Atoms]) -> list[Atoms]:
    return [laws.pop(int(child)) if int(child) in laws else _leaf_law(tree, int(child)) for child in children]


def _split(weights: Any, laws: list[Atoms], node: int) -> list[np.ndarray]:
    w = np.asarray(weights, dtype=np.float64)
    sizes = [law.values.shape[1] for law in laws]
    if w.ndim != 2 or w.shape[1] != sum(sizes):
        raise ValueError(f"`weights` must have shape (units, {sum(sizes)}) at node {node}, got {w.shape}")
    return np.split(w, np.cumsum(sizes)[:-1], axis=1)


def _sum_law(
    tree: LatentTree, weights: Sequence[Any], node: int, children: np.ndarray, laws: list[Atoms]
) -> Atoms:
    return _added(tree, node, children, laws, _split(weights[node], laws, node))


def _added(
    tree: LatentTree, node: int, children: np.ndarray, laws: list[Atoms], parts: list[np.ndarray]
) -> Atoms:
    """Law of Σ_ν w_ν f_ν over some children, given the state of their parent; of 0 where there are none."""
    values = np.zeros((1, len(parts[0]) if parts else 1))
    probabilities = np.ones((1, int(tree.n_states[node])))
    for child, law, w in zip(children, laws, parts, strict=True):
        given_parent = law.probabilities @ tree.kernel(int(child)).T
        if len(values) * len(law.values) > MOST_ATOMS:
            raise ValueError(
                f"`tree` must need at most {MOST_ATOMS} atoms at a node, got more at node {node}"
            )
        values = (values[:, None] + law.values @ w.T).reshape(-1, values.shape[1])
        probabilities = (probabilities[:, None] * given_parent).reshape(-1, probabilities.shape[1])
    return Atoms(values, probabilities)


def _merged(values: np.ndarray, probabilities: np.ndarray) -> Atoms:
    """Merge atoms whose values are the same numbers."""
    distinct, place = np.unique(values, axis=0, return_inverse=True)
    sums = np.zeros((len(distinct), probabilities.shape[1]))
    np.add.at(sums, place.ravel(), probabilities)
    return Atoms(distinct, sums)
