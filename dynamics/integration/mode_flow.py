"""One mode's flow in two unknowns: the step of a stiff integrator, and the proof that a run has arrived.

Scalar functions on plain numbers. They run as they stand for one trajectory (`dynamics.integration.modes`), and
compiled by Numba for millions (`dynamics.integration.lane_kernels`), so both do the same.

In *balanced units* a = √τo w1, b = √τp w2, g = √τo θ, every variant with an invariant reads

    da/dt = b E − η a,   db/dt = a E − η b,   dg/dt = (a − g)/τt,   E = A g − B a b,
    A = λd/(τo √τp),   B = λs/(τo τp),

so that u = a + b and v = a − b keep their signs, and u v = c = τo w1² − τp w2² decays as e^{−2ηt} (R2). A step
solves for the hyperbolic angle σ, with dσ/dt = E, and for g:

    a(t + τ) = e^{−ητ} (a cosh σ + b sinh σ),   b(t + τ) = e^{−ητ} (b cosh σ + a sinh σ).

The invariant and the signs hold to rounding however long or stiff the run. Weights and time are scaled by powers of
two, so that the largest weight and the fastest rate are near one. The other variants have a = e^σ a(t), which keeps the
sign of a, and no-predictor, which is linear, has a = a(t) + σ.

The step is the Rosenbrock method RODAS of order 4(3), stiffly accurate, with dense output of order 3 (Hairer and
Wanner, Solving Ordinary Differential Equations II, section IV.10). Its systems of two equations are solved by
determinants written as sums without cancellation, so that a rate 1e25 times another does no harm.

Near an end that is certain the flow is linear but for an error with a bound, so that the rest of the way to a finite
time is one exponential of a 2 × 2 matrix, see `followed`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

FULL, FIXED, TIED, IDENTITY, NO_EMA, NO_STOP, FAST, DIRECT = range(8)
"""Kinds of flow, to which `dynamics.variants` assigns every variant."""
POLAR, LOG = 8, 9
"""The full flow and no-ema where the encoder is next to nothing, see `switched`."""

STEADY, END_TIME, DIVERGED, MAX_STEPS, SLOW = range(5)
"""How a run ends: indices into `dynamics.integration.ensemble.STATUSES`."""
RUNNING = 5
NOT_YET, STIFF = 6, 7  # of `looked`: look again later; go on with `brought_to_its_end`
LEARNED, COLLAPSED, UNDECIDED = range(3)
"""What a trajectory did: indices into `dynamics.integration.ensemble.FATES`."""

NEAR = 1e-2
"""A learned end counts as reached in kind when every weight is within this fraction of it."""
SHRUNK = 1e-3
"""A collapsed end counts as reached in kind when the encoder has shrunk to this fraction of its start."""

GROWN = 1e12
"""A run whose weights exceed the largest of start and fixed point by this factor has diverged: no bounded flow does."""
_VANISHED = 1e-8  # encoder over predictor below which the square of that is rounding
_APART = (
    1e7  # of the two rates of a vanished encoder: beyond it rounding of the fast one would drown the slow one
)
_TINY = 1e-290
_FEW = 500
_POWERS = np.ldexp(1.0, np.arange(-_FEW, _FEW + 1))  # frexp and ldexp take longer than the rest of a look
_ROUNDING = 2.0**-52
_KEPT = 1e-2  # by how much of the squares of the weights, at the start and now, c may be off: the loosest tolerance
_SHORTEST = 1e-18  # step in units of the fastest rate at weights of size one
_SHARE = 0.1  # of the tolerance, for the error of the linear flow about an end
_EXPLICIT = 600.0  # time in units of the fastest rate that an explicit method takes in a few hundred steps
_SAFETY = 0.9
_LEAST, _MOST = 0.2, 6.0  # factors by which a step may change

GAMMA = 0.25
ALPHA = (0.0, 0.386, 0.21, 0.63, 1.0, 1.0)
DELTA = (0.25, -0.1043, 0.1035, -0.0362, 0.0, 0.0)
A21 = 1.544
A31, A32 = 0.9466785280815826, 0.2557011698983284
A41, A42, A43 = 3.314825187068521, 2.896124015972201, 0.9986419139977817
A51, A52, A53, A54 = 1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950
C21 = -5.6688
C31, C32 = -2.430093356833875, -0.2063599157091915
C41, C42, C43 = -0.1073529058151375, -9.594562251023355, -20.47028614809616
C51, C52, C53, C54 = 7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160
C61, C62, C63, C64, C65 = (
    8.083246795921522,
    -7.981132988064893,
    -31.52159432874371,
    16.31930543123136,
    -6.058818238834054,
)
D21, D22, D23, D24, D25 = (
    10.12623508344586,
    -7.487995877610167,
    -34.80091861555747,
    -7.992771707568823,
    1.025137723295662,
)
D31, D32, D33, D34, D35 = (
    -0.6762803392801253,
    6.087714651680015,
    16.43084320892478,
    24.76722511418386,
    -6.594389125716872,
)


# --- units --------------------------------------------------------------------------------------------------
# p = (A, B, 1/τt, η, C, D, c1, c2) in balanced, scaled units. C and D are (λs − λd)/τo and λd/τo for no-predictor; C
# is (λs² − λd²)/(λs τo) for no-stop-gradient. A direct predictor is b = c1 |a| + c2 a².


def scaled(kind: Any, start: Any, rates: Any, t_end: Any, direct: Any) -> Any:
    """Balanced, scaled start, parameters and end time; the units; and whether all of it could be represented.

    Parameters
    ----------
    kind
        Kind of the flow.
    start
        (w1, w2, θ).
    rates
        (λs, λd, τo, τp, τt, η).
    t_end
        > 0, may be infinite.
    direct
        (α½, α1): a direct predictor is w2 = α½ √s + α1 s with s = λs w1².

    Returns
    -------
    y, p, end, units, proper
        units = (weight, time, √τo, √τp): a = √τo w1/weight and so on, both powers of two.
        `proper` is False where a rate is lost beside another: they span more than 290 decades.
    """
    ls, ld, to, tp, tt, eta = rates
    root_o, root_p = math.sqrt(to), math.sqrt(tp)
    a, b, g = root_o * start[0], root_p * start[1], root_o * start[2]
    coupling, damping, zeta = ld / to / root_p, ls / to / tp, 1 / tt
    size = max(max(abs(a), abs(b)), abs(g))
    if kind == IDENTITY:
        size = max(abs(a), abs(g))
    elif ls != 0 and (kind != FAST or size == 0):
        size = max(size, abs(ld) * root_p / abs(ls))
    if not (size > 0 and size < math.inf):
        size = 1.0
    m = math.frexp(size)[1]
    loss = ls / to
    if kind == NO_STOP and ls != 0:
        loss = (ls - ld) / ls * ((ls + ld) / to)
    gain = ld / to
    if kind == IDENTITY:
        loss = (ls - ld) / to  # in which nothing is lost where λs is near λd
    c1, c2 = 0.0, 0.0
    if kind == DIRECT and ls > 0:
        c1 = direct[0] * math.sqrt(ls / to) * root_p
        c2 = direct[1] * (ls / to) * root_p
    # exponents of all rates, with the weights' unit 2^m; the fastest one becomes the unit of time
    k = _exponent(eta, 0, -99999)
    if kind not in (FIXED, NO_EMA, NO_STOP):
        k = _exponent(zeta, 0, k)
    if kind == IDENTITY:
        k = _exponent(gain, 0, _exponent(loss, 0, k))
    elif kind != FAST:  # of whose coupling and damping only the ratio counts
        k = _exponent(damping, 2 * m, _exponent(coupling, m, k))
    if kind == NO_STOP:
        k = _exponent(loss, 0, k)
    if kind == DIRECT:  # the predictor is a function of the encoder, and may be larger
        k = _exponent(coupling * c1, 2 * m, k)
        k = _exponent(damping * c1 * c1, 4 * m, k)
        k = _exponent(damping * c2 * c2, 6 * m, k)
    p = (
        _shifted(coupling, m - k),
        _shifted(damping, 2 * m - k),
        _shifted(zeta, -k),
        _shifted(eta, -k),
        _shifted(loss, -k),
        _shifted(gain, -k),
        c1,
        _shifted(c2, m),
    )
    if kind == IDENTITY:
        proper = _held(ls - ld, p[4]) and _held(ld, p[5])
    else:
        proper = _held(ld, coupling) and _held(ls, damping) and _held(coupling, p[0]) and _held(damping, p[1])
    if kind not in (FIXED, NO_EMA, NO_STOP):
        proper = proper and _held(zeta, p[2])
    if kind == NO_STOP:
        proper = proper and _held(loss, p[4])
    proper = proper and _held(eta, p[3])
    for number in (a, b, g, coupling, damping, zeta, loss, gain, p[0], p[1], p[7]):
        if not abs(number) < math.inf:
            proper = False
    y = _shifted(a, -m), _shifted(b, -m), _shifted(g, -m)
    if start[0] != 0 and y[0] == 0:  # a w1 of 0 would stay 0, or lose its sign
        proper = False
    weight, time = _shifted(1.0, m), _shifted(1.0, -k)
    if weight == 0 or time == 0 or weight == math.inf or time == math.inf:
        proper = False
    end = t_end if t_end == math.inf else _shifted(t_end, k)
    if kind == FAST:
        y = y[0], 0.0 if y[0] == 0 or p[1] == 0 else y[2] / y[0] * (p[0] / p[1]), y[2]
        proper = proper and abs(y[1]) < math.inf
    return constrained(kind, y, p), p, end, (weight, time, root_o, root_p), proper


def _held(given: Any, found: Any) -> Any:
    """Whether a rate is still there in the units chosen."""
    return given == 0 or abs(found) >= _TINY


def _exponent(rate: Any, power: Any, largest: Any) -> Any:
    """The larger of `largest` and the binary exponent of rate 2^power."""
    if rate == 0 or not abs(rate) < math.inf:
        return largest
    return max(largest, math.frexp(rate)[1] + power)


def _shifted(x: Any, power: Any) -> Any:
    """X 2^power, infinite where that is too large."""
    if x == 0:
        return 0.0
    if abs(power) <= _FEW and 1e-150 < abs(x) < 1e150:
        return x * float(_POWERS[power + _FEW])
    mantissa, exponent = math.frexp(x)
    exponent += power
    if exponent > 1024:
        return math.copysign(math.inf, x)
    if exponent < -1080:
        return 0.0
    return math.ldexp(mantissa, exponent)


def unscaled(kind: Any, y: Any, units: Any) -> Any:
    """(w1, w2, θ) of a balanced, scaled state."""
    weight, _, root_o, root_p = units
    if kind == IDENTITY:
        return _over(y[0], root_o, weight), 1.0, _over(y[2], root_o, weight)
    return _over(y[0], root_o, weight), _over(y[1], root_p, weight), _over(y[2], root_o, weight)


def _over(number: Any, root: Any, weight: Any) -> Any:
    """Number weight/root, which leaves the range of floats only where the result does."""
    if 1e-90 < abs(number) < 1e90 and 1e-90 < root < 1e90 and 1e-90 < weight < 1e90:
        return number / root * weight
    top, n = math.frexp(number)
    below, k = math.frexp(root)
    unit, m = math.frexp(weight)
    return _shifted(top / below * unit, n - k + m)


def constrained(kind: Any, y: Any, p: Any) -> Any:
    """The state on which the variant lives."""
    a, b, g = y
    if kind == TIED:
        return a, a, g
    if kind == IDENTITY:
        return a, 0.0, g
    if kind in (NO_EMA, NO_STOP):
        return a, b, a
    if kind == FAST:
        if abs(a) > _TINY and p[1] != 0:
            return a, g / a * (p[0] / p[1]), g
        return a, b, g  # a w1 that has decayed beyond what numbers hold leaves w2 as it is
    if kind == DIRECT:
        return a, abs(a) * (p[6] + p[7] * abs(a)), g
    return a, b, g


# --- the flow of (σ, second unknown) ------------------------------------------------------------------------


def _second(kind: Any, y: Any, p: Any) -> Any:
    """Second unknown at y: g; b for no-stop-gradient; g/a for fast-predictor; ln of the scale in POLAR and LOG."""
    if kind == NO_STOP:
        return y[1]
    if kind in (POLAR, LOG):
        return 0.0
    if kind == FAST and not _still(y):
        return y[2] / y[0] if abs(y[0]) > _TINY or p[0] == 0 else y[1] * (p[1] / p[0])
    return y[2]


def _still(y: Any) -> Any:
    """Whether fast-predictor has w1 = w2 = 0, so that only θ moves."""
    return y[0] == 0 and y[1] == 0


def rates_of(kind: Any, y: Any, p: Any) -> Any:
    """Return dσ/dt and the rate of the second unknown, see `_second`."""
    a, b, g = y
    coupling, damping, zeta, eta, loss, gain, c1, c2 = p
    if kind == NO_EMA:
        return a * (coupling - b * damping), 0.0
    if kind == NO_STOP:
        y_ = coupling - b * damping  # −B (b − b*)
        own = (
            -loss - eta
            if y_ == 0
            else -y_ / damping * y_ - loss - eta
            if damping != 0
            else 2 * b * coupling - eta
        )
        return own, a * a * y_ - eta * b
    if kind == IDENTITY:
        return gain * (g - a) - a * (loss + eta), zeta * (a - g)
    if kind == FAST:
        if _still(y):
            return -eta, -zeta * g
        return -eta, zeta - (zeta - eta) * _second(FAST, y, p)
    if kind == DIRECT:
        slope = math.copysign(c1 + c2 * abs(a), a)  # b/a
        return slope * g * coupling - b * b * damping - eta, zeta * (a - g)
    if kind == FIXED:
        return g * coupling - a * b * damping, 0.0
    if kind == POLAR:
        push, pull = b * (g * coupling - a * b * damping) - eta * a, zeta * (a - g)
        return a * pull - g * push, a * push + g * pull
    if kind == LOG:
        return 0.0, b * (coupling - b * damping) - eta
    return g * coupling - a * b * damping, zeta * (a - g)


def _jacobian(kind: Any, y: Any, p: Any) -> Any:
    """Entries of the Jacobian in (σ, second unknown), its determinant, and the partial derivatives in time."""
    a, b, g = y
    coupling, damping, zeta, eta, loss, gain, c1, c2 = p
    if kind == NO_EMA:
        j = b * (coupling - b * damping) - a * a * damping
        return j, 0.0, 0.0, 0.0, 0.0, eta * a * (2 * b * damping - coupling), 0.0
    if kind == NO_STOP:
        y_ = coupling - b * damping
        j12, j21, j22 = 2 * y_, 2 * a * a * y_, -a * a * damping - eta
        return 0.0, j12, j21, j22, -j12 * j21, 0.0, 0.0
    if kind == IDENTITY:
        return -(gain + loss + eta), gain, zeta, -zeta, zeta * (loss + eta), 0.0, 0.0
    if kind == FAST:
        return 0.0, 0.0, 0.0, -zeta if _still(y) else eta - zeta, 0.0, 0.0, 0.0
    if kind == DIRECT:
        x = abs(a)
        slope = math.copysign(c1 + c2 * x, a)
        # d(b/a)/dσ and d(b²)/dσ, where da/dσ = a
        turn, double = math.copysign(c2 * x, a), 2 * b * x * (c1 + 2 * c2 * x)
        j11, j12 = turn * g * coupling - double * damping, slope * coupling
        return j11, j12, zeta * a, -zeta, -zeta * (j11 + j12 * a), 0.0, 0.0
    if kind == POLAR:
        push, pull = b * (g * coupling - a * b * damping) - eta * a, zeta * (a - g)
        turned_push, turned_pull = b * (a * coupling + g * b * damping) + eta * g, -zeta * (a + g)
        j11 = -g * pull + a * turned_pull - a * push - g * turned_push
        j21 = -g * push + a * turned_push + a * pull + g * turned_pull
        aged = -eta * b * (g * coupling - 2 * a * b * damping)
        return j11, 0.0, j21, 0.0, 0.0, -g * aged, a * aged
    if kind == LOG:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -eta * b * (coupling - 2 * b * damping)
    friction = damping * (b * b + a * a)
    if kind == FIXED:
        return -friction, 0.0, 0.0, 0.0, 0.0, 2 * eta * a * b * damping, 0.0
    gap = b * (b * damping - coupling) + a * a * damping
    return -friction, coupling, zeta * b, -zeta, zeta * gap, 2 * eta * a * b * damping, -zeta * eta * a


def moved(kind: Any, y: Any, sigma: Any, second: Any, time: Any, p: Any) -> Any:
    """The state after the step from y has come to (σ, second unknown) at the given time since its start."""
    a, b, _ = y
    if kind == IDENTITY:
        return a + sigma, 0.0, second
    if kind == NO_STOP:
        a = a * _exp(sigma)
        return a, second, a
    if kind == FAST:
        a = a * _exp(sigma)
        if _still(y) or p[1] == 0:
            return a, b, second
        return a, second * (p[0] / p[1]), second * a
    if kind in (DIRECT, TIED):
        a = a * _exp(sigma - (p[3] * time if kind == TIED else 0.0))
        return constrained(kind, (a, a, second), p)
    decay = math.exp(-p[3] * time) if p[3] != 0 else 1.0
    if kind == LOG:
        return a, decay * b, a
    if kind == POLAR:
        if not abs(sigma) < 1e8:
            return math.inf, decay * b, math.inf  # such a step is rejected
        cos, sin = math.cos(sigma), math.sin(sigma)
        return a * cos - y[2] * sin, decay * b, a * sin + y[2] * cos
    if abs(sigma) < 1:
        cosh, sinh = _hyperbolic(sigma)
        new_a, new_b = decay * (a * cosh + b * sinh), decay * (b * cosh + a * sinh)
    elif abs(sigma) < 300:  # by u and v, of which one vanishes for tied weights
        u, v = (a + b) * math.exp(sigma), (a - b) * math.exp(-sigma)
        new_a, new_b = decay * (u + v) / 2, decay * (u - v) / 2
    else:
        new_a, new_b = math.inf, math.inf  # such a step is rejected
    return new_a, new_b, new_a if kind == NO_EMA else second


def _hyperbolic(sigma: Any) -> Any:
    """Cosh and sinh: for a small σ by the series, whose next term is rounding, in a third of the time."""
    if abs(sigma) > 0.1:
        return math.cosh(sigma), math.sinh(sigma)
    square = sigma * sigma
    sinh = sigma * (1 + square / 6 * (1 + square / 20 * (1 + square / 42 * (1 + square / 72))))
    return math.sqrt(1 + sinh * sinh), sinh


def _exp(x: Any) -> Any:
    return math.exp(x) if x < 300 else math.inf


def _stage(kind: Any, y: Any, sigma: Any, second: Any, time: Any, p: Any, q: Any) -> Any:
    return rates_of(kind, moved(kind, y, sigma, second, time, p), q)


def stages(kind: Any, y: Any, h: Any, p: Any) -> Any:
    """One step of size h: the state after it, the estimated error of (σ, second unknown), and the dense output.

    The dense output is (σ1, σ3, σ4, x0, x1, x3, x4) for `between`.
    """
    x0 = _second(kind, y, p)
    # with h in the rates: where a step is 1e200 long its Jacobian is as small, and only their product is a number
    q = h * p[0], h * p[1], h * p[2], h * p[3], h * p[4], h * p[5], p[6], p[7]
    j11, j12, j21, j22, det, t1, t2 = _jacobian(kind, y, q)
    inverse = 1 / GAMMA
    determinant = inverse * inverse - inverse * (j11 + j22) + det
    over = 1 / determinant if determinant != 0 else math.inf  # such a step is rejected
    m11, m12, m21, m22 = (inverse - j22) * over, j12 * over, j21 * over, (inverse - j11) * over
    f, e = rates_of(kind, y, q)
    f, e = f + DELTA[0] * t1, e + DELTA[0] * t2
    u1, v1 = m11 * f + m12 * e, m21 * f + m22 * e
    f, e = _stage(kind, y, A21 * u1, x0 + A21 * v1, ALPHA[1] * h, p, q)
    f, e = f + C21 * u1 + DELTA[1] * t1, e + C21 * v1 + DELTA[1] * t2
    u2, v2 = m11 * f + m12 * e, m21 * f + m22 * e
    s, x = A31 * u1 + A32 * u2, x0 + (A31 * v1 + A32 * v2)
    f, e = _stage(kind, y, s, x, ALPHA[2] * h, p, q)
    f = f + (C31 * u1 + C32 * u2) + DELTA[2] * t1
    e = e + (C31 * v1 + C32 * v2) + DELTA[2] * t2
    u3, v3 = m11 * f + m12 * e, m21 * f + m22 * e
    s, x = A41 * u1 + A42 * u2 + A43 * u3, x0 + (A41 * v1 + A42 * v2 + A43 * v3)
    f, e = _stage(kind, y, s, x, ALPHA[3] * h, p, q)
    f = f + (C41 * u1 + C42 * u2 + C43 * u3) + DELTA[3] * t1
    e = e + (C41 * v1 + C42 * v2 + C43 * v3) + DELTA[3] * t2
    u4, v4 = m11 * f + m12 * e, m21 * f + m22 * e
    s = A51 * u1 + A52 * u2 + A53 * u3 + A54 * u4
    x = x0 + (A51 * v1 + A52 * v2 + A53 * v3 + A54 * v4)
    f, e = _stage(kind, y, s, x, h, p, q)
    f = f + (C51 * u1 + C52 * u2 + C53 * u3 + C54 * u4)
    e = e + (C51 * v1 + C52 * v2 + C53 * v3 + C54 * v4)
    u5, v5 = m11 * f + m12 * e, m21 * f + m22 * e
    s, x = s + u5, x + v5
    f, e = _stage(kind, y, s, x, h, p, q)
    f = f + (C61 * u1 + C62 * u2 + C63 * u3 + C64 * u4 + C65 * u5)
    e = e + (C61 * v1 + C62 * v2 + C63 * v3 + C64 * v4 + C65 * v5)
    u6, v6 = m11 * f + m12 * e, m21 * f + m22 * e
    s, x = s + u6, x + v6
    dense = (
        s,
        D21 * u1 + D22 * u2 + D23 * u3 + D24 * u4 + D25 * u5,
        D31 * u1 + D32 * u2 + D33 * u3 + D34 * u4 + D35 * u5,
        x0,
        x,
        D21 * v1 + D22 * v2 + D23 * v3 + D24 * v4 + D25 * v5,
        D31 * v1 + D32 * v2 + D33 * v3 + D34 * v4 + D35 * v5,
    )
    return moved(kind, y, s, x, h, p), (u6, v6), dense


def between(kind: Any, y: Any, h: Any, share: Any, dense: Any, p: Any) -> Any:
    """The state after a share in [0, 1] of the step from y, and the second unknown there."""
    s1, s3, s4, x0, x1, x3, x4 = dense
    rest = 1 - share
    sigma = share * (s1 + rest * (s3 + share * s4))
    second = x0 * rest + share * (x1 + rest * (x3 + share * x4))
    return moved(kind, y, sigma, second, share * h, p), second


def _encoder(kind: Any, y: Any) -> Any:
    """Size of what learns and collapses: w1 and θ together; w1 alone where θ does not follow it."""
    if kind in (FIXED, NO_STOP, NO_EMA):
        return abs(y[0])
    return max(abs(y[0]), abs(y[2]))


def attempted(kind: Any, y: Any, h: Any, p: Any, rtol: Any, atol: Any) -> Any:
    """Try a step of size h: state after it, dense output, whether it is accurate enough, and the next size to try.

    The error of a and g is measured against the encoder, which leaves and approaches zero by multiplication, so that
    its sign and its size stay right over any number of decades. The error of b is measured against all weights.
    """
    z, error, dense = stages(kind, y, h, p)
    s, x = abs(error[0]), abs(error[1])
    small = max(_encoder(kind, y), _encoder(kind, z))
    large = max(small, max(abs(y[1]), abs(z[1])))
    a, b = max(abs(y[0]), abs(z[0])), max(abs(y[1]), abs(z[1]))
    if kind == IDENTITY:
        worst = max(s, x) / (rtol * small + _TINY)
    elif kind == NO_STOP:
        worst = max(s / rtol, x / (rtol * large + atol))
    elif kind == FAST:
        ratio = 0.0 if _still(y) else 1.0
        worst = max(s / rtol, x / (rtol * max(ratio, abs(_second(kind, y, p))) + _TINY))
    elif kind == DIRECT:
        worst = max(s / rtol, x / (rtol * small + _TINY))
    elif kind in (POLAR, LOG):
        worst = max(s, x) / rtol
    elif kind == FIXED:
        worst = s / rtol
    elif kind == TIED:
        worst = max(s / rtol, x / (rtol * small + _TINY))
    else:
        g = max(abs(y[2]), abs(z[2]))
        own = max(a, b if kind == FIXED else min(b, g))  # a target far larger than both must not hide a and b
        worst = max(s * b / (rtol * own + _TINY), s * a / (rtol * max(a, b) + atol))
        worst = max(worst, x / (rtol * small + _TINY))
    finite = abs(z[0]) + abs(z[1]) + abs(z[2]) < math.inf and worst < math.inf
    if not finite:
        return z, dense, False, _LEAST * h
    # a step much longer than 1/η would pass by the saddle at the origin with the Jacobian of where it began
    if kind == FIXED and p[3] * h > 10 and max(abs(z[0]), abs(z[1])) < 1e-3 * max(abs(y[0]), abs(y[1])):
        return z, dense, False, h / 4
    factor = _MOST if worst == 0 else min(_MOST, max(_LEAST, _SAFETY / math.sqrt(math.sqrt(worst))))
    return z, dense, worst <= 1, factor * h


def first_step(kind: Any, y: Any, p: Any, rtol: Any) -> Any:
    """A size at which the first step is likely to be accurate: it moves Euler's method by a part of the state."""
    f, e = rates_of(kind, y, p)
    _a, b, _g = y
    small = max(_encoder(kind, y), _TINY)
    fast = max(
        abs(f) * (1.0 if kind in (NO_STOP, FAST, DIRECT) else abs(b) / small),
        abs(e) / small,
    )
    if kind == NO_STOP:
        fast = max(abs(f), abs(e) / max(abs(b), small))
    if kind == FAST:
        fast = max(abs(f), abs(e) / max(0.0 if _still(y) else 1.0, abs(_second(kind, y, p))))
    fast = max(max(fast, abs(f) if kind != IDENTITY else abs(f) / small), p[3])
    return 2 * rtol**0.25 / fast if fast > 0 else 1.0


