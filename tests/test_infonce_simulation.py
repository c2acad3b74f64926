"""Runs of a linear encoder under InfoNCE against R114, R116 and R119, from starts and at temperatures of any size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.results.contrastive.linear import random_encoder_system
from analysis.runs import infonce
from analysis.runs.infonce import predict_saturating, simulate_saturating
from dynamics.exact.infonce import one_negative_saturation, saturation, saturation_norm
from dynamics.fields.infonce import SaturatingLoss, infonce_mean_field, one_negative_of, saturating_field
from dynamics.integration.trajectory import Status
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem

RACE = MatrixSystem([10.0, 1.0], [5.0, 0.9])
SATURATED = {np.inf: saturation, 1: one_negative_saturation}


@pytest.mark.parametrize("negatives", [np.inf, 1])
@pytest.mark.parametrize("temperature", [2e-13, 0.3, 1e30])
def test_the_larger_ratio_is_learned_at_its_size(temperature: float, negatives: float) -> None:
    found = simulate_saturating(
        EncoderState([[0.1, 0.1]]), RACE, SaturatingLoss("infonce", temperature, negatives)
    )
    assert found.trajectory.status is Status.STEADY
    assert found.fate.tolist() == ["collapsed", "learned"] == found.predicted.tolist()
    # at rest weights are within 10 tolerances, the larger of rtol and atol in units of the temperature
    assert_allclose(found.amplitudes / temperature, SATURATED[negatives](0.9), rtol=1e-6)


@pytest.mark.parametrize("negatives", [np.inf, 1])
@pytest.mark.parametrize(
    ("online", "fates"),
    [
        ([[0.1, 0.0]], ["learned", "collapsed"]),  # not excited: at rest on a saddle of the flow
        ([[0.0, 0.0]], ["collapsed", "collapsed"]),
        ([[0.1, 1e-19]], ["collapsed", "learned"]),
        ([[1e5, 1e-10]], ["collapsed", "learned"]),
        ([[0.1, 0.2], [0.1, 0.2]], ["collapsed", "learned"]),  # rank one, and stays so
        ([[0.1, 0.2], [0.3, -0.1]], ["learned", "learned"]),
        ([[0.1, 0.0], [0.2, 0.0]], ["learned", "collapsed"]),
    ],
)
def test_what_the_start_excites_is_learned(online: Any, fates: list[str], negatives: float) -> None:
    found = simulate_saturating(EncoderState(online), RACE, SaturatingLoss(negatives=negatives))
    assert found.trajectory.status is Status.STEADY
    assert found.fate.tolist() == fates == found.predicted.tolist()
    assert found.rank == fates.count("learned")
    kept = [r for r, fate in zip([0.5, 0.9], fates, strict=True) if fate == "learned"]
    sizes = np.sort(SATURATED[negatives](np.array(kept)))[::-1]
    assert_allclose(found.amplitudes[: len(kept)], sizes, rtol=1e-6)


def test_rows_that_share_no_mode_do_not_compete() -> None:
    system = MatrixSystem(np.ones(3), [0.9, 0.8, 0.3])
    apart = simulate_saturating(EncoderState([[0.1, 0.1, 0.0], [0.0, 0.0, 0.1]]), system, SaturatingLoss())
    assert apart.fate.tolist() == ["learned", "collapsed", "learned"] == apart.predicted.tolist()
    together = simulate_saturating(EncoderState([[0.1, 0.1, 0.1], [0.0, 0.1, 0.2]]), system, SaturatingLoss())
    assert together.fate.tolist() == ["learned", "learned", "collapsed"] == together.predicted.tolist()


@pytest.mark.parametrize(
    ("weight_decay", "fates", "ratio"),
    [
        (0.5, ["collapsed", "learned"], 0.9 - 0.25),
        (1.79, ["learned", "collapsed"], 0.5 - 0.0895),  # 2 λd of the second mode is 1.8
        (9.9, ["learned", "collapsed"], 0.5 - 0.495),
        (10.5, ["collapsed", "collapsed"], 0.0),
    ],
)
def test_weight_decay_takes_from_ratios(weight_decay: float, fates: list[str], ratio: float) -> None:
    system = MatrixSystem([10.0, 1.0], [5.0, 0.9], weight_decay=weight_decay)
    found = simulate_saturating(EncoderState([[0.1, 0.1]]), system, SaturatingLoss())
    assert found.fate.tolist() == fates == found.predicted.tolist()
    assert_allclose(found.amplitudes[0], saturation(ratio), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("negatives", [np.inf, 1])
def test_moments_that_do_not_commute(negatives: float) -> None:
    rng = np.random.default_rng(3)
    system = random_encoder_system(rng, 5)
    found = simulate_saturating(
        EncoderState(0.1 * rng.standard_normal((2, 5))), system, SaturatingLoss("infonce", 0.5, negatives)
    )
    assert found.agrees == [True] * 5
    assert found.fate.tolist() == ["learned"] * 2 + ["collapsed"] * 3
    r = np.sort(np.linalg.eigvals(np.linalg.solve(system.sigma_s, system.sigma_d)).real)[::-1]
    assert_allclose(found.amplitudes / 0.5, SATURATED[negatives](r[:2]), rtol=1e-6)


def test_nothing_holds_a_mode_without_noise_and_ties_are_open() -> None:
    found = simulate_saturating(EncoderState([[0.1]]), MatrixSystem([1.0], [1.0]), SaturatingLoss())
    assert found.trajectory.status is Status.SLOW
    assert found.fate.tolist() == ["undecided"]
    assert found.report()["modes"][0]["predicted"]["fate"] == "learned"
    assert np.isinf(found.saturating.predicted[0])  # type: ignore[union-attr]
    fates, sizes = predict_saturating(
        EncoderState(np.array([[0.1, 0.2]])), MatrixSystem([1.0, 1.0], [0.5, 0.5]), SaturatingLoss()
    )
    assert fates.tolist() == ["", ""]
    assert np.all(np.isnan(sizes))


def test_weight_decay_with_one_negative_is_run_and_not_predicted() -> None:
    system = MatrixSystem([10.0, 1.0], [5.0, 0.9], weight_decay=0.1)
    found = simulate_saturating(EncoderState([[0.1, 0.1]]), system, SaturatingLoss(negatives=1))
    assert found.fate.tolist() == ["collapsed", "learned"]
    assert found.agrees == [None, None]
    # half of the pull on the mode is the decay's: λs ∂L/∂s + λd ∂L/∂d + η/2 = 0
    W = found.trajectory.final.online
    assert (
        np.max(np.abs(saturating_field(SaturatingLoss(negatives=1))(0.0, EncoderState(W), system).online))
        < 1e-6
    )


def test_units_of_the_run_are_those_of_the_flow() -> None:
    system = MatrixSystem([10.0, 1.0], [5.0, 0.9], weight_decay=0.2)
    found = simulate_saturating(
        EncoderState([[0.1, 0.3]]), system, SaturatingLoss(temperature=2.0), t_end=0.7, rtol=1e-10, atol=1e-12
    )
    assert_allclose(found.trajectory.t, 0.7, rtol=1e-12)
    from scipy.integrate import solve_ivp

    other = solve_ivp(
        lambda t, w: infonce_mean_field(t, w[None], system, 2.0)[0],
        (0, 0.7),
        [0.1, 0.3],
        rtol=1e-11,
        atol=1e-13,
    )
    assert_allclose(found.trajectory.final.online[0], other.y[:, -1], rtol=1e-8)


@pytest.mark.parametrize("temperature", [1e-9, 0.3, 1e6])
def test_the_triplet_loss_is_infonce_with_one_negative_in_another_time(temperature: float) -> None:
    # R114: without margin τ log(1 + e^{(r₊ − r₋)/τ}) is τ times InfoNCE with H = 1
    start = EncoderState([[0.1 * temperature**0.5, 0.2 * temperature**0.5]])
    one, triplet = (
        simulate_saturating(start, RACE, SaturatingLoss(name, temperature, 1), t_end)
        for name, t_end in (("infonce", 0.4 * temperature), ("triplet", 0.4))
    )
    assert_allclose(triplet.trajectory.final.online, one.trajectory.final.online, rtol=1e-12)
    assert_allclose(triplet.trajectory.t, 0.4)


@pytest.mark.parametrize("margin", [0.1, 1.0, 5.0])
def test_a_margin_makes_the_learned_mode_larger(margin: float) -> None:
    loss = SaturatingLoss("triplet", 0.5, 1, margin)
    found = simulate_saturating(EncoderState([[0.1, 0.1]]), RACE, loss)
    assert found.fate.tolist() == ["collapsed", "learned"] == found.predicted.tolist()
    at_rest = saturation_norm(0.9, 0.5, negatives=1, margin=margin)
    assert at_rest > saturation_norm(0.9, 0.5, negatives=1)
    assert_allclose(found.amplitudes, [at_rest], rtol=1e-6)
    # and there the loss, by its own quadrature, is least along the row
    w = found.trajectory.final.online
    values = [one_negative_of(factor * w, RACE, 0.5, margin).loss for factor in (0.98, 1.0, 1.02)]
    assert values[1] == min(values)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("name", ["infonce", "triplet"])
def test_the_field_is_the_descent_of_the_loss_at_any_temperature(name: str, temperature: float) -> None:
    margin, weight = (0.4, temperature) if name == "triplet" else (0.0, 1.0)
    system = MatrixSystem([3.0, 1.0], [1.5, 0.9], weight_decay=0.3)
    W = np.array([[0.4, -0.2], [0.1, 0.3]])
    found = saturating_field(SaturatingLoss(name, temperature, 1, margin))(
        0.0, EncoderState(W), system
    ).online

    def loss(W: np.ndarray) -> float:
        return weight * one_negative_of(W, system, temperature, margin).loss + 0.15 * float(np.sum(W**2))

    step = 1e-5
    slope = np.zeros_like(W)
    for place in np.ndindex(W.shape):
        shift = np.zeros_like(W)
        shift[place] = step
        slope[place] = (loss(W + shift) - loss(W - shift)) / (2 * step)
    # second order in the step, and rounding of the loss over it
    assert_allclose(found, -slope, atol=1e-8 * max(1.0, 1 / temperature))


def test_no_result_says_what_a_margin_does_to_several_rows() -> None:
    loss = SaturatingLoss("triplet", 0.5, 1, 1.0)
    found = simulate_saturating(EncoderState([[0.1, 0.2], [0.3, -0.1]]), RACE, loss)
    assert found.predicted.tolist() == ["", ""]
    assert found.agrees == [None, None]
    assert found.fate.tolist() == ["learned", "learned"]
    # decay of the triplet loss is a rate, whatever the temperature: of a small start it takes η off 2 λd σ(m/τ)
    system = MatrixSystem([10.0, 1.0], [5.0, 0.9], weight_decay=9.0)
    start = EncoderState([[1e-6, 1e-6]])
    small = simulate_saturating(start, system, loss, t_end=1e-2).trajectory.final.online[0]
    active = 1 / (1 + np.exp(-2.0))
    assert_allclose(np.log(small / 1e-6) / 1e-2, 2 * active * np.array([5.0, 0.9]) - 9.0, rtol=1e-5)


def test_a_wrong_prediction_disagrees_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        infonce, "predict_saturating", lambda *_: (np.array(["learned", "collapsed"]), np.ones(2))
    )
    assert simulate_saturating(EncoderState([[0.1, 0.1]]), RACE, SaturatingLoss()).agrees == [False, False]


def test_starts_beyond_what_numbers_hold_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"`temperature` must be at least 1e-13 for a start of weights up to 0.1"
    ):
        simulate_saturating(EncoderState([[0.1, 0.1]]), RACE, SaturatingLoss(temperature=1e-100))
    with pytest.raises(ValueError, match="`online` must be zero along a mode, or at least 1e-20 √"):
        simulate_saturating(EncoderState([[0.1, 0.1]]), RACE, SaturatingLoss(temperature=1e100))
    with pytest.raises(ValueError, match="`negatives` must be 1 or inf for a flow of moments, got 3"):
        simulate_saturating(EncoderState([[0.1, 0.1]]), RACE, SaturatingLoss(negatives=3))


# --- the command, and the face of notebooks ---------------------------------------------------------------------

PAIRS = ["--lambda-s", "10", "--lambda-d", "5", "--lambda-s", "1", "--lambda-d", ".9"]
INFONCE = ["simulate", "--objective", "infonce", *PAIRS]


def test_simulate_runs_infonce(dyn: Any, tmp_path: Path) -> None:
    out_file, picture = tmp_path / "run.npz", tmp_path / "run.png"
    code, out, _ = dyn(
        *INFONCE, "--temperature", "1/2", "--json", "--out", str(out_file), "--plot", str(picture)
    )
    report = json.loads(out)
    assert code == 0
    assert [mode["fate"] for mode in report["modes"]] == ["collapsed", "learned"]
    assert [mode["agrees"] for mode in report["modes"]] == [True, True]
    assert (report["status"], report["negatives"], report["temperature"]) == ("steady", "inf", 0.5)
    assert_allclose(report["final"]["amplitudes"], [saturation(0.9) / 2], rtol=1e-6)
    assert_allclose(report["modes"][1]["predicted"]["amplitude"], saturation(0.9) / 2, rtol=1e-12)
    assert picture.stat().st_size > 0
    with np.load(out_file) as saved:
        assert saved["online"].shape == (len(saved["t"]), 1, 2)


def test_simulate_prints_infonce(dyn: Any) -> None:
    code, out, _ = dyn(*INFONCE, "--negatives", "1", "--weight-decay", ".1")
    assert code == 0
    assert "no result applies" in out
    code, out, _ = dyn(*INFONCE, "--dim", "2", "--negatives", "1")
    assert code == 0
    assert "rank 2" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--objective", "byol", "--temperature", "1"], "--temperature must go with --objective infonce"),
        (["--objective", "simple", "--negatives", "1"], "--negatives must go with --objective infonce"),
        (["--branches", "one"], "--branches must go with --objective simple, got --objective infonce"),
        (["--negatives", "3"], "--negatives must be 1 or inf for a flow of moments, got 3"),
        (["--negatives", "0"], "must be an integer >= 1, or inf, got '0'"),
        (["--temperature", "0"], "--temperature must be finite and > 0, got 0"),
        (["--temperature", "1e100"], "--online must be zero along a mode"),
        (["--variant", "tied"], "--variant must not go with --objective infonce, got tied"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: list[str], message: str, dyn: Any) -> None:
    code, out, err = dyn(*INFONCE, *options)
    assert (code, out) == (2, "")
    assert message in err


def test_the_face_runs_infonce() -> None:
    import dyn

    found = dyn.simulate(
        lambda_s=[10, 1], lambda_d=[5, 0.9], objective=dyn.objectives.infonce, temperature=2.0
    )
    assert "mode 2: λd = 0.9, learned as predicted, w Σs wᵀ = 9.708" in str(found)
    with pytest.raises(
        ValueError, match="`temperature` must go with `objective` infonce or triplet, got byol"
    ):
        dyn.simulate(lambda_s=1, lambda_d=0.5, temperature=2.0)
