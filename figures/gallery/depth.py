"""Pages `depth-fates` and `depth-thresholds`: which modes deep encoders lose, to negative predictors and to decay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.depth.decay import decay_rest, decay_threshold
from analysis.depth.fates import collapse_probability
from analysis.runs.deep import DeepSimulation, simulate_deep
from dynamics.fields.deep import DeepSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import panels
from figures.panels import deep as draw
from figures.style import style

_RATIOS = (0.0, 0.5, 1.0)
_START = (0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, eq=False)
class DepthFatesPage:
    """Two runs of one deep encoder, and how many modes of each depth collapse.

    Parameters
    ----------
    parameters
        As given.
    learned, collapsed
        Runs from v and from −v.
    depths, ratios, probabilities
        L, r, and the probability of collapse from N(0, 1) weights, shape (n_ratios, n_depths).
    """

    parameters: dict[str, Any]
    learned: DeepSimulation
    collapsed: DeepSimulation
    depths: np.ndarray
    ratios: tuple[float, ...]
    probabilities: np.ndarray


def compute_depth_fates(
    *, depth: int = 3, ratio: float = 0.5, predictor: float = 0.4, deepest: int = 10
) -> DepthFatesPage:
    """Run a mode from either sign of the predictor, and integrate probabilities.

    Parameters
    ----------
    depth
        L of the runs, 1 to 4.
    ratio
        r > 0 of the runs, λs = 1.
    predictor
        v > 0 at the start of one run; the other starts from −v.
    deepest
        Largest depth of the right panel, >= 1.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> page = compute_depth_fates(deepest=2)
    >>> page.learned.predicted.fate.tolist(), page.collapsed.predicted.fate.tolist()
    (['learned'], ['collapsed'])
    """
    parameters = {**locals()}
    if not 1 <= depth <= len(_START):
        raise ValueError(f"`depth` must lie within 1 and {len(_START)}, got {depth}")
    for name, value in (("ratio", ratio), ("predictor", predictor)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"`{name}` must be finite and > 0, got {value}")
    if deepest < 1:
        raise ValueError(f"`deepest` must be >= 1, got {deepest}")
    system = DeepSystem(1.0, ratio, depth=depth)
    t_end = 400.0
    runs = [
        simulate_deep(system.deep_state(_START[:depth], v), system, t_end=t_end)
        for v in (predictor, -predictor)
    ]
    depths = np.arange(1, deepest + 1)
    shares = [[collapse_probability(int(L), r)[0] for L in depths] for r in _RATIOS]
    return DepthFatesPage(parameters, runs[0], runs[1], depths, _RATIOS, np.array(shares))


def figure_depth_fates(found: DepthFatesPage) -> Figure:
    """Two runs, and the probability of collapse over depth."""
    with style():
        figure, axes = panels("Deeper encoders collapse more often", 3, columns=3, aspect=0.85)
        for ax, run, sign in zip(axes[:2], (found.learned, found.collapsed), (">", "<"), strict=True):
            draw.draw_layers(ax, run)
            ax.set_title(f"From $v(0) {sign} 0$: {run.predicted.fate[0]}")
        axes[0].set_ylim(bottom=axes[0].get_ylim()[0] - 0.35)
        axes[0].legend(loc="lower right", fontsize="small", ncols=2)
        draw.draw_probabilities(axes[2], found.depths, found.ratios, found.probabilities)
        axes[2].set_title("From $N(0, 1)$ weights")
        axes[2].legend(loc="lower right", fontsize="small", ncols=2)
        return figure


def caption_depth_fates(found: DepthFatesPage) -> str:
    """Say what is drawn."""
    return (
        f"A mode of a deep linear encoder with λs = 1, all τ = 1 and η = 0; {described(found.parameters)}. Left and "
        "middle: layers and predictor over time from either sign of the predictor, with an average of every layer as "
        "target; dashes are the ends of R320. The layer of the least c_l = τ_l w_l² − τp v² dies where v < 0 and "
        "c_min <= 0. Right: probability that a mode collapses from N(0, 1) weights, over the depth; dashes are the "
        "part of negative predictors, L/(2(L + 1)), whatever r."
    )


@dataclass(frozen=True, eq=False)
class DepthThresholdsPage:
    """Rest points under weight decay by depth, and thresholds by ratio.

    Parameters
    ----------
    parameters
        As given.
    depths
        L, shape (n,).
    decays, upper, lower
        Per depth, weight decays up to the threshold, and v of the stable point and of the saddle, shape (N,).
    ratios, thresholds
        r, and η*_L at λs = 1, shape (n, N).
    """

    parameters: dict[str, Any]
    depths: tuple[int, ...]
    decays: tuple[np.ndarray, ...]
    upper: tuple[np.ndarray, ...]
    lower: tuple[np.ndarray, ...]
    ratios: np.ndarray
    thresholds: np.ndarray


def compute_depth_thresholds(*, ratio: float = 0.8, deepest: int = 4) -> DepthThresholdsPage:
    """Follow rest points to their fold, depth by depth.

    Parameters
    ----------
    ratio
        r > 0 of the left panel, λs = 1.
    deepest
        Largest depth, 1 to 8.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> page = compute_depth_thresholds(deepest=2)
    >>> [round(float(eta[-1]), 4) for eta in page.decays]
    [0.16, 0.0432]
    """
    parameters = {**locals()}
    if not (math.isfinite(ratio) and ratio > 0):
        raise ValueError(f"`ratio` must be finite and > 0, got {ratio}")
    if not 1 <= deepest <= 8:
        raise ValueError(f"`deepest` must lie within 1 and 8, got {deepest}")
    depths = tuple(range(1, deepest + 1))
    shares = 1 - np.linspace(1, 0, 61) ** 2  # dense at the fold
    decays, upper, lower = [], [], []
    for L in depths:
        eta = shares * float(decay_threshold(L, 1.0, ratio))
        rests = [decay_rest(L, 1.0, ratio, float(one)) for one in eta]
        decays.append(eta)
        upper.append(np.array([rest.upper for rest in rests]))
        lower.append(np.array([rest.lower for rest in rests]))
    ratios = np.linspace(0.2, 1.0, 81)
    thresholds = np.array([decay_threshold(L, 1.0, ratios) for L in depths])
    return DepthThresholdsPage(
        parameters, depths, tuple(decays), tuple(upper), tuple(lower), ratios, thresholds
    )


def figure_depth_thresholds(found: DepthThresholdsPage) -> Figure:
    """Rest points over weight decay, and thresholds over the ratio."""
    with style():
        figure, axes = panels("Weight decay selects by r, more sharply with depth", 2, columns=2, aspect=0.8)
        draw.draw_decay_branches(axes[0], found.depths, found.decays, found.upper, found.lower)
        axes[0].set_title("Rest points and their fold")
        axes[0].legend(loc="lower right", fontsize="small")
        draw.draw_thresholds(axes[1], found.ratios, found.depths, found.thresholds)
        axes[1].set_title("Thresholds")
        axes[1].legend(loc="lower right", fontsize="small")
        return figure


def caption_depth_thresholds(found: DepthThresholdsPage) -> str:
    """Say what is drawn."""
    return (
        "A balanced mode of a deep linear encoder with λs = 1 and all τ = 1, without averages; "
        f"{described(found.parameters)}. Left: v at rest over weight decay, stable points (lines) and saddles "
        "(dashes), which meet at v = (2L − 1) r/(2L) and η*_L (dots; R322). Right: η*_L over r, relative to r = 1: "
        "it is proportional to λd r^{2L − 1}, so that at one weight decay deep encoders keep fewer modes of small r."
    )


DEPTH_FATES = Page(
    "depth-fates",
    "Deep encoders: two fates of one mode, and how many modes collapse by depth",
    compute_depth_fates,
    figure_depth_fates,
    caption_depth_fates,
)
"""Fates by depth."""

DEPTH_THRESHOLDS = Page(
    "depth-thresholds",
    "Deep encoders: the weight decay that a mode survives, by depth and ratio",
    compute_depth_thresholds,
    figure_depth_thresholds,
    caption_depth_thresholds,
)
"""Thresholds by depth."""
