"""The exponential Rosenbrock method: φ functions, Krylov spaces, order, exactness on linear systems, stiff flows."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp
from scipy.linalg import expm

from dynamics.integration.exponential import (
    ExponentialRosenbrock,
    Krylov,
    directional_derivative,
    phi_vectors,
    phi_vectors_at_half,
)

Field = Callable[[float, np.ndarray], np.ndarray]
seeds = st.integers(0, 2**32 - 1)


def mode_flow(tau_target: float, pull: Callable[[float], float] = lambda t: 1.0) -> Field:
    """One mode with λs = 1, λd = ½, τo = τp = 1 and a target that a clock may pull: e = pull(t) θ/2 − w2 w1."""

    def flow(t: float, y: np.ndarray) -> np.ndarray:
        w1, w2, th = y
        e = pull(t) * th / 2 - w2 * w1
        return np.array([w2 * e, w1 * e, (w1 - th) / tau_target])

    return flow


START = np.array([0.3, 0.2, 0.6])
FLOWS = {"autonomous": mode_flow(0.5), "driven": mode_flow(0.5, lambda t: 1 + 0.5 * np.sin(t))}


def reference(flow: Field, t: float) -> Callable[[float | np.ndarray], np.ndarray]:
    """Solution at t by another method at its tightest: good to about 1e-12."""
    return solve_ivp(flow, (0, t), START, method="DOP853", rtol=1e-13, atol=1e-14, dense_output=True).sol


def stable_matrix(rng: np.random.Generator, n: int) -> np.ndarray:
    A = rng.standard_normal((n, n))
    return -A @ A.T / n + (A - A.T) / 4


# --- φ functions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("z", [-30.0, -1.0, -1e-3, 0.0, 1e-9, 0.5, 3.0])
def test_phi_is_the_integral_that_defines_it(z: float) -> None:
    found = phi_vectors(np.array([[z]]), 4)[0]
    for k in range(1, 5):
        integral, _ = quad(
            lambda s, k=k: np.exp((1 - s) * z) * s ** (k - 1) / factorial(k - 1), 0, 1, epsabs=0, epsrel=1e-13
        )
        assert found[k - 1] == pytest.approx(integral, rel=1e-12)


@given(seed=seeds, n=st.integers(1, 6))
def test_phi_of_a_matrix_obeys_the_recurrence(seed: int, n: int) -> None:
    H = np.random.default_rng(seed).standard_normal((n, n))
    e1 = np.eye(n)[:, 0]
    phi = np.column_stack([expm(H) @ e1, phi_vectors(H, 4)])
    for k in range(4):
        # H φ_{k+1} = φ_k − 1/k!; numbers of size up to e^4, rounding of about 1e-14
        np.testing.assert_allclose(H @ phi[:, k + 1], phi[:, k] - e1 / factorial(k), atol=1e-12 * np.exp(n))


@given(seed=seeds, n=st.integers(1, 8))
def test_phi_at_half_is_that_of_half_the_matrix(seed: int, n: int) -> None:
    H = np.random.default_rng(seed).standard_normal((n, n))
    half, whole = phi_vectors_at_half(H, 3)
    for found, z in ((half, H / 2), (whole, H)):
        e1 = np.eye(n)[:, 0]
        phi = np.column_stack([expm(z) @ e1, found])
        for k in range(3):
            np.testing.assert_allclose(
                z @ phi[:, k + 1], phi[:, k] - e1 / factorial(k), atol=1e-12 * np.exp(n)
            )


# --- Krylov spaces ------------------------------------------------------------------------------------------


@given(seed=seeds, n=st.integers(2, 12), data=st.data())
def test_a_krylov_space_projects_the_matrix(seed: int, n: int, data: st.DataObject) -> None:
    m = data.draw(st.integers(1, n - 1))
    rng = np.random.default_rng(seed)
    A, v = rng.standard_normal((n, n)), rng.standard_normal(n)
    krylov = Krylov(lambda x: A @ x, v, n)
    while krylov.dimension < m:
        assert krylov.grow()
    V = np.array([krylov.lift(e) for e in np.eye(m)]) / krylov.norm
    size = 1e-12 * float(np.linalg.norm(A))
    np.testing.assert_allclose(V @ V.T, np.eye(m), atol=1e-13)
    np.testing.assert_allclose(V @ A @ V.T, krylov.hessenberg, atol=size)
    np.testing.assert_allclose(krylov.lift(np.eye(m)[0]), v, rtol=1e-13)
    beyond = A @ V.T - V.T @ krylov.hessenberg
    np.testing.assert_allclose(beyond[:, -1], krylov.next_direction, atol=size)
    np.testing.assert_allclose(beyond[:, :-1], 0, atol=size)


@given(seed=seeds, n=st.integers(2, 12), data=st.data())
def test_images_of_what_a_space_holds_need_no_product(seed: int, n: int, data: st.DataObject) -> None:
    m = data.draw(st.integers(0, n))
    rng = np.random.default_rng(seed)
    A, v = rng.standard_normal((n, n)), rng.standard_normal(n) if m else np.zeros(n)
    krylov = Krylov(lambda x: A @ x, v, n)
    while krylov.dimension < m:
        assert krylov.grow()
    coefficients = rng.standard_normal(m)
    size = 1e-12 * float(np.linalg.norm(A) * krylov.norm * np.linalg.norm(coefficients))
    np.testing.assert_allclose(krylov.image(coefficients), A @ krylov.lift(coefficients), atol=size)


def test_a_krylov_space_stops_when_it_is_invariant_full_or_empty() -> None:
    A = np.diag([1.0, 2.0, 3.0, 4.0])
    spaces = {
        name: Krylov(lambda x: A @ x, vector, size)
        for name, vector, size in (
            ("invariant", np.array([1.0, 0, 1.0, 0]), 4),
            ("full", np.ones(4), 3),
            ("whole", np.ones(4), 9),
            ("empty", np.zeros(4), 4),
        )
    }
    for krylov in spaces.values():
        while krylov.grow():
            pass
    assert {name: (k.dimension, k.exhausted) for name, k in spaces.items()} == {
        "invariant": (2, True),
        "full": (3, False),
        "whole": (4, True),
        "empty": (0, True),
    }
    np.testing.assert_allclose(np.linalg.eigvalsh(spaces["invariant"].hessenberg), [1.0, 3.0])
    phi, error = spaces["empty"].phi(1.0, 1, np.ones(4), 0.1)
    assert error == 0.0
    np.testing.assert_array_equal(spaces["empty"].lift(phi), np.zeros(4))


def test_a_space_that_is_nearly_invariant_is_not_taken_for_invariant() -> None:
    A = np.array([[1.0, 0.0], [1e-6, 2.0]])
    krylov = Krylov(lambda x: A @ x, np.array([1.0, 0.0]), 2)
    while krylov.grow():
        pass
    assert krylov.dimension == 2


def test_the_basis_of_a_stiff_system_stays_orthonormal() -> None:
    rates = np.logspace(0, 8, 40)
    krylov = Krylov(lambda x: rates * x, np.ones(40), 30)
    while krylov.grow():
        pass
    V = np.array([krylov.lift(e) for e in np.eye(30)]) / krylov.norm
    np.testing.assert_allclose(V @ V.T, np.eye(30), atol=1e-14)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("time", [0.1, 0.5, 2.0])
def test_phi_times_a_vector_is_as_good_as_asked(order: int, time: float) -> None:
    rng = np.random.default_rng(1)
    A, v = 5 * stable_matrix(rng, 60), rng.standard_normal(60)
    augmented = np.zeros((60 + order, 60 + order))
    augmented[:60, :60], augmented[:60, 60] = time * A, v
    augmented[60:-1, 61:] = np.eye(order - 1)  # the last column of its exponential is φ_order(time A) v
    exact = expm(augmented)[:60, -1]
    for tolerance in (1e-2, 1e-5, 1e-8):
        krylov = Krylov(lambda x: A @ x, v, 60)
        phi, estimate = krylov.phi(time, order, np.ones(60), tolerance)
        error = time * np.sqrt(np.mean((krylov.lift(phi) - exact) ** 2))
        # the estimate is the first term of the error's expansion: the rest is of the same size at worst
        assert estimate <= tolerance
        assert error <= 2 * tolerance + 1e-12
        assert krylov.dimension < 60


def test_a_space_that_is_too_small_says_so() -> None:
    rng = np.random.default_rng(1)
    A, v = 5 * stable_matrix(rng, 60), rng.standard_normal(60)
    krylov = Krylov(lambda x: A @ x, v, 6)
    _, error = krylov.phi(20.0, 1, np.ones(60), 1e-6)
    assert krylov.dimension == 6
    assert error > 1e-6


@given(seed=seeds, one_sided=st.booleans())
def test_directional_derivatives_are_those_of_the_field(seed: int, one_sided: bool) -> None:
    rng = np.random.default_rng(seed)
    A, B, y, x = rng.standard_normal((4, 5, 5))[:, :, 0].reshape(4, 5)
    calls = []

    def cubic(t: float, y: np.ndarray) -> np.ndarray:
        calls.append(t)
        return A * y + B * y**3

    f = cubic(0.0, y) if one_sided else None
    calls.clear()
    found = directional_derivative(cubic, 3.0, y, f)(x)
    # the step is 1e-5 (1e-7) of the state's size: truncation 1e-10 (1e-7) times the third (second) derivative
    size = np.max(np.abs(x)) * max(1.0, np.max(np.abs(y))) ** 2 * (np.max(np.abs(A)) + 6 * np.max(np.abs(B)))
    np.testing.assert_allclose(found, (A + 3 * B * y**2) * x, atol=size * (1e-6 if one_sided else 1e-9))
    assert calls == [3.0] * (1 if one_sided else 2)


# --- order --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FLOWS)
def test_steps_have_order_four(name: str) -> None:
    flow = FLOWS[name]
    exact = reference(flow, 4.0)(4.0)
    steps = np.array([16, 32, 64, 128])
    errors = []
    for n in steps:
        # every step is accepted; three unknowns fill the Krylov space, so its error is rounding alone
        run = solve_ivp(
            flow,
            (0, 4),
            START,
            method=ExponentialRosenbrock,
            first_step=4 / n,
            max_step=4 / n,
            rtol=1e-6,
            atol=1e3,
        )
        assert len(run.t) == n + 1
        errors.append(np.linalg.norm(run.y[:, -1] - exact))
    slopes = -np.diff(np.log(errors)) / np.diff(np.log(steps))
    # the error is C h⁴ (1 + O(h)): at h = 1/8 … 1/32 the slope may be off by that much
    np.testing.assert_allclose(slopes, 4.0, atol=0.25)
    assert abs(slopes[-1] - 4) < 0.1


@pytest.mark.parametrize("name", FLOWS)
def test_the_dense_output_has_the_error_of_the_steps(name: str) -> None:
    flow = FLOWS[name]
    exact = reference(flow, 4.0)
    for n in (8, 32, 128):
        run = solve_ivp(
            flow,
            (0, 4),
            START,
            method=ExponentialRosenbrock,
            first_step=4 / n,
            max_step=4 / n,
            rtol=1e-6,
            atol=1e3,
            dense_output=True,
        )
        at_steps = np.max(np.abs(run.y - exact(run.t)))
        between = np.linspace(0, 4, 7 * n + 1)
        assert np.max(np.abs(run.sol(between) - exact(between))) <= 1.5 * at_steps
        np.testing.assert_allclose(run.sol(run.t), run.y, rtol=1e-13)


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8, 1e-10])
def test_adaptive_steps_within_solve_ivp_keep_the_tolerance(name: str, rtol: float) -> None:
    flow, ts = FLOWS[name], np.array([0.0, 0.7, 3.0, 8.0])
    run = solve_ivp(flow, (0, 8), START, method=ExponentialRosenbrock, t_eval=ts, rtol=rtol, atol=rtol)
    assert run.status == 0
    np.testing.assert_array_equal(run.t, ts)
    # the tolerance is on each step; a flow that contracts adds up the errors of a few steps
    assert np.all(np.abs(run.y - reference(flow, 8.0)(ts)) <= 10 * rtol * (1 + np.abs(run.y)))


def test_backward_integration_undoes_forward_integration() -> None:
    flow = FLOWS["driven"]
    end = reference(flow, 2.0)(2.0)
    run = solve_ivp(flow, (2, 0), end, method=ExponentialRosenbrock, rtol=1e-9, atol=1e-9)
    assert run.t[-1] == 0.0
    # errors grow backwards in time by e^{t/τt} = e^4 at most
    np.testing.assert_allclose(run.y[:, -1], START, atol=10 * 1e-9 * np.exp(4))


# --- linear systems -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("duration", [1e-3, 1.0, 1e3, 1e6])
def test_a_linear_system_takes_one_exact_step_however_long(duration: float) -> None:
    rng = np.random.default_rng(0)
    A, y = stable_matrix(rng, 8), rng.standard_normal(8)
    solver = ExponentialRosenbrock(
        lambda t, y: A @ y, 0.0, y, duration, first_step=duration, rtol=1e-6, atol=1e-8
    )
    solver.step()
    assert (solver.status, solver.t, solver.n_rejected_last) == ("finished", duration, 0)
    # products by differences of a step 1e-5: rounding of 1e-16/1e-5 at each, summed over the space
    np.testing.assert_allclose(solver.y, expm(duration * A) @ y, atol=1e-9)


def test_a_growing_linear_system_is_exact_too() -> None:
    A, y = np.array([[0.5, 1.0], [0.0, 0.3]]), np.array([1.0, -2.0])
    run = solve_ivp(lambda t, y: A @ y, (0, 10), y, method=ExponentialRosenbrock, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(run.y[:, -1], expm(10 * A) @ y, rtol=1e-6)


def test_a_space_too_small_for_the_step_shortens_it() -> None:
    rng = np.random.default_rng(0)
    A, y = 5 * stable_matrix(rng, 60), rng.standard_normal(60)
    run = solve_ivp(
        lambda t, y: A @ y,
        (0, 20),
        y,
        method=ExponentialRosenbrock,
        first_step=20.0,
        max_dimension=8,
        rtol=1e-6,
        atol=1e-8,
    )
    assert len(run.t) > 5
    np.testing.assert_allclose(run.y[:, -1], expm(20 * A) @ y, atol=10 * 1e-6)


def test_the_last_step_ends_exactly_at_the_bound() -> None:
    spans = np.sort(np.random.default_rng(0).uniform(-10, 10, (200, 2)))
    assert any(t0 + (bound - t0) != bound for t0, bound in spans)  # t + h would miss some of them
    for t0, bound in spans:
        solver = ExponentialRosenbrock(lambda t, y: -y, t0, np.ones(2), bound, first_step=20.0)
        solver.step()
        assert (solver.status, solver.t) == ("finished", bound)


# --- stiff and singular flows -------------------------------------------------------------------------------


def test_a_target_that_follows_at_once_costs_no_small_steps() -> None:
    flow, explicit_steps = mode_flow(1e-4), 30 / 1e-4 / 6.5  # stability limit of DOP853, ρ h < 6.5
    exact = solve_ivp(flow, (0, 30), START, method="Radau", rtol=1e-11, atol=1e-13).y[:, -1]
    run = solve_ivp(flow, (0, 30), START, method=ExponentialRosenbrock, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(run.y[:, -1], exact, rtol=10 * 1e-8)
    assert len(run.t) < explicit_steps / 100


def test_a_start_at_rest_stays_at_rest() -> None:
    rest = np.array([0.5, 0.5, 0.5])
    run = solve_ivp(FLOWS["autonomous"], (0, 1e3), rest, method=ExponentialRosenbrock)
    np.testing.assert_array_equal(run.y[:, -1], rest)


def test_a_solution_that_blows_up_is_a_failed_step_not_a_wrong_one() -> None:
    run = solve_ivp(lambda t, y: y**2, (0, 2), [1.0], method=ExponentialRosenbrock, rtol=1e-6, atol=1e-8)
    assert run.status == -1
    # y = 1/(1 − t): errors of 1e-6 in each step shift the pole by about as much
    assert run.t[-1] == pytest.approx(1.0, abs=1e-5)


def test_the_spectral_radius_is_that_of_the_jacobian() -> None:
    A = np.diag([-1.0, -30.0, 2.0])
    solver = ExponentialRosenbrock(lambda t, y: A @ y, 0.0, np.ones(3), 1.0)
    solver.step()
    assert solver.spectral_radius() == pytest.approx(30.0, rel=1e-8)


@pytest.mark.parametrize(("rtol", "products_per_vector"), [(1e-4, 1), (1e-8, 2)])
def test_loose_tolerances_halve_the_cost_of_a_product(rtol: float, products_per_vector: int) -> None:
    calls = []

    def counted(t: float, y: np.ndarray) -> np.ndarray:
        calls.append(t)
        return FLOWS["autonomous"](t, y)

    solver = ExponentialRosenbrock(counted, 0.0, START, 1e-3, first_step=1e-3, rtol=rtol, atol=1.0)
    calls.clear()
    solver.step()
    # three spaces of dimension three, which the remainder's products come from; four stages and the field's clock
    assert len(calls) == products_per_vector * 3 * 3 + 4
