"""What gradient descent learns that the flow does not: the discrete fate of one mode and its boundary (R302)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from analysis.fates.fate import Fate
from analysis.fates.predictions import predict_fates
from analysis.steps.critical_steps import pair_critical_steps
from dynamics.exact.fixed_points import refuse_weight_decay
from dynamics.integration.discrete import EmaOrder
from dynamics.integration.discrete_ensemble import SteppedEnsemble, iterate_ensemble
from dynamics.invariants import mode_invariant
from dynamics.states import ModeState
from dynamics.system import ModeSystem, natural_time

SETTLED = 2000.0
"""Natural times of a run that decides a fate. At the boundary w1² falls like 1/t, and what is then left of the change
of c is of the order ε w1⁴, so that the boundary in c is known to ε/SETTLED²."""
MOST_STEPS = 20_000_000
"""Steps of such a run at most: at a smaller step size, a start in the strip is undecided."""


class DiscreteFate(NamedTuple):
    """Fates of runs of gradient descent; arrays with one entry per run.

    Parameters
    ----------
    fate
        learned, collapsed or undecided: a step had |κ| >= 1, the run diverged, its end is not stable at this step
        (R303), or `MOST_STEPS` were too few.
    flow
        What R6 says of the flow from the same start.
    invariant
        c after the run.
    amplitude
        |w1| that R6 gives for it, √((c + τp r²)/τo); 0 where collapsed.
    largest_kappa
        Largest |κ| of any step. Nothing is promised from 1 on.
    """

    fate: np.ndarray
    flow: np.ndarray
    invariant: np.ndarray
    amplitude: np.ndarray
    largest_kappa: np.ndarray


class Boundary(NamedTuple):
    """Start of the predictor at which a mode begins to be learned.

    Parameters
    ----------
    flow, steps
        w2(0) on the boundary of the flow, and of gradient descent.
    half_width
        Of the last interval of the bisection.
    kept
        Π (1 − κ²) along the run next to the boundary, c∞/c0.
    largest_kappa
        Largest |κ| along that run.
    """

    flow: float
    steps: float
    half_width: float
    kept: float
    largest_kappa: float


def _run(
    start: ModeState, system: ModeSystem, step: float, ema_rate: float, order: EmaOrder
) -> SteppedEnsemble:
    n_steps = min(np.ceil(SETTLED * natural_time(system) / step), MOST_STEPS)
    return iterate_ensemble(start, system, step, ema_rate, int(n_steps), order)


def discrete_fate(
    start: ModeState,
    system: ModeSystem,
    step: float,
    ema_rate: float,
    order: EmaOrder = EmaOrder.PRACTICAL,
) -> DiscreteFate:
    """Fate of each mode under gradient descent, by R6 with the invariant that steps leave.

    |c| never grows while |κ| < 1, and a and b keep their signs. So a mode is learned once c > 0 with w1 ≠ 0, or
    c > −τp r² with w2 > 0 at the start, and stays so; it collapses where c never gets there.

    Parameters
    ----------
    start
        w1, w2 and θ, shape (N,).
    system
        N modes, λs > 0, λd >= 0, η = 0.
    step, ema_rate, order
        As for `dynamics.integration.discrete.gradient_step`.

    Returns
    -------
    DiscreteFate
        With the same formulas as R6, and c∞ for c.

    Raises
    ------
    ValueError
        η ≠ 0, or a number is out of range.

    Notes
    -----
    Source: R302. Signs and monotonicity are proved; that runs below the critical step converge is only observed.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> found = discrete_fate(system.state(1.0, 1.12, 0.0), system, 0.2, 0.2)
    >>> found.fate.item(), found.flow.item()
    ('learned', 'collapsed')
    """
    refuse_weight_decay(system)
    if np.any(system.lambda_s <= 0) or np.any(system.lambda_d < 0):
        raise ValueError("`lambda_s` must be > 0 and `lambda_d` >= 0 for the fates of gradient descent")
    run = _run(start, system, step, ema_rate, order)
    c = mode_invariant(run.final, system)
    edge = -system.tau_predictor * system.ratio**2
    # signs of a and b are kept, so that w2 > 0 ends positive unless c > 0, where R6 does not ask for its sign
    above = np.asarray(start.predictor) > 0
    learned = c > np.where(above, edge, 0.0)
    promised = ~run.diverged & (run.largest_kappa < 1)
    ratio = np.broadcast_to(system.ratio, c.shape)
    settled = np.sqrt(np.maximum(c - edge, 0.0) / system.tau_online)
    rest = np.where(learned, ratio, run.final.predictor)
    ends = pair_critical_steps(rest, np.where(learned, settled, 0.0), system, ema_rate, order)
    promised &= step < np.minimum(ends.flip, ends.neimark_sacker)
    cut_short = SETTLED * natural_time(system) / step > MOST_STEPS
    promised &= ~(cut_short & above & ~learned)
    fate = np.where(promised, np.where(learned, Fate.LEARNED, Fate.COLLAPSED), Fate.UNDECIDED).astype("<U9")
    flow = predict_fates(start, system, "full").fate
    amplitude = np.where(promised, np.where(learned, settled, 0.0), np.nan)
    return DiscreteFate(fate, flow, c, amplitude, run.largest_kappa)


def boundary_shift(
    online: float,
    target: float,
    system: ModeSystem,
    step: float,
    ema_rate: float,
    order: EmaOrder = EmaOrder.PRACTICAL,
    *,
    tolerance: float = 1e-7,
) -> Boundary:
    """Predictor at which learning gives way to collapse, for the flow (R6) and for gradient descent (R302).

    Parameters
    ----------
    online, target
        w1(0) and θ(0); from w2(0) = s > 0.
    system
        One mode, λs > 0, λd > 0, η = 0.
    step, ema_rate, order
        As for `discrete_fate`.
    tolerance
        Half the width of the last interval, > 0.

    Returns
    -------
    Boundary
        Starts with s below `flow` are learned by the flow, below `steps` by gradient descent. The flow collapses
        between the two: −τp r²/Π(1 − κ²) < c0 <= −τp r². NaN for `steps` where some |κ| >= 1 next to the boundary.

    Raises
    ------
    ValueError
        More than one mode, or a number is out of range.

    Notes
    -----
    Source: R302.

    Examples
    --------
    >>> found = boundary_shift(1.0, 0.0, ModeSystem(1.0, 0.5), 0.2, 0.2)
    >>> round(found.flow, 6), round(found.steps, 6)
    (1.118034, 1.127609)
    """
    if system.n_modes != 1:
        raise ValueError(f"`system` must have one mode, got {system.n_modes}")
    if not tolerance > 0:
        raise ValueError(f"`tolerance` must be > 0, got {tolerance}")
    tp = float(np.squeeze(system.tau_predictor))
    r = float(system.ratio[0])
    flow = float(np.hypot(np.sqrt(np.squeeze(system.tau_online) / tp) * online, r))
    low, width = flow, 0.1 * flow
    wide = _replicated(system, 9)

    def learned(s: np.ndarray) -> tuple[np.ndarray, DiscreteFate]:
        found = discrete_fate(wide.state(online, s, target), wide, step, ema_rate, order)
        return found.fate == Fate.LEARNED, found

    # grow the interval until its upper end collapses, then cut it into eight
    while True:
        s = np.linspace(low, low + width, 9)
        above, found = learned(s)
        if np.any(found.fate == Fate.UNDECIDED):
            first = int(np.argmax(found.fate == Fate.UNDECIDED))
            if np.all(above[:first]):
                return Boundary(flow, np.nan, np.nan, np.nan, float(found.largest_kappa[first]))
        if above[-1]:
            low, width = low + width, 2 * width
            continue
        k = max(int(np.argmin(above)), 1)
        low, high = float(s[k - 1]), float(s[k])
        width = high - low
        if width / 2 <= tolerance or width <= 4 * np.spacing(high):
            break
    kept = found.invariant[k - 1] / float(mode_invariant(wide.state(online, s, target), wide)[k - 1])
    return Boundary(flow, (low + high) / 2, width / 2, float(kept), float(found.largest_kappa[k - 1]))


def _replicated(system: ModeSystem, n: int) -> ModeSystem:
    names: dict[str, Any] = {
        name: float(np.squeeze(getattr(system, name)))
        for name in ("tau_online", "tau_predictor", "tau_target", "weight_decay")
    }
    return ModeSystem(np.full(n, system.lambda_s[0]), np.full(n, system.lambda_d[0]), **names)
