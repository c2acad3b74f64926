"""Laws of the vector fields: norms, losses with other moments, conservation, equivariance and scaling."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from view_samples import (
    MATRIX_VARIANTS,
    MODE_VARIANTS,
    RATES,
    assert_states_close,
    encode,
    loss,
    matrix_problem,
    mode_problem,
    view_pairs,
)

from dynamics.data.moments import Moments
from dynamics.data.objective_moments import byol_prime_moments, raft_moments
from dynamics.fields.matrices import error_matrix, fast_predictor_field, full_field, no_stop_gradient_field
from dynamics.fields.modes import no_stop_gradient_mode_field
from dynamics.fields.predictors import feature_covariance, optimal_predictor, times
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem

EPS = np.finfo(float).eps

seeds = st.integers(0, 2**32 - 1)

DIRECT = ("directpred", "directset")


def condition(state: MatrixState, system: MatrixSystem) -> float:
    return float(np.linalg.cond(feature_covariance(state.online, system)))


def rounding(name: str, state: MatrixState, system: MatrixSystem) -> float:
    """A hundred roundings of a cubic polynomial in the state, times the condition of F where P needs it."""
    size = sum(float(np.linalg.norm(part)) for part in MATRIX_VARIANTS[name].constrain(0.0, state, system))
    functional = name in (*DIRECT, "fast-predictor")
    return (
        100 * EPS * size**3 * np.linalg.norm(system.sigma_s) * (condition(state, system) if functional else 1)
    )


# --- no stop-gradient (R12) ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_without_stop_gradient_the_norm_falls_with_the_loss(seed: int) -> None:
    state, _, x1, x2 = matrix_problem(seed)
    system = MatrixSystem(x1.T @ x1 / len(x1), x2.T @ x1 / len(x1), tau_online=1.0, tau_predictor=0.6)
    W, P, _ = state
    rate = 2 * np.sum(W * no_stop_gradient_field(0.0, state, system).online)
    assert_allclose(rate, -4 * loss(W, P, W, x1, x2), rtol=1e-12)
    assert rate < 0


@pytest.mark.parametrize("seed", range(5))
def test_without_stop_gradient_the_weights_fall_mode_by_mode(seed: int) -> None:
    state, _, x1, x2 = mode_problem(seed)
    w1, w2, _ = state
    lambda_s, lambda_d = np.mean(x1**2, axis=0), np.mean(x2 * x1, axis=0)
    rate = 2 * w1 * no_stop_gradient_mode_field(0.0, state, ModeSystem(lambda_s, lambda_d)).online
    assert_allclose(rate, -2 * np.mean((w2 * w1 * x1 - w1 * x2) ** 2, axis=0), rtol=1e-12)


# --- losses whose flow is this flow with other moments ------------------------------------------------------


def descent(objective: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    """Gradient flow of an objective of (W, P), with time constants, weight decay and the target's EMA."""
    W, P, Th = state
    dW, dP = jax.grad(objective, (0, 1))(W, P)
    return MatrixState(
        -dW / system.tau_online - system.weight_decay * W,
        -dP / system.tau_predictor - system.weight_decay * P,
        (W - Th) / system.tau_target,
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_symmetric_loss_runs_at_twice_the_speed(seed: int) -> None:
    # R29. Two views with equal moments and symmetric correlation, neither a reordering of the other:
    # x1 = A u and x2 = A(C u + sqrt(1 − C²) v) with u and v white and uncorrelated on the sample
    rng = np.random.default_rng(seed)
    u, v = np.hsplit(np.sqrt(20) * np.linalg.qr(rng.standard_normal((20, 8)))[0], 2)
    A, c = rng.standard_normal((4, 4)), np.array([0.9, 0.5, 0.2, -0.1])
    x1, x2 = u @ A.T, (c * u + np.sqrt(1 - c**2) * v) @ A.T
    assert_allclose(x1.T @ x1, x2.T @ x2, rtol=0, atol=1e-12)
    state, _, _, _ = matrix_problem(seed)
    system = MatrixSystem(A @ A.T, (A * c) @ A.T, tau_online=1.3, tau_predictor=0.6)
    Th = state.target
    symmetric = descent(lambda W, P: loss(W, P, Th, x1, x2) + loss(W, P, Th, x2, x1), state, system)
    once = full_field(0.0, state, system)
    assert_states_close(symmetric[:2], [2 * part for part in once[:2]])


@pytest.mark.parametrize("seed", range(3))
def test_one_gradient_step_is_dt_times_the_factor_in_front_of_the_loss(seed: int) -> None:
    # a step of size ε is dt = ε with the ½, 2ε without it, 4ε for the symmetric loss without it
    state, _, x1, x2 = matrix_problem(seed)
    system = MatrixSystem(x1.T @ x1 / len(x1), x2.T @ x1 / len(x1))
    W, P, Th = state
    step = 1e-3

    def squared(W: Any, P: Any, first: Any, second: Any) -> Any:
        return jnp.mean(jnp.sum((encode(P, encode(W, first)) - encode(Th, second)) ** 2, axis=1))

    flow = full_field(0.0, state, system)
    for factor, objective in (
        (1, lambda W, P: loss(W, P, Th, x1, x2)),
        (2, lambda W, P: squared(W, P, x1, x2)),
        (4, lambda W, P: squared(W, P, x1, x2) + squared(W, P, x2, x1)),
    ):
        slopes = jax.grad(objective, (0, 1))(W, P)
        moved = (W - step * slopes[0], P - step * slopes[1])
        assert_states_close(
            moved, [part + factor * step * d for part, d in zip(state[:2], flow[:2], strict=True)]
        )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sign", [1, -1])
def test_byol_prime_and_raft_are_byol_with_other_moments(seed: int, sign: int) -> None:
    # R24, R26: α E‖PW(x1 − x2)‖² ± β E‖PW x1 − sg(Θ x1)‖², up to the common factor 2
    alpha, beta = 0.8, 1.7
    state, _, x1, x2 = matrix_problem(seed)
    Th = state.target

    def objective(W: Any, P: Any) -> Any:
        alignment = jnp.mean(jnp.sum(encode(P, encode(W, x1 - x2)) ** 2, axis=1))
        cross = 2 * loss(W, P, jax.lax.stop_gradient(Th), x1, x1)
        return (alpha * alignment + sign * beta * cross) / 2

    moments = Moments(x1.T @ x1 / len(x1), x2.T @ x1 / len(x1))
    other = (byol_prime_moments if sign > 0 else raft_moments)(moments, alpha, beta)
    system = MatrixSystem(*other, **RATES)
    assert_states_close(full_field(0.0, state, system), descent(objective, state, system))


# --- fast predictor (R21) -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_fast_predictor_conserves_the_gram_matrix(seed: int) -> None:
    state, _, x1, x2 = matrix_problem(seed)
    system = MatrixSystem(x1.T @ x1 / len(x1), x2.T @ x1 / len(x1), tau_online=1.3)
    W, _, Th = state
    dW = fast_predictor_field(0.0, state, system).online
    atol = rounding("fast-predictor", state, system)
    assert atol < 1e-6
    assert_allclose(dW @ W.T + W @ dW.T, 0.0, atol=atol)

    # with W in the place of Θ in the predictor, conservation needs Θ = W
    F = feature_covariance(W, system)
    P = times(W, system.sigma_d) @ W.T @ np.linalg.inv(F)
    for target, conserved in ((W, True), (Th, False)):
        E = error_matrix(MatrixState(W, P, target), system)
        change = P.T @ E @ W.T + W @ E.T @ P
        assert np.max(np.abs(change)) < atol if conserved else np.max(np.abs(change)) > 0.1
    assert_allclose(optimal_predictor(state._replace(target=W), system), P, rtol=0, atol=atol)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_the_fast_predictor_leaves_out_directions_that_no_feature_reaches(rank: int) -> None:
    rng = np.random.default_rng(rank)
    x1, x2 = view_pairs(4, rank)
    system = MatrixSystem(x1.T @ x1 / len(x1), x2.T @ x1 / len(x1))
    W = rng.standard_normal((3, rank)) @ rng.standard_normal((rank, 4))
    state = system.state(W, np.zeros((3, 3)), rng.standard_normal((3, 4)))
    P = optimal_predictor(state, system)
    assert_allclose(error_matrix(state._replace(predictor=P), system) @ W.T, 0.0, atol=1e-9)
    assert np.linalg.matrix_rank(P, tol=1e-9) == rank


# --- equivariance and scaling -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MATRIX_VARIANTS)
@settings(max_examples=20)
@given(seed=seeds)
def test_orthogonal_equivariance(name: str, seed: int) -> None:
    # W → Q W Uᵀ, P → Q P Qᵀ, Θ → Q Θ Uᵀ, Σ → U Σ Uᵀ turns the flow with it
    state, system, _, _ = matrix_problem(seed)
    assume(condition(state, system) < 1e8)
    rng = np.random.default_rng(seed)
    Q, U = (np.linalg.qr(rng.standard_normal((n, n)))[0] for n in (3, 4))

    def turned(y: Any) -> MatrixState:
        return MatrixState(Q @ y.online @ U.T, Q @ y.predictor @ Q.T, Q @ y.target @ U.T)

    sigmas = (U @ sigma @ U.T for sigma in (system.sigma_s, system.sigma_d))
    elsewhere = MatrixSystem(*((sigma + sigma.T) / 2 for sigma in sigmas), **RATES)
    field = MATRIX_VARIANTS[name]
    assert_states_close(
        field(0.0, turned(state), elsewhere),
        turned(field(0.0, state, system)),
        0,
        rounding(name, state, system),
    )


@pytest.mark.parametrize("name", MATRIX_VARIANTS)
@settings(max_examples=20)
@given(seed=seeds, unit=st.floats(0.1, 10.0))
def test_units_of_time_and_of_the_inputs(name: str, seed: int, unit: float) -> None:
    state, system, _, _ = matrix_problem(seed)
    assume(condition(state, system) < 1e8)
    field = MATRIX_VARIANTS[name]
    flow = field(0.0, state, system)
    atol = 10 * rounding(name, state, system)  # the flow is scaled by 10 at most
    # slower clocks: τ → uτ, η → η/u divides the flow by u
    slower = MatrixSystem(
        system.sigma_s,
        system.sigma_d,
        **{key: value / unit if key == "weight_decay" else value * unit for key, value in RATES.items()},
    )
    assert_states_close(field(0.0, state, slower), [part / unit for part in flow], 0, atol)
    # inputs in other units: x → √u x, so Σ → uΣ; W → W/√u then sees the same features, at τo → uτo
    inputs = MatrixSystem(
        unit * system.sigma_s, unit * system.sigma_d, **{**RATES, "tau_online": RATES["tau_online"] * unit}
    )
    root = np.sqrt(unit)
    shrunk = MatrixState(state.online / root, state.predictor, state.target / root)
    expected = MatrixState(flow.online / root, flow.predictor, flow.target / root)
    assert_states_close(field(0.0, shrunk, inputs), expected, 0, atol)


@pytest.mark.parametrize("name", [name for name in MATRIX_VARIANTS if name not in DIRECT])
@settings(max_examples=20)
@given(seed=seeds, unit=st.floats(0.1, 10.0))
def test_units_of_the_features(name: str, seed: int, unit: float) -> None:
    # f → u f: W → uW and Θ → uΘ at τp → u²τp; the predictor, a ratio of features, stays
    state, system, _, _ = matrix_problem(seed)
    assume(condition(state, system) < 1e8)
    field = MATRIX_VARIANTS[name]
    scaled = MatrixSystem(
        system.sigma_s, system.sigma_d, **{**RATES, "tau_predictor": RATES["tau_predictor"] * unit**2}
    )
    flow = field(0.0, state, system)
    grown = MatrixState(unit * state.online, state.predictor, unit * state.target)
    expected = MatrixState(unit * flow.online, flow.predictor, unit * flow.target)
    atol = 10 * rounding(name, state, system)
    assert_states_close(field(0.0, grown, scaled), expected, 0, atol)


@pytest.mark.parametrize("name", MODE_VARIANTS)
@given(seed=seeds)
def test_modes_are_odd_in_encoder_and_target(name: str, seed: int) -> None:
    # (w1, θ) → (−w1, −θ) is the 1×1 case of Q W Uᵀ with U = −1; tied weights have no such mirror
    state, system, _, _ = mode_problem(seed, tied=name == "tied")
    w1, w2, th = state
    field = MODE_VARIANTS[name]
    dw1, dw2, dth = field(0.0, state, system)
    mirrored = field(0.0, ModeState(-w1, w2, -th), system)
    if name == "tied":
        assert np.any(mirrored.online != -dw1)
    else:
        assert_states_close(mirrored, (-dw1, dw2, -dth))
