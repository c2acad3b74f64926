"""Panels of modes that leave the origin: weights in turn, how many have been learned, and how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


def draw_growth(ax: Axes, ts: np.ndarray, values: np.ndarray, colours: Sequence[str]) -> Axes:
    """Columns of `values`, shape (T, n), over time, each in a colour of its own."""
    for column, colour in zip(values.T, colours, strict=True):
        ax.plot(ts, column, color=colour)
    return ax


def draw_comparison(ax: Axes, ts: np.ndarray, values: np.ndarray) -> Axes:
    """Columns of `values`, shape (T, n), over time as thin dashed lines beneath others."""
    ax.plot(ts, values, **_beneath(), zorder=1.5)
    return ax


def _beneath() -> dict[str, Any]:
    return {"color": theme().muted, "linewidth": 0.8, "linestyle": DASHED}


def growth_handles(tau_target: float) -> list[Line2D]:
    """Legend entries of growth, its comparison with EMA, and escape times."""
    from matplotlib.lines import Line2D

    ink = theme().ink
    return [
        Line2D([], [], color=ink, label="exact, no EMA"),
        Line2D([], [], **_beneath(), label=f"EMA, $\\tau_t = {tau_target:g}$"),
        Line2D([], [], color=ink, linestyle="none", marker="o", markersize=4.5, label="escape (R14)"),
    ]


def draw_ratios_beside(ax: Axes, ratios: np.ndarray, colours: Sequence[str]) -> Axes:
    """Ratios, shape (n,), written to the right of the panel at their height."""
    for ratio, colour in zip(ratios, colours, strict=True):
        ax.annotate(
            f"$r = {ratio:.3g}$",
            (1.0, ratio),
            (3, 0),
            xycoords=ax.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            color=colour,
            annotation_clip=False,
        )
    return ax


def draw_marks(ax: Axes, x: float, values: np.ndarray, colours: Sequence[str]) -> Axes:
    """Dots at one place, shape (n,), each in its colour."""
    for value, colour in zip(values, colours, strict=True):
        ax.plot(x, value, "o", color=colour, markersize=4.5, zorder=3)
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
