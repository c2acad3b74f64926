"""Cases of the fates of one mode, variant by variant: where each result applies, and the end that it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dynamics.invariants import scaled_invariant
from dynamics.quadratic import binary_exponent, even_part, product, quadratic_roots, scaled_product, shifted
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS

_FLOAT_MAX = float(np.finfo(np.float64).max)

_SQUARED = 1e150
"""Largest weight of which squares are taken."""

MANIFOLD = "R6: -τp r² < c < 0 and w2 > 0, the saddle's stable manifold decides the sign of w1"


class Case(NamedTuple):
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


def _with_decay(system: ModeSystem, conserved: list[Case], decayed: list[Case]) -> list[Case]:
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


def exponent_of(*parts: Any) -> np.ndarray:
    """Binary exponent of the largest part; 0 where all are zero."""
    return np.frexp(np.maximum.reduce([np.abs(part) for part in np.broadcast_arrays(*parts)]))[1]


def _conserved_cases(state: ModeState, system: ModeSystem) -> list[Case]:
    w1, w2, _ = state
    leaf = _leaf(state, system)
    c = leaf.c
    end = np.sign(w1) * leaf.amplitude
    return [
        Case((w1 == 0) & (w2 == 0), "w1 = w2 = 0: only θ moves, and decays", 0.0, 0.0, 0.0),
        Case(leaf.collapse, "R6: " + leaf.condition, 0.0, leaf.predictor, 0.0, leaf.algebraic),
        Case(c >= 0, "R6: c >= 0, the sign of w1 is conserved", end, leaf.predictor, end),
        Case(True, MANIFOLD, predictor=leaf.predictor, amplitude=leaf.amplitude),
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
) -> list[Case]:
    """Ends of a planar cooperative flow of (w1, θ), w1 ≠ 0, with saddle w1 = θ = ±lower and nodes 0, ±upper.

    With w1 > 0 both ∂ẇ1/∂θ and ∂θ̇/∂w1 are positive, so the flow keeps the order of starts: what lies above the
    saddle in both coordinates stays above it.
    """
    w1, _, th = state
    x, z, sign = np.abs(w1), np.sign(w1) * th, np.sign(w1)
    apart = (x != lower) | (z != lower)
    end = sign * upper
    return [
        Case(when & apart & (x <= lower) & (z <= lower), "R15: w1 and θ below the saddle p-", 0.0, 0.0, 0.0),
        Case(
            when & apart & (x >= lower) & (z >= lower),
            "R15: w1 and θ above the saddle p-",
            end,
            predictor,
            end,
            slow,
        ),
        Case(when, "R15: neither above nor below the saddle p-, no result applies"),
    ]


def _decayed_cases(state: ModeState, system: ModeSystem) -> list[Case]:
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
        Case(
            (w1 == 0) & ((th == 0) | (w2 == 0)), "R15: w1 = 0 for all times, the rest decays", 0.0, 0.0, 0.0
        ),
        Case(levels.beyond, "R15: η > η*", 0.0, 0.0, 0.0),
        Case(box, "R15: within the box below the saddle p-", 0.0, 0.0, 0.0),
        Case((c <= 0) & (branch < 0), "R15: c <= 0 and w2 < 0", 0.0, 0.0, 0.0),
        *_ordered_cases(balanced, state, levels.double, lower, upper, np.sign(w2) * levels.upper),
        Case(True, "R15: c ≠ 0 and η <= η*, no result applies"),
    ]


def _encoder_at(level: Any, system: ModeSystem) -> Any:
    """|w1| on the balanced sheet at w2 = level, √(τp/τo) level."""
    return product(np.sqrt(system.tau_predictor), level, over=(np.sqrt(system.tau_online),))


def _full_cases(state: ModeState, system: ModeSystem) -> list[Case]:
    return _with_decay(system, _conserved_cases(state, system), _decayed_cases(state, system))


def _no_ema_cases(state: ModeState, system: ModeSystem) -> list[Case]:
    """R14: dw2/dt = w1² λs (r − w2)/τp, so w2 moves towards r and stops where its leaf ends in w1 = 0."""
    leaf = _leaf(state, system)
    end = np.sign(state.online) * leaf.amplitude
    conserved = [
        Case(leaf.collapse, "R14: " + leaf.condition, 0.0, leaf.predictor, 0.0, leaf.algebraic),
        Case(True, "R14: the leaf reaches w2 = r", end, leaf.predictor, end),
    ]
    return _with_decay(system, conserved, _decayed_cases(state, system))


def _fixed_target_cases(state: ModeState, system: ModeSystem) -> list[Case]:
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
        Case((c == 0) & (w1 * w2 * u <= 0), "R13: c = 0 and w1 w2 θ r <= 0", 0.0, 0.0, th, u == 0),
        Case(lost, "R13: the end is smaller than numbers can hold"),
        Case(True, "R13: w1 w2 ends at θ r on its leaf", sign * x, other * y, th),
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
        Case(excess <= 0, "η √(τo τp) >= |θ λd|", 0.0, 0.0, th, excess == 0),
        Case(lead == 0, "on the stable manifold of the origin", 0.0, 0.0, th),
        Case(True, "the sign of √τo w1 + sign(θ λd) √τp w2 is conserved", lead * end, u * lead * other, th),
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


def _no_predictor_cases(state: ModeState, system: ModeSystem) -> list[Case]:
    """R11: linear in (w1, θ); at λd = λs + η τo the combination τo w1 + τt λd θ is conserved."""
    w1, _, th = state
    to, tt, ld = system.tau_online, system.tau_target, system.lambda_d
    gap = (system.lambda_s / 2 - ld / 2) + product(system.weight_decay, to, 0.5)  # half of λs + η τo − λd
    # the mean of w1 and θ with weights τo and τt λd, of which only the ratio counts
    ratio = product(tt, np.where(gap == 0, ld, 0.0), over=(to,))
    end = w1 / (1 + ratio) + th / (1 + np.where(ratio == 0, np.inf, 1 / np.where(ratio == 0, 1.0, ratio)))
    return [
        Case(gap > 0, "R11: λd < λs + η τo", 0.0, 1.0, 0.0),
        Case(gap == 0, "R11: λd = λs + η τo, a line of fixed points", end, 1.0, end),
        Case(True, "R11: λd > λs + η τo, no bounded end but on the saddle's stable manifold"),
    ]


def _no_stop_gradient_cases(state: ModeState, system: ModeSystem) -> list[Case]:
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
        Case(q < 0, "R12: |λd| > λs, nothing is proved"),
        Case((q > 0) & far, "R12: |λd| < λs", 0.0, np.nan, 0.0),
        Case((q > 0) & (y == 0), "R12: |λd| < λs", 0.0, r, 0.0),
        Case(q > 0, "R12: |λd| < λs", 0.0, inside, 0.0),
        Case(
            reach <= np.abs(y),
            "R12: |λd| = λs and τo w1² <= τp (w2 - r)²",
            0.0,
            edge,
            0.0,
            reach == np.abs(y),
        ),
        Case(True, "R12: |λd| = λs and τo w1² > τp (w2 - r)²: the loss ends at 0", left, r, left),
    ]
    gain = product(np.abs(ld) - ls, np.abs(ld) + ls, over=(ls, to))
    shrinking = system.weight_decay > gain
    decayed = [
        Case(shrinking, "R12: w1 shrinks at every w2", 0.0, 0.0, 0.0),
        Case(True, "R12: |λd| > λs, nothing is proved"),
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


def _fast_predictor_cases(state: ModeState, system: ModeSystem) -> list[Case]:
    """R21: e = 0, so w1 is conserved, or decays as e^{−ηt}; then w2 = θ r/w1 ends at r/(1 − η τt) if η τt < 1."""
    w1, r = state.online, system.ratio
    lag = 1 - np.multiply(system.weight_decay, system.tau_target)
    conserved = [
        Case(w1 == 0, "R21: w1 = 0 is conserved", 0.0, 0.0, 0.0),
        Case(True, "R21: w1 is conserved", w1, r, w1),
    ]
    end = np.where(lag > 0, r / np.where(lag > 0, lag, 1.0), np.nan)
    decayed = [Case(True, "R21: w1 decays", 0.0, np.where(w1 == 0, 0.0, end), 0.0)]
    return _with_decay(system, conserved, decayed)


def _direct_cases(variant: str, state: ModeState, system: ModeSystem) -> list[Case]:
    """R22: the predictor w2 = f(|w1|) >= 0 increases from f(0) = 0, and the flow of (w1, θ) is planar.

    For λd <= 0 only the origin is at rest. For λd > 0 and η = 0 it repels all w1 ≠ 0 and ±f⁻¹(r) is the only other
    fixed point; 1/f is a Dulac function, so there is no cycle. With weight decay see `_ordered_cases`.
    """
    w1, ld = state.online, system.lambda_d
    lower, upper, beyond, double = _levels(system)
    floor, ceiling = (_inverse(variant, level, system) for level in (lower, upper))
    end = np.sign(w1) * ceiling
    conserved = [
        Case(w1 == 0, "R22: w1 = 0 is conserved", 0.0, 0.0, 0.0),
        Case(ld > 0, "R22: λd > 0 and w1 ≠ 0", end, upper, end),
        Case(True, "R22: λd <= 0", 0.0, 0.0, 0.0, True),
    ]
    decayed = [
        Case(w1 == 0, "R22: w1 = 0 is conserved", 0.0, 0.0, 0.0),
        Case((ld <= 0) | beyond, "R22: λd <= 0 or η > η*", 0.0, 0.0, 0.0),
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


def _directpred_cases(state: ModeState, system: ModeSystem) -> list[Case]:
    return _direct_cases("directpred", state, system)


def _directset_cases(state: ModeState, system: ModeSystem) -> list[Case]:
    return _direct_cases("directset", state, system)


CASES: dict[str, Callable[[ModeState, ModeSystem], list[Case]]] = {
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
