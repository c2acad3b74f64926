"""Latent trees, batch normalisation, moving averages and restarts: R201–R227."""

from analysis.results.registry import collect
from analysis.results.trees import layer_law, lucky_nodes

RESULTS = collect((layer_law, lucky_nodes))
