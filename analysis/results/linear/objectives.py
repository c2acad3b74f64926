"""Results on objectives near BYOL: R23, R24, R25, R26, R27."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from analysis.results.linear.losses import (
    BYOL,
    BYOL_PRIME,
    BYOL_PRIME_NORMALISED,
    RAFT,
    RAFT_NORMALISED,
    Loss,
    byol_loss,
    byol_prime_loss,
    compiled_loss,
    population,
    raft_loss,
    slope_of,
    tangential_loss,
)
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, refuted, symbols, worst
from dynamics.data.moments import Moments
from dynamics.data.objective_moments import byol_prime_moments, raft_moments
from dynamics.fields.matrices import full_field
from dynamics.fields.modes import full_mode_field
from dynamics.fields.vector_field import VectorField
from dynamics.integration.integrate import Status, integrate
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem, ModeSystem

# --- R23 ----------------------------------------------------------------------------------------------------


def _factor(alpha: Any, beta: Any) -> Any:
    return 1 / alpha + 1 / beta


def upper_bound(
    rng: np.random.Generator,
    *,
    byol: Loss = BYOL,
    byol_prime: Loss = BYOL_PRIME,
    factor: Callable[[Any, Any], Any] = _factor,
) -> Measurement:
    """R23: the bound at random outputs, one by one, normalised or not, and its tightness for residuals as β : α."""
    alpha, beta = rng.uniform(0.1, 3.0, 2)
    z1, z2, target = rng.standard_normal((3, 64, 5))
    if rng.integers(2):
        z1, z2, target = (_unit(z) for z in (z1, z2, target))
    bound = factor(alpha, beta) * compiled_loss(byol_prime, each=True)(z1, z2, target, alpha, beta)
    excess = np.max((compiled_loss(byol, each=True)(z1, z2, target, alpha, beta) - bound) / bound)
    parallel = rng.standard_normal((64, 5))
    z1, target = z2 + beta * parallel, z2 - alpha * parallel
    bound = factor(alpha, beta) * compiled_loss(byol_prime, each=True)(z1, z2, target, alpha, beta)
    slack = np.abs(compiled_loss(byol, each=True)(z1, z2, target, alpha, beta) - bound) / bound
    # a difference of z rounds by eps |z|, which counts twice in its square, relative to a residual of β or α |parallel|
    lengths = [np.linalg.norm(z, axis=1) for z in (z1, z2, target, parallel)]
    rounding = 4 * EPS * (1 + sum(lengths[:3]) / (min(alpha, beta) * lengths[3]))
    return worst((max(excess, 0.0), 8 * EPS), (slack, rounding))


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
    x1, x2, moments = population(rng, n1)
    alpha, beta = rng.uniform(0.2, 2.0, 2)
    W, P, Th = rng.standard_normal((n2, n1)), rng.standard_normal((n2, n2)), rng.standard_normal((n2, n1))

    def objective(W: np.ndarray, P: np.ndarray) -> float:
        A = P @ W
        return float(np.mean(compiled_loss(loss)(x1 @ A.T, x2 @ A.T, x2 @ Th.T, alpha, beta)))

    slopes = slope_of(lambda W: objective(W, P), W), slope_of(lambda P: objective(W, P), P)
    system = MatrixSystem(*moments_of(moments, alpha, beta))
    moved = field(0.0, system.state(W, P, Th), system)
    error = max(float(np.max(np.abs(a + b / 2))) for a, b in zip(moved[:2], slopes, strict=True))
    # differences over steps of size 1 of means of squares, sums of n1 + n2 products, of outputs this large
    largest = (1 + np.linalg.norm(P)) * (1 + np.linalg.norm(W)) + np.linalg.norm(Th)
    size = (alpha + beta) * largest**2 * np.linalg.norm(moments.sigma_s, 2)
    return error, float(EPS * (n1 + n2) * size)


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
    loss: Loss = BYOL_PRIME,
    moments_of: Callable[[Any, float, float], tuple[np.ndarray, np.ndarray]] = byol_prime_moments,
    field: VectorField = full_field,
) -> Measurement:
    """R24: gradient of BYOL′ by differences against the flow with its moments, and the ratios r′."""
    error, tolerance = _same_flow(rng, loss, moments_of, field)
    r, (alpha, beta) = np.sort(rng.uniform(0, 1, 5)), rng.uniform(0.2, 2.0, 2)
    lambda_s, lambda_d = moments_of(Moments.from_eigenvalues(np.ones(5), r), alpha, beta)
    ratios = np.diag(lambda_d) / np.diag(lambda_s)
    off = np.max(np.abs(ratios - beta / (beta + 2 * alpha * (1 - r))))
    # the terms of λs′ are at most 2α + β >= β, whose rounding its quotient with β multiplies
    rounding = 2 * EPS * (1 + 2 * alpha / beta)
    return worst((error, tolerance), (off, rounding), refuted(unless=np.all(np.diff(ratios) > 0)))


def prove_byol_prime_flow() -> bool:
    """R24 for 2×2 matrices."""
    return _prove_same_flow(byol_prime_moments, +1)


def raft_flow(
    rng: np.random.Generator,
    *,
    loss: Loss = RAFT,
    moments_of: Callable[[Any, float, float], tuple[np.ndarray, np.ndarray]] = raft_moments,
    field: VectorField = full_field,
    mode_field: VectorField = full_mode_field,
) -> Measurement:
    """R26: gradient of RAFT by differences against the flow with its moments; which modes run away, and which do not.

    Modes with 2α(1 − r) < β have λs′ < 0: the loss has no lower bound, and the flow runs away from above w2 = r′. Small
    starts from below r′ do not, nor do modes with 2α(1 − r) > β from anywhere.
    """
    error, tolerance = _same_flow(rng, loss, moments_of, field)
    beta = rng.uniform(0.5, 2.0)
    alpha = beta * rng.uniform(0.6, 2.0)
    edge = 1 - beta / (2 * alpha)  # 2α(1 − r) = β there
    along, across = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])[..., None]
    parts: list[tuple[Any, Any]] = [(error, tolerance)]
    for r in (0.8 * edge, edge + rng.uniform(0.2, 0.8) * (1 - edge)):
        runs_away = bool(2 * alpha * (1 - r) < beta)
        moments = Moments.from_eigenvalues(1.0, r)
        lambda_s, lambda_d = (float(part[0, 0]) for part in moments_of(moments, alpha, beta))
        system = ModeSystem(lambda_s, lambda_d)
        far = abs(float(system.ratio[0])) + 1.0
        run = integrate(system.state(1.0, far, 1.0), system, mode_field, 1e3, max_steps=2000)
        parts.append(refuted(unless=(run.status is Status.DIVERGED) == runs_away == (lambda_s < 0)))
        # the loss of predictions s x1 and s x2 is s² λs′ + O(s), E[x1²] = E[x2²] = 1 and E[x1 x2] = r
        x1, x2 = along, r * along + np.sqrt(1 - r**2) * across
        low, high = (float(np.mean(compiled_loss(loss)(s * x1, s * x2, x2, alpha, beta))) for s in (1e3, 1e4))
        parts.append(refuted(unless=(high < low) == runs_away))
        if runs_away:
            # (0, p, 0) attracts for 0 < p < r′ while the trace −(1/τt + λs′ p²/τo) of R5 is negative
            p = 0.5 * min(float(system.ratio[0]), 1 / np.sqrt(abs(lambda_s)))
            small = system.state(0.02, p, 0.02)
            quiet = integrate(small, system, mode_field, 200.0, max_steps=2000)
            parts.append(refuted(unless=not quiet.status.failed and np.max(np.abs(quiet.final)) < far))
    return worst(*parts)


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


@lru_cache(maxsize=16)
def _compiled_slope(loss: Loss) -> Callable[..., tuple[Any, Any]]:
    """(w, target features, views, α, β) -> mean loss of a batch and its gradient; compiled once for all trials."""
    import jax

    def objective(w: Weights, target: Any, x: Any, alpha: Any, beta: Any) -> Any:
        return loss(_predicted(w, x[0]), _predicted(w, x[1]), target, alpha, beta)

    return jax.jit(jax.value_and_grad(objective))


def raft_is_byol_prime(
    rng: np.random.Generator,
    *,
    byol_prime: Loss = BYOL_PRIME_NORMALISED,
    raft: Loss = RAFT_NORMALISED,
) -> Measurement:
    """R25: values, gradients by autodiff, and a few steps of training, of RAFT and of BYOL′ at −W."""
    import jax

    from dynamics.training.optimizers import direction
    from dynamics.training.parts import OptimizerSettings, TargetSettings
    from dynamics.training.targets import follow

    n_input, n, n_steps, rate = 4, 3, 3, 0.05
    alpha, beta = rng.uniform(0.2, 2.0, 2)
    shapes = {"encoder": (5, n_input), "projector": (n, 5), "hidden": (5, n), "last": (n, 5), "bias": (n,)}
    start = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    decay, gamma = rng.uniform(0.0, 0.1), rng.uniform(0.5, 0.99)
    batches = rng.standard_normal((n_steps, 2, 6, n_input))
    kind = ("sgd", "momentum", "adam")[rng.integers(3)]
    optimiser, averaged = direction(OptimizerSettings(kind=kind), decay, 0.9), TargetSettings()

    parts: list[tuple[Any, Any]] = []
    with jax.enable_x64(True):
        slopes = _compiled_slope(raft), _compiled_slope(byol_prime)
        weights = [dict(start), _mirrored(start)]
        targets = [dict(start), dict(start)]
        states = [optimiser.init(w) for w in weights]
        error = 0.0  # of weights, relative to steps of size `rate` and gradients
        for x in batches:
            found = [
                slope(w, _encoded(target, x[1]), x, alpha, beta)
                for slope, w, target in zip(slopes, weights, targets, strict=True)
            ]
            values, gradients = zip(*found, strict=True)
            largest = max(float(np.max(np.abs(part))) for part in gradients[0].values())
            decayed = [g + decay * weights[0][name] for name, g in gradients[0].items()]
            smallest = min(float(np.min(np.abs(part))) for part in decayed)
            # losses are sums of squares below 4, gradients a dozen products of sums of five; weights differ already
            rounding = 64 * EPS * (alpha + beta + largest) + error * largest * 8
            parts += [
                (abs(float(values[0]) - (float(values[1]) - 4 * beta)), rounding),
                (_largest_difference(gradients[0], _mirrored(gradients[1])), rounding),
            ]
            moved = [
                optimiser.update(g, state, w) for g, state, w in zip(gradients, states, weights, strict=True)
            ]
            states = [state for _, state in moved]
            weights = [
                {name: w[name] - rate * step[name] for name in w}
                for w, (step, _) in zip(weights, moved, strict=True)
            ]
            targets = [
                follow(averaged, target, w, gamma, 0, n_steps)
                for target, w in zip(targets, weights, strict=True)
            ]
            # Adam divides gradients by their size: an error is as large as its share in the smallest of them
            error += rate * rounding * (n_steps if kind != "adam" else 1 / smallest) + 4 * EPS
            parts.append((_largest_difference(weights[0], _mirrored(weights[1])), error))
    return worst(*parts)


def prove_raft_is_byol_prime() -> bool:
    """R25 in the plane: unit outputs at any angles, and z → −z for W → −W."""
    import sympy as sp

    alpha, beta, *angles = sp.symbols("alpha beta a b c", real=True)
    z1, z2, target = (np.array([sp.cos(x), sp.sin(x)], dtype=object) for x in angles)
    raft = raft_loss(z1, z2, target, alpha, beta)
    return bool(sp.simplify(raft - byol_prime_loss(-z1, -z2, target, alpha, beta) + 4 * beta) == 0)


# --- R27 ----------------------------------------------------------------------------------------------------


def trained_tangential_gradient(z: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, int]:
    """∂/∂z of the tangential loss that networks are trained on, and the number of clipped pairs."""
    import jax
    import jax.numpy as jnp

    from dynamics.training.objectives import loss
    from dynamics.training.parts import ObjectiveSettings

    settings = ObjectiveSettings(kind="byol", symmetric=False, normalize=True, tangential=True)

    def value(z: Any) -> tuple[Any, Any]:
        found = loss(settings, {}, z[None, None], jnp.asarray(target)[None, None])
        return found.value, found.clipped

    with jax.enable_x64(True):
        gradient, clipped = jax.grad(value, has_aux=True)(jnp.asarray(z))
        return np.asarray(gradient), int(clipped)


def tangential_gradient(
    rng: np.random.Generator,
    *,
    loss: Callable[[Any, Any, Any], Any] = tangential_loss,
    trained: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, int]] = trained_tangential_gradient,
) -> Measurement:
    """R27: gradients by differences and by autodiff against −2(z̄ − ⟨z, z̄⟩z), that they are tangential, and clipping."""
    z, target = (_unit(rng.standard_normal(5)) for _ in range(2))
    target = _unit(target + (0.2 + abs(z @ target) - z @ target) * z)  # ⟨z, z̄⟩ > 0
    inner = z @ target
    stated = -2 * (target - inner * z)
    slope = slope_of(lambda z: loss(z, target, inner), z)
    # differences over steps of size 1 of ‖z̄ − λz‖²/λ, that is of numbers up to (1 + 2λ)²/λ
    tolerance = 4 * EPS * (1 + 2 * inner) ** 2 / inner
    gradient, clipped = trained(z, target)
    _, clipped_below = trained(z, -target)
    return worst(
        (np.max(np.abs(slope - stated)), tolerance),
        (abs(slope @ z), tolerance),
        (np.max(np.abs(gradient - stated)), 16 * EPS),  # a handful of products of numbers below 2
        (abs(gradient @ z), 16 * EPS),
        refuted(unless=clipped == 0 and clipped_below == 1),  # below a right angle the loss changes sign
    )


def prove_tangential_gradient() -> bool:
    """R27: ∂/∂z of the loss with λ constant, at any z and z̄ of the plane."""
    import sympy as sp

    z, target = (np.array(sp.symbols(f"{letter}0:2", real=True), dtype=object) for letter in "zt")
    inner = sp.symbols("lambda", nonzero=True)
    loss = tangential_loss(z, target, inner)
    return all(sp.expand(sp.diff(loss, z[i]) + 2 * (target[i] - inner * z[i])) == 0 for i in range(2))


RESULTS: tuple[Result, ...] = (
    Result(
        id="R23",
        title="BYOL′ bounds BYOL",
        statement="L_BYOL <= (1/α + 1/β) L_BYOL′ sample by sample; equal for residuals z1 − z2 : z2 − z̄2 = β : α.",
        source="RAFT theorem 4.1, 8 and 12–14",
        hypotheses="α, β > 0; any network, normalised or not.",
        as_printed=AsPrinted.YES,
        code="dynamics.training.objectives.loss",
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
        code="dynamics.data.objective_moments.byol_prime_moments",
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
        code="dynamics.training.objectives.loss",
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
        code="dynamics.data.objective_moments.raft_moments",
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
        code="dynamics.training.objectives.loss",
        trial=tangential_gradient,
        proof=prove_tangential_gradient,
    ),
)
"""R23 to R27."""
