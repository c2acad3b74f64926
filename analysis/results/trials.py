"""What the trials and proofs of all groups share: random systems, symbols, tolerances."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.results.registry import Measurement
from dynamics.fields.vector_field import VectorField
from dynamics.integration.integrate import Trajectory, integrate
from dynamics.states import State
from dynamics.system import System

EPS = float(np.finfo(np.float64).eps)
RTOL, ATOL = 1e-9, 1e-12
"""Tolerances of the integrations."""


def worst(*parts: tuple[Any, Any]) -> Measurement:
    """Of several residuals, numbers or arrays, each with its own tolerance, that which uses up most of it; NaN first.

    >>> worst((1e-15, 1e-14), (np.array([1e-9, 0.0]), 1e-6))
    Measurement(residual=1e-15, tolerance=1e-14)
    """
    pairs = [pair for part in parts for pair in zip(*map(np.ravel, np.broadcast_arrays(*part)), strict=True)]
    measured = [Measurement(float(residual), float(tolerance)) for residual, tolerance in pairs]

    def share(m: Measurement) -> float:
        used = m.residual / m.tolerance
        return np.inf if np.isnan(used) else used

    return max(measured, key=share)


def refuted(*, unless: Any) -> tuple[float, float]:
    """Part of `worst` for a statement that holds or does not: 0 where it holds, infinite where not."""
    return (0.0 if unless else np.inf), 1.0


def followed(
    start: State, system: System, field: VectorField, t_end: float | None = None, **options: Any
) -> tuple[Trajectory[State], float]:
    """Follow the flow, and measure the error of the run by a second one at a tolerance 100 times finer.

    Returns
    -------
    run, error
        The run at `RTOL` and `ATOL`, and the largest distance of its states from those of the finer run, or of its
        end where no times are asked for, with the rounding of the finer one: a few eps a step of its largest weight.
        NaN, which no residual is within, where the runs have parted: they would prove nothing.
    """
    run = integrate(start, system, field, t_end, rtol=RTOL, atol=ATOL, **options)
    finer = integrate(start, system, field, t_end, rtol=RTOL / 100, atol=ATOL / 100, **options)
    pairs = (
        zip(run.states, finer.states, strict=True)
        if "ts" in options
        else zip(run.final, finer.final, strict=True)
    )
    largest = max(float(np.max(np.abs(part))) for part in finer.states)
    error = max(float(np.max(np.abs(a - b))) for a, b in pairs)
    error += 4 * EPS * max(finer.n_steps, 1) * largest
    return run, error if error < 1e-6 * (1 + largest) else np.nan


def orthogonal(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw an orthogonal matrix, shape (n, n)."""
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def random_rates(rng: np.random.Generator) -> dict[str, float]:
    """Draw τo, τp and τt between 0.5 and 2, as keyword arguments of a system."""
    return {name: rng.uniform(0.5, 2.0) for name in ("tau_online", "tau_predictor", "tau_target")}


def symbols(letter: str, rows: int, columns: int) -> np.ndarray:
    """Matrix of real SymPy symbols, shape (rows, columns)."""
    import sympy as sp

    names = sp.symbols(f"{letter}0:{rows * columns}", real=True)
    return np.array(names, dtype=object).reshape(rows, columns)


def symbolic_rates() -> dict[str, Any]:
    """Symbols for τo, τp, τt and η, as keyword arguments of a system."""
    import sympy as sp

    names = ("tau_online", "tau_predictor", "tau_target", "weight_decay")
    return dict(zip(names, sp.symbols("tau_o tau_p tau_t eta", positive=True), strict=True))


def vanishes(expressions: Any) -> bool:
    """Whether every SymPy expression of an array is identically zero."""
    import sympy as sp

    return all(sp.simplify(sp.expand(entry)) == 0 for entry in np.ravel(np.array(expressions, dtype=object)))
