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
Status = Literal["complete", "escaped", "stalled"]

_MOMENTS, _TIMES = ("lambda-s", "lambda-d"), ("tau-online", "tau-predictor", "tau-target")
PARAMETERS = (*_MOMENTS, *_TIMES, "weight-decay", "invariant", "alpha", "beta")
"""What can move."""

LONGEST_STEP, SHORTEST_STEP = 0.02, 1e-9  # of arclength, in units of the range and of the largest weight
MAX_POINTS, ESCAPED = 5000, 10.0
SEEDS = (1e-5, 1e-3, 0.2137, 0.4519, 0.6871, 0.999, 0.99999)  # places in the range to start branches from
LOCATED = 1e-6  # points closer than this are one; Newton's method finds each to some 1e-12

CONE = "the sheets of the leaf touch here: collapsed saddle (w2 > 0) and sink (w2 < 0) meet and vanish"


class SpecialPoint(NamedTuple):
    """A bifurcation.

    Parameters
    ----------
    type, note
        "saddle-node", "branch-point" or "hopf", and more in words, such as "pitchfork" or "transcritical".
    parameter, value, online, predictor, target
        Name and value of the parameter where it happens, and the fixed point, w1, w2, θ.
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
        "origin", "collapsed" (w1 = 0) or "learned"; in closed form "lower" and "upper" for w2 = p− and p+,
        "collapsed-positive" and "-negative" for the sign of w2; "-mirror" for the other sign of w1.
    value, online, predictor, target
        The parameter and w1, w2, θ, shape (n,).
    eigenvalues
        On the leaf or the balanced sheet, shape (n, 2), complex.
    stability
        "stable", "saddle", "unstable" or "degenerate" at every point.
    status
        "complete": to the ends of the range, or closed. "escaped": weights grew `ESCAPED`-fold. "stalled":
        continuation found no next point, or could not solve for a special point, or ran out of points.
    """

    name: str
    value: np.ndarray
    online: np.ndarray
    predictor: np.ndarray
    target: np.ndarray
    eigenvalues: np.ndarray
    stability: tuple[Verdict, ...]
    status: Status = "complete"


