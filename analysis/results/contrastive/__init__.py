"""Contrastive learning: R101–R129."""

from analysis.results.contrastive import growth
from analysis.results.registry import collect

RESULTS = collect((growth,))
