"""Tables for people and JSON for programs on standard output; progress and notes on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cli.application import FAILED

if TYPE_CHECKING:
    from cli.options import ReportOptions
    from dynamics.integrate import Trajectory


@contextmanager
def progress(
    label: str, output: ReportOptions, unit: str = ""
) -> Iterator[Callable[[float, float], None] | None]:
    """Show a progress bar on standard error, if that is a terminal and the user wants it; with a unit, its rate."""
    if output.quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.4g} {unit}/s" if unit and task.speed else "")

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), Rate(), TimeLeft())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def ticker(label: str, output: ReportOptions) -> Iterator[Callable[[float, float], None] | None]:
    """Show how far an open-ended run has come, on standard error, if that is a terminal."""
    if output.quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status(label) as status:
        yield lambda t, end: status.update(f"{label}: t = {t:.4g}")


def note(text: str, output: ReportOptions) -> None:
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
    """Print a table for people on standard output."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(table)
    if caption:
        console.print(caption, soft_wrap=True)


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
