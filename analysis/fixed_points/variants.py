"""Where one mode can rest, variant by variant: each is solved by hand, for exact letters or symbols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np

from analysis.fixed_points.kinds import (
    ACROSS,
    At,
    FixedPoint,
    FixedPointLine,
    Letters,
    Pair,
    Segment,
    Triple,
    floats,
)
from analysis.fixed_points.numbers import as_complex, as_float, context, verdict_of
from analysis.fixed_points.numbers import root as sqrt
from dynamics.quadratic import quadratic_root


def _point(
    q: Letters,
    name: str,
    at: At,
    values: Sequence[Any],
    *,
    across: Sequence[float] = (),
    sheet: str = "",
    note: str = "",
    half_stable: bool = False,
) -> FixedPoint:
    """Make a point from the eigenvalues that decide on it, and those of 0 `across` its leaf."""
    online, predictor, target = floats(at(q), f"the point {name}")
    rates = np.array([as_complex(s, f"an eigenvalue of the point {name}") for s in values])
    return FixedPoint(
        name=name,
        online=online,
        predictor=predictor,
        target=target,
        eigenvalues=np.append(across, rates),
        leaf_eigenvalues=rates,
        stability="half-stable" if half_stable else verdict_of(values),
        sheet=sheet,
        note=note,
        _at=at,
        _letters=q,
    )


def _both(point: FixedPoint, *signs: int) -> list[FixedPoint]:
    """Add the mirror image of a point, w1, w2, θ times the signs."""

    def mirrored(q: Letters) -> Triple:
        w1, w2, th = point._at(q)
        return signs[0] * w1, signs[1] * w2, signs[2] * th

    online, predictor, target = floats(mirrored(point._letters), f"the point {point.name}")
    turned = point.sheet and signs[int(point.sheet[1]) - 1] < 0
    image = replace(
        point,
        name=f"{point.name}-mirror",
        online=online,
        predictor=predictor,
        target=target,
        sheet=point.sheet.replace(">", "<") if turned else point.sheet,
        _at=mirrored,
    )
    return [point, image]


def _line(
    q: Letters,
    name: str,
    at: At,
    across: Callable[[Any], Sequence[Any]],
    breaks: Sequence[Any] = (),
    *,
    broken: bool = False,
) -> FixedPointLine:
    """Make a line from the eigenvalues across it, which change sign at `breaks`: no points if `broken`."""
    exact = {as_float(cut, f"an end of a segment of the line {name}"): context.convert(cut) for cut in breaks}
    cuts = sorted(exact)
    outer = 2 + 2 * max(map(abs, exact.values()), default=context.mpf(0))
    segments = []
    for lo, hi in pairwise([-inf, *cuts, inf]):
        inside = (exact.get(lo, -outer) + exact.get(hi, outer)) / 2
        segments.append(Segment(lo, hi, ACROSS[verdict_of(across(inside))]))
        if hi < inf and not broken:
            segments.append(Segment(hi, hi, "degenerate"))
    direction = None
    if name != "hyperbola":
        steps = (b - a for a, b in zip(at(q, 0), at(q, 1), strict=True))
        direction = tuple(as_float(step, f"the direction of the line {name}") for step in steps)
    return FixedPointLine(
        name=name,
        parameter="p" if name == "collapsed" else "a",
        direction=direction,
        segments=tuple(segments),
        _at=at,
        _letters=q,
    )


Rest = list[FixedPoint | FixedPointLine]


def _origin(q: Letters) -> Triple:
    return 0 * q.ls, 0 * q.ls, 0 * q.ls


def _learned_line(q: Letters, a: Any) -> Triple:
    return a, q.r, a


def _collapsed_line(q: Letters, p: Any) -> Triple:
    return 0 * p, p, 0 * p


def _signs(A: Any, B: Any, C: Any) -> list[int]:
    """Signs with which `quadratic_root` is real, one for a double root."""
    discriminant = B**2 - 4 * A * C
    if discriminant == 0:
        return [1] if A != 0 else []
    return [sign for sign in (-1, 1) if discriminant > 0 and (A != 0 or sign * B < 0)]


def _algebraic(attraction: Any) -> str:
    return f"{'attracts' if attraction > 0 else 'repels'} algebraically on the centre manifold"


def _balanced_origin(q: Letters, pair: Pair, across: Sequence[float] = ()) -> FixedPoint:
    """Origin of the leaf c = 0 at η = 0: dw2/dt ~ λd w2²/√(τo τp) − λs w2³/τo, slowed by the target (R7)."""
    note = _algebraic(q.ls)
    if q.ld:
        side, other = ("> 0", "< 0") if q.ld > 0 else ("< 0", "> 0")
        note = f"attracts from w2 {other} and repels to w2 {side}, algebraically"
    return _point(q, "origin", _origin, pair(0, 0), across=across, note=note, half_stable=q.ld != 0)


def _levels(
    q: Letters,
    pair: Pair,
    online: Callable[[Letters, Any], Any],
    elasticity: Callable[[Any], Any] = lambda p: 1,
    across: Sequence[Any] = (),
) -> list[FixedPoint]:
    """Points with λd p − λs p² = η τo, p ≠ 0, on w1 = θ = online(p) (R15); elasticity is d ln p/d ln w1."""
    points = []
    for sign in _signs(q.ls, q.ld, q.eta * q.to):
        gap = sign * sqrt(q.ld**2 - 4 * q.eta * q.to * q.ls)  # 2λs p − λd
        if q.eta == 0 and gap * q.ld <= 0:
            continue  # p = 0
        name = "learned" if q.eta == 0 else "saddle-node" if gap == 0 else "upper" if sign > 0 else "lower"

        def at(q: Letters, name: str = name, sign: int = sign) -> Triple:
            if name == "learned":
                p = q.r
            elif name == "saddle-node":
                p = q.r / 2
            else:
                p = quadratic_root(q.ls, q.ld, q.eta * q.to, sign, q.root)
            return online(q, p), p, online(q, p)

        p = at(q)[1]
        eigenvalues = [*across, *pair(p * q.ld / q.to, elasticity(p) * p * gap / q.to)]
        note = "" if gap else "p− and p+ meet: half-stable on the centre manifold"
        points.append(_point(q, name, at, eigenvalues, note=note))
    return points


def _gradient_flow(q: Letters, pair: Pair, on_leaf: bool) -> Rest:
    """Full flow: lines at η = 0 (R5), points on a leaf of it (R6), points at η > 0 (R15)."""
    if on_leaf:
        return [*_on_leaf(q, pair)]
    if q.eta:
        points = [_point(q, "origin", _origin, [-q.eta, *pair(0, q.eta)])]
        for point in _levels(q, pair, lambda q, p: q.balance * p, across=[-2 * q.eta]):
            points += _both(point, -1, 1, -1)
        return [*points]

    def across_collapsed(p: Any) -> list[complex]:
        return pair(p * q.ld / q.to, p * (q.ls * p - q.ld) / q.to)

    if q.ls == 0:
        return [_line(q, "collapsed", _collapsed_line, across_collapsed, [0])]
    breaks = [0, q.r]
    if q.ls < 0 and q.r**2 * q.tt * -q.ls > q.to and len(pair(0, 0)) == 2:
        breaks.append((1 if q.r > 0 else -1) * sqrt(-q.to / (q.tt * q.ls)))  # the trace is 0: Hopf
    return [
        _line(q, "learned", _learned_line, lambda a: pair(q.r * q.ld / q.to, q.ls * a**2 / q.tp), [0]),
        _line(q, "collapsed", _collapsed_line, across_collapsed, breaks),
    ]


def _on_leaf(q: Letters, pair: Pair) -> list[FixedPoint]:
    points = []
    r = q.r if q.ls else Fraction(0)
    excess = q.c + q.tp * r**2
    if q.ls and excess > 0:

        def learned(q: Letters) -> Triple:
            w1 = q.root((q.c + q.tp * q.r**2) / q.to)
            return w1, q.r, w1

        sheet = "w1 > 0" if q.c > 0 else "w2 > 0" if r > 0 else "w2 < 0"
        eigenvalues = pair(r * q.ld / q.to, q.ls * excess / (q.to * q.tp))
        points += _both(_point(q, "learned", learned, eigenvalues, across=[0.0], sheet=sheet), -1, 1, -1)
    if q.c == 0:
        points.append(_balanced_origin(q, pair, [0.0]))
    for sign, side in ((1, "positive"), (-1, "negative")) if q.c < 0 else ():

        def collapsed(q: Letters, sign: int = sign) -> Triple:
            return 0 * q.ls, sign * q.root(-q.c / q.tp), 0 * q.ls

        p = collapsed(q)[1]
        # λs p − λd, to relative accuracy where p is close to r
        gap = -q.ls * excess / (q.tp * (p + r)) if sign * r > 0 else q.ls * p - q.ld
        name, note = f"collapsed-{side}", ""
        if gap == 0:
            name, note = "pitchfork", f"the learned pair ends here: {_algebraic(q.ls)}"
        eigenvalues = pair(p * q.ld / q.to, p * gap / q.to)
        sheet = "w2 > 0" if sign > 0 else "w2 < 0"
        points.append(_point(q, name, collapsed, eigenvalues, across=[0.0], sheet=sheet, note=note))
    return points


def _tied(q: Letters, pair: Pair) -> Rest:
    """The leaf c = 0, w1 = w2, of the full flow (R7): w = −r is no fixed point, for there w2 ≠ r."""
    origin = _point(q, "origin", _origin, pair(0, q.eta)) if q.eta else _balanced_origin(q, pair)
    return [origin, *_levels(q, pair, lambda q, p: p)]


def _fixed_target(q: Letters, on_leaf: bool) -> Rest:
    """The planar flow with θ constant (R13); at η > 0, e = ±η √(τo τp) away from the origin."""

    def origin(q: Letters) -> Triple:
        return 0 * q.ls, 0 * q.ls, q.th

    def across(w1: Any, w2: Any) -> list[Any]:
        return [-q.ls * (w2**2 / q.to + w1**2 / q.tp)]

    pull, k = abs(q.th * q.ld), sqrt(q.to * q.tp)
    excess = pull**2 - q.eta**2 * q.to * q.tp
    growth = excess / (k * (pull + q.eta * k)) if excess else 0  # |θ λd|/√(τo τp) − η, of the right sign
    note = "" if excess else _algebraic(q.ls)
    at_origin = _point(q, "origin", origin, [growth, -q.eta - pull / k], note=note)
    points = []
    if q.eta:
        for sign in (1, -1):
            towards = sign * q.th * q.ld > 0

            def decayed(q: Letters, sign: int = sign) -> Triple:
                w2 = q.root((sign * q.th * q.ld - q.eta * q.root(q.to * q.tp)) / (q.ls * q.balance))
                return sign * q.balance * w2, w2, q.th

            if q.ls * (excess if towards else -1) > 0:
                eigenvalues = [-2 * q.eta, -2 * q.ls * decayed(q)[1] ** 2 / q.to]
                points += _both(
                    _point(q, "learned" if towards else "opposed", decayed, eigenvalues), -1, -1, 1
                )
            if q.ls == 0 and excess == 0 and towards:

                def line(q: Letters, a: Any, sign: int = sign) -> Triple:
                    return a, sign * a / q.balance, q.th

                return [_line(q, "learned", line, lambda a: [-2 * q.eta])]
        return [at_origin, *points]
    if on_leaf:
        if q.ls and (q.c or pull):

            def learned(q: Letters, wide: bool = q.c >= 0) -> Triple:
                spread = q.root(q.c**2 + 4 * q.to * q.tp * (q.th * q.r) ** 2)
                large = q.root((spread + (q.c if wide else -q.c)) / (2 * (q.to if wide else q.tp)))
                return (large, q.th * q.r / large, q.th) if wide else (q.th * q.r / large, large, q.th)

            w1, w2, _ = learned(q)
            name, sheet = "learned" if w1 else "collapsed", "w1 > 0" if q.c >= 0 else "w2 > 0"
            points = _both(_point(q, name, learned, across(w1, w2), across=[0.0], sheet=sheet), -1, -1, 1)
        return [*([at_origin] if q.c == 0 else []), *points]
    if pull == 0:
        return [
            _line(q, "learned", lambda q, a: (a, 0 * a, q.th), lambda a: across(a, 0), [0]),
            _line(q, "collapsed", lambda q, p: (0 * p, p, q.th), lambda p: across(0, p), [0]),
        ]
    if q.ls == 0:
        return [at_origin]

    def hyperbola(q: Letters, a: Any) -> Triple:
        return a, q.th * q.r / a, q.th

    return [
        at_origin,
        _line(q, "hyperbola", hyperbola, lambda a: across(*hyperbola(q, a)[:2]), [0], broken=True),
    ]


def _no_predictor(q: Letters, pair: Pair) -> Rest:
    """Only the origin, or where λd = λs + η τo the line w1 = θ (R11)."""
    gap = (q.ls - q.ld) / q.to + q.eta
    if gap == 0:
        trace = -(q.ld / q.to + 1 / q.tt)
        return [_line(q, "learned", lambda q, a: (a, 1 + 0 * a, a), lambda a: [trace])]
    return [_point(q, "origin", lambda q: (0 * q.ls, 1 + 0 * q.ls, 0 * q.ls), pair(q.ld / q.to, gap))]


def _no_stop_gradient(q: Letters) -> Rest:
    """Where dw1/dt = −(λs w2² − 2λd w2 + λs + η τo) w1/τo and dw2/dt vanish (R12)."""

    def level(q: Letters, sign: int) -> Any:
        return quadratic_root(q.ls, 2 * q.ld, q.ls + q.eta * q.to, sign, q.root)

    signs = _signs(q.ls, 2 * q.ld, q.ls + q.eta * q.to)
    if q.eta == 0:
        collapsed = _line(
            q,
            "collapsed",
            _collapsed_line,
            lambda p: [-(q.ls * p**2 - 2 * q.ld * p + q.ls) / q.to],
            [level(q, sign) for sign in signs],
        )
        if abs(q.ld) != abs(q.ls):
            return [collapsed]
        return [_line(q, "learned", _learned_line, lambda a: [-q.ls * a**2 / q.tp], [0]), collapsed]
    if q.ld == 0 and q.ls == -q.eta * q.to:
        return [
            _line(
                q, "learned", _learned_line, lambda a: [-q.ls * a**2 / q.tp - q.eta], [-q.balance, q.balance]
            )
        ]
    points = [_point(q, "origin", _origin, [-q.ls / q.to - q.eta, -q.eta])]
    for sign in signs:

        def at(q: Letters, sign: int = sign) -> Triple:
            w2 = level(q, sign)
            w1 = q.root(q.eta * q.tp * w2 / (q.ld - q.ls * w2))
            return w1, w2, w1

        gap = -sign * sqrt(q.ld**2 - q.ls * (q.ls + q.eta * q.to))  # λd − λs w2
        if level(q, sign) * gap > 0:
            w1 = at(q)[0]
            trace = -q.ls * w1**2 / q.tp - q.eta
            root = sqrt(trace**2 + 16 * (w1 * gap) ** 2 / (q.to * q.tp))
            point = _point(q, "lower" if sign < 0 else "upper", at, [(trace + root) / 2, (trace - root) / 2])
            points += _both(point, -1, 1, -1)
    return [*points]


def _fast_predictor(q: Letters) -> Rest:
    """Every w1 at η = 0, where e = 0 (R21); w2 = θ r/w1 is taken as 0 at w1 = 0."""
    if q.eta:
        return [_point(q, "origin", _origin, [-q.eta, -1 / q.tt])]
    if q.r == 0:
        return [_line(q, "learned", _learned_line, lambda a: [-1 / q.tt])]
    note = "belongs to the learned line: the predictor is taken as 0 at w1 = 0"
    return [
        _line(q, "learned", _learned_line, lambda a: [-1 / q.tt], [0], broken=True),
        _point(q, "origin", _origin, [0, -1 / q.tt], note=note),
    ]


def _direct(
    q: Letters, pair: Pair, sqrt_s: Callable[[Letters, Any], Any], elasticity: Callable[[Any], Any]
) -> Rest:
    """The planar flow with w2 = p(s), s = λs w1², given √s as a function of p (R22)."""
    if q.eta == 0 and q.ls <= 0:
        return [_line(q, "learned", lambda q, a: (a, 0 * a, a), lambda a: [-1 / q.tt])]
    note = "" if q.eta else _algebraic(1 if q.ld <= 0 else -1)
    points = [_point(q, "origin", _origin, pair(0, q.eta), note=note)]
    if q.ls > 0 and q.ld > 0:
        for point in _levels(q, pair, lambda q, p: sqrt_s(q, p) / q.root(q.ls), elasticity):
            points += _both(point, -1, 1, -1)
    return [*points]


def _directset(q: Letters, pair: Pair, on_leaf: bool) -> Rest:
    """Solve p = s."""
    return _direct(q, pair, lambda q, p: q.root(p), lambda p: 2)


def _directpred(q: Letters, pair: Pair, on_leaf: bool) -> Rest:
    """Solve p = √s + s/10."""
    return _direct(
        q,
        pair,
        lambda q, p: quadratic_root(Fraction(1, 10), 0 * q.ls - 1, -p, 1, q.root),
        lambda p: 2 / (1 + 1 / sqrt(1 + 2 * p / 5)),
    )


RESTS: dict[str, Callable[[Letters, Pair, bool], Rest]] = {
    "full": _gradient_flow,
    "fixed-target": lambda q, pair, on_leaf: _fixed_target(q, on_leaf),
    "tied": lambda q, pair, on_leaf: _tied(q, pair),
    "no-predictor": lambda q, pair, on_leaf: _no_predictor(q, pair),
    # the limit τt → 0, in which −γ is left of the pair
    "no-ema": lambda q, pair, on_leaf: _gradient_flow(q, lambda beta, gamma: [-gamma], on_leaf),
    "no-stop-gradient": lambda q, pair, on_leaf: _no_stop_gradient(q),
    "symmetric-predictor": _gradient_flow,
    "fast-predictor": lambda q, pair, on_leaf: _fast_predictor(q),
    "directpred": _directpred,
    "directset": _directset,
}
"""By the name of a variant whose fixed points are known, what solves it."""


def rest_of(variant: str, q: Letters, pair: Pair, on_leaf: bool) -> Rest:
    """Solve a variant: isolated points and lines, given what makes eigenvalues on the leaf of β and γ."""
    if variant not in RESTS:
        raise ValueError(f"`variant` must be one whose fixed points are known, got {variant}")
    return RESTS[variant](q, pair, on_leaf)
