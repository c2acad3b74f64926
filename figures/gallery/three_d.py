"""The whole flow of one mode in (w1, w2, θ): lines of fixed points, leaves, and trajectories that stay on them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.fixed_points.one_mode import fixed_points
from analysis.phase_planes.planes import leaf_plane
from analysis.phase_planes.portraits import RestLine, rest_lines
from analysis.runs.simulation import simulate_modes
from dynamics.fields.modes import full_mode_field
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import sheet
from figures.panels.space import draw_leaf_surface, draw_orbits, draw_rest_line, frame
from figures.panels.stability import stroke
from figures.style import style, theme

_GRID = 25  # of a surface
_STARTS = ((-0.9, 0.9), (-0.9, -0.9), (-0.3, -0.9), (0.3, 0.9), (0.9, 0.9), (0.9, -0.9))
_SAMPLES = 2000


class Space(NamedTuple):
    """Phase space of one mode.

    Parameters
    ----------
    lines
        Lines of fixed points in the cube.
    sheets
        Sheets of leaves in the cube, weights of shape (n, m) each.
    leaves, invariants
        Number of the leaf that each sheet belongs to, and c of each leaf.
    orbits, fates
        Trajectories from starts on the sheets, weights of shape (T, k), and what became of each.
    view
        Extent of the cube, elevation and azimuth.
    parameters
        What was asked for.
    """

    lines: tuple[RestLine, ...]
    sheets: tuple[ModeState, ...]
    leaves: np.ndarray
    invariants: tuple[float, ...]
    orbits: ModeState
    fates: np.ndarray
    view: tuple[float, float, float]
    parameters: dict[str, float | tuple[float, ...]]


def compute_three_d(
    *,
    lambda_s: float = 1.0,
    lambda_d: float = 0.5,
    tau_online: float = 1.0,
    tau_predictor: float = 1.0,
    tau_target: float = 1.0,
    invariants: tuple[float, ...] = (0.2, -0.4),
    extent: float = 1.0,
    elevation: float = 25.0,
    azimuth: float = -70.0,
) -> Space:
    """Lines of fixed points (R5), the leaves of some invariants (R2), and trajectories on them (R6)."""
    parameters: dict[str, float | tuple[float, ...]] = {
        "lambda_s": lambda_s,
        "lambda_d": lambda_d,
        "tau_online": tau_online,
        "tau_predictor": tau_predictor,
        "tau_target": tau_target,
        "invariants": invariants,
        "extent": extent,
        "elevation": elevation,
        "azimuth": azimuth,
    }
    if not 0 < extent < float("inf"):
        raise ValueError(f"`extent` must be finite and > 0, got {extent}")
    rates = {"tau_online": tau_online, "tau_predictor": tau_predictor, "tau_target": tau_target}
    system = ModeSystem(lambda_s, lambda_d, **rates)
    window = np.array([[-extent, extent]] * 3)
    lines = [part for line in fixed_points(system).lines for part in rest_lines(line, window)]
    sheets, leaves, starts = [], [], []
    for index, c in enumerate(invariants):
        # the coordinate along a sheet: w2 for c > 0, w1 else; it ends where the other weight leaves the cube
        along, across = (tau_predictor, tau_online) if c > 0 else (tau_online, tau_predictor)
        reach = min(extent, float(np.sqrt(max(across * extent**2 - abs(c), 0.0) / along)))
        if reach == 0:
            continue
        u, th = np.meshgrid(np.linspace(-reach, reach, _GRID), np.linspace(-extent, extent, 2), indexing="ij")
        places = np.array(_STARTS) * [reach, extent]
        for sign in (1, -1):
            plane = leaf_plane(system, c, sign)
            sheets.append(plane.embed(u, th))
            leaves.append(index)
            starts.append(np.array(plane.embed(*places.T)))
    if not starts:
        raise ValueError(f"`extent` must be large enough for a leaf of {invariants}, got {extent}")
    start = np.concatenate(starts, axis=1)
    n = start.shape[1]
    many = ModeSystem(np.full(n, lambda_s), np.full(n, lambda_d), **rates)
    run = simulate_modes(ModeState(*start), many, full_mode_field)
    return Space(
        tuple(lines),
        tuple(sheets),
        np.array(leaves),
        invariants,
        run.trajectory.resampled(_SAMPLES).states,
        run.fate,
        (extent, elevation, azimuth),
        parameters,
    )


def figure_three_d(result: Space) -> Figure:
    """Draw the cube."""
    with style():
        figure = sheet("Every start stays on its leaf and ends on a line of fixed points", 3.6)
        ax = figure.add_subplot(projection="3d", computed_zorder=False)
        tints = (
            theme().weights["target"],
            theme().fates["undecided"],
            theme().muted,
            theme().weights["predictor"],
        )
        tint = {index: tints[index % len(tints)] for index in result.leaves.tolist()}
        for surface, index in zip(result.sheets, result.leaves.tolist(), strict=True):
            draw_leaf_surface(ax, surface, tint[index])
        draw_orbits(ax, result.orbits, result.fates)
        for line in result.lines:
            draw_rest_line(ax, line.points, line.stability)
        frame(ax, *result.view)
        kinds = dict.fromkeys(line.stability for line in result.lines if len(line.points) > 1)
        handles = [
            *(Line2D([], [], **stroke(kind), label=f"fixed points, {kind}") for kind in kinds),
            *(
                Line2D([], [], color=theme().fates[fate], linewidth=0.9, label=f"{fate} trajectory")
                for fate in sorted(set(map(str, result.fates)))
            ),
            *(
                Patch(color=colour, alpha=0.35, linewidth=0, label=f"leaf $c = {result.invariants[index]:g}$")
                for index, colour in tint.items()
            ),
        ]
        legend_below(figure, handles)
        return figure


def caption_three_d(result: Space) -> str:
    """Every parameter, and what is seen."""
    n_learned = int(np.sum(result.fates == "learned"))
    return (
        f"The full flow of one mode in the space of its three weights, {described(result.parameters)}. Surfaces are"
        " leaves of constant c = τo w1² − τp w2², both sheets of each, which no trajectory leaves (R2). Lines of"
        " fixed points: the learned line (a, r, a), attracting for a ≠ 0, and the collapsed line (0, p, 0),"
        " attracting for p < 0 and p > r, of saddles between (R5). Of"
        f" {len(result.fates)} trajectories, starting at the dots, {n_learned} learned and"
        f" {int(np.sum(result.fates == 'collapsed'))} collapsed (R6)."
    )


THREE_D = Page(
    "three-d",
    "The full flow in (w1, w2, θ) with lines of fixed points and leaves",
    compute_three_d,
    figure_three_d,
    caption_three_d,
    size="single",
)
