"""Pages `tree-ceilings` and `layer-traces`: what the leaves of a latent tree tell of its root, and where it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.trees.ceilings import bayes_ceiling, linear_ceiling, linear_ceiling_limit
from analysis.trees.moments import kesten_stigum, layer_traces
from dynamics.data.latent_trees import LatentTree
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import panels
from figures.panels.palette import shades
from figures.style import DASHED, style, theme


@dataclass(frozen=True, eq=False)
class TreeCeilings:
    """Ceilings of complete trees of one polarity.

    Parameters
    ----------
    parameters
        As given.
    polarities
        ρ, shape (n,).
    heights
        H, shape (k,).
    linear, bayes
        Best correlation of a linear function, and of any function, of the leaves with the root, shape (k, n).
    limit
        The linear ceiling of an infinitely high tree, shape (n,).
    threshold
        ρ at which bρ² = 1.
    """

    parameters: dict[str, Any]
    polarities: np.ndarray
    heights: np.ndarray
    linear: np.ndarray
    bayes: np.ndarray
    limit: np.ndarray
    threshold: float


def compute_tree_ceilings(
    *, branching: int = 2, heights: tuple[int, ...] = (1, 2, 3, 5), points: int = 41
) -> TreeCeilings:
    """Work out the linear and the Bayes ceiling for every polarity and several heights.

    Parameters
    ----------
    branching
        b, children per node, an integer >= 1.
    heights
        H, edges from the root to a leaf, different integers >= 1.
    points
        Polarities from 0 to 1, >= 2.

    Raises
    ------
    ValueError
        A parameter is out of range, or the posterior of a tree takes too many values to list.

    Examples
    --------
    >>> compute_tree_ceilings(heights=(1,), points=3).bayes.round(4)
    array([[0.    , 0.6325, 1.    ]])
    """
    parameters = dict(locals())
    if points < 2:
        raise ValueError(f"`points` must be an integer >= 2, got {points}")
    if len(heights) == 0 or len(set(heights)) < len(heights):
        raise ValueError(f"`heights` must be different integers >= 1, got {heights}")
    rho = np.linspace(0, 1, points)
    trees = [[LatentTree.binary(branching, _height(height), float(one)) for one in rho] for height in heights]
    return TreeCeilings(
        parameters,
        rho,
        np.array(heights),
        np.array([[linear_ceiling(tree) for tree in row] for row in trees]),
        np.array([[bayes_ceiling(tree, "law").correlation for tree in row] for row in trees]),
        np.array([linear_ceiling_limit(branching, float(one)) for one in rho]),
        float(branching**-0.5),
    )


def _height(height: Any) -> int:
    if height != int(height) or height < 1:
        raise ValueError(f"`heights` must be different integers >= 1, got {height}")
    return int(height)


def draw_tree_ceilings(result: TreeCeilings) -> Figure:
    """Both ceilings against polarity, one colour per height, and what any function gains over linear ones."""
    with style():
        figure, (ax, gain) = panels("What the leaves of a latent tree tell of its root", 2, columns=2)
        for height, linear, bayes, colour in zip(
            result.heights, result.linear, result.bayes, shades(len(result.heights)), strict=True
        ):
            ax.plot(result.polarities, bayes, color=colour, label=f"$H = {height}$")
            ax.plot(result.polarities, linear, color=colour, linestyle=DASHED)
            gain.plot(result.polarities, bayes - linear, color=colour)
        ax.plot(
            result.polarities, result.limit, color=theme().muted, linestyle=":", label=r"linear, $H = \infty$"
        )
        ax.set(xlim=(0, 1), ylim=(0, 1), xlabel=r"polarity $\rho$", ylabel="best correlation with the root")
        gain.set(xlim=(0, 1), xlabel=r"polarity $\rho$", ylabel="Bayes less linear", ylim=(0, None))
        _threshold(ax, result.threshold, label=r"$b\rho^2 = 1$")
        _threshold(gain, result.threshold)
        legend_below(figure, ax.get_legend_handles_labels()[0])
    return figure


def _threshold(ax: Axes, at: float, label: str | None = None) -> None:
    ax.axvline(at, color=theme().muted, linewidth=0.8, label=label)


def _caption_ceilings(result: TreeCeilings) -> str:
    gain = float(np.max(result.bayes - result.linear))
    return (
        "Best correlation with the root of a function of the leaves of complete trees of symmetric binary variables,"
        f" {described(result.parameters)}. Left: of any function, the Bayes ceiling (R205), solid, and of linear ones"
        " (R204), dashed, dotted for infinitely high trees, which is zero up to the Kesten–Stigum bound bρ² = 1, the"
        f" vertical line. Right: what any function gains over linear ones, {gain:.2g} at most."
    )


TREE_CEILINGS = Page(
    "tree-ceilings",
    "Linear and Bayes ceilings of latent trees (R204, R205)",
    compute_tree_ceilings,
    draw_tree_ceilings,
    _caption_ceilings,
)


@dataclass(frozen=True, eq=False)
class LayerTraces:
    """The root's signal in each layer of complete trees.

    Parameters
    ----------
    parameters
        As given.
    traces
        Traces by depth, shape (polarities, height + 1).
    numbers
        bρ², shape (polarities,).
    """

    parameters: dict[str, Any]
    traces: np.ndarray
    numbers: np.ndarray


def compute_layer_traces(
    *,
    branching: int = 2,
    height: int = 10,
    polarities: tuple[float, ...] = (0.6, 0.7, 0.75, 0.85, 0.95),
    root_polarity: float = 0.0,
) -> LayerTraces:
    """Work out the trace of each layer's covariance over the root, for states 0 and 1 of the latents.

    Parameters
    ----------
    branching, height
        b and H, integers >= 1.
    polarities
        ρ of each tree, different numbers within -1 and 1, not 0.
    root_polarity
        ρ_0, within -1 and 1.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> compute_layer_traces(height=2, polarities=(0.5,)).traces
    array([[0.25  , 0.125 , 0.0625]])
    """
    parameters = dict(locals())
    rho = np.array(polarities, dtype=np.float64)
    if rho.ndim != 1 or rho.size == 0 or not np.all((np.abs(rho) <= 1) & (rho != 0)):
        raise ValueError(f"`polarities` must be numbers in [-1, 1] other than 0, got {polarities}")
    if not abs(root_polarity) < 1:
        raise ValueError(f"`root_polarity` must be within -1 and 1, got {root_polarity}")
    trees = [LatentTree.binary(branching, height, float(one), root_polarity) for one in rho]
    traces = np.array([layer_traces(tree) for tree in trees])
    return LayerTraces(parameters, traces, kesten_stigum(branching, rho))


def draw_layer_traces(result: LayerTraces) -> Figure:
    """Traces by depth, one line per polarity: they rise where bρ² > 1 and fall where it is less."""
    with style():
        figure, (ax, share) = panels("How much of the root reaches each layer", 2, columns=2)
        depths = np.arange(result.traces.shape[1])
        latents = float(result.parameters["branching"]) ** depths
        for trace, number, colour, rho in zip(
            result.traces,
            result.numbers,
            shades(len(result.numbers)),
            result.parameters["polarities"],
            strict=True,
        ):
            label = rf"$\rho = {rho:g}$, $b\rho^2 = {number:.3g}$"
            ax.plot(depths, trace, color=colour, marker="o", markersize=3, label=label)
            share.plot(depths, trace / latents, color=colour, marker="o", markersize=3)
        ax.set_ylabel("trace of the layer")
        share.set_ylabel("per latent")
        for one in (ax, share):
            one.set_yscale("log")
            one.set_xlabel("depth of the layer")
        legend_below(figure, ax.get_legend_handles_labels()[0])
    return figure


def _caption_traces(result: LayerTraces) -> str:
    grow = int(np.count_nonzero(result.numbers > 1))
    return (
        "Trace of the covariance, over the root, of the means of a layer's latents given the root (R203), in complete"
        f" trees of symmetric binary variables, {described(result.parameters)}. Left: the whole layer, (1 − ρ_0²)/4"
        f" times bρ² for each level: it grows towards the leaves for {grow} of {len(result.numbers)} polarities, those"
        " above the Kesten–Stigum bound bρ² = 1. Right: per latent, where it falls by ρ² for each level."
    )


LAYER_TRACES = Page(
    "layer-traces",
    "The root's signal in each layer of a latent tree (R203)",
    compute_layer_traces,
    draw_layer_traces,
    _caption_traces,
)
