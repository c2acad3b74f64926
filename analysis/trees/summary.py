"""What a latent tree lets a network learn: ceilings by depth, layer traces and lucky nodes, in one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.trees.ceilings import Ceiling, bayes_ceiling, linear_ceiling
from analysis.trees.lucky_nodes import LUCKY, nodes_needed
from analysis.trees.moments import layer_traces
from dynamics.data.latent_trees import LatentTree, path_polarities

CONFIDENCE = 0.95
"""Confidence with which `nodes_needed` has a lucky node."""
MOST_SAMPLES, LEAST_SAMPLES = 4096, 256
"""Samples behind a ceiling whose law has too many atoms: fewer where the tree is large."""
_NUMBERS = 2**22


@dataclass(frozen=True, eq=False)
class TreeSummary:
    """What a latent tree lets a network learn.

    Parameters
    ----------
    tree
        The tree.
    units_per_latent
        Units that a network has for each latent.
    path_polarity, layer_trace
        ρ_0μ of every node (n,) and the root's signal in each layer (height + 1,); None where a node is not binary.
    linear
        Best correlation of a linear function with the root, where the tree is cut at depth 1, 2, …, height: (height,);
        None where a node is not binary.
    bayes
        The same of any function, one `Ceiling` per depth; None where the root is not binary or takes one state only.
    """

    tree: LatentTree
    units_per_latent: int
    path_polarity: np.ndarray | None
    layer_trace: np.ndarray | None
    linear: np.ndarray | None
    bayes: tuple[Ceiling, ...] | None

    @property
    def lucky(self) -> float:
        """Least probability that one of the units of a latent is lucky, 1 − (3/4)^units (R208)."""
        return 1 - (1 - LUCKY) ** self.units_per_latent

    def report(self) -> dict[str, Any]:
        """Return plain values, as `dyn tree --json` prints them."""
        top = None if self.bayes is None else self.bayes[-1]
        return {
            "nodes": self.tree.n_nodes,
            "leaves": len(self.tree.leaves),
            "height": self.tree.height,
            "path_polarity": None if self.path_polarity is None else self.path_polarity.tolist(),
            "layer_trace": None if self.layer_trace is None else self.layer_trace.tolist(),
            "ceiling": {
                "linear": None if self.linear is None else float(self.linear[-1]),
                "bayes": None if top is None else top.correlation,
                "standard_error": None if top is None else top.standard_error,
                "atoms": None if top is None else top.n_atoms,
                "linear_by_depth": None if self.linear is None else self.linear.tolist(),
                "bayes_by_depth": None if self.bayes is None else [one.correlation for one in self.bayes],
            },
            "lucky": {
                "probability": self.lucky,
                "nodes_needed": nodes_needed(CONFIDENCE),
                "confidence": CONFIDENCE,
                "units_per_latent": self.units_per_latent,
            },
        }


def summary(tree: LatentTree, units_per_latent: int = 1, *, seed: int = 0) -> TreeSummary:
    """Work out ceilings by depth, layer traces and lucky nodes.

    Parameters
    ----------
    tree
        A tree of at least one edge.
    units_per_latent
        Units that a network has for each latent, an integer >= 1.
    seed
        Seed of the samples behind ceilings whose exact law has too many atoms.

    Raises
    ------
    ValueError
        One of these is not so.

    Notes
    -----
    Source: R203–R205, R208.

    Examples
    --------
    >>> found = summary(LatentTree.binary(2, 3, 0.85))
    >>> found.linear.round(4), round(found.lucky, 12)
    (array([0.9159, 0.8688, 0.8401]), 0.25)
    """
    if tree.height < 1:
        raise ValueError("`tree` must have at least one edge, got a root alone")
    if (
        isinstance(units_per_latent, bool)
        or not isinstance(units_per_latent, (int, np.integer))
        or units_per_latent < 1
    ):
        raise ValueError(f"`units_per_latent` must be an integer >= 1, got {units_per_latent}")
    cuts = [tree.cut(depth) for depth in range(1, tree.height + 1)]
    binary, told = tree.is_binary, len(tree.root_law) == 2 and bool(np.all(tree.root_law > 0))
    return TreeSummary(
        tree,
        int(units_per_latent),
        path_polarities(tree) if binary else None,
        layer_traces(tree) if binary else None,
        np.array([linear_ceiling(cut) for cut in cuts]) if binary else None,
        tuple(bayes_ceiling(cut, n_samples=_n_samples(cut), seed=seed) for cut in cuts) if told else None,
    )


def _n_samples(tree: LatentTree) -> int:
    return int(np.clip(_NUMBERS // tree.n_nodes, LEAST_SAMPLES, MOST_SAMPLES))
