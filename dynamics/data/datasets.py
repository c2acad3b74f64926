"""Where samples come from: digits, arrays on disk, CIFAR-10 and STL-10, and how they are centred and scaled.

Nothing is fetched and nothing is converted: images stay in the type they are stored in, and arrays and STL-10
stay on disk until they are sliced, batch by batch.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dynamics.files import check_file, read_npz

SOURCES = "digits, a .npy or .npz file, cifar10:DIR, stl10:DIR or stl10-unlabeled:DIR"
MOST_CHANNELS = 4


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples, and their classes where they are known.

    Parameters
    ----------
    images
        Shape (N, h, w, c), or (N, d) for vectors, N >= 2, of any real number type; may be a memory map, to be
        read in slices. An array (N, h, w) is taken as one channel.
    labels
        Class of each sample, integers of shape (N,), or None.
    name
        What messages and figures call it.

    Raises
    ------
    ValueError
        The images are not numbers, not so shaped, empty or a single one, or the labels do not fit.

    Examples
    --------
    >>> Dataset(np.zeros((5, 8, 6)), None, "zeros").images.shape
    (5, 8, 6, 1)
    """

    images: np.ndarray
    labels: np.ndarray | None
    name: str

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype.kind not in "biuf":
            raise ValueError(f"{self.name} must hold real numbers, got an array of type {images.dtype}")
        if images.ndim not in (2, 3, 4):
            raise ValueError(
                f"{self.name} must have shape (N, d), (N, h, w) or (N, h, w, c), got {images.shape}"
            )
        check_channels(self.name, images.shape)
        if images.size == 0 or len(images) < 2:
            raise ValueError(f"{self.name} must hold at least two samples, got shape {images.shape}")
        if images.ndim == 3:
            object.__setattr__(self, "images", images[..., np.newaxis])
        if labels is not None and (labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]):
            raise ValueError(
                f"the labels of {self.name} must be {len(images)} integers,"
                f" got {labels.dtype} of shape {labels.shape}"
            )


def check_channels(name: str, shape: tuple[int, ...]) -> None:
    """Refuse images whose channels come first, which would pass for images of a few rows.

    >>> check_channels("photos.npy", (10, 3, 32, 32))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: photos.npy must have its channels last, (N, h, w, c), got shape (10, 3, 32, 32), which looks like...
    """
    if len(shape) == 4 and shape[1] <= MOST_CHANNELS < shape[3]:
        raise ValueError(
            f"{name} must have its channels last, (N, h, w, c), got shape {shape}, which looks like (N, c, h, w):"
            " store images.transpose(0, 2, 3, 1)"
        )


def load(source: str, *, split: str = "train") -> Dataset:
    """Open a dataset by its source.

    Parameters
    ----------
    source
        ``digits`` (the 1,797 images of 8 x 8 pixels that come with scikit-learn); the path of a ``.npy`` or
        ``.npz`` array (N, d), (N, h, w) or (N, h, w, c), in an ``.npz`` under ``images``, ``x`` or as the only
        array, with classes under ``labels`` or ``y``; ``cifar10:DIR``, ``stl10:DIR`` or ``stl10-unlabeled:DIR``, the
        published files being in DIR or in the folder of their archive inside DIR.
    split
        ``train``; for CIFAR-10 also ``test``; for STL-10 also ``test`` and ``unlabeled``.

    Returns
    -------
    Dataset
        Pixels as stored: 0 to 16 for digits, 0 to 255 for CIFAR-10 and STL-10. Whether they are finite is seen
        when they are read (`Moments.from_data`).

    Raises
    ------
    FileNotFoundError
        A file or folder is not there; the message says which files to put where.
    ValueError
        The source or split is unknown, or a file is not what it should be.

    Examples
    --------
    >>> load("digits").images.shape
    (1797, 8, 8, 1)
    """
    kind, colon, folder = source.partition(":")
    if colon and kind in _FOLDERS:
        read, splits = _FOLDERS[kind]
        if not folder:
            raise ValueError(
                f"`{kind}` must be given with the folder that holds it, {kind}:DIR, got {source!r}"
            )
        _check_split(kind, split, splits)
        return read(Path(folder).expanduser(), split)
    if source in _FOLDERS:
        raise ValueError(f"`{source}` must be given with the folder that holds it, {source}:DIR")
    _check_split(source, split, ("train",))
    if source == "digits":
        return _digits()
    path = Path(source).expanduser()
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"data must be {SOURCES}, got {source!r}")
    images, labels = _read_npy(path) if path.suffix == ".npy" else _pick(read_npz(path), path)
    return Dataset(images, labels, path.name)


