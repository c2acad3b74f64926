"""The ensemble integrator on a GPU: its kernels alone, with the way there and back, beside peers, and against the CPU.

Run it by itself on a machine with a GPU; elsewhere it says so and ends. `benchmarks/gpu.sh` runs it with the other
measurements that need one.

    python benchmarks/bench_ensemble_gpu.py --json benchmarks/raw/ensemble.json

The problem is that of `bench_ensemble.py`. Kernels alone are timed from arrays on the GPU to arrays on the GPU. Peak
rates are those of the units that multiply and add, at the clock that the driver names.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _harness import Timing, machine, measure, write_table
from bench_ensemble import SPAN, achieved, best_diffrax, problem, reference

from dynamics.fields.modes import full_mode_field
from dynamics.integration import cuda_ensemble, cuda_kernels
from dynamics.integration.cuda_ensemble import available
from dynamics.integration.device_ensemble import integrate_on_device
from dynamics.integration.ensemble import Ensemble, integrate_ensemble
from dynamics.integration.numba_cuda import SIMULATED, cuda
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS

RTOL = {"float64": 1e-6, "float32": 1e-5}
UNITS = {(8, 0): (32, 64), (8, 6): (2, 128), (8, 9): (2, 128), (9, 0): (64, 128), (10, 0): (64, 128)}
"""Fused multiply-adds a clock and multiprocessor in float64 and float32, by compute capability."""
DIFFRAX_CHUNKS = (16_384, 65_536, 200_000)


def say(words: str) -> None:
    print(words, flush=True)


def drawn(n: int) -> tuple[ModeState, np.ndarray, np.ndarray]:
    """The problem of `bench_ensemble`, of any size."""
    rng = np.random.default_rng(0)
    lambda_s = rng.uniform(0.5, 2, n)
    lambda_d = lambda_s * rng.uniform(0.2, 1, n)
    return ModeState(*rng.normal(0, 0.7, (3, n))), lambda_s, lambda_d


def device_name() -> str:
    if SIMULATED:
        return "Numba's simulator"
    name = cuda.get_current_device().name
    return name.decode() if isinstance(name, bytes) else str(name)


def peak(dtype: str) -> float | None:
    """Floating-point operations a second; None for a GPU that `UNITS` lacks."""
    device = None if SIMULATED else cuda.get_current_device()
    if device is None or device.compute_capability not in UNITS:
        return None
    each = UNITS[device.compute_capability][dtype == "float32"]
    return 2.0 * each * device.MULTIPROCESSOR_COUNT * 1e3 * device.CLOCK_RATE


def operations(dtype: str) -> int | None:
    """Operations of a try, counted in what the kernel compiles to; None where it cannot be compiled."""
    if SIMULATED:
        return None
    from cuda_code import flops, ptx, tried

    capability = cuda.get_current_device().compute_capability
    return flops(tried(ptx("advance", dtype, cc=capability)), dtype)


def kernels_alone(n: int, dtype: str, span: float) -> tuple[Callable[[], Any], float]:
    """A run on arrays of the GPU, and the mean number of tries of a trajectory."""
    start, lambda_s, lambda_d = drawn(n)
    there = [cuda.to_device(part.astype(dtype)) for part in (*start, lambda_s, lambda_d)]
    run = partial(
        integrate_on_device,
        *(ModeState(*there[:3]), *there[3:], full_mode_field, span),
        rtol=RTOL[dtype],
        atol=1e-3 * RTOL[dtype],
        dtype=dtype,
    )
    ends = run()
    tries = ends.n_accepted.copy_to_host().astype(float) + ends.n_rejected.copy_to_host()
    return run, float(tries.mean())


def rates(n: int, times: Mapping[str, Timing]) -> dict[str, dict[str, float]]:
    return {
        name: {"trajectories/s": n / time.median, "spread (%)": 100 * time.spread / time.median}
        for name, time in times.items()
    }


def measured_alone(n: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Kernels alone, in both dtypes, to the end of the span and until rest."""
    runs, tries = {}, {}
    for dtype in RTOL:
        for name, span in ((f"to t = {SPAN:g}", SPAN), ("to rest", np.inf)):
            say(f"  compiling and drawing: {dtype}, {name}")
            key = f"kernels alone, {dtype}, {name}"
            runs[key], tries[key] = kernels_alone(n, dtype, span)
    found: dict[str, dict[str, Any]] = {**rates(n, measure(runs, repeats=repeats))}
    for key, row in found.items():
        dtype = "float64" if "float64" in key else "float32"
        row["tries"], row["operations a try"], top = tries[key], operations(dtype), peak(dtype)
        if top is not None and row["operations a try"] is not None:
            row["part of the peak (%)"] = (
                100 * row["trajectories/s"] * row["tries"] * row["operations a try"] / top
            )
    return found


