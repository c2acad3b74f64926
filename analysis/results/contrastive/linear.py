"""Results on linear contrastive encoders: what the simple loss and one negative do, R113 and R114."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from analysis.contrastive.infonce_points import (
    EncoderPoint,
    critical_points,
)
from analysis.contrastive.learned_subspaces import LEARNERS, LearnedSubspace
from analysis.results.contrastive.pair_scores import pair_score
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, orthogonal, refuted, worst
from dynamics.exact.contrastive import simple_encoder
from dynamics.exact.contrastive_growth import (
    noiseless_growth,
    separated_growth,
    turning_factor,
    turning_time,
)
from dynamics.exact.infonce import one_negative_saturation, saturation_norm
from dynamics.exact.one_negative import OneNegative, one_negative
from dynamics.fields.infonce import one_negative_field
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem


def random_encoder_system(
    rng: np.random.Generator, n: int, *, low: float = 0.15, high: float = 0.92
) -> MatrixSystem:
    """Draw Σs and Σd that do not commute, whose ratios are apart by half their mean distance at least."""
    spaced = np.linspace(low, high, n)
    r = spaced + rng.uniform(-0.25, 0.25, n) * (spaced[1] - spaced[0])
    V = orthogonal(rng, n) @ np.diag(rng.uniform(0.7, 1.4, n)) @ orthogonal(rng, n)
    sigma_s, sigma_d = V @ V.T, (V * np.clip(r, 0.05, 0.95)) @ V.T
    return MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2)


# --- R113 ---------------------------------------------------------------------------------------------------


def _enumerated_loss(first: Any, others: Any, views: Any) -> Any:
    """E r₊ − E r₋ over all triples of views (samples, views, n1), of which `first` encodes the anchor."""
    n_samples = len(views)
    f, g = views @ first.T, views @ others.T
    r = ((f[:, :, None, None, :] - g) ** 2).sum(
        axis=-1
    ) / 2  # anchor's sample and view, the other's sample and view
    positive = sum(r[k, :, k].mean() for k in range(n_samples)) / n_samples
    return positive - r.mean()


@lru_cache(maxsize=1)
def _enumerated_gradients() -> Callable[..., Any]:
    import jax

    return jax.jit(jax.grad(_enumerated_loss, argnums=(0, 1)))


def _simple_gradient(views: np.ndarray, W: np.ndarray, branches: int) -> np.ndarray:
    """−∂L_simp by autodiff of the sum over triples: through both branches, or through the anchor's alone."""
    import jax

    with jax.enable_x64(True):
        parts = [np.asarray(part) for part in _enumerated_gradients()(W, W, views)]
    return np.asarray(-sum(parts[:branches]))


def _angle(W: np.ndarray, direction: np.ndarray) -> Any:
    """Tangent of the angle of each row of (…, n1) to a unit vector."""
    along = W @ direction
    return np.linalg.norm(W - along[..., None] * direction, axis=-1) / np.abs(along)


