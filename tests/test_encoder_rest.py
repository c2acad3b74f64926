"""Fixed points of an encoder's flow and their spectra, by the command and against R117."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.contrastive.encoder_rest import encoder_rest
from analysis.contrastive.infonce_points import critical_points, decoupled_spectrum
from analysis.results.contrastive.linear import random_encoder_system
from analysis.runs.infonce import simulate_saturating
from analysis.stability.encoders import encoder_stability
from dynamics.fields.infonce import SaturatingLoss, one_negative_of
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem

RACE = MatrixSystem([10.0, 1.0, 2.0], [5.0, 0.9, 0.4])


@pytest.mark.parametrize("temperature", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize("commuting", [True, False])
def test_spectra_say_what_modes_say(temperature: float, commuting: bool) -> None:
    system = RACE if commuting else random_encoder_system(np.random.default_rng(0), 4)
    for point in critical_points(system, 2, temperature):
        found = encoder_stability(EncoderState(point.online), system, SaturatingLoss(temperature=temperature))
        assert found.verdict == point.stability
        # R117: one zero for each pair of rows that a rotation moves, and no other
        assert found.counts["n_zero"] == found.n_zero_forced == (0 if not point.modes else 1)
        if commuting:
            blocks = decoupled_spectrum(point, system, temperature)[::-1]
            assert_allclose(found.eigenvalues, blocks, atol=1e-12 * np.max(np.abs(blocks)))


def test_the_end_of_a_run_is_stable() -> None:
    start = EncoderState(0.1 * np.random.default_rng(1).standard_normal((3, 3)))
    loss = SaturatingLoss(temperature=0.5)
    found = encoder_stability(simulate_saturating(start, RACE, loss).trajectory.final, RACE, loss)
    assert found.verdict == "stable"
    assert found.counts == {"n_positive": 0, "n_zero": 3, "n_negative": 6}


@pytest.mark.parametrize("name", ["infonce", "triplet"])
@pytest.mark.parametrize("temperature", [1e-6, 1.0, 1e6])
def test_spectra_of_one_negative_say_what_modes_say(name: str, temperature: float) -> None:
    loss = SaturatingLoss(name, temperature, 1)
    for point in critical_points(RACE, 2, temperature, 1):
        found = encoder_stability(EncoderState(point.online), RACE, loss)
        assert found.verdict == point.stability
        assert found.counts["n_zero"] == found.n_zero_forced == (0 if not point.modes else 1)
        if not point.modes:  # half of the weight of a pair is on the negative
            assert_allclose(found.eigenvalues, np.repeat(loss.pull * RACE.sigma_d[[0, 1, 2]], 2), rtol=1e-8)


def test_the_spectrum_of_a_margin_is_that_of_the_loss() -> None:
    loss = SaturatingLoss("triplet", 0.5, 1, 0.7)
    _, point, *_ = critical_points(RACE, 1, 0.5, 1, 0.7)
    found = encoder_stability(EncoderState(point.online), RACE, loss)
    w, step = point.online, 1e-3

    def value(shift: np.ndarray) -> float:
        return 0.5 * one_negative_of(w + shift, RACE, 0.5, 0.7).loss

    axes = step * np.eye(3)[:, None]
    second = [
        [(value(a + b) - value(a - b) - value(b - a) + value(-a - b)) / (4 * step**2) for a in axes]
        for b in axes
    ]
    # second order: some step² of the largest
    assert_allclose(
        found.eigenvalues, -np.linalg.eigvalsh(second), atol=1e-4 * np.abs(found.eigenvalues).max()
    )


@pytest.mark.parametrize(
    ("weight_decay", "stability"),
    [(0.0, "unstable"), (1.0, "saddle"), (10.0, "degenerate"), (11.0, "stable")],
)
def test_the_origin_of_the_simple_loss(weight_decay: float, stability: str) -> None:
    system = MatrixSystem([10.0, 1.0, 2.0], [5.0, 0.9, 0.4], weight_decay=weight_decay)
    (point,) = encoder_rest(system, 2, None)
    assert point["stability"] == stability
    expected = np.repeat([10.0, 1.8, 0.8], 2) - weight_decay
    assert_allclose([value for value, _ in point["eigenvalues"]], expected, atol=1e-13)


def test_refusals() -> None:
    with pytest.raises(
        ValueError, match="`dim` must be less: at most 5 fixed points are listed, there are 7"
    ):
        encoder_rest(RACE, 2, SaturatingLoss(), limit=5)
    with pytest.raises(ValueError, match="`negatives` must be 1 or inf"):
        encoder_rest(RACE, 1, SaturatingLoss(negatives=2))
    with pytest.raises(ValueError, match="`state` must be at rest to `tolerance` 1e-06, got a residual of"):
        encoder_stability(EncoderState(np.ones((1, 3))), RACE, SaturatingLoss())
    with pytest.raises(ValueError, match="`state` must have at most 4000 weights"):
        encoder_stability(EncoderState(np.zeros((1, 5000))), MatrixSystem(np.ones(5000), np.ones(5000)), None)


# --- the commands -------------------------------------------------------------------------------------------

PAIRS = ["--lambda-s", "10", "--lambda-d", "5", "--lambda-s", "1", "--lambda-d", ".9"]


@pytest.mark.parametrize(("negatives", "sizes"), [("inf", [0.618034, 4.854102]), ("1", [0.571429, 4.615385])])
def test_fixed_points_of_infonce(negatives: str, sizes: list[float], dyn: Any) -> None:
    code, out, _ = dyn("fixed-points", "--objective", "infonce", *PAIRS, "--negatives", negatives, "--json")
    points = json.loads(out)["fixed_points"]
    assert code == 0
    assert [point["stability"] for point in points] == ["unstable", "saddle", "stable"]
    assert_allclose([point["amplitudes"][0] for point in points[1:]], sizes, atol=5e-7)
    keys = {"name", "online", "predictor", "target", "eigenvalues", "stability", "exact"}
    assert all(keys <= set(point) for point in points)
    if negatives == "inf":
        assert_allclose(points[1]["eigenvalues"], [[0.8, 0], [-10.557281, 0]], atol=1e-6)
    else:
        assert [np.sign(value) for value, _ in points[1]["eigenvalues"]] == [1, -1]


def test_the_triplet_loss_at_rest(dyn: Any, tmp_path: Path) -> None:
    options = ["--objective", "triplet", *PAIRS, "--margin", "1", "--temperature", ".5"]
    code, out, _ = dyn("fixed-points", *options, "--json")
    points = json.loads(out)["fixed_points"]
    assert (code, [point["stability"] for point in points]) == (0, ["unstable", "saddle", "stable"])
    state = str(tmp_path / "end.npz")
    code, out, _ = dyn("simulate", *options, "--out", state, "--json")
    report = json.loads(out)
    assert (code, report["objective"], report["margin"]) == (0, "triplet", 1)
    assert_allclose(report["final"]["amplitudes"], points[2]["amplitudes"], rtol=1e-6)
    code, out, _ = dyn("stability", *options, "--state", state, "--json")
    assert (code, json.loads(out)["verdict"]) == (0, "stable")


def test_the_table_of_fixed_points(dyn: Any) -> None:
    code, out, _ = dyn("fixed-points", "--objective", "simple", *PAIRS)
    assert code == 0
    assert "collapsed" in out
    assert "unstable" in out


def test_stability_of_a_run(dyn: Any, tmp_path: Path) -> None:
    state = str(tmp_path / "end.npz")
    options = ["--objective", "infonce", *PAIRS, "--temperature", "2"]
    assert dyn("simulate", *options, "--dim", "2", "--out", state)[0] == 0
    code, out, _ = dyn("stability", *options, "--state", state, "--json", "--eigenvalues")
    report = json.loads(out)
    assert code == 0
    assert report["verdict"] == "stable"
    assert report["spectrum"]["n_zero"] == report["n_zero_forced"] == 1
    assert (report["method"], report["n_unknowns"], len(report["eigenvalues"])) == ("dense", 4, 4)
    code, out, _ = dyn("stability", *options, "--state", state)
    assert code == 0
    assert "0 / 1 / 3" in out


@pytest.mark.parametrize("command", ["fixed-points", "stability"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--objective", "triplet", "--negatives", "1"],
            "--negatives must go with --objective infonce, got triplet",
        ),
        (
            ["--objective", "infonce", "--margin", "1"],
            "--margin must go with --objective triplet, got infonce",
        ),
        (["--objective", "triplet", "--margin", "-1"], "--margin must be finite and >= 0, got -1"),
        (
            ["--objective", "simple", "--temperature", "1"],
            "--temperature must go with --objective infonce or triplet, got simple",
        ),
        (["--temperature", "1"], "--temperature must go with --objective infonce or triplet, got byol"),
        (
            ["--objective", "infonce", "--tau-target", "2"],
            "--tau-target must not go with --objective infonce",
        ),
    ],
)
def test_options_that_do_not_fit(
    command: str, options: list[str], message: str, dyn: Any, tmp_path: Path
) -> None:
    np.savez(tmp_path / "state.npz", online=np.zeros((1, 2)))
    state = ["--state", str(tmp_path / "state.npz")] if command == "stability" else []
    code, out, err = dyn(command, *PAIRS, *options, *state)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    "options", [["--rank", "1"], ["--invariant", "0"], ["--exact"], ["--amplitude", "1"], ["--target", "1"]]
)
def test_options_of_byol_are_refused(options: list[str], dyn: Any) -> None:
    code, out, err = dyn("fixed-points", "--objective", "infonce", *PAIRS, *options)
    assert (code, out) == (2, "")
    assert f"{options[0]} must not go with --objective infonce" in err
