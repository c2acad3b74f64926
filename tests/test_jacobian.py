"""The Jacobian of the full flow and of one-mode fields."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from stability_points import (
    RATES,
    general_point,
    spectral_distance,
    symmetric,
)

from analysis.stability.jacobian import dense_jacobian, jacobian_operator, mode_jacobian, moving_parts
from analysis.stability.verdicts import classify
from dynamics.fields.matrices import full_field
from dynamics.fields.modes import (
    fixed_target_mode_field,
    no_ema_mode_field,
    no_predictor_mode_field,
    tied_mode_field,
)
from dynamics.invariants import balance_matrix
from dynamics.states import pack, unpack
from dynamics.system import MatrixSystem, ModeSystem
from dynamics.variants import MODE_FIELDS

# --- the Jacobian


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_jacobian_is_the_derivative_of_the_flow(diagonal: bool, weight_decay: float) -> None:
    rng = np.random.default_rng(1)
    n1, n2 = 5, 3
    moments = [
        rng.uniform(0, 1, n1) if diagonal else symmetric(rng.standard_normal((n1, n1))) for _ in range(2)
    ]
    system = MatrixSystem(*moments, **RATES, weight_decay=weight_decay)
    state = system.state(*(rng.standard_normal(shape) for shape in ((n2, n1), (n2, n2), (n2, n1))))

    def flow(x: Any) -> jax.Array:
        parts = full_field(0.0, unpack(x, state), system)
        return jax.numpy.concatenate([part.ravel() for part in parts])

    x = jax.numpy.asarray(pack(state))
    v, u = rng.standard_normal((2, x.size))
    operator = jacobian_operator(state, system)
    # sums of at most 2 n1 + n2 products of numbers of order 1 to 10
    assert_allclose(operator.matvec(v), jax.jvp(flow, (x,), (v,))[1], rtol=1e-12, atol=1e-12)
    assert_allclose(operator.rmatvec(u), jax.vjp(flow, x)[1](u)[0], rtol=1e-12, atol=1e-12)
    assert_allclose(dense_jacobian(state, system), jax.jacfwd(flow)(x), rtol=1e-12, atol=1e-12)


def test_gradients_of_the_conserved_matrix_are_left_null_vectors() -> None:
    """R2: C does not move, so its gradient at rest is annihilated by the adjoint."""
    state, system = general_point(7, commuting=False, n1=4, n2=3)

    def entry(x: Any) -> Any:
        return balance_matrix(unpack(x, state), system)[0, 1]

    gradient = np.asarray(jax.grad(entry)(jax.numpy.asarray(pack(state))))
    assert np.linalg.norm(gradient) > 0.1
    assert_allclose(jacobian_operator(state, system).rmatvec(gradient), 0.0, atol=1e-12)


# --- one mode


def test_mode_jacobian_of_the_full_flow() -> None:
    rng = np.random.default_rng(0)
    ls, ld, w1, w2, th = rng.uniform(-1, 1, (5, 4))
    to, tp, tt, eta = 0.7, 1.3, 2.0, 0.1
    system = ModeSystem(ls, ld, tau_online=to, tau_predictor=tp, tau_target=tt, weight_decay=eta)
    mixed = th * ld - 2 * w1 * w2 * ls
    zero, one = np.zeros(4), np.ones(4)
    wanted = np.array(
        [
            [-(w2**2) * ls / to - eta, mixed / to, w2 * ld / to],
            [mixed / tp, -(w1**2) * ls / tp - eta, w1 * ld / tp],
            [one / tt, zero, -one / tt],
        ]
    )
    assert_allclose(
        mode_jacobian(system.state(w1, w2, th), system), np.moveaxis(wanted, 2, 0), rtol=1e-14, atol=1e-15
    )


@given(a=st.floats(0.05, 2.0), r=st.floats(0.05, 0.95), tau=st.floats(0.2, 5.0))
def test_lines_of_fixed_points_have_the_eigenvalues_of_r5(a: float, r: float, tau: float) -> None:
    ls, (to, tp) = 1.3, (0.7, 1.6)
    system = ModeSystem(ls, ls * r, tau_online=to, tau_predictor=tp, tau_target=tau)
    learned = np.linalg.eigvals(mode_jacobian(system.state(a, r, a), system)[0])
    wanted = np.roots([1, 1 / tau + ls * (r * r / to + a * a / tp), ls * a * a / (tp * tau), 0])
    assert spectral_distance(learned, wanted) < 1e-7  # two real roots may be close: √ε
    assert classify(learned, 1e-9, n_zero_forced=1) == "stable"
    p = a
    collapsed = np.linalg.eigvals(mode_jacobian(system.state(0.0, p, 0.0), system)[0])
    wanted = np.roots([1, 1 / tau + ls * p * p / to, p * (ls * p - ls * r) / (to * tau), 0])
    assert spectral_distance(collapsed, wanted) < 1e-7
    if abs(p - r) > 1e-3:
        assert classify(collapsed, 1e-9, n_zero_forced=1) == ("stable" if p > r else "saddle")


def test_variants_are_differentiated_over_the_parts_they_move() -> None:
    system = ModeSystem(1.0, 0.5, tau_target=2.0)
    origin = system.state(0.0, 0.0, 0.3)
    fixed = mode_jacobian(origin, system, fixed_target_mode_field)[0]
    assert_allclose(np.linalg.eigvals(fixed), [0.15, -0.15])  # R13: ±θ λd
    tied = mode_jacobian(system.state(0.0, 0.0, 0.0), system, tied_mode_field)[0]
    assert_allclose(np.sort(np.linalg.eigvals(tied)), [-0.5, 0.0])  # R7: 0, −1/τt
    none = mode_jacobian(system.state(0.0, 1.0, 0.0), system, no_predictor_mode_field)[0]
    assert_allclose(none, [[-1.0, 0.5], [0.5, -0.5]])  # R11
    assert moving_parts(no_ema_mode_field, system) == ("online", "predictor")
    assert moving_parts(MODE_FIELDS["no-stop-gradient"], system) == ("online", "predictor")
    assert moving_parts(MODE_FIELDS["full"], system) == ("online", "predictor", "target")
    assert moving_parts(MODE_FIELDS["directpred"], system) == ("online", "target")


@pytest.mark.parametrize(
    ("eigenvalues", "forced", "verdict"),
    [
        ([-1.0, -2.0], 0, "stable"),
        ([1.0, -2.0], 0, "saddle"),
        ([1.0, 2.0j + 0.1], 0, "unstable"),
        ([0.0, -1.0], 0, "degenerate"),
        ([0.0, -1.0], 1, "stable"),
        ([0.0, 0.0, -1.0], 1, "degenerate"),
        ([1.0j, -1.0j], 0, "degenerate"),
        ([0.0, 1.0, -1.0], 1, "saddle"),
    ],
)
def test_classify(eigenvalues: list[complex], forced: int, verdict: str) -> None:
    assert classify(np.array(eigenvalues), n_zero_forced=forced) == verdict
