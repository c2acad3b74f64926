"""View tables and Gaussian views: what they refuse, and that what they draw has their moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dynamics.data.view_tables import ContrastiveDraw, GaussianViews, ViewTable

VIEWS = [[[0.0], [2.0]], [[3.0], [5.0]]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((([0.5, 0.5]), [[0.0], [1.0]]), r"`views` must have shape \(N, A, d\), got \(2, 1\)"),
        (([0.5, 0.5], np.empty((2, 0, 1))), r"`views` must have shape \(N, A, d\), got \(2, 0, 1\)"),
        (([0.5, 0.5], [[[0.0]], [[np.nan]]]), "`views` must"),
        (([0.5, 0.5, 0.0], VIEWS), r"`prior` must have shape \(2,\), got \(3,\)"),
        (([0.5, 0.6], VIEWS), "`prior` must be >= 0 and sum to 1, got a sum of 1.1"),
        (([1.5, -0.5], VIEWS), "`prior` must be >= 0 and sum to 1"),
        (([np.nan, 1.0], VIEWS), "`prior` must"),
        (([0.5, 0.5], VIEWS, [0.5, 0.25, 0.25]), r"`view_prior` must have shape \(2, 2\), got \(3,\)"),
        (([0.5, 0.5], VIEWS, [[0.5, 0.5], [0.5, 0.4]]), "`view_prior` must be >= 0 and sum to 1"),
        (([0.5, 0.5], VIEWS, None, [[0.0]]), r"`originals` must have shape \(2, 1\), got \(1, 1\)"),
        (([0.5, 0.5], VIEWS, None, [[0.0], [np.inf]]), "`originals` must"),
    ],
)
def test_a_table_refuses_what_is_no_population(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViewTable(*arguments)


@pytest.mark.parametrize(
    ("sigma_s", "sigma_d", "message"),
    [
        ([[1.0, 0.5], [0.0, 1.0]], np.eye(2), "`sigma_s` must be symmetric"),
        (np.eye(2), np.eye(3), "`sigma_d` must"),
        (np.eye(2), [[np.inf, 0], [0, 1.0]], "`sigma_d` must"),
        (np.eye(2), np.diag([0.5, -0.1]), "`sigma_d` must be positive semidefinite"),
        (np.diag([1.0, -1.0]), np.zeros((2, 2)), "`sigma_s` must be positive semidefinite"),
        (np.eye(2), np.diag([0.5, 1.1]), "`sigma_d` must"),
    ],
)
def test_gaussian_views_refuse_what_are_no_moments(sigma_s: Any, sigma_d: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianViews(sigma_s, sigma_d)


def test_priors_within_rounding_sum_to_one_after() -> None:
    table = ViewTable([1 / 3 + 1e-12, 1 / 3, 1 / 3], np.zeros((3, 2, 1)), [0.3, 0.7])
    assert table.prior.sum() == pytest.approx(1, abs=2e-16)
    assert_array_equal(table.view_prior, [[0.3, 0.7]] * 3)


def test_a_table_cannot_be_changed() -> None:
    table = ViewTable([0.5, 0.5], VIEWS)
    with pytest.raises(ValueError, match="read-only"):
        table.views[0, 0, 0] = 1.0


def counted(draw: ContrastiveDraw) -> dict[tuple[float, ...], int]:
    """How often each tuple of an anchor, its positive and its negatives was drawn."""
    rows = np.concatenate([draw.anchor, draw.positive, draw.negatives[..., 0]], axis=1)
    values, counts = np.unique(rows, axis=0, return_counts=True)
    return {tuple(row): int(count) for row, count in zip(values, counts, strict=True)}


def test_a_table_draws_tuples_with_their_chances() -> None:
    prior, q, n = np.array([0.3, 0.7]), np.array([[0.2, 0.8], [1.0, 0.0]]), 40_000
    table = ViewTable(prior, VIEWS, q)
    found = counted(table.sample(np.random.default_rng(0), n, negatives=2))
    values, p = np.ravel(VIEWS), (prior[:, None] * q).ravel()
    total = 0.0
    for x in range(2):
        for a, b in np.ndindex(2, 2):
            for c, d in np.ndindex(4, 4):
                chance = prior[x] * q[x, a] * q[x, b] * p[c] * p[d]
                row = (VIEWS[x][a][0], VIEWS[x][b][0], values[c], values[d])
                # five standard deviations of a count, and one for its being whole
                assert abs(found.get(row, 0) - n * chance) <= 5 * np.sqrt(n * chance * (1 - chance)) + 1
                total += chance
                assert chance > 0 or row not in found
    assert total == pytest.approx(1)


def test_gaussian_views_draw_their_moments() -> None:
    sigma_s = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 0.5]])
    sigma_d = np.array([[1.1, 0.0, 0.1], [0.0, 0.0, 0.0], [0.1, 0.0, 0.4]])  # nothing of the second is shared
    n = 40_000
    draw = GaussianViews(sigma_s, sigma_d).sample(np.random.default_rng(0), n, negatives=2)
    parts = [draw.anchor, draw.positive, draw.negatives[:, 0], draw.negatives[:, 1]]
    for i, left in enumerate(parts):
        for j, right in enumerate(parts):
            wanted = sigma_s if i == j else sigma_d if i + j == 1 else np.zeros((3, 3))
            # entries of one draw deviate by at most √(Σs_ii Σs_jj + Σ_ij²) <= 2√2: six standard errors
            assert_allclose(left.T @ right / n, wanted, rtol=0, atol=6 * 2 * np.sqrt(2) / np.sqrt(n))


def test_views_without_noise_are_one_view() -> None:
    draw = GaussianViews(np.diag([2.0, 1.0]), np.diag([2.0, 1.0])).sample(np.random.default_rng(0), 20)
    assert_array_equal(draw.anchor, draw.positive)
    alone = GaussianViews(np.eye(2), np.zeros((2, 2))).sample(np.random.default_rng(0), 20)
    assert np.all(alone.anchor != alone.positive)


def test_the_covariance_is_that_over_samples() -> None:
    rng = np.random.default_rng(0)
    table = ViewTable([0.2, 0.3, 0.5], rng.standard_normal((3, 2, 2)), [0.25, 0.75])
    a = rng.standard_normal((3, 4, 2))
    mean = np.einsum("n,nij->ij", table.prior, a)
    raw = np.einsum("n,nic,njc->ij", table.prior, a, a)
    # E[a aᵀ] − E[a] E[a]ᵀ of numbers of size 1: a dozen roundings
    assert_allclose(table.covariance(a), raw - mean @ mean.T, rtol=0, atol=1e-14)
    assert_allclose(table.mean_view, 0.25 * table.views[:, 0] + 0.75 * table.views[:, 1], rtol=1e-15)
