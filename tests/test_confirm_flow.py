"""C1 and C5: steps follow the flow and keep its balance; each experiment fails when the theory it tests is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.experiments import Effort, balance, flow_limit
from analysis.experiments.runs import (
    Estimate,
    clocked,
    flat,
    flow_end,
    length_of_mean,
    log_slope,
    mean_of,
    student,
)
from dynamics.fields.matrices import full_field
from dynamics.integration.integrate import integrate
from dynamics.invariants import balance_matrix
from dynamics.states import MatrixState, random_state
from dynamics.system import MatrixSystem
from dynamics.training import Flow, ObjectiveSettings, TrainingSettings, flow_of, load_data

QUICK = Effort(quick=True)
START = random_state(4, 3, scale_online=0.5, scale_predictor=0.5, seed=0)


def gaussian_flow() -> Flow:
    settings = flow_limit.exact_settings(flow_limit.gaussian_moments(), 3)
    return flow_of(clocked(settings, 0.1, 1, tau_target=1.0), flow_limit.gaussian_moments())


def exact_case() -> flow_limit.Case:
    settings = flow_limit.exact_settings(flow_limit.gaussian_moments(), 3)
    data = load_data(settings.data, n_evaluation=16)
    return flow_limit.Case("exact", settings, data, 1, 4.0, (40, 80, 160, 320, 640))


# --- what the experiments share -------------------------------------------------------------------------------


@pytest.mark.parametrize("halved", [False, True])
def test_clocked_settings_keep_the_clock_of_the_flow(halved):
    settings = flow_limit.exact_settings(flow_limit.gaussian_moments(), 3)
    settings = TrainingSettings(data=settings.data, batch=None, objective=ObjectiveSettings(halved=halved))
    flow = flow_of(
        clocked(settings, 0.05, 7, tau_target=2.0, weight_decay=0.3), flow_limit.gaussian_moments()
    )
    system = flow.system
    assert_allclose([flow.dt, system.tau_target, system.weight_decay], [0.05, 2.0, 0.3], rtol=1e-12)


def test_the_end_of_the_flow_is_that_of_the_integrator():
    flow = gaussian_flow()
    other = integrate(START, flow.system, flow.vector_field, 4.0, rtol=1e-10, atol=1e-12).final
    found = flow_end(START, flow, 4.0)
    for part, expected in zip(found, other, strict=True):
        assert_allclose(part, expected, rtol=0, atol=1e-7)  # ten times the tolerances of both


def test_the_length_of_a_mean_is_that_of_its_expectation():
    rng = np.random.default_rng(0)
    direction = 0.05 * np.eye(400)[3]
    # chance alone makes a mean of 400 samples as long as 0.1 √(400/400) = 0.1
    found = length_of_mean(direction + 0.1 * rng.standard_normal((400, 400)))
    assert found.error == pytest.approx(0.1 / 20, rel=0.2)
    assert (
        abs(found.value - 0.05) <= 4 * found.error
    )  # chance breaks it once in 10^4 seeds; this seed is fixed
    single = length_of_mean(direction[None])
    assert (single.value, single.error) == (pytest.approx(0.05), 0.0)


def test_slopes_and_their_errors_are_those_of_weighted_least_squares():
    x = np.array([1.0, 2.0, 4.0, 8.0])
    exact = log_slope(x, Estimate(3 * x**1.5, np.zeros(4)))
    assert (exact.value, exact.error) == (pytest.approx(1.5), 0.0)
    rng = np.random.default_rng(1)
    sigma = np.array([0.01, 0.02, 0.04, 0.08])
    slopes = [
        log_slope(x, Estimate(x * np.exp(sigma * rng.standard_normal(4)), sigma * x)) for _ in range(400)
    ]
    spread = np.std([slope.value for slope in slopes])
    assert spread == pytest.approx(np.mean([slope.error for slope in slopes]), rel=0.15)  # 400 draws: 4 %
    assert np.isnan(log_slope(x, Estimate(x - 1, np.zeros(4))).value)


def test_intervals_are_those_of_student():
    assert student(1) == 0.0
    assert student(10**6) == pytest.approx(3.29, abs=0.01)
    rng = np.random.default_rng(2)
    means = [mean_of(rng.standard_normal(5)) for _ in range(2000)]
    outside = sum(abs(mean.value) > student(5) * mean.error for mean in means)
    assert outside <= 9  # 2 expected of 2,000


# --- C1 ------------------------------------------------------------------------------------------------------


def test_the_error_on_exact_moments_is_proportional_to_the_step():
    measurement, curves = flow_limit.followed(exact_case(), QUICK)
    assert measurement.holds
    assert {curve.kind for curve in curves} == {"theory", "training"}


def test_another_flow_is_not_approached(monkeypatch):
    def slower(settings, moments):
        flow = flow_of(settings, moments)
        system = flow.system
        return flow._replace(system=MatrixSystem(system.sigma_s, system.sigma_d, tau_predictor=1.1))

    monkeypatch.setattr(flow_limit, "flow_of", slower)
    assert not flow_limit.followed(exact_case(), QUICK)[0].holds


@pytest.mark.parametrize(("name", "form", "factor"), flow_limit.FORMS)
def test_a_step_takes_the_time_of_its_loss(name, form, factor):
    assert flow_limit.step_factor(form, 3) == pytest.approx(factor, abs=1e-9)


def test_another_field_gives_another_time(monkeypatch):
    monkeypatch.setattr(
        flow_limit,
        "full_field",
        lambda t, state, system: full_field(t, state._replace(target=0.9 * state.target), system),
    )
    assert abs(flow_limit.step_factor(ObjectiveSettings(), 3) - 4) > 1e-3


# --- C5 ------------------------------------------------------------------------------------------------------


def test_the_drift_of_one_step_is_the_rate():
    flow = gaussian_flow()
    dt, system = 0.01, flow.system
    slope = full_field(0.0, START, system)
    stepped = MatrixState(*(part + dt * change for part, change in zip(START, slope, strict=True)))
    change = balance_matrix(stepped, system) - balance_matrix(START, system)
    # C is quadratic and constant along the flow, so that only the square of the step is left
    assert_allclose(change, dt**2 * balance.drift_rate(START, system), rtol=0, atol=1e-15)


def test_the_balance_drifts_by_its_integral():
    assert all(measurement.holds for measurement in balance.drift(0)[0])


def test_a_drift_of_the_wrong_sign_is_seen(monkeypatch):
    rate = balance.drift_rate
    monkeypatch.setattr(balance, "drift_rate", lambda state, system: -rate(state, system))
    assert [m.holds for m in balance.drift(0)[0]] == [True, False]


def test_ranks_are_kept_and_lost_as_predicted():
    assert balance.floor(10, 0).holds
    lost, _ = balance.lost(10, 0)
    assert lost.holds
    assert 0 < float(lost.measured) < 10 * balance.N2
    assert float(lost.tolerance) < balance.N2  # few lie within the error of a step of the border


def test_a_floor_too_high_and_a_flow_that_stands_still_are_seen(monkeypatch):
    floor = balance.eigenvalue_floor
    monkeypatch.setattr(balance, "eigenvalue_floor", lambda *arguments: 10 * floor(*arguments))
    assert not balance.floor(10, 0).holds
    monkeypatch.setattr(balance, "flow_end", lambda state, flow, t_end: state)
    assert not balance.lost(10, 0)[0].holds


def test_weights_are_put_in_one_row_a_run():
    state = MatrixState(np.ones((2, 3, 4)), np.zeros((2, 3, 3)), np.ones((2, 3, 4)))
    assert flat(state).shape == (2, 33)
    assert flat(state).sum() == 48


def test_starts_are_all_different_and_no_two_seeds_share_one() -> None:
    starts = [balance._starts(3, scale_online=0.3, scale_predictor=1.0, seed=seed) for seed in (0, 1)]
    online = np.concatenate([start.online for start in starts])
    assert len(np.unique(online.reshape(6, -1), axis=0)) == 6
