"""Special points and branches of the fixed points of one mode, in closed form.

On a line of fixed points nothing is isolated, so the flow is reduced first: at η = 0 to a leaf of constant
c = τo w1² − τp w2², at η > 0 to the balanced sheet τo w1² = τp w2² on which every trajectory ends. What moves enters
λs and λd of the flow (those of R24 and R26 for the other objectives) and every other letter at most linearly. So each
special point is a root of a polynomial of degree 2 at most, whose coefficients are exact:

    saddle-node        λd² − 4 η τo λs = 0                (R15)
    pitchfork          c λs² + τp λd² = 0, c < 0          (R5, R6)
    sheets touch       c = 0
    Hopf               c λs τt − τo τp = 0 and γ > 0      (only where λs < 0: R26)
    escape to infinity λs = 0
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import asinh, sinh
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.polynomial import polynomial

from analysis.numbers import context, root
from dynamics.quadratic import quadratic_root

Kind = Literal["saddle-node", "branch-point", "hopf"]
CONE = "the sheets of the leaf touch here: collapsed saddle (w2 > 0) and sink (w2 < 0) meet and vanish"
UPRIGHT = "both branches turn here"
PITCHFORK = "pitchfork: the learned pair branches off the collapsed state"
ORIGIN = "transcritical"
DECAY_PITCHFORK = "pitchfork"

SNAP = 4 * 2.0**-52
"""Special values this close to an end of the range, relative to it, lie on it: inputs are known no better."""

LONGEST_STEP = 1 / 120
"""Of arclength, in units of the whole picture."""

ESCAPE = 1e-3
"""Branches that run to infinity are drawn to this distance, relative to the nearest other value, from where they do."""


class Numbers(NamedTuple):
    """The letters of the flow at one value of the parameter: exact polynomials, or numbers of many digits."""

    ls: Any
    ld: Any
    to: Any
    tp: Any
    tt: Any
    eta: Any
    c: Any


class Root(NamedTuple):
    """A root of a polynomial: its value, moved to an end of the range if it lies on it, as it is, and how often."""

    value: Any
    exact: Any
    times: int


class Happening(NamedTuple):
    """A special point: w1 >= 0 stands for its mirror image, too."""

    kind: Kind
    value: Any
    w1: Any
    w2: Any
    note: str


class Flight(NamedTuple):
    """A value of the parameter at which branches run to infinity."""

    value: Any
    names: tuple[str, ...]


class Sample(NamedTuple):
    """A fixed point on a branch, with what decides its stability.

    The determinant γ/τt and the trace of the Jacobian on the leaf or sheet.
    """

    value: Any
    w1: Any
    w2: Any
    gamma: Any
    trace: Any
    tt: Any


class Stretch(NamedTuple):
    """A branch from end to end."""

    name: str
    samples: list[Sample]
    escaped: bool


Place = Callable[[Any], tuple[Any, Any] | None]


@dataclass(frozen=True)
class Family:
    """Fixed points of one mode against one parameter, over lo <= value <= hi, all letters polynomials in it."""

    letters: Numbers
    lo: Fraction
    hi: Fraction
    balanced: bool

    def at(self, value: Any) -> Numbers:
        """Letters at a value of the parameter."""
        return Numbers(*(horner(value, x) for x in self._coefficients))

    @cached_property
    def _coefficients(self) -> tuple[tuple[Any, ...], ...]:
        """Of the letters, highest power first, in numbers of many digits."""
        return tuple(tuple(map(context.convert, polynomial.polytrim(x)[::-1])) for x in self.letters)

    def exactly(self, value: float) -> Numbers:
        """Letters as fractions at a float."""
        return Numbers(*(Fraction(polynomial.polyval(Fraction(value), x)) for x in self.letters))

    # --- roots in the range ---------------------------------------------------------------------------------

    def snapped(self, value: Any) -> Any | None:
        """A value in the range, an end of it where it is that close; None outside."""
        value, lo, hi = (context.convert(x) for x in (value, self.lo, self.hi))
        for end in (lo, hi):
            if abs(value - end) <= SNAP * abs(end):
                return end
        return value if lo < value < hi else None

    def roots(self, coefficients: np.ndarray) -> list[Root]:
        """Roots in the range with their multiplicities, ascending; none of what is 0 throughout."""
        p = [Fraction(x) for x in polynomial.polytrim(coefficients)]
        found: list[tuple[Any, int]] = []
        if len(p) == 2:
            found = [(-p[0] / p[1], 1)]
        elif len(p) == 3:
            discriminant = p[1] ** 2 - 4 * p[2] * p[0]
            if discriminant == 0:
                found = [(-p[1] / (2 * p[2]), 2)]
            elif discriminant > 0:
                found = [(quadratic_root(p[2], -p[1], p[0], sign, root), 1) for sign in (-1, 1)]
        inside = [Root(self.snapped(value), context.convert(value), times) for value, times in found]
        return sorted(item for item in inside if item.value is not None)

    # --- polynomials that vanish at special points -----------------------------------------------------------

    @property
    def fold(self) -> np.ndarray:
        """Vanishes at the saddle-node: λd² − 4 η τo λs."""
        q = self.letters
        return polynomial.polysub(
            polynomial.polymul(q.ld, q.ld),
            4 * polynomial.polymul(polynomial.polymul(q.eta, q.to), q.ls),
        )

    @property
    def fork(self) -> np.ndarray:
        """Vanishes at the pitchfork: c λs² + τp λd²."""
        q = self.letters
        square_s, square_d = polynomial.polymul(q.ls, q.ls), polynomial.polymul(q.ld, q.ld)
        return polynomial.polyadd(polynomial.polymul(q.c, square_s), polynomial.polymul(q.tp, square_d))

    @property
    def centre(self) -> np.ndarray:
        """Vanishes at the Hopf point: c λs τt − τo τp, the trace of the collapsed points times −τo τp τt."""
        q = self.letters
        return polynomial.polysub(
            polynomial.polymul(polynomial.polymul(q.c, q.ls), q.tt), polynomial.polymul(q.to, q.tp)
        )


def horner(value: Any, coefficients: tuple[Any, ...]) -> Any:
    """Value of a polynomial, highest power first."""
    total = coefficients[0]
    for coefficient in coefficients[1:]:
        total = total * value + coefficient
    return total


def vanishes(coefficients: np.ndarray) -> bool:
    """Whether a polynomial is 0 throughout."""
    return not np.any(coefficients)


def is_constant(coefficients: np.ndarray) -> bool:
    """Whether a polynomial does not move."""
    return not np.any(coefficients[1:])


# --- what happens -------------------------------------------------------------------------------------------


def happenings(family: Family) -> tuple[list[Happening], list[Flight]]:
    """Every special point in the range, and every escape to infinity."""
    return (_balanced if family.balanced else _on_leaf)(family)


def _balanced(family: Family) -> tuple[list[Happening], list[Flight]]:
    found: list[Happening] = []
    for value, exact, times in family.roots(family.fold):
        q = family.at(exact)
        if q.eta == 0 or q.ld == 0:
            continue
        w2 = 2 * q.eta * q.to / q.ld  # r/2, also where λs is all but 0
        kind: Kind = "saddle-node" if times == 1 else "branch-point"
        found.append(
            Happening(kind, value, root(q.tp / q.to) * w2, w2, "" if times == 1 else "transcritical")
        )
    zero = context.mpf(0)
    if not is_constant(family.letters.eta):
        for value, _, _ in family.roots(family.letters.eta):
            note = DECAY_PITCHFORK if family.at(value).ld == 0 else ORIGIN
            found.append(Happening("branch-point", value, zero, zero, note))
    flights = []
    for value, _, _ in family.roots(_infinite(family)):
        names = tuple(
            name for name in ("lower", "upper") if any(_is_far(family, name, value, side) for side in (-1, 1))
        )
        if names:
            flights.append(Flight(value, (*names, *(f"{name}-mirror" for name in names))))
    return found, flights


def _infinite(family: Family) -> np.ndarray:
    """Polynomial that vanishes where p+ or p− or r is infinite: λs, or λd where λs is 0 throughout."""
    return family.letters.ld if vanishes(family.letters.ls) else family.letters.ls


def _is_root(family: Family, coefficients: np.ndarray, value: Any) -> bool:
    return any(value == other for other, _, _ in family.roots(coefficients))


def _is_far(family: Family, name: str, value: Any, side: int) -> bool:
    """Whether p− or p+ exists beside a value where it is infinite, and grows towards it."""
    others = [x for x in _cuts(family) if (x - value) * side > 0]
    if not others:
        return False
    gap = min(abs(x - value) for x in others)
    near, nearer = (_level(family, name)(value + side * gap * share) for share in (1e-20, 1e-30))
    return near is not None and nearer is not None and abs(nearer[1]) > 10 * abs(near[1])


def _on_leaf(family: Family) -> tuple[list[Happening], list[Flight]]:
    found: list[Happening] = []
    letters, zero = family.letters, context.mpf(0)
    if vanishes(letters.c):
        if not is_constant(letters.ld):
            found = [
                Happening("branch-point", value, zero, zero, ORIGIN)
                for value, _, _ in family.roots(letters.ld)
            ]
    else:
        for value, exact, _ in family.roots(family.fork):
            q = family.at(exact)
            if q.c < 0 and q.ls:
                found.append(Happening("branch-point", value, zero, q.ld / q.ls, PITCHFORK))
        for value, _, _ in family.roots(letters.c) if not is_constant(letters.c) else []:
            upright = vanishes(letters.ld) and not vanishes(letters.ls)
            found.append(
                Happening("branch-point", value, zero, zero, UPRIGHT)
                if upright
                else Happening("saddle-node", value, zero, zero, CONE)
            )
        for value, exact, _ in family.roots(family.centre):
            q = family.at(exact)
            for sign in (1, -1) if q.c < 0 else ():
                p = sign * root(-q.c / q.tp)
                if p * (q.ls * p - q.ld) > 0 and not _is_root(family, family.fork, value):
                    found.append(Happening("hopf", value, zero, p, "of the collapsed point"))
    flights = [] if vanishes(letters.ls) else [
        Flight(value, ("learned", "learned-mirror")) for value, _, _ in family.roots(letters.ls)
    ]  # fmt: skip
    return found, flights


# --- branches -----------------------------------------------------------------------------------------------


def _cuts(family: Family) -> list[Any]:
    """Ends of the range and values at which a branch may end, ascending."""
    q = family.letters
    polynomials = [family.fold if family.balanced else family.fork, q.ls, q.ld, q.c, q.eta]
    roots = [value for p in polynomials if not vanishes(p) for value, _, _ in family.roots(p)]
    return sorted({context.convert(family.lo), context.convert(family.hi), *roots})


def _level(family: Family, name: str) -> Place:
    """w1 and w2 = p− or p+ at η > 0 (R15), with w1 of the sign of w2."""
    sign = {"lower": -1, "upper": 1}[name]
    double = vanishes(family.fold)

    def place(value: Any) -> tuple[Any, Any] | None:
        q = family.at(value)
        discriminant = context.mpf(0) if double else q.ld**2 - 4 * q.eta * q.to * q.ls
        if discriminant < 0:
            return None
        spread, towards = root(discriminant), sign if q.ld == 0 else sign * context.sign(q.ld)
        if towards > 0:
            if q.ls == 0:
                return None
            w2 = (q.ld + sign * spread) / (2 * q.ls)
        elif q.ld == 0:
            if q.ls == 0:
                return None
            w2 = sign * spread / (2 * q.ls)
        else:
            w2 = 2 * q.eta * q.to / (q.ld - sign * spread)
        return root(q.tp / q.to) * w2, w2

    return place


def _collapsed(family: Family, sign: int) -> Place:
    def place(value: Any) -> tuple[Any, Any] | None:
        q = family.at(value)
        return None if q.c > 0 else (context.mpf(0), sign * root(-q.c / q.tp))

    return place


def _learned(family: Family) -> Place:
    balanced = vanishes(family.letters.c)

    def place(value: Any) -> tuple[Any, Any] | None:
        q = family.at(value)
        if q.ls == 0:
            return None
        r = q.ld / q.ls
        if balanced:
            return root(q.tp / q.to) * r, r
        square = (q.c + q.tp * r**2) / q.to
        return None if square < 0 else (root(square), r)

    return place


def _origin(value: Any) -> tuple[Any, Any]:
    return context.mpf(0), context.mpf(0)


def _gamma_and_trace(family: Family, name: str, q: Numbers, w1: Any, w2: Any) -> tuple[Any, Any]:
    """Determinant times τt, and trace, each as a sum in which nothing cancels but at special points."""
    if family.balanced and name == "origin":
        return q.eta, -(q.eta + 1 / q.tt)
    if family.balanced:
        return w2 * (2 * q.ls * w2 - q.ld) / q.to, -(2 * q.ls * w2**2 / q.to + 1 / q.tt)
    trace = -(q.ls * (w2**2 / q.to + w1**2 / q.tp) + 1 / q.tt)
    if name == "learned":
        return q.ls * w1**2 / q.tp, trace
    return w2 * (q.ls * w2 - q.ld) / q.to, trace


def stretches(family: Family, special: Iterable[Happening], flights: Iterable[Flight]) -> list[Stretch]:
    """Every branch with w1 >= 0, or of w2 p− and p+ under weight decay; the mirror images are the caller's."""
    special, flights = list(special), list(flights)
    if family.balanced:
        places: dict[str, Place] = {
            "origin": _origin,
            "lower": _level(family, "lower"),
            "upper": _level(family, "upper"),
        }
        if vanishes(family.fold):  # p− and p+ are one throughout
            del places["lower"]
    elif vanishes(family.letters.c):
        places = {"origin": _origin, "learned": _learned(family)}
        if vanishes(family.letters.ld):
            del places["learned"]
    elif vanishes(family.fork):  # w1 = 0 at the learned points: they are the collapsed one throughout
        places = {"collapsed-positive": _collapsed(family, 1), "collapsed-negative": _collapsed(family, -1)}
    else:
        places = {
            "learned": _learned(family),
            "collapsed-positive": _collapsed(family, 1),
            "collapsed-negative": _collapsed(family, -1),
        }
    runs = [run for name, place in places.items() for run in _runs(family, name, place, special, flights)]
    scale = _scale(family, runs, special)
    return [_sampled(family, run, scale) for run in runs]


