"""Where a start ends, predicted without following the flow: the exact fate of one mode, variant by variant.

For one mode with η = 0 the flow stays on its leaf of constant c = τo w1² − τp w2² and every trajectory converges
(R6), so the leaf, not the target, decides between learning and collapse. Other variants have results of their own,
listed at `predict_fates`; where nothing is proved the prediction is empty, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from dynamics.invariants import scaled_invariant
from dynamics.quadratic import binary_exponent, even_part, product, quadratic_roots, scaled_product, shifted
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS

SIGN_ACCURACY = 1e-8
"""A start whose θ is within this fraction of the stable manifold's θ keeps an undecided sign."""

_FLOAT_MAX = float(np.finfo(np.float64).max)

_SQUARED = 1e150
"""Largest weight of which squares are taken."""

_MANIFOLD = "R6: -τp r² < c < 0 and w2 > 0, the saddle's stable manifold decides the sign of w1"


class Fate(StrEnum):
    """What becomes of a mode: its online weight ends away from zero, or at zero, or it is not known."""

    LEARNED = "learned"
    COLLAPSED = "collapsed"
    UNDECIDED = "undecided"


class Prediction(NamedTuple):
    """Predicted ends, one for each start and mode; arrays of the shape of the starts.

    Parameters
    ----------
    fate
        "learned" (w1 ends away from 0), "collapsed" (w1 ends at 0), or "" where no result applies.
    online, predictor, target
        End point (w1, w2, θ); NaN where unknown.
    amplitude
        |w1| at the end, known also where the sign of w1 is not; NaN where unknown.
    algebraic
        True where the end is approached like a power of t, not exponentially: do not integrate until it is reached.
    reason
        The result used and the condition that holds, in words.
    """

    fate: np.ndarray
    online: np.ndarray
    predictor: np.ndarray
    target: np.ndarray
    amplitude: np.ndarray
    algebraic: np.ndarray
    reason: np.ndarray


class _Case(NamedTuple):
    """If `when`, the end is (online, predictor, target). Of several cases the first that holds counts.

    The mode has collapsed if `online` is 0. Where only its sign is unknown, `online` is NaN and `amplitude` is not.
    """

    when: Any
    reason: str
    online: Any = np.nan
    predictor: Any = np.nan
    target: Any = np.nan
    algebraic: Any = False
    amplitude: Any = None


def _assemble(cases: list[_Case], shape: tuple[int, ...]) -> Prediction:
    ends = Prediction(
        fate=np.full(shape, "", dtype="<U9"),
        online=np.full(shape, np.nan),
        predictor=np.full(shape, np.nan),
        target=np.full(shape, np.nan),
        amplitude=np.full(shape, np.nan),
        algebraic=np.zeros(shape, dtype=bool),
        reason=np.full(shape, "", dtype=object),
    )
    left = np.ones(shape, dtype=bool)
    for case in cases:
        now = left & case.when
        if not np.any(now):
            continue
        left &= ~now
        amplitude = np.abs(case.online) if case.amplitude is None else case.amplitude
        fate = np.where(np.isnan(amplitude), "", np.where(amplitude == 0, Fate.COLLAPSED, Fate.LEARNED))
        values = (fate, case.online, case.predictor, case.target, amplitude, case.algebraic, case.reason)
        for end, value in zip(ends, values, strict=True):
            end[now] = np.broadcast_to(value, shape)[now]
    return ends


def _with_decay(system: ModeSystem, conserved: list[_Case], decayed: list[_Case]) -> list[_Case]:
    """Cases for η = 0, the last of which always holds, and cases for η > 0."""
    still = np.equal(system.weight_decay, 0.0)
    return [case._replace(when=still & case.when) for case in conserved] + decayed


def _root(x: Any) -> Any:
    return np.sqrt(np.maximum(x, 0.0))


def _branch(state: ModeState, system: ModeSystem) -> Any:
    """Predictor as seen from λd >= 0, since (w2, λd) → (−w2, −λd) leaves the flow as it is."""
    return np.where(system.lambda_d < 0, -1.0, 1.0) * state.predictor


