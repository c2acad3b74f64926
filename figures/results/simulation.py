"""Pages: each composes panels into one Figure that says in its title what it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.fates.fate import Fate
from analysis.runs.simulation import MatrixSimulation, ModeSimulation
from analysis.runs.spectra import nearest_match, online_singular_value_paths, predictor_eigenvalue_paths
from dynamics.integration.integrate import Trajectory
from dynamics.invariants import eigenvalue_floor, mode_invariant
from dynamics.system import natural_time
from figures.layout.legends import legend_below
from figures.layout.sheets import is_narrow, sheet
from figures.layout.sheets import panels as panels_of
from figures.panels import simulation as panels
from figures.panels.scales import scale_log, scale_time
from figures.style import DASHED, WEIGHTS, style, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 4  # modes that have a column each; more are overlaid
_WIDTHS = (3.5, 5.2, 6.4, 7.2)  # of pages of as many columns, in inches
_HEIGHTS = (2.6, 1.0)  # of weights and drift, relative
_WEIGHTS, _DRIFT = 2.5, 0.9  # heights in inches, with what is written below them
_SAMPLES = 401
_DRIFT_DECADES, _SINGULAR_DECADES = 6, 3  # that are shown below the largest value
_RUNAWAY = 1e3


def figure_mode_simulation(simulation: ModeSimulation) -> Figure:
    """Weights of every mode over time, with the predicted end, above the drift of the invariant.

    Up to four modes have a column each; more are overlaid, a column for each weight, coloured by fate.
    Variants that do not conserve c = τo w1² − τp w2² (R2) have no drift. The title says what became of the
    modes, whether it was predicted, and how the run ended.

    Examples
    --------
    >>> from analysis.runs.simulation import simulate_modes
    >>> from dynamics.fields.modes import full_mode_field
    >>> from dynamics.system import ModeSystem
    >>> system = ModeSystem(1.0, 0.5)
    >>> page = figure_mode_simulation(simulate_modes(system.state(), system, full_mode_field))
    >>> page.get_suptitle().split(";")[0]
    'Learned, as predicted'
    """
    with style():
        return _columns(simulation) if simulation.system.n_modes <= _COLUMNS else _overlay(simulation)


def figure_matrix_simulation(simulation: MatrixSimulation, *, of: str = "") -> Figure:
    """Eigenvalues of the predictor approaching the spectrum of M, beside singular values of the encoder.

    Each eigenvalue has the colour of its row's fate and is joined at the end to the ratio that it came to
    (R18), or to its own value where it came to none. Singular values have no rows: the largest take the
    colour of the rows that learned, the smallest of those that collapsed. Dashed floors are what they
    cannot fall below (R8), for variants that conserve the balance. `of` begins the headline.

    Examples
    --------
    >>> from analysis.runs.simulation import simulate_matrices
    >>> from dynamics.fields.matrices import full_field
    >>> from dynamics.system import MatrixSystem
    >>> system = MatrixSystem(np.eye(2), np.diag([0.9, 0.4]))
    >>> start = system.state(np.eye(2), 0.1 * np.eye(2))
    >>> page = figure_matrix_simulation(simulate_matrices(start, system, full_field))
    >>> page.get_suptitle().split(";")[0]
    "2 of 2 rows learned the top of M's spectrum"
    """
    with style():
        return _matrices(simulation, of + _matrix_headline(simulation))


def _columns(simulation: ModeSimulation) -> Figure:
    """One column a mode; one row a mode where the page is narrow."""
    system, prediction, n = simulation.system, simulation.prediction, simulation.system.n_modes
    shown = simulation.trajectory.resampled(_SAMPLES)
    drifts, modes = _drifts(simulation), np.arange(n)
    headline, extra = _mode_headline(simulation), _DRIFT * _drifts(simulation)
    below: list[tuple[Axes, np.ndarray]]  # drifts, and of which modes
    if is_narrow():
        figure = sheet(headline, n * _WEIGHTS + extra)
        every = figure.subplots(
            n + drifts,
            1,
            sharex=True,
            squeeze=False,
            height_ratios=[_HEIGHTS[0]] * n + [_HEIGHTS[1]] * drifts,
        )[:, 0]
        top, below = list(every[:n]), [(ax, modes) for ax in every[n:]]
        for ax in top[1:]:
            ax.sharey(top[0])
        timed = [every[-1]]
    else:
        figure = sheet(headline, _WEIGHTS + extra, width=_WIDTHS[n - 1])
        grid = figure.subplots(
            1 + drifts, n, sharex=True, sharey="row", squeeze=False, height_ratios=_HEIGHTS[: 1 + drifts]
        )
        top, below = list(grid[0]), [(ax, modes[[k]]) for row in grid[1:] for k, ax in enumerate(row)]
        timed = list(grid[-1])
    for k, ax in enumerate(top):
        fate, predicted = str(simulation.fate[k]), str(prediction.fate[k])
        beside = f",\npredicted {predicted}" if predicted not in ("", fate) else ""
        ax.set_title(f"{_ratio_text(system.ratio[k])}: {fate}{beside}", color=theme().fates[fate])
        panels.draw_weights(ax, shown.ts, shown.states, k)
        panels.draw_end_point(ax, prediction, k)
        panels.draw_ratio(ax, system.ratio[k])
        if ax is top[0] or is_narrow():
            ax.set_ylabel("weight")
    for ax in timed:
        scale_time(ax, shown.ts, natural_time(system))
    _keep_in_sight(top[0], shown.states)
    if below:
        drift = _drift(simulation)
        for ax, of in below:
            panels.draw_drift(ax, simulation.trajectory.ts, drift[:, of], simulation.fate[of])
        scale_log(below[0][0], drift, _DRIFT_DECADES)
        _label_drift([ax for ax, _ in below], simulation)
    drawn, _ = top[0].get_legend_handles_labels()
    legend_below(figure, [*drawn[:3], _dashes("predicted end"), *drawn[3:]])
    return figure


def _drifts(simulation: ModeSimulation) -> bool:
    """Whether there is a drift to be drawn: where c is conserved to the last bit, a panel would be empty."""
    return _is_balanced(simulation) and bool(np.any(_drift(simulation) > 0))


def _overlay(simulation: ModeSimulation) -> Figure:
    """One column a weight, all modes in it; one row a weight where the page is narrow."""
    system, prediction, fates = simulation.system, simulation.prediction, simulation.fate
    shown = simulation.trajectory.resampled(_SAMPLES)
    drifts, narrow = _drifts(simulation), is_narrow()
    rows, columns = (3, 1) if narrow else (1, 3)
    figure = sheet(_mode_headline(simulation), rows * _WEIGHTS + drifts * _DRIFT)
    grid = figure.add_gridspec(
        rows + drifts, columns, height_ratios=[_HEIGHTS[0]] * rows + [_HEIGHTS[1]] * drifts
    )
    first: Axes | None = None
    for number, (part, symbol) in enumerate(WEIGHTS.items()):
        ax = figure.add_subplot(grid[divmod(number, columns)], sharey=first)
        first = first or ax
        ax.set_title(f"{symbol} {part}", color=theme().weights[part])
        panels.draw_paths(ax, shown.ts, getattr(shown.states, part), fates)
        panels.draw_end_marks(ax, shown.t, getattr(prediction, part), prediction.fate)
        scale_time(ax, shown.ts, natural_time(system))
        if part == "predictor":
            panels.draw_spectrum(ax, system.ratio[np.isfinite(system.ratio)], 0)
        if ax is first:
            _keep_in_sight(ax, shown.states)
        if ax is first or narrow:
            ax.set_ylabel("weight")
        else:
            ax.tick_params(labelleft=False)
    if drifts:
        ax = figure.add_subplot(grid[-1, :])
        drift = _drift(simulation)
        panels.draw_drift(ax, simulation.trajectory.ts, drift, fates)
        scale_log(ax, drift, _DRIFT_DECADES)
        scale_time(ax, shown.ts, natural_time(system))
        _label_drift([ax], simulation)
    mark = Line2D(
        [], [], linestyle="none", marker="o", fillstyle="none", color=theme().muted, label="predicted end"
    )
    legend_below(figure, [*fate_handles(fates), mark])
    return figure


def _matrices(simulation: MatrixSimulation, headline: str) -> Figure:
    trajectory, rows = simulation.trajectory, simulation.rows
    ts, n2 = trajectory.ts, len(rows.fate)
    figure, (left, right) = panels_of(headline, 2, columns=2, width=6.4)
    for ax in (left, right):
        scale_time(ax, ts, natural_time(simulation.system))

    paths = predictor_eigenvalue_paths(trajectory)
    match = nearest_match(paths[-1], rows.predictor_eigenvalue)
    fates = rows.fate[match]
    labels = [
        f"$r_{{{rows.mode[row] + 1}}} = {rows.ratio[row]:.3f}$" if rows.mode[row] >= 0 else f"${end:.3f}$"
        for row, end in zip(match, paths[-1].real, strict=True)
    ]
    left.set_title("Predictor: eigenvalues of $P$" + (" (real parts)" if np.any(paths.imag) else ""))
    panels.draw_spectrum(left, simulation.ratios, n2)
    panels.draw_paths(left, ts, paths.real, fates)
    _keep_in_sight(left, [paths.real])
    strip = left.inset_axes((1.0, 0.0, 0.36, 1.0), ylim=left.get_ylim(), yscale=left.get_yscale())
    panels.draw_matches(strip, paths[-1].real, labels, fates)

    values = online_singular_value_paths(trajectory)
    descending = sorted(map(str, rows.fate), key=(Fate.LEARNED, Fate.UNDECIDED, Fate.COLLAPSED).index)
    right.set_title("Encoder: singular values of $W$")
    panels.draw_paths(right, ts, values, descending[: values.shape[1]])
    scale_log(right, values, _SINGULAR_DECADES)
    handles = [
        *fate_handles(rows.fate),
        Line2D([], [], color=theme().muted, linewidth=0.7, label="spectrum of $M$"),
    ]
    if simulation.rank_floor:
        floors = np.sqrt(eigenvalue_floor(trajectory.initial, simulation.system, ts - ts[0]))
        panels.draw_floors(right, ts, floors[:, : simulation.rank_floor])
        handles.append(_dashes("floor (R8)"))
    legend_below(figure, handles)
    return figure


def _dashes(label: str) -> Line2D:
    return Line2D([], [], color=theme().ink, linewidth=0.9, linestyle=DASHED, label=label)


def fate_handles(fates: Iterable[str]) -> list[Line2D]:
    """Legend of the fates that occur, with how often."""
    counts = Counter(map(str, fates))
    return [
        Line2D([], [], color=theme().fates[fate], label=f"{counts[fate]} {fate}")
        for fate in theme().fates
        if counts[fate]
    ]


def _keep_in_sight(ax: Axes, values: Sequence[np.ndarray]) -> None:
    """Make the vertical axis logarithmic if values run away: a linear one would show nothing else."""
    flat = np.concatenate([np.ravel(part) for part in values])
    if np.max(np.abs(flat)) > _RUNAWAY:
        ax.set_yscale("symlog", linthresh=1.0)
        ax.set_ylim(2 * min(np.min(flat), -1.0), 2 * max(np.max(flat), 1.0))


def _is_balanced(simulation: ModeSimulation) -> bool:
    return bool(np.all(np.isfinite(simulation.drift)))


def _drift(simulation: ModeSimulation) -> np.ndarray:
    """|c(t) − e^{−2ηt} c(0)| at the integrator's own steps, shape (T, n_modes)."""
    ts = simulation.trajectory.ts
    c = mode_invariant(simulation.trajectory.states, simulation.system)
    law = np.exp(-2 * simulation.system.weight_decay * (ts - ts[0])[:, None]) * c[0]
    return np.abs(c - law)


