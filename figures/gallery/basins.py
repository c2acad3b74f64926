"""Which starts of one mode learn and which collapse, followed one by one, under the boundary of R6."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.fates.basins import BasinMap, basins
from analysis.fates.fate import Fate
from analysis.phase_planes.separatrices import leaf_separatrix
from dynamics.fields.modes import full_mode_field
from dynamics.system import ModeSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import is_narrow, panels
from figures.panels.basins import basin_handles, draw_basins
from figures.style import DASHED, style, theme

_COARSE = 121  # places of the stable manifold along each side
_LINE_POINTS = 401


class Basins(NamedTuple):
    """Basin maps of one mode under three sets of rates.

    Parameters
    ----------
    maps, names
        Plain, with weight decay, and with a slow target.
    boundary
        Boundaries of collapse at η = 0 (R6), polylines of shape (k, 2): c = −τp r², and c = 0.
    places, manifolds
        Lattice (w1, w2), shape (2, k, k), and for each map θ on the stable manifold of the saddle of the leaf
        there, shape (k, k); NaN where there is no saddle, and throughout under weight decay.
    target
        θ of all starts.
    parameters
        What was asked for.
    """

    maps: tuple[BasinMap, ...]
    names: tuple[str, ...]
    boundary: tuple[np.ndarray, ...]
    places: np.ndarray
    manifolds: tuple[np.ndarray, ...]
    target: float
    parameters: dict[str, float | tuple[float, ...]]


def compute_basins(
    *,
    lambda_s: float = 1.0,
    lambda_d: float = 0.5,
    tau_online: float = 1.0,
    tau_predictor: float = 1.0,
    tau_target: float = 1.0,
    weight_decay: float = 0.04,
    slow_tau_target: float = 20.0,
    online: tuple[float, ...] = (-1.5, 1.5),
    predictor: tuple[float, ...] = (-1.0, 1.5),
    target: float = 0.1,
    resolution: int = 241,
) -> Basins:
    """Follow a lattice of starts in the ranges of w1 and w2, at one θ, for each of three maps (R6, R15)."""
    parameters: dict[str, float | tuple[float, ...]] = dict(locals())
    for name, bounds in (("online", online), ("predictor", predictor)):
        if len(bounds) != 2:
            raise ValueError(f"`{name}` must be two numbers, the smaller first, got {bounds}")
    if not (lambda_s > 0 and lambda_d > 0):
        raise ValueError(
            f"`lambda_s` and `lambda_d` must be > 0 for the boundary of R6, got {lambda_s} and {lambda_d}"
        )
    kinds = {
        "no weight decay": {"tau_target": tau_target},
        "weight decay": {"tau_target": tau_target, "weight_decay": weight_decay},
        "slow target": {"tau_target": slow_tau_target},
    }
    window = (online[0], online[1]), (predictor[0], predictor[1])
    places = np.stack(np.meshgrid(*(np.linspace(low, high, _COARSE) for low, high in window)))
    maps, manifolds = [], []
    for rates in kinds.values():
        system = ModeSystem(lambda_s, lambda_d, tau_online=tau_online, tau_predictor=tau_predictor, **rates)
        maps.append(basins(system, full_mode_field, ranges=window, at=target, grid=resolution))
        still = not system.weight_decay
        no_saddle = np.full(places.shape[1:], np.nan)
        u, v = places[..., None]
        manifolds.append(leaf_separatrix(u, v, system)[..., 0] if still else no_saddle)
    w1, slope = np.linspace(online[0], online[1], _LINE_POINTS), tau_online / tau_predictor
    upper = np.column_stack([w1, np.sqrt(slope * w1**2 + (lambda_d / lambda_s) ** 2)])  # c = −τp r²
    lower = np.column_stack([w1, -np.sqrt(slope) * np.abs(w1)])
    return Basins(tuple(maps), tuple(kinds), (upper, lower), places, tuple(manifolds), target, parameters)


def figure_basins(result: Basins) -> Figure:
    """Draw the maps, the boundary of R6 over them, and where the sign of w1 is decided."""
    with style():
        n, ink = len(result.maps), theme().ink
        share = result.maps[0].fractions[Fate.LEARNED].value
        figure, axes = panels(
            f"Without weight decay the invariant alone decides on collapse: {share:.0%} of starts learn",
            n,
            columns=n,
            aspect=0.8 if is_narrow() else 1.2,
        )
        for ax, one, name, manifold in zip(axes, result.maps, result.names, result.manifolds, strict=True):
            draw_basins(ax, one)
            for part in result.boundary:
                ax.plot(*part.T, color=ink, linestyle=DASHED, linewidth=1.1)
            if np.any(np.isfinite(manifold)):
                ax.contour(
                    *result.places, manifold, [result.target], colors=ink, linewidths=1.1, linestyles="dotted"
                )
            rate = {"weight decay": rf", $\eta = {one.system.weight_decay:g}$"}
            title = rate.get(name, rf", $\tau_t = {one.system.tau_target:g}$")
            ax.set_title(name[0].upper() + name[1:] + title)
        handles = [
            *basin_handles(result.maps),
            Line2D([], [], color=ink, linestyle=DASHED, linewidth=1.1, label=r"boundary at $\eta = 0$"),
        ]
        if any(np.any(np.isfinite(manifold)) for manifold in result.manifolds):
            handles.append(
                Line2D([], [], color=ink, linestyle=":", linewidth=1.1, label="stable manifold of saddles")
            )
        legend_below(figure, handles)
        return figure


def caption_basins(result: Basins) -> str:
    """Every parameter, and what is seen."""
    shares = []
    for name, one in zip(result.names, result.maps, strict=True):
        told = ", ".join(f"{share.value:.1%} {fate}" for fate, share in one.fractions.items() if share.value)
        against = f", {np.sum(one.mismatches)} against theory" if np.any(one.predicted < 3) else ""
        shares.append(f"{name}: {told}{against}")
    return (
        f"Fates of starts (w1, w2) of one mode, each followed to rest: {described(result.parameters)}."
        f" {'; '.join(shares)}. Dashed: at η = 0 a start collapses iff c = τo w1² − τp w2² <= −τp r² (w2 > 0) or"
        " c <= 0 (w2 <= 0), whatever θ and τt (R6); under weight decay the boundary moves, and is drawn for"
        " comparison. Dotted: starts on the stable manifold of the saddle of their leaf, which decides the sign"
        " of w1."
    )


BASINS = Page(
    "basins",
    "Which starts learn and which collapse: plain, with weight decay, with a slow target",
    compute_basins,
    figure_basins,
    caption_basins,
)
