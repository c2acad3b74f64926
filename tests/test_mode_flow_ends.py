"""Ends of the scalar flow: claimed for every variant where its trajectories go, and trajectories taken there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

from dynamics.integration import mode_flow as flow
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS, Variant

ONES = (1.0, 0.5, 1.0, 1.0, 1.0)  # λs, λd, τo, τp, τt
UNLIKE = (1.3, 0.8, 0.6, 1.7, 2.1)
MIRROR = (1.3, -0.8, 0.6, 1.7, 2.1)


def rates_of(row: Variant, rates: Any, eta: float) -> Any:
    ls, ld, to, tp, tt = rates
    return (ls, ld, to, to if row.name == "tied" else tp, tt, eta)


def path(row: Variant, start: Any, rates: Any, ts: np.ndarray) -> np.ndarray:
    """States (T, 3) at the times, from the variant's vector field by SciPy's method for stiff equations."""
    ls, ld, to, tp, tt, eta = rates
    system = ModeSystem(ls, ld, tau_online=to, tau_predictor=tp, tau_target=tt, weight_decay=eta)

    def kept(x: Any) -> Any:
        return row.mode_field.constrain(0.0, system.state(*x), system)

    def f(_: float, x: np.ndarray) -> np.ndarray:
        return np.ravel(row.mode_field(0.0, kept(x), system))

    found = solve_ivp(f, (0, ts[-1]), np.ravel(kept(start)), "LSODA", ts, rtol=1e-11, atol=1e-13)
    return np.array([np.ravel(kept(x)) for x in found.y.T])


def claims(row: Variant, start: Any, states: np.ndarray, rates: Any) -> list[tuple[int, Any]]:
    """Outcome and end, in weights, of every state on the trajectory from a start."""
    first, p, _, units, proper = flow.scaled(row.kind, start, rates, math.inf, row.direct)
    assert proper
    found = []
    for state in states:
        here = flow.constrained(row.kind, flow.balanced(tuple(map(float, state)), units), p)
        outcome, end = flow.arrived(row.kind, here, first, p)
        found.append((outcome, flow.unscaled(row.kind, end, units)))
    return found


RUNS = [
    # variant, rates, η, start: from each side of what parts their ends, on sheets of both signs of c
    *[("full", rates, 0.0, s) for rates in (ONES, UNLIKE, MIRROR) for s in (
        (0.9, 0.3, 0.9), (-0.9, -0.3, 0.2), (0.2, 0.4, 0.3), (-0.3, 0.45, -0.2), (0.2, -0.7, -0.4), (0.1, 1.1, 0.2))],
    *[("full", rates, 0.02, s) for rates in (ONES, UNLIKE, MIRROR) for s in (
        (0.9, 0.3, 0.9), (-0.9, -0.3, -0.9), (0.1, 0.1, 0.1), (0.01, -0.6, 0.01), (-0.3, 0.45, -0.2))],
    ("full", ONES, 0.08, (0.9, 0.6, 0.9)),
    *[("tied", rates, eta, s) for rates in (ONES, UNLIKE) for eta in (0.0, 0.02) for s in (
        (0.3, 0.3, 0.2), (0.02, 0.02, 0.1), (-0.4, -0.4, 0.9))],
    *[("no-ema", rates, eta, s) for rates in (ONES, UNLIKE, MIRROR) for eta in (0.0, 0.02) for s in (
        (0.9, 0.3, 0.9), (-0.3, 0.45, -0.3), (0.2, -0.7, 0.2), (0.1, 1.1, 0.1), (0.3, 0.3, 0.3))],
    *[("fixed-target", rates, 0.0, s) for rates in (ONES, UNLIKE, MIRROR) for s in (
        (0.9, 0.3, 0.5), (-0.3, 0.9, 0.5), (0.3, -0.9, -1.5), (0.3, 0.2, 1.5), (-0.2, 0.3, -0.7))],
    *[("fixed-target", ONES, 0.0, s) for s in (
        (0.4, 0.4, 0.9), (-0.4, -0.4, 0.9), (0.4, -0.4, -0.9))],
    *[("fixed-target", rates, eta, s) for rates in (ONES, MIRROR) for eta in (0.1, 0.6) for s in (
        (0.9, 0.3, 0.9), (-0.3, 0.9, 0.9), (0.3, -0.9, -0.9), (-0.3, 0.2, -0.9))],
    *[("no-predictor", (1.3, ld, 0.6, 1.7, 2.1), eta, s) for ld in (0.8, -0.7) for eta in (0.0, 0.1) for s in (
        (0.9, 1.0, -0.4), (0.9, 1.0, 0.9))],
    *[("no-stop-gradient", rates, 0.0, s) for rates in (ONES, UNLIKE, MIRROR) for s in (
        (0.9, 0.3, 0.9), (-0.4, 0.9, -0.4), (0.3, -0.9, 0.3), (0.2, 0.45, 0.2))],
    ("no-stop-gradient", UNLIKE, 0.05, (0.9, 0.3, 0.9)),
    *[("no-stop-gradient", (0.5, 0.5, 1.0, 1.0, 1.0), 0.0, s) for s in (
        (0.9, 0.6, 0.9), (-0.9, 0.6, -0.9), (0.2, 0.4, 0.2), (0.2, 1.9, 0.2))],
    *[("fast-predictor", rates, eta, s) for rates in (ONES, UNLIKE) for eta in (0.0, 0.02) for s in (
        (0.9, 0.0, -0.4), (-0.3, 0.0, 0.2))],
    *[(name, rates, eta, s) for name in ("directpred", "directset") for rates in (ONES, UNLIKE) for eta in (0.0, 0.02)
        for s in ((0.9, 0.0, 0.8), (-0.3, 0.0, -0.2), (0.02, 0.0, 0.01))],
]  # fmt: skip


@pytest.mark.parametrize("name", dict.fromkeys(row[0] for row in RUNS))
def test_what_is_claimed_along_a_path_is_where_it_ends_and_its_end_is_claimed(name: str) -> None:
    row = VARIANTS[name]
    for _, given, eta, start in (run for run in RUNS if run[0] == name):
        rates = rates_of(row, given, eta)
        ts = np.concatenate([[0.0], np.geomspace(0.1, 4000.0, 60)])
        states = path(row, start, rates, ts)
        found = claims(row, start, states, rates)
        certain = [k for k, (outcome, _) in enumerate(found) if outcome != flow.RUNNING]
        # once an end is certain and shown it stays so
        assert certain, (given, eta, start)
        assert certain == list(range(certain[0], len(ts))), (given, eta, start, certain)
        slow = name == "tied" and eta == 0 and start[0] < 0  # (R7) w' = w² r: 1/t at late times
        parts = [0] if name == "fast-predictor" and eta > 0 else [0, 1, 2]  # θ/w1 is left when both are zero
        for outcome, end in found[certain[0] :]:
            assert outcome == (flow.SLOW if slow else flow.STEADY)
            # the integration is right to 1e-9 or so
            atol = 1e-3 if slow else 1e-6
            assert_allclose(np.array(end)[parts], states[-1][parts], rtol=0, atol=atol)


def test_the_slowest_decay_to_an_end_is_an_eigenvalue_of_the_jacobian_on_the_leaf() -> None:
    coupling, damping, zeta = 0.8, 1.3, 0.6
    p = (coupling, damping, zeta, 0.0, 0.0, 0.0, 0.0, 0.0)
    a, b = 0.7, coupling / damping
    J = np.array([[-damping * (a * a + b * b), coupling], [b * zeta, -zeta]])
    slow, fast = flow.rest_rate(flow.FULL, (a, b, a), p)
    assert slow == pytest.approx(np.min(-np.linalg.eigvals(J).real), rel=1e-12)
    assert fast >= np.max(-np.linalg.eigvals(J).real)
    # with weight decay, or without damping, no rate is promised, so that nothing settles early
    assert flow.rest_rate(flow.FULL, (a, b, a), (coupling, damping, zeta, 0.1, *p[4:])) == (0.0, 0.0)
    assert flow.rest_rate(flow.FULL, (a, b, a), (coupling, -damping, zeta, 0.0, *p[4:])) == (0.0, 0.0)
    assert flow.rest_rate(flow.IDENTITY, (a, 0.0, a), p) == (0.0, 0.0)


def test_a_tied_mode_that_nothing_drives_does_not_come_back() -> None:
    """λd = 0: what has sunk beneath the smallest float stays there."""
    row = VARIANTS["tied"]
    start, p, *_ = flow.scaled(
        row.kind, (0.5, 0.5, 0.5), (1.0, 0.0, 1.0, 1.0, 1.0, 0.0), math.inf, row.direct
    )
    assert flow.failed(row.kind, row.kind, (1e-300, 1e-300, 1e-300), 1.0, start, p) == flow.RUNNING


def test_without_damping_the_fast_predictor_keeps_the_one_it_has() -> None:
    p = (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    outcome, end = flow.arrived(flow.FAST, (0.5, 0.3, 0.5), (0.5, 0.3, 0.4), p)
    assert (outcome, end) == (flow.STEADY, (0.5, 0.3, 0.5))


@pytest.mark.parametrize("b", [0.01, 0.5])
def test_a_vanished_encoder_overshoots_where_it_is_no_longer_next_to_the_predictor(b: float) -> None:
    """A thousand times what counts as vanished, 1e-8 of the predictor, is too much."""
    for share, expected in ((0.99e-5, False), (1.01e-5, True)):
        dense = (0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0)
        log_scale = math.log(share * b) - 2.0
        assert flow.overshoots(flow.FULL, flow.POLAR, (1.0, b, 0.0), log_scale, dense) == expected
    assert not flow.overshoots(flow.FULL, flow.FULL, (1.0, b, 0.0), 0.0, dense)


@pytest.mark.parametrize(
    ("start", "fate", "late"),
    # the collapsing one turns about the origin on its way, and needs many tries for it
    [((0.3, 0.4, 0.3), flow.LEARNED, 2000.0), ((0.2, -0.7, 0.1), flow.COLLAPSED, 100.0)],
)
def test_a_run_with_an_end_time_is_at_rest_only_when_it_is_in_its_end(
    start: Any, fate: int, late: float
) -> None:
    row, rates = VARIANTS["full"], (*UNLIKE, 0.0)
    for end, outcome in ((3.0, flow.END_TIME), (late, flow.STEADY)):
        times = np.array([0.3 * end, end])
        saved = tuple(np.zeros((2, 1)) for _ in range(3))
        state, t, found, did, tries, rejected = flow.brought_to_its_end(
            (row.kind, *row.direct), start, start, 0.0, rates, end, 1e-9, 1e-12, 10_000, times, 0, 0, saved
        )
        exact = path(row, start, rates, np.array([0.0, *times]))
        assert (t, found) == (end, outcome)
        assert did == fate or outcome == flow.END_TIME
        assert_allclose(state, exact[-1], rtol=0, atol=1e-7)
        assert_allclose(np.column_stack([part[:, 0] for part in saved]), exact[1:], rtol=0, atol=1e-6)
        assert 0 <= rejected < tries
    # what is spent is said
    *_, found, did, tries, _ = flow.brought_to_its_end(
        (row.kind, *row.direct), start, start, 0.0, rates, 2000.0, 1e-9, 1e-12, 3, times, 0, 0, saved
    )
    assert (found, did, tries) == (flow.MAX_STEPS, flow.UNDECIDED, 3)


@pytest.mark.parametrize(
    "row", [row for row in VARIANTS.values() if row.kind is not None], ids=lambda row: row.name
)
def test_the_first_step_is_accurate_and_not_much_too_short(row: Variant) -> None:
    """Over random states most first tries are good, and the next is not longer by the most that is allowed."""
    rng, good, short = np.random.default_rng(0), 0, 0
    for _ in range(100):
        rates = rates_of(row, tuple(np.exp(rng.normal(size=5))), 0.1)
        y, p, *_ = flow.scaled(row.kind, tuple(rng.normal(size=3)), rates, math.inf, row.direct)
        h = flow.first_step(row.kind, y, p, 1e-8)
        _, _, accepted, proposed = flow.attempted(row.kind, y, h, p, 1e-8, 1e-10)
        good += accepted
        short += proposed > 5.9 * h
    assert good > 25
    assert short < 20


@pytest.mark.parametrize("b", [0.2, 1.1])
def test_rates_of_decay_are_those_of_the_jacobian_off_the_learned_line_too(b: float) -> None:
    coupling, damping, zeta, a = 0.8, 1.3, 0.6, 1.4
    J = np.array([[-damping * (a * a + b * b), coupling], [b * zeta, -zeta]])
    p = (coupling, damping, zeta, 0.0, 0.0, 0.0, 0.0, 0.0)
    slow, fast = flow.rest_rate(flow.FULL, (a, b, a), p)
    assert slow == pytest.approx(np.min(-np.linalg.eigvals(J).real), rel=1e-12)
    assert fast == pytest.approx(-np.trace(J), rel=1e-12)


def test_an_encoder_and_a_target_that_underflow_are_given_up_where_they_would_come_back() -> None:
    """Collapse repels on this leaf, and the smallest float still pulls, by what is no number any more."""
    start, p, *_ = flow.scaled(
        flow.FULL, (0.2, 0.3, 0.2), (1.0, 0.5, 1.0, 1.0, 1.0, 0.0), math.inf, (0.0, 0.0)
    )
    assert flow.failed(flow.FULL, flow.FULL, (0.0, 0.2, 5e-324), 1.0, start, p) == flow.MAX_STEPS


@pytest.mark.parametrize("kind", [flow.FULL, flow.TIED, flow.NO_EMA])
def test_a_saddle_with_decay_is_the_end_of_a_start_there_and_of_no_run_that_passes(kind: int) -> None:
    """At λs = 1, λd = ½, η = 0.04 the saddle is 0.1."""
    rates = (1.0, 0.5, 1.0, 1.0, 1.0, 0.04)
    saddle = (0.1, 0.1, 0.1)
    for start, expected in (
        (saddle, True),
        ((0.11, 0.1, 0.1) if kind != flow.TIED else (0.11, 0.11, 0.1), False),
    ):
        first, p, _, units, _ = flow.scaled(kind, start, rates, math.inf, (0.0, 0.0))
        outcome, end = flow.arrived(kind, flow.balanced(saddle, units), first, p)
        assert ((outcome, end) == (flow.STEADY, flow.balanced(saddle, units))) == expected
