"""Results on other objectives than the flow's own: R23, R24, R25, R26, R27, R28, R30."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, symbols
from dynamics.exact import EmaGrowth, ema_growth
from dynamics.fields import VectorField, full_field
from dynamics.integrate import Status, integrate
from dynamics.mode_fields import full_mode_field
from dynamics.moments import Moments, byol_prime_moments, raft_moments
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem, ModeSystem

# --- the objectives, sample by sample: z1, z2 are predictions of the two views, target2 the target's view 2 -------

Loss = Callable[[Any, Any, Any, Any, Any], Any]


def _squared(a: Any, b: Any) -> Any:
    return ((a - b) ** 2).sum(axis=-1)


def byol_loss(z1: Any, target2: Any) -> Any:
    """BYOL, ‖z1 − z̄2‖² (RAFT 4, BYOL)."""
    return _squared(z1, target2)


def byol_prime_loss(z1: Any, z2: Any, target2: Any, alpha: Any, beta: Any) -> Any:
    """BYOL′, α‖z1 − z2‖² + β‖z2 − z̄2‖² (RAFT 7)."""
    return alpha * _squared(z1, z2) + beta * _squared(z2, target2)


def raft_loss(z1: Any, z2: Any, target2: Any, alpha: Any, beta: Any) -> Any:
    """RAFT, α‖z1 − z2‖² − β‖z2 − z̄2‖² (RAFT 9)."""
    return alpha * _squared(z1, z2) - beta * _squared(z2, target2)


def tangential_loss(z: Any, target: Any, inner: Any) -> Any:
    """‖z̄ − λz‖²/λ with λ = sg⟨z, z̄⟩ given as `inner` (RAFT, remark to theorem 5.1)."""
    return ((target - inner * z) ** 2).sum(axis=-1) / inner


def simple_contrastive_loss(positive: Any, negative: Any) -> Any:
    """L_simp = E[r₊] − E[r₋], r = ½‖f1 − f2‖², from f1 − f2 of positive and of negative pairs (DD theorem 3)."""
    return (positive**2).sum(axis=-1).mean() / 2 - (negative**2).sum(axis=-1).mean() / 2


def _slope(loss: Callable[[np.ndarray], Any], at: np.ndarray) -> np.ndarray:
    """Gradient of a quadratic, for which central differences of any width are exact."""
    slope = np.empty(at.shape)
    for index in np.ndindex(at.shape):
        step = np.zeros(at.shape)
        step[index] = 1.0
        slope[index] = (loss(at + step) - loss(at - step)) / 2
    return slope


def _population(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, Moments]:
    """Both views of every equally likely pair, (N, n) each, of samples with three views, and their moments."""
    views = rng.standard_normal((2 * n, 1, n)) + 0.6 * rng.standard_normal((2 * n, 3, n))
    x1, x2 = (np.repeat(views, 3, axis=1).reshape(-1, n), np.tile(views, (1, 3, 1)).reshape(-1, n))
    mean = views.mean(axis=1)
    sigma_s = np.einsum("nai,naj->ij", views, views) / (len(views) * 3)
    return x1, x2, Moments.from_matrices(sigma_s, mean.T @ mean / len(mean))


# --- R23 ----------------------------------------------------------------------------------------------------


def _factor(alpha: Any, beta: Any) -> Any:
    return 1 / alpha + 1 / beta


def upper_bound(
    rng: np.random.Generator,
    *,
    byol: Callable[[Any, Any], Any] = byol_loss,
    byol_prime: Loss = byol_prime_loss,
    factor: Callable[[Any, Any], Any] = _factor,
) -> Measurement:
    """R23: the bound at random outputs, one by one, and its tightness for residuals in the ratio β : α."""
    alpha, beta = rng.uniform(0.1, 3.0, 2)
    z1, z2, target = rng.standard_normal((3, 64, 5))
    bound = factor(alpha, beta) * byol_prime(z1, z2, target, alpha, beta)
    excess = np.max((byol(z1, target) - bound) / bound)
    parallel = rng.standard_normal((64, 5))
    z1, target = z2 + beta * parallel, z2 - alpha * parallel
    bound = factor(alpha, beta) * byol_prime(z1, z2, target, alpha, beta)
    slack = np.max(np.abs(byol(z1, target) - bound) / bound)
    # squared differences of numbers of size 1 and α, β, over a bound that is at least their like: α, β >= 0.1
    # leave z1 − z2 within a tenth of the size of z, so rounding counts ten times, squared twice
    return Measurement(float(np.max([excess, slack, 0.0])), 400 * EPS)


def prove_upper_bound() -> bool:
    """R23: (1/α + 1/β)(α u² + β v²) − (u + v)² = (α u − β v)²/(α β), for each coordinate."""
    import sympy as sp

    alpha, beta = sp.symbols("alpha beta", positive=True)
    z1, z2, target = (np.array([symbol], dtype=object) for symbol in sp.symbols("z1 z2 target", real=True))
    u, v = (z1 - z2)[0], (z2 - target)[0]
    bound = _factor(alpha, beta) * byol_prime_loss(z1, z2, target, alpha, beta)
    gap = bound - byol_loss(z1, target) - (alpha * u - beta * v) ** 2 / (alpha * beta)
    return bool(sp.simplify(gap) == 0)


# --- R24 and R26 --------------------------------------------------------------------------------------------


def _same_flow(
    rng: np.random.Generator,
    loss: Loss,
    moments_of: Callable[[Any, float, float], tuple[np.ndarray, np.ndarray]],
    field: VectorField,
) -> tuple[float, float]:
    """Compare −½ gradient of a squared-error objective with the flow of its moments: relative error, tolerance."""
    n1, n2 = 3, 2
    x1, x2, moments = _population(rng, n1)
    alpha, beta = rng.uniform(0.2, 2.0, 2)
    W, P, Th = rng.standard_normal((n2, n1)), rng.standard_normal((n2, n2)), rng.standard_normal((n2, n1))

    def objective(W: np.ndarray, P: np.ndarray) -> float:
        A = P @ W
        return float(loss(x1 @ A.T, x2 @ A.T, x2 @ Th.T, alpha, beta).mean())

    slopes = _slope(lambda W: objective(W, P), W), _slope(lambda P: objective(W, P), P)
    system = MatrixSystem(*moments_of(moments, alpha, beta))
    moved = field(0.0, system.state(W, P, Th), system)
    error = max(float(np.max(np.abs(a + b / 2))) for a, b in zip(moved[:2], slopes, strict=True))
    # differences of means of N terms over steps of size 1: N eps of the objective at the stepped states
    size = 4 * (1 + np.linalg.norm(P)) ** 2 * (1 + np.linalg.norm(W)) ** 2 + np.linalg.norm(Th) ** 2
    tolerance = len(x1) * EPS * (2 * alpha + beta) * size * np.trace(moments.sigma_s)
    return error, float(tolerance)


def _prove_same_flow(moments_of: Callable[[Any, Any, Any], tuple[Any, Any]], sign: int) -> bool:
    """Expand −½ ∂/∂(W, P) of 2α tr A(Σs − Σd)Aᵀ ± β tr (A − Θ)Σs(A − Θ)ᵀ, A = P W, minus the flow."""
    import sympy as sp

    alpha, beta = sp.symbols("alpha beta", positive=True)
    sigma_s, sigma_d = ((X + X.T) / 2 for X in (symbols("s", 2, 2), symbols("d", 2, 2)))
    W, P, Th = (symbols(letter, 2, 2) for letter in "wpt")
    A = P @ W
    align = 2 * alpha * np.trace(A @ (sigma_s - sigma_d) @ A.T)
    objective = align + sign * beta * np.trace((A - Th) @ sigma_s @ (A - Th).T)
    s, d = moments_of(SimpleNamespace(sigma_s=sigma_s, sigma_d=sigma_d), alpha, beta)
    system: Any = SimpleNamespace(
        sigma_s=s, sigma_d=d, tau_online=1, tau_predictor=1, tau_target=1, weight_decay=0
    )
    dW, dP, _ = full_field(0, MatrixState(W, P, Th), system)
    pairs = [*zip(dW.flat, W.flat, strict=True), *zip(dP.flat, P.flat, strict=True)]
    return all(sp.expand(moved + sp.diff(objective, x) / 2) == 0 for moved, x in pairs)


def byol_prime_flow(
    rng: np.random.Generator,
    *,
    loss: Loss = byol_prime_loss,
    moments_of: Callable[[Any, float, float], tuple[np.ndarray, np.ndarray]] = byol_prime_moments,
    field: VectorField = full_field,
) -> Measurement:
    """R24: gradient of BYOL′ by differences against the flow with its moments, and the ratios r′."""
    error, tolerance = _same_flow(rng, loss, moments_of, field)
    r, (alpha, beta) = np.sort(rng.uniform(0, 1, 5)), rng.uniform(0.2, 2.0, 2)
    lambda_s, lambda_d = moments_of(Moments.from_eigenvalues(np.ones(5), r), alpha, beta)
    ratios = np.diag(lambda_d) / np.diag(lambda_s)
    off = np.max(np.abs(ratios - beta / (beta + 2 * alpha * (1 - r))))
    unordered = float(not np.all(np.diff(ratios) > 0))
    return Measurement(float(np.max([error, off, unordered])), tolerance + 8 * EPS)


def prove_byol_prime_flow() -> bool:
    """R24 for 2×2 matrices."""
    return _prove_same_flow(byol_prime_moments, +1)


def raft_flow(
    rng: np.random.Generator,
    *,
    loss: Loss = raft_loss,
    moments_of: Callable[[Any, float, float], tuple[np.ndarray, np.ndarray]] = raft_moments,
    field: VectorField = full_field,
) -> Measurement:
    """R26: gradient of RAFT by differences against the flow with its moments, and a mode that runs away."""
    error, tolerance = _same_flow(rng, loss, moments_of, field)
    r, beta = rng.uniform(0.2, 0.8), rng.uniform(0.5, 2.0)
    alpha = rng.uniform(0.2, 0.8) * beta / (2 * (1 - r))
    lambda_s, lambda_d = moments_of(Moments.from_eigenvalues(1.0, r), alpha, beta)
    system = ModeSystem(lambda_s[0], lambda_d[0])
    # above its ratio, where the predictor is pushed up for ever
    run = integrate(system.state(1.0, 2 * system.ratio, 1.0), system, full_mode_field)
    return Measurement(error if run.status is Status.DIVERGED else np.inf, tolerance)


def prove_raft_flow() -> bool:
    """R26 for 2×2 matrices."""
    return _prove_same_flow(raft_moments, -1)


# --- R25 ----------------------------------------------------------------------------------------------------

Weights = dict[str, Any]


def _unit(z: Any) -> Any:
    return z / (z**2).sum(axis=-1, keepdims=True) ** 0.5


def _predicted(w: Weights, x: Any) -> Any:
    """Two-layer encoder and two-layer predictor; the predictor's last layer is `last` and `bias`."""
    import jax.numpy as jnp

    features = jnp.tanh(x @ w["encoder"].T) @ w["projector"].T
    return jnp.tanh(features @ w["hidden"].T) @ w["last"].T + w["bias"]


