"""Results on the moments of the views and on what they let a predictor hold: R16, R17, R18."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, orthogonal, refuted, worst
from analysis.runs.eigenspaces import resonance_error
from analysis.sylvester.solutions import SylvesterSolutions, sylvester_solutions
from dynamics.data.augmentations import scrambled
from dynamics.data.moments import Moments
from dynamics.fields.matrices import full_field
from dynamics.fields.vector_field import VectorField
from dynamics.integration.integrate import integrate
from dynamics.invariants import eigenvalue_floor
from dynamics.modes import spectrum
from dynamics.system import MatrixSystem


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


# --- R16 ----------------------------------------------------------------------------------------------------


def _view_moments(views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σs and Σd from all equally likely views (sample, view, n1), every pair of views of a sample taken."""
    n_samples, n_views, _ = views.shape
    sigma_s = np.einsum("nai,naj->ij", views, views) / (n_samples * n_views)
    sigma_d = np.einsum("nai,nbj->ij", views, views) / (n_samples * n_views**2)
    return sigma_s, sigma_d


def augmentation_models(
    rng: np.random.Generator,
    *,
    additive: Callable[[Any, Any], Moments] = Moments.additive_noise,
    multiplicative: Callable[[Any, Any], Moments] = Moments.scrambling,
) -> Measurement:
    """R16: moments of the two models against the average over all views of finite ensembles."""
    n, k, n_samples = 4, 2, 6
    X = rng.standard_normal((n_samples, n))
    sigma_x = X.T @ X / n_samples

    # noise ±√n L e_j, 2n equally likely values, has mean 0 and correlation L Lᵀ
    factor = np.tril(rng.standard_normal((n, n))) + 2 * np.eye(n)
    noise = np.sqrt(n) * np.concatenate([factor.T, -factor.T])
    model = additive(sigma_x, factor @ factor.T)
    sigma_s, sigma_d = _view_moments(X[:, None] + noise)
    additive_error = max(_relative(model.sigma_s, sigma_s), _relative(model.sigma_d, sigma_d))

    # B = ±k e_i e_jᵀ, 2k² equally likely matrices, has E[B] = 0 and E[B_ij B_kl] = δ_ik δ_jl, all that counts
    U = orthogonal(rng, n)[:, :k]
    Pc = np.eye(n) - U @ U.T
    units = k * np.eye(k * k).reshape(-1, k, k)
    A = Pc + U @ np.concatenate([units, -units]) @ U.T
    model = multiplicative(sigma_x, U)
    sigma_s, sigma_d = _view_moments(np.einsum("aij,nj->nai", A, X))
    scrambled_error = max(_relative(model.sigma_s, sigma_s), _relative(model.sigma_d, sigma_d))
    conserved = _relative(model.sigma_d @ np.linalg.inv(model.sigma_s), Pc)

    # sums of at most n_samples (2n)² products, and an inverse of the moments' own condition
    n_terms = n_samples * (2 * n) ** 2
    tolerance = EPS * (n_terms + 8 * n * np.linalg.cond(sigma_s))
    return Measurement(float(np.max([additive_error, scrambled_error, conserved])), float(tolerance))


def prove_augmentation_models() -> bool:
    """R16, k = 1 in the plane: E[A Σx Aᵀ] over B = ±1 is the Σs of `scrambled`, and M = Pc."""
    import sympy as sp

    a, b, d, phi = sp.symbols("a b d phi", real=True)
    sigma_x = np.array([[a, b], [b, d]], dtype=object)
    U = np.array([[sp.cos(phi)], [sp.sin(phi)]], dtype=object)
    Pc = np.eye(2, dtype=int) - U @ U.T
    views = [Pc + sign * U @ U.T for sign in (1, -1)]
    sigma_s, sigma_d = scrambled(sigma_x, sigma_x, U)
    averages = (
        sum(A @ sigma_x @ A.T for A in views) / 2 - sigma_s,
        sum(A @ sigma_x @ B.T for A in views for B in views) / 4 - sigma_d,
        sigma_d - Pc @ sigma_s,
    )
    return all(sp.simplify(entry) == 0 for difference in averages for entry in difference.flat)


# --- R17 ----------------------------------------------------------------------------------------------------


def sylvester_operator(P: np.ndarray, M: np.ndarray) -> np.ndarray:
    """θ ↦ P θ − θ M on column-stacked θ: I_{n1} ⊗ P − Mᵀ ⊗ I_{n2}, shape (n1 n2, n1 n2)."""
    n2, n1 = len(P), len(M)
    return np.kron(np.eye(n1, dtype=int), P) - np.kron(M.T, np.eye(n2, dtype=int))


