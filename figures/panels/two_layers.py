"""Panels of two-layer networks: when norms overflow, and which nodes have large upper weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures.style import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_JITTER = 0.3  # of the distance between two counts


def draw_blow_ups(ax: Axes, steps: np.ndarray) -> Axes:
    """Blow-ups that theory predicts, as ticks on the lower edge."""
    ax.plot(
        steps, np.zeros_like(steps), linestyle="none", marker="|", markersize=9, markeredgewidth=1.2,
        color=theme().ink, transform=ax.get_xaxis_transform(), clip_on=False, zorder=3,
    )  # fmt: skip
    return ax


def draw_activity(ax: Axes, counts: np.ndarray, weights: np.ndarray, colour: str) -> Axes:
    """|w2| of each node over the number of centres that it responds to, with the mean of each number.

    Nodes of one number are spread out in the order of their weights, so that each is seen.
    """
    offsets = np.zeros(len(counts))
    for n in np.unique(counts):
        here = np.flatnonzero(counts == n)
        ranks = np.argsort(np.argsort(weights[here], kind="stable"), kind="stable")
        if len(here) > 1:
            offsets[here] = _JITTER * (2 * ((ranks * 7) % len(here)) / (len(here) - 1) - 1)
    ax.plot(counts + offsets, weights, linestyle="none", marker="o", markersize=2.5, color=colour, alpha=0.5)
    groups = np.unique(counts)
    means = [float(np.mean(weights[counts == n])) for n in groups]
    ax.plot(
        groups,
        means,
        color=theme().ink,
        linewidth=0.6,
        marker="_",
        markersize=12,
        markeredgewidth=1.5,
        zorder=3,
    )
    ax.set_yscale("log")
    ax.set_xticks(range(int(counts.max()) + 1))
    return ax
