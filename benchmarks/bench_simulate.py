"""What `dyn simulate` costs: starting up, one evaluation of the matrix field, the digits to t = 10,000, images to rest.

Start-up is compared with importing what the command cannot do without, the field with its own matrix products, the
long run with SciPy's methods at the same achieved error, implicit steps with the other methods and as n1 grows. BLAS
runs on the threads of OMP_NUM_THREADS, which the table names; `make bench` sets one.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from _harness import Timing, measure, write_table
from scipy.integrate import solve_ivp

from dynamics.data.dataset_moments import dataset_moments
from dynamics.data.datasets import load
from dynamics.data.moments import Moments
from dynamics.data.starts import draw_start
from dynamics.data.views import parse
from dynamics.fields.matrices import full_field
from dynamics.integration.integrate import integrate
from dynamics.states import MatrixState, pack, random_state, unpack
from dynamics.system import MatrixSystem

ACHIEVED = 1e-6
"""Largest entry of the error at the end, of every method in the long run."""
T_END = 10_000.0
LADDER = tuple(10.0**-k for k in range(3, 11))


def row(case: str, subject: Timing, against: str, baseline: Timing, limit: float) -> dict[str, object]:
    return {
        "case": case,
        "median (ms)": f"{1e3 * subject.median:.4g}",
        "spread (ms)": f"{1e3 * subject.spread:.2g}",
        "against": against,
        "its median (ms)": f"{1e3 * baseline.median:.4g}",
        "ratio": f"{subject.median / baseline.median:.2f}",
        "limit": limit,
    }


# --- start-up -----------------------------------------------------------------------------------------------


def start_up() -> list[dict[str, object]]:
    dyn = str(Path(sys.executable).with_name("dyn"))
    libraries = {"help": "import typer, rich", "simulate": "import numpy, scipy.integrate, typer, rich"}
    arguments = {"help": "--help", "simulate": "simulate --lambda-s 1 --lambda-d 0.5"}
    limits = {"help": 2.0, "simulate": 1.5}
    commands = {name: [dyn, *words.split()] for name, words in arguments.items()}
    commands |= {code: [sys.executable, "-c", code] for code in libraries.values()}
    run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    times = measure({name: partial(run, command) for name, command in commands.items()}, repeats=15)
    return [
        row(f"`dyn {arguments[name]}`", times[name], f"`{code}`", times[code], limits[name])
        for name, code in libraries.items()
    ]


# --- the field ----------------------------------------------------------------------------------------------


def matrix_field(n1: int = 1024, n2: int = 256) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((2, n1, n1)) / np.sqrt(n1)
    D, S = A @ A.T, A @ A.T + B @ B.T
    W, P, Th = state = random_state(n1, n2, scale_online=0.01, scale_predictor=0.01, seed=0)
    full = MatrixSystem((S + S.T) / 2, (D + D.T) / 2)
    diagonal = MatrixSystem(np.diag(S), np.diag(D))
    E = rng.standard_normal((n2, n1))

    def five_products() -> object:
        return Th @ full.sigma_d, P @ W, E @ full.sigma_s, P.T @ E, E @ W.T

    def three_products() -> object:
        return P @ W, P.T @ E, E @ W.T

    times = measure(
        {
            "full": lambda: full_field(0.0, state, full),
            "five": five_products,
            "diagonal": lambda: full_field(0.0, state, diagonal),
            "three": three_products,
        },
        repeats=41,
        warmup=3,
    )
    size = f"field, n1 = {n1}, n2 = {n2}"
    return [
        row(f"{size}, Σ matrices", times["full"], "its five matrix products", times["five"], 1.25),
        row(f"{size}, Σ diagonal", times["diagonal"], "its three matrix products", times["three"], 1.25),
    ]


# --- the long run -------------------------------------------------------------------------------------------

Run = Callable[[float], np.ndarray]


def digits() -> tuple[MatrixState, MatrixSystem]:
    moments = Moments.from_data(load("digits").images, [parse("shift:1"), parse("noise:0.3")])
    start = random_state(moments.n1, 8, scale_online=0.3 / 8, scale_predictor=0.1, seed=0)
    return start, MatrixSystem(moments.sigma_s, moments.sigma_d)


def loosest(run: Run, reference: np.ndarray) -> tuple[float, float]:
    """Loosest tolerance of the ladder whose run ends within `ACHIEVED` of the reference, and its error."""
    for rtol in LADDER:
        error = float(np.max(np.abs(run(rtol) - reference)))
        if error <= ACHIEVED:
            return rtol, error
    raise RuntimeError(f"no tolerance of {LADDER} reaches an error of {ACHIEVED:g}")


def long_run() -> list[dict[str, object]]:
    start, system = digits()
    y0 = pack(start)

    def flow(t: float, y: np.ndarray) -> np.ndarray:
        return pack(full_field(t, unpack(y, start), system))

    def ours(rtol: float) -> np.ndarray:
        return pack(integrate(start, system, full_field, T_END, rtol=rtol, atol=1e-2 * rtol).final)

    def scipys(method: str, rtol: float) -> np.ndarray:
        return solve_ivp(flow, (0, T_END), y0, method=method, rtol=rtol, atol=1e-2 * rtol).y[:, -1]

    reference = scipys("DOP853", 1e-12)
    runs: dict[str, Run] = {"dyn": ours, **{name: partial(scipys, name) for name in ("RK45", "LSODA")}}
    chosen = {name: loosest(run, reference) for name, run in runs.items()}
    times = measure({name: partial(run, chosen[name][0]) for name, run in runs.items()}, repeats=5, warmup=0)
    return [
        {
            "method": name,
            "rtol": f"{chosen[name][0]:.0e}",
            "achieved error": f"{chosen[name][1]:.1e}",
            **times[name].row(),
            "dyn is faster by": f"{times[name].median / times['dyn'].median:.1f}",
            "limit": 5 if name != "dyn" else "",
        }
        for name in runs
    ]


# --- images -------------------------------------------------------------------------------------------------

FASHION = Path("/usr/share/datasets/fashion-mnist")


def image_like(n1: int, n2: int) -> tuple[MatrixState, MatrixSystem]:
    """Moments whose spectra fall like those of images, over noise of variance 0.09, and do not commute."""
    rng = np.random.default_rng(0)
    falling = 200.0 / np.arange(1, n1 + 1) ** 1.5
    A, B = rng.standard_normal((2, n1, n1)) / np.sqrt(n1)
    D = (A * falling) @ A.T
    S = D + 0.1 * (B * falling) @ B.T + 0.09 * np.eye(n1)
    start = random_state(n1, n2, scale_online=0.3 / np.sqrt(n1), scale_predictor=0.1, seed=0)
    return start, MatrixSystem((S + S.T) / 2, (D + D.T) / 2)


SIZES = (64, 256, 784, 1536, 3072)


def growth_with_n1(
    sizes: tuple[int, ...] = SIZES, t_end: float = 10.0, rtol: float = 1e-6
) -> list[dict[str, object]]:
    rows = []
    for n1 in sizes:
        start, system = image_like(n1, 16)
        row: dict[str, object] = {"n1": n1}
        for method in ("implicit", "explicit"):
            if method == "explicit" and n1 > 256:  # minutes
                row |= {"explicit (s)": "", "its evaluations": ""}
                continue
            began = time.perf_counter()
            run = integrate(start, system, full_field, t_end, rtol=rtol, atol=1e-2 * rtol, method=method)
            row[f"{method} (s)"] = f"{time.perf_counter() - began:.3g}"
            row["evaluations" if method == "implicit" else "its evaluations"] = run.n_field_evaluations
        rows.append(row)
    return rows


def against_scipy(t_end: float = 100.0, achieved: float = 1e-5) -> list[dict[str, object]]:
    """A slice that dense methods can finish: 128 inputs, 4 features, 1,040 unknowns."""
    start, system = image_like(128, 4)
    y0 = pack(start)

    def flow(t: float, y: np.ndarray) -> np.ndarray:
        return pack(full_field(t, unpack(y, start), system))

    def scipys(method: str, rtol: float) -> np.ndarray:
        return solve_ivp(flow, (0, t_end), y0, method=method, rtol=rtol, atol=1e-2 * rtol).y[:, -1]

    def ours(method: str, rtol: float) -> np.ndarray:
        return pack(
            integrate(start, system, full_field, t_end, rtol=rtol, atol=1e-2 * rtol, method=method).final
        )

    reference = scipys("DOP853", 1e-11)
    runs: dict[str, Run] = {
        "dyn, implicit": partial(ours, "implicit"),
        "dyn, explicit": partial(ours, "explicit"),
    }
    runs |= {name: partial(scipys, name) for name in ("LSODA", "Radau")}
    rows: list[dict[str, object]] = []
    for name, run in runs.items():
        for rtol in LADDER:
            began = time.perf_counter()
            error = float(np.max(np.abs(run(rtol) - reference)))
            taken = time.perf_counter() - began
            if error <= achieved:
                break
        rows.append(
            {
                "method": name,
                "rtol": f"{rtol:.0e}",
                "achieved error": f"{error:.1e}",
                "time (s)": f"{taken:.3g}",
            }
        )
    return rows


def images_to_rest() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    began = time.perf_counter()
    moments = dataset_moments(
        load(f"mnist:{FASHION}"), [parse("shift:2", seed=0), parse("noise:.3", seed=0)], seed=0
    )
    known = time.perf_counter() - began
    start = draw_start(moments, 16, seed=0)
    system = MatrixSystem(moments.sigma_s, moments.sigma_d)
    for rtol in (1e-8,):
        began, cpu = time.perf_counter(), time.process_time()
        run = integrate(start, system, full_field, rtol=rtol, atol=1e-2 * rtol)
        rows.append(
            {
                "rtol": f"{rtol:.0e}",
                "moments (s)": f"{known:.2g}",
                "run (s)": f"{time.perf_counter() - began:.3g}",
                "of a processor (s)": f"{time.process_time() - cpu:.3g}",
                "status": run.status.value,
                "t": f"{run.t:.3g}",
                "steps": run.n_steps,
                "evaluations": run.n_field_evaluations,
            }
        )
    return rows


if __name__ == "__main__":
    write_table("simulate", start_up() + matrix_field())
    write_table("simulate-digits", long_run())
    write_table("simulate-slice", against_scipy())
    write_table("simulate-growth", growth_with_n1())
    if FASHION.exists():
        write_table("simulate-images", images_to_rest())
