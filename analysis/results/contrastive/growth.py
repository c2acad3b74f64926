"""Results on the growth of weights under contrastive losses: R108, R109."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, refuted, worst
from dynamics.exact.norm_growth import blow_up_bound, norm_growth_bound
from dynamics.exact.two_layers import blow_up_time
from dynamics.integration.blow_up import integrate_to_blow_up

# --- rectified networks, their contrastive losses and gradients ---------------------------------------------


class _Layers(NamedTuple):
    """Weights of up to four layers; those beyond the depth are empty."""

    first: Any
    second: Any = np.zeros((0, 0))
    third: Any = np.zeros((0, 0))
    fourth: Any = np.zeros((0, 0))


class _Batch(NamedTuple):
    """Inputs (n, d), and anchors (B,), positives (B,) and negatives (B, H) among them."""

    inputs: np.ndarray
    anchors: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray


def _weights(layers: _Layers) -> list[np.ndarray]:
    return [W for W in layers if W.size]


def _draw_layers(rng: np.random.Generator, d: int, depth: int, *, spread: float = 0.5) -> _Layers:
    widths = [d, *rng.integers(2, 6, depth)]
    sizes = np.exp(rng.normal(0.0, spread, depth))
    return _Layers(
        *(
            size * rng.standard_normal((m, n)) / np.sqrt(n)
            for size, n, m in zip(sizes, widths[:-1], widths[1:], strict=True)
        )
    )


def _outputs(layers: _Layers, x: np.ndarray, leak: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Inputs of each layer, and the outputs of the last, which is rectified like the others."""
    inputs = [x]
    for W in _weights(layers):
        pre = inputs[-1] @ W.T
        inputs.append(np.where(pre > 0, pre, leak * pre))
    return inputs[:-1], inputs[-1]


def _pulled_back(layers: _Layers, x: np.ndarray, leak: float, df: np.ndarray) -> _Layers:
    """Gradient by the weights, from that by the outputs."""
    inputs, f = _outputs(layers, x, leak)
    gradients, after = [], f
    for W, h in zip(_weights(layers)[::-1], inputs[::-1], strict=True):
        df = np.where(after > 0, df, leak * df)
        gradients.append(df.T @ h)
        df, after = df @ W, h
    return _Layers(*gradients[::-1])


def _distances(f: np.ndarray, batch: _Batch) -> tuple[np.ndarray, np.ndarray]:
    """r₊ (B,) and r_k (B, H), halves of squared distances."""
    anchor = f[batch.anchors]
    positive = ((anchor - f[batch.positives]) ** 2).sum(axis=-1) / 2
    return positive, ((anchor[:, None] - f[batch.negatives]) ** 2).sum(axis=-1) / 2


def _slopes(loss: str, r_pos: np.ndarray, r_neg: np.ndarray, tau: float, margin: float) -> tuple[Any, Any]:
    """∂L/∂r₊ and ∂L/∂r_k of InfoNCE, or of the soft triplet loss."""
    gaps = (r_pos[:, None] - r_neg + (margin if loss == "triplet" else 0.0)) / tau
    top = np.maximum(gaps.max(axis=1, keepdims=True), 0.0)
    odds = np.exp(gaps - top)
    weights = odds / (np.exp(-top) + odds.sum(axis=1, keepdims=True)) / (tau if loss == "infonce" else 1.0)
    return weights.sum(axis=1), -weights


def _gradient(layers: _Layers, batch: _Batch, leak: float, loss: str, tau: float, margin: float) -> _Layers:
    """∂L/∂W_l through all branches, of the mean over the batch."""
    _, f = _outputs(layers, batch.inputs, leak)
    a, b = _slopes(loss, *_distances(f, batch), tau, margin)
    df, anchor = np.zeros_like(f), f[batch.anchors]
    toward = a[:, None] * (anchor - f[batch.positives])
    away = b[..., None] * (anchor[:, None] - f[batch.negatives])
    np.add.at(df, batch.anchors, toward + away.sum(axis=1))
    np.add.at(df, batch.positives, -toward)
    np.add.at(df, batch.negatives, -away)
    return _pulled_back(layers, batch.inputs, leak, df / len(batch.anchors))


