"""The balance law as an identity of every variant and along trajectories, and the rank that it guards."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.linalg import sqrtm
from view_samples import MATRIX_VARIANTS, MODE_VARIANTS, matrix_problem, mode_problem

from dynamics.fields.matrices import error_matrix, full_field, symmetric_predictor_field
from dynamics.invariants import balance_drift, balance_matrix, eigenvalue_floor, mode_invariant, rank_floor
from dynamics.states import MatrixState, ModeState, pack, unpack
from dynamics.system import MatrixSystem, ModeSystem
from dynamics.variants import BALANCED_MODE_VARIANTS, BALANCED_VARIANTS

EPS = np.finfo(float).eps

seeds = st.integers(0, 2**32 - 1)


def rate_of_change(quantity: Any, name: str, variants: Any, state: Any, system: Any) -> np.ndarray:
    """d/dt of a function of the constrained state along a variant, by automatic differentiation."""
    field = variants[name]
    state = type(state)(*map(jnp.asarray, state))
    _, rate = jax.jvp(
        lambda y: quantity(field.constrain(0.0, y, system), system), (state,), (field(0.0, state, system),)
    )
    return np.asarray(rate)


# --- the law as an identity (R2) ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", MATRIX_VARIANTS)
@pytest.mark.parametrize("seed", range(3))
def test_balance_law_of_matrices(name: str, seed: int) -> None:
    state, system, _, _ = matrix_problem(seed)
    C = balance_matrix(MATRIX_VARIANTS[name].constrain(0.0, state, system), system)
    residual = (
        rate_of_change(balance_matrix, name, MATRIX_VARIANTS, state, system) + 2 * system.weight_decay * C
    )
    if name in BALANCED_VARIANTS:
        # sums of products of five matrices of size 3 or 4 with entries of order one
        assert_allclose(residual, 0.0, atol=1e-12)
    else:
        assert np.max(np.abs(residual)) > 0.1


@pytest.mark.parametrize("name", MODE_VARIANTS)
@pytest.mark.parametrize("seed", range(3))
def test_balance_law_of_modes(name: str, seed: int) -> None:
    state, system, _, _ = mode_problem(seed, tied=name == "tied")
    c = mode_invariant(MODE_VARIANTS[name].constrain(0.0, state, system), system)
    residual = (
        rate_of_change(mode_invariant, name, MODE_VARIANTS, state, system) + 2 * system.weight_decay * c
    )
    if name in BALANCED_MODE_VARIANTS:
        assert_allclose(residual, 0.0, atol=1e-12)
    else:
        assert np.max(np.abs(residual)) > 0.1
    if name == "tied":
        np.testing.assert_array_equal(c, 0.0)


def test_the_variants_named_exist() -> None:
    assert set(MATRIX_VARIANTS) >= BALANCED_VARIANTS
    assert set(MODE_VARIANTS) >= BALANCED_MODE_VARIANTS


@pytest.mark.parametrize("seed", range(3))
def test_symmetric_predictor_keeps_the_trace_alone(seed: int) -> None:
    state, system, _, _ = matrix_problem(seed)
    state = symmetric_predictor_field.constrain(0.0, state, system)
    W, P, _ = state
    rate = rate_of_change(balance_matrix, "symmetric-predictor", MATRIX_VARIANTS, state, system)
    residual = rate + 2 * system.weight_decay * balance_matrix(state, system)
    A = error_matrix(state, system) @ W.T
    A = A - A.T
    assert_allclose(residual, (P @ A - A @ P) / 2, atol=1e-12)
    assert_allclose(np.trace(residual), 0.0, atol=1e-12)


# --- along trajectories -------------------------------------------------------------------------------------


def test_leading_axes_are_time() -> None:
    rng = np.random.default_rng(0)
    system = MatrixSystem(np.eye(4), np.eye(4), tau_online=2.0, tau_predictor=0.3)
    states = MatrixState(*(rng.standard_normal((5, *shape)) for shape in ((3, 4), (3, 3), (3, 4))))
    C = balance_matrix(states, system)
    for t in range(5):
        W, P, _ = (part[t] for part in states)
        assert_allclose(C[t], 2.0 * np.dot(W, W.T) - 0.3 * np.dot(P.T, P), atol=100 * EPS)


@settings(max_examples=30)
@given(seed=seeds, t0=st.floats(-3.0, 3.0))
def test_drift_measures_the_departure_from_the_law(seed: int, t0: float) -> None:
    rng = np.random.default_rng(seed)
    system = MatrixSystem(np.eye(4), np.eye(4), tau_online=1.5, tau_predictor=0.4, weight_decay=0.3)
    W, P = rng.standard_normal((3, 4)), rng.standard_normal((3, 3))
    ts = t0 + np.array([0.0, 0.5, 2.0])
    shrink = np.exp(-0.3 * (ts - t0))[:, None, None]
    U, V = (np.linalg.qr(rng.standard_normal((3, n, n)))[0] for n in (4, 3))
    # W U and V P with orthogonal U and V have the C of W and P: these states obey the law exactly
    lawful = MatrixState(shrink * (W @ U), shrink * (V @ P), np.zeros((3, 3, 4)))
    size = 1.5 * np.sum(W**2) + 0.4 * np.sum(P**2)
    assert balance_drift(ts, lawful, system) <= 50 * EPS * size
    # adding X to P at one time moves C by −τp(PᵀX + XᵀP + XᵀX)
    X = 1e-3 * rng.standard_normal((3, 3))
    spoiled = lawful.predictor.copy()
    spoiled[1] += X
    Q = lawful.predictor[1]
    expected = 0.4 * np.linalg.norm(Q.T @ X + X.T @ Q + X.T @ X)
    found = balance_drift(ts, lawful._replace(predictor=spoiled), system)
    assert_allclose(found, expected, rtol=0, atol=50 * EPS * size)


def test_drift_of_modes_is_one_number_a_mode() -> None:
    system = ModeSystem(
        [1.0, 1.0], [0.5, 0.5], tau_online=np.array([1.0, 2.0]), weight_decay=np.array([0.0, 0.1])
    )
    ts = np.linspace(0.0, 3.0, 4)
    w1 = np.stack([np.full(4, 0.5), 0.7 * np.exp(-0.1 * ts)], axis=1)
    w2 = np.stack([np.full(4, 0.1), 0.2 * np.exp(-0.1 * ts)], axis=1)
    assert_allclose(balance_drift(ts, ModeState(w1, w2, w1), system), 0.0, atol=8 * EPS)
    w2[2, 1] += 0.25
    expected = (w2[2, 1]) ** 2 - (w2[2, 1] - 0.25) ** 2
    assert_allclose(
        balance_drift(ts, ModeState(w1, w2, w1), system), [0.0, expected], rtol=1e-14, atol=8 * EPS
    )


def test_drift_does_not_hide_a_diverged_trajectory() -> None:
    system = ModeSystem(1.0, 0.5)
    broken = np.array([[0.1], [np.nan]])
    assert np.isnan(balance_drift(np.array([0.0, 1.0]), ModeState(broken, broken, broken), system)[0])


def trajectory(state: MatrixState, system: MatrixSystem, ts: np.ndarray) -> MatrixState:
    solution = solve_ivp(
        lambda t, y: pack(full_field(t, unpack(y, state), system)),
        (0.0, ts[-1]),
        pack(state),
        method="DOP853",
        t_eval=ts,
        rtol=1e-12,
        atol=1e-13,
    )
    return unpack(solution.y.T, state)


# --- what the law guards (R8) -------------------------------------------------------------------------------


@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(4))
def test_law_and_floors_hold_along_the_flow(seed: int, weight_decay: float) -> None:
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((2, 5, 8))
    sigma_d, sigma_s = A @ A.T / 8, A @ A.T / 8 + B @ B.T / 8
    system = MatrixSystem(sigma_s, sigma_d, tau_online=1.4, tau_predictor=0.6, weight_decay=weight_decay)
    state = system.state(rng.standard_normal((4, 5)), 0.8 * rng.standard_normal((4, 4)))
    ts = np.linspace(0.0, 30.0, 61)
    states = trajectory(state, system, ts)
    # some thousand steps of 1e-12, and C is conserved by the flow: errors add up, they do not grow
    assert balance_drift(ts, states, system) < 1e-8
    floors = eigenvalue_floor(state, system, ts)
    assert floors.shape == (61, 4)
    squares = np.linalg.svd(states.online, compute_uv=False) ** 2
    assert np.all(squares >= floors - 1e-8)
    certain = rank_floor(state, system)
    assert certain == np.count_nonzero(floors[0]) >= 1
    assert np.all(np.sum(squares > floors[:, [certain - 1]] / 2, axis=1) >= certain)


def test_a_negative_predictor_collapses_down_to_the_floor() -> None:
    # rows with w2 < 0 collapse where C is negative (R6); the others are above the floor
    system = MatrixSystem(np.ones(4), np.array([0.9, 0.7, 0.5, 0.3]))
    state = system.state(np.diag([0.3, 0.2, 0.5, 0.1]), np.diag([0.1, -0.4, -0.3, -0.5]))
    assert rank_floor(state, system) == 2
    end = trajectory(state, system, np.array([0.0, 200.0]))
    singular_values = np.linalg.svd(end.online[-1], compute_uv=False)
    assert np.sum(singular_values > 1e-6) == 2
    assert np.all(singular_values[:2] ** 2 >= eigenvalue_floor(state, system)[:2])


@given(seed=seeds, n2=st.integers(1, 6), n1=st.integers(1, 6))
def test_rank_floor_is_the_positive_inertia(seed: int, n2: int, n1: int) -> None:
    rng = np.random.default_rng(seed)
    system = MatrixSystem(np.eye(n1), np.eye(n1), tau_online=1.7, tau_predictor=0.3)
    state = system.state(rng.standard_normal((n2, n1)), rng.standard_normal((n2, n2)))
    W, P, _ = state
    # by a solver that knows nothing of symmetry
    eigenvalues = np.linalg.eigvals(1.7 * W @ W.T - 0.3 * P.T @ P).real
    if np.min(np.abs(eigenvalues)) > 1e-10:
        assert rank_floor(state, system) == np.sum(eigenvalues > 0)
    assert 0 <= rank_floor(state, system) <= min(n1, n2)


@pytest.mark.parametrize("n", [1, 3, 30, 200])
def test_rounding_is_not_counted_as_rank(n: int) -> None:
    rng = np.random.default_rng(n)
    system = MatrixSystem(np.ones(n), np.ones(n), tau_online=0.7, tau_predictor=1.9)
    W = rng.standard_normal((n, n))
    # balanced: τp PᵀP = τo W Wᵀ, so C is all rounding
    balanced = system.state(W, np.sqrt(0.7 / 1.9) * np.real(sqrtm(W @ W.T)))
    assert rank_floor(balanced, system) == 0
    assert rank_floor(balanced._replace(predictor=balanced.predictor * (1 - 1e-3)), system) > 0


def test_eigenvalue_floor_is_sharp_without_predictor() -> None:
    rng = np.random.default_rng(1)
    system = MatrixSystem(np.ones(5), np.ones(5), tau_online=3.0, weight_decay=0.25)
    state = system.state(rng.standard_normal((3, 5)), np.zeros((3, 3)))
    squares = np.linalg.svd(state.online, compute_uv=False) ** 2
    assert_allclose(eigenvalue_floor(state, system), squares, rtol=1e-13)
    assert_allclose(eigenvalue_floor(state, system, 2.0), np.exp(-1.0) * squares, rtol=1e-13)
