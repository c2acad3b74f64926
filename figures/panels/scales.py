"""Axes that suit what is drawn on them: time, and magnitudes over decades."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures.style import size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

TIME = r"time $t$ (in units of the $\tau$)"
"""Label of axes of time: τo, τp and τt are numbers in the unit of t, and have one unit with 1/η."""

_LONG = 100  # natural times that a linear axis shows well; beyond, it would hide the start
_SLENDER = 3  # ratio of the sides, beyond which equal units would leave a strip
_SMOOTH = 0.9 / np.log(10)  # length of the linear part in decades, with which a symlog axis has no kink
_NARROW = 100  # ratio of the limits of a logarithmic axis
_DECADES = 4  # of which all have a label; axes that span more label some


def scale_time(ax: Axes, ts: np.ndarray, natural: float) -> Axes:
    """Time axis over the run: linear for short runs, for long ones logarithmic beyond the `natural` time."""
    begin, end = ts[0], ts[-1]
    if end - begin > _LONG * natural:
        ax.set_xscale("symlog", linthresh=natural, linscale=_SMOOTH)
        lowest, highest = np.log10(natural), np.floor(np.log10(end))
        step = int(np.ceil((highest - lowest) / _DECADES))
        labelled = np.arange(highest, lowest + 0.3 * step, -step)  # keeps clear of the label at 0
        decades = 10.0 ** np.arange(np.ceil(lowest), highest + 1)
        between = np.outer([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 2, 3, 4, 5, 6, 7, 8, 9], decades)
        ax.set_xticks([0.0, *10.0**labelled])
        ax.set_xticks(decades if step > 1 else between[between > natural], minor=True)
    ax.set_xlim(begin, end if end > begin else begin + natural)
    ax.set_xlabel(TIME)
    return ax


def keep_equal(ax: Axes) -> Axes:
    """Equal units on both axes of a plane of weights, on pages of fixed height, which would stretch it."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    if size().height is not None and 1 / _SLENDER < (right - left) / (high - low) < _SLENDER:
        ax.set_aspect("equal", adjustable="box")
    return ax


def scale_log(ax: Axes, values: np.ndarray, decades: int) -> Axes:
    """Logarithmic vertical axis of whole decades; what is `decades` below the largest value leaves it."""
    from matplotlib.ticker import NullFormatter

    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size == 0:
        return ax
    largest = np.max(positive)
    smallest = max(np.min(positive), largest / 10.0**decades)
    bottom, top = np.floor(np.log10(smallest)), np.ceil(np.log10(largest))
    ax.set_yscale("log")
    ax.set_ylim(10.0**bottom, 10.0 ** max(top, bottom + 1))
    ax.yaxis.set_minor_formatter(NullFormatter())
    return ax


def scale_log_closely(ax: Axes, values: np.ndarray, decades: int) -> Axes:
    """Logarithmic vertical axis around the values, with 1, 2 and 5 labelled where they span little."""
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size == 0:
        return ax
    largest = float(np.max(positive))
    smallest = max(float(np.min(positive)), largest / 10.0**decades)
    ax.set_yscale("log")
    ax.set_ylim(smallest / 1.3, largest * 1.3)
    label_between(ax.yaxis)
    return ax


def label_between(axis: Axis) -> None:
    """Label 1, 2 and 5 on a logarithmic axis of less than two decades, where powers of ten are too few."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    if high < _NARROW * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
