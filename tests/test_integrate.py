"""One trajectory: the shape of a flow, how a run ends and why, what it keeps and costs, and what is refused."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from dynamics.fields.matrices import full_field
from dynamics.fields.modes import full_mode_field, no_predictor_mode_field, tied_mode_field
from dynamics.integration.integrate import (
    HORIZON,
    METHODS,
    Status,
    Trajectory,
    integrate,
)
from dynamics.integration.rest import spectral_radius, travel
from dynamics.states import MatrixState, ModeState, pack, random_state
from dynamics.system import MatrixSystem, ModeSystem, natural_time

seeds = st.integers(0, 2**32 - 1)
ONE = ModeSystem(1.0, 0.5)
TIGHT = 10 * 1e-10
"""What a run with rtol = 1e-10 and atol = 1e-12 promises for weights of size one, ten times rtol."""


def random_system(rng: np.random.Generator, n1: int, **rates: float) -> MatrixSystem:
    """Moments of views with noise of its own covariance: they do not commute."""
    A, B = rng.standard_normal((2, n1, 2 * n1)) / np.sqrt(2 * n1)
    sigma_d = A @ A.T
    sigma_s = sigma_d + 0.5 * B @ B.T
    return MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2, **rates)


def random_rates(rng: np.random.Generator) -> dict[str, float]:
    tau_online, tau_predictor, tau_target = np.exp(rng.uniform(-0.7, 0.7, 3)).tolist()
    return {"tau_online": tau_online, "tau_predictor": tau_predictor, "tau_target": tau_target}


def largest(state: Any) -> float:
    return max(float(np.max(np.abs(part))) for part in state)


# --- the shape of a flow ------------------------------------------------------------------------------------

starts = st.tuples(*[st.floats(-1.0, 1.0)] * 3)


@settings(max_examples=15)
@given(start=starts, t=st.floats(0.1, 3.0), s=st.floats(0.1, 3.0), method=st.sampled_from(METHODS))
def test_going_on_from_a_state_gives_the_same_flow(
    start: tuple[float, float, float], t: float, s: float, method: str
) -> None:
    options: Any = {"rtol": 1e-10, "atol": 1e-12, "method": method}
    whole = integrate(ONE.state(*start), ONE, full_mode_field, t + s, **options).final
    first = integrate(ONE.state(*start), ONE, full_mode_field, t, **options).final
    second = integrate(first, ONE, full_mode_field, s, **options).final
    # errors of size TIGHT grow at most like e^{s}: |J| is about 1 where weights are below 1
    assert_allclose(np.ravel(second), np.ravel(whole), rtol=0, atol=2 * TIGHT * np.exp(s))


@settings(max_examples=25)
@given(start=starts, k=st.floats(0.01, 100.0), weight_decay=st.floats(0.0, 0.2))
def test_slower_constants_slow_the_whole_flow(
    start: tuple[float, float, float], k: float, weight_decay: float
) -> None:
    ts = np.array([0.0, 0.5, 2.0, 6.0])
    rates = {"tau_online": 0.8, "tau_predictor": 1.5, "tau_target": 0.6}
    here = ModeSystem(1.0, 0.5, weight_decay=weight_decay, **rates)
    there = ModeSystem(
        1.0, 0.5, weight_decay=weight_decay / k, **{name: k * tau for name, tau in rates.items()}
    )
    a = integrate(here.state(*start), here, full_mode_field, ts=ts, rtol=1e-10, atol=1e-12)
    b = integrate(there.state(*start), there, full_mode_field, ts=k * ts, rtol=1e-10, atol=1e-12)
    assert_allclose(np.ravel(a.states), np.ravel(b.states), rtol=0, atol=2 * TIGHT * np.exp(3))
    assert natural_time(there) == pytest.approx(k * natural_time(here), rel=1e-12)


def test_rotated_inputs_and_features_rotate_the_flow() -> None:
    rng = np.random.default_rng(6)
    system = random_system(rng, 4)
    W, P, Th = random_state(4, 3, scale_online=0.5, scale_predictor=0.3, seed=6)
    Q, R = (np.linalg.qr(rng.standard_normal((n, n)))[0] for n in (4, 3))
    turned = MatrixSystem(*((S + S.T) / 2 for S in (Q.T @ system.sigma_s @ Q, Q.T @ system.sigma_d @ Q)))
    a = integrate(MatrixState(W, P, Th), system, full_field, 8.0, rtol=1e-10, atol=1e-12).final
    b = integrate(
        MatrixState(R @ W @ Q, R @ P @ R.T, R @ Th @ Q), turned, full_field, 8.0, rtol=1e-10, atol=1e-12
    ).final
    for found, expected in zip(b, (R @ a.online @ Q, R @ a.predictor @ R.T, R @ a.target @ Q), strict=True):
        assert_allclose(found, expected, rtol=0, atol=4 * TIGHT)


def test_diagonal_moments_as_vectors_give_the_flow_of_the_matrices() -> None:
    s, d = np.array([1.0, 2.0, 0.7]), np.array([0.9, 0.5, 0.1])
    start = random_state(3, 2, scale_online=0.5, scale_predictor=0.3, seed=0)
    a = integrate(start, MatrixSystem(s, d), full_field, 5.0).final
    b = integrate(start, MatrixSystem(np.diag(s), np.diag(d)), full_field, 5.0).final
    for found, expected in zip(a, b, strict=True):
        assert_allclose(found, expected, rtol=0, atol=1e-12)  # equal steps: rounding alone


@pytest.mark.parametrize("method", METHODS)
def test_a_run_starts_at_its_input_and_repeats_bit_for_bit(method: str) -> None:
    start = ONE.state(0.3, -0.7, 0.123)
    runs = [integrate(start, ONE, full_mode_field, 5.0, method=method, dense=True) for _ in range(2)]
    assert_array_equal(runs[0].initial, start)
    assert_array_equal(runs[0](0.0), start)
    assert runs[0].ts[0] == 0.0
    assert runs[0].t == 5.0
    assert_array_equal(runs[0].ts, runs[1].ts)
    assert_array_equal(runs[0].states, runs[1].states)
    assert_array_equal(start, ONE.state(0.3, -0.7, 0.123))  # the caller's state is untouched


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dense", [False, True])
def test_states_come_at_the_asked_times_and_agree_with_the_dense_output(method: str, dense: bool) -> None:
    start = ONE.state(0.3, 0.1, 0.3)
    ts = np.array([0.1, 0.1 + 1e-9, 0.7, 1 / 3 + 2, 9.9])
    run = integrate(start, ONE, full_mode_field, ts=ts, method=method, dense=dense)
    assert_array_equal(run.ts, ts)
    assert_array_equal(run.initial, start)
    other = integrate(start, ONE, full_mode_field, 20.0, method=method, dense=True)
    # two runs, 10 (rtol + atol) each; the clock of the second starts at 0 instead of 0.1
    assert_allclose(np.ravel(other(ts - 0.1)), np.ravel(run.states), rtol=0, atol=2 * 10 * 1.01e-8)
    if dense:
        assert_allclose(np.ravel(run(ts)), np.ravel(run.states), rtol=1e-14)


def test_a_trajectory_is_evaluated_at_a_time_or_at_many() -> None:
    run = integrate(ONE.state(), ONE, full_mode_field, 5.0, dense=True)
    many = run(np.array([[0.0, 1.0], [2.5, 5.0]]).ravel())
    assert many.online.shape == (4, 1)
    assert_array_equal([part[2] for part in many], run(2.5))
    assert run(2.5).online.shape == (1,)


def test_resampling_keeps_the_ends_and_follows_the_steps() -> None:
    run = integrate(ONE.state(), ONE, full_mode_field, 50.0, dense=True)
    bare = integrate(ONE.state(), ONE, full_mode_field, 50.0)
    for n in (2, 7, 400):
        fine, thin = run.resampled(n), bare.resampled(n)
        assert len(fine.ts) == n
        assert len(thin.ts) == min(n, len(bare.ts))
        for found in (fine, thin):
            assert (found.ts[0], found.t) == (0.0, 50.0)
            assert_allclose(np.ravel(found.states), np.ravel(run(found.ts)), rtol=1e-14)


# --- how a run ends -----------------------------------------------------------------------------------------


def ended(trajectory: Trajectory, status: Status) -> None:
    assert trajectory.status is status
    assert all(np.all(np.isfinite(part)) for part in trajectory.states)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_settles_is_steady_and_knows_how_far_it_was(method: str) -> None:
    run = integrate(ONE.state(0.3, 0.1, 0.3), ONE, full_mode_field, method=method)
    ended(run, Status.STEADY)
    end = np.sqrt(0.3**2 - 0.1**2 + 0.5**2)
    assert_allclose(np.ravel(run.final), [end, 0.5, end], rtol=10 * 1e-8)
    assert run.distance <= 10 * (1e-8 * end + 1e-10)


def test_an_end_time_before_rest_is_reported_and_one_after_it_is_steady() -> None:
    ended(integrate(ONE.state(), ONE, full_mode_field, 3.0), Status.END_TIME)
    late = integrate(ONE.state(), ONE, full_mode_field, 500.0)
    ended(late, Status.STEADY)
    assert late.t == 500.0


def test_a_crawl_is_slow_after_the_horizon() -> None:
    run = integrate(ONE.state(-0.1, -0.1, -0.1), ONE, tied_mode_field)
    ended(run, Status.SLOW)
    assert run.t == HORIZON * natural_time(ONE) == 1e6 * 2
    # dw/dt = λd w² in the end: w = −1/(λd t), up to a relative ln(t)/t
    assert run.final.online[0] == pytest.approx(-1 / (0.5 * run.t), rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_flow_without_bound_has_diverged(method: str) -> None:
    unnormalised = ModeSystem(-1.0, -0.2)  # R26: λs < 0
    start = unnormalised.state(0.5, 0.5, 0.5)
    run = integrate(start, unnormalised, full_mode_field, method=method, rtol=1e-5)
    ended(run, Status.DIVERGED)
    network = MatrixSystem(-np.eye(2), -0.2 * np.eye(2))
    weights = random_state(2, 2, scale_online=1.0, scale_predictor=1.0, seed=0)
    late = integrate(weights, network, full_field, ts=[0.0, 0.1, 1e3], method=method, rtol=1e-5)
    ended(late, Status.DIVERGED)
    assert_array_equal(late.ts[:2], [0.0, 0.1])


def test_growth_that_never_ends_is_stopped_while_it_is_finite() -> None:
    # R11 with λd > λs: exponential growth, which no finite time makes infinite
    louder = ModeSystem(1.0, 2.0)
    run = integrate(louder.state(0.5, 1.0, 0.5), louder, no_predictor_mode_field)
    ended(run, Status.DIVERGED)
    assert 1e6 < largest(run.final) <= 2e8


@pytest.mark.parametrize("method", METHODS)
def test_a_spent_budget_is_reported_with_what_was_computed(method: str) -> None:
    run = integrate(ONE.state(), ONE, full_mode_field, 100.0, max_steps=4, method=method)
    ended(run, Status.MAX_STEPS)
    assert run.n_steps == 4
    assert len(run.ts) == 5
    assert run.t < 100.0


def test_every_status_has_a_sentence_and_two_are_failures() -> None:
    words = {"steady", "end-time", "slow", "unbounded", "blow-up", "death", "diverged", "max-steps"}
    assert {status.value for status in Status} == words
    assert len({status.message for status in Status}) == len(words)
    assert [status for status in Status if status.failed] == [Status.DIVERGED, Status.MAX_STEPS]


@settings(max_examples=40)
@example(start=(0.0, 0.0, 5e-324), eta=0.0)
@given(start=st.tuples(*[st.floats(-3.0, 3.0)] * 3), eta=st.sampled_from([0.0, 0.05]))
def test_no_start_of_a_bounded_flow_fails(start: tuple[float, float, float], eta: float) -> None:
    # all floats are tried, the subnormal ones too: each trajectory is bounded (R6, R15)
    system = ModeSystem(1.0, 0.5, weight_decay=eta)
    run = integrate(system.state(*start), system, full_mode_field, 5.0)
    ended(run, run.status)
    assert not run.status.failed


def test_a_start_at_rest_is_steady_at_once() -> None:
    for start in (ONE.state(0.0, 0.0, 0.0), ONE.state(0.7, 0.5, 0.7), ONE.state(0.0, -0.4, 0.0)):
        run = integrate(start, ONE, full_mode_field)
        ended(run, Status.STEADY)
        assert_allclose(np.ravel(run.final), np.ravel(start), rtol=0, atol=1e-16)


def test_a_start_on_a_saddle_but_for_a_hair_leaves_it() -> None:
    run = integrate(ONE.state(1e-12, 0.2, 1e-12), ONE, full_mode_field)
    ended(run, Status.STEADY)
    end = np.sqrt(0.5**2 - 0.2**2)  # R6: −τp r² < c < 0
    # c is known to 10 (rtol w2²): the end to that over w1
    assert_allclose(np.ravel(run.final), [end, 0.5, end], rtol=0, atol=10 * 1e-8)


def test_a_given_end_point_is_where_rest_is_judged() -> None:
    start, end = ONE.state(0.1, -0.3, 0.1), np.sqrt(0.08)
    goal = ModeState(np.zeros(1), np.array([-end]), np.zeros(1))
    run = integrate(start, ONE, full_mode_field, end_point=goal)
    ended(run, Status.STEADY)
    assert run.distance == np.max(np.abs(np.ravel(goal) - np.ravel(run.final)))
    elsewhere = ModeState(np.ones(1), np.ones(1), np.ones(1))
    assert integrate(start, ONE, full_mode_field, 30.0, end_point=elsewhere).status is Status.END_TIME


# --- distance to rest ---------------------------------------------------------------------------------------


@given(seed=seeds, n=st.integers(2, 10))
def test_a_decaying_state_travels_to_where_the_pseudo_inverse_says(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    rates = -np.exp(rng.uniform(-2, 2, n))
    rates[0] = 0.0  # a line of fixed points
    J = Q @ np.diag(rates) @ Q.T
    rest = rng.standard_normal(n)
    y = rest + rng.standard_normal(n)
    found = travel(lambda t, y: J @ (y - rest), 0.0, y, 1e4, np.full(n, 1e-7))
    expected = -np.linalg.pinv(J, rcond=1e-10) @ (J @ (y - rest))
    # differences give J to 1e-10, and along the line nothing stops that from adding up over the time
    assert_allclose(found, expected, rtol=0, atol=1e-10 * 1e4 * float(np.linalg.norm(expected)) + 1e-7)


@pytest.mark.parametrize("nudge", [1e-4, 1e-7])
def test_the_way_near_rest_is_the_way_that_the_flow_goes(nudge: float) -> None:
    system = ModeSystem(1.2, 0.7, tau_online=0.8, tau_predictor=1.5, tau_target=2.0)
    y = np.array([0.6, 0.7 / 1.2, 0.6]) + nudge * np.array([1.0, -2.0, 0.5])
    run = integrate(ModeState(*y[:, None]), system, full_mode_field, 100.0, rtol=1e-12, atol=1e-14)
    found = travel(mode_vector_field(system), 0.0, y, 100.0, np.full(3, 1e-12))
    # linearised off the line of fixed points its rate there is of the size of the nudge instead of zero, for all
    # the time; the run is good to 1e-11
    assert_allclose(found, np.ravel(run.final) - y, rtol=0, atol=4 * nudge**2 * 100 + 2e-11)


def mode_vector_field(system: ModeSystem) -> Any:
    return lambda t, y: pack(full_mode_field(t, ModeState(*y.reshape(3, 1)), system))


def test_the_faintest_unstable_direction_goes_far() -> None:
    # R5: 0 < p < r is a saddle. Its growth rate s solves s² + s(1 + p²) + p(p − r) = 0: 0.0567 at p = 0.2
    y = np.array([1e-12, 0.2, 1e-12])
    rate = np.max(np.roots([1.0, 1 + 0.04, 0.2 * (0.2 - 0.5)]))
    for time in (100.0, 500.0):
        way = travel(mode_vector_field(ONE), 0.0, y, time, np.full(3, 1e-9))
        assert np.max(np.abs(way)) == pytest.approx(1e-12 * np.exp(rate * time), rel=0.5)
    assert np.max(np.abs(travel(mode_vector_field(ONE), 0.0, y, 1e6, np.full(3, 1e-9)))) > 1e100


def test_a_crawl_goes_far_even_when_it_has_nearly_stopped() -> None:
    # dw/dt = w² λd at w = −1e-4: the linear flow still goes −f/f' = −w/2
    y = np.full(3, -1e-4)
    field = tied_mode_field
    way = travel(lambda t, y: pack(field(t, ModeState(*y.reshape(3, 1)), ONE)), 0.0, y, 1e6, np.full(3, 1e-9))
    assert way[0] == pytest.approx(0.5e-4, rel=1e-2)


def test_nothing_moves_at_a_fixed_point() -> None:
    assert_array_equal(
        travel(mode_vector_field(ONE), 0.0, np.array([0.0, 0.3, 0.0]), 1e6, np.ones(3)), np.zeros(3)
    )


def test_a_state_that_moves_is_told_by_small_spaces_and_one_at_rest_is_not() -> None:
    rates = np.concatenate([-np.logspace(-3, 0, 79), [0.0]])  # the last does not move
    for way in (1.0, 1e-9):
        calls = []

        def flow(t: float, y: np.ndarray, calls: list[float] = calls) -> np.ndarray:
            calls.append(t)
            return rates * y

        y, tolerance = np.full(80, way), np.full(80, 1e-7)
        exact = travel(flow, 0.0, y, 1e5, tolerance)
        n_exact = len(calls)
        # products are good to 1e-10, and the slowest rate is a thousandth of the fastest; a tenth of the tolerance
        assert_allclose(exact[:-1], -way, rtol=1e-6, atol=1e-8)
        calls.clear()
        quick = travel(flow, 0.0, y, 1e5, tolerance, exact=False)
        moves = way > 2e-7
        assert (np.max(np.abs(quick)) > 2e-7) == moves
        assert (len(calls) < n_exact / 2) == moves


def test_the_spectral_radius_is_the_largest_modulus() -> None:
    J = np.diag([-3.0, 1.0, 0.5]) + np.diag([0.2, 0.1], 1)
    assert spectral_radius(lambda t, y: J @ y, 0.0, np.ones(3)) == pytest.approx(3.0, rel=1e-8)


def test_the_natural_time_is_that_of_the_slowest_mode() -> None:
    modes = ModeSystem(
        [2.0, 0.5], [0.1, 0.1], tau_online=3.0, tau_predictor=np.array([1.0, 4.0]), tau_target=0.5
    )
    assert natural_time(modes) == 4.0 / 0.5 + 0.5
    assert natural_time(MatrixSystem(np.array([2.0, 0.5]), np.ones(2), tau_predictor=3.0)) == 3.0 / 0.5 + 1.0
    assert natural_time(ModeSystem(0.0, 0.0)) == 2.0


# --- costs and samples --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["explicit", "auto"])
def test_every_evaluation_of_the_field_is_counted(method: str) -> None:
    start = ONE.state(0.3, 0.1, 0.3)
    far = ModeState(*np.full((3, 1), 9.0))  # rest is judged by the distance to it, without evaluations
    run = integrate(start, ONE, full_mode_field, 40.0, method="explicit", end_point=far)
    # two to choose the first step, twelve a try
    assert run.n_field_evaluations == 2 + 12 * (run.n_steps + run.n_rejected)
    auto = integrate(start, ONE, full_mode_field, 40.0, end_point=far)
    assert (auto.n_steps, auto.n_rejected, auto.method) == (run.n_steps, run.n_rejected, "explicit")
    assert auto.n_field_evaluations > run.n_field_evaluations  # it looked at the spectral radius


def test_auto_takes_the_exponential_method_when_the_flow_is_stiff() -> None:
    stiff = ModeSystem(1.0, 0.5, tau_target=1e-3)
    start = stiff.state(0.3, 0.1, 0.3)
    auto, explicit = (
        integrate(start, stiff, full_mode_field, 5.0, method=method) for method in ("auto", "explicit")
    )
    assert auto.method == "explicit+exponential"
    assert auto.n_field_evaluations < explicit.n_field_evaluations / 3


@pytest.mark.parametrize("max_steps", [1023, 2047])
def test_samples_are_thinned_evenly_and_keep_the_ends(max_steps: int) -> None:
    stiff = ModeSystem(1.0, 0.5, tau_target=1e-4)
    run = integrate(
        stiff.state(0.3, 0.1, 0.3), stiff, full_mode_field, method="explicit", max_steps=max_steps
    )
    assert run.n_steps == max_steps
    assert 512 <= len(run.ts) <= 1024
    assert run.ts[0] == 0.0
    gaps = np.diff(run.ts)
    assert np.all(gaps > 0)
    # the stability limit makes equal steps, so an even choice of them makes equal gaps, but for the first and last
    assert np.max(gaps[10:-1]) < 1.01 * np.min(gaps[10:-1])
    again = integrate(
        stiff.state(0.3, 0.1, 0.3), stiff, full_mode_field, method="explicit", ts=run.ts[[0, 100, 300]]
    )
    assert_allclose(np.ravel(again.states), np.ravel([part[[0, 100, 300]] for part in run.states]), rtol=1e-8)


def test_progress_is_told_and_changes_nothing() -> None:
    told: list[tuple[float, float]] = []
    with_progress = integrate(
        ONE.state(), ONE, full_mode_field, 100.0, rtol=1e-10, progress=lambda t, end: told.append((t, end))
    )
    without = integrate(ONE.state(), ONE, full_mode_field, 100.0, rtol=1e-10)
    assert len(told) == with_progress.n_steps // 20 > 0
    assert {end for _, end in told} == {100.0}
    assert_array_equal([t for t, _ in told], with_progress.ts[20::20])
    assert_array_equal(with_progress.states, without.states)


@pytest.mark.parametrize(("method", "vectors"), [("auto", 60), ("exponential", 60 + 3 * 121)])
def test_a_large_network_takes_the_memory_of_a_few_states(method: str, vectors: int) -> None:
    n1, n2 = 256, 64
    system = random_system(np.random.default_rng(0), n1)
    start = random_state(n1, n2, scale_online=0.02, scale_predictor=0.01, seed=0)
    tracemalloc.start()
    try:
        run = integrate(start, system, full_field, max_steps=4, method=method)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    ended(run, Status.MAX_STEPS)
    # DOP853 keeps 20 vectors, three Krylov spaces 121 each; samples and the field's matrices make the rest
    assert peak < vectors * pack(start).nbytes


# --- rank (R8) ----------------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(seed=seeds, small_predictor=st.booleans())
def test_eigenvalues_of_the_encoder_never_fall_below_those_of_the_balance(
    seed: int, small_predictor: bool
) -> None:
    rng = np.random.default_rng(seed)
    n1, n2 = 5, 3
    system = random_system(rng, n1, **random_rates(rng))
    to, tp = float(system.tau_online), float(system.tau_predictor)
    start = random_state(
        n1, n2, scale_online=0.5, scale_predictor=0.02 if small_predictor else 0.5, seed=seed
    )
    W, P, _ = start
    floor = np.linalg.eigvalsh(to * W @ W.T - tp * P.T @ P) / to
    run = integrate(start, system, full_field, 60.0, rtol=1e-9, atol=1e-11)
    squares = np.linalg.eigvalsh(run.states.online @ run.states.online.mT)
    # the balance drifts by the run's error, 10 rtol of the squares of the weights, summed over n2 rows
    slack = 10 * 1e-9 * n2 * 2 * max(largest(run.states), 1.0) ** 2 * max(1.0, tp / to)
    assert np.all(squares >= floor - slack)
    # what is above the slack is not lost: rank W >= n₊(C), and with C ≻ 0 no row collapses at any time
    assert np.all(np.sum(squares > slack, axis=1) >= np.sum(floor > 2 * slack))
    if small_predictor and floor[0] > 2 * slack:
        assert np.linalg.matrix_rank(run.final.online, tol=np.sqrt(slack)) == n2


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rtol": 0.0}, "`rtol` must be > 0 and <= 0.01, got 0.0"),
        ({"atol": np.nan}, "`atol` must be > 0 and <= 0.01, got nan"),
        ({"method": "euler"}, "`method` must be one of auto, explicit, exponential, implicit, got 'euler'"),
        ({"max_steps": 0}, "`max_steps` must be >= 1, got 0"),
        ({"t_end": 0.0}, "`t_end` must be finite and > 0, got 0.0"),
        ({"t_end": np.inf}, "`t_end` must be finite and > 0, got inf"),
        ({"t_end": 1.0, "ts": [0.0, 1.0]}, "give `t_end` or `ts`, not both"),
        (
            {"ts": [0.0]},
            "`ts` must be at least two increasing finite times, the first one the start, got [0.]",
        ),
        ({"ts": [0.0, 0.0]}, "`ts` must be at least two increasing finite times"),
        ({"ts": [0.0, np.nan]}, "`ts` must be at least two increasing finite times"),
        ({"ts": 3.0}, "`ts` must be at least two increasing finite times"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        integrate(ONE.state(), ONE, full_mode_field, **options)


def test_a_start_for_which_the_variant_is_not_defined_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^the tied variant must start with `predictor` = `online`"):
        integrate(ONE.state(0.1, 0.2, 0.1), ONE, tied_mode_field)
    with pytest.raises(ValueError, match=r"^`online` must be one number"):
        integrate(ModeState(np.ones(2), np.ones(2), np.ones(2)), ONE, full_mode_field)


def test_a_trajectory_is_not_evaluated_where_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="integrate with dense=True to evaluate it"):
        integrate(ONE.state(), ONE, full_mode_field, 1.0)(0.5)
    run = integrate(ONE.state(), ONE, full_mode_field, 1.0, dense=True)
    for t in (-1e-9, 1.1, np.nan, [0.5, 2.0]):
        with pytest.raises(ValueError, match=r"^`t` must lie within the run, \[0, 1\], got "):
            run(t)


@pytest.mark.parametrize("size", [1.1e8, 1e60, 1e200])
def test_weights_whose_squares_hide_all_others_are_refused(size: float) -> None:
    with pytest.raises(ValueError, match="must have weights of at most 1e"):
        integrate(ONE.state(size, 0.1, 0.1), ONE, full_mode_field)