def _encoded(w: Weights, x: np.ndarray) -> np.ndarray:
    return np.tanh(x @ w["encoder"].T) @ w["projector"].T


def _mirrored(w: Weights) -> Weights:
    """W → −W: the predictor's last layer and its bias negated."""
    return w | {"last": -w["last"], "bias": -w["bias"]}


def _largest_difference(a: Weights, b: Weights) -> float:
    return float(np.max([np.max(np.abs(a[name] - b[name])) for name in a]))


class _Adam:
    """Adam with decoupled weight decay; with `root` False, momentum."""

    def __init__(self, w: Weights, *, rate: float, decay: float, root: bool):
        self.rate, self.decay, self.root, self.t = rate, decay, root, 0
        self.m, self.v = ({name: 0.0 * value for name, value in w.items()} for _ in range(2))

    def step(self, w: Weights, g: Weights) -> Weights:
        self.t += 1
        self.m = {k: 0.9 * self.m[k] + 0.1 * g[k] for k in w}
        self.v = {k: 0.99 * self.v[k] + 0.01 * g[k] ** 2 for k in w}
        m_scale, v_scale = 1 - 0.9**self.t, 1 - 0.99**self.t
        size = {k: np.sqrt(self.v[k] / v_scale) + ADAM_EPSILON if self.root else 1.0 for k in w}
        return {k: w[k] - self.rate * (self.m[k] / m_scale / size[k] + self.decay * w[k]) for k in w}


