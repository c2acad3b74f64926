"""Where one row stops under a triplet hinge on squared distances (R330)."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np


def hinge_stop(ratio: float) -> float:
    """Margin over size, k = m/(λs w²), at which one row along a mode stops under the triplet hinge.

        L = E(m + w² q)₊,  q = (x1 − x2)² − (x1 − x3)²,  dw/dt = −2 w E[q 1(w² q > −m)],  E[q 1(q > −k λs)] = 0

    q is a product of two Gaussian variables, x2 − x3 and x2 + x3 − 2 x1, of variances 2 λs and (6 − 4r) λs and
    covariance −2r λs; its density is that of a Bessel function K0.

    Parameters
    ----------
    ratio
        r within 0 and 1: x1 and x2 are views of one sample, x3 of another, Gaussian.

    Returns
    -------
    float
        k, from ∞ as r → 0 to 0 as r → 1, to about 1e-12 of itself.

    Raises
    ------
    ValueError
        The ratio is not within 0.001 and 0.999.

    Notes
    -----
    Small weights grow at 4 λd. Source: R330.

    Examples
    --------
    >>> round(hinge_stop(0.5), 3)
    3.038
    """
    if not 0.001 <= ratio <= 0.999:
        raise ValueError(f"`ratio` must be from 0.001 to 0.999, got {ratio}")
    return _stop(float(ratio))


@lru_cache(maxsize=256)
def _stop(r: float) -> float:
    from scipy.integrate import quad
    from scipy.optimize import brentq
    from scipy.special import k0e

    scale = np.sqrt(2 * (6 - 4 * r))  # of q
    rho = -2 * r / scale
    inside = (1 - r) * (3 + r) / (3 - 2 * r)  # 1 − ρ², without cancellation

    def part(slope: float, end: float) -> float:
        """∫ s e^{−slope s} e^s K0(s) ds from 0 to end, in log s, in which K0 is smooth."""

        def integrand(x: float) -> float:
            s = float(np.exp(x))
            return float(s * s * np.exp(-slope * s) * k0e(s))

        points = [x for x in (-3.0, 0.0, 3.0, 6.0) if -30.0 < x < end]
        edges = [-30.0, *points, end]
        found = [quad(integrand, a, b, epsabs=0.0, epsrel=1e-11)[0] for a, b in pairwise(edges)]
        return float(sum(found))

    above = part(1 - rho, 5.0)  # e^{−(1 − ρ) s} with 1 − ρ >= 1
    below = inside / (1 - rho)  # 1 + ρ

    def excess(end: float) -> float:
        return part(below, end) - above

    top = float(np.log(60.0 / below))
    return float(scale * inside * np.exp(brentq(excess, -20.0, top, xtol=1e-15, rtol=1e-15)))


def hinge_size(ratio: float, margin: float) -> float:
    """Variance λs w² of one row at rest under the triplet hinge, m/k.

    Parameters
    ----------
    ratio
        r, from 0.001 to 0.999.
    margin
        m > 0.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R330.

    Examples
    --------
    >>> round(hinge_size(0.5, 1.0), 4)
    0.3292
    """
    if not 0 < margin < np.inf:
        raise ValueError(f"`margin` must be finite and > 0, got {margin}")
    return margin / hinge_stop(ratio)
