"""Results on deep linear encoders: R320, R321 and R322."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from analysis.depth.decay import DecayRest, balanced_speed, decay_rest, decay_threshold
from analysis.depth.fates import DeepFate, deep_fate
from analysis.depth.rest import approach_rate
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, followed, random_rates, refuted, vanishes, worst
from dynamics.exact.deep import jepa_encoder_speed, jepa_speed, jepa_time
from dynamics.exact.fixed_points import saddle_node
from dynamics.fields.deep import (
    DeepState,
    DeepSystem,
    deep_field,
    deep_matrix_field,
    deep_no_ema_field,
    layer_balances,
    layer_invariants,
)
from dynamics.fields.vector_field import VectorField
from dynamics.system import ModeSystem

# --- R320 ---------------------------------------------------------------------------------------------------

SLOWEST = 0.15
"""Starts whose ends attract at least at this rate are run for a fixed time."""


def _kinds(v: np.ndarray, least: np.ndarray, edge: np.ndarray) -> list[np.ndarray]:
    """Leaves on which no layer can die from v < 0, learned ones on which one could, and collapse from both sides."""
    return [
        (v < 0) & (least > 0),
        (v > 0) & (least > edge) & (least < 0),
        (v < 0) & (least < 0),
        least < edge,
    ]


def deep_fates(
    rng: np.random.Generator,
    *,
    field: VectorField = deep_field,
    predict: Callable[[DeepState, DeepSystem], DeepFate] = deep_fate,
    matrix_field: Callable[..., DeepState] = deep_matrix_field,
) -> Measurement:
    """R320: predicted ends on every kind of leaf against runs, both boundaries; matrices: field and invariants."""
    L = int(rng.integers(2, 5))
    rates = random_rates(rng)
    system = DeepSystem(
        1.0, rng.uniform(0.4, 0.9), depth=L, **rates | {"tau_online": rng.uniform(0.5, 2.0, L)}
    )
    many = DeepSystem(np.ones(400), np.full(400, system.lambda_d[0]), depth=L, **_rates_of(system))
    start = many.deep_state(
        *(rng.uniform(0.4, 1.4, (L, 400)) * rng.choice([-1, 1], (L, 400)) for _ in range(1))
    )
    v = rng.uniform(0.1, 1.6, 400) * rng.choice([-1, 1], 400)
    start = start._replace(predictor=v, targets=rng.uniform(0.2, 1.2, (L, 400)) * np.sign(start.layers))
    least = np.min(layer_invariants(start, many), axis=0)
    edge = -many.tau_predictor * many.ratio**2
    learns = np.where(v > 0, least > edge, least > 0)
    kept = []
    for kind in _kinds(v, least, edge):
        for k in np.flatnonzero(kind)[:12]:
            c = layer_invariants(start, many)[:, k]
            shift = system.tau_predictor * system.ratio[0] ** 2 if learns[k] else -least[k]
            size = np.sqrt(np.maximum(c + shift, 0.0) / system.layer_times[:, 0])
            end = system.ratio[0] if learns[k] else np.sign(v[k]) * np.sqrt(-least[k] / system.tau_predictor)
            if approach_rate(size, float(end), system) > SLOWEST:
                kept.append(k)
                break
    n = len(kept)
    few = DeepSystem(np.ones(n), np.full(n, system.lambda_d[0]), depth=L, **_rates_of(system))
    begin = few.deep_state(start.layers[:, kept], v[kept], start.targets[:, kept])
    said = predict(begin, few)
    run, error = followed(begin, few, field, ts=np.linspace(0.0, 400.0, 2))
    gap = np.max(np.abs(np.abs(run.final.layers) - said.layers))
    gap = max(gap, np.max(np.abs(run.final.predictor - said.predictor)))
    named = refuted(unless=np.array_equal(said.fate == "learned", learns[kept]) and n >= 3)
    # the rounding of c moves an end by δc/(2τ weight), at most its share of the rate; half of the time may go by
    # near saddles
    size = max(float(np.max(np.abs(part))) for part in begin)
    rounding = 16 * EPS * size**2 / SLOWEST + np.exp(-SLOWEST * 200.0)
    kept_c = layer_invariants(run.states, few)
    drift = np.max(np.abs(kept_c[-1] - kept_c[0]))
    slope = 4 * max(float(np.max(few.layer_times)), float(few.tau_predictor)) * size  # of c, for two weights
    return worst(
        (gap, 2 * error + rounding),
        (drift, slope * (error + 4 * EPS * size)),
        named,
        *_edges(rng, system, predict),
        _matrix_balance(rng, matrix_field),
        _one_by_one(begin, few, field, matrix_field),
    )


def _rates_of(system: DeepSystem) -> dict[str, Any]:
    return {
        "tau_online": system.layer_times[:, 0],
        "tau_predictor": system.tau_predictor,
        "tau_target": system.tau_target,
    }


def _edges(
    rng: np.random.Generator, system: DeepSystem, predict: Callable[[DeepState, DeepSystem], DeepFate]
) -> list[tuple[float, float]]:
    """Bisect the predicted fate over one layer, the others far from zero: both boundaries, for any layer."""
    L, tp, r = system.depth, float(system.tau_predictor), float(system.ratio[0])
    least = int(rng.integers(L))
    parts: list[tuple[float, float]] = []
    for v, edge in ((rng.uniform(1.2, 2.0) * r, -tp * r**2), (-rng.uniform(0.2, 1.0), 0.0)):
        weights = np.sqrt((tp * v**2 + rng.uniform(0.5, 1.5, L)) / system.layer_times[:, 0])
        low, high = 0.0, float(weights[least])
        for _ in range(60):
            middle = (low + high) / 2
            weights[least] = middle
            learned = predict(system.deep_state(weights, v), system).fate[0] == "learned"
            low, high = (low, middle) if learned else (middle, high)
        exact = np.sqrt((edge + tp * v**2) / system.layer_times[least, 0])
        # c is a product of sums, so the edge of w is known to a few roundings of tp v²/(τ w)
        parts.append((abs(high - exact), 16 * EPS * tp * v**2 / (system.layer_times[least, 0] * exact)))
    return parts


def _matrix_balance(rng: np.random.Generator, matrix_field: Callable[..., DeepState]) -> tuple[float, float]:
    """Largest derivative of the invariants of matrices, by the product rule, and its rounding."""
    sizes = [3, *rng.integers(2, 4, 3)]
    W = [rng.standard_normal((m, n)) for n, m in pairwise(sizes)]
    Th = [rng.standard_normal(one.shape) for one in W]
    P = rng.standard_normal((sizes[-1], sizes[-1]))
    A = rng.standard_normal((3, 3))
    times, tp = rng.uniform(0.5, 2.0, len(W)), rng.uniform(0.5, 2.0)
    system = ModeSystem(1.0, 0.5, tau_predictor=tp)
    state = DeepState(W, P, Th)
    moved = matrix_field(0.0, state, A @ A.T + np.eye(3), A @ A.T, times, system)

    def balances(x: DeepState) -> list[Any]:
        return layer_balances(x, list(times), tp)

    # balances are quadratic: a derivative along a direction is half the difference at ± it, without error of the step
    ahead, behind = (
        DeepState([a + s * b for a, b in zip(W, moved.layers, strict=True)], P + s * moved.predictor, [])
        for s in (1.0, -1.0)
    )
    changes = [np.max(np.abs(a - b)) / 2 for a, b in zip(balances(ahead), balances(behind), strict=True)]
    size = max(float(np.max(np.abs(part))) for part in (*W, P, *moved.layers, moved.predictor))
    return float(max(changes)), 64 * EPS * size**2


def _one_by_one(
    state: DeepState, system: DeepSystem, field: VectorField, matrix_field: Callable[..., DeepState]
) -> tuple[float, float]:
    """Distance of the field of 1 × 1 matrices from that of modes, and its rounding."""
    worst_gap, size = 0.0, max(1.0, *(float(np.max(np.abs(part))) for part in state))
    moved = field(0.0, state, system)
    for k in range(system.n_modes):
        one = DeepState(
            [w.reshape(1, 1) for w in state.layers[:, k]],
            state.predictor[k].reshape(1, 1),
            [th.reshape(1, 1) for th in state.targets[:, k]],
        )
        sigma = (np.array([[part[k]]]) for part in (system.lambda_s, system.lambda_d))
        found = matrix_field(0.0, one, *sigma, system.layer_times[:, 0], system)
        gaps = [*np.ravel(found.layers) - moved.layers[:, k], *np.ravel(found.predictor) - moved.predictor[k]]
        worst_gap = max(worst_gap, *map(abs, gaps))
    return worst_gap, 64 * EPS * size ** (2 * system.depth + 2)


def prove_deep_invariants() -> bool:
    """R320 for two and three layers: dc_l/dt = 0, and without averages dv/dt = ω²(λd − λs v)/τp."""
    for depth in (2, 3):
        state, system = _symbolic(depth)
        moved = deep_field.derivative(0, state, system)
        w, v, _ = state
        rates = system.layer_times * w * moved.layers - system.tau_predictor * v * moved.predictor
        own = deep_field.derivative(0, state._replace(targets=w), system)
        omega = np.prod(w, axis=0)
        monotone = own.predictor - omega**2 * (system.lambda_d - system.lambda_s * v) / system.tau_predictor
        if not (vanishes(rates) and vanishes(monotone)):
            return False
    return True


def _symbolic(depth: int) -> tuple[DeepState, Any]:
    import sympy as sp

    def column(letter: str, n: int) -> np.ndarray:
        return np.array(sp.symbols(f"{letter}0:{n}", positive=True), dtype=object).reshape(n, 1)

    s, d, tp, tt = sp.symbols("lambda_s lambda_d tau_p tau_t", positive=True)
    system = SimpleNamespace(
        lambda_s=s,
        lambda_d=d,
        layer_times=column("tau", depth),
        tau_predictor=tp,
        tau_target=tt,
        weight_decay=0,
    )
    return DeepState(column("w", depth), np.array([sp.Symbol("v")], dtype=object), column("t", depth)), system


# --- R321 ---------------------------------------------------------------------------------------------------


def jepa_law(
    rng: np.random.Generator,
    *,
    time: Callable[..., Any] = jepa_time,
    encoder_speed: Callable[..., Any] = jepa_encoder_speed,
    field: VectorField = deep_no_ema_field,
) -> Measurement:
    """R321: the time against quadrature and a run, the speed of ω against the field, and small starts."""
    from scipy.integrate import quad

    L = int(rng.integers(1, 6))
    s, d = rng.uniform(0.5, 2.0), rng.uniform(0.3, 1.0)
    d *= s
    r = d / s
    v0 = r * rng.uniform(0.3, 0.6)
    v = v0 + (r - v0) * rng.uniform(0.2, 0.95)
    system = DeepSystem(s, d, depth=L)

    def speed(x: float) -> float:
        return float(field(0.0, system.deep_state(x, x), system).predictor[0])

    t = float(time(v0, v, L, s, d))
    integral, claimed = quad(lambda x: 1 / speed(x), v0, v, epsabs=0.0, epsrel=1e-13)
    run, error = followed(system.deep_state(v0, v0), system, field, t)
    state = system.deep_state(v, v)
    moved = field(0.0, state, system).layers
    omega = v**L
    chain = float(np.sum(omega / state.layers * moved))
    tiny = r * 10.0 ** rng.uniform(-12, -9)
    leading = tiny ** (1 - 2 * L) / ((2 * L - 1) * d)
    # the next term is smaller by (tiny/r)(2L − 1)/(2L − 2), for L = 1 by (tiny/r) times a logarithm
    next_term = tiny / r * (np.log(r / tiny) + 4)
    lost = (r / (r - v) + 2 * L) * EPS
    return worst(
        (abs(t / integral - 1), 16 * lost + claimed / integral),
        (abs(float(run.final.predictor[0]) - v), 2 * error + 16 * lost * t * speed(v)),
        (abs(float(encoder_speed(omega, L, s, d)) / chain - 1), 16 * lost),
        (abs(float(time(tiny, r / 2, L, s, d)) / leading - 1), next_term + 64 * L * EPS),
    )


def prove_jepa_law() -> bool:
    """R321: the field of a balanced mode, and the chain rule for ω = v^L, up to five layers."""
    import sympy as sp

    v, s, d = sp.symbols("v lambda_s lambda_d", positive=True)
    for depth in range(1, 6):
        system = SimpleNamespace(
            lambda_s=s, lambda_d=d, layer_times=1, tau_predictor=1, tau_target=1, weight_decay=0
        )
        weights = np.full((depth, 1), v, dtype=object)
        moved = deep_field.derivative(0, DeepState(weights, np.array([v], dtype=object), weights), system)
        own = jepa_speed(v, depth, s, d)
        omega = sp.powsimp(jepa_encoder_speed(v**depth, sp.Integer(depth), s, d), force=True)
        if not vanishes([moved.predictor[0] - own, *(moved.layers.ravel() - own)]):
            return False
        if not vanishes(depth * v ** (depth - 1) * own - omega):
            return False
    return True


# --- R322 ---------------------------------------------------------------------------------------------------


def decay_by_depth(
    rng: np.random.Generator,
    *,
    threshold: Callable[..., Any] = decay_threshold,
    rest: Callable[..., DecayRest] = decay_rest,
    field: VectorField = deep_no_ema_field,
) -> Measurement:
    """R322: the threshold against the largest pull of the field, rest points, runs on both sides, and R15 for L = 1."""
    L = int(rng.integers(1, 6))
    s = rng.uniform(0.5, 2.0)
    d = s * rng.uniform(0.5, 1.0)
    to, tp = rng.uniform(0.5, 2.0, L), rng.uniform(0.5, 2.0)
    speed = balanced_speed(to, tp)
    plain = DeepSystem(s, d, depth=L, tau_online=to, tau_predictor=tp)

    def pull(v: float) -> float:
        state = plain.deep_state(v * np.sqrt(tp / to), v)
        return float(field(0.0, state, plain).predictor[0]) / v

    star = float(threshold(L, s, d, speed))
    # (dv/dt)/v is a polynomial with two terms, a v^{2L−1} − b v^{2L}, known from two of its values
    one, two = pull(1.0), pull(0.5) * 2.0 ** (2 * L - 1)
    b = 2 * (two - one)
    a = one + b
    peak = (2 * L - 1) * a / (2 * L * b)
    parts = [(abs(star / pull(peak) - 1), 64 * L * EPS * (abs(a) + abs(b)) / b)]
    eta = star * rng.uniform(0.2, 0.95)
    found = rest(L, s, d, eta, speed)
    # roots are ill-conditioned near the fold, by the inverse of the slope of the logarithm of the pull there
    if not np.isfinite(found.upper):
        return worst(refuted(unless=False))
    for v in (found.lower, found.upper):
        slope = abs((2 * L - 1) - v / (plain.ratio[0] - v))
        parts.append(
            (abs(pull(v) / eta - 1), 16 * EPS * (2 * L + plain.ratio[0] / (plain.ratio[0] - v) + slope))
        )
    parts.append(refuted(unless=found.lower < found.fold < found.upper))
    for share in (0.9, 1.1):
        system = DeepSystem(s, d, depth=L, tau_online=to, tau_predictor=tp, weight_decay=share * star)
        v0 = float(plain.ratio[0])
        start = system.deep_state(v0 * np.sqrt(tp / to), v0)
        time = 60 / star
        run, error = followed(start, system, field, time)
        end = rest(L, s, d, share * star, speed).upper if share < 1 else 0.0
        # the slowest rate at the upper point of 0.9 η* is above η*/4; above the fold weights die like e^{−ηt} from
        # t = 30/η* at the latest
        parts.append((abs(float(run.final.predictor[0]) - end), 2 * error + v0 * np.exp(-12)))
    single = ModeSystem(s, d, tau_online=to[0], tau_predictor=tp)
    of_one = float(threshold(1, s, d, balanced_speed(to[:1], tp)))
    parts.append((abs(of_one / float(saddle_node(single)[0]) - 1), 16 * EPS))
    return worst(*parts)


def _largest_pull(depth: Any, s: Any, d: Any) -> Any:
    return d * (d / s) ** (2 * depth - 1) * (2 * depth - 1) ** (2 * depth - 1) / (2 * depth) ** (2 * depth)


def prove_decay_by_depth() -> bool:
    """R322 for up to five layers: v^{2L−1}(λd − λs v) is largest at (2L − 1) r/(2L), where it is η*_L."""
    import sympy as sp

    v, s, d = sp.symbols("v lambda_s lambda_d", positive=True)
    for depth in range(1, 6):
        pull = jepa_speed(v, depth, s, d) / v
        fold = sp.Rational(2 * depth - 1, 2 * depth) * d / s
        slope, bend = (sp.diff(pull, v, k).subs(v, fold) for k in (1, 2))
        if not vanishes([slope, pull.subs(v, fold) - _largest_pull(sp.Integer(depth), s, d)]):
            return False
        if not sp.simplify(bend).is_negative:
            return False
    return True


RESULTS: tuple[Result, ...] = (
    Result(
        id="R320",
        title="fates of deep encoders",
        statement=(
            "c_l = τ_l w_l² − τp v² is conserved for every layer. With c_min = min_l c_l: from v(0) > 0 a mode "
            "collapses iff c_min <= −τp r², from v(0) <= 0 iff c_min <= 0. Learned: v = r, w_l² = (c_l + τp r²)/τ_l; "
            "collapsed: |v| = √(−c_min/τp), w_l² = (c_l − c_min)/τ_l. From N(0, 1) weights the part of v < 0 that "
            "collapses is L/(2(L + 1)) of all."
        ),
        source="new; R6 is L = 1",
        hypotheses=(
            "η = 0, decoupled modes, off the stable manifold of collapsed points with 0 < v < r. Proved without "
            "averages, and with an average of every layer but for v(0) < 0 with c_min <= 0, where it is verified."
        ),
        as_printed=AsPrinted.NEW,
        code="analysis.depth.fates.deep_fate",
        trial=deep_fates,
        proof=prove_deep_invariants,
    ),
    Result(
        id="R321",
        title="JEPA law",
        statement=(
            "A balanced mode has ω = v^L and dv/dt = v^{2L}(λd − λs v), that is dω/dt = L(λd ω^{3 − 1/L} − λs ω³), "
            "with an exact time; small starts take v0^{1 − 2L}/((2L − 1) λd). At rest ω = r^L."
        ),
        source="2407.03475, from memory of its formula",
        hypotheses="τ = 1, η = 0, no average, w_l = v for all layers.",
        as_printed=AsPrinted.CORRECTED,
        code="dynamics.exact.deep.jepa_time",
        correction="E33: the factor L was missing; it is a clock that matters where depths are compared.",
        trial=jepa_law,
        proof=prove_jepa_law,
    ),
    Result(
        id="R322",
        title="weight decay by depth",
        statement=(
            "A balanced mode has dv/dt = κ v^{2L}(λd − λs v) − ηv: a fold at v = (2L − 1) r/(2L) and "
            "η*_L = κ λd r^{2L−1} (2L − 1)^{2L−1}/(2L)^{2L}, κ = Π_l (τp/τ_l)/τp. Selection by r sharpens with depth."
        ),
        source="new; R15 is L = 1",
        hypotheses="Balanced weights, no average; with weight decay every leaf becomes balanced.",
        as_printed=AsPrinted.NEW,
        code="analysis.depth.decay.decay_threshold",
        trial=decay_by_depth,
        proof=prove_decay_by_depth,
    ),
)
"""R320 to R322."""
