"""The slow balancing law: noise of batches carries a learned mode to the balanced point (R307)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.exact.fixed_points import refuse_weight_decay
from dynamics.system import ModeSystem


def balancing_rate(system: ModeSystem, step: float, batch: int, *, error_variance: Any = 0.0) -> np.ndarray:
    """Rate K of dc/dt = −K c (c + τp r²) along the learned line, K = ε (λs² − λd²)/(B τo² τp).

    Parameters
    ----------
    system
        λs > 0, |λd| <= λs and η = 0.
    step, batch
        ε > 0 and B >= 1.

    Notes
    -----
    Source: R307.

    Examples
    --------
    >>> balancing_rate(ModeSystem(1.0, 0.5), 0.05, 2)
    array([0.01875])
    """
    refuse_weight_decay(system)
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"`step` must be finite and > 0, got {step}")
    if batch < 1:
        raise ValueError(f"`batch` must be an integer >= 1, got {batch}")
    if np.any(system.lambda_s <= 0) or np.any(np.abs(system.lambda_d) > system.lambda_s):
        raise ValueError("`lambda_s` must be > 0 and at least `lambda_d` in size for a balancing law")
    noise = (system.lambda_s - system.lambda_d) * (system.lambda_s + system.lambda_d) / batch
    rate: np.ndarray = step * noise / (system.tau_online**2 * system.tau_predictor)
    return rate


def balancing_law(t: Any, invariant: Any, system: ModeSystem, step: float, batch: int) -> np.ndarray:
    """Invariant of a learned mode under batches, c(t) = q/((1 + q/c0) e^{Kqt} − 1), q = τp r².

    So |w1| → √(τp/τo) r: the amplitude at the end does not depend on the start. The amplitude of R6 lasts for a time of
    the order B/(ε (λs² − λd²) r²).

    Parameters
    ----------
    t
        Times t >= 0, ε times the number of steps; broadcasts with the modes.
    invariant
        c0 > −q, one per mode.
    system, step, batch
        As for `balancing_rate`.

    Returns
    -------
    Array
        c(t), of the sign of c0; NaN where c0 <= −q, which is not on the learned line.

    Notes
    -----
    Source: R307. To first order in ε; `analysis.steps.noise.balancing_path` has the next one.

    Examples
    --------
    >>> balancing_law(106.65, 0.75, ModeSystem(1.0, 0.5), 0.05, 2).round(5)
    array([0.20866])
    """
    K = balancing_rate(system, step, batch)
    q = system.tau_predictor * system.ratio**2
    c0 = np.asarray(invariant, dtype=np.float64)
    # c = c0 e^{−x}/(1 + c0 K t (1 − e^{−x})/x), x = Kqt: no case for q → 0 or c0 → 0, and nothing overflows
    rising = K * np.asarray(t, dtype=np.float64)
    x = q * rising
    share = np.where(x == 0, 1.0, -np.expm1(-x) / np.where(x == 0, 1.0, x))
    there = c0 > -q
    law = c0 * np.exp(-x) / np.where(there, 1 + c0 * (rising * share), 1.0)
    return np.where(there, law, np.nan)
