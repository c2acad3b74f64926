"""Panels of values over a plane of parameters, with the curve where their sign changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures.panels.palette import diverging
from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_leading_eigenvalue(ax: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, limit: float) -> Axes:
    """Largest real part, shape (len(y), len(x)), as colour: that of stable points below 0, ink above.

    Parameters
    ----------
    ax
        Its limits become those of the map.
    x, y
        Evenly spaced coordinates of the columns and rows.
    values
        Real.
    limit
        Beyond ± limit colours stay the same; the scale between is that of the square root, fine around 0.
    """
    from matplotlib.colors import FuncNorm

    def signed_root(v: np.ndarray) -> np.ndarray:
        return np.sign(v) * np.sqrt(np.abs(v))

    def signed_square(v: np.ndarray) -> np.ndarray:
        return np.sign(v) * v**2

    norm = FuncNorm((signed_root, signed_square), -limit, limit, clip=True)
    dx, dy = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    ax.imshow(
        values,
        origin="lower",
        extent=(x[0] - dx, x[-1] + dx, y[0] - dy, y[-1] + dy),
        aspect="auto",
        cmap=diverging(theme().stability["stable"], theme().ink),
        norm=norm,
        interpolation="nearest",
    )
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    return ax


def draw_border(ax: Axes, x: np.ndarray, y: np.ndarray) -> Axes:
    """Curve of theory on which the sign of a map changes."""
    ax.plot(x, y, color=theme().ink, linewidth=1.6)
    return ax


def draw_guide(ax: Axes, x: np.ndarray, y: np.ndarray) -> Axes:
    """Dashed curve of special points."""
    ax.plot(x, y, color=theme().ink, linewidth=0.9, linestyle=DASHED)
    return ax


def draw_scale(ax: Axes, source: Axes, label: str) -> Axes:
    """Colour scale of the map on `source` drawn in a narrow `ax`."""
    ax.figure.colorbar(source.images[0], cax=ax, label=label)
    return ax
