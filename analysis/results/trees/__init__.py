"""Latent trees, batch normalisation, moving averages and restarts: R201–R227."""

from analysis.results.registry import collect
from analysis.results.trees import layer_law, lucky_nodes, tree_moments

RESULTS = collect((tree_moments, lucky_nodes, layer_law))
