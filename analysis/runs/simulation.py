"""One run and what theory says of it: the flow from a start, its fate, its invariant, and the predictions beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.fates.fate import Fate, Prediction
from analysis.fates.predictions import predict_fates
from analysis.runs.eigenspaces import EigenspaceFates, eigenspace_fates, resonance_error
from analysis.runs.normalised_features import NormalisedRun
from dynamics.fields.vector_field import VectorField
from dynamics.integration.modes import integrate_modes
from dynamics.integration.trajectory import Status, Trajectory
from dynamics.invariants import balance_drift, mode_invariant, rank_floor
from dynamics.modes import commutator, spectrum
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem
from dynamics.variants import VARIANTS, mode_variant

COLLAPSED = 1e-6
"""A direction at rest has collapsed when it is below this fraction of the largest encoder weight at the start."""


@dataclass(frozen=True, eq=False)
class ModeSimulation:
    """A run of decoupled modes with its prediction.

    Parameters
    ----------
    system, vector_field
        What was run.
    trajectory
        States of shape (T, n_modes).
    prediction
        `analysis.fates.predictions.predict_fates` at the start.
    fate
        What each mode did, shape (n_modes,): learned, collapsed or undecided. It is read from the run
        (`dynamics.integration.mode_ends.arrived`), whatever was predicted.
    invariant, drift
        c = τo w1² − τp w2² at the start, and the largest departure from e^{−2ηt} c along the run (R2), both of
        shape (n_modes,); NaN for variants that do not conserve it.
    """

    system: ModeSystem
    vector_field: VectorField
    trajectory: Trajectory[ModeState]
    prediction: Prediction
    fate: np.ndarray
    invariant: np.ndarray
    drift: np.ndarray

    @property
    def agrees(self) -> list[bool | None]:
        """Whether run and prediction agree, mode by mode; None where one of them does not decide."""
        decided = (self.fate != Fate.UNDECIDED) & (self.prediction.fate != "")
        return [
            bool(same) if known else None
            for known, same in zip(decided, self.fate == self.prediction.fate, strict=True)
        ]

    def report(self) -> dict[str, Any]:
        """Return the run as a dictionary of plain numbers and words, as `dyn simulate --json` prints it."""
        initial, final, predicted = self.trajectory.initial, self.trajectory.final, self.prediction
        modes = []
        for k in range(self.system.n_modes):
            decided = str(predicted.fate[k]) or None
            modes.append(
                {
                    "lambda_s": self.system.lambda_s[k],
                    "lambda_d": self.system.lambda_d[k],
                    "ratio": self.system.ratio[k],
                    "initial": _entry(initial, k),
                    "final": _entry(final, k),
                    "fate": str(self.fate[k]),
                    "agrees": self.agrees[k],
                    "predicted": {
                        "fate": decided,
                        "reason": str(predicted.reason[k]),
                        **_entry(predicted, k),
                    },
                    "invariant": {"initial": self.invariant[k], "drift": self.drift[k]},
                }
            )
        return plain({"modes": modes, "variant": self.vector_field.name, **cost_of(self.trajectory)})


@dataclass(frozen=True, eq=False)
class MatrixSimulation:
    """A run of the full network with what theory says of its end.

    Parameters
    ----------
    system, vector_field
        What was run.
    trajectory
        States of shape (T, n2, n1) and (T, n2, n2).
    ratios
        Eigenvalues r of M = Σd Σs⁻¹, descending, shape (n1,).
    zero
        Singular values of the final W below this count as zero: `COLLAPSED` times the largest weight at the start,
        or what a run at a loose tolerance leaves undone.
    rows
        Fate of every eigenspace of the final predictor (R10, R18).
    rank_floor
        Rank that W cannot fall below (R8); None for variants that do not conserve the balance.
    resonance_error
        Largest distance of a predictor eigenvalue on the column space of W from the spectrum of M (R18).
    drift
        Largest departure of τo W Wᵀ − τp Pᵀ P from e^{−2ηt} times its start (R2); NaN where it is not conserved.
    normalised
        Of a run with normalised features alone: then `zero`, `rows` and `resonance_error` are of these features, and
        `drift` of what it names.
    """

    system: MatrixSystem
    vector_field: VectorField
    trajectory: Trajectory[MatrixState]
    ratios: np.ndarray
    zero: float
    rows: EigenspaceFates
    rank_floor: int | None
    resonance_error: float
    drift: float
    normalised: NormalisedRun | None = None

    @property
    def rank(self) -> int:
        """Number of singular values of the final W, or of its normalised rows, above `zero`."""
        rows = self.trajectory.final.online if self.normalised is None else self.normalised.features
        return int(np.sum(np.linalg.svd(rows, compute_uv=False) > self.zero))

    @property
    def online_singular_values(self) -> np.ndarray:
        """Singular values of the final W, descending."""
        return np.linalg.svd(self.trajectory.final.online, compute_uv=False)

    def report(self) -> dict[str, Any]:
        """Return the run as a dictionary of plain numbers and words, as `dyn simulate --json` prints it."""
        W, P, _ = self.trajectory.final
        eigenvalues = np.linalg.eigvals(P)
        eigenvalues = eigenvalues[np.argsort(-eigenvalues.real, kind="stable")]
        rows = [
            {
                "predictor_eigenvalue": [row.real, row.imag],
                "amplitude": amplitude,
                "ratio": ratio,
                "mode": int(mode) if mode >= 0 else None,
                "fate": str(fate),
            }
            for row, amplitude, ratio, mode, fate in zip(*self.rows, strict=True)
        ]
        return plain(
            {
                "system": {"n1": W.shape[1], "n2": W.shape[0], "commutator": commutator(self.system)},
                "final": {
                    "rank": self.rank,
                    "online_singular_values": self.online_singular_values,
                    "predictor_eigenvalues": [[value.real, value.imag] for value in eigenvalues],
                    "rows": rows,
                },
                "theory": {
                    "ratios": self.ratios,
                    "rank_floor": self.rank_floor,
                    "resonance_error": self.resonance_error,
                },
                "invariant": {"drift": self.drift},
                "variant": self.vector_field.name,
                **({} if self.normalised is None else {"batch_norm": self.normalised.report()}),
                **cost_of(self.trajectory),
            }
        )


def _entry(state: Any, k: int) -> dict[str, float]:
    return {"online": state.online[k], "predictor": state.predictor[k], "target": state.target[k]}


def cost_of(trajectory: Trajectory) -> dict[str, Any]:
    """How a run ended and what it cost, as reports hold it."""
    return {
        "status": trajectory.status.value,
        "t": trajectory.t,
        "n_field_evaluations": trajectory.n_field_evaluations,
        "n_steps": trajectory.n_steps,
        "method": trajectory.method,
    }


def plain(value: Any) -> Any:
    """Turn NumPy values into what JSON can hold: numbers, lists, and None for what is not finite.

    >>> plain({"a": np.array([1.0, np.nan])})
    {'a': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def simulate_modes(
    state: ModeState,
    system: ModeSystem,
    vector_field: VectorField,
    t_end: float | None = None,
    **options: Any,
) -> ModeSimulation:
    """Run decoupled modes and compare with the prediction of R6, R15 and their like.

    Parameters
    ----------
    state, system, vector_field, t_end, **options
        As for `dynamics.integration.modes.integrate_modes`.

    Examples
    --------
    >>> from dynamics.fields.modes import full_mode_field
    >>> system = ModeSystem(lambda_s=1.0, lambda_d=0.5)
    >>> simulate_modes(system.state(0.1, -0.3, 0.1), system, full_mode_field).fate.tolist()
    ['collapsed']
    """
    trajectory, fate = integrate_modes(state, system, vector_field, t_end, **options)
    prediction = predict_fates(trajectory.initial, system, vector_field.name, decide_sign=True)
    invariant, drift = invariant_and_drift(trajectory, system, vector_field)
    return ModeSimulation(system, vector_field, trajectory, prediction, fate, invariant, drift)


def invariant_and_drift(
    trajectory: Trajectory[ModeState], system: ModeSystem, vector_field: VectorField
) -> tuple[np.ndarray, np.ndarray]:
    """Invariant c of each mode at the start, and its largest departure from e^{−2ηt} c; NaN where it is none (R2)."""
    if mode_variant(vector_field).mode_balanced:
        drift: np.ndarray = balance_drift(trajectory.ts, trajectory.states, system)
        return mode_invariant(trajectory.initial, system), drift
    missing = np.full(system.n_modes, np.nan)
    return missing, missing


def simulate_matrices(
    state: MatrixState,
    system: MatrixSystem,
    vector_field: VectorField,
    t_end: float | None = None,
    **options: Any,
) -> MatrixSimulation:
    """Run the full network and compare its end with R2, R8, R10 and R18.

    Parameters
    ----------
    state, system, vector_field, t_end, **options
        As for `dynamics.integration.integrate.integrate`.

    Examples
    --------
    >>> from dynamics.fields.matrices import full_field
    >>> from dynamics.states import random_state
    >>> system = MatrixSystem(np.eye(3), np.diag([0.9, 0.5, 0.2]))
    >>> start = random_state(3, 1, scale_online=0.3, scale_predictor=0.1, seed=1)
    >>> simulate_matrices(start, system, full_field).resonance_error < 1e-6
    True
    """
    from dynamics.integration.integrate import (
        integrate,  # SciPy's integrators, which a run of modes does without
    )

    trajectory = integrate(state, system, vector_field, t_end, **options)
    return matrix_simulation(trajectory, system, vector_field)


def matrix_simulation(
    trajectory: Trajectory[MatrixState], system: MatrixSystem, vector_field: VectorField
) -> MatrixSimulation:
    """Compare a run of the full network with theory, as `simulate_matrices` does."""
    row = VARIANTS.get(vector_field.name)
    balanced = row is not None and row.matrix_balanced
    start = trajectory.initial
    steady = trajectory.status is Status.STEADY
    # of the encoder alone: neither a large target nor a large predictor makes small features collapsed ones
    size = float(np.max(np.abs(start.online))) or float(np.max(np.abs(start.target)))
    # at a loose tolerance a run comes to rest farther from zero than that; a row has n1 entries, each as far
    left = 2 * np.sqrt(system.n1) * trajectory.distance
    scale = max(COLLAPSED * size, left) if steady else COLLAPSED * size
    rows = eigenspace_fates(trajectory.final, system, tolerance=scale, at_rest=steady)
    if not steady:  # what is small may be on its way up
        fate = np.where(rows.fate == Fate.COLLAPSED, str(Fate.UNDECIDED), rows.fate)
        rows = rows._replace(fate=fate)
    return MatrixSimulation(
        system=system,
        vector_field=vector_field,
        trajectory=trajectory,
        ratios=spectrum(system),
        zero=scale,
        rows=rows,
        rank_floor=rank_floor(start, system) if balanced else None,
        resonance_error=resonance_error(trajectory.final, system, tolerance=scale),
        drift=balance_drift(trajectory.ts, trajectory.states, system) if balanced else np.nan,
    )
