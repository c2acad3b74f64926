"""A run whose predictor is drawn anew every now and then, and what theory says of every stretch of it (R225, R227)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.runs.simulation import (
    MatrixSimulation,
    ModeSimulation,
    plain,
    simulate_matrices,
    simulate_modes,
)
from dynamics.exact.restarts import RestartLaw
from dynamics.fields.vector_field import VectorField
from dynamics.integration.trajectory import Status, Trajectory
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem

MOST_RESTARTS = 10_000
"""Most restarts of one run."""


@dataclass(frozen=True)
class Restarts:
    """When the predictor is drawn anew, and from what law.

    Parameters
    ----------
    every
        Time from one restart to the next, > 0.
    law
        Law of every weight of a fresh predictor.

    Raises
    ------
    ValueError
        The time is not positive.

    Examples
    --------
    >>> Restarts(10.0, RestartLaw(0.1)).times(35.0).tolist()
    [10.0, 20.0, 30.0]
    """

    every: float
    law: RestartLaw

    def __post_init__(self) -> None:
        if not 0 < self.every < np.inf:
            raise ValueError(f"`restart_every` must be finite and > 0, got {self.every}")

    def times(self, t_end: float) -> np.ndarray:
        """Times of the restarts before the end of a run.

        Raises
        ------
        ValueError
            There are more than `MOST_RESTARTS`.
        """
        count = np.ceil(t_end / self.every) - 1
        if count > MOST_RESTARTS:
            raise ValueError(
                f"`restart_every` must be at least {t_end / MOST_RESTARTS:g} for {MOST_RESTARTS} restarts at most, got"
                f" {self.every:g}"
            )
        return self.every * np.arange(1, int(count) + 1)


@dataclass(frozen=True, eq=False)
class RestartedSimulation:
    """A run with restarts of its predictor.

    Parameters
    ----------
    restarts
        As asked for.
    stretches
        The runs between restarts, of modes or of matrices: each but the first starts with a fresh predictor, and has a
        prediction of its own.
    """

    restarts: Restarts
    stretches: tuple[Any, ...]

    @property
    def trajectory(self) -> Trajectory[Any]:
        """The whole run; the time of a restart is there twice, before and after it."""
        return self.whole.trajectory

    @property
    def whole(self) -> Any:
        """The last stretch, with what theory says of it, and the trajectory of all."""
        runs = [part.trajectory for part in self.stretches]
        starts = np.concatenate([[0.0], np.cumsum([run.t for run in runs])])
        last = runs[-1]
        joined = replace(
            last,
            ts=np.concatenate([start + run.ts for start, run in zip(starts, runs, strict=False)]),
            states=last.states._make(
                np.concatenate(parts) for parts in zip(*(run.states for run in runs), strict=True)
            ),
            method="+".join(dict.fromkeys(run.method for run in runs)),
            n_field_evaluations=sum(run.n_field_evaluations for run in runs),
            n_steps=sum(run.n_steps for run in runs),
            n_rejected=sum(run.n_rejected for run in runs),
            _dense=None,
        )
        drift = np.max([part.drift for part in self.stretches], axis=0)
        return replace(self.stretches[-1], trajectory=joined, drift=drift)

    def report(self) -> dict[str, Any]:
        """Return the run as a dictionary: that of its last stretch, from the first start, and every restart."""
        law = self.restarts.law
        report = self.whole.report()
        entries = []
        t = 0.0
        for before, after in zip(self.stretches[:-1], self.stretches[1:], strict=True):
            t += before.trajectory.t
            entries.append({"t": t, **(_modes if isinstance(after, ModeSimulation) else _matrices)(after)})
        report["restarts"] = {
            "every": self.restarts.every,
            "scale": law.scale,
            "law": law.kind,
            "n": len(entries),
            "events": entries,
        }
        found: dict[str, Any] = plain(report)
        return found


def _modes(stretch: ModeSimulation) -> dict[str, Any]:
    start, end, predicted = stretch.trajectory.initial, stretch.trajectory.final, stretch.prediction
    return {
        "modes": [
            {
                "predictor": start.predictor[k],
                "fate": str(stretch.fate[k]),
                "online": end.online[k],
                "agrees": stretch.agrees[k],
                "predicted": {"fate": str(predicted.fate[k]) or None, "amplitude": predicted.amplitude[k]},
            }
            for k in range(stretch.system.n_modes)
        ]
    }


def _matrices(stretch: MatrixSimulation) -> dict[str, Any]:
    start, end, system = stretch.trajectory.initial, stretch.trajectory.final, stretch.system
    return {
        "rank": stretch.rank,
        "rank_floor": stretch.rank_floor,
        "predictor_norm": float(np.linalg.norm(start.predictor)),
        "online_trace": [float(system.tau_online * np.sum(state.online**2)) for state in (start, end)],
    }


def _restarted(
    state: Any,
    system: Any,
    vector_field: VectorField,
    restarts: Restarts,
    t_end: float,
    seed: int,
    run: Callable[..., Any],
    options: dict[str, Any],
) -> RestartedSimulation:
    if t_end is None or not (np.isfinite(t_end) and t_end > 0):
        raise ValueError(
            f"`t_end` must be given, finite and > 0, where the predictor is restarted, got {t_end}"
        )
    times = restarts.times(t_end)
    rng = np.random.default_rng(seed)
    report = options.pop("progress", None)
    ends = [*times.tolist(), t_end]
    begun, found = 0.0, []
    for k, end in enumerate(ends):
        stretch = run(state, system, vector_field, end - begun, **options)
        found.append(stretch)
        if report is not None:
            report(k + 1, len(ends))
        begun = end
        if stretch.trajectory.status.failed or stretch.trajectory.status is Status.BLOW_UP:
            break
        final = stretch.trajectory.final
        fresh = final._replace(predictor=restarts.law.draw(rng, final.predictor.shape))
        state = vector_field.constrain(0.0, fresh, system)
    return RestartedSimulation(restarts, tuple(found))


def _with_free_predictor(vector_field: VectorField, state: Any, system: Any) -> None:
    """Refuse variants that set the predictor by the encoder, or hold it still: there is nothing to draw."""
    start = system.state(*state)
    other = start._replace(
        predictor=start.predictor + np.eye(len(start.predictor))
        if start.predictor.ndim == 2
        else start.predictor + 1.0
    )
    kept = vector_field.constrain(0.0, other, system).predictor
    if np.array_equal(kept, vector_field.constrain(0.0, start, system).predictor) or not np.any(
        vector_field(0.0, other, system).predictor
    ):
        raise ValueError(
            f"`variant` must have a predictor of its own that learns, to be restarted, got {vector_field.name}"
        )


def restarted_modes(
    state: ModeState,
    system: ModeSystem,
    vector_field: VectorField,
    restarts: Restarts,
    t_end: float,
    seed: int = 0,
    **options: Any,
) -> RestartedSimulation:
    """Run decoupled modes, and draw w2 anew every now and then.

    Parameters
    ----------
    state, system, vector_field, **options
        As for `analysis.runs.simulation.simulate_modes`.
    restarts, t_end, seed
        When and from what law, the end of the whole run > 0, and the seed of the draws.

    Raises
    ------
    ValueError
        An argument is out of range, or the variant has no predictor that is free to be drawn.

    Notes
    -----
    At rest a restart acts on x = τo w1²/τp as `dynamics.exact.restarts.restart_map` says; in any case every stretch
    stays on its own leaf. Source: R225.

    Examples
    --------
    >>> from dynamics.fields.modes import full_mode_field
    >>> system = ModeSystem(lambda_s=1.0, lambda_d=0.5)
    >>> found = restarted_modes(
    ...     system.state(0.3, 0.5, 0.3), system, full_mode_field, Restarts(200.0, RestartLaw(0.1)), 600.0
    ... )
    >>> [stretch.fate.tolist() for stretch in found.stretches]
    [['learned'], ['learned'], ['learned']]
    """
    _with_free_predictor(vector_field, state, system)
    return _restarted(state, system, vector_field, restarts, t_end, seed, simulate_modes, options)


def restarted_matrices(
    state: MatrixState,
    system: MatrixSystem,
    vector_field: VectorField,
    restarts: Restarts,
    t_end: float,
    seed: int = 0,
    **options: Any,
) -> RestartedSimulation:
    """Run the full network, and draw P anew every now and then.

    Parameters
    ----------
    state, system, vector_field, **options
        As for `analysis.runs.simulation.simulate_matrices`.
    restarts, t_end, seed
        As for `restarted_modes`.

    Raises
    ------
    ValueError
        As `restarted_modes` does.

    Notes
    -----
    After a restart as many directions are safe as τo W Wᵀ − τp Pᵀ P has positive eigenvalues (R8); all of W's are where
    τo λmin(W Wᵀ) > τp ‖P‖². From rest to rest τo tr W Wᵀ gains τp (‖P∞‖² − ‖P‖²). Source: R227.

    Examples
    --------
    >>> from dynamics.fields.matrices import full_field
    >>> from dynamics.states import random_state
    >>> system = MatrixSystem(np.ones(3), np.array([0.9, 0.5, 0.2]))
    >>> start = random_state(3, 2, scale_online=0.5, scale_predictor=0.1, seed=1)
    >>> found = restarted_matrices(start, system, full_field, Restarts(30.0, RestartLaw(0.05, "positive")), 90.0)
    >>> len(found.stretches), found.whole.rank
    (3, 2)
    """
    _with_free_predictor(vector_field, state, system)
    return _restarted(state, system, vector_field, restarts, t_end, seed, simulate_matrices, options)
