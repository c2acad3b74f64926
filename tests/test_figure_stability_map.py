"""The page `stability-map`: its colours against the Jacobian of whole networks, its border against R10."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from analysis.stability.jacobian import dense_jacobian
from dynamics.system import MatrixSystem
from figures.gallery.stability_map import (
    StabilityMap,
    caption_stability_map,
    compute_stability_map,
    figure_stability_map,
)

RATES = {"tau_online": 2.0, "tau_predictor": 0.5, "tau_target": 3.0}


@cache
def found() -> StabilityMap:
    return compute_stability_map(resolution=61, **RATES)


@cache
def drawn() -> Figure:
    return figure_stability_map(found())


def network_leading(lambda_s: float, ratios: list[float], w: list[float], p: list[float]) -> float:
    """Largest real part of the whole Jacobian of a decoupled fixed point."""
    r = np.array(ratios)
    system = MatrixSystem(np.full(r.size, lambda_s), lambda_s * r, **RATES)
    W = np.zeros((len(p), r.size))
    W[np.arange(len(p)), np.arange(len(p))] = w
    jacobian = dense_jacobian(system.state(W, np.diag(p)), system)
    return float(np.max(np.linalg.eigvals(jacobian).real))


def values_at(panel: int, x: float, y: float) -> float:
    """Value of the map at a point of a panel, from the image that is shown."""
    image = drawn().axes[panel].images[0]
    left, right, bottom, top = image.get_extent()
    rows, columns = image.get_array().shape
    column, row = int((x - left) / (right - left) * columns), int((y - bottom) / (top - bottom) * rows)
    return float(image.get_array()[row if image.origin == "lower" else rows - 1 - row, column])


@pytest.mark.parametrize("k", range(2, 61, 6))
def test_held_modes_have_the_spectrum_of_a_network_of_two_rows(k: int) -> None:
    # row 0 holds mode 0 with w, row 1 holds mode 1 with r_1 = 0.4 and an amplitude that is stable
    w = found().amplitudes[1::9]
    r = found().ratios[k]
    for amplitude in w:
        leading = network_leading(1.0, [r, 0.4], [amplitude, 0.5], [r, 0.4])
        shown = values_at(0, amplitude, r)
        # row 0 is stable towards mode 1 while w_1²/τp > (r_0/τo)(0.4 − r_0), that is 0.5 > 0.02; zeros are forced
        assert_allclose(leading, max(shown, 0.0), atol=1e-7)


@pytest.mark.parametrize("k", range(2, 61, 6))
def test_modes_that_nobody_holds_have_the_spectrum_of_one_row(k: int) -> None:
    r = found().ratios[k]
    for p in found().predictors[::7]:
        leading = network_leading(1.0, [r], [0.0], [p])
        # the pair, and one forced zero that belongs to P
        assert_allclose(leading, max(values_at(1, p, r), 0.0), atol=1e-7)


def test_the_border_is_where_the_sign_changes() -> None:
    left, right = drawn().axes[:2]
    w, r = left.lines[0].get_data()
    inside = np.isfinite(w) & (w > 0.02) & (w < found().amplitudes[-1] - 0.02)
    step = found().amplitudes[1]
    for x, y in np.transpose([w, r])[inside]:
        assert values_at(0, x - 1.5 * step, y) > 0 > values_at(0, x + 1.5 * step, y)
    # R10, with τp/τo = 1/4
    assert_allclose(w[inside] ** 2, 0.25 * 0.4 * (np.asarray(r)[inside] - 0.4), rtol=1e-12)
    wedge = np.transpose(right.lines[0].get_data())
    assert {tuple(point) for point in wedge if point[1] == 1.0} == {(0.0, 1.0), (1.0, 1.0)}
    for y in (0.3, 0.7):
        assert values_at(1, 0.05, y) > 0 > values_at(1, -0.05, y)
        assert values_at(1, y - 0.05, y) > 0 > values_at(1, y + 0.05, y)


def test_balanced_points_are_stable() -> None:
    w, r = drawn().axes[0].lines[1].get_data()
    assert_allclose(2.0 * np.asarray(w) ** 2, 0.5 * np.asarray(r) ** 2, rtol=1e-12)
    assert all(values_at(0, x, y) < 0 for x, y in np.transpose([w, r])[1:-1] if x < found().amplitudes[-1])


def test_zero_has_the_colour_of_the_paper_on_a_scale_for_both() -> None:
    images = [ax.images[0] for ax in drawn().axes[:2]]
    for image in images:
        assert_allclose(image.cmap(image.norm(0.0))[:3], 1.0, atol=0.01)
        assert (image.norm.vmin, image.norm.vmax) == (images[0].norm.vmin, images[0].norm.vmax)
    assert images[0].norm.vmax > max(np.max(found().selected), np.max(found().unselected))


def test_words_stand_where_they_are_true() -> None:
    for panel in (0, 1):
        for text in drawn().axes[panel].texts:
            x, y = text.get_position()
            assert (values_at(panel, x, y) > 0) == (text.get_text() == "unstable")


def test_the_caption_gives_the_row() -> None:
    assert "row i has p_i = r_i = 0.4" in caption_stability_map(found())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"predictor": 0.0}, "`predictor` must be > 0 and < 1, got 0.0"),
        ({"predictor": np.nan}, "`predictor` must be > 0 and < 1, got nan"),
        ({"lambda_s": 0.0}, "`lambda_s` must be > 0, got 0.0"),
        ({"lambda_s": np.nan}, "`lambda_s` must be finite, got nan"),
        ({"tau_target": -1.0}, "`tau_target` must be finite and > 0, got -1.0"),
        ({"resolution": 1}, "`resolution` must be an integer >= 2, got 1"),
    ],
)
def test_nonsense_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_stability_map(**settings)
