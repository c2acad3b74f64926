"""The registry of `dyn check`: what is true of linear BYOL, R1 to R30, each with a test that can fail."""

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

__all__ = ["RESULTS", "Check", "Measurement", "Result", "Verdict", "check"]

RESULTS: dict[str, Result] = collect(
    result
    for module in (flow, points, pair_blocks, fates, solutions, moments, predictors, objectives, growth)
    for result in module.RESULTS
)
"""All results by id, in order."""
