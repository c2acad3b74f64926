"""Panels: each draws given numbers on one given Axes and returns it. Nothing is computed, no setting is touched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.style import FAINT, FATES, INK, MUTED, ONLINE, PREDICTOR, TARGET

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONG = 50  # natural times that a linear axis shows well; beyond, it would hide the start
_CROWD = 16  # lines that can be told apart, and labels that fit one above the other
_DASHED = (0, (4, 3))


def scale_time(ax: Axes, t_end: float, natural: float) -> Axes:
    """Time axis from the start to `t_end`: linear for short runs, for long ones logarithmic beyond `natural`."""
    if t_end > _LONG * natural:
        ax.set_xscale("symlog", linthresh=natural, linscale=0.5, subs=range(2, 10))
    ax.set_xlim(0, t_end if t_end > 0 else natural)
    ax.set_xlabel("time $t$")
    return ax


def draw_weights(ax: Axes, ts: np.ndarray, states: Any, mode: int) -> Axes:
    """Weights of one mode over time: w1 (online), w2 (predictor), θ (target), columns of a `ModeState`."""
    # θ ends on w1: wide and light beneath narrow and dark, both are seen
    ax.plot(ts, states.online[:, mode], color=ONLINE, label="$w_1$ online", zorder=2.2)
    ax.plot(ts, states.predictor[:, mode], color=PREDICTOR, label="$w_2$ predictor", zorder=2.1)
    ax.plot(ts, states.target[:, mode], color=TARGET, linewidth=3.4, label=r"$\theta$ target", zorder=2.0)
    return ax


def draw_end_point(ax: Axes, end: Any, mode: int) -> Axes:
    """Predicted end of one mode as dashed lines; a weight whose end is not known (NaN) has none.

    `end` is a `Prediction`, or a `ModeState` of shape (n_modes,).
    """
    for part, colour in (("target", TARGET), ("online", ONLINE), ("predictor", PREDICTOR)):
        value = getattr(end, part)[mode]
        if np.isfinite(value):
            ax.axhline(value, color=colour, linewidth=1.0, linestyle=_DASHED, zorder=1.5, gid=f"end-{part}")
    return ax


def draw_ratio(ax: Axes, ratio: float) -> Axes:
    """Ratio r = λd/λs, where the predictor of a learned mode comes to rest; nothing if it is NaN."""
    if np.isfinite(ratio):
        ax.axhline(ratio, color=FAINT, linewidth=4.0, zorder=1.0, label=r"$r = \lambda_d/\lambda_s$")
    return ax


def draw_paths(ax: Axes, ts: np.ndarray, values: np.ndarray, fates: Sequence[str]) -> Axes:
    """Columns of `values`, shape (T, n), over time, each in the colour of its fate."""
    width = 1.4 if values.shape[1] <= _CROWD else 0.7
    for column, fate in zip(values.T, fates, strict=True):
        # mostly the few that did not learn are looked for: they lie above
        ax.plot(ts, column, color=FATES[fate], linewidth=width, zorder=2.0 if fate == "learned" else 2.1)
    return ax


def draw_end_marks(ax: Axes, t: float, values: np.ndarray, fates: Sequence[str]) -> Axes:
    """Predicted ends as open circles at time t, each in the colour of its predicted fate; none where NaN."""
    for value, fate in zip(values, fates, strict=True):
        if np.isfinite(value):
            ax.plot(t, value, marker="o", markersize=5, color=FATES[fate], fillstyle="none", clip_on=False)
    return ax


def draw_drift(ax: Axes, ts: np.ndarray, drift: np.ndarray, colours: Sequence[str]) -> Axes:
    """Departure from the balance law, shape (T, n), over time on a logarithmic axis; zeros are left out."""
    ax.set_yscale("log")
    shown = np.where(drift > 0, drift, np.nan)
    for column, colour in zip(shown.T, colours, strict=True):
        ax.plot(ts, column, color=colour, linewidth=0.9)
    if np.all(drift == 0):
        ax.set_ylim(1e-17, 1e-15)
        ax.text(0.5, 0.5, "exactly 0 throughout", transform=ax.transAxes, ha="center", va="center", color=MUTED)
    return ax


def draw_spectrum(ax: Axes, ratios: np.ndarray, n_top: int) -> Axes:
    """Spectrum of M as horizontal lines, descending, the first `n_top` emphasised."""
    for rank, ratio in enumerate(ratios):
        top = rank < n_top
        ax.axhline(
            ratio,
            color=MUTED if top else FAINT,
            linewidth=0.6 if top else 0.4,
            zorder=1.2 if top else 1.0,
            gid=f"ratio-{rank + 1}",
        )
    return ax


def draw_matches(
    ax: Axes, eigenvalues: np.ndarray, labels: Sequence[str], fates: Sequence[str], gap: float
) -> Axes:
    """Final eigenvalues as dots at their height, joined to labels that keep a distance of `gap`."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(eigenvalues)
    steps = gap * np.arange(len(order))
    heights = isotonic_regression(eigenvalues[order] - steps).x + steps  # nearest heights with that distance
    crowded = len(order) > _CROWD
    for i, height in zip(order, heights, strict=True):
        colour = FATES[fates[i]]
        ax.plot(0, eigenvalues[i], marker="o", markersize=3.5, color=colour, clip_on=False)
        if not crowded:
            ax.plot([0.06, 0.22], [eigenvalues[i], height], color=colour, linewidth=0.6, clip_on=False)
            ax.text(0.26, height, labels[i], color=colour, va="center", fontsize="small")
    ax.set_xlim(0, 1)
    ax.set_axis_off()
    return ax


def draw_floors(ax: Axes, ts: np.ndarray, floors: np.ndarray) -> Axes:
    """Lower bounds, shape (T, n), over time as dashed lines."""
    ax.plot(ts, floors, color=INK, linewidth=0.7, linestyle=_DASHED, zorder=1.5)
    return ax
