"""The ensemble integrator beside a plain compiled loop, diffrax and SciPy, at matched achieved error.

The problem: N = 200,000 modes, λs ~ U(.5, 2), λd = λs U(.2, 1), starts N(0, .7²) in all three weights, state at
t = 50. Errors are the largest over 1,000 of them against DOP853 at 1e-13. Peers that are slow run on fewer and
their time is scaled; what compiles, compiles before it is timed.

python benchmarks/bench_ensemble.py             # the instructions that this machine has
python benchmarks/bench_ensemble.py --isa avx2  # AVX2 code of Numba and XLA alike, on a machine that has AVX-512 too
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import llvmlite.binding
import numpy as np
from _harness import Timing, measure, write_table
from numba import get_num_threads, njit, prange
from scipy.integrate import solve_ivp

from dynamics.fields.modes import full_mode_field
from dynamics.integration import explicit_pair as kernels
from dynamics.integration.ensemble import Ensemble, integrate_ensemble
from dynamics.integration.lane_kernels import lane_kernel
from dynamics.integration.mode_ends import STEADY
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS

N, N_DIFFRAX, N_GRADSOLVE, N_SCIPY, N_CHECKED = 200_000, 16_384, 256, 100, 1_000
SPAN = 50.0
TOLERANCES = (1e-4, 1e-6, 1e-8)
CHUNKS = (256, 2_048, 16_384)

Contender = Callable[[float], np.ndarray]


def problem() -> tuple[ModeState, ModeSystem]:
    rng = np.random.default_rng(0)
    lambda_s = rng.uniform(0.5, 2, N)
    system = ModeSystem(lambda_s, lambda_s * rng.uniform(0.2, 1, N))
    return system.state(*rng.normal(0, 0.7, (3, N))), system


def reference(start: ModeState, system: ModeSystem) -> np.ndarray:
    def flow(t: float, y: np.ndarray) -> np.ndarray:
        w1, w2, th = y.reshape(3, -1)
        e = th * system.lambda_d[:N_CHECKED] - w2 * w1 * system.lambda_s[:N_CHECKED]
        return np.concatenate([w2 * e, w1 * e, w1 - th])

    y0 = np.concatenate([part[:N_CHECKED] for part in start])
    solution = solve_ivp(flow, (0, SPAN), y0, method="DOP853", rtol=1e-13, atol=1e-15)
    return solution.y[:, -1].reshape(3, -1)


FORM = (VARIANTS["full"].kind, 0.0, 0.0)


# --- contenders: tolerance -> ends (3, n) ---------------------------------------------------------------------


def ensemble_of(start: ModeState, system: ModeSystem, rtol: float) -> Ensemble:
    return integrate_ensemble(start, system, full_mode_field, SPAN, rtol=rtol, atol=1e-3 * rtol, device="cpu")


def dyn(start: ModeState, system: ModeSystem, rtol: float) -> np.ndarray:
    return np.array(ensemble_of(start, system, rtol).final)


def tries(start: ModeState, system: ModeSystem, rtol: float) -> float:
    """Tries of steps that a trajectory takes in dyn, on average."""
    ensemble = ensemble_of(start, system, rtol)
    return float(np.mean(ensemble.n_accepted) + np.mean(ensemble.n_rejected))


@njit(parallel=True, fastmath=kernels.FAST_MATH, error_model="numpy")
def plain_loop(
    lambda_s: Any, lambda_d: Any, start: Any, span: Any, rtol: Any, atol: Any, stops: Any, ends: Any
) -> None:
    """One trajectory after another, the same step, the usual step control; stops at rest if asked to."""
    for i in prange(lambda_s.size):
        p = lambda_s[i], lambda_d[i], 1.0, 1.0, 1.0, 0.0
        begin = start[0, i], start[1, i], start[2, i]
        y, k, h, look = kernels.opening(FORM, begin, p, rtol, 2 * rtol**0.2, rtol**0.5)
        t = 0.0
        while t < span:
            h = min(h, span - t)
            z, slope, error = kernels.step(FORM, y, h, k, p, kernels.TABLEAU)
            encoder = max(abs(y[0]), abs(z[0]), abs(y[2]), abs(z[2]))
            predictor = max(encoder, abs(y[1]), abs(z[1]))
            size = max(
                max(abs(error[0]), abs(error[2])) / (1e-30 + rtol * encoder),
                abs(error[1]) / (atol + rtol * predictor),
            )
            if size <= 1:
                t += h
                y, k = z, slope
                if stops and max(abs(k[0]), abs(k[1]), abs(k[2])) <= look:
                    rates = (lambda_s[i], lambda_d[i], 1.0, 1.0, 1.0, 0.0)
                    outcome, end, _ = kernels.looked(FORM, begin, y, rates, span - t, rtol, atol)
                    if outcome == STEADY:
                        y = end
                        break
                    look = max(abs(k[0]), abs(k[1]), abs(k[2])) / 10
            h *= min(8.0, max(0.2, 0.9 * size**-0.2)) if size > 0 else 8.0
        ends[0, i], ends[1, i], ends[2, i] = y


def numba_loop(stops: bool, start: ModeState, system: ModeSystem, rtol: float) -> np.ndarray:
    ends = np.empty((3, system.n_modes))
    local = rtol / 2  # as integrate_ensemble does
    plain_loop(system.lambda_s, system.lambda_d, np.array(start), SPAN, local, 1e-3 * local, stops, ends)
    return ends


def diffrax_vmap(chunk: int, n: int, start: ModeState, system: ModeSystem) -> Contender:
    import diffrax
    import jax.numpy as jnp

    def flow(t: Any, y: Any, p: Any) -> Any:
        w1, w2, th = y
        e = th * p[1] - w2 * w1 * p[0]
        return jnp.stack([w2 * e, w1 * e, w1 - th])

    def end(y: Any, p: Any, rtol: Any) -> Any:
        solution = diffrax.diffeqsolve(
            *(diffrax.ODETerm(flow), diffrax.Tsit5(), 0.0, SPAN, None, y, p),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=1e-3 * rtol),
            max_steps=10_000,
        )
        return solution.ys[-1]

    many = jax.jit(jax.vmap(end, (0, 0, None)))
    y0 = np.array(start).T[:n]
    p0 = np.column_stack([system.lambda_s, system.lambda_d])[:n]

    def run(rtol: float) -> np.ndarray:
        parts = [many(y0[i : i + chunk], p0[i : i + chunk], rtol) for i in range(0, n, chunk)]
        return np.concatenate(jax.block_until_ready(parts)).T

    return run


def gradsolve_run(start: ModeState, system: ModeSystem, rtol: float) -> np.ndarray:
    import jax.numpy as jnp

    gradsolve = import_module("gradsolve")  # not among our dependencies

    class OneMode:
        name, dim, t0, t1, is_stiff = "one_mode", 3, 0.0, SPAN, False

        def f_jax(self, t: Any, y: Any, p: Any) -> Any:
            e = y[2] * p[1] - y[1] * y[0] * p[0]
            return jnp.stack([y[1] * e, y[0] * e, y[0] - y[2]])

    y0 = np.array(start).T[:N_GRADSOLVE]
    p0 = np.column_stack([system.lambda_s, system.lambda_d])[:N_GRADSOLVE]
    result = gradsolve.solve(OneMode(), y0, p0, engine="tsit5_replay", rtol=rtol, atol=1e-3 * rtol)
    return np.asarray(result.y_final).T


def scipy_loop(method: str, start: ModeState, system: ModeSystem, rtol: float) -> np.ndarray:
    ends = []
    for i in range(N_SCIPY):
        ls, ld = system.lambda_s[i], system.lambda_d[i]

        def flow(t: float, y: Any, ls: float = ls, ld: float = ld) -> list[float]:
            w1, w2, th = y
            e = th * ld - w2 * w1 * ls
            return [w2 * e, w1 * e, w1 - th]

        y0 = [part[i] for part in start]
        ends.append(solve_ivp(flow, (0, SPAN), y0, method=method, rtol=rtol, atol=1e-3 * rtol).y[:, -1])
    return np.array(ends).T


# --- the tables ---------------------------------------------------------------------------------------------


def achieved(ends: np.ndarray, exact: np.ndarray) -> float:
    n = min(ends.shape[1], N_CHECKED)
    return float(np.max(np.abs(ends[:, :n] - exact[:, :n])))


def first_seconds(contender: Contender) -> float:
    began = time.perf_counter()
    contender(1e-6)
    return time.perf_counter() - began


def compile_seconds() -> float:
    """Seconds that the first use of dyn's kernel takes on a machine without its cache."""
    code = "import time; from dynamics.integration.lane_kernels import lane_kernel; t = time.perf_counter();"
    code += "lane_kernel((0, 0.0, 0.0), 'float64', False); print(time.perf_counter() - t)"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"NUMBA_CACHE_DIR": folder},
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            check=True,
        )
    return float(done.stdout)


