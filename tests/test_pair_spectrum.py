"""Eigenvalues of one (row, mode) pair against R9's blocks and the Jacobian of whole networks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from analysis.stability.jacobian import dense_jacobian
from analysis.stability.pair_spectrum import pair_eigenvalues
from dynamics.exact.fixed_points import collapsed_line_eigenvalues, learned_line_eigenvalues
from dynamics.system import MatrixSystem, ModeSystem

RATE = st.floats(0.2, 5.0)
POSITIVE = st.floats(0.1, 2.0)


def block(p: float, w: float, system: ModeSystem) -> np.ndarray:
    """R9's block over (δW_ij, δP_ij, δΘ_ij), as it stands there."""
    (ls,), (ld,) = system.lambda_s, system.lambda_d
    to, tp, tt = system.tau_online, system.tau_predictor, system.tau_target
    return np.array(
        [
            [-(p**2) * ls / to, -p * ls * w / to, p * ld / to],
            [-w * p * ls / tp, -(w**2) * ls / tp, w * ld / tp],
            [1 / tt, 0, -1 / tt],
        ]
    )


@given(POSITIVE, st.floats(0.0, 2.0), st.floats(-1.5, 1.5), st.floats(0.05, 1.5), RATE, RATE, RATE)
def test_they_are_the_block_without_its_forced_zero(
    ls: float, ld: float, p: float, w: float, to: float, tp: float, tt: float
) -> None:
    system = ModeSystem(ls, ld, tau_online=to, tau_predictor=tp, tau_target=tt)
    pair, matrix = pair_eigenvalues(p, w, system)[0], block(p, w, system)
    # the characteristic polynomial s (s² − s tr + minors): no root is compared where two of them meet
    minors = sum(
        matrix[i, i] * matrix[j, j] - matrix[i, j] * matrix[j, i] for i, j in ((0, 1), (0, 2), (1, 2))
    )
    size = np.sum(np.abs(matrix))
    assert_allclose(np.sum(pair), np.trace(matrix), rtol=0, atol=1e-14 * size)
    assert_allclose(np.prod(pair), minors, rtol=0, atol=1e-14 * size**2)
    assert abs(np.linalg.det(matrix)) <= 1e-14 * size**3


@given(POSITIVE, st.floats(0.05, 0.95), st.floats(-1.5, 1.5), RATE, RATE, RATE)
@example(1.0, 0.5168866880620204, 1.1125369292536007e-308, 0.5, 1.0, 1.0)  # a root beneath the normal floats
def test_lines_of_one_mode_are_special_cases(
    ls: float, r: float, p: float, to: float, tp: float, tt: float
) -> None:
    system = ModeSystem(ls, r * ls, tau_online=to, tau_predictor=tp, tau_target=tt)
    collapsed = collapsed_line_eigenvalues(p, system)[:, 1:]
    # one formula twice, its products in another order: a few roundings, of the smallest float where that is larger
    apart, smallest = 4 * np.finfo(np.float64).eps, np.finfo(np.float64).smallest_subnormal
    assert_allclose(pair_eigenvalues(p, 0.0, system), collapsed, rtol=apart, atol=4 * smallest)
    learned = learned_line_eigenvalues(p, system)[:, 1:]
    # γ is λs w²/τp + r (r λs − λd)/τo, whose second term is rounding
    assert_allclose(pair_eigenvalues(system.ratio, p, system), learned, rtol=0, atol=1e-6)


def test_all_pairs_together_are_the_spectrum_of_a_network() -> None:
    lambda_s, ratio = np.array([1.0, 0.7, 1.4]), np.array([0.8, 0.5, 0.3])
    w, p = (
        np.array([0.3, 0.9, 0.0]),
        np.array([0.8, 0.5, -0.2]),
    )  # rows 0 and 1 hold modes 0 and 1, row 2 collapsed
    rates = {"tau_online": 0.7, "tau_predictor": 1.3, "tau_target": 2.0}
    system = MatrixSystem(lambda_s, lambda_s * ratio, **rates)
    whole = np.linalg.eigvals(dense_jacobian(system.state(np.diag(w), np.diag(p)), system))
    modes = ModeSystem(lambda_s, lambda_s * ratio, **rates)
    pairs = pair_eigenvalues(p[:, None], w, modes).ravel()
    expected = np.concatenate([pairs, np.zeros(9)])  # n2² forced zeros
    cost = np.abs(np.subtract.outer(np.sort_complex(whole), np.sort_complex(expected)))
    assert whole.size == expected.size
    # zeros that come in Jordan blocks of size 2 are found to the root of rounding
    assert np.max(np.min(cost, axis=1)) < 1e-7
    assert np.max(np.min(cost, axis=0)) < 1e-7


def test_the_sign_is_that_of_the_pair_condition() -> None:
    system = ModeSystem(1.0, 0.9, tau_online=2.0, tau_predictor=0.5)
    border = np.sqrt(0.5 / 2.0 * 0.4 * (0.9 - 0.4))
    leading = pair_eigenvalues(0.4, border * np.array([[0.999], [1.001]]), system)[:, 0, 0].real
    assert leading[0] > 0 > leading[1]


def test_weight_decay_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`weight_decay` must be 0 for this closed form, got 0\.1"):
        pair_eigenvalues(0.4, 0.3, ModeSystem(1.0, 0.9, weight_decay=0.1))
