"""The registry of `dyn check`: what is true of linear BYOL, each result with a test that can fail."""

from analysis.results import (
    fates,
    flow,
    growth,
    moments,
    objectives,
    pair_blocks,
    points,
    predictors,
    solutions,
)
from analysis.results.registry import Check, Measurement, Result, Verdict, check, collect

__all__ = ["PARTS", "RESULTS", "Check", "Measurement", "Result", "Verdict", "check"]

_PARTS = {
    "linear": (flow, points, pair_blocks, fates, solutions, moments, predictors, objectives, growth),
}

RESULTS: dict[str, Result] = collect(
    result for modules in _PARTS.values() for module in modules for result in module.RESULTS
)
"""All results by id, in order."""

PARTS: dict[str, tuple[str, ...]] = {
    part: tuple(collect(result for module in modules for result in module.RESULTS))
    for part, modules in _PARTS.items()
}
"""Ids of the results of each part of the theory."""
