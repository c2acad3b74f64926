"""C16: networks on latent trees; each claim fails when what it compares is turned round or the ceiling is lowered."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from analysis.experiments import EXPERIMENTS, Effort, Outcome, Verdict, trees
from analysis.runs.trees import TreeRuns, drawn_trees, trained_on_trees
from dynamics.training.tree_networks import TreeNetworkSettings

SMALL = trees.QUICK  # of its size, so that it is compiled once


@cache
def small_runs() -> dict[trees.Key, TreeRuns]:
    return {
        (height, units, low): trained_on_trees(
            TreeNetworkSettings(units=units), drawn_trees(SMALL.n_seeds, height, low), SMALL.records
        )
        for height, units, low in SMALL.keys
    }


def first_of(runs: dict[trees.Key, TreeRuns]) -> dict[tuple[int, int], TreeRuns]:
    """Runs whose second record is after the first steps, as all of `SMALL` are."""
    return {(3, trees.UNITS): runs[3, trees.UNITS, 0.9]}


@cache
def outcome() -> Outcome:
    return EXPERIMENTS["C16"].run(Effort(quick=True))


def test_the_quick_version_holds_and_says_what_was_chosen() -> None:
    found = outcome()
    assert found.verdict is Verdict.HOLDS
    assert "neither optimiser" in found.reason
    assert {curve.panel for curve in found.curves} >= {"root, L = 3, δ = 0.7", "|N| = 5, δ = 0.9"}


def test_every_claim_of_the_full_version_is_planned() -> None:
    assert trees.FULL.middle == 0.8
    assert len(trees.FULL.keys) == 9
    assert trees.FULL.first_keys == [(3, 5), (4, 5), (5, 5), (5, 2), (5, 10)]
    assert trees.FULL.records[0] == 0
    assert trees.EARLY in trees.FULL.records


def test_nothing_is_above_the_ceiling_and_a_lower_one_is_exceeded() -> None:
    honest = trees.table(SMALL, small_runs(), first_of(small_runs()))[-1]
    assert honest.holds
    low = {key: replace(one, ceilings=0.7 * one.ceilings) for key, one in small_runs().items()}
    assert not trees.table(SMALL, low, first_of(low))[-1].holds


def test_a_rise_is_told_from_a_fall() -> None:
    one = small_runs()[3, trees.UNITS, 0.9]
    # the start in the place of the first steps, and they in its place
    levels = tuple(type(level)(*(part[:, [1, 0, 2]] for part in level)) for level in one.run.levels)
    fallen = {(3, trees.UNITS): replace(one, run=replace(one.run, levels=levels))}
    assert trees.table(SMALL, small_runs(), first_of(small_runs()))[0].holds
    assert not trees.table(SMALL, small_runs(), fallen)[0].holds
    assert trees.operators(SMALL, small_runs(), first_of(small_runs()))[0].holds
    assert not trees.operators(SMALL, small_runs(), fallen)[0].holds


def test_levels_are_told_apart() -> None:
    first = first_of(small_runs())
    names = [f"log10 ‖OP‖ at the end, level {k} less level {k + 1}" for k in range(2)]
    honest = {m.name: m.holds for m in trees.operators(SMALL, small_runs(), first)}
    assert all(honest[name] for name in names)
    turned = {
        key: replace(one, run=replace(one.run, levels=one.run.levels[::-1]))
        for key, one in small_runs().items()
    }
    found = {m.name: m.holds for m in trees.operators(SMALL, turned, first)}
    assert not any(found[name] for name in names)


def test_norms_of_units_that_are_off_are_counted_as_the_least() -> None:
    one = small_runs()[3, trees.UNITS, 0.7]
    level = one.run.levels[0]
    off = replace(
        one.run, levels=(level._replace(covariance_norm=0 * level.covariance_norm), *one.run.levels[1:])
    )
    np.testing.assert_allclose(replace(one, run=off).logarithms(0), -6, rtol=1e-12)


def test_trees_of_one_seed_differ_in_their_range_alone() -> None:
    near, far = drawn_trees(2, 2, 0.9, seed=3), drawn_trees(2, 2, 0.7, seed=3)
    for one, other in zip(near, far, strict=True):
        rho, wide = (tree.table[1:, 1, 1] - tree.table[1:, 0, 1] for tree in (one, other))
        np.testing.assert_allclose((1 - rho) / 0.1, (1 - wide) / 0.3, rtol=1e-9)
    with pytest.raises(ValueError, match="`n_seeds` must be >= 1, got 0"):
        drawn_trees(0, 2, 0.7)
