"""A view as a picture of the house style and as arrays, for downloads."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.fates.basins import FATES
from figures.explorer.commands import commands_of
from figures.explorer.runs import drift_told, told
from figures.explorer.scene import CELLS, Frame, frame_of, notes_of, plane_of, shares
from figures.explorer.state import View
from figures.gallery.captions import described
from figures.layout.legends import legend_below
from figures.layout.sheets import panels
from figures.panels.basins import fate_tint
from figures.panels.portrait import draw_portrait, portrait_handles
from figures.style import DASHED, style, theme

_NUMBERS = (
    *("lambda_s", "lambda_d", "tau_online", "tau_predictor", "tau_target", "weight_decay"),
    *("variant", "objective", "online", "predictor", "target"),
)


def whole(view: View) -> Frame:
    """Everything of a view at its finest."""
    return frame_of(view, cells=CELLS[-1], manifolds=True)


def figure_view(frame: Frame) -> Figure:
    """Draw a view in the style, size and theme of `figures.style`.

    Examples
    --------
    >>> len(figure_view(frame_of(View(), cells=2)).axes)
    1
    """
    view = frame.view
    with style():
        mode = frame.run.report
        agrees = ", as predicted" if mode["agrees"] else ""
        figure, (ax,) = panels(f"This start is {mode['fate']}{agrees} ({view.variant})", 1, columns=1)
        handles: list[Any] = []
        if frame.lattice is not None:
            lattice, window = frame.lattice, (-view.extent, view.extent)
            kinds = np.unique(
                np.stack([lattice.fate.ravel(), lattice.negative.ravel() & (lattice.fate.ravel() == 0)]),
                axis=1,
            ).T
            picture = np.zeros((*lattice.fate.shape, 3))
            for code, below in kinds:
                tint = fate_tint(str(FATES[code]), bool(below))
                picture[(lattice.fate == code) & ((lattice.negative & (lattice.fate == 0)) == below)] = tint
                sign = ("$, w_1 < 0$" if below else "$, w_1 > 0$") if code == 0 else ""
                handles.append(Patch(facecolor=tuple(tint), linewidth=0, label=f"{FATES[code]}{sign}"))
            ax.imshow(
                picture,
                origin="lower",
                extent=(*window, *window),
                interpolation="nearest",
                aspect="auto",
                zorder=0,
            )
        draw_portrait(ax, frame.portrait)
        ink = theme().ink
        for name, dashes, label in (
            ("boundary", DASHED, "boundary of collapse (R6)"),
            ("leaf", ":", f"leaf $c = {view.invariant:g}$"),
        ):
            for curve in frame.curves[name]:
                (line,) = ax.plot(*curve.T, color=ink, linestyle=dashes, linewidth=1.1, label=label)
            if frame.curves[name]:
                handles.append(line)
        plane = plane_of(view)
        for one in (*frame.kept, frame.run):
            future, past = one.on(plane)
            colour = ink if one is frame.run else theme().fates[one.report["fate"]]
            ax.plot(*past.T, color=colour, linewidth=0.9, linestyle="-.", zorder=4)
            ax.plot(*future.T, color=colour, linewidth=1.6, zorder=4)
            ax.plot(*future[:1].T, "s", color=colour, markersize=4, zorder=6)
        handles += [
            Line2D([], [], color=ink, linewidth=1.6, label="trajectory"),
            Line2D([], [], color=ink, linewidth=0.9, linestyle="-.", label="its past"),
        ]
        legend_below(figure, [*portrait_handles([frame.portrait]), *handles])
        return figure


def caption_view(frame: Frame) -> str:
    """Every number of a view, what is seen, and the commands that compute it again."""
    view = frame.view
    numbers = described({name: getattr(view, name) for name in _NUMBERS})
    seen = (
        f" {shares(frame.lattice)} of {frame.lattice.fate.size} starts." if frame.lattice is not None else ""
    )
    return (
        f"The phase plane of one mode, {numbers}.{seen} {told(frame.run)} {drift_told(frame.run)}"
        f" {' '.join(notes_of(view))} Commands: {'; '.join(commands_of(view))}."
    )


def arrays_of_view(frame: Frame) -> dict[str, np.ndarray]:
    """Arrays of a view by name: its portrait, curves, cells, trajectory and frozen trajectories.

    Examples
    --------
    >>> sorted(arrays_of_view(frame_of(View(), cells=2)))[-3:]
    ['run.past', 'run.path', 'run.t']
    """
    from figures.gallery.registry import flat_arrays

    def of(run: Any) -> dict[str, np.ndarray]:
        return {"t": run.t, "path": run.path, "past": run.past, "fate": np.asarray(run.report["fate"])}

    parts = {
        "portrait": frame.portrait,
        "curves": frame.curves,
        "cells": frame.lattice,
        "run": of(frame.run),
        "kept": [of(run) for run in frame.kept],
        "address": frame.view.query(),
    }
    return flat_arrays(parts)
