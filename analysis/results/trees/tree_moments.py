"""Results on latent trees: R201, R202, R203, R204, R205."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trees.small_trees import (
    activations,
    joint_states,
    means_by_state,
    random_network,
    random_tree,
)
from analysis.results.trials import EPS, refuted, worst
from analysis.trees.activations import conditional_means
from analysis.trees.ceilings import (
    Ceiling,
    bayes_ceiling,
    linear_ceiling,
    linear_ceiling_limit,
    linear_ceilings,
    posterior,
)
from analysis.trees.moments import (
    conditional_covariance,
    covariance_of_means,
    kesten_stigum,
    layer_covariance,
    layer_traces,
    means_given_root,
    path_correlation,
    selectivity,
)
from dynamics.data.latent_trees import LatentTree, centred_kernel, marginals, path_polarities, polarity
from dynamics.data.tree_moments import leaf_moments

# --- R201 ---------------------------------------------------------------------------------------------------


def composition(
    rng: np.random.Generator,
    *,
    centred: Callable[[Any, Any], np.ndarray] = centred_kernel,
    paths: Callable[[LatentTree], np.ndarray] = path_polarities,
) -> Measurement:
    """R201: a product of centred kernels against the centred product, for any start law; and determinants."""
    m = rng.integers(2, 6, 3)
    P, Q = (rng.dirichlet(np.full(m[k + 1], 0.5), m[k]) for k in range(2))
    if rng.integers(2):
        P[0] = np.eye(m[1])[0]  # a certain row
    u = rng.dirichlet(np.ones(m[0]))
    laws = u @ P, u @ P @ Q
    off = np.abs(centred(P, laws[0]) @ centred(Q, laws[1]) - centred(P @ Q, laws[1]))
    # sums of m products, of which the absolute values add up to 2 at most, of factors rounded m times themselves
    rounding = EPS * (m[0] + m[1] + 2)
    kernels = rng.dirichlet(np.full(2, 0.5), (4, 2))
    tree = LatentTree([-1, 0, 1, 2, 3], [None, *kernels], rng.dirichlet(np.ones(2)))
    wholes = accumulate(kernels, np.matmul)
    # up to four products of numbers up to 1, then a determinant of such
    apart = [abs(rho - np.linalg.det(whole)) for rho, whole in zip(paths(tree)[1:], wholes, strict=True)]
    return worst((off, rounding), (np.array(apart), 8 * EPS))


def prove_composition() -> bool:
    """R201 for 2 → 3 → 2 states, and for determinants."""
    import sympy as sp

    from analysis.results.trials import symbols, vanishes

    P, Q, u = symbols("p", 2, 3), symbols("q", 3, 2), symbols("u", 1, 2)
    for rows in (P, Q, u):  # rows that sum to 1
        rows[:, -1] = 1 - rows[:, :-1].sum(axis=1)
    up, upq = u @ P, u @ P @ Q
    product = (P - up) @ (Q - upq) - (P @ Q - upq)
    A, B = symbols("a", 2, 2), symbols("b", 2, 2)
    for rows in (A, B):
        rows[:, -1] = 1 - rows[:, 0]
    whole = A @ B
    gap = (whole[1, 1] - whole[0, 1]) - (A[1, 1] - A[0, 1]) * (B[1, 1] - B[0, 1])
    return vanishes(product) and bool(sp.expand(gap) == 0)


# --- R202 ---------------------------------------------------------------------------------------------------


def root_covariances(
    rng: np.random.Generator,
    *,
    block: Callable[[LatentTree, int, Any], np.ndarray] = conditional_covariance,
    layer: Callable[[LatentTree, Any, Any], np.ndarray] = layer_covariance,
    edge: Callable[[Any], Any] = polarity,
    bound: Callable[[LatentTree, int], float] = path_correlation,
) -> Measurement:
    """R202: blocks and layers of rectified networks against sums over all joint states; more states: the bound."""
    tree = random_tree(rng, 8, least=0.0 if rng.integers(2) else 0.1)
    parts = [
        *_blocks(rng, tree, block, layer, edge),
        *_bounds(rng, random_tree(rng, 6, 2, 0.05), bound, True),
    ]
    return worst(*parts, *_bounds(rng, random_tree(rng, 5, 4, 0.05), bound, False))


def _blocks(
    rng: np.random.Generator,
    tree: LatentTree,
    block: Callable[[LatentTree, int, Any], np.ndarray],
    layer: Callable[[LatentTree, Any, Any], np.ndarray],
    edge: Callable[[Any], Any],
) -> list[tuple[Any, Any]]:
    """Compare both closed forms with the covariance of the means given the root, over all joint states."""
    weights = random_network(rng, tree)
    states, probabilities = joint_states(tree)
    values = activations(tree, weights, states)
    parts: list[tuple[Any, Any]] = []
    for level in tree.levels[1:]:
        nodes, gains, a, f = [], [], [], []
        for node in level.nodes:
            leaf = node in tree.leaves
            s = np.array([0.5]) if leaf else selectivity(conditional_means(tree, weights, int(node)))
            nodes += [node] * len(s)
            gains.append(s)
            a.append(edge(tree.kernel(int(node))) * s)
            f.append(values[node])
        together = np.concatenate(f, axis=1)
        means = means_by_state(together, states[:, tree.root], probabilities, 2)
        wanted = covariance_of_means(tree.root_law, means)
        # means average activations of this size and round by an eps or two of it; covariances are their squares
        rounding = 4 * EPS * (1 + np.max(np.abs(together))) ** 2
        parts.append((np.abs(layer(tree, nodes, np.concatenate(gains)) - wanted), rounding))
        for parent in level.parents:
            own = np.concatenate(
                [np.full(len(s), p) for s, p in zip(gains, tree.parents[level.nodes], strict=True)]
            )
            mine = own == parent
            found = block(tree, int(parent), np.concatenate(a)[mine])
            parts.append((np.abs(found - wanted[np.ix_(mine, mine)]), rounding))
    return parts


def _bounds(
    rng: np.random.Generator, tree: LatentTree, bound: Callable[[LatentTree, int], float], exact: bool
) -> list[tuple[Any, Any]]:
    """Compare V_{z0} with Π κ² V_{zμ} in the Loewner order; for binary variables they are equal."""
    laws, node = marginals(tree), int(rng.integers(1, tree.n_nodes))
    m = int(tree.n_states[node])
    v = rng.standard_normal((m, 3))
    at_root = covariance_of_means(tree.root_law, means_given_root(tree, node, v))
    gap = bound(tree, node) ** 2 * covariance_of_means(laws[node, :m], v) - at_root
    # κ² and both covariances round by a few eps of the means' squares
    rounding = 8 * EPS * (1 + np.sum(v**2))
    if exact:
        return [(np.abs(gap), rounding)]
    return [(max(-float(np.linalg.eigvalsh(gap)[0]), 0.0), rounding)]


def prove_root_covariances() -> bool:
    """R202 for a path of two edges with any kernels."""
    import sympy as sp

    p, v0, v1 = sp.symbols("p v0 v1", real=True)
    a, b, c, d = sp.symbols("a b c d", real=True)
    P, Q = (sp.Matrix([[1 - x, x], [1 - y, y]]) for x, y in ((a, b), (c, d)))
    means = P * Q * sp.Matrix([v0, v1])
    law = sp.Matrix([[1 - p, p]])
    variance = (law * means.applyfunc(lambda x: x**2))[0] - (law * means)[0] ** 2
    rho_0, s = 2 * p - 1, (v1 - v0) / 2
    return bool(sp.expand(variance - ((b - a) * (d - c)) ** 2 * (1 - rho_0**2) * s**2) == 0)


# --- R203 ---------------------------------------------------------------------------------------------------


def layer_signal(
    rng: np.random.Generator,
    *,
    traces: Callable[[LatentTree, Any], np.ndarray] = layer_traces,
    number: Callable[[float, Any], Any] = kesten_stigum,
    paths: Callable[[LatentTree], np.ndarray] = path_polarities,
) -> Measurement:
    """R203: traces against those of the states' own means, growth on either side of bρ² = 1, and a product to ½."""
    b, height = int(rng.integers(1, 4)), int(rng.integers(2, 5))
    near = rng.uniform(0.8, 1.25) / np.sqrt(b)
    rho = float(rng.choice([-1.0, 1.0]) * min(near if rng.integers(2) else rng.uniform(0.1, 0.95), 1.0))
    tree = LatentTree.binary(b, height, rho, root_polarity=float(rng.uniform(-0.9, 0.9)))
    found = traces(tree, 0.5)
    # f = z: E[z | z_0] node by node, with the states 0 and 1
    wanted = np.zeros(height + 1)
    for depth, level in enumerate(tree.levels):
        for node in level.nodes:
            means = means_given_root(tree, int(node), np.array([[0.0], [1.0]]))
            wanted[depth] += covariance_of_means(tree.root_law, means)[0, 0]
    steps = found[1:] / found[:-1]
    grows = number(b, rho) > 1
    apart = abs(b * rho**2 - 1) > 16 * EPS
    length = int(rng.integers(10, 400))
    slow = paths(LatentTree.binary(1, length, 1 - 1 / np.arange(2, length + 2) ** 2))
    # means of states given the root round by eps per edge, and differ by ρ^depth; a path rounds once per edge
    depths = np.arange(height + 1)
    return worst(
        (np.abs(found / wanted - 1), 4 * EPS * (1 + depths) / np.abs(rho) ** depths),
        (np.abs(steps - number(b, rho)), 4 * EPS * (height + 2) * b),
        refuted(unless=not apart or np.all((steps > 1) == grows)),
        (abs(slow[-1] - (length + 2) / (2 * (length + 1))), EPS * length),
    )


