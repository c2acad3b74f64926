"""Panels of restarts of the predictor: who survives, how many die, and a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from figures.panels.palette import mixed, shades
from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_edges(
    ax: Axes, roots: np.ndarray, low: np.ndarray, high: np.ndarray, predictors: np.ndarray, sizes: np.ndarray
) -> Axes:
    """Fresh predictors over √x: the edges of survival, lines of equal size after it, and the dead outside."""
    colour = theme().weights["online"]
    ax.fill_between(roots, low, high, color=mixed(colour, 0.12), linewidth=0)
    levels = np.arange(0.5, 2.0, 0.25)
    lines = ax.contour(
        roots, predictors, np.where(sizes > 0, sizes, np.nan), levels=levels, colors=colour, linewidths=0.7
    )
    ax.clabel(lines, fmt="%g", fontsize=6)
    for edge in (low, high):
        ax.plot(roots, edge, color=theme().ink, linewidth=1.2)
    ax.set(xlim=(0, roots[-1]), ylim=(predictors[0], predictors[-1]))
    ax.text(0.04 * roots[-1], 0.92 * predictors[-1], "dies", color=theme().muted, va="top")
    ax.text(0.04 * roots[-1], 0.92 * predictors[0], "dies", color=theme().muted, va="bottom")
    return ax


def draw_fractions(
    ax: Axes, scales: np.ndarray, counts: Sequence[int], fractions: np.ndarray, threshold: float
) -> Axes:
    """Fraction that is dead after each number of restarts over the scale of the law."""
    for k, one, colour in zip(counts, fractions, shades(len(counts)), strict=True):
        ax.plot(scales, one, color=colour, label=f"k = {k}")
    if threshold <= scales[-1]:
        ax.axvline(threshold, color=theme().muted, linewidth=0.9, linestyle=":", zorder=1)
    ax.set(xlim=(0, scales[-1]), ylim=(-0.02, 1.02))
    return ax


def draw_run(
    ax: Axes, ts: np.ndarray, online: np.ndarray, predictor: np.ndarray, events: np.ndarray, said: np.ndarray
) -> Axes:
    """Weights of a run with restarts, and the size that the map says after each."""
    ax.plot(ts, online, color=theme().weights["online"], label="$w_1$")
    ax.plot(ts, predictor, color=theme().weights["predictor"], linewidth=1.0, label="$w_2$")
    ends = np.append(events[1:], ts[-1])
    for begin, end, size in zip(events, ends, said, strict=True):
        ax.plot([begin, end], [size, size], color=theme().ink, linewidth=0.9, linestyle=DASHED)
    ax.set_xlim(0, ts[-1])
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.45 * (high - low))  # room for the legend
    return ax
