"""Panels of values over a plane of parameters, with the curve where their sign changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from figures.panels.palette import diverging, mixed
from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure


def draw_leading_eigenvalue(ax: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, limit: float) -> Axes:
    """Largest real part, shape (len(y), len(x)), as colour: green below 0, where points are stable, ink above.

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
        cmap=diverging(mixed(theme().fates["learned"], 0.65), mixed(theme().ink, 0.65)),
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


def write_on(ax: Axes, x: float, y: float, text: str) -> Axes:
    """Write on a map, at a place in its own coordinates."""
    ax.text(x, y, text, ha="center", va="center", color=theme().ink)
    return ax


def draw_scale(figure: Figure, maps: Sequence[Axes], label: str) -> Colorbar:
    """Colour scale of maps that share one, beside them; it says that it goes on below."""
    from matplotlib.ticker import MaxNLocator

    image = maps[0].images[0]
    return figure.colorbar(image, ax=maps, label=label, aspect=30, extend="min", ticks=MaxNLocator(5))