# --- R108 ---------------------------------------------------------------------------------------------------


def _ordered_pair(tau: float, negatives: int, margin: float, loss: str) -> tuple[_Layers, _Batch]:
    """A network and a batch that attain the bound: r₊ = 0, and all r_k − r0 at τ(1 + W0(·))."""
    bound = norm_growth_bound("infonce", negatives=negatives)
    if loss == "triplet":
        bound = norm_growth_bound("triplet", temperature=tau, margin=margin) / tau
    # the maximiser of δ H e^{−δ}/(1 + H e^{−δ}) is 1 more than its maximum, which is a quarter of the bound
    far = math.sqrt(2 * tau * (1 + bound / 4))
    inputs = np.array([[1.0], [1.0 + far]])
    batch = _Batch(inputs, np.zeros(1, int), np.zeros(1, int), np.ones((1, negatives), int))
    return _Layers(np.array([[2.0]]), np.array([[0.5]])), batch


def growth_bounds(
    rng: np.random.Generator,
    *,
    bound: Callable[..., float] = norm_growth_bound,
    gradient: Callable[..., Any] = _gradient,
) -> Measurement:
    """R108: equal rates of all layers, the bound, a network that attains it, and conserved rows."""
    depth, H, d = int(rng.integers(1, 5)), int(rng.integers(1, 6)), 3
    loss = ("infonce", "triplet")[rng.integers(2)]
    H = 1 if loss == "triplet" else H
    tau, margin, leak = 10 ** rng.uniform(-2, 1), rng.uniform(0, 2), float(rng.choice([0.0, 0.3]))
    layers = _draw_layers(rng, d, depth)
    anchors, positives = rng.integers(0, 12, (2, 20))
    batch = _Batch(rng.standard_normal((12, d)), anchors, positives, rng.integers(0, 12, (20, H)))
    options = {"temperature": tau, "margin": margin} if loss == "triplet" else {"negatives": H}
    most = bound(loss, **options)

    def rates(layers: _Layers, batch: _Batch) -> tuple[list[float], float]:
        """D‖W_l‖²/dt of every layer, and the size of the sums that they are."""
        products = [
            -2 * W * g
            for W, g in zip(
                _weights(layers), _weights(gradient(layers, batch, leak, loss, tau, margin)), strict=True
            )
        ]
        return [float(p.sum()) for p in products], max(float(np.abs(p).sum()) for p in products)

    found, size = rates(layers, batch)
    r_pos, r_neg = _distances(_outputs(layers, batch.inputs, leak)[1], batch)
    a, b = _slopes(loss, r_pos, r_neg, tau, margin)
    stated = float(np.mean(-4 * (a * r_pos + (b * r_neg).sum(axis=1))))
    # sums of 20 (1 + H) pairs of outputs whose differences are taken, depth products each, relative to the terms
    _, f = _outputs(layers, batch.inputs, leak)
    terms = size + float(np.mean(a) * np.max(f**2) * 4)
    # errors of r, relative to f², move the exponents by as much over τ
    rounding = (
        EPS * (2 * depth + 4) * terms * (1 + np.max(f**2) / tau) or EPS
    )  # a dead network has no outputs
    parts = [(abs(rate - stated), rounding) for rate in found]
    parts.append((max(stated - most, 0.0), rounding))
    gradients = _weights(gradient(layers, batch, leak, loss, tau, margin))
    for (W, g), (V, h) in zip(
        zip(_weights(layers)[:-1], gradients[:-1], strict=True),
        zip(_weights(layers)[1:], gradients[1:], strict=True),
        strict=True,
    ):
        parts.append((np.abs((W * g).sum(axis=1) - (V * h).sum(axis=0)), rounding))
    # the bound is attained: two layers that act as the identity
    attained, _ = rates(*_ordered_pair(tau, H, margin, loss))
    sharp = norm_growth_bound(loss, **options)
    # r_k is a difference of numbers 1 and 1 + √(2τ…), squared; at a maximum it moves nothing at first order but r_k ξ_k
    parts += [(abs(rate - most), 16 * EPS * (1 + 1 / math.sqrt(tau)) * (1 + sharp)) for rate in attained]
    return worst(*parts)


