"""What tests ask of every picture: texts that are whole and do not lie on each other."""

from __future__ import annotations

import itertools

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def text_of(ax: Axes) -> list[Text]:
    """Titles and what panels wrote."""
    return [child for child in ax.get_children() if isinstance(child, Text) and child.get_text()]


def clashes(figure: Figure) -> list[str]:
    """Texts that leave the page or lie on each other by more than half a point."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    slack = 0.5 * figure.dpi / 72
    boxes: list[tuple[str, Bbox]] = []
    parts = (figure, *figure.subfigs)
    texts = [text for part in parts for text in part.texts]
    texts += [text for part in parts for legend in part.legends for text in legend.texts]
    for ax in figure.findobj(Axes):
        assert isinstance(ax, Axes)
        texts += text_of(ax)
        for axis in ax._axis_map.values() if ax.axison else ():
            low, high = sorted(axis.get_view_interval())
            ticks = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [axis.label, *(label for label in ticks if label.get_visible())]
    for text in texts:
        if text.get_text():
            box = text.get_window_extent(canvas.get_renderer()).padded(-slack)
            boxes.append((text.get_text(), box))
    page = figure.bbox
    found = [a for a, box in boxes if not (page.contains(*box.min) and page.contains(*box.max))]
    pairs = itertools.combinations(boxes, 2)
    return found + [f"{a} on {b}" for (a, one), (b, other) in pairs if one.overlaps(other)]
