"""The scalar flow of one mode: formula, step, units and proofs of arrival, against other methods."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from dynamics.integration import mode_flow as flow
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS, Variant

ROWS = [row for row in VARIANTS.values() if row.kind is not None]
IDS = [row.name for row in ROWS]
STATE = (0.7, -0.4, 0.9)
RATES = (1.3, 0.8, 0.6, 1.7, 2.1, 0.07)  # λs, λd, τo, τp, τt, η


def system_of(rates: Any) -> ModeSystem:
    ls, ld, to, tp, tt, eta = rates
    return ModeSystem(ls, ld, tau_online=to, tau_predictor=tp, tau_target=tt, weight_decay=eta)


def rates_for(row: Variant, rates: Any = RATES) -> Any:
    ls, ld, to, _tp, tt, eta = rates
    return (ls, ld, to, to, tt, eta) if row.name == "tied" else rates


def opened(row: Variant, state: Any, rates: Any, t_end: float = math.inf) -> Any:
    assert row.kind is not None
    return flow.scaled(row.kind, state, rates, t_end, row.direct)


def field_rates(row: Variant, state: Any, rates: Any) -> np.ndarray:
    """The derivatives of the variant's vector field; those of slaved parts do not count."""
    system = system_of(rates)
    field = row.mode_field
    return np.ravel(field(0.0, field.constrain(0.0, system.state(*state), system), system))


def slope(found: Any, hs: Any) -> float:
    return float(np.polyfit(np.log(hs), np.log(found), 1)[0])


