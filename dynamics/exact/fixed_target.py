"""The closed-form solution under a constant target (R11)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.exact.arithmetic import difference_of_squares, solution_times
from dynamics.exact.fixed_points import refuse_weight_decay
from dynamics.states import ModeState
from dynamics.system import ModeSystem


def fixed_target_solution(ts: Any, state: ModeState, system: ModeSystem) -> ModeState:
    """Exact flow of modes with a constant target.

    With x = sqrt(τo) w1 and y = sqrt(τp) w2, the product of p = x + y and q = x − y is the invariant c, and
    z = (p/p(0))² = (q(0)/q)² obeys a Riccati equation with constant coefficients,

        dz/dt = −a p(0)² z² + 2h z + a q(0)²,   a = λs/(2 τo τp),  h = θ λd/sqrt(τo τp),

    whose solution, with δ = sqrt(h² + a²c²) and S = tanh(δt)/δ, is

        z = [1 + (h + a q(0)²) S]/[1 + (a p(0)² − h) S].

    It is R13's u = w1 w2 = (p² − q²)/(4 sqrt(τo τp)), in variables that need no case for c > 0, = 0, < 0 and
    carry the signs of both weights. Both sides of the fraction are evaluated times 1 + e^{−2δt}, as sums of
    positive terms.

    Parameters
    ----------
    ts
        Times t >= 0, any shape.
    state
        Start w1, w2 and the constant θ, shape (n_modes,), any signs.
    system
        λs >= 0, any λd, any τo and τp, η = 0.

    Returns
    -------
    ModeState
        Shape ts.shape + (n_modes,). The error is a few roundings of max(|x|, |y|), also next to the invariant lines
        x = ±y, and δt roundings more of what is far from its end.

    Raises
    ------
    ValueError
        A time is negative or not finite; η ≠ 0; λs < 0, where solutions leave in finite time (R26).

    Notes
    -----
    Source: R13; DD F, Figure 5 left.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> end = fixed_target_solution(200.0, system.state(0.3, -0.1, 1.0), system)
    >>> np.round(end.online * end.predictor, 12)
    array([0.5])
    """
    t = solution_times(ts)[..., None]
    refuse_weight_decay(system)
    if np.any(system.lambda_s < 0):
        raise ValueError(f"`lambda_s` must be >= 0 for this closed form, got {np.min(system.lambda_s)}")
    w1, w2, th = state
    root_o, root_p = np.sqrt(system.tau_online), np.sqrt(system.tau_predictor)
    p0, q0 = root_o * w1 + root_p * w2, root_o * w1 - root_p * w2
    # the smaller of the two cancels; their product, the invariant, is known to one rounding
    c = difference_of_squares(system.tau_online, w1, system.tau_predictor, w2)
    p0, q0 = (
        np.where(np.abs(one) >= np.abs(other), one, c / np.where(other == 0, 1.0, other))
        for one, other in ((p0, q0), (q0, p0))
    )
    a = system.lambda_s / (2 * system.tau_online * system.tau_predictor)
    h = th * system.lambda_d / (root_o * root_p)
    ac = a * c
    delta = np.hypot(h, ac)
    safe = np.where(delta == 0, 1.0, delta)
    decayed = np.exp(-2 * delta * t)
    rise = np.where(delta == 0, 2 * t, -np.expm1(-2 * delta * t) / safe)
    # 1 ± h/δ; the smaller one from δ² − h² = (a c)², for h/δ may be 1 to rounding
    large = 1 + np.abs(h) / safe
    small = np.where(delta == 0, 1.0, (ac / safe) * (ac / (safe + np.abs(h))))
    plus, minus = np.where(h >= 0, large, small), np.where(h >= 0, small, large)
    numerator = plus + minus * decayed + a * q0**2 * rise
    denominator = minus + plus * decayed + a * p0**2 * rise
    # p = 0 and q = 0 are invariant lines, on which the other term may underflow
    p = p0 * np.sqrt(numerator / np.where(p0 == 0, 1.0, denominator))
    q = q0 * np.sqrt(denominator / np.where(q0 == 0, 1.0, numerator))
    return ModeState((p + q) / (2 * root_o), (p - q) / (2 * root_p), np.broadcast_to(th, p.shape).copy())