def real_numbers(name: str, value: Any) -> np.ndarray:
    """Return a float64 copy of an array of real numbers; refuse anything else, naming it.

    Raises
    ------
    ValueError
        Text, objects, complex numbers, or rows of different lengths.

    Examples
    --------
    >>> real_numbers("labels", ["cat"])
    Traceback (most recent call last):
    ValueError: `labels` must be real numbers, got <U3
    """
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"`{name}` must be an array, got rows of different lengths") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"`{name}` must be real numbers, got {array.dtype}")
    return array.astype(np.float64)


def check_finite(name: str, array: np.ndarray, rows: np.ndarray | None = None) -> None:
    """Raise ValueError at the first entry that is NaN or infinite, with its index.

    Parameters
    ----------
    name, array
        What is checked.
    rows
        Numbers of the rows of `array` in the file that they come from, where they are others.

    Examples
    --------
    >>> check_finite("images", np.array([[0.0], [np.nan]]), np.array([7, 3]))
    Traceback (most recent call last):
    ValueError: `images` must be finite, got nan at (3, 0)
    """
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        if rows is not None:  # the first in the file
            bad = bad[np.argsort(rows[bad[:, 0]], kind="stable")]
        row, *rest = (int(i) for i in bad[0])
        place = (row if rows is None else int(rows[row]), *rest)
        raise ValueError(f"`{name}` must be finite, got {array[tuple(bad[0])]} at {place}")


class Batches(NamedTuple):
    """Samples as float64 vectors, a batch at a time.

    Attributes
    ----------
    samples
        Iterator over arrays (n, d), in the order of the images; it runs once.
    n_samples
        Number of samples in all batches together.
    shape
        Shape of one sample, (d,) or (h, w, c).
    notes
        What was done to the samples, one plain sentence each.
    """

    samples: Iterator[np.ndarray]
    n_samples: int
    shape: tuple[int, ...]
    notes: tuple[str, ...]


def standardised(
    images: Any,
    *,
    center: bool = True,
    scale: bool = True,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    rows: np.ndarray | None = None,
) -> Batches:
    """Read samples in batches, x ↦ (x − mean)/deviation with one mean image and one deviation for all pixels.

    Parameters
    ----------
    images
        Shape (N, d), (N, h, w) or (N, h, w, c), N >= 2, of any real number type; only its shape and slices are
        asked for, so a memory map will do.
    center
        Subtract the mean image.
    scale
        Divide by the standard deviation of all pixels about the mean image.
    batch_size
        Images a batch, >= 1; left out, as many as make 32 MB.
    progress
        Called as progress(done, total) after each batch; every image is read twice, first for the mean.
    rows
        Numbers of the images in the file that they were picked from, (N,), for messages; left out, their order.

    Raises
    ------
    ValueError
        The images are not so shaped, fewer than two, not finite real numbers, or all the same where they are to
        be centred or scaled; the batch size is out of range.

    Notes
    -----
    Mean and deviation come of merging those of the batches, in one pass and without cancellation.

    Examples
    --------
    >>> list(standardised(np.array([[0], [4]], np.uint8)).samples)
    [array([[-1.],
           [ 1.]])]
    """
    shape = tuple(images.shape)
    if len(shape) not in (2, 3, 4):
        raise ValueError(f"images must have shape (N, d), (N, h, w) or (N, h, w, c), got {shape}")
    if shape[0] < 2 or 0 in shape:
        raise ValueError(f"images must be at least two and not empty, got shape {shape}")
    check_channels("images", shape)
    n, d = shape[0], int(np.prod(shape[1:]))
    size = max(1, 2**22 // d) if batch_size is None else batch_size
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"`batch_size` must be an integer >= 1, got {size}")

    def batches(done: int) -> Iterator[np.ndarray]:
        for start in range(0, n, size):
            yield _vectors(images, np.arange(n) if rows is None else rows, start, start + size)
            if progress is not None:
                progress(done + min(start + size, n), 2 * n)

    mean, deviation = _mean_and_deviation(batches(0))
    # a mean of n equal numbers is right to n eps
    if (center or scale) and deviation <= n * np.finfo(float).eps * np.max(np.abs(mean)):
        raise ValueError(f"images must differ from one another, got {n} that are the same to rounding")
    notes = []
    if center:
        notes.append(f"centred: the mean of {n} images was subtracted")
    if scale:
        notes.append(
            f"scaled by 1/{deviation:.4g}, the standard deviation of all pixels about the mean image"
        )
    origin, unit = (mean if center else 0.0), (deviation if scale else 1.0)
    samples = ((X - origin) / unit for X in batches(n))
    return Batches(samples, n, (*shape[1:], 1) if len(shape) == 3 else shape[1:], tuple(notes))


