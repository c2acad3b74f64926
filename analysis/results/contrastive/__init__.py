"""Contrastive learning: R101–R129."""

from analysis.results.contrastive import (
    connections,
    covariance,
    growth,
    linear,
    mean_field,
    mixtures,
    rings,
    spectrum,
    two_layers,
)
from analysis.results.registry import collect

RESULTS = collect(
    (connections, covariance, linear, mean_field, spectrum, growth, rings, two_layers, mixtures)
)
