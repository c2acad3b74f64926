"""What is drawn of a view: pure functions of it that return arrays and sentences, and know nothing of the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from analysis.fates.basins import FATES, follow_starts
from analysis.fixed_points.bifurcations import bifurcation
from analysis.fixed_points.diagrams import Bifurcation
from analysis.fixed_points.one_mode import LEAVES, FixedPoints, fixed_points
from analysis.phase_planes.planes import ON_LEAVES, Plane, fixed_target_plane, plane_of_variant
from analysis.phase_planes.portraits import Portrait, phase_portrait, rest_lines
from dynamics.objectives import OBJECTIVES
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from figures.explorer.runs import Run, run_of
from figures.explorer.state import LEAF_PLANE, MOST_KEPT, STEPS, WEIGHTS_PLANE, View

CELLS = (20, 60, 180)
"""Cells a side of the lattice of starts, coarse to fine: by an odd factor, so that centres of cells are kept."""

_AT_ONCE = 2000  # starts that are followed before anybody is asked whether to go on
_CURVE = 400
_LEFT_OF_RANGE, _AROUND = 1e-3, 2.0


# --- the plane ----------------------------------------------------------------------------------------------


def plane_of(view: View) -> Plane:
    """Plane that a view is drawn in; the slice θ = const of the full flow in (w1, w2) is the plane of that target.

    >>> plane_of(View(plane="leaf", weight_decay=0.01)).name
    'balanced sheet, w1 w2 > 0'
    """
    if is_slice(view):
        return fixed_target_plane(view.system, view.target)
    invariant = 0.0 if view.weight_decay else view.invariant
    return plane_of_variant(view.variant, view.system, invariant=invariant, target=view.target)


def is_slice(view: View) -> bool:
    """Whether trajectories leave the plane that is drawn: (w1, w2) of a flow whose θ moves by itself."""
    return view.variant in ON_LEAVES and view.plane == WEIGHTS_PLANE


def start_at(view: View, u: float, v: float) -> View:
    """Return the view whose start is the point (u, v) of its plane.

    >>> start_at(View(plane="leaf", invariant=-0.09), 0.4, 0.2).predictor
    0.5
    """
    if is_slice(view):
        return replace(view, online=float(u), predictor=float(v))
    place = plane_of(view).embed(np.array([float(u)]), np.array([float(v)]))
    moved = view.field.constrain(0.0, place, view.system)
    return view.with_start(ModeState(*(np.broadcast_to(part, (1,)) for part in moved)))


def rest_of(view: View) -> FixedPoints:
    """Fixed points of the flow on the plane of a view, or of the whole flow where that is a slice."""
    named: dict[str, Any] = {}
    if view.variant == "fixed-target":
        named["target"] = view.target
    if view.variant in LEAVES and view.shown_plane == LEAF_PLANE and not view.weight_decay:
        named["invariant"] = view.invariant
    return fixed_points(view.system, view.variant, **named)


def portrait_of(view: View, *, manifolds: bool = False) -> Portrait:
    """Arrows, nullclines and fixed points in the window, with separatrices if asked for.

    Where the plane is a slice, fixed points are those of the whole flow, seen along θ.
    """
    plane, window = plane_of(view), (-view.extent, view.extent)
    if not is_slice(view):
        found = phase_portrait(plane, window, window, rest_of(view), manifolds=manifolds)
        if view.variant == "fast-predictor":  # dw1/dt = 0 everywhere (R21)
            found = replace(
                found, nullclines=(found.nullclines[0]._replace(branches=[]), found.nullclines[1])
            )
        return found
    rest = rest_of(view)
    bounds = np.array([window, window])
    kept = [point for point in rest.points if max(abs(point.online), abs(point.predictor)) <= view.extent]
    return replace(
        phase_portrait(plane, window, window, manifolds=False),
        name=f"slice θ = {view.target:g}",
        points=np.array([[point.online, point.predictor] for point in kept]).reshape(-1, 2),
        stability=tuple(point.stability for point in kept),
        lines=tuple(
            part
            for line in rest.lines
            for part in rest_lines(line, bounds, lambda state: (state.online, state.predictor))
        ),
    )


def curves_of(view: View) -> dict[str, list[np.ndarray]]:
    """Curves over the plane (w1, w2): the leaf of c, and the boundary of collapse that R6 proves.

    Returns
    -------
    dict
        "leaf" and "boundary": polylines of shape (k, 2); none where there is no such curve.
    """
    found: dict[str, list[np.ndarray]] = {"leaf": [], "boundary": []}
    if view.shown_plane != WEIGHTS_PLANE or view.weight_decay or view.variant == "no-stop-gradient":
        return found
    system, w1 = view.system, np.linspace(-view.extent, view.extent, 2 * _CURVE + 1)
    to, tp = float(np.squeeze(system.tau_online)), float(np.squeeze(system.tau_predictor))
    found["leaf"] = _level(w1, to, tp, view.invariant)
    ls, ld = float(system.lambda_s[0]), float(system.lambda_d[0])
    if view.variant != "fixed-target" and ls > 0 and ld != 0 and not view.step:
        side = 1.0 if ld > 0 else -1.0
        upper = np.sqrt((to * w1**2 + tp * (ld / ls) ** 2) / tp)
        lower = -np.sqrt(to / tp) * np.abs(w1)
        found["boundary"] = [np.column_stack([w1, side * upper]), np.column_stack([w1, side * lower])]
    return found


def _level(w1: np.ndarray, to: float, tp: float, c: float) -> list[np.ndarray]:
    """Both branches of τo w1² − τp w2² = c."""
    if c <= 0:
        w2 = np.sqrt((to * w1**2 - c) / tp)
        return [np.column_stack([w1, w2]), np.column_stack([w1, -w2])]
    w2 = w1
    w1 = np.sqrt((c + tp * w2**2) / to)
    return [np.column_stack([w1, w2]), np.column_stack([-w1, w2])]


# --- basins -------------------------------------------------------------------------------------------------


class Lattice(NamedTuple):
    """Fates of starts at the centres of n × n cells of the window.

    Parameters
    ----------
    fate
        Index into `analysis.fates.basins.FATES`, shape (n, n), rows along v.
    negative
        Whether w1 ends negative, shape (n, n).
    start
        w1, w2, θ of the starts, each of shape (n, n).
    """

    fate: np.ndarray
    negative: np.ndarray
    start: ModeState


def lattice_of(view: View, cells: int, superseded: Callable[[], bool] = lambda: False) -> Lattice | None:
    """Follow a start in the middle of every cell of the window; on a leaf all starts are on that leaf.

    Parameters
    ----------
    view, cells
        What is shown, and cells a side.
    superseded
        Asked from time to time whether nobody waits for the answer any more.

    Returns
    -------
    Lattice, or None
        None once `superseded` says so.

    Examples
    --------
    >>> lattice_of(View(), 2).fate.tolist()
    [[1, 1], [0, 0]]
    """
    share = (np.arange(cells) + 0.5) / cells
    centres = -view.extent * (1 - share) + view.extent * share
    u, v = (part.ravel() for part in np.meshgrid(centres, centres))
    system, field = view.system, view.field
    place = ModeState(u, v, np.full(u.shape, view.target)) if is_slice(view) else plane_of(view).embed(u, v)
    start = field.constrain(0.0, place, system)
    start = ModeState(*(np.array(np.broadcast_to(part, u.shape), dtype=np.float64) for part in start))
    fate, negative = np.empty(u.shape, dtype=np.uint8), np.empty(u.shape, dtype=bool)
    for first in range(0, u.size, _AT_ONCE):
        if superseded():
            return None
        band = slice(first, first + _AT_ONCE)
        ends = follow_starts(ModeState(*(part[band] for part in start)), system, field)
        fate[band], negative[band] = ends.fate, ends.final.online < 0
    shape = (cells, cells)
    return Lattice(
        fate.reshape(shape), negative.reshape(shape), ModeState(*(part.reshape(shape) for part in start))
    )


def shares(lattice: Lattice) -> str:
    """Share of each fate, in words.

    >>> start = ModeState(np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 2)))
    >>> shares(Lattice(np.array([[0, 1]]), np.zeros((1, 2), dtype=bool), start))
    '50.0% learned, 50.0% collapsed'
    """
    counts = np.bincount(lattice.fate.ravel(), minlength=len(FATES)) / lattice.fate.size
    return ", ".join(f"{share:.1%} {fate}" for fate, share in zip(FATES, counts, strict=True) if share)


# --- bifurcation --------------------------------------------------------------------------------------------


def range_of(view: View) -> tuple[float, float]:
    """Range of the parameter of the diagram, around its value in the view.

    >>> range_of(View(parameter="invariant"))
    (-1.0, 1.0)
    """
    value = parameter_value(view)
    if view.parameter == "invariant":
        size = max(1.0, _AROUND * abs(value))
        return -size, size
    if view.parameter == "lambda-d":
        size = max(abs(value), view.lambda_s)
        return -size, size
    if view.parameter == "weight-decay":
        ls, ld = float(view.system.lambda_s[0]), float(view.system.lambda_d[0])
        fold = ld**2 / (4 * view.tau_online * ls) if ls > 0 else 0.0
        return 0.0, max(_AROUND * value, _AROUND * fold, _LEFT_OF_RANGE)
    return _LEFT_OF_RANGE * value if value else _LEFT_OF_RANGE, _AROUND * value if value else 1.0


def parameter_value(view: View) -> float:
    """Value in the view of what moves in its diagram."""
    return float(getattr(view, view.parameter.replace("-", "_")))


def diagram_of(view: View) -> Bifurcation | str:
    """Bifurcation diagram of the full flow as the parameter of the view moves, or a sentence why there is none."""
    if view.variant not in ON_LEAVES:
        return f"Diagrams are known for the full flow; {view.variant} has none."
    if view.step:
        return "The diagram is that of the flow; for one over steps use dyn bifurcation --parameter step."
    decays = view.weight_decay > 0
    if view.parameter == "invariant" and decays:
        return "Weight decay takes c to 0: the invariant is no parameter here. Choose another, or η = 0."
    base = ModeSystem(
        view.lambda_s,
        view.lambda_d,
        **{
            name: getattr(view, name)
            for name in ("tau_online", "tau_predictor", "tau_target", "weight_decay")
        },
    )
    moves_c = view.parameter in ("invariant", "weight-decay")
    weights = {name: getattr(view, name) for name in OBJECTIVES[view.objective].weights}
    try:
        return bifurcation(
            base,
            view.parameter,
            range_of(view),
            invariant=None if decays or moves_c else view.invariant,
            objective=view.objective,
            **weights,
        )
    except ValueError as error:  # the range holds a value at which every state is at rest
        return f"No diagram over this range: {error}."


# --- all of it ----------------------------------------------------------------------------------------------


class Frame(NamedTuple):
    """What a page shows at once; separatrices, finer cells and the diagram follow.

    Parameters
    ----------
    view, portrait, curves, lattice, run
        As of `portrait_of`, `curves_of`, `lattice_of` and `run_of`; no lattice where it was not asked for.
    kept
        Frozen trajectories.
    """

    view: View
    portrait: Portrait
    curves: dict[str, list[np.ndarray]]
    lattice: Lattice | None
    run: Run
    kept: tuple[Run, ...]


@lru_cache(maxsize=4 * MOST_KEPT)
def _kept_run(view: View) -> Run:
    return run_of(view)


def frame_of(view: View, *, cells: int | None = CELLS[0], manifolds: bool = False) -> Frame:
    """All that a view shows at once.

    Raises
    ------
    ValueError
        The view has no such picture, as where λs = λd = 0; the message says why.

    Examples
    --------
    >>> frame_of(View(), cells=None).run.report["fate"]
    'learned'
    """
    return Frame(
        view,
        portrait_of(view, manifolds=manifolds),
        curves_of(view),
        None if cells is None else lattice_of(view, cells),
        run_of(view),
        tuple(map(_kept_run, view.kept)),
    )


# --- sentences ----------------------------------------------------------------------------------------------


def notes_of(view: View) -> list[str]:
    """What has to be known of the picture: what the plane is, and what it does not show.

    >>> notes_of(View(variant="fast-predictor"))[1]
    'w1 stands still everywhere (R21), so it has no nullcline here.'
    """
    notes = []
    if is_slice(view):
        notes.append(
            f"(w1, w2) is the slice θ = {view.target:g} of a flow in three dimensions: arrows and nullclines are those"
            " of the slice, which trajectories leave; fixed points of the whole flow are seen along θ. The slice has no"
            " separatrices of its own: shades show where starts end."
        )
    elif view.shown_plane == WEIGHTS_PLANE:
        notes.append(f"The flow of {view.variant} closes in (w1, w2): the plane is exact.")
    elif view.variant in ON_LEAVES and view.weight_decay:
        notes.append(
            "Under weight decay leaves do not last: c falls to 0. The balanced sheet c = 0, on which runs end, is"
            " shown."
        )
    elif view.variant in ON_LEAVES:
        notes.append(
            f"The leaf τo w1² − τp w2² = {view.invariant:g} is an exact phase plane, with coordinates"
            f" ({', '.join(plane_of(view).axes)}); a start that is clicked lies on it."
        )
    else:
        notes.append(f"The variant {view.variant} sets w2 itself, so the plane is (w1, θ), and it is exact.")
    if view.variant == "fast-predictor":
        notes.append("w1 stands still everywhere (R21), so it has no nullcline here.")
    if view.step:
        notes.append(
            f"The trajectory takes {STEPS} steps of size {view.step:g}; steps have no unique past. Arrows, shades and"
            " fixed points are those of the flow, which steps follow as ε → 0."
        )
    if not on_plane(view, view.start):
        notes.append("The start is not on the plane that is drawn: its trajectory is seen in projection.")
    return notes


_ON_PLANE = 1e-6


def on_plane(view: View, start: ModeState) -> bool:
    """Whether a start lies on the plane that is drawn, to what is seen."""
    return plane_distance(view, start) <= _ON_PLANE * view.extent


def plane_distance(view: View, start: ModeState) -> float:
    """Largest difference of a weight between a start and the point of the plane below it; 0 in a slice."""
    if is_slice(view):
        return 0.0
    plane = plane_of(view)
    u, v = (np.ravel(part) for part in plane.coordinates(start))
    foot = view.field.constrain(0.0, plane.embed(u, v), view.system)
    gaps = [np.max(np.abs(np.ravel(a) - np.ravel(b))) for a, b in zip(foot, start, strict=True)]
    largest = float(np.max(gaps))
    return largest if np.isfinite(largest) else np.inf  # NaN: the plane has no point there
