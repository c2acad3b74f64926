"""Panels of neurons among clusters: what they climb, where they end, and how they grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from figures.panels.palette import shades
from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CIRCLE = (0, 120, 240, 360)


def draw_objective(ax: Axes, angles: np.ndarray, values: np.ndarray, deviations: Sequence[float]) -> Axes:
    """V over the direction, one line per deviation of the clusters."""
    for one, sigma, colour in zip(values, deviations, shades(len(deviations)), strict=True):
        ax.plot(angles, one, color=colour, label=f"σ = {sigma:g}")
    ax.set(xlim=(0, 360), ylim=(-0.3, 1.05))
    ax.set_xticks(_CIRCLE)
    ax.set_yticks((0, 0.5, 1))
    return ax


def draw_centres(ax: Axes, centres: np.ndarray) -> Axes:
    """Vertical lines at the directions of the centres."""
    for centre in centres:
        ax.axvline(centre, color=theme().muted, linewidth=0.9, linestyle=":", zorder=1)
    return ax


def draw_ends(
    ax: Axes, starts: np.ndarray, ends: np.ndarray, nearest: np.ndarray, maxima: np.ndarray
) -> Axes:
    """Directions to which starts come, over the centre that each starts nearest to."""
    for angle in maxima:
        ax.axhline(angle % 360, color=theme().faint, linewidth=0.9, zorder=1)
    ax.plot(
        starts, nearest, linestyle="none", marker="s", markersize=8, color=theme().faint,
        label=r"$\mathrm{argmax}_k\, \mu_k^T w$",
    )  # fmt: skip
    # an end at 359.999 degrees is one at 0
    shown = np.where(ends > 359, ends - 360, ends)
    ax.plot(
        starts,
        shown,
        linestyle="none",
        marker="o",
        markersize=3,
        color=theme().weights["online"],
        label="the flow",
    )
    ax.set(xlim=(0, 360), ylim=(-25, 360))
    ax.set_xticks(_CIRCLE)
    ax.set_yticks(_CIRCLE)
    return ax


def draw_growth(ax: Axes, shares: np.ndarray, norms: np.ndarray, exact: np.ndarray) -> Axes:
    """Norm of the lower weights beside the closed form, up to the blow-up."""
    ax.plot(shares, norms, color=theme().weights["online"], label="the flow")
    ax.plot(
        shares,
        exact,
        color=theme().ink,
        linestyle=DASHED,
        linewidth=1.0,
        label="R124",
    )
    ax.axvline(1.0, color=theme().muted, linewidth=0.9, linestyle=":", zorder=1)
    ax.set_yscale("log")
    return ax
