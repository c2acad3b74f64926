"""Moments: birth and refusals, modes, the models of R16, views, data, and the objectives of R24 and R26."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from dynamics.data.augmentation import Augmentation
from dynamics.data.augmentations import Crop, Erase, Flip, Noise, Shift
from dynamics.data.datasets import load
from dynamics.data.moment_checks import SLACK
from dynamics.data.moments import Moments, load_moments, save_moments
from dynamics.data.objective_moments import byol_prime_moments, objective_moments, raft_moments


def orthogonal(n: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def pair(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Σs and Σd ≼ Σs that do not commute, eigenvalues of order one, Σs well-conditioned."""
    G, H = np.random.default_rng(seed).standard_normal((2, n, 2 * n)) / np.sqrt(2 * n)
    return G @ G.T + H @ H.T, G @ G.T


# --- birth ------------------------------------------------------------------------------------------------------


def test_moments_are_frozen_copies() -> None:
    sigma_s, sigma_d = pair(3, 0)
    moments = Moments(sigma_s, sigma_d)
    assert np.array_equal(moments.sigma_s, sigma_s)
    assert moments.sigma_s is not sigma_s
    for array in (moments.sigma_s, moments.sigma_d, moments.ratios, moments.modes.directions):
        assert array.dtype == np.float64
        assert array.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    for name in ("sigma_s", "notes"):
        with pytest.raises(AttributeError):
            setattr(moments, name, None)
    assert (moments.n1, moments.n_inputs, moments.dropped_directions) == (3, 3, 0)
    assert (moments.support, moments.notes, moments.standard_error) == (None, (), None)


def test_asymmetry_within_rounding_is_averaged_away() -> None:
    sigma = np.array([[1.0, 0.5 + 1e-7], [0.5, 1.0]])
    moments = Moments(sigma, sigma)
    assert np.array_equal(moments.sigma_s, moments.sigma_s.T)
    assert_allclose(moments.sigma_s[0, 1], 0.5 + 5e-8, rtol=1e-15)


@given(n=st.integers(1, 6), lost=st.integers(0, 3), seed=st.integers(0, 999))
def test_singular_moments_are_reduced_to_their_support(n: int, lost: int, seed: int) -> None:
    V = orthogonal(n + lost, seed)[:, :n]
    sigma_s, sigma_d = pair(n, seed)
    moments = Moments(V @ sigma_s @ V.T, V @ sigma_d @ V.T)
    assert (moments.n1, moments.n_inputs, moments.dropped_directions) == (n, n + lost, lost)
    if lost == 0:
        assert moments.support is None
        assert moments.notes == ()
        return
    B = moments.support
    assert B is not None
    # products of matrices with entries of order one and below 10 rows: some 100 eps
    assert_allclose(B.T @ B, np.eye(n), atol=1e-13)
    assert_allclose(B @ moments.sigma_s @ B.T, V @ sigma_s @ V.T, atol=1e-13)
    assert_allclose(B @ moments.sigma_d @ B.T, V @ sigma_d @ V.T, atol=1e-13)
    assert_allclose(moments.ratios, Moments(sigma_s, sigma_d).ratios, atol=1e-11)
    assert moments.notes == (f"dropped {lost} of {n + lost} directions, in which Σs is zero to rounding",)


def test_a_second_reduction_composes_with_the_first() -> None:
    V = orthogonal(4, 1)[:, :3]
    moments = Moments(np.diag([2.0, 0.0, 1.0]), np.diag([1.0, 0.0, 0.2]), support=V)
    assert moments.support is not None
    assert np.array_equal(moments.support, V[:, [0, 2]])
    assert moments.dropped_directions == 2


@pytest.mark.parametrize("lost", [1, 2, 20])
def test_a_singular_matrix_loses_the_same_directions_after_float32(lost: int) -> None:
    V = orthogonal(30, 2)[:, lost:]
    sigma_s, sigma_d = pair(30 - lost, 3)
    rounded = [(V @ sigma @ V.T).astype(np.float32) for sigma in (sigma_s, sigma_d)]
    for matrices in (rounded, [matrix.astype(np.float64) for matrix in rounded]):
        moments = Moments.from_matrices(*matrices)
        assert moments.dropped_directions == lost
        # entries off by eps32/2, divided by the smallest eigenvalue of Σs, here above 0.05
        assert_allclose(moments.ratios, Moments(sigma_s, sigma_d).ratios, atol=30 * 6e-8 / 0.05)


