"""`dyn diagnose` and `dyn moments`: their JSON keys, files and pictures, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import report_of
from numpy.testing import assert_allclose
from test_diagnosis import trained

from analysis.runs.diagnosis import diagnose
from dynamics.data.dumps import checked_dump
from figures.results.diagnosis import figure_diagnosis
from figures.style import theme


@pytest.fixture(scope="module")
def partly() -> dict[str, np.ndarray]:
    return trained(201, "negative")


def test_the_report_has_its_keys(dyn, partly):
    np.savez("run.npz", labels=np.arange(len(partly["view1"])) % 3, **partly)
    report = report_of(dyn, "diagnose", "run.npz")
    assert report["verdict"] == "partly-collapsed"
    assert report["rank"] == 2
    assert set(report) >= {"effective_rank", "rankme", "alignment", "uniformity", "std", "limits", "seconds"}
    assert set(report["invariant"]) == {"rank_floor", "negative", "positive"}
    assert len(report["directions"]) == 4
    for row in report["directions"]:
        assert set(row) >= {"ratio", "predictor", "amplitude", "fate", "decay_threshold"}
    (cause,) = report["causes"]
    assert set(cause) >= {"knob", "value", "threshold", "result", "advice"}
    assert (cause["knob"], cause["threshold"], cause["result"]) == ("predictor", 0.0, "R6")
    assert_allclose(cause["value"], np.min(np.linalg.eigvals(partly["predictor"]).real))
    code, out, err = dyn("diagnose", "run.npz")
    assert code == 0
    assert "partly-collapsed: 2 directions are held, of 4 that could be; 2 collapsed" in out
    assert "predictor (R6)" in out
    assert "limit: theory holds for the last linear layer" in err
    assert dyn("diagnose", "run.npz", "--quiet")[2] == ""


def test_settings_reach_the_analysis(dyn, partly):
    np.savez("run.npz", **partly)
    plain = report_of(dyn, "diagnose", "run.npz")
    doubled = report_of(dyn, "diagnose", "run.npz", "--loss-factor", "4")
    for one, four in zip(plain["directions"], doubled["directions"], strict=True):
        assert_allclose(four["decay_threshold"], 4 * one["decay_threshold"])
    faster = report_of(dyn, "diagnose", "run.npz", "--predictor-rate", "4")
    assert_allclose(faster["directions"][0]["share"], 2 * plain["directions"][0]["share"])
    decayed = report_of(dyn, "diagnose", "run.npz", "--weight-decay", "10")
    assert (decayed["verdict"], decayed["causes"][0]["knob"]) == ("collapsing", "weight-decay")
    leaking = report_of(dyn, "diagnose", "run.npz", "--no-stop-gradient")
    assert leaking["causes"][0]["knob"] == "stop-gradient"
    hasty = report_of(dyn, "diagnose", "run.npz", "--learning-rate", "100", "--batch", "4")
    assert hasty["causes"][0]["knob"] == "learning-rate"
    assert hasty["causes"][0]["threshold"] < 100
    assert {row["wear_steps"] is None for row in hasty["directions"]} == {False, True}
    still = report_of(dyn, "diagnose", "run.npz", "--decay", "1")
    assert "decay" in [cause["knob"] for cause in still["causes"]]


def test_files_that_are_written_hold_the_directions(dyn, partly):
    np.savez("run.npz", **partly)
    for name in ("a.npz", "a.csv", "a.json", "a.nc"):
        code, _, err = dyn("diagnose", "run.npz", "--out", name, "--plot", "a.png", "--quiet")
        assert (code, err) == (0, "")
    assert Path("a.png").stat().st_size > 1000
    written, report = np.load("a.npz"), json.loads(Path("a.json").read_text())
    assert written["fate"].tolist() == report["fate"]
    assert_allclose(
        written["predictor_real"], [row["predictor"][0] for row in report["meta"]["report"]["directions"]]
    )
    assert report["meta"]["report"]["verdict"] == "partly-collapsed"
    np.savez("features.npz", view1=partly["view1"], view2=partly["view2"])
    assert dyn("diagnose", "features.npz", "--out", "b.json")[0] == 0
    assert set(json.loads(Path("b.json").read_text())) == {"meta", "ratio", "amplitude", "fate"}


def test_the_picture_has_eigenvalues_of_P_by_fate_and_the_deviations(partly):
    found = diagnose(checked_dump(partly))
    left, right = figure_diagnosis(found).axes
    drawn = {line.get_label(): line.get_ydata() for line in left.get_lines()}
    assert set(drawn) == {"learned", "collapsed"}
    for fate, values in drawn.items():
        assert_allclose(values, found.directions.predictor.real[found.directions.fate == fate])
    assert {line.get_label(): line.get_color() for line in left.get_lines()} == {
        fate: theme().fates[fate] for fate in drawn
    }
    assert_allclose(right.get_lines()[0].get_ydata(), found.deviations)
    alone = diagnose(checked_dump({name: partly[name] for name in ("view1", "view2")}))
    assert figure_diagnosis(alone).axes[0].get_ylabel() == r"$\lambda_d/\lambda_s$"


def test_moments_of_views_are_read_by_other_commands(dyn, partly):
    np.savez("views.npz", z1=partly["view1"], view2=partly["view2"])
    made = report_of(dyn, "moments", "--views", "views.npz", "--names", "view1=z1", "--out", "m.npz")
    both = (partly["view1"], partly["view2"])
    with np.load("m.npz") as saved:
        assert_allclose(
            saved["sigma_s"], sum(x.T @ x for x in both) / (2 * len(both[0])), rtol=1e-12, atol=1e-12
        )
        assert_allclose(saved["mean"], sum(x.mean(0) for x in both) / 2, atol=1e-12)
    assert_allclose(report_of(dyn, "contrast", "--moments", "m.npz")["modes"][0]["ratio"], made["ratios"][0])
    code, out, _ = dyn("moments", "--views", "views.npz", "--names", "view1=z1")
    assert code == 0
    assert f"{made['ratios'][0]:.7g}" in out


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("missing.npz",), "missing.npz does not exist"),
        (("run.pkl",), "a file name must end in .npz, .npy, .safetensors"),
        (("same.npz",), "view2 must be another view of the samples, got view1 again"),
        (("views.npz", "--names", "view1"), "--names must be NAME=KEY"),
        (("views.npz", "--names", "view1=a", "--names", "view1=b"), "--names must set view1 once"),
        (("views.npz", "--names", "views=a"), "--names must set some of view1"),
        (("views.npz", "--names", "view1=a"), "must hold a, got view1, view2 (--names says"),
        (("apart.npz",), "view1 and view2 must be drawn independently given the sample"),
        (("views.npz", "--weight-decay", "-1"), "--weight-decay must be finite and >= 0"),
        (("views.npz", "--predictor-rate", "0"), "--predictor-rate must be finite and > 0"),
        (("views.npz", "--loss-factor", "nan"), "--loss-factor must be finite and > 0"),
        (("views.npz", "--decay", "2"), "--decay must be from 0 to 1"),
        (("views.npz", "--learning-rate", "0"), "--learning-rate must be finite and > 0"),
        (("views.npz", "--batch", "0"), "--batch must be an integer >= 1"),
        (("views.npz", "--out", "a.txt"), "a.txt"),
    ],
)
def test_bad_input_is_refused_by_name(dyn, given, named):
    rng = np.random.default_rng(202)
    x = rng.normal(size=(500, 2))
    Path("run.pkl").write_bytes(b"\x80\x04N.")
    np.savez("same.npz", view1=x, view2=x)
    np.savez("apart.npz", view1=x, view2=-x)
    np.savez("views.npz", view1=x, view2=x + 0.1 * rng.normal(size=x.shape))
    code, out, err = dyn("diagnose", *given)
    assert (code, out) == (2, "")
    assert named in err
    assert "`" not in err


def test_moments_refuse_another_format(dyn, partly):
    np.savez("views.npz", view1=partly["view1"], view2=partly["view2"])
    code, _, err = dyn("moments", "--views", "views.npz", "--out", "m.csv")
    assert code == 2
    assert "must end in .npz" in err
