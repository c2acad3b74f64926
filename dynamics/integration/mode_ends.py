"""One mode's flow in two unknowns: the ends of trajectories, and the proof that a run has arrived in one."""

from __future__ import annotations

import math
from typing import Any

from dynamics.integration.mode_flow import (
    DIRECT,
    FAST,
    FIXED,
    FULL,
    IDENTITY,
    NO_EMA,
    NO_STOP,
    TIED,
    TINY,
    encoder_size,
    still,
)

STEADY, END_TIME, DIVERGED, MAX_STEPS, SLOW = range(5)
"""How a run ends: indices into `dynamics.integration.ensemble.STATUSES`."""
RUNNING = 5
"""It has not ended."""
LEARNED, COLLAPSED, UNDECIDED = range(3)
"""What a trajectory did: indices into `dynamics.integration.ensemble.FATES`."""

NEAR = 1e-2
"""A learned end counts as reached in kind when every weight is within this fraction of it."""
SHRUNK = 1e-3
"""A collapsed end counts as reached in kind when the encoder has shrunk to this fraction of its start."""
_ROUNDING = 2.0**-52
KEPT = 1e-2
"""Fraction of the squares of the weights, at the start and now, by which c may be off: the loosest tolerance."""


def arrived(kind: Any, y: Any, start: Any, p: Any) -> Any:
    """Where the trajectory through y ends, if that is certain and the run has shown it.

    Certain: y lies in a region from which every trajectory ends in the point returned, for the reason given at the
    variant below. Shown: every weight of a learned end is within `NEAR` of it; for a collapsed end w1 and θ have
    shrunk to `SHRUNK` of their size at the start. Both are conditions on the state y, at the scale of the encoder.

    Parameters
    ----------
    kind
        Kind of the flow.
    y, start
        State and start, balanced and scaled.
    p
        Parameters of `scaled`.

    Returns
    -------
    outcome, end
        STEADY, or SLOW where the end is approached like a power of t; RUNNING where it is not certain or not shown.

    Notes
    -----
    With b* = A/B = √τp r. η = 0, on the leaf a² − b² = c of the start:

    - full: on the leaf the flow of (σ, g) is planar with negative divergence −B (a² + b²) − 1/τt: no cycles, so every
      bounded trajectory ends in a fixed point (R6). For c > 0 there is one on each branch. For c <= −b*² and b > 0,
      or c <= 0 and b <= 0, there is only the collapsed one. For −b*² < c <= 0 and b > 0, the flow is cooperative
      (∂σ̇/∂g > 0, ∂ġ/∂σ = b/τt > 0): where a and g are positive, a box between a point below with E >= 0, a >= g
      and one above with E <= 0, a <= g is never left, and holds the learned point alone.
    - tied: c = 0. no-ema: db/dt = a² (A − B b) in one dimension (R14). fixed-target: a b moves monotonically to
      θ λd/B (R13).
    - fast-predictor: a is constant (R21), and with weight decay a = e^{−ηt} a(0) and b follows a linear
      equation. direct: planar with the Dulac function 1/b (R22).
    - no-stop-gradient: (ln |a|)′ = −B (b − b*)² − C with C >= 0 (R12). no-predictor: linear (R11).

    η > 0:

    - Collapse: η > η* = A²/4B (R15); or all weights below b−, the smaller root of A b − B b² = η, a box that no
      trajectory leaves because |a|, |b|, |g| <= x < b− gives d|a|/dt <= x (A x − B x²) − η x < 0 on its faces.
    - Collapse with b = −β < 0 (A > 0), full: V = a² + (A β τt) g² obeys dV/dt <= −2 min(B β² + η, 1/τt) V where
      dβ/dt <= 0, and A |a g| <= A V/(2 √(A β τt)). With η τt <= 1, A V <= ½ η β √(A β τt) and B V <= η/12 the latter
      is at most ηβ/4, so −(1¼ + 1/12) ηβ <= dβ/dt < 0: V falls as e^{−2ηt} at least, β^{3/2} not faster, and both
      conditions hold for ever.
    - Learning, full and no-ema: v = c/u with |c| falling. With du/dt = u (A g − B (u² − v²)/4 − η) and
      g′ = ((u + v)/2 − g)/τt the flow of (u, g) is cooperative, and (u0, g0) with A g0 >= B u0²/4 + η and
      2 g0 <= u0 − max(−c, 0)/u0 stays below every trajectory that starts above it. As c → 0 what is left above it is
      the fixed point b+ alone.
    - fixed-target: the sign of a + sign(θλd) b is conserved. direct: cooperative in (a, g), above or below the saddle.
    """
    a, b, g = y
    coupling, damping, zeta, eta, loss, gain, c1, c2 = p
    if eta == 0 and kind in (FULL, FIXED, NO_EMA):
        # the balance law (R2): weights that were so large in between that rounding took c prove nothing
        first, last = (start[0] - start[1]) * (start[0] + start[1]), (a - b) * (a + b)
        if abs(last - first) > KEPT * (start[0] * start[0] + start[1] * start[1] + a * a + b * b):
            return RUNNING, y
    # an encoder that has become zero has sunk below the smallest number: where it would return, that is not rest
    sunk = kind in (FULL, DIRECT) and a == 0 and g == 0 and (start[0] != 0 or start[2] != 0)
    if (_at_rest(kind, y, p) and not sunk) or (_same(y, start) and _balanced(kind, y, p)):
        return STEADY, y
    if kind == IDENTITY:
        if loss + eta > 0:
            return _shown(STEADY, kind, y, (0.0, 0.0, 0.0), start)
        if loss + eta == 0:
            end = (zeta * a + gain * g) / (zeta + gain)
            return _shown(STEADY, kind, y, (end, 0.0, end), start)
        return RUNNING, y
    if kind == FAST:
        if still(start):
            return _shown(STEADY, kind, y, (0.0, 0.0, 0.0), start)
        if eta == 0:
            a = start[0]
            return _shown(STEADY, kind, y, (a, coupling / damping if damping != 0 else b, a), start)
        lag = (
            1 - eta / zeta
        )  # b − b*/lag decays at the rate lag/τt, and grows without bound where that is not positive
        if lag <= 0 and coupling != 0:
            return _shown(STEADY, kind, y, (0.0, b, 0.0), start)
        return _shown(STEADY, kind, y, (0.0, coupling / damping / lag if coupling != 0 else 0.0, 0.0), start)
    if a == 0 and b == 0 and kind != NO_STOP and kind != FIXED:
        back = start[1] != 0 and math.copysign(1.0, b) * coupling > 0
        if kind in (FULL, NO_EMA) and abs(start[0]) > abs(start[1]):  # c > 0
            back = True
        if eta == 0 and back:
            return RUNNING, y  # sunk beneath the smallest float, it would come back
        return _shown(STEADY, kind, y, (0.0, 0.0, 0.0), start)
    if damping <= 0:
        return _arrived_without_damping(kind, y, start, p)
    level = coupling / damping
    if kind == NO_STOP:
        return _arrived_no_stop(y, start, p, level)
    if kind == FIXED:
        return _arrived_fixed(y, start, p)
    sign = -1.0 if level < 0 else 1.0
    level = abs(level)
    # roots of A b − B b² = η, each without cancellation
    lower, upper, beyond = 0.0, level, False
    if eta > 0:
        square = coupling * coupling - 4 * eta * damping
        beyond = square < 0
        total = abs(coupling) + math.sqrt(max(square, 0.0))
        if not beyond:
            lower, upper = 2 * eta / total, total / (2 * damping)
    if kind == DIRECT:
        if a == 0 or coupling <= 0 or beyond:
            return _shown(SLOW if a != 0 and eta == 0 else STEADY, kind, y, (0.0, 0.0, 0.0), start)
        floor, ceiling = _preimage(lower, c1, c2), _preimage(upper, c1, c2)
        x, z = abs(a), math.copysign(1.0, a) * g
        if eta > 0 and x <= floor and z <= floor and x + z < 2 * floor:
            return _shown(STEADY, kind, y, (0.0, 0.0, 0.0), start)
        if eta == 0 or (x >= floor and z >= floor and x + z > 2 * floor):
            end = math.copysign(ceiling, a)
            slow = eta > 0 and lower == upper
            return _shown(SLOW if slow else STEADY, kind, y, (end, upper, end), start)
        return RUNNING, y
    b = sign * b  # (b, A) → (−b, −A) leaves the flow as it is
    if eta > 0:
        if beyond or (abs(b) < lower and encoder_size(kind, y) < lower):
            return _shown(STEADY, kind, y, (0.0, 0.0, 0.0), start)
        if kind == FULL and b < 0 and eta <= zeta:
            shape = -b * abs(coupling) / zeta
            v = a * a + shape * g * g
            if abs(coupling) * v <= -b * eta * math.sqrt(shape) / 2 and 12 * damping * v <= eta:
                return _shown(STEADY, kind, y, (0.0, 0.0, 0.0), start)
        x, z = abs(a), math.copysign(1.0, a) * g
        u = x + b
        deficit = max(-(x - b) * u, 0.0)
        if u > 0 and abs(coupling) * z > eta:
            u0 = min(min(u, level), 2 * math.sqrt((abs(coupling) * z - eta) / damping))
            least = (damping * u0 * u0 / 4 + eta) / abs(coupling)
            if u0 > 0 and least <= min(z, (u0 - deficit / u0) / 2):
                end = math.copysign(upper, a)
                return _shown(SLOW if lower == upper else STEADY, kind, y, (end, sign * upper, end), start)
        return RUNNING, y
    c = 0.0 if kind == TIED else (start[0] - start[1]) * (start[0] + start[1])
    root = math.sqrt(abs(c))
    if (
        abs(c) < TINY and kind != TIED and abs(start[0]) != abs(start[1])
    ):  # the product is not a number any more
        apart = abs(start[0]) - abs(start[1])
        c = math.copysign(TINY, apart)
        root = math.sqrt(abs(apart)) * math.sqrt(abs(start[0]) + abs(start[1]))
    depth = root if c < 0 else 0.0
    if c > 0 or (b > 0 and depth < level):
        if c <= 0 and kind != NO_EMA and not (a * g > 0):
            return RUNNING, y
        if c > 0 and a * start[0] <= 0:  # the flow conserves its sign, so an integration has lost it
            return RUNNING, y
        size = math.sqrt(level - depth) * math.sqrt(level + depth) if c <= 0 else math.hypot(level, root)
        end = math.copysign(size, a)
        return _shown(STEADY, kind, y, (end, sign * level, end), start)
    slow = depth == level if b > 0 else depth == 0
    return _shown(SLOW if slow else STEADY, kind, y, (0.0, sign * math.copysign(depth, b), 0.0), start)