def environment(isa: str, caches: str) -> dict[str, str]:
    """Variables under which Numba and XLA compile for this machine, or for it as if it had no AVX-512.

    A name of a processor alone does not turn instructions off in Numba: it takes those of the machine.
    """
    own = os.environ | {"NUMBA_CACHE_DIR": caches}
    if isa == "host":
        return own
    features = llvmlite.binding.get_host_cpu_features()
    wide = re.compile("avx512|avx10|amx|evex")
    flags = ",".join(f"{'+' if on and not wide.match(name) else '-'}{name}" for name, on in features.items())
    return own | {
        "NUMBA_CPU_NAME": "znver3",
        "NUMBA_CPU_FEATURES": flags,
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    }


def operations() -> int:
    """Additions, multiplications and divisions of one try, counted in what the compiler makes of it."""

    @njit(fastmath=kernels.FAST_MATH, error_model="numpy")
    def tried(y: Any, k: Any, h: Any, p: Any, rtol: Any, atol: Any) -> Any:
        return kernels.attempt(FORM, y, k, h, p, rtol, atol, kernels.TABLEAU)

    three = (0.1, 0.2, 0.3)
    tried(three, three, 0.1, (*three, *three), 1e-6, 1e-9)
    (code,) = tried.inspect_llvm().values()
    return len(re.findall(r" = f(?:add|sub|mul|div) ", code))


