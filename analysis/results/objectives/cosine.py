"""Results on losses of directions: R311 to R315."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, followed, random_rates, refuted, vanishes, worst
from dynamics.exact.cosine import (
    decay_clock,
    expected_cosine,
    resting_squared_norm,
    squared_norm_after_step,
)
from dynamics.fields.cosine import (
    cosine_field,
    cosine_mode_field,
    cosine_no_ema_field,
    mode_scales,
    sample_cosine_loss,
)
from dynamics.fields.vector_field import VectorField
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem, ModeSystem

Loss = Callable[[Any, Any, Any, Any, Any], Any]
"""(W, P, Θ, x1, x2) -> loss of a batch."""


@lru_cache(maxsize=16)
def _slope(loss: Loss) -> Callable[..., Any]:
    import jax

    return jax.jit(jax.grad(loss, (0, 1)))


def _gradients(loss: Loss, state: MatrixState, views: Any) -> tuple[np.ndarray, np.ndarray]:
    """∇_W and ∇_P of a batch, the target held fixed, by automatic differentiation in float64."""
    import jax

    with jax.enable_x64(True):
        W, P = _slope(loss)(*state, *views)
        return np.asarray(W), np.asarray(P)


def _network(rng: np.random.Generator, n1: int = 4, n2: int = 3) -> MatrixState:
    return MatrixState(
        rng.standard_normal((n2, n1)), rng.standard_normal((n2, n2)), rng.standard_normal((n2, n1))
    )


def _moments(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Σs and Σd of views that share a signal."""
    A, B = rng.standard_normal((2, n, n))
    shared = A @ A.T / n + 0.2 * np.eye(n)
    return shared + B @ B.T / n, shared


# --- R311 ---------------------------------------------------------------------------------------------------


def universal_balance(rng: np.random.Generator, *, loss: Loss = sample_cosine_loss) -> Measurement:
    """R311: W ∇_Wᵀ = (∇_P)ᵀ P, and both gradients at right angles to their weights, on a batch of any views."""
    state = _network(rng)
    x1 = rng.standard_normal((20, 4))
    x2 = x1 + rng.standard_normal((20, 4))
    to_W, to_P = _gradients(loss, state, (x1, x2))
    W, P, _ = state
    # a gradient is a mean over the batch of terms of size |x| over |P W x|, each rounded a few times
    outputs = np.linalg.norm(x1 @ (P @ W).T, axis=1)
    terms = float(np.mean(np.linalg.norm(x1, axis=1) / outputs))
    rounding = 2 * EPS * terms * np.linalg.norm(W) * np.linalg.norm(P)
    return worst(
        (np.max(np.abs(W @ to_W.T - to_P.T @ P)), rounding),
        (abs(np.sum(W * to_W)), rounding),
        (abs(np.sum(P * to_P)), rounding),
    )


def prove_universal_balance() -> bool:
    """R311 for any loss of A = P W: ∇_W = PᵀG and ∇_P = G Wᵀ for G = ∂L/∂A, so both sides are W Gᵀ P."""
    import sympy as sp

    W, P, G = (
        np.array(sp.symbols(f"{x}0:{m * n}"), dtype=object).reshape(m, n)
        for x, m, n in (("w", 2, 3), ("p", 2, 2), ("g", 2, 3))
    )
    A = P @ W
    loss = (G * A).sum()  # to first order every loss is linear in A
    to_W, to_P = (
        np.array([sp.diff(loss, x) for x in X.ravel()], dtype=object).reshape(X.shape) for X in (W, P)
    )
    return vanishes(W @ to_W.T - to_P.T @ P)


# --- R312 ---------------------------------------------------------------------------------------------------


def clock_of_decay(
    rng: np.random.Generator,
    *,
    clock: Callable[[Any, float], Any] = decay_clock,
    field: VectorField = cosine_no_ema_field,
) -> Measurement:
    """R312: a run with weight decay against e^{−ηt} times the run without it at the time s."""
    sigma_s, sigma_d = _moments(rng, 3)
    rates = random_rates(rng)
    eta, t = rng.uniform(0.05, 0.2), rng.uniform(1.0, 4.0)
    plain, decaying = (MatrixSystem(sigma_s, sigma_d, **rates, weight_decay=x) for x in (0.0, eta))
    W, P, _ = _network(rng, 3, 2)
    start = plain.state(W, P)
    s = float(clock(t, eta))
    free, error = followed(start, plain, field, s)
    held, other = followed(start, decaying, field, t)
    gaps = [
        np.max(np.abs(one - np.exp(-eta * t) * two))
        for one, two in zip(held.final[:2], free.final[:2], strict=True)
    ]
    size = float(np.linalg.norm(W) + np.linalg.norm(P))
    moved = refuted(unless=np.max(np.abs(free.final.online - W)) > 1e-3)
    return worst((max(gaps), 2 * (error + other) + 16 * EPS * size), moved)


