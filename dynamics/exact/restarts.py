"""A fresh predictor for a network at rest: the map that one restart is, of one mode (R225).

At rest a mode is its size x = τo w1²/τp, with w2 = r and θ = w1. A new w2 = p puts it on another leaf, x − p², on which
the flow learns again, x ← x + r² − p², or collapses (R6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

LAWS = {
    "uniform": "every weight from U[−a, a]",
    "positive": "every weight from U[0, a]",
    "normal": "every weight from a N(0, 1)",
}
"""Laws of a fresh predictor, a its scale."""


@dataclass(frozen=True)
class RestartLaw:
    """Law of the weights of a fresh predictor.

    Parameters
    ----------
    scale
        a > 0.
    kind
        A key of `LAWS`.

    Raises
    ------
    ValueError
        One of these is not so.

    Examples
    --------
    >>> law = RestartLaw(0.6, "positive")
    >>> law.second_moment, law.support
    (0.12, (0.0, 0.6))
    """

    scale: float
    kind: str = "uniform"

    def __post_init__(self) -> None:
        if not 0 < self.scale < np.inf:
            raise ValueError(f"`scale` must be finite and > 0, got {self.scale}")
        if self.kind not in LAWS:
            raise ValueError(f"`kind` must be one of {', '.join(LAWS)}, got {self.kind!r}")

    @property
    def support(self) -> tuple[float, float]:
        """Least and largest weight; infinite for a normal law."""
        if self.kind == "normal":
            return -np.inf, np.inf
        return (-self.scale if self.kind == "uniform" else 0.0), self.scale

    @property
    def second_moment(self) -> float:
        """E p²."""
        return self.scale**2 * (1.0 if self.kind == "normal" else 1 / 3)

    def cdf(self, p: Any) -> Any:
        """P(weight <= p), any shape."""
        p = np.asarray(p, dtype=np.float64)
        if self.kind == "normal":
            from scipy.special import ndtr

            return ndtr(p / self.scale)
        low, high = self.support
        return np.clip((p - low) / (high - low), 0.0, 1.0)

    def quantile(self, u: Any) -> Any:
        """Weight below which there is probability u, any shape."""
        u = np.asarray(u, dtype=np.float64)
        if self.kind == "normal":
            from scipy.special import ndtri

            return self.scale * ndtri(u)
        low, high = self.support
        return low + (high - low) * u

    def draw(self, rng: np.random.Generator, shape: Any) -> np.ndarray:
        """Draw weights of any shape."""
        return np.asarray(self.quantile(rng.random(shape)))


def restart_edges(x: Any, ratio: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weights of a fresh predictor between which a mode survives: −√x < p < √(x + r²).

    >>> restart_edges(0.09, 0.4)
    (np.float64(-0.3), np.float64(0.5))
    """
    x, r = np.asarray(x, dtype=np.float64), np.asarray(ratio, dtype=np.float64)
    return -np.sqrt(x), np.hypot(np.sqrt(x), r)


def restart_map(x: Any, predictor: Any, ratio: Any) -> np.ndarray:
    """Size of a mode after a restart: x + r² − p² where it learns again, 0 where it dies.

    It dies iff p <= −√x or p >= √(x + r²), or if it was dead, x = 0.

    Parameters
    ----------
    x
        τo w1²/τp >= 0 of the mode at rest with w2 = r, θ = w1.
    predictor
        p, the fresh w2.
    ratio
        r = λd/λs >= 0. All broadcast.

    Returns
    -------
    array
        The size when it is at rest again.

    Raises
    ------
    ValueError
        A size or ratio is negative, or a number is not finite.

    Notes
    -----
    Without weight decay. Source: R225; the balance law R2 and R6.

    Examples
    --------
    >>> x = 0.09
    >>> for p in (0.1, 0.2, -0.15, 0.05, 0.45, -0.25):
    ...     x = restart_map(x, p, 0.5)
    >>> round(float(x), 4)
    1.25
    """
    x, p, r = (np.asarray(value, dtype=np.float64) for value in (x, predictor, ratio))
    for name, value in (("x", x), ("ratio", r)):
        if not np.all(np.isfinite(value) & (value >= 0)):
            raise ValueError(f"`{name}` must be finite and >= 0, got {value}")
    if not np.all(np.isfinite(p)):
        raise ValueError(f"`predictor` must be finite, got {p}")
    low, high = restart_edges(x, r)
    survives = (p > low) & (p < high) & (x > 0)
    return np.where(survives, x + (r - p) * (r + p), 0.0)
