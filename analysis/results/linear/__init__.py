"""Linear BYOL: R1–R30."""

from analysis.results.linear import (
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
from analysis.results.registry import collect

RESULTS = collect((flow, points, pair_blocks, fates, solutions, moments, predictors, objectives, growth))