def prove_growth_bound() -> bool:
    """R108: δ H e^{−δ}/(1 + H e^{−δ}) is largest at δ = 1 + W0(H/e), where it is W0(H/e).

    For given Σ_k e^{−δ_k} the sum of the p_k δ_k is largest at equal δ_k, by the entropy; and for the triplet loss with
    H = e^{r0/τ}.
    """
    import sympy as sp

    w, delta = sp.symbols("w delta", positive=True)
    H = w * sp.exp(w + 1)  # w e^w = H/e, so w = W0(H/e)
    share = delta * H * sp.exp(-delta) / (1 + H * sp.exp(-delta))
    slope = sp.simplify(sp.diff(share, delta).subs(delta, 1 + w))
    bend = sp.simplify(sp.diff(share, delta, 2).subs(delta, 1 + w) * (1 + w))
    value = sp.simplify(share.subs(delta, 1 + w) - w)
    return bool(slope == 0 and value == 0 and sp.simplify(bend + w) == 0)


# --- R109 ---------------------------------------------------------------------------------------------------


def _mean_outputs(layers: _Layers, views: np.ndarray, leak: float) -> np.ndarray:
    """Mean output of each source, shape (K, n); `views` (K, n_views, d)."""
    K, n, d = views.shape
    _, f = _outputs(layers, views.reshape(K * n, d), leak)
    return f.reshape(K, n, -1).mean(axis=1)


def _variance(layers: _Layers, prior: np.ndarray, views: np.ndarray, leak: float) -> float:
    f = _mean_outputs(layers, views, leak)
    return float(prior @ ((f - prior @ f) ** 2).sum(axis=1))


def _ascent(layers: _Layers, prior: np.ndarray, views: np.ndarray, leak: float) -> _Layers:
    """∇ tr V[f̄], that is −∇L of the simple loss through all branches (R105)."""
    K, n, d = views.shape
    f = _mean_outputs(layers, views, leak)
    df = np.repeat(2 * prior[:, None] * (f - prior @ f) / n, n, axis=0)
    return _pulled_back(layers, views.reshape(K * n, d), leak, df)


def _explodes_before(latest: float, layers: _Layers, ascent: Callable[[_Layers], _Layers]) -> bool:
    """Whether the weights grow a hundredfold before `latest`.

    By Euler's steps of a fiftieth of the weights: on views that are points the field jumps at kinks, along which they
    zigzag where a solver of higher order would not get on. They lag behind a solution that accelerates.
    """
    t, size = 0.0, _size(layers)
    for _ in range(20000):
        now = _size(layers)
        if now > 100 * size or t > latest:
            break
        by = ascent(layers)
        step = 0.02 * now / _size(by)
        layers, t = _Layers(*(W + step * g for W, g in zip(layers, by, strict=True))), t + step
    return t <= latest and now > 100 * size


def _size(layers: _Layers) -> float:
    return math.sqrt(sum(float(np.sum(W**2)) for W in layers))


