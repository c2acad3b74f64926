"""Contrastive learning: R101–R129."""

from analysis.results.contrastive import connections, covariance
from analysis.results.registry import collect

RESULTS = collect((connections, covariance))
