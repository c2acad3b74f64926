"""Panels of deep encoders: layers over time, how many modes collapse, and the weight decay that a mode survives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from figures.panels.scales import TIME
from figures.style import DASHED, theme


def layer_colours(n: int) -> list[Any]:
    """Colours of layers, light to dark.

    >>> len(layer_colours(3))
    3
    """
    import matplotlib as mpl

    return [mpl.colormaps["viridis"](x) for x in np.linspace(0.85, 0.15, n)]


def draw_layers(ax: Axes, simulation: Any, mode: int = 0) -> Axes:
    """Layers and predictor of one mode over time, with the ends that R320 says."""
    trajectory = simulation.trajectory.resampled(401)
    w, v, _ = trajectory.states
    depth = w.shape[1]
    said = simulation.predicted
    for k, colour in enumerate(layer_colours(depth)):
        ax.plot(trajectory.ts, w[:, k, mode], color=colour, label=f"layer {k + 1}")
        ends = np.sign(w[-1, k, mode]) * said.layers[k, mode]
        ax.axhline(ends, color=colour, linestyle=DASHED, linewidth=0.8)
    ax.plot(trajectory.ts, v[:, mode], color=theme().weights["predictor"], label="predictor $v$")
    ax.axhline(said.predictor[mode], color=theme().weights["predictor"], linestyle=DASHED, linewidth=0.8)
    ax.set(xlabel=TIME, ylabel="weight")
    return ax


def draw_probabilities(ax: Axes, depths: np.ndarray, ratios: Sequence[float], shares: np.ndarray) -> Axes:
    """Probability of collapse over depth, a line per ratio, and the part of negative predictors."""
    for r, row, colour in zip(ratios, shares, layer_colours(len(ratios)), strict=True):
        ax.plot(depths, row, "o-", color=colour, markersize=3, label=f"r = {r:g}")
    ax.plot(
        depths,
        depths / (2 * (depths + 1)),
        color=theme().muted,
        linestyle=DASHED,
        label="$v < 0$",
    )
    ax.set(xlabel="depth $L$", ylabel="probability of collapse", ylim=(0, 1))
    return ax


def draw_decay_branches(
    ax: Axes,
    depths: Sequence[int],
    decays: Sequence[np.ndarray],
    upper: Sequence[np.ndarray],
    lower: Sequence[np.ndarray],
) -> Axes:
    """Stable points (lines) and saddles (dashes) over weight decay, a colour per depth, up to where they meet."""
    for L, eta, high, low, colour in zip(
        depths, decays, upper, lower, layer_colours(len(depths)), strict=True
    ):
        ax.plot(eta, high, color=colour, label=f"L = {L}")
        ax.plot(eta, low, color=colour, linestyle=DASHED)
        ax.plot(eta[-1:], high[-1:], "o", color=colour, markersize=3)
    ax.set(xlabel=r"weight decay $\eta$", ylabel="predictor $v$ at rest")
    return ax


def draw_thresholds(ax: Axes, ratios: np.ndarray, depths: Sequence[int], thresholds: np.ndarray) -> Axes:
    """Threshold of weight decay over r, a line per depth, over that of r = 1."""
    for L, row, colour in zip(depths, thresholds, layer_colours(len(depths)), strict=True):
        ax.plot(ratios, row / row[-1], color=colour, label=f"L = {L}")
    ax.set(xlabel="ratio $r$", ylabel=r"$\eta^*_L(r)/\eta^*_L(1)$", yscale="log")
    return ax
