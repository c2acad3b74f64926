"""Solutions of P θ = θ M at n = 512 against the eigendecompositions of P and M, and at n = 24 against Kronecker."""

from __future__ import annotations

import tracemalloc
from functools import partial

import numpy as np
from _harness import measure, write_table

from analysis.sylvester.solutions import kronecker_solutions, sylvester_solutions


def planted(n: int, n_shared: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """P and M, not symmetric, with real eigenvalues of which they share `n_shared`."""
    rng = np.random.default_rng(seed)
    r = np.linspace(0.05, 1, n)
    p = np.where(np.arange(n) % (n // n_shared) == 0, r, -r)
    X, Y = (np.eye(n) + 0.3 * rng.standard_normal((n, n)) / np.sqrt(n) for _ in range(2))
    return (X * p) @ np.linalg.inv(X), (Y * r) @ np.linalg.inv(Y)


def resonant(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Similar matrices: every eigenvalue is shared, most of them complex."""
    rng = np.random.default_rng(seed)
    P = rng.standard_normal((n, n)) / np.sqrt(n)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return P, Q @ P @ Q.T


def defective(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The same n/4 Jordan blocks of size 4 in two orthonormal bases."""
    rng = np.random.default_rng(seed)
    J = np.diag(np.repeat(np.linspace(-n / 8, n / 8, n // 4), 4)) + np.kron(np.eye(n // 4), np.eye(4, k=1))
    Q, Z = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    return Q @ J @ Q.T, Z @ J @ Z.T


def peak(P: np.ndarray, M: np.ndarray) -> float:
    """Peak memory of counting solutions, in matrices of n² doubles."""
    tracemalloc.start()
    sylvester_solutions(P, M, basis=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / P.nbytes


def against_eigendecompositions(n: int = 512) -> list[dict[str, object]]:
    cases = {
        "8 shared, simple": planted(n, 8, seed=0),
        "all shared, P similar to M": resonant(n, seed=0),
        "all shared, blocks of size 4": defective(n, seed=0),
        "all shared, P = M = I": (np.eye(n), np.eye(n)),
    }
    rows: list[dict[str, object]] = []
    for name, (P, M) in cases.items():
        times = measure(
            {
                "nullity": partial(sylvester_solutions, P, M, basis=False),
                "eig": partial(np.linalg.eig, np.stack([P, M])),
                "eigvals": partial(np.linalg.eigvals, np.stack([P, M])),
            },
            repeats=3,
        )
        seconds = {contender: timing.median for contender, timing in times.items()}
        rows.append(
            {
                f"n1 = n2 = {n}": name,
                "nullity": sylvester_solutions(P, M, basis=False).nullity,
                "time (s)": f"{seconds['nullity']:.2f}",
                "two eig (s)": f"{seconds['eig']:.2f}",
                "ratio to eig": f"{seconds['nullity'] / seconds['eig']:.1f}",
                "ratio to eigvals": f"{seconds['nullity'] / seconds['eigvals']:.1f}",
                "peak memory (n² doubles)": f"{peak(P, M):.0f}",
            }
        )
    return rows


def against_kronecker(n: int = 24) -> list[dict[str, object]]:
    P, M = planted(n, 4, seed=0)
    times = measure(
        {
            "clusters": partial(sylvester_solutions, P, M),
            "Kronecker": partial(kronecker_solutions, P, M),
        },
        repeats=5,
    )
    ratio = times["Kronecker"].median / times["clusters"].median
    return [
        {f"n1 = n2 = {n}": name, **timing.row(), "Kronecker/clusters": f"{ratio:.0f}"}
        for name, timing in times.items()
    ]


def main() -> None:
    write_table("sylvester-512", against_eigendecompositions())
    write_table("sylvester-24", against_kronecker())


if __name__ == "__main__":
    main()