def explosion(
    rng: np.random.Generator,
    *,
    bound: Callable[[Any, float], float] = blow_up_bound,
    ascent: Callable[..., Any] = _ascent,
) -> Measurement:
    """R109: random networks grow a hundredfold before the bound; chains of one node each at it; one layer never."""
    prior, leak = rng.dirichlet(np.full(3, 3.0)), float(rng.choice([0.0, 0.3]))
    parts: list[tuple[Any, Any]] = []
    depth = int(rng.integers(2, 4))
    views = rng.standard_normal((3, 2, 3)) + 2 * rng.standard_normal((3, 1, 3))
    layers = _draw_layers(rng, 3, depth)
    variance = _variance(layers, prior, views, leak)
    if variance > 0:
        latest = bound([np.sum(W**2) for W in _weights(layers)], variance)
        parts.append(
            refuted(unless=_explodes_before(latest, layers, lambda y: ascent(y, prior, views, leak)))
        )
    # a chain of one node per layer, whose input varies along one direction only, attains it
    depth = int(rng.integers(2, 5))
    a, gaps = np.exp(rng.normal(0.0, 0.5, depth)), rng.uniform(0.5, 2.0, (3, 1, 1))
    chain = _Layers(*a[:, None, None])
    latest = bound(a**2, _variance(chain, prior, gaps, 1.0))
    run = integrate_to_blow_up(lambda t, y: ascent(y, prior, gaps, 1.0), chain, t_end=2 * latest)
    # the run's estimate of its error, several times over as it is none of a bound, and the accuracy of the quadrature
    parts.append((abs(run.t - latest), 4 * run.error + 1e-12 * latest))
    # and so does a diagonal node of two layers on an eigenvector
    w1, w2, rate = *np.exp(rng.normal(0.0, 2.0, 2)), rng.uniform(0.5, 2.0)
    exact = blow_up_time([w1], w2, [rate], branches="all")
    parts.append((abs(bound([w1**2, w2**2], w2**2 * rate * w1**2) - exact), 2e-12 * exact))
    parts.append(refuted(unless=math.isinf(bound([w1], 1.0))))
    return worst(*parts)


def prove_explosion() -> bool:
    """R109: v ≥ v0 ΠN_l/N_l(0) solves the inequality with equality, for two layers the integral is the logarithm."""
    import sympy as sp

    v0, a, b, y = sp.symbols("v0 a b y", positive=True)
    # along Ṅ_l = 4v: with N_l = N_l(0) + y, dv/dy = v Σ 1/N_l has the solution v0 Π(1 + y/N_l(0))
    v = v0 * (1 + y / a) * (1 + y / b)
    balance = sp.simplify(sp.diff(v, y) - v * (1 / (a + y) + 1 / (b + y)))
    closed = a * b / (4 * v0) * sp.log((b + y) / (a + y)) / (b - a)
    integrand = sp.simplify(sp.diff(closed, y) + 1 / (4 * v))
    at_start = sp.simplify(closed.subs(y, 0) - a * b / (4 * v0) * sp.log(b / a) / (b - a))
    return bool(balance == 0 and integrand == 0 and at_start == 0 and sp.limit(closed, y, sp.oo) == 0)


RESULTS: tuple[Result, ...] = (
    Result(
        id="R108",
        title="how fast weights can grow",
        statement=(
            "d‖W_l‖²/dt = −4 E Σ (∂L/∂r) r is the same for every layer, at most 4 W0(H/e) under InfoNCE whatever τ, "
            "depth, width, data and augmentation, and at most 4τ W0(exp(r0/τ − 1)) under the triplet loss: neither can "
            "blow up in finite time. ‖row j of W_l‖² − ‖column j of W_(l+1)‖² is conserved."
        ),
        source="new",
        hypotheses="No biases; linear or (leaky) rectified units; no normalisation; gradients through all branches.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.norm_growth.norm_growth_bound",
        trial=growth_bounds,
        proof=prove_growth_bound,
    ),
    Result(
        id="R109",
        title="explosion under the simple loss",
        statement=(
            "Networks of L >= 2 layers blow up in finite time under the simple contrastive loss, at T* <= "
            "∫_0^∞ dy/(4 v0 Π_l (1 + y/N_l)), N_l = ‖W_l(0)‖², v0 = tr V[f̄] > 0; for two layers that is "
            "(N1 N2/4v0) ln(N2/N1)/(N2 − N1), for equal N it is N/(4 v0 (L − 1)). One layer grows exponentially."
        ),
        source="new; DD Figure 7 shows it",
        hypotheses="No biases; linear or (leaky) rectified units; no normalisation; gradients through all branches.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.norm_growth.blow_up_bound",
        trial=explosion,
        proof=prove_explosion,
    ),
)
"""R108, R109."""