def simple_contrast(
    rng: np.random.Generator,
    *,
    encoder: Callable[..., Any] = simple_encoder,
    factor: Callable[..., float] = turning_factor,
    time: Callable[..., float] = turning_time,
    learned: Callable[[MatrixSystem, int], LearnedSubspace] = LEARNERS["simple"],
) -> Measurement:
    """R113: the flow against the exponential of the loss's gradient, then angles, steps, and the rank of the limit."""
    from scipy.linalg import expm

    n, n2 = 4, 2
    c = int(rng.integers(1, 3))
    views = rng.standard_normal((7, 1, n)) + 0.5 * rng.standard_normal((7, 3, n))
    centred = views.mean(axis=1) - views.mean(axis=(0, 1))
    V = centred.T @ centred / len(centred)
    G = _simple_gradient(views, np.eye(n), c)

    def run(ts: Any, W: np.ndarray, V: np.ndarray) -> np.ndarray:
        system = MatrixSystem(V + np.eye(n), V)
        found: np.ndarray = encoder(np.atleast_1d(ts), EncoderState(W), system, branches=c).online
        return found if np.ndim(ts) else found[0]

    W = rng.standard_normal((n2, n))
    t = 1 / np.linalg.norm(V, 2)
    # exponentials of norm e² whose argument is rounded by a few n eps of moments of this size
    size = c * t * float(np.mean(np.sum(views**2, axis=-1)))
    exact = W @ expm(t * G)
    parts: list[tuple[Any, Any]] = [
        (
            np.abs(run(t, W, V) - exact),
            8 * n * EPS * size * np.exp(c) * np.linalg.norm(W),
        )
    ]

    lambda_d = np.array([2.0, 1.2, 0.3, 0.1]) * rng.uniform(0.9, 1.1, n)
    Q = orthogonal(rng, n)
    V = (Q * lambda_d) @ Q.T
    V = (V + V.T) / 2
    gap = lambda_d[0] - lambda_d[1]
    ts = np.array([0.5, 1.0, 2.0]) / gap
    two = rng.uniform(0.5, 1.0, (1, 2)) @ Q.T[:2]  # no other mode than the second is excited
    for start, equal in ((W[:1], False), (two, True)):
        row = run(ts, start, V)[:, 0]
        bound = np.exp(-c * gap * ts) * _angle(start, Q[:, 0])[0]
        # directions of rows are exact to rounding of V and of its modes, over the gap
        rounding = 16 * n * EPS * lambda_d[0] / gap * np.exp(c * gap * ts) * (1 + bound)
        excess = _angle(row, Q[:, 0]) - bound
        parts.append(
            (np.abs(excess) if equal else np.maximum(excess, 0.0), rounding * np.maximum(bound, EPS))
        )
        step = rng.uniform(0.05, 0.5)
        moved = start @ np.linalg.matrix_power(np.eye(n) + c * step * V, 5)
        bound = factor(step, *lambda_d[:2], branches=c) ** 5 * _angle(start, Q[:, 0])[0]
        excess = _angle(moved, Q[:, 0])[0] - bound
        parts.append((abs(excess) if equal else max(excess, 0.0), 64 * n * EPS * (1 + bound) / gap))
    angle = float(np.arctan(_angle(two, Q[:, 0])[0]))
    reached = time(angle, angle / 3, *lambda_d[:2], branches=c)
    found = np.arctan(_angle(run(reached, two, V), Q[:, 0])[0])
    parts.append((abs(found - angle / 3), 64 * n * EPS / gap))

    # ratio of singular values: |det[W v1, W v2]|/‖W v1‖² e^{−c(λ1−λ2)t}, but for its square and the third mode
    A = W @ Q
    t = 7.0 / (c * gap)
    singular = np.linalg.svd(run(t, W, V), compute_uv=False)
    first, second = A[:, 0], A[:, 1]
    area, length = abs(first[0] * second[1] - first[1] * second[0]), float(first @ first)
    expected = area / length * np.exp(-c * gap * t)
    relative = float(np.linalg.norm(A) ** 2 / length)
    others = 2 * relative * np.exp(-2 * c * gap * t) + 64 * EPS / expected
    others += (relative * length / area) ** 2 * np.exp(-2 * c * (lambda_d[1] - lambda_d[2]) * t)
    parts.append((abs(singular[1] / singular[0] / expected - 1), others))
    # every row ends on the direction that is said to be learned, of which there is one
    said = learned(MatrixSystem(np.eye(n) * 3, V), n2)
    end = run(40 / (c * gap), W, V)
    off = np.max(_angle(end, said.directions[:, 0]))
    parts += [refuted(unless=said.directions.shape == (n, 1)), (off, 64 * n * EPS * lambda_d[0] / gap)]
    return worst(*parts)


# --- R114 ---------------------------------------------------------------------------------------------------


