"""Augmentations: their averages against every outcome, their draws against their averages, their specs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import map_coordinates

from dynamics.data.augmentation import Augmentation, ExactAugmentation
from dynamics.data.augmentations import Crop, Erase, Flip, Gain, Noise, Roll, Scramble, Shift
from dynamics.data.datasets import standardised
from dynamics.data.moments import Moments
from dynamics.data.views import AUGMENTATIONS, parse, view_moments

SHAPE = (3, 4, 2)  # not square, two channels: an exchanged axis shows
D = 24

# Sums of at most 25 products A Σ Aᵀ of 24 x 24 matrices with ‖A‖, ‖Σ‖ of order one to ten: below 25·24·eps·100.
ROUNDING = 1e-11


def correlations(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    G, H = rng.standard_normal((2, D, D)) / np.sqrt(D)
    return G @ G.T + H @ H.T, G @ G.T


def dense(action: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Matrix of a linear action on images: its columns are the images of the basis."""
    return np.stack([action(e.reshape(SHAPE)).ravel() for e in np.eye(D)], axis=1)


def outcomes(augmentation: Augmentation) -> list[np.ndarray]:
    """All matrices A, equally likely; Gaussian factors are replaced by signs, which have the same moments."""
    h, w, _ = SHAPE
    match augmentation:
        case Shift(k=k):
            steps = range(-k, k + 1)
            shifts = product(steps, steps)
            return [dense(partial(np.roll, shift=shift, axis=(0, 1))) for shift in shifts]
        case Roll():
            return [dense(partial(np.roll, shift=b, axis=1)) for b in range(w)]
        case Flip():
            return [np.eye(D), dense(lambda x: x[:, ::-1])]
        case Erase():
            side = augmentation.side(h, w)

            def erased(x: np.ndarray, top: int, left: int) -> np.ndarray:
                x = x.copy()
                x[top : top + side, left : left + side] = 0
                return x

            places = product(range(h - side + 1), range(w - side + 1))
            return [dense(partial(erased, top=top, left=left)) for top, left in places]
        case Gain(s=s):
            return [(1 + s) * np.eye(D), (1 - s) * np.eye(D)]
        case Scramble(k=k):
            U = augmentation.basis(D)
            signs = [np.reshape(B, (k, k)) for B in product((-1.0, 1.0), repeat=k * k)]
            return [np.eye(D) - U @ U.T + U @ B @ U.T for B in signs]
    return [np.eye(D)]


