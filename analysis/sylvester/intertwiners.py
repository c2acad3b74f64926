"""Intertwiners of two small matrices, the Φ with T Φ = Φ S, where their eigenvalues cannot be told apart.

Two ways: a singular value decomposition of the operator written out, which asks nothing of T and S; and, for blocks
too large for that, the chains of a single eigenvalue λ, where Φ ↦ (T − λ) Φ − Φ (S − λ) is solved by taking each
Jordan chain of S to a vector of ker (T − λ)^k, k its length.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.linalg

from analysis.sylvester.invariant_subspaces import invariant_clusters

LARGEST_KRONECKER = 1024
"""Largest a·b of an operator Φ ↦ T Φ − Φ S that is written out as a matrix."""

_CHEAP_KRONECKER = 256


class Intertwiners(NamedTuple):
    """The space of Φ with T Φ = Φ S.

    Parameters
    ----------
    eigenvalues
        Eigenvalues of Φ ↦ T Φ on the space, shape (nullity,), complex.
    residual
        Bound of ‖T Φ − Φ S‖_F/‖Φ‖_F on the space.
    basis
        () -> basis, shape (nullity, a, b), computed when it is asked for; not orthonormal in general.
    """

    eigenvalues: np.ndarray
    residual: float
    basis: Callable[[], np.ndarray]


def kronecker_null_space(T: np.ndarray, S: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Null space of (I ⊗ T − Sᵀ ⊗ I) vec Φ, vec stacking columns, by one singular value decomposition.

    Returns
    -------
    sigma, basis
        Singular values up to the threshold, shape (k,), and an orthonormal basis, shape (k, a, b).

    Examples
    --------
    >>> kronecker_null_space(np.eye(2), np.eye(1), 1e-12)[0]
    array([0., 0.])
    """
    a, b = len(T), len(S)
    _, sigma, vectors = np.linalg.svd(np.kron(np.eye(b), T) - np.kron(S.T, np.eye(a)))
    null = sigma <= threshold
    return sigma[null], vectors[null].conj().reshape(-1, b, a).transpose(0, 2, 1)


def _by_kronecker(T: np.ndarray, S: np.ndarray, threshold: float) -> Intertwiners:
    sigma, basis = kronecker_null_space(T, S, threshold)
    values: list[complex] = []
    if sigma.size:
        L = np.einsum("iab,ac,jcb->ij", basis.conj(), T, basis, optimize=True)
        for cluster in invariant_clusters(L.astype(complex), threshold):
            mean = np.mean(cluster.eigenvalues)
            if np.isrealobj(L) and abs(mean.imag) <= cluster.radius:
                mean = mean.real
            values += [mean] * cluster.size
    return Intertwiners(np.array(values, dtype=complex), float(np.max(sigma, initial=0.0)), lambda: basis)


class _Staircase(NamedTuple):
    """Q unitary, Qᴴ N Q = Ñ up to `dropped`, ker Ñᵏ spanned by the first sizes[0] + … + sizes[k − 1] unit vectors."""

    Q: np.ndarray
    N: np.ndarray
    sizes: list[int]
    dropped: float


def _staircase(N: np.ndarray, threshold: float, depth: int) -> _Staircase:
    Q, cut = np.eye(len(N), dtype=N.dtype), N.copy()
    done, sizes = 0, [len(N)]
    while done < len(N) and len(sizes) <= depth:
        rest = cut[done:, done:]
        if np.linalg.norm(rest) <= threshold:
            sigma, Vh = np.zeros(len(rest)), np.eye(len(rest))
        else:
            _, sigma, Vh = np.linalg.svd(rest)
        size = int(np.count_nonzero(sigma <= threshold))
        if not 0 < size <= sizes[-1]:
            break
        V = Vh[::-1].conj().T  # kernel first
        Q[:, done:] = Q[:, done:] @ V
        cut[:, done:] = cut[:, done:] @ V
        cut[done:, done:] = V.conj().T @ cut[done:, done:]
        cut[done:, done : done + size] = 0.0
        if size < sigma.size:
            # an error in N turns its kernel by error/σ, and comes back multiplied by ‖N‖ in what is left
            threshold *= 1 + sigma[0] / sigma[-size - 1]
        sizes.append(size)
        done += size
    return _Staircase(Q, cut, sizes[1:], float(np.linalg.norm(N @ Q[:, :done] - Q @ cut[:, :done])))


