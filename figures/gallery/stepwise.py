"""Page `modes`: stepwise learning, modes of different λd leaving the origin in turn (R14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dynamics.exact.no_ema import escape_time, no_ema_solution
from dynamics.fields.modes import full_mode_field
from dynamics.integration.integrate import integrate
from dynamics.system import ModeSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import is_narrow, sheet
from figures.panels import growth
from figures.panels.palette import shades
from figures.panels.scales import TIME
from figures.style import style

_FRACTION = 0.5  # of its ratio at which a mode counts as escaped
_SAMPLES = 601


@dataclass(frozen=True, eq=False)
class Stepwise:
    """Tied modes that start together and leave the origin one after the other.

    Parameters
    ----------
    parameters
        As given, λd descending.
    ratios
        Where each predictor comes to rest, r = λd/λs, shape (n,).
    ts, exact, integrated
        Times (T,); w2 without EMA in closed form and with EMA by integration, shape (T, n).
    escape
        R14's time without EMA from the start to half of r, shape (n,).
    starts, escapes, limits
        Starts (S,), their escape times (S, n), and τ/(λd w), which they approach for small starts.
    """

    parameters: dict[str, Any]
    ratios: np.ndarray
    ts: np.ndarray
    exact: np.ndarray
    integrated: np.ndarray
    escape: np.ndarray
    starts: np.ndarray
    escapes: np.ndarray
    limits: np.ndarray


def compute_modes(
    *,
    lambda_d: tuple[float, ...] = (0.9, 0.6, 0.4, 0.27, 0.18),
    lambda_s: float = 1.0,
    tau: float = 1.0,
    tau_target: float = 1.0,
    start: float = 0.01,
) -> Stepwise:
    """Solve tied modes without EMA exactly and with EMA by integration, and time their escapes (R14).

    Parameters
    ----------
    lambda_d
        λd of each mode, > 0.
    lambda_s
        λs of all modes, > 0.
    tau, tau_target
        τo = τp and τt, > 0.
    start
        w = w1 = w2 = θ at the start, > 0 and less than half of the smallest ratio.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> compute_modes(lambda_d=(0.5,), start=0.001).escape.round(1)
    array([2016.9])
    """
    parameters = {**locals()}
    values = np.sort(lambda_d)[::-1]
    parameters["lambda_d"] = tuple(values.tolist())
    system = ModeSystem(
        np.full(values.shape, lambda_s), values, tau_online=tau, tau_predictor=tau, tau_target=tau_target
    )
    escape = escape_time(start, system, fraction=_FRACTION)
    if np.any(escape <= 0):
        raise ValueError(
            f"`start` must be less than half of the smallest ratio, {np.min(system.ratio) / 2:.4g}, got {start}"
        )
    ts = np.concatenate([[0.0], np.geomspace(np.min(escape) / 8, 2.5 * np.max(escape), _SAMPLES - 1)])
    state = system.state(start, start, start)
    starts = np.geomspace(start / 100, np.min(system.ratio) / 4, 61)
    return Stepwise(
        parameters=parameters,
        ratios=system.ratio,
        ts=ts,
        exact=no_ema_solution(ts, state, system).predictor,
        integrated=integrate(state, system, full_mode_field, ts=ts).states.predictor,
        escape=escape,
        starts=starts,
        escapes=np.stack([escape_time(w, system, fraction=_FRACTION) for w in starts]),
        limits=tau / np.outer(starts, values),
    )


def figure_modes(modes: Stepwise) -> Figure:
    """Predictor weights over time above the number of modes learned, beside escape times over start weights."""
    with style():
        return _figure(modes)


def _figure(modes: Stepwise) -> Figure:
    colours, narrow = shades(len(modes.ratios)), is_narrow()
    headline = "Learning in steps: the larger λd, the sooner a mode leaves the origin"
    figure = sheet(headline, 5.6 if narrow else 3.1)
    if narrow:
        left, steps, right = figure.subplots(3, 1, height_ratios=(2.2, 0.9, 2.2))
        steps.sharex(left)
    else:
        grid = figure.add_gridspec(1, 2, width_ratios=(1.45, 1))
        left, steps = figure.add_subfigure(grid[0]).subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
        right = figure.add_subfigure(grid[1]).subplots()

    growth.draw_comparison(left, modes.ts, modes.integrated)
    growth.draw_growth(left, modes.ts, modes.exact, colours)
    growth.draw_escapes(left, modes.escape, _FRACTION * modes.ratios, colours)
    growth.draw_ratios_beside(left, modes.ratios, colours)
    left.set_xscale("log")
    left.set_xlim(modes.ts[1], modes.ts[-1])
    left.set_ylim(0, 1.08 * modes.ratios[0])
    left.set_ylabel("predictor $w_2$")
    left.tick_params(labelbottom=False)
    left.legend(handles=growth.growth_handles(modes.parameters["tau_target"]), loc="upper left")

    growth.draw_staircase(steps, modes.ts, np.sum(modes.exact / modes.ratios, axis=1))
    steps.set_ylabel(r"$\Sigma\; w_2/r$")
    steps.set_xlabel(TIME)

    growth.draw_power_law(right, modes.starts, modes.escapes, modes.limits, colours)
    growth.draw_marks(right, modes.parameters["start"], modes.escape, colours)
    right.set_title(r"Small starts wait $\tau/(\lambda_d w)$ (dashed)")
    right.set_xlabel("start $w$")
    right.set_ylabel("escape time")
    return figure


def caption_modes(modes: Stepwise) -> str:
    """Say what was solved and when the modes escape."""
    times = ", ".join(f"{t:.4g}" for t in modes.escape)
    return (
        f"Tied modes, w1 = w2 = θ = w at the start; {described(modes.parameters)}. Left: predictor weights over time,"
        " in closed form without EMA (R14, solid) and by integration with EMA (dashed); dots are R14's escape times"
        f" to half of r, {times}. Beneath: the sum of w2/r, in which every step is one mode learned. Right: escape"
        " time over the start; at small starts it is τ/(λd w), where a saddle would let go after a time that grows as"
        " ln(1/w) only."
    )


MODES = Page(
    "modes",
    "Stepwise learning: modes of different λd leave the origin in turn",
    compute_modes,
    figure_modes,
    caption_modes,
)
"""Stepwise learning."""
