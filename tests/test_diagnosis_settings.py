"""Learning rate, batch and target in a diagnosis: critical rates are where steps diverge, wear is what noise does."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from test_diagnosis import trained

from analysis.runs.causes import find_causes
from analysis.runs.diagnosis import FeatureDiagnosis, diagnose
from analysis.runs.directions import layer_directions
from analysis.runs.finite_steps import Rows, critical_rates, noise_boundary, wear_steps
from analysis.runs.run_settings import RunSettings
from dynamics.data.dumps import Dump, checked_dump, moments_of_views
from dynamics.data.moments import Moments
from dynamics.exact.balancing import balancing_law
from dynamics.system import ModeSystem


def views_of(seed: int, mean: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Views of two features, of sizes 3 and 1 and ratios near .8 and .5, with the same mean of both views."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4000, 2))
    noise = rng.normal(size=(2, 4000, 2)) * [0.5, 1.0]
    views = (x + noise) * [3.0, 1.0]
    views = views - views.mean(axis=1, keepdims=True) + mean
    return views[0], views[1]


def rest_of(view1: np.ndarray, view2: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Balanced rest with a symmetric M, W and P of the modes, and the moments as they are."""
    sigma_s = (view1.T @ view1 + view2.T @ view2) / (2 * len(view1))
    sigma_d = (view1.T @ view2 + view2.T @ view1) / (2 * len(view1))
    ratio, directions = np.linalg.eig(np.linalg.solve(sigma_s, sigma_d))
    W = directions.T / np.linalg.norm(directions, axis=0)[:, None] * ratio[:, None]
    return W, np.diag(ratio), sigma_s, sigma_d


def distance_after_steps(rate: float, seed: int, mean: float, decay: float, factor: float) -> float:
    """How far gradient steps lead away from rest, relative to a first deviation."""
    W, P, sigma_s, sigma_d = rest_of(*views_of(seed, mean))
    rng = np.random.default_rng(0)
    at, first = (W, P), 1e-9 * rng.normal(size=W.shape)
    W, Th = W + first, W.copy()
    for _ in range(4000):
        E = Th @ sigma_d - P @ W @ sigma_s
        W, P = W + rate * factor * P.T @ E, P + rate * factor * E @ W.T
        Th = decay * Th + (1 - decay) * W
        if not np.all(np.isfinite(W)) or np.max(np.abs(W - at[0])) > 1:
            return np.inf
    return float(np.linalg.norm(W - at[0]) / np.linalg.norm(first))


@pytest.mark.parametrize(("decay", "factor"), [(0.0, 1.0), (0.9, 2.0), (1.0, 4.0)])
@pytest.mark.parametrize("seed", [301, 302])
def test_the_critical_rate_is_where_gradient_steps_leave_rest(seed, decay, factor):
    """Two rows, a mode each: below the rate a deviation of 1e-9 stays small, above it grows a million times."""
    view1, view2 = views_of(seed)
    W, P, *_ = rest_of(view1, view2)
    settings = RunSettings(decay=decay, loss_factor=factor)
    found = diagnose(Dump(view1, view2, W, P), settings)
    # modes of 4000 samples overlap by 1/√4000, which shifts curvatures in second order: far below 3 %
    rate = float(np.min(found.directions.critical_rate))
    assert distance_after_steps(0.97 * rate, seed, 0.0, decay, factor) < 100
    assert distance_after_steps(1.03 * rate, seed, 0.0, decay, factor) > 1e6


def test_the_mean_of_the_inputs_lowers_the_critical_rate_of_every_row():
    """A row sees the mean with curvature ‖mean‖² p², whether or not it holds it."""
    moments = Moments.from_eigenvalues([1.0, 0.5], [0.8, 0.2])
    rows = Rows(np.array([0.8, 0.4]), np.array([0.8, 0.4]), np.array([1.0, 0.5]), np.array([0.8, 0.4]))
    far, settings = np.array([0.0, 10.0]), RunSettings()
    shifted = critical_rates(rows, np.zeros((2, 2)), far, moments, settings, 1.0)
    # λ of the second input is .5 + 100; h = 0 leaves A = λ p²
    assert_allclose(shifted, 2 / (100.5 * rows.predictor**2), rtol=1e-12)
    assert np.all(shifted < critical_rates(rows, np.zeros((2, 2)), np.zeros(2), moments, settings, 1.0))


