"""Whether features and predictor align along one run."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.runs.alignment import Alignment
from figures.layout.legends import legend_below
from figures.layout.sheets import is_narrow, panels
from figures.panels.growth import draw_growth
from figures.panels.scales import scale_time
from figures.panels.spectra import draw_bounded
from figures.style import DASHED, style, theme

_NATURAL = 1.0


def figure_alignment(found: Alignment) -> Figure:
    """Draw the commutator beneath its bounds, and the overlap of eigenvectors with the symmetry of P.

    Where R19 does not apply there are no bounds, and the headline says so.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.runs.alignment import align
    >>> from dynamics.fields.matrices import aligned_field
    >>> from dynamics.integration.integrate import integrate
    >>> from dynamics.system import MatrixSystem
    >>> I = np.eye(2)
    >>> system, field = MatrixSystem(1.5 * I, I), aligned_field(lambda t: 0.9)
    >>> run = integrate(system.state(I, [[0.5, 0.1], [0.1, 0.2]]), system, field, 5.0)
    >>> figure_alignment(align(run, system, field)).get_suptitle()
    'The commutator stays below its bound (R19)'
    """
    with style():
        figure, (left, right) = panels(_headline(found), 2, columns=1 if is_narrow() else 2)
        draw_bounded(left, found.t, found.commutator, [found.bound, found.sharp_bound])
        left.set_ylabel("$\\| [F, P] \\|$")
        draw_growth(right, found.t, found.overlap, [theme().fates["learned"]] * found.overlap.shape[1])
        draw_growth(right, found.t, found.symmetry[:, None], [theme().weights["predictor"]])
        right.set_ylim(0, 1.05)
        right.set_ylabel("overlap, symmetry")
        for ax in (left, right):
            scale_time(ax, found.t, _NATURAL)
        handles = [Line2D([], [], color=theme().ink, label="commutator")]
        if found.applicable:
            handles.append(Line2D([], [], color=theme().muted, linestyle=DASHED, label="bounds (R19)"))
        handles += [
            Line2D([], [], color=theme().fates["learned"], label="overlap $|\\cos(v, P v)|$"),
            Line2D([], [], color=theme().weights["predictor"], label="symmetry of $P$"),
        ]
        legend_below(figure, handles)
        return figure


def _headline(found: Alignment) -> str:
    if not found.applicable:
        return "The commutator of features and predictor; the bound of R19 does not apply"
    return f"The commutator {'stays below' if found.holds else 'exceeds'} its bound (R19)"
