"""What the trials and proofs of all groups share: random systems, symbols, tolerances."""

from __future__ import annotations

from typing import Any

import numpy as np

EPS = float(np.finfo(np.float64).eps)
RTOL, ATOL = 1e-9, 1e-12
"""Tolerances of the integrations; errors stay within 10 (RTOL |state| + ATOL)."""


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


# --- the loss, view by view -------------------------------------------------------------------------------------
