"""What every command says: tables, help texts, examples and notes, and how it ends when nobody listens."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import termios
import time
from collections import Counter
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from conftest import HANG_S, ROOT, command_environment
from hypothesis import given
from hypothesis import strategies as st

from cli import COMMANDS
from commands import declaration
from commands import output as printing
from commands.info import version_of
from commands.options import _announce
from commands.output import ReportOptions, progress, table_text, ticker
from commands.terminal import shown

ONE_MODE = ("simulate", "--lambda-s", "1", "--lambda-d", "0.5")
DYN = Path(sys.executable).with_name("dyn")


# --- tables -------------------------------------------------------------------------------------------------

WORD = st.sampled_from(
    ["5.071431e-10", "-1.0000001", "undecided", "fast-predictor", "λd/λs", "=", "–", "w1,"]
)
TEXT = st.lists(WORD, min_size=1, max_size=12).map(" ".join)
TABLE = st.integers(1, 8).flatmap(
    lambda n: st.tuples(
        st.lists(TEXT, min_size=n, max_size=n),
        st.lists(st.lists(TEXT, min_size=n, max_size=n), min_size=1, max_size=4),
    )
)


@given(TABLE, st.sampled_from([10, 40, 80, 120, 200, None]))
def test_no_word_of_a_table_is_cut_and_none_is_lost(table: Any, width: int | None) -> None:
    columns, rows = table
    text = table_text(columns, rows, width)
    words = Counter(word for line in text.splitlines() for word in line.split() if not set(word) <= {"─"})
    assert not Counter(word for row in rows for cell in row for word in cell.split()) - words
    if width is None:  # a row is a line
        assert len(text.splitlines()) == 2 + len(rows)
    if width is not None and width >= 40:  # room for the longest word beside the longest name
        assert max(map(len, text.splitlines())) <= width


def test_a_table_that_fits_has_columns_and_one_that_does_not_has_blocks() -> None:
    columns, rows = ["mode", "fate", "end"], [["1", "learned", "0.5"], ["2", "collapsed", "1e-12"]]
    wide = table_text(columns, rows, 80)
    assert wide == table_text(columns, rows)
    assert wide.splitlines()[0].split() == columns
    blocks = "mode  1\nfate  learned\nend   0.5\n\nmode  2\nfate  collapsed\nend   1e-12\n"
    assert table_text(columns, rows, 20) == blocks


def typed(arguments: tuple[str, ...], columns: int, **more: str) -> str:
    """What a terminal of that many columns shows."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    env = {name: value for name, value in command_environment().items() if name != "COLUMNS"} | more
    with subprocess.Popen(
        [DYN, *arguments], stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=env
    ) as process:
        os.close(theirs)
        seen = b""
        with suppress(OSError):  # which Linux raises when the other end is closed
            while part := os.read(ours, 65536):
                seen += part
        assert process.wait(HANG_S) == 0
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode()).replace("\r", "")


@pytest.mark.parametrize(
    ("columns", "more"), [(40, {}), (80, {}), (120, {}), (200, {}), (200, {"COLUMNS": "40"})]
)
def test_a_terminal_shows_every_number_whole(columns: int, more: dict[str, str]) -> None:
    start = ("--online", "1/3", "--predictor", "-.123456789", "--target", "1e-7")
    text = typed((*ONE_MODE, *start, "--t-end", "0.5"), columns, **more)
    whole = subprocess.run(
        [DYN, *ONE_MODE, *start, "--t-end", "0.5"], env=command_environment(), capture_output=True, text=True
    )
    numbers = re.findall(r"[-\d][\d.]*(?:e[-+]\d+)?", whole.stdout.split("drift of c")[1].split("field")[0])
    assert {"0.3333333", "-0.1234568", "1e-07"} <= set(numbers)
    assert [number for number in numbers if number not in text] == []
    width = int(more.get("COLUMNS", columns))
    assert max(map(len, text.splitlines())) <= width
    assert ("─" in text) == (width == 200)


