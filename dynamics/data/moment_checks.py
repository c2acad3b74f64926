"""What second moments must satisfy, and what rounding leaves of it: symmetry, order, support."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.data.samples import check_finite, real_numbers

# A printed matrix has six significant digits at the least (%g): its entries are off by up to 5e-6 of themselves,
# and Σ by up to 5e-6 ‖Σ‖_F. Matrices that went through float32 (6e-8) or were summed in float64 lie well within.
SLACK = 5e-6


def check_one_shape(name_a: str, a: np.ndarray, name_b: str, b: np.ndarray) -> None:
    """Refuse two arrays of different shapes."""
    if a.shape != b.shape:
        raise ValueError(f"`{name_a}` and `{name_b}` must have one shape, got {a.shape} and {b.shape}")


def error_of_mean(squared_norms: np.ndarray, mean: np.ndarray) -> float:
    """Standard error of the mean of N independent matrices, from their squared Frobenius norms."""
    variance = float(np.mean(squared_norms)) - norm_of(mean) ** 2
    return float(np.sqrt(max(variance, 0.0) / (len(squared_norms) - 1)))


def norm_of(array: np.ndarray) -> float:
    """Frobenius norm, without overflow."""
    largest = float(np.max(np.abs(array)))
    return largest * float(np.linalg.norm(array / largest)) if largest else 0.0


def checked_symmetric(name: str, value: Any) -> np.ndarray:
    """A symmetric matrix of finite real numbers, exactly symmetric."""
    sigma = real_numbers(name, value)
    if sigma.ndim != 2 or sigma.shape[0] != sigma.shape[1] or sigma.size == 0:
        raise ValueError(f"`{name}` must be a square matrix, got shape {sigma.shape}")
    check_finite(name, sigma)
    asymmetry = np.max(np.abs(sigma - sigma.T))
    if asymmetry > 2 * SLACK * np.max(np.abs(sigma)):  # of two entries, each rounded by itself
        raise ValueError(f"`{name}` must be symmetric, got entries that differ by {asymmetry:.3g}")
    return 0.5 * sigma + 0.5 * sigma.T


def checked_orthonormal(name: str, value: Any, n_columns: int | None = None) -> np.ndarray:
    """A matrix with orthonormal columns, as many as asked for."""
    U = real_numbers(name, value)
    if U.ndim != 2 or not 0 < U.shape[1] <= U.shape[0] or n_columns not in (None, U.shape[1]):
        wanted = n_columns or "one or more"
        raise ValueError(f"`{name}` must have {wanted} orthonormal columns, got shape {U.shape}")
    check_finite(name, U)
    departure = np.max(np.abs(U.T @ U - np.eye(U.shape[1])))
    if departure > 2 * SLACK:  # |δ(uᵀv)| <= 2 SLACK ‖u‖ ‖v‖ when each entry is off by SLACK of itself
        raise ValueError(f"`{name}` must have orthonormal columns, got UᵀU that is off I by {departure:.3g}")
    return U


def covariance_of(name: str, value: Any) -> np.ndarray:
    """A symmetric positive semidefinite matrix, up to rounding."""
    sigma = checked_symmetric(name, value)
    check_semidefinite(name, sigma, slack_of(sigma, sigma))
    return sigma


def _is_diagonal(matrix: np.ndarray) -> bool:
    return np.count_nonzero(matrix) == np.count_nonzero(np.diag(matrix))


def slack_of(sigma_s: np.ndarray, sigma_d: np.ndarray) -> np.ndarray:
    """How far eigenvalues may be off: SLACK ‖Σs‖_F, and those of diagonal matrices by SLACK of themselves."""
    if _is_diagonal(sigma_s) and _is_diagonal(sigma_d):
        return SLACK * np.abs(np.diag(sigma_s)) + np.finfo(float).tiny
    return np.full(len(sigma_s), SLACK * norm_of(sigma_s))


def _is_semidefinite(sigma: np.ndarray, slack: np.ndarray) -> bool:
    try:
        np.linalg.cholesky(sigma + np.diag(slack))  # a tenth of the cost of eigenvalues
    except np.linalg.LinAlgError:
        return False
    return True


def check_semidefinite(name: str, sigma: np.ndarray, slack: np.ndarray) -> None:
    """Refuse a matrix with an eigenvalue below zero by more than rounding."""
    if not _is_semidefinite(sigma, slack):
        least = np.linalg.eigvalsh(sigma)[0]
        raise ValueError(f"`{name}` must be positive semidefinite, got a smallest eigenvalue of {least:.3g}")


def check_order(sigma_s: np.ndarray, sigma_d: np.ndarray) -> None:
    """Refuse moments without Σs − Σd ⪰ 0, up to rounding (R16)."""
    if not _is_semidefinite(sigma_s - sigma_d, slack_of(sigma_s, sigma_d)):
        from scipy.linalg import eigvalsh

        largest = eigvalsh(sigma_d, sigma_s)[-1]
        raise ValueError(f"`sigma_d` must be at most `sigma_s`, got a ratio of {largest:.7g} > 1")


def support_of(sigma_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of Σs above rounding, shape (n1,), and their eigenvectors, shape (n, n1)."""
    n, norm = len(sigma_s), norm_of(sigma_s)
    if norm == 0:
        raise ValueError("`sigma_s` must not be zero: there is nothing to learn from")
    values, vectors, rounding = np.diag(sigma_s), np.eye(n), 0.0
    if not _is_diagonal(sigma_s):
        values, vectors = np.linalg.eigh(sigma_s)
        # sums and eigenvalues in float64 err by n eps, entries of float32 by eps/2, and what rounding has put
        # below zero it may as well have put above
        with np.errstate(over="ignore"):
            float32 = np.array_equal(sigma_s, sigma_s.astype(np.float32))
        eps = max(n * float(np.finfo(np.float64).eps), float32 * float(np.finfo(np.float32).eps))
        rounding = max(eps * norm, -2 * values[0])
    least = np.min(values)
    if least < -SLACK * norm:
        raise ValueError(f"`sigma_s` must be positive semidefinite, got a smallest eigenvalue of {least:.3g}")
    keep = values > rounding
    return values[keep], vectors[:, keep]


def restricted(sigma_s: np.ndarray, sigma_d: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Σd in a basis of the support of Σs, refused when it reaches outside."""
    inside = basis.T @ sigma_d @ basis
    outside, norm = norm_of(sigma_d - basis @ inside @ basis.T), norm_of(sigma_s)
    # with t the trace of Σs over what is dropped, Σd ≼ Σs leaves sqrt(t ‖Σs‖) between that and what is kept
    # at most (Cauchy-Schwarz), above the diagonal and below
    dropped = max(np.trace(sigma_s) - np.trace(basis.T @ sigma_s @ basis), 0.0)
    if outside > SLACK * norm + 2 * np.sqrt(dropped * norm):
        raise ValueError(f"`sigma_d` must vanish where `sigma_s` does, got norm {outside:.3g} there")
    return (inside + inside.T) / 2
