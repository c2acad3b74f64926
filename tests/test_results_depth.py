"""R320–R322 in the registry: each holds, and each is told apart from a broken version of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from analysis.depth.decay import decay_rest, decay_threshold
from analysis.depth.fates import DeepFate, collapse_probability, deep_fate
from analysis.depth.rest import deep_jacobian, deep_rest
from analysis.results.objectives import depth as results
from analysis.results.registry import Measurement, Result, check, collect
from dynamics.exact.deep import jepa_encoder_speed, jepa_time
from dynamics.fields.deep import (
    DeepState,
    DeepSystem,
    deep_field,
    deep_matrix_field,
    deep_no_ema_field,
    layer_invariants,
    products_of_others,
)
from dynamics.fields.modes import full_mode_field
from dynamics.fields.vector_field import VectorField
from dynamics.system import ModeSystem

RESULTS = collect((results,))


@pytest.mark.parametrize("result", RESULTS.values(), ids=list(RESULTS))
def test_one_seed_one_measurement(result: Result) -> None:
    first, second = (result.trial(np.random.default_rng(7)) for _ in range(2))
    assert isinstance(first, Measurement)
    assert first == second


# --- mutants ------------------------------------------------------------------------------------------------


def with_least(least: Callable[..., Any], edge: float = 1.0) -> Callable[[DeepState, DeepSystem], DeepFate]:
    """Rule of R320 with another statistic of c_l, or with −edge·τp r² for −τp r²."""

    def predict(state: DeepState, system: DeepSystem) -> DeepFate:
        right = deep_fate(state, system)
        c, tp = least(layer_invariants(state, system), axis=0), system.tau_predictor
        dies = np.where(state.predictor > 0, c <= -edge * tp * system.ratio**2, c <= 0)
        return right._replace(fate=np.where(dies, "collapsed", "learned"))

    return predict


def forgotten_rates(state: DeepState, system: DeepSystem) -> DeepFate:
    return deep_fate(state, DeepSystem(system.lambda_s, system.lambda_d, depth=system.depth))


def changed(field: VectorField, change: Callable[[DeepState, DeepState, Any], DeepState]) -> VectorField:
    return replace(field, derivative=lambda t, x, system: change(field.derivative(t, x, system), x, system))


def without_predictor(moved: DeepState, state: DeepState, system: Any) -> DeepState:
    """Layers do not feel v: dw_l/dt without its factor."""
    return moved._replace(layers=moved.layers / state.predictor)


def flipped_order(t: float, state: DeepState, *rest: Any) -> DeepState:
    """The update of the lowest layer for that of all."""
    moved = deep_matrix_field(t, state, *rest)
    return moved._replace(layers=[moved.layers[0], *(1.01 * one for one in moved.layers[1:])])


def larger_exponent(L: int, s: Any, d: Any, speed: Any = 1.0) -> Any:
    """2L for 2L − 1 in the exponent of r."""
    return decay_threshold(L, s, d, speed) * d / s


def undecayed_layers(moved: DeepState, state: DeepState, system: Any) -> DeepState:
    return moved._replace(layers=moved.layers + np.asarray(system.weight_decay) * state.layers)


def shifted_fold(*arguments: Any) -> Any:
    found = decay_rest(*arguments)
    return found._replace(upper=found.fold + 1.001 * (found.upper - found.fold))


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R320", {"predict": with_least(np.mean)}),
    ("R320", {"predict": with_least(np.max)}),
    ("R320", {"predict": with_least(np.min, edge=0.9)}),
    ("R320", {"predict": with_least(np.min, edge=-1.0)}),
    ("R320", {"predict": forgotten_rates}),
    ("R320", {"field": changed(deep_field, without_predictor)}),
    ("R320", {"matrix_field": flipped_order}),
    ("R321", {"encoder_speed": lambda omega, L, s, d: jepa_encoder_speed(omega, L, s, d) / L}),
    ("R321", {"time": lambda v0, v, L, s, d: jepa_time(v0, v, L, s, d) / L}),
    ("R321", {"time": lambda v0, v, L, s, d: jepa_time(v0, v, L + 1, s, d)}),
    ("R321", {"field": deep_field}),
    ("R322", {"threshold": larger_exponent}),
    ("R322", {"threshold": lambda L, s, d, speed: decay_threshold(L, s, d)}),
    ("R322", {"rest": shifted_fold}),
    ("R322", {"field": changed(deep_no_ema_field, undecayed_layers)}),
]


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)


NEVER_AT_REST = (5, 10, 14)
"""Mutants of `MUTANTS` whose runs spend all their steps: up to half a minute."""


@pytest.mark.parametrize(
    ("name", "subjects"),
    [
        pytest.param(
            *pair,
            id=f"{pair[0]}-{k}-{next(iter(pair[1]))}",
            marks=[pytest.mark.slow] if k in NEVER_AT_REST else [],
        )
        for k, pair in enumerate(MUTANTS)
    ],
)
def test_mutant_is_violated(name: str, subjects: dict[str, Any]) -> None:
    assert check(RESULTS[name], **subjects).verdict == "violated"


@pytest.mark.parametrize(
    ("name", "attribute", "mutant"),
    [
        ("R320", "deep_field", changed(deep_field, without_predictor)),
        ("R321", "jepa_encoder_speed", lambda omega, L, s, d: jepa_encoder_speed(omega, L, s, d) / L),
        ("R322", "_largest_pull", lambda L, s, d: d * (d / s) ** (2 * L) / 4),
    ],
)
def test_mutated_proof_fails(monkeypatch: pytest.MonkeyPatch, name: str, attribute: str, mutant: Any) -> None:
    monkeypatch.setattr(results, attribute, mutant)
    proof = RESULTS[name].proof
    assert proof is not None
    assert proof() is False


# --- the field ----------------------------------------------------------------------------------------------


def test_the_field_of_one_layer_is_that_of_one_mode() -> None:
    rates = {"tau_online": 0.7, "tau_predictor": 1.3, "tau_target": 0.4, "weight_decay": 0.1}
    w, v, th = 0.3, -0.4, 0.6
    deep = DeepSystem([1.2, 0.8], [0.5, 0.3], depth=1, **rates)
    moved = deep_field(0.0, deep.deep_state([w], v, [th]), deep)
    one = ModeSystem([1.2, 0.8], [0.5, 0.3], **rates)
    expected = full_mode_field(0.0, one.state(w, v, th), one)
    for found, right in zip(moved, expected, strict=True):
        np.testing.assert_allclose(np.ravel(found), right, rtol=1e-14)  # a handful of products


def test_the_field_of_matrices_is_the_gradient() -> None:
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(2)
    W = [rng.standard_normal(shape) for shape in ((3, 4), (2, 3), (3, 2))]
    P, Th = rng.standard_normal((3, 3)), [rng.standard_normal(one.shape) for one in W]
    x1, x2 = rng.standard_normal((2, 50, 4))
    times = [0.5, 1.5, 0.8]
    system = ModeSystem(1.0, 0.5, tau_predictor=0.7)

    def loss(W: Any, P: Any) -> Any:
        out, target = x1, x2
        for one, th in zip(W, Th, strict=True):
            out, target = out @ one.T, target @ th.T
        return jnp.mean(jnp.sum((out @ P.T - target) ** 2, axis=1)) / 2

    with jax.enable_x64(True):
        of_layers, of_predictor = jax.grad(loss, (0, 1))([jnp.asarray(one) for one in W], jnp.asarray(P))
    moved = deep_matrix_field(0.0, DeepState(W, P, Th), x1.T @ x1 / 50, x2.T @ x1 / 50, times, system)
    for found, slope, tau in zip(moved.layers, of_layers, times, strict=True):
        np.testing.assert_allclose(found, -slope / tau, rtol=1e-11, atol=1e-11)  # sums of 50 products of five
    np.testing.assert_allclose(moved.predictor, -of_predictor / 0.7, rtol=1e-11, atol=1e-11)


def test_products_of_others_do_not_divide() -> None:
    factors = np.array([[2.0, 0.0], [3.0, 0.0], [5.0, 7.0]])
    assert products_of_others(factors).tolist() == [[15.0, 0.0], [10.0, 0.0], [6.0, 0.0]]


def test_the_jacobian_of_one_layer_is_known() -> None:
    system = DeepSystem(1.0, 0.5, depth=1)
    values = np.linalg.eigvals(deep_jacobian(system.deep_state([0.0], 0.2), system))
    # s² + s(1 + p²) + p(p − r) = 0 and the zero of the line (R5)
    expected = np.sort([0.0, *np.roots([1.0, 1.04, 0.2 * (0.2 - 0.5)])])
    np.testing.assert_allclose(np.sort(values.real), expected, atol=1e-14)


# --- fates --------------------------------------------------------------------------------------------------


def test_numbers_of_the_example() -> None:
    system = DeepSystem(1.0, 0.5, depth=2)
    found = deep_fate(system.deep_state([0.3, 0.5], 0.4), system)
    assert found.fate.tolist() == ["learned"]
    np.testing.assert_allclose(found.layers.ravel(), [0.42426, 0.58310], atol=5e-6)  # as given, five digits


@pytest.mark.parametrize(
    ("depth", "given"), [(1, 0.4364), (2, 0.5746), (3, 0.6403), (5, 0.7028), (10, 0.7551)]
)
def test_probability_of_collapse(depth: int, given: float) -> None:
    from scipy.stats import norm

    total, negative = collapse_probability(depth, 0.5)
    assert negative == depth / (2 * (depth + 1))

    def over_v(v: float) -> float:
        return float(norm.pdf(v) * (1 - (2 * norm.sf(np.sqrt(v**2 - 0.25))) ** depth))

    expected = quad(over_v, 0.5, 12.0, points=[0.55, 0.7, 1, 2, 4], limit=500)[0] + negative
    assert total == pytest.approx(expected, abs=2e-8)  # what QUADPACK claims at a root
    assert (
        abs(total - given) < 5e-4
    )  # the given numbers are of draws: three standard errors of 2·10⁶ and more


def test_the_negative_part_is_that_of_draws() -> None:
    rng = np.random.default_rng(0)
    n = 200_000
    system = DeepSystem(np.ones(n), np.full(n, 0.5), depth=3)
    start = system.deep_state(rng.standard_normal((3, n)), -np.abs(rng.standard_normal(n)))
    share = np.mean(deep_fate(start, system).fate == "collapsed") / 2
    assert abs(share - 3 / 8) < 4 * 0.5 * np.sqrt(0.75 * 0.25 / n)  # four standard errors


@pytest.mark.parametrize("depth", [2, 3])
def test_a_moving_average_of_the_product_has_the_same_fates(depth: int) -> None:
    """One average of ω in place of one per layer: ends of the leaf are the same (R320)."""
    rng = np.random.default_rng(depth)
    decided = 0
    for _ in range(12):
        system = DeepSystem(1.0, 0.6, depth=depth)
        start = system.deep_state(rng.uniform(0.4, 1.2, depth), rng.uniform(0.2, 1.3) * rng.choice([-1, 1]))
        said = deep_fate(start, system)

        def speed(t: float, y: np.ndarray) -> np.ndarray:
            w, v, q = y[:depth], y[depth], y[depth + 1]
            omega = np.prod(w)
            e = q * 0.6 - v * omega
            others = products_of_others(w)
            return np.array([*(v * others * e), omega * e, omega - q])

        y0 = [*start.layers[:, 0], start.predictor[0], np.prod(start.layers)]
        run = solve_ivp(speed, (0, 3000), y0, method="LSODA", rtol=1e-9, atol=1e-12)
        v = run.y[depth, -1]
        if abs(v - said.predictor[0]) < 1e-6:
            decided += 1
            continue
        # what still crawls has not passed the other end
        assert abs(v - said.predictor[0]) < 0.1
    assert decided >= 8


def test_starts_at_rest_stay() -> None:
    system = DeepSystem(1.0, 0.5, depth=2)
    found = deep_fate(system.deep_state([0.0, 0.4], 0.3), system)
    assert found.fate.tolist() == ["collapsed"]
    assert (found.layers.ravel().tolist(), found.predictor.tolist()) == ([0.0, 0.4], [0.3])
    moving = deep_fate(system.deep_state([0.0, 0.4], 0.3, [0.1, 0.4]), system)
    assert moving.fate.tolist() == ["learned"]


def test_nothing_is_said_with_weight_decay() -> None:
    system = DeepSystem(1.0, 0.5, depth=2, weight_decay=0.1)
    assert deep_fate(system.deep_state([0.3, 0.5], 0.4), system).fate.tolist() == [""]


# --- weight decay -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "star", "fold", "upper"),
    [
        (1, 0.16, 0.4, 0.4400),
        (2, 0.0432, 0.6, 0.6239),
        (3, 0.017558, 2 / 3, 0.6833),
        (4, 0.008235, 0.7, 0.7128),
    ],
)
def test_thresholds_of_the_table(depth: int, star: float, fold: float, upper: float) -> None:
    found = float(decay_threshold(depth, 1.0, 0.8))
    assert abs(found - star) < 5e-7
    below = decay_rest(depth, 1.0, 0.8, 0.99 * found)
    assert (round(below.fold, 12), round(below.upper, 4)) == (round(fold, 12), upper)
    assert np.isnan(decay_rest(depth, 1.0, 0.8, 1.01 * found).upper)
    system = DeepSystem(1.0, 0.8, depth=depth, weight_decay=0.99 * found)
    words = [
        (point["name"], point["stability"]) for point in deep_rest(system, deep_no_ema_field)["fixed_points"]
    ]
    assert words == [("origin", "stable"), ("lower", "saddle"), ("upper", "stable")]


def test_thresholds_are_finite_for_many_layers() -> None:
    found = float(decay_threshold(2000, 1.0, 1.0))
    assert found == pytest.approx(
        np.exp(-1) / 4000, rel=2e-4
    )  # (1 − 1/n)^{n−1} = e^{−1}(1 + 1/(2n) + …), n = 4000
    assert decay_rest(3, 1.0, 0.8, 0.0) == (0.0, 0.8, pytest.approx(2 / 3))


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("decay", [1e-300, 1e-100, 1e-12])
def test_rest_points_of_any_size_are_known(depth: int, decay: float) -> None:
    found = decay_rest(depth, 1.0, 0.8, decay)
    # far below the threshold v^{2L−1} λd = η, and the upper point is r to rounding, or r − η/(λs r^{2L−1})
    assert found.lower == pytest.approx((decay / 0.8) ** (1 / (2 * depth - 1)), rel=1e-2)
    assert found.lower ** (2 * depth - 1) * (0.8 - found.lower) == pytest.approx(decay, rel=1e-11)
    assert found.upper == pytest.approx(0.8 - decay / 0.8 ** (2 * depth - 1), rel=1e-15)


def test_extremes_are_no_errors() -> None:
    assert decay_rest(4, 1.0, 1e-100, 0.0)[:2] == (0.0, 1e-100)
    assert np.isnan(decay_rest(4, 1.0, 1e-100, 1e-3).upper)
    assert np.isinf(decay_threshold(3, 1e-100, 1e100))
    assert np.isinf(jepa_time(1e-300, 0.4, 3, 1.0, 0.8))


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DeepSystem(1.0, 0.5, depth=0), "`depth` must be an integer >= 1, got 0"),
        (lambda: DeepSystem(1.0, 0.5, depth=2, tau_online=[1.0, 1.0, 1.0]), "one number or one per layer"),
        (lambda: DeepSystem(1.0, 0.5, depth=2, tau_online=[1.0, 0.0]), "`tau_online` must be finite and > 0"),
        (lambda: DeepSystem(1.0, 0.5, depth=2).deep_state([0.1, np.nan]), "`layers` must be finite"),
        (lambda: DeepSystem(1.0, 0.5, depth=2).deep_state([0.1, 0.1, 0.1]), "one number per layer"),
        (lambda: jepa_time(0.5, 0.4, 2, 1.0, 0.8), "0 < v0 <= v < λd/λs"),
        (lambda: jepa_time(0.1, 0.4, 2, -1.0, 0.8), "`lambda_s` must be finite and > 0"),
        (lambda: decay_threshold(2, 0.0, 0.8), "`lambda_s` must be finite and > 0"),
        (lambda: decay_threshold(2, 1.0, -0.8), "`lambda_d` must be finite and >= 0"),
        (lambda: decay_rest(2, 1.0, 0.8, -1.0), "`weight_decay` must be finite and >= 0"),
        (lambda: decay_rest(2, 1.0, 0.0, 0.0), "`lambda_d` must be > 0"),
        (lambda: collapse_probability(2, -1.0), "`ratio` must be finite and >= 0"),
        (lambda: deep_rest(DeepSystem([1.0, 1.0], [0.5, 0.4], depth=2)), "one mode"),
        (lambda: deep_rest(DeepSystem(1.0, 0.0, depth=2)), "λs and λd > 0"),
    ],
)
def test_refusals(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", "\\(")):
        call()