def one_negative_at_rest(
    rng: np.random.Generator,
    *,
    saturated: Callable[[Any], Any] = one_negative_saturation,
    loss: Callable[..., OneNegative] = one_negative,
    points: Callable[..., list[EncoderPoint]] = critical_points,
    norm: Callable[..., float] = saturation_norm,
    noiseless: Callable[[Any, float, float], Any] = noiseless_growth,
    separated: Callable[[Any, float, float, float], Any] = separated_growth,
) -> Measurement:
    """R114: rest by the density of r₊ − r₋ and by its transform, of several rows, and growth at r = 1."""
    from scipy.special import expit

    tau = 10 ** rng.uniform(-1, 1)
    # one row: E σ(z/τ) z = 0 by the density with K0, whose sums are exact to rounding of E z²
    r = (1e-3, 0.99, rng.uniform(0.05, 0.95))[rng.integers(3)]
    s = tau * float(saturated(r))
    law = pair_score(s, r * s)
    slope = law.plain @ (expit(law.values / tau) * law.values)
    parts: list[tuple[Any, Any]] = [(abs(slope), 8 * EPS * np.sqrt(law.plain @ law.values**2))]
    # the same loss by both methods, at any norm
    s = tau * 10 ** rng.uniform(-2, 1)
    law, found = pair_score(s, r * s), loss([[s]], [[r * s]], tau)
    mean = law.plain @ np.logaddexp(0, law.values / tau)
    parts.append((abs(found.loss - mean), 64 * EPS * (1 + s / tau)))

    # several rows on distinct modes, moments that do not commute: at rest, ∂L/∂D negative, others are saddles
    n, n2 = 4, 2
    system = random_encoder_system(rng, n)
    listed = points(system, n2, tau, 1)
    scale = np.linalg.norm(system.sigma_s, 2) * np.linalg.cond(system.sigma_s)
    for point in listed:
        W = point.online
        moved = one_negative_field(0.0, W, system, tau)
        parts.append((np.max(np.abs(moved)), 16 * n * EPS * scale / tau * (1 + np.linalg.norm(W))))
        S, D = W @ system.sigma_s @ W.T, W @ system.sigma_d @ W.T
        parts.append(refuted(unless=np.all(np.linalg.eigvalsh(loss(S, D, tau).by_sigma_d) < 0)))
    (stable,) = (point for point in listed if point.stability == "stable")
    parts.append(refuted(unless=stable.loss == min(point.loss for point in listed)))

    # convex in G = WᵀW: half way between two encoders, and so only one norm is at rest along each span of modes
    A, B = rng.standard_normal((2, n, n)) * np.sqrt(tau)
    middle = np.linalg.cholesky((A @ A.T + B @ B.T) / 2)
    values = [loss(W.T @ system.sigma_s @ W, W.T @ system.sigma_d @ W, tau).loss for W in (A, B, middle)]
    parts.append(refuted(unless=values[2] < (values[0] + values[1]) / 2))

    # between one and infinitely many negatives the norm rises
    r = rng.uniform(0.1, 0.6)
    norms = [norm(r, 1.0, negatives=H) for H in (1, 2, 16, np.inf)]
    parts.append(refuted(unless=np.all(np.diff(norms) > 0)))

    # r = 1: ds/dt of the flow against 2s/(3t) of the law, whose relative error is (3/4) η(5/2)/η(3/2) τ/s = .85 τ/s at
    # leading order, of which twice is allowed; what is left of ∂L/∂S + ∂L/∂D is τ/s of either
    y, lambda_s = 10 ** rng.uniform(3, 6), 10 ** rng.uniform(-1, 1)
    w = np.array([[np.sqrt(y * tau / lambda_s)]])
    still = MatrixSystem(np.array([lambda_s]), np.array([lambda_s]))
    rate = 2 * lambda_s * float((w * one_negative_field(0.0, w, still, tau))[0, 0])
    t = y * tau / float(noiseless(1.0, lambda_s, tau))
    t = t**1.5  # s ~ t^{2/3}
    parts.append((abs(rate / (2 * y * tau / (3 * t)) - 1), 1.7 / y + 8 * EPS * y))

    # two points ±m: dy (1 + e^y)/y = 4m²/τ dt, from L = ½ log 2 + ½ log(1 + e^{−y})
    m, start, t = rng.uniform(0.5, 2.0), rng.uniform(0.1, 0.5) * np.sqrt(tau), rng.uniform(1.0, 30.0) * tau
    end = float(separated(t, m, start, tau))
    began, ended = (2 * m**2 * w**2 / tau for w in (start, end))
    x, weight = np.polynomial.legendre.leggauss(
        120
    )  # of 1 + e^y over log y, which is entire: exact to rounding
    half = np.log(ended / began) / 2
    spent = half * (weight @ (1 + np.exp(np.sqrt(began * ended) * np.exp(half * x))))
    # a rounding of y moves the integral by (1 + e^y) eps, and e^y by y eps of itself
    rounding = EPS * (spent + (1 + ended) * (1 + np.exp(ended)))
    parts.append((abs(spent - 4 * m**2 * t / tau), 64 * rounding))
    return worst(*parts)


