"""The page `augmentations`: spectra, images and angles against the moments they belong to."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal
from picture_checks import SEEN, cielab

from dynamics.data.datasets import load
from dynamics.data.moments import Moments
from dynamics.data.views import parse
from figures.gallery.augmentations import (
    Augmentations,
    caption_augmentations,
    compute_augmentations,
    figure_augmentations,
)
from figures.panels.images import draw_filter
from figures.panels.palette import CATEGORIES
from figures.style import THEMES, look


@cache
def found() -> Augmentations:
    return compute_augmentations()


@cache
def drawn() -> Figure:
    return figure_augmentations(found())


def curve(ax: Axes, name: str) -> np.ndarray:
    index = found().parameters["compare"].index(name)
    return np.asarray(ax.lines[index].get_ydata())


def test_spectra_that_have_a_closed_form_are_met() -> None:
    ax = drawn().axes[0]
    assert [line.get_label() for line in ax.lines] == list(found().parameters["compare"])
    # Σs of the digits has condition 10⁵: ratios err by that many roundings
    assert_allclose(curve(ax, "gain:0.5"), 1 / 1.25, rtol=1e-9)
    assert_allclose(curve(ax, "scramble:16"), np.repeat([1.0, 0.0], [48, 16]), atol=1e-9)
    flipped = curve(ax, "flip")
    assert_allclose(flipped, flipped > 0.5, atol=1e-9)  # ones for mirror images, zeros for the rest
    white = np.linalg.eigvalsh(Moments.from_data(load("digits").images, []).sigma_d)[::-1]
    assert_allclose(curve(ax, "noise:1")[:61], white[:61] / (white[:61] + 1), rtol=1e-9)
    known = [0.921, 0.865, 0.802, 0.728, 0.482, 0.420, 0.364]
    assert_allclose(curve(ax, "shift:1+noise:0.3")[:7], known, atol=5e-4)


def test_images_are_eigenvectors() -> None:
    moments = Moments.from_data(load("digits").images, [parse("shift:1"), parse("noise:0.3")])
    sigma_s, sigma_d = moments.sigma_s, moments.sigma_d
    panels = drawn().axes[2:]
    for ax in panels[:6]:
        u = np.ravel(ax.images[0].get_array())
        r = float(ax.get_title("center").strip("$").removeprefix("r = "))
        assert_allclose(sigma_d @ u, r * sigma_s @ u, atol=5e-3 * np.linalg.norm(sigma_s @ u))
    for ax in panels[6:]:
        q = np.ravel(ax.images[0].get_array())
        share = float(ax.get_title("center").partition("%")[0]) / 100
        assert_allclose(sigma_d @ q, share * np.trace(sigma_d) * q, atol=5e-3 * np.trace(sigma_d))
    assert [ax.get_ylabel() for ax in panels[::6]] == ["BYOL", "SimCLR"]


def test_angles_are_those_between_the_images() -> None:
    U, Q = (
        np.stack([np.ravel(image) for image in images], axis=1)
        for images in (found().byol, found().contrastive)
    )
    cosines = np.linalg.svd(np.linalg.qr(U)[0].T @ Q, compute_uv=False)
    angles = curve(drawn().axes[1], "shift:1+noise:0.3")
    assert_allclose(np.cos(np.radians(angles)), np.sort(cosines)[::-1], atol=1e-12)
    assert_allclose(curve(drawn().axes[1], "noise:1"), 0, atol=1e-5)  # white noise turns no eigenvector


def test_what_is_open_has_no_angles_and_the_caption_says_so() -> None:
    for name in ("gain:0.5", "flip", "scramble:16"):
        assert np.all(np.isnan(curve(drawn().axes[1], name)))
    assert "none for gain:0.5, flip, scramble:16, where equal ratios leave open" in caption_augmentations(
        found()
    )


def test_one_augmentation_has_one_colour() -> None:
    left, right = drawn().axes[:2]
    assert [line.get_color() for line in left.lines] == [line.get_color() for line in right.lines]


@pytest.mark.parametrize("eyes", SEEN)
def test_colours_of_categories_can_be_told_apart_by_all_eyes(eyes: str) -> None:
    papers = [theme.paper for theme in THEMES.values()]
    pairs = [*itertools.combinations(CATEGORIES, 2), *itertools.product(CATEGORIES, papers)]
    for one, other in pairs:
        difference = cielab(one, np.array(SEEN[eyes])) - cielab(other, np.array(SEEN[eyes]))
        # ten times what is just noticeable side by side; seven colours leave no more to each
        assert np.linalg.norm(difference) > 10 * 2.3


def test_other_images_and_chains_will_do(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "colour.npy", rng.random((50, 4, 5, 3)))
    one = compute_augmentations(source=str(tmp_path / "colour.npy"), compare=("shift:1",), components=3)
    assert one.byol.shape == (3, 4, 5, 3)
    assert "none for" not in caption_augmentations(one)
    for room in ("single", "slide"):
        with look(size=room):
            assert len(figure_augmentations(one).axes) == 2 + 2 * 3
    np.save(tmp_path / "flat.npy", rng.random((50, 4)))
    with pytest.raises(ValueError, match=r"`source` must be images, .* got samples of shape \(4,\)"):
        compute_augmentations(source=str(tmp_path / "flat.npy"))


def test_colour_images_are_grey_at_zero_and_others_symmetric() -> None:
    weights = np.random.default_rng(1).standard_normal((4, 5, 3))
    shown = np.asarray(draw_filter(Figure().add_subplot(), weights).images[0].get_array())
    assert_allclose(shown, 0.5 + 0.5 * weights / np.max(np.abs(weights)))
    for plane in (weights[..., 0], weights[..., :2], np.zeros((2, 2))):
        image = draw_filter(Figure().add_subplot(), plane).images[0]
        low, high = image.get_clim()
        assert low == -high
        assert high >= np.max(np.abs(image.get_array()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"compare": ()}, "`compare` must name at least one augmentation, got none"),
        ({"compare": ("blur",)}, "an augmentation must be one of .*, got 'blur'"),
        ({"components": 0}, "`n_components` must be from 1 to 64, got 0"),
        ({"compare": ("crop:0.5",), "draws": 2}, "`draws` must be an integer >= 4, got 2"),
    ],
)
def test_nonsense_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_augmentations(**settings)


def test_draws_are_repeatable() -> None:
    one, two, other = (compute_augmentations(compare=("crop:0.6",), seed=seed) for seed in (1, 1, 2))
    assert_array_equal(one.ratios[0], two.ratios[0])
    assert np.any(one.ratios[0] != other.ratios[0])


def test_eight_views_are_drawn_with_the_first_seed_where_nothing_else_is_asked_for() -> None:
    images = load("digits").images
    moments = Moments.from_data(images, [parse("crop:0.6", seed=0)], draws=8, seed=0)
    assert_array_equal(compute_augmentations(compare=("crop:0.6",)).ratios[0], moments.ratios)
    other = Moments.from_data(images, [parse("scramble:16", seed=3)], draws=8, seed=3)
    assert_array_equal(compute_augmentations(compare=("scramble:16",), seed=3).ratios[0], other.ratios)
