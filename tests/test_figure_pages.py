"""Pages: parameters, captions, texts that fit at every size, equal bytes, settings left alone."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal
from picture_checks import clashes

from analysis.fates.basins import FATES, BasinMap
from analysis.phase_planes.separatrices import leaf_separatrix
from dynamics.exact.fixed_target import fixed_target_solution
from dynamics.exact.no_ema import no_ema_solution
from dynamics.exact.no_predictor import no_predictor_solution
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from figures.gallery.registry import PAGES, flat_arrays, page
from figures.panels.basins import basin_handles, draw_basins
from figures.results.objects import (
    figure_basin_map,
    figure_diagram,
    figure_fixed_points,
    figure_portrait,
    figure_trajectory,
)
from figures.style import SIZES, THEMES, look, save, size, theme

EACH = pytest.mark.parametrize("name", PAGES)


# Pages that take seconds, in small: fewer seeds and steps.
SMALL: dict[str, dict[str, int]] = {
    "basins": {"resolution": 96},
    "depth-basins": {"resolution": 24},
    "figure-7": {"n_seeds": 2, "steps": 400},
    "figure-8": {"n_seeds": 2, "steps": 100},
    "figure-9": {"n_seeds": 2, "height": 3, "steps": 10},
    "table-2": {"n_seeds": 2, "height": 3},
    "table-4": {"n_starts": 2},
}


@cache
def result(name: str) -> Any:
    return page(name).compute(**SMALL.get(name, {}))


# --- every page ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_parameters_are_keywords_with_types_and_defaults(name: str) -> None:
    found = page(name)
    assert found.name == name
    assert "\n" not in found.title
    assert found.size in SIZES
    hints = get_type_hints(found.compute)
    for parameter in inspect.signature(found.compute).parameters.values():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert parameter.default is not inspect.Parameter.empty
        assert parameter.name in hints


def test_unknown_pages_are_refused_with_a_list() -> None:
    with pytest.raises(ValueError, match=f"a figure must be one of {', '.join(PAGES)}, got 'figure-6'"):
        page("figure-6")


def test_listing_pages_imports_none_of_them() -> None:
    code = (
        "import figures.gallery.registry, sys; known = {'figures.gallery.registry'}\n"
        "print([m for m in sys.modules if m.startswith('figures.gallery.') and m not in known])"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@EACH
@pytest.mark.parametrize("room", SIZES)
def test_no_text_is_clipped_or_overlaps_at_any_size(name: str, room: str) -> None:
    with look(size=room):
        figure = page(name).draw(result(name))
    assert figure.get_figwidth() == SIZES[room].width
    assert figure.get_figheight() == (SIZES[room].height or figure.get_figheight())
    assert figure.get_figheight() <= 9.8  # a column of a page
    assert clashes(figure) == []


# Trained or integrated for seconds: drawn twice, but computed anew by the slow tests alone.
LONG = {
    "spectrum",
    "stepwise",
    "figure-7",
    "figure-8",
    "figure-9",
    "table-2",
    "table-4",
    "infonce-spectrum",
} | {
    "mode-competition",
    "raft-figure-5",
    "barlow-plateaus",
    "vicreg-spectrum",
    "compare-objectives",
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in PAGES]
)
def test_equal_input_gives_equal_bytes_and_settings_stay(name: str, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    paths = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for path, found in zip(paths, (result(name), result.__wrapped__(name)), strict=True):
        save(page(name).draw(found), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert dict(matplotlib.rcParams) == before


@EACH
def test_captions_hold_every_parameter_in_one_paragraph(name: str) -> None:
    caption = page(name).caption(result(name))
    assert "\n" not in caption
    assert caption.endswith(".")
    for default in page(name).parameters().values():
        values = default if isinstance(default, tuple) else (default,)
        for value in (part for each in values for part in (each if isinstance(each, tuple) else (each,))):
            if value is not None and not isinstance(value, int):
                assert f"{value:g}" in caption if isinstance(value, float) else value in caption


@EACH
def test_the_numbers_of_a_page_can_be_saved(name: str, tmp_path: Path) -> None:
    arrays = flat_arrays(result(name))
    np.savez(tmp_path / "data.npz", allow_pickle=False, **arrays)  # refuses Python objects
    assert arrays
    assert all(array.dtype != object for array in arrays.values())


@EACH
def test_nonsense_is_refused(name: str) -> None:
    for parameter, bad, message in (
        ("extent", -1.0, "`extent` must be finite and > 0, got -1"),
        ("lambda_s", np.nan, "`lambda_s` .*must be .*got nan"),
    ):
        if parameter in page(name).parameters():
            with pytest.raises(ValueError, match=message):
                page(name).compute(**{parameter: bad})


# --- sizes and themes ---------------------------------------------------------------------------------------


def test_the_look_never_leaks() -> None:
    before = size(), theme()

    def fail() -> None:
        with look(size="slide", theme="dark"):
            assert (size(), theme()) == (SIZES["slide"], THEMES["dark"])
            with look(size="single"):
                assert (size(), theme()) == (SIZES["single"], THEMES["dark"])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (size(), theme()) == before


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"size": "poster"}, "`size` must be one of single, double, slide, got 'poster'"),
        ({"theme": "sepia"}, "`theme` must be one of light, dark, got 'sepia'"),
    ],
)
def test_unknown_looks_are_refused_with_a_list(choice: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message), look(**choice):
        pass


def test_dark_pages_are_dark_and_what_is_written_on_them_is_not() -> None:
    with look(theme="dark"):
        figure = page("tied").draw(result("tied"))
    dark = THEMES["dark"]
    (ax,) = figure.axes
    assert to_hex(figure.get_facecolor()) == to_hex(ax.get_facecolor()) == dark.paper
    texts = [figure.texts[0], ax.xaxis.label, ax.yaxis.label, *figure.legends[0].texts, *ax.get_xticklabels()]
    assert {to_hex(text.get_color()) for text in texts} == {dark.ink}


def test_text_grows_on_a_slide() -> None:
    sizes = {}
    for room in SIZES:
        with look(size=room):
            (ax,) = page("tied").draw(result("tied")).axes
        sizes[room] = ax.xaxis.label.get_fontsize()
    assert sizes["single"] == sizes["double"]
    assert sizes["slide"] == pytest.approx(1.4 * float(sizes["single"]))


# --- single pages -------------------------------------------------------------------------------------------


def test_figure_5_has_what_its_caption_says() -> None:
    figure = page("figure-5").draw(result("figure-5"))
    left, middle, right = figure.axes
    assert "half-stable, (0.5, 0.5) stable" in page("figure-5").caption(result("figure-5"))
    # the origin: a saddle, half-stable, stable
    for ax, marker, fill in ((left, "X", "full"), (middle, "o", "left"), (right, "o", "full")):
        (origin,) = (m for m in ax.lines if m.get_linestyle() == "None" and not np.any(m.get_xydata()))
        assert (origin.get_marker(), origin.get_fillstyle()) == (marker, fill)
    # the nullcline of w in the right panel is the straight line θ = w λs/λd of slope 2 > 1
    colour = THEMES["light"].weights["online"]
    (line,) = (line.get_xydata() for line in right.lines if to_hex(line.get_color()) == colour)
    assert_allclose(np.asarray(line)[:, 1], 2 * np.asarray(line)[:, 0], rtol=0, atol=4e-16)


def test_panels_of_figure_5_are_those_of_its_parts() -> None:
    for name, portrait in zip(
        ("fixed-target", "tied", "no-predictor"), result("figure-5").portraits, strict=True
    ):
        one, other = flat_arrays(portrait), flat_arrays(result(name).portraits[0])
        assert one.keys() == other.keys()
        for key, array in one.items():
            assert_array_equal(array, other[key])


@pytest.mark.parametrize(
    ("name", "parameters", "headline"),
    [
        ("no-predictor", {"lambda_d": 2.0}, "run away"),
        ("no-predictor", {"lambda_d": 1.0}, "rests"),
        ("no-predictor", {}, "collapses"),
        ("tied", {"weight_decay": 0.01}, "attracts"),
        ("tied", {}, "one side"),
        ("fixed-target", {}, "hyperbola"),
        ("fixed-target", {"weight_decay": 1.0}, "is stable"),
    ],
)
def test_headlines_say_what_holds_for_the_parameters(
    name: str, parameters: dict[str, float], headline: str
) -> None:
    figure = page(name).draw(page(name).compute(**parameters))
    assert headline in figure.get_suptitle().replace("\n", " ")
    assert clashes(figure) == []


def test_leaves_are_named_by_their_regime() -> None:
    computed = page("leaf").compute(invariants=(0.1, -0.249, -0.25, -0.251))
    titles = [ax.get_title(loc="left") for ax in page("leaf").draw(computed).axes]
    below = r"$c \leq {-}\tau_p r^2$"
    regimes = ["$c > 0$", r"$-\tau_p r^2 < c < 0$", below, below]
    assert [title.split("(")[1].rstrip(")") for title in titles] == regimes
    stabilities = [sorted(portrait.stability) for portrait in computed.portraits]
    assert stabilities == [["stable"], ["saddle", "stable", "stable"], ["degenerate"], ["stable"]]


def test_the_leaf_of_a_negative_ratio_is_the_mirror_image() -> None:
    one = page("leaf").compute(invariants=(-0.1,)).portraits[0]
    other = page("leaf").compute(lambda_d=-0.5, invariants=(-0.1,)).portraits[0]
    assert_array_equal(one.points, other.points)
    assert_allclose(one.du, other.du, rtol=1e-14)


def test_the_bifurcation_page_names_its_points() -> None:
    titles = [ax.get_title(loc="left") for ax in page("bifurcation").draw(result("bifurcation")).axes]
    assert titles == [
        r"Saddle-node at $\eta$ = 0.0625",
        "Collapsed state forks at $c$ = −0.25",
        "Sheets meet at $c$ = 0",
    ]
    narrow = page("bifurcation").compute(weight_decay_end=0.01, invariant_end=0.01)
    titles = [ax.get_title(loc="left") for ax in page("bifurcation").draw(narrow).axes]
    assert titles == ["No bifurcation", "No bifurcation", "Sheets meet at $c$ = 0"]


@pytest.mark.parametrize(
    ("variant", "solution"),
    [
        ("no-ema", no_ema_solution),
        ("fixed-target", fixed_target_solution),
        ("no-predictor", no_predictor_solution),
    ],
)
def test_circles_are_the_closed_form_and_lines_the_integration(variant: str, solution: Any) -> None:
    computed = page("trajectories").compute(variant=variant)
    system = ModeSystem([1.0] * 3, [0.5] * 3)
    figure = page("trajectories").draw(computed)
    assert clashes(figure) == []
    for k, ax in enumerate(figure.axes[:3]):
        for part, colour in THEMES["light"].weights.items():
            mine = [line for line in ax.lines if to_hex(line.get_color()) == colour]
            (circles,) = (line for line in mine if line.get_marker() == "o")
            (curve,) = (line for line in mine if len(np.ravel(line.get_xdata())) == 401)
            expected = getattr(solution(circles.get_xdata(), computed.starts, system), part)[:, k]
            assert_array_equal(circles.get_ydata(), expected)
            at = np.isin(curve.get_xdata(), circles.get_xdata())
            # the integration keeps its error within 10 (rtol |w| + atol)
            assert_allclose(np.asarray(curve.get_ydata())[at], expected, rtol=1e-7, atol=1e-9)
    finite = np.isfinite(computed.drift)
    assert np.all(finite) if variant != "no-predictor" else not np.any(finite)


def test_the_full_flow_has_no_closed_form() -> None:
    computed = page("trajectories").compute(variant="full", target=(-0.1, 0.3, 0.1))
    figure = page("trajectories").draw(computed)
    assert np.all(np.isnan(computed.error))
    assert [text.get_text() for text in figure.legends[0].texts][-1] == "$|c(t) - c(0)|$"
    assert "there is no closed form" in page("trajectories").caption(computed)
    assert clashes(figure) == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"variant": "tied"},
            "`variant` must be one of full, no-ema, fixed-target, no-predictor, got 'tied'",
        ),
        ({"online": (0.1,)}, "must hold one number a start each, got 1, 3 and 3"),
        ({"t_end": -1.0}, "`t_end`"),
    ],
)
def test_trajectories_refuse_nonsense(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        page("trajectories").compute(**parameters)


def test_surfaces_and_orbits_keep_their_invariant() -> None:
    computed = page("three-d").compute(tau_online=1.5, tau_predictor=0.8)
    values = (0.2, 0.2, -0.4, -0.4)
    assert len(computed.sheets) == 4
    for (w1, w2, th), c in zip(computed.sheets, values, strict=True):
        assert_allclose(1.5 * w1**2 - 0.8 * w2**2, c, rtol=0, atol=1e-15)
        assert max(np.max(np.abs(w)) for w in (w1, w2, th)) <= 1 + 1e-15
        assert max(np.max(np.abs(w)) for w in (w1, w2)) == pytest.approx(1.0)  # up to the walls
    w1, w2, _ = computed.orbits
    drift = 1.5 * w1**2 - 0.8 * w2**2 - np.repeat(values, w1.shape[1] // 4)
    assert np.max(np.abs(drift)) < 1e-7  # ten times the relative tolerance of the integration
    # R6: for c > 0 all learn; c = −0.4 is below −τp r² = −0.2
    assert computed.fates.tolist() == ["learned"] * 12 + ["collapsed"] * 12


def test_a_leaf_outside_the_cube_is_refused() -> None:
    with pytest.raises(ValueError, match="`extent` must be large enough for a leaf of"):
        page("three-d").compute(invariants=(0.5,), extent=0.5)


def regions(name: str, found: BasinMap) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres of cells along the axes, and whether each cell of the picture has the colour of collapse."""
    ax = dict(zip(result("basins").names, page("basins").draw(result("basins")).axes, strict=True))[name]
    (image,) = ax.images
    assert tuple(image.get_extent()) == (*ax.get_xlim(), *ax.get_ylim())
    assert image.origin == "lower"
    cells = np.asarray(image.get_array())
    collapsed = cells[found.fate.reshape(found.shape) == FATES.index("collapsed")][0]
    return *found.axes, np.all(cells == collapsed, axis=-1)