def _jordan(rng: np.random.Generator, blocks: list[tuple[complex, int]]) -> np.ndarray:
    """Draw a real matrix with given Jordan blocks (eigenvalue, size), in a basis of condition 2.

    A complex eigenvalue a + ib brings its conjugate along: a block of size k takes 2k rows.
    """
    parts = []
    for value, size in blocks:
        turn = (
            np.array([[value.real, value.imag], [-value.imag, value.real]]) if value.imag else [[value.real]]
        )
        parts.append(np.kron(np.eye(size), turn) + np.kron(np.eye(size, k=1), np.eye(len(turn))))
    n = sum(map(len, parts))
    J, at = np.zeros((n, n)), 0
    for part in parts:
        J[at : at + len(part), at : at + len(part)] = part
        at += len(part)
    S = orthogonal(rng, n) @ np.diag(np.linspace(1, 2, n)) @ orthogonal(rng, n)
    return S @ J @ np.linalg.inv(S)


def sylvester_nullity(
    rng: np.random.Generator,
    *,
    solutions: Callable[[Any, Any], SylvesterSolutions] = sylvester_solutions,
    operator: Callable[[np.ndarray, np.ndarray], np.ndarray] = sylvester_operator,
) -> Measurement:
    """R17: nullity, shared eigenvalues and basis for drawn Jordan forms, against Σ min(size, size) and Kronecker.

    Two real eigenvalues and a complex pair are shared, each with one or two blocks, defective ones among them.
    """
    shared: list[complex] = [0.5, -0.25, complex(0.25, 0.6)]
    blocks_P: list[tuple[complex, int]] = [(1.5, 1)]
    blocks_M: list[tuple[complex, int]] = [(-0.75, 2)]
    expected: list[complex] = []
    for value in shared:
        most = 2 if np.imag(value) else 3
        sizes_P = rng.integers(1, most, rng.integers(1, 3))
        sizes_M = rng.integers(1, most + (not np.imag(value)), 1)
        blocks_P += [(value, int(size)) for size in sizes_P]
        blocks_M += [(value, int(size)) for size in sizes_M]
        n_solutions = int(np.sum(np.minimum.outer(sizes_P, sizes_M)))
        expected += n_solutions * ([value, np.conj(value)] if np.imag(value) else [value])
    P, M = _jordan(rng, blocks_P), _jordan(rng, blocks_M)
    found = solutions(P, M)
    scale = np.linalg.norm(P, 2) + np.linalg.norm(M, 2)
    matrix = operator(P, M)
    stacked = np.asarray(found.basis).transpose(0, 2, 1).reshape(-1, len(matrix))  # columns of θ stacked
    residuals = np.linalg.norm(matrix @ stacked.T, axis=0) / scale
    singular = np.linalg.svd(matrix, compute_uv=False)
    gram = stacked @ stacked.T - np.eye(len(stacked))
    counted = found.nullity == len(found.shared_eigenvalues) == len(stacked) == len(expected)
    by_svd = int(np.sum(singular < 1e-9 * scale)) == len(expected)
    drawn = solutions(rng.standard_normal(P.shape), M)
    parts: list[tuple[Any, Any]] = [refuted(unless=counted and by_svd and drawn.nullity == 0)]
    if counted:
        order = np.array(sorted(expected, key=lambda x: (-np.real(x), -np.imag(x))))
        values = np.array(
            sorted(found.shared_eigenvalues, key=lambda x: (-round(np.real(x), 6), -np.imag(x)))
        )
        # the mean of a cluster moves by its condition times the rounding of S J S⁻¹, 2² each, of P and of M
        parts.append((np.max(np.abs(values - order)), 2 * 4 * 2**2 * len(P) * EPS * scale))
    # S J S⁻¹ and the Schur forms err by a few n eps, the condition 2 of S twice over
    parts += [
        (np.max(residuals, initial=0.0), 8 * len(P) * EPS),
        (np.max(np.abs(gram), initial=0.0), len(matrix) * EPS),
    ]
    return worst(*parts)


def prove_sylvester_operator() -> bool:
    """R17, n2 = 2 and n1 = 3: the Kronecker matrix times the stacked columns of θ is that of P θ − θ M."""
    import sympy as sp

    P, M, theta = (
        np.array(sp.symbols(f"{letter}0:{rows * columns}"), dtype=object).reshape(rows, columns)
        for letter, rows, columns in (("p", 2, 2), ("m", 3, 3), ("t", 2, 3))
    )
    difference = sylvester_operator(P, M) @ theta.T.ravel() - (P @ theta - theta @ M).T.ravel()
    return all(sp.expand(entry) == 0 for entry in difference)


