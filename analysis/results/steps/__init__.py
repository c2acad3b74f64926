"""Gradient descent with real steps, and with batches: R301–R310."""

from analysis.results.registry import collect
from analysis.results.steps import competition, critical, discrete, noise

RESULTS = collect((discrete, critical, noise, competition))
