"""`dyn sweep`: its JSON keys, its refusals, and that nothing is written before a refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import xarray
from conftest import report_of

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
        done = run_dyn("sweep", spec, "--out", "s.zarr", "--json", "--quiet")
        assert (done.returncode, done.stderr) == (0, "")
        report = json.loads(done.stdout)
        assert report.keys() >= {"completed", "total", "resumed", "trajectories_per_second", "store"}
        assert (report["completed"], report["total"], report["resumed"]) == (6, 6, resumed)
        assert report["store"] == "s.zarr"
    with xarray.open_zarr(tmp_path / "s.zarr") as data:
        assert dict(data.sizes) == {"ratio": 2, "sample": 3}


def test_a_table_for_people(dyn, spec):
    code, out, _ = dyn("sweep", spec, "--out", "s.zarr")
    assert code == 0
    assert "6 of 6" in out


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_dry_run_writes_nothing(dyn, spec, tmp_path, form):
    code, out, err = dyn(
        "sweep", spec, "--out", "s.zarr", "--dry-run", *(["--json"] if form == "json" else [])
    )
    assert code == 0, err
    if form == "json":
        report = json.loads(out)
        assert report.keys() >= {"completed", "total", "resumed", "trajectories_per_second", "store"}
        assert (report["total"], report["completed"]) == (6, 0)
    else:
        assert "ratio (2), sample (3)" in out
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


def test_a_seed_of_its_own(dyn, spec, tmp_path):
    for seed in (0, 7):
        report_of(dyn, "sweep", spec, "--out", f"{seed}.zarr", "--seed", seed)
    report_of(dyn, "sweep", spec, "--out", "spec.zarr")
    online = {}
    for name in ("0", "7", "spec"):
        with xarray.open_zarr(tmp_path / f"{name}.zarr") as data:
            online[name] = data.online.values.tolist()
    assert online["0"] == online["spec"] != online["7"]


def test_a_damaged_chunk_is_said_on_standard_error(dyn, spec, tmp_path):
    report_of(dyn, "sweep", spec, "--out", "s.zarr")
    next(path for path in (tmp_path / "s.zarr" / "drift" / "c").rglob("*") if path.is_file()).unlink()
    code, out, err = dyn("sweep", spec, "--out", "s.zarr", "--json")
    assert (code, json.loads(out)["damaged"]) == (0, 1)
    assert err == "s.zarr: damaged and done again: 1 of 2 chunks\n"


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
def test_bad_specs_end_with_2_and_one_sentence_and_nothing_written(dyn, tmp_path, case):
    text, message = REFUSED[case]
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    code, out, err = dyn("sweep", "s.toml", "--out", "s.zarr")
    assert (code, out) == (2, "")
    assert err.startswith("dyn: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


BAD_CALLS = {
    "--out must be another file than SPEC.toml": ("s.toml", "--out", "s.toml"),
    "the folder no does not exist": ("s.toml", "--out", "no/s.zarr"),
    "missing.toml does not exist": ("missing.toml", "--out", "s.zarr"),
    "--workers must be an integer >= 1": ("s.toml", "--out", "s.zarr", "--workers", 0),
    "--out": ("s.toml",),
}


@pytest.mark.parametrize("message", BAD_CALLS)
@pytest.mark.usefixtures("spec")
def test_bad_calls_end_with_2(dyn, tmp_path, message):
    code, _, err = dyn("sweep", *BAD_CALLS[message])
    assert code == 2
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


def test_a_file_is_no_store(dyn, spec):
    Path("other.txt").write_text("kept", encoding="utf-8")
    code, _, err = dyn("sweep", spec, "--out", "other.txt")
    assert code == 2
    assert "--out: other.txt must be a folder" in err
    assert Path("other.txt").read_text(encoding="utf-8") == "kept"


def test_another_sweep_ends_with_2(dyn, spec):
    report_of(dyn, "sweep", spec, "--out", "s.zarr")
    code, _, err = dyn("sweep", spec, "--out", "s.zarr", "--seed", 9)
    assert code == 2
    assert "s.zarr holds another sweep, with seed = 0, not 9" in err
