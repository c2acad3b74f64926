"""The stability of a fixed point as a word, from the signs of its eigenvalues."""

from __future__ import annotations

from typing import Literal

import numpy as np

from analysis.stability.adapted import (
    ZERO,
)

Verdict = Literal["stable", "saddle", "unstable", "degenerate"]


def classify(eigenvalues: np.ndarray, tolerance: float | None = None, *, n_zero_forced: int = 0) -> Verdict:
    """Name the stability of a fixed point from the signs of its eigenvalues' real parts.

    Parameters
    ----------
    eigenvalues
        All eigenvalues at one fixed point, shape (k,).
    tolerance
        Real parts within it count as zero, >= 0; left out, `ZERO` times the largest modulus.
    n_zero_forced
        Zeros to leave out of account, such as the one along a line of fixed points (R5).

    Returns
    -------
    str
        "stable": all real parts negative; "saddle": both signs; "unstable": some positive and none negative;
        "degenerate": zeros that nothing forces and no positive one. A half-stable point (R7) is degenerate here: to
        tell it takes the centre manifold.

    Raises
    ------
    ValueError
        There are no eigenvalues, one is not finite, or fewer are zero than `n_zero_forced`.

    Examples
    --------
    >>> classify(np.array([-1.0, 0.0])), classify(np.array([-1.0, 0.0]), n_zero_forced=1)
    ('degenerate', 'stable')
    """
    real = np.real(eigenvalues)
    if real.ndim != 1 or real.size == 0 or not np.all(np.isfinite(eigenvalues)):
        raise ValueError(f"`eigenvalues` must be a vector of finite numbers, got {eigenvalues!r}")
    if tolerance is None:
        tolerance = ZERO * float(np.max(np.abs(eigenvalues)))
    n_zero = int(np.sum(np.abs(real) <= tolerance))
    if n_zero < n_zero_forced:
        raise ValueError(f"`n_zero_forced` must be at most the {n_zero} zeros there are, got {n_zero_forced}")
    return verdict_of_counts(
        int(np.sum(real > tolerance)), n_zero - n_zero_forced, int(np.sum(real < -tolerance))
    )


def verdict_of_counts(n_positive: int, n_zero_other: int, n_negative: int) -> Verdict:
    """Name the stability from how many real parts are positive, zero without need, and negative."""
    if n_positive:
        return "saddle" if n_negative else "unstable"
    return "degenerate" if n_zero_other else "stable"