def enumerated(
    augmentation: Augmentation, sigma_s: np.ndarray, sigma_d: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    matrices = outcomes(augmentation)
    noise = augmentation.s**2 if isinstance(augmentation, Noise) else 0.0
    mean = np.mean(matrices, axis=0)
    sigma_s = np.mean([A @ sigma_s @ A.T for A in matrices], axis=0) + noise * np.eye(D)
    return sigma_s, mean @ sigma_d @ mean.T


EXACT: list[ExactAugmentation] = [
    Shift(0),
    Shift(1),
    Shift(2),
    Roll(),
    Noise(0.3),
    Flip(),
    Erase(0.05),
    Erase(0.3),
    Erase(0.75),
    Scramble(2),
    Gain(0.5),
]


# --- closed forms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", EXACT, ids=str)
def test_propagation_is_the_average_over_all_outcomes(augmentation: ExactAugmentation) -> None:
    sigma_s, sigma_d = correlations(1)
    before = sigma_s.copy(), sigma_d.copy()
    found = augmentation.propagate(sigma_s, sigma_d, SHAPE)
    for one, other in zip(found, enumerated(augmentation, sigma_s, sigma_d), strict=True):
        assert_allclose(one, other, atol=ROUNDING)
    assert_allclose((sigma_s, sigma_d), before, rtol=0, atol=0)


@given(chain=st.lists(st.sampled_from(EXACT), max_size=4), seed=st.integers(0, 99))
def test_a_chain_is_the_composition_in_its_order_and_keeps_the_order_of_the_moments(
    chain: list[ExactAugmentation], seed: int
) -> None:
    sigma_s, sigma_d = other_s, other_d = correlations(seed)
    for augmentation in chain:
        sigma_s, sigma_d = augmentation.propagate(sigma_s, sigma_d, SHAPE)
        other_s, other_d = enumerated(augmentation, other_s, other_d)
    scale = float(np.linalg.norm(sigma_s))
    assert_allclose(sigma_s, other_s, atol=ROUNDING * scale)
    assert_allclose(sigma_d, other_d, atol=ROUNDING * scale)
    assert np.linalg.eigvalsh(sigma_d)[0] > -ROUNDING * scale
    assert np.linalg.eigvalsh(sigma_s - sigma_d)[0] > -ROUNDING * scale


def test_the_order_of_a_chain_matters() -> None:
    def moments(*chain: ExactAugmentation) -> np.ndarray:
        pair = correlations(2)
        for augmentation in chain:
            pair = augmentation.propagate(*pair, SHAPE)
        return np.stack(pair)

    first, second = moments(Scramble(2), Shift(1)), moments(Shift(1), Scramble(2))
    assert np.linalg.norm(first - second) > 0.1 * np.linalg.norm(first)


def test_a_scrambled_subspace_is_orthonormal_repeatable_and_chosen_by_its_seed() -> None:
    U = Scramble(3, seed=5).basis(10)
    assert_allclose(U.T @ U, np.eye(3), atol=1e-14)
    assert np.array_equal(U, Scramble(3, seed=5).basis(10))
    assert not np.allclose(U, Scramble(3, seed=6).basis(10))


# --- draws --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", EXACT, ids=str)
def test_draws_have_the_moments_of_the_closed_form(augmentation: ExactAugmentation) -> None:
    rng, n = np.random.default_rng(3), 10_000
    images = rng.standard_normal((2, *SHAPE)) * np.reshape([1, 3], (2, 1, 1, 1))
    views = augmentation.sample(rng, np.broadcast_to(images, (n, *images.shape)).reshape(-1, *SHAPE))
    first, second = views.reshape(2, n, D)
    X = images.reshape(2, D)
    sigma_s, sigma_d = augmentation.propagate(X.T @ X / 2, X.T @ X / 2, SHAPE)
    for one, other, sigma in ((first, first, sigma_s), (first, second, sigma_d)):
        products = one[:, :, None] * other[:, None, :]
        error = products.std(0) / np.sqrt(len(products))
        # 24² entries in each of 20 comparisons: a deviation of 6.5 standard errors has probability 1e-6 in all
        assert np.all(np.abs(products.mean(0) - sigma) <= 6.5 * error + ROUNDING)


@pytest.mark.parametrize("augmentation", [*EXACT, Crop(0.5)], ids=str)
def test_a_view_is_linear_in_its_own_image_and_blind_to_the_others(augmentation: Augmentation) -> None:
    images = np.random.default_rng(5).standard_normal((3, *SHAPE))
    larger = images * np.reshape([1, 2, 1], (3, 1, 1, 1))
    views, larger_views = (augmentation.sample(np.random.default_rng(6), each) for each in (images, larger))
    added = larger_views - views
    assert_allclose(added[[0, 2]], 0, atol=0)
    assert_allclose(added[1], images[1] if isinstance(augmentation, Noise) else views[1], atol=ROUNDING)


def test_flat_samples_can_be_scrambled_amplified_and_made_noisy() -> None:
    flat = np.random.default_rng(0).standard_normal((5, D))
    for augmentation in (Scramble(2), Gain(0.5), Noise(0.3)):
        views = augmentation.sample(np.random.default_rng(1), flat)
        images = augmentation.sample(np.random.default_rng(1), flat.reshape(5, *SHAPE))
        assert np.array_equal(views, images.reshape(5, D))
        assert not np.allclose(views, flat)


def crop_boxes(f: float, n: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Side, top and left of the boxes that a seed draws, read off crops of two ramps."""
    ramps = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), axis=-1)
    views = Crop(f).sample(np.random.default_rng(seed), np.broadcast_to(ramps, (n, *ramps.shape)))
    middle = size // 2
    side = views[:, middle + 1, middle, 0] - views[:, middle, middle, 0]
    assert_allclose(views[:, middle, middle + 1, 1] - views[:, middle, middle, 1], side, rtol=1e-12)
    top, left = (views[:, middle, middle, i] + 0.5 - side * (middle + 0.5) for i in (0, 1))
    return side, top, left


def test_crop_boxes_are_uniform_and_lie_in_the_image() -> None:
    n, size, f = 4000, 12, 0.5
    side, top, left = crop_boxes(f, n, size, seed=4)
    for value in (
        (side - f) / (1 - f),
        top / (size * (1 - side)),
        left / (size * (1 - side)),
    ):
        # one-sample Kolmogorov-Smirnov bound at probability 1e-6: sqrt(ln(2/1e-6)/(2n)); 1e-6 for rounding
        ranks = (np.arange(n) + 0.5) / n
        assert np.max(np.abs(np.sort(value) - ranks)) < np.sqrt(np.log(2e6) / (2 * n)) + 1e-6
    assert abs(np.corrcoef(top / (1 - side), left / (1 - side))[0, 1]) < 5 / np.sqrt(n)


def test_a_crop_is_bilinear_interpolation_in_its_box() -> None:
    n, size, f = 6, 8, 0.4
    sides, tops, lefts = crop_boxes(f, n, size, seed=7)
    images = np.random.default_rng(8).standard_normal((n, size, size, 2))
    views = Crop(f).sample(np.random.default_rng(7), images)
    at = np.arange(size) + 0.5
    for image, view, side, top, left in zip(images, views, sides, tops, lefts, strict=True):
        grid = np.meshgrid(top + side * at - 0.5, left + side * at - 0.5, indexing="ij")
        for channel in range(2):
            expected = map_coordinates(image[..., channel], grid, order=1, mode="nearest")
            # boxes read off ramps of at most 8 pixels are right to some 8 eps, amplified by differences of pixels
            assert_allclose(view[..., channel], expected, atol=1e-12)


# --- moments of a chain ----------------------------------------------------------------------------------------


class Drawn(Augmentation):
    """An exact augmentation whose closed form is kept back, so that it has to be sampled."""

    name = signature = "drawn"
    meaning = "for tests"

    def __init__(self, inner: Augmentation) -> None:
        self.inner = inner

    def _views(self, rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
        return self.inner.sample(rng, images)


IMAGES = np.random.default_rng(9).standard_normal((40, *SHAPE))


def test_an_exact_chain_is_propagated_from_the_correlation_of_the_samples() -> None:
    X = IMAGES.reshape(40, D)
    pair = (X.T @ X / 40, X.T @ X / 40)
    chain = (Noise(0.2), Erase(0.3), Scramble(2))  # no two of them commute
    for augmentation in chain:
        pair = augmentation.propagate(*pair, SHAPE)
    batches = standardised(IMAGES, center=False, scale=False)
    ((sigma_s, sigma_d),) = view_moments(batches, chain)
    assert_allclose((sigma_s, sigma_d), pair, atol=ROUNDING)


@pytest.mark.parametrize("draws", [4, 7])
def test_sampled_moments_are_unbiased_and_their_halves_independent(draws: int) -> None:
    chain = [Drawn(Gain(0.5)), Erase(0.1), Drawn(Shift(1)), Noise(0.3)]
    ((exact_s, exact_d),) = view_moments(standardised(IMAGES), [Gain(0.5), Erase(0.1), Shift(1), Noise(0.3)])
    runs = np.array([view_moments(standardised(IMAGES), chain, draws=draws, seed=seed) for seed in range(60)])
    errors = runs - np.stack([exact_s, exact_d])  # (seed, half, s or d, 24, 24)
    flat = errors.reshape(120, 2, D, D)
    z = flat.mean(0) / (flat.std(0) / np.sqrt(len(flat)))
    # 2·24² values of Student's t with 119 degrees of freedom: 7 has probability below 1e-6 in all
    assert np.max(np.abs(z)) < 7
    overlap = np.sum(errors[:, 0] * errors[:, 1], (1, 2, 3))
    assert abs(overlap.mean()) < 5 * overlap.std() / np.sqrt(len(overlap))


def test_what_follows_the_last_sampled_augmentation_is_in_closed_form() -> None:
    small = view_moments(standardised(IMAGES), [Drawn(Shift(1)), Noise(0.1)], draws=4, seed=3)
    large = view_moments(standardised(IMAGES), [Drawn(Shift(1)), Noise(0.5)], draws=4, seed=3)
    for (small_s, small_d), (large_s, large_d) in zip(small, large, strict=True):
        assert_allclose(large_s - small_s, 0.24 * np.eye(D), atol=ROUNDING)
        assert np.array_equal(small_d, large_d)


def test_the_same_seed_draws_the_same_views() -> None:
    def moments(seed: int) -> np.ndarray:
        return np.array(view_moments(standardised(IMAGES), [Crop(0.5)], draws=4, seed=seed))

    assert np.array_equal(moments(1), moments(1))
    assert not np.allclose(moments(1), moments(2))


def test_sampled_moments_report_their_error() -> None:
    images = np.random.default_rng(24).standard_normal((30, 3, 4))

    def crops(draws: int, seed: int) -> Moments:
        return Moments.from_data(images, [Crop(0.5), Noise(0.5)], draws=draws, seed=seed)

    truth = crops(4000, 99)
    runs = [crops(8, seed) for seed in range(40)]
    errors = np.array([[run.sigma_s - truth.sigma_s, run.sigma_d - truth.sigma_d] for run in runs])
    actual = np.sqrt(np.max(np.mean(np.sum(errors**2, (2, 3)), 0))) / np.linalg.norm(truth.sigma_s)
    reported = np.sqrt(np.mean([float(run.standard_error or 0) ** 2 for run in runs]))
    # errors of 40 runs with five degrees of freedom at the least: each root mean square is known to
    # 1/sqrt(2·40·5) = 5 %, their quotient to 7 %; three times that
    assert_allclose(reported, actual, rtol=0.21)
    assert truth.standard_error is not None
    assert truth.standard_error < reported / 10
    assert runs[0].notes[2:4] == (
        "augmentations crop:0.5, noise:0.5: sampled with 8 draws an image",
        f"relative standard error of the moments by sampling {runs[0].standard_error:.2g}",
    )


def test_sampled_moments_are_kept_in_order() -> None:
    images = np.random.default_rng(25).standard_normal((5, 4, 4))
    moments = Moments.from_data(images, [Crop(0.3)], draws=4)
    assert np.linalg.eigvalsh(moments.sigma_d)[0] > -1e-13
    assert np.linalg.eigvalsh(moments.sigma_s - moments.sigma_d)[0] > -1e-13
    assert any("ratios outside [0, 1]" in note for note in moments.notes)


# --- specs and refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "augmentation"),
    [
        ("shift:2", Shift(2)),
        ("shift:4/2", Shift(2)),
        ("noise:0.3", Noise(0.3)),
        ("noise:3e-1", Noise(0.3)),
        ("flip", Flip()),
        ("roll", Roll()),
        (" crop : 1/2 ", Crop(0.5)),
        ("erase:1", Erase(1.0)),
        ("scramble:0", Scramble(0)),
        ("gain:0", Gain(0.0)),
    ],
)
def test_specs(spec: str, augmentation: Augmentation) -> None:
    assert parse(spec) == augmentation
    assert parse(str(augmentation)) == augmentation


def test_a_seed_reaches_the_scrambled_subspace() -> None:
    assert parse("scramble:3", seed=7) == Scramble(3, seed=7)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "rotate:1",
            "an augmentation must be one of shift:k, roll, noise:s, flip, crop:f, erase:f, scramble:k, gain:s,"
            " got 'rotate:1'",
        ),
        ("", "an augmentation must be one of .*, got ''"),
        ("shift", "`shift` must be given with a value, shift:k, got 'shift'"),
        ("noise:", "`noise` must be given with a value, noise:s, got 'noise:'"),
        ("flip:3", "`flip` must be given without a value, got 'flip:3'"),
        ("flip:", "`flip` must be given without a value, got 'flip:'"),
        ("noise:much", "in 'noise:much', the value must be a number such as 0.5, 1/2 or 1e-3, got 'much'"),
        ("noise:1/0", "in 'noise:1/0', the value must be a number .*, got '1/0'"),
        ("shift:1:2", "in 'shift:1:2', the value must be a number .*, got '1:2'"),
        ("shift:1.5", "in 'shift:1.5', `k` must be an integer >= 0, got 1.5"),
        ("shift:-1", "`k` must be an integer >= 0, got -1.0"),
        ("shift:nan", "`k` must be an integer >= 0, got nan"),
        ("scramble:inf", "`k` must be an integer >= 0, got inf"),
        ("noise:-0.1", "`s` must be finite and >= 0, got -0.1"),
        ("noise:nan", "`s` must be finite and >= 0, got nan"),
        ("gain:inf", "`s` must be finite and >= 0, got inf"),
        ("crop:0", "`f` must be > 0 and <= 1, got 0.0"),
        ("crop:1.5", "`f` must be > 0 and <= 1, got 1.5"),
        ("erase:nan", "`f` must be > 0 and <= 1, got nan"),
    ],
)
def test_a_bad_spec_is_refused(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(spec)


@pytest.mark.parametrize("value", ["one", None, 1j])
def test_a_parameter_must_be_a_real_number(value: Any) -> None:
    with pytest.raises(ValueError, match=f"`k` must be an integer >= 0, got {value}"):
        Shift(value)


@pytest.mark.parametrize("augmentation", [Shift(1), Flip(), Crop(0.5), Erase(0.1)], ids=str)
def test_flat_samples_have_no_neighbouring_pixels(augmentation: Augmentation) -> None:
    message = "must know which pixels are neighbours: give images as .*, got flat samples of shape \\(24,\\)"
    with pytest.raises(ValueError, match=f"`{augmentation}` {message}"):
        augmentation.sample(np.random.default_rng(0), np.zeros((2, D)))
    if isinstance(augmentation, ExactAugmentation):
        with pytest.raises(ValueError, match=message):
            augmentation.propagate(np.eye(D), np.eye(D), (D,))
    with pytest.raises(ValueError, match=message):
        view_moments(standardised(IMAGES.reshape(40, D)), [augmentation])


@pytest.mark.parametrize(
    ("augmentation", "shape", "message"),
    [
        (Shift(3), (3, 4, 1), "`shift:3` must shift by less than the image, got images of 3 x 4 pixels"),
        (Erase(1.0), (2, 6, 1), "`erase:1.0` must fit: its side is 3, got images of 2 x 6 pixels"),
        (Scramble(25), (24,), "`scramble:25` must leave k <= d, got samples of d = 24 numbers"),
    ],
)
def test_an_augmentation_too_large_for_the_image_is_refused(
    augmentation: ExactAugmentation, shape: tuple[int, ...], message: str
) -> None:
    d = int(np.prod(shape))
    with pytest.raises(ValueError, match=message):
        augmentation.propagate(np.eye(d), np.eye(d), shape)
    with pytest.raises(ValueError, match=message):
        augmentation.sample(np.random.default_rng(0), np.zeros((2, *shape)))


@pytest.mark.parametrize("draws", [3, 4.0, float("nan")])
def test_too_few_draws_are_refused(draws: Any) -> None:
    with pytest.raises(ValueError, match=f"`draws` must be an integer >= 4, got {draws}"):
        view_moments(standardised(IMAGES), [Crop(0.5)], draws=draws)


def test_the_registry_describes_every_augmentation_in_one_line() -> None:
    for name, kind in AUGMENTATIONS.items():
        assert kind.name == name == kind.signature.split(":")[0]
        assert kind.meaning
        assert "\n" not in kind.meaning
        assert kind.exact == issubclass(kind, ExactAugmentation)


@pytest.mark.parametrize(("f", "side"), [(0.5, 6), (0.3, 4), (0.001, 1), (1.0, 8), (0.43, 5), (0.78, 7)])
def test_the_erased_square_has_the_whole_side_next_to_its_area(f: float, side: int) -> None:
    white = np.ones((50, 8, 8, 1))
    erased = Erase(f)._views(np.random.default_rng(0), white)
    assert_array_equal(np.sum(erased == 0, axis=(1, 2, 3)), side**2)  # √(64 f) to the nearest whole number
