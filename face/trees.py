"""The question that latent trees answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from face.result import Result

if TYPE_CHECKING:
    from dynamics.data.latent_trees import LatentTree


def tree(
    tree: LatentTree | None = None,
    *,
    branching: int | None = None,
    height: int | None = None,
    polarity: Any = None,
    polarity_range: tuple[float, float] | None = None,
    units_per_latent: int = 1,
    seed: int = 0,
) -> Result:
    """What a latent tree lets a network learn of its root: ceilings by depth, layer traces, lucky units.

    Parameters
    ----------
    tree
        A `dynamics.data.latent_trees.LatentTree`; left out, a complete tree of symmetric binary variables.
    branching, height
        Children per node (2), and edges from the root to a leaf (5).
    polarity, polarity_range
        ρ in [−1, 1] of every edge, or one per level or edge (0.8); or two numbers between which each is drawn.
    units_per_latent
        Units that a network has per latent, >= 1.
    seed
        Seed of polarities and samples.

    Returns
    -------
    Result
        Of an `analysis.trees.summary.TreeSummary`: `linear`, `bayes`, `layer_trace` and so on.

    Raises
    ------
    ValueError
        A number is out of range, or a word has no meaning beside another.

    Examples
    --------
    >>> import dyn
    >>> dyn.tree(height=3, polarity=0.85)
    15 nodes, 8 leaves, correlation with the root at most 0.8638, of linear functions 0.8401
    layer traces 0.25 at the root, 0.7543 at depth 3
    one of 1 units is lucky with probability 0.25 or more, 11 are enough for 95%
    """
    from analysis.trees.summary import summary
    from dynamics.data.latent_trees import complete_tree

    words = {"branching": branching, "height": height, "polarity": polarity, "polarity_range": polarity_range}
    given = [name for name, value in words.items() if value is not None]
    if tree is not None and given:
        raise ValueError(f"`{given[0]}` must be left out with `tree`, got {words[given[0]]}")
    made = complete_tree(branching, height, polarity, polarity_range, seed) if tree is None else tree
    return Result(summary(made, units_per_latent, seed=seed))
