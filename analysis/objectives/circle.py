"""Features projected to a circle: the law of linear encoders, its entropy and its uniformity (R335, R336)."""

from __future__ import annotations

from typing import Any

import numpy as np

_TERMS = 24  # I_48(4) < 1e-46


def _check_spread(b: Any) -> np.ndarray:
    array = np.asarray(b, dtype=np.float64)
    bad = ~((array >= 0) & (array <= 1))
    if np.any(bad):
        raise ValueError(f"`b` must be from 0 to 1, got {array[bad].flat[0]}")
    return array


def circle_density(phi: Any, b: Any) -> np.ndarray:
    """Density on the circle of normalised elliptical features, the angular central Gaussian law.

        f(φ) = b/(2π (b² cos²φ + sin²φ))

    Parameters
    ----------
    phi
        Angle to the first principal axis, any shape.
    b
        σ2/σ1 of the two principal deviations, 0 < b <= 1.

    Returns
    -------
    array
        f, of the shape of φ and b together: 1/(2πb) at φ = 0, b/2π across.

    Raises
    ------
    ValueError
        b is not within 0 and 1, or 0, where all mass is on two points.

    Notes
    -----
    Source: R335.

    Examples
    --------
    >>> circle_density([0.0, np.pi / 2], 0.5).round(6)
    array([0.31831 , 0.079577])
    """
    spread = _check_spread(b)
    if np.any(spread == 0):
        raise ValueError("`b` must be > 0 for a density, got 0")
    sine, cosine = np.sin(phi), np.cos(phi)
    return np.asarray(spread / (2 * np.pi * ((spread * cosine) ** 2 + sine**2)))


def circle_entropy(b: Any) -> np.ndarray:
    """Differential entropy of `circle_density`, ln 2π − ln((1 + b)²/4b); −∞ for b = 0.

    Parameters
    ----------
    b
        σ2/σ1, from 0 to 1, any shape.

    Notes
    -----
    Source: R335.

    Examples
    --------
    >>> round(float(circle_entropy(0.3)), 4)
    1.4955
    """
    spread = _check_spread(b)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(8 * np.pi) + np.log(spread) - 2 * np.log1p(spread))


def circle_uniformity(b: Any) -> np.ndarray:
    """Uniformity log E e^{−2‖u − v‖²} of two independent points of `circle_density`.

        −4 + ln[I0(4) + 2 Σ_{k>=1} I_{2k}(4) ρ^{2k}],  ρ = (1 − b)/(1 + b)

    Parameters
    ----------
    b
        σ2/σ1, from 0 to 1, any shape.

    Returns
    -------
    array
        From −1.5750 at b = 1, the best on a circle, to −0.6928 at b = 0, two antipodal points: the collapse of
        centred features to a line. Features that collapse to a point have 0.

    Notes
    -----
    Twice the angle has a wrapped Cauchy law, whose k-th moment is ρ^k. Source: R335.

    Examples
    --------
    >>> circle_uniformity([1.0, 0.5, 0.1, 0.01, 0.0]).round(4)
    array([-1.575 , -1.4533, -0.9429, -0.721 , -0.6928])
    """
    from scipy.special import ive

    spread = _check_spread(b)
    rho = (1 - spread) / (1 + spread)
    k = np.arange(1, _TERMS + 1)
    series = ive(0, 4.0) + 2 * np.sum(ive(2 * k, 4.0) * rho[..., None] ** (2 * k), axis=-1)
    return np.asarray(np.log(series))


def sphere_uniformity(d: int) -> float:
    """Uniformity of the uniform law on S^{d−1}, −4 + ln ₀F₁(; d/2; 4), the best in d dimensions.

    >>> round(sphere_uniformity(2), 4), round(sphere_uniformity(8), 4)
    (-1.575, -3.0825)
    """
    from scipy.special import hyp0f1

    if d < 2:
        raise ValueError(f"`d` must be an integer >= 2, got {d}")
    return float(np.log(hyp0f1(d / 2, 4.0)) - 4)


