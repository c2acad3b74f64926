"""Results on connections and losses: R101, R102, R103, R104."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from analysis.contrastive.covariance_operator import covariance_operator
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, refuted, worst
from dynamics.contrastive_losses import (
    ContrastiveLoss,
    InfoNCELoss,
    SimpleLoss,
    TripletLoss,
    UniformityLoss,
    pair_weights,
)
from dynamics.data.view_tables import ViewTable
from dynamics.deep_networks import DeepReLU, connection, distance_gradient, vec

# --- shared: random networks, and gradients by complex steps ------------------------------------------------


def random_network(rng: np.random.Generator, n_in: int, n_out: int, most_layers: int = 5) -> DeepReLU:
    """Draw a network of 1 to `most_layers` layers of width 1 to 4, ReLU, leaky or linear, activated on top or not."""
    widths = (n_in, *rng.integers(1, 5, rng.integers(most_layers)), n_out)
    weights = [rng.standard_normal(s) for s in zip(widths[1:], widths[:-1], strict=True)]
    return DeepReLU(weights, float(rng.choice([0.0, 1.0, rng.uniform(0.05, 0.9)])), bool(rng.integers(2)))


def output_of(
    net: DeepReLU, x: np.ndarray, *, power: int = 1, biases: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """f_L, written apart from the library, for complex weights too: branches go by real parts."""
    for layer, W in enumerate(net.weights, start=1):
        x = W @ x + (biases[layer - 1] if biases else 0)
        if layer < net.depth or net.activated_top:
            x = np.where(np.real(x) > 0, x, net.leak * x) ** power
    return x


def complex_step(net: DeepReLU, layer: int, value: Callable[[DeepReLU], Any]) -> np.ndarray:
    """Gradient of value(net) in vec W_l: Im value(W + ih)/h with h = 1e-30, exact but for rounding."""
    W = net.weights[layer - 1]
    slope = np.empty(W.shape)
    for index in np.ndindex(W.shape):
        moved = W.astype(complex)
        moved[index] += 1e-30j
        slope[index] = np.imag(value(net.with_layer(layer, moved))) / 1e-30
    return vec(slope)


def half_square(f: np.ndarray) -> Any:
    """½ Σ f², of complex numbers too."""
    return np.sum(f * f) / 2


def _absolute(net: DeepReLU) -> DeepReLU:
    """Linear network of absolute values: what rounding of the network is relative to."""
    return DeepReLU([np.abs(W) for W in net.weights], 1.0)


def _rounding(net: DeepReLU) -> float:
    """Roundings of a product of all layers, a sum of n_l terms each, in a worst case that no draw attains: 4 times."""
    return 4 * EPS * (1 + sum(net.widths))


# --- R101 ---------------------------------------------------------------------------------------------------

Connection = Callable[[DeepReLU, np.ndarray, int], np.ndarray]


def euler_identity(
    rng: np.random.Generator, *, connection: Connection = connection, gradient: Any = distance_gradient
) -> Measurement:
    """R101: K_lᵀ vec W_l = f_L for every l, and gradients of distances, any layer of a target of any depth."""
    n_in, n_out = (int(n) for n in rng.integers(1, 5, 2))
    net, target = (random_network(rng, n_in, n_out) for _ in range(2))
    x, y = rng.standard_normal((2, n_in))
    f1, f2 = output_of(net, x), output_of(target, y)
    size1, size2 = (np.max(output_of(_absolute(n), np.abs(v))) for n, v in ((net, x), (target, y)))
    layer, other = (int(rng.integers(1, n.depth + 1)) for n in (net, target))
    K1, K2 = connection(net, x, layer), connection(target, y, other)
    w1, w2 = vec(net.weights[layer - 1]), vec(target.weights[other - 1])
    rounding = _rounding(net) + _rounding(target)
    wanted = complex_step(net, layer, lambda moved: half_square(output_of(moved, x) - f2))
    tolerance = rounding * n_out * np.max(_absolute_connection(net, x, layer)) * (size1 + size2)
    return worst(
        (np.max(np.abs(K1.T @ w1 - f1)), rounding * size1),
        (np.max(np.abs(K1 @ (K1.T @ w1 - K2.T @ w2) - wanted)), tolerance),
        (np.max(np.abs(gradient(net, x, f2, layer) - wanted)), tolerance),
    )


def _absolute_connection(net: DeepReLU, x: np.ndarray, layer: int) -> np.ndarray:
    return connection(_absolute(net), np.abs(x), layer)


def _symbolic_pair() -> tuple[Any, ...]:
    """Two-layer scalar network on the side of its kinks where nodes are on: symbols x, a, b and the target's y, c."""
    import sympy as sp

    return sp.symbols("x a b y c", positive=True)


