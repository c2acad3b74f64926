"""Predictions where rates and weights lie two hundred decades apart, by symmetries of the flow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from analysis.fates.fate import Prediction
from analysis.fates.predictions import predict_fates
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS

N = 200


def draw(variant: str, seed: int, *, decay: bool) -> tuple[ModeState, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    rates = {
        "lambda_s": np.exp(rng.normal(size=N)),
        "lambda_d": rng.choice([-1.0, 1.0], N) * np.exp(rng.normal(size=N) - 1),
        "tau_online": np.exp(rng.normal(size=N)),
        "tau_predictor": np.exp(rng.normal(size=N)),
        "tau_target": np.exp(rng.normal(size=N)),
        "weight_decay": 10 ** rng.uniform(-4, 0, N) if decay else np.zeros(N),
    }
    w1, w2, th = rng.normal(size=(3, N)) * 10 ** rng.uniform(-2, 1, (3, N))
    # on the borders of the results too: rest, c = 0, λd = λs
    w1[:20], rates["lambda_d"][20:40] = 0.0, rates["lambda_s"][20:40]
    th[40:60] = w1[40:60]
    w2[40:50] = rates["lambda_d"][40:50] / rates["lambda_s"][40:50]
    w2[60:80], rates["tau_predictor"][60:80] = w1[60:80], rates["tau_online"][60:80]
    if variant == "tied":
        w2, rates["tau_predictor"] = w1, rates["tau_online"]
    return ModeState(w1, w2, th), rates


def predict(variant: str, state: ModeState, rates: dict[str, Any]) -> Prediction:
    return predict_fates(state, ModeSystem(**rates), variant)


@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize("time", [-300, 300])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_unit_of_time_changes_nothing(variant: str, time: int, decay: bool) -> None:
    """T → 2ⁿ T: all τ grow by 2ⁿ and η falls by it."""
    state, rates = draw(variant, 1, decay=decay)
    other = {
        name: np.ldexp(value, time) if name.startswith("tau") else value for name, value in rates.items()
    }
    other["weight_decay"] = np.ldexp(rates["weight_decay"], -time)
    for one, two in zip(predict(variant, state, rates), predict(variant, state, other), strict=True):
        if one.dtype.kind == "f":
            assert_allclose(two, one, rtol=1e-13, atol=0)
        else:
            assert_array_equal(two, one)


@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize("unit", [-150, 150])
@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "tied"])
def test_the_unit_of_the_encoder_changes_nothing(variant: str, unit: int, decay: bool) -> None:
    """w1, θ → 2ⁿ w1, 2ⁿ θ with λs, λd and τo falling by 4ⁿ: a symmetry of every variant whose w1 is free."""
    state, rates = draw(variant, 2, decay=decay)
    other = dict(rates)
    for name in ("lambda_s", "lambda_d", "tau_online"):
        other[name] = np.ldexp(rates[name], -2 * unit)
    scaled = ModeState(np.ldexp(state.online, unit), state.predictor, np.ldexp(state.target, unit))
    one, two = predict(variant, state, rates), predict(variant, scaled, other)
    assert_array_equal(two.fate, one.fate)
    assert_array_equal(two.reason, one.reason)
    assert_array_equal(two.algebraic, one.algebraic)
    assert_allclose(two.predictor, one.predictor, rtol=1e-13, atol=0)
    for name in ("online", "target", "amplitude"):
        assert_allclose(np.ldexp(getattr(two, name), -unit), getattr(one, name), rtol=1e-13, atol=0)


@pytest.mark.parametrize("variant", ["full", "fixed-target", "no-ema", "symmetric-predictor"])
@pytest.mark.parametrize("unit", [-150, 150])
def test_the_unit_of_all_weights_changes_nothing(variant: str, unit: int) -> None:
    """W → 2ⁿ w with λd falling by 2ⁿ and λs by 4ⁿ."""
    for decay in (False, True):
        state, rates = draw(variant, 3, decay=decay)
        other = rates | {
            "lambda_s": np.ldexp(rates["lambda_s"], -2 * unit),
            "lambda_d": np.ldexp(rates["lambda_d"], -unit),
        }
        scaled = ModeState(*(np.ldexp(part, unit) for part in state))
        one, two = predict(variant, state, rates), predict(variant, scaled, other)
        assert_array_equal(two.fate, one.fate)
        for name in ("online", "predictor", "target", "amplitude"):
            assert_allclose(np.ldexp(getattr(two, name), -unit), getattr(one, name), rtol=1e-13, atol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_hundred_decades_bring_no_warning_and_no_nonsense(variant: str) -> None:
    rng = np.random.default_rng(4)
    n = 5000
    ls, ld, to, tp, tt, eta, w1, w2, th = 10 ** rng.uniform(-100, 100, (9, n))
    w1, w2, th = rng.choice([-1.0, 1.0], (3, n)) * (w1, w2, th)
    eta[::2] = 0.0
    if variant == "tied":
        w2, tp = w1, to
    system = ModeSystem(ls, ld, tau_online=to, tau_predictor=tp, tau_target=tt, weight_decay=eta)
    found = predict_fates(system.state(w1, w2, th), system, variant)
    learned = found.fate == "learned"
    assert np.all(found.amplitude[learned] > 0)
    assert np.all(np.isfinite(found.amplitude[found.fate != ""]))
    assert np.all(found.amplitude[found.fate == "collapsed"] == 0)


def test_small_weights_are_no_fixed_point() -> None:
    # all products of these weights and rates underflow
    system = ModeSystem([1e-60], [5e-61])
    found = predict_fates(system.state(1e-200, 1e-200, 1e-200), system)
    assert found.fate[0] == "learned"
    assert found.predictor[0] == 0.5


def test_a_saddle_node_that_is_no_float_decides_nothing_wrongly() -> None:
    # η* = λd²/(4 τo λs) = 6e-402
    system = ModeSystem([1e-200], [5e-201], tau_online=1e200, weight_decay=1e-300)
    assert predict_fates(system.state(0.5, 0.5, 0.5), system).reason[0] == "R15: η > η*"
    # η* = 6e+398
    system = ModeSystem([1e200], [5e199], tau_online=1e-200, weight_decay=1.0)
    found = predict_fates(system.state(0.5, 0.5, 0.5), system)
    assert found.fate[0] == ""
