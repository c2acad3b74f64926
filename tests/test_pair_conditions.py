"""R9, R10: decoupled fixed points, block by block and pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from stability_points import (
    RATES,
    Point,
    decoupled_point,
    r9_spectrum,
    spectral_distance,
    symmetric,
    turned,
)

from analysis.stability.jacobian import dense_jacobian
from analysis.stability.pair_conditions import decoupled_form, pair_conditions
from analysis.stability.spectrum import stability
from dynamics.invariants import balance_matrix
from dynamics.system import MatrixSystem

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
        said[0, 0] == "row 1 is unstable towards mode 1: p = 0.48 is inside the interval from 0 to r = 0.61"
    )
    assert (
        said[0, 1] == "row 1 is stable towards mode 2, which row 1 holds: w²/τp = 0.2304 > (p/τo)(r − p) = 0"
    )
    assert (
        said[1, 2] == "row 2 is degenerate towards mode 3: p = 0 is an end of the interval from 0 to r = 0.3"
    )
    assert said[0, 2] == "row 1 is stable towards mode 3: p = 0.48 is outside the interval from 0 to r = 0.3"


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
