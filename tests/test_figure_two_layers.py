"""The pages figure-3, ring-plane, figure-7 and figure-8: what they draw against closed forms and their own data."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from figures.gallery.registry import page
from figures.gallery.rings import compute_figure_3, compute_ring_plane
from figures.gallery.two_layers import Growth, Selectivity, compute_figure_7, compute_figure_8


@cache
def figure_3() -> Any:
    return compute_figure_3()


@cache
def growth() -> Growth:
    return compute_figure_7(n_seeds=2, steps=300, dimension=10, nodes=10)


@cache
def selectivity() -> Selectivity:
    return compute_figure_8(n_seeds=2, steps=60, dimension=6, nodes=8)


def test_the_table_of_figure_3_is_that_of_r121() -> None:
    for length in (4, 9):
        assert compute_figure_3(length=length).counts.tolist() == [
            [1, 1, 1, length - 3],
            [0, 2, 2, length - 4],
        ]


def test_a_linear_neuron_learns_brightness_or_nothing() -> None:
    found = figure_3()
    assert_allclose(found.equal, 0, atol=8 * np.finfo(float).eps)
    # V[mass]/d² ‖A1‖²: masses 1 and 2 have variance ¼, and k pixels ‖A1‖² = k
    assert_allclose(found.unequal, found.widths / 4 / 64, rtol=1e-13)


def test_the_rectified_neuron_turns_its_corner_at_ln_3() -> None:
    found = figure_3()
    assert found.rate == pytest.approx(1 / 256, rel=1e-14)
    assert found.corner == pytest.approx(math.log(3), rel=1e-13)
    w1, w2 = found.states.T
    before = found.ts <= found.corner
    # the solver's relative tolerance of 1e-8, over some dozens of steps
    assert_allclose(w1[before], 0.2 * np.exp(found.ts[before]), rtol=1e-6)
    assert_allclose(w2[before], -0.6, rtol=1e-6)
    after = found.ts > found.corner + 1e-6
    assert after.sum() >= 2
    assert_allclose(w1[after], 0.6 * np.exp((found.ts[after] - found.corner) / 2), rtol=1e-6)
    assert_allclose(w2[after], -w1[after], rtol=1e-6)


def test_nodes_turn_to_the_nearer_end_of_the_difference() -> None:
    found = figure_3()
    assert found.shares[0].max() == 0
    assert np.all(np.diff(found.shares, axis=0) > 0)
    assert found.shares.max() <= 1
    assert_allclose(np.abs(found.cosines[-1]), 1, atol=1e-4)
    assert_array_equal(np.sign(found.cosines[-1]), np.sign(found.cosines[0]))


def test_trajectories_of_the_plane_slide_and_arrows_point_to_the_line() -> None:
    found = compute_ring_plane()
    for one in found.trajectories:
        assert one[-1, 0] == pytest.approx(-one[-1, 1], rel=1e-9)
    still = np.isnan(found.du)
    assert_array_equal(still, found.u * found.v > 0)
    # u + v and its rate have opposite signs off the line in the fourth quadrant and in the second
    total, rate = (found.u + found.v)[~still], (found.du + found.dv)[~still]
    off = np.abs(total) > 1e-12
    assert np.all(total[off] * rate[off] < 0)
    axes = page("ring-plane").draw(found).axes[0]
    drawn = [line.get_xydata() for line in axes.lines if len(line.get_xydata()) > 2]
    assert_array_equal(drawn[0], found.trajectories[0])


def test_figure_7_draws_what_it_computed_and_marks_the_blow_ups() -> None:
    found = growth()
    assert np.all(np.abs(found.overflows / found.predicted - 1) < 0.15)
    axes = page("figure-7").draw(found).axes
    assert [ax.get_title(loc="left") for ax in axes] == [
        "simple loss, layer 1",
        "InfoNCE, layer 1",
        "simple loss, layer 2",
        "InfoNCE, layer 2",
    ]
    assert_array_equal(axes[3].lines[0].get_ydata(), np.log(found.top["infonce"][0]))
    (ticks,) = (line for line in axes[0].lines if line.get_marker() == "|")
    assert_array_equal(ticks.get_xdata(), found.predicted)
    caption = page("figure-7").caption(found)
    assert "The source gives neither d, n1, the start nor the augmentation" in caption
    assert ", ".join(f"{n:.0f}" for n in found.overflows) in caption


def test_figure_7_says_so_where_nothing_overflows() -> None:
    found = compute_figure_7(n_seeds=1, steps=5, dimension=6, nodes=4)
    assert np.isnan(found.overflows).all()
    assert "at minibatch none" in page("figure-7").caption(found)
    assert "explodes" not in page("figure-7").draw(found).get_suptitle()


def test_figure_8_draws_every_node_at_its_count() -> None:
    found = selectivity()
    axes = page("figure-8").draw(found).axes
    for ax, one in zip(axes, (found.start, *found.ends.values()), strict=True):
        dots, means = ax.lines
        assert_array_equal(np.round(np.asarray(dots.get_xdata())), one.counts)
        assert_array_equal(dots.get_ydata(), np.maximum(one.weights, 1e-4))
        assert np.asarray(means.get_xdata()).tolist() == sorted(set(one.counts.tolist()))
    caption = page("figure-8").caption(found)
    short = found.n_short
    assert f"{short['simple']} under simple loss and {short['infonce']} under InfoNCE" in caption
    assert f"of {found.n_outputs} each" in caption


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("figure-3", {"length": 3}, "`length` must be >= 4"),
        ("figure-3", {"w2": -0.1}, "`w2` must be below −w1 < 0"),
        ("figure-3", {"top": 0.0}, "`top` must be finite and not 0, got 0.0"),
        ("ring-plane", {"length": 3}, "`length` must be >= 4"),
        ("ring-plane", {"starts_w1": (0.1,)}, "`starts_w2` must be 1 numbers, as w1 is, got 6"),
        ("ring-plane", {"resolution": 1}, "`resolution` must be >= 2, got 1"),
        ("figure-7", {"steps": 0}, "`steps` must be an integer >= 1, got 0"),
        ("figure-7", {"n_seeds": 0}, "`n_seeds` must be >= 1, got 0"),
        ("figure-8", {"floor": 0.0}, "`floor` must be finite and > 0, got 0.0"),
        ("figure-8", {"nodes": 1}, "two nodes at least to be normalised, got 1"),
    ],
)
def test_parameters_out_of_range_are_refused(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        page(name).compute(**parameters)
