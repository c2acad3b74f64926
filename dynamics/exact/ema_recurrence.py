"""The recurrence of the EMA and its growth (R28)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class EmaGrowth(NamedTuple):
    """Growth of the recurrence of R28: κ, and the bound λ/(1/α + 1/η) that it never exceeds."""

    rate: np.ndarray
    bound: np.ndarray


def ema_growth(learning_rate: Any, target_rate: Any, gain: Any) -> EmaGrowth:
    """Growth rate κ of w(t+1) = w(t) + α[−w(t) + (1 + λ) v(t)], v(t+1) = (1 − η) v(t) + η w(t).

    κ = ½(η + α)(sqrt(1 + 4αηλ/(η + α)²) − 1) <= λ/(1/α + 1/η); generic starts grow as (1 + κ)ᵗ.

    Parameters
    ----------
    learning_rate
        α, in (0, 1].
    target_rate
        η = 1 − γ with γ the EMA coefficient, in (0, 1].
    gain
        λ, any real number with 1 + 4αηλ/(η + α)² >= 0; broadcasts with the others.

    Returns
    -------
    EmaGrowth
        κ, the larger root of κ² + (α + η)κ = αηλ, and its bound.

    Raises
    ------
    ValueError
        A rate is out of range, or λ so negative that the recurrence oscillates.

    Notes
    -----
    Source: R28; DD theorem 9, which prints 1 − λ.

    Examples
    --------
    >>> ema_growth(0.5, 0.5, 3.0)
    EmaGrowth(rate=np.float64(0.5), bound=np.float64(0.75))
    """
    alpha, eta, lam = (np.asarray(value, dtype=np.float64) for value in (learning_rate, target_rate, gain))
    for name, value in (("learning_rate", alpha), ("target_rate", eta)):
        bad = ~((value > 0) & (value <= 1))
        if np.any(bad):
            raise ValueError(f"`{name}` must be in (0, 1], got {value[bad].flat[0]}")
    under_root = 1 + 4 * alpha * eta * lam / (eta + alpha) ** 2
    if not np.all(under_root >= 0):
        raise ValueError(f"`gain` must be >= −(α + η)²/(4αη) for a real growth rate, got {np.min(lam)}")
    bound = alpha * eta * lam / (alpha + eta)
    return EmaGrowth(2 * bound / (np.sqrt(under_root) + 1), bound)
