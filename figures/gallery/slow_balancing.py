"""Page `slow-balancing`: noise of batches carries learned modes to the balanced amplitude (R307)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.steps.noise import balancing_path
from dynamics.exact.balancing import balancing_law
from dynamics.integration.discrete_ensemble import iterate_ensemble
from dynamics.system import ModeSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import panels
from figures.panels import steps as draw
from figures.style import style

_TIMES = 81


@dataclass(frozen=True, eq=False)
class SlowBalancingPage:
    """Runs on batches, and the law of their invariant.

    Parameters
    ----------
    parameters
        As given.
    ts
        Times, shape (T,).
    mean, deviation
        Of c over the runs from the larger start, shape (T,).
    law, path
        c by the first order, and with the next one, shape (T,).
    amplitudes
        Mean |w1| from each of three starts, shape (T, 3).
    balanced
        Amplitude that noise leads to.
    """

    parameters: dict[str, Any]
    ts: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    law: np.ndarray
    path: np.ndarray
    amplitudes: np.ndarray
    balanced: float


def compute_slow_balancing(
    *,
    ratio: float = 0.5,
    step: float = 0.05,
    batch: int = 2,
    runs: int = 400,
    t_end: float = 500.0,
    seed: int = 0,
) -> SlowBalancingPage:
    """Follow runs from learned points of three amplitudes.

    Parameters
    ----------
    ratio
        r in (0, 1), λs = 1 and all τ = 1; h = ε.
    step, batch
        ε in (0, 1], and B >= 1.
    runs
        Runs from each start, >= 2.
    t_end, seed
        End time > 0, and the seed of the batches.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> found = compute_slow_balancing(runs=20, t_end=50.0)
    >>> bool(found.mean[-1] < found.mean[0])
    True
    """
    parameters = {**locals()}
    if not 0 < ratio < 1:
        raise ValueError(f"`ratio` must be in (0, 1), got {ratio}")
    if runs < 2:
        raise ValueError(f"`runs` must be >= 2, got {runs}")
    if not 0 < t_end < np.inf:
        raise ValueError(f"`t_end` must be finite and > 0, got {t_end}")
    starts = ratio * np.array([2.0, 1.0, 0.3])
    many = ModeSystem(np.ones(3 * runs), np.full(3 * runs, ratio))
    n_steps = max(round(t_end / step), _TIMES)
    at = np.linspace(0, n_steps, _TIMES).astype(int)
    w = np.repeat(starts, runs)
    ends = iterate_ensemble(
        many.state(w, ratio, w), many, step, step, n_steps, batch=batch, seed=seed, save_at=at
    )
    assert ends.saved is not None
    w1, w2, _ = (part.reshape(_TIMES, 3, runs) for part in ends.saved)
    c = w1[:, 0] ** 2 - w2[:, 0] ** 2
    ts, c0 = at * step, float(starts[0] ** 2 - ratio**2)
    one = ModeSystem(1.0, ratio)
    return SlowBalancingPage(
        parameters,
        ts,
        np.mean(c, axis=1),
        np.std(c, axis=1),
        balancing_law(ts, c0, one, step, batch),
        balancing_path(ts, c0, one, step, step, batch),
        np.mean(np.abs(w1), axis=2),
        ratio,
    )


def figure_slow_balancing(found: SlowBalancingPage) -> Figure:
    """The invariant with its laws, and amplitudes that forget their start."""
    with style():
        figure, axes = panels("Noise balances the layers: amplitudes forget where they began", 2, columns=2)
        invariant, amplitudes = axes
        laws = {"first order (R307)": found.law, "next order": found.path}
        draw.draw_law(invariant, found.ts, found.mean, found.deviation, laws)
        invariant.set(
            xlabel=r"time, $\varepsilon\,\times$ steps", ylabel="invariant $c$", title="Slow balancing"
        )
        invariant.legend(loc="upper right", fontsize="small")
        draw.draw_ends(amplitudes, found.ts, found.amplitudes, found.balanced)
        amplitudes.set(
            xlabel=r"time, $\varepsilon\,\times$ steps", ylabel="mean $|w_1|$", title="Three starts"
        )
        return figure


def caption_slow_balancing(found: SlowBalancingPage) -> str:
    """Say what is drawn."""
    return (
        f"A learned mode with λs = 1 and all τ = 1 trained on Gaussian batches, h = ε; "
        f"{described(found.parameters)}. Left: "
        "mean and deviation of c over runs, the law c(t) = q/((1 + q/c0)e^{Kqt} − 1) (R307), and its next "
        "order. Right: mean "
        f"|w1| from three starts; all approach {found.balanced:.4g}, the balanced amplitude (dashes), where "
        "R6's flow would "
        "keep each."
    )


SLOW_BALANCING = Page(
    "slow-balancing",
    "Noise of batches balances the layers of a learned mode",
    compute_slow_balancing,
    figure_slow_balancing,
    caption_slow_balancing,
)
"""What noise does to one learned mode."""
