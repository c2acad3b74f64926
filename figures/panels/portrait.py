"""Panel of a phase portrait: flow, nullclines, separatrices, fixed points, in the habit of pplane."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.panels.scales import keep_equal
from figures.panels.stability import draw_fixed_points, stability_handles, stroke
from figures.style import WEIGHTS, size, theme

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from analysis.phase_planes.orbits import Orbit
    from analysis.phase_planes.portraits import Portrait

_ACROSS = {"attracting": "stable", "repelling": "unstable", "saddle": "saddle", "degenerate": "degenerate"}
_ARROW = 0.74  # length over the distance between arrows
_CLOSEST, _LONGEST = 0.105, 0.2  # distance between arrows and length of an arrow, in inches


def draw_flow(ax: Axes, u: np.ndarray, v: np.ndarray, du: np.ndarray, dv: np.ndarray) -> Axes:
    """Arrows of one length at points (u, v), shape (n, n), along (du, dv); none where that is NaN.

    Where a panel is so small that arrows would crowd, every second or third row or column is drawn.
    """
    box, dpi = ax.get_window_extent(), ax.figure.dpi  # before layout, near enough
    spacing = np.array([box.height, box.width]) / dpi / u.shape
    steps = np.ceil(_CLOSEST / spacing).astype(int)
    there = np.zeros(u.shape, dtype=bool)
    there[steps[0] // 2 :: steps[0], steps[1] // 2 :: steps[1]] = True
    there &= np.isfinite(du) & np.isfinite(dv)
    length = min(_ARROW * float(np.min(steps * spacing)), _LONGEST * size().text)
    ax.quiver(
        u[there],
        v[there],
        du[there],
        dv[there],
        angles="xy",  # along the flow also where the axes have different scales
        pivot="mid",
        scale_units="inches",
        scale=1 / length,
        units="inches",
        width=min(0.011 * size().text, 0.09 * length),
        headwidth=4.2,
        headlength=4.2,
        headaxislength=3.8,
        color=theme().muted,
        zorder=1.5,
    )
    return ax


def _band() -> dict[str, Any]:
    """A separatrix is a broad band, so that it is seen also beneath a nullcline."""
    return {"color": theme().faint, "linewidth": 5.0 * size().text, "solid_capstyle": "butt"}


def _thread() -> dict[str, Any]:
    """An unstable manifold is a thin line of dashes above a nullcline that it runs beside."""
    return {"color": theme().ink, "linewidth": 1.0 * size().text, "linestyle": (0, (3, 2))}


def draw_portrait(ax: Axes, portrait: Portrait) -> Axes:
    """All of a `Portrait`: a nullcline has the colour of the weight that stands still on it."""
    colours, scale = theme(), size().text
    for separatrix in portrait.separatrices:
        for branch in separatrix.stable:
            ax.plot(*branch.T, **_band(), zorder=1.2)
        for branch in separatrix.unstable:
            ax.plot(*branch.T, **_thread(), zorder=2.6)
    draw_flow(ax, portrait.u, portrait.v, portrait.du, portrait.dv)
    for nullcline in portrait.nullclines:
        for branch in nullcline.branches:
            ax.plot(*branch.T, color=colours.weights[nullcline.of], linewidth=1.5 * scale, zorder=2.4)
    for line in portrait.lines:
        if len(line.points) > 1:
            ax.plot(*line.points.T, **stroke(line.stability), zorder=3)
        else:
            draw_fixed_points(ax, line.points, [line.stability])
    draw_fixed_points(ax, portrait.points, portrait.stability)
    ax.set_xlim(portrait.u_range)
    ax.set_ylim(portrait.v_range)
    keep_equal(ax)
    for axis, name in zip((ax.xaxis, ax.yaxis), portrait.axes, strict=True):
        axis.set_label_text(
            f"{name} weight {WEIGHTS[name]}" if name == "online" else f"{name} {WEIGHTS[name]}"
        )
    return ax


def portrait_handles(portraits: Iterable[Portrait]) -> list[Artist]:
    """Legend entries of all that is seen in some portraits."""
    from matplotlib.lines import Line2D

    shown, colours = list(portraits), theme()
    handles: list[Artist] = [
        Line2D(
            [], [], linestyle="none", marker=r"$\rightarrow$", markersize=9, color=colours.muted, label="flow"
        )
    ]
    of = {nullcline.of for portrait in shown for nullcline in portrait.nullclines if nullcline.branches}
    handles += [
        Line2D(
            [], [], color=colours.weights[name], label=rf"$\mathrm{{d}}${WEIGHTS[name]}$/\mathrm{{d}}t = 0$"
        )
        for name in WEIGHTS
        if name in of
    ]
    lines = {line.stability for portrait in shown for line in portrait.lines if len(line.points) > 1}
    handles += [
        Line2D([], [], **stroke(kind), label=f"line of {_ACROSS[kind]} fixed points")
        for kind in sorted(lines)
    ]
    found = [separatrix for portrait in shown for separatrix in portrait.separatrices]
    if any(separatrix.stable for separatrix in found):
        handles.append(Line2D([], [], **_band(), label="separatrix"))
    if any(separatrix.unstable for separatrix in found):
        handles.append(Line2D([], [], **_thread(), label="unstable manifold"))
    return [*handles, *stability_handles(kind for portrait in shown for kind in portrait.stability)]


def _orbit(fate: str) -> dict[str, Any]:
    return {"color": theme().fates[fate], "linewidth": 1.6 * size().text}


def draw_orbits(ax: Axes, orbits: Iterable[Orbit]) -> Axes:
    """Orbits in the colours of their fates: a line from the start, where there is a dot, and dots before it."""
    for orbit in orbits:
        look = _orbit(orbit.fate)
        ax.plot(*orbit.forward.T, **look, zorder=4)
        ax.plot(*orbit.backward.T, **look | {"linestyle": (0, (1, 1.5))}, zorder=4)
        ax.plot(
            *orbit.start[:, None],
            marker="o",
            markersize=3.5 * size().text,
            color=look["color"],
            linestyle="none",
            zorder=4.5,
        )
    return ax


def orbit_handles(orbits: Iterable[Orbit]) -> list[Artist]:
    """Legend entries of the fates of some orbits, and of what was before their starts."""
    from matplotlib.lines import Line2D

    shown = list(orbits)
    handles: list[Artist] = [
        Line2D([], [], **_orbit(fate), marker="o", markersize=3.5 * size().text, label=fate)
        for fate in theme().fates
        if any(orbit.fate == fate for orbit in shown)
    ]
    if any(len(orbit.backward) > 1 for orbit in shown):
        before: dict[str, Any] = {
            "color": theme().ink,
            "linestyle": (0, (1, 1.5)),
            "linewidth": 1.6 * size().text,
        }
        handles.append(Line2D([], [], **before, label="before the start"))
    return handles
