"""The page `spectrum`: its curves against spectra computed anew from the data."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal

from dynamics.data.datasets import load
from dynamics.data.moments import Moments
from dynamics.data.views import parse
from dynamics.states import random_state
from figures.gallery.spectrum import Spectrum, caption_spectrum, compute_spectrum, figure_spectrum
from figures.style import THEMES

LEARNED, COLLAPSED = (THEMES["light"].fates[fate] for fate in ("learned", "collapsed"))


@cache
def spectrum() -> Spectrum:
    return compute_spectrum()


@cache
def drawn() -> Figure:
    return figure_spectrum(spectrum())


@cache
def moments() -> Moments:
    return Moments.from_data(load("digits").images, [parse("shift:1"), parse("noise:0.3")])


def ratios() -> np.ndarray:
    values = np.linalg.eigvals(np.linalg.solve(moments().sigma_s, moments().sigma_d))
    return np.sort(values.real)[::-1]


def test_predictor_eigenvalues_end_on_the_spectrum_of_m() -> None:
    left = drawn().axes[0]
    ends = {to_hex(line.get_color()): [] for line in left.lines}
    for line in left.lines:
        ends[to_hex(line.get_color())].append(line.get_ydata()[-1])
    assert_allclose(ends[LEARNED], ratios()[:7], atol=1e-6)
    assert_allclose(ends[LEARNED], [0.921, 0.865, 0.802, 0.728, 0.482, 0.420, 0.364], atol=5e-4)
    assert len(ends[COLLAPSED]) == 1
    assert ends[COLLAPSED][0] < 0


def test_the_spectrum_of_m_is_drawn_as_lines() -> None:
    lines = [child for child in drawn().axes[0].get_children() if isinstance(child, LineCollection)]
    heights = np.concatenate([[segment[0, 1] for segment in part.get_segments()] for part in lines])
    assert_allclose(np.sort(heights)[::-1], ratios(), atol=1e-9)


def test_paths_begin_at_the_drawn_start() -> None:
    start = random_state(64, 8, scale_online=0.3 / 8, scale_predictor=0.1, seed=0)
    begin = np.sort([line.get_ydata()[0] for line in drawn().axes[0].lines])
    assert_allclose(begin, np.sort(np.linalg.eigvals(start.predictor).real), atol=1e-14)
    middle = [line.get_ydata()[0] for line in drawn().axes[1].lines[:8]]
    assert_allclose(middle, np.linalg.svd(start.online, compute_uv=False), rtol=1e-14)


def test_singular_values_stay_above_their_floors() -> None:
    start = random_state(64, 8, scale_online=0.3 / 8, scale_predictor=0.1, seed=0)
    W, P, _ = start
    C = np.sort(np.linalg.eigvalsh(W @ W.T - P.T @ P))[::-1]
    curves, floors = drawn().axes[1].lines[:8], drawn().axes[1].lines[8:]
    assert len(floors) == np.sum(C > 0) > 0
    for floor, curve, value in zip(floors, curves, C, strict=False):
        assert_allclose(floor.get_ydata(), np.sqrt(value), rtol=1e-10)
        # W is integrated to 1e-8
        assert np.all(curve.get_ydata() >= floor.get_ydata() - 1e-7)


def test_the_commutator_stays_beneath_its_bounds() -> None:
    found, ax = spectrum(), drawn().axes[2]
    (weak, sharp, curve) = (line.get_ydata() for line in ax.lines)
    ts = ax.lines[2].get_xdata()
    assert_allclose(np.diff(np.log(weak)) / np.diff(ts), -2 * found.lambda_0, rtol=1e-8)
    assert found.lambda_0 > 0
    assert np.all(curve <= sharp * (1 + 1e-6))
    assert np.all(sharp <= weak * (1 + 1e-12))
    # the model's start, drawn anew: L = F P − P F with F = 1.25 W Wᵀ and P made symmetric
    start = random_state(6, 6, scale_online=0.3, scale_predictor=0.3, seed=0)
    W, P = 1.5 * np.eye(6) + start.online, (start.predictor + start.predictor.T) / 2
    F = 1.25 * W @ W.T
    assert_allclose(curve[0], np.linalg.norm(F @ P - P @ F), rtol=1e-12)
    K = F / 2 + 1.25 * P @ P - 0.95 * P
    assert found.lambda_0 <= np.linalg.eigvalsh(K)[0] * (1 + 1e-9)


def test_labels_are_the_ends() -> None:
    strip = drawn().axes[0].child_axes[0]
    labels = sorted(float(text.get_text().strip("$").replace("−", "-")) for text in strip.texts)
    assert_allclose(labels, np.sort(spectrum().predictor_eigenvalues[-1]), atol=5e-4)


def test_the_headline_and_the_caption_count_what_learned() -> None:
    assert drawn().get_suptitle().replace("\n", " ").startswith("7 of 8 predictor eigenvalues")
    caption = caption_spectrum(spectrum())
    assert "7 of 8 come to eigenvalues of M" in caption
    assert "0.921, 0.865, 0.802, 0.728, 0.482, 0.420, 0.364" in caption


def test_parameters_reach_the_run() -> None:
    found = compute_spectrum(augment=("noise:1",), dim=2, noise=0.0, seed=4)
    sigma_x = Moments.from_data(load("digits").images, []).sigma_d
    top = np.linalg.eigvalsh(sigma_x)[::-1]
    assert_allclose(found.ratios[:5], (top / (top + 1))[:5], rtol=1e-9)
    assert_array_equal(found.parameters["augment"], ("noise:1",))
    assert found.predictor_eigenvalues.shape[1] == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": -1.0}, "`noise` must be finite and >= 0, got -1.0"),
        ({"dim": 0}, "`dim` must be an integer >= 1, got 0"),
        ({"augment": ("blur:1",)}, "an augmentation must be one of .*, got 'blur:1'"),
        ({"init_online": -1.0}, "`init_online` must be 0, or lie within 1e-150 and 1e\\+07, got -1"),
    ],
)
def test_nonsense_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_spectrum(**settings)


def test_the_commutator_is_sampled_evenly_to_its_end() -> None:
    assert_array_equal(np.isin(np.linspace(0.0, 12.0, 9), spectrum().aligned_t), True)
    assert_allclose(np.ptp(np.diff(spectrum().aligned_t)), 0, atol=1e-13)
