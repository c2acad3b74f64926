"""C7: the commutator of a training run against its equation and bound; and that it can fail."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.experiments import Effort, alignment
from analysis.experiments.alignment import Path, falls, path, solution, theorem
from dynamics.states import MatrixState, random_state


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> MatrixState:
    monkeypatch.setattr(alignment, "T_END", 2.0)
    monkeypatch.setattr(alignment, "N_TIMES", 16)
    drawn = random_state(8, 4, scale_online=0.4, scale_predictor=0.3, seed=3)
    return drawn._replace(predictor=(drawn.predictor + drawn.predictor.T) / 2)


def test_training_obeys_the_equation_and_stays_below_the_bound(start: MatrixState) -> None:
    assert all(m.holds for m in theorem(path(start, 12), path(start, 24)))


def test_errors_are_of_first_order_in_the_step(start: MatrixState) -> None:
    ends = [path(start, n).commutator[-1] for n in (6, 12, 24)]
    # with an error aε + bε², ratios of differences are 2 + O(ε), and time runs to 2
    assert (ends[0] - ends[1]) / (ends[1] - ends[2]) == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("factor", [-1.0, 0.8, 1.2])
def test_a_wrong_rate_of_alignment_is_found(
    start: MatrixState, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    rate = alignment.alignment_rate
    monkeypatch.setattr(alignment, "alignment_rate", lambda *a: factor * rate(*a))
    assert not all(m.holds for m in theorem(path(start, 12), path(start, 24)))


def test_a_commutator_above_its_bound_is_found() -> None:
    t = np.linspace(0, 1, 3)
    good = Path(t, np.exp(-t), np.exp(-t), 0.0, np.exp(-t))
    assert all(m.holds for m in theorem(good, good))
    above = good._replace(commutator=1.01 * np.exp(-t))
    assert not theorem(above, above)[1].holds


def test_the_equation_is_solved_for_constant_rates() -> None:
    # K = diag(1, 2) and L = [[0, 1], [−1, 0]]: KL + LK = 3 L
    L, K = np.array([[0.0, 1.0], [-1.0, 0.0]]), np.broadcast_to(np.diag([1.0, 2.0]), (5, 2, 2))
    assert_allclose(solution(L, K, 0.25), np.sqrt(2) * np.exp(-3 * 0.25 * np.arange(5)), rtol=1e-12)


def test_at_one_rate_in_all_directions_the_bound_is_the_solution(
    start: MatrixState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alignment, "states_along", lambda *a: [start] * 17)
    monkeypatch.setattr(alignment, "alignment_rate", lambda *a: 0.7 * np.eye(4))
    one = path(start, 1)
    assert_allclose(one.bound, one.commutator[0] * np.exp(-2 * 0.7 * one.t), rtol=1e-12)
    assert_allclose(one.predicted, one.bound, rtol=1e-12)


def test_a_commutator_that_rises_does_not_hold() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([np.full(6, 0.3), 0.1 + 0.01 * rng.standard_normal(6)], axis=1)
    assert falls("digits", values).holds
    assert not falls("digits", values[:, ::-1]).holds


def test_the_run_starts_from_the_symmetric_part_of_a_drawn_predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    class Seen(Exception):
        pass

    def seen(start: MatrixState, n_steps: int) -> Path:
        drawn = random_state(
            alignment.N_INPUTS, alignment.FEATURES, scale_online=0.4, scale_predictor=0.3, seed=5
        )
        assert_allclose(start.predictor + start.predictor.T, drawn.predictor + drawn.predictor.T, rtol=1e-14)
        assert_allclose(start.predictor, start.predictor.T, rtol=0, atol=0)
        raise Seen

    monkeypatch.setattr(alignment, "path", seen)
    with pytest.raises(Seen):
        alignment.run(Effort(seed=5))
