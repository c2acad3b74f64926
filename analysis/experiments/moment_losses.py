"""C22: VICReg fills its spectrum like water in batches, and Barlow Twins leaves its plateaus in theory's time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.experiments.experiment import Curve, Effort, Experiment, Measurement, Outcome, compare
from analysis.experiments.seeds import CONFIDENCE, DIGITS, spread, views
from dynamics.exact.redundancy import barlow_twins_plateau
from dynamics.exact.vicreg import vicreg_spectrum

if TYPE_CHECKING:
    from dynamics.training import TrainingRun

FEATURES = 4
"""Rows."""
WEIGHTS = {"invariance": 1.0, "variance": 4.0, "covariance": 0.1}
"""λ_i, μ and ν of VICReg: μ = 4λ_i holds every row at std = 1."""
BATCH = 512
LAMBDA_D = (1.0, 0.25, 0.05)
"""Modes of Barlow Twins, of which the third has not begun when the second is measured."""
OFF_DIAGONAL = 0.3


def _train(
    objective: dict[str, Any], data: dict[str, Any], seeds: tuple[int, ...], **parts: Any
) -> TrainingRun:
    from dynamics.training import TrainingSettings, train

    none = {"kind": "none"}
    made: dict[str, Any] = {"objective": objective, "data": data, "predictor": none, "target": none, **parts}
    settings = TrainingSettings(**made)
    return train(settings, seeds, data=views(settings.data))


def held_deviation(run: TrainingRun, pull: float) -> float:
    """Standard deviation at which the hinge holds rows by batches: P(ŝ < 1) = pull/μ, with ŝ normal about s.

    A batch feels the hinge where its own ŝ is below 1 and not else, so that rows rest above 1, not at it. The spread of
    ŝ is that of (y1² + y2²)/2 over pairs of views, divided by 2s √B.
    """
    from scipy.stats import norm

    from analysis.runs.batch_noise import drawn_views

    data = views(run.settings.data)
    drawn = drawn_views(data, np.eye(data.n1), run.settings)
    W = np.asarray(run.final[0], np.float64)
    squares = np.mean([(x @ W.transpose(0, 2, 1)) ** 2 for x in drawn[:2]], axis=0)  # (runs, pairs, rows)
    relative = float(np.mean(squares.std(axis=1) / squares.mean(axis=1))) / (2 * np.sqrt(BATCH))
    return float(1 / (1 + norm.ppf(pull / WEIGHTS["variance"]) * relative))


def water(effort: Effort) -> tuple[list[Measurement], list[Curve]]:
    """Eigenvalues of W Σs Wᵀ on digits beside water-filling (R327)."""
    seeds = tuple(range(effort.seed, effort.seed + (4 if effort.quick else 12)))
    steps = 4000
    run = _train(
        {"kind": "vicreg", **WEIGHTS},
        DIGITS,
        seeds,
        encoder={"features": FEATURES},
        optimizer={"kind": "sgd", "learning_rate": 0.01, "schedule": "cosine"},
        steps=steps,
        batch=BATCH,
        metrics_every=steps,
    )
    moments = views(run.settings.data).moments()
    exact_hinge = vicreg_spectrum(moments.ratios, FEATURES, invariance=1.0, covariance=WEIGHTS["covariance"])
    # rows of std s fill as rows of std 1 do with ν s², in units of s²
    square = held_deviation(run, exact_hinge.pull) ** 2
    said = (
        square
        * vicreg_spectrum(
            moments.ratios, FEATURES, invariance=1.0, covariance=square * WEIGHTS["covariance"]
        ).amplitudes[:FEATURES]
    )
    W = np.asarray(run.final[0], np.float64)
    found = np.linalg.eigvalsh(W @ moments.sigma_s @ W.transpose(0, 2, 1))[:, ::-1]
    # the spread of ŝ is known to 1/√(2 · pairs), and ŝ is normal up to its skewness, of the order of its spread
    mean, half = spread(np.trace(W @ moments.sigma_s @ W.transpose(0, 2, 1), axis1=1, axis2=2) / FEATURES)
    measured = [
        compare(
            "VICReg on digits: variance of a row, which batches hold above 1",
            square,
            mean,
            half + 0.25 * (square - 1),
            f"half the {CONFIDENCE:.0%} interval over {len(seeds)} seeds, and a quarter of what the spread of ŝ adds",
        )
    ]
    for k, exact in enumerate(said):
        mean, half = spread(found[:, k])
        # E Ŝ_ij² exceeds S_ij² by (S_ii S_jj + S_ij²)/B for Gaussian outputs, as a weight of n2/B of the trace would
        bias = FEATURES / BATCH * FEATURES
        measured.append(
            compare(
                f"VICReg on digits: eigenvalue {k + 1} of W Σs Wᵀ",
                exact,
                mean,
                half + bias,
                f"half the {CONFIDENCE:.0%} interval over {len(seeds)} seeds, and n2²/B for covariances of batches",
            )
        )
    modes = np.arange(1.0, FEATURES + 1)
    axes: dict[str, Any] = {"x_label": "mode", "y_label": "eigenvalue"}
    return measured, [
        Curve("VICReg", "R327", "theory", modes, said, **axes),
        Curve("VICReg", "training", "training", modes, found.mean(axis=0), **axes),
    ]


def plateau(effort: Effort) -> list[Measurement]:
    """Part of W Σd Wᵀ along the first mode where Barlow Twins has learned one mode, and then two (R325)."""
    step, found = 0.02, []
    for learned, time in ((1, 9.0), (2, 40.0)):
        steps = int(time / step)
        run = _train(
            {"kind": "barlow-twins", "off_diagonal": OFF_DIAGONAL},
            {"source": "exact", "sigma_s": (1.0, 0.5, 0.1), "sigma_d": LAMBDA_D},
            (effort.seed,),
            encoder={"features": 3, "scale": 1e-4},
            optimizer={"kind": "sgd", "learning_rate": step},
            steps=steps,
            batch=None,
            metrics_every=steps,
            dtype="float64",
        )
        W = np.asarray(run.final[0], np.float64)[0]
        sizes = np.sum(W**2, axis=0) * np.array(LAMBDA_D)
        found.append((learned, float(sizes[0])))
    return [
        compare(
            f"Barlow Twins, exact moments: λd‖W q‖² with {learned} of 3 modes learned",
            barlow_twins_plateau(learned, 3, OFF_DIAGONAL),
            size,
            0.01 * size,
            "one percent: rows share modes no more evenly than that when the next mode rises",
        )
        for learned, size in found
    ]


def run(effort: Effort) -> Outcome:
    """Train, and compare."""
    measurements, curves = water(effort)
    effort.report(0.7)
    measurements += plateau(effort)
    effort.report(1.0)
    return Outcome(tuple(measurements), tuple(curves))


EXPERIMENTS = (
    Experiment(
        "C22",
        "VICReg and Barlow Twins",
        "On digits VICReg learns the eigenvalues (λ_i r − m)₊/ν of W Σs Wᵀ with sum n2 (R327); on exact moments Barlow "
        "Twins passes the plateaus 1/(λ + (1 − λ)k/n) (R325).",
        run,
    ),
)
