"""Integrals over (0, ∞) of functions that vary over many decades."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

RELATIVE_ERROR = 1e-12
"""What the integrals are good to: quadrature is asked for a tenth of it, and rounding takes less."""
_NEGLIGIBLE = 45.0  # e^−45 is below eps/1000
_AROUND = np.array([0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0])


def integral_over_decades(
    log_integrand: Callable[[Any], Any], log_scales: Any, *, upper: float = np.inf
) -> float:
    """Logarithm of ∫_0^∞ g(y) dy, for g that is positive, falls, and is g(0) far below its smallest scale.

    In x = ln y the integrand e^x g(e^x) is smooth; the part below the smallest scale is g(0) times its length.

    Parameters
    ----------
    log_integrand
        x ↦ ln g(e^x), for arrays.
    log_scales
        Logarithms of the scales on which g changes, at least one. Beyond the largest g falls like 1/y² at least.
    upper
        Logarithm of the upper end of the integral; left out, there is none.

    Examples
    --------
    >>> round(integral_over_decades(lambda x: -np.exp(x), [0.0]), 12) == 0
    True
    """
    from scipy.integrate import quad_vec

    scales = np.unique(log_scales)
    low, high = scales[0] - _NEGLIGIBLE, min(scales[-1] + _NEGLIGIBLE, upper)
    points = np.unique(np.clip(scales[:, None] + np.concatenate([-_AROUND, _AROUND]), low, high))
    largest = float(np.max(points + log_integrand(points)))
    value, _ = quad_vec(
        lambda x: np.exp(x + log_integrand(x) - largest),
        low,
        high,
        epsabs=0.0,
        epsrel=RELATIVE_ERROR / 10,
        limit=20000,
        points=points[1:-1],
    )
    head = np.exp(low + float(log_integrand(np.float64(low))) - largest)
    return largest + float(np.log(value + head))