def measured_settings(n: int, repeats: int) -> dict[str, dict[str, Any]]:
    """The kernels at other settings: rounds, tries between looks, registers."""
    found: dict[str, dict[str, Any]] = {}
    rounds, tries, registers = cuda_ensemble.ROUNDS, dict(cuda_kernels.TRIES), dict(cuda_kernels.REGISTERS)
    try:
        for dtype, bounds in (("float64", (80, 96, 128)), ("float32", (48, 64, 80))):
            for setting in [
                *((count, tries[dtype], registers[dtype]) for count in (1, 2, 3, 4)),
                *((rounds, count, registers[dtype]) for count in (4, 8, 16, 32)),
                *((rounds, tries[dtype], bound) for bound in bounds),
            ]:
                cuda_ensemble.ROUNDS, cuda_kernels.TRIES[dtype], cuda_kernels.REGISTERS[dtype] = setting
                cuda_kernels.cuda_kernels.cache_clear()
                key = f"{dtype}, rounds {setting[0]}, tries {setting[1]}, registers {setting[2]}"
                if key not in found:
                    say(f"  {key}")
                    run, _ = kernels_alone(n, dtype, SPAN)
                    found |= rates(n, measure({key: run}, repeats=repeats))
    finally:
        cuda_ensemble.ROUNDS = rounds
        cuda_kernels.TRIES.update(tries)
        cuda_kernels.REGISTERS.update(registers)
        cuda_kernels.cuda_kernels.cache_clear()
    return found


