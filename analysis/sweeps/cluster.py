"""The same sweep on Dask: processes of this machine, or the workers of a scheduler that runs already.

Workers return their arrays and this process alone writes them. So a chunk is written once however often it was
computed, one lock guards the store, and workers need not see its disk: a shared file system is not asked for. What
bounds the rate is then the network into one process, hundreds of megabytes a second, and about fifty bytes a run.
"""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np

from analysis.sweeps.design import Design
from analysis.sweeps.executors import Chunked, measured_rate
from analysis.sweeps.store import versions

CONNECT_SECONDS = 10


def compute(design: Design, bounds: tuple[int, int], expected: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Compute one chunk on a worker, which must have the versions of the process that writes."""
    if versions() != expected:
        raise ValueError(f"workers must have the versions {dict(expected)}, got {versions()}")
    _take_gpu(design)
    return design.compute(bounds)


def rate(design: Design, enough: float) -> float:
    """Measure how many runs this worker does in a second, or that it does `enough`."""
    _take_gpu(design)
    return measured_rate(design, enough)


def _take_gpu(design: Design) -> None:
    """Give each worker of a local cluster, which are numbered, a GPU of its own as far as there are enough."""
    if design.settings.get("device") != "cuda":
        return
    from distributed import get_worker

    from dynamics.integration.numba_cuda import cuda

    if isinstance(get_worker().name, int) and len(cuda.gpus) > 0:
        cuda.select_device(get_worker().name % len(cuda.gpus))


def dask_setup(worker: Any) -> None:
    """Prepare a worker of a local cluster: Ctrl-C, which a terminal sends to it as well, is for `dyn sweep` to heed.

    Dask calls this in every worker that preloads this module.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Workers:
    """Computes chunks on the workers of a Dask client; what a lost worker had is done again by another."""

    chunk_bytes = 256 * 2**20

    def __init__(self, client: Any):
        self._client = client

    @property
    def n_workers(self) -> int:
        """Number of threads of all workers, at least one."""
        return max(1, sum(self._client.nthreads().values()))

    def rate(self, design: Design, enough: float = math.inf) -> float:
        """Measure how many runs one worker does in a second, or that it does `enough`."""
        measured: float = self._client.submit(rate, design, enough, pure=False).result()
        return measured

    def results(self, design: Design, ranges: Mapping[int, tuple[int, int]]) -> Chunked:
        """Compute chunks; two for each worker are on their way at one time, so that none waits for the next."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker, as_completed

        todo, running = iter(ranges), as_completed()
        numbers: dict[str, int] = {}

        def top_up() -> None:
            for number in islice(todo, max(0, 2 * self.n_workers - len(numbers))):  # workers come and go
                future = self._client.submit(compute, design, ranges[number], versions(), pure=False)
                numbers[future.key] = number
                running.add(future)

        top_up()
        try:
            for future in running:
                number, values = numbers.pop(future.key), future.result()
                top_up()
                yield number, values
        except KilledWorker as error:
            raise ConnectionError(
                f"a chunk lost every worker that it was given to, perhaps for want of memory: {error}"
            ) from error
        except CancelledError as error:
            raise ConnectionError(f"the scheduler went away, finished chunks are kept: {error}") from error
        finally:
            self._client.cancel(list(running.futures), force=True)


@contextmanager
def cluster(workers: int | None, scheduler: str | None, note: Callable[[str], None]) -> Iterator[Workers]:
    """Start a local cluster, or connect to a scheduler.

    Parameters
    ----------
    workers
        Processes to start on this machine.
    scheduler
        Address of a scheduler that runs already; its workers must be able to import this package, and to read
        data and moments of the spec under the same paths.
    note
        Called with a sentence if there are no workers yet.

    Raises
    ------
    ConnectionError
        No scheduler answers there.
    """
    from distributed.utils import silence_logging_cmgr

    # what matters is raised; lost workers and the like are Dask's everyday life
    with silence_logging_cmgr(logging.CRITICAL), _client(workers, scheduler) as client:
        if not client.nthreads():
            note(f"the scheduler at {scheduler} has no workers yet: waiting for the first one")
        yield Workers(client)


@contextmanager
def _client(workers: int | None, scheduler: str | None) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    if scheduler is None:
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
                preload=[__name__],
            ) as local,
            Client(local) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ConnectionError(f"no Dask scheduler answers at {scheduler}: {error}") from None
    with client:
        yield client
