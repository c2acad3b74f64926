"""Verdicts on runs: by the state and what the data permit, whatever the start and scale; beside theory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dynamics.states import MatrixState
from dynamics.training import TrainingRun, TrainingSettings, diagnose, train
from dynamics.training.modes import mode_metrics, spectrum_of_moments
from dynamics.training.presets import preset


def exact(lambda_s: list[float], lambda_d: list[float], **parts: Any) -> TrainingSettings:
    given: dict[str, Any] = {
        "data": {"source": "exact", "sigma_s": lambda_s, "sigma_d": lambda_d},
        "encoder": {"features": len(lambda_s)},
        "batch": None,
        "dtype": "float64",
        "optimizer": {"learning_rate": 0.05},
        "steps": 400,
        "metrics_every": 20,
    }
    return TrainingSettings(**given | parts)


def from_modes(settings: TrainingSettings, online: Any, predictor: Any) -> TrainingRun:
    W, P = np.diag(np.asarray(online, float)), np.diag(np.asarray(predictor, float))
    return train(settings, initial=MatrixState(W, P, W))


RATIO = np.array([0.5, 0.5])


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_modes_at_rest_are_learned_however_steep_the_spectrum_and_large_the_data(scale: float) -> None:
    lambda_s = scale * np.array([1.0, 0.002])
    slow = {"learning_rate": 0.05 / scale}
    settings = exact(lambda_s.tolist(), (lambda_s / 2).tolist(), optimizer=slow)
    found = diagnose(from_modes(settings, RATIO, RATIO))  # R5: (r, r, r)
    assert (found.verdict, found.held, found.agreement) == ("learned", 2, None)


def test_modes_at_rest_under_weight_decay_are_learned() -> None:
    lambda_s, lambda_d, eta = np.array([1.0, 0.5]), np.array([0.5, 0.4]), 0.03
    p = (lambda_d + np.sqrt(lambda_d**2 - 4 * eta * lambda_s)) / (2 * lambda_s)  # R15
    decay = {"learning_rate": 0.05, "weight_decay": 4 * eta}  # dt = 4 ε
    run = from_modes(exact(lambda_s.tolist(), lambda_d.tolist(), optimizer=decay), p, p)
    assert_allclose(run.metrics["mode_amplitudes"][0, -1], np.sort(p)[::-1], rtol=1e-9)
    found = diagnose(run)
    assert (found.verdict, found.held, found.agreement) == ("learned", 2, "agrees")


def test_a_large_start_that_comes_to_rest_is_learned() -> None:
    decay = {"learning_rate": 0.002, "weight_decay": 0.12}
    settings = exact([1.0, 0.5], [0.5, 0.4], optimizer=decay, steps=60_000, metrics_every=2000)
    run = from_modes(settings, [5.0, 4.0], [0.5, 0.5])
    assert (
        run.metrics["feature_eigenvalues"][0, -1].sum()
        < 5e-2 * run.metrics["feature_eigenvalues"][0, 0].sum()
    )
    assert diagnose(run).verdict == "learned"


def test_directions_that_decay_takes_are_counted() -> None:
    settings = exact([1.0, 1.0, 1.0], [0.9, 0.5, 0.2], optimizer={"learning_rate": 0.05, "weight_decay": 0.4})
    settings = replace(settings, steps=4000, metrics_every=200)  # η = .1: only λd² > .4 stays
    found = diagnose(from_modes(settings, [0.9] * 3, [0.9] * 3))
    assert (found.verdict, found.held, found.n_modes) == ("partly-collapsed", 1, 3)
    assert found.text.startswith("2 of 3 modes collapsed")
    assert (found.prediction.most, found.agreement) == (1, "agrees")


def test_rank_three_of_many_is_no_learning() -> None:
    n = 8
    W = np.diag([0.5, 0.5, 0.5] + [0.0] * (n - 3))
    settings = exact([1.0] * n, [0.5] * n)
    found = diagnose(train(settings, initial=MatrixState(W, 0.5 * np.eye(n), W)))
    assert (found.verdict, found.held, found.n_modes) == ("partly-collapsed", 3, n)
    assert found.text.startswith("5 of 8 modes collapsed")


@pytest.mark.parametrize(
    ("steps", "verdict", "agreement"), [(8, "collapsing", "too early"), (3000, "collapsed", "agrees")]
)
def test_without_a_predictor_encoders_shrink_and_then_have_collapsed(
    steps: int, verdict: str, agreement: str
) -> None:
    settings = exact([1.0, 1.0], [0.5, 0.4], predictor={"kind": "none"}, target={"decay": 0.5}, steps=steps)
    found = diagnose(from_modes(settings, [1.0, 1.0], [1.0, 1.0]))
    assert (found.verdict, found.agreement) == (verdict, agreement)
    assert found.text.endswith(f"; predicted: no predictor and ratio < 1: collapse (R11): {agreement}")


@pytest.mark.parametrize("scale", [1e-12, 1e-6])
def test_a_small_encoder_that_collapse_repels_has_not_collapsed(scale: float) -> None:
    settings = exact(
        [1.0, 1.0], [0.9, 0.4], target={"decay": 0.5}
    )  # no slower than the rest: nothing oscillates
    found = diagnose(from_modes(settings, [scale, scale], [0.001, 0.001]))
    assert (found.verdict, found.held) == ("undecided", 0)
    attracted = diagnose(from_modes(settings, [scale, scale], [-0.2, 1.2]))  # R5: p < 0, or p > r
    assert (attracted.verdict, attracted.held) == ("collapsed", 0)


def test_a_wrong_prediction_is_told() -> None:
    """Theory that says collapse of a run that has learned: what a run did is measured on the run."""
    run = from_modes(exact([1.0, 1.0], [0.5, 0.5]), RATIO, RATIO)
    claimed = replace(run.settings, predictor={"kind": "none"})
    found = diagnose(replace(run, settings=claimed))
    assert (found.verdict, found.agreement) == ("learned", "disagrees")
    # that more modes stay than did
    collapsed = from_modes(exact([1.0, 1.0], [0.5, 0.4]), [0.1, 0.1], [-0.9, -0.9])
    larger = collapsed.start._replace(balance=np.eye(2)[None])
    found = diagnose(replace(collapsed, start=larger))
    assert (found.verdict, found.prediction.fewest, found.agreement) == ("collapsed", 2, "disagrees")


def test_a_predictor_that_does_not_learn_is_fixed() -> None:
    settings = exact([1.0], [0.5], optimizer={"learning_rate": 0.05, "predictor_rate": 0.0}, steps=2000)
    settings = replace(settings, target={"decay": 0.5})
    for p, fate in ((0.8, "collapsed"), (-0.5, "collapsed"), (0.2, "diverged")):
        run = from_modes(settings if fate == "collapsed" else replace(settings, steps=40_000), [0.3], [p])
        assert_array_equal(run.final.predictor[0] if fate == "collapsed" else p, p)
        found = diagnose(run)
        assert (found.verdict, found.agreement) == (fate, "agrees")
        assert "(R11, R17)" in found.text
        assert np.all(np.isnan(run.metrics["balance_drift"]))


@pytest.mark.parametrize("target", [{"decay": 1.0}, {"kind": "fixed"}])
def test_a_target_that_never_moves_is_told_as_one(target: dict[str, Any]) -> None:
    settings = exact([1.0, 1.0], [0.9, 0.4], target=target, steps=3000)
    found = diagnose(from_modes(settings, [0.3, 0.4], [0.1, 0.1]))
    assert "a target that never moves: its own features are learned (R13)" in found.text
    assert (found.verdict, found.agreement) == ("learned", "agrees")


def test_runs_that_diverged_are_told_so_beside_others() -> None:
    settings = exact([1.0, 1.0], [0.9, 0.4], optimizer={"learning_rate": [0.05, 50.0]})
    run = train(settings)
    assert [diagnose(run, k).verdict == "diverged" for k in range(2)] == [False, True]
    for name, values in run.metrics.items():
        assert np.all(np.isnan(values[1, -1])), name
        assert np.all(np.isfinite(values[0, -1])), name


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_networks_on_digits(seed: int) -> None:
    found = diagnose(train(preset("BYOL-LP"), seeds=seed))
    assert (found.verdict, found.agreement) == ("learned", "agrees")
    early = diagnose(train(replace(preset("BYOL-NP"), steps=200), seeds=seed))
    assert (early.verdict, early.agreement) == ("collapsing", "too early")
    late = diagnose(train(preset("BYOL-NP"), seeds=seed))
    assert late.verdict in ("partly-collapsed", "collapsed", "collapsing")
    assert late.held <= 3


def test_modes_of_an_encoder_are_those_it_was_made_of() -> None:
    rng = np.random.default_rng(3)
    U, V = (np.linalg.qr(rng.standard_normal((n, n)))[0] for n in (5, 3))
    lambda_s, ratios, w, p = (
        np.array([4.0, 3, 2, 1, 0.5]),
        np.array([0.9, 0.8, 0.6, 0.4, 0.1]),
        [0.7, 0.2, 0.05],
        [0.3, -1, 2],
    )
    spectrum = spectrum_of_moments(U * lambda_s @ U.T, U * (lambda_s * ratios) @ U.T)
    picked = [4, 0, 2]
    W = V * w @ U[:, picked].T
    found = mode_metrics(W @ spectrum.basis, spectrum, V * p @ V.T)
    assert_allclose(found["mode_amplitudes"], w, rtol=1e-12)
    assert_allclose(found["mode_ratios"], ratios[picked], rtol=1e-10)
    assert_allclose(found["mode_variances"], lambda_s[picked], rtol=1e-10)
    assert_allclose(found["mode_predictors"], p, rtol=1e-10)


def test_without_a_predictor_modes_whose_views_agree_stay() -> None:
    parts = {"predictor": {"kind": "none"}, "target": {"decay": 0.5}}
    settings = exact([1.0, 1.0], [1.0, 0.4], **parts)
    plain = diagnose(from_modes(settings, [1.0, 1.0], [1.0, 1.0]))
    assert "only the modes with ratio 1 stay, at most 1 (R11)" in plain.text


def test_a_still_target_without_features_has_none_to_be_learned() -> None:
    settings = exact([1.0, 1.0], [0.9, 0.4], target={"kind": "fixed"}, steps=3000)
    W, P = np.diag([0.1, 0.1]), np.diag([0.4, 0.4])
    found = diagnose(train(settings, initial=MatrixState(W, P, np.zeros((2, 2)))))
    assert (found.verdict, found.held) == ("collapsed", 0)