@pytest.mark.parametrize("name", ["no weight decay", "slow target"])
def test_the_drawn_hyperbola_lies_within_a_pixel_of_the_computed_boundary(name: str) -> None:
    shown_maps = dict(zip(result("basins").names, result("basins").maps, strict=True))
    w1, w2, collapsed = regions(name, shown_maps[name])
    figure = page("basins").draw(result("basins"))
    ax = figure.axes[list(shown_maps).index(name)]
    curves = [np.asarray(line.get_xydata()) for line in ax.lines]
    assert len(curves) == 2
    pixel = w2[1] - w2[0]
    n_crossings = 0
    for curve, above in zip(curves, (True, False), strict=True):
        for column, x in enumerate(w1):
            height = np.interp(x, *curve.T)
            inside = collapsed[:, column] & ((w2 > 0) == above)
            if w2[0] < height < w2[-1]:
                edge = w2[inside].min() - pixel / 2 if above else w2[inside].max() + pixel / 2
                # where the boundary crosses a cell, its centre decides: half a pixel, and the polyline's chords
                assert abs(edge - height) <= 0.51 * pixel + 1e-3
                n_crossings += 1
    assert n_crossings > 100


def test_the_dotted_line_parts_the_signs() -> None:
    found = result("basins")
    for one, manifold in zip(found.maps[::2], found.manifolds[::2], strict=True):
        w1, w2 = found.places
        between = np.isfinite(manifold)
        assert np.array_equal(between, (w2 > 0) & (w1**2 < w2**2) & (w1**2 > w2**2 - 0.25))
        # the nearest start of the map has the sign that θ = 0.1 has seen from the manifold, unless it is close to it
        u, v = one.axes
        column, row = np.abs(u - w1[..., None]).argmin(-1), np.abs(v - w2[..., None]).argmin(-1)
        sign = np.sign(one.final.online.reshape(one.shape)[row, column])
        clear = (
            between
            & (np.abs(found.target - manifold) > 0.3)
            & (one.fate.reshape(one.shape)[row, column] == 0)
        )
        assert clear.sum() > 100
        assert_array_equal(sign[clear], np.sign(found.target - manifold)[clear])