def prove_clock_of_decay() -> bool:
    """R312: W = e^{−ηt} W_0(s) has W′ + ηW = −e^{−ηt} s′ g(W_0); of degree −1, g(W) is e^{ηt} g(W_0)."""
    import sympy as sp

    t, eta = sp.symbols("t eta", positive=True)
    s = (sp.exp(2 * eta * t) - 1) / (2 * eta)
    size = sp.exp(-eta * t)
    return vanishes([size * sp.diff(s, t) - 1 / size, s.subs(t, 0)])


# --- R313 ---------------------------------------------------------------------------------------------------


def norms_of_steps(
    rng: np.random.Generator,
    *,
    after: Callable[..., Any] = squared_norm_after_step,
    resting: Callable[[float, float, float], float] = resting_squared_norm,
    loss: Loss = sample_cosine_loss,
) -> Measurement:
    """R313: ‖W⁺‖² of a real step, its predicted rest by iteration, and the same from two starts."""
    state = _network(rng)
    x1 = rng.standard_normal((20, 4))
    to_W, _ = _gradients(loss, state, (x1, x1 + rng.standard_normal((20, 4))))
    W, (step, eta, tau) = state.online, rng.uniform([0.05, 0.01, 0.5], [0.5, 0.3, 2.0])
    moved = (1 - step * eta) * W - step / tau * to_W
    size = float(np.sum(W**2))
    stated = float(after(size, float(np.linalg.norm(to_W)), step, eta, tau))
    G = rng.uniform(0.2, 2.0)
    steep, hold = rng.uniform(0.2, 0.5, 2)  # εη = 0.04 and more: a hundred steps and more forget the start
    x = np.array([0.3, 3.0])
    for _ in range(800):
        x = after(x, G / np.sqrt(x), steep, hold)
    # (1 − εη)^{4·800} is left of the starts; an eighth of the memory of a rounding is kept per step
    end = resting(G, steep, hold)
    return worst(
        (
            abs(float(np.sum(moved**2)) / stated - 1),
            32 * EPS * (1 + step * np.linalg.norm(to_W) / tau / size**0.5),
        ),
        (np.max(np.abs(x / end - 1)), 8 * EPS / (steep * hold)),
    )


def prove_norms_of_steps() -> bool:
    """R313: Pythagoras where ⟨W, ∇⟩ = 0, in the plane, and the rest of the recursion."""
    import sympy as sp

    w, g, step, eta, tau, G, x = sp.symbols("w g epsilon eta tau G x", positive=True)
    moved = np.array([(1 - step * eta) * w, -step / tau * g], dtype=object)
    if not vanishes((moved**2).sum() - squared_norm_after_step(w**2, g, step, eta, tau)):
        return False
    fixed = sp.sqrt(step * G**2 / (2 * eta - step * eta**2))
    return bool(
        sp.simplify(squared_norm_after_step(x, G / sp.sqrt(x), step, eta).subs(x, fixed) - fixed) == 0
    )


# --- R314 ---------------------------------------------------------------------------------------------------


def _cosine_by_quadrature(n: int, r: float, nodes: int) -> float:
    """E cos of two views of n >= 3 modes: lengths R cos φ of x1 and R sin φ of the noise, cos of their angle u."""
    from scipy.special import roots_jacobi

    x, of_x = np.polynomial.legendre.leggauss(nodes)
    phi = (x + 1) * np.pi / 4
    density = (np.sin(phi) * np.cos(phi)) ** (n - 1) * of_x
    u, of_u = roots_jacobi(nodes, (n - 3) / 2, (n - 3) / 2)
    a, b = (r * np.cos(phi))[:, None], (np.sqrt(1 - r**2) * np.sin(phi))[:, None]
    cosines = (a + b * u) / np.sqrt(a**2 + 2 * a * b * u + b**2)
    return float(density @ cosines @ of_u / (np.sum(density) * np.sum(of_u)))


def worth_of_dimension(
    rng: np.random.Generator, *, expected: Callable[[Any, Any], Any] = expected_cosine
) -> Measurement:
    """R314: the formula against quadrature, both ends n = 1 and n → ∞, r → −r and r = 1, and that it grows."""
    n, r = int(rng.integers(6, 40)), rng.uniform(0.1, 0.9)
    rough, fine = (_cosine_by_quadrature(n, r, nodes) for nodes in (40, 80))
    found = float(expected(n, r))
    row = np.asarray(expected(np.arange(1, 60), r))
    one = float(expected(1, r))
    far = 1e6
    return worst(
        (abs(found - fine), abs(rough - fine) + 256 * EPS),  # of n powers and 80 terms
        (abs(one - 2 / np.pi * np.arcsin(r)), 32 * EPS),
        (abs(float(expected(far, r)) - r), 1.0 / far),  # r (1 − r²)/(2n) is the first term
        (abs(float(expected(n, -r)) + found), 2 * EPS),
        (abs(float(expected(n, 1.0)) - 1), 256 * EPS),
        refuted(unless=bool(np.all(np.diff(row) > 0))),
    )


