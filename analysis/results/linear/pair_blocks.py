"""Results on the spectrum at decoupled fixed points: R9, R10."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from analysis.results.linear.solutions import mode_symbols
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import (
    EPS,
    orthogonal,
    random_rates,
    symbolic_rates,
    symbols,
    vanishes,
    worst,
)
from analysis.stability.jacobian import dense_jacobian
from analysis.stability.pair_conditions import pair_conditions
from analysis.stability.spectrum import stability
from dynamics.fields.matrices import full_field
from dynamics.modes import expand_modes
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem

# --- R9 ---------------------------------------------------------------------------------------------------------


def pair_block(p: Any, w: Any, lambda_s: Any, lambda_d: Any, system: Any) -> list[list[Any]]:
    """Jacobian over (δW_ij, δP_ik, δΘ_ij): p of row i, w of the row k that selected mode j, 0 where none did."""
    to, tp, tt = system.tau_online, system.tau_predictor, system.tau_target
    return [
        [-(p**2) * lambda_s / to, -p * lambda_s * w / to, p * lambda_d / to],
        [-w * p * lambda_s / tp, -(w**2) * lambda_s / tp, w * lambda_d / tp],
        [1 / tt, 0, -1 / tt],
    ]


def _decoupled_point(
    rng: np.random.Generator,
) -> tuple[MatrixState, MatrixSystem, ModeSystem, np.ndarray, np.ndarray, np.ndarray]:
    """Fixed point with rows 0 and 1 on modes 0 and 1 of 4 and row 2 collapsed; its p, w and the directions."""
    n1, n2 = 4, 3
    U = orthogonal(rng, n1)
    lambda_s, r = rng.uniform(0.5, 2.0, n1), rng.uniform(0.1, 0.95, n1)
    sigma_s, sigma_d = (U * lambda_s) @ U.T, (U * (r * lambda_s)) @ U.T
    rates = random_rates(rng)
    system = MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2, **rates)
    w = np.append(rng.uniform(0.1, 1.0, 2), 0.0)
    p = np.append(r[:2], rng.uniform(-1.0, 1.5))
    state = expand_modes(ModeState(w, p, w), U.T[:n2])
    return state, system, ModeSystem(lambda_s, r * lambda_s, **rates), p, w, U


def exact_spectrum(
    rng: np.random.Generator,
    *,
    jacobian: Callable[[MatrixState, MatrixSystem], np.ndarray] = dense_jacobian,
    block: Callable[..., Any] = pair_block,
    spectrum: Callable[..., Any] = stability,
) -> Measurement:
    """R9: the assembled Jacobian in the modes' coordinates against the blocks, and the power sums of its spectrum."""
    state, system, modes, p, w, U = _decoupled_point(rng)
    n1, n2 = len(U), len(p)
    # to the coordinates in which row i of W and Θ is given along the modes
    turn = np.zeros((2 * n1 * n2 + n2**2,) * 2)
    rows = np.kron(np.eye(n2), U)
    turn[: n1 * n2, : n1 * n2] = turn[n1 * n2 + n2**2 :, n1 * n2 + n2**2 :] = rows
    turn[n1 * n2 : n1 * n2 + n2**2, n1 * n2 : n1 * n2 + n2**2] = np.eye(n2**2)
    J = turn.T @ jacobian(state, system) @ turn
    expected = np.zeros(J.shape)
    for i, j in np.ndindex(n2, n1):
        held = j < n2 and w[j] != 0
        B = np.array(block(p[i], w[j] if held else 0.0, modes.lambda_s[j], modes.lambda_d[j], system))
        at = [i * n1 + j, n1 * n2 + i * n2 + j, n1 * n2 + n2**2 + i * n1 + j]
        kept = [0, 1, 2] if held else [0, 2]
        expected[np.ix_([at[k] for k in kept], [at[k] for k in kept])] = B[np.ix_(kept, kept)]
    found = spectrum(state, system)
    size, n = float(np.linalg.norm(expected)), len(J)
    # entries are sums of n1 products, turned from both sides
    parts = [(np.max(np.abs(J - expected)), 4 * n1 * EPS * size)]
    # an eigensolver's spectrum is that of a matrix within a few √n eps of its size: its k-th power sum moves by k
    # times that and the size of the others; forced zeros are set to 0 from within `zero_spread`
    for k in (1, 2, 3):
        gap = abs(np.sum(found.eigenvalues**k) - np.trace(np.linalg.matrix_power(expected, k)))
        parts.append((gap, k * size ** (k - 1) * np.sqrt(n) * (4 * EPS * size + found.zero_spread)))
    return worst(*parts)


def _symbolic_point(n1: int) -> tuple[Any, Any, Any, Any]:
    """Row 0 on mode 0, row 1 collapsed with any p, in the modes' coordinates: derivative, variables, values."""
    import sympy as sp

    ls, ld = (
        np.array(mode_symbols(*(f"{name}{j}" for j in range(n1))), dtype=object) for name in ("ls", "ld")
    )
    w, p1 = sp.symbols("w p1", real=True)
    system: Any = SimpleNamespace(sigma_s=ls, sigma_d=ld, **symbolic_rates() | {"weight_decay": 0})
    state = MatrixState(symbols("W", 2, n1), symbols("P", 2, 2), symbols("T", 2, n1))
    values = dict.fromkeys([x for part in state for x in part.flat], sp.Integer(0))
    values |= {state.online[0, 0]: w, state.target[0, 0]: w}
    values |= {state.predictor[0, 0]: ld[0] / ls[0], state.predictor[1, 1]: p1}
    return system, state, values, (w, p1)


