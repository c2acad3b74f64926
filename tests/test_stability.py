"""R4, R9, R10: the Jacobian of the full flow, its spectrum at fixed points, and what decides stability."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import linear_sum_assignment

from analysis import stability as module
from analysis.stability import (
    classify,
    decoupled_form,
    dense_jacobian,
    fixed_point_residual,
    forced_zeros,
    jacobian_operator,
    mode_jacobian,
    moving_parts,
    pair_conditions,
    stability,
)
from dynamics.fields import full_field
from dynamics.invariants import balance_matrix
from dynamics.mode_fields import (
    MODE_FIELDS,
    fixed_target_mode_field,
    no_ema_mode_field,
    no_predictor_mode_field,
    tied_mode_field,
)
from dynamics.states import MatrixState, pack, unpack
from dynamics.system import MatrixSystem, ModeSystem

RATES = {"tau_online": 0.7, "tau_predictor": 1.3, "tau_target": 2.0}


class Point(NamedTuple):
    state: MatrixState
    system: MatrixSystem


def orthogonal(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def symmetric(A: np.ndarray) -> np.ndarray:
    return (A + A.T) / 2


def general_point(seed: int, *, commuting: bool, n1: int | None = None, n2: int | None = None) -> Point:
    """A fixed point (S W, S P S⁻¹) of R4 with some rows collapsed, up to 60 unknowns, nothing aligned or balanced."""
    rng = np.random.default_rng(seed)
    n2 = n2 or int(rng.integers(1, 4))
    n1 = n1 or int(rng.integers(1, 9 if n2 < 3 else 8))
    r, ls = rng.uniform(0.1, 0.95, n1), rng.uniform(0.5, 2.0, n1)
    U = orthogonal(rng, n1)
    A = U * np.sqrt(ls)  # Σs = A Aᵀ, Σd = A R Aᵀ; rows of A⁻¹ are left eigenvectors of M
    if not commuting:
        A = (
            A
            @ orthogonal(rng, n1)
            @ (np.eye(n1) + 0.3 * symmetric(rng.uniform(-1, 1, (n1, n1))) / np.sqrt(n1))
        )
    system = MatrixSystem(symmetric(A @ A.T), symmetric((A * r) @ A.T), **RATES)
    k = int(rng.integers(0, min(n1, n2) + 1))
    chosen = rng.choice(n1, k, replace=False)
    W = np.zeros((n2, n1))
    W[:k] = rng.uniform(0.3, 1.2, k)[:, None] * np.linalg.inv(A)[chosen]
    p = np.concatenate([r[chosen], rng.uniform(-0.5, 1.0, n2 - k)])
    S = orthogonal(rng, n2) * rng.uniform(0.5, 2.0, n2) @ orthogonal(rng, n2)
    return Point(system.state(S @ W, S * p @ np.linalg.inv(S)), system)


def decoupled_point(
    lambda_s: np.ndarray, ratio: np.ndarray, modes: list[int], w: np.ndarray, p: np.ndarray, **rates: float
) -> Point:
    """R9: row i holds modes[i] with amplitude w[i] and P's eigenvalue p[i]; mode −1 is a collapsed row."""
    system = MatrixSystem(lambda_s, lambda_s * ratio, **rates)
    W = np.zeros((len(modes), len(ratio)))
    for i, j in enumerate(modes):
        if j >= 0:
            W[i, j] = w[i]
    return Point(system.state(W, np.diag(p)), system)


def turned(point: Point, seed: int) -> Point:
    """The same point in other orthonormal coordinates of features and inputs."""
    rng = np.random.default_rng(seed)
    (W, P, _), system = point
    Q, U = orthogonal(rng, W.shape[0]), orthogonal(rng, W.shape[1])
    rates = {n: getattr(system, n) for n in ("tau_online", "tau_predictor", "tau_target", "weight_decay")}
    full = MatrixSystem(symmetric(U * system.sigma_s @ U.T), symmetric(U * system.sigma_d @ U.T), **rates)
    return Point(full.state(Q @ W @ U.T, Q @ P @ Q.T), full)


def difference_jacobian(point: Point) -> np.ndarray:
    """Five-point differences: exact up to rounding for the flow, a polynomial of degree 3. Rounding is ε/h ~ 1e-14."""
    state, system = point
    x, h = pack(state), 0.02

    def flow(v: np.ndarray) -> np.ndarray:
        return pack(full_field(0.0, unpack(v, state), system))

    columns = [
        (8 * (flow(x + h * e) - flow(x - h * e)) - (flow(x + 2 * h * e) - flow(x - 2 * h * e))) / (12 * h)
        for e in np.eye(x.size)
    ]
    return np.stack(columns, axis=1)