def test_units_of_the_inputs_and_of_the_loss_drop_out():
    view1, view2 = views_of(303)
    W, P, *_ = rest_of(view1, view2)
    plain = diagnose(Dump(view1, view2, W, P), RunSettings(learning_rate=0.01, batch=8)).directions
    tiny = diagnose(
        Dump(1e-30 * view1, 1e-30 * view2, W, P), RunSettings(learning_rate=0.01e60, batch=8)
    ).directions
    assert_allclose(tiny.critical_rate, 1e60 * plain.critical_rate, rtol=1e-9)
    assert_allclose(tiny.wear_steps, plain.wear_steps, rtol=1e-9)
    doubled = diagnose(
        Dump(view1, view2, W, P), RunSettings(learning_rate=0.005, batch=8, loss_factor=2)
    ).directions
    assert_allclose(doubled.critical_rate, plain.critical_rate / 2, rtol=1e-12)
    assert_allclose(doubled.wear_steps, plain.wear_steps, rtol=1e-12)


def test_steps_that_are_too_long_are_a_cause_and_what_they_cannot_explain_is_not():
    run = checked_dump(trained(304, "negative"))
    settled = diagnose(run, RunSettings(learning_rate=0.1))
    assert [cause.result for cause in settled.causes] == ["R6"]
    rates = settled.directions.critical_rate
    long = diagnose(run, RunSettings(learning_rate=2 * float(np.max(rates))))
    (cause,) = long.causes
    assert (cause.knob, cause.result, cause.directions) == ("learning-rate", "R303", 4)
    assert cause.threshold is not None
    assert cause.value is not None
    assert cause.value > cause.threshold
    assert_allclose(cause.threshold, np.max(rates))


def test_what_is_held_and_cannot_rest_is_said():
    run = checked_dump(trained(307))
    least = float(np.min(diagnose(run).directions.critical_rate))
    assert diagnose(run, RunSettings(learning_rate=0.99 * least)).verdict == "healthy"
    found = diagnose(run, RunSettings(learning_rate=1.01 * least))
    assert found.verdict == "cannot-tell"
    assert found.reason.endswith("but 1 direction is unstable at this learning rate")
    assert [(cause.knob, cause.result, cause.directions) for cause in found.causes] == [
        ("learning-rate", "R303", 1)
    ]


@pytest.mark.parametrize(("margin", "decided"), [(-0.02, False), (-0.05, True)])
def test_a_margin_within_the_error_of_the_ratio_decides_nothing(margin, decided):
    """r = .5 ± .04 (1 − r²) blurs τp r² by 2 (.5)(.04)(.75) = .03; the sign of p is not blurred."""
    moments, views = Moments.from_eigenvalues([1.0], [0.5]), np.zeros((3, 1))
    p = np.sqrt(0.2**2 + 0.5**2 - margin)
    dump = Dump(views, views, np.array([[0.2]]), np.array([[p]]))
    found = layer_directions(dump, moments, RunSettings(), 1.0, error=0.04)
    assert_allclose(found.margin, margin, atol=1e-12)
    assert (found.predicted[0] == "collapsed") == decided
    negative = layer_directions(
        dump._replace(predictor=np.array([[-0.201]])), moments, RunSettings(), 1.0, error=0.04
    )
    assert negative.predicted[0] == "collapsed"


