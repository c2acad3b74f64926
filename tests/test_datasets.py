"""Datasets: files written here in the published layouts, streaming against NumPy on the whole array, refusals."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from dynamics.data.datasets import load, standardised
from dynamics.data.samples import Dataset
from dynamics.files import read_npz

RNG = np.random.default_rng(0)


# --- digits and arrays ------------------------------------------------------------------------------------------


def test_digits() -> None:
    digits = load("digits")
    assert digits.images.shape == (1797, 8, 8, 1)
    assert (digits.images.min(), digits.images.max()) == (0, 16)
    assert digits.labels is not None
    assert np.array_equal(np.unique(digits.labels), np.arange(10))
    # the first row of the first image, a zero, as scikit-learn prints it
    assert digits.images[0, 0, :, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


@pytest.mark.parametrize("shape", [(5, 7), (5, 4, 3), (5, 4, 3, 2)])
def test_an_npy_array_is_mapped_and_keeps_its_type(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = RNG.integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "a.npy", array)
    dataset = load(str(tmp_path / "a.npy"))
    assert isinstance(dataset.images, np.memmap)
    assert dataset.images.dtype == np.uint8
    assert np.array_equal(dataset.images, array[..., np.newaxis] if len(shape) == 3 else array)
    assert dataset.labels is None
    assert dataset.name == "a.npy"


@pytest.mark.parametrize("key", ["images", "x", "anything"])
@pytest.mark.parametrize("label_key", ["labels", "y", None])
def test_an_npz_archive_names_its_arrays(tmp_path: Path, key: str, label_key: str | None) -> None:
    images, labels = RNG.random((5, 4, 3)), np.arange(5)
    arrays: dict[str, Any] = {key: images} | ({label_key: labels} if label_key else {})
    np.savez(tmp_path / "a.npz", **arrays)
    dataset = load(str(tmp_path / "a.npz"))
    assert np.array_equal(dataset.images, images[..., np.newaxis])
    assert (dataset.labels is None) == (label_key is None)
    if dataset.labels is not None:
        assert np.array_equal(dataset.labels, labels)


def test_images_are_preferred_to_other_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), other=np.zeros(3), images=np.ones((4, 2)))
    assert load(str(tmp_path / "a.npz")).images.shape == (4, 2)


# --- CIFAR-10 -----------------------------------------------------------------------------------------------------


def python2_batch(data: np.ndarray, labels: list[int]) -> bytes:
    """A batch as Python 2 pickled it (protocol 2, byte strings): the layout of the published files."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    array = b"".join(
        [
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR",
            b"(K\x01(J" + struct.pack("<i", data.shape[0]) + b"J" + struct.pack("<i", data.shape[1]) + b"t",
            b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR",
            b"(K\x03"
            + text(b"|")
            + b"NNNJ"
            + struct.pack("<i", -1)
            + b"J"
            + struct.pack("<i", -1)
            + b"K\x00tb",
            b"\x89" + text(data.tobytes()) + b"tb",
        ]
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    entries = [text(b"batch_label"), text(b"batch"), text(b"data"), array, text(b"labels"), numbers]
    return b"\x80\x02}(" + b"".join(entries) + b"u."


