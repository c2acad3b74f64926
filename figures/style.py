"""How pictures look and are saved: one style, colours that follow identity, equal bytes for equal input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dynamics.storage import checked_suffix, replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".png", ".svg", ".pdf")
"""Suffixes that `save` accepts."""

WEIGHTS = (
    ("online", "$w_1$ online", "#00497a"),
    ("predictor", "$w_2$ predictor", "#c8500a"),
    ("target", r"$\theta$ target", "#4fb0e8"),
)
"""Field, label and colour of each weight: the encoder dark blue, the average that follows it light blue."""

FATES = {"learned": "#009e73", "collapsed": "#661a6b", "undecided": "#c08600"}
"""Colours of what became of a mode or row."""

INK, MUTED, FAINT = "#333333", "#767676", "#d9d9d9"
"""Text, reference lines, and what should be seen last."""

DASHED = (0, (4, 3))
"""Line style of what theory predicts; what the run did is drawn through."""

_NO_DATE: dict[str, dict[str, None]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


@contextmanager
def style() -> Iterator[None]:
    """Wear the style of all pages within the block; Matplotlib's settings are afterwards as before.

    Examples
    --------
    >>> import matplotlib
    >>> with style():
    ...     matplotlib.rcParams["axes.spines.top"]
    False
    """
    import matplotlib.style

    with matplotlib.style.context(["default", Path(__file__).with_name("linear_byol.mplstyle")]):
        yield


def save(figure: Figure, path: str | Path) -> None:
    """Write a picture in the format of its suffix, whole or not at all; equal figures give equal bytes.

    Parameters
    ----------
    figure
        Any figure; text stays text in .svg and .pdf.
    path
        Ends in .png, .svg or .pdf; replaced only when the new file is complete.

    Raises
    ------
    ValueError
        Another suffix, or a place that cannot be written to.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> save(Figure(), "portrait.jpg")
    Traceback (most recent call last):
    ValueError: a file name must end in .png, .svg, .pdf, got 'portrait.jpg'
    """
    path = checked_suffix(path, PICTURES)
    suffix = path.suffix.lower()
    with replacing(path) as temporary, style():
        figure.savefig(temporary, format=suffix.removeprefix("."), metadata=_NO_DATE[suffix])
