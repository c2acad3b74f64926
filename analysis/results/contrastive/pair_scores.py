"""The law of r₊ − r₋, half squared distances to a positive and to a negative, for one row and Gaussian views (R114)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

_STEP = 1 / 16  # of log|z|: the trapezoidal rule is then exact to rounding for what is analytic this widely
_LOG_Z = np.arange(-60.0, 12.0, _STEP)
"""Where e^{−x} K(x) and x K(x) are not zero to rounding, in units of the slower decay."""


class PairScore(NamedTuple):
    """Expectations of g(z), z²‑free: z = r₊ − r₋ = A B of two correlated Gaussians A = f₊ − f₋, B = ½(f₊ + f₋) − f.

    Parameters
    ----------
    values
        Nodes z, shape (n,), both signs.
    plain, along, across
        Weights with which sums over the nodes are E[g(z)], E[g(z) A²] and E[g(z) B²], shape (n,).
    """

    values: np.ndarray
    plain: np.ndarray
    along: np.ndarray
    across: np.ndarray


def pair_score(s: float, d: float) -> PairScore:
    """Quadrature for the law of r₊ − r₋ of one row with s = w Σs wᵀ and d = w Σd wᵀ.

    A and B have variances 2s and 3s/2 − d and covariance −d, so that z = A B has the density

        e^{−βz} K0(α|z|)/(π √Δ),  Δ = (s − d)(3s + d),  α = √(s(3s − 2d))/Δ,  β = d/Δ,

    and E[A² | z] = √(var A/var B) |z| K1/K0, E[B² | z] likewise. In logarithms of |z| the integrand decays at both ends
    and is analytic, so that the trapezoidal rule converges geometrically.

    Parameters
    ----------
    s, d
        0 < d <= s or d = 0, finite: at d = s, without augmentation noise, z = −A²/2 is negative.

    Returns
    -------
    PairScore
        Its weights sum up to 1, var A and var B within 1e-13 of them.

    Raises
    ------
    ValueError
        `s` or `d` is out of range.

    Notes
    -----
    Source: R114; the product of two correlated Gaussians.

    Examples
    --------
    >>> law = pair_score(2.0, 1.0)
    >>> round(float(law.plain @ law.values), 12)  # E z = −d
    -1.0
    """
    from scipy.special import k0e, k1e

    if not 0 < s < np.inf:
        raise ValueError(f"`s` must be finite and > 0, got {s}")
    if not 0 <= d <= s:
        raise ValueError(f"`d` must be from 0 to s = {s}, got {d}")
    # in units of s
    r = d / s
    noise = (s - d) / s
    delta = noise * (3 + r)
    size = np.sqrt(3 - 2 * r)  # √(var A var B)/s
    slow, fast = 1 / (size + r), (size + r)  # α − β, and (α + β) Δ
    # z = −slower decay first, then z > 0, which decays at (α + β)
    below = np.exp(_LOG_Z) / slow
    decay = np.exp(-slow * below)
    parts = [(-below, decay)]
    if delta > 0:
        above = np.exp(_LOG_Z) * (delta / fast)
        parts.append((above, np.exp(-np.exp(_LOG_Z))))
    values = np.concatenate([z for z, _ in parts])
    decayed = np.concatenate([factor for _, factor in parts])
    z = np.abs(values)
    with np.errstate(divide="ignore", over="ignore"):
        x = np.where(delta > 0, size * z / (delta if delta > 0 else 1.0), np.inf)
    # √x e^x K(x), which tends to √(π/2)
    limit = np.sqrt(np.pi / 2)
    large = x > 1e15
    safe = np.where(large, 1.0, x)
    zeroth, first = (np.where(large, limit, np.sqrt(safe) * k(safe)) for k in (k0e, k1e))
    common = _STEP * z * decayed / (np.pi * np.sqrt(size * z))
    ratio = np.sqrt(2 / (1.5 - r))
    plain = common * zeroth
    crossed = common * first * z
    return PairScore(s * values, plain, s * ratio * crossed, s * crossed / ratio)


def expectation(law: PairScore, g: Callable[[np.ndarray], Any]) -> float:
    """E[g(r₊ − r₋)].

    >>> expectation(pair_score(1.0, 0.5), lambda z: z > np.inf)
    0.0
    """
    return float(law.plain @ np.asarray(g(law.values), dtype=np.float64))