def test_an_ascii_terminal_gets_the_whole_table() -> None:
    env = command_environment() | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    for arguments in (ONE_MODE, ("info", "variants"), ("info", "objectives"), ("simulate", "--help")):
        done = subprocess.run([DYN, *arguments], env=env, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.isascii()
        assert b"?" not in done.stdout
    assert shown("λd/λs → ½ ‖θ‖² 中", "ascii") == "lambdad/lambdas -> 1/2 |theta|^2 ?"
    assert shown("λd/λs", "utf-8") == "λd/λs"


# --- how it ends --------------------------------------------------------------------------------------------

STRIKE = """
import os, signal, sys

class Strike:  # Ctrl-C at the moment when a module is looked for
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Strike())
from cli import app
app(sys.argv[2:])
"""


@pytest.mark.parametrize(
    "module", ["commands.declaration", "typer", "commands.simulate", "commands.options", "numpy"]
)
def test_ctrl_c_during_imports_is_no_traceback(module: str) -> None:
    command = [sys.executable, "-c", STRIKE, module, *ONE_MODE]
    done = subprocess.run(command, env=command_environment(), capture_output=True, text=True, timeout=HANG_S)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "dyn: interrupted\n")


@pytest.mark.parametrize("arguments", [("--help",), ("info", "variants"), ONE_MODE, (*ONE_MODE, "--json")])
def test_a_reader_that_has_gone_is_no_error(arguments: tuple[str, ...]) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run([DYN, *arguments], stdout=writes, stderr=subprocess.PIPE, env=command_environment())
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, b"")


