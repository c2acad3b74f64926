"""Contrastive learning: R101–R129."""

from analysis.results.contrastive import (
    connections,
    growth,
    linear,
    mean_field,
    mixtures,
    rings,
    spectrum,
    two_layers,
)
from analysis.results.registry import collect

RESULTS = collect((connections, linear, mean_field, spectrum, growth, rings, two_layers, mixtures))
