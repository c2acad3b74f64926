"""`dyn simulate --depth` and `dyn fixed-points --depth`: answers, JSON keys, files, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import report_of

ONE_MODE = ("--lambda-s", "1", "--lambda-d", "0.5")
DEEP = ("simulate", *ONE_MODE, "--depth", "2")


def test_layers_end_where_theory_says(dyn):
    report = report_of(dyn, *DEEP, "--layers", ".3,.5", "--predictor", ".4")
    mode = report["modes"][0]
    np.testing.assert_allclose(mode["final"]["layers"], [np.sqrt(0.18), np.sqrt(0.34)], atol=1e-6)
    assert mode["final"]["predictor"] == pytest.approx(0.5, abs=1e-6)
    assert (mode["fate"], mode["predicted"]["fate"], mode["agrees"]) == ("learned", "learned", True)
    np.testing.assert_allclose(mode["predicted"]["layers"], mode["final"]["layers"], atol=1e-6)
    assert mode["invariant"]["drift"] < 1e-8
    assert {"status", "t", "n_field_evaluations", "seconds", "depth"} <= set(report)


@pytest.mark.parametrize("variant", ["full", "no-ema"])
def test_a_negative_predictor_kills_a_layer(dyn, variant):
    report = report_of(dyn, *DEEP, "--layers", ".3,.5", "--predictor", "-.4", "--variant", variant)
    mode = report["modes"][0]
    assert (mode["fate"], mode["predicted"]["fate"]) == ("collapsed", "collapsed")
    assert mode["final"]["predictor"] == pytest.approx(-np.sqrt(0.07), abs=1e-6)
    assert mode["predicted"]["proved"] is (variant == "no-ema")


def test_modes_have_layers_of_their_own(dyn):
    more = (
        "--lambda-s",
        "1",
        "--lambda-d",
        ".8",
        "--layers",
        ".3,.5",
        "--layers",
        ".6,.7",
        "--predictor",
        ".4",
    )
    report = report_of(dyn, *DEEP, *more, "--out", "run.npz", "--plot", "run.png")
    assert [mode["initial"]["layers"] for mode in report["modes"]] == [[0.3, 0.5], [0.6, 0.7]]
    with np.load("run.npz") as kept:
        assert kept["layers"].shape[1:] == kept["targets"].shape[1:] == (2, 2)
        assert kept["predictor"].shape == kept["layers"].shape[::2]
    code, out, _ = dyn(*DEEP, *more)
    assert code == 0
    assert "learned" in out


def test_layers_keep_their_signs(dyn):
    mode = report_of(dyn, *DEEP, "--layers=-.3,.5", "--predictor", "-.2")["modes"][0]
    np.testing.assert_allclose(mode["predicted"]["layers"], mode["final"]["layers"], atol=1e-6)
    assert mode["final"]["online"] < 0
    assert mode["predicted"]["online"] == pytest.approx(mode["final"]["online"], abs=1e-6)


@pytest.mark.parametrize(
    ("start", "share", "fate"),
    [(0.8, 0.9, "learned"), (0.3, 0.9, "collapsed"), (0.8, 1.1, "collapsed")],
)
def test_weight_decay_of_a_balanced_mode(dyn, start, share, fate):
    args = ("simulate", "--lambda-s", "1", "--lambda-d", ".8", "--depth", "2", "--variant", "no-ema")
    more = ("--layers", f"{start},{start}", "--predictor", str(start), "--weight-decay", str(share * 0.0432))
    mode = report_of(dyn, *args, *more)["modes"][0]
    assert (mode["fate"], mode["predicted"]["fate"], mode["predicted"]["reason"]) == (fate, fate, "R322")
    assert mode["final"]["predictor"] == pytest.approx(mode["predicted"]["predictor"], abs=1e-6)
    assert mode["decay_threshold"] == pytest.approx(0.0432)


def test_weight_decay_elsewhere_is_not_predicted(dyn):
    mode = report_of(dyn, *DEEP, "--layers", ".3,.5", "--weight-decay", ".001", "--t-end", "5")["modes"][0]
    assert (mode["predicted"]["fate"], mode["predicted"]["reason"]) == (None, None)


def test_a_run_that_is_cut_short_is_undecided(dyn):
    mode = report_of(dyn, *DEEP, "--t-end", "1")["modes"][0]
    assert (mode["fate"], mode["agrees"]) == ("undecided", None)


def test_fixed_points_by_depth(dyn):
    args = ("fixed-points", "--lambda-s", "1", "--lambda-d", "0.8", "--depth", "2")
    report = report_of(dyn, *args, "--weight-decay", str(0.99 * 0.0432))
    points = {point["name"]: point for point in report["fixed_points"]}
    assert {name: point["stability"] for name, point in points.items()} == {
        "origin": "stable",
        "lower": "saddle",
        "upper": "stable",
    }
    assert points["upper"]["predictor"] == pytest.approx(0.6239, abs=5e-5)
    above = report_of(dyn, *args, "--weight-decay", str(1.01 * 0.0432))
    assert [point["name"] for point in above["fixed_points"]] == ["origin"]
    lines = {line["name"]: line["segments"] for line in report_of(dyn, *args)["lines"]}
    assert {tuple(part["range"]): part["stability"] for part in lines["collapsed"]}[(0.0, 0.8)] == "saddle"
    code, out, _ = dyn(*args)
    assert code == 0
    assert "one layer 0" in out


SWEPT = ("--parameter", "weight-decay", "--from", ".01", "--to", ".06")


def test_the_fold_of_two_layers(dyn):
    args = ("bifurcation", "--lambda-s", "1", "--lambda-d", "0.8", "--depth", "2", *SWEPT)
    report = report_of(dyn, *args, "--plot", "fold.png", "--out", "fold.npz")
    [point] = report["points"]
    assert (point["type"], round(point["value"], 9), round(point["predictor"], 9)) == (
        "saddle-node",
        0.0432,
        0.6,
    )
    branches = {branch["name"]: branch for branch in report["branches"]}
    assert set(branches["upper"]["stability"][:-1]) == {"stable"}
    assert set(branches["lower"]["stability"][:-1]) == {"saddle"}
    assert set(branches["origin"]["stability"]) == {"stable"}
    v = branches["upper"]["predictor"]
    assert all(0.6 <= level < 0.8 for level in v)
    pull = [level**3 * (0.8 - level) for level in v]
    np.testing.assert_allclose(
        pull, branches["upper"]["value"], rtol=1e-9
    )  # roots to a few roundings, away from 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("bifurcation", *ONE_MODE, "--depth", "2", *SWEPT[:2], "--from", "0", "--to", "1"),
            "0 < first < last",
        ),
        (
            ("bifurcation", *ONE_MODE, "--depth", "2", *SWEPT, "--invariant", "1"),
            "--invariant must not go with",
        ),
        (
            ("bifurcation", *ONE_MODE, "--depth", "2", *SWEPT, "--objective", "raft"),
            "--objective must be byol with",
        ),
        (
            (
                "bifurcation",
                "--lambda-s",
                "1",
                "--depth",
                "2",
                "--parameter",
                "lambda-d",
                "--from",
                ".1",
                "--to",
                "1",
            ),
            "--parameter must be weight-decay with --depth, got lambda-d",
        ),
        (("simulate", *ONE_MODE, "--layers", ".3"), "--layers must go with --depth, got --layers alone"),
        ((*DEEP, "--layers", ".3"), "--layers must hold one number per layer (2), got 1"),
        ((*DEEP, "--layers", "a,b"), "--layers must be numbers such as .3,.5, got 'a,b'"),
        (
            (*DEEP, *("--layers", ".3,.5") * 2),
            "--layers must be given once, or once for each of 1 modes, got 2",
        ),
        ((*DEEP, "--online", ".3"), "--online must not go with --depth"),
        ((*DEEP, "--dim", "2", "--layers", ".3,.5"), "--layers must go with modes; a network starts from"),
        ((*DEEP, "--init-online", "2"), "--init-online must not go with --depth"),
        ((*DEEP, "--variant", "tied"), "--variant must be full or no-ema with --depth, got tied"),
        (
            (*DEEP, "--restart-every", "3", "--t-end", "9"),
            "--restart-every must not go with --depth, got 3.0",
        ),
        ((*DEEP, "--objective", "infonce"), "--depth must not go with --objective infonce"),
        (
            ("simulate", "--data", "digits", "--augment", "shift:1", "--depth", "2", "--online", ".1"),
            "--online must go with modes; a network starts from --state or at random",
        ),
        (("fixed-points", *ONE_MODE, "--depth", "2", "--rank", "1"), "--rank must not go with --depth"),
        (
            ("fixed-points", *ONE_MODE, "--depth", "2", "--variant", "tied"),
            "--variant must be full or no-ema",
        ),
        (("fixed-points", *ONE_MODE, *ONE_MODE, "--depth", "2"), "--depth must go with one mode, got 2"),
    ],
)
def test_refusals(dyn, args, message):
    code, out, err = dyn(*args)
    assert (code, out) == (2, "")
    assert message in err
