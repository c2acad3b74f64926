"""Page `step-boundary`: what gradient descent learns that the flow does not, over the step (R302)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.steps.fates import boundary_shift
from dynamics.integration.discrete import EmaOrder
from dynamics.system import ModeSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import panels
from figures.panels import steps as draw
from figures.style import style


@dataclass(frozen=True, eq=False)
class StepBoundaryPage:
    """Boundaries of fates under gradient descent.

    Parameters
    ----------
    parameters
        As given.
    steps
        ε, shape (n,).
    flow
        w2(0) at the boundary of the flow.
    practical, lagged
        w2(0) at the boundary of gradient descent in each order, shape (n,); NaN where some |κ| >= 1.
    kept
        Π (1 − κ²) next to the boundary in the practical order, shape (n,).
    """

    parameters: dict[str, Any]
    steps: np.ndarray
    flow: float
    practical: np.ndarray
    lagged: np.ndarray
    kept: np.ndarray


def compute_step_boundary(
    *, ratio: float = 0.5, online: float = 1.0, target: float = 0.0, largest: float = 0.8, points: int = 16
) -> StepBoundaryPage:
    """Bisect the boundary at several steps.

    Parameters
    ----------
    ratio
        r in (0, 1], λs = 1 and all τ = 1; h = ε.
    online, target
        Start of w1 and θ.
    largest
        Largest step, in (0, 1].
    points
        Number of steps, >= 2.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> round(float(compute_step_boundary(points=2).flow), 4)
    1.118
    """
    parameters = {**locals()}
    if not 0 < ratio <= 1:
        raise ValueError(f"`ratio` must be in (0, 1], got {ratio}")
    if not 0 < largest <= 1:
        raise ValueError(f"`largest` must be in (0, 1], got {largest}")
    if points < 2:
        raise ValueError(f"`points` must be >= 2, got {points}")
    system = ModeSystem(1.0, ratio)
    steps = np.linspace(largest / points, largest, points)
    found = {
        order: [boundary_shift(online, target, system, s, s, order, tolerance=1e-5) for s in steps.tolist()]
        for order in EmaOrder
    }
    edges = {order: np.array([one.steps for one in rows]) for order, rows in found.items()}
    return StepBoundaryPage(
        parameters,
        steps,
        found[EmaOrder.PRACTICAL][0].flow,
        edges[EmaOrder.PRACTICAL],
        edges[EmaOrder.LAGGED],
        np.array([one.kept for one in found[EmaOrder.PRACTICAL]]),
    )


def figure_step_boundary(found: StepBoundaryPage) -> Figure:
    """The boundary, and the product that moves it."""
    with style():
        figure, axes = panels("Real steps learn a strip of starts that the flow collapses", 2, columns=2)
        edge, kept = axes
        draw.draw_strip(edge, found.steps, found.flow, {"practical": found.practical, "lagged": found.lagged})
        edge.set(xlabel=r"step $\varepsilon$", ylabel="$w_2(0)$ at the boundary", title="Boundary of fates")
        edge.legend(loc="upper left", fontsize="small")
        draw.draw_law(kept, found.steps, found.kept, 0 * found.kept, {})
        bound = found.flow**2 - found.parameters["online"] ** 2
        law = bound / (found.practical**2 - found.parameters["online"] ** 2)
        kept.plot(
            found.steps, law, "o", color="none", markeredgecolor=kept.lines[0].get_color(), markersize=4
        )
        kept.set(
            xlabel=r"step $\varepsilon$",
            ylabel=r"$\Pi(1 - \kappa^2)$",
            title="What is left of the invariant",
        )
        return figure


def caption_step_boundary(found: StepBoundaryPage) -> str:
    """Say what is drawn."""
    return (
        f"Gradient descent on one mode with λs = 1, all τ = 1 and h = ε; {described(found.parameters)}. "
        "Left: the largest "
        f"w2(0) that is learned. The flow collapses above {found.flow:.6g} (R6); steps shrink |c| and learn "
        "a strip more "
        "(R302). The line ends where a step has |κ| ≥ 1 and nothing is promised. Right: Π(1 − κ²) along the run at the "
        "boundary (line), and τp r²/|c0| there (circles)."
    )


STEP_BOUNDARY = Page(
    "step-boundary",
    "Boundary between learning and collapse over the step of gradient descent",
    compute_step_boundary,
    figure_step_boundary,
    caption_step_boundary,
)
"""The strip that steps learn."""
