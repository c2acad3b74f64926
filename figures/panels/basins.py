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
    ("learned", False): "learned, $w_1 > 0$",
    ("learned", True): "learned, $w_1 < 0$",
    ("collapsed", False): "collapsed",
    ("undecided", False): "undecided",
}


def draw_basins(ax: Axes, basin_map: BasinMap) -> Axes:
    """Fates of a `BasinMap`: a lattice cell by cell, random starts as dots; learned ones by the sign of w1."""
    from analysis.fates.basins import FATES

    colours = np.empty((basin_map.fate.size, 3))
    negative = basin_map.final.online < 0
    for code, fate in enumerate(FATES):
        for below in (False, True):
            colours[(basin_map.fate == code) & (negative == below)] = fate_tint(fate, below)
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
    keep_equal(ax)
    ax.set_xlabel(f"{basin_map.plane[0]} {WEIGHTS[basin_map.plane[0]]} at the start")
    ax.set_ylabel(f"{basin_map.plane[1]} {WEIGHTS[basin_map.plane[1]]}")
    return ax


def r6_decides(basin_map: BasinMap) -> bool:
    """Whether R6 says which starts collapse: the full flow without weight decay, λs and λd positive."""
    system = basin_map.system
    positive = bool(system.lambda_s[0] > 0 and system.lambda_d[0] > 0)
    return basin_map.vector_field.name == "full" and system.weight_decay == 0 and positive


def draw_r6(ax: Axes, basin_map: BasinMap) -> Axes:
    """Dashed boundary of collapse: c = −τp r² where w2 > 0, and c = 0 elsewhere, with c = τo w1² − τp w2² (R6)."""
    u, v = np.meshgrid(*(np.linspace(*bounds, _FINE) for bounds in basin_map.ranges))
    place = dict(zip(basin_map.plane, (u, v), strict=True))
    w1, w2 = (place.get(name, np.full_like(u, basin_map.at)) for name in ("online", "predictor"))
    system = basin_map.system
    tau, r = system.tau_predictor, system.ratio[0]
    above = system.tau_online * w1**2 - tau * w2**2 + np.where(w2 > 0, tau * r**2, 0.0)
    if np.min(above) < 0 < np.max(above):
        ax.contour(u, v, above, [0.0], colors=theme().ink, linewidths=1.1, linestyles=[DASHED])
    return ax


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

    there = {
        (str(FATES[code]), bool(below) and FATES[code] == "learned")
        for one in maps
        for code, below in np.unique(np.stack([one.fate, one.final.online < 0]), axis=1).T
    }
    return [
        Patch(facecolor=tuple(fate_tint(*kind)), label=label, linewidth=0)
        for kind, label in _KINDS.items()
        if kind in there
    ]
