"""Results on one mode under batches of finite size: R306–R309."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, random_rates, refuted, symbolic_rates, vanishes, worst
from analysis.steps.noise import (
    StationarySpread,
    balancing_path,
    error_map,
    frozen_encoder_variance,
    stationary_covariance,
)
from analysis.steps.noisy_collapse import (
    CollapsePredictors,
    collapse_predictors,
    lyapunov_exponent,
    mean_square_predictor,
    mean_square_radius,
)
from dynamics.exact.balancing import balancing_law
from dynamics.integration.batch_noise import batch_moments, batches, residual_variance
from dynamics.integration.discrete import balance_factor, gradient_step
from dynamics.integration.discrete_ensemble import iterate_ensemble
from dynamics.invariants import mode_invariant
from dynamics.states import ModeState
from dynamics.system import MatrixSystem, ModeSystem

SIGMAS = 5.5
"""Standard errors that a mean of draws may be off: one in 10⁷ is."""


def random_mode(rng: np.random.Generator, *, tau: bool = True) -> ModeSystem:
    """Draw one mode with λs about 1 and a ratio between 0.3 and 0.8."""
    ls = rng.uniform(0.5, 1.5)
    return ModeSystem(ls, rng.uniform(0.3, 0.8) * ls, **(random_rates(rng) if tau else {}))


def off_mean(samples: np.ndarray, mean: Any) -> tuple[Any, Any]:
    """Distance of the mean of samples (n, …) from a number, and `SIGMAS` of its standard errors."""
    error = np.std(samples, axis=0, ddof=1) / np.sqrt(len(samples))
    return np.abs(np.mean(samples, axis=0) - mean), SIGMAS * error


# --- R306 ---------------------------------------------------------------------------------------------------


def batch_law(
    rng: np.random.Generator,
    *,
    moments_of: Callable[..., tuple[np.ndarray, np.ndarray]] = batch_moments,
    variance: Callable[..., Any] = residual_variance,
    factor: Callable[..., Any] = balance_factor,
) -> Measurement:
    """R306: moments of Ŝ and D̂ by two random numbers and by explicit pairs, Var ê, and c⁺ along single paths."""
    system, batch, n = random_mode(rng), int(rng.integers(1, 5)), 100_000
    ls, ld = float(system.lambda_s[0]), float(system.lambda_d[0])
    s, d = (part[:, 0] for part in moments_of(rng, system, batch, n))
    pairs = MatrixSystem([ls], [ld])
    drawn = batches(rng, pairs, batch)
    explicit = np.array(
        [(one.sigma_s.item(), one.sigma_d.item()) for one in (next(drawn) for _ in range(2000))]
    )
    more = 1 + 2 / batch
    means = (ls, ld, ls**2 * more, ls * ld * more, ld**2 + (ls**2 + ld**2) / batch)
    parts = [
        off_mean(values, mean)
        for a, b in ((s, d), explicit.T)
        for values, mean in zip((a, b, a * a, a * b, b * b), means, strict=True)
    ]
    # third moments tell laws with equal variances apart: E Ŝ³ = λs³ (1 + 2/B)(1 + 4/B), E Ŝ²D̂ = r E Ŝ³
    parts += [
        off_mean(s**3, ls**3 * more * (1 + 4 / batch)),
        off_mean(s * s * d, ls**2 * ld * more * (1 + 4 / batch)),
    ]
    w1, w2, th = rng.uniform(0.3, 1.0, 3)
    state = ModeState(np.array([w1]), np.array([w2]), np.array([th]))
    u = w1 * w2
    exact = (th**2 * (ls**2 + ld**2) - 4 * th * u * ls * ld + 2 * u**2 * ls**2) / batch
    size = (th * ls + u * ls) ** 2 / batch
    parts.append((abs(float(variance(state, system, batch)[0]) - exact), 16 * EPS * size))
    parts.append(off_mean((th * d - u * s - (th * ld - u * ls)) ** 2, exact))
    step = rng.uniform(0.05, 0.5)
    one = next(batches(rng, system, batch))
    after = gradient_step(state, one, step, 0.3)
    e = th * one.lambda_d - u * one.lambda_s
    to, tp = system.tau_online, system.tau_predictor
    expected = mode_invariant(state, system) * factor(e, step, system)
    weights = to * (w1 + step * abs(e[0]) * w2 / to) ** 2 + tp * (w2 + step * abs(e[0]) * w1 / tp) ** 2
    parts.append((np.abs(mode_invariant(after, system) - expected), 8 * EPS * weights))
    return worst(*parts)


def prove_batch_law() -> bool:
    """R306: Var ê from the moments of pairs by Isserlis, E x1² x2² = λs² + 2 λd² and its like."""
    import sympy as sp

    th, u, ls, ld = sp.symbols("theta u lambda_s lambda_d", real=True)
    B = sp.symbols("B", positive=True)
    # variances of x1², x2 x1, and their covariance, over B independent pairs
    var_s, var_d, both = 2 * ls**2, ls**2 + ld**2, 2 * ls * ld
    plain = (th**2 * var_d - 2 * th * u * both + u**2 * var_s) / B
    w1, w2 = sp.symbols("w1 w2", real=True)

    class _System:
        lambda_s, lambda_d = ls, ld

    system: Any = _System()
    formula = residual_variance(ModeState(w1, w2, th), system, B)
    # given Ŝ, D̂ is normal about rŜ with variance λs (1 − r²) Ŝ/B: the same second moments
    r, more = ld / ls, 1 + 2 / B
    second = r**2 * ls**2 * more + ls * (1 - r**2) * ls / B
    return vanishes(
        [formula - plain.subs(u, w1 * w2), second - ld**2 - var_d / B, r * ls**2 * more - ls * ld * more]
    )


# --- R307 ---------------------------------------------------------------------------------------------------


def slow_balancing(
    rng: np.random.Generator,
    *,
    law: Callable[..., np.ndarray] = balancing_law,
    path: Callable[..., np.ndarray] = balancing_path,
) -> Measurement:
    """R307: the law against its equation, and the mean of 4,000 runs against the law with the variance of e."""
    system = random_mode(rng)
    step, batch = rng.uniform(0.02, 0.05), int(rng.integers(1, 4))
    to, tp, r = (float(np.squeeze(x)) for x in (system.tau_online, system.tau_predictor, system.ratio))
    q = tp * r**2
    c0 = rng.uniform(0.3, 1.0) * rng.choice([1, -0.5]) * q
    ls, ld = float(system.lambda_s[0]), float(system.lambda_d[0])
    K = step * (ls**2 - ld**2) / (batch * to**2 * tp)
    t, rise = rng.uniform(0.1, 2.0) / (K * q), 1e-3
    low, here, high = (
        float(np.squeeze(law((1 + x) * t, c0, system, step, batch))) for x in (-rise, 0.0, rise)
    )
    slope, expected = (high - low) / (2 * rise * t), -K * here * (here + q)
    # the third derivative of c is at most a few (K q)² of its slope, here with Kqt <= 2
    parts: list[tuple[Any, Any]] = [
        (abs(slope - expected), abs(expected) * (10 * (2 * rise) ** 2 + 8 * EPS / rise))
    ]
    parts.append((abs(float(np.squeeze(law(0.0, c0, system, step, batch))) - c0), 4 * EPS * abs(c0)))

    n, h = 4000, min(step / float(np.squeeze(system.tau_target)), 1.0)
    n_steps = int(0.3 / (K * (abs(c0) + q)) / step)
    n_steps = min(n_steps, 1500)
    w = np.sqrt((c0 + q) / to)
    many = ModeSystem(
        np.full(n, ls), np.full(n, ld), tau_online=to, tau_predictor=tp, tau_target=system.tau_target
    )
    ends = iterate_ensemble(
        many.state(w, r, w), many, step, h, n_steps, batch=batch, seed=int(rng.integers(2**32))
    )
    times = [0.0, n_steps * step]
    corrected = float(path(times, c0, system, step, h, batch)[-1])
    first = float(np.squeeze(law(times[-1], c0, system, step, batch)))
    gap, error = off_mean(mode_invariant(ends.final, many), corrected)
    # the spread about the line builds up from nothing in a relaxation time, the inverse of 1 − |eigenvalue| in steps
    M, _ = error_map(w, system, step, h)
    slowest = 1 - float(np.max(np.abs(np.linalg.eigvals(M))))
    # the order that is left out is smaller than the one that is in by εA, or by (1 + 2/B) εA with noise in its moments;
    # each share counts twice, for the two of them add up with what multiplies them
    curvature = ls * (r**2 / to + max(w**2, tp * r**2 / to) / tp)
    share = min(1.0, 1 / (slowest * n_steps)) + step * curvature * (1 + 2 / batch)
    second = abs(float(balancing_path(times, c0, system, step, h, batch)[-1]) - first)
    parts.append((gap, error + 2 * share * second))
    return worst(*parts)


def prove_slow_balancing() -> bool:
    """R307: K from the mean of c⁺ at a learned point, and that the formula solves the equation."""
    import sympy as sp

    step, B, ls, r, w, t, c0 = sp.symbols("epsilon B lambda_s r w t c0", positive=True)
    rates = symbolic_rates()
    to, tp = rates["tau_online"], rates["tau_predictor"]

    class _System:
        lambda_s, lambda_d = ls, r * ls

    system: Any = _System()
    q, c = tp * r**2, to * w**2 - tp * r**2
    K = step * (ls**2 - (r * ls) ** 2) / (B * to**2 * tp)
    change = -step * c * residual_variance(ModeState(w, r, w), system, B) / (to * tp)
    solution = q / ((1 + q / c0) * sp.exp(K * q * t) - 1)
    solves = sp.diff(solution, t) + K * solution * (solution + q)
    return vanishes([change + K * c * (c + q), solves, solution.subs(t, 0) - c0])


# --- R308 ---------------------------------------------------------------------------------------------------


def stationary_spread(
    rng: np.random.Generator,
    *,
    spread_of: Callable[..., StationarySpread] = stationary_covariance,
    frozen: Callable[..., float] = frozen_encoder_variance,
) -> Measurement:
    """R308: covariances of 3,000 runs at large batches, Var e without average, and the frozen encoder's variance."""
    system, batch = random_mode(rng), 4000
    ls, ld, r, to, tp = (
        float(np.squeeze(x))
        for x in (system.lambda_s, system.lambda_d, system.ratio, system.tau_online, system.tau_predictor)
    )
    w = np.sqrt(tp / to) * r * rng.uniform(0.9, 1.3)  # near balance, where the invariant hardly drifts
    v = ls * w**2 / tp
    step, h = rng.uniform(0.3, 0.6) / (ls * r**2 / to + v), rng.uniform(0.2, 0.9)
    found = spread_of(w, system, step, h, batch)
    n = 3000
    # the slowest of both rates: e and W − Θ forget their start to 10⁻⁴ of it
    M = 1 - min(step * v, h) / 2
    n_steps = int(np.ceil(np.log(1e-4) / np.log(M)))
    many = ModeSystem(
        np.full(n, ls), np.full(n, ld), tau_online=to, tau_predictor=tp, tau_target=system.tau_target
    )
    ends = iterate_ensemble(
        many.state(w, r, w), many, step, h, n_steps, batch=batch, seed=int(rng.integers(2**32))
    ).final
    e, lag = ends.target * ld - ends.online * ends.predictor * ls, ends.online - ends.target
    parts = []
    # next orders in the noise: relative 1/√B of a spread, 2/B of its mean, and the drift of w² along the learned line
    drift = step * n_steps * step * (ls**2 - ld**2) / (batch * to**2 * tp) * abs(to * w**2 - tp * r**2) / w**2
    for values, exact in (
        (e * e, found.covariance[0, 0]),
        (e * lag, found.covariance[0, 1]),
        (lag * lag, found.covariance[1, 1]),
        ((ends.predictor - r) ** 2, found.predictor),
    ):
        gap, error = off_mean(values, exact)
        scale = np.sqrt(found.covariance[0, 0] * found.covariance[1, 1]) if exact < 0 else exact
        parts.append((gap, error + (20 / batch + 2 * drift) * scale))
    noise = w**2 * (ls**2 - ld**2) / batch
    without = spread_of(w, system, step, 1.0, batch).covariance[0, 0]
    # in a 2×2 Lyapunov equation: a few eps of it over the distance of the square of the multiplier from 1
    parts.append(
        (abs(without - step * v * noise / (2 - step * v)), 64 * EPS * without / (step * v * (2 - step * v)))
    )

    small, gain = int(rng.integers(1, 9)), 0.0
    gain = rng.uniform(0.1, 0.9) * 2 / (ls * (1 + 2 / small))
    value = frozen(gain, system, small)
    # E x² is a fixed point of E x² ↦ E (1 − gŜ)² E x² + g² Var(D̂ − rŜ)
    kept = 1 - 2 * gain * ls + gain**2 * ls**2 * (1 + 2 / small)
    again = kept * value + gain**2 * (ls**2 - ld**2) / small
    parts.append((abs(again - value), 16 * EPS * value * (1 + gain * ls) ** 2))
    beyond = frozen(2.0001 / (ls * (1 + 2 / small)), system, small)
    return worst(*parts, refuted(unless=np.isinf(beyond)))