def measured_calls(n: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Whole calls from NumPy arrays to NumPy arrays, at several sizes of chunks, and on all cores of the host."""
    start, lambda_s, lambda_d = drawn(n)
    system = ModeSystem(lambda_s, lambda_d)

    def call(device: str, dtype: str, chunk: int) -> Ensemble:
        cuda_ensemble.CHUNK = chunk
        rtol = RTOL[dtype]
        return integrate_ensemble(
            *(start, system, full_mode_field, SPAN),
            rtol=rtol,
            atol=1e-3 * rtol,
            dtype=dtype,
            device=device,
        )

    usual = cuda_ensemble.CHUNK
    try:
        runs = {
            f"from NumPy, {dtype}, chunks of {chunk:,}": partial(call, "cuda", dtype, chunk)
            for dtype in RTOL
            for chunk in (2**17, 2**19, 2**21)
        }
        runs["all cores of the host, float64"] = partial(call, "cpu", "float64", usual)
        say(f"  {len(runs)} kinds of calls in turns, {repeats} times each")
        return {**rates(n, measure(runs, repeats=repeats))}
    finally:
        cuda_ensemble.CHUNK = usual


def measured_diffrax(n: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Diffrax on the same GPU at its best chunk, at the same tolerance, and the errors of both."""
    import jax

    jax.config.update("jax_enable_x64", True)
    start, system = problem()
    start = ModeState(*(part[:n] for part in start))
    system = ModeSystem(system.lambda_s[:n], system.lambda_d[:n])
    exact = reference(start, system)

    def ours(rtol: float) -> np.ndarray:
        ensemble = integrate_ensemble(
            start, system, full_mode_field, SPAN, rtol=rtol, atol=1e-3 * rtol, device="cuda"
        )
        return np.array(ensemble.final)

    contenders: dict[str, Callable[[float], np.ndarray]] = {f"dyn, from NumPy, {n:,} trajectories": ours}
    if jax.default_backend() == "gpu":
        say("  diffrax compiles, at three sizes of chunks")
        run, chunk, _ = best_diffrax(DIFFRAX_CHUNKS, n, start, system)
        contenders[f"diffrax, {n:,} trajectories, chunks of {chunk:,}"] = run
    else:
        say("  JAX has no GPU here: diffrax is left out")
    found: dict[str, dict[str, Any]] = {
        **rates(n, measure({name: partial(run, 1e-6) for name, run in contenders.items()}, repeats=repeats))
    }
    for name, contender in contenders.items():
        found[name]["largest error"] = achieved(contender(1e-6), exact)
    return found


def compared(n: int) -> dict[str, dict[str, Any]]:
    """Statuses, fates and ends on the GPU and on the CPU, for every variant, with states kept."""
    found = {}
    for name, row in VARIANTS.items():
        if row.kind is None:
            continue
        rng = np.random.default_rng(1)
        lambda_s, tau = rng.uniform(0.5, 2, n), rng.uniform(0.5, 2, n)
        system = ModeSystem(
            lambda_s,
            lambda_s * rng.uniform(0.2, 1, n),
            tau_online=tau,
            tau_predictor=tau,
            tau_target=rng.uniform(0.5, 2, n),
            weight_decay=np.where(rng.random(n) < 0.5, 0, 0.02),
        )
        w1, w2, th = rng.normal(0, 0.7, (3, n))
        start = system.state(w1, w1 if name == "tied" else w2, th)
        t_end = np.where(rng.random(n) < 0.5, rng.uniform(1, 20, n), np.inf)
        for dtype, rtol in RTOL.items():
            say(f"  {name}, {dtype}")
            cpu, gpu = (
                integrate_ensemble(
                    *(start, system, row.mode_field, t_end),
                    rtol=rtol,
                    atol=1e-3 * rtol,
                    dtype=dtype,
                    save_at=[0.5, 3.0],
                    device=device,
                )
                for device in ("cpu", "cuda")
            )
            assert cpu.saved is not None
            assert gpu.saved is not None
            apart = np.abs(np.array(gpu.final) - np.array(cpu.final))
            found[f"{name}, {dtype}"] = {
                "other statuses": int(np.sum(gpu.status != cpu.status)),
                "other fates": int(np.sum(gpu.fate != cpu.fate)),
                "largest difference of ends": float(np.nanmax(apart)),
                "largest difference of states kept": float(
                    np.nanmax(np.abs(np.array(gpu.saved) - np.array(cpu.saved)))
                ),
                "trajectories": n,
            }
    return found


def compiled(variant: str, dtype: str) -> None:
    """Compile what is measured: with states kept for every variant, and without for the full flow."""
    system = ModeSystem([1.0], [0.5])
    for saving in (True, False) if variant == "full" else (True,):
        for device in ("cpu", "cuda"):
            integrate_ensemble(
                *(system.state(), system, VARIANTS[variant].mode_field, 1.0),
                rtol=RTOL[dtype],
                dtype=dtype,
                save_at=[0.5] if saving else None,
                device=device,
            )
    say(f"  compiled: {variant}, {dtype}")


def cells(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, object]]:
    """Rows of a table: every row has the columns of all."""
    columns = list(dict.fromkeys(column for row in found.values() for column in row))
    return [
        {"what": name}
        | {
            column: f"{row[column]:.3g}" if isinstance(row.get(column), float) else row.get(column, "")
            for column in columns
        }
        for name, row in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to write the numbers, as they are")
    parser.add_argument("--n", type=int, default=10_000_000, help="trajectories")
    parser.add_argument("--compared", type=int, default=20_000, help="trajectories of each variant")
    parser.add_argument(
        "--peers", type=int, default=200_000, help="trajectories beside diffrax, at most 200,000"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--table", action="store_true", help="write the tables into benchmarks/README.md too")
    parser.add_argument(
        "--compile", nargs=2, metavar=("VARIANT", "DTYPE"), help="only compile, for the cache on disk"
    )
    options = parser.parse_args()
    if not available():
        print("no CUDA device, or no numba-cuda: nothing to measure here")
        return
    if options.compile is not None:
        compiled(*options.compile)
        return
    say(f"measuring on {device_name()}")
    parts: dict[str, Callable[[], dict[str, dict[str, Any]]]] = {
        "on the GPU and on the CPU": partial(compared, options.compared),
        "kernels alone": partial(measured_alone, options.n, options.repeats),
        "whole calls": partial(measured_calls, options.n, options.repeats),
        "beside diffrax": partial(measured_diffrax, options.peers, options.repeats),
        "settings": partial(measured_settings, options.n, max(2, options.repeats - 2)),
    }
    found: dict[str, Any] = {
        "device": device_name(),
        "machine": machine(),
        "n": options.n,
        "simulated": SIMULATED,
    }
    for number, (name, part) in enumerate(parts.items()):
        say(f"{name} ({number + 1} of {len(parts)})")
        found[name] = part()
        if (
            options.json is not None
        ):  # after every part: what has been measured is kept if the rest is cut off
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
        if options.table:
            write_table(f"ensemble on {found['device']}, {name}", cells(found[name]))
        else:
            for row in cells(found[name]):
                say("  " + ", ".join(f"{value} {column}" for column, value in row.items()))
    wrong = {
        name: row
        for name, row in found["on the GPU and on the CPU"].items()
        if row["other statuses"] or row["other fates"]
    }
    if wrong:
        sys.exit(f"statuses or fates differ: {json.dumps(wrong)}")


if __name__ == "__main__":
    main()
