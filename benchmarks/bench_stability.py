"""Spectra at fixed points: R9's blocks as the network grows, and Arnoldi's method against the dense eigensolver."""

from __future__ import annotations

from functools import partial

import numpy as np
from _harness import measure, write_table

from analysis.stability.spectrum import stability
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem

SIZES = ((128, 16), (256, 32), (512, 64), (1024, 64))


def decoupled(n1: int, n2: int, *, matrices: bool) -> tuple[MatrixState, MatrixSystem]:
    """Rows on the top n2 − 2 modes, one row collapsed with p < 0 and one with 0 < p < max r."""
    lambda_s, r = np.linspace(2.0, 1.0, n1), np.linspace(0.95, 0.05, n1)
    W, held = np.zeros((n2, n1)), np.arange(n2 - 2)
    W[held, held] = r[held]
    P = np.diag(np.append(r[held], [-0.2, 0.3]))
    if not matrices:
        system = MatrixSystem(lambda_s, lambda_s * r)
        return system.state(W, P), system
    U = np.linalg.qr(np.random.default_rng(0).standard_normal((n1, n1)))[0]
    sigma_s, sigma_d = U * lambda_s @ U.T, U * (lambda_s * r) @ U.T
    system = MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2)
    return system.state(W @ U.T, P), system


def general(n1: int, n2: int) -> tuple[MatrixState, MatrixSystem]:
    """Moments that do not commute, features in general position, one mode left out: no structure to use."""
    rng = np.random.default_rng(0)
    A = np.eye(n1) + 0.3 * rng.standard_normal((n1, n1)) / np.sqrt(n1)
    r = np.linspace(0.95, 0.05, n1)
    sigma_s, sigma_d = A @ A.T, (A * r) @ A.T
    system = MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2)
    held = np.append(np.arange(n2 - 1), n2)
    S = np.eye(n2) + 0.3 * rng.standard_normal((n2, n2)) / np.sqrt(n2)
    return system.state(S * r[held] @ np.linalg.inv(A)[held], S * r[held] @ np.linalg.inv(S)), system


def main() -> None:
    for name, matrices in (("eigenvalues given", False), ("matrices given", True)):
        points = {f"{n1} × {n2}": decoupled(n1, n2, matrices=matrices) for n1, n2 in SIZES}
        times = measure({size: partial(stability, *point) for size, point in points.items()}, repeats=5)
        growth = np.polyfit(
            np.log([n1 * n2 for n1, n2 in SIZES]), np.log([time.median for time in times.values()]), 1
        )[0]
        print(f"{name}: time grows as (n1 n2)^{growth:.2f}")
        write_table(
            f"stability, R9 blocks, {name}",
            [
                {"n1 × n2": size, "unknowns": stability(*points[size]).n_unknowns, **time.row()}
                for size, time in times.items()
            ],
        )
    rows = []
    for n1, n2 in ((32, 8), (64, 8), (64, 16)):
        point = general(n1, n2)
        times = measure(
            {
                "dense": partial(stability, *point, method="dense"),
                "iterative": partial(stability, *point, method="iterative"),
            },
            repeats=3,
        )
        dense, iterative = stability(*point, method="dense"), stability(*point, method="iterative")
        if (dense.n_positive, dense.n_zero) != (iterative.n_positive, iterative.n_zero):
            raise RuntimeError(f"the methods disagree at {n1} × {n2}")
        rows += [
            {"n1 × n2": f"{n1} × {n2}", "unknowns": dense.n_unknowns, "method": method, **time.row()}
            for method, time in times.items()
        ]
    write_table("stability, no structure", rows)


if __name__ == "__main__":
    main()
