"""Panels of portraits, stability, bifurcations and phase space: the artists hold what analysis found."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.quiver import Quiver
from numpy.testing import assert_allclose, assert_array_equal

from analysis.fixed_points.bifurcations import bifurcation
from analysis.fixed_points.diagrams import Bifurcation
from analysis.fixed_points.one_mode import FixedPoints, fixed_points
from analysis.phase_planes.planes import (
    Plane,
    balanced_plane,
    fixed_target_plane,
    leaf_plane,
    no_predictor_plane,
    tied_plane,
)
from analysis.phase_planes.portraits import phase_portrait
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from figures.gallery.registry import page
from figures.panels.basins import draw_basins, fate_tint
from figures.panels.bifurcation import draw_bifurcation, special_points
from figures.panels.portrait import draw_flow, draw_portrait
from figures.panels.simulation import draw_spectrum
from figures.panels.space import draw_leaf_surface, draw_orbits, draw_rest_line, frame
from figures.panels.stability import MARKERS, draw_branch, draw_fixed_points, runs
from figures.style import THEMES, look, theme

LIGHT = THEMES["light"]
SYSTEM = ModeSystem(1.0, 0.5)
WINDOW = ((-1.2, 1.2), (-1.1, 1.3))
PLANES: dict[str, tuple[Plane, FixedPoints]] = {
    "fixed-target": (fixed_target_plane(SYSTEM, 1.0), fixed_points(SYSTEM, "fixed-target", target=1.0)),
    "tied": (tied_plane(SYSTEM), fixed_points(SYSTEM, "tied")),
    "no-predictor": (no_predictor_plane(SYSTEM), fixed_points(SYSTEM, "no-predictor")),
    "leaf": (leaf_plane(SYSTEM, -0.1), fixed_points(SYSTEM, invariant=-0.1)),
    "decay": (
        balanced_plane(ModeSystem(1.0, 0.5, weight_decay=0.04)),
        fixed_points(ModeSystem(1.0, 0.5, weight_decay=0.04)),
    ),
}
EACH = pytest.mark.parametrize("name", PLANES)


def drawn(name: str) -> tuple[Axes, Plane, FixedPoints]:
    plane, rest = PLANES[name]
    return draw_portrait(Figure().add_subplot(), phase_portrait(plane, *WINDOW, rest)), plane, rest


def curves(ax: Axes, colour: str) -> list[np.ndarray]:
    """Lines of a colour as arrays of shape (k, 2)."""
    return [
        np.asarray(line.get_xydata())
        for line in ax.lines
        if line.get_linestyle() != "None" and to_hex(line.get_color()) == colour
    ]


def marks(ax: Axes) -> list[Line2D]:
    return [line for line in ax.lines if line.get_linestyle() == "None"]


# --- portraits ----------------------------------------------------------------------------------------------


@EACH
def test_the_flow_vanishes_on_nullclines_in_the_colour_of_what_stands_still(name: str) -> None:
    ax, plane, _ = drawn(name)
    for component, weight in enumerate(plane.axes):
        found = curves(ax, LIGHT.weights[weight])
        assert found
        for curve in found:
            # rates are sums of products of weights below 1.3: a few roundings
            assert_allclose(plane(*curve.T)[component], 0.0, atol=1e-14)


@EACH
def test_arrows_are_parallel_to_the_flow_and_of_one_length(name: str) -> None:
    ax, plane, _ = drawn(name)
    (quiver,) = (item for item in ax.collections if isinstance(item, Quiver))
    U, V = np.asarray(quiver.U), np.asarray(quiver.V)
    assert quiver.angles == "xy"  # directions are those of the axes' coordinates
    du, dv = plane(quiver.X, quiver.Y)
    assert_allclose(U * dv - V * du, 0.0, atol=1e-15)
    assert np.all(U * du + V * dv > 0)
    assert_allclose(np.hypot(U, V), 1.0, rtol=4e-16)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fixed-target", ["saddle"]),
        ("tied", ["half-stable", "stable"]),
        ("no-predictor", ["stable"]),
        ("leaf", ["saddle", "stable", "stable"]),
        ("decay", ["saddle", "stable", "stable"]),
    ],
)
def test_markers_look_like_the_stability_that_analysis_finds(name: str, expected: list[str]) -> None:
    ax, plane, rest = drawn(name)
    found = []
    for mark in marks(ax):
        place = np.ravel(mark.get_xydata())
        at = [
            point.stability
            for point in rest.points
            if np.allclose([getattr(point, axis) for axis in plane.axes], place, rtol=0, atol=1e-12)
            and not point.name.endswith("negative")  # on the other sheet
        ]
        assert len(at) == 1
        assert mark.get_marker() == MARKERS[at[0]]
        assert mark.get_fillstyle() == ("left" if at[0] == "half-stable" else "full")
        assert to_hex(mark.get_markerfacecolor()) == LIGHT.stability[at[0]]
        found += at
    assert sorted(found) == expected


def test_open_marks_are_unstable() -> None:
    ax = draw_fixed_points(Figure().add_subplot(), np.zeros((5, 2)), MARKERS)
    hollow = {
        verdict: to_hex(mark.get_markerfacecolor()) == LIGHT.paper
        for verdict, mark in zip(MARKERS, ax.lines, strict=True)
    }
    assert [verdict for verdict, is_open in hollow.items() if is_open] == ["unstable", "degenerate"]


@pytest.mark.parametrize(("height", "n_rows"), [(4.0, 17), (1.8, 9), (0.9, 6)])
def test_arrows_that_would_crowd_are_thinned(height: float, n_rows: int) -> None:
    figure = Figure(figsize=(4.0, height))
    plane, _ = PLANES["tied"]
    ax = draw_portrait(figure.add_subplot(), phase_portrait(plane, *WINDOW))
    (quiver,) = (item for item in ax.collections if isinstance(item, Quiver))
    rows = np.unique(np.round(quiver.Y, 12))
    assert rows.size in (n_rows, n_rows - 1)
    apart = np.diff(rows)[0] / np.ptp(WINDOW[1]) * ax.get_window_extent().height / figure.dpi
    assert apart >= 0.105
    assert quiver.scale is not None
    assert 1 / quiver.scale <= 0.75 * apart  # no arrow reaches the next


def test_the_filled_half_of_a_half_stable_mark_is_the_side_that_attracts() -> None:
    ax, plane, _ = drawn("tied")
    (mark,) = (m for m in marks(ax) if m.get_fillstyle() == "left")
    assert_array_equal(np.ravel(mark.get_xydata()), [0.0, 0.0])
    assert to_hex(mark.get_markerfacecoloralt()) == LIGHT.paper
    # on the centre manifold θ = w + O(w²) the flow is w²: towards the origin on the left, away on the right
    w = np.array([-1e-3, 1e-3])
    centre = w - 0.5 * w**2  # dθ/dt = w − θ = dw/dt to second order
    assert np.all(plane(w, centre)[0] > 0)


def test_the_hyperbola_is_a_solid_line_of_stable_fixed_points() -> None:
    ax, plane, _ = drawn("fixed-target")
    branches = curves(ax, LIGHT.stability["stable"])
    assert len(branches) == 2
    for branch in branches:
        assert_allclose(np.prod(branch, axis=1), 0.5, rtol=4e-16)
        assert_allclose(plane(*branch.T), 0.0, atol=4e-16)


def test_separatrices_are_the_ones_found() -> None:
    plane, rest = PLANES["leaf"]
    portrait = phase_portrait(plane, *WINDOW, rest)
    ax = draw_portrait(Figure().add_subplot(), portrait)
    (found,) = portrait.separatrices
    for bands, branches in (
        (curves(ax, LIGHT.faint), found.stable),
        (curves(ax, LIGHT.ink), found.unstable),
    ):
        assert len(bands) == len(branches) == 2
        for one, other in zip(bands, branches, strict=True):
            assert_array_equal(one, other)


def test_the_window_is_that_of_the_portrait() -> None:
    ax, _, _ = drawn("tied")
    assert (ax.get_xlim(), ax.get_ylim()) == WINDOW
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("online weight $w_1$", r"target $\theta$")


# --- branches -----------------------------------------------------------------------------------------------


def diagram(parameter: str) -> Bifurcation:
    return bifurcation(SYSTEM, parameter, (0.0, 0.1) if parameter == "weight-decay" else (-0.5, 0.5))


@pytest.mark.parametrize("parameter", ["weight-decay", "invariant"])
@pytest.mark.parametrize("weight", ["online", "predictor"])
def test_branches_are_solid_where_stable_and_dashed_where_saddles(parameter: str, weight: str) -> None:
    found = diagram(parameter)
    ax = draw_bifurcation(Figure().add_subplot(), found, weight)
    drawn_points = 0
    for line in ax.lines:
        if line.get_linestyle() == "None":
            continue
        solid = line.get_linestyle() == "-"
        assert to_hex(line.get_color()) == LIGHT.stability["stable" if solid else "saddle"]
        # inside, where no other branch is met, fixed points of their own say the same
        path = np.asarray(line.get_xydata())
        value, height = path[len(path) // 2]
        options = {"weight_decay": value} if parameter == "weight-decay" else {}
        invariant = value if parameter == "invariant" else None
        there = fixed_points(ModeSystem(1.0, 0.5, **options), invariant=invariant).points
        stabilities = {p.stability for p in there if abs(getattr(p, weight) - height) < 1e-9}
        assert ("stable" if solid else "saddle") in stabilities
        drawn_points += 1
    assert drawn_points >= len(found.branches)


@pytest.mark.parametrize("parameter", ["weight-decay", "invariant"])
def test_bifurcations_are_marked_where_they_are(parameter: str) -> None:
    found = diagram(parameter)
    ax = draw_bifurcation(Figure().add_subplot(), found, "predictor")
    shown = [tuple(np.ravel(mark.get_xydata())) for mark in marks(ax)]
    assert shown == [(point.value, point.predictor) for point in found.points]
    assert {m.get_marker() for m in marks(ax)} == {"D"}


def test_sheets_do_not_hide_each_other() -> None:
    # at w1 = 0 the saddle of the sheet w2 > 0 and the sink of the other lie at one height
    found = bifurcation(SYSTEM, "lambda-d", (0.35, 0.8), invariant=-0.09)
    for sheet, linestyle in ((1, "--"), (-1, "-")):
        ax = draw_bifurcation(Figure().add_subplot(), found, "online", sheet)
        flat = [line for line in ax.lines if np.all(np.asarray(line.get_ydata()) == 0)]
        assert [line.get_linestyle() for line in flat] == [linestyle]


def test_wide_ranges_are_drawn_on_a_logarithmic_axis() -> None:
    found = bifurcation(SYSTEM, "lambda-s", (0.5, 1000.0), invariant=-0.09)
    assert draw_bifurcation(Figure().add_subplot(), found).get_xscale() == "log"


def test_bifurcations_are_told_in_words() -> None:
    assert special_points(diagram("weight-decay")) == "transcritical at 0, saddle-node at 0.0625"
    assert (
        special_points(diagram("invariant")) == "pitchfork of the collapsed state at −0.25, saddle-node at 0"
    )


@pytest.mark.parametrize(
    ("stability", "expected"),
    [
        (["stable"] * 3, [(0, 3, "stable")]),
        (["degenerate", "saddle", "saddle", "degenerate"], [(0, 4, "saddle")]),
        (["stable", "saddle"], [(0, 1, "stable"), (0, 2, "saddle")]),
        (["stable", "degenerate", "saddle"], [(0, 2, "stable"), (1, 3, "saddle")]),
        (["degenerate"] * 2, [(0, 2, "degenerate")]),
    ],
)
def test_runs_meet_without_a_gap(stability: list[str], expected: list[tuple[int, int, str]]) -> None:
    assert [(part.start, part.stop, verdict) for part, verdict in runs(stability)] == expected


# --- every panel --------------------------------------------------------------------------------------------

GRID = np.meshgrid(np.linspace(0, 1, 3), np.linspace(0, 1, 3))


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: draw_flow(ax, *GRID, *GRID),
        lambda ax: draw_portrait(ax, phase_portrait(tied_plane(SYSTEM), (-1, 1), (-1, 1))),
        lambda ax: draw_bifurcation(ax, diagram("invariant")),
        lambda ax: draw_fixed_points(ax, np.eye(2), ["stable", "saddle"]),
        lambda ax: draw_branch(ax, np.arange(3), np.arange(3), ["stable", "stable", "saddle"]),
    ],
)
def test_panels_draw_on_the_given_axes_and_nowhere_else(draw: Callable[[Axes], Axes]) -> None:
    figure = Figure()
    given_ax, other = figure.subplots(1, 2)
    before, untouched = dict(matplotlib.rcParams), [type(child) for child in other.get_children()]
    assert draw(given_ax) is given_ax
    assert figure.axes == [given_ax, other]
    assert [type(child) for child in other.get_children()] == untouched
    assert dict(matplotlib.rcParams) == before


def test_panels_of_space_draw_on_the_given_axes() -> None:
    figure = Figure()
    ax = figure.add_subplot(projection="3d")
    before = dict(matplotlib.rcParams)
    path = np.stack([np.linspace(0, 1, 4)] * 2, axis=1)
    draw_leaf_surface(ax, ModeState(GRID[0], GRID[1], GRID[0]), "#123456")
    draw_orbits(ax, ModeState(path, path, path), ["learned", "collapsed"])
    draw_rest_line(ax, np.eye(3), "attracting")
    frame(ax, 1.5, 20.0, -60.0)
    assert figure.axes == [ax]
    assert ax.get_xlim() == ax.get_ylim() == ax.get_zlim() == (-1.5, 1.5)
    orbits = [line for line in ax.lines if to_hex(line.get_color()) in LIGHT.fates.values()]
    assert_array_equal(np.array(orbits[0].get_data_3d()), path.T[[0, 0, 0]])
    assert dict(matplotlib.rcParams) == before


def test_panels_wear_the_theme_that_is_asked_for() -> None:
    with look(theme="dark"):
        ax, _, _ = drawn("tied")
    assert curves(ax, THEMES["dark"].weights["online"])
    assert not curves(ax, LIGHT.weights["online"])


def test_the_top_of_the_spectrum_stands_out() -> None:
    ratios = np.array([0.9, 0.7, 0.4, 0.2, 0.1])
    ax = Figure().add_subplot()
    draw_spectrum(ax, ratios, 2)
    heights = {
        lines.get_linewidths()[0]: [path[0, 1] for path in lines.get_segments()] for lines in ax.collections
    }
    assert_allclose(heights[max(heights)], ratios[:2])
    assert_allclose(heights[min(heights)], ratios[2:])


def test_axes_of_basins_name_the_coordinates_that_vary() -> None:
    found = page("basins").compute(resolution=3).maps[0]
    ax = draw_basins(Figure().add_subplot(), found)
    assert ax.get_xlabel().startswith(found.plane[0])
    assert ax.get_ylabel().startswith(found.plane[1])
    assert found.plane[0] != found.plane[1]


@pytest.mark.parametrize("name", ["light", "dark"])
def test_what_was_learned_with_the_other_sign_is_paler(name: str) -> None:
    with look(theme=name):
        paper = np.array(to_rgb(theme().paper))
        kinds = (("learned", False), ("learned", True), ("collapsed", True))
        learned, other, collapsed = (np.linalg.norm(fate_tint(*kind) - paper) for kind in kinds)
        # readable apart from each other and from the paper, and a collapse has no sign
        assert 0.2 * learned < other < 0.8 * learned
        assert collapsed == np.linalg.norm(fate_tint("collapsed", False) - paper)


def test_angles_are_labelled_with_what_they_are() -> None:
    from figures.panels.spectra import draw_angles

    ax = draw_angles(Figure().add_subplot(), np.array([[10.0, 80.0]]), ["k"])
    assert [float(label.get_text().strip("°")) for label in ax.get_yticklabels()] == ax.get_yticks().tolist()
    assert (ax.get_yticks()[0], ax.get_yticks()[-1]) == ax.get_ylim()


def test_a_legend_names_the_marks_in_use_and_no_others() -> None:
    from figures.panels.stability import stability_handles

    assert {item.get_label() for item in stability_handles(["saddle", "stable", "saddle"])} == {
        "saddle",
        "stable",
    }


@pytest.mark.parametrize("inches", [(4.0, 4.0), (1.2, 1.2), (0.8, 0.8), (0.5, 0.5)])
def test_arrows_that_are_drawn_lie_in_the_middle_of_the_panel(inches: tuple[float, float]) -> None:
    """Of every second or third row as much is left out below as above, to one row."""
    from figures.panels.portrait import draw_flow

    n = 17
    u, v = np.meshgrid(np.arange(n), np.arange(n))
    ax = Figure(figsize=inches).add_axes((0, 0, 1, 1))
    draw_flow(ax, u, v, np.ones((n, n)), np.ones((n, n)))
    for places in ax.collections[0].XY.T:
        assert abs(np.min(places) - (n - 1 - np.max(places))) <= 1
