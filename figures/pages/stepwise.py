"""Page `modes`: stepwise learning, modes of different λd leaving the origin in turn (R14)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynamics.exact import escape_time, no_ema_solution
from dynamics.integrate import integrate
from dynamics.mode_fields import full_mode_field
from dynamics.system import ModeSystem
from figures.pages.layout import is_narrow, sheet
from figures.panels import growth
from figures.panels.palette import shades
from figures.registry import Page
from figures.style import DASHED, style, theme

_FRACTION = 0.5  # of its ratio at which a mode counts as escaped
_SAMPLES = 601


@dataclass(frozen=True, eq=False)
class Stepwise:
    """Tied modes that start together and leave the origin one after the other.

    Parameters
    ----------
    lambda_s, lambda_d, tau, tau_target, start
        λs, λd (n,), τo = τp = τ, τt, and w = w1 = w2 = θ at the start, the same for all modes.
    ts, exact, integrated
        Times (T,); w2 without EMA in closed form and with EMA by integration, shape (T, n).
    escape
        R14's time without EMA from the start to half of r, shape (n,).
    starts, escapes, limits
        Starts (S,), their escape times (S, n), and τ/(λd w), which they approach for small starts.
    """

    lambda_s: float
    lambda_d: np.ndarray
    tau: float
    tau_target: float
    start: float
    ts: np.ndarray
    exact: np.ndarray
    integrated: np.ndarray
    escape: np.ndarray
    starts: np.ndarray
    escapes: np.ndarray
    limits: np.ndarray

    @property
    def ratios(self) -> np.ndarray:
        """Where each predictor comes to rest, r = λd/λs."""
        return self.lambda_d / self.lambda_s


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
        λd of each mode, > 0; drawn in descending order.
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
    array([2016.8])
    """
    descending = np.sort(np.atleast_1d(np.asarray(lambda_d, dtype=float)))[::-1]
    rates = {"tau_online": tau, "tau_predictor": tau, "tau_target": tau_target}
    system = ModeSystem(np.full(descending.shape, lambda_s), descending, **rates)
    escape = escape_time(start, system, fraction=_FRACTION)
    if np.any(escape <= 0):
        raise ValueError(
            f"`start` must be less than half of the smallest ratio, {np.min(system.ratio) / 2:.4g}, got {start}"
        )
    ts = np.concatenate([[0.0], np.geomspace(np.min(escape) / 8, 2.5 * np.max(escape), _SAMPLES - 1)])
    state = system.state(start, start, start)
    starts = np.geomspace(start / 100, np.min(system.ratio) / 4, 61)
    return Stepwise(
        lambda_s=float(lambda_s),
        lambda_d=descending,
        tau=float(tau),
        tau_target=float(tau_target),
        start=float(start),
        ts=ts,
        exact=no_ema_solution(ts, state, system).predictor,
        integrated=integrate(state, system, full_mode_field, ts=ts).states.predictor,
        escape=escape,
        starts=starts,
        escapes=np.stack([escape_time(w, system, fraction=_FRACTION) for w in starts]),
        limits=tau / np.outer(starts, descending),
    )


def figure_modes(modes: Stepwise) -> Figure:
    """Predictor weights over time above the number of modes learned, beside escape times over start weights."""
    with style():
        return _figure(modes)


def _figure(modes: Stepwise) -> Figure:
    colours = shades(len(modes.lambda_d))
    narrow = is_narrow()
    figure = sheet("Learning in steps: the larger λd, the sooner a mode leaves the origin", 5.4 if narrow else 3.1)
    if narrow:
        left, steps, right = figure.subplots(3, 1, height_ratios=(2.2, 0.9, 2.2))
        steps.sharex(left)
    else:
        columns = figure.subfigures(1, 2, width_ratios=(1.45, 1))
        left, steps = columns[0].subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
        right = columns[1].subplots()

    growth.draw_faster_clock(left, modes.ts, modes.integrated)
    growth.draw_growth(left, modes.ts, modes.exact, colours)
    growth.draw_escapes(left, modes.escape, _FRACTION * modes.ratios, colours)
    for ratio, colour in zip(modes.ratios, colours, strict=True):
        left.annotate(
            f"$r = {ratio:.3g}$", (1.0, ratio), (3, 0), xycoords=left.get_yaxis_transform(),
            textcoords="offset points", va="center", color=colour, annotation_clip=False,
        )  # fmt: skip
    left.set_xscale("log")
    left.set_xlim(modes.ts[1], modes.ts[-1])
    left.set_ylim(0, 1.08 * modes.ratios[0])
    left.set_ylabel("predictor $w_2$")
    left.tick_params(labelbottom=False)
    left.legend(
        handles=[
            Line2D([], [], color=theme().ink, label="exact, no EMA"),
            Line2D([], [], color=theme().muted, linewidth=0.8, linestyle=DASHED, label=f"EMA, $\\tau_t = {modes.tau_target:g}$"),
            Line2D([], [], color=theme().ink, linestyle="none", marker="o", markersize=4.5, label="escape time (R14)"),
        ],
        loc="upper left",
    )
    growth.draw_staircase(steps, modes.ts, np.sum(modes.exact / modes.ratios, axis=1))
    steps.set_ylabel(r"$\sum_k w_2/r$")
    steps.set_xlabel("time $t$")

    growth.draw_power_law(right, modes.starts, modes.escapes, modes.limits, colours)
    right.scatter(np.full(len(colours), modes.start), modes.escape, c=colours, s=20, zorder=3)
    right.set_xlabel("start $w_1 = w_2 = \\theta$")
    right.set_ylabel("escape time")
    right.set_title(r"Small starts wait $\tau/(\lambda_d w)$ (dashed)")
    return figure


def _caption(modes: Stepwise) -> str:
    return ""


MODES = Page("modes", "Stepwise learning: modes leave the origin in turn", compute_modes, figure_modes, _caption)
"""Stepwise learning."""
