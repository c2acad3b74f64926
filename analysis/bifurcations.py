"""Where the fixed points of one mode change number or stability as one parameter moves.

On a line of fixed points nothing is isolated, so the flow is reduced first: at η = 0 to a leaf of constant
c = τo w1² − τp w2², at η > 0 to the balanced sheet τo w1² = τp w2² on which every trajectory ends. There the
branches are known in closed form against η and c (R15, R5); against other parameters they are followed by
pseudo-arclength continuation, which finds the same points without being told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from analysis.fixed_points import fixed_points
from analysis.stability import Verdict, classify
from dynamics.mode_fixed_points import leaf_eigenvalues, saddle_node
from dynamics.system import ModeSystem

Method = Literal["auto", "closed form", "continuation"]
Objective = Literal["byol", "byol-prime", "raft"]
Kind = Literal["saddle-node", "branch-point", "hopf"]

PARAMETERS = {
    "lambda-s": -np.inf,
    "lambda-d": -np.inf,
    "tau-online": 0.0,
    "tau-predictor": 0.0,
    "tau-target": 0.0,
    "weight-decay": 0.0,
    "invariant": -np.inf,
    "alpha": 0.0,
    "beta": 0.0,
}
"""Parameters that can move, and what their range must lie above; weight-decay and alpha may start at 0."""

LONGEST_STEP = 0.02  # of arclength, in units of the range and of the largest weight
SHORTEST_STEP = 1e-9
MAX_POINTS = 5000
SEEDS = (0.001, 0.2137, 0.4519, 0.6871, 0.999)  # places in the range where continuation looks for branches
LOCATED = 1e-6  # special points closer than this are one, as Newton's method finds each to some 1e-12


class SpecialPoint(NamedTuple):
    """A bifurcation.

    Parameters
    ----------
    type
        "saddle-node", "branch-point" (pitchfork or transcritical, see `note`) or "hopf".
    parameter, value
        Name of the parameter, and where it happens.
    online, predictor, target
        The fixed point, w1, w2, θ.
    note
        More about it, in words.
    """

    type: Kind
    parameter: str
    value: float
    online: float
    predictor: float
    target: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class Branch:
    """A curve of fixed points, in order along it; special points on it are among its points.

    Parameters
    ----------
    name
        "origin", "collapsed" (w1 = 0) or "learned"; in closed form "lower" and "upper" for w2 = p− and p+, and
        "collapsed-positive" and "-negative" for the sign of w2; "-mirror" for the other sign of w1.
    value
        The parameter, shape (n,).
    online, predictor, target
        w1, w2, θ, shape (n,).
    eigenvalues
        On the leaf or the balanced sheet, shape (n, 2), complex.
    stability
        "stable", "saddle", "unstable" or "degenerate" at every point.
    complete
        False where continuation could not go on, in spite of short steps, before the range ended.
    """

    name: str
    value: np.ndarray
    online: np.ndarray
    predictor: np.ndarray
    target: np.ndarray
    eigenvalues: np.ndarray
    stability: tuple[Verdict, ...]
    complete: bool = True


@dataclass(frozen=True, eq=False)
class Bifurcation:
    """Branches of fixed points over a range of one parameter, and the points where they change.

    Parameters
    ----------
    parameter, interval
        What moves, and from where to where.
    method
        "closed form" or "continuation".
    branches, points
        Everything found; points by ascending value.
    """

    parameter: str
    interval: tuple[float, float]
    method: Method
    branches: tuple[Branch, ...]
    points: tuple[SpecialPoint, ...]

    def report(self) -> dict[str, Any]:
        """Return plain values, as `dyn bifurcation --json` prints them."""
        columns = ("value", "online", "predictor", "target")
        return {
            "parameter": self.parameter,
            "interval": list(self.interval),
            "method": self.method,
            "branches": [
                {
                    "name": branch.name,
                    **{column: getattr(branch, column).tolist() for column in columns},
                    "eigenvalues": np.stack([branch.eigenvalues.real, branch.eigenvalues.imag], -1).tolist(),
                    "stability": list(branch.stability),
                    "complete": branch.complete,
                }
                for branch in self.branches
            ],
            "points": [point._asdict() for point in self.points],
        }


# --- the family of fixed points -----------------------------------------------------------------------------


class _Letters(NamedTuple):
    ls: Any
    ld: Any
    to: Any
    tp: Any
    tt: Any
    eta: Any
    c: Any
    alpha: Any
    beta: Any


@dataclass(frozen=True)
class _Family:
    """Fixed points with θ = w1 as zeros of two equations, in z = (w1/unit, w2/unit, place in the range)."""

    base: _Letters
    parameter: str
    interval: tuple[float, float]
    objective: Objective
    balanced: bool
    unit: float = 1.0

    def value(self, z: Any) -> Any:
        lo, hi = self.interval
        return lo + (hi - lo) * z[2]

    def letters(self, value: Any) -> _Letters:
        names = (*PARAMETERS,)  # in the order of the letters
        q = self.base._replace(**{_Letters._fields[names.index(self.parameter)]: value})
        if self.objective == "byol":
            return q
        beta = q.beta if self.objective == "byol-prime" else -q.beta
        return q._replace(ls=2 * q.alpha * (q.ls - q.ld) + beta * q.ls, ld=beta * q.ls)  # R24, R26

    def equations(self, z: Any) -> Any:
        """At η = 0, e and the leaf; at η > 0, dw1/dt and the balanced sheet. z may be complex."""
        w1, w2 = self.unit * z[0], self.unit * z[1]
        q = self.letters(self.value(z))
        if self.balanced:
            return np.array([w1 * (w2 * (q.ld - q.ls * w2) - q.eta * q.to), w1 - np.sqrt(q.tp / q.to) * w2])
        return np.array([w1 * (q.ld - q.ls * w2), q.to * w1**2 - q.tp * w2**2 - q.c])

    def jacobian(self, z: np.ndarray) -> np.ndarray:
        """Derivative of the equations, shape (2, 3), by the complex step: exact to rounding."""
        return np.stack([self.equations(z + 1e-100j * unit).imag / 1e-100 for unit in np.eye(3)], axis=1)

    def gains(self, z: np.ndarray) -> tuple[Any, Any, Any]:
        """β and γ of `leaf_eigenvalues`, and τt."""
        w1, w2 = self.unit * z[0], self.unit * z[1]
        q = self.letters(self.value(z))
        beta = w2 * q.ld / q.to
        if self.balanced:
            return beta, 3 * q.ls * w2**2 / q.to + q.eta - 2 * beta, q.tt
        return beta, q.ls * (w2**2 / q.to + w1**2 / q.tp) - beta, q.tt

    def trace(self, z: np.ndarray) -> float:
        """Trace on the leaf or sheet: with a positive determinant, a Hopf bifurcation where it vanishes."""
        beta, gamma, tt = self.gains(z)
        return float(-(beta + gamma + 1 / tt))

    def seeds(self, place: float) -> list[np.ndarray]:
        """Fixed points at one place in the range."""
        q = self.letters(self.value((0.0, 0.0, place)))
        system = _system(q)
        points = fixed_points(system, invariant=None if self.balanced else float(q.c)).points
        found = [np.array([point.online / self.unit, point.predictor / self.unit, place]) for point in points]
        # of the two balanced sheets one is followed, and the other is its mirror image
        return [z for z in found if not self.balanced or z[0] * z[1] >= 0]


def _system(q: _Letters) -> ModeSystem:
    return ModeSystem(q.ls, q.ld, tau_online=q.to, tau_predictor=q.tp, tau_target=q.tt, weight_decay=q.eta)


# --- pseudo-arclength continuation --------------------------------------------------------------------------


class _Event(NamedTuple):
    type: Kind
    z: np.ndarray
    tangent: np.ndarray  # of the path that met it


@dataclass(eq=False)
class _Path:
    points: list[np.ndarray]
    events: list[_Event] = field(default_factory=list)
    complete: bool = True


def _newton(function: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> np.ndarray | None:
    """Zero of a function near a start, by Newton's method with central differences; None if there is none."""
    u, step = start, np.inf
    for _ in range(60):
        h = 1e-6
        slopes = [(function(u + h * unit) - function(u - h * unit)) / (2 * h) for unit in np.eye(u.size)]
        move = np.linalg.lstsq(np.stack(slopes, axis=1), function(u), rcond=None)[0]
        u, previous, step = u - move, step, float(np.linalg.norm(move))
        if not step < 10:
            return None
        if step < 1e-14 or (step < 1e-11 and step >= previous):
            break
    return u if np.max(np.abs(function(u))) < 1e-11 else None


