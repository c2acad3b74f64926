"""C22 and C23: VICReg, Barlow Twins and features on a circle, by real gradients beside theory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.experiments import EXPERIMENTS, Effort, circles, confirm, moment_losses
from dynamics.exact.vicreg import vicreg_spectrum


@pytest.mark.parametrize("name", ["C22", "C23"])
def test_training_agrees_with_theory(name: str) -> None:
    found = confirm(EXPERIMENTS[name], Effort(quick=True))
    assert found.outcome.verdict == "holds", found.report()


def test_a_wrong_plateau_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment_losses, "barlow_twins_plateau", lambda k, n, weight: 1.0)
    assert not any(one.holds for one in moment_losses.plateau(Effort(quick=True)))


def test_a_wrong_spectrum_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    def equal(*given: Any, **weights: Any) -> Any:
        found = vicreg_spectrum(*given, **weights)
        return found._replace(amplitudes=np.ones_like(found.amplitudes))

    monkeypatch.setattr(moment_losses, "vicreg_spectrum", equal)
    measured, _ = moment_losses.water(Effort(quick=True))
    assert not measured[1].holds


def test_a_hinge_that_no_batch_moves_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment_losses, "held_deviation", lambda run, pull: 1.0)
    measured, _ = moment_losses.water(Effort(quick=True))
    assert not measured[0].holds


def test_features_that_spread_are_not_taken_for_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    spread = np.random.default_rng(0).standard_normal((300, 8))
    monkeypatch.setattr(circles, "features", lambda effort, predictor: spread)
    holds = [one.holds for one in circles.run(Effort(quick=True)).measurements]
    assert holds == [True, False, False, True]