def prove_worth_of_dimension() -> bool:
    """R314 at n = 1, where the series is that of arcsin, to the order r¹¹; Γ(1)/Γ(½) = 1/√π."""
    import sympy as sp

    r = sp.Symbol("r")
    half = sp.Rational(1, 2)
    terms = range(6)
    series = sum(
        sp.rf(half, k) ** 2 / (sp.rf(sp.Rational(3, 2), k) * sp.factorial(k)) * r ** (2 * k) for k in terms
    )
    value = r * 2 * (sp.gamma(1) / sp.gamma(half)) ** 2 * series
    arcsin = sp.series(2 / sp.pi * sp.asin(r), r, 0, 12).removeO()
    return bool(sp.simplify(sp.expand(value - arcsin)) == 0)


# --- R315 ---------------------------------------------------------------------------------------------------


def _high_dimensional_loss(W: Any, P: Any, Th: Any, sigma_s: Any, sigma_d: Any) -> Any:
    """1 − T/(N_p N_t)."""
    A = P @ W
    T, Np2, Nt2 = ((x * y).sum() for x, y in ((A @ sigma_d, Th), (A @ sigma_s, A), (Th @ sigma_s, Th)))
    return 1 - T / (Np2 * Nt2) ** 0.5


def high_dimensional_cosine(
    rng: np.random.Generator,
    *,
    field: VectorField = cosine_field,
    mode_field: VectorField = cosine_mode_field,
) -> Measurement:
    """R315: the field as gradient of the loss, modes as matrices, and ends of modes with an average."""
    n = 4
    sigma_s, sigma_d = _moments(rng, n)
    rates = random_rates(rng)
    system = MatrixSystem(sigma_s, sigma_d, **rates)
    state = _network(rng, n, n)
    to_W, to_P = _gradients(_high_dimensional_loss, state, (sigma_s, sigma_d))
    moved = field(0.0, state, system)
    gap = max(
        np.max(np.abs(moved.online * rates["tau_online"] + to_W)),
        np.max(np.abs(moved.predictor * rates["tau_predictor"] + to_P)),
    )
    # gradients are of degree −1 in W and P; traces of 4×4 matrices may cancel by their condition
    A = state.predictor @ state.online
    size = (np.linalg.norm(state.online) + np.linalg.norm(state.predictor)) / np.linalg.norm(A)
    spread = np.linalg.cond(sigma_s)
    # modes: positive predictors, and a negative one on a leaf where it collapses
    r = rng.uniform(0.3, 0.9, n)
    modes = ModeSystem(np.ones(n), r, **rates)
    w, p = rng.uniform(0.5, 1.0, n), rng.uniform(0.2, 0.6, n)
    w[0], p[0] = 0.3, -rng.uniform(0.5, 0.9)
    w[0] = 0.6 * abs(p[0]) * np.sqrt(rates["tau_predictor"] / rates["tau_online"])
    begin = modes.state(w, p, w)
    run, error = followed(begin, modes, mode_field, 1500.0)
    end = run.final
    kappa, _ = mode_scales(end, modes)
    c = rates["tau_online"] * w**2 - rates["tau_predictor"] * p**2
    edge = -rates["tau_predictor"] * (r / kappa) ** 2
    dies = np.where(p > 0, c <= edge, c <= 0)
    level = np.where(dies, np.sign(p) * np.sqrt(np.maximum(-c / rates["tau_predictor"], 0)), r / kappa)
    sums = [abs(np.sum(a**2) - np.sum(b**2)) for a, b in ((end.online, w), (end.predictor, p))]
    largest = float(np.max(np.abs(begin)))
    diagonal = MatrixSystem(np.ones(n), r, **rates)
    whole = field(0.0, MatrixState(*(np.diag(part) for part in begin)), diagonal)
    alike = max(
        np.max(np.abs(np.diag(a) - b)) for a, b in zip(whole, mode_field(0.0, begin, modes), strict=True)
    )
    return worst(
        (gap, 64 * EPS * spread * (1 + size) ** 2),
        (alike, 64 * EPS * (1 + 1 / float(np.sum((p * w) ** 2)))),
        # a run of 1500 leaves what attracts at a rate below a hundredth, e^{−15}
        (np.max(np.abs(end.predictor - level)), 4 * error + np.exp(-15.0)),
        (max(sums), 4 * n * largest * error + 64 * EPS * largest**2),
        refuted(unless=bool(kappa > 0) and bool(dies[0])),
    )


