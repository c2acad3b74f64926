"""Phase portraits: all that a picture of an invariant plane shows, found in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.fixed_points.one_mode import (
    FixedPoint,
    FixedPointLine,
    FixedPoints,
    LineStability,
    PointStability,
)
from analysis.phase_planes.nullclines import Nullcline, nullclines
from analysis.phase_planes.planes import Plane, checked_window
from analysis.phase_planes.separatrices import Separatrix, separatrix
from dynamics.states import ModeState

_LINE_POINTS = 400


@dataclass(frozen=True, eq=False)
class RestLine:
    """The part of a line of fixed points that a window shows.

    Parameters
    ----------
    points
        Polyline of shape (k, d); one point where stability changes.
    stability
        Across the line.
    """

    points: np.ndarray
    stability: LineStability


@dataclass(frozen=True, eq=False)
class Portrait:
    """A phase portrait in a window of a plane with coordinates (u, v).

    Parameters
    ----------
    name, axes
        Those of the plane.
    u_range, v_range
        The window.
    u, v
        Places of the arrows, shape (n, n).
    du, dv
        Direction of the flow there, of unit length; NaN where it rests.
    nullclines
        That of u, then that of v.
    points, stability
        Fixed points in the window, shape (k, 2), and the stability of each.
    lines
        Lines of fixed points.
    separatrices
        Of the saddles and half-stable points in the window, in the order of `points`.
    """

    name: str
    axes: tuple[str, str]
    u_range: tuple[float, float]
    v_range: tuple[float, float]
    u: np.ndarray
    v: np.ndarray
    du: np.ndarray
    dv: np.ndarray
    nullclines: tuple[Nullcline, Nullcline]
    points: np.ndarray
    stability: tuple[PointStability, ...]
    lines: tuple[RestLine, ...]
    separatrices: tuple[Separatrix, ...]


def phase_portrait(
    plane: Plane,
    u_range: tuple[float, float],
    v_range: tuple[float, float],
    rest: FixedPoints | None = None,
    *,
    n_arrows: int = 17,
    manifolds: bool = True,
) -> Portrait:
    """Directions of the flow, nullclines, fixed points and separatrices in a window of a plane.

    Parameters
    ----------
    plane
        A plane of `analysis.phase_planes.planes`.
    u_range, v_range
        The window, smaller bound first.
    rest
        Fixed points of the same flow on this plane, from `analysis.fixed_points.one_mode.fixed_points`; of points that
        are not on the plane, such as those on the other sheet of a leaf, none is shown.
    n_arrows
        Arrows along each side.
    manifolds
        Whether to find separatrices, which takes longer than all the rest.

    Raises
    ------
    ValueError
        The window is empty or not finite; n_arrows < 2.

    Notes
    -----
    Stability is that of `rest`, by eigenvalues and the centre manifold. Sources: R5 to R7, R11, R13, R15.

    Examples
    --------
    >>> from analysis.fixed_points.one_mode import fixed_points
    >>> from analysis.phase_planes.planes import tied_plane
    >>> from dynamics.system import ModeSystem
    >>> system = ModeSystem(1.0, 0.5)
    >>> phase_portrait(tied_plane(system), (-1, 1), (-1, 1), fixed_points(system, "tied")).stability
    ('half-stable', 'stable')
    """
    window = checked_window(u_range, v_range)
    if n_arrows < 2:
        raise ValueError(f"`n_arrows` must be >= 2, got {n_arrows}")
    # arrows stand in the middle of n × n cells, so that none crosses the border
    places = [lo + (hi - lo) * (np.arange(n_arrows) + 0.5) / n_arrows for lo, hi in window]
    u, v = np.meshgrid(*places)
    rates = plane(u, v)
    speed = np.hypot(*rates)
    du, dv = (np.divide(rate, speed, out=np.full_like(rate, np.nan), where=speed > 0) for rate in rates)
    here = [] if rest is None else [point for point in rest.points if _is_shown(plane, point, window)]
    points = np.array([plane.coordinates(_state(point)) for point in here]).reshape(-1, 2)
    split = [k for k, point in enumerate(here) if point.stability in ("saddle", "half-stable")]
    lines = () if rest is None else rest.lines
    return Portrait(
        plane.name,
        plane.axes,
        (float(window[0, 0]), float(window[0, 1])),
        (float(window[1, 0]), float(window[1, 1])),
        u,
        v,
        du,
        dv,
        nullclines(plane, u_range, v_range),
        points,
        tuple(point.stability for point in here),
        tuple(part for line in lines for part in rest_lines(line, window, plane.coordinates)),
        tuple(separatrix(plane, (points[k, 0], points[k, 1]), u_range, v_range) for k in split)
        if manifolds
        else (),
    )


def _state(point: FixedPoint) -> ModeState:
    return ModeState(point.online, point.predictor, point.target)


def _is_shown(plane: Plane, point: FixedPoint, window: np.ndarray) -> bool:
    state = np.array(_state(point))
    place = np.array(plane.coordinates(_state(point)))
    on_plane = plane.embed(*place[:, None])
    gap = np.max(np.abs(np.ravel(on_plane) - state))
    # a square root is as exact as its argument: where w1² = c + w2² vanishes, √ε of the weights is left
    tolerance = np.sqrt(np.finfo(float).eps) * np.max(np.abs(state), initial=1.0)
    return bool(gap <= tolerance and np.all((place >= window[:, 0]) & (place <= window[:, 1])))


def rest_lines(
    line: FixedPointLine, window: np.ndarray, coordinates: Callable[[ModeState], Sequence[Any]] = tuple
) -> list[RestLine]:
    """Segments of a line of fixed points as far as a window; of the hyperbola, a little beyond it.

    Parameters
    ----------
    line
        From `analysis.fixed_points.one_mode.fixed_points`.
    window
        Smallest and largest value of each coordinate, shape (d, 2).
    coordinates
        ModeState -> d coordinates, linear in the weights, such as `Plane.coordinates`; left out, (w1, w2, θ).

    Examples
    --------
    >>> from analysis.fixed_points.one_mode import fixed_points
    >>> from dynamics.system import ModeSystem
    >>> learned = fixed_points(ModeSystem(1.0, 0.5)).lines[0]
    >>> rest_lines(learned, np.array([[-1.0, 1.0]] * 3))[0].points
    array([[-1. ,  0.5, -1. ],
           [ 0. ,  0.5,  0. ]])
    """

    def places(parameter: np.ndarray) -> np.ndarray:
        return np.array([coordinates(ModeState(*line.at(float(p)))) for p in parameter]).reshape(
            -1, len(window)
        )

    parts = []
    for lo, hi, stability in line.segments:
        if line.direction is None:  # the hyperbola, whose parameter is w1
            a = np.geomspace(1e-3, 1.0, _LINE_POINTS) * np.max(np.abs(window[0]))
            a = np.concatenate([-a[::-1], a])
            found, margin = places(a[(a > lo) & (a < hi)]), np.ptp(window, axis=1) / 10
            shown = found[np.all((found > window[:, 0] - margin) & (found < window[:, 1] + margin), axis=1)]
        else:
            origin, unit = places(np.array([0.0, 1.0]))
            step = unit - origin
            inside = (origin >= window[:, 0]) & (origin <= window[:, 1]) | (step != 0)
            ends = np.sort((window - origin[:, None])[step != 0] / step[step != 0, None], axis=1)
            begin, end = max(lo, *ends[:, 0]), min(hi, *ends[:, 1])
            shown = (
                places(np.unique([begin, end]))
                if np.all(inside) and begin <= end
                else np.empty((0, len(window)))
            )
        if len(shown):
            parts.append(RestLine(shown, stability))
    return parts
