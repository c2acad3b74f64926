"""Two-layer rectified networks with a diagonal top layer, trained on Gaussian clusters by contrastive losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dynamics.contrastive_losses import infonce_loss, simple_loss
from dynamics.data.clusters import GaussianMixture
from dynamics.fields.two_layers import TwoLayerState

TWO_LAYER_LOSSES = ("simple", "infonce")


@dataclass(frozen=True)
class TwoLayerSettings:
    """How two-layer networks are trained, as in G.1 of the source as far as that says.

    Parameters
    ----------
    loss
        "simple" or "infonce", with one negative per positive pair (H = 1).
    normalised
        Divide outputs by their norm, z = f/√(‖f‖² + ε²).
    temperature
        τ > 0, of infonce.
    learning_rate
        Size of a step, > 0.
    batch
        Triples (anchor, positive, negative) per step, >= 1.
    steps
        Number of steps, >= 1.
    floor
        ε > 0: under normalisation, gradients at outputs shorter than this stop growing as 1/‖f‖. The simple loss
        meets such outputs, and its weights then depend on ε (R129).

    Raises
    ------
    ValueError
        A value is out of range.
    """

    loss: str = "simple"
    normalised: bool = False
    temperature: float = 0.05
    learning_rate: float = 0.01
    batch: int = 128
    steps: int = 5000
    floor: float = 1e-6

    def __post_init__(self) -> None:
        if self.loss not in TWO_LAYER_LOSSES:
            raise ValueError(f"`loss` must be one of {', '.join(TWO_LAYER_LOSSES)}, got {self.loss!r}")
        for name in ("temperature", "learning_rate", "floor"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`{name}` must be finite and > 0, got {value}")
        for name in ("batch", "steps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"`{name}` must be an integer >= 1, got {value}")


@dataclass(frozen=True, eq=False)
class TwoLayerRun:
    """Several networks, each trained on clusters of its own.

    Parameters
    ----------
    bottom_norms, top_norms
        ‖W1‖ and ‖W2‖ before the first step and after each, shape (n_runs, steps + 1); inf or NaN after an overflow.
    increments
        (step size)² ‖∂L/∂W2‖², shape (n_runs, steps): what a step adds to ‖W2‖² under normalisation (R129).
    final
        Weights after the last step: bottom (n_runs, n1, d), top (n_runs, n1).
    n_short
        Number of outputs with ‖f‖ < ε that each run met, out of 3 × batch × steps, shape (n_runs,).
    """

    bottom_norms: np.ndarray
    top_norms: np.ndarray
    increments: np.ndarray
    final: TwoLayerState
    n_short: np.ndarray

    @property
    def overflows(self) -> np.ndarray:
        """First step after which a norm is not finite, shape (n_runs,); NaN where there is none."""
        lost = ~(np.isfinite(self.bottom_norms) & np.isfinite(self.top_norms))
        return np.where(lost.any(axis=1), np.argmax(lost, axis=1), np.nan)


def draw_two_layers(n_nodes: int, dimension: int, *, seed: int = 0) -> TwoLayerState:
    """Draw weights: W1 ~ U(±1/√d), shape (n1, d), and a diagonal W2 ~ U(±1/√n1), shape (n1,).

    >>> draw_two_layers(3, 2).bottom.shape
    (3, 2)
    """
    for name, value in (("n_nodes", n_nodes), ("dimension", dimension)):
        if value < 1:
            raise ValueError(f"`{name}` must be >= 1, got {value}")
    rng = np.random.default_rng([seed, 2])  # apart from the centres of the same seed
    W1 = rng.uniform(-1, 1, (n_nodes, dimension)) / math.sqrt(dimension)
    return TwoLayerState(W1, rng.uniform(-1, 1, n_nodes) / math.sqrt(n_nodes))


def train_two_layers(
    settings: TwoLayerSettings,
    mixtures: Sequence[GaussianMixture],
    starts: Sequence[TwoLayerState],
    *,
    seed: int = 0,
) -> TwoLayerRun:
    """Train networks f = W2 ReLU(W1 x) by gradient steps through all branches, in float64.

        anchor, positive ~ N(μ_k, Σ) of one cluster k,   negative ~ N(μ_l, Σ),   k and l drawn independently

    Parameters
    ----------
    settings
        Loss and steps.
    mixtures
        One per network, all of the same shape.
    starts
        One per network: bottom (n1, d), top (n1,).
    seed
        Of the batches; networks see different ones.

    Returns
    -------
    TwoLayerRun
        Also where weights overflow.

    Raises
    ------
    ValueError
        Numbers or shapes do not fit, or a normalised network has but one node.

    Notes
    -----
    All networks go through one compiled program. Source: DD G.1; R108, R109, R129.

    Examples
    --------
    >>> mixture = GaussianMixture.drawn(3, 2, 0.3)
    >>> train_two_layers(TwoLayerSettings(steps=5), [mixture], [draw_two_layers(4, 2)]).top_norms.shape
    (1, 6)
    """
    if not starts or len(mixtures) != len(starts):
        raise ValueError(f"`mixtures` must be one per start, got {len(mixtures)} for {len(starts)} starts")
    d = mixtures[0].centres.shape[1]
    if any(one.centres.shape != mixtures[0].centres.shape for one in mixtures):
        raise ValueError("`mixtures` must have centres of one shape")
    n1 = len(starts[0].top)
    for one in starts:
        if np.shape(one.bottom) != (n1, d) or np.shape(one.top) != (n1,):
            raise ValueError(
                f"`starts` must have shapes ({n1}, {d}) and ({n1},),"
                f" got {np.shape(one.bottom)} and {np.shape(one.top)}"
            )
    if settings.normalised and n1 < 2:
        raise ValueError(
            "`starts` must have two nodes at least to be normalised, got 1: z = ±1 has no gradient"
        )
    with jax.enable_x64(True):
        keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(len(starts)))
        clusters = _Clusters(
            *(jnp.asarray(np.stack(part)) for part in zip(*map(_cluster_arrays, mixtures), strict=True))
        )
        weights = TwoLayerState(
            *(jnp.asarray(np.stack(part), jnp.float64) for part in zip(*starts, strict=True))
        )
        # one program for all sizes of a step
        program = replace(settings, learning_rate=1.0)
        step = jnp.asarray(settings.learning_rate, jnp.float64)
        final, (bottom, top, increments, short) = _trained(program, step, clusters, weights, keys)
        before = [_norm(np.asarray(part))[:, None] for part in weights]
        ends = TwoLayerState(*(np.asarray(part) for part in final))
        return TwoLayerRun(
            np.concatenate([before[0], np.asarray(bottom)], axis=1),
            np.concatenate([before[1], np.asarray(top)], axis=1),
            np.asarray(increments),
            ends,
            np.asarray(short).sum(axis=1),
        )


def contrastive_value(settings: TwoLayerSettings, weights: TwoLayerState, x: Any) -> tuple[Any, Any]:
    """Loss of one batch, and how many outputs are shorter than the floor.

    Parameters
    ----------
    settings
        Which loss.
    weights
        W1 and the diagonal of W2.
    x
        Anchors, positives and negatives, shape (3, n, d).
    """
    W1, w2 = weights
    f = jax.nn.relu(x @ W1.T) * w2
    short = jnp.zeros((), jnp.int64)
    if settings.normalised:
        squared = jnp.sum(f * f, -1, keepdims=True)
        f = f / jnp.sqrt(squared + settings.floor**2)
        short = jnp.sum(squared < settings.floor**2)
    positive = jnp.sum((f[0] - f[1]) ** 2, -1) / 2
    negative = jnp.sum((f[0] - f[2]) ** 2, -1)[..., None] / 2
    if settings.loss == "simple":
        return jnp.mean(simple_loss(positive, negative)), short
    if settings.loss == "infonce":
        return jnp.mean(infonce_loss(positive, negative, settings.temperature)), short
    raise ValueError(f"`loss` must be one of {', '.join(TWO_LAYER_LOSSES)}, got {settings.loss!r}")


class _Clusters(NamedTuple):
    """Cumulated prior (K,), centres (K, d) and a root of Σ (d, d), of each run."""

    cumulated: Any
    centres: Any
    root: Any


def _cluster_arrays(mixture: GaussianMixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.cumsum(mixture.prior)[:-1], mixture.centres, mixture.root


def _norm(weights: np.ndarray) -> np.ndarray:
    """Norm of each run's weights."""
    return np.sqrt((weights**2).reshape(len(weights), -1).sum(axis=1))


