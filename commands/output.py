"""Tables for people and JSON for programs on standard output; progress and notes on standard error."""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from commands.declaration import OUTPUT, option
from commands.terminal import FAILED, shown

if TYPE_CHECKING:
    from dynamics.integration.integrate import Trajectory


WORD_EVERY = 10.0
"""Seconds between two lines of long work where there is no terminal."""


JsonOption = Annotated[bool, option("--json", panel=OUTPUT, help="Print one JSON object.")]
QuietOption = Annotated[bool, option("--quiet", panel=OUTPUT, help="No notes and no progress bar.")]


@dataclass(frozen=True)
class ShowOptions:
    """How results are shown."""

    json: JsonOption = False
    quiet: QuietOption = False


@dataclass(frozen=True)
class ReportOptions(ShowOptions):
    """How results are shown, where something is drawn at random."""

    seed: Annotated[int, option("--seed", panel=OUTPUT, help="Seed of every random draw (0).", min=0)] = 0


@contextmanager
def _words(text: Callable[[], str], output: ShowOptions) -> Iterator[None]:
    """Without a terminal, write a line about long work every few seconds, also while it calls nobody."""
    done = threading.Event()

    def speak() -> None:
        while not done.wait(WORD_EVERY):
            note(text(), output)

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield
    finally:
        done.set()
        speaker.join()


