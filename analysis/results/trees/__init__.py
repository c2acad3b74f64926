"""Latent trees, batch normalisation, moving averages and restarts: R201–R227."""

from analysis.results.registry import collect
from analysis.results.trees import lucky_nodes

RESULTS = collect((lucky_nodes,))
