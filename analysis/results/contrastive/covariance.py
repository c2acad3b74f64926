"""Results on the covariance operator: R105."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.contrastive.covariance_operator import covariance_operator, mean_connection
from analysis.results.contrastive.connections import random_network
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, worst
from dynamics.contrastive_losses import SimpleLoss
from dynamics.data.view_tables import ViewTable
from dynamics.deep_networks import connection, forward, vec


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
)
"""R105."""
