"""Which balanced points of one mode are stable, under the flow or gradient descent, with and without weight decay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from analysis.stability.jacobian import mode_jacobian
from analysis.steps.critical_steps import pair_critical_steps
from dynamics.exact.fixed_points import saddle_node
from dynamics.integration.discrete import EmaOrder, gradient_step
from dynamics.quadratic import quadratic_roots
from dynamics.states import ModeState
from dynamics.system import ModeSystem


class BalancedStability(NamedTuple):
    """Whether the origin and the learned points ± (w1, p+, w1) are stable; arrays of one shape."""

    origin: np.ndarray
    learned: np.ndarray


class BalancedBounds(NamedTuple):
    """What bounds the stable region of the learned points; arrays of one shape.

    Parameters
    ----------
    fold
        η* = λd²/(4 τo λs), where they meet their saddles (R15).
    flip
        ε*, the largest step that is stable on the balanced sheet (R303 at p+); NaN where there are no such points.
    across
        1/η, the largest step that is stable across the sheet; infinite at η = 0, where the sheet is one of many.
    origin
        2/η, the largest step that is stable at the origin; infinite at η = 0.
    """

    fold: np.ndarray
    flip: np.ndarray
    across: np.ndarray
    origin: np.ndarray


def _checked(system: ModeSystem, step: Any, ema_rate: float) -> np.ndarray:
    if np.any(system.lambda_s <= 0):
        raise ValueError(f"`lambda_s` must be > 0, got {np.min(system.lambda_s)}")
    steps = np.broadcast_to(np.asarray(step, np.float64), system.lambda_s.shape)
    if not np.all((steps >= 0) & np.isfinite(steps)):
        raise ValueError(f"`step` must be finite and >= 0, got {np.min(steps)}")
    if not 0 < ema_rate <= 1:
        raise ValueError(f"`ema_rate` must be > 0 and <= 1, got {ema_rate}")
    return steps


def _learned(system: ModeSystem) -> ModeState:
    """The point with w1 >= 0 and w2 = p+, of the sign of λd, its two weights balanced; NaN beyond the fold."""
    eta = np.broadcast_to(system.weight_decay, system.lambda_s.shape)
    _, upper, _ = quadratic_roots(system.lambda_s, np.abs(system.lambda_d), eta, system.tau_online)
    w1 = np.sqrt(np.asarray(system.tau_predictor) / np.asarray(system.tau_online)) * upper
    return ModeState(w1, np.sign(system.lambda_d) * upper, w1)


def balanced_stability(
    system: ModeSystem, step: Any, ema_rate: float, order: EmaOrder = EmaOrder.PRACTICAL
) -> BalancedStability:
    """Judge the origin and the learned points by the eigenvalues of the flow, or the multipliers of a step.

    Parameters
    ----------
    system
        Modes with λs > 0 and any η.
    step
        ε >= 0, one for all modes or one a mode; 0 is the flow.
    ema_rate, order
        h in (0, 1] and the order of the average, of steps alone.

    Returns
    -------
    BalancedStability
        Strictly stable ones. At η = 0 learned points lie on a line, and are judged on the balanced sheet
        τo w1² = τp w2², which a step does not leave; the origin has no linear rate there and is not stable.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Sources: R15, R301, R303.

    Examples
    --------
    >>> balanced_stability(ModeSystem(1.0, 0.5, weight_decay=0.05), 0.0, 0.2)
    BalancedStability(origin=array([ True]), learned=array([ True]))
    >>> balanced_stability(ModeSystem(1.0, 0.5), 4.3, 0.2)
    BalancedStability(origin=array([False]), learned=array([False]))
    """
    steps = _checked(system, step, ema_rate)
    origin, learned = system.state(0.0, 0.0, 0.0), _learned(system)
    there = np.isfinite(learned.predictor) & (learned.predictor != 0)
    filled = ModeState(*(np.where(there, part, 0.0) for part in learned))
    jacobians = [_jacobian(state, system, steps, ema_rate, order) for state in (origin, filled)]
    at_origin = np.all(_shrinks(np.linalg.eigvals(jacobians[0]), steps[:, None]), axis=-1)
    along, across = _on_the_sheet(jacobians[1], filled)
    kept = np.broadcast_to(system.weight_decay, steps.shape) == 0
    stable = np.all(_shrinks(along, steps[:, None]), axis=-1) & (kept | _shrinks(across, steps))
    return BalancedStability(at_origin, there & stable)


def _shrinks(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Whether a direction shrinks: an eigenvalue of the flow is negative, or a multiplier of a step below one."""
    return np.where(steps > 0, np.abs(values) < 1, np.real(values) < 0)


