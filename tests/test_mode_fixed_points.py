"""Fixed points of one mode in closed form: they rest, with the eigenvalues of the differentiated field."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from dynamics.exact.fixed_points import (
    collapsed_line_eigenvalues,
    leaf_eigenvalues,
    learned_line_eigenvalues,
    saddle_node,
    weight_decay_fixed_points,
)
from dynamics.fields.modes import full_mode_field
from dynamics.states import ModeState, pack, unpack
from dynamics.system import ModeSystem

EPS = np.finfo(float).eps

seeds = st.integers(0, 2**32 - 1)


def random_system(seed: int, **options: Any) -> ModeSystem:
    rng = np.random.default_rng(seed)
    lambda_s, tau_o, tau_p, tau_t = rng.uniform(0.2, 3.0, 4)
    lambda_d = np.atleast_1d(lambda_s * rng.uniform(0.05, 1.0))
    lambda_s = np.atleast_1d(lambda_s)
    return ModeSystem(lambda_s, lambda_d, tau_online=tau_o, tau_predictor=tau_p, tau_target=tau_t, **options)


def spectrum_by_autodiff(point: ModeState, system: ModeSystem) -> np.ndarray:
    """Eigenvalues of the Jacobian of the full one-mode field."""

    def field(y: Any) -> Any:
        parts = full_mode_field(0.0, unpack(y, point), system)
        return jax.numpy.concatenate([jax.numpy.ravel(part) for part in parts])

    return np.linalg.eigvals(np.asarray(jax.jacfwd(field)(jax.numpy.asarray(pack(point)))))


def assert_same_spectrum(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare as multisets, through the characteristic polynomial and so without harm from double roots."""
    size = max(1.0, np.max(np.abs(expected)))
    # coefficients are sums of products of three at most: roundings times the cube of the size
    assert_allclose(np.poly(found), np.poly(expected), rtol=0, atol=200 * EPS * size**3)


@settings(max_examples=40)
@given(seed=seeds, online=st.floats(-2.0, 2.0))
def test_learned_line(seed: int, online: float) -> None:
    system = random_system(seed)
    point = system.state(online, system.ratio, online)
    found = learned_line_eigenvalues(online, system)[0]
    assert_same_spectrum(found, spectrum_by_autodiff(point, system))
    np.testing.assert_array_equal(found.imag, 0.0)
    assert found[0] == 0
    # R5: both others negative off the origin; γ = λs a²/τp is what is left of the slow one when a is small
    if online**2 > 1e-300:
        assert np.all(found[1:].real < 0)


@settings(max_examples=40)
@given(seed=seeds, predictor=st.floats(-2.0, 2.0))
def test_collapsed_line(seed: int, predictor: float) -> None:
    system = random_system(seed)
    found = collapsed_line_eigenvalues(predictor, system)[0]
    assert_same_spectrum(found, spectrum_by_autodiff(system.state(0.0, predictor, 0.0), system))
    r = system.ratio[0]
    assert found[0] == 0
    if predictor < -1e-100 or predictor > r * (1 + 4 * EPS):
        assert np.all(found[1:].real < 0)
    elif 1e-100 < predictor < r * (1 - 4 * EPS):
        assert found[1].real > 0 > found[2].real


@given(seed=seeds)
def test_ends_of_the_saddle_segment_are_doubly_degenerate(seed: int) -> None:
    system = random_system(seed)
    at_origin = collapsed_line_eigenvalues(0.0, system)[0]
    np.testing.assert_array_equal(at_origin[:2], 0.0)
    assert_allclose(at_origin[2], -1 / system.tau_target, rtol=4 * EPS)
    at_ratio = collapsed_line_eigenvalues(system.ratio, system)[0]
    assert abs(at_ratio[1]) <= 4 * EPS * abs(at_ratio[2])


def test_small_amplitudes_keep_their_slow_eigenvalue() -> None:
    # to first order in γ: s = −γ ζ/(β + ζ), far below a rounding of the other eigenvalue
    system = ModeSystem(np.array([1.0]), np.array([0.5]), tau_target=2.0)
    gamma, beta, zeta = 1e-24, 0.25, 0.5
    found = learned_line_eigenvalues(1e-12, system)[0, 1]
    assert_allclose(found, -gamma * zeta / (beta + zeta), rtol=8 * EPS)


def test_lines_broadcast_over_points_and_modes() -> None:
    system = ModeSystem(np.array([1.0, 2.0]), np.array([0.5, 0.4]))
    points = np.array([[0.1, 0.2], [0.3, -0.4], [1.0, 2.0]])
    for line in (learned_line_eigenvalues, collapsed_line_eigenvalues):
        found = line(points, system)
        assert found.shape == (3, 2, 3)
        for i in range(2):
            alone = ModeSystem(system.lambda_s[i : i + 1], system.lambda_d[i : i + 1])
            np.testing.assert_array_equal(found[:, i], line(points[:, i : i + 1], alone)[:, 0])


@given(beta=st.floats(-3, 3), gamma=st.floats(-3, 3), tau_t=st.floats(0.1, 10))
def test_leaf_eigenvalues_of_any_block(beta: float, gamma: float, tau_t: float) -> None:
    system = ModeSystem(np.ones(1), np.ones(1), tau_target=tau_t)
    found = leaf_eigenvalues(beta, gamma, system)
    assert_allclose(np.sum(found), -(beta + gamma + 1 / tau_t), rtol=0, atol=40 * EPS * 10)
    assert_allclose(np.prod(found), gamma / tau_t, rtol=16 * EPS, atol=1e-300)
    assert found[0].real >= found[1].real