class _Run(NamedTuple):
    """A branch before it is sampled: its nodes are ends and special points, ascending."""

    name: str
    place: Place
    nodes: list[Sample]
    escaped: bool


def _runs(
    family: Family, name: str, place: Place, special: list[Happening], flights: list[Flight]
) -> list[_Run]:
    """Maximal stretches on which a branch exists and is smooth."""
    cuts = _cuts(family)
    mine = [item for item in special if _is_on(name, place, item, cuts)]
    ends = {
        item.value
        for item in special
        if (family.balanced and item.kind == "saddle-node")
        or item.note in ("transcritical", "pitchfork", UPRIGHT, CONE)
    }
    infinite = {item.value for item in flights if name in item.names}
    runs: list[_Run] = []
    for a, b in pairwise(cuts):
        middle = _between(a, b)
        if place(middle) is None:
            continue
        joined = bool(runs) and runs[-1].nodes[-1].value == a and a not in infinite
        joined = joined and not (a in ends and family.balanced and name != "origin")
        nodes, escaped = [], False
        for end, other in ((a, b), (b, a)):
            at = end
            if end in infinite:
                others = [*cuts, *(item.value for item in special), context.mpf(0)]
                far = [abs(x - end) for x in others if x != end]
                at, escaped = end + context.sign(other - end) * ESCAPE * min(far), True
            sample = next((_special_sample(family, name, x) for x in mine if x.value == at), None)
            nodes.append(sample or _sample(family, name, place, at))
        if joined:
            last = runs.pop()
            runs.append(_Run(name, place, [*last.nodes, nodes[1]], last.escaped or escaped))
        else:
            runs.append(_Run(name, place, nodes, escaped))
    out = []
    for run in runs:
        values = [node.value for node in run.nodes]
        extra = [x for x in mine if values[0] < x.value < values[-1] and x.value not in values]
        nodes = sorted(
            [*run.nodes, *(_special_sample(family, name, x) for x in extra)], key=lambda s: s.value
        )
        out.append(run._replace(nodes=nodes))
    return out


