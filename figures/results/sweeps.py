"""What became of the runs of a sweep, as a page."""

from __future__ import annotations

from matplotlib.figure import Figure

from analysis.sweeps.fates import SweptFates
from figures.layout.legends import legend_below
from figures.layout.sheets import panels
from figures.panels.sweeps import draw_share_map, draw_shares, swept_handles
from figures.style import size, style


def figure_sweep(found: SweptFates) -> Figure:
    """Shares of fates over one axis; the share learned over two; of three axes a map for each value of the first.

    Examples
    --------
    >>> import numpy as np
    >>> shares = {"learned": np.array([1.0, 0.0]), "collapsed": np.array([0.0, 1.0]), "undecided": np.zeros(2)}
    >>> axis = {"predictor": np.array([0.2, 0.8])}
    >>> names = {"predictor": "start of the predictor weight w2"}
    >>> found = SweptFates(axis, names, {"predictor": False}, 1, "runs", shares, "R6", np.array([0.2, -0.4]))
    >>> figure_sweep(found).axes[0].get_ylabel()
    'share of runs'
    """
    total = found.samples * next(iter(found.shares.values())).size
    whose = "" if found.counted == "runs" else f"the {found.counted} of "
    headline = f"What became of {whose}{total:,} run{'s' if total > 1 else ''}"
    with style():
        if len(found.axes) == 1:
            figure, (ax,) = panels(headline, 1, columns=1, aspect=0.6)
            draw_shares(ax, found)
        else:
            if len(found.axes) == 2:
                figure, axes = panels(headline, 1, columns=1, aspect=0.75)
                meshes = [draw_share_map(axes[0], found)]
            else:
                name, values = next(iter(found.axes.items()))
                columns = min(len(values), 4 if size().height is not None else 3)
                figure, axes = panels(headline, len(values), columns=columns, aspect=1.0)
                meshes = [draw_share_map(ax, found, k) for k, ax in enumerate(axes)]
                for ax, value in zip(axes, values, strict=True):
                    ax.set_title(f"{name.replace('_', ' ')} = {value:.4g}")
            figure.colorbar(meshes[0], ax=axes, label=f"share of {found.counted} learned", aspect=30)
        if handles := swept_handles(found):
            legend_below(figure, handles)
        return figure