# --- the formula --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_the_flow_is_the_vector_field(row: Variant) -> None:
    """A step of length h in the balanced unknowns, moved at their rates, has the field's derivative at h = 0."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        state = tuple(rng.normal(size=3))
        rates = rates_for(row, (*tuple(np.exp(rng.normal(size=5))), 0.3))
        y, p, _, units, proper = opened(row, state, rates)
        assert proper
        f, e = flow.rates_of(row.kind, y, p)
        x0 = flow._second(row.kind, y, p)
        h = 1e-5

        def moved(
            t: float, y: Any = y, f: Any = f, e: Any = e, x0: Any = x0, p: Any = p, units: Any = units
        ) -> Any:
            z = flow.moved(row.kind, y, f * t, x0 + e * t, t, p)
            return np.array(flow.unscaled(row.kind, flow.constrained(row.kind, z, p), units))

        # central difference: h² of the third derivative, and rounding over h
        found = (moved(h) - moved(-h)) / (2 * h * units[1])
        expected = field_rates(row, flow.unscaled(row.kind, y, units), rates)
        parts = [0] if row.kind == flow.NO_STOP else [0, 2]
        if row.mode_balanced or row.kind == flow.NO_STOP:
            parts.append(1)
        size = np.max(np.abs(expected)) + np.max(np.abs(moved(0.0))) / units[1]
        assert_allclose(found[parts], expected[parts], rtol=0, atol=2e-8 * size)


def test_the_polar_and_logarithmic_flows_are_the_flow_of_a_small_encoder() -> None:
    """Where a and g are next to nothing, d(a, g)/dt = [[−B b² − η, A b], [ζ, −ζ]] (a, g), and b decays by itself."""
    _, p, *_ = opened(VARIANTS["full"], STATE, RATES)
    A, B, zeta, eta = p[:4]
    for angle in (0.3, 2.0, -1.1):
        for b in (0.8, -1.3):
            a, g = math.cos(angle), math.sin(angle)
            da, dg = (-B * b * b - eta) * a + A * b * g, zeta * (a - g)
            # d angle/dt and d ln r/dt of a vector of length 1
            assert_allclose(
                flow.rates_of(flow.POLAR, (a, b, g), p),
                (a * dg - g * da, a * da + g * dg),
                rtol=0,
                atol=1e-14,
            )
            assert_allclose(flow.rates_of(flow.LOG, (1.0, b, 1.0), p), (0, b * (A - B * b) - eta), rtol=1e-14)
            z = flow.moved(flow.POLAR, (a, b, g), 0.4, 0.0, 2.0, p)
            assert_allclose(
                z, (math.cos(angle + 0.4), math.exp(-2 * eta) * b, math.sin(angle + 0.4)), atol=1e-15
            )


@pytest.mark.parametrize(
    "kind", [row.kind for row in ROWS] + [flow.POLAR, flow.LOG], ids=[*IDS, "polar", "log"]
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_jacobian_is_the_derivative_of_the_rates(kind: int, sign: float) -> None:
    row = next((row for row in ROWS if row.kind == kind), VARIANTS["full"])
    y, p, *_ = opened(row, (sign * 0.7, -0.4, 0.9), rates_for(row))
    if kind in (flow.POLAR, flow.LOG):
        y = (sign * math.cos(0.6), -0.4, math.sin(0.6))
        y = y if kind == flow.POLAR else (y[0], y[1], y[0])
    y = flow.constrained(kind, y, p)
    x0 = flow._second(kind, y, p)

    def rates(sigma: float, second: float, time: float) -> np.ndarray:
        z = flow.moved(kind, y, sigma, second, time, p)
        return np.array(flow.rates_of(kind, flow.constrained(kind, z, p), p))

    h = 1e-5
    d_sigma = (rates(h, x0, 0.0) - rates(-h, x0, 0.0)) / (2 * h)
    d_second = (rates(0.0, x0 + h, 0.0) - rates(0.0, x0 - h, 0.0)) / (2 * h)
    d_time = (rates(0.0, x0, h) - rates(0.0, x0, -h)) / (2 * h)
    j11, j12, j21, j22, det, t1, t2 = flow._jacobian(kind, y, p)
    # truncation h² = 1e-10 and rounding 1e-16/h, times rates of at most ten
    assert_allclose((j11, j21), d_sigma, rtol=0, atol=1e-8)
    if kind != flow.FIXED:  # θ does not move
        assert_allclose((j12, j22), d_second, rtol=0, atol=1e-8)
    assert_allclose((t1, t2), d_time, rtol=0, atol=1e-8)
    # the determinant is written as a sum without cancellation: the same number
    assert_allclose(det, j11 * j22 - j12 * j21, rtol=0, atol=1e-13)


# --- the step -----------------------------------------------------------------------------------------------


def exact_moves(row: Variant, y: Any, p: Any, h: float) -> Any:
    """The trajectory of (a, b, g) for a time h, by an explicit method of order 8 at a tolerance near rounding."""
    kind = row.kind
    x0 = flow._second(kind, y, p)

    def rates(t: float, x: np.ndarray) -> Any:
        return flow.rates_of(kind, flow.moved(kind, y, x[0], x[1], t, p), p)

    solution = solve_ivp(
        rates, (0, h), [0.0, x0], method="DOP853", rtol=2.3e-14, atol=1e-15, dense_output=True
    )
    return solution.sol


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_orders_of_the_step_its_error_and_its_dense_output(row: Variant) -> None:
    y, p, *_ = opened(row, STATE, rates_for(row))
    if row.kind == flow.FAST:  # linear in its unknowns, with σ exact
        assert flow.stages(row.kind, y, 0.1, p)[2][0] == pytest.approx(-p[3] * 0.1, rel=1e-12)
    hs = np.array([0.05, 0.025, 0.0125])
    errors, estimates, inner = [], [], []
    for h in hs:
        _, estimate, dense = flow.stages(row.kind, y, h, p)
        solution = exact_moves(row, y, p, h)
        end = np.array([dense[0], dense[4]])
        errors.append(np.max(np.abs(end - solution(h))))
        estimates.append(max(abs(x) for x in estimate))
        share = 0.3
        s1, s3, s4, x0, x1, _x3, _x4 = dense
        _, second = flow.between(row.kind, y, h, share, dense, p)
        sigma = share * (s1 + (1 - share) * (s3 + share * s4))
        inner.append(np.max(np.abs(np.array([sigma, second]) - solution(share * h))))
        assert flow.between(row.kind, y, h, 1.0, dense, p)[1] == pytest.approx(x1, rel=1e-14)
        assert flow.between(row.kind, y, h, 0.0, dense, p)[1] == x0
    # local errors of order 4 (h⁵), of the embedded 3 (h⁴) and of the dense output 3 (h⁴): the next term of the series
    # bends the line by less than half an order
    if row.kind != flow.FAST:  # whose errors at these steps are rounding
        assert slope(errors, hs) > 4.5
    assert slope(estimates, hs) > 3.5
    assert slope(inner, hs) > 3.5


@pytest.mark.parametrize("kind", [flow.POLAR, flow.LOG])
def test_orders_of_a_step_in_polar_and_logarithmic_unknowns(kind: int) -> None:
    _, p, *_ = opened(VARIANTS["full"], STATE, RATES)
    y = (math.cos(0.6), 0.9, math.sin(0.6)) if kind == flow.POLAR else (1.0, 0.9, 1.0)
    hs, errors = np.array([0.8, 0.4, 0.2]), []
    for h in hs:
        _, _, dense = flow.stages(kind, y, h, p)

        def rates(t: float, x: np.ndarray) -> Any:
            return flow.rates_of(kind, flow.moved(kind, y, x[0], x[1], t, p), p)

        solution = solve_ivp(rates, (0, h), [0.0, 0.0], method="DOP853", rtol=2.3e-14, atol=1e-15)
        errors.append(np.max(np.abs(np.array([dense[0], dense[4]]) - solution.y[:, -1])))
    assert slope(errors, hs) > 4.4


# --- units --------------------------------------------------------------------------------------------------

decades = st.floats(-100, 100)


@settings(max_examples=300)
@given(
    row=st.sampled_from(ROWS),
    exponents=st.tuples(*[decades] * 8),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
)
def test_units_are_inverted_to_rounding_or_refused(row: Variant, exponents: Any, signs: Any) -> None:
    state = tuple(sign * 10**x for sign, x in zip(signs, exponents[:3], strict=True))
    if row.name == "tied":
        state = state[0], state[0], state[2]
    rates = rates_for(row, (*(10**x for x in exponents[3:]), 0.0))
    y, p, _, units, proper = opened(row, state, rates)
    if not proper:
        return
    assert all(math.isfinite(x) for x in (*y, *p))
    assert max(abs(y[0]), abs(y[2])) <= 1 or row.kind in (flow.FAST, flow.DIRECT)
    mantissas = [math.frexp(unit)[0] for unit in units[:2]]
    assert mantissas == [0.5, 0.5]
    back = flow.unscaled(row.kind, y, units)
    slaved = row.kind in (flow.IDENTITY, flow.FAST, flow.DIRECT)
    for k in (0,) if row.kind in (flow.NO_EMA, flow.NO_STOP) else (0, 2) if slaved else (0, 1, 2):
        # two products and two quotients, of numbers that do not underflow
        if abs(y[k]) > 1e-290:
            assert back[k] == pytest.approx(state[k], rel=1e-15)


def test_rates_that_numbers_cannot_hold_together_are_not_proper() -> None:
    full = VARIANTS["full"]
    assert opened(full, (1.0, 1.0, 1.0), (1.0, 0.5, 1.0, 1.0, 1e280, 0.0))[-1]
    assert not opened(full, (1.0, 1.0, 1.0), (1.0, 0.5, 1.0, 1.0, 1e300, 0.0))[-1]
    assert not opened(full, (1.0, 1.0, 1.0), (1.0, 0.5, 1.0, 1.0, 1.0, 1e-300))[-1]
    assert not opened(full, (1.0, 1.0, 1.0), (1e300, 1e299, 1e-200, 1.0, 1.0, 0.0))[-1]


# --- proofs of arrival ----------------------------------------------------------------------------------------


def arrives(row: Variant, state: Any, start: Any, rates: Any) -> Any:
    """Outcome and end, in weights, of a state on a trajectory from a start."""
    y, p, _, units, _ = opened(row, start, rates)
    here = flow.constrained(row.kind, flow.balanced(state, units), p)
    outcome, end = flow.arrived(row.kind, here, y, p)
    return outcome, flow.unscaled(row.kind, end, units)


def integrated(row: Variant, state: Any, rates: Any, t: float) -> np.ndarray:
    """The trajectory's state after a time, from the vector field, by another method."""
    system, field = system_of(rates), row.mode_field

    def f(_: float, x: np.ndarray) -> np.ndarray:
        kept = field.constrain(0.0, system.state(*x), system)
        return np.ravel(field(0.0, kept, system))

    x = solve_ivp(f, (0, t), state, method="LSODA", rtol=1e-11, atol=1e-14).y[:, -1]
    return np.ravel(field.constrain(0.0, system.state(*x), system))


