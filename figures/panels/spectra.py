"""Panels of spectra: commutators under their bounds, eigenvalues in the plane, singular values, ratios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_bounded(ax: Axes, ts: np.ndarray, values: np.ndarray, bounds: Sequence[np.ndarray]) -> Axes:
    """Positive values, shape (T,), over time on a logarithmic axis, beneath their bounds, each of shape (T,)."""
    for bound, width in zip(bounds, (0.8, 1.3), strict=False):
        ax.plot(ts, bound, color=theme().muted, linewidth=width, linestyle=DASHED, zorder=1.5)
    ax.fill_between(ts, values, bounds[0], color=theme().faint, alpha=0.5, linewidth=0, zorder=1.0)
    ax.plot(ts, np.where(values > 0, values, np.nan), color=theme().ink)
    ax.set_yscale("log")
    ax.set_xlim(ts[0], ts[-1])
    return ax


def draw_ratios(ax: Axes, ratios: Sequence[np.ndarray], names: Sequence[str], colours: Sequence[str]) -> Axes:
    """Spectra of M, descending, one curve each with a name."""
    for values, name, colour in zip(ratios, names, colours, strict=True):
        ax.plot(np.arange(1, values.size + 1), values, color=colour, label=name)
    ax.set_xlim(1, max(values.size for values in ratios))
    ax.set_ylim(0, 1.03)
    ax.set_xlabel("index of the eigenvalue")
    ax.set_ylabel("ratio $r$")
    return ax


def draw_angles(ax: Axes, angles: np.ndarray, colours: Sequence[str]) -> Axes:
    """Principal angles in degrees, ascending, shape (curves, k); a curve of NaN is not there."""
    for values, colour in zip(angles, colours, strict=True):
        ax.plot(np.arange(1, values.size + 1), values, "o-", color=colour, markersize=4, clip_on=False)
    ax.set_xticks(range(1, angles.shape[1] + 1))
    ax.set_ylim(0, 90)
    ax.set_yticks([0, 30, 60, 90], ["0°", "30°", "60°", "90°"])
    ax.set_xlabel("index of the principal angle")
    return ax
