"""What training conserves in networks on trees, and when a linear one blows up (R210)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from dynamics.fields.two_layers import branch_speed


def unit_balance(weights: Sequence[Any]) -> list[np.ndarray]:
    """Squared weights into each hidden unit, less those out of it: what gradient flow conserves.

        β_j = Σ_in w² − Σ_out w²

    Parameters
    ----------
    weights
        Layers from the root down, shape (latents, units, fan-in), as `draw_tree_network` gives them.

    Returns
    -------
    list
        One array per hidden level, from the top one down, shape (latents, units).

    Notes
    -----
    For every loss, if the units have positively homogeneous activations and no biases. Source: R210.

    Examples
    --------
    >>> unit_balance([np.array([[[2.0, 1.0]]]), np.array([[[1.0]], [[3.0]]])])[0].tolist()
    [[-3.0], [8.0]]
    """
    return _balance([np.square(part) for part in weights])


def balance_rates(weights: Sequence[Any], gradients: Sequence[Any]) -> list[np.ndarray]:
    """Rate of `unit_balance` under gradient flow, −2 Σ_in w ∂L/∂w + 2 Σ_out w ∂L/∂w: zero by R210.

    Parameters
    ----------
    weights, gradients
        Layers from the root down, and ∂L/∂W of each.

    Examples
    --------
    >>> layers = [np.ones((1, 1, 1)), np.ones((1, 1, 1))]
    >>> balance_rates(layers, layers)[0].tolist()
    [[0.0]]
    """
    return _balance([-2 * np.asarray(w) * np.asarray(g) for w, g in zip(weights, gradients, strict=True)])


def _balance(products: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Sums over what enters a unit less those over what leaves it."""
    found = []
    for above, below in pairwise(products):
        out = above.sum(axis=1).reshape(below.shape[:2])  # children of one latent lie side by side
        found.append(below.sum(axis=2) - out)
    return found


def layer_rates(weights: Sequence[Any], gradients: Sequence[Any]) -> np.ndarray:
    """Rate d‖W_l‖²/dt = −2⟨W_l, ∂L/∂W_l⟩ of each layer under gradient flow: the same for all, 0 if normalised.

    Parameters
    ----------
    weights, gradients
        Layers from the root down, and ∂L/∂W of each.

    Returns
    -------
    ndarray
        Shape (L,).

    Notes
    -----
    Source: R210.

    Examples
    --------
    >>> layer_rates([np.ones((1, 1, 2))], [np.ones((1, 1, 2))]).tolist()
    [-4.0]
    """
    return np.array([-2 * np.sum(np.multiply(w, g)) for w, g in zip(weights, gradients, strict=True)])


def norm_increments(step: float, gradients: Sequence[Any]) -> np.ndarray:
    """What a gradient step adds to ‖W_l‖² where the output is normalised, ε²‖∂L/∂W_l‖²: shape (L,).

    Notes
    -----
    As ⟨W_l, ∂L/∂W_l⟩ = 0 there; so ‖W_l(t)‖² = ‖W_l(0)‖² + Σ ε²‖∂L/∂W_l‖² along plain SGD. Source: R210.

    Examples
    --------
    >>> norm_increments(0.5, [np.ones((1, 1, 4))]).tolist()
    [1.0]
    """
    return np.array([step**2 * np.sum(np.square(g)) for g in gradients])


def linear_tree_gain(branching: int, polarities: Any, leaf_selectivity: float = 0.5) -> float:
    """Selectivity of the root of a linear tree per unit of weight, s_L = κ q^{L/2}.

        κ = s_leaf Π_l b ρ_l/√n_l,   n_l = b^l edges at level l,   q = n_l w_l² the same for every level

    Parameters
    ----------
    branching
        b >= 1.
    polarities
        ρ_l of the edges at levels 1, …, L from the root down, shape (L,).
    leaf_selectivity
        s_leaf = ½ (v(1) − v(0)).

    Returns
    -------
    float
        κ.

    Notes
    -----
    Source: R210.

    Examples
    --------
    >>> linear_tree_gain(1, [0.5, 0.5])
    0.125
    """
    rho = np.atleast_1d(np.asarray(polarities, np.float64))
    if branching < 1:
        raise ValueError(f"`branching` must be >= 1, got {branching}")
    if not np.all(np.abs(rho) <= 1):
        raise ValueError(f"`polarities` must be >= -1 and <= 1, got {polarities}")
    n = float(branching) ** np.arange(1, len(rho) + 1)
    return float(leaf_selectivity * np.prod(branching * rho / np.sqrt(n)))


def linear_tree_blow_up(
    branching: int,
    polarities: Any,
    squared_weight: float,
    *,
    leaf_selectivity: float = 0.5,
    root_polarity: float = 0.0,
    branches: str = "one",
) -> float:
    """Blow-up time of a balanced linear network with one unit per latent, under the simple loss.

        dq/dt = 2(1 − ρ_0²)κ² q^L,   t* = q_0^{1−L}/(2(1 − ρ_0²)κ²(L − 1))

    Parameters
    ----------
    branching, polarities, leaf_selectivity
        As for `linear_tree_gain`: a tree whose edges of one level have one polarity.
    squared_weight
        q_0 = n_l w_l² > 0 at the start, the same for every level.
    root_polarity
        ρ_0 in [−1, 1].
    branches
        "one" where the gradient goes through one of the two views, "all" where it goes through both.

    Returns
    -------
    float
        t*; infinite where nothing is learned (κ = 0 or |ρ_0| = 1), for one layer, which grows exponentially, and
        where it overflows.

    Raises
    ------
    ValueError
        A value is out of range.

    Notes
    -----
    The objective is ½ V[E[f|z_0]] = ½ (1 − ρ_0²) s_L². Source: R210.

    Examples
    --------
    >>> round(linear_tree_blow_up(2, [0.9, 0.7, 0.8], 0.8), 9)
    6.151187327
    """
    if not (math.isfinite(squared_weight) and squared_weight > 0):
        raise ValueError(f"`squared_weight` must be finite and > 0, got {squared_weight}")
    if not abs(root_polarity) <= 1:
        raise ValueError(f"`root_polarity` must be >= -1 and <= 1, got {root_polarity}")
    kappa = linear_tree_gain(branching, polarities, leaf_selectivity)
    L = np.size(polarities)
    rate = 2 * branch_speed(branches) * (1 - root_polarity) * (1 + root_polarity) * kappa**2
    if rate == 0 or L == 1:
        return math.inf
    with np.errstate(over="ignore"):  # later than any number
        return float(np.float64(squared_weight) ** (1.0 - L) / (rate * (L - 1)))
