"""Pages `tree-ceilings` and `layer-traces` and the picture of `dyn tree`: what their lines are, what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.trees.ceilings import bayes_ceiling
from analysis.trees.summary import summary
from dynamics.data.latent_trees import LatentTree
from figures.gallery.trees import (
    LAYER_TRACES,
    TREE_CEILINGS,
    compute_layer_traces,
    compute_tree_ceilings,
    draw_layer_traces,
    draw_tree_ceilings,
)
from figures.panels.trees import BAYES, LINEAR
from figures.results.trees import figure_tree


def by_level(rho: np.ndarray, height: int) -> np.ndarray:
    """√c of two equal children, level by level (R204)."""
    c = np.ones_like(rho)
    for _ in range(height):
        with np.errstate(divide="ignore", invalid="ignore"):
            t = 2 * rho**2 * c / (1 - rho**2 * c)
            c = np.where(np.isinf(t), 1.0, t / (1 + t))
    return np.sqrt(c)


def test_lines_of_the_ceilings_are_the_recursion_and_the_posterior() -> None:
    found = compute_tree_ceilings(heights=(1, 3), points=11)
    ax, gain = draw_tree_ceilings(found).axes
    for k, height in enumerate((1, 3)):
        bayes, linear = ax.lines[2 * k : 2 * k + 2]
        rho = np.asarray(bayes.get_xdata())
        assert_allclose(np.asarray(linear.get_ydata()), by_level(rho, height), rtol=0, atol=1e-14)
        sampled = bayes_ceiling(LatentTree.binary(2, height, 0.8), "sample", n_samples=20_000)
        assert abs(np.asarray(bayes.get_ydata())[8] - sampled.correlation) < 4 * sampled.standard_error
        difference = np.asarray(bayes.get_ydata()) - np.asarray(linear.get_ydata())
        assert_allclose(np.asarray(gain.lines[k].get_ydata()), difference, rtol=0, atol=1e-15)
    # two leaves are told by their sum: no function does better than a linear one
    assert_allclose(np.asarray(gain.lines[0].get_ydata()), 0, atol=1e-7)
    assert list(ax.lines[-1].get_xdata()) == [2**-0.5] * 2
    assert f"{np.max(found.bayes - found.linear):.2g} at most" in TREE_CEILINGS.caption(found)


def test_two_polarities_are_enough() -> None:
    assert compute_tree_ceilings(heights=(2,), points=2).bayes.tolist() == [[0.0, 1.0]]


def test_the_dotted_line_is_where_the_ceilings_go() -> None:
    found = compute_tree_ceilings(heights=(1,), points=11)
    # at a distance from bρ² = 1 of .05 or more, 400 levels contract by .95 each or faster
    far = np.abs(2 * found.polarities**2 - 1) > 0.05
    assert_allclose(found.limit[far], by_level(found.polarities[far], 400), rtol=0, atol=0.95**100)


def test_traces_are_powers_and_the_second_panel_divides_by_the_latents() -> None:
    found = compute_layer_traces(branching=3, height=4, polarities=(0.5, -0.6), root_polarity=0.6)
    whole, share = draw_layer_traces(found).axes
    depth = np.arange(5)
    for line, per_latent, rho in zip(whole.lines, share.lines, (0.5, -0.6), strict=True):
        assert_allclose(line.get_ydata(), 0.64 / 4 * (3 * rho**2) ** depth, rtol=1e-13)
        assert_allclose(per_latent.get_ydata(), 0.64 / 4 * rho ** (2 * depth), rtol=1e-13)
    assert "1 of 2 polarities" in LAYER_TRACES.caption(found)


def test_the_picture_of_a_tree_shows_its_report() -> None:
    found = summary(LatentTree.drawn(2, 3, 0.6, 0.9, 0))
    report = found.report()
    ceilings, traces = figure_tree(found).axes
    lines = {label: handle for handle, label in zip(*ceilings.get_legend_handles_labels(), strict=True)}
    assert_allclose(np.asarray(lines[LINEAR].get_ydata()), report["ceiling"]["linear_by_depth"])
    assert_allclose(np.asarray(lines[BAYES].lines[0].get_ydata(), float), report["ceiling"]["bayes_by_depth"])
    assert_allclose(traces.lines[0].get_ydata(), report["layer_trace"])


def test_a_tree_of_three_states_has_no_traces_to_show() -> None:
    tree = LatentTree([-1, 0], [None, [[0.5, 0.25, 0.25], [0, 0.5, 0.5]]], [0.5, 0.5])
    (only,) = figure_tree(summary(tree)).axes
    assert only.get_legend_handles_labels()[1] == [BAYES]


@pytest.mark.parametrize(
    ("compute", "parameters", "message"),
    [
        (compute_tree_ceilings, {"branching": 0}, "`branching` must be"),
        (compute_tree_ceilings, {"heights": ()}, "`heights` must be"),
        (compute_tree_ceilings, {"heights": (2, 2)}, "`heights` must be"),
        (compute_tree_ceilings, {"heights": (0,)}, "`heights` must be"),
        (compute_tree_ceilings, {"points": 1}, "`points` must be"),
        (compute_layer_traces, {"height": 0}, "`height` must be"),
        (compute_layer_traces, {"polarities": ()}, "`polarities` must be"),
        (compute_layer_traces, {"polarities": (0.0,)}, "`polarities` must be"),
        (compute_layer_traces, {"polarities": (1.5,)}, "`polarities` must be"),
        (compute_layer_traces, {"root_polarity": 1.0}, "`root_polarity` must be"),
        (compute_layer_traces, {"root_polarity": float("nan")}, "`root_polarity` must be"),
    ],
)
def test_nonsense_is_refused(compute: Any, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute(**parameters)
