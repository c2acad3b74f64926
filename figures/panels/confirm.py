"""Panels of experiments: what theory predicts as dashed lines, what training did as points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from analysis.experiments.experiment import Curve
from figures.panels.palette import shades
from figures.panels.scales import label_between
from figures.style import DASHED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY = 200  # points, above which they are drawn as dust
_LABELS = 0.36  # inches that labels take below a panel
_SHORT = 14  # letters of a label
_LEGEND = 8  # entries that a panel has room for


def draw_curves(ax: Axes, curves: Sequence[Curve]) -> Axes:
    """Curves of one panel: the k-th prediction and the k-th training run share a colour.

    Parameters
    ----------
    ax
        Axes to draw on.
    curves
        At least one; axis labels and scales are those of the first.
    """
    from matplotlib.transforms import ScaledTranslation

    lines = [curve for curve in curves if curve.kind == "theory"]
    points = [curve for curve in curves if curve.kind == "training"]
    colours = shades(max(len(lines), len(points), 1))
    for curve, colour in zip(points, colours, strict=False):
        size = 1.0 if len(curve.x) > _MANY else 3.5
        ax.errorbar(
            curve.x, curve.y, curve.error, color=colour, label=curve.label,
            linestyle="none", marker="o", markersize=size, linewidth=0.8, markeredgewidth=0, zorder=2.0,
        )  # fmt: skip
    for curve, colour in zip(lines, colours, strict=False):
        ax.plot(curve.x, curve.y, color=colour, label=curve.label, linestyle=DASHED, zorder=2.2)
    first = curves[0]
    ax.set_title(first.panel)
    ax.set_xlabel(first.x_label)
    ax.set_ylabel(first.y_label)
    ax.set_xscale("log" if first.log_x else "linear")
    ax.set_yscale("log" if first.log_y else "linear")
    for axis, is_log in ((ax.xaxis, first.log_x), (ax.yaxis, first.log_y)):
        if is_log:
            label_between(axis)
    if legend_rows(curves):  # below, where it hides nothing
        figure: Any = ax.figure
        below = ax.transAxes + ScaledTranslation(0, -_LABELS, figure.dpi_scale_trans)
        columns = -(-len(curves) // legend_rows(curves))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), bbox_transform=below, ncols=columns)
    return ax


def legend_rows(curves: Sequence[Curve]) -> int:
    """Rows of the legend of a panel: 0 where curves are too many to be told apart, two columns of short labels."""
    if len(curves) > _LEGEND:
        return 0
    short = len(curves) > 2 and max(len(curve.label) for curve in curves) <= _SHORT
    return -(-len(curves) // 2) if short else len(curves)
