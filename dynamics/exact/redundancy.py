"""Exact solutions and rest points of a linear encoder under Barlow Twins, spectral and whitened losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.exact.arithmetic import solution_times
from dynamics.fields.contrastive import encoder_start
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem


def check_size(name: str, value: Any, *, zero: bool = False) -> np.ndarray:
    """Numbers that are finite and > 0, or >= 0."""
    array = np.asarray(value, dtype=np.float64)
    bad = ~(np.isfinite(array) & ((array >= 0) if zero else (array > 0)))
    if np.any(bad):
        raise ValueError(f"`{name}` must be finite and {'>=' if zero else '>'} 0, got {array[bad].flat[0]}")
    return array


def check_ratio(name: str, value: Any) -> np.ndarray:
    """Ratios from 0 to 1."""
    array = np.asarray(value, dtype=np.float64)
    bad = ~((array >= 0) & (array <= 1))
    if np.any(bad):
        raise ValueError(f"`{name}` must be from 0 to 1, got {array[bad].flat[0]}")
    return array


def barlow_twins_mode(ts: Any, online: Any, lambda_d: Any) -> np.ndarray:
    """Weight of a row along an eigenvector of Σd that no other row has, under Barlow Twins.

        u = λd w²,  u(t) = u0/(u0 + (1 − u0) e^{−8 λd t})

    Parameters
    ----------
    ts
        Times t >= 0, shape (T,) or a number.
    online
        w(0), any sign, shape (n_rows,) or a number.
    lambda_d
        λd > 0, likewise.

    Returns
    -------
    array
        w(t), shape ts.shape + (n_rows,); off-diagonal terms vanish for such rows, whatever their weight.

    Raises
    ------
    ValueError
        A time or λd is out of range.

    Notes
    -----
    Source: R325.

    Examples
    --------
    >>> barlow_twins_mode([0.0, 100.0], 0.1, 0.25)
    array([0.1, 2. ])
    """
    t = solution_times(ts)
    w, ld = np.asarray(online, dtype=np.float64), check_size("lambda_d", lambda_d)
    t = t.reshape(t.shape + (1,) * np.broadcast(w, ld).ndim)
    decayed = np.exp(-8 * ld * t)
    return np.asarray(w / np.sqrt(decayed - np.expm1(-8 * ld * t) * (ld * w**2)))


def barlow_twins_plateau(k: int, n: int, off_diagonal: float) -> float:
    """Correlation λd s² = c_k of k learned modes shared evenly by n rows, 1/(λ + (1 − λ) k/n).

    Parameters
    ----------
    k, n
        Modes learned and rows, 1 <= k <= n.
    off_diagonal
        λ >= 0.

    Returns
    -------
    float
        c_k; the loss there is n − k c_k.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    A stepwise rest point of the unnormalised loss where the rows share the modes so that each has an equal part.
    Source: R325.

    Examples
    --------
    >>> round(barlow_twins_plateau(1, 4, 0.3), 3)
    2.105
    """
    if not 1 <= k <= n:
        raise ValueError(f"`k` must be from 1 to {n}, got {k}")
    weight = float(check_size("off_diagonal", off_diagonal, zero=True))
    return 1 / (weight + (1 - weight) * k / n)


def barlow_twins_rate(lambda_d: float, k: int, n: int, off_diagonal: float) -> float:
    """Rate at which the weights of one more mode grow on the plateau of k, 4 λd λ c_k.

    Parameters
    ----------
    lambda_d
        λd > 0 of that mode.
    k, n, off_diagonal
        As for `barlow_twins_plateau`.

    Returns
    -------
    float
        0 for λ = 0: the plateau is final.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R325.

    Examples
    --------
    >>> round(barlow_twins_rate(0.3, 1, 4, 0.3), 4)
    0.7579
    """
    return float(
        4 * check_size("lambda_d", lambda_d) * off_diagonal * barlow_twins_plateau(k, n, off_diagonal)
    )


def eigenmodes_are_minimum(ratios: Any, off_diagonal: float, unlearned: float = 0.0) -> bool:
    """Whether rows along one eigenmode each are a strict minimum of normalised Barlow Twins, but for their lengths.

        λ [r_i²(1 − r_i) − r_j²(1 − r_j)] > (1 − r_i)(1 − r_j)(r_i − r_j) for every pair r_i > r_j of rows,

    and every r_i exceeds those that no row has.

    Parameters
    ----------
    ratios
        r of the rows, different, within 0 and 1.
    off_diagonal
        λ >= 0.
    unlearned
        The largest r of the modes that no row lies along; 0 if there is none.

    Returns
    -------
    bool
        False on the edge, too.

    Raises
    ------
    ValueError
        A number is out of range, or two ratios are equal.

    Notes
    -----
    Never, whatever λ, where r_i²(1 − r_i) <= r_j²(1 − r_j): then rows are rotated mixtures. Source: R326.

    Examples
    --------
    >>> eigenmodes_are_minimum([0.6, 0.3], 2.0), eigenmodes_are_minimum([0.95, 0.7], 1e6)
    (True, False)
    """
    r = np.sort(check_ratio("ratios", ratios))[::-1]
    weight = float(check_size("off_diagonal", off_diagonal, zero=True))
    if np.any(r[1:] == r[:-1]):
        raise ValueError(f"`ratios` must be different, got {np.asarray(ratios).tolist()}")
    if r[-1] <= float(check_ratio("unlearned", unlearned)) and unlearned:
        return False
    i, j = np.triu_indices(r.size, 1)
    gain = r[i] ** 2 * (1 - r[i]) - r[j] ** 2 * (1 - r[j])
    return bool(np.all(weight * gain > (1 - r[i]) * (1 - r[j]) * (r[i] - r[j])))


def spectral_mode(ts: Any, online: Any, lambda_s: Any, lambda_d: Any) -> np.ndarray:
    """Weight of a row along a mode of its own under the spectral contrastive loss.

        u = w²,  du/dt = 8 λd u (1 − λs² u/λd): logistic with rate 8 λd and end u = λd/λs², w Σs w = r

    Parameters
    ----------
    ts
        Times t >= 0, shape (T,) or a number.
    online
        w(0), any sign, shape (n_rows,) or a number.
    lambda_s, lambda_d
        λs and λd > 0, likewise.

    Returns
    -------
    array
        w(t), shape ts.shape + (n_rows,).

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R328.

    Examples
    --------
    >>> round(float(spectral_mode(0.8, 0.05, 1.4, 0.9)) ** 2, 8)
    0.29142964
    """
    t = solution_times(ts)
    w = np.asarray(online, dtype=np.float64)
    ls, ld = check_size("lambda_s", lambda_s), check_size("lambda_d", lambda_d)
    t = t.reshape(t.shape + (1,) * np.broadcast(w, ls, ld).ndim)
    decayed = np.exp(-8 * ld * t)
    return np.asarray(w / np.sqrt(decayed - np.expm1(-8 * ld * t) * (ls * w) * (ls / ld * w)))


def spectral_gram(ts: Any, start: EncoderState, sigma_d: Any) -> np.ndarray:
    """WᵀW of an encoder under the spectral contrastive loss with Σs = I, from any start.

        WᵀW = e^{4Σd t} W0ᵀ [I + 8 W0 Z W0ᵀ]^{−1} W0 e^{4Σd t},  Z = (e^{8Σd t} − I)(8Σd)^{−1}

    Parameters
    ----------
    ts
        Times t >= 0, shape (T,).
    start
        W(0), shape (n2, n1).
    sigma_d
        Σd, shape (n1, n1), symmetric positive semidefinite, or its diagonal.

    Returns
    -------
    array
        Shape (T, n1, n1).

    Raises
    ------
    ValueError
        A time is negative, or a shape does not fit.

    Notes
    -----
    Long times are taken in steps, of which each is exact, so that no exponential overflows. Source: R328.

    Examples
    --------
    >>> spectral_gram([50.0], EncoderState([[0.1, 0.1]]), [0.9, 0.5]).round(9) + 0.0
    array([[[0.9, 0. ],
            [0. , 0. ]]])
    """
    t = solution_times(ts)
    sigma = np.asarray(sigma_d, dtype=np.float64)
    system = MatrixSystem(np.eye(len(sigma)), np.diag(sigma) if sigma.ndim == 1 else sigma)
    W = encoder_start(start, system).online
    values, vectors = (part[..., ::-1] for part in np.linalg.eigh(system.sigma_d))
    values = np.maximum(values, 0.0)
    _, size, right = np.linalg.svd(W @ vectors, full_matrices=False)  # WᵀW has no need of the left factor
    kept = size > max(W.shape) * np.finfo(float).eps * size[0]
    A = size[kept, None] * right[kept]
    grams = []
    for time in t.ravel():
        B = A
        n_steps = max(1, int(np.ceil(4 * values[0] * time / _LARGEST_EXPONENT)))
        for _ in range(n_steps if kept.any() else 0):
            B = _spectral_step(B, values, time / n_steps)
        grams.append(vectors @ (B.T @ B) @ vectors.T)
    return np.array(grams).reshape(t.shape + system.sigma_d.shape)


_LARGEST_EXPONENT = 200.0
"""Of e^{4λt} in one application of the solution, whose squares are floats."""


def _spectral_step(A: np.ndarray, values: np.ndarray, time: float) -> np.ndarray:
    """Square root of the solution, with A e^{4Λt} = RᵀQᵀ: Q [R^{−T}R^{−1} + QᵀFQ]^{−1} Qᵀ, F = (I − e^{−8Λt})Λ^{−1}.

    In this order nothing is added that rounding would hide: eigenvalues descend, and so do rows of Q R.
    """
    from scipy.linalg import solve_triangular

    Q, R = np.linalg.qr((A * np.exp(4 * values * time)).T)
    filled = np.where(values > 0, -np.expm1(-8 * values * time) / np.where(values > 0, values, 1.0), 8 * time)
    inverse = solve_triangular(R, np.eye(len(R)))
    precision = inverse.T @ inverse + (Q.T * filled) @ Q
    lower = np.linalg.cholesky(precision)  # precision = L Lᵀ, so Q L^{−T} is the root
    return np.asarray(solve_triangular(lower, Q.T, lower=True))


def oja_subspace(ts: Any, start: EncoderState, system: MatrixSystem) -> np.ndarray:
    """Projector on the row space of V = W Σs^{½} under whitened alignment: that of V0 e^{Mt}.

    Parameters
    ----------
    ts
        Times t >= 0, shape (T,).
    start
        W(0), shape (n2, n1), of rank n2.
    system
        Σs ≻ 0 and Σd; M = Σs^{−½} Σd Σs^{−½}.

    Returns
    -------
    array
        VᵀV, shape (T, n1, n1). Angles to the top modes shrink as e^{−(r_k − r_{k+1})t}.

    Raises
    ------
    ValueError
        A time is negative, or a shape does not fit.

    Notes
    -----
    Source: R329.

    Examples
    --------
    >>> system = MatrixSystem([1.0, 1.0], [0.9, 0.4])
    >>> oja_subspace([100.0], EncoderState([[1.0, 1.0]]), system).round(12)
    array([[[1., 0.],
            [0., 0.]]])
    """
    t = solution_times(ts)
    W = encoder_start(start, system).online
    sigma_s, sigma_d = (np.diag(x) if x.ndim == 1 else x for x in (system.sigma_s, system.sigma_d))
    values, vectors = np.linalg.eigh(sigma_s)
    if not values[0] > 0:
        raise ValueError(f"`sigma_s` must be positive definite, got an eigenvalue {values[0]:.3g}")
    root, inverse = ((vectors * values**power) @ vectors.T for power in (0.5, -0.5))
    ratios, modes = np.linalg.eigh(inverse @ sigma_d @ inverse)
    A = W @ root @ modes
    found = []
    for time in t:
        # columns by descending size: Householder QR then keeps what is small beside what is large
        grown = (A * np.exp((ratios - ratios[-1]) * time))[:, ::-1].T
        basis = modes[:, ::-1] @ np.linalg.qr(grown)[0]
        found.append(basis @ basis.T)
    return np.array(found).reshape(t.shape + sigma_s.shape)
