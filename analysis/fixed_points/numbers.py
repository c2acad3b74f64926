"""Numbers of many digits and any size, and their way back to floats: closed forms over hundreds of decades."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from analysis.stability.verdicts import Verdict

DIGITS = 300
"""Decimal digits that are carried: sums of numbers of very different sizes keep their smaller terms."""

context: Any = mpmath.mp.clone()
context.dps = DIGITS
# so that a fraction on the left of − and / meets such a number on the right, as it does with + and *
context.mpf.mpf_convert_lhs = classmethod(lambda cls, x: context.convert(x))

SMALLEST, LARGEST = float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max)


def simplest_fraction(value: float) -> Fraction:
    """Simplest fraction that rounds to a float, else the one that its digits name.

    Examples
    --------
    >>> simplest_fraction(1 / 3), simplest_fraction(0.09)
    (Fraction(1, 3), Fraction(9, 100))
    """
    simple = Fraction(value).limit_denominator(1_000_000)
    return simple if float(simple) == value else Fraction(repr(value))


def root(value: Any) -> Any:
    """Square root to `DIGITS` digits, of a fraction or a number of many digits."""
    return context.sqrt(value)


def as_float(value: Any, what: str) -> float:
    """Round to a float, or refuse by name what no float can hold.

    Parameters
    ----------
    value
        A fraction or a number of many digits.
    what
        What it is, for the message.

    Raises
    ------
    ValueError
        It is not 0 and its modulus is below 2.2e-308 or above 1.8e308.

    Examples
    --------
    >>> as_float(Fraction(1, 4), "w1")
    0.25
    """
    if value == 0:
        return 0.0
    wide = context.convert(value)
    if not SMALLEST <= abs(wide) <= LARGEST:
        raise ValueError(
            f"{what} must be a number that a float can hold, of a modulus from 2.2e-308 to 1.8e308,"
            f" got {context.nstr(wide, 5)}"
        )
    return float(wide)


def eigenvalues(trace: Any, determinant: Any) -> list[Any]:
    """Eigenvalues of a 2×2 matrix to `DIGITS` digits, the larger real part first, without cancellation.

    Examples
    --------
    >>> [complex(s) for s in eigenvalues(-3, 2)]
    [(-1+0j), (-2+0j)]
    """
    b, product = context.convert(-trace), context.convert(determinant)
    square = b**2 - 4 * product
    if square < 0:
        turn = context.sqrt(-square) / 2
        return [context.mpc(-b / 2, turn), context.mpc(-b / 2, -turn)]
    s = -(b + (1 if b >= 0 else -1) * context.sqrt(square)) / 2
    other = product / s if s else context.mpf(0)
    return [context.mpc(x) for x in sorted((s, other), reverse=True)]


def as_complex(value: Any, what: str) -> complex:
    """Round an eigenvalue to floats as `as_float` does."""
    value = context.convert(value)
    return complex(as_float(value.real, what), as_float(value.imag, what))


def verdict(trace: Any, determinant: Any) -> Verdict:
    """Stability of a 2×2 Jacobian from the signs of its determinant and trace (R5, R9, R15).

    "degenerate" where the determinant is 0, or the trace is and the determinant is positive: at bifurcations.

    Examples
    --------
    >>> verdict(-1, 1), verdict(1, -1), verdict(-1, 0)
    ('stable', 'saddle', 'degenerate')
    """
    if determinant < 0:
        return "saddle"
    if determinant == 0 or trace == 0:
        return "degenerate"
    return "stable" if trace < 0 else "unstable"


def verdict_of(values: Iterable[Any]) -> Verdict:
    """Stability from the signs of eigenvalues' real parts, each right to `DIGITS` digits.

    Examples
    --------
    >>> verdict_of([-1, Fraction(1, 2)]), verdict_of([0, -1])
    ('saddle', 'degenerate')
    """
    signs = [context.sign(context.convert(value).real) for value in values]
    if 1 in signs:
        return "saddle" if -1 in signs else "unstable"
    return "degenerate" if 0 in signs else "stable"
