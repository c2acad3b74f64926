"""Steps of gradient descent on Gaussian batches: moments of a batch, the noise of its step, its diffusion (R306, R310).

Batches hold B pairs of zero-mean Gaussian views with cov(x1) = cov(x2) = Σs and E x2 x1ᵀ = Σd. A step sees
Ŝ = mean x1 x1ᵀ and D̂ = mean x2 x1ᵀ in place of Σs and Σd.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

from dynamics.fields.matrices import error_matrix
from dynamics.fields.modes import full_mode_field
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem


@dataclass(frozen=True, eq=False)
class ModeBatch:
    """Modes as a batch shows them: Ŝ and D̂ for λs and λd, and the rates of the system."""

    lambda_s: np.ndarray
    lambda_d: np.ndarray
    tau_online: Any
    tau_predictor: Any
    tau_target: Any
    weight_decay: Any


@dataclass(frozen=True, eq=False)
class MatrixBatch:
    """The network as a batch shows it: Ŝ and D̂, which is not symmetric, for Σs and Σd."""

    sigma_s: np.ndarray
    sigma_d: np.ndarray
    tau_online: Any
    tau_predictor: Any
    tau_target: Any
    weight_decay: Any


class SdeTerms(NamedTuple):
    """Drift and diffusion of modes, dy = drift dt + diffusion dB with one Brownian motion per mode."""

    drift: ModeState
    diffusion: ModeState


def check_batch(batch: int) -> None:
    """Refuse batches without samples.

    >>> check_batch(0)
    Traceback (most recent call last):
    ValueError: `batch` must be an integer >= 1, got 0
    """
    if batch < 1:
        raise ValueError(f"`batch` must be an integer >= 1, got {batch}")


def batch_moments(
    rng: np.random.Generator, system: ModeSystem, batch: int, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw Ŝ and D̂ of n batches, in their exact law, from two random numbers per mode whatever B is.

        Ŝ = λs χ²_B/B,   D̂ = r Ŝ + √(λs (1 − r²) Ŝ/B) N(0, 1)

    Parameters
    ----------
    rng
        Source of the numbers.
    system
        Gives λs and λd, |λd| <= λs; modes are independent of one another.
    batch
        B >= 1.
    n
        Number of batches.

    Returns
    -------
    s_hat, d_hat
        Shape (n, n_modes).

    Raises
    ------
    ValueError
        B < 1, or |λd| > λs.

    Notes
    -----
    Source: R306.

    Examples
    --------
    >>> s, d = batch_moments(np.random.default_rng(0), ModeSystem(1.0, 1.0), 3, 2)
    >>> bool(np.all(s == d))
    True
    """
    check_batch(batch)
    if np.any(np.abs(system.lambda_d) > system.lambda_s):
        raise ValueError("`lambda_d` must be at most `lambda_s` in size for views to have these moments")
    shape = (n, system.n_modes)
    s, d = np.broadcast_arrays(system.lambda_s, system.lambda_d)
    r = np.divide(d, s, out=np.zeros(s.shape), where=s > 0)
    s = system.lambda_s * rng.chisquare(batch, shape) / batch
    spread = np.sqrt(system.lambda_s * (1 - r) * (1 + r) * s / batch)
    return s, r * s + spread * rng.standard_normal(shape)


def view_roots(system: MatrixSystem) -> tuple[np.ndarray, np.ndarray]:
    """Factors of x1 = a z and x2 = b z for 2 n1 standard normal numbers z, shape (n1, 2 n1) each."""
    sigma_s, sigma_d = (np.diag(s) if s.ndim == 1 else s for s in (system.sigma_s, system.sigma_d))
    joint = np.block([[sigma_s, sigma_d], [sigma_d, sigma_s]])
    values, vectors = np.linalg.eigh(joint)
    slack = 4 * len(joint) * np.finfo(float).eps * np.max(np.abs(values))
    if values[0] < -slack:
        raise ValueError(
            "`sigma_d` must lie between −`sigma_s` and `sigma_s` for views to have these moments,"
            f" got an eigenvalue {values[0]:.3g} of their joint covariance"
        )
    root = vectors * np.sqrt(np.maximum(values, 0))
    n = len(sigma_s)
    return root[:n], root[n:]


@singledispatch
def batches(rng: Any, system: Any, batch: int) -> Iterator[Any]:
    """Endless iterator over batches of a system, for `dynamics.integration.discrete.iterate`."""
    raise TypeError(f"`rng` must be a NumPy generator, got {type(rng).__name__}")


