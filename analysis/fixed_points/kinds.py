"""What a fixed point of one mode is, isolated or on a line, and the letters that its formula is written in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from analysis.fixed_points.numbers import as_float
from analysis.fixed_points.numbers import root as sqrt
from dynamics.states import ModeState

PointStability = Literal["stable", "saddle", "unstable", "half-stable", "degenerate"]
LineStability = Literal["attracting", "saddle", "repelling", "degenerate"]
ACROSS: dict[str, LineStability] = {
    "stable": "attracting",
    "saddle": "saddle",
    "unstable": "repelling",
    "degenerate": "degenerate",
}


class Letters(NamedTuple):
    """The paper's letters, c the invariant among them: Fractions, SymPy numbers or SymPy symbols."""

    ls: Any
    ld: Any
    to: Any
    tp: Any
    tt: Any
    eta: Any
    c: Any
    th: Any
    root: Callable[[Any], Any] = sqrt

    @property
    def r(self) -> Any:
        """Ratio λd/λs."""
        return self.ld / self.ls

    @property
    def balance(self) -> Any:
        """|w1/w2| where c = 0."""
        return self.root(self.tp / self.to)


Triple = tuple[Any, Any, Any]  # w1, w2, θ
At = Callable[..., Triple]  # of the letters, and for lines of a place on them
Pair = Callable[[Any, Any], list[Any]]  # β and γ of `leaf_eigenvalues` -> eigenvalues on the leaf


@dataclass(frozen=True, eq=False, kw_only=True)
class Solution:
    """A fixed point or a line of them: its name, and its formula in the letters."""

    name: str
    parameter: str = ""
    _at: At = field(repr=False)
    _letters: Letters = field(repr=False)

    def exact(self, *, symbolic: bool = False) -> dict[str, str]:
        """Write w1, w2 and θ exactly, as text that SymPy reads.

        Parameters
        ----------
        symbolic
            In symbols named as the parameters; else for the simplest fractions that round to their values.
        """
        import sympy

        letters: list[Any] = [sympy.Rational(x.numerator, x.denominator) for x in list(self._letters)[:-1]]
        if symbolic:
            times = sympy.symbols("tau_online tau_predictor tau_target", positive=True)
            others = sympy.symbols("lambda_s lambda_d weight_decay invariant target", real=True)
            letters = [*others[:2], *times, *others[2:]]
        place = [sympy.Symbol(self.parameter)] if self.parameter else []
        triple = self._at(Letters(*[*letters, sympy.sqrt]), *place)
        texts = (str(sympy.sqrtdenest(sympy.sympify(part))) for part in triple)
        return dict(zip(ModeState._fields, texts, strict=True))


@dataclass(frozen=True, eq=False, kw_only=True)
class FixedPoint(Solution):
    """An isolated fixed point of one mode, or of one mode on a leaf of constant c.

    Parameters
    ----------
    name
        "origin"; "learned" (w1 ≠ 0), under weight decay "lower" and "upper" (w2 = p−, p+);
        "collapsed-positive" and "-negative" (w1 = 0, the sign of w2); "pitchfork" and "saddle-node" where
        points meet; "-mirror" for the other sign of w1.
    online, predictor, target
        w1, w2, θ.
    eigenvalues
        Of the Jacobian over the parts that the variant moves, complex.
    leaf_eigenvalues
        Those on the leaf, without the zero across it; all of them where no invariant was given.
    stability
        By the leaf eigenvalues; "half-stable" by the centre manifold.
    sheet
        Sheet of the leaf, by the weight that keeps its sign there, such as "w2 > 0"; else empty.
    note
        What happens where the eigenvalues do not tell.
    """

    online: float
    predictor: float
    target: float
    eigenvalues: np.ndarray
    leaf_eigenvalues: np.ndarray
    stability: PointStability
    sheet: str
    note: str


class Segment(NamedTuple):
    """The part lo < parameter < hi of a line of fixed points, or its point lo = hi; stability across it."""

    lo: float
    hi: float
    stability: LineStability


@dataclass(frozen=True, eq=False, kw_only=True)
class FixedPointLine(Solution):
    """A line or curve of fixed points of one mode.

    Parameters
    ----------
    name
        "learned" (w1 ≠ 0), "collapsed" (w1 = 0) or "hyperbola" (w1 w2 = θ r).
    parameter
        "a" for w1 or "p" for w2.
    direction
        Of the line in (w1, w2, θ); None for a curve.
    segments
        In order. A point between two open segments that is not listed is no fixed point. "repelling": every
        direction across the line leaves it.
    """

    direction: tuple[float, ...] | None
    segments: tuple[Segment, ...]

    def at(self, place: float) -> tuple[float, float, float]:
        """Return w1, w2, θ at a value of the parameter."""
        w1, w2, th = self._at(self._letters, place)
        return floats((w1, w2, th), f"the line {self.name}")


def floats(triple: Triple, what: str) -> tuple[float, float, float]:
    """Round w1, w2 and θ to floats, or refuse them by name."""
    w1, w2, th = (as_float(x, f"{part} of {what}") for x, part in zip(triple, ("w1", "w2", "θ"), strict=True))
    return w1, w2, th
