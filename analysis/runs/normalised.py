"""One run with normalised features, and what theory says of its end (R216, R218–R221)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from analysis.fates.fate import Fate
from analysis.normalisation.mean import mean_runaway_rate
from analysis.runs.eigenspaces import eigenspace_fates, resonance_error
from analysis.runs.normalised_features import NormalisedRun
from analysis.runs.simulation import COLLAPSED, MatrixSimulation
from dynamics.exact.detached_deviation import detached_end
from dynamics.fields.batch_normalised import batch_normalised_field, deviations
from dynamics.fields.matrices import full_field, no_ema_field
from dynamics.fields.vector_field import VectorField
from dynamics.integration.trajectory import Status, Trajectory
from dynamics.invariants import diagonal_balance, squared_row_norms
from dynamics.modes import spectrum
from dynamics.normalisation import Normaliser, centred, checked_mean
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem, ModeSystem

DEAD = 1e-4
"""A row dies that is shorter than this part of its start when its flow cannot be followed any further."""
GROWN = 1e3
"""A runaway has grown this much."""
STRAIGHT = 1e-3
"""A runaway keeps its direction when less than this part of the velocity is across it."""


def simulate_normalised(
    state: MatrixState,
    system: MatrixSystem,
    normaliser: Normaliser,
    mean: Any = None,
    t_end: float | None = None,
    *,
    base: VectorField = full_field,
    target_centred: bool = False,
    **options: Any,
) -> MatrixSimulation:
    """Run the network with normalised features.

    Parameters
    ----------
    state, t_end, **options
        As for `dynamics.integration.integrate.integrate`.
    system
        Moments that are not centred, and rates.
    normaliser, mean, base, target_centred
        As for `dynamics.fields.batch_normalised.batch_normalised_field`.

    Returns
    -------
    MatrixSimulation
        `normalised` holds the rest. Status death where a row reached zero in finite time, which is its `t`; unbounded
        where the encoder grows for ever in a direction that it keeps.

    Notes
    -----
    Ratios, fates and the resonance are those of normalised rows, for which P Ŵ = Ŵ M at rest. Source: R216, R218, R221.

    Examples
    --------
    >>> system = MatrixSystem([1.0], [0.5])
    >>> found = simulate_normalised(system.state([[0.1]], [[0.6]]), system, Normaliser(std="detached"))
    >>> found.trajectory.status.value, round(found.trajectory.t, 5), found.rank
    ('death', 0.08765, 0)
    """
    from dynamics.integration.integrate import integrate  # SciPy's integrators take their time to import

    mu = checked_mean(mean, system.n1)
    field = batch_normalised_field(normaliser, mu, base=base, target_centred=target_centred)
    start = system.state(*state)
    field = replace(field, clock=_clock_of(start, normaliser))
    if normaliser.mean == "forward" and t_end is None and "ts" not in options:
        run = _followed_while_it_grows(start, system, field, mu, options)
    else:
        run = integrate(start, system, field, t_end, **options)
    trajectory, dead = _ended(run, system, field, normaliser)
    initial, final = trajectory.initial, trajectory.final
    norms = np.stack([squared_row_norms(initial), squared_row_norms(final)])
    S, D = centred(system.sigma_s, mu), centred(system.sigma_d, mu)
    seen = replace(system, sigma_s=S, sigma_d=D) if normaliser.subtracts else system
    divides = normaliser.std != "none"
    W, P, Th = final
    if divides:
        W, Th = (rows / deviations(rows, S, normaliser.epsilon) for rows in (W, Th))
    features = MatrixState(W if dead is None else np.where(np.arange(len(W))[:, None] == dead, 0.0, W), P, Th)
    size = float(np.max(np.abs(features.online if divides else initial.online))) or 1.0
    steady = trajectory.status is Status.STEADY
    zero = max(COLLAPSED * size, 2 * trajectory.distance) if steady and not divides else COLLAPSED * size
    rows = eigenspace_fates(features, seen, tolerance=zero, at_rest=steady)
    if not steady and features.online.any():  # what is small may be on its way up
        rows = rows._replace(fate=np.where(rows.fate == Fate.COLLAPSED, str(Fate.UNDECIDED), rows.fate))
    conserved, drift = _drift(trajectory, system, normaliser, base, target_centred)
    return MatrixSimulation(
        system=seen,
        vector_field=field,
        trajectory=trajectory,
        ratios=spectrum(seen),
        zero=zero,
        rows=rows,
        rank_floor=None,
        resonance_error=resonance_error(features, seen, tolerance=zero),
        drift=drift,
        normalised=NormalisedRun(
            normaliser,
            mu,
            features.online,
            norms,
            dead,
            _predicted_death(initial, system, normaliser, mu, base),
            _runaway(S, D, mu, system, normaliser, base, target_centred),
            conserved,
        ),
    )


def _clock_of(start: MatrixState, normaliser: Normaliser) -> Any:
    """Normalised features do not see the size of moments, but that of the rows: they turn in ‖w_i‖² τo."""
    if normaliser.std == "none":
        return VectorField("", lambda t, state, system: state).clock
    norms = squared_row_norms(start)

    def clock(system: MatrixSystem) -> tuple[float, float]:
        sigma = system.sigma_s
        values = np.abs(sigma if sigma.ndim == 1 else np.linalg.eigvalsh(sigma))
        spread = float(np.max(values) / np.min(values)) if np.min(values) > 0 else 1.0
        tp, to, tt = system.tau_predictor, system.tau_online, system.tau_target
        fast, slow = (max(tp, to * size) + tt for size in (np.min(norms), np.max(norms) * spread))
        return float(fast), float(slow)

    return clock


def _ended(
    run: Trajectory[MatrixState], system: MatrixSystem, field: VectorField, normaliser: Normaliser
) -> tuple[Trajectory[MatrixState], int | None]:
    """Tell death from a failure of the integrator, which it looks like."""
    if not run.status.failed or not all(np.all(np.isfinite(part)) for part in run.final):
        return run, None
    W = run.final.online
    moved = field(run.t, run.final, system).online
    if normaliser.std == "detached":
        size, slope = np.sum(W**2, axis=1), 2 * np.sum(W * moved, axis=1)  # ‖w‖² falls like a line
        shrunk = (size <= DEAD**2 * np.sum(run.initial.online**2, axis=1)) & (slope < 0)
        if np.any(shrunk):
            left = np.where(shrunk, size / np.where(shrunk, -slope, 1.0), np.inf)
            ts = np.append(run.ts[:-1], run.t + float(np.min(left)))
            return replace(run, ts=ts, status=Status.DEATH), int(np.argmin(left))
    return run, None


def _followed_while_it_grows(
    start: MatrixState, system: MatrixSystem, field: VectorField, mu: np.ndarray, options: dict[str, Any]
) -> Trajectory[MatrixState]:
    """Follow a flow that may run away until it rests, or has grown `GROWN`-fold and keeps its direction.

    Further out the flow is ever stiffer, and rounding of squares hides it. Each try takes half as long again.
    """
    from dynamics.integration.integrate import HORIZON, integrate

    S, D = (np.atleast_1d(centred(sigma, mu)) for sigma in (system.sigma_s, system.sigma_d))
    least, most = (
        float(function(sigma if sigma.ndim == 1 else np.linalg.eigvalsh(sigma)))
        for function, sigma in ((np.min, S), (np.max, D))
    )
    fastest, _ = field.clock(system)
    push = (
        most * float(mu @ mu) / (least * float(system.tau_online)) if least > 0 else 0.0
    )  # g is no larger (R216)
    t = min(2 / push, HORIZON * fastest) if push > 0 else HORIZON * fastest
    while True:
        run = integrate(start, system, field, t, **options)
        if run.status is not Status.END_TIME:
            return run
        W, first = run.final.online, np.max(np.abs(run.initial.online))
        moved = field(run.t, run.final, system).online
        along = np.sum(W * moved) / np.sum(W**2)
        straight = np.linalg.norm(moved - along * W) <= STRAIGHT * np.linalg.norm(moved)
        if along > 0 and straight and np.max(np.abs(W)) > GROWN * first:
            return replace(run, status=Status.UNBOUNDED)
        if t >= HORIZON * fastest:
            return replace(run, status=Status.SLOW)
        t = min(1.5 * t, HORIZON * fastest)


def _drift(
    trajectory: Trajectory[MatrixState],
    system: MatrixSystem,
    normaliser: Normaliser,
    base: VectorField,
    target_centred: bool,
) -> tuple[str | None, float]:
    """What is conserved, and the largest departure from it: that of R218, or that of R221."""
    same = normaliser.mean in ("none", "full") or (normaliser.mean == "forward" and target_centred)
    laws = {"full": ("row-norms", squared_row_norms), "detached": ("diagonal-balance", _balance_of(system))}
    if not same or normaliser.std not in laws or normaliser.epsilon:
        return None, np.nan
    name, law = laws[normaliser.std]
    if normaliser.std == "detached" and base not in (full_field, no_ema_field):  # the predictor does not move
        return None, np.nan
    kept = law(trajectory.states)
    decay = np.exp(-2 * system.weight_decay * (trajectory.ts - trajectory.ts[0]))
    return name, float(np.max(np.abs(kept - decay[:, None] * kept[0])))


def _balance_of(system: MatrixSystem) -> Any:
    return lambda states: diagonal_balance(states, system)


def _diagonal(sigma: np.ndarray) -> np.ndarray | None:
    """Diagonal of moments that are diagonal; else None."""
    if sigma.ndim == 1:
        return sigma
    diagonal = sigma.diagonal()
    return None if np.any(np.diag(diagonal) != sigma) else diagonal


def _decoupled(state: MatrixState) -> np.ndarray | None:
    """Axes of the rows where each is along one of its own, with a diagonal predictor; else None."""
    W, P, Th = state
    if np.any(np.diag(P.diagonal()) != P) or np.any(np.count_nonzero(W, axis=1) != 1):
        return None
    modes = np.argmax(W != 0, axis=1)
    if len(set(modes.tolist())) < len(modes) or np.any(Th[W == 0]):
        return None
    return np.asarray(modes)


def _predicted_death(
    start: MatrixState, system: MatrixSystem, normaliser: Normaliser, mu: np.ndarray, base: VectorField
) -> float | None:
    """Time of the first death by R221, where it applies."""
    if normaliser.std != "detached" or normaliser.epsilon or system.weight_decay or mu.any():
        return None
    modes, s, d = _decoupled(start), _diagonal(system.sigma_s), _diagonal(system.sigma_d)
    if modes is None or s is None or d is None or base is not full_field:
        return None
    rows = np.arange(len(modes))
    w, theta = start.online[rows, modes], start.target[rows, modes]
    if np.any(np.sign(w) != np.sign(theta)):
        return None
    rates = {name: getattr(system, name) for name in ("tau_online", "tau_predictor", "tau_target")}
    one = ModeSystem(s[modes], d[modes], **rates)
    return float(np.min(detached_end(one.state(w, start.predictor.diagonal(), theta), one).time))


def _runaway(
    S: np.ndarray,
    D: np.ndarray,
    mu: np.ndarray,
    system: MatrixSystem,
    normaliser: Normaliser,
    base: VectorField,
    target_centred: bool,
) -> float | None:
    """Rate of R216 where one mode has a mean that gradients do not see."""
    if normaliser.mean != "forward" or normaliser.std != "none" or target_centred or base is not full_field:
        return None
    if np.count_nonzero(mu) != 1 or system.weight_decay:
        return None
    k, s, d = int(np.argmax(mu != 0)), _diagonal(S), _diagonal(D)
    if s is None or d is None:
        return None
    rates = {"tau_online": float(system.tau_online), "tau_target": float(system.tau_target)}
    return mean_runaway_rate(float(s[k]), float(d[k]), float(mu[k] ** 2), **rates)