def prove_stationary_spread() -> bool:
    """R308: M and n are the linear step over (e, W − Θ) with noise, and the frozen variance is stationary."""
    import sympy as sp

    ls, r, w, e, lag, xi, dw, dp = sp.symbols("lambda_s r w e q xi dw dp", real=True)
    step, h, g, B = sp.symbols("epsilon h g B", positive=True)
    rates = symbolic_rates()
    to, tp = rates["tau_online"], rates["tau_predictor"]
    ld, seen = r * ls, e + xi
    # W and P of the pair move by the seen error; Θ = W − lag
    dw, dp = step * r * seen / to, step * w * seen / tp
    moved_lag = (1 - h) * (lag + dw)
    moved_target = h * (lag + dw)
    moved_e = e + ld * moved_target - r * ls * dw - w * ls * dp
    A, u = ls * (r**2 / to + w**2 / tp), ls * r**2 / to
    M = sp.Matrix([[1 - step * A + h * step * u, ld * h], [(1 - h) * step * r / to, 1 - h]])
    n = sp.Matrix([-step * A + h * step * u, (1 - h) * step * r / to])
    linear = sp.Matrix([moved_e, moved_lag]) - M * sp.Matrix([e, lag]) - n * xi
    variance = g * (ls**2 - ld**2) / (B * (2 * ls - g * ls**2 * (1 + 2 / B)))
    kept = 1 - 2 * g * ls + g**2 * ls**2 * (1 + 2 / B)
    return vanishes([*linear, kept * variance + g**2 * (ls**2 - ld**2) / B - variance])


