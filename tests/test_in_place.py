"""Fields and stages that are computed in place, against the fields as they are written and against SciPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import DOP853

from dynamics.fields.matrices import fixed_target_field, full_field, no_ema_field, symmetric_predictor_field
from dynamics.fields.vector_field import VectorField
from dynamics.integration.rest import Flow
from dynamics.integration.runge_kutta import InPlaceDOP853
from dynamics.states import MatrixState, pack, unpack
from dynamics.system import MatrixSystem

FIELDS = (full_field, fixed_target_field, no_ema_field, symmetric_predictor_field)
RATES = {
    "plain": {},
    "decay": {"weight_decay": 0.3},
    "slow": {"tau_online": 1.7, "tau_predictor": 0.4, "tau_target": 3.0, "weight_decay": 0.1},
}


def network(seed: int, rates: dict[str, float], *, diagonal: bool) -> tuple[MatrixState, MatrixSystem]:
    """A random system and state with n1 = 5 and n2 = 3; Σ that differ from their diagonals, or are diagonal."""
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((2, 5, 5))
    sigmas = [A @ A.T + B @ B.T, A @ A.T]
    if diagonal:
        sigmas = [np.diag(sigma).copy() for sigma in sigmas]
    system = MatrixSystem(*sigmas, **rates)
    W, Th = rng.standard_normal((2, 3, 5))
    return system.state(W, rng.standard_normal((3, 3)), Th), system


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_the_field_in_place_is_the_field(field: VectorField, rates: str, diagonal: bool) -> None:
    state, system = network(0, RATES[rates], diagonal=diagonal)
    other, _ = network(1, RATES[rates], diagonal=diagonal)
    flow = Flow(state, system, field)
    y, derivative = pack(state), np.full(pack(state).size, np.nan)
    evaluate = flow.bound(y, derivative)
    for seen in (state, other):  # it reads what the array holds then
        y[:] = pack(seen)
        evaluate(0.0)
        exact = pack(field(0.0, seen, system))
        # sums of at most a hundred products, rounded in another order
        size = 100 * np.finfo(float).eps * np.max(np.abs(exact))
        assert_allclose(derivative, exact, rtol=0, atol=size)
        assert_array_equal(y, pack(seen))
        assert_allclose(flow(0.0, pack(seen)), exact, rtol=0, atol=size)
    assert flow.n_evaluations == 4


@pytest.mark.parametrize("part", ["derivative", "constrain"])
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_field_with_other_equations_is_not_computed_by_the_old_ones(field: VectorField, part: str) -> None:
    def doubled(t: float, state: MatrixState, system: MatrixSystem) -> MatrixState:
        return MatrixState(*(2 * value for value in getattr(field, part)(t, state, system)))

    state, system = network(0, {}, diagonal=False)
    other = replace(field, **{part: doubled})
    assert_allclose(Flow(state, system, other)(0.0, pack(state)), pack(other(0.0, state, system)), rtol=1e-12)


def test_what_a_flow_returns_is_the_callers_own() -> None:
    state, system = network(0, {}, diagonal=False)
    flow = Flow(state, system, full_field)
    first = flow(0.0, pack(state))
    kept = first.copy()
    flow(0.0, 2 * pack(state))
    assert_array_equal(first, kept)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("rtol", [1e-4, 1e-8, 1e-11])
def test_steps_in_place_are_those_of_scipy(rtol: float, backward: bool) -> None:
    state, system = network(2, RATES["slow"], diagonal=False)
    start = 0.3 * pack(state)
    options = {"rtol": rtol, "atol": 1e-2 * rtol, "max_step": 0.1, "first_step": 0.009 if backward else 0.1}
    bound = -0.01 if backward else 3.0
    ours = InPlaceDOP853(Flow(state, system, full_field), 0.0, start, bound, **options)
    theirs = DOP853(lambda t, y: pack(full_field(t, unpack(y, state), system)), 0.0, start, bound, **options)
    sizes = []
    while theirs.status == "running":
        ours.step()
        theirs.step()
        assert ours.status == theirs.status
        # the error of a step, which its size follows, is a difference that rounding of 1e-16 moves by 1e-4 of 1e-12
        assert_allclose(ours.t, theirs.t, rtol=1e-3)
        assert_allclose(
            ours.f, full_field_of(ours.y, state, system), rtol=0, atol=1e-12 * np.max(np.abs(ours.f))
        )
        sizes.append(ours.step_size)
    assert ours.t == theirs.t == bound
    middle = ours.t - 0.4 * ours.step_size * ours.direction
    scale = np.max(np.abs(theirs.y))
    assert_allclose(ours.y, theirs.y, rtol=0, atol=10 * rtol * scale)
    assert_allclose(
        ours.dense_output()(middle), theirs.dense_output()(middle), rtol=0, atol=10 * rtol * scale
    )
    assert max(sizes) <= 0.1 * (1 + 1e-12)


def full_field_of(y: np.ndarray, like: MatrixState, system: MatrixSystem) -> np.ndarray:
    """The full field of a packed state."""
    return pack(full_field(0.0, unpack(y, like), system))


def test_a_field_that_is_not_finite_fails_a_step() -> None:
    state, system = network(0, {}, diagonal=False)
    start = pack(state)
    bad = InPlaceDOP853(Flow(state, system, full_field), 0.0, start, 1.0, first_step=0.1)
    bad.y = np.full_like(start, np.nan)
    bad.step()
    assert bad.status == "failed"