CERTAIN = [
    # start, state, η, end: (w1, w2, θ); λs 1, λd .5, τ 1
    ("full", (0.8, -0.3, 0.8), (0.89, 0.499, 0.9), 0.0, (math.sqrt(0.8), 0.5, math.sqrt(0.8))),
    ("full", (0.1, 0.6, 0.1), (1e-5, 0.5916, 1e-5), 0.0, (0, math.sqrt(0.35), 0)),
    ("full", (0.1, -0.3, 0.1), (1e-5, -0.2829, -1e-5), 0.0, (0, -math.sqrt(0.08), 0)),
    ("full", (0.1, 0.3, 0.1), (0.4125, 0.5, 0.41), 0.0, (math.sqrt(0.17), 0.5, math.sqrt(0.17))),
    ("full", (0.3, 0.3, 0.3), (2e-4, 0.05, 2e-4), 0.04, (0, 0, 0)),
    ("full", (0.3, 0.3, 0.3), (0.399, 0.4, 0.399), 0.04, (0.4, 0.4, 0.4)),
    ("full", (0.9, 0.3, 0.9), (5e-4, 0.4, -5e-4), 0.07, (0, 0, 0)),
    ("full", (0.5, -0.9, 0.5), (1e-5, -0.7, 1e-5), 0.01, (0, 0, 0)),
    ("tied", (0.3, 0.3, 0.2), (0.499, 0.499, 0.501), 0.0, (0.5, 0.5, 0.5)),
    ("no-ema", (-0.8, -0.3, -0.8), (-0.894, 0.499, -0.894), 0.0, (-math.sqrt(0.8), 0.5, -math.sqrt(0.8))),
    ("no-predictor", (0.8, 1.0, -0.8), (1e-5, 1.0, 1e-5), 0.0, (0, 1, 0)),
    ("directset", (0.5, 0.25, 0.5), (0.706, 0.5, 0.707), 0.0, (math.sqrt(0.5), 0.5, math.sqrt(0.5))),
    ("fast-predictor", (0.5, 0.5, 0.4), (0.5, 0.5, 0.501), 0.0, (0.5, 0.5, 0.5)),
]


