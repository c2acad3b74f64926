"""Latent trees, batch normalisation, moving averages and restarts: R201–R227."""

from analysis.results.registry import collect
from analysis.results.trees import batch_corollaries, batch_mean, batch_variance

RESULTS = collect((batch_mean, batch_corollaries, batch_variance))
