"""Predicted fates against the flow itself, integrated, and against closed forms at the edges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp
from scipy.sparse import bmat, diags

from analysis.fates.cases import CASES
from analysis.fates.fate import Fate, Prediction
from analysis.fates.predictions import SIGN_ACCURACY, predict_fates
from analysis.phase_planes.separatrices import leaf_separatrix
from analysis.runs.simulation import simulate_modes
from dynamics.exact.fixed_points import saddle_node
from dynamics.integration.trajectory import Status
from dynamics.invariants import mode_invariant
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import MODE_FIELDS, VARIANTS

N = 120
DIRECT = ("directpred", "directset")
# Radau keeps its local error below 1e-10; it takes some 10³ steps, and along a line of fixed points nothing contracts
CLOSE = 1e-7

seeds = st.integers(0, 2**32 - 1)
weights = st.floats(-2.0, 2.0).filter(lambda x: x == 0 or abs(x) > 1e-3)


def random_system(rng: np.random.Generator, variant: str, ratio: Any, **options: Any) -> ModeSystem:
    lambda_s = rng.uniform(0.3, 2.0, N)
    tau_o, tau_p, tau_t = np.exp(rng.uniform(-1.0, 1.0, (3, N)))
    return ModeSystem(
        lambda_s,
        ratio * lambda_s,
        tau_online=tau_o,
        tau_predictor=tau_o if variant == "tied" else tau_p,
        tau_target=tau_t,
        **options,
    )


def random_start(rng: np.random.Generator, variant: str, system: ModeSystem) -> ModeState:
    """Weights of all signs, none of them so small that leaving the origin takes for ever (R14)."""
    w1, w2, th = rng.uniform(0.05, 1.2, (3, N)) * rng.choice([-1.0, 1.0], (3, N))
    return system.state(w1, w1 if variant == "tied" else w2, th)


def flow_end(variant: str, start: ModeState, system: ModeSystem, t_end: float) -> ModeState:
    """State at t_end by an implicit method on the vector field, all modes in one sparse problem."""
    field, n = MODE_FIELDS[variant], system.n_modes

    def rate(t: float, y: np.ndarray) -> np.ndarray:
        return np.concatenate(field(t, ModeState(*y.reshape(3, n)), system))

    def jacobian(t: float, y: np.ndarray) -> Any:
        columns = []
        for j in range(3):
            z = y.reshape(3, n).astype(complex)
            z[j] += 1e-30j
            columns.append([part.imag / 1e-30 for part in field(t, ModeState(*z), system)])
        blocks = [[diags(np.broadcast_to(columns[j][i], n)) for j in range(3)] for i in range(3)]
        return bmat(blocks, format="csc")

    y0 = np.concatenate(field.constrain(0.0, start, system))
    solution = solve_ivp(rate, (0.0, t_end), y0, method="Radau", jac=jacobian, rtol=1e-10, atol=1e-12)
    assert solution.success, solution.message
    return field.constrain(t_end, ModeState(*solution.y[:, -1].reshape(3, n)), system)


def assert_ends(predicted: Prediction, end: ModeState, where: np.ndarray, atol: float = CLOSE) -> None:
    for name in ModeState._fields:
        found, expected = getattr(end, name)[where], getattr(predicted, name)[where]
        assert_allclose(found, expected, rtol=0, atol=atol, err_msg=name)
    assert_allclose(np.abs(end.online[where]), predicted.amplitude[where], rtol=0, atol=atol)
    collapsed = np.abs(end.online[where]) <= atol
    assert_array_equal(np.where(collapsed, Fate.COLLAPSED, Fate.LEARNED), predicted.fate[where])


def far_from_boundaries(start: ModeState, system: ModeSystem) -> np.ndarray:
    """Not on the leaves where the approach is algebraic, nor so near that it takes longer than the test allows."""
    c, floor = mode_invariant(start, system), -system.tau_predictor * system.ratio**2
    return np.minimum(np.abs(c), np.abs(c - floor)) > 1e-3


def one(variant: str = "full", w: Any = (0.1, 0.1, 0.1), *, sign: bool = True, **options: Any) -> Prediction:
    """Prediction for one mode with λs = 1, λd = ½ and all else as by default, unless said."""
    system = ModeSystem(options.pop("lambda_s", 1.0), options.pop("lambda_d", 0.5), **options)
    return predict_fates(system.state(*w), system, variant, decide_sign=sign)


def the_end(prediction: Prediction) -> tuple[float, ...]:
    return tuple(float(part[0]) for part in prediction[1:4])


# --- against the flow, η = 0 --------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["full", "tied", "no-ema", "fixed-target", "fast-predictor"])
@pytest.mark.parametrize("direction", [1.0, -1.0, 0.0])
def test_every_start_ends_where_predicted(variant: str, direction: float) -> None:
    rng = np.random.default_rng(7)
    system = random_system(rng, variant, direction * rng.uniform(0.1, 1.0, N))
    start = random_start(rng, variant, system)
    predicted = predict_fates(start, system, variant, decide_sign=True)
    assert np.all(predicted.fate != "")
    sure = ~predicted.algebraic
    if variant in ("full", "no-ema"):
        sure &= far_from_boundaries(start, system)
    # tied weights collapse algebraically from w λd <= 0
    assert np.sum(sure) >= (0.9 * N if variant != "tied" else 0.4 * N * abs(direction))
    # the slowest rates here are about 1e-5 (learned, c near −τp r²) and, from the origin, λd w ~ 1e-6 (R14)
    assert_ends(predicted, flow_end(variant, start, system, 1e8), sure)


@pytest.mark.parametrize("variant", DIRECT)
def test_direct_predictors_learn_from_every_start(variant: str) -> None:
    rng = np.random.default_rng(8)
    system = random_system(rng, variant, rng.uniform(0.1, 1.0, N))
    start = random_start(rng, variant, system)
    predicted = predict_fates(start, system, variant)
    assert set(predicted.fate) == {Fate.LEARNED}
    assert_allclose(predicted.predictor, system.ratio, rtol=1e-14)
    assert_ends(predicted, flow_end(variant, start, system, 1e8), np.ones(N, dtype=bool))


def test_no_predictor_collapses_and_at_equal_moments_keeps_the_invariant() -> None:
    rng = np.random.default_rng(9)
    system = random_system(rng, "no-predictor", np.where(np.arange(N) % 2, 1.0, rng.uniform(-1.0, 0.98, N)))
    start = random_start(rng, "no-predictor", system)
    predicted = predict_fates(start, system, "no-predictor")
    assert_array_equal(predicted.fate == Fate.LEARNED, np.arange(N) % 2 == 1)
    assert_ends(predicted, flow_end("no-predictor", start, system, 1e4), np.ones(N, dtype=bool))


@pytest.mark.parametrize("ratio", [1.0, -1.0, None])
def test_no_stop_gradient(ratio: float | None) -> None:
    rng = np.random.default_rng(10)
    r = rng.uniform(-0.95, 0.95, N) if ratio is None else np.full(N, ratio)
    system = random_system(rng, "no-stop-gradient", r)
    start = random_start(rng, "no-stop-gradient", system)
    predicted = predict_fates(start, system, "no-stop-gradient")
    margin = np.abs(system.tau_online * start.online**2 - system.tau_predictor * (start.predictor - r) ** 2)
    sure = margin > 0.05  # at |r| = 1 the rate is λs times this over τo τp, >= 2e-3; otherwise λs(1 − r²)/τo
    end = flow_end("no-stop-gradient", start, system, 1e4)
    assert_ends(predicted, end, sure if ratio else np.ones(N, dtype=bool))
    assert set(predicted.fate) == ({Fate.LEARNED, Fate.COLLAPSED} if ratio else {Fate.COLLAPSED})


def test_no_stop_gradient_proves_nothing_for_more_signal_than_variance() -> None:
    assert one("no-stop-gradient", lambda_d=1.5).fate[0] == ""
    assert one("no-stop-gradient", lambda_d=1.5, weight_decay=0.1).fate[0] == ""
    # λs(1 − r²)/τo + η > 0 is enough
    assert one("no-stop-gradient", lambda_d=1.5, weight_decay=1.3).fate[0] == Fate.COLLAPSED


def test_no_predictor_says_nothing_where_the_flow_runs_away() -> None:
    assert one("no-predictor", lambda_d=1.5).fate[0] == ""


def test_a_symmetric_predictor_of_one_mode_is_any_predictor() -> None:
    rng = np.random.default_rng(13)
    system = random_system(rng, "full", rng.uniform(-1.0, 1.0, N), weight_decay=rng.choice([0.0, 0.01], N))
    start = random_start(rng, "full", system)
    pair = (predict_fates(start, system, name) for name in ("full", "symmetric-predictor"))
    for full, symmetric in zip(*pair, strict=True):
        assert_array_equal(symmetric, full)


# --- the one sign that the leaf leaves open -----------------------------------------------------------------


def undecided_leaves(seed: int) -> tuple[ModeState, ModeSystem]:
    """Starts with w2 > 0 and −τp r² < c < 0 whose w1 and θ differ in sign."""
    rng = np.random.default_rng(seed)
    system = random_system(rng, "full", rng.uniform(0.3, 1.0, N))
    w1 = rng.uniform(0.02, 2.0, N) * rng.choice([-1.0, 1.0], N)
    k = rng.uniform(0.1, 0.95, N) * system.ratio
    w2 = np.sqrt(system.tau_online / system.tau_predictor * w1**2 + k**2)
    return system.state(w1, w2, -np.sign(w1)), system


def test_the_sign_is_that_of_the_flow_on_both_sides_of_the_manifold() -> None:
    start, system = undecided_leaves(1)
    boundary = leaf_separatrix(start.online, start.predictor, system)
    factors = np.exp(np.random.default_rng(2).normal(0.0, 1.0, N))
    start = start._replace(target=boundary * factors)
    predicted = predict_fates(start, system, decide_sign=True)
    assert_array_equal(np.sign(predicted.online), np.sign(start.target - boundary))
    assert_ends(predicted, flow_end("full", start, system, 1e6), np.ones(N, dtype=bool))


def test_the_sign_stays_open_on_request_and_within_accuracy() -> None:
    start, system = undecided_leaves(3)
    quick = predict_fates(start, system)
    assert np.all(quick.fate == Fate.LEARNED)
    assert np.all(np.isnan(quick.online) & np.isnan(quick.target))
    assert_allclose(
        quick.amplitude,
        np.sqrt(
            mode_invariant(start, system) / system.tau_online
            + system.tau_predictor / system.tau_online * system.ratio**2
        ),
        rtol=1e-12,
    )
    on = start._replace(target=leaf_separatrix(start.online, start.predictor, system))
    for factor, decided in ((1.0, False), (1 + 0.9 * SIGN_ACCURACY, False), (1 + 3 * SIGN_ACCURACY, True)):
        near = on._replace(target=factor * on.target)
        assert_array_equal(np.isnan(predict_fates(near, system, decide_sign=True).online), not decided)


def test_where_weights_agree_in_sign_no_manifold_is_needed() -> None:
    for w1, th in ((0.1, 0.5), (0.1, 0.0), (0.0, 0.5)):
        for sign in (1.0, -1.0):
            predicted = one(w=(sign * w1, 0.3, sign * th))
            assert np.sign(predicted.online[0]) == sign


def test_one_call_mixes_starts_in_time_and_modes() -> None:
    taus = np.array([1.0, 3.0])
    system = ModeSystem([1.0, 2.0], [0.5, -1.0], tau_predictor=taus)
    rng = np.random.default_rng(4)
    starts = ModeState(*rng.uniform(-1.0, 1.0, (3, 50, 2)))
    together = predict_fates(starts, system, decide_sign=True)
    for k in range(2):
        alone = ModeSystem(system.lambda_s[k], system.lambda_d[k], tau_predictor=taus[k])
        for i in range(50):
            single = predict_fates(
                ModeState(*(part[i, k : k + 1] for part in starts)), alone, decide_sign=True
            )
            for part, whole in zip(single, together, strict=True):
                assert_array_equal(part[0], whole[i, k])


# --- edges --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ((0.1, 0.1, 0.1), (0.5, 0.5, 0.5)),
        ((0.3, 0.1, 0.3), (0.33**0.5, 0.5, 0.33**0.5)),
        ((0.1, 0.6, 0.1), (0.0, 0.35**0.5, 0.0)),
        ((0.1, -0.3, 0.1), (0.0, -(0.08**0.5), 0.0)),
        ((0.8, -0.3, 0.0), (0.8**0.5, 0.5, 0.8**0.5)),
    ],
)
def test_reference_ends(start: tuple[float, ...], end: tuple[float, ...]) -> None:
    # a few roundings of numbers below 1, doubled by the square root
    assert_allclose(the_end(one(w=start)), end, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("start", "fate", "end", "algebraic"),
    [
        ((0.0, 0.5, 0.3), "collapsed", (0.0, 0.5, 0.0), True),  # c = −τp r²
        ((-0.2, -0.2, 0.3), "collapsed", (0.0, 0.0, 0.0), True),  # c = 0, w2 < 0
        (
            (-0.2, 0.2, 0.3),
            "learned",
            (-0.5, 0.5, -0.5),
            False,
        ),  # c = 0, w2 > 0: sign kept against the target
        ((0.0, 0.0, 0.3), "collapsed", (0.0, 0.0, 0.0), False),  # only θ decays
        ((0.2, 0.0, -0.3), "learned", (0.29**0.5, 0.5, 0.29**0.5), False),
        ((0.0, 0.3, 0.3), "learned", (0.4, 0.5, 0.4), False),  # the target alone gives the sign
        ((0.0, 0.3, -0.3), "learned", (-0.4, 0.5, -0.4), False),
        ((0.0, 0.3, 0.0), "collapsed", (0.0, 0.3, 0.0), False),  # at rest on the saddle
        ((0.5, 0.5, 0.5), "learned", (0.5, 0.5, 0.5), False),  # at rest
        ((0.0, -0.3, 0.3), "collapsed", (0.0, -0.3, 0.0), False),
    ],
)
def test_edges_of_the_exact_fate(start: Any, fate: str, end: Any, algebraic: bool) -> None:
    predicted = one(w=start)
    assert predicted.fate[0] == fate
    assert predicted.algebraic[0] == algebraic
    assert_allclose(the_end(predicted), end, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("variant", "start", "options"),
    [
        ("full", (0.0, 0.5, 0.3), {}),
        ("full", (-0.2, -0.2, 0.3), {}),
        ("full", (0.2, 0.2, 0.2), {"lambda_d": 0.0}),
        ("tied", (-0.2, -0.2, 0.3), {}),
        ("no-ema", (0.375, 0.625, 0.0), {}),  # c = −r² exactly
        ("no-ema", (-0.2, -0.2, 0.0), {}),
        ("fixed-target", (0.2, 0.2, 0.0), {}),
        ("fixed-target", (0.5, 0.5, 1.0), {"weight_decay": 0.5}),
        ("tied", (0.5, 0.5, 0.5), {"weight_decay": 0.0625}),  # η* exactly
        ("directset", (0.7, 0.0, 0.7), {"weight_decay": 0.0625}),
        ("directpred", (0.5, 0.0, 0.5), {"lambda_d": -0.5}),
        ("directset", (0.5, 0.0, 0.5), {"lambda_d": 0.0}),
        ("no-stop-gradient", (0.5, 0.5, 0.0), {"lambda_d": 1.0}),
    ],
)
def test_algebraic_ends_are_approached_like_a_power_of_time(variant: str, start: Any, options: dict) -> None:
    predicted = one(variant, start, **options)
    system = ModeSystem(1.0, **({"lambda_d": 0.5} | options))
    assert predicted.algebraic[0]

    def distance(t: float) -> float:
        end = flow_end(variant, system.state(*start), system, t)
        return max(abs(float(a[0]) - b) for a, b in zip(end, the_end(predicted), strict=True))

    # distance ~ t^−q: q = 1 or ½ (cubic) or ¼ (quintic) for a normal form of degree 2, 3, 5, exponential is far off
    slope = np.log(distance(1e4) / distance(1e6)) / np.log(1e2)
    assert min(abs(slope - q) for q in (1.0, 0.5, 0.25)) < 0.02


def test_a_mode_without_signal_keeps_what_the_invariant_leaves() -> None:
    assert_allclose(the_end(one(w=(-0.5, 0.3, 0.2), lambda_d=0.0)), (-0.4, 0.0, -0.4), rtol=1e-14)
    assert_allclose(the_end(one(w=(0.3, -0.5, 0.2), lambda_d=0.0)), (0.0, -0.4, 0.0), rtol=1e-14)


def test_fixed_target_edges() -> None:
    # the manifold w1 = −w2 of the origin against a pull to w1 w2 > 0, and a target of zero
    assert the_end(one("fixed-target", (0.3, -0.3, 1.0))) == (0.0, 0.0, 1.0)
    assert_allclose(the_end(one("fixed-target", (-0.3, -0.3, 1.0))), (-(0.5**0.5), -(0.5**0.5), 1.0))
    assert_allclose(the_end(one("fixed-target", (0.3, 0.5, 0.0))), (0.0, 0.4, 0.0), atol=1e-16)
    assert_allclose(the_end(one("fixed-target", (0.5, 0.3, 0.0))), (0.4, 0.0, 0.0), atol=1e-16)


def test_starts_with_a_zero_online_weight_stay_where_the_variant_keeps_it() -> None:
    assert the_end(one("no-ema", (0.0, 0.3, 0.7))) == (0.0, 0.3, 0.0)
    assert the_end(one("fast-predictor", (0.0, 0.3, 0.7))) == (0.0, 0.0, 0.0)
    for variant in DIRECT:
        assert the_end(one(variant, (0.0, 0.3, 0.7))) == (0.0, 0.0, 0.0)
    assert the_end(one("no-stop-gradient", (0.0, 0.3, 0.7))) == (0.0, 0.3, 0.0)


@pytest.mark.parametrize("variant", CASES)
@pytest.mark.parametrize("lambda_s", [0.0, -1.0])
def test_nothing_is_predicted_without_variance(variant: str, lambda_s: float) -> None:
    predicted = one(variant, (0.2, 0.2, 0.1), lambda_s=lambda_s)
    assert predicted.fate[0] == ""
    assert np.all(np.isnan([*the_end(predicted), predicted.amplitude[0]]))
    assert "λs <= 0" in predicted.reason[0]


# --- weight decay -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["full", "tied", "no-ema", *DIRECT])
@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_with_weight_decay_what_is_predicted_happens(variant: str, direction: float) -> None:
    rng = np.random.default_rng(11)
    system = random_system(rng, variant, direction * rng.uniform(0.3, 1.0, N))
    closeness = rng.choice([0.3, 0.6, 0.9, 1.1, 2.0], N)  # of η to η*, kept apart from 1 where all is slow
    system = replace(system, weight_decay=closeness * saddle_node(system))
    start = random_start(rng, variant, system)
    start = ModeState(*(rng.choice([0.3, 1.0], N) * part for part in start))
    if variant == "tied":
        start = start._replace(predictor=start.online)
    predicted = predict_fates(start, system, variant)
    known = predicted.fate != ""
    assert np.all(known[closeness > 1])
    assert np.any(known[closeness < 1])
    # rates are at least a tenth of η >= 3e-4
    assert_ends(predicted, flow_end(variant, start, system, 1e6), known)
    if variant in ("tied", *DIRECT) and (direction > 0 or variant == "tied"):
        assert set(predicted.fate) == {Fate.LEARNED, Fate.COLLAPSED, ""}


def test_balanced_starts_of_the_full_flow_learn_under_weight_decay() -> None:
    system = ModeSystem(1.0, 0.5, tau_online=4.0, weight_decay=0.01)
    start = system.state(0.2, 0.4, 0.2)  # τo w1² = τp w2²
    predicted = predict_fates(start, system)
    assert predicted.fate[0] == Fate.LEARNED
    assert_ends(predicted, flow_end("full", start, system, 1e5), np.array([True]))


@pytest.mark.parametrize("inside", [0.999, 1.001])
def test_the_box_of_certain_collapse_reaches_the_saddle(inside: float) -> None:
    # p− = 0.2 at η = 0.04, λs = 1, λd = 0.4: the corner of the box
    system = ModeSystem(1.0, 0.4, weight_decay=0.03)
    corner = inside * 0.1
    end = flow_end("full", system.state(corner, corner, corner), system, 1e4)
    assert bool(abs(end.online[0]) < CLOSE) == (inside < 1)
    predicted = predict_fates(system.state(corner, corner, corner), system)
    assert predicted.fate[0] == (Fate.COLLAPSED if inside < 1 else Fate.LEARNED)


def test_a_target_outside_the_box_can_still_teach() -> None:
    system = ModeSystem(1.0, 0.5, weight_decay=0.04)  # p− = 0.1
    start = system.state(0.05, 0.06, 5.0)
    assert flow_end("full", start, system, 1e4).online[0] > 0.1
    assert predict_fates(start, system).fate[0] == ""


@given(seed=seeds)
def test_no_trajectory_leaves_the_box(seed: int) -> None:
    """On each face of the box of certain collapse the flow points inwards or along it."""
    rng = np.random.default_rng(seed)
    lambda_s, r, to, tp, tt = rng.uniform(0.2, 2.0, 5)
    r = min(r, 1.0)
    system = ModeSystem(lambda_s, r * lambda_s, tau_online=to, tau_predictor=tp, tau_target=tt)
    system = replace(system, weight_decay=float(rng.uniform(0.01, 1.0) * saddle_node(system)[0]))
    p = float(min(np.roots([lambda_s, -r * lambda_s, system.weight_decay * to]).real))
    sides = np.array([np.sqrt(tp / to) * p, p, np.sqrt(tp / to) * p])
    for face in range(3):
        points = rng.uniform(-1.0, 1.0, (3, 200))
        points[face] = rng.choice([-1.0, 1.0], 200)
        points *= sides[:, None]
        rate = MODE_FIELDS["full"](0.0, ModeState(*points), system)[face]
        bound = np.abs(points[[0, 2]]).max(axis=0) if face != 1 else None
        outward = rate * np.sign(points[face])
        if face == 1:
            assert np.all(outward <= 1e-14)
        else:  # the largest of |w1|, |θ| does not grow
            assert np.all(outward[np.abs(points[face]) >= bound] <= 1e-14)


def test_fixed_target_with_weight_decay_is_decided_everywhere() -> None:
    rng = np.random.default_rng(12)
    system = random_system(rng, "fixed-target", rng.uniform(-1.0, 1.0, N))
    start = random_start(rng, "fixed-target", system)
    critical = np.abs(start.target * system.lambda_d) / np.sqrt(system.tau_online * system.tau_predictor)
    system = replace(system, weight_decay=rng.choice([0.3, 0.7, 1.4], N) * critical)
    predicted = predict_fates(start, system, "fixed-target")
    assert set(predicted.fate) == {Fate.LEARNED, Fate.COLLAPSED}
    assert_ends(predicted, flow_end("fixed-target", start, system, 1e6), critical > 1e-3)
    # the origin's stable manifold w1 = −w2, for a pull to w1 w2 > 0
    assert the_end(one("fixed-target", (1.0, -1.0, 1.0), weight_decay=0.1)) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("weight_decay", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("variant", ["no-predictor", "no-stop-gradient", "fast-predictor"])
def test_other_variants_under_weight_decay(variant: str, weight_decay: float) -> None:
    tau_target = np.array([0.6, 0.9])
    system = ModeSystem([1.0, 1.0], [0.9, -0.4], tau_target=tau_target, weight_decay=weight_decay)
    start = system.state(0.7, -0.3, -0.2)
    predicted = predict_fates(start, system, variant)
    assert np.all(predicted.fate == Fate.COLLAPSED)
    field = MODE_FIELDS[variant]

    def rate(t: float, y: np.ndarray) -> np.ndarray:
        return np.concatenate(field(t, ModeState(*y.reshape(3, 2)), system))

    # e^−15 of η and of 1/τt; the slowest rate is half the smaller of them for no-predictor
    t_end = 15 * max(1 / weight_decay, 0.9) * (2 if variant == "no-predictor" else 1)
    y0 = np.concatenate(field.constrain(0.0, start, system))
    solution = solve_ivp(
        rate, (0.0, t_end), y0, method="DOP853", rtol=1e-8, atol=1e-12, t_eval=[t_end / 2, t_end]
    )
    half, end = (field.constrain(0.0, ModeState(*y.reshape(3, 2)), system) for y in solution.y.T)
    assert_allclose(end.online, 0.0, atol=1e-4)
    assert_allclose(end.target, 0.0, atol=1e-4)
    known = np.isfinite(predicted.predictor)
    assert_array_equal(known, (variant != "fast-predictor") | (weight_decay * tau_target < 1))
    # of the fast predictor, e^{−(1/τt − η) t} of the way is left
    assert_allclose(end.predictor[known], predicted.predictor[known], atol=1e-3)
    assert np.all(np.abs(end.predictor[~known]) > 5 * np.abs(half.predictor[~known]))


def test_no_predictor_is_held_up_by_exactly_balanced_weight_decay() -> None:
    predicted = one("no-predictor", (0.3, 0.1, -0.1), lambda_d=1.5, weight_decay=0.5, tau_target=2.0)
    assert_allclose(the_end(predicted), (0.0, 1.0, 0.0), atol=1e-16)
    predicted = one("no-predictor", (0.3, 0.1, 0.1), lambda_d=1.5, weight_decay=0.5, tau_target=2.0)
    assert_allclose(the_end(predicted), (0.15, 1.0, 0.15), rtol=1e-14)


# --- structure ----------------------------------------------------------------------------------------------


@given(
    w1=weights,
    w2=weights,
    th=weights,
    variant=st.sampled_from(sorted(CASES)),
    eta=st.sampled_from([0.0, 0.03]),
)
def test_mirror_images_have_mirror_fates(w1: float, w2: float, th: float, variant: str, eta: float) -> None:
    if variant == "tied":
        w2 = w1
    system = ModeSystem(1.0, 0.5, tau_target=2.0, weight_decay=eta)
    here = predict_fates(system.state(w1, w2, th), system, variant, decide_sign=True)
    if variant != "tied":  # w1 = w2 has no mirror image at the same λd
        there = predict_fates(system.state(-w1, w2, -th), system, variant, decide_sign=True)
        assert_array_equal(there.fate, here.fate)
        for sign, a, b in zip((-1, 1, -1), there[1:4], here[1:4], strict=True):
            assert_array_equal(a, sign * b)
    if variant in ("full", "no-ema", "fixed-target", "symmetric-predictor"):
        other = ModeSystem(1.0, -0.5, tau_target=2.0, weight_decay=eta)
        there = predict_fates(other.state(w1, -w2, th), other, variant, decide_sign=True)
        assert_array_equal(there.fate, here.fate)
        for sign, a, b in zip((1, -1, 1), there[1:4], here[1:4], strict=True):
            assert_array_equal(a, sign * b)


@given(w1=weights, w2=weights, th=weights, variant=st.sampled_from(sorted(set(CASES) - {"fast-predictor"})))
def test_a_predicted_end_is_at_rest_and_is_its_own_end(w1: float, w2: float, th: float, variant: str) -> None:
    if variant == "tied":
        w2 = w1
    system = ModeSystem(1.0, 0.5, tau_online=2.0, tau_predictor=2.0)
    found = predict_fates(system.state(w1, w2, th), system, variant, decide_sign=True)
    if np.isnan(found.online[0]):
        return
    end = ModeState(*found[1:4])
    assert_allclose(np.concatenate(MODE_FIELDS[variant](0.0, end, system)), 0.0, atol=1e-14)
    again = predict_fates(end, system, variant, decide_sign=True)
    # c is rounded anew, and near c = −τp r² the amplitude is its square root
    assert_allclose(again.amplitude, found.amplitude, atol=1e-7)


def test_reasons_name_the_result_and_fates_are_plain_words() -> None:
    predicted = one(w=(0.1, -0.3, 0.1))
    assert predicted.reason[0] == "R6: w2 <= 0 and c <= 0"
    assert predicted.fate.dtype.kind == "U"
    assert one(w=(0.4, 0.1, 0.4), weight_decay=0.01).reason[0].startswith("R15")


# --- refusal ------------------------------------------------------------------------------------------------


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"`variant` must be one of full, fixed-target, .*got 'proportional-ema'"
    ):
        one("proportional-ema")


def test_untied_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="must start with `predictor` = `online`"):
        one("tied", (0.1, 0.2, 0.1))


@pytest.mark.parametrize("variant", ["directpred", "directset"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.02])
def test_a_direct_mode_without_an_encoder_ends_in_the_origin(variant: str, weight_decay: float) -> None:
    system = ModeSystem(1.0, 0.5, weight_decay=weight_decay)
    end = predict_fates(system.state(0.0, 0.0, 0.7), system, variant=variant)
    assert [float(np.squeeze(part)) for part in (end.online, end.predictor, end.target)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("variant", ["full", "tied", "no-ema", "symmetric-predictor"])
@pytest.mark.parametrize(
    ("lambda_s", "lambda_d", "eta", "saddle"),
    [(3.0, 0.7, 0.04, 0.1), (1.0, 0.5, 0.04, 0.1), (5.0, 2.1, 0.2, 0.1459)],
)
@pytest.mark.parametrize("roundings", [-3, 0, 3])
def test_no_side_of_the_saddle_is_claimed_that_rounding_hides(
    variant: str, lambda_s: float, lambda_d: float, eta: float, saddle: float, roundings: int
) -> None:
    system = ModeSystem(lambda_s, lambda_d, weight_decay=eta)
    lower = (lambda_d - np.sqrt(lambda_d**2 - 4 * lambda_s * eta)) / (2 * lambda_s)
    assert_allclose(lower, saddle, rtol=1e-3)
    start = lower * (1 + roundings * np.finfo(np.float64).eps)
    simulation = simulate_modes(ModeState(start, start, start), system, VARIANTS[variant].mode_field)
    (mode,) = simulation.report()["modes"]
    assert (simulation.trajectory.status, simulation.trajectory.ts[-1]) == (Status.STEADY, 0.0)
    assert mode["agrees"] is not False
    for beside, fate in ((0.999, "collapsed"), (1.001, "learned")):
        predicted = predict_fates(ModeState(*3 * [beside * start]), system, variant)
        assert predicted.fate.item() == fate
