"""Gradient descent with real steps, and with batches: R301–R310."""

from analysis.results.registry import collect

RESULTS = collect(())
