"""Flows of piecewise smooth fields, with sliding along switching surfaces (Filippov) integrated as such."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import combinations, product
from typing import Any

import numpy as np

from dynamics.integration.trajectory import check_tolerances

EPS = float(np.finfo(np.float64).eps)
_ON = 1e-12
"""Distance from a plane, relative to its terms, at which w is on it: a few thousand roundings."""
_LATE = 1e-9
"""Part of a step by which sliding may end too late."""


class SlidingEnd(StrEnum):
    """How a piecewise smooth run ended."""

    END_TIME = "end-time"
    NO_WAY = "no-way"
    SPLIT = "split"
    MAX_SWITCHES = "max-switches"
    FAILED = "failed"

    @property
    def message(self) -> str:
        """One sentence for people."""
        return {
            SlidingEnd.END_TIME: "the end time was reached",
            SlidingEnd.NO_WAY: "no combination of the fields around it says how the run goes on from a surface",
            SlidingEnd.SPLIT: "several ways lead on from a switching surface, from which the field points away",
            SlidingEnd.MAX_SWITCHES: "the budget of switches was spent",
            SlidingEnd.FAILED: "the integrator's step became too small, or numbers overflowed",
        }[self]


@dataclass(frozen=True, eq=False)
class SlidingRun:
    """A run of a piecewise smooth flow.

    Parameters
    ----------
    ts
        Times of the integrator's steps, shape (T,), not decreasing.
    states
        States at `ts`, shape (T, n).
    switches
        Times at which the run reached or left a switching surface, in order.
    modes
        From the start, and from each switch on, the surfaces that it slides along; () where it moves freely. One more
        than `switches`.
    end
        Why it ended.
    """

    ts: np.ndarray
    states: np.ndarray
    switches: tuple[float, ...]
    modes: tuple[tuple[int, ...], ...]
    end: SlidingEnd

    @property
    def final(self) -> np.ndarray:
        """State at the end."""
        return np.asarray(self.states[-1])


def integrate_sliding(
    field: Callable[[np.ndarray, np.ndarray], np.ndarray],
    normals: Any,
    start: Any,
    t_end: float,
    *,
    rtol: float = 1e-10,
    atol: float = 1e-12,
    max_switches: int = 100,
) -> SlidingRun:
    """Follow dw/dt = F(w, gates), gates_i = [n_iᵀw > 0], with Filippov's sliding along the planes n_iᵀw = 0.

    At a plane that the run reaches, with F₊ and F₋ the fields of its two sides,

        n·F₊ and n·F₋ of one sign:    the run crosses;
        n·F₊ < 0 < n·F₋:              it slides, dw/dt = α F₊ + (1 − α) F₋,  α = n·F₋/(n·F₋ − n·F₊),

    until n·F₊ or n·F₋ changes its sign, and then leaves to that side. Where planes meet it may slide along several
    at once, by a convex combination of the fields around them. Where F is a gradient these combinations are the
    projection of F on the planes, so there is but one.

    Parameters
    ----------
    field
        (w, gates) -> dw/dt, smooth in w for fixed gates, an array of 0s and 1s, shape (n_surfaces,).
    normals
        n_i, shape (n_surfaces, n). A zero normal is a gate that never opens.
    start
        w(0), shape (n,). On a plane the run takes the side that the field points to.
    t_end
        Finite and > 0.
    rtol, atol
        Tolerances of SciPy's DOP853.
    max_switches
        Most switches, >= 1.

    Returns
    -------
    SlidingRun
        Whatever happens; `end` names it.

    Raises
    ------
    ValueError
        A number is out of range, or a shape does not fit.

    Notes
    -----
    Source: A. F. Filippov, Differential equations with discontinuous righthand sides (1988); needed for R123.

    Examples
    --------
    A field that points to the plane w1 = 0 from both sides, and along it upwards:

    >>> run = integrate_sliding(lambda w, gates: np.array([1.0 - 2.0 * gates[0], 1.0]), [[1.0, 0.0]], [-1.0, 0.0], 3.0)
    >>> run.modes, [round(t, 9) for t in run.switches], run.final.round(9)
    (((), (0,)), [1.0], array([0., 3.]))
    """
    check_tolerances(rtol, atol, max_switches)
    w, N = np.array(start, dtype=np.float64), np.asarray(normals, dtype=np.float64)
    if w.ndim != 1 or not np.all(np.isfinite(w)):
        raise ValueError(f"`start` must be finite numbers of shape (n,), got {start}")
    if N.ndim != 2 or N.shape[1] != w.size or not np.all(np.isfinite(N)):
        raise ValueError(f"`normals` must be finite, of shape (n_surfaces, {w.size}), got shape {N.shape}")
    if not (math.isfinite(t_end) and t_end > 0):
        raise ValueError(f"`t_end` must be finite and > 0, got {t_end}")
    return _Walk(field, N, rtol, atol, max_switches).run(w, t_end)


class _Walk:
    """The run, segment by segment; `held` are the surfaces that it slides along."""

    def __init__(
        self, field: Callable[..., np.ndarray], normals: np.ndarray, rtol: float, atol: float, most: int
    ) -> None:
        self.field, self.normals, self.most = field, normals, most
        self.options = {"rtol": max(rtol, 100 * EPS), "atol": atol}
        self.surfaces = [int(i) for i in np.flatnonzero(normals.any(axis=1))]

    def run(self, w: np.ndarray, t_end: float) -> SlidingRun:
        t, ts, states = 0.0, [0.0], [w]
        switches: list[float] = []
        gates = (self.normals @ w > 0).astype(float)
        held, end = self._onward(self._touched(w), w, gates)
        modes = [held]
        while end is None:
            left, end = self._segment(t, w, gates, held, t_end, ts, states)
            if end is not None:
                break
            t, w = ts[-1], states[-1]
            if len(switches) == self.most:
                end = SlidingEnd.MAX_SWITCHES
                break
            switches.append(float(t))
            touched = sorted({*self._touched(w), *held})
            held, end = self._onward(touched, w, gates, but=held if left else None)
            modes.append(held)
        return SlidingRun(np.array(ts), np.array(states), tuple(switches), tuple(modes), end)

    def _touched(self, w: np.ndarray) -> list[int]:
        """Surfaces that hold w, to the accuracy of the events that brought it there."""
        return [
            i
            for i in self.surfaces
            if abs(self.normals[i] @ w) <= _ON * (np.abs(self.normals[i]) @ np.abs(w))
        ]

    def _onward(
        self, touched: list[int], w: np.ndarray, gates: np.ndarray, but: tuple[int, ...] | None = None
    ) -> tuple[tuple[int, ...], SlidingEnd | None]:
        """Find the one way on from some surfaces, into a region or along some of them, and set their gates.

        Returns the surfaces that the run slides along, other than `but`, and why it cannot go on.
        """
        ways = []
        for n_held in range(len(touched) + 1):
            for held in combinations(touched, n_held):
                if held == but:
                    continue
                free = [i for i in touched if i not in held]
                for sides in product((0.0, 1.0), repeat=len(free)):
                    trial = gates.copy()
                    trial[free] = sides
                    moved = self._moved(held, w, trial)
                    if moved is not None and all(
                        self._rate(i, moved) * (1 if side else -1) > 0
                        for i, side in zip(free, sides, strict=True)
                    ):
                        ways.append((held, trial))
        if len(ways) != 1:
            return (), SlidingEnd.SPLIT if ways else SlidingEnd.NO_WAY
        held, gates[:] = ways[0]
        return held, None

    def _rate(self, i: int, moved: np.ndarray) -> float:
        """n·F, zero where it is rounding."""
        n = self.normals[i]
        rate = float(n @ moved)
        return 0.0 if abs(rate) <= _ON * float(np.abs(n) @ np.abs(moved)) else rate

    def _moved(self, held: tuple[int, ...], w: np.ndarray, gates: np.ndarray) -> np.ndarray | None:
        """Filippov's field along the surfaces `held`; None where no combination of their sides stays on them."""
        if not held:
            return self.field(w, gates)
        sides = []
        for corner in product((1.0, 0.0), repeat=len(held)):
            trial = gates.copy()
            trial[list(held)] = corner
            sides.append(self.field(w, trial))
        F, N = np.array(sides), self.normals[list(held)]
        if len(held) == 1:
            above, below = (self._rate(held[0], one) for one in F)
            if not above <= 0 <= below:  # also where one of them only grazes
                return None
            share = below / (below - above) if below > above else 0.5
            moved = share * F[0] + (1 - share) * F[1]
        else:
            from scipy.optimize import nnls

            rows = np.vstack([(F @ N.T).T, np.full(len(F), np.max(np.abs(F @ N.T)))])
            scale = rows[-1, 0]
            if scale > 0:
                shares, off = nnls(rows / scale, np.append(np.zeros(len(held)), 1.0))
                if off > 1e-10:
                    return None
            else:
                shares = np.full(len(F), 1 / len(F))
            moved = shares @ F / shares.sum()
        return np.asarray(
            moved - np.linalg.lstsq(N, N @ moved, rcond=None)[0]
        )  # what rounding left of its normal part

    def _segment(
        self,
        t: float,
        w: np.ndarray,
        gates: np.ndarray,
        held: tuple[int, ...],
        t_end: float,
        ts: list[float],
        states: list[np.ndarray],
    ) -> tuple[bool, SlidingEnd | None]:
        """Integrate to the next switch; append its steps. Returns whether the run leaves `held`, and why it ended."""
        from scipy.integrate import DOP853

        last = [w]

        def smooth(_: float, w: np.ndarray) -> np.ndarray:
            moved = self._moved(held, w, gates)
            if moved is None:  # a stage beyond the end of sliding: the step will be cut back
                return np.asarray(last[0])
            last[0] = moved
            return moved

        stepper = DOP853(smooth, t, w, t_end, **self.options)
        others = [(self.normals[i], 1.0 if gates[i] else -1.0) for i in self.surfaces if i not in held]
        while stepper.status == "running":
            stepper.step()
            if stepper.status == "failed" or not np.all(np.isfinite(stepper.y)):
                return False, SlidingEnd.FAILED
            dense, t0, t1 = stepper.dense_output(), stepper.t_old, stepper.t
            stop = float(t1)

            def first(
                happened: Callable[[np.ndarray], bool],
                low: float,
                high: float,
                width: float = 0.0,
                dense: Any = dense,
            ) -> float:
                while high - low > width and low < (low + high) / 2 < high:
                    middle = (low + high) / 2
                    low, high = (low, middle) if happened(dense(middle)) else (middle, high)
                return high

            hit, left = None, False
            for n, sign in others:
                if sign * (n @ dense(stop)) < 0 < sign * (n @ dense(t0)):
                    stop, hit = first(partial(_beyond, n, sign), t0, stop), n
            if held and self._moved(held, dense(stop), gates) is None:
                # late by so little that the field points off the surface by more than rounding; the error is its square
                stop = first(lambda w: self._moved(held, w, gates) is None, t0, stop, _LATE * (t1 - t0))
                hit, left = None, True
            y = stepper.y if stop == t1 and hit is None and not left else dense(stop)
            if hit is not None:
                y = y - hit * (hit @ y) / (hit @ hit)
            ts.append(stop)
            states.append(np.array(y))
            if hit is not None or left:
                return left, None
        return False, SlidingEnd.END_TIME


def _beyond(n: np.ndarray, sign: float, w: np.ndarray) -> bool:
    return bool(sign * (n @ w) < 0)
