"""The trajectory of a view: forwards as `dyn simulate` runs it, backwards along the flow, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.phase_planes.orbits import BEYOND, followed_back
from analysis.phase_planes.planes import Plane
from analysis.runs.simulation import ModeSimulation, simulate_modes
from dynamics.fields.vector_field import VectorField
from dynamics.states import ModeState
from dynamics.system import ModeSystem, natural_time
from figures.explorer.state import STEPS, View

_PATH_POINTS = 400


@dataclass(frozen=True, eq=False)
class Run:
    """A trajectory through a start, forwards and backwards.

    Parameters
    ----------
    simulation
        The run forwards, the same as that of `dyn simulate`.
    t, path
        Times and w1, w2, θ along it, shape (k,) and (k, 3).
    past
        w1, w2, θ before the start, latest first, shape (k, 3); empty where there is no past.
    """

    simulation: ModeSimulation
    t: np.ndarray
    path: np.ndarray
    past: np.ndarray

    @property
    def report(self) -> dict[str, Any]:
        """The mode's part of the report of `dyn simulate --json`."""
        return self.simulation.report()["modes"][0]

    def on(self, plane: Plane) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates on a plane of the future and the past, shape (k, 2)."""
        columns = [ModeState._fields.index(axis) for axis in plane.axes]
        return self.path[:, columns], self.past[:, columns]

    @property
    def invariant(self) -> np.ndarray:
        """Invariant c along the run, c = τo w1² − τp w2², shape (k,)."""
        to, tp = (
            float(np.squeeze(getattr(self.simulation.system, name)))
            for name in ("tau_online", "tau_predictor")
        )
        return to * self.path[:, 0] ** 2 - tp * self.path[:, 1] ** 2


def run_of(view: View) -> Run:
    """Run the trajectory of a view as `dyn simulate` does, and follow the flow back from its start."""
    system, field, start = view.system, view.field, view.start
    if view.step:
        from analysis.runs.stepped import Steps, step_modes

        steps = Steps(STEPS, view.step, view.step / view.tau_target)
        simulation: ModeSimulation = step_modes(start, system, steps, rtol=1e-8)
    else:
        simulation = simulate_modes(start, system, field)
    shown = simulation.trajectory.resampled(_PATH_POINTS)
    path = np.stack([part[:, 0] for part in shown.states], axis=-1)
    back = np.zeros((0, 3)) if view.step else past(start, system, field, BEYOND * view.extent)
    return Run(simulation, shown.ts, path, back)


def past(start: ModeState, system: ModeSystem, field: VectorField, reach: float) -> np.ndarray:
    """Follow the flow backwards from a start until a weight is beyond a reach.

    Parameters
    ----------
    start
        w1, w2 and θ, each of shape (1,).
    system, field
        One mode and the mode field of a variant.
    reach
        > 0.

    Returns
    -------
    array (k, 3)
        w1, w2, θ, the start first; only the start where that is beyond the reach or at rest.

    Examples
    --------
    >>> from dynamics.fields.modes import fixed_target_mode_field
    >>> system = ModeSystem(1.0, 0.5)
    >>> behind = past(system.state(0.4, 0.3, 0.0), system, fixed_target_mode_field, 2.0)
    >>> bool(np.max(np.abs(behind[-1])) > 1.99)
    True
    """

    def of(y: np.ndarray) -> ModeState:
        return field.constrain(0.0, ModeState(*(np.array([part]) for part in y)), system)

    def rate(y: np.ndarray) -> np.ndarray:
        return np.array([float(np.broadcast_to(part, (1,))[0]) for part in field(0.0, of(y), system)])

    points = followed_back(
        rate,
        np.array([float(part[0]) for part in start]),
        lambda y: reach - float(np.max(np.abs(np.ravel(of(y))))),
        natural_time(system),
    )
    return np.array([np.ravel(of(y)) for y in points]) if len(points) > 1 else points


def told(run: Run) -> str:
    """What became of a start, and what theory predicted, in a sentence each."""
    mode = run.report
    predicted = mode["predicted"]
    end = mode["final"]
    done = f"{mode['fate']}: w1 = {_short(end['online'])}, w2 = {_short(end['predictor'])}, θ = {_short(end['target'])}"
    if predicted["fate"] is None:
        theory = (
            f"no result predicts it ({predicted['reason']})"
            if predicted["reason"]
            else "no result predicts it"
        )
    else:
        verdict = {True: "the run agrees", False: "the run disagrees", None: "the run does not decide"}[
            mode["agrees"]
        ]
        theory = f"{predicted['fate']} by theory ({predicted['reason']}); {verdict}"
    return f"{done}. Predicted: {theory}."


def _short(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{0.0 if abs(value) < 1e-12 else value:.5g}".replace("-", "−")


def drift_told(run: Run) -> str:
    """What became of the invariant, in a sentence."""
    invariant = run.report["invariant"]
    if invariant["drift"] is None:
        return "This variant does not keep c = τo w1² − τp w2²."
    law = "c" if not run.simulation.system.weight_decay else "e^(−2ηt) c"
    begin, drift = _short(invariant["initial"]), invariant["drift"]
    return f"c = {begin} at the start; its largest departure from {law} is {drift:.1e}."
