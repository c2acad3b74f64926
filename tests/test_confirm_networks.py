"""C8, C10 and C11: what is said of networks on digits, from given accuracies and from small runs; each can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from analysis.experiments import Effort, Verdict, ablations, direct, objectives, seeds
from analysis.experiments.seeds import clearly_above, network, not_below, seeds_of, spread, trained
from dynamics.training import TrainingSettings
from dynamics.training.presets import TABLE_2

RANDOM, GOOD, BAD = 0.75, 0.85, 0.5
QUICK = Effort(quick=True)
N_SEEDS = len(seeds_of(QUICK))


def along(end: float, n: int = N_SEEDS) -> np.ndarray:
    """Accuracies of n seeds that go from the random encoder's to `end`, (n, 3), with a spread of 0.01 at the end."""
    noise = 0.01 * np.random.default_rng(0).standard_normal(n)
    return np.stack([np.full(n, RANDOM), np.full(n, (RANDOM + end) / 2), end + noise], axis=1)


def faked(end_of: Callable[[TrainingSettings], float]) -> Callable[..., Any]:
    """A stand-in for `trained` whose probe ends where `end_of` says for each run's settings."""

    def train(settings: TrainingSettings, runs: tuple[int, ...]) -> Any:
        n, n_settings = len(runs), settings.n_settings
        one = [settings.at(i) if n_settings > 1 else settings for i in range(n)]
        accuracy = np.stack([along(end_of(s))[i % N_SEEDS] for i, s in enumerate(one)])
        uniformity = np.tile([-2.0, -0.1, -1.5], (n, 1))
        spectrum = np.tile(np.array([1.0, 0.1])[:, None] * [1.0, 0.0], (n, 3, 1, 1))
        metrics = {"probe_accuracy": accuracy, "alignment": 1e-2 + 0 * accuracy, "loss": accuracy}
        metrics |= {"uniformity": uniformity, "predictor_eigenvalues": spectrum}
        return SimpleNamespace(metrics=metrics, steps=np.array([0, 1, 2]))

    return train


def by_predictor(settings: TrainingSettings) -> float:
    return BAD if settings.predictor.kind == "none" else GOOD


def as_in_the_source(settings: TrainingSettings) -> float:
    row = (settings.objective.kind, settings.predictor.kind, settings.objective.beta)
    return BAD if row == ("raft", "mlp", 10.0) else by_predictor(settings)


# --- what seeds allow to be said ----------------------------------------------------------------------------


def test_intervals_are_those_of_students_t() -> None:
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(0).standard_normal(7)
    mean, half_width = spread(values)
    interval = ttest_1samp(values, 0.0).confidence_interval(seeds.CONFIDENCE)
    assert_allclose([mean - half_width, mean + half_width], interval, rtol=1e-12)
    with pytest.raises(ValueError, match="`values` must hold at least two seeds, got 1"):
        spread([1.0])


def test_comparisons_need_more_than_chance() -> None:
    a, b = along(GOOD)[:, -1], along(RANDOM)[:, 0]
    assert clearly_above("", a, b).holds
    assert not clearly_above("", b, a).holds
    assert not clearly_above("", b, b).holds
    assert not clearly_above("", along(RANDOM)[:, -1], b).holds  # noise about equality
    assert not clearly_above("", b, along(RANDOM)[:, -1]).holds
    assert not_below("", b, b).holds
    assert not not_below("", b, a).holds


def test_runs_are_shared() -> None:
    settings = replace(network(QUICK), steps=2, metrics_every=2)
    assert trained(settings, (0, 1)) is trained(replace(settings), (0, 1))
    assert trained(settings, (0, 1)).metrics["probe_accuracy"].shape == (2, 2)


# --- C10 ----------------------------------------------------------------------------------------------------


def test_every_row_has_a_model_and_every_model_a_row() -> None:
    assert {row.model for row in objectives.ROWS} == set(TABLE_2)
    assert len({row.name for row in objectives.ROWS}) == len(objectives.ROWS) == 21


@pytest.mark.parametrize("quick", [True, False])
def test_tables_as_the_source_has_them_hold(monkeypatch: pytest.MonkeyPatch, quick: bool) -> None:
    monkeypatch.setattr(objectives, "trained", faked(as_in_the_source))
    outcome = objectives.run(Effort(quick=quick))
    assert outcome.verdict is Verdict.HOLDS, outcome.reason
    assert len(outcome.measurements) == (5 if quick else 21 + 5 + 1)


