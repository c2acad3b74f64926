"""The store of a sweep: a Zarr group that xarray opens, filled chunk by chunk, whose marks survive any death.

    STORE.zarr/              one array a result, parameter and drawn parameter, with named dimensions
    STORE.zarr/.sweep/lock   held (flock) while a process writes; it dies with the process
    STORE.zarr/.sweep/spec   what sweep this is, written when all arrays exist
    STORE.zarr/.sweep/done   a line a finished chunk: number, checksum of its values, number of failed runs

A chunk's files are written first, each to another name and moved into place, then its line is added. A process that
is killed in between leaves files without a line, which are written again, or half a line, which does not count.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import platform
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import numpy as np

from analysis.sweeps.design import Constant, Design

if TYPE_CHECKING:
    import zarr

_LIBRARIES = ("dyn-byol", "numpy", "scipy", "xarray", "zarr")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Mark(NamedTuple):
    """What is known of a finished chunk: CRC-32 of its values, and how many of its runs failed."""

    checksum: int
    failed: int


@dataclass(frozen=True)
class Chunks:
    """A cut of a row-major grid of runs into chunks of consecutive runs that are boxes as well.

    Parameters
    ----------
    shape
        Lengths of the axes.
    box
        Lengths of a chunk: ones, then a part of one axis, then whole axes.
    """

    shape: tuple[int, ...]
    box: tuple[int, ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], runs: int) -> Chunks:
        """Cut into chunks of about, and at most, so many runs (but at least one).

        >>> Chunks.of((10, 6, 5), 12)
        Chunks(shape=(10, 6, 5), box=(1, 2, 5))
        """
        box, inner = [1] * len(shape), 1
        for axis in reversed(range(len(shape))):
            parts = math.ceil(shape[axis] / max(1, runs // inner))
            # even parts, for a last one that is short takes as much of the disk as the others
            box[axis] = math.ceil(shape[axis] / parts)
            if parts > 1:
                break
            inner *= shape[axis]
        return cls(shape, tuple(box))

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of chunks along each axis."""
        return tuple(math.ceil(n / k) for n, k in zip(self.shape, self.box, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def slices(self, number: int) -> tuple[slice, ...]:
        """Where chunk `number` lies in an array of results."""
        at = np.unravel_index(number, self.counts)
        return tuple(
            slice(int(i) * k, min((int(i) + 1) * k, n))
            for i, k, n in zip(at, self.box, self.shape, strict=True)
        )

    def range(self, number: int) -> tuple[int, int]:
        """First run of chunk `number`, and the first that is not in it any more."""
        inside = self.slices(number)
        start = int(np.ravel_multi_index(tuple(part.start for part in inside), self.shape))
        return start, start + math.prod(part.stop - part.start for part in inside)


class Store:
    """A store that this process, and no other, may write to.

    Parameters
    ----------
    path
        Folder; made if it does not exist, continued if it holds the same sweep.
    design
        The sweep.

    Raises
    ------
    ValueError
        The place cannot be written to, another process writes to it, or it holds something else: another sweep
        (with the entries that differ), or no sweep at all.
    """

    def __init__(self, path: str | Path, design: Design):
        self.path, self.design = Path(path), design
        self._home = self.path / ".sweep"
        self._make_folders()
        self._lock = self._locked()
        try:
            self.begun = self._begun()
            self.marks = self._marks() if self.begun else {}
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if list(self.path.iterdir()) == [self._home] and not self.begun:  # refused: leave nothing behind
            shutil.rmtree(self._home)
            self.path.rmdir()
        self._lock.close()

    # ------------------------------------------------------------------------------------------------ opening

    def _make_folders(self) -> None:
        checked_place(self.path)
        try:
            self._home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot write {self.path}: {error.strerror}") from None

    def _locked(self) -> TextIO:
        try:
            lock = (self._home / "lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise ValueError(f"cannot write {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(os.fstat(lock.fileno()), os.stat(lock.name))
        except FileNotFoundError:  # the holder has just removed it
            held = False
        except OSError as error:
            held = False
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                lock.close()
                raise ValueError(f"cannot lock {self.path}: {error.strerror}") from None
        if not held:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            lock.close()
            raise ValueError(f"{self.path} is being written by {holder}: wait, or end it first")
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}\n")
        lock.flush()
        return lock

    def _begun(self) -> dict[str, Any] | None:
        """The entry `spec`, once this sweep has been begun here."""
        spec = self._home / "spec"
        if not spec.exists():
            return None
        begun: dict[str, Any] = json.loads(spec.read_text(encoding="utf-8"))
        differing = _differences(begun["sweep"], json.loads(json.dumps(self.design.identity)))
        if differing:
            raise ValueError(f"{self.path} holds another sweep, with {'; '.join(differing)}")
        return begun

    @property
    def chunks(self) -> Chunks:
        """How the runs are cut into chunks; fixed when the sweep is begun."""
        assert self.begun is not None
        return Chunks(self.design.shape, tuple(self.begun["chunk"]))

    def _marks(self) -> dict[int, Mark]:
        """Chunks marked as done. Half a line at the end, of a process that was killed, is cut off."""
        done = self._home / "done"
        text = done.read_bytes() if done.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:
            os.truncate(done, len(whole))
        entries = (line.split() for line in whole.decode("ascii").splitlines())
        return {int(number): Mark(int(checksum), int(failed)) for number, checksum, failed in entries}

    def begin(self, chunk: int) -> None:
        """Make all arrays of a new store, with coordinates and attributes, cut into chunks of about `chunk` runs."""
        chunks = Chunks.of(self.design.shape, chunk)
        design = self.design
        # what a process left that was killed in this very place
        for name in (*design.parameters, *design.outputs):
            shutil.rmtree(self.path / name, ignore_errors=True)
        (self.path / "zarr.json").unlink(missing_ok=True)
        try:
            _make_arrays(self.path, self.design, chunks)
            self.begun = {"sweep": self.design.identity, "chunk": chunks.box, "versions": versions()}
            new = self._home / "spec.new"
            new.write_text(json.dumps(self.begun), encoding="utf-8")
            new.replace(self._home / "spec")
        except OSError as error:
            raise self._in_words(error) from None

    # ---------------------------------------------------------------------------------------- reading, writing

    @cached_property
    def _arrays(self) -> dict[str, zarr.Array[Any]]:
        """What is filled chunk by chunk, by name."""
        import zarr

        group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
        arrays = {}
        for name in self.design.stored:
            array = group.get(name)
            if not isinstance(array, zarr.Array):
                raise ValueError(f"{self.path} has lost its array {name}: delete it and begin again")
            # a chunk of zeros is a chunk: looking for such costs time, and a missing file is a damage
            arrays[name] = array.with_config({"write_empty_chunks": True})
        return arrays

    def write(self, number: int, values: Mapping[str, np.ndarray], failed: int) -> None:
        """Write a chunk, then mark it as done.

        Raises
        ------
        OSError
            The disk is full, or writing failed: the message says what is kept.
        """
        inside = self.chunks.slices(number)
        values = {name: values[name] for name in self.design.stored}
        try:
            for name, array in self._arrays.items():
                box = tuple(part.stop - part.start for part in inside)
                array[inside] = values[name].reshape(*box, *values[name].shape[1:])
            mark = Mark(checksum(values), failed)
            # one write of one line: other lines are not touched, whatever happens
            with (self._home / "done").open("ab", buffering=0) as done:
                done.write(f"{number} {mark.checksum} {mark.failed}\n".encode("ascii"))
        except OSError as error:
            raise self._in_words(error) from error
        self.marks[number] = mark

    def verify(self) -> list[int]:
        """Read all chunks marked as done; those with other values than were written lose their marks.

        Returns
        -------
        list
            Numbers of the damaged chunks.
        """
        for partial in self.path.rglob("*.partial"):  # what killed processes were writing
            partial.unlink()
        damaged = [number for number in self.marks if not self._intact(number)]
        for number in damaged:
            del self.marks[number]
        lines = [f"{number} {mark.checksum} {mark.failed}\n" for number, mark in self.marks.items()]
        if damaged:
            new = self._home / "done.new"
            new.write_text("".join(lines), encoding="ascii")
            new.replace(self._home / "done")
        return damaged

    def _intact(self, number: int) -> bool:
        inside = self.chunks.slices(number)
        try:
            values = {name: np.asarray(array[inside]) for name, array in self._arrays.items()}
        except (OSError, ValueError):  # a file cut short does not decode
            return False
        return checksum(values) == self.marks[number].checksum

    def missing(self) -> list[int]:
        """Numbers of the chunks that are still to be done."""
        return [number for number in range(len(self.chunks)) if number not in self.marks]

    @property
    def completed(self) -> int:
        """Number of runs that are done."""
        ranges = (self.chunks.range(number) for number in self.marks)
        return sum(stop - start for start, stop in ranges)

    def _in_words(self, error: OSError) -> OSError:
        if error.errno not in _FULL:
            return OSError(f"cannot write {self.path}: {error.strerror or error}")
        kept = f"{len(self.marks)} finished chunks are kept" if self.begun else "nothing was computed"
        return OSError(
            f"the disk with {self.path} is full, {kept}: make room and run the same command again to go on"
        )


def checksum(values: Mapping[str, np.ndarray]) -> int:
    """CRC-32 of arrays in their order, bit by bit.

    >>> checksum({"a": np.zeros(2)}) == checksum({"a": np.array([0.0, -0.0])})
    False
    """
    crc = 0
    for array in values.values():
        crc = zlib.crc32(np.ascontiguousarray(array).data.cast("B"), crc)
    return crc


def versions() -> dict[str, str]:
    """Versions of what the values depend on."""
    return {name: version(name) for name in _LIBRARIES} | {"python": platform.python_version()}


def checked_place(path: Path) -> None:
    """Refuse a path where no store can be, without writing anything.

    Raises
    ------
    ValueError
        Its folder does not exist or cannot be written to, or there is something else than a store of a sweep.
    """
    from dynamics.files import checked_target

    if not path.exists():
        checked_target(path)
    elif not path.is_dir():
        raise ValueError(f"{path} must be a folder, or not exist, got a file")
    elif not (path / ".sweep").is_dir() and next(path.iterdir(), None) is not None:
        raise ValueError(f"{path} holds something that is no sweep: give a new place")
    elif not os.access(path, os.W_OK):
        raise ValueError(f"cannot write {path}: the folder is not writable")


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "") -> list[str]:
    """Entries that differ, in words; at most five."""
    found = []
    for name in dict.fromkeys((*old, *new)):
        a, b = old.get(name), new.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping) and where in ("", "parameters."):
            found += _differences(a, b, f"{where}{name}.")
        elif a != b:
            found.append(f"{where}{name} = {json.dumps(a)}, not {json.dumps(b)}")
    return list(islice(found, 5))


def _make_arrays(path: Path, design: Design, chunks: Chunks) -> None:
    """Group, arrays, coordinates and attributes; of results, metadata only."""
    import warnings

    import zarr
    import zarr.errors

    scalars = {n: item.value for n, item in design.parameters.items() if isinstance(item, Constant)}
    attributes = {
        "title": f"sweep of {design.size} runs",
        "kind": design.kind,
        "seed": design.seed,
        "spec": json.dumps(design.identity, ensure_ascii=False),
        "settings": json.dumps(dict(design.settings), ensure_ascii=False),
        "versions": json.dumps(versions()),
        # xarray makes coordinates of these
        "coordinates": " ".join([*scalars, *(name for name in design.draws if name in design.stored)]),
    }
    group = zarr.create_group(path, attributes=attributes)

    def coordinate(name: str, values: np.ndarray, dims: tuple[str, ...], about: dict[str, Any]) -> None:
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            dimension_names=dims,
            attributes=about,
            compressors=None,
        )
        array[...] = values

    def to_be_filled(name: str, dtype: str, dims: tuple[tuple[str, int], ...], about: dict[str, Any]) -> None:
        floating = np.dtype(dtype).kind == "f"
        group.create_array(
            name,
            shape=(*chunks.shape, *(length for _, length in dims)),
            chunks=(*chunks.box, *(length for _, length in dims)),
            dtype=dtype,
            fill_value=np.nan if floating else 0,
            dimension_names=(*design.dims, *(dim for dim, _ in dims)),
            attributes=about,
            compressors=None,  # ends of trajectories do not compress, and this keeps pace with computing them
        )

    meanings = {
        name: {"long_name": meaning.meaning, "units": meaning.units}
        for name, meaning in design.meanings.items()
    }
    for name, values in design.axes.items():
        coordinate(name, values.astype(design.column_dtype(name)), (name,), meanings[name])
    for name, value in scalars.items():
        coordinate(name, np.array(value, design.column_dtype(name)), (), meanings[name])
    for name, output in design.stored.items():
        if output is None:
            to_be_filled(name, design.column_dtype(name), (), meanings[name])
            continue
        about = {"long_name": output.meaning, "units": output.units, **dict(output.attributes)}
        to_be_filled(name, output.dtype, output.dims, about)
    with warnings.catch_warnings():
        # Zarr warns that other programs may not know this entry, which xarray writes and reads as well, and that
        # our own folder is no array
        for message in ("Consolidated metadata is", "Object at .sweep is"):
            warnings.filterwarnings("ignore", message, category=zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(path)