# --- R18 ----------------------------------------------------------------------------------------------------


def learned_resonance(
    rng: np.random.Generator,
    *,
    field: VectorField = full_field,
    ratios: Callable[[MatrixSystem], np.ndarray] = spectrum,
) -> Measurement:
    """R18: integrate to rest from a start that cannot collapse, and compare P on the columns of W with M."""
    n1, n2, rtol = 4, 2, 1e-9
    V = orthogonal(rng, n1) @ np.diag(rng.uniform(0.8, 1.25, n1)) @ orthogonal(rng, n1)
    r = np.linspace(0.3, 0.9, n1) + rng.uniform(-0.05, 0.05, n1)
    sigma_s, sigma_d = V @ V.T, (V * r) @ V.T  # they do not commute
    system = MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2)
    # C = τo W Wᵀ − τp Pᵀ P is positive definite, so the singular values of W keep above a floor (R8)
    start = system.state(orthogonal(rng, n1)[:n2], 0.2 * orthogonal(rng, n2))
    run = integrate(start, system, field, rtol=rtol)
    rest = run.final
    finer = integrate(start, system, field, rtol=rtol / 100).final
    W, P, _ = rest
    # W keeps full rank, so all eigenvalues of P belong to its column space
    away = np.abs(np.linalg.eigvals(P)[:, None] - ratios(system)).min(axis=1)
    error = np.max([resonance_error(rest, system, tolerance=rtol), *away])
    # With S = Σs^−½ Σd Σs^−½ and W̃ = W Σs^½, an eigenvalue of P is at most ‖P W̃ − W̃ S‖/σmin(W̃) from one of S.
    # A run with a hundredth of the tolerance comes that much nearer to the fixed point, where that residual is zero.
    off = float(np.linalg.norm(np.hstack([W - finer.online, P - finer.predictor])))
    bound = (np.linalg.norm(P, 2) + 1 + np.linalg.norm(W, 2)) * off
    stretch = np.sqrt(np.linalg.cond(system.sigma_s) / eigenvalue_floor(start, system)[-1])
    rounding = 16 * n1 * EPS * np.linalg.cond(system.sigma_s)
    return Measurement(float(error), float(bound * stretch + rounding))


RESULTS: tuple[Result, ...] = (
    Result(
        id="R16",
        title="moments of the augmentation models",
        statement=(
            "Additive noise Σn: Σs = Σx + Σn, Σd = Σx. Scrambling x ↦ (Pc + U B Uᵀ) x: Σd = Pc Σx Pc and "
            "Σs = Pc Σx Pc + tr(Uᵀ Σx U) U Uᵀ; then Σd Σs⁺ = Pc, whether Pc and Σx commute or not."
        ),
        source="DD appendix F.2, with 182–184",
        hypotheses="B has independent entries of mean 0 and variance 1; U has orthonormal columns.",
        as_printed=AsPrinted.CORRECTED,
        code="dynamics.data.augmentations.scrambled",
        correction=(
            "E1: Σs of multiplicative scrambling is printed as Σx, and Σd Σs⁻¹ = Pc only where Pc and Σx commute."
        ),
        trial=augmentation_models,
        proof=prove_augmentation_models,
    ),
    Result(
        id="R17",
        title="Sylvester equation of the fixed points",
        statement=(
            "P θ = θ M has a solution θ ≠ 0 iff P and M share an eigenvalue: (I_{n1} ⊗ P − Mᵀ ⊗ I_{n2}) vec θ = 0, "
            "with nullity Σ min(size, size) over pairs of Jordan blocks of shared eigenvalues."
        ),
        source="RAFT appendix H, 67–68",
        hypotheses="Any square P (n2) and M (n1); vec stacks columns.",
        as_printed=AsPrinted.CORRECTED,
        code="analysis.sylvester.solutions.sylvester_solutions",
        correction=(
            "E4: 68 prints I_m ⊗ W − (B A⁻¹)ᵀ ⊗ I_n, with the two sizes swapped, and the implication 67 needs an "
            "invertible predictor; a predictor drawn at random shares no eigenvalue."
        ),
        trial=sylvester_nullity,
        proof=prove_sylvester_operator,
    ),
    Result(
        id="R18",
        title="learned resonance",
        statement="At every fixed point the eigenvalues of P on the column space of W are eigenvalues of M = Σd Σs⁻¹.",
        source="new; from DD 185 with η = 0",
        hypotheses="η = 0, Σs ≻ 0.",
        as_printed=AsPrinted.NEW,
        code="dynamics.modes.spectrum",
        trial=learned_resonance,
    ),
)
"""R16, R17 and R18."""