def prove_high_dimensional_cosine() -> bool:
    """R315 for two modes: −∂L/∂p and −∂L/∂w of 1 − T/(N_p N_t)."""
    import sympy as sp

    w, p, th, s, d = (np.array(sp.symbols(f"{x}0:2", positive=True), dtype=object) for x in "wpqsd")
    T, Np2, Nt2 = (p * w * th * d).sum(), ((p * w) ** 2 * s).sum(), (th**2 * s).sum()
    loss = 1 - T / sp.sqrt(Np2 * Nt2)
    kappa, clock = T / Np2, 1 / sp.sqrt(Np2 * Nt2)
    e = clock * (th * d - kappa * p * w * s)
    pairs = [*zip(p * e, w, strict=True), *zip(w * e, p, strict=True)]
    return vanishes([moved + sp.diff(loss, x) for moved, x in pairs])


_DIRECTIONS = "a loss that sees W and P only through the directions of P W x"
RESULTS: tuple[Result, ...] = (
    Result(
        id="R311",
        title="universal balance",
        statement=(
            "W ∇_W Lᵀ = (∇_P L)ᵀ P for every loss of P W, batch and target, so R2 holds; under the cosine "
            "loss ⟨W, ∇_W L⟩ = ⟨P, ∇_P L⟩ = 0 too, and the norms of W and P are conserved "
            "separately: collapse is one of rank."
        ),
        source="new in part; refines R2",
        hypotheses="Gradients stop at the target; for the norms, predictions are normalised.",
        as_printed=AsPrinted.NEW,
        code="dynamics.fields.cosine.sample_cosine_loss",
        trial=universal_balance,
        proof=prove_universal_balance,
    ),
    Result(
        id="R312",
        title="weight decay is a clock",
        statement=(
            "W_η(t) = e^{−ηt} W_0(s) and P_η(t) = e^{−ηt} P_0(s), s = (e^{2ηt} − 1)/(2η): no threshold of weight "
            "decay, and no fixed point of the weights but zero for η > 0; directions come to rest while norms die."
        ),
        source="2309.16109, abstract",
        hypotheses=f"No moving average, or a fixed target; one η for W and P; {_DIRECTIONS}.",
        as_printed=AsPrinted.REFINED,
        code="dynamics.exact.cosine.decay_clock",
        correction="E32: the stable equilibrium that emerges is one of directions.",
        trial=clock_of_decay,
        proof=prove_clock_of_decay,
    ),
    Result(
        id="R313",
        title="norms under steps",
        statement=(
            "‖W⁺‖² = (1 − εη)² ‖W‖² + ε² ‖∇_W L‖²/τo²; with a gradient G/‖W‖, ‖W‖⁴ → ε G²/(2η − εη²), so that the rate "
            "of turning ε/‖W‖² does not depend on the start."
        ),
        source="new in this form",
        hypotheses=f"Gradient descent with steps ε; {_DIRECTIONS}.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.cosine.resting_squared_norm",
        trial=norms_of_steps,
        proof=prove_norms_of_steps,
    ),
    Result(
        id="R314",
        title="worth of dimension",
        statement=(
            "E cos = r (2/n)(Γ((n + 1)/2)/Γ(n/2))² ₂F₁(½, ½; n/2 + 1; r²): (2/π) arcsin r at n = 1, rising to r. The "
            "loss 1 − E cos pays for rank."
        ),
        source="new in this form",
        hypotheses="n equal Gaussian modes of correlation r, or any elliptical pair.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.cosine.expected_cosine",
        trial=worth_of_dimension,
        proof=prove_worth_of_dimension,
    ),
    Result(
        id="R315",
        title="cosine loss in high dimension",
        statement=(
            "The flow is that of BYOL with κΣs for Σs, κ = T/N_p², and the clock 1/(N_p N_t). Surviving modes rest at "
            "p_i = r_i/κ; fates are R6 with r_i/κ∞. Σw² and Σp² are conserved, so some mode lives."
        ),
        source="new; laws of Halvagal for a free predictor and any Σs",
        hypotheses="Many modes, so that norms do not fluctuate; η = 0; for the fates, κ∞ > 0.",
        as_printed=AsPrinted.NEW,
        code="dynamics.fields.cosine.cosine_field",
        trial=high_dimensional_cosine,
        proof=prove_high_dimensional_cosine,
    ),
)
"""R311 to R315."""
