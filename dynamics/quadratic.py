"""Roots of a quadratic without cancellation, overflow or underflow: the one home of the formula.

The roots of A x² − B x + C are q/A and C/q with q = (B + sign(B) √(B² − 4AC))/2: the sum adds up, and the other root
follows from the product of the two.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

_LARGEST_EXPONENT = 1024  # of floats, with mantissas from ½ to 1
_NO_EXPONENT = -(10**6)
_SPLIT = 2.0**27 + 1  # Dekker's: halves of 26 bits


class QuadraticRoots(NamedTuple):
    """Both roots of A x² − B x + C, and √(B² − 4AC) as their distance times |A|.

    Parameters
    ----------
    minus, plus
        (B − √(B² − 4AC))/(2A) and (B + √(B² − 4AC))/(2A); NaN where they are not real. Where A = 0 the one root C/B
        is the limit of the one that stays finite, and the other is infinite.
    root
        √(B² − 4AC), NaN where that is negative.
    """

    minus: np.ndarray
    plus: np.ndarray
    root: np.ndarray


def _exact_product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a b as the sum of its rounding and the rest (Dekker), for factors of modulus between 2^-500 and 2^500."""
    high = a * b
    a_high, b_high = _SPLIT * a, _SPLIT * b
    a_high, b_high = a_high - (a_high - a), b_high - (b_high - b)
    a_low, b_low = a - a_high, b - b_high
    return high, ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low


def are_floats(*values: Any) -> bool:
    """Whether all are NumPy's real numbers: neither symbols, nor complex, nor of another library.

    Examples
    --------
    >>> are_floats(1.0, np.ones(2)), are_floats(np.array([1j]))
    (True, False)
    """
    return all(
        isinstance(x, float | int | np.generic | np.ndarray) and np.asarray(x).dtype.kind in "fiu"
        for x in values
    )


def product(*factors: Any, over: tuple[Any, ...] = ()) -> np.ndarray:
    """Product of floats, divided by others: it leaves the range of floats only where the result itself does.

    Examples
    --------
    >>> float(product(2.0**600, 2.0**600, over=(2.0**999, 2.0**200)))
    2.0
    """
    return shifted(*scaled_product(*factors, over=over))


