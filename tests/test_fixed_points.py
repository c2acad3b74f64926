"""Fixed points against the fields: they rest, have the spectra of the field, and there are no others."""

from __future__ import annotations

import json
import subprocess
import sys
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

from analysis.fixed_points.one_mode import (
    LEAVES,
    FixedPoint,
    FixedPointLine,
    FixedPoints,
    fixed_points,
)
from analysis.fixed_points.variants import RESTS
from dynamics.exact.fixed_points import (
    collapsed_line_eigenvalues,
    learned_line_eigenvalues,
)
from dynamics.fields.modes import direct_mode_field, full_mode_field
from dynamics.invariants import mode_invariant
from dynamics.states import ModeState, pack, unpack
from dynamics.system import ModeSystem
from dynamics.variants import MODE_FIELDS

EPS = np.finfo(float).eps
ROOT = Path(__file__).resolve().parent.parent
SYSTEM = ModeSystem(1.0, 0.5)
VARIANTS = tuple(RESTS)

# The parts of the state that span each variant's phase space.
PARTS: dict[str, tuple[str, ...]] = dict.fromkeys(VARIANTS, ("online", "target"))
PARTS |= dict.fromkeys(("full", "symmetric-predictor"), ("online", "predictor", "target"))
PARTS |= dict.fromkeys(("fixed-target", "no-ema", "no-stop-gradient"), ("online", "predictor"))

seeds = st.integers(0, 2**32 - 1)
variants = st.sampled_from(VARIANTS)


def random_case(seed: int, variant: str, **options: Any) -> tuple[ModeSystem, dict[str, Any]]:
    """A system with moments of either sign, below or above every threshold, and the target if one is due."""
    rng = np.random.default_rng(seed)
    times = dict(zip(("tau_online", "tau_predictor", "tau_target"), rng.uniform(0.4, 2.5, 3), strict=True))
    if variant == "tied":
        times["tau_predictor"] = times["tau_online"]
    lambda_s = rng.choice([-1, 1, 1]) * rng.uniform(0.3, 2.0)
    lambda_d = rng.choice([0.0, 1, -1, 1, lambda_s / rng.uniform(0.5, 1.0)]) * rng.uniform(0.5, 1.0)
    settings = {"weight_decay": float(rng.choice([0.0, 0.02, 0.3])), **times, **options}
    target = {"target": float(rng.choice([0.0, 0.7, -0.4]))} if variant == "fixed-target" else {}
    return ModeSystem(lambda_s, lambda_d, **settings), target


def segments(line: FixedPointLine) -> Any:
    """Segments to compare with plain tuples."""
    return line.segments


def as_state(point: FixedPoint) -> ModeState:
    return SYSTEM.state(point.online, point.predictor, point.target)


def size(state: ModeState) -> float:
    """Bound on the terms of the field: rates times moments are <= 10, and weights enter as cubes at most."""
    return 10 * max(1.0, *(float(np.abs(part[0])) for part in state)) ** 3


def speed(state: ModeState, system: ModeSystem, variant: str) -> float:
    return float(np.max(np.abs(pack(MODE_FIELDS[variant](0.0, state, system)))))


def spectrum(state: ModeState, system: ModeSystem, variant: str) -> np.ndarray:
    """Eigenvalues of the field by the complex step, over the parts in which the variant moves."""
    parts, field = PARTS[variant], MODE_FIELDS[variant]
    jacobian = np.empty((len(parts), len(parts)))
    for j, moved in enumerate(parts):
        velocity = field(0.0, state._replace(**{moved: getattr(state, moved) + 1e-100j}), system)
        jacobian[:, j] = [np.imag(getattr(velocity, name)[0]) / 1e-100 for name in parts]
    return np.linalg.eigvals(jacobian)


