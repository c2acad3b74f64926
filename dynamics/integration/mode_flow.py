"""One mode's flow in two unknowns: kinds of flow, units, rates and their Jacobian.

Scalar functions on plain numbers. They run as they stand for one trajectory (`dynamics.integration.modes`), and
compiled by Numba for millions (`dynamics.integration.explicit_pair`), so both do the same. That holds for all of the
flow's modules, each of which uses those named before it: `mode_flow`; `mode_step`, a step of a stiff integrator;
`mode_ends`, the proof that a run has arrived; `mode_approach`, the linear flow about an end; and `mode_course`, a
trajectory to its end.

In *balanced units* a = √τo w1, b = √τp w2, g = √τo θ, every variant with an invariant reads

    da/dt = b E − η a,   db/dt = a E − η b,   dg/dt = (a − g)/τt,   E = A g − B a b,
    A = λd/(τo √τp),   B = λs/(τo τp),

so that u = a + b and v = a − b keep their signs, and u v = c = τo w1² − τp w2² decays as e^{−2ηt} (R2). A step
solves for the hyperbolic angle σ, with dσ/dt = E, and for g:

    a(t + τ) = e^{−ητ} (a cosh σ + b sinh σ),   b(t + τ) = e^{−ητ} (b cosh σ + a sinh σ).

The invariant and the signs hold to rounding however long or stiff the run. Weights and time are scaled by powers of
two, so that the largest weight and the fastest rate are near one. The other variants have a = e^σ a(t), which keeps the
sign of a, and no-predictor, which is linear, has a = a(t) + σ.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

FULL, FIXED, TIED, IDENTITY, NO_EMA, NO_STOP, FAST, DIRECT = range(8)
"""Kinds of flow, to which `dynamics.variants` assigns every variant."""
POLAR, LOG = 8, 9
"""The full flow and no-ema where the encoder is next to nothing, see `dynamics.integration.mode_course.switched`."""

TINY = 1e-290
"""Below this a number is not relied on: its digits, and products with others, are lost to underflow."""
_FEW = 500
_POWERS = np.ldexp(1.0, np.arange(-_FEW, _FEW + 1))  # frexp and ldexp take longer than the rest of a look


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
    return given == 0 or abs(found) >= TINY


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


def balanced(y: Any, units: Any) -> Any:
    """w1, w2 and θ in the units of `scaled`."""
    weight, _, root_o, root_p = units
    return root_o * y[0] / weight, root_p * y[1] / weight, root_o * y[2] / weight


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
        if abs(a) > TINY and p[1] != 0:
            return a, g / a * (p[0] / p[1]), g
        return a, b, g  # a w1 that has decayed beyond what numbers hold leaves w2 as it is
    if kind == DIRECT:
        return a, abs(a) * (p[6] + p[7] * abs(a)), g
    return a, b, g


def encoder_size(kind: Any, y: Any) -> Any:
    """Size of what learns and collapses: w1 and θ together; w1 alone where θ does not follow it."""
    if kind in (FIXED, NO_STOP, NO_EMA):
        return abs(y[0])
    return max(abs(y[0]), abs(y[2]))


# --- the flow of (σ, second unknown) ------------------------------------------------------------------------


def second_unknown(kind: Any, y: Any, p: Any) -> Any:
    """Second unknown at y: g; b for no-stop-gradient; g/a for fast-predictor; ln of the scale in POLAR and LOG."""
    if kind == NO_STOP:
        return y[1]
    if kind in (POLAR, LOG):
        return 0.0
    if kind == FAST and not still(y):
        return y[2] / y[0] if abs(y[0]) > TINY or p[0] == 0 else y[1] * (p[1] / p[0])
    return y[2]


def still(y: Any) -> Any:
    """Whether fast-predictor has w1 = w2 = 0, so that only θ moves."""
    return y[0] == 0 and y[1] == 0


def rates_of(kind: Any, y: Any, p: Any) -> Any:
    """Return dσ/dt and the rate of the second unknown, see `second_unknown`."""
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
        if still(y):
            return -eta, -zeta * g
        return -eta, zeta - (zeta - eta) * second_unknown(FAST, y, p)
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


def jacobian(kind: Any, y: Any, p: Any) -> Any:
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
        return 0.0, 0.0, 0.0, -zeta if still(y) else eta - zeta, 0.0, 0.0, 0.0
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
        if still(y) or p[1] == 0:
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
