"""Where samples come from: the table of sources, arrays on disk, and how samples are centred and scaled.

Nothing is fetched and nothing is converted: images stay in the type they are stored in, and arrays and STL-10
stay on disk until they are sliced, batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dynamics.data.clusters import load_clusters
from dynamics.data.folders import load_cifar10, load_stl10
from dynamics.data.idx import load_mnist
from dynamics.data.photos import load_patches
from dynamics.data.rings import load_ring
from dynamics.data.samples import Dataset, check_channels, check_finite, real_numbers
from dynamics.data.tree_samples import load_tree
from dynamics.files import check_file, read_npz


class Source(NamedTuple):
    """A source of samples: one row of the table `SOURCES`.

    Parameters
    ----------
    form
        How it is written.
    meaning
        What it is, in a line.
    read
        (what follows the colon, split) -> Dataset.
    splits
        The splits that it has, ``train`` among them.
    """

    form: str
    meaning: str
    read: Callable[[str, str], Dataset]
    splits: tuple[str, ...] = ("train",)


def _in_folder(read: Callable[[Path, str], Dataset]) -> Callable[[str, str], Dataset]:
    return lambda folder, split: read(Path(folder).expanduser(), split)


SOURCES: dict[str, Source] = {
    "digits": Source(
        "digits", "1,797 digits of 8 x 8 pixels, bundled with scikit-learn", lambda _, split: _digits()
    ),
    "photos": Source(
        "photos[:SIDE]",
        "patches of the two photographs bundled with scikit-learn",
        lambda side, _: load_patches(side),
    ),
    "mnist": Source(
        "mnist:DIR", "IDX files: MNIST, Fashion-MNIST", _in_folder(load_mnist), ("train", "test")
    ),
    "cifar10": Source(
        "cifar10:DIR", "CIFAR-10, Python or binary", _in_folder(load_cifar10), ("train", "test")
    ),
    "stl10": Source("stl10:DIR", "STL-10, binary", _in_folder(load_stl10), ("train", "test", "unlabeled")),
    "stl10-unlabeled": Source(
        "stl10-unlabeled:DIR",
        "the unlabelled images of STL-10",
        _in_folder(lambda folder, split: load_stl10(folder, "unlabeled")),
    ),
    "ring": Source(
        "ring:LENGTH:OBJECTS",
        "objects such as 11,101 at every position of a ring of pixels",
        lambda spec, _: load_ring(spec),
    ),
    "clusters": Source(
        "clusters[:K=10:d=20:sigma=.3:n=1000:seed=0]",
        "vectors of Gaussian clusters around Gaussian centres",
        lambda spec, _: load_clusters(spec),
    ),
    "tree": Source(
        "tree[:branching=2:height=5:polarity=0.8:n=1000:seed=0]",
        "leaves of a latent tree, views of which keep the root",
        lambda spec, _: load_tree(spec),
    ),
}
"""Every source of samples but arrays on disk, by name."""


def load(source: str, *, split: str = "train") -> Dataset:
    """Open a dataset by its source.

    Parameters
    ----------
    source
        A source of the table `SOURCES`, such as ``digits``, ``photos:8`` or ``mnist:DIR``; or the path of a ``.npy`` or
        ``.npz`` array (N, d), (N, h, w) or (N, h, w, c), in an ``.npz`` under ``images``, ``x`` or as the only
        array, with classes under ``labels`` or ``y``. The published files of a data set are in DIR, or in the folder
        of their archive inside DIR.
    split
        ``train``, or another that the source has.

    Returns
    -------
    Dataset
        Pixels as stored: 0 to 16 for digits, 0 to 255 for photographs and the published data sets. Whether they are
        finite is seen when they are read (`Moments.from_data`).

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
    kind, _, argument = source.partition(":")
    if kind in SOURCES:
        row = SOURCES[kind]
        if row.form.endswith(":DIR") and not argument:
            raise ValueError(
                f"`{kind}` must be given with the folder that holds it, {row.form}, got {source!r}"
            )
        if argument and ":" not in row.form:
            raise ValueError(f"`{kind}` must be given alone, got {source!r}")
        _check_split(kind, split, row.splits)
        return row.read(argument, split)
    _check_split(source, split, ("train",))
    path = Path(source).expanduser()
    if path.suffix not in (".npy", ".npz"):
        forms = ", ".join(row.form for row in SOURCES.values())
        raise ValueError(f"data must be {forms}, or a .npy or .npz file, got {source!r}")
    images, labels = _read_npy(path) if path.suffix == ".npy" else _pick(read_npz(path), path)
    return Dataset(images, labels, path.name)


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
