"""Branches of the fixed points of one mode, from end to end, in steps of their own arclength."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import asinh, sinh
from typing import Any, NamedTuple

from analysis.fixed_points.numbers import context, root
from analysis.fixed_points.special_points import (
    CONE,
    PITCHFORK,
    UPRIGHT,
    Family,
    Flight,
    Happening,
    Numbers,
    Place,
    cuts,
    level,
    vanishes,
)

LONGEST_STEP = 1 / 120
"""Of arclength, in units of the whole picture."""

ESCAPE = 1e-3
"""Branches that run to infinity are drawn to this distance, relative to the nearest other value, from where they do."""


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
            "lower": level(family, "lower"),
            "upper": level(family, "upper"),
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
    ends_of = cuts(family)
    mine = [item for item in special if _is_on(name, place, item)]
    ends = {
        item.value
        for item in special
        if (family.balanced and item.kind == "saddle-node")
        or item.note in ("transcritical", "pitchfork", UPRIGHT, CONE)
    }
    infinite = {item.value for item in flights if name in item.names}
    runs: list[_Run] = []
    for a, b in pairwise(ends_of):
        middle = _between(a, b)
        if place(middle) is None:
            continue
        joined = bool(runs) and runs[-1].nodes[-1].value == a and a not in infinite
        joined = joined and not (a in ends and family.balanced and name != "origin")
        nodes, escaped = [], False
        for end, other in ((a, b), (b, a)):
            at = end
            if end in infinite:
                others = [*ends_of, *(item.value for item in special), context.mpf(0)]
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


def _is_on(name: str, place: Place, item: Happening) -> bool:
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