@lru_cache(maxsize=8)
def _compiled_slope(loss: Loss, normalise: Callable[[Any], Any]) -> Callable[..., tuple[Any, Any]]:
    """(w, target features, views, α, β) -> mean loss of a batch and its gradient; compiled once for all trials."""
    import jax

    def objective(w: Weights, target: Any, x: Any, alpha: Any, beta: Any) -> Any:
        z1, z2 = (normalise(_predicted(w, view)) for view in x)
        return loss(z1, z2, normalise(target), alpha, beta).mean()

    return jax.jit(jax.value_and_grad(objective))


ADAM_EPSILON = 1e-3
"""Keeps rounding of a gradient that nearly vanishes from being blown up: by 1/ε at most."""


def raft_is_byol_prime(
    rng: np.random.Generator,
    *,
    byol_prime: Loss = byol_prime_loss,
    raft: Loss = raft_loss,
    normalise: Callable[[Any], Any] = _unit,
) -> Measurement:
    """R25: values, gradients by autodiff, and a few steps of training, of RAFT and of BYOL′ at −W."""
    import jax

    n_input, n, n_steps, rate = 4, 3, 3, 0.05
    alpha, beta = rng.uniform(0.2, 2.0, 2)
    shapes = {"encoder": (5, n_input), "projector": (n, 5), "hidden": (5, n), "last": (n, 5), "bias": (n,)}
    start = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    decay, root, gamma = rng.uniform(0.0, 0.1), bool(rng.integers(2)), rng.uniform(0.5, 0.99)
    batches = rng.standard_normal((n_steps, 2, 6, n_input))

    def evaluated(loss: Loss) -> Callable[[Weights, Weights, np.ndarray], tuple[float, Weights]]:
        slope = _compiled_slope(loss, normalise)

        def evaluate(w: Weights, target: Weights, x: np.ndarray) -> tuple[float, Weights]:
            value, gradient = slope(w, _encoded(target, x[1]), x, alpha, beta)
            return float(value), {name: np.asarray(part) for name, part in gradient.items()}

        return evaluate

    errors = []
    raft_slope, byol_prime_slope = evaluated(raft), evaluated(byol_prime)
    with jax.enable_x64(True):
        w, mirror = dict(start), _mirrored(start)
        target, mirror_target = dict(start), dict(start)
        optimiser, mirror_optimiser = (_Adam(start, rate=rate, decay=decay, root=root) for _ in range(2))
        for x in batches:
            value, g = raft_slope(w, target, x)
            mirror_value, mirror_g = byol_prime_slope(mirror, mirror_target, x)
            errors += [abs(value - (mirror_value - 4 * beta)), _largest_difference(g, _mirrored(mirror_g))]
            w, mirror = optimiser.step(w, g), mirror_optimiser.step(mirror, mirror_g)
            target, mirror_target = (
                {k: gamma * ema[k] + (1 - gamma) * now[k] for k in ema}
                for ema, now in ((target, w), (mirror_target, mirror))
            )
            errors.append(_largest_difference(w, _mirrored(mirror)))
    # gradients of size below 100 (α + β) err by as many eps a few dozen times; Adam blows that up by 1/ε a step
    rounding = 32 * EPS * 100 * (alpha + beta)
    return Measurement(float(np.max(errors)), float(rounding * (1 + n_steps * rate / ADAM_EPSILON)))


