"""Results on InfoNCE with many negatives: its mean field, where it rests, and its spectrum, R115, R116, R117."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from analysis.contrastive.infonce_points import (
    EncoderPoint,
    critical_points,
    decoupled_spectrum,
    mean_field_jacobian,
)
from analysis.results.contrastive.linear import random_encoder_system
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, refuted, worst
from dynamics.exact.infonce import saturated_loss, saturation
from dynamics.fields.infonce import infonce_mean_field, infonce_mean_loss
from dynamics.system import MatrixSystem

Mean = Callable[[Any, Any, MatrixSystem, float], Any]
MeanLoss = Callable[[Any, Any, float], Any]

# --- R115 ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _derivatives(loss: MeanLoss) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Compiled gradient and Hessian of a loss by W; arguments W, Σs, Σd, η, τ."""
    import jax

    def value(W: Any, sigma_s: Any, sigma_d: Any, decay: Any, tau: Any) -> Any:
        return loss(W, SimpleNamespace(sigma_s=sigma_s, sigma_d=sigma_d, weight_decay=decay), tau)

    gradient, hessian = jax.jit(jax.grad(value)), jax.jit(jax.hessian(value))

    def in_float64(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(W: np.ndarray, system: MatrixSystem, tau: float) -> np.ndarray:
            with jax.enable_x64(True):
                return np.asarray(
                    function(W, system.sigma_s, system.sigma_d, float(system.weight_decay), tau)
                )

        return run

    return in_float64(gradient), in_float64(hessian)


def _exponent(depth: int) -> float:
    """Power of τ by which weights of a homogeneous net of that depth are scaled."""
    return -1 / (2 * depth)


def _deep_loss(weights: list[np.ndarray], x: np.ndarray, tau: float) -> float:
    """InfoNCE of a bias-free ReLU net; x of shape (anchors, views, inputs) holds anchor, positive and negatives."""
    for k, W in enumerate(weights):
        x = x @ W.T
        x = np.maximum(x, 0) if k < len(weights) - 1 else x
    r = np.sum((x[:, :1] - x[:, 1:]) ** 2, axis=-1) / 2 / tau
    return float(np.mean(r[:, 0] + np.logaddexp.reduce(-r, axis=1)))


def mean_field(
    rng: np.random.Generator,
    *,
    loss: MeanLoss = infonce_mean_loss,
    field: Mean = infonce_mean_field,
    exponent: Callable[[int], float] = _exponent,
) -> Measurement:
    """R115: the loss against integrals over negatives, the field against autodiff, small encoders, and τ as a scale."""
    n, n2 = 3, 2
    tau = 10 ** rng.uniform(-1, 1)
    system = random_encoder_system(rng, n)
    decay = rng.uniform(0.0, 0.5)
    decayed = MatrixSystem(system.sigma_s, system.sigma_d, weight_decay=decay)
    W = rng.standard_normal((n2, n)) * np.sqrt(tau) * rng.uniform(0.2, 0.7)
    S, D = W @ system.sigma_s @ W.T, W @ system.sigma_d @ W.T
    # E_f log E e^{−‖f − f′‖²/2τ}: the inner one by the trapezoidal rule, exact for Gaussians; its log is quadratic in f
    root = np.linalg.cholesky(S)
    x = np.arange(-9.0, 9.01, 0.25)
    grid = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
    weight = np.exp(-np.sum(grid**2, axis=1) / 2) * 0.25**2 / (2 * np.pi)
    nodes, outer = np.polynomial.hermite_e.hermegauss(3)
    outer = outer / np.sum(outer)
    inner = []
    for at in np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2):
        distance = np.sum(((at - grid) @ root.T) ** 2, axis=1) / (2 * tau)
        inner.append(np.log(weight @ np.exp(-distance)))
    stated = np.trace(S - D) / tau + np.outer(outer, outer).ravel() @ np.array(inner)
    stated += decay / 2 * np.sum(W**2)
    size = 1 + np.trace(S) / tau
    parts: list[tuple[Any, Any]] = [(abs(float(loss(W, decayed, tau)) - stated), 32 * EPS * size)]

    gradient = _derivatives(loss)[0](W, decayed, tau)
    scale = np.linalg.norm(system.sigma_s, 2) * np.linalg.norm(W) / tau * size
    parts.append((np.abs(field(0.0, W, decayed, tau) + gradient), 16 * n * EPS * scale))

    # near the origin: (2/τ) W Σd, as κ <= (3/2) S/τ is below rounding there
    small = W * 1e-9
    linear = 2 / tau * small @ system.sigma_d
    terms = np.linalg.norm(small) * np.linalg.norm(system.sigma_d) * 2 / tau
    parts.append((np.linalg.norm(field(0.0, small, system, tau) - linear), n * EPS * terms))

    # τ is no parameter, at any depth
    for depth in (1, 2, 3):
        widths = [4, 5, 3, 2][: depth + 1]
        weights = [rng.standard_normal(shape) for shape in zip(widths[1:], widths[:-1], strict=True)]
        x = rng.standard_normal((6, 5, 4))
        scaled = [tau ** exponent(depth) * layer for layer in weights]
        deep, other = _deep_loss(weights, x, tau), _deep_loss(scaled, x, 1.0)
        largest = float(
            np.prod([np.linalg.norm(layer) for layer in weights]) ** 2 * np.max(np.sum(x**2, axis=-1))
        )
        parts.append((abs(deep - other), 4 * EPS * (1 + largest / tau)))
    return worst(*parts)


