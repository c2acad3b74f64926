"""Panels of the fates of a sweep: shares over one axis, and maps over two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures.panels.palette import diverging, mixed
from figures.style import DASHED, size, theme

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

    from analysis.sweeps.fates import SweptFates

_SHARE = 0.65  # of a fate's colour on the paper
_Z = 1.959963984540054  # standard deviations of 95 %


def cell_edges(values: np.ndarray, *, logarithmic: bool = False) -> np.ndarray:
    """Edges of cells around values in ascending order, half way between them, shape (n + 1,).

    >>> cell_edges(np.array([0.0, 1.0, 3.0])).tolist()
    [-0.5, 0.5, 2.0, 4.0]
    """
    places = np.log(values) if logarithmic else values
    if len(places) == 1:
        width = 1.0 if logarithmic or places[0] == 0 else abs(places[0])
        edges = places[0] + width * np.array([-0.5, 0.5])
    else:
        middle = (places[1:] + places[:-1]) / 2
        edges = np.concatenate([[2 * places[0] - middle[0]], middle, [2 * places[-1] - middle[-1]]])
    return np.exp(edges) if logarithmic else edges


def draw_shares(ax: Axes, found: SweptFates) -> Axes:
    """Share of each fate over the one axis; of runs, with Wilson's 95 % interval where cells hold several."""
    ((name, x),) = found.axes.items()
    order = np.argsort(x)
    for fate, share in found.shares.items():
        if not np.any(share > 0):
            continue
        colour, n = theme().fates[fate], found.samples
        ax.plot(x[order], share[order], color=colour, marker="o", markersize=2.5 * size().text, linewidth=1.4)
        if n > 1 and found.counted == "runs":
            centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
            half = _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
            ax.fill_between(
                x[order],
                (centre - half)[order],
                (centre + half)[order],
                color=colour,
                alpha=0.2,
                linewidth=0,
            )
    for place in boundary_places(found):
        ax.axvline(place, color=theme().ink, linewidth=1.1, linestyle=DASHED)
    if found.logarithmic[name]:
        ax.set_xscale("log")
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlabel(found.meanings[name])
    ax.set_ylabel(f"share of {found.counted}")
    return ax


def boundary_places(found: SweptFates) -> list[float]:
    """Where the margin of a sweep of one axis changes sign, between its values by a straight line."""
    if found.margin is None or found.margin.ndim != 1:
        return []
    (x,) = found.axes.values()
    order = np.argsort(x)
    x, margin = x[order], found.margin[order]
    at = np.flatnonzero((margin[1:] > 0) != (margin[:-1] > 0))
    return [float(x[k] - margin[k] * (x[k + 1] - x[k]) / (margin[k + 1] - margin[k])) for k in at]


def draw_share_map(ax: Axes, found: SweptFates, panel: int | None = None) -> QuadMesh:
    """Share learned over the last two axes, from the colour of collapse to that of learning; undecided cells apart.

    Parameters
    ----------
    ax
        Gets the limits of the map.
    found
        A sweep of two axes, or of three.
    panel
        Index on the first of three axes.
    """
    (x_name, x), (y_name, y) = list(found.axes.items())[-2:]
    rows, columns = np.argsort(y), np.argsort(x)

    def shown(values: np.ndarray) -> np.ndarray:
        plane = values if panel is None else values[panel]
        return plane.T[np.ix_(rows, columns)]

    edges = [
        cell_edges(np.sort(values), logarithmic=found.logarithmic[name])
        for name, values in ((x_name, x), (y_name, y))
    ]
    undecided = shown(found.shares["undecided"]) > 0.5
    fates = theme().fates
    ends = (mixed(fates["collapsed"], _SHARE), mixed(fates["learned"], _SHARE))
    ground = diverging(*ends).with_extremes(bad=mixed(fates["undecided"], _SHARE))
    mesh = ax.pcolormesh(
        *edges,
        np.ma.masked_array(shown(found.shares["learned"]), undecided),
        cmap=ground,
        vmin=0,
        vmax=1,
        rasterized=True,
    )
    if found.margin is not None:
        above = shown(found.margin)
        if min(above.shape) > 1 and np.min(above) < 0 < np.max(above):
            ax.contour(
                np.sort(x),
                np.sort(y),
                above,
                [0.0],
                colors=theme().ink,
                linewidths=1.3,
                linestyles=[DASHED],
            )
    for name, set_scale in ((x_name, ax.set_xscale), (y_name, ax.set_yscale)):
        if found.logarithmic[name]:
            set_scale("log")
    # small maps have room for the names in the spec alone
    labels = found.meanings if panel is None else {name: name.replace("_", " ") for name in found.axes}
    ax.set_xlabel(labels[x_name])
    ax.set_ylabel(labels[y_name])
    return mesh


def swept_handles(found: SweptFates) -> list[Artist]:
    """Legend entries of the fates of a sweep of one axis, of undecided cells on a map, and of the boundary."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Artist] = []
    if len(found.axes) == 1:
        handles += [
            Line2D([], [], color=theme().fates[fate], marker="o", markersize=2.5 * size().text, label=fate)
            for fate, share in found.shares.items()
            if np.any(share > 0)
        ]
        lined = bool(boundary_places(found))
    else:
        if np.any(found.shares["undecided"] > 0.5):
            colour = mixed(theme().fates["undecided"], _SHARE)
            handles.append(Patch(facecolor=colour, label="undecided, most runs"))
        lined = found.margin is not None and bool(np.min(found.margin) < 0 < np.max(found.margin))
    if lined:
        label = {"R6": "boundary of collapse (R6)", "R15": r"fold $\eta^*$ (R15)"}[str(found.rule)]
        handles.append(
            Line2D([], [], color=theme().ink, linewidth=1.3, linestyle=DASHED, label=label),
        )
    return handles
