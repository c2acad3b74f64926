"""Two-layer networks on Gaussian clusters: a training run beside the flow of its nodes (R124, R127, R129)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.contrastive.mixtures import gated_covariance
from dynamics.data.clusters import GaussianMixture
from dynamics.fields.two_layers import TwoLayerState, diagonal_two_layer_field
from dynamics.integration.blow_up import integrate_to_blow_up
from dynamics.integration.trajectory import Status

if TYPE_CHECKING:
    from dynamics.training.two_layers import TwoLayerRun, TwoLayerSettings


class ClusterProblem(NamedTuple):
    """Mixtures and starts of several networks, one of each per seed."""

    mixtures: tuple[GaussianMixture, ...]
    starts: tuple[TwoLayerState, ...]


def cluster_problem(
    n_seeds: int,
    *,
    seed: int = 0,
    dimension: int = 20,
    nodes: int = 20,
    n_clusters: int = 10,
    variance: float = 0.1,
) -> ClusterProblem:
    """Draw the setting of G.1: centres μ_k ~ N(0, I) with the first at 0, Σ = σ² I, and uniform weights.

    Parameters
    ----------
    n_seeds, seed
        How many networks, and the first of their seeds.
    dimension, nodes
        d and n1; the source gives neither.
    n_clusters, variance
        K and σ².

    Examples
    --------
    >>> cluster_problem(2).mixtures[0].centres.shape
    (10, 20)
    """
    from dynamics.training.two_layers import draw_two_layers

    if n_seeds < 1:
        raise ValueError(f"`n_seeds` must be >= 1, got {n_seeds}")
    if not (math.isfinite(variance) and variance >= 0):
        raise ValueError(f"`variance` must be finite and >= 0, got {variance}")
    seeds = range(seed, seed + n_seeds)
    deviation = math.sqrt(variance)
    return ClusterProblem(
        tuple(
            GaussianMixture.drawn(n_clusters, dimension, deviation, seed=k, first_at_origin=True)
            for k in seeds
        ),
        tuple(draw_two_layers(nodes, dimension, seed=k) for k in seeds),
    )


def trained_on_clusters(settings: TwoLayerSettings, problem: ClusterProblem, *, seed: int = 0) -> TwoLayerRun:
    """Train the networks of a problem."""
    from dynamics.training.two_layers import train_two_layers

    return train_two_layers(settings, problem.mixtures, problem.starts, seed=seed)


def first_blow_up(start: TwoLayerState, mixture: GaussianMixture, *, branches: str = "all") -> float:
    """Time at which the fastest node of a network blows up under the flow of the simple loss.

        dw1_j/dt = c w2_j² A(w1_j) w1_j,   dw2_j/dt = c w2_j w1_jᵀ A(w1_j) w1_j

    with A in closed form (R127). Nodes do not interact, so that is the blow-up of the network.

    Parameters
    ----------
    start
        Bottom (n1, d), top (n1,).
    mixture
        Clusters.
    branches
        "one" or "all": c = 1 or 2.

    Returns
    -------
    float
        inf where no node blows up.

    Notes
    -----
    Relative error about 1e-6. Source: R109, R124, R127.

    Examples
    --------
    >>> mixture = GaussianMixture([1, 1], [[1.0], [3.0]], 0.0)  # A = 1
    >>> round(first_blow_up(TwoLayerState(np.array([[2.0]]), np.array([2.0])), mixture), 6)
    0.0625
    """
    run = integrate_to_blow_up(
        lambda t, y: diagonal_two_layer_field(
            t, y, lambda W: gated_covariance(W, mixture), branches=branches
        ),
        start,
        rtol=1e-8,
    )
    return run.t if run.status is Status.BLOW_UP else math.inf


def active_centres(bottom: np.ndarray, mixture: GaussianMixture) -> np.ndarray:
    """Number of centres other than 0 that each node responds to, w1ᵀμ > 0; shape (n1,).

    A centre at 0 has wᵀμ = 0 for every node and tells nothing.

    >>> active_centres(np.array([[1.0], [-1.0]]), GaussianMixture([1, 1, 1], [[0.0], [2.0], [3.0]], 0.1))
    array([2, 0])
    """
    return np.asarray((np.asarray(bottom) @ mixture.centres.T > 0).sum(axis=-1))


class Activity(NamedTuple):
    """Nodes of all networks of a run: how many centres each responds to, and its |w2|; shape (n_nodes,)."""

    counts: np.ndarray
    weights: np.ndarray

    @property
    def rank_correlation(self) -> float:
        """Spearman's correlation of the two; NaN where one of them is constant."""
        from scipy.stats import rankdata

        x, y = rankdata(self.counts), rankdata(self.weights)
        x, y = x - x.mean(), y - y.mean()
        size = math.sqrt(float(x @ x) * float(y @ y))
        return float(x @ y) / size if size else math.nan

    def mean_weights(self) -> dict[int, float]:
        """Mean |w2| of the nodes that respond to n centres, by n."""
        return {int(n): float(np.mean(self.weights[self.counts == n])) for n in np.unique(self.counts)}


def activity(states: TwoLayerState, mixtures: tuple[GaussianMixture, ...]) -> Activity:
    """Measure all nodes of several networks: bottom (n_runs, n1, d), top (n_runs, n1).

    >>> problem = cluster_problem(2, nodes=5)
    >>> states = TwoLayerState(*(np.stack(part) for part in zip(*problem.starts, strict=True)))
    >>> activity(states, problem.mixtures).counts.shape
    (10,)
    """
    counts = [active_centres(W1, mixture) for W1, mixture in zip(states.bottom, mixtures, strict=True)]
    return Activity(np.concatenate(counts), np.abs(np.asarray(states.top)).ravel())
