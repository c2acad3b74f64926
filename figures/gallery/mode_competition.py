"""Page `mode-competition`: under noise learned modes compete, until a row captures another's mode (R310)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.steps.competition import competition_rates, mode_competition
from dynamics.integration.batch_noise import batches
from dynamics.integration.stepping import iterate
from dynamics.system import MatrixSystem, ModeSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import panels
from figures.panels import steps as draw
from figures.style import style


@dataclass(frozen=True, eq=False)
class ModeCompetitionPage:
    """A run of two rows on batches, and the law of their sizes.

    Parameters
    ----------
    parameters
        As given.
    ts
        Times, shape (T,).
    rows, law
        Squared norms of the rows of W, mean over the runs, and by R310, shape (T, 2).
    captured
        Mean of W21², by which row 2 holds mode 1, shape (T,).
    edge
        Square of the amplitude of mode 1 below which row 2 captures it.
    ratios, gains
        r in (0, 1), and growth rates of a mode that is alone at its balanced amplitude.
    """

    parameters: dict[str, Any]
    ts: np.ndarray
    rows: np.ndarray
    law: np.ndarray
    captured: np.ndarray
    edge: float
    ratios: np.ndarray
    gains: np.ndarray


def compute_mode_competition(
    *,
    ratios: Sequence[float] = (0.97, 0.7),
    amplitude: float = 1.2,
    step: float = 0.02,
    ema_rate: float = 0.1,
    batch: int = 4,
    runs: int = 2,
    t_end: float = 1200.0,
    seed: int = 0,
) -> ModeCompetitionPage:
    """Follow two rows on batches from a learned point.

    Parameters
    ----------
    ratios
        Two ratios in (0, 1), descending; Σs = I and all τ = 1.
    amplitude
        Start of both rows, > 0.
    step, ema_rate, batch
        ε > 0, h in (0, 1] and B >= 1.
    runs, t_end, seed
        Number of runs >= 1, end time > 0, and the seed of the batches.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> found = compute_mode_competition(runs=1, t_end=10.0)
    >>> round(found.edge, 3)
    0.189
    """
    parameters = {**locals()}
    r = np.asarray(ratios, dtype=np.float64)
    if r.shape != (2,) or not 1 > r[0] > r[1] > 0:
        raise ValueError(f"`ratios` must be two numbers in (0, 1), descending, got {ratios}")
    if not amplitude > 0:
        raise ValueError(f"`amplitude` must be > 0, got {amplitude}")
    if runs < 1:
        raise ValueError(f"`runs` must be >= 1, got {runs}")
    if not 0 < t_end < np.inf:
        raise ValueError(f"`t_end` must be finite and > 0, got {t_end}")
    system, modes = MatrixSystem(np.ones(2), r), ModeSystem(np.ones(2), r)
    start = system.state(amplitude * np.eye(2), np.diag(r))
    paths, n_steps = [], max(round(t_end / step), 1)
    for k in range(runs):
        noisy = batches(np.random.default_rng([seed, k]), system, batch)
        run = iterate(start, system, step, ema_rate, n_steps, n_saved=min(200, n_steps), batches=noisy)
        paths.append(run.states.online)
    squares = np.mean(np.stack(paths) ** 2, axis=0)
    found = mode_competition([amplitude**2] * 2, modes, step, batch, run.ts)
    grid = np.linspace(0.02, 0.98, 97)
    alone = ModeSystem(np.ones(97), grid)
    gains = competition_rates(np.zeros(97), alone, step, batch) / 97  # without rivals, and tr Σs = 1
    return ModeCompetitionPage(
        parameters,
        run.ts,
        np.sum(squares, axis=2),
        found.squares,
        squares[:, 1, 0],
        float(found.capture[0]),
        grid,
        gains,
    )


def figure_mode_competition(found: ModeCompetitionPage) -> Figure:
    """Sizes of both rows with their law, the capture, and what wins."""
    with style():
        figure, axes = panels("Noise lets learned modes compete, and the top one need not win", 3, columns=3)
        rows, capture, gains = axes
        draw.draw_modes(rows, found.ts, found.rows, found.law, found.parameters["ratios"], found.edge)
        rows.set(
            xlabel=r"time, $\varepsilon\,\times$ steps", ylabel=r"$\|$row$\|^2$", title="Rows of the encoder"
        )
        rows.set_ylim(0, 1.5 * rows.get_ylim()[1])  # room for the legend
        rows.legend(loc="upper right", fontsize="small")
        draw.draw_ends(capture, found.ts, found.captured[:, None], 0.0)
        capture.set(
            xlabel=r"time, $\varepsilon\,\times$ steps", ylabel="$W_{21}^2$", title="Row 2 takes mode 1"
        )
        draw.draw_ends(gains, found.ratios, found.gains[:, None], 0.0)
        gains.set(xlabel="ratio $r$", ylabel="growth rate", title="$r^2(1 - r^2)$ decides")
        return figure


def caption_mode_competition(found: ModeCompetitionPage) -> str:
    """Say what is drawn."""
    return (
        f"Two rows on Gaussian batches, Σs = I and all τ = 1, from a learned point; "
        f"{described(found.parameters)}. Left: mean "
        "squared norm of the rows and the Lotka–Volterra law of R310 (dashes), until the top mode falls below "
        "the edge of R10, "
        f"{found.edge:.3g}. Middle: from there on row 2 captures mode 1, and the law ends. Right: growth "
        "rate of a mode "
        "without rivals, εr²(1 − r²)/B: it peaks at r = 0.707, and modes near r = 1 lose."
    )


MODE_COMPETITION = Page(
    "mode-competition",
    "Learned modes compete under noise of batches",
    compute_mode_competition,
    figure_mode_competition,
    caption_mode_competition,
)
"""What noise does to several learned modes."""
