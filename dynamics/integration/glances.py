"""Glances: whether trajectories in lanes are at their ends, told of many at once, in vectors.

A look (`finished` of `dynamics.integration.mode_course`) has many branches, so that no compiler makes vectors of it.
A glance is the same without a branch, for the cases that nearly all trajectories are in: no weight decay, λs > 0,
and a kind of flow in `GLANCED`. It follows from the same theorems. Every other case is left to the look: numbers
beyond `_BEYOND`, starts and states on a boundary between two fates, times of many thousand units.

About an end (a, b, g*) in balanced units the linear flow is e^{Jt} = e^{μt} (C + S M) with J = μ + M, M of trace
zero and M² = δ, so that

    C = cosh(√δ t),   S = sinh(√δ t)/√δ,   (C + S M)² = (C² + δ S²) + 2 C S M,

whatever the sign of δ. It is found for t/2¹¹ by series, and squared eleven times.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from dynamics.integration.explicit_pair import FLOW, larger, smaller
from dynamics.integration.mode_course import EXPLICIT, GROWN, SHARE
from dynamics.integration.mode_ends import COLLAPSED, KEPT, LEARNED, NEAR, SHRUNK, UNDECIDED
from dynamics.integration.mode_flow import FULL, NO_EMA, TIED

GLANCED = (FULL, TIED, NO_EMA)
"""Kinds of flow of which a glance tells anything."""
UNSAID, AT_REST, NOT_NEAR, CLOSE, GOING = range(5)
"""What a glance says.

