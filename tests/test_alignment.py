"""Alignment of predictor and features (R19): the commutator, its bound, and the distance from DirectPred."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.linalg import sqrtm

from analysis.runs.alignment import (
    align,
    alignment_rate,
    direct_distance,
    feature_commutator,
)
from dynamics.fields.matrices import (
    aligned_field,
    directpred_field,
    full_field,
    proportional_ema_field,
    symmetric_predictor_field,
)
from dynamics.fields.predictors import (
    DIRECT_OPTIONS,
    directpred_predictor,
    directpred_spectrum,
    feature_covariance,
)
from dynamics.fields.vector_field import VectorField
from dynamics.integration.integrate import Trajectory, integrate
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem

N1, N2 = 4, 3
FIELD = aligned_field(lambda t: 1 - 0.5 * np.exp(-t))


def isotropic(seed: int, **rates: float) -> tuple[MatrixSystem, MatrixState]:
    rng = np.random.default_rng(seed)
    settings = {"tau_online": 0.7, "tau_predictor": 1.4, "weight_decay": 0.05} | rates
    system = MatrixSystem(1.6 * np.eye(N1), 0.9 * np.eye(N1), **settings)
    P = 0.4 * rng.standard_normal((N2, N2))
    return system, system.state(rng.standard_normal((N2, N1)), (P + P.T) / 2)


def run_of(
    seed: int, field: VectorField = FIELD, t_end: float = 3.0, **rates: float
) -> Trajectory[MatrixState]:
    system, start = isotropic(seed, **rates)
    return integrate(start, system, field, t_end, dense=True)


# --- the equation of the commutator -------------------------------------------------------------------------


def start_sizes(state: MatrixState, system: MatrixSystem) -> tuple[float, float]:
    F, K = feature_covariance(state.online, system), alignment_rate(state, system)
    return float(np.linalg.norm(F)), float(np.linalg.norm(K, 2))


@pytest.mark.parametrize("seed", range(3))
def test_the_commutator_follows_its_linear_equation(seed: int) -> None:
    system, _ = isotropic(seed)
    run = run_of(seed)

    def derivative(t: float, L: np.ndarray) -> np.ndarray:
        K = alignment_rate(run(t), system)
        return -(K @ L.reshape(N2, N2) + L.reshape(N2, N2) @ K).ravel()

    start = feature_commutator(run.initial, system)
    solved = solve_ivp(derivative, (0, run.t), start.ravel(), rtol=1e-9, atol=1e-11, method="DOP853")
    found = feature_commutator(run.final, system)
    # the run is good to 10 rtol: 60 rtol ‖F‖ ‖P‖ at its ends, and as much again for K in the time between
    F, K = start_sizes(run.initial, system)
    size = F * float(np.linalg.norm(run.initial.predictor))
    assert_allclose(solved.y[:, -1].reshape(N2, N2), found, rtol=0, atol=60e-8 * size * (1 + 2 * run.t * K))
    assert np.linalg.norm(found) < 0.5 * np.linalg.norm(start)


def test_the_rate_is_the_formula_of_the_source() -> None:
    sigma, alpha, tau, eta = 0.5, 2.0, 0.7, 0.1
    system = MatrixSystem((1 + sigma**2) * np.eye(2), np.eye(2), tau_predictor=1 / alpha, weight_decay=eta)
    W, P = np.array([[1.0, 0.5], [0.0, 2.0]]), np.array([[0.3, 0.1], [0.1, -0.2]])
    K = (1 + sigma**2) * (alpha * W @ W.T / 2 + P @ P) - tau * P + 1.5 * eta * np.eye(2)
    assert_allclose(alignment_rate(system.state(W, P, tau * W), system), K, rtol=1e-14)


def test_commutator_vanishes_iff_eigenvectors_are_shared() -> None:
    system = MatrixSystem(np.array([1.0, 2.0]), np.array([0.5, 0.5]))
    W = np.array([[1.0, 2.0], [0.5, -1.0]])
    F = W @ np.diag([1.0, 2.0]) @ W.T
    # the rounding of products of a few numbers of size ten
    assert_allclose(feature_commutator(system.state(W, F @ F - F), system), 0, atol=1e-12)
    assert np.linalg.norm(feature_commutator(system.state(W, np.diag([1.0, 0.0])), system)) > 0.1


# --- the bounds ---------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6))
def test_the_bounds_hold_and_the_sharp_one_is_sharper(seed: int) -> None:
    system, _ = isotropic(seed)
    alignment = align(run_of(seed, t_end=1.0), system, FIELD)
    assert alignment.applicable
    assert alignment.holds
    assert np.all(alignment.sharp_bound <= alignment.bound * (1 + 1e-12))
    assert alignment.bound[0] == alignment.sharp_bound[0] == alignment.commutator[0]


def test_the_bound_is_exponential_in_lambda_0() -> None:
    system, _ = isotropic(0)
    run = run_of(0)
    alignment = align(run, system, FIELD)
    states = [MatrixState(*parts) for parts in zip(*run.states, strict=True)]
    least = min(np.linalg.eigvalsh(alignment_rate(state, system))[0] for state in states)
    assert_allclose(alignment.lambda_0, least)
    assert_allclose(alignment.bound, np.exp(-2 * least * run.ts) * alignment.commutator[0])


def test_the_sharp_bound_errs_upwards_between_few_times() -> None:
    system, _ = isotropic(0)
    run = run_of(0)
    ts = np.linspace(0.0, run.t, 4001)
    fine = [MatrixState(*parts) for parts in zip(*run(ts), strict=True)]
    least = np.array([np.linalg.eigvalsh(alignment_rate(state, system))[0] for state in fine])
    coarse = align(run.resampled(4), system, FIELD)
    at_coarse = np.searchsorted(ts, coarse.t[1:])
    exact = np.exp(-2 * np.cumsum((least[1:] + least[:-1]) / 2 * np.diff(ts)))[at_coarse - 1]
    assert np.all(coarse.sharp_bound[1:] > exact * coarse.commutator[0])


def test_a_run_that_breaks_the_bound_is_told() -> None:
    system = MatrixSystem(np.eye(2), np.eye(2), weight_decay=0.5)
    start = system.state(np.diag([2.0, 1.0]), np.array([[0.1, 0.1], [0.1, 0.1]]), np.zeros((2, 2)))
    field = aligned_field(lambda t: 0.0)
    run = integrate(start, system, field, 2.0)
    assert align(run, system, field).holds is True
    stuck = MatrixState(*(np.repeat(part[None], len(run.ts), axis=0) for part in start))
    assert align(replace(run, states=stuck), system, field).holds is False


def test_aligned_start_stays_aligned() -> None:
    system = MatrixSystem(1.5 * np.eye(2), np.eye(2))
    alignment = align(
        integrate(system.state(np.diag([1.0, 0.5]), np.diag([0.2, 0.4])), system, FIELD, 2.0), system, FIELD
    )
    assert_allclose(alignment.commutator, 0, atol=1e-15)
    assert_allclose(alignment.overlap, 1, rtol=1e-15)
    assert alignment.holds


# --- overlap and symmetry -----------------------------------------------------------------------------------


def test_overlap_and_symmetry_of_known_states() -> None:
    system = MatrixSystem(np.eye(2), np.eye(2))
    W = np.diag([2.0, 1.0])
    # P e1 at 60 degrees from e1, P e2 = 0; antisymmetric part of [[1, 0], [√3, 0]] is half of √3 twice
    P = np.array([[0.5, 0.0], [np.sqrt(3) / 2, 0.0]])
    states = MatrixState(*(np.stack([part] * 2) for part in (W, P, W)))
    run = replace(run_of(0), ts=np.array([0.0, 1.0]), states=states)
    alignment = align(run, system, full_field)
    assert_allclose(alignment.overlap, [[0.5, 1.0]] * 2)
    assert_allclose(alignment.symmetry, 1 - (3 / 4) / 2)


def test_zero_predictor_and_zero_features_are_not_divided_by() -> None:
    system = MatrixSystem(np.eye(2), np.eye(2))
    zero = np.zeros((3, 2, 2))
    run = replace(run_of(0), ts=np.arange(3.0), states=MatrixState(zero, zero, zero))
    alignment = align(run, system, aligned_field(lambda t: 1.0))
    assert alignment.holds
    assert np.all(alignment.overlap == 1)
    assert np.all(alignment.symmetry == 1)
    assert np.all(direct_distance(run, system, **DIRECT_OPTIONS["sqrt"]) == 0)
    assert np.all(np.isinf(direct_distance(run, system, **DIRECT_OPTIONS["normalised-sqrt-0.1"])))


# --- where it does not apply --------------------------------------------------------------------------------


def test_reasons_are_given_and_the_commutator_is_shown_all_the_same() -> None:
    system, start = isotropic(0)
    anisotropic = replace(
        system, sigma_s=np.diag([1.0, 2.0, 2.0, 2.0]), sigma_d=np.diag([1.0, 0.5, 0.5, 0.5])
    )
    lopsided = start._replace(predictor=start.predictor + np.triu(np.ones((N2, N2)), 1))
    level = proportional_ema_field(lambda t: 0.5)
    cases = [
        (anisotropic, start, FIELD, "Σs must be a multiple of the identity.*Σd must be a multiple"),
        (system, start, symmetric_predictor_field, "^Θ must be proportional to W"),
        (system, lopsided, level, "^P must be symmetric at all times"),
        (
            system,
            start,
            directpred_field,
            "gradient flow with a symmetric predictor, and directpred does not",
        ),
    ]
    for case_system, case_start, field, reason in cases:
        alignment = align(integrate(case_start, case_system, field, 1.0), case_system, field)
        assert pytest.approx(alignment.commutator[0]) == np.linalg.norm(
            feature_commutator(field.constrain(0.0, case_start, case_system), case_system)
        )
        assert not alignment.applicable
        assert alignment.holds is None
        assert np.all(np.isnan(alignment.bound))
        assert np.isnan(alignment.lambda_0)
        with pytest.raises(ValueError, match=reason):
            raise ValueError(alignment.reason)


def test_reports_hold_the_keys_of_the_command_line() -> None:
    system, start = isotropic(0)
    report = align(run_of(0), system, FIELD).report()
    assert {"t", "commutator", "bound", "holds", "applicable", "reason"} <= report.keys()
    assert report["holds"] is True
    assert len(report["t"]) == len(report["commutator"]) == len(report["bound"])
    field = symmetric_predictor_field
    assert align(integrate(start, system, field, 1.0), system, field).report()["bound"][0] is None


@pytest.mark.parametrize("rtol", [0.0, -1.0, np.nan, np.inf])
def test_tolerance_must_be_positive(rtol: float) -> None:
    system, _ = isotropic(0)
    with pytest.raises(ValueError, match="`rtol` must be finite and > 0, got"):
        align(run_of(0), system, FIELD, rtol=rtol)


def test_diverged_runs_are_refused() -> None:
    system, _ = isotropic(0)
    run = run_of(0)
    broken = replace(run, states=run.states._replace(online=np.full_like(run.states.online, np.nan)))
    with pytest.raises(ValueError, match="`trajectory` must be finite"):
        align(broken, system, FIELD)


# --- DirectPred ---------------------------------------------------------------------------------------------


def test_decayed_predictor_is_that_of_directpred() -> None:
    system = MatrixSystem(np.eye(N1), 0.9 * np.eye(N1), weight_decay=0.1)
    field = aligned_field(lambda t: 1.0)
    rng = np.random.default_rng(0)
    start = system.state(rng.standard_normal((N2, N1)), np.eye(N2))
    run = integrate(start, system, field, 60.0)
    W, P, _ = run.final
    distance = direct_distance(run, system, **DIRECT_OPTIONS["sqrt"])
    # P² = W Wᵀ − C: ‖P − (W Wᵀ)^½‖ <= ‖C‖/(2 λmin(P)), both roots being above it to first order
    C = W @ W.T - P @ P
    off = np.linalg.norm(C) / np.linalg.eigvalsh(P)[0] / np.linalg.norm(P)
    assert distance[-1] <= off < 1e-4
    assert distance[0] > 0.1
    assert_allclose(np.linalg.norm(P - sqrtm(W @ W.T).real) / np.linalg.norm(P), distance[-1], atol=1e-12)


def test_the_published_options_are_their_formulas() -> None:
    s = np.array([0.25, 1.0, 4.0])
    formulas = {
        "sqrt": np.sqrt(s),
        "sqrt-0.01": np.sqrt(s) + 0.01 * 4,
        "sqrt-0.1": np.sqrt(s) + 0.1 * 4,
        "normalised-sqrt": np.sqrt(s / 4),
        "normalised-sqrt-0.01": np.sqrt(s / 4) + 0.01,
        "normalised-sqrt-0.1": np.sqrt(s / 4) + 0.1,
        "set": s,
        "normalised-set": s / 4,
        "normalised-set-0.01": s / 4 + 0.01,
        "normalised-set-0.1": s / 4 + 0.1,
        "shifted-sqrt-0.01": np.sqrt(s / 4 + 0.01),
        "shifted-sqrt-0.1": np.sqrt(s / 4 + 0.1),
    }
    assert formulas.keys() == DIRECT_OPTIONS.keys()
    for name, p in formulas.items():
        assert_allclose(directpred_spectrum(s, **DIRECT_OPTIONS[name]), p, rtol=1e-15)


def test_direct_distance_is_relative() -> None:
    system = MatrixSystem(np.eye(2), np.eye(2))
    W = np.diag([2.0, 1.0])
    P = 1.5 * directpred_predictor(W @ W.T, epsilon=0.0)
    states = MatrixState(*(part[None] for part in (W, P, W)))
    run = replace(run_of(0), ts=np.zeros(1), states=states)
    assert_allclose(direct_distance(run, system, epsilon=0.0), [1 / 3])


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_hypotheses_are_met_relative_to_the_size_of_weights(size: float) -> None:
    system = MatrixSystem(np.full(3, 1.5), np.ones(3))
    field = aligned_field(lambda t: 0.5)
    rng = np.random.default_rng(0)
    P = rng.standard_normal((2, 2))
    start = field.constrain(0.0, system.state(size * rng.standard_normal((2, 3)), size * (P + P.T)), system)
    t_end = 1e-3 / max(1.0, size**3)
    for off, applies in ((1e-13, True), (1e-7, False)):
        skew = off * size * np.array([[0.0, 1.0], [-1.0, 0.0]])
        run = integrate(start, system, field, ts=np.array([0.0, t_end]))
        bent = replace(run, states=run.states._replace(predictor=run.states.predictor + skew))
        assert align(bent, system, field).applicable == applies


def test_eigenvalues_that_one_sum_would_confuse_are_told_apart() -> None:
    from analysis.stability.adapted import _joint_eigenspaces

    # directions 0 and 2 alone share both; 1 shares only λs with them
    spaces = _joint_eigenspaces(np.array([1.0, 1.0, 1.0]), np.array([0.5, 0.8, 0.5]))
    assert sorted(sorted(space.tolist()) for space in spaces) == [[0, 2], [1]]
