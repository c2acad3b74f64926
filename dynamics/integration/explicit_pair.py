"""An explicit pair for one mode, compiled: the flow, a step, its control, and how a trajectory is opened.

The embedded Runge–Kutta pair of Tsitouras (2011) of order 5(4), as inlined functions of numbers: for lanes on the CPU
(`dynamics.integration.lane_kernels`) and threads on CUDA. `dynamics.integration.mode_course` ends what the pair leaves,
and is compiled here too, for both, with the modules that it is built on.

Numba's cache on disk notices changes of the file that a function is in, of no other: so the texts of all these files
are part of every kernel's key. This module imports Numba: only kernels import it, when they are asked for.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from types import CellType, FunctionType, ModuleType
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from dynamics.integration import mode_approach, mode_course, mode_ends, mode_flow, mode_step
from dynamics.integration.mode_flow import (
    DIRECT,
    FAST,
    FIXED,
    IDENTITY,
    NO_EMA,
    NO_STOP,
    TIED,
)

HANDOVER = 400
"""Tries of the explicit pair after which the stiff method takes over."""

# NaN and infinity keep their meaning: a trajectory that runs away is told by them.
FAST_MATH = {"contract", "reassoc", "nsz", "arcp"}
_device = njit(forceinline=True, fastmath=FAST_MATH, error_model="numpy")

_MODULES = mode_flow, mode_step, mode_ends, mode_approach, mode_course
_INLINED = frozenset(("scaled", "curvature", "_exponential", "_over", "_shifted"))
"""Functions of these that a look consists of, and that are called in few places."""


def _checksum(*modules: ModuleType) -> int:
    """A number that changes with the texts of modules."""
    return zlib.crc32(b"".join(Path(str(module.__file__)).read_bytes() for module in modules))


def _compiled(*modules: ModuleType) -> dict[str, Any]:
    """Compile the functions of modules that run without Numba too, each calling the others' compiled versions.

    A name that is one thing in one of them and another in the next is refused by a ValueError.
    """
    names: dict[str, Any] = {}
    for module in modules:
        for name, item in vars(module).items():
            if not name.startswith("__") and names.setdefault(name, item) is not item:
                raise ValueError(f"{name} of {module.__name__} is another thing in a module before it")
    functions = {name: item for name, item in names.items() if isinstance(item, FunctionType)}
    texts = CellType(_checksum(*modules))
    for name, function in functions.items():
        # a cell that no instruction reads: Numba's key of a function holds the contents of its cells
        code = function.__code__.replace(co_freevars=("texts",))
        again = FunctionType(code, names, name, None, (texts,))
        again.__module__ = function.__module__
        names[name] = njit(error_model="numpy", cache=True, forceinline=name in _INLINED)(again)
    return {name: names[name] for name in functions}


FLOW = _compiled(*_MODULES)
looked, finished = FLOW["looked"], FLOW["finished"]
brought_to_its_end = FLOW["brought_to_its_end"]
VERSION = zlib.crc32(Path(__file__).read_bytes(), _checksum(*_MODULES))
"""A constant of every kernel, hence in its key."""

TABLEAU = (
    (0.161,),
    (-0.008480655492356989, 0.335480655492357),
    (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
    (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
    (
        5.86145544294642,
        -12.92096931784711,
        8.159367898576159,
        -0.071584973281401,
        -0.028269050394068383,
    ),
    (
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
    ),
    (
        -0.00178001105222577714,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        0.015151515151515152,
    ),
)
"""Tsitouras' pair: the stages, the step of order 5, whose slope opens the next step, and its error."""

# Of the narrower type: beside a float64 they are one, while a Python number would turn a float32 into a float64.
ZERO, ONE = np.float32(0), np.float32(1)


@_device
def larger(a: Any, b: Any) -> Any:
    """The larger of two numbers, b if a is NaN: unlike max() one instruction, and there is one on CUDA."""
    return a if a > b else b


@_device
def smaller(a: Any, b: Any) -> Any:
    """The smaller of two numbers, b if a is NaN."""
    return a if a < b else b


# --- the flow -----------------------------------------------------------------------------------------------
# form = (kind, α½, α1), see `dynamics.variants`; y = (w1, w2, θ); p = (λs, λd, 1/τo, 1/τp, 1/τt, η)


@_device
def constrained(form: Any, y: Any, p: Any) -> Any:
    """The state on which the variant lives, as `VectorField.constrain`."""
    w1, w2, th = y
    kind = form[0]
    if kind == TIED:
        return w1, w1, th
    if kind == IDENTITY:
        return w1, w2 * ZERO + ONE, th
    if kind in (NO_EMA, NO_STOP):
        return w1, w2, w1
    if kind == FAST:
        return w1, (th * p[1] / (w1 * p[0]) if w1 != ZERO else w1), th
    if kind == DIRECT:
        s = larger(p[0] * w1 * w1, p[0] * ZERO)
        return w1, type(s)(form[1]) * math.sqrt(s) + type(s)(form[2]) * s, th
    return y


