"""The best symmetric predictor of an encoder (R18)."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.sylvester.solutions import checked_matrix


def best_symmetric_predictor(features_s: Any, features_d: Any) -> np.ndarray:
    """Symmetric predictor of least loss for given encoders, P F_s + F_s P = F_d + F_dᵀ.

    L(P) = ½ tr(P F_s Pᵀ) − tr(P F_dᵀ) + const has gradient P F_s − F_d, whose symmetric part is zero there.

    Parameters
    ----------
    features_s
        F_s = W Σs Wᵀ, shape (n2, n2), symmetric, positive definite.
    features_d
        F_d = Θ Σd Wᵀ, shape (n2, n2).

    Returns
    -------
    array (n2, n2)
        P, symmetric: (Qᵀ P Q)_ij = (Qᵀ(F_d + F_dᵀ) Q)_ij/(s_i + s_j) with F_s = Q diag(s) Qᵀ.

    Raises
    ------
    numpy.linalg.LinAlgError
        F_s is singular to rounding: the loss does not determine P.
    ValueError
        The matrices do not fit, or F_s is not symmetric or has a negative eigenvalue.

    Examples
    --------
    >>> best_symmetric_predictor([[2.0]], [[1.0]])
    array([[0.5]])
    """
    F_s = checked_matrix("features_s", features_s)
    F_d = checked_matrix("features_d", features_d, F_s.shape)
    if np.iscomplexobj(F_s) or np.iscomplexobj(F_d):
        raise ValueError("`features_s` and `features_d` must be real, got complex numbers")
    rounding = 4 * len(F_s) * np.finfo(float).eps * np.max(np.abs(F_s))
    asymmetry = np.max(np.abs(F_s - F_s.T))
    if asymmetry > 1e-10 * np.max(np.abs(F_s)):
        raise ValueError(f"`features_s` must be symmetric to ten digits, got an asymmetry of {asymmetry:.3g}")
    s, Q = np.linalg.eigh((F_s + F_s.T) / 2)
    if s[0] < -rounding:
        raise ValueError(f"`features_s` must be positive definite, got an eigenvalue {s[0]:.3g}")
    if s[0] <= rounding:
        raise np.linalg.LinAlgError(
            f"the best symmetric predictor is not unique: the smallest eigenvalue of `features_s` is {s[0]:.3g},"
            " zero to rounding; restrict both matrices to its range"
        )
    P = Q @ (Q.T @ (F_d + F_d.T) @ Q / np.add.outer(s, s)) @ Q.T
    return (P + P.T) / 2
