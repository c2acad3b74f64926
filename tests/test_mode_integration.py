"""Runs of single modes: what they report is measured, however far apart rates and weights lie."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.linalg import solve_continuous_lyapunov

from analysis.fates.predictions import predict_fates
from analysis.runs import simulation
from analysis.runs.simulation import ModeSimulation, simulate_modes
from dynamics.fields.modes import full_mode_field
from dynamics.integration import mode_ends, mode_flow
from dynamics.integration.integrate import integrate
from dynamics.integration.mode_ends import RUNNING, SLOW, STEADY
from dynamics.integration.mode_flow import FULL
from dynamics.integration.modes import integrate_modes
from dynamics.integration.trajectory import Status
from dynamics.invariants import mode_invariant
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS

ONE = ModeSystem(1.0, 0.5)


def simulate(
    state: Any, variant: str = "full", t_end: float | None = None, options: Any = (), **rates: Any
) -> ModeSimulation:
    system = ModeSystem(**({"lambda_s": 1.0, "lambda_d": 0.5} | rates))
    return simulate_modes(system.state(*state), system, VARIANTS[variant].mode_field, t_end, **dict(options))


# --- fates are measured -----------------------------------------------------------------------------------------


def test_a_wrong_prediction_is_contradicted(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*arguments: Any, **options: Any) -> Any:
        right = predict_fates(*arguments, **options)
        return right._replace(fate=np.where(right.fate == "learned", "collapsed", "learned"))

    monkeypatch.setattr(simulation, "predict_fates", mistaken)
    for start, fate in (((0.1, 0.1, 0.1), "learned"), ((0.1, 0.6, 0.1), "collapsed")):
        run = simulate(start)
        assert run.fate[0] == fate
        assert run.agrees == [False]


@pytest.mark.parametrize(
    ("start", "rates", "t_end"),
    [
        ((1e-7, 1e-7, 100.0), {"lambda_d": 1e-4}, 50.0),  # predicted learned, nothing has happened yet
        ((0.1, 0.1, 0.1), {}, 1.0),
        ((0.1, 0.6, 0.1), {}, 1.0),
        ((1e-4, 50.0, 1e-4), {}, 1e-6),
    ],
)
def test_a_run_that_is_stopped_early_is_undecided(start: Any, rates: Any, t_end: float) -> None:
    run = simulate(start, t_end=t_end, **rates)
    assert run.prediction.fate[0] != ""
    assert run.fate[0] == "undecided"
    assert run.agrees == [None]
    assert run.trajectory.status is Status.END_TIME


@pytest.mark.parametrize("w2", [1e-3, 50.0])
def test_small_encoders_that_stay_are_learned(w2: float) -> None:
    # fast-predictor conserves w1, however small beside θ and the predictor
    assert simulate((1e-4, w2, 100.0), "fast-predictor").fate[0] == "learned"


# --- how a run ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "variant", "rates", "t_end", "options", "status", "fate"),
    [
        ((0.1, 0.1, 0.1), "full", {}, None, {}, Status.STEADY, "learned"),
        ((0.1, 0.1, 0.1), "full", {}, 500.0, {}, Status.STEADY, "learned"),
        ((0.1, 0.1, 0.1), "full", {}, 5.0, {}, Status.END_TIME, "undecided"),
        ((-0.1, -0.1, -0.1), "tied", {}, None, {}, Status.SLOW, "collapsed"),
        (
            (1.0, 1.0, 1.0),
            "full",
            {"lambda_s": -1.0, "lambda_d": -0.5},
            100.0,
            {},
            Status.DIVERGED,
            "undecided",
        ),
        ((0.1, 0.1, 0.1), "full", {}, None, {"max_steps": 3}, Status.MAX_STEPS, "undecided"),
        ((0.3, 0.3, -2.0), "full", {"tau_target": 20.0}, None, {}, Status.STEADY, "learned"),
        ((0.3, 0.3, -30.0), "full", {}, None, {}, Status.STEADY, "learned"),
    ],
)
def test_every_status(
    start: Any, variant: str, rates: Any, t_end: Any, options: Any, status: Status, fate: str
) -> None:
    run = simulate(start, variant, t_end, options, **rates)
    assert run.trajectory.status is status
    assert run.fate[0] == fate


def test_the_sign_holds_however_deep_a_mode_sinks() -> None:
    # w1, θ > 0 with w2 > 0 is invariant; on the way w1 sinks to 1e-137
    run = simulate((0.3, 0.7, 0.3), t_end=2e5, weight_decay=1e-5)
    assert run.trajectory.final.online[0] > 0.4
    assert np.min(run.trajectory.states.online) >= 0


# --- against other methods ----------------------------------------------------------------------------------------


def test_a_rate_of_1e25_times_another() -> None:
    run = simulate((0.1, 0.1, 0.1), t_end=1.0, lambda_s=1e25, lambda_d=5e24)
    # λs → ∞: w1 w2 = θ r on the leaf c = 0, so that √θ goes to √½ as e^{−t/2}
    root = math.sqrt(0.5) + (math.sqrt(0.1) - math.sqrt(0.5)) * math.exp(-0.5)
    assert run.trajectory.final.target[0] == pytest.approx(root * root, rel=1e-7)
    assert run.trajectory.final.online[0] == pytest.approx(math.sqrt(0.5) * root, rel=1e-7)


@pytest.mark.parametrize("variant", VARIANTS)
def test_states_between_steps(variant: str) -> None:
    rates: dict[str, Any] = {"tau_target": 1.7, "weight_decay": 0.03}
    start = (0.6, 0.6 if variant == "tied" else -0.3, 0.4)
    run = simulate(start, variant, 6.0, {"rtol": 1e-9, "atol": 1e-11}, **rates)
    field, system = VARIANTS[variant].mode_field, run.system

    def f(t: float, x: np.ndarray) -> np.ndarray:
        return np.ravel(field(t, field.constrain(t, system.state(*x), system), system))

    times = np.linspace(0, 6, 41)
    exact = solve_ivp(f, (0, 6), start, method="DOP853", rtol=1e-13, atol=1e-14, t_eval=times).y
    found = run.trajectory(times)
    for k, t in enumerate(times):
        expected = np.ravel(field.constrain(t, system.state(*exact[:, k]), system))
        # ten times the tolerance, of weights of size one
        assert_allclose([float(part[k, 0]) for part in found], expected, rtol=0, atol=1e-8)


def test_modes_with_clocks_a_hundred_decades_apart() -> None:
    scale = np.array([1.0, 1e-14, 1e-100])
    system = ModeSystem(scale, 0.5 * scale)
    run = simulate_modes(system.state(0.3, 0.1, 0.3), system, VARIANTS["full"].mode_field)
    assert run.fate.tolist() == ["learned"] * 3
    assert run.trajectory.status is Status.STEADY
    assert_allclose(run.trajectory.final.predictor, 0.5, rtol=1e-7)
    # nothing of the slow modes has moved when the first is at rest
    early = run.trajectory(1e3)
    assert_allclose(early.predictor[1:], 0.1, rtol=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.01])
def test_the_invariant_holds_to_rounding(eta: float) -> None:
    run = simulate((0.8, -0.3, 0.1), t_end=50.0, weight_decay=eta)
    c = mode_invariant(run.trajectory.states, run.system)[:, 0]
    law = c[0] * np.exp(-2 * eta * run.trajectory.ts)
    # a rounding of u and one of v a step, of some hundred steps
    size = np.max(np.abs(np.array(run.trajectory.states))) ** 2
    assert_allclose(c, law, rtol=0, atol=len(run.trajectory.ts) * 4e-16 * size)


# --- two hundred decades ------------------------------------------------------------------------------------------


def drawn(rng: np.random.Generator, variant: str, *, decay: bool) -> tuple[Any, dict[str, float]]:
    ls, to, tp, tt, eta, w1, w2, th = 10 ** rng.uniform(-100, 100, 8)
    s1, s2, s3 = rng.choice([-1.0, 1.0], 3)
    if variant == "tied":
        w2, s2, tp = w1, s1, to
    rates = {
        "lambda_s": ls,
        "lambda_d": ls * 10 ** rng.uniform(-6, 0),
        "tau_online": to,
        "tau_predictor": tp,
        "tau_target": tt,
        "weight_decay": eta if decay else 0.0,
    }
    return (s1 * w1, s2 * w2, s3 * th), rates


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_hundred_decades_are_right_or_refused(variant: str) -> None:
    rng = np.random.default_rng(list(VARIANTS).index(variant))
    decided = refused = 0
    messages: list[str] = []
    for k in range(50):
        start, rates = drawn(rng, variant, decay=k % 2 == 1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                run = simulate(start, variant, None, {"max_steps": 3000}, **rates)
            except ValueError as error:
                refused += 1
                messages.append(str(error))
                continue
        if run.fate[0] == "undecided" or run.prediction.fate[0] == "":
            continue
        decided += 1
        assert run.agrees == [True], (start, rates)
        if run.trajectory.status is Status.STEADY:
            expected, found = run.prediction, run.trajectory.final
            if run.fate[0] == "learned":
                assert abs(found.online[0]) == pytest.approx(expected.amplitude[0], rel=1e-6)
    assert all("decades of each other, got lambda_s" in message for message in messages)
    assert decided >= 5
    assert decided + refused >= 20


def linear_end(start: Any, rates: dict[str, float], t: float) -> np.ndarray:
    from mpmath import expm, matrix, mp

    mp.dps = 60
    to, tt = rates["tau_online"], rates["tau_target"]
    A = matrix(
        [
            [-(mp.mpf(rates["lambda_s"]) / to + rates["weight_decay"]), mp.mpf(rates["lambda_d"]) / to],
            [1 / mp.mpf(tt), -1 / mp.mpf(tt)],
        ]
    )
    found = expm(A * t) * matrix([start[0], start[2]])
    return np.array([float(found[0]), float(found[1])])


def test_the_linear_variant_at_finite_times_over_two_hundred_decades() -> None:
    """R11: the matrix exponential in sixty digits, at the time scale of the slower rate."""
    rng = np.random.default_rng(9)
    for _ in range(20):
        unit = 10 ** rng.uniform(-90, 90)
        weight = 10 ** rng.uniform(-90, 90)
        rates = {
            "lambda_s": 1.0 / unit,
            "lambda_d": rng.uniform(0.1, 0.9) / unit,
            "tau_online": 10 ** rng.uniform(-3, 3),
            "tau_target": unit * 10 ** rng.uniform(-3, 3),
            "weight_decay": 0.0,
        }
        start = (weight, 1.0, -2 * weight)
        t = unit * 10 ** rng.uniform(-1, 1)
        run = simulate(start, "no-predictor", t, {"rtol": 1e-9}, **rates)
        found = [run.trajectory.final.online[0], run.trajectory.final.target[0]]
        exact = linear_end(start, rates, t)
        assert_allclose(found, exact, rtol=0, atol=1e-8 * np.max(np.abs(exact)))


def test_the_fixed_target_at_finite_times_over_two_hundred_decades() -> None:
    """R13, c = 0: u = w1 w2 obeys the logistic law du/dt = 2 u (θ λd − λs u), all τ 1."""
    rng = np.random.default_rng(10)
    for _ in range(20):
        weight, unit = 10 ** rng.uniform(-45, 45), 10 ** rng.uniform(-45, 45)
        w = weight * rng.uniform(0.1, 2.0)
        ls, ld, th = 1 / (weight**2 * unit), 1 / (weight * unit), weight * rng.uniform(0.1, 2.0)
        t = unit * rng.uniform(0.1, 5.0)
        run = simulate((w, w, th), "fixed-target", t, {"rtol": 1e-9}, lambda_s=ls, lambda_d=ld)
        level, speed = th * ld / ls, 2 * th * ld
        u = level / (1 + (level / w**2 - 1) * math.exp(-speed * t))
        assert run.trajectory.final.online[0] == pytest.approx(math.sqrt(u), rel=1e-7)


def test_rates_that_numbers_cannot_hold_are_refused_by_name() -> None:
    with pytest.raises(
        ValueError, match=r"within 290 decades of each other, got lambda_s 1, .* tau_target 1e\+300"
    ):
        simulate((1.0, 1.0, 1.0), tau_target=1e300)
    assert ModeState._fields == ("online", "predictor", "target")


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("weight_decay", [0.0, 0.03])
def test_without_damping_small_starts_below_the_ratio_collapse_and_larger_ones_run_away(
    sign: float, weight_decay: float
) -> None:
    # R26: λs < 0; the collapsed point (0, p, 0) attracts for 0 < p < r while −λs p²/τo < 1/τt
    system = ModeSystem(-1.0, -sign * 0.5, weight_decay=weight_decay)
    starts = ((1e-3, sign * 0.2, 1e-3), (0.3, sign * 0.9, 0.3))
    for (w1, w2, th), collapses in zip(starts, (True, False), strict=True):
        start = system.state(w1, w2, th)
        trajectory, fates = integrate_modes(start, system, full_mode_field, max_steps=20_000)
        if not collapses:
            assert (trajectory.status, fates[0]) == (Status.DIVERGED, "undecided")
            continue
        assert (trajectory.status, fates[0]) == (Status.STEADY, "collapsed")
        reference = integrate(start, system, full_mode_field, 2000.0, rtol=1e-11, atol=1e-13).final
        rest = 0.0 if weight_decay else sign * math.sqrt(0.2**2 - 1e-6)
        assert_allclose(np.ravel(reference), (0, rest, 0), atol=1e-9)
        assert_allclose(np.ravel(trajectory.final), (0, rest, 0), atol=1e-7)


def test_the_region_of_collapse_without_damping_is_claimed_inside_alone() -> None:
    # λs = −1, λd = −0.5, all τ 1, on the leaf c = −0.04: J = [[p², −p/2], [1, −1]]·sign at p = 0.2 in (w1, θ)
    p = (-0.5, -1.0, 1.0, 0.0, -1.0, -0.5, 0.0, 0.0)
    J = np.array([[0.04, -0.1], [1.0, -1.0]])
    P = solve_continuous_lyapunov(J.T, -np.eye(2))
    least, largest = np.linalg.eigvalsh(P)
    radius = math.sqrt(least / (2 * largest * (0.5 / (2 * 0.2) + 1.0)))  # of dᵀPd
    direction = np.array([1.0, 1.0]) / math.sqrt(np.array([1.0, 1.0]) @ P @ np.array([1.0, 1.0]))
    start = (500.0, math.sqrt(500.0**2 + 0.04), 500.0)  # so large that every state below counts as shrunk
    for share, expected in ((0.1, STEADY), (0.99, STEADY), (1.01, RUNNING)):
        a, g = share * radius * direction
        outcome, end = mode_ends.arrived(FULL, (a, math.sqrt(a * a + 0.04), g), start, p)
        assert outcome == expected
        if expected == STEADY:
            assert_allclose(end, (0, 0.2, 0), rtol=1e-7)


@pytest.mark.parametrize("variant", ["full", "tied", "no-ema"])
def test_balanced_starts_without_damping_that_are_called_slow_shrink_by_another_integrator(
    variant: str,
) -> None:
    """R26: on the leaf c = 0 there is the origin alone, which is approached like 1/t."""
    row, claimed = VARIANTS[variant], 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        A, B, zeta = (
            rng.choice([-1, 1]) * 10 ** rng.uniform(-1, 1),
            -(10 ** rng.uniform(-2, 1)),
            10 ** rng.uniform(-1, 1),
        )
        if seed % 5 == 0:
            B = 0.0
        p = (A, B, zeta, 0.0, B, A, 0.0, 0.0)
        a = rng.choice([-1, 1]) * 10 ** rng.uniform(-3, 0)
        b = a if variant == "tied" else rng.choice([-1, 1]) * a
        g = a if variant == "no-ema" else a * rng.uniform(0.3, 2.5)
        far = 1e4  # a start so large that every state counts as shrunk
        outcome, end = mode_ends.arrived(row.kind, (a, b, g), (far, math.copysign(far, b), far), p)
        if outcome == RUNNING:
            continue
        claimed += 1
        assert (outcome, end) == (SLOW, (0.0, 0.0, 0.0))

        def rate(t: float, y: np.ndarray, p: tuple[float, ...] = p, s: float = b / a) -> list[float]:
            x, target = y[0], y[0] if variant == "no-ema" else y[1]
            E = p[0] * target - p[1] * x * s * x
            return [s * x * E, p[2] * (x - target)]

        # 1/|a| grows at |A|/4 at least
        long = 40 / abs(A * a)
        run = solve_ivp(rate, (0, long), [a, g], method="Radau", rtol=1e-8, atol=1e-14)
        assert abs(run.y[0, -1]) <= abs(a) / (1 + abs(A * a) * long / 4) * (1 + 1e-6)
        assert np.all(np.diff(np.abs(run.y[0])) <= 0)
    assert claimed > 10


def test_the_region_of_slow_collapse_without_damping_ends_where_it_is_said() -> None:
    p = (-0.5, -1.0, 1.0, 0.0, -1.0, -0.5, 0.0, 0.0)  # x <= |A|/(4 |B|) = 1/8, x <= 1/(4 |A| τt) = 1/2
    start, quick = (1e4, 1e4, 1e4), (*p[:2], 0.2, *p[3:])  # τt = 5: x <= 1/10
    for x, q, rates, expected in (
        (0.125, 1.0, p, SLOW),
        (0.1251, 1.0, p, RUNNING),
        (0.1, 1.0, quick, SLOW),
        (0.1001, 1.0, quick, RUNNING),
        (0.1, 2.0, p, SLOW),
        (0.1, 2.001, p, RUNNING),
        (0.1, 0.5, p, SLOW),
        (0.1, 0.499, p, RUNNING),
        (-0.1, 1.0, p, RUNNING),  # A b > 0: it grows
    ):
        assert mode_ends.arrived(FULL, (x, x, q * x), start, rates)[0] == expected
    assert mode_ends.arrived(FULL, (0.1, 0.1, 0.1), (1e4, 1e4 + 1e-4, 1e4), p)[0] == RUNNING  # c < 0


def test_steps_are_reported_in_the_time_of_the_user() -> None:
    """All times 1024 times as long: the same steps, each at 1024 times its time."""
    runs = [
        simulate((0.3, 0.4, 0.2), tau_online=t, tau_predictor=t, tau_target=t).trajectory
        for t in (1.0, 1024.0)
    ]
    assert_allclose(runs[1].ts, 1024 * runs[0].ts, rtol=1e-12)


@pytest.mark.parametrize("variant", ["full", "tied", "no-ema"])
def test_a_start_on_a_saddle_with_decay_rests_there_and_one_beside_it_does_not(variant: str) -> None:
    system = ModeSystem(1.0, 0.5, weight_decay=0.04)  # p− = 0.1: a saddle, and 0.1 is no binary fraction
    field = VARIANTS[variant].mode_field
    trajectory, _ = integrate_modes(ModeState(0.1, 0.1, 0.1), system, field)
    assert (trajectory.status, trajectory.ts[-1]) == (Status.STEADY, 0.0)
    for beside, end in ((0.1 * (1 + 1e-4), 0.4), (0.1 * (1 - 1e-4), 0.0)):
        trajectory, _ = integrate_modes(ModeState(beside, beside, beside), system, field)
        assert trajectory.status is Status.STEADY
        assert_allclose(trajectory.states.predictor[-1], end, rtol=1e-6, atol=1e-6)


def test_an_encoder_that_sinks_below_all_numbers_has_not_collapsed_where_it_would_return() -> None:
    """From w1 = 0 a short-lived θ leaves w1 = 1e-310, which grows: λs and λd as small as their weights allow."""
    system = ModeSystem(1.4852861381296842e-80, 1.4996787009804052e-86, tau_target=8.318564550776754e-100)
    trajectory, fates = integrate_modes(
        ModeState(0.0, 8e-27, 5.475009881538417e-100), system, full_mode_field
    )
    assert predict_fates(ModeState(0.0, 8e-27, 5.475009881538417e-100), system).fate.item() == "learned"
    assert trajectory.status is Status.MAX_STEPS
    assert [str(fate) for fate in fates] == ["undecided"]


def test_rest_is_reached_by_the_predictor_at_its_own_size() -> None:
    system = ModeSystem(1e-5, 6.2e-6, tau_online=293.7, tau_target=7e4)
    simulation = simulate_modes(ModeState(-232.4, -3e-5, 15.0), system, VARIANTS["no-ema"].mode_field)
    assert simulation.trajectory.status is Status.STEADY
    assert_allclose(simulation.trajectory.states.predictor[-1], 0.62, rtol=1e-6)


def test_a_run_whose_balance_is_lost_to_rounding_does_not_prove_learning() -> None:
    """θ = −2.6e97 turns the weights by a hyperbolic angle of millions: c of the start is rounding of what they
    become."""
    system = ModeSystem(
        1.6695532677565045e-37,
        4.0186486392804366e-42,
        tau_predictor=9.008715963219893e-40,
        tau_target=1.877066101622912e-69,
    )
    start = ModeState(1.9866109605963413e-67, 34331.698406291616, -2.606431448795489e97)
    assert predict_fates(start, system).fate.item() == "collapsed"
    _, fates = integrate_modes(start, system, full_mode_field)
    assert [str(fate) for fate in fates] != ["learned"]


def test_weights_come_back_from_their_units_whatever_the_clocks() -> None:
    units = (2.0**-800, 1.0, 2.0**-500, 2.0**-700)
    assert mode_flow.unscaled(FULL, (1.5, 2.0**600, 2.0**100), units) == (
        1.5 * 2.0**-300,
        2.0**500,
        2.0**-200,
    )


def test_a_rate_that_underflows_is_refused() -> None:
    system = ModeSystem(3.4e-19, 9e-20, tau_online=1.7e308, tau_target=1.7e308)
    with pytest.raises(ValueError, match="must lie within 290 decades"):
        integrate_modes(ModeState(0.03, 1.0, 8e33), system, VARIANTS["no-predictor"].mode_field)
