"""Files on disk: every format reads back bit for bit in other programs, and is written whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
import xarray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dynamics.claims import check_distinct, claimed
from dynamics.files import SUFFIXES, Variable, append, checked_suffix, replacing, write_arrays

META = {"variant": "full", "lambda_s": [1.0, 0.1 + 0.2], "note": "two\nlines, a comma and Σ"}
Read = Callable[[Path], tuple[dict[str, np.ndarray], dict[str, Any] | None]]


def sample(values: np.ndarray | None = None) -> dict[str, Variable]:
    """Modes and a matrix over three times, with numbers that no short decimal holds and the ends of the range."""
    rng = np.random.default_rng(0)
    limits = np.finfo(np.float64)
    online = np.array([[limits.max, limits.tiny], [-limits.smallest_subnormal, -0.0], [0.1 + 0.2, 1 / 3]])
    return {
        "t": Variable(("t",), np.array([0.0, 1e-300, 1e300])),
        "online": Variable(("t", "mode"), online if values is None else values),
        "predictor": Variable(("t", "row", "column"), rng.standard_normal((3, 2, 2))),
    }


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype == np.float64 and a.shape == b.shape and a.tobytes() == b.tobytes()


# --- readers that know nothing of this project --------------------------------------------------------------


def read_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with np.load(path, allow_pickle=False) as file:
        found = dict(file)
    return found, json.loads(str(found.pop("meta")))


def read_json(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))
    meta = found.pop("meta")
    return {name: np.array(values) for name, values in found.items()}, meta


def read_netcdf(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with xarray.open_dataset(path) as dataset:
        dataset.load()
    # netCDF-3 is big-endian: the same numbers in another byte order
    return {str(name): np.asarray(v.values, np.float64) for name, v in dataset.variables.items()}, json.loads(
        dataset.attrs["meta"]
    )


def from_columns(columns: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], None]:
    names = {"t": ["t"], "online": ["online_0", "online_1"]}
    names["predictor"] = [f"predictor_{i}_{j}" for i in (0, 1) for j in (0, 1)]
    assert list(columns) == [*chain.from_iterable(names.values())]
    shapes = {"t": (3,), "online": (3, 2), "predictor": (3, 2, 2)}
    found = {
        name: np.stack([columns[column] for column in names[name]], axis=-1).reshape(shape)
        for name, shape in shapes.items()
    }
    return found, None


def read_csv(path: Path) -> tuple[dict[str, np.ndarray], None]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return from_columns({name: np.array([float(row[k]) for row in rows]) for k, name in enumerate(header)})


def read_csv_with_pandas(path: Path) -> tuple[dict[str, np.ndarray], None]:
    frame = pd.read_csv(path, engine="python")  # which reads numbers as Python does, exactly
    return from_columns({name: frame[name].to_numpy() for name in frame.columns})


def read_csv_with_numpy(path: Path) -> tuple[dict[str, np.ndarray], None]:
    table = np.genfromtxt(path, names=True, delimiter=",")
    return from_columns({name: np.asarray(table[name]) for name in table.dtype.names})


READERS: dict[str, tuple[str, Read]] = {
    "npz": ("x.npz", read_npz),
    "capitals": ("x.NPZ", read_npz),
    "csv": ("x.csv", read_csv),
    "pandas": ("x.csv", read_csv_with_pandas),
    "numpy": ("x.csv", read_csv_with_numpy),
    "json": ("x.json", read_json),
    "nc": ("x.nc", read_netcdf),
}


@pytest.mark.parametrize("name", READERS)
def test_every_format_reads_back_the_same_bits(name: str, tmp_path: Path) -> None:
    file, read = READERS[name]
    variables = sample()
    write_arrays(tmp_path / file, variables, META)
    found, meta = read(tmp_path / file)
    assert meta == (None if file.endswith(".csv") else META)  # a CSV holds the numbers alone
    assert found.keys() == variables.keys()
    assert {key: same_bits(found[key], variables[key].values) for key in found} == dict.fromkeys(found, True)
    assert os.listdir(tmp_path) == [file]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=arrays(np.float64, (3, 2), elements=st.floats(allow_nan=False, allow_infinity=False)))
@pytest.mark.parametrize("name", READERS)
def test_any_finite_number_reads_back(name: str, values: np.ndarray, tmp_path: Path) -> None:
    file, read = READERS[name]
    write_arrays(tmp_path / file, sample(values), {})
    assert same_bits(read(tmp_path / file)[0]["online"], values)


@pytest.mark.parametrize("name", ["npz", "csv", "pandas", "numpy", "nc"])
def test_what_is_not_finite_reads_back_where_the_format_can_hold_it(name: str, tmp_path: Path) -> None:
    file, read = READERS[name]
    values = np.array([[np.nan, np.inf], [-np.inf, 0.0], [1.0, 2.0]])
    write_arrays(tmp_path / file, sample(values), {})
    np.testing.assert_array_equal(read(tmp_path / file)[0]["online"], values)


def test_netcdf_names_the_axes_and_makes_time_a_coordinate(tmp_path: Path) -> None:
    write_arrays(tmp_path / "x.nc", sample(), META)
    with xarray.open_dataset(tmp_path / "x.nc") as dataset:
        assert dict(dataset.sizes) == {"t": 3, "mode": 2, "row": 2, "column": 2}
        assert list(dataset.coords) == ["t"]
        assert dataset["predictor"].dims == ("t", "row", "column")


# --- whole or not at all ------------------------------------------------------------------------------------


@contextmanager
def file_size_limit(n_bytes: int) -> Iterator[None]:
    """Let any write beyond a size fail, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("before", [None, b"what was there"], ids=["new", "existing"])
