"""Ensembles: millions of independent one-mode trajectories, integrated by compiled code on all cores or on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Timer
from typing import Any

import numpy as np

from dynamics.fields.vector_field import VectorField
from dynamics.integration.chunks import in_chunks
from dynamics.integration.trajectory import LOOSEST, Status
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS, Variant, mode_variant

STATUSES = (Status.STEADY, Status.END_TIME, Status.DIVERGED, Status.MAX_STEPS, Status.SLOW)
"""What the numbers in `Ensemble.status` stand for, by index."""
FATES = ("learned", "collapsed", "undecided")
"""What the numbers in `Ensemble.fate` stand for, by index."""
DEVICES = ("auto", "cpu", "cuda")

_SAFETY = 0.5  # local over asked tolerance: the global error stays near what was asked, as for `integrate`
_CHUNK = (
    8192  # trajectories that a thread takes at once: milliseconds of work, lost lanes at its end negligible
)
_SILENCE = 1.0  # seconds: code from the cache on disk is loaded in less, compiling takes more


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Ends of N trajectories.

    Parameters
    ----------
    final
        w1, w2 and θ at `t_end`, each of shape (N,); where the run failed, at `t`.
    t
        Time that was integrated to, shape (N,). A steady trajectory was seen at this time to be at rest at
        `t_end`, in the fixed point that `final` holds.
    status
        Index into `STATUSES`, shape (N,), uint8.
    fate
        What the trajectory did, index into `FATES`, shape (N,), uint8: learned or collapsed where it is in, or near, an
        end to which it is shown to go (`dynamics.integration.mode_ends.arrived`), else undecided.
    n_accepted, n_rejected
        Steps, shape (N,), uint32.
    drift
        |c(t) − e^{−2ηt} c(0)| of the invariant c = τo w1² − τp w2² (R2), shape (N,); NaN for variants that do not
        conserve it.
    saved
        States at the times `save_at`, each part of shape (K, N); NaN after a failure and after `t_end`. None
        if not asked for.
    """

    final: ModeState
    t: np.ndarray
    status: np.ndarray
    fate: np.ndarray
    n_accepted: np.ndarray
    n_rejected: np.ndarray
    drift: np.ndarray
    saved: ModeState | None

    def ended(self, status: Status) -> np.ndarray:
        """Which trajectories ended with this status, shape (N,)."""
        return self.status == STATUSES.index(status) if status in STATUSES else np.zeros(self.t.shape, bool)


