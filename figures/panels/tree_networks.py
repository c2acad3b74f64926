"""Panels of networks on latent trees: correlations beside ceilings, and norms of covariance operators by level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from figures.panels.palette import shades
from figures.style import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 0.8  # of a group of bars


def draw_correlations(
    ax: Axes,
    lows: Sequence[float],
    times: Sequence[str],
    values: np.ndarray,
    errors: np.ndarray,
    ceilings: np.ndarray,
    printed: np.ndarray | None,
) -> Axes:
    """Bars of correlations, shape (δ, times), with standard errors; ceilings, shape (δ,), as lines across a group.

    `printed`, shape (δ, times), is marked by diamonds, and left out where it is None.
    """
    width = _WIDTH / len(times)
    at = np.arange(len(lows))
    for k, (name, colour) in enumerate(zip(times, shades(len(times)), strict=True)):
        x = at + width * (k - (len(times) - 1) / 2)
        ax.bar(x, values[:, k], 0.9 * width, yerr=errors[:, k], color=colour, ecolor=theme().ink, label=name)
        if printed is not None:
            ax.plot(
                x, printed[:, k], linestyle="none", marker="D", markersize=4, markerfacecolor=theme().paper,
                markeredgecolor=theme().ink, markeredgewidth=0.9, zorder=3, label="printed" if k == 0 else None,
            )  # fmt: skip
    ax.hlines(
        ceilings, at - _WIDTH / 2, at + _WIDTH / 2, color=theme().ink, linewidth=1.4, label="Bayes ceiling"
    )
    ax.set_xticks(at, [f"{low:g}" for low in lows])
    ax.set_ylim(0, 1.02)
    return ax


def draw_operator_norms(ax: Axes, steps: np.ndarray, norms: np.ndarray) -> Axes:
    """Norms of covariance operators over steps, shape (levels, n_runs, T): the median of all runs, level by level.

    Bands hold half of the runs.
    """
    for level, (values, colour) in enumerate(zip(norms, shades(len(norms)), strict=True)):
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
        ax.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(steps, middle, color=colour, label="root" if level == 0 else f"level {level}")
    ax.set_yscale("log")
    ax.set_xlim(steps[0], steps[-1])
    return ax
