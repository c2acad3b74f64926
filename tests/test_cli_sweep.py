"""`dyn sweep`: its JSON keys, its refusals, and that nothing is written before a refusal."""

from __future__ import annotations

import json

import pytest
import xarray

SPEC = """
samples = 3
chunk = 4

[parameters]
lambda_s = 1
ratio = { values = [0.2, 0.5] }
online = { normal = [0, 0.7] }
t_end = 5
"""


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def test_a_sweep_and_its_repetition(run_dyn, spec, tmp_path):
    for resumed in (0, 6):
        done = run_dyn("sweep", spec, "--out", "s.zarr", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        report = json.loads(done.stdout)
        assert report.keys() >= {"completed", "total", "resumed", "trajectories_per_second", "store"}
        assert (report["completed"], report["total"], report["resumed"]) == (6, 6, resumed)
        assert report["store"] == "s.zarr"
    with xarray.open_zarr(tmp_path / "s.zarr") as data:
        assert dict(data.sizes) == {"ratio": 2, "sample": 3}


def test_a_table_for_people(run_dyn, spec):
    done = run_dyn("sweep", spec, "--out", "s.zarr")
    assert done.returncode == 0
    assert "6 of 6" in done.stdout


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_dry_run_writes_nothing(run_dyn, spec, tmp_path, form):
    done = run_dyn("sweep", spec, "--out", "s.zarr", "--dry-run", *(["--json"] if form == "json" else []))
    assert done.returncode == 0, done.stderr
    if form == "json":
        report = json.loads(done.stdout)
        assert report.keys() >= {"completed", "total", "resumed", "trajectories_per_second", "store"}
        assert (report["total"], report["completed"]) == (6, 0)
    else:
        assert "ratio (2), sample (3)" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


def test_a_seed_of_its_own(run_dyn, spec, tmp_path):
    for seed in (0, 7):
        assert run_dyn("sweep", spec, "--out", f"{seed}.zarr", "--seed", seed, "--json").returncode == 0
    assert run_dyn("sweep", spec, "--out", "spec.zarr", "--json").returncode == 0
    online = {}
    for name in ("0", "7", "spec"):
        with xarray.open_zarr(tmp_path / f"{name}.zarr") as data:
            online[name] = data.online.values.tolist()
    assert online["0"] == online["spec"] != online["7"]


def test_a_damaged_chunk_is_said_on_standard_error(run_dyn, spec, tmp_path):
    run_dyn("sweep", spec, "--out", "s.zarr", "--json")
    next(path for path in (tmp_path / "s.zarr" / "drift" / "c").rglob("*") if path.is_file()).unlink()
    done = run_dyn("sweep", spec, "--out", "s.zarr", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["damaged"] == 1
    assert done.stderr == "1 chunks of s.zarr are damaged and are done again\n"


REFUSED = {
    "not TOML": (SPEC.replace("[parameters]", "[parameters"), "must be TOML"),
    "an unknown parameter": (
        SPEC.replace("online", "onlin"),
        "parameters.onlin is not known: did you mean online?",
    ),
    "an empty grid": (SPEC.replace("[0.2, 0.5]", "[]"), "parameters.ratio.values must not be empty"),
    "NaN": (SPEC.replace("[0.2, 0.5]", "[0.2, nan]"), "must be finite numbers, got nan"),
    "too many cells": (
        SPEC.replace("samples = 3", "samples = 500_000_000_000_000"),
        "are free: sweep over less",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_specs_end_with_2_and_one_sentence_and_nothing_written(run_dyn, tmp_path, case):
    text, message = REFUSED[case]
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    done = run_dyn("sweep", "s.toml", "--out", "s.zarr")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("dyn: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


def test_bad_places_end_with_2(run_dyn, spec, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    for place, message in {"file": "must be a folder", "no/s.zarr": "the folder no does not exist"}.items():
        done = run_dyn("sweep", spec, "--out", place)
        assert done.returncode == 2
        assert message in done.stderr
    assert run_dyn("sweep", "missing.toml", "--out", "s.zarr").returncode == 2
    assert run_dyn("sweep", spec, "--out", "s.zarr", "--workers", 0).returncode == 2
    assert run_dyn("sweep", spec).returncode == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "s.toml"]


def test_another_sweep_ends_with_2(run_dyn, spec):
    run_dyn("sweep", spec, "--out", "s.zarr", "--json")
    done = run_dyn("sweep", spec, "--out", "s.zarr", "--seed", 9)
    assert done.returncode == 2
    assert "s.zarr holds another sweep, with seed = 0, not 9" in done.stderr
