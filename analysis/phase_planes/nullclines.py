"""Nullclines of a phase plane: the curves on which one of the two weights stands still."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from analysis.phase_planes.planes import Plane, checked_window

_GRID = 2001
_NEAR_ZERO = 1e-9  # of the window: poles of the curves are at 0, so points crowd there
_HALVINGS = 60


class Nullcline(NamedTuple):
    """The curves in a window on which one weight stands still.

    Parameters
    ----------
    of
        The weight: "online", "predictor" or "target".
    branches
        Polylines of shape (k, 2), each a connected curve, clipped to the window; none if it does not pass it.
    """

    of: str
    branches: list[np.ndarray]


def nullclines(
    plane: Plane, u_range: tuple[float, float], v_range: tuple[float, float], *, n_points: int = 400
) -> tuple[Nullcline, Nullcline]:
    """Zero contours of du/dt and dv/dt in a window, exact to rounding.

    In the planes of `analysis.phase_planes.planes` either rate is affine in one coordinate, f = A(s) + B(s) x: both
    in x = θ where θ is a coordinate (s = u), else dw1/dt in x = w1 and dw2/dt in x = w2. So its zeros are the graph
    x = −A(s)/B(s) and the lines on which A = B = 0, and no contour has to be searched for.

    Parameters
    ----------
    plane
        A plane of `analysis.phase_planes.planes`.
    u_range, v_range
        The window, smaller bound first.
    n_points
        Points of each graph, spaced evenly along it in units of the window; lines A = B = 0 have two.

    Returns
    -------
    tuple of Nullcline
        That of u, then that of v. At every point the rate is zero up to a few roundings of its terms.

    Raises
    ------
    ValueError
        The window is empty or not finite, or `n_points` < 2.

    Examples
    --------
    >>> from analysis.phase_planes.planes import no_predictor_plane
    >>> from dynamics.system import ModeSystem
    >>> online, target = nullclines(no_predictor_plane(ModeSystem(1.0, 0.5)), (-1, 1), (-1, 1), n_points=3)
    >>> online.branches[0].round(12) + 0.0
    array([[-0.5, -1. ],
           [ 0. ,  0. ],
           [ 0.5,  1. ]])
    """
    window = checked_window(u_range, v_range)
    if n_points < 2:
        raise ValueError(f"`n_points` must be >= 2, got {n_points}")
    both_in_target = plane.axes[1] == "target"
    found = []
    for component in range(2):
        x_axis = 1 if both_in_target else component
        s_bounds, x_bounds = window[1 - x_axis], window[x_axis]
        coefficients = _affine(plane, component, x_axis, float(np.max(np.abs(x_bounds))))
        branches = [np.column_stack([np.full(2, s), x_bounds]) for s in _lines(coefficients, s_bounds)]
        branches += _graphs(coefficients, s_bounds, x_bounds, n_points)
        found.append(Nullcline(plane.axes[component], [b if x_axis == 1 else b[:, ::-1] for b in branches]))
    return found[0], found[1]


_Coefficients = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def _affine(plane: Plane, component: int, x_axis: int, unit: float) -> _Coefficients:
    """Coefficients s -> (A, B) of f = A + B x, from values of f a window apart."""

    def coefficients(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        def rate(x: float) -> np.ndarray:
            return plane(*((s, x) if x_axis == 1 else (x, s)))[component]

        return rate(0.0), (rate(unit) - rate(-unit)) / (2 * unit)

    return coefficients


def _lines(coefficients: _Coefficients, bounds: np.ndarray) -> list[float]:
    """Places s at which A = B = 0: s = 0, or if A vanishes everywhere, as without EMA, the roots of a quadratic B."""
    A, B = coefficients(np.array([-1.0, 0.0, 1.0]))
    if np.all(A == 0):
        roots = _quadratic_roots((B[2] + B[0]) / 2 - B[1], (B[2] - B[0]) / 2, B[1])
    else:
        roots = [0.0] if A[1] == B[1] == 0 else []
    return [s for s in roots if bounds[0] <= s <= bounds[1]]


def _quadratic_roots(a: float, b: float, c: float) -> list[float]:
    """Real roots of a x² + b x + c, a double one once, without cancellation."""
    discriminant = b**2 - 4 * a * c
    if a == 0:
        return [-c / b] if b != 0 else []
    if abs(discriminant) <= 8 * np.finfo(float).eps * b**2:
        return [-b / (2 * a)]
    if discriminant < 0:
        return []
    q = -(b + np.copysign(np.sqrt(discriminant), b)) / 2
    return sorted([q / a, c / q if q != 0 else 0.0])


def _graphs(
    coefficients: _Coefficients, s_bounds: np.ndarray, x_bounds: np.ndarray, n_points: int
) -> list[np.ndarray]:
    """Connected parts of the graph x = −A(s)/B(s) in the window, as arrays of (s, x)."""
    low, high = s_bounds
    crowd = np.geomspace(_NEAR_ZERO, 1.0, _GRID // 4) * np.max(np.abs(s_bounds))
    grid = np.concatenate([np.linspace(low, high, _GRID), crowd, -crowd, [0.0]])
    grid = np.unique(grid[(grid >= low) & (grid <= high)])
    vanishes = bool(np.all(coefficients(grid)[0] == 0))

    def graph(s: np.ndarray) -> np.ndarray:
        A, B = coefficients(s)
        if vanishes:
            return np.zeros_like(A)
        return np.where(B == 0, np.nan, -A / np.where(B == 0, 1.0, B))

    def inside(s: np.ndarray) -> np.ndarray:
        x = graph(s)
        return (x >= x_bounds[0]) & (x <= x_bounds[1])  # False where NaN, at a pole

    flags = inside(grid)
    steps = np.diff(flags.astype(int), prepend=0, append=0)
    parts = []
    for first, stop in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True):
        before = [_edge(inside, grid[first], grid[first - 1])] if first > 0 else []
        after = [_edge(inside, grid[stop - 1], grid[stop])] if stop < grid.size else []
        s = np.concatenate([before, grid[first:stop], after])
        parts.append(_evenly(s, graph, np.ptp(s_bounds), np.ptp(x_bounds), n_points))
    return parts


def _edge(inside: Callable[[np.ndarray], np.ndarray], within: float, beyond: float) -> float:
    """Last place inside the window between one that is and one that is not, by bisection."""
    for _ in range(_HALVINGS):
        middle = (within + beyond) / 2
        if inside(np.array(middle)):
            within = middle
        else:
            beyond = middle
    return within


def _evenly(
    s: np.ndarray, graph: Callable[[np.ndarray], np.ndarray], width: float, height: float, n_points: int
) -> np.ndarray:
    """Points of a graph spaced evenly along it, each on it exactly."""
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(s) / width, np.diff(graph(s)) / height))])
    even = np.interp(np.linspace(0.0, arc[-1], n_points), arc, s)
    return np.column_stack([even, graph(even)])
