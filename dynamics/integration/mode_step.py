"""One mode's flow in two unknowns: a step of it, its error, its dense output and the size of the next.

The step is the Rosenbrock method RODAS of order 4(3), stiffly accurate, with dense output of order 3 (Hairer and
Wanner, Solving Ordinary Differential Equations II, section IV.10). Its systems of two equations are solved by
determinants written as sums without cancellation, so that a rate 1e25 times another does no harm.
"""

from __future__ import annotations

import math
from typing import Any

from dynamics.integration.mode_flow import (
    DIRECT,
    FAST,
    FIXED,
    IDENTITY,
    LOG,
    NO_STOP,
    POLAR,
    TIED,
    TINY,
    encoder_size,
    jacobian,
    moved,
    rates_of,
    second_unknown,
    still,
)

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


def _stage(kind: Any, y: Any, sigma: Any, second: Any, time: Any, p: Any, q: Any) -> Any:
    return rates_of(kind, moved(kind, y, sigma, second, time, p), q)


def stages(kind: Any, y: Any, h: Any, p: Any) -> Any:
    """One step of size h: the state after it, the estimated error of (σ, second unknown), and the dense output.

    The dense output is (σ1, σ3, σ4, x0, x1, x3, x4) for `between`.
    """
    x0 = second_unknown(kind, y, p)
    # with h in the rates: where a step is 1e200 long its Jacobian is as small, and only their product is a number
    q = h * p[0], h * p[1], h * p[2], h * p[3], h * p[4], h * p[5], p[6], p[7]
    j11, j12, j21, j22, det, t1, t2 = jacobian(kind, y, q)
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


def attempted(kind: Any, y: Any, h: Any, p: Any, rtol: Any, atol: Any) -> Any:
    """Try a step of size h: state after it, dense output, whether it is accurate enough, and the next size to try.

    The error of a and g is measured against the encoder, which leaves and approaches zero by multiplication, so that
    its sign and its size stay right over any number of decades. The error of b is measured against all weights.
    """
    z, error, dense = stages(kind, y, h, p)
    s, x = abs(error[0]), abs(error[1])
    small = max(encoder_size(kind, y), encoder_size(kind, z))
    large = max(small, max(abs(y[1]), abs(z[1])))
    a, b = max(abs(y[0]), abs(z[0])), max(abs(y[1]), abs(z[1]))
    if kind == IDENTITY:
        worst = max(s, x) / (rtol * small + TINY)
    elif kind == NO_STOP:
        worst = max(s / rtol, x / (rtol * large + atol))
    elif kind == FAST:
        ratio = 0.0 if still(y) else 1.0
        worst = max(s / rtol, x / (rtol * max(ratio, abs(second_unknown(kind, y, p))) + TINY))
    elif kind == DIRECT:
        worst = max(s / rtol, x / (rtol * small + TINY))
    elif kind in (POLAR, LOG):
        worst = max(s, x) / rtol
    elif kind == FIXED:
        worst = s / rtol
    elif kind == TIED:
        worst = max(s / rtol, x / (rtol * small + TINY))
    else:
        g = max(abs(y[2]), abs(z[2]))
        own = max(a, b if kind == FIXED else min(b, g))  # a target far larger than both must not hide a and b
        worst = max(s * b / (rtol * own + TINY), s * a / (rtol * max(a, b) + atol))
        worst = max(worst, x / (rtol * small + TINY))
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
    small = max(encoder_size(kind, y), TINY)
    fast = max(
        abs(f) * (1.0 if kind in (NO_STOP, FAST, DIRECT) else abs(b) / small),
        abs(e) / small,
    )
    if kind == NO_STOP:
        fast = max(abs(f), abs(e) / max(abs(b), small))
    if kind == FAST:
        fast = max(abs(f), abs(e) / max(0.0 if still(y) else 1.0, abs(second_unknown(kind, y, p))))
    fast = max(max(fast, abs(f) if kind != IDENTITY else abs(f) / small), p[3])
    return 2 * rtol**0.25 / fast if fast > 0 else 1.0
