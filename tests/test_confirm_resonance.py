"""C4: eigenvalues of P and rows of W on digits, beside the flow and M's spectrum; and that it can fail."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.experiments import EXPERIMENTS, Effort, resonance
from analysis.experiments.resonance import Approach, descending_eigenvalues, largest_angle, leading_rows
from analysis.experiments.seeds import DIGITS, images, spread, views
from dynamics.data.moments import Moments
from dynamics.states import MatrixState, random_state
from dynamics.training import DataSettings

RATIOS = np.array([0.9, 0.6, 0.3])


def learned(ratios: np.ndarray, rows: np.ndarray, seed: int = 0) -> MatrixState:
    """The fixed point P W = W M with these eigenvalues and rows, in a basis of features that is no eigenbasis."""
    S = np.random.default_rng(seed).standard_normal((len(ratios), len(ratios)))
    W = S @ rows
    return MatrixState(W, S @ np.diag(ratios) @ np.linalg.inv(S), W)


def found(ends: list[MatrixState], moments: Moments) -> Approach:
    exact = learned(moments.ratios, moments.modes.directions.T)
    run: Any = SimpleNamespace(final=MatrixState(*map(np.stack, zip(*ends, strict=True))), n_runs=len(ends))
    flow = MatrixState(*(part[None] for part in exact))
    return Approach(run, np.zeros(1), flow, moments)


@pytest.fixture
def moments() -> Moments:
    return Moments.from_matrices(np.diag([1.0, 2.0, 1.5]) + 0.2, np.diag([0.9, 1.0, 0.4]) + 0.1)


def ends(moments: Moments, shift: float = 0.0, noise: float = 1e-3) -> list[MatrixState]:
    rng = np.random.default_rng(1)
    directions = moments.modes.directions.T
    return [
        learned(
            moments.ratios + shift + noise * rng.standard_normal(3),
            directions + noise * rng.standard_normal((3, 3)),
            seed,
        )
        for seed in range(5)
    ]


def test_ends_at_the_top_of_the_spectrum_hold(moments: Moments) -> None:
    one = found(ends(moments), moments)
    assert resonance.reached(one) == 3
    assert all(m.holds for m in resonance.eigenvalues_arrive("start", one, 3))
    assert resonance.rows_arrive("start", one, 2).holds


def test_eigenvalues_beside_the_spectrum_do_not_hold(moments: Moments) -> None:
    # ten standard deviations of a seed
    assert not any(m.holds for m in resonance.eigenvalues_arrive("", found(ends(moments, 0.01), moments), 3))


def test_rows_that_all_lie_along_wrong_directions_do_not_hold(moments: Moments) -> None:
    turned = [end._replace(online=end.online[:, ::-1]) for end in ends(moments)]
    assert not resonance.rows_arrive("", found(turned, moments), 1).holds


def test_leading_rows_are_the_eigenmodes_of_a_fixed_point(moments: Moments) -> None:
    state, modes = learned(moments.ratios, moments.modes.directions.T), moments.modes.directions
    assert_allclose(descending_eigenvalues(state.predictor), moments.ratios, atol=1e-10)
    # an angle is the arc sine of a rounding error, 1e-16 times the condition of a random basis
    assert largest_angle(leading_rows(state, 2), modes[:, :2]) < 1e-8
    assert largest_angle(np.eye(3)[:, :1], np.eye(3)[:, 1:2]) == pytest.approx(90)


def test_training_on_digits_follows_the_flow() -> None:
    start = random_state(64, 3, scale_online=1 / 8, scale_predictor=0.1, seed=0)
    one = resonance.approach(start, (0, 1, 2, 3), 200, DIGITS)
    trained = descending_eigenvalues(one.run.final.predictor)
    mean, half_width = spread(trained)
    end, before = (descending_eigenvalues(P) for P in (one.flow.predictor[-1], start.predictor))
    # a step takes 0.04 of time at the most, of a motion on times of order one
    assert np.all(np.abs(mean - end) < half_width + 0.04 * np.max(np.abs(end - before)))
    assert np.max(half_width) < np.max(np.abs(end - before)) / 2
    assert one.ts[-1] == pytest.approx(200 * 0.02, rel=1e-2)
    assert len(resonance.curves(one, "panel")) == 6


def test_steps_on_other_data_are_as_small_as_their_largest_eigenvalue_asks() -> None:
    data = images(Effort(data="photos"))
    samples = views(DataSettings(**data))
    largest = np.linalg.eigvalsh(samples.moments().sigma_s)[-1]
    assert largest * resonance.RATE > 2  # at the rate for digits ε λs = 6: steps would diverge (R303)
    start = random_state(samples.n1, 3, scale_online=1 / np.sqrt(samples.n1), scale_predictor=0.1, seed=0)
    one = resonance.approach(start, (0, 1, 2, 3), 400, data)
    assert one.ts[-1] == pytest.approx(400 * resonance.GENTLE / largest, rel=1e-2)
    trained = descending_eigenvalues(one.run.final.predictor)
    mean, half_width = spread(trained)
    end, before = (descending_eigenvalues(P) for P in (one.flow.predictor[-1], start.predictor))
    # a step takes 1/4 of the time of the fastest mode at the most
    assert np.all(np.abs(mean - end) < half_width + 0.25 * np.max(np.abs(end - before)))


def test_it_is_registered() -> None:
    assert EXPERIMENTS["C4"].run is resonance.run
    assert Effort(quick=True).quick
