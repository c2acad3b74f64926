"""SciPy's DOP853 with stages that are computed in place.

For small systems the price of a stage is that of the calls it takes, and no longer of its arithmetic: so each stage is
bound to the arrays it reads and writes once, and its sum is one product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from scipy.integrate import DOP853


class Bindable(Protocol):
    """A field of packed vectors that can be bound to arrays."""

    def __call__(self, t: float, y: np.ndarray) -> np.ndarray:
        """The derivative at y, a new array."""
        ...

    def bound(self, y: np.ndarray, derivative: np.ndarray) -> Callable[[float], None]:
        """What computes the derivative at the values that y has then, into the other array."""
        ...


class InPlaceDOP853(DOP853):
    """DOP853 for a field that can be bound to arrays; parameters, steps and errors are SciPy's."""

    t: float
    y: np.ndarray
    h_abs: float

    def __init__(self, fun: Bindable, t0: float, y0: np.ndarray, t_bound: float, **options: object):
        super().__init__(fun, t0, y0, t_bound, **options)
        self._at, self._sum = np.empty_like(self.y), np.empty_like(self.y)
        # the last row is the slope of the step, whose weights stand in B: a stage like any other
        self._rows = np.vstack([self.A[1:], self.B])
        self._scaled = np.empty_like(self._rows)
        self._stages = [
            (fun.bound(self._at, self.K[s]), float(c), self._scaled[s - 1, :s], self.K[:s])
            for s, c in enumerate([*self.C[1:], 1.0], start=1)
        ]

    def _tried(self, t: float, y: np.ndarray, h: float) -> None:
        """One step of size h: its stages in K, its end where they are evaluated last."""
        at, total = self._at, self._sum
        self.K[0] = self.f
        np.multiply(h, self._rows, out=self._scaled)
        for evaluate, c, row, slopes in self._stages:
            np.dot(row, slopes, out=total)
            np.add(y, total, out=at)
            evaluate(t + c * h)

    def _step_impl(self) -> tuple[bool, str | None]:
        t, y = self.t, self.y
        shortest = 10 * abs(np.spacing(t))
        size, rejected = min(max(self.h_abs, shortest), self.max_step), False
        size_y = np.abs(y)
        while True:
            if not size >= shortest:
                return False, self.TOO_SMALL_STEP
            t_new = t + size * self.direction
            if self.direction * (t_new - self.t_bound) > 0:
                t_new = self.t_bound
            h = t_new - t
            size = abs(h)
            self._tried(t, y, h)
            scale = self.atol + np.maximum(size_y, np.abs(self._at)) * self.rtol
            error = float(self._estimate_error_norm(self.K, h, scale))
            factor = 10.0 if error == 0 else 0.9 * error**self.error_exponent
            if error < 1:
                break
            size *= max(0.2, factor)  # 0.2 where it is NaN
            rejected = True
        self.h_previous, self.y_old = h, y
        self.t, self.y, self.f = t_new, self._at.copy(), self.K[-1].copy()
        self.h_abs = size * min(1.0 if rejected else 10.0, factor)
        return True, None
