"""The scalar flow of one mode: formula and units, against its vector field and other methods."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from single_modes import IDS, RATES, ROWS, STATE, opened, rates_for, system_of

from dynamics.integration import mode_flow
from dynamics.integration.mode_flow import DIRECT, FAST, FIXED, IDENTITY, LOG, NO_EMA, NO_STOP, POLAR
from dynamics.variants import VARIANTS, Variant


def field_rates(row: Variant, state: Any, rates: Any) -> np.ndarray:
    """The derivatives of the variant's vector field; those of slaved parts do not count."""
    system = system_of(rates)
    field = row.mode_field
    return np.ravel(field(0.0, field.constrain(0.0, system.state(*state), system), system))


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
        f, e = mode_flow.rates_of(row.kind, y, p)
        x0 = mode_flow.second_unknown(row.kind, y, p)
        h = 1e-5

        def moved(
            t: float, y: Any = y, f: Any = f, e: Any = e, x0: Any = x0, p: Any = p, units: Any = units
        ) -> Any:
            z = mode_flow.moved(row.kind, y, f * t, x0 + e * t, t, p)
            return np.array(mode_flow.unscaled(row.kind, mode_flow.constrained(row.kind, z, p), units))

        # central difference: h² of the third derivative, and rounding over h
        found = (moved(h) - moved(-h)) / (2 * h * units[1])
        expected = field_rates(row, mode_flow.unscaled(row.kind, y, units), rates)
        parts = [0] if row.kind == NO_STOP else [0, 2]
        if row.mode_balanced or row.kind == NO_STOP:
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
                mode_flow.rates_of(POLAR, (a, b, g), p),
                (a * dg - g * da, a * da + g * dg),
                rtol=0,
                atol=1e-14,
            )
            assert_allclose(mode_flow.rates_of(LOG, (1.0, b, 1.0), p), (0, b * (A - B * b) - eta), rtol=1e-14)
            z = mode_flow.moved(POLAR, (a, b, g), 0.4, 0.0, 2.0, p)
            assert_allclose(
                z, (math.cos(angle + 0.4), math.exp(-2 * eta) * b, math.sin(angle + 0.4)), atol=1e-15
            )


@pytest.mark.parametrize("kind", [row.kind for row in ROWS] + [POLAR, LOG], ids=[*IDS, "polar", "log"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_jacobian_is_the_derivative_of_the_rates(kind: int, sign: float) -> None:
    row = next((row for row in ROWS if row.kind == kind), VARIANTS["full"])
    y, p, *_ = opened(row, (sign * 0.7, -0.4, 0.9), rates_for(row))
    if kind in (POLAR, LOG):
        y = (sign * math.cos(0.6), -0.4, math.sin(0.6))
        y = y if kind == POLAR else (y[0], y[1], y[0])
    y = mode_flow.constrained(kind, y, p)
    x0 = mode_flow.second_unknown(kind, y, p)

    def rates(sigma: float, second: float, time: float) -> np.ndarray:
        z = mode_flow.moved(kind, y, sigma, second, time, p)
        return np.array(mode_flow.rates_of(kind, mode_flow.constrained(kind, z, p), p))

    h = 1e-5
    d_sigma = (rates(h, x0, 0.0) - rates(-h, x0, 0.0)) / (2 * h)
    d_second = (rates(0.0, x0 + h, 0.0) - rates(0.0, x0 - h, 0.0)) / (2 * h)
    d_time = (rates(0.0, x0, h) - rates(0.0, x0, -h)) / (2 * h)
    j11, j12, j21, j22, det, t1, t2 = mode_flow.jacobian(kind, y, p)
    # truncation h² = 1e-10 and rounding 1e-16/h, times rates of at most ten
    assert_allclose((j11, j21), d_sigma, rtol=0, atol=1e-8)
    if kind != FIXED:  # θ does not move
        assert_allclose((j12, j22), d_second, rtol=0, atol=1e-8)
    assert_allclose((t1, t2), d_time, rtol=0, atol=1e-8)
    # the determinant is written as a sum without cancellation: the same number
    assert_allclose(det, j11 * j22 - j12 * j21, rtol=0, atol=1e-13)


def test_the_series_of_the_hyperbolic_functions_is_right_to_rounding() -> None:
    for sigma in (0.0, 1e-300, 1e-9, 0.01, 0.0999, -0.1, 0.1001, -0.9):
        exact = float(mpmath.cosh(sigma)), float(mpmath.sinh(sigma))
        # a division, a product and a sum at each of four terms, the first of which alone is not small
        assert_allclose(mode_flow._hyperbolic(sigma), exact, rtol=4 * 2.0**-52, atol=0)


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
    assert max(abs(y[0]), abs(y[2])) <= 1 or row.kind in (FAST, DIRECT)
    mantissas = [math.frexp(unit)[0] for unit in units[:2]]
    assert mantissas == [0.5, 0.5]
    back = mode_flow.unscaled(row.kind, y, units)
    slaved = row.kind in (IDENTITY, FAST, DIRECT)
    for k in (0,) if row.kind in (NO_EMA, NO_STOP) else (0, 2) if slaved else (0, 1, 2):
        # two products and two quotients, of numbers that do not underflow
        if abs(y[k]) > 1e-290:
            assert back[k] == pytest.approx(state[k], rel=1e-15)


def test_rates_that_numbers_cannot_hold_together_are_not_proper() -> None:
    full = VARIANTS["full"]
    assert opened(full, (1.0, 1.0, 1.0), (1.0, 0.5, 1.0, 1.0, 1e280, 0.0))[-1]
    assert not opened(full, (1.0, 1.0, 1.0), (1.0, 0.5, 1.0, 1.0, 1e300, 0.0))[-1]
    assert not opened(full, (1.0, 1.0, 1.0), (1.0, 0.5, 1.0, 1.0, 1.0, 1e-300))[-1]
    assert not opened(full, (1.0, 1.0, 1.0), (1e300, 1e299, 1e-200, 1.0, 1.0, 0.0))[-1]
