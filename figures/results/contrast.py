"""What a contrastive loss learns, as a page."""

from __future__ import annotations

from matplotlib.figure import Figure

from analysis.contrastive.contrast import Contrast
from figures.layout.legends import legend_below
from figures.layout.sheets import panels
from figures.panels.contrast import draw_saturation
from figures.style import style

_LISTED = 6


def figure_contrast(found: Contrast) -> Figure:
    """Draw where each mode saturates against its ratio, and which modes are learned.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.contrastive.contrast import contrast
    >>> from dynamics.objectives import OBJECTIVES
    >>> from dynamics.system import MatrixSystem
    >>> system = MatrixSystem(np.array([10.0, 1.0]), np.array([5.0, 0.9]))
    >>> figure_contrast(contrast(system, 1, OBJECTIVES["infonce"])).get_suptitle()
    'infonce learns mode 2'
    """
    with style():
        figure, (ax,) = panels(_headline(found), 1, columns=1)
        draw_saturation(ax, found)
        legend_below(figure, ax.get_legend_handles_labels()[0])
        return figure


def _headline(found: Contrast) -> str:
    numbers = [str(k + 1) for k in found.learned.modes]
    if not numbers:
        return f"{found.objective} learns nothing"
    if found.learned.basis != "M":
        return f"{found.objective} learns the top eigenvector of Σd, no mode of M"
    more = "" if len(numbers) <= _LISTED else f" and {len(numbers) - _LISTED} more"
    plural = "" if len(numbers) == 1 else "s"
    return f"{found.objective} learns mode{plural} {', '.join(numbers[:_LISTED])}{more}"