def prove_mean_field() -> bool:
    """R115, one row: E_f log E e^{−(f − f′)²/2τ} is −½ log(1 + s/τ) − ½ s/(τ + s), and the field is −∂L/∂w."""
    import sympy as sp

    tau, s, w, ls, ld = sp.symbols("tau s w lambda_s lambda_d", positive=True)
    f, g = sp.symbols("f g", real=True)
    inner = sp.integrate(
        sp.exp(-((f - g) ** 2) / (2 * tau) - g**2 / (2 * s)) / sp.sqrt(2 * sp.pi * s), (g, -sp.oo, sp.oo)
    )
    log_inner = sp.expand_log(sp.log(sp.simplify(inner)), force=True)
    quadratic = sp.expand(sp.simplify(log_inner)).coeff(f, 2)
    constant = sp.simplify(log_inner - quadratic * f**2)
    stated = -sp.log(1 + s / tau) / 2 - s / (tau + s) / 2
    gap = sp.simplify(sp.expand_log(constant + quadratic * s - stated, force=True))
    y = w**2 * ls / tau
    loss = y * (1 - ld / ls) - sp.log(1 + y) / 2 - y / (1 + y) / 2
    kappa = y * (3 + 2 * y) / (2 * (1 + y) ** 2)
    return bool(
        sp.simplify(sp.logcombine(gap, force=True)) == 0
        and sp.simplify(sp.diff(loss, w) + 2 / tau * (w * ld - kappa * w * ls)) == 0
    )


# --- R116 ---------------------------------------------------------------------------------------------------


