"""Ceilings: how well any function of the leaves can tell the root of a latent tree, linear or not (R204, R205)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from analysis.trees.moments import edge_correlations
from dynamics.data.latent_trees import LatentTree
from dynamics.data.tree_checks import Level

MOST_ATOMS = 2**20
"""Most atoms of an exact law of the posterior."""
_MERGED = 64 * float(np.finfo(float).eps)
"""Posteriors so close are one atom: they differ by the rounding of products, and moving them moves a ceiling as far."""
_CHUNK = 2**22
"""Numbers held at once while samples are drawn."""


class Ceiling(NamedTuple):
    """The largest correlation with the root that functions of the leaves can have.

    Parameters
    ----------
    correlation
        Its value in [0, 1].
    standard_error
        Of a sampled value; 0 for an exact one.
    n_atoms
        Atoms of the exact law of the posterior; None for a sampled value.
    """

    correlation: float
    standard_error: float
    n_atoms: int | None


def linear_ceilings(tree: LatentTree) -> np.ndarray:
    """Best correlation of each latent with a linear function of the leaves below it.

        c_μ = t_μ/(1 + t_μ),  t_μ = Σ_ν κ_μν² c_ν/(1 − κ_μν² c_ν),  c = 1 at a leaf

    Signal-to-noise ratios of the children add. κ_μν is the correlation of parent and child, |ρ_μν| where kernels are
    symmetric and the root is uniform.

    Parameters
    ----------
    tree
        Any tree of binary variables, asymmetric kernels and root laws among them: given its parent a binary variable
        has a mean that is linear in it, so correlations multiply along paths, and linear functions see nothing else.

    Returns
    -------
    array
        √c_μ, shape (n,); 1 for leaves.

    Raises
    ------
    ValueError
        A node has other than two states.

    Notes
    -----
    O(nodes). Source: R204.

    Examples
    --------
    >>> linear_ceilings(LatentTree.binary(2, 5, 0.85))[:1].round(4)
    array([0.8099])
    """
    squared, lacking = edge_correlations(tree)
    noise = np.zeros(tree.n_nodes)  # 1/t, noise-to-signal: 0 at a leaf
    with np.errstate(divide="ignore", over="ignore"):  # a ratio of infinity is a correlation of 1
        for level in reversed(tree.levels[1:]):
            below = level.nodes
            ratios = squared[below] / (noise[below] + lacking[below])
            noise[level.parents] = 1 / np.add.reduceat(ratios, level.starts)
    return np.asarray(np.sqrt(1 / (1 + noise)))


def linear_ceiling(tree: LatentTree) -> float:
    """Best correlation of the root with a linear function of the leaves; see `linear_ceilings`.

    Notes
    -----
    Source: R204.

    Examples
    --------
    >>> round(linear_ceiling(LatentTree.binary(1, 2, 0.5)), 12)
    0.25
    """
    return float(linear_ceilings(tree)[tree.root])


def linear_ceiling_limit(branching: int, polarity: float) -> float:
    """Linear ceiling of an infinitely high tree of one polarity: √((bρ² − 1)/((b − 1)ρ²)) if bρ² > 1, else 0.

    Parameters
    ----------
    branching, polarity
        b >= 1, an integer, and ρ in [−1, 1].

    Raises
    ------
    ValueError
        One of these is not so.

    Notes
    -----
    Source: R204.

    Examples
    --------
    >>> round(linear_ceiling_limit(2, 0.85), 4), linear_ceiling_limit(2, 0.7)
    (0.7848, 0.0)
    """
    if branching < 1 or branching != int(branching):
        raise ValueError(f"`branching` must be an integer >= 1, got {branching}")
    if not abs(polarity) <= 1:
        raise ValueError(f"`polarity` must be in [-1, 1], got {polarity}")
    if abs(polarity) == 1:
        return 1.0
    signal = branching * polarity**2
    return float(np.sqrt((signal - 1) / (signal - polarity**2))) if signal > 1 else 0.0


def posterior(tree: LatentTree, leaves: Any) -> np.ndarray:
    """Law of the root given the leaves, by belief propagation.

        λ_μ(i) = Π_ν Σ_j P_μν(i, j) λ_ν(j),  P(z_0 = i | leaves) ∝ π_0(i) λ_0(i)

    Parameters
    ----------
    tree
        Any tree.
    leaves
        States of the leaves, in the order of ``tree.leaves``, shape (number of leaves,) or (N, number of leaves).

    Returns
    -------
    array
        Shape (m_0,) or (N, m_0), rows that sum to 1.

    Raises
    ------
    ValueError
        The leaves are not states of the tree's leaves, or have probability 0.

    Notes
    -----
    O(nodes · m²) per sample, in logarithms, so that many leaves do not underflow. Source: R205.

    Examples
    --------
    >>> posterior(LatentTree.binary(1, 1, 0.5), [1]).round(12).tolist()
    [0.25, 0.75]
    """
    states = np.atleast_2d(np.asarray(leaves))
    n_leaves = len(tree.leaves)
    if np.ndim(leaves) not in (1, 2) or states.shape[1] != n_leaves or states.dtype.kind not in "iu":
        raise ValueError(f"`leaves` must be states, whole numbers of shape (N, {n_leaves}), got {leaves!r}")
    if np.any((states < 0) | (states >= tree.n_states[tree.leaves])):
        raise ValueError("`leaves` must be states of the leaves, got a number that is none")
    logs = np.zeros((len(states), tree.n_nodes, tree.table.shape[-1]))
    seen = np.where(np.arange(logs.shape[-1]) == states[..., None], 0.0, -np.inf)
    logs[:, tree.leaves] = seen
    with np.errstate(divide="ignore"):
        for level in reversed(tree.levels[1:]):
            _gather(tree, level, logs)
        root = logs[:, tree.root, : len(tree.root_law)] + np.log(tree.root_law)
    largest = root.max(-1, keepdims=True)
    if np.any(np.isneginf(largest)):
        raise ValueError("`leaves` must be possible, got states of probability 0")
    weights = np.exp(root - largest)
    law = weights / weights.sum(-1, keepdims=True)
    return np.asarray(law[0] if np.ndim(leaves) == 1 else law)


def _gather(tree: LatentTree, level: Level, logs: np.ndarray) -> None:
    """Add the messages of a level's nodes to their parents, in place."""
    below = logs[:, level.nodes]
    largest = below.max(-1, keepdims=True)
    largest = np.where(np.isneginf(largest), 0.0, largest)
    messages = np.log(np.einsum("kij,nkj->nki", tree.table[level.nodes], np.exp(below - largest))) + largest
    logs[:, level.parents] = np.add.reduceat(messages, level.starts, axis=1)


