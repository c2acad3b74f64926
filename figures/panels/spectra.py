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
