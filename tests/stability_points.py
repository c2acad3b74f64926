"""Fixed points for tests of stability: in general position, decoupled, turned; and spectra computed plainly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from dynamics.fields.matrices import full_field
from dynamics.states import MatrixState, pack, unpack
from dynamics.system import MatrixSystem

RATES = {"tau_online": 0.7, "tau_predictor": 1.3, "tau_target": 2.0}


class Point(NamedTuple):
    state: MatrixState
    system: MatrixSystem


def orthogonal(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def symmetric(A: np.ndarray) -> np.ndarray:
    return (A + A.T) / 2


def general_point(seed: int, *, commuting: bool, n1: int | None = None, n2: int | None = None) -> Point:
    """A fixed point (S W, S P S⁻¹) of R4 with some rows collapsed, up to 60 unknowns, nothing aligned or balanced."""
    rng = np.random.default_rng(seed)
    n2 = n2 or int(rng.integers(1, 4))
    n1 = n1 or int(rng.integers(1, 9 if n2 < 3 else 8))
    r, ls = rng.uniform(0.1, 0.95, n1), rng.uniform(0.5, 2.0, n1)
    U = orthogonal(rng, n1)
    A = U * np.sqrt(ls)  # Σs = A Aᵀ, Σd = A R Aᵀ; rows of A⁻¹ are left eigenvectors of M
    if not commuting:
        A = (
            A
            @ orthogonal(rng, n1)
            @ (np.eye(n1) + 0.3 * symmetric(rng.uniform(-1, 1, (n1, n1))) / np.sqrt(n1))
        )
    system = MatrixSystem(symmetric(A @ A.T), symmetric((A * r) @ A.T), **RATES)
    k = int(rng.integers(0, min(n1, n2) + 1))
    chosen = rng.choice(n1, k, replace=False)
    W = np.zeros((n2, n1))
    W[:k] = rng.uniform(0.3, 1.2, k)[:, None] * np.linalg.inv(A)[chosen]
    p = np.concatenate([r[chosen], rng.uniform(-0.5, 1.0, n2 - k)])
    S = orthogonal(rng, n2) * rng.uniform(0.5, 2.0, n2) @ orthogonal(rng, n2)
    return Point(system.state(S @ W, S * p @ np.linalg.inv(S)), system)


def decoupled_point(
    lambda_s: np.ndarray, ratio: np.ndarray, modes: list[int], w: np.ndarray, p: np.ndarray, **rates: float
) -> Point:
    """R9: row i holds modes[i] with amplitude w[i] and P's eigenvalue p[i]; mode −1 is a collapsed row."""
    system = MatrixSystem(lambda_s, lambda_s * ratio, **rates)
    W = np.zeros((len(modes), len(ratio)))
    for i, j in enumerate(modes):
        if j >= 0:
            W[i, j] = w[i]
    return Point(system.state(W, np.diag(p)), system)


def turned(point: Point, seed: int) -> Point:
    """The same point in other orthonormal coordinates of features and inputs."""
    rng = np.random.default_rng(seed)
    (W, P, _), system = point
    Q, U = orthogonal(rng, W.shape[0]), orthogonal(rng, W.shape[1])
    rates = {n: getattr(system, n) for n in ("tau_online", "tau_predictor", "tau_target", "weight_decay")}
    full = MatrixSystem(symmetric(U * system.sigma_s @ U.T), symmetric(U * system.sigma_d @ U.T), **rates)
    return Point(full.state(Q @ W @ U.T, Q @ P @ Q.T), full)


def difference_jacobian(point: Point) -> np.ndarray:
    """Five-point differences: exact up to rounding for the flow, a polynomial of degree 3. Rounding is ε/h ~ 1e-14."""
    state, system = point
    x, h = pack(state), 0.02

    def flow(v: np.ndarray) -> np.ndarray:
        return pack(full_field(0.0, unpack(v, state), system))

    columns = [
        (8 * (flow(x + h * e) - flow(x - h * e)) - (flow(x + 2 * h * e) - flow(x - 2 * h * e))) / (12 * h)
        for e in np.eye(x.size)
    ]
    return np.stack(columns, axis=1)


def spectral_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Largest distance in the best pairing of two spectra."""
    distance = np.abs(a[:, None] - b[None])
    return float(np.max(distance[linear_sum_assignment(distance)]))


def r9_spectrum(point: Point, modes: list[int]) -> np.ndarray:
    """Eigenvalues of the blocks as R9 prints them, one (row, mode) pair at a time, and what is left of δP: zeros."""
    (W, P, _), system = point
    to, tp, tt = system.tau_online, system.tau_predictor, system.tau_target
    n2, n1 = W.shape
    spectrum: list[complex] = []
    for p in np.diag(P):
        for j in range(n1):
            ls, ld = system.sigma_s[j], system.sigma_d[j]
            w = np.linalg.norm(W[:, j])
            block = np.array(
                [
                    [-p * p * ls / to, -p * ls * w / to, p * ld / to],
                    [-w * p * ls / tp, -w * w * ls / tp, w * ld / tp],
                    [1 / tt, 0, -1 / tt],
                ]
            )
            spectrum += list(np.linalg.eigvals(block if j in modes else block[np.ix_([0, 2], [0, 2])]))
    held = len({j for j in modes if j >= 0})
    return np.array(spectrum + [0.0] * (n2 * (n2 - held)))


def tangent_dimension(point: Point) -> int:
    """Brute force: null space of δP W Σs + P δW Σs = δW Σd, by the singular values of its matrix."""
    (W, P, _), system = point
    sigma_s, sigma_d = (np.diag(s) if s.ndim == 1 else s for s in (system.sigma_s, system.sigma_d))
    n2, n1 = W.shape
    columns = [(A @ sigma_d - P @ A @ sigma_s).ravel() for A in np.eye(n2 * n1).reshape(-1, n2, n1)]
    columns += [-(B @ W @ sigma_s).ravel() for B in np.eye(n2 * n2).reshape(-1, n2, n2)]
    return len(columns) - int(np.sum(np.linalg.svd(np.array(columns), compute_uv=False) > 1e-9))