# --- weight decay (R15) -------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(seed=seeds, fraction=st.floats(1e-6, 0.999))
def test_weight_decay_points_rest_and_their_spectra(seed: int, fraction: float) -> None:
    eta = fraction * float(saddle_node(random_system(seed))[0])
    system = random_system(seed, weight_decay=eta)
    names, points, eigenvalues = weight_decay_fixed_points(system)
    assert names == ("origin", "lower", "lower-mirror", "upper", "upper-mirror")
    for i, name in enumerate(names):
        point = ModeState(*(part[i] for part in points))
        size = 1 + max(float(np.max(np.abs(part))) for part in point)
        # a field of sums of products of three weights <= size with coefficients <= 3/0.2
        assert_allclose(pack(full_mode_field(0.0, point, system)), 0.0, atol=100 * EPS * 15 * size**3)
        assert_same_spectrum(eigenvalues[i, 0], spectrum_by_autodiff(point, system))
        signs = np.sign(eigenvalues[i, 0].real)
        if name.startswith("lower"):
            assert sorted(signs) == [-1, -1, 1]
        else:  # no Hopf bifurcation, for any time constants
            np.testing.assert_array_equal(signs, -1)
        # every end is balanced
        c = system.tau_online * point.online**2 - system.tau_predictor * point.predictor**2
        assert_allclose(c, 0.0, atol=8 * EPS * 3 * size**2)


@given(seed=seeds, excess=st.floats(1e-9, 1.0))
def test_beyond_the_saddle_node_only_the_origin_is_left(seed: int, excess: float) -> None:
    eta = (1 + excess) * float(saddle_node(random_system(seed))[0])
    _, points, eigenvalues = weight_decay_fixed_points(random_system(seed, weight_decay=eta))
    assert np.all(np.isnan(points.predictor[1:]))
    assert np.all(np.isnan(eigenvalues[1:]))
    assert points.predictor[0, 0] == points.online[0, 0] == 0


def test_the_branches_meet_at_the_saddle_node() -> None:
    # 1/16 is exact, so the discriminant is 0: r/2 twice, and a zero eigenvalue
    system = ModeSystem(np.array([1.0]), np.array([0.5]), tau_predictor=4.0, weight_decay=1 / 16)
    assert saddle_node(system)[0] == 1 / 16
    _, points, eigenvalues = weight_decay_fixed_points(system)
    np.testing.assert_array_equal(points.predictor[1:, 0], 0.25)
    np.testing.assert_array_equal(points.online[1:, 0], [0.5, -0.5, 0.5, -0.5])
    np.testing.assert_array_equal(eigenvalues[1:, 0, 1], 0.0)


def test_the_known_case_and_small_decay() -> None:
    found = weight_decay_fixed_points(
        ModeSystem(np.ones(2), np.full(2, 0.5), weight_decay=np.array([0.06, 1e-20]))
    )
    assert_allclose(found.points.predictor[[1, 3], 0], [0.2, 0.3], rtol=8 * EPS)
    # p− → η τo/λd: relative accuracy, though λd − sqrt(λd² − 4η) is 0 in floating point
    assert_allclose(found.points.predictor[[1, 3], 1], [2e-20, 0.5], rtol=8 * EPS)


@settings(max_examples=30)
@given(seed=seeds, negative_s=st.booleans())
def test_moments_that_no_views_have(seed: int, negative_s: bool) -> None:
    # R26's moments can be negative: then p± exist at every η (λs < 0), or are negative themselves (λd < 0)
    plain = random_system(seed)
    rates = {"tau_online": plain.tau_online, "tau_predictor": plain.tau_predictor}
    eta = 0.7 * float(saddle_node(plain)[0])
    system = ModeSystem(
        -plain.lambda_s if negative_s else plain.lambda_s, -plain.lambda_d, weight_decay=eta, **rates
    )
    _, points, eigenvalues = weight_decay_fixed_points(system)
    for i in range(5):
        point = ModeState(*(part[i] for part in points))
        size = 1 + max(float(np.max(np.abs(part))) for part in point)
        assert_allclose(pack(full_mode_field(0.0, point, system)), 0.0, atol=100 * EPS * 15 * size**3)
        assert_same_spectrum(eigenvalues[i, 0], spectrum_by_autodiff(point, system))
    assert np.all(points.predictor[1] <= points.predictor[3]) or negative_s
    assert np.isnan(saddle_node(system)[0]) == negative_s


def test_no_curvature_no_points() -> None:
    system = ModeSystem(np.zeros(1), np.array([0.5]), weight_decay=0.1)
    assert np.all(np.isnan(weight_decay_fixed_points(system).points.predictor[1:]))
    assert np.isnan(saddle_node(system)[0])


def test_refusals() -> None:
    free, decaying = (ModeSystem(np.ones(1), np.ones(1), weight_decay=eta) for eta in (0.0, 0.1))
    with pytest.raises(ValueError, match=r"`weight_decay` must be > 0 for isolated fixed points, got 0.0"):
        weight_decay_fixed_points(free)
    for line in (learned_line_eigenvalues, collapsed_line_eigenvalues):
        with pytest.raises(ValueError, match=r"`weight_decay` must be 0 for this closed form, got 0.1"):
            line(0.3, decaying)
