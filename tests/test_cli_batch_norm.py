"""`--batch-norm`, `--detach` and `--mean` on simulate, fixed-points and stability."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.runs.normalised import simulate_normalised
from dynamics.fields.matrices import no_predictor_field
from dynamics.normalisation import Normaliser
from dynamics.system import MatrixSystem

ONE = ("--lambda-s", "1", "--lambda-d", "0.5")
THREE = (
    "--lambda-s",
    "1",
    "--lambda-d",
    "0.9",
    "--lambda-s",
    "1",
    "--lambda-d",
    "0.5",
    "--lambda-s",
    "1",
    "--lambda-d",
    "0.1",
)


def report_of(dyn: Any, *arguments: Any) -> Any:
    code, out, err = dyn(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def refusal(dyn: Any, *arguments: Any) -> str:
    code, out, err = dyn(*arguments)
    assert (code, out) == (2, "")
    return str(err)


def test_the_mean_is_what_centred_moments_are(dyn: Any) -> None:
    raw = ("--lambda-s", "1.25", "--lambda-d", "0.75", "--batch-norm", "mean", "--mean", "0.5")
    one, other = report_of(dyn, "simulate", *raw), report_of(dyn, "simulate", *ONE)
    assert one["modes"][0]["final"] == other["modes"][0]["final"]
    assert one["batch_norm"] == {"mean": "full", "std": "none"}
    assert "batch_norm" not in other
    points = [report_of(dyn, "fixed-points", *given, "--invariant", "-0.09") for given in (raw, ONE)]
    assert points[0]["fixed_points"] == points[1]["fixed_points"]


@pytest.mark.parametrize(("w", "p", "time"), [("0.1", "0.6", 0.08765), ("0.1", "-0.3", 0.02168)])
def test_deaths_are_an_answer(dyn: Any, w: str, p: str, time: float) -> None:
    detached = ("--batch-norm", "variance", "--detach", "variance", "--online", w, "--predictor", p)
    found = report_of(dyn, "simulate", *ONE, *detached)
    assert found["status"] == "death"
    assert abs(found["t"] - time) < 6e-6
    assert abs(found["t"] - found["batch_norm"]["predicted"]["death"]) < 1e-7 * time
    assert found["batch_norm"]["dead_row"] == 0
    assert found["batch_norm"]["conserved"] == "diagonal-balance"
    assert found["final"]["rank"] == 0
    code, out, _ = dyn("simulate", *ONE, *detached)
    assert code == 0
    assert "row 1 reached zero (predicted 0.0" in out


def test_life_with_a_detached_variance_ends_where_theory_says(dyn: Any) -> None:
    given = ("--batch-norm", "variance", "--detach", "variance", "--online", "0.3", "--predictor", "0.1")
    found = report_of(dyn, "simulate", *ONE, *given, "--rtol", "1e-10")
    assert found["status"] == "steady"
    assert abs(found["batch_norm"]["row_norms"]["final"][0] - 0.574456) < 1e-6
    assert found["batch_norm"]["predicted"]["death"] is None  # never: infinite
    assert found["batch_norm"]["dead_row"] is None


def test_row_norms_are_reported_and_conserved(dyn: Any) -> None:
    found = report_of(
        dyn,
        "simulate",
        *THREE,
        "--dim",
        "2",
        "--batch-norm",
        "both",
        "--mean",
        "0.1",
        "--mean",
        "0",
        "--mean",
        "0",
    )
    norms = found["batch_norm"]["row_norms"]
    assert np.allclose(norms["initial"], norms["final"], rtol=1e-7)
    assert found["batch_norm"]["conserved"] == "row-norms"
    assert found["invariant"]["drift"] < 1e-7
    assert found["theory"]["resonance_error"] < 1e-6


def test_a_detached_mean_runs_away_at_the_rate_of_theory(dyn: Any) -> None:
    given = ("--lambda-s", "1.3", "--lambda-d", "0.8", "--mean", "0.5477225575051661")
    found = report_of(dyn, "simulate", *given, "--batch-norm", "mean", "--detach", "mean")
    assert found["status"] == "unbounded"
    assert abs(found["batch_norm"]["predicted"]["runaway_rate"] - 0.1196531749) < 1e-9
    timed = report_of(dyn, "simulate", *given, "--batch-norm", "mean", "--detach", "mean", "--t-end", "5")
    assert timed["status"] == "end-time"


def test_no_predictor_learns_one_direction(dyn: Any) -> None:
    found = report_of(
        dyn, "simulate", *THREE, "--dim", "2", "--batch-norm", "variance", "--variant", "no-predictor"
    )
    assert found["final"]["rank"] == 1


def test_fixed_points_with_variance(dyn: Any) -> None:
    found = report_of(dyn, "fixed-points", *THREE, "--dim", "2", "--batch-norm", "variance")
    assert [(p["modes"], p["stability"]) for p in found["fixed_points"]] == [
        ([0, 1], "stable"),
        ([0, 2], "saddle"),
        ([1, 2], "saddle"),
    ]
    small = report_of(
        dyn, "fixed-points", *THREE, "--dim", "2", "--batch-norm", "variance", "--amplitude", "0.12"
    )
    assert {p["stability"] for p in small["fixed_points"]} == {"saddle"}
    code, out, _ = dyn("fixed-points", *ONE, "--batch-norm", "variance")
    assert code == 0
    assert "modes 1" in out
    assert "lengths" in out


def test_stability_with_variance(dyn: Any, tmp_path: Path) -> None:
    def saved(norm: float) -> Path:
        W = np.array([[0.0, norm, 0.0], [1.0, 0.0, 0.0]])
        np.savez(tmp_path / "s.npz", online=W, predictor=np.diag([0.5, 0.9]), target=W)
        return tmp_path / "s.npz"

    stable = report_of(dyn, "stability", *THREE, "--batch-norm", "variance", "--state", saved(1.0))
    assert stable["verdict"] == "stable"
    assert stable["n_zero_forced"] == 4
    assert all(c["verdict"] == "stable" for c in stable["conditions"])
    assert stable["batch_norm"] == {"mean": "none", "std": "full"}
    code, out, _ = dyn("stability", *THREE, "--batch-norm", "variance", "--state", saved(0.12))
    assert code == 0
    assert "row 1 leaves its mode for mode 1, which row 2 holds" in out
    detached = ("--batch-norm", "variance", "--detach", "variance")
    assert report_of(dyn, "stability", *THREE, *detached, "--state", saved(1.0))["conditions"] == []


def test_moments_of_a_file_need_their_mean(dyn: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", sigma_s=np.diag([2.0, 1.0]), sigma_d=np.diag([1.5, 0.2]))
    run = ("simulate", "--moments", tmp_path / "m.npz", "--dim", "1", "--batch-norm", "mean")
    assert "--moments must hold --mean for --batch-norm mean" in refusal(dyn, *run)
    given = report_of(dyn, *run, "--mean", "1", "--mean", "0")
    np.savez(tmp_path / "m.npz", sigma_s=np.diag([2.0, 1.0]), sigma_d=np.diag([1.5, 0.2]), mean=[1.0, 0.0])
    assert report_of(dyn, *run)["theory"]["ratios"] == given["theory"]["ratios"] == [0.5, 0.2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--batch-norm", "variance", "--detach", "mean"),
            "--detach mean must go with --batch-norm mean or both",
        ),
        (
            ("--batch-norm", "mean", "--detach", "variance"),
            "--detach variance must go with --batch-norm variance or both",
        ),
        (("--batch-norm", "mean", "--detach", "median"), "--detach must be mean or variance, got 'median'"),
        (("--mean", "0.1"), "--mean must go with --batch-norm mean, variance or both, got none"),
        (("--batch-norm", "mean", "--mean", "0.8"), "--mean must leave Σd − μμᵀ positive semidefinite"),
        (
            ("--batch-norm", "mean", "--mean", "0.1", "--mean", "0"),
            "--mean must be given once for each of 1 modes, got 2",
        ),
        (("--batch-norm", "mode"), "must be one of none, mean, variance, both, got 'mode'"),
        (
            ("--batch-norm", "mean", "--objective", "infonce"),
            "--batch-norm must be none for --objective infonce",
        ),
        (("--batch-norm", "variance", "--objective", "byol-prime"), "--objective must be byol"),
    ],
)
@pytest.mark.parametrize("name", ["simulate", "fixed-points"])
def test_refusals(dyn: Any, name: str, arguments: tuple[str, ...], message: str) -> None:
    assert message in refusal(dyn, name, *ONE, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("simulate", *ONE, "--batch-norm", "variance", "--variant", "tied"),
            "--variant must be one of full, no-predictor, no-ema",
        ),
        (
            ("simulate", *ONE, "--batch-norm", "variance", "--online", "0"),
            "--online must have no row of zeros",
        ),
        (
            ("simulate", *ONE, "--batch-norm", "variance", "--online", "1", "--online", "2"),
            "--online must be given once, or once for each of 1 modes",
        ),
        (
            ("simulate", *THREE, "--batch-norm", "mean", "--mean", "0.1", "--mean", "0.1", "--mean", "0"),
            "--mean must be nonzero in one mode at most",
        ),
        (
            ("simulate", "--data", "digits", "--augment", "shift:1", "--batch-norm", "mean", "--mean", "1"),
            "--mean must not go with --data",
        ),
        (
            ("fixed-points", *ONE, "--batch-norm", "both", "--detach", "mean"),
            "--detach must not be mean for fixed points",
        ),
        (
            ("fixed-points", *ONE, "--batch-norm", "variance", "--invariant", "1"),
            "--invariant must not go with --batch-norm variance",
        ),
        (("fixed-points", *ONE, "--batch-norm", "variance", "--variant", "tied"), "--variant must be full"),
        (
            ("fixed-points", *ONE, "--batch-norm", "variance", "--amplitude", "0"),
            "--amplitude must lie within",
        ),
        (
            ("fixed-points", *ONE, "--batch-norm", "variance", "--weight-decay", "0.1"),
            "--weight-decay must be 0",
        ),
        (("fixed-points", *ONE, "--batch-norm", "variance", "--dim", "2"), "--dim must lie within 1 and 1"),
    ],
)
def test_more_refusals(dyn: Any, arguments: tuple[str, ...], message: str) -> None:
    assert message in refusal(dyn, *arguments)


def test_a_spectrum_with_variance_is_dense_and_not_polished(dyn: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", online=[[1.0]], predictor=[[0.5]], target=[[1.0]])
    given = ("stability", *ONE, "--batch-norm", "variance", "--state", tmp_path / "s.npz")
    assert "--polish must not go with --batch-norm variance" in refusal(dyn, *given, "--polish")
    assert "--method blocks must not go with" in refusal(dyn, *given, "--method", "blocks")


# --- the run behind it --------------------------------------------------------------------------------------


def test_what_dies_in_a_network_is_no_prediction_and_no_failure() -> None:
    system = MatrixSystem([1.0, 1.0], [0.5, 0.3])
    start = system.state([[0.1, 0.02], [0.03, 1.0]], [[-0.4, 0.1], [0.0, 0.3]])
    found = simulate_normalised(start, system, Normaliser(std="detached"))
    assert found.trajectory.status.value == "death"
    assert found.normalised is not None
    assert found.normalised.dead == 0
    assert found.normalised.predicted_death is None  # the start is not decoupled
    assert np.linalg.norm(found.trajectory.final.online[0]) < 1e-5
    assert found.rank == 1


def test_a_failure_that_is_no_death_stays_one() -> None:
    system = MatrixSystem([1.0], [0.5])
    start = system.state([[0.1]], [[0.6]])
    found = simulate_normalised(start, system, Normaliser(std="detached"), max_steps=3)
    assert found.trajectory.status.value == "max-steps"
    assert found.normalised is not None
    assert found.normalised.dead is None


def test_without_predictor_no_balance_is_claimed() -> None:
    system = MatrixSystem([1.0, 1.0], [0.5, 0.3])
    start = system.state([[0.5, 0.2]], [[1.0]])
    found = simulate_normalised(start, system, Normaliser(std="detached"), base=no_predictor_field, t_end=1.0)
    assert found.normalised is not None
    assert found.normalised.conserved is None
    assert np.isnan(found.drift)
