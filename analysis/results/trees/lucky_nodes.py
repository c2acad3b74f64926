"""Results on lucky nodes: R206, R207, R208, R209."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, refuted, worst
from analysis.trees.lucky_event import (
    TwoPointLaw,
    conditional_inputs,
    event_correlation,
    event_probability,
    jensen_attaining_law,
    largest_event_size,
    relu_jensen_bound,
    sensitivity_bound,
)
from analysis.trees.lucky_nodes import (
    antithetic_weights,
    lucky_probability_bound,
    mean_square_bound,
    nodes_needed,
    selectivity_gap,
    unit_selectivity,
    updated_weights,
)

# --- R206 ---------------------------------------------------------------------------------------------------


def jensen(
    rng: np.random.Generator,
    *,
    bound: Callable[[Any, Any], Any] = relu_jensen_bound,
    law: Callable[[float, float], TwoPointLaw] = jensen_attaining_law,
) -> Measurement:
    """R206: no law of a dozen atoms is above the bound, the law of two atoms is on it, also where μ² ≫ V or V ≫ μ²."""
    mu = float(rng.standard_normal() * 10 ** rng.uniform(-3, 3))
    V = float(10 ** rng.uniform(-6, 6) * (rng.random() < 0.9))
    x, p = law(mu, V)
    size = float(np.abs(x[0]))
    # sums of two products; a variance is a difference from μ² ≤ h²
    parts: list[tuple[Any, Any]] = [
        (abs(x @ p - mu), 2 * EPS * size),
        (abs(x**2 @ p - mu**2 - V), 4 * EPS * size**2),
        (abs(np.maximum(x, 0) @ p - max(mu, 0) - bound(mu, V)), 2 * EPS * size),
        (max(bound(mu, V) - math.sqrt(V) / 2, 0.0), EPS * math.sqrt(V) if V else EPS),
    ]
    # any law, also next to the best one
    atoms, weights = rng.standard_normal(12) * 10 ** rng.uniform(-2, 2), rng.dirichlet(np.full(12, 0.5))
    if rng.integers(2):
        atoms = x[rng.integers(0, 2, 12)] * (1 + 1e-3 * rng.standard_normal(12))
    mean = float(atoms @ weights)
    excess = np.maximum(atoms, 0) @ weights - max(mean, 0) - bound(mean, (atoms - mean) ** 2 @ weights)
    # a sum of 12 products, and the variance of rounded differences, which is a second power of them
    parts.append((max(excess, 0.0), 4 * EPS * float(np.abs(atoms).max()) or EPS))
    return worst(*parts)


def prove_jensen() -> bool:
    """R206: |x| ≤ (x² + h²)/(2h), as the difference is a square, and the law of two atoms has mean μ and variance V."""
    import sympy as sp

    mu = sp.symbols("mu", real=True)
    V, size, h = sp.symbols("V size h", positive=True)
    above = (size**2 + h**2) / (2 * h) - size
    root = sp.sqrt(mu**2 + V)
    p = (1 + mu / root) / 2
    return bool(
        sp.simplify(above - (size - h) ** 2 / (2 * h)) == 0
        and sp.simplify(root * p - root * (1 - p) - mu) == 0
        and sp.simplify(root**2 - mu**2 - V) == 0
        # ψ = (x + |x|)/2, so that E ψ − ψ(μ) = (E|X| − |μ|)/2
        and sp.simplify(root * p - (mu + sp.Abs(mu)) / 2 - (root - sp.Abs(mu)) / 2) == 0
    )


# --- R207 ---------------------------------------------------------------------------------------------------


def _tail_integral(c: float, r: float) -> float:
    """Q(c, r) as the integral over v⁺ of φ(x) Φ(−r x/√(1 − r²)), over 40 lengths on which it falls."""
    from scipy.integrate import quad
    from scipy.special import log_ndtr

    slope = r / math.sqrt((1 - r) * (1 + r))
    low = math.sqrt(c)
    steep = low * (1 + slope**2) + math.hypot(1.0, slope)

    def density(y: float) -> float:
        x = low + y / steep
        return math.exp(-(x**2) / 2 + log_ndtr(-slope * x) - shift) / math.sqrt(2 * math.pi)

    shift = -(low**2) / 2 + float(log_ndtr(-slope * low))
    return math.exp(shift) * float(quad(density, 0, 60, epsabs=0, epsrel=1e-12, limit=200)[0]) / steep


def lucky_event(
    rng: np.random.Generator,
    *,
    probability: Callable[[float, float], float] = event_probability,
    correlation: Callable[..., float] = event_correlation,
    largest: Callable[[Any], float] = largest_event_size,
    bound: Callable[..., float] = sensitivity_bound,
    needed: Callable[..., int] = nodes_needed,
) -> Measurement:
    """R207: Q by another integral, parallel inputs, the largest c of bounded weights, and the bound on the event."""
    r = float(rng.choice([0.0, rng.uniform(0, 0.95), 1 - 10 ** rng.uniform(-9, -2)]))
    exponent = 10 ** rng.uniform(-3, 2.7)  # Q is as small as e^{−exponent}
    c = 2 * (1 - r) * (1 + r) * exponent
    second = _tail_integral(c, r)
    # exponents round, and a quadrature that is asked for 1e-12 is in truth as good as its sums
    parts: list[tuple[Any, Any]] = [
        (abs(probability(c, r) - second), EPS * (64 + 4 * exponent) * second),
        (abs(probability(0.0, r) - math.acos(r) / (2 * math.pi)), 1e-12),
        (probability(c, 1.0), EPS),
    ]
    n = needed(0.95, probability=second) if second > 1e-12 else 0
    if n:  # enough, and one fewer is not
        miss = (n * math.log1p(-second), (n - 1) * math.log1p(-second))
        parts.append(refuted(unless=miss[0] <= math.log(0.05) + 1e-12 and miss[1] > math.log(0.05) - 1e-12))

    N = int(rng.integers(1, 7))
    s = rng.uniform(-1, 1, N)
    v = np.abs(s) * (1 + rng.exponential(size=N) * rng.integers(0, 2, N))  # some of leaves in {0, 1}: v̄ = |s|
    rho = rng.uniform(-1, 1, N)
    plus, minus = conditional_inputs(s, v, rho)
    norms = float(np.linalg.norm(plus) * np.linalg.norm(minus))
    stated = (v @ v - (rho * s) @ (rho * s)) / norms
    # sums of 2N products, which do not cancel below their own size as v̄ ≥ |ρ s|
    parts.append((abs(correlation(s, v, rho) - stated), 8 * EPS * float(v @ v) / norms))
    parts.append(refuted(unless=correlation(s, v, rho) >= -EPS))
    same = np.full(N, rho[0])
    parts.append((abs(correlation(v, v, same) - 1), 4 * EPS))  # u⁺ and u⁻ are parallel
    # weights of variance 1/N at their bound: ‖u⁺‖ √(c/N) = v⁺ there, and c ≤ 3N
    at_most = (np.abs(plus).sum() * math.sqrt(3 / N) / np.linalg.norm(plus)) ** 2 * N
    parts.append((abs(largest(plus) - at_most), 8 * EPS * N * at_most))
    parts.append((max(largest(plus) - 3 * N, 0.0), 8 * EPS * N * 3 * N))
    parts.append(refuted(unless=bound(0.75 * (1 + 1e-9), s, rho) > 0))
    parts.extend(_on_the_event(rng, bound))
    return worst(*parts)


def _on_the_event(rng: np.random.Generator, bound: Callable[..., float]) -> list[tuple[Any, Any]]:
    """Excess of the bound over the exact sensitivity of two hundred random units that are in the event."""
    N, sigma_w = int(rng.integers(1, 5)), 10 ** rng.uniform(-1, 1)
    noise = float(rng.choice([0.0, rng.uniform(0, 0.2)]))
    # v_k(0) and v_k(1): given its own latent a child is one of them, plus or minus `kept`
    low, high = rng.uniform(0.3, 1.0, (2, N))
    low *= rng.integers(0, 2, N)
    if rng.integers(2):
        low, high = high, low
    kept = np.minimum(np.sqrt(noise), np.minimum(low, high))
    rho = rng.uniform(-1, 1, N)
    s, v = (high - low) / 2, (high + low) / 2
    plus, minus = conditional_inputs(s, v, rho)
    # joint outcomes of the children: latent (0, 1) and deviation (−, +) each
    grid = np.indices((4,) * N).reshape(N, -1).T
    z, sign = grid % 2, np.where(grid // 2, 1, -1)
    f = np.where(z == 1, high, low) + sign * kept
    laws = np.stack([np.prod((1 + side * rho * np.where(z == 1, 1, -1)) / 4, axis=1) for side in (-1, 1)])
    w = antithetic_weights(rng, 200, N, weight_std=sigma_w)
    active = np.maximum(w @ f.T, 0) @ laws.T  # v(0), v(1)
    inputs, other = (plus, minus) if plus @ plus >= minus @ minus else (minus, plus)
    reached, opposite = w @ inputs, w @ other
    parts: list[tuple[Any, Any]] = []
    for i in np.flatnonzero((reached > 0) & (opposite < 0)):
        c = N * (reached[i] / (sigma_w * np.linalg.norm(inputs))) ** 2
        exact = abs(active[i, 1] ** 2 - active[i, 0] ** 2)
        stated = bound(c, s, rho, weight_std=sigma_w, noise=float(np.max(kept**2)))
        # 4^N outcomes of products of N weights no larger than 2 σ_w and inputs no larger than 1.5
        parts.append((max(stated - exact, 0.0), 16 * EPS * (N * sigma_w) ** 2))
    return parts


# --- R208 ---------------------------------------------------------------------------------------------------


def lucky_nodes(
    rng: np.random.Generator,
    *,
    selectivity: Callable[..., Any] = unit_selectivity,
    gap: Callable[..., Any] = selectivity_gap,
    chance: Callable[..., float] = lucky_probability_bound,
    mean_square: Callable[..., float] = mean_square_bound,
    needed: Callable[..., int] = nodes_needed,
    draw: Callable[..., np.ndarray] = antithetic_weights,
) -> Measurement:
    """R208: the identity for any law and weights, and its bounds on draws that hold every −w: they are then sure."""
    N, outcomes = int(rng.integers(1, 7)), int(rng.integers(2, 40))
    # any law: children need not be independent given the latent, nor activations of one sign
    f = rng.standard_normal((outcomes, N)) * (rng.random((outcomes, N)) < 0.8)
    laws = rng.dirichlet(np.full(outcomes, 0.5), 2)
    a = (laws[1] - laws[0]) @ f / 2
    alpha = float(rng.choice([0.0, 1.0, rng.uniform(0, 1)]))
    sigma_w = 10 ** rng.uniform(-2, 2)
    w = draw(rng, 64, N, weight_std=sigma_w)
    s, opposite = (selectivity(v, f, laws, slope=alpha) for v in (w, -w))
    projected = w @ a
    # sums of N products, and of outcomes weighted by probabilities
    rounding = 4 * EPS * (N + 4) * 2 * math.sqrt(3 * N) * sigma_w * float(np.abs(f).max())
    parts: list[tuple[Any, Any]] = [
        (np.abs(s - opposite - gap(w, a, slope=alpha)), rounding),
        (np.abs(s - opposite - (1 + alpha) * projected), rounding),
        refuted(unless=w.shape == (64, N) and np.all(np.sort(w, axis=0) == np.sort(-w, axis=0))),
        (np.abs(w.mean(axis=0)), 4 * EPS * sigma_w),
    ]
    q = float(np.median(np.abs(projected))) * (1 + alpha) / 2 * (1 - 1e-9)
    met = np.mean(np.abs(s) >= q - rounding)
    parts.append((max(chance(q, w, a, slope=alpha) - met, 0.0), EPS))
    parts.append((max(0.25 - chance(q, w, a, slope=alpha), 0.0), EPS))
    parts.append((max(np.abs(projected).max() * (1 + alpha) / 2 - np.abs(s).max(), 0.0), rounding))
    # E s² ≥ ¼ (1 + α)² E⟨w, a⟩² on the draws, and E⟨w, a⟩² = σ_w²‖a‖²/N by the law of the weights
    spread = np.mean(projected**2) * (1 + alpha) ** 2 / 4
    parts.append((max(spread - np.mean(s**2), 0.0), rounding * float(np.abs(s).max()) or EPS))
    stated = mean_square(a, weight_std=sigma_w, slope=alpha)
    # four fair signs in place of uniform weights have the same second moments: an exact mean over 2^N
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * N)).reshape(N, -1).T * sigma_w / math.sqrt(N)
    exact = np.mean(selectivity(signs, f, laws, slope=alpha) ** 2)
    parts.append((max(stated - exact, 0.0), rounding * sigma_w * float(np.abs(f).max())))
    moment = np.mean(gap(signs, a, slope=alpha) ** 2) / 4
    parts.append((abs(moment - stated), rounding * sigma_w * float(np.abs(f).max())))
    confidence, p = rng.uniform(0.01, 0.99), rng.uniform(0.01, 0.99)
    n = needed(confidence, probability=p)
    parts.append(refuted(unless=1 - (1 - p) ** n >= confidence - 1e-12 > 1 - (1 - p) ** (n - 1) - 1e-11))
    parts.append(refuted(unless=needed() == 11))
    return worst(*parts)


def prove_lucky_nodes() -> bool:
    """R208: ψ(x) − ψ(−x) = (1 + α)x on either side of 0; one of two numbers is half their difference at least."""
    import sympy as sp

    x, alpha = sp.symbols("x alpha", positive=True)
    s, t = sp.symbols("s t", real=True)
    rectified = x, -alpha * x  # ψ(x), ψ(−x)
    return bool(
        sp.simplify(rectified[0] - rectified[1] - (1 + alpha) * x) == 0
        and sp.simplify(rectified[1] - rectified[0] - (1 + alpha) * -x) == 0
        # E s² = ½ E[s(w)² + s(−w)²] ≥ ¼ E (s(w) − s(−w))²
        and sp.simplify((s**2 + t**2) / 2 - (s - t) ** 2 / 4 - (s + t) ** 2 / 4) == 0
    )


# --- R209 ---------------------------------------------------------------------------------------------------


def update(rng: np.random.Generator, *, updated: Callable[..., np.ndarray] = updated_weights) -> Measurement:
    """R209: a step against the derivative of the simple loss, enumerated over root, latent and children."""
    N = int(rng.integers(1, 6))
    root = rng.dirichlet([1.0, 1.0])
    to_latent = rng.dirichlet([1.0, 1.0], 2)  # P(z_μ | z_0), no symmetry
    to_child = rng.dirichlet([1.0, 1.0], (N, 2))  # P(z_k | z_μ)
    v = rng.uniform(0, 2, (N, 2))  # v_k(z_k)
    given_latent = np.einsum("kab,kb->ak", to_child, v)
    given_root = to_latent @ given_latent  # E[f | z_0], shape (2, N)
    centred = given_root - root @ given_root
    moment = np.einsum("z,zj,zk->jk", root, centred, centred)  # V_{z0}[E[f | z_0]]
    w, step = rng.standard_normal(N), float(10 ** rng.uniform(-3, 1))
    # E r₊ − E r₋ with r = ½(y − y′)²: −wᵀ V w, whose derivative through one branch is −V w, through both −2 V w
    a = (given_latent[1] - given_latent[0]) / 2
    path = to_latent[1, 1] - to_latent[0, 1]
    parts: list[tuple[Any, Any]] = []
    for branches, count in (("one", 1), ("all", 2)):
        found = updated(w, a, path, root[1] - root[0], step, branches=branches)
        size = np.abs(w).max() + step * 4 * N * np.abs(w).max() * np.abs(given_latent).max() ** 2
        parts.append((np.abs(found - (w + count * step * moment @ w)), 8 * EPS * size))
        grown = (1 + count * step * path**2 * 4 * root[0] * root[1] * (a @ a)) * (a @ w)
        parts.append((abs(a @ found - grown), 8 * EPS * N * size * np.abs(a).max()))
    return worst(*parts)


def prove_update() -> bool:
    """R209: aᵀ(I + ε θ a aᵀ)w = (1 + ε θ ‖a‖²) aᵀw for three children, and 4π_0(1 − π_0) = 1 − ρ_0²."""
    import sympy as sp

    a, w = (sp.Matrix(sp.symbols(f"{letter}0:3", real=True)) for letter in "aw")
    step, theta, p = sp.symbols("step theta p", real=True)
    moved = (sp.eye(3) + step * theta * a * a.T) * w
    return bool(
        sp.expand(a.dot(moved) - (1 + step * theta * a.dot(a)) * a.dot(w)) == 0
        and sp.expand(1 - (2 * p - 1) ** 2 - 4 * p * (1 - p)) == 0
    )


RESULTS: tuple[Result, ...] = (
    Result(
        id="R206",
        title="a sharp Jensen inequality for rectifiers",
        statement=(
            "0 ≤ E ψ(X) − ψ(E X) ≤ ½(√(μ² + V) − |μ|) ≤ ½√V for ψ(x) = max(x, 0). The first upper bound is the best "
            "for given μ and V: X = ±√(μ² + V) with P(+) = ½(1 + μ/√(μ² + V)) attains it."
        ),
        source="DD lemma 6",
        hypotheses="X has mean μ and variance V.",
        as_printed=AsPrinted.REFINED,
        code="analysis.trees.lucky_event.relu_jensen_bound",
        correction="E23: the printed √V is never attained unless V = 0; the best constant is ½.",
        trial=jensen,
        proof=prove_jensen,
    ),
    Result(
        id="R207",
        title="the event of theorem 7",
        statement=(
            "The event {v⁺ ≥ √c σ_w‖u⁺‖/√N, v⁻ < 0} has Gaussian probability "
            "Q(c, r) = ∫_{√c}^∞ φ(x)Φ(−r x/√(1 − r²))dx, r = (‖v̄‖² − ‖a‖²)/(‖u⁺‖‖u⁻‖) ≥ 0, and 0 where u⁺ and u⁻ are "
            "parallel; bounded weights need c ≤ 3‖u⁺‖₁²/‖u⁺‖₂² ≤ 3N. ln(1/δ)/Q nodes are needed, which grows like "
            "e^{c/(2(1 − r²))}. On the event, where ‖u⁺‖ ≥ ‖u⁻‖, "
            "λ ≥ (σ_w²/N) Σ_k [s_k²(c(1 + ρ_k²) − ¾(1 − ρ_k²)) − ¾σ_l²]; without noise "
            "this is positive for every polarity once c > ¾."
        ),
        source="DD theorem 7, (9), (113)–(128)",
        hypotheses="Binary latents, activations >= 0, uniform weights of variance σ_w²/N; Q for N → ∞.",
        as_printed=AsPrinted.CORRECTED,
        code="analysis.trees.lucky_event.event_probability",
        correction=(
            "E22: the correlation r of the two pre-activations is left out; for equal polarities and leaves in {0, 1} "
            "the event has probability 0. E23: c = 9 is impossible for N = 2, and the 63.3 % threshold √(6/15) is due "
            "to loose constants."
        ),
        trial=lucky_event,
    ),
    Result(
        id="R208",
        title="lucky nodes, an exact identity",
        statement=(
            "s(w) − s(−w) = (1 + α)⟨w, a⟩ for every weight vector, law of the data and fan-in, α the slope of a leaky "
            "rectifier. For symmetric w: P(|s| ≥ q) ≥ ½P((1 + α)|⟨w, a⟩| ≥ 2q) and E s² ≥ (1 + α)²σ_w²‖a‖²/(4N). With "
            "q half the median of (1 + α)|⟨w, a⟩| each node succeeds with probability ¼ at least: 11 nodes for 95 %. "
            "Pairs w, −w always succeed: max |s| ≥ ½(1 + α) max |⟨w, a⟩|."
        ),
        source="new; takes the place of DD theorem 7",
        hypotheses="A binary latent; a law of weights that is the same for w and −w; no biases.",
        as_printed=AsPrinted.NEW,
        code="analysis.trees.lucky_nodes.selectivity_gap",
        trial=lucky_nodes,
        proof=prove_lucky_nodes,
    ),
    Result(
        id="R209",
        title="growth of a lucky node after an update",
        statement=(
            "A step of size ε on the simple loss makes aᵀw ← (1 + ε θ‖a‖²) aᵀw, θ = ρ_0μ²(1 − ρ_0²), through one "
            "branch, and 2ε for ε through both."
        ),
        source="DD below (9)",
        hypotheses="Binary latents, any root law and kernels; JᵀJ = I and children held fixed.",
        as_printed=AsPrinted.YES,
        code="analysis.trees.lucky_nodes.updated_weights",
        trial=update,
        proof=prove_update,
    ),
)
"""R206 to R209."""
