"""C17: Table 4 of DD with linear networks, batch normalisation taken apart into mean and deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

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
from analysis.experiments.runs import mean_of, student
from analysis.experiments.seeds import clearly_above
from dynamics.data.moments import Moments
from dynamics.states import MatrixState
from dynamics.training import TrainingSettings, flow_of, train

N2, BATCH, STEP, KEPT, T_END = 3, 64, 0.05, 0.95, 80.0
LAMBDA_S = (1.0, 0.9, 1.1, 0.8, 1.2, 1.0)
RATIOS = (0.85, 0.7, 0.6, 0.4, 0.25, 0.15)
MEAN = (0.2, -0.3, 0.2, 0.9, -0.8, 0.7)
"""Of the views: most of it lies in modes that centred moments hold to be the worst."""
LIVE = 1e-2
"""Shortest row that is alive; starts have length about one."""
RUNAWAY = 10.0
"""Largest weight that is told from a larger one: beyond, a run has run away."""


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Parameters
    ----------
    name
        μ, σ in the graph of gradients, μ̂, σ̂ detached, – for none, as DD writes them.
    projector
        As in `dynamics.training.normalisers.NormalisationSettings`.
    target_centred
        Whether the target's features lose their mean with those of the network.
    predictor
        Whether there is one.
    """

    name: str
    projector: str
    target_centred: bool = True
    predictor: bool = True


ROWS = (
    Row("–/–", "none/none"),
    Row("μ/–", "full/none"),
    Row("–/σ", "none/full"),
    Row("μ/σ", "full/full"),
    Row("μ̂/–, target centred", "forward/none"),
    Row("μ̂/–, target raw", "forward/none", target_centred=False),
    Row("–/σ̂", "none/detached"),
    Row("μ/σ̂", "full/detached"),
    Row("no predictor, –/–", "none/none", predictor=False),
    Row("no predictor, μ/–", "full/none", predictor=False),
    Row("no predictor, –/σ", "none/full", predictor=False),
    Row("no predictor, μ/σ", "full/full", predictor=False),
)
QUICK = ("–/–", "μ/–", "no predictor, –/σ")


class Features(NamedTuple):
    """What encoders have learned, one number per run.

    Parameters
    ----------
    live
        Rows longer than `LIVE`.
    rank
        Effective rank of the centred outputs of rows normalised to one deviation, exp of the entropy of eigenvalues.
    overlap
        Mean squared cosine, as the covariance S measures it, of the features with the top modes of D S⁻¹.
    share
        Part of the mean in the power of the outputs, ‖Wμ‖²/tr W Σs Wᵀ.
    """

    live: np.ndarray
    rank: np.ndarray
    overlap: np.ndarray
    share: np.ndarray


def moments() -> Moments:
    """Centred moments S and D of the views."""
    s = np.array(LAMBDA_S)
    return Moments.from_eigenvalues(s, s * RATIOS)


def settings_of(row: Row, step: float = STEP) -> TrainingSettings:
    """Training of a row: batches of `BATCH` Gaussian pairs, steps of that size, until `T_END`."""
    found = moments()
    parts: dict[str, Any] = {
        "data": {"source": "gaussian", "sigma_s": np.diag(found.sigma_s), "sigma_d": np.diag(found.sigma_d)},
        "encoder": {"features": N2, "scale": 0.5 * np.sqrt(len(MEAN))},
        "predictor": {"kind": "linear", "scale": 0.3 * np.sqrt(N2)} if row.predictor else {"kind": "none"},
        "objective": {"symmetric": False, "halved": True},
        "target": {"decay": 1 - (1 - KEPT) * step / STEP},
        "optimizer": {"learning_rate": step},
        "normalisation": {"projector": row.projector, "target_centred": row.target_centred, "mean": MEAN},
        "steps": round(T_END / step),
        "batch": BATCH,
        "dtype": "float64",
        "metrics_every": round(T_END / step),
    }
    return TrainingSettings(**parts)


def features_of(W: np.ndarray) -> Features:
    """What encoders W, shape (n, n2, n1), have learned; NaN where weights are not finite."""
    S, mu = np.array(LAMBDA_S), np.array(MEAN)
    top = np.argsort(RATIOS)[::-1][:N2]
    found = []
    for one in W:
        if not np.all(np.isfinite(one)):
            found.append((np.nan,) * 4)
            continue
        lengths = np.linalg.norm(one, axis=1)
        whitened = one * np.sqrt(S)
        deviation = np.linalg.norm(whitened, axis=1)
        alive = lengths > LIVE
        if not alive.any():
            found.append((0.0, np.nan, np.nan, np.nan))
            continue
        rows = whitened[alive] / deviation[alive][:, None]
        values = np.linalg.svd(rows, compute_uv=False) ** 2
        p = values / values.sum()
        rank = float(np.exp(-np.sum(p * np.log(np.maximum(p, 1e-300)))))
        overlap = float(np.sum(rows[:, top] ** 2) / len(rows))
        power = np.sum((one @ mu) ** 2)
        found.append((float(alive.sum()), rank, overlap, float(power / (power + np.sum(whitened**2)))))
    return Features(*np.array(found).T)


class Trained(NamedTuple):
    """Ends of training and of the flow, from the same starts: W of shape (n, n2, n1)."""

    trained: np.ndarray
    flow: np.ndarray


@lru_cache(maxsize=64)
def ends(row: Row, seeds: tuple[int, ...], step: float = STEP) -> Trained:
    """Train a row of the table, and follow its flow from the same starts."""
    from dynamics.integration.integrate import integrate

    settings = settings_of(row, step)
    run = train(settings, seeds)
    vector_field, system, dt = flow_of(settings, moments())
    followed = []
    for k in range(len(seeds)):
        start = MatrixState(*(np.asarray(part[k]) for part in run.initial))
        end = None
        if row.target_centred or not row.projector.startswith("forward"):
            end = integrate(
                start, system, vector_field, settings.steps * dt, rtol=1e-6, atol=1e-8
            ).final.online
        followed.append(np.full(start.online.shape, np.inf) if end is None else end)  # it runs away (R216)
    return Trained(np.asarray(run.final.online), np.stack(followed))


