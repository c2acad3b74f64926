"""`dyn fixed-points`, `stability`, `bifurcation`, `sylvester`, `align` and `check`: answers, JSON keys, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import report_of

from analysis.results import RESULTS

ONE_MODE = ("--lambda-s", "1", "--lambda-d", "0.5")
TWO_MODES = ("--lambda-s", "1", "--lambda-d", ".9", "--lambda-s", "1", "--lambda-d", ".4")


def points_of(report):
    return {
        (round(point["online"], 9), round(point["predictor"], 9)): point["stability"]
        for point in report["fixed_points"]
    }


def test_lines_of_fixed_points_have_segments(dyn):
    report = report_of(dyn, "fixed-points", *ONE_MODE)
    lines = {line["name"]: line["segments"] for line in report["lines"]}
    collapsed = {tuple(part["range"]): part["stability"] for part in lines["collapsed"]}
    assert collapsed[(0.0, 0.5)] == "saddle"
    assert collapsed[(None, 0.0)] == collapsed[(0.5, None)] == "attracting"
    assert {part["stability"] for part in lines["learned"]} == {"attracting", "degenerate"}


def test_a_leaf_isolates_its_points(dyn):
    report = report_of(dyn, "fixed-points", *ONE_MODE, "--invariant", "-0.09")
    expected = {(0.4, 0.5): "stable", (-0.4, 0.5): "stable", (0.0, 0.3): "saddle", (0.0, -0.3): "stable"}
    assert points_of(report) == expected
    assert set(report["fixed_points"][0]) >= {"name", "target", "eigenvalues", "exact"}
    assert report["fixed_points"][0]["exact"]["online"] == "2/5"


def test_weight_decay_tied_and_no_predictor(dyn):
    decay = points_of(report_of(dyn, "fixed-points", *ONE_MODE, "--weight-decay", "0.06"))
    assert decay[(0.0, 0.0)] == decay[(0.3, 0.3)] == "stable"
    assert decay[(0.2, 0.2)] == "saddle"
    tied = points_of(report_of(dyn, "fixed-points", *ONE_MODE, "--variant", "tied"))
    assert tied == {(0.0, 0.0): "half-stable", (0.5, 0.5): "stable"}
    assert points_of(report_of(dyn, "fixed-points", *ONE_MODE, "--variant", "no-predictor")) == {
        (0.0, 1.0): "stable"
    }


@pytest.mark.parametrize("mode", [0, 1])
def test_only_the_top_mode_is_stable_with_one_row(dyn, mode):
    ratio = (0.9, 0.4)[mode]
    np.savez("point.npz", online=ratio * np.eye(2)[[mode]], predictor=[[ratio]])
    report = report_of(dyn, "stability", *TWO_MODES, "--state", "point.npz", "--eigenvalues")
    assert set(report["spectrum"]) == {"n_positive", "n_zero", "n_negative", "max_real", "min_real"}
    assert report["n_unknowns"] == len(report["eigenvalues"]) == 5
    assert report["spectrum"]["n_positive"] == mode
    sentences = [item["sentence"] for item in report["conditions"] if item["verdict"] == "unstable"]
    assert len(sentences) == mode
    code, out, _ = dyn("stability", *TWO_MODES, "--state", "point.npz")
    assert code == 0
    assert all(sentence in out for sentence in sentences)


def test_stability_under_weight_decay_has_no_conditions(dyn):
    np.savez("origin.npz", online=np.zeros((1, 2)), predictor=np.zeros((1, 1)))
    state = ("--state", "origin.npz")
    report = report_of(dyn, "stability", *TWO_MODES, *state, "--weight-decay", ".1")
    assert report["conditions"] == []
    assert report["spectrum"]["n_negative"] == 5


def test_canonical_fixed_points_of_the_network(dyn):
    report = report_of(dyn, "fixed-points", *TWO_MODES, "--dim", "1")
    found = {point["name"]: point for point in report["fixed_points"]}
    assert set(found) == {"collapsed", "modes 1", "modes 2"}
    assert found["modes 1"]["stability"] == "stable"
    assert found["modes 2"]["spectrum"]["n_positive"] == 1
    assert found["modes 2"]["predictor"] == [[pytest.approx(0.4)]]
    code, out, _ = dyn("fixed-points", *TWO_MODES, "--dim", "1", "--rank", "1", "--amplitude", "0.3")
    assert code == 0
    assert "modes 2" in out
    assert "collapsed" not in out


def test_the_end_of_a_run_is_polished(dyn):
    P = [[0.9 + 1e-4]]
    np.savez("end.npz", online=[[0.8, 1e-4]], predictor=P, target=[[0.8, 2e-4]])
    report = report_of(dyn, "stability", *TWO_MODES, "--state", "end.npz", "--polish")
    assert report["polished"]["status"] == "converged"
    assert report["polished"]["residual_before"] > 1e-5
    assert report["residual"] < 1e-12
    assert report["verdict"] == "stable"


def test_the_saddle_node_and_the_pitchfork(dyn):
    decay = ("--parameter", "weight-decay", "--from", "0", "--to", "0.1")
    report = report_of(dyn, "bifurcation", *ONE_MODE, *decay)
    folds = [point for point in report["points"] if point["type"] == "saddle-node"]
    assert {key: folds[0][key] for key in ("parameter", "value", "predictor")} == {
        "parameter": "weight-decay",
        "value": 0.0625,
        "predictor": 0.25,
    }
    assert sorted(fold["online"] for fold in folds) == [-0.25, 0.25]
    leaf = ("--parameter", "invariant", "--from", "-0.5", "--to", "0.2")
    points = report_of(dyn, "bifurcation", *ONE_MODE, *leaf)["points"]
    assert [point["value"] for point in points if point["type"] == "branch-point"] == [-0.25]


def test_what_runs_to_infinity_is_an_escape_and_no_bifurcation(dyn):
    moves = ("--parameter", "beta", "--from", ".001", "--to", "1000", "--objective", "raft")
    report = report_of(dyn, "bifurcation", *ONE_MODE, *moves, "--weight-decay", ".06")
    # λs′ = 1 − β and λd′ = −β: β² = 4 η (1 − β), and p− is infinite at β = 1
    fold = -0.12 + (0.12**2 + 0.24) ** 0.5
    assert [(point["type"], point["value"]) for point in report["points"]] == [
        ("saddle-node", pytest.approx(fold, rel=1e-14))
    ] * 2
    assert [(escape["value"], escape["branches"]) for escape in report["escapes"]] == [
        (1.0, ["lower", "lower-mirror"])
    ]


def test_branches_are_saved_and_printed(dyn):
    moves = ("--parameter", "lambda-d", "--from", "0.2", "--to", "0.8", "--invariant", "-0.09")
    code, out, _ = dyn("bifurcation", *ONE_MODE, *moves, "--out", "branches.npz", "--plot", "branches.svg")
    assert code == 0
    assert "Pitchfork of the collapsed state at 0.3" in Path("branches.svg").read_text(encoding="utf-8")
    assert "pitchfork" in out
    with np.load("branches.npz") as saved:
        meta = json.loads(str(saved["meta"]))
        learned = saved["branch"] == [item["name"] for item in meta["branches"]].index("learned")
        # on the leaf, w2 = r and w1² = C + r² for τ = 1
        np.testing.assert_allclose(saved["predictor"][learned], saved["value"][learned], atol=1e-9)
        np.testing.assert_allclose(
            saved["online"][learned] ** 2, saved["value"][learned] ** 2 - 0.09, atol=1e-9
        )
    code, out, _ = dyn("bifurcation", *ONE_MODE, "--parameter", "tau-target", "--from", "1", "--to", "2",
                       "--weight-decay", "0.05")  # fmt: skip
    assert code == 0
    assert "no bifurcation" in out


ISOTROPIC = ("--isotropic", "0.5", "--inputs", "6", "--dim", "3", "--ema-ratio", "0.9", "--t-end", "20")


def test_alignment_of_the_isotropic_model_stays_below_its_bound(dyn):
    report = report_of(dyn, "align", *ISOTROPIC, "--weight-decay", "0.05", "--out", "aligned.npz")
    assert report["applicable"]
    assert report["holds"]
    assert len(report["t"]) == len(report["commutator"]) == len(report["bound"]) > 10
    assert np.all(np.array(report["commutator"]) <= np.array(report["bound"]) * (1 + 1e-6))
    assert report["commutator"][-1] < 0.1 * report["commutator"][0]
    assert dyn("align", *ISOTROPIC, "--plot", "aligned.png")[0] == 0
    assert Path("aligned.png").stat().st_size > 10_000
    with np.load("aligned.npz") as saved:
        np.testing.assert_array_equal(saved["commutator"], report["commutator"])
        assert saved["overlap"].shape == (len(report["t"]), 3)


def test_alignment_on_data_is_shown_and_not_judged(dyn):
    data = ("--data", "digits", "--augment", "noise:0.3", "--dim", "3", "--t-end", "20")
    report = report_of(dyn, "align", *data)
    assert report["holds"] is None
    assert set(report["bound"]) == {None}
    assert "multiple of the identity" in report["reason"]
    assert min(report["commutator"]) > 0
    code, out, _ = dyn("align", *data)
    assert code == 0
    assert "does not apply: Σs must be a multiple of the identity" in out


def test_a_bound_that_is_broken_is_exit_code_1(dyn, monkeypatch):
    from analysis.runs import alignment

    rate = alignment.alignment_rate
    monkeypatch.setattr(alignment, "alignment_rate", lambda state, system: rate(state, system) + np.eye(3))
    code, out, _ = dyn("align", *ISOTROPIC)
    assert code == 1
    assert "is violated" in out


def test_sylvester_counts_what_a_predictor_can_hold(dyn):
    np.save("P.npy", np.diag([0.9, 0.3]))
    report = report_of(dyn, "sylvester", *TWO_MODES, "--state", "P.npy")
    assert set(report) >= {"nullity", "shared_eigenvalues", "gap", "residual", "method"}
    assert report["nullity"] == 1
    assert report["shared_eigenvalues"] == [[pytest.approx(0.9), 0.0]]
    assert report["gap"] == pytest.approx(0.1)
    code, out, _ = dyn("sylvester", *TWO_MODES, "--state", "P.npy")
    assert code == 0
    assert "nullity" in out


def test_sylvester_says_what_its_tolerance_comes_from_unless_it_was_given(dyn):
    np.save("P.npy", np.diag([0.9, 0.3]).astype(np.float32))
    for given, said in (((), True), (("--tolerance", "1e-5"), False)):
        code, out, _ = dyn("sylvester", *TWO_MODES, "--state", "P.npy", *given)
        assert code == 0
        assert ("float32" in out) == said


def test_check_reports_all_results(dyn):
    report = report_of(dyn, "check", "--seeds", "1")
    assert [item["id"] for item in report["results"]] == list(RESULTS)
    keys = {"id", "title", "source", "as_printed", "verdict", "residual", "tolerance", "seconds"}
    assert all(set(item) >= keys for item in report["results"])
    assert report["n_violated"] == 0
    code, out, _ = dyn("check", "R2", "R6", "--symbolic")
    assert code == 0
    assert "proved" in out


def test_a_violated_result_is_exit_code_1(dyn, monkeypatch):
    from dataclasses import replace

    from analysis.results import Measurement

    broken = replace(RESULTS["R2"], trial=lambda rng: Measurement(1.0, 1e-9))
    monkeypatch.setitem(RESULTS, "R2", broken)
    code, out, _ = dyn("check", "R2", "R3", "--json")
    assert code == 1
    assert json.loads(out)["n_violated"] == 1


def test_the_page_of_results_is_what_the_command_prints(dyn):
    page = Path(__file__).resolve().parent.parent / "docs" / "results.md"
    code, out, _ = dyn("check", "--markdown", "--seeds", "1")
    assert code == 0
    assert out in page.read_text(encoding="utf-8")


MOVES = ("--parameter", "weight-decay", "--from", "0", "--to", "0.1")
BAD = [
    (("fixed-points",), "one way"),
    (("fixed-points", *TWO_MODES), "one mode"),
    (("fixed-points", *ONE_MODE, "--invariant", "nan"), "invariant"),
    (("fixed-points", *ONE_MODE, "--invariant", "1", "--variant", "no-predictor"), "invariant"),
    (("fixed-points", *ONE_MODE, "--target", "1"), "target"),
    (("fixed-points", *ONE_MODE, "--invariant", "much"), "--invariant"),
    (("stability", *TWO_MODES), "--state"),
    (("stability", *TWO_MODES, "--state", "nosuch.npz"), "nosuch.npz"),
    (("stability", *TWO_MODES, "--state", "moving.npz"), "fixed point"),
    (("stability", *TWO_MODES, "--state", "rest.npz", "--method", "guess"), "--method"),
    (("stability", *TWO_MODES, "--state", "rest.npz", "--tolerance", "0"), "tolerance"),
    (("stability", *TWO_MODES, "--state", "rest.npz", "--variant", "no-ema"), "--variant"),
    (("stability", *ONE_MODE, "--state", "rest.npz"), "columns"),
    (("sylvester", *TWO_MODES), "--state"),
    (("sylvester", *TWO_MODES, "--state", "wide.npy"), "square"),
    (("sylvester", *TWO_MODES, "--state", "nosuch.npy"), "nosuch.npy"),
    (("sylvester", *TWO_MODES, "--state", "square.npy", "--tolerance", "-1"), "tolerance"),
    (("fixed-points", *TWO_MODES, "--dim", "0"), "n2"),
    (("fixed-points", *TWO_MODES, "--dim", "2", "--rank", "3"), "rank"),
    (("fixed-points", *TWO_MODES, "--dim", "2", "--amplitude", "-1"), "amplitude"),
    (("fixed-points", *TWO_MODES, "--dim", "2", "--invariant", "1"), "--invariant"),
    (("fixed-points", *TWO_MODES, "--rank", "1"), "--dim"),
    (("bifurcation", *ONE_MODE, "--from", "0", "--to", "1"), "--parameter"),
    (("bifurcation", *ONE_MODE, *MOVES[2:], "--parameter", "speed"), "weight-decay"),
    (("bifurcation", *TWO_MODES, *MOVES), "one mode"),
    (
        ("bifurcation", *ONE_MODE, "--parameter", "weight-decay", "--from", "1", "--to", "0"),
        "--from and --to",
    ),
    (("bifurcation", *ONE_MODE, "--parameter", "weight-decay", "--from", "-1", "--to", "0"), ">= 0"),
    (("bifurcation", *ONE_MODE, "--parameter", "weight-decay", "--from", "nan", "--to", "0"), "finite"),
    (("bifurcation", *ONE_MODE, "--parameter", "lambda-d", "--from", ".1", "--to", ".5"), "--invariant"),
    (("bifurcation", *ONE_MODE, *MOVES, "--invariant", "1"), "--invariant"),
    (("bifurcation", *ONE_MODE, *MOVES, "--weight-decay", "1"), "--weight-decay must not be given"),
    (("bifurcation", *ONE_MODE[:2], *MOVES), "--lambda-d"),
    (("bifurcation", *ONE_MODE, *MOVES, "--variant", "tied"), "--variant"),
    (("bifurcation", *ONE_MODE, *MOVES, "--alpha", "2"), "--alpha"),
    (("bifurcation", *ONE_MODE, *MOVES, "--out", "branches.txt"), ".npz"),
    (("align",), "one way"),
    (("align", "--isotropic", "-1"), "--isotropic"),
    (("align", "--isotropic", "1", "--inputs", "0"), "--inputs"),
    (("align", "--isotropic", "1", *TWO_MODES), "--isotropic"),
    (("align", *TWO_MODES, "--inputs", "3"), "--inputs"),
    (("align", *TWO_MODES, "--ema-ratio", "-1"), "--ema-ratio"),
    (("align", *TWO_MODES, "--ema-ratio", "1", "--variant", "no-ema"), "--variant"),
    (("align", *TWO_MODES, "--variant", "tied"), "--variant"),
    (("align", *TWO_MODES, "--online", "1"), "--init-online"),
    (("align", *TWO_MODES, "--rtol", "0"), "rtol"),
    (("align", *TWO_MODES, "--state", "nosuch.npz"), "nosuch.npz"),
    (("check", "R31"), "R31"),
    (("check", "--seeds", "0"), "--seeds"),
]


@pytest.mark.parametrize(("arguments", "named"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_refused_in_one_line(dyn, arguments, named):
    np.savez("moving.npz", online=np.ones((1, 2)), predictor=[[0.7]])
    np.savez("rest.npz", online=np.zeros((1, 2)), predictor=[[-0.5]])
    np.save("wide.npy", np.ones((1, 2)))
    np.save("square.npy", np.eye(2))
    code, out, err = dyn(*arguments, "--json")
    assert code == 2
    assert out == ""
    assert err.startswith("dyn: ")
    assert err.count("\n") == 1
    assert named in err