def prove_exact_spectrum() -> bool:
    """R9, n1 = n2 = 2, one row collapsed: the 12×12 Jacobian of the field is the blocks and nothing else."""
    import sympy as sp

    system, state, values, (w, p1) = _symbolic_point(2)
    unknowns = [x for part in state for x in part.flat]
    derivative = full_field(0, state, system)
    J = sp.Matrix([x for part in derivative for x in part.flat]).jacobian(unknowns).subs(values)
    expected = sp.zeros(12, 12)
    ls, ld = system.sigma_s, system.sigma_d
    for i, j in np.ndindex(2, 2):
        B = pair_block((ld[0] / ls[0], p1)[i], w if j == 0 else 0, ls[j], ld[j], system)
        at = [2 * i + j, 4 + 2 * i + j, 8 + 2 * i + j]
        for a, b in np.ndindex(3, 3):
            if j == 0 or 1 not in (a, b):
                expected[at[a], at[b]] = B[a][b]
    return vanishes(list(J - expected))


# --- R10 --------------------------------------------------------------------------------------------------------


def stable_points(
    rng: np.random.Generator, *, conditions: Callable[[MatrixState, MatrixSystem], Any] = pair_conditions
) -> Measurement:
    """R10: one growing eigenvalue of the assembled Jacobian for each unstable pair, at any and at balanced points."""
    state, system, modes, p, w, U = _decoupled_point(rng)
    if rng.integers(
        2
    ):  # on a boundary: p of the collapsed row is 0 or the ratio of a mode, where no pair may grow
        p = np.append(p[:2], rng.choice([0.0, *modes.ratio]))
        state = expand_modes(ModeState(w, p, w), U.T[: len(p)])
    balanced = np.append(np.sqrt(system.tau_predictor / system.tau_online) * modes.ratio[:2], 0.0)
    miscounted = 0
    for point in (state, expand_modes(ModeState(balanced, p, balanced), _rows_of(state))):
        real = np.linalg.eigvals(dense_jacobian(point, system)).real
        growing = int(np.sum(real > 1e-9 * np.max(np.abs(real))))
        pairs = conditions(point, system)
        miscounted += abs(growing - sum(pair.verdict == "unstable" for pair in pairs))
    # the second point is balanced: none of its pairs of two selected rows may be unstable
    miscounted += sum(pair.verdict == "unstable" and pair.selected and pair.row < 2 for pair in pairs)
    return Measurement(float(miscounted), 0.5)  # a count: exact or off by one


def _rows_of(state: MatrixState) -> np.ndarray:
    """Unit vectors along the rows of W, zero for a collapsed one."""
    length = np.linalg.norm(state.online, axis=1, keepdims=True)
    return state.online / np.where(length == 0, 1.0, length)


def prove_stable_points() -> bool:
    """R10: a block's characteristic polynomial is s (s² + b s + margin/τt); balanced pairs have margin > 0."""
    import sympy as sp

    ls, ld, s = mode_symbols("lambda_s", "lambda_d", "s")
    p, w = sp.symbols("p w", real=True)
    rates = symbolic_rates()
    to, tp, tt = rates["tau_online"], rates["tau_predictor"], rates["tau_target"]
    block = sp.Matrix(pair_block(p, w, ls, ld, SimpleNamespace(**rates)))
    margin = w**2 * ls / tp + p * (p * ls - ld) / to
    b = 1 / tt + p**2 * ls / to + w**2 * ls / tp
    balanced = margin.subs(w, sp.sqrt(tp / to) * ld / ls)
    squares = ls / to * ((ld / ls - p / 2) ** 2 + sp.Rational(3, 4) * p**2)
    return vanishes([(s * sp.eye(3) - block).det() - s * (s**2 + b * s + margin / tt), balanced - squares])


RESULTS: tuple[Result, ...] = (
    Result(
        id="R9",
        title="exact spectrum at decoupled fixed points",
        statement=(
            "The Jacobian splits into one block per (row i, mode j), over (δW_ij, δP_ij, δΘ_ij): "
            "[[−p²λs/τo, −pλs w/τo, pλd/τo], [−w pλs/τp, −w²λs/τp, wλd/τp], [1/τt, 0, −1/τt]], p of row i, w of the "
            "row that selected j; without its middle row and column where none did."
        ),
        source='new; DD appendix F.1 sketches it "as in Baldi and Hornik"',
        hypotheses="η = 0; row i of W = Θ is w_i u_iᵀ or 0, P = diag(p), p_i = r_i where w_i ≠ 0.",
        as_printed=AsPrinted.NEW,
        code="analysis.stability.pair_spectrum.pair_eigenvalues",
        trial=exact_spectrum,
        proof=prove_exact_spectrum,
    ),
    Result(
        id="R10",
        title="which fixed points are stable",
        statement=(
            "An unselected mode j destabilises row i iff 0 < p_i < r_j; a selected pair (i, j) is stable iff "
            "w_j²/τp > (p_i/τo)(r_j − p_i), which balanced points, τo w_j² = τp r_j², always satisfy."
        ),
        source="DD appendix F.1",
        hypotheses="The fixed points of R9, λs > 0.",
        as_printed=AsPrinted.REFINED,
        code="analysis.stability.pair_conditions.pair_conditions",
        correction=(
            "E6: DD has exactly the top eigenmodes stable; that needs amplitudes that are not too small, and rows that "
            "collapsed with p < 0 or p > max r are stable too."
        ),
        trial=stable_points,
        proof=prove_stable_points,
    ),
)
"""R9 and R10."""
