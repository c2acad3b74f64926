"""What the explorer draws of a view: cells and their fates, planes and boundaries, rest, the past, diagrams."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.fates.basins import FATES, UNPREDICTED, basins
from analysis.fates.predictions import predict_fates
from analysis.fixed_points.one_mode import fixed_points
from analysis.phase_planes.planes import ON_LEAVES
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS
from figures.explorer import scene
from figures.explorer.marks import picture_of
from figures.explorer.presets import PRESETS
from figures.explorer.runs import run_of
from figures.explorer.scene import (
    CELLS,
    Lattice,
    curves_of,
    diagram_of,
    notes_of,
    plane_distance,
    plane_of,
    portrait_of,
    start_at,
)
from figures.explorer.scene import (
    lattice_of as lattice_or_none,
)
from figures.explorer.state import (
    PLANES,
    View,
)
from figures.panels.basins import fate_tint
from figures.style import THEMES, look


def lattice_of(view: View, cells: int) -> Lattice:
    found = lattice_or_none(view, cells)
    assert found is not None
    return found


LATTICES = [
    View(),
    View(weight_decay=0.03, target=-0.2),
    View(plane="leaf", invariant=-0.1),
    View(plane="leaf", invariant=0.15, tau_online=2.0),
    View(plane="leaf", weight_decay=0.04),
    *(View(variant=name) for name in VARIANTS if name not in ON_LEAVES),
]


def copies(view: View, n: int) -> ModeSystem:
    """The system of a view n times over."""
    system = view.system
    return replace(system, lambda_s=np.full(n, system.lambda_s[0]), lambda_d=np.full(n, system.lambda_d[0]))


@pytest.mark.parametrize("view", LATTICES, ids=lambda view: view.query() or "default")
def test_coarse_cells_have_the_fates_of_the_fine_cells_in_their_middle(view: View) -> None:
    coarse, fine = lattice_of(view, CELLS[0]), lattice_of(view, CELLS[1])
    middle = np.s_[1::3, 1::3]
    for ours, theirs in zip(coarse.start, fine.start, strict=True):
        # a centre is a sum of two products, each rounded once, of numbers below the window
        np.testing.assert_allclose(ours, theirs[middle], rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(coarse.fate, fine.fate[middle])
    learned = coarse.fate == FATES.index("learned")
    np.testing.assert_array_equal(coarse.negative[learned], fine.negative[middle][learned])


def test_cells_that_nobody_waits_for_are_not_followed_to_the_end() -> None:
    asked = iter([False, True])
    assert lattice_or_none(View(), CELLS[1], lambda: next(asked)) is None
    assert next(asked, None) is None  # the second of two bands was not begun


def test_cells_are_the_starts_of_a_basin_map_where_there_is_one() -> None:
    for view, plane in (
        (View(target=0.3), ("online", "predictor")),
        (View(variant="tied"), ("online", "target")),
    ):
        ranges = [(-view.extent, view.extent)] * 2
        found = basins(view.system, view.field, plane=plane, ranges=ranges, at=view.target, grid=20)
        np.testing.assert_array_equal(lattice_of(view, 20).fate.ravel(), found.fate)


@pytest.mark.parametrize("view", LATTICES, ids=lambda view: view.query() or "default")
def test_shades_agree_with_theory_wherever_both_decide(view: View) -> None:
    lattice = lattice_of(view, 20)
    start = ModeState(*(part.ravel() for part in lattice.start))
    n = start.online.size
    predicted = predict_fates(start, copies(view, n), view.variant).fate
    codes = np.select([predicted == fate for fate in FATES], range(len(FATES)), UNPREDICTED)
    both = (codes != UNPREDICTED) & (lattice.fate.ravel() != FATES.index("undecided"))
    assert np.sum(both) > n / 4
    np.testing.assert_array_equal(codes[both], lattice.fate.ravel()[both])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("weight_decay", [0.0, 0.02])
@pytest.mark.parametrize("plane", PLANES)
def test_a_start_that_is_clicked_lies_on_the_plane_that_is_drawn(
    variant: str, weight_decay: float, plane: str
) -> None:
    view = View(variant=variant, weight_decay=weight_decay, plane=plane, invariant=-0.2)
    moved = start_at(view, 0.4, -0.3)
    assert plane_distance(moved, moved.start) <= 1e-15
    u, v = (float(np.squeeze(part)) for part in plane_of(moved).coordinates(moved.start))
    assert (u, v) == (0.4, -0.3)


def test_a_start_off_the_plane_is_said_to_be_seen_in_projection() -> None:
    said = "The start is not on the plane that is drawn"
    assert said in " ".join(notes_of(View(plane="leaf", invariant=0.3)))
    assert said not in " ".join(notes_of(start_at(View(plane="leaf", invariant=0.3), 0.2, 0.1)))
    assert said not in " ".join(notes_of(View()))


@pytest.mark.parametrize(
    ("view", "variants"),
    [
        (View(tau_online=2.0), ON_LEAVES),
        (View(variant="no-ema"), ("no-ema",)),
        (View(objective="raft", beta=0.5), ON_LEAVES),
    ],
)
def test_the_boundary_of_collapse_parts_fates(view: View, variants: tuple[str, ...]) -> None:
    """Beside the middle third of each curve: far from w1 = 0, where the curve of c = 0 has its corner."""
    upper, lower = curves_of(view)["boundary"]
    for curve in (upper, lower):
        w1, w2 = curve[np.abs(curve[:, 0]) > 0.2].T
        outwards = np.sign(w2)
        for inside, fate in ((-1e-3, "learned"), (1e-3, "collapsed")):
            n = w1.size
            start = ModeState(w1, w2 + inside * outwards, np.full(n, 0.1))
            for variant in variants:
                assert set(predict_fates(start, copies(view, n), variant).fate) == {fate}


def test_the_leaf_over_the_weights_has_its_invariant() -> None:
    for c in (-0.3, 0.0, 0.4):
        for curve in curves_of(View(invariant=c, tau_online=2.0, tau_predictor=0.5))["leaf"]:
            # two squares of numbers below 4, each rounded a few times
            np.testing.assert_allclose(2 * curve[:, 0] ** 2 - 0.5 * curve[:, 1] ** 2, c, atol=1e-14)


@pytest.mark.parametrize(
    "view", [View(), View(lambda_d=0.0), View(weight_decay=0.03), View(objective="raft", beta=0.5)]
)
def test_fixed_points_of_a_slice_are_those_of_the_whole_flow(view: View) -> None:
    portrait = portrait_of(view)
    rest = fixed_points(view.system)
    assert bool(portrait.lines) == bool(rest.lines) == (view.weight_decay == 0)
    assert len(portrait.points) == sum(abs(p.online) <= 1.5 and abs(p.predictor) <= 1.5 for p in rest.points)
    for line in portrait.lines:
        for w1, w2 in line.points:
            state = ModeState(*(np.array([part]) for part in (w1, w2, w1)))  # every fixed point has θ = w1
            # e is a sum of two products of numbers of size one
            assert max(abs(float(part[0])) for part in view.field(0.0, state, view.system)) < 1e-12


@pytest.mark.parametrize(
    "view", [View(), View(tau_target=5.0, target=-0.4), View(variant="fixed-target"), View(variant="no-ema")]
)
def test_the_past_keeps_the_invariant_and_leads_to_the_start(view: View) -> None:
    view = replace(view, online=0.4, predictor=0.3)
    run = run_of(view)
    c = run.past[:, 0] ** 2 - run.past[:, 1] ** 2
    # LSODA with rtol 1e-8 over some hundred steps, of weights up to 2.25: errors of 1e-6 at most
    np.testing.assert_allclose(c, 0.07, atol=1e-5)
    np.testing.assert_array_equal(run.past[0], run.path[0])
    assert np.max(np.abs(run.past[-1])) > 2.2  # it left the window
    middle = run.past[len(run.past) // 2]
    again = run_of(view.with_start(ModeState(*(np.array([part]) for part in middle))))
    gap = np.min(np.linalg.norm(again.path - run.past[0], axis=1))
    step = np.max(np.linalg.norm(np.diff(again.path, axis=0), axis=1))
    assert gap < step  # no farther than two neighbours on the polyline


def test_steps_have_no_past_and_nothing_moves_from_a_fixed_point() -> None:
    assert run_of(PRESETS["Large steps"]).past.shape == (0, 3)
    rest = run_of(View(online=0.5, predictor=0.5, target=0.5))
    np.testing.assert_array_equal(rest.past, [[0.5, 0.5, 0.5]])


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_says_what_its_plane_is_and_which_diagram_it_has(variant: str) -> None:
    view = View(variant=variant)
    assert notes_of(view)[0].endswith(".")
    found = diagram_of(view)
    assert isinstance(found, str) == (variant not in ON_LEAVES)
    if isinstance(found, str):
        assert found == f"Diagrams are known for the full flow; {variant} has none."


def test_a_diagram_that_does_not_exist_is_a_sentence() -> None:
    assert "Weight decay takes c to 0" in str(diagram_of(View(weight_decay=0.1, parameter="invariant")))
    assert "dyn bifurcation --parameter step" in str(diagram_of(PRESETS["Large steps"]))
    rests_everywhere = diagram_of(View(lambda_s=1.0, lambda_d=1.0, objective="raft", parameter="lambda-s"))
    assert isinstance(rests_everywhere, str) or rests_everywhere.branches


@pytest.mark.parametrize(
    "parameter", ["lambda-s", "lambda-d", "tau-online", "tau-target", "weight-decay", "invariant"]
)
def test_the_range_of_a_diagram_holds_the_value_of_the_view(parameter: str) -> None:
    for view in (
        View(parameter=parameter),
        View(parameter=parameter, lambda_d=0.9, invariant=-3.0, tau_target=40.0),
    ):
        low, high = scene.range_of(view)
        assert low <= scene.parameter_value(view) <= high
        assert not isinstance(diagram_of(view), str)


@pytest.mark.parametrize("theme", THEMES)
def test_a_cell_has_the_colour_of_its_fate(theme: str) -> None:
    lattice = Lattice(
        np.array([[0, 0], [1, 2]]), np.array([[False, True], [False, False]]), ModeState(0, 0, 0)
    )
    found = picture_of(lattice, theme).view(np.uint8).reshape(2, 2, 4)
    with look(theme=theme):
        wanted = [
            [fate_tint("learned", False), fate_tint("learned", True)],
            [fate_tint("collapsed", False), fate_tint("undecided", False)],
        ]
    np.testing.assert_array_equal(found[..., :3], np.round(255 * np.array(wanted)))
    assert np.all(found[..., 3] == 255)
