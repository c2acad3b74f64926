"""Vector fields of two-layer networks under the simple contrastive loss (R124–R126)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

BRANCHES = {"one": 1.0, "all": 2.0}
"""Speed of the flow by the branches that carry the gradient: x1 alone, or all of them (R105)."""


class TwoLayerState(NamedTuple):
    """Weights of a two-layer network, f = W2 ψ(W1 x).

    Parameters
    ----------
    bottom
        W1, shape (n1, d): row j belongs to hidden node j.
    top
        W2, shape (n2, n1); or (n1,) for a diagonal W2, one output per hidden node.
    """

    bottom: Any
    top: Any


def branch_speed(branches: str) -> float:
    """Speed of the flow: 1 where x1 alone carries the gradient, 2 where all branches do (R105).

    >>> branch_speed("all")
    2.0
    """
    if branches not in BRANCHES:
        raise ValueError(f"`branches` must be {' or '.join(BRANCHES)}, got {branches!r}")
    return BRANCHES[branches]


def diagonal_two_layer_field(
    t: float,
    state: TwoLayerState,
    covariance_of: Callable[[Any], Any] | Any,
    *,
    weight_decay: float = 0.0,
    branches: str = "one",
) -> TwoLayerState:
    """Flow of a two-layer network with a diagonal top layer under the simple loss: nodes do not interact.

        dw1_j/dt = c w2_j² A_j w1_j − η w1_j
        dw2_j/dt = c w2_j w1_jᵀA_j w1_j − η w2_j

    with A_j = V_k[E[ψ′(w1_jᵀx) x]] the covariance over sources of the gated mean view of node j.

    Parameters
    ----------
    t
        Time; the field does not depend on it.
    state
        `bottom` (n1, d) and `top` (n1,).
    covariance_of
        W1 ↦ A, shape (n1, d, d) or (d, d) for all nodes; or that array itself.
    weight_decay
        η >= 0, a rate, on both layers.
    branches
        "one" or "all": c = 1 or 2.

    Raises
    ------
    ValueError
        `branches` is neither.

    Notes
    -----
    Source: DD theorem 5, equation (14); R124.

    Examples
    --------
    >>> diagonal_two_layer_field(0.0, TwoLayerState(np.array([[1.0, 2.0]]), np.array([3.0])), np.diag([1.0, 0.5]))
    TwoLayerState(bottom=array([[9., 9.]]), top=array([9.]))
    """
    W1, w2 = state
    A = covariance_of(W1) if callable(covariance_of) else covariance_of
    Aw = W1 @ A if np.ndim(A) == 2 else np.einsum("jab,jb->ja", A, W1)
    c, eta = branch_speed(branches), weight_decay
    return TwoLayerState(
        c * (w2**2)[:, None] * Aw - eta * W1,
        c * w2 * (W1 * Aw).sum(axis=1) - eta * w2,
    )


def two_layer_field(
    t: float,
    state: TwoLayerState,
    cross_covariances: Callable[[Any], Any] | Any,
    *,
    weight_decay: float = 0.0,
    branches: str = "one",
) -> TwoLayerState:
    """Flow of a two-layer network with a full top layer under the simple loss.

        dw1_j/dt = c Σ_k (W2ᵀW2)_jk Γ_jk w1_k − η w1_j
        dW2/dt   = c W2 F − η W2,    F_jk = w1_jᵀ Γ_jk w1_k

    with Γ_jk the covariance over sources of the gated mean views of nodes j and k. For a linear network Γ_jk = V for
    all pairs, dW1/dt = c W2ᵀW2 W1 V and dW2/dt = c W2 W1 V W1ᵀ.

    Parameters
    ----------
    t
        Time; the field does not depend on it.
    state
        `bottom` (n1, d) and `top` (n2, n1).
    cross_covariances
        W1 ↦ Γ, shape (n1, n1, d, d) or (d, d) for all pairs; or that array itself.
    weight_decay
        η >= 0, a rate, on both layers.
    branches
        "one" or "all": c = 1 or 2.

    Raises
    ------
    ValueError
        `branches` is neither.

    Notes
    -----
    Source: DD (65); R126.

    Examples
    --------
    >>> state = TwoLayerState(np.array([[1.0, 2.0]]), np.array([[3.0]]))
    >>> two_layer_field(0.0, state, np.diag([1.0, 0.5]))
    TwoLayerState(bottom=array([[9., 9.]]), top=array([[9.]]))
    """
    W1, W2 = state
    gamma = cross_covariances(W1) if callable(cross_covariances) else cross_covariances
    G, c, eta = W2.T @ W2, branch_speed(branches), weight_decay
    if np.ndim(gamma) == 2:
        F, pulled = W1 @ gamma @ W1.T, G @ W1 @ gamma
    else:
        Gw = np.einsum("jkab,kb->jka", gamma, W1)
        F, pulled = np.einsum("ja,jka->jk", W1, Gw), np.einsum("jk,jka->ja", G, Gw)
    return TwoLayerState(c * pulled - eta * W1, c * W2 @ F - eta * W2)
