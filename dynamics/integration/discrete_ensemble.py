"""Many one-mode runs of gradient descent at once, with Gaussian batches or on the population, by compiled code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamics.integration.chunks import in_chunks
from dynamics.integration.discrete import EmaOrder, checked_step
from dynamics.states import ModeState
from dynamics.system import ModeSystem

_CHUNK = 512


@dataclass(frozen=True, eq=False)
class SteppedEnsemble:
    """Ends of N runs of gradient descent.

    Parameters
    ----------
    final
        w1, w2 and θ after the last step that was taken, each of shape (N,).
    n_steps
        Steps taken, shape (N,): all that were asked for unless the run diverged.
    diverged
        Whether the next step overflows, shape (N,).
    largest_kappa
        Largest |κ| = ε|e|/√(τo τp) of any step, shape (N,): below 1, signs are kept (R301, R302).
    saved
        States at the numbers of steps `save_at`, each part (K, N), NaN after divergence; None if not asked for.
    """

    final: ModeState
    n_steps: np.ndarray
    diverged: np.ndarray
    largest_kappa: np.ndarray
    saved: ModeState | None


def iterate_ensemble(
    start: ModeState,
    system: ModeSystem,
    step: Any,
    ema_rate: Any,
    n_steps: int,
    order: EmaOrder = EmaOrder.PRACTICAL,
    *,
    batch: int | None = None,
    seed: int = 0,
    save_at: Any = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SteppedEnsemble:
    """Follow N independent one-mode runs of gradient descent, each with its own system, start, step and rate.

    Parameters
    ----------
    start
        w1, w2 and θ, each of shape (N,); N is the number of modes of the system.
    system
        λs and λd of shape (N,), other rates one number or shape (N,). Batches need |λd| <= λs.
    step, ema_rate
        ε > 0 and h in [0, 1], one number or shape (N,).
    n_steps
        Steps of each run, >= 0.
    order
        Order of the average: see `dynamics.integration.discrete`.
    batch
        B >= 1, Gaussian batches of B pairs of views, exact in law (R306); None for the population.
    seed
        Seed of the batches, >= 0. Run k draws the same numbers whatever the others are.
    save_at
        Increasing numbers of steps in [0, n_steps] at which all states are kept, shape (K,).
    threads
        CPU threads; all cores that this process may use if left out.
    progress
        Called as progress(done, total) with the number of finished runs.

    Raises
    ------
    ValueError
        Something is out of range.

    Notes
    -----
    Source: R301, R306.

    Examples
    --------
    >>> system = ModeSystem([1.0, 1.0], [0.5, 0.5])
    >>> ends = iterate_ensemble(system.state([0.3, 0.3], 0.1, 0.3), system, [0.1, 1.0], [0.1, 1.0], 2000)
    >>> ends.final.online.round(7)
    array([0.5739441, 0.5686772])
    """
    from dynamics.integration.discrete_kernels import advance

    n = system.n_modes
    eps, rate = (np.broadcast_to(np.asarray(x, np.float64), (n,)).copy() for x in (step, ema_rate))
    for one in zip(eps, rate, strict=True) if n <= 16 else ((eps.min(), rate.min()), (eps.max(), rate.max())):
        checked_step(*one)
    if n_steps < 0:
        raise ValueError(f"`n_steps` must be an integer >= 0, got {n_steps}")
    if batch is not None:
        if batch < 1:
            raise ValueError(f"`batch` must be an integer >= 1, got {batch}")
        if np.any(np.abs(system.lambda_d) > system.lambda_s):
            raise ValueError("`lambda_d` must be at most `lambda_s` in size for views to have these moments")
    if seed < 0:
        raise ValueError(f"`seed` must be an integer >= 0, got {seed}")
    asked = np.asarray([] if save_at is None else save_at, dtype=np.int64)
    if asked.ndim != 1 or np.any(np.diff(asked) <= 0) or np.any((asked < 0) | (asked > n_steps)):
        raise ValueError(f"`save_at` must be increasing numbers of steps in [0, {n_steps}], got {save_at}")
    y = np.stack([np.broadcast_to(part, (n,)) for part in start]).astype(np.float64)
    rates = (1 / np.asarray(system.tau_online), 1 / np.asarray(system.tau_predictor), system.weight_decay)
    p = np.stack([np.broadcast_to(x, (n,)) for x in (system.lambda_s, system.lambda_d, *rates)])
    saved = np.full((asked.size, 3, n), np.nan)
    taken, largest = np.zeros(n, np.int64), np.zeros(n)
    practical = EmaOrder(order) is EmaOrder.PRACTICAL

    def part(first: int, last: int) -> None:
        advance(
            *(first, last, y, p.astype(np.float64), eps, rate, practical, batch or 0, np.uint64(seed)),
            *(asked, n_steps, saved, taken, largest),
        )

    in_chunks(part, n, largest=_CHUNK, threads=threads, progress=progress)
    kept = None if save_at is None else ModeState(*(saved[:, k] for k in range(3)))
    return SteppedEnsemble(ModeState(*y), taken, taken < n_steps, largest, kept)
