"""Trajectories of the scalar flow taken to their ends, those that sink on their way, and those that cannot go on."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from single_modes import RATES, opened, path

from dynamics.integration import mode_course, mode_flow, mode_step
from dynamics.integration.mode_ends import (
    COLLAPSED,
    DIVERGED,
    END_TIME,
    LEARNED,
    MAX_STEPS,
    RUNNING,
    STEADY,
    UNDECIDED,
)
from dynamics.integration.mode_flow import FULL, POLAR
from dynamics.variants import VARIANTS


@pytest.mark.parametrize(
    ("start", "fate", "late"),
    # the collapsing one turns about the origin on its way, and needs many tries for it
    [((0.3, 0.4, 0.3), LEARNED, 2000.0), ((0.2, -0.7, 0.1), COLLAPSED, 100.0)],
)
def test_a_run_with_an_end_time_is_at_rest_only_when_it_is_in_its_end(
    start: Any, fate: int, late: float
) -> None:
    row, rates = VARIANTS["full"], (*RATES[:5], 0.0)
    for end, outcome in ((3.0, END_TIME), (late, STEADY)):
        times = np.array([0.3 * end, end])
        saved = tuple(np.zeros((2, 1)) for _ in range(3))
        state, t, found, did, tries, rejected = mode_course.brought_to_its_end(
            (row.kind, *row.direct), start, start, 0.0, rates, end, 1e-9, 1e-12, 10_000, times, 0, 0, saved
        )
        exact = path(row, start, rates, np.array([0.0, *times]))
        assert (t, found) == (end, outcome)
        assert did == fate or outcome == END_TIME
        assert_allclose(state, exact[-1], rtol=0, atol=1e-7)
        assert_allclose(np.column_stack([part[:, 0] for part in saved]), exact[1:], rtol=0, atol=1e-6)
        assert 0 <= rejected < tries
    # what is spent is said
    *_, found, did, tries, _ = mode_course.brought_to_its_end(
        (row.kind, *row.direct), start, start, 0.0, rates, 2000.0, 1e-9, 1e-12, 3, times, 0, 0, saved
    )
    assert (found, did, tries) == (MAX_STEPS, UNDECIDED, 3)


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
        mode, log_scale, t, h = row.kind, 0.0, 0.0, mode_step.first_step(row.kind, y, p, 1e-9)
        deepest = 0.0
        while t < bound:
            h = min(h, bound - t)
            z, dense, accepted, proposed = mode_step.attempted(mode, y, h, p, 1e-10, 1e-12)
            if mode_course.overshoots(row.kind, mode, z, log_scale, dense):
                accepted, proposed = False, h / 2
            if accepted:
                t += h
                log_scale += dense[4] if mode != row.kind else 0.0
                mode, y, log_scale = mode_course.switched(row.kind, mode, z, log_scale, p)
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
    mode, y, log_scale = mode_course.switched(row.kind, row.kind, y, 0.0, p)
    assert mode == POLAR
    t, h = 0.0, mode_step.first_step(mode, y, p, 1e-10)
    while t < bound:
        h = min(h, bound - t)
        z, dense, accepted, h_next = mode_step.attempted(mode, y, h, p, 1e-11, 1e-13)
        if accepted:
            t += h
            log_scale += dense[4]
            mode, y, log_scale = mode_course.switched(row.kind, mode, z, log_scale, p)
            assert mode == POLAR
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


@pytest.mark.parametrize("b", [0.01, 0.5])
def test_a_vanished_encoder_overshoots_where_it_is_no_longer_next_to_the_predictor(b: float) -> None:
    """A thousand times what counts as vanished, 1e-8 of the predictor, is too much."""
    for share, expected in ((0.99e-5, False), (1.01e-5, True)):
        dense = (0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0)
        log_scale = math.log(share * b) - 2.0
        assert mode_course.overshoots(FULL, POLAR, (1.0, b, 0.0), log_scale, dense) == expected
    assert not mode_course.overshoots(FULL, FULL, (1.0, b, 0.0), 0.0, dense)


def test_a_predictor_outlives_an_encoder_that_numbers_no_longer_hold() -> None:
    """fast-predictor, η τt near 1: w2 → r/(1 − η τt) while w1 sinks below the smallest float."""
    row, rates = VARIANTS["fast-predictor"], (1.0, 0.5, 1.0, 1.0, 1.0, 0.99)
    start = (1e-3, 0.0, -2.0)
    y, p, _, units, _ = opened(row, start, rates)
    t, h = 0.0, mode_step.first_step(row.kind, y, p, 1e-8)
    while t * units[1] < 5000:
        z, _, accepted, proposed = mode_step.attempted(row.kind, y, h, p, 1e-8, 1e-10)
        if accepted:
            y, t = z, t + h
        h = min(proposed, 100 / units[1])
    assert y[0] == 0
    # q = θ/w1 obeys dq/dt = (1 − (1 − η τt) q)/τt
    assert mode_flow.unscaled(row.kind, y, units)[1] == pytest.approx(0.5 / 0.01, rel=1e-6)


# --- runs that cannot go on ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "y", "outcome"),
    [
        ("full", (1e13, 1.0, 1.0), DIVERGED),
        ("full", (1.0, 1.0, 1.0), RUNNING),
        ("full", (1e-300, 1e-295, 1e-301), MAX_STEPS),
        ("full", (1e-300, 1e-295, 0.5), MAX_STEPS),
        ("full", (1e-300, 0.5, 0.5), RUNNING),
        ("tied", (1e-300, 1e-300, -0.5), MAX_STEPS),  # would come back after θ has decayed
        ("tied", (-1e-300, -1e-300, -0.5), RUNNING),  # w1 < 0 never does
        ("directset", (1e-300, 0.0, -0.5), MAX_STEPS),
        ("fast-predictor", (1e-300, 0.5, 1e-300), RUNNING),
        ("fast-predictor", (0.1, 1e200, 0.1), RUNNING),  # the predictor is a ratio
    ],
)
def test_runs_that_cannot_go_on(name: str, y: Any, outcome: int) -> None:
    row = VARIANTS[name]
    start, p, *_ = opened(row, (0.5, 0.5, 0.5), (1.0, 0.5, 1.0, 1.0, 1.0, 0.0))
    assert mode_course.failed(row.kind, row.kind, y, 1.0, start, p) == outcome
    assert mode_course.failed(row.kind, row.kind, (1.0, 1.0, 1.0), 1e-19, start, p) == MAX_STEPS


def test_a_tied_mode_that_nothing_drives_does_not_come_back() -> None:
    """λd = 0: what has sunk beneath the smallest float stays there."""
    row = VARIANTS["tied"]
    start, p, *_ = mode_flow.scaled(
        row.kind, (0.5, 0.5, 0.5), (1.0, 0.0, 1.0, 1.0, 1.0, 0.0), math.inf, row.direct
    )
    assert mode_course.failed(row.kind, row.kind, (1e-300, 1e-300, 1e-300), 1.0, start, p) == RUNNING


def test_an_encoder_and_a_target_that_underflow_are_given_up_where_they_would_come_back() -> None:
    """Collapse repels on this leaf, and the smallest float still pulls, by what is no number any more."""
    start, p, *_ = mode_flow.scaled(
        FULL, (0.2, 0.3, 0.2), (1.0, 0.5, 1.0, 1.0, 1.0, 0.0), math.inf, (0.0, 0.0)
    )
    assert mode_course.failed(FULL, FULL, (0.0, 0.2, 5e-324), 1.0, start, p) == MAX_STEPS