def prove_layer_signal() -> bool:
    """R203: Π_{e=1}^{L} (1 − 1/(e + 1)²) = (L + 2)/(2(L + 1)) by induction, which tends to ½."""
    import sympy as sp

    L = sp.symbols("L", positive=True)
    product = (L + 2) / (2 * (L + 1))
    step = sp.simplify(product / product.subs(L, L - 1) - (1 - 1 / (L + 1) ** 2))
    return bool(step == 0 and product.subs(L, 0) == 1 and sp.limit(product, L, sp.oo) == sp.Rational(1, 2))


# --- R204 ---------------------------------------------------------------------------------------------------


def linear_bound(
    rng: np.random.Generator,
    *,
    ceilings: Callable[[LatentTree], np.ndarray] = linear_ceilings,
    limit: Callable[[int, float], float] = linear_ceiling_limit,
) -> Measurement:
    """R204: SNRs that add against the normal equations on all leaves, asymmetric trees too; the limit; both ends."""
    tree = random_tree(rng, int(rng.integers(4, 16)), least=0.2)
    moments, laws = leaf_moments(tree), marginals(tree)
    S = moments.sigma_s - np.outer(moments.mean, moments.mean)
    # covariance of leaves with the root, from means given it
    with_root = np.array(
        [np.prod(tree.root_law) * np.diff(means_given_root(tree, int(leaf), np.array([[0.0], [1.0]]))[:, 0])[0]
         for leaf in tree.leaves]
    )  # fmt: skip
    c = with_root @ np.linalg.solve(S, with_root) / np.prod(tree.root_law)
    # moments up to 1 round by EPS each, and solving multiplies that by the inverse's size
    rounding = 4 * EPS * len(S) * np.linalg.norm(np.linalg.inv(S), 2)
    b, rho = int(rng.integers(2, 5)), float(rng.uniform(0.1, 0.95))
    infinite = limit(b, rho) ** 2
    odds = b * rho**2 * infinite / (1 - rho**2 * infinite)
    heights = [float(ceilings(LatentTree.binary(b, height, rho))[0]) for height in range(1, 5)]
    sure, unsure = (float(ceilings(LatentTree.binary(b, 2, end))[0]) for end in (-1.0, 0.0))
    above = np.all(np.diff(heights) < 0) and heights[-1] > limit(b, rho)
    # the fixed-point equation divides by 1 − ρ² c, at least 1 − ρ²
    return worst(
        (abs(ceilings(tree)[0] ** 2 - c), rounding),
        (abs(odds / (1 + odds) - infinite), 8 * EPS / (1 - rho**2)),
        refuted(unless=above and (infinite > 0) == (b * rho**2 > 1)),
        refuted(unless=sure == 1 and unsure == 0 and np.all(laws[tree.leaves] > 0)),
    )


