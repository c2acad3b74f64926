"""Theory beside training: the flow that a run should follow, and the page that shows both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal
from picture_checks import clashes

from analysis.runs.training import predict
from dynamics.data.moments import Moments
from dynamics.integration.integrate import Status
from dynamics.training import TrainingRun, TrainingSettings, diagnose, load_data, train
from figures.results.training import figure_training
from figures.style import THEMES

EXACT = {"source": "exact", "sigma_s": [1.0, 1.5, 0.8], "sigma_d": [0.9, 0.7, 0.2]}
T_END = 4.0


def exact(rate: float = 0.005, **changes: Any) -> TrainingSettings:
    """Steps of the flow itself: batches hold the moments without error, and dt = 4·rate."""
    settings: dict[str, Any] = {
        "data": EXACT,
        "batch": None,
        "encoder": {"features": 2, "scale": 0.5},
        "predictor": {"kind": "linear", "scale": 0.3},
        "optimizer": {"learning_rate": rate},
        "target": {"decay": 1 - 4 * rate},
        "steps": round(T_END / (4 * rate)),
        "metrics_every": round(T_END / (16 * rate)),
        "dtype": "float64",
    }
    return TrainingSettings(**settings | changes)


@pytest.fixture(scope="module")
def run() -> TrainingRun:
    return train(exact(), seeds=[0, 1])


def error(rate: float) -> float:
    """Distance of training from the flow at the end, in the eigenvalues of P."""
    one = train(exact(rate))
    flow = predict(one, load_data(one.settings.data))
    return float(
        np.max(np.abs(one.metrics["predictor_eigenvalues"][0, -1, :, 0] - flow.predictor_eigenvalues[-1]))
    )


def test_training_follows_the_predicted_flow_to_first_order() -> None:
    errors = [error(rate) for rate in (0.01, 0.005, 0.0025)]
    # a method of order one halves its error with its step; the next order is a few per cent of it here
    assert_allclose(np.array(errors[:-1]) / errors[1:], 2, rtol=0.1)
    assert errors[-1] < 0.01


def test_the_prediction_starts_where_its_run_starts_and_is_measured_alike(run: TrainingRun) -> None:
    data = load_data(run.settings.data)
    for index in (0, 1):
        found = predict(run, data, index)
        assert found.status is Status.END_TIME
        assert_array_equal(found.steps, run.steps)
        measured = run.metrics["feature_eigenvalues"][index]
        assert_allclose(found.feature_eigenvalues[0], measured[0], rtol=1e-10)
        # of order dt = 0.02 times the largest rate, λs = 1.5
        assert_allclose(found.feature_eigenvalues, measured, rtol=0.05)
        start = run.metrics["predictor_eigenvalues"][index, 0]
        assert_allclose(found.predictor_eigenvalues[0], start[:, 0] + 1j * start[:, 1], rtol=1e-10)
    assert_allclose(found.ratios, [0.9, 0.7 / 1.5, 0.25])


def test_directions_without_data_only_decay() -> None:
    """Pixels that are never lit: the encoder's columns there follow e^{−ηt}, off the support of the moments."""
    settings = exact(optimizer={"learning_rate": 0.005, "weight_decay": 0.1}, encoder={"features": 2})
    data = load_data(settings.data)
    one = train(settings, data=data)
    lit = np.diag([0.0, 1.0, 1.0])
    moments = Moments(lit * np.diag([1.0, 1.5, 0.8]), lit * np.diag([0.9, 0.7, 0.2]))
    assert moments.dropped_directions == 1
    seen_there = data.samples.images[0] * [1, 0, 0]
    found = predict(one, replace(data, evaluation=seen_there), moments=moments)
    decay = np.exp(-2 * 0.1 / 4 * T_END)
    assert_allclose(found.feature_eigenvalues[-1, 0], decay * found.feature_eigenvalues[0, 0], rtol=1e-9)


def test_settings_without_a_flow_are_refused() -> None:
    settings = exact(optimizer={"kind": "adam", "learning_rate": 0.01}, steps=1)
    with pytest.raises(ValueError, match="no flow describes these settings: optimizer must be sgd"):
        predict(train(settings), load_data(settings.data))


# --- the page -----------------------------------------------------------------------------------------------


def lines_of(figure: Figure, title: str) -> list[Any]:
    (ax,) = [ax for ax in figure.axes if ax.get_title(loc="left").startswith(title)]
    return list(ax.lines)


def test_the_page_holds_the_measurements_and_the_prediction(run: TrainingRun) -> None:
    prediction = predict(run, load_data(run.settings.data))
    figure = figure_training(run, prediction)
    *each, median = lines_of(figure, "Loss")
    for line, losses in zip(each, run.metrics["loss"], strict=True):
        assert_array_equal(line.get_ydata(), losses)
    assert_array_equal(median.get_ydata(), np.median(run.metrics["loss"], axis=0))
    spectra = {
        "Features": (run.metrics["feature_eigenvalues"][0], prediction.feature_eigenvalues),
        "Predictor": (run.metrics["predictor_eigenvalues"][0, ..., 0], prediction.predictor_eigenvalues.real),
    }
    for title, (measured, predicted) in spectra.items():
        drawn = [line.get_ydata() for line in lines_of(figure, title)]
        assert_array_equal(np.transpose(drawn), np.hstack([measured, predicted]))
        assert all(line.is_dashed() for line in lines_of(figure, title)[2:])
    labels = [text.get_text() for text in figure.legends[0].texts]
    assert labels == [
        "median of the runs", "each run", "eigenvalues of $P$", "spectrum of $M$", "flow, predicted",
    ]  # fmt: skip
    ends = sorted(diagnose(run, index).verdict for index in range(2))
    counted = ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(ends))
    assert figure.get_suptitle() == f"2 runs: {counted}"
    assert clashes(figure) == []


def test_the_probe_stands_beside_the_random_encoder() -> None:
    data = {"source": "digits", "augmentations": ["noise:0.3"], "limit": 200}
    settings: dict[str, Any] = {"encoder": {"features": 2}, "predictor": {"kind": "none"}, "steps": 2}
    one = train(TrainingSettings(data=data, **settings))  # type: ignore[arg-type]
    figure = figure_training(one)
    accuracy, baseline = lines_of(figure, "Accuracy")
    assert_array_equal(accuracy.get_ydata(), one.metrics["probe_accuracy"][0])
    assert set(baseline.get_ydata()) == {one.metrics["probe_accuracy"][0, 0]}
    assert baseline.get_color() == THEMES["light"].muted
    (rank,) = lines_of(figure, "Effective rank")  # there is no predictor to show
    assert_array_equal(rank.get_ydata(), one.metrics["effective_rank"][0])
    assert "random encoder" in [text.get_text() for text in figure.legends[0].texts]
    assert figure.get_suptitle()[0].isupper()
    assert clashes(figure) == []


def test_a_diverged_run_is_drawn_as_far_as_it_came() -> None:
    settings = exact(optimizer={"learning_rate": 3.0}, steps=400, metrics_every=1)
    figure = figure_training(train(settings))
    assert figure.get_suptitle().startswith("Diverged: the loss was not finite at step ")
    assert clashes(figure) == []


def test_every_panel_spans_the_run(run: TrainingRun) -> None:
    for ax in figure_training(run).axes:
        assert ax.get_xlim() == (0, run.steps[-1])
    short = train(exact(steps=1, metrics_every=1))
    assert {ax.get_xlim() for ax in figure_training(short).axes} == {(0.0, 1.0)}
