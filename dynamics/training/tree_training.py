"""Training of tree-shaped networks on the leaves of latent trees, all of them in one compiled program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dynamics.data.latent_trees import LatentTree
from dynamics.training.tree_networks import (
    LevelRecord,
    TreeNetworkSettings,
    draw_tree_network,
    measure_levels,
    shown_leaves,
    tree_loss,
)


@dataclass(frozen=True, eq=False)
class TreeNetworkRun:
    """Several networks, each trained on a tree of its own.

    Parameters
    ----------
    steps
        Numbers of steps at which was measured, shape (n_records,).
    levels
        One record per level, the root first.
    squared_norms
        ‖W_l‖², shape (n_runs, n_records, L), the layer of the root first.
    increments
        (step size)² Σ ‖∂L/∂W_l‖² up to each record, shape (n_runs, n_records, L): what has been added to ‖W_l‖² where
        outputs are normalised (R210).
    final
        Weights after the last step, layer by layer, shape (n_runs, latents, units, fan-in).
    """

    steps: np.ndarray
    levels: tuple[LevelRecord, ...]
    squared_norms: np.ndarray
    increments: np.ndarray
    final: tuple[np.ndarray, ...]


def train_tree_networks(
    settings: TreeNetworkSettings,
    trees: Sequence[LatentTree],
    starts: Sequence[Sequence[Any]],
    records: Sequence[int],
    *,
    seed: int = 0,
    n_evaluated: int = 2048,
) -> TreeNetworkRun:
    """Train networks by SGD through all branches, in float64, and measure them on leaves of their own.

        z0 of anchor and positive is one draw, that of the negative another; all other latents are drawn for each

    Parameters
    ----------
    settings
        Loss and steps.
    trees
        One per network: complete trees of binary variables, numbered level by level, all of one shape.
    starts
        Weights of each network, as `draw_tree_network` gives them.
    records
        Numbers of steps at which networks are measured, increasing, the first >= 0.
    seed
        Of the batches and of what is measured on; networks see different ones.
    n_evaluated
        Samples that a measurement takes, half of them of either root, an even number >= 4. All records take the same.

    Returns
    -------
    TreeNetworkRun
        Also where weights overflow.

    Raises
    ------
    ValueError
        Numbers or shapes do not fit, or a tree is not as said.

    Notes
    -----
    All networks go through one compiled program. Source: DD G.2; R210–R212.

    Examples
    --------
    >>> tree, settings = LatentTree.binary(2, 2, 0.8), TreeNetworkSettings(units=2)
    >>> run = train_tree_networks(settings, [tree], [draw_tree_network(2, 2, settings)], [0, 3])
    >>> [level.correlation.shape for level in run.levels]
    [(1, 2, 1), (1, 2, 2)]
    """
    steps = np.asarray(records)
    if steps.ndim != 1 or steps.dtype.kind not in "iu" or steps[0] < 0 or np.any(np.diff(steps) <= 0):
        raise ValueError(f"`records` must be increasing whole numbers >= 0, got {list(records)}")
    if n_evaluated < 4 or n_evaluated % 2:
        raise ValueError(f"`n_evaluated` must be even and >= 4, got {n_evaluated}")
    if not trees or len(trees) != len(starts):
        raise ValueError(f"`starts` must be one per tree, got {len(starts)} for {len(trees)} trees")
    branching, height = complete_shape(trees[0])
    if any(complete_shape(tree) != (branching, height) for tree in trees):
        raise ValueError("`trees` must have one shape")
    shapes = [part.shape for part in draw_tree_network(branching, height, settings)]
    for start in starts:
        if [np.shape(part) for part in start] != shapes:
            raise ValueError(f"`starts` must have shapes {shapes}, got {[np.shape(part) for part in start]}")
    with jax.enable_x64(True):
        keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(len(starts)))
        laws = tuple(jnp.asarray(np.stack(part)) for part in zip(*map(_level_laws, trees), strict=True))
        weights = tuple(jnp.asarray(np.stack(part), jnp.float64) for part in zip(*starts, strict=True))
        program = replace(settings, learning_rate=1.0)  # one program for all sizes of a step
        eps = jnp.asarray(settings.learning_rate, jnp.float64)
        added = jnp.zeros((len(starts), height))
        measured, norms, increments = [], [], []
        for first, last in pairwise([0, *steps.tolist()]):
            weights, added = _advanced(program, eps, laws, keys, weights, added, first, last)
            measured.append(
                jax.tree.map(np.asarray, _measured(program, n_evaluated // 2, laws, keys, weights))
            )
            norms.append(
                np.stack([np.sum(np.asarray(part) ** 2, axis=(1, 2, 3)) for part in weights], axis=1)
            )
            increments.append(np.asarray(added))
        levels = tuple(
            LevelRecord(
                *(np.stack(part, axis=1) for part in zip(*(one[level] for one in measured), strict=True))
            )
            for level in range(height)
        )
        final = tuple(np.asarray(part) for part in weights)
    return TreeNetworkRun(steps, levels, np.stack(norms, axis=1), np.stack(increments, axis=1), final)


def complete_shape(tree: LatentTree) -> tuple[int, int]:
    """Children per latent and height of a complete binary-state tree, numbered level by level as a network needs it.

    Raises
    ------
    ValueError
        The tree is not so.

    Examples
    --------
    >>> complete_shape(LatentTree.binary(3, 2, 0.5))
    (3, 2)
    """
    branching = int(np.count_nonzero(np.asarray(tree.parents) == tree.root))
    n = tree.n_nodes
    whole = [branching**level for level in range(tree.height + 1)]
    numbered = np.array_equal(tree.parents, np.append(-1, np.arange(n - 1) // max(branching, 1)))
    if not (tree.is_binary and tree.height >= 1 and sum(whole) == n and numbered):
        raise ValueError("`trees` must be complete trees of binary variables, numbered level by level")
    return branching, tree.height


def _level_laws(tree: LatentTree) -> list[np.ndarray]:
    """P(z = 1) of the root, shape (1,); then of each level P(z = 1 | parent), shape (2, latents)."""
    return [tree.root_law[1:], *(tree.table[level.nodes, :, 1].T for level in tree.levels[1:])]


def _states(laws: Sequence[Any], key: Any, root: Any) -> list[Any]:
    """States of all latents by level, shape (latents, n), given those of the root (n,)."""
    drawn = [root[None]]
    for depth, law in enumerate(laws[1:]):
        parents = jnp.repeat(drawn[-1], law.shape[1] // len(drawn[-1]), axis=0)
        u = jax.random.uniform(jax.random.fold_in(key, depth), parents.shape, jnp.float32)
        drawn.append(u < jnp.where(parents, law[1, :, None], law[0, :, None]))
    return drawn


@partial(jax.jit, static_argnums=0)
def _advanced(
    settings: TreeNetworkSettings,
    eps: Any,
    laws: Any,
    keys: Any,
    weights: Any,
    added: Any,
    first: Any,
    last: Any,
) -> Any:
    gradient = jax.grad(lambda weights, leaves: tree_loss(settings, weights, leaves))

    def one(laws: Any, key: Any, weights: Any, added: Any) -> Any:
        def step(n: Any, state: Any) -> Any:
            weights, added = state
            roots, below = jax.random.split(jax.random.fold_in(key, n))
            drawn = jax.random.uniform(roots, (2, settings.batch)) < laws[0]
            root = jnp.concatenate([drawn[0], drawn[0], drawn[1]])
            by = gradient(weights, shown_leaves(settings, _states(laws, below, root)[-1]))
            weights = tuple(part - eps * slope for part, slope in zip(weights, by, strict=True))
            return weights, added + eps**2 * jnp.stack([jnp.sum(slope**2) for slope in by])

        return jax.lax.fori_loop(first, last, step, (weights, added))

    return jax.vmap(one)(laws, keys, weights, added)


@partial(jax.jit, static_argnums=(0, 1))
def _measured(settings: TreeNetworkSettings, each: int, laws: Any, keys: Any, weights: Any) -> Any:
    """Records of each level, run by run."""

    def one(args: Any) -> Any:
        laws, key, weights = args
        key = jax.random.fold_in(key, 2**31)  # apart from batches
        root = jnp.repeat(jnp.array([False, True]), each)
        states = _states(laws, key, root)
        return measure_levels(settings, weights, states, laws[0][0])

    return jax.lax.map(one, (laws, keys, weights))
