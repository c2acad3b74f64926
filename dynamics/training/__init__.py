"""The same dynamics by real gradient steps: networks, objectives, targets, optimisers, one compiled loop.

    settings = TrainingSettings(
        data={"source": "digits", "augmentations": ["shift:1", "noise:0.3"]},
        encoder={"kind": "mlp", "widths": [64], "features": 16},
        predictor={"kind": "linear"}, objective={"kind": "byol", "normalize": True},
        target={"kind": "ema", "decay": 0.99}, optimizer={"kind": "adam", "learning_rate": 1e-3},
        steps=2000, batch=128, metrics_every=100)
    run = train(settings, seeds=[0, 1, 2])
    run.steps, run.metrics["probe_accuracy"]      # (T,), (3, T)

Metrics, each (n_runs, T, …), index 0 of T being the start (hence the random encoder):
``loss`` and ``gradient_norm``, ``predictor_gradient_norm`` of the batch that comes next; ``alignment`` of predictions;
``uniformity`` of representations; of what the predictor sees ``feature_eigenvalues`` (n2,), ``feature_std`` (n2,),
``effective_rank``, ``rankme``; for linear predictors ``predictor_eigenvalues`` (n2, 2), ``predictor_symmetry``,
``commutator``, ``relative_commutator``, ``overlap`` (n2,); for linear networks ``balance_drift``; with labels
``probe_accuracy``; for the tangential loss ``clipped``.

Scalars listed in `SWEPT` take one value a run, and `seeds` one seed a run: all runs go through one compiled program.
`flow_of` gives the vector field, system and time step by which theory describes a linear run, `run.initial` and
`run.final` its matrices, `diagnose` a line for people. ``gaussian`` and ``exact`` data have given moments.
"""

from dynamics.training.data import TrainingData, load_data
from dynamics.training.diagnosis import diagnose
from dynamics.training.flow import Flow, flow_of
from dynamics.training.parts import (
    DataSettings,
    EncoderSettings,
    ObjectiveSettings,
    OptimizerSettings,
    PredictorSettings,
    TargetSettings,
)
from dynamics.training.run import TrainingRun, train
from dynamics.training.settings import SWEPT, TrainingSettings

__all__ = [
    "SWEPT",
    "DataSettings",
    "EncoderSettings",
    "Flow",
    "ObjectiveSettings",
    "OptimizerSettings",
    "PredictorSettings",
    "TargetSettings",
    "TrainingData",
    "TrainingRun",
    "TrainingSettings",
    "diagnose",
    "flow_of",
    "load_data",
    "train",
]
