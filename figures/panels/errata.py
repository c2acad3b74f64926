"""Panels that set a printed claim beside the truth: the claim pale and dashed, the truth in ink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from figures.panels.palette import mixed
from figures.panels.stability import mark, stability_handles, stroke
from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from analysis.results.linear.errata import AmplitudeStability, EmaPaths, OriginFates, ScrambledRatios


_MEASURED, _CLAIMED = "measured on views", r"claimed $(1 + \kappa)^t$"


def _printed() -> dict[str, Any]:
    return {"color": theme().muted, "linestyle": DASHED, "linewidth": 1.1}


def _measured() -> dict[str, Any]:
    colour = theme().fates["undecided"]
    return {"color": colour, "linestyle": "none", "marker": "x", "markersize": 6, "markeredgewidth": 1.5}


def _claimed() -> dict[str, Any]:
    return {"color": mixed(theme().fates["undecided"], 0.45), "linewidth": 4}


def claim_legends(e1: Axes, e3: Axes, e5: Axes) -> None:
    """In each panel a legend of what is drawn there: printed, true, and what tells which it is."""
    from matplotlib.lines import Line2D

    both = [Line2D([], [], **_printed(), label="as printed"), Line2D([], [], color=theme().ink, label="true")]
    e1.legend(
        handles=[*both, Line2D([], [], **_measured(), label=_MEASURED)],
        loc="upper right",
        bbox_to_anchor=(1.0, 0.9),
    )
    e3.legend(handles=[*both, Line2D([], [], **_claimed(), label=_CLAIMED)], loc="center right")
    fates = [Line2D([], [], color=theme().fates[fate], label=fate) for fate in ("learned", "collapsed")]
    e5.legend(handles=[*fates, *stability_handles(("half-stable",))], loc="lower left")


def write_claim(ax: Axes, text: str, *, x: float = 0.03, y: float = 0.05) -> Axes:
    """Say in a corner what is printed; x and y are fractions of the panel."""
    ax.text(
        x, y, f"printed: {text}", transform=ax.transAxes, color=theme().muted, style="italic",
        ha="left" if x < 0.5 else "right", va="bottom" if y < 0.5 else "top",
    )  # fmt: skip
    return ax


def draw_scrambled_ratios(ax: Axes, ratios: ScrambledRatios) -> Axes:
    """Ratios of scrambled views, printed, true and measured; none above 1 can be had."""
    index = np.arange(1, ratios.printed.size + 1)
    top = 1.3 * np.max(ratios.printed)
    ax.axhspan(1, top, color=theme().faint, alpha=0.5, linewidth=0)
    ax.plot(index, ratios.printed, **_printed(), marker="s", markersize=4, fillstyle="none")
    ax.plot(index, ratios.corrected, color=theme().ink)
    ax.plot(index, ratios.measured, **_measured(), zorder=3)
    ax.set_xlim(0.6, index[-1] + 0.4)
    ax.set_ylim(-0.05 * top, top)
    ax.set_xticks(index)
    ax.set_xlabel("index of the eigenvalue")
    ax.set_ylabel("ratio $r$")
    return ax


def draw_ema_paths(ax: Axes, paths: EmaPaths) -> Axes:
    """|w(t)| of the recurrence with both signs, and the growth that the theorem claims."""
    ax.plot(paths.step, paths.claimed, **_claimed())
    ax.plot(paths.step, np.abs(paths.printed), **_printed())
    ax.plot(paths.step, np.abs(paths.corrected), color=theme().ink)
    ax.set_yscale("log")
    ax.set_xlim(paths.step[0], paths.step[-1])
    ax.set_xlabel("step $t$")
    ax.set_ylabel("weight $|w(t)|$")
    return ax


def draw_origin_fates(ax: Axes, found: OriginFates, ratio: float) -> Axes:
    """Paths from a circle around the origin in the colours of their fates, over the lines of fixed points."""
    for w1, w2, fate in zip(found.online.T, found.predictor.T, found.fates, strict=True):
        ax.plot(w1, w2, color=theme().fates[fate], linewidth=0.9)
        ax.plot(w1[0], w2[0], ".", color=theme().fates[fate], markersize=4)
    wide, low = 1.08 * np.max(np.abs(found.online)), 1.25 * np.min(found.predictor)
    for x, y, kind in (
        ([-wide, wide], [ratio, ratio], "stable"),
        ([0, 0], [low, 0], "stable"),
        ([0, 0], [0, ratio], "saddle"),
    ):
        ax.plot(x, y, **stroke(kind), zorder=1.5)
    ax.plot(0, 0, **mark("half-stable"), zorder=4)
    ax.set_xlim(-wide, wide)
    ax.set_ylim(low, 1.4 * ratio)
    ax.set_xlabel("online weight $w_1$")
    ax.set_ylabel("predictor $w_2$")
    return ax


def draw_amplitude_stability(ax: Axes, found: AmplitudeStability) -> Axes:
    """Leading eigenvalue over the amplitude, with its border and the balanced point."""
    bottom, top = 1.1 * np.min(found.leading), 1.6 * np.max(found.leading)
    ax.axhspan(0, top, color=mixed(theme().stability["unstable"], 0.18), linewidth=0)
    ax.axhspan(bottom, 0, color=mixed(theme().fates["learned"], 0.12), linewidth=0)
    ax.plot(found.amplitudes, found.leading, color=theme().ink)
    ax.vlines(found.border, 0, top, colors=theme().ink, linewidth=0.7, linestyle=(0, (1, 1.5)))
    at_balance = np.interp(found.balanced, found.amplitudes, found.leading)
    ax.plot(found.balanced, at_balance, **mark("stable"), zorder=3)
    ax.annotate(
        "balanced", (found.balanced, at_balance), (-6, -1), textcoords="offset points", ha="right", va="top"
    )
    ax.set_xlim(found.amplitudes[0], found.amplitudes[-1])
    ax.set_ylim(bottom, top)
    ax.set_xlabel("amplitude $w$ of the first row")
    ax.set_ylabel("leading eigenvalue")
    return ax