def largest_weights(W: np.ndarray) -> np.ndarray:
    """Largest weight of every run, shape (n,), and `RUNAWAY` where it is larger or no number."""
    sizes = np.max(np.abs(W), axis=(1, 2))
    return np.where(sizes < RUNAWAY, sizes, RUNAWAY)  # NaN is not smaller


def tabulated(
    rows: Sequence[Row], seeds: tuple[int, ...], step: float = STEP
) -> dict[str, tuple[Features, Features]]:
    """Features of every row by training and by the flow."""
    found = {}
    for row in rows:
        trained, followed = ends(row, seeds, step)
        found[row.name] = features_of(trained), features_of(followed)
    return found


def beside_the_flow(name: str, trained: np.ndarray, flow: np.ndarray, step: float) -> Measurement:
    """Mean over seeds of the overlap, by training and by the flow from the same starts."""
    mean, error = mean_of(trained - flow)
    widening = student(len(trained))
    tolerance = widening * error + 2 / BATCH + step
    note = (
        f"{widening:.1f} standard errors of the difference over {len(trained)} seeds, 2/B of the statistics of a batch"
        " (R214), and the step"
    )
    return compare(
        f"{name}: overlap with the top modes of D S⁻¹",
        float(np.mean(flow)),
        float(np.mean(flow) + mean),
        tolerance,
        note,
    )


def run(effort: Effort) -> Outcome:
    """Train the rows of the table beside their flows."""
    rows = [row for row in ROWS if not effort.quick or row.name in QUICK]
    n_seeds, step = (8, 2 * STEP) if effort.quick else (16, STEP)
    seeds = tuple(range(effort.seed * 4096, effort.seed * 4096 + n_seeds))
    table: dict[str, tuple[Features, Features]] = {}
    for k, row in enumerate(rows):
        table |= tabulated([row], seeds, step)
        effort.report((k + 1) / len(rows))
    there = set(table)
    measurements: list[Measurement] = []
    for std in ("–", "σ", "σ̂"):
        if {f"μ/{std}", f"–/{std}"} <= there:
            name = f"overlap with the top modes of D S⁻¹, μ/{std} over –/{std}"
            measurements.append(
                clearly_above(name, table[f"μ/{std}"][0].overlap, table[f"–/{std}"][0].overlap)
            )
    for name in ("–/–", "μ/–", "–/σ", "μ/σ", "–/σ̂", "μ/σ̂"):
        if name in there:
            trained, flow = table[name]
            measurements.append(beside_the_flow(name, trained.overlap, flow.overlap, step))
    for name in ("no predictor, –/σ", "no predictor, μ/σ"):
        if name in there:
            trained, _ = table[name]
            note = "R218: the norm of a row never falls; R219: all rows turn to one mode"
            measurements.append(at_least(f"{name}: fewest live rows", N2, np.min(trained.live), note))
            measurements.append(
                clearly_above(
                    f"effective rank, –/– with a predictor over {name}", table["–/–"][0].rank, trained.rank
                )
            )
    if "no predictor, μ/–" in there:
        dead = np.max(table["no predictor, μ/–"][0].live)
        measurements.append(at_most("no predictor, μ/–: most live rows", 0.0, dead, "R215: it collapses"))
    if {"μ/–", "μ̂/–, target centred"} <= there:
        pair = [ends(row, seeds, step).trained for row in ROWS if row.name in ("μ/–", "μ̂/–, target centred")]
        gap = float(np.max(np.abs(pair[0] - pair[1])))
        measurements.append(
            at_most("μ̂/–, target centred, less μ/–: largest weight", 1e-8, gap, "R213: the same gradients")
        )
    if {"μ/–", "μ̂/–, target raw"} <= there:
        raw, full = (
            largest_weights(ends(row, seeds, step).trained)
            for name in ("μ̂/–, target raw", "μ/–")
            for row in ROWS
            if row.name == name
        )
        name = f"largest weight, {RUNAWAY:g} at most, μ̂/– with a raw target over μ/–"
        measurements.append(clearly_above(name, raw, full))
    return Outcome(tuple(measurements), tuple(_curves(table)))


def _curves(table: dict[str, tuple[Features, Features]]) -> list[Curve]:
    curves = []
    drawn = [
        name for name, (trained, flow) in table.items() if np.all(np.isfinite(flow.overlap + trained.overlap))
    ]
    x = np.arange(1, len(drawn) + 1)
    for title, part in (("overlap with the top modes of D S⁻¹", "overlap"), ("effective rank", "rank")):
        panel = Panel(
            title, "row: " + ", ".join(f"{k} {name}" for k, name in enumerate(drawn, start=1)), part
        )
        trained, flow = ([np.mean(getattr(table[name][k], part)) for name in drawn] for k in (0, 1))
        errors = [mean_of(getattr(table[name][0], part)).error for name in drawn]
        curves += [panel.theory("flow", x, flow), panel.training("networks", x, trained, errors)]
    return curves


EXPERIMENTS = (
    Experiment(
        "C17",
        "Mean and deviation of batch normalisation",
        "The mean decides which subspace is learned, whatever the deviation does (R216, R222); a deviation in the graph"
        " of gradients forbids death alone, and without a predictor all rows turn to one mode (R218, R219); a detached"
        " mean is the full one where the target is centred (R213), and runs away where it is not (R216).",
        run,
    ),
)
