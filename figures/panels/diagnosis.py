"""Panels of a diagnosis: what became of each direction of a network's features."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from figures.panels.simulation import draw_spectrum
from figures.style import theme


def draw_directions(ax: Axes, found: Any) -> Axes:
    """Eigenvalues of P in the colour of their fates over the spectrum of M; ratios where P is not known.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from analysis.runs.diagnosis import diagnose
    >>> from dynamics.data.dumps import Dump
    >>> x, noise = np.random.default_rng(0).normal(size=(2, 500, 3))
    >>> found = diagnose(Dump(x + 0.3 * noise, x - 0.3 * noise[::-1]))
    >>> [line.get_label() for line in draw_directions(Figure().subplots(), found).get_lines()]
    ['learned']
    """
    directions = found.directions
    known = not np.all(np.isnan(directions.predictor.real))
    height = directions.predictor.real if known else directions.ratio
    number = np.arange(1, len(height) + 1)
    draw_spectrum(ax, found.ratios, len(height))
    for fate, colour in theme().fates.items():
        which = directions.fate == fate
        if np.any(which):
            ax.plot(number[which], height[which], "o", color=colour, label=fate, clip_on=False)
    ax.set(xlabel="direction", ylabel="eigenvalues of $P$" if known else r"$\lambda_d/\lambda_s$")
    return ax