def all_critical_points(
    rng: np.random.Generator,
    *,
    points: Callable[..., list[EncoderPoint]] = critical_points,
    saturated: Callable[[Any], Any] = saturation,
    least: Callable[[Any], Any] = saturated_loss,
) -> Measurement:
    """R116: every point is at rest, one is no saddle, and a minimiser from a random start comes to it."""
    from scipy.optimize import minimize

    n, n2 = 4, 2
    tau = 10 ** rng.uniform(-1, 1)
    system = random_encoder_system(rng, n)
    listed = points(system, n2, tau)
    scale = np.linalg.norm(system.sigma_s, 2) * np.linalg.cond(system.sigma_s) / tau
    _, hessian = _derivatives(infonce_mean_loss)
    parts: list[tuple[Any, Any]] = [refuted(unless=len(listed) == 1 + 4 + 6)]
    for point in listed:
        moved = infonce_mean_field(0.0, point.online, system, tau)
        parts.append((np.max(np.abs(moved)), 8 * n * EPS * scale * (1 + np.linalg.norm(point.online))))
        lowest = np.linalg.eigvalsh(hessian(point.online, system, tau).reshape(n * n2, -1))[0]
        # zero eigenvalues of rotations are zero to rounding of the largest
        parts.append(refuted(unless=(lowest > -1e-9 * scale) == (point.stability == "stable")))
    # from a random start: S has the spectrum of the largest ratios, and the loss is Σ ℓ(r)
    shape = (n2, n)
    found = minimize(
        lambda w: float(infonce_mean_loss(w.reshape(shape), system, tau)),
        np.sqrt(tau) * rng.standard_normal(n * n2),
        jac=lambda w: -infonce_mean_field(0.0, w.reshape(shape), system, tau).ravel(),
        method="BFGS",
        options={"gtol": 1e-9 / np.sqrt(tau)},
    )
    W = found.x.reshape(shape)
    r = np.sort(np.linalg.eigvals(np.linalg.solve(system.sigma_s, system.sigma_d)).real)[-n2:]
    spectrum = np.linalg.eigvalsh(W @ system.sigma_s @ W.T) / tau
    # what is left of the gradient, over the smallest curvature that is not a rotation's
    curvature = np.linalg.eigvalsh(hessian(W, system, tau).reshape(n * n2, -1))[1]
    left = np.linalg.norm(found.jac) / curvature
    stretch = 2 * np.linalg.norm(system.sigma_s, 2) * np.linalg.norm(W) / tau
    rounding = 64 * n * EPS * np.linalg.cond(system.sigma_s) * float(np.max(saturated(r))) ** 2
    parts += [
        (np.abs(spectrum - saturated(r)), 2 * stretch * left + rounding),
        # dℓ/dr = −y*, and ratios are rounded by cond Σs; other terms of the loss are no larger than Σ y*
        (
            abs(found.fun - float(np.sum(least(r)))),
            2 * left * np.linalg.norm(found.jac)
            + 4 * n * EPS * np.linalg.cond(system.sigma_s) * float(np.sum(saturated(r))),
        ),
    ]
    # the ends of y*: (2/3) r and 1/(2(1 − r)), with relative errors (8/9) r and 4(1 − r)² at leading order, of which
    # twice is allowed
    small, near = 10 ** rng.uniform(-12, -4), 10 ** rng.uniform(-12, -3)
    near = 1 - (1 - near)  # as it is stored
    parts += [
        (abs(saturated(small) * 1.5 / small - 1), 2 * small + 8 * EPS),
        (abs(saturated(1 - near) * 2 * near - 1), 8 * near**2 + 8 * EPS),
    ]
    return worst(*parts)


def prove_critical_points() -> bool:
    """R116: κ(y*(r)) = r, and dℓ/dr = −y* with ℓ(0) = 0."""
    import sympy as sp

    q = sp.symbols("q", positive=True)  # √(9 − 8r), from 1 to 3
    r = (9 - q**2) / 8
    y = 2 / (q - 1) - 1
    u = 1 / (1 + y)
    loss = y * (1 - r) - sp.log(1 + y) / 2 - y / (1 + y) / 2
    slope = sp.diff(loss, q) / sp.diff(r, q)
    in_code = r * (q + 1) / ((1 - r) * (q + 3))
    return bool(
        sp.simplify(1 - (u + u**2) / 2 - r) == 0
        and sp.simplify(slope + y) == 0
        and loss.subs(q, 3) == 0
        and sp.simplify(in_code - y) == 0
    )


# --- R117 ---------------------------------------------------------------------------------------------------