def cifar_rows(n: int) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Rows of 1024 red, green, blue bytes, their classes, and the images (n, 32, 32, 3) they stand for."""
    images = RNG.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    rows = np.concatenate([images[..., channel].reshape(n, 1024) for channel in range(3)], axis=1)
    return rows, RNG.integers(0, 10, n).tolist(), images


def write_cifar(folder: Path, layout: str, sizes: tuple[int, ...] = (3, 2, 2, 1, 1)) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = [], []
    for name, n in zip([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], [*sizes, 4], strict=True):
        rows, classes, pictures = cifar_rows(n)
        if layout == "binary":
            records = np.concatenate([np.array(classes, np.uint8)[:, np.newaxis], rows], axis=1)
            (folder / f"{name}.bin").write_bytes(records.tobytes())
        elif layout == "python 2":
            (folder / name).write_bytes(python2_batch(rows, classes))
        else:
            batch = {b"data": rows, b"labels": classes}
            (folder / name).write_bytes(pickle.dumps(batch, protocol=int(layout[-1])))
        images.append(pictures)
        labels.append(classes)
    return images, labels


@pytest.mark.parametrize("layout", ["python 2", "protocol 2", "protocol 4", "protocol 5", "binary"])
@pytest.mark.parametrize("inside", [True, False])
def test_cifar10_in_both_published_layouts(tmp_path: Path, layout: str, inside: bool) -> None:
    home = "cifar-10-batches-bin" if layout == "binary" else "cifar-10-batches-py"
    images, labels = write_cifar(tmp_path / home if inside else tmp_path, layout)
    train, test = load(f"cifar10:{tmp_path}"), load(f"cifar10:{tmp_path}", split="test")
    assert np.array_equal(train.images, np.concatenate(images[:5]))
    assert np.array_equal(test.images, images[5])
    assert train.labels is not None
    assert train.labels.tolist() == [label for batch in labels[:5] for label in batch]
    assert test.labels is not None
    assert test.labels.tolist() == labels[5]
    assert train.images.dtype == np.uint8
    assert (train.name, test.name) == ("CIFAR-10 (train)", "CIFAR-10 (test)")


def test_a_missing_cifar10_says_which_files_to_put_where(tmp_path: Path) -> None:
    message = (
        rf"CIFAR-10 was not found in {tmp_path}/none: put there data_batch_1, .*, data_batch_5 \(archive"
        r" cifar-10-python.tar.gz, .*\) or the same names with .bin \(archive cifar-10-binary.tar.gz, .*\)"
    )
    with pytest.raises(FileNotFoundError, match=message):
        load(f"cifar10:{tmp_path}/none")


@pytest.mark.parametrize("layout", ["python 2", "binary"])
def test_a_missing_cifar10_batch_is_named(tmp_path: Path, layout: str) -> None:
    write_cifar(tmp_path, layout)
    name = "data_batch_4.bin" if layout == "binary" else "data_batch_4"
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} lacks {name} of data_batch_1"):
        load(f"cifar10:{tmp_path}")


class Runs:
    """A pickle of this calls a function when it is read."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("made-by-a-pickle",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Runs()), "must be a pickle of plain arrays: it asks for .*mkdir"),
        (
            pickle.dumps({b"data": np.array([Runs()])}),
            "must be a pickle of plain arrays: it asks for .*mkdir",
        ),
        (pickle.dumps(np.random.default_rng), "must be a pickle of plain arrays: it asks for numpy.random"),
        (b"", "must be a pickle of plain arrays: .*"),
        (b"not a pickle", "must be a pickle of plain arrays: .*"),
        (python2_batch(*cifar_rows(2)[:2])[:-500], "must be a pickle of plain arrays: .*"),
        (pickle.dumps([1, 2]), "must be a CIFAR-10 batch, a dictionary with data and labels"),
        (pickle.dumps({b"data": 1}), "must be a CIFAR-10 batch, a dictionary with data and labels"),
        (
            pickle.dumps({b"data": np.zeros((2, 3071), np.uint8), b"labels": [0, 1]}),
            r"must hold images as bytes of shape \(N, 3072\), got uint8 of shape \(2, 3071\)",
        ),
        (
            pickle.dumps({b"data": np.zeros((2, 3072)), b"labels": [0, 1]}),
            r"must hold images as bytes of shape \(N, 3072\), got float64 of shape \(2, 3072\)",
        ),
        (
            pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}),
            "must hold a class from 0 to 9 for each of 2 images",
        ),
        (
            pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 10]}),
            "must hold a class from 0 to 9 for each of 2 images",
        ),
    ],
)
def test_a_bad_cifar10_pickle_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_cifar(tmp_path, "python 2")
    (tmp_path / "data_batch_3").write_bytes(content)
    with pytest.raises(ValueError, match=f"{tmp_path}/data_batch_3 {message}"):
        load(f"cifar10:{tmp_path}")
    assert not Path("made-by-a-pickle").exists()


@pytest.mark.parametrize("size", [0, 3072, 3073 * 2 - 1])
def test_a_cifar10_binary_that_is_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    write_cifar(tmp_path, "binary")
    (tmp_path / "data_batch_2.bin").write_bytes(bytes(size))
    message = f"data_batch_2.bin must hold whole records of 3073 bytes, got {size} bytes: is it cut short"
    with pytest.raises(ValueError, match=message):
        load(f"cifar10:{tmp_path}")


# --- STL-10 -------------------------------------------------------------------------------------------------------


