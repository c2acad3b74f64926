"""Results on the covariance operator of a network: R105, R110, R111."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from analysis.contrastive.correction import Correction, correction_bound
from analysis.contrastive.covariance_operator import CovarianceOperator, covariance_operator, mean_connection
from analysis.results.contrastive.connections import complex_step, output_of, random_network
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, refuted, worst
from dynamics.contrastive_losses import InfoNCELoss, SimpleLoss, TripletLoss, pair_weights
from dynamics.data.view_tables import ViewTable
from dynamics.deep_networks import DeepReLU, connection, forward, vec

# --- R105 ---------------------------------------------------------------------------------------------------


def one_and_all_branches(
    rng: np.random.Generator, *, operator: Any = covariance_operator, mean: Any = mean_connection
) -> Measurement:
    """R105: the operator of the simple loss is V[K̄], or 2 V[K̄], and tr V[f̄] in vec W_l, by sums over a table."""
    net = random_network(rng, 3, 2, 3)
    table = ViewTable(rng.dirichlet(np.ones(3)), rng.standard_normal((3, 2, 3)), rng.dirichlet(np.ones(2), 3))
    layer = int(rng.integers(1, net.depth + 1))
    V = table.covariance(mean(net, table, layer))
    w = vec(net.weights[layer - 1])
    one, both = (operator(net, table, layer, SimpleLoss(), branches=b).dense() for b in ("one", "all"))
    variance = np.trace(table.covariance(table.average(forward(net, table.views).output)[..., None]))
    # sums of 6 views, 36 pairs and a few products; 0 where all nodes are off, for which the smallest float stands
    size = np.max(np.sum(connection(net, table.views, layer) ** 2, axis=(-2, -1))) + np.finfo(float).tiny
    rounding = 16 * EPS * size
    return worst(
        (np.max(np.abs(one - V)), rounding),
        (np.max(np.abs(both - 2 * V)), 2 * rounding),
        (abs(w @ V @ w - variance), rounding * (np.sum(w**2) + 1)),
    )


def prove_one_and_all_branches() -> bool:
    """R105 for two samples of two views and a linear neuron: L = −V[f̄], and its gradient is −2 V[x̄] w."""
    import sympy as sp

    w, p, *x = sp.symbols("w p x0:4", real=True)
    chance = [p / 2, p / 2, (1 - p) / 2, (1 - p) / 2]
    r = [[(w * a - w * b) ** 2 / 2 for b in x] for a in x]
    positive = sum(chance[i] * (r[i][i // 2 * 2] + r[i][i // 2 * 2 + 1]) / 2 for i in range(4))
    negative = sum(chance[i] * chance[j] * r[i][j] for i in range(4) for j in range(4))
    variance = p * (1 - p) * ((x[0] + x[1]) / 2 - (x[2] + x[3]) / 2) ** 2
    L = positive - negative
    return sp.expand(L + variance * w**2) == 0 and sp.expand(sp.diff(L, w) + 2 * variance * w) == 0


# --- R110 ---------------------------------------------------------------------------------------------------

Operator = Callable[..., CovarianceOperator]
TINY = float(np.finfo(float).tiny)


def _descent(net: DeepReLU, table: ViewTable, layer: int, loss: InfoNCELoss, negatives: int) -> np.ndarray:
    """−∂L/∂vec W_l through all branches, by complex steps over every anchor, positive and tuple of negatives."""
    n, a, _ = table.views.shape
    p = (table.prior[:, None] * table.view_prior).ravel()
    tuples = np.array(list(product(range(n * a), repeat=negatives)))
    chance = np.prod(p[tuples], axis=1)

    def value(moved: DeepReLU) -> Any:
        f = np.array([output_of(moved, x) for x in table.views.reshape(n * a, -1)])
        r = np.sum((f[:, None] - f) ** 2, axis=-1) / 2
        total: Any = 0.0
        for i, j in product(range(n * a), repeat=2):
            if i // a == j // a:
                excess = np.sum(np.exp((r[i, j] - r[i, tuples]) / loss.temperature), axis=1)
                total += p[i] * table.view_prior.ravel()[j] * (chance @ np.log1p(excess))
        return total

    return -complex_step(net, layer, value)


def _sum_size(net: DeepReLU, table: ViewTable, layer: int, rate: float) -> float:
    """4 Σξ E‖K‖², which four products of two connections are at most in the mean: what roundings are relative to.

    Where all nodes are off it is the smallest float.
    """
    squares = np.sum(connection(net, table.views, layer) ** 2, axis=(-2, -1))
    return 4 * rate * float(table.expectation(table.average(squares))) + TINY


def without_augmentation(
    rng: np.random.Generator, *, operator: Operator = covariance_operator
) -> Measurement:
    """R110: −∇ = OP vec W_l, OP is the sum of squares and semidefinite, one branch is half of it at H = 1 alone."""
    net, H = random_network(rng, 3, 2, 3), int(rng.integers(1, 4))
    table = ViewTable(rng.dirichlet(np.ones(3)), rng.standard_normal((3, 1, 3)))
    far = float(np.max(np.sum(forward(net, table.views).output ** 2, axis=-1)))
    layer, loss = int(rng.integers(1, net.depth + 1)), InfoNCELoss(10 ** rng.uniform(-1, 0.5) * (far + 0.1))
    both = operator(net, table, layer, loss, branches="all", negatives=H)
    OP, w = both.dense(), vec(net.weights[layer - 1])
    K, f = connection(net, table.views, layer)[:, 0], forward(net, table.views).output[:, 0]
    squares = np.zeros_like(OP)
    for i, *others in product(range(3), repeat=H + 1):
        r = np.sum((f[i] - f[others]) ** 2, axis=1) / 2
        xi = pair_weights(loss, 0.0, r)[1]
        gaps = K[i] - K[others]
        squares += np.prod(table.prior[[i, *others]]) * np.einsum("k,kic,kjc->ij", xi, gaps, gaps)
    # distances in units of τ carry their roundings into the exponentials
    rounding = 16 * EPS * (1 + far / loss.temperature) * _sum_size(net, table, layer, 1 / loss.temperature)
    parts: list[tuple[Any, Any]] = [
        (np.max(np.abs(OP - squares)), rounding),
        (
            np.max(np.abs(OP @ w - _descent(net, table, layer, loss, H))),
            rounding * (np.sum(np.abs(w)) + TINY),
        ),
        (max(0.0, -np.linalg.eigvalsh(squares)[0]), rounding),
        refuted(unless=both.semidefiniteness().holds and "R110" in both.semidefiniteness().why),
    ]
    one = operator(net, table, layer, loss, branches="one", negatives=H)
    if H == 1:
        parts.append((np.max(np.abs(one.dense() - OP / 2)), rounding))
    else:
        parts.append(refuted(unless="R110" not in one.semidefiniteness().why))
    # a linear neuron: for H >= 2 its one-branch operator is not symmetric
    neuron = DeepReLU((rng.standard_normal((1, 3)),))
    uneven = operator(neuron, table, 1, loss, branches="one", negatives=H)
    parts.append(refuted(unless=(uneven.symmetric_defect > 1e3 * EPS) == (H > 1)))
    return worst(*parts)


def prove_without_augmentation() -> bool:
    """R110: one neuron, three samples, any loss of the distances: −∇ = OP w, and half of it at H = 1."""
    import sympy as sp

    w, r1, r2 = sp.symbols("w r1 r2", real=True)
    x, p = sp.symbols("x0:3", real=True), sp.symbols("p0:3", positive=True)
    loss, xi = sp.Function("L")(r1, r2), sp.Function("xi")
    weights = [-sp.diff(loss, r) for r in (r1, r2)]
    total: Any = 0
    for i, k, m in product(range(3), repeat=3):
        at = {r1: w**2 * (x[i] - x[k]) ** 2 / 2, r2: w**2 * (x[i] - x[m]) ** 2 / 2}
        slope = sp.diff(loss.subs(at, simultaneous=True), w).doit()
        squares = sum(
            weight.subs(at, simultaneous=True).doit() * (x[i] - x[n]) ** 2
            for weight, n in zip(weights, (k, m), strict=True)
        )
        total += p[i] * p[k] * p[m] * (slope + squares * w)
    pairs = list(product(range(3), repeat=2))
    weigh = [p[i] * p[k] * xi((x[i] - x[k]) ** 2) for i, k in pairs]
    one = sum(c * x[i] * (x[i] - x[k]) for c, (i, k) in zip(weigh, pairs, strict=True))
    both = sum(c * (x[i] - x[k]) ** 2 for c, (i, k) in zip(weigh, pairs, strict=True))
    halved = sp.expand(2 * one - both).replace(xi, lambda square: xi(sp.expand(square)))
    return sp.simplify(sp.expand(total)) == 0 and sp.expand(halved) == 0


# --- R111 ---------------------------------------------------------------------------------------------------


def correction_term(
    rng: np.random.Generator,
    *,
    correction: Callable[..., Correction] = correction_bound,
    operator: Operator = covariance_operator,
) -> Measurement:
    """R111: the two parts make OP₁, the bound holds and is nearly attained, and without bias nothing is bounded."""
    net = random_network(rng, 2, 2, 3)
    originals = rng.standard_normal((3, 2))
    moved, noise = (10 ** rng.uniform(-2, 0.5, 2))[:, None, None, None] * np.ones((1, 3, 2, 1))
    views = (
        originals[:, None] + moved * rng.standard_normal((3, 1, 2)) + noise * rng.standard_normal((3, 2, 2))
    )
    table = ViewTable(rng.dirichlet(np.ones(3)), views, rng.dirichlet(np.ones(2), 3), originals)
    layer, tau = int(rng.integers(1, net.depth + 1)), 10 ** rng.uniform(-0.5, 1)
    loss, rate = ((InfoNCELoss(tau), 1 / tau), (TripletLoss(tau, 0.3), 1.0))[rng.integers(2)]
    found = correction(net, table, layer, loss)
    OP = operator(net, table, layer, loss, branches="one").dense()
    f = forward(net, np.concatenate([views, originals[:, None]], axis=1)).output
    rounding = 32 * EPS * (1 + np.max(np.sum(f**2, axis=-1)) / tau) * _sum_size(net, table, layer, rate)
    parts: list[tuple[Any, Any]] = [
        (np.max(np.abs(found.weighted + found.correction - OP)), rounding),
        (max(0.0, found.norm - found.bound), rounding),
    ]
    # counterexample 1: samples (0, ±c) move to ±(c, c), in proportion to their bias alone; with z = c²/τ the norm is
    # (c⁴/τ²) tanh(z)/z, which falls short of the bound by less than z²/3
    c, z = rng.uniform(0.5, 2.0), rng.uniform(0.02, 0.3)
    moved_along = ViewTable([0.5, 0.5], [[[c, c]], [[-c, -c]]], originals=[[0, c], [0, -c]])
    found = correction(DeepReLU(([[1.0, 0.0]],)), moved_along, 1, InfoNCELoss(c**2 / z))
    parts += [
        (abs(found.norm - found.bound), z**2 / 3 * found.norm),
        (max(0.0, found.norm - found.bound), 32 * EPS * found.norm / z),
        refuted(unless=found.without_bias < 1e-3 * found.norm),
    ]
    # counterexample 2: one sample and Gaussian noise at τ → ∞, ξ = (½ + y/4)/τ − O(|y|³/48τ), y = (r₊ − r₋)/τ: by
    # Isserlis −½ (Σw)(Σw)ᵀ/τ² through one branch, −3/2 through all. Three nodes per direction integrate this exactly.
    root, w = rng.standard_normal((2, 2)), rng.standard_normal(2)
    node, chance = np.array([-np.sqrt(3), 0.0, np.sqrt(3)]), np.array([1, 4, 1]) / 6
    grid = np.stack(np.meshgrid(node, node, indexing="ij"), axis=-1).reshape(1, 9, 2) @ root.T
    noisy = ViewTable([1.0], grid, np.outer(chance, chance).reshape(1, 9))
    pull = root @ root.T @ w
    tau = 1e4 * float(w @ pull)
    f, q, x = grid[0] @ w, noisy.view_prior[0], np.linalg.norm(grid[0], axis=-1)
    r = (f[:, None] - f) ** 2 / 2 / tau
    third = np.abs(r[:, :, None] - r[:, None, :]) ** 3 / 48 / tau
    for branches, factor in (("one", -0.5), ("all", -1.5)):
        OP = operator(DeepReLU((w[None],)), noisy, 1, InfoNCELoss(tau), branches=branches).dense()
        pairs = x[:, None] * (x[:, None] + x)
        if branches == "all":
            pairs = (x[:, None] + x) ** 2
        rest = np.einsum("a,b,c,abc,abc->", q, q, q, third, pairs[:, :, None] + pairs[:, None])
        wanted = factor * np.outer(pull, pull) / tau**2
        parts.append((np.max(np.abs(OP - wanted)), rest + 32 * EPS * np.max(x**2) / tau))
    return worst(*parts)


def prove_correction_term() -> bool:
    """R111: both parts make OP₁ for two samples of two views, the slope of ξ is at most 1/4τ², both counterexamples."""
    import sympy as sp

    k = sp.symbols("k0:4", real=True)
    p, own, other, z = sp.symbols("p xi_own xi_other z", positive=True)
    prior = (p, 1 - p)
    mean = [(k[0] + k[1]) / 2, (k[2] + k[3]) / 2]
    xi0 = ((own, other), (other, own))
    # of ξ0: E[ξ0 K1(K₊ − K₋)] is half the weighted covariance of mean connections
    expected = sum(
        prior[i] * prior[j] * xi0[i][j] * mean[i] * (mean[i] - mean[j]) for i, j in product((0, 1), repeat=2)
    )
    half = sum(
        prior[i] * prior[j] * xi0[i][j] * (mean[i] - mean[j]) ** 2 / 2 for i, j in product((0, 1), repeat=2)
    )
    logistic = 1 / (1 + sp.exp(-z))
    steep = sp.simplify((sp.Rational(1, 4) - sp.tanh(z / 2) ** 2 / 4 - sp.diff(logistic, z)).rewrite(sp.exp))
    # counterexample 1, τ = 1/z: the sample itself keeps r = 0; the other has r₋ = 2 and ξ0 = ½z
    terms = [(sp.Rational(1, 2), z / 2, 0), (sp.Rational(1, 2), z / (1 + sp.exp(2 * z)), 2)]
    norm = -sum(chance * (xi - z / 2) * gap for chance, xi, gap in terms) * 2  # ‖(1,1)(1,1)ᵀ‖ = 2
    first = sp.simplify((norm - z * sp.tanh(z)).rewrite(sp.exp))
    # counterexample 2, one input of variance v and w = 1: moments of three independent Gaussians
    v = sp.symbols("v", positive=True)
    a, b, c = views = sp.symbols("a b c")
    y = ((a - b) ** 2 - (a - c) ** 2) / 2

    def average(polynomial: Any) -> Any:
        moments = {0: 1, 1: 0, 2: v, 3: 0, 4: 3 * v**2}
        return sum(
            coefficient * sp.prod([moments[power] for power in powers])
            for powers, coefficient in sp.Poly(polynomial, *views).terms()
        )

    one = average(y / 4 * a * (b - c)) + v**2 / 2
    both = average(y / 4 * ((a - c) ** 2 - (a - b) ** 2)) + sp.Rational(3, 2) * v**2
    return all(sp.expand(e) == 0 for e in (expected - half, steep, first, one, both))


RESULTS: tuple[Result, ...] = (
    Result(
        id="R105",
        title="one branch, all branches",
        statement=(
            "L_simp = −tr V_x[f̄(x)]. Through one branch −∇ = V[K̄_l] vec W_l, through all −∇ = 2 V[K̄_l] vec W_l, and "
            "vec W_lᵀ V[K̄_l] vec W_l = tr V[f̄] for every l."
        ),
        source="DD Theorem 3",
        hypotheses="Population, simple loss; InfoNCE and triplet operators are not proportional under augmentation.",
        as_printed=AsPrinted.REFINED,
        code="analysis.contrastive.covariance_operator.covariance_operator",
        correction="E12: the printed flow is that of one branch; training follows all of them, at twice the speed.",
        trial=one_and_all_branches,
        proof=prove_one_and_all_branches,
    ),
    Result(
        id="R110",
        title="without augmentation",
        statement=(
            "All branches: −∇ = E[Σ_k ξ_k (K − K_k)(K − K_k)ᵀ] vec W_l, positive semidefinite, for every H and every "
            "loss with ∂L/∂r_k <= 0. One branch is half of it at H = 1; at H >= 2 it is not, nor is it symmetric."
        ),
        source="DD Theorem 4, B.4",
        hypotheses="No augmentation: positives are their anchors; negatives are drawn independently.",
        as_printed=AsPrinted.REFINED,
        code="analysis.contrastive.covariance_operator.covariance_operator",
        correction="E12: what fails for H > 1 in B.4 is the one-branch gradient, not the theorem.",
        trial=without_augmentation,
        proof=prove_without_augmentation,
    ),
    Result(
        id="R111",
        title="the correction by augmentation",
        statement=(
            "OP₁ = ½V^{ξ0}[K̄ − K̄′] + E[(ξ − ξ0)K1(K₊ − K₋)ᵀ] for any symmetric ξ0, and the norm of the second is at "
            "most (M²/2τ²) E[tr V + ‖f − f′‖(√B + √B′) + ½(tr V + tr V′ + ‖b − b′‖²)], b = E f(x1) − f(x), "
            "B = tr V + ‖b‖²."
        ),
        source="DD (62), Theorem 4",
        hypotheses="InfoNCE, H = 1, M = max ‖K‖; triplet: M²/2τ.",
        as_printed=AsPrinted.CORRECTED,
        code="analysis.contrastive.correction.correction_bound",
        correction=(
            "E13: (62) drops the bias b, and the O(·) tr V too. Samples (0, ±1) moved to ±(1, 1) have a printed "
            "bound of 0 and a correction of tanh(1) at τ = 1. One sample with noise: OP₁ → −½(Σw)(Σw)ᵀ/τ² as τ → ∞, "
            "and −3/2 instead of −½ through all branches: negative, at r = 0. The slope of ξ is at most 1/4τ²."
        ),
        trial=correction_term,
        proof=prove_correction_term,
    ),
)
"""R105, R110 and R111."""