def line_uniformity(share: float) -> float:
    """Uniformity of features on a line through 0, a share p on one side: ln(p² + (1 − p)² + 2p(1 − p)e^{−8}).

    >>> round(line_uniformity(0.5), 4), line_uniformity(1.0)
    (-0.6928, 0.0)
    """
    if not 0 <= share <= 1:
        raise ValueError(f"`share` must be from 0 to 1, got {share}")
    # 1 − 2p(1 − p)(1 − e^{−8}), without cancellation near p = 0 or 1
    return float(np.log1p(2 * share * (1 - share) * np.expm1(-8.0)) + 0.0)


def circle_projection(features: Any) -> tuple[np.ndarray, float]:
    """Angles of centred features in the plane of their two leading principal axes, and b = σ2/σ1 there.

    Parameters
    ----------
    features
        Shape (N, n2), N >= 2 and n2 >= 2.

    Returns
    -------
    angles, b
        Shape (N,), within −π and π, from the first axis; and the ratio of deviations, 0 for features on a line.

    Raises
    ------
    ValueError
        The shape does not fit, or all features are the same.

    Notes
    -----
    Source: R335; the basis of the figure in RAFT is not given (E37).

    Examples
    --------
    >>> circle_projection([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])[1]
    0.5
    """
    z = np.asarray(features, dtype=np.float64)
    if z.ndim != 2 or len(z) < 2 or z.shape[1] < 2:
        raise ValueError(f"`features` must have shape (N, n2), N and n2 >= 2, got {z.shape}")
    z = z - z.mean(axis=0)
    size = float(np.max(np.abs(z)))
    if not 0 < size < np.inf:
        raise ValueError(f"`features` must be finite and not all the same, got a spread of {size}")
    _, values, axes = np.linalg.svd(z / size, full_matrices=False)
    plane = z / size @ axes[:2].T
    return np.arctan2(plane[:, 1], plane[:, 0]), float(values[1] / values[0])


def sample_uniformity(points: Any) -> float:
    """Uniformity log mean e^{−2‖u − v‖²} of normalised points, over pairs of different points.

    >>> sample_uniformity([[1.0, 0.0], [3.0, 0.0]])
    0.0
    """
    from scipy.spatial.distance import pdist
    from scipy.special import logsumexp

    u = np.asarray(points, dtype=np.float64)
    u = u / np.max(np.abs(u), axis=1, keepdims=True)
    u = u / np.linalg.norm(u, axis=1, keepdims=True)
    squares = pdist(u, "sqeuclidean")
    return float(logsumexp(-2 * squares) - np.log(squares.size))


def wrapped_kde(phi: Any, angles: Any, bandwidth: float) -> np.ndarray:
    """Kernel estimate of a density on the circle by wrapped Gaussians.

        f(φ) = (1/2πN) Σ_i [1 + 2 Σ_k e^{−k² h²/2} cos k(φ − φ_i)]

    Parameters
    ----------
    phi
        Angles at which f is wanted, shape (n,).
    angles
        φ_i, shape (N,).
    bandwidth
        h, the deviation of a kernel, at least 0.01.

    Examples
    --------
    >>> wrapped_kde([0.0], [0.0], 0.1).round(6)  # 1/√(2π)/0.1
    array([3.989423])
    """
    if not 0.01 <= bandwidth < np.inf:
        raise ValueError(f"`bandwidth` must be finite and >= 0.01, got {bandwidth}")
    k = np.arange(1, int(np.ceil(9 / bandwidth)) + 1)
    moments = np.mean(np.exp(1j * np.outer(k, angles)), axis=1) * np.exp(-((k * bandwidth) ** 2) / 2)
    waves = np.exp(-1j * np.outer(phi, k)) @ moments
    return np.asarray((1 + 2 * waves.real) / (2 * np.pi))
