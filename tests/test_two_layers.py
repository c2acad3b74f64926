"""Two layers under the simple loss: fields against gradients, the solution against integration, blow-up and bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from dynamics.exact.two_layers import (
    blow_up_bounds,
    blow_up_time,
    decayed_time,
    decayed_time_inverse,
    log_of_logarithmic_mean,
    two_layer_state,
    two_layer_time,
)
from dynamics.fields.two_layers import TwoLayerState, diagonal_two_layer_field, two_layer_field
from dynamics.integration.blow_up import integrate_to_blow_up
from dynamics.integration.trajectory import Status

EXAMPLE = ([0.05, 0.3, 0.2], 0.5, [2.0, 1.0, 0.4])


def covariance(rng: np.random.Generator, d: int) -> np.ndarray:
    B = rng.standard_normal((d, d + 1))
    return B @ B.T / d


# --- fields -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("branches", ["one", "all"])
def test_the_full_field_of_a_linear_network_is_the_gradient_of_the_variance(branches: str) -> None:
    # −L = tr W2 W1 V W1ᵀ W2ᵀ, of which all branches give the gradient and one branch half
    rng, eta = np.random.default_rng(1), 0.3
    V, W1, W2 = covariance(rng, 4), rng.standard_normal((3, 4)), rng.standard_normal((2, 3))
    moved = two_layer_field(0.0, TwoLayerState(W1, W2), V, weight_decay=eta, branches=branches)

    def variance(W1: np.ndarray, W2: np.ndarray) -> float:
        return float(np.trace(W2 @ W1 @ V @ W1.T @ W2.T))

    h, share = 1e-3, {"one": 0.5, "all": 1.0}[branches]
    for part, W, vary in (
        (moved.bottom, W1, lambda D: variance(W1 + D, W2)),
        (moved.top, W2, lambda D: variance(W1, W2 + D)),
    ):
        slope = np.empty_like(W)
        for index in np.ndindex(*W.shape):
            D = np.zeros_like(W)
            D[index] = h
            slope[index] = (vary(D) - vary(-D)) / (
                2 * h
            )  # exact for a quadratic, but for rounding of 1e-16/h
        assert_allclose(part + eta * W, share * slope, atol=1e-10)


def test_nodes_of_a_diagonal_top_layer_are_those_of_a_full_one_for_one_node() -> None:
    rng = np.random.default_rng(2)
    A, w1, w2 = covariance(rng, 3), rng.standard_normal((1, 3)), rng.standard_normal(1)
    one = diagonal_two_layer_field(0.0, TwoLayerState(w1, w2), A, weight_decay=0.1)
    full = two_layer_field(0.0, TwoLayerState(w1, w2[None]), A, weight_decay=0.1)
    assert_allclose(one.bottom, full.bottom, rtol=1e-13)
    assert_allclose(one.top, full.top[0], rtol=1e-13)


def test_covariances_may_depend_on_the_weights_and_on_the_node() -> None:
    state = TwoLayerState(np.eye(2), np.array([1.0, 2.0]))
    A = np.stack([np.eye(2), 3 * np.eye(2)])
    found = diagonal_two_layer_field(0.0, state, lambda W1: A)
    assert_allclose(found.bottom, [[1.0, 0.0], [0.0, 12.0]])
    assert_allclose(found.top, [1.0, 6.0])


def test_unknown_branches_are_refused() -> None:
    with pytest.raises(ValueError, match="`branches` must be one or all, got 'both'"):
        diagonal_two_layer_field(0.0, TwoLayerState(np.eye(1), np.ones(1)), np.eye(1), branches="both")


# --- blow-up ------------------------------------------------------------------------------------------------


def test_the_example_blows_up_when_the_theory_says() -> None:
    # the figure of theory R124
    assert blow_up_time(*EXAMPLE) == pytest.approx(2.768225073473, abs=1e-12)
    assert blow_up_time(*EXAMPLE, branches="all") == pytest.approx(2.768225073473 / 2, abs=1e-12)
    assert_allclose(blow_up_bounds(*EXAMPLE), [1.3508, 4.6517], atol=5e-5)


@pytest.mark.parametrize("seed", range(12))
def test_the_blow_up_time_is_that_of_an_integration_and_within_its_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 6))
    A, w1, w2 = covariance(rng, d), 10 ** rng.uniform(-2, 0.5) * rng.standard_normal(d), rng.uniform(0.01, 2)
    branches = ("one", "all")[seed % 2]
    found = blow_up_time(w1, w2, A, branches=branches)
    run = integrate_to_blow_up(
        lambda t, state: diagonal_two_layer_field(t, state, A, branches=branches),
        TwoLayerState(w1[None], np.array([w2])),
    )
    assert run.status is Status.BLOW_UP
    assert abs(run.t - found) <= run.error + 1e-12 * found
    assert run.error < 1e-7 * found
    low, high = blow_up_bounds(w1, w2, A, branches=branches)
    assert low * (1 - 1e-12) <= found <= high * (1 + 1e-12)


@pytest.mark.parametrize(("w1", "w2"), [(2.0, 0.5), (0.5, 2.0), (0.7, 0.7), (1e-8, 1.0), (1e3, 1e-3)])
def test_one_direction_blows_up_in_closed_form(w1: float, w2: float) -> None:
    lam = 1.7
    closed = 1 / (2 * lam * w1**2) if w1 == w2 else math.log(w2**2 / w1**2) / (2 * lam * (w2**2 - w1**2))
    assert blow_up_time([w1], w2, [lam]) == pytest.approx(closed, rel=1e-12)
    assert_allclose(blow_up_bounds([w1], w2, [lam]), [closed, closed], rtol=1e-12)


@pytest.mark.parametrize(
    ("w1", "w2", "A"),
    [([0.3], 0.0, [1.0]), ([0.0, 0.0], 1.0, [1.0, 2.0]), ([0.0, 0.3], 1.0, [1.0, 0.0]), ([0.3], 1.0, [0.0])],
)
def test_what_does_not_grow_never_blows_up(w1: list[float], w2: float, A: list[float]) -> None:
    assert blow_up_time(w1, w2, A) == math.inf
    assert blow_up_bounds(w1, w2, A).upper == math.inf


@pytest.mark.parametrize("size", [1e-120, 1e-60, 1e60, 1e120])
def test_blow_up_scales_with_any_size_of_weights(size: float) -> None:
    # w → k w, t → t/k²
    w1, w2, A = EXAMPLE
    assert blow_up_time(size * np.array(w1), size * w2, A) * size**2 == pytest.approx(
        2.768225073473, rel=1e-11
    )


def test_the_state_solves_the_flow() -> None:
    w1, w2, A = EXAMPLE
    for eta in (0.0, 0.05):
        end = 0.9 * blow_up_time(w1, w2, A, weight_decay=eta)
        ts, h = np.linspace(0.1, end, 5), 1e-5
        ahead, behind, here = (
            two_layer_state(ts + step, w1, w2, A, weight_decay=eta) for step in (h, -h, 0.0)
        )
        for k in range(len(ts)):
            moved = diagonal_two_layer_field(
                0.0, TwoLayerState(here.bottom[k : k + 1], here.top[k : k + 1]), np.diag(A), weight_decay=eta
            )
            # central differences: h² times the third derivative, which near the end is 1e3 of the speed
            assert_allclose(
                (ahead.bottom - behind.bottom)[k] / (2 * h), moved.bottom[0], rtol=1e-5, atol=1e-8
            )
            assert_allclose((ahead.top - behind.top)[k] / (2 * h), moved.top[0], rtol=1e-5, atol=1e-8)


def test_the_clock_starts_at_zero_and_ends_at_the_blow_up() -> None:
    assert two_layer_time([0.0, math.inf], *EXAMPLE).tolist() == [0.0, blow_up_time(*EXAMPLE)]
    assert_allclose(two_layer_state(0.0, *EXAMPLE).bottom, EXAMPLE[0], rtol=1e-15)
    with pytest.raises(ValueError, match=r"`ts` must be before the blow-up at t = 2\.768225073, got 3"):
        two_layer_state(3.0, *EXAMPLE)
    with pytest.raises(ValueError, match="`s` must be"):
        two_layer_time(-1.0, *EXAMPLE)


# --- weight decay -------------------------------------------------------------------------------------------


def test_weight_decay_is_a_change_of_time() -> None:
    w1, w2, A = EXAMPLE
    T = blow_up_time(w1, w2, A)
    assert blow_up_time(w1, w2, A, weight_decay=0.45 / T) == pytest.approx(
        -math.log(1 - 0.9) / (0.9 / T), rel=1e-11
    )
    assert blow_up_time(w1, w2, A, weight_decay=0.55 / T) == math.inf
    run = integrate_to_blow_up(
        lambda t, s: diagonal_two_layer_field(t, s, np.diag(A), weight_decay=0.45 / T),
        TwoLayerState(np.array([w1]), np.array([w2])),
    )
    assert run.t == pytest.approx(7.0823042, abs=5e-8)  # the figure of theory R125
    dying = integrate_to_blow_up(
        lambda t, s: diagonal_two_layer_field(t, s, np.diag(A), weight_decay=0.55 / T),
        TwoLayerState(np.array([w1]), np.array([w2])),
        t_end=200.0,
    )
    assert dying.status is Status.END_TIME
    assert np.max(np.abs(dying.final.top)) < 1e-6


def test_the_clock_of_decay_and_its_inverse() -> None:
    ts = np.array([0.0, 1e-9, 0.3, 2.0])
    assert_allclose(decayed_time_inverse(decayed_time(ts, 0.7), 0.7), ts, rtol=1e-14)
    assert_allclose(decayed_time(ts, 0.0), ts)
    with pytest.raises(ValueError, match="`weight_decay` must be finite and >= 0, got -1"):
        decayed_time(1.0, -1)
    with pytest.raises(ValueError, match="`degree` must be >= 2, got 1"):
        decayed_time(1.0, 0.1, 1)


def test_the_logarithmic_mean_of_close_numbers_does_not_cancel() -> None:
    assert log_of_logarithmic_mean(0.0, 1e-12) == pytest.approx(5e-13, rel=1e-3)
    assert log_of_logarithmic_mean(math.log(2), math.log(8)) == pytest.approx(math.log(6 / math.log(4)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.1]], 1.0, [1.0]), "`w1` must be finite numbers of shape"),
        (([math.nan], 1.0, [1.0]), "`w1` must be finite"),
        (([0.1], math.inf, [1.0]), "`w2` must be a finite number"),
        (([0.1], 1.0, [1.0, 2.0]), r"`A` must be finite, of shape \(1,\) or \(1, 1\)"),
        (([0.1], 1.0, [-1.0]), "`A` must have eigenvalues >= 0"),
        (([0.1, 0.2], 1.0, [[1.0, 0.5], [0.0, 1.0]]), "`A` must be symmetric"),
        (([0.1, 0.2], 1.0, [[1.0, 2.0], [2.0, 1.0]]), "`A` must have eigenvalues >= 0"),
    ],
)
def test_what_is_no_node_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        blow_up_time(*arguments)