UNSAID: look. AT_REST: it is at the end. NOT_NEAR: nothing is known, look again later. CLOSE, GOING: the state is that
after the time that is left, within the tolerance of the end or not.
"""

# with rates and weights between 1/_BEYOND and _BEYOND no product below leaves the range of floats
_BEYOND = 1e40
# time, in units of the rates of the linear flow, beyond which the series of `_flow` have too few terms
_FEW = 600.0
# two numbers whose difference is a smaller fraction of them than this: which is larger is for the look to say
_APART = 1e-9

curvature = FLOW["curvature"]
VERSION = zlib.crc32(Path(__file__).read_bytes())
"""A constant of every kernel with glances, hence in its key, see `dynamics.integration.explicit_pair`."""

_inlined = njit(forceinline=True, fastmath={"contract", "arcp"}, error_model="numpy")


@_inlined
def _held(x: Any) -> Any:
    return (abs(x) < _BEYOND) & (abs(x) > 1 / _BEYOND)


@_inlined
def _exp(x: Any) -> Any:
    """e^x by its series to x¹², for |x| <= 0.3: the next term is rounding."""
    high = 1 + x / 8 * (1 + x / 9 * (1 + x / 10 * (1 + x / 11 * (1 + x / 12))))
    return 1 + x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6 * (1 + x / 7 * high))))))


@_inlined
def _to_the_32nd(x: Any) -> Any:
    x2 = x * x
    x4 = x2 * x2
    x8 = x4 * x4
    x16 = x8 * x8
    return x16 * x16


@_inlined
def _squared(c: Any, s: Any, delta: Any) -> Any:
    """(C + S M)² for M² = δ."""
    return c * c + delta * s * s, 2 * c * s


@_inlined
def _flow(mu: Any, delta: Any, time: Any) -> Any:
    """C and S of e^{μt + Mt} = C + S M for M² = δ and (|μ| + √|δ|) t <= `_FEW`."""
    h = time / 2048
    d = delta * h * h
    scale = _exp(mu * h)
    c = scale * (1 + d / 2 * (1 + d / 12 * (1 + d / 30 * (1 + d / 56 * (1 + d / 90)))))
    s = scale * h * (1 + d / 6 * (1 + d / 20 * (1 + d / 42 * (1 + d / 72 * (1 + d / 110)))))
    c, s = _squared(c, s, delta)
    c, s = _squared(c, s, delta)
    c, s = _squared(c, s, delta)
    c, s = _squared(c, s, delta)
    c, s = _squared(c, s, delta)
    c, s = _squared(c, s, delta)
    c, s = _squared(c, s, delta)
    c, s = _squared(c, s, delta)
    c, s = _squared(c, s, delta)
    c, s = _squared(c, s, delta)
    return _squared(c, s, delta)


@_inlined
def glance(kind: Any, start: Any, y: Any, p: Any, left: Any, rtol: Any, atol: Any) -> Any:
    """What can be said at once of a trajectory at y after the time `left`, may be infinite.

    Parameters
    ----------
    kind
        One of `GLANCED`.
    start, y
        (w1, w2, θ), on the states of the variant.
    p
        (λs, λd, 1/τo, 1/τp, 1/τt, η).
    left
        Time that is left; UNSAID where it is < 0.
    rtol, atol
        Tolerances.

    Returns
    -------
    said, learned, arrived, state
        What is said. Unless UNSAID: whether it is certain and shown that the trajectory ends in a fixed point
        (`arrived` of `mode_ends`), and whether that is a learned one. AT_REST: the fixed point (w1, w2, θ). CLOSE,
        GOING: the state after the time `left`.
    """
    ls, ld, over_to, over_tp, zeta, eta = p
    from_o, from_p = math.sqrt(over_to), math.sqrt(over_tp)  # from balanced units
    a0, b0, g0 = start[0] / from_o, start[1] / from_p, start[2] / from_o
    a, b, g = y[0] / from_o, y[1] / from_p, y[2] / from_o
    coupling, damping = ld * over_to * from_p, ls * over_to * over_tp
    size = larger(larger(abs(a), abs(b)), abs(g))
    known = _held(over_to) & _held(over_tp) & _held(zeta) & _held(coupling) & _held(damping)
    known &= _held(size) & _held(a) & (larger(larger(abs(a0), abs(b0)), abs(g0)) < _BEYOND)
    known &= (left >= 0) & (eta == 0) & (ls > 0) & (a != 0) & (b != 0) & (g != 0)

    sign = 1.0 if coupling > 0 else -1.0
    level = abs(coupling) / damping
    above = sign * b
    c = (a0 - b0) * (a0 + b0) if kind != TIED else 0.0
    depth = math.sqrt(larger(-c, 0.0))
    known &= (abs(c) > 1e-30 * size * size) | (kind == TIED)
    known &= abs(depth - level) > _APART * level
    known &= size < GROWN * larger(larger(abs(a0), abs(b0)), larger(abs(g0), level))
    kept = True
    if kind != TIED:
        kept = abs((a - b) * (a + b) - c) <= KEPT * (a0 * a0 + b0 * b0 + a * a + b * b)

    learns = (c > 0) | ((above > 0) & (depth < level))
    if kind == TIED:
        learns = above > 0
    height = math.sqrt(larger((level - depth) * (level + depth) if c <= 0 else level * level + c, 0.0))
    end_a = math.copysign(height, a) if learns else 0.0
    end_b = sign * level if learns else math.copysign(depth, b)
    certain = kept & ((c <= 0) | (a * a0 > 0))  # for c <= 0 a g > 0, too, which holds where it is near
    now = abs(a) if kind == NO_EMA else larger(abs(a), abs(g))
    begun = abs(a0) if kind == NO_EMA else larger(abs(a0), abs(g0))
    near = (abs(a - end_a) <= NEAR * height) & (abs(g - end_a) <= NEAR * height)
    near &= abs(b - end_b) <= NEAR * larger(abs(end_b), NEAR * height)
    arrived = certain & (near if learns else now <= SHRUNK * begun)

    # the slow rate of decay to the end
    square = end_a * end_a + end_b * end_b
    x = damping * square
    steep = damping * height * height if learns else end_b * (end_b * damping - coupling)
    if kind == NO_EMA:
        slow = steep
    else:
        trace, det = x + zeta, zeta * steep
        towards = 2 * det / (trace + math.sqrt(larger(trace * trace - 4 * det, 0.0)))
        slow = towards if coupling * end_b > 0 else smaller(x, zeta)
    known &= slow > 0

    # how far it is from the end, and a bound on the error of the linear flow, as in `followed` of `mode_approach`
    side = 1.0 if end_a * end_b >= 0 else -1.0
    first, last = end_a + side * end_b, a + side * b
    z = (last - first) / (last + first)
    z2 = z * z
    sigma = 2 * side * z * (1 + z2 * (1 / 3 + z2 * (1 / 5 + z2 * (1 / 7 + z2 / 9))))  # side ln(last/first)
    close = last * first > 0
    whole = abs(end_a) + abs(end_b)
    if kind == NO_EMA:
        unit, second, way = 0.0, 0.0, abs(sigma)
        mu, m11, m12, m21 = -slow, 0.0, 0.0, 0.0
    else:
        unit, second = math.sqrt(abs(coupling / end_b) / zeta), g - end_a
        way = math.sqrt(sigma * sigma + unit * second * (unit * second))
        mu, m11, m12, m21 = -(x + zeta) / 2, (zeta - x) / 2, coupling, zeta * end_b
    close &= way <= 0.05
    reach = 1.2 * whole if kind == NO_EMA else larger(1.2 * whole, 1 / unit)
    kappa = curvature(kind, end_a, end_b, coupling, damping, unit * zeta, way) * way / slow
    close &= kappa <= 0.5
    delta = m11 * m11 + m12 * m21
    soon = left * (math.sqrt(abs(delta)) - mu) <= _FEW
    time = left if soon else 0.0
    remains = _to_the_32nd(_to_the_32nd(_exp(-slow * time / 2048)))
    remains *= remains
    bound = kappa / ((1 - kappa) * (1 - kappa)) * way * remains * reach

    c11, s11 = _flow(mu, delta, time)
    sigma, second = (
        (c11 + s11 * m11) * sigma + s11 * m12 * second,
        s11 * m21 * sigma + (c11 - s11 * m11) * second,
    )
    s2 = sigma * sigma
    sinh = sigma * (1 + s2 / 6 * (1 + s2 / 20 * (1 + s2 / 42)))
    cosh = math.sqrt(1 + sinh * sinh)
    then_a, then_b = end_a * cosh + end_b * sinh, end_b * cosh + end_a * sinh
    then_g = then_a if kind == NO_EMA else end_a + second

    absolute = atol / from_p
    allowed = absolute + rtol * size
    away = larger(larger(abs(then_a - end_a), abs(then_b - end_b)), abs(then_g - end_a))
    size_then = larger(larger(abs(then_a), abs(then_b)), abs(then_g))
    follows = close & (bound <= SHARE * allowed)
    rests = (left == math.inf) | (follows & (away + bound <= allowed / 100))
    ends = away <= absolute + rtol * size_then
    # beyond `EXPLICIT` a trajectory that cannot be followed is for the stiff method
    patient = left * (zeta + damping * size * size + abs(coupling) * size) <= EXPLICIT
    said = UNSAID
    if known & arrived & soon & follows:
        said = CLOSE if ends else GOING
    if known & arrived & rests:
        said = AT_REST
    if known & ((not arrived) | (patient & soon & (not follows))):
        said = NOT_NEAR
    if said == AT_REST:
        then_a, then_b, then_g = end_a, end_b, end_a
    return said, learns, arrived, (then_a * from_o, then_b * from_p, then_g * from_o)


# --- many at once -------------------------------------------------------------------------------------------

AT_ONCE = 8
"""Trajectories that are glanced at together: what the widest vector registers hold."""
(LEFT, W1, W2, TH, S1, S2, S3) = (np.uint64(i * AT_ONCE) for i in range(7))
(LS, LD, TO, TP, TT, ETA) = (np.uint64(i * AT_ONCE) for i in range(7, 13))
(SAID, FATE, Z1, Z2, Z3) = (np.uint64(i * AT_ONCE) for i in range(13, 18))
GLANCE = 18 * AT_ONCE
"""Numbers that `glances_at` is given and gives."""


@_inlined
def put(near: Any, s: Any, start: Any, y: Any, p: Any, left: Any) -> None:
    """Write the arguments of the glance at place s."""
    near[S1 + s], near[S2 + s], near[S3 + s] = start
    near[W1 + s], near[W2 + s], near[TH + s] = y
    near[LS + s], near[LD + s], near[TO + s], near[TP + s], near[TT + s], near[ETA + s] = p
    near[LEFT + s] = left


@_inlined
def glances_at(kind: Any, near: Any, rtol: Any, atol: Any) -> None:
    """Glance at all places."""
    for s in range(np.uint64(AT_ONCE)):
        start = near[S1 + s], near[S2 + s], near[S3 + s]
        y = near[W1 + s], near[W2 + s], near[TH + s]
        p = near[LS + s], near[LD + s], near[TO + s], near[TP + s], near[TT + s], near[ETA + s]
        said, learns, arrived, end = glance(kind, start, y, p, near[LEFT + s], rtol, atol)
        near[SAID + s] = said
        near[FATE + s] = (LEARNED if learns else COLLAPSED) if arrived else UNDECIDED
        near[Z1 + s], near[Z2 + s], near[Z3 + s] = end


@_inlined
def glanced_at(near: Any, s: Any) -> Any:
    """What the glance at place s said, the fate it saw, and the end."""
    return np.int64(near[SAID + s]), np.int64(near[FATE + s]), (near[Z1 + s], near[Z2 + s], near[Z3 + s])
