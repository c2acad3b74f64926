"""Bifurcations: special points that theory knows, branches against the field, and its own checks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import analysis.fixed_points.bifurcation_checks as checks
from analysis.fixed_points.bifurcations import PARAMETERS, bifurcation
from analysis.fixed_points.diagrams import Bifurcation, Branch, SpecialPoint
from analysis.fixed_points.one_mode import fixed_points
from analysis.fixed_points.special_points import PITCHFORK
from analysis.stability.jacobian import mode_jacobian
from dynamics.data.moments import Moments
from dynamics.data.objective_moments import byol_prime_moments, raft_moments
from dynamics.fields.modes import full_mode_field
from dynamics.states import pack
from dynamics.system import ModeSystem

SYSTEM = ModeSystem(1.0, 0.5)
DECAYED = ModeSystem(1.0, 0.5, weight_decay=0.06)
CUBIC = ModeSystem(-1.0, -2.0)
seeds = st.integers(0, 2**32 - 1)


def random_times(rng: np.random.Generator) -> dict[str, float]:
    names = ("tau_online", "tau_predictor", "tau_target")
    return dict(zip(names, rng.uniform(0.4, 2.5, 3).tolist(), strict=True))


def random_system(seed: int, **options: Any) -> ModeSystem:
    rng = np.random.default_rng(seed)
    lambda_s = rng.uniform(0.3, 2.0)
    return ModeSystem(lambda_s, lambda_s * rng.uniform(0.2, 0.95), **random_times(rng), **options)


def of_type(found: Bifurcation, kind: str) -> list[SpecialPoint]:
    return [point for point in found.points if point.type == kind]


def moved(system: ModeSystem, parameter: str, value: float, **options: Any) -> tuple[ModeSystem, float]:
    """System and invariant at one value of the parameter, objectives by the moments of the library."""
    numbers = {
        name: getattr(system, name) for name in ("tau_online", "tau_predictor", "tau_target", "weight_decay")
    }
    numbers |= {"lambda_s": system.lambda_s[0], "lambda_d": system.lambda_d[0]}
    numbers |= {"alpha": options.get("alpha", 1.0), "beta": options.get("beta", 1.0)}
    numbers |= {"invariant": options.get("invariant") or 0.0}
    numbers[parameter.replace("-", "_")] = value
    alpha, beta, invariant = numbers.pop("alpha"), numbers.pop("beta"), numbers.pop("invariant")
    if (objective := options.get("objective", "byol")) != "byol":
        transform = byol_prime_moments if objective == "byol-prime" else raft_moments
        moments = Moments.from_eigenvalues(numbers["lambda_s"], numbers["lambda_d"])
        numbers["lambda_s"], numbers["lambda_d"] = (part[0, 0] for part in transform(moments, alpha, beta))
    return ModeSystem(**numbers), invariant


# What is continued here: a system, a parameter and its range, and what stays fixed.
CASES: list[tuple[ModeSystem, str, tuple[float, float], dict[str, Any]]] = [
    (SYSTEM, "weight-decay", (0.01, 0.1), {}),
    (SYSTEM, "invariant", (-0.5, 0.3), {}),
    (SYSTEM, "invariant", (-0.2501, -0.2499), {}),
    (ModeSystem(1.0, -0.5), "invariant", (-0.5, 0.3), {}),
    (SYSTEM, "lambda-d", (-1.0, 1.0), {"invariant": -0.09}),
    (SYSTEM, "lambda-s", (0.3, 3.0), {"invariant": -0.09}),
    (SYSTEM, "tau-predictor", (0.1, 1.0), {"invariant": -0.09}),
    (SYSTEM, "tau-online", (0.1, 1.0), {"invariant": 0.2}),
    (SYSTEM, "tau-target", (0.1, 1.0), {"invariant": -0.09}),
    (DECAYED, "lambda-d", (-1.0, 1.0), {}),
    (DECAYED, "lambda-s", (0.5, 2.0), {}),
    (DECAYED, "tau-online", (0.5, 2.0), {}),
    (DECAYED, "tau-target", (0.5, 2.0), {}),
    (ModeSystem(1.0, 0.5, weight_decay=0.1), "alpha", (0.0, 2.0), {"objective": "byol-prime"}),
    (ModeSystem(1.0, 0.5, weight_decay=0.1), "beta", (0.1, 2.0), {"objective": "byol-prime"}),
    (SYSTEM, "beta", (0.1, 0.9), {"objective": "raft", "invariant": -0.5}),
    (CUBIC, "invariant", (-5.0, 1.0), {}),
    (CUBIC, "tau-target", (0.2, 2.0), {"invariant": -1.0}),
]
each_case = pytest.mark.parametrize(("system", "parameter", "interval", "options"), CASES)


# --- the points that theory knows ---------------------------------------------------------------------------


@settings(max_examples=25)
@given(seed=seeds)
def test_the_saddle_node_of_weight_decay(seed: int) -> None:
    system = random_system(seed)
    lambda_s, lambda_d = system.lambda_s[0], system.lambda_d[0]
    expected = lambda_d**2 / (4 * system.tau_online * lambda_s)
    found = bifurcation(system, "weight-decay", (0.2 * expected, 1.7 * expected))
    points = of_type(found, "saddle-node")
    assert found.points == tuple(points)
    assert len(points) == 2
    p = lambda_d / (2 * lambda_s)
    w1 = np.sqrt(system.tau_predictor / system.tau_online) * p
    for point, sign in zip(sorted(points, key=lambda point: -point.online), (1, -1), strict=True):
        assert_allclose(point.value, expected, rtol=1e-10)
        # a fold is a double root: its place in the weights is known to 1e-12 as well, being solved for
        assert_allclose([point.online, point.predictor, point.target], [sign * w1, p, sign * w1], rtol=1e-9)


@settings(max_examples=25)
@given(seed=seeds)
def test_the_pitchfork_of_the_invariant(seed: int) -> None:
    system = random_system(seed)
    r = system.ratio[0]
    floor = -system.tau_predictor * r**2
    found = bifurcation(system, "invariant", (2 * floor, -floor))
    (pitchfork,), (cone,) = of_type(found, "branch-point"), of_type(found, "saddle-node")
    assert_allclose([pitchfork.value, pitchfork.predictor], [floor, r], rtol=1e-10)
    assert (pitchfork.online, pitchfork.note) == (0.0, PITCHFORK)
    assert_allclose([cone.value, cone.online, cone.predictor], 0, atol=1e-10 * abs(floor))
    assert "touch" in cone.note


@pytest.mark.parametrize("parameter", ["lambda-d", "tau-predictor"])
def test_pitchforks_in_other_parameters_lie_on_the_same_surface(parameter: str) -> None:
    found = bifurcation(SYSTEM, parameter, (0.1, 1.0), invariant=-0.09)
    (point,) = found.points
    assert (point.type, point.note) == ("branch-point", PITCHFORK)
    # −0.09 = −τp (λd/λs)²
    assert_allclose(point.value, {"lambda-d": 0.3, "tau-predictor": 0.36}[parameter], rtol=1e-10)


@pytest.mark.parametrize(("parameter", "interval"), [("alpha", (0.0, 2.0)), ("beta", (0.1, 2.0))])
def test_saddle_nodes_of_an_objective(parameter: str, interval: tuple[float, float]) -> None:
    options: dict[str, Any] = {"objective": "byol-prime", "beta": 0.7}
    found = bifurcation(DECAYED, parameter, interval, **options)
    point, _ = of_type(found, "saddle-node")
    system, _ = moved(DECAYED, parameter, point.value, **options)
    assert_allclose(system.lambda_d[0] ** 2, 4 * 0.06 * system.lambda_s[0], rtol=1e-9)


def test_transcritical_point_where_weight_decay_begins() -> None:
    (point,) = bifurcation(SYSTEM, "weight-decay", (0.0, 0.05)).points
    assert (point.type, point.note) == ("branch-point", "transcritical")
    assert point[2:6] == (0.0, 0.0, 0.0, 0.0)


def test_a_saddle_node_on_the_border_is_found() -> None:
    for interval in ((0.01, 0.0625), (0.0625, 0.1)):
        found = bifurcation(SYSTEM, "weight-decay", interval)
        assert [point.value for point in found.points] == [0.0625, 0.0625]


def test_branches_that_cross_upright() -> None:
    # at λd = 0 the learned line has w2 = 0: w1² = c for c > 0 meets w2² = −c for c < 0
    found = bifurcation(ModeSystem(1.0, 0.0), "invariant", (-0.4, 0.4))
    (point,) = found.points
    assert (point.type, point.value, point.note) == ("branch-point", 0.0, "both branches turn here")
    names = [branch.name for branch in found.branches]
    assert names == ["learned", "learned-mirror", "collapsed-positive", "collapsed-negative"]


# --- Hopf ---------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(seed=seeds, parameter=st.sampled_from(["weight-decay", "tau-target", "lambda-d", "tau-predictor"]))
def test_weight_decay_has_no_hopf_bifurcation(seed: int, parameter: str) -> None:
    system = random_system(seed)
    fold = system.lambda_d[0] ** 2 / (4 * system.tau_online * system.lambda_s[0])
    decayed = random_system(seed, weight_decay=0.8 * fold)
    interval = (0.1 * fold, 1.5 * fold) if parameter == "weight-decay" else (0.3, 3.0)
    found = bifurcation(decayed, parameter, interval)
    assert of_type(found, "hopf") == []
    for branch in found.branches:
        assert np.all(np.sum(branch.eigenvalues, axis=1).real < 0)


@settings(max_examples=10)
@given(seed=seeds)
def test_hopf_bifurcations_of_runaway_modes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lambda_s, r = -rng.uniform(0.5, 2.0), rng.uniform(0.5, 2.0)
    times = random_times(rng)
    system = ModeSystem(lambda_s, r * lambda_s, **times)
    p = rng.uniform(0.2, 0.8) * r
    expected = -times["tau_online"] / (lambda_s * p**2)
    c = -times["tau_predictor"] * p**2
    found = bifurcation(system, "tau-target", (0.4 * expected, 2 * expected), invariant=c)
    (point,) = of_type(found, "hopf")
    assert_allclose([point.value, point.predictor], [expected, p], rtol=1e-9)
    there, _ = moved(system, "tau-target", point.value)
    eigenvalues = np.linalg.eigvals(mode_jacobian(there.state(*point[3:6]), there)[0])
    scale = np.max(np.abs(eigenvalues))
    assert np.max(np.abs(eigenvalues.real)) <= 1e-9 * scale
    assert np.sum(np.abs(eigenvalues.imag) > 1e-3 * scale) == 2


# --- every branch -------------------------------------------------------------------------------------------


@each_case
def test_branches_are_fixed_points(
    system: ModeSystem, parameter: str, interval: tuple[float, float], options: dict[str, Any]
) -> None:
    found = bifurcation(system, parameter, interval, **options)
    for branch in found.branches:
        assert branch.status == "complete"
        assert np.min(branch.value) >= interval[0] - 1e-15
        assert np.max(branch.value) <= interval[1] + 1e-15
        for k in range(0, len(branch.value), 7):
            there, c = moved(system, parameter, branch.value[k], **options)
            state = there.state(branch.online[k], branch.predictor[k], branch.target[k])
            # the corrector ends at 1e-11 of the sizes of its equations, weights and rates here are below 10
            assert np.max(np.abs(pack(full_mode_field(0.0, state, there)))) <= 1e-9
            held = there.tau_online * state.online[0] ** 2 - there.tau_predictor * state.predictor[0] ** 2
            assert_allclose(held, c, rtol=0, atol=1e-9)


@each_case
def test_eigenvalues_are_those_of_the_field(
    system: ModeSystem, parameter: str, interval: tuple[float, float], options: dict[str, Any]
) -> None:
    found = bifurcation(system, parameter, interval, **options)
    for branch in found.branches:
        for k in range(0, len(branch.value), 11):
            there, _ = moved(system, parameter, branch.value[k], **options)
            state = there.state(branch.online[k], branch.predictor[k], branch.target[k])
            full = np.linalg.eigvals(mode_jacobian(state, there)[0])
            decay = float(there.weight_decay)
            across = -decay if branch.name == "origin" else -2 * decay
            scale = max(1.0, np.max(np.abs(full))) ** 3
            assert_allclose(
                np.poly(full), np.poly([across, *branch.eigenvalues[k]]), rtol=0, atol=1e-9 * scale
            )


@each_case
def test_no_fixed_point_is_missing(
    system: ModeSystem, parameter: str, interval: tuple[float, float], options: dict[str, Any]
) -> None:
    found = bifurcation(system, parameter, interval, **options)
    for share in (0.07, 0.33, 0.58, 0.93):
        value = interval[0] + share * (interval[1] - interval[0])
        there, c = moved(system, parameter, value, **options)
        decays = bool(there.weight_decay > 0)
        points = fixed_points(there, invariant=None if decays else c).points
        crossings = [place for branch in found.branches for place in crossings_of(branch, value)]
        assert len(crossings) == len(points)
        for point in points:
            place = np.array([point.online, point.predictor])
            # linear between points that are at most 0.02 of the largest weight, here 3, apart
            assert min(float(np.max(np.abs(crossing - place))) for crossing in crossings) <= 0.01


def crossings_of(branch: Branch, value: float) -> list[np.ndarray]:
    """Places (w1, w2) where a branch has a value of the parameter, by linear interpolation."""
    places = []
    x = np.stack([branch.online, branch.predictor], axis=1)
    for k in range(len(branch.value) - 1):
        a, b = branch.value[k] - value, branch.value[k + 1] - value
        if a * b < 0:
            places.append(x[k] + a / (a - b) * (x[k + 1] - x[k]))
    return places


def test_stability_changes_at_the_pitchfork() -> None:
    found = {branch.name: branch for branch in bifurcation(SYSTEM, "invariant", (-0.5, 0.3)).branches}
    assert set(found) == {"learned", "learned-mirror", "collapsed-positive", "collapsed-negative"}
    collapsed = found["collapsed-positive"]
    for value, verdict in zip(collapsed.value, collapsed.stability, strict=True):
        expected = "stable" if value < -0.25 else "degenerate" if value in (-0.25, 0.0) else "saddle"
        assert verdict == expected
    assert -0.25 in collapsed.value
    assert set(found["collapsed-negative"].stability[:-1]) == {"stable"}
    assert set(found["learned"].stability[1:]) == {"stable"}
    assert found["learned"].stability[0] == "degenerate"


def test_special_points_are_among_the_points_of_branches() -> None:
    for system, parameter, interval, options in CASES:
        found = bifurcation(system, parameter, interval, **options)
        for point in found.points:
            distance = min(
                float(np.min(np.abs(branch.value - point.value) + np.abs(branch.online - point.online)))
                for branch in found.branches
            )
            assert distance <= 1e-9


@pytest.mark.parametrize(
    ("system", "parameter", "interval", "kind", "value"),
    [
        (SYSTEM, "weight-decay", (0.0, 1000.0), "saddle-node", 0.0625),
        (DECAYED, "tau-online", (0.01, 1000.0), "saddle-node", 0.25 / 0.24),
        (SYSTEM, "invariant", (-100.0, 1.0), "branch-point", -0.25),
        (SYSTEM, "invariant", (-0.2501, -0.2499), "branch-point", -0.25),
    ],
)
def test_wide_and_narrow_ranges(
    system: ModeSystem, parameter: str, interval: tuple[float, float], kind: str, value: float
) -> None:
    found = bifurcation(system, parameter, interval)
    first, *rest = [point for point in of_type(found, kind) if point.predictor > 0]
    # as many digits as the width of the range leaves
    assert_allclose(first.value, value, rtol=0, atol=1e-12 * (interval[1] - interval[0]))
    assert len(rest) == (kind == "saddle-node")  # its mirror image
    assert {branch.status for branch in found.branches} == {"complete"}


def test_a_branch_that_escapes_says_so() -> None:
    # RAFT's λs′ passes 0 at α = 1, where w2 = r grows beyond all bounds: no point is there, so no bifurcation
    found = bifurcation(SYSTEM, "alpha", (0.0, 2.0), objective="raft", invariant=-0.5)
    assert {branch.status for branch in found.branches if branch.name == "learned"} == {"escaped"}
    assert {b.status for b in found.branches if b.name.startswith("collapsed")} == {"complete"}
    assert [(escape.value, escape.branches) for escape in found.escapes] == [
        (1.0, ("learned", "learned-mirror"))
    ]
    assert 1.0 not in [point.value for point in found.points]


@pytest.mark.parametrize("interval", [(0.3, 0.8), (0.1, 0.3), (0.3, 0.3000001)])
def test_a_pitchfork_on_the_border_is_a_pitchfork(interval: tuple[float, float]) -> None:
    found = bifurcation(SYSTEM, "lambda-d", interval, invariant=-0.09)
    assert [(p.type, p.value, p.predictor, p.note) for p in found.points] == [
        ("branch-point", 0.3, 0.3, PITCHFORK)
    ]
    names = [branch.name for branch in found.branches]
    assert len(names) == len(set(names)) == (4 if interval[1] > 0.3 else 2)


def test_a_wide_range_lists_each_branch_once() -> None:
    found = bifurcation(SYSTEM, "lambda-s", (0.5, 1e6), invariant=-0.09)
    assert_allclose([(p.value, p.predictor) for p in found.points], [(5 / 3, 0.3)], rtol=1e-15)
    assert len({branch.name for branch in found.branches}) == len(found.branches) == 4
    # the learned branch has steps of its own: its last twentieth before the pitchfork is drawn in many
    (learned,) = (branch for branch in found.branches if branch.name == "learned")
    assert np.sum(learned.value > 1.5) > 20


def test_a_tiny_mode_is_stable_where_it_is() -> None:
    found = bifurcation(ModeSystem(1.0, 1e-6), "weight-decay", (0.0, 1e-12))
    kinds = {branch.name: set(branch.stability) - {"degenerate"} for branch in found.branches}
    assert (kinds["origin"], kinds["upper"], kinds["lower"]) == ({"stable"}, {"stable"}, {"saddle"})
    assert_allclose([p.value for p in found.points], [0.0, 2.5e-13, 2.5e-13], rtol=1e-15)


def test_degenerate_throughout_is_said() -> None:
    found = bifurcation(SYSTEM, "tau-target", (0.5, 2.0), invariant=-0.25)
    assert found.points == ()
    assert found.notes[0].startswith("c = −τp r² at every value")
    fold = bifurcation(ModeSystem(1.0, 0.5, weight_decay=0.0625), "tau-predictor", (0.5, 2.0))
    assert [set(branch.stability) for branch in fold.branches] == [{"stable"}, {"degenerate"}, {"degenerate"}]


# --- the checks of every run --------------------------------------------------------------------------------


def test_a_special_point_that_is_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    family_of: list[Any] = []
    monkeypatch.setattr(
        "analysis.fixed_points.bifurcations.check", lambda found, family: family_of.append(family)
    )
    found = bifurcation(SYSTEM, "lambda-d", (0.2, 0.8), invariant=-0.09)
    monkeypatch.undo()
    (family,) = family_of
    checks.check(found, family)
    with pytest.raises(ArithmeticError, match="the branch learned turns from degenerate to stable"):
        checks.check(replace(found, points=()), family)
    moved = tuple(point._replace(value=0.31) for point in found.points)
    with pytest.raises(ArithmeticError, match=r"branch-point at 0\.31.* leaves a residual of 0\.0"):
        checks.check(replace(found, points=moved), family)
    twice = (*found.branches, found.branches[0])
    with pytest.raises(ArithmeticError, match="the branches have"):
        checks.check(replace(found, branches=twice), family)
    with pytest.raises(ArithmeticError, match="the branches have"):
        checks.check(replace(found, branches=found.branches[1:]), family)


def test_results_are_short_in_print() -> None:
    found = bifurcation(SYSTEM, "invariant", (-0.5, 0.3))
    assert repr(found).count("\n") < 12
    assert all("\n" not in repr(branch) and len(repr(branch)) < 120 for branch in found.branches)


def test_numbers_that_no_float_holds_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="must be a number that a float can hold"):
        bifurcation(ModeSystem(1e200, 1e-200), "invariant", (-1.0, 1.0))


@settings(max_examples=10)
@given(power=st.integers(-8, 8))
def test_units_make_no_difference(power: int) -> None:
    # λ → x λ, η → x η: the same points in time 1/x; w → w/√x … only moments move here
    x = 10.0**power
    found = bifurcation(ModeSystem(x, 0.5 * x), "weight-decay", (0.01 * x, 0.1 * x))
    assert_allclose([point.value for point in of_type(found, "saddle-node")], 0.0625 * x, rtol=1e-9)
    found = bifurcation(ModeSystem(1.0, x), "invariant", (-2 * x**2, x**2))
    (point,) = of_type(found, "branch-point")
    assert_allclose([point.value, point.predictor], [-(x**2), x], rtol=1e-9)


# --- refusals and reports -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((SYSTEM, "eta", (0.0, 1.0)), {}, "`parameter` must be one of lambda-s, .*beta, got 'eta'"),
        ((SYSTEM, "invariant", (0.3, 0.1)), {}, "`interval` must be two finite numbers, the smaller first"),
        ((SYSTEM, "invariant", (0.3, 0.3)), {}, "`interval` must be two finite numbers, the smaller first"),
        ((SYSTEM, "invariant", (0.3, np.nan)), {}, "`interval` must be two finite numbers"),
        ((SYSTEM, "invariant", (0.3,)), {}, "`interval` must be two finite numbers"),
        (
            (SYSTEM, "tau-target", (0.0, 1.0)),
            {"invariant": 0.1},
            "`interval` must start > 0 for tau-target, got 0",
        ),
        ((SYSTEM, "weight-decay", (-0.1, 1.0)), {}, "`interval` must start >= 0 for weight-decay, got -0.1"),
        ((SYSTEM, "lambda-d", (0.1, 1.0)), {}, "`invariant` must be given at weight decay 0, .* got None"),
        ((SYSTEM, "lambda-d", (0.1, 1.0)), {"invariant": np.inf}, "`invariant` must be finite, got inf"),
        ((DECAYED, "lambda-d", (0.1, 1.0)), {"invariant": 0.1}, "left out where it moves or weight decay"),
        ((SYSTEM, "invariant", (0.1, 1.0)), {"invariant": 0.1}, "left out where it moves or weight decay"),
        (
            (DECAYED, "invariant", (0.1, 1.0)),
            {},
            "`weight_decay` must be 0 for the invariant to move, got 0.06",
        ),
        (
            (DECAYED, "alpha", (0.1, 1.0)),
            {},
            "`objective` must be byol-prime or raft for alpha to move, got byol",
        ),
        (
            (DECAYED, "alpha", (0.1, 1.0)),
            {"objective": "simclr"},
            "`objective` must be one of byol, byol-prime",
        ),
        ((DECAYED, "alpha", (0.1, 1.0)), {"objective": "raft", "beta": 0.0}, "`beta` must be finite and > 0"),
        (
            (ModeSystem([1.0, 1.0], [0.5, 0.5]), "invariant", (0.1, 1.0)),
            {},
            "`system` must have one mode, got 2",
        ),
        ((ModeSystem(0.0, 0.0), "invariant", (0.1, 1.0)), {}, "`lambda_s` must not be 0"),
    ],
)
def test_refusals(arguments: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bifurcation(*arguments, **options)


def test_every_parameter_can_move() -> None:
    for parameter in PARAMETERS:
        options: dict[str, Any] = {"objective": "byol-prime"} if parameter in ("alpha", "beta") else {}
        if parameter not in ("weight-decay", "invariant"):
            options["invariant"] = -0.04
        assert bifurcation(SYSTEM, parameter, (0.2, 0.9), **options).parameter == parameter


def test_nothing_to_find_is_no_trouble() -> None:
    # λs = 0 and c > 0: no point of the leaf is at rest
    assert bifurcation(ModeSystem(0.0, 0.5), "invariant", (0.1, 0.5)).branches == ()


def test_report_is_json() -> None:
    report = bifurcation(SYSTEM, "invariant", (-0.5, 0.3)).report()
    json.dumps(report, allow_nan=False)
    assert {"type", "parameter", "value", "online", "predictor", "target"} <= report["points"][0].keys()
    first = report["branches"][0]
    assert len(first["value"]) == len(first["stability"]) == len(first["eigenvalues"])


@pytest.mark.parametrize("objective", ["byol", "raft"])
def test_a_range_over_a_value_at_which_every_state_is_at_rest_is_refused(objective: str) -> None:
    with pytest.raises(
        ValueError, match=r"must leave out lambda-s = 0\.0, where λs and λd of the flow are both 0"
    ):
        bifurcation(ModeSystem(1.0, 0.0), "lambda-s", (0.0, 1.0), invariant=-0.5, objective=objective)