@pytest.mark.parametrize("digits", [6, 7, 9])
def test_matrices_printed_with_six_digits_are_accepted(digits: int) -> None:
    V = orthogonal(30, 4)[:, 5:]
    sigma_s, sigma_d = pair(25, 5)
    # Σd = Σs on half of the space, the case that rounding can push out of order
    for other in (sigma_d, sigma_s):
        texts = [np.char.mod(f"%.{digits}g", V @ sigma @ V.T) for sigma in (sigma_s, other)]
        moments = Moments.from_matrices(*[text.astype(float) for text in texts])
        assert np.all((moments.ratios >= 0) & (moments.ratios <= 1))
        assert moments.dropped_directions == 5


def test_a_small_direction_that_float32_loses_may_be_correlated_with_a_large_one() -> None:
    Q, root = orthogonal(3, 5), np.diag(np.sqrt([1.0, 1.0, 3e-8]))
    sigma_s = Q @ root**2 @ Q.T
    sigma_d = Q @ root @ np.array([[0.5, 0, 0.5], [0, 0.5, 0], [0.5, 0, 0.5]]) @ root @ Q.T
    assert Moments(sigma_s.astype(np.float32), sigma_d.astype(np.float32)).dropped_directions == 1


def test_small_eigenvalues_of_double_precision_are_kept() -> None:
    Q = orthogonal(8, 6)
    sigma_s = Q @ np.diag(np.logspace(0, -11, 8)) @ Q.T
    assert Moments(sigma_s, 0.5 * sigma_s).dropped_directions == 0


def test_eigenvalues_of_any_size_are_kept() -> None:
    for scale in (1e-280, 1.0, 1e280):
        moments = Moments.from_eigenvalues([scale, 1e-20 * scale], [0.5 * scale, 2e-21 * scale])
        assert moments.dropped_directions == 0
        assert_allclose(moments.ratios, [0.5, 0.2], rtol=1e-14)
        assert moments.commutator == 0
        full = scale * np.array([[2.0, 1.0], [1.0, 2.0]])
        assert_allclose(Moments(full, 0.5 * full).ratios, 0.5, rtol=1e-14)


# --- modes ------------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 7), seed=st.integers(0, 999))
def test_modes_solve_the_symmetric_problem(n: int, seed: int) -> None:
    moments = Moments(*pair(n, seed))
    ratios, U = moments.modes
    assert np.all(np.diff(ratios) <= 0)
    assert np.all((ratios >= 0) & (ratios <= 1))
    # residuals of n eps, divided by the smallest eigenvalue of Σs, which is above 1e-3 in every pair
    assert_allclose(U.T @ moments.sigma_s @ U, np.eye(n), atol=1e-12)
    assert_allclose(moments.sigma_d @ U, moments.sigma_s @ U * ratios, atol=1e-12)


@given(n=st.integers(1, 6), seed=st.integers(0, 999))
def test_ratios_do_not_depend_on_the_coordinates(n: int, seed: int) -> None:
    sigma_s, sigma_d = pair(n, seed)
    A = orthogonal(n, seed + 1) @ np.diag(np.linspace(1, 3, n))
    turned = Moments(A @ sigma_s @ A.T, A @ sigma_d @ A.T)
    assert_allclose(turned.ratios, Moments(sigma_s, sigma_d).ratios, atol=1e-11)


def test_the_commutator_is_zero_when_modes_decouple_and_as_defined_otherwise() -> None:
    Q = orthogonal(5, 7)
    aligned = Moments(Q @ np.diag(np.arange(1.0, 6)) @ Q.T, Q @ np.diag(np.linspace(0.1, 0.9, 5)) @ Q.T)
    assert aligned.commutator < 1e-15 * 25
    sigma_s, sigma_d = pair(5, 8)
    C = sigma_s @ sigma_d
    expected = np.linalg.norm(C - C.T) / np.linalg.norm(C)
    assert_allclose(Moments(sigma_s, sigma_d).commutator, expected, rtol=1e-13)
    assert Moments(sigma_s, np.zeros((5, 5))).commutator == 0


# --- refusals ---------------------------------------------------------------------------------------------------

I2 = np.eye(2)