@contextmanager
def progress(
    label: str, output: ShowOptions, unit: str = ""
) -> Iterator[Callable[[float, float], None] | None]:
    """Show how much of a known amount of work is done, on standard error; with a unit, its rate.

    On a terminal this is a bar; elsewhere it is a line every ten seconds, so that short work writes none.
    """
    if output.quiet:
        yield None
        return
    if not sys.stderr.isatty():
        began, share = time.monotonic(), [0.0, 0.0]

        def text() -> str:
            done, total = share
            known = f"{done:,.6g} of {total:,.6g}{unit and ' '}{unit}, " if total else ""
            return f"{label}: {known}{duration_text(time.monotonic() - began)}"

        def keep(done: float, total: float) -> None:
            share[:] = done, total

        with _words(text, output):
            yield keep
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
    from rich.progress import TimeElapsedColumn as TimeSpent
    from rich.progress import TimeRemainingColumn as TimeLeft
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.4g} {unit}/s" if unit and task.speed else "")

    class Amount(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.completed:,.6g} of {task.total:,.6g}" if task.total else "")

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), Amount(), Rate())
    with Progress(*columns, TimeSpent(), TimeLeft(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def ticker(label: str, output: ShowOptions) -> Iterator[Callable[[float, float], None] | None]:
    """Show how far a run has come in its own time, where it ends if that is known, and the seconds spent."""
    if output.quiet:
        yield None
        return
    began, reached = time.monotonic(), [0.0, math.inf]

    def text() -> str:
        t, end = reached
        aim = f" of {end:.4g}" if math.isfinite(end) else ", until it is at rest"
        return f"{label}: t = {t:.4g}{aim}, {duration_text(time.monotonic() - began)}"

    def keep(t: float, end: float) -> None:
        reached[:] = t, end

    if not sys.stderr.isatty():
        with _words(text, output):
            yield keep
        return
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task
    from rich.text import Text

    class Reached(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(text())

    with Progress(SpinnerColumn(), Reached(), console=Console(stderr=True), transient=True) as bar:
        bar.add_task(label, total=None)
        yield keep


def duration_text(seconds: float) -> str:
    """Time in words: 7.3 s, 2:05 min or 31:00:12 h.

    >>> duration_text(125)
    '2:05 min'
    """
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"


def note(text: str, output: ShowOptions) -> None:
    """Say something beside the result, on standard error."""
    if not output.quiet:
        sys.stderr.write(text + "\n")


def status_code(trajectory: Trajectory[Any]) -> int | None:
    """Exit code of a run; one that failed says how on standard error."""
    status = trajectory.status
    if not status.failed:
        return None
    sys.stderr.write(f"dyn: {status.value} at t = {trajectory.t:.6g}: {status.message}\n")
    return FAILED


def print_json(report: dict[str, Any]) -> None:
    """Print one JSON object on standard output."""
    sys.stdout.write(json.dumps(report, allow_nan=False) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> None:
    """Print a table for people on standard output, as wide as it is where that is no terminal."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    sys.stdout.write(table_text(columns, rows, width, sys.stdout.encoding or "utf-8"))
    if caption:
        sys.stdout.write((caption if width is None else _wrapped(caption, width)) + "\n")
    sys.stdout.write("\n")


def print_entries(title: str, entries: Mapping[str, str]) -> None:
    """Print a title, and under it names with their texts, wrapped where standard output is a terminal."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    indent = _indent(list(entries), width)
    text = "".join(_entry(name, text, width, indent) for name, text in entries.items())
    sys.stdout.write(shown(f"{title}\n{text}\n", sys.stdout.encoding or "utf-8"))


def table_text(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None, encoding: str = "utf-8"
) -> str:
    """Lay out a table; where it is wider than `width`, each row becomes a block of lines `name value`.

    No number, name or fate is ever cut: blocks break between words alone.

    >>> print(table_text(["mode", "fate", "share"], [["1", "learned", "0.25"]], 16), end="")
    mode   1
    fate   learned
    share  0.25
    """
    columns = [shown(column, encoding) for column in columns]
    rows = [[shown(cell, encoding) for cell in row] for row in rows]
    if width is None or _width(columns, rows) <= width:
        return _grid(columns, rows, encoding)
    if not rows:
        return "\n".join(_wrapped(column, width) for column in columns) + "\n"
    if len(columns) == 2:  # a list of names and what they are, which a block would only tear apart
        return "".join(
            _entry(name, value, width, _indent([row[0] for row in rows], width)) for name, value in rows
        )
    indent = _indent(columns, width)
    blocks = (
        "".join(_entry(name, value, width, indent) for name, value in zip(columns, row, strict=True))
        for row in rows
    )
    return "\n".join(blocks)


_GAP = 2  # between two columns


def _width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    return sum(_widths(columns, rows)) + _GAP * len(columns)


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len

    return [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]], encoding: str) -> str:
    from rich.cells import set_cell_size

    widths = _widths(columns, rows)
    line = "".join("  " + set_cell_size(shown("─" * width, encoding), width) for width in widths)
    lines = [_row(columns, widths), line, *(_row(row, widths) for row in rows)]
    return "\n".join(text.rstrip() for text in lines) + "\n"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    from rich.cells import set_cell_size

    return "".join(" " * _GAP + set_cell_size(cell, width) for cell, width in zip(cells, widths, strict=True))


def _indent(names: Sequence[str], width: int) -> int:
    """Where values begin: beside their names, or below them where there is no room."""
    from rich.cells import cell_len

    beside = max(map(cell_len, names)) + _GAP
    return beside if beside <= width // 2 else _GAP


def _entry(name: str, value: str, width: int, indent: int) -> str:
    from rich.cells import cell_len, set_cell_size

    text = _wrapped(value, width - indent).replace("\n", "\n" + " " * indent)
    if cell_len(name) + _GAP > indent:
        return f"{_wrapped(name, width)}\n{' ' * indent}{text}\n"
    return f"{set_cell_size(name, indent)}{text}".rstrip() + "\n"


def _wrapped(text: str, width: int) -> str:
    """Break between words, and nowhere else."""
    lines = (
        textwrap.wrap(line, max(width, 1), break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )
    return "\n".join("\n".join(parts) for parts in lines)


def print_markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table on standard output."""
    for row in (columns, ["---"] * len(columns), *rows):
        cells = (" ".join(cell.split()).replace("|", "\\|") for cell in row)
        sys.stdout.write("| " + " | ".join(cells) + " |\n")


def number_text(value: float | None) -> str:
    """Seven digits, or a dash for what does not exist."""
    return "–" if value is None else f"{value:.7g}"


def triple_text(entry: dict[str, float | None]) -> str:
    """w1, w2, θ of an entry of a report."""
    return ", ".join(number_text(entry[name]) for name in ("online", "predictor", "target"))


def eigenvalue_text(pair: Sequence[float]) -> str:
    """Eigenvalue from its real and imaginary part."""
    real, imaginary = pair
    return f"{real:.7g}" + (f" {imaginary:+.4g}i" if imaginary else "")
