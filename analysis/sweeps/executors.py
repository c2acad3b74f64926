"""Who computes the chunks of a sweep: what every executor offers, and this process itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np

from analysis.sweeps.design import Design

SECONDS = 1.0
"""A chunk is at least so much work, by estimate: handing it over and writing it cost milliseconds."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_PROBE_SECONDS = 0.05
_PROBE_LIMIT = 1.0
_PROBE_RANGES = 16
_PROBE_GROWTH = 64


Chunked = Generator[tuple[int, dict[str, np.ndarray]], None, None]


class Executor(Protocol):
    """What computes chunks."""

    chunk_bytes: int
    """A chunk takes no more memory than this, however little work it then is."""

    @property
    def n_workers(self) -> int:
        """Number of chunks that are computed at one time."""

    def rate(self, design: Design, enough: float = math.inf) -> float:
        """Measure how many runs one worker does in a second, or that it does `enough`."""

    def results(self, design: Design, ranges: Mapping[int, tuple[int, int]]) -> Chunked:
        """Compute chunks, given by number with first and last run, and hand them over as they are done."""


class Serial:
    """Computes chunks in this process, one after another; a chunk may use all cores by itself."""

    n_workers = 1
    chunk_bytes = 64 * 2**20  # memory that has been used is used again, which is faster than new memory

    def rate(self, design: Design, enough: float = math.inf) -> float:
        """Measure how many runs are done in a second, or that `enough` are."""
        return measured_rate(design, enough)

    def results(self, design: Design, ranges: Mapping[int, tuple[int, int]]) -> Chunked:
        """Compute chunks in their order."""
        drawn = _one_ahead(lambda bounds: design.columns(*bounds), ranges.values())
        for number, columns in zip(ranges, drawn, strict=True):
            yield number, design.run(columns)


def _one_ahead(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Results of a function on items in order; a thread is busy with the next one while one is used."""
    with ThreadPoolExecutor(1) as thread:
        coming: Future[_Result] | None = None
        for item in items:
            following = thread.submit(function, item)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()


def measured_rate(design: Design, enough: float = math.inf) -> float:
    """Runs a second, on a sample spread evenly over the sweep; what is compiled or loaded first does not count.

    A rate of `enough` or more is told as `enough`: a short sample, which takes longer for a run, can show that.
    """
    design.compute((0, 1))
    begun, n = time.perf_counter(), 1
    while True:
        starts = np.linspace(0, design.size, min(n, _PROBE_RANGES), endpoint=False).astype(np.int64).tolist()
        length = math.ceil(n / len(starts))
        ranges = [(start, min(start + length, design.size)) for start in starts]
        parts = [design.columns(start, stop) for start, stop in ranges]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        seconds = _seconds(design, columns)
        if sum(stop - start for start, stop in ranges) >= enough * seconds:
            return enough
        # a machine that had something else to do just then is asked again
        while seconds >= _PROBE_SECONDS and time.perf_counter() - begun < _PROBE_LIMIT:
            again = _seconds(design, columns)
            steady, seconds = again > 0.8 * seconds, min(seconds, again)
            if steady:
                break
        done = sum(stop - start for start, stop in ranges)
        if seconds >= _PROBE_SECONDS or done >= design.size:
            return done / seconds
        n *= int(np.clip(1.5 * _PROBE_SECONDS / seconds, 4, _PROBE_GROWTH))


def _seconds(design: Design, columns: Mapping[str, np.ndarray]) -> float:
    begun = time.perf_counter()
    design.run(columns)
    return time.perf_counter() - begun