# --- has it arrived? ----------------------------------------------------------------------------------------


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
        if abs(last - first) > _KEPT * (start[0] * start[0] + start[1] * start[1] + a * a + b * b):
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
        if _still(start):
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
        if beyond or (abs(b) < lower and _encoder(kind, y) < lower):
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
        abs(c) < _TINY and kind != TIED and abs(start[0]) != abs(start[1])
    ):  # the product is not a number any more
        apart = abs(start[0]) - abs(start[1])
        c = math.copysign(_TINY, apart)
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
        return abs(pull) > _TINY and pull == a * b * damping
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
    if eta * min(abs(a), abs(b), abs(a * terms), abs(b * terms)) < _TINY:
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
        inside = abs(b) < floor and _encoder(kind, y) < floor
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
        shown = _encoder(kind, y) <= SHRUNK * _encoder(kind, start)
        return (outcome, end) if shown else (RUNNING, y)
    size = abs(end[0])
    shown = abs(a - end[0]) <= NEAR * size
    if kind != IDENTITY:
        shown = shown and abs(b - end[1]) <= NEAR * max(abs(end[1]), NEAR * size)
    if kind != FIXED:
        shown = shown and abs(g - end[2]) <= NEAR * size
    return (outcome, end) if shown else (RUNNING, y)


