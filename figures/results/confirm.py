"""Pages of `dyn confirm`: one an experiment, training points on the curves of theory."""

from __future__ import annotations

from matplotlib.figure import Figure

from analysis.experiments import Confirmation, Curve
from figures.layout.sheets import panels
from figures.panels.confirm import draw_curves, legend_rows
from figures.style import size, style

_ROW = 0.17  # inches of a row of a legend


def grouped(curves: tuple[Curve, ...]) -> dict[str, list[Curve]]:
    """Curves by the panel that they belong to, in order of appearance."""
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.panel, []).append(curve)
    return groups


def figure_confirmation(confirmation: Confirmation) -> Figure:
    """Draw the curves of an experiment, a panel for each group of them, under its verdict.

    Parameters
    ----------
    confirmation
        What `analysis.experiments.confirm` found; its outcome has curves.

    Raises
    ------
    ValueError
        The experiment has no curves to draw.
    """
    groups = grouped(confirmation.outcome.curves)
    if not groups:
        raise ValueError(f"{confirmation.experiment.id} has no curves to draw")
    headline = f"{confirmation.experiment.id} {confirmation.experiment.title}: {confirmation.outcome.verdict}"
    with style():
        columns = min(len(groups), 3)
        aspect = 0.5 if columns == 1 else 0.85
        room = _ROW * max(legend_rows(curves) for curves in groups.values()) * columns / size().width
        figure, axes = panels(headline, len(groups), columns=columns, aspect=aspect + room)
        for ax, curves in zip(axes, groups.values(), strict=True):
            draw_curves(ax, curves)
        for unused in figure.axes[len(groups) :]:
            unused.remove()
    return figure


def caption_confirmation(confirmation: Confirmation) -> str:
    """Say what theory predicts, what was measured, and what follows."""
    measured = "; ".join(
        f"{m['name']}: predicted {m['required']}, measured {_text(m['measured'])}"
        for m in confirmation.report()["measurements"]
    )
    reason = confirmation.outcome.reason
    return f"{confirmation.experiment.prediction} {measured}." + (f" {reason}" if reason else "")


def _text(value: float | str | None) -> str:
    return "none" if value is None else value if isinstance(value, str) else f"{value:.5g}"
