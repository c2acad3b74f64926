"""Results on predictors that follow the features: R19, R20, R21, R22."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import (
    EPS,
    RTOL,
    followed,
    orthogonal,
    random_rates,
    refuted,
    symbolic_rates,
    symbols,
    vanishes,
    worst,
)
from analysis.runs.alignment import Alignment, align, alignment_rate, feature_commutator
from dynamics.exact.fixed_points import saddle_node, weight_decay_fixed_points
from dynamics.fields.matrices import aligned_field, error_matrix, fast_predictor_field, full_field
from dynamics.fields.modes import direct_mode_field, fast_predictor_mode_field, full_mode_field
from dynamics.fields.predictors import directpred_predictor, feature_covariance, optimal_predictor, times
from dynamics.fields.vector_field import VectorField
from dynamics.integration.integrate import integrate
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem

# --- R19 ----------------------------------------------------------------------------------------------------


def _commutator_derivative(state: MatrixState, d: MatrixState, system: Any) -> Any:
    """dL/dt for L = F P − P F, by the product rule."""
    W, P, _ = state
    F = feature_covariance(W, system)
    half = times(d.online, system.sigma_s) @ W.T
    dF = half + half.T
    return dF @ P + F @ d.predictor - d.predictor @ F - P @ dF


def eigenspace_alignment(
    rng: np.random.Generator,
    *,
    field_of: Callable[[Callable[[Any], Any]], VectorField] = aligned_field,
    rate: Callable[[MatrixState, Any], Any] = alignment_rate,
    aligned: Callable[..., Alignment] = align,
) -> Measurement:
    """R19: dL/dt = −(K L + L K) at a random state, and the bounds along a short run."""
    n1, n2 = 4, 3
    system = MatrixSystem(
        np.full(n1, 1 + rng.uniform(0.1, 1.0)),
        np.ones(n1),
        tau_predictor=rng.uniform(0.5, 2.0),
        weight_decay=rng.uniform(0.0, 0.1),
    )
    level, speed = rng.uniform(0.2, 0.9), rng.uniform(0.5, 2.0)
    field = field_of(lambda t: 1 - (1 - level) * np.exp(-speed * t))
    P = rng.standard_normal((n2, n2))
    state = field.constrain(0.0, system.state(rng.standard_normal((n2, n1)), (P + P.T) / 2), system)
    K, L = rate(state, system), feature_commutator(state, system)
    measured = _commutator_derivative(state, field(0.0, state, system), system)
    # the terms of K L and L K, their coefficients at most 2, each a product that rounds by a few n eps of its size
    F_size, P_size = np.linalg.norm(feature_covariance(state.online, system)), np.linalg.norm(state.predictor)
    size = 4 * F_size * P_size * (F_size + P_size**2 + P_size + 1)
    identity = float(np.linalg.norm(measured + K @ L + L @ K))
    run = integrate(state, system, field, 1.0, rtol=RTOL)
    alignment = aligned(run, system, field, rtol=RTOL)
    return worst((identity, n1 * EPS * size), refuted(unless=alignment.holds))


def prove_eigenspace_alignment() -> bool:
    """R19 for 2×2 matrices: dL/dt + K L + L K expands to zero."""
    import sympy as sp

    lambda_s, lambda_d, tau = sp.symbols("lambda_s lambda_d tau", real=True)
    one = np.array([1, 1], dtype=object)
    system: Any = SimpleNamespace(sigma_s=lambda_s * one, sigma_d=lambda_d * one, **symbolic_rates())
    W = symbols("w", 2, 2)
    P = symbols("p", 1, 3)[0][[[0, 1], [1, 2]]]
    state = MatrixState(W, P, tau * W)
    L, K = feature_commutator(state, system), alignment_rate(state, system)
    derivative = aligned_field(lambda t: tau)(0, state, system)
    return vanishes(_commutator_derivative(state, derivative, system) + K @ L + L @ K)


# --- R20 ----------------------------------------------------------------------------------------------------


def _decoupled(p: Any, s: Any, tau: Any, system: Any) -> tuple[Any, Any, Any]:
    """dp/dt, ds/dt and dτ/dt of one aligned mode (λd = 1, λs = 1 + σ², τo = 1), as NC writes them."""
    alpha, beta, eta = 1 / system.tau_predictor, 1 / system.tau_target, system.weight_decay
    gap = tau - system.lambda_s * p
    ds = 2 * p * s * gap - 2 * eta * s
    return alpha * s * gap - eta * p, ds, (beta * (1 - tau) * s - tau * ds / 2) / s


def decoupled_dynamics(
    rng: np.random.Generator,
    *,
    field: VectorField = full_field,
    decoupled: Callable[[Any, Any, Any, Any], tuple[Any, Any, Any]] = _decoupled,
) -> Measurement:
    """R20: the matrix flow of an aligned state against the three equations, and the law for s along a run."""
    n, k = 4, 3
    lambda_s = 1 + rng.uniform(0.1, 1.0)
    rates = {
        "tau_predictor": rng.uniform(0.5, 2.0),
        "tau_target": rng.uniform(0.5, 2.0),
        "weight_decay": rng.uniform(0.0, 0.2),
    }
    system = MatrixSystem(np.full(n, lambda_s), np.ones(n), **rates)
    modes = ModeSystem(np.full(k, lambda_s), np.ones(k), **rates)
    p, s, tau = rng.uniform(-1, 1, k), rng.uniform(0.2, 2.0, k), rng.uniform(0.2, 1.0, k)
    U, V = orthogonal(rng, k), orthogonal(rng, n)[:k]
    w = np.sqrt(s)
    state = system.state((U * w) @ V, (U * p) @ U.T, (U * (tau * w)) @ V)
    dW, dP, dTh = field(0.0, state, system)
    dw, dth = (U.T @ part @ V.T for part in (dW, dTh))
    dp, ds, dtau = decoupled(p, s, tau, modes)
    errors = [
        U.T @ dP @ U - np.diag(dp),
        2 * w * dw - np.diag(ds),
        dth / w - np.diag(tau * np.diag(dw) / w) - np.diag(dtau),
    ]
    # each entry is a sum of n products of three rounded factors, over τp, τt and √s
    rough = np.max(np.abs([*dp, *ds, *dtau])) + (1 + lambda_s) * np.max(s) / min(1.0, *rates.values(), *w)
    parts = [(np.max(np.abs(error)), 4 * n * EPS * rough) for error in errors]
    run, error = followed(state, system, field, ts=np.linspace(0.0, 1.0, 5))
    s_t, p_t = (
        np.einsum("ji,tjk,ki->ti", U, part, U)
        for part in (run.states.online @ run.states.online.mT, run.states.predictor)
    )
    c = s - system.tau_predictor * p**2
    decay = np.exp(-2 * system.weight_decay * run.ts)[:, None]
    # s and p² are squares of states known to the error of the run in each of n or k entries along a direction
    largest = max(np.max(np.linalg.norm(part, axis=(1, 2))) for part in run.states)
    tolerance = 2 * error * largest * (np.sqrt(n) + system.tau_predictor * np.sqrt(k))
    return worst(*parts, (np.max(np.abs(s_t - system.tau_predictor * p_t**2 - decay * c)), tolerance))


def prove_decoupled_dynamics() -> bool:
    """R20: the one-mode field, by the chain rule for s = w1² and τ = θ/w1, and dc/dt = −2ηc."""
    import sympy as sp

    w1, w2, th, lambda_s = sp.symbols("w1 w2 theta lambda_s", positive=True)
    system: Any = SimpleNamespace(lambda_s=lambda_s, lambda_d=1, **(symbolic_rates() | {"tau_online": 1}))
    dw1, dw2, dth = full_mode_field(0, ModeState(w1, w2, th), system)
    dp, ds, dtau = _decoupled(w2, w1**2, th / w1, system)
    c = w1**2 - system.tau_predictor * w2**2
    dc = 2 * w1 * dw1 - 2 * system.tau_predictor * w2 * dw2
    return vanishes(
        [dw2 - dp, 2 * w1 * dw1 - ds, dth / w1 - th * dw1 / w1**2 - dtau, dc + 2 * system.weight_decay * c]
    )


# --- R21 ----------------------------------------------------------------------------------------------------


def fast_predictor(
    rng: np.random.Generator,
    *,
    field: VectorField = fast_predictor_field,
    mode_field: VectorField = fast_predictor_mode_field,
    optimal: Callable[[MatrixState, MatrixSystem], np.ndarray] = optimal_predictor,
) -> Measurement:
    """R21: the predictor of the limit, d(W Wᵀ)/dt at random states, W Wᵀ along a short run, and one mode."""
    n1, n2 = 4, 2
    A, B = rng.standard_normal((2, n1, n1))
    system = MatrixSystem(A @ A.T / n1 + B @ B.T / n1, A @ A.T / n1, **random_rates(rng))
    W = orthogonal(rng, n1)[:n2] * rng.uniform(0.5, 1.5, (n2, 1))
    state = system.state(W, np.eye(n2))
    F_s, F_d = W @ system.sigma_s @ W.T, W @ system.sigma_d @ W.T
    P = optimal(state, system)
    condition = float(np.linalg.cond(F_s))
    stated = F_d @ np.linalg.inv(F_s)
    size = np.linalg.norm(F_d) * np.linalg.norm(np.linalg.inv(F_s))
    parts = [(np.linalg.norm(P - stated), 4 * n1 * EPS * size * condition)]
    for target in (W, rng.standard_normal((n2, n1))):
        at = system.state(W, np.eye(n2), target)
        change = field(0.0, at, system).online @ W.T
        # Pᵀ(Θ Σd Wᵀ − P W Σs Wᵀ)/τo, whose two terms cancel to the rounding of an inverse
        push = np.linalg.norm(optimal(at, system)) ** 2 * np.linalg.norm(F_s) / system.tau_online
        parts.append((np.max(np.abs(change + change.T)), n1 * EPS * push * condition))
    run, error = followed(state, system, field, ts=np.linspace(0.0, 1.0, 5))
    moved = run.states.online @ run.states.online.mT - W @ W.T
    largest = float(np.max(np.linalg.norm(run.states.online, axis=(1, 2))))
    parts.append((np.max(np.abs(moved)), 2 * np.sqrt(n1) * largest * error))

    lambda_s = rng.uniform(0.5, 2.0, n1)
    modes = ModeSystem(lambda_s, rng.uniform(0.2, 0.9, n1) * lambda_s, **random_rates(rng))
    one = modes.state(*(rng.uniform(0.2, 1.2, (3, n1)) * rng.choice([-1, 1], (3, n1))))
    d, w2 = mode_field(0.0, one, modes), mode_field.constrain(0.0, one, modes).predictor
    push = np.abs(w2 * one.target * modes.lambda_d) / modes.tau_online
    return worst(*parts, (np.max(np.abs(d.online) / push), 4 * EPS))


def prove_fast_predictor() -> bool:
    """R21: τo d(W Wᵀ)/dt = Pᵀ N + Nᵀ P with N = E Wᵀ, which the optimal predictor makes zero."""
    rates = symbolic_rates() | {"weight_decay": 0}
    sigma_s, sigma_d = (symbols(letter, 1, 3)[0][[[0, 1], [1, 2]]] for letter in "sd")
    system: Any = SimpleNamespace(sigma_s=sigma_s, sigma_d=sigma_d, **rates)
    W, P, Th = (symbols(letter, 2, 2) for letter in "wpt")
    state = MatrixState(W, P, Th)
    dW = fast_predictor_field.derivative(0, state, system).online
    N = error_matrix(state, system) @ W.T
    balance = N - (Th @ sigma_d @ W.T - P @ feature_covariance(W, system))
    change = system.tau_online * (dW @ W.T + W @ dW.T) - (P.T @ N + N.T @ P)
    return vanishes([balance, change])


# --- R22 ----------------------------------------------------------------------------------------------------


def direct_predictors(
    rng: np.random.Generator,
    *,
    predictor: Callable[..., Any] = directpred_predictor,
    field_of: Callable[..., VectorField] = direct_mode_field,
    threshold: Callable[[ModeSystem], np.ndarray] = saddle_node,
) -> Measurement:
    """R22: P = F^½ + ε ‖F‖ I; fixed points and thresholds of P = F^α are those of R15 for a random α."""
    n, epsilon = 4, rng.uniform(0.01, 0.5)
    A = rng.standard_normal((n, 2 * n))
    F = A @ A.T
    root = predictor(F, epsilon=epsilon) - epsilon * np.linalg.norm(F, 2) * np.eye(n)
    square = float(np.linalg.norm(root @ root - F) / np.linalg.norm(F))

    # η between 1/(4(1 + σ²)) and 1/4: a mode that augmentation leaves alone, and one that it perturbs
    alpha, lambda_s = rng.uniform(0.5, 1.5), np.array([1.0, 1 + rng.uniform(1.0, 2.0)])
    low, high = threshold(ModeSystem(lambda_s, np.ones(2)))[::-1]
    system = ModeSystem(lambda_s, np.ones(2), weight_decay=low + rng.uniform(0.3, 0.7) * (high - low))
    field = field_of(epsilon=0.0, exponent=alpha)
    p = weight_decay_fixed_points(system).points.predictor[[1, 3]]
    w = np.sqrt(p[:, :1] ** (1 / alpha) / lambda_s[0])
    pushes = [field(0.0, ModeState(*np.full((3, 2), a)), system).online[0] for a in w[:, 0]]
    run, error = followed(system.state(1.0, 1.0, 1.0), system, field, ts=np.array([0.0, 2000.0]))
    kept, killed = run.final.online
    # e^{−rate t} is left at t = 2000: for every mode the rate is some 0.02 or more at these distances from η*
    return worst(
        (square, 8 * n * EPS * np.linalg.cond(F)),
        *((abs(push), 16 * EPS / alpha) for push in pushes),
        (abs(kept - w[1, 0]), 2 * error + 8 * EPS),
        (abs(killed), 2 * error + 1e-15),
        refuted(unless=np.all(np.isnan(p[:, 1]))),  # the mode that must have none has no fixed points
    )


def prove_direct_predictors() -> bool:
    """R22: at θ = w1, with any predictor p, dw1/dt = w1 (λd p − λs p² − τo η)/τo, the polynomial of R15."""
    import sympy as sp

    w1, p, lambda_s, lambda_d = sp.symbols("w1 p lambda_s lambda_d", positive=True)
    system: Any = SimpleNamespace(lambda_s=lambda_s, lambda_d=lambda_d, **symbolic_rates())
    dw1, _, dth = direct_mode_field().derivative(0, ModeState(w1, p, w1), system)
    level = lambda_d * p - lambda_s * p**2 - system.tau_online * system.weight_decay
    return vanishes([system.tau_online * dw1 - w1 * level, dth])


RESULTS: tuple[Result, ...] = (
    Result(
        id="R19",
        title="eigenspace alignment",
        statement=(
            "L = [F, P] obeys dL/dt = −(K L + L K), K = (1 + σ²)(αp F/2 + P²) − τ P + (3/2) η I, F = W Wᵀ. "
            "While λmin(K) >= λ0, ‖L(t)‖ <= e^{−2 λ0 t} ‖L(0)‖."
        ),
        source="NC theorem 3",
        hypotheses="Σd = I, Σs = (1 + σ²) I, Θ = τ(t) W, symmetric predictor, τo = 1, αp = 1/τp.",
        as_printed=AsPrinted.YES,
        code="analysis.runs.alignment.alignment_rate",
        trial=eigenspace_alignment,
        proof=prove_eigenspace_alignment,
    ),
    Result(
        id="R20",
        title="decoupled dynamics of aligned modes",
        statement=(
            "dp/dt = αp s [τ − (1 + σ²) p] − η p; ds/dt = 2 p s [τ − (1 + σ²) p] − 2 η s; "
            "s dτ/dt = β (1 − τ) s − τ (ds/dt)/2; s = p²/αp + e^{−2ηt} c."
        ),
        source="NC, decoupled dynamics of the aligned state",
        hypotheses="As R19, P and F = W Wᵀ sharing eigenvectors; β = 1/τt.",
        as_printed=AsPrinted.YES,
        code="dynamics.fields.matrices.aligned_field",
        trial=decoupled_dynamics,
        proof=prove_decoupled_dynamics,
    ),
    Result(
        id="R21",
        title="fast predictor conserves the features",
        statement="With P = W Σd Wᵀ (W Σs Wᵀ)⁻¹ at all times, W Wᵀ is conserved.",
        source="new",
        hypotheses="η = 0, W Σs Wᵀ invertible.",
        as_printed=AsPrinted.NEW,
        code="dynamics.fields.predictors.optimal_predictor",
        trial=fast_predictor,
        proof=prove_fast_predictor,
    ),
    Result(
        id="R22",
        title="DirectPred and DirectSet",
        statement=(
            "P = Û diag(p) Ûᵀ with F̂ = Û diag(s) Ûᵀ and p_j = √s_j + ε max s. p = s^α has the fixed points of R15 for "
            "every α: for η between 1/(4(1 + σ²)) and 1/4 it keeps directions that augmentation leaves alone and "
            "collapses the others."
        ),
        source="NC, DirectPred; thresholds from R15",
        hypotheses="Fixed points: ε = 0, Θ = W, λd = 1, τo = 1; F̂ is the feature covariance itself.",
        as_printed=AsPrinted.YES,
        code="dynamics.fields.predictors.directpred_predictor",
        trial=direct_predictors,
        proof=prove_direct_predictors,
    ),
)
"""R19, R20, R21 and R22."""
