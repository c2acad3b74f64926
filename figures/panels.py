"""Panels: each draws given numbers on one given Axes and returns it; no setting is touched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.style import DASHED, FAINT, FATES, INK, MUTED, WEIGHTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONG = 100  # natural times that a linear axis shows well; beyond, it would hide the start
_SMOOTH = 0.9 / np.log(10)  # length of the linear part in decades, with which a symlog axis has no kink
_DECADES = 4  # of which all have a label; axes that span more label some
_CROWD = 16  # lines that can be told apart, and labels that fit one above the other
_GAP = 0.06  # between labels, as a fraction of the panel's height


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
    ax.set_xlabel("time $t$")
    return ax


def scale_log(ax: Axes, values: np.ndarray, decades: int) -> Axes:
    """Logarithmic vertical axis of whole decades; what is `decades` below the largest value leaves it."""
    from matplotlib.ticker import NullFormatter

    positive = values[values > 0]
    if positive.size == 0:
        return ax
    largest = np.max(positive)
    smallest = max(np.min(positive), largest / 10.0**decades)
    bottom, top = np.floor(np.log10(smallest)), np.ceil(np.log10(largest))
    ax.set_yscale("log")
    ax.set_ylim(10.0**bottom, 10.0 ** max(top, bottom + 1))
    ax.yaxis.set_minor_formatter(NullFormatter())
    return ax


def draw_weights(ax: Axes, ts: np.ndarray, states: Any, mode: int) -> Axes:
    """Weights of one mode over time, w1, w2 and θ, from a `ModeState` of shape (T, n_modes)."""
    # of different widths, so that all are seen where they coincide: w1 = θ at rest, w1 = w2 on the leaf c = 0
    for (part, label, colour), width, zorder in zip(WEIGHTS, (1.9, 0.9, 3.4), (2.1, 2.2, 2.0), strict=True):
        ax.plot(ts, getattr(states, part)[:, mode], color=colour, linewidth=width, label=label, zorder=zorder)
    return ax


def draw_end_point(ax: Axes, end: Any, mode: int) -> Axes:
    """Predicted end of one mode as dashed lines, from a `Prediction`; a weight whose end is NaN has none."""
    # the dashes of one fall in the gaps of the others, so that ends that coincide are all seen
    for (part, _, colour), offset in zip(WEIGHTS, (0, 5, 10), strict=True):
        value = getattr(end, part)[mode]
        if np.isfinite(value):
            dashes = (offset, (4, 11))
            ax.axhline(value, color=colour, linewidth=1.0, linestyle=dashes, zorder=1.5)
    return ax


def draw_ratio(ax: Axes, ratio: float) -> Axes:
    """Ratio r = λd/λs, where the predictor of a learned mode comes to rest; nothing if it is NaN."""
    if np.isfinite(ratio):
        ax.axhline(ratio, color=FAINT, linewidth=2.5, zorder=1.0, label=r"$r = \lambda_d/\lambda_s$")
    return ax


def draw_paths(ax: Axes, ts: np.ndarray, values: np.ndarray, fates: Iterable[str]) -> Axes:
    """Columns of `values`, shape (T, n), over time, each in the colour of its fate."""
    width = 1.3 if values.shape[1] <= _CROWD else 0.7
    for column, fate in zip(values.T, fates, strict=True):
        # the few that did not learn are what is looked for: they lie above
        ax.plot(ts, column, color=FATES[fate], linewidth=width, zorder=2.0 if fate == "learned" else 2.1)
    return ax


def draw_drift(ax: Axes, ts: np.ndarray, drift: np.ndarray, fates: Iterable[str]) -> Axes:
    """Departure from the balance law, shape (T, n), over time; zeros have no place on a logarithmic axis."""
    if np.any(drift > 0):
        return draw_paths(ax, ts, np.where(drift > 0, drift, np.nan), fates)
    ax.text(0.5, 0.5, "exactly 0 throughout", transform=ax.transAxes, ha="center", va="center", color=MUTED)
    return ax


def draw_end_marks(ax: Axes, t: float, values: np.ndarray, fates: Iterable[str]) -> Axes:
    """Predicted ends, shape (n,), as open circles at time t, coloured by predicted fate; none where NaN."""
    for value, fate in zip(values, fates, strict=True):
        if np.isfinite(value):
            ax.plot(t, value, "o", color=FATES[fate], fillstyle="none", markersize=5, clip_on=False)
    return ax


def draw_spectrum(ax: Axes, ratios: np.ndarray, n_top: int) -> Axes:
    """Spectrum of M, descending, as horizontal lines, the first `n_top` of them emphasised."""
    for part, colour, width in ((ratios[n_top:], FAINT, 0.5), (ratios[:n_top], MUTED, 0.7)):
        ax.hlines(part, 0, 1, transform=ax.get_yaxis_transform(), colors=colour, linewidths=width, zorder=1.0)
    return ax


def draw_matches(ax: Axes, values: np.ndarray, labels: Sequence[str], fates: Iterable[str]) -> Axes:
    """Values as dots at their height, the largest joined to labels that give way to each other.

    Parameters
    ----------
    ax
        A strip, its vertical limits set; its frame is taken away.
    values
        Shape (n,), real.
    labels, fates
        One a value.
    """
    from scipy.optimize import isotonic_regression

    at = ax.transData.transform(np.column_stack([np.zeros_like(values), values]))
    heights = ax.transAxes.inverted().transform(at)[:, 1]
    colours = [FATES[fate] for fate in fates]
    for value, colour in zip(values, colours, strict=True):
        ax.plot(0, value, "o", color=colour, markersize=3.5, clip_on=False)
    labelled = np.argsort(heights)[-_CROWD:]
    spacing = _GAP * np.arange(len(labelled))
    nearest = isotonic_regression(heights[labelled] - spacing).x  # of those that keep their distance
    placed = np.clip(nearest, 0.0, 1.0 - spacing[-1]) + spacing
    for i, height in zip(labelled, placed, strict=True):
        inside = {"color": colours[i], "transform": ax.transAxes}
        ax.plot([0.05, 0.2], [heights[i], height], linewidth=0.6, clip_on=False, **inside)
        ax.text(0.24, height, labels[i], va="center_baseline", **inside)
    ax.set_xlim(0, 1)
    ax.set_axis_off()
    return ax


def draw_floors(ax: Axes, ts: np.ndarray, floors: np.ndarray) -> Axes:
    """Lower bounds, shape (T, n), over time as dashed lines."""
    ax.plot(ts, floors, color=INK, linewidth=0.7, linestyle=DASHED, zorder=1.5)
    return ax
