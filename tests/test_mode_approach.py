"""The linear flow about an end: its rates, its error and the bound of that, against the flow by another method."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import expm
from single_modes import RATES, STATE, integrated, opened, rates_for

from dynamics.integration import mode_approach, mode_flow
from dynamics.integration.mode_flow import DIRECT, FAST, FULL, IDENTITY, NO_STOP
from dynamics.variants import VARIANTS


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
        y = mode_flow.moved(row.kind, end, sigma, end[2] + lag, 0.0, p)
        time = 10 ** rng.uniform(-1.5, 1)
        if below:  # in units of the rate, which is small
            time /= 10 * mode_approach.rest_rate(row.kind, end, p)[0]
        found, bound = mode_approach.followed(row.kind, y, end, p, time)
        if bound == math.inf:
            continue
        checked += 1
        exact = mode_flow.balanced(
            integrated(row, mode_flow.unscaled(row.kind, y, units), rates, time * units[1]), units
        )
        error = max(abs(x - z) for x, z in zip(found, exact, strict=True))
        assert error <= bound + 1e-10  # what LSODA leaves at 1e-11
        closest = max(closest, error / (bound + 1e-10))
    assert checked > 15
    if name == "no-ema" or not below:
        assert closest > 0.02  # the bound says something


def test_the_linear_flow_about_an_end_is_not_used_where_nothing_is_known_of_it() -> None:
    p, end = (0.8, 1.3, 0.6, 0.0, 0.0, 0.0, 0.0, 0.0), (0.7, 0.8 / 1.3, 0.7)
    near = mode_flow.moved(FULL, end, 1e-3, 0.7, 0.0, p)
    assert mode_approach.followed(FULL, near, end, p, 1.0)[1] < 1e-5
    for far in ((0.9, 0.8, 0.7), (-0.7, -0.8, 0.7)):
        assert mode_approach.followed(FULL, far, end, p, 1.0)[1] == math.inf
    for parameters in ((0.8, 1.3, 0.6, 0.1, *p[4:]), (0.8, -1.3, *p[2:]), (0.0, *p[1:])):
        assert mode_approach.followed(FULL, near, end, parameters, 1.0)[1] == math.inf
    for kind in (DIRECT, FAST, NO_STOP):
        assert mode_approach.followed(kind, near, end, p, 1.0)[1] == math.inf


def test_without_a_predictor_the_flow_is_its_linear_flow() -> None:
    row = VARIANTS["no-predictor"]
    for rates in (RATES, (1.3, 1.3, 0.6, 1.7, 2.1, 0.0)):  # λd = λs: a line of ends
        y, p, _, units, _ = opened(row, STATE, rates)
        end = (0.0, 0.0, 0.0)
        if rates[5] == 0:
            mean = (p[2] * y[0] + p[5] * y[2]) / (p[2] + p[5])
            end = (mean, 0.0, mean)
        for t in (0.0, 0.4, 3.0, 40.0):
            found, bound = mode_approach.followed(row.kind, y, end, p, t / units[1])
            assert bound == 0
            matrix = np.array(
                [[-rates[0] / rates[2] - rates[5], rates[1] / rates[2]], [1 / rates[4], -1 / rates[4]]]
            )
            exact = expm(t * matrix) @ [STATE[0], STATE[2]]
            assert_allclose(
                np.array(mode_flow.unscaled(row.kind, found, units))[[0, 2]], exact, rtol=0, atol=1e-14
            )


def test_the_slowest_decay_to_an_end_is_an_eigenvalue_of_the_jacobian_on_the_leaf() -> None:
    coupling, damping, zeta = 0.8, 1.3, 0.6
    p = (coupling, damping, zeta, 0.0, 0.0, 0.0, 0.0, 0.0)
    a, b = 0.7, coupling / damping
    J = np.array([[-damping * (a * a + b * b), coupling], [b * zeta, -zeta]])
    slow, fast = mode_approach.rest_rate(FULL, (a, b, a), p)
    assert slow == pytest.approx(np.min(-np.linalg.eigvals(J).real), rel=1e-12)
    assert fast >= np.max(-np.linalg.eigvals(J).real)
    # with weight decay, or without damping, no rate is promised, so that nothing settles early
    assert mode_approach.rest_rate(FULL, (a, b, a), (coupling, damping, zeta, 0.1, *p[4:])) == (0.0, 0.0)
    assert mode_approach.rest_rate(FULL, (a, b, a), (coupling, -damping, zeta, 0.0, *p[4:])) == (0.0, 0.0)
    assert mode_approach.rest_rate(IDENTITY, (a, 0.0, a), p) == (0.0, 0.0)


@pytest.mark.parametrize("b", [0.2, 1.1])
def test_rates_of_decay_are_those_of_the_jacobian_off_the_learned_line_too(b: float) -> None:
    coupling, damping, zeta, a = 0.8, 1.3, 0.6, 1.4
    J = np.array([[-damping * (a * a + b * b), coupling], [b * zeta, -zeta]])
    p = (coupling, damping, zeta, 0.0, 0.0, 0.0, 0.0, 0.0)
    slow, fast = mode_approach.rest_rate(FULL, (a, b, a), p)
    assert slow == pytest.approx(np.min(-np.linalg.eigvals(J).real), rel=1e-12)
    assert fast == pytest.approx(-np.trace(J), rel=1e-12)
