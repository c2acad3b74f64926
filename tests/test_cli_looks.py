"""Pictures of every command in the theme, size and resolution asked for; lists of numbers, and names nearly right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import report_of
from PIL import Image

import cli
from commands import declaration
from figures.style import SIZES, THEMES

Dyn = Callable[..., tuple[Any, str, str]]

ONE_MODE = ("simulate", "--lambda-s", "1", "--lambda-d", "0.5", "--t-end", "5")
PICTURED = {
    "simulate": ONE_MODE,
    "matrices": ("simulate", "--lambda-s", "1,1,1", "--lambda-d", ".8,.5,.2", "--dim", "2", "--t-end", "5"),
    "encoder": (*ONE_MODE, "--objective", "spectral", "--dim", "1"),
    "deep": (*ONE_MODE, "--depth", "2"),
    "basins": ("basins", "--lambda-s", "1", "--lambda-d", "0.5", "--grid", "8"),
    "bifurcation": (
        *("bifurcation", "--lambda-s", "1", "--lambda-d", "0.8"),
        *("--parameter", "weight-decay", "--from", "0", "--to", "0.2"),
    ),
    "align": ("align", "--lambda-s", "1,1", "--lambda-d", ".8,.5", "--dim", "2", "--t-end", "5"),
    "contrast": ("contrast", "--lambda-s", "1", "--lambda-d", "0.5"),
    "tree": ("tree", "--height", "3"),
    "sweep": ("sweep", "s.toml", "--out", "s.zarr"),
    "figure": ("figure", "tied"),
}
SPEC = "[parameters]\nlambda_s = 1\nratio = 0.5\npredictor = { values = [0.2, 0.8] }\n"
PER_INCH = 40


@pytest.fixture(autouse=True)
def spec(tmp_path: Path) -> None:
    """The sweep of `PICTURED`."""
    (tmp_path / "s.toml").write_text(SPEC, encoding="utf-8")


@pytest.mark.parametrize("what", PICTURED)
def test_pictures_wear_the_look_that_is_asked_for(dyn: Dyn, tmp_path: Path, what: str) -> None:
    for theme, size in (("light", "single"), ("dark", "slide")):
        look = ("--theme", theme, "--size", size, "--dpi", PER_INCH)
        code, _, err = dyn(*PICTURED[what], "--plot", tmp_path / f"{theme}.png", *look)
        assert code == 0, err
        with Image.open(tmp_path / f"{theme}.png") as picture:
            room, colour = SIZES[size], np.asarray(picture.convert("RGB"))[0, 0].tolist()
            assert picture.width == PER_INCH * room.width
            assert room.height is None or picture.height == int(PER_INCH * room.height)
            assert "#{:02x}{:02x}{:02x}".format(*colour) == THEMES[theme].paper


def test_every_command_that_draws_takes_a_look(dyn: Dyn) -> None:
    dyn("no-such-command")  # an error imports all commands
    for each in declaration.declared.registered_commands:
        assert each.callback is not None
        options = set(each.callback.__annotations__)
        if options & {"plot", "folder"}:
            assert {"theme", "size", "dpi"} <= options, each.name
    assert len(declaration.declared.registered_commands) == len(cli.COMMANDS)


@pytest.mark.parametrize(
    "look", [("--theme", "dark"), ("--size", "slide"), ("--dpi", "90"), ("--dpi", "90", "--theme", "light")]
)
@pytest.mark.parametrize("what", [*[what for what in PICTURED if what != "figure"], "confirm"])
def test_a_look_that_nothing_wears_is_refused(dyn: Dyn, what: str, look: tuple[str, ...]) -> None:
    code, out, err = dyn(*PICTURED.get(what, ("confirm", "C6", "--quick")), *look)
    assert (code, out) == (2, "")
    assert "must go with a picture" in err


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (("--theme", "drk"), "must be one of light, dark, got 'drk'; did you mean 'dark'?"),
        (("--size", "poster"), "must be one of single, double, slide, got 'poster'"),
        (("--dpi", "9"), "must be an integer >= 10, got '9'"),
        (("--dpi", "1e9"), "must be an integer >= 10, got '1e9'"),
        (("--dpi", "100000"), "--dpi must be in [10, 2400], got 100000"),
    ],
)
def test_a_look_that_does_not_exist_is_refused(
    dyn: Dyn, tmp_path: Path, look: tuple[str, ...], message: str
) -> None:
    code, out, err = dyn(*ONE_MODE, "--plot", tmp_path / "p.png", *look)
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "p.png").exists()


def test_numbers_are_given_one_by_one_or_joined_by_commas(dyn: Dyn) -> None:
    joined = report_of(dyn, "simulate", "--lambda-s", "1,2", "--lambda-s", "3", "--lambda-d", "1/2,1e-1,.3")
    apart = [f"--lambda-s={value}" for value in (1, 2, 3)] + [
        f"--lambda-d={value}" for value in (0.5, 0.1, 0.3)
    ]
    once = report_of(dyn, "simulate", *apart)
    assert [mode["final"] for mode in joined["modes"]] == [mode["final"] for mode in once["modes"]]
    starts = report_of(dyn, "simulate", "--lambda-s=1,1", "--lambda-d=.5,.5", "--online=-.3,.2")["modes"]
    assert [mode["initial"]["online"] for mode in starts] == [-0.3, 0.2]
    for wrong in ("1,", ",1", "1,,2", "1, a"):
        code, out, err = dyn("simulate", "--lambda-s", wrong, "--lambda-d", "0.5")
        assert (code, out) == (2, "")
        assert "--lambda-s" in err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ((*ONE_MODE, "--variant", "ful"), "full"),
        ((*ONE_MODE, "--objective", "byol_prime"), "byol-prime"),
        (("figure", "figure-55"), "figure-5"),
        (("figure", "tied", "--lamda-d", "1"), "--lambda-d"),
        (("info", "datset"), "datasets"),
        (("confirm", "C66"), "C6"),
        (("simulate", "--data", "digits", "--augment", "shft:1"), "shift:k"),
        (
            ("stability", "--lambda-s=1", "--lambda-d=.5", "--state", "s.npz", "--objective", "infonc"),
            "infonce",
        ),
    ],
)
def test_a_name_that_is_nearly_right_is_suggested(dyn: Dyn, arguments: tuple[str, ...], meant: str) -> None:
    np.savez("s.npz", online=[[1.0]], predictor=[[0.5]], target=[[1.0]])
    code, out, err = dyn(*arguments)
    assert (code, out) == (2, "")
    assert err.rstrip().endswith(f"did you mean {meant!r}?")
    assert err.count("\n") == 1