def prove_euler_identity() -> bool:
    """R101: chain rule and Euler, f = ψ(b ψ(a x)), ψ of degree 1, at a target of one layer."""
    import sympy as sp

    x, a, b, y, c = _symbolic_pair()
    f1, f2 = _two_layers(x, a, b), c * y
    K = sp.diff(f1, a)
    return (
        sp.simplify(K * a - f1) == 0 and sp.simplify(sp.diff((f1 - f2) ** 2 / 2, a) - K * (K * a - f2)) == 0
    )


def _two_layers(x: Any, a: Any, b: Any, power: Any = 1) -> Any:
    return (b * (a * x) ** power) ** power


# --- R102 ---------------------------------------------------------------------------------------------------


def accepts_biases(network: Callable[..., Any]) -> bool:
    """Whether networks with biases can be made."""
    try:
        network(([[1.0]],), biases=([1.0],))
    except ValueError:
        return False
    return True


def _with_constant_input(net: DeepReLU, biases: Sequence[np.ndarray]) -> DeepReLU:
    """The biased network as one without: every layer hands on a constant 1, whose weights are the biases."""
    layers = []
    for number, (W, b) in enumerate(zip(net.weights, biases, strict=True), start=1):
        extended = np.block([[W, b[:, None]], [np.zeros((1, W.shape[1])), np.ones((1, 1))]])
        layers.append(extended if number < net.depth else extended[:-1])
    return DeepReLU(layers, net.leak, net.activated_top)


def _degree(power: int, above: int) -> float:
    """Factor p^{−(L−l)}: what f_L/(K_lᵀ vec W_l) is, with `above` activations at and above layer l."""
    return float(power) ** -above


def what_breaks_it(
    rng: np.random.Generator,
    *,
    connection: Connection = connection,
    network: Callable[..., Any] = DeepReLU,
    degree: Callable[[int, int], float] = _degree,
) -> Measurement:
    """R102: with biases the printed form misses K_1(β_1 − β_2); with ψ(u) = u₊^p it needs p^{−(L−l)}."""
    n_in, n_out = 2, 2
    net, target = (random_network(rng, n_in, n_out, 3) for _ in range(2))
    x, y = rng.standard_normal((2, n_in))
    found = []
    for one, v in ((net, x), (target, y)):
        biases = [rng.standard_normal(len(W)) for W in one.weights]
        layer = int(rng.integers(1, one.depth + 1))
        rows, columns = one.weights[layer - 1].shape
        K = connection(_with_constant_input(one, biases), np.append(v, 1.0), layer)
        K = K.reshape(columns + 1, -1, n_out)[:columns, :rows].reshape(rows * columns, n_out)
        f = output_of(one, v, biases=biases)
        found.append((K, f, f - K.T @ vec(one.weights[layer - 1]), layer, biases))
    (K1, f1, beta1, layer, biases), (_, f2, beta2, _, _) = found
    wanted = complex_step(net, layer, lambda n: half_square(output_of(n, x, biases=biases) - f2))
    printed = K1 @ ((f1 - beta1) - (f2 - beta2))
    size = sum(
        np.max(output_of(_absolute(one), np.abs(v), biases=[np.abs(b) for b in part[4]]))
        for (one, v), part in zip(((net, x), (target, y)), found, strict=True)
    )
    rounding = (_rounding(net) + _rounding(target)) * size * n_out * (1 + np.max(np.abs(K1)))
    missed = np.max(np.abs(wanted - printed - K1 @ (beta1 - beta2)))

    # smooth powers, every layer activated, all nodes on: f_L and f′ by complex steps
    p, depth = int(rng.integers(2, 4)), int(rng.integers(1, 4))
    smooth = DeepReLU([rng.uniform(0.5, 1.0, (2, 2)) for _ in range(depth)], 0.0, True)
    level = int(rng.integers(1, depth + 1))
    x = rng.uniform(0.5, 1.0, 2)
    f = output_of(smooth, x, power=p)
    w = vec(smooth.weights[level - 1])

    def entry(i: int) -> Callable[[DeepReLU], Any]:
        return lambda n: output_of(n, x, power=p)[i]

    K_w = np.array([complex_step(smooth, level, entry(i)) @ w for i in (0, 1)])
    off = np.max(np.abs(K_w * degree(p, depth - level + 1) - f) / f)
    return worst(
        (missed, rounding),
        (
            off,
            16 * EPS * p ** (depth + 1) * depth,
        ),  # positive terms: a rounding is raised to p by every layer
        refuted(unless=not accepts_biases(network)),
    )


