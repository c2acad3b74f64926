"""Trajectories against SciPy, JAX and closed forms, and errors that stay within what was asked."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.optimize import brentq

from dynamics.fields.matrices import full_field, no_predictor_field
from dynamics.fields.modes import (
    fixed_target_mode_field,
    full_mode_field,
    no_ema_mode_field,
    proportional_ema_mode_field,
)
from dynamics.fields.vector_field import VectorField
from dynamics.integration.integrate import METHODS, integrate
from dynamics.states import MatrixState, ModeState, pack, random_state, unpack
from dynamics.system import MatrixSystem, ModeSystem
from dynamics.variants import FIELDS

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


# --- second methods -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "weight_decay", "method"),
    [
        *((seed, 0.05 * (seed % 2), "auto") for seed in range(8)),
        (0, 0.0, "exponential"),
        (1, 0.05, "explicit"),
    ],
)
def test_the_full_flow_is_what_scipy_finds_from_the_printed_equations(
    seed: int, weight_decay: float, method: str
) -> None:
    rng = np.random.default_rng(seed)
    n1, n2 = (5, 3) if seed % 2 else (3, 4)
    rates = random_rates(rng) | {"weight_decay": weight_decay}
    system = random_system(rng, n1, **rates)
    S, D = system.sigma_s, system.sigma_d
    assert np.linalg.norm(S @ D - D @ S) > 0.01 * np.linalg.norm(S @ D)
    start = MatrixState(
        rng.normal(0, 0.4, (n2, n1)), rng.normal(0, 0.4, (n2, n2)), rng.normal(0, 0.4, (n2, n1))
    )
    ts = np.array([0.0, 0.2, 1.0, 5.0, 12.0])

    def right_hand_side(t: float, y: np.ndarray) -> np.ndarray:
        W = y[: n2 * n1].reshape(n2, n1)
        P = y[n2 * n1 : n2 * n1 + n2 * n2].reshape(n2, n2)
        Th = y[n2 * n1 + n2 * n2 :].reshape(n2, n1)
        E = Th @ D - P @ W @ S
        dW = P.T @ E / rates["tau_online"] - weight_decay * W
        dP = E @ W.T / rates["tau_predictor"] - weight_decay * P
        dTh = (W - Th) / rates["tau_target"]
        return np.concatenate([dW.ravel(), dP.ravel(), dTh.ravel()])

    exact = solve_ivp(
        right_hand_side, (0, 12), pack(start), method="DOP853", t_eval=ts, rtol=1e-12, atol=1e-14
    )
    run = integrate(start, system, full_field, ts=ts, rtol=1e-10, atol=1e-12, method=method)
    for found, expected in zip(run.states, unpack(exact.y.T, start), strict=True):
        assert_allclose(found, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_a_field_that_depends_on_time_is_followed_through_time(method: str) -> None:
    system = ModeSystem([1.0, 0.1], [0.5, 0.05])
    start = system.state(0.5, 0.4)

    def ratio(t: Any) -> Any:
        return 1 + 0.5 * np.sin(t / 10)

    def right_hand_side(t: float, y: np.ndarray) -> np.ndarray:
        w1, w2 = y.reshape(2, 2)
        e = ratio(t) * w1 * system.lambda_d - w2 * w1 * system.lambda_s
        return np.concatenate([w2 * e, w1 * e])

    y0 = np.concatenate([start.online, start.predictor])
    exact = solve_ivp(right_hand_side, (0, 200), y0, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    field = proportional_ema_mode_field(ratio)
    run = integrate(start, system, field, 200.0, rtol=1e-8, atol=1e-10, method=method)
    assert_allclose(np.concatenate(run.final[:2]), exact, rtol=10 * 1e-8)
    assert_array_equal(run.states.target, ratio(run.ts)[:, None] * run.states.online)


@pytest.fixture(scope="module")
def small_network() -> tuple[MatrixState, MatrixSystem]:
    system = random_system(np.random.default_rng(4), 4, tau_predictor=0.5, tau_target=2.0, weight_decay=0.02)
    return random_state(4, 2, scale_online=0.5, scale_predictor=0.3, seed=4), system


def under_diffrax(
    field: VectorField, start: MatrixState, system: Any, ts: np.ndarray, solver: str = "Tsit5", **options: Any
) -> Any:
    import diffrax
    import jax.numpy as jnp

    return diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: field(t, y, system)),
        getattr(diffrax, solver)(),
        ts[0],
        ts[-1],
        None,
        MatrixState(*map(jnp.asarray, field.constrain(0.0, start, system))),
        saveat=diffrax.SaveAt(ts=jnp.asarray(ts)),
        stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-12),
        **options,
    ).ys


@pytest.mark.parametrize(("name", "solver"), [("full", "Dopri8"), ("symmetric-predictor", "Tsit5")])
def test_the_same_fields_integrate_under_diffrax(
    name: str, solver: str, small_network: tuple[MatrixState, MatrixSystem]
) -> None:
    (start, system), field, ts = small_network, FIELDS[name], np.array([0.0, 0.5, 3.0, 10.0])
    ours = integrate(start, system, field, ts=ts, rtol=1e-10, atol=1e-12).states
    theirs = under_diffrax(field, start, system, ts, solver)
    for k, t in enumerate(ts):
        # theirs lives on the variant's states where it is evaluated, ours also where it is handed out
        state = field.constrain(t, MatrixState(*(np.asarray(part[k]) for part in theirs)), system)
        for found, expected in zip(ours, state, strict=True):
            assert_allclose(found[k], expected, rtol=0, atol=2 * TIGHT)


def test_the_gradient_through_diffrax_is_the_slope_of_our_end_points(
    small_network: tuple[MatrixState, MatrixSystem],
) -> None:
    import diffrax
    import jax

    (start, system), ts = small_network, np.array([0.0, 4.0])
    moments_and_rates = {field.name: getattr(system, field.name) for field in fields(system)}

    def end_by_diffrax(weight_decay: Any) -> Any:
        traced = SimpleNamespace(**moments_and_rates | {"weight_decay": weight_decay})
        states = under_diffrax(full_field, start, traced, ts, adjoint=diffrax.ForwardMode())
        return MatrixState(*(part[-1] for part in states))

    def end(weight_decay: float) -> np.ndarray:
        other = MatrixSystem(**moments_and_rates | {"weight_decay": weight_decay})
        return pack(integrate(start, other, full_field, ts[-1], rtol=1e-11, atol=1e-13).final)

    eta, h = 0.02, 2e-3
    slopes = (8 * (end(eta + h) - end(eta - h)) - (end(eta + 2 * h) - end(eta - 2 * h))) / (12 * h)
    gradient = pack(jax.jacfwd(end_by_diffrax)(eta))
    # slopes are of size t = 4; differences: h⁴ t⁵/30 = 5e-10, and the runs' error of 10 rtol over h: 5e-8
    assert_allclose(gradient, slopes, rtol=0, atol=1e-7)
    assert np.max(np.abs(gradient)) > 0.1


# --- honest errors ------------------------------------------------------------------------------------------


def linear_network(rtol: float, atol: float, method: str) -> tuple[np.ndarray, np.ndarray]:
    """No predictor: rows of (W, Θ) times the exponential of a block matrix."""
    rng = np.random.default_rng(0)
    system = random_system(rng, 5, tau_online=0.7, tau_target=2.0)
    W, Th = rng.normal(0, 0.5, (2, 3, 5))
    ts = np.array([0.0, 0.5, 2.0, 7.0, 20.0])
    A = np.block([[-system.sigma_s / 0.7, np.eye(5) / 2.0], [system.sigma_d / 0.7, -np.eye(5) / 2.0]])
    exact = np.array([np.hstack([W, Th]) @ expm(t * A) for t in ts])
    start = MatrixState(W, np.eye(3), Th)
    run = integrate(start, system, no_predictor_field, ts=ts, rtol=rtol, atol=atol, method=method)
    return np.concatenate([run.states.online, run.states.target], axis=2), exact


def logistic_mode(rtol: float, atol: float, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Fixed target, c = 0: u = w1 w2 obeys du/dt = 2u(θλd − λs u)."""
    lambda_s, lambda_d, th, w0 = 1.3, 0.6, 0.8, 0.05
    ts = np.array([0.0, 1.0, 5.0, 10.0, 20.0, 40.0])
    pull = th * lambda_d
    u = pull * w0**2 / (lambda_s * w0**2 + (pull - lambda_s * w0**2) * np.exp(-2 * pull * ts))
    system = ModeSystem(lambda_s, lambda_d)
    start = system.state(w0, w0, th)
    run = integrate(start, system, fixed_target_mode_field, ts=ts, rtol=rtol, atol=atol, method=method)
    return np.hstack(run.states[:2]), np.sqrt(u)[:, None].repeat(2, axis=1)