# --- R309 ---------------------------------------------------------------------------------------------------


def noisy_collapse(
    rng: np.random.Generator,
    *,
    radius: Callable[..., float] = mean_square_radius,
    exponent: Callable[..., float] = lyapunov_exponent,
    boundaries: Callable[..., CollapsePredictors] = collapse_predictors,
) -> Measurement:
    """R309: the mean-square radius against E[G ⊗ G] by quadrature, the exponent against draws, and both boundaries."""
    system, batch, h = random_mode(rng), int(rng.integers(1, 6)), rng.uniform(0.05, 1.0)
    ls, r, to = (float(np.squeeze(x)) for x in (system.lambda_s, system.ratio, system.tau_online))
    step, p = rng.uniform(0.1, 0.5), r * rng.uniform(0.7, 1.3)
    # Ŝ is of a gamma law and D̂ normal given Ŝ: quadrature of few nodes is exact for the squares that enter
    from scipy.special import roots_genlaguerre, roots_hermitenorm

    x, weights = roots_genlaguerre(6, batch / 2 - 1)
    z, more = roots_hermitenorm(6)
    weights, more = weights / weights.sum(), more / more.sum()
    mean = np.zeros((4, 4))
    for s, a in zip(ls * x / (batch / 2), weights, strict=True):
        for normal, b in zip(z, more, strict=True):
            d = r * s + np.sqrt(ls * (1 - r**2) * s / batch) * normal
            first = np.array([1 - step * p**2 / to * s, step * p / to * d])
            G = np.stack([first, h * first + [0.0, 1 - h]])
            mean += a * b * np.kron(G, G)
    gap = abs(float(np.max(np.abs(np.linalg.eigvals(mean)))) - radius(p, system, step, h, batch))
    # two nearly equal eigenvalues are known to the root of rounding at worst; they are apart by h or εp²λs/τo
    parts: list[tuple[Any, Any]] = [(gap, 64 * EPS * 36 / min(h, step * p**2 * ls / to))]
    s, d = (part[:, 0] for part in batch_moments(rng, system, batch, 50_000))
    parts.append(off_mean(np.log(np.abs(1 + step * p / to * (d - p * s))), exponent(p, system, step, batch)))
    # to first order in ε: halving a small step divides what is left by four
    left = []
    for size in (0.02 * to / ls, 0.01 * to / ls):
        both = boundaries(system, size, batch)
        left.append(
            [
                mean_square_predictor(system, size, 1.0, batch) - float(both.mean_square[0]),
                exponent(float(both.almost_surely[0]), system, size, batch) / size,
            ]
        )
    (ms, typical), (ms_half, typical_half) = left
    # what is left is C ε² (1 + O(ε)): quotients of 4 to within a few ε times the noise 1 + 1/B
    parts.append((abs(ms - 4 * ms_half), 0.2 * abs(ms) + 1e-11))
    shift = 0.02 * r * ls * (1 - r**2) / (2 * batch)
    parts.append((abs(typical_half), 0.02 * ls * r / to * shift + 1e-9))
    return worst(*parts, refuted(unless=abs(typical_half) <= abs(typical) + 1e-9))