def _is_on(name: str, place: Place, item: Happening, cuts: list[Any]) -> bool:
    """Whether a special point lies on a branch, or ends it."""
    if item.note == PITCHFORK:
        return name == "learned" or name == ("collapsed-positive" if item.w2 > 0 else "collapsed-negative")
    if item.kind == "hopf":
        return name == ("collapsed-positive" if item.w2 > 0 else "collapsed-negative")
    if item.kind == "saddle-node" and item.note != CONE:
        return name in ("lower", "upper")
    if item.note == CONE:
        return name.startswith("collapsed")
    if item.w2 == 0:  # where weight decay begins, or the learned points pass the origin
        there = place(item.value)
        return name == "origin" or (there is not None and there[1] == 0)
    return name in ("lower", "upper")  # where p− and p+ cross


def _special_sample(family: Family, name: str, item: Happening) -> Sample:
    """A special point as a point of a branch: its determinant, or its trace, is 0."""
    q = family.at(item.value)
    gamma, trace = _gamma_and_trace(family, name, q, item.w1, item.w2)
    zero = context.mpf(0)
    if item.kind == "hopf":
        return Sample(item.value, item.w1, item.w2, gamma, zero, q.tt)
    return Sample(item.value, item.w1, item.w2, zero, trace, q.tt)


