"""Page `critical-steps`: the largest stable step at learned points, over amplitude and ratio (R303)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.steps.critical_steps import pair_critical_steps
from dynamics.integration.discrete import EmaOrder
from dynamics.system import ModeSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import panels
from figures.panels import steps as draw
from figures.style import style

LEVELS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
"""Steps at which lines are drawn."""


@dataclass(frozen=True, eq=False)
class CriticalStepsPage:
    """Critical steps over the plane of learned points.

    Parameters
    ----------
    parameters
        As given.
    amplitudes, ratios
        w (n,) and r (m,).
    practical, lagged
        ε*, shape (m, n).
    """

    parameters: dict[str, Any]
    amplitudes: np.ndarray
    ratios: np.ndarray
    practical: np.ndarray
    lagged: np.ndarray


def compute_critical_steps(
    *, ema_rate: float = 0.5, largest: float = 2.0, points: int = 81
) -> CriticalStepsPage:
    """Evaluate R303 on a grid.

    Parameters
    ----------
    ema_rate
        h in [0, 1].
    largest
        Largest amplitude, > 0.
    points
        Grid points along each axis, >= 2.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> found = compute_critical_steps(ema_rate=1.0, points=5)
    >>> bool(np.all(found.practical >= found.lagged))
    True
    """
    parameters = {**locals()}
    if not largest > 0:
        raise ValueError(f"`largest` must be > 0, got {largest}")
    if points < 2:
        raise ValueError(f"`points` must be >= 2, got {points}")
    amplitudes, ratios = np.linspace(0.02 * largest, largest, points), np.linspace(0.02, 1.0, points)
    system = ModeSystem(np.ones(points), ratios)
    maps = [
        pair_critical_steps(ratios, amplitudes[:, None], system, ema_rate, order).flip.T for order in EmaOrder
    ]
    return CriticalStepsPage(parameters, amplitudes, ratios, *maps)


def figure_critical_steps(found: CriticalStepsPage) -> Figure:
    """Both orders side by side."""
    with style():
        figure, axes = panels("The order of the moving average sets the largest stable step", 2, columns=2)
        for ax, name in zip(axes, ("practical", "lagged"), strict=True):
            draw.draw_values(ax, found.amplitudes, found.ratios, getattr(found, name), LEVELS)
            ax.set(xlabel="amplitude $w$", ylabel="ratio $r$", title=f"{name} order")
        return figure


def caption_critical_steps(found: CriticalStepsPage) -> str:
    """Say what is drawn."""
    return (
        f"Critical step ε* of gradient descent at learned points (w, r, w), λs = 1 and all τ = 1; "
        f"{described(found.parameters)}. With u = r² and v = w², ε* = 2/(v + 2u(1 − h)/(2 − h)) in the "
        "practical order, "
        "where the average takes in the encoder after the step, and 2/(v + 2u/(2 − h)) in the lagged one "
        "(R303). Beyond it "
        "the point loses stability by period doubling."
    )


CRITICAL_STEPS = Page(
    "critical-steps",
    "Largest stable step of gradient descent at learned points",
    compute_critical_steps,
    figure_critical_steps,
    caption_critical_steps,
)
"""Critical steps."""
