"""InfoNCE of one row with any finite number of negatives, by quadrature (R114, R118).

The negatives are independent given the first view, so that integrals over H of them are powers of one: with the law of
half a squared distance from f in hand, loss and slope are integrals over f and over one more variable, of
1/A = ∫ e^{−tA} dt and log A = ∫ (e^{−t} − e^{−tA}) dt/t.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_POINTS = 10  # a panel of Gauss and Legendre
_WIDE = 1.5  # panels in r: e^{−t e^{−r}} steps from 0 to 1 within about one unit of r
_REACH = 8.0  # standard deviations: e^{−32} = 1e-14
_VANISHED = 700.0  # log of what e^{−x} takes to zero


class OneRow(NamedTuple):
    """InfoNCE of one row with H negatives.

    Parameters
    ----------
    loss
        E −log[e^{−r₊}/(e^{−r₊} + Σ e^{−r_k})], distances in units of the temperature.
    slope
        dL/d log s at fixed r = d/s, the mean of Σ p_k (r₊ − r_k): zero where the row has saturated.
    """

    loss: float
    slope: float


def one_row(y: float, ratio: float, negatives: int) -> OneRow:
    """Loss and slope of one row with s = y τ, d = r s and H negatives, Gaussian views.

        slope = H ∫ dt E_f[φ^{H−1} (A₁ B − A B₁)],  loss = y(1 − r) + ∫ (e^{−t} − E_f[A φ^H]) dt/t,
        A, A₁ = E[(1, r₊) e^{−t e^{−r₊}} | f],  B, B₁ = E[(1, r_k) e^{−r_k} e^{−t e^{−r_k}} | f],
        φ = E[e^{−t e^{−r_k}} | f].

    Parameters
    ----------
    y
        s/τ > 0; the work grows as y log y.
    ratio
        r, from 0 to below 1.
    negatives
        H >= 1.

    Returns
    -------
    OneRow
        To about 1e-10 of max(1, y).

    Notes
    -----
    Source: R114, R118.

    Examples
    --------
    >>> abs(one_row(4 / 7, 0.5, 1).slope) < 1e-10  # R114: 2r/((1 − r)(3 + r))
    True
    """
    sigma, narrow = np.sqrt(y), np.sqrt(y * (1 - ratio**2))
    # f on half a line: all else is even in it
    f, f_weight = _panels(sigma * np.linspace(0, _REACH, 10))
    f_weight = 2 * f_weight * _normal(f, sigma)
    far = 2 * _REACH * sigma
    edges = np.concatenate(
        [
            np.sqrt(2 * np.arange(0.0, far**2 / 2 + _WIDE, _WIDE)),
            np.arange(0.0, far, sigma),
            (1 - ratio) * _REACH * sigma + np.arange(-_REACH, _REACH) * narrow,
        ]
    )
    v, v_weight = _panels(np.unique(np.clip(edges, 0, far)))
    r = v**2 / 2
    # both signs of v = f′ − f at once; the positive is r f + noise
    to_negative = (v_weight * (_normal(v - f[:, None], sigma) + _normal(v + f[:, None], sigma))).T
    shift = (1 - ratio) * f[:, None]
    to_positive = (v_weight * (_normal(v - shift, narrow) + _normal(v + shift, narrow))).T

    log_t, t_weight = _panels(_log_times(y, negatives))
    below = np.exp(np.minimum(log_t[:, None] - r, _VANISHED))  # t e^{−r}
    kept = np.exp(-below)
    pulled = below * kept
    A, A1 = kept @ to_positive, kept @ (r[:, None] * to_positive)
    phi, B, B1 = kept @ to_negative, pulled @ to_negative, pulled @ (r[:, None] * to_negative)
    others = phi ** (negatives - 1)
    slope = negatives * float(t_weight @ (others * (A1 * B - A * B1)) @ f_weight)
    left = (A * others * phi) @ f_weight
    loss = y * (1 - ratio) + float(t_weight @ (np.exp(-np.exp(np.minimum(log_t, _VANISHED))) - left))
    return OneRow(loss, slope)


def _panels(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss and Legendre on each of the panels between the edges."""
    x, w = np.polynomial.legendre.leggauss(_POINTS)
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    return (middle[:, None] + half[:, None] * x).ravel(), (half[:, None] * w).ravel()


def _normal(x: np.ndarray, sigma: float) -> np.ndarray:
    return np.exp(-((x / sigma) ** 2) / 2) / (np.sqrt(2 * np.pi) * sigma)


def _log_times(y: float, negatives: int) -> np.ndarray:
    """Edges in log t: from where t is zero to rounding, in panels that widen, to where e^{−t e^{−r}} is."""
    low, high = -37 - np.log(negatives), 2 * _REACH**2 * y + 4
    down = np.arange(4.0, low, -1.5)[::-1]
    up = [4.0]
    while up[-1] < high:
        up.append(up[-1] + max(1.5, 0.1 * up[-1]))
    return np.concatenate([[low], down, up[1:]])