def prove_what_breaks_it() -> bool:
    """R102: f = (b (a x)^p)^p has a ∂f/∂a = p² f and b ∂f/∂b = p f; with a bias the rest is β."""
    import sympy as sp

    x, a, b, _, beta = _symbolic_pair()
    p = sp.symbols("p", positive=True)
    f = _two_layers(x, a, b, p)
    powers = all(sp.simplify(w * sp.diff(f, w) * p**-above - f) == 0 for w, above in ((a, 2), (b, 1)))
    biased = b * (a * x + beta)
    return powers and sp.simplify(biased - a * sp.diff(biased, a) - b * beta) == 0


# --- R103 ---------------------------------------------------------------------------------------------------


def normalised_outputs(rng: np.random.Generator, *, gradient: Any = distance_gradient) -> Measurement:
    """R103: the gradient of normalised distances, that it is orthogonal to W_l, and the growth of ‖W_l‖² by a step."""
    n_in, n_out = int(rng.integers(1, 4)), int(rng.integers(2, 4))
    while True:  # a ReLU network may be off at an input
        net, (x, y) = random_network(rng, n_in, n_out, 4), rng.standard_normal((2, n_in))
        f1, f2 = output_of(net, x), output_of(net, y)
        if min(np.max(np.abs(f1)), np.max(np.abs(f2))) > 0:
            break
    layer = int(rng.integers(1, net.depth + 1))
    z2 = f2 / np.linalg.norm(f2)

    def r(moved: DeepReLU) -> Any:
        f = output_of(moved, x)
        return half_square(f / np.sqrt(np.sum(f * f)) - z2)

    wanted, found = complex_step(net, layer, r), gradient(net, x, f2, layer, normalised=True)
    w, step = vec(net.weights[layer - 1]), rng.uniform(0.1, 2.0)
    size = np.max(output_of(_absolute(net), np.abs(x))) / np.linalg.norm(
        f1
    )  # amplifies the rounding of directions
    largest = np.max(np.abs(_absolute_connection(net, x, layer))) / np.linalg.norm(f1)
    rounding = 2 * _rounding(net) * n_out * largest * size
    grown = np.sum((w - step * found) ** 2) - np.sum(w**2) - step**2 * np.sum(found**2)
    inner = rounding * np.sum(np.abs(w))
    return worst(
        (np.max(np.abs(found - wanted)), rounding),
        (abs(found @ w), inner),
        # 2 ε ⟨w, g⟩, and roundings of the three squares
        (abs(grown), 2 * step * inner + 4 * EPS * w.size * (np.sum(w**2) + step**2 * np.sum(found**2))),
    )


def prove_normalised_outputs() -> bool:
    """R103 in the plane: z of f = t (u, v) does not depend on t, and ∂r/∂f = −(I − z1 z1ᵀ) z2/‖f‖."""
    import sympy as sp

    u, v, t = sp.symbols("u v t", positive=True)
    angle = sp.symbols("phi", real=True)
    z2 = sp.Matrix([sp.cos(angle), sp.sin(angle)])
    f = sp.Matrix([u, v])
    norm = sp.sqrt(u**2 + v**2)
    z1 = f / norm
    r = ((z1 - z2).T * (z1 - z2))[0] / 2
    stated = -(sp.eye(2) - z1 * z1.T) * z2 / norm
    slope = sp.Matrix([sp.diff(r, u), sp.diff(r, v)])
    scaled = r.subs({u: t * u, v: t * v}, simultaneous=True)
    return sp.simplify(slope - stated) == sp.zeros(2, 1) and sp.simplify(sp.diff(scaled, t)) == 0


# --- R104 ---------------------------------------------------------------------------------------------------

Weighing = Callable[[ContrastiveLoss, Any, Any], tuple[Any, Any]]


