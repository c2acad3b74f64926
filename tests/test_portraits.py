"""Phase portraits: what a window shows is what rests and flows there, checked point by point."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.fixed_points.one_mode import fixed_points
from analysis.phase_planes.planes import (
    Plane,
    balanced_plane,
    fixed_target_plane,
    leaf_plane,
    no_ema_plane,
    no_predictor_plane,
    tied_plane,
)
from analysis.phase_planes.portraits import phase_portrait, rest_lines
from dynamics.fields.modes import full_mode_field
from dynamics.states import ModeState
from dynamics.system import ModeSystem

TAUS = {"tau_online": 1.3, "tau_predictor": 0.7, "tau_target": 1.9}
SYSTEM = ModeSystem(1.2, 0.7, **TAUS)
WINDOW = ((-1.1, 1.3), (-0.9, 1.0))


def slopes(plane: Plane, point: np.ndarray) -> np.ndarray:
    """Jacobian of the plane by central differences: an error of h² and of ε/h, 1e-9 in all."""
    h = 1e-6
    columns = [
        (np.array(plane(*(point + h * e))) - np.array(plane(*(point - h * e)))) / (2 * h) for e in np.eye(2)
    ]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("c", [0.3, -0.05, -0.6])
@pytest.mark.parametrize("sheet", [1, -1])
def test_points_of_the_sheet_are_shown_and_no_others(c: float, sheet: int) -> None:
    plane, rest = leaf_plane(SYSTEM, c, sheet), fixed_points(SYSTEM, invariant=c)
    shown = phase_portrait(plane, *WINDOW, rest)
    for point, verdict in zip(shown.points, shown.stability, strict=True):
        # the rates are sums of products of numbers around 1
        assert_allclose(plane(*point), 0.0, atol=1e-14)
        rates = np.linalg.eigvals(slopes(plane, point)).real
        assert verdict == ("saddle" if rates.min() < 0 < rates.max() else "stable")
    weight = "online" if c > 0 else "predictor"
    expected = [point for point in rest.points if np.sign(getattr(point, weight)) == sheet]
    assert len(shown.points) == len(expected)
    assert len(shown.separatrices) == shown.stability.count("saddle")


def test_the_other_sheet_of_the_cone_is_left_out() -> None:
    system = ModeSystem(1.0, 0.5)
    shown = phase_portrait(balanced_plane(system), (-1, 1), (-1, 1), fixed_points(system, invariant=0.0))
    assert sorted(zip(shown.points[:, 0], shown.stability, strict=True)) == [
        (0.0, "half-stable"),
        (0.5, "stable"),
    ]


def test_the_half_stable_origin_has_the_separatrix_that_parts_collapse_from_learning() -> None:
    system = ModeSystem(1.0, 0.5)
    shown = phase_portrait(tied_plane(system), (-1, 1), (-1, 1), fixed_points(system, "tied"))
    (found,) = shown.separatrices
    assert found.unstable == []
    assert sorted(branch[-1].round(9).tolist() for branch in found.stable) == [[0.0, -1.0], [0.0, 1.0]]


def test_points_outside_the_window_are_left_out() -> None:
    system = ModeSystem(1.0, 0.5)
    shown = phase_portrait(tied_plane(system), (-1, 0.4), (-1, 1), fixed_points(system, "tied"))
    assert shown.points.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    "plane", [tied_plane(ModeSystem(1.2, 0.7)), no_predictor_plane(SYSTEM), fixed_target_plane(SYSTEM, 0.8)]
)
def test_arrows_have_unit_length_along_the_flow_and_stand_inside(plane: Plane) -> None:
    shown = phase_portrait(plane, *WINDOW, n_arrows=9)
    du, dv = plane(shown.u, shown.v)
    assert_allclose(np.hypot(shown.du, shown.dv), 1.0, rtol=4e-16)
    assert_allclose(shown.du * dv - shown.dv * du, 0.0, atol=1e-15)
    assert np.all(shown.du * du + shown.dv * dv > 0)
    assert shown.u.shape == (9, 9)
    assert np.all((shown.u > -1.1) & (shown.u < 1.3) & (shown.v > -0.9) & (shown.v < 1.0))


def test_no_arrow_where_the_flow_rests() -> None:
    shown = phase_portrait(tied_plane(ModeSystem(1.0, 0.5)), (-1, 1), (-1, 1), n_arrows=3)
    assert np.isnan(shown.du[1, 1])
    assert np.isfinite(shown.du).sum() == 8


def test_the_hyperbola_is_shown_up_to_the_border() -> None:
    plane = fixed_target_plane(SYSTEM, 0.8)
    shown = phase_portrait(plane, *WINDOW, fixed_points(SYSTEM, "fixed-target", target=0.8))
    assert [line.stability for line in shown.lines] == ["attracting", "attracting"]
    product = 0.8 * 0.7 / 1.2
    for line in shown.lines:
        assert_allclose(np.prod(line.points, axis=1), product, rtol=1e-15)
        along = np.hypot(*np.diff(line.points, axis=0).T)
        assert along.max() < 0.1  # a twentieth of the window
    right = max(shown.lines, key=lambda line: line.points[0, 0]).points
    assert right[:, 0].max() >= 1.25
    assert right[:, 1].max() >= 0.97


def test_lines_without_ema_change_stability_where_they_cross() -> None:
    system = ModeSystem(1.0, 0.5)
    shown = phase_portrait(no_ema_plane(system), (-1, 1), (-1, 1), fixed_points(system, "no-ema"))
    vertical = {
        (line.points[0, 1], line.points[-1, 1]): line.stability
        for line in shown.lines
        if np.all(line.points[:, 0] == 0) and len(line.points) > 1
    }
    # dw1/dt = w2 (λd − w2 λs) w1: it grows for 0 < w2 < r
    assert vertical == {(-1.0, 0.0): "attracting", (0.0, 0.5): "repelling", (0.5, 1.0): "attracting"}


def test_lines_in_space_are_cut_at_the_cube_and_rest() -> None:
    found = fixed_points(SYSTEM)
    window = np.array([[-1.0, 0.5], [-0.4, 0.9], [-0.7, 2.0]])
    for line in found.lines:
        parts = rest_lines(line, window)
        points = np.concatenate([part.points for part in parts])
        assert np.all((points >= window[:, 0]) & (points <= window[:, 1]))
        assert_allclose(full_mode_field(0.0, ModeState(*points.T[..., None]), SYSTEM), 0.0, atol=1e-15)
        places = points[:, 0] if line.name == "learned" else points[:, 1]
        # (a, r, a) leaves at a = −0.7 and a = 0.5, (0, p, 0) at p = −0.4 and p = 0.9
        assert (places.min(), places.max()) == ((-0.7, 0.5) if line.name == "learned" else (-0.4, 0.9))


def test_a_line_beside_the_window_is_not_shown() -> None:
    learned = fixed_points(SYSTEM).lines[0]
    assert rest_lines(learned, np.array([[-1.0, 1.0], [0.6, 0.9], [-1.0, 1.0]])) == []


def test_nonsense_is_refused() -> None:
    plane = tied_plane(ModeSystem(1.0, 0.5))
    with pytest.raises(ValueError, match="`n_arrows` must be >= 2, got 1"):
        phase_portrait(plane, (-1, 1), (-1, 1), n_arrows=1)
    with pytest.raises(ValueError, match="`u_range` must be two finite numbers"):
        phase_portrait(plane, (1, -1), (-1, 1))