@partial(jax.jit, static_argnums=0)
def _trained(
    settings: TwoLayerSettings, eps: Any, clusters: _Clusters, weights: TwoLayerState, keys: Any
) -> Any:
    gradient = jax.grad(lambda weights, x: contrastive_value(settings, weights, x), has_aux=True)

    def one(clusters: _Clusters, weights: TwoLayerState, key: Any) -> Any:
        d = clusters.root.shape[0]

        def step(weights: TwoLayerState, n: Any) -> Any:
            which, noise = jax.random.split(jax.random.fold_in(key, n))
            drawn = jax.random.uniform(which, (2, settings.batch), jnp.float64)
            k, other = jnp.searchsorted(clusters.cumulated, drawn, side="right")
            x = clusters.centres[jnp.stack([k, k, other])]
            x = x + jax.random.normal(noise, (3, settings.batch, d), jnp.float64) @ clusters.root.T
            by, short = gradient(weights, x)
            weights = TwoLayerState(*(part - eps * slope for part, slope in zip(weights, by, strict=True)))
            norms = [jnp.sqrt(jnp.sum(part**2)) for part in weights]
            return weights, (*norms, eps**2 * jnp.sum(by.top**2), short)

        return jax.lax.scan(step, weights, jnp.arange(settings.steps))

    return jax.vmap(one)(clusters, weights, keys)
