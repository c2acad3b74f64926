"""Expected cosine of the outputs of two views, for Gaussian views: the simple loss of unit outputs (R120)."""

from __future__ import annotations

from typing import Any

import numpy as np

_STEP = (
    0.5  # of log s: the integrand is analytic for |Im log s| < π, so that the error is e^{−2π²/0.5} = 7e-18
)
_REACH = 75.0  # e^{−75/2} = 5e-17 of the integrand is left, on either side of where it bends


def expected_cosine(shares: Any, ratios: Any) -> float:
    """E cos(f, f₊) of outputs whose modes have variances q_i, and covariances r_i q_i between views.

        E cos = (1/π) ∫∫ ds dt/√(st) Σ_i (r_i q_i/Δ_i) Π_j Δ_j^{−1/2},  Δ = 1 + 2q(s + t) + 4q²st(1 − r²),

    from 1/‖f‖ = ∫ e^{−s‖f‖²} ds/√(πs), by the trapezoidal rule in log s and log t. Of centred data the simple loss of
    unit outputs is minus this: its negatives drop out.

    Parameters
    ----------
    shares
        q_i > 0, shape (k,): only their proportions count.
    ratios
        r_i from 0 to 1, shape (k,).

    Returns
    -------
    float
        To some 1e-15; E cos = (2/π) arcsin r for one mode.

    Raises
    ------
    ValueError
        Shapes that do not fit, or numbers out of range.

    Notes
    -----
    Source: R120.

    Examples
    --------
    >>> round(expected_cosine([1.0], [0.5]), 12)  # 1/3
    0.333333333333
    """
    q, r = (np.atleast_1d(np.asarray(part, dtype=np.float64)) for part in (shares, ratios))
    if q.ndim != 1 or q.shape != r.shape:
        raise ValueError(f"`shares` and `ratios` must have one shape (k,), got {q.shape} and {r.shape}")
    for name, values, good, bound in (
        ("shares", q, (q > 0) & np.isfinite(q), "finite and > 0"),
        ("ratios", r, (r >= 0) & (r <= 1), "from 0 to 1"),
    ):
        if not np.all(good):
            raise ValueError(f"`{name}` must be {bound}, got {values[~good][0]}")
    q = q / np.max(q)
    log_s = np.arange(-_REACH, _REACH - np.log(np.min(q)), _STEP)
    s = np.exp(log_s)[:, None]
    t = s.T
    matched, volume = np.zeros((log_s.size, log_s.size)), np.sqrt(s * t)
    for share, ratio in zip(q, r, strict=True):
        delta = 1 + 2 * share * (s + t) + 4 * (share * s) * (share * t) * (1 - ratio) * (1 + ratio)
        matched += ratio * share / delta
        volume /= np.sqrt(delta)
    return float(np.sum(matched * volume) * _STEP**2 / np.pi)


def equal_mode_cosine(n_modes: int, ratio: float) -> float:
    """E cos(f, f₊) of k modes of equal variance and ratio r.

        r Γ((k + 1)/2)²/(Γ(k/2) Γ(k/2 + 1)) ₂F₁(½, ½; k/2 + 1; r²)

    Parameters
    ----------
    n_modes
        k >= 1.
    ratio
        r from 0 to 1.

    Returns
    -------
    float
        It rises with k to r.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R120.

    Examples
    --------
    >>> round(equal_mode_cosine(1, 0.5), 12)
    0.333333333333
    """
    from scipy.special import gammaln, hyp2f1

    if n_modes < 1 or n_modes != int(n_modes):
        raise ValueError(f"`n_modes` must be an integer >= 1, got {n_modes}")
    if not 0 <= ratio <= 1:
        raise ValueError(f"`ratio` must be from 0 to 1, got {ratio}")
    half = n_modes / 2
    log_factor = 2 * gammaln(half + 0.5) - gammaln(half) - gammaln(half + 1)
    return float(ratio * np.exp(log_factor) * hyp2f1(0.5, 0.5, half + 1, ratio**2))


def second_mode_gain(share: float, ratios: tuple[float, float]) -> float:
    """What a second mode adds to E cos(f, f₊) at a small share q, to leading order, r2 q log²q/(2π √(1 − r1²)).

    Its derivative by q is infinite at 0: an encoder of rank one is never optimal where r2 > 0.

    Parameters
    ----------
    share
        q in (0, 1).
    ratios
        r1 < 1 of the mode that is there, r2 >= 0 of the one that is added.

    Returns
    -------
    float
        Its relative error falls as 1/|log q| alone.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R120.

    Examples
    --------
    >>> second_mode_gain(0.02, (0.9, 0.5)) > 0
    True
    """
    first, second = ratios
    if not 0 < share < 1:
        raise ValueError(f"`share` must be above 0 and below 1, got {share}")
    if not (0 <= first < 1 and 0 <= second <= 1):
        raise ValueError(f"`ratios` must be from 0 to 1, the first below 1, got {first} and {second}")
    return float(second * share * np.log(share) ** 2 / (2 * np.pi * np.sqrt((1 - first) * (1 + first))))
