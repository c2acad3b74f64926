"""Ensembles on CUDA: in Numba's simulator, which runs kernels as Python threads, and in what they compile to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dynamics.integration.ensemble import Ensemble, integrate_ensemble
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS

ROOT = Path(__file__).resolve().parent.parent
COMPILED = [name for name, row in VARIANTS.items() if row.kind is not None and name != "symmetric-predictor"]
RTOL = {"float64": 1e-6, "float32": 1e-5}
SAVE_AT = [0.5, *np.linspace(2.0, 18.0, 9), 600.0]  # on the way, before and after looks, and at rest
# variant, dtype, and whether states are kept; lanes of the others are compiled by no other test
CASES = [
    *((variant, "float64", False) for variant in COMPILED),
    *((variant, "float64", True) for variant in ("full", "fast-predictor")),
    *((variant, "float32", False) for variant in ("full", "fixed-target", "directset")),
]
N = 50

# What a process in which Numba simulates CUDA does with the ensembles drawn here: all of it at once, for it compiles.
SIMULATED = """
import sys
import numpy as np
from numba import cuda
from dynamics.integration import cuda_ensemble
from dynamics.integration.device_ensemble import integrate_on_device
from dynamics.states import ModeState
from dynamics.variants import VARIANTS
from test_cuda_ensemble import CASES, N, SAVE_AT, drawn, parts, run

found = {}

def keep(who, ensemble):
    found.update({f"{who}/{name}": part for name, part in parts(ensemble).items()})

for variant, dtype, saving in CASES:
    if dtype == sys.argv[2]:
        keep(f"{variant} {dtype} {saving}", run(variant, dtype, saving, "cuda"))
if sys.argv[2] == "float32":
    np.savez(sys.argv[1], **found)
    sys.exit()

cuda_ensemble.CHUNK, calls = 13, []
keep("in chunks", run("full", "float64", True, "cuda", lambda done, total: calls.append((done, total))))
assert calls == [(13, 50), (26, 50), (39, 50), (50, 50)], calls
one_for_all = cuda_ensemble._Travelling(np.broadcast_to(np.float64(1.5), N), 13)
assert one_for_all.stride == 0 and one_for_all.device.shape == (1,)
for rounds in (1, 2, 5):
    cuda_ensemble.ROUNDS = rounds
    keep(f"{rounds} rounds", run("full", "float64", True, "cuda"))

start, system, t_end = drawn("full")
field = VARIANTS["full"].mode_field
there = {name: cuda.to_device(np.array(getattr(system, name))) for name in ("lambda_s", "lambda_d", "tau_online")}
device = integrate_on_device(
    ModeState(*(cuda.to_device(part) for part in start)), vector_field=field, t_end=cuda.to_device(t_end),
    tau_predictor=system.tau_predictor, tau_target=cuda.to_device(np.array(1.5)), weight_decay=system.weight_decay,
    save_at=SAVE_AT, batch=16, **there,
)
assert device.final.online.__cuda_ndarray__ and device.status.__cuda_ndarray__
assert np.array_equal(there["lambda_s"].copy_to_host(), system.lambda_s)
keep("device", device.on_host())

def refused(message, **changed):
    arguments = {
        "start": ModeState(0.1, 0.2, 0.3), "lambda_s": cuda.to_device(np.ones(N)), "lambda_d": 0.5,
        "vector_field": field, "t_end": 1.0,
    } | changed
    try:
        integrate_on_device(**arguments)
    except ValueError as error:
        assert str(error) == message, (str(error), message)
    else:
        raise AssertionError(f"not refused: {message}")

