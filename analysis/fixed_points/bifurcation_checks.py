"""What every bifurcation diagram is held against before anybody sees it.

The equations themselves, in exact arithmetic on the floats that are reported; the stability along every branch, which
may change only at special points; and a census: what `analysis.fixed_points.one_mode` finds, by code of its own,
between any two neighbouring special values must be what the branches have there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from analysis.fixed_points.one_mode import solve
from analysis.fixed_points.special_points import CONE, Family

if TYPE_CHECKING:
    from analysis.fixed_points.diagrams import Bifurcation, Branch, SpecialPoint

RESIDUAL = 1e-9
"""Largest residual of a special point, relative to the terms of each equation."""

CENSUS = (0.03, 0.5, 0.97)
"""Places between neighbouring special values at which fixed points are counted."""


def check(found: Bifurcation, family: Family) -> None:
    """Raise ArithmeticError where a diagram contradicts the equations, itself, or a count of the fixed points.

    Parameters
    ----------
    found, family
        A diagram, and the flow that it is of.
    """
    for point in found.points:
        residual = special_residual(point, family)
        if residual > RESIDUAL:
            raise _fault(f"{point.type} at {point.value:.17g} leaves a residual of {residual:.2g}")
    for branch in found.branches:
        for k in unexplained(branch, found):
            raise _fault(
                f"the branch {branch.name} turns from {branch.stability[k]} to {branch.stability[k + 1]} between"
                f" {branch.value[k]:.17g} and {branch.value[k + 1]:.17g}, where no special point was found"
            )
    for value in _census_values(found):
        _count(found, family, value)


def _fault(text: str) -> ArithmeticError:
    return ArithmeticError(f"the bifurcation diagram failed its own check: {text}; please report this")


def special_residual(point: SpecialPoint, family: Family) -> float:
    """Largest residual of the equations that a special point solves, each relative to the sum of its terms.

    At η > 0, w2 (λd − λs w2) = η τo on τo w1² = τp w2²; at η = 0, w1 (λd − λs w2) = 0 on τo w1² − τp w2² = c; and the
    determinant on the sheet or leaf, or for a Hopf bifurcation the trace.

    Parameters
    ----------
    point, family
        A special point and the flow that it is of.

    Returns
    -------
    float
        0 where every term is 0.
    """
    q = family.exactly(point.value)
    w1, w2 = Fraction(point.online), Fraction(point.predictor)
    ls, ld = (_terms(letter, point.value) for letter in (family.letters.ls, family.letters.ld))
    if family.balanced:
        sums = [[q.to * w1**2, -q.tp * w2**2]]
        if point.predictor:
            sums += [[*_times(w2, ld), *_times(-(w2**2), ls), -q.eta * q.to], [*ld, *_times(-2 * w2, ls)]]
        else:
            sums += [[q.eta]]  # the origin has γ = η
    else:
        sums = [[*_times(w1, ld), *_times(-w1 * w2, ls)], [q.to * w1**2, -q.tp * w2**2, -q.c]]
        if point.type == "hopf":
            sums += [[*_times(w2**2 / q.to, ls), Fraction(1) / q.tt]]
        elif point.note != CONE:
            sums += [[*_times(w2**2, ls), *_times(-w2, ld)]]
    return max(_relative(terms) for terms in sums)


def _terms(letter: np.ndarray, value: float) -> list[Fraction]:
    """Terms of a polynomial, which may cancel."""
    return [Fraction(x) * Fraction(value) ** power for power, x in enumerate(letter)]


def _times(factor: Fraction, terms: list[Fraction]) -> list[Fraction]:
    return [factor * term for term in terms]


def _relative(terms: list[Fraction]) -> float:
    size = sum(map(abs, terms), Fraction(0))
    return float(abs(sum(terms, Fraction(0))) / size) if size else 0.0


def unexplained(branch: Branch, found: Bifurcation) -> list[int]:
    """Indices k at which a branch changes stability to its point k + 1 without a special point there."""
    special = {(point.value, point.predictor) for point in found.points}
    changes = []
    for k, (a, b) in enumerate(pairwise(branch.stability)):
        ends = {(branch.value[i], branch.predictor[i]) for i in (k, k + 1)}
        if a != b and not ends & special:
            changes.append(k)
    return changes


def _census_values(found: Bifurcation) -> Iterator[float]:
    """Values of the parameter between neighbouring special values, not where a branch has run out of the picture."""
    marks = {*found.interval, *(point.value for point in found.points)}
    marks |= {escape.value for escape in found.escapes}
    marks |= {branch.value[i] for branch in found.branches if branch.status == "escaped" for i in (0, -1)}
    for a, b in pairwise(sorted(marks)):
        if any(escape.value in (a, b) for escape in found.escapes):
            continue
        for share in CENSUS:
            value = a * (b / a) ** share if a > 0 and b / a < float("inf") else a + share * (b - a)
            if a < value < b:
                yield float(value)


def _count(found: Bifurcation, family: Family, value: float) -> None:
    """Compare the fixed points at one value with the branches there, by number and stability."""
    letters = [*family.exactly(value), Fraction(0)]
    points = solve("full", letters, on_leaf=not family.balanced).points
    expected: Counter[str] = Counter(
        "degenerate" if p.stability == "half-stable" else p.stability for p in points
    )
    drawn: Counter[str] = Counter()
    for branch in found.branches:
        for i, (a, b) in enumerate(pairwise(branch.value)):
            if a <= value < b:
                drawn[
                    branch.stability[i] if branch.stability[i] != "degenerate" else branch.stability[i + 1]
                ] += 1
    if expected != drawn:
        raise _fault(
            f"at {found.parameter} = {value:.17g} there are {_words(expected)}, the branches have {_words(drawn)}"
        )


def _words(count: Counter[str]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in sorted(count.items())) or "no fixed points"
