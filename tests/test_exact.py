"""Closed-form solutions and fixed points against numerical integration, multiple precision and autodiff."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad, solve_ivp

from dynamics.exact.ema_recurrence import ema_growth
from dynamics.exact.fixed_target import fixed_target_solution
from dynamics.exact.no_ema import escape_time, no_ema_solution, no_ema_time
from dynamics.exact.no_predictor import (
    no_predictor_eigenvalues,
    no_predictor_matrix_solution,
    no_predictor_solution,
)
from dynamics.fields.matrices import no_predictor_field
from dynamics.fields.modes import fixed_target_mode_field, no_ema_mode_field, no_predictor_mode_field
from dynamics.fields.vector_field import VectorField
from dynamics.invariants import mode_invariant
from dynamics.states import ModeState, pack, unpack
from dynamics.system import MatrixSystem, ModeSystem

EPS = np.finfo(float).eps
SIGNS = np.array(list(itertools.product((1, -1), repeat=3))).T
"""All eight sign patterns of (w1, w2, θ), one a mode."""

seeds = st.integers(0, 2**32 - 1)


def integrated(field: VectorField, state: Any, system: Any, ts: np.ndarray) -> Any:
    """Follow a field by DOP853 at its tightest: the second method of every test here."""
    start = field.constrain(0.0, state, system)
    solution = solve_ivp(
        lambda t, y: pack(field(t, unpack(y, start), system)),
        (0.0, ts[-1]),
        pack(start),
        method="DOP853",
        t_eval=ts,
        rtol=1e-12,
        atol=1e-14,
    )
    assert solution.success
    return unpack(solution.y.T, start)


def random_modes(seed: int, *, weight_decay: float = 0.0) -> tuple[ModeState, ModeSystem]:
    """Eight modes, one a sign pattern, with moments of views (0 < λd < λs) and general time constants."""
    rng = np.random.default_rng(seed)
    lambda_s = rng.uniform(0.3, 1.0, 8)
    taus = rng.uniform(0.5, 2.0, (3, 8))
    system = ModeSystem(
        lambda_s,
        lambda_s * rng.uniform(0.1, 0.95, 8),
        tau_online=taus[0],
        tau_predictor=taus[1],
        tau_target=taus[2],
        weight_decay=weight_decay,
    )
    return ModeState(*(SIGNS * rng.uniform(0.05, 1.5, (3, 8)))), system


def mode_sizes(state: ModeState, system: ModeSystem) -> np.ndarray:
    """Sum of the two terms whose difference is the invariant: its rounding is relative to this."""
    return system.tau_online * state.online**2 + system.tau_predictor * state.predictor**2


def assert_states_close(actual: Any, desired: Any, **tolerances: Any) -> None:
    for part, other in zip(actual, desired, strict=True):
        assert_allclose(part, other, **tolerances)


# The Jacobian of these flows has no eigenvalue above 3 here (weights <= 1.5, λ <= 1, τ >= 0.5), so errors of
# the integrator grow by at most e^6 = 400 up to t = 2: 1e-12 a step, some ten steps, end below 1e-8.
TS = np.linspace(0.0, 2.0, 9)
INTEGRATION: dict[str, Any] = {"rtol": 0.0, "atol": 1e-8}

SOLUTIONS: list[tuple[Callable[..., ModeState], VectorField]] = [
    (no_predictor_solution, no_predictor_mode_field),
    (fixed_target_solution, fixed_target_mode_field),
    (no_ema_solution, no_ema_mode_field),
]
each_solution = pytest.mark.parametrize(
    ("solution", "field"), SOLUTIONS, ids=lambda x: getattr(x, "name", "")
)


@each_solution
@settings(max_examples=25)
@given(seed=seeds)
def test_solutions_follow_the_field(solution: Any, field: VectorField, seed: int) -> None:
    state, system = random_modes(seed)
    assert_states_close(solution(TS, state, system), integrated(field, state, system, TS), **INTEGRATION)


@each_solution
@given(seed=seeds)
def test_time_zero_returns_the_start(solution: Any, field: VectorField, seed: int) -> None:
    state, system = random_modes(seed)
    start = field.constrain(0.0, state, system)
    # a product and a quotient by each square root, one sum: below 10 roundings of the larger weight
    assert_states_close(solution(0.0, state, system), start, rtol=0, atol=20 * EPS)


@each_solution
@settings(max_examples=25)
@given(seed=seeds, first=st.floats(0.0, 2.0), second=st.floats(0.0, 2.0))
def test_restarting_gives_the_same_flow(
    solution: Any, field: VectorField, seed: int, first: float, second: float
) -> None:
    state, system = random_modes(seed)
    restarted = solution(second, solution(first, state, system), system)
    # roundings of the middle state, amplified by e^6 at most
    assert_states_close(restarted, solution(first + second, state, system), rtol=0, atol=1e-12)


@each_solution
def test_times_of_any_shape(solution: Any, field: VectorField) -> None:
    state, system = random_modes(3)
    flat = solution(TS[:6], state, system)
    folded = solution(TS[:6].reshape(2, 3), state, system)
    for part, other in zip(folded, flat, strict=True):
        assert part.shape == (2, 3, 8)
        np.testing.assert_array_equal(part.reshape(6, 8), other)


@each_solution
@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_times_out_of_range_are_refused(solution: Any, field: VectorField, bad: float) -> None:
    state, system = random_modes(3)
    with pytest.raises(ValueError, match=rf"`ts` must be finite and >= 0, got {bad}"):
        solution([0.0, bad], state, system)


# --- no predictor (R11) -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lambda_s", "lambda_d", "tau_target", "weight_decay"),
    [
        (1.0, -0.8, 1.0, 0.0),  # a complex pair
        (2.0, 0.0, 0.5, 0.0),  # a double root
        (1.0, 1.0, 3.0, 0.0),  # a line of fixed points
        (-0.5, 0.7, 0.8, 0.1),  # growth
        (1.0, 0.6, 1e-4, 0.3),  # a fast target
    ],
)
def test_no_predictor_in_every_regime(
    lambda_s: float, lambda_d: float, tau_target: float, weight_decay: float
) -> None:
    system = ModeSystem(lambda_s, lambda_d, tau_target=tau_target, weight_decay=weight_decay)
    state = system.state(0.7, 1.0, -0.4)
    found = no_predictor_solution(TS, state, system)
    assert_states_close(found, integrated(no_predictor_mode_field, state, system, TS), **INTEGRATION)
    A = np.array([[-lambda_s - weight_decay, lambda_d], [1 / tau_target, -1 / tau_target]])
    expected = np.sort_complex(np.linalg.eigvals(A))[::-1]
    # a double root moves by the square root of a rounding
    assert_allclose(no_predictor_eigenvalues(system)[0], expected, atol=np.sqrt(EPS) * np.abs(A).max())


@given(seed=seeds)
def test_without_predictor_the_line_keeps_what_the_flow_conserves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lambda_s, tau_o, tau_t, w1, th = rng.uniform(0.5, 2.0, 5)
    system = ModeSystem(lambda_s, lambda_s, tau_online=tau_o, tau_target=tau_t)
    assert no_predictor_eigenvalues(system)[0, 0] == 0
    # (1/τt, λs/τo) is the left null vector of A: the weighted mean of w1 and θ stays, their difference goes
    end = (w1 / tau_t + th * lambda_s / tau_o) / (1 / tau_t + lambda_s / tau_o)
    found = no_predictor_solution(1e3, system.state(w1, 1.0, th), system)
    assert_allclose([found.online, found.target], end, rtol=10 * EPS)


def test_without_predictor_everything_else_collapses() -> None:
    state, system = random_modes(7, weight_decay=0.2)
    assert np.all(no_predictor_eigenvalues(system).real < 0)
    assert_allclose(no_predictor_solution(1e5, state, system).online, 0.0)


@pytest.mark.parametrize("diagonal", [False, True])
def test_no_predictor_of_matrices(diagonal: bool) -> None:
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((2, 3, 6))
    sigma_d, sigma_s = A @ A.T / 6, A @ A.T / 6 + B @ B.T / 6
    if diagonal:
        sigma_s, sigma_d = np.diag(sigma_s), np.diag(sigma_d)
    system = MatrixSystem(sigma_s, sigma_d, tau_online=1.5, tau_target=0.7, weight_decay=0.1)
    state = system.state(rng.standard_normal((2, 3)), np.eye(2), rng.standard_normal((2, 3)))
    found = no_predictor_matrix_solution(TS, state, system)
    assert_states_close(found, integrated(no_predictor_field, state, system, TS), **INTEGRATION)
    if diagonal:
        modes = ModeSystem(sigma_s, sigma_d, tau_online=1.5, tau_target=0.7, weight_decay=0.1)
        rows = modes.state(state.online[0], 1.0, state.target[0])
        assert_allclose(found.online[:, 0], no_predictor_solution(TS, rows, modes).online, rtol=0, atol=1e-14)


# --- fixed target (R13) -------------------------------------------------------------------------------------


def riccati_route(t: float, w1: float, w2: float, drive: float, lambda_s: float) -> tuple[float, float]:
    """R13 as it stands, in 400 digits: u = (|c|/2) sinh f, x = tanh(f/2), dx/dt = θλd(1 − x²) − λs|c|x."""
    with mpmath.workdps(400):
        w1, w2, drive, lambda_s = map(mpmath.mpf, (w1, w2, drive, lambda_s))
        c = w1**2 - w2**2
        x0 = mpmath.tanh(mpmath.asinh(2 * w1 * w2 / abs(c)) / 2)
        b = lambda_s * abs(c)
        root = mpmath.sqrt(b**2 + 4 * drive**2)
        x_plus, x_minus = (-b + root) / (2 * drive), (-b - root) / (2 * drive)
        left = (x0 - x_plus) / (x0 - x_minus) * mpmath.exp(-root * t)
        x = (x_plus - x_minus * left) / (1 - left)
        half = mpmath.atanh(x)
        large, small = mpmath.sqrt(abs(c)) * mpmath.cosh(half), mpmath.sqrt(abs(c)) * mpmath.sinh(half)
        if c > 0:
            return float(mpmath.sign(w1) * large), float(mpmath.sign(w1) * small)
        return float(mpmath.sign(w2) * small), float(mpmath.sign(w2) * large)


STARTS = [
    (0.3, 0.1),
    (-0.3, 0.1),
    (1e4, 0.2),  # large c
    (0.2, -1e4),
    (0.5, -0.5 + 1e-9),  # beside the stable manifold of the origin
    (0.5, -0.5 - 1e-9),
    (1e-8, 2e-8),
    (0.4, 0.4 + 1e-12),  # c near 0
    (0.7, 1e-30),  # u through 0
]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("target", [1.0, -0.3, 1e-6])
@pytest.mark.parametrize("t", [1e-3, 1.0, 30.0, 1e3])
def test_fixed_target_in_four_hundred_digits(start: tuple[float, float], target: float, t: float) -> None:
    system = ModeSystem(1.0, 0.5)
    found = fixed_target_solution(t, system.state(*start, target), system)
    expected = riccati_route(t, *start, target * 0.5, 1.0)
    # some twenty roundings of the larger weight, and exp(−2δt) is off by 2δt roundings while it matters
    atol = 50 * EPS * max(map(abs, expected))
    assert_allclose([found.online[0], found.predictor[0]], expected, rtol=0, atol=atol)


@given(seed=seeds)
def test_fixed_target_ends_on_the_hyperbola_of_its_leaf(seed: int) -> None:
    state, system = random_modes(seed)
    th = state.target
    end = fixed_target_solution(1e4, state, system)
    u = th * system.ratio
    # weights are known to some roundings of the larger one, so products of two to roundings of their squares
    k = np.sqrt(system.tau_online * system.tau_predictor)
    x_squared, y_squared = system.tau_online * end.online**2, system.tau_predictor * end.predictor**2
    rounding = 20 * EPS * (x_squared + y_squared)
    assert np.all(np.abs(end.online * end.predictor - u) * k <= rounding)
    # x² − y² = c and x y = k u on the hyperbola
    direct = (mode_invariant(state, system) + np.hypot(mode_invariant(state, system), 2 * k * u)) / 2
    assert np.all(np.abs(x_squared - direct) <= rounding + 20 * EPS * mode_sizes(state, system))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_fixed_target_on_the_stable_manifold_of_the_saddle(sign: float) -> None:
    system = ModeSystem([1.0, 2.0], [0.5, 0.3], tau_online=2.0, tau_predictor=0.5)
    # sqrt(τo) w1 = −sqrt(τp) w2 with θ > 0 runs into the origin; powers of two keep it exact
    start = system.state(sign * 0.25, -sign * 0.5, 0.7)
    for t in (1.0, 1e2, 1e5):
        found = fixed_target_solution(t, start, system)
        np.testing.assert_array_equal(found.predictor, -2 * found.online)
    assert_allclose(fixed_target_solution(1e5, start, system).online, 0.0)
    early = fixed_target_solution(TS, start, system)
    assert_states_close(early, integrated(fixed_target_mode_field, start, system, TS), **INTEGRATION)


def test_fixed_target_at_zero_drive_and_without_curvature() -> None:
    # θ = 0 on the leaf c = 0: w1 = w2 decays algebraically, dw/dt = −λs w³; and λs = 0: w1 ± w2 ~ e^{±θλd t}
    system = ModeSystem([2.0, 0.0, 0.0], [0.5, 0.5, 0.0])
    found = fixed_target_solution([[0.0], [3.0]], system.state(0.5, 0.5, [0.0, 0.6, 0.2]), system)
    assert_allclose(found.online[1, 0, 0], 0.5 / np.sqrt(1 + 2 * 2.0 * 0.25 * 3.0), rtol=10 * EPS)
    assert_allclose(found.online[1, 0, 0], found.predictor[1, 0, 0], rtol=4 * EPS)
    assert_allclose(found.online[1, 0, 1], 0.5 * np.exp(0.3 * 3.0), rtol=10 * EPS)
    assert_allclose(found.online[1, 0, 2], 0.5, rtol=4 * EPS)
    at_origin = fixed_target_solution(5.0, system.state(0.0, 0.0, 1.0), system)
    np.testing.assert_array_equal(at_origin.online, 0.0)


def test_fixed_target_refusals() -> None:
    with pytest.raises(ValueError, match=r"`lambda_s` must be >= 0 for this closed form, got -1.0"):
        fixed_target_solution(1.0, ModeSystem(-1.0, 0.5).state(), ModeSystem(-1.0, 0.5))
    decaying = ModeSystem(1.0, 0.5, weight_decay=0.1)
    with pytest.raises(ValueError, match=r"`weight_decay` must be 0 for this closed form, got 0.1"):
        fixed_target_solution(1.0, decaying.state(), decaying)


# --- no EMA (R14) -------------------------------------------------------------------------------------------


def printed_time(w: float, w0: float, w1: float, lambda_s: float, r: float) -> float:
    """R14 as printed, in 400 digits, for τ = 1: [F(w) − F(w0)]/(λs(r² + c)), c = w1² − w0²."""
    with mpmath.workdps(400):
        w, w0, w1, r = map(mpmath.mpf, (w, w0, w1, r))
        c = w1**2 - w0**2

        def A(x: Any) -> Any:
            if c == 0:
                return -1 / x
            k = mpmath.sqrt(abs(c))
            return mpmath.atan(x / k) / k if c > 0 else mpmath.log(abs((x - k) / (x + k))) / (2 * k)

        def F(x: Any) -> Any:
            return mpmath.log(x**2 + c) / 2 + r * A(x) - mpmath.log(abs(r - x))

        return float((F(w) - F(w0)) / (lambda_s * (r**2 + c)))


@pytest.mark.parametrize(
    ("w1", "w2", "via"),
    [
        (0.5, 0.1, (0.05, 0.2, 0.45, 0.4999)),  # c > 0, learned
        (0.5, -0.2, (-0.3, -0.1, 0.0, 0.2, 0.49)),  # c > 0, through w2 = 0
        (0.3, -0.3 + 1e-6, (-0.1, 0.0, 0.3)),  # c = 6e-7: a long passage beside the saddle
        (0.37, -0.37 + 3e-8, (-0.1, 0.0, 0.3)),
        (0.5, 1.5, (2.0, 1.45, 1.41422)),  # c < −r², collapse far from r
        (1.5, 1.4, (2.0, 1.0, 0.51)),  # from above, c > 0
        (0.25, 0.25, (0.1, 0.3, 0.49)),  # c = 0
        (0.25, 0.25 + 1e-13, (0.3, 0.49)),  # c near 0 from below
        (0.25, 0.25 - 1e-13, (0.3, 0.49)),  # and from above
        (0.1, 0.3, (0.29, 0.4, 0.499)),  # −r² < c < 0, learned
        (1e-7, 0.3, (0.3 + 1e-12, 0.31, 0.45)),  # beside the collapsed line
        (1e-100, 0.3, (0.31, 0.45)),
        (0.2, 0.52, (0.6, 0.51, 0.501)),  # −r² < c < 0, from above
        (0.1, -0.3, (-0.4, -0.299, -0.2829)),  # c < 0, collapse from below
        (0.25, -0.25, (-0.5, -0.1, -1e-3)),  # c = 0, collapse
        (0.1, 0.8, (0.9, 0.795, 0.79373)),  # c < −r², collapse
        (0.75, float(np.hypot(0.75, 0.5)), (1.2, 0.8, 0.51)),  # c = −r² to rounding
        (0.75, float(np.hypot(0.75, 0.5)) + 1e-9, (1.2, 0.8, 0.51)),
    ],
)
def test_no_ema_time_in_four_hundred_digits(w1: float, w2: float, via: tuple[float, ...]) -> None:
    system = ModeSystem(1.0, 0.5)
    state = system.state(w1, w2)
    found = no_ema_time(np.array(via)[:, None], state, system)[:, 0]
    expected = [printed_time(w, w2, w1, 1.0, 0.5) for w in via]
    # near the limit the time is as badly conditioned in w2 as 1/|dw2/dt|: add roundings of w2
    roundings = [4 * EPS * abs(w / ((w**2 + w1**2 - w2**2) * (0.5 - w))) for w in via]
    assert np.all(np.abs(found - expected) <= 1e-13 * np.abs(expected) + roundings)


@given(seed=seeds)
@example(seed=8388607)  # w2 moves by 1e-5 a unit of time at the end
def test_no_ema_time_is_the_integral_of_the_field(seed: int) -> None:
    state, system = random_modes(seed)
    halfway = no_ema_solution(0.7, state, system)
    c, r = mode_invariant(state, system), system.ratio
    found = no_ema_time(halfway.predictor, state, system)
    tau_p = np.asarray(system.tau_predictor)
    taus = system.tau_online * tau_p
    for i in range(system.n_modes):
        expected, error = quad(
            lambda w, i=i: taus[i] / ((c[i] + tau_p[i] * w**2) * system.lambda_s[i] * (r[i] - w)),
            state.predictor[i],
            halfway.predictor[i],
            epsabs=1e-12,
            epsrel=1e-12,
        )
        # the width of the interval is rounded, which weighs as it is narrow; and w2 itself, as its end is approached
        end = halfway.predictor[i]
        width = abs(end - state.predictor[i])
        speed = abs((c[i] + tau_p[i] * end**2) * system.lambda_s[i] * (r[i] - end)) / taus[i]
        roundings = 20 * EPS / width + 4 * EPS * abs(end) / speed
        assert abs(found[i] - expected) <= error + 1e-11 + roundings
        assert_allclose(found[i], 0.7, rtol=0, atol=1e-11 + roundings)


@given(seed=seeds)
def test_no_ema_ends_where_its_leaf_says(seed: int) -> None:
    state, system = random_modes(seed)
    # long after leaves beside c = −τp r², where the last approach is slow
    end = no_ema_solution(1e30, state, system)
    c, r, tau_p = mode_invariant(state, system), system.ratio, system.tau_predictor
    collapsed = np.where(state.predictor > 0, c <= -tau_p * r**2, c <= 0)
    leaf = np.sqrt(np.maximum(-c / tau_p, 0))
    learned = np.sqrt(np.maximum(c + tau_p * r**2, 0) / system.tau_online)
    # c is known to roundings of its two terms, and both ends are square roots of it
    rounding = 10 * EPS * (mode_sizes(state, system) + tau_p * r**2)
    expected = np.where(collapsed, np.sign(state.predictor) * leaf, r)
    slack = np.where(collapsed, rounding / (tau_p * np.maximum(leaf, 1e-6)), 10 * EPS)
    assert np.all(np.abs(end.predictor - expected) <= slack)
    slack = rounding / (system.tau_online * np.maximum(learned, 1e-6))
    assert np.all(np.abs(end.online - np.where(collapsed, 0.0, np.sign(state.online) * learned)) <= slack)
    np.testing.assert_array_equal(end.online, end.target)


@pytest.mark.parametrize("start", [(0.4, -0.6), (0.1, 0.8), (1e-6, -0.3), (1e-6, 0.2), (1e-100, 0.2)])
def test_no_ema_keeps_relative_accuracy_beside_the_collapsed_line(start: tuple[float, float]) -> None:
    w1, w2 = start
    system = ModeSystem(1.0, 0.5, tau_online=0.5)
    ts = np.linspace(0.0, 60.0, 31)
    # the same flow in ln w1, which does not lose w1 when it is small: d ln w1/dt = w2(λd − λs w2)/τo
    solution = solve_ivp(
        lambda t, y: (y[1] * (0.5 - y[1]) / 0.5, np.exp(2 * y[0]) * (0.5 - y[1])),
        (0.0, ts[-1]),
        (np.log(w1), w2),
        method="DOP853",
        t_eval=ts,
        rtol=1e-12,
        atol=1e-13,
    )
    found = no_ema_solution(ts, system.state(w1, w2), system)
    # thousands of steps of 1e-12 at most, and one e-folding of them: the flow along the leaf is contracting
    assert_allclose(np.log(found.online[:, 0]), solution.y[0], rtol=0, atol=1e-9)
    assert_allclose(found.predictor[:, 0], solution.y[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("w1", "w2"), [(0.0, 0.3), (0.0, -0.3), (0.0, 0.0), (0.8, 0.5)])
def test_no_ema_stays_at_rest(w1: float, w2: float) -> None:
    system = ModeSystem(1.0, 0.5, tau_online=2.0)
    state = system.state(w1, w2)
    found = no_ema_solution([0.0, 1.0, 1e9], state, system)
    np.testing.assert_array_equal(found.predictor[:, 0], w2)
    assert_allclose(found.online[:, 0], w1, rtol=2 * EPS)
    np.testing.assert_array_equal(no_ema_time([[w2], [w2 + 0.1]], state, system)[:, 0], [0.0, np.nan])


def test_no_ema_time_off_the_path() -> None:
    system = ModeSystem(1.0, 0.5)
    # on this leaf, w2 runs from sqrt(0.05) = 0.2236... to 0.5
    times = no_ema_time([[0.1], [0.25], [0.3], [0.5], [0.6]], system.state(0.2, 0.3), system)[:, 0]
    assert times[1] < 0
    np.testing.assert_array_equal(times[[0, 2, 3, 4]], [np.nan, 0.0, np.inf, np.nan])
    backwards = no_ema_solution(-times[1], system.state(np.sqrt(0.25**2 - 0.05), 0.25), system)
    assert_allclose([backwards.online[0], backwards.predictor[0]], [0.2, 0.3], rtol=1e-14)
    pair = ModeSystem([1.0, 1.0], [0.5, 0.5])
    # 0.75² − 1.25² = −1, and the collapsed line ends at w2 = ±1
    ends = no_ema_time([[1.0, -1.0]], pair.state(0.75, [1.25, -1.25]), pair)
    np.testing.assert_array_equal(ends, np.inf)


@given(weight=st.floats(1e-9, 0.05), fraction=st.floats(0.3, 0.9))
def test_escape_time_of_tied_weights(weight: float, fraction: float) -> None:
    system = ModeSystem(0.8, 0.6, tau_online=1.7, tau_predictor=1.7)
    r, tau = 0.75, 1.7
    found = escape_time(weight, system, fraction=fraction)[0]
    log = np.log(fraction / (1 - fraction)) + np.log((r - weight) / weight)
    exact = tau / 0.8 * (1 / (r * weight) - 1 / (r * fraction * r) + log / r**2)
    assert_allclose(found, exact, rtol=100 * EPS)
    # the leading term, with all that is left of it above
    assert abs(found * 0.6 * weight / tau - 1) <= weight * (1 / (fraction * r) + abs(log) / r)


def test_escape_time_is_the_integral_of_the_tied_flow() -> None:
    system = ModeSystem(0.8, 0.6, tau_online=1.7, tau_predictor=1.7)
    expected, _ = quad(lambda w: 1.7 / (w**2 * (0.6 - 0.8 * w)), 0.01, 0.375, epsrel=1e-13, limit=200)
    assert_allclose(escape_time(0.01, system)[0], expected, rtol=1e-12)


def test_no_ema_refusals() -> None:
    for system, message in (
        (ModeSystem(-1.0, 0.5), "`lambda_s` must be > 0 for this closed form, got -1.0"),
        (ModeSystem(1.0, 0.0), "`lambda_d` must be > 0 for this closed form, got 0.0"),
        (ModeSystem(1.0, 0.5, weight_decay=0.1), "`weight_decay` must be 0 for this closed form, got 0.1"),
    ):
        for call in (no_ema_solution, no_ema_time):
            with pytest.raises(ValueError, match=message):
                call(1.0, system.state(), system)


def test_escape_refusals() -> None:
    system = ModeSystem(1.0, 0.5)
    with pytest.raises(ValueError, match=r"`fraction` must be in \(0, 1\), got 1.0"):
        escape_time(0.1, system, fraction=1.0)
    with pytest.raises(ValueError, match=r"`weight` must be > 0 to escape, got -0.1"):
        escape_time(-0.1, system)
    with pytest.raises(
        ValueError, match=r"tied weights must have `tau_online` = `tau_predictor`, got 2.0 and 1.0"
    ):
        escape_time(0.1, ModeSystem(1.0, 0.5, tau_online=2.0))


# --- EMA recurrence (R28) -----------------------------------------------------------------------------------


@given(alpha=st.floats(0.01, 0.9), eta=st.floats(0.01, 0.9), lam=st.floats(0.05, 3.0))
def test_ema_growth_of_the_recurrence(alpha: float, eta: float, lam: float) -> None:
    found = ema_growth(alpha, eta, lam)
    step = np.array([[1 - alpha, alpha * (1 + lam)], [eta, 1 - eta]])
    # in units of (1 + κ)^t the recurrence becomes a projection: the other multiplier is smaller by 1 part in
    # 50 at least, so 4096 steps leave 1e-36 of it, and roundings 4096 ε
    steps = np.linalg.matrix_power(step / (1 + found.rate), 4096)
    assert_allclose(np.trace(steps), 1.0, rtol=0, atol=20 * 4096 * EPS)
    assert 0 < found.rate <= found.bound * (1 + 4 * EPS)
    assert_allclose(found.bound, lam / (1 / alpha + 1 / eta), rtol=8 * EPS)


def test_ema_growth_keeps_digits_at_small_gain() -> None:
    with mpmath.workdps(60):
        alpha, eta, lam = mpmath.mpf(0.3), mpmath.mpf(0.004), mpmath.mpf(1e-12)
        expected = (eta + alpha) / 2 * (mpmath.sqrt(1 + 4 * alpha * eta * lam / (eta + alpha) ** 2) - 1)
    assert_allclose(ema_growth(0.3, 0.004, 1e-12).rate, float(expected), rtol=10 * EPS)


def test_ema_recurrence_as_printed_decays() -> None:
    # the source prints (1 − λ) where (1 + λ) grows as it says: with its sign all multipliers are below 1
    step = np.array([[1 - 0.3, 0.3 * (1 - 0.5)], [0.1, 1 - 0.1]])
    assert np.max(np.abs(np.linalg.eigvals(step))) < 1
    assert ema_growth(0.3, 0.1, -0.5).rate < 0
    assert_allclose(1 + ema_growth(0.3, 0.1, -0.5).rate, np.max(np.linalg.eigvals(step).real), rtol=1e-14)


def test_ema_growth_refusals() -> None:
    with pytest.raises(ValueError, match=r"`learning_rate` must be in \(0, 1\], got 0.0"):
        ema_growth(0.0, 0.5, 1.0)
    with pytest.raises(ValueError, match=r"`target_rate` must be in \(0, 1\], got nan"):
        ema_growth(0.5, np.nan, 1.0)
    with pytest.raises(
        ValueError, match=r"`gain` must be >= −\(α \+ η\)²/\(4αη\) for a real growth rate, got -2.0"
    ):
        ema_growth(0.5, 0.5, -2.0)


# --- against fifty and more digits --------------------------------------------------------------------------


def _leaf_kinds(
    rng: np.random.Generator, lambda_s: float, r: float, tau_o: float, tau_p: float
) -> tuple[float, float]:
    """Draw w1 and w2 anywhere, next to w2 = ±w1 √(τo/τp), or next to c = −τp r²."""
    w2 = 10 ** rng.uniform(-6, 3) * rng.choice([-1, 1])
    kind, near = rng.integers(3), 1 + 10 ** rng.uniform(-15, -1) * rng.choice([-1, 1])
    square = w2**2 - r**2 * near
    if kind == 0 or (kind == 2 and square <= 0):
        return 10 ** rng.uniform(-6, 3), w2
    return np.sqrt(tau_p / tau_o) * (abs(w2) * near if kind == 1 else np.sqrt(square)), w2


def _no_ema_by_mpmath(t: float, w1: float, w2: float, system: ModeSystem) -> Any:
    """w2(t) by bisection of the printed F of R14, and w1(t) on the leaf, to some 30 digits."""
    import mpmath as mp

    w1, w2, t, ls, ld, to, tp = (
        mp.mpf(float(np.ravel(x)[0]))
        for x in (w1, w2, t, system.lambda_s, system.lambda_d, system.tau_online, system.tau_predictor)
    )
    c, r = to * w1**2 / tp - w2**2, ld / ls
    k = mp.sqrt(abs(c))
    limit = r if c > 0 or (w2 > 0 and c >= -r * r) else mp.sign(w2) * k

    def F(w: Any) -> Any:
        A = mp.atan(w / k) / k if c > 0 else -1 / w if c == 0 else mp.log(abs((w - k) / (w + k))) / (2 * k)
        return mp.log(w * w + c) / 2 + r * A - mp.log(abs(r - w))

    def late(y: Any) -> bool:
        return bool(to * (F(limit + (w2 - limit) * mp.exp(-y)) - F(w2)) > t * ls * (r * r + c))

    def passed(y: Any) -> bool:  # r² + c may be negative
        return late(y) if r * r + c > 0 else not late(y)

    low, high = mp.mpf("1e-300"), mp.mpf(600)
    if not passed(high):
        return None
    while high - low > mp.mpf(10) ** -30 * high:
        middle = (low + high) / 2 if 2 * low > high else mp.sqrt(low * high)
        low, high = (low, middle) if passed(middle) else (middle, high)
    w = limit + (w2 - limit) * mp.exp(-low)
    return mp.sqrt(tp / to * (w * w + c)), w


def test_no_ema_is_known_to_rounding_on_extreme_leaves() -> None:
    import mpmath as mp

    rng, eps, n_compared = np.random.default_rng(5), np.finfo(float).eps, 0
    with mp.workdps(330):  # e^−600 of the way is told from none
        for _ in range(60):
            lambda_s, r = 10 ** rng.uniform(-3, 3), 10 ** rng.uniform(-8, 1)
            tau_o, tau_p = 10 ** rng.uniform(-2, 2, 2)
            system = ModeSystem(lambda_s, r * lambda_s, tau_online=tau_o, tau_predictor=tau_p)
            w1, w2 = _leaf_kinds(rng, lambda_s, r, tau_o, tau_p)
            t = tau_o / lambda_s / max(w2**2, w1**2 * tau_o / tau_p) * 10 ** rng.uniform(-3, 8)
            reference = _no_ema_by_mpmath(t, w1, w2, system)
            if reference is None:
                continue
            n_compared += 1
            found = no_ema_solution(t, system.state(w1, w2), system)
            speed = no_ema_mode_field(0.0, found, system)
            passing = r if w2 < 0 < tau_o * w1**2 - tau_p * w2**2 else 0.0
            for part, exact, dw in zip(found[:2], reference, speed[:2], strict=True):
                # 600 roundings are the exponent y of a far end; t is rounded when it is given in units of τo/λs
                size = max(abs(float(exact)), 1e-3 * abs(float(found.predictor[0])), passing)
                tolerance = eps * (64 * size + 4 * abs(float(dw[0])) * t)
                assert abs(float(mp.mpf(float(part[0])) - exact)) <= tolerance, (w1, w2, t, system)
    assert n_compared > 30


def test_no_ema_keeps_its_digits_where_the_invariant_and_the_ratio_are_tiny() -> None:
    system = ModeSystem(1.0, 1e-6)
    found = no_ema_solution(100.0, system.state(100 + 1e-12, 100.0), system)
    # by mpmath, 330 digits; w1 and w2 differ by c/(2w) = 1.4e-9
    np.testing.assert_allclose(found.predictor, 0.07071099307210729, rtol=1e-14)
    np.testing.assert_allclose(
        found.online - found.predictor, 1.989519660128e-10 / (2 * 0.0707109930721), rtol=1e-6
    )


def _fixed_target_by_mpmath(t: float, w1: float, w2: float, th: float, system: ModeSystem) -> Any:
    """Riccati solution of R13 in x = tanh(f/2), with w1 and w2 from u and c: other variables than the program's."""
    import mpmath as mp

    w1, w2, th, t, ls, ld, to, tp = (
        mp.mpf(float(np.ravel(x)[0]))
        for x in (w1, w2, th, t, system.lambda_s, system.lambda_d, system.tau_online, system.tau_predictor)
    )
    # τ = 1 in x = √τo w1, y = √τp w2 and time t/√(τo τp), with λs → λs/√(τo τp)
    root = mp.sqrt(to * tp)
    x0, y0, b, a = mp.sqrt(to) * w1, mp.sqrt(tp) * w2, th * ld / root, ls / root / root
    c = x0**2 - y0**2
    u0 = x0 * y0
    s = mp.tanh(mp.asinh(2 * u0 / abs(c)) / 2)
    # ds/dt = b (1 − s²) − a|c| s
    D = mp.sqrt((a * abs(c)) ** 2 + 4 * b * b)
    T = mp.tanh(D * t / 2)
    s = (D * s + (2 * b - a * abs(c) * s) * T) / (D + (a * abs(c) + 2 * b * s) * T)
    u = abs(c) * s / (1 - s**2)
    total = mp.sqrt(c * c + 4 * u * u)
    big, small = mp.sqrt((total + abs(c)) / 2), mp.sqrt(max(total - abs(c), mp.mpf(0)) / 2)
    if c > 0:
        x, y = mp.sign(x0) * big, mp.sign(x0) * mp.sign(u) * small
    else:
        x, y = mp.sign(y0) * mp.sign(u) * small, mp.sign(y0) * big
    return x / mp.sqrt(to), y / mp.sqrt(tp)


