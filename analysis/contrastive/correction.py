"""What augmentation adds to the covariance of mean connections: the correction term and its bound (R111)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dynamics.contrastive_losses import InfoNCELoss, TripletLoss, pair_weights
from dynamics.data.view_tables import ViewTable
from dynamics.deep_networks import DeepReLU, connection, forward


class Correction(NamedTuple):
    """OP₁ = ½ V^{ξ0}[K̄ − K̄′] + correction, for one negative and gradients through one branch.

    Parameters
    ----------
    weighted
        ½ E_{x,x′}[ξ0(x, x′)(K̄ − K̄′)(K̄ − K̄′)ᵀ], with ξ0 the weight of the samples before augmentation, (m, m).
    correction
        E[(ξ − ξ0) K1 (K₊ − K₋)ᵀ], (m, m), m = n_l n_{l−1}.
    norm
        Spectral norm of the correction.
    bound
        Upper bound of `norm`.
    without_bias
        The same expression with b(x) = E f(x1) − f(x) left out, as DD (62) has it: no bound.
    """

    weighted: np.ndarray
    correction: np.ndarray
    norm: float
    bound: float
    without_bias: float


def correction_bound(
    net: DeepReLU, table: ViewTable, layer: int, loss: InfoNCELoss | TripletLoss
) -> Correction:
    """Correction term of a layer under augmentation, exactly, and its bound.

        ‖E[(ξ − ξ0) K1 (K₊ − K₋)ᵀ]‖ <= 2 M² Lip(ξ) E_{x,x′}[tr V + ‖f − f′‖(√B + √B′) + ½(tr V + tr V′ + ‖b − b′‖²)]

    with M = max ‖K‖, V(x) the covariance of f over the views of x, b(x) their bias, B = tr V + ‖b‖², and Lip(ξ) =
    1/(4τ²) for InfoNCE, 1/(4τ) for the triplet loss.

    Parameters
    ----------
    net
        The network.
    table
        Views, with `originals`.
    layer
        l, from 1 to L.
    loss
        InfoNCE with the positive in the denominator, or the soft triplet loss, τ > 0; one negative.

    Returns
    -------
    Correction
        Both terms, the norm of the second, and the bounds.

    Raises
    ------
    ValueError
        The table has no `originals`, `layer` is out of range, or the loss is another one.

    Notes
    -----
    Dense: memory is that of all connections of the table. ξ is a logistic function of (r₊ − r₋)/τ, whose slope is
    at most ¼. Source: R111, which corrects DD (62).

    Examples
    --------
    >>> table = ViewTable([0.5, 0.5], [[[1.0, 1.0]], [[-1.0, -1.0]]], originals=[[0.0, 1.0], [0.0, -1.0]])
    >>> found = correction_bound(DeepReLU(([[1.0, 0.0]],)), table, 1, InfoNCELoss(temperature=1.0))
    >>> round(found.norm, 4), round(found.bound, 12), found.without_bias
    (0.7616, 1.0, 0.0)
    """
    if table.originals is None:
        raise ValueError("`table` must hold the samples before augmentation, `originals`, got none")
    T = loss.temperature
    if isinstance(loss, InfoNCELoss) and loss.positive_in_denominator:
        lipschitz = 1 / (4 * T) / T
    elif isinstance(loss, TripletLoss) and T > 0:
        lipschitz = 1 / (4 * T)
    else:
        raise ValueError(
            f"`loss` must be InfoNCE with its positive, or triplet with a temperature > 0, got {loss!r}"
        )
    p, q = table.prior, table.view_prior
    K, f = connection(net, table.views, layer), forward(net, table.views).output
    f0 = forward(net, table.originals).output
    mean_K, mean_f = table.average(K), table.average(f)

    between = np.sum((f0[:, None] - f0[None]) ** 2, axis=-1)
    _, xi0 = pair_weights(loss, np.zeros_like(between), between[..., None] / 2)
    xi0 = xi0[..., 0]
    gap = mean_K[:, None] - mean_K[None]
    weighted = np.einsum("x,y,xy,xyic,xyjc->ij", p, p, xi0, gap, gap, optimize=True) / 2

    # r[x, a, y, c] between view a of x and view c of y
    r = np.sum((f[:, :, None, None] - f[None, None]) ** 2, axis=-1) / 2
    r_pos = r[np.arange(len(p)), :, np.arange(len(p))]  # [x, a, b]
    _, xi = pair_weights(loss, r_pos[..., None, None] + 0 * r[:, :, None], r[:, :, None, ..., None])
    # chances of anchor a, positive b, and negative c of y
    chance = np.einsum("x,xa,xb,y,yc->xabyc", p, q, q, p, q)
    excess = chance * (xi[..., 0] - xi0[:, None, None, :, None])
    positive = np.einsum("xabyc,xais,xbjs->ij", excess, K, K, optimize=True)
    correction = positive - np.einsum("xabyc,xais,ycjs->ij", excess, K, K, optimize=True)

    variance = table.average(np.sum((f - mean_f[:, None]) ** 2, axis=-1))  # tr V(x)
    bias = mean_f - f0
    most = np.max(np.linalg.norm(K, 2, axis=(-2, -1)))

    def bound(bias: np.ndarray) -> float:
        off = np.sqrt(variance + np.sum(bias**2, axis=-1))
        apart = np.sum((bias[:, None] - bias[None]) ** 2, axis=-1)
        terms = variance[:, None] + np.sqrt(between) * (off[:, None] + off)
        terms = terms + (variance[:, None] + variance + apart) / 2
        return float(2 * most**2 * lipschitz * (p @ terms @ p))

    return Correction(
        weighted, correction, float(np.linalg.norm(correction, 2)), bound(bias), bound(0 * bias)
    )
