"""Rectified networks in the shape of a latent tree: outputs, contrastive losses, and what is measured of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dynamics.contrastive_losses import infonce_loss, simple_loss

TREE_LOSSES = ("infonce", "simple")


@dataclass(frozen=True)
class TreeNetworkSettings:
    """How tree-shaped networks are trained: SimCLR on two leaves of one root, one negative per pair (H = 1).

    The source gives the loss, τ = 0.1 and the normaliser; it gives neither optimiser, step, batch, scale of the weights
    nor coding of the leaves, so that the other defaults are choices.

    Parameters
    ----------
    units
        |N_μ|, units per latent, >= 1; a leaf has one input.
    loss
        "infonce" or "simple".
    normalised
        Divide outputs by their norm, z = f/√(‖f‖² + ε²).
    temperature
        τ > 0, of infonce.
    learning_rate
        Size of a step of plain SGD, > 0.
    batch
        Triples (anchor, positive, negative) per step, >= 1.
    weight_std
        σ_w > 0: weights start uniform on ±σ_w √(3/N), N the fan-in.
    leaf_values
        What a leaf in state 0 and in state 1 shows.
    floor
        ε > 0 of the normaliser.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    units: int = 5
    loss: str = "infonce"
    normalised: bool = True
    temperature: float = 0.1
    learning_rate: float = 0.1
    batch: int = 128
    weight_std: float = math.sqrt(2.0)
    leaf_values: tuple[float, float] = (0.0, 1.0)
    floor: float = 1e-6

    def __post_init__(self) -> None:
        if self.loss not in TREE_LOSSES:
            raise ValueError(f"`loss` must be one of {', '.join(TREE_LOSSES)}, got {self.loss!r}")
        for name in ("temperature", "learning_rate", "weight_std", "floor"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`{name}` must be finite and > 0, got {value}")
        for name in ("units", "batch"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"`{name}` must be an integer >= 1, got {value}")
        if len(self.leaf_values) != 2 or not all(map(math.isfinite, self.leaf_values)):
            raise ValueError(f"`leaf_values` must be two finite numbers, got {self.leaf_values}")


class LevelRecord(NamedTuple):
    """What was measured at one level of latents, each of shape (n_runs, n_records, latents).

    Parameters
    ----------
    correlation
        Largest |correlation| of a latent with one of its units; 0 where all its units are constant, NaN after an
        overflow.
    covariance_norm
        ‖OP_μ‖_F, OP_μ = V_{z0}[E[f_ch ⊗ Jᵀ | z0]], with J of the output f before the normaliser.
    normalised_covariance_norm
        The same with J of z = f/√(‖f‖² + ε²).
    data_factor
        ‖V_{z0}[E[f_ch | z0]]‖_F.
    """

    correlation: np.ndarray
    covariance_norm: np.ndarray
    normalised_covariance_norm: np.ndarray
    data_factor: np.ndarray


def draw_tree_network(
    branching: int, height: int, settings: TreeNetworkSettings, *, seed: int = 0
) -> tuple[np.ndarray, ...]:
    """Draw the weights of a network: one matrix per latent that is not a leaf, uniform on ±σ_w √(3/N).

    Parameters
    ----------
    branching, height
        b >= 1 children per latent and H >= 1 edges from the root to a leaf.
    settings
        Units and σ_w.
    seed
        Of the weights.

    Returns
    -------
    tuple of ndarray
        Layers from the root down: shape (b^l, units, b·units), and (b^{H−1}, units, b) for the lowest.

    Raises
    ------
    ValueError
        A size is less than 1.

    Examples
    --------
    >>> [part.shape for part in draw_tree_network(2, 3, TreeNetworkSettings(units=5))]
    [(1, 5, 10), (2, 5, 10), (4, 5, 2)]
    """
    for name, value in (("branching", branching), ("height", height)):
        if value < 1:
            raise ValueError(f"`{name}` must be >= 1, got {value}")
    rng = np.random.default_rng([seed, 3])  # apart from the polarities of the same seed
    layers = []
    for level in range(height):
        fan_in = branching * (1 if level == height - 1 else settings.units)
        bound = settings.weight_std * math.sqrt(3 / fan_in)
        layers.append(rng.uniform(-bound, bound, (branching**level, settings.units, fan_in)))
    return tuple(layers)


def tree_activations(weights: Sequence[Any], leaves: Any) -> list[Any]:
    """Activations of all levels, the root's first: f = ψ(W f_ch) per latent, without ψ at the root.

    Parameters
    ----------
    weights
        Layers from the root down, as `draw_tree_network` gives them.
    leaves
        What leaves show, shape (n leaves, n).

    Returns
    -------
    list
        Shapes (latents, n, units) from the root down; at the end the leaves, (n leaves, n, 1).

    Examples
    --------
    >>> [f.shape for f in tree_activations([np.ones((1, 3, 2))], np.ones((2, 7)))]
    [(1, 7, 3), (2, 7, 1)]
    """
    f = jnp.asarray(leaves)[..., None]
    found = [f]
    for level in reversed(range(len(weights))):
        f = _grouped(f, weights[level].shape[0]) @ jnp.swapaxes(weights[level], 1, 2)
        f = jax.nn.relu(f) if level else f
        found.append(f)
    return found[::-1]


def tree_outputs(settings: TreeNetworkSettings, weights: Sequence[Any], leaves: Any) -> Any:
    """Outputs of networks: f of the root, or z = f/√(‖f‖² + ε²), shape (n, units).

    Parameters
    ----------
    settings
        Whether outputs are normalised, and ε.
    weights
        Layers from the root down.
    leaves
        What leaves show, shape (n leaves, n).

    Notes
    -----
    Source: R210.
    """
    f = tree_activations(weights, leaves)[0][0]
    if settings.normalised:
        f = f / jnp.sqrt(jnp.sum(f * f, -1, keepdims=True) + settings.floor**2)
    return f


def tree_loss(settings: TreeNetworkSettings, weights: Sequence[Any], leaves: Any) -> Any:
    """Loss of one batch.

    Parameters
    ----------
    settings
        Which loss, and whether outputs are normalised.
    weights
        Layers from the root down.
    leaves
        What the leaves of anchors, positives and negatives show, shape (n leaves, 3n), in this order.
    """
    anchor, positive, negative = jnp.split(tree_outputs(settings, weights, leaves), 3)
    near = jnp.sum((anchor - positive) ** 2, -1) / 2
    far = jnp.sum((anchor - negative) ** 2, -1)[..., None] / 2
    if settings.loss == "simple":
        return jnp.mean(simple_loss(near, far))
    if settings.loss == "infonce":
        return jnp.mean(infonce_loss(near, far, settings.temperature))
    raise ValueError(f"`loss` must be one of {', '.join(TREE_LOSSES)}, got {settings.loss!r}")


def shown_leaves(settings: TreeNetworkSettings, states: Any) -> Any:
    """What leaves in these states, booleans, show to a network."""
    low, high = settings.leaf_values
    return jnp.where(states, jnp.float64(high), jnp.float64(low))


def _grouped(f: Any, parents: int) -> Any:
    """Children of one parent side by side: (latents, n, K) → (parents, n, b K)."""
    children, n, K = f.shape
    b = children // parents
    return jnp.swapaxes(f.reshape(parents, b, n, K), 1, 2).reshape(parents, n, b * K)


def measure_levels(
    settings: TreeNetworkSettings, weights: Sequence[Any], states: Sequence[Any], root_mean: Any
) -> list[tuple[Any, Any, Any, Any]]:
    """Correlations, norms of covariance operators and data factors of every level, as in `LevelRecord`.

    Parameters
    ----------
    settings
        Coding of the leaves and ε.
    weights
        Layers from the root down.
    states
        States of the latents, level by level, each of shape (latents, n): n/2 of root 0 and then n/2 of root 1.
    root_mean
        P(z_0 = 1).

    Notes
    -----
    K̄(1) − K̄(0) = G gives OP = π_0(0)π_0(1) G Gᵀ, whose norm is that of Gᵀ G, as small as the output. Source: R211.
    """
    each = states[0].shape[1] // 2
    f = tree_activations(weights, shown_leaves(settings, states[-1]))
    share = jnp.repeat(jnp.stack([1 - root_mean, root_mean]) / each, each)  # weights of samples in a mean
    contrast = jnp.repeat(jnp.array([-1.0, 1.0]) / each, each)  # mean given root 1, less that given 0
    spread = root_mean * (1 - root_mean)
    outputs = f[0][0]
    squared = jnp.sum(outputs**2, -1)[:, None, None] + settings.floor**2
    identity = jnp.broadcast_to(jnp.eye(outputs.shape[1]), (len(outputs), *2 * outputs.shape[1:]))
    tangent = (identity - outputs[:, :, None] * outputs[:, None] / squared) / jnp.sqrt(squared)
    J = [identity[None], tangent[None]]  # ∂ output/∂ pre-activation, shape (latents, n, outputs, units)
    found = []
    for level, W in enumerate(weights):
        inputs = _grouped(f[level + 1], len(W))
        norms = []
        for one in J:
            G = jnp.einsum("n,ink,inaj->ikja", contrast, inputs, one)
            norms.append(spread * jnp.linalg.norm(jnp.einsum("ikja,ikjb->iab", G, G), axis=(1, 2)))
        g = jnp.einsum("n,ink->ik", contrast, inputs)
        best = _best_correlation(share, f[level], states[level])
        found.append((best, *norms, spread * jnp.sum(g**2, -1)))
        if level + 1 < len(weights):
            J = [_below(one, W, f[level + 1]) for one in J]
    return found


def _below(J: Any, W: Any, f: Any) -> Any:
    """∂ output/∂ pre-activation one level further down, where rectifiers are on."""
    children, n, units = f.shape
    back = jnp.einsum("inaj,ijk->inak", J, W)
    split = back.reshape(len(W), n, back.shape[2], children // len(W), units)
    return jnp.moveaxis(split, 3, 1).reshape(children, n, back.shape[2], units) * (f > 0)[:, :, None]


def _best_correlation(share: Any, f: Any, states: Any) -> Any:
    """Largest |correlation| of each latent with a unit of its own, under the shares of the samples."""
    z = states - (states @ share)[:, None]
    centred = f - jnp.einsum("n,inj->ij", share, f)[:, None]
    covariance = jnp.einsum("n,in,inj->ij", share, z, centred)
    variance = jnp.einsum("n,inj->ij", share, centred**2) * (z**2 @ share)[:, None]
    # a constant unit has a variance that is rounding, or none; one that overflowed has NaN
    alive = variance > 1e-24 * jnp.maximum(jnp.einsum("n,inj->ij", share, f**2), 1e-280)
    found = jnp.where(alive, jnp.abs(covariance) / jnp.sqrt(jnp.where(alive, variance, 1.0)), 0.0)
    return jnp.max(jnp.where(jnp.isfinite(variance), found, jnp.nan), axis=1)
