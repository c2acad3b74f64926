"""How much of each mode of the data an encoder holds: the directions that Σs and Σd give, and the encoder in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LARGEST = 128
"""Directions of loaded data that are looked at, those of the largest variance."""
ZERO = 1e-9
"""Ratios below this, and variances below this share of the largest, are zero."""


class Spectrum(NamedTuple):
    """What there is to be learned: moments of the views in their principal directions.

    Parameters
    ----------
    basis
        Orthonormal directions, columns (n1, K), by descending variance.
    sigma_s, sigma_d
        Σs and Σd in that basis, (K, K).
    n_modes
        Number of modes with variance and with ratio r > 0: no encoder holds more.
    """

    basis: np.ndarray
    sigma_s: np.ndarray
    sigma_d: np.ndarray
    n_modes: int

    @property
    def ratios(self) -> np.ndarray:
        """Eigenvalues r of M = Σd Σs⁻¹, descending, of the modes that have variance."""
        return self.modes[1]

    @property
    def modes(self) -> tuple[np.ndarray, np.ndarray]:
        """Variances λs and ratios r = λd/λs of the eigenmodes of M, by descending ratio."""
        from scipy.linalg import eigh

        variances, V = np.linalg.eigh(self.sigma_s)
        kept = V[:, variances > ZERO * variances[-1]]
        ratios, U = eigh(kept.T @ self.sigma_d @ kept, kept.T @ self.sigma_s @ kept)
        lengths = np.sum((kept @ U) ** 2, axis=0)  # of directions u with uᵀ Σs u = 1
        return 1 / lengths[::-1], ratios[::-1]


def spectrum_of_moments(sigma_s: np.ndarray, sigma_d: np.ndarray) -> Spectrum:
    """Spectrum of data whose moments are known.

    Examples
    --------
    >>> spectrum_of_moments(np.diag([1.0, 2.0]), np.diag([0.5, 0.0])).n_modes
    1
    """
    variances, basis = np.linalg.eigh(sigma_s)
    variances, basis = variances[::-1], basis[:, ::-1]
    found = Spectrum(basis, np.diag(variances), basis.T @ sigma_d @ basis, 0)
    return found._replace(n_modes=int(np.sum(found.ratios > ZERO)))


def spectrum_of_views(views: np.ndarray) -> Spectrum:
    """Spectrum of pairs of views (2, N, n1), as well as they tell it: ratios are off by about 1/√N.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((1, 50, 3))
    >>> spectrum_of_views(np.concatenate([x, x])).ratios.round(6)
    array([1., 1., 1.])
    """
    x1, x2 = np.asarray(views, np.float64)
    x = np.concatenate([x1, x2])
    n_directions = min(x.shape[1], len(x1) // 4 + 1, LARGEST)
    if x.shape[1] <= len(x):
        _, V = np.linalg.eigh(x.T @ x)
        basis = V[:, ::-1][:, :n_directions]
    else:
        _, U = np.linalg.eigh(x @ x.T)
        basis, _ = np.linalg.qr(x.T @ U[:, ::-1][:, :n_directions])
    c1, c2 = x1 @ basis, x2 @ basis
    sigma_s = (c1.T @ c1 + c2.T @ c2) / len(x)
    sigma_d = (c1.T @ c2 + c2.T @ c1) / len(x)
    variances = np.linalg.eigvalsh(sigma_s)
    return Spectrum(basis, sigma_s, sigma_d, int(np.sum(variances > ZERO * variances[-1])))


def mode_metrics(
    A: np.ndarray, spectrum: Spectrum, predictor: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Size of an encoder A = W B (…, n2, K) in each direction that it has, and what these directions are.

        A = Σ s_i v_i y_iᵀ,   r_i = y_iᵀ Σd y_i / y_iᵀ Σs y_i,   λ_i = y_iᵀ Σs y_i,   p_i = v_iᵀ P v_i

    At fixed points of decoupled modes s_i is the weight |w1| of a mode, p_i its w2, r_i its ratio and λ_i its λs.

    Returns
    -------
    dict
        ``mode_amplitudes`` s_i, descending, ``mode_ratios`` r_i, ``mode_variances`` λ_i and, of linear predictors P
        (…, n2, n2), ``mode_predictors`` p_i, (…, min(n2, K)) each; NaN where A is not finite.

    Examples
    --------
    >>> known = spectrum_of_moments(np.diag([1.0, 0.01]), np.diag([0.5, 0.002]))
    >>> mode_metrics(np.diag([0.5, 0.2]), known)["mode_ratios"]
    array([0.5, 0.2])
    """
    finite = np.all(np.isfinite(A), axis=(-2, -1))[..., None]
    V, s, Y = np.linalg.svd(np.where(finite[..., None], A, 0).astype(np.float64), full_matrices=False)
    variances = np.einsum("...ik,kl,...il->...i", Y, spectrum.sigma_s, Y, optimize=True)
    averaged = np.einsum("...ik,kl,...il->...i", Y, spectrum.sigma_d, Y, optimize=True)
    ratios = np.divide(averaged, variances, out=np.zeros_like(variances), where=variances > 0)
    found = {"mode_amplitudes": s, "mode_ratios": ratios, "mode_variances": variances}
    if predictor is not None:
        found["mode_predictors"] = np.einsum("...ji,...jk,...ki->...i", V, predictor, V, optimize=True)
    return {name: np.where(finite, values, np.nan) for name, values in found.items()}


def deviation_metrics(deviations: np.ndarray, spectrum: Spectrum) -> dict[str, np.ndarray]:
    """Spread of the features of a nonlinear encoder beside that of the modes that a linear one would hold.

        s_i = d_i √(Σ_j r_j² λ_j) / √λ_i,   modes by descending λ_i r_i²

    Balanced linear encoders at rest have features of deviation r_i √λ_i along mode i, hence s_i = r_i.

    Parameters
    ----------
    deviations
        Deviations d_i of the features along their principal axes, over their root mean square, descending, (…, n2).
    spectrum
        Of the data.

    Returns
    -------
    dict
        As `mode_metrics`, (…, min(n2, number of modes)).

    Examples
    --------
    >>> known = spectrum_of_moments(np.diag([4.0, 1.0]), np.diag([2.0, 0.2]))
    >>> deviations = np.array([1.0, 0.2]) / np.hypot(1.0, 0.2)
    >>> deviation_metrics(deviations, known)["mode_amplitudes"].round(12)
    array([0.5, 0.2])
    """
    variances, ratios = spectrum.modes
    order = np.argsort(-variances * ratios**2, kind="stable")[: deviations.shape[-1]]
    variances, ratios = variances[order], ratios[order]
    d = np.asarray(deviations, np.float64)[..., : len(order)]
    like = np.where(np.isfinite(d), 1.0, np.nan)
    return {
        "mode_amplitudes": d * np.sqrt(np.sum(variances * ratios**2) / variances),
        "mode_ratios": ratios * like,
        "mode_variances": variances * like,
    }
