"""Panel of a bifurcation diagram: a weight of the fixed points against the parameter that moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.fixed_points.special_points import PITCHFORK
from figures.panels.stability import draw_branch, draw_fixed_points, stroke
from figures.style import WEIGHTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from analysis.fixed_points.diagrams import Bifurcation, SpecialPoint

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
    "step": r"step $\varepsilon$",
}
"""What stands on the axis of each parameter."""

_FORK = "pitchfork of the collapsed state"


def draw_bifurcation(ax: Axes, found: Bifurcation, weight: str = "online", sheet: int | None = None) -> Axes:
    """One weight of every fixed point of a `Bifurcation`, "online", "predictor" or "target", and its special points.

    Where two branches have the same weight the stable one lies above. The collapsed points of both sheets of a leaf
    have w1 = 0: sheet 1 or −1 keeps those with w2 >= 0 or w2 <= 0, so that neither hides the other. Axes are
    logarithmic where the range lies on one side of 0 and spans two decades or more, and weights beyond their median
    where branches run to infinity.
    """
    for branch in sorted(found.branches, key=lambda branch: "stable" in branch.stability):
        on = np.ones(branch.value.size, dtype=bool) if sheet is None else sheet * branch.predictor >= 0
        if np.any(on):
            verdicts = [kind for kind, kept in zip(branch.stability, on, strict=True) if kept]
            draw_branch(ax, branch.value[on], getattr(branch, weight)[on], verdicts)
    lo, hi = found.interval
    if lo > 0 and hi >= 100 * lo:
        ax.set_xscale("log")
    ax.set_xlim(lo, hi)
    ax.margins(y=0.1)
    ax.set_xlabel(SYMBOLS[found.parameter])
    ax.set_ylabel(f"{weight} {WEIGHTS[weight]}")
    for point in found.points:
        if sheet is None or sheet * point.predictor >= 0:
            draw_fixed_points(ax, np.array([[point.value, getattr(point, weight)]]), ["degenerate"])
    sizes = np.abs(np.concatenate([getattr(branch, weight) for branch in found.branches] or [np.zeros(0)]))
    if found.escapes and np.any(sizes):
        ax.set_yscale("symlog", linthresh=float(np.median(sizes[sizes > 0])))
    for escape in found.escapes:
        ax.axvline(escape.value, **stroke("degenerate"), zorder=2)
    return ax


def two_sheets(found: Bifurcation) -> bool:
    """Whether collapsed points of both signs of w2 lie on top of each other in w1."""
    return {"collapsed-positive", "collapsed-negative"} <= {branch.name for branch in found.branches}


def special_points(found: Bifurcation) -> str:
    """What happens where, such as "pitchfork of the collapsed state at −0.25", for titles."""
    seen = [f"{happening(point)} at {point.value:.4g}" for point in found.points]
    seen += [f"escape to infinity at {escape.value:.4g}" for escape in found.escapes]
    return ", ".join(dict.fromkeys(seen)).replace("-0", "−0")


def happening(point: SpecialPoint) -> str:
    """Name a special point and what it is of.

    >>> from analysis.fixed_points.diagrams import SpecialPoint
    >>> happening(SpecialPoint("saddle-node", "weight-decay", 0.0625, 0.25, 0.25, 0.25))
    'saddle-node'
    """
    match point.type:
        case "saddle-node":
            return "saddle-node"
        case "hopf":
            return "Hopf bifurcation of the collapsed state"
        case "flip":
            return "period doubling"
        case "neimark-sacker":
            return "Neimark–Sacker point"
        case "branch-point" if point.note == PITCHFORK:
            return _FORK
        case "branch-point":
            return point.note