@_device
def derivative(form: Any, y: Any, p: Any) -> Any:
    """d(w1, w2, θ)/dt of the variant, as its field in `dynamics.fields.modes`."""
    w1, w2, th = constrained(form, y, p)
    kind = form[0]
    ls, ld, over_to, over_tp, over_tt, eta = p
    if kind == IDENTITY:
        return (th * ld - w1 * ls) * over_to - eta * w1, w2 * ZERO, (w1 - th) * over_tt
    e = th * ld - w2 * w1 * ls
    pull = w2 * e + (w2 * w1 * ld - w1 * ls) if kind == NO_STOP else w2 * e
    dw1 = pull * over_to - eta * w1
    dw2 = w1 * e * over_tp - eta * w2
    if kind in (FAST, DIRECT):
        dw2 = w2 * ZERO
    if kind == FIXED:
        return dw1, dw2, th * ZERO
    if kind in (NO_EMA, NO_STOP):
        return dw1, dw2, dw1
    return dw1, dw2, (w1 - th) * over_tt


# --- the step -----------------------------------------------------------------------------------------------


@_device
def _scaled(a: Any, x: Any) -> Any:
    return a * x[0], a * x[1], a * x[2]


@_device
def _axpy(a: Any, x: Any, y: Any) -> Any:
    return a * x[0] + y[0], a * x[1] + y[1], a * x[2] + y[2]


@_device
def slope_2(row: Any, k1: Any) -> Any:
    """The slope of the step to the second stage."""
    (a,) = row
    return _scaled(a, k1)


@_device
def slope_3(row: Any, k1: Any, k2: Any) -> Any:
    """The slope of the step to the third stage."""
    a, b = row
    return _axpy(b, k2, _scaled(a, k1))


@_device
def slope_4(row: Any, k1: Any, k2: Any, k3: Any) -> Any:
    """The slope of the step to the fourth stage."""
    a, b, c = row
    return _axpy(c, k3, slope_3((a, b), k1, k2))


@_device
def slope_5(row: Any, k1: Any, k2: Any, k3: Any, k4: Any) -> Any:
    """The slope of the step to the fifth stage."""
    a, b, c, d = row
    return _axpy(d, k4, slope_4((a, b, c), k1, k2, k3))


@_device
def slope_6(row: Any, k1: Any, k2: Any, k3: Any, k4: Any, k5: Any) -> Any:
    """The slope of the step to the sixth stage."""
    a, b, c, d, e = row
    return _axpy(e, k5, slope_5((a, b, c, d), k1, k2, k3, k4))


@_device
def slope_7(row: Any, k1: Any, k2: Any, k3: Any, k4: Any, k5: Any, k6: Any) -> Any:
    """The slope of the step itself."""
    a, b, c, d, e, f = row
    return _axpy(f, k6, slope_6((a, b, c, d, e), k1, k2, k3, k4, k5))


@_device
def stage(form: Any, y: Any, h: Any, slope: Any, p: Any) -> Any:
    """The derivative after a step of size h with a slope."""
    return derivative(form, _axpy(h, slope, y), p)


@_device
def last_stage(
    form: Any, y: Any, h: Any, k1: Any, k2: Any, k3: Any, k4: Any, k5: Any, k6: Any, p: Any, tableau: Any
) -> Any:
    """The state after the step, its slope there, and the estimated error."""
    z = _axpy(h, slope_7(tableau[5], k1, k2, k3, k4, k5, k6), y)
    k7 = derivative(form, z, p)
    a, b, c, d, e, f, g = tableau[6]
    error = _axpy(g, k7, slope_7((a, b, c, d, e, f), k1, k2, k3, k4, k5, k6))
    return z, k7, _scaled(h, error)


@_device
def step(form: Any, y: Any, h: Any, k1: Any, p: Any, tableau: Any) -> Any:
    """One step of Tsitouras' pair: the state after it, its slope there, and the estimated error."""
    k2 = stage(form, y, h, slope_2(tableau[0], k1), p)
    k3 = stage(form, y, h, slope_3(tableau[1], k1, k2), p)
    k4 = stage(form, y, h, slope_4(tableau[2], k1, k2, k3), p)
    k5 = stage(form, y, h, slope_5(tableau[3], k1, k2, k3, k4), p)
    k6 = stage(form, y, h, slope_6(tableau[4], k1, k2, k3, k4, k5), p)
    return last_stage(form, y, h, k1, k2, k3, k4, k5, k6, p, tableau)


@_device
def size(y: Any) -> Any:
    """The largest of three numbers."""
    return larger(larger(abs(y[0]), abs(y[1])), abs(y[2]))