def posterior_law(tree: LatentTree, most_atoms: int = MOST_ATOMS) -> np.ndarray | None:
    """Exact law of what the leaves say of the root of a binary tree: one atom per value of the posterior.

    Parameters
    ----------
    tree
        A tree of binary variables.
    most_atoms
        More than so many atoms, before equal ones are merged at a node, are not listed.

    Returns
    -------
    array or None
        P(atom | z_0), shape (atoms, 2): columns sum to 1, and the posterior of an atom is in the ratio
        π_0(0) P(atom | 0) : π_0(1) P(atom | 1). None where there would be too many.

    Raises
    ------
    ValueError
        A node has other than two states.

    Notes
    -----
    Atoms are pushed from the leaves up: through an edge by its kernel, and by products over children; equal posteriors
    are merged. At most 2^leaves atoms, far fewer where polarities are equal. Source: R205.

    Examples
    --------
    >>> posterior_law(LatentTree.binary(1, 1, 0.5)).tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    if not tree.is_binary:
        raise ValueError("`tree` must have two states per node, got other numbers")
    children = _children(tree)
    laws: dict[int, np.ndarray] = {}
    for node in _subtree_by_subtree(tree, children):
        atoms = np.ones((1, 2)) if node in children else np.eye(2)
        for child in children.get(node, ()):
            message = laws.pop(child) @ tree.table[child].T
            if len(atoms) * len(message) > most_atoms:
                return None
            atoms = _merged((atoms[:, None] * message).reshape(-1, 2))
        laws[node] = atoms
    return laws[tree.root]


def _children(tree: LatentTree) -> dict[int, list[int]]:
    """Children of every node that has some."""
    families: dict[int, list[int]] = {}
    for level in tree.levels[1:]:
        groups = np.split(level.nodes, level.starts[1:])
        families |= {int(parent): own.tolist() for parent, own in zip(level.parents, groups, strict=True)}
    return families


def _subtree_by_subtree(tree: LatentTree, children: dict[int, list[int]]) -> list[int]:
    """Every node after those below it, a subtree at a time: the first with too many atoms is met soon."""
    order, waiting = [], [tree.root]
    while waiting:
        node = waiting.pop()
        order.append(node)
        waiting += children.get(node, ())
    return order[::-1]


def _merged(atoms: np.ndarray) -> np.ndarray:
    """Merge atoms of equal posterior, to rounding."""
    total = atoms.sum(-1)
    atoms, total = atoms[total > 0], total[total > 0]
    share = atoms[:, 1] / total
    order = np.argsort(share)
    starts = np.flatnonzero(np.append(True, np.diff(share[order]) > _MERGED))
    return np.asarray(np.add.reduceat(atoms[order], starts))


def bayes_ceiling(
    tree: LatentTree, method: str | None = None, *, n_samples: int = 4096, seed: int = 0
) -> Ceiling:
    """Best correlation of a binary root with any function of the leaves, that of the posterior mean.

        max_f corr(f, z_0)² = V[P(z_0 = 1 | leaves)]/(π_0(0) π_0(1)),  E[m_0²] for a uniform root

    Parameters
    ----------
    tree
        A tree whose root is binary and takes both states; for ``law``, a tree of binary variables.
    method
        ``law`` sums over the exact law of the posterior, `posterior_law`; ``sample`` averages over drawn leaves, whose
        posterior is exact. Left out, ``law`` where it needs at most `MOST_ATOMS` atoms, else ``sample``.
    n_samples, seed
        Samples drawn, an integer >= 2, and their seed.

    Returns
    -------
    Ceiling
        With the standard error of sampling.

    Raises
    ------
    ValueError
        The root is not so, the method is unknown, or the law has too many atoms.

    Notes
    -----
    Source: R205.

    Examples
    --------
    >>> round(bayes_ceiling(LatentTree.binary(1, 2, 0.5)).correlation, 12)
    0.25
    """
    if method not in (None, "law", "sample"):
        raise ValueError(f"`method` must be law or sample, got {method!r}")
    if len(tree.root_law) != 2 or not np.all(tree.root_law > 0):
        raise ValueError(
            f"`tree` must have a root that takes two states, got the law {tree.root_law.tolist()}"
        )
    if isinstance(n_samples, bool) or not isinstance(n_samples, (int, np.integer)) or n_samples < 2:
        raise ValueError(f"`n_samples` must be an integer >= 2, got {n_samples}")
    if method == "law" or (method is None and tree.is_binary):
        law = posterior_law(tree)
        if law is not None:
            return Ceiling(ceiling_of(tree.root_law, law), 0.0, len(law))
        if method == "law":
            raise ValueError(f"`tree` must have a law of at most {MOST_ATOMS} atoms, got more")
    squares = _squared_correlations(tree, n_samples, seed)
    c, error = squares.mean(), squares.std(ddof=1) / np.sqrt(n_samples)
    correlation = float(np.sqrt(min(c, 1.0)))
    return Ceiling(correlation, float(error / (2 * correlation)) if correlation else 0.0, None)


def ceiling_of(root_law: np.ndarray, atoms: np.ndarray) -> float:
    """√(V[P(z_0 = 1 | atom)]/(π_0(0) π_0(1))) of a law of atoms, P(atom | z_0), shape (atoms, 2)."""
    both = atoms @ root_law
    atoms, both = atoms[both > 0], both[both > 0]
    gaps = atoms[:, 1] - atoms[:, 0]
    # π(0)π(1) gap²/both, in an order in which no factor exceeds 1: the likelier state's own share of both comes first
    likelier = np.where(gaps > 0, root_law[1], root_law[0])
    other = np.where(gaps > 0, root_law[0], root_law[1])
    gaps = np.abs(gaps)
    return float(np.sqrt(min(np.sum(likelier * gaps / both * (other * gaps)), 1.0)))


def _squared_correlations(tree: LatentTree, n_samples: int, seed: int) -> np.ndarray:
    """(P(1 | leaves) − π(1))²/(π(0)π(1)) of drawn leaves: their mean is the squared ceiling."""
    rng = np.random.default_rng(seed)
    size = max(1, _CHUNK // (tree.n_nodes * tree.table.shape[-1]))
    parts = []
    for start in range(0, n_samples, size):
        states = tree.sample(rng, min(size, n_samples - start))[:, tree.leaves]
        parts.append((posterior(tree, states.astype(np.int64))[:, 1] - tree.root_law[1]) ** 2)
    return np.asarray(np.concatenate(parts) / np.prod(tree.root_law))