@pytest.mark.parametrize(("name", "start", "state", "eta", "end"), CERTAIN)
def test_an_end_that_is_claimed_is_where_the_trajectory_goes(
    name: str, start: Any, state: Any, eta: float, end: Any
) -> None:
    row, rates = VARIANTS[name], (1.0, 0.5, 1.0, 1.0, 1.0, eta)
    outcome, found = arrives(row, state, start, rates)
    assert outcome == flow.STEADY
    assert_allclose(found, end, rtol=0, atol=1e-15)
    if eta == 0 and row.mode_balanced:  # a state on the leaf of the start
        w2 = math.copysign(math.sqrt(state[0] ** 2 - start[0] ** 2 + start[1] ** 2), state[1])
        state = (state[0], w2, state[2])
    # e^{−200 × the slowest rate}, of at least .04
    assert_allclose(integrated(row, state, rates, 3000.0), end, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "start", "state", "eta"),
    [
        # the sign is open: a state beside the end, but w1 and θ differ in sign
        ("full", (0.1, 0.3, 0.1), (1e-5, 0.28, -1e-5), 0.0),
        # within the box of p− = .1 but for one weight
        ("full", (0.3, 0.3, 0.3), (2e-4, 0.1001, 2e-4), 0.04),
        # far below zero, but an encoder that could turn w2
        ("full", (50.0, -0.9, 50.0), (0.03, -1e-4, 0.03), 0.01),
        # a target that is fast against the decay is asked for
        ("full", (0.5, -0.9, 0.5), (1e-5, -0.7, 1e-5), 1.5),
        # not shown yet: on the way to a certain end
        ("full", (0.8, -0.3, 0.8), (0.8, -0.3, 0.8), 0.0),
        ("full", (0.1, 0.6, 0.1), (1e-3, 0.5917, 1e-3), 0.0),
        ("no-predictor", (0.8, 1.0, -0.8), (1e-3, 1.0, 1e-3), 0.0),
        ("fast-predictor", (0.5, 0.5, 0.4), (0.5, 0.5, 0.51), 0.0),
    ],
)
def test_no_end_is_claimed_before_it_is_certain_and_shown(
    name: str, start: Any, state: Any, eta: float
) -> None:
    rates = (1.0, 0.5, 1.0, 1.0, 1.0, eta)
    if eta == 1.5:  # λd large enough that p± exist
        rates = (1.0, 4.0, 1.0, 1.0, 1.0, eta)
    assert arrives(VARIANTS[name], state, start, rates)[0] == flow.RUNNING


