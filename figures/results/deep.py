"""Pages of runs of a deep encoder."""

from __future__ import annotations

from matplotlib.figure import Figure

from analysis.runs.deep import DeepSimulation
from analysis.runs.deep_matrices import DeepMatrixSimulation
from figures.layout.legends import legend_below
from figures.layout.sheets import panels
from figures.panels.deep import draw_layers
from figures.results.simulation import figure_matrix_simulation
from figures.style import style

_SHOWN = 4


def figure_deep_simulation(simulation: DeepSimulation) -> Figure:
    """Layers and predictor of the first modes over time; dashed lines where R320 says that they end.

    Examples
    --------
    >>> from analysis.runs.deep import simulate_deep
    >>> from dynamics.fields.deep import DeepSystem
    >>> system = DeepSystem(1.0, 0.5, depth=2)
    >>> run = simulate_deep(system.deep_state([0.3, 0.5], 0.4), system)
    >>> figure_deep_simulation(run).get_suptitle().split(";")[0]
    '2 layers, mode 1 learned'
    """
    n = min(simulation.system.n_modes, _SHOWN)
    trajectory = simulation.trajectory
    fates = ", ".join(f"mode {k + 1} {simulation.fate[k]}" for k in range(n))
    headline = (
        f"{simulation.system.depth} layers, {fates}; {trajectory.status.value} at t = {trajectory.t:.4g}"
    )
    with style():
        figure, axes = panels(headline, n, columns=min(n, 2), aspect=0.75, width=5.2 if n == 1 else None)
        for k, ax in enumerate(axes):
            draw_layers(ax, simulation, k)
            ax.set_title(f"mode {k + 1}, r = {simulation.system.ratio[k]:.3g}")
        legend_below(figure, axes[0].get_legend_handles_labels()[0])
    return figure


def figure_deep_matrices(simulation: DeepMatrixSimulation) -> Figure:
    """Eigenvalues of the predictor, and singular values of the encoder W_L ⋯ W_1, over time.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.runs.deep_matrices import simulate_deep_matrices
    >>> from dynamics.fields.deep_matrices import DeepMatrixState
    >>> from dynamics.system import MatrixSystem
    >>> W = np.array([[0.5, 0.2], [0.1, 0.6]])
    >>> start = DeepMatrixState(W, W[None], 0.1 * np.eye(2), W, W[None])
    >>> run = simulate_deep_matrices(start, MatrixSystem(np.eye(2), np.diag([0.9, 0.4])))
    >>> figure_deep_matrices(run).get_suptitle().split(";")[0]
    "2 layers, 2 of 2 rows learned the top of M's spectrum"
    """
    figure = figure_matrix_simulation(simulation.product, of=f"{simulation.depth} layers, ")
    with style():
        figure.axes[1].set_title("Encoder: singular values of $W_L \\cdots W_1$")
    return figure
