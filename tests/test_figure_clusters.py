"""The page `cluster-directions`: basins, maxima and growth that it draws, against R124 and R128."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from figures.gallery.clusters import ClusterDirections, compute_cluster_directions, figure_cluster_directions
from figures.style import theme


@cache
def found() -> ClusterDirections:
    return compute_cluster_directions(n_starts=12)


@cache
def drawn() -> Figure:
    return figure_cluster_directions(found())


def test_every_start_comes_to_the_centre_that_it_is_nearest_to() -> None:
    # R128: centres on a circle with μ_lᵀμ_k <= 0 are fixed directions, by symmetry for every σ
    assert_allclose(found().maxima, [0, 120, 240], atol=1e-6)
    apart = (found().ends - found().nearest + 180) % 360 - 180
    assert np.max(np.abs(apart)) < 1e-3
    assert set(found().nearest) == {0, 120, 240}


def test_a_node_at_rest_in_its_direction_grows_as_the_closed_form_says() -> None:
    # along a centre with the others switched off A is constant, and R124 exact
    along = compute_cluster_directions(n_starts=1, start=0.0)
    assert along.shares[-1] == pytest.approx(0.999)
    assert_allclose(along.norms, along.exact, rtol=1e-5)
    assert along.exact[-1] / along.exact[0] > 30  # close to the blow-up


def test_a_node_that_turns_grows_otherwise() -> None:
    assert np.nanmax(np.abs(found().norms / found().exact - 1)) > 0.1


def test_the_picture_shows_the_numbers() -> None:
    climbed, ended, grown = drawn().axes
    for line, values in zip(climbed.lines, found().values, strict=False):
        assert_allclose(line.get_ydata(), values)
    flow = next(line for line in ended.lines if line.get_label() == "the flow")
    assert_allclose(np.asarray(flow.get_ydata()) % 360, found().ends % 360)
    assert_allclose(grown.lines[0].get_ydata(), found().norms)
    assert_allclose(grown.lines[1].get_ydata(), found().exact)
    assert [line.get_label() for line in grown.lines[:2]] == ["the flow", "R124"]
    assert [line.get_color() for line in grown.lines[:2]] == [theme().weights["online"], theme().ink]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"clusters": 1}, "`clusters` must be >= 2, got 1"),
        ({"deviations": (0.0,)}, "`deviations` must be finite and > 0"),
        ({"deviations": ()}, "`deviations` must be finite and > 0"),
        ({"n_starts": 0}, "`n_starts` must be >= 1, got 0"),
        ({"start": np.inf}, "`start` must be finite"),
        ({"length": 0.0}, "`length` must be finite and > 0"),
        ({"top": 0.0}, "`top` must be finite and not 0"),
    ],
)
def test_refusals(parameters: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_cluster_directions(**parameters)
