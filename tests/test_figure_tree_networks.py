"""The pages table-2 and figure-9: what they draw against their own data, ceilings and what the source prints."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose

from analysis.trees.ceilings import bayes_ceiling
from dynamics.data.latent_trees import LatentTree
from figures.gallery.registry import page
from figures.gallery.tree_networks import (
    PRINTED,
    OperatorNorms,
    TreeTable,
    compute_figure_9,
    compute_table_2,
)
from figures.panels.palette import shades


@cache
def table() -> TreeTable:
    return compute_table_2(n_seeds=3, height=1, units=(2, 3), lows=(0.7, 0.9), early=2, steps=4)


@cache
def norms() -> OperatorNorms:
    return compute_figure_9(n_seeds=3, height=2, units=3, steps=20)


def test_ceilings_are_those_of_the_trees_that_were_drawn() -> None:
    for low, row in zip((0.7, 0.9), table().ceilings, strict=True):
        trees = [LatentTree.drawn(2, 1, low, 1.0, seed=k) for k in range(3)]
        assert_allclose(row, [bayes_ceiling(tree).correlation for tree in trees], rtol=1e-14)


def test_bars_are_the_mean_correlations_and_lines_the_mean_ceilings() -> None:
    found = table()
    axes = page("table-2").draw(found).axes
    assert len(axes) == 2
    for ax, values in zip(axes, found.correlations, strict=True):
        heights = [[bar.get_height() for bar in group] for group in ax.containers if len(group) == 2]
        assert_allclose(np.transpose(heights), values.mean(axis=1), rtol=1e-12)
        colours = [to_hex(group[0].get_facecolor()) for group in ax.containers if len(group) == 2]
        assert colours == shades(3)
        segments = ax.collections[-1].get_segments()
        assert_allclose([segment[0, 1] for segment in segments], found.ceilings.mean(axis=1), rtol=1e-12)


def test_diamonds_are_what_is_printed_where_that_is_known() -> None:
    axes = page("table-2").draw(table()).axes
    diamonds = [[line for line in ax.lines if line.get_marker() == "D"] for ax in axes]
    for k, line in enumerate(diamonds[0]):  # two units
        assert_allclose(line.get_ydata(), [PRINTED[2][low][k] for low in (0.7, 0.9)])
    assert len(diamonds[0]) == 3
    assert diamonds[1] == []  # three units are not in the table


def test_lines_are_medians_of_norms_by_level() -> None:
    found = norms()
    axes = page("figure-9").draw(found).axes
    for ax, values in zip(axes, (found.norms, found.normalised), strict=True):
        for line, level in zip(ax.lines, values, strict=True):
            assert_allclose(line.get_ydata(), np.median(level, axis=0), rtol=1e-12)
            assert_allclose(line.get_xdata(), found.steps)
    assert found.steps.tolist() == list(range(0, 21, 2))


def test_captions_say_the_shares_and_the_moves() -> None:
    found = table()
    share = (found.correlations[0, 1, :, -1] / found.ceilings[1]).mean()
    assert f"{share:.2f} at δ = 0.9; |N| = 3" in page("table-2").caption(found)
    first, last = np.median(norms().norms[0], axis=0)[[0, -1]]
    assert f"from the root down, {first:.2g} to {last:.2g}" in page("figure-9").caption(norms())


def test_pages_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="`early` must be >= 1 and < 4, the steps, got 4"):
        compute_table_2(n_seeds=1, early=4, steps=4)
    with pytest.raises(ValueError, match="`units` and `lows` must not be empty, got"):
        compute_table_2(units=())
    with pytest.raises(ValueError, match="`steps` must be >= 10, got 9"):
        compute_figure_9(steps=9)
    with pytest.raises(ValueError, match="`n_seeds` must be >= 1, got 0"):
        compute_figure_9(n_seeds=0)
