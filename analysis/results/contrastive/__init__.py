"""Contrastive learning: R101–R129."""

from analysis.results.contrastive import growth, mixtures, rings, two_layers
from analysis.results.registry import collect

RESULTS = collect((growth, rings, two_layers, mixtures))