def test_the_dotted_line_is_where_the_start_lies_on_the_manifold() -> None:
    found = result("basins")
    for ax, one in list(zip(page("basins").draw(found).axes, found.maps, strict=True))[::2]:
        (contour,) = (item for item in ax.collections if isinstance(item, QuadContourSet))
        (path,) = contour.get_paths()
        places = path.vertices[5:-5]  # near its ends a cell of the lattice leaves the leaves with a saddle
        manifold = leaf_separatrix(places[:, :1], places[:, 1:], one.system)[:, 0]
        inside = np.isfinite(manifold)
        # linear interpolation between places 0.025 apart, of a function whose second derivative is some tens
        assert_allclose(manifold[inside], found.target, atol=0.02)
        assert inside.sum() > 10


def test_weight_decay_has_no_manifold_and_another_boundary() -> None:
    found = result("basins")
    assert np.all(np.isnan(found.manifolds[1]))
    assert len(page("basins").draw(found).axes[1].collections) == 0
    assert not np.array_equal(found.maps[0].fate, found.maps[1].fate)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"online": (1.0,)}, "`online` must be two numbers, the smaller first, got"),
        (
            {"lambda_d": -0.5},
            "`lambda_s` and `lambda_d` must be > 0 for the boundary of R6, got 1.0 and -0.5",
        ),
        ({"resolution": 0}, "`grid` must be >= 1, got 0"),
    ],
)
def test_basins_refuse_nonsense(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        page("basins").compute(**parameters)


def test_the_colour_of_a_cell_is_that_of_its_fate_and_sign() -> None:
    found = result("basins").maps[0]
    ax = draw_basins(Figure().add_subplot(), found)
    cells = np.asarray(ax.images[0].get_array()).reshape(-1, 3)
    kinds = np.where(found.fate == 0, np.where(found.final.online > 0, 0, 1), found.fate + 1)
    colours = {kind: {tuple(cell) for cell in cells[kinds == kind]} for kind in np.unique(kinds)}
    legend = {str(item.get_label()): tuple(to_rgb(item.get_facecolor())) for item in basin_handles([found])}
    assert colours[0] == {legend["learned, $w_1 > 0$"]}
    assert colours[1] == {legend["learned, $w_1 < 0$"]}
    assert colours[2] == {legend["collapsed"]}
    assert all(len(colour) == 1 for colour in colours.values())
    assert len(set.union(*colours.values())) == len(colours) >= 3


# --- data ---------------------------------------------------------------------------------------------------


def test_arrays_are_named_by_their_place() -> None:
    nested = {
        "a": [ModeState(1.0, np.ones(2), "x"), {"b": 2}],
        "c": (1.0, 2.0),
        "d": [],
        "_e": object(),
        "f": len,
    }
    found = flat_arrays(nested)
    assert set(found) == {"a.0.online", "a.0.predictor", "a.0.target", "a.1.b", "c"}
    assert_array_equal(found["c"], [1.0, 2.0])
    assert found["a.0.target"] == "x"


# --- what notebooks show ------------------------------------------------------------------------------------


KINDS = ["modes", "matrices", "lines", "leaf", "hyperbola", "diagram", "portrait", "lattice", "random"]


def shown() -> dict[str, Any]:
    from analysis.fates.basins import basins
    from analysis.fixed_points.bifurcations import bifurcation
    from analysis.fixed_points.one_mode import fixed_points
    from dynamics.fields.matrices import full_field
    from dynamics.fields.modes import full_mode_field
    from dynamics.integration.integrate import integrate
    from dynamics.system import MatrixSystem

    system, matrices = ModeSystem([1.0, 1.0], [0.5, 0.3]), MatrixSystem(np.eye(3), np.diag([0.9, 0.6, 0.3]))
    one = ModeSystem(1.0, 0.5)
    start = matrices.state(np.eye(2, 3), 0.1 * np.eye(2))
    return {
        "modes": (figure_trajectory, integrate(system.state(), system, full_mode_field)),
        "matrices": (figure_trajectory, integrate(start, matrices, full_field)),
        "lines": (figure_fixed_points, fixed_points(one)),
        "leaf": (figure_fixed_points, fixed_points(one, invariant=-0.1)),
        "hyperbola": (figure_fixed_points, fixed_points(one, "fixed-target", target=1.0)),
        "diagram": (figure_diagram, bifurcation(one, "lambda-d", (0.1, 1.0), invariant=-0.1)),
        "portrait": (figure_portrait, result("tied").portraits[0]),
        "lattice": (figure_basin_map, basins(one, full_mode_field, grid=12)),
        "random": (figure_basin_map, basins(one, full_mode_field, random=50)),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("room", SIZES)
def test_single_results_are_drawn_whole(kind: str, room: str) -> None:
    draw, found = shown()[kind]
    with look(size=room):
        assert clashes(draw(found)) == []


def test_fixed_points_are_drawn_with_their_stability() -> None:
    draw, found = shown()["leaf"]
    (ax,) = draw(found).axes
    marks = {tuple(np.ravel(mark.get_xydata()).round(6)): mark.get_marker() for mark in ax.lines}
    w1, p = round(0.15**0.5, 6), round(0.1**0.5, 6)
    assert marks == {(w1, 0.5): "o", (-w1, 0.5): "o", (0.0, p): "X", (0.0, -p): "o"}


def test_the_ends_of_a_diagram_are_told_by_its_bifurcations() -> None:
    rates = {"tau_online": 1.4, "tau_predictor": 1.7}
    found = page("bifurcation").compute(lambda_s=0.8, lambda_d=0.6, **rates)
    # 1.3 η* = 1.3 λd²/(4 τo λs), and twice the pitchfork τp r²
    assert found.parameters["weight_decay_end"] == pytest.approx(1.3 * 0.36 / (4 * 1.4 * 0.8), rel=1e-12)
    assert found.parameters["invariant_end"] == pytest.approx(2 * 1.7 * 0.75**2, rel=1e-12)
    with pytest.raises(ValueError, match="`lambda_s` and `lambda_d` must be > 0 for this figure"):
        page("bifurcation").compute(lambda_s=0.0)


def test_trajectories_are_of_the_mode_asked_for_and_span_the_panel() -> None:
    computed = page("trajectories").compute(variant="no-ema", lambda_s=1.3, lambda_d=0.7)
    system = ModeSystem([1.3] * 3, [0.7] * 3)
    expected = no_ema_solution(computed.ts, computed.starts, system)
    assert_allclose(computed.integrated.online, expected.online, atol=1e-7)
    for ax in page("trajectories").draw(computed).axes:
        assert ax.get_xlim() == (computed.ts[0], computed.ts[-1]) == (0.0, computed.step_ts[-1])


def test_two_leaves_one_above_the_other_keep_the_shape_of_one() -> None:
    heights = []
    for n in (1, 2, 3):
        with look(size="single"):
            figure = page("leaf").draw(page("leaf").compute(invariants=(0.2, -0.1, -0.4)[:n]))
        heights.append(figure.get_figheight())
    assert heights[1] - heights[0] == pytest.approx(0.85 * 3.5)
    assert (heights[2] - heights[0]) / 2 < 0.85 * 3.5  # more would not fit a column
