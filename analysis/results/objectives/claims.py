"""Results on claims of others, and on features on a circle: R333 to R336."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from analysis.fates.predictions import predict_fates
from analysis.objectives.circle import (
    circle_density,
    circle_entropy,
    circle_projection,
    circle_uniformity,
    line_uniformity,
    sample_uniformity,
)
from analysis.objectives.claims import collapse_share, no_stop_gradient_rate
from analysis.results.objectives.redundancy import random_moments
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, followed, refuted, worst
from analysis.stability.jacobian import dense_jacobian
from dynamics.exact.no_predictor import no_predictor_eigenvalues, no_predictor_solution
from dynamics.fields.matrices import no_stop_gradient_field
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem, ModeSystem

# --- R333 ---------------------------------------------------------------------------------------------------


def _orbit(n2: int) -> int:
    return n2 * n2


def attracting_manifold(
    rng: np.random.Generator,
    *,
    zeros: Callable[[int], int] = _orbit,
    share: Callable[[float, float], float] = collapse_share,
) -> Measurement:
    """R333: dense spectra at every balanced full-rank component, and the share of collapse against R6 on draws."""
    n1, n2 = int(rng.integers(3, 6)), int(rng.integers(1, 3))
    ratios = (np.arange(n1, 0, -1) - rng.uniform(0.2, 0.6, n1)) / n1  # apart by 0.6/n1 at least
    system = MatrixSystem(np.ones(n1), ratios)
    right = True
    for chosen in combinations(range(n1), n2):
        W = np.zeros((n2, n1))
        held = list(chosen)
        W[np.arange(n2), held] = ratios[held]  # balanced: C = 0
        values = np.linalg.eigvals(dense_jacobian(system.state(W, np.diag(ratios[held]), W), system)).real
        # of a matrix with entries up to 2; zeros are simple for P with different eigenvalues
        zero = np.abs(values) < 1e-9
        attracts = not np.any(values[~zero] > 0)
        right &= bool(np.sum(zero) == zeros(n2)) and attracts == (chosen == tuple(range(n2)))
    ratio, scale = rng.uniform(0.1, 1.0), np.exp(rng.uniform(-2, 1))
    n = 20_000
    one = ModeSystem(np.ones(n), np.full(n, ratio))
    w1, w2 = scale * rng.standard_normal(n), rng.standard_normal(n)
    collapsed = np.mean(predict_fates(one.state(w1, w2, w1), one).fate == "collapsed")
    # six standard errors of a share below one half
    return worst(refuted(unless=right), (abs(collapsed - share(ratio, scale)), 6 * 0.5 / np.sqrt(n)))


# --- R334 ---------------------------------------------------------------------------------------------------


def collapse_rate(
    rng: np.random.Generator, *, rate: Callable[[MatrixSystem], float] = no_stop_gradient_rate
) -> Measurement:
    """R334: the bound along a run, and that the slowest mode under its best predictor attains it."""
    n1, n2 = int(rng.integers(2, 5)), int(rng.integers(1, 4))
    system, _, _ = random_moments(rng, n1)
    W, P = rng.standard_normal((n2, n1)), rng.standard_normal((n2, n2))
    run, error = followed(system.state(W, P, W), system, no_stop_gradient_field, 5.0)
    lengths = np.linalg.norm(run.states.online, axis=(1, 2))
    excess = np.max(lengths - np.exp(-rate(system) * run.ts) * lengths[0])
    parts: list[tuple[Any, Any]] = [(max(excess, 0.0), 4 * n1 * n2 * error + 8 * EPS * lengths[0])]
    lambda_s, r = rng.uniform(0.5, 2.0, n1), rng.uniform(0.1, 0.99, n1)
    aligned = MatrixSystem(lambda_s, lambda_s * r)
    slowest = int(np.argmin(lambda_s * (1 - r**2)))
    row = np.eye(n1)[[slowest]]
    state = MatrixState(row, np.array([[r[slowest]]]), row)
    moved = no_stop_gradient_field(0.0, state, aligned).online
    parts.append((np.max(np.abs(moved + rate(aligned) * row)), 16 * EPS * np.max(lambda_s)))
    return worst(*parts)


def prove_collapse_rate() -> bool:
    """R334: for one row, E = w(Σd − pΣs) costs at least that of the best p, w(Σs − ΣdΣs⁻¹Σd)wᵀ, where w is a mode."""
    import sympy as sp

    p, s, r = sp.symbols("p lambda_s r", real=True)
    loss = s - 2 * p * r * s + p**2 * s  # E (p x1 − x2)²
    return bool(sp.expand(loss - _least(s, r) - s * (p - r) ** 2) == 0)


def _least(s: Any, r: Any) -> Any:
    return s - r * s * r


# --- R335 ---------------------------------------------------------------------------------------------------


def circle_law(
    rng: np.random.Generator,
    *,
    density: Callable[[Any, Any], Any] = circle_density,
    entropy: Callable[[Any], Any] = circle_entropy,
    uniformity: Callable[[Any], Any] = circle_uniformity,
) -> Measurement:
    """R335: mass, entropy and uniformity of the density by periodic sums, and its law as that of a stretched circle."""
    b = float(rng.uniform(0.1, 1.0))
    # the trapezium rule on a circle is as exact as ρ^n: (0.9/1.1)^(n/2) for b = 0.1
    n = 512
    phi = 2 * np.pi * np.arange(n) / n
    f = density(phi, b)
    mass = 2 * np.pi / n
    said = -np.sum(f * np.log(f)) * mass
    waves = np.abs(np.fft.fft(f) * mass) ** 2  # |E e^{ikφ}|²
    kernel = np.fft.fft(np.exp(4 * np.cos(phi) - 4)).real / n
    pairs = float(np.sum(waves * kernel))
    # (cos α, b sin α) for uniform α: its angle has the density dα/dφ/2π
    alpha = rng.uniform(-np.pi, np.pi, 8)
    angle = np.arctan2(b * np.sin(alpha), np.cos(alpha))
    slope = b / (np.cos(alpha) ** 2 + (b * np.sin(alpha)) ** 2)
    rounding = 16 * EPS * (1 + np.max(np.abs(np.log(f))))
    return worst(
        (abs(np.sum(f) * mass - 1), rounding),
        (abs(said - entropy(b)), rounding),
        (abs(np.log(pairs) - uniformity(b)), rounding),
        (np.abs(density(angle, b) * slope * 2 * np.pi - 1), 64 * EPS / b),
    )


# --- R336 ---------------------------------------------------------------------------------------------------


def line_collapse(
    rng: np.random.Generator,
    *,
    floor: Callable[[float], float] = line_uniformity,
    uniformity: Callable[[Any], Any] = circle_uniformity,
) -> Measurement:
    """R336: b of two modes without a predictor falls at the gap of their rates, to the floor of a line, not a point."""
    lambda_s, r = np.ones(2), np.sort(rng.uniform(0.1, 0.9, 2))[::-1]
    system = ModeSystem(lambda_s, lambda_s * r)
    rates = np.max(no_predictor_eigenvalues(system).real, axis=-1)
    gap = rates[0] - rates[1]
    state = system.state(rng.uniform(0.5, 1.5, 2), 1.0, 0.0)
    t = 40 / gap + np.array([0.0, 1.0])
    with np.errstate(under="ignore"):
        w = no_predictor_solution(t, state, system).online
    parts: list[tuple[Any, Any]] = []
    if np.all(np.abs(w) > 1e-290):  # else both are below all floats
        fall = np.log(np.abs(w[:, 1] / w[:, 0]))
        # slower parts of each mode have decayed; exponents up to t times a rate of order one round
        parts.append((abs(fall[1] - fall[0] + gap), 64 * EPS * (1 + t[1])))
    parts.append((abs(float(uniformity(0.0)) - floor(0.5)), 8 * EPS))
    share = rng.uniform(0.05, 0.95)
    n, m = 400, max(1, round(400 * share))
    line = np.where(np.arange(n) < m, 1.0, -1.0)[:, None] * rng.uniform(0.5, 2.0, n)[:, None]
    found = sample_uniformity(line * np.array([[0.6, 0.8]]))
    pairs = n * (n - 1) / 2
    same = (m * (m - 1) + (n - m) * (n - m - 1)) / 2
    exact = np.log((same + (pairs - same) * np.exp(-8.0)) / pairs)
    parts.append((abs(found - exact), 64 * EPS))
    # pairs of different points differ from independent ones by a share 1/n of equal ones
    parts.append((abs(found - floor(m / n)), 1.0 / n / np.exp(floor(m / n))))
    features = line * np.array([[0.6, 0.8]])
    parts.append((circle_projection(features)[1], 1e-7))
    return worst(*parts)


RESULTS: tuple[Result, ...] = (
    Result(
        id="R333",
        title="what attracts is a manifold, and not all of it",
        statement=(
            "At a fixed point of rank n2 the Jacobian of the full flow has n2² zero eigenvalues: no equilibrium is "
            "isolated. Of the C(n1, n2) components of rank n2, balanced, only that of the largest ratios attracts. "
            "Collapse has positive measure: for w1 ~ N(0, σ²), w2 ~ N(0, 1) its share is arctan(1/σ)/π + "
            "∫_r^∞ φ(w) erf(√(w² − r²)/(σ√2)) dw."
        ),
        source="2507.01028, abstract",
        hypotheses="η = 0, equal λs and different ratios, τo = τp = τt; the share for one mode with θ = w1.",
        as_printed=AsPrinted.REFINED,
        code="analysis.objectives.claims.collapse_share",
        correction=(
            "E31: equilibria are not asymptotically stable one by one, and the risk of collapse is not zero. The claim "
            "was read in the abstract alone; it may be meant across the manifold."
        ),
        trial=attracting_manifold,
    ),
    Result(
        id="R334",
        title="collapse without stop-gradient has a rate",
        statement="‖W(t)‖ <= e^{−ρt}‖W(0)‖ with ρ = λ_min(Σs − Σd Σs⁻¹ Σd): exponential collapse iff every r < 1.",
        source="2507.01028, abstract; sharpens R12",
        hypotheses="Gradient through both branches, Θ = W, τo = 1, η = 0.",
        as_printed=AsPrinted.REFINED,
        code="analysis.objectives.claims.no_stop_gradient_rate",
        correction="E31: that removing the stop-gradient always collapses needs Σd ≺ Σs; at r = 1 other minima exist.",
        trial=collapse_rate,
        proof=prove_collapse_rate,
    ),
    Result(
        id="R335",
        title="features of a linear encoder on a circle",
        statement=(
            "Elliptical features with b = σ2/σ1 have f(φ) = b/(2π(b²cos²φ + sin²φ)), entropy ln 2π − ln((1 + b)²/4b) "
            "and uniformity −4 + ln[I0(4) + 2Σ I_{2k}(4)ρ^{2k}], ρ = (1 − b)/(1 + b): −1.5750 at b = 1, and "
            "ln((1 + e⁻⁸)/2) = −0.6928 as b → 0, two antipodal points; one point has 0."
        ),
        source="new; the figure is RAFT 5",
        hypotheses="Gaussian or elliptical features, centred, projected to the plane of their first two axes.",
        as_printed=AsPrinted.REFINED,
        code="analysis.objectives.circle.circle_uniformity",
        correction="E37: the figure gives no kernel, bandwidth, times or basis.",
        trial=circle_law,
    ),
    Result(
        id="R336",
        title="without a predictor features collapse to a line",
        statement=(
            "Without a predictor b falls exponentially at the gap of the two slowest rates, and uniformity rises to "
            "that of a line, ln(p² + (1 − p)² + 2p(1 − p)e⁻⁸) for a share p of samples on one side: it stays below 0, "
            "that of a point."
        ),
        source="new; the claim is RAFT table 2 and figure 5",
        hypotheses="Linear encoder, centred samples, modes of different r < 1, η = 0.",
        as_printed=AsPrinted.REFINED,
        code="analysis.objectives.circle.line_uniformity",
        correction="E37: collapse to a point, as printed, is not what a linear encoder of centred samples shows.",
        trial=line_collapse,
    ),
)
"""R333 to R336."""
