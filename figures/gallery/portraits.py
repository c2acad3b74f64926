"""Figure 5 of DD: the flow of one mode under a constant target, with tied weights, and without predictor."""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.figure import Figure

from analysis.fixed_points.one_mode import fixed_points
from analysis.phase_planes.planes import fixed_target_plane, no_predictor_plane, tied_plane
from analysis.phase_planes.portraits import Portrait, phase_portrait
from dynamics.system import ModeSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import is_narrow, panels
from figures.panels.portrait import draw_portrait, portrait_handles
from figures.style import style

_TITLES = {
    "fixed-target": "Constant target",
    "tied": "Tied weights, $w_1 = w_2$",
    "no-predictor": "No predictor, $w_2 = 1$",
}


class Portraits(NamedTuple):
    """Portraits of some variants of one mode.

    Parameters
    ----------
    variants, portraits
        One a panel.
    parameters
        What was asked for.
    """

    variants: tuple[str, ...]
    portraits: tuple[Portrait, ...]
    parameters: dict[str, float]


def compute_fixed_target(
    *,
    lambda_s: float = 1.0,
    lambda_d: float = 0.5,
    target: float = 1.0,
    tau_online: float = 1.0,
    tau_predictor: float = 1.0,
    weight_decay: float = 0.0,
    extent: float = 1.2,
) -> Portraits:
    """Portrait of (w1, w2) under a constant target θ, in |w1|, |w2| <= extent (R13)."""
    parameters = {**locals()}
    system = ModeSystem(
        lambda_s, lambda_d, tau_online=tau_online, tau_predictor=tau_predictor, weight_decay=weight_decay
    )
    rest = fixed_points(system, "fixed-target", target=target)
    portrait = phase_portrait(fixed_target_plane(system, target), *square_window(extent), rest)
    return Portraits(("fixed-target",), (portrait,), parameters)


def compute_tied(
    *,
    lambda_s: float = 1.0,
    lambda_d: float = 0.5,
    tau: float = 1.0,
    tau_target: float = 1.0,
    weight_decay: float = 0.0,
    extent: float = 1.2,
) -> Portraits:
    """Portrait of (w, θ) for w1 = w2 = w and τo = τp = tau, in |w|, |θ| <= extent (R7)."""
    parameters = {**locals()}
    system = ModeSystem(
        lambda_s,
        lambda_d,
        tau_online=tau,
        tau_predictor=tau,
        tau_target=tau_target,
        weight_decay=weight_decay,
    )
    portrait = phase_portrait(tied_plane(system), *square_window(extent), fixed_points(system, "tied"))
    return Portraits(("tied",), (portrait,), parameters)


def compute_no_predictor(
    *,
    lambda_s: float = 1.0,
    lambda_d: float = 0.5,
    tau_online: float = 1.0,
    tau_target: float = 1.0,
    weight_decay: float = 0.0,
    extent: float = 1.2,
) -> Portraits:
    """Portrait of (w1, θ) for w2 = 1, in |w1|, |θ| <= extent (R11)."""
    parameters = {**locals()}
    system = ModeSystem(
        lambda_s, lambda_d, tau_online=tau_online, tau_target=tau_target, weight_decay=weight_decay
    )
    rest = fixed_points(system, "no-predictor")
    portrait = phase_portrait(no_predictor_plane(system), *square_window(extent), rest)
    return Portraits(("no-predictor",), (portrait,), parameters)


def compute_figure_5(
    *,
    lambda_s: float = 1.0,
    lambda_d: float = 0.5,
    target: float = 1.0,
    tau: float = 1.0,
    tau_target: float = 1.0,
    extent: float = 1.2,
) -> Portraits:
    """The three portraits for the same λs, λd and τo = τp = tau."""
    moments = {"lambda_s": lambda_s, "lambda_d": lambda_d, "extent": extent}
    three = (
        compute_fixed_target(**moments, target=target, tau_online=tau, tau_predictor=tau),
        compute_tied(**moments, tau=tau, tau_target=tau_target),
        compute_no_predictor(**moments, tau_online=tau, tau_target=tau_target),
    )
    return Portraits(
        tuple(one.variants[0] for one in three),
        tuple(one.portraits[0] for one in three),
        {**moments, "target": target, "tau": tau, "tau_target": tau_target},
    )


