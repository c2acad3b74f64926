"""Results on VICReg, spectral, whitened and hinge losses of linear encoders: R327 to R330."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, followed, orthogonal, refuted, vanishes, worst
from dynamics.exact.hinge import hinge_stop
from dynamics.exact.redundancy import oja_subspace, spectral_gram, spectral_mode
from dynamics.exact.vicreg import (
    WaterFilling,
    unit_diagonal,
    vicreg_rank,
    vicreg_row,
    vicreg_spectrum,
    vicreg_std,
)
from dynamics.fields.redundancy import SLIDE, SpectralContrastive, Vicreg, Whitened, redundancy_field
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem

_SPECTRAL, _WHITENED = SpectralContrastive(), Whitened()


def random_moments(rng: np.random.Generator, n1: int) -> tuple[MatrixSystem, np.ndarray, np.ndarray]:
    """Draw moments with given modes: the system, its ratios r, descending, and the modes U, Uᵀ Σs U = I, as columns."""
    ratios = np.sort(rng.uniform(0.02, 0.98, n1))[::-1]
    inverse = orthogonal(rng, n1) * rng.uniform(0.6, 1.6, n1) @ orthogonal(rng, n1)
    sigma_s = inverse.T @ inverse
    sigma_d = inverse.T * ratios @ inverse
    system = MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2)
    return system, ratios, np.linalg.inv(inverse)


# --- R327 ---------------------------------------------------------------------------------------------------


def water_filling(
    rng: np.random.Generator,
    *,
    row: Callable[..., Any] = vicreg_row,
    rest: Callable[..., Any] = vicreg_std,
    spectrum: Callable[..., WaterFilling] = vicreg_spectrum,
    rank: Callable[..., int] = vicreg_rank,
) -> Measurement:
    """R327: one row by its closed form; the spectrum at rest, no worse than any other encoder of unit deviations."""
    invariance, covariance = rng.uniform(0.3, 2.0), np.exp(rng.uniform(-4, 1))
    ls, r, variance = rng.uniform(0.5, 2.0), rng.uniform(0.05, 0.9), rng.uniform(0.1, 2.0)
    loss = Vicreg(invariance, variance, covariance)
    system = MatrixSystem([ls], [ls * r])
    # short of std = 1 by more than the layer in which the flow closes in on it
    end = float(rest(r, invariance=invariance, variance=variance))
    layer = variance * ls / (SLIDE * loss.rate(system))
    w0 = 1e-3 * rng.choice([-1, 1])
    t = rng.uniform(0.1, 0.9) * (1 - layer) / (variance * ls)  # std rises at μ λs at most
    run, error = followed(EncoderState([[w0]]), system, redundancy_field(loss), t)
    exact = row(t, w0, ls, r, invariance=invariance, variance=variance)
    parts: list[tuple[Any, Any]] = [(abs(float(run.final.online[0, 0] - exact)), 2 * error)]
    field = redundancy_field(loss)
    # forces 4λ_i(1 − r) std and μ, and the pull that is drawn in at SLIDE times the rate
    force = (4 * invariance + variance + SLIDE * loss.rate(system)) * np.sqrt(ls)
    state = EncoderState(np.array([[end / np.sqrt(ls)]]))
    parts.append((abs(float(field(0.0, state, system).online[0, 0])), 4 * EPS * force))

    n1, n2 = int(rng.integers(3, 8)), int(rng.integers(2, 6))
    system, ratios, modes = random_moments(rng, n1)
    found = spectrum(ratios, n2, invariance=invariance, covariance=covariance)
    size = min(n1, n2)
    g = np.zeros(n2)
    g[:size] = found.amplitudes[:size]
    parts.append((abs(np.sum(found.amplitudes) - n2), 8 * n2 * EPS * (n2 + invariance / covariance)))
    W = unit_diagonal(g)[:, :size] @ (np.sqrt(g[:size, None]) * modes[:, :size].T)
    # a pull above its demand on every row, and none left over
    loss = Vicreg(invariance, found.pull * 1.5, covariance)
    force = np.linalg.norm(system.sigma_s, 2) * np.linalg.norm(W) * n1 * (SLIDE + 1)
    rounding = 16 * EPS * force * loss.rate(system)
    moved = redundancy_field(loss)(0.0, EncoderState(W), system).online
    parts.append((np.max(np.abs(moved)), rounding))
    value = float(loss.value(W, system))
    for spread in (0.03, 0.3, 3.0):
        other = W + spread * rng.standard_normal(W.shape)
        other /= np.sqrt(np.sum((other @ system.sigma_s) * other, axis=1))[:, None]
        parts.append(refuted(unless=float(loss.value(other, system)) > value))
    spreads = np.array([np.sum(ratios[:k] - ratios[k - 1]) for k in range(1, size + 1)])
    if np.min(np.abs(invariance * spreads - covariance * n2)) > 1e-9:
        said = 1 + int(np.max(np.flatnonzero(invariance * spreads < covariance * n2)))
        counted = rank(ratios, n2, invariance=invariance, covariance=covariance)
        parts.append(refuted(unless=said == counted == np.linalg.matrix_rank(W)))
    two = spectrum(ratios, 2, invariance=invariance, covariance=covariance).amplitudes
    shared = min(1.0, invariance * (ratios[0] - ratios[1]) / (2 * covariance))
    parts.append((abs((two[0] - two[1]) / 2 - shared), 16 * EPS * (1 + invariance / covariance)))
    alone = spectrum(ratios, n2, invariance=invariance, covariance=0.0).amplitudes
    parts.append((np.max(np.abs(alone - n2 * (np.arange(n1) == 0))), 0.0 + EPS))
    return worst(*parts)


def prove_water_filling() -> bool:
    """R327: stationarity of 2λ_i Σ(1 − r_k)g_k + ν Σ g_k² at fixed Σ g_k, and the closed form of one row."""
    import sympy as sp

    li, nu, m, mu, ls, w0, t = sp.symbols("lambda_i nu m mu lambda_s w0 t", positive=True)
    r, g = sp.symbols("r g", real=True)
    slope = sp.diff(2 * li * (1 - r) * g + nu * g**2, g)
    level = slope.subs(g, _amplitude(li, r, m, nu))
    a = 4 * li * ls * (1 - r)
    w = w0 * sp.exp(-a * t) + mu * sp.sqrt(ls) / a * (1 - sp.exp(-a * t))
    row = sp.diff(w, t) + 4 * li * (ls - ls * r) * w - mu * sp.sqrt(ls)
    return bool(sp.simplify(sp.diff(level, r)) == 0 and sp.simplify(row) == 0)


def _amplitude(invariance: Any, ratio: Any, level: Any, covariance: Any) -> Any:
    return (invariance * ratio - level) / covariance


# --- R328 ---------------------------------------------------------------------------------------------------


def spectral_flow(
    rng: np.random.Generator,
    *,
    mode: Callable[..., Any] = spectral_mode,
    gram: Callable[..., Any] = spectral_gram,
    loss: Any = _SPECTRAL,
) -> Measurement:
    """R328: aligned rows and, for white views, any start by closed forms; small starts; the end and its loss."""
    field = redundancy_field(loss)
    n = int(rng.integers(1, 4))
    lambda_s, r = rng.uniform(0.5, 2.0, n), rng.uniform(0.1, 1.0, n)
    system = MatrixSystem(lambda_s, lambda_s * r)
    w0, t = rng.uniform(0.01, 1.5, n) * rng.choice([-1, 1], n), float(rng.uniform(0.1, 2.0))
    run, error = followed(EncoderState(np.diag(w0)), system, field, t)
    parts = [
        (
            np.max(np.abs(run.final.online - np.diag(mode(t, w0, lambda_s, lambda_s * r)))),
            4 * error + 16 * EPS,
        )
    ]

    n1, n2 = int(rng.integers(2, 5)), int(rng.integers(1, 5))
    Q = orthogonal(rng, n1)
    values = np.sort(rng.uniform(0.05, 1.0, n1))
    sigma_d = Q * values @ Q.T
    white = MatrixSystem(np.eye(n1), (sigma_d + sigma_d.T) / 2)
    start = EncoderState(rng.uniform(0.02, 1.0) * rng.standard_normal((n2, n1)))
    run, error = followed(start, white, field, t)
    W = run.final.online
    size = max(float(np.max(np.abs(W))), 1.0)
    parts.append((np.max(np.abs(W.T @ W - gram([t], start, white.sigma_d)[0])), 4 * n2 * size * error))

    system, ratios, modes = random_moments(rng, n1)
    tiny = 1e-9 * rng.standard_normal((n2, n1))
    grown = loss.descent(tiny, system) - 4 * tiny @ system.sigma_d
    parts.append((np.max(np.abs(grown)) / 1e-9, 1e-17 * (n1 + n2) * 4 + 8 * n1 * EPS * 8))
    k = min(n1, n2)
    W = np.zeros((n2, n1))
    W[:k] = np.sqrt(ratios[:k, None]) * modes[:, :k].T
    W = orthogonal(rng, n2) @ W
    force = np.linalg.norm(system.sigma_s, 2) * np.linalg.norm(W)
    parts.append((np.max(np.abs(loss.descent(W, system))), 16 * n1 * EPS * float(force)))
    lowest = float(loss.value(W, system))
    parts.append((abs(lowest + float(np.sum(ratios[:k] ** 2))), 16 * n1 * EPS * k))
    other = W + rng.choice([0.01, 0.3]) * rng.standard_normal(W.shape)
    parts.append(refuted(unless=float(loss.value(other, system)) > lowest))
    return worst(*parts)


def prove_spectral_flow() -> bool:
    """R328: the logistic solution, and with Σs = I the equation of K = WᵀW for two modes and one row."""
    import sympy as sp

    t, u0, ls, ld = sp.symbols("t u0 lambda_s lambda_d", positive=True)
    end = ld / ls**2
    u = u0 / (sp.exp(-8 * ld * t) + u0 / end * (1 - sp.exp(-8 * ld * t)))
    logistic = sp.simplify(sp.diff(u, t) - 8 * (ld * u - ls**2 * u**2)) == 0
    a, b, d1, d2 = sp.symbols("a b d1 d2", positive=True)
    W0, D = sp.Matrix([[a, b]]), sp.diag(d1, d2)
    grown = W0 * sp.diag(sp.exp(4 * d1 * t), sp.exp(4 * d2 * t))
    Z = sp.diag((sp.exp(8 * d1 * t) - 1) / (8 * d1), (sp.exp(8 * d2 * t) - 1) / (8 * d2))
    K = grown.T * grown / (1 + _crowding() * (W0 * Z * W0.T)[0, 0])
    moved = sp.diff(K, t) - 4 * (D * K + K * D) + 8 * K * K
    return bool(logistic and vanishes(moved.tolist()))


def _crowding() -> int:
    return 8


# --- R329 ---------------------------------------------------------------------------------------------------


def oja_flow(
    rng: np.random.Generator,
    *,
    subspace: Callable[..., Any] = oja_subspace,
    loss: Any = _WHITENED,
) -> Measurement:
    """R329: outputs stay white, the row space is that of V0 e^{Mt}, and its end the top modes of M."""
    n1 = int(rng.integers(2, 6))
    n2 = int(rng.integers(1, n1))
    system, ratios, modes = random_moments(rng, n1)
    start = EncoderState(rng.standard_normal((n2, n1)))
    t = float(rng.uniform(0.2, 4.0))
    run, error = followed(start, system, redundancy_field(loss), t)
    W = run.final.online
    values, vectors = np.linalg.eigh(system.sigma_s)
    root = (vectors * np.sqrt(values)) @ vectors.T
    V = W @ root
    size = float(np.sqrt(values[-1]))  # of what an error of W is of V
    parts: list[tuple[Any, Any]] = [
        (np.max(np.abs(V @ V.T - np.eye(n2))), 8 * n1 * size * error),
        (np.max(np.abs(V.T @ V - subspace([t], start, system)[0])), 8 * n1 * size * error),
    ]
    top = root @ modes[:, :n2]  # orthonormal columns in white coordinates
    late = 40 / (ratios[n2 - 1] - ratios[n2])
    end = subspace([late], start, system)[0]
    # e^{−40} of the angle at the start, which is random, and rounding of a symmetric eigenproblem with this gap
    spread = np.linalg.norm(system.sigma_s, 2) / values[0] / (ratios[n2 - 1] - ratios[n2])
    parts.append((np.max(np.abs(end - top @ top.T)), 16 * n1 * EPS * spread + 1e-13))
    return worst(*parts)


# --- R330 ---------------------------------------------------------------------------------------------------


def hinge_force(ratio: float, k: float) -> float:
    """E[q 1(q > −k)] at λs = 1, q = A B with A = x2 − x3 and B = x2 + x3 − 2 x1: exact in B given A, then over A."""
    from scipy.integrate import quad
    from scipy.stats import norm

    deviation = np.sqrt(6 - 4 * ratio - 2 * ratio**2)  # of B given A; its mean is −r A

    def given(a: float) -> float:
        edge = k / a
        rest = a * (
            -ratio * a * norm.cdf((edge - ratio * a) / deviation)
            + deviation * norm.pdf((edge - ratio * a) / deviation)
        )
        return float(rest * norm.pdf(a / np.sqrt(2)) / np.sqrt(2))

    edges = (1e-12, 0.3, 1.0, 3.0, 6.0, 16.0)
    found = [quad(given, a, b, epsabs=1e-13, epsrel=1e-11, limit=200)[0] for a, b in pairwise(edges)]
    return 2 * float(sum(found))


def hinge_rest(rng: np.random.Generator, *, stop: Callable[[float], float] = hinge_stop) -> Measurement:
    """R330: at λs w² = m/k the force vanishes, and the mean of q, which small weights grow by, is −2r."""
    ratio = float(rng.uniform(0.1, 0.95))
    # Gauss–Kronrod sums of smooth pieces reach rounding, which averages out over terms; forces are below √(2 · 6)
    rounding = 4 * EPS * np.sqrt(12)
    return worst(
        (abs(hinge_force(ratio, stop(ratio))), rounding),
        (abs(hinge_force(ratio, 1e6) + 2 * ratio), rounding),
    )


RESULTS: tuple[Result, ...] = (
    Result(
        id="R327",
        title="VICReg fills its spectrum like water",
        statement=(
            "One row: dw/dt = −4λ_i(λs − λd)w + μ√λs, no plateau, std = min(1, μ/(4λ_i(1 − r))). With standard "
            "deviations at 1, eigenvalues of K = W Σs Wᵀ are g_k = (λ_i r_k − m)₊/ν, Σ g_k = n2, of the n2 largest r; "
            "their number is the largest k <= n2 with λ_i Σ_{j<=k}(r_j − r_k) < ν n2. Two rows: "
            "|K12| = min(1, λ_i(r1 − r2)/(2ν)). ν = 0: all rows equal the top mode of M."
        ),
        source="new; the loss is that of VICReg",
        hypotheses="Linear encoder, exact moments, μ >= 4(λ_i − m − ν), so that the hinge holds every row at 1.",
        as_printed=AsPrinted.REFINED,
        code="dynamics.exact.vicreg.vicreg_spectrum",
        correction="E36: no loss is printed in the notes that announce it; its factors are stated here.",
        trial=water_filling,
        proof=prove_water_filling,
    ),
    Result(
        id="R328",
        title="spectral contrastive loss in closed form",
        statement=(
            "dW/dt = 4(W Σd − W Σs Wᵀ W Σs). Aligned rows: w² is logistic with rate 8λd and end w Σs w = r. With "
            "Σs = I, WᵀW = e^{4Σd t}W0ᵀ[I + 8W0 Z W0ᵀ]⁻¹W0 e^{4Σd t}, Z = (e^{8Σd t} − I)(8Σd)⁻¹. Small starts grow in "
            "the order of Σd; the end is the top-n2 part of M, with loss −Σ r²."
        ),
        source="new in this form; the loss is that of HaoChen",
        hypotheses="Linear encoder, exact moments.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.redundancy.spectral_gram",
        trial=spectral_flow,
        proof=prove_spectral_flow,
    ),
    Result(
        id="R329",
        title="whitened alignment is Oja's flow",
        statement=(
            "V = W Σs^½ with V Vᵀ = I moves as dV/dt = V M − V M Vᵀ V; its row space is that of V0 e^{Mt}, tangents of "
            "angles fall as e^{−(r_k − r_{k+1})t}, and the end is BYOL's subspace."
        ),
        source="new for W-MSE; Oja's flow is classical",
        hypotheses="Linear encoder, Σs ≻ 0, rank n2 at the start, which overlaps with the top modes.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.redundancy.oja_subspace",
        trial=oja_flow,
    ),
    Result(
        id="R330",
        title="where a triplet hinge stops",
        statement=(
            "Under E(m + ‖z1 − z⁺‖² − ‖z1 − z⁻‖²)₊ small weights grow at 4λd, and one row along a mode stops at "
            "λs w² = m/k, E[q 1(q > −k)] = 0, q = (x1 − x2)² − (x1 − x3)² in units of λs."
        ),
        source="new",
        hypotheses="One row, Gaussian views.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.hinge.hinge_stop",
        trial=hinge_rest,
    ),
)
"""R327 to R330."""