TERMS, POINTS, ROUNDS = 16, 256, 20_000


@njit(parallel=True, fastmath={"contract"})  # no reassociation: it would leave operations out
def polynomials(x: Any, coefficients: Any) -> Any:
    """Four polynomials at each point, over and over, on all cores: multiplications and additions alone."""
    total = np.zeros((x.shape[0], x.shape[1]))
    for core in prange(x.shape[0]):
        for r in range(ROUNDS):
            for i in range(x.shape[1]):
                a, z = total[core, i] + r, x[core, i]
                b, c, d = a + 1, a + 2, a + 3
                for n in range(TERMS):
                    a, b = a * z + coefficients[n], b * z + coefficients[n]
                    c, d = c * z + coefficients[n], d * z + coefficients[n]
                total[core, i] = a + b + c + d
    return total


def arithmetic_limit() -> float:
    """Operations a second that the same compiler reaches on both cores where nothing but arithmetic is asked for."""
    cores = get_num_threads()
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (cores, POINTS))
    run = partial(polynomials, x, np.linspace(0.1, 0.2, TERMS))
    fastest = min(measure({"limit": run}, repeats=5, warmup=1)["limit"].seconds)
    return 8.0 * TERMS * POINTS * ROUNDS * cores / fastest


def instructions() -> str:
    """What the lanes were compiled to, by the registers in their assembly; their code must not come from a cache."""
    kernel: Any = lane_kernel(FORM, "float64", False)
    text = "".join(kernel.inspect_asm().values())
    return "AVX-512" if "%zmm" in text else "AVX2" if "%ymm" in text else "SSE"


def best_diffrax(
    chunks: tuple[int, ...], n: int, start: ModeState, system: ModeSystem
) -> tuple[Contender, int, float]:
    """Diffrax at its best chunk size, that size, and the seconds it takes to compile."""
    runs = {chunk: diffrax_vmap(chunk, n, start, system) for chunk in chunks}
    first = {chunk: first_seconds(run) for chunk, run in runs.items()}
    times = measure({str(chunk): partial(run, 1e-6) for chunk, run in runs.items()}, repeats=3, warmup=0)
    best = min(chunks, key=lambda chunk: times[str(chunk)].median)
    return runs[best], best, first[best] - times[str(best)].median


