"""Recordings: what is read back, what a kill leaves, what a resumed run adds."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from numpy.testing import assert_array_equal

from dynamics.training import TrainingSettings
from dynamics.training.checkpoints import Checkpoint, save
from dynamics.training.recording import STREAMED, Recording

SETTINGS = TrainingSettings(metrics_every=10)
SEEDS = [4, 7]


def measured(step: int, dtype: str = "float32") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(step)
    shapes = {"loss": (2,), "feature_std": (2, 3), "predictor_eigenvalues": (2, 3, 2)}
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Rows with vectors as lists, whatever the format."""
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    found = []
    for cells in csv.DictReader(path.read_text("utf-8").splitlines()):
        row: dict[str, Any] = {name: int(cells[name]) for name in ("run", "seed", "step")}
        row["loss"] = float(cells["loss"])
        row["feature_std"] = [float(cells[f"feature_std_{i}"]) for i in range(3)]
        row["predictor_eigenvalues"] = [
            [float(cells[f"predictor_eigenvalues_{i}_{j}"]) for j in range(2)] for i in range(3)
        ]
        found.append(row)
    return found


def assert_holds(path: Path, steps: list[int], dtype: str = "float32") -> None:
    rows = rows_of(path)
    assert [(row["step"], row["run"], row["seed"]) for row in rows] == [
        (step, run, seed) for step in steps for run, seed in enumerate(SEEDS)
    ]
    for row in rows:
        for name, values in measured(row["step"], dtype).items():
            # equal in the precision of the run, not merely close
            assert_array_equal(np.asarray(row[name], dtype), values[row["run"]])


def checkpoint_at(path: Path, steps: list[int]) -> Path:
    records = [measured(step) for step in steps]
    metrics = {name: np.stack([record[name] for record in records], axis=1) for name in records[0]}
    save(path, SETTINGS, "identity", Checkpoint(steps[-1], [], np.array(steps), metrics))
    return path


each_format = pytest.mark.parametrize("suffix", STREAMED)


@each_format
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_measurements_read_back_exactly(tmp_path: Path, suffix: str, dtype: str) -> None:
    path = tmp_path / f"run{suffix}"
    with Recording(path, SETTINGS, SEEDS) as recording:
        for step in (0, 10, 20):
            recording(step, 20, measured(step, dtype))
    assert_holds(path, [0, 10, 20], dtype)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@each_format
def test_a_file_is_readable_while_the_run_goes_on(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"
    recording = Recording(path, SETTINGS, SEEDS)
    recording(0, 100, measured(0))
    assert_holds(path, [0])
    for step in range(1, 101):
        recording(step, 100, measured(step))
        found = [row["step"] for row in rows_of(path)] if step % 25 == 0 else []
        assert found == [k for k in range(len(found) // 2) for _ in SEEDS]
        if suffix != ".parquet":  # which lags by a share of the time that it takes to write it
            assert not found or found[-1] == step


@each_format
def test_a_resumed_run_repeats_nothing_and_misses_nothing(tmp_path: Path, suffix: str) -> None:
    path, checkpoint = tmp_path / f"run{suffix}", tmp_path / "run.npz"
    killed = Recording(path, SETTINGS, SEEDS)
    for step in (0, 10, 20, 30):  # the checkpoint is older than what was recorded
        killed(step, 50, measured(step))
    checkpoint_at(checkpoint, [0, 10])
    with Recording(path, SETTINGS, SEEDS, resumed=checkpoint) as recording:
        for step in (20, 30, 40, 50):
            recording(step, 50, measured(step))
    assert_holds(path, [0, 10, 20, 30, 40, 50])


@each_format
def test_a_run_that_was_over_when_resumed_is_recorded_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"
    path.write_text("half a li")
    with Recording(path, SETTINGS, SEEDS, resumed=checkpoint_at(tmp_path / "run.npz", [0, 10])):
        pass
    assert_holds(path, [0, 10])


@each_format
def test_a_run_that_is_refused_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"
    path.write_text("old")
    with pytest.raises(ValueError, match="refused"), Recording(path, SETTINGS, SEEDS):
        raise ValueError("refused")
    assert path.read_text() == "old"


@each_format
def test_an_interrupted_run_keeps_all_that_it_measured(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"

    def interrupted() -> None:
        with Recording(path, SETTINGS, SEEDS) as recording:
            for step in (0, 10, 20):
                recording(step, 50, measured(step))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert_holds(path, [0, 10, 20])


@each_format
def test_what_is_not_finite_stays_so(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"
    broken = measured(0) | {"loss": np.array([np.nan, np.inf], np.float32)}
    with Recording(path, SETTINGS, SEEDS) as recording:
        recording(0, 1, broken)
    losses = [row["loss"] for row in rows_of(path)]
    if suffix == ".jsonl":  # strict JSON
        assert losses == [None, None]
    else:
        assert_array_equal(losses, [np.nan, np.inf])


def test_swept_settings_are_columns_and_parquet_carries_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "run.parquet"
    settings = TrainingSettings(optimizer={"learning_rate": [0.1, 0.2]})  # type: ignore[arg-type]
    with Recording(path, settings, [3]) as recording:
        recording(0, 1, measured(0))
    table = pyarrow.parquet.read_table(path)
    assert table["optimizer.learning_rate"].to_pylist() == [0.1, 0.2]
    assert table["seed"].to_pylist() == [3, 3]
    assert TrainingSettings.from_json(table.schema.metadata[b"settings"].decode()) == settings


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.csv, \.jsonl, \.parquet, got"):
        Recording(tmp_path / "run.txt", SETTINGS, SEEDS)
    with pytest.raises(ValueError, match="does not exist"):
        Recording(tmp_path / "no" / "run.csv", SETTINGS, SEEDS)