def test_fixed_target_is_known_to_rounding_next_to_its_invariant_lines() -> None:
    import mpmath as mp

    rng, eps = np.random.default_rng(6), np.finfo(float).eps
    with mp.workdps(400):
        for _ in range(300):
            lambda_s, r = 10 ** rng.uniform(-3, 3), 10 ** rng.uniform(-3, 1)
            tau_o, tau_p = 10 ** rng.uniform(-2, 2, 2)
            system = ModeSystem(lambda_s, r * lambda_s, tau_online=tau_o, tau_predictor=tau_p)
            w1, th = 10 ** rng.uniform(-4, 2, 2) * rng.choice([-1, 1], 2)
            w2 = w1 * np.sqrt(tau_o / tau_p) * rng.choice([-1, 1]) * (1 + 10 ** rng.uniform(-16, 0))
            rate = np.hypot(th * r * lambda_s, lambda_s * w1 * w2) / np.sqrt(tau_o * tau_p)
            t = 10 ** rng.uniform(-3, 1.5) / rate
            exact = _fixed_target_by_mpmath(t, w1, w2, th, system)
            found = fixed_target_solution(t, system.state(w1, w2, th), system)
            roots = np.sqrt([tau_o, tau_p])
            size = max(abs(float(part)) * root for part, root in zip(exact, roots, strict=True))
            for part, value, root in zip(found[:2], exact, roots, strict=True):
                # z and its exponent δt, which is at most some 70, are rounded
                assert abs(float(mp.mpf(float(part[0])) - value)) * root <= 16 * eps * (1 + rate * t) * size


