"""Panels of a neuron on a ring: pattern counts, its plane of weights, and how weights grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.panels.scales import label_between
from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_counts(ax: Axes, counts: np.ndarray, patterns: Sequence[str], objects: Sequence[str]) -> Axes:
    """Table of counts, shape (n_objects, n_patterns), darker where larger."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("counts", [theme().paper, theme().weights["target"]])
    ax.imshow(counts, cmap=colours, vmin=0, vmax=2 * float(counts.max()), aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        ax.text(column, row, f"{count:.0f}", ha="center", va="center", color=theme().ink)
    ax.set_xticks(range(len(patterns)), patterns)
    ax.set_yticks(range(len(objects)), objects)
    ax.tick_params(length=0)
    return ax


def draw_norms_of_operator(ax: Axes, widths: np.ndarray, equal: np.ndarray, unequal: np.ndarray) -> Axes:
    """Norm of the operator of a linear neuron over the width that it sees, for equal and for unequal masses."""
    ax.plot(widths, unequal, color=theme().muted, marker="o", markersize=3.5, label="unequal mass")
    ax.plot(widths, equal, color=theme().weights["online"], marker="o", markersize=3.5, label="equal mass")
    return ax


def draw_slide(ax: Axes, ts: np.ndarray, states: np.ndarray, corner: float, start: float) -> Axes:
    """Weights w1 and −w2 on a logarithmic axis, and lines of slopes 1 and ½ that meet at the corner."""
    ax.plot(ts, states[:, 0], color=theme().weights["online"], label="$w_1$")
    ax.plot(ts, -states[:, 1], color=theme().weights["predictor"], label="$-w_2$")
    before, after = ts[ts <= corner], ts[ts >= corner]
    look: dict[str, Any] = {"color": theme().ink, "linestyle": DASHED, "linewidth": 0.9, "zorder": 3}
    ax.plot(before, start * np.exp(before), label=r"slopes 1 and $\frac{1}{2}$", **look)
    ax.plot(after, start * np.exp(corner + (after - corner) / 2), **look)
    ax.axvline(corner, color=theme().faint, linewidth=0.9, zorder=1)
    ax.set_yscale("log")
    label_between(ax.yaxis)
    return ax


def draw_turning(ax: Axes, shares: np.ndarray, cosines: np.ndarray) -> Axes:
    """Cosine of the angle to Δ over time in units of the blow-up time, both of shape (T, n_starts)."""
    ax.plot(shares, cosines, color=theme().weights["online"], linewidth=0.9)
    ax.axhline(0, color=theme().faint, linewidth=0.9, zorder=1)
    return ax


def draw_switching(ax: Axes, extent: float, normals: np.ndarray) -> Axes:
    """Lines x_pᵀw = 0 at which a response switches on or off."""
    for normal in normals:
        if np.any(normal):
            along = np.array([-normal[1], normal[0]]) / np.max(np.abs(normal))
            ends = extent * np.stack([-along, along])
            ax.plot(*ends.T, color=theme().muted, linewidth=0.9, linestyle=DASHED, zorder=1.4)
    return ax


def draw_sliding_line(ax: Axes, ends: np.ndarray) -> Axes:
    """A ray, shape (2, 2), along which trajectories slide: a broad band."""
    ax.plot(*ends.T, color=theme().faint, linewidth=5.0, solid_capstyle="butt", zorder=1.2)
    return ax


def draw_still(ax: Axes, x: tuple[float, float], y: tuple[float, float], text: str) -> Axes:
    """Rectangle in which the weights stand still, and why."""
    ax.fill(
        [x[0], x[1], x[1], x[0]],
        [y[0], y[0], y[1], y[1]],
        color=theme().faint,
        alpha=0.4,
        linewidth=0,
        zorder=0.5,
    )
    ax.text(sum(x) / 2, sum(y) / 2, text, ha="center", va="center", color=theme().muted)
    return ax


def draw_trajectories(ax: Axes, trajectories: Sequence[np.ndarray]) -> Axes:
    """Trajectories (T, 2) in the plane of weights, each from a dot."""
    for one in trajectories:
        ax.plot(*one.T, color=theme().weights["online"], linewidth=1.1, zorder=2)
        ax.plot(*one[0], "o", color=theme().weights["online"], markersize=3.5, zorder=3)
    return ax