def failed(kind: Any, mode: Any, y: Any, h: Any, start: Any, p: Any) -> Any:
    """DIVERGED or MAX_STEPS for a run that cannot go on, else RUNNING.

    It has diverged where weights grow beyond `GROWN`, or so fast that steps shrink to nothing. It is given up where
    it has sunk so deep that numbers no longer hold it, though the flow would bring it back.
    """
    a, b, g = y
    size = max(abs(a), abs(g))
    if kind != FAST:  # whose predictor is a ratio of vanishing weights
        size = max(size, abs(b))
    if size > GROWN or (h < _SHORTEST and size > 1e3):
        return DIVERGED
    lost = False
    # without weight decay a vanished encoder may come back for as long as there is a θ; with it, only while θ makes
    # it grow: it pulls by a factor A g, A c1 sign(a) g for a direct predictor, and decays towards the encoder itself
    pull, eta = abs(p[0] * g), p[3]
    if kind == TIED:
        pull = p[0] * g
    elif kind == DIRECT:
        pull = math.copysign(p[6], a) * p[0] * g
    if mode == kind and (start[0] != 0 or start[2] != 0) and abs(a) < _TINY and (eta == 0 or pull > eta):
        if kind == FULL:
            lost = abs(g) < _TINY or abs(b) < _TINY
        elif kind == TIED:
            lost = math.copysign(1.0, a) * p[0] > 0
        elif kind == DIRECT:
            lost = p[0] > 0
        else:
            lost = kind == NO_EMA
        if lost and arrived(kind, y, start, p)[0] != RUNNING:  # it will not come back
            lost = False
    return MAX_STEPS if lost or h < _SHORTEST else RUNNING