def test_a_write_that_fails_half_way_leaves_everything_as_it_was(
    suffix: str, before: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / f"run{suffix}"
    if before is not None:
        path.write_bytes(before)
    large = {"t": Variable(("t",), np.random.default_rng(0).standard_normal(20_000))}
    with file_size_limit(60_000), pytest.raises(ValueError, match=f"^cannot write {path}: File too large$"):
        write_arrays(path, large, {})
    assert os.listdir(tmp_path) == ([] if before is None else [path.name])
    assert before is None or path.read_bytes() == before


def test_json_refuses_what_is_not_a_number_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("what was there")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_arrays(path, {"t": Variable(("t",), np.array([0.0, np.nan]))}, {})
    assert path.read_text() == "what was there"
    assert os.listdir(tmp_path) == ["run.json"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_existing_file_is_replaced_by_the_new_one(suffix: str, tmp_path: Path) -> None:
    path, fresh = tmp_path / f"run{suffix}", tmp_path / f"fresh{suffix}"
    path.write_bytes(b"x" * 100_000)
    write_arrays(path, sample(), META)
    write_arrays(fresh, sample(), META)
    assert path.stat().st_size == fresh.stat().st_size


def test_the_old_file_is_there_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "run.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["run.txt"] or not hasattr(os, "O_TMPFILE")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["run.txt"]


def test_an_interruption_removes_the_temporary_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "run.txt") as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


WRITER = """
import sys
from pathlib import Path
from dynamics.claims import claimed
from dynamics.files import replacing
path = Path(sys.argv[1])
with claimed(path), replacing(path) as temporary:
    temporary.write_text("half")
    print("at work", flush=True)
    sys.stdin.read()
"""


@contextmanager
def writing(path: Path, code: str = WRITER) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of writing a file."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    root = str(Path(__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=root, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        yield process
        process.kill()


@pytest.mark.parametrize("before", [None, "what was there"])
def test_a_killed_process_leaves_no_temporary_file(before: str | None, tmp_path: Path) -> None:
    path = tmp_path / "run.txt"
    if before is not None:
        path.write_text(before)
    with writing(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = os.listdir(tmp_path)
    assert [name for name in left if name != "run.txt"] == [] or not hasattr(os, "O_TMPFILE")
    with replacing(path) as temporary:  # what other systems leave is removed now
        temporary.write_text("new")
    assert os.listdir(tmp_path) == ["run.txt"]
    assert path.read_text() == "new"


WITHOUT_NAMELESS_FILES = "import os; del os.O_TMPFILE" + WRITER


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="the test above is this one")
def test_what_a_killed_process_leaves_is_removed_by_the_next_and_what_is_in_use_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run.txt"
    (tmp_path / ".run.txt.mine").touch()
    with writing(path, WITHOUT_NAMELESS_FILES) as process:
        (part,) = tmp_path.glob(".run.txt.*.part")
        with replacing(path) as temporary:
            temporary.write_text("new")
        assert part.exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
        with replacing(path) as temporary:
            temporary.write_text("newer")
    assert sorted(os.listdir(tmp_path)) == [".run.txt.mine", "run.txt"]
    assert path.read_text() == "newer"


def test_a_claim_keeps_others_out_under_any_name_and_dies_with_its_process(tmp_path: Path) -> None:
    path, link = tmp_path / "run.txt", tmp_path / "link.txt"
    link.symlink_to(path)
    with writing(path) as process:
        for name in (path, link, tmp_path / "." / "run.txt"):
            with (
                pytest.raises(
                    ValueError, match=f"^cannot write {name}: process {process.pid} is writing it; wait"
                ),
                claimed(name),
            ):
                pass
        with claimed(tmp_path / "other.txt"):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with claimed(path):
            pass


def test_a_link_stays_one_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link, dangling = tmp_path / "real" / "a.json", tmp_path / "a.json", tmp_path / "b.json"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    dangling.symlink_to(Path("real") / "b.json")
    for path in (link, dangling):
        write_arrays(path, sample(), {})
        assert path.is_symlink()
        assert json.loads((tmp_path / "real" / path.name).read_text())["meta"] == {}
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.json", "real"]


def test_text_is_appended_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a\n")
    append(path, "b\n")
    assert path.read_text() == "a\nb\n"
    with file_size_limit(10), pytest.raises(ValueError, match=f"^cannot write {path}: File too large$"):
        append(path, "c" * 20 + "\n")
    assert path.read_text() == "a\nb\n"


def test_two_names_of_one_file_are_one_file(tmp_path: Path) -> None:
    one, soft, hard, other = (tmp_path / name for name in ("one.npz", "soft.npz", "hard.npz", "other.npz"))
    one.touch()
    soft.symlink_to(one)
    hard.hardlink_to(one)
    check_distinct({"--data": one}, {"--out": other, "--plot": tmp_path / "a.png"})
    check_distinct({"--data": one, "--moments": one}, {})
    for name in (one, soft, hard, tmp_path / "." / "one.npz"):
        with pytest.raises(
            ValueError, match=f"^--out must be another file than --data, got {name} for both$"
        ):
            check_distinct({"--data": one}, {"--out": name})
        with pytest.raises(ValueError, match=r"^--checkpoint must be another file than --out, got "):
            check_distinct({}, {"--out": one, "--checkpoint": name})
    with pytest.raises(ValueError, match=r"^--checkpoint must be another file than --out"):
        check_distinct({}, {"--out": other, "--checkpoint": tmp_path / "." / "other.npz"})


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_has_the_permissions_of_any_other(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write_arrays(tmp_path / "run.json", sample(), {})
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == 0o666 & ~mask


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run.hdf", "run", "run.npz.gz", ".npz"])
def test_another_suffix_is_refused_and_nothing_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^a file name must end in \.npz, \.csv, \.json, \.nc, got '.*'$"):
        write_arrays(tmp_path / name, sample(), {})
    assert os.listdir(tmp_path) == []


def test_a_suffix_is_accepted_in_capitals() -> None:
    assert checked_suffix("RUN.CSV", SUFFIXES) == Path("RUN.CSV")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^cannot write .*run\.npz: the folder .*nowhere does not exist$"):
        write_arrays(tmp_path / "nowhere" / "run.npz", sample(), {})
    assert os.listdir(tmp_path) == []


def test_a_folder_as_target_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.npz").mkdir()
    with pytest.raises(ValueError, match=r"^cannot write .*run\.npz: it is a folder$"):
        write_arrays(tmp_path / "run.npz", sample(), {})
    assert os.listdir(tmp_path / "run.npz") == []


def test_a_file_as_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^cannot write .*run\.npz: the folder .*file does not exist$"):
        write_arrays(tmp_path / "file" / "run.npz", sample(), {})


def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    folder = Path("/proc/self") if os.geteuid() == 0 else tmp_path  # permissions do not bind root
    if not folder.exists():
        pytest.skip("root may write to any folder of this system")
    tmp_path.chmod(0o555)
    with pytest.raises(ValueError, match=r"^cannot write .*run\.npz: \w+"):
        write_arrays(folder / "run.npz", sample(), {})
    tmp_path.chmod(0o755)
    assert os.listdir(tmp_path) == []