@pytest.mark.parametrize("off", [-1e-9, 0.0, 1e-9])
def test_the_boundary_of_collapse_is_decided_on_the_leaf_of_the_start(off: float) -> None:
    """R6 at c = −τp r² (1 + off): collapse for off >= 0, like a power of t at 0."""
    # r = ½; w1 = 0 is left for θ's sake
    start = (0.0, 0.5 * math.sqrt(1 + off), 3e-10)
    state = (2e-13, 0.5 * math.sqrt(1 + off), 1e-13)
    outcome, end = arrives(VARIANTS["full"], state, start, (1.0, 0.5, 1.0, 1.0, 1.0, 0.0))
    if off < 0:
        assert outcome == flow.RUNNING  # the learned end is 1.6e-5 away
    else:
        assert outcome == (flow.SLOW if off == 0 else flow.STEADY)
        assert end[0] == 0


@pytest.mark.parametrize("factor", [1 - 1e-9, 1 + 1e-9])
def test_the_boundary_of_weight_decay(factor: float) -> None:
    """R15: above η* = λd²/(4 τo λs) everything collapses; just below it only what is small enough."""
    rates = (1.0, 0.5, 1.0, 1.0, 1.0, 0.0625 * factor)
    state, start = (1e-4, 0.3, 1e-4), (0.3, 0.3, 0.3)
    outcome, _ = arrives(VARIANTS["full"], state, start, rates)
    assert outcome == (flow.STEADY if factor > 1 else flow.RUNNING)
    outcome, end = arrives(VARIANTS["full"], (0.25001, 0.25001, 0.25001), start, rates)
    assert (outcome == flow.STEADY and end[0] > 0.25) == (factor < 1)


@pytest.mark.parametrize("seed", range(4))
def test_random_states_below_zero_collapse_as_claimed(seed: int) -> None:
    """η > 0, w2 < 0: wherever collapse is claimed a tight integration never brings the encoder back."""
    rng = np.random.default_rng(seed)
    row, claimed = VARIANTS["full"], 0
    for _ in range(150):
        eta = 10 ** rng.uniform(-2, -1)
        tt = 10 ** rng.uniform(-1, 1) / eta
        rates = (1.0, 3.0, *np.exp(rng.normal(size=2)), tt, eta)
        w1, th = rng.normal(size=2) * 10 ** rng.uniform(-3, 0)
        start, state = (1e4 * w1, -1.0, 1e4 * th), (w1, -(10 ** rng.uniform(-2, 0.5)), th)
        outcome, end = arrives(row, state, start, rates)
        if outcome == flow.RUNNING:
            continue
        assert end == (0, 0, 0)
        claimed += 1
        if claimed <= 4:
            final = integrated(row, state, rates, 60 / eta)
            assert max(abs(final[0]), abs(final[1]), abs(final[2])) < 1e-6
    assert claimed > 4


def test_the_learned_trap_is_never_left() -> None:
    """η > 0: a state for which the learned end is certain goes there, at the trap's own bound and not only nearby."""
    rng = np.random.default_rng(0)
    row, rates, checked = VARIANTS["full"], (1.0, 0.5, 1.0, 1.0, 2.0, 0.03), 0
    upper = 0.25 + math.sqrt(0.0625 - 0.03)
    _, _p, _, _units, _ = opened(row, (1.0, 1.0, 1.0), rates)
    old = flow.NEAR
    try:
        flow.NEAR = 1e9  # all that is certain counts as shown
        states = rng.uniform(-1, 1, (400, 3))
        claims = [arrives(row, tuple(state), (1.0, 1.0, 1.0), rates) for state in states]
    finally:
        flow.NEAR = old
    for state, (outcome, end) in zip(states, claims, strict=True):
        if outcome != flow.STEADY or end[0] == 0 or checked == 25:
            continue
        checked += 1
        final = integrated(row, state, rates, 600.0)
        assert_allclose(
            final, (math.copysign(upper, state[0]), upper, math.copysign(upper, state[0])), atol=1e-4
        )
        assert_allclose(end, final, atol=1e-4)
    assert checked == 25