def overshoots(kind: Any, mode: Any, z: Any, log_scale: Any, dense: Any) -> Any:
    """Whether a step in POLAR or LOG ends where the encoder is no longer next to nothing."""
    return mode != kind and log_scale + dense[4] > math.log(1000 * _VANISHED * max(abs(z[1]), _TINY))


def distance(y: Any, end: Any) -> Any:
    """Largest distance of w1 and θ, and that of w2, from an end, in balanced units."""
    return max(abs(y[0] - end[0]), abs(y[2] - end[2])), abs(y[1] - end[1])


def switched(kind: Any, mode: Any, y: Any, log_scale: Any, p: Any) -> Any:
    """Choose the unknowns for the next step: the mode, the state and the logarithm of the encoder's scale.

    Where the encoder has sunk below `_VANISHED` of the predictor, (a, g) = e^ℓ (cos φ, sin φ) obeys a linear equation,
    and the predictor decays by itself as e^{−ηt}. In (φ, ℓ) a long decay is one step, and sign and size of an encoder
    that returns from any depth are right: at small η a mode can sink to e^{−1e6} on its way and come back.

    Parameters
    ----------
    kind
        Kind of the flow.
    mode
        What the last step was taken in: `kind`, or POLAR, or LOG for no-ema.
    y
        State, in POLAR and LOG with the encoder's scale taken out.
    log_scale
        ℓ.
    p
        Parameters of `scaled`.
    """
    a, b, g = y
    if kind != FULL and kind != NO_EMA:
        return mode, y, log_scale
    size = math.hypot(a, g) if kind == FULL else abs(a)
    if mode == kind:
        if size < _VANISHED * abs(b) and size > 0:
            fast, slow = max(b * b * abs(p[1]), p[2]), min(b * b * abs(p[1]), p[2])
            if kind == NO_EMA:
                return LOG, (a / size, b, a / size), math.log(size)
            if fast < _APART * slow:
                return POLAR, (a / size, b, g / size), math.log(size)
        return mode, y, log_scale
    if b == 0 or log_scale > math.log(10 * _VANISHED * abs(b)):
        back = math.exp(log_scale)
        return kind, (a * back, b, g * back), 0.0
    return mode, (a / size, b, g / size), log_scale


