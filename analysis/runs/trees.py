"""Networks on latent trees drawn at random, each on a tree of its own, beside what its tree allows (R205, R212)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from analysis.trees.ceilings import bayes_ceiling
from dynamics.data.latent_trees import LatentTree

if TYPE_CHECKING:
    from dynamics.training.tree_networks import TreeNetworkSettings
    from dynamics.training.tree_training import TreeNetworkRun

LEAST = 1e-6
"""Norms of covariance operators below this are counted as this: units that are off have none."""


@dataclass(frozen=True, eq=False)
class TreeRuns:
    """Trained networks and their trees.

    Parameters
    ----------
    trees
        One per run.
    run
        What was measured.
    ceilings
        Bayes ceiling of the correlation with the root of each tree, shape (n_runs,).
    """

    trees: tuple[LatentTree, ...]
    run: TreeNetworkRun
    ceilings: np.ndarray

    @property
    def correlations(self) -> np.ndarray:
        """Correlation of the root with its best unit, shape (n_runs, n_records)."""
        return self.run.levels[0].correlation[:, :, 0]

    @property
    def fractions(self) -> np.ndarray:
        """The same over the ceiling of the same tree."""
        return self.correlations / self.ceilings[:, None]

    def logarithms(self, level: int, *, normalised: bool = False) -> np.ndarray:
        """log10 of ‖OP‖, averaged over the latents of a level, shape (n_runs, n_records).

        `normalised` takes J of the normalised output, else J is that of the output before its normaliser.
        """
        record = self.run.levels[level]
        norms = record.normalised_covariance_norm if normalised else record.covariance_norm
        return np.asarray(np.log10(np.maximum(norms.mean(axis=2), LEAST)))


@lru_cache(maxsize=16)
def drawn_trees(n_seeds: int, height: int, low: float, *, seed: int = 0) -> tuple[LatentTree, ...]:
    """Draw complete binary trees with polarities uniform on [low, 1]; equal seeds differ in `low` alone.

    >>> len(drawn_trees(3, 2, 0.7))
    3
    """
    if n_seeds < 1:
        raise ValueError(f"`n_seeds` must be >= 1, got {n_seeds}")
    return tuple(LatentTree.drawn(2, height, low, 1.0, seed=seed + k) for k in range(n_seeds))


def trained_on_trees(
    settings: TreeNetworkSettings,
    trees: Sequence[LatentTree],
    records: Sequence[int],
    *,
    seed: int = 0,
) -> TreeRuns:
    """Draw a network for each tree, train them, and find the ceilings of their trees.

    Parameters
    ----------
    settings
        Units, loss and steps.
    trees
        Complete binary trees of one shape.
    records
        Numbers of steps at which is measured.
    seed
        The first seed of the weights, and that of the batches.

    Notes
    -----
    Source: DD G.2; R212.

    Examples
    --------
    >>> from dynamics.training.tree_networks import TreeNetworkSettings
    >>> trained_on_trees(TreeNetworkSettings(units=2), drawn_trees(2, 1, 0.8), [0, 2]).fractions.shape
    (2, 2)
    """
    from dynamics.training.tree_networks import draw_tree_network
    from dynamics.training.tree_training import complete_shape, train_tree_networks

    branching, height = complete_shape(trees[0])
    starts = [draw_tree_network(branching, height, settings, seed=seed + k) for k in range(len(trees))]
    run = train_tree_networks(settings, trees, starts, records, seed=seed)
    return TreeRuns(tuple(trees), run, np.array([_ceiling(tree) for tree in trees]))


@lru_cache(maxsize=1024)
def _ceiling(tree: LatentTree) -> float:
    """Bayes ceiling of the root, found once for all networks on a tree."""
    return bayes_ceiling(tree).correlation