def implicit_mode(rtol: float, atol: float, method: str) -> tuple[np.ndarray, np.ndarray]:
    """No EMA, c > 0: t = [F(w2(t)) − F(w2(0))]/(λs(r² + c)) (R14)."""
    lambda_s, lambda_d, w1, w2 = 1.2, 0.6, 0.6, 0.1
    r, c = lambda_d / lambda_s, w1**2 - w2**2
    ts = np.array([0.0, 1.0, 3.0, 6.0, 12.0])

    def clock(w: float) -> float:
        F = 0.5 * np.log(w**2 + c) + r * np.arctan(w / np.sqrt(c)) / np.sqrt(c) - np.log(r - w)
        return float(F / (lambda_s * (r**2 + c)))

    w2s = np.array(
        [w2, *(brentq(lambda w, t=t: clock(w) - clock(w2) - t, w2, r - 1e-13, xtol=1e-15) for t in ts[1:])]
    )
    system = ModeSystem(lambda_s, lambda_d)
    run = integrate(
        system.state(w1, w2, w1), system, no_ema_mode_field, ts=ts, rtol=rtol, atol=atol, method=method
    )
    return np.hstack(run.states[:2]), np.column_stack([np.sqrt(c + w2s**2), w2s])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("problem", [linear_network, logistic_mode, implicit_mode])