def _jacobian(
    state: ModeState, system: ModeSystem, steps: np.ndarray, ema_rate: float, order: EmaOrder
) -> np.ndarray:
    """Jacobian (n, 3, 3) of a step, by the complex step, or of the flow where the step is 0."""
    state = system.state(*state)
    found, tiny = np.empty((system.n_modes, 3, 3)), 1e-200  # whose square is 0: no truncation error
    for column, name in enumerate(ModeState._fields):
        moved = state._replace(**{name: getattr(state, name) + tiny * 1j})
        after = gradient_step(moved, system, steps, ema_rate, order)
        found[:, :, column] = np.stack([np.imag(part) / tiny for part in after], axis=-1)
    flow = mode_jacobian(state, system)
    return np.where((steps > 0)[:, None, None], found, flow)


def _on_the_sheet(jacobian: np.ndarray, state: ModeState) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues on the balanced sheet, (n, 2), and across it, (n,).

    The sheet is spanned by (w1, w2, 0) and (0, 0, 1), and the third eigenvalue is what is left of the trace.
    """
    w2 = np.where(state.predictor != 0, state.predictor, 1.0)
    tangent = np.stack([state.online, w2, np.zeros_like(w2)], axis=-1)
    moved = np.einsum("nij,nj->ni", jacobian, tangent)
    # J t = a t + c e3 and J e3 = b t + d e3, each read off where t is w2
    a, c, b, d = moved[:, 1] / w2, moved[:, 2], jacobian[:, 1, 2] / w2, jacobian[:, 2, 2]
    half, determinant = (a + d) / 2, a * d - b * c
    root = np.sqrt(half**2 - determinant + 0j)
    return np.stack([half - root, half + root], axis=-1), np.trace(jacobian, axis1=1, axis2=2) - a - d


def balanced_bounds(
    system: ModeSystem, ema_rate: float, order: EmaOrder = EmaOrder.PRACTICAL
) -> BalancedBounds:
    """Closed forms of the bounds of `balanced_stability`: of the weight decay, and of the step.

    At (w1, p, w1) with η τo = p (λd − λs p) the practical step maps the balanced sheet by

        [[1 − εA, εs], [h (1 − εA), 1 − h + hεs]],   A = 2λs p²/τo,   s = λd p/τo,

    which is the matrix of R303 with the amplitude that balance gives, for every η. Across the sheet it multiplies by
    1 − 2εη, and the origin by 1 − εη.

    Parameters
    ----------
    system
        Modes with λs > 0.
    ema_rate, order
        As for `balanced_stability`.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Sources: R15, R303.

    Examples
    --------
    >>> found = balanced_bounds(ModeSystem(1.0, 0.5, weight_decay=0.04), 0.2)
    >>> float(found.fold[0]), float(found.flip[0].round(6)), float(found.across[0])
    (0.0625, 6.716418, 25.0)
    """
    _checked(system, 0.0, ema_rate)
    learned = _learned(system)
    there = np.isfinite(learned.predictor)
    p, w = (np.where(there, part, 0.0) for part in (learned.predictor, learned.online))
    steps = pair_critical_steps(p, w, replace(system, weight_decay=0.0), ema_rate, order)
    eta = np.broadcast_to(system.weight_decay, p.shape)
    across = np.divide(1.0, eta, out=np.full(p.shape, np.inf), where=eta > 0)
    return BalancedBounds(
        saddle_node(system),
        np.where(there, np.minimum(steps.flip, steps.neimark_sacker), np.nan),
        across,
        2 * across,
    )
