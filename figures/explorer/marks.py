"""How the explorer draws: what its figures wear, and shapes and colours as their sources hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.fates.basins import FATES
from analysis.phase_planes.portraits import Portrait
from figures.explorer.scene import Lattice
from figures.panels.basins import fate_tint
from figures.style import Theme, look

if TYPE_CHECKING:
    from bokeh.plotting import figure as Plot

SYMBOLS = {"online": "w1", "predictor": "w2", "target": "θ"}
"""The weights as text."""


def dress(plot: Plot, theme: Theme) -> None:
    """Give a figure the colours of a theme."""
    plot.background_fill_color = plot.border_fill_color = theme.paper
    plot.outline_line_color = theme.muted
    plot.grid.grid_line_color = None
    plot.min_border_right = 14
    plot.title.text_color = theme.ink
    plot.title.text_font_size = "13px"
    for axis in plot.axis:
        axis.axis_label_text_color = axis.major_label_text_color = theme.ink
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = theme.muted
        axis.axis_label_text_font_style = "normal"
        axis.major_label_text_font_size = axis.axis_label_text_font_size = "12px"


def fit(plot: Plot, x: Any, y: Any, margin: float = 0.05) -> None:
    """Show all finite x and y, with a margin in shares of what is shown."""
    for bounds, values in ((plot.x_range, x), (plot.y_range, y)):
        finite = np.asarray(values)[np.isfinite(values)]
        low, high = float(np.min(finite)), float(np.max(finite))
        room = margin * (high - low) or (0.0 if high > low else max(1.0, abs(low)))
        bounds.start, bounds.end = low - room, high + room


def axis_text(name: str) -> str:
    """What stands on the axis of a weight.

    >>> axis_text("target")
    'target θ'
    """
    return f"{name} {'weight ' if name == 'online' else ''}{SYMBOLS[name]}"


def joined(curves: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Curves of shape (k, 2) as one line with gaps: two columns, however many curves there are.

    Each array of a source is a message of its own to the browser, and hundreds of them a frame take most of its time.

    >>> joined([np.zeros((2, 2)), np.ones((1, 2))])["x"].tolist()
    [0.0, 0.0, nan, 1.0, nan]
    """
    gap = np.full((1, 2), np.nan)
    points = np.concatenate([part for curve in curves for part in (curve, gap)] or [gap])
    return {"x": points[:, 0].copy(), "y": points[:, 1].copy()}


def polylines(curves: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Curves of shape (k, 2) as columns of a source of lines, for those that differ in colour."""
    return {"xs": [curve[:, 0] for curve in curves], "ys": [curve[:, 1] for curve in curves]}


def arrows_of(portrait: Portrait, length: float) -> list[np.ndarray]:
    """Arrows of one length, each a polyline from its tail to its tip and back along both barbs."""
    there = np.isfinite(portrait.du) & np.isfinite(portrait.dv)
    middle = np.column_stack([portrait.u[there], portrait.v[there]])
    along = np.column_stack([portrait.du[there], portrait.dv[there]]) * length / 2
    across = np.column_stack([-along[:, 1], along[:, 0]])
    tail, tip, back = middle - along, middle + along, middle + 0.35 * along
    shapes = np.stack([tail, tip, back + 0.4 * across, tip, back - 0.4 * across], axis=1)
    return list(shapes)


def hex_of(colour: np.ndarray) -> str:
    """Colour of parts from 0 to 1 as the browser writes it.

    >>> hex_of(np.array([1.0, 0.5, 0.0]))
    '#ff8000'
    """
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)


def picture_of(lattice: Lattice, theme: str) -> np.ndarray:
    """Colours of a lattice of fates as four bytes a cell, shape (n, n), uint32.

    >>> start = np.zeros((1, 1))
    >>> cell = Lattice(np.array([[2]]), np.zeros((1, 1), dtype=bool), (start, start, start))
    >>> [int(byte) for byte in picture_of(cell, "light").view(np.uint8).ravel()]
    [192, 134, 0, 255]
    """
    table = np.zeros((len(FATES), 2, 4), dtype=np.uint8)
    with look(theme=theme):
        for code, fate in enumerate(FATES):
            for below in (False, True):
                table[code, int(below)] = [*np.round(255 * fate_tint(str(fate), below)).astype(int), 255]
    return np.ascontiguousarray(table[lattice.fate, lattice.negative.astype(int)]).view(np.uint32)[..., 0]
