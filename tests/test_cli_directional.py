"""`dyn simulate --objective cosine|iso`: answers against R315 and R323, agreement, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import report_of

THREE = tuple(word for ratio in (".5", ".8", ".3") for word in ("--lambda-s", "1", "--lambda-d", ratio))
START = ("--online", ".5", "--target", ".5")
COSINE = ("simulate", *THREE, "--objective", "cosine", *START)
ISO = ("simulate", *THREE, "--objective", "iso", *START)


def test_cosine_keeps_norms_and_rests_at_one_ratio(dyn):
    modes = report_of(dyn, *COSINE, "--predictor", "-.8", "--predictor", ".3", "--predictor", ".4")["modes"]
    assert [mode["fate"] for mode in modes] == ["collapsed", "learned", "learned"]
    assert all(mode["agrees"] for mode in modes)
    ends = np.array([[mode["final"][name] for name in ("online", "predictor")] for mode in modes])
    # ten times the tolerance of the run
    np.testing.assert_allclose(np.sum(ends**2, axis=0), [0.75, 0.64 + 0.09 + 0.16], atol=1e-7)
    assert ends[1, 1] / 0.8 == pytest.approx(ends[2, 1] / 0.3, abs=1e-6)
    assert ends[0, 1] == pytest.approx(-np.sqrt(0.64 - 0.25), abs=1e-6)
    assert "κ" in modes[1]["predicted"]["reason"]


@pytest.mark.parametrize("variant", ["full", "no-ema"])
def test_negative_predictors_recover_under_iso(dyn, variant):
    start = ("--predictor", "-.8", "--predictor", ".3", "--predictor", "1.4", "--variant", variant)
    modes = report_of(dyn, *ISO, *start, "--plot", "iso.png", "--out", "iso.npz")["modes"]
    assert [mode["fate"] for mode in modes] == ["learned", "learned", "collapsed"]
    assert all(mode["agrees"] for mode in modes)
    assert modes[0]["final"]["online"] == pytest.approx(np.sqrt(2 * (0.125 + 0.8 + 0.5)), abs=1e-6)
    assert modes[2]["final"]["predictor"] == pytest.approx(1.4 - 0.125, abs=1e-6)
    assert modes[0]["predicted"]["reason"] == "R323"


def test_weight_decay_under_cosine_shrinks_and_keeps_directions(dyn):
    eta, t = 0.1, 3.0
    plain, decayed = (
        report_of(dyn, *COSINE, "--predictor", ".3", "--variant", "no-ema", *more)["modes"]
        for more in (
            ("--t-end", repr(float(np.expm1(2 * eta * t) / (2 * eta)))),
            ("--t-end", str(t), "--weight-decay", str(eta)),
        )
    )
    for one, two in zip(plain, decayed, strict=True):
        assert two["final"]["online"] == pytest.approx(np.exp(-eta * t) * one["final"]["online"], abs=1e-7)
        assert (two["fate"], two["predicted"]["fate"]) == ("undecided", None)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((*COSINE, "--weight-decay", ".1"), "--t-end must be given with weight decay"),
        ((*ISO, "--weight-decay", ".1"), "--weight-decay must be 0 with the objective iso, got 0.1"),
        ((*COSINE, "--dim", "2"), "--dim must not go with --objective cosine"),
        ((*COSINE, "--alpha", "2"), "--alpha must not go with --objective cosine"),
        (
            (*COSINE, "--variant", "tied"),
            "--variant must be full or no-ema with --objective cosine, got tied",
        ),
        ((*COSINE, "--depth", "2"), "--depth must not go with --objective cosine"),
        ((*ISO, "--batch-norm", "mean"), "--batch-norm must not go with --objective iso"),
        (
            (
                "simulate",
                "--lambda-s",
                "1",
                "--lambda-d",
                ".5",
                "--objective",
                "cosine",
                "--online",
                "0",
                "--target",
                "0",
            ),
            "not all zero",
        ),
        (
            ("simulate", "--data", "digits", "--augment", "noise:.1", "--objective", "iso"),
            "--objective iso must go with --lambda-s",
        ),
        (("basins", *THREE, "--objective", "cosine"), "must be one of byol"),
    ],
)
def test_refusals(dyn, args, message):
    code, out, err = dyn(*args)
    assert (code, out) == (2, "")
    assert message in err
