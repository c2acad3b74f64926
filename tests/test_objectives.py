"""The table of objectives: what every row owes, and that nothing else lists them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_allclose

from analysis.fixed_points.bifurcations import bifurcation
from analysis.runs.directional import FIELDS
from analysis.sweeps.matrices import MATRICES
from dynamics.data.moments import Moments
from dynamics.data.objective_moments import objective_moments
from dynamics.objectives import OBJECTIVES, linear_objectives, trained_objectives, with_weight
from dynamics.system import ModeSystem
from dynamics.training.parts import ObjectiveSettings

ROOT = Path(__file__).resolve().parent.parent
MOMENTS = Moments.from_eigenvalues([2.0, 1.0], [1.0, 0.2])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_row_has_its_loss(name: str) -> None:
    row = OBJECTIVES[name]
    assert row.name == name
    assert row.meaning
    if row.directional:  # the trainer has them as settings of byol, or not at all
        assert name not in trained_objectives()
        assert any(objective == name for objective, _ in FIELDS)
        with pytest.raises(ValueError, match=f"got '{name}'"):
            ObjectiveSettings(kind=name)
        return
    assert ObjectiveSettings(kind=name).row is row
    assert row.alone == (row.transform is None)
    for weight in row.weights:
        assert name in with_weight(weight)
        ObjectiveSettings(kind=name, **{weight: 0.5})


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_without_moments_is_refused_by_name(name: str) -> None:
    settings = MATRICES.settings["objective"]
    if name in linear_objectives():
        assert settings.check("objective", name) == name
        assert objective_moments(name, MOMENTS)[0].shape == (2, 2)
        assert bifurcation(ModeSystem(1.0, 0.5), "invariant", (-0.5, 0.2), objective=name).points
        return
    for refused in (
        lambda: objective_moments(name, MOMENTS),
        lambda: bifurcation(ModeSystem(1.0, 0.5), "invariant", (-0.5, 0.2), objective=name),
        lambda: settings.check("objective", name),
    ):
        with pytest.raises(
            ValueError, match=f"objective.* must be one of {', '.join(linear_objectives())}, got '{name}'"
        ):
            refused()


def test_moments_are_those_of_the_loss() -> None:
    # −½ ∇ of α E|a x1 − a x2|² + s β E|a x1 − θ x1|² in a, for one mode with E x1² = λs and E x1 x2 = λd (R24, R26)
    ls, ld, a, theta, alpha, beta, step = 2.0, 1.2, 0.3, 0.7, 0.4, 0.6, 1e-6
    for name, sign in (("byol-prime", 1), ("raft", -1)):

        def loss(a: float, sign: int = sign) -> float:
            return alpha * 2 * a**2 * (ls - ld) + sign * beta * (a - theta) ** 2 * ls

        slope = -(loss(a + step) - loss(a - step)) / (4 * step)
        sigma_s, sigma_d = objective_moments(name, Moments.from_eigenvalues(ls, ld), alpha, beta)
        assert_allclose(theta * sigma_d[0, 0] - a * sigma_s[0, 0], slope, rtol=1e-9)


TOY = """
import json, sys
from dynamics import objectives
objectives.OBJECTIVES["toy"] = objectives.Objective(
    "toy", "half the noise", transform=lambda s, d, alpha, beta: ((s + d) / 2, d)
)
sys.argv = ["dyn", *json.loads(sys.argv[1])]
from cli import app
app()
"""


def toy(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", TOY, json.dumps(arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "--lambda-s", "1", "--lambda-d", "0.5"),
        ("simulate", "--lambda-s", "1", "--lambda-d", "0.5", "--dim", "1"),
        ("fixed-points", "--lambda-s", "1", "--lambda-d", "0.5"),
        ("basins", "--lambda-s", "1", "--lambda-d", "0.5", "--grid", "2"),
        (
            "bifurcation",
            "--lambda-s",
            "1",
            "--lambda-d",
            "0.5",
            "--parameter",
            "weight-decay",
            "--from",
            "0",
            "--to",
            "0.2",
        ),
    ],
)
def test_a_new_row_works_wherever_objectives_are_taken(arguments: tuple[str, ...]) -> None:
    done = toy(*arguments, "--objective", "toy", "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    if arguments[0] == "simulate" and "--dim" not in arguments:
        assert report["modes"][0]["lambda_s"] == 0.75
        assert_allclose(report["modes"][0]["final"]["predictor"], 2 / 3, rtol=1e-6)
    if arguments[0] == "bifurcation":  # η* = λd²/(4 τo λs)
        assert_allclose(report["points"][-1]["value"], 0.25 / 3, rtol=1e-9)


def test_a_new_row_is_refused_a_weight_that_it_does_not_take() -> None:
    done = toy("simulate", "--lambda-s", "1", "--lambda-d", "0.5", "--objective", "toy", "--alpha", "2")
    assert done.returncode == 2
    assert "--alpha must go with --objective byol-prime or raft, got toy" in done.stderr


def test_a_new_row_is_listed() -> None:
    done = toy("info", "objectives", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["objectives"]["toy"] == "half the noise"
