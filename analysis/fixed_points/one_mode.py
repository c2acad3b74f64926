"""Where one mode can rest: all fixed points of every variant, exact.

Each one-mode variant is solved by hand (`analysis.fixed_points.variants`). Its formulas are written once and read
twice: with Fractions, which decide exactly what exists and give the numbers, and with SymPy, which shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from typing import Any

import numpy as np

from analysis.fixed_points.kinds import (
    FixedPoint,
    FixedPointLine,
    Letters,
    LineStability,
    PointStability,
    Segment,
)
from analysis.fixed_points.numbers import context, eigenvalues, simplest_fraction
from analysis.fixed_points.variants import rest_of
from dynamics.fields.vector_field import VectorField
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import MODE_FIELDS

__all__ = [
    "LEAVES",
    "FixedPoint",
    "FixedPointLine",
    "FixedPoints",
    "LineStability",
    "PointStability",
    "Segment",
    "fixed_points",
    "solve",
]

LEAVES = ("full", "symmetric-predictor", "no-ema", "fixed-target")
"""Variants that keep c = τo w1² − τp w2² and rest along lines at η = 0: an invariant isolates points."""


@dataclass(frozen=True, eq=False, repr=False)
class FixedPoints:
    """All fixed points of a variant: isolated `points` and `lines`."""

    variant: str
    points: tuple[FixedPoint, ...]
    lines: tuple[FixedPointLine, ...]

    def __repr__(self) -> str:
        """One line: the variant, and each point and line with its stability."""
        items = [f"{point.name} {point.stability}" for point in self.points]
        items += [
            f"line {line.name} {'/'.join(part.stability for part in line.segments)}" for line in self.lines
        ]
        return f"FixedPoints({self.variant!r}: {', '.join(items) or 'none'})"

    def __getitem__(self, name: str) -> FixedPoint:
        """Return the point of this name."""
        return {point.name: point for point in self.points}[name]

    def report(self, *, exact: bool = True) -> dict[str, Any]:
        """Return plain values, as `dyn fixed-points --json` prints them; only `exact` imports SymPy."""

        def values(item: Any, *names: str) -> dict[str, Any]:
            plain = {name: getattr(item, name) for name in ("name", *names)}
            return {**plain, **({"exact": item.exact()} if exact else {})}

        points = [
            {
                **values(point, *ModeState._fields, "stability", "sheet", "note"),
                "eigenvalues": [[s.real, s.imag] for s in point.eigenvalues.tolist()],
                "leaf_eigenvalues": [[s.real, s.imag] for s in point.leaf_eigenvalues.tolist()],
            }
            for point in self.points
        ]
        lines = [
            {
                **values(line, "parameter", "direction"),
                "segments": [
                    {"range": [x if isfinite(x) else None for x in part[:2]], "stability": part.stability}
                    for part in line.segments
                ],
            }
            for line in self.lines
        ]
        return {"variant": self.variant, "fixed_points": points, "lines": lines}


def fixed_points(
    system: ModeSystem,
    variant: str | VectorField = "full",
    *,
    invariant: float | None = None,
    target: float | None = None,
) -> FixedPoints:
    """All fixed points of one mode.

    Full flow at η = 0: the lines (a, r, a) and (0, p, 0) (R5), or with an invariant the points on the leaf
    τo w1² − τp w2² = c (R6). At η > 0: the origin and w2 = p±, w1 = θ = ± sqrt(τp/τo) w2 (R15).

    Parameters
    ----------
    system
        One mode; any finite λs and λd, negative ones too (R26).
    variant
        Name of a one-mode variant, or its field, a value of `dynamics.variants.MODE_FIELDS`.
    invariant
        c, for the variants in `LEAVES` at η = 0: isolates points on one leaf, where stability is then judged.
    target
        θ, for fixed-target, which must have it, and for no other variant.

    Returns
    -------
    FixedPoints
        Complete. What exists is decided exactly, for the simplest fractions that round to the numbers given.

    Raises
    ------
    ValueError
        Not one mode; an unknown variant; an invariant or target that is missing, not finite or does not
        apply; a number out of range; λs = 0 where every state is at rest (λd = η = 0), or for fast-predictor.

    Notes
    -----
    Sources: R5–R7, R11–R13, R15, R21, R22; for λs <= 0 derived from the fields.

    Examples
    --------
    >>> found = fixed_points(ModeSystem(1.0, 0.5), invariant=-0.09)
    >>> [(point.name, point.online, point.predictor, point.stability) for point in found.points][1:3]
    [('learned-mirror', -0.4, 0.5, 'stable'), ('collapsed-positive', 0.0, 0.3, 'saddle')]
    """
    name = variant if isinstance(variant, str) else variant.name
    if name not in MODE_FIELDS or variant not in (name, MODE_FIELDS[name]):
        raise ValueError(f"`variant` must be one of {', '.join(MODE_FIELDS)}, or its field, got {variant!r}")
    if system.n_modes != 1:
        raise ValueError(f"`system` must have one mode, got {system.n_modes}")
    _check_options(system, name, invariant, target)
    names = ("lambda_s", "lambda_d", "tau_online", "tau_predictor", "tau_target", "weight_decay")
    numbers = {option: float(np.squeeze(getattr(system, option))) for option in names}
    numbers |= {"invariant": float(invariant or 0.0), "target": float(target or 0.0)}
    letters = [simplest_fraction(number) for number in numbers.values()]
    return solve(name, letters, on_leaf=invariant is not None)


def solve(variant: str, letters: Sequence[Fraction], *, on_leaf: bool) -> FixedPoints:
    """All fixed points of a variant, for exact letters.

    Parameters
    ----------
    variant
        Name of a one-mode variant.
    letters
        λs, λd, τo, τp, τt, η, c and θ; the last two count only where the variant has them.
    on_leaf
        Whether to stay on the leaf of c.

    Examples
    --------
    >>> letters = [Fraction(x) for x in (1, "1/2", 1, 1, 1, 0, "-9/100", 0)]
    >>> [point.name for point in solve("full", letters, on_leaf=True).points][:2]
    ['learned', 'learned-mirror']
    """
    ls, ld, to, tp, tt, eta, c, th = letters
    q = Letters(ls, ld, to, tp, tt, eta, c, th)

    def pair(beta: Any, gamma: Any) -> list[Any]:
        return eigenvalues(-(beta + gamma + 1 / q.tt), context.convert(gamma) / q.tt)

    rest = rest_of(variant, q, pair, on_leaf)
    points = tuple(item for item in rest if isinstance(item, FixedPoint))
    return FixedPoints(variant, points, tuple(item for item in rest if isinstance(item, FixedPointLine)))


def _check_options(system: ModeSystem, variant: str, invariant: float | None, target: float | None) -> None:
    MODE_FIELDS[variant].require(system.state(), system)
    decays = bool(np.any(np.not_equal(system.weight_decay, 0.0)))
    for option, value in (("invariant", invariant), ("target", target)):
        if value is not None and not isfinite(value):
            raise ValueError(f"`{option}` must be finite, got {value}")
    if (target is None) == (variant == "fixed-target"):
        raise ValueError(
            "`target` must be given for the variant fixed-target and for no other,"
            f" got {'none' if target is None else target} with {variant}"
        )
    if invariant is not None and (variant not in LEAVES or decays):
        raise ValueError(
            f"`invariant` must go with weight decay 0 and one of the variants {', '.join(LEAVES)},"
            f" got {invariant} with {variant} and weight decay {system.weight_decay}"
        )
    if system.lambda_s[0] != 0 or variant in ("no-predictor", "directpred", "directset"):
        return
    pull = system.lambda_d[0] * (1.0 if target is None else target)
    if variant == "fast-predictor" or (pull == 0 and not decays):
        raise ValueError(
            "`lambda_s` must not be 0 for the fast predictor, nor where the target exerts no force and weight"
            f" decay is 0, so that every state is at rest; got 0 with {variant}"
        )
