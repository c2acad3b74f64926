"""The step of one mode's flow: its order, its error, its dense output and the size of the first one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from single_modes import IDS, RATES, ROWS, STATE, opened, rates_for

from dynamics.integration import mode_flow, mode_step
from dynamics.integration.mode_flow import FAST, LOG, POLAR
from dynamics.variants import VARIANTS, Variant


def slope(found: Any, hs: Any) -> float:
    return float(np.polyfit(np.log(hs), np.log(found), 1)[0])


def exact_moves(row: Variant, y: Any, p: Any, h: float) -> Any:
    """The trajectory of (a, b, g) for a time h, by an explicit method of order 8 at a tolerance near rounding."""
    kind = row.kind
    x0 = mode_flow.second_unknown(kind, y, p)

    def rates(t: float, x: np.ndarray) -> Any:
        return mode_flow.rates_of(kind, mode_flow.moved(kind, y, x[0], x[1], t, p), p)

    solution = solve_ivp(
        rates, (0, h), [0.0, x0], method="DOP853", rtol=2.3e-14, atol=1e-15, dense_output=True
    )
    return solution.sol


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_orders_of_the_step_its_error_and_its_dense_output(row: Variant) -> None:
    y, p, *_ = opened(row, STATE, rates_for(row))
    if row.kind == FAST:  # linear in its unknowns, with σ exact
        assert mode_step.stages(row.kind, y, 0.1, p)[2][0] == pytest.approx(-p[3] * 0.1, rel=1e-12)
    hs = np.array([0.05, 0.025, 0.0125])
    errors, estimates, inner = [], [], []
    for h in hs:
        _, estimate, dense = mode_step.stages(row.kind, y, h, p)
        solution = exact_moves(row, y, p, h)
        end = np.array([dense[0], dense[4]])
        errors.append(np.max(np.abs(end - solution(h))))
        estimates.append(max(abs(x) for x in estimate))
        share = 0.3
        s1, s3, s4, x0, x1, _x3, _x4 = dense
        _, second = mode_step.between(row.kind, y, h, share, dense, p)
        sigma = share * (s1 + (1 - share) * (s3 + share * s4))
        inner.append(np.max(np.abs(np.array([sigma, second]) - solution(share * h))))
        assert mode_step.between(row.kind, y, h, 1.0, dense, p)[1] == pytest.approx(x1, rel=1e-14)
        assert mode_step.between(row.kind, y, h, 0.0, dense, p)[1] == x0
    # local errors of order 4 (h⁵), of the embedded 3 (h⁴) and of the dense output 3 (h⁴): the next term of the series
    # bends the line by less than half an order
    if row.kind != FAST:  # whose errors at these steps are rounding
        assert slope(errors, hs) > 4.5
    assert slope(estimates, hs) > 3.5
    assert slope(inner, hs) > 3.5


@pytest.mark.parametrize("kind", [POLAR, LOG])
def test_orders_of_a_step_in_polar_and_logarithmic_unknowns(kind: int) -> None:
    _, p, *_ = opened(VARIANTS["full"], STATE, RATES)
    y = (math.cos(0.6), 0.9, math.sin(0.6)) if kind == POLAR else (1.0, 0.9, 1.0)
    hs, errors = np.array([0.8, 0.4, 0.2]), []
    for h in hs:
        _, _, dense = mode_step.stages(kind, y, h, p)

        def rates(t: float, x: np.ndarray) -> Any:
            return mode_flow.rates_of(kind, mode_flow.moved(kind, y, x[0], x[1], t, p), p)

        solution = solve_ivp(rates, (0, h), [0.0, 0.0], method="DOP853", rtol=2.3e-14, atol=1e-15)
        errors.append(np.max(np.abs(np.array([dense[0], dense[4]]) - solution.y[:, -1])))
    assert slope(errors, hs) > 4.4


@pytest.mark.parametrize(
    "row", [row for row in VARIANTS.values() if row.kind is not None], ids=lambda row: row.name
)
def test_the_first_step_is_accurate_and_not_much_too_short(row: Variant) -> None:
    """Over random states most first tries are good, and the next is not longer by the most that is allowed."""
    rng, good, short = np.random.default_rng(0), 0, 0
    for _ in range(100):
        rates = rates_for(row, (*np.exp(rng.normal(size=5)), 0.1))
        y, p, *_ = mode_flow.scaled(row.kind, tuple(rng.normal(size=3)), rates, math.inf, row.direct)
        h = mode_step.first_step(row.kind, y, p, 1e-8)
        _, _, accepted, proposed = mode_step.attempted(row.kind, y, h, p, 1e-8, 1e-10)
        good += accepted
        short += proposed > 5.9 * h
    assert good > 25
    assert short < 20
