"""Sweeps in one process: right values, whole chunks, resuming, and every way in which a store can be unfit."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil

import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from analysis import sweeps as sweeps
from analysis.runs.simulation import simulate_matrices
from analysis.sweeps import executors, run
from analysis.sweeps.spec import design
from analysis.sweeps.store import Chunks, Store, checksum
from dynamics.data.datasets import load
from dynamics.data.moments import Moments, save_moments
from dynamics.data.views import parse
from dynamics.fields.matrices import full_field
from dynamics.integration.ensemble import STATUSES
from dynamics.integration.integrate import Status, integrate
from dynamics.states import random_state
from dynamics.system import MatrixSystem, ModeSystem
from dynamics.variants import MODE_FIELDS

SMALL = {
    "chunk": 4,
    "samples": 3,
    "parameters": {
        "lambda_s": {"values": [0.5, 1.0]},
        "ratio": {"uniform": [0.2, 0.9]},
        "online": {"linspace": [0.1, 0.7, 3]},
        "predictor": {"normal": [0, 0.5]},
        "target": {"loguniform": [0.01, 1]},
        "t_end": 5.0,
    },
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s.zarr"


def values_of(path):
    with xarray.open_zarr(path) as data:
        return {name: data[name].values for name in sorted(map(str, data.variables))}


def assert_equal_stores(one, other):
    one, other = values_of(one), values_of(other)
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), name


def all_done(path, spec=SMALL):
    done = sweeps.sweep(design(spec), path)
    assert done.completed == done.total
    return done


def file_of(path, name, number=0):
    """Path of a chunk's file, found as a reader would: the sorted files below the array's folder `c`."""
    files = sorted((path / name / "c").rglob("*"))
    return [file for file in files if file.is_file()][number]


# ------------------------------------------------------------------------------------------------------- values


def test_modes_end_where_the_reference_integrator_ends(path):
    all_done(path)
    with xarray.open_zarr(path) as data:
        assert data.final_online.dims == ("lambda_s", "online", "sample")
        for at in ({"lambda_s": 0, "online": 2, "sample": 1}, {"lambda_s": 1, "online": 0, "sample": 2}):
            cell = data.isel(at).load()
            ls, r = float(cell.lambda_s), float(cell.ratio)
            system = ModeSystem(ls, r * ls)
            start = system.state(float(cell.online), float(cell.predictor), float(cell.target))
            exact = integrate(start, system, MODE_FIELDS["full"], 5.0, rtol=1e-11, atol=1e-13).final
            ends = [float(cell[f"final_{part}"]) for part in exact._fields]
            # rtol 1e-6 and atol 1e-9 are the sweep's; weights are of size one, and errors stay within 10 times
            assert_allclose(ends, np.ravel(exact), rtol=1e-5)
            assert float(cell.t) == 5.0
            assert STATUSES[int(cell.status)] is Status.END_TIME


@pytest.mark.parametrize("variant", ["full", "tied", "no-predictor"])
def test_variants_of_modes(variant):
    spec = {
        "settings": {"variant": variant},
        "parameters": {"lambda_s": 1, "ratio": 0.5, "online": {"values": [0.3, 0.4]}, "t_end": 1},
    }
    results = design(spec).compute((0, 2))
    for i, w1 in enumerate((0.3, 0.4)):
        system = ModeSystem(1.0, 0.5)
        start = system.state(w1, w1 if variant == "tied" else 0.1, 0.1)
        field = MODE_FIELDS[variant]
        exact = integrate(start, system, field, 1.0, rtol=1e-11, atol=1e-13).final
        ends = [results[f"final_{part}"][i] for part in exact._fields]
        assert_allclose(ends, np.ravel(exact), rtol=1e-5, atol=1e-8)


def test_matrices_are_runs_of_the_full_network(path):
    spec = {
        "kind": "matrices",
        "settings": {"data": "digits", "augment": ["shift:1", "noise:{noise}"]},
        "parameters": {
            "noise": {"values": [0.3, 0.6]},
            "dim": {"values": [2, 3]},
            "seed": {"range": [4, 5]},
            "t_end": 10,
        },
    }
    all_done(path, spec)
    moments = Moments.from_data(load("digits").images, [parse("shift:1"), parse("noise:0.6")])
    n = moments.n_inputs
    W, P, Th = random_state(n, 2, scale_online=0.3 / np.sqrt(n), scale_predictor=0.1, seed=5)
    V = np.eye(n) if moments.support is None else moments.support
    system = MatrixSystem(moments.sigma_s, moments.sigma_d)
    expected = simulate_matrices(system.state(W @ V, P, Th @ V), system, full_field, 10.0)
    with xarray.open_zarr(path) as data:
        assert data.online_singular_values.dims == ("noise", "dim", "seed", "component")
        assert data.seed.dtype == data.dim.dtype == np.int64
        cell = data.sel(noise=0.6, dim=2, seed=5).load()
    singular = cell.online_singular_values.values
    # sums in BLAS may be ordered differently with other numbers of threads: far below the run's own rtol of 1e-8
    assert_allclose(singular[:2], expected.online_singular_values, rtol=1e-6)
    assert np.all(np.isnan(singular[2:]))
    eigenvalues = cell.predictor_eigenvalues_re.values[:2]
    assert_allclose(
        eigenvalues, np.sort(np.linalg.eigvals(expected.trajectory.final.predictor).real)[::-1], 1e-6
    )
    assert int(cell["rank"]) == expected.rank
    assert int(cell.rank_floor) == expected.rank_floor


def test_moments_come_from_a_file_and_its_change_is_another_sweep(path, tmp_path):
    file = tmp_path / "m.npz"
    save_moments(file, Moments.from_eigenvalues([1.0, 1.0], [0.8, 0.3]))
    spec = {"kind": "matrices", "settings": {"moments": str(file)}, "parameters": {"dim": 2, "t_end": 2}}
    given = {"kind": "matrices", "parameters": {"dim": 2, "t_end": 2}}
    given["settings"] = {"lambda_s": [1, 1], "lambda_d": [0.8, 0.3]}
    all_done(path, spec)
    all_done(tmp_path / "given.zarr", given)
    assert_equal_stores(path, tmp_path / "given.zarr")
    save_moments(file, Moments.from_eigenvalues([1.0, 1.0], [0.8, 0.4]))
    with pytest.raises(ValueError, match="another sweep, with files ="):
        sweeps.sweep(design(spec), path)


@pytest.mark.parametrize("objective", ["byol-prime", "raft"])
def test_objectives_act_through_their_moments(objective):
    a, b = 0.7, 2.0
    spec = {"kind": "matrices", "parameters": {"dim": 2, "t_end": 1, "seed": 3}}
    ls, ld = np.array([1.0, 0.5]), np.array([0.6, 0.2])
    sign = 1 if objective == "byol-prime" else -1
    spec["settings"] = {"lambda_s": ls.tolist(), "lambda_d": ld.tolist(), "objective": objective}
    spec["parameters"] |= {"alpha": a, "beta": b}
    results = design(spec).compute((0, 1))
    # R24, R26
    system = MatrixSystem(np.diag(2 * a * (ls - ld) + sign * b * ls), np.diag(sign * b * ls))
    start = random_state(2, 2, scale_online=0.3 / np.sqrt(2), scale_predictor=0.1, seed=3)
    final = integrate(start, system, full_field, 1.0).final
    expected = np.linalg.svd(final.online, compute_uv=False)
    assert_allclose(results["online_singular_values"][0], expected, rtol=1e-6)


def test_seeds_are_drawn_for_each_run_and_written_down():
    spec = {"kind": "matrices", "samples": 3, "parameters": {"dim": 2, "t_end": 1}}
    spec["settings"] = {"lambda_s": [1, 1], "lambda_d": [0.8, 0.3]}
    results = design(spec).compute((0, 3))
    assert len(set(results["seed"].tolist())) == 3
    again = design({**spec, "parameters": {**spec["parameters"], "seed": int(results["seed"][1])}})
    assert_array_equal(again.compute((0, 1))["drift"], results["drift"][1:2])


# ------------------------------------------------------------------------------------------------------- chunks


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple), st.integers(1, 400))
def test_chunks_are_boxes_of_consecutive_runs_that_cover_everything_once(shape, runs):
    chunks = Chunks.of(shape, runs)
    numbers = np.arange(np.prod(shape)).reshape(shape)
    stop = 0
    for number in range(len(chunks)):
        start, next_stop = chunks.range(number)
        assert start == stop
        assert next_stop - start <= runs
        assert_array_equal(numbers[chunks.slices(number)].ravel(), np.arange(start, next_stop))
        stop = next_stop
    assert stop == numbers.size


def test_a_cut_does_not_change_values(path, tmp_path):
    all_done(path)
    for chunk in (1, 5, 1000):
        other = tmp_path / f"{chunk}.zarr"
        all_done(other, {**SMALL, "chunk": chunk})
        assert_equal_stores(path, other)


def test_without_a_chunk_the_cut_is_measured(path):
    spec = {key: value for key, value in SMALL.items() if key != "chunk"}
    done = all_done(path, spec)
    assert done.resumed == 0
    assert done.store == str(path)


def test_a_rate_is_measured_on_work_that_takes_a_while_and_not_when_the_machine_was_busy(monkeypatch):
    counts, clock, busy = [], 0.0, 5

    def take_a_while(self, columns):
        nonlocal clock, busy
        n = len(columns["t_end"])
        counts.append(n)
        busy -= 1
        clock += n * 1e-4 + (0.4 if busy == 0 else 0)

    monkeypatch.setattr(run.Design, "run", take_a_while)
    monkeypatch.setattr(run.time, "perf_counter", lambda: clock)
    made = design({**SMALL, "samples": 1_000_000})
    assert_allclose(executors.measured_rate(made), 1e4, rtol=1e-9)
    assert max(counts) * 1e-4 >= 0.05
    assert_allclose(executors.measured_rate(design({**SMALL, "samples": 1})), 1e4, rtol=1e-9)
    counts.clear()
    assert executors.measured_rate(made, enough=5e3) == 5e3
    assert sum(counts) * 1e-4 < 0.05
    assert_allclose(executors.measured_rate(made, enough=2e4), 1e4, rtol=1e-9)


def test_a_chunk_is_a_second_of_work_within_its_memory():
    made = design({key: value for key, value in SMALL.items() if key != "chunk"})
    assert run._chunk_runs(made, 123.4, 10**6) == 124
    assert run._chunk_runs(made, 0.01, 10**6) == 1
    assert run._chunk_runs(made, 1e12, 10**6) == 10**6 // made.bytes_a_run
    assert run._chunk_runs(design(SMALL), 1e12, 10**6) == 4
    many = design({"samples": 10**9, "parameters": SMALL["parameters"]})
    assert run._chunk_runs(many, 1.0, 10**6) == many.size / run.MOST_CHUNKS


# -------------------------------------------------------------------------------------------------------- store


def test_the_store_describes_itself_and_opens_lazily(path):
    all_done(path)
    with xarray.open_zarr(path) as data:
        assert set(data.coords) >= {"lambda_s", "online", "ratio", "predictor", "t_end", "tau_online"}
        assert data.ratio.dims == ("lambda_s", "online", "sample")
        assert data.tau_online.dims == ()
        assert data.final_online.chunks is not None  # not read
        for variable in data.variables.values():
            assert variable.attrs["long_name"]
            if "flag_values" not in variable.attrs:
                assert variable.attrs["units"]
        words = data.status.attrs["flag_meanings"].split()
        assert words == [str(status) for status in STATUSES]
        assert json.loads(data.attrs["spec"]) == design(SMALL).identity
        assert json.loads(data.attrs["settings"])["variant"] == "full"
        assert json.loads(data.attrs["versions"])["numpy"] == np.__version__
        learned = data.where(data.ratio > 0.5).final_online.mean().compute()
        assert np.isfinite(learned)


def interrupted(path, spec=SMALL, after=2):
    """Stop a sweep after some chunks, as Ctrl-C would."""
    count = 0

    def stop(progress):
        nonlocal count
        count += 1
        if count == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweeps.sweep(design(spec), path, progress=stop)


def test_an_interrupted_sweep_goes_on_and_ends_the_same(path, tmp_path):
    interrupted(path)
    done = sweeps.sweep(design(SMALL), path)
    assert 0 < done.resumed < done.total == done.completed
    all_done(tmp_path / "whole.zarr")
    assert_equal_stores(path, tmp_path / "whole.zarr")
    again = sweeps.sweep(design(SMALL), path)
    assert (again.resumed, again.trajectories_per_second) == (again.total, 0)


def test_a_resumed_sweep_keeps_its_cut(path):
    interrupted(path)
    box = Chunks.of(design(SMALL).shape, 4)
    all_done(path, {**SMALL, "chunk": 1})
    with Store(path, design(SMALL)) as store:
        assert store.chunks == box


def test_half_a_mark_does_not_count(path):
    all_done(path)
    marks = (path / ".sweep" / "done").read_bytes()
    (path / ".sweep" / "done").write_bytes(marks[:-3])
    done = sweeps.sweep(design(SMALL), path)
    assert done.total - done.resumed == 3
    assert (path / ".sweep" / "done").read_bytes() == marks


DAMAGE = {
    "a bit": lambda file: file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:]),
    "a lost file": lambda file: file.unlink(),
    "a short file": lambda file: file.write_bytes(file.read_bytes()[:-5]),
    "an empty file": lambda file: file.write_bytes(b""),
}


@pytest.mark.parametrize("harm", DAMAGE)
@pytest.mark.parametrize("name", ["final_online", "ratio", "status"])
def test_a_damaged_chunk_is_done_again(path, tmp_path, harm, name):
    all_done(path)
    shutil.copytree(path, tmp_path / "whole.zarr")
    DAMAGE[harm](file_of(path, name, number=1))
    notes = []
    done = sweeps.sweep(design(SMALL), path, note=notes.append)
    assert (done.damaged, done.total - done.resumed) == (1, 3)
    assert notes == [f"{path}: damaged and done again: 1 of 6 chunks"]
    assert_equal_stores(path, tmp_path / "whole.zarr")
    assert sweeps.sweep(design(SMALL), path).damaged == 0


def test_what_a_killed_process_was_writing_is_cleared_away(path):
    interrupted(path)
    partial = file_of(path, "ratio").with_suffix(".abc.partial")
    partial.write_bytes(b"half")
    all_done(path)
    assert not partial.exists()


def test_a_store_that_was_hardly_begun_is_begun_again(path, tmp_path):
    all_done(path)
    shutil.copytree(path, tmp_path / "whole.zarr")
    (path / ".sweep" / "spec").unlink()  # written last
    (path / "zarr.json").write_text("{", encoding="utf-8")
    done = all_done(path)
    assert done.resumed == 0
    assert_equal_stores(path, tmp_path / "whole.zarr")


def test_a_store_without_one_of_its_arrays_is_refused(path):
    all_done(path)
    shutil.rmtree(path / "drift")
    with pytest.raises(ValueError, match="has lost its array drift"):
        sweeps.sweep(design(SMALL), path)


def test_checksums_see_every_array_and_every_bit():
    values = {"a": np.arange(4.0), "b": np.arange(3, dtype=np.uint8)}
    for name in values:
        for i in range(values[name].nbytes * 8):
            other = {key: array.copy() for key, array in values.items()}
            other[name].view(np.uint8)[i // 8] ^= 1 << i % 8
            assert checksum(other) != checksum(values)


# ------------------------------------------------------------------------------------------------------ refusals


def test_another_sweep_is_refused_with_what_differs(path):
    all_done(path)
    parameters = {**SMALL["parameters"], "t_end": 6.0, "ratio": {"uniform": [0.1, 0.9]}}
    with pytest.raises(ValueError, match="holds another sweep") as refusal:
        sweeps.sweep(design({**SMALL, "seed": 3, "parameters": parameters}), path)
    text = str(refusal.value)
    assert "seed = 0, not 3" in text
    assert "parameters.t_end = 5.0, not 6.0" in text
    assert "parameters.ratio.uniform = [0.2, 0.9], not [0.1, 0.9]" in text
    assert all_done(path).resumed == 18


def test_a_place_that_is_no_store_is_refused(path, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x", encoding="utf-8")
    with pytest.raises(ValueError, match="holds something that is no sweep"):
        sweeps.sweep(design(SMALL), tmp_path / "mine")
    path.write_text("x", encoding="utf-8")
    with pytest.raises(ValueError, match="must be a folder, or not exist, got a file"):
        sweeps.sweep(design(SMALL), path)
    with pytest.raises(ValueError, match="does not exist"):
        sweeps.sweep(design(SMALL), tmp_path / "no" / "such.zarr")
    assert sorted(os.listdir(tmp_path)) == ["mine", "s.zarr"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(ValueError, match="not writable"):
        sweeps.sweep(design(SMALL), tmp_path / "locked" / "s.zarr")


def test_an_empty_folder_will_do(path):
    path.mkdir()
    all_done(path)


@pytest.mark.parametrize("samples", [10**13, 2**62])
def test_what_cannot_fit_is_refused_before_anything_is_written(path, samples):
    for run_it in (sweeps.sweep, sweeps.plan):
        with pytest.raises(ValueError, match=r"would take \d+ runs of .* are free"):
            run_it(design({**SMALL, "samples": samples}), path)
    assert not path.exists()


def test_a_second_writer_is_refused(path):
    with Store(path, design(SMALL)):
        holder = f"is being written by process {os.getpid()} on {platform.node()}"
        with pytest.raises(ValueError, match=holder):
            sweeps.sweep(design(SMALL), path)
    all_done(path)


def test_workers_and_a_scheduler_exclude_each_other(path):
    with pytest.raises(ValueError, match="without `scheduler`, got 2 with a scheduler"):
        sweeps.sweep(design(SMALL), path, workers=2, scheduler="tcp://localhost:1")
    with pytest.raises(ValueError, match="`workers` must be an integer >= 1"):
        sweeps.sweep(design(SMALL), path, workers=0)
    assert not path.exists()


def test_a_scheduler_that_does_not_answer_is_refused(path, monkeypatch):
    monkeypatch.setattr("analysis.sweeps.cluster.CONNECT_SECONDS", 0.5)
    with pytest.raises(ConnectionError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        sweeps.sweep(design(SMALL), path, scheduler="tcp://127.0.0.1:9")
    assert not path.exists()


def test_a_full_disk_keeps_what_is_finished(path, tmp_path, monkeypatch):
    from zarr.storage import _local

    whole, put = 0, _local._put

    def full_after_three_chunks(file, *arguments, **options):
        nonlocal whole
        if "/final_target/c/" in str(file):
            whole += 1
        if whole > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return put(file, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(_local, "_put", full_after_three_chunks)
        seen = []
        with pytest.raises(OSError, match="is full, 3 finished chunks are kept: make room") as failure:
            sweeps.sweep(design(SMALL), path, progress=seen.append)
    assert failure.value.errno is None  # the sentence alone
    assert len(seen) == 4  # one chunk is written at a time: the next one finds out
    assert sweeps.sweep(design(SMALL), path).resumed == 9
    all_done(tmp_path / "whole.zarr")
    assert_equal_stores(path, tmp_path / "whole.zarr")


def test_a_disk_that_is_full_from_the_start_says_so(path, monkeypatch):
    from zarr.storage import _local

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(_local, "_put", full)
        with pytest.raises(OSError, match="is full, nothing was computed"):
            sweeps.sweep(design(SMALL), path)
    all_done(path)


def test_other_versions_are_said(path, monkeypatch):
    interrupted(path)
    begun = json.loads((path / ".sweep" / "spec").read_text(encoding="utf-8"))
    begun["versions"]["numpy"] = "1.0"
    (path / ".sweep" / "spec").write_text(json.dumps(begun), encoding="utf-8")
    notes = []
    sweeps.sweep(design(SMALL), path, note=notes.append)
    assert len(notes) == 1
    assert "was begun with other versions" in notes[0]


# ------------------------------------------------------------------------------------------- progress and plans


def test_progress_counts_runs_and_ends_with_none_left(path):
    seen = []
    interrupted(path)
    sweeps.sweep(design(SMALL), path, progress=seen.append)
    assert [p.completed for p in seen] == [9, 12, 15, 18]
    assert all(p.total == 18 and p.rate > 0 for p in seen)
    assert seen[-1].seconds_left == 0
    assert_allclose(seen[0].seconds_left, 9 / seen[0].rate)


def test_a_plan_measures_and_writes_nothing(path):
    plan = sweeps.plan(design(SMALL), path)
    assert not path.exists()
    assert (plan.total, plan.completed, plan.n_chunks, plan.chunk) == (18, 0, 6, 3)
    assert plan.axes == {"lambda_s": 2, "online": 3, "sample": 3}
    assert_allclose(plan.seconds, 18 / plan.trajectories_per_second)
    interrupted(path)
    before = sorted(path.rglob("*"))
    after = sweeps.plan(design(SMALL), path)
    assert 0 < after.completed < 18
    assert sorted(path.rglob("*")) == before


def test_a_plan_says_the_size_that_the_store_will_have(path):
    plan = sweeps.plan(design(SMALL), path)
    all_done(path)
    arrays = [*design(SMALL).draws, *design(SMALL).outputs]
    files = [file for name in arrays for file in (path / name / "c").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) == plan.store_bytes


def test_a_store_keeps_what_the_spec_names_and_the_same_values_of_it(path, tmp_path):
    all_done(path)
    part = SMALL | {"keep": ["fate", "predictor"]}
    kept = tmp_path / "kept.zarr"
    interrupted(kept, part)
    planned = sweeps.plan(design(part), kept)
    assert planned.completed > 0
    assert all_done(kept, part).failed == 0
    files = [f for name in part["keep"] for f in (kept / name / "c").rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) == planned.store_bytes == 18 * (1 + 8)
    with xarray.open_zarr(path) as every, xarray.open_zarr(kept) as some:
        assert set(some.data_vars) | set(some.coords) == {
            "lambda_s",
            "online",
            "t_end",
            "predictor",
            "fate",
        } | {name for name in every.coords if every[name].ndim == 0}
        for name in part["keep"]:
            np.testing.assert_array_equal(every[name], some[name])
    with pytest.raises(ValueError, match="holds another sweep"):
        sweeps.sweep(design(SMALL), kept)


def test_a_sweep_without_its_fates_has_no_picture(path):
    from analysis.sweeps.fates import check_drawable

    with pytest.raises(ValueError, match=r"whose keep holds fate, got keep = \['drift'\]"):
        check_drawable(design(SMALL | {"keep": ["drift"]}))


def test_failed_runs_are_counted(path):
    spec = {
        "settings": {"max_steps": 3},
        "chunk": 2,
        "parameters": {"lambda_s": 1, "ratio": 0.5, "t_end": 50, "online": {"linspace": [0.3, 0.5, 5]}},
    }
    assert all_done(path, spec).failed == 5
    assert all_done(path, spec).failed == 5
