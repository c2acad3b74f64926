"""Implicit steps for flows of matrices: the linearisation, the preconditioner, the steps, what grows, and rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from dynamics.fields.matrices import (
    fixed_target_field,
    full_field,
    no_ema_field,
    no_predictor_field,
    no_stop_gradient_field,
)
from dynamics.fields.vector_field import VectorField
from dynamics.integration.implicit import BackwardDifferences
from dynamics.integration.integrate import integrate
from dynamics.integration.linearised import LADDER, Bases, MatrixFlow, implicit_pays
from dynamics.integration.rest import Flow, travel, travel_by_resolvent
from dynamics.integration.trajectory import Status
from dynamics.states import MatrixState, pack, random_state
from dynamics.system import MatrixSystem

FIELDS = (full_field, fixed_target_field, no_ema_field)
seeds = pytest.mark.parametrize("seed", range(4))
fields = pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)


def random_moments(rng: np.random.Generator, kind: str, n1: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Σs and Σd with 0 ≼ Σd ≼ Σs that do not commute; of less than full rank, or with equal eigenvalues."""
    A, B = rng.standard_normal((2, n1, n1))
    if kind == "singular":
        A[2:], B[2:] = 0.0, 0.0
    sigma_d, noise = A.T @ A / n1, B.T @ B / n1
    if kind == "degenerate":
        sigma_d, noise = np.diag([0.8, 0.8, 0.8, 0.3, 0.3, 0.0]), np.diag([0.2, 0.2, 0.2, 0.7, 0.7, 1.0])
        Q = np.linalg.qr(A)[0]
        sigma_d, noise = Q @ sigma_d @ Q.T, Q @ noise @ Q.T
    sigma_s = sigma_d + noise
    return (sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2


def network(
    seed: int, field: VectorField, kind: str = "generic", *, weight_decay: float = 0.0, n2: int = 3
) -> tuple[MatrixSystem, MatrixState]:
    rng = np.random.default_rng(seed)
    taus = np.exp(rng.uniform(-0.7, 0.7, 3)).tolist()
    rates = dict(zip(("tau_online", "tau_predictor", "tau_target"), taus, strict=True))
    system = MatrixSystem(*random_moments(rng, kind), **rates, weight_decay=weight_decay)
    start = random_state(6, n2, scale_online=0.4, scale_predictor=0.4, seed=seed)
    target = start.online if field is not fixed_target_field else rng.standard_normal((n2, 6))
    return system, field.constrain(0.0, start._replace(target=target), system)


def jacobian(flow: MatrixFlow, field: VectorField, y: np.ndarray) -> np.ndarray:
    """∂f/∂y by JAX, from the field itself."""
    import jax
    import jax.numpy as jnp

    def f(y: Any) -> Any:
        derivative = field(0.0, MatrixState(*flow.parts(y)), flow.system)
        return jnp.concatenate([jnp.ravel(part) for part in derivative])

    with jax.enable_x64(True):
        return np.asarray(jax.jacfwd(f)(jnp.asarray(y)))


def solved(flow: MatrixFlow, y: np.ndarray, c: float, b: np.ndarray, *, long: bool) -> np.ndarray:
    """x of (I − cJ) x = b, as far as the preconditioner alone knows it."""
    system = flow.at(y).condensed(c)
    return system.whole(system.preconditioner(long=long)(system.right(b)), b)


# --- linear algebra -----------------------------------------------------------------------------------------


@fields
@seeds
def test_the_linearisation_is_the_derivative_of_the_field(field: VectorField, seed: int) -> None:
    system, state = network(seed, field, weight_decay=0.1)
    flow = MatrixFlow(system, field, 3)
    y = pack(flow.turned(state))
    x = np.random.default_rng(seed).standard_normal(y.size)
    for c in (0.1, 10.0):
        b = x - c * jacobian(flow, field, y) @ x
        condensed = flow.at(y).condensed(c)
        # b has the size of cJ x, whose rounding is what is left
        atol = 1e-14 * y.size * np.max(np.abs(b))
        kept = x[: condensed.right(b).size]
        assert_allclose(condensed.product(kept), condensed.right(b), rtol=0, atol=atol)
        assert_allclose(condensed.whole(kept, b), x, rtol=0, atol=atol)


@fields
@seeds
@pytest.mark.parametrize("c", [1e-2, 1.0, 1e3])
@pytest.mark.parametrize("given", ["vectors", "matrices"])
def test_where_the_moments_commute_the_preconditioner_is_exact(
    field: VectorField, seed: int, c: float, given: str
) -> None:
    rng = np.random.default_rng(seed)
    lambda_s = rng.uniform(0.1, 2.0, 6)
    lambda_d = lambda_s * rng.uniform(0, 1, 6)
    moments = (lambda_s, lambda_d) if given == "vectors" else (np.diag(lambda_s), np.diag(lambda_d))
    system = MatrixSystem(*moments, tau_online=0.7, tau_predictor=1.3, tau_target=2.0, weight_decay=0.05)
    _, state = network(seed, field)
    flow = MatrixFlow(system, field, 3)
    y = pack(flow.turned(state))
    A = np.eye(y.size) - c * jacobian(flow, field, y)
    b = rng.standard_normal(y.size)
    for long in (False, True):
        x = solved(flow, y, c, b, long=long)
        # backward stable to a condition number that the elimination of w, then of p, may square
        bound = 1e3 * np.finfo(float).eps * np.linalg.cond(A) ** 2
        assert_allclose(A @ x, b, rtol=0, atol=max(bound, 1e-12) if bound < 1e-3 else 1e-3)


@pytest.mark.parametrize("rung", [0, 3])
def test_the_basis_of_long_steps_is_exact_for_predictors_of_its_size(rung: int) -> None:
    # PᵀP = κ² I, and cκ²/τo on the ladder: then I + cκ²Σs and Σd are diagonal in it
    system, state = network(1, full_field)
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))[0]
    state = state._replace(predictor=0.7 * rotation)
    flow = MatrixFlow(system, full_field, 3)
    y = pack(flow.turned(state))
    c = LADDER**rung * system.tau_online / 0.7**2
    A = np.eye(y.size) - c * jacobian(flow, full_field, y)
    b = np.random.default_rng(3).standard_normal(y.size)
    exact, other = (solved(flow, y, c, b, long=long) for long in (True, False))
    assert_allclose(A @ exact, b, rtol=0, atol=1e-9)
    assert np.max(np.abs(A @ other - b)) > 1e-2  # the basis of short steps is not


