"""Panels of a number whose sign matters, along a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures.style import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_sign(ax: Axes, ts: np.ndarray, values: np.ndarray, *, bad: int) -> Axes:
    """Draw a number over time, shaded where it has the sign `bad`, −1 or 1, with a line at 0.

    >>> from matplotlib.figure import Figure
    >>> ax = draw_sign(Figure().subplots(), np.array([0.0, 1.0]), np.array([1.0, -1.0]), bad=-1)
    >>> len(ax.lines), len(ax.collections)
    (2, 1)
    """
    colour = theme().weights["online"]
    ax.axhline(0, color=theme().faint, linewidth=0.9, zorder=1)
    ax.fill_between(
        ts, values, 0, where=bad * values > 0, interpolate=True, color=colour, alpha=0.25, linewidth=0
    )
    ax.plot(ts, values, color=colour)
    return ax