@lru_cache(maxsize=64)
def _compiled(kind: Any, with_positive: bool) -> Callable[..., Any]:
    """(parameters, r₊, r) -> value and gradient by autodiff of the library's losses."""
    import jax

    from dynamics import contrastive_losses as library

    def value(parameters: Any, r_pos: Any, r_neg: Any) -> Any:
        if kind is SimpleLoss:
            return library.simple_loss(r_pos, r_neg)
        if kind is TripletLoss:
            return library.triplet_loss(r_pos, r_neg, *parameters)
        if kind is InfoNCELoss:
            return library.infonce_loss(r_pos, r_neg, parameters[0], with_positive)
        return library.uniformity_loss(r_pos, r_neg, *parameters)

    return jax.jit(jax.value_and_grad(value, argnums=(1, 2)))


def zero_sums(
    rng: np.random.Generator, *, weights: Weighing = pair_weights, operator: Any = covariance_operator
) -> Measurement:
    """R104: signs, sums and shifts of the slopes of the losses, and the operator of one whose slopes do not cancel."""
    import jax

    H = int(rng.integers(1, 6))
    tau, margin = 10 ** rng.uniform(-1, 1), rng.uniform(-1, 1)
    losses: list[tuple[Any, tuple[float, ...], float]] = [
        (SimpleLoss(), (), 0.0),
        (TripletLoss(tau, margin), (tau, margin), 0.0),
        (InfoNCELoss(tau), (tau,), 0.0),
        (InfoNCELoss(tau, positive_in_denominator=False), (tau,), 0.0),
        (UniformityLoss(0.7, tau), (0.7, tau), 1 - 0.7 * tau),
    ]
    r_pos, r_neg = rng.exponential(), rng.exponential(size=H)
    shift = rng.exponential()
    parts: list[tuple[Any, Any]] = []
    for loss, parameters, excess in losses:
        kind: Any = type(loss)
        compiled = _compiled(kind, getattr(loss, "positive_in_denominator", True))
        with jax.enable_x64(True):
            value, (slope, minus_xi) = compiled(parameters, r_pos, r_neg)
            moved, _ = compiled(parameters, r_pos + shift, r_neg + shift)
            value, slope, moved, minus_xi = float(value), float(slope), float(moved), np.asarray(minus_xi)
        a, xi = weights(loss, r_pos, r_neg)
        # exponents of size r/τ, r τ for uniformity, carry as many roundings; slopes are at most max(1/τ, τ)
        steep = max(1 / tau, tau)
        largest = float(np.max(np.concatenate([r_neg, [r_pos]]))) + shift + abs(margin)
        rounding = 8 * EPS * (H + largest * steep)
        parts += [
            (abs(a - slope), rounding * steep),
            (np.max(np.abs(xi + minus_xi)), rounding * steep),
            (abs(a - np.sum(xi) - excess), rounding * steep),
            (abs(moved - value - shift * excess), rounding * (1 + abs(value)) + 8 * EPS * steep * largest),
            refuted(unless=a > 0 and np.all(xi > 0)),
        ]
    hard = TripletLoss(0.0, margin)
    _, flat = weights(hard, r_pos, r_pos + margin + np.array([1e-9, 1.0]))
    # a loss of other than differences: gradients by complex steps on a neuron, against the operator
    lam, t = rng.uniform(0.2, 2.0, 2)
    table = ViewTable(np.full(2, 0.5), rng.standard_normal((2, 2, 2)))
    net = DeepReLU((rng.standard_normal((1, 2)),))

    def f(moved: Any) -> Any:
        return (table.views @ moved.weights[0].T)[..., 0]

    def population(moved: DeepReLU) -> Any:
        g = f(moved).ravel()
        r = (g[:, None] - g[None]) ** 2 / 2
        own = sum(r[2 * x : 2 * x + 2, 2 * x : 2 * x + 2].sum() for x in range(2)) / 8
        return own - lam * t * np.sum(r) / 16  # one negative: λ log e^{−t r} = −λ t r

    w = vec(net.weights[0])
    stated = operator(net, table, 1, UniformityLoss(lam, t)).dense() @ w
    size = (1 + lam * t) * np.max(np.sum(table.views**2, axis=-1)) * np.sum(np.abs(w))
    parts += [
        refuted(unless=np.all(flat == 0)),
        (np.max(np.abs(stated + complex_step(net, 1, population))), 64 * EPS * size),  # sums of 16 products
    ]
    return worst(*parts)


