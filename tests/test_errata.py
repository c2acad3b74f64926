"""Numbers behind the errata: each truth by a second route, each printed claim as it is printed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

from analysis.results.linear.errata import amplitude_stability, ema_paths, origin_fates, scrambled_ratios
from analysis.stability.jacobian import dense_jacobian
from dynamics.data.augmentations import Scramble
from dynamics.system import MatrixSystem, ModeSystem


def test_scrambled_ratios_are_printed_as_claimed_and_true_as_measured() -> None:
    n, k, seed = 5, 2, 3
    found = scrambled_ratios(n, k, n_samples=20000, seed=seed)
    factor = np.random.default_rng(seed).standard_normal((n, n)) / np.sqrt(n) + np.eye(n)
    sigma_x, U = factor @ factor.T, Scramble(k, seed).basis(n)
    Pc = np.eye(n) - U @ U.T
    printed = np.linalg.eigvals(Pc @ sigma_x @ Pc @ np.linalg.inv(sigma_x))
    assert_allclose(found.printed, np.sort(printed.real)[::-1], atol=1e-12)
    assert found.printed[0] > 1.1  # which no views have
    assert_allclose(found.corrected, [1, 1, 1, 0, 0], atol=1e-12)
    # B z has fourth moments of 3 to 9 times the squared second one: errors of 3/√N, and room
    assert_allclose(found.measured, found.corrected, atol=10 / np.sqrt(20000))


@pytest.mark.parametrize("k", [0, 5])
def test_all_or_nothing_cannot_be_scrambled(k: int) -> None:
    with pytest.raises(ValueError, match=f"`k` must be > 0 and < n = 5, got {k}"):
        scrambled_ratios(5, k, n_samples=10)


def test_the_moving_average_grows_with_plus_and_decays_with_minus() -> None:
    alpha, eta, gain, n = 0.3, 0.2, 0.5, 80
    found = ema_paths(alpha, eta, gain, n)
    for sign, path in ((-1, found.printed), (1, found.corrected)):
        step = np.array([[1 - alpha, alpha * (1 + sign * gain)], [eta, 1 - eta]])
        powers = [np.linalg.matrix_power(step, t)[0, 0] for t in range(n + 1)]
        assert_allclose(path, powers, rtol=1e-12)
    assert found.printed[-1] < 1e-2 < 1 < found.corrected[-1]
    # what is left of the other root falls by (1 − α − η − κ)/(1 + κ) = 0.42 a step
    assert_allclose(found.claimed[40:], found.corrected[40:], rtol=1e-12)
    assert_allclose(found.claimed[1:] / found.claimed[:-1], 1 + found.rate, rtol=1e-13)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gain": -0.1}, "`gain` must be >= 0, got -0.1"),
        ({"gain": np.nan}, "`gain` must be >= 0, got nan"),
        ({"n_steps": 0}, "`n_steps` must be an integer >= 1, got 0"),
        ({"learning_rate": 0.0}, r"`learning_rate` must be in \(0, 1\], got 0"),
    ],
)
def test_bad_recurrences_are_refused(settings: dict[str, float], message: str) -> None:
    good = {"learning_rate": 0.3, "target_rate": 0.2, "gain": 0.5, "n_steps": 10}
    with pytest.raises(ValueError, match=message):
        ema_paths(**{**good, **settings})


def test_starts_near_the_origin_do_what_is_said_of_them() -> None:
    found = origin_fates(ModeSystem(1.0, 0.5), 0.25, 16)
    assert_allclose(np.hypot(found.online[0], found.predictor[0]), 0.25, rtol=1e-14)

    def flow(t: float, x: np.ndarray) -> list[float]:
        w1, w2, th = x
        e = th * 0.5 - w2 * w1
        return [w2 * e, w1 * e, w1 - th]

    for w1, w2, end, fate in zip(
        found.online[0], found.predictor[0], found.online[-1], found.fates, strict=True
    ):
        run = solve_ivp(flow, (0, 200), [w1, w2, w1], rtol=1e-9, atol=1e-12)
        assert_allclose(run.y[0, -1], end, atol=1e-5)
        assert (abs(end) < 0.1) == (fate == "collapsed")
    assert found.share_collapsed == 0.25


def test_time_constants_decide_how_many_starts_collapse() -> None:
    # w2 < 0 and τo w1² <= τp w2²: |angle from −w2| <= atan √(τp/τo), of a circle
    found = origin_fates(ModeSystem(1.0, 0.5, tau_predictor=3.0), 0.1, 360)
    assert_allclose(found.share_collapsed, np.arctan(np.sqrt(3.0)) / np.pi, atol=1 / 360)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ModeSystem([1.0, 1.0], [0.5, 0.2]), 0.1, 4), "`system` must have one mode, got 2"),
        ((ModeSystem(1.0, 0.5), 0.0, 4), "`radius` must be finite and > 0, got 0.0"),
        ((ModeSystem(1.0, 0.5), 0.1, 0), "`n_starts` must be an integer >= 1, got 0"),
    ],
)
def test_bad_circles_are_refused(arguments: tuple[ModeSystem, float, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        origin_fates(*arguments)


@pytest.mark.parametrize("rates", [{}, {"tau_online": 2.0, "tau_predictor": 0.5, "tau_target": 3.0}])
def test_top_modes_are_unstable_at_small_amplitudes(rates: dict[str, float]) -> None:
    r = np.array([0.9, 0.45])
    found = amplitude_stability(ModeSystem(np.ones(2), r, **rates), 41)
    system = MatrixSystem(np.ones(2), r, **rates)
    for w, leading in zip(found.amplitudes[1::4], found.leading[1::4], strict=True):
        state = system.state(np.diag([w, r[1]]), np.diag(r))
        largest = np.max(np.linalg.eigvals(dense_jacobian(state, system)).real)
        # four zeros are forced, and one of two that coincide is found to the root of rounding
        assert_allclose(largest, max(leading, 0.0), atol=1e-7)
        assert (leading > 0) == (w < found.border)
    assert found.balanced > found.border


@pytest.mark.parametrize("ratios", [[0.5], [0.4, 0.5], [0.5, 0.0]])
def test_amplitudes_ask_for_two_modes_in_order(ratios: list[float]) -> None:
    with pytest.raises(ValueError, match="`system` must have two modes with r_0 > r_1 > 0, got ratios"):
        amplitude_stability(ModeSystem(np.ones(len(ratios)), ratios))


def test_one_amplitude_is_too_few() -> None:
    with pytest.raises(ValueError, match="`n_amplitudes` must be an integer >= 2, got 1"):
        amplitude_stability(ModeSystem([1.0, 1.0], [0.9, 0.45]), 1)
