"""The recurrence of a moving average exactly: its growth, its solution, and its best rate (R28, R223).

w(t+1) = w(t) + α[−w(t) + (1 + λ) v(t)],   v(t+1) = (1 − η) v(t) + η w(t)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class EmaGrowth(NamedTuple):
    """Growth of the recurrence of R28: κ, and the bound λ/(1/α + 1/η) that it never exceeds."""

    rate: np.ndarray
    bound: np.ndarray


class EmaRates(NamedTuple):
    """Both roots κ± of κ² + (α + η)κ = αηλ, complex where the recurrence spirals; modes change by 1 + κ a step."""

    larger: np.ndarray
    smaller: np.ndarray


class CriticalDamping(NamedTuple):
    """Where a weight under a negative predictor decays fastest, and which target rates make it spiral.

    Parameters
    ----------
    target_rate
        η* at which both roots are one.
    rate
        −κ there, the fastest decay.
    spirals
        η between which roots are complex; the upper one is η*.
    """

    target_rate: float
    rate: float
    spirals: tuple[float, float]


def _checked(learning_rate: Any, target_rate: Any) -> tuple[np.ndarray, np.ndarray]:
    alpha, eta = (np.asarray(value, dtype=np.float64) for value in (learning_rate, target_rate))
    for name, value in (("learning_rate", alpha), ("target_rate", eta)):
        bad = ~((value > 0) & (value <= 1))
        if np.any(bad):
            raise ValueError(f"`{name}` must be in (0, 1], got {value[bad].flat[0]}")
    return alpha, eta


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
    alpha, eta = _checked(learning_rate, target_rate)
    lam = np.asarray(gain, dtype=np.float64)
    under_root = 1 + 4 * alpha * eta * lam / (eta + alpha) ** 2
    if not np.all(under_root >= 0):
        raise ValueError(f"`gain` must be >= −(α + η)²/(4αη) for a real growth rate, got {np.min(lam)}")
    bound = alpha * eta * lam / (alpha + eta)
    return EmaGrowth(2 * bound / (np.sqrt(under_root) + 1), bound)


def ema_matrix(learning_rate: float, target_rate: float, gain: float) -> np.ndarray:
    """Matrix of one step over (w, v), [[1 − α, α(1 + λ)], [η, 1 − η]], with eigenvalues 1 + κ±.

    >>> ema_matrix(0.5, 0.25, 1.0)
    array([[0.5 , 1.  ],
           [0.25, 0.75]])
    """
    alpha, eta = (float(value) for value in _checked(learning_rate, target_rate))
    return np.array([[1 - alpha, alpha * (1 + gain)], [eta, 1 - eta]])


def ema_rates(learning_rate: Any, target_rate: Any, gain: Any) -> EmaRates:
    """Both roots κ± of κ² + (α + η)κ − αηλ = 0, the larger without cancellation.

    Parameters
    ----------
    learning_rate, target_rate
        α and η, in (0, 1].
    gain
        λ, any real number; below −(α + η)²/(4αη) the roots are complex and the recurrence spirals.

    Returns
    -------
    EmaRates
        Complex arrays.

    Raises
    ------
    ValueError
        A rate is out of range.

    Notes
    -----
    κ+ rises with η for λ > 0 and falls for −1 < λ < 0: a moving average slows growth and decay alike, and no η is best
    for both. Source: R223.

    Examples
    --------
    >>> [float(root.real) for root in ema_rates(0.5, 0.5, 3.0)]
    [0.5, -1.5]
    """
    alpha, eta = _checked(learning_rate, target_rate)
    product, total = alpha * eta * np.asarray(gain, dtype=np.float64), alpha + eta
    root = np.sqrt(np.asarray(total**2 + 4 * product, dtype=np.complex128))
    smaller = -(total + root) / 2
    return EmaRates(-product / smaller, smaller)


def ema_solution(
    steps: Any, online: float, target: float, learning_rate: float, target_rate: float, gain: float
) -> tuple[np.ndarray, np.ndarray]:
    """Solve the recurrence: w and v after any numbers of steps.

        v(t) = Σ e± (1 + κ±)ᵗ,  w(t) = Σ e± (κ± + η)/η (1 + κ±)ᵗ,  e+ = (η w0 + (α + κ+) v0)/(κ+ − κ−),  e− = v0 − e+

    Parameters
    ----------
    steps
        t >= 0, integers, any shape.
    online, target
        w0 and v0; BYOL starts with v0 = w0, the source with v0 = 0 (E28).
    learning_rate, target_rate, gain
        α, η in (0, 1], and λ.

    Returns
    -------
    online, target : array
        Of the shape of `steps`. Where the roots are one, or nearly, powers of the matrix are taken instead.

    Raises
    ------
    ValueError
        A rate is out of range, or a number of steps is negative or no integer.

    Notes
    -----
    Source: R223.

    Examples
    --------
    >>> w, v = ema_solution([0, 1, 2], 1.0, 1.0, 0.5, 0.25, 1.0)
    >>> w.round(12).tolist(), v.round(12).tolist()
    ([1.0, 1.5, 1.75], [1.0, 1.0, 1.125])
    """
    t = np.asarray(steps)
    if t.dtype.kind not in "iu" or np.any(t < 0):
        raise ValueError(f"`steps` must be integers >= 0, got {steps}")
    alpha, eta = (float(value) for value in _checked(learning_rate, target_rate))
    larger, smaller = (complex(root) for root in ema_rates(alpha, eta, gain))
    gap = larger - smaller
    if abs(gap) < _ALIKE * (alpha + eta):
        A = ema_matrix(alpha, eta, gain)
        pairs = np.array([np.linalg.matrix_power(A, int(k)) @ (online, target) for k in t.ravel()])
        w, v = pairs.reshape(-1, 2).T.reshape(2, *t.shape)
        return w, v
    grows = (eta * online + (alpha + larger) * target) / gap
    amplitudes = ((grows, larger), (target - grows, smaller))
    v = sum(e * (1 + kappa) ** t for e, kappa in amplitudes)
    w = sum(e * (kappa + eta) / eta * (1 + kappa) ** t for e, kappa in amplitudes)
    return np.real(w), np.real(v)


_ALIKE = 1e-6  # roots closer than this lose six digits to their difference


def transient_gain(learning_rate: float, target_rate: float, gain: float, target: float = 1.0) -> float:
    """Size of the growing mode in w after a start w0 = 1, v0: w(t) ≈ g (1 + κ+)ᵗ, g = e+ (κ+ + η)/η.

    Parameters
    ----------
    learning_rate, target_rate, gain
        α, η in (0, 1], and λ with real roots that differ.
    target
        v0: 1 as BYOL starts it, 0 as the source does (E28).

    Raises
    ------
    ValueError
        A rate is out of range, or the roots are complex or one.

    Notes
    -----
    Source: R223.

    Examples
    --------
    >>> round(transient_gain(0.1, 0.004, 1.0), 3), round(transient_gain(0.1, 0.004, 1.0, target=0.0), 3)
    (1.864, 0.069)
    """
    larger, smaller = ema_rates(learning_rate, target_rate, gain)
    if larger.imag or larger == smaller:
        raise ValueError(f"`gain` must be > −(α + η)²/(4αη) for a mode that grows alone, got {gain}")
    grows = (target_rate + (learning_rate + larger.real) * target) / (larger.real - smaller.real)
    return float(grows * (larger.real + target_rate) / target_rate)


def critical_damping(learning_rate: float, reversal: float) -> CriticalDamping:
    """Target rate at which a weight under a negative predictor, 1 + λ = −m < 0, decays fastest.

        η* = α(√m + √(1 + m))²,  −κ = α(1 + m + √(m(1 + m))),  spirals for η in α(√(1 + m) ∓ √m)²

    Parameters
    ----------
    learning_rate
        α > 0, of which η* is a multiple; above 1 it is no rate of a moving average.
    reversal
        m > 0.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R223.

    Examples
    --------
    >>> found = critical_damping(0.1, 0.2)
    >>> round(found.rate, 5)
    0.16899
    """
    for name, value in (("learning_rate", learning_rate), ("reversal", reversal)):
        if not 0 < value < np.inf:
            raise ValueError(f"`{name}` must be finite and > 0, got {value}")
    m, alpha = reversal, learning_rate
    sum_, difference = np.sqrt(1 + m) + np.sqrt(m), 1 / (np.sqrt(1 + m) + np.sqrt(m))
    upper = float(alpha * sum_**2)
    return CriticalDamping(
        upper, float(alpha * (1 + m + np.sqrt(m * (1 + m)))), (float(alpha * difference**2), upper)
    )
