"""Panel of the whole phase space (w1, w2, θ) of one mode."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from figures.panels.stability import stroke
from figures.style import WEIGHTS, size, theme

if TYPE_CHECKING:
    from mpl_toolkits.mplot3d import Axes3D

    from dynamics.states import ModeState


def draw_leaf_surface(ax: Axes3D, leaf: ModeState, colour: str) -> Axes3D:
    """Sheet of a leaf as a surface that lets through what lies behind, from weights of shape (n, m)."""
    ax.plot_surface(*leaf, color=colour, alpha=0.2, linewidth=0, shade=False, rstride=1, cstride=1)
    return ax


def draw_orbits(ax: Axes3D, orbits: ModeState, fates: Iterable[str]) -> Axes3D:
    """Trajectories, weights of shape (T, n), in the colours of their fates, with dots where they start."""
    width = 0.9 * size().text
    for k, fate in enumerate(fates):
        path = [np.asarray(part)[:, k] for part in orbits]
        colour = theme().fates[fate]
        ax.plot(*path, color=colour, linewidth=width)
        ax.plot(*(part[:1] for part in path), "o", color=colour, markersize=1.8 * size().text)
    return ax


def draw_rest_line(ax: Axes3D, points: np.ndarray, stability: str) -> Axes3D:
    """Line of fixed points, shape (k, 3), in the stroke of its stability."""
    ax.plot(*points.T, **stroke(stability))
    return ax


def frame(ax: Axes3D, extent: float, elevation: float, azimuth: float) -> Axes3D:
    """Cube |w1|, |w2|, |θ| <= extent, seen from a direction in degrees, without walls."""
    crowding = 4 * (size().text - 1)  # larger labels keep their distance from the ticks
    for axis, name in zip((ax.xaxis, ax.yaxis, ax.zaxis), WEIGHTS, strict=True):
        axis.set_pane_color(theme().paper)
        axis._axinfo["grid"].update(color=theme().faint, linewidth=0.4)
        axis.set_label_text(WEIGHTS[name])  # short enough to stand upright beside the ticks
        axis.set_rotate_label(False)
        axis.set_ticks([-extent / 2, 0.0, extent / 2])  # none at the corners, where labels of two axes meet
        axis.labelpad = -5 + 3 * crowding
    ax.tick_params(pad=-3 + crowding)
    ax.tick_params(axis="z", pad=2 * crowding)
    ax.zaxis.labelpad += 3
    ax.set(xlim=(-extent, extent), ylim=(-extent, extent), zlim=(-extent, extent))
    ax.view_init(elevation, azimuth)
    ax.set_box_aspect((1, 1, 0.85), zoom=1.04)
    return ax