def test_wear_is_the_time_in_which_the_balancing_law_ends():
    """c(t) of R307 falls by e in as many steps, once it is small."""
    rows = Rows(*(np.array([value]) for value in (0.5, 0.5, 2.0, 0.5)))
    settings = RunSettings(learning_rate=0.01, batch=16, predictor_rate=4.0, loss_factor=2.0)
    (steps,) = wear_steps(rows, settings, 3.0)
    step = 0.01 * 2 * 9
    system = ModeSystem(2.0, 1.0, tau_predictor=0.25)
    after = [balancing_law(step * n * steps, 1e-6, system, step, 16) for n in (0, 1)]
    assert_allclose(after[1] / after[0], np.exp(-1), rtol=1e-4)  # c/q = 1.6e-5 is left out
    assert np.all(np.isnan(wear_steps(rows, RunSettings(learning_rate=0.01), 1.0)))
    same = rows._replace(ratio=np.ones(1))
    assert np.all(np.isinf(wear_steps(same, settings, 1.0)))


def test_small_rows_near_r_die_on_batches():
    """Between r − εr(λs² − λd²)/(2Bλs) and r, and only there, R309 has the typical run die."""
    moments = Moments.from_eigenvalues([1.0], [0.5])
    settings = RunSettings(learning_rate=0.1, batch=2)
    rows = Rows(*(np.array([value]) for value in (0.5, 0.0, 1.0, 0.5)))
    assert_allclose(noise_boundary(rows, settings, 1.0), 0.5 - 0.1 * 0.5 * 0.75 / 4)
    for p, named in ((0.495, True), (0.485, False)):
        dump = Dump(np.zeros((3, 1)), np.zeros((3, 1)), np.array([[1e-3]]), np.array([[p]]))
        found = layer_directions(dump, moments, settings, 1.0)
        causes = find_causes(found, dump, settings, 0.0)
        assert ("R309" in [cause.result for cause in causes]) == named


def test_wear_is_named_where_something_is_held_and_something_lost():
    run = checked_dump(trained(305, "negative"))
    assert "batch" not in [c.knob for c in diagnose(run, RunSettings(learning_rate=0.1)).causes]
    found = diagnose(run, RunSettings(learning_rate=0.1, batch=32))
    (cause,) = [c for c in found.causes if c.knob == "batch"]
    assert (cause.result, cause.directions) == ("R307", 0)
    held = found.directions.fate == "learned"
    assert f"{np.min(found.directions.wear_steps[held]):.3g} steps" in cause.advice
    assert np.all(np.isnan(found.directions.wear_steps[~held]))


def _limits_with(found: FeatureDiagnosis, text: str) -> bool:
    return any(text in limit for limit in found.limits)


def test_a_target_that_never_moves_and_one_that_is_the_online_layer_are_told_from_the_file():
    run = trained(306)
    moments = moments_of_views(run["view1"], run["view2"])
    fixed = np.random.default_rng(306).normal(size=run["online"].shape)
    P = np.diag([0.9, 0.8, 0.7, 0.6])
    resting = run | {"online": np.linalg.solve(P, fixed @ moments.sigma_d @ np.linalg.inv(moments.sigma_s))}
    resting |= {"predictor": P, "target": fixed}
    told = diagnose(checked_dump(resting))
    assert _limits_with(told, "as if the target never moved (R13)")
    assert not _limits_with(diagnose(checked_dump(resting), RunSettings(decay=1.0)), "never moved")
    assert _limits_with(diagnose(checked_dump(run | {"target": run["online"]})), "target equals online")
    early = diagnose(checked_dump(trained(306, steps=20)))
    assert not _limits_with(early, "target")


def test_a_fixed_target_that_is_large_carries_a_small_row_with_it():
    """w1 w2 → θ r (R13): with θ = 1 a row of 1e-4 is learned, with θ = 0 it stays where it is."""
    moments = Moments.from_eigenvalues([1.0, 1.0], [0.5, 0.4])
    views = np.zeros((3, 2))
    online, predictor = np.diag([0.5, 1e-4]), np.diag([0.5, 0.3])
    for theta, end in ((1.0, "learned"), (0.0, "collapsed")):
        dump = Dump(views, views, online, predictor, np.diag([0.5, theta]))
        found = layer_directions(dump, moments, RunSettings(decay=1.0), 1.0)
        assert found.predicted[-1] == end


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.0}, "`learning_rate` must be finite and > 0"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be finite and > 0"),
        ({"batch": 0}, "`batch` must be an integer >= 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RunSettings(**settings)
