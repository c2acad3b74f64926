"""Colours of things that have no identity of their own: ordered, unordered, and signed, on either theme."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures.style import THEMES, theme

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

CATEGORIES = ("#216190", "#d94c63", "#b96f1b", "#4994fb", "#b89acb", "#6e3c0e", "#e9bb6e")
"""Seven colours that all eyes tell apart, on white and on dark; more start over."""


def shades(n: int) -> list[str]:
    """Ordered colours, shape (n,): the first stands out from the paper, the last is lightest in print.

    >>> len(shades(3))
    3
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    ends = (0.1, 0.85) if theme() is THEMES["light"] else (0.95, 0.3)
    return [to_hex(colormaps["viridis"](place)) for place in np.linspace(*ends, n)]


def mixed(colour: str, share: float) -> str:
    """Colour with a share of 0 to 1 of itself and the paper's for the rest.

    >>> mixed("#000000", 0.2)
    '#cccccc'
    """
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = share * np.array(to_rgb(colour)) + (1 - share) * np.array(to_rgb(theme().paper))
    return to_hex((red, green, blue))


def diverging(low: str, high: str) -> Colormap:
    """Colour map of signed values, from one colour through the paper's to another; zero belongs in its middle.

    >>> diverging("#ff0000", "#0000ff").name
    'signed'
    """
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("signed", [low, theme().paper, high])