def test_a_model_without_predictor_that_learns_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "trained", faked(lambda settings: GOOD))
    outcome = objectives.run(QUICK)
    assert outcome.verdict is Verdict.VIOLATED
    assert "BYOL-NP" in outcome.reason


def test_raft_that_differs_from_its_mirror_image_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    better = 0.9
    monkeypatch.setattr(
        objectives, "trained", faked(lambda s: better if s.objective.kind == "raft" else by_predictor(s))
    )
    failed = [m.name for m in objectives.run(QUICK).measurements if not m.holds]
    assert failed == ["RAFT-LP less BYOL'-LP (R25): probe accuracy"]


def test_rows_with_their_own_weights_take_their_own_runs() -> None:
    settings = objectives.settings_of(QUICK, "RAFT-LP", (0.1, 1.0))
    assert (settings.objective.kind, settings.objective.beta) == ("raft", (0.1, 1.0))


def test_rows_of_one_model_keep_their_own_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: dict[Any, float] = {0.1: 0.6, 10.0: 0.7}
    monkeypatch.setattr(objectives, "trained", faked(lambda s: ends[s.objective.beta]))
    rows = tuple(row for row in objectives.ROWS if row.model == "RAFT-LP" and row.beta != 1.0)
    for one, end in zip(objectives.find(QUICK, rows), (0.6, 0.7), strict=True):
        assert_array_equal(one.metrics["probe_accuracy"], along(end))


# --- C11 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quick", [True, False])
def test_ablations_as_the_source_has_them_hold(monkeypatch: pytest.MonkeyPatch, quick: bool) -> None:
    monkeypatch.setattr(ablations, "trained", faked(by_predictor))
    outcome = ablations.run(Effort(quick=quick))
    assert outcome.verdict is Verdict.HOLDS, outcome.reason
    assert len(outcome.measurements) == (7 + 1 + 3 if quick else 4 + 4 + 3 + 3 + 4 + 3 + 9)


def test_ranges_of_predictors_are_those_of_the_tables_each_in_the_panel_of_its_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ablations.RANGES == (0.003, 0.005, 0.007, 0.01, 0.02, 0.05)
    assert ablations.TABLE_10 == ((0.01, 0.02, 0.03, 0.05), 20)
    monkeypatch.setattr(ablations, "trained", faked(by_predictor))
    curves = ablations.run(Effort(quick=False)).curves
    for panel, anew in (("Tables 7 to 9, no EMA", False), ("Tables 7 to 9, EMA", True)):
        names = [curve.label for curve in curves if curve.panel == panel]
        assert names
        assert all(("anew" in name) == anew for name in names)


def test_a_fresh_predictor_that_hurts_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ablations, "trained", faked(lambda s: RANDOM if s.predictor.reinitialise else by_predictor(s))
    )
    outcome = ablations.run(QUICK)
    assert [m.name for m in outcome.measurements if not m.holds] == [
        "mlp predictor anew every 10 epochs: not below one that stays"
    ]


def test_ranges_keep_their_own_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: dict[Any, float] = {0.01: 0.6, 0.02: 0.7}
    monkeypatch.setattr(ablations, "trained", faked(lambda s: ends[s.predictor.scale]))
    found = ablations.swept(QUICK, (0.01, 0.02), predictor={"kind": "linear", "start": "positive"})
    assert_array_equal(found[0.02], along(0.7))
    assert_array_equal(found[0.01], along(0.6))


def test_an_epoch_sees_the_digits_once() -> None:
    settings = network(QUICK)
    n = len(seeds.views(settings.data).samples.images)
    assert round(n / settings.batch) == ablations.EPOCH


# --- C8 -----------------------------------------------------------------------------------------------------


def test_predictors_that_are_set_and_as_good_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "trained", faked(by_predictor))
    outcome = direct.run(Effort())
    assert outcome.verdict is Verdict.HOLDS
    assert len(outcome.measurements) == 12 + 2 + 1


def test_a_predictor_that_is_set_and_worse_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        direct, "trained", faked(lambda s: RANDOM if s.predictor.option == "normalised-set-0.1" else GOOD)
    )
    outcome = direct.run(QUICK)
    assert [m.holds for m in outcome.measurements] == [True, False]
    assert "normalised-set-0.1" in outcome.reason


def test_stacked_runs_with_a_set_predictor_come_to_an_end() -> None:
    # batches of LAPACK calls inside a loop must not wait for one another
    settings = replace(network(QUICK, predictor={"kind": "direct"}), steps=20, metrics_every=20)
    run = trained(settings, seeds_of(QUICK))
    assert np.all(np.isfinite(run.metrics["probe_accuracy"]))