class _Leaf(NamedTuple):
    """Ends on a leaf of constant c, as far as the leaf alone decides (R6, R14)."""

    collapse: Any
    predictor: Any
    amplitude: Any
    algebraic: Any
    condition: Any
    c: Any


def _leaf(state: ModeState, system: ModeSystem) -> _Leaf:
    """Compare c with 0 and −τp r², all scaled by powers of two so that no square over- or underflows."""
    r = system.ratio
    above = _branch(state, system) > 0
    w1, w2, _ = state
    to, half_o = even_part(system.tau_online)
    tp, half_p = even_part(system.tau_predictor)
    c, own = scaled_invariant(w1, w2, system)
    shared = np.maximum(own, binary_exponent(r, half_p))
    x, y, z = shifted(w1, half_o - shared), shifted(w2, half_p - shared), shifted(r, half_p - shared)
    excess = to * x**2 - tp * y**2 + tp * z**2
    margin = np.where(above, np.where(c >= 0, np.where(r == 0, c, 1.0), excess), c)
    collapse = margin <= 0
    return _Leaf(
        collapse,
        np.where(collapse, np.sign(w2) * shifted(_root(-c / tp), own - half_p), r),
        np.where(collapse, 0.0, shifted(_root(excess / to), shared - half_o)),
        margin == 0,
        np.where(above, "w2 > 0 and c <= -τp r²", "w2 <= 0 and c <= 0"),
        c,
    )


def _exponent(*parts: Any) -> np.ndarray:
    """Binary exponent of the largest part; 0 where all are zero."""
    return np.frexp(np.maximum.reduce([np.abs(part) for part in np.broadcast_arrays(*parts)]))[1]


def _conserved_cases(state: ModeState, system: ModeSystem) -> list[_Case]:
    w1, w2, _ = state
    leaf = _leaf(state, system)
    c = leaf.c
    end = np.sign(w1) * leaf.amplitude
    return [
        _Case((w1 == 0) & (w2 == 0), "w1 = w2 = 0: only θ moves, and decays", 0.0, 0.0, 0.0),
        _Case(leaf.collapse, "R6: " + leaf.condition, 0.0, leaf.predictor, 0.0, leaf.algebraic),
        _Case(c >= 0, "R6: c >= 0, the sign of w1 is conserved", end, leaf.predictor, end),
        _Case(True, _MANIFOLD, predictor=leaf.predictor, amplitude=leaf.amplitude),
    ]


class _Levels(NamedTuple):
    """Solutions p± of λd p − λs p² = η τo (R15), as seen from λd >= 0; 0 and r at η = 0, NaN at η > η*."""

    lower: Any
    upper: Any
    beyond: Any
    """Whether η > η*."""
    double: Any
    """Whether η = η*."""


def _levels(system: ModeSystem) -> _Levels:
    roots = quadratic_roots(system.lambda_s, np.abs(system.lambda_d), system.weight_decay, system.tau_online)
    return _Levels(roots.minus, roots.plus, np.isnan(roots.root), roots.root == 0)


def _ordered_cases(
    when: Any, state: ModeState, slow: Any, lower: Any, upper: Any, predictor: Any
) -> list[_Case]:
    """Ends of a planar cooperative flow of (w1, θ), w1 ≠ 0, with saddle w1 = θ = ±lower and nodes 0, ±upper.

    With w1 > 0 both ∂ẇ1/∂θ and ∂θ̇/∂w1 are positive, so the flow keeps the order of starts: what lies above the
    saddle in both coordinates stays above it.
    """
    w1, _, th = state
    x, z, sign = np.abs(w1), np.sign(w1) * th, np.sign(w1)
    apart = (x != lower) | (z != lower)
    end = sign * upper
    return [
        _Case(when & apart & (x <= lower) & (z <= lower), "R15: w1 and θ below the saddle p-", 0.0, 0.0, 0.0),
        _Case(
            when & apart & (x >= lower) & (z >= lower),
            "R15: w1 and θ above the saddle p-",
            end,
            predictor,
            end,
            slow,
        ),
        _Case(when, "R15: neither above nor below the saddle p-, no result applies"),
    ]


