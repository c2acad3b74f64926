"""Other objectives, normalised losses, deep encoders, and claims of others: R311–R336."""

from analysis.results.objectives import barlow, claims, cosine, depth, iso, redundancy
from analysis.results.registry import collect

RESULTS = collect(
    (
        barlow,
        claims,
        cosine,
        depth,
        iso,
        redundancy,
    )
)
