"""Arithmetic that closed forms share: times, and differences of squares without cancellation."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np


def solution_times(ts: Any) -> np.ndarray:
    """Times of a solution, finite and >= 0."""
    times = np.asarray(ts, dtype=np.float64)
    bad = ~(np.isfinite(times) & (times >= 0))
    if np.any(bad):
        raise ValueError(f"`ts` must be finite and >= 0, got {times[bad].flat[0]}")
    return times


def difference_of_squares(a: Any, x: Any, b: Any, y: Any) -> np.ndarray:
    """A x² − b y², rounded once, for numbers or arrays of one axis: exact in rational numbers."""
    parts = zip(*np.broadcast_arrays(*map(np.atleast_1d, (a, x, b, y))), strict=True)
    rational = ([Fraction(float(number)) for number in part] for part in parts)
    return np.array([float(a * x**2 - b * y**2) for a, x, b, y in rational])
