"""What the pages tell a reader to type works: every block of README.md and docs/*.md is run as it stands.

A block runs by itself, in an empty folder, so that it can be copied by itself. In ```bash and ```console blocks
(there, lines that begin with "$ ") the lines `dyn …` and `python …` are run in order; each has to end with 0, or
with the code that a trailing `# exit 2` names. `make` lines have to name targets of the Makefile. A ```python
block is run as a script. A ```toml block that begins with "# NAME.toml" is a file in the folders of all blocks of
its page. A comment before the block, seen by no reader, says otherwise for the whole block:
`<!-- slow: reason -->` leaves it to `make test-slow`, `<!-- not run: reason -->` to nobody.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import HANG_S, ROOT, command_environment

from cli import COMMANDS
from dynamics.objectives import OBJECTIVES
from dynamics.variants import VARIANTS

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

RUN = ("dyn", "python")
# Set-up that a reader does once; no test repeats it.
SET_UP = ("git clone ", "cd ", "pip install ", "python -m pip install ", ".venv/bin/python -m pip install ")

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.M | re.S
)
REMARK = re.compile(r"<!-- (?P<kind>slow|not run): [^>]+ -->\s*\Z")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)(?P<path>[^)#\s]+)")
FILE = re.compile(r"# (\S+\.toml)\n")
EXIT = re.compile(r"\s# exit (?P<code>\d+)\s*\Z")


class Block(NamedTuple):
    """One fenced block of a page."""

    where: str
    language: str
    body: str
    remark: str | None
    files: dict[str, str]


def blocks_of(text: str, page: str) -> list[Block]:
    found: list[Block] = []
    files: dict[str, str] = {}
    for fence in FENCE.finditer(text):
        remark = REMARK.search(text, 0, fence.start())
        line = text.count("\n", 0, fence.start()) + 1
        body = re.sub(f"^{fence['indent']}", "", fence["body"], flags=re.M)
        if fence["language"] == "toml" and (name := FILE.match(body)):
            files[name[1]] = body
        found.append(Block(f"{page}:{line}", fence["language"], body, remark and remark["kind"], files))
    return found


def commands_of(block: Block) -> list[str]:
    """Lines to type, continuation lines joined, without prompts, comments and printed output."""
    lines = re.sub(r"\\\n[> ]*", "", block.body).splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def expected_exit(command: str) -> int:
    stated = EXIT.search(command)
    return int(stated["code"]) if stated else 0


def parameters(*languages: str) -> list:
    return [
        pytest.param(block, id=block.where, marks=[pytest.mark.slow] if block.remark == "slow" else [])
        for page in PAGES
        for block in blocks_of(page.read_text("utf-8"), page.relative_to(ROOT).as_posix())
        if block.language in languages and block.remark != "not run"
    ]


def write_files(block: Block, folder: Path) -> None:
    for name, text in block.files.items():
        (folder / name).write_text(text, encoding="utf-8")


def run(command: list[str], folder: Path, expected: int, shown: str) -> None:
    env = command_environment()
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert done.returncode == expected, f"{shown}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("block", parameters("bash", "console", "sh", "shell"))
def test_commands(block: Block, tmp_path: Path) -> None:
    write_files(block, tmp_path)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for command in commands_of(block):
        first, *words = command.split()
        if command.startswith(SET_UP):
            continue
        if first == "make":
            named = {word for word in re.sub("#.*", "", " ".join(words)).split() if "=" not in word}
            assert named <= targets, command
        else:
            assert first in RUN, f"{command}\nis neither run nor known as set-up: see {Path(__file__).name}"
            # -e and pipefail: a pipe is as good as its worst part
            run(["bash", "-o", "pipefail", "-ec", command], tmp_path, expected_exit(command), command)


@pytest.mark.parametrize("block", parameters("python"))
def test_python(block: Block, tmp_path: Path) -> None:
    write_files(block, tmp_path)
    script = tmp_path / "block.py"
    script.write_text(block.body, encoding="utf-8")
    run([sys.executable, str(script)], tmp_path, 0, block.body)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_pictures_are_there(page: Path) -> None:
    paths = [link["path"] for link in LINK.finditer(page.read_text("utf-8"))]
    assert [path for path in paths if not (page.parent / path).exists()] == []


def test_the_reader_of_pages_reads() -> None:
    page = (
        "```bash\n# a remark\ndyn a \\\n    --b  # exit 2\n\nmake test\n```\n"
        "1. item\n\n   <!-- slow: trains -->\n   ```console\n   $ dyn c\n   its output\n   ```\n"
        "<!-- not run: needs a GPU -->\n\n```python\nx = 1\n```\ntext\n```python\ny = 2\n```\n"
        "```toml\n# a.toml\nz = 3\n```\n```toml\nz = 4\n```\n"
    )
    blocks = blocks_of(page, "p")
    assert [(block.language, block.remark) for block in blocks] == [
        ("bash", None),
        ("console", "slow"),
        ("python", "not run"),
        ("python", None),
        ("toml", None),
        ("toml", None),
    ]
    assert blocks[0].files == {"a.toml": "# a.toml\nz = 3\n"}
    assert commands_of(blocks[0]) == ["dyn a --b  # exit 2", "make test"]
    assert [expected_exit(command) for command in commands_of(blocks[0])] == [2, 0]
    assert commands_of(blocks[1]) == ["dyn c"]
    assert blocks[3].where == "p:21"


def test_the_guide_says_which_command_answers_which_question() -> None:
    page = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| .* \| `dyn ([a-z-]+)` \|$", page, re.MULTILINE) == list(COMMANDS)


def test_the_glossary_has_every_variant_and_objective() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert [name for name in (*VARIANTS, *OBJECTIVES) if name not in page] == []
