"""Samples, views and the generator: moments of drawn views against exact ones, splits, streams, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtri
from scipy.stats import chisquare, kstest

from dynamics.data.datasets import Batches
from dynamics.data.moments import Moments
from dynamics.data.views import AUGMENTATIONS, parse, view_moments
from dynamics.training import DataSettings, load_data
from dynamics.training.augmentations import augment
from dynamics.training.data import draw_views, exact_pairs, view_pair
from dynamics.training.generator import _from_word, _words, new_key, normal

SPECS = ("shift:1", "roll", "noise:0.7", "flip", "crop:1/2", "erase:1/4", "scramble:3", "gain:0.5")


def random_moments(seed: int, n: int = 3) -> Moments:
    A, B = np.random.default_rng(seed).standard_normal((2, n, n))
    return Moments.additive_noise(A @ A.T, B @ B.T)


# --- augmentations on the device ----------------------------------------------------------------------------


def test_every_augmentation_is_tested_here() -> None:
    assert {spec.partition(":")[0] for spec in SPECS} == set(AUGMENTATIONS)


@pytest.mark.parametrize("spec", SPECS)
def test_views_on_the_device_have_the_moments_of_those_on_the_host(spec: str) -> None:
    images = np.random.default_rng(0).standard_normal((2, 4, 4, 1))
    augmentation = parse(spec)
    draws = 40_000
    repeated = jnp.broadcast_to(jnp.asarray(images)[:, None], (2, draws, 4, 4, 1)).reshape(-1, 4, 4, 1)
    both = view_pair((augmentation,), new_key(1), jnp.stack([repeated, repeated]))
    x1, x2 = (np.asarray(view).reshape(-1, 16) for view in both)
    drawn = (x1.T @ x1 / len(x1), x1.T @ x2 / len(x1))
    flat = images.reshape(2, -1)
    for batches in [Batches(iter([flat]), 2, (4, 4, 1), ())]:
        pairs = view_moments(batches, [augmentation], draws=40_000)
    wanted = [np.mean(parts, axis=0) for parts in zip(*pairs, strict=True)]
    # entries average 80,000 products of numbers of a few units: errors of about 3/√80000 = 0.01, five of which pass
    for found, exact in zip(drawn, wanted, strict=True):
        assert_allclose(found, exact, atol=0.05)


def test_a_chain_of_augmentations_draws_each_by_itself() -> None:
    x = jnp.zeros((4, 3))
    chain = (parse("noise:1"), parse("noise:1"))
    one = augment(chain[:1], new_key(0), x)
    assert np.var(augment(chain, new_key(0), x) - 2 * one) > 0.1


# --- sources ------------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 5))
def test_exact_pairs_have_exactly_the_moments(seed: int, n: int) -> None:
    moments = random_moments(seed, n)
    x1, x2 = exact_pairs(moments.sigma_s, moments.sigma_d)
    scale = np.max(moments.sigma_s)
    # n eigenvalues and products, each right to rounding
    for found, wanted in (
        (x1.T @ x1, moments.sigma_s),
        (x2.T @ x2, moments.sigma_s),
        (x2.T @ x1, moments.sigma_d),
    ):
        assert_allclose(found / len(x1), wanted, atol=1e-13 * n * scale)


def test_gaussian_views_have_the_moments() -> None:
    moments = random_moments(0)
    source = DataSettings(source="gaussian", sigma_s=moments.sigma_s, sigma_d=moments.sigma_d)
    data = load_data(source)
    samples = jax.tree.map(jnp.asarray, data.samples)
    x1, x2 = np.asarray(draw_views(source, (), samples, new_key(0), 200_000))
    size = np.linalg.norm(moments.sigma_s)
    # relative errors of 1/√200000 = 0.2 % of the norm
    for found, wanted in (
        (x1.T @ x1, moments.sigma_s),
        (x2.T @ x2, moments.sigma_s),
        (x2.T @ x1, moments.sigma_d),
    ):
        assert_allclose(found / len(x1), wanted, atol=0.015 * size)
    assert_allclose(data.moments().sigma_s, moments.sigma_s, rtol=1e-14)


def test_digits_are_split_for_the_probe_and_keep_their_labels() -> None:
    data = load_data(DataSettings(held_out=0.25))
    assert data.probe is not None
    assert data.samples.images.shape == (1348, 8, 8, 1)
    assert data.probe.held_out_images.shape == (449, 8, 8, 1)
    together = np.concatenate([data.samples.images, data.probe.held_out_images])
    assert abs(together.mean()) < 1e-6
    assert together.std() == pytest.approx(1, rel=1e-5)
    other = load_data(DataSettings(held_out=0.25, seed=1))
    assert np.any(other.samples.images != data.samples.images)
    assert len(np.unique(data.probe.labels)) == 10


def test_without_held_out_samples_there_is_no_probe() -> None:
    data = load_data(DataSettings(held_out=0.0))
    assert data.probe is None
    assert len(data.samples.images) == 1797
    # all digits, centred and scaled as the moments of theory are
    theory = Moments.from_data(data.samples.images, [parse("noise:0.3")])
    assert_allclose(
        load_data(DataSettings(held_out=0.0, augmentations=("noise:0.3",))).moments().ratios,
        theory.ratios,
        atol=1e-5,
    )


def test_arrays_without_labels_are_trained_on_and_not_probed(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((20, 3)))
    data = load_data(DataSettings(source=str(tmp_path / "x.npy"), limit=10))
    assert data.probe is None
    assert data.samples.images.shape == (8, 3)
    assert len(data.evaluation) == 2


def test_batches_of_loaded_samples_are_pairs_of_views_of_one_sample() -> None:
    source = DataSettings()
    data = load_data(source)
    samples = jax.tree.map(jnp.asarray, data.samples)
    first, second = draw_views(source, (), samples, new_key(0), 50)
    assert_array_equal(first, second)
    known = {image.tobytes() for image in data.samples.images}
    assert all(np.asarray(image).tobytes() in known for image in first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "gaussian"}, "`data.sigma_s` must be given for the source gaussian"),
        ({"sigma_s": [1.0]}, "`data.sigma_s` must be left out for the source digits"),
        (
            {"source": "exact", "sigma_s": [1.0], "sigma_d": [0.5], "augmentations": ("noise:1",)},
            "its pairs are views",
        ),
        (
            {"source": "exact", "sigma_s": [[1.0, 2.0]], "sigma_d": [0.5]},
            "must be a square matrix or its diagonal",
        ),
        ({"held_out": 1.0}, r"`data.held_out` must be a fraction in \[0, 1\), got 1.0"),
        ({"limit": 1}, "`data.limit` must be an integer >= 2, got 1"),
        ({"augmentations": "noise:1"}, "`data.augmentations` must be a sequence of specs"),
        ({"augmentations": ("blur:1",)}, "an augmentation must be one of"),
    ],
)
def test_data_settings_refuse_nonsense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataSettings(**options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"source": "cifar10:/nowhere"}, FileNotFoundError, "CIFAR-10 was not found in /nowhere"),
        ({"source": "nowhere.npy"}, FileNotFoundError, "nowhere.npy does not exist"),
        ({"source": "exact", "sigma_s": [1.0], "sigma_d": [2.0]}, ValueError, "sigma_d"),
        (
            {"source": "gaussian", "sigma_s": [1.0, 0.0], "sigma_d": [0.5, 0.0]},
            ValueError,
            "must be positive definite",
        ),
        (
            {"source": "gaussian", "sigma_s": [1.0], "sigma_d": [0.5], "augmentations": ("flip",)},
            ValueError,
            "flat",
        ),
        ({"augmentations": ("shift:9",)}, ValueError, "must shift by less than the image"),
        ({"held_out": 0.9999}, ValueError, "must leave at least two samples"),
    ],
)
def test_loading_refuses_what_is_not_there_or_does_not_fit(
    options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_data(DataSettings(**options))


# --- generator ----------------------------------------------------------------------------------------------


def test_bits_are_fair_and_words_are_uniform() -> None:
    words = np.asarray(jax.random.bits(new_key(3), (1 << 20,), jnp.uint32))
    ones = np.array([np.sum((words >> b) & 1, dtype=np.int64) for b in range(32)])
    # 32 binomials of standard deviation 512: beyond five of them once in 50,000 tries
    assert np.all(np.abs(ones - (1 << 19)) < 5 * 512)
    assert chisquare(np.bincount(words >> 20, minlength=4096)).pvalue > 1e-4
    assert chisquare(np.bincount(words & 0xFFF, minlength=4096)).pvalue > 1e-4


def test_every_bit_of_counter_and_key_changes_half_of_a_word() -> None:
    rng = np.random.default_rng(4)
    k0, k1, c = rng.integers(0, 2**32, (3, 1 << 16), dtype=np.uint32)
    words = np.asarray(_words((k0, k1), c))
    for part in range(3):
        for bit in range(32):
            changed = [k0, k1, c]
            changed[part] = changed[part] ^ np.uint32(1 << bit)
            flipped = np.asarray(_words(changed[:2], changed[2])) ^ words
            share = np.array([np.mean((flipped >> b) & 1) for b in range(32)])
            # 65,536 fair coins deviate by 0.002; a few per cent would be seen in what networks learn
            assert np.max(np.abs(share - 0.5)) < 0.03, (part, bit)


def test_streams_of_different_keys_are_independent() -> None:
    keys = jax.vmap(new_key)(jnp.arange(100, dtype=jnp.uint32))
    folded = jax.vmap(lambda k: jax.random.fold_in(new_key(0), k))(jnp.arange(100, dtype=jnp.uint32))
    split = jax.random.split(new_key(0), 100)
    for stack in (keys, folded, split):
        z = np.asarray(jax.vmap(lambda k: jax.random.normal(k, (4000,), jnp.float64))(stack))
        C = (z @ z.T / np.sqrt(4000))[np.triu_indices(100, 1)]
        # 4,950 correlations, close to N(0, 1)
        assert kstest(C, "norm").pvalue > 1e-4
        assert np.max(np.abs(C)) < 5.5
        assert kstest(z.ravel(), "norm").pvalue > 1e-4


def test_words_of_one_stream_are_independent_of_their_neighbours() -> None:
    z = np.asarray(jax.random.normal(new_key(5), (200_000,), jnp.float64))
    for lag in (1, 2, 3, 64, 1024):
        for power in (1, 2):
            a = z**power - np.mean(z**power)
            correlation = np.mean(a[lag:] * a[:-lag]) / np.var(a)
            assert abs(correlation) * np.sqrt(200_000) < 5


def test_stacked_keys_draw_what_single_keys_draw() -> None:
    keys = jax.vmap(new_key)(jnp.arange(3, dtype=jnp.uint32))
    stacked = jax.vmap(lambda k: jax.random.bits(k, (5,)))(keys)
    for seed in range(3):
        assert_array_equal(stacked[seed], jax.random.bits(new_key(seed), (5,)))


def test_normal_numbers_are_the_quantiles_of_their_words() -> None:
    # every exponent of q, and both ends, against SciPy in double precision
    k = np.unique(np.concatenate([2**j + np.arange(-50, 50) for j in range(6, 31)] + [np.arange(50)]))
    k = np.concatenate([k, 2**31 - 1 - k]).astype(np.uint32)
    exact = -ndtri((k + 0.5) / 2**32)
    drawn = np.asarray(jax.jit(_from_word)(k), np.float64)
    assert_allclose(drawn, exact, rtol=3e-6, atol=2e-7)
    assert_array_equal(jax.jit(_from_word)(k | np.uint32(2**31)), -drawn.astype(np.float32))


def test_normal_numbers_in_single_precision_are_normal() -> None:
    z = np.asarray(normal(new_key(8), (1000, 4000), "float32"), np.float64)
    assert kstest(z.ravel(), "norm").pvalue > 1e-4
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        spread = np.std(z**power) / np.sqrt(z.size)
        assert abs(np.mean(z**power) - moment) < 5 * spread
    beyond = np.sum(np.abs(z) > 5)  # 2.3 expected of 4 million
    assert 0 < beyond < 12


@pytest.mark.parametrize("limit", [None, 60])
def test_what_is_not_finite_is_named_by_its_row_in_the_file(tmp_path: Path, limit: int | None) -> None:
    images = np.random.default_rng(0).random((80, 4, 3))
    rows = np.random.default_rng(0).permutation(80)[:limit]  # those that are used, as `seed` 0 picks them
    bad = sorted(rows[[7, 30]].tolist())
    for row in bad:
        images[row, 2, 1] = np.nan
    np.save(tmp_path / "bad.npy", images)
    with pytest.raises(ValueError, match=rf"`data.source` .*bad\.npy: .* got nan at \({bad[0]}, 2, 1, 0\)"):
        load_data(DataSettings(source=str(tmp_path / "bad.npy"), limit=limit))
