"""Results on the mean in batch normalisation: R213–R217."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from analysis.normalisation.mean import (
    Interlacing,
    has_runaway_mode,
    interlacing,
    mean_runaway_rate,
)
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, orthogonal, random_rates, refuted, symbols, vanishes, worst
from dynamics.fields.batch_normalised import batch_normalised_field
from dynamics.fields.matrices import full_field, no_predictor_field
from dynamics.fields.vector_field import VectorField
from dynamics.modes import spectrum
from dynamics.normalisation import (
    MEANS,
    MomentPair,
    Normaliser,
    batch_moments,
    centred_moments,
    finite_batch_factor,
    learning_moments,
    normalise,
    shared_statistics_moments,
)
from dynamics.system import MatrixSystem


def centred_system(rng: np.random.Generator, n1: int, **rates: Any) -> MatrixSystem:
    """Moments S and D = L Q diag(r) Qᵀ Lᵀ, S = L Lᵀ, of condition 10 at most, that do not commute."""
    L = orthogonal(rng, n1) * rng.uniform(0.5, 1.5, n1)
    Q = orthogonal(rng, n1)
    S, D = L @ L.T, L @ (Q * rng.uniform(0.05, 0.95, n1)) @ Q.T @ L.T
    return MatrixSystem((S + S.T) / 2, (D + D.T) / 2, **rates)


def with_mean(system: MatrixSystem, mu: np.ndarray) -> MatrixSystem:
    """S + μμᵀ and D + μμᵀ."""
    outer, rates = np.outer(mu, mu), ("tau_online", "tau_predictor", "tau_target", "weight_decay")
    kept = {name: getattr(system, name) for name in rates}
    return MatrixSystem(system.sigma_s + outer, system.sigma_d + outer, **kept)


# --- R213 ---------------------------------------------------------------------------------------------------


def batch_gradients(
    x1: np.ndarray,
    t: np.ndarray,
    W: np.ndarray,
    P: np.ndarray,
    normaliser: Normaliser,
    after: bool,
    normalise: Callable[..., Any] = normalise,
) -> tuple[np.ndarray, np.ndarray]:
    """∇_W and ∇_P of ½ E_B‖q − t‖² by the chain rule, sample by sample."""
    z = x1 @ W.T
    if after:
        q, pullback = normalise(z @ P.T, normaliser)
        g = pullback(q - t)
        return P.T @ g.T @ x1 / len(x1), g.T @ z / len(x1)
    y, pullback = normalise(z, normaliser)
    e = y @ P.T - t
    return pullback(e @ P).T @ x1 / len(x1), e.T @ y / len(x1)


def six_variants(
    rng: np.random.Generator,
    *,
    moments: Callable[..., Any] = batch_moments,
    normalise: Callable[..., Any] = normalise,
) -> Measurement:
    """R213: gradients of a batch by the chain rule, for every mean, target and place, against those of its moments."""
    n, n1, n2 = int(rng.integers(2, 9)), 4, 3
    x1, x2 = (rng.standard_normal((n, n1)) + rng.uniform(-2, 2, n1) for _ in range(2))
    W, Th, P = rng.standard_normal((n2, n1)), rng.standard_normal((n2, n1)), rng.standard_normal((n2, n2))
    # products of some dozen terms of this size, with a rounding or two each
    size = np.linalg.norm(P) * (
        np.linalg.norm(P @ W) * np.mean(x1**2) + np.linalg.norm(Th) * np.mean(np.abs(x1 * x2))
    )
    tolerance = 8 * EPS * n1 * size * (1 + np.linalg.norm(W))
    parts = []
    for mean, target_centred, after in product(MEANS, (False, True), (False, True)):
        normaliser, t = Normaliser(mean=mean), x2 @ Th.T
        t = t - t.mean(0) if target_centred else t
        g_W, g_P = batch_gradients(x1, t, W, P, normaliser, after, normalise)
        (s, d), (s_p, d_p) = moments(x1, x2, normaliser, target_centred=target_centred, after_predictor=after)
        parts.append((np.abs(g_W - P.T @ (P @ W @ s - Th @ d)), tolerance))
        parts.append((np.abs(g_P - (P @ W @ s_p - Th @ d_p) @ W.T), tolerance))
    return worst(*parts)


def prove_six_variants() -> bool:
    """R213 for one mode and a batch of three, by differentiation with the mean as a constant or not."""
    import sympy as sp

    x, t = sp.symbols("x0:3", real=True), sp.symbols("t0:3", real=True)
    w, p, fixed, aim = sp.symbols("w p m a", real=True)  # means that gradients do not see

    def average(values: Any) -> Any:
        return sum(values) / 3

    mean_x, mean_t = average(x), average(t)
    raw = MomentPair(average([a * a for a in x]), average([a * b for a, b in zip(x, t, strict=True)]))
    centred = MomentPair(raw.sigma_s - mean_x**2, raw.sigma_d - mean_x * mean_t)
    found = []
    for mean, target_centred in product(MEANS, (False, True)):
        seen = {
            "none": [w * a for a in x],
            "forward": [w * a - fixed for a in x],
            "full": [w * a - w * mean_x for a in x],
            "backward": [w * a - w * mean_x + fixed for a in x],
        }[mean]
        aims = [b - aim if target_centred else b for b in t]
        loss = average([(p * y - b) ** 2 for y, b in zip(seen, aims, strict=True)]) / 2
        values = {fixed: w * mean_x, aim: mean_t}
        (s, d), (s_p, d_p) = learning_moments(
            raw, centred, Normaliser(mean=mean), target_centred=target_centred
        )
        found.append(sp.diff(loss, w).subs(values) - p * (p * w * s - d))
        found.append(sp.diff(loss, p).subs(values) - (p * w * s_p - d_p) * w)
    return vanishes(found)


# --- R214 ---------------------------------------------------------------------------------------------------


def finite_batches(
    rng: np.random.Generator,
    *,
    factor: Callable[[int], float] = finite_batch_factor,
    shared: Callable[[MatrixSystem, int], MatrixSystem] = shared_statistics_moments,
) -> Measurement:
    """R214: averages over all batches of pairs that take four values, each with its probability."""
    n, n1 = int(rng.integers(2, 5)), 2
    a, b, c, d = rng.standard_normal((4, n1)) + 1.0
    pairs = np.array([[a, b], [b, a], [c, d], [d, c]])  # exchangeable
    share = rng.uniform(0.2, 0.8)
    weights = np.array([share, share, 1 - share, 1 - share]) / 2
    mu = np.einsum("k,ki->i", weights, pairs[:, 0])
    S, D = (np.einsum("k,ki,kj->ij", weights, pairs[:, one] - mu, pairs[:, 0] - mu) for one in (0, 1))
    S, D = (S + S.T) / 2, (D + D.T) / 2
    own, both = np.zeros((2, n1, n1)), np.zeros((2, n1, n1))
    for drawn in product(range(4), repeat=n):
        batch, probability = pairs[list(drawn)], float(np.prod(weights[list(drawn)]))
        own += probability * np.array(
            batch_moments(batch[:, 0], batch[:, 1], Normaliser(mean="full")).encoder
        )
        m = batch.mean(axis=(0, 1))
        x1, x2 = batch[:, 0] - m, batch[:, 1] - m
        both += probability * np.array([x1.T @ x1, x2.T @ x1]) / n
    said = shared(MatrixSystem(S, D), n)
    wanted = np.array([said.sigma_s, said.sigma_d])
    # averages over 4ⁿ batches of squares: pairwise sums would round less
    tolerance = 4 * EPS * n * float(np.max(pairs**2))
    return worst(
        (np.abs(own - factor(n) * np.array([S, D])), tolerance),
        (np.abs(both - wanted), tolerance),
    )


def prove_finite_batches() -> bool:
    """R214 for pairs of numbers that take four values, in batches of two."""
    import sympy as sp

    a, b, c, d, q = sp.symbols("a b c d q", real=True)
    pairs, weights = [(a, b), (b, a), (c, d), (d, c)], [q / 2, q / 2, (1 - q) / 2, (1 - q) / 2]
    drawn = list(zip(pairs, weights, strict=True))
    mu = sum(p * x for (x, _), p in drawn)
    S, D = sum(p * (x - mu) ** 2 for (x, _), p in drawn), sum(p * (x - mu) * (y - mu) for (x, y), p in drawn)
    own: list[Any] = [0, 0]
    both: list[Any] = [0, 0]
    for ((x1, x2), p), ((y1, y2), o) in product(drawn, repeat=2):
        m, m1, m2 = (x1 + x2 + y1 + y2) / 4, (x1 + y1) / 2, (x2 + y2) / 2
        own[0] += p * o * ((x1 - m1) ** 2 + (y1 - m1) ** 2) / 2
        own[1] += p * o * ((x1 - m1) * (x2 - m2) + (y1 - m1) * (y2 - m2)) / 2
        both[0] += p * o * ((x1 - m) ** 2 + (y1 - m) ** 2) / 2
        both[1] += p * o * ((x1 - m) * (x2 - m) + (y1 - m) * (y2 - m)) / 2
    lost, slow = (S + D) / 4, sp.nsimplify(finite_batch_factor(2))
    return vanishes([own[0] - slow * S, own[1] - slow * D, both[0] - S + lost, both[1] - D + lost])


# --- R215 ---------------------------------------------------------------------------------------------------


def mean_without_predictor(
    rng: np.random.Generator, *, field_of: Callable[..., VectorField] = batch_normalised_field
) -> Measurement:
    """R215: the velocity with and without the mean at Θ = W, its limit, and the rate with an average."""
    from scipy.linalg import expm

    n1, n2 = 4, 3
    rates = random_rates(rng)
    middle, mu = centred_system(rng, n1, **rates), rng.uniform(-1, 1, n1)
    system = with_mean(middle, mu)
    W = rng.standard_normal((n2, n1))
    state = system.state(W, np.eye(n2), W)
    with_it, without = (
        field_of(Normaliser(mean=mean), mu, base=no_predictor_field)(0.0, state, system).online
        for mean in ("full", "none")
    )
    gap = (system.sigma_s - system.sigma_d) / rates["tau_online"]
    size = 8 * EPS * n1 * np.linalg.norm(W) * np.linalg.norm(system.sigma_s) / rates["tau_online"]
    # one direction that augmentations leave alone
    values, vectors = np.linalg.eigh(gap)
    values[0], scale = 0.0, float(values[-1])
    flat = (vectors * values) @ vectors.T
    end = W @ expm(-flat * (60 / values[1]))
    kernel = np.outer(vectors[:, 0], vectors[:, 0])
    # squarings double the rounding of the exponent each
    limit = 8 * EPS * n1 * np.linalg.norm(W) * (1 + 60 * scale / values[1])
    s, d, m = rng.uniform(1.0, 2.0), rng.uniform(0.2, 0.9), rng.uniform(0.3, 0.9)
    slow = []
    for one, other in ((s, d), (s - m * d, d - m * d)):
        matrix = np.array([[-one, other], [rates["tau_online"], -rates["tau_online"]]]) / rates["tau_online"]
        slow.append(float(np.max(np.linalg.eigvals(matrix).real)))
    return worst(
        (np.abs(with_it - without), size),
        (np.abs(with_it + W @ gap), size),
        (np.abs(end - W @ kernel), limit),
        refuted(unless=slow[1] < slow[0] < 0),
    )


def prove_mean_without_predictor() -> bool:
    """R215 for 2×2 matrices: D − S = Σd − Σs."""
    S, D = ((X + X.T) / 2 for X in (symbols("s", 2, 2), symbols("d", 2, 2)))
    mu, W = symbols("m", 2, 1), symbols("w", 2, 2)
    outer = mu @ mu.T
    return vanishes(W @ (D - S) - W @ ((D + outer) - (S + outer)))


# --- R216 ---------------------------------------------------------------------------------------------------


def centred_flow(
    rng: np.random.Generator,
    *,
    moments: Callable[[MatrixSystem, Any], MatrixSystem] = centred_moments,
    interlaced: Callable[[MatrixSystem, Any], Interlacing] = interlacing,
    rate: Callable[..., float] = mean_runaway_rate,
    runs_away: Callable[[MatrixSystem, Any], bool] = has_runaway_mode,
) -> Measurement:
    """R216: the flow with the mean subtracted, interlacing, the runaway of a detached mean, and when M exceeds 1."""
    n1, n2 = 4, 3
    rates = random_rates(rng)
    middle, mu = centred_system(rng, n1, **rates), rng.uniform(-2, 2, n1)
    system = with_mean(middle, mu)
    state = system.state(*(rng.standard_normal(shape) for shape in ((n2, n1), (n2, n2), (n2, n1))))
    size = (
        np.linalg.norm(state.predictor) ** 2 * np.linalg.norm(state.online) * np.linalg.norm(system.sigma_s)
    )
    size += np.linalg.norm(state.predictor) * np.linalg.norm(state.target) * np.linalg.norm(system.sigma_d)
    size = 4 * EPS * n1 * size * (1 + np.linalg.norm(state.online)) / min(rates.values())
    wanted = full_field(0.0, state, moments(system, mu))
    found = [
        batch_normalised_field(Normaliser(mean="full"), mu, after_predictor=after)(0.0, state, system)
        for after in (False, True)
    ]
    parts: list[tuple[Any, Any]] = [
        (np.abs(part - right), size) for one in found for part, right in zip(one, wanted, strict=True)
    ]
    # eigenvalues of D S⁻¹ err by the condition of S, at most 9, times rounding
    bound = interlaced(middle, mu)
    parts.append((max(bound.excess(), 0.0), 16 * 9 * n1 * EPS))
    # the ray on which a mode runs away: θ = w/(1 + gτt), p at its optimum
    s, r, m2 = rng.uniform(0.5, 2.0), rng.uniform(0.1, 0.9), rng.uniform(0.1, 1.0)
    one = MatrixSystem([s + m2], [r * s + m2], **rates)
    g = rate(s, r * s, m2, tau_online=rates["tau_online"], tau_target=rates["tau_target"])
    w, theta = 1.7, 1.7 / (1 + g * rates["tau_target"])
    ray = one.state([[w]], [[r * theta / w]], [[theta]])
    moved = batch_normalised_field(Normaliser(mean="forward"), [np.sqrt(m2)])(0.0, ray, one)
    terms = (s + m2) * w / min(rates.values())
    for part, right in zip(moved, (g * w, 0.0, g * theta), strict=True):
        parts.append((np.abs(part - right), 32 * EPS * terms))
    short = mu * rng.uniform(0.05, 0.5)
    ratio = spectrum(MatrixSystem(middle.sigma_s, middle.sigma_d + np.outer(short, short)))[0]
    near = abs(ratio - 1) < 1e-6  # undecided by rounding
    parts.append(refuted(unless=near or runs_away(middle, short) == (ratio > 1)))
    return worst(*parts)


def prove_runaway() -> bool:
    """R216: on the ray p = θλd/(wλs), θ = w/(1 + gτt), the velocity is g(w, 0, θ) iff g solves its equation."""
    import sympy as sp

    w, s, d, m, to, tt, g = sp.symbols("w lambda_s lambda_d m tau_o tau_t g", positive=True)
    theta = w / (1 + g * tt)
    p = theta * d / (w * s)
    dw = p * (theta * (d + m**2) - p * w * s) / to
    equation = g * to * (1 + g * tt) ** 2 - d * m**2 / s
    dp = (theta * d - p * w * s) * w
    dtheta = (w - theta) / tt
    # what is left of dw/dt − g w is the equation times −w/(τo (1 + gτt)²)
    return vanishes([dw - g * w + equation * w / (to * (1 + g * tt) ** 2), dp, dtheta - g * theta])


RESULTS: tuple[Result, ...] = (
    Result(
        id="R213",
        title="mean normalisation of a finite batch",
        statement=(
            "Of a net that is linear from the normaliser on, ∇_W = Pᵀ(P W S′ − T′) exactly, with (S′, T′) by the mean"
            " of the online branch: none (E_B x1x1ᵀ, E_B t x1ᵀ, or Cov_B(t, x1) for a centred target); forward only"
            " (Cov_B(x1), the same two); full or backward only (Cov_B(x1), Cov_B(t, x1)). The predictor's gradient"
            " has the same row, but for a normaliser before it that is forward only with a raw target (Cov, Cov), or"
            " backward only (raw, as the target is)."
        ),
        source="DD theorem 8, 12–14",
        hypotheses="Any batch size B ≥ 2; a detached mean with a centred target is the full one.",
        as_printed=AsPrinted.REFINED,
        code="dynamics.normalisation.batch_moments",
        correction=(
            "E29: 13 and 14 need no large batch; a detached mean leaves the gradient centred where the target is. The"
            " forward centring of an online linear stack does not show in ∇_W."
        ),
        trial=six_variants,
        proof=prove_six_variants,
    ),
    Result(
        id="R214",
        title="finite batches slow the centred flow",
        statement=(
            "E_B[Cov_B] = (1 − 1/B) Cov. Where both views of N samples share one normaliser, Σs → S − (S + D)/(2N) and"
            " Σd → D − (S + D)/(2N), which also lowers r."
        ),
        source="new",
        hypotheses="Samples are independent.",
        as_printed=AsPrinted.NEW,
        code="dynamics.normalisation.shared_statistics_moments",
        trial=finite_batches,
        proof=prove_finite_batches,
    ),
    Result(
        id="R215",
        title="mean normalisation without a predictor",
        statement=(
            "At P = I, Θ = W the velocity W(Σd − Σs) is the same with and without the mean, as D − S = Σd − Σs:"
            " W(t) → W(0)Π, Π on ker(Σs − Σd). With a moving average the mean makes collapse along it faster."
        ),
        source="DD 11",
        hypotheses="Stop-gradient; expected flow of large batches.",
        as_printed=AsPrinted.REFINED,
        code="dynamics.fields.batch_normalised.batch_normalised_field",
        correction="11 would yield collapse: of all but the directions that augmentations leave alone.",
        trial=mean_without_predictor,
        proof=prove_mean_without_predictor,
    ),
    Result(
        id="R216",
        title="mean normalisation is the flow of centred moments",
        statement=(
            "With gradients through the mean linear BYOL follows its flow with Σs, Σd → S, D, wherever the normaliser"
            " sits. r_i(c) ≤ r_i(u) ≤ r_(i−1)(c) and r_1(u) ≥ q/(1 + q), q = μᵀS⁻¹μ. With a detached mean before P and"
            " a raw target there is no learned fixed point: a mode grows at the rate g of"
            " g τo (1 + g τt)² = λd m²/λs, along an exact ray. Behind P, (D + μμᵀ)S⁻¹ has an eigenvalue > 1 iff"
            " μᵀ(S − D)⁻¹μ > 1."
        ),
        source="new",
        hypotheses="Large batches; S ≻ D ≽ 0.",
        as_printed=AsPrinted.NEW,
        code="analysis.normalisation.mean.mean_runaway_rate",
        trial=centred_flow,
        proof=prove_runaway,
    ),
)
"""R213 to R216."""
