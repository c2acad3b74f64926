"""Gaussian clusters: sources, gated means against Monte Carlo and quadrature, and which centre a neuron turns to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from analysis.contrastive.mixtures import (
    fixed_directions,
    gated_covariance,
    gated_mean,
    isolated_centres,
    selectivity_objective,
)
from dynamics.data.clusters import GaussianMixture
from dynamics.data.datasets import load


def mixture_of(rng: np.random.Generator, K: int, d: int) -> GaussianMixture:
    B = rng.standard_normal((d, d))
    return GaussianMixture(rng.uniform(0.5, 2, K), rng.standard_normal((K, d)), B @ B.T / d)


def test_gated_means_are_those_of_samples() -> None:
    rng = np.random.default_rng(3)
    mixture, w, n = mixture_of(rng, 3, 2), rng.standard_normal(2), 400_000
    x = mixture.sample(rng, np.repeat(np.arange(3), n)).reshape(3, n, 2)
    seen = x * (x @ w > 0)[..., None]
    # five standard errors
    error = 5 * seen.std(axis=1) / np.sqrt(n)
    assert np.all(np.abs(gated_mean(w, mixture) - seen.mean(axis=1)) < error)


def test_the_mean_output_has_the_gated_mean_for_gradient() -> None:
    rng, h = np.random.default_rng(4), 1e-5
    mixture, w = mixture_of(rng, 4, 3), rng.standard_normal(3)
    for i in range(3):
        e = h * np.eye(3)[i]
        slope = (selectivity_objective(w + e, mixture) - selectivity_objective(w - e, mixture)) / (2 * h)
        assert (gated_covariance(w, mixture) @ w)[i] == pytest.approx(slope / 2, abs=1e-8)
    assert selectivity_objective(3 * w, mixture) == pytest.approx(9 * selectivity_objective(w, mixture))


def test_without_noise_a_gate_is_a_step() -> None:
    mixture = GaussianMixture([1, 1, 1], [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], 0.0)
    assert_array_equal(gated_mean([1.0, 0.0], mixture), [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])


@pytest.mark.parametrize("size", [1e-300, 1e-100, 1e100, 1e300])
def test_the_size_of_the_weights_plays_no_part(size: float) -> None:
    mixture = mixture_of(np.random.default_rng(5), 3, 2)
    assert_allclose(
        gated_mean(size * np.array([0.3, -0.7]), mixture), gated_mean([0.3, -0.7], mixture), rtol=1e-12
    )


def test_far_clusters_of_two_give_the_linear_operator() -> None:
    # wᵀμ ≫ σ for both: every gate is open, A = π1 π2 ΔΔᵀ
    mixture = GaussianMixture([1, 3], [[50.0, 0.0], [40.0, 5.0]], 0.01)
    delta = np.array([10.0, -5.0])
    assert_allclose(gated_covariance([1.0, 0.0], mixture), 3 / 16 * np.outer(delta, delta), atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_of_orthogonal_centres_that_of_the_largest_projection_wins(seed: int) -> None:
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((6, 6)))[0][:4]
    w, mixture, h = rng.standard_normal(6), GaussianMixture(np.ones(4), Q, 0.0), 0.05
    winner = int(np.argmax(Q @ w))
    if not np.any(Q @ w > 0):
        pytest.skip("no centre is active")
    for _ in range(1500):
        w = w + h * gated_covariance(w, mixture) @ w
        w /= np.linalg.norm(w)
    assert int(np.argmax(Q @ w)) == winner
    assert (Q @ w)[winner] > 0.999


def test_noise_tilts_the_direction_off_the_centre() -> None:
    cosines = []
    for deviation in (0.05, 0.1, 0.3, 1.0):
        mixture = GaussianMixture(np.ones(4), np.eye(4), deviation**2)
        (w,) = fixed_directions(mixture, [[1.0, 0.0, 0.0, 0.0]]).directions
        assert np.all(w[1:] < 0)  # away from the others
        cosines.append(w[0])
    # found by ascent here; by Monte Carlo the same direction has the larger V
    assert_allclose(cosines, [0.9961, 0.9915, 0.9801, 0.9574], atol=5e-5)


def test_fixed_directions_are_maxima_on_the_sphere() -> None:
    rng = np.random.default_rng(7)
    mixture = mixture_of(rng, 5, 3)
    found = fixed_directions(mixture, rng.standard_normal((8, 3)))
    assert np.all(found.residuals < 1e-6)
    assert found.ends.shape == (8,)
    for w, top in zip(found.directions, found.objectives, strict=True):
        beside = w + 1e-3 * rng.standard_normal((50, 3))
        values = [selectivity_objective(v / np.linalg.norm(v), mixture) for v in beside]
        assert max(values) <= top * (1 + 1e-9)
    with pytest.raises(ValueError, match="`covariance` must be positive definite"):
        fixed_directions(GaussianMixture([1], [[1.0, 0.0]], 0.0), [[1.0, 0.0]])


def test_a_centre_at_the_origin_makes_no_other_isolated() -> None:
    # the condition of the source: one cluster at the origin
    centres = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    assert isolated_centres(GaussianMixture(np.ones(3), centres, 0.1)).tolist() == []
    assert isolated_centres(GaussianMixture(np.ones(2), np.eye(2), 0.1)).tolist() == [0, 1]


def test_a_given_centre_of_many_is_isolated_with_probability_2_to_the_2_minus_K() -> None:
    # K = 4 with the first at the origin: two others, each on the far side with probability one half
    rng, n = np.random.default_rng(8), 3000
    count = 0
    for _ in range(n):
        centres = rng.standard_normal((4, 5))
        centres[0] = 0.0
        count += 1 in isolated_centres(GaussianMixture(np.ones(4), centres, 0.1))
    assert abs(count / n - 0.25) < 4 * np.sqrt(0.25 * 0.75 / n)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1], [1.0], 0.1), r"`centres` must be finite, of shape \(K, d\)"),
        (([1, 0], [[1.0], [2.0]], 0.1), "`prior` must be 2 finite numbers > 0"),
        (([1], [[1.0]], -0.1), "`covariance` must be symmetric and positive semidefinite"),
        (([1], [[1.0, 0.0]], [[1.0, 0.5], [0.0, 1.0]]), "`covariance` must be symmetric"),
        (([1], [[1.0]], np.inf), "`covariance` must be a finite number or of shape"),
    ],
)
def test_what_is_no_mixture_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianMixture(*arguments)


def test_weights_of_zero_have_no_direction() -> None:
    with pytest.raises(ValueError, match="`w` must be finite, not zero"):
        gated_mean([0.0], GaussianMixture([1], [[1.0]], 0.1))


def test_drawn_mixtures_say_what_is_wrong() -> None:
    assert not GaussianMixture.drawn(3, 2, 0.1, first_at_origin=True).centres[0].any()
    with pytest.raises(ValueError, match="`n_clusters` must be an integer >= 1, got 0"):
        GaussianMixture.drawn(0, 2, 0.1)
    with pytest.raises(ValueError, match="`deviation` must be finite and >= 0, got -1"):
        GaussianMixture.drawn(2, 2, -1)


def test_clusters_are_a_source_of_data() -> None:
    found = load("clusters:K=3:d=4:sigma=.1:n=500:seed=2")
    assert found.images.shape == (500, 4)
    assert set(np.asarray(found.labels)) == {0, 1, 2}
    for label in range(3):
        assert found.images[np.asarray(found.labels) == label].std(axis=0).max() < 0.15
    for spec in ("clusters:K=0", "clusters:q=1", "clusters:K=2:K=3", "clusters:sigma=-1", "clusters:n=1"):
        with pytest.raises(ValueError, match="clusters"):
            load(spec)