def _at_rest(kind: Any, y: Any, p: Any) -> Any:
    """Whether y is a fixed point: told without products of small numbers, which may be zero where the flow is not."""
    a, b, g = y
    coupling, damping, eta, loss = p[0], p[1], p[3], p[4]
    if kind == FAST or (kind not in (FIXED, NO_EMA, NO_STOP) and a != g):
        return False
    if a == 0 and (b == 0 or kind == IDENTITY):
        return True
    if kind == IDENTITY:
        return loss + eta == 0
    if kind == DIRECT:
        if eta == 0:
            return a == 0 or coupling == b * damping
        return a == 0 or b * (coupling - b * damping) == eta
    if eta != 0:
        return False
    if kind == FIXED:
        pull = g * coupling
        if g == 0 or coupling == 0:
            return a == 0 or b == 0 or damping == 0
        return abs(pull) > TINY and pull == a * b * damping
    if kind == NO_STOP:
        return a == 0 or (loss == 0 and coupling == b * damping)
    return a == 0 or coupling == b * damping


def _same(y: Any, z: Any) -> Any:
    return y[0] == z[0] and y[1] == z[1] and y[2] == z[2]


def _balanced(kind: Any, y: Any, p: Any) -> Any:
    """Whether decay and growth cancel at y up to the rounding of their terms, for both weights of a mode at once.

    It is asked of a start alone: a run that passes a saddle goes on.
    """
    a, b, g = y
    coupling, damping, eta = p[0], p[1], p[3]
    if kind not in (FULL, TIED, NO_EMA) or (kind != NO_EMA and a != g):
        return False
    target = a if kind == NO_EMA else g
    pull, push = coupling * target, damping * a * b
    terms, rounding = abs(pull) + abs(push), 16 * _ROUNDING
    if eta * min(abs(a), abs(b), abs(a * terms), abs(b * terms)) < TINY:
        return False
    e = pull - push
    return abs(b * e - eta * a) <= rounding * (abs(b) * terms + eta * abs(a)) and abs(
        a * e - eta * b
    ) <= rounding * (abs(a) * terms + eta * abs(b))