def prove_noisy_collapse() -> bool:
    """R309: the matrix of second moments, entry by entry, and both boundaries to first order in ε without average."""
    import sympy as sp

    ls, r, p, h, step, B, to = sp.symbols("lambda_s r p h epsilon B tau_o", positive=True)
    ld = r * ls
    S, D, w, th = sp.symbols("S D w theta", real=True)
    moved = w + step * p / to * (th * D - p * w * S)
    target = th + h * (moved - th)

    def mean(expression: Any) -> Any:
        polynomial = sp.Poly(sp.expand(expression), S, D)
        table = {
            (0, 0): 1,
            (1, 0): ls,
            (0, 1): ld,
            (2, 0): ls**2 * (1 + 2 / B),
            (1, 1): ls * ld * (1 + 2 / B),
            (0, 2): ld**2 + (ls**2 + ld**2) / B,
        }
        return sp.expand(sum(c * table[powers] for powers, c in polynomial.terms()))

    moments = [mean(x) for x in (moved**2, moved * target, target**2)]
    kept = 1 - h
    squares = (w**2, w * th, th**2)
    a, b, more = step * p**2 / to, step * p / to, 1 + 2 / B
    first = [
        1 - 2 * a * ls + a**2 * ls**2 * more,
        2 * (b * ld - a * b * ls * ld * more),
        b**2 * (ld**2 + (ls**2 + ld**2) / B),
    ]
    carried = [0, 1 - a * ls, b * ld]
    rows = [
        first,
        [h * x + kept * y for x, y in zip(first, carried, strict=True)],
        [h**2 * x + 2 * h * kept * y + z for x, y, z in zip(first, carried, (0, 0, kept**2), strict=True)],
    ]
    as_rows = [
        m - sum(x * y for x, y in zip(row, squares, strict=True))
        for m, row in zip(moments, rows, strict=True)
    ]
    # without average θ = w: E (1 + x)² and E ln(1 + x) to second order in x = (εp/τo)(D̂ − pŜ), at p = r ∓ shift
    shift = step * r * (ls**2 - ld**2) / (2 * B * to * ls)
    growth = mean((moved.subs({th: w}) / w) ** 2) - 1
    x = sp.expand((moved.subs({th: w}) / w) - 1)
    typical = mean(x - x**2 / 2)
    orders = [
        sp.series(sp.expand(value.subs(p, at)), step, 0, 3).removeO().coeff(step, k)
        for value, at in ((growth, r + shift), (typical, r - shift))
        for k in range(3)
    ]
    return vanishes(as_rows + orders)