def _tangent(family: _Family, z: np.ndarray) -> np.ndarray:
    """Direction of the curve times the area that the two equations span: 0 at a branch point."""
    return np.cross(*family.jacobian(z))


def _unit(v: np.ndarray, along: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v) * (1.0 if v @ along >= 0 else -1.0)


def _trace(family: _Family, start: np.ndarray, direction: np.ndarray) -> _Path:
    """Follow a curve from a start to the end of the range, or to the start again."""
    path = _Path([start])
    z, t, h, side = start, direction, LONGEST_STEP / 4, 0.0
    while len(path.points) < MAX_POINTS and h > SHORTEST_STEP:
        new = _corrected(family, z + h * t, t)
        if new is None or np.linalg.norm(new - z - h * t) > h / 2:
            h /= 2
            continue
        cross = _tangent(family, new)
        t_new = _unit(cross, t)
        if t_new @ t < 0.95:
            h /= 2
            continue
        if not 0 <= new[2] <= 1:
            end = _landing(family, z, new)
            path.points.append(end)
            path.events += _events_at_end(family, end, t_new)
            return path
        side_new = float(cross @ t_new)
        for kind in _changes(family, z, t, side, new, t_new, side_new):
            event = _located(family, kind, (z + new) / 2, t)
            path.complete &= event is not None
            if event is not None and (kind != "hopf" or family.gains(event.z)[1] > 0):
                path.events.append(event)
                path.points.append(event.z)
        z, t, h, side = new, t_new, min(1.5 * h, LONGEST_STEP), side_new
        path.points.append(z)
        if len(path.points) > 9 and np.linalg.norm(z - start) < h and t @ direction > 0.9:
            return path
    path.complete = False
    return path