def _sample(family: Family, name: str, place: Place, value: Any) -> Sample:
    there = place(value)
    if there is None:
        raise ArithmeticError(f"the branch {name} must exist at {context.nstr(value, 17)}, but does not")
    q = family.at(value)
    gamma, trace = _gamma_and_trace(family, name, q, *there)
    if not family.balanced and name == "origin":
        gamma = context.mpf(0)
    if name.startswith("collapsed") and vanishes(family.fork):
        gamma = gamma if q.ls * there[1] * q.ld < 0 else context.mpf(0)
    if family.balanced and name != "origin" and vanishes(family.fold):
        gamma = context.mpf(0)
    if name.startswith("collapsed") and vanishes(family.centre):
        trace = context.mpf(0)
    return Sample(value, *there, gamma, trace, q.tt)


def _between(a: Any, b: Any) -> Any:
    """A value well inside: the geometric mean where a and b have one sign, else the mean."""
    return context.sign(a) * root(a * b) if a * b > 0 else (a + b) / 2


def _scale(family: Family, runs: list[_Run], special: list[Happening]) -> list[tuple[Any, float]]:
    """For value, w1 and w2, a unit below which the picture is linear and above which logarithmic, and its width."""
    nodes = [(s.value, s.w1, s.w2) for run in runs for s in run.nodes]
    scale = []
    for column in zip(*nodes, strict=True) if nodes else ():
        sizes = [abs(x) for x in column if x]
        unit = min(sizes, default=context.mpf(1))
        places = [_place(x / unit) for x in column]
        scale.append((unit, (max(places) - min(places)) or 1.0))
    return scale


