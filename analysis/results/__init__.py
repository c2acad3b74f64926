"""The registry of `dyn check`: what is true of linear BYOL, R1 to R30, each with a test that can fail."""

from analysis.results import fates, flow, moments, objectives, points, predictors, solutions
from analysis.results.registry import Check, Measurement, Result, Verdict, check, collect

__all__ = ["RESULTS", "Check", "Measurement", "Result", "Verdict", "check"]

RESULTS: dict[str, Result] = collect(
    result
    for module in (flow, points, fates, solutions, moments, predictors, objectives)
    for result in module.RESULTS
)
"""All results by id, in order."""