def _vectors(images: Any, rows: np.ndarray, start: int, stop: int) -> np.ndarray:
    X = real_numbers("images", images[start:stop])
    check_finite("images", X, rows[start:stop])
    return X.reshape(len(X), -1)


def _mean_and_deviation(batches: Iterator[np.ndarray]) -> tuple[np.ndarray, float]:
    count, mean, square = 0, np.zeros(1), 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for X in batches:
            here, total = X.mean(0), count + len(X)
            step = here - mean
            square += float(np.sum((X - here) ** 2) + count * len(X) / total * np.sum(step**2))
            mean, count = mean + step * (len(X) / total), total
    deviation = float(np.sqrt(square / (count * len(mean))))
    if not np.isfinite(deviation):
        raise ValueError("images must have a variance that float64 can hold, got larger pixels")
    return mean, deviation


def _check_split(name: str, split: str, splits: tuple[str, ...]) -> None:
    if split not in splits:
        raise ValueError(f"the split of {name} must be {' or '.join(splits)}, got {split!r}")


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    flat, labels = load_digits(return_X_y=True)
    return Dataset(np.asarray(flat).reshape(-1, 8, 8), np.asarray(labels), "digits")


def _read_npy(path: Path) -> tuple[np.ndarray, None]:
    check_file(path)
    try:
        return np.lib.format.open_memmap(path, mode="r"), None
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path} must be a .npy file with a plain numeric array: {error}") from None


def _pick(arrays: dict[str, np.ndarray], path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    labels = next((arrays[name] for name in ("labels", "y") if name in arrays), None)
    rest = [name for name in arrays if name not in ("labels", "y")]
    named = [name for name in ("images", "x") if name in arrays] or rest
    if not named or (len(rest) > 1 and named == rest):
        raise ValueError(
            f"{path} must hold its samples as `images`, as `x` or as its only array,"
            f" got {', '.join(arrays) or 'no arrays'}"
        )
    return arrays[named[0]], labels


CIFAR10_FILES = {
    "train": tuple(f"data_batch_{i}" for i in range(1, 6)),
    "test": ("test_batch",),
}
CIFAR10_RECORD = 1 + 3 * 32 * 32
STL10_IMAGE = 3 * 96 * 96


def _cifar10(folder: Path, split: str) -> Dataset:
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


def _stl10(folder: Path, split: str) -> Dataset:
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


_FOLDERS: dict[str, tuple[Callable[[Path, str], Dataset], tuple[str, ...]]] = {
    "cifar10": (_cifar10, ("train", "test")),
    "stl10": (_stl10, ("train", "test", "unlabeled")),
    "stl10-unlabeled": (lambda folder, split: _stl10(folder, "unlabeled"), ("train",)),
}