def _ratio(place: float) -> Any:
    """The hyperbolic sine."""
    return sinh(place) if abs(place) < 700 else context.sinh(place)


def _place(ratio: Any) -> float:
    """The inverse hyperbolic sine, of numbers beyond all floats too."""
    return asinh(ratio) if abs(ratio) < 1e300 else float(context.sign(ratio) * context.log(2 * abs(ratio)))


def _sampled(family: Family, run: _Run, scale: list[tuple[Any, float]]) -> Stretch:
    """Points along a branch, neighbours at most `LONGEST_STEP` apart in the scaled picture."""

    def coordinates(sample: Sample) -> list[float]:
        values = (sample.value, sample.w1, sample.w2)
        return [_place(x / unit) / width for x, (unit, width) in zip(values, scale, strict=True)]

    unit, width = scale[0]
    samples = [run.nodes[0]]
    for end in run.nodes[1:]:
        stack = [(end, coordinates(end))]
        here, first = coordinates(samples[-1]), True  # between two special points there is another one
        while stack:
            sample, there = stack[-1]
            step = max(abs(x - y) for x, y in zip(here, there, strict=True))
            # a number that floats tell from its neighbours
            middle = context.mpf(float(unit * _ratio((here[0] + there[0]) * width / 2)))
            if (first or step > LONGEST_STEP) and samples[-1].value < middle < sample.value:
                first = False
                new = _sample(family, run.name, run.place, middle)
                stack.append((new, coordinates(new)))
            else:
                samples.append(sample)
                here = there
                stack.pop()
    return Stretch(run.name, samples, run.escaped)
