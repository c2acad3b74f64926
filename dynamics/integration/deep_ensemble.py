"""Ensembles of deep encoders: many independent modes of L linear layers, integrated by compiled code on all cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamics.fields.deep import DEEP_FIELDS, DeepState, DeepSystem
from dynamics.fields.vector_field import VectorField
from dynamics.integration.chunks import in_chunks
from dynamics.integration.ensemble import announced
from dynamics.integration.trajectory import LOOSEST

_CHUNK = 512
_FINEST = 1e-13  # of rtol, below which rounding is what steps are rejected for


@dataclass(frozen=True, eq=False)
class DeepEnsemble:
    """Ends of N modes of deep encoders.

    Parameters
    ----------
    final
        Layers and targets of shape (L, N) and the predictor (N,), where the run ended.
    t
        Time that was integrated to, shape (N,).
    status
        Index into `dynamics.integration.ensemble.STATUSES`, shape (N,), uint8: steady where the fate is decided.
    fate
        What the run showed, index into `dynamics.integration.ensemble.FATES`, shape (N,), uint8: learned or
        collapsed in a neighbourhood from which a stated argument leads there
        (`dynamics.integration.deep_kernels.arrived`), else undecided.
    n_accepted, n_rejected
        Steps, shape (N,).
    drift
        Largest |c_l − e^{−2ηt} c_l(0)| of any layer (R320), shape (N,).
    """

    final: DeepState
    t: np.ndarray
    status: np.ndarray
    fate: np.ndarray
    n_accepted: np.ndarray
    n_rejected: np.ndarray
    drift: np.ndarray


def integrate_deep_ensemble(
    start: DeepState,
    system: DeepSystem,
    vector_field: VectorField,
    t_end: Any = np.inf,
    *,
    attractor: Any = None,
    rtol: float = 1e-9,
    max_steps: int = 100_000,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> DeepEnsemble:
    """Integrate modes of deep encoders until their fates are decided, each with its own eigenvalues and steps.

    Parameters
    ----------
    start
        Layers and targets of shape (L, N), the predictor (N,).
    system
        N modes with λs, λd > 0.
    vector_field
        With averages or without, one of `DEEP_FIELDS`.
    t_end
        Longest time > 0, one for all or shape (N,); infinite to run until fates are decided.
    attractor
        With weight decay, |w_1| … |w_L| and v of a fixed point that attracts, shape (L + 1,) or (L + 1, N), NaN where
        there is none: modes beside it are learned.
    rtol
        Tolerance of the error of a step, relative to each weight and a thousandth of the largest at the start.
    max_steps
        Budget of tried steps of one mode, >= 1.
    threads, progress, notice
        As for `dynamics.integration.ensemble.integrate_ensemble`.

    Returns
    -------
    DeepEnsemble
        A mode that grew without bound or spent its steps has a status that says so, and its last state.

    Raises
    ------
    ValueError
        An argument is out of range.

    Notes
    -----
    Source: R320, R322.

    Examples
    --------
    >>> from dynamics.fields.deep import deep_field
    >>> system = DeepSystem([1.0, 1.0], [0.5, 0.5], depth=2)
    >>> found = integrate_deep_ensemble(system.deep_state([0.3, 0.5], [0.4, -0.4]), system, deep_field)
    >>> found.fate.tolist()
    [0, 1]
    """
    if vector_field is not DEEP_FIELDS.get(vector_field.name):
        raise ValueError(f"`vector_field` must be {' or '.join(DEEP_FIELDS)}, got {vector_field.name}")
    if not (np.all(system.lambda_s > 0) and np.all(system.lambda_d > 0)):
        raise ValueError(
            f"`system` must have λs and λd > 0, got {np.min(system.lambda_s):g} and {np.min(system.lambda_d):g}"
        )
    if not _FINEST <= rtol <= LOOSEST:
        raise ValueError(f"`rtol` must be >= {_FINEST} and <= {LOOSEST}, got {rtol}")
    for name, value in (("max_steps", max_steps), ("threads", 1 if threads is None else threads)):
        if value < 1:
            raise ValueError(f"`{name}` must be >= 1, got {value}")
    n, L = system.n_modes, system.depth
    ends = np.asarray(t_end, dtype=np.float64)
    if ends.shape not in ((), (n,)) or not np.all(ends > 0):
        raise ValueError(f"`t_end` must be > 0, one number or one for each of {n}, got {t_end}")
    rests = np.full(L + 1, np.nan) if attractor is None else np.asarray(attractor, dtype=np.float64)
    if rests.shape not in ((L + 1,), (L + 1, n)):
        raise ValueError(f"`attractor` must have shape ({L + 1},) or ({L + 1}, {n}), got {rests.shape}")
    state = vector_field.constrain(0.0, system.deep_state(*start), system)
    y = np.concatenate([state.layers, state.predictor[None], state.targets]).T.copy()
    rates = (system.tau_predictor, system.tau_target, system.weight_decay)
    columns = [system.lambda_s, system.lambda_d, *rates, *system.layer_times]
    p = np.stack([np.broadcast_to(column, (n,)) for column in columns], axis=1).astype(np.float64)
    rests = np.broadcast_to(rests.T if rests.ndim == 2 else rests, (n, L + 1)).copy()
    ends = np.broadcast_to(ends, (n,)).copy()
    times, drifts = np.zeros(n), np.zeros(n)
    fates, statuses, counts = np.zeros(n, np.uint8), np.zeros(n, np.uint8), np.zeros((2, n), np.int64)
    averaged = vector_field.name == "full"
    with announced(notice):
        from dynamics.integration.deep_kernels import A, C, follow

        given = (y, p, rests, ends, averaged, float(rtol), int(max_steps), A, C)
        outputs = (times, drifts, fates, statuses, counts)
        follow(0, 0, *given, *outputs)  # compiles
    in_chunks(
        lambda first, last: follow(first, last, *given, *outputs),
        n,
        largest=_CHUNK,
        threads=threads,
        progress=progress,
    )
    w, v, th = y[:, :L].T, y[:, L], y[:, L + 1 :].T
    return DeepEnsemble(DeepState(w, v, th), times, statuses, fates, counts[0], counts[1], drifts)
