"""Page `restarts`: which fresh predictors kill a mode, how many die of them, and one that lives (R225, R226)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.fates.restarts import collapse_fraction
from analysis.runs.restarts import Restarts, restarted_modes
from dynamics.exact.restarts import LAWS, RestartLaw, restart_edges, restart_map
from dynamics.fields.modes import full_mode_field
from dynamics.system import ModeSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import panels
from figures.panels import restarts as draw
from figures.style import style

_LARGEST = 1.2  # √x that is drawn
_COUNTS = (1, 3, 10)


@dataclass(frozen=True, eq=False)
class RestartPage:
    """What restarts do to a mode.

    Parameters
    ----------
    parameters
        As given.
    roots, low, high
        √x, and the fresh predictors between which a mode of that size survives, shape (N,).
    predictors, sizes
        Grid of fresh predictors, shape (n,), and √x after the restart, shape (n, N): 0 where the mode dies.
    scales, counts, fractions
        a, k, and the fraction of modes that is dead after k restarts, shape (n_counts, n_scales).
    threshold
        a from which on every mode dies in the end.
    ts, online, predictor
        A run with restarts: times, the time of a restart twice, w1 and w2, shape (T,).
    events, said
        Times of the restarts, and |w1| that the map says, shape (n_restarts,).
    """

    parameters: dict[str, Any]
    roots: np.ndarray
    low: np.ndarray
    high: np.ndarray
    predictors: np.ndarray
    sizes: np.ndarray
    scales: np.ndarray
    counts: tuple[int, ...]
    fractions: np.ndarray
    threshold: float
    ts: np.ndarray
    online: np.ndarray
    predictor: np.ndarray
    events: np.ndarray
    said: np.ndarray


def compute_restarts(
    *,
    ratio: float = 0.5,
    start: float = 0.1,
    law: str = "uniform",
    scale: float = 0.3,
    every: float = 60.0,
    count: int = 5,
    seed: int = 3,
) -> RestartPage:
    """Map a restart, count what dies, and follow one mode.

    Parameters
    ----------
    ratio
        r > 0.
    start
        √x = w1 > 0 at rest before the first restart, all τ = 1.
    law
        uniform, positive or normal.
    scale, every, count, seed
        Of the run: a > 0, the time between restarts > 0, their number >= 1, and the seed of the draws.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> page = compute_restarts(count=2)
    >>> page.events.tolist(), round(float(page.fractions[0, -1]), 2)
    ([60.0, 120.0], 0.85)
    """
    parameters = {**locals()}
    for name, value in (("ratio", ratio), ("start", start)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"`{name}` must be finite and > 0, got {value}")
    if law not in LAWS:
        raise ValueError(f"`law` must be one of {', '.join(LAWS)}, got {law!r}")
    if count < 1:
        raise ValueError(f"`count` must be >= 1, got {count}")
    roots = np.linspace(0.0, _LARGEST, 121)
    low, high = restart_edges(roots**2, ratio)
    predictors = np.linspace(-1.5, 1.5, 121)
    sizes = np.sqrt(restart_map(roots**2, predictors[:, None], ratio))
    scales = ratio * np.linspace(0.05, 4.0, 34)
    fractions = [
        [collapse_fraction(start**2, ratio, RestartLaw(float(a), law), k) for a in scales] for k in _COUNTS
    ]
    system = ModeSystem(lambda_s=1.0, lambda_d=ratio)
    restarts = Restarts(every, RestartLaw(scale, law))
    t_end = every * (count + 1)
    run = restarted_modes(system.state(start, ratio, start), system, full_mode_field, restarts, t_end, seed)
    x, said = start**2, []
    for stretch in run.stretches[1:]:
        x = float(restart_map(x, stretch.trajectory.initial.predictor[0], ratio))
        said.append(np.sqrt(x))
    states = run.trajectory.states
    return RestartPage(
        parameters=parameters,
        roots=roots,
        low=low,
        high=high,
        predictors=predictors,
        sizes=sizes,
        scales=scales,
        counts=_COUNTS,
        fractions=np.array(fractions),
        threshold=ratio / np.sqrt(RestartLaw(1.0, law).second_moment),
        ts=run.trajectory.ts,
        online=states.online[:, 0],
        predictor=states.predictor[:, 0],
        events=restarts.times(t_end),
        said=np.array(said),
    )


def figure_restarts(found: RestartPage) -> Figure:
    """Fresh predictors that a mode survives, fractions that die, and a run."""
    with style():
        figure, axes = panels(
            "Small fresh predictors enlarge a mode, large ones kill it", 3, columns=3, aspect=0.85
        )
        edges, dead, run = axes
        draw.draw_edges(edges, found.roots, found.low, found.high, found.predictors, found.sizes)
        edges.set_title("One restart")
        edges.set(xlabel=r"size before, $\sqrt{x}$", ylabel="fresh predictor $p$")
        draw.draw_fractions(dead, found.scales, found.counts, found.fractions, found.threshold)
        dead.set_title("Modes that die")
        dead.set(xlabel="scale $a$ of the fresh predictor", ylabel="fraction dead")
        dead.legend(loc="upper left", fontsize="small")
        draw.draw_run(run, found.ts, found.online, found.predictor, found.events, found.said)
        run.set_title("A mode under restarts")
        run.set(xlabel="time", ylabel="weights")
        run.legend(loc="upper left", fontsize="small")
        return figure


def caption_restarts(found: RestartPage) -> str:
    """Say what is drawn."""
    return (
        f"A mode with λs = 1, all τ = 1 and η = 0, whose predictor is drawn anew; {described(found.parameters)}. Left: "
        "a mode at rest with x = τo w1²/τp survives a fresh predictor between −√x and √(x + r²), and comes to rest at "
        "x + r² − p² (R225; lines: √x after it). Middle: fraction that is dead after k restarts, from √x = "
        f"{found.parameters['start']:g} (R226); beyond the dotted line, a = {found.threshold:.3g}, E p² > r² and every "
        "mode dies in the end. Right: weights of a run, and |w1| as the map says it (dashes)."
    )


RESTARTS = Page(
    "restarts",
    "Restarts of the predictor: the map of one, and how many modes die of several",
    compute_restarts,
    figure_restarts,
    caption_restarts,
)
"""What restarts do."""