def true_state(kind: Any, mode: Any, y: Any, log_scale: Any) -> Any:
    """The state with the encoder's scale put back; zero where that underflows."""
    if mode == kind:
        return y
    back = math.exp(log_scale) if log_scale > -745 else 0.0
    return y[0] * back, y[1], y[2] * back


def rest_rate(kind: Any, end: Any, p: Any) -> Any:
    """Rates of the slowest and the fastest decay to an end at η = 0, for kinds with an invariant; else zeros.

    On the leaf the Jacobian is [[−x, A], [b/τt, −1/τt]] with x = B (a² + b²). Where A b > 0 scaling makes it
    symmetric, and the slow rate is its eigenvalue; elsewhere scaling leaves min(x, 1/τt) on its symmetric part.
    """
    a, b, _ = end
    coupling, damping, zeta, eta = p[0], p[1], p[2], p[3]
    if eta != 0 or damping <= 0:
        return 0.0, 0.0
    x = damping * (a * a + b * b)
    if kind == FIXED:
        return x, x
    if kind == NO_EMA:
        rate = a * a * damping + b * (b * damping - coupling)
        return rate, rate
    if kind != FULL and kind != TIED:
        return 0.0, 0.0
    if coupling * b <= 0:
        return min(x, zeta), x + zeta
    trace, det = x + zeta, zeta * (a * a * damping + b * (b * damping - coupling))
    return 2 * det / (trace + math.sqrt(max(trace * trace - 4 * det, 0.0))), trace


