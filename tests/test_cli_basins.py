"""`dyn basins`: shares, JSON keys, saved starts, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import report_of

ONE_MODE = ("--lambda-s", "1", "--lambda-d", "0.5")


def test_a_lattice_agrees_with_theory(dyn):
    report = report_of(dyn, "basins", *ONE_MODE, "--grid", "60")
    assert set(report) >= {"fractions", "theory_mismatches", "trajectories", "seconds"}
    assert set(report["fractions"]) == {"learned", "collapsed", "undecided"}
    assert sum(report["fractions"].values()) == pytest.approx(1)
    assert (report["trajectories"], report["theory_mismatches"]) == (3600, 0)
    assert report["intervals"] is None


def test_a_random_draw_has_intervals_and_repeats(dyn):
    arguments = (
        *ONE_MODE,
        "--random",
        "300",
        "--range",
        "online:-1:1",
        "--range",
        "target:0:1/2",
        "--seed",
        "3",
    )
    plane = ("--plane", "target,online", "--variant", "tied")
    first, again = (report_of(dyn, "basins", *arguments, *plane) for _ in range(2))
    assert first["fractions"] == again["fractions"]
    assert first["ranges"] == [[0.0, 0.5], [-1.0, 1.0]]
    low, high = first["intervals"]["learned"]
    assert low < first["fractions"]["learned"] < high


def test_starts_are_saved(dyn):
    code, out, _ = dyn("basins", *ONE_MODE, "--grid", "5", "--at", "0.2", "--out", "starts.npz")
    assert code == 0
    assert "learned" in out
    assert "25 lattice starts" in out
    with np.load("starts.npz") as archive:
        saved = dict(archive)
    assert saved["fate"].shape == (25,)
    assert np.all(saved["target"] == 0.2)
    meta = json.loads(str(saved["meta"]))
    learned = saved["fate"] == meta["codes"]["learned"]
    assert np.all(np.abs(saved["online_end"][learned]) > 0)
    assert meta["shape"] == [5, 5]


def test_the_boundary_is_found_and_drawn(dyn):
    report = report_of(
        dyn, "basins", *ONE_MODE, "--grid", "20", "--range", "online:0:1", "--boundary", "--plot", "map.svg"
    )
    w1, w2 = np.array(report["boundary"]["points"]).T
    # R6: w2² − w1² = r² above, w2 = −w1 below, to within the interval that is left along one axis
    away = np.where(w2 > 0, w2**2 - w1**2 - 0.25, w2 + w1)
    half_width = np.array(report["boundary"]["half_width"])
    assert len(w1) > 10
    assert np.all(half_width < 0.125 / 50)
    # a start on the boundary itself may be an end of its interval: then equality holds to rounding
    bound = np.where(w2 > 0, 2 * np.maximum(w1, w2) + half_width, 1) * half_width
    assert np.all(np.abs(away) <= bound + 1e-12)
    assert "boundary" in Path("map.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--grid", "0"), "--grid must be >= 1, got 0"),
        (("--grid", "5", "--random", "5"), "one of the two"),
        (("--plane", "online"), "--plane must be two of"),
        (("--range", "online:1"), "--range must be NAME:LOW:HIGH"),
        (
            ("--range", "target:0:1"),
            "--range must name a coordinate of --plane online,predictor, got 'target'",
        ),
        (("--out", "starts.txt"), "must end in"),
        (("--lambda-s", "1", "--lambda-d", "0.2"), "basins are those of one mode, got 2 modes"),
    ],
)
def test_nonsense_ends_with_a_sentence(dyn, options, message):
    code, out, err = dyn("basins", *ONE_MODE, *options)
    assert (code, out) == (2, "")
    assert message in err