def prove_zero_sums() -> bool:
    """R104: derivatives of the three losses at H = 2, their sums and their signs; alignment and uniformity: 1 − λt."""
    import sympy as sp

    r, r1, r2 = sp.symbols("r r1 r2", real=True)
    tau, lam = sp.symbols("tau lambda", positive=True)
    e = [sp.exp(-x / tau) for x in (r, r1, r2)]
    losses = [
        r - (r1 + r2) / 2,
        tau * sum(sp.log(1 + sp.exp((r - x) / tau)) for x in (r1, r2)) / 2,
        -sp.log(e[0] / sum(e)),
        -sp.log(e[0] / (e[1] + e[2])),
    ]
    sums = [sum(sp.diff(loss, x) for x in (r, r1, r2)) for loss in losses]
    uniform = r + lam * sp.log((sp.exp(-tau * r1) + sp.exp(-tau * r2)) / 2)
    other = sum(sp.diff(uniform, x) for x in (r, r1, r2)) - (1 - lam * tau)
    return all(sp.simplify(total) == 0 for total in (*sums, other))


RESULTS: tuple[Result, ...] = (
    Result(
        id="R101",
        title="Euler's identity",
        statement=(
            "K_lᵀ vec W_l = f_L for every l, so ∂r/∂vec W_1,l = K_1,l(f_1 − f_2) = K_1,l(K_1,lᵀ vec W_1,l − "
            "K_2,l′ᵀ vec W_2,l′) for every layer l′ of any target, of other depth too."
        ),
        source="DD Theorem 1, Lemmas 1 and 2; the freedom of l′ is new",
        hypotheses="No biases; activations linear, ReLU or leaky ReLU; away from kinks.",
        as_printed=AsPrinted.YES,
        code="dynamics.deep_networks.connection",
        trial=euler_identity,
        proof=prove_euler_identity,
    ),
    Result(
        id="R102",
        title="what breaks Theorem 1",
        statement=(
            "With biases at or above layer l, β = f_L − K_lᵀ vec W_l ≠ 0 and the printed form misses K_1(β_1 − β_2); "
            "the gradient is still K_1(f_1 − f_2). With ψ(u) = u₊^p, f_L = p^{−m} K_lᵀ vec W_l, m activations above."
        ),
        source="DD Theorem 1, Lemma 1",
        hypotheses="m counts the activations at layers l … L: L − l if the top is linear.",
        as_printed=AsPrinted.REFINED,
        code="dynamics.deep_networks.DeepReLU",
        correction="The printed pseudo-Jacobian hides the factor p^{−m}, and biases are not mentioned.",
        trial=what_breaks_it,
        proof=prove_what_breaks_it,
    ),
    Result(
        id="R103",
        title="normalised outputs",
        statement=(
            "z = f/‖f‖: ∂/∂vec W_1,l ½‖z1 − z2‖² = −K_1,l(I − z1 z1ᵀ) z2/‖f1‖, orthogonal to W_l: the flow conserves "
            "‖W_l‖, and a step ε adds ε²‖g_l‖²."
        ),
        source="DD A.2",
        hypotheses="Bias-free network of R101; f1, f2 ≠ 0.",
        as_printed=AsPrinted.CORRECTED,
        code="dynamics.deep_networks.distance_gradient",
        correction="E10: with the true Jacobian Theorem 1 gives 0; Lemma 1 with each branch's own Q gives 0 too.",
        trial=normalised_outputs,
        proof=prove_normalised_outputs,
    ),
    Result(
        id="R104",
        title="slopes that cancel",
        statement=(
            "∂L/∂r₊ + Σ_k ∂L/∂r_k = 0 exactly for losses of the differences r_k − r₊. For alignment and uniformity it "
            "is δ = 1 − λt, and the one-branch operator E[Σ_k ξ_k K1(K₊ − K_k)ᵀ] gains −δ E[K1(K1 − K₊)ᵀ]: nothing "
            "without augmentation."
        ),
        source="DD Theorem 2",
        hypotheses="τ > 0; signs are strict but for the hard triplet (τ = 0, r₋ >= r₊ + r0) and rounding.",
        as_printed=AsPrinted.REFINED,
        code="dynamics.contrastive_losses.pair_weights",
        correction="E11: strict signs fail for the hard triplet loss, and in floating point.",
        trial=zero_sums,
        proof=prove_zero_sums,
    ),
)
"""R101 to R104."""
