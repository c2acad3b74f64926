"""R4: the zeros that a fixed point must have."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from stability_points import (
    RATES,
    Point,
    decoupled_point,
    general_point,
    symmetric,
    tangent_dimension,
    turned,
)

from analysis.stability.forced_zeros import forced_zeros
from analysis.stability.jacobian import dense_jacobian
from analysis.stability.spectrum import stability
from dynamics.system import MatrixSystem

# --- zeros that are forced


@pytest.mark.parametrize("commuting", [True, False])
@pytest.mark.parametrize("seed", range(20, 30))
def test_forced_zeros_are_the_tangents_of_the_fixed_points(seed: int, commuting: bool) -> None:
    point = general_point(seed, commuting=commuting)
    assert forced_zeros(*point) == tangent_dimension(point)


@pytest.mark.parametrize(
    ("modes", "p"),
    [
        ([0, -1], [0.9, 0.5]),
        ([0, -1], [0.9, 0.9]),
        ([-1, -1], [0.5, 0.5]),
        ([2, 0], [0.5, 0.9]),
        ([-1, -1], [0.0, 0.2]),
    ],
)
def test_forced_zeros_count_resonances_and_dead_directions(modes: list[int], p: list[float]) -> None:
    """Modes 1 and 2 share a ratio at two scales; mode 3 is dead (Σs = Σd = 0) and W may hold anything there."""
    ratio = np.array([0.9, 0.5, 0.5, 0.0])
    point = decoupled_point(np.array([1.0, 1.0, 2.0, 0.0]), ratio, modes, np.array([0.7, 0.4]), np.array(p))
    W, P, _ = point.state
    W[:, 3] = 0.3, -0.1
    point = Point(point.system.state(W, P), point.system)
    for point_ in (point, turned(point, 1)):
        forced = forced_zeros(*point_)
        result = stability(*point_)
        assert forced == result.n_zero_forced == tangent_dimension(point_)
        assert result.n_zero == int(np.sum(np.abs(np.linalg.eigvals(dense_jacobian(*point_)).real) < 1e-7))


def test_forced_zeros_of_singular_moments_that_do_not_commute() -> None:
    rng = np.random.default_rng(6)
    A = rng.standard_normal((5, 3))  # rank 3
    r = np.array([0.8, 0.5, 0.3])
    system = MatrixSystem(symmetric(A @ A.T), symmetric((A * r) @ A.T))
    W = np.array([[0.7], [0.0]]) * np.linalg.pinv(A)[:1]
    point = Point(system.state(W, np.diag([0.8, 0.3])), system)
    result = stability(*point)
    # 4 motions of the features, 2 for each of the 2 dead directions, and row 1 in resonance with mode 2
    assert result.n_zero_forced == tangent_dimension(point) == 9
    assert result.n_zero == int(np.sum(np.abs(np.linalg.eigvals(dense_jacobian(*point)).real) < 1e-8))


def test_indefinite_moments_leave_the_forced_count_open() -> None:
    system = MatrixSystem(np.array([[-1.0, 0.3], [0.3, 1.0]]), np.array([[0.5, 0.0], [0.0, 0.2]]))
    state = system.state(np.zeros((1, 2)), [[0.4]])
    result = stability(state, system)
    assert forced_zeros(state, system) is None
    assert (result.n_zero_forced, result.n_zero_other, result.n_zero) == (None, None, 1)


def test_origin_has_zeros_that_nothing_forces() -> None:
    """R5: eigenvalues 0, 0, −1/τt, one line of fixed points (0, p, 0)."""
    system = MatrixSystem(np.ones(1), np.array([0.5]), **RATES)
    result = stability(system.state([[0.0]], [[0.0]]), system)
    assert (result.n_zero_forced, result.n_zero_other, result.verdict) == (1, 1, "degenerate")
    assert result.largest_block == 2  # one row, one mode that no row selected
    assert_allclose(result.min_real, -1 / RATES["tau_target"])
