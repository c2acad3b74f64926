"""Results on disk: arrays with named axes and a description, written whole or not at all.

The suffix picks the format: ``.npz`` (NumPy), ``.csv`` (one row a time), ``.json``, ``.nc`` (netCDF, by xarray).
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynamics.states import State

if TYPE_CHECKING:
    import xarray

SUFFIXES = (".npz", ".csv", ".json", ".nc")
_PART = ".part"  # at the end of names of files that are not complete


class Variable(NamedTuple):
    """An array with a name for each axis.

    Parameters
    ----------
    dims
        Names of the axes, such as ("t", "mode"); an array named like its only axis is a coordinate.
    values
        The array.
    """

    dims: tuple[str, ...]
    values: np.ndarray


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to whose file takes the place of `path` when the block ends well, and is gone if not.

    A symbolic link stays one: its target is replaced. A file that was there keeps its permissions. On Linux the new
    file has no name until it is complete, so that a process that is killed leaves nothing behind; elsewhere, and for
    the instant of the exchange, its name starts with a dot and the next write to `path` removes it.

    Raises
    ------
    ValueError
        The folder does not exist or cannot be written to, or the file cannot be written, such as on a full disk.
    """
    given, path = path, Path(os.path.realpath(path))
    checked_target(path, given)
    _remove_leftovers(path)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        mode = 0o666 & ~umask
    named = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}{_PART}")
    handle, temporary = _open_new(named, given)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # it is in use: `_remove_leftovers` of others leaves it alone
        with named_on_failure(given, temporary):
            yield temporary
            os.fchmod(handle, mode)
            if temporary != named:
                os.link(temporary, named, src_dir_fd=handle)  # given one, it follows the link to the file
            named.replace(path)
    finally:
        named.unlink(missing_ok=True)
        os.close(handle)


def _open_new(named: Path, given: Path) -> tuple[int, Path]:
    """Open a new file: without a name where the system has such files, else as `named`; and the path to write to."""
    if hasattr(os, "O_TMPFILE"):
        try:
            handle = os.open(named.parent, os.O_TMPFILE | os.O_RDWR, 0o600)
        except OSError:  # some file systems have none
            pass
        else:
            nameless = Path(f"/proc/self/fd/{handle}")
            if nameless.exists():
                return handle, nameless
            os.close(handle)
    try:
        return os.open(named, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), named
    except OSError as error:
        raise ValueError(f"cannot write {given}: {error.strerror}") from None


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of writing to `path`: files that nobody has locked."""
    for name in os.listdir(path.parent) if os.access(path.parent, os.R_OK) else ():
        if not (name.startswith(f".{path.name}.") and name.endswith(_PART)):
            continue
        left = path.with_name(name)
        with suppress(OSError), left.open("rb") as file:  # in use, or another process was faster
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink(missing_ok=True)


@contextmanager
def named_on_failure(path: Path, *written: Path) -> Iterator[None]:
    """Turn failures to write, such as on a full disk, into one sentence that names the file."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and Path(os.fsdecode(error.filename)) not in (path, *written):
            raise
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error


def append(path: Path, text: str) -> None:
    """Add text at the end of a file: all of it, or nothing.

    Raises
    ------
    ValueError
        It cannot be written, such as on a full disk; the file is then as it was.
    """
    with named_on_failure(path), path.open("ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        rest = memoryview(text.encode())
        try:
            # one call to the system writes it all, unless there is too little room: a kill falls between two texts
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(end)
            raise


def checked_suffix(path: str | Path, accepted: tuple[str, ...]) -> Path:
    """Return `path` if its suffix is one of those accepted.

    Raises
    ------
    ValueError
        Another suffix: which are accepted and what was given.

    Examples
    --------
    >>> checked_suffix("run.npz", SUFFIXES).suffix
    '.npz'
    """
    path = Path(path)
    if path.suffix.lower() not in accepted:
        raise ValueError(f"a file name must end in {', '.join(accepted)}, got {str(path)!r}")
    return path


def checked_target(path: Path, given: Path | None = None) -> Path:
    """Return `path` if a file can be written there; messages call it `given`, where that is another name of it.

    Raises
    ------
    ValueError
        It is a folder, or its own folder does not exist or cannot be written to.

    Examples
    --------
    >>> checked_target(Path("no/such/folder/run.npz"))
    Traceback (most recent call last):
    ValueError: cannot write no/such/folder/run.npz: the folder no/such/folder does not exist
    """
    name, folder = path if given is None else given, Path(os.path.realpath(path)).parent
    if path.is_dir():
        raise ValueError(f"cannot write {name}: it is a folder")
    if path.exists() and not path.is_file():
        raise ValueError(f"cannot write {name}: it is no ordinary file")
    if not folder.is_dir():
        shown = path.parent if not path.is_symlink() else folder
        raise ValueError(f"cannot write {name}: the folder {shown} does not exist")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"cannot write {name}: the folder {path.parent} is not writable")
    return path


