"""Panels of gradient descent: boundaries of fates, critical steps, period doubling, and what noise does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.panels.palette import mixed, shades
from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_strip(ax: Axes, steps: np.ndarray, flow: float, boundaries: dict[str, np.ndarray]) -> Axes:
    """Boundary of the predictor's start over the step, in each order, and the strip that the flow collapses."""
    colours = (theme().weights["online"], theme().weights["target"])
    for (order, edge), colour, line in zip(boundaries.items(), colours, ("-", DASHED), strict=False):
        ax.plot(steps, edge, color=colour, linestyle=line, label=order)
    practical = next(iter(boundaries.values()))
    known = np.isfinite(practical)
    ax.fill_between(
        steps[known],
        flow,
        practical[known],
        color=mixed(theme().fates["learned"], 0.25),
        linewidth=0,
        label="learned by steps alone",
    )
    ax.axhline(flow, color=theme().ink, linewidth=0.9, label="flow (R6)")
    return ax


def draw_values(ax: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, levels: Sequence[float]) -> Axes:
    """Lines of equal value over a plane, over its shades."""
    from matplotlib.colors import LinearSegmentedColormap

    ground = LinearSegmentedColormap.from_list("step", [mixed(theme().weights["online"], 0.5), theme().paper])
    inside = np.clip(values, levels[0], levels[-1])
    ax.contourf(x, y, inside, levels=levels, cmap=ground)
    lines = ax.contour(x, y, inside, levels=levels[1:-1], colors=theme().ink, linewidths=0.7)
    ax.clabel(lines, fmt="%g", fontsize=6)
    return ax


def draw_cascade(ax: Axes, gains: np.ndarray, orbits: np.ndarray, special: dict[str, float]) -> Axes:
    """Where orbits end over the gain, shape (n_gains, n_points), and the gains at which something begins."""
    ax.plot(np.repeat(gains, orbits.shape[1]), orbits.ravel(), ",", color=theme().weights["predictor"])
    for k, (name, gain) in enumerate(special.items()):
        ax.axvline(gain, color=theme().muted, linewidth=0.8, linestyle=":")
        ax.annotate(
            name,
            (gain, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-2, -4 - 11 * (k % 3)),
            textcoords="offset points",
            fontsize=6,
            color=theme().muted,
            ha="right",
            va="top",
        )
    ax.set_xlim(gains[0], gains[-1])
    return ax


def draw_shares(ax: Axes, gains: np.ndarray, shares: np.ndarray) -> Axes:
    """Share of starts that collapse over the gain."""
    ax.plot(gains, shares, color=theme().fates["collapsed"])
    ax.set(xlim=(gains[0], gains[-1]), ylim=(-0.03, 1.03))
    return ax


def draw_law(
    ax: Axes, ts: np.ndarray, mean: np.ndarray, spread: np.ndarray, laws: dict[str, np.ndarray]
) -> Axes:
    """Mean of runs with the band of their deviation, and laws of it."""
    colour = theme().weights["online"]
    ax.fill_between(ts, mean - spread, mean + spread, color=mixed(colour, 0.2), linewidth=0)
    ax.plot(ts, mean, color=colour, label="mean of runs")
    for (name, law), line in zip(laws.items(), (DASHED, ":"), strict=False):
        ax.plot(ts, law, color=theme().ink, linewidth=1.0, linestyle=line, label=name)
    ax.set_xlim(ts[0], ts[-1])
    return ax


def draw_modes(
    ax: Axes, ts: np.ndarray, rows: np.ndarray, law: np.ndarray, ratios: Sequence[Any], edge: float
) -> Axes:
    """Squared amplitudes of rows over time, the law of competition, and the edge of capture."""
    for k, colour in enumerate(shades(rows.shape[1])):
        ax.plot(ts, rows[:, k], color=colour, label=f"r = {ratios[k]:g}")
        ax.plot(ts, law[:, k], color=colour, linewidth=1.0, linestyle=DASHED)
    ax.axhline(edge, color=theme().muted, linewidth=0.9, linestyle=":", label="edge of capture (R10)")
    ax.set_xlim(ts[0], ts[-1])
    return ax


def draw_ends(ax: Axes, ts: np.ndarray, values: np.ndarray, end: float) -> Axes:
    """Values over time, one line per start, and where all of them go."""
    for k, colour in enumerate(shades(values.shape[1])):
        ax.plot(ts, values[:, k], color=colour)
    ax.axhline(end, color=theme().ink, linewidth=0.9, linestyle=DASHED)
    ax.set_xlim(ts[0], ts[-1])
    return ax
