"""Pairs of views that a contrastive gradient weighs, as a weighted graph and its Laplacian (R105, R110–R112)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np

from dynamics.contrastive_losses import ContrastiveLoss, pair_weights
from dynamics.data.view_tables import ContrastiveDraw, ViewTable

Branches = Literal["one", "all"]
"""Whether gradients pass through the anchor's branch alone, as in DD's theorems, or through all, as in training."""

MOST_TUPLES = 2e7
"""Tuples of an anchor, a positive and negatives that are enumerated at most."""
MOST_AT_ONCE = 10**6
"""Tuples in memory at a time."""


class PairGraph(NamedTuple):
    """Weights of pairs of views in −∇L: through branch i alone, −∇ = Σ_ij c_ij K_i (f_i − f_j).

    Parameters
    ----------
    weights
        c, shape (V, V), an array or a sparse one: negatives count with +ξ, positives with −∂L/∂r₊.
    augmented
        Whether some positive differs from its anchor.
    repelling
        Whether every ξ >= 0: no negative attracts.
    """

    weights: Any
    augmented: bool
    repelling: bool

    def laplacian(self, branches: Branches) -> Any:
        """Matrix 𝓛 with −∇ = Σ_ij K_i 𝓛_ij f_j, shape (V, V), of the kind of `weights`.

            one branch: 𝓛 = diag(c 1) − c,   all branches: 𝓛 = diag((c + cᵀ) 1) − c − cᵀ

        The second is symmetric: pair {i, j} adds (c_ij + c_ji)(K_i − K_j)(K_i − K_j)ᵀ.
        """
        c = self.weights
        if branches == "all":
            c = c + c.T
        elif branches != "one":
            raise ValueError(f"`branches` must be one or all, got {branches!r}")
        degree = np.asarray(c.sum(axis=1)).ravel()
        if isinstance(c, np.ndarray):
            return np.diag(degree) - c
        from scipy.sparse import diags_array

        return (diags_array(degree) - c).tocsr()


def enumerated_pairs(
    table: ViewTable, outputs: np.ndarray, loss: ContrastiveLoss, negatives: int
) -> PairGraph:
    """Graph of all views of a table, exactly: every anchor, every positive, every tuple of H negatives.

    Parameters
    ----------
    table
        N samples with A views each; negatives are drawn from all views, independently.
    outputs
        f of every view, shape (N, A, n_L).
    loss
        What weighs the pairs.
    negatives
        H >= 1.

    Returns
    -------
    PairGraph
        Of V = N·A views, sample by sample.

    Raises
    ------
    ValueError
        `negatives` < 1, or more than `MOST_TUPLES` tuples.

    Notes
    -----
    Source: R105. The H negatives are exchangeable, and tuples are listed in blocks of a first few of them.

    Examples
    --------
    >>> from dynamics.contrastive_losses import SimpleLoss
    >>> table = ViewTable([0.5, 0.5], [[[0.0]], [[1.0]]])
    >>> enumerated_pairs(table, table.views, SimpleLoss(), 1).laplacian("all")
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    n, a, _ = outputs.shape
    if negatives < 1:
        raise ValueError(f"`negatives` must be an integer >= 1, got {negatives}")
    if n * a * a * float(n * a) ** negatives > MOST_TUPLES:
        raise ValueError(
            f"`draws` must be given for {n} samples of {a} views with {negatives} negatives: there are more than"
            f" {MOST_TUPLES:.0e} tuples"
        )
    f = outputs.reshape(n * a, -1)
    p = (table.prior[:, None] * table.view_prior).ravel()
    c, repelling = np.zeros((n * a, n * a)), True
    for i in range(n * a):
        x = i // a
        own = slice(x * a, (x + 1) * a)
        r = np.sum((f[i] - f) ** 2, axis=1) / 2
        for tuples in _tuples(n * a, negatives, MOST_AT_ONCE // a):
            chance = np.prod(p[tuples], axis=1)
            slope, xi = pair_weights(
                loss, r[own, None] + 0 * chance, r[None, tuples] + 0 * r[own, None, None]
            )
            weight = p[i] * table.view_prior[x][:, None] * chance  # of anchor, positive, negatives
            c[i, own] -= np.sum(weight * slope, axis=1)
            for k in range(negatives):
                c[i] += np.bincount(tuples[:, k], np.sum(weight * xi[..., k], axis=0), minlength=n * a)
            repelling &= bool(np.all(xi >= 0))
    seen = table.view_prior > 0
    augmented = any(
        np.any(views[keep] != views[keep][0]) for views, keep in zip(table.views, seen, strict=True)
    )
    return PairGraph(c, augmented, repelling)


def _tuples(n: int, length: int, at_once: int) -> Iterator[np.ndarray]:
    """All tuples of numbers below n, in blocks (m, length) of which the last few columns run through everything."""
    tail = 1
    while tail < length and n ** (tail + 1) <= at_once:
        tail += 1
    block = np.stack(np.meshgrid(*[np.arange(n)] * tail, indexing="ij"), axis=-1).reshape(-1, tail)
    for head in product(range(n), repeat=length - tail):
        yield np.column_stack([np.broadcast_to(np.array(head, int), (len(block), length - tail)), block])


def sampled_pairs(draw: ContrastiveDraw, outputs: tuple[np.ndarray, ...], loss: ContrastiveLoss) -> PairGraph:
    """Graph of drawn views: the n anchors, then their positives, then their H negatives, row by row.

    Parameters
    ----------
    draw
        n anchors, positives and (n, H) negatives.
    outputs
        f of the three, shapes (n, n_L), (n, n_L), (n, H, n_L).
    loss
        What weighs the pairs.

    Returns
    -------
    PairGraph
        Sparse, of V = n(2 + H) views.
    """
    from scipy.sparse import csr_array

    f1, f_pos, f_neg = outputs
    n, h, _ = f_neg.shape
    r_pos = np.sum((f1 - f_pos) ** 2, axis=-1) / 2
    slope, xi = pair_weights(loss, r_pos, np.sum((f1[:, None] - f_neg) ** 2, axis=-1) / 2)
    anchors = np.arange(n)
    rows = np.concatenate([anchors, np.repeat(anchors, h)])
    columns = np.concatenate([n + anchors, 2 * n + np.arange(n * h)])
    size = n * (2 + h)
    c = csr_array((np.concatenate([-slope, xi.ravel()]) / n, (rows, columns)), shape=(size, size))
    return PairGraph(c, bool(np.any(draw.anchor != draw.positive)), bool(np.all(xi >= 0)))
