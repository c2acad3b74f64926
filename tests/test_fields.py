"""The vector fields: as printed (SymPy), descending the loss on samples (JAX), in matrices and in modes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from view_samples import (
    MATRIX_VARIANTS,
    MODE_VARIANTS,
    RATES,
    SHARE,
    assert_states_close,
    encode,
    loss,
    matrix_problem,
    mode_problem,
    view_pairs,
)

from dynamics.fields.matrices import direct_field, error_matrix, fast_predictor_field
from dynamics.fields.modes import direct_mode_field, tied_mode_field
from dynamics.fields.vector_field import VectorField
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem
from dynamics.variants import FIELDS, MODE_FIELDS

PRINTED = (
    *("full", "fixed-target", "tied", "no-predictor", "no-ema", "no-stop-gradient", "symmetric-predictor"),
    *("fast-predictor", "directpred", "directset", "proportional-ema"),
)  # whose equations this file holds once more; the test of another variant holds its own
each_matrix_variant = pytest.mark.parametrize("name", sorted(set(PRINTED) & set(MATRIX_VARIANTS)))
each_mode_variant = pytest.mark.parametrize("name", PRINTED)
seeds = st.integers(0, 2**32 - 1)


def test_fields_are_found_by_their_names() -> None:
    assert set(PRINTED) <= set(MODE_VARIANTS)
    for fields in (FIELDS, MODE_FIELDS):
        assert [field.name for field in fields.values()] == list(fields)


# --- formula: the field called with symbols equals the printed equation -------------------------------------


def symbols(name: str, *shape: int) -> np.ndarray:
    entries = [
        sympy.Symbol(f"{name}_{'_'.join(map(str, index))}", positive=True) for index in np.ndindex(*shape)
    ]
    return np.array(entries, dtype=object).reshape(shape)


def symbolic_system(*shape: int) -> Any:
    tau_o, tau_p, tau_t, eta = sympy.symbols("tau_o tau_p tau_t eta", positive=True)
    rates = {"tau_online": tau_o, "tau_predictor": tau_p, "tau_target": tau_t, "weight_decay": eta}
    if len(shape) == 1:
        return SimpleNamespace(lambda_s=symbols("ls", *shape), lambda_d=symbols("ld", *shape), **rates)
    return SimpleNamespace(sigma_s=symbols("S", *shape), sigma_d=symbols("D", *shape), **rates)


def assert_equal_expressions(actual: Any, printed: Any) -> None:
    for part, other in zip(actual, printed, strict=True):
        assert np.shape(part) == np.shape(other)
        for found, expected in zip(np.ravel(part), np.ravel(np.array(other, dtype=object)), strict=True):
            # decimal exponents and factors of the options become exact rationals
            assert sympy.simplify(sympy.nsimplify(found - expected)) == 0


def printed_matrix_equations(name: str, state: MatrixState, system: Any) -> tuple[Any, Any, Any]:
    """The matrix equations, with SymPy's matrices."""
    W, P, Th = (sympy.Matrix(part) for part in state)
    S, D = sympy.Matrix(system.sigma_s), sympy.Matrix(system.sigma_d)
    to, tp, tt, eta = system.tau_online, system.tau_predictor, system.tau_target, system.weight_decay
    one, zero = sympy.eye(P.shape[0]), sympy.zeros(*P.shape)
    still = sympy.zeros(*W.shape)
    if name in ("no-ema", "no-stop-gradient"):
        Th = W
    if name == "proportional-ema":
        Th = sympy.Rational(7, 10) * W
    if name == "symmetric-predictor":
        P = (P + P.T) / 2
    E = Th * D - P * W * S
    dW, dP, dTh = P.T * E / to - eta * W, E * W.T / tp - eta * P, (W - Th) / tt
    return {
        "full": (dW, dP, dTh),
        "fixed-target": (dW, dP, still),
        "proportional-ema": (dW, dP, still),
        "no-predictor": ((Th * D - one * W * S) / to - eta * W, zero, dTh),
        "no-ema": (dW, dP, dW),
        "no-stop-gradient": (dW + (P * W * D - W * S) / to, dP, dW + (P * W * D - W * S) / to),
        "symmetric-predictor": (dW, (dP + dP.T) / 2, dTh),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "full",
        "fixed-target",
        "proportional-ema",
        "no-predictor",
        "no-ema",
        "no-stop-gradient",
        "symmetric-predictor",
    ],
)
def test_matrix_fields_as_printed(name: str) -> None:
    system = symbolic_system(3, 3)
    state = MatrixState(symbols("W", 2, 3), symbols("P", 2, 2), symbols("T", 2, 3))
    found = MATRIX_VARIANTS[name](0.0, state, system)
    assert_equal_expressions(found, printed_matrix_equations(name, state, system))