def end_on_leaf(name: str, c: float, below: bool, level: float, p: Any) -> tuple[float, float, float]:
    """The end (a, b, g) on the leaf a² − b² = c, where b* = level, or that with b < 0; θ of fixed-target follows."""
    if name == "fixed-target":
        a, b = math.sqrt(max(c, 0.0)) + 0.3, math.sqrt(max(-c, 0.0)) + 0.3
        return a, -b, -a * b * p[1] / p[0]
    if c + level**2 <= 0 or below:
        return 0.0, -math.sqrt(-c), 0.0
    a = math.sqrt(c + level**2)
    return a, level, a


# below: with a negative predictor, which for a small |c| is weak beside the coupling
@pytest.mark.parametrize(
    ("c", "below"), [(0.4, False), (0.0, False), (-0.01, False), (-0.9, False), (-1e-5, True), (-0.1, True)]
)
@pytest.mark.parametrize("name", ["full", "tied", "fixed-target", "no-ema"])
def test_the_linear_flow_about_an_end_is_within_its_bound_of_the_flow(
    name: str, c: float, below: bool
) -> None:
    rng = np.random.default_rng(3)
    row, closest, checked = VARIANTS[name], 0.0, 0
    assert row.kind is not None
    for _ in range(40):
        rates = rates_for(row, (1.0, 0.5, *np.exp(rng.normal(size=3)), 0.0))
        _, p, _, units, _ = opened(row, (1.0, 1.0, 1.0), rates)
        on_leaf = (0.0, False) if name == "tied" else (c, below)
        end = end_on_leaf(name, *on_leaf, p[0] / p[1], p)
        sigma, lag = 10 ** rng.uniform(-4, -1.3 if below else -1.5, 2) * rng.choice([-1, 1], 2)
        lag *= 0 if name in ("no-ema", "fixed-target") else abs(end[0]) + abs(end[1])
        y = flow.moved(row.kind, end, sigma, end[2] + lag, 0.0, p)
        time = 10 ** rng.uniform(-1.5, 1)
        if below:  # in units of the rate, which is small
            time /= 10 * flow.rest_rate(row.kind, end, p)[0]
        found, bound = flow.followed(row.kind, y, end, p, time)
        if bound == math.inf:
            continue
        checked += 1
        exact = flow.balanced(
            integrated(row, flow.unscaled(row.kind, y, units), rates, time * units[1]), units
        )
        error = max(abs(x - z) for x, z in zip(found, exact, strict=True))
        assert error <= bound + 1e-10  # what LSODA leaves at 1e-11
        closest = max(closest, error / (bound + 1e-10))
    assert checked > 15
    if name == "no-ema" or not below:
        assert closest > 0.02  # the bound says something


def test_the_linear_flow_about_an_end_is_not_used_where_nothing_is_known_of_it() -> None:
    p, end = (0.8, 1.3, 0.6, 0.0, 0.0, 0.0, 0.0, 0.0), (0.7, 0.8 / 1.3, 0.7)
    near = flow.moved(flow.FULL, end, 1e-3, 0.7, 0.0, p)
    assert flow.followed(flow.FULL, near, end, p, 1.0)[1] < 1e-5
    for far in ((0.9, 0.8, 0.7), (-0.7, -0.8, 0.7)):
        assert flow.followed(flow.FULL, far, end, p, 1.0)[1] == math.inf
    for parameters in ((0.8, 1.3, 0.6, 0.1, *p[4:]), (0.8, -1.3, *p[2:]), (0.0, *p[1:])):
        assert flow.followed(flow.FULL, near, end, parameters, 1.0)[1] == math.inf
    for kind in (flow.DIRECT, flow.FAST, flow.NO_STOP):
        assert flow.followed(kind, near, end, p, 1.0)[1] == math.inf