def _preimage(level: Any, c1: Any, c2: Any) -> Any:
    """X >= 0 with c1 x + c2 x² = level."""
    if level == 0:
        return 0.0
    return 2 * level / (c1 + math.sqrt(c1 * c1 + 4 * c2 * level))


def _arrived_no_stop(y: Any, start: Any, p: Any, level: Any) -> Any:
    a, b, _ = y
    damping, eta, loss = p[1], p[3], p[4]
    shrinking = loss + eta
    if shrinking > 0:
        if eta > 0:
            return _shown(STEADY, NO_STOP, y, (0.0, 0.0, 0.0), start)
        # x = b − b*, q = C/B: a² − x² − q ln x² is conserved. Solve e^z + q z = x² + q ln x² − a² for z = ln x²,
        # from the right by Newton's method: the left side is convex and increasing
        away = start[1] - level
        if away == 0:
            return _shown(STEADY, NO_STOP, y, (0.0, level, 0.0), start)
        q, z = loss / damping, 2 * math.log(abs(away))
        goal, step = away * away + q * z - start[0] * start[0], 1.0
        while step > 1e-15 * max(1.0, abs(z)):
            step = (math.exp(z) + q * z - goal) / (math.exp(z) + q)
            z -= step
        end = level + math.copysign(math.exp(z / 2), away)
        size = max(max(abs(end), abs(level)), SHRUNK * max(abs(start[0]), abs(start[1])))
        near = abs(b - end) <= NEAR * size
        return _shown(STEADY, NO_STOP, y, (0.0, end, 0.0), start) if near else (RUNNING, y)
    if loss == 0 and eta == 0:
        # |λd| = λs: a² − (b − b*)² is conserved
        away = start[1] - level
        c = (start[0] - away) * (start[0] + away)
        if c > 0:
            end = math.copysign(math.sqrt(c), a)
            return _shown(STEADY, NO_STOP, y, (end, level, end), start)
        end = level + math.copysign(math.sqrt(-c), away)
        return _shown(SLOW if c == 0 else STEADY, NO_STOP, y, (0.0, end, 0.0), start)
    return RUNNING, y


