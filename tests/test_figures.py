"""Figures: what the artists hold, whose the settings are, the bytes written. No pixel is compared."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.testing import assert_allclose, assert_array_equal
from picture_checks import SEEN, cielab, clashes, text_of

from analysis.runs.simulation import MatrixSimulation, ModeSimulation, simulate_matrices, simulate_modes
from analysis.runs.spectra import predictor_eigenvalue_paths
from dynamics.fields.matrices import full_field, no_predictor_field
from dynamics.fields.modes import full_mode_field, no_predictor_mode_field
from dynamics.fields.vector_field import VectorField
from dynamics.integration.integrate import Status
from dynamics.invariants import balance_drift, eigenvalue_floor
from dynamics.system import MatrixSystem, ModeSystem
from figures.layout import sheets as layout
from figures.panels import scales
from figures.panels import simulation as panels
from figures.results.simulation import figure_matrix_simulation, figure_mode_simulation
from figures.style import PICTURES, THEMES, save, style

COLOURS, FATES = THEMES["light"].weights, THEMES["light"].fates


def modes(
    n: int, field: VectorField = full_mode_field, t_end: float | None = None, **rates: float
) -> ModeSimulation:
    """Modes of which every third collapses: its predictor starts so large and negative that c < 0."""
    ratio = np.linspace(0.8, 0.2, n)
    system = ModeSystem(np.ones(n), ratio, **rates)
    predictor = np.where(np.arange(n) % 3 == 1, -0.6, 0.2)
    return simulate_modes(system.state(0.3, predictor, -0.1), system, field, t_end)


def matrices(field: VectorField = full_field, t_end: float | None = None, **rates: float) -> MatrixSimulation:
    """Four rows on ten inputs with moments that do not commute; the last row starts as one that collapses."""
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    signal = (basis * np.linspace(1.0, 0.05, 10)) @ basis.T
    signal = (signal + signal.T) / 2
    system = MatrixSystem(signal + np.diag(np.linspace(0.1, 0.5, 10)), signal, **rates)
    W = 0.1 * rng.standard_normal((4, 10))
    P = np.diag([0.1, 0.12, 0.15, -0.8]) + 0.02 * rng.standard_normal((4, 4))
    return simulate_matrices(system.state(W, P), system, field, t_end)


@pytest.fixture(scope="module")
def learned() -> ModeSimulation:
    return modes(1)


@pytest.fixture(scope="module")
def three() -> ModeSimulation:
    return modes(3)


@pytest.fixture(scope="module")
def network() -> MatrixSimulation:
    return matrices()


def lines(ax: Axes, colour: str, style: str | None = "-") -> list[Line2D]:
    """Curves of a colour; `style` None finds the dashed ones."""
    found = [line for line in ax.lines if to_hex(line.get_color()) == colour]
    return [line for line in found if (line.get_linestyle() == "-") == (style == "-")]


def xs(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_xdata())


def ys(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata())


def only(items: list[Line2D]) -> Line2D:
    assert len(items) == 1
    return items[0]


def svg(figure: Figure, folder: Path) -> bytes:
    save(figure, folder / "page.svg")
    return (folder / "page.svg").read_bytes()


# --- page of modes ------------------------------------------------------------------------------------------


def test_weights_are_those_of_the_trajectory(three: ModeSimulation) -> None:
    axes = figure_mode_simulation(three).axes[:3]
    for k, ax in enumerate(axes):
        for part, colour in COLOURS.items():
            curve = only([line for line in lines(ax, colour) if len(xs(line)) > 2])
            ts = xs(curve)
            assert (ts[0], ts[-1]) == (0.0, three.trajectory.t)
            assert_array_equal(ys(curve), getattr(three.trajectory(ts), part)[:, k])


def test_the_predicted_end_is_dashed_and_the_ratio_is_a_line(three: ModeSimulation) -> None:
    for k, ax in enumerate(figure_mode_simulation(three).axes[:3]):
        for part, colour in COLOURS.items():
            dashed = only(lines(ax, colour, None))
            assert_array_equal(ys(dashed), 2 * [getattr(three.prediction, part)[k]])
        ratio = only([line for line in ax.lines if "lambda_d" in str(line.get_label())])
        assert_array_equal(ys(ratio), 2 * [three.system.ratio[k]])


def test_an_end_that_is_not_known_is_not_drawn(learned: ModeSimulation) -> None:
    nan = np.array([np.nan])
    unsigned = replace(learned, prediction=learned.prediction._replace(online=nan, target=nan))
    ax = figure_mode_simulation(unsigned).axes[0]
    assert lines(ax, COLOURS["online"], None) == lines(ax, COLOURS["target"], None) == []
    assert len(lines(ax, COLOURS["predictor"], None)) == 1


def test_titles_have_the_colour_of_the_fate(three: ModeSimulation) -> None:
    for fate, ax in zip(three.fate, figure_mode_simulation(three).axes, strict=False):
        (title,) = text_of(ax)
        assert str(fate) in title.get_text()
        assert title.get_color() == FATES[fate]


@pytest.mark.parametrize("eta", [0.0, 0.02])
@pytest.mark.parametrize("n", [2, 6])
def test_the_drift_is_the_departure_from_the_balance_law(n: int, eta: float) -> None:
    simulation = modes(n, weight_decay=eta)
    ts = simulation.trajectory.ts
    w1, w2, _ = simulation.trajectory.states
    c = w1**2 - w2**2
    figure = figure_mode_simulation(simulation)
    drawn = [line for ax in figure.axes if ax.get_yscale() == "log" for line in ax.lines]
    assert len(drawn) == n
    for k, line in enumerate(drawn):
        assert_array_equal(xs(line), ts)
        expected = np.abs(c[:, k] - np.exp(-2 * eta * ts) * c[0, k])
        # the zero at the start has no place on a logarithmic axis
        assert_array_equal(ys(line), np.where(expected > 0, expected, np.nan))
        assert np.nanmax(ys(line)) == simulation.drift[k]
        assert to_hex(line.get_color()) == FATES[simulation.fate[k]]
    assert np.all(simulation.drift == balance_drift(ts, simulation.trajectory.states, simulation.system))


@pytest.mark.parametrize("n", [2, 6])
def test_variants_without_the_balance_law_have_no_drift(n: int) -> None:
    figure = figure_mode_simulation(modes(n, no_predictor_mode_field))
    assert [ax.get_yscale() for ax in figure.axes] == ["linear"] * {2: 2, 6: 3}[n]


def test_a_drift_of_zero_has_no_empty_panel() -> None:
    system = ModeSystem(1.0, 0.5)
    simulation = simulate_modes(system.state(), system, full_mode_field)
    assert simulation.drift == 0
    assert len(figure_mode_simulation(simulation).axes) == 1


def test_many_modes_are_overlaid_by_weight_in_the_colour_of_their_fate() -> None:
    simulation = modes(7)
    assert set(simulation.fate) == {"learned", "collapsed"}
    axes = figure_mode_simulation(simulation).axes
    shown = simulation.trajectory.resampled(401)
    assert len(axes) == 4
    for ax, part in zip(axes, COLOURS, strict=False):
        curves = [line for line in ax.lines if line.get_marker() == "None"]
        marks = [line for line in ax.lines if line.get_marker() == "o"]
        assert_array_equal([ys(line) for line in curves], getattr(shown.states, part).T)
        assert_array_equal([ys(line)[0] for line in marks], getattr(simulation.prediction, part))
        for drawn in (curves, marks):
            assert [to_hex(line.get_color()) for line in drawn] == [FATES[f] for f in simulation.fate]


@pytest.mark.parametrize(
    ("simulation", "title"),
    [
        (lambda: modes(1), r"Learned, as predicted; steady at t = [\d.]+"),
        (lambda: modes(1, t_end=1.0), r"Undecided, predicted learned;\nend-time at t = 1"),
        (lambda: modes(6), r"4 of 6 modes learned, 2 collapsed, as predicted; steady at t = [\d.]+"),
        (
            lambda: modes(6, t_end=1.0),
            r"0 of 6 modes learned, 6 undecided, 0 of 6 predictions met; end-time at t = 1",
        ),
        (lambda: modes(1, weight_decay=0.02), r"Learned, nothing predicted;\nsteady at t = [\d.]+"),
        (
            lambda: modes(2, weight_decay=0.02),
            r"1 of 2 .* 1 collapsed, 1 of 1 predictions met;\nsteady at t = [\d.]+",
        ),
    ],
)
def test_the_title_of_modes_says_what_happened(simulation: Callable[[], ModeSimulation], title: str) -> None:
    assert re.fullmatch(title, figure_mode_simulation(simulation()).get_suptitle())


def test_what_was_predicted_stands_beside_what_was_not_reached() -> None:
    ax = figure_mode_simulation(modes(1, t_end=1.0)).axes[0]
    assert ax.get_title(loc="left") == "$r = 0.8$: undecided,\npredicted learned"


# --- page of matrices ---------------------------------------------------------------------------------------


def spectrum_lines(ax: Axes) -> list[LineCollection]:
    return [item for item in ax.collections if isinstance(item, LineCollection)]


def test_eigenvalue_curves_have_the_colour_of_their_rows_fate(network: MatrixSimulation) -> None:
    assert sorted(network.rows.fate) == ["collapsed", "learned", "learned", "learned"]
    left = figure_matrix_simulation(network).axes[0]
    paths = predictor_eigenvalue_paths(network.trajectory)
    assert len(left.lines) == 4
    for line, path in zip(left.lines, paths.T, strict=True):
        assert_array_equal(xs(line), network.trajectory.ts)
        assert_array_equal(ys(line), path.real)
        row = np.argmin(np.abs(network.rows.predictor_eigenvalue - path[-1]))
        assert to_hex(line.get_color()) == FATES[network.rows.fate[row]]


def test_horizontals_are_the_spectrum_of_m_with_the_top_emphasised(network: MatrixSimulation) -> None:
    system = network.system
    ratios = np.sort(np.linalg.eigvals(system.sigma_d @ np.linalg.inv(system.sigma_s)).real)[::-1]
    faint, top = spectrum_lines(figure_matrix_simulation(network).axes[0])
    for drawn, expected in ((top, ratios[:4]), (faint, ratios[4:])):
        heights = np.array([segment[:, 1] for segment in drawn.get_segments()])
        # eigenvalues of a matrix of norm one and small condition number, by another method
        assert_allclose(heights, np.column_stack([expected, expected]), rtol=0, atol=1e-12)
    assert np.max(top.get_linewidth()) > np.max(faint.get_linewidth())


def test_the_strip_joins_final_eigenvalues_to_their_ratios(network: MatrixSimulation) -> None:
    left = figure_matrix_simulation(network).axes[0]
    (strip,) = left.child_axes
    final = predictor_eigenvalue_paths(network.trajectory)[-1].real
    dots = [ys(line)[0] for line in strip.lines if line.get_marker() == "o"]
    assert_array_equal(dots, final)
    texts = sorted(strip.texts, key=lambda text: -text.get_position()[1])
    shown = [text.get_text() for text in texts]
    assert shown == [f"$r_{{{i + 1}}} = {network.ratios[i]:.3f}$" for i in range(3)] + [f"${final[3]:.3f}$"]
    assert [text.get_color() for text in texts] == [FATES["learned"]] * 3 + [FATES["collapsed"]]
    assert strip.get_ylim() == left.get_ylim()


def test_singular_values_stay_above_the_drawn_floors(network: MatrixSimulation) -> None:
    assert network.rank_floor is not None
    assert 0 < network.rank_floor < 4
    right = figure_matrix_simulation(network).axes[1]
    values = [line for line in right.lines if line.get_linestyle() == "-"]
    floors = [line for line in right.lines if line.get_linestyle() != "-"]
    W = network.trajectory.states.online
    exact = np.linalg.svd(W)[1].T
    # with and without singular vectors LAPACK takes different ways, each good to rounding times the norm
    assert_allclose(np.array([ys(line) for line in values]), exact, rtol=0, atol=1e-14 * np.max(exact))
    colours = [to_hex(line.get_color()) for line in values]
    assert colours == [FATES["learned"]] * 3 + [FATES["collapsed"]]
    assert len(floors) == network.rank_floor
    bound = np.sqrt(eigenvalue_floor(network.trajectory.initial, network.system))
    for i, floor in enumerate(floors):
        assert_array_equal(ys(floor), np.full(len(W), bound[i]))
        # R8, within the accuracy of the run
        assert np.all(ys(values[i]) >= ys(floor) - 1e-7)


def test_variants_without_the_balance_law_have_no_floor() -> None:
    figure = figure_matrix_simulation(matrices(no_predictor_field))
    assert {line.get_linestyle() for line in figure.axes[1].lines} == {"-"}
    assert "floor" not in str([text.get_text() for text in figure.legends[0].texts])


@pytest.mark.parametrize(
    ("simulation", "title"),
    [
        (lambda: matrices(), r"3 of 4 rows learned the top of M's spectrum, 1 collapsed; steady at t = \d+"),
        (lambda: matrices(t_end=0.01), r"0 of 4 rows learned, 4 undecided; end-time at t = 0\.01"),
        (lambda: matrices(no_predictor_field), r"0 of 4 rows learned, 4 collapsed; steady at t = .*"),
    ],
)
def test_the_title_of_matrices_says_what_happened(
    simulation: Callable[[], MatrixSimulation], title: str
) -> None:
    assert re.fullmatch(title, figure_matrix_simulation(simulation()).get_suptitle())


def test_rows_that_skip_a_mode_did_not_learn_the_top() -> None:
    system = MatrixSystem(np.eye(3), np.diag([0.9, 0.6, 0.3]))
    state = system.state([[0.9, 0.0, 0.0], [0.0, 0.0, 0.3]], np.diag([0.9, 0.3]))
    page = figure_matrix_simulation(simulate_matrices(state, system, full_field, 1.0))
    assert page.get_suptitle().startswith("2 of 2 rows learned eigenvalues of M;")


# --- axes, limits, layout -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("t_end", "scale"), [(199.0, "linear"), (201.0, "symlog")])
def test_long_runs_have_a_logarithmic_time_axis_without_a_kink(t_end: float, scale: str) -> None:
    natural = 2.0
    ax = scales.scale_time(Figure().add_subplot(), np.array([0.0, t_end]), natural)
    assert ax.get_xscale() == scale
    assert ax.get_xlim() == (0.0, t_end)
    transform = ax.xaxis.get_transform()
    before, at, after = transform.transform(natural + 1e-4 * np.array([-1.0, 0.0, 1.0]))
    # slopes on both sides agree up to h/2 times the curvature, 1e-4/(2·2) relative
    assert_allclose(after - at, at - before, rtol=1e-4)


@pytest.mark.parametrize("t_end", [300.0, 2e4, 3e6])
@pytest.mark.parametrize("natural", [0.3, 1.0, 2.9, 9.9])
def test_labels_of_a_logarithmic_time_axis_keep_their_distance(t_end: float, natural: float) -> None:
    with style():
        figure = Figure(figsize=(2.2, 1.5), layout="constrained")
        scales.scale_time(figure.add_subplot(), np.array([0.0, t_end]), natural)
        assert clashes(figure) == []


def test_what_runs_away_stays_in_sight() -> None:
    system = ModeSystem([-1.0, 1.0], [-0.1, 0.5])
    simulation = simulate_modes(system.state(0.5, 0.5, 0.1), system, full_mode_field)
    assert simulation.trajectory.status is Status.DIVERGED
    ax = figure_mode_simulation(simulation).axes[0]
    assert ax.get_yscale() == "symlog"
    assert ax.get_ylim()[1] > np.max(simulation.trajectory.states.online) > 1e3


def test_a_run_that_fails_at_once_can_be_drawn(learned: ModeSimulation, network: MatrixSimulation) -> None:
    stopped = replace(learned, trajectory=replace(learned.trajectory.resampled(1), status=Status.DIVERGED))
    assert "diverged at t = 0" in figure_mode_simulation(stopped).get_suptitle()
    broken = replace(network, trajectory=replace(network.trajectory.resampled(1), status=Status.DIVERGED))
    assert "diverged at t = 0" in figure_matrix_simulation(broken).get_suptitle()


def test_an_encoder_that_is_zero_throughout_can_be_drawn() -> None:
    system = MatrixSystem(np.eye(3), 0.5 * np.eye(3))
    at_rest = simulate_matrices(system.state(np.zeros((2, 3)), np.eye(2)), system, full_field)
    assert figure_matrix_simulation(at_rest).axes[1].get_yscale() == "linear"


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("t_end", [None, 30.0])
@pytest.mark.parametrize("eta", [0.0, 0.02])
def test_no_text_of_a_page_of_modes_is_clipped_or_overlaps(n: int, t_end: float | None, eta: float) -> None:
    assert clashes(figure_mode_simulation(modes(n, t_end=t_end, weight_decay=eta))) == []


@pytest.mark.parametrize("t_end", [None, 30.0])
@pytest.mark.parametrize("field", [full_field, no_predictor_field])
def test_no_text_of_a_page_of_matrices_is_clipped_or_overlaps(
    field: VectorField, t_end: float | None
) -> None:
    assert clashes(figure_matrix_simulation(matrices(field, t_end))) == []


def test_labels_of_a_strip_give_way_to_each_other() -> None:
    figure = Figure(figsize=(1.5, 2.2), layout="constrained")
    with style():
        ax = figure.add_subplot(ylim=(0, 1))
        values = np.concatenate([np.full(12, 0.98), [0.5, 0.51, 0.02, 0.0]])
        panels.draw_matches(ax, values, [f"{value:.2f}" for value in values], ["learned"] * 16)
        assert clashes(figure) == []


# --- panels, style, files -----------------------------------------------------------------------------------

TS = np.linspace(0.0, 1.0, 5)
TWO = np.column_stack([TS, 1 + TS])
DRAWN = ["learned", "collapsed"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: scales.scale_time(ax, 1e4 * TS, 1.0),
        lambda ax: scales.scale_log(ax, 1 + TS, 3),
        lambda ax: panels.draw_weights(ax, TS, modes(1).trajectory.resampled(5).states, 0),
        lambda ax: panels.draw_end_point(ax, modes(1).prediction, 0),
        lambda ax: panels.draw_ratio(ax, 0.5),
        lambda ax: panels.draw_paths(ax, TS, TWO, DRAWN),
        lambda ax: panels.draw_drift(ax, TS, TWO, DRAWN),
        lambda ax: panels.draw_end_marks(ax, 1.0, TWO[-1], DRAWN),
        lambda ax: panels.draw_spectrum(ax, TS, 2),
        lambda ax: panels.draw_matches(ax, TWO[-1], ["a", "b"], DRAWN),
        lambda ax: panels.draw_floors(ax, TS, TWO),
    ],
)
def test_panels_draw_on_the_given_axes_and_nowhere_else(draw: Callable[[Axes], Axes]) -> None:
    figure = Figure()
    given_ax, other = figure.subplots(1, 2)
    before, untouched = dict(matplotlib.rcParams), [type(child) for child in other.get_children()]
    assert draw(given_ax) is given_ax
    assert figure.axes == [given_ax, other]
    assert given_ax.child_axes == []
    assert [type(child) for child in other.get_children()] == untouched
    assert dict(matplotlib.rcParams) == before


def test_a_ratio_that_does_not_exist_is_not_drawn() -> None:
    assert not panels.draw_ratio(Figure().add_subplot(), np.nan).lines


def test_style_never_leaks(three: ModeSimulation, network: MatrixSimulation, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)

    def fail() -> None:
        with style():
            assert dict(matplotlib.rcParams) != before
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert dict(matplotlib.rcParams) == before
    save(figure_mode_simulation(three), tmp_path / "modes.png")
    save(figure_matrix_simulation(network), tmp_path / "matrices.svg")
    assert dict(matplotlib.rcParams) == before


def test_settings_of_the_user_do_not_reach_a_page(three: ModeSimulation, tmp_path: Path) -> None:
    expected = svg(figure_mode_simulation(three), tmp_path)
    own: dict[Any, Any] = {"font.size": 30, "axes.grid": True, "svg.fonttype": "path", "svg.hashsalt": None}
    with matplotlib.rc_context(own):
        assert svg(figure_mode_simulation(three), tmp_path) == expected


@pytest.mark.parametrize("suffix", PICTURES)
def test_equal_input_gives_equal_bytes(suffix: str, learned: ModeSimulation, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in ("one", "two")]
    for path in paths:
        save(figure_mode_simulation(learned), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_text_stays_text_and_no_time_is_written(network: MatrixSimulation, tmp_path: Path) -> None:
    figure = figure_matrix_simulation(network)
    text = svg(figure, tmp_path).decode()
    assert "3 of 4 rows learned the top of M's spectrum, 1 collapsed" in text
    assert "<dc:date>" not in text
    save(figure, tmp_path / "page.pdf")
    pdf = (tmp_path / "page.pdf").read_bytes()
    assert b"/CreationDate" not in pdf
    assert (
        b"/FontFile2" in pdf
    )  # an embedded TrueType font, where Matplotlib's default draws glyphs as procedures


@pytest.mark.parametrize("name", ["page.jpg", "page", "page.svgz"])
def test_other_suffixes_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a file name must end in \.png, \.svg, \.pdf, got .*page"):
        save(Figure(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    class Broken(Figure):
        def savefig(self, fname, **options) -> None:
            Path(fname).write_text("half", encoding="utf-8")
            raise OSError("no space left")

    path = tmp_path / "page.png"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(ValueError, match=f"^cannot write {path}: no space left$"):
        save(Broken(), path)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_pages_need_no_pyplot() -> None:
    code = "import figures.results.simulation, sys; print('matplotlib.pyplot' in sys.modules)"
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("eyes", SEEN)
@pytest.mark.parametrize("palette", ["fates", "weights"])
@pytest.mark.parametrize("theme", THEMES)
def test_colours_can_be_told_apart_by_all_eyes(theme: str, palette: str, eyes: str) -> None:
    colours: dict[str, str] = getattr(THEMES[theme], palette)
    for one, other in itertools.combinations(colours.values(), 2):
        difference = cielab(one, np.array(SEEN[eyes])) - cielab(other, np.array(SEEN[eyes]))
        # 2.3 is just noticeable side by side; fifteen times that is another colour, in thin lines too
        assert np.linalg.norm(difference) > 15 * 2.3


@pytest.mark.parametrize(("n", "columns", "rows"), [(5, 2, 3), (4, 2, 2), (1, 3, 1)])
def test_a_page_of_panels_has_room_for_all(n: int, columns: int, rows: int) -> None:
    _, axes = layout.panels("Panels", n, columns=columns)
    assert len(axes) == n
    assert axes[0].get_subplotspec().get_gridspec().get_geometry() == (rows, columns)


def test_a_logarithmic_axis_ends_the_asked_decades_below_the_largest_value() -> None:
    ax = scales.scale_log(Figure().add_subplot(), np.array([1e-12, 3e-2, 5.0, np.nan, 0.0]), 3)
    assert ax.get_ylim() == (1e-3, 10.0)
    ax = scales.scale_log(Figure().add_subplot(), np.array([0.2, 5.0]), 3)
    assert ax.get_ylim() == (0.1, 10.0)


@pytest.mark.parametrize("n", [2, 3])
def test_the_legend_names_weights_then_their_end_then_the_ratio(n: int) -> None:
    (legend,) = figure_mode_simulation(modes(n)).legends
    labels = [text.get_text() for text in legend.texts]
    assert [label.split()[-1] for label in labels[:4]] == ["online", "predictor", "target", "end"]
    assert labels[4:] == [r"$r = \lambda_d/\lambda_s$"]


@pytest.mark.parametrize("n", [2, 6])
def test_a_page_with_a_drift_is_taller_by_less_than_its_weights(n: int) -> None:
    without, with_drift = (
        figure_mode_simulation(modes(n, field)).get_figheight()
        for field in (no_predictor_mode_field, full_mode_field)
    )
    assert without < with_drift < 1.5 * without
