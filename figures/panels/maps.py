"""Panels of values over a plane of parameters, with the curve where their sign changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.panels.palette import diverging, mixed
from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.artist import Artist
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


_KINDS = {0: "none stable", 1: "collapse alone stable", 2: "learned points alone stable", 3: "both stable"}
_LINES: dict[str, Any] = {"solid": "-", "dashed": DASHED, "dotted": (0, (1, 1.5)), "dashdot": "-."}


def _ground(kind: int) -> str:
    """Colour of a kind on the paper."""
    fates = theme().fates
    names = {1: fates["collapsed"], 2: fates["learned"], 3: fates["undecided"]}
    return mixed(names[kind], 0.45) if kind else theme().faint


def draw_kinds(ax: Axes, x: np.ndarray, y: np.ndarray, kinds: np.ndarray) -> Axes:
    """Which fixed points are stable, shape (len(y), len(x)): 1 for the origin, 2 more for learned points."""
    from matplotlib.colors import to_rgb

    dx, dy = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    ax.imshow(
        np.array([to_rgb(_ground(kind)) for kind in _KINDS])[kinds],
        origin="lower",
        extent=(x[0] - dx, x[-1] + dx, y[0] - dy, y[-1] + dy),
        aspect="auto",
        interpolation="nearest",
    )
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    return ax


def draw_zero(ax: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, look: str) -> bool:
    """Curve on which values, shape (len(y), len(x)), are zero, in one of four looks; whether there is one."""
    shown = np.where(np.isfinite(values), values, np.nan)
    if not (np.any(shown > 0) and np.any(shown < 0)):
        return False
    ax.contour(x, y, shown, [0.0], colors=theme().ink, linewidths=1.4, linestyles=[_LINES[look]])
    return True


def kind_handles(kinds: np.ndarray) -> list[Artist]:
    """Legend entries of the kinds that a map has."""
    from matplotlib.patches import Patch

    inner = kinds[1:-1, 1:-1] if min(kinds.shape) > 2 else kinds  # what is on the border alone is not seen
    there = set(np.unique(inner).tolist())
    return [Patch(facecolor=_ground(kind), label=label) for kind, label in _KINDS.items() if kind in there]


def zero_handles(curves: Sequence[tuple[str, str]]) -> list[Artist]:
    """Legend entries of curves, each its label and its look."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=theme().ink, linewidth=1.4, linestyle=_LINES[look], label=label)
        for label, look in curves
    ]