def _arrived_fixed(y: Any, start: Any, p: Any) -> Any:
    a, b, g = y
    coupling, damping, eta = p[0], p[1], p[3]
    pull, pulled = g * coupling, g != 0 and coupling != 0
    side = math.copysign(1.0, g) * math.copysign(1.0, coupling)
    if eta > 0:
        excess = abs(pull) - eta
        lead = a + side * b
        if excess <= 0 or lead == 0:
            return _shown(SLOW if excess == 0 else STEADY, FIXED, y, (0.0, 0.0, g), start)
        end = math.copysign(math.sqrt(excess / damping), lead)
        return _shown(STEADY, FIXED, y, (end, side * end, g), start)
    c, goal = (start[0] - start[1]) * (start[0] + start[1]), pull / damping
    if c == 0 and abs(start[0]) != abs(start[1]):  # their squares are no floats
        return RUNNING, y
    together = a != 0 and b != 0 and math.copysign(1.0, a) * math.copysign(1.0, b) == side
    if c == 0 and not (pulled and together):
        return _shown(STEADY if pulled else SLOW, FIXED, y, (0.0, 0.0, g), start)
    # the roots of x² − y² = c, x y = |goal|, each from the sum without cancellation
    larger = (abs(c) + math.hypot(c, 2 * goal)) / 2
    if larger == 0:
        return RUNNING, y
    first, second = math.sqrt(larger), abs(goal) / math.sqrt(larger)
    turn = side if pulled else 0.0
    if pulled and c <= 0 and second == 0:  # an end w1 that is not zero, and no float
        return RUNNING, y
    if c > 0 or (c == 0 and a != 0):
        end_a = math.copysign(first, a)
        return _shown(STEADY, FIXED, y, (end_a, turn * math.copysign(second, a), g), start)
    end_b = math.copysign(first, b)
    return _shown(STEADY, FIXED, y, (turn * math.copysign(second, b), end_b, g), start)


