"""C7: predictor and features come to commute: as the theorem has it, and where no theorem says so (R19)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis.experiments.experiment import Curve, Effort, Experiment, Measurement, Outcome, at_most, compare
from analysis.experiments.resonance import large_start
from analysis.experiments.seeds import clearly_above, network, said, seeds_of, spread, trained
from analysis.runs.alignment import alignment_rate, feature_commutator
from dynamics.states import MatrixState, random_state
from dynamics.system import MatrixSystem

if TYPE_CHECKING:
    from dynamics.training import TrainingSettings

NOISE = 0.5
"""σ²: views with Σd = I and Σs = (1 + σ²) I, as the theorem asks."""
N_INPUTS, FEATURES = 8, 4
T_END, N_TIMES = 6.0, 48
STEPS = (25, 50)
"""Steps from one look to the next, for a step of time and for half of it."""


def settings(n_steps: int) -> TrainingSettings:
    """Linear networks with a symmetric predictor and no average, for the time between two looks at them."""
    from dynamics.training import TrainingSettings

    parts: dict[str, Any] = {
        "data": {"source": "exact", "sigma_s": (1 + NOISE,) * N_INPUTS, "sigma_d": (1.0,) * N_INPUTS},
        "batch": None,
        "encoder": {"features": FEATURES},
        "predictor": {"kind": "linear", "symmetric": True},
        "objective": {"halved": True},
        "target": {"kind": "none"},
        # a step on half the symmetric loss takes twice the time of its rate (R1, R29)
        "optimizer": {"kind": "sgd", "learning_rate": T_END / N_TIMES / n_steps / 2},
        "steps": n_steps,
        "metrics_every": 10**6,
        "dtype": "float64",
    }
    return TrainingSettings(**parts)


class Path(NamedTuple):
    """Commutator along a training run, and what its own states let the theorem say of it.

    Parameters
    ----------
    t
        Times (T,).
    commutator
        ‖[F, P]‖, (T,).
    predicted
        Norm of the solution of dL/dt = −(K L + L K) from [F, P] at the start, (T,).
    rule
        What the rule that solves it may err by.
    bound
        exp(−2 ∫ λmin(K) dt) ‖[F, P]‖ at the start, (T,), the integral as a lower sum.
    """

    t: np.ndarray
    commutator: np.ndarray
    predicted: np.ndarray
    rule: float
    bound: np.ndarray


def states_along(start: MatrixState, n_steps: int) -> list[MatrixState]:
    """States of a training run at equal times: without noise and memory, one stretch starts where another ended."""
    from dynamics.training import train

    states = [start]
    for _ in range(N_TIMES):
        end = train(settings(n_steps), initial=states[-1]).final
        states.append(MatrixState(*(part[0] for part in end)))
    return states


def solution(L: np.ndarray, K: np.ndarray, dt: float) -> np.ndarray:
    """Norms of the solution of dL/dt = −(K L + L K) at the times of K, (T,), by K's mean over each stretch dt."""
    from scipy.linalg import expm

    norms = [np.linalg.norm(L)]
    for before, after in pairwise(K):
        decay = expm(-dt * (before + after) / 2)
        L = decay @ L @ decay
        norms.append(np.linalg.norm(L))
    return np.array(norms)


def path(start: MatrixState, n_steps: int) -> Path:
    """Train, and solve the theorem's equation with K of the states that training visits."""
    identity = np.eye(N_INPUTS)
    system = MatrixSystem((1 + NOISE) * identity, identity)
    states = states_along(start, n_steps)
    K = np.array([alignment_rate(state, system) for state in states])
    L = np.array([feature_commutator(state, system) for state in states])
    least = np.linalg.eigvalsh(K)[:, 0]
    dt = T_END / N_TIMES
    integral = np.concatenate([[0.0], np.cumsum(dt * np.minimum(least[:-1], least[1:]))])
    norms = np.linalg.norm(L, axis=(1, 2))
    predicted = solution(L[0], K, dt)
    # of second order: stretches twice as long err by four times as much
    rule = np.max(np.abs(solution(L[0], K[::2], 2 * dt) - predicted[::2]))
    return Path(dt * np.arange(N_TIMES + 1), norms, predicted, float(rule), norms[0] * np.exp(-2 * integral))


def theorem(coarse: Path, fine: Path) -> list[Measurement]:
    """The commutator against the theorem: its equation, and its bound, under the theorem's hypotheses."""
    size = fine.commutator[0]
    # errors are O(ε), so what ε/2 errs by is what halving changes; as much again for the orders above
    error = 2 * np.abs(coarse.commutator - fine.commutator)
    off = np.abs(fine.commutator - fine.predicted)
    note = "twice the change from ε to ε/2, as errors are O(ε), in units of the commutator at the start"
    return [
        compare(
            "commutator off its equation, largest",
            0.0,
            np.max(off) / size,
            (np.max(error) + fine.rule) / size,
            note,
        ),
        at_most(
            "commutator above its bound, largest",
            0.0,
            np.max(fine.commutator - fine.bound - error) / size,
            f"at each time, less {note}",
        ),
    ]


def falls(name: str, relative: np.ndarray) -> Measurement:
    """Whether ‖[F, P]‖/(‖F‖‖P‖), (n_seeds, T), is lower at the end than at the start."""
    measured = clearly_above("", relative[:, 0], relative[:, -1])
    return Measurement(
        name=f"{name}: relative commutator",
        predicted="falls",
        measured=f"{said(relative[:, 0])} at the start, {said(relative[:, -1])} at the end",
        tolerance=float(measured.predicted),
        holds=measured.holds,
        note=f"no hypothesis of the theorem is met; {measured.note}",
        relation=measured.relation,
    )


def run(effort: Effort) -> Outcome:
    """Train within the theorem's hypotheses, then a linear and a nonlinear network on digits outside them."""
    drawn = random_state(N_INPUTS, FEATURES, scale_online=0.4, scale_predictor=0.3, seed=effort.seed)
    start = drawn._replace(predictor=(drawn.predictor + drawn.predictor.T) / 2)
    coarse, fine = (path(start, n_steps) for n_steps in STEPS)
    effort.report(1, 3)
    beyond = {"digits, linear network": large_start(effort.quick, effort.seed).run}
    effort.report(2, 3)
    beyond["digits, ReLU encoder"] = trained(network(effort), seeds_of(effort))
    measurements = theorem(coarse, fine)
    axes: dict[str, Any] = {"x_label": "time t", "y_label": "commutator", "log_y": True}
    curves = [
        Curve("symmetric predictor, isotropic views", "theorem", "theory", fine.t, fine.predicted, **axes),
        Curve("symmetric predictor, isotropic views", "bound", "theory", fine.t, fine.bound, **axes),
        Curve(
            "symmetric predictor, isotropic views", "training", "training", fine.t, fine.commutator, **axes
        ),
    ]
    for name, found in beyond.items():
        relative = found.metrics["relative_commutator"]
        measurements.append(falls(name, relative))
        mean, half_width = spread(relative)
        steps = found.steps.astype(float)
        curves.append(
            Curve(
                name, "training", "training", steps, mean, "gradient steps", "relative commutator", half_width
            )
        )
    failed = [m.name for m in measurements if not m.holds]
    reason = f"does not fall: {'; '.join(failed)}" if failed else ""
    return Outcome(tuple(measurements), tuple(curves), reason)


EXPERIMENTS = (
    Experiment(
        "C7",
        "Predictor and features align",
        "the commutator [F, P] obeys dL/dt = −(KL + LK) and falls below its bound; it falls on digits too, where the"
        " theorem is silent (R19)",
        run,
    ),
)
