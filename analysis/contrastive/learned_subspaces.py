"""Which directions linear learners come to on the same views, and the angles between them (R30, R113, R116, R120)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import NamedTuple

import numpy as np

from analysis.contrastive.infonce_points import encoder_modes
from dynamics.system import MatrixSystem

EQUAL = 1e-9
"""Eigenvalues that differ by less, relative to the largest, leave it open which directions are learned."""


class LearnedSubspace(NamedTuple):
    """What the rows of an encoder span in the end.

    Parameters
    ----------
    directions
        Unit columns, shape (n1, k), k <= n2; those of M are orthogonal only where Σs and Σd commute.
    values
        Eigenvalues that select them, descending, shape (k,): ratios r of M, or eigenvalues of Σd or Σs.
    decided
        Whether the last of them is apart from those that are not learned.
    """

    directions: np.ndarray
    values: np.ndarray
    decided: bool


class SubspaceAngles(NamedTuple):
    """Subspaces by learner, and angles between them.

    Parameters
    ----------
    subspaces
        By name, as asked for.
    angles
        By pairs of names, in the order asked for: principal angles, ascending, in radians, as many as the smaller of
        the two has dimensions; NaN where one of the two is not decided.
    """

    subspaces: dict[str, LearnedSubspace]
    angles: dict[tuple[str, str], np.ndarray]


def leading(values: np.ndarray, directions: np.ndarray, k: int) -> LearnedSubspace:
    """The k leading directions, whose largest entries are made positive.

    >>> leading(np.array([1.0, 3.0]), np.eye(2), 1).directions.T
    array([[0., 1.]])
    """
    order = np.argsort(-values, kind="stable")
    values, directions = values[order], directions[:, order]
    decided = k == values.size or bool(values[k - 1] - values[k] > EQUAL * abs(values[0]))
    columns = directions[:, :k] / np.linalg.norm(directions[:, :k], axis=0)
    largest = columns[np.argmax(np.abs(columns), axis=0), np.arange(k)]
    return LearnedSubspace(columns * np.sign(largest), values[:k], decided)


def _dense(sigma: np.ndarray) -> np.ndarray:
    return np.diag(sigma) if sigma.ndim == 1 else sigma


def _of_modes(system: MatrixSystem, n2: int) -> LearnedSubspace:
    modes = encoder_modes(system)
    return leading(modes.ratios, modes.directions, n2)


def _of_pca(system: MatrixSystem, n2: int) -> LearnedSubspace:
    return leading(*np.linalg.eigh(_dense(system.sigma_s)), n2)


def _of_preserved(system: MatrixSystem, n2: int) -> LearnedSubspace:
    return leading(*np.linalg.eigh(_dense(system.sigma_d)), n2)


def _of_simple(system: MatrixSystem, n2: int) -> LearnedSubspace:
    return _of_preserved(system, 1)


LEARNERS: dict[str, Callable[[MatrixSystem, int], LearnedSubspace]] = {
    "byol": _of_modes,
    "infonce": _of_modes,
    "simple": _of_simple,
    "pca": _of_pca,
    "preserved-pca": _of_preserved,
}
"""By name: BYOL from a balanced start and InfoNCE with augmentation noise learn the n2 top modes of M (R10, R116); the
simple contrastive loss the top eigenvector of Σd, in every row (R113); PCA of the views the top of Σs; PCA of the views
averaged over augmentations the top of Σd."""


def compare(system: MatrixSystem, n2: int, objectives: Iterable[str] = tuple(LEARNERS)) -> SubspaceAngles:
    """Compare the directions that linear learners with n2 rows come to on the same views.

    Parameters
    ----------
    system
        Σs ≻ 0 and 0 ≼ Σd ≼ Σs of centred views, commuting or not, without weight decay.
    n2
        Number of rows, from 1 to n1.
    objectives
        Names of `LEARNERS`.

    Returns
    -------
    SubspaceAngles
        With bases U and Q of two spans, cosines of the principal angles are the singular values of UᵀQ.

    Raises
    ------
    ValueError
        An unknown name, `n2` out of range, weight decay, or moments that no views have.

    Notes
    -----
    Source: R30, R113, R116, R120.

    Examples
    --------
    >>> found = compare(MatrixSystem(np.array([10.0, 1.0]), np.array([5.0, 0.9])), 1, ["infonce", "simple"])
    >>> found.angles["infonce", "simple"].round(6)
    array([1.570796])
    """
    from scipy.linalg import subspace_angles

    names = list(objectives)
    if unknown := [name for name in names if name not in LEARNERS]:
        raise ValueError(f"`objectives` must be of {', '.join(LEARNERS)}, got {', '.join(unknown)}")
    if not 1 <= n2 <= system.n1:
        raise ValueError(f"`n2` must be from 1 to {system.n1}, got {n2}")
    if system.weight_decay:
        raise ValueError(
            f"`weight_decay` must be 0 to compare what is learned, got {system.weight_decay:g}: each objective has a"
            " threshold of its own"
        )
    subspaces = {name: LEARNERS[name](system, n2) for name in names}
    angles = {}
    for (a, one), (b, other) in combinations(subspaces.items(), 2):
        found = subspace_angles(one.directions, other.directions)[::-1]
        angles[a, b] = found if one.decided and other.decided else np.full_like(found, np.nan)
    return SubspaceAngles(subspaces, angles)
