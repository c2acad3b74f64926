"""Batch normalisation in the trainer: the variants of Table 4 against their flows, and refusals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from analysis.runs.training import predict
from dynamics.data.moments import Moments
from dynamics.integration.integrate import integrate
from dynamics.normalisation import Normaliser
from dynamics.states import MatrixState
from dynamics.training import TrainingSettings, flow_of, load_data, train
from dynamics.training.normalisers import NormalisationSettings

MOMENTS = Moments(np.diag([1.0, 0.8, 0.5]), np.diag([0.9, 0.5, 0.1]))
MEAN = (0.5, -0.3, 0.8)


def exact(projector: str = "none/none", behind: str = "none/none", **options: Any) -> TrainingSettings:
    """One step in double precision on pairs that have their moments, and their mean, without error."""
    parts: dict[str, Any] = {
        "data": {"source": "exact", "sigma_s": MOMENTS.sigma_s, "sigma_d": MOMENTS.sigma_d},
        "encoder": {"features": 2},
        "predictor": {"scale": 0.5},
        "objective": {"symmetric": False, "halved": True},
        "target": {"decay": 0.9},
        "optimizer": {"learning_rate": 0.01},
        "normalisation": {"projector": projector, "predictor": behind, "mean": MEAN},
        "steps": 1,
        "batch": None,
        "dtype": "float64",
    }
    for name, changes in options.items():
        parts[name] = {**parts[name], **changes} if isinstance(parts[name], dict) else changes
    return TrainingSettings(**parts)


MEANS, DEVIATIONS = ("none", "forward", "full", "backward"), ("none", "full", "detached")
ABLATION = [f"{mean}/{std}" for mean in MEANS for std in DEVIATIONS]


@pytest.mark.parametrize("symmetric", [False, True], ids=["one view", "both views"])
@pytest.mark.parametrize("target_centred", [False, True], ids=["raw target", "centred target"])
@pytest.mark.parametrize("projector", ABLATION)
def test_a_step_on_exact_data_is_a_step_of_the_flow(
    projector: str, target_centred: bool, symmetric: bool
) -> None:
    settings = exact(
        projector, normalisation={"target_centred": target_centred}, objective={"symmetric": symmetric}
    )
    run = train(settings, seeds=[3])
    field, system, dt = flow_of(settings, MOMENTS)
    start = MatrixState(*(np.asarray(part[0]) for part in run.initial))
    moved = field(0.0, start, system)
    for name in ("online", "predictor"):
        step = np.asarray(getattr(run.final, name)[0]) - getattr(start, name)
        velocity = getattr(moved, name)
        assert np.max(np.abs(step - dt * velocity)) < 1e-13 * (1 + np.max(np.abs(velocity)))
        assert np.max(np.abs(step)) > 1e-4


@pytest.mark.parametrize("mean", MEANS)
def test_a_normaliser_behind_the_predictor_too(mean: str) -> None:
    settings = exact(behind=f"{mean}/none")
    run = train(settings, seeds=[3])
    field, system, dt = flow_of(settings, MOMENTS)
    start = MatrixState(*(np.asarray(part[0]) for part in run.initial))
    moved = field(0.0, start, system)
    for name in ("online", "predictor"):
        step = np.asarray(getattr(run.final, name)[0]) - getattr(start, name)
        assert np.max(np.abs(step - dt * getattr(moved, name))) < 1e-13


def test_a_mean_without_a_normaliser_is_one_of_the_moments() -> None:
    settings = exact()
    field, system, _ = flow_of(settings, MOMENTS)
    assert field.name == "full"
    assert np.allclose(system.sigma_s, MOMENTS.sigma_s + np.outer(MEAN, MEAN), rtol=1e-15)


def test_small_steps_on_gaussian_batches_follow_the_flow() -> None:
    settings = exact(
        "full/full",
        data={"source": "gaussian"},
        optimizer={"learning_rate": 0.02},
        target={"decay": 0.98},
        steps=400,
        batch=512,
    )
    run = train(settings, seeds=list(range(8)))
    field, system, dt = flow_of(settings, MOMENTS)
    gaps = []
    for k in range(8):
        start = MatrixState(*(np.asarray(part[k]) for part in run.initial))
        end = integrate(start, system, field, settings.steps * dt).final
        gaps.append(np.asarray(run.final.predictor[k]) - end.predictor)
    # noise of size √(ε/B) and the 1/B of a deviation: a few percent in one run, less in their mean
    assert np.max(np.abs(np.mean(gaps, axis=0))) < 0.05
    assert np.max(np.abs(gaps)) < 0.2


def test_row_norms_grow_by_the_squares_of_steps_alone() -> None:
    settings = exact("full/full", optimizer={"learning_rate": 0.1})
    run = train(settings, seeds=[3])
    before, after = (np.asarray(state.online[0]) for state in (run.initial, run.final))
    grown = np.sum(after**2, axis=1) - np.sum(before**2, axis=1)
    assert np.allclose(grown, np.sum((after - before) ** 2, axis=1), rtol=1e-10)


def test_digits_with_a_mean_are_trained_alike_with_and_without_it_where_it_is_subtracted() -> None:
    def final(mean: float, projector: str) -> np.ndarray:
        settings = TrainingSettings(
            data={"source": "digits", "augmentations": ["noise:0.5"], "limit": 200},
            encoder={"features": 4},
            optimizer={"learning_rate": 0.01},
            normalisation={"projector": projector, "mean": mean},
            steps=20,
            batch=32,
            dtype="float64",
        )
        return np.asarray(train(settings, seeds=[0]).final.online[0])

    assert np.max(np.abs(final(0.3, "full/none") - final(0.0, "full/none"))) < 1e-10
    assert np.max(np.abs(final(0.3, "none/none") - final(0.0, "none/none"))) > 1e-3


@pytest.mark.parametrize("projector", ["full/none", "full/full"])
def test_digits_with_a_mean_follow_the_flow_that_is_predicted(projector: str) -> None:
    settings = TrainingSettings(
        data={"source": "digits", "augmentations": ["noise:0.5"], "held_out": 0.0},
        encoder={"features": 2, "scale": 0.5},
        predictor={"start": "identity"},
        objective={"symmetric": False, "halved": True},
        target={"decay": 0.99},
        optimizer={"learning_rate": 0.01},
        normalisation={"projector": projector, "mean": 0.3},
        steps=300,
        batch=256,
        metrics_every=100,
    )
    data = load_data(settings.data)
    run = train(settings, seeds=[0], data=data)
    said = predict(run, data)
    found = np.asarray(run.metrics["predictor_eigenvalues"][0, ..., 0])
    assert np.max(np.abs(said.feature_eigenvalues[0] / run.metrics["feature_eigenvalues"][0, 0] - 1)) < 1e-4
    # noise of size √(ε/B) along 300 steps, less than a tenth of how far the predictor goes
    moved = np.max(np.abs(said.predictor_eigenvalues[-1] - said.predictor_eigenvalues[0]))
    assert np.max(np.abs(said.predictor_eigenvalues.real - found)) < 0.1 * moved


def test_a_mean_where_nothing_varies_has_a_flow_only_if_it_is_subtracted() -> None:
    moments = Moments(np.diag([1.0, 0.8, 0.0]), np.diag([0.9, 0.5, 0.0]))
    assert flow_of(exact("full/none"), moments).system.n1 == 2
    with pytest.raises(ValueError, match=r"normalisation\.mean must lie where the views vary"):
        flow_of(exact("none/none"), moments)


def test_measurements_are_of_normalised_features() -> None:
    run = train(exact("full/full", steps=3, data={"source": "gaussian"}, batch=8), seeds=[0])
    eigenvalues = np.asarray(run.metrics["feature_eigenvalues"][0, -1])
    assert abs(eigenvalues.sum() - 2) < 1e-9  # two features of variance one


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"projector": "full"}, "`normalisation.projector` must be MEAN/STD"),
        ({"projector": "half/full"}, "`normalisation.projector` must be MEAN/STD"),
        ({"predictor": "full/half"}, "`normalisation.predictor` must be MEAN/STD"),
        (
            {"projector": "full/full", "epsilon": -1e-5},
            "`normalisation.epsilon` must be finite and >= 0, got -1e-05",
        ),
        ({"epsilon": 0.1}, "`normalisation.epsilon` must be 0 where nothing is divided"),
        ({"target_centred": 1}, "`normalisation.target_centred` must be true or false"),
        ({"mean": "x"}, "`normalisation.mean` must be a finite number"),
        ({"mean": [np.nan]}, "`normalisation.mean` must be a finite number"),
    ],
)
def test_settings_refuse(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NormalisationSettings(**changes)


def test_settings_read_back() -> None:
    settings = exact("full/detached")
    assert TrainingSettings.from_json(settings.to_json()) == settings
    assert settings.normalisation.of_target == Normaliser(mean="full", std="detached")
    assert exact("backward/none").normalisation.of_target == Normaliser()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (exact("full/none", "full/none"), "projector or predictor must be normalised, not both"),
        (exact(behind="none/full"), "the predictor's outputs must not be divided"),
        (exact("full/full", objective={"kind": "byol-prime"}), "objective must be byol"),
        (
            exact("full/full", predictor={"symmetric": True}),
            "the flow must be one of full, no-predictor, no-ema",
        ),
    ],
)
def test_settings_without_a_flow_are_told(settings: TrainingSettings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flow_of(settings, MOMENTS)


def test_a_mean_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="`mean` must be one number or one per input, 3, got 2"):
        train(exact(normalisation={"mean": [1.0, 2.0]}), seeds=[0])


# --- the command --------------------------------------------------------------------------------------------

MODES = "--lambda-s 1 --lambda-d 0.8 --lambda-s 1 --lambda-d 0.3"
GAUSSIAN = tuple(f"--data gaussian {MODES} --steps 5 --batch 16".split())


def test_the_command_trains_with_normalised_features(dyn: Any) -> None:
    code, out, err = dyn("train", *GAUSSIAN, "--projector-norm", "full/full", "--mean", "2", "--json")
    assert code == 0, err
    assert np.isfinite(json.loads(out)["metrics"]["loss"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--projector-norm full", "--projector-norm must be MEAN/STD"),
        ("--predictor-norm a/b", "--predictor-norm must be MEAN/STD"),
        ("--projector-norm full/full --norm-epsilon -1e-5", "--norm-epsilon must be finite and >= 0"),
        ("--projector-norm full/full --batch 1", "--batch must be an integer >= 2, got 1"),
        ("--mean 1 --mean 2 --mean 3", "--mean must be one number or one per input, 2, got 3"),
    ],
)
def test_the_command_refuses(dyn: Any, arguments: str, message: str) -> None:
    code, out, err = dyn("train", *GAUSSIAN, *arguments.split())
    assert (code, out) == (2, "")
    assert message in err