def _label_drift(axes: Sequence[Axes], simulation: ModeSimulation) -> None:
    decays = np.any(simulation.system.weight_decay)
    axes[0].set_ylabel(r"$|c(t) - e^{-2\eta t}c(0)|$" if decays else "$|c(t) - c(0)|$")
    for ax in axes:
        if not np.any(simulation.drift):
            ax.tick_params(axis="y", which="both", left=False, labelleft=False)


def _ratio_text(ratio: float) -> str:
    return f"$r = {ratio:.3g}$" if np.isfinite(ratio) else "no ratio"


def _happened(fates: np.ndarray, noun: str, what: str = "") -> str:
    """Such as "7 of 8 rows learned the top of M's spectrum, 1 collapsed"."""
    counts = Counter(map(str, fates))
    others = [f"{counts[fate]} {fate}" for fate in (Fate.COLLAPSED, Fate.UNDECIDED) if counts[fate]]
    return ", ".join([f"{counts[Fate.LEARNED]} of {len(fates)} {noun} learned{what}", *others])


def _ended(trajectory: Trajectory) -> str:
    return f"{trajectory.status.value} at t = {trajectory.t:.4g}"


def _mode_headline(simulation: ModeSimulation) -> str:
    """What became of the modes, whether that was predicted, and how the run ended."""
    fates, predicted = simulation.fate, simulation.prediction.fate
    known = predicted != ""
    n_known, n_met = int(np.sum(known)), int(np.sum(fates[known] == predicted[known]))
    if n_known == 0:
        verdict = "nothing predicted"
    elif n_met == len(fates):
        verdict = "as predicted"
    elif len(fates) == 1:
        verdict = f"predicted {predicted[0]}"
    else:
        verdict = f"{n_met} of {n_known} predictions met"
    happened = str(fates[0]).capitalize() if len(fates) == 1 else _happened(fates, "modes")
    return f"{happened}, {verdict}; {_ended(simulation.trajectory)}"


def _matrix_headline(simulation: MatrixSimulation) -> str:
    """How many rows learned what, and how the run ended."""
    rows = simulation.rows
    learned = np.sort(rows.mode[rows.fate == Fate.LEARNED])
    if learned.size == 0 or learned[0] < 0:
        what = ""
    elif np.array_equal(learned, np.arange(learned.size)):
        what = " the top of M's spectrum"
    else:
        what = " eigenvalues of M"
    return f"{_happened(rows.fate, 'rows', what)}; {_ended(simulation.trajectory)}"
