"""`dyn figure`: one figure with its parameters, all of them, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from conftest import report_of

from cli import app
from commands.figure import _arguments, _value
from figures.gallery.registry import PAGES, Page, page

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_without_a_name_all_figures_are_listed(run_dyn: Run) -> None:
    done = run_dyn("figure", "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert listed["files"] == []
    assert [item["name"] for item in listed["figures"]] == list(PAGES)
    tied = next(item for item in listed["figures"] if item["name"] == "tied")
    assert tied["parameters"]["lambda_d"] == 0.5
    table = run_dyn("figure").stdout
    assert all(name in table for name in PAGES)


def test_a_figure_is_drawn_with_its_caption_and_its_numbers(run_dyn: Run, tmp_path: Path) -> None:
    files = ["--plot", "a.svg", "--out", "a.npz", "--size", "single", "--theme", "dark"]
    done = run_dyn("figure", "tied", "--lambda-d", "7/10", "--extent=2", *files, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "wrote a.svg\nwrote a.npz\n"
    assert json.loads(done.stdout)["files"] == ["a.svg", "a.npz"]
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "λd = 0.7" in svg
    assert f'width="{3.5 * 72:g}pt"' in svg
    assert "#16191d" in svg
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["parameters.lambda_d"] == 0.7
        np.testing.assert_allclose(arrays["portraits.0.points"], [[0.0, 0.0], [0.7, 0.7]], atol=1e-15)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "a.svg"]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_caption_is_printed_and_in_the_picture_and_no_other_file_is_touched(
    run_dyn: Run, tmp_path: Path, suffix: str
) -> None:
    (tmp_path / "tied.txt").write_text("notes", encoding="utf-8")
    done = run_dyn("figure", "tied", "--plot", f"tied.{suffix}", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "λd = 0.5" in done.stdout
    assert (tmp_path / "tied.txt").read_text(encoding="utf-8") == "notes"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"tied.{suffix}", "tied.txt"])
    written = (tmp_path / f"tied.{suffix}").read_bytes()
    if suffix == "png":
        from PIL import Image

        with Image.open(tmp_path / "tied.png") as picture:
            assert "λd = 0.5" in picture.info["Description"]
    elif suffix == "svg":
        assert "λd = 0.5" in written.decode()
    else:
        assert b"/Subject" in written


def test_again_it_is_the_same_to_the_byte(run_dyn: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        done = run_dyn("figure", "no-predictor", "--folder", name, "--format", "pdf", "--quiet")
        assert done.returncode == 0, done.stderr
    one, two = ((tmp_path / name / "no-predictor.pdf").read_bytes() for name in ("one", "two"))
    assert one == two


def test_the_help_of_a_figure_lists_its_parameters(run_dyn: Run) -> None:
    done = run_dyn("figure", "leaf", "--help")
    assert done.returncode == 0
    assert re.search(r"--invariants +0.2,0,-0.1,-0.4$", done.stdout, re.M)
    general = run_dyn("figure", "-h").stdout
    assert "Example: dyn figure" in general
    assert "--invariants" not in general


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["figure-6"],
            rf"a figure must be one of {', '.join(PAGES)}, got 'figure-6'; did you mean 'figure-9'\?",
        ),
        (
            ["tied", "--colour", "red"],
            r"a parameter of figure tied must be one of --lambda-s, .*got '--colour'",
        ),
        (["tied", "--lambda-d", "x"], r"--lambda-d must be a number such as 0\.5, 1/2 or 1e-3, got 'x'"),
        (["tied", "--extent", "-1"], r"--extent must be finite and > 0, got -1\.0"),
        (["tied", "--format", "jpg"], r"--format must be one of png, svg, pdf, got 'jpg'"),
        (
            ["tied", "--size", "poster"],
            r"Invalid value for '--size': must be one of single, double, slide, got 'poster'",
        ),
        (
            ["tied", "--theme", "sepia"],
            r"Invalid value for '--theme': must be one of light, dark, got 'sepia'",
        ),
        (["tied", "--plot", "a.jpg"], r"--plot: a file name must end in \.png, \.svg, \.pdf, got 'a\.jpg'"),
        (["tied", "--plot", "no/a.png"], r"--plot: cannot write no/a\.png: the folder no does not exist"),
        (["tied", "--out", "a.csv"], r"--out: a file name must end in \.npz, got 'a\.csv'"),
        (["--all", "--plot", "a.png"], r"--all must go without --plot, got a\.png"),
        (["tied", "--folder", os.devnull], r"--folder must be a folder, got the file /dev/null"),
        (["tied", "--all"], r"--all must go without a name, got tied"),
    ],
)
def test_nonsense_ends_with_2_and_a_sentence(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        app(["figure", *arguments])
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(f"dyn: {message}\n", err)
    assert list(tmp_path.iterdir()) == []


# --- parameters, without a process each ---------------------------------------------------------------------


def _nothing(result: Any) -> Any:
    return result


def compute(
    *,
    ratio: float = 0.5,
    end: float | None = None,
    count: int = 3,
    source: str = "digits",
    starts: tuple[float, ...] = (0.1,),
    chain: tuple[str, ...] = (),
    seed: int = 0,
) -> None:
    """Take a parameter of every kind."""


PAGE = Page("kinds", "Every kind", compute, _nothing, _nothing)


def test_every_kind_of_parameter_is_read() -> None:
    given = ["--ratio", "1/4", "--end=2", "--count", "7", "--source", "a.npy"]
    given += ["--starts", "-0.5,1/2", "--starts", "3", "--chain", "shift:1,noise:0.3"]
    assert _arguments(PAGE, given, 5) == {
        "ratio": 0.25,
        "end": 2.0,
        "count": 7,
        "source": "a.npy",
        "starts": (-0.5, 0.5, 3.0),
        "chain": ("shift:1", "noise:0.3"),
        "seed": 5,
    }
    assert _arguments(PAGE, [], 0) == {"seed": 0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--count", "2.5"], "--count must be an integer, got 2.5"),
        (["--count"], "--count must have a value, got none"),
        (["--ratio", "1", "--ratio", "2"], "--ratio must be given once, got 1 and 2"),
        (["--starts", "1,,2"], "--starts must be a number such as 0.5, 1/2 or 1e-3, got ''"),
        (["--seed", "2"], "a parameter of figure kinds must be one of --ratio, --end"),
        (["stray"], "a parameter of figure kinds must be one of --ratio, --end"),
    ],
)
def test_parameters_that_cannot_be_read_are_named(given: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        _arguments(PAGE, given, 0)


def test_a_number_keeps_its_digits() -> None:
    assert _value("--x", ["1e-3"], float) == 1e-3


@pytest.mark.parametrize("name", PAGES)
def test_no_parameter_hides_behind_an_option_of_the_command(name: str) -> None:
    options = {"all", "plot", "out", "format", "size", "theme", "data", "json", "quiet", "help"}
    assert options & set(page(name).parameters()) == set()


def test_the_seconds_of_a_figure_are_those_that_it_took(dyn: Callable[..., Any]) -> None:
    begin = perf_counter()
    (entry,) = report_of(dyn, "figure", "tied")["figures"]
    assert 0 < entry["seconds"] <= perf_counter() - begin
