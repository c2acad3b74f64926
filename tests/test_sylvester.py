"""Solutions of P θ = θ M: planted Jordan structures, brute force, near-misses, refusals, and R4, R17, R18."""

from __future__ import annotations

import tracemalloc
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from numpy.testing import assert_allclose

from analysis.runs.eigenspaces import resonance_error
from analysis.sylvester.solutions import (
    SylvesterSolutions,
    kronecker_solutions,
    ratio_matrix,
    solve_sylvester,
    sylvester_solutions,
)
from analysis.sylvester.symmetric import best_symmetric_predictor
from dynamics.data.moments import Moments
from dynamics.fields.matrices import full_field
from dynamics.fields.predictors import feature_covariance, times
from dynamics.system import MatrixSystem

EPS = np.finfo(float).eps
Blocks = list[tuple[complex, int]]

# farther apart than the circles, at most (1e-12)^(1/4) = 1e-3 wide, on which rounding spreads blocks of size 4
POOL = (-1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 1.5, 0.5 + 0.5j, -0.25 + 1j, 0.75j)


def jordan(blocks: Blocks) -> np.ndarray:
    """Real matrix with the given (eigenvalue, size) blocks; a complex eigenvalue brings its conjugate."""
    parts = []
    for value, size in blocks:
        a, b = complex(value).real, complex(value).imag
        one = np.array([[a, -b], [b, a]]) if b else np.array([[a]])
        parts.append(np.kron(np.eye(size), one) + np.kron(np.eye(size, k=1), np.eye(len(one))))
    return scipy.linalg.block_diag(*parts)


def planted(blocks: Blocks, rng: np.random.Generator, condition: float) -> np.ndarray:
    """X J X⁻¹ with X of the given condition number; orthogonal when it is 1."""
    J = jordan(blocks)
    U, V = (orthogonal(len(J), rng) for _ in range(2))
    scales = np.geomspace(1, condition, len(J))
    return (U * scales) @ V @ J @ V.T @ (U / scales).T


def orthogonal(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def unitary(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n)))[0]


def shared(blocks_P: Blocks, blocks_M: Blocks) -> np.ndarray:
    """Shared eigenvalues by the formula of R17, each min(size, size) times a pair of blocks; conjugates count apart."""
    values: list[complex] = []
    for p, k in blocks_P:
        for m, size in blocks_M:
            if p == m:
                values += [p, np.conj(p)][: 1 + bool(complex(p).imag)] * min(k, size)
    return np.array(values, dtype=complex)


def farthest(values: np.ndarray, others: np.ndarray) -> float:
    """Hausdorff distance of two lists of numbers with equally many of each."""
    assert len(values) == len(others)
    distance = np.abs(np.subtract.outer(values, others))
    return float(max(distance.min(0).max(), distance.min(1).max())) if values.size else 0.0


def assert_solves(solutions: SylvesterSolutions, P: np.ndarray, M: np.ndarray, tolerance: float) -> None:
    basis = solutions.basis
    assert basis is not None
    assert basis.shape == (solutions.nullity, len(P), len(M))
    assert basis.dtype == np.result_type(P, M)
    flat = basis.reshape(solutions.nullity, len(P) * len(M))
    assert_allclose(flat @ flat.conj().T, np.eye(solutions.nullity), atol=100 * EPS)
    scale = (np.linalg.norm(P, 2) + np.linalg.norm(M, 2)) or 1.0
    residuals = np.linalg.norm(P @ basis - basis @ M, axis=(1, 2)) / scale
    assert_allclose(solutions.residual, np.max(residuals, initial=0.0), atol=EPS)
    assert solutions.residual <= tolerance


