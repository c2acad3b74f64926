"""What subtracting the mean does to the modes of linear BYOL, and what it does where gradients do not see it (R216)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynamics.modes import spectrum
from dynamics.normalisation import checked_mean
from dynamics.system import MatrixSystem


class Interlacing(NamedTuple):
    """Ratios with and without the mean, both descending, and the bound on the largest.

    Parameters
    ----------
    centred, raw
        Eigenvalues of D S⁻¹ and of Σd Σs⁻¹, shape (n1,).
    bound
        q/(1 + q), q = μᵀ S⁻¹ μ: the largest raw ratio is no smaller.
    """

    centred: np.ndarray
    raw: np.ndarray
    bound: float

    def excess(self) -> float:
        """Largest violation of r_i(c) ≤ r_i(u) ≤ r_{i−1}(c) and r_1(u) ≥ bound; not positive where they hold."""
        below = np.max(self.centred - self.raw)
        above = np.max(self.raw[1:] - self.centred[:-1], initial=-np.inf)
        return float(max(below, above, self.bound - self.raw[0]))


def interlacing(system: MatrixSystem, mean: Any) -> Interlacing:
    """Ratios of centred moments, and those of the same moments with the mean in them.

        r_i(c) ≤ r_i(u) ≤ r_{i−1}(c),   r_1(u) ≥ q/(1 + q),   q = μᵀ S⁻¹ μ

    Parameters
    ----------
    system
        Centred moments S ≻ 0 and D.
    mean
        μ, shape (n1,).

    Returns
    -------
    Interlacing

    Notes
    -----
    Without normalisation the top mode of Σd Σs⁻¹ is nearly the constant feature, and takes one of the n2 places.
    Source: R216.

    Examples
    --------
    >>> found = interlacing(MatrixSystem([1.0, 1.0], [0.5, 0.2]), [0.0, 3.0])
    >>> found.raw.round(6), round(found.bound, 6)
    (array([0.92, 0.5 ]), 0.9)
    """
    mu = checked_mean(mean, system.n1)
    S, D = (np.diag(sigma) if sigma.ndim == 1 else sigma for sigma in (system.sigma_s, system.sigma_d))
    outer = np.outer(mu, mu)
    q = float(mu @ np.linalg.solve(S, mu))
    return Interlacing(
        spectrum(MatrixSystem(S, D)), spectrum(MatrixSystem(S + outer, D + outer)), q / (1 + q)
    )


def has_runaway_mode(system: MatrixSystem, mean: Any) -> bool:
    """Whether a detached mean behind the predictor, with a raw target, leaves M = (D + μμᵀ)S⁻¹ an eigenvalue > 1.

        μᵀ (S − D)⁻¹ μ > 1

    Parameters
    ----------
    system
        Centred moments, S − D ≻ 0.
    mean
        μ, shape (n1,).

    Notes
    -----
    Source: R216.

    Examples
    --------
    >>> has_runaway_mode(MatrixSystem([1.0], [0.5]), [0.8]), has_runaway_mode(MatrixSystem([1.0], [0.5]), [0.7])
    (True, False)
    """
    mu = checked_mean(mean, system.n1)
    gap = system.sigma_s - system.sigma_d
    gap = np.diag(gap) if gap.ndim == 1 else gap
    return bool(mu @ np.linalg.solve(gap, mu) > 1)


def mean_runaway_rate(
    lambda_s: float, lambda_d: float, mean_square: float, *, tau_online: float = 1.0, tau_target: float = 1.0
) -> float:
    """Rate at which one mode grows with a detached mean between encoder and predictor, and a raw target.

        g τo (1 + g τt)² = λd m²/λs

    Parameters
    ----------
    lambda_s, lambda_d
        Centred moments of the mode, λs > 0 and λd >= 0.
    mean_square
        m² >= 0, its mean squared.
    tau_online, tau_target
        τo, τt > 0.

    Returns
    -------
    float
        g of w ~ e^{gt}, to a few roundings: 0 without a mean or where λd = 0. The predictor of a growing encoder is at
        its optimum θλd/(wλs).

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    A learned fixed point would need λd + m² = λd: there is none. Source: R216.

    Examples
    --------
    >>> round(mean_runaway_rate(1.0, 0.5, 0.3), 10)
    0.119653175
    """
    for name, value, least in (
        ("lambda_s", lambda_s, 0),
        ("tau_online", tau_online, 0),
        ("tau_target", tau_target, 0),
    ):
        if not (np.isfinite(value) and value > least):
            raise ValueError(f"`{name}` must be finite and > 0, got {value}")
    for name, value in (("lambda_d", lambda_d), ("mean_square", mean_square)):
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"`{name}` must be finite and >= 0, got {value}")
    a = lambda_d / lambda_s * mean_square * (tau_target / tau_online)
    # x (1 + x)² = a, x = g τt: convex and increasing, so Newton's method falls to the root from above
    x = min(a, float(np.cbrt(a)))
    while x > 0:
        step = (x * (1 + x) - a / (1 + x)) / (1 + 3 * x)
        if not step > 4 * np.finfo(float).eps * x:
            break
        x -= step
    return x / tau_target


class GradientTerms(NamedTuple):
    """Two terms of a velocity, shape (n2, n1) each."""

    contrastive: np.ndarray
    rest: np.ndarray


def no_stop_gradient_terms(W: Any, P: Any, sigma_s: Any, sigma_d: Any) -> GradientTerms:
    """Velocity without stop-gradient, τo dW/dt, as a term in Σs − Σd and one in Σd: both shrink W.

        −(PᵀP + I) W (Σs − Σd),   −(I − P)ᵀ(I − P) W Σd

    Parameters
    ----------
    W, P
        Shape (n2, n1) and (n2, n2).
    sigma_s, sigma_d
        Σs and Σd, shape (n1, n1); centred ones with mean normalisation.

    Notes
    -----
    Source: R217, which corrects the first term (E24).

    Examples
    --------
    >>> one = np.eye(1)
    >>> no_stop_gradient_terms(one, 0.5 * one, one, 0.5 * one)
    GradientTerms(contrastive=array([[-0.625]]), rest=array([[-0.125]]))
    """
    one = np.eye(len(P), dtype=np.asarray(P).dtype)
    return GradientTerms(-(P.T @ P + one) @ W @ (sigma_s - sigma_d), -(one - P).T @ (one - P) @ W @ sigma_d)
