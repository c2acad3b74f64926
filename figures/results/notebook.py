"""Results that show themselves in a notebook.

After ``figures.results.notebook.enable()`` the last value of a cell is drawn if it is a trajectory, a run with its
prediction, fixed points, a phase portrait, a bifurcation or a basin map. IPython is never imported: it must be
running.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from io import BytesIO
from typing import Any

SHOWN = {
    ("dynamics.integration.trajectory", "Trajectory"): "figures.results.objects:figure_trajectory",
    ("analysis.runs.simulation", "ModeSimulation"): "figures.results.simulation:figure_mode_simulation",
    ("analysis.runs.simulation", "MatrixSimulation"): "figures.results.simulation:figure_matrix_simulation",
    ("analysis.fixed_points.one_mode", "FixedPoints"): "figures.results.objects:figure_fixed_points",
    ("analysis.phase_planes.portraits", "Portrait"): "figures.results.objects:figure_portrait",
    ("analysis.fixed_points.diagrams", "Bifurcation"): "figures.results.objects:figure_diagram",
    ("analysis.fates.basins", "BasinMap"): "figures.results.objects:figure_basin_map",
}
"""Types by module and name, and what draws them; nothing is imported until one is shown."""


def enable(shell: Any = None, *, theme: str = "light") -> None:
    """Draw results where a notebook would print them.

    Parameters
    ----------
    shell
        The IPython shell; left out, the one that is running.
    theme
        "light" or "dark".

    Raises
    ------
    ValueError
        There is no such theme.
    RuntimeError
        No IPython is running.

    Examples
    --------
    >>> enable()
    Traceback (most recent call last):
    RuntimeError: results show themselves in a running IPython only, such as a notebook; there is none
    """
    from figures.style import look

    with look(theme=theme):  # refuses a theme that does not exist
        pass
    if shell is None and "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
    if shell is None:
        raise RuntimeError(
            "results show themselves in a running IPython only, such as a notebook; there is none"
        )
    formatter = shell.display_formatter.formatters["image/png"]
    for (module, name), where in SHOWN.items():
        formatter.for_type_by_name(module, name, partial(_png, _drawer(where), theme))


def _drawer(where: str) -> Callable[[Any], Any]:
    module, name = where.split(":")
    return lambda result: getattr(import_module(module), name)(result)


def _png(draw: Callable[[Any], Any], theme: str, result: Any) -> bytes:
    from figures.style import look, style

    picture = BytesIO()
    with look(theme=theme):
        figure = draw(result)
        with style():
            figure.savefig(picture, format="png", dpi=150)
    return picture.getvalue()
