"""Training settings: JSON there and back, sweeps, defaults, and a sentence for everything that does not fit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from dynamics.training import (
    SWEPT,
    EncoderSettings,
    OptimizerSettings,
    PredictorSettings,
    TargetSettings,
    TrainingSettings,
)

FULL: dict[str, Any] = {
    "data": {"source": "gaussian", "sigma_s": [[2.0, 0.5], [0.5, 1.0]], "sigma_d": np.diag([1.0, 0.5])},
    "encoder": {"kind": "mlp", "widths": [8, 4], "features": 2, "batch_norm": True, "projector": [6, 3]},
    "predictor": {"kind": "mlp", "hidden": 5, "start": "uniform", "scale": [0.1, 0.2], "reinitialise": 7},
    "objective": {
        "kind": "raft",
        "normalize": True,
        "tangential": True,
        "alpha": 2,
        "beta": np.array([1.0, 3.0]),
    },
    "target": {"decay": 0.996, "schedule": "cosine"},
    "optimizer": {"kind": "lars", "momentum": 0.5, "learning_rate": 0.3, "predictor_weight_decay": 0.1},
    "steps": 12,
    "batch": np.int64(4),
    "dtype": "float64",
    "metrics_every": 5,
}


@pytest.mark.parametrize("changes", [{}, FULL])
def test_settings_read_back_from_json_as_they_were(changes: dict[str, Any]) -> None:
    settings = TrainingSettings(**changes)
    again = TrainingSettings.from_json(settings.to_json())
    assert again == settings
    assert hash(again) == hash(settings)
    assert json.loads(again.to_json()) == json.loads(settings.to_json())


def test_one_run_of_a_sweep_has_its_numbers() -> None:
    settings = TrainingSettings(**FULL)
    assert settings.n_settings == 2
    second = settings.at(1)
    assert (second.predictor.scale, second.objective.beta, second.objective.alpha) == (0.2, 3.0, 2.0)
    assert second.n_settings == 1


def test_swept_scalars_are_fields_of_their_parts() -> None:
    settings = TrainingSettings()
    assert set(settings.swept()) == {f"{part}.{name}" for part, names in SWEPT.items() for name in names}


def test_weight_decay_of_the_predictor_is_that_of_the_network_unless_given() -> None:
    assert OptimizerSettings(weight_decay=0.1).predictor_weight_decay == 0.1
    assert OptimizerSettings(weight_decay=0.1, predictor_weight_decay=0.0).predictor_weight_decay == 0.0


def test_the_predictor_sees_the_projector_where_there_is_one() -> None:
    assert EncoderSettings(features=5).output == 5
    assert EncoderSettings(features=5, projector=(7, 3)).output == 3


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            EncoderSettings,
            {"kind": "resnet"},
            "`encoder.kind` must be one of linear, mlp, conv, got 'resnet'",
        ),
        (EncoderSettings, {"kind": "mlp"}, "`encoder.widths` must name at least one width"),
        (EncoderSettings, {"widths": (3,)}, "must be left out for a linear encoder"),
        (EncoderSettings, {"features": 0}, "`encoder.features` must be an integer >= 1, got 0"),
        (EncoderSettings, {"projector": (3,)}, r"`encoder.projector` must be \(\) or \(hidden, output\)"),
        (EncoderSettings, {"projector_batch_norm": True}, "must be false without a projector"),
        (EncoderSettings, {"scale": float("nan")}, "`encoder.scale` must be finite and >= 0, got nan"),
        (PredictorSettings, {"kind": "none", "scale": 2.0}, "`predictor.scale` must be left out unless"),
        (PredictorSettings, {"kind": "mlp", "start": "identity"}, "identity needs a linear predictor"),
        (PredictorSettings, {"kind": "direct", "option": "cube"}, "`predictor.option` must be one of sqrt, "),
        (PredictorSettings, {"kind": "direct", "average": 1.0}, "`predictor.average` must be < 1"),
        (PredictorSettings, {"reinitialise": -1}, "`predictor.reinitialise` must be an integer >= 0, got -1"),
        (TargetSettings, {"decay": 1.5}, "`target.decay` must be finite and >= 0 and <= 1, got 1.5"),
        (TargetSettings, {"kind": "none", "decay": 0.5}, "must be left out for none"),
        (
            OptimizerSettings,
            {"learning_rate": 0},
            "`optimizer.learning_rate` must be finite and > 0, got 0.0",
        ),
        (OptimizerSettings, {"learning_rate": "fast"}, "must be a number, or one a run, got 'fast'"),
        (
            OptimizerSettings,
            {"weight_decay": -1},
            "`optimizer.weight_decay` must be finite and >= 0, got -1.0",
        ),
        (OptimizerSettings, {"momentum": 0.5}, "`optimizer.momentum` must be left out for sgd"),
        (OptimizerSettings, {"kind": "momentum", "momentum": 1.0}, "`optimizer.momentum` must be < 1"),
    ],
)
def test_parts_refuse_nonsense(kind: type, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "`steps` must be an integer >= 1, got 0"),
        ({"batch": 1}, "`batch` must be an integer >= 2, got 1"),
        ({"batch": None}, "`batch` must be an integer >= 2 for the source digits, got None"),
        (
            {"data": {"source": "exact", "sigma_s": [1.0], "sigma_d": [0.5]}},
            "`batch` must be None: all pairs are used for the source exact, got 128",
        ),
        ({"dtype": "float16"}, "`dtype` must be one of float32, float64, got 'float16'"),
        ({"matmul": "bf16"}, "`matmul` must be one of float32, tf32, got 'bf16'"),
        ({"generator": "mt"}, "`generator` must be one of triple32, threefry, got 'mt'"),
        ({"metrics_every": True}, "`metrics_every` must be an integer >= 1, got True"),
        ({"objective": {"stop_gradient": False}}, "false needs the target none, got ema"),
        ({"objective": {"kind": "simple"}}, "needs neither predictor nor target, got linear and ema"),
        (
            {"predictor": {"kind": "optimal"}, "objective": {"kind": "raft"}},
            "must go with the objective byol",
        ),
        (
            {"objective": {"normalize": True}, "encoder": {"features": 1}},
            "`objective.normalize` must go with at least 2 features",
        ),
        ({"encoder": 3}, "`encoder` must be EncoderSettings or a dictionary of its fields, got 3"),
        ({"encoder": {"depth": 3}}, "`encoder` must name batch_norm, .*, got depth"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**changes)


def test_text_that_is_no_json_object_is_refused() -> None:
    with pytest.raises(ValueError, match="settings must be JSON"):
        TrainingSettings.from_json("{")
    with pytest.raises(ValueError, match="`settings` must be TrainingSettings or a dictionary"):
        TrainingSettings.from_json("[1]")


@pytest.mark.parametrize("name", ["learning_rate", "predictor_rate", "weight_decay"])
@pytest.mark.parametrize("value", [0.9e-30, 1.1e30])
def test_numbers_that_runs_cannot_hold_are_refused(name: str, value: float) -> None:
    with pytest.raises(
        ValueError, match=rf"`optimizer.{name}` must be 0 or between 1e-30 and 1e\+30 in size"
    ):
        OptimizerSettings(**{name: value})


@pytest.mark.parametrize("value", [1e-30, 1e30])
def test_numbers_at_the_ends_are_held(value: float) -> None:
    assert OptimizerSettings(learning_rate=value).learning_rate == value