def test_the_error_stays_within_ten_times_what_was_asked(problem: Any, method: str) -> None:
    errors = []
    for rtol in 10.0 ** -np.array([4, 6, 8, 11] if method == "exponential" else range(4, 12)):
        atol = 1e-2 * rtol
        found, exact = problem(rtol, atol, method)
        errors.append(np.max(np.abs(found - exact)))
        # 1e-14: rounding of the closed forms
        assert np.all(np.abs(found - exact) <= 10 * (rtol * np.abs(exact) + atol) + 1e-14), rtol
    # and the tolerance is what sets it: seven decades of it bring four of error at least
    assert errors[-1] < 1e-4 * errors[0]


@pytest.mark.parametrize("method", METHODS)
def test_a_target_that_follows_at_once_is_no_obstacle(method: str) -> None:
    # θ = w1 to order τt = 1e-4: the flow without EMA is the limit
    stiff = ModeSystem(1.0, 0.5, tau_target=1e-4)
    run = integrate(stiff.state(0.3, 0.1, 0.3), stiff, full_mode_field, 1.0, method=method)
    limit = integrate(ONE.state(0.3, 0.1, 0.3), ONE, no_ema_mode_field, 1.0).final
    assert_allclose(np.ravel(run.final), np.ravel(limit), rtol=0, atol=1e-4)
    exact = solve_ivp(
        lambda t, y: pack(full_mode_field(t, ModeState(*y.reshape(3, 1)), stiff)),
        (0, 1),
        [0.3, 0.1, 0.3],
        method="Radau",
        rtol=1e-11,
        atol=1e-13,
    ).y[:, -1]
    assert_allclose(np.ravel(run.final), exact, rtol=10 * 1e-8)
