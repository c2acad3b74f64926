"""Data sets in folders on disk: CIFAR-10, STL-10."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dynamics.data.samples import Dataset

CIFAR10_FILES = {
    "train": tuple(f"data_batch_{i}" for i in range(1, 6)),
    "test": ("test_batch",),
}
CIFAR10_RECORD = 1 + 3 * 32 * 32
STL10_IMAGE = 3 * 96 * 96


def load_cifar10(folder: Path, split: str) -> Dataset:
    """Read either published version: 1024 red, 1024 green, 1024 blue bytes an image, each 32 x 32 row by row."""
    names = CIFAR10_FILES[split]
    wanted = (
        f"{', '.join(names)} (archive cifar-10-python.tar.gz, folder cifar-10-batches-py)"
        f" or the same names with .bin (archive cifar-10-binary.tar.gz, folder cifar-10-batches-bin)"
    )
    for inside, suffix, read in (
        ("cifar-10-batches-py", "", _cifar10_pickle),
        ("cifar-10-batches-bin", ".bin", _cifar10_binary),
    ):
        files = [name + suffix for name in names]
        home = _locate(folder, inside, files)
        if home is not None:
            rows, labels = zip(*(read(home / name) for name in files), strict=True)
            images = np.concatenate(rows).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            return Dataset(images, np.concatenate(labels), f"CIFAR-10 ({split})")
    raise FileNotFoundError(f"CIFAR-10 was not found in {folder}: put there {wanted}")


def _locate(folder: Path, inside: str, files: list[str]) -> Path | None:
    """Find the folder with the files: the one given, or the one inside it that the archive unpacks to."""
    for home in (folder, folder / inside):
        missing = [name for name in files if not (home / name).is_file()]
        if not missing:
            return home
        if len(missing) < len(files):
            raise FileNotFoundError(f"{home} lacks {', '.join(missing)} of {', '.join(files)}")
    return None


def _cifar10_pickle(path: Path) -> tuple[np.ndarray, np.ndarray]:
    batch = _unpickle(path)
    if not isinstance(batch, dict) or not {b"data", b"labels"} <= batch.keys():
        raise ValueError(f"{path} must be a CIFAR-10 batch, a dictionary with data and labels")
    data, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != CIFAR10_RECORD - 1:
        raise ValueError(
            f"{path} must hold images as bytes of shape (N, {CIFAR10_RECORD - 1}),"
            f" got {data.dtype} of shape {data.shape}"
        )
    return data, _classes(path, labels, len(data))


def _cifar10_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    _check_size(path, CIFAR10_RECORD)
    records = np.fromfile(path, np.uint8).reshape(-1, CIFAR10_RECORD)
    return records[:, 1:], _classes(path, records[:, 0], len(records))


def _classes(path: Path, labels: np.ndarray, n: int, *, first: int = 0) -> np.ndarray:
    """Ten classes, counted from 0 here whatever the file counts from."""
    if (
        labels.dtype.kind not in "iu"
        or labels.shape != (n,)
        or np.any((labels < first) | (labels > first + 9))
    ):
        raise ValueError(f"{path} must hold a class from {first} to {first + 9} for each of {n} images")
    return labels.astype(np.int64) - first


def _check_size(path: Path, record: int) -> None:
    size = path.stat().st_size
    if size == 0 or size % record:
        raise ValueError(
            f"{path} must hold whole records of {record} bytes, got {size} bytes: is it cut short?"
        )


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler that can build NumPy arrays and Python's own containers, and can call nothing else."""

    _KNOWN: ClassVar[dict[str, Any]] = {
        "dtype": np.dtype,
        "ndarray": np.ndarray,
        # arrays name these two in their pickles; the modules they live in differ between versions of NumPy
        "_reconstruct": np.zeros(0).__reduce__()[0],
        "_frombuffer": np.zeros(0).__reduce_ex__(5)[0],
    }

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in self._KNOWN:
            return self._KNOWN[name]
        if (module, name) == ("_codecs", "encode"):  # bytes, in the older protocols
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _unpickle(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _ArrayUnpickler(file, encoding="bytes").load()
    except (
        pickle.UnpicklingError,
        ArithmeticError,
        AttributeError,
        EOFError,
        ImportError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"{path} must be a pickle of plain arrays: {error or type(error).__name__}"
        ) from None


def load_stl10(folder: Path, split: str) -> Dataset:
    """Map the binary version; each channel is stored column by column, labels count from 1."""
    files = [f"{split}_X.bin"] + ([] if split == "unlabeled" else [f"{split}_y.bin"])
    wanted = f"{' and '.join(files)} (archive stl10_binary.tar.gz, folder stl10_binary)"
    home = _locate(folder, "stl10_binary", files)
    if home is None:
        raise FileNotFoundError(f"STL-10 was not found in {folder}: put there {wanted}")
    path = home / files[0]
    _check_size(path, STL10_IMAGE)
    images = np.memmap(path, np.uint8, mode="r").reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)
    if split == "unlabeled":
        return Dataset(images, None, f"STL-10 ({split})")
    labels = _classes(home / files[1], np.fromfile(home / files[1], np.uint8), len(images), first=1)
    return Dataset(images, labels, f"STL-10 ({split})")
