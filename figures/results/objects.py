"""Pages of single results, as a notebook shows them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.fates.basins import BasinMap
from analysis.fixed_points.diagrams import Bifurcation
from analysis.fixed_points.one_mode import FixedPoints
from analysis.phase_planes.portraits import Portrait
from analysis.runs.spectra import online_singular_value_paths, predictor_eigenvalue_paths
from dynamics.integration.integrate import Trajectory
from dynamics.states import ModeState
from figures.layout.legends import legend_below
from figures.layout.sheets import panels
from figures.panels.basins import basin_handles, draw_basins, draw_rule
from figures.panels.bifurcation import draw_bifurcation, special_points, two_sheets
from figures.panels.portrait import draw_portrait, portrait_handles
from figures.panels.rest import draw_rest, rest_parts
from figures.panels.scales import TIME
from figures.panels.stability import mark, stability_handles, stroke
from figures.style import DASHED, WEIGHTS, style, theme

_SAMPLES = 401


def figure_trajectory(trajectory: Trajectory) -> Figure:
    """Weights of modes over time, a panel a weight; of matrices, the spectrum of P and singular values of W.

    Examples
    --------
    >>> from dynamics.integration.integrate import integrate
    >>> from dynamics.fields.modes import full_mode_field
    >>> from dynamics.system import ModeSystem
    >>> system = ModeSystem(1.0, 0.5)
    >>> len(figure_trajectory(integrate(system.state(), system, full_mode_field)).axes)
    3
    """
    shown = trajectory.resampled(_SAMPLES)
    paths: dict[str, tuple[str, np.ndarray]]
    if isinstance(trajectory.states, ModeState):
        colours = theme().weights
        paths = {f"{part} {WEIGHTS[part]}": (colours[part], getattr(shown.states, part)) for part in WEIGHTS}
    else:
        ink = theme().ink
        paths = {
            "eigenvalues of $P$ (real parts)": (ink, predictor_eigenvalue_paths(shown).real),
            "singular values of $W$": (ink, online_singular_value_paths(shown)),
        }
    with style():
        headline = f"Trajectory: {trajectory.status.value} at t = {trajectory.t:.4g}"
        figure, axes = panels(headline, len(paths), columns=len(paths))
        for ax, (label, (colour, values)) in zip(axes, paths.items(), strict=True):
            ax.plot(shown.ts, values, color=colour, linewidth=1.2)
            ax.set_xlabel(TIME)
            ax.set_ylabel(label)
        return figure


def figure_fixed_points(found: FixedPoints) -> Figure:
    """Fixed points and lines of them in the plane of w1 and w2, as far as the outermost point and a half.

    Examples
    --------
    >>> from analysis.fixed_points.one_mode import fixed_points
    >>> from dynamics.system import ModeSystem
    >>> len(figure_fixed_points(fixed_points(ModeSystem(1.0, 0.5))).axes)
    1
    """
    with style():
        figure, (ax,) = panels(f"Fixed points, {found.variant}", 1, columns=1)
        draw_rest(ax, found)
        parts = rest_parts(found)
        kinds = dict.fromkeys(part.stability for part in parts if len(part.points) > 1)
        lines = [Line2D([], [], **stroke(kind), label=f"line, {kind}") for kind in kinds]
        breaks_too = ["degenerate"] if any(len(part.points) == 1 for part in parts) else []
        stability = [point.stability for point in found.points]
        legend_below(figure, [*lines, *stability_handles([*stability, *breaks_too])])
        return figure


def figure_diagram(found: Bifurcation) -> Figure:
    """Bifurcation diagram: w1 and w2 of the fixed points against the parameter.

    Examples
    --------
    >>> from analysis.fixed_points.bifurcations import bifurcation
    >>> from dynamics.system import ModeSystem
    >>> len(figure_diagram(bifurcation(ModeSystem(1.0, 0.5), "weight-decay", (0.0, 0.1))).axes)
    2
    """
    with style():
        headline = special_points(found) or "no bifurcation"
        shown: list[tuple[str, int | None, str]] = [("online", None, ""), ("predictor", None, "")]
        if two_sheets(found):
            shown = [
                ("online", 1, "Sheet $w_2 > 0$"),
                ("online", -1, "Sheet $w_2 < 0$"),
                ("predictor", None, "Both sheets"),
            ]
        figure, axes = panels(headline[0].upper() + headline[1:], len(shown), columns=len(shown))
        for ax, (weight, sheet, title) in zip(axes, shown, strict=True):
            draw_bifurcation(ax, found, weight, sheet)
            ax.set_title(title)
        if two_sheets(found):  # a sheet that only holds w1 = 0 has no scale of its own
            axes[1].set_ylim(axes[0].get_ylim())
        kinds = dict.fromkeys(kind for branch in found.branches for kind in branch.stability)
        handles = [
            Line2D([], [], **stroke(kind), label=f"{kind} branch") for kind in kinds if kind != "degenerate"
        ]
        if found.points:
            handles.append(Line2D([], [], **mark("degenerate"), label="bifurcation"))
        if found.escapes:
            handles.append(Line2D([], [], **stroke("degenerate"), label="escape to infinity"))
        legend_below(figure, handles)
        return figure


def figure_portrait(portrait: Portrait) -> Figure:
    """Phase portrait of one plane.

    Examples
    --------
    >>> from analysis.phase_planes.planes import tied_plane
    >>> from analysis.phase_planes.portraits import phase_portrait
    >>> from dynamics.system import ModeSystem
    >>> plane = tied_plane(ModeSystem(1.0, 0.5))
    >>> len(figure_portrait(phase_portrait(plane, (-1, 1), (-1, 1))).axes)
    1
    """
    with style():
        figure, (ax,) = panels(portrait.name.capitalize(), 1, columns=1)
        draw_portrait(ax, portrait)
        legend_below(figure, portrait_handles([portrait]))
        return figure


def figure_basin_map(basin_map: BasinMap, boundary: np.ndarray | None = None) -> Figure:
    """Fates of starts in a plane, and points on the boundary between basins, shape (n, 2), if they are given.

    Examples
    --------
    >>> from analysis.fates.basins import basins
    >>> from dynamics.fields.modes import full_mode_field
    >>> from dynamics.system import ModeSystem
    >>> len(figure_basin_map(basins(ModeSystem(1.0, 0.5), full_mode_field, grid=8)).axes)
    1
    """
    with style():
        shares = ", ".join(
            f"{share.value:.1%} {fate}" for fate, share in basin_map.fractions.items() if share.value
        )
        figure, (ax,) = panels(shares, 1, columns=1)
        draw_basins(ax, basin_map)
        handles = basin_handles([basin_map])
        if basin_map.rule is not None:
            draw_rule(ax, basin_map)
            label = f"theory ({basin_map.rule})"
            handles.append(Line2D([], [], color=theme().ink, linestyle=DASHED, linewidth=1.1, label=label))
        if boundary is not None:
            handles += ax.plot(*boundary.T, ".", color=theme().ink, markersize=1.5, label="boundary")
        legend_below(figure, handles)
        return figure