def write_stl(folder: Path) -> np.ndarray:
    """Write images column by column, and labels from 1, as published; return the images (5, 96, 96, 3)."""
    folder.mkdir(parents=True, exist_ok=True)
    images = RNG.integers(0, 256, (5, 96, 96, 3), dtype=np.uint8)
    columns = [image[:, column, channel] for image in images for channel in range(3) for column in range(96)]
    for split in ("train", "test", "unlabeled"):
        (folder / f"{split}_X.bin").write_bytes(np.concatenate(columns).tobytes())
    for split in ("train", "test"):
        (folder / f"{split}_y.bin").write_bytes(bytes([1, 10, 3, 2, 1]))
    return images


@pytest.mark.parametrize("inside", ["", "stl10_binary"])
@pytest.mark.parametrize("split", ["train", "test", "unlabeled"])
def test_stl10_is_mapped_and_turned_upright(tmp_path: Path, inside: str, split: str) -> None:
    images = write_stl(tmp_path / inside)
    dataset = load(f"stl10:{tmp_path}", split=split)
    assert isinstance(dataset.images, np.memmap)
    assert np.array_equal(dataset.images, images)
    if split == "unlabeled":
        assert dataset.labels is None
    else:
        assert dataset.labels is not None
        assert dataset.labels.tolist() == [0, 9, 2, 1, 0]


def test_a_missing_stl10_says_which_files_to_put_where(tmp_path: Path) -> None:
    message = (
        rf"STL-10 was not found in {tmp_path}: put there train_X.bin and train_y.bin \(archive stl10_binary"
    )
    with pytest.raises(FileNotFoundError, match=message):
        load(f"stl10:{tmp_path}")
    write_stl(tmp_path)
    (tmp_path / "train_y.bin").unlink()
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} lacks train_y.bin of train_X.bin, train_y.bin"):
        load(f"stl10:{tmp_path}")


def test_damaged_stl10_files_are_refused(tmp_path: Path) -> None:
    write_stl(tmp_path)
    (tmp_path / "test_X.bin").write_bytes(bytes(27648 * 2 + 1))
    with pytest.raises(
        ValueError, match=r"test_X.bin must hold whole records of 27648 bytes, got 55297 bytes"
    ):
        load(f"stl10:{tmp_path}", split="test")
    for labels in ([1, 2, 3, 4], [1, 2, 3, 4, 0], [1, 2, 3, 4, 11]):
        (tmp_path / "train_y.bin").write_bytes(bytes(labels))
        with pytest.raises(
            ValueError, match=r"train_y.bin must hold a class from 1 to 10 for each of 5 images"
        ):
            load(f"stl10:{tmp_path}")


# --- sources and files that are refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("svhn", "data must be digits, .*, stl10-unlabeled:DIR, .*, or a .npy or .npz file, got 'svhn'"),
        ("mnist", "`mnist` must be given with the folder that holds it, mnist:DIR, got 'mnist'"),
        ("digits:8", "`digits` must be given alone, got 'digits:8'"),
        ("", "data must be digits, .*, got ''"),
        ("data.csv", "data must be digits, .*, got 'data.csv'"),
        ("cifar10", "`cifar10` must be given with the folder that holds it, cifar10:DIR"),
        ("stl10:", "`stl10` must be given with the folder that holds it, stl10:DIR, got 'stl10:'"),
    ],
)
def test_an_unknown_source_is_refused(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(source)


@pytest.mark.parametrize(
    ("source", "split", "message"),
    [
        ("digits", "test", "the split of digits must be train, got 'test'"),
        ("cifar10:x", "unlabeled", "the split of cifar10 must be train or test, got 'unlabeled'"),
        ("stl10:x", "all", "the split of stl10 must be train or test or unlabeled, got 'all'"),
    ],
)
def test_an_unknown_split_is_refused(source: str, split: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(source, split=split)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([["a", "b"]] * 3), "a.npy must hold real numbers, got an array of type <U1"),
        (np.ones((3, 2), complex), "a.npy must hold real numbers, got an array of type complex128"),
        (np.ones(3), r"a.npy must have shape \(N, d\), \(N, h, w\) or \(N, h, w, c\), got \(3,\)"),
        (np.ones((3, 2, 2, 1, 1)), r"a.npy must have shape .*, got \(3, 2, 2, 1, 1\)"),
        (np.ones((1, 4)), r"a.npy must hold at least two samples, got shape \(1, 4\)"),
        (np.ones((3, 0)), r"a.npy must hold at least two samples, got shape \(3, 0\)"),
        (np.ones((0, 3)), r"a.npy must hold at least two samples, got shape \(0, 3\)"),
        (np.array([[1, None]]), "a.npy must be a .npy file with a plain numeric array: .*"),
    ],
)
def test_an_array_that_holds_no_samples_is_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=message):
        load(str(tmp_path / "a.npy"))


