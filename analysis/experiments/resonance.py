"""C4: on real images P comes to the top of M's spectrum, and the rows of W to its eigenmodes (R10, R18)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis.experiments.experiment import Curve, Effort, Experiment, Measurement, Outcome, at_most, compare
from analysis.experiments.seeds import CONFIDENCE, images, spread, views
from dynamics.data.moments import Moments
from dynamics.states import MatrixState, random_state

if TYPE_CHECKING:
    from dynamics.training import TrainingRun

FEATURES = 8
REACHED = 0.01
"""An eigenvalue of P is compared with M's, in [0, 1], where the flow has brought it this close by then."""
REACHED_DEGREES = 5.0
"""Rows of W are compared with M's eigenmodes where the flow has brought them this close by then."""
RATE = 0.02
"""Learning rate at the start; with half the symmetric loss a step takes twice that time (R1, R29)."""
GENTLE = 0.125
"""Most of that rate times the largest eigenvalue of Σs: steps of the time ε obey ε λs (p² + w²) < 2 (R303), and here
ε λs <= 1/4 leaves room for p <= 1 and weights of size 2."""


class Approach(NamedTuple):
    """Runs from one start, beside the flow from the same start.

    Parameters
    ----------
    run
        Seeds differ in their batches alone.
    ts
        Time of the flow at the measured steps, shape (T,).
    flow
        States of the flow at those times.
    moments
        Σs and Σd of the views.
    """

    run: TrainingRun
    ts: np.ndarray
    flow: MatrixState
    moments: Moments


def approach(start: MatrixState, seeds: tuple[int, ...], steps: int, data: dict[str, Any]) -> Approach:
    """Train linear networks on data from one start, the rate falling to zero so that noise dies out."""
    from dataclasses import replace

    from dynamics.integration.integrate import integrate
    from dynamics.training import TrainingSettings, flow_of, train

    parts: dict[str, Any] = {
        "data": data,
        "encoder": {"features": len(start.predictor)},
        "objective": {"halved": True},
        "target": {"kind": "none"},
        "optimizer": {"kind": "sgd", "learning_rate": RATE, "schedule": "cosine"},
        "steps": steps,
        "metrics_every": steps // 20,
    }
    settings = TrainingSettings(**parts)
    samples = views(settings.data)
    largest = float(np.linalg.eigvalsh(samples.moments().sigma_s)[-1])
    rate = min(RATE, GENTLE / largest)
    settings = replace(settings, optimizer=replace(settings.optimizer, learning_rate=rate))
    run = train(settings, seeds, initial=start, data=samples)
    steady = replace(settings, optimizer=replace(settings.optimizer, schedule="constant"))
    vector_field, system, dt = flow_of(steady, samples.moments())
    k = np.arange(steps)
    ts = np.concatenate([[0.0], np.cumsum(dt * (np.cos(np.pi * k / steps) + 1) / 2)])[run.steps]
    flow = integrate(start, system, vector_field, ts=ts)
    return Approach(run, ts, flow.states, samples.moments())


def descending_eigenvalues(P: np.ndarray) -> np.ndarray:
    """Real parts of the eigenvalues of P, descending along the last axis."""
    return np.sort(np.linalg.eigvals(P).real, axis=-1)[..., ::-1]


def leading_rows(state: MatrixState, k: int) -> np.ndarray:
    """Orthonormal basis (n1, k) of rows vᵀW, v the left eigenvectors of the k largest eigenvalues of P."""
    values, V = np.linalg.eig(state.predictor.T)
    order = np.argsort(-values.real, kind="stable")[:k]
    return np.linalg.qr(state.online.T @ V[:, order].real)[0]


def largest_angle(A: np.ndarray, B: np.ndarray) -> float:
    """Largest principal angle between the spans of the columns, in degrees."""
    from scipy.linalg import subspace_angles

    return float(np.degrees(subspace_angles(A, B)[0]))


def eigenvalues_arrive(name: str, found: Approach, k: int) -> list[Measurement]:
    """Means of the k largest eigenvalues of P at the end beside those of M (R10, R18)."""
    at_end = descending_eigenvalues(found.run.final.predictor)
    left = found.flow.predictor[-1]
    ratios = found.moments.ratios[: at_end.shape[1]]
    remaining = np.abs(descending_eigenvalues(left) - ratios)
    mean, half_width = spread(at_end)
    n = len(at_end)
    return [
        compare(
            f"{name}: eigenvalue {i + 1} of P",
            ratios[i],
            mean[i],
            half_width[i] + remaining[i],
            f"{half_width[i]:.1g} from {n} seeds ({CONFIDENCE:.0%}),"
            f" {remaining[i]:.1g} that the flow still has to go",
        )
        for i in range(k)
    ]