def _decayed_cases(state: ModeState, system: ModeSystem) -> list[_Case]:
    """R15 and what follows from it for starts off the balanced sheet.

    max(|w1|, |θ|) never grows while |w2 λd| − w2² λs < η τo: always if η > η*, else within the box |w2| < p-,
    |w1|, |θ| < p- √(τp/τo), whose corner is the saddle and which no trajectory leaves.

    With c <= 0 and w2 < 0 (λd > 0) all weights are bounded, for w1² <= √(τp/τo) |w1 w2|, and w1 w2 cannot grow beyond
    the largest |θ| r; w2 keeps its sign while c vanishes as e^{−2ηt}, so what a trajectory approaches lies on the
    balanced sheet with w2 <= 0, where every trajectory goes to the origin.
    """
    w1, w2, th = state
    levels = _levels(system)
    lower, upper = (_encoder_at(level, system) for level in (levels.lower, levels.upper))
    box = (np.abs(w2) < levels.lower) & (np.maximum(np.abs(w1), np.abs(th)) < lower)
    c, branch = _leaf(state, system).c, _branch(state, system)
    balanced = c == 0
    return [
        _Case(
            (w1 == 0) & ((th == 0) | (w2 == 0)), "R15: w1 = 0 for all times, the rest decays", 0.0, 0.0, 0.0
        ),
        _Case(levels.beyond, "R15: η > η*", 0.0, 0.0, 0.0),
        _Case(box, "R15: within the box below the saddle p-", 0.0, 0.0, 0.0),
        _Case((c <= 0) & (branch < 0), "R15: c <= 0 and w2 < 0", 0.0, 0.0, 0.0),
        *_ordered_cases(balanced, state, levels.double, lower, upper, np.sign(w2) * levels.upper),
        _Case(True, "R15: c ≠ 0 and η <= η*, no result applies"),
    ]


def _encoder_at(level: Any, system: ModeSystem) -> Any:
    """|w1| on the balanced sheet at w2 = level, √(τp/τo) level."""
    return product(np.sqrt(system.tau_predictor), level, over=(np.sqrt(system.tau_online),))


def _full_cases(state: ModeState, system: ModeSystem) -> list[_Case]:
    return _with_decay(system, _conserved_cases(state, system), _decayed_cases(state, system))


def _no_ema_cases(state: ModeState, system: ModeSystem) -> list[_Case]:
    """R14: dw2/dt = w1² λs (r − w2)/τp, so w2 moves towards r and stops where its leaf ends in w1 = 0."""
    leaf = _leaf(state, system)
    end = np.sign(state.online) * leaf.amplitude
    conserved = [
        _Case(leaf.collapse, "R14: " + leaf.condition, 0.0, leaf.predictor, 0.0, leaf.algebraic),
        _Case(True, "R14: the leaf reaches w2 = r", end, leaf.predictor, end),
    ]
    return _with_decay(system, conserved, _decayed_cases(state, system))