def test_no_predictor_is_known_to_rounding() -> None:
    import mpmath as mp

    rng, eps = np.random.default_rng(7), np.finfo(float).eps
    with mp.workdps(60):
        for _ in range(60):
            lambda_s, r, eta = (
                10 ** rng.uniform(-3, 3),
                1 - 10 ** rng.uniform(-12, -0.1),
                10 ** rng.uniform(-8, 0),
            )
            tau_o, tau_t = 10 ** rng.uniform(-2, 2, 2)
            system = ModeSystem(lambda_s, r * lambda_s, tau_online=tau_o, tau_target=tau_t, weight_decay=eta)
            w1, th = rng.standard_normal(2)
            s = float(no_predictor_eigenvalues(system)[0, 0].real)
            t = 10 ** rng.uniform(-3, 1.5) / -s
            ls, ld, to, tt, e = (
                mp.mpf(float(np.ravel(x)[0])) for x in (lambda_s, system.lambda_d, tau_o, tau_t, eta)
            )
            A = mp.matrix([[-ls / to - e, ld / to], [1 / tt, -1 / tt]])
            exact = mp.expm(A * mp.mpf(t)) * mp.matrix([mp.mpf(w1), mp.mpf(th)])
            found = no_predictor_solution(t, system.state(w1, target=th), system)
            # exp(A t) has norm e^{s t} times at most the condition of its eigenvectors, √(λd τt/τo) or its inverse
            stretch = np.sqrt(r * lambda_s * tau_t / tau_o)
            size = np.exp(s * t) * max(stretch, 1 / stretch) * (abs(w1) + abs(th))
            for part, value in zip((found.online, found.target), exact, strict=True):
                assert abs(float(mp.mpf(float(part[0])) - value)) <= 16 * eps * (1 - s * t) * size
