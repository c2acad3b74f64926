"""Which encoders a predictor can hold: all solutions of the Sylvester equation P θ = θ M (R4, R17, R18).

With η = 0 and Θ = W a fixed point is exactly a solution of P W = W M, M = Σd Σs⁻¹. Eigenvalues of a defective
matrix are known only to the k-th root of rounding, so none is compared with another directly. The unit of work is
the cluster of `analysis.sylvester.invariant_subspaces`: eigenvalues that cannot be told apart, with an orthonormal
basis of their invariant subspace,

    P X = X T,    Yᴴ M = S Yᴴ,    θ = X Φ Yᴴ solves P θ = θ M  iff  T Φ = Φ S,

and every solution is a sum over pairs of clusters. Uncertainty is counted once: P and M are known up to a relative
`tolerance`, which moves T and S by at most the radii ρ of their clusters, and singular values of Φ ↦ T Φ − Φ S count
as zero up to ρ_P + ρ_M. Where M comes from moments it is Σs and Σd that are known so well: with Σd u = r Σs u and
uᵀ Σs u = 1 that moves r by tolerance·‖u‖²(‖Σd‖ + |r|‖Σs‖), much for directions of little variance, little for others.

What counts as shared is said in the same terms: the least relative perturbation of P and M after which both have an
eigenvalue λ, max(σmin(P − λ)/‖P‖, σmin(M − λ)/‖M‖) at the best λ. A Jordan block that is far from normal has a large
neighbourhood of such λ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.linalg
from scipy.linalg import lapack

from analysis.sylvester.intertwiners import (
    LARGEST_KRONECKER,
    kronecker_null_space,
)
from analysis.sylvester.invariant_subspaces import (
    schur_eigenvalues,
)
from analysis.sylvester.nearness import Pencil, Problem, Shared, shared_clusters, spectral_norm

LARGEST_BASIS_BYTES = 2**32
"""Largest basis that is written out, in bytes."""


class SecondMoments(Protocol):
    """Anything with moments Σs and Σd, (n1, n1) or as vectors (n1,) of a diagonal: a `MatrixSystem`, `Moments`."""

    @property
    def sigma_s(self) -> np.ndarray:
        """Σs."""

    @property
    def sigma_d(self) -> np.ndarray:
        """Σd."""


@dataclass(frozen=True, eq=False)
class SylvesterSolutions:
    """All θ with P θ = θ M, to a tolerance.

    Parameters
    ----------
    nullity
        Dimension of the space of solutions; 0 when only θ = 0 solves.
    shared_eigenvalues
        The eigenvalues of θ ↦ P θ on the solutions, shape (nullity,), descending: each shared eigenvalue as often
        as it contributes solutions. Complex only if one of them is.
    perturbation
        Least relative perturbation of P and M (or of Σs and Σd) that was found to make each of them equal in both,
        shape (nullity,), at most `tolerance`. Where it is far above rounding, P and M share the eigenvalue only as
        far as they are not known better.
    gap
        Smallest distance between an eigenvalue of P and one of M that were not counted as shared; inf if none.
        Eigenvalues of Jordan blocks of size k carry an error of about tolerance^(1/k).
    basis
        Shape (nullity, n2, n1), orthonormal in the Frobenius inner product, real if P and M are;
        None if it was not asked for.
    residual
        Largest ‖P θ − θ M‖_F / ((‖P‖₂ + ‖M‖₂) ‖θ‖_F) over the basis, and for moments that of the equation
        P θ Σs = θ Σd, over ‖P‖₂‖Σs‖₂ + ‖Σd‖₂; without a basis, an upper bound over the solutions that belong to one
        pair of clusters, of P φ = φ R with R = Σs^−½ Σd Σs^−½.
    method
        What was done, in words.
    tolerance
        Relative perturbation of P and M up to which eigenvalues were taken for shared.
    precision
        Floating-point type in which P and M were given, the coarser of the two.
    """

    nullity: int
    shared_eigenvalues: np.ndarray
    perturbation: np.ndarray
    gap: float
    basis: np.ndarray | None
    residual: float
    method: str
    tolerance: float
    precision: str

    def report(self) -> dict[str, Any]:
        """Return the solutions as a dictionary of plain values, as `dyn sylvester --json` prints it."""
        return {
            "nullity": self.nullity,
            "shared_eigenvalues": [[value.real, value.imag] for value in self.shared_eigenvalues.tolist()],
            "gap": self.gap if np.isfinite(self.gap) else None,
            "residual": self.residual,
            "method": self.method,
            "tolerance": self.tolerance,
            "perturbation": self.perturbation.tolist(),
            "precision": self.precision,
        }


def checked_matrix(name: str, value: Any, shape: tuple[int, int] | None = None) -> np.ndarray:
    """A matrix of finite numbers, of the shape asked for."""
    try:
        array = np.asarray(value)
        array = array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` must be a matrix of numbers, got {value!r}") from None
    if shape is None and (array.ndim != 2 or array.shape[0] != array.shape[1] or array.size == 0):
        raise ValueError(f"`{name}` must be a square matrix, got shape {array.shape}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"`{name}` must have shape {shape}, got {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"`{name}` must be finite, got {array[~np.isfinite(array)].flat[0]}")
    return array


def _precision(*given: Any) -> np.dtype:
    """Coarsest floating-point type among matrices as they were given; float64 for what is no array of floats."""
    kinds = [np.asarray(value).dtype for value in given if not hasattr(value, "sigma_s")]
    floats = [np.finfo(kind).dtype for kind in kinds if kind.kind in "fc"]
    return max([*floats, np.dtype(np.float64)], key=lambda kind: np.finfo(kind).eps)


def _tolerance(tolerance: float | None, P: np.ndarray, M: np.ndarray, precision: np.dtype) -> float:
    if tolerance is None:
        root = float(np.sqrt(max(P.shape[0], M.shape[0])))
        # backward error of a Schur form, a few √n eps, times a hundred for how P and M were made
        computed = 128 * root * float(np.finfo(float).eps)
        # entries rounded by eps/2 each are a perturbation of √n eps/2 of the norm: twice that
        stored = root * float(np.finfo(precision).eps)
        return max(computed, stored)
    if not np.finfo(float).eps <= tolerance < 1:
        raise ValueError(f"`tolerance` must be >= 2.2e-16 and < 1, got {tolerance}")
    return float(tolerance)


# --- moments ------------------------------------------------------------------------------------------------


def moment_matrices(moments: SecondMoments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Σd, and the eigenvalues and eigenvectors of Σs, all of them away from zero."""
    sigma_s, sigma_d = (np.asarray(sigma, dtype=float) for sigma in (moments.sigma_s, moments.sigma_d))
    if sigma_s.ndim == 1:
        sigma_s, sigma_d = np.diag(sigma_s), np.diag(sigma_d)
    s, V = np.linalg.eigh(sigma_s)
    smallest = s[np.argmin(abs(s))]
    # the eigenvalues of a diagonal matrix are its entries, without rounding
    rounding = s.size * np.finfo(float).eps if np.any(sigma_s - np.diag(np.diag(sigma_s))) else 0.0
    if abs(smallest) <= rounding * np.max(abs(s)):
        raise np.linalg.LinAlgError(
            f"M = Σd Σs⁻¹ needs an invertible `sigma_s`, but its smallest eigenvalue is {smallest:.3g}: "
            "reduce both moments to its support, as `dynamics.data.moments.Moments` does"
        )
    return sigma_d, s, V