def followed(kind: Any, y: Any, end: Any, p: Any, time: Any) -> Any:
    """The state a time after y by the linear flow about an end, and a bound on its error then and at all later times.

    In d = (σ, √(|A|/(|b| ζ)) (g − g*)) about the end (a, b, g*) the Jacobian is symmetric where A b > 0, and has the
    symmetric part diag(−x, −ζ) elsewhere: |e^{Jt} d| <= e^{−rt} |d| with the slow rate r of `rest_rate`. The rest
    of the flow is at most q |d|² as long as |σ| <= 1/10, so with κ = q |d0|/r < 1

        |d(t)| <= |d0| e^{−rt}/(1 − κ),   |d(t) − e^{Jt} d0| <= ∫ e^{−r(t−s)} q |d(s)|² ds <= κ |d0| e^{−rt}/(1 − κ)².

    The bound is infinite where no slow rate is known. No-predictor is linear, and its bound zero.
    """
    a, b, g = end
    if kind == IDENTITY:
        gain, zeta = p[5], p[2]
        j11, j12, j21, j22 = -(gain + p[4] + p[3]), gain, zeta, -zeta
        trace, det = j11 + j22, zeta * (p[4] + p[3])
        root = math.sqrt(max((j11 - j22) * (j11 - j22) + 4 * j12 * j21, 0.0))
        if trace >= 0 or det < 0 or gain < 0:
            return y, math.inf
        slow = 2 * det / (root - trace)
        remains = math.exp(-min(slow * time, 700.0))
        sigma, second = _exponential(j11, j12, j21, j22, remains, root, time, y[0] - a, y[2] - g)
        return moved(kind, end, sigma, g + second, 0.0, p), 0.0
    slow, _ = rest_rate(kind, end, p)
    if slow == 0:
        return y, math.inf
    coupling, damping, zeta = p[0], p[1], p[2]
    first, last = a + b, y[0] + y[1]
    side = 1.0
    if abs(first) < abs(a - b):
        first, last, side = a - b, y[0] - y[1], -1.0
    if not last * first > 0:
        return y, math.inf
    sigma, second, unit = side * math.log(last / first), 0.0, 0.0
    planar = kind in (FULL, TIED)
    if planar:
        if coupling * b == 0:
            return y, math.inf
        second, unit = y[2] - g, math.sqrt(abs(coupling / b) / zeta)
    way = math.sqrt(sigma * sigma + unit * second * (unit * second))
    size, square = abs(a) + abs(b), a * a + b * b
    # σ̇ leaves B (a² + b²) (sinh 2σ − 2σ)/2 + B a b (cosh 2σ − 1), ġ leaves ζ a (cosh σ − 1) + ζ b (sinh σ − σ)
    encoder, predictor = 0.51 * abs(a) + 0.34 * way * abs(b), 2.02 * abs(a * b) + 1.36 * way * square
    q = damping * predictor
    if kind == NO_EMA:
        q += abs(coupling) * encoder
    elif planar:
        q = math.sqrt(q * q + unit * zeta * encoder * (unit * zeta * encoder))
    kappa = q * way / slow
    if not (kappa <= 0.5 and way <= 0.05):
        return y, math.inf
    remains = math.exp(-min(slow * time, 700.0))
    bound = kappa / ((1 - kappa) * (1 - kappa)) * way * remains
    if planar:
        x = damping * square
        square = (x - zeta) * (x - zeta) + 4 * coupling * zeta * b
        root = math.copysign(math.sqrt(abs(square)), square)
        if coupling * b < 0:  # whose rate r is not an eigenvalue
            slow = (x + zeta) / 2 if square < 0 else 2 * zeta * (x - b * coupling) / (x + zeta + root)
            remains = math.exp(-min(slow * time, 700.0))
        sigma, second = _exponential(-x, coupling, zeta * b, -zeta, remains, root, time, sigma, second)
        bound *= max(1.2 * size, 1 / unit)
    else:
        sigma *= remains
        bound *= 1.2 * size
    return moved(kind, end, sigma, g + second, 0.0, p), bound


