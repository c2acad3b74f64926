"""Ensembles whose arrays are on the GPU, and stay there."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from dynamics.fields.vector_field import VectorField
from dynamics.integration.cuda_ensemble import CHUNK, Batch, quietly, require_gpu
from dynamics.integration.cuda_kernels import PARAMETERS, THREADS, cuda_kernels
from dynamics.integration.ensemble import Ensemble, checked_times, compiled_variant, controlled
from dynamics.integration.numba_cuda import cuda
from dynamics.states import ModeState


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
    wrong = cuda.to_device(np.zeros(len(PARAMETERS) + 1, np.int32))
    with quietly():
        kernels.check[-(-n // THREADS), THREADS](n, given, stride, wrong)
    _refuse(wrong.copy_to_host(), vector_field.name)
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
    cuda.synchronize()
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
    if hasattr(value, "block_until_ready"):  # JAX hands out arrays that it still computes
        value.block_until_ready()
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
