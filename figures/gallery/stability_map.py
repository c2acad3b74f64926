"""Page `stability-map`: which decoupled fixed points are stable, over amplitude and ratio (R9, R10)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.stability.pair_spectrum import pair_eigenvalues
from dynamics.system import ModeSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import panels
from figures.panels import maps
from figures.style import DASHED, style, theme


@dataclass(frozen=True, eq=False)
class StabilityMap:
    """Leading eigenvalue of the pair (row i, mode j), over what decides it.

    Parameters
    ----------
    parameters
        As given.
    ratios
        r_j, shape (R,): the vertical axis of both maps.
    amplitudes, selected
        w_j of the row that holds mode j, shape (A,), and the larger real part of the pair's eigenvalues (R, A).
    border, balanced
        w_j where R10 changes sign, NaN where it does not, and w_j of balanced points; shape (R,).
    predictors, unselected
        p_i, shape (A,), and the larger real part towards a mode that no row holds, shape (R, A).
    """

    parameters: dict[str, float]
    ratios: np.ndarray
    amplitudes: np.ndarray
    selected: np.ndarray
    border: np.ndarray
    balanced: np.ndarray
    predictors: np.ndarray
    unselected: np.ndarray


def compute_stability_map(
    *,
    lambda_s: float = 1.0,
    predictor: float = 0.4,
    tau_online: float = 1.0,
    tau_predictor: float = 1.0,
    tau_target: float = 1.0,
    resolution: int = 241,
) -> StabilityMap:
    """Evaluate the eigenvalues of R9's blocks over amplitude and ratio.

    Parameters
    ----------
    lambda_s
        λs of all modes, > 0.
    predictor
        p_i = r_i of the row whose stability is mapped, in (0, 1).
    tau_online, tau_predictor, tau_target
        τo, τp, τt > 0.
    resolution
        Points along each axis, an integer >= 2.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> found = compute_stability_map(resolution=11)
    >>> found.border[[3, 4, 8]].round(3)
    array([nan, 0. , 0.4])
    """
    parameters = dict(locals())
    if lambda_s <= 0:
        raise ValueError(f"`lambda_s` must be > 0, got {lambda_s}")
    if not 0 < predictor < 1:
        raise ValueError(f"`predictor` must be > 0 and < 1, got {predictor}")
    if resolution < 2:
        raise ValueError(f"`resolution` must be an integer >= 2, got {resolution}")
    ratios = np.linspace(0.0, 1.0, resolution)
    system = ModeSystem(
        np.full(resolution, lambda_s),
        lambda_s * ratios,
        tau_online=tau_online,
        tau_predictor=tau_predictor,
        tau_target=tau_target,
    )
    balance = np.sqrt(tau_predictor / tau_online)
    amplitudes = np.linspace(0.0, 1.2 * balance, resolution)
    predictors = np.linspace(-0.5, 1.2, resolution)
    above = np.where(ratios >= predictor, ratios - predictor, np.nan)
    return StabilityMap(
        parameters=parameters,
        ratios=ratios,
        amplitudes=amplitudes,
        selected=pair_eigenvalues(predictor, amplitudes[:, None], system)[..., 0].real.T,
        border=balance * np.sqrt(predictor * above),
        balanced=balance * ratios,
        predictors=predictors,
        unselected=pair_eigenvalues(predictors[:, None], 0.0, system)[..., 0].real.T,
    )


def figure_stability_map(found: StabilityMap) -> Figure:
    """Leading eigenvalue over (w_j, r_j) for modes that are held, and over (p_i, r_j) for those that are not."""
    with style():
        headline = "A row gives way to a stronger mode only where that mode is held weakly"
        figure, (left, right) = panels(headline, 2, columns=2, aspect=0.8)
        r, p, top = found.ratios, found.parameters["predictor"], found.amplitudes[-1]
        limit = 1.2 * max(np.max(found.selected), np.max(found.unselected))

        left.set_title("Mode $j$ held by another row")
        maps.draw_leading_eigenvalue(left, found.amplitudes, r, found.selected, limit)
        maps.draw_border(left, found.border, r)
        maps.draw_guide(left, found.balanced, r)
        height = 0.7 + 0.3 * p
        maps.write_on(left, np.interp(height, r, found.border) / 2, height, "unstable")
        maps.write_on(left, 0.75 * top, 0.3, "stable")
        left.set_xlabel("its amplitude $w_j$")
        left.set_ylabel("its ratio $r_j$")

        right.set_title("Mode $j$ held by no row")
        maps.draw_leading_eigenvalue(right, found.predictors, r, found.unselected, limit)
        maps.draw_border(right, np.concatenate([np.zeros_like(r), r]), np.concatenate([r[::-1], r]))
        maps.write_on(right, 0.33, 0.75, "unstable")
        for x in (-0.28, 0.9):
            maps.write_on(right, x, 0.3, "stable")
        right.set_xlabel("predictor $p_i$ of row $i$")
        right.set_ylabel("its ratio $r_j$")

        maps.draw_scale(figure, [left, right], "leading eigenvalue")
        legend_below(
            figure,
            [
                Line2D([], [], color=theme().ink, linewidth=1.6, label="R10"),
                Line2D([], [], color=theme().ink, linewidth=0.9, linestyle=DASHED, label="balanced points"),
            ],
        )
        return figure


def caption_stability_map(found: StabilityMap) -> str:
    """Say what is mapped and where it changes sign."""
    given = dict(found.parameters)
    p = given.pop("predictor")
    return (
        "Largest real part of the eigenvalues with which row i of a decoupled fixed point meets mode j, from the"
        f" blocks of R9; {described(given)}. Left: another row holds the mode with amplitude w_j, and row"
        f" i has p_i = r_i = {p:g}. The pair is stable iff w_j²/τp > (r_i/τo)(r_j − r_i) (R10, solid), which"
        " balanced points, τo w_j² = τp r_j² (dashed), always satisfy. Right: no row holds the mode; it destabilises"
        " row i iff 0 < p_i < r_j, so a row that collapsed with p_i < 0 or p_i > r_j stays collapsed."
    )


STABILITY_MAP = Page(
    "stability-map",
    "Leading eigenvalue of decoupled fixed points over amplitude and ratio",
    compute_stability_map,
    figure_stability_map,
    caption_stability_map,
)
"""Which decoupled fixed points are stable."""