def _exponential(
    j11: Any, j12: Any, j21: Any, j22: Any, mean: Any, root: Any, time: Any, x: Any, y: Any
) -> Any:
    """exp(J t) (x, y).

    `mean` is |e^{μt}| of the slow eigenvalue μ, and `root` its distance from the other one: negative for a pair that
    is complex.
    """
    middle = (j11 + j22) / 2
    if root < 0:
        even, odd = mean * math.cos(root * time / 2), mean * math.sin(root * time / 2) / (root / 2)
    elif root == 0:
        even, odd = mean, mean * time
    else:
        lost = mean if root * time > 40 else -mean * math.expm1(-root * time)
        even, odd = mean - lost / 2, lost / root
    u, v = (j11 - middle) * x + j12 * y, j21 * x + (j22 - middle) * y
    return even * x + odd * u, even * y + odd * v


# --- a trajectory to its end --------------------------------------------------------------------------------


def balanced(y: Any, units: Any) -> Any:
    """w1, w2 and θ in the units of `dynamics.integration.mode_flow.scaled`."""
    weight, _, root_o, root_p = units
    return root_o * y[0] / weight, root_p * y[1] / weight, root_o * y[2] / weight


def fate_of(outcome: Any, end: Any) -> Any:
    """What a trajectory did that has `arrived`, or has not."""
    if outcome == RUNNING:
        return UNDECIDED
    return COLLAPSED if end[0] == 0 else LEARNED


def looked(form: Any, start: Any, y: Any, rates: Any, left: Any, rtol: Any, atol: Any) -> Any:
    """Whether the trajectory at y is in its end after the time `left`, or how it goes on; the end; what it did."""
    outcome, state, fate, passed = finished(form, start, y, rates, left, rtol, atol)
    return (STIFF, y, fate) if passed > 0 else (outcome, state, fate)