RESULTS: tuple[Result, ...] = (
    Result(
        id="R306",
        title="exact law of batches for one mode",
        statement=(
            "A batch of B Gaussian pairs acts on a mode through Ŝ = λs χ²_B/B and D̂ = rŜ + √(λs (1 − r²) Ŝ/B) N(0, 1). "
            "Var ê = [θ² (λs² + λd²) − 4θ w1 w2 λs λd + 2 w1² w2² λs²]/B, and pathwise c⁺ = c (1 − ε² ê²/(τo "
            "τp)): noise "
            "shrinks |c|."
        ),
        source="new",
        hypotheses="Zero-mean Gaussian views with equal covariance Σs and E x2 x1ᵀ = Σd; η = 0 for c⁺.",
        as_printed=AsPrinted.NEW,
        code="dynamics.integration.batch_noise.batch_moments",
        trial=batch_law,
        proof=prove_batch_law,
    ),
    Result(
        id="R307",
        title="slow balancing law",
        statement=(
            "Along the learned line noise moves dc/dt = −K c (c + τp r²), K = ε (λs² − λd²)/(B τo² τp), so that c(t) = "
            "q/((1 + q/c0) e^{Kqt} − 1) with q = τp r²: |w1| → √(τp/τo) r whatever the start. At the next "
            "order dc/dt = −(ε/(τo τp)) c E ê², E ê² = (1 + 2/B) S_ee + E θ² (λs² − λd²)/B with S_ee of R308."
        ),
        source="new",
        hypotheses="ε → 0 at fixed B; η = 0, λs > 0; a start on the learned line.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.balancing.balancing_law",
        trial=slow_balancing,
        proof=prove_slow_balancing,
    ),
    Result(
        id="R308",
        title="stationary covariance at a learned point",
        statement=(
            "In the practical order y = (e, W − Θ) obeys y⁺ = M y + ξ n with Var ξ = w² (λs² − λd²)/B, so that "
            "its covariance "
            "is S = M S Mᵀ + Var ξ n nᵀ. With a frozen encoder Var w2 = g (λs² − λd²)/(B [2λs − g λs² (1 + 2/B)]), "
            "g = ε w²/τp, to all orders: the mean square is stable iff g λs (1 + 2/B) < 2."
        ),
        source="new",
        hypotheses="First order in 1/B for S; a step below R303's; η = 0.",
        as_printed=AsPrinted.NEW,
        code="analysis.steps.noise.stationary_covariance",
        trial=stationary_spread,
        proof=prove_stationary_spread,
    ),
    Result(
        id="R309",
        title="collapse under noise",
        statement=(
            "Near a collapsed state (0, p, 0) the mean square changes per step by the spectral radius of an "
            "exact 3×3 matrix, "
            "and the typical run by E ln |1 + (εp/τo)(D̂ − pŜ)| without average. To first order they vanish at "
            "p = r ± εr (λs² − λd²)/(2Bτo λs): between the two the typical run collapses while the mean square "
            "explodes."
        ),
        source="new",
        hypotheses="p frozen, η = 0, Gaussian batches; boundaries without average, ε → 0.",
        as_printed=AsPrinted.NEW,
        code="analysis.steps.noisy_collapse.mean_square_radius",
        trial=noisy_collapse,
        proof=prove_noisy_collapse,
    ),
)
