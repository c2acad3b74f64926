"""Closed-form solutions and fixed points against numerical integration, multiple precision and autodiff."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad, solve_ivp

from dynamics.exact import (
    ema_growth,
    escape_time,
    fixed_target_solution,
    no_ema_solution,
    no_ema_time,
    no_predictor_eigenvalues,
    no_predictor_matrix_solution,
    no_predictor_solution,
)
from dynamics.fields import VectorField, no_predictor_field
from dynamics.invariants import mode_invariant
from dynamics.mode_fields import (
    fixed_target_mode_field,
    full_mode_field,
    no_ema_mode_field,
    no_predictor_mode_field,
    tied_mode_field,
)
from dynamics.mode_fixed_points import (
    collapsed_line_eigenvalues,
    leaf_eigenvalues,
    learned_line_eigenvalues,
    saddle_node,
    weight_decay_fixed_points,
)
from dynamics.states import MatrixState, ModeState, pack, unpack
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


def assert_states_close(actual: Any, desired: Any, **tolerances: float) -> None:
    for part, other in zip(actual, desired, strict=True):
        assert_allclose(part, other, **tolerances)


# The Jacobian of these flows has no eigenvalue above 3 here (weights <= 1.5, λ <= 1, τ >= 0.5), so errors of the
# integrator grow by at most e^6 = 400 up to t = 2: 1e-12 a step, some ten steps, end below 1e-8.
TS = np.linspace(0.0, 2.0, 9)
INTEGRATION = {"rtol": 0.0, "atol": 1e-8}

SOLUTIONS: list[tuple[Callable[..., ModeState], VectorField]] = [
    (no_predictor_solution, no_predictor_mode_field),
    (fixed_target_solution, fixed_target_mode_field),
    (no_ema_solution, no_ema_mode_field),
]
each_solution = pytest.mark.parametrize(("solution", "field"), SOLUTIONS, ids=lambda x: getattr(x, "name", ""))


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
    """R13 as it stands, in 200 digits: u = (|c|/2) sinh f, x = tanh(f/2), dx/dt = θλd(1 − x²) − λs|c|x, τ = 1."""
    with mpmath.workdps(200):
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
def test_fixed_target_in_two_hundred_digits(start: tuple[float, float], target: float, t: float) -> None:
    system = ModeSystem(1.0, 0.5)
    found = fixed_target_solution(t, system.state(*start, target), system)
    expected = riccati_route(t, *start, target * 0.5, 1.0)
    # A start beside the saddle feels the rounding of p = w1 + w2 (relative, 1 ulp); else some twenty roundings of
    # the larger weight, and exp(−2δt) is off by 2δt roundings as long as it is not negligible.
    atol = 50 * EPS * max(map(abs, expected))
    assert_allclose([found.online[0], found.predictor[0]], expected, rtol=0, atol=atol)


@given(seed=seeds)
def test_fixed_target_ends_on_the_hyperbola_of_its_leaf(seed: int) -> None:
    state, system = random_modes(seed)
    th = state.target
    end = fixed_target_solution(1e4, state, system)
    u = th * system.ratio
    assert_allclose(end.online * end.predictor, u, rtol=20 * EPS, atol=0)
    c, size = mode_invariant(state, system), system.tau_online * system.tau_predictor
    w1_squared = (c + np.sqrt(c**2 + 4 * size * u**2)) / (2 * system.tau_online)
    # c may cancel against the square root: relative to the larger of the two
    assert_allclose(end.online**2, w1_squared, rtol=0, atol=100 * EPS * np.max(np.abs(c) + np.abs(u) * 2))


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
    assert_allclose(found.online[1, 0], 0.5 / np.sqrt([1 + 2 * 2.0 * 0.25 * 3.0]), rtol=10 * EPS)
    assert_allclose(found.online[1, 0], found.predictor[1, 0], rtol=4 * EPS)
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