def printed_mode_equations(name: str, state: ModeState, system: Any) -> tuple[Any, Any, Any]:
    w1, w2, th = (part[0] for part in state)
    ls, ld = system.lambda_s[0], system.lambda_d[0]
    to, tp, tt, eta = system.tau_online, system.tau_predictor, system.tau_target, system.weight_decay
    if name in ("no-ema", "no-stop-gradient"):
        th = w1
    if name == "proportional-ema":
        th = sympy.Rational(7, 10) * w1
    s = ls * w1**2
    w2 = {
        "tied": w1,
        "no-predictor": sympy.Integer(1),
        "fast-predictor": th * ld / (w1 * ls),
        "directpred": sympy.sqrt(s) + s / 10,
        "directset": s,
    }.get(name, w2)
    dw1 = (w2 * th * ld - w2**2 * w1 * ls) / to - eta * w1
    dw2 = (w1 * th * ld - w2 * w1**2 * ls) / tp - eta * w2
    dth = (w1 - th) / tt
    if name == "no-stop-gradient":
        dw1 += (w2 * w1 * ld - w1 * ls) / to
    if name in ("no-predictor", "fast-predictor", "directpred", "directset"):
        dw2 = sympy.Integer(0)
    if name in ("fixed-target", "proportional-ema"):
        dth = sympy.Integer(0)
    if name in ("no-ema", "no-stop-gradient"):
        dth = dw1
    return [dw1], [dw2], [dth]


@each_mode_variant
def test_mode_fields_as_printed(name: str) -> None:
    system = symbolic_system(1)
    state = ModeState(symbols("w1", 1), symbols("w2", 1), symbols("th", 1))
    found = MODE_VARIANTS[name](0.0, state, system)
    assert_equal_expressions(found, printed_mode_equations(name, state, system))


# --- gradient: field = −∇loss on an explicit sample (R1) ----------------------------------------------------


