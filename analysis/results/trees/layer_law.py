"""Results on layers of networks on trees: R210, R211, R212."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, refuted, worst
from analysis.trees.ceilings import bayes_ceiling
from analysis.trees.layer_law import (
    balance_rates,
    layer_rates,
    linear_tree_blow_up,
    linear_tree_gain,
    norm_increments,
)
from analysis.trees.moments import conditional_covariance
from dynamics.data.latent_trees import LatentTree, path_polarities
from dynamics.integration.blow_up import integrate_to_blow_up
from dynamics.integration.trajectory import Status

if TYPE_CHECKING:
    from dynamics.training.tree_networks import TreeNetworkSettings

UNITS = 3
TINY = 1e-150
"""Floor of a normaliser that no output feels."""


def _outputs(settings: TreeNetworkSettings, weights: Any, leaves: Any) -> Any:
    from dynamics.training.tree_networks import tree_outputs

    return tree_outputs(settings, weights, leaves)


def _measure(settings: TreeNetworkSettings, weights: Any, states: Any, root_mean: float) -> Any:
    from dynamics.training.tree_networks import measure_levels

    return measure_levels(settings, weights, states, root_mean)


def _network(rng: np.random.Generator, height: int, **options: Any) -> tuple[Any, tuple[np.ndarray, ...]]:
    """Settings, and weights of a binary network whose layers have scales of their own."""
    from dynamics.training.tree_networks import TreeNetworkSettings, draw_tree_network

    settings = TreeNetworkSettings(units=UNITS, floor=TINY, **options)
    drawn = draw_tree_network(2, height, settings, seed=int(rng.integers(2**31)))
    return settings, tuple(10 ** rng.uniform(-1, 1) * layer for layer in drawn)


@lru_cache(maxsize=16)
def _slopes_of(outputs: Callable[..., Any], settings: TreeNetworkSettings) -> Callable[..., Any]:
    """Compiled outputs, and derivative by all weights of Σ ⟨∂L/∂output, output⟩, for whatever ∂L/∂output."""
    import jax

    def value(weights: Any, leaves: Any, slopes: Any) -> tuple[Any, Any]:
        found = outputs(settings, weights, leaves)
        return (found * slopes).sum(), found

    return jax.jit(jax.grad(value, has_aux=True))


def _gradient(outputs: Any, settings: Any, weights: Any, leaves: Any, slopes: Any) -> tuple[Any, np.ndarray]:
    import jax

    with jax.enable_x64(True):
        by, found = _slopes_of(outputs, settings)(weights, leaves, slopes)
        return tuple(np.asarray(part) for part in by), np.asarray(found)


# --- R210 ---------------------------------------------------------------------------------------------------


def layer_law(
    rng: np.random.Generator,
    *,
    outputs: Callable[..., Any] = _outputs,
    balance: Callable[..., list[np.ndarray]] = balance_rates,
    rates: Callable[..., np.ndarray] = layer_rates,
    increments: Callable[..., np.ndarray] = norm_increments,
    blow_up: Callable[..., float] = linear_tree_blow_up,
) -> Measurement:
    """R210: rates of units and layers for any ∂L/∂output, the growth of a step, and the blow-up of a linear tree."""
    normalised = bool(rng.integers(2))
    settings, weights = _network(rng, 3, normalised=normalised)
    leaves, slopes = rng.uniform(0, 1, (8, 6)), rng.standard_normal((6, UNITS))
    by, found = _gradient(outputs, settings, weights, leaves, slopes)
    # products of weights along every path, whatever their signs: what a derivative by a layer may cancel from
    absolute = np.abs(leaves)[..., None]
    for layer in reversed(weights):
        pairs = absolute.reshape(len(layer), 2, 6, -1).swapaxes(1, 2).reshape(len(layer), 6, -1)
        absolute = pairs @ np.abs(layer).swapaxes(1, 2)
    paths = np.linalg.norm(absolute[0], axis=1) * np.linalg.norm(slopes, axis=1)
    if normalised:
        raw = _gradient(_outputs, _network_like(settings), weights, leaves, slopes)[1]
        lengths = np.linalg.norm(raw, axis=1)
        paths = paths[lengths > 0] / lengths[lengths > 0]
    rounding = 32 * EPS * float(paths.sum()) or EPS
    euler = 0.0 if normalised else -2 * float(np.sum(slopes * found))
    parts: list[tuple[Any, Any]] = [(np.abs(rates(weights, by) - euler), rounding)]
    parts.extend((np.abs(rate), rounding) for rate in balance(weights, by))
    if normalised:
        steepest = max(float(np.linalg.norm(part)) for part in by)
        step = 10 ** rng.uniform(-3, 0) / (1 + steepest)
        squares = np.array([np.sum(layer**2) for layer in weights])
        after = np.array([np.sum((w - step * g) ** 2) for w, g in zip(weights, by, strict=True)])
        grown = squares + increments(step, by)
        parts.append((np.abs(after - grown), step * rounding + 8 * EPS * grown))
    parts.extend(_linear_blow_up(rng, blow_up))
    return worst(*parts)


def _network_like(settings: Any) -> Any:
    """The same without a normaliser."""
    from dataclasses import replace

    return replace(settings, normalised=False)


class _Edges(NamedTuple):
    """Weights of all edges of a tree, level by level from the root down."""

    edges: np.ndarray


def _linear_blow_up(rng: np.random.Generator, blow_up: Callable[..., float]) -> list[tuple[Any, Any]]:
    """Blow-up of the flow of every edge of a linear tree, by the means of its nodes at either state of the root."""
    b, L = int(rng.integers(1, 3)), int(rng.integers(2, 4))
    rho = rng.uniform(0.5, 1.0, L) * rng.choice([-1, 1], L)
    rho_0, q0, leaf = rng.uniform(-0.8, 0.8), rng.uniform(0.3, 3.0), rng.uniform(0.3, 1.0)
    count = b ** np.arange(1, L + 1)
    starts = np.cumsum([0, *count])

    def field(t: float, state: _Edges) -> _Edges:
        w = [state.edges[i:j] for i, j in pairwise(starts)]
        s = [np.full(count[-1], leaf)]  # selectivity of the nodes, from the leaves up
        for level in reversed(range(L)):
            s.append((rho[level] * w[level] * s[-1]).reshape(-1, b).sum(axis=1))
        s.reverse()
        back, slopes = (1 - rho_0**2) * s[0], []  # ∂/∂s of ½ (1 − ρ_0²) s_root²
        for level in range(L):
            back = np.repeat(back, b)
            slopes.append(back * rho[level] * s[level + 1])
            back = back * rho[level] * w[level]
        return _Edges(np.concatenate(slopes))

    start = _Edges(np.repeat(np.sqrt(q0 / count) * rng.choice([-1, 1], L), count))
    run = integrate_to_blow_up(field, start)
    stated = blow_up(b, rho, q0, leaf_selectivity=leaf, root_polarity=rho_0)
    both = blow_up(b, rho, q0, leaf_selectivity=leaf, root_polarity=rho_0, branches="all")
    return [
        refuted(unless=run.status is Status.BLOW_UP),
        # the run's estimate of its error, several times over as it is no bound
        (abs(run.t - stated), 4 * run.error + 16 * EPS * stated),
        (abs(2 * both - stated), 4 * EPS * stated),
    ]


def prove_layer_law() -> bool:
    """R210: two units in a row balance; q(t) solves dq/dt = 2(1 − ρ_0²)κ²q^L; κ of a tree of four leaves."""
    import sympy as sp

    w, v, x = sp.symbols("w v x", real=True)
    f = sp.Function("L")(v * w * x)  # an active unit with weight w in and v out
    balanced = sp.simplify(w * sp.diff(f, w) - v * sp.diff(f, v)) == 0
    t, q0, rate = sp.symbols("t q0 rate", positive=True)
    L = sp.symbols("L", integer=True, positive=True)
    q = (q0 ** (1 - L) - rate * (L - 1) * t) ** (1 / (1 - L))
    solves = sp.simplify(sp.diff(q, t) / q**L - rate) == 0
    r1, r2, leaf, size = sp.symbols("r1 r2 leaf q", positive=True)
    w1, w2 = sp.sqrt(size / 2), sp.sqrt(size / 4)
    root = 2 * r1 * w1 * (2 * r2 * w2 * leaf)
    kappa = leaf * (2 * r1 / sp.sqrt(2)) * (2 * r2 / sp.sqrt(4))
    numbers = {r1: 0.9, r2: 0.7, leaf: 0.5}
    return bool(
        balanced
        and solves
        and sp.simplify(root - kappa * size) == 0
        and abs(float(kappa.subs(numbers)) - linear_tree_gain(2, [0.9, 0.7])) < 4 * EPS
    )


# --- R211 ---------------------------------------------------------------------------------------------------


class _Enumerated(NamedTuple):
    """A tree of height 2 and equally likely states, 4⁶ for either root, that have its law exactly."""

    tree: LatentTree
    root_mean: float
    states: tuple[np.ndarray, ...]


def _enumerated(rng: np.random.Generator) -> _Enumerated:
    """Polarities are multiples of ½, so that each edge has four equally likely outcomes."""
    rho = rng.choice([-1.0, -0.5, 0.5, 1.0], 6)
    rho[rng.integers(6)] = 0.5 * rng.choice([-1, 1])
    root_polarity = float(rng.choice([0.0, rng.uniform(-0.9, 0.9)]))
    outcomes = np.indices((4,) * 6).reshape(6, -1)
    same = outcomes < (2 + 2 * rho[:, None])  # of 4: 2(1 + ρ)
    root = np.repeat([[False, True]], same.shape[1], axis=1)
    same = np.tile(same, 2)
    middle = root == same[:2]
    leaves = np.repeat(middle, 2, axis=0) == same[2:]
    tree = LatentTree.binary(2, 2, rho, root_polarity)
    return _Enumerated(tree, (1 + root_polarity) / 2, (root, middle, leaves))


@lru_cache(maxsize=16)
def _compiled(measure: Callable[..., Any], settings: TreeNetworkSettings) -> Callable[..., Any]:
    import jax

    return jax.jit(lambda weights, states, root_mean: measure(settings, weights, states, root_mean))


def _records(measure: Any, settings: Any, weights: Any, case: _Enumerated) -> list[list[np.ndarray]]:
    """Correlations, norms with either J and data factors, level by level."""
    import jax

    with jax.enable_x64(True):
        found = _compiled(measure, settings)(weights, case.states, case.root_mean)
        return [[np.asarray(part) for part in level] for level in found]


def _leaf_laws(case: _Enumerated) -> tuple[np.ndarray, np.ndarray]:
    """All patterns of four leaves, shape (16, 4), and their probabilities given the root, shape (2, 16)."""
    patterns = np.indices((2,) * 4).reshape(4, -1).T
    table = case.tree.table
    laws = np.ones((2, 16))
    for k in range(2):
        leaf = [
            table[3 + 2 * k + i][:, patterns[:, 2 * k + i]] for i in range(2)
        ]  # by the state of the parent
        laws *= table[1 + k] @ (leaf[0] * leaf[1])
    return patterns, laws


def _listed_norms(
    case: _Enumerated, weights: Any, values: tuple[float, float], normalised: bool
) -> list[float]:
    """‖OP‖ of the root and of its two children, from K of every pattern of leaves and the whole covariance matrix."""
    top, below = weights[0][0], weights[1]
    patterns, laws = _leaf_laws(case)
    shown = np.where(patterns == 1, values[1], values[0])
    K: list[list[np.ndarray]] = [[], [], []]
    for x in shown:
        h = [np.maximum(below[k] @ x[2 * k : 2 * k + 2], 0) for k in range(2)]
        f_in = np.concatenate(h)
        f = top @ f_in
        length = np.linalg.norm(f)
        J = np.eye(UNITS)
        if normalised:
            J = (np.eye(UNITS) - np.outer(f, f) / length**2) / length if length else np.zeros((UNITS, UNITS))
        K[0].append(np.kron(f_in, J.T).reshape(UNITS, -1).T)
        for k in range(2):
            Jk = J @ top[:, k * UNITS : (k + 1) * UNITS] * (h[k] > 0)
            K[1 + k].append(np.einsum("k,aj->kja", x[2 * k : 2 * k + 2], Jk).reshape(-1, UNITS))
    norms = []
    pi = case.tree.root_law
    for found in K:
        means = np.einsum("zn,nka->zka", laws, np.array(found))
        centre = np.einsum("z,zka->ka", pi, means)
        norms.append(
            float(
                np.linalg.norm(sum(p * (m - centre) @ (m - centre).T for p, m in zip(pi, means, strict=True)))
            )
        )
    return norms


def operator_norms(
    rng: np.random.Generator,
    *,
    measure: Callable[..., Any] = _measure,
    covariance: Callable[..., np.ndarray] = conditional_covariance,
    outputs: Callable[..., Any] = _outputs,
) -> Measurement:
    """R211: ‖OP‖ with either J against lists of all K, its degree in each layer, the data factor, scaled steps."""
    case = _enumerated(rng)
    values = ((0.0, 1.0), (-0.5, 2.0))[rng.integers(2)]
    settings, weights = _network(rng, 2, leaf_values=values)
    records = _records(measure, settings, weights, case)
    parts: list[tuple[Any, Any]] = []
    for which, normalised in ((1, False), (2, True)):
        listed = _listed_norms(case, weights, values, normalised)
        measured = [*records[0][which], *records[1][which]]
        # means of 2·4⁶ terms no larger than the largest K, squared
        size = _largest(weights, values, normalised, case) ** 2
        parts.append((np.abs(np.subtract(measured, listed)), 256 * EPS * size))
        for layer in range(2):
            c = 10 ** rng.uniform(-2, 2)
            scaled = [c * part if i == layer else part for i, part in enumerate(weights)]
            other = _records(measure, settings, scaled, case)
            for level in range(2):
                degree = (2 if level != layer else 0) if which == 1 else (-2 if level == layer else 0)
                gap = np.abs(other[level][which] / c**degree - records[level][which])
                parts.append((gap, 256 * EPS * size))
    # the data factor of the lowest level, a constant of the data
    s, edges = (values[1] - values[0]) / 2, case.tree.table[:, 1, 1] - case.tree.table[:, 0, 1]
    path = path_polarities(case.tree)
    for k in range(2):
        rho = edges[3 + 2 * k : 5 + 2 * k]
        stated = path[1 + k] ** 2 * 4 * np.prod(case.tree.root_law) * np.sum(rho**2) * s**2
        largest = 256 * EPS * max(map(abs, values)) ** 2
        by_theorem = np.linalg.norm(covariance(case.tree, 1 + k, rho * s))
        parts.append((abs(records[1][3][k] - stated), largest))
        parts.append((abs(by_theorem - stated), largest))
        parts.append((np.abs(other[1][3] - records[1][3]), largest))
    # an SGD step from c W with c² ε is c times the step from W with ε
    leaves, slopes = rng.uniform(0, 1, (4, 6)), rng.standard_normal((6, UNITS))
    c = 10 ** rng.uniform(-2, 2)
    g, _ = _gradient(outputs, settings, weights, leaves, slopes)
    scaled, _ = _gradient(outputs, settings, tuple(c * part for part in weights), leaves, slopes)
    rounding = _gradient_rounding(outputs, settings, weights, leaves, slopes)
    parts.extend((np.abs(c * one - other), rounding) for one, other in zip(scaled, g, strict=True))
    return worst(*parts)


def _largest(weights: Any, values: tuple[float, float], normalised: bool, case: _Enumerated) -> float:
    """Bound on ‖K‖ of every level and every pattern of leaves that can be seen."""
    top, below = np.linalg.norm(weights[0]), np.linalg.norm(weights[1])
    x = 2 * max(map(abs, values))
    size = float(x * max(below, top) * math.sqrt(UNITS))
    if not normalised:
        return size
    patterns, laws = _leaf_laws(case)
    shown = np.where(patterns == 1, values[1], values[0])
    h = [np.maximum(shown[:, 2 * k : 2 * k + 2] @ weights[1][k].T, 0) for k in range(2)]
    lengths = np.linalg.norm(np.concatenate(h, axis=1) @ weights[0][0].T, axis=1)
    seen = lengths[(lengths > 0) & (laws.sum(axis=0) > 0)]
    return size / float(seen.min()) if seen.size else size


def _gradient_rounding(outputs: Any, settings: Any, weights: Any, leaves: Any, slopes: Any) -> float:
    """Rounding of derivatives of normalised outputs: products along paths over the lengths of the outputs."""
    raw = _gradient(_outputs, _network_like(settings), weights, leaves, slopes)[1]
    lengths = np.linalg.norm(raw, axis=1)
    alive = lengths > 0
    norms = [float(np.linalg.norm(layer)) for layer in weights]
    size = float(np.linalg.norm(leaves)) * max(norms) * float(np.linalg.norm(slopes))
    return 64 * EPS * size * float(np.sum(1 / lengths[alive])) or EPS


# --- R212 ---------------------------------------------------------------------------------------------------


def starting_correlations(
    rng: np.random.Generator,
    *,
    measure: Callable[..., Any] = _measure,
    ceiling: Callable[..., Any] = bayes_ceiling,
) -> Measurement:
    """R212: correlations of latents with units do not feel σ_w, are those of all states, and are below the ceiling."""
    case = _enumerated(rng)
    settings, weights = _network(rng, 2)
    found = _records(measure, settings, weights, case)
    scales = 10 ** rng.uniform(-3, 3, 2)
    scaled = _records(measure, settings, [c * part for c, part in zip(scales, weights, strict=True)], case)
    share = np.repeat([1 - case.root_mean, case.root_mean], case.states[0].shape[1] // 2)
    share = share / share.sum()
    hidden = [
        np.maximum(case.states[2][2 * k : 2 * k + 2].T.astype(float) @ weights[1][k].T, 0) for k in range(2)
    ]
    units = [np.concatenate(hidden, axis=1) @ weights[0][0].T, *hidden]
    latents = [case.states[0][0], *case.states[1]]
    measured = np.concatenate([found[0][0], found[1][0]])
    again = np.concatenate([scaled[0][0], scaled[1][0]])
    root_polarity = 2 * case.root_mean - 1
    path, table = path_polarities(case.tree), case.tree.table
    edges = table[:, 1, 1] - table[:, 0, 1]
    parts: list[tuple[Any, Any]] = []
    for i, (f, z) in enumerate(zip(units, latents, strict=True)):
        f, z = f - share @ f, z - share @ z
        covariance, variances = (share * z) @ f, (share @ f**2) * (share @ z**2)
        spread = float(np.sqrt(variances.max()))
        on = variances > (1e-10 * spread) ** 2
        correlations = np.abs(covariance[on]) / np.sqrt(variances[on]) if spread > 1e-9 else np.zeros(1)
        best = float(correlations.max())
        # sums of n terms err by n roundings: many terms are equal, and round alike
        rounding = len(f) * EPS
        parts += [(abs(measured[i] - best), rounding), (abs(measured[i] - again[i]), rounding)]
        if i:
            subtree = LatentTree.binary(2, 1, edges[2 * i + 1 : 2 * i + 3], root_polarity * path[i])
        else:
            subtree = case.tree
        parts.append((max(measured[i] - ceiling(subtree).correlation, 0.0), rounding))
    return worst(*parts)


RESULTS: tuple[Result, ...] = (
    Result(
        id="R210",
        title="the exact law of layers",
        statement=(
            "Gradient flow of any loss conserves Σ_in w² − Σ_out w² of every hidden unit, so d‖W_l‖²/dt is the "
            "same for all layers, and 0 where the output is normalised; SGD then obeys ‖W_l(t)‖² = ‖W_l(0)‖² + Σ "
            "ε²‖g_l‖². Linear tree, one unit per latent, simple loss, n_l w_l² = q at every level: dq/dt = 2(1 − "
            "ρ_0²)κ²q^L, κ = s_leaf Π b ρ_l/√n_l, and t* = q_0^{1−L}/(2(1 − ρ_0²)κ²(L − 1)), halved through all "
            "branches."
        ),
        source="new; DD after theorem 6",
        hypotheses="Positively homogeneous units without biases; the same step for all layers; t* through one branch.",
        as_printed=AsPrinted.CORRECTED,
        code="analysis.trees.layer_law.balance_rates",
        correction="E26: training is not faster at the top layers where a layer's sum of squared weights is meant.",
        trial=layer_law,
        proof=prove_layer_law,
    ),
    Result(
        id="R211",
        title="what the norm of the covariance operator can show",
        statement=(
            "‖OP_l‖ with J of the output before the normaliser is homogeneous of degree 2 in every layer but its "
            "own, so of degree 2(L − 1) in a common σ_w; with J of the normalised output, of degree −2 in its own "
            "layer and 0 in the others. At the lowest level the data factor ‖V_{z0}[E[f_ch|z0]]‖ = ρ_0μ²(1 − ρ_0²) "
            "Σ_ν ρ_μν² s² is a constant of the data. With a normalised output σ_w acts through the step ε/σ_w² "
            "alone."
        ),
        source="DD G.2, Figures 9 and 10",
        hypotheses="Binary tree, ReLU without biases.",
        as_printed=AsPrinted.REFINED,
        code="dynamics.training.tree_networks.measure_levels",
        correction="The figures say neither which J nor which σ_w; growth at the lowest level is growth of J alone.",
        trial=operator_norms,
    ),
    Result(
        id="R212",
        title="trees learned by SimCLR, a small re-run",
        statement=(
            "Correlations of latents with their best units do not depend on the scale of any layer and are at most "
            "the Bayes ceiling of the latent's subtree. In the runs of C16 they rise with training, "
            "over-parameterisation and polarity; ‖OP‖ of the root rises in the first 25 steps, and after training "
            "falls level by level from the root down."
        ),
        source="DD Table 2, Figures 9 and 10",
        hypotheses="The first sentence is exact; the second is an experiment, whose choices the source does not give.",
        as_printed=AsPrinted.REFINED,
        code="analysis.experiments.trees.run",
        correction="Norms at lower levels need not grow: with J of the normalised output they fall.",
        trial=starting_correlations,
    ),
)
"""R210 to R212."""