def prove_raft_is_byol_prime() -> bool:
    """R25 in the plane: unit outputs at any angles, and z → −z for W → −W."""
    import sympy as sp

    alpha, beta, *angles = sp.symbols("alpha beta a b c", real=True)
    z1, z2, target = (np.array([sp.cos(x), sp.sin(x)], dtype=object) for x in angles)
    raft = raft_loss(z1, z2, target, alpha, beta)
    return bool(sp.simplify(raft - byol_prime_loss(-z1, -z2, target, alpha, beta) + 4 * beta) == 0)


# --- R27 ----------------------------------------------------------------------------------------------------


def tangential_gradient(
    rng: np.random.Generator, *, loss: Callable[[Any, Any, Any], Any] = tangential_loss
) -> Measurement:
    """R27: gradient by differences against −2(z̄ − ⟨z, z̄⟩z), and that it is tangential."""
    z, target = (_unit(rng.standard_normal(5)) for _ in range(2))
    target = _unit(target + (0.2 + abs(z @ target) - z @ target) * z)  # ⟨z, z̄⟩ > 0
    inner = z @ target
    slope = _slope(lambda z: loss(z, target, inner), z)
    error = np.max([np.max(np.abs(slope + 2 * (target - inner * z))), abs(slope @ z)])
    # differences over steps of size 1 of ‖z̄ − λz‖²/λ, that is of numbers up to (1 + 2λ)²/λ
    return Measurement(float(error), float(16 * EPS * (1 + 2 * inner) ** 2 / inner))


