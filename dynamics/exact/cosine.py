"""Exact laws of losses of directions (R312–R316): the clock of weight decay, norms under steps, the worth of dimension.

And of the IsoLoss with a learned predictor (R323).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.exact.arithmetic import solution_times
from dynamics.states import ModeState
from dynamics.system import ModeSystem


def decay_clock(t: Any, weight_decay: float) -> Any:
    """Time s of the flow without weight decay that has the same direction.

        s = (e^{2ηt} − 1)/(2η),   W_η(t) = e^{−ηt} W_0(s),   P_η(t) = e^{−ηt} P_0(s)

    It holds for every loss that does not see the lengths of W and P, without a moving average or with a fixed target.

    Parameters
    ----------
    t
        Times >= 0.
    weight_decay
        η >= 0, the same for W and P; for different ones there is no common clock.

    Returns
    -------
    array
        s; infinite where it is beyond floats.

    Raises
    ------
    ValueError
        An argument is out of range.

    Notes
    -----
    Source: R312.

    Examples
    --------
    >>> round(float(decay_clock(4.0, 0.15)), 6), float(decay_clock(4.0, 0.0))
    (7.733723, 4.0)
    """
    t = solution_times(t)
    if not (np.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"`weight_decay` must be finite and >= 0, got {weight_decay}")
    x = 2 * weight_decay * t
    with np.errstate(over="ignore"):
        return t * np.where(x > 0, np.expm1(x) / np.where(x > 0, x, 1.0), 1.0)


def squared_norm_after_step(
    squared_norm: Any, gradient: Any, step: float, weight_decay: float, tau: float = 1.0
) -> Any:
    """‖W‖² after a step of gradient descent on a loss that does not see it: Pythagoras, as ⟨W, ∇L⟩ = 0.

        ‖W⁺‖² = (1 − εη)² ‖W‖² + ε² ‖∇_W L‖²/τ²

    Parameters
    ----------
    squared_norm, gradient
        ‖W‖² and ‖∇_W L‖.
    step, weight_decay, tau
        ε, η and the time constant τ.

    Notes
    -----
    Source: R313.

    Examples
    --------
    >>> round(squared_norm_after_step(1.0, 0.5, 0.1, 0.0), 12)
    1.0025
    """
    return (1 - step * weight_decay) ** 2 * squared_norm + (step * gradient / tau) ** 2


def resting_squared_norm(gradient: float, step: float, weight_decay: float) -> float:
    """‖W‖² at which steps and weight decay hold each other, of a gradient G/‖W‖.

        ‖W‖⁴ = ε G²/(2η − εη²)

    The rate at which W turns, ε/‖W‖², then does not depend on the start.

    Parameters
    ----------
    gradient
        G >= 0, the gradient at ‖W‖ = 1.
    step, weight_decay
        ε > 0 and η > 0 with εη < 2.

    Raises
    ------
    ValueError
        An argument is out of range.

    Notes
    -----
    Source: R313.

    Examples
    --------
    >>> round(resting_squared_norm(0.5, 0.1, 0.02), 7)
    0.790965
    """
    if not (np.isfinite(gradient) and gradient >= 0):
        raise ValueError(f"`gradient` must be finite and >= 0, got {gradient}")
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"`step` must be finite and > 0, got {step}")
    if not (weight_decay > 0 and step * weight_decay < 2):
        raise ValueError(f"`weight_decay` must be > 0 and < 2/step, got {weight_decay}")
    return float(gradient * np.sqrt(step / (weight_decay * (2 - step * weight_decay))))


def expected_cosine(n: Any, ratio: Any) -> Any:
    """Mean cosine of two views of n equal Gaussian modes of correlation r.

        E cos = r (2/n) (Γ((n + 1)/2)/Γ(n/2))² ₂F₁(½, ½; n/2 + 1; r²)

    It rises from (2/π) arcsin r at n = 1 to r: the loss pays for rank. A radius that both views share is no matter.

    Parameters
    ----------
    n
        Number of modes >= 1.
    ratio
        r in [−1, 1].

    Raises
    ------
    ValueError
        An argument is out of range.

    Notes
    -----
    Good to about 1e-11 up to n = 10⁶. Source: R314.

    Examples
    --------
    >>> expected_cosine([1, 2, 3, 8, 64], 0.6).round(5).tolist()
    [0.40967, 0.496, 0.5302, 0.57466, 0.59697]
    """
    from scipy.special import beta, hyp2f1

    n, r = np.asarray(n, dtype=np.float64), np.asarray(ratio, dtype=np.float64)
    if not np.all(np.isfinite(n) & (n >= 1)):
        raise ValueError(f"`n` must be finite and >= 1, got {n}")
    if not np.all(np.abs(r) <= 1):
        raise ValueError(f"`ratio` must lie within -1 and 1, got {r}")
    gammas = np.sqrt(np.pi) / beta(n / 2, 0.5)  # Γ((n + 1)/2)/Γ(n/2)
    return r * (2 / n) * gammas**2 * hyp2f1(0.5, 0.5, n / 2 + 1, r**2)


# --- predictors in closed form, P = W Wᵀ --------------------------------------------------------------------


def iso_matrix(t: float, gram: Any, noise: float) -> np.ndarray:
    """Gram matrix K = W Wᵀ under the IsoLoss with P = W Wᵀ, Σd = I and Σs = a I, a = 1 + σ².

        K(t) = K0 e^{2t} (I + a K0 (e^{2t} − 1))⁻¹

    Parameters
    ----------
    t
        A time >= 0.
    gram
        K0, symmetric and positive semidefinite, shape (n2, n2).
    noise
        σ² >= 0.

    Notes
    -----
    Source: R316; Halvagal.

    Examples
    --------
    >>> iso_matrix(50.0, [[0.1]], 0.25).round(12).tolist()
    [[0.8]]
    """
    K = np.asarray(gram, dtype=np.float64)
    a, left = 1 + noise, np.exp(-2 * float(solution_times(t)))
    return np.linalg.solve(left * np.eye(len(K)) + a * -np.expm1(-2 * t) * K, K)


def euclidean_time(start: float, end: float, noise: float) -> float:
    """Time in which an eigenvalue λ of K = W Wᵀ moves under squared errors with P = W Wᵀ.

        t = ½ [1/λ0 − 1/λ + a ln(λ (1 − aλ0)/(λ0 (1 − aλ)))],   dλ/dt = 2λ² (1 − aλ)

    Parameters
    ----------
    start, end
        0 < λ0 <= λ < 1/a.
    noise
        σ² >= 0, a = 1 + σ².

    Raises
    ------
    ValueError
        The eigenvalues are out of range.

    Notes
    -----
    Source: R316; Halvagal.

    Examples
    --------
    >>> round(euclidean_time(0.1, 0.7, 0.25), 6)
    6.718102
    """
    a = 1 + noise
    if not 0 < start <= end < 1 / a:
        raise ValueError(f"`end` must satisfy 0 < start <= end < 1/(1 + noise), got {start} and {end}")
    gap = end - start
    logs = np.log1p(gap / start) + np.log1p(a * gap / (1 - a * end))
    return float((gap / (start * end) + a * logs) / 2)


def closed_predictor_speed(eigenvalues: Any, noise: float, objective: str) -> np.ndarray:
    """Speed of the eigenvalues of K = W Wᵀ with P = W Wᵀ.

    Of ``iso`` 2λ(1 − aλ), of ``euclidean`` 2λ²(1 − aλ), of ``no-stop-gradient`` −2λ[a(1 + λ²) − 2λ], and of ``cosine``
    (2λ²/(a √(S3 S1))) (1 − λ S2/S3) with S_n = Σ λⁿ, which keeps S1 and makes all λ equal.

    Raises
    ------
    ValueError
        The objective is none of these.

    Notes
    -----
    Source: R316; Halvagal.

    Examples
    --------
    >>> closed_predictor_speed([0.5, 0.5], 0.0, "cosine").tolist()
    [0.0, 0.0]
    """
    x, a = np.asarray(eigenvalues, dtype=np.float64), 1 + noise
    if objective == "iso":
        return 2 * x * (1 - a * x)
    if objective == "euclidean":
        return 2 * x**2 * (1 - a * x)
    if objective == "no-stop-gradient":
        return -2 * x * (a * (1 + x**2) - 2 * x)
    if objective == "cosine":
        S1, S2, S3 = (np.sum(x**k, axis=-1, keepdims=True) for k in (1, 2, 3))
        return 2 * x**2 / (a * np.sqrt(S3 * S1)) * (1 - x * (S2 / S3))
    raise ValueError(f"`objective` must be iso, euclidean, no-stop-gradient or cosine, got {objective!r}")


# --- the IsoLoss with a learned predictor -------------------------------------------------------------------


def iso_learned_predictor(ts: Any, state: ModeState, system: ModeSystem) -> ModeState:
    """Exact flow of modes under the IsoLoss with a learned predictor and θ = w1.

    The distance y = τo w1²/(2τp) = w2 + inv/τp from the rest of a dead mode is logistic, with inv = τo w1²/2 − τp w2
    and K = r + inv/τp:

        dy/dt = (2λs/τo) y (K − y),   y(t) = y0/(e^{−kKt} + y0 (1 − e^{−kKt})/K),   k = 2λs/τo

    Parameters
    ----------
    ts
        Times >= 0, any shape.
    state
        Start, shape (n_modes,); θ is taken to be w1.
    system
        λs > 0, η = 0.

    Returns
    -------
    ModeState
        Shape ts.shape + (n_modes,).

    Raises
    ------
    ValueError
        λs <= 0, η ≠ 0 or a time is negative.

    Notes
    -----
    Source: R323.

    Examples
    --------
    >>> system = ModeSystem(1.2, 0.6, tau_online=0.8, tau_predictor=1.5)
    >>> iso_learned_predictor(4.0, system.state(0.3, -0.4), system).predictor.round(8).tolist()
    [0.49947034]
    """
    t = solution_times(ts)[..., None]
    if np.any(system.lambda_s <= 0):
        raise ValueError(f"`lambda_s` must be > 0, got {np.min(system.lambda_s)}")
    if np.any(np.asarray(system.weight_decay) != 0):
        raise ValueError(f"`weight_decay` must be 0 for this closed form, got {system.weight_decay}")
    w1, w2, _ = state
    k = 2 * system.lambda_s / system.tau_online
    y0 = system.tau_online * w1**2 / (2 * system.tau_predictor)
    K = system.ratio - w2 + y0
    x = k * K * t
    with np.errstate(over="ignore"):
        # (1 − e^{−x})/K, k t where K = 0
        rise = np.where(x == 0, k * t, -np.expm1(-x) / np.where(K == 0, 1.0, K))
        # y0/y; a mode at w1 = 0 stays
        left = np.where(y0 == 0, 1.0, np.exp(-x) + np.where(y0 == 0, 1.0, y0) * rise)
    share = 1 / left
    w = w1 * np.sqrt(share)
    # w2 = w2(0) + (y − y0), y − y0 = y0 (share − 1)
    p = w2 + y0 * (share - 1)
    return ModeState(w, p, w.copy())


def iso_fate(state: ModeState, system: ModeSystem) -> tuple[np.ndarray, ModeState]:
    """Where modes end under the IsoLoss with a learned predictor, with an average or without.

    Collapse iff w2(0) >= r + τo w1(0)²/(2τp), to w1 = 0 and w2 = −inv/τp; else w2 → r and w1² → (2/τo)(inv + τp r).
    Negative predictors always recover: the trap of R6 comes from the factor Pᵀ.

    Parameters
    ----------
    state, system
        Starts with w1 ≠ 0, λs, λd > 0 and η = 0.

    Returns
    -------
    collapsed, ends
        Shape (n_modes,), and the ends with |w1| for w1.

    Notes
    -----
    Source: R323.

    Examples
    --------
    >>> system = ModeSystem(1.0, 0.5)
    >>> iso_fate(system.state(0.3, -2.0), system)[0].tolist()
    [False]
    """
    w1, w2, _ = state
    to, tp = system.tau_online, system.tau_predictor
    K = system.ratio - w2 + to * w1**2 / (2 * tp)
    collapsed = K <= 0
    w = np.sqrt(2 * tp / to * np.maximum(K, 0.0))
    return collapsed, ModeState(w, np.where(collapsed, w2 - to * w1**2 / (2 * tp), system.ratio), w)