one_bad = np.ones(N)
one_bad[7] = -1.0
refused("`tau_target` must be finite and > 0, got 1 values that are not", tau_target=cuda.to_device(one_bad))
refused("`tau_online` must be finite and > 0, got 50 values that are not", tau_online=np.inf)
refused("`t_end` must be > 0, got 50 values that are not", t_end=np.nan)
refused("`weight_decay` must be finite and >= 0, got 1 values that are not", weight_decay=one_bad)
refused("`online` must be finite, got 50 values that are not", start=ModeState(np.inf, 0.2, 0.3))
refused("`lambda_s` must be of dtype float32 on the GPU, got float64", dtype=np.float32, rtol=1e-5)
refused("`lambda_d` must be one number or one for each of 50, got shape (3,)", lambda_d=np.ones(3))
refused("`lambda_d` must be one number or of shape (N,), got shape (2, 2)", lambda_d=np.ones((2, 2)))
refused(
    "`lambda_s` must be contiguous on the GPU, got strides (16,)", lambda_s=cuda.to_device(np.ones(2 * N))[::2]
)
refused("one argument at least must be an array, one number a trajectory, got numbers alone", lambda_s=1.0)
refused("`batch` must be >= 1, got 0", batch=0)
refused(
    "the tied variant must start with `predictor` = `online` and have `tau_online` = `tau_predictor`,"
    " got 50 trajectories that do not",
    vector_field=VARIANTS["tied"].mode_field,
)
np.savez(sys.argv[1], **found)
"""


def drawn(variant: str) -> tuple[ModeState, ModeSystem, np.ndarray]:
    rng = np.random.default_rng(3)
    lambda_s, tau = rng.uniform(0.5, 2, N), rng.uniform(0.5, 2, N)
    system = ModeSystem(
        lambda_s,
        lambda_s * rng.uniform(0.2, 1, N),
        tau_online=tau,
        tau_predictor=tau if variant == "tied" else rng.uniform(0.5, 2, N),
        tau_target=1.5,
        weight_decay=np.where(rng.random(N) < 0.5, 0, 0.02),
    )
    w1, w2, th = rng.normal(0, 0.7, (3, N))
    t_end = np.where(rng.random(N) < 0.5, rng.uniform(1, 20, N), np.inf)
    return system.state(w1, w1 if variant == "tied" else w2, th), system, t_end


def run(variant: str, dtype: str, saving: bool, device: str, progress: Any = None) -> Ensemble:
    start, system, t_end = drawn(variant)
    return integrate_ensemble(
        *(start, system, VARIANTS[variant].mode_field, t_end),
        rtol=RTOL[dtype],
        atol=1e-3 * RTOL[dtype],
        dtype=dtype,
        save_at=SAVE_AT if saving else None,
        device=device,
        progress=progress,
    )


def parts(ensemble: Ensemble) -> dict[str, np.ndarray]:
    names = ("t", "status", "fate", "n_accepted", "n_rejected", "drift")
    found = {name: getattr(ensemble, name) for name in names} | {"final": np.array(ensemble.final)}
    return found if ensemble.saved is None else found | {"saved": np.array(ensemble.saved)}


def in_the_simulator(file: Path, dtype: str) -> dict[str, np.ndarray]:
    path = [str(ROOT), str(ROOT / "tests"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    done = subprocess.run(
        [sys.executable, "-c", SIMULATED, str(file), dtype],
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": os.pathsep.join(path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(file) as found:
        return dict(found)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return in_the_simulator(tmp_path_factory.mktemp("cuda") / "double.npz", "float64")


@pytest.fixture(scope="module")
def simulated_in_single(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return in_the_simulator(tmp_path_factory.mktemp("cuda") / "single.npz", "float32")


def of(simulated: dict[str, np.ndarray], who: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(f"{who}/"): part for name, part in simulated.items() if name.startswith(f"{who}/")
    }


@pytest.mark.parametrize(
    ("variant", "saving"), [(variant, saving) for variant, dtype, saving in CASES if dtype == "float64"]
)
def test_kernels_do_what_the_lanes_do(variant: str, saving: bool, simulated: dict[str, np.ndarray]) -> None:
    lanes = parts(run(variant, "float64", saving, "cpu"))
    threads = of(simulated, f"{variant} float64 {saving}")
    assert set(threads) == set(lanes)
    assert {0, 1} <= set(lanes["status"])  # at rest, and at the end time
    for name in ("status", "fate"):
        assert_array_equal(threads[name], lanes[name])
    # The same operations in the same order, but for multiplications and additions that some processors fuse: a rounding
    # of 2^-52 in the estimated error, which is a part of 1e-6/2 of the state, moves steps by a part of 1e-9.
    for name in ("n_accepted", "n_rejected"):
        assert_allclose(threads[name].astype(int), lanes[name].astype(int), rtol=0, atol=1)
    for name in ("final", "saved", "drift"):
        if name in lanes:
            assert_allclose(threads[name], lanes[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("variant", [variant for variant, dtype, _ in CASES if dtype == "float32"])
def test_single_precision_comes_to_the_ends_of_the_lanes(
    variant: str, simulated_in_single: dict[str, np.ndarray]
) -> None:
    lanes = parts(run(variant, "float32", False, "cpu"))
    threads = of(simulated_in_single, f"{variant} float32 False")
    assert threads["final"].dtype == np.float32
    for name in ("status", "fate"):
        assert_array_equal(threads[name], lanes[name])
    # two runs with errors of the size of the tolerance of 1e-5 each, which a slow mode may amplify tenfold
    assert_allclose(threads["final"], lanes["final"], rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("other", ["in chunks", "1 rounds", "2 rounds", "5 rounds"])
def test_neither_chunks_nor_rounds_change_a_bit(other: str, simulated: dict[str, np.ndarray]) -> None:
    whole, again = of(simulated, "full float64 True"), of(simulated, other)
    assert set(again) == set(whole)
    for name, part in again.items():
        assert_array_equal(part, whole[name], err_msg=name)


def test_arrays_on_the_gpu_are_integrated_there_bit_for_bit(simulated: dict[str, np.ndarray]) -> None:
    host, device = of(simulated, "full float64 True"), of(simulated, "device")
    assert set(device) == set(host)
    for name, part in host.items():
        assert_array_equal(device[name], part, err_msg=name)


# --- what kernels compile to ----------------------------------------------------------------------------------


def compiled(name: str, dtype: str, variant: str, saving: bool = False) -> str:
    from dynamics.integration.numba_cuda import INSTALLED

    if not INSTALLED:
        pytest.skip("numba-cuda is not installed: `pip install '.[cuda]'`")
    from cuda_code import ptx
    from numba.cuda.cudadrv.error import NvvmSupportError

    try:
        return ptx(name, dtype, variant, saving)
    except NvvmSupportError as error:
        pytest.skip(f"NVIDIA's compiler library is not there: {error}")


@pytest.mark.parametrize("saving", [False, True])
@pytest.mark.parametrize("variant", COMPILED)
def test_tries_in_single_precision_have_no_instruction_in_double(variant: str, saving: bool) -> None:
    from cuda_code import flops, in_double

    code = compiled("advance", "float32", variant, saving)
    assert flops(code, "float32") > 100  # it is the right kernel, and is counted
    assert in_double(code) == 0
    assert in_double(compiled("begin", "float32", variant, saving)) == 0
