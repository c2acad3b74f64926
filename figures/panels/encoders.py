"""A linear encoder over time: how its weights share themselves out among modes, and how large they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from figures.panels.scales import scale_log
from figures.panels.simulation import draw_paths
from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DECADES = 8  # shares below which a mode is out of sight
_LEAST = 10.0**-_DECADES
_LABELLED = 8
_ROUNDING = 1e-14


def draw_shares(ax: Axes, simulation: Any) -> Axes:
    """Part of ‖W‖² along every mode over time, from an `EncoderSimulation`, in the colour of its fate."""
    ts, shares = simulation.trajectory.ts, simulation.shares
    draw_paths(ax, ts, np.where(shares > 0, shares, np.nan), simulation.fate)
    if shares.shape[1] <= _LABELLED:
        for k, share in enumerate(shares.T):
            kept = np.flatnonzero(share >= _LEAST)
            at = int(kept[-1]) if kept.size else 0
            ax.annotate(
                f"{k + 1}",
                (ts[at], max(share[at], _LEAST)),
                xytext=(3, 0),
                textcoords="offset points",
                color=theme().fates[str(simulation.fate[k])],
                va="center",
            )
    scale_log(ax, np.append(shares, 2.0), _DECADES)
    ax.set(xlabel="time $t$", ylabel=r"share of $\|W\|^2$")
    return ax


def draw_sizes(ax: Axes, simulation: Any) -> Axes:
    """Part of tr W Σs Wᵀ along every mode over time, from an `EncoderSimulation` of InfoNCE, and where each rests."""
    ts, of = simulation.trajectory.ts, simulation.saturating
    draw_paths(ax, ts, np.where(of.sizes > 0, of.sizes, np.nan), simulation.fate)
    for size in np.unique(of.predicted[np.isfinite(of.predicted) & (of.predicted > 0)]):
        ax.axhline(size, color=theme().muted, linestyle=DASHED, linewidth=1.0, zorder=0)
    scale_log(ax, np.append(of.sizes, 3 * np.max(of.sizes)), _DECADES)
    ax.set(xlabel="time $t$", ylabel=r"$s$ of each mode of $W \Sigma_s W^T$")
    return ax


def draw_norms(ax: Axes, ts: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> Axes:
    """Singular values of W, shape (T, n), over time, beside lines e^{rate t} through their ends.

    Parameters
    ----------
    ax
        Axes.
    ts, values
        Times, shape (T,), and singular values, descending, shape (T, n).
    slopes
        Rates to compare with, shape (n,); NaN for none.
    """
    resolved = values > _ROUNDING * values[:, :1]  # what is smaller is rounding of the largest
    ax.plot(ts, np.where(resolved, values, np.nan), color=theme().ink, linewidth=1.2)
    for end, slope in zip(values[-1], slopes, strict=True):
        if np.isfinite(slope) and end > 0:
            line = end * np.exp(slope * (ts - ts[-1]))
            ax.plot(ts, line, color=theme().muted, linestyle=DASHED, linewidth=1.0)
    ax.set_yscale("log")
    ax.set(xlabel="time $t$", ylabel="singular values of $W$")
    return ax
