"""Runs of an encoder under losses of output moments: what they learn, by the command and beside theory."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.runs.redundancy import predict_redundancy, simulate_redundancy
from dynamics.fields.redundancy import BarlowTwins, SpectralContrastive, Vicreg, Whitened, redundancy_loss
from dynamics.objectives import OBJECTIVES
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem

RATIOS = np.array([0.5, 0.9, 0.7, 0.2])
SYSTEM = MatrixSystem(np.array([3.0, 1.0, 1.0, 1.0]), np.array([1.5, 0.9, 0.7, 0.2]))
START = EncoderState(0.1 * np.random.default_rng(0).standard_normal((2, 4)))


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (SpectralContrastive(), [0, 0.9, 0.7, 0]),
        (Whitened(), [0, 1, 1, 0]),
        (Vicreg(1.0, 4.0, 0.5), [0, 1.2, 0.8, 0]),
    ],
    ids=["spectral", "whitened", "vicreg"],
)
def test_a_run_ends_as_predicted(loss: Any, said: list[float]) -> None:
    found = simulate_redundancy(START, SYSTEM, loss)
    assert found.saturating is not None
    assert_allclose(found.saturating.predicted, said, atol=1e-12)
    assert found.agrees == [True] * 4
    assert_allclose(found.saturating.sizes[-1], said, atol=1e-6)
    assert found.error < 1e-6


def test_unnormalised_barlow_twins_goes_by_sigma_d() -> None:
    start = np.zeros((2, 4))
    start[0, 0], start[1, 3] = 0.1, 0.1
    found = simulate_redundancy(EncoderState(start), SYSTEM, BarlowTwins())
    assert found.saturating is not None
    assert found.fate.tolist() == ["learned", "collapsed", "collapsed", "learned"]
    assert_allclose(found.saturating.sizes[-1], [1, 0, 0, 1], atol=1e-6)  # λd w²
    assert found.agrees == [True] * 4


def test_what_no_result_covers_is_not_predicted() -> None:
    for loss, system in (
        (BarlowTwins(0.5), SYSTEM),
        (BarlowTwins(0.5, True), SYSTEM),
        (Vicreg(1.0, 0.1, 0.5), SYSTEM),  # a hinge too weak for std = 1
        (SpectralContrastive(), MatrixSystem(SYSTEM.sigma_s, SYSTEM.sigma_d, weight_decay=0.1)),
    ):
        fates, sizes = predict_redundancy(START, system, loss)
        assert fates.tolist() == [""] * 4
        assert np.all(np.isnan(sizes))


def test_a_wrong_prediction_shows() -> None:
    """The report compares with the run, not with what was predicted."""
    found = simulate_redundancy(START, SYSTEM, SpectralContrastive(), 0.01)
    assert found.fate.tolist() == ["undecided"] * 4
    assert found.agrees == [None] * 4


MODES = [
    part
    for s, d in zip(SYSTEM.sigma_s, SYSTEM.sigma_d, strict=True)
    for part in ("--lambda-s", f"{s}", "--lambda-d", f"{d}")
]


@pytest.mark.parametrize(
    ("objective", "options", "source"),
    [
        ("barlow-twins", ["--off-diagonal", "0.1", "--online", "0.1"], None),
        ("vicreg", ["--invariance", "1", "--variance", "4", "--covariance", "0.5"], "R327"),
        ("spectral", [], "R328"),
        ("whitened", [], "R329"),
    ],
)
def test_the_command_reports_sizes_beside_predictions(
    objective: str, options: list[str], source: str | None, dyn: Any
) -> None:
    code, out, err = dyn(
        "simulate",
        *MODES,
        "--objective",
        objective,
        *options,
        *(() if source is None else ("--dim", "2")),
        "--json",
    )
    assert code == 0, err
    report = json.loads(out)
    assert report["objective"] == objective
    reasons = {mode["predicted"]["reason"] for mode in report["modes"]}
    assert reasons == {source}
    for mode in report["modes"]:
        if source is not None:
            assert mode["agrees"] is True
            assert_allclose(mode["final"]["amplitude"], mode["predicted"]["amplitude"], atol=1e-5)
    code, out, err = dyn("simulate", *MODES, "--objective", objective, *options)
    assert code == 0, err
    assert ("w Σd wᵀ" if objective == "barlow-twins" else "w Σs wᵀ") in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--objective", "spectral", "--covariance", "1"), "--covariance must go with --objective vicreg"),
        (("--objective", "vicreg", "--normalised"), "--normalised must go with --objective barlow-twins"),
        (("--objective", "vicreg", "--variance", "-1"), "--variance must be finite and >= 0, got -1"),
        (
            ("--objective", "byol", "--off-diagonal", "1"),
            "--off-diagonal must go with --objective barlow-twins",
        ),
        (("--objective", "whitened", "--weight-decay", "0.1"), "--weight-decay must be 0 for whitened"),
        (("--objective", "vicreg", "--temperature", "1"), "--temperature must go with"),
    ],
)
def test_what_does_not_go_with_an_objective_is_refused(arguments: Any, message: str, dyn: Any) -> None:
    code, out, err = dyn("simulate", "--lambda-s", "1", "--lambda-d", "0.5", *arguments)
    assert code == 2
    assert message in err
    assert not out


@pytest.mark.parametrize("command", ["basins", "bifurcation"])
def test_commands_that_know_nothing_of_them_refuse_them_by_name(command: str, dyn: Any) -> None:
    code, _, err = dyn(command, "--lambda-s", "1", "--lambda-d", "0.5", "--objective", "vicreg")
    assert code == 2
    assert "vicreg" in err


def test_losses_of_training_are_those_of_the_flow() -> None:
    import jax

    from dynamics.training.objectives import loss
    from dynamics.training.parts import ObjectiveSettings

    rng = np.random.default_rng(0)
    z = rng.standard_normal((2, 32, 3))
    s = (z[0].T @ z[0] + z[1].T @ z[1]) / 64
    d = (z[0].T @ z[1] + z[1].T @ z[0]) / 64
    system = MatrixSystem(s, d)
    weights = {"off_diagonal": 0.3, "invariance": 0.7, "variance": 1.9, "covariance": 0.4}
    for name in ("barlow-twins", "vicreg", "spectral"):
        row = OBJECTIVES[name]
        own = redundancy_loss(row, **{key: weights[key] for key in row.weights})
        assert own is not None
        settings = ObjectiveSettings(kind=name, **{key: weights[key] for key in row.weights})
        with jax.enable_x64(True):
            found = loss(settings, weights, jax.numpy.asarray(z), None).value
        assert_allclose(found, own.value(np.eye(3), system), rtol=1e-13)  # sums of 64 products
    white = np.linalg.inv(np.linalg.cholesky(s))
    with jax.enable_x64(True):
        found = loss(ObjectiveSettings(kind="whitened"), weights, jax.numpy.asarray(z), None).value
    assert_allclose(found, Whitened().value(white, system), rtol=1e-12)
