"""What a training run dumps for a diagnosis: two views of its features, and weights where they are linear.

Arrays of ``.npz``, ``.npy`` and ``.safetensors`` files are read; a pickle never is, for reading one can run code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dynamics.data.moments import Moments
from dynamics.files import check_file, checked_suffix, read_npz

SUFFIXES = (".npz", ".npy", ".safetensors")
REQUIRED = ("view1", "view2")
SAME = 1e-6
"""Features that differ by less than this share of the largest are one array rounded to single precision."""


class Dump(NamedTuple):
    """Two views of the features of a network, and its last linear layers where they are known.

    Parameters
    ----------
    view1, view2
        Features of two views of each sample, shape (N, d), in one order; the input of `online` where that is given.
    online
        W, shape (n2, d), or None: then nothing lies above the features.
    predictor
        P, shape (n2, n2), or None.
    target
        Θ, shape (n2, d), or None.
    labels
        Class of each sample, integers 0, 1, … of shape (N,), or None.
    rounding
        Machine epsilon of the coarsest of the arrays.
    """

    view1: np.ndarray
    view2: np.ndarray
    online: np.ndarray | None = None
    predictor: np.ndarray | None = None
    target: np.ndarray | None = None
    labels: np.ndarray | None = None
    rounding: float = float(np.finfo(np.float64).eps)


NAMES = Dump._fields[:-1]
"""What the arrays of a file are called."""


def checked_dump(arrays: Mapping[str, object]) -> Dump:
    """Check what a network is described by.

    Parameters
    ----------
    arrays
        ``view1``, ``view2`` and, where they are known, ``online``, ``predictor``, ``target`` and ``labels``.

    Returns
    -------
    Dump
        In double precision.

    Raises
    ------
    ValueError
        Shapes that do not fit, numbers that are not finite, fewer than three samples, one view given twice, or
        features that are the same for all samples.

    Examples
    --------
    >>> checked_dump({"view1": [[0.0], [1.0], [3.0]], "view2": [[0.1], [1.0], [2.8]]}).view1.shape
    (3, 1)
    >>> checked_dump({"view1": [[0.0], [1.0], [3.0]], "view2": [[0.0], [1.0], [3.0]]})
    Traceback (most recent call last):
    ValueError: view2 must be another view of the samples, got view1 again
    """
    missing = [name for name in REQUIRED if arrays.get(name) is None]
    if missing:
        raise ValueError(f"{missing[0]} must be given, got {', '.join(arrays) or 'no arrays'}")
    given = {name: np.asarray(value) for name, value in arrays.items() if value is not None}
    labels = given.pop("labels", None)
    rounding = max(
        float(np.finfo(value.dtype).eps) if value.dtype.kind == "f" else 0 for value in given.values()
    )
    matrices = {}
    for name, value in given.items():
        if value.dtype.kind not in "fiu":
            raise ValueError(f"{name} must hold real numbers, got an array of type {value.dtype}")
        if value.ndim != 2 or value.size == 0:
            form = "(N, d)" if name in REQUIRED else "(n2, n2)" if name == "predictor" else "(n2, d)"
            raise ValueError(f"{name} must have shape {form}, got shape {value.shape}")
        matrices[name] = value.astype(np.float64)
        wrong = np.count_nonzero(~np.isfinite(matrices[name]))
        if wrong:
            raise ValueError(f"{name} must be finite, got {wrong} values that are NaN or infinite")
    dump = Dump(**matrices, labels=labels, rounding=max(rounding, float(np.finfo(np.float64).eps)))
    _check_views(dump)
    _check_weights(dump)
    return dump if labels is None else dump._replace(labels=_checked_labels(labels, len(dump.view1)))


def _check_views(dump: Dump) -> None:
    z1, z2 = dump.view1, dump.view2
    if z1.shape != z2.shape:
        raise ValueError(f"view2 must have the shape of view1, {z1.shape}, got {z2.shape}")
    if len(z1) < 3:
        raise ValueError(f"view1 must hold at least three samples, got {len(z1)}")
    size = max(np.max(np.abs(z1)), np.max(np.abs(z2)))
    if np.max(np.ptp(np.concatenate([z1, z2]), axis=0)) <= SAME * size:
        raise ValueError(
            f"view1 and view2 must vary from sample to sample, got the same features for all {len(z1)} samples:"
            " collapse is complete, and its cause shows only in an earlier layer or at an earlier step"
        )
    if np.max(np.abs(z1 - z2)) <= SAME * size:
        raise ValueError("view2 must be another view of the samples, got view1 again")


def _check_weights(dump: Dump) -> None:
    d = dump.view1.shape[1]
    for name, value in (("online", dump.online), ("target", dump.target)):
        if value is not None and value.shape[1] != d:
            raise ValueError(f"{name} must have a column for each of {d} features, got shape {value.shape}")
    if dump.online is None:
        for name, value in (("predictor", dump.predictor), ("target", dump.target)):
            if value is not None:
                raise ValueError(f"{name} must go with online, the layer below it, got it alone")
        return
    n2 = len(dump.online)
    if dump.target is not None and dump.target.shape != dump.online.shape:
        raise ValueError(
            f"target must have the shape of online, {dump.online.shape}, got {dump.target.shape}"
        )
    if dump.predictor is not None and dump.predictor.shape != (n2, n2):
        raise ValueError(
            f"predictor must have shape {(n2, n2)} like the outputs of online, got {dump.predictor.shape}"
        )


def _checked_labels(labels: np.ndarray, n: int) -> np.ndarray:
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be {n} integers, one for each sample, got shape {labels.shape} of {labels.dtype}"
        )
    return np.unique(labels, return_inverse=True)[1]


def read_dump(path: str | Path, names: Mapping[str, str] | None = None) -> Dump:
    """Read a dump from a ``.npz``, ``.npy`` or ``.safetensors`` file.

    Parameters
    ----------
    path
        A ``.npy`` file holds one array (2, N, d), both views.
    names
        What the file calls an array, where it is another name than that of `Dump`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no such file, holds no array of a name, or `checked_dump` refuses what it holds.

    Examples
    --------
    >>> read_dump("missing.npz")
    Traceback (most recent call last):
    FileNotFoundError: missing.npz does not exist
    """
    names = dict(names or {})
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise ValueError(f"`names` must set some of {', '.join(NAMES)}, got {unknown[0]!r}")
    path = Path(path)
    check_file(path)
    suffix = checked_suffix(path, SUFFIXES).suffix.lower()
    if suffix == ".npy":
        if names:
            raise ValueError(f"`names` must not go with {path}, whose one array has no name")
        return checked_dump(_read_npy(path))
    arrays = read_npz(path) if suffix == ".npz" else _read_safetensors(path)
    chosen = {}
    for name in NAMES:
        key = names.get(name, name)
        if key in arrays:
            chosen[name] = arrays[key]
        elif name in names or name in REQUIRED:
            held = ", ".join(arrays) or "no arrays"
            raise ValueError(f"{path} must hold {key}, got {held} (`names` says what the file calls {name})")
    return checked_dump(chosen)


def _read_npy(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            views = np.lib.format.read_array(file, allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise ValueError(f"{path} must be a .npy file of numbers: {error}") from None
    if views.ndim != 3 or len(views) != 2:
        raise ValueError(f"{path} must hold two views, shape (2, N, d), got shape {views.shape}")
    return {"view1": views[0], "view2": views[1]}


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except (
        SafetensorError,
        KeyError,
        TypeError,
    ) as error:  # KeyError: a type that NumPy has not, such as bfloat16
        raise ValueError(f"{path} must be a .safetensors file of types that NumPy has: {error}") from None


def moments_of_views(view1: np.ndarray, view2: np.ndarray) -> Moments:
    """Moments of two views as `Moments.from_views` estimates them; errors call them view1 and view2.

    >>> moments_of_views(np.eye(2), np.eye(2)).ratios
    array([1., 1.])
    """
    try:
        return Moments.from_views(view1, view2)
    except ValueError as error:
        raise ValueError(str(error).replace("`x1`", "view1").replace("`x2`", "view2")) from None
