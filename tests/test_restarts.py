"""The moving average's recursion and restarts of the predictor: numbers of the source, runs, refusals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from analysis.fates.restarts import collapse_fraction, death_probability, survives_for_ever
from analysis.runs.restarts import Restarts, restarted_matrices, restarted_modes
from dynamics.exact.ema_recurrence import critical_damping, ema_rates, ema_solution, transient_gain
from dynamics.exact.restarts import LAWS, RestartLaw, restart_map
from dynamics.fields.matrices import full_field, symmetric_predictor_field
from dynamics.fields.modes import full_mode_field
from dynamics.integration.integrate import integrate
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem, ModeSystem
from dynamics.variants import FIELDS, MODE_FIELDS

# --- the moving average -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eta", "rate", "from_online", "from_zero"),
    [(0.004, 0.003714, 1.864, 0.069), (0.1, 0.041421, 1.207, 0.500), (1.0, 0.084429, 1.012, 0.855)],
)
def test_the_numbers_of_r223(eta: float, rate: float, from_online: float, from_zero: float) -> None:
    assert_allclose(complex(ema_rates(0.1, eta, 1.0).larger), rate, atol=5e-7)
    assert_allclose(transient_gain(0.1, eta, 1.0), from_online, atol=5e-4)
    assert_allclose(transient_gain(0.1, eta, 1.0, target=0.0), from_zero, atol=6e-4)


def test_the_fastest_decay_of_a_reversed_predictor_against_a_grid() -> None:
    found = critical_damping(0.1, 0.3)
    grid = np.linspace(1e-3, 1.0, 20_001)
    decay = -ema_rates(0.1, grid, -1.3).larger.real
    # the maximum is a cusp: the grid misses it by at most its spacing times the slope on the steep side
    best = int(np.argmax(decay))
    assert abs(grid[best] - found.target_rate) <= grid[1] - grid[0]
    assert 0 <= found.rate - decay[best] < 0.05 * found.rate
    spirals = ema_rates(0.1, grid, -1.3).larger.imag > 0
    inside = (grid > found.spirals[0]) & (grid < found.spirals[1])
    assert np.all(spirals == inside)


def test_a_double_root_is_solved_by_powers() -> None:
    found = critical_damping(0.05, 0.3)
    steps = np.array([[0, 1], [7, 40]])
    w, v = ema_solution(steps, 1.0, -0.5, 0.05, found.target_rate, -1.3)
    near, _ = ema_solution(steps, 1.0, -0.5, 0.05, found.target_rate * (1 + 1e-3), -1.3)
    assert w.shape == v.shape == (2, 2)
    assert_allclose((w[0, 0], v[0, 0]), (1.0, -0.5))
    assert_allclose(w, near, atol=2e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ema_rates(0.0, 0.1, 1.0), r"`learning_rate` must be in \(0, 1\], got 0.0"),
        (lambda: ema_solution(1.5, 1, 1, 0.1, 0.1, 1), "`steps` must be integers >= 0, got 1.5"),
        (lambda: ema_solution(-1, 1, 1, 0.1, 0.1, 1), "`steps` must be integers >= 0, got -1"),
        (lambda: critical_damping(0.1, 0.0), "`reversal` must be finite and > 0, got 0.0"),
        (lambda: transient_gain(0.1, 0.1, -1.5), "`gain` must be > "),
        (lambda: RestartLaw(0.0), "`scale` must be finite and > 0, got 0.0"),
        (
            lambda: RestartLaw(1.0, "laplace"),
            "`kind` must be one of uniform, positive, normal, got 'laplace'",
        ),
        (lambda: restart_map(-1.0, 0.1, 0.5), "`x` must be finite and >= 0"),
        (lambda: restart_map(1.0, 0.1, -0.5), "`ratio` must be finite and >= 0"),
        (lambda: restart_map(1.0, np.nan, 0.5), "`predictor` must be finite"),
        (
            lambda: collapse_fraction(0.1, 0.5, RestartLaw(1.0), -1),
            "`restarts` must be an integer >= 0, got -1",
        ),
        (lambda: collapse_fraction(-0.1, 0.5, RestartLaw(1.0), 1), "`x` must be finite and >= 0, got -0.1"),
        (lambda: survives_for_ever(np.inf, RestartLaw(1.0)), "`ratio` must be finite and >= 0"),
        (lambda: Restarts(0.0, RestartLaw(1.0)), "`restart_every` must be finite and > 0, got 0.0"),
        (lambda: Restarts(1e-9, RestartLaw(1.0)).times(1.0), "`restart_every` must be at least 0.0001"),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# --- laws and fractions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LAWS)
def test_a_law_is_what_it_draws(kind: str) -> None:
    law = RestartLaw(0.7, kind)
    drawn = law.draw(np.random.default_rng(0), 100_000)
    assert_allclose(np.mean(drawn**2), law.second_moment, rtol=0.02)
    for p in (-0.5, 0.0, 0.3):
        assert_allclose(np.mean(drawn <= p), law.cdf(p), atol=0.01)  # six standard errors
    assert_allclose(law.cdf(law.quantile([0.1, 0.5, 0.9])), [0.1, 0.5, 0.9])
    low, high = law.support
    assert low <= drawn.min() <= drawn.max() <= high


@pytest.mark.parametrize(
    ("law", "fractions"),
    [
        (RestartLaw(0.15), [1 / 6, 1 / 6, 1 / 6, 1 / 6]),
        (RestartLaw(0.5), [0.399, 0.447, 0.450, 0.4505]),
        (RestartLaw(1.0), [0.694, 0.836, 0.892, 0.975]),
        (RestartLaw(0.05, "positive"), [0, 0, 0, 0]),
    ],
)
def test_the_fractions_of_r226(law: RestartLaw, fractions: list[float]) -> None:
    # those of the source are of 200,000 chains: three standard errors, and 1e-3 of a printed digit and interpolation
    found = [collapse_fraction(0.01, 0.5, law, k) for k in (1, 2, 3, 10)]
    assert_allclose(found, fractions, atol=0.0045 if law.scale > 0.2 else 1e-9)


def test_sizes_that_drift_away_live() -> None:
    rng = np.random.default_rng(1)
    alive = {}
    for a in (0.8, 0.9):
        x = np.full(4_000, 3.0)  # far from the edge at first
        for _ in range(1500):
            x = restart_map(x, RestartLaw(a).draw(rng, x.shape), 0.5)
        alive[a] = np.mean(x > 0)
    assert alive[0.8] > 0.99
    assert alive[0.9] < 0.1
    assert survives_for_ever(0.5, RestartLaw(0.8))
    assert not survives_for_ever(0.5, RestartLaw(0.9))
    assert not survives_for_ever(0.5, RestartLaw(0.5, "normal"))  # at the edge, E p² = r²


@given(
    x=st.floats(0, 10),
    r=st.floats(0, 2),
    scale=st.floats(0.01, 3),
    kind=st.sampled_from(list(LAWS)),
    k=st.integers(0, 3),
)
def test_fractions_are_probabilities_that_rise(x: float, r: float, scale: float, kind: str, k: int) -> None:
    law = RestartLaw(scale, kind)
    fractions = [collapse_fraction(x, r, law, j) for j in (k, k + 1)]
    # interpolation may cost 1e-3 in between
    assert -1e-9 <= fractions[0] <= fractions[1] + 1e-3
    assert fractions[1] <= 1 + 1e-9
    if k == 0:
        assert_allclose(fractions[1], death_probability(x, r, law), atol=1e-9)


# --- runs -------------------------------------------------------------------------------------------------------


def test_the_map_against_the_flow_to_eight_digits() -> None:
    # R225: six restarts from w1 = .3, r = .5
    system = ModeSystem(lambda_s=1.0, lambda_d=0.5)
    w, squares = 0.3, []
    for p in (0.1, 0.2, -0.15, 0.05, 0.45, -0.25):
        found = restarted_modes(
            system.state(w, p, w),
            system,
            full_mode_field,
            Restarts(900.0, RestartLaw(1.0)),
            900.0,
            rtol=1e-11,
            atol=1e-13,
        )
        w = float(found.trajectory.final.online[0])
        squares.append(w**2)
    assert_allclose(squares, [0.33, 0.54, 0.7675, 1.015, 1.0625, 1.25], rtol=1e-8)


def test_every_stretch_starts_with_a_fresh_predictor_and_keeps_the_rest() -> None:
    system = ModeSystem(lambda_s=[1.0, 1.0], lambda_d=[0.5, 0.9], tau_online=2.0)
    start = system.state([0.3, 0.4], [0.5, 0.9], [0.3, 0.4])
    found = restarted_modes(start, system, full_mode_field, Restarts(50.0, RestartLaw(0.3)), 170.0, seed=4)
    assert [stretch.trajectory.t for stretch in found.stretches] == [50, 50, 50, 20]
    for before, after in zip(found.stretches[:-1], found.stretches[1:], strict=True):
        end, begun = before.trajectory.final, after.trajectory.initial
        assert_allclose((begun.online, begun.target), (end.online, end.target))
        assert np.all(np.abs(begun.predictor) <= 0.3)
        assert np.all(begun.predictor != end.predictor)
    whole = found.whole
    assert whole.trajectory.t == 170
    assert np.sum(np.diff(whole.trajectory.ts) == 0) == 3
    assert_allclose(whole.trajectory.initial.predictor, [0.5, 0.9])
    assert np.max(whole.drift) < 1e-7


def test_what_a_restart_did_is_read_from_the_run() -> None:
    system = ModeSystem(lambda_s=1.0, lambda_d=0.5)
    start = system.state(0.1, 0.5, 0.1)
    found = restarted_modes(
        start, system, full_mode_field, Restarts(3000.0, RestartLaw(2.0)), 30000.0, seed=0
    )
    fates = [str(stretch.fate[0]) for stretch in found.stretches]
    said = [str(stretch.prediction.fate[0]) for stretch in found.stretches]
    # a mode that dies slowly is not yet at rest when the next restart comes
    assert all(fate in (one, "undecided") for fate, one in zip(fates, said, strict=True))
    assert fates[0] == "learned"
    assert fates[-1] == "collapsed"
    assert "learned" not in fates[fates.index("collapsed") :]  # dead is dead


@pytest.mark.parametrize(
    ("law", "traces"),
    [
        (RestartLaw(0.05, "positive"), [2.63, 4.35, 6.08, 7.80]),
        (RestartLaw(0.15), [2.36, 4.04, 5.74, 7.40]),
    ],
)
def test_a_restart_enlarges_a_network_by_what_its_predictor_learns(
    law: RestartLaw, traces: list[float]
) -> None:
    # R227, r = .9, .75, .6: every restart adds Σ r² less ‖P‖² of the fresh predictor, 1.73 less 9 E p² on average
    system = MatrixSystem(np.ones(3), np.array([0.9, 0.75, 0.6]))
    rng = np.random.default_rng(2)
    start = MatrixState(0.6 * np.eye(3), law.draw(rng, (3, 3)), 0.6 * np.eye(3))
    found = restarted_matrices(start, system, full_field, Restarts(80.0, law), 320.0)
    ends = [np.sum(stretch.trajectory.final.online**2) for stretch in found.stretches]
    for end, stretch in zip(ends[1:], found.stretches[1:], strict=True):
        first, last = stretch.trajectory.initial, stretch.trajectory.final
        gain = np.sum(last.predictor**2) - np.sum(first.predictor**2)
        assert_allclose(end - np.sum(first.online**2), gain, atol=1e-6)
    mean = 9 * law.second_moment
    assert_allclose(np.diff(traces), 1.7325 - mean, atol=0.09)  # the source's draws
    assert_allclose(np.diff(ends), 1.7325 - mean, atol=0.15)
    assert found.whole.rank == 3


@pytest.mark.parametrize("name", MODE_FIELDS)
def test_variants_are_restarted_or_refused_by_name(name: str) -> None:
    system = ModeSystem(lambda_s=1.0, lambda_d=0.5)
    start, restarts = system.state(0.3, 0.3, 0.3), Restarts(1.0, RestartLaw(0.1))
    if name in ("full", "fixed-target", "no-ema", "no-stop-gradient", "symmetric-predictor"):
        assert len(restarted_modes(start, system, MODE_FIELDS[name], restarts, 3.0).stretches) == 3
    else:
        with pytest.raises(ValueError, match=f"`variant` must have a predictor of its own .* got {name}"):
            restarted_modes(start, system, MODE_FIELDS[name], restarts, 3.0)


def test_a_symmetric_predictor_stays_symmetric() -> None:
    system = MatrixSystem(np.ones(3), np.array([0.9, 0.75, 0.6]))
    start = system.state(0.5 * np.ones((2, 3)), np.eye(2))
    assert FIELDS["symmetric-predictor"] is symmetric_predictor_field
    found = restarted_matrices(start, system, symmetric_predictor_field, Restarts(1.0, RestartLaw(0.3)), 2.0)
    P = found.stretches[1].trajectory.initial.predictor
    assert_allclose(P, P.T)
    again = integrate(found.stretches[1].trajectory.initial, system, symmetric_predictor_field, 1.0)
    assert_allclose(again.final.online, found.trajectory.final.online, atol=1e-7)


@pytest.mark.parametrize(
    ("tau_target", "time"), [(0.01, 39.96), (0.1, 40.59), (1, 47.38), (10, 128.8), (100, 975)]
)
def test_a_slow_target_takes_longer_to_the_same_end(tau_target: float, time: float) -> None:
    # R224, from (.1, .1, .1): the time to 99 % of the learned point
    system = ModeSystem(lambda_s=1.0, lambda_d=0.5, tau_target=tau_target)
    start = system.state(0.1, 0.1, 0.1)
    learned = np.sqrt(0.1**2 - 0.1**2 + 0.25)
    from dynamics.integration.modes import integrate_modes

    ts = np.linspace(0, 1.5 * time, 3001)
    run, _ = integrate_modes(start, system, full_mode_field, ts=ts)
    reached = np.min(np.abs(run.states), axis=(0, 2)) >= 0.99 * learned
    assert_allclose(ts[np.argmax(reached)], time, rtol=2e-3)  # a spacing of the times


# --- the command ------------------------------------------------------------------------------------------------

MODE = ("simulate", "--lambda-s", "1", "--lambda-d", ".5")


def test_the_command_restarts(dyn: Any, tmp_path: Any) -> None:
    options = (
        "--online",
        ".3",
        "--predictor",
        ".5",
        "--target",
        ".3",
        "--restart-every",
        "200",
        "--t-end",
        "700",
    )
    saved = tmp_path / "run.npz"
    code, out, _ = dyn(*MODE, *options, "--restart-scale", ".3", "--json", "--out", str(saved))
    report = json.loads(out)
    assert code == 0
    restarts = report["restarts"]
    assert (restarts["every"], restarts["scale"], restarts["law"], restarts["n"]) == (200, 0.3, "uniform", 3)
    x = 0.09
    for event in restarts["events"]:
        (mode,) = event["modes"]
        x = float(restart_map(x, mode["predictor"], 0.5))
        assert_allclose(mode["online"] ** 2, x, rtol=1e-6)
        assert mode["fate"] == mode["predicted"]["fate"] == "learned"
    assert report["t"] == 700
    assert report["modes"][0]["initial"]["predictor"] == 0.5
    with np.load(saved) as found:
        assert found["t"][-1] == 700
    code, out, _ = dyn(*MODE, *options)
    assert code == 0
    assert "fresh w2" in out


def test_the_command_restarts_matrices(dyn: Any, tmp_path: Any) -> None:
    picture = tmp_path / "run.png"
    options = (
        "--dim",
        "1",
        "--restart-every",
        "5",
        "--t-end",
        "15",
        "--restart-law",
        "normal",
        "--plot",
        str(picture),
    )
    code, out, _ = dyn(*MODE, *options)
    assert code == 0
    assert "rank floor" in out
    assert picture.stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--restart-scale", ".1"), "--restart-scale must go with --restart-every, got 0.1 alone"),
        (("--restart-law", "normal"), "--restart-law must go with --restart-every, got normal alone"),
        (("--restart-every", "10"), "--t-end must be given with --restart-every, got none"),
        (("--restart-every", "-1", "--t-end", "3"), "--restart-every must be finite and > 0, got -1"),
        (
            ("--restart-every", "1", "--restart-scale", "0", "--t-end", "3"),
            "--restart-scale must be finite and > 0, got 0",
        ),
        (
            ("--restart-every", "1", "--t-end", "3", "--variant", "directpred"),
            "--variant must have a predictor of its own that learns, to be restarted, got directpred",
        ),
        (
            ("--restart-every", "1", "--t-end", "3", "--objective", "simple"),
            "--restart-every must not go with --objective simple, which trains an encoder alone",
        ),
    ],
)
def test_the_command_refuses(options: tuple[str, ...], message: str, dyn: Any) -> None:
    code, out, err = dyn(*MODE, *options)
    assert (code, out) == (2, "")
    assert message in err
