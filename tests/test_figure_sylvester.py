"""The page `sylvester`: marks against eigenvalues, singular values against what their squares must add up to."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from dynamics.data.datasets import load
from dynamics.data.moments import Moments
from dynamics.data.views import parse
from dynamics.states import random_state
from figures.gallery.sylvester import Resonance, caption_sylvester, compute_sylvester, figure_sylvester
from figures.style import THEMES


@cache
def found() -> Resonance:
    return compute_sylvester()


@cache
def drawn() -> Figure:
    return figure_sylvester(found())


@cache
def ratio_matrix() -> np.ndarray:
    moments = Moments.from_data(load("digits").images, [parse("shift:1"), parse("noise:0.3")])
    return np.linalg.solve(moments.sigma_s, moments.sigma_d).T


def start() -> np.ndarray:
    return random_state(64, 8, scale_online=0.3 / 8, scale_predictor=0.2, seed=0).predictor


def marks(panel: int) -> dict[str, np.ndarray]:
    """Complex numbers by label."""
    lines = [line for line in drawn().axes[panel].lines if not line.get_label().startswith("_")]
    return {
        line.get_label(): np.asarray(line.get_xdata()) + 1j * np.asarray(line.get_ydata()) for line in lines
    }


def test_the_plane_shows_both_spectra() -> None:
    for panel in (0, 1):
        assert_allclose(
            np.sort(marks(panel)["eigenvalues of $M$"].real),
            np.sort(np.linalg.eigvals(ratio_matrix()).real),
            atol=1e-9,
        )
    before = marks(0)
    expected = np.sort_complex(np.linalg.eigvals(start()))
    assert_allclose(np.sort_complex(before["of $P$ alone"]), expected, atol=1e-14)
    assert before["of $P$, shared with $M$"].size == 0


def test_learned_eigenvalues_are_shared_and_the_others_are_not() -> None:
    after, ratios = marks(1), np.linalg.eigvals(ratio_matrix()).real
    distance = {name: np.abs(np.subtract.outer(values, ratios)).min(axis=1) for name, values in after.items()}
    assert after["of $P$, shared with $M$"].size == found().learned_nullity == 6
    assert np.max(distance["of $P$, shared with $M$"]) < 1e-9
    assert np.min(distance["of $P$ alone"]) > 1e-2
    colours = {line.get_label(): to_hex(line.get_color()) for line in drawn().axes[1].lines}
    assert colours["of $P$, shared with $M$"] == THEMES["light"].fates["learned"]


def test_singular_values_are_those_of_the_operator() -> None:
    right = drawn().axes[2]
    M, P = ratio_matrix(), start()
    for line, predictor in ((right.lines[0], P), (right.lines[1], None)):
        values = np.asarray(line.get_ydata())
        assert values.size == 64 * 8
        assert np.all(np.diff(values) >= 0)
        if predictor is not None:
            # ‖θ ↦ P θ − θ M‖²_F = n1‖P‖² + n2‖M‖² − 2 tr P tr M, and the least is below ‖P v uᵀ − v uᵀ M‖
            total = 64 * np.sum(P**2) + 8 * np.sum(M**2) - 2 * np.trace(P) * np.trace(M)
            assert_allclose(np.sum(values**2), total, rtol=1e-12)
    zeros = np.asarray(right.lines[1].get_ydata())
    assert np.sum(zeros <= found().threshold) == found().learned_nullity
    assert zeros[6] > 1e6 * found().threshold  # the gap
    assert np.all(np.asarray(right.lines[0].get_ydata()) > found().threshold)
    assert right.lines[2].get_ydata()[0] == found().threshold
    assert [text.get_text() for text in right.texts] == ["6 zeros"]


def test_headline_and_caption_count() -> None:
    assert "tunes 6 of 8 predictor eigenvalues to M" in drawn().get_suptitle().replace("\n", " ")
    assert "0 at the start, 6 after learning (converged to a fixed point)" in caption_sylvester(found())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 17}, r"n1·`dim` must be at most 1024 to write the operator out, got 64·17"),
        ({"dim": 0}, "`dim` must be an integer >= 1, got 0"),
        ({"source": "nowhere"}, "got 'nowhere'"),
    ],
)
def test_nonsense_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_sylvester(**settings)
