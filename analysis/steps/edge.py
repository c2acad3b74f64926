"""Edge of stability and period doubling of one mode (R305)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynamics.exact.fixed_points import refuse_weight_decay
from dynamics.integration.discrete import EmaOrder, balanced_map, checked_step
from dynamics.system import ModeSystem


class TwoCycle(NamedTuple):
    """Cycle of period 2 of the balanced map: its points, their sum, and its multiplier, stable in (−1, 1)."""

    low: float
    high: float
    total: float
    multiplier: float


def edge_invariant(
    step: float, system: ModeSystem, ema_rate: float, order: EmaOrder = EmaOrder.PRACTICAL
) -> np.ndarray:
    """Invariant above which learned points lie beyond the edge of stability of a step.

    c_edge = τo τp [2/ε − 2u (1 − h)/(2 − h)]/λs − τp r²,   u = λs r²/τo

    In the lagged order the second term is 2u/(2 − h).

    Parameters
    ----------
    step
        ε > 0.
    system
        λs > 0, η = 0.
    ema_rate
        h in [0, 1].
    order
        Order of the average.

    Returns
    -------
    array (n_modes,)
        A learned point with τo w1² − τp r² = c is stable for this step iff c < c_edge. Where c_edge < −τp r² none is. A
        run that starts beyond the edge, and keeps |κ| < 1, settles below it: its c shrinks as long as it oscillates.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R305; it is R303's ε* = ε, solved for c.

    Examples
    --------
    >>> edge_invariant(0.7, ModeSystem(1.0, 0.5), 1.0).round(4)
    array([2.6071])
    """
    refuse_weight_decay(system)
    checked_step(step, ema_rate)
    if np.any(system.lambda_s <= 0):
        raise ValueError(f"`lambda_s` must be > 0, got {np.min(system.lambda_s)}")
    u = system.lambda_s * system.ratio**2 / system.tau_online
    share = 1.0 if EmaOrder(order) is EmaOrder.LAGGED else 1 - ema_rate
    encoder = 2 * u * share / (2 - ema_rate)
    edge: np.ndarray = (
        system.tau_online * system.tau_predictor * (2 / step - encoder) / system.lambda_s
        - system.tau_predictor * system.ratio**2
    )
    return edge


def _slope(y: Any, gain: Any) -> Any:
    """Derivative of the balanced map, 1 + k (2y − 3y²)."""
    return 1 + gain * y * (2 - 3 * y)


def two_cycle(gain: float) -> TwoCycle:
    """Cycle of period 2 of y⁺ = y + k y² (1 − y), which its fixed point 1 throws off at k = 2.

    The sum S of its points obeys k S (S − 1)² = 3S − 2, their product is S² (S − 1)/(3S − 2).

    Parameters
    ----------
    gain
        k > 2.

    Raises
    ------
    ValueError
        k is not finite or at most 2.

    Notes
    -----
    Source: R305.

    Examples
    --------
    >>> round(two_cycle(2.1).total, 6)
    1.972492
    """
    from scipy.optimize import brentq

    if not (np.isfinite(gain) and gain > 2):
        raise ValueError(f"`gain` must be finite and > 2, got {gain}")
    # −1 at S = 1 and 2k − 4 > 0 at S = 2
    total = brentq(lambda S: gain * S * (S - 1) ** 2 - (3 * S - 2), 1.0, 2.0, xtol=1e-15)
    product = total**2 * (total - 1) / (3 * total - 2)
    half = np.sqrt(max(total**2 / 4 - product, 0.0))
    low, high = total / 2 - half, total / 2 + half
    return TwoCycle(float(low), float(high), float(total), float(_slope(low, gain) * _slope(high, gain)))


def second_doubling() -> float:
    """Gain at which the cycle of period 2 throws off one of period 4, where its multiplier is −1: 2.4773776 (R305).

    >>> round(second_doubling(), 7)
    2.4773776
    """
    from scipy.optimize import brentq

    return float(brentq(lambda k: two_cycle(k).multiplier + 1, 2.1, 3.0, xtol=1e-14))


def first_collapse() -> float:
    """Gain from which steps collapse a balanced mode: the image of the map's maximum reaches 0 at 3.4107388 (R305).

    Beyond it an interval of y is thrown to y <= 0, that is w2 <= 0 at c = 0, from where the mode collapses (R6, R302).

    >>> round(first_collapse(), 7)
    3.4107388
    """
    from scipy.optimize import brentq

    def lowest(k: float) -> float:
        top = (1 + np.sqrt(1 + 3 / k)) / 3  # where the slope vanishes
        return float(balanced_map(balanced_map(top, k), k))

    return float(brentq(lowest, 3.0, 4.0, xtol=1e-14))


def collapse_window(gain: float) -> tuple[float, float] | None:
    """Values of y in (0, 1) and beyond that one step of the balanced map throws below 0; None where k is too small.

    Returns
    -------
    low, high
        The y in the image of the map from which the next step gives y <= 0: from the root of 1 + k y (1 − y) = 0 to the
        map's maximum.

    Notes
    -----
    Source: R305.

    Examples
    --------
    >>> collapse_window(3.0) is None, collapse_window(3.6) is None
    (True, False)
    """
    root = (1 + np.sqrt(1 + 4 / gain)) / 2
    top = (1 + np.sqrt(1 + 3 / gain)) / 3
    maximum = float(balanced_map(top, gain))
    return (float(root), maximum) if maximum >= root else None
