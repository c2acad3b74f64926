"""Page `period-doubling`: orbits of balanced modes beyond the critical step, and the window of collapse (R305)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.steps.edge import first_collapse, second_doubling
from dynamics.integration.discrete import balanced_map
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import panels
from figures.panels import steps as draw
from figures.style import style

_KEPT = 120  # points of an orbit that are drawn


@dataclass(frozen=True, eq=False)
class PeriodDoublingPage:
    """Ends of orbits over the gain.

    Parameters
    ----------
    parameters
        As given.
    gains
        k, shape (n,).
    orbits
        Last points y of an orbit from y = 0.9, shape (n, 120); NaN where it has collapsed.
    shares
        Share of starts y in [0.3, 1.2] that have collapsed by then, shape (n,).
    doubling, collapse
        Gains of the second doubling, and from which orbits are thrown to y <= 0.
    """

    parameters: dict[str, Any]
    gains: np.ndarray
    orbits: np.ndarray
    shares: np.ndarray
    doubling: float
    collapse: float


def compute_period_doubling(
    *, lowest: float = 1.8, highest: float = 3.6, points: int = 400, transient: int = 3000
) -> PeriodDoublingPage:
    """Iterate the balanced map over a range of gains.

    Parameters
    ----------
    lowest, highest
        Range of k = ε λs r²/τo, 0 < lowest < highest.
    points
        Number of gains, >= 2.
    transient
        Steps before an orbit is drawn, >= 1.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> found = compute_period_doubling(points=10, transient=500)
    >>> float(found.shares[0]), bool(found.shares[-1] > 0.9)
    (0.0, True)
    """
    parameters = {**locals()}
    if not 0 < lowest < highest:
        raise ValueError(f"`lowest` must be > 0 and below `highest`, got {lowest} and {highest}")
    if points < 2 or transient < 1:
        raise ValueError(f"`points` must be >= 2 and `transient` >= 1, got {points} and {transient}")
    gains = np.linspace(lowest, highest, points)
    many = np.linspace(0.3, 1.2, 101)[:, None] * np.ones(points)
    y, rows = np.vstack([np.full(points, 0.9), many]), []
    for k in range(transient + _KEPT):
        moved = balanced_map(y, gains)
        y = np.where(y > 0, moved, -1.0)  # at c = 0 and w2 <= 0 the mode collapses (R6): -1 marks it
        if k >= transient:
            rows.append(np.where(y[0] > 0, y[0], np.nan))
    return PeriodDoublingPage(
        parameters,
        gains,
        np.stack(rows, axis=1),
        np.mean(y[1:] <= 0, axis=0),
        second_doubling(),
        first_collapse(),
    )


def figure_period_doubling(found: PeriodDoublingPage) -> Figure:
    """The cascade, and the share that collapses."""
    with style():
        figure, axes = panels(
            "Too large a step doubles the period, and in the end collapses the mode", 2, columns=2
        )
        cascade, shares = axes
        special = {"2": 2.0, f"{found.doubling:.4g}": found.doubling, f"{found.collapse:.4g}": found.collapse}
        inside = {name: k for name, k in special.items() if found.gains[0] < k < found.gains[-1]}
        draw.draw_cascade(cascade, found.gains, found.orbits, inside)
        cascade.set(xlabel=r"gain $k = \varepsilon\lambda_s r^2/\tau_o$", ylabel="$w_2/r$", title="Orbits")
        draw.draw_shares(shares, found.gains, found.shares)
        shares.set(xlabel="gain $k$", ylabel="share of starts that collapse", title="Window of collapse")
        return figure


def caption_period_doubling(found: PeriodDoublingPage) -> str:
    """Say what is drawn."""
    return (
        f"Gradient descent on a balanced mode (c = 0) without average, y⁺ = y + k y²(1 − y) with y = w2/r; "
        f"{described(found.parameters)}. Left: where an orbit from y = 0.9 ends. The learned point y = 1 "
        "throws off a cycle of "
        f"period 2 at k = 2 and one of period 4 at {found.doubling:.7g}; from {found.collapse:.7g} on, the "
        "image of the map's "
        "maximum lies below 0. Right: share of starts in [0.3, 1.2] that were thrown to y ≤ 0, where the mode "
        "collapses "
        "without diverging (R305)."
    )


PERIOD_DOUBLING = Page(
    "period-doubling",
    "Period doubling and collapse of a balanced mode beyond the critical step",
    compute_period_doubling,
    figure_period_doubling,
    caption_period_doubling,
)
"""Beyond the edge of stability."""