def test_without_a_predictor_the_flow_is_its_linear_flow() -> None:
    row = VARIANTS["no-predictor"]
    for rates in (RATES, (1.3, 1.3, 0.6, 1.7, 2.1, 0.0)):  # λd = λs: a line of ends
        y, p, _, units, _ = opened(row, STATE, rates)
        end = (0.0, 0.0, 0.0)
        if rates[5] == 0:
            mean = (p[2] * y[0] + p[5] * y[2]) / (p[2] + p[5])
            end = (mean, 0.0, mean)
        for t in (0.0, 0.4, 3.0, 40.0):
            found, bound = flow.followed(row.kind, y, end, p, t / units[1])
            assert bound == 0
            matrix = np.array(
                [[-rates[0] / rates[2] - rates[5], rates[1] / rates[2]], [1 / rates[4], -1 / rates[4]]]
            )
            exact = expm(t * matrix) @ [STATE[0], STATE[2]]
            assert_allclose(
                np.array(flow.unscaled(row.kind, found, units))[[0, 2]], exact, rtol=0, atol=1e-14
            )


def test_the_series_of_the_hyperbolic_functions_is_right_to_rounding() -> None:
    for sigma in (0.0, 1e-300, 1e-9, 0.01, 0.0999, -0.1, 0.1001, -0.9):
        exact = float(mpmath.cosh(sigma)), float(mpmath.sinh(sigma))
        # a division, a product and a sum at each of four terms, the first of which alone is not small
        assert_allclose(flow._hyperbolic(sigma), exact, rtol=4 * 2.0**-52, atol=0)


# --- a mode that sinks and comes back -----------------------------------------------------------------------


def test_a_mode_that_sinks_by_four_hundred_decades_returns_in_time_and_sign() -> None:
    """no-ema, η > 0: ln w1 falls while w2 is large, and the time of return solves ∫ [w2 (λd − λs w2)/τo − η] dt = 0.

    While w1 is next to nothing w2 = w2(0) e^{−ηt}, so the integral is (w0 λd (1−q) − λs w0² (1−q²)/2)/(η τo) + ln q
    with q = e^{−ηt}: the entry–exit relation.
    """
    eta, w0 = 1e-3, 3.0
    rates = (1.0, 0.5, 1.0, 1.0, 1.0, eta)

    def logarithm(q: Any) -> Any:
        return (w0 * mpmath.mpf("0.5") * (1 - q) - w0**2 * (1 - q**2) / 2) / eta + mpmath.log(q)

    # deepest where w2 = p+, back at the second zero
    assert float(logarithm(mpmath.mpf("0.5") / w0)) < -1000
    row = VARIANTS["no-ema"]
    for sign in (1.0, -1.0):
        y, p, bound, units, _ = opened(row, (sign * 1e-3, w0, sign * 1e-3), rates, 1000.0)
        mode, log_scale, t, h = row.kind, 0.0, 0.0, flow.first_step(row.kind, y, p, 1e-9)
        deepest = 0.0
        while t < bound:
            h = min(h, bound - t)
            z, dense, accepted, proposed = flow.attempted(mode, y, h, p, 1e-10, 1e-12)
            if flow.overshoots(row.kind, mode, z, log_scale, dense):
                accepted, proposed = False, h / 2
            if accepted:
                t += h
                log_scale += dense[4] if mode != row.kind else 0.0
                mode, y, log_scale = flow.switched(row.kind, mode, z, log_scale, p)
                deepest = min(deepest, log_scale)
            h = proposed
        assert deepest < -900
        q = mpmath.exp(-eta * 1000)
        expected = float(logarithm(q) + mpmath.log(1e-3))
        found = (
            log_scale + math.log(abs(y[0]) * units[0]) if mode != row.kind else math.log(abs(y[0]) * units[0])
        )
        assert math.copysign(1.0, y[0]) == sign
        # the first stretch, before w1 is negligible, is e^{−15} wide in w2
        assert found == pytest.approx(expected, abs=1e-4 * abs(expected))