@dataclass(frozen=True, eq=False)
class Bifurcation:
    """Branches of fixed points over a range of one parameter, and the points where they change.

    Parameters
    ----------
    parameter, interval, method
        What moves, from where to where, and whether by "closed form" or "continuation".
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
        branches = [
            {
                "name": branch.name,
                **{column: getattr(branch, column).tolist() for column in columns},
                "eigenvalues": np.stack([branch.eigenvalues.real, branch.eigenvalues.imag], -1).tolist(),
                "stability": list(branch.stability),
                "status": branch.status,
            }
            for branch in self.branches
        ]
        head = {"parameter": self.parameter, "interval": list(self.interval), "method": self.method}
        return {**head, "branches": branches, "points": [point._asdict() for point in self.points]}


# --- the family of fixed points -----------------------------------------------------------------------------


class _Letters(NamedTuple):
    """In the order of `PARAMETERS`."""

    ls: Any
    ld: Any
    to: Any
    tp: Any
    tt: Any
    eta: Any
    c: Any
    alpha: Any = 1.0
    beta: Any = 1.0

    def system(self) -> ModeSystem:
        times = {"tau_online": self.to, "tau_predictor": self.tp, "tau_target": self.tt}
        return ModeSystem(self.ls, self.ld, weight_decay=self.eta, **times)


@dataclass(frozen=True)
class _Family:
    """Fixed points with θ = w1 as zeros of two polynomials in x, w2 and the place in the range.

    x is w1 on a leaf, and w1/sqrt(τp/τo) on the balanced sheet, where it equals w2. z = (x, w2, place)/units.
    """

    base: _Letters
    parameter: str
    interval: tuple[float, float]
    balanced: bool
    objective: Objective = "byol"
    units: tuple[float, float] = (1.0, 1.0)
    sizes: tuple[float, float] = (1.0, 1.0)
    largest: float = 1.0

    def value(self, z: Any) -> Any:
        lo, hi = self.interval
        return lo + (hi - lo) * z[2]

    def letters(self, value: Any) -> _Letters:
        q = self.base._replace(**{_Letters._fields[PARAMETERS.index(self.parameter)]: value})
        if self.objective == "byol":
            return q
        beta = q.beta if self.objective == "byol-prime" else -q.beta
        return q._replace(ls=2 * q.alpha * (q.ls - q.ld) + beta * q.ls, ld=beta * q.ls)  # R24, R26

    def weights(self, z: Any) -> tuple[Any, Any]:
        """w1 and w2 of points in the range."""
        q = self.letters(self.value(z))
        return self.units[0] * z[0] * (np.sqrt(q.tp / q.to) if self.balanced else 1.0), self.units[1] * z[1]

    def equations(self, z: Any) -> Any:
        """At η = 0, e and the leaf; at η > 0, dw1/dt and the balanced sheet. z may be complex."""
        x, w2 = self.units[0] * z[0], self.units[1] * z[1]
        q = self.letters(self.value(z))
        if self.balanced:
            pair = x * (w2 * (q.ld - q.ls * w2) - q.eta * q.to), x - w2
        else:
            pair = x * (q.ld - q.ls * w2), q.to * x**2 - q.tp * w2**2 - q.c
        return np.array(pair) / self.sizes

    def jacobian(self, z: np.ndarray) -> np.ndarray:
        """Derivative of the equations, shape (2, 3), by the complex step: exact to rounding."""
        return np.stack([self.equations(z + 1e-100j * unit).imag / 1e-100 for unit in np.eye(3)], axis=1)

    def gains(self, z: np.ndarray) -> tuple[Any, Any, Any]:
        """β and γ of `leaf_eigenvalues`, and τt."""
        x, w2 = self.units[0] * z[0], self.units[1] * z[1]
        q = self.letters(self.value(z))
        beta = w2 * q.ld / q.to
        if self.balanced:
            return beta, 3 * q.ls * w2**2 / q.to + q.eta - 2 * beta, q.tt
        return beta, q.ls * (w2**2 / q.to + x**2 / q.tp) - beta, q.tt

    def trace(self, z: np.ndarray) -> float:
        """Trace on the leaf or sheet, times τt: a Hopf bifurcation where it vanishes and γ > 0."""
        beta, gamma, tt = self.gains(z)
        return float(-(1 + tt * (beta + gamma)))

    def seeds(self) -> list[np.ndarray]:
        """Fixed points at some places in the range, of two balanced sheets on that with w1 w2 >= 0."""
        found = []
        for place in SEEDS:
            q = self.letters(self.value((0.0, 0.0, place)))
            for point in fixed_points(q.system(), invariant=None if self.balanced else float(q.c)).points:
                if not self.balanced or point.online * point.predictor >= 0:
                    x = point.predictor if self.balanced else point.online
                    found.append(np.array([x / self.units[0], point.predictor / self.units[1], place]))
        return found


# --- pseudo-arclength continuation --------------------------------------------------------------------------


class _Event(NamedTuple):
    """A special point, and the tangent of the path that met it."""

    type: Kind
    z: np.ndarray
    tangent: np.ndarray


@dataclass(eq=False)
class _Path:
    points: list[np.ndarray]
    events: list[_Event] = field(default_factory=list)
    status: Status = "complete"


def _newton(function: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> np.ndarray | None:
    """Zero of a function near a start, by Newton's method with central differences; None if there is none."""
    u, step, h = start, np.inf, 1e-6
    for _ in range(60):
        slopes = [(function(u + h * unit) - function(u - h * unit)) / (2 * h) for unit in np.eye(u.size)]
        move = np.linalg.lstsq(np.stack(slopes, axis=1), function(u), rcond=None)[0]
        u, previous, step = u - move, step, float(np.linalg.norm(move))
        if not step < 10:
            return None
        if step < 1e-14 or (step < 1e-11 and step >= previous):
            break
    return u if np.max(np.abs(function(u))) < 1e-11 else None


