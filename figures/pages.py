"""Pages: each composes panels into one Figure that says in its title what it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.simulation import MatrixSimulation, ModeSimulation
from analysis.spectra import nearest_match, online_singular_value_paths, predictor_eigenvalue_paths
from dynamics.integrate import Trajectory, natural_time
from dynamics.invariants import eigenvalue_floor, mode_invariant
from figures import panels
from figures.style import FATES, INK, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 4  # modes that have a column each
_WIDTHS = (3.5, 5.2, 6.4, 7.2)  # inches, by the number of columns
_SAMPLES = 401


def figure_mode_simulation(simulation: ModeSimulation) -> Figure:
    """Weights of every mode over time, with the predicted end, above the drift of the invariant.

    Up to four modes have a column each; more are overlaid, one column a weight, in the colour of their fate.
    Variants that do not conserve c = τo w1² − τp w2² (R2) have no drift.

    Examples
    --------
    >>> from analysis.simulation import simulate_modes
    >>> from dynamics.mode_fields import full_mode_field
    >>> from dynamics.system import ModeSystem
    >>> system = ModeSystem(1.0, 0.5)
    >>> page = figure_mode_simulation(simulate_modes(system.state(), system, full_mode_field))
    >>> [ax.get_ylabel() for ax in page.axes]
    ['weight', '$|c(t) - c(0)|$']
    """
    with style():
        return _columns(simulation) if simulation.system.n_modes <= _COLUMNS else _overlay(simulation)
