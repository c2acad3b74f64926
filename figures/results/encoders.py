"""The page of a run of an encoder alone."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.fates.fate import Fate
from analysis.runs.encoders import BRANCHES, EncoderSimulation, Saturating
from dynamics.fields.infonce import SaturatingLoss
from figures.layout.legends import legend_below
from figures.layout.sheets import panels
from figures.panels.encoders import draw_norms, draw_shares, draw_sizes
from figures.results.simulation import fate_handles
from figures.style import DASHED, style, theme

_DECADES = 3  # that are shown below the least of the largest singular value


def figure_encoder_simulation(simulation: EncoderSimulation) -> Figure:
    """Part of the weights along every mode over time, beside the singular values of W; of InfoNCE, sizes of modes.

    The dashed line is e^{(c λ1 − η)t}, at which the largest singular value grows in the end (R113); of InfoNCE, the
    size at which a mode saturates (R114, R116).

    Examples
    --------
    >>> from analysis.runs.encoders import simulate_encoder
    >>> from dynamics.states import EncoderState
    >>> from dynamics.system import MatrixSystem
    >>> run = simulate_encoder(EncoderState([[0.1, 0.1]]), MatrixSystem([10.0, 1.0], [5.0, 0.9]))
    >>> figure_encoder_simulation(run).get_suptitle().split(";")[0]
    'W turns to mode 1, rank 1, while its norm grows without bound'
    """
    if simulation.saturating is not None:
        return _figure_saturating(simulation, simulation.saturating)
    trajectory, system = simulation.trajectory, simulation.system
    learned = np.flatnonzero(simulation.fate == Fate.LEARNED)
    with style():
        figure, (left, right) = panels(_headline(simulation, learned), 2, columns=2, width=6.4)
        left.set_title("Modes of $\\Sigma_d$")
        draw_shares(left, simulation)
        values = np.linalg.svd(trajectory.states.online, compute_uv=False)
        slopes = np.full(values.shape[1], np.nan)
        count = next(c for field, c in BRANCHES.values() if field is simulation.vector_field)
        excited = simulation.shares[0] > 0
        if np.any(excited):
            slopes[0] = count * np.max(simulation.lambda_d[excited]) - system.weight_decay
        right.set_title("Encoder: singular values of $W$")
        draw_norms(right, trajectory.ts, values, slopes)
        top = values[:, 0][values[:, 0] > 0]
        if top.size:
            right.set_ylim(np.min(top) * 10.0**-_DECADES, np.max(top) * 2)
        dashes = Line2D(
            [], [], color=theme().muted, linestyle=DASHED, label=r"$e^{(c\lambda_1 - \eta)t}$ (R113)"
        )
        legend_below(figure, [*fate_handles(simulation.fate), dashes])
    return figure


def _figure_saturating(simulation: EncoderSimulation, of: Saturating) -> Figure:
    """Size of every mode over time, beside where each is said to rest, and shares."""
    learned = np.flatnonzero(simulation.fate == Fate.LEARNED)
    with style():
        figure, (left, right) = panels(_headline(simulation, learned), 2, columns=2, width=6.4)
        left.set_title("Modes of $M = \\Sigma_d \\Sigma_s^{-1}$")
        draw_sizes(left, simulation)
        right.set_title("Shares of the outputs' variance")
        draw_shares(right, simulation)
        right.set_ylabel(r"share of tr $W \Sigma_s W^T$")
        law = _law(of)
        dashes = Line2D([], [], color=theme().muted, linestyle=DASHED, label=f"where it rests ({law})")
        legend_below(figure, [*fate_handles(simulation.fate), dashes])
    return figure


def _law(of: Saturating) -> str:
    if not isinstance(of.loss, SaturatingLoss):
        return of.loss.source
    return "R116" if of.loss.negatives == np.inf else "R114"


def _headline(simulation: EncoderSimulation, learned: np.ndarray) -> str:
    trajectory = simulation.trajectory
    ended = f"{trajectory.status.value} at t = {trajectory.t:.4g}"
    if not learned.size:
        undecided = np.any(simulation.fate == Fate.UNDECIDED)
        return ("W still turns" if undecided else "All modes collapse") + f"; {ended}"
    names = ", ".join(str(k + 1) for k in learned[:6]) + (" …" if learned.size > 6 else "")
    grows = ", while its norm grows without bound" if trajectory.status.value == "unbounded" else ""
    return f"W turns to mode{'s' * (learned.size > 1)} {names}, rank {simulation.rank}{grows}; {ended}"