@st.composite
def structures(draw: st.DrawFn, largest: int = 10) -> Blocks:
    blocks: Blocks = []
    room = draw(st.integers(1, largest))
    while room > 0:
        value = draw(st.sampled_from(POOL if room > 1 else POOL[:7]))
        width = 1 + isinstance(value, complex)
        size = draw(st.integers(1, min(4, room // width)))
        blocks.append((value, size))
        room -= size * width
    return blocks


# --- planted structures -------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(structures(), structures(), st.sampled_from([1.0, 10.0]), st.integers(0, 2**32 - 1))
def test_planted_jordan_structures_are_found_and_brute_force_agrees(
    blocks_P: Blocks, blocks_M: Blocks, condition: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    P, M = planted(blocks_P, rng, condition), planted(blocks_M, rng, condition)
    solutions = sylvester_solutions(P, M)
    wanted = shared(blocks_P, blocks_M)
    assert solutions.nullity == len(wanted)
    # forming X J X⁻¹ has moved both matrices by about condition·n·eps, and solutions by that over sep/‖Π‖
    assert_solves(solutions, P, M, 1e3 * condition * EPS)
    assert farthest(solutions.shared_eigenvalues, wanted) < 1e-9
    assert np.iscomplexobj(solutions.shared_eigenvalues) == bool(np.any(wanted.imag))
    brute = kronecker_solutions(P, M)
    assert len(brute) == solutions.nullity
    assert solutions.basis is not None
    ours, theirs = (basis.reshape(solutions.nullity, len(P) * len(M)).T for basis in (solutions.basis, brute))
    assert np.linalg.norm(ours - theirs @ (theirs.T @ ours)) < 1e-8


@settings(max_examples=50)
@given(structures(8), structures(8), st.integers(0, 2**32 - 1))
def test_complex_matrices(blocks_P: Blocks, blocks_M: Blocks, seed: int) -> None:
    rng = np.random.default_rng(seed)
    P, M = jordan(blocks_P) * (1 + 0.5j), jordan(blocks_M) * (1 + 0.5j)
    U, V = unitary(len(P), rng), unitary(len(M), rng)
    P, M = U @ P @ U.conj().T, V @ M @ V.conj().T
    solutions = sylvester_solutions(P, M)
    assert farthest(solutions.shared_eigenvalues, shared(blocks_P, blocks_M) * (1 + 0.5j)) < 1e-9
    assert_solves(solutions, P, M, 1e3 * EPS)


@settings(max_examples=25)
@given(structures(), structures(), st.integers(0, 2**32 - 1))
def test_transposition_and_change_of_basis_change_nothing(
    blocks_P: Blocks, blocks_M: Blocks, seed: int
) -> None:
    # P θ = θ M iff Mᵀ θᵀ = θᵀ Pᵀ iff (P − c) θ = θ (M − c)
    rng = np.random.default_rng(seed)
    P, M = planted(blocks_P, rng, 1.0), planted(blocks_M, rng, 1.0)
    here = sylvester_solutions(P, M)
    there = sylvester_solutions(M.T, P.T)
    shifted = sylvester_solutions(P - 0.3 * np.eye(len(P)), M - 0.3 * np.eye(len(M)))
    assert here.nullity == there.nullity == shifted.nullity
    assert_solves(there, M.T, P.T, 1e3 * EPS)
    assert_allclose(here.gap, there.gap, atol=2e-3)


@pytest.mark.parametrize(
    ("blocks_P", "blocks_M"),
    [
        ([(0.5, 4)] * 6, [(0.5, 4)] * 5),
        ([(0.5, 1)] * 20, [(0.5, 1)] * 30),
        ([(0.5, 1)] * 20, [(0.5, 3)] * 8),
        ([(0.5, 3)] * 8, [(0.5, 1)] * 20),
        ([(0.5, 4), (0.5, 3), (0.5, 2), (0.5, 1)] * 2, [(0.5, 2)] * 7 + [(0.5, 4)]),
        ([(0.5, 4)] * 9 + [(0.9, 2)], [(0.5, 4)] * 9 + [(0.9, 2)]),
        ([(0.5j, 2), (0.5j, 1)] * 4, [(0.5j, 3), (0.5j, 2)] * 2),
    ],
)
@pytest.mark.parametrize("typed", [True, False])
def test_clusters_too_large_for_a_dense_decomposition(
    blocks_P: Blocks, blocks_M: Blocks, typed: bool
) -> None:
    rng = np.random.default_rng(1)
    P, M = jordan(blocks_P), jordan(blocks_M)
    if not typed:
        P, M = planted(blocks_P, rng, 3.0), planted(blocks_M, rng, 3.0)
    solutions = sylvester_solutions(P, M)
    assert farthest(solutions.shared_eigenvalues, shared(blocks_P, blocks_M)) < 1e-9
    assert_solves(solutions, P, M, 1e4 * EPS)
    counted = sylvester_solutions(P, M, basis=False)
    assert counted.basis is None
    assert counted.nullity == solutions.nullity
    assert counted.residual <= 1e4 * EPS


@pytest.mark.parametrize("seed", range(3))
def test_weak_links_in_chains_amplify_perturbations_and_are_allowed_for(seed: int) -> None:
    # in a chain with links 1, 1, 0.1 a perturbation grows tenfold from one kernel to the next
    rng = np.random.default_rng(seed)
    chain = 0.5 * np.eye(4) + np.diag([1.0, 1.0, 0.1], 1)

    def perturbed() -> np.ndarray:
        Q, E = orthogonal(36, rng), rng.standard_normal((36, 36))
        return Q @ np.kron(np.eye(9), chain) @ Q.T + 1e-10 * E / np.linalg.norm(E, 2)

    P, M = perturbed(), perturbed()
    solutions = sylvester_solutions(P, M, tolerance=2e-10)
    assert solutions.nullity == 9 * 9 * 4
    assert_solves(solutions, P, M, 1e-8)


def test_where_only_one_side_has_a_single_eigenvalue_either_side_will_do() -> None:
    # 20 eigenvalues in steps of 1e-8 are one cluster at tolerance 1e-8, and not one eigenvalue
    ladder, single = np.diag(0.5 + 1e-8 * np.arange(20)), 0.5 * np.eye(20)
    for factor, U in ((1.0, np.eye(20)), (1 + 2j, unitary(20, np.random.default_rng(0)))):
        for A, B in ((ladder, single), (single, ladder)):
            P, M = factor * U @ A @ U.conj().T, factor * U.T @ B @ U.conj()
            solutions = sylvester_solutions(P, M, tolerance=1e-8)
            assert solutions.nullity >= 20
            assert_allclose(solutions.shared_eigenvalues, 0.5 * factor, atol=1e-6)
            assert_solves(solutions, P, M, 3e-8)


def test_identity_holds_every_encoder() -> None:
    solutions = sylvester_solutions(np.eye(3), np.eye(4))
    assert solutions.nullity == 12
    assert solutions.gap == np.inf
    assert_solves(solutions, np.eye(3), np.eye(4), 0.0)
    zero = sylvester_solutions(np.zeros((2, 2)), np.zeros((3, 3)))
    assert (zero.nullity, zero.residual) == (6, 0.0)


@pytest.mark.slow
def test_a_large_identity_is_counted_and_its_basis_refused() -> None:
    one = np.eye(200)
    assert sylvester_solutions(one, one, basis=False).nullity == 200**2
    with pytest.raises(ValueError, match=r"must take at most 4 GiB, got 11.9 GiB: pass basis=False"):
        sylvester_solutions(one, one)


def test_memory_is_that_of_matrices_not_of_the_operator() -> None:
    n, rng = 160, np.random.default_rng(0)
    values = np.linspace(0.1, 1, n)
    X, Y = (np.eye(n) + 0.3 * rng.standard_normal((n, n)) / np.sqrt(n) for _ in range(2))
    P = (X * np.where(np.arange(n) % 40 == 0, values, -values)) @ np.linalg.inv(X)
    M = (Y * values) @ np.linalg.inv(Y)
    tracemalloc.start()
    nullity = sylvester_solutions(P, M, basis=False).nullity
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert nullity == 4
    # a few dozen matrices of 8 n² bytes; the operator has n⁴ = 25,600 n² entries
    assert peak < 40 * 8 * n**2


# --- near-misses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("distance", "condition"), [(1e-6, 1.0), (1e-6, 10.0), (1e-10, 10.0), (1e-12, 1.0)])
def test_a_near_miss_is_not_shared_and_its_distance_is_the_gap(distance: float, condition: float) -> None:
    rng = np.random.default_rng(2)
    P = planted([(0.5, 1), (0.9, 1), (-0.3, 1)], rng, condition)
    M = planted([(0.5 + distance, 1), (0.2, 1), (0.7, 1)], rng, condition)
    solutions = sylvester_solutions(P, M)
    assert solutions.nullity == 0
    assert solutions.residual == 0.0
    # eigenvalues are computed to condition·n·eps
    assert_allclose(solutions.gap, distance, atol=100 * condition * EPS)
    loose = sylvester_solutions(P, M, tolerance=10 * distance)
    assert loose.nullity == 1
    assert_allclose(loose.shared_eigenvalues, 0.5, atol=2 * distance)
    assert_allclose(loose.gap, 0.2, atol=1e-8)
    assert_solves(loose, P, M, 10 * distance)


def test_a_near_miss_beside_defective_blocks() -> None:
    rng = np.random.default_rng(3)
    P = planted([(0.5, 4), (0.1, 1), (0.8, 2)], rng, 1.0)
    M = planted([(0.5, 3), (0.1 + 1e-6, 1), (0.8 + 1e-3, 2)], rng, 1.0)
    solutions = sylvester_solutions(P, M)
    assert solutions.nullity == 3
    assert_allclose(solutions.shared_eigenvalues, 0.5, atol=1e-9)
    assert_allclose(solutions.gap, 1e-6, rtol=1e-6)


def test_blocks_closer_than_rounding_spreads_them_are_told_apart_by_their_means() -> None:
    # blocks of size 2 are spread by 1e-8 and seen by the operator as nearly singular, (1e-5)³ = 1e-15
    rng = np.random.default_rng(4)
    P, M = planted([(0.5, 2)], rng, 1.0), planted([(0.5 + 1e-5, 2)], rng, 1.0)
    assert len(kronecker_solutions(P, M)) == 1
    assert sylvester_solutions(P, M).nullity == 0


def test_clustered_eigenvalues_of_one_matrix_do_not_hide_what_they_share() -> None:
    # 1e-9 apart and strongly coupled: ‖Π‖ = 1e9, so that single eigenvalues are known to 1e-4 only
    P = np.array([[0.5, 1.0, 0.0], [0.0, 0.5 + 1e-9, 1.0], [0.0, 0.0, 0.9]])
    M = np.diag([0.5, 0.9, 0.2])
    solutions = sylvester_solutions(P, M)
    assert solutions.nullity == 2
    assert_allclose(solutions.shared_eigenvalues, [0.9, 0.5], atol=1e-8)
    assert_solves(solutions, P, M, 1e-14)


@given(st.integers(0, 2**32 - 1))
def test_an_ill_conditioned_eigenvalue_is_shared_as_far_as_it_is_known(seed: int) -> None:
    # ‖Π‖ = 1e3: rounding of P, eps‖P‖, moves its eigenvalues a thousand times as much
    Q = orthogonal(2, np.random.default_rng(seed))
    P = Q @ np.array([[0.5, 100.0], [0.0, 0.6]]) @ Q.T
    solutions = sylvester_solutions(P, [[0.5]])
    assert solutions.nullity == 1
    assert_solves(solutions, P, np.array([[0.5]]), 1e3 * EPS)


@settings(max_examples=25)
@given(st.floats(-8, 8), st.integers(0, 2**32 - 1))
def test_units_do_not_matter(exponent: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    P, M = planted([(0.5, 3), (0.1, 1)], rng, 2.0), planted([(0.5, 2), (0.7, 2), (0.1, 1)], rng, 2.0)
    here, there = sylvester_solutions(P, M), sylvester_solutions(10**exponent * P, 10**exponent * M)
    assert here.nullity == there.nullity == 3
    assert_allclose(there.gap, 10**exponent * here.gap, rtol=1e-3)


# --- moments and results ------------------------------------------------------------------------------------


def random_system(n1: int, rng: np.random.Generator) -> MatrixSystem:
    """Σs ≻ 0 and 0 ≼ Σd ≼ Σs that do not commute."""
    A = rng.standard_normal((n1, n1)) + 2 * np.eye(n1)
    U = orthogonal(n1, rng)
    sigma_d = A @ (U * np.linspace(0.1, 0.95, n1)) @ U.T @ A.T
    return MatrixSystem(A @ A.T, (sigma_d + sigma_d.T) / 2)


def test_ratio_matrix_is_sigma_d_over_sigma_s() -> None:
    system = random_system(5, np.random.default_rng(0))
    assert_allclose(ratio_matrix(system) @ system.sigma_s, system.sigma_d, rtol=1e-10, atol=1e-12)
    assert_allclose(ratio_matrix(MatrixSystem([2.0, -1.0], [1.0, 0.5])), np.diag([0.5, -0.5]), rtol=1e-15)
    moments = Moments.additive_noise(np.eye(2), np.diag([1.0, 3.0]))
    assert_allclose(ratio_matrix(moments), np.diag([0.5, 0.25]), rtol=1e-15)


def test_r4_solutions_are_the_fixed_points_that_a_predictor_can_hold() -> None:
    rng = np.random.default_rng(5)
    system = random_system(6, rng)
    M = ratio_matrix(system)
    ratios = np.sort(np.linalg.eigvals(M).real)
    S = rng.standard_normal((4, 4)) + 3 * np.eye(4)
    P = S @ np.diag([ratios[-1], ratios[-2], 0.33, -0.2]) @ np.linalg.inv(S)
    solutions = sylvester_solutions(P, system)
    assert solutions.nullity == 2
    assert_allclose(solutions.shared_eigenvalues, ratios[:-3:-1], rtol=1e-12)
    assert solutions.basis is not None
    # any combination is a fixed point, and nothing orthogonal to them is
    W = np.einsum("i,iab->ab", rng.standard_normal(2), solutions.basis)
    scale = np.linalg.norm(system.sigma_s, 2)
    state = system.state(W, P)
    assert max(np.max(np.abs(part)) for part in full_field(0.0, state, system)) < 1e-13 * scale
    assert resonance_error(state, system, tolerance=1e-9) < 1e-12
    away = rng.standard_normal(W.shape)
    away -= np.einsum("iab,iab,icd->cd", solutions.basis, np.broadcast_to(away, (2, 4, 6)), solutions.basis)
    assert np.linalg.norm(full_field(0.0, system.state(away, P), system).online) > 1e-3
    # family of R4: S W and S P S⁻¹
    moved = sylvester_solutions(S @ P @ np.linalg.inv(S), system)
    assert moved.nullity == 2
    assert moved.basis is not None
    flat = moved.basis.reshape(2, -1).T
    image = (S @ W).ravel()
    assert np.linalg.norm(image - flat @ (flat.T @ image)) < 1e-11 * np.linalg.norm(image)


def test_moments_and_their_ratio_matrix_have_the_same_solutions() -> None:
    rng = np.random.default_rng(6)
    system = random_system(5, rng)
    P = np.diag([*np.linalg.eigvals(ratio_matrix(system)).real[:3], -1.0])
    by_pencil, by_matrix = sylvester_solutions(P, system), sylvester_solutions(P, ratio_matrix(system))
    assert by_pencil.nullity == by_matrix.nullity == 3
    assert by_pencil.basis is not None
    assert by_matrix.basis is not None
    a, b = by_pencil.basis.reshape(3, -1).T, by_matrix.basis.reshape(3, -1).T
    # eigenvectors of M are known to eps·‖Π‖‖M‖/gap, a few hundred eps here
    assert np.linalg.norm(a - b @ (b.T @ a)) < 1e-11
    assert sylvester_solutions(P, system, basis=False).nullity == 3


def test_moments_of_either_sign_are_solved_as_a_general_matrix() -> None:
    system = MatrixSystem([1.0, -1.0], [0.5, 0.25])
    solutions = sylvester_solutions([[-0.25]], system)
    assert solutions.basis is not None
    assert_allclose(np.abs(solutions.basis), np.array([[[0.0, 1.0]]]), atol=1e-15)


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_r17_a_random_predictor_shares_nothing(n2: int, n1: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    P, M = rng.standard_normal((n2, n2)), rng.standard_normal((n1, n1))
    solutions = sylvester_solutions(P, M)
    assert solutions.nullity == 0
    assert solutions.basis is not None
    assert solutions.basis.shape == (0, n2, n1)
    distance = np.abs(np.subtract.outer(np.linalg.eigvals(P), np.linalg.eigvals(M)))
    assert_allclose(solutions.gap, distance.min(), rtol=1e-6)


def test_r17_sizes_of_the_vectorised_form() -> None:
    # (I_n1 ⊗ P − Mᵀ ⊗ I_n2) vec θ with vec stacking the columns of θ (n2, n1)
    rng = np.random.default_rng(7)
    P, M, theta = (rng.standard_normal(shape) for shape in ((2, 2), (3, 3), (2, 3)))
    operator = np.kron(np.eye(3), P) - np.kron(M.T, np.eye(2))
    assert_allclose(operator @ theta.ravel("F"), (P @ theta - theta @ M).ravel("F"), rtol=1e-13)


# --- one solution -------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(structures(6), structures(6), st.integers(0, 2**32 - 1))
def test_the_inhomogeneous_equation_is_solved_or_refused(
    blocks_P: Blocks, blocks_M: Blocks, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    P, M = planted(blocks_P, rng, 1.0), planted(blocks_M, rng, 1.0)
    theta = rng.standard_normal((len(P), len(M)))
    if shared(blocks_P, blocks_M).size:
        with pytest.raises(np.linalg.LinAlgError, match="see sylvester_solutions"):
            solve_sylvester(P, M, P @ theta - theta @ M)
    else:
        operator = np.kron(np.eye(len(M)), P) - np.kron(M.T, np.eye(len(P)))
        sep = np.linalg.svd(operator, compute_uv=False)[-1]
        found = solve_sylvester(P, M, P @ theta - theta @ M)
        scale = np.linalg.norm(P, 2) + np.linalg.norm(M, 2)
        assert np.linalg.norm(found - theta) <= 100 * EPS * scale / sep * np.linalg.norm(theta)


def test_a_complex_inhomogeneous_equation() -> None:
    rng = np.random.default_rng(8)
    P, M = rng.standard_normal((3, 3)), rng.standard_normal((4, 4))
    theta = rng.standard_normal((3, 4)) + 1j * rng.standard_normal((3, 4))
    assert_allclose(solve_sylvester(P, M, P @ theta - theta @ M), theta, rtol=1e-10)
    assert_allclose(solve_sylvester(1j * P, M, 1j * P @ theta - theta @ M), theta, rtol=1e-10)


def test_the_inhomogeneous_equation_is_refused_by_its_separation() -> None:
    rng = np.random.default_rng(10)
    P, M = rng.standard_normal((8, 8)), rng.standard_normal((8, 8))
    M += (np.linalg.eigvals(P).real.max() - np.linalg.eigvals(M).real.max() + 1e-6) * np.eye(8)
    operator = np.kron(np.eye(8), P) - np.kron(M.T, np.eye(8))
    sep = np.linalg.svd(operator, compute_uv=False)[-1] / (np.linalg.norm(P, 2) + np.linalg.norm(M, 2))
    solve_sylvester(P, M, np.ones((8, 8)), tolerance=0.9 * sep)
    with pytest.raises(np.linalg.LinAlgError, match="no single solution"):
        solve_sylvester(P, M, np.ones((8, 8)), tolerance=1.1 * sep)


def test_the_refusal_names_the_closest_eigenvalues() -> None:
    message = r"eigenvalue 0.5\+0j of P and 0.5\+0j of M are 0 apart, and sep\(P, M\) = "
    with pytest.raises(np.linalg.LinAlgError, match=message):
        solve_sylvester(np.diag([0.5, 0.1]), np.diag([0.9, 0.5]), np.ones((2, 2)))
    with pytest.raises(np.linalg.LinAlgError, match="0 apart"):
        solve_sylvester(np.zeros((2, 2)), np.zeros((2, 2)), np.ones((2, 2)))
    near = np.array([[0.5 + 1e-10]])
    assert_allclose(solve_sylvester(near, [[0.5]], [[1e-10]]), 1.0, rtol=1e-5)
    with pytest.raises(np.linalg.LinAlgError, match="1e-10 apart"):
        solve_sylvester(near, [[0.5]], [[1e-10]], tolerance=1e-8)


def test_the_best_symmetric_predictor_minimises_the_loss_over_symmetric_ones() -> None:
    rng = np.random.default_rng(9)
    system = random_system(5, rng)
    W, Th = rng.standard_normal((2, 3, 5))
    F_s, F_d = feature_covariance(W, system), times(Th, system.sigma_d) @ W.T
    P = best_symmetric_predictor(F_s, F_d)
    assert_allclose(P, P.T, atol=0)

    # least squares over a basis of the symmetric matrices: ½ pᵀ H p − gᵀ p
    rows, columns = np.triu_indices(3)
    basis = np.zeros((6, 3, 3))
    basis[np.arange(6), rows, columns] = basis[np.arange(6), columns, rows] = 1.0
    H = np.einsum("iab,bc,jac->ij", basis, F_s, basis)
    g = np.einsum("iab,ab->i", basis, F_d)
    assert_allclose(P, np.tensordot(np.linalg.solve(H, g), basis, 1), rtol=1e-10)
    # and as a Sylvester equation P F_s − (−F_s) P, with P on both sides: M = −F_s
    assert_allclose(P, solve_sylvester(F_s, -F_s, F_d + F_d.T), rtol=1e-10)


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("P", "M", "message"),
    [
        (np.ones((2, 3)), np.eye(2), r"`predictor` must be a square matrix, got shape \(2, 3\)"),
        (np.eye(2), np.ones(3), r"`ratio_matrix` must be a square matrix, got shape \(3,\)"),
        (np.zeros((0, 0)), np.eye(2), r"`predictor` must be a square matrix, got shape \(0, 0\)"),
        (np.diag([1.0, np.nan]), np.eye(2), "`predictor` must be finite, got nan"),
        (np.eye(2), np.diag([1.0, np.inf]), "`ratio_matrix` must be finite, got inf"),
        ([["a"]], np.eye(2), "`predictor` must be a matrix of numbers"),
        ([[1.0], [1.0, 2.0]], np.eye(2), "`predictor` must be a matrix of numbers"),
    ],
)
def test_what_is_no_matrix_is_refused(P: object, M: object, message: str) -> None:
    for solve in (sylvester_solutions, kronecker_solutions):
        with pytest.raises(ValueError, match=message):
            solve(P, M)


@pytest.mark.parametrize("tolerance", [0.0, -1e-8, 1.0, np.nan, 1e-17])
def test_a_tolerance_out_of_range_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match=r"`tolerance` must be >= 2.2e-16 and < 1, got"):
        sylvester_solutions([[1.0]], [[1.0]], tolerance=tolerance)


def test_other_refusals() -> None:
    with pytest.raises(ValueError, match=r"n1·n2 must be at most 1024 .* got 33·32: use sylvester_solutions"):
        kronecker_solutions(np.eye(32), np.eye(33))
    with pytest.raises(ValueError, match=r"`right` must have shape \(2, 3\), got \(3, 2\)"):
        solve_sylvester(np.eye(2), 2 * np.eye(3), np.ones((3, 2)))
    A = np.random.default_rng(0).standard_normal((4, 3))
    singular = MatrixSystem(A @ A.T, np.zeros((4, 4)))
    with pytest.raises(np.linalg.LinAlgError, match="needs an invertible `sigma_s`"):
        sylvester_solutions([[0.5]], singular)
    # eigenvalues 1e-6 apart, each side many of them, at a tolerance of 1e-4: neither one value nor few
    ladder = np.diag(0.5 + 1e-4 * np.linspace(0, 30, 40))
    with pytest.raises(np.linalg.LinAlgError, match="pass a smaller `tolerance`"):
        sylvester_solutions(ladder, ladder, tolerance=1e-4)


@pytest.mark.parametrize(
    ("F_s", "error", "message"),
    [
        ([[1.0, 0.5], [0.0, 1.0]], ValueError, "symmetric to ten digits, got an asymmetry of 0.5"),
        ([[1.0, 0.0], [0.0, -1.0]], ValueError, "must be positive definite, got an eigenvalue -1"),
        ([[1.0, 1.0], [1.0, 1.0]], np.linalg.LinAlgError, "smallest eigenvalue of `features_s` is"),
        ([[1j, 0.0], [0.0, 1.0]], ValueError, "must be real, got complex numbers"),
        ([[1.0]], ValueError, r"`features_d` must have shape \(1, 1\), got \(2, 2\)"),
    ],
)
def test_features_that_determine_no_symmetric_predictor_are_refused(
    F_s: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        best_symmetric_predictor(F_s, np.eye(2))


# --- what counts as shared ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1.0, 1e3, 3e6])
def test_a_jordan_block_says_how_far_it_must_be_perturbed(size: float) -> None:
    P, M = np.array([[0.9, size], [0.0, 0.9]]), np.diag([0.4])
    found = sylvester_solutions(P, M)
    # σmin(P − 0.4) = 0.5²/‖P − 0.4‖ to first order in 1/size; M has 0.4 itself
    needed = np.linalg.svd(P - 0.4 * np.eye(2), compute_uv=False)[-1] / np.linalg.norm(P, 2)
    assert found.nullity == (needed <= found.tolerance)
    np.testing.assert_allclose(found.perturbation, [needed] * found.nullity, rtol=1e-3)
    # asked for less, it is not shared; asked for that much, it is
    assert sylvester_solutions(P, M, tolerance=max(needed / 1.01, 2.3e-16)).nullity == 0
    assert sylvester_solutions(P, M, tolerance=min(needed * 1.01, 0.9)).nullity == 1


def test_each_shared_eigenvalue_has_a_perturbation_of_its_own() -> None:
    # one cluster of P meets two eigenvalues of M: 0.9 as it stands, 0.4 far away
    found = sylvester_solutions([[0.9, 3e6], [0.0, 0.9]], np.diag([0.9, 0.4]))
    assert_allclose(found.shared_eigenvalues, [0.9, 0.4])
    assert found.perturbation[0] <= np.finfo(float).eps
    assert_allclose(found.perturbation[1], 0.25 / 9e12, rtol=1e-3)


def test_an_eigenvalue_shared_to_the_last_digit_needs_rounding_alone() -> None:
    V = np.linalg.qr(np.random.default_rng(3).standard_normal((4, 4)))[0]
    P, M = V @ np.diag([0.9, 0.5, 0.3, 0.1]) @ V.T, np.diag([0.9, 0.3])
    found = sylvester_solutions(P, M)
    assert found.nullity == 2
    assert np.all(found.perturbation <= 8 * np.finfo(float).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_precision_of_a_stored_predictor_is_its_tolerance(dtype: Any) -> None:
    rng = np.random.default_rng(4)
    V = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    P, M = V @ np.diag([0.9, 0.7, 0.5, 0.3, 0.1]) @ V.T, np.diag([0.9, 0.5, 0.2])
    stored = sylvester_solutions(P.astype(dtype), M)
    assert (stored.nullity, stored.precision) == (2, np.dtype(dtype).name)
    assert stored.tolerance == np.sqrt(5) * np.finfo(dtype).eps
    assert sylvester_solutions(P.astype(dtype).astype(float), M).nullity == 0  # as if all its digits counted
    assert sylvester_solutions(P, M).precision == "float64"
    # asked for, another tolerance is obeyed
    assert sylvester_solutions(P.astype(dtype), M, tolerance=1e-12).nullity == 0


@pytest.mark.parametrize("condition", [1e4, 1e8, 1e10, 1e12])
@pytest.mark.parametrize("seed", range(4))
def test_ill_conditioned_moments_do_not_hide_a_resonance(condition: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, chosen = 6, [0, 2, 5]
    U = np.linalg.qr(rng.standard_normal((n, n)))[0]
    root = U * np.sqrt(np.geomspace(1, 1 / condition, n))
    V = (
        root @ np.linalg.qr(rng.standard_normal((n, n)))[0]
    )  # Σs = V Vᵀ, of that condition, and M = V diag(r) V⁻¹
    r = np.array([0.9, 0.75, 0.6, 0.45, 0.3, 0.15])
    sigma_s, sigma_d = V @ V.T, (V * r) @ V.T
    system = MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2)
    S = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    found = sylvester_solutions(S @ np.diag(r[chosen]) @ S.T, system)
    assert found.nullity >= 3
    assert set(np.round(found.shared_eigenvalues, 3)) >= set(r[chosen])
    assert np.all(found.perturbation <= found.tolerance)
    # moments of good condition are told apart as before
    if condition <= 1e8:
        assert sylvester_solutions(S @ np.diag(r[chosen] + 0.01) @ S.T, system).nullity == 0


def test_what_m_leaves_open_counts_as_well_as_what_p_does() -> None:
    P, M = np.array([[0.5005]]), np.array([[0.5, 100.0], [0.0, 0.6]])
    # ‖Π‖ = 1000 for 0.5: it moves by 5e-4 when M does by 5e-5, a perturbation of 5e-9
    needed = np.linalg.svd(M - P[0, 0] * np.eye(2), compute_uv=False)[-1] / np.linalg.norm(M, 2)
    found = sylvester_solutions(P, M, tolerance=1e-8)
    assert found.nullity == 1
    assert_allclose(found.perturbation, needed, rtol=1e-6)
    assert sylvester_solutions(P, M, tolerance=1e-9).nullity == 0
