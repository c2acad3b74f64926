"""What makes numbers a tree: its levels, and the checks of its parents and kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

MOST_NODES = 10**7
"""Most nodes of a tree that is built from its branching and height."""


class Level(NamedTuple):
    """The nodes of one depth, siblings next to one another.

    Parameters
    ----------
    nodes
        Numbers of the nodes, shape (k,).
    starts
        Places in `nodes` at which the children of another parent begin, shape (p,); for the root's level, [0].
    parents
        The parents of those children, shape (p,); for the root's level, empty.
    """

    nodes: np.ndarray
    starts: np.ndarray
    parents: np.ndarray


def are_laws(rows: np.ndarray) -> bool:
    """Whether every row (..., m) is probabilities that sum to 1."""
    # m numbers written to the last bit sum to 1 within m eps
    slack = 2 * rows.shape[-1] * np.finfo(float).eps
    return bool(np.all(rows >= 0) and np.all(np.abs(rows.sum(-1) - 1) <= slack))


def checked_parents(given: Any) -> np.ndarray:
    """Parents (n,) as whole numbers, with −1 once; ValueError for anything else."""
    parents = np.array(given)
    if parents.ndim != 1 or parents.size == 0 or not np.issubdtype(parents.dtype, np.integer):
        raise ValueError(f"`parents` must be whole numbers, one per node, got {given}")
    n = len(parents)
    if parents.min() < -1 or parents.max() >= n:
        raise ValueError(
            f"`parents` must be numbers of nodes, from 0 to {n - 1}, and -1 for the root,"
            f" got {parents.min()} to {parents.max()}"
        )
    roots = int(np.sum(parents == -1))
    if roots != 1:
        raise ValueError(f"`parents` must have -1 once, for the root, got it {roots} times")
    return parents.astype(np.int64)


def levels_of(parents: np.ndarray) -> tuple[Level, ...]:
    """Sort nodes by depth and parent, the root's level first; ValueError where a node does not lead to the root."""
    n = len(parents)
    by_parent = np.argsort(parents, kind="stable")  # the root first, then the children of node 0, 1, …
    counts = np.bincount(parents[by_parent[1:]], minlength=n)
    first = 1 + np.cumsum(counts) - counts
    nodes = by_parent[:1]
    levels = [Level(nodes, np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64))]
    reached = 1
    while True:
        above = nodes[counts[nodes] > 0]
        if above.size == 0:
            break
        sizes = counts[above]
        starts = np.cumsum(sizes) - sizes
        nodes = by_parent[np.repeat(first[above] - starts, sizes) + np.arange(sizes.sum())]
        levels.append(Level(nodes, starts, above))
        reached += len(nodes)
    if reached < n:
        raise ValueError(
            f"`parents` must lead every node to the root, got {n - reached} nodes on or below a cycle"
        )
    return tuple(levels)


def kernel_table(kernels: Any, parents: np.ndarray, root_states: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of states (n,) and kernels padded with zeros (n, m, m); ValueError where they do not fit."""
    n = len(parents)
    if not isinstance(kernels, (np.ndarray, Sequence)) or isinstance(kernels, str) or len(kernels) != n:
        raise ValueError(f"`kernels` must be one per node, {n}, got {_length(kernels)}")
    root = int(np.flatnonzero(parents == -1)[0])
    others = np.delete(np.arange(n), root)
    if isinstance(kernels, np.ndarray) and kernels.ndim == 3:
        matrices: Any = kernels.astype(np.float64)
    else:
        matrices = [None if node == root else _matrix(node, kernel) for node, kernel in enumerate(kernels)]
    rows, n_states = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    shapes = np.array([matrices[node].shape for node in others], dtype=np.int64).reshape(-1, 2)
    rows[others], n_states[others] = shapes.T
    n_states[root] = root_states
    unfit = others[rows[others] != n_states[parents[others]]]
    if unfit.size:
        first = int(unfit[0])
        raise ValueError(
            f"`kernels` must have one row per state of the parent, {n_states[parents[first]]} for node {first},"
            f" got {rows[first]}"
        )
    m = int(np.max(n_states))
    table = np.zeros((n, m, m))
    if isinstance(matrices, np.ndarray) and matrices.shape[1:] == (m, m):
        table[others] = matrices[others]
    else:
        for node in others:
            table[node, : rows[node], : n_states[node]] = matrices[node]
    real = np.arange(m) < n_states[parents][:, None]  # the rows that are states of the parent
    with np.errstate(invalid="ignore"):
        wrong = np.abs(table.sum(-1) - real) > 2 * m * np.finfo(float).eps
        bad = np.any(wrong | ~np.all(table >= 0, axis=-1), axis=-1)
    bad[root] = False
    if bad.any():
        raise ValueError(
            f"`kernels` must have rows of probabilities that sum to 1, got another for node {np.argmax(bad)}"
        )
    return n_states, table


def _matrix(node: int, kernel: Any) -> np.ndarray:
    try:
        matrix = np.array(kernel, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"`kernels` must be matrices of numbers, got {kernel!r} for node {node}")
    return matrix


def _length(kernels: Any) -> str:
    return str(len(kernels)) if hasattr(kernels, "__len__") else repr(kernels)


def level_sizes(branching: int, height: int) -> list[int]:
    """Nodes of each level of a complete tree, the root's 1 first."""
    for name, value in (("branching", branching), ("height", height)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"`{name}` must be an integer >= 1, got {value}")
    sizes, total = [1], 1
    while len(sizes) <= height:
        sizes.append(sizes[-1] * int(branching))
        total += sizes[-1]
        if total > MOST_NODES:
            raise ValueError(
                f"`height` must leave a tree of at most {MOST_NODES} nodes, got {height} with branching {branching}"
            )
    return sizes
