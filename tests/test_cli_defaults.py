"""What commands take for options that are left out, and what of a run they save: told from outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import report_of

Dyn = Callable[..., tuple[Any, str, str]]

ONE_MODE = ("simulate", "--lambda-s", "1", "--lambda-d", "0.5", "--t-end", "0.1")
FOUR = [
    f"--lambda-{kind}={value}"
    for pair in zip("ssss", (1, 2, 3, 4), strict=True)
    for kind, value in (pair, ("d", 0.5))
]


@pytest.mark.parametrize("given", ["online", "predictor", "target"])
def test_a_weight_that_is_left_out_starts_at_a_tenth(dyn: Dyn, given: str) -> None:
    found = report_of(dyn, *ONE_MODE, f"--{given}", "0.3")["modes"][0]["initial"]
    assert found == {"online": 0.1, "predictor": 0.1, "target": 0.1} | {given: 0.3}


@pytest.mark.parametrize(
    ("option", "default"),
    [("--init-online", "0.3"), ("--init-predictor", "0.1"), ("--seed", "0")],
)
def test_a_matrix_start_that_is_left_out(dyn: Dyn, option: str, default: str, tmp_path: Path) -> None:
    starts = []
    for given in ((), (option, default), (option, "2")):
        path = tmp_path / f"{len(starts)}.npz"
        report_of(dyn, "simulate", *FOUR, "--dim", "3", *given, "--t-end", "0.1", "--out", path)
        with np.load(path) as saved:
            starts.append([saved[name][0] for name in ("online", "predictor")])
    for left_out, as_told in zip(*starts[:2], strict=True):
        np.testing.assert_array_equal(left_out, as_told)
    assert any(a.shape != b.shape or np.any(a != b) for a, b in zip(starts[0], starts[2], strict=True))


@pytest.mark.parametrize("option", ["--alpha", "--beta"])
@pytest.mark.parametrize("objective", ["byol-prime", "raft"])
def test_the_weights_of_an_objective_are_one_where_left_out(dyn: Dyn, objective: str, option: str) -> None:
    ends = [
        report_of(dyn, *ONE_MODE, "--objective", objective, *given)["modes"][0]["final"]
        for given in ((), (option, "1"), (option, "1.5"))
    ]
    assert ends[0] == ends[1] != ends[2]


def test_a_saved_run_holds_the_target_in_the_coordinates_of_the_data(dyn: Dyn, tmp_path: Path) -> None:
    # a pixel that is always dark: the run lives on the support, the file does not
    sigma_s = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.0]])
    np.savez(tmp_path / "m.npz", sigma_s=sigma_s, sigma_d=sigma_s / 2)
    rng = np.random.default_rng(0)
    start = {
        "online": rng.standard_normal((2, 3)),
        "predictor": 0.1 * np.eye(2),
        "target": rng.standard_normal((2, 3)),
    }
    np.savez(tmp_path / "start.npz", **start)
    run = ("simulate", "--moments", tmp_path / "m.npz", "--state", tmp_path / "start.npz", "--t-end", "0.1")
    report_of(dyn, *run, "--out", tmp_path / "run.npz")
    with np.load(tmp_path / "run.npz") as saved:
        # two changes of coordinates, sums of three products
        for name in ("online", "target"):
            np.testing.assert_allclose(saved[name][0], start[name] * [1, 1, 0], atol=1e-14)


def test_check_takes_five_systems(dyn: Dyn) -> None:
    measured = [
        report_of(dyn, "check", "R1", "R5", *given)["results"]
        for given in ((), ("--seeds", "5"), ("--seeds", "1"))
    ]
    residuals = [[row["residual"] / row["tolerance"] for row in rows] for rows in measured]
    assert residuals[0] == residuals[1] != residuals[2]
    assert [row["n_trials"] for rows in measured for row in rows] == [5, 5, 5, 5, 1, 1]


def test_an_interrupt_ends_with_130_and_no_traceback(dyn: Dyn, monkeypatch: pytest.MonkeyPatch) -> None:
    import analysis.results

    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(analysis.results, "check", interrupted)
    code, out, err = dyn("check", "R1")
    assert (code, out, err) == (130, "", "dyn: interrupted\n")
