"""What became of a network's features, as a page."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.runs.diagnosis import FeatureDiagnosis
from figures.layout.legends import legend_below
from figures.layout.sheets import panels
from figures.panels.diagnosis import draw_directions
from figures.style import style, theme


def figure_diagnosis(found: FeatureDiagnosis) -> Figure:
    """Draw eigenvalues of P over the spectrum of M, or ratios where P is not known, and deviations of the features.

    Examples
    --------
    >>> from analysis.runs.diagnosis import diagnose
    >>> from dynamics.data.dumps import Dump
    >>> x, noise = np.random.default_rng(0).normal(size=(2, 500, 3))
    >>> figure_diagnosis(diagnose(Dump(x + 0.3 * noise, x - 0.3 * noise[::-1]))).get_suptitle()
    'healthy: all 3 directions vary'
    """
    with style():
        figure, (left, right) = panels(f"{found.verdict}: {found.reason}", 2, columns=2)
        draw_directions(left, found)
        handles: list[Artist] = list(left.get_lines())
        handles.append(Line2D([], [], color=theme().muted, linewidth=0.7, label="spectrum of $M$"))
        deviations = found.deviations
        shown = deviations > 0
        index = np.arange(1, len(deviations) + 1)
        right.plot(index[shown], deviations[shown], "o-", color=theme().weights["online"])
        right.set(xlabel="principal axis", ylabel="deviation of features", yscale="log")
        for ax in (left, right):
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_below(figure, handles)
        return figure
