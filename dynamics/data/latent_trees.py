"""Latent trees: the root is a class, every node depends on its parent, and the leaves are what is seen (R201)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dynamics.data.tree_checks import Level, are_laws, checked_parents, kernel_table, level_sizes, levels_of


@dataclass(frozen=True, eq=False)
class LatentTree:
    """Tree of discrete variables, each of which depends on its parent alone.

    Parameters
    ----------
    parents
        The parent of each node, whole numbers, shape (n,); −1 for the root.
    kernels
        One matrix per node: P_μν(i, j) = P(z_ν = j | z_μ = i), shape (states of the parent, states of the node),
        rows that sum to 1. The root's entry is not read and may be None.
    root_law
        π_0, law of the root's states, shape (m_0,), sums to 1.

    Raises
    ------
    ValueError
        One of these is not so, or the parents do not form one tree.

    Notes
    -----
    Tables over all nodes are padded with zeros to m, the largest number of states of a node.
    Source: DD 4.3; R201.

    Examples
    --------
    >>> tree = LatentTree([-1, 0, 0], [None, [[0.75, 0.25], [0.5, 0.5]], [[0, 1], [1, 0]]], [0.5, 0.5])
    >>> tree.leaves.tolist(), marginals(tree)[1].tolist()
    ([1, 2], [0.625, 0.375])
    """

    parents: Any
    kernels: Any
    root_law: Any
    n_states: np.ndarray = field(init=False, repr=False)
    """Number of states of each node, shape (n,)."""
    table: np.ndarray = field(init=False, repr=False)
    """The kernels, padded with zeros, shape (n, m, m); zeros for the root."""
    levels: tuple[Level, ...] = field(init=False, repr=False)
    """The nodes by depth, the root first."""
    leaves: np.ndarray = field(init=False, repr=False)
    """Numbers of the nodes without children, in the order of their numbers."""

    def __post_init__(self) -> None:
        parents = checked_parents(self.parents)
        law = np.array(self.root_law, dtype=np.float64)
        if law.ndim != 1 or law.size == 0 or not are_laws(law):
            raise ValueError(
                f"`root_law` must be probabilities that sum to 1, shape (m,), got {self.root_law}"
            )
        levels = levels_of(parents)
        n_states, table = kernel_table(self.kernels, parents, law.size)
        childless = np.ones(len(parents), dtype=bool)
        childless[parents[parents >= 0]] = False
        leaves = np.flatnonzero(childless)
        for array in (parents, law, n_states, table, leaves):
            array.setflags(write=False)
        for name, value in (
            ("parents", parents),
            ("kernels", self.kernels if isinstance(self.kernels, np.ndarray) else tuple(self.kernels)),
            ("root_law", law),
            ("n_states", n_states),
            ("table", table),
            ("levels", levels),
            ("leaves", leaves),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def binary(cls, branching: int, height: int, polarity: Any, root_polarity: float = 0.0) -> LatentTree:
        """Build a complete tree of symmetric binary variables: P(z_ν = z_μ) = (1 + ρ_μν)/2.

        Parameters
        ----------
        branching
            b, children of every node that is not a leaf, an integer >= 1.
        height
            H, edges from the root to a leaf, an integer >= 1. Nodes are numbered level by level.
        polarity
            ρ in [−1, 1]: one number, one per level (shape (H,), from the root down), or one per node but the root
            (shape (n − 1,), in the nodes' order), that of the edge to its parent.
        root_polarity
            ρ_0 = π_0(1) − π_0(0) in [−1, 1].

        Raises
        ------
        ValueError
            One of these is not so, or the tree would have more than `MOST_NODES` nodes.

        Examples
        --------
        >>> LatentTree.binary(2, 3, 0.8).n_nodes
        15
        """
        sizes = level_sizes(branching, height)
        edges = sum(sizes) - 1
        rho = np.array(polarity, dtype=np.float64)
        if rho.shape == (height,):
            rho = np.repeat(rho, sizes[1:])
        if rho.shape not in ((), (edges,)) or not np.all(np.abs(rho) <= 1):
            raise ValueError(
                f"`polarity` must be in [-1, 1], one number, {height} numbers (one per level) or {edges} numbers"
                f" (one per edge), got {polarity}"
            )
        if not abs(root_polarity) <= 1:
            raise ValueError(f"`root_polarity` must be in [-1, 1], got {root_polarity}")
        rho = np.append(0.0, np.broadcast_to(rho, edges))
        same, other = (1 + rho) / 2, (1 - rho) / 2
        kernels = np.stack([np.stack([same, other], -1), np.stack([other, same], -1)], -2)
        parents = np.append(-1, np.arange(edges) // int(branching))
        return cls(parents, kernels, [(1 - root_polarity) / 2, (1 + root_polarity) / 2])

    @classmethod
    def drawn(cls, branching: int, height: int, low: float, high: float, seed: int = 0) -> LatentTree:
        """Build a complete symmetric binary tree with ρ_μν ~ U[low, high], drawn for each edge, and ρ_0 = 0.

        Parameters
        ----------
        branching, height
            As for `binary`.
        low, high
            −1 <= low <= high <= 1.
        seed
            Seed of the draws, an integer >= 0.

        Raises
        ------
        ValueError
            One of these is not so.

        Examples
        --------
        >>> bool(polarity(LatentTree.drawn(2, 3, 0.7, 1.0).table[1:]).min() >= 0.7)
        True
        """
        if not -1 <= low <= high <= 1:
            raise ValueError(f"`low` must be at most `high`, both in [-1, 1], got {low} and {high}")
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"`seed` must be an integer >= 0, got {seed}")
        edges = sum(level_sizes(branching, height)) - 1
        return cls.binary(branching, height, np.random.default_rng(seed).uniform(low, high, edges))

    @property
    def n_nodes(self) -> int:
        """Number of nodes, the root and the leaves among them."""
        return len(self.parents)

    @property
    def root(self) -> int:
        """Number of the root."""
        return int(self.levels[0].nodes[0])

    @property
    def height(self) -> int:
        """Edges from the root to the farthest leaf."""
        return len(self.levels) - 1

    @property
    def is_binary(self) -> bool:
        """Whether every node has two states."""
        return bool(np.all(self.n_states == 2))

    def kernel(self, node: int) -> np.ndarray:
        """P_μν of a node that is not the root, without padding: shape (states of the parent, states of the node)."""
        if node == self.root:
            raise ValueError(f"`node` must not be the root, got {node}")
        return np.asarray(self.table[node, : self.n_states[self.parents[node]], : self.n_states[node]])

    def cut(self, depth: int) -> LatentTree:
        """The tree without the nodes below a depth, whose nodes there become leaves; nodes keep their order.

        >>> LatentTree.binary(2, 3, 0.5).cut(1).n_nodes
        3
        """
        if not 0 <= depth <= self.height:
            raise ValueError(f"`depth` must be an integer from 0 to {self.height}, got {depth}")
        kept = np.sort(np.concatenate([level.nodes for level in self.levels[: depth + 1]]))
        number = np.full(self.n_nodes + 1, -1)  # −1 of the root stays −1
        number[kept] = np.arange(len(kept))
        kernels = [None if node == self.root else self.kernel(node) for node in kept]
        return LatentTree(number[self.parents[kept]], kernels, self.root_law)

    def sample(self, rng: np.random.Generator, n_samples: int, *, root: Any = None) -> np.ndarray:
        """Draw the states of all nodes, from the root down.

        Parameters
        ----------
        rng
            Source of randomness.
        n_samples
            Number of samples.
        root
            States to keep for the root, one number or shape (n_samples,); left out, they are drawn. Two samples with
            the same root are two views of one source.

        Returns
        -------
        array
            States, shape (n_samples, n), in the smallest type that holds them.

        Raises
        ------
        ValueError
            A state of the root is not one of its states.

        Examples
        --------
        >>> LatentTree.binary(2, 2, 1.0).sample(np.random.default_rng(0), 2, root=[0, 1]).tolist()
        [[0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]]
        """
        states = np.empty((n_samples, self.n_nodes), dtype=np.min_scalar_type(int(self.n_states.max()) - 1))
        if root is None:
            states[:, self.root] = np.searchsorted(
                _thresholds(self.root_law), rng.random(n_samples), side="right"
            )
        else:
            kept = np.asarray(root)
            if not np.all(np.isin(kept, np.arange(len(self.root_law)))):
                raise ValueError(
                    f"`root` must be states of the root, from 0 to {len(self.root_law) - 1}, got {root}"
                )
            states[:, self.root] = kept
        thresholds = _thresholds(self.table)
        for level in self.levels[1:]:
            rows = thresholds[level.nodes, states[:, self.parents[level.nodes]]]
            draws = rng.random((n_samples, len(level.nodes)))
            states[:, level.nodes] = np.sum(draws[..., None] >= rows, axis=-1)
        return states


def jax_sampler(tree: LatentTree, nodes: Any = None) -> Callable[..., Any]:
    """Make a JAX function that draws states of a tree; it can be traced by jit, vmap and scan.

    Parameters
    ----------
    tree
        The tree. The trace has one step per level, so a tree as high as thousands of edges compiles slowly.
    nodes
        Numbers of the nodes whose states are returned; left out, all. ``tree.leaves`` gives what is seen.

    Returns
    -------
    function
        draw(key, n_samples, root=None) -> states (n_samples, number of nodes asked for), int32. `root` keeps the
        root's states, one number or shape (n_samples,), and all else is drawn anew: the views of one source.

    Notes
    -----
    States of `root` are not checked, for they may be traced.

    Examples
    --------
    >>> import jax
    >>> tree = LatentTree.binary(2, 2, 1.0)
    >>> jax_sampler(tree, tree.leaves)(jax.random.key(0), 1, root=1).tolist()
    [[1, 1, 1, 1]]
    """
    import jax
    import jax.numpy as jnp

    wanted = np.arange(tree.n_nodes) if nodes is None else np.asarray(nodes)
    # nodes in the order in which they are drawn, level by level
    order = np.concatenate([level.nodes for level in tree.levels])
    place = np.empty(tree.n_nodes, dtype=np.int64)
    place[order] = np.arange(tree.n_nodes)
    law = _thresholds(tree.root_law)
    thresholds = _thresholds(tree.table)
    offsets = np.cumsum([0, *(len(level.nodes) for level in tree.levels)])

    def draw(key: Any, n_samples: int, root: Any = None) -> Any:
        keys = jax.random.split(key, len(tree.levels))
        if root is None:
            first = jnp.sum(jax.random.uniform(keys[0], (n_samples, 1)) >= jnp.asarray(law), -1)
        else:
            first = jnp.broadcast_to(jnp.asarray(root), (n_samples,))
        drawn = [first[:, None].astype(jnp.int32)]
        for depth, level in enumerate(tree.levels[1:], start=1):
            above = drawn[-1][:, place[tree.parents[level.nodes]] - offsets[depth - 1]]
            rows = jnp.asarray(thresholds[level.nodes])[jnp.arange(len(level.nodes)), above]
            draws = jax.random.uniform(keys[depth], (n_samples, len(level.nodes), 1))
            drawn.append(jnp.sum(draws >= rows, axis=-1).astype(jnp.int32))
        return jnp.concatenate(drawn, axis=1)[:, place[wanted]]

    return draw


def complete_tree(
    branching: int | None = None,
    height: int | None = None,
    polarity: Any = None,
    polarity_range: tuple[float, float] | None = None,
    seed: int = 0,
) -> LatentTree:
    """Build a complete symmetric binary tree from what is given of it; 2, 5 and 0.8 where it is left out.

    Parameters
    ----------
    branching, height, polarity
        As for `LatentTree.binary`.
    polarity_range, seed
        In place of `polarity`, low and high of `LatentTree.drawn`, and its seed.

    Raises
    ------
    ValueError
        A number is out of range, or both polarity and its range are given.

    Examples
    --------
    >>> complete_tree(height=2).n_nodes
    7
    """
    branching, height = 2 if branching is None else branching, 5 if height is None else height
    if polarity_range is None:
        return LatentTree.binary(branching, height, 0.8 if polarity is None else polarity)
    if polarity is not None:
        raise ValueError(f"`polarity` must be left out where `polarity_range` draws it, got {polarity}")
    low, high = polarity_range
    if not -1 <= low <= high <= 1:
        raise ValueError(f"`polarity_range` must be LOW <= HIGH, both in [-1, 1], got {low:g} and {high:g}")
    return LatentTree.drawn(branching, height, low, high, seed)


def polarity(kernel: Any) -> Any:
    """Polarity of a binary kernel, ρ = det P = P(1|1) − P(1|0), symmetric or not.

    Parameters
    ----------
    kernel
        P, shape (..., 2, 2), rows that sum to 1.

    Raises
    ------
    ValueError
        The shape is not so.

    Notes
    -----
    Source: R201.

    Examples
    --------
    >>> polarity([[0.75, 0.25], [0.5, 0.5]])
    0.25
    """
    P = np.asarray(kernel, dtype=np.float64)
    if P.shape[-2:] != (2, 2):
        raise ValueError(f"`kernel` must have shape (..., 2, 2), got {P.shape}")
    rho = P[..., 1, 1] - P[..., 0, 1]
    return float(rho) if rho.ndim == 0 else rho


def centred_kernel(kernel: Any, law: Any) -> np.ndarray:
    """Kernel without the child's law: C = P − 1 π_ν.

    Parameters
    ----------
    kernel
        P_μν, shape (m_μ, m_ν).
    law
        π_ν, law of the child, shape (m_ν,). With u_μ P_μν = u_ν along a path, as marginals have it, products of
        centred kernels are the centred kernels of the path: C_μν C_να = C_μα.

    Notes
    -----
    Source: DD lemma 7; R201.

    Examples
    --------
    >>> centred_kernel([[0.75, 0.25], [0.25, 0.75]], [0.5, 0.5]).tolist()
    [[0.25, -0.25], [-0.25, 0.25]]
    """
    return np.asarray(kernel, dtype=np.float64) - np.asarray(law, dtype=np.float64)


def marginals(tree: LatentTree) -> np.ndarray:
    """Law of every node, π_ν = π_μ P_μν: shape (n, m), padded with zeros.

    Notes
    -----
    Source: R201.

    Examples
    --------
    >>> marginals(LatentTree.binary(2, 1, 0.5, root_polarity=1.0)).tolist()
    [[0.0, 1.0], [0.25, 0.75], [0.25, 0.75]]
    """
    laws = np.zeros(tree.table.shape[:2])
    laws[tree.root, : len(tree.root_law)] = tree.root_law
    for level in tree.levels[1:]:
        laws[level.nodes] = np.einsum("ki,kij->kj", laws[tree.parents[level.nodes]], tree.table[level.nodes])
    return laws


def path_polarities(tree: LatentTree) -> np.ndarray:
    """Polarity of the path from the root to every node, ρ_0μ = Π ρ over its edges: shape (n,), 1 for the root.

    Raises
    ------
    ValueError
        A node has other than two states.

    Notes
    -----
    Source: DD 4.3; R201.

    Examples
    --------
    >>> path_polarities(LatentTree.binary(1, 3, [0.5, 0.5, -1.0])).tolist()
    [1.0, 0.5, 0.25, -0.25]
    """
    if not tree.is_binary:
        raise ValueError("`tree` must have two states per node, got other numbers")
    edges = polarity(tree.table)
    paths = np.ones(tree.n_nodes)
    for level in tree.levels[1:]:
        paths[level.nodes] = paths[tree.parents[level.nodes]] * edges[level.nodes]
    return paths


def _thresholds(laws: np.ndarray) -> np.ndarray:
    """Thresholds t of laws (..., m), shape (..., m − 1): a state is the number of thresholds that u ~ U[0, 1) reaches.

    From the last state of positive probability on they are 1, which u never reaches whatever the sums round to.
    """
    remaining = np.flip(np.cumsum(np.flip(laws, -1), -1), -1)[..., 1:]
    sums = np.cumsum(laws, axis=-1)[..., :-1]
    return np.where(remaining > 0, sums, 1.0)