def _fixed_target_cases(state: ModeState, system: ModeSystem) -> list[_Case]:
    """R13: u = w1 w2 moves monotonically towards u* = θ r, at a speed that vanishes only at the origin."""
    w1, w2, th = state
    to, half_o = even_part(system.tau_online)
    tp, half_p = even_part(system.tau_predictor)
    u = np.sign(th) * np.sign(system.lambda_d)
    # in units of 2^m: x = √τo w1, y = √τp w2, and v² = |√τo √τp u*|, which no product of two can overflow
    roots = (np.sqrt(np.abs(part)) for part in (th, system.lambda_d, np.sqrt(to), np.sqrt(tp)))
    v = product(*roots, np.sqrt(shifted(1.0, half_o % 2 + half_p % 2)), over=(np.sqrt(system.lambda_s),))
    half = half_o // 2 + half_p // 2
    m = np.maximum.reduce(
        np.broadcast_arrays(
            binary_exponent(w1, half_o), binary_exponent(w2, half_p), binary_exponent(v, half)
        )
    )
    c = to * shifted(w1, half_o - m) ** 2 - tp * shifted(w2, half_p - m) ** 2
    unit, v = v, shifted(v, half - m)
    # the roots of x² − y² = c, x y = v², each from the sum without cancellation
    larger = np.sqrt((np.abs(c) + np.hypot(c, 2 * v * v)) / 2)
    over = np.where(larger == 0, 1.0, larger)
    wide = c >= 0
    x = np.where(
        wide,
        shifted(larger / np.sqrt(to), m - half_o),
        shifted(product(unit, over=(over, np.sqrt(to))) * v, half - half_o),
    )
    y = np.where(
        wide,
        shifted(product(unit, over=(over, np.sqrt(tp))) * v, half - half_p),
        shifted(larger / np.sqrt(tp), m - half_p),
    )
    lost = (u != 0) & ((x == 0) | (y == 0))
    sign = np.where(c >= 0, np.sign(w1), np.sign(u) * np.sign(w2))
    other = np.where(c >= 0, np.sign(u) * np.sign(w1), np.sign(w2))
    conserved = [
        _Case((c == 0) & (w1 * w2 * u <= 0), "R13: c = 0 and w1 w2 θ r <= 0", 0.0, 0.0, th, u == 0),
        _Case(lost, "R13: the end is smaller than numbers can hold"),
        _Case(True, "R13: w1 w2 ends at θ r on its leaf", sign * x, other * y, th),
    ]
    # with x = √τo w1, y = √τp w2 the signs of x ± y are conserved, and only the origin and e = ±η√(τo τp) are at rest
    to, tp = np.asarray(system.tau_online), np.asarray(system.tau_predictor)
    # |θ λd| − η √(τo τp) in units of the larger
    pull, e_pull = scaled_product(np.abs(th), np.abs(system.lambda_d))
    decay, e_decay = scaled_product(system.weight_decay, np.sqrt(to), np.sqrt(tp))
    unit = np.maximum(e_pull, e_decay)
    excess = shifted(pull, e_pull - unit) - shifted(decay, e_decay - unit)
    lead = _sign_of_sum(to, w1, tp, u * w2)
    size = _root(excess) * np.sqrt(shifted(1.0, unit % 2))
    four_o, four_p, root_s = np.sqrt(np.sqrt(to)), np.sqrt(np.sqrt(tp)), np.sqrt(system.lambda_s)
    end = shifted(product(size, four_p, over=(four_o, root_s)), unit // 2)
    other = shifted(product(size, four_o, over=(four_p, root_s)), unit // 2)
    decayed = [
        _Case(excess <= 0, "η √(τo τp) >= |θ λd|", 0.0, 0.0, th, excess == 0),
        _Case(lead == 0, "on the stable manifold of the origin", 0.0, 0.0, th),
        _Case(True, "the sign of √τo w1 + sign(θ λd) √τp w2 is conserved", lead * end, u * lead * other, th),
    ]
    return _with_decay(system, conserved, decayed)


def _sign_of_sum(to: Any, w1: Any, tp: Any, w2: Any) -> np.ndarray:
    """Sign of √τo w1 + √τp w2, in units of the larger."""
    root_o, root_p = np.sqrt(to), np.sqrt(tp)
    _, e_o = np.frexp(root_o)
    _, e_p = np.frexp(root_p)
    m = np.maximum(binary_exponent(w1, e_o), binary_exponent(w2, e_p))
    first = shifted(root_o, -e_o) * shifted(w1, e_o - m)
    return np.sign(first + shifted(root_p, -e_p) * shifted(w2, e_p - m))


def _no_predictor_cases(state: ModeState, system: ModeSystem) -> list[_Case]:
    """R11: linear in (w1, θ); at λd = λs + η τo the combination τo w1 + τt λd θ is conserved."""
    w1, _, th = state
    to, tt, ld = system.tau_online, system.tau_target, system.lambda_d
    gap = (system.lambda_s / 2 - ld / 2) + product(system.weight_decay, to, 0.5)  # half of λs + η τo − λd
    # the mean of w1 and θ with weights τo and τt λd, of which only the ratio counts
    ratio = product(tt, np.where(gap == 0, ld, 0.0), over=(to,))
    end = w1 / (1 + ratio) + th / (1 + np.where(ratio == 0, np.inf, 1 / np.where(ratio == 0, 1.0, ratio)))
    return [
        _Case(gap > 0, "R11: λd < λs + η τo", 0.0, 1.0, 0.0),
        _Case(gap == 0, "R11: λd = λs + η τo, a line of fixed points", end, 1.0, end),
        _Case(True, "R11: λd > λs + η τo, no bounded end but on the saddle's stable manifold"),
    ]


def _no_stop_gradient_cases(state: ModeState, system: ModeSystem) -> list[_Case]:
    """R12: with y = w2 − r, w1² − (τp/τo)(y² + (1 − r²) ln y²) is conserved and w1² decays at a rate >= 1 − r²."""
    w1, w2, _ = state
    to, tp, r, ls, ld = (
        system.tau_online,
        system.tau_predictor,
        system.ratio,
        system.lambda_s,
        system.lambda_d,
    )
    shrinks = np.where(np.abs(ld) > ls, -1.0, (ls - ld) / ls)  # times 1 + r > 0, else the sign alone counts
    y, q = w2 - r, shrinks * np.where(np.abs(ld) > ls, 1.0, 1 + r)
    kappa = np.sqrt(to) / np.sqrt(tp)
    reach = np.minimum(product(kappa, np.abs(w1)), _FLOAT_MAX)
    far = np.maximum(np.abs(y), reach) > _SQUARED
    lost = np.minimum(reach, _SQUARED) ** 2
    inside = r + np.sign(y) * np.exp(_log_square_end(np.clip(y, -_SQUARED, _SQUARED), lost, q) / 2)
    # √(y² − κ² w1²) and its like from the factors, whose product may overflow
    one, other = np.abs(y) / 2, reach / 2
    sides = 2 * (np.sqrt(np.abs(one - other)) * np.sqrt(one + other))
    edge, left = r + np.sign(y) * sides, product(np.sign(w1), sides, over=(kappa,))
    conserved = [
        _Case(q < 0, "R12: |λd| > λs, nothing is proved"),
        _Case((q > 0) & far, "R12: |λd| < λs", 0.0, np.nan, 0.0),
        _Case((q > 0) & (y == 0), "R12: |λd| < λs", 0.0, r, 0.0),
        _Case(q > 0, "R12: |λd| < λs", 0.0, inside, 0.0),
        _Case(
            reach <= np.abs(y),
            "R12: |λd| = λs and τo w1² <= τp (w2 - r)²",
            0.0,
            edge,
            0.0,
            reach == np.abs(y),
        ),
        _Case(True, "R12: |λd| = λs and τo w1² > τp (w2 - r)²: the loss ends at 0", left, r, left),
    ]
    gain = product(np.abs(ld) - ls, np.abs(ld) + ls, over=(ls, to))
    shrinking = system.weight_decay > gain
    decayed = [
        _Case(shrinking, "R12: w1 shrinks at every w2", 0.0, 0.0, 0.0),
        _Case(True, "R12: |λd| > λs, nothing is proved"),
    ]
    return _with_decay(system, conserved, decayed)


def _log_square_end(y: np.ndarray, lost: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Solve e^z + q z = y² + q ln y² − lost for z = ln y², q > 0.

    The left side is convex and increasing, so Newton's method started at the right of the root falls to it.
    """
    start = np.log(np.where(y == 0, 1.0, y**2))
    q = np.where(q > 0, q, 1.0)
    goal, z = np.exp(start) + q * start - lost, start
    while True:
        step = np.maximum((np.exp(z) + q * z - goal) / (np.exp(z) + q), 0.0)
        z = z - step
        if np.all(step <= 4 * np.finfo(float).eps * np.maximum(1.0, np.abs(z))):
            return z


def _fast_predictor_cases(state: ModeState, system: ModeSystem) -> list[_Case]:
    """R21: e = 0, so w1 is conserved, or decays as e^{−ηt}; then w2 = θ r/w1 ends at r/(1 − η τt) if η τt < 1."""
    w1, r = state.online, system.ratio
    lag = 1 - np.multiply(system.weight_decay, system.tau_target)
    conserved = [
        _Case(w1 == 0, "R21: w1 = 0 is conserved", 0.0, 0.0, 0.0),
        _Case(True, "R21: w1 is conserved", w1, r, w1),
    ]
    end = np.where(lag > 0, r / np.where(lag > 0, lag, 1.0), np.nan)
    decayed = [_Case(True, "R21: w1 decays", 0.0, np.where(w1 == 0, 0.0, end), 0.0)]
    return _with_decay(system, conserved, decayed)


def _direct_cases(variant: str, state: ModeState, system: ModeSystem) -> list[_Case]:
    """R22: the predictor w2 = f(|w1|) >= 0 increases from f(0) = 0, and the flow of (w1, θ) is planar.

    For λd <= 0 only the origin is at rest. For λd > 0 and η = 0 it repels all w1 ≠ 0 and ±f⁻¹(r) is the only other
    fixed point; 1/f is a Dulac function, so there is no cycle. With weight decay see `_ordered_cases`.
    """
    w1, ld = state.online, system.lambda_d
    lower, upper, beyond, double = _levels(system)
    floor, ceiling = (_inverse(variant, level, system) for level in (lower, upper))
    end = np.sign(w1) * ceiling
    conserved = [
        _Case(w1 == 0, "R22: w1 = 0 is conserved", 0.0, 0.0, 0.0),
        _Case(ld > 0, "R22: λd > 0 and w1 ≠ 0", end, upper, end),
        _Case(True, "R22: λd <= 0", 0.0, 0.0, 0.0, True),
    ]
    decayed = [
        _Case(w1 == 0, "R22: w1 = 0 is conserved", 0.0, 0.0, 0.0),
        _Case((ld <= 0) | beyond, "R22: λd <= 0 or η > η*", 0.0, 0.0, 0.0),
        *_ordered_cases(True, state, double, floor, ceiling, upper),
    ]
    return _with_decay(system, conserved, decayed)


def _inverse(variant: str, level: Any, system: ModeSystem) -> Any:
    """Return |w1| of the predictor α½ √s + α1 s = level >= 0, s = λs w1²; NaN stays NaN."""
    half, one = VARIANTS[variant].direct
    # from the root of α1 x² + α½ x − level that adds up, x = √s; √level apart, as α½ may be 0
    root = np.sqrt(level)
    x = 2 * root * (root / np.where(level == 0, 1.0, half + np.hypot(half, 2 * np.sqrt(one) * root)))
    return x / np.sqrt(system.lambda_s)


def _directpred_cases(state: ModeState, system: ModeSystem) -> list[_Case]:
    return _direct_cases("directpred", state, system)


def _directset_cases(state: ModeState, system: ModeSystem) -> list[_Case]:
    return _direct_cases("directset", state, system)


def _at_rest(variant: str, state: ModeState, system: ModeSystem) -> Any:
    """Whether the start is a fixed point of its variant, whatever the size of rates and weights.

    With the encoder scaled to one, e over the larger of its terms neither over- nor underflows.
    """
    w1, w2, th = state
    to, tp, eta = system.tau_online, system.tau_predictor, system.weight_decay
    still, zero = np.equal(eta, 0.0), np.equal(w1, 0.0)
    gone = zero & (still | (w2 == 0))
    if variant == "no-stop-gradient":
        return gone | (still & (np.abs(system.lambda_d) == system.lambda_s) & (w2 == system.ratio))
    follows = (th == w1) | (variant == "fixed-target")
    if variant == "fast-predictor":
        return follows & (still | zero)
    m = _exponent(w1, th)
    x, z = np.ldexp(w1, -m), np.ldexp(th, -m)
    n = _exponent(w2)
    y = np.ldexp(w2, -n)
    k = np.maximum(np.frexp(system.lambda_d)[1], np.frexp(system.lambda_s)[1] + n)
    e = z * np.ldexp(system.lambda_d, -k) - x * y * np.ldexp(system.lambda_s, n - k)
    if variant == "no-predictor" or VARIANTS[variant].direct != (0.0, 0.0):  # w2 does not move by itself
        own = np.equal(y * e, 0.0)
    else:
        own = np.equal(y * e, 0.0) & np.equal(x * e, 0.0)
    # with weight decay: e w2/τo = η w1 and e w1/τp = η w2
    unit, safe = np.ldexp(1.0, np.clip(n + k, -1000, 1000)), np.where(x == 0, 1.0, x)
    decay = np.where(still, 1.0, eta)
    pulled = product(y, e, unit, over=(decay, to, safe)) == 1
    if variant != "no-predictor" and VARIANTS[variant].direct == (0.0, 0.0):
        over = np.where(y == 0, 1.0, y)
        unit = np.ldexp(1.0, np.clip(2 * m + k - n, -1000, 1000))
        pulled &= product(x, e, unit, over=(decay, tp, over)) == 1
    slaved = variant == "no-predictor" or VARIANTS[variant].direct != (0.0, 0.0)
    nothing = zero & (slaved | (w2 == 0)) & ((variant != "fixed-target") | (w2 == 0))
    return follows & np.where(still, own, nothing | pulled)


_CASES: dict[str, Callable[[ModeState, ModeSystem], list[_Case]]] = {
    "full": _full_cases,
    "fixed-target": _fixed_target_cases,
    "tied": _full_cases,  # tied weights follow the full flow on its leaf c = 0
    "no-predictor": _no_predictor_cases,
    "no-ema": _no_ema_cases,
    "no-stop-gradient": _no_stop_gradient_cases,
    "symmetric-predictor": _full_cases,
    "fast-predictor": _fast_predictor_cases,
    "directpred": _directpred_cases,
    "directset": _directset_cases,
}


def predict_fates(
    state: ModeState, system: ModeSystem, variant: str = "full", *, decide_sign: bool = False
) -> Prediction:
    """Predict where every start ends, from the exact results for one mode.

    With c = τo w1² − τp w2² and r = λd/λs, for η = 0 and λs > 0:

    - full, tied, symmetric-predictor (R6, R7): collapse iff w2 > 0 and c <= −τp r², or w2 <= 0 and c <= 0;
      else w2 → r and |w1| = |θ| → sqrt((c + τp r²)/τo);
    - no-ema (R14): the same, and the sign of w1 is conserved;
    - fixed-target (R13): w1 w2 → θ r on the leaf; collapse iff w1 → 0: c = 0 with w1 w2 θ r <= 0, or θ r = 0 with
      c <= 0;
    - no-predictor (R11): collapse iff λd < λs; at λd = λs, w1 = θ → (τo w1 + τt λd θ)/(τo + τt λd);
    - no-stop-gradient (R12): collapse if |λd| < λs; at |λd| = λs iff τo w1² <= τp (w2 − r)²;
    - fast-predictor (R21): w1 is conserved;
    - directpred, directset (R22): collapse iff λd <= 0 or w1 = 0; else w2 → r.

    For η > 0 the prediction is made where it is certain: η > η* = λd²/(4 τo λs); within the box below the saddle p-;
    for w2 < 0 with c <= 0; on the balanced sheet c = 0 and for the direct predictors, when w1 and θ are both below or
    both above the saddle; for no-predictor as above with λs + η τo for λs; for fixed-target, no-stop-gradient
    (|λd| <= λs) and fast-predictor always.

    Parameters
    ----------
    state
        Starts w1, w2, θ, shape (..., n_modes); what the variant constrains (θ = w1, w2 = 1) is set first.
    system
        Moments, time constants and weight decay of the modes.
    variant
        Name of a one-mode variant, a key of `dynamics.variants.VARIANTS`.
    decide_sign
        Compute the sign of w1 on leaves −τp r² < c < 0 with w2 > 0, which costs an integration of the saddle's
        stable manifold for every such start where w1 and θ have opposite signs.

    Returns
    -------
    Prediction
        Empty fate and NaN where λs <= 0 or no result applies; NaN `online` and `target` with known `amplitude`
        where the sign of w1 is not decided, either for want of `decide_sign` or because the start is within
        `SIGN_ACCURACY` of the stable manifold. A start on that manifold, other than the saddle itself, has w1 → 0:
        the one set, of measure zero, that R6 leaves out.

    Raises
    ------
    ValueError
        The variant is unknown, or is not defined for this start.

    Notes
    -----
    Conditions are evaluated in floating point: a start within rounding of a boundary may be put on either side.
    (w2, λd) → (−w2, −λd) leaves the flow as it is, so for λd < 0 read −w2 for w2 in the conditions.
    Sources: R6, R7, R11–R15, R21, R22.

    Examples
    --------
    >>> system = ModeSystem([1.0, 1.0], [0.5, 0.5])
    >>> predict_fates(system.state(online=0.1, predictor=[0.1, 0.6]), system).fate.tolist()
    ['learned', 'collapsed']
    """
    if variant not in _CASES:
        raise ValueError(f"`variant` must be one of {', '.join(_CASES)}, got {variant!r}")
    field = VARIANTS[variant].mode_field
    field.require(state, system)
    positive = system.lambda_s > 0  # elsewhere any moments will do
    proper = replace(
        system,
        lambda_s=np.where(positive, system.lambda_s, 1.0),
        lambda_d=np.where(positive, system.lambda_d, 0.0),
    )
    state = ModeState(*np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in state)))
    with np.errstate(
        over="ignore"
    ):  # a slaved predictor may be infinite at the start: its end does not depend on it
        state = field.constrain(0.0, state, proper)
    shape = np.broadcast_shapes(np.shape(state.online), np.shape(system.lambda_s))
    cases = [
        _Case(~positive, "λs <= 0, no result applies"),
        _Case(_at_rest(variant, state, proper), "the start is a fixed point", *state),
        *_CASES[variant](state, proper),
    ]
    prediction = _assemble(cases, shape)
    return _with_signs(prediction, state, system) if decide_sign else prediction


def _with_signs(prediction: Prediction, state: ModeState, system: ModeSystem) -> Prediction:
    """Fill in the ends whose sign alone is unknown: that of θ − θ(w1), θ(w1) the saddle's stable manifold.

    The flow on the leaf is cooperative, so the manifold is a decreasing odd curve: no need to compute it where w1
    and θ agree in sign.
    """
    shape = prediction.fate.shape
    w1, w2, th = (np.broadcast_to(part, shape) for part in state)
    unsigned = (prediction.fate == Fate.LEARNED) & np.isnan(prediction.online)
    mixed = unsigned & (w1 * th < 0)
    sign = np.sign(np.sign(w1) + np.sign(th))
    if np.any(mixed):
        from analysis.phase_planes.separatrices import leaf_separatrix

        names = ("lambda_s", "lambda_d", "tau_online", "tau_predictor", "tau_target")
        one_each = ModeSystem(
            **{name: np.broadcast_to(getattr(system, name), shape)[mixed] for name in names}
        )
        half = leaf_separatrix(w1[mixed], w2[mixed], one_each) / 2
        above = np.sign(th[mixed] / 2 - half)
        clear = np.isinf(half) | (np.abs(th[mixed] / 2 - half) > SIGN_ACCURACY * np.abs(half))
        sign[mixed] = np.where(clear, above, np.nan)
    end = np.where(unsigned, sign * prediction.amplitude, prediction.online)
    return prediction._replace(online=end, target=np.where(unsigned, end, prediction.target))