def best_predictor(W: np.ndarray, Th: np.ndarray, x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
    """Least squares on the sample."""
    features, wanted = encode(W, x1), encode(Th, x2)
    if W.ndim == 2:
        return np.linalg.lstsq(features, wanted)[0].T
    return np.sum(features * wanted, axis=0) / np.sum(features**2, axis=0)


def direct_predictor(W: np.ndarray, x1: np.ndarray, spectrum: Callable[[Any], Any]) -> np.ndarray:
    features = encode(W, x1)
    if W.ndim == 2:
        U, singular_values, _ = np.linalg.svd(features.T / np.sqrt(len(x1)), full_matrices=False)
        return U @ np.diag(spectrum(singular_values**2)) @ U.T
    return np.array([spectrum(np.array([s]))[0] for s in np.mean(features**2, axis=0)])


def minus_gradient(
    name: str, state: Any, system: Any, x1: np.ndarray, x2: np.ndarray
) -> tuple[Any, Any, Any]:
    """What each variant is by definition: descent of the loss on the sample, by automatic differentiation."""
    W, P, Th = state
    matrices = W.ndim == 2
    target: dict[str, Callable[[Any], Any]] = {
        "no-ema": jax.lax.stop_gradient,
        "no-stop-gradient": lambda W: W,
        "proportional-ema": lambda W: jax.lax.stop_gradient(SHARE * W),
    }
    branch = target.get(name, lambda W: jnp.asarray(Th))
    if name == "no-predictor":
        P = np.eye(3) if matrices else np.ones(4)
    if name == "fast-predictor":
        P = best_predictor(W, Th, x1, x2)
    if name == "directpred":
        P = direct_predictor(W, x1, lambda s: np.sqrt(s) + 0.1 * np.max(s))
    if name == "directset":
        P = direct_predictor(W, x1, lambda s: s)
    if name == "symmetric-predictor" and matrices:
        P = (P + P.T) / 2

    def objective(W: Any, P: Any) -> Any:
        return loss(W, P, branch(W), x1, x2)

    def decayed(A: Any) -> Any:
        return system.weight_decay * jnp.sum(A**2) / 2

    dW = -jax.grad(objective, 0)(W, P) / system.tau_online - jax.grad(decayed)(W)
    if name == "symmetric-predictor" and matrices:
        # coordinates of an orthonormal basis of the symmetric matrices: descent stays among them
        rows, columns = np.triu_indices(3)
        basis = np.zeros((6, 3, 3))
        basis[range(6), rows, columns] = basis[range(6), columns, rows] = np.where(
            rows == columns, 1, 0.5**0.5
        )
        coordinates = np.einsum("bij,ij->b", basis, P)
        slope = jax.grad(lambda b: objective(W, jnp.einsum("b,bij->ij", b, basis)))(coordinates)
        dP = -jnp.einsum("b,bij->ij", slope, basis) / system.tau_predictor - jax.grad(decayed)(P)
    elif name in ("no-predictor", "fast-predictor", "directpred", "directset"):
        dP = np.zeros_like(P)
    else:
        dP = -jax.grad(objective, 1)(W, P) / system.tau_predictor - jax.grad(decayed)(P)
    if name in ("no-ema", "no-stop-gradient"):
        return dW, dP, dW
    if name in ("fixed-target", "proportional-ema"):
        return dW, dP, np.zeros_like(W)
    return dW, dP, (W - Th) / system.tau_target


@each_matrix_variant
@pytest.mark.parametrize("seed", [0, 1])
def test_matrix_fields_descend_the_loss(name: str, seed: int) -> None:
    state, system, x1, x2 = matrix_problem(seed)
    found = MATRIX_VARIANTS[name](0.0, state, system)
    # F = WΣsWᵀ is inverted by the fast predictor: its condition number, below 1e3 here, times roundings
    assert_states_close(found, minus_gradient(name, state, system, x1, x2), rtol=1e-11, atol=1e-11)


@each_mode_variant
@pytest.mark.parametrize("seed", [0, 1])
def test_mode_fields_descend_the_loss(name: str, seed: int) -> None:
    state, system, x1, x2 = mode_problem(seed, tied=name == "tied")
    assert_states_close(MODE_VARIANTS[name](0.0, state, system), minus_gradient(name, state, system, x1, x2))


def test_error_matrix_is_the_slope_in_the_product() -> None:
    state, system, x1, x2 = matrix_problem(2)
    W, P, Th = state
    slope = jax.grad(lambda A: loss(A, np.eye(3), Th, x1, x2))(P @ W)
    assert_allclose(error_matrix(state, system), -slope, rtol=1e-12, atol=1e-13)


def test_the_sample_has_the_moments_of_views() -> None:
    x1, x2 = view_pairs(4, 0)
    sigma_d = x2.T @ x1 / len(x1)
    assert_allclose(x1.T @ x1, x2.T @ x2, rtol=1e-14, atol=1e-14)
    assert_allclose(sigma_d, sigma_d.T, atol=1e-15)
    assert np.linalg.eigvalsh(sigma_d)[0] > 0
    assert np.linalg.eigvalsh(x1.T @ x1 / len(x1) - sigma_d)[0] > 0


# --- modes: the reduction of the matrices (R3) --------------------------------------------------------------


def diagonal_problem(name: str, seed: int) -> tuple[ModeState, ModeSystem, MatrixState, MatrixSystem]:
    """Modes, and the same as diagonal matrices whose moments are vectors."""
    rng = np.random.default_rng(seed)
    # DirectPred adds a multiple of the largest eigenvalue: of all for matrices, of its own for one mode
    n = 1 if name == "directpred" else 4
    lambda_s = rng.uniform(0.5, 2.0, n)
    modes = ModeSystem(lambda_s, lambda_s * rng.uniform(0.0, 1.0, n), **RATES)
    state = modes.state(*rng.uniform(0.3, 1.5, (3, n)) * rng.choice([-1, 1], (3, n)))
    matrices = MatrixSystem(modes.lambda_s, modes.lambda_d, **RATES)
    return state, modes, matrices.state(*(np.diag(part) for part in state)), matrices


@each_matrix_variant
@given(seed=seeds)
def test_modes_are_diagonal_matrices(name: str, seed: int) -> None:
    state, modes, matrix_state, matrices = diagonal_problem(name, seed)
    found = MATRIX_VARIANTS[name](0.0, matrix_state, matrices)
    expected = MODE_VARIANTS[name](0.0, state, modes)
    # 1/F for the fast predictor, F >= 0.5·0.3²
    assert_states_close(found, [np.diag(part) for part in expected], atol=1e-12)


@each_matrix_variant
@given(seed=seeds)
def test_rows_along_common_eigenvectors_are_modes(name: str, seed: int) -> None:
    state, modes, _, _ = diagonal_problem(name, seed)
    rng = np.random.default_rng(seed)
    n = modes.n_modes + 2
    U = np.linalg.qr(rng.standard_normal((n, n)))[0]
    rows = rng.permutation(n)[: modes.n_modes]
    # two directions more than rows: modes that no row selected
    lambda_s, lambda_d = rng.uniform(1.0, 2.0, n), rng.uniform(0.1, 0.9, n)
    lambda_s[rows], lambda_d[rows] = modes.lambda_s, modes.lambda_d
    sigma_s, sigma_d = (U * lambda_s) @ U.T, (U * lambda_d) @ U.T
    matrices = MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2, **RATES)
    directions = U[:, rows].T
    w1, w2, th = state
    lifted = matrices.state(w1[:, None] * directions, np.diag(w2), th[:, None] * directions)
    dW, dP, dTh = MATRIX_VARIANTS[name](0.0, lifted, matrices)
    dw1, dw2, dth = MODE_VARIANTS[name](0.0, state, modes)
    expected = (dw1[:, None] * directions, np.diag(dw2), dth[:, None] * directions)
    assert_states_close((dW, dP, dTh), expected, atol=1e-11)