def prove_tangential_gradient() -> bool:
    """R27: ∂/∂z of the loss with λ constant, at any z and z̄ of the plane."""
    import sympy as sp

    z, target = (np.array(sp.symbols(f"{letter}0:2", real=True), dtype=object) for letter in "zt")
    inner = sp.symbols("lambda", nonzero=True)
    loss = tangential_loss(z, target, inner)
    return all(sp.expand(sp.diff(loss, z[i]) + 2 * (target[i] - inner * z[i])) == 0 for i in range(2))


# --- R28 ----------------------------------------------------------------------------------------------------


def _ema_step(w: Any, ema: Any, alpha: Any, eta: Any, gain: Any) -> tuple[Any, Any]:
    """w(t+1) and w_ema(t+1) of the recurrence that grows."""
    return w + alpha * (-w + (1 + gain) * ema), (1 - eta) * ema + eta * w


def ema_recurrence(
    rng: np.random.Generator,
    *,
    step: Callable[..., tuple[Any, Any]] = _ema_step,
    growth: Callable[[Any, Any, Any], EmaGrowth] = ema_growth,
) -> Measurement:
    """R28: growth of the recurrence, run for 300 steps, against 1 + κ, and κ against its bound."""
    n_steps = 300
    alpha, eta = rng.uniform(0.1, 0.8, 2)
    gain = rng.uniform(0.1, 3.0)
    rate, bound = growth(alpha, eta, gain)
    w, ema = 1.0, 0.0
    for _ in range(n_steps):
        w, ema = step(w, ema, alpha, eta, gain)
    grown = step(w, ema, alpha, eta, gain)[0] / w
    # the other root is −(α + η) − κ; what is left of it, and a few eps of rounding a step
    other = abs(1 - alpha - eta - rate) / (1 + rate)
    tolerance = 8 * EPS * (1 + rate) / (alpha * eta) + 100 * other**n_steps
    excess = max(float(rate - bound), 0.0)
    return Measurement(float(np.max([abs(grown - 1 - rate), excess])), float(tolerance))


