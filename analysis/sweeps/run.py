"""Running a sweep: chunk after chunk, written while the next one is computed, from where the last process stopped."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from analysis.sweeps.design import Design
from analysis.sweeps.executors import SECONDS, Executor, Serial
from analysis.sweeps.kinds import failed
from analysis.sweeps.registry import KINDS
from analysis.sweeps.store import Chunks, Store, checked_place, versions

MOST_CHUNKS = 20_000
"""Every chunk is a file for each array: file systems and people like fewer."""


class Progress(NamedTuple):
    """How far a sweep has come: runs done and in all, runs a second, and seconds left."""

    completed: int
    total: int
    rate: float
    seconds_left: float


class Sweep(NamedTuple):
    """A finished sweep.

    Parameters
    ----------
    completed, total
        Runs done, and runs in all.
    resumed
        Runs that were done before.
    failed
        Runs that ended diverged or with their step budget spent; their results are in the store as well.
    damaged
        Chunks that were found damaged, and done again.
    trajectories_per_second
        Rate of what was done now; 0 when nothing was left to do.
    seconds
        How long it took.
    store
        Where the results are.
    """

    completed: int
    total: int
    resumed: int
    failed: int
    damaged: int
    trajectories_per_second: float
    seconds: float
    store: str


class Plan(NamedTuple):
    """What a sweep would take, measured on a small sample.

    Parameters
    ----------
    total, completed
        Runs in all, and runs that the store has already.
    axes
        Names of the axes and their lengths.
    chunk, n_chunks
        Runs in a chunk, and number of chunks.
    store_bytes, memory_bytes
        Size of the store, and memory of the chunks that are held at one time on all machines, at most.
    trajectories_per_second, seconds
        Estimated rate of all workers together, and time for what is left.
    """

    total: int
    completed: int
    axes: Mapping[str, int]
    chunk: int
    n_chunks: int
    store_bytes: int
    memory_bytes: int
    trajectories_per_second: float
    seconds: float


def _executor(
    design: Design, workers: int | None, scheduler: str | None, note: Callable[[str], None]
) -> AbstractContextManager[Executor]:
    if workers is None and scheduler is None:
        return nullcontext(Serial())
    from analysis.sweeps.cluster import cluster

    return cluster(workers, scheduler, note)


def _chunk_runs(design: Design, rate: float, chunk_bytes: int) -> int:
    """Runs in a chunk: those of the spec, or `SECONDS` of work within `chunk_bytes`, in `MOST_CHUNKS` at most."""
    if design.chunk is not None:
        return design.chunk
    fitting = min(math.ceil(SECONDS * rate), chunk_bytes // design.memory_a_run)
    return max(1, fitting, math.ceil(design.size / MOST_CHUNKS))


def _check_room(path: Path, design: Design, completed: int) -> None:
    folder = path if path.is_dir() else path.absolute().parent
    needed, free = (design.size - completed) * design.bytes_a_run, shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{path} would take {design.size} runs of {design.bytes_a_run} bytes, {size_text(needed)},"
            f" but {size_text(free)} are free: sweep over less, or keep less of each"
        )


def size_text(size: float) -> str:
    """Bytes in words.

    >>> size_text(2_500_000)
    '2.5 MB'
    """
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} PB"


def plan(
    design: Design, path: str | Path, *, workers: int | None = None, scheduler: str | None = None
) -> Plan:
    """Estimate what a sweep takes, without writing anything.

    Parameters
    ----------
    design, path, workers, scheduler
        As for `sweep`.

    Raises
    ------
    ValueError
        Whatever `sweep` would refuse before it begins.
    """
    path = Path(path)
    checked_place(path)
    completed, cut = 0, None
    if (path / ".sweep").is_dir():
        with Store(path, design) as store:
            if store.begun:
                completed, cut = store.completed, store.chunks
    _check_room(path, design, completed)
    with _executor(design, workers, scheduler, lambda text: None) as executor:
        n_workers = executor.n_workers
        rate = executor.rate(design)
        cut = cut or Chunks.of(design.shape, _chunk_runs(design, rate, executor.chunk_bytes))
    chunk = math.prod(cut.box)
    return Plan(
        total=design.size,
        completed=completed,
        axes=dict(zip(design.dims, design.shape, strict=True)),
        chunk=chunk,
        n_chunks=len(cut),
        store_bytes=design.size * design.bytes_a_run,
        memory_bytes=(2 + 2 * n_workers) * chunk * design.memory_a_run,
        trajectories_per_second=n_workers * rate,
        seconds=(design.size - completed) / (n_workers * rate),
    )


def sweep(
    design: Design,
    path: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Sweep:
    """Run a sweep into a Zarr store, or go on where it was stopped.

    Parameters
    ----------
    design
        What to run: `analysis.sweeps.spec.load_spec` or `design`.
    path
        Folder of the store; made if it is not there.
    workers
        Run on so many processes of this machine, >= 1; left out, in this process.
    scheduler
        Run on the workers of a Dask scheduler with this address, such as "tcp://host:8786".
    progress
        Called after every chunk.
    note
        Called with a sentence for whatever is worth saying: damaged chunks, other versions, a wait for workers.

    Returns
    -------
    Sweep
        Counts, rate and place. Runs that diverged are results like others, and counted in `failed`.

    Raises
    ------
    ValueError
        The place cannot be written to, holds something else, is being written by another process, or has too
        little room. Nothing was computed then.
    OSError
        The disk is full, or the workers went away. Finished chunks are kept; the same call goes on from there.

    Notes
    -----
    Every run depends on the design and on its own number alone, so neither chunks nor workers nor interruptions
    change a value. On other processors values may differ in the last digits, as for any compiled code.

    Examples
    --------
    >>> import tempfile
    >>> from analysis.sweeps.spec import design
    >>> spec = {"parameters": {"lambda_s": 1, "ratio": {"values": [0.2, 0.5]}, "t_end": 5}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sweep(design(spec), f"{folder}/s.zarr").completed
    2
    """
    if workers is not None and (workers < 1 or scheduler is not None):
        raise ValueError(
            "`workers` must be an integer >= 1, without `scheduler`"
            f", got {workers}{'' if scheduler is None else ' with a scheduler'}"
        )
    path, begun = Path(path), time.perf_counter()
    with Store(path, design) as store:
        damaged = store.verify() if store.begun else []
        if damaged:
            note(f"{path}: damaged and done again: {len(damaged)} of {len(store.chunks)} chunks")
        if store.begun and store.begun["versions"] != versions():
            note(f"{path} was begun with other versions, {store.begun['versions']}")
        resumed, computing = store.completed, 0.0
        _check_room(path, design, resumed)
        if store.begun is None or store.missing():
            with _executor(design, workers, scheduler, note) as executor:
                if store.begun is None:
                    # a chunk is as large as memory allows where the rate is higher than that
                    full = math.ceil(executor.chunk_bytes / design.memory_a_run / SECONDS)
                    rate = executor.rate(design, full) if design.chunk is None else math.nan
                    store.begin(_chunk_runs(design, rate, executor.chunk_bytes))
                KINDS[design.kind].prepare(design.settings)
                computing = _fill(store, executor, progress)
        completed, n_failed = store.completed, sum(mark.failed for mark in store.marks.values())
    seconds = time.perf_counter() - begun
    return Sweep(
        completed=completed,
        total=design.size,
        resumed=resumed,
        failed=n_failed,
        damaged=len(damaged),
        trajectories_per_second=(completed - resumed) / computing if computing > 0 else 0.0,
        seconds=seconds,
        store=str(path),
    )


def _fill(store: Store, executor: Executor, progress: Callable[[Progress], None] | None) -> float:
    """Compute the chunks that are missing; a thread writes one while the next ones are computed. Return the seconds."""
    design, chunks = store.design, store.chunks
    ranges = {number: chunks.range(number) for number in store.missing()}
    before = completed = store.completed
    begun = time.perf_counter()
    written: Future[Any] | None = None
    with ThreadPoolExecutor(1) as writer, closing(executor.results(design, ranges)) as results:
        for number, values in results:
            if written is not None:
                written.result()
            written = writer.submit(store.write, number, values, failed(design.outputs, values))
            start, stop = ranges[number]
            completed += stop - start
            if progress is not None:
                rate = (completed - before) / (time.perf_counter() - begun)
                progress(Progress(completed, design.size, rate, (design.size - completed) / rate))
        if written is not None:
            written.result()
    return time.perf_counter() - begun