def plot(work: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """Work against precision: microseconds a trajectory over achieved error."""
    import matplotlib.pyplot as plt

    from figures.style import style

    with style():
        figure, ax = plt.subplots(figsize=(6, 4))
        for name, points in work.items():
            errors, seconds = zip(*points, strict=True)
            ax.loglog(errors, 1e6 * np.array(seconds), marker="o", label=name)
        ax.set(xlabel="largest error of the end", ylabel="microseconds a trajectory")
        ax.invert_xaxis()
        ax.legend()
        figure.savefig(path)


def main() -> None:
    isa = instructions()
    jax.config.update("jax_enable_x64", True)
    start, system = problem()
    exact = reference(start, system)
    diffrax_run, chunk, diffrax_compile = best_diffrax(CHUNKS, N_DIFFRAX, start, system)
    diffrax_name = f"diffrax vmap, chunks of {chunk}"
    contenders: dict[str, tuple[Contender, int]] = {
        "dyn": (partial(dyn, start, system), N),
        "plain numba loop": (partial(numba_loop, False, start, system), N),
        "the same, stopping at rest": (partial(numba_loop, True, start, system), N),
        diffrax_name: (diffrax_run, N_DIFFRAX),
        "SciPy RK45 loop": (partial(scipy_loop, "RK45", start, system), N_SCIPY),
        "SciPy LSODA loop": (partial(scipy_loop, "LSODA", start, system), N_SCIPY),
    }
    if find_spec("gradsolve") is None:
        print("gradsolve is not installed (pip install gradsolve): it is left out")
    else:
        contenders["gradsolve, tsit5_replay"] = (partial(gradsolve_run, start, system), N_GRADSOLVE)
    compiled = {
        "dyn": compile_seconds(),
        "plain numba loop": first_seconds(contenders["plain numba loop"][0]),
        diffrax_name: diffrax_compile,
    }
    work: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    rows, main_rows, arithmetic = [], [], []
    a_try, limit = operations(), arithmetic_limit()
    for rtol in TOLERANCES:
        repeats = 7 if rtol == 1e-6 else 3
        times = measure({name: partial(run, rtol) for name, (run, _) in contenders.items()}, repeats=repeats)
        base = times["dyn"].median / N
        n_tries = tries(start, system, rtol)
        a_second = a_try * n_tries / base
        arithmetic.append(
            {
                f"dyn, {isa} code, rtol": f"{rtol:g}",
                "tries a trajectory": f"{n_tries:.1f}",
                "operations a try": a_try,
                "10⁹ operations/s": f"{1e-9 * a_second:.3g}",
                "limit": f"{1e-9 * limit:.3g}",
                "share (%)": f"{100 * a_second / limit:.0f}",
            }
        )
        for name, (run, n) in contenders.items():
            each, error = times[name].median / n, achieved(run(rtol), exact)
            work[name].append((error, each))
            rows.append(
                {
                    f"method, {isa} code": name,
                    "rtol": f"{rtol:g}",
                    "achieved error": f"{error:.1e}",
                    **_cells(times[name], n, base),
                }
            )
            if rtol == 1e-6:
                main_rows.append(
                    {
                        f"method, {isa} code": name,
                        "trajectories run": n,
                        "achieved error": f"{error:.1e}",
                        **_cells(times[name], n, base),
                        "compile (s)": f"{compiled[name]:.1f}" if name in compiled else "",
                    }
                )
    write_table(f"ensemble, {isa}", main_rows)
    write_table(f"ensemble, {isa}, work and precision", rows)
    write_table(f"ensemble, {isa}, arithmetic", arithmetic)
    if isa == "AVX-512":
        plot(work, Path(__file__).parent / "work_precision.svg")


def _cells(timing: Timing, n: int, base: float) -> dict[str, str]:
    return {
        "trajectories/s": f"{n / timing.median:.3g}",
        "spread (%)": f"{100 * timing.spread / timing.median:.0f}",
        "dyn is faster by": f"{timing.median / n / base:.3g}",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Ensembles beside their peers.")
    parser.add_argument("--isa", choices=("host", "avx2"), default="host")
    if "BENCH_ENSEMBLE" in os.environ:
        main()
    else:
        chosen = parser.parse_args().isa
        with tempfile.TemporaryDirectory() as folder:
            variables = environment(chosen, folder) | {"BENCH_ENSEMBLE": chosen}
            sys.exit(subprocess.run([sys.executable, __file__], env=variables, check=False).returncode)
