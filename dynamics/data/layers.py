"""States of deep encoders from files: of modes, and of matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynamics.fields.deep_matrices import DeepMatrixState
from dynamics.files import read_npz


def load_layers(path: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read modes of a deep encoder from an ``.npz`` archive: layers and targets (L, n_modes), predictor (n_modes,).

    It holds `layers`, of shape (L,) for one mode or (L, n_modes), `predictor`, a number or (n_modes,), and `targets`
    (or `target`), which may be left out where they equal the layers. Arrays with time first, as `write_arrays` stores a
    run, give the last state.

    Raises
    ------
    ValueError
        A file that is no such archive, missing arrays, or shapes that do not fit.
    """
    arrays = read_npz(Path(path))
    missing = [name for name in ("layers", "predictor") if name not in arrays]
    if missing:
        raise ValueError(f"{path} must hold {', '.join(missing)}, got {', '.join(arrays) or 'nothing'}")
    layers = arrays["layers"]
    given = {
        "layers": layers,
        "predictor": arrays["predictor"],
        "targets": arrays.get("targets", arrays.get("target", layers)),
    }
    for name, values in given.items():
        if values.dtype.kind not in "fiu" or values.size == 0:
            raise ValueError(
                f"{path}: {name} must be real numbers, got {values.dtype} of shape {values.shape}"
            )
    timed = layers.ndim == 3
    w, v, th = (np.asarray(x[-1] if timed else x, dtype=np.float64) for x in given.values())
    w, v, th = w[:, None] if w.ndim == 1 else w, np.atleast_1d(v), th[:, None] if th.ndim == 1 else th
    if w.ndim != 2 or v.shape != w.shape[1:] or th.shape != w.shape:
        shapes = ", ".join(f"{name} {values.shape}" for name, values in given.items())
        raise ValueError(
            f"{path} must hold layers and targets (L, n_modes) and predictor (n_modes,), time first, got {shapes}"
        )
    return w, v, th


def load_deep_state(path: str | Path, depth: int) -> DeepMatrixState:
    """Read a deep encoder of matrices from an ``.npz`` archive: layer1 … layerL, predictor, and target1 … targetL.

    Targets may be left out where they equal the layers. Arrays with time first give the last state.

    Parameters
    ----------
    path
        The archive.
    depth
        L >= 1.

    Raises
    ------
    ValueError
        A file that is no such archive, missing arrays, or shapes that do not fit.
    """
    arrays = read_npz(Path(path))
    names = [f"layer{k}" for k in range(1, depth + 1)]
    missing = [name for name in (*names, "predictor") if name not in arrays]
    if missing:
        raise ValueError(f"{path} must hold {', '.join(missing)}, got {', '.join(arrays) or 'nothing'}")
    if (more := f"layer{depth + 1}") in arrays:
        raise ValueError(f"{path} must hold the layers of --depth {depth} and no more, got {more}")
    targets = [arrays.get(f"target{k}", arrays[f"layer{k}"]) for k in range(1, depth + 1)]
    parts = []
    for name, values in zip(
        (*names, "predictor", *("targets",) * depth),
        (*(arrays[name] for name in names), arrays["predictor"], *targets),
        strict=True,
    ):
        last = values[-1] if values.ndim == 3 else values
        if last.ndim != 2 or last.size == 0 or last.dtype.kind not in "fiu":
            raise ValueError(
                f"{path}: {name} must be a real matrix, or matrices with time first,"
                f" got shape {values.shape} of {values.dtype}"
            )
        parts.append(last.astype(np.float64))
    n2 = len(parts[0])
    square = (n2, n2)
    for name, part in zip((*names[1:], "predictor"), parts[1 : depth + 1], strict=True):
        if part.shape != square:
            raise ValueError(f"{path}: {name} must have shape {square}, got {part.shape}")
    for name, part, like in zip(names, parts[depth + 1 :], parts[:depth], strict=True):
        if part.shape != like.shape:
            raise ValueError(
                f"{path}: the target of {name} must have its shape {like.shape}, got {part.shape}"
            )
    empty = np.zeros((0, n2, n2))
    upper, upper_targets = (
        np.stack(some) if some else empty for some in (parts[1:depth], parts[depth + 2 :])
    )
    return DeepMatrixState(parts[0], upper, parts[depth], parts[depth + 1], upper_targets)
