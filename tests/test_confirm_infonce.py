"""C13: what is measured follows theory, and fails where the theory it tests is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.experiments import Effort, infonce
from dynamics.exact.infonce import saturation_norm


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infonce, "NEGATIVES", (16,))


def test_sizes_are_those_of_that_number_of_negatives(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, np.ndarray] = {}

    def once(effort: Effort, kind: str, negatives: int, *, features: int, steps: int) -> np.ndarray:
        if "W" not in kept:
            kept["W"] = trained(effort, kind, negatives, features=features, steps=steps // 3)
        return kept["W"]

    trained = infonce.gaussian
    monkeypatch.setattr(infonce, "gaussian", once)
    (found,), _ = infonce.saturates(Effort(quick=True))
    assert found.holds

    def of_sigma_d(ratio: float, temperature: float, **options: Any) -> float:  # the mode of the largest λd
        return saturation_norm(0.4, temperature, **options)

    monkeypatch.setattr(infonce, "saturation_norm", of_sigma_d)
    (found,), _ = infonce.saturates(Effort(quick=True))
    assert not found.holds


def test_the_simple_loss_has_rank_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(found.holds for found in infonce.rank_one(Effort(quick=True)))
    infonce_instead = infonce.gaussian

    def wrong(effort: Effort, kind: str, negatives: int, **options: Any) -> np.ndarray:
        return infonce_instead(effort, "infonce", 16, **options)

    monkeypatch.setattr(infonce, "gaussian", wrong)
    assert not any(found.holds for found in infonce.rank_one(Effort(quick=True)))


@pytest.mark.slow
def test_rows_on_digits_span_the_modes_of_m() -> None:
    assert all(found.holds for found in infonce.on_data(Effort(quick=True)))