def ratio_matrix(moments: SecondMoments) -> np.ndarray:
    """Ratio matrix of a system, M = Σd Σs⁻¹.

    Parameters
    ----------
    moments
        Anything with `sigma_s` and `sigma_d`, such as a `MatrixSystem`; Σs invertible, of either sign (R26).

    Returns
    -------
    array (n1, n1)
        M; not symmetric unless Σs and Σd commute. Its eigenvalues r are real when Σs ≻ 0.

    Raises
    ------
    numpy.linalg.LinAlgError
        Σs is singular to rounding.

    Examples
    --------
    >>> from dynamics.system import MatrixSystem
    >>> ratio_matrix(MatrixSystem([1.0, 2.0], [0.5, 0.5]))
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    sigma_d, s, V = moment_matrices(moments)
    return sigma_d @ (V / s) @ V.T


def _orthonormal_basis(
    shared: list[Shared], B: np.ndarray, shape: tuple[int, int, int], dtype: np.dtype
) -> np.ndarray:
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size > LARGEST_BASIS_BYTES:
        raise ValueError(
            f"the basis of {shape[0]} solutions must take at most {LARGEST_BASIS_BYTES / 2**30:.0f} GiB,"
            f" got {size / 2**30:.3g} GiB: pass basis=False"
        )
    theta = [X @ Phi.basis() @ (B @ Y).conj().T for X, Y, Phi, *_ in shared]
    stacked = np.concatenate([np.zeros((0, *shape[1:]), dtype), *theta])
    stacked = stacked.reshape(shape[0], shape[1] * shape[2])
    return np.ascontiguousarray(np.linalg.qr(stacked.T)[0].T).reshape(shape)


def _problem(predictor: Any, ratio: Any) -> Problem:
    P, precision = checked_matrix("predictor", predictor), _precision(predictor, ratio)
    if not hasattr(ratio, "sigma_s"):
        M = checked_matrix("ratio_matrix", ratio)
        P, M = P.astype(np.result_type(P, M)), M.astype(np.result_type(P, M))
        return Problem(P, M, M, np.eye(len(M)), precision)
    sigma_d, s, V = moment_matrices(ratio)
    M = ratio_matrix(ratio).astype(P.dtype)
    if np.any(s < 0):
        return Problem(P, M, M, np.eye(len(M)), precision)
    # the pencil (Σd, Σs) is symmetric-definite: its eigenvalues are those of a symmetric R, hence real
    B = V / np.sqrt(s)
    R = B.T @ sigma_d @ B
    R = (R + R.T) / 2
    sigma_s = (V * s) @ V.T
    pencil = Pencil(sigma_s, sigma_d, B, R)
    return Problem(P, M, R.astype(P.dtype), B, precision, (sigma_s, sigma_d), pencil)


def sylvester_solutions(
    predictor: Any, ratio_matrix: Any, *, tolerance: float | None = None, basis: bool = True
) -> SylvesterSolutions:
    """All encoders that a predictor can hold: the non-trivial solutions of P θ = θ M.

    nullity = Σ over shared eigenvalues Σ over pairs of Jordan blocks min(size, size). Eigenvalues count as shared
    when perturbations of P and M of relative size `tolerance` can make them equal (see the head of this module).

    Parameters
    ----------
    predictor
        P, shape (n2, n2), real or complex, of any Jordan structure.
    ratio_matrix
        M, shape (n1, n1), likewise; or anything with `sigma_s` and `sigma_d`, such as a `MatrixSystem`, and then
        M = Σd Σs⁻¹ is met through the symmetric-definite eigenproblem Σd u = r Σs u.
    tolerance
        Relative perturbation of P and M in the 2-norm, or of P, Σs and Σd, in [eps, 1). When left out,
        128 √max(n1, n2) eps, the rounding of the computation, with room for that of how P and M were made; or
        √max(n1, n2) times the eps of float32 or float16 where a matrix was given in that.
    basis
        Whether to write out the basis; without it the memory is O(n1² + n2²), however many solutions there are.

    Returns
    -------
    SylvesterSolutions

    Raises
    ------
    ValueError
        A matrix is not square, numeric and finite, the tolerance out of range, or the basis larger than 4 GiB.
    numpy.linalg.LinAlgError
        Σs is singular, or more eigenvalues cannot be told apart than a dense decomposition can take.

    Notes
    -----
    What double precision cannot tell apart counts as shared: a block J_k(λ) and a simple eigenvalue λ + δ do once
    δᵏ is below rounding. R17; by R4 the solutions are the fixed points that this predictor can hold, and by R18
    learning is what makes eigenvalues shared.

    Examples
    --------
    >>> sylvester_solutions([[0.5, 1.0], [0.0, 0.5]], [[0.5, 0.0], [0.0, 0.3]]).shared_eigenvalues
    array([0.5])
    """
    problem = _problem(predictor, ratio_matrix)
    P, M = problem.P, problem.M
    tolerance = _tolerance(tolerance, P, M, problem.precision)
    norm_P, norm_R = spectral_norm(P), spectral_norm(problem.R)
    shared, left, right, distance = shared_clusters(problem, tolerance, (norm_P, norm_R))
    values = np.concatenate([np.zeros(0), *(pair.Phi.eigenvalues for pair in shared)])
    order = np.lexsort((-values.imag, -values.real))
    values = values[order]
    perturbation = np.concatenate(
        [np.zeros(0), *(np.full(pair.Phi.eigenvalues.size, pair.perturbation) for pair in shared)]
    )[order]
    if basis:
        theta = _orthonormal_basis(shared, problem.B, (values.size, len(P), len(M)), P.dtype)
        residuals = _residuals(theta, problem, norm_P)
    else:
        theta = None
        residuals = np.array([pair.residual for pair in shared]) / ((norm_P + norm_R) or 1.0)
    method = (
        f"Schur forms: {len(left)} clusters of eigenvalues of P, {len(right)} of M, {len(shared)} pairs share"
    )
    return SylvesterSolutions(
        nullity=values.size,
        shared_eigenvalues=values if np.any(values.imag) else values.real,
        perturbation=perturbation,
        gap=float(np.min(distance)),
        basis=theta,
        residual=float(np.max(residuals, initial=0.0)),
        method=method,
        tolerance=tolerance,
        precision=str(problem.precision),
    )


def _residuals(theta: np.ndarray, problem: Problem, norm_P: float) -> np.ndarray:
    if problem.moments is None:
        away, size = problem.P @ theta - theta @ problem.M, norm_P + spectral_norm(problem.M)
    else:
        sigma_s, sigma_d = problem.moments
        away = problem.P @ theta @ sigma_s - theta @ sigma_d
        size = norm_P * spectral_norm(sigma_s) + spectral_norm(sigma_d)
    return np.linalg.norm(away, axis=(1, 2)) / (size or 1.0)


def kronecker_solutions(predictor: Any, ratio_matrix: Any, *, tolerance: float | None = None) -> np.ndarray:
    """All solutions of P θ = θ M by brute force, to check `sylvester_solutions` on small cases.

    (I ⊗ P − Mᵀ ⊗ I) vec θ = 0, vec stacking columns, solved by one singular value decomposition.

    Parameters
    ----------
    predictor, ratio_matrix
        P (n2, n2) and M (n1, n1) or moments, with n1·n2 <= 1024.
    tolerance
        Singular values up to tolerance·(‖P‖₂ + ‖M‖₂) count as zero; as in `sylvester_solutions` when left out.

    Returns
    -------
    array (nullity, n2, n1)
        Orthonormal basis in the Frobenius inner product.

    Raises
    ------
    ValueError
        The case is too large, or the input is not what it must be.

    Examples
    --------
    >>> kronecker_solutions([[0.5]], [[0.5]])
    array([[[1.]]])
    """
    problem = _problem(predictor, ratio_matrix)
    P, M = problem.P, problem.M
    if len(P) * len(M) > LARGEST_KRONECKER:
        raise ValueError(
            f"n1·n2 must be at most {LARGEST_KRONECKER} to write the operator out, got {len(M)}·{len(P)}:"
            " use sylvester_solutions"
        )
    threshold = _tolerance(tolerance, P, M, problem.precision) * (spectral_norm(P) + spectral_norm(M))
    return kronecker_null_space(P, M, threshold)[1]


# --- one solution -------------------------------------------------------------------------------------------


def solve_sylvester(
    predictor: Any, ratio_matrix: Any, right: Any, *, tolerance: float | None = None
) -> np.ndarray:
    """Solution of the inhomogeneous equation P θ − θ M = R, refused where it is not unique.

    sep(P, M) = min ‖P θ − θ M‖_F/‖θ‖_F is estimated first, by inverse iteration on the Schur forms.

    Parameters
    ----------
    predictor, ratio_matrix
        P (n2, n2) and M (n1, n1) or moments.
    right
        R, shape (n2, n1).
    tolerance
        The equation counts as singular when sep <= tolerance·(‖P‖₂ + ‖M‖₂); as in `sylvester_solutions` when
        left out. Above it, the relative error of θ is about eps·(‖P‖₂ + ‖M‖₂)/sep.

    Returns
    -------
    array (n2, n1)
        θ.

    Raises
    ------
    numpy.linalg.LinAlgError
        P and M share an eigenvalue to the tolerance: θ does not exist or is not unique.
    ValueError
        The input is not what it must be.

    Examples
    --------
    >>> solve_sylvester([[2.0]], [[0.5]], [[3.0]])
    array([[2.]])
    """
    problem = _problem(predictor, ratio_matrix)
    P, M = problem.P, problem.M
    C = checked_matrix("right", right, (len(P), len(M)))
    tolerance = _tolerance(tolerance, P, M, problem.precision)
    dtype = np.result_type(P, C)
    (T, Q), (S, Z) = (scipy.linalg.schur(A.astype(dtype)) for A in (P, M))
    trsyl = lapack.ztrsyl if np.iscomplexobj(T) else lapack.dtrsyl

    # the third solve has left behind all but the smallest singular values
    X, separation = np.random.default_rng(0).standard_normal(C.shape).astype(dtype), 0.0
    for form in "NCN":
        Y, scale, replaced = trsyl(T, S, X, trana=form, tranb=form, isgn=-1)
        if replaced:  # a pivot that was zero
            separation = 0.0
            break
        separation = float(scale * np.linalg.norm(X) / np.linalg.norm(Y))
        X = Y / np.linalg.norm(Y)
    if separation <= tolerance * (spectral_norm(P) + spectral_norm(M)):
        values_P, values_M = schur_eigenvalues(T, Q), schur_eigenvalues(S, Z)
        distance = np.abs(np.subtract.outer(values_P, values_M))
        i, j = np.unravel_index(np.argmin(distance), distance.shape)
        raise np.linalg.LinAlgError(
            f"P θ − θ M = R has no single solution to the tolerance {tolerance:.3g}: eigenvalue {values_P[i]:.6g} of P"
            f" and {values_M[j]:.6g} of M are {distance[i, j]:.3g} apart, and sep(P, M) = {separation:.3g};"
            " see sylvester_solutions for what solves P θ = θ M"
        )
    Y, scale, _ = trsyl(T, S, Q.conj().T @ C @ Z, isgn=-1)
    return Q @ Y @ Z.conj().T / scale
