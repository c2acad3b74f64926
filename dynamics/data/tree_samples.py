"""The leaves of a latent tree as a data set, two views of which have the root in common."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dynamics.data.latent_trees import LatentTree
from dynamics.data.samples import Dataset

MOST_SAMPLES = 10**7
"""Most samples that a source draws."""
MOST_LEAVES = 4096
"""Most leaves of a tree that is a data set: moments have as many rows."""
_DEFAULTS = {"branching": "2", "height": "5", "polarity": "0.8", "n": "1000", "seed": "0"}
_RANGE = ("low", "high")


def load_tree(spec: str) -> Dataset:
    """Draw the leaves of a complete tree of symmetric binary variables.

    Parameters
    ----------
    spec
        ``name=number`` pairs, separated by colons, in any order: branching (2); height, edges from the root to a leaf
        (5); polarity, ρ of every edge (0.8), or low and high, between which ρ of each edge is drawn; n, number of
        samples (1000); seed (0). What is left out has the value in brackets.

    Returns
    -------
    Dataset
        States 0 and 1 of the leaves (n, leaves); a label is the state of the root. A view keeps the root and draws all
        else anew, so that moments are exact and no augmentation is needed.

    Raises
    ------
    ValueError
        A name is unknown or given twice, or a number is out of range.

    Examples
    --------
    >>> load_tree("height=3:n=50").images.shape
    (50, 8)
    """
    settings = _settings(spec)
    tree = tree_of(spec)
    n = _whole("n", settings["n"], 2, MOST_SAMPLES)
    rng = np.random.default_rng(
        [_whole("seed", settings["seed"], 0, MOST_SAMPLES), 1]
    )  # apart from polarities
    states = tree.sample(rng, n)
    kind = f"{len(tree.leaves)} leaves of a latent tree"
    return Dataset(states[:, tree.leaves], states[:, tree.root].astype(np.int64), kind, tree)


@lru_cache(maxsize=4)
def tree_of(spec: str) -> LatentTree:
    """Build the tree of a spec of `load_tree`; raises as it does.

    >>> tree_of("height=3").n_nodes
    15
    """
    settings = _settings(spec)
    branching = _whole("branching", settings["branching"], 1, MOST_LEAVES)
    height = _whole("height", settings["height"], 1, MOST_LEAVES)
    if height * np.log(branching) > np.log(MOST_LEAVES) + 1e-9:
        raise ValueError(
            f"height of tree must leave at most {MOST_LEAVES} leaves, got {height} with branching {branching}"
        )
    if "low" not in settings:
        return LatentTree.binary(branching, height, _polarity("polarity", settings["polarity"]))
    low, high = (_polarity(name, settings[name]) for name in _RANGE)
    if low > high:
        raise ValueError(f"low of tree must be at most high, got {low:g} and {high:g}")
    return LatentTree.drawn(branching, height, low, high, _whole("seed", settings["seed"], 0, MOST_SAMPLES))


def _settings(spec: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for part in spec.split(":") if spec else []:
        name, equals, text = part.partition("=")
        if name not in (*_DEFAULTS, *_RANGE) or name in given or not equals:
            form = ":".join(f"{key}={value}" for key, value in _DEFAULTS.items())
            raise ValueError(
                f"tree must be given as {form}, or with low= and high= for polarity=, each once and in any order,"
                f" got {part!r}"
            )
        given[name] = text
    in_range = [name for name in _RANGE if name in given]
    if in_range and (len(in_range) < 2 or "polarity" in given):
        raise ValueError(
            f"low and high of tree must go together and without polarity, got {', '.join(sorted(given))}"
        )
    return _DEFAULTS | given


def _whole(name: str, text: str, least: int, most: int) -> int:
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not least <= value <= most:
        raise ValueError(f"{name} of tree must be an integer from {least} to {most}, got {text!r}")
    return value


def _polarity(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not abs(value) <= 1:
        raise ValueError(f"{name} of tree must be a number in [-1, 1], got {text!r}")
    return value
