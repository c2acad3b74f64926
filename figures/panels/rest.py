"""Where one mode can rest: fixed points and lines of them, in the plane of w1 and w2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.fixed_points.one_mode import FixedPoints
from analysis.phase_planes.portraits import RestLine, rest_lines
from figures.panels.stability import draw_fixed_points, stroke

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARGIN = 1.4  # of the window about fixed points


def _window(found: FixedPoints) -> np.ndarray:
    """As far as the outermost point and a half."""
    points = [[point.online, point.predictor] for point in found.points]
    breaks = [end for line in found.lines for part in line.segments for end in part[:2] if np.isfinite(end)]
    on_lines = [line.at(1.0)[1] for line in found.lines if line.name == "learned"]
    extent = _MARGIN * max(np.abs([*np.ravel(points), *breaks, *on_lines]).max(initial=0.0), 0.5)
    return np.array([[-extent, extent]] * 2)


def rest_parts(found: FixedPoints) -> list[RestLine]:
    """Parts of the lines of fixed points, each of one stability, as far as they are drawn."""
    window = _window(found)
    return [part for line in found.lines for part in rest_lines(line, window, lambda state: state[:2])]


def draw_rest(ax: Axes, found: FixedPoints) -> Axes:
    """Fixed points and lines of them by their stability; the axes reach as far as the outermost point and a half."""
    points = np.array([[point.online, point.predictor] for point in found.points]).reshape(-1, 2)
    for part in rest_parts(found):
        if len(part.points) > 1:
            ax.plot(*part.points.T, **stroke(part.stability), zorder=3)
        else:
            draw_fixed_points(ax, part.points, [part.stability])
    draw_fixed_points(ax, points, [point.stability for point in found.points])
    window = _window(found)
    ax.set(xlim=window[0], ylim=window[1], xlabel="online $w_1$", ylabel="predictor $w_2$")
    return ax