# --- help ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", ["40", "80", "120"])
def test_summaries_are_whole(dyn, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    code, out, _ = dyn("--help")
    assert code == 0
    assert not re.search(r"(\.\.\.|…)$", out.partition("\n")[2], re.MULTILINE)
    listed = re.findall(r"^  ([a-z]+(?:-[a-z]+)*)(?:  |$)", out.split("Commands:")[1], re.MULTILINE)
    assert listed == list(COMMANDS)
    assert re.sub(r"\s+", " ", out).count("Where can one mode rest, and is rest stable") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_values_in_words_and_breaks_no_name(dyn, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = dyn(command, "--help")
    assert code == 0
    assert not re.search(r"<\w|\bTEXT\b|\bFLOAT\b|\bPATH\b|list\[", out)
    options, _, example = out.partition("\n  Example: ")
    assert not re.search(r"\w-$", options, re.MULTILINE)  # a name is not broken at its hyphen
    assert example.count("\n") == 1  # the example is one line, to be copied


SLOW_EXAMPLES = ("confirm", "train")
SERVES = ("explore",)  # until Ctrl-C: tests/test_explorer.py starts and ends it


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW_EXAMPLES))
        for name in COMMANDS
        if name not in SERVES
    ],
)
def test_the_example_of_every_help_runs_in_an_empty_folder(run_dyn, tmp_path, command):
    example = run_dyn(command, "--help").stdout.split("Example: ")[1].strip()
    assert f"dyn {command}" in example
    done = subprocess.run(
        ["bash", "-ec", example],
        cwd=tmp_path,
        env=command_environment(),
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_names_are_listed_refused_and_completed_from_the_table(dyn, run_dyn):
    from dynamics.variants import VARIANTS

    for command in ("simulate", "basins", "fixed-points"):
        code, out, _ = dyn(command, "--help")
        assert code == 0
        listed = re.search(r"Variant of the flow \(full\)\. One of (.*?)\.\s", re.sub(r"\s+", " ", out))
        assert listed is not None
        assert listed[1].split(", ") == list(VARIANTS)
    code, _, err = dyn(*ONE_MODE, "--variant", "ful")
    assert code == 2
    listed = ", ".join(VARIANTS)
    assert err.endswith(f"'--variant': must be one of {listed}, got 'ful'; did you mean 'full'?\n")
    words = "dyn simulate --variant fa"
    env = {"_DYN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "3"}
    assert run_dyn(env=env).stdout.split() == ["fast-predictor"]


COMPLETED = {
    "dyn figure stab": ["stability-map", "stability-plane"],
    "dyn figure portr": ["portrait"],
    "dyn check R30": ["R30", *(f"R30{k}" for k in range(1, 10))],
    "dyn check contr": ["contrastive"],
    "dyn check R6 tr": ["trees"],
    "dyn confirm C1 C1": ["C1", *(f"C1{k}" for k in range(10))],
    "dyn confirm --data pho": ["photos"],
    "dyn info dat": ["datasets"],
    "dyn simulate --data mn": ["mnist:"],
    "dyn simulate --data x": ["x.npy"],
    "dyn simulate --data sub/": ["sub/y.npz", "sub/z/"],
    "dyn train --data ga": ["gaussian"],
    "dyn train --data dig": ["digits"],
    "dyn train --augment shi": ["shift:"],
    "dyn simulate --augment fl": ["flip"],
}


@pytest.mark.parametrize("words", COMPLETED)
def test_names_are_completed(words: str, tmp_path: Path) -> None:
    (tmp_path / "sub" / "z").mkdir(parents=True)
    for name in ("x.npy", "x.txt", ".x.npy", "sub/y.npz"):
        (tmp_path / name).touch()
    typed = {"_DYN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    env = command_environment() | {"PYTHONPATH": str(ROOT)} | typed
    script = "import sys; sys.argv[0] = 'dyn'; from cli import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == COMPLETED[words], done.stderr


def test_help_does_not_import_numpy() -> None:
    script = (
        "import sys; from cli import app\ntry: app(['--help'])\nfinally: assert 'numpy' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=command_environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("option", ["--moments", "--data", "--augment"])
def test_basins_have_no_options_of_matrices(dyn, option):
    code, out, err = dyn("basins", "--lambda-s", "1", "--lambda-d", ".5", option, "digits")
    assert (code, out) == (2, "")
    assert option in err
    assert option not in dyn("basins", "--help")[1]


# --- notes --------------------------------------------------------------------------------------------------


def test_files_that_are_written_are_named(dyn):
    files = ("--out", "run.csv", "--plot", "run.png")
    code, out, err = dyn(*ONE_MODE, *files, "--json")
    assert code == 0
    json.loads(out)
    assert err == "wrote run.csv\nwrote run.png\n"
    assert dyn(*ONE_MODE, *files)[2] == err  # again, over the old ones
    assert dyn(*ONE_MODE, *files, "--quiet")[2] == ""
    code, _, err = dyn(*ONE_MODE, "--rtol", "-1", *files)
    assert code == 2
    assert "wrote" not in err


def test_pandas_and_numpy_read_a_csv_as_it_is(dyn):
    import pandas as pd

    grid = ("--grid", "3", "--range", "online:-1:1")
    line = (
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
        ".1",
    )
    for arguments in (ONE_MODE, ("basins", *ONE_MODE[1:], *grid), line):
        assert dyn(*arguments, "--out", "a.csv")[0] == 0
        frame = pd.read_csv("a.csv", engine="python")
        table = np.genfromtxt("a.csv", delimiter=",", names=True)
        assert tuple(frame.columns) == table.dtype.names
        for name in frame.columns:
            np.testing.assert_array_equal(frame[name], table[name])


def test_the_version_is_printed_and_what_is_not_installed_is_not(dyn):
    assert dyn("--version")[:2] == (0, f"dyn {version_of('dyn-byol')}\n")
    assert version_of("no-such-library") is None
    code, out, _ = dyn("info", "--json")
    assert code == 0
    versions = json.loads(out)["versions"]
    assert {"dyn", "python", "numpy", "jax", "scikit-learn", "zarr"} <= set(versions)
    assert all(re.match(r"\d", version) for version in versions.values())
    assert "torch" not in versions or version_of("torch")


@pytest.mark.parametrize("watch", [progress, ticker])
def test_long_work_is_not_silent_where_there_is_no_terminal(capsys, monkeypatch, watch):
    monkeypatch.setattr(printing, "WORD_EVERY", 0.02)
    said = ""
    with watch("working", ReportOptions()) as report:
        report(3, 12)
        begin = time.monotonic()
        while "\n" not in said and time.monotonic() - begin < HANG_S:
            time.sleep(0.02)
            said += capsys.readouterr().err
    assert re.match(r"working: (3 of 12|t = 3 of 12), \d+(\.\d+)? s\n", said)
    capsys.readouterr()  # a line may have been written since
    with watch("working", ReportOptions(quiet=True)) as report:
        assert report is None
        time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_short_work_is_silent(dyn):
    assert dyn(*ONE_MODE)[2] == ""


def test_moments_of_many_dimensions_are_announced_or_refused(capsys):
    with pytest.raises(
        ValueError, match=r"^--data must .* memory, got 10,000,000: they take \d+ GiB, of which \d+ GiB"
    ):
        _announce(10_000_000, ReportOptions())
    assert capsys.readouterr().err == ""
    _announce(6000, ReportOptions())
    assert re.match(
        r"eigenvalues of moments in 6,000 dimensions: about .* and 3 GiB", capsys.readouterr().err
    )
    _announce(5000, ReportOptions())
    assert capsys.readouterr().err == ""


# --- what is refused ----------------------------------------------------------------------------------------

PAIR = ("--lambda-s", "1", "--lambda-d", "0.5")
BASES = {
    "simulate": PAIR,
    "simulate matrices": (*PAIR, "--dim", "1"),
    "fixed-points": PAIR,
    "stability": (*PAIR, "--state", "end.npz"),
    "basins": (*PAIR, "--grid", "2"),
    "bifurcation": (*PAIR, "--parameter", "weight-decay", "--from", "0", "--to", ".1"),
    "sylvester": (*PAIR, "--state", "end.npz"),
    "align": (*PAIR, "--dim", "1"),
    "contrast": PAIR,
    "train": ("--data", "exact", *PAIR, "--features", "1"),
}
WRONG = {"NUMBER": ("abc", "nan", "1/0"), "INTEGER": ("2.5", "abc", "-1"), "FILE": ("missing",)}


@pytest.mark.parametrize("name", BASES)
def test_what_is_refused_is_named_as_it_was_typed(dyn, name):
    command = name.split()[0]
    np.savez("end.npz", **{part: np.array([[0.5]]) for part in ("online", "predictor", "target")})
    options = re.findall(r"^  (--[\w-]+) (NUMBER|INTEGER|FILE) ", dyn(command, "--help")[1], re.MULTILINE)
    assert len(options) > 5
    for option, kind in options:
        given = dict(zip(BASES[name][::2], BASES[name][1::2], strict=True))
        given.pop(option, None)
        if option == "--state":  # not with --dim
            given.pop("--dim", None)
        for value in () if option == "--checkpoint" else WRONG[kind]:  # which is written
            code, out, err = dyn(
                command, *(f"{key}={text}" for key, text in given.items()), f"{option}={value}"
            )
            assert (code, out) == (2, ""), (option, value, err)
            named = {"--lambda-s": "Σs", "--lambda-d": "Σd"}.get(option, option) if value == "nan" else option
            assert named in err or option in err
            assert "got" in err or value in err
            assert not re.search("Input should|Warning|`", err), err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (7.31, "7.3 s"),
        (59.4, "59 s"),
        (60.0, "1:00 min"),
        (60.4, "1:00 min"),
        (125, "2:05 min"),
        (111612, "31:00:12 h"),
    ],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert printing.duration_text(seconds) == text


# --- files ------------------------------------------------------------------------------------------------


def annotations_of(command: str) -> dict[str, Any]:
    import_module(f"commands.{command.replace('-', '_')}")
    return {str(each.name): each for each in declaration.declared.registered_commands}[
        command
    ].callback.__annotations__


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_that_names_a_file_says_what_is_done_with_it(command: str) -> None:
    outputs = {"out", "plot", "checkpoint", "folder"}
    for name, annotation in annotations_of(command).items():
        roles = [
            mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, declaration.Role)
        ]
        if "Path" in str(getattr(annotation, "__origin__", annotation)) or roles:
            assert len(roles) == 1, name
            assert (roles[0] is not declaration.READS) == (name in outputs), name


def test_a_file_without_a_role_is_an_error_of_the_program() -> None:
    with pytest.raises(
        TypeError, match="`table` of dyn toy must say in its annotation what is done with its file"
    ):

        @declaration.command("toy")
        def toy(
            table: Annotated[Path, declaration.option("--table", panel="System", help="A table.")],
        ) -> None:
            pass


def test_no_command_writes_over_what_it_reads(dyn: Any) -> None:
    np.savez("one.npz", sigma_s=np.eye(1), sigma_d=np.eye(1) / 2)
    before = Path("one.npz").read_bytes()
    moves = ("--parameter", "weight-decay", "--from", "0", "--to", "0.1")
    for option in ("--out", "--plot"):
        code, _, err = dyn("bifurcation", "--moments", "one.npz", *moves, option, "./one.npz")
        assert code == 2
        assert f"{option} must be another file than --moments" in err
    Path("spec.toml").write_text('kind = "modes"\n')
    code, _, err = dyn("sweep", "spec.toml", "--out", "spec.toml")
    assert code == 2
    assert err == "dyn: --out must be another file than SPEC.toml, got spec.toml for both\n"
    assert Path("one.npz").read_bytes() == before
