"""What a linear contrastive learner finds in the same views, next to what BYOL finds (R30)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dynamics.data.moments import Moments

EQUAL = 1e-9
"""Eigenvalues that differ by less, relative to the largest, leave it open which directions are learned."""


class SubspaceComparison(NamedTuple):
    """Rows that BYOL and a contrastive learner come to, in terms of the samples, and the angles between them.

    Parameters
    ----------
    byol, ratios
        Leading eigenmodes of M = Σd Σs⁻¹ as unit columns, shape (n_inputs, k), and their ratios r, descending, (k,).
    contrastive, shares
        Leading eigenvectors of Σd as orthonormal columns, shape (n_inputs, k), and the part of tr Σd along them,
        descending, (k,).
    angles
        Principal angles between the two spans, ascending, in radians in [0, π/2], shape (k,); NaN where a span is
        one of many, because the k-th and the next eigenvalue agree to `EQUAL` of the largest.
    """

    byol: np.ndarray
    ratios: np.ndarray
    contrastive: np.ndarray
    shares: np.ndarray
    angles: np.ndarray


def compare_with_contrastive(moments: Moments, n_components: int) -> SubspaceComparison:
    """Compare the k directions that BYOL learns with those of the simple contrastive loss.

    BYOL ends on rows u with Σd u = r Σs u, r largest; dW/dt = W Σd turns rows to Σd q = λ q, λ largest. With
    orthonormal bases U and Q of the two spans, cosines of the principal angles are the singular values of UᵀQ.

    Parameters
    ----------
    moments
        Σs and Σd of centred views: then Σd is the covariance of the augmentation-averaged view.
    n_components
        k, from 1 to the dimension of the support of Σs.

    Returns
    -------
    SubspaceComparison
        The sign of a column is such that its largest entry is positive.

    Raises
    ------
    ValueError
        `n_components` is out of range.

    Notes
    -----
    Source: R30; DD 4.1 and F.2.

    Examples
    --------
    >>> moments = Moments.from_eigenvalues([4.0, 1.0], [2.0, 0.9])
    >>> compare_with_contrastive(moments, 1).angles.round(6)
    array([1.570796])
    """
    from scipy.linalg import subspace_angles

    if not 1 <= n_components <= moments.n1:
        raise ValueError(f"`n_components` must be from 1 to {moments.n1}, got {n_components}")
    support = np.eye(moments.n1) if moments.support is None else moments.support
    values, vectors = (part[..., ::-1] for part in np.linalg.eigh(moments.sigma_d))
    u, q = (support @ columns[:, :n_components] for columns in (moments.modes.directions, vectors))
    angles = subspace_angles(u, q)[::-1]
    if not (_is_cut(moments.ratios, n_components) and _is_cut(values, n_components)):
        angles = np.full_like(angles, np.nan)
    return SubspaceComparison(
        byol=_signed(u / np.linalg.norm(u, axis=0)),
        ratios=moments.ratios[:n_components],
        contrastive=_signed(q),
        shares=values[:n_components] / np.sum(values),
        angles=angles,
    )


def _is_cut(descending: np.ndarray, k: int) -> bool:
    """Whether the first k eigenvalues are apart from the others."""
    return k == descending.size or bool(descending[k - 1] - descending[k] > EQUAL * descending[0])


def _signed(columns: np.ndarray) -> np.ndarray:
    largest = columns[np.argmax(np.abs(columns), axis=0), np.arange(columns.shape[1])]
    return columns * np.sign(largest)