@pytest.mark.parametrize(
    ("sigma_s", "sigma_d", "message"),
    [
        (np.ones(3), I2, r"`sigma_s` must be a square matrix, got shape \(3,\)"),
        (I2, np.ones((2, 3)), r"`sigma_d` must be a square matrix, got shape \(2, 3\)"),
        (np.ones((0, 0)), I2, r"`sigma_s` must be a square matrix, got shape \(0, 0\)"),
        (I2, np.eye(3), r"`sigma_s` and `sigma_d` must have one shape, got \(2, 2\) and \(3, 3\)"),
        ([["a"]], [[1]], "`sigma_s` must be real numbers, got <U1"),
        (I2, 1j * I2, "`sigma_d` must be real numbers, got complex128"),
        ([[1, 2], [3]], I2, "`sigma_s` must be an array, got rows of different lengths"),
        ([[1, 0], [0, np.nan]], I2, r"`sigma_s` must be finite, got nan at \(1, 1\)"),
        (I2, [[np.inf, 0], [0, 1]], r"`sigma_d` must be finite, got inf at \(0, 0\)"),
        ([[1, 0.1], [0, 1]], I2, "`sigma_s` must be symmetric, got entries that differ by 0.1"),
        ([[1, 2], [2, 1]], I2, "`sigma_s` must be positive semidefinite, got a smallest eigenvalue of -1"),
        (np.diag([1, -0.5]), I2, "`sigma_s` must be positive semidefinite, got a smallest eigenvalue of -0.5"),
        (3 * I2, [[1, 2], [2, 1]], "`sigma_d` must be positive semidefinite, got a smallest eigenvalue of -1"),
        (I2, [[0.5, 0.6], [0.6, 0.5]], "`sigma_d` must be positive semidefinite, got a .* eigenvalue of -0.1"),
        (np.diag([1, 2]), np.diag([1.25, 1]), "`sigma_d` must be at most `sigma_s`, got a ratio of 1.25 > 1"),
        ([[2, 1], [1, 2]], [[2, 0], [0, 1]], "must be at most `sigma_s`, got a ratio of 1.57735 > 1"),
        (np.diag([1, 1e-9]), np.diag([0.5, 1e-7]), "`sigma_d` must be at most `sigma_s`, got a ratio of 100 > 1"),
        (np.zeros((2, 2)), np.zeros((2, 2)), "`sigma_s` must not be zero: there is nothing to learn from"),
        (
            np.diag([1, 0]),
            np.diag([0.5, 0.2]),
            "`sigma_d` must vanish where `sigma_s` does, got norm 0.2 there",
        ),
        (
            np.diag([1, 0]),
            [[0.5, 1e-3], [1e-3, 2e-6]],
            "`sigma_d` must vanish where `sigma_s` does, got norm 0.00141 there",
        ),
    ],
)  # fmt: skip
def test_matrices_that_are_no_moments_are_refused(sigma_s: Any, sigma_d: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Moments.from_matrices(sigma_s, sigma_d)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_the_slack_is_six_printed_digits(factor: float) -> None:
    Q = orthogonal(2, 9)
    sigma = Q @ np.diag([1.0, 0.5]) @ Q.T
    step = factor * SLACK * np.linalg.norm(sigma)
    cases = (
        (sigma, sigma + step * np.eye(2)),
        (sigma, Q @ np.diag([0.5, -step]) @ Q.T),
        (sigma + 2 * factor * SLACK * np.max(sigma) * np.array([[0, 1], [0, 0]]), 0.5 * sigma),
    )
    for sigma_s, sigma_d in cases:
        if factor < 1:
            ratios = Moments(sigma_s, sigma_d).ratios
            assert np.all((ratios >= 0) & (ratios <= 1))
        else:
            with pytest.raises(ValueError, match="must be"):
                Moments(sigma_s, sigma_d)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"support": np.ones((3, 2))}, "`support` must have orthonormal columns, got UᵀU that is off I by 3"),
        ({"support": np.eye(3)}, r"`support` must have 2 orthonormal columns, got shape \(3, 3\)"),
        ({"support": [[1, 0], [0, np.nan]]}, r"`support` must be finite, got nan at \(1, 1\)"),
        ({"standard_error": -1.0}, "`standard_error` must be finite and >= 0, or None, got -1.0"),
        ({"standard_error": np.nan}, "`standard_error` must be finite and >= 0, or None, got nan"),
    ],
)
def test_a_bad_support_or_standard_error_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Moments(I2, I2, **settings)


