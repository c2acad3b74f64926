"""Ensembles on a GPU: how the kernels follow each other, and how arrays of the host travel there and back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from dynamics.integration.cuda_kernels import (
    NEVER,
    THREADS,
    Kernels,
    cuda_kernels,
)
from dynamics.integration.explicit_pair import HANDOVER, PAUSE, numbers
from dynamics.integration.numba_cuda import INSTALLED, SIMULATED, cuda

ROUNDS = 3
"""How often trajectories are advanced and seen to before what is left is finished one by one."""
CHUNK = 2**19
"""Trajectories that are on their way, or on the GPU, at once; two such chunks take turns."""
_COPYING = 4  # threads that copy between arrays and page-locked memory: one does not fill the bus
_BLOCKS = 8  # of each multiprocessor, at most: what 64 registers a thread leave room for


def available() -> bool:
    """Whether Numba finds a GPU, and NVIDIA's package to compile for it: the part that came with Numba cannot."""
    return INSTALLED and bool(cuda.is_available())


def require_gpu() -> None:
    """Raise ValueError where Numba finds no GPU."""
    if not available():
        raise ValueError(
            "`device` must be cpu or auto where Numba finds no CUDA device, or numba-cuda is not installed, got cuda"
        )


def _multiprocessors() -> int:
    return 1 if SIMULATED else int(cuda.get_current_device().MULTIPROCESSOR_COUNT)