@_device
def chosen(first: Any, x: Any, y: Any) -> Any:
    """The first of two states, or the second."""
    return x[0] if first else y[0], x[1] if first else y[1], x[2] if first else y[2]


def _step_factor(typingctx: Any, error: Any, limit: Any, other: Any, bound: Any) -> Any:
    """0.9 r^(−3/16) to within 4.2 %, r the larger of error/limit and other/bound, all four of them >= 0.

    The bits of a float are its binary logarithm, but for a shift and at most 0.0861: the difference of those of two
    is that of a quotient, and −3/16 of it are the bits of the power. No division, no root, and NaN reads as large.
    Off by 3/16 · 0.0861 either way, and half of 0.0861: in all by a factor of 2^0.0592.
    """
    width, fraction = (64, 52) if error == types.float64 else (32, 23)
    one = (1023 if width == 64 else 127) << fraction
    safe = one - round(
        (0.1521 + 0.0430) * 2**fraction
    )  # log2 of 0.9, and half of what the last bits are off by

    def built(_context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        whole = ir.IntType(width)
        a, b, c, d = (builder.bitcast(value, whole) for value in given)
        first, second = builder.sub(a, b), builder.sub(c, d)
        larger = builder.select(builder.icmp_signed(">", first, second), first, second)
        power = builder.mul(builder.ashr(larger, whole(4)), whole(3))
        return builder.bitcast(builder.sub(whole(safe), power), given[0].type)

    return error(error, error, error, error), built


step_factor: Any = intrinsic(_step_factor)


@_device
def controlled(form: Any, y: Any, z: Any, error: Any, h: Any, rtol: Any, atol: Any) -> Any:
    """Whether a step of size h from y to z is accurate enough, and the next step size.

    The error of w1 and θ is measured against the encoder, which leaves and approaches zero by multiplication, that of
    w2 against the larger of both.
    """
    encoder = larger(abs(y[0]), abs(z[0]))
    if form[0] not in (FIXED, FAST, DIRECT):
        encoder = larger(encoder, larger(abs(y[2]), abs(z[2])))
    predictor = larger(encoder, larger(abs(y[1]), abs(z[1])))
    follower = error[2]
    if form[0] in (FAST, DIRECT):  # their θ is not bounded by w1, whose sign it must not hide
        follower = follower * (encoder / larger(encoder, larger(abs(y[2]), abs(z[2]))))
    # w1 last: a NaN anywhere is one in the error of w1, and of two numbers larger gives that
    off, allowed = larger(abs(follower), abs(error[0])), type(h)(TINY) + rtol * encoder
    aside, bound = abs(error[1]), atol + rtol * predictor
    accepted = (off < allowed) & (aside < bound)
    factor = smaller(larger(step_factor(off, allowed, aside, bound), type(h)(0.2)), type(h)(8))
    return accepted, factor * h


@_device
def attempt(form: Any, y: Any, k: Any, h: Any, p: Any, rtol: Any, atol: Any, tableau: Any) -> Any:
    """Try a step of size h: the state and slope after it, whether it is accurate enough, and the next step size."""
    z, slope, error = step(form, y, h, k, p, tableau)
    return z, slope, *controlled(form, y, z, error, h, rtol, atol)


# --- rest, and what a trajectory did --------------------------------------------------------------------------


@_device
def opening(form: Any, start: Any, p: Any, rtol: Any, first_way: Any, look: Any) -> Any:
    """Constrained start, its slope, the first step to try, and the speed to look at.

    The first step moves Euler's method by a fraction `first_way` of the state.
    """
    y = constrained(form, start, p)
    k = derivative(form, y, p)
    way, speed = size(y), size(k)
    h = first_way * way / speed if speed > ZERO else ONE / p[4]
    return y, k, h, look * p[4] * larger(way, abs(p[1] / p[0]) if p[0] != ZERO else way)


@_device
def departure(form: Any, start: Any, y: Any, p: Any, t: Any) -> Any:
    """How far c = τo w1² − τp w2² has come off e^{−2ηt} c(0) (R2)."""
    a, b, _ = constrained(form, start, p)
    c0 = (a * a) / p[2] - (b * b) / p[3]
    a, b, _ = constrained(form, y, p)
    return abs((a * a) / p[2] - (b * b) / p[3] - c0 * math.exp(-(p[5] + p[5]) * t))


PAUSE = 16  # tries until a trajectory that was seen not to be at rest is looked at again
NEVER = 2**62
TINY = np.float32(1e-30)


def numbers(dtype: str) -> tuple[Any, Any, Any]:
    """Scalar type, tableau and machine epsilon."""
    real = np.dtype(dtype).type
    return real, tuple(tuple(real(a) for a in row) for row in TABLEAU), np.finfo(real).eps


@_device
def wide(y: Any) -> Any:
    """The state in double precision, in which looks and the stiff method compute."""
    return np.float64(y[0]), np.float64(y[1]), np.float64(y[2])