def integrate_ensemble(
    start: ModeState,
    system: ModeSystem,
    vector_field: VectorField,
    t_end: Any,
    *,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    save_at: Any = None,
    max_steps: int = 100_000,
    dtype: Any = np.float64,
    device: str = "auto",
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> Ensemble:
    """Integrate N independent one-mode trajectories, each with its own eigenvalues, rates, start and span.

    Each is advanced by the Runge–Kutta pair of Tsitouras of order 5(4) under error control of its own, until its
    end time or until it has come close to a point to which every trajectory from there leads, for a reason given at
    `dynamics.integration.mode_ends.arrived`. The rest of its way is the linear flow about that point, as soon as the
    error of that is proved to be a tenth of the tolerance at most (`dynamics.integration.mode_approach.followed`). A
    trajectory for which that takes long, for want of a clock that suits all its rates, is finished by a stiff method.

    Parameters
    ----------
    start
        w1, w2 and θ, each of shape (N,) or one number for all; N is the number of modes of the system.
    system
        λs and λd of shape (N,); τo, τp, τt and η one number for all or shape (N,).
    vector_field
        The mode field of a variant of `dynamics.variants.VARIANTS`.
    t_end
        End time > 0, one for all or shape (N,); infinite to run until rest.
    rtol, atol
        Relative and absolute tolerance. The error of the end is of the size of rtol·|state| + atol, as long as the
        trajectory itself does not amplify errors.
    save_at
        Increasing times >= 0, shape (K,), at which all states are kept.
    max_steps
        Budget of tried steps of one trajectory, >= 1.
    dtype
        float64, or float32: half the memory and more than half the time again, for rtol >= 50 machine epsilons.
    device
        "cpu"; "cuda", one thread of the GPU a trajectory; "auto", a GPU if there is one.
    threads
        CPU threads; all cores that this process may use if left out.
    progress
        Called as progress(trajectories done, N) after every chunk.
    notice
        Called with a sentence when code has to be compiled first, which takes seconds; later processes load it
        from Numba's cache on disk.

    Returns
    -------
    Ensemble
        A trajectory that grew without bound or spent its steps has a status that says so, and its last state.

    Raises
    ------
    ValueError
        An argument is out of range (the message names it), the variant is not defined for a start, or it is not
        compiled.
    ValueError
        CUDA was asked for and is not there.

    Notes
    -----
    Results do not depend on the number of threads, nor on which trajectories are integrated together. Memory
    beside arguments and results is bounded: about a hundred bytes a trajectory in all.

    Examples
    --------
    >>> from dynamics.fields.modes import full_mode_field
    >>> system = ModeSystem([1.0, 1.0], [0.5, 0.5])
    >>> ensemble = integrate_ensemble(system.state(0.1, [0.1, 0.6]), system, full_mode_field, 200.0, device="cpu")
    >>> ensemble.final.predictor.round(6)
    array([0.5     , 0.591608])
    """
    if device not in DEVICES:
        raise ValueError(f"`device` must be one of {', '.join(DEVICES)}, got {device!r}")
    if threads is not None and threads < 1:
        raise ValueError(f"`threads` must be >= 1, got {threads}")
    real, control = controlled(dtype, rtol, atol, max_steps)
    variant, form = compiled_variant(vector_field)
    n = system.n_modes
    ends = np.asarray(t_end, dtype=np.float64)
    if ends.shape not in ((), (n,)) or not np.all(ends > 0):
        raise ValueError(f"`t_end` must be > 0, one number or one for each of {n}, got {t_end}")
    times = None if save_at is None else checked_times(save_at)
    state = system.state(*start)
    vector_field.require(state, system)
    rates = (system.tau_online, system.tau_predictor, system.tau_target, system.weight_decay)
    given = tuple(
        np.broadcast_to(np.asarray(values, dtype=real), (n,))
        for values in (system.lambda_s, system.lambda_d, *rates, *state, ends)
    )
    found = tuple(np.empty(n, real) for _ in range(5))
    status, fate = np.empty(n, np.uint8), np.empty(n, np.uint8)
    counts = np.empty(n, np.uint32), np.empty(n, np.uint32)
    # a kernel that saves nothing does not touch these
    saved = tuple(np.full((0 if times is None else times.size, n), np.nan, real) for _ in range(3))
    kept_times = np.empty(0, real) if times is None else times.astype(real)
    arguments = (given, control, int(max_steps), found, status, fate, counts, kept_times, saved)
    if device == "cuda" or (device == "auto" and _cuda_available()):
        _run_on_cuda(form, arguments, progress, notice)
    else:
        _run_on_cpu(form, real.name, arguments, n, threads, progress, notice)
    w1, w2, th, t, drift = found
    if not variant.mode_balanced:
        drift.fill(np.nan)
    states = None if times is None else ModeState(*saved)
    return Ensemble(ModeState(w1, w2, th), t, status, fate, *counts, drift, states)


def controlled(
    dtype: Any, rtol: float, atol: float, max_steps: int
) -> tuple[np.dtype[Any], tuple[Any, Any, Any, Any]]:
    """Check dtype, tolerances and budget: the dtype, and the (rtol, atol, first_way, look) of a kernel."""
    real = np.dtype(dtype)
    if real not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"`dtype` must be float32 or float64, got {real}")
    finest = 50 * float(np.finfo(real).eps)
    if not finest <= rtol <= LOOSEST:
        raise ValueError(f"`rtol` must be >= {finest:.2g} in {real} and <= {LOOSEST}, got {rtol}")
    if not 0 < atol <= LOOSEST:
        raise ValueError(f"`atol` must be > 0 and <= {LOOSEST}, got {atol}")
    if max_steps < 1:
        raise ValueError(f"`max_steps` must be >= 1, got {max_steps}")
    local = _SAFETY * rtol
    first_way, look = 2 * local**0.2, (local / 30) ** 0.5
    return real, (real.type(local), real.type(_SAFETY * atol), real.type(first_way), real.type(look))


def compiled_variant(vector_field: VectorField) -> tuple[Variant, tuple[int, float, float]]:
    """Row of a field whose flow is compiled, and the form that kernels know it by; ValueError for any other."""
    variant = mode_variant(vector_field)
    if variant.kind is None:
        compiled = ", ".join(row.name for row in VARIANTS.values() if row.kind is not None)
        raise ValueError(f"`vector_field` must be compiled ({compiled}), got {variant.name}")
    return variant, (variant.kind, *variant.direct)


def checked_times(save_at: Any) -> np.ndarray:
    """Check the times at which states are kept."""
    times = np.asarray(save_at, dtype=np.float64)
    proper = times.ndim == 1 and times.size > 0 and np.all(np.isfinite(times)) and np.all(times >= 0)
    if not proper or np.any(np.diff(times) <= 0):
        raise ValueError(f"`save_at` must be one or more increasing finite times >= 0, got {save_at}")
    return times


@contextmanager
def announced(notice: Callable[[str], None] | None) -> Iterator[None]:
    """Say that code is being compiled if the block takes long enough for people to wonder."""
    if notice is None:
        yield
        return
    timer = Timer(
        _SILENCE, notice, ["compiling the ensemble integrator for this machine, once for each variant"]
    )
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _run_on_cpu(
    form: tuple[int, float, float],
    dtype: str,
    arguments: tuple[Any, ...],
    n: int,
    threads: int | None,
    progress: Callable[[int, int], None] | None,
    notice: Callable[[str], None] | None,
) -> None:
    from dynamics.integration.lane_kernels import TRIES, lane_kernel

    with announced(notice):
        kernel = lane_kernel(form, dtype, arguments[-2].size > 0)
    in_chunks(
        lambda first, last: kernel(first, last, TRIES, *arguments),
        n,
        largest=_CHUNK,
        threads=threads,
        progress=progress,
    )


def _cuda_available() -> bool:
    from dynamics.integration.cuda_ensemble import available

    return available()


def _run_on_cuda(
    form: tuple[int, float, float],
    arguments: tuple[Any, ...],
    progress: Callable[[int, int], None] | None,
    notice: Callable[[str], None] | None,
) -> None:
    from dynamics.integration.cuda_ensemble import require_gpu, through_the_gpu

    require_gpu()
    through_the_gpu(form, arguments, progress, announced(notice))
