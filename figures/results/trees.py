"""What a latent tree lets a network learn, as a page."""

from __future__ import annotations

from matplotlib.figure import Figure

from analysis.trees.summary import TreeSummary
from figures.layout.legends import legend_below
from figures.layout.sheets import panels
from figures.panels.trees import draw_ceilings, draw_layer_trace
from figures.style import style


def figure_tree(found: TreeSummary) -> Figure:
    """Draw the ceilings of the correlation with the root against depth, and the root's signal in each layer.

    Examples
    --------
    >>> from analysis.trees.summary import summary
    >>> from dynamics.data.latent_trees import LatentTree
    >>> figure_tree(summary(LatentTree.binary(2, 2, 0.5))).get_suptitle()
    'A latent tree of 7 nodes'
    """
    with style():
        known = found.layer_trace is not None
        figure, axes = panels(f"A latent tree of {found.tree.n_nodes} nodes", 1 + known, columns=1 + known)
        draw_ceilings(axes[0], found)
        if found.layer_trace is not None:
            draw_layer_trace(axes[1], found.layer_trace)
        legend_below(figure, axes[0].get_legend_handles_labels()[0])
        return figure
