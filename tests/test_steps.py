"""Runs of gradient descent: rest, orbits, refusals, ensembles, and the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.runs.stepped import Steps, step_matrices, step_modes
from analysis.steps.competition import competition_rates, mode_competition
from analysis.steps.critical_steps import critical_step
from analysis.steps.edge import collapse_window, two_cycle
from analysis.steps.noise import balancing_path, stationary_covariance
from analysis.steps.noisy_collapse import lyapunov_exponent, mean_square_predictor
from dynamics.exact.balancing import balancing_law
from dynamics.fields.matrices import full_field
from dynamics.integration.batch_noise import batch_moments, batches, sde_terms
from dynamics.integration.discrete import EmaOrder, gradient_step
from dynamics.integration.discrete_ensemble import iterate_ensemble
from dynamics.integration.stepping import iterate, orbit_period, remaining_way, step_jacobian
from dynamics.states import ModeState, pack, random_state, unpack
from dynamics.system import MatrixSystem, ModeSystem

ONE = ModeSystem(1.0, 0.5)
TWO = ModeSystem([1.0, 0.8], [0.5, 0.6], tau_online=0.7, tau_predictor=1.4)


# --- steps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(EmaOrder))
def test_modes_and_diagonal_matrices_step_alike(order: EmaOrder) -> None:
    state = TWO.state([0.4, -0.3], [0.2, 0.5], [0.3, 0.1])
    full = MatrixSystem(TWO.lambda_s, TWO.lambda_d, tau_online=0.7, tau_predictor=1.4)
    whole = full.state(*(np.diag(part) for part in state))
    modes, matrices = (gradient_step(y, s, 0.3, 0.2, order) for y, s in ((state, TWO), (whole, full)))
    for part, matrix in zip(modes, matrices, strict=True):
        assert_allclose(np.diag(matrix), part, rtol=1e-15)


def test_the_lagged_order_is_the_explicit_euler_step_of_the_flow() -> None:
    system = MatrixSystem(np.eye(3), np.diag([0.9, 0.5, 0.2]), tau_target=2.0, weight_decay=0.1)
    state = random_state(3, 2, scale_online=0.5, scale_predictor=0.5, seed=1)
    euler = pack(state) + 0.1 * pack(full_field(0.0, state, system))
    stepped = gradient_step(state, system, 0.1, 0.1 / 2.0, EmaOrder.LAGGED)
    assert_allclose(pack(stepped), euler, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("order", list(EmaOrder))
def test_the_jacobian_of_a_step_is_that_of_differences(order: EmaOrder) -> None:
    system = MatrixSystem(np.diag([1.0, 0.5]), np.array([[0.5, 0.1], [0.1, 0.3]]))
    state = random_state(2, 2, scale_online=0.5, scale_predictor=0.5, seed=2)
    J, y, h = step_jacobian(state, system, 0.3, 0.2, order), pack(state), 1e-5
    for k in range(y.size):
        nudge = h * np.eye(y.size)[k]
        ahead, behind = (
            pack(gradient_step(unpack(y + sign * nudge, state), system, 0.3, 0.2, order)) for sign in (1, -1)
        )
        # third derivatives of a cubic map: h², and rounding over h
        assert_allclose(J[:, k], (ahead - behind) / (2 * h), atol=1e-9)


def test_an_unstable_point_a_little_off_is_not_rest() -> None:
    saddle = ONE.state(1e-13, 0.3, 1e-13)
    assert remaining_way(saddle, ONE, 0.1, 0.1) == np.inf
    assert iterate(saddle, ONE, 0.1, 0.1, 50).status == "end-time"
    assert iterate(ONE.state(1e-3, 0.8, 1e-3), ONE, 0.1, 0.1, 5000).status == "steady"


def test_a_run_that_grows_is_diverged_and_keeps_its_last_finite_state() -> None:
    run = iterate(ONE.state(3.0, 0.1, 0.1), ONE, 30.0, 1.0, 100)
    assert run.status == "diverged"
    assert all(np.all(np.isfinite(part)) for part in run.final)
    ends = iterate_ensemble(ONE.state(3.0, 0.1, 0.1), ONE, 30.0, 1.0, 100)
    assert ends.diverged.all()
    assert ends.n_steps[0] <= run.n_steps


@pytest.mark.parametrize(("gain", "period"), [(1.9, 1), (2.1, 2), (2.5, 4), (3.0, None)])
def test_periods_double_and_end_in_chaos(gain: float, period: int | None) -> None:
    step = gain / 0.25
    run = iterate(ONE.state(0.45, 0.45, 0.45), ONE, step, 1.0, 6000)
    assert (run.status == "steady") == (period == 1)
    assert orbit_period(run.final, ONE, step, 1.0) == period


def test_the_compiled_ensemble_steps_like_one_run() -> None:
    start = TWO.state([0.4, -0.3], [0.2, 0.5], [0.3, 0.1])
    for order in EmaOrder:
        ends = iterate_ensemble(start, TWO, 0.3, 0.2, 50, order, save_at=[0, 20, 50])
        state = start
        for k in range(51):
            if k in (0, 20, 50):
                row = [0, 20, 50].index(k)
                for part, saved in zip(state, ends.saved, strict=True):
                    # fused multiplications round otherwise: a few eps per step
                    assert_allclose(saved[row], part, rtol=1e-12)
            state = gradient_step(state, TWO, 0.3, 0.2, order)


def test_a_run_of_an_ensemble_does_not_depend_on_the_others() -> None:
    many = ModeSystem(np.ones(1100), np.full(1100, 0.5))
    all_of_them = iterate_ensemble(many.state(), many, 0.2, 0.1, 30, batch=3, seed=5, threads=2).final
    some = ModeSystem(np.ones(3), np.full(3, 0.5))
    few = iterate_ensemble(some.state(), some, 0.2, 0.1, 30, batch=3, seed=5, threads=1).final
    for part, one in zip(all_of_them, few, strict=True):
        assert part[:3].tolist() == one.tolist()
    other = iterate_ensemble(some.state(), some, 0.2, 0.1, 30, batch=3, seed=6).final
    assert np.all(other.online != few.online)


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_the_compiled_sampler_has_the_exact_law(batch: int) -> None:
    from scipy.stats import chi2, kstest, norm

    from dynamics.integration.discrete_kernels import draw_batches

    out = np.empty((20_000, 2))
    draw_batches(np.uint64(3), 0, batch, out)
    # one in 10⁵ of right samplers would fail
    assert kstest(out[:, 0] * batch, chi2(batch).cdf).pvalue > 1e-5
    assert kstest(out[:, 1], norm.cdf).pvalue > 1e-5
    assert abs(np.corrcoef(out.T)[0, 1]) < 5 / np.sqrt(len(out))


def test_the_diffusion_has_the_mean_and_variance_of_a_step() -> None:
    state, step, batch = ModeState(np.array([0.7]), np.array([0.4]), np.array([0.5])), 0.1, 3
    rng = np.random.default_rng(4)
    s, d = batch_moments(rng, ONE, batch, 200_000)
    e = state.target * d - state.online * state.predictor * s
    terms = sde_terms(state, ONE, step, batch)
    for k, moved in enumerate((state.predictor * e, state.online * e)):
        moved = step * moved[:, 0]
        assert abs(np.mean(moved) - step * terms.drift[k][0]) < 5 * np.std(moved) / np.sqrt(len(moved))
        # the kurtosis of a product of normal numbers is at most 9
        assert np.var(moved) == pytest.approx(
            step * terms.diffusion[k][0] ** 2, rel=5 * np.sqrt(8 / len(moved))
        )


def test_every_number_of_batches_is_a_batch_of_the_system() -> None:
    s, d = np.array([[1.0, 0.2], [0.2, 0.8]]), np.array([[0.5, 0.1], [0.1, 0.3]])
    drawn = batches(np.random.default_rng(0), MatrixSystem(s, d), 4)
    found = [next(drawn) for _ in range(4000)]
    for name, exact in (("sigma_s", s), ("sigma_d", d)):
        samples = np.array([getattr(one, name) for one in found])
        error = np.std(samples, axis=0) / np.sqrt(len(samples))
        assert np.all(np.abs(np.mean(samples, axis=0) - exact) < 5 * error)


def test_runs_say_what_they_did() -> None:
    run = step_modes(ModeSystem(1.0, 0.5).state(1.0, 1.12, 0.0), ONE, Steps(20_000, 0.2, 0.2))
    assert (run.fate.item(), run.prediction.fate.item(), run.agrees) == ("learned", "learned", [True])
    collapsed = step_modes(ONE.state(0.1, -0.3, 0.1), ONE, Steps(4000, 0.2, 0.2))
    assert (collapsed.fate.item(), collapsed.agrees) == ("collapsed", [True])
    noisy = step_modes(ONE.state(0.6, 0.5, 0.6), ONE, Steps(100, 0.2, 0.2, batch=4), seed=1)
    assert (noisy.fate.item(), noisy.agrees) == ("undecided", [None])
    again = step_modes(ONE.state(0.6, 0.5, 0.6), ONE, Steps(100, 0.2, 0.2, batch=4), seed=1)
    assert noisy.trajectory.final.online == again.trajectory.final.online
    full = MatrixSystem(np.ones(2), np.array([0.9, 0.5]))
    start = random_state(2, 2, scale_online=0.3, scale_predictor=0.1, seed=3)
    assert step_matrices(start, full, Steps(50, 0.2, 0.1, batch=2)).report()["steps"]["batch"] == 2


# --- extremes and refusals ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("r", [0.0, 1e-100, 0.5, 1.0])
@pytest.mark.parametrize("t", [0.0, 1e-300, 1.0, 1e300])
def test_the_balancing_law_holds_numbers_over_extremes(r: float, t: float) -> None:
    c = balancing_law(t, [0.3, -0.5 * r**2, 0.0], ModeSystem(np.ones(3), np.full(3, r)), 0.1, 2)
    assert np.all(np.isfinite(c) | (np.array([0.3, -0.5 * r**2, 0.0]) <= -(r**2)))
    assert 0 <= c[0] <= 0.3


REFUSALS = [
    (lambda: iterate(ONE.state(), ONE, 0.0, 0.1, 5), "`step` must be finite and > 0, got 0.0"),
    (lambda: iterate(ONE.state(), ONE, 0.1, 1.1, 5), "`ema_rate` must be >= 0 and <= 1, got 1.1"),
    (lambda: iterate(ONE.state(), ONE, 0.1, 0.1, 0), "`n_steps` must be an integer >= 1, got 0"),
    (
        lambda: iterate_ensemble(ONE.state(), ONE, 0.1, 0.1, 5, batch=0),
        "`batch` must be an integer >= 1, got 0",
    ),
    (
        lambda: iterate_ensemble(ONE.state(), ONE, 0.1, 0.1, 5, seed=-1),
        "`seed` must be an integer >= 0, got -1",
    ),
    (lambda: iterate_ensemble(ONE.state(), ONE, 0.1, 0.1, 5, save_at=[6]), "`save_at` must be increasing"),
    (lambda: two_cycle(2.0), "`gain` must be finite and > 2, got 2.0"),
    (lambda: stationary_covariance(0.5, ONE, 5.0, 0.2, 4), "`step` must be below the critical step"),
    (lambda: balancing_path([0, 1], -0.3, ONE, 0.1, 0.1, 2), "`invariant` must be > -0.25"),
    (lambda: lyapunov_exponent(0.4, TWO, 0.1, 2), "`system` must have one mode, got 2"),
    (lambda: mean_square_predictor(ONE, 50.0, 1.0, 1), "`step` must be small enough"),
    (lambda: mode_competition([1.0], TWO, 0.1, 2, [0, 1]), "`squares` must be > 0, one for each of 2 modes"),
    (lambda: competition_rates([1.0], ModeSystem(1.0, 2.0), 0.1, 2), "`lambda_s` must be > 0 and at least"),
    (
        lambda: critical_step(
            MatrixSystem(np.ones(2), [0.5, 0.2]).state(np.eye(2), np.eye(2)),
            MatrixSystem(np.ones(2), [0.5, 0.2]),
            0.1,
        ),
        "residual|fixed point",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSALS, ids=[str(k) for k in range(len(REFUSALS))])
def test_refusals(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_no_window_opens_before_the_collapse() -> None:
    low, high = collapse_window(3.5)
    y = np.linspace(low, high, 7)[1:]
    assert np.all(y + 3.5 * y**2 * (1 - y) < 0)
    assert collapse_window(3.4) is None


# --- command line ---------------------------------------------------------------------------------------------

MODE = ("--lambda-s", "1", "--lambda-d", "0.5")


def test_simulate_by_steps(dyn) -> None:
    arguments = ("--online", ".3", "--predictor", ".1", "--target", ".3", "--step", "1", "--t-end", "400")
    code, out, _ = dyn("simulate", *MODE, *arguments, "--json")
    report = json.loads(out)
    mode = report["modes"][0]
    assert code == 0
    assert mode["final"]["online"] == pytest.approx(0.5686772, abs=6e-8)
    assert mode["predicted"]["online"] == pytest.approx(0.5686772, abs=6e-8)
    assert (mode["fate"], mode["agrees"]) == ("learned", True)
    assert report["steps"]["size"] == 1.0
    assert (report["steps"]["ema_order"], report["steps"]["batch"], report["steps"]["period"]) == (
        "practical",
        None,
        1,
    )


def test_stability_by_steps(dyn, tmp_path) -> None:
    np.savez(tmp_path / "s.npz", online=[[0.5]], predictor=[[0.5]], target=[[0.5]])
    for order, value in (("lagged", 3.7894737), ("practical", 4.2352941)):
        options = ("--step", "4", "--ema-rate", "0.2", "--ema-order", order)
        code, out, _ = dyn("stability", *MODE, "--state", str(tmp_path / "s.npz"), *options, "--json")
        found = json.loads(out)["critical_step"]
        assert code == 0
        assert found["value"] == pytest.approx(value, abs=5e-8)
        assert (found["kind"], found["row"], found["mode"]) == ("flip", 0, 0)
        assert found["stable"] == (value > 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--step", ".1"), "--t-end must be given with --step, got none"),
        (("--step", "-1", "--t-end", "1"), "--step must be finite and > 0, got -1.0"),
        (("--step", "3", "--t-end", "9"), "--ema-rate must be given where --step exceeds τt"),
        (("--batch", "2"), "--batch must go with --step, got 2 alone"),
        (("--step", ".1", "--t-end", "1", "--batch", "0"), "--batch must be an integer >= 1, got 0"),
        (
            ("--step", ".1", "--t-end", "1", "--variant", "tied"),
            "--variant must be full with --step, got tied",
        ),
        (("--step", "1e-9", "--t-end", "1"), "--max-steps must be at least --t-end over --step"),
        (("--step", ".1", "--t-end", "1", "--restart-every", "1"), "--restart-every must not go with --step"),
        (
            ("--step", ".1", "--t-end", "1", "--objective", "simple"),
            "--step must not go with --objective simple",
        ),
    ],
)
def test_steps_refuse_what_they_would_ignore(dyn, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = dyn("simulate", *MODE, *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_bifurcation_over_the_step(dyn, tmp_path) -> None:
    leaf = (
        "--invariant",
        "-0.64",
        "--ema-rate",
        "1",
        "--ema-order",
        "lagged",
        "--plot",
        str(tmp_path / "b.png"),
    )
    code, out, _ = dyn(
        "bifurcation", *MODE, "--parameter", "step", "--from", "1", "--to", "9", *leaf, "--json"
    )
    found = json.loads(out)
    assert code == 0
    seen = [(point["type"], point["predictor"]) for point in found["points"]]
    assert seen == [("flip", 0.8), ("neimark-sacker", -0.8), ("flip", -0.8)]
    assert_allclose([point["value"] for point in found["points"]], [1.9230769, 2.5, 8.3333333], atol=5e-8)
    kinds = {branch["name"]: list(dict.fromkeys(branch["stability"])) for branch in found["branches"]}
    assert kinds["collapsed-positive"] == ["stable", "degenerate", "saddle"]
    assert kinds["collapsed-negative"][0] == "stable"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--parameter", "step"), "--ema-rate must be given with --parameter step, got none"),
        (
            ("--parameter", "step", "--ema-rate", "1"),
            "--invariant must be given with --parameter step, got none",
        ),
        (
            ("--parameter", "invariant", "--ema-rate", "1"),
            "--ema-rate must go with --parameter step, got invariant",
        ),
    ],
)
def test_bifurcation_refuses_an_average_without_steps(dyn, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = dyn("bifurcation", *MODE, *arguments, "--from", "1", "--to", "5")
    assert (code, out) == (2, "")
    assert message in err
