"""One negative exactly: expectations of the logistic loss of r₊ − r₋ for Gaussian views, by one integral (R114).

z = (r₊ − r₋)/τ is a quadratic form of Gaussian outputs, so that E e^{pz} is known in closed form, and the loss is its
integral against the Laplace transform of log(1 + e^z), π/(p sin πp), along a line 0 < Re p < 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

_FORM = np.array([[0.0, -1.0, 1.0], [-1.0, 1.0, 0.0], [1.0, 0.0, -1.0]])  # of (f, f₊, f₋): 2(r₊ − r₋)
_DIGITS = 38.0  # −log of what is left out
_SAFE = 0.8  # of the strip in which an integrand is analytic
_MOST_NODES = 200_000


class OneNegative(NamedTuple):
    """Loss E log(1 + e^{(r₊ − r₋ + m)/τ}) of a linear encoder and its derivatives by its output moments.

    Parameters
    ----------
    loss
        Its value.
    active
        E σ((r₊ − r₋ + m)/τ), the mean weight of a pair, in (0, 1).
    by_sigma_s, by_sigma_d
        ∂L/∂S and ∂L/∂D for S = W Σs Wᵀ and D = W Σd Wᵀ, symmetric, shape (n2, n2).
    """

    loss: float
    active: float
    by_sigma_s: np.ndarray
    by_sigma_d: np.ndarray


def one_negative(S: Any, D: Any, temperature: float, margin: float = 0.0) -> OneNegative:
    """Loss of one negative and Gaussian views, and its derivatives by the second moments of the outputs.

        L = (1/2πi) ∫ M(p) e^{pm/τ} π/(p sin πp) dp,   M(p) = E e^{p(r₊ − r₋)/τ} = Π (1 − p μ_j)^{−1/2},

    μ the eigenvalues of Cov(f, f₊, f₋) times the form of r₊ − r₋, over τ. The line of integration is half way between
    the pole at 0 and the next singularity, min(1, 1/max μ), or at τ/m where that is less and e^{pm/τ} stays small; the
    trapezoidal rule converges geometrically in arsinh of the distance along the line.

    Parameters
    ----------
    S, D
        S = W Σs Wᵀ and D = W Σd Wᵀ, shape (n2, n2), 0 ≼ D ≼ S.
    temperature, margin
        τ > 0 and m >= 0: InfoNCE with one negative has m = 0, the triplet loss is τ L.

    Returns
    -------
    OneNegative
        To some 1e-13 of max(1, tr S/τ).

    Raises
    ------
    ValueError
        The temperature or margin is out of range, or the margin is above some 10,000 temperatures.

    Notes
    -----
    Source: R114.

    Examples
    --------
    >>> at_rest = one_negative([[4 / 7]], [[2 / 7]], 1.0)
    >>> abs(float(at_rest.by_sigma_s[0, 0] + 0.5 * at_rest.by_sigma_d[0, 0])) < 1e-14
    True
    """
    check_temperature(temperature)
    if not 0 <= margin < np.inf:
        raise ValueError(f"`margin` must be finite and >= 0, got {margin}")
    margin = margin / temperature
    S, D = (np.atleast_2d(np.asarray(part, dtype=np.float64)) / temperature for part in (S, D))
    n2 = len(S)
    zero = np.zeros_like(S)
    values, vectors = np.linalg.eigh(np.block([[S, D], [D, S]]))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    alone, turned = np.linalg.eigh(S)
    R = np.block([[root, np.zeros((2 * n2, n2))], [zero, zero, turned * np.sqrt(np.maximum(alone, 0.0))]])
    QR = np.kron(_FORM, np.eye(n2)) @ R
    mu, V = np.linalg.eigh(R.T @ QR)
    p, weight = _line(min(1 / max(1.0, float(mu[-1])), 2 / max(margin, 2.0)) / 2, margin)
    factors = 1 - np.multiply.outer(p, mu)
    # e^{pm/τ}/sin πp without overflow of either: |e^{…}| is constant along the line, and the sum is a real part
    kernel = weight * np.pi / np.sin(np.pi * p) / np.sqrt(factors).prod(axis=1)
    scale = float(np.exp(p[0].real * margin))
    kernel = kernel * np.exp(1j * p.imag * margin)
    loss = scale * float(np.sum(kernel / p).real)
    active = scale * float(np.sum(kernel).real)
    along = scale * np.real((kernel * p) @ (1 / factors)) / 2
    QRV = QR @ V
    X = (active / 2) * np.kron(_FORM, np.eye(n2)) + (QRV * along) @ QRV.T
    blocks = X.reshape(3, n2, 3, n2).transpose(0, 2, 1, 3) / temperature
    by_d = blocks[0, 1] + blocks[1, 0]
    return OneNegative(loss, active, blocks[0, 0] + blocks[1, 1] + blocks[2, 2], (by_d + by_d.T) / 2)


def _line(c: float, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes p = c + ic sinh u, u >= 0, of the trapezoidal rule in u, and its weights, doubled for u < 0.

    All singularities are real, at |p − c| >= c, which is |Im u| = π/2. The factor e^{pm/τ} grows with Im u where
    1/sin πp does not make up for it beyond Im u = arctan(πτ/m).
    """
    strip = np.arctan2(np.pi, margin)
    step = 2 * np.pi * _SAFE * strip / _DIGITS
    n = int(np.arcsinh(_DIGITS / np.pi / c) / step) + 1
    if n > _MOST_NODES:
        raise ValueError(
            f"`margin` must be at most about {_MOST_NODES / 20:g} temperatures, got {margin:.3g} of them"
        )
    u = step * np.arange(n + 1)
    weight = step * c * np.cosh(u) / np.pi
    weight[0] /= 2
    return c + 1j * c * np.sinh(u), weight


def check_temperature(temperature: Any) -> None:
    """Refuse a temperature that is not positive."""
    if not 0 < temperature < np.inf:
        raise ValueError(f"`temperature` must be finite and > 0, got {temperature}")
