"""How noise of batches lets learned modes compete for the encoder (R310)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynamics.exact.fixed_points import refuse_weight_decay
from dynamics.integration.batch_noise import check_batch
from dynamics.integration.discrete import checked_step
from dynamics.system import ModeSystem


class Competition(NamedTuple):
    """Squared amplitudes of learned rows under noise.

    Parameters
    ----------
    ts
        Times, shape (T,).
    squares
        q_i = w_i², shape (T, n_modes).
    capture
        Least q_j that a mode needs to be stable beside the others, max over rows i of (τp r_i/τo)(r_j − r_i), shape
        (n_modes,): below it row i captures mode j (R10).
    captured
        Time at which a mode first is below, shape (n_modes,); NaN where none is. The law ends at the first of them.
    """

    ts: np.ndarray
    squares: np.ndarray
    capture: np.ndarray
    captured: np.ndarray


def competition_rates(squares: Any, system: ModeSystem, step: float, batch: int) -> np.ndarray:
    """Growth rates of squared amplitudes at a learned point, (dq_i/dt)/q_i = (ε/(Bτo)) λs_i (G_i − H).

        G_i = tr Σs r_i² (1 − r_i²)/τo,   H = Σ_k q_k λs_k (1 − r_k²)/τp

    Parameters
    ----------
    squares
        q_i = w_i² >= 0 of row i, which holds mode i, shape (..., n_modes).
    system
        All modes of the views, λs > 0, 0 <= λd <= λs, η = 0.
    step, batch
        ε > 0 and B >= 1.

    Returns
    -------
    array (..., n_modes)
        Per unit of time. Modes share H: the largest r² (1 − r²) wins, at r = 1/√2 most of all.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R310.

    Examples
    --------
    >>> competition_rates([1.44, 1.44], ModeSystem([1.0, 1.0], [0.97, 0.70]), 0.02, 4).round(5)
    array([-0.00354, -0.0016 ])
    """
    refuse_weight_decay(system)
    check_batch(batch)
    checked_step(step, 1.0)
    if np.any(system.lambda_s <= 0) or np.any(np.abs(system.lambda_d) > system.lambda_s):
        raise ValueError("`lambda_s` must be > 0 and at least `lambda_d` in size for modes to compete")
    q, r = np.asarray(squares, dtype=np.float64), system.ratio
    left = (1 - r) * (1 + r)
    gain = np.sum(system.lambda_s) * r**2 * left / system.tau_online
    shared = np.sum(q * system.lambda_s * left, axis=-1, keepdims=True) / system.tau_predictor
    rates: np.ndarray = step / (batch * system.tau_online) * system.lambda_s * (gain - shared)
    return rates


def mode_competition(squares: Any, system: ModeSystem, step: float, batch: int, ts: Any) -> Competition:
    """Follow the Lotka–Volterra law of squared amplitudes, dq_i/dt = q_i · `competition_rates`.

    Parameters
    ----------
    squares, system, step, batch
        Start q_i > 0, as for `competition_rates`; one τo and τp for all modes.
    ts
        Increasing times from 0 on, shape (T,).

    Returns
    -------
    Competition
        The law to the end of `ts`, beyond a capture too, where it is no longer true.

    Notes
    -----
    Source: R310, with the edge of R10.

    Examples
    --------
    >>> found = mode_competition([1.44, 1.44], ModeSystem([1.0, 1.0], [0.97, 0.70]), 0.02, 4, [0.0, 400.0])
    >>> found.squares[-1].round(4), found.capture.round(3)
    (array([0.4843, 1.0536]), array([0.189, 0.   ]))
    """
    from scipy.integrate import solve_ivp

    start, ts = np.asarray(squares, dtype=np.float64), np.asarray(ts, dtype=np.float64)
    if start.shape != (system.n_modes,) or not np.all(start > 0):
        raise ValueError(f"`squares` must be > 0, one for each of {system.n_modes} modes, got {squares}")

    def slope(_: float, logs: np.ndarray) -> np.ndarray:
        return competition_rates(np.exp(logs), system, step, batch)

    found = solve_ivp(
        slope, (0.0, float(ts[-1])), np.log(start), t_eval=ts, rtol=1e-9, atol=1e-12, dense_output=True
    )
    r = system.ratio
    to, tp = float(np.squeeze(system.tau_online)), float(np.squeeze(system.tau_predictor))
    capture = np.maximum(np.max(tp * r[:, None] / to * (r[None, :] - r[:, None]), axis=0), 0.0)
    fine = np.linspace(0.0, float(ts[-1]), 4001)
    below = np.exp(found.sol(fine)) < capture[:, None]
    captured = np.where(below.any(axis=1), fine[np.argmax(below, axis=1)], np.nan)
    return Competition(ts, np.exp(found.y.T), capture, captured)
