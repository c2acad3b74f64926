"""`dyn basins --depth` and `dyn stability --depth`: answers, JSON keys, files, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import report_of

ONE_MODE = ("--lambda-s", "1", "--lambda-d", "0.5")
DEEP = (*ONE_MODE, "--depth", "2")


def test_basins_of_layers(dyn):
    report = report_of(
        dyn, "basins", *DEEP, "--grid", "12", "--out", "b.npz", "--plot", "b.png", "--boundary"
    )
    assert (report["theory_mismatches"], report["predicted_by_theory"], report["trajectories"]) == (
        0,
        144,
        144,
    )
    assert (report["plane"], report["depth"], report["layers"]) == (["layers", "predictor"], 2, [0.3, 0.3])
    assert report["fractions"]["undecided"] == 0
    assert {"seconds", "intervals", "undecided_because", "variant"} <= set(report)
    assert len(report["boundary"]["points"]) > 10
    with np.load("b.npz") as kept:
        assert kept["layers"].shape == kept["targets_end"].shape == (144, 2)
        assert kept["fate"].shape == kept["predictor"].shape == (144,)


def test_one_layer_of_given_others(dyn):
    more = ("--plane", "layer1,predictor", "--layers", ".3,.5", "--random", "50", "--seed", "3")
    report = report_of(dyn, "basins", *DEEP, *more, "--range", "predictor:-1:0")
    assert (report["starts"], report["theory_mismatches"], report["layers"]) == ("random", 0, [0.3, 0.5])
    same = report_of(dyn, "basins", *DEEP, *more, "--range", "predictor:-1:0")
    assert same["fractions"] == report["fractions"]


def test_a_depth_of_one_is_the_command_without(dyn):
    deep = report_of(dyn, "basins", *ONE_MODE, "--depth", "1", "--grid", "9")
    plain = report_of(dyn, "basins", *ONE_MODE, "--grid", "9")
    assert deep | {"seconds": 0} == plain | {"seconds": 0}


def test_weight_decay_is_predicted_where_theory_knows(dyn):
    more = ("--weight-decay", "0.02", "--grid", "6")
    report = report_of(dyn, "basins", *DEEP, *more, "--variant", "no-ema")  # η* = 0.0105
    assert (report["fractions"]["collapsed"], report["predicted_by_theory"]) == (1.0, 36)
    assert report_of(dyn, "basins", *DEEP, *more)["predicted_by_theory"] == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ("--plane", "online,predictor"),
            "--plane must be two of layers, layer1, layer2, predictor, targets",
        ),
        (("--layers", ".1"), "--layers must hold one number per layer (2), got 1"),
        (("--layers", ".1,x"), "--layers must be numbers such as .3,.5, got '.1,x'"),
        (("--variant", "tied"), "--variant must be full or no-ema with --depth, got tied"),
        (("--range", "layer1:0:1"), "--range must name a coordinate of --plane layers,predictor"),
        (("--lambda-s", "1", "--lambda-d", ".4"), "--depth must go with one mode, got 2"),
    ],
)
def test_basins_refuse_nonsense(dyn, args, words):
    code, _, err = dyn("basins", *DEEP, "--grid", "3", *args)
    assert code == 2
    assert words in err


def test_layers_need_a_depth(dyn):
    code, _, err = dyn("basins", *ONE_MODE, "--layers", ".1,.2")
    assert code == 2
    assert "--layers must go with --depth of 2 or more, got --layers .1,.2" in err


def test_the_end_of_a_run_is_stable(dyn):
    dyn("simulate", *DEEP, "--layers", ".3,.5", "--predictor", ".4", "--out", "end.npz")
    report = report_of(dyn, "stability", *DEEP, "--state", "end.npz", "--polish", "--eigenvalues")
    assert {"residual", "n_unknowns", "method", "spectrum", "conditions", "polished"} <= set(report)
    assert report["residual"] == 0
    assert report["n_unknowns"] == len(report["eigenvalues"]) == 5
    spectrum = report["spectrum"]
    assert (spectrum["n_positive"], spectrum["n_zero"], spectrum["n_negative"]) == (0, 2, 3)
    assert (spectrum["max_real"], report["verdict"], report["n_zero_forced"]) == (0, "stable", 2)
    code, out, _ = dyn("stability", *DEEP, "--state", "end.npz", "--eigenvalues")
    assert code == 0
    assert "mode 1 is learned, v = r, stable: 2 neutral directions lead along fixed points (R320)" in out


def test_two_modes_have_a_block_each(dyn):
    np.savez(
        "two.npz", layers=[[0.3, 0.0], [0.4, 0.6]], predictor=[0.5, 0.2], target=[[0.3, 0.0], [0.4, 0.6]]
    )
    modes = (*DEEP, "--lambda-s", "1", "--lambda-d", ".8")
    report = report_of(dyn, "stability", *modes, "--state", "two.npz")
    assert (report["method"], report["verdict"], report["n_unknowns"]) == ("blocks", "saddle", 10)
    assert [one["verdict"] for one in report["conditions"]] == ["stable", "saddle"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((*DEEP, "--state", "far.npz"), "the state must be a fixed point within --tolerance = 1e-06"),
        (
            (*ONE_MODE, "--depth", "3", "--state", "far.npz"),
            "--state must hold layers of --depth 3 and 1 modes",
        ),
        (
            (*DEEP, "--state", "far.npz", "--method", "iterative"),
            "--method iterative must not go with --depth",
        ),
        ((*DEEP, "--state", "far.npz", "--step", ".1"), "--step must not go with --depth"),
        (("--data", "digits", "--augment", "noise:.3", "--depth", "2", "--state", "far.npz"), "--lambda-s"),
    ],
)
def test_stability_refuses_nonsense(dyn, args, words):
    np.savez("far.npz", layers=[0.3, 0.4], predictor=0.2)
    code, _, err = dyn("stability", *args)
    assert code == 2
    assert words in err
