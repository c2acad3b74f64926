"""Panel of a basin map: what became of every start."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from figures.panels.scales import keep_equal
from figures.style import DASHED, WEIGHTS, size, theme

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from analysis.fates.basins import BasinMap

_STRENGTH = {"learned": 0.62, "collapsed": 0.5, "undecided": 1.0}  # of a fate's colour on the paper
_FINE = 400  # points a side, between which a curve of theory is straight
_OTHER_SIGN = 0.4  # of that strength, where the online weight ends negative
_KINDS = {
    ("learned", False): "learned, ${} > 0$",
    ("learned", True): "learned, ${} < 0$",
    ("collapsed", False): "collapsed",
    ("undecided", False): "undecided",
}


def draw_basins(ax: Axes, basin_map: BasinMap) -> Axes:
    """Fates of a `BasinMap`: a lattice cell by cell, random starts as dots; learned ones by the sign of the encoder."""
    from analysis.fates.basins import FATES

    colours = np.empty((basin_map.fate.size, 3))
    negative = basin_map.encoder_end < 0
    for code, fate in enumerate(FATES):
        for below in (False, True):
            colours[(basin_map.fate == code) & (negative == below)] = fate_tint(fate, below)
    if basin_map.shape is None:
        ax.scatter(*basin_map.places, c=colours, s=3.0 * size().text, linewidths=0, zorder=0.5)
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
    keep_equal(ax)
    first, second = (_name(axis, basin_map) for axis in basin_map.plane)
    ax.set_xlabel(f"{first} at the start")
    ax.set_ylabel(second)
    return ax


def draw_rule(ax: Axes, basin_map: BasinMap) -> Axes:
    """Dashed boundary of collapse where a result gives one: R6, and R320 of deep encoders."""
    if basin_map.rule is None:
        return ax
    u, v = np.meshgrid(*(np.linspace(*bounds, _FINE) for bounds in basin_map.ranges))
    above = basin_map.learned_above(u, v)
    if np.min(above) < 0 < np.max(above):
        ax.contour(u, v, above, [0.0], colors=theme().ink, linewidths=1.1, linestyles=[DASHED])
    return ax


def _is_deep(basin_map: BasinMap) -> bool:
    from analysis.depth.basins import DeepBasinMap

    return isinstance(basin_map, DeepBasinMap)


def _name(axis: str, basin_map: BasinMap) -> str:
    """Coordinate with its symbol."""
    if not _is_deep(basin_map):
        return f"{axis} {WEIGHTS[axis]}"
    if axis.removeprefix("layer").isdigit():
        return f"layer $w_{{{axis.removeprefix('layer')}}}$"
    symbols = {"layers": "$w_1 = \\ldots = w_L$", "predictor": "$v$", "targets": "$\\theta_l$"}
    return f"{axis} {symbols[axis]}"


def fate_tint(fate: str, below: bool) -> np.ndarray:
    """Colour of a fate on the paper, paler where w1 was learned with a negative sign.

    >>> fate_tint("undecided", False).round(2)
    array([0.75, 0.53, 0.  ])
    """
    from matplotlib.colors import to_rgb

    strength = _STRENGTH[fate] * (_OTHER_SIGN if fate == "learned" and below else 1.0)
    return strength * np.array(to_rgb(theme().fates[fate])) + (1 - strength) * np.array(to_rgb(theme().paper))


def basin_handles(maps: Iterable[BasinMap]) -> list[Artist]:
    """Legend entries of the fates that are there."""
    from matplotlib.patches import Patch

    from analysis.fates.basins import FATES

    maps = list(maps)
    encoder = "\\omega" if any(_is_deep(one) for one in maps) else "w_1"
    there = {
        (str(FATES[code]), bool(below) and FATES[code] == "learned")
        for one in maps
        for code, below in np.unique(np.stack([one.fate, one.encoder_end < 0]), axis=1).T
    }
    return [
        Patch(facecolor=tuple(fate_tint(*kind)), label=label.format(encoder), linewidth=0)
        for kind, label in _KINDS.items()
        if kind in there
    ]
