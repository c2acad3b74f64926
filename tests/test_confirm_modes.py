"""C2, C3, C6, C12: fates, collapse, thresholds and times; each fails when the theory it tests is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.experiments import collapse, fate_map, stepwise, weight_decay
from analysis.fates.predictions import predict_fates
from dynamics.exact.fixed_points import saddle_node
from dynamics.exact.no_ema import no_ema_time
from dynamics.exact.no_predictor import no_predictor_matrix_solution
from dynamics.fields.modes import full_mode_field
from dynamics.integration.integrate import integrate
from dynamics.states import ModeState, random_state
from dynamics.system import MatrixSystem, ModeSystem

# --- C2 ------------------------------------------------------------------------------------------------------


def test_fates_of_trained_networks_are_those_of_the_map():
    outcome = fate_map.mapped(20, 0.1)
    assert [m.name for m in outcome.measurements if not m.holds] == []


def test_a_border_in_the_wrong_place_is_seen(monkeypatch):
    def too_high(state, system):
        """The border c = 0 for all starts, as if R6 did not know that w2 > 0 can be rescued."""
        prediction = predict_fates(state, system)
        c = state.online**2 - state.predictor**2
        return prediction._replace(fate=np.where(c <= 0, "collapsed", "learned"))

    monkeypatch.setattr(fate_map, "predict_fates", too_high)
    outcome = fate_map.mapped(20, 0.1)
    assert [m.holds for m in outcome.measurements] == [False, False, True]


def test_a_drift_of_the_wrong_size_is_seen(monkeypatch):
    rate = fate_map.drift_rate
    monkeypatch.setattr(fate_map, "drift_rate", lambda state, system: 1.1 * rate(state, system))
    assert not fate_map.mapped(20, 0.1).measurements[2].holds


def test_noise_of_a_batch_is_bounded_by_that_of_one_view():
    """The variance of the gradient of Gaussian samples, by brute force."""
    rng = np.random.default_rng(0)
    system, state = ModeSystem(1.0, 0.5), ModeState(np.array([0.7]), np.array([-0.4]), np.array([0.3]))
    shared = np.sqrt(0.5) * rng.standard_normal(10**6)
    x1, x2 = shared + np.sqrt(0.5) * rng.standard_normal((2, 10**6))
    one = (0.3 * x2 + 0.28 * x1) * x1
    size = abs(0.4**2 - 0.7**2)
    expected = fate_map.noise_rate(state, system, 1)[0] / size
    assert np.var(one) == pytest.approx(
        expected, rel=0.02
    )  # fourth moments of 10^6 normals: a few thousandths
    assert np.var((one + (0.3 * x1 + 0.28 * x2) * x2) / 2) < expected


def test_fates_in_noisy_batches_are_those_of_the_map(monkeypatch):
    assert fate_map.noisy_agreement(12, 0.1, 300.0, 16, 0).holds

    def mirrored(state, system):
        return predict_fates(state._replace(predictor=-state.predictor), system)

    monkeypatch.setattr(fate_map, "predict_fates", mirrored)
    assert not fate_map.noisy_agreement(12, 0.1, 300.0, 16, 0).holds


# --- C3 ------------------------------------------------------------------------------------------------------


def test_what_is_left_without_predictor_follows_the_exponential():
    measurements, _ = collapse.no_predictor(8, (50, 200), 0)
    assert [m.name for m in measurements if not m.holds] == []


def test_another_target_time_is_seen(monkeypatch):
    def slower(ts, state, system):
        return no_predictor_matrix_solution(ts, state, replace(system, tau_target=0.6))

    monkeypatch.setattr(collapse, "no_predictor_matrix_solution", slower)
    assert not all(m.holds for m in collapse.no_predictor(8, (50, 200), 0)[0])


def test_the_mean_of_steps_approaches_the_flow():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3, 3))
    system = MatrixSystem(A @ A.T + np.eye(3), A @ A.T, tau_target=0.5)
    start = random_state(3, 2, scale_online=1.0, scale_predictor=1.0, seed=1)
    exact = no_predictor_matrix_solution(1.0, start, system).online
    errors = [np.linalg.norm(collapse.euler_mean(start, system, 1 / k, k) - exact) for k in (2000, 4000)]
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.01)  # first order; the second is a thousandth


def test_the_effective_rank_counts_equal_directions():
    W = np.vstack([np.eye(3), np.zeros((1, 3))])
    assert collapse.effective_rank(W, np.eye(3)) == pytest.approx(3.0)
    assert collapse.effective_rank(W, np.diag([1.0, 1.0, 0.0])) == pytest.approx(2.0)


@pytest.mark.parametrize(("what", "name"), [("no stop-gradient", "MLP"), ("no predictor", "linear")])
def test_the_last_layer_shrinks_by_the_loss(what, name):
    settings = replace(collapse.without(what, 20), encoder=collapse.ENCODERS[name])
    assert collapse.last_layer(what, name, settings, 0)[0].holds


def test_another_rate_of_shrinking_is_seen(monkeypatch):
    monkeypatch.setattr(collapse, "SHRINKAGE", 3.5)
    settings = collapse.without("no stop-gradient", 20)
    assert not collapse.last_layer("no stop-gradient", "linear", settings, 0)[0].holds


def test_a_run_with_stop_gradient_does_not_obey_the_law_without():
    open_gradient = collapse.without("no stop-gradient", 20)
    stopped = replace(open_gradient, objective=replace(open_gradient.objective, stop_gradient=True))
    assert not collapse.last_layer("stopped", "linear", stopped, 0)[0].holds


# --- C6 ------------------------------------------------------------------------------------------------------


def test_thresholds_of_weight_decay_are_saddle_nodes():
    measurements, _ = weight_decay.exact_thresholds(8, 600.0, 0)
    assert [m.name for m in measurements if not m.holds] == []
    assert all(m.tolerance <= 0.02 for m in measurements)


def test_another_saddle_node_is_seen(monkeypatch):
    monkeypatch.setattr(weight_decay, "saddle_node", lambda system: 1.02 * saddle_node(system))
    assert not any(m.holds for m in weight_decay.exact_thresholds(8, 600.0, 0)[0])


def test_a_threshold_lies_between_the_last_alive_and_the_first_dead():
    decays = np.array([1.0, 2.0, 3.0, 4.0])
    assert weight_decay.threshold(decays, np.array([True, True, False, True])) == 2.5
    assert np.isnan(weight_decay.threshold(decays, np.array([True] * 4)))
    assert np.isnan(weight_decay.threshold(decays, np.array([False, True, True, True])))


def test_the_bottleneck_holds_as_long_as_the_flow_says():
    """At η* + shift(t) a mode passes p* at the time t, to the order at which the passage is long."""
    t = 1500.0
    system = ModeSystem(1.0, 0.5)
    eta = saddle_node(system) + weight_decay.bottleneck_shift(system, t)
    decayed = replace(system, weight_decay=float(eta[0]))
    path = integrate(
        decayed.state(0.5, 0.5, 0.5), decayed, full_mode_field, ts=np.linspace(0, 2 * t, 1001), rtol=1e-6
    )
    gone = path.ts[np.argmax(path.states.online[:, 0] < 0.02)]
    assert gone == pytest.approx(
        t, rel=0.05
    )  # entry and exit take about 1/(λs p*² ) = 16 each, and a few times that


# --- C12 -----------------------------------------------------------------------------------------------------


def test_modes_are_learned_at_the_times_of_the_exact_solution():
    measurements, curves = stepwise.timed(stepwise.exact_case(), 0)
    assert [m.name for m in measurements if not m.holds] == []
    assert len(curves) == 8


def test_times_off_by_a_hundredth_are_seen(monkeypatch):
    monkeypatch.setattr(stepwise, "no_ema_time", lambda *arguments: 1.01 * no_ema_time(*arguments))
    measurements, _ = stepwise.timed(stepwise.exact_case(), 0)
    assert [m.holds for m in measurements] == [True, False, False, False, False]


def test_another_order_is_seen(monkeypatch):
    monkeypatch.setattr(stepwise, "no_ema_time", lambda *arguments: no_ema_time(*arguments)[::-1].copy())
    assert not stepwise.timed(stepwise.exact_case(), 0)[0][0].holds


def test_crossings_are_interpolated_and_missing_ones_are_no_numbers():
    ts = np.array([0.0, 1.0, 2.0, 3.0])
    paths = np.stack([ts**2, 0 * ts], axis=1)[None]
    found = stepwise.crossing_times(ts, paths, np.array([2.5, 1.0]))
    assert_allclose(found, [[1.5, np.nan]])


def test_weight_decays_are_swept_on_both_sides_of_the_threshold_of_each_mode() -> None:
    system = ModeSystem([1.0, 1.0], [0.5, 0.8])
    swept = weight_decay._swept(system, 21, 0.3)
    assert_allclose(swept[:, [0, -1]] / saddle_node(system)[:, None], [[0.7, 1.27]] * 2, rtol=1e-12)