def _trace(family: _Family, start: np.ndarray, direction: np.ndarray) -> _Path:
    """Follow a curve from a start to the end of the range, or to the start again."""
    path = _Path([start])
    z, t, h, side = start, direction, LONGEST_STEP / 4, 0.0
    while len(path.points) < MAX_POINTS and h > SHORTEST_STEP:
        new = _corrected(family, z + h * t, t)
        if new is None or np.linalg.norm(new - z - h * t) > h / 2:
            h /= 2
            continue
        cross = np.cross(
            *family.jacobian(new)
        )  # along the curve; 0 at a branch point, turned round behind it
        side_new = float(cross @ t)
        t_new = np.copysign(1.0, side_new) * cross / np.linalg.norm(cross)
        if t_new @ t < 0.95:
            h /= 2
            continue
        if not 0 <= new[2] <= 1:
            end = _landing(family, z, new)
            path.points.append(end)
            path.events += _events_at_end(family, end, t_new)
            return path
        passed: dict[Kind, bool] = {
            "branch-point": side * side_new < 0,
            "saddle-node": side * side_new >= 0 and t[2] * t_new[2] < 0,
            "hopf": family.trace(z) * family.trace(new) < 0,
        }
        for kind in [kind for kind, change in passed.items() if change]:
            event = _located(family, kind, (z + new) / 2, t)
            if event is None:
                path.status = "stalled"
            elif kind != "hopf" or family.gains(event.z)[1] > 0:
                path.events.append(event)
                path.points.append(event.z)
        z, t, h, side = new, t_new, min(1.5 * h, LONGEST_STEP), side_new
        path.points.append(z)
        if len(path.points) > 9 and np.linalg.norm(z - start) < h and t @ direction > 0.9:
            return path
        if np.max(np.abs(z[:2] * family.units)) > ESCAPED * family.largest:
            path.status = "escaped"
            return path
    path.status = "stalled"
    return path


def _corrected(family: _Family, guess: np.ndarray, t: np.ndarray) -> np.ndarray | None:
    """Bring a guess to the curve at a right angle to t."""
    return _newton(lambda z: np.append(family.equations(z), (z - guess) @ t), guess)


def _at_place(family: _Family, guess: np.ndarray) -> np.ndarray | None:
    """Bring a guess to the curve at the same value of the parameter."""
    x = _newton(lambda x: family.equations(np.append(x, guess[2])), guess[:2])
    return None if x is None else np.append(x, guess[2])