def scaled_product(*factors: Any, over: tuple[Any, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Product of floats, divided by others, as m 2ⁿ with ½ <= |m| < 1, or m = 0 and an n less than any other.

    Examples
    --------
    >>> [x.item() for x in scaled_product(2.0**1000, 2.0**1000, over=(0.5,))]
    [0.5, 2002]
    """
    mantissa, exponent = np.asarray(1.0), np.asarray(0)
    for x in factors:
        m, e = np.frexp(np.asarray(x, dtype=np.float64))
        mantissa, exponent = mantissa * m, exponent + e
    for x in over:
        m, e = np.frexp(np.asarray(x, dtype=np.float64))
        mantissa, exponent = mantissa / m, exponent - e
    return np.frexp(mantissa)[0], binary_exponent(mantissa, exponent)


def shifted(x: Any, power: Any) -> np.ndarray:
    """Scale by a power of two, x 2^power: infinite where that is larger than all floats.

    Examples
    --------
    >>> shifted([1.0, -3.0], 1023).tolist() == [2.0**1023, -np.inf]
    True
    """
    mantissa, exponent = np.frexp(np.asarray(x, dtype=np.float64))
    exponent = np.where(mantissa == 0, 0, exponent + power)
    infinite = exponent > _LARGEST_EXPONENT
    found = np.ldexp(mantissa, np.clip(exponent, -1100, _LARGEST_EXPONENT))
    return np.where(infinite, np.copysign(np.inf, mantissa), found)


def even_part(tau: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return τ' between ½ and 2 and n with τ = τ' 4ⁿ.

    Examples
    --------
    >>> [x.item() for x in even_part(12.0)]
    [0.75, 2]
    """
    mantissa, exponent = np.frexp(tau)
    odd = exponent % 2
    return np.ldexp(mantissa, odd), (exponent - odd) // 2


def binary_exponent(x: Any, power: Any = 0) -> np.ndarray:
    """Binary exponent of x 2^power; less than that of any other number where x = 0.

    Examples
    --------
    >>> binary_exponent([1.0, 8.0], 2).tolist()
    [3, 6]
    """
    mantissa, exponent = np.frexp(x)
    return np.where(mantissa == 0, _NO_EXPONENT, exponent + power)


def quadratic_roots(A: Any, B: Any, *C: Any) -> QuadraticRoots:
    """Roots of A x² − B x + C, to a few roundings also where they nearly meet or differ by hundreds of decades.

    Parameters
    ----------
    A, B
        Finite floats, broadcasting.
    C
        One or more factors of C: their product need not be a float.

    Returns
    -------
    QuadraticRoots
        With the discriminant from exact products, its sign is right but for the rounding of C itself. Roots beyond
        the largest float are infinite.

    Examples
    --------
    >>> [float(x) for x in quadratic_roots(1.0, 3.0, 2.0)[:2]]
    [1.0, 2.0]
    >>> [float(x) for x in quadratic_roots(1.0, 1e200, 1.0)[:2]]
    [1e-200, 1e+200]
    """
    A, B, *factors = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (A, B, *C)))
    a, e_a = np.frexp(A)
    b, e_b = np.frexp(B)
    c, e_c = np.ones_like(a), np.zeros_like(e_a)
    for part in factors:
        m, e = np.frexp(part)
        c, extra = np.frexp(c * m)
        e_c = e_c + e + extra
    # x = 2^k y makes A and C of one size, 2^m: then B 2^k/2^m decides alone which terms count
    odd = (e_c - e_a) % 2
    c, e_c = c * 2.0**odd, e_c - odd
    k = (e_c - e_a) // 2
    size = np.where((A == 0) | (c == 0), 0, e_b + k - (e_a + k + k))
    wide = size > 300  # B² against 4AC beyond 600 binary digits: the latter is nothing
    k, shift = np.where((A == 0) | (c == 0) | wide, 0, k), np.where(wide, 0, size)
    y_b = np.ldexp(b, np.maximum(shift, -400))
    square, rest = _exact_product(y_b, y_b)
    four, rest_4 = _exact_product(4 * a, c)
    alone = wide | (A == 0) | (c == 0)
    discriminant = np.where(alone, square, (square - four) + (rest - rest_4))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
        root = np.sqrt(discriminant)  # of B² − 4AC, in units of 2^unit
        unit = np.where(alone, e_b, e_a + k)
        q = (y_b + np.copysign(root, y_b)) / 2
        far = np.ldexp(q / a, unit - e_a)
        near = np.where(c == 0, 0.0 * q, np.ldexp(c / q, e_c - unit))
        first = B >= 0
        up = np.where(first, far, near)
        down = np.where(first, near, far)
        return QuadraticRoots(down, up, np.ldexp(root, unit))


def quadratic_root(A: Any, B: Any, C: Any, sign: int, root: Callable[[Any], Any]) -> Any:
    """Root (B + sign √(B² − 4AC))/(2A) of A x² − B x + C, for exact numbers and symbols.

    Parameters
    ----------
    A, B, C
        Fractions, or SymPy expressions, of which the textbook's form is kept where A ≠ 0: nothing cancels there.
    sign
        1 or −1.
    root
        The square root of their kind.

    Examples
    --------
    >>> from math import sqrt
    >>> quadratic_root(Fraction(1), Fraction(3), Fraction(2), -1, sqrt)
    1.0
    """
    spread = root(B**2 - 4 * A * C)
    if A != 0 and not (isinstance(B, Fraction) and sign * B < 0):
        return (B + sign * spread) / (2 * A)
    return C * (2 / (B + -sign * spread))
