"""Work on many independent trajectories, a chunk at a time on every core."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed

from dynamics.cores import available_cores


def in_chunks(
    work: Callable[[int, int], None],
    n: int,
    *,
    largest: int,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Call work(first, last) for ranges that make up 0 … n − 1, in threads.

    Parameters
    ----------
    work
        Compiled code that lets others run meanwhile; what it raises ends the rest.
    n
        Number of trajectories, >= 0.
    largest
        Most trajectories of a chunk; fewer where each thread would not have several.
    threads
        All cores that this process may use if left out.
    progress
        Called as progress(done, n) after every chunk.

    Examples
    --------
    >>> seen = []
    >>> in_chunks(lambda first, last: seen.extend(range(first, last)), 5, largest=2, threads=1)
    >>> sorted(seen)
    [0, 1, 2, 3, 4]
    """
    workers = threads or available_cores()
    # a few chunks a thread at least, so that no thread waits long for another
    size = max(1, min(largest, -(-n // (4 * workers))))
    with ThreadPoolExecutor(workers) as pool:
        chunks = {
            pool.submit(work, first, min(n, first + size)): min(n, first + size) - first
            for first in range(0, n, size)
        }
        done = 0
        try:
            for chunk in as_completed(chunks):
                chunk.result()
                done += chunks[chunk]
                if progress is not None:
                    progress(done, n)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