def check_file(path: Path) -> None:
    """Refuse a path that is not an existing file.

    >>> check_file(Path("missing.npz"))
    Traceback (most recent call last):
    FileNotFoundError: missing.npz does not exist
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if not path.is_file():
        raise ValueError(f"{path} must be a file, got a folder")


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an ``.npz`` archive, by name.

    Parameters
    ----------
    path
        The archive; arrays of Python objects are refused, for reading them could run code.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no archive of plain arrays, or it is damaged.

    Examples
    --------
    >>> read_npz(Path("missing.npz"))
    Traceback (most recent call last):
    FileNotFoundError: missing.npz does not exist
    """
    import zipfile
    import zlib

    check_file(path)
    try:
        # np.load would also open a lone array or a pickle
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
            if not all(isinstance(array, np.ndarray) for array in arrays.values()):
                raise ValueError("it holds other files too")
            return arrays
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} must be an .npz archive of plain numeric arrays: {error}") from None


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays to an ``.npz`` archive; a file that exists is replaced when the new one is complete."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_state(path: str | Path, kind: type[State]) -> State:
    """Read a state of matrices from an ``.npz`` archive that holds its parts by name.

    Arrays with time first, as `write_arrays` stores a run, give the last state.

    Parameters
    ----------
    path
        The archive.
    kind
        The state: a `MatrixState`, whose `target` may be left out where it equals `online`, or an `EncoderState`.

    Raises
    ------
    ValueError
        A file that is no such archive, missing arrays, or shapes that do not fit.
    """
    arrays = read_npz(Path(path))
    missing = [name for name in kind._fields if name not in arrays and name != "target"]
    if missing:
        raise ValueError(f"{path} must hold {', '.join(missing)}, got {', '.join(arrays) or 'nothing'}")
    arrays.setdefault("target", arrays["online"])
    parts = []
    for name in kind._fields:
        values = arrays[name]
        last = values[-1] if values.ndim == 3 else values
        if last.ndim != 2 or last.size == 0 or last.dtype.kind not in "fiu":
            raise ValueError(
                f"{path}: {name} must be a real matrix, or matrices with time first,"
                f" got shape {values.shape} of {values.dtype}"
            )
        parts.append(last.astype(np.float64))
    return kind._make(parts)


def load_predictor(path: str | Path) -> np.ndarray:
    """Read a predictor (n2, n2) from a ``.npy`` file, or from `predictor` in an ``.npz`` archive.

    Arrays with time first give the last one.

    Raises
    ------
    ValueError
        A file that is neither, a missing array, or one that is no matrix of numbers.
    """
    path = Path(path)
    if path.suffix == ".npy":
        check_file(path)
        try:
            values = np.load(path, allow_pickle=False)
        except (EOFError, ValueError) as error:
            raise ValueError(f"{path} must be a .npy file of numbers: {error}") from None
    else:
        arrays = read_npz(path)
        if "predictor" not in arrays:
            raise ValueError(f"{path} must hold predictor, got {', '.join(arrays) or 'nothing'}")
        values = arrays["predictor"]
    last = values[-1] if values.ndim == 3 else values
    if last.ndim != 2 or last.dtype.kind not in "fiuc":
        raise ValueError(
            f"{path}: the predictor must be a matrix, got shape {values.shape} of {values.dtype}"
        )
    return last


def write_arrays(path: str | Path, variables: Mapping[str, Variable], meta: Mapping[str, Any]) -> None:
    """Write arrays and their description to `path`, in the format of its suffix.

    Parameters
    ----------
    path
        Ends in .npz, .csv, .json or .nc; replaced only when the new file is complete.
    variables
        Arrays by name; all of them share the first axis ("t").
    meta
        Description, written as JSON: entry ``meta`` of .npz and .json, attribute ``meta`` of .nc. A .csv has none, so
        that every program reads it as it is: a line of names and lines of numbers.

    Raises
    ------
    ValueError
        Unknown suffix, or a place that cannot be written to.
    """
    path = checked_suffix(path, SUFFIXES)
    writers: dict[str, Callable[[Path, Mapping[str, Variable], Mapping[str, Any]], None]] = {
        ".npz": _write_npz,
        ".csv": _write_csv,
        ".json": _write_json,
        ".nc": _write_netcdf,
    }
    with replacing(path) as temporary:
        writers[path.suffix.lower()](temporary, variables, meta)


def _write_npz(path: Path, variables: Mapping[str, Variable], meta: Mapping[str, Any]) -> None:
    arrays: dict[str, Any] = {name: variable.values for name, variable in variables.items()}
    with path.open("wb") as file:  # given a name, savez would add a suffix of its own to RUN.NPZ
        np.savez(file, meta=np.array(json.dumps(meta)), **arrays)


def _write_csv(path: Path, variables: Mapping[str, Variable], _meta: Mapping[str, Any]) -> None:
    columns: dict[str, np.ndarray] = {}
    for name, (_, values) in variables.items():
        if values.ndim == 1:
            columns[name] = values
            continue
        for index in np.ndindex(values.shape[1:]):
            columns["_".join([name, *map(str, index)])] = values[(slice(None), *index)]
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(columns) + "\n")
        # repr gives the shortest text that reads back as the same float64
        for row in zip(*columns.values(), strict=True):
            file.write(",".join(repr(value.item()) for value in row) + "\n")


def _write_json(path: Path, variables: Mapping[str, Variable], meta: Mapping[str, Any]) -> None:
    arrays = {name: variable.values.tolist() for name, variable in variables.items()}
    path.write_text(json.dumps({"meta": meta, **arrays}, allow_nan=False) + "\n", encoding="utf-8")


def _write_netcdf(path: Path, variables: Mapping[str, Variable], meta: Mapping[str, Any]) -> None:
    dataset(variables, {"meta": json.dumps(meta)}).to_netcdf(path, engine="scipy")


def dataset(variables: Mapping[str, Variable], attributes: Mapping[str, Any]) -> xarray.Dataset:
    """Arrays as an xarray Dataset.

    >>> dataset({"t": Variable(("t",), np.zeros(3))}, {}).sizes["t"]
    3
    """
    import xarray

    return xarray.Dataset(
        {name: (variable.dims, variable.values) for name, variable in variables.items()}, attrs=attributes
    )
