"""Panels of modes that leave the origin: weights in turn, how many have been learned, and how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_growth(ax: Axes, ts: np.ndarray, values: np.ndarray, colours: Sequence[str]) -> Axes:
    """Columns of `values`, shape (T, n), over time, each in a colour of its own."""
    for column, colour in zip(values.T, colours, strict=True):
        ax.plot(ts, column, color=colour)
    return ax


def draw_faster_clock(ax: Axes, ts: np.ndarray, values: np.ndarray) -> Axes:
    """Columns of `values`, shape (T, n), over time as thin dashed lines beneath others, for comparison."""
    ax.plot(ts, values, color=theme().muted, linewidth=0.8, linestyle=DASHED, zorder=1.5)
    return ax


def draw_escapes(ax: Axes, times: np.ndarray, heights: np.ndarray, colours: Sequence[str]) -> Axes:
    """Escape times, shape (n,), as dots at their heights with a line down to the time axis."""
    for t, height, colour in zip(times, heights, colours, strict=True):
        ax.vlines(t, 0, height, colors=colour, linewidth=0.7, linestyle=(0, (1, 1.5)), zorder=1.2)
        ax.plot(t, height, "o", color=colour, markersize=4.5, zorder=3)
    return ax


def draw_staircase(ax: Axes, ts: np.ndarray, n_learned: np.ndarray) -> Axes:
    """Number of modes learned, shape (T,), over time."""
    ax.plot(ts, n_learned, color=theme().ink)
    ax.set_yticks(range(0, round(float(n_learned[-1])) + 1, 1 + round(float(n_learned[-1])) // 6))
    return ax


def draw_power_law(
    ax: Axes, starts: np.ndarray, times: np.ndarray, limits: np.ndarray, colours: Sequence[str]
) -> Axes:
    """Times and their limiting power laws, both of shape (S, n), over the start weight, on logarithmic axes."""
    for column, limit, colour in zip(times.T, limits.T, colours, strict=True):
        ax.plot(starts, limit, color=colour, linewidth=0.8, linestyle=DASHED)
        ax.plot(starts, column, color=colour)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(starts[0], starts[-1])
    return ax
