"""Integration through growth to a blow-up in finite time, and sliding along switching surfaces."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose

from dynamics.data.rings import RingObjects
from dynamics.fields.rings import gated_field, ring_neuron_field, ring_table
from dynamics.integration.blow_up import integrate_to_blow_up
from dynamics.integration.sliding import SlidingEnd, integrate_sliding
from dynamics.integration.trajectory import Status


class Scalar(NamedTuple):
    """One number."""

    x: Any


@pytest.mark.parametrize("power", [2, 3, 5])
def test_powers_blow_up_when_their_solution_does(power: int) -> None:
    # dx/dt = x^p from x0 blows up at x0^{1−p}/(p − 1)
    run = integrate_to_blow_up(lambda t, y: Scalar(y.x**power), Scalar(np.array([0.7])))
    exact = 0.7 ** (1 - power) / (power - 1)
    assert run.status is Status.BLOW_UP
    assert abs(run.t - exact) <= run.error
    assert run.error < 1e-8 * exact


def test_what_grows_exponentially_does_not_blow_up() -> None:
    run = integrate_to_blow_up(lambda t, y: Scalar(y.x), Scalar(np.array([1.0])))
    assert run.status is Status.DIVERGED
    assert math.isnan(run.error)


def test_a_run_that_ends_before_its_blow_up_is_exact() -> None:
    run = integrate_to_blow_up(lambda t, y: Scalar(y.x**2), Scalar(np.array([1.0])), t_end=0.5)
    assert (run.status, run.t) == (Status.END_TIME, 0.5)
    assert_allclose(run.final.x, 2.0, rtol=1e-9)


def test_a_start_at_rest_and_a_spent_budget_are_told() -> None:
    assert integrate_to_blow_up(lambda t, y: Scalar(y.x**2), Scalar(np.zeros(2))).status is Status.STEADY
    run = integrate_to_blow_up(lambda t, y: Scalar(y.x**2), Scalar(np.ones(1)), max_steps=3)
    assert run.status is Status.MAX_STEPS


def test_a_blow_up_is_an_answer() -> None:
    assert not Status.BLOW_UP.failed


@pytest.mark.parametrize(
    ("options", "message"),
    [({"t_end": -1.0}, "`t_end` must be finite and > 0"), ({"rtol": 1.0}, "`rtol` must be > 0 and <= 0.01")],
)
def test_options_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        integrate_to_blow_up(lambda t, y: y, Scalar(np.ones(1)), **options)
    with pytest.raises(ValueError, match="`start` must be finite"):
        integrate_to_blow_up(lambda t, y: y, Scalar(np.array([np.nan])))


# --- sliding ------------------------------------------------------------------------------------------------

RING = RingObjects(8, ["11", "101"])


def neuron(start: list[float], t_end: float, *, bias: bool = False) -> Any:
    table = ring_table(RING, [0, 1], bias=bias)
    return integrate_sliding(lambda w, gates: gated_field(w, table, gates), table.inputs, start, t_end)


def test_a_neuron_on_a_ring_slides_where_two_patterns_meet() -> None:
    # c = 1/256: pattern 10 alone until ct = ln 3, then along w1 = −w2 at rate c/2 (R123)
    run = neuron([0.2, -0.6], 256 * 3.0)
    assert run.end is SlidingEnd.END_TIME
    assert run.switches[0] / 256 == pytest.approx(math.log(3), abs=1e-9)
    assert len(run.modes[-1]) == 1
    w1, w2 = run.final
    assert w1 == pytest.approx(-w2, rel=1e-12)
    assert math.log(w1 / 0.6) / (3 - math.log(3)) == pytest.approx(0.5, abs=1e-9)


def test_sliding_is_the_limit_of_small_steps() -> None:
    w, h = np.array([0.2, -0.6]), 256 * 2e-4
    for _ in range(10000):  # to ct = 2
        w = w + h * ring_neuron_field(0.0, w, RING, [0, 1])
    # Euler's chatter is of the size of a step, its slope's error of first order
    assert_allclose(neuron([0.2, -0.6], 256 * 2.0).final, w, rtol=1e-3)


@pytest.mark.parametrize("start", [[0.3, 0.4], [-0.3, -0.4]])
def test_a_neuron_that_is_linear_or_dead_on_the_data_rests(start: list[float]) -> None:
    run = neuron(start, 1000.0)
    assert_allclose(run.final, start, rtol=1e-13)
    assert run.switches == ()


def test_a_bias_selects_the_pattern_11_for_a_while() -> None:
    run = neuron([1.0, 1.0, -1.5], 256 * 0.4, bias=True)
    assert run.switches[0] / 256 == pytest.approx(math.log(2.5) / 3, abs=1e-9)


def test_a_run_crosses_slides_and_leaves() -> None:
    # n·F₋ = 1; n·F₊ = −1 until w2 = 1, +1 beyond: it slides up the plane w1 = 0, and leaves at w2 = 1
    def field(w: np.ndarray, gates: np.ndarray) -> np.ndarray:
        return np.array([(2 * (w[1] > 1) - 1.0) if gates[0] else 1.0, 1.0])

    def smooth(w: np.ndarray, gates: np.ndarray) -> np.ndarray:
        return np.array([4 * (w[1] - 1.0) if gates[0] else 1.0, 1.0])

    run = integrate_sliding(smooth, [[1.0, 0.0]], [-0.5, 0.0], 3.0)
    assert run.modes == ((), (0,), ())
    assert_allclose(run.switches, [0.5, 1.0], atol=1e-8)
    # from then on dw1/dt = 4 (t − 1)
    assert_allclose(run.final, [2 * 2.0**2, 3.0], atol=1e-6)
    crossing = integrate_sliding(lambda w, gates: np.array([1.0, gates[0]]), [[1.0, 0.0]], [-1.0, 0.0], 2.0)
    assert_allclose(crossing.final, [1.0, 1.0], atol=1e-9)
    assert field(np.zeros(2), np.ones(1))[0] == -1.0


def test_a_surface_that_the_field_leaves_on_both_sides_has_no_one_way_on() -> None:
    away = integrate_sliding(lambda w, gates: np.array([2 * gates[0] - 1.0]), [[1.0]], [0.0], 1.0)
    assert away.end is SlidingEnd.SPLIT
    assert "several ways" in away.end.message


def test_a_budget_of_switches_ends_a_run() -> None:
    def turning(w: np.ndarray, gates: np.ndarray) -> np.ndarray:
        return np.array([w[1], -w[0]]) + 0.0 * gates[0]

    run = integrate_sliding(turning, [[1.0, 0.0]], [1.0, 0.0], 100.0, max_switches=3)
    assert run.end is SlidingEnd.MAX_SWITCHES
    assert_allclose(run.switches, [np.pi / 2, 3 * np.pi / 2, 5 * np.pi / 2], atol=1e-8)


@pytest.mark.parametrize(
    ("normals", "start", "t_end", "message"),
    [
        ([[1.0]], [np.nan], 1.0, "`start` must be finite"),
        ([[1.0, 0.0]], [1.0], 1.0, r"`normals` must be finite, of shape \(n_surfaces, 1\)"),
        ([[1.0]], [1.0], 0.0, "`t_end` must be finite and > 0"),
    ],
)
def test_what_does_not_fit_is_refused(normals: Any, start: Any, t_end: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        integrate_sliding(lambda w, gates: w, normals, start, t_end)
