"""Spectra along a run: eigenvalues of the predictor followed by identity, singular values of the encoder."""

from __future__ import annotations

import numpy as np

from dynamics.integration.integrate import Trajectory
from dynamics.states import MatrixState


def nearest_match(values: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Permutation π for which Σ_i |values_i − candidates_π(i)|² is least, shape (n,).

    >>> nearest_match(np.array([1.0, 2.0, 3.0]), np.array([2.9, 1.2, 1.9]))
    array([1, 2, 0])
    """
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(np.abs(np.subtract.outer(values, candidates)) ** 2)[1]


def predictor_eigenvalue_paths(trajectory: Trajectory[MatrixState]) -> np.ndarray:
    """Eigenvalues of P(t), each followed through time.

    With P v_i = μ_i v_i, |v_i| = 1 at one time and P′ at the next, the eigenvalues μ′ of P′ are given to the
    paths such that Σ_i |μ′_π(i) − v_iᴴ P′ v_i|² is least: the nearest match to what the old eigenvectors see.

    Parameters
    ----------
    trajectory
        States with P of shape (T, n2, n2), finite.

    Returns
    -------
    array (T, n2), complex
        One column a path, by descending real part at the end. Paths whose eigenvectors stand still are
        followed through crossings however far apart the times are; others as long as the gaps between
        eigenvalues exceed the change of P from one time to the next. Where two real eigenvalues meet and
        leave as a complex pair, or the reverse, which is which has no answer; the paths are continuous
        either way.

    Notes
    -----
    Time O(T n2³).

    Examples
    --------
    >>> from dynamics.fields.matrices import full_field
    >>> from dynamics.integration.integrate import integrate
    >>> from dynamics.system import MatrixSystem
    >>> system = MatrixSystem(np.eye(2), np.diag([0.9, 0.4]))
    >>> run = integrate(system.state(np.eye(2), np.diag([0.1, 0.6])), system, full_field)
    >>> np.round(predictor_eigenvalue_paths(run)[[0, -1]].real, 6)
    array([[0.1, 0.6], [0.9, 0.4]])
    """
    P = np.asarray(trajectory.states.predictor)
    eigenvalues, eigenvectors = np.linalg.eig(P)
    paths = eigenvalues.astype(complex)
    V = eigenvectors[0]
    for k in range(1, len(P)):
        seen = np.sum(V.conj() * (P[k] @ V), axis=0)
        order = nearest_match(seen, eigenvalues[k])
        paths[k], V = eigenvalues[k, order], eigenvectors[k][:, order]
    return paths[:, np.argsort(-paths[-1].real, kind="stable")]


def online_singular_value_paths(trajectory: Trajectory[MatrixState]) -> np.ndarray:
    """Singular values of W(t), descending at every time: their order is their identity.

    Parameters
    ----------
    trajectory
        States with W of shape (T, n2, n1), finite.

    Returns
    -------
    array (T, min(n1, n2))
        Real, >= 0. The i-th path stays above the root of the i-th entry of
        `dynamics.invariants.eigenvalue_floor` (R8).

    Examples
    --------
    >>> from dynamics.fields.matrices import full_field
    >>> from dynamics.integration.integrate import integrate
    >>> from dynamics.system import MatrixSystem
    >>> system = MatrixSystem(np.eye(2), np.diag([0.9, 0.4]))
    >>> run = integrate(system.state(np.diag([1.0, 3.0]), np.eye(2)), system, full_field, 1.0)
    >>> online_singular_value_paths(run)[0]
    array([3., 1.])
    """
    return np.linalg.svd(trajectory.states.online, compute_uv=False)
