"""One mode's flow in two unknowns: a trajectory to its end.

The linear flow leads there at once where its error is small enough (`finished`), steps of the stiff method elsewhere
(`brought_to_its_end`). Where the encoder sinks to next to nothing on its way, other unknowns hold it (`switched`).
"""

from __future__ import annotations

import math
from typing import Any

from dynamics.integration.mode_approach import followed
from dynamics.integration.mode_ends import (
    DIVERGED,
    END_TIME,
    MAX_STEPS,
    RUNNING,
    SLOW,
    STEADY,
    UNDECIDED,
    arrived,
    distance,
    fate_of,
)
from dynamics.integration.mode_flow import (
    DIRECT,
    FAST,
    FULL,
    LOG,
    NO_EMA,
    POLAR,
    TIED,
    TINY,
    balanced,
    constrained,
    scaled,
    unscaled,
)
from dynamics.integration.mode_step import attempted, between, first_step

NOT_YET, STIFF = RUNNING + 1, RUNNING + 2
"""Of `looked`: look again later; go on with `brought_to_its_end`."""

GROWN = 1e12
"""A run whose weights exceed the largest of start and fixed point by this factor has diverged: no bounded flow does."""
_VANISHED = 1e-8  # encoder over predictor below which the square of that is rounding
# of the two rates of a vanished encoder: beyond it rounding of the fast one would drown the slow one
_APART = 1e7
_SHORTEST = 1e-18  # step in units of the fastest rate at weights of size one
SHARE = 0.1
"""Fraction of the tolerance that the error of the linear flow about an end may take."""
EXPLICIT = 600.0
"""Time, in units of the fastest rate, that an explicit method covers in a few hundred steps."""


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


def overshoots(kind: Any, mode: Any, z: Any, log_scale: Any, dense: Any) -> Any:
    """Whether a step in POLAR or LOG ends where the encoder is no longer next to nothing."""
    return mode != kind and log_scale + dense[4] > math.log(1000 * _VANISHED * max(abs(z[1]), TINY))


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
    if mode == kind and (start[0] != 0 or start[2] != 0) and abs(a) < TINY and (eta == 0 or pull > eta):
        if kind == FULL:
            lost = abs(g) < TINY or abs(b) < TINY
        elif kind == TIED:
            lost = math.copysign(1.0, a) * p[0] > 0
        elif kind == DIRECT:
            lost = p[0] > 0
        else:
            lost = kind == NO_EMA
        if lost and arrived(kind, y, start, p)[0] != RUNNING:  # it will not come back
            lost = False
    return MAX_STEPS if lost or h < _SHORTEST else RUNNING


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
        if bound <= SHARE * tolerance:
            encoder, predictor = distance(state, end)
            way = max(encoder, predictor)
            if way + bound <= tolerance / 100:
                return STEADY, unscaled(kind, end, units), fate, 0.0
            size = max(max(abs(state[0]), abs(state[1])), abs(state[2]))
            close = way <= atol * units[3] / units[0] + rtol * size
            return STEADY if close else END_TIME, unscaled(kind, state, units), fate, left
    fastest = p[2] + p[3] + p[1] * size * size + abs(p[0]) * size
    return NOT_YET if time * fastest <= EXPLICIT else STIFF, y, fate, 0.0


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
            tolerance = SHARE * (own_atol + rtol * size)
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
