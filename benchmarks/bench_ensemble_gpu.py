"""The CUDA path of the ensemble integrator beside diffrax on the same GPU, and beside all cores of the host.

Run it by itself on a machine with a GPU; elsewhere it says so and ends.
"""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
from _harness import measure, write_table
from bench_ensemble import SPAN, achieved, best_diffrax, dyn, problem, reference
from numba import cuda

from dynamics.fields.modes import full_mode_field
from dynamics.integration.ensemble import integrate_ensemble

CHUNKS = (16_384, 65_536, 200_000)
RTOL = 1e-6


def main() -> None:
    if not cuda.is_available():
        print("no CUDA device: nothing to measure here")
        return
    jax.config.update("jax_enable_x64", True)
    start, system = problem()
    exact, n = reference(start, system), system.n_modes

    def on_cuda(dtype: type, rtol: float) -> np.ndarray:
        ensemble = integrate_ensemble(
            start, system, full_mode_field, SPAN, rtol=rtol, atol=1e-3 * rtol, dtype=dtype, device="cuda"
        )
        return np.array(ensemble.final)

    contenders = {
        "dyn, CUDA": partial(on_cuda, np.float64, RTOL),
        "dyn, CUDA, float32 at rtol 1e-5": partial(on_cuda, np.float32, 1e-5),
        "dyn, all cores of the host": partial(dyn, start, system, RTOL),
    }
    if jax.default_backend() == "gpu":
        run, chunk, _ = best_diffrax(CHUNKS, n, start, system)
        contenders[f"diffrax on the GPU, chunks of {chunk}"] = partial(run, RTOL)
    times = measure(contenders, repeats=7)
    base = times["dyn, CUDA"].median
    rows = [
        {
            "method": name,
            "achieved error": f"{achieved(contenders[name](), exact):.1e}",
            "trajectories/s": f"{n / time.median:.3g}",
            "spread (%)": f"{100 * time.spread / time.median:.0f}",
            "dyn, CUDA is faster by": f"{time.median / base:.3g}",
        }
        for name, time in times.items()
    ]
    write_table(f"ensemble on {cuda.get_current_device().name.decode()}", rows)


if __name__ == "__main__":
    main()
