"""Ends of the scalar flow: claimed where its trajectories go, by another method, and not before that is certain."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from single_modes import RATES, integrated, opened, path, rates_for

from dynamics.integration import mode_ends, mode_flow
from dynamics.integration.mode_ends import RUNNING, SLOW, STEADY
from dynamics.integration.mode_flow import FAST, FULL, NO_EMA, TIED
from dynamics.variants import VARIANTS, Variant


def arrives(row: Variant, state: Any, start: Any, rates: Any) -> Any:
    """Outcome and end, in weights, of a state on a trajectory from a start."""
    y, p, _, units, proper = opened(row, start, rates)
    assert proper
    here = mode_flow.constrained(row.kind, mode_flow.balanced(state, units), p)
    outcome, end = mode_ends.arrived(row.kind, here, y, p)
    return outcome, mode_flow.unscaled(row.kind, end, units)


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
    assert outcome == STEADY
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
    assert arrives(VARIANTS[name], state, start, rates)[0] == RUNNING


@pytest.mark.parametrize("off", [-1e-9, 0.0, 1e-9])
def test_the_boundary_of_collapse_is_decided_on_the_leaf_of_the_start(off: float) -> None:
    """R6 at c = −τp r² (1 + off): collapse for off >= 0, like a power of t at 0."""
    # r = ½; w1 = 0 is left for θ's sake
    start = (0.0, 0.5 * math.sqrt(1 + off), 3e-10)
    state = (2e-13, 0.5 * math.sqrt(1 + off), 1e-13)
    outcome, end = arrives(VARIANTS["full"], state, start, (1.0, 0.5, 1.0, 1.0, 1.0, 0.0))
    if off < 0:
        assert outcome == RUNNING  # the learned end is 1.6e-5 away
    else:
        assert outcome == (SLOW if off == 0 else STEADY)
        assert end[0] == 0


@pytest.mark.parametrize("factor", [1 - 1e-9, 1 + 1e-9])
def test_the_boundary_of_weight_decay(factor: float) -> None:
    """R15: above η* = λd²/(4 τo λs) everything collapses; just below it only what is small enough."""
    rates = (1.0, 0.5, 1.0, 1.0, 1.0, 0.0625 * factor)
    state, start = (1e-4, 0.3, 1e-4), (0.3, 0.3, 0.3)
    outcome, _ = arrives(VARIANTS["full"], state, start, rates)
    assert outcome == (STEADY if factor > 1 else RUNNING)
    outcome, end = arrives(VARIANTS["full"], (0.25001, 0.25001, 0.25001), start, rates)
    assert (outcome == STEADY and end[0] > 0.25) == (factor < 1)


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
        if outcome == RUNNING:
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
    old = mode_ends.NEAR
    try:
        mode_ends.NEAR = 1e9  # all that is certain counts as shown
        states = rng.uniform(-1, 1, (400, 3))
        claims = [arrives(row, tuple(state), (1.0, 1.0, 1.0), rates) for state in states]
    finally:
        mode_ends.NEAR = old
    for state, (outcome, end) in zip(states, claims, strict=True):
        if outcome != STEADY or end[0] == 0 or checked == 25:
            continue
        checked += 1
        final = integrated(row, state, rates, 600.0)
        assert_allclose(
            final, (math.copysign(upper, state[0]), upper, math.copysign(upper, state[0])), atol=1e-4
        )
        assert_allclose(end, final, atol=1e-4)
    assert checked == 25


ONES = (1.0, 0.5, 1.0, 1.0, 1.0)  # λs, λd, τo, τp, τt
UNLIKE = RATES[:5]
MIRROR = (1.3, -0.8, 0.6, 1.7, 2.1)

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
        rates = rates_for(row, (*given, eta))
        ts = np.concatenate([[0.0], np.geomspace(0.1, 4000.0, 60)])
        states = path(row, start, rates, ts)
        found = [arrives(row, tuple(state), start, rates) for state in states.tolist()]
        certain = [k for k, (outcome, _) in enumerate(found) if outcome != RUNNING]
        # once an end is certain and shown it stays so
        assert certain, (given, eta, start)
        assert certain == list(range(certain[0], len(ts))), (given, eta, start, certain)
        slow = name == "tied" and eta == 0 and start[0] < 0  # (R7) w' = w² r: 1/t at late times
        parts = [0] if name == "fast-predictor" and eta > 0 else [0, 1, 2]  # θ/w1 is left when both are zero
        for outcome, end in found[certain[0] :]:
            assert outcome == (SLOW if slow else STEADY)
            # the integration is right to 1e-9 or so
            atol = 1e-3 if slow else 1e-6
            assert_allclose(np.array(end)[parts], states[-1][parts], rtol=0, atol=atol)


def test_without_damping_the_fast_predictor_keeps_the_one_it_has() -> None:
    p = (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    outcome, end = mode_ends.arrived(FAST, (0.5, 0.3, 0.5), (0.5, 0.3, 0.4), p)
    assert (outcome, end) == (STEADY, (0.5, 0.3, 0.5))


@pytest.mark.parametrize("kind", [FULL, TIED, NO_EMA])
def test_a_saddle_with_decay_is_the_end_of_a_start_there_and_of_no_run_that_passes(kind: int) -> None:
    """At λs = 1, λd = ½, η = 0.04 the saddle is 0.1."""
    rates = (1.0, 0.5, 1.0, 1.0, 1.0, 0.04)
    saddle = (0.1, 0.1, 0.1)
    for start, expected in (
        (saddle, True),
        ((0.11, 0.1, 0.1) if kind != TIED else (0.11, 0.11, 0.1), False),
    ):
        first, p, _, units, _ = mode_flow.scaled(kind, start, rates, math.inf, (0.0, 0.0))
        outcome, end = mode_ends.arrived(kind, mode_flow.balanced(saddle, units), first, p)
        assert ((outcome, end) == (STEADY, mode_flow.balanced(saddle, units))) == expected