def prove_ema_recurrence() -> bool:
    """R28: 1 + κ is an eigenvalue of one step, and κ² = bound·(α + η) − κ(α + η) makes κ at most the bound."""
    import sympy as sp

    alpha, eta, gain = sp.symbols("alpha eta lambda", positive=True)
    kappa = (alpha + eta) / 2 * (sp.sqrt(1 + 4 * alpha * eta * gain / (alpha + eta) ** 2) - 1)
    w, ema = sp.symbols("w v", real=True)
    step = sp.Matrix(_ema_step(w, ema, alpha, eta, gain)).jacobian([w, ema])
    characteristic = (step - (1 + kappa) * sp.eye(2)).det()
    bound = gain / (1 / alpha + 1 / eta)
    return bool(
        sp.simplify(characteristic) == 0 and sp.simplify(kappa**2 - (bound - kappa) * (alpha + eta)) == 0
    )


# --- R30 ----------------------------------------------------------------------------------------------------


def contrastive_comparison(
    rng: np.random.Generator,
    *,
    contrastive: Callable[[Any, Any], Any] = simple_contrastive_loss,
    field: VectorField = full_field,
) -> Measurement:
    """R30: −∇L_simp = 2 W V by differences, then where each flow turns one row, and the angle between."""
    from scipy.linalg import expm, subspace_angles

    n, rtol = 3, 1e-9
    x1, x2, _ = _population(rng, n)
    W = rng.standard_normal((2, n))
    others = np.repeat(np.arange(len(x1)), len(x1)), np.tile(np.arange(len(x1)), len(x1))
    negative = x1[others[0]] - x2[others[1]]
    slope = _slope(lambda W: contrastive((x1 - x2) @ W.T, negative @ W.T), W)
    averaged = x2.reshape(-1, 3, 3, n).mean(axis=2)[:, 0]  # over the views of each sample
    V = np.cov(averaged.T, bias=True)
    error = float(np.max(np.abs(slope + 2 * W @ V)) / np.linalg.norm(2 * W @ V))

    # anisotropic noise: the direction of most variance carries most of the noise
    lambda_d, noise = np.array([2.0, 1.0, 0.5]) * rng.uniform(0.9, 1.1, 3), np.array([4.0, 0.1, 1.0])
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    moments = Moments.additive_noise((Q * lambda_d) @ Q.T, (Q * noise) @ Q.T)
    system = MatrixSystem(moments.sigma_s, moments.sigma_d)
    w = rng.uniform(0.5, 1.0, n) @ Q.T  # of like size along every mode of Σd
    w /= np.linalg.norm(w)
    byol = integrate(system.state(w[None], [[1.0]]), system, field, rtol=rtol).final.online  # balanced: R10
    simclr = w @ expm(40 / (lambda_d[0] - lambda_d[1]) * moments.sigma_d)
    top_d = np.linalg.eigh(moments.sigma_d)[1][:, -1]
    top_m = moments.modes.directions[:, 0]
    found = subspace_angles(byol.T, simclr[:, None])[0]
    predicted = subspace_angles(top_m[:, None], top_d[:, None])[0]
    # e^{−40} is left of the other modes in the contrastive flow; BYOL's row is within 10 rtol (with as much again for
    # atol) of its end in each entry, and the largest entry is at most its length
    return Measurement(float(np.max([error, abs(found - predicted)])), 20 * rtol * np.sqrt(n))


