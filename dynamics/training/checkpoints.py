"""Checkpoints: the whole state of a run in one file, written whole or not at all, and refused by any other run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dynamics.files import read_npz, write_npz
from dynamics.training.settings import TrainingSettings

MAY_CHANGE = ("steps", "optimizer.learning_rate")
"""Settings that may differ when a run goes on: it may be made longer, or go on at another rate after it diverged."""


class Checkpoint(NamedTuple):
    """What is needed to go on as if nothing had happened.

    Parameters
    ----------
    step
        Steps taken.
    leaves
        Arrays of the state, in the order of its leaves.
    steps
        Steps at which was measured, (T,).
    metrics
        Measurements so far, (n_runs, T, …) each.
    """

    step: int
    leaves: list[np.ndarray]
    steps: np.ndarray
    metrics: dict[str, np.ndarray]


def fingerprint(seeds: np.ndarray, arrays: Any) -> str:
    """Digest of all that a run depends on beside its settings: seeds, samples, given starts.

    >>> fingerprint(np.array([0]), ()) == fingerprint(np.array([1]), ())
    False
    """
    digest = hashlib.sha256()
    for leaf in [seeds, *jax.tree.leaves(arrays)]:
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def save(path: Path, settings: TrainingSettings, identity: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; one that exists is replaced when the new one is complete.

    Parameters
    ----------
    path
        Where to, by custom ending in .npz.
    settings, identity
        Whose it is: settings, and the `fingerprint` of what else the run depends on.
    checkpoint
        The state.
    """
    write_npz(
        path,
        {
            "settings": np.array(settings.to_json()),
            "identity": np.array(identity),
            "step": np.array(checkpoint.step),
            "steps": checkpoint.steps,
            **{f"leaf {index}": leaf for index, leaf in enumerate(checkpoint.leaves)},
            **{f"metric {name}": values for name, values in checkpoint.metrics.items()},
        },
    )


def restore(path: Path, settings: TrainingSettings, identity: str, leaves: Iterable[Any]) -> Checkpoint:
    """Read the checkpoint of this very run, or of one that differs in `MAY_CHANGE` alone.

    Parameters
    ----------
    path
        The file.
    settings, identity
        Of the run that wants to go on.
    leaves
        Arrays of a fresh state, for their shapes and types.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, no checkpoint, or that of another run: which settings differ.
    """
    arrays = read_npz(path)
    try:
        found, digest = str(arrays["settings"]), str(arrays["identity"])
        step, _ = int(arrays["step"]), arrays["steps"]
        stored = [arrays[f"leaf {index}"] for index, _ in enumerate(leaves)]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} must be a checkpoint of `train`, but {error} is not as it should be"
        ) from None
    before, after = json.loads(found), json.loads(settings.to_json())
    if differing := _differences(before, after):
        raise ValueError(f"{path} is the checkpoint of another run: {', '.join(differing)}")
    if after["steps"] < step:
        raise ValueError(f"`steps` must be at least {step}, where {path} stands, got {after['steps']}")
    scheduled = [part for part in ("optimizer", "target") if after[part]["schedule"] == "cosine"]
    if scheduled and before["steps"] != after["steps"]:
        raise ValueError(
            f"`steps` must be {before['steps']} as in {path}, whose {scheduled[0]} follows a cosine over all steps,"
            f" got {after['steps']}"
        )
    if digest != identity:
        raise ValueError(f"{path} is the checkpoint of another run: its seeds, data or given start differ")
    wanted = [(np.shape(leaf), leaf.dtype) for leaf in leaves]
    if [(array.shape, array.dtype) for array in stored] != wanted:
        raise ValueError(
            f"{path} must hold arrays like those of the run, got others: was it written by this version?"
        )
    return Checkpoint(step, stored, *_measured(settings, arrays))


def measurements(path: Path, settings: TrainingSettings) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Steps (T,) and metrics (n_runs, T, …) in a checkpoint that `restore` accepts for these settings."""
    return _measured(settings, read_npz(path))


def measured_at(settings: TrainingSettings) -> np.ndarray:
    """Steps at which a run is measured: every `metrics_every`, and at the end.

    >>> measured_at(TrainingSettings(steps=25, metrics_every=10))
    array([ 0, 10, 20, 25])
    """
    return np.unique([*range(0, settings.steps, settings.metrics_every), settings.steps])


def _measured(
    settings: TrainingSettings, arrays: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What was measured at steps at which these settings measure: the end of a shorter run may be none of them."""
    kept = np.isin(arrays["steps"], measured_at(settings))
    return arrays["steps"][kept], {name: values[:, kept] for name, values in _metrics(arrays).items()}


def _metrics(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    prefix = "metric "
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], path: str = "") -> list[str]:
    differing = []
    for name in sorted({*found, *wanted}):
        a, b = found.get(name), wanted.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            differing += _differences(a, b, f"{path}{name}.")
        elif a != b and f"{path}{name}" not in MAY_CHANGE:
            differing.append(f"`{path}{name}` {_short(a)} there, {_short(b)} here")
    return differing


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
