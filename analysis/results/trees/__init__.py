"""Latent trees, batch normalisation, moving averages and restarts: R201–R227."""

from analysis.results.registry import collect
from analysis.results.trees import (
    batch_corollaries,
    batch_mean,
    batch_variance,
    layer_law,
    lucky_nodes,
    restarts,
    tree_moments,
)

RESULTS = collect(
    (
        batch_corollaries,
        batch_mean,
        batch_variance,
        layer_law,
        lucky_nodes,
        restarts,
        tree_moments,
    )
)
