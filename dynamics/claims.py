"""Claims on files: one writer at a time, and no input that is an output."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from dynamics.files import named_on_failure

_claims: set[str] = set()  # real paths that this process has claimed


@contextmanager
def claimed(path: Path | None) -> Iterator[None]:
    """Keep other processes from writing to `path` within the block; None claims nothing.

    The claim ends with the process, however that ends. It is a lock on a file in the system's folder for temporary
    files, and holds among the processes of one user on one machine. Within a process claims may be nested.

    Raises
    ------
    ValueError
        Another process has claimed it: which one.

    Examples
    --------
    >>> with claimed(Path("run.csv")), claimed(None):
    ...     pass
    """
    real = None if path is None else os.path.realpath(path)
    if path is None or real is None or real in _claims:
        yield
        return
    import hashlib  # here: these two take a tenth of the time in which a scalar run is over
    import tempfile

    home = Path(tempfile.gettempdir()) / f"dyn-{os.getuid()}"
    with named_on_failure(path):
        home.mkdir(mode=0o700, exist_ok=True)
    lock = home / f"{hashlib.sha256(os.fsencode(real)).hexdigest()[:32]}.lock"
    with _lock_file(lock, path) as file:
        file.write(f"{os.getpid()} {real}\n")
        file.flush()
        _claims.add(real)
        try:
            yield
        finally:
            _claims.remove(real)
            lock.unlink(missing_ok=True)


@contextmanager
def _lock_file(lock: Path, path: Path) -> Iterator[TextIO]:
    while True:
        with lock.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().partition(" ")[0]
                raise ValueError(
                    f"cannot write {path}: {f'process {holder}' if holder else 'another process'} is writing it;"
                    " wait, end it, or name another file"
                ) from None
            try:
                held = os.path.samestat(os.fstat(file.fileno()), lock.stat())
            except FileNotFoundError:
                held = False
            if held:  # else its holder has just removed it
                file.truncate(0)
                yield file
                return


def check_distinct(reads: Mapping[str, Path], writes: Mapping[str, Path]) -> None:
    """Refuse to write over what is read, and to write two things to one place.

    Parameters
    ----------
    reads, writes
        Paths by the name of what gave them. Links are followed: two names of one file are one file.

    Raises
    ------
    ValueError
        Two of them are the same file, and at least one is written.

    Examples
    --------
    >>> check_distinct({"--data": Path("digits.npz")}, {"--out": Path("./digits.npz")})
    Traceback (most recent call last):
    ValueError: --out must be another file than --data, got digits.npz for both
    """
    seen = dict(reads)
    for name, path in writes.items():
        for other, there in seen.items():
            if _same_file(path, there):
                raise ValueError(f"{name} must be another file than {other}, got {path} for both")
        seen[name] = path


def _same_file(one: Path, other: Path) -> bool:
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return one.samefile(other) and one.is_file()
    except OSError:
        return False