def _arrived_without_damping(kind: Any, y: Any, start: Any, p: Any) -> Any:
    """λs <= 0, as in RAFT without normalisation (R26): the collapsed line alone can attract.

    η = 0: about the point (0, b0, 0) of the leaf the flow of d = (a, g) is d′ = J d + N with
    |N| <= (|A|/(2|b0|) + |B|) |d|³ = m |d|³. With JᵀP + PJ = −1 the function dᵀPd falls as long as
    2 |P| m |d|² < 1, so the region dᵀPd < λmin(P)/(2 |P| m) is never left and leads to the point.
    The leaf c = 0 has the origin alone. With |a| = |b|, A b < 0 and q = g/a the flow is (ln |a|)′ = −|A a| q + |B| a²
    and q′ = (1 − q)/τt − q (ln |a|)′. While ½ <= q <= 2, |B a| <= |A|/4 and |A a| <= 1/(4 τt), |a| falls as
    (ln |a|)′ <= −|A a|/4, so q′ >= 0 at q = ½, and q′ <= 0 at q = 2: the region is never left, and a falls like 1/t.
    η > 0: all weights below the positive x with |A| x + |B| x² = η.
    """
    a, b, g = y
    coupling, damping, zeta, eta = p[0], p[1], p[2], p[3]
    if kind != FULL and kind != TIED and kind != NO_EMA:
        return RUNNING, y
    if eta > 0:
        floor = 2 * eta / (abs(coupling) + math.sqrt(coupling * coupling - 4 * damping * eta))
        inside = abs(b) < floor and encoder_size(kind, y) < floor
        return _shown(STEADY, kind, y, (0.0, 0.0, 0.0), start) if inside else (RUNNING, y)
    c = 0.0 if kind == TIED else (start[0] - start[1]) * (start[0] + start[1])
    if kind == TIED or abs(start[0]) == abs(start[1]):
        x, z = abs(a), math.copysign(1.0, a) * g
        low = coupling * b < 0 and abs(damping) * x <= abs(coupling) / 4
        if kind != NO_EMA:
            low = low and x <= 2 * z and z <= 2 * x and 4 * abs(coupling) * x <= zeta
        return _shown(SLOW, kind, y, (0.0, 0.0, 0.0), start) if low else (RUNNING, y)
    if c >= 0:
        return RUNNING, y
    rest = math.copysign(math.sqrt(-c), b)
    if (
        kind == NO_EMA
    ):  # (ln |a|)′ = b (A − B b), and b moves away from A/B: it shrinks for good once it shrinks
        sinks = rest * (coupling - rest * damping) < 0 and b * (coupling - b * damping) < 0
        return _shown(STEADY, kind, y, (0.0, rest, 0.0), start) if sinks else (RUNNING, y)
    j11, j12, j21, j22 = -rest * rest * damping, rest * coupling, zeta, -zeta
    trace, det = j11 + j22, zeta * rest * (rest * damping - coupling)
    if not (trace < 0 and det > 0):
        return RUNNING, y
    scale = 1 / (2 * trace * det)
    p11 = -(det + j21 * j21 + j22 * j22) * scale
    p22 = -(det + j11 * j11 + j12 * j12) * scale
    p12 = (j12 * j22 + j11 * j21) * scale
    middle, radius = (p11 + p22) / 2, math.hypot((p11 - p22) / 2, p12)
    largest, m = middle + radius, abs(coupling) / (2 * abs(rest)) + abs(damping)
    smallest = (p11 * p22 - p12 * p12) / largest
    inside = p11 * a * a + 2 * p12 * a * g + p22 * g * g < smallest / (2 * largest * m)
    return _shown(STEADY, kind, y, (0.0, rest, 0.0), start) if inside else (RUNNING, y)


def _shown(outcome: Any, kind: Any, y: Any, end: Any, start: Any) -> Any:
    """The outcome, if the state is close enough to the end to say that the run has shown it."""
    a, b, g = y
    if end[0] == 0:
        shown = encoder_size(kind, y) <= SHRUNK * encoder_size(kind, start)
        return (outcome, end) if shown else (RUNNING, y)
    size = abs(end[0])
    shown = abs(a - end[0]) <= NEAR * size
    if kind != IDENTITY:
        shown = shown and abs(b - end[1]) <= NEAR * max(abs(end[1]), NEAR * size)
    if kind != FIXED:
        shown = shown and abs(g - end[2]) <= NEAR * size
    return (outcome, end) if shown else (RUNNING, y)


def fate_of(outcome: Any, end: Any) -> Any:
    """What a trajectory did that has `arrived`, or has not."""
    if outcome == RUNNING:
        return UNDECIDED
    return COLLAPSED if end[0] == 0 else LEARNED


def distance(y: Any, end: Any) -> Any:
    """Largest distance of w1 and θ, and that of w2, from an end, in balanced units."""
    return max(abs(y[0] - end[0]), abs(y[2] - end[2])), abs(y[1] - end[1])