RESULTS: tuple[Result, ...] = (
    Result(
        id="R23",
        title="BYOL′ bounds BYOL",
        statement="L_BYOL <= (1/α + 1/β) L_BYOL′ sample by sample; equal for residuals z1 − z2 : z2 − z̄2 = β : α.",
        source="RAFT theorem 4.1, 8 and 12–14",
        hypotheses="α, β > 0; any network, normalised or not.",
        as_printed=AsPrinted.YES,
        trial=upper_bound,
        proof=prove_upper_bound,
    ),
    Result(
        id="R24",
        title="BYOL′ is BYOL with other moments",
        statement=(
            "−½∇BYOL′ is the flow with Σs′ = 2α(Σs − Σd) + β Σs and Σd′ = β Σs, hence r′ = β/(β + 2α(1 − r)): "
            "the same modes in the same order."
        ),
        source="new; BYOL′ is RAFT 7",
        hypotheses="Linear network, squared errors without normalisation, α, β > 0.",
        as_printed=AsPrinted.NEW,
        trial=byol_prime_flow,
        proof=prove_byol_prime_flow,
    ),
    Result(
        id="R25",
        title="RAFT is BYOL′ mirrored",
        statement=(
            "L_RAFT(θ, W) = L_BYOL′(θ, −W) − 4β for every batch: trajectories correspond under W → −W, also with "
            "momentum, Adam, weight decay and EMA, and for predictors whose last layer and its bias are negated."
        ),
        source="RAFT theorem 5.1 and appendix G",
        hypotheses="Differentiated l2 normalisation of predictions and targets; it fails for squared errors without.",
        as_printed=AsPrinted.REFINED,
        correction="E8: condition iii, that only the tangential part of the gradient is kept, is not needed.",
        trial=raft_is_byol_prime,
        proof=prove_raft_is_byol_prime,
    ),
    Result(
        id="R26",
        title="RAFT without normalisation runs away",
        statement=(
            "−½∇RAFT is the flow with Σs′ = 2α(Σs − Σd) − β Σs and Σd′ = −β Σs: modes with 2α(1 − r) < β have "
            "λs′ < 0 and a loss without lower bound."
        ),
        source="new; RAFT is RAFT 9",
        hypotheses="Linear network, squared errors without normalisation, α, β > 0.",
        as_printed=AsPrinted.NEW,
        trial=raft_flow,
        proof=prove_raft_flow,
    ),
    Result(
        id="R27",
        title="tangential loss",
        statement="∇_z ‖z̄ − λz‖²/λ = −2(z̄ − ⟨z, z̄⟩z), λ = sg⟨z, z̄⟩: the tangential part of the gradient.",
        source="RAFT, remark to theorem 5.1",
        hypotheses="z, z̄ unit vectors, ⟨z, z̄⟩ ≠ 0; the value of the loss is singular there and negative below.",
        as_printed=AsPrinted.YES,
        trial=tangential_gradient,
        proof=prove_tangential_gradient,
    ),
    Result(
        id="R28",
        title="growth by the moving average",
        statement=(
            "w(t+1) − w(t) = α[−w(t) + (1 + λ) w_ema(t)], w_ema(t+1) = (1 − η) w_ema + η w grows as (1 + κ)ᵗ with "
            "κ = ½(η + α)(sqrt(1 + 4αηλ/(η + α)²) − 1) <= λ/(1/α + 1/η)."
        ),
        source="DD theorem 9, 15 and 166–170",
        hypotheses="α, η in (0, 1], λ >= 0, generic start.",
        as_printed=AsPrinted.CORRECTED,
        correction="E3: 15 prints 1 − λ, with which the weights decay.",
        trial=ema_recurrence,
        proof=prove_ema_recurrence,
    ),
    Result(
        id="R30",
        title="SimCLR and BYOL learn different subspaces",
        statement=(
            "The simple contrastive loss gives dW/dt = W V, V the covariance of the augmentation-averaged view: its "
            "rows turn to the top eigenvectors of Σd, those of BYOL to the top modes of M. They differ where noise is "
            "anisotropic."
        ),
        source="DD theorem 3, 4.1 and appendix F.2",
        hypotheses="Linear network; centred data, so that V = Σd; BYOL from a balanced start; speed 2 absorbed in t.",
        as_printed=AsPrinted.YES,
        trial=contrastive_comparison,
    ),
)
"""R23 to R28, and R30."""
