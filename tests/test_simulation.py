"""Runs beside their predictions: R6 on 500 random modes, the reference numbers, observed fates, reports."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from analysis.fates.cases import CASES
from analysis.runs.simulation import ModeSimulation, plain, simulate_matrices, simulate_modes
from dynamics.fields.matrices import directpred_field, full_field
from dynamics.fields.modes import fixed_target_mode_field, full_mode_field, tied_mode_field
from dynamics.integration.integrate import Status, integrate
from dynamics.states import ModeState, random_state
from dynamics.system import MatrixSystem, ModeSystem
from dynamics.variants import FIELDS, MODE_FIELDS

ONE = ModeSystem(1.0, 0.5)


def exact_end(w1: float, w2: float, to: float, tp: float, r: float) -> tuple[str, float, float]:
    """R6 in full: fate, |w1| and w2 at the end of the full flow with η = 0, λd > 0."""
    c = to * w1**2 - tp * w2**2
    collapses = c <= -tp * r**2 if w2 > 0 else c <= 0
    if collapses:
        return "collapsed", 0.0, float(np.sign(w2)) * np.sqrt(max(-c / tp, 0.0))
    return "learned", np.sqrt((c + tp * r**2) / to), r


def random_mode(rng: np.random.Generator) -> tuple[np.ndarray, ModeSystem]:
    lambda_s = rng.uniform(0.3, 3.0)
    lambda_d = lambda_s * rng.uniform(0.05, 1.0)
    to, tp, tt = np.exp(rng.uniform(-1.5, 1.5, 3))
    start = 10 ** rng.uniform(-3, 1, 3) * rng.choice([-1, 1], 3)
    return start, ModeSystem(lambda_s, lambda_d, tau_online=to, tau_predictor=tp, tau_target=tt)


def end_tolerance(start: np.ndarray, end: np.ndarray, to: float, tp: float) -> float:
    """How far the end point of a run with rtol = 1e-8 may be off, as c decides it.

    Weights are good to 10 rtol of their size, so c to δ = 20 rtol of its terms; w1 = sqrt((c + τp r²)/τo) and
    w2 = sqrt(−c/τp) then move by δ/(2 τ w), or by sqrt(δ/τ) where they end near zero.
    """
    size = max(np.max(np.abs(start)), np.max(np.abs(end)))
    delta = 20 * 1e-8 * max(to, tp) * size**2
    moves = [
        min(delta / (2 * tau * w), np.sqrt(delta / tau)) for tau, w in ((to, end[0]), (tp, abs(end[1]))) if w
    ]
    return max(moves) + 10 * (1e-8 * size + 1e-10)


def check_end(start: np.ndarray, system: ModeSystem, final: ModeState) -> str:
    to, tp = float(system.tau_online), float(system.tau_predictor)
    fate, amplitude, w2 = exact_end(start[0], start[1], to, tp, float(system.ratio[0]))
    found = np.abs(np.ravel(final)) * [1, np.sign(final.predictor[0]), 1]
    expected = np.array([amplitude, w2, amplitude])
    assert_allclose(found, expected, rtol=0, atol=end_tolerance(start, expected, to, tp))
    return fate


# --- R6 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", range(10))
def test_five_hundred_random_modes_end_as_their_leaf_says(block: int) -> None:
    rng = np.random.default_rng([6, block])
    statuses = []
    for _ in range(50):
        start, system = random_mode(rng)
        run = simulate_modes(system.state(*start), system, full_mode_field)
        statuses.append(run.trajectory.status)
        if run.trajectory.status is Status.SLOW:
            assert run.fate[0] in ("undecided", run.prediction.fate[0])
            continue
        assert run.trajectory.status is Status.STEADY
        assert run.fate[0] == check_end(start, system, run.trajectory.final)
        if run.fate[0] == "collapsed":
            # the state that was called collapsed is one that collapses: it never grows again
            w1, w2, _ = (float(part[0]) for part in run.trajectory.final)
            to, tp = float(system.tau_online), float(system.tau_predictor)
            assert exact_end(w1, w2, to, tp, float(system.ratio[0]))[0] == "collapsed"
    assert statuses.count(Status.SLOW) <= 1  # a start within 1e-6 of a threshold, two in a thousand


@pytest.mark.parametrize("block", range(4))
def test_rest_is_found_without_being_told_the_end(block: int) -> None:
    rng = np.random.default_rng([7, block])
    for _ in range(20):
        start, system = random_mode(rng)
        run = integrate(system.state(*start), system, full_mode_field)
        assert run.status is Status.STEADY
        check_end(start, system, run.final)


def test_a_small_start_is_learned_and_a_tiny_one_never_called_collapsed() -> None:
    small = simulate_modes(ONE.state(1e-4, 1e-4, 1e-4), ONE, full_mode_field)
    assert (small.fate[0], small.trajectory.status) == ("learned", Status.STEADY)
    assert_allclose(np.ravel(small.trajectory.final), 0.5, rtol=2e-7)
    # 1/(λd w) = 2e8 to escape: within that time nothing is shown, whatever is predicted
    start = ONE.state(1e-8, 1e-8, 1e-8)
    early, late = (simulate_modes(start, ONE, full_mode_field, t_end) for t_end in (1e7, None))
    assert (early.fate[0], early.prediction.fate[0], early.agrees) == ("undecided", "learned", [None])
    assert (late.fate[0], late.trajectory.status, late.agrees) == ("learned", Status.STEADY, [True])
    assert late.trajectory.t > 1.9e8


# --- the reference numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "fate", "end"),
    [
        ((0.1, 0.1, 0.1), "learned", (0.5, 0.5, 0.5)),
        ((0.3, 0.1, 0.3), "learned", (0.5744563, 0.5, 0.5744563)),
        ((0.1, 0.6, 0.1), "collapsed", (0.0, 0.5916080, 0.0)),
        ((0.1, -0.3, 0.1), "collapsed", (0.0, -0.2828427, 0.0)),
        ((0.8, -0.3, 0.0), "learned", (0.8944272, 0.5, 0.8944272)),
    ],
)
def test_starts_with_known_ends(start: tuple[float, ...], fate: str, end: tuple[float, ...]) -> None:
    run = simulate_modes(ONE.state(*start), ONE, full_mode_field)
    assert (run.fate[0], run.prediction.fate[0], run.trajectory.status) == (fate, fate, Status.STEADY)
    # seven digits were given; the run adds 10 rtol
    assert_allclose(np.ravel(run.trajectory.final), end, rtol=0, atol=0.5e-7 + 2e-7)
    assert_allclose(np.ravel(run.prediction[1:4]), end, rtol=0, atol=0.5e-7)
    assert run.invariant[0] == pytest.approx(start[0] ** 2 - start[1] ** 2, rel=1e-14)
    # 10 (rtol w + atol) in each weight, twice that of each square
    assert run.drift[0] <= 2 * 20 * 1.1e-8


def test_the_tied_crawl_is_slow_and_predicted() -> None:
    run = simulate_modes(ONE.state(-0.1, -0.1, -0.1), ONE, tied_mode_field)
    assert run.trajectory.status is Status.SLOW
    assert (run.fate[0], run.prediction.fate[0]) == ("collapsed", "collapsed")
    w, t = run.trajectory.final.online[0], run.trajectory.t
    # like 1/t: 1/|w| = 1/|w0| + λd t and terms like ln t, the first of which is 1/1000 of the whole
    assert -w * 0.5 * t == pytest.approx(1.0, rel=5e-3)


def test_weight_decay_has_two_sheets_that_meet_at_the_saddle_node() -> None:
    decayed = ModeSystem(1.0, 0.5, weight_decay=0.06)
    above = simulate_modes(decayed.state(0.21, 0.21, 0.21), decayed, full_mode_field)
    below = simulate_modes(decayed.state(0.19, 0.19, 0.19), decayed, full_mode_field)
    assert (above.fate[0], below.fate[0]) == ("learned", "collapsed")
    assert_allclose(np.ravel(above.trajectory.final), 0.3, rtol=1e-7)
    saddle = simulate_modes(decayed.state(0.2, 0.2, 0.2), decayed, full_mode_field, 1.0)
    assert_allclose(
        np.ravel(saddle.trajectory.final), 0.2, rtol=1e-7
    )  # p-: a fixed point, if not a stable one
    beyond = ModeSystem(1.0, 0.5, weight_decay=0.0626)
    assert simulate_modes(beyond.state(0.4, 0.4, 0.4), beyond, full_mode_field).fate[0] == "collapsed"
    node = ModeSystem(1.0, 0.5, weight_decay=0.0624)
    assert simulate_modes(node.state(0.4, 0.4, 0.4), node, full_mode_field).fate[0] == "learned"


# --- observed against predicted -----------------------------------------------------------------------------


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("name", CASES)
def test_every_variant_comes_to_rest_where_it_was_predicted(name: str, weight_decay: float) -> None:
    rng = np.random.default_rng(9)
    decided = 0
    for _ in range(6):
        to, tp, tt = np.exp(rng.uniform(-0.7, 0.7, 3))
        lambda_s = rng.uniform(0.5, 2.0)
        start = 10 ** rng.uniform(-1.0, 0.3, 3) * rng.choice([-1, 1], 3)
        if name == "tied":
            tp, start[1] = to, abs(start[0])
            start[0] = start[1]  # the other half crawls
        system = ModeSystem(
            lambda_s,
            lambda_s * rng.uniform(0.2, 0.9),
            tau_online=to,
            tau_predictor=tp,
            tau_target=tt,
            weight_decay=weight_decay,
        )
        run = simulate_modes(system.state(*start), system, MODE_FIELDS[name])
        assert run.trajectory.status is Status.STEADY
        if run.prediction.fate[0]:
            decided += 1
            assert run.fate[0] == run.prediction.fate[0]
            end = np.abs(run.trajectory.final.online[0])
            assert_allclose(end, run.prediction.amplitude[0], rtol=0, atol=1e-6 * max(1.0, *np.abs(start)))
    assert decided > 0


@pytest.mark.parametrize(("rtol", "atol"), [(1e-4, 1e-6), (1e-3, 1e-3), (1e-10, 1e-12)])
def test_the_tolerance_does_not_change_a_fate(rtol: float, atol: float) -> None:
    for start in ((0.1, -0.3, 0.1), (0.1, 0.6, 0.1), (0.3, 0.1, 0.3)):
        run = simulate_modes(ONE.state(*start), ONE, full_mode_field, rtol=rtol, atol=atol)
        assert run.fate[0] == exact_end(*start[:2], 1.0, 1.0, 0.5)[0]


def test_a_collapse_onto_a_fixed_target_is_a_collapse() -> None:
    # R13: c = 0 and w1 w2 θ < 0 ends at the saddle w1 = w2 = 0, though the target stays
    run = simulate_modes(ONE.state(0.3, -0.3, 0.5), ONE, fixed_target_mode_field)
    assert (run.fate[0], run.trajectory.final.target[0]) == ("collapsed", 0.5)


def test_a_run_that_was_stopped_is_decided_only_near_its_end() -> None:
    start = ONE.state(0.3, 0.1, 0.3)
    early, late = (simulate_modes(start, ONE, full_mode_field, t) for t in (1.0, 60.0))
    assert (early.trajectory.status, early.fate[0]) == (Status.END_TIME, "undecided")
    assert late.fate[0] == "learned"
    spent = simulate_modes(start, ONE, full_mode_field, max_steps=3)
    assert (spent.trajectory.status, spent.fate[0]) == (Status.MAX_STEPS, "undecided")


def test_what_runs_away_is_undecided() -> None:
    unnormalised = ModeSystem([-1.0, 1.0], [-0.2, 0.5])
    run = simulate_modes(unnormalised.state(0.5, 0.5, 0.5), unnormalised, full_mode_field)
    assert run.trajectory.status is Status.DIVERGED
    # the second mode starts in its learned point, and rests there whatever the first one does
    assert run.fate.tolist() == ["undecided", "learned"]


def test_modes_run_together_end_as_they_do_alone() -> None:
    system = ModeSystem([1.0, 2.0, 0.5], [0.5, 0.6, 0.4])
    start = system.state([0.1, 0.1, 0.8], [0.1, 0.6, -0.3], [0.1, 0.1, 0.0])
    together = simulate_modes(start, system, full_mode_field)
    for k in range(3):
        alone_system = ModeSystem(system.lambda_s[k], system.lambda_d[k])
        alone = simulate_modes(
            alone_system.state(*(part[k] for part in start)), alone_system, full_mode_field
        )
        assert together.fate[k] == alone.fate[0]
        for a, b in zip(together.trajectory.final, alone.trajectory.final, strict=True):
            assert_allclose(a[k], b[0], rtol=0, atol=2 * 10 * 1.01e-8)


def test_untied_weights_are_refused_and_not_tied_in_silence() -> None:
    with pytest.raises(ValueError, match=r"^the tied variant must start with `predictor` = `online`"):
        simulate_modes(ONE.state(0.1, 0.3, 0.1), ONE, tied_mode_field)


# --- networks -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network() -> MatrixSystem:
    return MatrixSystem(np.array([1.0, 1.5, 1.0, 2.0]), np.array([0.9, 0.9, 0.3, 0.2]))


def test_a_network_learns_the_top_of_the_spectrum(network: MatrixSystem) -> None:
    start = random_state(4, 2, scale_online=0.4, scale_predictor=0.05, seed=0)
    run = simulate_matrices(start, network, full_field)
    assert run.trajectory.status is Status.STEADY
    assert_allclose(run.ratios, [0.9, 0.6, 0.3, 0.1], rtol=1e-12)
    assert run.rank_floor == run.rank == 2  # R8: C ≻ 0
    assert run.rows.fate.tolist() == ["learned", "learned"]
    # R18, to the accuracy of rest: 10 (rtol |P| + atol), times the conditioning of P, here below 10
    assert run.resonance_error < 10 * 10 * 1.1e-8
    W, P, Th = run.trajectory.final
    assert_allclose(P @ W, W * (network.sigma_d / network.sigma_s), atol=1e-6)  # R4
    assert_allclose(W, Th, atol=1e-6)
    assert run.drift < 2 * 2 * 10 * 1.1e-8 * 4


def test_a_row_with_a_negative_predictor_stays_collapsed(network: MatrixSystem) -> None:
    W = 0.1 * np.eye(4)[:2]
    run = simulate_matrices(network.state(W, np.diag([0.3, -0.3])), network, full_field)
    assert (run.rank, run.rank_floor) == (1, 0)
    assert run.rows.fate.tolist() == ["learned", "collapsed"]
    # R6 for each row: c = 0.01 − 0.09
    assert_allclose(run.online_singular_values, [np.sqrt(0.9**2 - 0.08), 0.0], atol=1e-6)
    assert_allclose(run.rows.predictor_eigenvalue.real, [0.9, -np.sqrt(0.08)], atol=1e-6)


def test_variants_without_the_balance_law_claim_no_invariant(network: MatrixSystem) -> None:
    start = random_state(4, 2, scale_online=0.4, scale_predictor=0.05, seed=0)
    run = simulate_matrices(start, network, directpred_field, 5.0)
    assert run.rank_floor is None
    assert np.isnan(run.drift)
    mode = simulate_modes(ONE.state(), ONE, MODE_FIELDS["directpred"], 5.0)
    assert np.isnan(mode.invariant).all()
    assert np.isnan(mode.drift).all()


@pytest.mark.parametrize("name", FIELDS)
def test_every_matrix_variant_is_reported(name: str, network: MatrixSystem) -> None:
    start = random_state(4, 2, scale_online=0.4, scale_predictor=0.3, seed=1)
    report = simulate_matrices(start, network, FIELDS[name], 2.0).report()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["variant"] == name


# --- reports ------------------------------------------------------------------------------------------------


def test_the_report_of_modes_holds_the_run() -> None:
    system = ModeSystem([1.0, 2.0], [0.5, 0.6])
    run = simulate_modes(system.state([0.1, 0.3], [0.2, -0.1], 0.1), system, full_mode_field)
    report = run.report()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    trajectory = run.trajectory
    assert report["status"] == trajectory.status.value
    assert (report["t"], report["n_field_evaluations"]) == (trajectory.t, trajectory.n_field_evaluations)
    for k, mode in enumerate(report["modes"]):
        assert (mode["lambda_s"], mode["lambda_d"]) == (system.lambda_s[k], system.lambda_d[k])
        assert mode["ratio"] == system.ratio[k]
        for key, state in (("initial", trajectory.initial), ("final", trajectory.final)):
            assert mode[key] == {name: getattr(state, name)[k] for name in ModeState._fields}
        assert mode["predicted"] == {
            "fate": run.prediction.fate[k],
            "reason": run.prediction.reason[k],
            **{name: getattr(run.prediction, name)[k] for name in ModeState._fields},
        }
        assert mode["fate"] == run.fate[k]
        assert mode["invariant"] == {"initial": run.invariant[k], "drift": run.drift[k]}


def test_what_theory_does_not_say_is_null() -> None:
    decayed = ModeSystem(1.0, 0.5, weight_decay=0.05)
    run: ModeSimulation = simulate_modes(decayed.state(0.1, 0.5, 0.3), decayed, full_mode_field, 1.0)
    predicted = run.report()["modes"][0]["predicted"]
    assert {key: predicted[key] for key in ("fate", "online", "predictor", "target")} == dict.fromkeys(
        ("fate", "online", "predictor", "target")
    )


def test_the_report_of_a_network_holds_the_run(network: MatrixSystem) -> None:
    run = simulate_matrices(network.state(0.1 * np.eye(4)[:2], np.diag([0.3, -0.3])), network, full_field)
    report = run.report()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["system"] == {"n1": 4, "n2": 2, "commutator": 0.0}
    assert report["final"]["rank"] == 1
    assert_array_equal(report["final"]["online_singular_values"], run.online_singular_values)
    eigenvalues = np.array(report["final"]["predictor_eigenvalues"])
    assert_allclose(eigenvalues, [[0.9, 0.0], [-np.sqrt(0.08), 0.0]], atol=1e-6)
    assert report["theory"]["ratios"] == run.ratios.tolist()
    assert report["theory"]["rank_floor"] == 0
    assert report["theory"]["resonance_error"] == run.resonance_error
    assert report["invariant"] == {"drift": run.drift}
    first, second = report["final"]["rows"]
    assert (first["fate"], first["mode"], first["ratio"]) == ("learned", 0, pytest.approx(0.9))
    assert (second["fate"], second["mode"], second["ratio"]) == ("collapsed", None, None)


def test_plain_values_are_what_json_holds() -> None:
    values: Any = {
        "a": np.float64(1.5),
        "b": np.array([[1, 2], [3, 4]]),
        "c": (np.inf, -np.inf, np.nan, 0.0),
        "d": np.bool_(True),
        "e": [np.int32(3), "word", None],
    }
    expected = {
        "a": 1.5,
        "b": [[1, 2], [3, 4]],
        "c": [None, None, None, 0.0],
        "d": True,
        "e": [3, "word", None],
    }
    assert plain(values) == expected
    assert json.loads(json.dumps(plain(values), allow_nan=False)) == expected
