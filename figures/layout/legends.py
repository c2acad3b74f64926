"""Legends that fit below the panels of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.legend import Legend


def legend_below(figure: Figure | SubFigure, handles: Sequence[Artist], **options: Any) -> Legend:
    """Add a legend below all panels, in as few rows as the width allows.

    Parameters
    ----------
    figure
        With constrained layout, which makes room for it.
    handles
        With labels.
    **options
        As for `Figure.legend`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from matplotlib.lines import Line2D
    >>> made = legend_below(Figure(layout="constrained"), [Line2D([], [], label="nullcline")])
    >>> [text.get_text() for text in made.get_texts()]
    ['nullcline']
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure.figure).get_renderer()
    for n_columns in range(len(handles), 0, -1):
        made = figure.legend(handles=handles, loc="outside lower center", ncols=n_columns, **options)
        if made.get_window_extent(renderer).width <= 0.98 * figure.bbox.width:
            break
        if n_columns > 1:
            made.remove()
    return made
