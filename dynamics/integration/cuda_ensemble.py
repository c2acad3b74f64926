"""Ensembles on a GPU: what travels there and back, and ensembles whose arrays are there already."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numba import cuda

from dynamics.fields.vector_field import VectorField
from dynamics.integration.cuda_kernels import (
    NEVER,
    PARAMETERS,
    ROUNDS,
    THREADS,
    Kernels,
    cuda_kernels,
)
from dynamics.integration.cuda_trajectory import SIMULATED
from dynamics.integration.ensemble import Ensemble, announced, checked_times, compiled_variant, controlled
from dynamics.integration.ensemble_kernels import HANDOVER, PAUSE, numbers
from dynamics.states import ModeState

CHUNK = 2**19
"""Trajectories that are on their way, or on the GPU, at once; two such chunks take turns."""
_COPYING = 4  # threads that copy between arrays and page-locked memory: one does not fill the bus
_BLOCKS = 8  # of each multiprocessor, at most: what 64 registers a thread leave room for


def available() -> bool:
    """Whether Numba finds a GPU that it can use."""
    return bool(cuda.is_available())


def _multiprocessors() -> int:
    return 1 if SIMULATED else int(cuda.get_current_device().MULTIPROCESSOR_COUNT)


class Batch:
    """What kernels tell each other about up to `size` trajectories, on the GPU."""

    def __init__(self, size: int, dtype: Any, saving: bool, rounds: int = ROUNDS) -> None:
        self.rounds = rounds
        _, self.tableau, _ = numbers(np.dtype(dtype).name)
        self.records = cuda.device_array((size, 17 if saving else 16), dtype)
        self.lists = cuda.device_array((2, size), np.uint32)
        self.left = cuda.device_array(size, np.uint32)
        self.n_saved = cuda.device_array(size if saving else 1, np.int32)
        self.tally = cuda.device_array(2 + 2 * rounds, np.uint32)
        self.wrong = cuda.to_device(np.zeros(len(PARAMETERS) + 1, np.int32))

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
            Arrays on the GPU in the order of `PARAMETERS`, and for each 1, or 0 where it holds one number for all.
        control, max_steps
            As for `ensemble_kernels.lane_kernel`.
        results
            (found, status, fates, counts) of `ensemble_kernels.lane_kernel`, arrays on the GPU.
        times, saved
            Times at which states are kept, and three arrays (K, ·) for them, on the GPU.
        stream
            Queue of the GPU that does this.
        """
        found, status, fates, counts = results
        patience = min(max_steps, HANDOVER)
        each = -(-n // THREADS)
        persistent = min(each, _BLOCKS * _multiprocessors())
        states = times, self.n_saved, saved
        kernels.begin[each, THREADS, stream](
            *(n, first, given, stride, control, self.records, self.lists, self.tally, counts),
            *(*states, self.wrong),
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
    notice: Callable[[str], None] | None,
    chunk: int = CHUNK,
) -> None:
    """Integrate an ensemble whose arrays are the host's, in chunks, two of which are under way at once.

    Parameters
    ----------
    form
        (kind, α½, α1), see `dynamics.variants`.
    arguments
        Those of `ensemble_kernels.lane_kernel` but for the range.
    progress, notice
        As for `dynamics.integration.ensemble.integrate_ensemble`.
    chunk
        Most trajectories of a chunk, >= 1.
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

    n_chunks = -(-n // chunk)
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
                with announced(notice if number == 0 else None):  # the first launch compiles
                    way.send(number * size, min(n, (number + 1) * size), pool)


# --- arrays that are on the GPU already -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class DeviceEnsemble:
    """Ends of N trajectories on the GPU: what `dynamics.integration.ensemble.Ensemble` holds, in Numba's arrays there.

    JAX, CuPy and PyTorch take them as they are, by `__cuda_array_interface__`.
    """

    final: ModeState
    t: Any
    status: Any
    fate: Any
    n_accepted: Any
    n_rejected: Any
    drift: Any
    saved: ModeState | None

    def on_host(self) -> Ensemble:
        """Copy all of it to the host. What is wanted alone is copied by its own `copy_to_host()`."""
        parts = {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name not in ("final", "saved")
        }
        copied = {name: part.copy_to_host() for name, part in parts.items()}
        final = ModeState(*(part.copy_to_host() for part in self.final))
        saved = None if self.saved is None else ModeState(*(part.copy_to_host() for part in self.saved))
        return Ensemble(final, saved=saved, **copied)


def integrate_on_device(
    start: ModeState,
    lambda_s: Any,
    lambda_d: Any,
    vector_field: VectorField,
    t_end: Any,
    *,
    tau_online: Any = 1.0,
    tau_predictor: Any = 1.0,
    tau_target: Any = 1.0,
    weight_decay: Any = 0.0,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    save_at: Any = None,
    max_steps: int = 100_000,
    dtype: Any = np.float64,
    batch: int = 4 * CHUNK,
) -> DeviceEnsemble:
    """Integrate N one-mode trajectories whose arrays are on the GPU, and leave their ends there.

    It does what `dynamics.integration.ensemble.integrate_ensemble` does. Arrays that have `__cuda_array_interface__`,
    as those of JAX, CuPy, PyTorch and Numba on a GPU, are read where they are. Others are copied there first; a number
    stands for all trajectories.

    Parameters
    ----------
    start
        w1, w2 and θ, each of shape (N,) or one number.
    lambda_s, lambda_d
        λs and λd, of shape (N,) or one number, finite.
    vector_field
        The mode field of a variant of `dynamics.variants.VARIANTS`.
    t_end
        End time > 0, of shape (N,) or one number; infinite to run until rest.
    tau_online, tau_predictor, tau_target
        τo, τp, τt > 0, of shape (N,) or one number.
    weight_decay
        η >= 0, of shape (N,) or one number.
    rtol, atol, save_at, max_steps
        As for `integrate_ensemble`.
    dtype
        float64 or float32, of all arrays that are on the GPU.
    batch
        Most trajectories that are integrated at once, >= 1: beside arguments and results the GPU holds less than 200
        bytes for each of them.

    Returns
    -------
    DeviceEnsemble
        Finished when it is returned. A trajectory that failed has a status that says so.

    Raises
    ------
    ValueError
        An argument is out of range or of another shape or dtype (the message names it), the start is not the
        variant's, or no array says how many trajectories there are.
    ValueError
        Numba finds no GPU.

    Examples
    --------
    >>> from dynamics.fields.modes import full_mode_field
    >>> integrate_on_device(ModeState(0.1, 0.1, 0.1), 1.0, 0.5, full_mode_field, -1.0)
    Traceback (most recent call last):
        ...
    ValueError: one argument at least must be an array, one number a trajectory, got numbers alone
    """
    real, control = controlled(dtype, rtol, atol, max_steps)
    variant, form = compiled_variant(vector_field)
    times = np.empty(0) if save_at is None else checked_times(save_at)
    values = lambda_s, lambda_d, tau_online, tau_predictor, tau_target, weight_decay, *start, t_end
    sizes = [size for size in map(_size_of, PARAMETERS, values) if size is not None]
    if not sizes:
        raise ValueError("one argument at least must be an array, one number a trajectory, got numbers alone")
    if batch < 1:
        raise ValueError(f"`batch` must be >= 1, got {batch}")
    n = max(sizes)
    require_gpu()
    pairs = [_there(name, value, real, n) for name, value in zip(PARAMETERS, values, strict=True)]
    given, stride = (tuple(part) for part in zip(*pairs, strict=True))
    kernels = cuda_kernels(form, real.name, times.size > 0)
    found = tuple(cuda.device_array(n, real) for _ in range(5))
    status, fates = (cuda.device_array(n, np.uint8) for _ in range(2))
    counts = tuple(cuda.device_array(n, np.uint32) for _ in range(2))
    saved = tuple(cuda.device_array((times.size, n if times.size else 1), real) for _ in range(3))
    on_device = cuda.to_device(times.astype(real))
    work = Batch(min(batch, n), real, times.size > 0)
    for first in range(0, n, batch):
        work.run(
            *(kernels, min(batch, n - first), first, given, stride, control, int(max_steps)),
            *((found, status, fates, counts), on_device, saved),
        )
    _refuse(work.wrong.copy_to_host(), vector_field.name)
    w1, w2, th, t, drift = found
    if not variant.mode_balanced:
        drift.copy_to_device(np.full(n, np.nan, real))
    states = ModeState(*saved) if times.size else None
    n_accepted, n_rejected = counts
    return DeviceEnsemble(ModeState(w1, w2, th), t, status, fates, n_accepted, n_rejected, drift, states)


def _is_there(value: Any) -> bool:
    # the simulator's arrays have no interface
    return hasattr(value, "__cuda_array_interface__") or getattr(value, "__cuda_ndarray__", False)


def _size_of(name: str, value: Any) -> int | None:
    """Number of trajectories that an argument has values for; None for one number."""
    shape = tuple(value.shape) if _is_there(value) else np.shape(value)
    if len(shape) > 1 or 0 in shape:
        raise ValueError(f"`{name}` must be one number or of shape (N,), got shape {shape}")
    return shape[0] if shape else None


def _there(name: str, value: Any, real: np.dtype[Any], n: int) -> tuple[Any, int]:
    """An argument as an array on the GPU, and the stride to read it with."""
    size = _size_of(name, value)
    if size not in (None, n):
        raise ValueError(f"`{name}` must be one number or one for each of {n}, got shape ({size},)")
    if not _is_there(value) or size is None:
        host = value.copy_to_host() if _is_there(value) else value
        return cuda.to_device(np.atleast_1d(np.asarray(host, dtype=real))), 0 if size is None else 1
    array = value if getattr(value, "__cuda_ndarray__", False) else cuda.as_cuda_array(value)
    if array.dtype != real:
        raise ValueError(f"`{name}` must be of dtype {real} on the GPU, got {array.dtype}")
    if not array.is_c_contiguous():
        raise ValueError(f"`{name}` must be contiguous on the GPU, got strides {array.strides}")
    return array, 1


def _refuse(wrong: np.ndarray, variant: str) -> None:
    """Raise what the kernels found out of range."""
    bounds = ("finite", "finite", *3 * ("finite and > 0",), "finite and >= 0", *3 * ("finite",), "> 0")
    for name, bound, count in zip(PARAMETERS, bounds, wrong[:-1], strict=True):
        if count:
            raise ValueError(f"`{name}` must be {bound}, got {count} values that are not")
    if wrong[-1]:
        raise ValueError(
            f"the {variant} variant must start with `predictor` = `online` and have `tau_online` = `tau_predictor`,"
            f" got {wrong[-1]} trajectories that do not"
        )


def require_gpu() -> None:
    """Raise ValueError where Numba finds no GPU."""
    if not available():
        raise ValueError("`device` must be cpu or auto where Numba finds no CUDA device, got cuda")