@batches.register
def _(rng: np.random.Generator, system: Any, batch: int) -> Iterator[Any]:
    rates = (system.tau_online, system.tau_predictor, system.tau_target, system.weight_decay)
    check_batch(batch)
    if isinstance(system, ModeSystem):
        while True:
            for s, d in zip(*batch_moments(rng, system, batch, 256), strict=True):
                yield ModeBatch(s, d, *rates)
    a, b = view_roots(system)
    while True:
        z = rng.standard_normal((a.shape[1], batch))
        x1, x2 = a @ z, b @ z
        yield MatrixBatch(x1 @ x1.T / batch, x2 @ x1.T / batch, *rates)


def residual_variance(state: ModeState, system: ModeSystem, batch: int) -> Any:
    """Variance of ê = θ D̂ − w1 w2 Ŝ over batches.

    Var ê = [θ² (λs² + λd²) − 4 θ w1 w2 λs λd + 2 w1² w2² λs²]/B

    Parameters
    ----------
    state, system
        Modes; at a learned point (w, r, w) it is w² (λs² − λd²)/B.
    batch
        B >= 1.

    Notes
    -----
    Source: R306.

    Examples
    --------
    >>> residual_variance(ModeState(0.5, 0.5, 0.5), ModeSystem(1.0, 0.5), 2)
    array([0.09375])
    """
    w1, w2, th = state
    ls, ld = system.lambda_s, system.lambda_d
    u = w1 * w2
    # θ²(λs² − λd²) + 2(θλd − uλs)², a sum of squares
    return (th**2 * (ls - ld) * (ls + ld) + 2 * (th * ld - u * ls) ** 2) / batch


def sde_terms(state: ModeState, system: ModeSystem, step: float, batch: int) -> SdeTerms:
    """The diffusion that small noisy steps follow: drift of the flow, and one Brownian motion per mode.

    dw1 = (w2/τo)(e dt + √(ε Var ê) dB),   dw2 = (w1/τp)(e dt + √(ε Var ê) dB),   dθ = (w1 − θ) dt/τt

    Parameters
    ----------
    state, system, batch
        As for `residual_variance`.
    step
        ε > 0.

    Notes
    -----
    Source: R306.

    Examples
    --------
    >>> system = ModeSystem(1.0, 1.0)
    >>> sde_terms(ModeState(0.5, 0.5, 0.5), system, 0.1, 2).diffusion.target
    array([0.])
    """
    size = np.sqrt(step * residual_variance(state, system, batch))
    w1, w2, _ = state
    noise = ModeState(w2 * size / system.tau_online, w1 * size / system.tau_predictor, 0.0 * size)
    return SdeTerms(full_mode_field(0.0, state, system), noise)


def expected_balance_change(state: MatrixState, system: MatrixSystem, step: float, batch: int) -> np.ndarray:
    """Mean change of C = τo W Wᵀ − τp Pᵀ P by one step on a batch, exactly.

        E[C⁺ − C] = ε² {Pᵀ [(1 + 1/B) E Eᵀ + (tr Σs/B) R] P/τo − W [(1 + 1/B) Eᵀ E + (tr R/B) Σs] Wᵀ/τp}
        R = Θ Σs Θᵀ − Θ Σd Wᵀ Pᵀ − P W Σdᵀ Θᵀ + P W Σs Wᵀ Pᵀ

    Parameters
    ----------
    state, system
        W, P and Θ; η = 0, any Σs and Σd that views have.
    step
        ε > 0.
    batch
        B >= 1.

    Returns
    -------
    array (n2, n2)
        R is the covariance of the prediction error: noise of the batch moves C at E = 0 too.

    Raises
    ------
    ValueError
        η ≠ 0 or B < 1.

    Notes
    -----
    Source: R310.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(1), 0.5 * np.eye(1))
    >>> expected_balance_change(system.state([[1.0]], [[0.5]]), system, 1.0, 2)
    array([[-0.28125]])
    """
    check_batch(batch)
    if system.weight_decay:
        raise ValueError(f"`weight_decay` must be 0 for this mean, got {system.weight_decay}")
    W, P, Th = state
    sigma_s, sigma_d = (np.diag(s) if s.ndim == 1 else s for s in (system.sigma_s, system.sigma_d))
    E, A = error_matrix(state, system), P @ W
    cross = Th @ sigma_d @ A.T
    R = Th @ sigma_s @ Th.T - cross - cross.T + A @ sigma_s @ A.T
    more = 1 + 1 / batch
    encoder = P.T @ (more * E @ E.T + np.trace(sigma_s) / batch * R) @ P / system.tau_online
    predictor = W @ (more * E.T @ E + np.trace(R) / batch * sigma_s) @ W.T / system.tau_predictor
    change: np.ndarray = step**2 * (encoder - predictor)
    return change
