"""Sheets: an empty page with its headline, and panels side by side or one above the other as the size has room."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from figures.style import size, size_is_chosen

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LETTERS = 12.0  # of a headline, an inch at text size 1
_LINE = 0.19  # height of a line of the headline, in inches at text size 1
_NARROW = 5.0  # inches: below, panels stand one above the other


def is_narrow() -> bool:
    """Whether the size has room for one panel only from side to side.

    >>> is_narrow()
    False
    """
    return size().width < _NARROW


def sheet(headline: str, height: float, *, width: float | None = None) -> Figure:
    """Make an empty page of the chosen size with a headline that is wrapped to fit.

    Parameters
    ----------
    headline
        What the page shows; broken at words where it is too long, after a semicolon if that takes no more lines.
    height
        Height of what comes below the headline, in inches, for sizes that have none of their own.
    width
        Width in inches where no size is chosen; left out, a double column.

    Examples
    --------
    >>> sheet("Modes leave the origin in turn", 3.0).get_size_inches().round(2)
    array([7.2 , 3.27])
    """
    room = size()
    across = room.width if width is None or size_is_chosen() else width
    letters = int(_LETTERS * across / room.text)
    lines = textwrap.wrap(headline, letters)
    clauses = headline.replace("; ", ";\n").split("\n")
    by_clauses = [line for clause in clauses for line in textwrap.wrap(clause, letters)]
    if 1 < len(by_clauses) <= len(lines):
        lines = by_clauses
    top = room.text * (_LINE * len(lines) + 0.08)
    figure = Figure(figsize=(across, room.height or height + top), layout="constrained")
    figure.suptitle("\n".join(lines), x=0.01, ha="left", linespacing=1.3)
    return figure


def panels(
    headline: str, n: int, *, columns: int, aspect: float = 0.85, width: float | None = None
) -> tuple[Figure, list[Axes]]:
    """Make a page of n equal panels, row by row.

    Parameters
    ----------
    headline
        As for `sheet`.
    n
        Number of panels.
    columns
        Panels in a row, where the page is not narrow.
    aspect
        Height of a panel over its width, for sizes without a height of their own.
    width
        As for `sheet`.

    Examples
    --------
    >>> figure, axes = panels("Three panels", 3, columns=3)
    >>> len(axes)
    3
    """
    columns = 1 if is_narrow() else columns
    rows = math.ceil(n / columns)
    across = size().width if width is None or size_is_chosen() else width
    figure = sheet(headline, rows * aspect * across / columns, width=width)
    axes = figure.subplots(rows, columns, squeeze=False).flat
    return figure, list(axes)[:n]
