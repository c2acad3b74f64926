"""Spectra along a run: paths of eigenvalues against brute force and against paths that are known exactly."""

from __future__ import annotations

import itertools
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

from analysis.runs.spectra import nearest_match, online_singular_value_paths, predictor_eigenvalue_paths
from dynamics.integration.integrate import Status, Trajectory
from dynamics.states import MatrixState


def run_of(P: np.ndarray) -> Trajectory[MatrixState]:
    zeros = np.zeros((len(P), P.shape[1], 2))
    ts = np.arange(float(len(P)))
    return Trajectory(ts, MatrixState(zeros, P, zeros), Status.STEADY, "none", 0, 0, 0, np.nan)


def random_walk() -> np.ndarray:
    return np.cumsum(0.1 * np.random.default_rng(0).standard_normal((30, 4, 4)), axis=0)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_the_nearest_match_is_the_best_of_all_permutations(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, candidates = rng.standard_normal((2, n)) + 1j * rng.standard_normal((2, n))

    def cost(order: tuple[int, ...]) -> float:
        return float(np.sum(np.abs(values - candidates[list(order)]) ** 2))

    best = min(itertools.permutations(range(n)), key=cost)
    assert_array_equal(nearest_match(values, candidates), best)


def test_paths_are_the_best_of_all_permutations_at_every_time() -> None:
    P = random_walk()
    paths = predictor_eigenvalue_paths(run_of(P))
    for before, after, old, new in zip(P[:-1], P[1:], paths[:-1], paths[1:], strict=True):
        values, vectors = np.linalg.eig(before)
        # what the old eigenvectors see, in the order of the paths
        seen = np.array([v.conj() @ after @ v for v in vectors.T])[nearest_match(old, values)]
        costs = {o: np.sum(np.abs(new[list(o)] - seen) ** 2) for o in itertools.permutations(range(4))}
        assert min(costs, key=lambda order: costs[order]) == (0, 1, 2, 3)


def test_paths_hold_all_eigenvalues_and_end_in_descending_order() -> None:
    P = random_walk()
    paths = predictor_eigenvalue_paths(run_of(P))
    for k in range(1, 5):
        # Newton: power sums up to the size of the matrix determine its eigenvalues with their multiplicities
        traces = np.trace(np.linalg.matrix_power(P, k), axis1=1, axis2=2)
        accuracy = 100 * np.finfo(float).eps * np.max(np.linalg.norm(P, axis=(1, 2))) ** k
        assert_allclose(np.sum(paths**k, axis=1), traces, rtol=0, atol=accuracy)
    assert np.all(np.diff(paths[-1].real) <= 0)


def test_paths_follow_eigenvectors_through_crossings() -> None:
    # three straight lines that cross pairwise between two of nine times: matching values alone would bounce
    ts = np.linspace(0.0, 1.0, 9)
    exact = np.stack([1 - 2 * ts, -1 + 2.2 * ts, 0.3 + 0 * ts], axis=1)
    S = np.random.default_rng(1).standard_normal((3, 3))
    P = S @ (exact[:, :, None] * np.linalg.inv(S))
    expected = exact[:, np.argsort(-exact[-1])]
    # eigenvalues of S D S⁻¹ are good to rounding times the condition number of S
    accuracy = 100 * np.finfo(float).eps * np.linalg.cond(S)
    assert_allclose(predictor_eigenvalue_paths(run_of(P)), expected, rtol=0, atol=accuracy)


def test_paths_follow_turning_eigenvectors_when_times_are_dense() -> None:
    ts = np.linspace(0.0, 1.0, 400)
    exact = np.stack([1 - 2 * ts, -1 + 2.2 * ts], axis=1)
    turn = np.array([[[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]] for a in 2 * ts])
    P = turn @ (exact[:, :, None] * turn.mT)
    assert_allclose(predictor_eigenvalue_paths(run_of(P)).real, exact[:, ::-1], rtol=0, atol=1e-13)


def test_singular_values_are_roots_of_the_gram_spectrum() -> None:
    W = np.random.default_rng(2).standard_normal((5, 3, 7))
    run = run_of(random_walk()[:5])
    run = replace(run, states=run.states._replace(online=W))
    squares = np.linalg.eigvalsh(W @ W.mT)[:, ::-1]
    # eigenvalues of W Wᵀ are good to rounding times the largest
    atol = 100 * np.finfo(float).eps * np.max(squares)
    assert_allclose(online_singular_value_paths(run) ** 2, squares, rtol=0, atol=atol)


def test_paths_are_in_the_order_of_their_ends_however_they_crossed_in_the_last_step() -> None:
    P = np.array([np.diag([0.1, 0.6]), np.diag([0.9, 0.4])])
    assert_array_equal(predictor_eigenvalue_paths(run_of(P)), [[0.1, 0.6], [0.9, 0.4]])
