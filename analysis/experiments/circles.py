"""C23: features of BYOL on digits spread over a circle; without a predictor they fall on a line, not on a point."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from analysis.experiments.experiment import (
    Curve,
    Effort,
    Experiment,
    Measurement,
    Outcome,
    Panel,
    at_least,
    at_most,
    compare,
)
from analysis.experiments.seeds import DIGITS, views
from analysis.objectives.circle import (
    circle_density,
    circle_projection,
    circle_uniformity,
    line_uniformity,
    sample_uniformity,
)

FEATURES = 8
RATE = 0.02
"""Learning rate; a symmetric step is dt = 4 RATE, with which the target follows at τt = 1."""
SHOWN = 600
"""Digits whose features are looked at."""


def features(effort: Effort, predictor: str) -> np.ndarray:
    """Features of clean digits at the end, shape (SHOWN, FEATURES)."""
    from dynamics.training import TrainingSettings, train

    steps = 2500 if effort.quick else 10_000
    parts: dict[str, Any] = {
        "data": DIGITS,
        "encoder": {"features": FEATURES},
        "predictor": {"kind": predictor},
        "objective": {"kind": "byol"},
        "target": {"kind": "ema", "decay": 1 - 4 * RATE},
        "optimizer": {"kind": "sgd", "learning_rate": RATE},
        "steps": steps,
        "batch": 256,
        "metrics_every": steps,
    }
    settings = TrainingSettings(**parts)
    source = views(settings.data)
    W = np.asarray(train(settings, (effort.seed,), data=source).final[0], np.float64)[0]
    return clean_digits() @ W.T


def clean_digits() -> np.ndarray:
    """Digits, centred and scaled, shape (SHOWN, 64)."""
    from dynamics.data.datasets import load, standardised

    batches = standardised(load("digits").images)
    return np.concatenate(list(batches.samples)).reshape(batches.n_samples, -1)[:SHOWN]


def _density(name: str, angles: np.ndarray, b: float) -> list[Curve]:
    """Histogram of angles, beside the law of elliptical features with their b (R335)."""
    edges = np.linspace(-np.pi, np.pi, 33)
    counts, _ = np.histogram((angles + np.pi) % (2 * np.pi) - np.pi, edges)
    middle = (edges[1:] + edges[:-1]) / 2
    panel = Panel(f"angles of features, {name}", "angle φ", "density")
    # the law in the same bins: at small b it is narrower than they are
    law = [
        np.mean(circle_density(np.linspace(low, high, 400), max(b, 1e-3))) for low, high in pairwise(edges)
    ]
    return [
        panel.theory("R335", middle, law),
        panel.training("training", middle, counts / counts.sum() / (edges[1] - edges[0])),
    ]


def run(effort: Effort) -> Outcome:
    """Train with and without a predictor, and look at features on the circle."""
    learned, alone = features(effort, "linear"), features(effort, "none")
    effort.report(1.0)
    angles, b = circle_projection(learned)
    angles_alone, flat = circle_projection(alone)
    centred = alone - alone.mean(axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    side = float(np.mean(centred @ axis > 0))
    floor = line_uniformity(side)
    measurements: list[Measurement] = [
        at_least(
            "BYOL: b = σ2/σ1 of features",
            0.5,
            b,
            "a predictor keeps several modes, of sizes of the same order (R8)",
        ),
        at_most(
            "no predictor: b",
            0.05,
            flat,
            "modes fall behind the slowest one exponentially (R336)",
        ),
        compare(
            "no predictor: uniformity of features, as on a line",
            floor,
            sample_uniformity(centred),
            float(circle_uniformity(0.0) - circle_uniformity(0.05)),
            "what is left of a circle at b = 0.05",
        ),
        at_most(
            "no predictor: uniformity stays below that of a point",
            -0.6,
            sample_uniformity(centred),
            "a line with a share of a quarter on one side has -0.47, of a half -0.693 (R336)",
        ),
    ]
    curves = [*_density("BYOL", angles, b), *_density("no predictor", angles_alone, flat)]
    return Outcome(tuple(measurements), tuple(curves))


EXPERIMENTS = (
    Experiment(
        "C23",
        "Collapse to a line",
        "Without a predictor features of centred digits end on a line through 0, with uniformity near "
        "ln((1 + e^−8)/2) = −0.693, not on a point, which has 0 (R335, R336); with one they stay spread.",
        run,
    ),
)
