"""How the fixed points of one mode move with weight decay, and from leaf to leaf."""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.fixed_points.bifurcations import bifurcation
from analysis.fixed_points.diagrams import Bifurcation
from dynamics.exact.fixed_points import saddle_node
from dynamics.system import ModeSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import is_narrow, panels
from figures.panels.bifurcation import draw_bifurcation, happening
from figures.panels.stability import mark, stroke
from figures.style import style


class Bifurcations(NamedTuple):
    """Branches against weight decay and against the invariant.

    Parameters
    ----------
    decay, leaf
        At η > 0 on the balanced sheet, and at η = 0 on leaves of constant c.
    parameters
        What was asked for.
    """

    decay: Bifurcation
    leaf: Bifurcation
    parameters: dict[str, float]


def compute_bifurcation(
    *,
    lambda_s: float = 1.0,
    lambda_d: float = 0.5,
    tau_online: float = 1.0,
    tau_predictor: float = 1.0,
    tau_target: float = 1.0,
    weight_decay_end: float | None = None,
    invariant_end: float | None = None,
) -> Bifurcations:
    """Branches of fixed points for 0 <= η <= weight_decay_end and |c| <= invariant_end (R15, R5, R6).

    Left out, the ends are 1.3 times the saddle-node and twice the pitchfork.
    """
    parameters = {**locals()}
    system = ModeSystem(
        lambda_s, lambda_d, tau_online=tau_online, tau_predictor=tau_predictor, tau_target=tau_target
    )
    if lambda_s <= 0 or lambda_d <= 0:
        raise ValueError(
            f"`lambda_s` and `lambda_d` must be > 0 for this figure, got {lambda_s} and {lambda_d}"
        )
    eta = 1.3 * float(saddle_node(system)[0]) if weight_decay_end is None else weight_decay_end
    c = 2 * tau_predictor * (lambda_d / lambda_s) ** 2 if invariant_end is None else invariant_end
    for name, end in (("weight_decay_end", eta), ("invariant_end", c)):
        if not 0 < end < float("inf"):
            raise ValueError(f"`{name}` must be finite and > 0, got {end}")
    parameters |= {"weight_decay_end": eta, "invariant_end": c}
    return Bifurcations(
        bifurcation(system, "weight-decay", (0.0, eta)), bifurcation(system, "invariant", (-c, c)), parameters
    )


def figure_bifurcation(result: Bifurcations) -> Figure:
    """Draw w2 against η, w1 against c on the sheet w2 > 0, and w2 against c."""
    with style():
        figure, axes = panels(
            "Learning ends in a saddle-node under weight decay, in a pitchfork as $c$ falls",
            3,
            columns=3,
            aspect=0.75 if is_narrow() else 1.1,
        )
        diagrams: tuple[tuple[Bifurcation, str, int | None, str, str], ...] = (
            (result.decay, "predictor", None, r"Saddle-node at $\eta$ = ", "saddle-node"),
            (result.leaf, "online", 1, "Collapsed state forks at $c$ = ", "branch-point"),
            (result.leaf, "predictor", None, "Sheets meet at $c$ = ", "saddle-node"),
        )
        for ax, (found, weight, sheet, title, kind) in zip(axes, diagrams, strict=True):
            draw_bifurcation(ax, found, weight, sheet)
            at = [point.value for point in found.points if point.type == kind]
            ax.set_title(title + f"{at[0]:.4g}".replace("-", "−") if at else "No bifurcation")
        handles = [
            axes[0].plot([], [], **stroke(kind), label=f"{kind} branch")[0] for kind in ("stable", "saddle")
        ]
        legend_below(figure, [*handles, Line2D([], [], label="bifurcation", **mark("degenerate"))])
        return figure


def caption_bifurcation(result: Bifurcations) -> str:
    """Every parameter, and what is seen."""
    places = [
        f"{happening(point)} at"
        f" {found.parameter.replace('-', ' ')} {point.value:.4g} (w2 = {point.predictor:.4g})"
        for found in (result.decay, result.leaf)
        for point in found.points
        if point.online >= 0
    ]
    return (
        f"Fixed points of the full flow of one mode, {described(result.parameters)}. Left: w2 against weight decay"
        " η, on the balanced sheet on which every trajectory ends: the origin, and p± = [λd ± sqrt(λd² − 4 η τo λs)]"
        "/(2 λs), which meet at η* = λd²/(4 τo λs) (R15). At η = 0 against c = τo w1² − τp w2², w1 on the sheet"
        " w2 > 0 (middle) and w2 on both sheets (right): the learned pair leaves the collapsed state in a pitchfork"
        " at c = −τp r²; at c = 0 the sheets of the leaf touch (R5, R6). Solid branches are stable, dashed ones"
        " saddles. Found: " + "; ".join(dict.fromkeys(places)) + "."
    )


BIFURCATION = Page(
    "bifurcation",
    "Fixed points against weight decay (saddle-node) and against the invariant c (pitchfork)",
    compute_bifurcation,
    figure_bifurcation,
    caption_bifurcation,
)
