"""What draws a result: the page of its own, or one panel on axes that are there already.

`DRAWERS` is the one list of results that have pictures; a page's module is imported when it is drawn.
"""

from __future__ import annotations

from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from figures.panels.scales import TIME
from figures.style import WEIGHTS, style, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SAMPLES = 401


class Drawer(NamedTuple):
    """Where the page of a result is defined, and its panel, each "module:function"."""

    page: str
    panel: str


def _drawer(module: str, page: str, panel: str) -> Drawer:
    return Drawer(f"figures.results.{module}:{page}", panel)


_HERE = "figures.results.drawers"
DRAWERS = {
    "dynamics.integration.trajectory:Trajectory": _drawer(
        "objects", "figure_trajectory", f"{_HERE}:draw_trajectory"
    ),
    "analysis.runs.simulation:ModeSimulation": _drawer(
        "simulation", "figure_mode_simulation", f"{_HERE}:draw_mode_simulation"
    ),
    "analysis.runs.simulation:MatrixSimulation": _drawer(
        "simulation", "figure_matrix_simulation", f"{_HERE}:draw_matrix_simulation"
    ),
    "analysis.runs.stepped:SteppedModes": _drawer(
        "simulation", "figure_mode_simulation", f"{_HERE}:draw_mode_simulation"
    ),
    "analysis.runs.stepped:SteppedMatrices": _drawer(
        "simulation", "figure_matrix_simulation", f"{_HERE}:draw_matrix_simulation"
    ),
    "analysis.runs.encoders:EncoderSimulation": _drawer(
        "encoders", "figure_encoder_simulation", "figures.panels.encoders:draw_shares"
    ),
    "analysis.runs.deep:DeepSimulation": _drawer(
        "deep", "figure_deep_simulation", "figures.panels.deep:draw_layers"
    ),
    "analysis.runs.deep_matrices:DeepMatrixSimulation": _drawer(
        "deep", "figure_deep_matrices", f"{_HERE}:draw_deep_matrices"
    ),
    "analysis.fixed_points.one_mode:FixedPoints": _drawer(
        "objects", "figure_fixed_points", "figures.panels.rest:draw_rest"
    ),
    "analysis.phase_planes.portraits:Portrait": _drawer(
        "objects", "figure_portrait", "figures.panels.portrait:draw_portrait"
    ),
    "analysis.fixed_points.diagrams:Bifurcation": _drawer(
        "objects", "figure_diagram", "figures.panels.bifurcation:draw_bifurcation"
    ),
    "analysis.fates.basins:BasinMap": _drawer("objects", "figure_basin_map", f"{_HERE}:draw_basin_map"),
    "analysis.depth.basins:DeepBasinMap": _drawer("objects", "figure_basin_map", f"{_HERE}:draw_basin_map"),
    "analysis.contrastive.contrast:Contrast": _drawer(
        "contrast", "figure_contrast", "figures.panels.contrast:draw_saturation"
    ),
    "analysis.trees.summary:TreeSummary": _drawer(
        "trees", "figure_tree", "figures.panels.trees:draw_ceilings"
    ),
    "analysis.runs.alignment:Alignment": _drawer("alignment", "figure_alignment", f"{_HERE}:draw_alignment"),
    "analysis.runs.diagnosis:FeatureDiagnosis": _drawer(
        "diagnosis", "figure_diagnosis", "figures.panels.diagnosis:draw_directions"
    ),
    "dynamics.training.run:TrainingRun": _drawer("training", "figure_training", f"{_HERE}:draw_training"),
    "analysis.experiments:Confirmation": _drawer(
        "confirm", "figure_confirmation", f"{_HERE}:draw_confirmation"
    ),
}
"""Drawers by "module:name" of the type."""


def drawer_of(result: Any) -> Drawer | None:
    """Return what draws a result; None where nothing does.

    >>> drawer_of(1.5) is None
    True
    """
    return DRAWERS.get(f"{type(result).__module__}:{type(result).__qualname__}")


def page_of(result: Any) -> Figure:
    """Draw the page of a result.

    Raises
    ------
    ValueError
        The result has no picture.

    Examples
    --------
    >>> from analysis.fixed_points.one_mode import fixed_points
    >>> from dynamics.system import ModeSystem
    >>> len(page_of(fixed_points(ModeSystem(1.0, 0.5))).axes)
    1
    """
    return _function(_known(result).page)(result)


def panel_of(ax: Axes, result: Any) -> Axes:
    """Draw the panel of a result on axes that are there already.

    Raises
    ------
    ValueError
        The result has no picture.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from analysis.fixed_points.one_mode import fixed_points
    >>> from dynamics.system import ModeSystem
    >>> panel_of(Figure().subplots(), fixed_points(ModeSystem(1.0, 0.5))).get_xlabel()
    'online $w_1$'
    """
    drawn = _function(_known(result).panel)(ax, result)
    return drawn


