"""One run of a deep linear encoder, mode by mode, and what theory says of its end (R320, R322)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.depth.decay import balanced_speed, decay_threshold
from analysis.depth.fates import DeepFate
from analysis.depth.predictions import predict_deep_fates
from analysis.fates.fate import Fate
from analysis.runs.simulation import COLLAPSED, cost_of, plain
from dynamics.fields.deep import DeepState, DeepSystem, deep_field, layer_invariants
from dynamics.fields.vector_field import VectorField
from dynamics.integration.trajectory import Status, Trajectory


@dataclass(frozen=True, eq=False)
class DeepSimulation:
    """A run of the modes of a deep encoder with its prediction.

    Parameters
    ----------
    system, vector_field
        What was run.
    trajectory
        Layers and targets of shape (T, L, n_modes), the predictor (T, n_modes).
    predicted
        `analysis.depth.predictions.predict_deep_fates` at the start.
    fate
        What each mode did, shape (n_modes,), whatever was predicted: at rest, a mode has collapsed where a layer is
        zero, and is learned elsewhere. Modes of a run that is not at rest are undecided.
    invariant, drift
        c_l = τ_l w_l² − τp v² at the start, and the largest departure from e^{−2ηt} c_l, shape (L, n_modes).
    threshold
        Weight decay above which each mode is lost (R322), shape (n_modes,).
    """

    system: DeepSystem
    vector_field: VectorField
    trajectory: Trajectory[DeepState]
    predicted: DeepFate
    fate: np.ndarray
    invariant: np.ndarray
    drift: np.ndarray
    threshold: np.ndarray

    @property
    def agrees(self) -> list[bool | None]:
        """Whether run and prediction agree, mode by mode; None where one of them does not decide."""
        return [
            None if fate == Fate.UNDECIDED or said == "" else bool(fate == said)
            for fate, said in zip(self.fate, self.predicted.fate, strict=True)
        ]

    def report(self) -> dict[str, Any]:
        """Return the run as a dictionary of plain numbers and words, as `dyn simulate --json` prints it."""
        initial, final, said = self.trajectory.initial, self.trajectory.final, self.predicted
        # layers whose targets begin with the same sign keep it (`analysis.depth.fates`); other signs are not known
        signs = np.where(initial.layers * initial.targets > 0, np.sign(initial.layers), np.nan)
        ends = np.where(said.layers == 0, 0.0, signs * said.layers)
        modes = [
            {
                "lambda_s": self.system.lambda_s[k],
                "lambda_d": self.system.lambda_d[k],
                "ratio": self.system.ratio[k],
                "initial": _entry(initial, k),
                "final": _entry(final, k),
                "fate": str(self.fate[k]),
                "agrees": self.agrees[k],
                "predicted": {
                    "fate": str(said.fate[k]) or None,
                    "reason": _reason(said, self.system, k),
                    "online": np.prod(ends[:, k]) + 0.0,  # no −0
                    "predictor": said.predictor[k],
                    "target": np.prod(ends[:, k]) + 0.0,  # no −0
                    "layers": ends[:, k],
                    "proved": bool(said.proved[k]) or self.vector_field.name == "no-ema",
                },
                "invariant": {
                    "initial": np.min(self.invariant[:, k]),
                    "drift": np.max(self.drift[:, k]),
                    "layers": self.invariant[:, k],
                },
                "decay_threshold": self.threshold[k],
            }
            for k in range(self.system.n_modes)
        ]
        return plain(
            {
                "modes": modes,
                "depth": self.system.depth,
                "variant": self.vector_field.name,
                **cost_of(self.trajectory),
            }
        )


def _entry(state: DeepState, k: int) -> dict[str, Any]:
    w, v, th = state
    return {
        "online": np.prod(w[:, k]),
        "predictor": v[k],
        "target": np.prod(th[:, k]),
        "layers": w[:, k],
        "targets": th[:, k],
    }


def _reason(said: DeepFate, system: DeepSystem, k: int) -> str | None:
    if not said.fate[k]:
        return None
    return "R322" if np.any(np.asarray(system.weight_decay) > 0) else "R320"


def simulate_deep(
    state: DeepState,
    system: DeepSystem,
    vector_field: VectorField = deep_field,
    t_end: float | None = None,
    **options: Any,
) -> DeepSimulation:
    """Run the modes of a deep encoder, and compare them with R320.

    Parameters
    ----------
    state, system, vector_field, t_end, **options
        As for `dynamics.integration.integrate.integrate`; the field one of `DEEP_FIELDS`.

    Returns
    -------
    DeepSimulation
        A run that fails has its status, and undecided modes.

    Raises
    ------
    ValueError
        An argument is out of range.

    Examples
    --------
    >>> system = DeepSystem(1.0, 0.5, depth=2)
    >>> found = simulate_deep(system.deep_state([0.3, 0.5], 0.4), system)
    >>> found.fate.tolist(), found.trajectory.final.layers.ravel().round(5).tolist()
    (['learned'], [0.42426, 0.5831])
    """
    from dynamics.integration.integrate import integrate  # SciPy's integrators take their time to import

    trajectory = integrate(state, system, vector_field, t_end, **options)
    start, end = trajectory.initial, trajectory.final
    kept = layer_invariants(trajectory.states, system)
    eta = np.asarray(system.weight_decay)
    decay = np.exp(-2 * eta * (trajectory.ts - trajectory.ts[0]))
    speed = balanced_speed(system.layer_times, float(np.max(system.tau_predictor)))
    return DeepSimulation(
        system=system,
        vector_field=vector_field,
        trajectory=trajectory,
        predicted=predict_deep_fates(start, system, vector_field),
        fate=_fates(trajectory, start, end),
        invariant=kept[0],
        drift=np.max(np.abs(kept - decay[:, None, None] * kept[0]), axis=0),
        threshold=np.broadcast_to(
            decay_threshold(system.depth, system.lambda_s, system.lambda_d, speed), (system.n_modes,)
        ),
    )


def _fates(trajectory: Trajectory[DeepState], start: DeepState, end: DeepState) -> np.ndarray:
    if trajectory.status is not Status.STEADY:
        return np.full(start.predictor.shape, str(Fate.UNDECIDED))
    size = np.max(np.abs(start.layers), axis=0)
    zero = np.maximum(COLLAPSED * size, 2 * trajectory.distance)
    smallest = np.min(np.maximum(np.abs(end.layers), np.abs(end.targets)), axis=0)
    return np.where(smallest <= zero, str(Fate.COLLAPSED), str(Fate.LEARNED))
