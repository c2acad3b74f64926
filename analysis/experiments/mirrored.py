"""C9: RAFT and BYOL′ are one training seen in a mirror, W against −W, when features are normalised (R25)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.experiments.experiment import Curve, Effort, Experiment, Measurement, Outcome, at_least, at_most

if TYPE_CHECKING:
    from dynamics.training import TrainingSettings
    from dynamics.training.loop import TrainingState

STEPS = 1000
LARGEST = 1e-8
"""Distance of the mirrored weights after `STEPS` steps of Adam that rounding of float64 may leave."""
RATE = 1e-3
"""Learning rate of Adam."""
WEIGHTS = ((1.0, 1.0), (0.7, 1.3), (1.5, 0.4), (0.3, 2.0))
"""α and β of the paired runs, one pair a seed."""


LINEAR: dict[str, Any] = {"encoder": {"features": 6}, "predictor": {"kind": "linear"}}
NONLINEAR: dict[str, Any] = {
    "encoder": {"kind": "mlp", "widths": (12,), "features": 6, "batch_norm": True},
    "predictor": {"kind": "mlp", "hidden": 12},
}


def settings(kind: str, networks: dict[str, Any], *, normalize: bool, steps: int) -> TrainingSettings:
    """One side of a pair: Adam with weight decay, a target that follows, α and β of all sizes."""
    from dynamics.training import TrainingSettings

    alphas, betas = zip(*WEIGHTS, strict=True)
    parts: dict[str, Any] = dict(
        data={
            "source": "gaussian",
            "sigma_s": (2.0, 1.5, 1.2, 1.0, 1.0, 0.8),
            "sigma_d": (1.8, 1.1, 0.8, 0.5, 0.3, 0.1),
        },
        **networks,
        objective={"kind": kind, "normalize": normalize, "alpha": alphas, "beta": betas},
        target={"decay": 0.99},
        optimizer={"kind": "adam", "learning_rate": RATE, "weight_decay": 1e-4},
        steps=steps,
        metrics_every=steps,
        batch=32,
        dtype="float64",
    )
    return TrainingSettings(**parts)


def mirrored(state: TrainingState) -> TrainingState:
    """The same networks with the predictor's last layer, weight and bias, negated."""
    weights = state.predictor
    if isinstance(weights, dict):
        return state._replace(predictor=_negated(weights))
    return state._replace(predictor=(*weights[:-1], _negated(weights[-1])))


def _negated(layer: dict[str, Any]) -> dict[str, Any]:
    return {name: -values for name, values in layer.items()}


def distance(a: TrainingState, b: TrainingState) -> float:
    """Largest difference of two networks' weights, encoder, predictor and target."""
    import jax

    pairs = zip(*(jax.tree.leaves((s.online, s.predictor, s.target)) for s in (a, b)), strict=True)
    return max(float(np.max(np.abs(x - y))) for x, y in pairs)


def distances(
    networks: dict[str, Any], seeds: tuple[int, ...], steps: tuple[int, ...], *, normalize: bool
) -> np.ndarray:
    """How far RAFT from the mirrored start is from the mirror image of BYOL′, after each of the given steps."""
    from dynamics.training import train

    found = []
    for n in steps:
        byol_prime = train(settings("byol-prime", networks, normalize=normalize, steps=n), seeds)
        raft = train(
            settings("raft", networks, normalize=normalize, steps=n),
            seeds,
            initial=mirrored(byol_prime.start),
        )
        found.append(distance(mirrored(byol_prime.state), raft.state))
    return np.array(found)


def stays_mirrored(name: str, after: float) -> Measurement:
    """Measure that trajectories of the pair have stayed mirror images."""
    note = f"rounding of float64 (1e-16) over {STEPS} steps, which Adam divides by the size of gradients"
    return at_most(f"{name}: distance of mirrored weights", LARGEST, after, note)


def parts(name: str, after: float) -> Measurement:
    """Measure that trajectories of the pair have parted: by a step of one weight at the least."""
    note = (
        f"a first step of Adam moves each weight by the rate {RATE:g}, along gradients that differ (R24, R26)"
    )
    return at_least(f"{name}: distance of mirrored weights", RATE, after, note)


def run(effort: Effort) -> Outcome:
    """Train pairs of linear networks, normalised and not, and in the full version of nonlinear ones."""
    seeds = tuple(range(effort.seed, effort.seed + len(WEIGHTS)))
    steps = (1, 10, 100, STEPS)
    cases = [("linear predictor", LINEAR, True), ("squared error", LINEAR, False)]
    if not effort.quick:
        cases.append(("MLP predictor", NONLINEAR, True))
    measurements, curves = [], []
    for index, (name, networks, normalize) in enumerate(cases):
        found = distances(networks, seeds, steps, normalize=normalize)
        measurements.append((stays_mirrored if normalize else parts)(name, found[-1]))
        curves.append(_curve(name, "training", steps, found))
        effort.report(index + 1, len(cases))
    curves.append(_curve("allowed to rounding", "theory", steps, np.full(len(steps), LARGEST)))
    return Outcome(tuple(measurements), tuple(curves))


def _curve(label: str, kind: str, steps: tuple[int, ...], y: np.ndarray) -> Curve:
    return Curve(
        "RAFT against the mirror image of BYOL′",
        label,
        kind,
        np.array(steps, float),
        y,
        x_label="gradient steps",
        y_label="largest difference of weights",
        log_x=True,
        log_y=True,
    )


EXPERIMENTS = (
    Experiment(
        "C9",
        "RAFT is BYOL′ mirrored",
        "with normalised features RAFT and BYOL′ keep θ equal and the predictor opposite, step by step; with plain"
        " squared errors they do not (R25, R26)",
        run,
    ),
)
