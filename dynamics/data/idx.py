"""The IDX files of MNIST and of data sets in its layout, such as Fashion-MNIST."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from dynamics.data.samples import Dataset

_PARTS = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTES = 8  # the type in the third byte of the magic number


def load_mnist(folder: Path, split: str) -> Dataset:
    """Read images and labels in the layout of MNIST from a folder, gzipped or not.

    Parameters
    ----------
    folder
        Holds ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, for the split ``test`` the same with
        ``t10k``; each may end in ``.gz``. Debian's package ``dataset-fashion-mnist`` has such a folder.
    split
        ``train`` or ``test``.

    Returns
    -------
    Dataset
        Images (N, h, w, 1) of bytes, 0 to 255.

    Raises
    ------
    FileNotFoundError
        A file is not there; the message names both.
    ValueError
        A file is not an IDX file of bytes, is cut short, or the two disagree.
    """
    images, labels = (_found(folder, split, kind) for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    pixels, classes = _read(images, 3), _read(labels, 1)
    if len(pixels) != len(classes):
        raise ValueError(f"{labels} must have a label for each image, got {len(classes)} for {len(pixels)}")
    return Dataset(pixels[..., None], classes.astype(np.int64), f"{folder.resolve().name} ({split})")


def _found(folder: Path, split: str, kind: str) -> Path:
    name = f"{_PARTS[split]}-{kind}"
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"MNIST was not found in {folder}: put there {_PARTS[split]}-images-idx3-ubyte and"
        f" {_PARTS[split]}-labels-idx1-ubyte, each as it is or with .gz"
    )


def _read(path: Path, n_axes: int) -> np.ndarray:
    """Read an IDX file of bytes: a magic number, the lengths of the axes, the values."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} must be a gzip file: {error}") from None
    head = 4 + 4 * n_axes
    if len(content) < head or content[:4] != bytes([0, 0, _UNSIGNED_BYTES, n_axes]):
        raise ValueError(f"{path} must be an IDX file of bytes with {n_axes} axes")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", n_axes, 4))
    if len(content) != head + math.prod(shape):
        raise ValueError(
            f"{path} must hold {math.prod(shape)} values, as its head says, got {len(content) - head}"
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)
