"""Timing that can be repeated: contenders take turns, medians and spreads go to benchmarks/README.md.

A benchmark is a script `benchmarks/bench_<subject>.py`:

    from _harness import measure, write_table

    times = measure({"dense": dense_solve, "structured": structured_solve}, repeats=15)
    write_table("sylvester", [{"method": name, **time.row()} for name, time in times.items()])

It times work that has finished: a contender that uses JAX ends with `jax.block_until_ready`.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).parent / "README.md"


@dataclass(frozen=True)
class Timing:
    """Seconds that one contender took, a value each round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median, in seconds: one slow round, when something else had the machine, does not move it."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Interquartile range, in seconds; two medians closer than this are not told apart."""
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return high - low

    def row(self) -> dict[str, str]:
        """Cells for `write_table`."""
        return {
            "median (ms)": f"{1e3 * self.median:.4g}",
            "spread (ms)": f"{1e3 * self.spread:.2g}",
            "rounds": str(len(self.seconds)),
        }


def measure(
    contenders: Mapping[str, Callable[[], object]], repeats: int = 11, warmup: int = 1
) -> dict[str, Timing]:
    """Time contenders in turns, so that a machine that slows down slows them all.

    Parameters
    ----------
    contenders
        Functions of no arguments by name, compared within this call and with nothing outside it.
    repeats
        Timed rounds, >= 2. Every second round runs backwards, so that nobody always comes after the same one.
    warmup
        Rounds before, not timed: they compile and fill caches.
    """
    if repeats < 2:
        raise ValueError(f"`repeats` must be >= 2, got {repeats}")
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(-warmup, repeats):
        for name in names if turn % 2 == 0 else reversed(names):
            start = time.perf_counter()
            contenders[name]()
            elapsed = time.perf_counter() - start
            if turn >= 0:
                seconds[name].append(elapsed)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def machine(libraries: Iterable[str] = ("numpy", "scipy", "jax", "diffrax")) -> str:
    """Describe in one line what the times were taken on: CPU, threads, system, Python and library versions."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (named := re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.M)):
        cpu = named[1]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    threads = os.environ.get("OMP_NUM_THREADS", "unset")
    return (
        f"{cpu}, {cores} cores, OMP_NUM_THREADS {threads}, {platform.system()};"
        f" Python {platform.python_version()}, {versions}"
    )


def write_table(section: str, rows: Sequence[Mapping[str, object]], page: Path = PAGE) -> None:
    """Put a table, and the machine under it, between `<!-- begin: section -->` and `<!-- end: section -->`.

    Parameters
    ----------
    section
        Name of the place. A page that has no such place gets one at its end.
    rows
        One mapping a row, the keys of the first one being the columns.
    page
        Markdown file; the rest of it is left as it is.
    """
    columns = list(rows[0])
    cells = [columns, ["---"] * len(columns), *([str(row[column]) for column in columns] for row in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in cells)
    begin, end = f"<!-- begin: {section} -->", f"<!-- end: {section} -->"
    text = page.read_text(encoding="utf-8") if page.exists() else "# Benchmarks\n"
    if begin not in text or end not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n"
    before, rest = text.split(begin, 1)
    after = rest.split(end, 1)[1]
    page.write_text(f"{before}{begin}\n{table}\n\nMeasured on {machine()}.\n{end}{after}", encoding="utf-8")
    print(f"{table}\n")
