"""Sweeps as real processes: killed at any moment, side by side, on local workers and on a running scheduler."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import xarray
from conftest import HANG_S, command_environment

# some 20 ms a run, so that there is time to kill something
SPEC = """
kind = "matrices"
samples = {samples}
chunk = {chunk}

[settings]
lambda_s = [1, 1, 1, 1]
lambda_d = [0.9, 0.7, 0.5, 0.3]

[parameters]
dim = 3
tau_target = {{ values = [1, 3] }}
weight_decay = {{ uniform = [0, 0.05] }}
t_end = 15
"""
DYN = [sys.executable, "-m", "cli"]
ENVIRONMENT = command_environment() | {"OMP_NUM_THREADS": "1"}


def start(folder, *arguments, store="s.zarr"):
    command = [*DYN, "sweep", "s.toml", "--out", store, "--json", *map(str, arguments)]
    root = Path(__file__).resolve().parent.parent
    return subprocess.Popen(
        command,
        cwd=folder,
        env=ENVIRONMENT | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def report_of(process):
    out, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "s.toml").write_text(SPEC.format(samples=30, chunk=4), encoding="utf-8")
    return tmp_path


def marked(folder):
    """Number of chunks marked as done."""
    done = folder / "s.zarr" / ".sweep" / "done"
    return done.read_bytes().count(b"\n") if done.exists() else 0


def wait_for_chunks(folder, n, process):
    begun = time.monotonic()
    while marked(folder) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - begun < HANG_S
        time.sleep(0.002)


def contents(path):
    with xarray.open_zarr(path) as data:
        return {str(name): data[name].values.tobytes() for name in data.variables}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Values of the sweep that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "s.toml").write_text(SPEC.format(samples=30, chunk=4), encoding="utf-8")
    assert report_of(start(folder))["completed"] == 60
    return contents(folder / "s.zarr")


def test_a_sweep_killed_at_random_moments_ends_the_same(folder, whole):
    moments = random.Random(1)
    for _ in range(2):
        process = start(folder)
        wait_for_chunks(folder, marked(folder) + moments.randint(1, 5), process)
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    before = marked(folder)
    report = report_of(start(folder))
    assert report.keys() >= {"completed", "total", "resumed", "trajectories_per_second", "store"}
    assert report["completed"] == report["total"] == 60
    # of all chunks that were marked, none is done again
    assert report["resumed"] == 4 * before
    assert report["damaged"] == 0
    assert contents(folder / "s.zarr") == whole


@pytest.mark.slow
def test_a_sweep_killed_twenty_times_ends_the_same(folder, whole):
    moments = random.Random(2)
    home = folder / "s.zarr" / ".sweep"
    for kill in range(20):
        if marked(folder) > 9:  # what is written without a mark is written again
            marks = (home / "done").read_bytes().splitlines(keepends=True)
            (home / "done").write_bytes(b"".join(marks[:4]))
        process = start(folder)
        if kill % 4 == 0:  # while the store is made or looked through
            begun = time.monotonic()
            while not (home / "lock").exists() or f" {process.pid} " not in (home / "lock").read_text():
                assert time.monotonic() - begun < HANG_S
                time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.2))
        else:
            wait_for_chunks(folder, marked(folder) + moments.randint(1, 5), process)
            time.sleep(moments.uniform(0, 0.05))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert report_of(start(folder))["damaged"] == 0
    assert contents(folder / "s.zarr") == whole


@pytest.mark.parametrize("workers", [(), ("--workers", 1)], ids=["one process", "a worker"])
def test_ctrl_c_ends_with_130_and_keeps_what_is_done(folder, workers):
    process = start(folder, *workers)
    wait_for_chunks(folder, 2, process)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all processes of the command
    out, err = process.communicate(timeout=HANG_S)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert marked(folder) >= 2


def test_the_second_of_two_sweeps_into_one_store_is_refused_while_the_first_one_lives(folder, whole):
    first = start(folder)
    wait_for_chunks(folder, 1, first)
    first.send_signal(signal.SIGSTOP)  # alive, and not done before the second one looks
    second = start(folder)
    out, err = second.communicate(timeout=HANG_S)
    assert (second.returncode, out) == (2, "")
    assert f"is being written by process {first.pid} on" in err
    first.kill()
    first.communicate()
    assert report_of(start(folder))["completed"] == 60
    assert contents(folder / "s.zarr") == whole


# --------------------------------------------------------------------------------------------------------- Dask


def worker_processes(process):
    """Processes in which chunks are computed: those that the sweep has spawned to work."""
    import psutil

    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_local_workers_of_which_one_is_killed_give_the_same(folder, whole):
    process = start(folder, "--workers", 2)
    wait_for_chunks(folder, 3, process)
    workers = worker_processes(process)
    assert len(workers) == 2
    workers[0].kill()
    report = report_of(process)
    assert (report["completed"], report["resumed"]) == (60, 0)
    assert contents(folder / "s.zarr") == whole


@contextmanager
def running(*command, cwd):
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=HANG_S)


@contextmanager
def scheduler(folder):
    """A scheduler in a process of its own; gives its address and a function that starts workers."""
    file = folder / "scheduler.json"
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    with running("distributed.cli.dask_scheduler", *options, cwd=folder):
        begun = time.monotonic()
        while not file.exists() or not file.read_text():
            assert time.monotonic() - begun < HANG_S
            time.sleep(0.01)
        address = json.loads(file.read_text())["address"]

        def worker():
            options = ("--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1")
            return running("distributed.cli.dask_worker", address, *options, cwd=folder)

        yield address, worker


def test_a_running_scheduler_of_which_a_worker_is_lost_gives_the_same(folder, whole):
    with scheduler(folder) as (address, worker):
        process = start(folder, "--scheduler", address)
        with worker() as lost, worker():
            wait_for_chunks(folder, 5, process)
            lost.kill()
            report = report_of(process)
    assert (report["completed"], report["resumed"]) == (60, 0)
    assert contents(folder / "s.zarr") == whole


@pytest.mark.slow
def test_a_scheduler_that_dies_is_said_and_nothing_is_lost(folder, whole):
    with scheduler(folder) as (address, worker), worker():
        process = start(folder, "--scheduler", address)
        wait_for_chunks(folder, 2, process)
    out, err = process.communicate(timeout=HANG_S)
    assert (process.returncode, out) == (2, ""), err
    assert "finished chunks are kept" in err
    assert report_of(start(folder))["resumed"] >= 8
    assert contents(folder / "s.zarr") == whole
