"""What tests ask of every picture: texts that are whole and do not lie on each other."""

from __future__ import annotations

import itertools

import numpy as np
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
        shown = ax.axison or hasattr(ax, "zaxis")  # in space, what is switched off are the flat axes beneath
        for axis in ax._axis_map.values() if shown else ():
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


# Machado, Oliveira and Fernandes 2009: what is seen, in linear RGB, when one kind of cone is missing.
SEEN = {
    "all": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def cielab(colour: str, seen: np.ndarray) -> np.ndarray:
    srgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.clip(seen @ np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4), 0, 1)
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    xyz = to_xyz @ linear / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
