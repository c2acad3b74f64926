"""The exact phase plane of the full flow on leaves of constant c, from learning everywhere to collapse everywhere."""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.figure import Figure

from analysis.fixed_points.one_mode import fixed_points
from analysis.phase_planes.planes import balanced_plane, leaf_plane
from analysis.phase_planes.portraits import Portrait, phase_portrait
from dynamics.system import ModeSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import is_narrow, panels
from figures.panels.portrait import draw_portrait, portrait_handles
from figures.style import size, style


class Leaves(NamedTuple):
    """Portraits of leaves.

    Parameters
    ----------
    invariants, portraits
        c of each leaf, and the portrait of its sheet.
    pitchfork
        −τp r², below which nothing but collapse is left.
    parameters
        What was asked for.
    """

    invariants: tuple[float, ...]
    portraits: tuple[Portrait, ...]
    pitchfork: float
    parameters: dict[str, float | tuple[float, ...]]


def compute_leaf(
    *,
    lambda_s: float = 1.0,
    lambda_d: float = 0.5,
    tau_online: float = 1.0,
    tau_predictor: float = 1.0,
    tau_target: float = 1.0,
    invariants: tuple[float, ...] = (0.2, 0.0, -0.1, -0.4),
    extent: float = 1.2,
) -> Leaves:
    """Portraits of the leaves τo w1² − τp w2² = c, one for each invariant, on the sheet where both weights learn.

    For c > 0 the sheet w1 > 0 with coordinates (w2, θ), for c < 0 the sheet w2 > 0 with (w1, θ); for c = 0 the
    smooth sheet w2 = sqrt(τo/τp) w1 through the origin; for λd < 0 the mirror images of these (R6, R7).
    """
    parameters: dict[str, float | tuple[float, ...]] = {
        "lambda_s": lambda_s,
        "lambda_d": lambda_d,
        "tau_online": tau_online,
        "tau_predictor": tau_predictor,
        "tau_target": tau_target,
        "invariants": invariants,
        "extent": extent,
    }
    if not 0 < extent < float("inf"):
        raise ValueError(f"`extent` must be finite and > 0, got {extent}")
    if not invariants:
        raise ValueError("`invariants` must be at least one number, got none")
    system = ModeSystem(
        lambda_s, lambda_d, tau_online=tau_online, tau_predictor=tau_predictor, tau_target=tau_target
    )
    sheet, window = (1 if lambda_d >= 0 else -1), (-extent, extent)
    portraits = tuple(
        phase_portrait(
            leaf_plane(system, c, sheet) if c else balanced_plane(system, sheet),
            window,
            window,
            fixed_points(system, invariant=c),
        )
        for c in invariants
    )
    pitchfork = -tau_predictor * (lambda_d / lambda_s) ** 2 if lambda_s else 0.0
    return Leaves(invariants, portraits, pitchfork, parameters)


def figure_leaf(result: Leaves) -> Figure:
    """Draw a panel a leaf."""
    with style():
        n = len(result.portraits)
        columns = n if n < 4 or (n == 4 and size().height is not None) else 2  # a slide has room for a row
        figure, axes = panels(
            r"Below $c = -\tau_p r^2$ every start collapses, above $c = 0$ none does",
            n,
            columns=columns,
            aspect=0.62 if is_narrow() and n > 2 else 0.85,
        )
        for ax, c, portrait in zip(axes, result.invariants, result.portraits, strict=True):
            draw_portrait(ax, portrait)
            ax.set_title(_title(c, result.pitchfork))
        legend_below(figure, portrait_handles(result.portraits))
        return figure


def _title(c: float, pitchfork: float) -> str:
    if c > 0:
        regime = "$c > 0$"
    elif c == 0:
        regime = ""
    elif c > pitchfork:
        regime = r"$-\tau_p r^2 < c < 0$"
    else:
        regime = r"$c \leq {-}\tau_p r^2$"
    return f"$c = {c:g}$" + (f"  ({regime})" if regime else "")


def caption_leaf(result: Leaves) -> str:
    """Every parameter, and what is seen."""
    return (
        f"The full flow of one mode on leaves of constant c = τo w1² − τp w2², which it never leaves:"
        f" {described(result.parameters)}; −τp r² = {result.pitchfork:.4g}. On each leaf the phase plane is exact."
        " For c > 0 every start ends at the learned point. At c = 0 (the smooth sheet through the origin) the origin"
        " attracts from one side and repels to the other. For −τp r² < c < 0 the collapsed point is"
        " a saddle, whose stable manifold, the grey band, decides the sign of the learned weight. At c = −τp r²"
        " both learned points meet in it, and below it every start collapses (R6)."
    )


LEAF = Page(
    "leaf",
    "Exact phase planes on leaves of constant c, as it crosses 0 and −τp r²",
    compute_leaf,
    figure_leaf,
    caption_leaf,
)
