"""How much of a latent tree's root reaches its leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.trees.summary import TreeSummary
from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINEAR, BAYES = "any linear function", "any function (Bayes)"
"""Labels of the two ceilings."""


def draw_ceilings(ax: Axes, found: TreeSummary) -> Axes:
    """Both ceilings of the correlation with the root against the depth at which the tree is cut."""
    depths = np.arange(1, found.tree.height + 1)
    if found.bayes is not None:
        values = [one.correlation for one in found.bayes]
        errors = [2 * one.standard_error for one in found.bayes]
        ax.errorbar(depths, values, errors, color=theme().ink, marker="o", markersize=4, label=BAYES)
    if found.linear is not None:
        ax.plot(
            depths,
            found.linear,
            color=theme().muted,
            linestyle=DASHED,
            marker="s",
            markersize=4,
            label=LINEAR,
        )
    ax.set(xlabel="depth of the leaves", ylabel="best correlation with the root", ylim=(0, 1.02))
    _whole(ax, depths)
    return ax


def draw_layer_trace(ax: Axes, trace: np.ndarray) -> Axes:
    """The root's signal in each layer, against depth."""
    depths = np.arange(len(trace))
    ax.plot(depths, trace, color=theme().ink, marker="o", markersize=4)
    ax.set(xlabel="depth of the layer", ylabel=r"trace of $V_{z_0}[E[f \mid z_0]]$")
    if np.all(trace > 0):
        ax.set_yscale("log")
    _whole(ax, depths)
    return ax


def _whole(ax: Axes, depths: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlim(depths[0] - 0.3, depths[-1] + 0.3)
