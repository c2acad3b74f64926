"""Fates of the predictor's eigenspaces, on states whose answer is known by construction."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.runs.eigenspaces import eigenspace_fates, resonance_error
from dynamics.modes import spectrum
from dynamics.system import MatrixSystem


def planted(seed, n1=6, n2=5, held=(0, 2, 3), lost=(-0.3, 1.4)):
    """A fixed point in general position: rows of S⁻¹W are left eigenvectors of M, P = S diag(p) S⁻¹ (R4)."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n1, n1))
    sigma_s = A @ A.T + np.eye(n1)
    root = np.linalg.cholesky(sigma_s)
    Q, _ = np.linalg.qr(rng.standard_normal((n1, n1)))
    ratios = np.linspace(0.9, 0.1, n1)
    sigma_d = root @ Q @ np.diag(ratios) @ Q.T @ root.T
    system = MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2)
    # M = Σd Σs⁻¹ = root Q diag(r) (root Q)⁻¹, so the rows of (root Q)⁻¹ are its left eigenvectors: vᵀM = r vᵀ
    left = np.linalg.inv(root @ Q)[list(held)]
    S = np.eye(n2) + 0.3 * rng.standard_normal((n2, n2))
    rows = np.zeros((n2, n1))
    rows[: len(held)] = left
    p = np.diag([*ratios[list(held)], *lost])
    return system.state(S @ rows, S @ p @ np.linalg.inv(S)), system, ratios


@pytest.mark.parametrize("seed", range(5))
def test_planted_rows_are_told_apart(seed):
    state, system, ratios = planted(seed)
    found = eigenspace_fates(state, system, tolerance=1e-9)
    assert found.fate.tolist() == ["learned"] * 3 + ["collapsed"] * 2
    assert found.mode.tolist() == [0, 2, 3, -1, -1]
    # eigenvalues of a matrix of size one and condition below 1e3: rounding stays under 1e-10
    assert_allclose(found.ratio[:3], ratios[[0, 2, 3]], atol=1e-10)
    assert_allclose(found.predictor_eigenvalue, [0.9, ratios[2], ratios[3], 1.4, -0.3], atol=1e-10)
    assert np.all(found.amplitude[:3] > 1e-3)
    assert np.all(found.amplitude[3:] < 1e-10)
    assert resonance_error(state, system, tolerance=1e-9) < 1e-10
    assert_allclose(spectrum(system), ratios, atol=1e-10)


def test_a_detuned_eigenvalue_is_undecided_and_measured():
    system = MatrixSystem(np.ones(2), np.array([0.9, 0.4]))
    state = system.state([[0.5, 0.0]], [[0.7]])
    assert eigenspace_fates(state, system, tolerance=1e-9).fate.tolist() == ["undecided"]
    assert resonance_error(state, system, tolerance=1e-9) == pytest.approx(0.2)


def test_a_collapsed_encoder_has_no_resonance_error():
    system = MatrixSystem(np.ones(2), np.array([0.9, 0.4]))
    state = system.state(np.zeros((2, 2)), [[0.0, 1.0], [-1.0, 0.0]])
    found = eigenspace_fates(state, system, tolerance=1e-9)
    assert found.fate.tolist() == ["collapsed", "collapsed"]
    assert sorted(found.predictor_eigenvalue.imag) == [-1.0, 1.0]
    assert resonance_error(state, system, tolerance=1e-9) == 0.0


@pytest.mark.parametrize("eta", [0.02, 0.05])
def test_weight_decay_lowers_the_levels_and_rows_keep_their_modes(eta):
    # R15 by hand: λs p (r − p) = η τo, with λs = 2 so that a level is no ratio of M
    lambda_s, ratios, tau = 2.0, np.array([0.9, 0.6]), 1.5
    system = MatrixSystem(
        np.full(2, lambda_s), lambda_s * ratios, tau_online=tau, tau_predictor=tau, weight_decay=eta
    )
    upper = (ratios + np.sqrt(ratios**2 - 4 * eta * tau / lambda_s)) / 2
    rotation = np.array([[0.6, -0.8], [0.8, 0.6]])
    state = system.state(rotation @ np.diag(upper), rotation @ np.diag(upper) @ rotation.T)
    found = eigenspace_fates(state, system, tolerance=1e-9)
    assert found.fate.tolist() == ["learned", "learned"]
    assert found.mode.tolist() == [0, 1]
    assert_allclose(found.ratio, ratios, rtol=1e-12)
    assert resonance_error(state, system, tolerance=1e-9) < 1e-12
    moved = system.state(
        rotation @ np.diag(upper), rotation @ np.diag(upper + np.array([0.0, 0.01])) @ rotation.T
    )
    assert resonance_error(moved, system, tolerance=1e-9) == pytest.approx(0.01, rel=1e-6)


def test_rest_without_resonance_is_learned_and_has_no_mode():
    system = MatrixSystem(np.ones(2), np.array([0.9, 0.4]))
    state = system.state([[0.5, 0.0]], [[0.7]])
    found = eigenspace_fates(state, system, tolerance=1e-9, at_rest=True)
    assert found.fate.tolist() == ["learned"]
    assert found.mode.tolist() == [-1]
    assert np.isnan(found.ratio[0])
