"""The compiled part of `dynamics.integration.deep_ensemble`: modes of deep encoders by a stiff method.

A step is one of RODAS of order 4(3) (Hairer and Wanner 1996, section IV.7): L-stable, so that modes with small layers,
which crawl, take steps as long as their own times, whatever τt is. The average is eliminated from its linear systems,
which are then of size L + 1.

Numba's cache on disk notices changes of the file that a kernel is in, of no other: all that is compiled is here. This
module imports Numba: only `dynamics.integration.deep_ensemble` imports it, when it is called.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

LEARNED, COLLAPSED, UNDECIDED = 0, 1, 2
STEADY, END_TIME, DIVERGED, MAX_STEPS = 0, 1, 2, 3

GAMMA = 0.25
A = np.array(
    [
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [1.544, 0.0, 0.0, 0.0, 0.0],
        [0.9466785280815826, 0.2557011698983284, 0.0, 0.0, 0.0],
        [3.314825187068521, 2.896124015972201, 0.9986419139977817, 0.0, 0.0],
        [1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950, 0.0],
        [1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950, 1.0],
    ]
)
C = np.array(
    [
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [-5.6688, 0.0, 0.0, 0.0, 0.0],
        [-2.430093356833875, -0.2063599157091915, 0.0, 0.0, 0.0],
        [-0.1073529058151375, -9.594562251023355, -20.47028614809616, 0.0, 0.0],
        [7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160, 0.0],
        [
            8.083246795921522,
            -7.981132988064893,
            -31.52159432874371,
            16.31930543123136,
            -6.058818238834054,
        ],
    ]
)
"""Stages k_i solve (1/(γh) − J) k_i = f(y + Σ a_ij k_j) + Σ c_ij k_j/h; the sixth is the error, and a step is the
argument of the sixth and that."""

BESIDE = 0.01  # of r: how near v is to r where a mode is called learned
SMALL = 1e-3  # of a square: how small a layer is where it is called dead
MOST_IN_A_ROW = (
    100  # tries of a step, each shorter, that weights which numbers hold pass; t plays no part in the flow
)

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def speed(y: Any, L: Any, p: Any, averaged: Any, out: Any) -> None:
    """Right side of `dynamics.fields.deep.deep_field`, of y = (w_1 … w_L, v, θ_1 … θ_L); p as for `follow`."""
    s, d, tp, tt, eta = p[0], p[1], p[2], p[3], p[4]
    omega, theta = 1.0, 1.0
    for k in range(L):
        omega *= y[k]
        theta *= y[L + 1 + k] if averaged else y[k]
    v = y[L]
    e = theta * d - v * omega * s
    for k in range(L):
        other = 1.0
        for j in range(L):
            if j != k:
                other *= y[j]
        out[k] = v * other * e / p[5 + k] - eta * y[k]
        out[L + 1 + k] = (y[k] - y[L + 1 + k]) / tt if averaged else out[k]
    out[L] = omega * e / tp - eta * v


@_compiled
def _linearised(y: Any, L: Any, p: Any, averaged: Any, J: Any, b: Any, q: Any) -> None:
    """Jacobian J of (w, v) by (w, v) at fixed θ, and b qᵀ, that by θ; without averages J is all of it."""
    s, d, tp, eta = p[0], p[1], p[2], p[4]
    omega, theta, v = 1.0, 1.0, y[L]
    for k in range(L):
        omega *= y[k]
        theta *= y[L + 1 + k] if averaged else y[k]
    e = theta * d - v * omega * s
    for k in range(L):
        other, of_target = 1.0, 1.0
        for j in range(L):
            if j != k:
                other *= y[j]
                of_target *= y[L + 1 + j]
        b[k] = v * other / p[5 + k]
        q[k] = d * of_target
        J[L, k] = other  # of ω, until it is used up below
    b[L] = omega / tp
    for k in range(L):
        by_layer = J[L, k] * (d - s * v) if not averaged else -s * v * J[L, k]
        for i in range(L):
            both = 0.0
            if i != k:
                both = 1.0
                for j in range(L):
                    if j not in (i, k):
                        both *= y[j]
            J[i, k] = v * both * e / p[5 + i] + b[i] * by_layer
    for i in range(L):
        J[i, L] = J[L, i] * e / p[5 + i] - b[i] * s * omega
        J[i, i] -= eta
    for k in range(L):
        by_layer = J[L, k] * (d - s * v) if not averaged else -s * v * J[L, k]
        J[L, k] = J[L, k] * e / tp + b[L] * by_layer
    J[L, L] = -b[L] * s * omega - eta


@_compiled
def _factorised(M: Any, pivots: Any) -> None:
    n = len(pivots)
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            if abs(M[i, k]) > abs(M[best, k]):
                best = i
        pivots[k] = best
        if best != k:
            for j in range(n):
                M[k, j], M[best, j] = M[best, j], M[k, j]
        for i in range(k + 1, n):
            M[i, k] /= M[k, k]
            for j in range(k + 1, n):
                M[i, j] -= M[i, k] * M[k, j]


@_compiled
def _solved(M: Any, pivots: Any, x: Any) -> None:
    n = len(pivots)
    for k in range(n):
        x[k], x[pivots[k]] = x[pivots[k]], x[k]
    for k in range(n):
        for i in range(k + 1, n):
            x[i] -= M[i, k] * x[k]
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            x[k] -= M[k, j] * x[j]
        x[k] /= M[k, k]


@_compiled
def step(y: Any, h: Any, L: Any, p: Any, averaged: Any, a: Any, c: Any, K: Any, y1: Any) -> None:
    """One step from y to y1; K[5], one of the stages (6, 2L + 1), is the error."""
    n, gain, tt = 2 * L + 1, 1.0 / (GAMMA * h), p[3]
    M, b, q = np.empty((L + 1, L + 1)), np.empty(L + 1), np.empty(L)
    pivots, x, moved = np.empty(L + 1, np.int64), np.empty(L + 1), np.empty(n)
    _linearised(y, L, p, averaged, M, b, q)
    held = 1.0 / (gain + 1.0 / tt)  # (1/(γh) + 1/τt) k_θ = right side + k_w/τt
    for i in range(L + 1):
        for j in range(L + 1):
            M[i, j] = -M[i, j]
            if averaged and j < L:
                M[i, j] -= b[i] * q[j] * held / tt
        M[i, i] += gain
    _factorised(M, pivots)
    for stage in range(6):
        for i in range(n):
            y1[i] = y[i]
            for j in range(stage):
                y1[i] += a[stage, j] * K[j, i]
        speed(y1, L, p, averaged, moved)
        for i in range(n):
            for j in range(stage):
                moved[i] += c[stage, j] * K[j, i] / h
        by_target = 0.0
        if averaged:
            for k in range(L):
                by_target += q[k] * moved[L + 1 + k] * held
        for i in range(L + 1):
            x[i] = moved[i] + b[i] * by_target
        _solved(M, pivots, x)
        for i in range(L + 1):
            K[stage, i] = x[i]
        for k in range(L):
            K[stage, L + 1 + k] = (moved[L + 1 + k] + x[k] / tt) * held if averaged else x[k]
    for i in range(n):
        y1[i] += K[5, i]


@_compiled
def _departure(y: Any, c0: Any, L: Any, p: Any, t: Any) -> Any:
    """Largest |c_l − e^{−2ηt} c_l(0)|, with c_l = τ_l w_l² − τp v²."""
    worst, left = 0.0, np.exp(-2.0 * p[4] * t)
    for k in range(L):
        c = p[5 + k] * y[k] * y[k] - p[2] * y[L] * y[L]
        worst = max(worst, abs(c - left * c0[k]))
    return worst


@_compiled
def arrived(y: Any, tied: Any, doubtful: Any, drift: Any, L: Any, p: Any, averaged: Any, rest: Any) -> Any:
    """Fate of a mode that has come to a neighbourhood from which a stated argument leads to an end; else UNDECIDED.

    Write m for the smallest of the τ_l w_l², u = w_m, ϑ = θ_m, and A and B for the products of the other layers and
    targets.

    Rest. Where two layers are zero, or one is with its target, no layer comes back: collapsed, at any η.

    Without weight decay, where all θ_l have the signs of their w_l, which is so without averages:

    - v > 0: the flow is cooperative (`analysis.depth.fates`), and goes to v = r if the leaf meets it at weights that
      are not zero, c_min > −τp r², and else to u = 0. Said of modes with v within `BESIDE` of r, or u² and ϑ² below
      `SMALL` of v² (in units of the τ).
      v = 0 is passed upwards on leaves with c_min > 0 alone: where v(0) < 0 and c_min(0) is not above the drift of the
      run, the passage is `doubtful`, and may be rounding.
    - v < 0, and two layers equal for ever, the smallest: e > 0 in the signs of the weights, so that every |w_l| and
      |v| falls, and no layer crosses zero, as the other goes with it. What falls has a limit, which is at rest:
      ω = 0. Said where u² is below `SMALL` of v².

    v < 0, with one smallest layer. With α = −v A B λd/τ_m > 0 and β = λs v² A²/τ_m,

        du/dt = −β u − α ϑ,   τt dϑ/dt = u − ϑ,   V = u² + α τt ϑ²,   dV/dt = −2β u² − (2α − τt dα/dt) ϑ².

    α moves with the θ_l of the other layers, τt d ln θ_l/dt = w_l/θ_l − 1, and with v and the other layers, which are
    functions of u² alone on the leaf. Where |w_l/θ_l − 1| <= 1/(2L − 2), the first is at most ½, and stays there; where
    L τ_m V (1 + √(α τt) + β τt) is below `SMALL` of the other τ_l w_l² and τp v², the second is far below ½. Then V
    falls, and this stays so: u and ϑ go to 0.

    With weight decay the box in which no weight exceeds b is left by none if b^{2L−1} (λd + λs b) < η min(τ_l, τp):
    there the weights fall, and θ follows, to the origin. A point `rest` (|w_1| … |w_L|, v) that attracts, NaN where
    there is none, is reached where all weights are within 1e-6 of it, in the same signs.
    """
    s, d, tp, tt, eta = p[0], p[1], p[2], p[3], p[4]
    v, r = y[L], d / s
    zeros, m, agree = 0, 0, True
    for k in range(L):
        if y[k] == 0.0:
            zeros += 1
            if not averaged or y[L + 1 + k] == 0.0:
                zeros = 2
        agree = agree and (not averaged or y[k] * y[L + 1 + k] > 0.0)
        if p[5 + k] * y[k] * y[k] < p[5 + m] * y[m] * y[m]:
            m = k
        if zeros > 1:
            return COLLAPSED
    if eta > 0.0:
        largest, slowest, near = abs(v), tp, abs(v - rest[L]) <= 1e-6 * rest[L]
        for k in range(L):
            slowest = min(slowest, p[5 + k])
            w, th = abs(y[k]), abs(y[L + 1 + k]) if averaged else abs(y[k])
            largest = max(largest, max(w, th))
            near = near and abs(w - rest[k]) <= 1e-6 * rest[k] and abs(th - rest[k]) <= 1e-6 * rest[k]
        if near and agree:
            return LEARNED
        if largest ** (2 * L - 1) * (d + s * largest) < eta * slowest:
            return COLLAPSED
        return UNDECIDED
    tm, size = p[5 + m], tp * v * v
    u, th = y[m], y[L + 1 + m] if averaged else y[m]
    least = tm * u * u - size  # c_min
    dead = L * tm * max(u * u, th * th) <= SMALL * size
    if v > 0.0:
        if not agree:
            return UNDECIDED
        if abs(v - r) <= BESIDE * r and least > -tp * r * r + drift:
            return UNDECIDED if doubtful else LEARNED
        if dead and least < -tp * r * r - drift:
            return COLLAPSED
        return UNDECIDED
    if not dead or least >= -drift:
        return UNDECIDED
    if tied:
        return COLLAPSED if agree else UNDECIDED
    others, of_targets, smallest = 1.0, 1.0, size
    for k in range(L):
        if k != m:
            target = y[L + 1 + k] if averaged else y[k]
            others *= y[k]
            of_targets *= target
            smallest = min(smallest, p[5 + k] * y[k] * y[k])
            if not abs(y[k] - target) * 2 * (L - 1) <= abs(target):
                return UNDECIDED
    alpha, beta = -v * others * of_targets * d / tm, s * v * v * others * others / tm
    if not averaged:
        tt = 0.0
    V = u * u + alpha * tt * th * th
    if L * tm * V * (1.0 + np.sqrt(alpha * tt) + beta * tt) <= SMALL * smallest:
        return COLLAPSED
    return UNDECIDED


@_compiled
def follow(
    first: Any,
    last: Any,
    y: Any,
    p: Any,
    rests: Any,
    ends: Any,
    averaged: Any,
    rtol: Any,
    max_steps: Any,
    a: Any,
    c: Any,
    times: Any,
    drifts: Any,
    fates: Any,
    statuses: Any,
    counts: Any,
) -> None:
    """Follow modes first … last − 1 until their fates are decided, their times are over or their steps are spent.

    Parameters
    ----------
    y
        w_1 … w_L, v, θ_1 … θ_L, shape (N, 2L + 1), in place.
    p
        λs, λd, τp, τt, η, τ_1 … τ_L, shape (N, L + 5).
    rests
        Points that attract with weight decay, shape (N, L + 1); NaN where there is none.
    ends
        Longest times, shape (N,).
    averaged
        Whether the targets are averages.
    a, c
        `A` and `C`.
    times, drifts, fates, statuses, counts
        Where results go, each of shape (N,), counts (2, N): accepted and rejected steps.
    """
    L = p.shape[1] - 5
    n = 2 * L + 1
    K, y1, c0 = np.empty((6, n)), np.empty(n), np.empty(L)
    for one in range(first, last):
        z, q = y[one], p[one]
        size, m, tied = 0.0, 0, False
        for i in range(n):
            size = max(size, abs(z[i]))
        for k in range(L):
            c0[k] = q[5 + k] * z[k] * z[k] - q[2] * z[L] * z[L]
            if c0[k] < c0[m]:
                m = k
        for k in range(L):
            tied = tied or (k != m and q[5 + k] * z[k] * z[k] == q[5 + m] * z[m] * z[m])
        t, drift, accepted, rejected, in_a_row = 0.0, 0.0, 0, 0, 0
        v0 = z[L]
        fate = arrived(z, tied, False, 0.0, L, q, averaged, rests[one])
        status = STEADY if fate != UNDECIDED else MAX_STEPS
        speed(z, L, q, averaged, y1)
        fastest = 0.0
        for i in range(n):
            fastest = max(fastest, abs(y1[i]))
        h = min(ends[one], 1e-3 * size / fastest if fastest > 0.0 else 1.0)
        while fate == UNDECIDED and accepted + rejected < max_steps:
            h = min(h, ends[one] - t)
            step(z, h, L, q, averaged, a, c, K, y1)
            error = 0.0
            for i in range(n):
                allowed = rtol * (1e-3 * size + max(abs(z[i]), abs(y1[i])))
                part = abs(K[5, i]) / allowed
                error = part if not part <= error else error  # NaN stays
            if not error <= 1.0:
                rejected += 1
                h *= max(0.2, 0.9 * error**-0.25) if error < np.inf else 0.1
                in_a_row += 1
                if in_a_row > MOST_IN_A_ROW:
                    status = DIVERGED
                    break
                continue
            accepted += 1
            in_a_row = 0
            t += h
            z[:] = y1
            drift = max(drift, _departure(z, c0, L, q, t))
            doubtful = v0 < 0.0 and c0[m] <= drift
            fate = arrived(z, tied, doubtful, drift, L, q, averaged, rests[one])
            if fate != UNDECIDED:
                status = STEADY
            elif t >= ends[one]:
                status = END_TIME
                break
            h = min(h * min(5.0, 0.9 * (error + 1e-12) ** -0.25), 1e290)
        times[one], drifts[one], fates[one], statuses[one] = t, drift, fate, status
        counts[0, one], counts[1, one] = accepted, rejected
