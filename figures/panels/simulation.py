"""Panels of one run: weights and drift over time, eigenvalues approaching a spectrum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.style import DASHED, WEIGHTS, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CROWD = 16  # lines that can be told apart, and labels that fit one above the other
_GAP = 0.06  # between labels, as a fraction of the panel's height


def draw_weights(ax: Axes, ts: np.ndarray, states: Any, mode: int) -> Axes:
    """Weights of one mode over time, w1, w2 and θ, from a `ModeState` of shape (T, n_modes)."""
    # of different widths, so that all are seen where they coincide: w1 = θ at rest, w1 = w2 on the leaf c = 0
    for part, width, zorder in zip(WEIGHTS, (1.4, 0.7, 2.3), (2.1, 2.2, 2.0), strict=True):
        ax.plot(
            ts,
            getattr(states, part)[:, mode],
            color=theme().weights[part],
            linewidth=width,
            label=f"{WEIGHTS[part]} {part}",
            zorder=zorder,
        )
    return ax


def draw_end_point(ax: Axes, end: Any, mode: int) -> Axes:
    """Predicted end of one mode as dashed lines, from a `Prediction`; a weight whose end is NaN has none."""
    # the dashes of one fall in the gaps of the others, so that ends that coincide are all seen
    for part, offset in zip(WEIGHTS, (0, 5, 10), strict=True):
        value = getattr(end, part)[mode]
        if np.isfinite(value):
            dashes = (offset, (4, 11))
            ax.axhline(value, color=theme().weights[part], linewidth=1.0, linestyle=dashes, zorder=1.5)
    return ax


def draw_ratio(ax: Axes, ratio: float) -> Axes:
    """Ratio r = λd/λs, where the predictor of a learned mode comes to rest; nothing if it is NaN."""
    if np.isfinite(ratio):
        ax.axhline(ratio, color=theme().faint, linewidth=2.5, zorder=1.0, label=r"$r = \lambda_d/\lambda_s$")
    return ax


def draw_paths(ax: Axes, ts: np.ndarray, values: np.ndarray, fates: Iterable[str]) -> Axes:
    """Columns of `values`, shape (T, n), over time, each in the colour of its fate."""
    width = 1.3 if values.shape[1] <= _CROWD else 0.7
    for column, fate in zip(values.T, fates, strict=True):
        # the few that did not learn are what is looked for: they lie above
        ax.plot(
            ts, column, color=theme().fates[fate], linewidth=width, zorder=2.0 if fate == "learned" else 2.1
        )
    return ax


def draw_drift(ax: Axes, ts: np.ndarray, drift: np.ndarray, fates: Iterable[str]) -> Axes:
    """Departure from the balance law, shape (T, n), over time; zeros have no place on a logarithmic axis."""
    if np.any(drift > 0):
        return draw_paths(ax, ts, np.where(drift > 0, drift, np.nan), fates)
    ax.text(
        0.5,
        0.5,
        "exactly 0 throughout",
        transform=ax.transAxes,
        ha="center",
        va="center",
        color=theme().muted,
    )
    return ax


def draw_end_marks(ax: Axes, t: float, values: np.ndarray, fates: Iterable[str]) -> Axes:
    """Predicted ends, shape (n,), as open circles at time t, coloured by predicted fate; none where NaN."""
    for value, fate in zip(values, fates, strict=True):
        if np.isfinite(value):
            ax.plot(t, value, "o", color=theme().fates[fate], fillstyle="none", markersize=5, clip_on=False)
    return ax


def draw_spectrum(ax: Axes, ratios: np.ndarray, n_top: int) -> Axes:
    """Spectrum of M, descending, as horizontal lines, the first `n_top` of them emphasised."""
    for part, colour, width in ((ratios[n_top:], theme().faint, 0.5), (ratios[:n_top], theme().muted, 0.7)):
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
    colours = [theme().fates[fate] for fate in fates]
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
    ax.plot(ts, floors, color=theme().ink, linewidth=0.7, linestyle=DASHED, zorder=1.5)
    return ax