def finished(form: Any, start: Any, y: Any, rates: Any, left: Any, rtol: Any, atol: Any) -> Any:
    """The end of a trajectory from its state y, if the linear flow leads there.

    Returns
    -------
    outcome, state, fate, passed
        STEADY or SLOW: the state is the end, or, where `passed` is `left`, next to it after that time. END_TIME: the
        state after the time `left`. NOT_YET: nothing is known. STIFF: `brought_to_its_end` is to go on.
    """
    kind = form[0]
    first, p, _, units, proper = scaled(kind, start, rates, math.inf, (form[1], form[2]))
    if not proper:
        return STIFF, y, UNDECIDED, 0.0
    here = constrained(kind, balanced(y, units), p)
    if failed(kind, kind, here, math.inf, first, p) != RUNNING:
        return STIFF, y, UNDECIDED, 0.0
    outcome, end = arrived(kind, here, first, p)
    fate = fate_of(outcome, end)
    if outcome == RUNNING:
        return NOT_YET, y, fate, 0.0
    if left == math.inf:
        return outcome, y if outcome == SLOW else unscaled(kind, end, units), fate, 0.0
    size = max(max(abs(here[0]), abs(here[1])), abs(here[2]))
    tolerance, time = atol * units[3] / units[0] + rtol * size, left / units[1]
    if outcome == STEADY:
        state, bound = followed(kind, here, end, p, time)
        if bound <= _SHARE * tolerance:
            encoder, predictor = distance(state, end)
            way = max(encoder, predictor)
            if way + bound <= tolerance / 100:
                return STEADY, unscaled(kind, end, units), fate, 0.0
            size = max(max(abs(state[0]), abs(state[1])), abs(state[2]))
            close = way <= atol * units[3] / units[0] + rtol * size
            return STEADY if close else END_TIME, unscaled(kind, state, units), fate, left
    fastest = p[2] + p[3] + p[1] * size * size + abs(p[0]) * size
    return NOT_YET if time * fastest <= _EXPLICIT else STIFF, y, fate, 0.0


def brought_to_its_end(
    form: Any,
    start: Any,
    y: Any,
    t: Any,
    rates: Any,
    end: Any,
    rtol: Any,
    atol: Any,
    budget: Any,
    save_at: Any,
    s: Any,
    i: Any,
    saved: Any,
) -> Any:
    """Go on from y at time t with the stiff method: state, time, outcome, fate, tries and rejected tries."""
    kind = form[0]
    first, p, _, units, proper = scaled(kind, start, rates, math.inf, (form[1], form[2]))
    if not proper:
        return y, t, MAX_STEPS, UNDECIDED, 0, 0
    y = constrained(kind, balanced(y, units), p)
    own_atol, bound = atol * units[3] / units[0], end / units[1]
    now, h = t / units[1], first_step(kind, y, p, rtol)
    mode, log_scale, tries, rejected, outcome = kind, 0.0, 0, 0, RUNNING
    goal = y
    while outcome == RUNNING:
        here = true_state(kind, mode, y, log_scale)
        if end == math.inf and s >= save_at.size:
            outcome, goal = arrived(kind, here, first, p)
            if outcome != RUNNING:
                break
        elif mode == kind and now < bound:
            # the linear flow to every time that is asked for, if its error is small at the first of them
            arrival, goal = arrived(kind, here, first, p)
            size = max(max(abs(here[0]), abs(here[1])), abs(here[2]))
            tolerance = _SHARE * (own_atol + rtol * size)
            while arrival == STEADY:
                last = s >= save_at.size or save_at[s] > end
                if last and end == math.inf:
                    outcome = STEADY
                    break
                x, off = followed(kind, here, goal, p, (bound if last else save_at[s] / units[1]) - now)
                if off > tolerance:
                    break
                if last:
                    y, now = x, bound
                    break
                w1, w2, th = unscaled(kind, x, units)
                saved[0][s, i], saved[1][s, i], saved[2][s, i] = w1, w2, th
                s += 1
            if outcome == STEADY:
                break
        if now >= bound:
            outcome = END_TIME
            break
        if tries >= budget:
            outcome = MAX_STEPS
            break
        tries += 1
        final = now + h >= bound
        h = bound - now if final else h
        z, dense, accepted, proposed = attempted(mode, y, h, p, rtol, own_atol)
        if overshoots(kind, mode, z, log_scale, dense):
            accepted, proposed = False, h / 2
        if accepted:
            later = bound if final else now + h
            while s < save_at.size and save_at[s] / units[1] <= later:
                share = min(max((save_at[s] / units[1] - now) / h, 0.0), 1.0)
                x, second = between(mode, y, h, share, dense, p)
                if mode != kind:
                    x = true_state(kind, mode, x, log_scale + second)
                w1, w2, th = unscaled(kind, constrained(kind, x, p), units)
                saved[0][s, i], saved[1][s, i], saved[2][s, i] = w1, w2, th
                s += 1
            now = later
            if mode != kind:
                log_scale += dense[4]
            mode, y, log_scale = switched(kind, mode, z, log_scale, p)
        else:
            rejected += 1
        h = proposed
        outcome = failed(kind, mode, y, h, first, p)
    here = true_state(kind, mode, y, log_scale)
    fate = UNDECIDED
    if outcome != DIVERGED and failed(kind, mode, y, math.inf, first, p) == RUNNING:
        arrival, goal = arrived(kind, here, first, p)
        fate = fate_of(arrival, goal)
        if outcome == END_TIME and arrival == STEADY:
            encoder, predictor = distance(here, goal)
            size = max(max(abs(here[0]), abs(here[1])), abs(here[2]))
            if max(encoder, predictor) <= own_atol + rtol * size:
                outcome = STEADY
        elif outcome == STEADY:
            here = goal
    return (
        unscaled(kind, here, units),
        end if outcome == END_TIME else now * units[1],
        outcome,
        fate,
        tries,
        rejected,
    )
