"""Windows of a plane of starts: their ranges, lattices of cell centres, and random places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def centres(bounds: tuple[float, float], n: int) -> np.ndarray:
    """Centres of n cells between two bounds.

    >>> centres((0.0, 2.0), 2)
    array([0.5, 1.5])
    """
    share = (np.arange(n) + 0.5) / n
    return bounds[0] * (1 - share) + bounds[1] * share


def places_in(
    window: tuple[tuple[float, float], tuple[float, float]],
    grid: int | tuple[int, int] | None,
    random: int | None,
    seed: int,
) -> tuple[np.ndarray, tuple[int, int] | None]:
    """Places of starts in a window, shape (2, N), and (rows, columns) of a lattice, as `basins` takes them.

    >>> places_in(((0.0, 2.0), (0.0, 1.0)), (1, 2), None, 0)
    (array([[0.5, 1.5],
           [0.5, 0.5]]), (1, 2))
    """
    if (grid is None) == (random is None):
        raise ValueError(f"give `grid` or `random`, one of the two, got {grid} and {random}")
    if grid is not None:
        rows, columns = shape = (grid, grid) if isinstance(grid, int) else grid
        if min(shape) < 1:
            raise ValueError(f"`grid` must be >= 1, got {grid}")
        u, v = np.meshgrid(centres(window[0], columns), centres(window[1], rows))
        return np.stack([u.ravel(), v.ravel()]), shape
    assert random is not None
    if random < 1:
        raise ValueError(f"`random` must be >= 1, got {random}")
    low, high = np.array(window).T
    return np.random.default_rng(seed).uniform(low, high, (random, 2)).T, None


def checked_window(
    plane: Sequence[str], ranges: Any, windows: dict[str, tuple[float, float]]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ranges of the two coordinates of a plane, those of `windows` where they are left out.

    >>> checked_window("ab", (None, (0.0, 1.0)), {"a": (-1.5, 1.5), "b": (-1.0, 1.0)})
    ((-1.5, 1.5), (0.0, 1.0))
    """
    if len(plane) != 2 or plane[0] == plane[1] or not set(plane) <= set(windows):
        raise ValueError(f"`plane` must be two of {', '.join(windows)}, got {', '.join(plane)}")
    window = []
    for name, bounds in zip(plane, ranges, strict=True):
        low, high = windows[name] if bounds is None else bounds
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ValueError(
                f"the range of {name} must be finite, smaller bound first, got {low:g} and {high:g}"
            )
        window.append((float(low), float(high)))
    return window[0], window[1]