# --- eigenvalues ------------------------------------------------------------------------------------------------


def test_moments_from_eigenvalues() -> None:
    moments = Moments.from_eigenvalues([1, 2, 4], [1, 0, 2])
    assert np.array_equal(moments.sigma_s, np.diag([1, 2, 4]))
    assert np.array_equal(moments.sigma_d, np.diag([1, 0, 2]))
    assert moments.ratios.tolist() == [1, 0.5, 0]
    # a root, two divisions and an eigenvalue: below 4 eps
    assert_allclose(Moments.from_eigenvalues(2, 0.5).ratios, [0.25], rtol=1e-15)
    assert_allclose(Moments.from_eigenvalues(1.0, [0.1, 0.2]).ratios, [0.2, 0.1], rtol=1e-15)


@pytest.mark.parametrize(
    ("lambda_s", "lambda_d", "message"),
    [
        ([1, 0], [0, 0], "`lambda_s` must be finite and > 0, got 0.0 in mode 2"),
        ([-1], [0], "`lambda_s` must be finite and > 0, got -1.0 in mode 1"),
        ([1, 1, np.nan], [0, 0, 0], "`lambda_s` must be finite and > 0, got nan in mode 3"),
        (np.inf, 1, "`lambda_s` must be finite and > 0, got inf in mode 1"),
        ([1, 2], [0.5, 2.5], "`lambda_d` must be >= 0 and <= λs = 2.0, got 2.5 in mode 2"),
        ([1, 2], [-0.5, 1], "`lambda_d` must be >= 0 and <= λs = 1.0, got -0.5 in mode 1"),
        (1, np.nan, "`lambda_d` must be >= 0 and <= λs = 1.0, got nan in mode 1"),
        ([1, 2], [1, 1, 1], r"`lambda_s` and `lambda_d` must pair up, got shapes \(2,\) and \(3,\)"),
        ([], [], r"`lambda_s` and `lambda_d` must pair up, got shapes \(0,\) and \(0,\)"),
        (np.eye(2), 1, r"`lambda_s` and `lambda_d` must pair up, got shapes \(2, 2\) and \(\)"),
        ("a", 1, "`lambda_s` must be real numbers, got <U1"),
    ],
)
def test_bad_eigenvalues_are_refused(lambda_s: Any, lambda_d: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Moments.from_eigenvalues(lambda_s, lambda_d)


# --- the two models of R16 --------------------------------------------------------------------------------------


def gaussian(sigma: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((n, len(sigma))) @ np.linalg.cholesky(sigma).T


def assert_moments_of(moments: Moments, x1: np.ndarray, x2: np.ndarray) -> None:
    """Moments agree with the means over pairs of views, entry by entry."""
    for one, other, sigma in ((x1, x1, moments.sigma_s), (x2, x1, moments.sigma_d)):
        products = one[:, :, None] * other[:, None, :]
        # 2·4² entries: five standard errors have probability 2e-5 in all
        assert np.all(np.abs(products.mean(0) - sigma) < 5 * products.std(0) / np.sqrt(len(x1)))


def test_additive_noise_against_sampling() -> None:
    rng = np.random.default_rng(10)
    sigma_x, sigma_n = pair(4, 11)
    x = gaussian(sigma_x, 40_000, rng)
    views = [x + gaussian(sigma_n, len(x), rng) for _ in range(2)]
    assert_moments_of(Moments.additive_noise(sigma_x, sigma_n), *views)


def test_scrambling_against_sampling() -> None:
    rng = np.random.default_rng(12)
    sigma_x, U = pair(4, 13)[0], orthogonal(4, 14)[:, :2]
    x = gaussian(sigma_x, 40_000, rng)
    views = []
    for _ in range(2):
        B = rng.standard_normal((len(x), 2, 2))
        views.append(x - x @ U @ U.T + np.einsum("nij,nj->ni", B, x @ U) @ U.T)
    assert_moments_of(Moments.scrambling(sigma_x, U), *views)


@given(n=st.integers(2, 6), data=st.data(), seed=st.integers(0, 99))
def test_scrambling_makes_m_the_projector_on_what_is_conserved(
    n: int, data: st.DataObject, seed: int
) -> None:
    k = data.draw(st.integers(1, n - 1))
    sigma_x, U = pair(n, seed)[0], orthogonal(n, seed + 1)[:, :k]
    Pc = np.eye(n) - U @ U.T
    moments = Moments.scrambling(sigma_x, U)
    # residuals of n eps, divided by the smallest eigenvalue of Σx, above 1e-2
    assert_allclose(moments.sigma_d @ np.linalg.pinv(moments.sigma_s), Pc, atol=1e-11)
    assert_allclose(moments.ratios, [1] * (n - k) + [0] * k, atol=1e-11)
    assert_allclose(moments.sigma_d, Pc @ sigma_x @ Pc, atol=1e-13)


def test_scrambling_needs_no_commuting() -> None:
    sigma_x, U = pair(4, 15)[0], orthogonal(4, 16)[:, :1]
    Pc = np.eye(4) - U @ U.T
    assert np.linalg.norm(Pc @ sigma_x - sigma_x @ Pc) > 0.1 * np.linalg.norm(sigma_x)
    # the printed Σs = Σx would give another M
    assert np.linalg.norm(Pc @ sigma_x @ Pc @ np.linalg.inv(sigma_x) - Pc) > 0.1
    assert Moments.scrambling(sigma_x, U).commutator < 1e-14


@pytest.mark.parametrize(
    ("sigma_x", "other", "message"),
    [
        ([[1, 2], [2, 1]], I2, "`sigma_x` must be positive semidefinite, got a smallest eigenvalue of -1"),
        (I2, [[1, 2], [2, 1]], "`sigma_n` must be positive semidefinite, got a smallest eigenvalue of -1"),
        (I2, np.eye(3), r"`sigma_x` and `sigma_n` must have one shape, got \(2, 2\) and \(3, 3\)"),
    ],
)
def test_bad_correlations_of_additive_noise_are_refused(sigma_x: Any, other: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Moments.additive_noise(sigma_x, other)


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (np.ones((2, 1)), "`basis` must have orthonormal columns, got UᵀU that is off I by 1"),
        (np.ones(2), r"`basis` must have one or more orthonormal columns, got shape \(2,\)"),
        (np.ones((2, 3)), r"`basis` must have one or more orthonormal columns, got shape \(2, 3\)"),
        (np.ones((2, 0)), r"`basis` must have one or more orthonormal columns, got shape \(2, 0\)"),
        (np.eye(3), r"`basis` must have 2 rows like `sigma_x`, got shape \(3, 3\)"),
    ],
)
def test_a_bad_basis_is_refused(basis: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Moments.scrambling(I2, basis)


# --- views ------------------------------------------------------------------------------------------------------


def views(n: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = gaussian(pair(4, 17)[0], n, rng)
    return x + noise * rng.standard_normal((n, 4)), x + noise * rng.standard_normal((n, 4))


def test_moments_from_views_are_means_and_know_their_standard_error() -> None:
    x1, x2 = views(500, 0.5, seed=18)
    moments = Moments.from_views(x1, x2)
    s = (x1[:, :, None] * x1[:, None, :] + x2[:, :, None] * x2[:, None, :]) / 2
    d = (x1[:, :, None] * x2[:, None, :] + x2[:, :, None] * x1[:, None, :]) / 2
    assert_allclose(moments.sigma_s, s.mean(0), rtol=1e-12)
    assert_allclose(moments.sigma_d, d.mean(0), rtol=1e-12)
    errors = [np.sqrt(np.sum(each.var(0, ddof=1)) / 500) for each in (s, d)]
    assert moments.standard_error is not None
    assert_allclose(moments.standard_error, max(errors) / np.linalg.norm(s.mean(0)), rtol=1e-10)
    assert moments.notes == (
        "moments estimated from 500 pairs of views",
        f"relative standard error of the moments by sampling {moments.standard_error:.2g}",
    )


def test_exchanging_the_views_changes_nothing() -> None:
    x1, x2 = views(100, 0.5, seed=19)
    there, back = Moments.from_views(x1, x2), Moments.from_views(x2, x1)
    both = Moments.from_views(np.concatenate([x1, x2]), np.concatenate([x2, x1]))
    for other in (back, both):
        assert_allclose(other.sigma_s, there.sigma_s, rtol=1e-13)
        assert_allclose(other.sigma_d, there.sigma_d, rtol=1e-13, atol=1e-15)


@given(n=st.integers(2, 30), seed=st.integers(0, 999))
def test_ratios_that_sampling_leaves_below_zero_are_clipped(n: int, seed: int) -> None:
    # views that share nothing: Σd = 0, so half of its estimated eigenvalues are negative
    x1, x2 = np.random.default_rng(seed).standard_normal((2, n + 20, 4))
    moments = Moments.from_views(x1, x2)
    symmetric = (x1.T @ x2 + x2.T @ x1) / (2 * len(x1))
    assert np.linalg.eigvalsh(moments.sigma_d)[0] > -1e-15
    assert np.linalg.eigvalsh(moments.sigma_s - moments.sigma_d)[0] > -1e-15
    raw = np.sort(np.linalg.eigvals(np.linalg.solve(moments.sigma_s, symmetric)).real)[::-1]
    assert_allclose(moments.ratios, np.clip(raw, 0, 1), atol=1e-12)
    if raw[-1] < -SLACK:
        change = np.linalg.norm(moments.sigma_d - symmetric) / np.linalg.norm(symmetric)
        assert moments.notes[-1] == (
            f"sampling left {np.sum(raw < -SLACK)} ratios outside [0, 1], by {-raw[-1]:.2g} at most: clipped,"
            f" which changes Σd by {change:.2g} of its norm"
        )


@pytest.mark.parametrize(
    ("x1", "x2", "message"),
    [
        (np.ones(3), np.ones((3, 1)), r"`x1` must hold at least two views, shape \(N, d\), got shape \(3,\)"),
        (np.ones((3, 1)), np.ones((1, 1)), r"`x2` must hold at least two views, .* got shape \(1, 1\)"),
        (np.ones((3, 1)), np.ones((3, 2)), r"`x1` and `x2` must have one shape, got \(3, 1\) and \(3, 2\)"),
        (np.ones((2, 1)), [[1], [np.nan]], r"`x2` must be finite, got nan at \(1, 0\)"),
        (np.zeros((3, 2)), np.zeros((3, 2)), "`sigma_s` must not be zero: there is nothing to learn from"),
    ],
)
def test_bad_views_are_refused(x1: Any, x2: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Moments.from_views(x1, x2)


def test_views_that_repel_are_refused() -> None:
    x = np.random.default_rng(20).standard_normal((500, 3))
    message = (
        "must be drawn independently given the sample, .* got a negative part of norm .*, standard error"
    )
    with pytest.raises(ValueError, match=message):
        Moments.from_views(x, -x)


# --- data -------------------------------------------------------------------------------------------------------


def test_digits_have_the_ratios_of_the_shifts_and_the_noise() -> None:
    moments = Moments.from_data(load("digits").images, [Shift(1), Noise(0.3)])
    assert moments.ratios[:7].round(3).tolist() == [0.921, 0.865, 0.802, 0.728, 0.482, 0.420, 0.364]
    assert moments.n1 == 64
    assert moments.standard_error is None
    assert moments.notes == (
        "centred: the mean of 1797 images was subtracted",
        "scaled by 1/4.333, the standard deviation of all pixels about the mean image",
        "augmentations shift:1, noise:0.3: averages exact",
    )


def test_dead_pixels_are_dropped() -> None:
    moments = Moments.from_data(load("digits").images, [Flip()])
    # three pixels are always blank; the mirror image of one of them is not
    assert moments.dropped_directions == 2
    assert np.all((moments.ratios > -1e-15) & (moments.ratios <= 1))


def test_no_augmentation_leaves_every_ratio_one() -> None:
    moments = Moments.from_data(load("digits").images, [])
    assert_allclose(moments.ratios, 1, rtol=1e-9)  # eps times the condition number, below 1e6
    assert moments.notes[2] == "augmentations none: averages exact"


@pytest.mark.parametrize("augmentations", [[Shift(1), Erase(0.1)], [Noise(0.5)]])
def test_small_batches_give_the_moments_of_one_batch(augmentations: list[Augmentation]) -> None:
    images = np.random.default_rng(21).integers(0, 256, (101, 4, 5, 2), dtype=np.uint8)
    one, many = (Moments.from_data(images, augmentations, batch_size=size) for size in (101, 7))
    # sums of 101 terms in another order
    assert_allclose(many.sigma_s, one.sigma_s, atol=101 * 2.3e-16 * np.max(one.sigma_s))
    assert_allclose(many.sigma_d, one.sigma_d, atol=101 * 2.3e-16 * np.max(one.sigma_s))
    assert many.notes == one.notes


def test_data_may_be_left_as_they_are() -> None:
    X = np.random.default_rng(22).random((9, 3)) + 2
    moments = Moments.from_data(X, [Noise(0.1)], center=False, scale=False)
    assert_allclose(moments.sigma_d, X.T @ X / 9, rtol=1e-14)
    assert_allclose(moments.sigma_s, X.T @ X / 9 + 0.01 * np.eye(3), rtol=1e-14)
    assert moments.notes == ("augmentations noise:0.1: averages exact",)


def test_a_memory_map_will_do(tmp_path: Path) -> None:
    images = np.random.default_rng(23).integers(0, 256, (20, 4, 4), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = load(str(tmp_path / "images.npy")).images
    one, other = (Moments.from_data(each, [Shift(1)]).sigma_s for each in (mapped, images))
    assert np.array_equal(one, other)


def test_an_augmentation_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="`sigma_s` must not be zero: there is nothing to learn from"):
        Moments.from_data(np.random.default_rng(26).random((5, 4, 4)), [Erase(1.0)])


# --- objectives ---------------------------------------------------------------------------------------------------


@given(alpha=st.floats(0, 10), beta=st.floats(0.1, 10), n=st.integers(1, 5), seed=st.integers(0, 99))
def test_byol_prime_keeps_modes_and_changes_ratios(alpha: float, beta: float, n: int, seed: int) -> None:
    moments = Moments(*pair(n, seed))
    other = Moments(*byol_prime_moments(moments, alpha, beta))
    r = moments.ratios
    assert_allclose(other.ratios, beta / (beta + 2 * alpha * (1 - r)), atol=1e-10)
    U = moments.modes.directions  # of the same modes in the same order, up to their length
    assert_allclose(other.sigma_d @ U, other.sigma_s @ U * other.ratios, atol=1e-9)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_moments_of_an_objective_are_minus_half_its_gradient(sign: int) -> None:
    """Finite differences of α E‖A x1 − A x2‖² ± β E‖A x1 − Θ x1‖² over a sample of pairs."""
    alpha, beta = 0.7, 1.3
    x1, x2 = views(50, 0.2, seed=27)
    # exchanged pairs make the sample symmetric, as the moments are
    x1, x2 = np.concatenate([x1, x2]), np.concatenate([x2, x1])
    A, Th = np.random.default_rng(28).standard_normal((2, 3, 4))

    def loss(A: np.ndarray) -> float:
        alignment = np.mean(np.sum(((x1 - x2) @ A.T) ** 2, 1))
        return float(alpha * alignment + sign * beta * np.mean(np.sum((x1 @ (A - Th).T) ** 2, 1)))

    moments = Moments.from_views(x1, x2)
    sigma_s, sigma_d = (byol_prime_moments if sign == 1 else raft_moments)(moments, alpha, beta)
    gradient = np.zeros_like(A)
    for index in np.ndindex(A.shape):
        step = np.zeros_like(A)
        step[index] = 1.0
        # exact for a quadratic but for rounding
        gradient[index] = (loss(A + step) - loss(A - step)) / 2
    assert_allclose(Th @ sigma_d - A @ sigma_s, -gradient / 2, atol=1e-12)


def test_raft_makes_weakly_augmented_modes_run_away() -> None:
    moments = Moments.from_eigenvalues([1.0, 1.0, 2.0], [0.9, 0.5, 0.2])
    sigma_s, sigma_d = raft_moments(moments, 1.0, 0.5)
    assert_allclose(np.diag(sigma_s), [2 * 0.1 - 0.5, 2 * 0.5 - 0.5, 2 * 1.8 - 1.0], rtol=1e-14)
    assert_allclose(np.diag(sigma_d), [-0.5, -0.5, -1.0], rtol=1e-15)


@pytest.mark.parametrize("objective", [byol_prime_moments, raft_moments])
@pytest.mark.parametrize(
    ("alpha", "beta", "message"),
    [
        (-1.0, 1.0, "`alpha` must be finite and >= 0, got -1.0"),
        (np.nan, 1.0, "`alpha` must be finite and >= 0, got nan"),
        (np.inf, 1.0, "`alpha` must be finite and >= 0, got inf"),
        (1.0, 0.0, "`beta` must be finite and > 0, got 0.0"),
        (1.0, np.nan, "`beta` must be finite and > 0, got nan"),
        (1.0, np.inf, "`beta` must be finite and > 0, got inf"),
    ],
)
def test_bad_weights_are_refused(objective: Any, alpha: float, beta: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        objective(Moments.from_eigenvalues(1.0, 0.5), alpha, beta)


# --- files ------------------------------------------------------------------------------------------------------


def test_saved_moments_are_read_back_bit_for_bit(tmp_path: Path) -> None:
    images = load("digits").images
    for moments in (
        Moments.from_eigenvalues(1.0, 0.5),
        Moments.from_data(images, [Flip()]),
        Moments.from_data(images, [Crop(0.5)], draws=4),
    ):
        save_moments(tmp_path / "m.npz", moments)
        back = load_moments(tmp_path / "m.npz")
        for name in ("sigma_s", "sigma_d", "ratios", "support", "notes", "standard_error"):
            one, other = getattr(back, name), getattr(moments, name)
            assert type(one) is type(other)
            assert np.array_equal(one, other)
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]


def test_moments_files_made_by_hand_need_only_two_matrices(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", sigma_s=np.eye(2, dtype=np.float32), sigma_d=np.eye(2, dtype=int))
    assert load_moments(tmp_path / "m.npz").ratios.tolist() == [1, 1]


def test_bad_moments_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    with pytest.raises(FileNotFoundError, match=f"{path} does not exist"):
        load_moments(path)
    np.savez(path, sigma_s=np.eye(2), other=np.eye(2))
    with pytest.raises(ValueError, match="must hold sigma_s and sigma_d, got sigma_s, other"):
        load_moments(path)
    np.savez(path)
    with pytest.raises(ValueError, match="must hold sigma_s and sigma_d, got no arrays"):
        load_moments(path)
    path.write_text("sigma_s = 1")
    with pytest.raises(ValueError, match=r"must be an .npz archive of plain numeric arrays: "):
        load_moments(path)
    np.savez(path, sigma_s=np.eye(2), sigma_d=2 * np.eye(2))
    with pytest.raises(ValueError, match="`sigma_d` must be at most `sigma_s`, got a ratio of 2 > 1"):
        load_moments(path)


@pytest.mark.parametrize("dominant", [0, 1])
def test_the_standard_error_is_that_of_the_less_certain_matrix(dominant: int) -> None:
    rng = np.random.default_rng(5)
    # samples of very different size make Σd uncertain as well; views of very different size only Σs
    x = rng.standard_normal((300, 1, 3)) * (1 if dominant == 0 else rng.exponential(1, (300, 1, 1)))
    x1, x2 = np.moveaxis(
        x
        + (2 * rng.exponential(1, (300, 2, 1)) if dominant == 0 else 0.1) * rng.standard_normal((300, 2, 3)),
        1,
        0,
    )
    s = (x1[:, :, None] * x1[:, None, :] + x2[:, :, None] * x2[:, None, :]) / 2
    d = (x1[:, :, None] * x2[:, None, :] + x2[:, :, None] * x1[:, None, :]) / 2
    errors = [np.sqrt(np.sum(each.var(0, ddof=1)) / len(x)) for each in (s, d)]
    if dominant == 0:
        assert errors[0] > 1.2 * errors[1]
    # sums of 300 products each
    assert_allclose(
        Moments.from_views(x1, x2).standard_error, max(errors) / np.linalg.norm(s.mean(0)), rtol=1e-10
    )


@pytest.mark.parametrize(
    ("lambda_s", "lambda_d"), [(1.0, [[0.5]]), ([[1.0]], 0.5), ([1.0, 1.0], [0.5]), ([], [])]
)
def test_eigenvalues_that_do_not_pair_up_are_refused(lambda_s: Any, lambda_d: Any) -> None:
    with pytest.raises(ValueError, match="must pair up"):
        Moments.from_eigenvalues(lambda_s, lambda_d)


@pytest.mark.parametrize(
    ("size", "alpha", "beta"),
    [(1.0, 1e308, 1.0), (1e300, 1e10, 1.0), (1e-300, 1.0, 1e-10), (1.0, 1.0, 1e-308)],
)
def test_weights_whose_moments_are_no_floats_are_refused(size: float, alpha: float, beta: float) -> None:
    found = Moments.from_eigenvalues(size, size / 2)
    with pytest.raises(ValueError, match=r"`alpha` and `beta` must leave .* within 1e-307 and 1e307"):
        objective_moments("raft", found, alpha, beta)