def decoupled_blocks(
    rng: np.random.Generator,
    *,
    spectrum: Callable[[EncoderPoint, MatrixSystem, float], np.ndarray] = decoupled_spectrum,
    jacobian: Callable[[np.ndarray, MatrixSystem, float], np.ndarray] = mean_field_jacobian,
) -> Measurement:
    """R117: eigenvalues of the blocks at every critical point against the dense Hessian by autodiff."""
    n, n2 = 4, 2
    tau = 10 ** rng.uniform(-1, 1)
    lambda_s = 10 ** rng.uniform(-0.5, 0.5, n)
    r = rng.uniform(0.05, 0.95, n)
    decay = rng.integers(2) * rng.uniform(0.0, 0.3) * np.min(r * lambda_s) / tau
    system = MatrixSystem(np.diag(lambda_s), np.diag(lambda_s * r), weight_decay=decay)
    _, hessian = _derivatives(infonce_mean_loss)
    scale = 2 / tau * np.max(lambda_s)
    parts: list[tuple[Any, Any]] = []
    for point in critical_points(system, n2, tau):
        dense = -hessian(point.online, system, tau).reshape(n * n2, -1)
        rounding = 8 * n * n2 * EPS * scale * (1 + np.sum(point.amplitudes) / tau)
        parts += [
            (np.abs(spectrum(point, system, tau) - np.linalg.eigvalsh(dense)), rounding),
            (np.abs(jacobian(point.online, system, tau) - dense), rounding),
        ]
    return worst(*parts)


RESULTS: tuple[Result, ...] = (
    Result(
        id="R115",
        title="InfoNCE with many negatives",
        statement=(
            "L − log H → tr(S − D)/τ − ½ log det(I + S/τ) − ½ tr[S(τI + S)⁻¹], S = W Σs Wᵀ, D = W Σd Wᵀ, and "
            "dW/dt = (2/τ)[W Σd − κ(S) W Σs], κ = I − ½(U + U²), U = (I + S/τ)⁻¹. τ is a scale: for a homogeneous net "
            "of depth L, L_τ(W) = L_1(τ^{−1/2L} W)."
        ),
        source="new",
        hypotheses="Linear encoder and Gaussian views, H → ∞; the scaling holds for any data and H, without biases.",
        as_printed=AsPrinted.NEW,
        code="dynamics.fields.infonce.infonce_mean_field",
        trial=mean_field,
        proof=prove_mean_field,
    ),
    Result(
        id="R116",
        title="all critical points of InfoNCE",
        statement=(
            "With many negatives, up to W → Q W the rows are zero or distinct left eigenvectors of M = Σd Σs⁻¹ with "
            "w Σs wᵀ = τ y*(r), y* = 2/(√(9 − 8r) − 1) − 1. The top n2 modes are the only local minimum, with "
            "L = Σ [y(1 − r) − ½ log(1 + y) − ½ y/(1 + y)]; all others are strict saddles."
        ),
        source="new",
        hypotheses="Linear encoder, Gaussian views, H → ∞; Σs and Σd commuting or not; 0 < r < 1, all different.",
        as_printed=AsPrinted.NEW,
        code="analysis.contrastive.infonce_points.critical_points",
        trial=all_critical_points,
        proof=prove_critical_points,
    ),
    Result(
        id="R117",
        title="spectrum at a critical point of InfoNCE",
        statement=(
            "For commuting Σs and Σd the Jacobian has (2/τ)λs_j(r_j − r_i) for unselected j in row i, r_i = 0 if it "
            "is empty; −(2/τ²)λs s u²(1 + 2u) for an amplitude; 0 and (2/τ)[λs_k(r_k − r_i − δs_k) + "
            "λs_i(r_i − r_k − δs_i)] for two rows, δ = [κ(s_i) − κ(s_k)]/(s_i − s_k). No amplitude decides stability."
        ),
        source="new",
        hypotheses="Mean field of R115, decoupled critical point; r less ητ/(2λs) with weight decay.",
        as_printed=AsPrinted.NEW,
        code="analysis.contrastive.infonce_points.decoupled_spectrum",
        trial=decoupled_blocks,
    ),
)
"""R115, R116 and R117."""
