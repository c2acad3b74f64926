"""VICReg of a linear encoder: one row in closed form, and the spectrum that it learns, water-filling (R327)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynamics.exact.arithmetic import solution_times
from dynamics.exact.redundancy import check_ratio, check_size
from dynamics.system import MatrixSystem


def vicreg_row(
    ts: Any, online: float, lambda_s: float, ratio: float, *, invariance: float, variance: float
) -> np.ndarray:
    """Weight of one row along one mode under VICReg, up to std = 1.

        dw/dt = −4λ_i (λs − λd) w + μ √λs sign w:  w = w0 e^{−at} + (μ √λs/a)(1 − e^{−at}),  a = 4λ_i λs (1 − r),

    until √λs |w| = 1, where it stays if a <= μ λs.

    Parameters
    ----------
    ts
        Times t >= 0, any shape.
    online
        w(0), not 0, √λs |w| <= 1.
    lambda_s, ratio
        λs > 0 and r from 0 to 1.
    invariance, variance
        λ_i and μ >= 0.

    Returns
    -------
    array
        w(t), of the shape of `ts`.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    The flow is linear: no plateau, however small the start. Source: R327.

    Examples
    --------
    >>> round(float(vicreg_row(0.3, 0.001, 1.7, 0.6, invariance=1.0, variance=0.9)), 8)
    0.24108838
    """
    t = solution_times(ts)
    ls, r = float(check_size("lambda_s", lambda_s)), float(check_ratio("ratio", ratio))
    check_size("invariance", invariance, zero=True)
    check_size("variance", variance, zero=True)
    root = np.sqrt(ls)
    if not 0 < root * abs(online) <= 1:
        raise ValueError(f"`online` must not be 0, and √λs |w| at most 1, got w = {online}")
    a = 4 * invariance * ls * (1 - r)
    # (1 − e^{−at})/a, which is t for a = 0
    rise = -np.expm1(-a * t) / a if a > 0 else t
    w = abs(online) * np.exp(-a * t) + variance * root * rise
    return np.asarray(np.sign(online) * np.minimum(w, 1 / root))


def vicreg_std(ratio: Any, *, invariance: float, variance: float) -> np.ndarray:
    """Standard deviation at which one row of VICReg rests, min(1, μ/(4λ_i(1 − r))).

    Parameters
    ----------
    ratio
        r from 0 to 1, any shape.
    invariance, variance
        λ_i >= 0 and μ > 0.

    Notes
    -----
    Source: R327.

    Examples
    --------
    >>> vicreg_std([0.6, 0.9], invariance=1.0, variance=0.9)
    array([0.5625, 1.    ])
    """
    r = check_ratio("ratio", ratio)
    demand = 4 * float(check_size("invariance", invariance, zero=True)) * (1 - r)
    mu = float(check_size("variance", variance))
    return np.asarray(mu / np.maximum(demand, mu))


class WaterFilling(NamedTuple):
    """Spectrum of VICReg with saturated standard deviations.

    Parameters
    ----------
    amplitudes
        g, eigenvalues of K = W Σs Wᵀ, in the order of the ratios, shape (n1,).
    level
        m, the water level: g_k = (λ_i r_k − m)₊/ν; λ_i r_1 for ν = 0.
    pull
        4 (λ_i − m − ν), what the hinge of each row has to hold: standard deviations are saturated if μ is no less.
    """

    amplitudes: np.ndarray
    level: float
    pull: float


def vicreg_spectrum(ratios: Any, n2: int, *, invariance: float, covariance: float) -> WaterFilling:
    """Eigenvalues of W Σs Wᵀ that VICReg learns when all standard deviations are 1: water-filling.

        g_k = (λ_i r_k − m)₊/ν,  Σ g_k = n2, of the n2 largest ratios

    Parameters
    ----------
    ratios
        r from 0 to 1, in any order, shape (n1,).
    n2
        Rows, >= 1.
    invariance, covariance
        λ_i >= 0 and ν >= 0.

    Returns
    -------
    WaterFilling
        For ν = 0 all of it lies on the largest ratio, shared evenly by ties.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    A minimum over G = VᵀV with tr G = n2 alone, of rank up to n2; rotations of the outputs reach unit standard
    deviations for every such G. Source: R327.

    Examples
    --------
    >>> found = vicreg_spectrum([0.95, 0.9, 0.7, 0.5, 0.3, 0.1], 4, invariance=1.0, covariance=0.2)
    >>> found.amplitudes.round(4)
    array([1.8333, 1.5833, 0.5833, 0.    , 0.    , 0.    ])
    """
    r = check_ratio("ratios", ratios)
    if r.ndim != 1 or r.size == 0:
        raise ValueError(f"`ratios` must have shape (n1,), got {r.shape}")
    if n2 < 1:
        raise ValueError(f"`n2` must be an integer >= 1, got {n2}")
    li = float(check_size("invariance", invariance, zero=True))
    nu = float(check_size("covariance", covariance, zero=True))
    order = np.argsort(-r, kind="stable")
    taken = r[order][: min(n2, r.size)]
    shares = np.zeros(r.size)
    if nu == 0:
        top = np.flatnonzero(taken == taken[0])
        shares[order[top]] = n2 / top.size
        return WaterFilling(shares, li * taken[0], 4 * li * (1 - taken[0]))
    rank = _water_rank(taken, n2, li, nu)
    below = li * (taken[:rank] - taken[:rank, None])  # λ_i (r_j − r_k), differences before sums
    shares[order[:rank]] = n2 / rank - np.mean(below, axis=1) / nu
    deficit = li * float(np.mean(1 - taken[:rank]))
    pull = 4 * (deficit + nu * (n2 / rank - 1))
    return WaterFilling(shares, li * float(np.mean(taken[:rank])) - nu * n2 / rank, pull)


def _water_rank(descending: np.ndarray, n2: int, invariance: float, covariance: float) -> int:
    k = np.arange(1, descending.size + 1)
    # Σ_{j<=k} (r_j − r_k) = Σ_{i<k} i (r_i − r_{i+1})
    spread = np.concatenate([[0.0], np.cumsum(k[:-1] * -np.diff(descending))])
    return int(np.sum(invariance * spread < covariance * n2))


def vicreg_rank(ratios: Any, n2: int, *, invariance: float, covariance: float) -> int:
    """Number of modes that VICReg learns, the largest k <= n2 with λ_i Σ_{j<=k} (r_j − r_k) < ν n2.

    Parameters, what is raised and source are those of `vicreg_spectrum`; for ν = 0 it counts the modes of largest
    ratio.

    >>> vicreg_rank([0.95, 0.9, 0.7, 0.5, 0.3, 0.1], 4, invariance=1.0, covariance=0.1)
    2
    """
    found = vicreg_spectrum(ratios, n2, invariance=invariance, covariance=covariance)
    return int(np.sum(found.amplitudes > 0))


def vicreg_encoder(system: MatrixSystem, n2: int, *, invariance: float, covariance: float) -> np.ndarray:
    """Encoder with the spectrum of `vicreg_spectrum` and unit standard deviations, at rest for μ >= its pull.

    Parameters
    ----------
    system
        Σs ≻ 0 and Σd.
    n2
        Rows, >= 1.
    invariance, covariance
        λ_i >= 0 and ν > 0.

    Returns
    -------
    array
        W, shape (n2, n1), one of those that rotations W → Q W with unit diagonal of W Σs Wᵀ make of each other.

    Raises
    ------
    ValueError
        A number is out of range, or Σs is singular.

    Notes
    -----
    Source: R327.

    Examples
    --------
    >>> system = MatrixSystem(np.ones(2), np.array([0.9, 0.5]))
    >>> W = vicreg_encoder(system, 2, invariance=1.0, covariance=1.0)
    >>> np.abs(W @ W.T).round(12)  # |K12| = λ_i(r1 − r2)/(2ν)
    array([[1. , 0.2],
           [0.2, 1. ]])
    """
    from scipy.linalg import eigh

    sigma_s, sigma_d = (np.diag(x) if x.ndim == 1 else x for x in (system.sigma_s, system.sigma_d))
    try:
        ratios, modes = (part[..., ::-1] for part in eigh(sigma_d, sigma_s))
    except np.linalg.LinAlgError:
        raise ValueError("`sigma_s` must be positive definite, got a singular matrix") from None
    found = vicreg_spectrum(np.clip(ratios, 0, 1), n2, invariance=invariance, covariance=covariance)
    size = min(n2, ratios.size)
    g = np.zeros(n2)
    g[:size] = found.amplitudes[:size]
    return unit_diagonal(g)[:, :size] @ (np.sqrt(g[:size, None]) * modes[:, :size].T)


def unit_diagonal(values: np.ndarray) -> np.ndarray:
    """Orthogonal Q for which Q diag(g) Qᵀ has a diagonal of ones, for g >= 0 with Σ g = n (Schur and Horn).

    >>> Q = unit_diagonal(np.array([1.5, 0.5]))
    >>> (Q @ np.diag([1.5, 0.5]) @ Q.T).round(12)
    array([[ 1. , -0.5],
           [-0.5,  1. ]])
    """
    n = len(values)
    K, Q = np.diag(np.asarray(values, dtype=np.float64)), np.eye(n)
    for _ in range(n - 1):
        d = np.diagonal(K) - 1
        high, low = int(np.argmax(d)), int(np.argmin(d))
        if d[high] - d[low] <= 4 * n * np.finfo(float).eps:
            break
        # the angle at which the smaller deviation becomes zero; rows that are at one stay, for they are neither extreme
        done, other = (high, low) if d[high] <= -d[low] else (low, high)
        a, b, c = d[done], d[other], K[done, other]
        tangent = (-c + np.sign(c or 1.0) * -np.sqrt(c * c - a * b)) / b
        cosine = 1 / np.hypot(1.0, tangent)
        G = np.eye(n)
        G[done, done] = G[other, other] = cosine
        G[done, other], G[other, done] = tangent * cosine, -tangent * cosine
        K, Q = G @ K @ G.T, G @ Q
    return Q
