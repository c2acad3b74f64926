"""One mode's flow in two unknowns: the approach to an end.

Near an end that is certain the flow is linear but for an error with a bound, so that the rest of the way to a finite
time is one exponential of a 2 × 2 matrix, see `followed`.
"""

from __future__ import annotations

import math
from typing import Any

from dynamics.integration.mode_flow import FIXED, FULL, IDENTITY, NO_EMA, TIED, moved


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


def curvature(kind: Any, a: Any, b: Any, coupling: Any, damping: Any, pull: Any, way: Any) -> Any:
    """Q of `followed`: what the flow at a distance `way` has more than the linear one is at most q `way`².

    σ̇ has B (a² + b²) (sinh 2σ − 2σ)/2 + B a b (cosh 2σ − 1) more, and A a (cosh σ − 1) + A b (sinh σ − σ) without an
    average; ġ has ζ a (cosh σ − 1) + ζ b (sinh σ − σ) more, in the norm times √(|A|/(|b| ζ)), `pull` with ζ.
    """
    encoder = 0.51 * abs(a) + 0.34 * way * abs(b)
    q = damping * (2.02 * abs(a * b) + 1.36 * way * (a * a + b * b))
    if kind == NO_EMA:
        return q + abs(coupling) * encoder
    return math.sqrt(q * q + pull * encoder * (pull * encoder))


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
    kappa = curvature(kind, a, b, coupling, damping, unit * zeta, way) * way / slow
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