def test_the_bases_diagonalise_what_they_say() -> None:
    rng = np.random.default_rng(0)
    sigma_s, sigma_d = random_moments(rng, "generic")
    eigenvalues, Q = np.linalg.eigh(sigma_s)
    turned = Q.T @ sigma_d @ Q
    basis = Bases(eigenvalues, turned).long(LADDER**2)
    Y = basis.vectors
    assert Y is not None
    assert_allclose(Y.T @ turned @ Y, np.diag(basis.sigma_d), atol=1e-13)
    shifted = np.diag(eigenvalues) + np.eye(6) / LADDER**2
    assert_allclose(Y.T @ shifted @ Y, np.diag(basis.sigma_s + basis.unit / LADDER**2), atol=1e-13)
    assert_allclose(np.diag(Y.T @ Y), basis.unit, rtol=1e-13)


# --- against other methods ------------------------------------------------------------------------------------


def by_lsoda(start: MatrixState, system: MatrixSystem, field: VectorField, ts: np.ndarray) -> np.ndarray:
    like = Flow(start, system, field)
    return solve_ivp(
        like, (ts[0], ts[-1]), pack(start), method="LSODA", t_eval=ts, rtol=1e-12, atol=1e-14
    ).y.T


@fields
@pytest.mark.parametrize("kind", ["generic", "singular", "degenerate"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_the_error_stays_within_ten_times_what_was_asked(
    field: VectorField, kind: str, weight_decay: float
) -> None:
    ts = np.array([0.0, 0.3, 2.0, 10.0, 60.0])
    for seed in range(2):
        system, start = network(seed, field, kind, weight_decay=weight_decay)
        exact = by_lsoda(start, system, field, ts)
        for rtol in (1e-5, 1e-8):
            run = integrate(start, system, field, ts=ts, rtol=rtol, atol=1e-2 * rtol, method="implicit")
            assert run.method == "implicit"
            found = np.stack([pack(MatrixState(*parts)) for parts in zip(*run.states, strict=True)])
            size = np.max(np.abs(exact), axis=1, keepdims=True)
            # the size of the state: rotated components are controlled, so no entry is, relative to itself
            assert np.all(np.abs(found - exact) <= 10 * rtol * size), (seed, rtol)


@pytest.mark.parametrize("given", ["vectors", "matrices"])
def test_a_start_at_zero_stays_there(given: str) -> None:
    moments = [np.array([1.0, 0.5]), np.array([0.9, 0.1])]
    system = MatrixSystem(*(moments if given == "vectors" else map(np.diag, moments)))
    start = system.state(np.zeros((2, 2)), [[0.5, 0.1], [0.0, -0.2]])
    run = integrate(start, system, full_field, method="implicit")
    assert run.status is Status.STEADY
    assert_array_equal(pack(run.final), pack(start))


def test_the_trajectory_is_known_between_its_steps() -> None:
    system, start = network(5, full_field)
    run = integrate(start, system, full_field, 20.0, rtol=1e-7, atol=1e-9, method="implicit", dense=True)
    assert run.t == 20.0
    ts = np.linspace(0, 20, 77)
    found = run(ts)
    exact = by_lsoda(start, system, full_field, ts)
    flat = np.concatenate([np.reshape(part, (77, -1)) for part in found], axis=1)
    assert_allclose(flat, exact, rtol=0, atol=10 * 1e-7 * np.max(np.abs(exact)))
    assert_allclose(run(20.0).online, run.final.online, rtol=0, atol=1e-14)


@pytest.mark.parametrize("t_end", [1e-7, 0.3, 1234.5])
def test_a_run_ends_when_it_is_told_to(t_end: float) -> None:
    system, start = network(6, full_field)
    run = integrate(start, system, full_field, t_end, method="implicit")
    assert run.t == t_end
    end = integrate(start, system, full_field, t_end, method="auto")
    assert_allclose(pack(run.final), pack(end.final), rtol=0, atol=2 * 10 * 1e-8)


@pytest.mark.parametrize("long", [False, True])
def test_moments_that_do_not_commute_cost_few_products(long: bool) -> None:
    """Both bases on spectra like those of images: 128 inputs, whose eigenvalues span three decades."""
    rng = np.random.default_rng(0)
    n1, n2 = 128, 4
    falling = 200.0 / np.arange(1, n1 + 1) ** 1.5
    A, B = rng.standard_normal((2, n1, n1)) / np.sqrt(n1)
    D = (A * falling) @ A.T
    S = D + 0.1 * (B * falling) @ B.T + 0.09 * np.eye(n1)
    system = MatrixSystem((S + S.T) / 2, (D + D.T) / 2)
    start = random_state(n1, n2, scale_online=0.3 / np.sqrt(n1), scale_predictor=0.3, seed=0)
    t_end = 40.0 if long else 4.0
    run = integrate(start, system, full_field, t_end, rtol=1e-6, atol=1e-8)
    exact = integrate(start, system, full_field, t_end, rtol=1e-9, atol=1e-11, method="explicit")
    assert run.method == "implicit"
    for found, expected in zip(run.final, exact.final, strict=True):
        assert_allclose(found, expected, rtol=0, atol=10 * 1e-6 * np.max(np.abs(expected)))
    # two evaluations a step, a solve of some products, and six solves to look for growth now and then
    assert run.n_field_evaluations < 15 * run.n_steps
    assert run.n_steps < exact.n_steps / 2


# --- what grows, and rest ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-9, 1e-13])
def test_a_mode_far_below_the_tolerance_grows_in_its_own_time(size: float) -> None:
    # mode 1 is at rest at once, and steps would grow; mode 2 sits by its saddle (0, p, 0) with p < r: R5's rate there
    lambda_s, lambda_d, p = np.array([1.0, 0.1]), np.array([0.9, 0.08]), 0.4
    system = MatrixSystem(lambda_s, lambda_d)
    W = np.diag([0.9, size])
    start = system.state(W, np.diag([0.9, p]))
    # s² + s(1/τt + λs p²/τo) + (p/(τo τt))(λs p − λd) = 0
    slope, constant = 1 + lambda_s[1] * p**2, p * (lambda_s[1] * p - lambda_d[1])
    rate = (-slope + np.sqrt(slope**2 - 4 * constant)) / 2
    t = np.log(1e-3 / size) / rate
    run = integrate(start, system, full_field, t, method="implicit")
    exact = integrate(start, system, full_field, t, rtol=1e-11, atol=1e-13, method="explicit")
    # 1e-4 for each e-fold, as `_LARGEST_GROWTH` says, and (hs)³/6 with hs = 0.23 for each of five steps of low order
    assert_allclose(run.final.online[1, 1], exact.final.online[1, 1], rtol=1e-4 * rate * t + 5 * 0.23**3 / 6)
    assert run.final.online[1, 1] > 3e-4
    rested = integrate(start, system, full_field, method="implicit")
    assert rested.status is Status.STEADY
    assert_allclose(np.diag(rested.final.predictor), lambda_d / lambda_s, rtol=1e-6)


@fields
@seeds
def test_runs_come_to_rest_where_the_other_methods_do(field: VectorField, seed: int) -> None:
    system, start = network(seed, field)
    implicit, auto = (integrate(start, system, field, method=method) for method in ("implicit", "auto"))
    assert implicit.status is auto.status
    if auto.status is Status.STEADY:
        # each is within 10·(rtol + atol) of its end, by what the linearised flow says
        size = np.max(np.abs(pack(auto.final)))
        assert_allclose(pack(implicit.final), pack(auto.final), rtol=0, atol=4 * 10 * 1e-8 * size)


def test_the_way_to_rest_is_that_of_the_jacobian_itself() -> None:
    system, start = network(2, full_field)
    near = integrate(start, system, full_field, 150.0, rtol=1e-11, atol=1e-13).final
    flow = MatrixFlow(system, full_field, 3)
    y = pack(flow.turned(near))
    fun = Flow(flow.turned(near), flow.system, full_field)
    J = jacobian(flow, full_field, y)
    f = fun(0.0, y)
    augmented = np.zeros((y.size + 1, y.size + 1))
    augmented[:-1, :-1], augmented[:-1, -1] = J, f
    exact = expm(1e4 * augmented)[:-1, -1]
    size = float(np.max(np.abs(exact)))
    tolerance = np.full_like(y, size / 10)
    assert_allclose(travel(fun, 0.0, y, 1e4, tolerance), exact, rtol=0, atol=size / 10)
    for c in (1.0, 100.0):
        inverse = np.linalg.inv(np.eye(y.size) - c * J)
        way = travel_by_resolvent(f, (c, lambda x, A=inverse: A @ x), 1e4, tolerance)
        assert_allclose(way, exact, rtol=0, atol=size / 10)


def test_what_grows_goes_far_and_what_stands_still_goes_nowhere() -> None:
    rates = np.array([-1.0, -50.0, 1e-3])
    f = np.array([1e-9, 1e-9, 1e-14])
    way = travel_by_resolvent(f, (10.0, lambda x: x / (1 - 10 * rates)), 1e5, np.full(3, 1e-9))
    assert not np.max(np.abs(way)) < 1
    assert_array_equal(travel_by_resolvent(np.zeros(2), (1.0, lambda x: x), 1e5, np.ones(2)), [0, 0])


class Growing:
    """y′ = y, linearised: I − cJ = 1 − c."""

    def __init__(self, c: float = 0.0) -> None:
        self.c = c

    def condensed(self, c: float) -> Growing:
        return Growing(c)

    def right(self, b: np.ndarray) -> np.ndarray:
        return b.copy()

    def product(self, z: np.ndarray) -> np.ndarray:
        return (1 - self.c) * z

    def whole(self, z: np.ndarray, b: np.ndarray) -> np.ndarray:
        return z

    def preconditioner(self, *, long: bool) -> Callable[[np.ndarray], np.ndarray]:
        inverse = np.linalg.inv([[1 - self.c]])
        return lambda z: inverse @ z


def test_a_step_whose_system_is_singular_knows_its_growth() -> None:
    solver = BackwardDifferences(lambda t, y: y, 0.0, np.ones(1), 10.0, linearise=lambda y: Growing())
    solver._c = 1.0  # times the rate of growth
    solver._watch_growth()
    assert (solver.growth, solver._largest_c) == (1.0, 0.1)
    c, product = solver.resolvent(1e-3)
    assert np.all(travel_by_resolvent(np.ones(1), (c, product), 1e3, np.ones(1)) == np.inf)


def test_the_progress_knows_when_rest_is_expected() -> None:
    # one mode near rest: its speed falls like e^(st), s of R5, until a run whose tolerance is that speed's is at rest
    told: list[tuple[float, float]] = []
    system, start = network(2, full_field)
    run = integrate(
        start, system, full_field, method="implicit", progress=lambda t, end: told.append((t, end))
    )
    assert run.status is Status.STEADY
    later = [end for t, end in told if t > run.t / 4]
    assert later
    assert all(run.t / 4 < end < 4 * run.t for end in later)
    assert all(end >= t for t, end in told)


# --- when it is used ----------------------------------------------------------------------------------------------


def test_large_runs_take_implicit_steps_and_others_do_not() -> None:
    n1 = 128
    r = np.linspace(0.9, 0.1, n1)
    large = MatrixSystem(np.ones(n1), r)
    start = random_state(n1, 2, scale_online=0.05, scale_predictor=0.3, seed=0)
    assert integrate(start, large, full_field, 1.0).method == "implicit"
    assert not implicit_pays(start, large, no_stop_gradient_field)
    assert not implicit_pays(start._replace(online=np.zeros((33, n1))), large, full_field)
    assert not implicit_pays(start, MatrixSystem(-np.ones(n1), r), full_field)
    small, few = network(0, full_field)
    assert not implicit_pays(few, small, full_field)


@pytest.mark.parametrize(
    ("field", "n2", "message"),
    [
        (
            no_predictor_field,
            3,
            "`method` must be auto, explicit or exponential for .*no-predictor.*, got implicit, which is for",
        ),
        (full_field, 33, "`method` must be auto, .* for more than 32 features, got implicit for 33"),
    ],
)
def test_implicit_steps_are_refused_where_they_are_not_defined(
    field: VectorField, n2: int, message: str
) -> None:
    system, start = network(0, field, n2=n2)
    with pytest.raises(ValueError, match=message):
        integrate(start, system, field, 1.0, method="implicit")


def test_steps_are_of_order_five_once_they_may_be() -> None:
    system, start = network(3, full_field)
    flow = MatrixFlow(system, full_field, 3)
    turned = flow.turned(start)
    solver = BackwardDifferences(
        Flow(turned, flow.system, full_field),
        0.0,
        pack(turned),
        5.0,
        linearise=flow.at,
        rtol=1e-9,
        atol=1e-11,
    )
    while solver.status == "running":
        solver.step()
    assert solver.order == 5
    assert solver.t == 5.0