def assert_same_spectrum(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare through the characteristic polynomial, which double eigenvalues leave smooth."""
    scale = max(1.0, float(np.max(np.abs(expected))))
    # coefficients are sums of at most three products of at most three: roundings times the cube of the size
    assert_allclose(np.poly(found), np.poly(expected), rtol=0, atol=500 * EPS * scale**3)


# --- what the theory prints ---------------------------------------------------------------------------------


def test_lines_of_the_full_flow() -> None:
    learned, collapsed = fixed_points(SYSTEM).lines
    assert fixed_points(SYSTEM).points == ()
    assert (learned.name, collapsed.name) == ("learned", "collapsed")
    assert (learned.direction, learned.at(0.3)) == ((1.0, 0.0, 1.0), (0.3, 0.5, 0.3))
    assert (collapsed.direction, collapsed.at(-0.3)) == ((0.0, 1.0, 0.0), (0.0, -0.3, 0.0))
    assert segments(learned) == ((-inf, 0, "attracting"), (0, 0, "degenerate"), (0, inf, "attracting"))
    assert segments(collapsed) == (
        (-inf, 0, "attracting"),
        (0, 0, "degenerate"),
        (0, 0.5, "saddle"),
        (0.5, 0.5, "degenerate"),
        (0.5, inf, "attracting"),
    )


def test_points_of_a_leaf() -> None:
    found = fixed_points(SYSTEM, invariant=-0.09)
    assert [(p.name, p.online, p.predictor, p.target, p.stability, p.sheet) for p in found.points] == [
        ("learned", 0.4, 0.5, 0.4, "stable", "w2 > 0"),
        ("learned-mirror", -0.4, 0.5, -0.4, "stable", "w2 > 0"),
        ("collapsed-positive", 0.0, 0.3, 0.0, "saddle", "w2 > 0"),
        ("collapsed-negative", 0.0, -0.3, 0.0, "stable", "w2 < 0"),
    ]
    for point, expected in (
        (found["learned"], learned_line_eigenvalues(0.4, SYSTEM)[0]),
        (found["collapsed-positive"], collapsed_line_eigenvalues(0.3, SYSTEM)[0]),
        (found["collapsed-negative"], collapsed_line_eigenvalues(-0.3, SYSTEM)[0]),
    ):
        assert_allclose(point.eigenvalues, expected, rtol=0, atol=4 * EPS)
        assert_allclose(point.leaf_eigenvalues, expected[1:], rtol=0, atol=4 * EPS)


def test_leaf_through_zero_predictor() -> None:
    found = fixed_points(SYSTEM, invariant=0.11)
    assert [(p.online, p.predictor, p.stability, p.sheet) for p in found.points] == [
        (0.6, 0.5, "stable", "w1 > 0"),
        (-0.6, 0.5, "stable", "w1 < 0"),
    ]


def test_degenerate_leaves() -> None:
    pitchfork, other = fixed_points(SYSTEM, invariant=-0.25).points
    assert (pitchfork.name, pitchfork.predictor, pitchfork.stability) == ("pitchfork", 0.5, "degenerate")
    assert "attracts" in pitchfork.note
    assert (other.predictor, other.stability) == (-0.5, "stable")
    learned, mirror, origin = fixed_points(SYSTEM, invariant=0.0).points
    assert (learned.online, learned.predictor, mirror.online) == (0.5, 0.5, -0.5)
    assert (origin.name, origin.stability) == ("origin", "half-stable")


def test_weight_decay() -> None:
    system = ModeSystem(1.0, 0.5, weight_decay=0.06)
    found = fixed_points(system)
    assert [(p.name, p.predictor, p.stability) for p in found.points] == [
        ("origin", 0.0, "stable"),
        ("lower", 0.2, "saddle"),
        ("lower-mirror", 0.2, "saddle"),
        ("upper", 0.3, "stable"),
        ("upper-mirror", 0.3, "stable"),
    ]
    assert found.lines == ()
    merged = fixed_points(ModeSystem(1.0, 0.5, weight_decay=0.0625))["saddle-node"]
    assert (merged.online, merged.predictor, merged.stability) == (0.25, 0.25, "degenerate")
    assert [p.name for p in fixed_points(ModeSystem(1.0, 0.5, weight_decay=0.0626)).points] == ["origin"]


def test_tied_origin_is_half_stable_and_has_no_mirror() -> None:
    origin, learned = fixed_points(SYSTEM, "tied").points
    assert_allclose(origin.eigenvalues, [0, -1], rtol=0, atol=0)
    assert (origin.stability, learned.name, learned.stability) == ("half-stable", "learned", "stable")
    assert speed(SYSTEM.state(-0.5, -0.5, -0.5), SYSTEM, "tied") > 0.1
    assert speed(SYSTEM.state(-0.5, 0.5, -0.5), SYSTEM, "full") == 0


def test_no_predictor() -> None:
    (origin,) = fixed_points(SYSTEM, "no-predictor").points
    assert (origin.online, origin.predictor, origin.stability) == (0.0, 1.0, "stable")
    (line,) = fixed_points(ModeSystem(1.0, 1.0), "no-predictor").lines
    assert segments(line) == ((-inf, inf, "attracting"),)
    (origin,) = fixed_points(ModeSystem(1.0, 1.2), "no-predictor").points
    assert origin.stability == "saddle"


def test_fixed_target() -> None:
    found = fixed_points(SYSTEM, "fixed-target", target=0.3)
    (origin,), (hyperbola,) = found.points, found.lines
    assert origin.stability == "saddle"
    assert_allclose(np.sort(origin.eigenvalues.real), [-0.15, 0.15], rtol=4 * EPS)
    assert hyperbola.direction is None
    assert segments(hyperbola) == ((-inf, 0, "attracting"), (0, inf, "attracting"))
    w1, w2, th = hyperbola.at(0.2)
    assert (w1, th) == (0.2, 0.3)
    assert_allclose(w1 * w2, 0.15, rtol=2 * EPS)


@pytest.mark.parametrize("variant", ["directpred", "directset"])
def test_direct_predictors_keep_the_thresholds_of_weight_decay(variant: str) -> None:
    full = {p.name: p.predictor for p in fixed_points(ModeSystem(1.0, 0.5, weight_decay=0.06)).points}
    direct = fixed_points(ModeSystem(1.0, 0.5, weight_decay=0.06), variant)
    assert {p.name: p.predictor for p in direct.points} == full
    assert [p.stability for p in direct.points] == ["stable", "saddle", "saddle", "stable", "stable"]


@pytest.mark.parametrize(("lambda_d", "verb"), [(0.5, "repels"), (0.0, "attracts"), (-0.5, "attracts")])
def test_origin_of_direct_predictors(lambda_d: float, verb: str) -> None:
    system = ModeSystem(1.0, lambda_d)
    origin = fixed_points(system, "directpred")["origin"]
    assert origin.stability == "degenerate"
    assert origin.note.startswith(verb)
    w1 = MODE_FIELDS["directpred"](0.0, system.state(0.01, 0.01, 0.01), system).online[0]
    assert (w1 > 0) == (verb == "repels")


def test_learned_line_of_the_fast_predictor() -> None:
    broken = fixed_points(SYSTEM, "fast-predictor")
    assert segments(broken.lines[0]) == ((-inf, 0, "attracting"), (0, inf, "attracting"))
    assert broken["origin"].predictor == 0
    whole = fixed_points(ModeSystem(1.0, 0.0), "fast-predictor")
    assert segments(whole.lines[0]) == ((-inf, inf, "attracting"),)
    assert whole.points == ()


def test_runaway_modes() -> None:
    # λs < 0: no learned point is stable; a collapsed focus loses stability at p² = τo/(τt |λs|) = 1
    learned, collapsed = fixed_points(ModeSystem(-1.0, -2.0)).lines
    assert {segment.stability for segment in learned.segments} == {"saddle", "degenerate"}
    assert segments(collapsed) == (
        (-inf, 0, "saddle"),
        (0, 0, "degenerate"),
        (0, 1, "attracting"),
        (1, 1, "degenerate"),
        (1, 2, "repelling"),
        (2, 2, "degenerate"),
        (2, inf, "saddle"),
    )
    decayed = fixed_points(ModeSystem(-1.0, 1.0, weight_decay=0.1)).points
    assert {point.stability for point in decayed} == {"stable", "saddle"}


# --- every variant, every sign ------------------------------------------------------------------------------


@settings(max_examples=150)
@given(seed=seeds, variant=variants)
def test_points_rest_where_the_variant_lives(seed: int, variant: str) -> None:
    system, target = random_case(seed, variant)
    for point in fixed_points(system, variant, **target).points:
        state = as_state(point)
        assert speed(state, system, variant) <= min(20 * EPS * size(state), 1e-12)
        kept = MODE_FIELDS[variant].constrain(0.0, state, system)
        assert_allclose(pack(kept), pack(state), rtol=0, atol=20 * EPS * size(state))


@settings(max_examples=150)
@given(seed=seeds, variant=variants)
def test_spectra_of_points_are_those_of_the_field(seed: int, variant: str) -> None:
    system, target = random_case(seed, variant)
    for point in fixed_points(system, variant, **target).points:
        if variant == "fast-predictor":
            continue  # its field has no derivative at w1 = 0
        assert_same_spectrum(point.eigenvalues, spectrum(as_state(point), system, variant))


@settings(max_examples=150)
@given(
    seed=seeds,
    variant=st.sampled_from(LEAVES),
    invariant=st.floats(-2.0, 2.0).filter(lambda c: abs(c) > 1e-30),
)
def test_points_of_leaves(seed: int, variant: str, invariant: float) -> None:
    system, target = random_case(seed, variant, weight_decay=0.0)
    for point in fixed_points(system, variant, invariant=invariant, **target).points:
        state = as_state(point)
        assert speed(state, system, variant) <= 20 * EPS * size(state)
        assert_allclose(mode_invariant(state, system), invariant, rtol=0, atol=100 * EPS * size(state))
        if target:
            # one of the two eigenvalues of R13 is the zero across the leaf, save at the origin
            assert point.eigenvalues.size == 2
        assert_same_spectrum(point.eigenvalues, spectrum(state, system, variant))
        weight = {"1": point.online, "2": point.predictor}.get(point.sheet[1:2], 0.0)
        assert not point.sheet or (weight > 0) == (">" in point.sheet)


VERDICTS = {(True, False): "repelling", (False, True): "attracting", (True, True): "saddle"}


@settings(max_examples=150)
@given(seed=seeds, variant=variants, share=st.floats(0.05, 0.95))
def test_segments_of_lines(seed: int, variant: str, share: float) -> None:
    system, target = random_case(seed, variant)
    for line in fixed_points(system, variant, **target).lines:
        for lo, hi, verdict in line.segments:
            near, far = max(lo, min(hi, 0) - 3), min(hi, max(lo, 0) + 3)
            state = SYSTEM.state(*line.at(near + share * (far - near)))
            assert speed(state, system, variant) <= 20 * EPS * size(state)
            eigenvalues = spectrum(state, system, variant)
            along = np.argmin(np.abs(eigenvalues))
            across = np.delete(eigenvalues, along).real
            scale = np.max(np.abs(across))
            # the zero along the line, and on degenerate points a double one, up to the root of rounding
            assert abs(eigenvalues[along]) <= (1e-7 if verdict == "degenerate" else 1e-9) * max(1.0, scale)
            if verdict == "degenerate":
                assert np.min(np.abs(across)) <= 1e-7 * max(1.0, scale)
            elif np.min(np.abs(across)) > 1e-7 * scale:
                assert VERDICTS[bool(np.any(across > 0)), bool(np.any(across < 0))] == verdict


# --- nothing is missing -------------------------------------------------------------------------------------


def line_place(line: FixedPointLine, place: np.ndarray) -> float:
    return float(place[0] if line.parameter == "a" else place[1])


def distance(found: FixedPoints, place: np.ndarray) -> float:
    """Distance from the nearest fixed point in the phase space of the variant."""
    nearest = [pack(as_state(point)) for point in found.points]
    for line in found.lines:
        if line.name != "hyperbola" or abs(place[0]) > 1e-8:
            nearest.append(np.array(line.at(line_place(line, place))))
    kept = [ModeState._fields.index(name) for name in PARTS[found.variant]]
    return min((float(np.max(np.abs(near - place)[kept])) for near in nearest), default=inf)


def roots(system: ModeSystem, variant: str, rng: np.random.Generator, n: int, **fixed: float) -> np.ndarray:
    """Zeros of the field from n random starts, by Levenberg and Marquardt's method over the moving parts."""
    field, parts = MODE_FIELDS[variant], PARTS[variant]
    invariant = fixed.pop("invariant", None)
    rates = {
        name: getattr(system, name) for name in ("tau_online", "tau_predictor", "tau_target", "weight_decay")
    }
    many = ModeSystem(np.repeat(system.lambda_s, n), np.repeat(system.lambda_d, n), **rates)
    base = many.state(**fixed)

    def state_of(x: np.ndarray) -> ModeState:
        return field.constrain(0.0, base._replace(**dict(zip(parts, x.T, strict=True))), many)

    def residuals(x: np.ndarray) -> np.ndarray:
        state = state_of(x)
        values = list(field(0.0, state, many))
        return np.stack(
            values if invariant is None else [*values, mode_invariant(state, many) - invariant], axis=-1
        )

    x = rng.uniform(-2.0, 2.0, (n, len(parts)))
    damping = np.ones(n)
    for _ in range(200):
        F = residuals(x)
        J = np.stack([residuals(x + 1e-100j * unit).imag / 1e-100 for unit in np.eye(len(parts))], axis=-1)
        normal = J.mT @ J + damping[:, None, None] * np.eye(len(parts))
        moved = x - np.linalg.solve(normal, J.mT @ F[..., None])[..., 0]
        better = np.sum(residuals(moved) ** 2, axis=1) < np.sum(F**2, axis=1)
        x = np.where(better[:, None], moved, x)
        damping = np.maximum(np.where(better, damping / 10, damping * 10), 1e-12)
    rests = np.max(np.abs(residuals(x)), axis=1) <= 1e-11
    bounded = np.max(np.abs(x), axis=1) < 1e3
    return np.stack(state_of(x), axis=-1)[rests & bounded]


# A residual of 1e-11 leaves a root of fifth order, which DirectSet's origin is at λd = 0, uncertain by its
# fifth root over that of a coefficient of the field, about 0.1.
ROOT_ACCURACY = 1e-2


@settings(max_examples=200)
@given(seed=seeds, variant=variants)
def test_all_roots_of_the_field_are_reported(seed: int, variant: str) -> None:
    system, target = random_case(seed, variant)
    found = fixed_points(system, variant, **target)
    for place in roots(system, variant, np.random.default_rng(seed), 40, **target):
        assert distance(found, place) <= ROOT_ACCURACY


@settings(max_examples=100)
@given(seed=seeds, variant=st.sampled_from(LEAVES), invariant=st.sampled_from([-0.5, 0.0, 0.5]))
def test_all_roots_on_a_leaf_are_reported(seed: int, variant: str, invariant: float) -> None:
    system, target = random_case(seed, variant, weight_decay=0.0)
    found = fixed_points(system, variant, invariant=invariant, **target)
    for place in roots(system, variant, np.random.default_rng(seed), 40, invariant=invariant, **target):
        assert distance(found, place) <= ROOT_ACCURACY


# λs, λd, η, variant: borders between cases, which no random draw meets.
BORDERS = [
    (0.0, 0.5, 0.0, "full"),
    (0.0, -0.5, 0.1, "full"),
    (0.0, 0.0, 0.1, "full"),
    (1.0, 0.0, 0.0, "full"),
    (1.0, 0.5, 0.0625, "full"),
    (1.0, 0.5, 0.0625, "tied"),
    (0.0, 0.5, 0.1, "tied"),
    (1.0, 0.0, 0.0, "tied"),
    (0.0, 0.5, 0.1, "no-ema"),
    (1.0, 1.0, 0.0, "no-stop-gradient"),
    (1.0, -1.0, 0.0, "no-stop-gradient"),
    (1.0, 1.5, 0.1, "no-stop-gradient"),
    (1.0, -1.5, 0.1, "no-stop-gradient"),
    (-1.0, 1.5, 0.1, "no-stop-gradient"),
    (0.0, 0.5, 0.1, "no-stop-gradient"),
    (0.0, 0.5, 0.0, "no-stop-gradient"),
    (-0.1, 0.0, 0.1, "no-stop-gradient"),
    (-0.1, 0.4, 0.1, "no-stop-gradient"),
    (0.0, 0.5, 0.0, "fixed-target"),
    (0.0, 0.5, 0.2, "fixed-target"),
    (1.0, 0.5, 0.2, "fixed-target"),
    (1.0, 0.0, 0.0, "fixed-target"),
    (1.0, 0.5, 0.0, "no-predictor"),
    (1.0, 1.1, 0.1, "no-predictor"),
    (0.0, 0.0, 0.0, "no-predictor"),
    (1.0, 0.0, 0.0, "fast-predictor"),
    (0.0, 0.5, 0.0, "directpred"),
    (0.0, 0.5, 0.1, "directset"),
    (1.0, 0.0, 0.0, "directset"),
    (1.0, 0.5, 0.0625, "directpred"),
]


@pytest.mark.parametrize(("lambda_s", "lambda_d", "weight_decay", "variant"), BORDERS)
def test_borders_are_complete(lambda_s: float, lambda_d: float, weight_decay: float, variant: str) -> None:
    system = ModeSystem(lambda_s, lambda_d, weight_decay=weight_decay)
    target = {"target": 0.4} if variant == "fixed-target" else {}
    found = fixed_points(system, variant, **target)
    places = roots(system, variant, np.random.default_rng(0), 40, **target)
    assert places.size
    assert all(distance(found, place) <= ROOT_ACCURACY for place in places)
    for place in [pack(as_state(p)) for p in found.points] + [np.array(line.at(0.7)) for line in found.lines]:
        assert speed(SYSTEM.state(*place), system, variant) <= 1e-13


@settings(max_examples=30)
@given(seed=seeds, variant=variants)
def test_trajectories_end_where_rest_is_stable(seed: int, variant: str) -> None:
    rng = np.random.default_rng(seed)
    lambda_s = rng.uniform(0.5, 2.0)
    options = {"target": float(rng.uniform(0.3, 0.6))} if variant == "fixed-target" else {}
    system = ModeSystem(
        lambda_s, lambda_s * rng.uniform(0.5, 0.9), weight_decay=float(rng.choice([0.0, 0.03]))
    )
    found = fixed_points(system, variant, **options)
    # DirectSet leaves the origin as slowly as dw1/dt = λs λd w1³
    w1, w2, th = rng.choice([-1, 1], 3) * rng.uniform(0.1, 1.0, 3)
    start = system.state(w1, w2, options.get("target", th))
    start = MODE_FIELDS[variant].constrain(0.0, start, system)

    def velocity(t: float, y: np.ndarray) -> np.ndarray:
        return pack(MODE_FIELDS[variant](t, unpack(y, start), system))

    solution = solve_ivp(velocity, (0.0, 2000.0), pack(start), method="LSODA", rtol=1e-8, atol=1e-10)
    end = pack(MODE_FIELDS[variant].constrain(0.0, unpack(solution.y[:, -1], start), system))
    stable = FixedPoints(
        variant,
        tuple(p for p in found.points if p.stability in ("stable", "half-stable")),
        tuple(line for line in found.lines if on_attracting_part(line, end)),
    )
    # tied weights collapse like 1/(λd t) <= 1/(0.25 · 2000)
    assert distance(stable, end) <= 3e-3


def on_attracting_part(line: FixedPointLine, place: np.ndarray) -> bool:
    parameter = line_place(line, place)
    return any(
        lo - 3e-3 <= parameter <= hi + 3e-3 for lo, hi, verdict in line.segments if verdict == "attracting"
    )


# --- exact forms --------------------------------------------------------------------------------------------


def values(exact: dict[str, str], **numbers: sympy.Expr) -> list[float]:
    return [float(sympy.sympify(text, locals={}).subs(numbers)) for text in exact.values()]


@settings(max_examples=60)
@given(seed=seeds, variant=variants)
def test_exact_forms_equal_the_numbers(seed: int, variant: str) -> None:
    rng = np.random.default_rng(seed)
    system, target = random_case(seed, variant)
    rounded = {
        name: round(getattr(system, name), 2) for name in ("tau_online", "tau_predictor", "tau_target")
    }
    system = ModeSystem(
        round(system.lambda_s[0], 2),
        round(system.lambda_d[0], 2),
        weight_decay=system.weight_decay,
        **rounded,
    )
    invariant: dict[str, Any] = {}
    if variant in LEAVES and system.weight_decay == 0:
        invariant = {"invariant": float(rng.choice([-0.3, 0.0, 0.2]))}
    found = fixed_points(system, variant, **target, **invariant)
    numbers = {name: sympy.Rational(str(value)) for name, value in {**rounded, **target, **invariant}.items()}
    numbers["weight_decay"] = sympy.Rational(str(system.weight_decay))
    numbers["lambda_s"] = sympy.Rational(str(system.lambda_s[0]))
    numbers["lambda_d"] = sympy.Rational(str(system.lambda_d[0]))
    # the named symbols carry assumptions, which a substitution must meet
    for point in found.points:
        place = pack(as_state(point))
        # SymPy subtracts in 15 digits what the numbers get without cancellation
        assert_allclose(values(point.exact()), place, rtol=0, atol=1e-12)
        assert_allclose(values(point.exact(symbolic=True), **numbers), place, rtol=0, atol=1e-12)
    for line in found.lines:
        place = np.array(line.at(0.75))
        parameter = {line.parameter: sympy.Rational(3, 4)}
        assert_allclose(values(line.exact(), **parameter), place, rtol=0, atol=1e-12)
        assert_allclose(values(line.exact(symbolic=True), **parameter, **numbers), place, rtol=0, atol=1e-12)


def test_exact_forms_read_as_in_the_theory() -> None:
    system = ModeSystem(1.0, 0.5, weight_decay=0.06)
    assert fixed_points(system)["upper"].exact() == {"online": "3/10", "predictor": "3/10", "target": "3/10"}
    lambda_s, lambda_d, eta = sympy.symbols("lambda_s lambda_d weight_decay")
    tau_online = sympy.Symbol("tau_online")
    text = fixed_points(system)["lower"].exact(symbolic=True)["predictor"]
    root = sympy.sqrt(lambda_d**2 - 4 * eta * tau_online * lambda_s)
    assert sympy.simplify(sympy.sympify(text) - (lambda_d - root) / (2 * lambda_s)) == 0
    learned = fixed_points(SYSTEM, invariant=1 / 3)["learned"]
    assert learned.exact()["online"] == "sqrt(21)/6"
    assert fixed_points(ModeSystem(1.0, 1 / 3)).lines[0].exact()["predictor"] == "1/3"


def test_borders_are_decided_exactly_where_floats_round() -> None:
    # 0.3² − 4 · 0.0225 and −0.1 + 0.1 (0.3/0.3)² are not 0 in floating point
    names = {p.name for p in fixed_points(ModeSystem(0.7, 0.7, weight_decay=0.175)).points}
    assert names == {"origin", "saddle-node", "saddle-node-mirror"}
    third = ModeSystem(0.3, 0.1, tau_predictor=0.7)
    assert fixed_points(third, invariant=-0.7 / 9).points[0].name == "pitchfork"
    for nudge, name in ((1 - 1e-12, "learned"), (1 + 1e-12, "collapsed-positive")):
        assert fixed_points(third, invariant=-0.7 / 9 * nudge).points[0].name == name
    below = fixed_points(third, invariant=-0.7 / 9 * (1 - 1e-12))["collapsed-positive"]
    above = fixed_points(third, invariant=-0.7 / 9 * (1 + 1e-12))["collapsed-positive"]
    assert (below.stability, above.stability) == ("saddle", "stable")


def test_small_roots_keep_their_digits() -> None:
    lower = fixed_points(ModeSystem(1.0, 0.5, weight_decay=1e-12))["lower"]
    # p− = η τo/λd (1 + η τo λs/λd² + …)
    assert_allclose(lower.predictor, 2e-12, rtol=1e-11)
    assert lower.stability == "saddle"


# --- half-stable and algebraic ------------------------------------------------------------------------------


@pytest.mark.parametrize(("lambda_d", "side"), [(0.5, 1.0), (-0.5, -1.0)])
def test_the_half_stable_origin_repels_to_one_side(lambda_d: float, side: float) -> None:
    system = ModeSystem(1.0, lambda_d)
    origin = fixed_points(system, "tied")["origin"]
    assert origin.stability == "half-stable"
    assert f"repels to w2 {'>' if side > 0 else '<'} 0" in origin.note
    for sign in (1.0, -1.0):
        start = system.state(*[0.05 * sign] * 3)

        def velocity(t: float, y: np.ndarray, start: ModeState = start) -> np.ndarray:
            return pack(MODE_FIELDS["tied"](t, unpack(y, start), system))

        end = solve_ivp(velocity, (0.0, 500.0), pack(start), rtol=1e-8, atol=1e-12).y[0, -1]
        if sign == side:
            assert_allclose(end, side * 0.5, atol=1e-6)
        else:
            # w' = λd w²: 1/w grows by λd t, here by 250 on 20; the cubic term and the lag are of order w
            assert_allclose(end, sign / 270, rtol=0.15)


@pytest.mark.parametrize("lambda_s", [1.0, -1.0])
def test_the_note_on_a_pitchfork_is_what_the_flow_does(lambda_s: float) -> None:
    system = ModeSystem(lambda_s, 0.5 * lambda_s)
    point = fixed_points(system, invariant=-0.25)["pitchfork"]
    assert ("attracts" in point.note) == (lambda_s > 0)
    w1 = 0.05
    start = system.state(w1, float(np.sqrt(0.25 + w1**2)), w1)

    def velocity(t: float, y: np.ndarray) -> np.ndarray:
        return pack(full_mode_field(t, unpack(y, start), system))

    end = solve_ivp(velocity, (0.0, 100.0), pack(start), rtol=1e-9, atol=1e-12).y[0, -1]
    assert (abs(end) < w1) == (lambda_s > 0)


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((SYSTEM, "fulll"), {}, "`variant` must be one of full, .*, got 'fulll'"),
        ((SYSTEM, direct_mode_field("directpred", epsilon=0.3)), {}, "`variant` must be one of"),
        ((ModeSystem([1.0, 1.0], [0.5, 0.2]),), {}, "`system` must have one mode, got 2"),
        ((SYSTEM,), {"invariant": np.nan}, "`invariant` must be finite, got nan"),
        ((ModeSystem(1e200, 1e-200),), {"invariant": 1.0}, "w2 of the point .* that a float can hold"),
        ((SYSTEM, "tied"), {"invariant": 0.1}, "`invariant` must go with weight decay 0 and one of"),
        (
            (ModeSystem(1.0, 0.5, weight_decay=0.1),),
            {"invariant": 0.1},
            "`invariant` must go with weight decay 0",
        ),
        ((SYSTEM, "fixed-target"), {}, "`target` must be given for the variant fixed-target .* got none"),
        (
            (SYSTEM,),
            {"target": 0.3},
            "`target` must be given for the variant fixed-target .* got 0.3 with full",
        ),
        ((ModeSystem(0.0, 0.0),), {}, "`lambda_s` must not be 0"),
        ((ModeSystem(0.0, 0.5), "fast-predictor"), {}, "`lambda_s` must not be 0"),
        ((ModeSystem(0.0, 0.5), "fixed-target"), {"target": 0.0}, "`lambda_s` must not be 0"),
        ((ModeSystem(1.0, 0.5, tau_online=2.0), "tied"), {}, "`tau_online` = `tau_predictor`"),
    ],
)
def test_refusals(arguments: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fixed_points(*arguments, **options)


@given(st.lists(st.integers(-30, 30), min_size=6, max_size=6), st.booleans(), variants)
def test_extreme_sizes_are_no_trouble(powers: list[int], decay: bool, variant: str) -> None:
    s, d, o, p, t, x = (10.0**power for power in powers)
    system = ModeSystem(
        s, d, tau_online=o, tau_predictor=o if variant == "tied" else p, tau_target=t, weight_decay=x * decay
    )
    options = {"target": x} if variant == "fixed-target" else {}
    if variant in LEAVES and not decay:
        options["invariant"] = -x
    for point in fixed_points(system, variant, **options).points:
        assert np.all(np.isfinite([point.online, point.predictor, point.target]))


def test_a_field_names_its_variant() -> None:
    assert fixed_points(SYSTEM, MODE_FIELDS["tied"]).variant == "tied"


def test_numbers_need_neither_sympy_nor_scipy() -> None:
    code = (
        "import sys\n"
        "from analysis.fixed_points.one_mode import fixed_points\n"
        "from dynamics.system import ModeSystem\n"
        "fixed_points(ModeSystem(1.0, 0.5), invariant=-0.09).report(exact=False)\n"
        "print([name for name in ('sympy', 'scipy', 'jax') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "[]"


def test_report_holds_what_the_command_prints() -> None:
    report = fixed_points(SYSTEM, invariant=-0.09).report()
    (learned, *_) = report["fixed_points"]
    assert {"name", "online", "predictor", "target", "eigenvalues", "stability", "exact"} <= learned.keys()
    assert learned["exact"] == {"online": "2/5", "predictor": "1/2", "target": "2/5"}
    (learned, _) = fixed_points(SYSTEM).report()["lines"]
    assert learned["segments"][0] == {"range": [None, 0.0], "stability": "attracting"}
    json.dumps(report, allow_nan=False)
