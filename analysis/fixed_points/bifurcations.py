"""Where the fixed points of one mode change number or stability as one parameter moves.

Branches and special points come in closed form (`analysis.fixed_points.special_points`), in numbers of eighty digits
that neither overflow nor underflow; `analysis.fixed_points.bifurcation_checks` then holds them against the
equations, against the stability along every branch, and against `analysis.fixed_points.one_mode`, which decides by
other code what exists at one value.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from analysis.fixed_points.bifurcation_checks import check
from analysis.fixed_points.branches import Stretch, stretches
from analysis.fixed_points.diagrams import Bifurcation, Branch, Escape, SpecialPoint, Status
from analysis.fixed_points.numbers import (
    as_complex,
    as_float,
    context,
    eigenvalues,
    simplest_fraction,
    verdict,
)
from analysis.fixed_points.special_points import (
    Family,
    Flight,
    Happening,
    Numbers,
    Root,
    happenings,
    vanishes,
)
from dynamics.objectives import OBJECTIVES, linear_objectives, with_weight
from dynamics.system import ModeSystem

_MOMENTS, _TIMES = ("lambda-s", "lambda-d"), ("tau-online", "tau-predictor", "tau-target")
PARAMETERS = (*_MOMENTS, *_TIMES, "weight-decay", "invariant", "alpha", "beta")
"""What can move."""


def bifurcation(
    system: ModeSystem,
    parameter: str,
    interval: tuple[float, float],
    *,
    invariant: float | None = None,
    objective: str = "byol",
    alpha: float = 1.0,
    beta: float = 1.0,
) -> Bifurcation:
    """Fixed points of the full flow of one mode as a parameter moves, and where they change.

    With weight decay, w2 (λd − λs w2) = η τo, w1 = θ = ± sqrt(τp/τo) w2, and the origin: a saddle-node at
    η* = λd²/(4 τo λs). On the leaf τo w1² − τp w2² = c at η = 0, w2 = r or w1 = 0: a pitchfork at c = −τp r².

    Parameters
    ----------
    system
        One mode, of any sizes; the value in it of the parameter that moves is not used.
    parameter
        One of `PARAMETERS`; "invariant" is c, and "alpha" and "beta" need an objective that has them.
    interval
        (lo, hi), lo < hi.
    invariant
        c of the leaf to stay on: given at η = 0 unless it is what moves, and left out at η > 0.
    objective, alpha, beta
        "byol", or "byol-prime" or "raft", which replace the moments as R24 and R26 say; α >= 0, β > 0.

    Returns
    -------
    Bifurcation
        Complete: special points are roots of polynomials of degree 1 or 2 with exact coefficients. A special point
        within four roundings of an end of the range lies on it.

    Raises
    ------
    ValueError
        An unknown parameter or objective; a range that is empty or out of bounds; an invariant that is missing or
        has no meaning; λs = λd = 0 at a value in the range, where every state is at rest; a number that no float
        can hold.
    ArithmeticError
        The result failed its own check, an error of this program (`analysis.fixed_points.bifurcation_checks`).

    Notes
    -----
    On the balanced sheet the trace −(2 p² λs/τo + 1/τt) is negative for λs > 0, and for λs < 0 the determinant is:
    no Hopf bifurcation (R15). For λs < 0 (R26) collapsed points on a leaf have one where −λs p² τt = τo, if p is
    between 0 and r.

    Examples
    --------
    >>> found = bifurcation(ModeSystem(1.0, 0.5), "invariant", (-0.5, 0.2))
    >>> [(point.type, point.value, point.predictor) for point in found.points]
    [('branch-point', -0.25, 0.5), ('saddle-node', 0.0, 0.0)]
    """
    for option, given, known in (
        ("parameter", parameter, PARAMETERS),
        ("objective", objective, tuple(linear_objectives())),
    ):
        if given not in known:
            raise ValueError(f"`{option}` must be one of {', '.join(known)}, got {given!r}")
    if parameter in ("alpha", "beta") and parameter not in OBJECTIVES[objective].weights:
        takers = " or ".join(with_weight(parameter))
        raise ValueError(f"`objective` must be {takers} for {parameter} to move, got {objective}")
    if not 0 <= alpha < np.inf:
        raise ValueError(f"`alpha` must be finite and >= 0, got {alpha}")
    if not 0 < beta < np.inf:
        raise ValueError(f"`beta` must be finite and > 0, got {beta}")
    _check_range(system, parameter, interval, invariant)
    family = _family(system, parameter, interval, invariant, objective, alpha, beta)
    special, flights = happenings(family)
    parts = stretches(family, special, flights)
    branches = [branch for part in parts for branch in _branches(family, parameter, part)]
    points = [point for item in special for point in _points(family, parameter, item)]
    points.sort(key=lambda point: point.value)
    found = Bifurcation(
        parameter,
        (float(interval[0]), float(interval[1])),
        tuple(branches),
        tuple(points),
        tuple(_escape(parameter, flight) for flight in flights),
        tuple(_notes(family)),
    )
    check(found, family)
    return found


# --- what moves ---------------------------------------------------------------------------------------------


def _check_range(
    system: ModeSystem, parameter: str, interval: tuple[float, float], invariant: float | None
) -> None:
    if system.n_modes != 1:
        raise ValueError(f"`system` must have one mode, got {system.n_modes}")
    if not (len(interval) == 2 and np.all(np.isfinite(interval)) and interval[0] < interval[1]):
        raise ValueError(
            f"`interval` must be two finite numbers, the smaller first, got {' and '.join(map(str, interval))}"
        )
    lo = float(interval[0])
    if (parameter in (*_TIMES, "beta") and lo <= 0) or (parameter in ("weight-decay", "alpha") and lo < 0):
        at_least = ">=" if parameter in ("weight-decay", "alpha") else ">"
        raise ValueError(f"`interval` must start {at_least} 0 for {parameter}, got {lo}")
    eta = float(np.squeeze(system.weight_decay))
    decays = parameter == "weight-decay" or eta > 0
    if decays and parameter == "invariant":
        raise ValueError(f"`weight_decay` must be 0 for the invariant to move, got {eta}")
    if (invariant is None) != (decays or parameter == "invariant"):
        raise ValueError(
            "`invariant` must be given at weight decay 0, where fixed points form lines and only those on one"
            f" leaf are isolated, and left out where it moves or weight decay takes it to 0, got {invariant}"
        )
    if invariant is not None and not np.isfinite(invariant):
        raise ValueError(f"`invariant` must be finite, got {invariant}")


def _family(
    system: ModeSystem,
    parameter: str,
    interval: tuple[float, float],
    invariant: float | None,
    objective: str,
    alpha: float,
    beta: float,
) -> Family:
    from numpy.polynomial import Polynomial

    names = ("lambda_s", "lambda_d", "tau_online", "tau_predictor", "tau_target", "weight_decay")
    numbers = [float(np.squeeze(getattr(system, name))) for name in names]
    fixed = dict(zip(PARAMETERS, [*numbers, float(invariant or 0.0), alpha, beta], strict=True))
    moves = {name: np.array([simplest_fraction(value)], dtype=object) for name, value in fixed.items()}
    moves[parameter] = np.array([Fraction(0), Fraction(1)], dtype=object)
    ls, ld, to, tp, tt, eta, c, a, b = moves.values()
    transform = linear_objectives()[objective].transform
    assert transform is not None
    ls, ld = (poly.coef for poly in transform(*(Polynomial(letter) for letter in (ls, ld, a, b))))
    decays = parameter == "weight-decay" or fixed["weight-decay"] > 0
    lo, hi = (simplest_fraction(float(end)) for end in interval)
    family = Family(Numbers(ls, ld, to, tp, tt, eta, c), lo, hi, decays)
    if vanishes(ls) and vanishes(ld):
        raise ValueError(
            "`lambda_s` must not be 0 together with λd: every state would be at rest, got 0 and 0"
        )
    if not decays or parameter == "weight-decay":
        for value, _, _ in _both_vanish(family):
            raise ValueError(
                f"`interval` must leave out {parameter} = {context.nstr(value, 8)}, where λs and λd of the flow are"
                f" both 0 and every state is at rest, got {' and '.join(map(str, interval))}"
            )
    return family


def _both_vanish(family: Family) -> list[Root]:
    q = family.letters
    if vanishes(q.ls) or vanishes(q.ld):
        return family.roots(q.ld if vanishes(q.ls) else q.ls)
    values = {item.exact for item in family.roots(q.ld)}
    return [item for item in family.roots(q.ls) if item.exact in values]


# --- results in floats --------------------------------------------------------------------------------------


def _mirrored(family: Family, name: str) -> bool:
    return name == "learned" or (family.balanced and name != "origin")


def _branches(family: Family, parameter: str, part: Stretch) -> list[Branch]:
    def column(what: str, values: list[Any]) -> np.ndarray:
        return np.array([as_float(x, f"{what} of the branch {part.name}") for x in values])

    value = column(f"the value of {parameter}", [sample.value for sample in part.samples])
    w1, w2 = (column(name, [getattr(sample, name) for sample in part.samples]) for name in ("w1", "w2"))
    blocks = [(sample.trace, sample.gamma / sample.tt) for sample in part.samples]
    rates = np.array([[as_complex(s, "an eigenvalue of the flow") for s in eigenvalues(*x)] for x in blocks])
    verdicts = tuple(verdict(*block) for block in blocks)
    status: Status = "escaped" if part.escaped else "complete"
    branch = Branch(part.name, value, w1, w2, w1.copy(), rates, verdicts, status)
    if not _mirrored(family, part.name):
        return [branch]
    return [branch, replace(branch, name=f"{part.name}-mirror", online=0.0 - w1, target=0.0 - w1)]


def _points(family: Family, parameter: str, item: Happening) -> list[SpecialPoint]:
    where = f"at the {item.kind}"
    value, w1, w2 = (
        as_float(x, f"{name} {where}")
        for x, name in (
            (item.value, f"the value of {parameter}"),
            (item.w1, "w1"),
            (item.w2, "w2"),
        )
    )
    point = SpecialPoint(item.kind, parameter, value, w1, w2, w1, item.note)
    return [point] if w1 == 0 else [point, point._replace(online=-w1, target=-w1)]


def _escape(parameter: str, flight: Flight) -> Escape:
    return Escape(parameter, as_float(flight.value, f"the value of {parameter} at the escape"), flight.names)


def _notes(family: Family) -> list[str]:
    """What is degenerate at every value of the parameter."""
    notes = []
    if family.balanced and vanishes(family.fold):
        notes.append("p− and p+ are one at every value: a saddle-node throughout")
    if not family.balanced and vanishes(family.letters.c):
        notes.append("c = 0: the origin is degenerate at every value (R7)")
    elif not family.balanced and vanishes(family.fork) and not vanishes(family.letters.ld):
        notes.append(
            "c = −τp r² at every value: a pitchfork throughout, the collapsed point w2 = r is degenerate"
        )
    if not family.balanced and not vanishes(family.letters.c) and vanishes(family.centre):
        notes.append("the trace of the collapsed points is 0 at every value")
    return notes
