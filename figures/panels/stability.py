"""How stability looks, the same in every figure: marks of fixed points, and lines and branches of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.style import DASHED, size, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MARKERS = {"stable": "o", "half-stable": "o", "saddle": "X", "unstable": "o", "degenerate": "D"}
"""Filled circle, half-filled circle, cross, open circle; a diamond where eigenvalues do not tell."""

_OPEN = ("unstable", "degenerate")
_ALONG = {"attracting": "stable", "repelling": "unstable"}
_SMALL = {"saddle": 1.15, "degenerate": 0.8}  # cross and diamond look as large as the circles at these sizes


def mark(stability: str) -> dict[str, Any]:
    """Properties of the marker of a fixed point, as for `Axes.plot`.

    >>> mark("half-stable")["fillstyle"], mark("saddle")["marker"]
    ('left', 'X')
    """
    colours, scale = theme(), size().text
    colour = colours.stability[stability]
    look = {
        "linestyle": "none",
        "marker": MARKERS[stability],
        "markersize": 6.5 * scale * _SMALL.get(stability, 1.0),
        "color": colour,
        "markeredgecolor": colour,
        "markeredgewidth": 1.1 * scale,
    }
    if stability == "half-stable":
        return look | {"fillstyle": "left", "markerfacecoloralt": colours.paper}
    if stability in _OPEN:
        return look | {"markerfacecolor": colours.paper}
    return look | {"markeredgecolor": colours.paper, "markeredgewidth": 0.7 * scale}


def stroke(stability: str) -> dict[str, Any]:
    """Properties of a line or branch of fixed points: solid where stable, dashed saddles, dotted unstable ones.

    >>> stroke("attracting")["linestyle"], stroke("saddle")["linestyle"]
    ('-', (0, (4, 3)))
    """
    kind = _ALONG.get(stability, stability)
    styles: dict[str, Any] = {"stable": "-", "saddle": DASHED}
    width = 2.0 if kind == "stable" else 1.4
    return {
        "color": theme().stability[kind],
        "linestyle": styles.get(kind, (0, (1, 1.5))),
        "linewidth": width * size().text,
    }


def draw_fixed_points(ax: Axes, points: np.ndarray, stability: Iterable[str]) -> Axes:
    """Fixed points at rows of `points`, shape (k, 2) or (k, 3), each with the mark of its stability."""
    for point, verdict in zip(points, stability, strict=True):
        ax.plot(*np.reshape(point, (-1, 1)), **mark(verdict), zorder=5, clip_on=len(point) == 3)
    return ax


def draw_branch(ax: Axes, x: np.ndarray, y: np.ndarray, stability: Sequence[str]) -> Axes:
    """Curve of fixed points, cut where its stability changes; x and y of shape (n,), one verdict a point."""
    for part, verdict in runs(stability):
        ax.plot(x[part], y[part], **stroke(verdict), zorder=3)
    return ax


def runs(stability: Sequence[str]) -> list[tuple[slice, str]]:
    """Stretches of equal stability of a branch, each with the point where the next one begins.

    Single degenerate points, at which a branch turns or exchanges stability, belong to their neighbours.

    >>> runs(["stable", "stable", "degenerate", "saddle"])
    [(slice(0, 3, None), 'stable'), (slice(2, 4, None), 'saddle')]
    """
    told = [i for i, verdict in enumerate(stability) if verdict != "degenerate"] or [0]
    changes = [(i, k) for i, k in pairwise(told) if stability[i] != stability[k]]
    meets = [i + 1 if k - i > 1 else i for i, k in changes]
    starts, stops = [0, *meets], [*meets, len(stability) - 1]
    firsts = [told[0], *(k for _, k in changes)]
    return [
        (slice(start, stop + 1), stability[first])
        for start, stop, first in zip(starts, stops, firsts, strict=True)
    ]


def stability_handles(stabilities: Iterable[str]) -> list[Line2D]:
    """Legend entries of the marks in use."""
    from matplotlib.lines import Line2D

    used = set(stabilities)
    return [Line2D([], [], label=name, **mark(name)) for name in MARKERS if name in used]
