"""C17: Table 4 with linear networks holds, and fails where the theory it tests is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.experiments import EXPERIMENTS, Effort, Verdict, normalisation

QUICK = Effort(quick=True)
SEEDS = tuple(range(8))


def row(name: str) -> normalisation.Row:
    return next(one for one in normalisation.ROWS if one.name == name)


def test_the_quick_version_holds() -> None:
    assert EXPERIMENTS["C17"].run is normalisation.run
    outcome = normalisation.run(QUICK)
    assert outcome.verdict is Verdict.HOLDS
    assert len(outcome.measurements) == 5
    assert {curve.kind for curve in outcome.curves} == {"theory", "training"}


def test_a_mean_that_is_not_subtracted_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tuple(
        replace(one, projector="none/none") if one.name == "μ/–" else one for one in normalisation.ROWS
    )
    monkeypatch.setattr(normalisation, "ROWS", rows)
    outcome = normalisation.run(QUICK)
    assert outcome.verdict is Verdict.VIOLATED
    assert not outcome.measurements[0].holds


def test_a_deviation_that_is_not_divided_by_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "no predictor, –/σ"
    rows = tuple(
        replace(one, projector="none/none") if one.name == name else one for one in normalisation.ROWS
    )
    monkeypatch.setattr(normalisation, "ROWS", rows)
    failed = [m.name for m in normalisation.run(QUICK).measurements if not m.holds]
    assert f"{name}: fewest live rows" in failed


def test_features_are_measured() -> None:
    W = np.zeros((3, 3, 6))
    W[0, :, :3] = np.eye(3)  # the top modes
    W[1, :, 5] = 1.0  # all on the last
    found = normalisation.features_of(W)
    assert found.live.tolist() == [3, 3, 0]
    assert np.allclose(found.rank[:2], [3, 1])
    assert np.allclose(found.overlap[:2], [1, 0])
    mu, s = np.array(normalisation.MEAN), np.array(normalisation.LAMBDA_S)
    power = np.sum(mu[:3] ** 2)
    assert np.isclose(found.share[0], power / (power + s[:3].sum()))
    assert np.isnan(normalisation.features_of(np.full((1, 3, 6), np.nan)).rank[0])


def test_no_number_counts_as_run_away() -> None:
    W = np.array([[[1.0, -2.0]], [[np.nan, 0.0]], [[1e9, 0.0]]])
    assert normalisation.largest_weights(W).tolist() == [2.0, normalisation.RUNAWAY, normalisation.RUNAWAY]


@pytest.mark.slow
def test_the_full_table_holds() -> None:
    outcome = normalisation.run(Effort())
    assert outcome.verdict is Verdict.HOLDS, [m for m in outcome.measurements if not m.holds]


def test_a_detached_mean_with_a_centred_target_is_the_full_one() -> None:
    short: Any = normalisation.settings_of
    one, other = (
        normalisation.train(replace(short(row(name)), steps=50, metrics_every=50), SEEDS[:2]).final.online
        for name in ("μ/–", "μ̂/–, target centred")
    )
    assert np.max(np.abs(np.asarray(one) - np.asarray(other))) < 1e-12
