"""The three weights over time from chosen starts: exact solutions over integrated ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.runs.simulation import simulate_modes
from dynamics.exact.fixed_target import fixed_target_solution
from dynamics.exact.no_ema import no_ema_solution
from dynamics.exact.no_predictor import no_predictor_solution
from dynamics.invariants import mode_invariant
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import BALANCED_MODE_VARIANTS, MODE_FIELDS
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import is_narrow, sheet
from figures.panels.scales import TIME, scale_log
from figures.panels.simulation import draw_end_point, draw_weights
from figures.style import WEIGHTS, size, style, theme

_SOLUTIONS = {
    "no-ema": no_ema_solution,
    "fixed-target": fixed_target_solution,
    "no-predictor": no_predictor_solution,
}
_VARIANTS = ("full", *_SOLUTIONS)
_SAMPLES, _MARKS = 401, 14
_DECADES = 10  # of errors that are shown


class Trajectories(NamedTuple):
    """Runs of one mode from several starts.

    Parameters
    ----------
    ts, integrated, exact
        Times (T,), and weights (T, n) by integration and in closed form; NaN where there is no closed form.
    step_ts, drift, error
        The integrator's own steps (S,), and there |c(t) − c(0)|, NaN where it is not conserved, and the largest
        |exact − integrated| of the three weights, shape (S, n).
    starts, ends
        Weights at the start, and where theory says that they end, (n,); NaN where unknown.
    fates
        What each start did, (n,).
    parameters
        What was asked for.
    """

    ts: np.ndarray
    integrated: ModeState
    exact: ModeState
    step_ts: np.ndarray
    drift: np.ndarray
    error: np.ndarray
    starts: ModeState
    ends: ModeState
    fates: np.ndarray
    parameters: dict[str, str | float | tuple[float, ...]]


def compute_trajectories(
    *,
    variant: str = "no-ema",
    lambda_s: float = 1.0,
    lambda_d: float = 0.5,
    tau_online: float = 1.0,
    tau_predictor: float = 1.0,
    tau_target: float = 1.0,
    online: tuple[float, ...] = (0.1, 0.3, 0.1),
    predictor: tuple[float, ...] = (0.1, -0.2, 0.6),
    target: tuple[float, ...] = (0.1, 0.3, 0.1),
    t_end: float = 60.0,
) -> Trajectories:
    """Integrate one mode from the starts (online, predictor, target), beside the closed form (R11, R13, R14).

    The full flow has no closed form.
    """
    if variant not in _VARIANTS:
        raise ValueError(f"`variant` must be one of {', '.join(_VARIANTS)}, got {variant!r}")
    n = len(online)
    if n == 0 or len(predictor) != n or len(target) != n:
        raise ValueError(
            "`online`, `predictor` and `target` must hold one number a start each,"
            f" got {n}, {len(predictor)} and {len(target)}"
        )
    parameters: dict[str, str | float | tuple[float, ...]] = {
        "variant": variant,
        "lambda_s": lambda_s,
        "lambda_d": lambda_d,
        "tau_online": tau_online,
        "tau_predictor": tau_predictor,
        "tau_target": tau_target,
        "online": online,
        "predictor": predictor,
        "target": target,
        "t_end": t_end,
    }
    rates = {"tau_online": tau_online, "tau_predictor": tau_predictor, "tau_target": tau_target}
    system = ModeSystem(np.full(n, lambda_s), np.full(n, lambda_d), **rates)
    field = MODE_FIELDS[variant]
    run = simulate_modes(system.state(online, predictor, target), system, field, t_end)
    trajectory, start = run.trajectory, run.trajectory.initial
    ts = np.linspace(0.0, trajectory.t, _SAMPLES)

    def exact(times: np.ndarray) -> ModeState:
        if variant in _SOLUTIONS:
            return _SOLUTIONS[variant](times, start, system)
        return ModeState(*(np.full((times.size, n), np.nan) for _ in range(3)))

    pairs = zip(exact(trajectory.ts), trajectory.states, strict=True)
    drift = np.abs(mode_invariant(trajectory.states, system) - mode_invariant(start, system))
    return Trajectories(
        ts,
        trajectory(ts),
        exact(ts),
        trajectory.ts,
        drift if variant in BALANCED_MODE_VARIANTS else np.full(drift.shape, np.nan),
        np.maximum.reduce([np.abs(one - other) for one, other in pairs]),
        start,
        ModeState(run.prediction.online, run.prediction.predictor, run.prediction.target),
        run.fate,
        parameters,
    )


def figure_trajectories(result: Trajectories) -> Figure:
    """Draw a column a start: the weights, and beneath the drift of the invariant and the error."""
    with style():
        n, colours, scale = len(result.fates), theme(), size().text
        exact = bool(np.any(np.isfinite(result.exact.online)))
        narrow = is_narrow()
        figure = sheet(_headline(result, exact), 2.9 * n if narrow else 3.4)
        heights = [2.2, 1.0] * (n if narrow else 1)
        # row by row in a double column, where all starts share their scales; start by start in a single one
        if narrow:
            grid = figure.subplots(2 * n, 1, squeeze=False, height_ratios=heights)
        else:
            grid = figure.subplots(2, n, sharey="row", squeeze=False, height_ratios=heights)
        pairs = grid.reshape(n, 2) if narrow else grid.T
        marks = np.linspace(0, len(result.ts) - 1, _MARKS).astype(int)[:-1]
        for k, (above, below) in enumerate(pairs):
            draw_weights(above, result.ts, result.integrated, k)
            draw_end_point(above, result.ends, k)
            for part in WEIGHTS:
                above.plot(
                    result.ts[marks],
                    getattr(result.exact, part)[marks, k],
                    "o",
                    color=colours.weights[part],
                    markerfacecolor=colours.paper,
                    markersize=3.4 * scale,
                    clip_on=False,
                    zorder=3,
                )
            above.set_title(_title(result, k), color=colours.fates[result.fates[k]])
            above.tick_params(labelbottom=False)
            for values, colour in ((result.error[:, k], colours.muted), (result.drift[:, k], colours.ink)):
                below.plot(
                    result.step_ts, np.where(values > 0, values, np.nan), color=colour, linewidth=1.1 * scale
                )
            scale_log(below, np.concatenate([result.error, result.drift]), _DECADES)
            for ax in (above, below):
                ax.set_xlim(0, result.ts[-1])
            below.set_xlabel(TIME)
            if k == 0 or narrow:
                above.set_ylabel("weight")
                below.set_ylabel("error")
        legend_below(figure, _handles(result, exact))
        return figure


def _handles(result: Trajectories, exact: bool) -> list[Line2D]:
    colours = theme()
    handles = [
        Line2D([], [], color=colours.weights[part], label=f"{WEIGHTS[part]} {part}") for part in WEIGHTS
    ]
    if exact:
        circle: dict[str, Any] = {"marker": "o", "linestyle": "none", "markerfacecolor": colours.paper}
        handles.append(Line2D([], [], color=colours.ink, label="exact solution", markersize=3.4, **circle))
        handles.append(Line2D([], [], color=colours.muted, linewidth=1.1, label="|exact − integrated|"))
    if np.any(np.isfinite(result.drift)):
        handles.append(Line2D([], [], color=colours.ink, linewidth=1.1, label="$|c(t) - c(0)|$"))
    return handles


def _headline(result: Trajectories, exact: bool) -> str:
    if not exact:
        return "Starts of one mode, and what becomes of them"
    digits = int(-np.log10(max(np.nanmax(result.error), 1e-16)))
    return f"Integration and exact solution agree to {digits} decimals"


def _title(result: Trajectories, k: int) -> str:
    start = ", ".join(f"{part[k]:g}" for part in result.starts).replace("-", "−")
    return f"{str(result.fates[k]).capitalize()} from ({start})"


def caption_trajectories(result: Trajectories) -> str:
    """Every parameter, and what is seen."""
    starts = zip(*result.starts, result.fates, strict=True)
    told = ", ".join(f"({w1:g}, {w2:g}, {th:g}) {fate}" for w1, w2, th, fate in starts)
    beneath = [
        f"the invariant c = τo w1² − τp w2² drifts by {np.nanmax(result.drift):.1e} at most"
        if np.any(np.isfinite(result.drift))
        else "c is not conserved by this variant",
        f"the closed form differs from the integration by {np.nanmax(result.error):.1e} at most"
        if np.any(np.isfinite(result.error))
        else "there is no closed form",
    ]
    return (
        f"The three weights of one mode over time, {described(result.parameters)}. Starts (w1, w2, θ) and fates:"
        f" {told}. Lines are integrated, circles the closed form (R11, R13, R14), dashes the predicted end."
        f" Beneath, where not exactly 0: {'; '.join(beneath)}."
    )


TRAJECTORIES = Page(
    "trajectories",
    "Weights over time from chosen starts: exact solutions over integrated ones, drift beneath",
    compute_trajectories,
    figure_trajectories,
    caption_trajectories,
)
