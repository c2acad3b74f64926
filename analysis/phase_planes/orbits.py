"""Orbits of a phase plane: the future and the past of chosen starts, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from analysis.phase_planes.planes import Plane, checked_window
from analysis.runs.simulation import simulate_modes
from dynamics.states import ModeState
from dynamics.system import natural_time

_POINTS = 400
_PAST = 200.0  # natural times: a start on its way out of a fixed point needs many
BEYOND = 1.5
"""Of the window: where an orbit is followed no further back."""


class Orbit(NamedTuple):
    """The orbit through a start of a plane.

    Parameters
    ----------
    start
        (u, v), shape (2,).
    forward, backward
        Points from the start onwards and back, shape (k, 2) each; the start alone where it rests, or where its past
        leaves the window at once.
    fate
        What the run did: "learned", "collapsed" or "undecided".
    predicted
        What theory says of the start before it is run; "" where no result applies.
    reason
        The result that says so.
    """

    start: np.ndarray
    forward: np.ndarray
    backward: np.ndarray
    fate: str
    predicted: str
    reason: str


def orbit(
    plane: Plane, start: tuple[float, float], u_range: tuple[float, float], v_range: tuple[float, float]
) -> Orbit:
    """Follow the flow of a plane from a start, forwards until its fate is decided and backwards out of the window.

    Parameters
    ----------
    plane
        A plane of `analysis.phase_planes.planes`.
    start
        (u, v), finite.
    u_range, v_range
        The window, smaller bound first; the past is followed to half a window beyond it.

    Raises
    ------
    ValueError
        The start is not two finite numbers, or the window is empty.

    Notes
    -----
    Forwards it is the run of `dyn simulate`. Sources: those of `analysis.fates.predictions.predict_fates`.

    Examples
    --------
    >>> from analysis.phase_planes.planes import tied_plane
    >>> from dynamics.system import ModeSystem
    >>> found = orbit(tied_plane(ModeSystem(1.0, 0.5)), (0.2, 0.1), (-1, 1), (-1, 1))
    >>> found.fate, found.predicted, found.forward[-1].round(3).tolist()
    ('learned', 'learned', [0.5, 0.5])
    """
    window = checked_window(u_range, v_range)
    place = np.asarray(start, dtype=np.float64)
    if place.shape != (2,) or not np.all(np.isfinite(place)):
        raise ValueError(f"`start` must be two finite numbers, got {tuple(np.ravel(place).tolist())}")
    state = ModeState(*np.broadcast_arrays(*plane.embed(place[:1], place[1:])))
    run = simulate_modes(state, plane.system, plane.vector_field)
    shown = run.trajectory.resampled(_POINTS)
    forward = np.stack([np.ravel(part) for part in plane.coordinates(shown.states)], axis=-1)
    return Orbit(
        place,
        forward,
        _past(plane, place, window),
        str(run.fate[0]),
        str(run.prediction.fate[0]),
        str(run.prediction.reason[0]),
    )


def _past(plane: Plane, start: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Points before a start, latest first, as far as `BEYOND` times the window."""
    middle, half = np.mean(window, axis=1), np.ptp(window, axis=1) / 2
    return followed_back(
        lambda x: np.array([float(rate) for rate in plane(*x)]),
        start,
        lambda x: BEYOND - float(np.max(np.abs(x - middle) / half)),
        natural_time(plane.system),
    )


def followed_back(
    rate: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    inside: Callable[[np.ndarray], float],
    natural: float,
) -> np.ndarray:
    """Follow a flow backwards from a start, dy/ds = −rate(y), until it leaves a region or long enough.

    Parameters
    ----------
    rate
        The flow.
    start
        Where it begins, shape (n,).
    inside
        Above 0 within the region.
    natural
        Unit of time of the flow; 200 of them are followed.

    Returns
    -------
    array (k, n)
        Points, the start first; only the start where that is outside or at rest.

    Examples
    --------
    >>> path = followed_back(lambda y: -y, np.array([1.0]), lambda y: 2.0 - abs(y[0]), 1.0)
    >>> path[[0, -1]].round(6).tolist()
    [[1.0], [2.0]]
    """
    from scipy.integrate import solve_ivp

    def back(t: float, y: np.ndarray) -> np.ndarray:
        return -rate(y)

    def leaves(t: float, y: np.ndarray) -> float:
        return inside(y)

    if inside(start) <= 0 or not np.any(rate(start)):
        return start[None]
    leaves.terminal = True  # type: ignore[attr-defined]
    found = solve_ivp(
        back,
        (0.0, _PAST * natural),
        start,
        method="LSODA",
        events=leaves,
        rtol=1e-8,
        atol=1e-10,
        dense_output=True,
    )
    # times of the integrator's own steps, and as many between them as a smooth curve needs
    last = len(found.t) - 1
    times = np.interp(np.linspace(0, last, _POINTS), np.arange(last + 1), found.t)
    points: np.ndarray = found.sol(times).T
    return points