def prove_linear_bound() -> bool:
    """R204: two children whose best correlations are √c_1 and √c_2, and the fixed point of the recursion."""
    import sympy as sp

    x, y, b = sp.symbols("x y b", positive=True)  # x, y: squared correlations of the children's best with z
    # predictors of unit variance, correlation √x and √y with z, √(x y) with one another
    S = sp.Matrix([[1, sp.sqrt(x * y)], [sp.sqrt(x * y), 1]])
    g = sp.Matrix([sp.sqrt(x), sp.sqrt(y)])
    best = (g.T * S.inv() * g)[0]
    t = x / (1 - x) + y / (1 - y)
    added = sp.simplify(best - t / (1 + t))
    rho2 = sp.symbols("rho2", positive=True)
    fixed = (b * rho2 - 1) / ((b - 1) * rho2)
    odds = b * rho2 * fixed / (1 - rho2 * fixed)
    return bool(added == 0 and sp.simplify(odds / (1 + odds) - fixed) == 0)


# --- R205 ---------------------------------------------------------------------------------------------------


def bayes_bound(
    rng: np.random.Generator,
    *,
    belief: Callable[[LatentTree, Any], np.ndarray] = posterior,
    ceiling: Callable[..., Ceiling] = bayes_ceiling,
    means: Callable[[LatentTree, Sequence[Any], int], np.ndarray] = conditional_means,
) -> Measurement:
    """R205: posterior, its law and conditional means of rectified units against sums over all joint states."""
    several = random_tree(rng, 5, 4, 0.05)
    tree = random_tree(rng, int(rng.integers(4, 10)), least=0.0 if rng.integers(2) else 0.05)
    parts: list[tuple[Any, Any]] = []
    for one in (several, tree):
        states, probabilities = joint_states(one)
        leaves, place = np.unique(states[:, one.leaves], axis=0, return_inverse=True)
        weights = np.zeros((len(leaves), len(one.root_law)))
        np.add.at(weights, (place.ravel(), states[:, one.root]), probabilities)
        possible = weights.sum(1) > 0
        wanted = weights[possible] / weights[possible].sum(1, keepdims=True)
        found = belief(one, leaves[possible])
        # logarithms of probabilities of one state in 10⁵, say, round by 12 EPS per node
        parts.append((np.abs(found - wanted), 12 * EPS * one.n_nodes))
    total = weights[possible].sum(1)
    c = np.sum(total * (wanted[:, 1] - tree.root_law[1]) ** 2) / np.prod(tree.root_law)
    exact = ceiling(tree, "law").correlation
    # posteriors round by a few eps, and dividing by the root's variance enlarges that; merging moves c by its square
    parts.append((abs(exact**2 - c), 16 * EPS / np.prod(tree.root_law)))
    parts.append(refuted(unless=exact >= linear_ceiling(tree) - 64 * EPS))
    network = random_network(rng, tree)
    values = activations(tree, network, states)
    inner = [node for node in range(tree.n_nodes) if node not in tree.leaves]
    node = int(rng.choice(inner))
    brute = means_by_state(values[node], states[:, node], probabilities, 2)
    seen = marginals(tree)[node] > 0
    size = 1 + np.max(np.abs(values[node]))
    parts.append((np.abs(means(tree, network, node) - brute)[seen], 16 * EPS * size))
    return worst(*parts)