@contextmanager
def quietly() -> Iterator[None]:
    """Launch kernels for few trajectories, which do not fill a GPU, without being told so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Grid size")
        yield


class Batch:
    """What kernels tell each other about up to `size` trajectories, on the GPU."""

    def __init__(self, size: int, dtype: Any, saving: bool, rounds: int | None = None) -> None:
        self.rounds = rounds = ROUNDS if rounds is None else rounds
        _, self.tableau, _ = numbers(np.dtype(dtype).name)
        self.records = cuda.device_array((size, 17 if saving else 16), dtype)
        self.lists = cuda.device_array((2, size), np.uint32)
        self.left = cuda.device_array(size, np.uint32)
        self.n_saved = cuda.device_array(size if saving else 1, np.int32)
        self.tally = cuda.device_array(2 + 2 * rounds, np.uint32)

    def run(
        self,
        kernels: Kernels,
        n: int,
        first: int,
        given: tuple[Any, ...],
        stride: tuple[int, ...],
        control: tuple[Any, ...],
        max_steps: int,
        results: tuple[Any, ...],
        times: Any,
        saved: tuple[Any, ...],
        stream: Any = 0,
    ) -> None:
        """Integrate trajectories first <= i < first + n. It returns before the GPU is done.

        Parameters
        ----------
        kernels
            Of the variant, dtype, and whether states are kept.
        n, first
            Which trajectories, n >= 1.
        given, stride
            Arrays on the GPU, in the order of `cuda_kernels.PARAMETERS`, and for each 1, or 0 where it is one number.
        control, max_steps
            As for `lane_kernels.lane_kernel`.
        results
            (found, status, fates, counts) of `lane_kernels.lane_kernel`, arrays on the GPU.
        times, saved
            Times at which states are kept, and three arrays (K, ·) for them, on the GPU.
        stream
            Queue of the GPU that does this.
        """
        with quietly():
            self._launch(
                *(kernels, n, first, given, stride, control, max_steps, results, times, saved, stream)
            )

    def _launch(
        self,
        kernels: Kernels,
        n: int,
        first: int,
        given: Any,
        stride: Any,
        control: Any,
        max_steps: int,
        results: Any,
        times: Any,
        saved: Any,
        stream: Any,
    ) -> None:
        found, status, fates, counts = results
        patience = min(max_steps, HANDOVER)
        each = -(-n // THREADS)
        persistent = min(each, _BLOCKS * _multiprocessors())
        states = times, self.n_saved, saved
        kernels.begin[each, THREADS, stream](
            *(n, first, given, stride, control, self.records, self.lists, self.tally, counts),
            *states,
        )
        for number in range(self.rounds):
            kernels.advance[persistent, THREADS, stream](
                *(number, first, self.tableau, control, PAUSE if number else NEVER, patience),
                *(self.records, self.lists, self.tally, counts, *states),
            )
            kernels.see_to[each, THREADS, stream](
                *(number, first, given, stride, control, max_steps, patience, self.records, self.lists),
                *(self.left, self.tally, found, status, fates, counts, *states),
            )
        kernels.finish[persistent, THREADS, stream](
            *(first, given, stride, control, max_steps, patience, self.records, self.left, self.tally),
            *(found, status, fates, counts, *states),
        )


class _Travelling:
    """Parts of an array of the host, one after another, in page-locked memory and on the GPU.

    An array whose only value stands for all, of stride zero, travels once and as one number.
    """

    def __init__(self, whole: np.ndarray, size: int) -> None:
        self.whole = whole
        self.stride = 0 if whole.strides[-1:] == (0,) else 1
        shape = (*whole.shape[:-1], size if self.stride else 1)
        self.pinned = cuda.pinned_array(shape, whole.dtype)
        self.device = cuda.device_array(shape, whole.dtype)

    def packed(self, first: int, last: int) -> None:
        np.copyto(self.pinned[..., : last - first], self.whole[..., first:last])

    def unpacked(self, first: int, last: int) -> None:
        np.copyto(self.whole[..., first:last], self.pinned[..., : last - first])


class _Way:
    """One of the ways to the GPU and back, with a chunk of trajectories on it."""

    def __init__(self, run: Callable[..., None], given: Any, results: Any, size: int, saving: bool) -> None:
        self._run = run
        self._stream = cuda.stream()
        self._batch = Batch(size, given[0].dtype, saving)
        self._given = [_Travelling(array, size) for array in given]
        self._results = [_Travelling(array, size) for array in results]
        for part in self._given:
            if part.stride == 0:
                part.packed(0, 1)
                part.device.copy_to_device(part.pinned, self._stream)
        self._there: tuple[int, int] | None = None

    def send(self, first: int, last: int, pool: Executor) -> None:
        """Send a chunk, once the one before is back; what is asked of the GPU it does later."""
        moving = [part for part in self._given if part.stride]
        list(pool.map(lambda part: part.packed(first, last), moving))
        for part in moving:
            part.device.copy_to_device(part.pinned, self._stream)
        self._run(
            *(self._batch, last - first, [part.device for part in self._given]),
            *([part.stride for part in self._given], [part.device for part in self._results], self._stream),
        )
        for part in self._results:
            part.device.copy_to_host(part.pinned, self._stream)
        self._there = first, last

    def fetch(self, pool: Executor) -> int:
        """Wait for the chunk that was sent, if there is one, and count its trajectories."""
        if self._there is None:
            return 0
        self._stream.synchronize()
        (first, last), self._there = self._there, None
        list(pool.map(lambda part: part.unpacked(first, last), self._results))
        return last - first


def through_the_gpu(
    form: tuple[int, float, float],
    arguments: tuple[Any, ...],
    progress: Callable[[int, int], None] | None,
    compiling: AbstractContextManager[None],
    chunk: int | None = None,
) -> None:
    """Integrate an ensemble whose arrays are the host's, in chunks, two of which are under way at once.

    Parameters
    ----------
    form
        (kind, α½, α1), see `dynamics.variants`.
    arguments
        Those of `lane_kernels.lane_kernel` but for the range.
    progress
        Called as progress(trajectories done, N) after every chunk.
    compiling
        Entered while kernels are compiled.
    chunk
        Most trajectories of a chunk, >= 1; `CHUNK` if left out.
    """
    given, control, max_steps, found, status, fates, counts, times, saved = arguments
    n, saving = status.size, times.size > 0
    kernels = cuda_kernels(form, given[0].dtype.name, saving)
    on_device = cuda.to_device(times)
    unsaved = tuple(cuda.device_array((0, 1), part.dtype) for part in saved)

    def run(batch: Batch, m: int, inputs: Any, stride: Any, outputs: Any, stream: Any) -> None:
        batch.run(
            *(kernels, m, 0, tuple(inputs), tuple(stride), control, max_steps),
            *((tuple(outputs[:5]), outputs[5], outputs[6], tuple(outputs[7:9])), on_device),
            *(tuple(outputs[9:]) if saving else unsaved, stream),
        )

    n_chunks = -(-n // (CHUNK if chunk is None else chunk))
    size = -(-n // n_chunks)
    results = (*found, status, fates, *counts, *(saved if saving else ()))
    ways = [_Way(run, given, results, size, saving) for _ in range(min(2, n_chunks))]
    done = 0
    with ThreadPoolExecutor(_COPYING) as pool:
        for number in range(n_chunks + len(ways)):
            way = ways[number % len(ways)]
            back = way.fetch(pool)
            done += back
            if back and progress is not None:
                progress(done, n)
            if number < n_chunks:
                with compiling if number == 0 else nullcontext():  # the first launch compiles
                    way.send(number * size, min(n, (number + 1) * size), pool)