def reached(found: Approach) -> int:
    """Number of leading eigenvalues that the flow has brought to within `REACHED` of M's."""
    at_end = descending_eigenvalues(found.flow.predictor[-1])
    there = np.abs(at_end - found.moments.ratios[: len(at_end)]) <= REACHED
    return int(np.argmin(np.append(there, False)))


def rows_arrive(name: str, found: Approach, k: int) -> Measurement:
    """Angle of at most k leading rows of W to the top eigenmodes of M (R10)."""
    modes = found.moments.modes.directions
    flow_end = MatrixState(*(part[-1] for part in found.flow))
    angles = [largest_angle(leading_rows(flow_end, j), modes[:, :j]) for j in range(1, k + 1)]
    there = [j + 1 for j, angle in enumerate(angles) if angle <= REACHED_DEGREES]
    k = max(there, default=1)
    remaining = angles[k - 1]
    ends = [MatrixState(*(part[i] for part in found.run.final)) for i in range(found.run.n_runs)]
    bases = [leading_rows(end, k) for end in ends]
    to_modes = np.mean([largest_angle(basis, modes[:, :k]) for basis in bases])
    between = np.mean([largest_angle(a, b) for i, a in enumerate(bases) for b in bases[:i]])
    return at_most(
        f"{name}: angle of {k} rows of W to the top eigenmodes, degrees",
        between,
        to_modes,
        f"no farther than seeds are from one another, but for {remaining:.1g} that the flow still has to go",
        slack=remaining,
    )


def curves(found: Approach, panel: str) -> list[Curve]:
    """Eigenvalues of P along the flow and along training, means over seeds."""
    along = found.run.metrics["predictor_eigenvalues"][..., 0]
    mean, half_width = spread(along)
    flow = descending_eigenvalues(found.flow.predictor)
    axes: dict[str, Any] = {"x_label": "time t", "y_label": "eigenvalues of P"}
    lines = [
        Curve(panel, "flow" if i == 0 else "", "theory", found.ts, flow[:, i], **axes)
        for i in range(flow.shape[1])
    ]
    points = [
        Curve(
            panel,
            "training" if i == 0 else "",
            "training",
            found.ts,
            mean[:, i],
            error=half_width[:, i],
            **axes,
        )
        for i in range(flow.shape[1])
    ]
    return lines + points


def from_scale(scale: float, effort: Effort) -> Approach:
    """Runs from W ~ scale·N(0, 1)/√n1 and P ~ 0.1·N(0, 1)."""
    from dynamics.training import DataSettings

    quick, seed, data = effort.quick, effort.seed, images(effort)
    n1 = views(DataSettings(**data)).n1
    n_seeds, steps = (6, 2000) if quick else (8, 12_000)
    start = random_state(n1, FEATURES, scale_online=scale / np.sqrt(n1), scale_predictor=0.1, seed=seed)
    return approach(start, tuple(range(seed, seed + n_seeds)), steps, data)


@lru_cache(maxsize=2)
def large_start(quick: bool, seed: int, data: str | None = None) -> Approach:
    """Runs from a start whose rows all survive (R8)."""
    return from_scale(1.0, Effort(quick, seed, data=data))


def run(effort: Effort) -> Outcome:
    """Train from a large and from a small start, and compare both with the flow and with M's spectrum."""
    measurements: list[Measurement] = []
    drawn: list[Curve] = []
    starts = {
        "large start": large_start(effort.quick, effort.seed, effort.data),
        "small start": from_scale(0.3, effort),
    }
    for name, found in starts.items():
        k = reached(found)
        if k:
            measurements += [*eigenvalues_arrive(name, found, k), rows_arrive(name, found, k)]
        drawn += curves(found, name)
    effort.report(1)
    return Outcome(tuple(measurements), tuple(drawn))


EXPERIMENTS = (
    Experiment(
        "C4",
        "Learned resonance on digits",
        "P's eigenvalues come to the largest eigenvalues of M (R18, R10) and rows of W to their eigenmodes",
        run,
        data="samples",
    ),
)