def _corrected(family: _Family, guess: np.ndarray, t: np.ndarray) -> np.ndarray | None:
    """Bring a guess to the curve at a right angle to t."""
    return _newton(lambda z: np.append(family.equations(z), (z - guess) @ t), guess)


def _landing(family: _Family, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Where a curve leaves the range."""
    end = 0.0 if outside[2] < 0 else 1.0
    guess = inside + (end - inside[2]) / (outside[2] - inside[2]) * (outside - inside)
    x = _newton(lambda x: family.equations(np.append(x, end)), guess[:2])
    return np.append(guess[:2] if x is None else x, end)


def _changes(
    family: _Family,
    z: np.ndarray,
    t: np.ndarray,
    side: float,
    new: np.ndarray,
    t_new: np.ndarray,
    side_new: float,
) -> list[Kind]:
    """Kinds of special points that a step has passed, by the signs of their test functions."""
    kinds: list[Kind] = []
    if side * side_new < 0:
        kinds.append("branch-point")
    elif t[2] * t_new[2] < 0:
        kinds.append("saddle-node")
    if family.trace(z) * family.trace(new) < 0:
        kinds.append("hopf")
    return kinds


def _located(family: _Family, kind: Kind, guess: np.ndarray, t: np.ndarray) -> _Event | None:
    """Solve for a special point: the equations, and what makes it special."""
    U, _, Vt = np.linalg.svd(family.jacobian(guess)[:, :2])

    def branch_point(u: np.ndarray) -> np.ndarray:
        z, psi, b = (
            u[:3],
            u[3:5],
            u[5],
        )  # b ψ unfolds the equations, whose derivative has a left null vector ψ
        return np.concatenate([family.equations(z) + b * psi, psi @ family.jacobian(z), [psi @ psi - 1]])

    def fold(u: np.ndarray) -> np.ndarray:
        z, phi = u[:3], u[3:]  # the derivative by w1 and w2 alone has a null vector φ
        return np.concatenate([family.equations(z), family.jacobian(z)[:, :2] @ phi, [phi @ phi - 1]])

    match kind:
        case "branch-point":
            u = _newton(branch_point, np.concatenate([guess, U[:, -1], [0.0]]))
        case "saddle-node":
            u = _newton(fold, np.concatenate([guess, Vt[-1]]))
        case "hopf":
            u = _newton(lambda z: np.append(family.equations(z), family.trace(z)), guess)
    if u is None or np.linalg.norm(u[:3] - guess) > 4 * LONGEST_STEP:
        return None
    return _Event(kind, u[:3], t)


def _events_at_end(family: _Family, end: np.ndarray, t: np.ndarray) -> list[_Event]:
    """Special point on the very border of the range, where no sign can change any more."""
    singular = np.linalg.svd(family.jacobian(end), compute_uv=False)
    kinds: list[Kind] = []
    if singular[1] < 1e-3 * singular[0]:
        kinds.append("branch-point")
    elif abs(t[2]) < 1e-3:
        kinds.append("saddle-node")
    events = [_located(family, kind, end, t) for kind in kinds]
    return [event for event in events if event is not None and np.linalg.norm(event.z - end) < LOCATED]


def _directions(family: _Family, z: np.ndarray) -> list[np.ndarray]:
    """Tangents of the two curves through a branch point, from the quadratic form ψᵀ J' on the null space of J."""
    U, _, Vt = np.linalg.svd(family.jacobian(z))
    psi, null = U[:, -1], Vt[1:]
    h = 1e-6
    form = np.array(
        [psi @ (family.jacobian(z + h * n) - family.jacobian(z - h * n)) @ null.T / (2 * h) for n in null]
    )
    discriminant = form[0, 1] ** 2 - form[0, 0] * form[1, 1]
    if discriminant <= 0:
        return []
    # of a x² + 2 b x y + d y² = 0 with the roots written so that neither cancels
    q = -(form[0, 1] + np.copysign(np.sqrt(discriminant), form[0, 1]))
    roots = np.array([[q, form[0, 0]], [form[1, 1], q]]) @ null
    return [root / np.linalg.norm(root) for root in roots]


def _holds(family: _Family, path: _Path, z: np.ndarray) -> bool:
    """Whether a path runs through a fixed point."""
    for a, b in pairwise(path.points):
        if (a[2] - z[2]) * (b[2] - z[2]) <= 0:
            share = (z[2] - a[2]) / (b[2] - a[2]) if a[2] != b[2] else 0.0
            x = _newton(lambda x: family.equations(np.append(x, z[2])), (a + share * (b - a))[:2])
            if x is not None and np.linalg.norm(x - z[:2]) < LOCATED:
                return True
    return False


def _all_paths(family: _Family) -> list[_Path]:
    """Follow every branch that meets a seed, and at branch points the one that crosses it."""
    paths: list[_Path] = []
    passed: list[tuple[np.ndarray, np.ndarray]] = []  # branch points, with the tangents of paths through them
    starts: list[tuple[np.ndarray, np.ndarray | None]] = [
        (seed, None) for place in SEEDS for seed in family.seeds(place)
    ]
    while starts:
        z, direction = starts.pop(0)
        if direction is None:
            if any(_holds(family, path, z) for path in paths):
                continue
            cross = _tangent(family, z)
            direction = cross / np.linalg.norm(cross)
        elif any(np.linalg.norm(z - at) < LOCATED and abs(direction @ t) > 0.9 for at, t in passed):
            continue
        else:
            passed.append((z, direction))
        there, back = _trace(family, z, direction), _trace(family, z, -direction)
        path = _Path(
            [*back.points[:0:-1], *there.points],
            [*back.events, *there.events],
            back.complete and there.complete,
        )
        paths.append(path)
        for event in path.events:
            if event.type == "branch-point":
                tangents = sorted(_directions(family, event.z), key=lambda t: abs(t @ event.tangent))
                starts += [(event.z, tangents[0])] if tangents else []
                passed.append((event.z, tangents[-1] if tangents else event.tangent))
    return paths


def _continued(family: _Family) -> tuple[list[Branch], list[SpecialPoint]]:
    branches, points = [], []
    known: list[_Event] = []
    for path in _all_paths(family):
        z = np.array(path.points)
        w1, w2 = family.unit * z[:, 0], family.unit * z[:, 1]
        branches.append(_branch(family, "", family.value(z.T), w1, w2, path.complete))
        for event in path.events:
            if not any(np.linalg.norm(event.z - other.z) < LOCATED for other in known):
                known.append(event)
                points.append(...)
    return branches, points
