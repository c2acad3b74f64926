"""Separatrices part the basins: on either side of a stable manifold the flow ends elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp

from analysis.phase_planes.planes import (
    Plane,
    balanced_plane,
    direct_plane,
    fixed_target_plane,
    leaf_plane,
    no_ema_plane,
    no_predictor_plane,
    tied_plane,
)
from analysis.phase_planes.separatrices import leaf_separatrix, separatrix
from dynamics.exact.fixed_points import weight_decay_fixed_points
from dynamics.fields.modes import directset_mode_field, full_mode_field
from dynamics.states import ModeState
from dynamics.system import ModeSystem

TAUS = {"tau_online": 1.3, "tau_predictor": 0.7, "tau_target": 1.9}
SYSTEM = ModeSystem(1.2, 0.7, **TAUS)
DECAYED = ModeSystem(1.2, 0.7, weight_decay=0.05, **TAUS)
WINDOW = ((-1.1, 1.3), (-0.9, 1.0))
SIZE = np.array([2.4, 1.9])


def sides(end: np.ndarray) -> np.ndarray:
    """Collapsed 0, learned by the sign of w1 ±1: the fates are at least 0.05 apart here."""
    return np.where(np.abs(end) < 0.05, 0.0, np.sign(end))


def ends_from(plane: Plane, points: np.ndarray, t_end: float = 400.0) -> np.ndarray:
    """Online weights to which points (k, 2) of a plane flow."""
    k = len(points)

    def rate(t: float, y: np.ndarray) -> np.ndarray:
        return np.concatenate(plane(y[:k], y[k:]))

    solution = solve_ivp(rate, (0.0, t_end), points.T.ravel(), method="LSODA", rtol=1e-12, atol=1e-14)
    end = solution.y[:, -1]
    state = plane.embed(end[:k], end[k:])
    return sides(np.broadcast_to(state.online, (k,)))


def across(branch: np.ndarray, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Points beside the middle of a branch, on its left and right, a distance in units of the window away."""
    inner = branch[np.linspace(20, len(branch) - 20, 7).astype(int)]
    tangent = (branch[np.linspace(21, len(branch) - 19, 7).astype(int)] - inner) / SIZE
    normal = np.column_stack([-tangent[:, 1], tangent[:, 0]]) / np.linalg.norm(tangent, axis=1, keepdims=True)
    return inner + distance * SIZE * normal, inner - distance * SIZE * normal


def lower_point(system: ModeSystem) -> ModeState:
    """The saddle p− of weight decay with w1 > 0."""
    points = weight_decay_fixed_points(system).points
    return ModeState(*(part[1, 0] for part in points))


def direct_saddle(plane: Plane) -> tuple[float, float]:
    """p− of weight decay, where the predictor is a function of w1: found by bisection."""
    p, (low, high) = lower_point(plane.system).predictor, (0.0, 2.0)
    for _ in range(200):
        middle = (low + high) / 2
        if plane.embed(np.array([middle]), np.array([0.0])).predictor[0] < p:
            low = middle
        else:
            high = middle
    return low, low


def saddle_cases() -> dict[str, tuple[Plane, tuple[float, float]]]:
    lower = lower_point(DECAYED)
    directpred, directset = direct_plane(DECAYED), direct_plane(DECAYED, directset_mode_field)
    tied = tied_plane(ModeSystem(1.2, 0.7, weight_decay=0.05))
    p = float(lower_point(tied.system).predictor)
    return {
        "leaf": (leaf_plane(SYSTEM, -0.05), (0.0, 0.0)),
        "leaf, λd < 0": (leaf_plane(ModeSystem(1.2, -0.7, **TAUS), -0.05, -1), (0.0, 0.0)),
        "balanced": (balanced_plane(DECAYED), (lower.online, lower.target)),
        "balanced, mirror": (balanced_plane(DECAYED, -1), (-lower.online, -lower.target)),
        "tied": (tied, (p, p)),
        "no EMA": (no_ema_plane(DECAYED), (lower.online, lower.predictor)),
        "fixed target": (fixed_target_plane(SYSTEM, 0.6), (0.0, 0.0)),
        "directpred": (directpred, direct_saddle(directpred)),
        "directset": (directset, direct_saddle(directset)),
    }