def test_the_angle_of_a_full_mode_that_sinks_is_that_of_the_linear_equation() -> None:
    """η > 0, w2 < 0: the encoder rotates as it sinks; sign and size against mpmath, far beyond the range of floats."""
    eta, w0 = 0.02, -2.0
    rates = (1.0, 1.5, 1.0, 1.0, 1.0, eta)
    row, end = VARIANTS["full"], 400.0
    y, p, bound, units, _ = opened(row, (1e-12, w0, -2e-12), rates, end)
    mode, y, log_scale = flow.switched(row.kind, row.kind, y, 0.0, p)
    assert mode == flow.POLAR
    t, h = 0.0, flow.first_step(mode, y, p, 1e-10)
    while t < bound:
        h = min(h, bound - t)
        z, dense, accepted, h_next = flow.attempted(mode, y, h, p, 1e-11, 1e-13)
        if accepted:
            t += h
            log_scale += dense[4]
            mode, y, log_scale = flow.switched(row.kind, mode, z, log_scale, p)
            assert mode == flow.POLAR
        h = h_next

    def rates_of(time: float, x: np.ndarray) -> list[float]:
        cos, sin = math.cos(x[0]), math.sin(x[0])
        b = w0 * math.exp(-eta * time)
        d_cos, d_sin = b * (1.5 * sin - b * cos) - eta * cos, cos - sin
        return [cos * d_sin - sin * d_cos, cos * d_cos + sin * d_sin]

    start = [math.atan2(-2, 1), math.log(1e-12 * math.sqrt(5))]
    exact = solve_ivp(rates_of, (0, end), start, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    size = math.log(math.hypot(y[0], y[2]) * units[0]) + log_scale
    assert size == pytest.approx(exact[1], abs=1e-6)
    assert_allclose((y[0], y[2]), (math.cos(exact[0]), math.sin(exact[0])), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "y", "outcome"),
    [
        ("full", (1e13, 1.0, 1.0), flow.DIVERGED),
        ("full", (1.0, 1.0, 1.0), flow.RUNNING),
        ("full", (1e-300, 1e-295, 1e-301), flow.MAX_STEPS),
        ("full", (1e-300, 1e-295, 0.5), flow.MAX_STEPS),
        ("full", (1e-300, 0.5, 0.5), flow.RUNNING),
        ("tied", (1e-300, 1e-300, -0.5), flow.MAX_STEPS),  # would come back after θ has decayed
        ("tied", (-1e-300, -1e-300, -0.5), flow.RUNNING),  # w1 < 0 never does
        ("directset", (1e-300, 0.0, -0.5), flow.MAX_STEPS),
        ("fast-predictor", (1e-300, 0.5, 1e-300), flow.RUNNING),
        ("fast-predictor", (0.1, 1e200, 0.1), flow.RUNNING),  # the predictor is a ratio
    ],
)
def test_runs_that_cannot_go_on(name: str, y: Any, outcome: int) -> None:
    row = VARIANTS[name]
    start, p, *_ = opened(row, (0.5, 0.5, 0.5), (1.0, 0.5, 1.0, 1.0, 1.0, 0.0))
    assert flow.failed(row.kind, row.kind, y, 1.0, start, p) == outcome
    assert flow.failed(row.kind, row.kind, (1.0, 1.0, 1.0), 1e-19, start, p) == flow.MAX_STEPS


def test_a_predictor_outlives_an_encoder_that_numbers_no_longer_hold() -> None:
    """fast-predictor, η τt near 1: w2 → r/(1 − η τt) while w1 sinks below the smallest float."""
    row, rates = VARIANTS["fast-predictor"], (1.0, 0.5, 1.0, 1.0, 1.0, 0.99)
    start = (1e-3, 0.0, -2.0)
    y, p, _, units, _ = opened(row, start, rates)
    t, h = 0.0, flow.first_step(row.kind, y, p, 1e-8)
    while t * units[1] < 5000:
        z, _, accepted, proposed = flow.attempted(row.kind, y, h, p, 1e-8, 1e-10)
        if accepted:
            y, t = z, t + h
        h = min(proposed, 100 / units[1])
    assert y[0] == 0
    # q = θ/w1 obeys dq/dt = (1 − (1 − η τt) q)/τt
    assert flow.unscaled(row.kind, y, units)[1] == pytest.approx(0.5 / 0.01, rel=1e-6)
