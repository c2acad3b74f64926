"""Fixed points of the network: the canonical ones rest and are counted, and polishing carries runs to them."""

from __future__ import annotations

from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from analysis.fixed_points.network import canonical_fixed_points, polish
from analysis.stability.adapted import fixed_point_residual
from analysis.stability.jacobian import dense_jacobian
from analysis.stability.spectrum import stability
from dynamics.fields.matrices import full_field
from dynamics.integration.integrate import integrate
from dynamics.states import MatrixState, pack, random_state, unpack
from dynamics.system import MatrixSystem, ModeSystem

EPS = np.finfo(float).eps
ROOT = Path(__file__).resolve().parent.parent
SYSTEM = ModeSystem(1.0, 0.5)

seeds = st.integers(0, 2**32 - 1)


def network(n1: int, seed: int = 0, **rates: float) -> MatrixSystem:
    """Commuting moments with distinct ratios."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((n1, n1)))[0]
    lambda_s = rng.uniform(0.5, 1.5, n1)
    lambda_d = lambda_s * np.linspace(0.9, 0.3, n1)
    return MatrixSystem((Q * lambda_s) @ Q.T, (Q * lambda_d) @ Q.T, **rates)


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_canonical_points_rest_and_are_counted(weight_decay: float) -> None:
    system = network(5, tau_online=1.3, tau_predictor=0.7, weight_decay=weight_decay)
    levels = 2 if weight_decay else 1
    for rank in range(4):
        points = list(canonical_fixed_points(system, 3, rank=rank))
        assert len(points) == comb(5, rank) * levels**rank
        assert len({(point.modes, point.levels) for point in points}) == len(points)
        # products of three matrices of norms about 1 and size 5
        assert max(fixed_point_residual(point.state, system) for point in points) <= 200 * EPS
    assert len(list(canonical_fixed_points(system, 3))) == sum(comb(5, k) * levels**k for k in range(4))


def test_only_the_top_modes_are_stable_at_balanced_points() -> None:
    system = network(5, tau_online=1.3, tau_predictor=0.7)
    verdicts = {
        point.modes: stability(point.state, system).n_positive
        for point in canonical_fixed_points(system, 3, rank=3)
    }
    assert [modes for modes, n_positive in verdicts.items() if n_positive == 0] == [(0, 1, 2)]
    C = next(canonical_fixed_points(system, 3, rank=3)).state
    W, P, _ = C
    assert_allclose(1.3 * W @ W.T, 0.7 * P.T @ P, rtol=0, atol=50 * EPS)


def test_amplitudes_of_canonical_points() -> None:
    system = network(4)
    state = next(canonical_fixed_points(system, 2, rank=2, amplitude=0.3)).state
    assert_allclose(np.linalg.norm(state.online, axis=1), 0.3, rtol=10 * EPS)
    assert fixed_point_residual(state, system) <= 200 * EPS


def test_canonical_points_are_made_one_by_one() -> None:
    system = network(60)
    assert next(canonical_fixed_points(system, 10, rank=10, limit=10**11)).modes == tuple(range(10))
    with pytest.raises(ValueError, match=f"`limit` must be at least the {comb(60, 10)} fixed points"):
        canonical_fixed_points(system, 10, rank=10)
    with pytest.raises(ValueError, match=f"the {2**3 * comb(5, 3)} fixed points"):
        canonical_fixed_points(network(5, weight_decay=0.01), 3, rank=3, limit=2**3 * comb(5, 3) - 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n2": 0}, "`n2` must be >= 1"),
        ({"n2": 2, "rank": 3}, "`rank` from 0 to n2, got 2 and 3"),
        ({"n2": 2, "amplitude": 0.0}, "`amplitude` must be > 0"),
    ],
)
def test_canonical_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        canonical_fixed_points(network(3), **options)


def test_saddle_nodes_of_the_network_are_one_point() -> None:
    system = MatrixSystem(np.ones(1), np.array([0.5]), weight_decay=0.0625)
    assert len(list(canonical_fixed_points(system, 1, rank=1))) == 1


def nudged(state: MatrixState, distance: float, seed: int = 0) -> MatrixState:
    step = np.random.default_rng(seed).standard_normal(pack(state).size)
    return unpack(pack(state) + distance * step / np.linalg.norm(step), state)


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_polishing_converges_quadratically(weight_decay: float) -> None:
    system = network(6, weight_decay=weight_decay)
    state = next(canonical_fixed_points(system, 3, rank=3)).state
    if not weight_decay:
        S = np.eye(3) + 0.3 * np.random.default_rng(1).standard_normal((3, 3))
        state = MatrixState(S @ state.online, S @ state.predictor @ np.linalg.inv(S), S @ state.online)
    near = nudged(state, 1e-2)
    steps = [polish(near, system, max_steps=n_steps).residual_after for n_steps in (1, 2, 3)]
    singular = np.linalg.svd(dense_jacobian(state, system), compute_uv=False)
    # a step is of length error/σ, σ the least singular value but for zeros, and leaves what second
    # derivatives of F, below 10 here, make of its square
    bound = 10 / np.min(singular[singular > 1e-9]) ** 2
    assert steps[1] <= bound * steps[0] ** 2
    assert steps[2] <= bound * steps[1] ** 2
    result = polish(near, system)
    assert result.status == "converged"
    assert result.n_steps <= 6
    assert result.residual_after <= 1e-12 < result.residual_before


def test_polishing_moves_hardly_farther_than_it_must() -> None:
    system = network(6)
    state = next(canonical_fixed_points(system, 3, rank=3)).state
    for distance in (1e-3, 1e-4):
        near = nudged(state, distance)
        F = pack(full_field(0.0, near, system))
        # the shortest way to the manifold, to first order: zeros of J, forced by R4, are far from the rest
        least = np.linalg.norm(np.linalg.pinv(dense_jacobian(state, system), rcond=1e-9) @ F)
        result = polish(near, system)
        assert_allclose(result.displacement, least, rtol=30 * distance)
        assert result.displacement <= distance * (1 + 30 * distance)


def test_polishing_the_end_of_a_run() -> None:
    system = network(8, tau_target=0.5)
    run = integrate(
        random_state(8, 3, scale_online=0.4, scale_predictor=0.2, seed=2), system, full_field, 40.0
    )
    result = polish(run.final, system)
    assert result.status == "converged"
    assert result.residual_before > 1e-6
    assert stability(result.state, system).residual <= 1e-12


def test_polishing_corrects_the_slowest_direction() -> None:
    # what a run leaves undone lies along its slowest mode, here a thousand times slower than the fastest
    system = MatrixSystem(np.ones(3), np.array([0.9, 0.3, 0.299]))
    state = next(canonical_fixed_points(system, 2, rank=2)).state
    rates, vectors = np.linalg.eig(dense_jacobian(state, system))
    rates = np.where(np.abs(rates) < 1e-9, np.inf, np.abs(rates))
    slow = vectors[:, np.argmin(rates)].real
    assert np.min(rates) < 1e-3 * np.max(rates[np.isfinite(rates)])
    near = unpack(pack(state) + 1e-6 * slow / np.linalg.norm(slow), state)
    result = polish(near, system)
    assert result.status == "converged"
    assert_allclose(result.displacement, 1e-6, rtol=0.5)


def test_a_fixed_point_is_left_alone() -> None:
    system = network(4)
    state = next(canonical_fixed_points(system, 2, rank=1)).state
    result = polish(state, system)
    assert (result.n_steps, result.displacement, result.status) == (0, 0.0, "converged")


def test_polishing_stalls_at_a_degenerate_point() -> None:
    # a collapsed row with p = 0: the field is quadratically small around it, so steps only halve the distance
    system = network(4)
    state = nudged(next(canonical_fixed_points(system, 2, rank=1)).state, 1e-2)
    result = polish(state, system, max_steps=8)
    assert (result.status, result.n_steps) == ("stalled", 8)
    assert result.residual_after < result.residual_before


@pytest.mark.parametrize("options", [{"tolerance": 0.0}, {"tolerance": np.nan}, {"max_steps": 0}])
def test_polish_refusals(options: dict[str, Any]) -> None:
    system = network(3)
    with pytest.raises(ValueError, match="`tolerance` must be > 0 and `max_steps` >= 1"):
        polish(next(canonical_fixed_points(system, 2)).state, system, **options)
