"""Phase planes are invariant, and their nullclines are all of the zeros of the field and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from contourpy import contour_generator
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial import KDTree

from analysis.phase_planes.nullclines import Nullcline, _quadratic_roots, nullclines
from analysis.phase_planes.planes import (
    Plane,
    balanced_plane,
    direct_plane,
    fixed_target_plane,
    leaf_plane,
    no_ema_plane,
    no_predictor_plane,
    no_stop_gradient_plane,
    tied_plane,
)
from dynamics.exact.fixed_points import saddle_node
from dynamics.fields.modes import directset_mode_field
from dynamics.states import ModeState
from dynamics.system import ModeSystem

TAUS = {"tau_online": 1.3, "tau_predictor": 0.7, "tau_target": 1.9}
SYSTEM = ModeSystem(1.2, 0.7, **TAUS)
DECAYED = ModeSystem(1.2, 0.7, weight_decay=0.05, **TAUS)
NEGATIVE = ModeSystem(1.2, -0.7, **TAUS)
SILENT = ModeSystem(1.2, 0.0, **TAUS)
NO_LOSS = ModeSystem(1.2, 1.8, **TAUS)  # λd > λs: |w2| between r ± √(r² − 1) grows without stop-gradient
TIED = ModeSystem(1.2, 0.7, tau_target=1.9)

PLANES = {
    "leaf, c > 0": leaf_plane(SYSTEM, 0.2),
    "leaf, c > 0, other sheet": leaf_plane(SYSTEM, 0.2, -1),
    "leaf, c < 0": leaf_plane(SYSTEM, -0.05),
    "leaf, c < 0, other sheet": leaf_plane(SYSTEM, -0.05, -1),
    "leaf, c << 0": leaf_plane(SYSTEM, -0.5),
    "leaf, c = 0": leaf_plane(SYSTEM, 0.0),
    "leaf, λd < 0": leaf_plane(NEGATIVE, -0.05, -1),
    "leaf, λd = 0, c > 0": leaf_plane(SILENT, 0.2),
    "leaf, λd = 0, c < 0": leaf_plane(SILENT, -0.05),
    "balanced": balanced_plane(DECAYED),
    "balanced, other sheet": balanced_plane(DECAYED, -1),
    "tied": tied_plane(TIED),
    "tied, λd = 0": tied_plane(ModeSystem(1.2, 0.0)),
    "no predictor": no_predictor_plane(SYSTEM),
    "no predictor, weight decay": no_predictor_plane(DECAYED),
    "directpred": direct_plane(SYSTEM),
    "directpred, weight decay": direct_plane(DECAYED),
    "directset, weight decay": direct_plane(DECAYED, directset_mode_field),
    "fixed target": fixed_target_plane(SYSTEM, 0.4),
    "fixed target, negative": fixed_target_plane(SYSTEM, -0.001),
    "fixed target, zero": fixed_target_plane(SYSTEM, 0.0),
    "fixed target, weight decay": fixed_target_plane(DECAYED, 0.4),
    "no EMA": no_ema_plane(SYSTEM),
    "no EMA, weight decay": no_ema_plane(DECAYED),
    "no stop-gradient": no_stop_gradient_plane(SYSTEM),
    "no stop-gradient, λd > λs": no_stop_gradient_plane(NO_LOSS),
}
WINDOW = ((-1.1, 1.3), (-0.9, 1.0))

every_plane = pytest.mark.parametrize("name", PLANES)


def points_of(nullcline: Nullcline) -> np.ndarray:
    return np.concatenate([np.empty((0, 2)), *nullcline.branches])


@every_plane
def test_the_flow_does_not_leave_the_plane(name: str) -> None:
    """The embedding is carried along by the flow: d embed(u, v) along (du, dv) is the field in all three weights."""
    plane = PLANES[name]
    rng = np.random.default_rng(0)
    u, v = rng.uniform(0.05, 1.0, (2, 50)) * rng.choice([-1.0, 1.0], (2, 50))
    du, dv = plane(u, v)
    h = 1e-30j
    moved = plane.embed((u + h * du)[:, None], (v + h * dv)[:, None])
    rate = plane.vector_field(0.0, plane.embed(u[:, None], v[:, None]), plane.system)
    direct = "direct" in name  # the predictor is slaved to w1: the field leaves it to the constraint
    for axis in ModeState._fields:
        if direct and axis == "predictor":
            continue
        expected = np.broadcast_to(getattr(rate, axis), (50, 1))[:, 0]
        found = np.broadcast_to(np.asarray(getattr(moved, axis)).imag, (50, 1))[:, 0] / 1e-30
        assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


@every_plane
def test_rates_vanish_on_nullclines_and_nullclines_stay_in_the_window(name: str) -> None:
    plane = PLANES[name]
    found = nullclines(plane, *WINDOW)
    assert tuple(nullcline.of for nullcline in found) == plane.axes
    for component, nullcline in enumerate(found):
        points = points_of(nullcline)
        # rounding of terms of order 1, and of the interpolation in the window where the graph is steep
        assert_allclose(plane(*points.T)[component], 0.0, rtol=0, atol=1e-13)
        for axis, (low, high) in enumerate(WINDOW):
            assert np.all((points[:, axis] >= low - 1e-3) & (points[:, axis] <= high + 1e-3))


@every_plane
def test_no_zero_contour_is_missed(name: str) -> None:
    """Contours of the sampled rates lie on nullclines, within two cells of the grid."""
    plane = PLANES[name]
    u, v = (np.linspace(*bounds, 404) for bounds in WINDOW)  # even numbers of points: 0 is not among them
    size = np.array([np.ptp(bounds) for bounds in WINDOW])
    cell = 2 / 400
    rates = plane(u[None, :], v[:, None])
    for nullcline, rate in zip(nullclines(plane, *WINDOW, n_points=2000), rates, strict=True):
        contours = contour_generator(u, v, rate).lines(0.0)
        seen = np.concatenate([np.empty((0, 2)), *contours]) / size
        dense = [np.linspace(b[0], b[-1], 2000) if len(b) == 2 else b for b in nullcline.branches]
        known = np.concatenate([np.empty((0, 2)), *dense]) / size
        assert np.all(nearest(seen, known) < cell)


def nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    if len(points) == 0:
        return np.empty(0)
    return KDTree(others).query(points)[0] if len(others) else np.full(len(points), np.inf)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_nullclines_of_random_systems(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lambda_s, to, tp, tt = np.exp(rng.uniform(-1.0, 1.0, 4))
    eta = rng.choice([0.0, 0.05])
    system = ModeSystem(
        lambda_s,
        lambda_s * rng.uniform(-1, 1),
        tau_online=to,
        tau_predictor=tp,
        tau_target=tt,
        weight_decay=eta,
    )
    planes: list[Callable[[], Plane]] = [
        lambda: balanced_plane(system, rng.choice([-1, 1])),
        lambda: fixed_target_plane(system, rng.normal()),
        lambda: no_ema_plane(system),
        lambda: no_stop_gradient_plane(system),
        lambda: no_predictor_plane(system),
        lambda: direct_plane(system),
    ]
    if eta == 0:
        planes.append(lambda: leaf_plane(system, rng.normal(), rng.choice([-1, 1])))
    plane = planes[rng.integers(len(planes))]()
    low = -np.exp(rng.uniform(-2, 1, 2))
    high = np.exp(rng.uniform(-2, 1, 2))
    for component, nullcline in enumerate(nullclines(plane, (low[0], high[0]), (low[1], high[1]))):
        points = points_of(nullcline)
        # a few roundings of terms as large as w2² w1 λs/τo <= 3³ e²: 200 ε = 4e-14 each
        assert_allclose(plane(*points.T)[component], 0.0, rtol=0, atol=1e-11)


def test_the_fixed_target_has_an_axis_and_a_hyperbola() -> None:
    online, predictor = nullclines(fixed_target_plane(SYSTEM, 0.4), *WINDOW)
    u_star = 0.4 * 0.7 / 1.2
    for nullcline, axis in ((online, 1), (predictor, 0)):
        line, *hyperbola = nullcline.branches
        assert_allclose(line[:, axis], 0.0)
        assert len(hyperbola) == 2
        for branch in hyperbola:
            assert_allclose(np.prod(branch, axis=1), u_star, rtol=1e-13)
            assert_allclose(steps(branch).max(), steps(branch).min(), rtol=2e-2)  # evenly spaced
    corners = sorted(b[0].round(9).tolist() for b in online.branches[1:])
    assert_allclose(corners[0][1], -0.9, rtol=1e-12)


def test_points_are_even_on_hyperbolas_that_hug_their_axes() -> None:
    for nullcline in nullclines(PLANES["fixed target, negative"], *WINDOW):
        for branch in nullcline.branches[1:]:
            assert steps(branch).max() < 1.5 * steps(branch).mean()


def steps(branch: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.diff(branch, axis=0) / [np.ptp(bounds) for bounds in WINDOW], axis=1)


def test_branches_reach_the_border() -> None:
    for name, plane in PLANES.items():
        for nullcline in nullclines(plane, *WINDOW):
            for end in (point for branch in nullcline.branches for point in (branch[0], branch[-1])):
                gap = min(abs(x - bound) for x, bounds in zip(end, WINDOW, strict=True) for bound in bounds)
                # or at u = 0, where a graph has a jump
                assert gap < 1e-12 or abs(end[0]) < 1e-12, name


def test_a_steep_nullcline_is_found_between_grid_points() -> None:
    online, _ = nullclines(leaf_plane(ModeSystem(1.0, 1e-6), -1.0), (-1.0, 1.0), (-1.0, 1.0))
    (branch,) = online.branches
    assert_allclose(branch[[0, -1], 1], [-1.0, 1.0])
    assert np.max(np.abs(branch[:, 0])) < 2e-6


def test_the_levels_of_no_ema_merge_at_the_saddle_node() -> None:
    for factor, levels in ((0.5, 2), (1.0, 1), (1.5, 0)):
        system = ModeSystem(1.2, 0.7, weight_decay=factor * saddle_node(SYSTEM)[0] * 1.3, tau_predictor=0.7)
        online, _ = nullclines(no_ema_plane(system), *WINDOW)
        horizontal = [b for b in online.branches if np.ptp(b[:, 1]) == 0]
        assert len(horizontal) == levels
        assert len(online.branches) == levels + 1  # and w1 = 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nullclines(PLANES["tied"], (1.0, 1.0), (0.0, 1.0)), "`u_range` must be two finite numbers"),
        (
            lambda: nullclines(PLANES["tied"], (0.0, 1.0), (0.0, np.inf)),
            "`v_range` must be two finite numbers",
        ),
        (lambda: nullclines(PLANES["tied"], *WINDOW, n_points=1), "`n_points` must be >= 2, got 1"),
        (lambda: leaf_plane(DECAYED, 0.1), "`weight_decay` must be 0"),
        (lambda: leaf_plane(SYSTEM, np.nan), "`invariant` must be finite, got nan"),
        (lambda: leaf_plane(SYSTEM, 0.1, 0), "`sheet` must be 1 or -1, got 0"),
        (lambda: balanced_plane(SYSTEM, 2), "`sheet` must be 1 or -1, got 2"),
        (lambda: tied_plane(SYSTEM), "`tau_online` = `tau_predictor`"),
        (lambda: fixed_target_plane(SYSTEM, np.inf), "`target` must be finite, got inf"),
        (lambda: no_ema_plane(ModeSystem([1.0, 1.0], [0.5, 0.2])), "`system` must have one mode"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_coordinates_are_the_inverse_of_the_embedding() -> None:
    for plane in PLANES.values():
        assert plane.coordinates(plane.embed(np.array([0.3]), np.array([0.2]))) == (0.3, 0.2)


@pytest.mark.parametrize("roots", [(2.0, 2.0), (-0.5, 3.0), (0.0, 4.0)])
def test_roots_of_a_quadratic_of_any_leading_coefficient(roots: tuple[float, float]) -> None:
    for a in (3.0, -0.25):
        found = _quadratic_roots(a, -a * sum(roots), a * roots[0] * roots[1])
        assert_allclose(found, sorted(set(roots)), rtol=1e-14)
