"""The leading directions of BYOL beside those of the augmentation-averaged view, in terms of the samples (R30)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.contrastive.learned_subspaces import compare, leading
from dynamics.data.moments import Moments
from dynamics.system import MatrixSystem


class SubspaceComparison(NamedTuple):
    """Rows that BYOL comes to, leading eigenvectors of Σd, in terms of the samples, and the angles between them.

    Parameters
    ----------
    byol, ratios
        Leading eigenmodes of M = Σd Σs⁻¹ as unit columns, shape (n_inputs, k), and their ratios r, descending, (k,).
    contrastive, shares
        Leading eigenvectors of Σd as orthonormal columns, shape (n_inputs, k), and the part of tr Σd along them,
        descending, (k,). The simple contrastive loss learns the first of them, in every row (R113).
    angles
        Principal angles between the two spans, ascending, in radians in [0, π/2], shape (k,); NaN where a span is
        one of many, because the k-th and the next eigenvalue agree.
    """

    byol: np.ndarray
    ratios: np.ndarray
    contrastive: np.ndarray
    shares: np.ndarray
    angles: np.ndarray


def compare_with_contrastive(moments: Moments, n_components: int) -> SubspaceComparison:
    """Compare the k directions that BYOL learns with those that the simple contrastive loss grows fastest.

    BYOL ends on rows u with Σd u = r Σs u, r largest; dW/dt = W Σd grows Σd q = λ q fastest for the largest λ.

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
    Source: R30, R113; DD 4.1 and F.2.

    Examples
    --------
    >>> moments = Moments.from_eigenvalues([4.0, 1.0], [2.0, 0.9])
    >>> compare_with_contrastive(moments, 1).angles.round(6)
    array([1.570796])
    """
    if not 1 <= n_components <= moments.n1:
        raise ValueError(f"`n_components` must be from 1 to {moments.n1}, got {n_components}")
    found = compare(MatrixSystem(moments.sigma_s, moments.sigma_d), n_components, ("byol", "preserved-pca"))
    support = np.eye(moments.n1) if moments.support is None else moments.support
    # signs are fixed where the samples live
    byol, contrastive = (
        leading(part.values, support @ part.directions, n_components) for part in found.subspaces.values()
    )
    return SubspaceComparison(
        byol=byol.directions,
        ratios=byol.values,
        contrastive=contrastive.directions,
        shares=contrastive.values / np.trace(moments.sigma_d),
        angles=found.angles["byol", "preserved-pca"],
    )