def png_of(figure: Figure) -> bytes:
    """Picture of a page as a notebook shows it.

    >>> from matplotlib.figure import Figure
    >>> png_of(Figure((1, 1)))[1:4]
    b'PNG'
    """
    picture = BytesIO()
    with style():
        figure.savefig(picture, format="png", dpi=150)
    return picture.getvalue()


def _known(result: Any) -> Drawer:
    found = drawer_of(result)
    if found is None:
        raise ValueError(
            f"a result must have a picture to be drawn, got {type(result).__name__}, which has none"
        )
    return found


def _function(where: str) -> Any:
    module, name = where.split(":")
    return getattr(import_module(module), name)


# --- panels -------------------------------------------------------------------------------------------------


def draw_trajectory(ax: Axes, trajectory: Any) -> Axes:
    """Online weights over time: w1 of every mode, or the singular values of W."""
    from analysis.runs.spectra import online_singular_value_paths
    from dynamics.states import ModeState

    shown = trajectory.resampled(_SAMPLES)
    of_modes = isinstance(shown.states, ModeState)
    values = shown.states.online if of_modes else online_singular_value_paths(shown)
    ax.plot(shown.ts, values, color=theme().weights["online"])
    ax.set(xlabel=TIME, ylabel=f"online {WEIGHTS['online']}" if of_modes else "singular values of $W$")
    return ax


def draw_mode_simulation(ax: Axes, simulation: Any) -> Axes:
    """Of one mode, all weights over time with their predicted end; of several, w1 in the colour of its fate."""
    from figures.panels import simulation as panels

    shown = simulation.trajectory.resampled(_SAMPLES)
    if simulation.system.n_modes == 1:
        panels.draw_weights(ax, shown.ts, shown.states, 0)
        panels.draw_end_point(ax, simulation.prediction, 0)
        panels.draw_ratio(ax, simulation.system.ratio[0])
        ax.set_ylabel("weight")
        ax.legend()
    else:
        panels.draw_paths(ax, shown.ts, shown.states.online, simulation.fate)
        panels.draw_end_marks(ax, shown.t, simulation.prediction.online, simulation.prediction.fate)
        ax.set_ylabel(f"online {WEIGHTS['online']}")
    ax.set_xlabel(TIME)
    return ax


def draw_matrix_simulation(ax: Axes, simulation: Any) -> Axes:
    """Eigenvalues of P over time, real parts, in the colour of their fates, over the spectrum of M."""
    from analysis.runs.spectra import nearest_match, predictor_eigenvalue_paths
    from figures.panels import simulation as panels

    rows, paths = simulation.rows, predictor_eigenvalue_paths(simulation.trajectory)
    fates = rows.fate[nearest_match(paths[-1], rows.predictor_eigenvalue)]
    panels.draw_spectrum(ax, simulation.ratios, len(rows.fate))
    panels.draw_paths(ax, simulation.trajectory.ts, paths.real, fates)
    ax.set(xlabel=TIME, ylabel="eigenvalues of $P$")
    return ax


def draw_deep_matrices(ax: Axes, found: Any) -> Axes:
    """Eigenvalues of P over time, as of one layer."""
    return draw_matrix_simulation(ax, found.product)


def draw_basin_map(ax: Axes, found: Any) -> Axes:
    """Fates of starts, with the boundary that a result gives."""
    from figures.panels.basins import draw_basins, draw_rule

    return draw_rule(draw_basins(ax, found), found)


def draw_alignment(ax: Axes, found: Any) -> Axes:
    """Commutator of features and predictor over time, beneath its bounds."""
    from figures.panels.spectra import draw_bounded

    draw_bounded(ax, found.t, found.commutator, [found.bound, found.sharp_bound])
    ax.set(xlabel=TIME, ylabel="$\\| [F, P] \\|$")
    return ax


def draw_training(ax: Axes, run: Any) -> Axes:
    """Loss of every run over steps."""
    from figures.panels.training import draw_runs

    losses = run.metrics["loss"]
    draw_runs(ax, run.steps, losses, theme().weights["online"])
    ax.set(xlabel="step", ylabel="loss")
    if np.all(losses[np.isfinite(losses)] > 0):
        ax.set_yscale("log")
    return ax


def draw_confirmation(ax: Axes, confirmation: Any) -> Axes:
    """Curves of the first panel of an experiment."""
    from figures.panels.confirm import draw_curves

    curves = confirmation.outcome.curves
    if not curves:
        raise ValueError(f"{confirmation.experiment.id} has no curves to draw")
    return draw_curves(ax, [curve for curve in curves if curve.panel == curves[0].panel])
