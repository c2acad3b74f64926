"""Bifurcation diagrams as objects: branches, special points, escapes to infinity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from analysis.fixed_points.special_points import (
    Kind,
)
from analysis.stability.verdicts import Verdict

Status = Literal["complete", "escaped"]


class SpecialPoint(NamedTuple):
    """A bifurcation.

    Parameters
    ----------
    type, note
        "saddle-node", "branch-point" or "hopf", of gradient descent "flip" or "neimark-sacker", and more in words, such
        as "pitchfork: …" or "transcritical".
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


class Escape(NamedTuple):
    """A value of the parameter at which fixed points run to infinity: no bifurcation, for no point is there.

    Parameters
    ----------
    parameter, value
        Where λs of the flow passes 0 (R26), and w2 = λd/λs or p± with it through infinity.
    branches
        Names of the branches that do.
    """

    parameter: str
    value: float
    branches: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Branch:
    """A curve of fixed points, in order along it; special points on it are among its points.

    Parameters
    ----------
    name
        "origin", "learned", "collapsed-positive" and "-negative" (w1 = 0, the sign of w2); under weight decay "lower"
        and "upper" for w2 = p− and p+ (R15); "-mirror" for the other sign of w1. A branch that vanishes and comes
        back is two of one name.
    value, online, predictor, target
        The parameter, ascending, and w1, w2, θ, shape (n,).
    eigenvalues
        On the leaf or the balanced sheet, shape (n, 2), complex.
    stability
        "stable", "saddle", "unstable" or "degenerate" at every point, by the signs of determinant and trace.
    status
        "complete": to the ends of the range, or of the branch. "escaped": it runs to infinity at one of them.
    """

    name: str
    value: np.ndarray
    online: np.ndarray
    predictor: np.ndarray
    target: np.ndarray
    eigenvalues: np.ndarray
    stability: tuple[Verdict, ...]
    status: Status = "complete"

    def __repr__(self) -> str:
        """One line."""
        kinds = ", ".join(dict.fromkeys(self.stability))
        span = f"{self.value[0]:.7g} to {self.value[-1]:.7g}" if self.value.size else "nowhere"
        return f"Branch({self.name!r}, {span}, {self.value.size} points, {kinds}, {self.status})"


@dataclass(frozen=True, eq=False, repr=False)
class Bifurcation:
    """Branches of fixed points over a range of one parameter, and the points where they change.

    Parameters
    ----------
    parameter, interval
        What moves, from where to where.
    branches, points, escapes
        Everything there is; points and escapes by ascending value.
    notes
        What is so throughout the range, such as a branch that is degenerate at every value.
    """

    parameter: str
    interval: tuple[float, float]
    branches: tuple[Branch, ...]
    points: tuple[SpecialPoint, ...]
    escapes: tuple[Escape, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Three lines: the range, the branches by name, the points by type."""
        lo, hi = self.interval
        names = ", ".join(dict.fromkeys(branch.name for branch in self.branches)) or "none"
        seen = dict.fromkeys(f"{point.type} at {point.value:.7g}" for point in self.points)
        seen |= dict.fromkeys(f"escape at {escape.value:.7g}" for escape in self.escapes)
        return (
            f"Bifurcation({self.parameter} from {lo:.7g} to {hi:.7g}\n"
            f"  branches: {names}\n  points: {', '.join(seen) or 'none'})"
        )

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
        return {
            "parameter": self.parameter,
            "interval": list(self.interval),
            "method": "closed form",
            "branches": branches,
            "points": [point._asdict() for point in self.points],
            "escapes": [{**escape._asdict(), "branches": list(escape.branches)} for escape in self.escapes],
            "notes": list(self.notes),
        }
