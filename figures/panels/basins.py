"""Panel of a basin map: what became of every start."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from figures.style import WEIGHTS, size, theme

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from analysis.basins import BasinMap

_STRENGTH = {"learned": 0.62, "collapsed": 0.5, "undecided": 1.0}  # of a fate's colour on the paper
_OTHER_SIGN = 0.4  # of that strength, where the online weight ends negative
_KINDS = {
    ("learned", False): "learned, $w_1 > 0$",
    ("learned", True): "learned, $w_1 < 0$",
    ("collapsed", False): "collapsed",
    ("undecided", False): "undecided",
}


def draw_basins(ax: Axes, basin_map: BasinMap) -> Axes:
    """Fates of a `BasinMap`: a lattice cell by cell, random starts as dots; learned ones by the sign of w1."""
    from analysis.basins import FATES

    colours = np.empty((basin_map.fate.size, 3))
    negative = basin_map.final.online < 0
    for code, fate in enumerate(FATES):
        for below in (False, True):
            colours[(basin_map.fate == code) & (negative == below)] = _tint(fate, below)
    if basin_map.shape is None:
        u, v = (getattr(basin_map.start, axis) for axis in basin_map.plane)
        ax.scatter(u, v, c=colours, s=3.0 * size().text, linewidths=0, zorder=0.5)
    else:
        ax.imshow(
            colours.reshape(*basin_map.shape, 3),
            origin="lower",
            extent=(*basin_map.ranges[0], *basin_map.ranges[1]),
            interpolation="nearest",
            aspect="auto",
            zorder=0,
        )
    ax.set(xlim=basin_map.ranges[0], ylim=basin_map.ranges[1])
    ax.set_xlabel(f"{basin_map.plane[0]} {WEIGHTS[basin_map.plane[0]]} at the start")
    ax.set_ylabel(f"{basin_map.plane[1]} {WEIGHTS[basin_map.plane[1]]}")
    return ax


def _tint(fate: str, below: bool) -> np.ndarray:
    """Colour of a fate on the paper, paler where w1 was learned with a negative sign."""
    from matplotlib.colors import to_rgb

    strength = _STRENGTH[fate] * (_OTHER_SIGN if fate == "learned" and below else 1.0)
    return strength * np.array(to_rgb(theme().fates[fate])) + (1 - strength) * np.array(to_rgb(theme().paper))


def basin_handles(maps: Iterable[BasinMap]) -> list[Artist]:
    """Legend entries of the fates that are there."""
    from matplotlib.patches import Patch

    from analysis.basins import FATES

    there = {
        (str(FATES[code]), bool(below) and FATES[code] == "learned")
        for one in maps
        for code, below in np.unique(np.stack([one.fate, one.final.online < 0]), axis=1).T
    }
    return [
        Patch(facecolor=tuple(_tint(*kind)), label=label, linewidth=0)
        for kind, label in _KINDS.items()
        if kind in there
    ]