def prove_one_negative() -> bool:
    """R114: β of the product of A = f₊ − f₋ and B = ½(f₊ + f₋) − f is 1/(2τ) at s = 2rτ/((1 − r)(3 + r)).

    At z and −z the integrand of E σ(z/τ) z adds up to a multiple of sinh((1/2τ − β) z)/cosh(z/2τ).
    """
    import sympy as sp

    r, tau, z, beta = sp.symbols("r tau z beta", positive=True)
    s, d = sp.symbols("s d", positive=True)
    covariance = sp.Matrix([[s, d, 0], [d, s, 0], [0, 0, s]])  # of f, f₊, f₋
    A, B = sp.Matrix([0, 1, -1]), sp.Matrix([-1, sp.Rational(1, 2), sp.Rational(1, 2)])
    a, b, c = ((x.T * covariance * y)[0] for x, y in ((A, A), (B, B), (A, B)))
    rate = sp.simplify(-c / (a * b - c**2)).subs(d, r * s)
    root = one_negative_root(r, tau)
    folded = sp.exp(-beta * z) / (1 + sp.exp(-z / tau)) - sp.exp(beta * z) / (1 + sp.exp(z / tau))
    shape = sp.sinh((1 / (2 * tau) - beta) * z) / sp.cosh(z / (2 * tau))
    return bool(
        sp.simplify(rate.subs(s, root) - 1 / (2 * tau)) == 0
        and sp.simplify((folded - shape).rewrite(sp.exp)) == 0
    )


def one_negative_root(r: Any, tau: Any) -> Any:
    """Norm 2rτ/((1 − r)(3 + r)) at which one negative is at rest, of numbers or symbols."""
    return 2 * r * tau / ((1 - r) * (3 + r))


RESULTS: tuple[Result, ...] = (
    Result(
        id="R113",
        title="the simple loss learns one direction",
        statement=(
            "L = r₊ − r₋ gives W(t) = W(0) e^{cVt}, V = Σd, c = 2 through all branches, 1 through one. Every row turns "
            "to the top eigenvector of V: tan θ(t) <= e^{−c(λ1 − λ2)t} tan θ(0), equal iff only mode 2 is there; step "
            "ε gives (1 + cελ2)/(1 + cελ1) at most. The ratio of singular values falls like e^{−c(λ1 − λ2)t}: rank one."
        ),
        source="DD theorem 3 and 4.1",
        hypotheses="Linear encoder, centred views, λ1 > λ2, a start with a component along the top eigenvector.",
        as_printed=AsPrinted.CORRECTED,
        code="dynamics.exact.contrastive.simple_encoder",
        correction="E15: SimCLR is said to learn the principal eigenmodes; the simple loss learns the first alone.",
        trial=simple_contrast,
    ),
    Result(
        id="R114",
        title="saturation with one negative",
        statement=(
            "InfoNCE with one negative rests along a mode of ratio r at w Σs wᵀ = 2rτ/((1 − r)(3 + r)) alone, rows on "
            "distinct modes independently, and L is convex in WᵀW for any number of negatives. At r = 1 nothing "
            "saturates: ‖w‖ ~ t^{1/3} for Gaussian data, ‖w‖ ~ √(τ log t/2m²) for two points ±m."
        ),
        source="new; DD 4.1 says that growth slows down",
        hypotheses="Linear encoder; Gaussian views for the norms; ∂L/∂D invertible, which holds at every point tried.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.infonce.one_negative_saturation",
        trial=one_negative_at_rest,
        proof=prove_one_negative,
    ),
)
"""R113 and R114."""
