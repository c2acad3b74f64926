"""BYOL's and SimCLR's directions against their eigenproblems, and the angles between their spans."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import expm

from analysis.contrastive.spectra import compare_with_contrastive
from dynamics.data.moments import Moments


def moments(n: int = 5, dead: int = 0) -> Moments:
    """Signal with anisotropic noise in a random basis, on n of n + dead inputs."""
    rng = np.random.default_rng(1)
    Q = np.linalg.qr(rng.standard_normal((n + dead, n + dead)))[0][:, :n]
    factor = rng.standard_normal((n, n))
    signal, noise = factor @ factor.T, np.diag(np.linspace(0.1, 2.0, n))
    return Moments(Q @ (signal + noise) @ Q.T, Q @ signal @ Q.T)


@pytest.mark.parametrize("dead", [0, 2])
def test_columns_solve_their_eigenproblems_in_terms_of_the_samples(dead: int) -> None:
    found, system = compare_with_contrastive(moments(dead=dead), 3), moments(dead=dead)
    V = np.eye(5) if system.support is None else system.support
    sigma_s, sigma_d = (V @ sigma @ V.T for sigma in (system.sigma_s, system.sigma_d))
    assert_allclose(sigma_d @ found.byol, (sigma_s @ found.byol) * found.ratios, atol=1e-12)
    values = found.shares * np.trace(sigma_d)
    assert_allclose(sigma_d @ found.contrastive, found.contrastive * values, atol=1e-12)
    for columns in (found.byol, found.contrastive):
        assert_allclose(np.linalg.norm(columns, axis=0), 1, rtol=1e-14)
        assert np.all(columns[np.argmax(np.abs(columns), axis=0), np.arange(3)] > 0)


def test_angles_are_those_of_the_projectors() -> None:
    found = compare_with_contrastive(moments(), 2)
    U, Q = np.linalg.qr(found.byol)[0], found.contrastive
    # eigenvalues of (U Uᵀ − Q Qᵀ)² are sin² of the angles, each twice
    sines = np.sqrt(np.clip(np.linalg.eigvalsh(np.linalg.matrix_power(U @ U.T - Q @ Q.T, 2)), 0, 1))[-4:]
    assert_allclose(np.repeat(np.sin(found.angles), 2), sines, atol=1e-12)
    assert np.all(np.diff(found.angles) >= 0)


def test_one_row_of_the_contrastive_flow_turns_to_the_first_direction() -> None:
    system = moments()
    row = np.ones(5) @ expm(60 * system.sigma_d / np.linalg.norm(system.sigma_d, 2))
    found = compare_with_contrastive(system, 1).contrastive[:, 0]
    assert_allclose(abs(row @ found), np.linalg.norm(row), rtol=1e-6)


def test_white_noise_changes_nothing() -> None:
    signal = moments().sigma_d
    found = compare_with_contrastive(Moments.additive_noise(signal, 0.7 * np.eye(5)), 3)
    assert_allclose(found.angles, 0, atol=1e-7)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_spans_that_are_one_of_many_have_no_angles(noise: float) -> None:
    # equal ratios: what scales every sample alike leaves all directions alike
    signal = moments().sigma_d
    found = compare_with_contrastive(Moments((1 + noise) * signal, signal), 2)
    assert np.all(np.isnan(found.angles))
    assert np.all(np.isfinite(compare_with_contrastive(Moments((1 + noise) * signal, signal), 5).angles))


@pytest.mark.parametrize("k", [0, 6])
def test_a_number_of_directions_that_is_not_there_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"`n_components` must be from 1 to 5, got {k}"):
        compare_with_contrastive(moments(), k)
