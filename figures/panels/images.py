"""Panels of weights of an encoder as images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures.panels.palette import diverging
from figures.style import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_filter(ax: Axes, weights: np.ndarray) -> Axes:
    """One row of W as an image, (h, w) or (h, w, c): zero has the colour of the paper, or grey in colour images."""
    largest = np.max(np.abs(weights)) or 1.0
    if weights.ndim == 3 and weights.shape[-1] == 3:
        ax.imshow(0.5 + 0.5 * weights / largest, interpolation="nearest")
    else:
        colours = diverging(theme().weights["predictor"], theme().weights["online"])
        plane = weights if weights.ndim == 2 else weights.mean(axis=-1)
        ax.imshow(plane, cmap=colours, vmin=-largest, vmax=largest, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)
    return ax
