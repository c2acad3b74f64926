"""Objects on a ring: exact tables of views, what linear and rectified neurons can learn of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.contrastive.rings import (
    invariant_projection,
    linear_operator,
    selective_patterns,
    selectivity_time,
    shift_spectrum,
)
from dynamics.data.datasets import load
from dynamics.data.rings import RingObjects, pattern_frequencies, receptive_field
from dynamics.fields.rings import gated_operator, ring_neuron_field, ring_table


@pytest.mark.parametrize("d", [4, 5, 8, 13])
def test_two_neighbours_see_the_printed_table(d: int) -> None:
    found = pattern_frequencies(RingObjects(d, ["11", "101"]), [0, 1])
    printed = {"11": [1, 0], "10": [1, 2], "01": [1, 2], "00": [d - 3, d - 4]}
    assert {p: (d * f).round(12).tolist() for p, f in found.items()} == {
        p: counts for p, counts in printed.items() if any(counts)
    }


@pytest.mark.parametrize(("k", "d"), [(3, 5), (3, 9), (5, 8)])
def test_a_window_sees_objects_whole_at_the_edge_or_not_at_all(k: int, d: int) -> None:
    found = pattern_frequencies(RingObjects(d, ["11", "101"]), range(k))

    def count(ones: int, which: int) -> int:
        return round(d * sum(f[which] for p, f in found.items() if p.count("1") == ones))

    assert [count(ones, 0) for ones in (2, 1, 0)] == [k - 1, 2, d - k - 1]
    assert [count(ones, 1) for ones in (2, 1, 0)] == [k - 2, 4, d - k - 2]


def test_at_three_pixels_the_objects_coincide() -> None:
    found = pattern_frequencies(RingObjects(3, ["11", "101"]), [0, 1])
    assert all(f[0] == f[1] for f in found.values())


@pytest.mark.parametrize("k", range(1, 8))
def test_a_linear_neuron_learns_nothing_of_objects_of_equal_mass(k: int) -> None:
    ring = RingObjects(8, ["11", "101", "1001"], [1, 2, 3])
    means = ring.views(range(k)).means
    assert_allclose(means - ring.prior @ means, 0.0, atol=1e-15)


def test_of_other_masses_it_learns_their_brightness_alone() -> None:
    ring = RingObjects(6, ["11", "1011", "1"], [1, 2, 1])
    A = np.random.default_rng(0).standard_normal((3, 6))
    shifts = np.stack([np.roll(np.eye(6), b, axis=0) for b in range(6)])
    found = linear_operator(A, invariant_projection(shifts), ring.profiles, ring.prior)
    mass = ring.masses - ring.prior @ ring.masses
    assert_allclose(found, (ring.prior @ mass**2) / 36 * np.outer(A.sum(1), A.sum(1)), atol=1e-14)


def test_any_group_leaves_its_invariants() -> None:
    # reflections and turns of a square act on its four corners; the mean is the projection on the constant
    turn, flip = np.roll(np.eye(4), 1, axis=0), np.eye(4)[[0, 3, 2, 1]]
    group = [
        np.linalg.matrix_power(turn, i) @ np.linalg.matrix_power(flip, j) for i in range(4) for j in range(2)
    ]
    assert_allclose(invariant_projection(group), np.full((4, 4), 0.25), atol=1e-15)
    with pytest.raises(ValueError, match="`group` must be all elements of a group"):
        invariant_projection(group[:3])
    with pytest.raises(ValueError, match="`group` must be matrices"):
        invariant_projection(np.eye(3))


def test_limited_shifts_let_a_linear_neuron_learn() -> None:
    # the figure of theory R122: 3 of 9 shifts
    ring = RingObjects(9, ["11", "101"])
    law = [1, 1, 1, 0, 0, 0, 0, 0, 0]
    printed = [0.2327, 0.2327, 0.0277, 0.0277, 0.0174, 0.0174, 0.0, 0.0, 0.0]
    assert_allclose(np.sort(shift_spectrum(ring, law))[::-1], printed, atol=5e-5)
    views = ring.views(shifts=law)
    centred = views.means - views.prior @ views.means
    dense = np.linalg.eigvalsh((views.prior[:, None] * centred).T @ centred)
    assert_allclose(np.sort(shift_spectrum(ring, law)), dense, atol=1e-14)


def test_the_operator_of_a_selective_neuron_is_that_of_its_pattern() -> None:
    # c_p = 1/(4 d²) for all four patterns; at d = 8, 1/256
    table = ring_table(RingObjects(8, ["11", "101"]), [0, 1])
    for p, x in enumerate(table.inputs):
        gates = np.arange(4) == p
        assert_allclose(gated_operator(table, gates), np.outer(x, x) / 256, atol=1e-16)


def test_without_a_bias_only_two_patterns_can_be_selected() -> None:
    ring = RingObjects(8, ["11", "101"])
    assert selective_patterns(ring, [0, 1]) == ["10", "01"]
    assert selective_patterns(ring, [0, 1], bias=True) == ["11", "10", "01", "00"]


def test_selectivity_ends_when_a_second_pattern_switches_on() -> None:
    table = ring_table(RingObjects(8, ["11", "101"]), [0, 1])
    assert selectivity_time([0.2, -0.6], table) / 256 == pytest.approx(math.log(3), rel=1e-13)
    assert selectivity_time([0.2, -0.6], table, branches="all") / 128 == pytest.approx(math.log(3), rel=1e-13)
    biased = ring_table(RingObjects(8, ["11", "101"]), [0, 1], bias=True)
    assert selectivity_time([1, 1, -1.5], biased) / 256 == pytest.approx(math.log(2.5) / 3, rel=1e-13)
    with pytest.raises(ValueError, match="`w` must respond to one pattern alone, got one that responds to 3"):
        selectivity_time([0.2, 0.3], table)


def test_a_field_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`w` must have shape \(2,\), got \(3,\)"):
        ring_neuron_field(0.0, np.ones(3), RingObjects(8, ["11"]), [0, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, ["1"]), "`length` must be an integer from 1 to 4096, got 0"),
        ((True, ["1"]), "`length` must be an integer"),
        ((4, []), "`objects` must be at least one object"),
        ((4, "11"), "`objects` must be at least one object"),
        ((4, ["12"]), "`objects` must be words of 0s and 1s"),
        ((4, ["11111"]), "`objects` must have 1 to 4 finite pixels"),
        ((4, [[np.nan]]), "`objects` must have 1 to 4 finite pixels"),
        ((4, ["1"], [0.0]), "`prior` must be 1 finite numbers > 0"),
    ],
)
def test_what_is_no_ring_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RingObjects(*arguments)


def test_receptive_fields_and_shifts_are_checked() -> None:
    ring = RingObjects(4, ["11"])
    assert_allclose(receptive_field(ring, [5]), [[0, 1, 0, 0]])
    for offsets in ([0, 4], [0.5], []):
        with pytest.raises(ValueError, match="`offsets` must be whole numbers that name different pixels"):
            receptive_field(ring, offsets)
    with pytest.raises(ValueError, match="`shifts` must be 4 finite numbers >= 0, not all zero"):
        ring.views(shifts=[0, 0, 0, 0])
    with pytest.raises(ValueError, match="`objects` must be of zeros and ones"):
        pattern_frequencies(RingObjects(4, [[0.5, 1.0]]), [0, 1])


def test_a_ring_is_a_source_of_data() -> None:
    found = load("ring:8:11,101")
    assert found.images.shape == (16, 1, 8, 1)
    assert found.images[:8].sum() == found.images[8:].sum() == 16
    for spec in ("ring:", "ring:8", "ring:x:1", "ring:8:12", "ring:0:1", "ring:2:101"):
        with pytest.raises(ValueError, match="ring"):
            load(spec)