def square_window(extent: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Window |u|, |v| <= extent; refuses an extent that is not finite and > 0."""
    if not 0 < extent < float("inf"):
        raise ValueError(f"`extent` must be finite and > 0, got {extent}")
    return (-extent, extent), (-extent, extent)


def figure_portraits(result: Portraits) -> Figure:
    """Draw the portraits side by side, in a single column one above the other."""
    with style():
        n = len(result.variants)
        figure, axes = panels(
            _headline(result), n, columns=n, aspect=1.25 if n == 1 or not is_narrow() else 0.88
        )
        for ax, variant, portrait in zip(axes, result.variants, result.portraits, strict=True):
            draw_portrait(ax, portrait)
            ax.set_title(_TITLES[variant])
            if variant == "tied":
                ax.set_xlabel("online and predictor weight $w$")
        legend_below(figure, portrait_handles(result.portraits))
        return figure


def _headline(result: Portraits) -> str:
    """What the portraits show, as far as it holds for these parameters."""
    if len(result.variants) > 1:
        return "Two weights amplify each other out of collapse; without predictor they cannot"
    (variant,), (portrait,) = result.variants, result.portraits
    at_origin = portrait.stability[0] if portrait.stability else "on a line"
    return {
        ("fixed-target", "saddle"): "Under a constant target the weights leave the origin for a hyperbola",
        (
            "tied",
            "half-stable",
        ): "With tied weights collapse attracts from one side only",
        ("tied", "stable"): "With weight decay the collapsed state attracts",
        ("no-predictor", "stable"): "Without predictor every start collapses",
        ("no-predictor", "saddle"): "Without predictor the weights run away",
        ("no-predictor", "on a line"): "Without predictor every state with $w_1 = θ$ rests",
    }.get((variant, at_origin), f"The origin is {at_origin}")


_SEEN = {
    "fixed-target": (
        "Constant target: the plane (w1, w2); at η = 0 every point of the hyperbola w1 w2 = θ λd/λs is stable"
    ),
    "tied": (
        "Tied weights: the plane (w, θ) with w1 = w2 = w; at η = 0 w stands still on w = 0 and on θ = λs w²/λd,"
        " the target on θ = w, and the line w = 0 parts the starts that collapse from those that learn"
    ),
    "no-predictor": (
        "No predictor: the plane (w1, θ) with w2 = 1, a linear flow; at η = 0 w1 stands still on θ = λs w1/λd, the"
        " target on θ = w1"
    ),
}


def caption_portraits(result: Portraits) -> str:
    """Every parameter, and what is seen."""
    seen = [
        f"{_SEEN[variant]}. Fixed points shown: {places(portrait)}."
        for variant, portrait in zip(result.variants, result.portraits, strict=True)
    ]
    return (
        f"The flow of one mode of linear BYOL, {described(result.parameters)}. {' '.join(seen)} Arrows have one"
        " length and show the direction of the flow alone; filled marks are stable, half-filled half-stable, open"
        " unstable, crosses saddles; the grey band is the stable manifold of a saddle or half-stable point."
    )


def places(portrait: Portrait) -> str:
    """Fixed points of a portrait and their stability, to be put into a sentence."""
    points = [
        f"({u:.4g}, {v:.4g}) {verdict}"
        for (u, v), verdict in zip(portrait.points, portrait.stability, strict=True)
    ]
    lines = {f"a line, {line.stability}" for line in portrait.lines}
    return ", ".join([*points, *sorted(lines)]) or "none"


FIXED_TARGET = Page(
    "fixed-target",
    "Phase portrait under a constant target (Figure 5 left)",
    compute_fixed_target,
    figure_portraits,
    caption_portraits,
    size="single",
)
TIED = Page(
    "tied",
    "Phase portrait with tied weights (Figure 5 middle)",
    compute_tied,
    figure_portraits,
    caption_portraits,
    size="single",
)
NO_PREDICTOR = Page(
    "no-predictor",
    "Phase portrait without predictor (Figure 5 right)",
    compute_no_predictor,
    figure_portraits,
    caption_portraits,
    size="single",
)
FIGURE_5 = Page(
    "figure-5",
    "The three phase portraits of Figure 5 side by side",
    compute_figure_5,
    figure_portraits,
    caption_portraits,
)
