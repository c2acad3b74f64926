"""Results on two layers under the simple loss: R124, R125, R126, and R129 on normalised outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, orthogonal, refuted, worst
from dynamics.exact.two_layers import (
    blow_up_bounds,
    blow_up_time,
    decayed_time,
    two_layer_state,
    two_layer_time,
)
from dynamics.fields.normalised import normalised_gradient, normalised_outputs
from dynamics.fields.two_layers import TwoLayerState, diagonal_two_layer_field, two_layer_field
from dynamics.integration.blow_up import integrate_to_blow_up
from dynamics.integration.trajectory import Status

QUADRATURE = 2e-13
"""Relative error that two of the integrals are asked for, 1e-13 each."""


def _draw_node(rng: np.random.Generator) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """W1, w2, the matrix A and its eigenvectors, with eigenvalues between 0 and 3."""
    d = int(rng.integers(1, 5))
    lam, Q = rng.uniform(0.1, 3.0, d), orthogonal(rng, d)
    A = (Q * lam) @ Q.T
    w1 = rng.standard_normal(d) * 10 ** rng.uniform(-2, 1)
    return w1, float(rng.choice([-1, 1]) * 10 ** rng.uniform(-2, 1)), (A + A.T) / 2, Q


def blow_up(
    rng: np.random.Generator,
    *,
    time: Callable[..., float] = blow_up_time,
    bounds: Callable[..., Any] = blow_up_bounds,
    field: Callable[..., TwoLayerState] = diagonal_two_layer_field,
) -> Measurement:
    """R124: T* against an integration, the bounds, one direction in closed form, both branches, a dead upper weight."""
    w1, w2, A, _ = _draw_node(rng)
    start = TwoLayerState(w1[None], np.array([w2]))
    branches = ("one", "all")[rng.integers(2)]
    found = time(w1, w2, A, branches=branches)
    run = integrate_to_blow_up(lambda t, state: field(t, state, A, branches=branches), start)
    lower, upper = bounds(w1, w2, A, branches=branches)
    parts: list[tuple[Any, Any]] = [
        refuted(unless=run.status is Status.BLOW_UP),
        # the run's estimate of its error, several times over as it is none of a bound, and that of the quadrature
        (abs(run.t - found), 4 * run.error + QUADRATURE * found),
        (max(lower - found, found - upper, 0.0), QUADRATURE * found),
    ]
    # one direction: ln(w2²/‖w1‖²)/(2λ(w2² − ‖w1‖²)), which is 1/(2λ‖w1‖²) where they are equal
    lam, x = float(rng.uniform(0.1, 3.0)), float(w1 @ w1) ** 0.5
    for y in (w2, x):
        gap = y**2 - x**2
        closed = (math.log(y**2 / x**2) / gap if gap else 1 / x**2) / (2 * lam)
        # the difference of squares and the logarithm cancel alike
        rounding = 8 * EPS * max(x**2, y**2) / abs(gap) if gap else 0.0
        axis = [0.0, x]
        parts.append((abs(time(axis, y, [lam / 2, lam]) - closed), (QUADRATURE + rounding) * closed))
    parts.append((abs(2 * time(w1, w2, A, branches="all") - time(w1, w2, A)), 4 * EPS * time(w1, w2, A)))
    parts.append(refuted(unless=math.isinf(time(w1, 0.0, A)) and math.isinf(time(w1, w2, 0 * A))))
    # the state at the time of s is e^{As} w1; a relative error of t, as w1 grows at the rate λ w2²
    values, vectors = np.linalg.eigh(A)
    s = rng.uniform(0.1, 2.0) / values[-1]
    t = float(two_layer_time(s, w1, w2, A))
    state = two_layer_state(t, w1, w2, A)
    stated = vectors @ ((w1 @ vectors) * np.exp(values * s))
    moved_by = QUADRATURE * t * values[-1] * float(state.top) ** 2 + 32 * EPS
    parts.append((np.linalg.norm(state.bottom - stated), moved_by * float(np.linalg.norm(stated))))
    return worst(*parts)


def prove_blow_up() -> bool:
    """R124: w1 = e^{λs}a and w2² = c + Σ a²e^{2λs} solve the flow in s; one direction gives the logarithm."""
    import sympy as sp

    s, a, b, lam, mu, top = sp.symbols("s a b lambda mu w2", positive=True)
    w1 = np.array([a * sp.exp(lam * s), b * sp.exp(mu * s)], dtype=object)
    squared = top**2 + a**2 * (sp.exp(2 * lam * s) - 1) + b**2 * (sp.exp(2 * mu * s) - 1)
    A = np.array([[lam, 0], [0, mu]], dtype=object)
    moved = diagonal_two_layer_field(
        0.0, TwoLayerState(w1[None], np.array([sp.sqrt(squared)], dtype=object)), A
    )
    clock = squared  # ds/dt
    bottom = [sp.simplify(one - sp.diff(w, s) * clock) for one, w in zip(moved.bottom[0], w1, strict=True)]
    upper = sp.simplify(moved.top[0] - sp.diff(sp.sqrt(squared), s) * clock)
    c = sp.symbols("c", positive=True)  # w2² = c + a²
    primitive = -sp.log(1 + c * sp.exp(-2 * lam * s) / a**2) / (2 * lam * c)
    one = sp.simplify(sp.diff(primitive, s) - 1 / (c + a**2 * sp.exp(2 * lam * s)))
    total = sp.simplify(-primitive.subs(s, 0) - sp.log((c + a**2) / a**2) / (2 * lam * c))
    return all(x == 0 for x in (*bottom, upper, one, sp.simplify(sp.expand_log(total, force=True))))


# --- R125 ---------------------------------------------------------------------------------------------------


def _cross_covariances(rng: np.random.Generator, n1: int, d: int) -> Callable[[Any], np.ndarray]:
    """Of rectified nodes on Gaussian clusters: depends on directions of W1 alone."""
    from analysis.contrastive.mixtures import gated_mean
    from dynamics.data.clusters import GaussianMixture

    mixture = GaussianMixture(np.ones(3), rng.standard_normal((3, d)), 0.2)

    def gamma(W1: Any) -> np.ndarray:
        U = np.stack([gated_mean(w, mixture) for w in W1], axis=1)
        U = U - np.einsum("k,kja->ja", mixture.prior, U)
        return np.einsum("k,kja,kib->jiab", mixture.prior, U, U)

    return gamma


def decay(
    rng: np.random.Generator,
    *,
    clock: Callable[..., Any] = decayed_time,
    time: Callable[..., float] = blow_up_time,
    fields: tuple[Callable[..., TwoLayerState], ...] = (diagonal_two_layer_field, two_layer_field),
) -> Measurement:
    """R125: d/dt e^{−ηt} w̃(θ(t)) is the decayed field, for all three networks; when decay prevents the blow-up.

    With F homogeneous of degree 3 the derivative is −η w + e^{−ηt} θ′(t) F(w̃), θ′ = e^{−2ηt}.
    """
    diagonal, full = fields
    n1, d = 3, 2
    V = orthogonal(rng, d) * rng.uniform(0.5, 2.0, d)
    V, gamma = V @ V.T, _cross_covariances(rng, n1, d)
    W1, w2, W2 = rng.standard_normal((n1, d)), rng.standard_normal(n1), rng.standard_normal((2, n1))
    eta, t = rng.uniform(0.05, 1.0), rng.uniform(0.1, 2.0)
    shrink = math.exp(-eta * t)
    parts: list[tuple[Any, Any]] = []
    for field, state, moments in (
        (diagonal, TwoLayerState(W1, w2), V),
        (diagonal, TwoLayerState(W1, w2), lambda W: np.einsum("jjab->jab", gamma(W))),
        (full, TwoLayerState(W1, W2), V),
        (full, TwoLayerState(W1, W2), gamma),
    ):
        small = TwoLayerState(*(shrink * part for part in state))
        undecayed, decayed = field(0.0, state, moments), field(0.0, small, moments, weight_decay=eta)
        for F, moved, w in zip(undecayed, decayed, small, strict=True):
            # products of three weights, and sums of n1² d² of them
            size = float(np.max(np.abs(F))) + eta * float(np.max(np.abs(w)))
            parts.append((np.abs(moved - (shrink**3 * F - eta * w)), 16 * EPS * size * _condition(state)))
    # θ′ = e^{−2ηt}: by a difference over ±h, whose error is (2η)² h²/6 relative, and rounding over h
    h = 1e-4
    slope = (clock(t + h, eta) - clock(t - h, eta)) / (2 * h)
    parts.append((abs(slope - shrink**2), shrink**2 * (2 * eta * h) ** 2 / 6 * 1.1 + 4 * EPS * t / h))
    parts.append((abs(float(clock(0.0, eta))), EPS))

    w1, top, A, _ = _draw_node(rng)
    alone = time(w1, top, A)
    for share in (rng.uniform(0.2, 0.9), 1.1):  # 2ηT*
        eta = share / (2 * alone)
        found = time(w1, top, A, weight_decay=eta)
        t_end = 2 * found if math.isfinite(found) else 20 * alone
        run = integrate_to_blow_up(
            partial(_decaying, diagonal, A, eta),
            TwoLayerState(w1[None], np.array([top])),
            t_end=t_end,
        )
        parts.append(refuted(unless=math.isfinite(found) == (share < 1) == (run.status is Status.BLOW_UP)))
        if share < 1:
            # the quadrature's error times dt/dθ = 1/(1 − 2ηT*)
            parts.append((abs(run.t - found), 4 * run.error + QUADRATURE * found / (1 - share)))
        else:
            parts.append(refuted(unless=np.linalg.norm(run.final.bottom) < np.linalg.norm(w1) / 10))
    return worst(*parts)


def _decaying(
    field: Callable[..., TwoLayerState], A: np.ndarray, eta: float, t: float, state: TwoLayerState
) -> TwoLayerState:
    return field(t, state, A, weight_decay=eta)


def _condition(state: TwoLayerState) -> float:
    """How far sums of products may cancel: the largest weights cubed, over one."""
    return 1 + max(float(np.max(np.abs(part))) for part in state) ** 3


def prove_decay() -> bool:
    """R125: θ solves θ′ = e^{−(p−1)ηt}, and is infinite never: it tends to 1/((p−1)η)."""
    import sympy as sp

    t, eta = sp.symbols("t eta", positive=True)
    p = sp.symbols("p", integer=True, positive=True)
    theta = (1 - sp.exp(-(p - 1) * eta * t)) / ((p - 1) * eta)
    half = theta.subs(p, 3)
    return bool(
        sp.simplify(sp.diff(theta, t) - sp.exp(-(p - 1) * eta * t)) == 0
        and sp.limit(half, t, sp.oo) == 1 / (2 * eta)
        and sp.simplify(half.subs(t, -sp.log(1 - 2 * eta * p) / (2 * eta)) - p) == 0
    )


# --- R126 ---------------------------------------------------------------------------------------------------


def _balance_rate(state: TwoLayerState, moved: TwoLayerState) -> np.ndarray:
    """D/dt (W2ᵀW2 − W1W1ᵀ)."""
    half = state.top.T @ moved.top - moved.bottom @ state.bottom.T
    return np.asarray(half + half.T)


def full_top_layer(
    rng: np.random.Generator,
    *,
    field: Callable[..., TwoLayerState] = two_layer_field,
    balance: Callable[[TwoLayerState, TwoLayerState], np.ndarray] = _balance_rate,
    rectified: Callable[[np.ndarray], np.ndarray] = np.diag,
) -> Measurement:
    """R126: what is conserved, rank one at the blow-up, the growth of other directions, the race of aligned nodes."""
    n1, n2, d = 3, int(rng.integers(1, 4)), 3
    lam, Q = np.array([2.0, rng.uniform(0.05, 0.3), 0.05]), orthogonal(rng, d)
    V = (Q * lam) @ Q.T
    state = TwoLayerState(rng.standard_normal((n1, d)), rng.standard_normal((n2, n1)))
    moved = field(0.0, state, V)
    # a dozen products of four matrices
    size = float(np.linalg.norm(state.top) ** 2 * np.linalg.norm(state.bottom) ** 2 * np.linalg.norm(V))
    parts: list[tuple[Any, Any]] = [(np.abs(balance(state, moved)), 8 * EPS * size)]
    gamma = _cross_covariances(rng, n1, d)
    rates = balance(state, field(0.0, state, gamma))
    size = float(
        np.linalg.norm(state.top) ** 2
        * np.linalg.norm(state.bottom) ** 2
        * np.linalg.norm(gamma(state.bottom))
    )
    parts.append((np.abs(rectified(rates)), 8 * EPS * size))
    parts.append(refuted(unless=np.abs(rates - np.diag(np.diag(rates))).max() > 1e-6 * size))
    # blow-up of rank one on the top eigenvector: others lose like G^{−(1 − λ2/λ1)}, G the growth, 0.85 or more here
    run = integrate_to_blow_up(lambda t, y: field(t, y, V), state, rtol=1e-7)
    parts.append(refuted(unless=run.status is Status.BLOW_UP))
    end = run.final.bottom
    left = np.linalg.norm(end @ Q[:, 1:]) / np.linalg.norm(end)
    grown = float(np.linalg.norm(end) / np.linalg.norm(state.bottom))
    parts.append(refuted(unless=left < 30 * grown**-0.8))
    # two nodes aligned with different eigenvectors race: the least T_i of R124 wins, at its T*
    a = rng.uniform(0.3, 1.0, 2)
    aligned = TwoLayerState(np.vstack([a[0] * Q[:, 0], a[1] * Q[:, 1]]), np.diag(a))
    times = [blow_up_time([a[i]], a[i], [lam[i]]) for i in range(2)]
    race = integrate_to_blow_up(lambda t, y: field(t, y, V), aligned)
    parts.append((abs(race.t - min(times)), 4 * race.error + QUADRATURE * min(times)))
    return worst(*parts)


def prove_full_top_layer() -> bool:
    """R126: the linear balance, for two hidden nodes; and the exponent of a perturbation of the blow-up profile."""
    import sympy as sp

    from analysis.results.trials import symbols, vanishes

    W1, W2, half = symbols("a", 2, 2), symbols("b", 2, 2), symbols("v", 2, 2)
    V = half + half.T
    state = TwoLayerState(W1, W2)
    balanced = vanishes(_balance_rate(state, two_layer_field(0.0, state, V)))
    # w1 = w2 = x with x² = 1/(2λ(T − t)): a perturbation along v_j of the same node grows at the rate λ_j x²
    left, lam, other = sp.symbols("left lambda lambda_j", positive=True)
    x = (2 * lam * left) ** sp.Rational(-1, 2)
    exponent = (other / lam - 1) / 2
    relative = left**-exponent
    return bool(
        balanced
        and sp.simplify(-sp.diff(x, left) - lam * x**3) == 0
        and sp.simplify(-sp.diff(relative * x, left) - other * x**2 * relative * x) == 0
    )


# --- R129 ---------------------------------------------------------------------------------------------------


def normalised_networks(
    rng: np.random.Generator,
    *,
    gradient: Callable[..., TwoLayerState] = normalised_gradient,
) -> Measurement:
    """R129: the three conserved sums for any loss of normalised outputs, growth by ε²‖g‖², and the pole at f = 0."""
    n1, d, n = int(rng.integers(2, 6)), 3, 8
    state = TwoLayerState(rng.standard_normal((n1, d)), rng.standard_normal(n1))
    x, slopes = rng.standard_normal((n, d)), rng.standard_normal((n, n1))
    outputs = normalised_outputs(state, x)
    g = gradient(state, x, slopes)
    # sums over n inputs of gradients as large as |slope|/‖f‖, times weights; a few products each
    alive = outputs.norms > 0
    pole = float(
        np.sum(
            np.linalg.norm(slopes[alive], axis=1) * np.linalg.norm(x[alive], axis=1) / outputs.norms[alive]
        )
    )
    sizes = [float(np.sum(part**2)) for part in state]
    rounding = 4 * EPS * pole * math.sqrt(sizes[0] * sizes[1]) or EPS
    parts: list[tuple[Any, Any]] = [
        (abs(np.sum(state.bottom * g.bottom)), rounding),
        (abs(np.sum(state.top * g.top)), rounding),
        (np.abs(state.top * g.top - (state.bottom * g.bottom).sum(axis=1)), rounding),
    ]
    step = 10 ** rng.uniform(-3, 0) / (1 + max(float(np.linalg.norm(part)) for part in g))
    for w, slope, size in zip(state, g, sizes, strict=True):
        grown = float(np.sum((w - step * slope) ** 2)) - size
        parts.append(
            (abs(grown - step**2 * np.sum(slope**2)), 2 * step * rounding + 32 * EPS * (size + grown))
        )
    # the gradient of an input with f → 0 grows like 1/‖f‖: W2 shrunk by s makes ∂L/∂W2 larger by 1/s
    s = 10 ** rng.uniform(-8, -1)
    near = TwoLayerState(state.bottom, s * state.top)
    larger = gradient(near, x, slopes).top
    parts.append((np.abs(s * larger - g.top), rounding / min(np.min(np.abs(state.top)), 1.0)))
    parts.append(refuted(unless=normalised_outputs(near, x).degenerate(1e-300) == np.count_nonzero(~alive)))
    return worst(*parts)


def prove_normalised_networks() -> bool:
    """R129: (I − zzᵀ)∂L/∂z is orthogonal to f, and f is homogeneous in each layer, so ⟨W, ∂L/∂W⟩ = 0."""
    import sympy as sp

    f = sp.Matrix(sp.symbols("f0:3", positive=True))
    slope = sp.Matrix(sp.symbols("s0:3", real=True))
    z = f / sp.sqrt(f.dot(f))
    return bool(sp.simplify((slope - z * z.dot(slope)).dot(f)) == 0)


RESULTS: tuple[Result, ...] = (
    Result(
        id="R124",
        title="two layers, solved",
        statement=(
            "With ds = w2² dt: w1 = e^{As}w1(0), w2² = c + Σ a_i² e^{2λ_i s}, c = w2² − ‖w1‖² conserved. Blow-up at "
            "T* = ∫_0^∞ ds/(c + Σ a_i² e^{2λ_i s}), between ln(w2²/N)/(2λ1(w2² − N)), N = ‖w1‖², and the same with a1² "
            "for N, both T* for one direction. Through all branches every time is halved; w2 = 0 stays."
        ),
        source="DD theorem 5, (14); the solution is new",
        hypotheses="Diagonal top layer, simple loss, constant A, positive semidefinite.",
        as_printed=AsPrinted.YES,
        code="dynamics.exact.two_layers.blow_up_time",
        trial=blow_up,
        proof=prove_blow_up,
    ),
    Result(
        id="R125",
        title="weight decay is a change of time",
        statement=(
            "w(t) = e^{−ηt} w̃(θ(t)), θ = (1 − e^{−2ηt})/(2η), w̃ the undecayed solution. Blow-up iff 2ηT* < 1, at "
            "t = −ln(1 − 2ηT*)/(2η); otherwise weights decay to 0. A field of degree p has (p − 1)η for 2η."
        ),
        source="new",
        hypotheses="The same η on both layers; any field homogeneous of degree 3: diagonal or full W2, linear or ReLU.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.two_layers.decayed_time",
        trial=decay,
        proof=prove_decay,
    ),
    Result(
        id="R126",
        title="a full top layer",
        statement=(
            "Linear: W2ᵀW2 − W1W1ᵀ is conserved; ReLU: its diagonal alone. Generic blow-up is of rank one on the top "
            "eigenvector of V, with the profile (T − t)^(−1/2); a perturbation along v_j in the same node grows "
            "relative to it like (T − t)^(−(λ_j/λ − 1)/2). Aligned nodes race, and the least T* of R124 wins."
        ),
        source="DD (65)",
        hypotheses="Simple loss, one branch, no decay; linear but for the second conservation law.",
        as_printed=AsPrinted.REFINED,
        code="dynamics.fields.two_layers.two_layer_field",
        correction="The top mode need not win: exactly aligned starts race, and the least T* decides.",
        trial=full_top_layer,
        proof=prove_full_top_layer,
    ),
    Result(
        id="R129",
        title="two layers, normalised outputs",
        statement=(
            "The flow conserves Σ_j w2_j², ‖W1‖² and every w2_j² − ‖w1_j‖², whatever the loss of outputs: weight is "
            "only redistributed among nodes. A step of size ε adds exactly ε²‖g‖² to each sum, which is large where "
            "some ‖f‖ → 0, as the gradient is proportional to 1/‖f‖."
        ),
        source="DD theorem 5 under normalisation",
        hypotheses="ReLU, diagonal W2 (its sums hold for a full one), no biases, at least two outputs, f ≠ 0.",
        as_printed=AsPrinted.CORRECTED,
        code="dynamics.fields.normalised.normalised_gradient",
        correction="E19: |w2_j| cannot increase for all j; it is at most the root of the conserved sum.",
        trial=normalised_networks,
        proof=prove_normalised_networks,
    ),
)
"""R124 to R126, R129."""
