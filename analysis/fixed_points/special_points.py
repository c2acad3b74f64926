"""Special points of the fixed points of one mode, in closed form.

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

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.polynomial import polynomial

from analysis.fixed_points.numbers import context, root
from dynamics.quadratic import quadratic_root

Kind = Literal["saddle-node", "branch-point", "hopf", "flip", "neimark-sacker"]
CONE = "the sheets of the leaf touch here: collapsed saddle (w2 > 0) and sink (w2 < 0) meet and vanish"
UPRIGHT = "both branches turn here"
PITCHFORK = "pitchfork: the learned pair branches off the collapsed state"
ORIGIN = "transcritical"
DECAY_PITCHFORK = "pitchfork"

SNAP = 4 * 2.0**-52
"""Special values this close to an end of the range, relative to it, lie on it: inputs are known no better."""


Place = Callable[[Any], tuple[Any, Any] | None]


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
    others = [x for x in cuts(family) if (x - value) * side > 0]
    if not others:
        return False
    gap = min(abs(x - value) for x in others)
    near, nearer = (level(family, name)(value + side * gap * share) for share in (1e-20, 1e-30))
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


def cuts(family: Family) -> list[Any]:
    """Ends of the range and values at which a branch may end, ascending."""
    q = family.letters
    polynomials = [family.fold if family.balanced else family.fork, q.ls, q.ld, q.c, q.eta]
    roots = [value for p in polynomials if not vanishes(p) for value, _, _ in family.roots(p)]
    return sorted({context.convert(family.lo), context.convert(family.hi), *roots})


def level(family: Family, name: str) -> Place:
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
