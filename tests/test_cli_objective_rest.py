"""`dyn fixed-points` and `dyn stability` under every objective: answers, JSON keys, agreement with runs, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import report_of
from numpy.testing import assert_allclose

THREE = tuple(word for ratio in (".9", ".5", ".3") for word in ("--lambda-s", "1", "--lambda-d", ratio))
ONE = ("--lambda-s", "1", "--lambda-d", ".5")
KEYS = {"name", "online", "predictor", "target", "eigenvalues", "stability", "exact", "zero_directions"}

ALONE = {
    "spectral": ((), "modes 1, 2", [0.9, 0.5]),
    "whitened": ((), "modes 1, 2", [1, 1]),
    "barlow-twins": (("--off-diagonal", ".3"), "modes 1, 2", [1, 1]),
    "vicreg": (
        ("--invariance", "1", "--variance", "4", "--covariance", "1"),
        "modes 1, 2, filled like water",
        [1.2, 0.8],
    ),
}


@pytest.mark.parametrize("objective", list(ALONE))
def test_runs_end_at_the_stable_point_and_are_stable(objective: str, dyn: Any, tmp_path: Path) -> None:
    weights, name, amplitudes = ALONE[objective]
    options = ("--objective", objective, *weights, *THREE)
    report = report_of(dyn, "fixed-points", *options, "--dim", "2")
    points = {point["name"]: point for point in report["fixed_points"]}
    assert all(set(point) >= KEYS and point["predictor"] is None for point in points.values())
    assert points[name]["stability"] == "stable"
    assert_allclose(points[name]["amplitudes"], amplitudes, atol=1e-12)
    state = str(tmp_path / "end.npz")
    end = report_of(dyn, "simulate", *options, "--dim", "2", "--out", state)
    if objective != "barlow-twins":  # whose modes are those that the start leads to
        assert_allclose(end["final"]["amplitudes"][:2], amplitudes, atol=1e-6)
    found = report_of(dyn, "stability", *options, "--state", state, "--eigenvalues")
    assert (found["verdict"], found["method"], found["objective"]) == ("stable", "dense", objective)
    assert found["spectrum"]["n_zero"] == found["n_zero_forced"] == sum(found["zero_directions"].values())
    assert (
        len(found["eigenvalues"])
        == found["n_unknowns"]
        == sum(found["spectrum"][sign] for sign in ("n_positive", "n_zero", "n_negative"))
    )
    listed = np.array(points[name]["eigenvalues"])[:, 0]
    if objective != "barlow-twins":
        # a run ends within 1e-8 of rest
        assert_allclose(np.array(found["eigenvalues"])[:, 0], listed, atol=1e-5)


def test_the_two_forms_of_barlow_twins(dyn: Any) -> None:
    options = ("fixed-points", "--objective", "barlow-twins", *THREE, "--dim", "2")
    raw, normalised = (report_of(dyn, *options, form)["fixed_points"] for form in ("--raw", "--normalised"))
    assert {point["name"] for point in raw if point["stability"] == "stable"} == {
        "modes 1, 2",
        "modes 1, 3",
        "modes 2, 3",
    }
    # λ = 0.005 lets both rows learn the top mode
    assert [point["name"] for point in normalised if point["stability"] == "stable"] == ["modes 1, 1"]


def test_held_rows_are_named(dyn: Any, tmp_path: Path) -> None:
    state = tmp_path / "row.npz"
    np.savez(state, online=[[1.0, 0.0, 0.0]])
    options = ("--objective", "vicreg", "--invariance", "1", "--variance", "4", *THREE)
    found = report_of(dyn, "stability", *options, "--state", str(state))
    assert (found["verdict"], found["held_rows"], found["n_unknowns"]) == ("stable", [1], 2)
    code, out, _ = dyn("stability", *options, "--state", str(state))
    assert code == 0
    assert "within std = 1 of rows 1" in out


@pytest.mark.parametrize("variant", ["full", "no-ema"])
def test_cosine_rests_at_one_ratio(variant: str, dyn: Any, tmp_path: Path) -> None:
    options = ("--objective", "cosine", *THREE, "--variant", variant)
    report = report_of(dyn, "fixed-points", *options)
    assert len(report["fixed_points"]) == len(report["lines"]) == 7
    assert all(set(point) >= KEYS for point in report["fixed_points"])
    assert {point["stability"] for point in report["fixed_points"]} == {"stable"}
    assert any("R312" in note for note in report["notes"])
    assert [line["segments"][2]["range"] for line in report["lines"][:6]] == [[0, 1]] * 6
    state = str(tmp_path / "end.npz")
    report_of(
        dyn, "simulate", *options, "--online", ".5", "--target", ".5", "--predictor", ".4", "--out", state
    )
    found = report_of(dyn, "stability", *options, "--state", state)
    assert found["verdict"] == "stable"
    assert found["spectrum"]["n_zero"] == found["n_zero_forced"] == 4
    assert found["zero_directions"]["length of P"] == 1


def test_iso_has_lines_and_on_a_leaf_points(dyn: Any, tmp_path: Path) -> None:
    options = ("--objective", "iso", *ONE)
    lines = {line["name"]: line for line in report_of(dyn, "fixed-points", *options)["lines"]}
    assert [part["stability"] for part in lines["collapsed"]["segments"]] == [
        "saddle",
        "degenerate",
        "attracting",
    ]
    assert [part["range"] for part in lines["collapsed"]["segments"]] == [
        [None, 0.5],
        [0.5, 0.5],
        [0.5, None],
    ]
    learned, mirror, collapsed = report_of(dyn, "fixed-points", *options, "--invariant", ".1")["fixed_points"]
    assert learned["online"] == pytest.approx(np.sqrt(1.2), abs=1e-14) == -mirror["online"]
    assert (learned["stability"], collapsed["stability"], collapsed["predictor"]) == (
        "stable",
        "saddle",
        -0.1,
    )
    state = str(tmp_path / "end.npz")
    report_of(
        dyn, "simulate", *options, "--online", ".3", "--predictor", "-2", "--target", ".3", "--out", state
    )
    found = report_of(dyn, "stability", *options, "--state", state)
    assert (found["verdict"], found["n_unknowns"], found["zero_directions"]) == (
        "stable",
        3,
        {"sizes of learned modes": 1},
    )


@pytest.mark.parametrize("objective", ["cosine", "iso", *ALONE])
def test_tables(objective: str, dyn: Any) -> None:
    code, out, err = dyn("fixed-points", "--objective", objective, *(ONE if objective == "iso" else THREE))
    assert (code, err) == (0, "")
    assert "stability" in out


REST = ("fixed-points", *THREE, "--objective")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            (*REST, "cosine", "--weight-decay", ".1"),
            "--weight-decay must be 0 for points of rest under the objective",
        ),
        ((*REST, "cosine", "--dim", "2"), "--dim must not go with --objective cosine"),
        ((*REST, "cosine", "--invariant", "1"), "--invariant must not go with --objective cosine"),
        ((*REST, "cosine", "--alpha", "1"), "--alpha must not go with --objective cosine, got 1"),
        (
            (*REST, "cosine", "--variant", "tied"),
            "--variant must be full or no-ema with --objective cosine, got tied",
        ),
        ((*REST, "cosine", "--depth", "2"), "--objective cosine must not go with --depth"),
        (
            (*REST, "cosine", "--batch-norm", "mean"),
            "--batch-norm must be none for --objective cosine, got mean",
        ),
        ((*REST, "iso"), "--lambda-s must be given once with the objective iso"),
        (
            (*REST, "spectral", "--covariance", "1"),
            "--covariance must go with --objective vicreg, got spectral",
        ),
        (
            (*REST, "byol", "--off-diagonal", "1"),
            "--off-diagonal must go with --objective barlow-twins, got byol",
        ),
        ((*REST, "spectral", "--exact"), "--exact must not go with --objective spectral"),
        (
            (*REST, "spectral", "--tau-target", "2"),
            "--tau-target must not go with --objective spectral, got 2",
        ),
        ((*REST, "whitened", "--dim", "4"), "--dim must be at most the 3 modes for whitened outputs, got 4"),
        ((*REST, "whitened", "--weight-decay", ".1"), "--weight-decay must be 0 for whitened"),
        ((*REST, "vicreg", "--variance", "0"), "--variance must be > 0 for fixed points of vicreg"),
    ],
)
def test_refusals(args: tuple[str, ...], message: str, dyn: Any) -> None:
    code, out, err = dyn(*args)
    assert (code, out) == (2, "")
    assert message in err


def test_refusals_of_states(dyn: Any, tmp_path: Path) -> None:
    row, modes, two = (str(tmp_path / f"{name}.npz") for name in ("row", "modes", "two"))
    np.savez(row, online=[[0.5, 0.0, 0.0]])
    np.savez(modes, online=np.zeros(3), predictor=np.ones(3))
    np.savez(two, online=np.ones(2), predictor=np.ones(2))
    for objective, state, more, message in (
        ("spectral", row, (), "--state must be at rest to --tolerance 1e-06, got a residual of"),
        ("whitened", row, (), "--state must have white outputs"),
        (
            "spectral",
            row,
            ("--polish",),
            "--polish must not go with --objective spectral, whose spectrum is dense",
        ),
        ("vicreg", row, ("--step", ".1"), "--step must not go with --objective vicreg"),
        ("cosine", row, (), "must hold predictor, got online"),
        ("cosine", modes, (), "predictions and targets that are not all zero"),
        ("cosine", two, (), "--state: online must have 3 modes like the system, got 2"),
    ):
        code, out, err = dyn("stability", "--objective", objective, *THREE, "--state", state, *more)
        assert (code, out) == (2, ""), err
        assert message in err
