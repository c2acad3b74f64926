"""Contrastive learning: R101–R129."""

from analysis.results.contrastive import linear, mean_field, spectrum
from analysis.results.registry import collect

RESULTS = collect((linear, mean_field, spectrum))
