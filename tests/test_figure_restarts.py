"""The page `restarts`: what it draws against the map, the fractions and the run."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.fates.restarts import collapse_fraction
from dynamics.exact.restarts import RestartLaw
from figures.gallery.restarts import RestartPage, compute_restarts, figure_restarts
from figures.style import theme


@cache
def found() -> RestartPage:
    return compute_restarts()


def test_the_run_ends_every_stretch_where_the_map_says() -> None:
    ends = np.append(found().events[1:], found().ts[-1])
    for end, size in zip(ends, found().said, strict=True):
        assert_allclose(np.abs(found().online[np.flatnonzero(found().ts == end)[0]]), size, atol=5e-3)


def test_the_map_and_its_edges_agree() -> None:
    page = found()
    inside = (page.predictors[:, None] > page.low) & (page.predictors[:, None] < page.high)
    assert np.all((page.sizes > 0) == (inside & (page.roots > 0)))


def test_the_picture_shows_the_numbers() -> None:
    page = found()
    edges, dead, run = figure_restarts(page).axes
    assert [line.get_ydata()[-1] for line in edges.lines] == [page.low[-1], page.high[-1]]
    for line, one in zip(dead.lines, page.fractions, strict=False):
        assert_allclose(line.get_ydata(), one)
    assert dead.lines[-1].get_xdata()[0] == page.threshold == pytest.approx(0.5 * np.sqrt(3))
    assert_allclose(run.lines[0].get_ydata(), page.online)
    assert_allclose(run.lines[1].get_ydata(), page.predictor)
    assert [line.get_label() for line in run.lines[:2]] == ["$w_1$", "$w_2$"]
    weights = theme().weights
    assert [line.get_color() for line in run.lines[:2]] == [weights["online"], weights["predictor"]]
    assert_allclose([line.get_ydata()[0] for line in run.lines[2:]], page.said)
    assert_allclose(page.fractions[1, 5], collapse_fraction(0.01, 0.5, RestartLaw(page.scales[5]), 3))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"ratio": 0.0}, "`ratio` must be finite and > 0, got 0.0"),
        ({"start": np.nan}, "`start` must be finite and > 0, got nan"),
        ({"law": "gamma"}, "`law` must be one of uniform, positive, normal, got 'gamma'"),
        ({"count": 0}, "`count` must be >= 1, got 0"),
        ({"scale": 0.0}, "`scale` must be finite and > 0, got 0.0"),
        ({"every": 0.0}, "`restart_every` must be finite and > 0, got 0.0"),
    ],
)
def test_refusals(parameters: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_restarts(**parameters)