def spectral_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Largest distance in the best pairing of two spectra."""
    distance = np.abs(a[:, None] - b[None])
    return float(np.max(distance[linear_sum_assignment(distance)]))


def r9_spectrum(point: Point, modes: list[int]) -> np.ndarray:
    """Eigenvalues of the blocks as R9 prints them, one (row, mode) pair at a time, and what is left of δP: zeros."""
    (W, P, _), system = point
    to, tp, tt = system.tau_online, system.tau_predictor, system.tau_target
    n2, n1 = W.shape
    spectrum: list[complex] = []
    for p in np.diag(P):
        for j in range(n1):
            ls, ld = system.sigma_s[j], system.sigma_d[j]
            w = np.linalg.norm(W[:, j])
            block = np.array(
                [
                    [-p * p * ls / to, -p * ls * w / to, p * ld / to],
                    [-w * p * ls / tp, -w * w * ls / tp, w * ld / tp],
                    [1 / tt, 0, -1 / tt],
                ]
            )
            spectrum += list(np.linalg.eigvals(block if j in modes else block[np.ix_([0, 2], [0, 2])]))
    held = len({j for j in modes if j >= 0})
    return np.array(spectrum + [0.0] * (n2 * (n2 - held)))


# --- the Jacobian


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_jacobian_is_the_derivative_of_the_flow(diagonal: bool, weight_decay: float) -> None:
    rng = np.random.default_rng(1)
    n1, n2 = 5, 3
    moments = [
        rng.uniform(0, 1, n1) if diagonal else symmetric(rng.standard_normal((n1, n1))) for _ in range(2)
    ]
    system = MatrixSystem(*moments, **RATES, weight_decay=weight_decay)
    state = system.state(*(rng.standard_normal(shape) for shape in ((n2, n1), (n2, n2), (n2, n1))))

    def flow(x: Any) -> jax.Array:
        parts = full_field(0.0, unpack(x, state), system)
        return jax.numpy.concatenate([part.ravel() for part in parts])

    x = jax.numpy.asarray(pack(state))
    v, u = rng.standard_normal((2, x.size))
    operator = jacobian_operator(state, system)
    # sums of at most 2 n1 + n2 products of numbers of order 1 to 10
    assert_allclose(operator.matvec(v), jax.jvp(flow, (x,), (v,))[1], rtol=1e-12, atol=1e-12)
    assert_allclose(operator.rmatvec(u), jax.vjp(flow, x)[1](u)[0], rtol=1e-12, atol=1e-12)
    assert_allclose(dense_jacobian(state, system), jax.jacfwd(flow)(x), rtol=1e-12, atol=1e-12)


def test_gradients_of_the_conserved_matrix_are_left_null_vectors() -> None:
    """R2: C does not move, so its gradient at rest is annihilated by the adjoint."""
    state, system = general_point(7, commuting=False, n1=4, n2=3)

    def entry(x: Any) -> Any:
        return balance_matrix(unpack(x, state), system)[0, 1]

    gradient = np.asarray(jax.grad(entry)(jax.numpy.asarray(pack(state))))
    assert np.linalg.norm(gradient) > 0.1
    assert_allclose(jacobian_operator(state, system).rmatvec(gradient), 0.0, atol=1e-12)


# --- fixed points


def test_residual_is_zero_at_fixed_points_and_linear_next_to_the_origin() -> None:
    state, system = general_point(3, commuting=False, n1=4, n2=2)
    assert fixed_point_residual(state, system) < 1e-13
    W, P, _ = np.random.default_rng(0).standard_normal((3, 2, 2))
    small = MatrixSystem(np.eye(2), 0.5 * np.eye(2))
    near = small.state(1e-5 * W, 1e-5 * P)
    assert np.linalg.norm(pack(full_field(0.0, near, small))) < 1e-8  # quadratic
    assert fixed_point_residual(near, small) > 1e-6  # linear


# --- the spectrum in general position


@pytest.mark.parametrize("commuting", [True, False])
@pytest.mark.parametrize("seed", range(15))
def test_three_methods_agree_with_differences_at_random_fixed_points(seed: int, commuting: bool) -> None:
    point = general_point(seed, commuting=commuting)
    reference = np.linalg.eigvals(difference_jacobian(point))
    assert reference.size <= 60
    results = [stability(*point, method=method) for method in ("blocks", "dense", "iterative")]
    blocks, dense, iterative = results
    assert spectral_distance(blocks.eigenvalues, reference) < 1e-6
    assert spectral_distance(dense.eigenvalues, reference) < 1e-6
    assert_allclose([iterative.max_real, iterative.min_real], [blocks.max_real, blocks.min_real], atol=1e-6)
    # no eigenvalue of these points lies between rounding and 1e-7
    wanted = (int(np.sum(reference.real > 1e-7)), int(np.sum(np.abs(reference.real) <= 1e-7)))
    assert [(result.n_positive, result.n_zero) for result in results] == [wanted] * 3
    assert sum((blocks.n_positive or 0, blocks.n_zero or 0, blocks.n_negative or 0)) == blocks.n_unknowns
    assert blocks.n_zero_forced == point.state.predictor.size  # P shares no eigenvalue with a mode left out
    assert {result.verdict for result in results} == {"saddle" if wanted[0] else "stable"}


def test_iterative_finds_the_rightmost_eigenvalues_of_the_dense_spectrum() -> None:
    point = general_point(5, commuting=False, n1=20, n2=5)
    dense, iterative = stability(*point, method="dense"), stability(*point, method="iterative")
    found = iterative.eigenvalues
    others = dense.eigenvalues[dense.eigenvalues != 0]
    assert found.size >= 6
    assert_allclose(np.sort(found.real), np.sort(others.real)[-found.size :], atol=1e-10)
    assert (dense.n_positive, dense.n_zero) == (iterative.n_positive, iterative.n_zero)


def test_iterative_counts_every_copy_of_a_multiple_eigenvalue() -> None:
    """Isotropic moments: three collapsed rows repel all of 30 equal modes at one rate, so 90 eigenvalues are equal."""
    point = decoupled_point(np.ones(30), np.full(30, 0.8), [-1] * 3, np.zeros(3), np.full(3, 0.4))
    result = stability(*point, method="iterative")
    assert (result.n_positive, result.n_zero, result.verdict) == (90, 9, "saddle")


def test_iterative_says_when_it_did_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    point = decoupled_point(np.ones(30), np.full(30, 0.8), [-1] * 3, np.zeros(3), np.full(3, 0.4))
    monkeypatch.setattr(module, "MAX_RIGHTMOST", 20)
    result = stability(*point, method="iterative")
    assert (result.n_positive, result.n_zero, result.n_negative, result.n_zero_other) == (None,) * 4
    # one row and one mode: s² + s (1 + p²) + p (p − r) with p = 0.4, r = 0.8
    assert_allclose(result.max_real, (-1.16 + np.sqrt(1.16**2 + 4 * 0.16)) / 2, rtol=1e-10)
    assert result.verdict == "saddle"


def test_auto_turns_to_iteration_for_large_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    point = general_point(5, commuting=False, n1=6, n2=2)
    assert stability(*point).method in ("blocks", "dense")
    monkeypatch.setattr(module, "MAX_BLOCK", 8)
    assert stability(*point).method == "iterative"
    monkeypatch.undo()
    monkeypatch.setattr(module, "MAX_ENTRIES", 8)
    assert stability(*point).method == "iterative"


@pytest.mark.parametrize("commuting", [True, False])
def test_counts_survive_noise_of_an_integrated_state(commuting: bool) -> None:
    point = general_point(11, commuting=commuting, n1=5, n2=2)
    rng = np.random.default_rng(0)
    noisy = MatrixState(*(part + 1e-9 * rng.standard_normal(part.shape) for part in point.state))
    exact, result = stability(*point), stability(noisy, point.system)
    assert result.residual > 1e-10
    assert (exact.n_positive, exact.n_zero, exact.verdict) == (
        result.n_positive,
        result.n_zero,
        result.verdict,
    )
    assert spectral_distance(exact.eigenvalues, result.eigenvalues) < 1e-7


def test_general_transformations_keep_the_fixed_point_and_not_the_spectrum() -> None:
    """R4 maps (W, P) to (S W, S P S⁻¹); the flow itself is equivariant under orthogonal S only."""
    (W, P, _), system = general_point(2, commuting=True, n1=4, n2=2)
    rng = np.random.default_rng(0)
    Q, S = orthogonal(rng, 2), np.array([[1.0, 0.8], [0.0, 0.5]])
    spectrum = stability(system.state(W, P), system).eigenvalues
    rotated = stability(system.state(Q @ W, Q @ P @ Q.T), system)
    sheared = stability(system.state(S @ W, S @ P @ np.linalg.inv(S)), system)
    assert spectral_distance(spectrum, rotated.eigenvalues) < 1e-10
    assert spectral_distance(spectrum, sheared.eigenvalues) > 1e-2


# --- R9


@pytest.mark.parametrize(
    ("n1", "modes", "p"),
    [
        (5, [0, 2, -1], [0.9, 0.5, -0.3]),
        (5, [-1, 3, -1], [0.2, 0.35, 0.95]),
        (2, [1, -1, 0, -1], [0.7, 0.1, 0.9, -0.2]),  # more features than inputs
        (4, [-1, -1], [0.3, 0.8]),
    ],
)
def test_blocks_are_those_of_r9(n1: int, modes: list[int], p: list[float]) -> None:
    ratio = np.array([0.9, 0.7, 0.5, 0.35, 0.2])[:n1]
    lambda_s = np.array([1.0, 0.6, 1.7, 0.9, 1.2])[:n1]
    point = decoupled_point(lambda_s, ratio, modes, np.linspace(0.4, 1.1, len(modes)), np.array(p), **RATES)
    wanted = r9_spectrum(point, modes)
    for point_ in (point, turned(point, 0)):
        result = stability(*point_)
        assert result.n_unknowns == wanted.size == 2 * n1 * len(modes) + len(modes) ** 2
        assert (result.method, result.largest_block) == ("blocks", 3 if max(modes) >= 0 else 2)
        # eigenvalues of 3×3 blocks of size 1; forced zeros are set to 0, R9's are zero to rounding
        assert spectral_distance(result.eigenvalues, wanted) < 1e-12


def test_two_rows_on_one_mode_are_one_row_after_a_rotation() -> None:
    system = MatrixSystem(np.array([1.0, 0.8, 1.3]), np.array([0.9, 0.4, 0.3]), **RATES)
    state = system.state([[0.3, 0.0, 0.0], [0.4, 0.0, 0.0]], 0.9 * np.eye(2))
    result = stability(state, system)
    assert result.largest_block == 3
    assert spectral_distance(result.eigenvalues, np.linalg.eigvals(dense_jacobian(state, system))) < 1e-12
    form = decoupled_form(state, system)
    assert form is not None
    assert_allclose(np.sort(np.abs(form.amplitude)), [0.0, 0.5], atol=1e-15)
    assert sorted(form.mode) == [-1, 0]


def test_modes_of_one_ratio_and_two_scales_share_a_block() -> None:
    """A row along a mixture of them is an eigenvector of M but not of Σs: no R9 form, and still block by block."""
    system = MatrixSystem(np.array([1.0, 2.0, 1.0, 1.5]), np.array([0.6, 1.2, 0.3, 0.2]), **RATES)
    state = system.state([[0.5, 0.7, 0.0, 0.0], [0.0, 0.0, 0.8, 0.0]], np.diag([0.6, 0.3]))
    assert decoupled_form(state, system) is None
    result = stability(state, system)
    assert result.largest_block == 5  # δW twice, δP, δΘ twice
    assert spectral_distance(result.eigenvalues, np.linalg.eigvals(dense_jacobian(state, system))) < 1e-10


def test_rows_decouple_where_the_predictor_is_symmetric_and_the_moments_do_not_commute() -> None:
    """Rows along eigenvectors of the pencil (Σd, Σs), P diagonal: E = 0, so row i of all parts closes on itself."""
    rng = np.random.default_rng(4)
    n1, n2 = 6, 3
    A = np.eye(n1) + 0.4 * rng.standard_normal((n1, n1))
    r = np.linspace(0.9, 0.2, n1)
    system = MatrixSystem(symmetric(A @ A.T), symmetric((A * r) @ A.T), **RATES)
    W, P = 0.6 * np.linalg.inv(A)[:n2], np.diag(r[:n2])
    result = stability(system.state(W, P), system)
    assert result.largest_block == 2 * n1 + n2
    reference = np.linalg.eigvals(dense_jacobian(system.state(W, P), system))
    assert spectral_distance(result.eigenvalues, reference) < 1e-9


@settings(max_examples=60)
@given(a=st.floats(-1.2, 1.2), b=st.floats(0.05, 1.2), r=st.floats(0.05, 0.95), tau=st.floats(0.1, 10.0))
def test_complex_predictor_eigenvalues_of_collapsed_rows(a: float, b: float, r: float, tau: float) -> None:
    """W = 0 and P with eigenvalues p = a ± ib (normal): s² + s (1/τt + |p|²) + (|p|² − p̄ r)/τt = 0 for λs = τo = 1.

    Both roots lie left of the axis iff β² α > γ², with β the first coefficient and α + iγ the second: unlike for
    real p (R5), τt decides too.
    """
    system = MatrixSystem(np.ones(1), np.array([r]), tau_target=tau)
    beta, alpha, gamma = 1 / tau + a * a + b * b, (a * a + b * b - a * r) / tau, b * r / tau
    margin = beta**2 * alpha - gamma**2
    assume(abs(margin) > 1e-6)
    state = system.state(np.zeros((2, 1)), [[a, -b], [b, a]])
    for method in ("blocks", "iterative"):
        result = stability(state, system, method=method)
        assert (result.verdict == "stable") == (margin > 0)
        assert result.n_positive == (0 if margin > 0 else 2)


# --- R10


@pytest.mark.parametrize(("amplitude", "verdict"), [(0.44, "saddle"), (0.45, "degenerate"), (0.46, "stable")])
def test_top_modes_are_stable_only_with_enough_amplitude(amplitude: float, verdict: str) -> None:
    """Ratios .9, .45, .3, .2: row 1 leaves its mode for the first unless w0² > .45 (.9 − .45) = .45²."""
    point = decoupled_point(
        np.ones(4),
        np.array([0.9, 0.45, 0.3, 0.2]),
        [0, 1],
        np.array([amplitude, 0.45]),
        np.array([0.9, 0.45]),
    )
    for point_ in (point, turned(point, 3)):
        assert {stability(*point_, method=m).verdict for m in ("blocks", "dense", "iterative")} == {verdict}
    loud = [pair for pair in pair_conditions(*point) if pair.verdict != "stable"]
    assert [(pair.row, pair.mode, pair.selected) for pair in loud] == (
        [] if verdict == "stable" else [(1, 0, True)]
    )


def test_sentences_name_the_numbers() -> None:
    point = decoupled_point(
        np.ones(3), np.array([0.61, 0.48, 0.3]), [1, -1], np.array([0.48, 0.0]), np.array([0.48, 0.0])
    )
    said = {(pair.row, pair.mode): pair.sentence for pair in pair_conditions(*point)}
    assert (
        said[0, 0] == "row 0 is unstable towards mode 0: p = 0.48 is inside the interval from 0 to r = 0.61"
    )
    assert (
        said[0, 1] == "row 0 is stable towards mode 1, which row 0 holds: w²/τp = 0.2304 > (p/τo)(r − p) = 0"
    )
    assert (
        said[1, 2] == "row 1 is degenerate towards mode 2: p = 0 is an end of the interval from 0 to r = 0.3"
    )
    assert said[0, 2] == "row 0 is stable towards mode 2: p = 0.48 is outside the interval from 0 to r = 0.3"


@st.composite
def decoupled_points(draw: st.DrawFn) -> tuple[Point, list[int]]:
    n1, n2 = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    k = draw(st.integers(0, min(n1, n2)))
    # grids keep every condition of R10 away from its boundary by more than rounding, or exactly on it
    ratio = (
        np.array(draw(st.lists(st.sampled_from(range(1, 20)), min_size=n1, max_size=n1, unique=True))) / 20
    )
    lambda_s = np.array(draw(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=n1, max_size=n1)))
    modes = draw(st.permutations(range(n1)))[:k] + [-1] * (n2 - k)
    p = np.array(draw(st.lists(st.sampled_from([-0.31, 0.03, 0.27, 0.64, 0.97]), min_size=n2, max_size=n2)))
    p[:k] = ratio[modes[:k]]
    w = np.array(draw(st.lists(st.sampled_from([0.11, 0.37, 0.83, -0.52]), min_size=n2, max_size=n2)))
    rates = {name: draw(st.sampled_from([0.3, 1.0, 2.5])) for name in RATES}
    return decoupled_point(lambda_s, ratio, modes, w, p, **rates), modes


@given(drawn=decoupled_points(), seed=st.integers(0, 99))
def test_unstable_pairs_are_the_positive_eigenvalues(drawn: tuple[Point, list[int]], seed: int) -> None:
    """Each unstable pair of R10 has one positive eigenvalue, and there are no others."""
    point, modes = drawn
    pairs = pair_conditions(*point)
    assume(min(abs(pair.margin) for pair in pairs) > 1e-6)
    result = stability(*turned(point, seed))
    n_unstable = sum(pair.verdict == "unstable" for pair in pairs)
    assert result.n_positive == n_unstable == int(np.sum(r9_spectrum(point, modes).real > 1e-9))
    assert result.n_zero_other == 0
    assert result.verdict == ("saddle" if n_unstable else "stable")
    (W, P, _), system = point
    ratio = system.sigma_d / system.sigma_s
    order = np.argsort(-ratio, kind="stable")
    for pair in pairs:  # as R10 words it
        p, j = P[pair.row, pair.row], order[pair.mode]
        w = np.linalg.norm(W[:, j])
        if pair.selected:
            stable = w**2 / system.tau_predictor > p / system.tau_online * (ratio[j] - p)
        else:
            stable = not 0 < p < ratio[j]
        assert (pair.verdict == "stable") == stable


@settings(max_examples=40)
@given(
    seed=st.integers(0, 999),
    k=st.integers(1, 3),
    to=st.floats(0.2, 5),
    tp=st.floats(0.2, 5),
    tt=st.floats(0.2, 5),
)
def test_balanced_top_modes_are_stable(seed: int, k: int, to: float, tp: float, tt: float) -> None:
    """C = 0 gives τo w² = τp r², and r_j²/τo > (r_i/τo)(r_j − r_i) always: r_j² − r_i r_j + r_i² > 0."""
    rng = np.random.default_rng(seed)
    ratio = np.sort(rng.uniform(0.05, 0.95, 6))[::-1]
    assume(np.min(-np.diff(ratio)) > 1e-3)
    w = np.sqrt(tp / to) * ratio[:k]
    rates = {"tau_online": to, "tau_predictor": tp, "tau_target": tt}
    point = decoupled_point(rng.uniform(0.3, 2, 6), ratio, list(range(k)), w, ratio[:k], **rates)
    assert_allclose(balance_matrix(*point), 0.0, atol=1e-14)
    result = stability(*turned(point, seed))
    assert (result.verdict, result.n_positive, result.n_zero_other) == ("stable", 0, 0)


@pytest.mark.parametrize(
    ("p", "verdict"), [(-0.2, "stable"), (0.95, "stable"), (0.6, "saddle"), (0.0, "degenerate")]
)
def test_partial_collapse_is_an_attractor_outside_the_ratios(p: float, verdict: str) -> None:
    """Row 1 collapsed: it stays so for p < 0 and p > max r, and leaves for 0 < p < max r (mode 1 here, r = .7)."""
    point = decoupled_point(
        np.ones(3), np.array([0.9, 0.7, 0.4]), [0, -1], np.array([0.9, 0.0]), np.array([0.9, p])
    )
    assert stability(*point).verdict == verdict


# --- zeros that are forced


def tangent_dimension(point: Point) -> int:
    """Brute force: null space of δP W Σs + P δW Σs = δW Σd, by the singular values of its matrix."""
    (W, P, _), system = point
    sigma_s, sigma_d = (np.diag(s) if s.ndim == 1 else s for s in (system.sigma_s, system.sigma_d))
    n2, n1 = W.shape
    columns = [(A @ sigma_d - P @ A @ sigma_s).ravel() for A in np.eye(n2 * n1).reshape(-1, n2, n1)]
    columns += [-(B @ W @ sigma_s).ravel() for B in np.eye(n2 * n2).reshape(-1, n2, n2)]
    return len(columns) - int(np.sum(np.linalg.svd(np.array(columns), compute_uv=False) > 1e-9))


@pytest.mark.parametrize("commuting", [True, False])
@pytest.mark.parametrize("seed", range(20, 30))
def test_forced_zeros_are_the_tangents_of_the_fixed_points(seed: int, commuting: bool) -> None:
    point = general_point(seed, commuting=commuting)
    assert forced_zeros(*point) == tangent_dimension(point)


@pytest.mark.parametrize(
    ("modes", "p"),
    [
        ([0, -1], [0.9, 0.5]),
        ([0, -1], [0.9, 0.9]),
        ([-1, -1], [0.5, 0.5]),
        ([2, 0], [0.5, 0.9]),
        ([-1, -1], [0.0, 0.2]),
    ],
)
def test_forced_zeros_count_resonances_and_dead_directions(modes: list[int], p: list[float]) -> None:
    """Modes 1 and 2 share a ratio at two scales; mode 3 is dead (Σs = Σd = 0) and W may hold anything there."""
    ratio = np.array([0.9, 0.5, 0.5, 0.0])
    point = decoupled_point(np.array([1.0, 1.0, 2.0, 0.0]), ratio, modes, np.array([0.7, 0.4]), np.array(p))
    W, P, _ = point.state
    W[:, 3] = 0.3, -0.1
    point = Point(point.system.state(W, P), point.system)
    for point_ in (point, turned(point, 1)):
        forced = forced_zeros(*point_)
        result = stability(*point_)
        assert forced == result.n_zero_forced == tangent_dimension(point_)
        assert result.n_zero == int(np.sum(np.abs(np.linalg.eigvals(dense_jacobian(*point_)).real) < 1e-7))


def test_forced_zeros_of_singular_moments_that_do_not_commute() -> None:
    rng = np.random.default_rng(6)
    A = rng.standard_normal((5, 3))  # rank 3
    r = np.array([0.8, 0.5, 0.3])
    system = MatrixSystem(symmetric(A @ A.T), symmetric((A * r) @ A.T))
    W = np.array([[0.7], [0.0]]) * np.linalg.pinv(A)[:1]
    point = Point(system.state(W, np.diag([0.8, 0.3])), system)
    result = stability(*point)
    # 4 motions of the features, 2 for each of the 2 dead directions, and row 1 in resonance with mode 2
    assert result.n_zero_forced == tangent_dimension(point) == 9
    assert result.n_zero == int(np.sum(np.abs(np.linalg.eigvals(dense_jacobian(*point)).real) < 1e-8))


def test_indefinite_moments_leave_the_forced_count_open() -> None:
    system = MatrixSystem(np.array([[-1.0, 0.3], [0.3, 1.0]]), np.array([[0.5, 0.0], [0.0, 0.2]]))
    state = system.state(np.zeros((1, 2)), [[0.4]])
    result = stability(state, system)
    assert forced_zeros(state, system) is None
    assert (result.n_zero_forced, result.n_zero_other, result.n_zero) == (None, None, 1)


def test_origin_has_zeros_that_nothing_forces() -> None:
    """R5: eigenvalues 0, 0, −1/τt, one line of fixed points (0, p, 0)."""
    system = MatrixSystem(np.ones(1), np.array([0.5]), **RATES)
    result = stability(system.state([[0.0]], [[0.0]]), system)
    assert (result.n_zero_forced, result.n_zero_other, result.verdict) == (1, 1, "degenerate")
    assert result.largest_block == 1  # the Jacobian is triangular: W drives Θ, and nothing drives W
    assert_allclose(result.min_real, -1 / RATES["tau_target"])


# --- weight decay (R15)


def r15_point(ratio: np.ndarray, signs: list[int], n2: int, eta: float = 0.05) -> Point:
    """Row i on mode i at p± (λs = 1), the rest collapsed to P = 0."""
    rates = {**RATES, "weight_decay": eta}
    held = len(signs)
    root = np.sqrt(ratio[:held] ** 2 - 4 * eta * RATES["tau_online"])
    p = np.concatenate([(ratio[:held] + np.array(signs) * root) / 2, np.zeros(n2 - held)])
    w = np.sqrt(RATES["tau_predictor"] / RATES["tau_online"]) * p
    return decoupled_point(np.ones(ratio.size), ratio, [*range(held), *[-1] * (n2 - held)], w, p, **rates)


@pytest.mark.parametrize("isotropic", [False, True])
@pytest.mark.parametrize("signs", [[], [1], [1, 1], [1, -1], [-1, -1, 1]])
def test_weight_decay_blocks(signs: list[int], isotropic: bool) -> None:
    ratio = np.full(4, 0.7) if isotropic else np.array([0.95, 0.8, 0.7, 0.5])
    n2 = 3
    point = r15_point(ratio, signs, n2)
    reference = np.linalg.eigvals(difference_jacobian(point))
    for point_ in (point, turned(point, 2)):
        for method in ("blocks", "iterative"):
            result = stability(*point_, method=method)
            assert result.n_positive == int(np.sum(reference.real > 1e-9))
            assert result.n_zero == result.n_zero_forced == int(np.sum(np.abs(reference.real) < 1e-9))
        blocks = stability(*point_, method="blocks")
        assert spectral_distance(blocks.eigenvalues, reference) < 1e-9
        assert blocks.largest_block <= 6
    if not isotropic:  # rotations that mix a learned row with any other row
        held = len(signs)
        assert result.n_zero_forced == held * (held - 1) // 2 + held * (n2 - held)


def test_weight_decay_of_one_mode() -> None:
    """R15: the origin is stable with −η, −η, −1/τt; p+ is stable, p− a saddle, and they meet at η* = λd²/(4 τo λs)."""
    system = MatrixSystem(np.ones(1), np.array([0.5]), weight_decay=0.06)
    origin = stability(system.state([[0.0]], [[0.0]]), system)
    assert_allclose(origin.eigenvalues, [-0.06, -0.06, -1.0], atol=1e-15)
    for p, verdict in ((0.3, "stable"), (0.2, "saddle")):
        result = stability(system.state([[p]], [[p]]), system)
        assert (result.verdict, result.n_zero) == (verdict, 0)
    fold = MatrixSystem(np.ones(1), np.array([0.5]), weight_decay=0.0625)
    result = stability(fold.state([[0.25]], [[0.25]]), fold)
    assert (result.n_zero_forced, result.n_zero_other, result.verdict) == (0, 1, "degenerate")


# --- one mode


def test_mode_jacobian_of_the_full_flow() -> None:
    rng = np.random.default_rng(0)
    ls, ld, w1, w2, th = rng.uniform(-1, 1, (5, 4))
    to, tp, tt, eta = 0.7, 1.3, 2.0, 0.1
    system = ModeSystem(ls, ld, tau_online=to, tau_predictor=tp, tau_target=tt, weight_decay=eta)
    mixed = th * ld - 2 * w1 * w2 * ls
    zero, one = np.zeros(4), np.ones(4)
    wanted = np.array(
        [
            [-(w2**2) * ls / to - eta, mixed / to, w2 * ld / to],
            [mixed / tp, -(w1**2) * ls / tp - eta, w1 * ld / tp],
            [one / tt, zero, -one / tt],
        ]
    )
    assert_allclose(
        mode_jacobian(system.state(w1, w2, th), system), np.moveaxis(wanted, 2, 0), rtol=1e-14, atol=1e-15
    )


@given(a=st.floats(0.05, 2.0), r=st.floats(0.05, 0.95), tau=st.floats(0.2, 5.0))
def test_lines_of_fixed_points_have_the_eigenvalues_of_r5(a: float, r: float, tau: float) -> None:
    ls, (to, tp) = 1.3, (0.7, 1.6)
    system = ModeSystem(ls, ls * r, tau_online=to, tau_predictor=tp, tau_target=tau)
    learned = np.linalg.eigvals(mode_jacobian(system.state(a, r, a), system)[0])
    wanted = np.roots([1, 1 / tau + ls * (r * r / to + a * a / tp), ls * a * a / (tp * tau), 0])
    assert spectral_distance(learned, wanted) < 1e-7  # two real roots may be close: √ε
    assert classify(learned, 1e-9, n_zero_forced=1) == "stable"
    p = a
    collapsed = np.linalg.eigvals(mode_jacobian(system.state(0.0, p, 0.0), system)[0])
    wanted = np.roots([1, 1 / tau + ls * p * p / to, p * (ls * p - ls * r) / (to * tau), 0])
    assert spectral_distance(collapsed, wanted) < 1e-7
    if abs(p - r) > 1e-3:
        assert classify(collapsed, 1e-9, n_zero_forced=1) == ("stable" if p > r else "saddle")


def test_variants_are_differentiated_over_the_parts_they_move() -> None:
    system = ModeSystem(1.0, 0.5, tau_target=2.0)
    origin = system.state(0.0, 0.0, 0.3)
    fixed = mode_jacobian(origin, system, fixed_target_mode_field)[0]
    assert_allclose(np.linalg.eigvals(fixed), [0.15, -0.15])  # R13: ±θ λd
    tied = mode_jacobian(system.state(0.0, 0.0, 0.0), system, tied_mode_field)[0]
    assert_allclose(np.sort(np.linalg.eigvals(tied)), [-0.5, 0.0])  # R7: 0, −1/τt
    none = mode_jacobian(system.state(0.0, 1.0, 0.0), system, no_predictor_mode_field)[0]
    assert_allclose(none, [[-1.0, 0.5], [0.5, -0.5]])  # R11
    assert moving_parts(no_ema_mode_field, system) == ("online", "predictor")
    assert moving_parts(MODE_FIELDS["no-stop-gradient"], system) == ("online", "predictor")
    assert moving_parts(MODE_FIELDS["full"], system) == ("online", "predictor", "target")
    assert moving_parts(MODE_FIELDS["directpred"], system) == ("online", "target")


@pytest.mark.parametrize(
    ("eigenvalues", "forced", "verdict"),
    [
        ([-1.0, -2.0], 0, "stable"),
        ([1.0, -2.0], 0, "saddle"),
        ([1.0, 2.0j + 0.1], 0, "unstable"),
        ([0.0, -1.0], 0, "degenerate"),
        ([0.0, -1.0], 1, "stable"),
        ([0.0, 0.0, -1.0], 1, "degenerate"),
        ([1.0j, -1.0j], 0, "degenerate"),
        ([0.0, 1.0, -1.0], 1, "saddle"),
    ],
)
def test_classify(eigenvalues: list[complex], forced: int, verdict: str) -> None:
    assert classify(np.array(eigenvalues), n_zero_forced=forced) == verdict


# --- refusals


def test_a_state_that_moves_is_refused_with_its_residual() -> None:
    system = MatrixSystem(np.ones(2), np.array([0.5, 0.2]))
    moving = system.state([[1.0, 0.0]], [[0.4]])
    with pytest.raises(ValueError, match=r"fixed point within `tolerance` = 1e-06, got a residual of 0.1"):
        stability(moving, system)
    with pytest.raises(ValueError, match=r"residual of 0\.1"):
        pair_conditions(moving, system)
    with pytest.raises(ValueError, match=r"residual of 0\.1"):
        forced_zeros(moving, system)
    assert stability(moving, system, tolerance=0.2).n_unknowns == 5


def test_options_are_checked() -> None:
    system = MatrixSystem(np.ones(2), np.array([0.5, 0.2]))
    state = system.state([[1.0, 0.0]], [[0.5]])
    with pytest.raises(
        ValueError, match="`method` must be one of auto, blocks, dense, iterative, got 'fast'"
    ):
        stability(state, system, method="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`tolerance` must be above 0 and below 1, got nan"):
        stability(state, system, tolerance=np.nan)
    with pytest.raises(ValueError, match="`zero_tolerance` must be finite and >= 0, got -1"):
        stability(state, system, zero_tolerance=-1.0)
    with pytest.raises(ValueError, match="vector of finite numbers"):
        classify(np.array([np.nan]))
    with pytest.raises(ValueError, match="at most the 0 zeros there are, got 1"):
        classify(np.array([-1.0]), n_zero_forced=1)


def test_pair_conditions_are_refused_where_r10_does_not_speak() -> None:
    with pytest.raises(ValueError, match=r"those of `weight_decay` = 0, got 0\.05"):
        pair_conditions(*r15_point(np.array([0.9, 0.5]), [1], 1))
    with pytest.raises(ValueError, match="must be decoupled"):
        pair_conditions(*general_point(0, commuting=False, n1=4, n2=2))
    negative = decoupled_point(
        np.array([-1.0, 1.0]), np.array([0.5, 0.3]), [-1], np.zeros(1), np.array([0.4])
    )
    with pytest.raises(ValueError, match="eigenvalues of `sigma_s` must be >= 0, got -1"):
        pair_conditions(*negative)