def test_damaged_and_missing_arrays_are_refused(tmp_path: Path) -> None:
    npy, npz = tmp_path / "a.npy", tmp_path / "a.npz"
    for path in (npy, npz):
        with pytest.raises(FileNotFoundError, match=f"{path} does not exist"):
            load(str(path))
    np.save(npy, np.ones((50, 4)))
    np.savez(npz, images=np.ones((50, 4)))
    for path, kind in ((npy, "a .npy file with a plain numeric array"), (npz, "an .npz archive of plain")):
        whole = path.read_bytes()
        for content in (whole[: len(whole) // 2], b"", b"text", whole[:-1]):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=f"{path} must be {kind}"):
                load(str(path))
        path.unlink()
        path.mkdir()
        with pytest.raises(ValueError, match=f"{path} must be a file, got a folder"):
            load(str(path))


def test_archives_without_plain_samples_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.ones((3, 2)), b=np.ones((3, 2)), y=np.arange(3))
    with pytest.raises(ValueError, match=r"must hold its samples as `images`, as `x` or .*, got a, b, y"):
        load(str(path))
    np.savez(path, y=np.arange(3))
    with pytest.raises(ValueError, match=r"must hold its samples as .*, got y"):
        load(str(path))
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(ValueError, match=r"must hold its samples as .*, got no arrays"):
        load(str(path))
    np.savez(path, images=np.array([[1, None]]))
    with pytest.raises(ValueError, match=r"must be an .npz archive of plain numeric arrays: .*"):
        load(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(
        ValueError, match=r"must be an .npz archive of plain numeric arrays: it holds other files"
    ):
        read_npz(path)


@pytest.mark.parametrize("labels", [np.zeros(3), np.zeros(2, int), np.zeros((3, 1), int)])
def test_labels_that_do_not_fit_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"the labels of toy must be 3 integers, got .* of shape"):
        Dataset(np.zeros((3, 2)), labels, "toy")


# --- centred and scaled, batch by batch --------------------------------------------------------------------------


@given(
    n=st.integers(2, 12),
    batch_size=st.integers(1, 15),
    center=st.booleans(),
    scale=st.booleans(),
    offset=st.sampled_from([0.0, 1e3]),
    seed=st.integers(0, 99),
)
def test_batches_are_those_of_the_whole_array(
    n: int, batch_size: int, center: bool, scale: bool, offset: float, seed: int
) -> None:
    images = offset + np.random.default_rng(seed).standard_normal((n, 3, 2))
    batches = standardised(images, center=center, scale=scale, batch_size=batch_size)
    assert (batches.n_samples, batches.shape) == (n, (3, 2, 1))
    sizes, X = zip(*[(len(batch), batch) for batch in batches.samples], strict=True)
    assert max(sizes) <= batch_size
    centred = images - images.mean(0)
    expected = (centred if center else images) / (centred.std() if scale else 1)
    # n eps of the offset for the mean, relative to the smallest deviation that these seeds give, some 0.3
    assert_allclose(np.concatenate(X), expected.reshape(n, 6), atol=12 * 2.3e-16 * 1e3 / 0.3, rtol=1e-12)
    words = [note.split()[0] for note in batches.notes]
    assert words == ["centred:"] * center + ["scaled"] * scale


class OnDisk:
    """Images that can be sliced and nothing else, as on a disk; remembers the longest slice."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = images
        self.shape = images.shape
        self.longest = 0

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, item: slice) -> np.ndarray:
        part = self._images[item]
        self.longest = max(self.longest, len(part))
        return part


def test_images_are_only_sliced_and_progress_is_told() -> None:
    images, calls = OnDisk(RNG.integers(0, 256, (10, 2, 2), dtype=np.uint8)), []
    batches = standardised(images, batch_size=4, progress=lambda done, total: calls.append((done, total)))
    assert len(list(batches.samples)) == 3
    assert images.longest == 4
    assert calls == [(done, 20) for done in (4, 8, 10, 14, 18, 20)]


def test_bytes_do_not_overflow() -> None:
    images = np.array([[0], [255]], np.uint8)
    assert np.concatenate(list(standardised(images).samples)).tolist() == [[-1], [1]]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros(4), r"images must have shape \(N, d\), \(N, h, w\) or \(N, h, w, c\), got \(4,\)"),
        (np.zeros((1, 4)), r"images must be at least two and not empty, got shape \(1, 4\)"),
        (np.zeros((4, 0)), r"images must be at least two and not empty, got shape \(4, 0\)"),
        (np.array([["a"], ["b"]]), "`images` must be real numbers, got <U1"),
        (np.array([[1j], [2]]), "`images` must be real numbers, got complex128"),
        (np.array([[0, 1], [2, np.nan], [3, 4]]), r"`images` must be finite, got nan at \(1, 1\)"),
        (np.array([[[0]], [[1]], [[np.inf]]]), r"`images` must be finite, got inf at \(2, 0, 0\)"),
        (np.zeros((4, 3)), "images must differ from one another, got 4 that are the same to rounding"),
        (np.full((20, 3), 0.1), "images must differ from one another, got 20 that are the same to rounding"),
        (np.array([[1e300], [-1e300]]), "images must have a variance that float64 can hold"),
    ],
)
def test_images_that_have_no_moments_are_refused(images: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(standardised(images, batch_size=10).samples)


@pytest.mark.parametrize("size", [0, -1, 2.0])
def test_a_batch_has_at_least_one_image(size: Any) -> None:
    with pytest.raises(ValueError, match=f"`batch_size` must be an integer >= 1, got {size}"):
        standardised(np.eye(3), batch_size=size)


def test_constant_images_are_accepted_as_they_are() -> None:
    batches = standardised(np.ones((3, 2)), center=False, scale=False)
    assert np.array_equal(np.concatenate(list(batches.samples)), np.ones((3, 2)))


@pytest.mark.parametrize(("center", "scale"), [(True, False), (False, True), (True, True)])
def test_equal_images_are_refused_where_either_step_needs_them_apart(center: bool, scale: bool) -> None:
    same = np.full((3, 4), 0.5)
    with pytest.raises(ValueError, match="must differ from one another"):
        standardised(same, center=center, scale=scale)
    assert_allclose(np.concatenate(list(standardised(same, center=False, scale=False).samples)), same)


# --- MNIST's layout and photographs -------------------------------------------------------------------------------


def write_idx(path: Path, array: np.ndarray, *, magic: bytes = b"\0\0\x08") -> None:
    content = magic + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("split", "part"), [("train", "train"), ("test", "t10k")])
def test_mnist_is_read_as_published(tmp_path: Path, suffix: str, split: str, part: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 4), dtype=np.uint8)
    labels = np.arange(7, dtype=np.uint8) % 3
    write_idx(tmp_path / f"{part}-images-idx3-ubyte{suffix}", images)
    write_idx(tmp_path / f"{part}-labels-idx1-ubyte{suffix}", labels)
    found = load(f"mnist:{tmp_path}", split=split)
    assert_array_equal(found.images[..., 0], images)
    assert_array_equal(found.labels, labels)


def test_damaged_files_of_mnist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match="put there train-images-idx3-ubyte and train-labels-idx1-ubyte"
    ):
        load(f"mnist:{tmp_path}")
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
    write_idx(images, np.zeros((3, 2, 2), np.uint8))
    write_idx(labels, np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match="must have a label for each image, got 2 for 3"):
        load(f"mnist:{tmp_path}")
    labels.write_bytes(labels.read_bytes()[:-1])
    with pytest.raises(ValueError, match="must hold 2 values, as its head says, got 1"):
        load(f"mnist:{tmp_path}")
    write_idx(images, np.zeros((3, 2, 2), np.uint8), magic=b"\0\0\x0d")
    with pytest.raises(ValueError, match="must be an IDX file of bytes with 3 axes"):
        load(f"mnist:{tmp_path}")
    images.unlink()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"plain")
    with pytest.raises(ValueError, match="must be a gzip file"):
        load(f"mnist:{tmp_path}")


def test_patches_tile_the_photographs() -> None:
    from sklearn.datasets import load_sample_images

    found = load("photos:100")
    first, second = load_sample_images().images
    assert found.images.shape == (48, 100, 100, 3)
    assert_array_equal(found.images[7], first[100:200, 100:200])
    assert_array_equal(found.images[24], second[:100, :100])
    assert found.labels is not None
    assert found.labels.tolist() == [0] * 24 + [1] * 24
    assert load("photos").images.shape[1:] == (8, 8, 3)


@pytest.mark.parametrize("side", ["0", "-1", "428", "8.0", "²"])
def test_patches_of_no_side_are_refused(side: str) -> None:
    with pytest.raises(ValueError, match="must be an integer from 1 to 427"):
        load(f"photos:{side}")