@each_matrix_variant
@given(seed=seeds)
def test_vectors_stand_for_diagonal_moments(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lambda_s = rng.uniform(0.5, 2.0, 5)
    lambda_d = lambda_s * rng.uniform(0.0, 1.0, 5)
    vectors = MatrixSystem(lambda_s, lambda_d, **RATES)
    dense = MatrixSystem(np.diag(lambda_s), np.diag(lambda_d), **RATES)
    state = vectors.state(*(rng.standard_normal(shape) for shape in ((3, 5), (3, 3), (3, 5))))
    found, expected = (MATRIX_VARIANTS[name](0.0, state, system) for system in (vectors, dense))
    if name == "fast-predictor":
        # both invert F, which is known to roundings: relative to its condition number and the size of P
        F = (state.online * lambda_s) @ state.online.T
        size = np.linalg.cond(F) * max(
            1.0, float(np.max(np.abs(fast_predictor_field.constrain(0.0, state, dense)[1])))
        )
        assert_states_close(found, expected, atol=1e-13 * size**2)
    else:
        assert_states_close(found, expected, atol=1e-12)


# --- NumPy and JAX ------------------------------------------------------------------------------------------


@each_matrix_variant
@pytest.mark.parametrize("diagonal", [False, True])
def test_matrix_fields_in_numpy_and_compiled_by_jax(name: str, diagonal: bool) -> None:
    state, system, _, _ = matrix_problem(5)
    if diagonal:
        system = MatrixSystem(system.sigma_s.diagonal(), system.sigma_d.diagonal(), **RATES)
    field = MATRIX_VARIANTS[name]
    compiled = jax.jit(lambda y: field(0.0, y, system))(MatrixState(*map(jnp.asarray, state)))
    assert isinstance(compiled, MatrixState)
    assert all(part.dtype == np.float64 for part in compiled)
    assert_states_close(compiled, field(0.0, state, system), rtol=1e-11, atol=1e-11)


@each_mode_variant
def test_mode_fields_in_numpy_and_compiled_by_jax(name: str) -> None:
    state, system, _, _ = mode_problem(5, tied=name == "tied")
    field = MODE_VARIANTS[name]
    compiled = jax.jit(lambda y: field(0.0, y, system))(ModeState(*map(jnp.asarray, state)))
    assert isinstance(compiled, ModeState)
    assert_states_close(compiled, field(0.0, state, system))


# --- constraints and refusals -------------------------------------------------------------------------------


def constrained_twice(field: VectorField, state: Any, system: Any) -> None:
    once = field.constrain(0.0, state, system)
    assert_states_close(field.constrain(0.0, once, system), once)
    # the field sees the constrained state only
    assert_states_close(field(0.0, once, system), field(0.0, state, system), rtol=1e-11, atol=1e-11)


@each_matrix_variant
def test_matrix_constraints_are_projections(name: str) -> None:
    state, system, _, _ = matrix_problem(6)
    constrained_twice(MATRIX_VARIANTS[name], state, system)


@each_mode_variant
def test_mode_constraints_are_projections(name: str) -> None:
    state, system, _, _ = mode_problem(6, tied=name == "tied")
    constrained_twice(MODE_VARIANTS[name], state, system)


@settings(max_examples=20)
@given(epsilon=st.floats(0.0, 1.0), exponent=st.floats(0.2, 2.0), normalise=st.booleans(), seed=seeds)
def test_direct_options_reach_the_predictor(
    epsilon: float, exponent: float, normalise: bool, seed: int
) -> None:
    options: dict[str, Any] = {"epsilon": epsilon, "exponent": exponent, "normalise": normalise}
    state, modes, matrix_state, matrices = diagonal_problem("directpred", seed)
    s = modes.lambda_s * state.online**2
    expected = s**exponent + epsilon * s if not normalise else (s / s) ** exponent + epsilon
    found = direct_mode_field(**options).constrain(0.0, state, modes).predictor
    assert_allclose(found, expected, rtol=1e-13)
    in_matrices = direct_field(**options).constrain(0.0, matrix_state, matrices).predictor
    assert_allclose(in_matrices, np.diag(expected), rtol=1e-12)


def test_tied_weights_must_be_tied() -> None:
    system = ModeSystem(1.0, 0.5)
    tied_mode_field.require(system.state(0.2, 0.2, 0.1), system)
    with pytest.raises(
        ValueError, match=r"must start with `predictor` = `online`, got online \[0.2\] and predictor \[0.3\]"
    ):
        tied_mode_field.require(system.state(0.2, 0.3, 0.1), system)
    unequal = ModeSystem(1.0, 0.5, tau_online=2.0)
    with pytest.raises(ValueError, match=r"must have `tau_online` = `tau_predictor`, got 2.0 and 1.0"):
        tied_mode_field.require(system.state(0.2, 0.2, 0.1), unequal)


def test_without_a_predictor_it_is_one_whatever_was_given() -> None:
    system = ModeSystem([1.0, 1.0, 1.0], [0.5, 0.5, 0.5])
    state = system.state(0.3, np.array([0.0, -2.0, 1e300]), 0.2)
    field = MODE_FIELDS["no-predictor"]
    assert field.constrain(0.0, state, system).predictor.tolist() == [1.0, 1.0, 1.0]
    assert field(0.0, state, system).predictor.tolist() == [0.0, 0.0, 0.0]


def test_tied_weights_are_refused_where_one_mode_of_several_has_unequal_rates() -> None:
    system = ModeSystem(
        [1.0, 1.0], [0.5, 0.5], tau_online=np.array([1.0, 1.0]), tau_predictor=np.array([1.0, 2.0])
    )
    with pytest.raises(ValueError, match="must have `tau_online` = `tau_predictor`"):
        tied_mode_field.require(system.state(0.3, 0.3, 0.3), system)
    equal = ModeSystem([1.0, 1.0], [0.5, 0.5], tau_online=2.0, tau_predictor=2.0)
    with pytest.raises(ValueError, match="must start with `predictor` = `online`"):
        tied_mode_field.require(equal.state([0.3, 0.3], [0.3, 0.4], 0.3), equal)
