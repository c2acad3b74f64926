"""Panel of a bifurcation diagram: a weight of the fixed points against the parameter that moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures.panels.stability import draw_branch, draw_fixed_points
from figures.style import WEIGHTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from analysis.bifurcations import Bifurcation

SYMBOLS = {
    "lambda-s": r"$\lambda_s$",
    "lambda-d": r"$\lambda_d$",
    "tau-online": r"$\tau_o$",
    "tau-predictor": r"$\tau_p$",
    "tau-target": r"$\tau_t$",
    "weight-decay": r"weight decay $\eta$",
    "invariant": "invariant $c$",
    "alpha": r"$\alpha$",
    "beta": r"$\beta$",
}
"""What stands on the axis of each parameter."""

_TYPES = {"saddle-node": "saddle-node", "hopf": "Hopf"}


def draw_bifurcation(ax: Axes, found: Bifurcation, weight: str = "online") -> Axes:
    """One weight of every fixed point of a `Bifurcation`, "online", "predictor" or "target", and its special points.

    Where two branches have the same weight, such as the collapsed ones with w1 = 0, the stable one lies above.
    """
    for branch in sorted(found.branches, key=lambda branch: "stable" in branch.stability):
        draw_branch(ax, branch.value, getattr(branch, weight), branch.stability)
    ax.set_xlim(found.interval)
    ax.margins(y=0.1)
    ax.set_xlabel(SYMBOLS[found.parameter])
    ax.set_ylabel(f"{weight} {WEIGHTS[weight]}")
    for point in found.points:
        draw_fixed_points(ax, np.array([[point.value, getattr(point, weight)]]), ["degenerate"])
    return ax


def special_points(found: Bifurcation) -> str:
    """What happens where, such as "pitchfork at −0.25", for titles."""
    seen = [f"{_TYPES.get(point.type, point.note)} at {point.value:.4g}" for point in found.points]
    return ", ".join(dict.fromkeys(seen)).replace("-0", "−0")
