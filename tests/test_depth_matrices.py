"""Deep encoders of matrices: the field, its invariants, decoupled starts against modes, and the command."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from conftest import report_of

from analysis.runs.deep import simulate_deep
from analysis.runs.deep_matrices import simulate_deep_matrices
from analysis.runs.simulation import simulate_matrices
from dynamics.data.layers import load_deep_state
from dynamics.data.moments import Moments
from dynamics.data.starts import draw_deep_start, draw_start
from dynamics.fields.deep import DEEP_FIELDS, DeepSystem, layer_balances
from dynamics.fields.deep_matrices import (
    DEEP_MATRIX_FIELDS,
    DeepMatrixState,
    as_layers,
    as_product,
    deep_matrices_field,
    deep_matrix_state,
    largest_imbalance,
)
from dynamics.fields.matrices import full_field
from dynamics.integration.integrate import integrate
from dynamics.states import MatrixState, pack
from dynamics.system import MatrixSystem


def general_system(n1: int, **rates: Any) -> MatrixSystem:
    """Moments that do not commute."""
    A = np.random.default_rng(n1).standard_normal((n1, n1))
    sigma_s = A @ A.T / n1 + np.eye(n1)
    sigma_d = sigma_s - np.diag(np.linspace(0.2, 0.8, n1))
    return MatrixSystem(sigma_s, (sigma_d + sigma_d.T) / 2, **rates)


def drawn(n1: int, n2: int, depth: int, seed: int = 0) -> DeepMatrixState:
    rng = np.random.default_rng([seed, depth])
    first, upper = 0.6 * rng.standard_normal((n2, n1)), 0.6 * rng.standard_normal((depth - 1, n2, n2))
    return DeepMatrixState(first, upper, 0.5 * rng.standard_normal((n2, n2)), 0.8 * first, 1.1 * upper)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_field_is_the_gradient_of_the_loss(depth: int) -> None:
    """−∂L/∂W_l of L = ½ E‖PΩx1 − sg(Q)x2‖², written in moments, by automatic differentiation."""
    system = general_system(4, tau_online=0.7, tau_predictor=1.4, tau_target=0.9, weight_decay=0.03)
    state = drawn(4, 3, depth)
    Q = as_product(state).target

    def loss(first: Any, upper: Any, P: Any) -> Any:
        encoder = first
        for k in range(depth - 1):
            encoder = upper[k] @ encoder
        predicted = P @ encoder
        cross = jax.numpy.trace(predicted @ system.sigma_d @ Q.T)
        return jax.numpy.trace(predicted @ system.sigma_s @ predicted.T) / 2 - cross

    with jax.enable_x64(True):
        slopes = [np.asarray(part) for part in jax.grad(loss, (0, 1, 2))(*(np.asarray(x) for x in state[:3]))]
    moved = deep_matrices_field(0.0, state, system)
    rates = (0.7, 0.7, 1.4)
    for part, slope, weights, tau in zip(moved[:3], slopes, state[:3], rates, strict=True):
        np.testing.assert_allclose(part, -slope / tau - 0.03 * weights, atol=1e-13)
    np.testing.assert_allclose(moved.first_target, (state.first - state.first_target) / 0.9, atol=1e-15)
    np.testing.assert_allclose(moved.upper_targets, (state.upper - state.upper_targets) / 0.9, atol=1e-15)


@pytest.mark.parametrize("name", DEEP_MATRIX_FIELDS)
@pytest.mark.parametrize("weight_decay", [0.0, 0.02])
def test_balances_are_kept_to_the_tolerance(name: str, weight_decay: float) -> None:
    system = general_system(4, tau_predictor=1.4, weight_decay=weight_decay)
    found = simulate_deep_matrices(
        drawn(4, 3, 3), system, DEEP_MATRIX_FIELDS[name], 20.0, rtol=1e-9, atol=1e-11
    )
    # weights of order 1 are known to about rtol
    assert found.drift < 1e-7
    without = largest_imbalance(
        found.trajectory.ts,
        found.trajectory.states,
        general_system(4, tau_predictor=1.0, weight_decay=weight_decay),
    )
    assert without > 1e-2  # with another τp it is none


def test_balances_have_the_signs_of_r320() -> None:
    """The derivative of every balance along the field vanishes, and that of τ_l W_l W_lᵀ + … does not."""
    system, state = general_system(4, tau_online=0.7, tau_predictor=1.4), drawn(4, 3, 3)
    layers, moved = as_layers(state), as_layers(deep_matrices_field(0.0, state, system))
    step = 1e-6

    def balances(sign: float) -> list[Any]:
        there = [W + sign * step * D for W, D in zip(layers.layers, moved.layers, strict=True)]
        P = layers.predictor + sign * step * moved.predictor
        return layer_balances(layers._replace(layers=there, predictor=P), [0.7] * 3, 1.4)

    slopes = [(after - before) / (2 * step) for after, before in zip(balances(1), balances(-1), strict=True)]
    # squares are exact in central differences: what is left is rounding over the step
    assert max(float(np.max(np.abs(slope))) for slope in slopes) < 1e-8
    W, D = layers.layers[0], moved.layers[0]
    assert np.max(np.abs(D @ W.T + W @ D.T)) > 1e-2


@pytest.mark.parametrize("name", DEEP_MATRIX_FIELDS)
@pytest.mark.parametrize("t_end", [3.0, 40.0])
def test_decoupled_starts_reproduce_the_modes(name: str, t_end: float) -> None:
    rates = {"tau_online": 0.8, "tau_predictor": 1.3, "tau_target": 0.6, "weight_decay": 0.01}
    modes = DeepSystem([1.0, 1.5, 0.8], [0.5, 1.2, 0.3], depth=3, **rates)
    w = np.array([[0.3, 0.4, 0.5], [0.5, -0.3, 0.2], [0.7, 0.6, 0.9]])
    v = np.array([0.4, -0.2, -0.6])
    tight: dict[str, Any] = {"t_end": t_end, "rtol": 1e-10, "atol": 1e-12}
    exact = simulate_deep(modes.deep_state(w, v), modes, DEEP_FIELDS[name], **tight).trajectory.final
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]  # inputs in other coordinates
    sigmas = [Q @ np.diag(x) @ Q.T for x in (modes.lambda_s, modes.lambda_d)]
    full = MatrixSystem(*((x + x.T) / 2 for x in sigmas), **rates)
    upper = np.stack([np.diag(x) for x in w[1:]])
    state = DeepMatrixState(np.diag(w[0]) @ Q.T, upper, np.diag(v), np.diag(w[0]) @ Q.T, upper)
    found = simulate_deep_matrices(state, full, DEEP_MATRIX_FIELDS[name], **tight).trajectory.final
    np.testing.assert_allclose(found.first @ Q, np.diag(exact.layers[0]), atol=1e-8)
    for k in (1, 2):
        np.testing.assert_allclose(found.upper[k - 1], np.diag(exact.layers[k]), atol=1e-8)
        np.testing.assert_allclose(found.upper_targets[k - 1], np.diag(exact.targets[k]), atol=1e-8)
    np.testing.assert_allclose(found.predictor, np.diag(exact.predictor), atol=1e-8)


def test_one_layer_is_the_network_without() -> None:
    system, W = general_system(4), drawn(4, 3, 1)
    deep = simulate_deep_matrices(W, system, t_end=5.0)
    other = simulate_matrices(MatrixState(W.first, W.predictor, W.first_target), system, full_field, 5.0)
    final = other.trajectory.final
    np.testing.assert_allclose(pack(as_product(deep.trajectory.final)), pack(final), atol=1e-8)


def test_ends_hold_eigenvalues_of_m() -> None:
    system = general_system(4)
    found = simulate_deep_matrices(drawn(4, 3, 2), system)
    assert found.trajectory.status.value == "steady"
    assert found.product.resonance_error < 1e-6
    report = found.report()
    assert report["system"]["depth"] == 2
    assert np.shape(report["final"]["layer_singular_values"]) == (2, 3)
    product = as_product(found.trajectory.final).online
    np.testing.assert_allclose(
        report["final"]["online_singular_values"], np.linalg.svd(product, compute_uv=False)
    )
    assert report["theory"]["rank_floor"] is None


def test_products_of_trajectories_are_products_of_states() -> None:
    run = integrate(drawn(4, 3, 3), general_system(4), deep_matrices_field, 1.0)
    whole = as_product(run.states)
    for k in (0, -1):
        one = as_product(DeepMatrixState(*(part[k] for part in run.states)))
        np.testing.assert_allclose(whole.online[k], one.online)
        np.testing.assert_allclose(whole.target[k], one.target)


def test_starts_share_the_first_layer_at_every_depth() -> None:
    moments = Moments.from_eigenvalues([1.0, 1.0, 1.0], [0.9, 0.5, 0.2])
    one, two = (draw_deep_start(moments, 2, depth, init_online=0.5, seed=4) for depth in (1, 3))
    same = draw_start(moments, 2, init_online=0.5, seed=4)
    for state in (one, two):
        np.testing.assert_array_equal(state.first, same.online)
        np.testing.assert_array_equal(state.predictor, same.predictor)
    assert two.upper.shape == (2, 2, 2)
    with pytest.raises(ValueError, match="`depth` must be an integer >= 1"):
        draw_deep_start(moments, 2, 0)


def test_states_of_wrong_shapes_are_refused() -> None:
    system, state = general_system(4), drawn(4, 3, 2)
    with pytest.raises(ValueError, match=r"`predictor` must have shape \(3, 3\), got \(2, 2\)"):
        deep_matrix_state(state._replace(predictor=np.eye(2)), system)
    with pytest.raises(ValueError, match="`upper` must be finite"):
        deep_matrix_state(state._replace(upper=np.full((1, 3, 3), np.nan)), system)


# --- the command --------------------------------------------------------------------------------------------

THREE = tuple(
    word for s, d in (("1", ".9"), ("1", ".5"), ("1", ".2")) for word in ("--lambda-s", s, "--lambda-d", d)
)
DEEP = ("simulate", *THREE, "--depth", "2")


def test_a_network_of_layers_runs(dyn):
    more = ("--dim", "2", "--init-online", "1", "--init-predictor", ".5", "--seed", "1")
    report = report_of(dyn, *DEEP, *more, "--out", "run.npz", "--plot", "run.png")
    final = report["final"]
    assert (report["status"], final["rank"], report["system"]["depth"]) == ("steady", 2, 2)
    np.testing.assert_allclose([pair[0] for pair in final["predictor_eigenvalues"]], [0.9, 0.5], atol=1e-6)
    assert report["invariant"]["drift"] < 1e-7
    assert report["theory"]["ratios"] == pytest.approx([0.9, 0.5, 0.2])
    with np.load("run.npz") as kept:
        assert kept["layer1"].shape[1:] == kept["target1"].shape[1:] == (2, 3)
        assert kept["layer2"].shape[1:] == kept["predictor"].shape[1:] == (2, 2)
    state = load_deep_state("run.npz", 2)
    assert state.upper.shape == (1, 2, 2)
    again = report_of(dyn, *DEEP, "--state", "run.npz", "--t-end", "1")
    np.testing.assert_allclose(
        again["final"]["online_singular_values"], final["online_singular_values"], atol=1e-8
    )
    code, out, _ = dyn(*DEEP, *more, "--variant", "no-ema", "--t-end", "2")
    assert code == 0
    assert "singular values" in out


def test_data_has_layers_too(dyn):
    args = ("simulate", "--data", "digits", "--augment", "noise:0.3", "--dim", "2", "--depth", "2")
    report = report_of(dyn, *args, "--t-end", "1", "--out", "run.npz")
    assert report["system"]["n1"] == 64
    with np.load("run.npz") as kept:
        assert kept["layer1"].shape[1:] == (2, 64)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--dim", "2", "--layers", ".3,.5"), "--layers must go with modes"),
        (("--dim", "2", "--online", ".3"), "--online must go with modes"),
        (("--dim", "2", "--variant", "tied"), "--variant must be full or no-ema with --depth, got tied"),
        (("--dim", "2", "--state", "one.npz"), "--dim must not be given with --state"),
        (("--state", "one.npz"), "must hold layer2"),
        (("--state", "three.npz"), "must hold the layers of --depth 2 and no more, got layer3"),
        (("--state", "odd.npz"), "layer2 must have shape (2, 2), got (2, 3)"),
        (("--state", "narrow.npz"), "--state: layer1 must have 3 columns like the data, got 2"),
        (("--dim", "2", "--restart-every", "3", "--t-end", "9"), "--restart-every must not go with --depth"),
    ],
)
def test_networks_refuse_nonsense(dyn, args, words):
    eye, W = np.eye(2), np.ones((2, 3))
    np.savez("one.npz", layer1=W, predictor=eye)
    np.savez("three.npz", layer1=W, layer2=eye, layer3=eye, predictor=eye)
    np.savez("odd.npz", layer1=W, layer2=W, predictor=eye)
    np.savez("narrow.npz", layer1=eye, layer2=eye, predictor=eye)
    code, _, err = dyn(*DEEP, *args)
    assert code == 2
    assert words in err
