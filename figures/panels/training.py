"""Panels of a training run: measurements of several seeds, spectra over steps beside what theory predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_runs(ax: Axes, steps: np.ndarray, values: np.ndarray, colour: str) -> Axes:
    """Measurements of all runs, shape (n_runs, T), thin, and the median of those that are defined to the end."""
    if len(values) == 1:
        ax.plot(steps, values[0], color=colour, zorder=2.0)
        return ax
    ax.plot(steps, values.T, color=colour, linewidth=0.5, alpha=0.4, zorder=1.8)
    lasting = values[np.isfinite(values[:, -1])]
    if len(lasting):
        ax.plot(steps, np.median(lasting, axis=0), color=colour, zorder=2.0)
    return ax


def draw_level(ax: Axes, value: float) -> Axes:
    """Level that a measurement is compared with."""
    ax.axhline(value, color=theme().muted, linewidth=0.9, zorder=1.5)
    return ax


def draw_eigenvalues(ax: Axes, steps: np.ndarray, values: np.ndarray, colour: str) -> Axes:
    """Eigenvalues over steps, shape (T, n2), in the order of their size."""
    ax.plot(steps, values, color=colour, linewidth=1.1, zorder=2.0)
    return ax


def draw_noisy(ax: Axes, steps: np.ndarray, values: np.ndarray) -> Axes:
    """What theory predicts for them with the noise of batches, shape (T, n2), dotted."""
    ax.plot(steps, values, color=theme().ink, linewidth=1.0, linestyle=":", zorder=2.3)
    return ax


def draw_predicted(ax: Axes, steps: np.ndarray, values: np.ndarray) -> Axes:
    """What theory predicts for them, shape (T, n2), dashed."""
    ax.plot(steps, values, color=theme().ink, linewidth=0.8, linestyle=DASHED, zorder=2.2)
    return ax