def _landing(family: _Family, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Where a curve leaves the range."""
    end = 0.0 if outside[2] < 0 else 1.0
    guess = inside + (end - inside[2]) / (outside[2] - inside[2]) * (outside - inside)
    guess[2] = end
    landed = _at_place(family, guess)
    return guess if landed is None else landed


def _located(family: _Family, kind: Kind, guess: np.ndarray, t: np.ndarray) -> _Event | None:
    """Solve for a special point: the two equations, and what makes it special."""
    jacobian = family.jacobian(guess)

    def branch_point(u: np.ndarray) -> np.ndarray:
        z, psi, b = u[:3], u[3:5], u[5]  # the Jacobian has a left null vector ψ; b ψ unfolds the equations
        return np.concatenate([family.equations(z) + b * psi, psi @ family.jacobian(z), [psi @ psi - 1]])

    def fold(u: np.ndarray) -> np.ndarray:
        z, phi = u[:3], u[3:]  # the Jacobian in w1 and w2 alone has a null vector φ
        return np.concatenate([family.equations(z), family.jacobian(z)[:, :2] @ phi, [phi @ phi - 1]])

    match kind:
        case "branch-point":
            u = _newton(branch_point, np.concatenate([guess, np.linalg.svd(jacobian)[0][:, -1], [0.0]]))
        case "saddle-node":
            u = _newton(fold, np.concatenate([guess, np.linalg.svd(jacobian[:, :2])[2][-1]]))
        case "hopf":
            u = _newton(lambda z: np.append(family.equations(z), family.trace(z)), guess)
    if u is None or np.linalg.norm(u[:3] - guess) > 4 * LONGEST_STEP:
        return None
    return _Event(kind, u[:3], t)


def _events_at_end(family: _Family, end: np.ndarray, t: np.ndarray) -> list[_Event]:
    """Branch point on the very border of the range, where no sign can change any more."""
    singular = np.linalg.svd(family.jacobian(end), compute_uv=False)
    event = _located(family, "branch-point", end, t) if singular[1] < 1e-3 * singular[0] else None
    return [event] if event is not None and np.linalg.norm(event.z - end) < LOCATED else []


def _directions(family: _Family, z: np.ndarray) -> list[np.ndarray]:
    """Tangents of the two curves through a branch point: zeros of the form ψᵀ J' on the null space of J."""
    U, _, Vt = np.linalg.svd(family.jacobian(z))
    psi, null, h = U[:, -1], Vt[1:], 1e-6
    slopes = [(family.jacobian(z + h * n) - family.jacobian(z - h * n)) / (2 * h) for n in null]
    (a, b), (_, d) = (psi @ slope @ null.T for slope in slopes)
    if b**2 - a * d <= 0:
        return []
    q = -(b + np.copysign(np.sqrt(b**2 - a * d), b))  # so that neither zero of a x² + 2b xy + d y² cancels
    zeros = np.array([[q, a], [d, q]]) @ null
    return [zero / np.linalg.norm(zero) for zero in zeros]


def _holds(family: _Family, path: _Path, z: np.ndarray) -> bool:
    """Whether a path runs through a fixed point."""
    for a, b in pairwise(path.points):
        if (a[2] - z[2]) * (b[2] - z[2]) <= 0:
            share = (z[2] - a[2]) / (b[2] - a[2]) if a[2] != b[2] else 0.0
            on_path = _at_place(family, np.append((a + share * (b - a))[:2], z[2]))
            if on_path is not None and np.linalg.norm(on_path - z) < LOCATED:
                return True
    return False


def _all_paths(family: _Family) -> list[_Path]:
    """Follow every branch that meets a seed, and at branch points the one that crosses it."""
    paths: list[_Path] = []
    passed: list[tuple[np.ndarray, np.ndarray]] = []  # branch points, with the tangents of paths through them
    starts: list[tuple[np.ndarray, np.ndarray | None]] = [(seed, None) for seed in family.seeds()]
    while starts:
        z, t = starts.pop(0)
        if t is None:
            if any(_holds(family, path, z) for path in paths):
                continue
            t = np.cross(*family.jacobian(z))
            t /= np.linalg.norm(t)
        elif any(np.linalg.norm(z - at) < LOCATED and abs(t @ along) > 0.9 for at, along in passed):
            continue
        else:
            passed.append((z, t))
        there, back = _trace(family, z, t), _trace(family, z, -t)
        status = max(there.status, back.status)  # in the order of the alphabet, which is that of failure
        path = _Path([*back.points[:0:-1], *there.points], [*back.events, *there.events], status)
        paths.append(path)
        for event in path.events:
            if event.type == "branch-point" and (tangents := _directions(family, event.z)):
                other, own = sorted(tangents, key=lambda s: abs(s @ event.tangent))
                starts.append((event.z, other))
                passed.append((event.z, own))
    return paths


def _continued(family: _Family) -> tuple[list[Branch], list[SpecialPoint]]:
    seeds = [z[:2] for z in family.seeds()] or [np.zeros(2)]
    largest = float(np.max(np.abs(seeds))) or 1.0
    # spreads, so that branches stand out as well in a narrow range as in a wide one
    x, w2 = (float(spread) or largest for spread in np.ptp(seeds, axis=0))
    family = replace(family, units=(x, w2), largest=largest)
    rows = [np.linalg.norm(family.jacobian(z), axis=1) for z in family.seeds()]
    family = replace(family, sizes=tuple(np.max([*rows, [1e-30, 1e-30]], axis=0)))
    branches, points = [], []
    known: list[_Event] = []
    for path in _all_paths(family):
        z = np.array(path.points).T
        collapsed, origin = np.max(np.abs(z[0])) < LOCATED, np.max(np.abs(z[:2])) < LOCATED
        name = "origin" if origin else "collapsed" if collapsed else "learned"
        branches.append(_branch(family, name, z, path.status))
        for event in path.events:
            if not any(np.linalg.norm(event.z - other.z) < LOCATED for other in known):
                known.append(event)
                points.append(_point(family, event))
    return branches, points


def _branch(family: _Family, name: str, z: np.ndarray, status: Status = "complete") -> Branch:
    """Make a branch of points z, shape (3, n)."""
    beta, gamma, tt = family.gains(z)
    n = z.shape[1]
    clock = ModeSystem(np.ones(n), np.ones(n), tau_target=np.broadcast_to(tt, n))
    eigenvalues = leaf_eigenvalues(beta, gamma, clock)
    w1, w2 = family.weights(z)
    verdicts = tuple(classify(pair) for pair in eigenvalues)
    return Branch(name, family.value(z), w1, w2, w1.copy(), eigenvalues, verdicts, status)


def _point(family: _Family, event: _Event) -> SpecialPoint:
    z = np.where(np.abs(event.z) < 1e-12, 0.0, event.z)  # below the accuracy of Newton's method
    note = ""
    if event.type == "branch-point":
        n_turning = sum(abs(t[2]) < LOCATED for t in _directions(family, event.z))
        note = ("transcritical", "pitchfork", "both branches turn here")[n_turning]
    elif event.type == "saddle-node" and not family.balanced and not np.any(z[:2]):
        note = CONE
    w1, w2 = map(float, family.weights(z))
    return SpecialPoint(event.type, family.parameter, float(family.value(z)), w1, w2, w1, note)


# --- closed forms -------------------------------------------------------------------------------------------


def _closed_form(family: _Family) -> tuple[list[Branch], list[SpecialPoint]]:
    """R15 against η, R5 and R6 against c, for λs, λd > 0; points crowd where branches turn."""
    lo, hi = family.interval
    q = family.letters(lo)
    r = q.ld / q.ls
    s = np.linspace(0.0, 1.0, 201)

    def branch(name: str, value: Any, x: Any, w2: Any) -> Branch:
        return _branch(family, name, np.stack(np.broadcast_arrays(x, w2, (value - lo) / (hi - lo))))

    def point(kind: Kind, value: float, w1: float, w2: float, note: str = "") -> list[SpecialPoint]:
        return [SpecialPoint(kind, family.parameter, value, w1, w2, w1, note)] if lo <= value <= hi else []

    if family.balanced:
        fold = float(saddle_node(q.system())[0])
        branches = [branch("origin", lo + (hi - lo) * s, 0.0, 0.0)]
        if lo <= fold:
            top = min(hi, fold)
            value = top - (top - lo) * (1 - s) ** 2
            root = 2 * np.sqrt(q.to * q.ls * (fold - value))  # of λd² − 4 η τo λs
            lower, upper = 2 * value * q.to / (q.ld + root), (q.ld + root) / (2 * q.ls)
            branches += [branch("lower", value, lower, lower), branch("upper", value, upper, upper)]
        points = point("branch-point", 0.0, 0.0, 0.0, "transcritical")
        return branches, points + point("saddle-node", fold, float(np.sqrt(q.tp / q.to)) * r / 2, r / 2)
    floor = -q.tp * r**2
    branches = []
    if hi >= floor:
        value = max(lo, floor) + (hi - max(lo, floor)) * s**2
        w1 = np.sqrt((value - floor) / q.to)
        branches += [branch("learned", value, w1, r), branch("learned-mirror", value, -w1, r)]
    if lo <= 0:
        top = min(hi, 0.0)
        value = np.union1d(top - (top - lo) * (1 - s) ** 2, [floor] if lo <= floor <= hi else [])
        p = np.sqrt(-value / q.tp)
        branches += [branch("collapsed-positive", value, 0.0, p)]
        branches += [branch("collapsed-negative", value, 0.0, -p)]
    points = point("branch-point", floor, 0.0, r, "pitchfork")
    return branches, points + point("saddle-node", 0.0, 0.0, 0.0, CONE)


# --- the result ---------------------------------------------------------------------------------------------


def bifurcation(
    system: ModeSystem,
    parameter: str,
    interval: tuple[float, float],
    *,
    invariant: float | None = None,
    objective: Objective = "byol",
    alpha: float = 1.0,
    beta: float = 1.0,
    method: Method = "auto",
) -> Bifurcation:
    """Fixed points of the full flow of one mode as a parameter moves, and where they change.

    With weight decay, w2 (λd − λs w2) = η τo, w1 = θ = ± sqrt(τp/τo) w2, and the origin: a saddle-node at
    η* = λd²/(4 τo λs). On the leaf τo w1² − τp w2² = c at η = 0, w2 = r or w1 = 0: a pitchfork at c = −τp r².

    Parameters
    ----------
    system
        One mode; the value in it of the parameter that moves is not used.
    parameter
        One of `PARAMETERS`; "invariant" is c, and "alpha" and "beta" need an objective that has them.
    interval
        (lo, hi), lo < hi.
    invariant
        c of the leaf to stay on: given at η = 0 unless it is what moves, and left out at η > 0.
    objective, alpha, beta
        "byol", or "byol-prime" or "raft", which replace the moments as R24 and R26 say; α >= 0, β > 0.
    method
        "closed form" is there for weight-decay and invariant with λs, λd > 0; "auto" takes it where it is.

    Returns
    -------
    Bifurcation
        Special points of continuation are solved for by Newton's method, to some 1e-12 of the range. Branches
        closed upon themselves between two of `SEEDS`, if any, are not found.

    Raises
    ------
    ValueError
        An unknown parameter, method or objective; a range that is empty or out of bounds; an invariant that
        is missing or has no meaning; fixed points that are nowhere isolated (λs = λd = 0).

    Notes
    -----
    On the balanced sheet the trace −(2 p² λs/τo + 1/τt) is negative for λs > 0: no Hopf bifurcation (R15).
    For λs < 0 (R26) collapsed points on a leaf have one where −λs p² τt = τo, if p is between 0 and r.

    Examples
    --------
    >>> found = bifurcation(ModeSystem(1.0, 0.5), "invariant", (-0.5, 0.2))
    >>> [(point.type, point.value, point.predictor) for point in found.points]
    [('branch-point', -0.25, 0.5), ('saddle-node', 0.0, 0.0)]
    """
    for option, given, known in (
        ("parameter", parameter, PARAMETERS),
        ("objective", objective, get_args(Objective)),
        ("method", method, get_args(Method)),
    ):
        if given not in known:
            raise ValueError(f"`{option}` must be one of {', '.join(known)}, got {given!r}")
    if parameter in ("alpha", "beta") and objective == "byol":
        raise ValueError(f"`objective` must be byol-prime or raft for {parameter} to move, got byol")
    if not (0 <= alpha < np.inf and 0 < beta < np.inf):
        raise ValueError(f"`alpha` must be finite and >= 0, `beta` finite and > 0, got {alpha} and {beta}")
    family = _family(system, parameter, interval, invariant)
    weights = family.base._replace(alpha=alpha, beta=beta)
    family = replace(family, objective=objective, base=weights)
    q = family.letters(family.interval[0])
    solved = parameter in ("weight-decay", "invariant") and q.ls > 0 and q.ld > 0
    if method == "closed form" and not solved:
        raise ValueError(
            "`method` must be continuation or auto unless weight-decay or invariant moves and λs, λd > 0,"
            f" got {method} for {parameter} with λs = {q.ls:g}, λd = {q.ld:g}"
        )
    chosen: Method = "closed form" if solved and method != "continuation" else "continuation"
    branches, points = _closed_form(family) if chosen == "closed form" else _continued(family)
    if family.balanced:  # the other sheet, w1, θ → −w1, −θ
        branches += [
            replace(item, name=f"{item.name}-mirror", online=-item.online, target=-item.target)
            for item in branches
            if item.name != "origin"
        ]
        points += [p._replace(online=-p.online, target=-p.target) for p in points if p.online]
    points.sort(key=lambda point: point.value)
    return Bifurcation(parameter, family.interval, chosen, tuple(branches), tuple(points))


def _family(
    system: ModeSystem, parameter: str, interval: tuple[float, float], invariant: float | None
) -> _Family:
    if system.n_modes != 1:
        raise ValueError(f"`system` must have one mode, got {system.n_modes}")
    if not (len(interval) == 2 and np.all(np.isfinite(interval)) and interval[0] < interval[1]):
        raise ValueError(f"`interval` must be two finite numbers, the smaller first, got {interval}")
    lo, hi = map(float, interval)
    if (parameter in (*_TIMES, "beta") and lo <= 0) or (parameter in ("weight-decay", "alpha") and lo < 0):
        at_least = ">=" if parameter in ("weight-decay", "alpha") else ">"
        raise ValueError(f"`interval` must start {at_least} 0 for {parameter}, got {lo}")
    names = ("lambda_s", "lambda_d", "tau_online", "tau_predictor", "tau_target", "weight_decay")
    numbers = [float(np.squeeze(getattr(system, name))) for name in names]
    decays = parameter == "weight-decay" or numbers[-1] > 0
    if decays and parameter == "invariant":
        raise ValueError(f"`weight_decay` must be 0 for the invariant to move, got {numbers[-1]}")
    if (invariant is None) != (decays or parameter == "invariant"):
        raise ValueError(
            "`invariant` must be given at weight decay 0, where fixed points form lines and only those on one"
            f" leaf are isolated, and left out where it moves or weight decay takes it to 0, got {invariant}"
        )
    if invariant is not None and not np.isfinite(invariant):
        raise ValueError(f"`invariant` must be finite, got {invariant}")
    return _Family(_Letters(*[*numbers, invariant or 0.0]), parameter, (lo, hi), decays)
