"""`train`: one setting or a sweep, many seeds, measured, checkpointed, on the device that is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dynamics.claims import claimed
from dynamics.states import MatrixState
from dynamics.training import checkpoints
from dynamics.training.data import TrainingData, load_data
from dynamics.training.loop import Arrays, TrainingState, program
from dynamics.training.modes import Spectrum
from dynamics.training.settings import SWEPT, TrainingSettings
from dynamics.training.stacks import Stacks, on

Progress = Callable[[int, int, Mapping[str, np.ndarray]], None]
DEVICES = ("cpu", "gpu")
EXPLODING = 10.0
"""A run that diverged was past saving when its weights were so many times those of the start, or 1."""


class Group(NamedTuple):
    """Runs that differ in nothing but their seeds.

    Parameters
    ----------
    values
        What tells them from other groups: swept scalars by name, such as {"optimizer.learning_rate": 0.1}; empty
        where nothing is swept.
    runs
        Their indices.
    """

    values: dict[str, float]
    runs: np.ndarray

    @property
    def name(self) -> str:
        """Values in words, such as "learning rate 0.1"."""
        return ", ".join(f"{_short(name)} {value:g}" for name, value in self.values.items())


def _short(name: str) -> str:
    """Name of a swept scalar in words; that of its part where another part has the same."""
    part, _, scalar = name.partition(".")
    shared = sum(scalar in names for names in SWEPT.values()) > 1
    return (f"{part} {scalar}" if shared else scalar).replace("_", " ")


@dataclass(frozen=True, eq=False, repr=False)
class TrainingRun:
    """What came of a run, or of several that share a compiled program.

    Parameters
    ----------
    settings, seeds
        What was run: run i has the swept scalars `settings.at(i)` and the seed `seeds[i]`.
    steps
        Steps at which was measured, shape (T,), 0 first.
    metrics
        Measurements by name, each (n_runs, T, …); see `dynamics.training`.
    start, state
        Start and end of all runs, NumPy arrays with the run as first axis.
    failed_at
        Step whose loss was not finite, for each run (n_runs,); −1 where all were. Such a run is NaN from there.
    spectrum
        Modes of the data.
    seconds, steps_per_second
        Wall time after compilation, and steps of all runs together per second of it.
    device
        What it ran on, such as "cpu" or "NVIDIA H100".
    checkpoint
        The last checkpoint written, in which all runs are finite; None where there is none.
    """

    settings: TrainingSettings
    seeds: np.ndarray
    steps: np.ndarray
    metrics: dict[str, np.ndarray]
    start: TrainingState
    state: TrainingState
    failed_at: np.ndarray
    spectrum: Spectrum
    seconds: float
    steps_per_second: float
    device: str
    checkpoint: Path | None = None

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return len(self.seeds)

    def __repr__(self) -> str:
        lines = [
            f"TrainingRun of {self.n_runs} runs, {self.steps[-1]} steps, on {self.device}",
            f"  {self.settings.encoder.kind} encoder of {self.settings.encoder.features} features,"
            f" {self.settings.predictor.kind} predictor, {self.settings.objective.kind},"
            f" {self.settings.target.kind} target, {self.settings.optimizer.kind}, data {self.settings.data.source}",
            f"  {self.message}",
            f"  measured at {len(self.steps)} steps: {', '.join(sorted(self.metrics))}",
        ]
        if self.checkpoint is not None:
            lines.append(f"  checkpoint {self.checkpoint}")
        return "\n".join(lines)

    @property
    def groups(self) -> list[Group]:
        """Runs by the values of what is swept, in the order of the first run of each."""
        swept = self.settings.swept().items()
        varied = {
            name: values for name, values in swept if isinstance(values, tuple) and len(set(values)) > 1
        }
        found: dict[tuple[float, ...], list[int]] = {}
        for run in range(self.n_runs):
            found.setdefault(tuple(values[run] for values in varied.values()), []).append(run)
        # what follows another scalar, as the predictor's weight decay does, need not be said twice
        names = {values: name for name, values in reversed(varied.items())}
        kept = [list(varied).index(name) for name in varied if names[varied[name]] == name]
        return [
            Group({list(varied)[k]: values[k] for k in kept}, np.array(runs))
            for values, runs in found.items()
        ]

    @property
    def status(self) -> str:
        """``done``, or ``diverged`` when the loss of a run was not finite."""
        return "diverged" if np.any(self.failed_at >= 0) else "done"

    @property
    def message(self) -> str:
        """One sentence on how the runs ended."""
        failed = np.flatnonzero(self.failed_at >= 0)
        if not len(failed):
            return f"all {self.n_runs} runs took {self.steps[-1]} steps"
        first = int(failed[0])
        swept = {name: v for name, v in self.settings.at(first).swept().items() if name in self._varied()}
        setting = ", ".join(f"{name} = {value:g}" for name, value in swept.items() if value is not None)
        where = f" with seed {self.seeds[first]}" + (f" and {setting}" if setting else "")
        kept = ""
        if self.checkpoint:
            kept = f"; the last good checkpoint is {self.checkpoint}: resume it with a smaller learning rate"
        return (
            f"{len(failed)} of {self.n_runs} runs diverged: the loss was not finite at step"
            f" {self.failed_at[first]}{where}{kept}"
        )

    def _varied(self) -> set[str]:
        names = {name for name, value in self.settings.swept().items() if isinstance(value, tuple)}
        return names | {"optimizer.learning_rate"}

    @property
    def initial(self) -> MatrixState:
        """W (n_runs, n2, n1), P (n_runs, n2, n2) and Θ of linear networks at the start; P = I without a predictor.

        Raises
        ------
        ValueError
            The encoder, or the predictor, is not linear.
        """
        return _as_matrices(self.settings, self.start)

    @property
    def final(self) -> MatrixState:
        """W, P and Θ of linear networks at the end, as `initial`."""
        return _as_matrices(self.settings, self.state)


def train(
    settings: TrainingSettings,
    seeds: int | Sequence[int] = 0,
    *,
    initial: MatrixState | TrainingState | None = None,
    data: TrainingData | None = None,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 1000,
    resume: bool = False,
    device: str | None = None,
) -> TrainingRun:
    """Train networks by gradient steps, all runs at once.

    Parameters
    ----------
    settings
        What to run; swept scalars hold one value a run.
    seeds
        One seed for each run, or one for all, integers in [0, 2³²); they decide starts, batches and views.
    initial
        Start of linear networks, W, P and Θ with or without the run as first axis; P is ignored where there is no
        linear predictor. Or weights of any networks, as the `start` of a run with the same networks has them.
    data
        Samples, `load_data(settings.data)` when left out.
    progress
        Called as progress(step, steps, metrics) after each measurement, metrics being those of all runs (n_runs, …).
    checkpoint
        File that holds the whole state, replaced at the first measurement after every `checkpoint_every` steps and at
        the end; once a run has diverged it is left as it is, so that it is always finite.
    checkpoint_every
        Steps between checkpoints, >= 1.
    resume
        Go on from `checkpoint` if it exists; the numbers are those of a run that never stopped. `steps` may be larger
        than they were, unless something follows a cosine over all of them, and the learning rate may be another.
    device
        ``cpu``, ``gpu``, or None for what JAX prefers.

    Returns
    -------
    TrainingRun
        With status ``diverged`` when a loss was not finite: such runs are NaN, and training ends early once all are.

    Raises
    ------
    FileNotFoundError
        Data are not there.
    ValueError
        Settings, seeds, start, data, device or checkpoint are not as they should be.

    Notes
    -----
    Batch k of a run is drawn from the seed and k alone, so seeds, resumed runs and runs that are stacked together see
    the same batches. Two runs on one device are equal bit for bit; stacked runs agree with single ones to rounding.

    Examples
    --------
    >>> data = {"source": "exact", "sigma_s": [1.0], "sigma_d": [0.5]}
    >>> settings = TrainingSettings(data=data, batch=None, encoder={"features": 1}, steps=5, dtype="float64")
    >>> train(settings, seeds=[0, 1]).metrics["loss"].shape
    (2, 2)
    """
    seeds_used = _seeds(seeds, settings.n_settings)
    if isinstance(checkpoint_every, bool) or checkpoint_every < 1:
        raise ValueError(f"`checkpoint_every` must be an integer >= 1, got {checkpoint_every}")
    path = None if checkpoint is None else Path(checkpoint)
    if resume and path is None:
        raise ValueError("`resume` must come with `checkpoint`, the file to go on from")
    chosen = _device(device)
    data = load_data(settings.data) if data is None else data
    with claimed(path), on(chosen, settings):
        return _train(settings, seeds_used, initial, data, progress, path, checkpoint_every, resume, chosen)


def _train(
    settings: TrainingSettings,
    seeds: np.ndarray,
    initial: MatrixState | TrainingState | None,
    data: TrainingData,
    progress: Progress | None,
    path: Path | None,
    checkpoint_every: int,
    resume: bool,
    device: Any,
) -> TrainingRun:
    n_runs = len(seeds)
    arrays, n_classes = _arrays(data, settings.dtype)
    scalars = {
        name: np.broadcast_to(np.asarray(value, settings.dtype), n_runs)
        for name, value in settings.swept().items()
    }
    shared = program(_shared(settings), data.shape, n_classes, device.platform)
    runs = Stacks(shared, seeds, scalars, arrays, data.spectrum, device)
    if initial is not None:
        runs.start_from(_given(settings, runs.state(), initial, n_runs))

    start = runs.state()
    leaves, structure = jax.tree.flatten(start)
    identity = checkpoints.fingerprint(seeds, (arrays[:-1], leaves[:0] if initial is None else list(initial)))
    stops = checkpoints.measured_at(settings)
    records: list[dict[str, np.ndarray]] = []
    done = 0
    saved: Path | None = None
    if path is not None and resume and path.exists():
        found = checkpoints.restore(path, settings, identity, leaves)
        runs.go_on_from(jax.tree.unflatten(structure, found.leaves))
        records = [{name: a[:, k] for name, a in found.metrics.items()} for k in range(len(found.steps))]
        done, saved = found.step, path
    last_saved = done
    calm: checkpoints.Checkpoint | None = None
    failed_at = runs.failed_at()
    if stops[-1] > done:
        runs.advance(done, done)  # takes no step, and compiles
    began, first = time.perf_counter(), done
    for stop in stops[len(records) :]:
        records.append(runs.advance(done, int(stop)))
        failed_at = runs.failed_at()
        done = int(stop)
        if progress is not None:
            progress(done, settings.steps, records[-1])
        if path is None:
            pass
        elif np.any(failed_at >= 0):
            # the file keeps a state in which all runs are good, and not yet past saving at any rate
            if calm is not None and saved is not None and calm.step < last_saved:
                checkpoints.save(path, settings, identity, calm)
                last_saved = calm.step
        elif done - last_saved >= checkpoint_every or done in (0, settings.steps):
            held = jax.tree.leaves(runs.state())
            checkpoint = checkpoints.Checkpoint(done, held, *_stacked(stops, records))
            if _largest(runs.state()) <= EXPLODING * max(1.0, _largest(start)):
                calm = checkpoint
            if done > 0 and all(np.all(np.isfinite(leaf)) for leaf in held):
                checkpoints.save(path, settings, identity, checkpoint)
                last_saved, saved = done, path
        if np.all(failed_at >= 0):
            break
    seconds = time.perf_counter() - began
    steps, metrics = _stacked(stops, records)
    return TrainingRun(
        settings=settings,
        seeds=seeds,
        steps=steps,
        metrics=metrics,
        start=start,
        state=runs.state(),
        failed_at=failed_at,
        spectrum=data.spectrum,
        seconds=seconds,
        steps_per_second=n_runs * (done - first) / seconds if done > first else 0.0,
        device=device.device_kind,
        checkpoint=saved,
    )


def _stacked(
    stops: np.ndarray, records: list[dict[str, np.ndarray]]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    metrics = {name: np.stack([record[name] for record in records], axis=1) for name in records[0]}
    return stops[: len(records)], metrics


def _largest(state: TrainingState) -> float:
    """Largest weight of encoders and predictors."""
    return max(float(np.max(np.abs(leaf))) for leaf in jax.tree.leaves((state.online, state.predictor)))


def _seeds(seeds: int | Sequence[int], n_settings: int) -> np.ndarray:
    array = np.atleast_1d(np.asarray(seeds))
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size:
        raise ValueError(f"`seeds` must be an integer, or one a run, got {seeds!r}")
    if np.any((array < 0) | (array >= 2**32)):
        raise ValueError(f"`seeds` must be in [0, 2**32), got {array[(array < 0) | (array >= 2**32)][0]}")
    if 1 not in (len(array), n_settings) and len(array) != n_settings:
        raise ValueError(
            f"`seeds` must be one, or one for each of {n_settings} swept settings, got {len(array)}"
        )
    return np.array(np.broadcast_to(array, max(len(array), n_settings)), np.int64)


def _device(name: str | None) -> Any:
    if name is None:
        return jax.devices()[0]
    if name not in DEVICES:
        raise ValueError(f"`device` must be {' or '.join(DEVICES)}, got {name!r}")
    try:
        return jax.devices(name)[0]
    except RuntimeError:
        there = ", ".join(sorted({d.platform for d in jax.devices()}))
        raise ValueError(f"`device` must be one that is here ({there}), got {name!r}") from None


def _arrays(data: TrainingData, dtype: str) -> tuple[Arrays, int]:
    def real(tree: Any) -> Any:
        return jax.tree.map(lambda a: np.asarray(a, dtype), tree)

    probe, n_classes = data.probe, 0
    if probe is not None:
        classes = np.unique(np.concatenate([probe.labels, probe.held_out_labels]))
        n_classes = len(classes)
        probe = probe._replace(
            images=real(probe.images),
            labels=np.searchsorted(classes, probe.labels).astype(np.int32),
            held_out_images=real(probe.held_out_images),
            held_out_labels=np.searchsorted(classes, probe.held_out_labels).astype(np.int32),
        )
    arrays = Arrays(real(data.samples), real(data.evaluation), probe, real(data.spectrum.basis))
    return jax.device_put(arrays), n_classes


def _shared(settings: TrainingSettings) -> TrainingSettings:
    """Settings without what compiled code takes as arguments, so that runs that differ in it share the code."""
    plain = TrainingSettings()
    parts = {
        part: replace(
            getattr(settings, part), **{name: getattr(getattr(plain, part), name) for name in names}
        )
        for part, names in SWEPT.items()
    }
    scheduled = "cosine" in (settings.target.schedule, settings.optimizer.schedule)
    return replace(settings, **parts, metrics_every=1, steps=settings.steps if scheduled else 1)


def _given(
    settings: TrainingSettings, state: TrainingState, initial: MatrixState | TrainingState, n_runs: int
) -> TrainingState:
    if isinstance(initial, TrainingState):
        if _shapes(initial) != _shapes(state):
            raise ValueError("`initial` must be the start of as many runs of the same networks")
        return initial
    own = _as_matrices(settings, state)
    parts = []
    for name, value, like in zip(MatrixState._fields, initial, own, strict=True):
        array = np.asarray(value, settings.dtype)
        if array.shape not in (like.shape, like.shape[1:]):
            raise ValueError(
                f"`initial.{name}` must have shape {like.shape[1:]} or {like.shape}, got {array.shape}"
            )
        if not np.all(np.isfinite(array)):
            raise ValueError(f"`initial.{name}` must be finite")
        parts.append(np.broadcast_to(array, like.shape))
    W, P, Th = parts
    if settings.predictor.symmetric and not np.array_equal(P, P.mT):
        raise ValueError(
            "`initial.predictor` must be symmetric, as the predictor is to be, got one that is not"
        )
    return state._replace(
        online=state.online._replace(encoder=({"weight": W},)),
        predictor={"weight": P} if settings.predictor.kind == "linear" else state.predictor,
        target=state.target._replace(encoder=({"weight": Th},)),
    )


def _shapes(state: TrainingState) -> tuple[Any, list[tuple[int, ...]]]:
    leaves, structure = jax.tree.flatten(state)
    return structure, [np.shape(leaf) for leaf in leaves]


def _as_matrices(settings: TrainingSettings, state: TrainingState) -> MatrixState:
    encoder, predictor = settings.encoder, settings.predictor
    if encoder.kind != "linear" or encoder.projector or predictor.kind == "mlp":
        raise ValueError(
            "matrices W, P and Θ need a linear encoder without projector and a linear predictor or none,"
            f" got a {encoder.kind} encoder and the predictor {predictor.kind}"
        )
    W, Th = (np.asarray(part.encoder[0]["weight"]) for part in (state.online, state.target))
    if predictor.kind == "none":
        P = np.broadcast_to(np.eye(W.shape[-2], dtype=W.dtype), (*W.shape[:-1], W.shape[-2]))
    elif predictor.kind == "linear":
        P = np.asarray(state.predictor["weight"])
    else:
        P = np.asarray(state.predictor_statistics["predictor"])
    return MatrixState(W, P, Th)