def prove_bayes_bound() -> bool:
    """R205: two leaves of a uniform root combine by x ⊕ y, and E[m²] = E[m | z = 1], summed over their states ±1."""
    import sympy as sp

    rho = sp.symbols("rho1 rho2", real=True)
    states = [(s1, s2) for s1 in (-1, 1) for s2 in (-1, 1)]
    square, given_one, combined = sp.S(0), sp.S(0), sp.S(0)
    for state in states:
        x, y = (r * s for r, s in zip(rho, state, strict=True))
        one, zero = (1 + x) * (1 + y) / 4, (1 - x) * (1 - y) / 4  # P(state | z)
        m = (one - zero) / (one + zero)
        combined += (m - (x + y) / (1 + x * y)) ** 2
        square, given_one = square + (one + zero) / 2 * m**2, given_one + one * m
    return bool(sp.simplify(combined) == 0 and sp.simplify(square - given_one) == 0)


RESULTS = (
    Result(
        id="R201",
        title="centred kernels compose",
        statement="With laws u_ν = u_μ P_μν, C_μν = P_μν − 1 u_ν obeys C_μν C_να = C_μα, for any numbers of states."
        " Binary: determinants multiply, ρ_μα = ρ_μν ρ_να, with ρ = P(1|1) − P(1|0).",
        source="DD lemma 7",
        hypotheses="rows of kernels are probabilities; kernels carry the laws down, as they do marginals",
        as_printed=AsPrinted.REFINED,
        code="dynamics.data.latent_trees.centred_kernel",
        correction="Assumption 1, that columns of centred kernels sum to 0, is not needed: it is the case of uniform"
        " laws (E30).",
        trial=composition,
        proof=prove_composition,
    ),
    Result(
        id="R202",
        title="what the root decides of activations",
        statement="On binary trees V_{z0}[E[f|z0]] = ρ_0μ²(1 − ρ_0²) a aᵀ for what a node μ gathers, a_k = ρ_μν(k) s_k,"
        " and (1 − ρ_0²) g gᵀ, g_k = ρ_0ν(k) s_k, for a whole layer. With more states, V_{z0}[E[f|z0]] ≼ Π κ²"
        " V_{zμ}[E[f|zμ]], κ the maximal correlations of the edges; equal where all are binary.",
        source="DD theorem 6, (100)",
        hypotheses="f under μ is any function of the leaves under μ; any kernels, branching and root law",
        as_printed=AsPrinted.REFINED,
        code="analysis.trees.moments.conditional_covariance",
        correction="Symmetric kernels are not needed, a layer is of rank one as a whole, and 1 − ρ_0 in section 4.3"
        " reads 1 − ρ_0², as in (100).",
        trial=root_covariances,
        proof=prove_root_covariances,
    ),
    Result(
        id="R203",
        title="the root's signal by depth",
        statement="The trace of a layer's covariance is (1 − ρ_0²)Σ_ν ρ_0ν² s_ν², which is (1 − ρ_0²)s²(bρ²)^depth for"
        " constant ρ and s: it grows downwards iff bρ² > 1 (Kesten–Stigum). ρ_0μ → 0 along a path without a zero iff"
        " Σ(1 − |ρ_e|) = ∞: ρ_e = 1 − 1/(e + 1)² has the product (L + 2)/(2(L + 1)) → ½.",
        source="DD theorem 6, remark",
        hypotheses="binary variables; for the power law, a complete tree of constant ρ and s",
        as_printed=AsPrinted.REFINED,
        code="analysis.trees.moments.layer_traces",
        correction="max |ρ| < 1 makes ρ_0μ vanish only where the bound is uniform in the depth, and a vanishing block"
        " does not make a vanishing layer (E26).",
        trial=layer_signal,
        proof=prove_layer_signal,
    ),
    Result(
        id="R204",
        title="ceiling of linear functions",
        statement="The best squared correlation of a linear function of the leaves under μ with z_μ is c_μ = t/(1 + t),"
        " t = Σ_ν κ_μν² c_ν/(1 − κ_μν² c_ν), c = 1 at a leaf, κ the correlation of parent and child (|ρ| for symmetric"
        " kernels and uniform laws). Constant ρ: c_∞ = (bρ² − 1)/((b − 1)ρ²) if bρ² > 1, else 0.",
        source="new; for DD table 2",
        hypotheses="binary variables, kernels symmetric or not",
        as_printed=AsPrinted.NEW,
        code="analysis.trees.ceilings.linear_ceilings",
        trial=linear_bound,
        proof=prove_linear_bound,
    ),
    Result(
        id="R205",
        title="ceiling of all functions",
        statement="The best correlation of a function of the leaves with a binary root is √(V[P(z_0 = 1|leaves)]/"
        "(π_0(0)π_0(1))), that of the posterior; √E[m²] = √E[m|z_0 = 1] for a uniform root, m ← ⊕_ν ρ_ν m_ν, x ⊕ y ="
        " (x + y)/(1 + xy), on symmetric trees. Belief propagation gives the posterior; atoms pushed up give its law.",
        source="new; for DD table 2",
        hypotheses="a binary root of both states; for the law by atoms, binary variables throughout",
        as_printed=AsPrinted.NEW,
        code="analysis.trees.ceilings.bayes_ceiling",
        trial=bayes_bound,
        proof=prove_bayes_bound,
    ),
)