@pytest.mark.parametrize("name", saddle_cases())
def test_stable_manifolds_part_basins(name: str) -> None:
    plane, saddle = saddle_cases()[name]
    for branch in separatrix(plane, saddle, *WINDOW).stable:
        assert_array_equal(branch[0], saddle)
        # the manifold is known to 1e-8 of the window
        left, right = (ends_from(plane, points) for points in across(branch, 1e-6))
        assert len(set(left)) == len(set(right)) == 1
        assert left[0] != right[0]


@pytest.mark.parametrize("name", saddle_cases())
def test_manifolds_are_trajectories(name: str) -> None:
    """Points of a manifold flow into the saddle, or out of it: followed for a while they are still on it."""
    plane, saddle = saddle_cases()[name]
    found = separatrix(plane, saddle, *WINDOW, n_points=3000)
    assert len(found.stable) == len(found.unstable) == 2
    for branch, time in [(b, 1.0) for b in found.stable] + [(b, -1.0) for b in found.unstable]:
        middle = branch[1500]
        solution = solve_ivp(
            lambda t, y, time=time: time * np.array(plane(*y)), (0.0, 0.5), middle, rtol=1e-11, atol=1e-13
        )
        gap = np.linalg.norm((branch - solution.y[:, -1]) / SIZE, axis=1).min()
        # the nearest of 3000 points on a curve of length 1 or so
        assert gap < 2 * np.max(np.linalg.norm(np.diff(branch, axis=0) / SIZE, axis=1))


def test_unstable_manifolds_of_a_leaf_end_in_the_learned_points() -> None:
    found = separatrix(leaf_plane(SYSTEM, -0.05), (0.0, 0.0), *WINDOW)
    amplitude = np.sqrt((-0.05 + 0.7 * (0.7 / 1.2) ** 2) / 1.3)
    ends = sorted((branch[-1] for branch in found.unstable), key=lambda end: end[0])
    assert_allclose(ends, [[-amplitude, -amplitude], [amplitude, amplitude]], atol=1e-8)


def test_the_stable_manifold_of_a_leaf_is_the_leaf_separatrix() -> None:
    """By time and in the plane, or by w1 alone in scaled variables: two ways to one curve."""
    for c in (-0.001, -0.05, -0.2):
        plane = leaf_plane(SYSTEM, c)
        for branch in separatrix(plane, (0.0, 0.0), (-1.1, 1.3), (-9.0, 9.0)).stable:
            w1, w2, th = plane.embed(*branch.T)
            assert_allclose(leaf_separatrix(w1, w2, SYSTEM), th, rtol=0, atol=1e-8 * 18)


def test_manifolds_of_the_fixed_target_are_the_balanced_lines() -> None:
    kappa = np.sqrt(0.7 / 1.3)
    found = separatrix(fixed_target_plane(SYSTEM, 0.6), (0.0, 0.0), *WINDOW)
    for branches, sign in ((found.stable, -1), (found.unstable, 1)):
        for branch in branches:
            assert_allclose(branch[:, 0], sign * kappa * branch[:, 1], atol=1e-9)
    # and the unstable ones end on the hyperbola
    assert_allclose([np.prod(b[-1]) for b in found.unstable], 0.6 * 0.7 / 1.2, atol=1e-8)


def test_a_half_stable_origin_has_a_stable_line_only() -> None:
    """Tied weights: w = 0 parts learning from collapse (R7)."""
    found = separatrix(tied_plane(ModeSystem(1.2, 0.7)), (0.0, 0.0), *WINDOW)
    assert found.unstable == []
    for branch in found.stable:
        assert_allclose(branch[:, 0], 0.0, atol=1e-15)
    assert sorted(branch[-1, 1] for branch in found.stable) == pytest.approx([-0.9, 1.0])


