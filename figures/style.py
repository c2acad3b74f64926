"""How pictures look and are saved: one style in several sizes and themes, equal bytes for equal input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dynamics.files import checked_suffix, replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".png", ".svg", ".pdf")
"""Suffixes that `save` accepts."""

DASHED = (0, (4, 3))
"""Line style of what theory predicts; what the run did is drawn through."""

WEIGHTS = {"online": "$w_1$", "predictor": "$w_2$", "target": r"$\theta$"}
"""The weights and their symbols, as on axes."""


@dataclass(frozen=True)
class Size:
    """Room for a page.

    Parameters
    ----------
    width, height
        In inches; pages without a height are as high as their contents ask for.
    text
        Size of text, 1 for print.
    """

    width: float
    height: float | None = None
    text: float = 1.0


@dataclass(frozen=True)
class Theme:
    """Colours by what they stand for, the same in every figure.

    Parameters
    ----------
    paper, ink, muted, faint
        Background, text, reference lines, and what should be seen last.
    weights
        Of w1, w2 and θ: the encoder dark, the average that follows it light.
    fates
        Of what became of a mode or row.
    stability
        Of fixed points, and of lines of them.
    """

    paper: str
    ink: str
    muted: str
    faint: str
    weights: dict[str, str]
    fates: dict[str, str]
    stability: dict[str, str]


SIZES = {"single": Size(3.5), "double": Size(7.2), "slide": Size(10.0, 5.625, 1.4)}
"""A column of a paper, its whole width, and a slide of 16:9."""

THEMES = {
    "light": Theme(
        paper="#ffffff",
        ink="#333333",
        muted="#767676",
        faint="#d9d9d9",
        weights={"online": "#00497a", "predictor": "#c8500a", "target": "#4fb0e8"},
        fates={"learned": "#009e73", "collapsed": "#661a6b", "undecided": "#c08600"},
        stability={
            "stable": "#b3003c",
            "half-stable": "#b3003c",
            "saddle": "#333333",
            "unstable": "#767676",
            "degenerate": "#767676",
        },
    ),
    "dark": Theme(
        paper="#16191d",
        ink="#e4e4e4",
        muted="#989898",
        faint="#3c4046",
        weights={"online": "#6c83ff", "predictor": "#fe9b50", "target": "#00f2f2"},
        fates={"learned": "#34d39e", "collapsed": "#ce5ec1", "undecided": "#ffd257"},
        stability={
            "stable": "#f2286b",
            "half-stable": "#f2286b",
            "saddle": "#e4e4e4",
            "unstable": "#989898",
            "degenerate": "#989898",
        },
    ),
}
"""Colours on white and on dark pages."""

_size: ContextVar[Size | None] = ContextVar("size", default=None)
_theme: ContextVar[Theme] = ContextVar("theme", default=THEMES["light"])
_dpi: ContextVar[int | None] = ContextVar("dpi", default=None)
_NO_DATE: dict[str, dict[str, str | None]] = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
_CAPTION = {".png": "Description", ".svg": "Description", ".pdf": "Subject"}
"""Where the metadata of a picture have its caption."""
_Choice = TypeVar("_Choice")


def size() -> Size:
    """Room that pages are to fill; a double column where none is chosen."""
    return _size.get() or SIZES["double"]


def size_is_chosen() -> bool:
    """Whether a size is asked for; where none is, a page may be less wide.

    >>> size_is_chosen()
    False
    """
    return _size.get() is not None


def theme() -> Theme:
    """Colours that panels are to use."""
    return _theme.get()


@contextmanager
def look(*, size: str | None = None, theme: str | None = None, dpi: int | None = None) -> Iterator[None]:
    """Choose the size, theme and resolution of all pages drawn within the block; what is left out stays as it is.

    Parameters
    ----------
    size
        A name in `SIZES`.
    theme
        A name in `THEMES`.
    dpi
        Dots per inch of .png pictures and of what is drawn as dots in others, >= 10.

    Raises
    ------
    ValueError
        There is no such size or theme: which there are; or the resolution is out of range.

    Examples
    --------
    >>> import figures.style as style
    >>> with look(size="single"):
    ...     style.size().width
    3.5
    """
    if dpi is not None and not 10 <= dpi <= 2400:
        raise ValueError(f"`dpi` must be in [10, 2400], got {dpi}")
    chosen = _chosen("size", size, SIZES, _size.get()), _chosen("theme", theme, THEMES, _theme.get())
    tokens = _size.set(chosen[0]), _theme.set(chosen[1]), _dpi.set(_dpi.get() if dpi is None else dpi)
    try:
        yield
    finally:
        _size.reset(tokens[0])
        _theme.reset(tokens[1])
        _dpi.reset(tokens[2])


def _chosen(what: str, name: str | None, choices: Mapping[str, _Choice], current: _Choice) -> _Choice:
    if name is None:
        return current
    if name not in choices:
        raise ValueError(f"`{what}` must be one of {', '.join(choices)}, got {name!r}")
    return choices[name]


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
    import matplotlib
    import matplotlib.style

    with matplotlib.style.context(["default", Path(__file__).with_name("linear_byol.mplstyle")]):
        colours, text = theme(), size().text
        settings: Any = matplotlib.rcParams
        for name in ("font.size", "figure.titlesize", "axes.titlesize", "axes.labelsize", "legend.fontsize"):
            settings[name] = text * float(settings[name])
        for axis in ("xtick", "ytick"):
            settings[f"{axis}.labelsize"] = text * float(settings[f"{axis}.labelsize"])
            settings[f"{axis}.color"], settings[f"{axis}.labelcolor"] = colours.muted, colours.ink
        for name in ("figure.facecolor", "axes.facecolor"):
            settings[name] = colours.paper
        for name in ("text.color", "axes.labelcolor", "axes.titlecolor"):
            settings[name] = colours.ink
        settings["axes.edgecolor"] = colours.muted
        if (resolution := _dpi.get()) is not None:
            settings["savefig.dpi"] = resolution
        yield


def save(figure: Figure, path: str | Path, *, caption: str = "") -> None:
    """Write a picture in the format of its suffix, whole or not at all; equal figures give equal bytes.

    Parameters
    ----------
    figure
        Any figure; text stays text in .svg and .pdf.
    path
        Ends in .png, .svg or .pdf; replaced only when the new file is complete.
    caption
        Kept in the metadata of the picture: as Description of .png and .svg, as Subject of .pdf.

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
    metadata = _NO_DATE[suffix] | ({_CAPTION[suffix]: caption} if caption else {})
    with replacing(path) as temporary, style():
        figure.savefig(temporary, format=suffix.removeprefix("."), metadata=metadata)
