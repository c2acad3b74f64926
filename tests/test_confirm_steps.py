"""C19 and C20: real steps and noise by the trainer; each fails when the theory it tests is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.experiments import EXPERIMENTS, Effort, confirm, noise, steps
from analysis.steps.fates import boundary_shift


@pytest.mark.parametrize("name", ["C19", "C20"])
def test_the_trainer_agrees(name: str) -> None:
    found = confirm(EXPERIMENTS[name], Effort(quick=True, seed=1))
    assert [m.name for m in found.outcome.measurements if not m.holds] == []
    assert len(found.outcome.measurements) >= 4


def test_the_boundary_of_the_flow_is_not_that_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_the_flow(*arguments, **options):
        found = boundary_shift(*arguments, **options)
        return found._replace(steps=found.flow + 0.02)

    monkeypatch.setattr(steps, "boundary_shift", of_the_flow)
    assert not steps.boundary(0.2)[0].holds


def test_the_other_order_of_the_average_has_another_critical_step(monkeypatch: pytest.MonkeyPatch) -> None:
    real = steps.error_map

    def lagged(w, system, step, h):
        M, n = real(w, system, step, h)
        u, r = 0.25, 0.5
        return np.array([[M[0, 0] - h * step * u, M[0, 1]], [step * r, 1 - h]]), n

    monkeypatch.setattr(steps, "error_map", lagged)
    assert not all(m.holds for m in steps.kicks(0.2))


@pytest.mark.parametrize("factor", [3.0, 1 / 3])
def test_batches_of_another_size_are_seen(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    real, path, law = noise.stationary_covariance, noise.balancing_path, noise.mode_competition
    seeds = list(range(128))
    monkeypatch.setattr(
        noise, "stationary_covariance", lambda w, s, e, h, b: real(w, s, e, h, round(factor * b))
    )
    monkeypatch.setattr(noise, "balancing_path", lambda ts, c, s, e, h, b: path(ts, c, s, e, h, factor * b))
    monkeypatch.setattr(noise, "mode_competition", lambda q, s, e, b, ts: law(q, s, e * factor, b, ts))
    assert not any(m.holds for m in noise.spread(seeds))
    measurements, _ = noise.competition(seeds[:32], 1000)
    assert not measurements[0].holds
    if factor > 1:
        assert not noise.balancing(seeds, (300,))[0][0].holds