def test_branches_are_even_and_stop_at_the_border() -> None:
    for branch in separatrix(leaf_plane(SYSTEM, -0.05), (0.0, 0.0), *WINDOW, n_points=50).stable:
        assert branch.shape == (50, 2)
        lengths = np.linalg.norm(np.diff(branch, axis=0) / SIZE, axis=1)
        assert_allclose(lengths, lengths[0], rtol=1e-2)
        gap = min(abs(x - bound) for x, bounds in zip(branch[-1], WINDOW, strict=True) for bound in bounds)
        assert gap < 1e-9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: separatrix(leaf_plane(SYSTEM, -0.05), (2.0, 0.0), *WINDOW),
            "`point` must lie in the window",
        ),
        (lambda: separatrix(leaf_plane(SYSTEM, -0.05), (0.1, 0.0), *WINDOW), "`point` must be a fixed point"),
        (lambda: separatrix(leaf_plane(SYSTEM, -0.5), (0.0, 0.0), *WINDOW), "`point` must be a saddle"),
        (lambda: separatrix(no_predictor_plane(SYSTEM), (0.0, 0.0), *WINDOW), "`point` must be a saddle"),
        (lambda: separatrix(leaf_plane(SYSTEM, -0.05), (0.0, 0.0), (1, -1), (-1, 1)), "`u_range` must be"),
        (
            lambda: separatrix(leaf_plane(SYSTEM, -0.05), (0.0, 0.0), *WINDOW, n_points=1),
            "`n_points` must be >= 2",
        ),
        (lambda: leaf_separatrix(0.1, 0.3, DECAYED), "`weight_decay` must be 0"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# --- leaves of the full flow --------------------------------------------------------------------------------


def random_leaves(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, ModeSystem]:
    """w1, w2 and a system for each of n leaves with a saddle, λd of both signs."""
    rng = np.random.default_rng(seed)
    lambda_s = rng.uniform(0.3, 2.0, n)
    to, tp, tt = np.exp(rng.uniform(-1.0, 1.0, (3, n)))
    sign = rng.choice([-1.0, 1.0], n)
    r = sign * rng.uniform(0.3, 1.0, n)
    system = ModeSystem(lambda_s, r * lambda_s, tau_online=to, tau_predictor=tp, tau_target=tt)
    w1 = 2 * rng.normal(size=n)
    return w1, sign * np.sqrt(to / tp * w1**2 + (r * rng.uniform(0.1, 0.95, n)) ** 2), system


@pytest.mark.parametrize("factor", [1 + 1e-8, 1 - 1e-8])
def test_the_flow_departs_from_the_leaf_separatrix_to_the_right_side(factor: float) -> None:
    w1, w2, system = random_leaves(0, 40)
    theta = leaf_separatrix(w1, w2, system)
    assert_array_equal(np.sign(theta), -np.sign(w1))

    def rate(t: float, y: np.ndarray) -> np.ndarray:
        return np.concatenate(full_mode_field(t, ModeState(*y.reshape(3, 40)), system))

    y0 = np.concatenate([w1, w2, factor * theta])
    # 300 times are enough to leave the saddle by e^25 at rates >= 0.1, and 1e-12 is a ten thousandth of the offset
    solution = solve_ivp(rate, (0.0, 300.0), y0, method="LSODA", rtol=1e-12, atol=1e-14)
    assert_array_equal(np.sign(solution.y[:40, -1]), np.sign((factor - 1) * theta))


def test_the_leaf_separatrix_is_odd_decreasing_and_bounded() -> None:
    w1 = np.linspace(-50.0, 50.0, 2001)[:, None]
    w2 = np.sqrt(w1**2 + 0.04)
    theta = leaf_separatrix(w1, w2, ModeSystem(1.0, 0.5))[:, 0]
    assert_allclose(theta, -theta[::-1], rtol=1e-10)
    assert np.all(np.diff(theta) < 0)
    # between the last two points, by the chord and by the flow at their middle, (h/w1)²/2 apart
    x, g = (w1[-1, 0] + w1[-2, 0]) / 2, (theta[-1] + theta[-2]) / 2
    p = np.sqrt(x**2 + 0.04)
    assert_allclose((theta[-1] - theta[-2]) / 0.05, (x - g) / (p * (0.5 * g - p * x)), rtol=2e-6)


def test_near_the_saddle_the_separatrix_has_the_slope_of_the_eigenvector() -> None:
    k, system = 0.3, ModeSystem(1.2, 0.7, **TAUS)
    jacobian = np.array([[-(k**2) * 1.2 / 1.3, k * 0.7 / 1.3], [1 / 1.9, -1 / 1.9]])
    rates, vectors = np.linalg.eig(jacobian)
    slope = np.divide(*vectors[::-1, np.argmin(rates)])
    for w1 in (1e-9, 1e-5, 1e-4):
        w2 = np.sqrt(1.3 / 0.7 * w1**2 + k**2)
        # the curve leaves its tangent by a relative y²/3 at most, y = sqrt(−τo/c) w1; c is rounded
        assert_allclose(leaf_separatrix(w1, w2, system), slope * w1, rtol=1e-14 + (1.3 / 0.7) * (w1 / k) ** 2)


def test_the_series_at_the_saddle_obeys_the_equation_of_the_manifold() -> None:
    k, r = 0.3, 0.5
    alpha, rho = 1 / k**2, r / k
    for y in (np.array([3e-4, 3.6e-4]), np.array([8e-4, 9.9e-4]), np.array([9.5e-4, 1.05e-3])):
        w1 = k * np.sinh(y)[:, None]
        slope = -leaf_separatrix(w1, k * np.cosh(y)[:, None], ModeSystem(1.0, r))[:, 0] / w1[:, 0]
        at, m = np.mean(y), np.mean(slope)
        rate = (alpha * (1 + m) / (rho * m + np.cosh(at)) - m * np.cosh(at)) / np.sinh(at)
        # m = m0 + m2 y²: the mean of its values is m2 (Δy)²/4 above that at the middle, to which the rate 2 m2 y
        # answers by (Δy/y)²/8 of itself, times a factor near 1
        assert_allclose(np.diff(slope) / np.diff(y), rate, rtol=0.01)


def test_there_is_no_separatrix_without_the_saddle() -> None:
    system = ModeSystem([1.0, 1.0, 1.0, 1.0, -1.0, 1.0], [0.5, 0.5, 0.5, 0.0, 0.5, -0.5])
    w2 = [0.6, -0.3, 0.1, 0.3, 0.3, 0.3]  # c < −τp r², w2 < 0, c > 0, r = 0, λs < 0, w2 λd < 0
    assert np.all(np.isnan(leaf_separatrix(0.2, w2, system)))


@pytest.mark.parametrize("k", [0.5 * (1 - 1e-9), 0.1, 1e-2, 1e-3, 1e-6, 1e-8])
def test_leaves_close_to_the_bifurcation_and_to_zero(k: float) -> None:
    """Up to k → r = ½, where the saddle turns into a node, and down to c → 0, where it reaches the origin."""
    system, w1 = ModeSystem(1.0, 0.5), 0.2
    w2 = np.sqrt(w1**2 + k**2)
    theta = leaf_separatrix(w1, w2, system)[0]
    plane = leaf_plane(system, w1**2 - w2**2)
    for factor in (1.001, 0.999):
        solution = solve_ivp(
            lambda t, y: np.array(plane(*y)),
            (0.0, 1e5),
            [w1, factor * theta],
            method="LSODA",
            rtol=1e-12,
            atol=1e-20,
        )
        assert np.sign(solution.y[0, -1]) == np.sign(1 - factor)