def _chain_basis(N: _Staircase, K: _Staircase) -> np.ndarray:
    """All Φ with N Φ = Φ K: Kⁱ g ↦ Nⁱ v for each chain g, K g, …, Kᵏ⁻¹ g of K and each v of a basis of ker Nᵏ."""
    edges = np.cumsum([0, *K.sizes])
    chains, lengths = [], []
    for k, (start, stop) in enumerate(pairwise(edges), start=1):
        image = K.N[start:stop, stop : edges[min(k + 1, len(K.sizes))]]
        # chains of length k start where no longer one passes
        tops = np.linalg.qr(image, mode="complete")[0][:, image.shape[1] :]
        for top in tops.T:
            g = np.zeros(len(K.N), dtype=K.N.dtype)
            g[start:stop] = top
            lengths.append(k)
            for _ in range(k):
                chains.append(g)
                g = K.N @ g
    dual = np.linalg.inv(np.transpose(chains)) @ K.Q.conj().T
    images = [N.Q]
    for _ in K.sizes[1:]:
        images.append(images[-1] @ N.N)
    kernels = np.cumsum([*N.sizes, *[0] * len(K.sizes)])
    parts, start = [], 0
    for k in lengths:
        Nv = np.stack([image[:, : kernels[k - 1]] for image in images[:k]])
        parts.append(np.einsum("iav,ib->vab", Nv, dual[start : start + k]))
        start += k
    return np.concatenate(parts)


def _single_eigenvalue(S: np.ndarray, threshold: float) -> tuple[np.ndarray, complex, _Staircase] | None:
    """Return Y, λ and the staircase of Yᴴ S Y − λ, nilpotent, for all of S or the half of a real S above the real line.

    Rows of Yᴴ span a left invariant subspace. None if S has more eigenvalues than that.
    """

    def nilpotent(S: np.ndarray) -> tuple[complex, _Staircase] | None:
        value = np.trace(S) / len(S)
        staircase = _staircase(S - value * np.eye(len(S)), threshold, len(S))
        return (value, staircase) if sum(staircase.sizes) == len(S) else None

    if found := nilpotent(S):
        return np.eye(len(S)), *found
    if np.isrealobj(S):
        _, Y, above = scipy.linalg.schur(S.T, output="complex", sort=lambda value: value.imag < 0)
        Y = Y[:, :above]
        if 2 * above == len(S) and (found := nilpotent(Y.conj().T @ S @ Y)):
            return Y, *found
    return None


def _by_chains(T: np.ndarray, S: np.ndarray, threshold: float) -> Intertwiners | None:
    """All intertwiners where S has one eigenvalue λ, Σ_k dim ker (T − λ)^k·(chains of length k) of them; else None."""
    found = _single_eigenvalue(S, threshold)
    if found is None:
        return None
    Y, value, K = found
    N = _staircase(T - value * np.eye(len(T)), threshold, len(K.sizes))
    nullity = sum(n * k for n, k in zip(N.sizes, K.sizes, strict=False))

    def basis() -> np.ndarray:
        Phi = _chain_basis(N, K) @ Y.conj().T
        return Phi if halves == 1 else np.concatenate([Phi.real, Phi.imag])

    halves = len(S) // Y.shape[1]
    values = np.repeat(np.array([value, np.conj(value)][:halves], dtype=complex), nullity)
    return Intertwiners(values, N.dropped + K.dropped, basis)


def intertwiners(T: np.ndarray, S: np.ndarray, threshold: float) -> Intertwiners:
    """All Φ with T Φ = Φ S for blocks whose eigenvalues cannot be told apart.

    Parameters
    ----------
    T, S
        Shapes (a, a) and (b, b), both real or both complex.
    threshold
        Singular values of Φ ↦ T Φ − Φ S, or of T − λ and S − λ, that count as zero.

    Returns
    -------
    Intertwiners
        When both blocks are λ I, all a·b matrices Φ.

    Raises
    ------
    numpy.linalg.LinAlgError
        a·b > 1024, and neither block has one eigenvalue (or conjugate pair) to the threshold.

    Examples
    --------
    >>> intertwiners(np.eye(40), np.eye(30), 1e-12).eigenvalues.size
    1200
    """
    size = len(T) * len(S)
    if size <= _CHEAP_KRONECKER:
        return _by_kronecker(T, S, threshold)
    if found := _by_chains(T, S, threshold):
        return found
    if adjoint := _by_chains(S.conj().T, T.conj().T, threshold):
        values, residual, basis = adjoint
        return Intertwiners(values.conj(), residual, lambda: basis().conj().transpose(0, 2, 1))
    if size <= LARGEST_KRONECKER:
        return _by_kronecker(T, S, threshold)
    raise np.linalg.LinAlgError(
        f"{len(T)} and {len(S)} eigenvalues near {np.trace(T) / len(T):.6g} cannot be told apart,"
        " nor do they have one value each: pass a smaller `tolerance`"
    )
