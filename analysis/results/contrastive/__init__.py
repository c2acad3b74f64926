"""Contrastive learning: R101–R129."""

from analysis.results.contrastive import (
    connections,
    covariance,
    gaussian_views,
    growth,
    linear,
    mean_field,
    mixtures,
    rings,
    sgd_noise,
    spectrum,
    two_layers,
)
from analysis.results.registry import collect

RESULTS = collect(
    (
        connections,
        covariance,
        sgd_noise,
        gaussian_views,
        linear,
        mean_field,
        spectrum,
        growth,
        rings,
        two_layers,
        mixtures,
    )
)
