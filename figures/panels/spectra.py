"""Panels of spectra: commutators under their bounds, eigenvalues in the plane, singular values, ratios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_bounded(ax: Axes, ts: np.ndarray, values: np.ndarray, bounds: Sequence[np.ndarray]) -> Axes:
    """Positive values, shape (T,), over time on a logarithmic axis, beneath their bounds, each of shape (T,)."""
    for bound, width in zip(bounds, (0.8, 1.3), strict=False):
        ax.plot(ts, bound, color=theme().muted, linewidth=width, linestyle=DASHED, zorder=1.5)
    ax.fill_between(ts, values, bounds[0], color=theme().faint, alpha=0.5, linewidth=0, zorder=1.0)
    ax.plot(ts, np.where(values > 0, values, np.nan), color=theme().ink)
    ax.set_yscale("log")
    ax.set_xlim(ts[0], ts[-1])
    return ax


def draw_ratios(ax: Axes, ratios: Sequence[np.ndarray], names: Sequence[str], colours: Sequence[str]) -> Axes:
    """Spectra of M, descending, one curve each with a name."""
    for values, name, colour in zip(ratios, names, colours, strict=True):
        ax.plot(np.arange(1, values.size + 1), values, color=colour, label=name)
    ax.set_xlim(1, max(values.size for values in ratios))
    ax.set_ylim(0, 1.03)
    ax.set_xlabel("index of the eigenvalue")
    ax.set_ylabel("ratio $r$")
    return ax


def draw_angles(ax: Axes, angles: np.ndarray, colours: Sequence[str]) -> Axes:
    """Principal angles in degrees, ascending, shape (curves, k); a curve of NaN is not there."""
    for values, colour in zip(angles, colours, strict=True):
        ax.plot(np.arange(1, values.size + 1), values, "o-", color=colour, markersize=4, clip_on=False)
    ax.set_xticks(range(1, angles.shape[1] + 1))
    ax.set_ylim(0, 90)
    ax.set_yticks([0, 30, 60, 90], ["0°", "30°", "60°", "90°"])
    ax.set_xlabel("index of the principal angle")
    return ax


def draw_plane(ax: Axes, eigenvalues: np.ndarray, shared: np.ndarray, ratios: np.ndarray) -> Axes:
    """Spectrum of a predictor in the complex plane, over that of M, real, as ticks on the real axis.

    Parameters
    ----------
    ax
        Its limits are left alone.
    eigenvalues, shared
        Of P, complex (n2,), and which of them are eigenvalues of M: those in the colour of what is learned.
    ratios
        Eigenvalues of M, real (n1,).
    """
    ax.axhline(0, color=theme().faint, linewidth=0.8, zorder=1)
    ax.plot(ratios, np.zeros_like(ratios), "|", color=theme().muted, markersize=8, label="eigenvalues of $M$")
    for which, colour, label in (
        (shared, theme().fates["learned"], "of $P$, shared with $M$"),
        (~shared, theme().ink, "of $P$ alone"),
    ):
        ax.plot(
            eigenvalues.real[which], eigenvalues.imag[which], "o", color=colour, markersize=4.5, label=label
        )
    ax.set_xlabel("real part")
    return ax


def draw_singular_values(ax: Axes, values: np.ndarray, n_zero: int, colour: str, label: str) -> Axes:
    """Singular values, ascending, on logarithmic axes, with the number of those that count as zero, if any."""
    index = np.arange(1, values.size + 1)
    ax.plot(index, values, ".-", color=colour, markersize=4, linewidth=0.8, label=label)
    if n_zero:
        ax.annotate(
            f"{n_zero} zeros",
            (index[n_zero - 1], values[n_zero - 1]),
            (8, 0),
            textcoords="offset points",
            va="center",
            color=colour,
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("index, ascending")
    return ax


def draw_threshold(ax: Axes, value: float) -> Axes:
    """Level up to which values count as zero."""
    ax.axhline(value, color=theme().muted, linewidth=0.7, linestyle=DASHED, zorder=1)
    return ax
