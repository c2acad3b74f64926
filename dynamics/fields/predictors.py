"""Predictors that are a function of the encoder: the optimal one, DirectPred and DirectSet (R18, R21, R22)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.quadratic import are_floats, product
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem


def times(X: Any, sigma: Any) -> Any:
    """Return X Σ for a matrix Σ (n1, n1), or for a diagonal one given as its vector (n1,)."""
    return X * sigma if sigma.ndim == 1 else X @ sigma


def feature_covariance(W: Any, system: MatrixSystem) -> Any:
    """Covariance of the online features, F = E[f fᵀ] = W Σs Wᵀ with f = W x1, shape (n2, n2)."""
    return times(W, system.sigma_s) @ W.T


def optimal_predictor(state: MatrixState, system: MatrixSystem) -> Any:
    """Least-squares predictor of the target features, P = Θ Σd Wᵀ (W Σs Wᵀ)⁺.

    It solves E Wᵀ = 0, so it is the limit τp → 0 of the flow; with Θ = W it is the predictor of R21.

    Returns
    -------
    array (n2, n2)
        Zero on directions that no feature reaches (pseudo-inverse).

    Examples
    --------
    >>> import numpy as np
    >>> system = MatrixSystem(np.eye(2), np.diag([0.5, 0.2]))
    >>> np.round(optimal_predictor(system.state(np.eye(2), np.eye(2)), system), 12)
    array([[0.5, 0. ],
           [0. , 0.2]])
    """
    W, _, Th = state
    xp = W.__array_namespace__()
    return times(Th, system.sigma_d) @ W.T @ xp.linalg.pinv(feature_covariance(W, system), hermitian=True)


def optimal_mode_predictor(state: ModeState, system: ModeSystem) -> Any:
    """Least-squares predictor of one mode, w2 = θ λd/(w1 λs); zero where w1 = 0."""
    w1, _, th = state
    xp = w1.__array_namespace__()
    safe = xp.where(w1 == 0, 1.0, w1)
    if are_floats(w1, th, system.lambda_s, system.lambda_d):  # any floats
        return np.where(w1 == 0, 0.0, product(th, system.lambda_d, over=(safe, system.lambda_s)))
    return xp.where(w1 == 0, 0.0, th * system.lambda_d / (safe * system.lambda_s))


def directpred_spectrum(
    s: Any, *, epsilon: float = 0.1, exponent: float = 0.5, normalise: bool = False, shifted: bool = False
) -> Any:
    """Eigenvalues that DirectPred and DirectSet give the predictor (R22).

    p_j = s_j^α + ε max_j s_j, or with `normalise`, p_j = (s_j/max_j s_j)^α + ε; with `shifted`, ε is added before the
    power is taken: (s_j + ε max_j s_j)^α or (s_j/max_j s_j + ε)^α.

    Parameters
    ----------
    s
        Eigenvalues of the feature covariance F, shape (..., n2); rounding below zero is cut off.
    epsilon
        ε >= 0: 0, 0.01 and 0.1 are published.
    exponent
        α > 0: ½ is DirectPred, other values (1 among them) DirectSet.
    normalise
        Divide by the largest eigenvalue first, as some published code does.
    shifted
        Add ε to the eigenvalues of F and not to those of the predictor, as some published code does.

    Examples
    --------
    >>> import numpy as np
    >>> directpred_spectrum(np.array([4.0, 1.0]), epsilon=0.1)
    array([2.4, 1.4])
    """
    xp = s.__array_namespace__()
    s = xp.maximum(s, 0.0)
    largest = xp.max(s, axis=-1, keepdims=True)
    shift = epsilon if normalise or epsilon == 0 else epsilon * largest  # the largest may be beyond floats
    if normalise:
        s = s / xp.where(largest == 0, 1.0, largest)
    return (s + shift) ** exponent if shifted else s**exponent + shift


def directpred_predictor(F: Any, **options: Any) -> Any:
    """Predictor with the eigenvectors of F and `directpred_spectrum` of its eigenvalues, P = Û diag(p) Ûᵀ.

    Parameters
    ----------
    F
        Feature covariance or its running average, symmetric, shape (n2, n2).
    **options
        options of `directpred_spectrum`.

    Examples
    --------
    >>> import numpy as np
    >>> directpred_predictor(np.diag([4.0, 1.0]), epsilon=0.0)
    array([[2., 0.],
           [0., 1.]])
    """
    s, U = F.__array_namespace__().linalg.eigh(F)
    return U @ (directpred_spectrum(s, **options)[:, None] * U.T)


DIRECT_OPTIONS: dict[str, dict[str, Any]] = {
    "sqrt": {"epsilon": 0.0},
    "sqrt-0.01": {"epsilon": 0.01},
    "sqrt-0.1": {"epsilon": 0.1},
    "normalised-sqrt": {"epsilon": 0.0, "normalise": True},
    "normalised-sqrt-0.01": {"epsilon": 0.01, "normalise": True},
    "normalised-sqrt-0.1": {"epsilon": 0.1, "normalise": True},
    "set": {"epsilon": 0.0, "exponent": 1.0},
    "normalised-set": {"epsilon": 0.0, "exponent": 1.0, "normalise": True},
    "normalised-set-0.01": {"epsilon": 0.01, "exponent": 1.0, "normalise": True},
    "normalised-set-0.1": {"epsilon": 0.1, "exponent": 1.0, "normalise": True},
    "shifted-sqrt-0.01": {"epsilon": 0.01, "normalise": True, "shifted": True},
    "shifted-sqrt-0.1": {"epsilon": 0.1, "normalise": True, "shifted": True},
}
"""Published DirectPred and DirectSet predictors by name: options of `directpred_spectrum` (R22).

sqrt: p = √s + ε max s (NC); normalised-sqrt: p = √(s/max s) + ε; set: p = s; normalised-set: p = s/max s + ε;
shifted-sqrt: p = √(s/max s + ε).
"""
