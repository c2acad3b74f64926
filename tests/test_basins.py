"""Basins: fates by trajectory against R6, R11 and R15, fractions and their intervals, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp
from scipy.stats import binomtest

from analysis.fates.basins import FATES, UNPREDICTED, WINDOW, BasinMap, basins, follow_points, leaving_times
from analysis.fates.boundaries import basin_boundary
from analysis.fates.fate import Fate
from analysis.phase_planes.separatrices import leaf_separatrix
from dynamics.fields.modes import full_mode_field
from dynamics.integration.ensemble import STATUSES
from dynamics.integration.integrate import Status
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import MODE_FIELDS

SYSTEM = ModeSystem(1.0, 0.5)


def run(variant: str = "full", system: ModeSystem = SYSTEM, **options: Any) -> BasinMap:
    return basins(system, MODE_FIELDS[variant], **({"grid": 40} | options))


def fate_of(found: BasinMap, fate: Fate) -> np.ndarray:
    return found.fate == FATES.index(fate)


# --- against theory -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rates", [{}, {"tau_target": 20.0}, {"tau_online": 0.7, "tau_predictor": 1.9}])
def test_every_cell_ends_as_r6_says(rates: dict[str, float]) -> None:
    found = run(system=ModeSystem(1.0, 0.5, **rates), grid=150)
    # written out once more, not by way of analysis.fates.predictions
    to, tp = rates.get("tau_online", 1.0), rates.get("tau_predictor", 1.0)
    c = to * found.start.online**2 - tp * found.start.predictor**2
    collapse = c <= np.where(found.start.predictor > 0, -tp * 0.25, 0.0)
    decided = ~fate_of(found, Fate.UNDECIDED)
    assert np.mean(decided) >= 0.999
    assert_array_equal(fate_of(found, Fate.COLLAPSED)[decided], collapse[decided])
    assert not np.any(found.mismatches)
    assert np.all(found.predicted != UNPREDICTED)


def test_the_target_plays_no_part() -> None:
    maps = [run(at=at).fate for at in (-1.0, 0.3, 2.0)]
    assert_array_equal(maps[0], maps[1])
    assert_array_equal(maps[0], maps[2])


@pytest.mark.parametrize(
    ("variant", "plane"),
    [
        ("fixed-target", ("online", "predictor")),
        ("tied", ("online", "target")),
        ("no-predictor", ("online", "target")),
        ("no-ema", ("online", "predictor")),
        ("no-stop-gradient", ("online", "predictor")),
        ("symmetric-predictor", ("predictor", "target")),
        ("fast-predictor", ("online", "target")),
        ("directpred", ("online", "target")),
        ("directset", ("target", "online")),
    ],
)
def test_no_variant_contradicts_what_is_proved(variant: str, plane: tuple[str, str]) -> None:
    found = run(variant, plane=plane)
    assert np.sum(found.mismatches) == 0
    assert found.fractions[Fate.UNDECIDED].value <= 0.01


def test_weight_decay_has_basins_of_its_own() -> None:
    # fates against a long run of another method at cells drawn at random
    system = ModeSystem(1.0, 0.5, weight_decay=0.04)
    found = run(system=system, grid=30)
    assert 0.2 < found.fractions[Fate.LEARNED].value < 0.8
    for k in np.random.default_rng(0).choice(found.fate.size, 12, replace=False):

        def flow(t: float, y: Any) -> list[float]:
            w1, w2, th = y
            e = 0.5 * th - w2 * w1
            return [w2 * e - 0.04 * w1, w1 * e - 0.04 * w2, w1 - th]

        end = solve_ivp(flow, (0, 2000), [part[k] for part in found.start], method="LSODA", rtol=1e-9).y[
            :, -1
        ]
        # R15: the learned points are p+ = w2 = ±w1, here 0.4
        assert (abs(end[0]) > 0.2) == (found.fate[k] == FATES.index(Fate.LEARNED))
        assert_allclose([part[k] for part in found.final], end, rtol=0, atol=1e-5)


def test_beyond_the_saddle_node_everything_collapses() -> None:
    found = run(system=ModeSystem(1.0, 0.5, weight_decay=0.0626))
    assert found.fractions[Fate.COLLAPSED].value == 1.0


def test_a_runaway_is_undecided() -> None:
    found = run("no-predictor", ModeSystem(1.0, 1.5), plane=("online", "target"))
    assert np.all(found.status == STATUSES.index(Status.DIVERGED))
    assert found.fractions[Fate.UNDECIDED].value == 1.0


# --- starts and shares --------------------------------------------------------------------------------------


def test_lattices_hold_cell_centres_row_by_row() -> None:
    found = run(grid=(2, 3), ranges=((0.0, 3.0), (-1.0, 1.0)))
    assert found.shape == (2, 3)
    assert_allclose(found.start.online.reshape(2, 3), [[0.5, 1.5, 2.5]] * 2)
    assert_allclose(found.start.predictor.reshape(2, 3), [[-0.5] * 3, [0.5] * 3])
    assert_allclose(found.start.target, 0.3)
    assert_allclose(found.axes[0], [0.5, 1.5, 2.5])
    assert_allclose(found.axes[1], [-0.5, 0.5])
    assert np.isnan(found.fractions[Fate.LEARNED].low)
    assert found.report()["intervals"] is None


def test_random_starts_repeat_and_have_wilson_intervals() -> None:
    first, again, other = (run(grid=None, random=500, seed=seed) for seed in (1, 1, 2))
    assert_array_equal(first.start.online, again.start.online)
    assert not np.array_equal(first.start.online, other.start.online)
    for part, name in ((first.start.online, "online"), (first.start.predictor, "predictor")):
        low, high = WINDOW[name]
        assert np.all((part > low) & (part < high))
    for fate, share in first.fractions.items():
        count = int(np.sum(fate_of(first, fate)))
        interval = binomtest(count, 500).proportion_ci(0.95, method="wilson")
        assert_allclose(
            [share.low, share.value, share.high], [interval.low, count / 500, interval.high], atol=1e-12
        )
    with pytest.raises(ValueError, match="axes belong to a lattice, got random starts"):
        _ = first.axes


def test_random_shares_agree_with_the_area() -> None:
    # area of c <= −r² above and of c <= 0 below, by quadrature over the default window
    w1 = np.linspace(-1.5, 1.5, 200_001)
    above = np.clip(1.5 - np.sqrt(w1**2 + 0.25), 0, None)
    below = np.clip(1.0 - np.abs(w1), 0, None)
    area = float(np.mean(above + below)) / 2.5
    found = run(grid=None, random=20_000)
    assert np.sum(found.mismatches) == 0  # with R6, start by start
    share = found.fractions[Fate.COLLAPSED]
    # Wilson's 95 % interval, made three times as wide so that a seed fails once in 10⁸
    assert abs(share.value - area) < 3 * (share.high - share.low) / 2


def test_progress_counts_starts() -> None:
    calls: list[tuple[int, int]] = []
    run(progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1600, 1600)]


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plane": ("online", "online")}, "`plane` must be two of online, predictor, target"),
        ({"plane": ("online", "weight")}, "`plane` must be two of"),
        (
            {"ranges": ((1.0, 0.0), None)},
            "the range of online must be finite, smaller bound first, got 1 and 0",
        ),
        ({"ranges": ((0.0, np.nan), None)}, "the range of online must be finite"),
        ({"at": np.inf}, "`at` must be finite, got inf"),
        ({"random": 5}, "give `grid` or `random`, one of the two, got 40 and 5"),
        ({"grid": None}, "give `grid` or `random`"),
        ({"grid": 0}, "`grid` must be >= 1, got 0"),
        ({"grid": None, "random": 0}, "`random` must be >= 1, got 0"),
        ({"t_end": 0.0}, "`t_end` must be > 0, got 0.0"),
        ({"system": ModeSystem([1.0, 1.0], [0.5, 0.5])}, "basins are those of one mode, got 2 modes"),
        ({"variant": "tied"}, "`plane` must not hold predictor: the variant tied sets it"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # the message is compared below, letter by letter
        run(**options)
    assert message in str(caught.value)


# --- boundaries and times -----------------------------------------------------------------------------------


def test_boundaries_of_the_fate_lie_on_the_threshold_of_r6() -> None:
    found = run(grid=24, ranges=((-1.0, 1.0), (0.05, 1.5)))
    points, half_width, sides = basin_boundary(found)
    w1, w2 = points.T
    assert len(points) > 20
    assert_array_equal(np.unique(np.sort(sides, axis=1), axis=0), [[0, 1]])
    # c = −r², seen from a point that is off by the half width; nearer than 1e-4 the approach takes too long
    assert np.all(np.abs(w2**2 - w1**2 - 0.25) <= 2 * np.maximum(np.abs(w1), w2) * half_width + 1e-6)
    assert np.max(np.abs(w2**2 - w1**2 - 0.25)) < 1e-3


def test_boundaries_of_the_sign_lie_on_the_stable_manifold() -> None:
    found = run(plane=("online", "target"), at=0.3, grid=16, ranges=((-0.28, 0.28), (-1.5, 1.5)))
    points, half_width, sides = basin_boundary(found, signs=True)
    w1, th = points.T
    assert_array_equal(np.unique(np.sort(sides, axis=1), axis=0), [[-1, 1]])
    # |dθ/dw1| of the manifold is below 12 here; 1e-6 is the accuracy of the trajectories themselves
    assert len(w1) > 10
    assert np.all(np.abs(th - leaf_separatrix(w1, 0.3, SYSTEM)) <= 13 * half_width + 1e-5)


def test_boundaries_under_weight_decay_part_what_happens() -> None:
    found = run(system=ModeSystem(1.0, 0.5, weight_decay=0.04), grid=12)
    points, half_width, sides = basin_boundary(found, halvings=20)
    assert len(points) > 5
    assert np.max(half_width) < 1e-6
    step = 1e-4
    # a boundary: of the four neighbours not all have one fate
    fates = np.array(
        [follow_points(found, points + d)[1] for d in ((step, 0), (0, step), (-step, 0), (0, -step))]
    )
    assert np.all(np.any(fates != fates[0], axis=0))
    assert sides.shape == (len(points), 2)


def test_boundaries_need_a_lattice() -> None:
    with pytest.raises(ValueError, match="axes belong to a lattice"):
        basin_boundary(run(grid=None, random=10))
    with pytest.raises(ValueError, match="`halvings` must be >= 1, got 0"):
        basin_boundary(run(grid=3), halvings=0)
    assert basin_boundary(run(grid=3, system=ModeSystem(1.0, 0.5, weight_decay=0.1))).points.shape == (0, 2)


def test_leaving_times_are_those_of_an_event() -> None:
    w1, w2, th = np.random.default_rng(5).normal(0, 0.05, (3, 8))
    start = ModeState(np.append(w1, 0.3), np.append(w2, 0.1), np.append(th, 0.1))
    found = leaving_times(start, SYSTEM, full_mode_field, threshold=0.2, t_end=2000.0)

    def flow(t: float, y: Any) -> list[float]:
        e = 0.5 * y[2] - y[1] * y[0]
        return [y[1] * e, y[0] * e, y[0] - y[2]]

    def out(t: float, y: Any) -> float:
        return abs(y[0]) - 0.2

    for k in range(8):
        events = solve_ivp(
            flow, (0, 2000), [part[k] for part in start], method="DOP853", rtol=1e-11, atol=1e-14, events=out
        ).t_events
        assert events is not None
        expected = events[0][0] if len(events[0]) else np.nan
        # errors of 1e-8 a step grow while the start leaves, by less than a thousand
        assert_allclose(found[k], expected, rtol=1e-5)
    assert found[8] == 0.0
    assert np.any(np.isfinite(found[:8]))


def test_leaving_times_refuse_nonsense() -> None:
    start = ModeState(*np.full((3, 1), 0.1))
    for name in ("threshold", "t_end"):
        options = {"threshold": 0.1, "t_end": 1.0} | {name: -1.0}
        with pytest.raises(ValueError, match=f"`{name}` must be finite and > 0, got -1.0"):
            leaving_times(start, SYSTEM, full_mode_field, **options)


def test_a_lattice_of_one_cell_is_the_start_in_the_middle() -> None:
    found = basins(ModeSystem(1.0, 0.5), full_mode_field, grid=1)
    assert found.shape == (1, 1)
    with pytest.raises(ValueError, match="`grid` must be >= 1, got 0"):
        basins(ModeSystem(1.0, 0.5), full_mode_field, grid=0)
