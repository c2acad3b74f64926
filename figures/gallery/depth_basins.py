"""Page `depth-basins`: which starts of a first layer and a predictor learn, as more layers stand above it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.depth.basins import DeepBasinMap, deep_basins
from analysis.fates.fate import Fate
from dynamics.fields.deep import DeepSystem, deep_field
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import panels
from figures.panels.basins import basin_handles, draw_basins, draw_rule
from figures.style import DASHED, style, theme


@dataclass(frozen=True, eq=False)
class DepthBasinsPage:
    """Basins of one mode of encoders of 1, 2 and 3 layers.

    Parameters
    ----------
    parameters
        As given.
    maps
        Fates over the first layer and the predictor, one map per depth.
    """

    parameters: dict[str, Any]
    maps: tuple[DeepBasinMap, ...]


def compute_depth_basins(
    *, ratio: float = 0.5, second: float = 0.6, third: float = 0.3, resolution: int = 120
) -> DepthBasinsPage:
    """Follow every start of a lattice, for encoders of 1, 2 and 3 layers.

    Parameters
    ----------
    ratio
        r > 0, λs = 1.
    second, third
        The second layer, and the third one.
    resolution
        Cells a side, >= 1.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> page = compute_depth_basins(resolution=8)
    >>> [int(one.mismatches.sum()) for one in page.maps]
    [0, 0, 0]
    """
    parameters = {**locals()}
    if not (math.isfinite(ratio) and ratio > 0):
        raise ValueError(f"`ratio` must be finite and > 0, got {ratio}")
    for name, value in (("second", second), ("third", third)):
        if not math.isfinite(value):
            raise ValueError(f"`{name}` must be finite, got {value}")
    if resolution < 1:
        raise ValueError(f"`resolution` must be >= 1, got {resolution}")
    layers = (1.0, second, third)  # the first one is in the plane
    maps = [
        deep_basins(
            DeepSystem(1.0, ratio, depth=depth),
            deep_field,
            plane=("layer1", "predictor"),
            layers=layers[:depth],
            grid=resolution,
        )
        for depth in (1, 2, 3)
    ]
    return DepthBasinsPage(parameters, tuple(maps))


def figure_depth_basins(found: DepthBasinsPage) -> Figure:
    """A map per depth, with the boundary of R320."""
    with style():
        figure, axes = panels("Further layers can only take starts away", 3, columns=3, aspect=0.9)
        for ax, one in zip(axes, found.maps, strict=True):
            draw_rule(draw_basins(ax, one), one)
            lost = one.fractions[Fate.COLLAPSED].value
            others = ", ".join(f"$w_{k + 1}$ = {w:g}" for k, w in enumerate(one.layers) if k > 0)
            ax.set_title(f"L = {one.depth}" + (f", {others}" if others else "") + f"\n{lost:.0%} collapse")
        handles = basin_handles(found.maps)
        label = "theory (R320)"
        handles.append(Line2D([], [], color=theme().ink, linestyle=DASHED, linewidth=1.1, label=label))
        legend_below(figure, handles)
        return figure


def caption_depth_basins(found: DepthBasinsPage) -> str:
    """Say what is drawn."""
    wrong = sum(int(np.sum(one.mismatches)) for one in found.maps)
    total = sum(one.fate.size for one in found.maps)
    return (
        f"Fates of one mode of a deep linear encoder with λs = 1, all τ = 1 and η = 0; {described(found.parameters)}. "
        "Every cell is a start with the first layer and the predictor at its centre, targets equal to the layers, "
        "followed to its end. Dashes are the boundary of R320, c_min = −τp r² where v > 0 and c_min = 0 elsewhere, "
        f"from which {wrong} of {total} starts depart. A further layer whose c_l is less than that of the others "
        "lowers c_min, so that the set of starts that learn shrinks with depth."
    )


DEPTH_BASINS = Page(
    "depth-basins",
    "Deep encoders: which starts learn, with one, two and three layers",
    compute_depth_basins,
    figure_depth_basins,
    caption_depth_basins,
)
"""Basins by depth."""
