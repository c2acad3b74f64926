"""Numbers of many digits and any size, and their way back to floats: closed forms over hundreds of decades."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

DIGITS = 80
"""Decimal digits that are carried: differences that floats resolve keep sixty of them."""

context: Any = mpmath.mp.clone()
context.dps = DIGITS

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
