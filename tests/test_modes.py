"""R3: where the full flow decouples into modes it is the flow of the modes, and where it does not, that is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import brentq

from dynamics.fields.vector_field import VectorField
from dynamics.integration.integrate import integrate
from dynamics.modes import (
    _WEIGHTS,
    commutator,
    expand_modes,
    joint_eigenbasis,
    reduce_to_modes,
    spectrum,
)
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem
from dynamics.variants import FIELDS, MODE_FIELDS

seeds = st.integers(0, 2**32 - 1)
TAUS = {"tau_online": 0.7, "tau_predictor": 1.3, "tau_target": 2.0}


ROUNDING = 1e-13
"""Of products of up to eight numbers of size one, several times over."""


def close(found: Any, expected: Any, tolerance: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def rotation(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def conjugated(eigenvalues: np.ndarray, Q: np.ndarray) -> np.ndarray:
    sigma = Q @ np.diag(eigenvalues) @ Q.T
    return (sigma + sigma.T) / 2


def decoupled(
    rng: np.random.Generator, n1: int, n2: int, weight_decay: float = 0.0
) -> tuple[ModeState, ModeSystem, np.ndarray, MatrixSystem]:
    """Random modes, and a network that they are the modes of, in a random basis."""
    Q = rotation(rng, n1)
    lambda_s, lambda_d = rng.uniform(0.5, 2.0, n1), rng.uniform(0.05, 0.5, n1)
    chosen = rng.permutation(n1)[:n2]
    signs = rng.choice([-1.0, 1.0], (3, n2))
    state = ModeState(*(signs * rng.uniform(0.1, 0.8, (3, n2))))
    rates = TAUS | {"weight_decay": weight_decay}
    modes = ModeSystem(lambda_s[chosen], lambda_d[chosen], **rates)
    system = MatrixSystem(conjugated(lambda_s, Q), conjugated(lambda_d, Q), **rates)
    return state, modes, Q[:, chosen].T, system


# --- the flow -----------------------------------------------------------------------------------------------


# P is set for all rows at once by an eigendecomposition that may permute them, with a maximum over all rows
MATRIX_ONLY = {"directpred", "directset"}


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - MATRIX_ONLY))
@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_the_flow_of_a_decoupled_state_is_the_flow_of_its_modes(name: str, weight_decay: float) -> None:
    state, modes, directions, system = decoupled(np.random.default_rng(5), 5, 3, weight_decay)
    ts = np.array([0.0, 0.3, 1.0, 4.0, 12.0])
    start = expand_modes(state, directions)
    one = integrate(state, modes, MODE_FIELDS[name], ts=ts, rtol=1e-10, atol=1e-12).states
    full = integrate(start, system, FIELDS[name], ts=ts, rtol=1e-10, atol=1e-12).states
    for k in range(len(ts)):
        expanded = expand_modes(ModeState(*(part[k] for part in one)), directions)
        for found, expected in zip(full, expanded, strict=True):
            # each run is off by up to 10 (rtol |state| + atol), and no weight exceeds 2
            close(found[k], expected, 2 * 10 * (2e-10 + 1e-12))


@pytest.mark.parametrize("field", [FIELDS["full"], FIELDS["no-ema"]], ids=lambda field: field.name)
def test_a_trajectory_stays_decoupled(field: VectorField) -> None:
    state, modes, directions, system = decoupled(np.random.default_rng(8), 4, 4)
    run = integrate(expand_modes(state, directions), system, field, 5.0, rtol=1e-10, atol=1e-12)
    # rows stray by the error of the run: 10 (rtol |state| + atol)
    reduced = reduce_to_modes(run.final, system, tolerance=10 * (2e-10 + 1e-12))
    np.testing.assert_allclose(reduced.system.lambda_s, modes.lambda_s, rtol=1e-8)


# --- reduction and its inverse ------------------------------------------------------------------------------


@given(seed=seeds, n1=st.integers(1, 6), data=st.data())
def test_reducing_a_rotated_system_gives_back_its_modes(seed: int, n1: int, data: st.DataObject) -> None:
    n2 = data.draw(st.integers(1, n1))
    state, modes, directions, system = decoupled(np.random.default_rng(seed), n1, n2, weight_decay=0.1)
    reduced = reduce_to_modes(expand_modes(state, directions), system)
    sign = np.sign(np.sum(reduced.directions * directions, axis=1))  # of an eigenvector: a matter of choice
    close(reduced.directions, sign[:, None] * directions, ROUNDING)
    close(reduced.state.online, sign * state.online, ROUNDING)
    close(reduced.state.target, sign * state.target, ROUNDING)
    np.testing.assert_array_equal(reduced.state.predictor, state.predictor)
    close(reduced.system.lambda_s, modes.lambda_s, ROUNDING)
    close(reduced.system.lambda_d, modes.lambda_d, ROUNDING)
    for name in ("tau_online", "tau_predictor", "tau_target", "weight_decay"):
        assert getattr(reduced.system, name) == getattr(modes, name)
    expanded = expand_modes(reduced.state, reduced.directions)
    for found, expected in zip(expanded, expand_modes(state, directions), strict=True):
        close(found, expected, ROUNDING)


def test_a_diagonal_system_keeps_signs_and_axes() -> None:
    system = MatrixSystem(np.array([1.0, 2.0, 3.0]), np.array([0.9, 0.5, 0.3]))
    W = np.array([[0.0, -0.2, 0.0], [0.1, 0.0, 0.0]])
    reduced = reduce_to_modes(MatrixState(W, np.diag([0.3, -0.4]), -W), system)
    np.testing.assert_array_equal(reduced.directions, [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(reduced.state, [[-0.2, 0.1], [0.3, -0.4], [0.2, -0.1]])
    np.testing.assert_array_equal(reduced.system.lambda_s, [2.0, 1.0])


def test_any_orthogonal_rows_decouple_when_the_input_is_isotropic() -> None:
    rng = np.random.default_rng(3)
    system = MatrixSystem(1.3 * np.eye(4), np.eye(4))
    rows = 0.3 * rotation(rng, 4)[:2]
    reduced = reduce_to_modes(MatrixState(rows, np.diag([0.1, 0.2]), 2 * rows), system)
    np.testing.assert_allclose(np.abs(reduced.state.online), 0.3, rtol=1e-15)
    np.testing.assert_allclose(reduced.system.ratio, 1 / 1.3, rtol=1e-15)


def test_a_row_whose_online_weights_vanish_is_known_by_its_target() -> None:
    system = MatrixSystem(np.ones(3), np.array([0.9, 0.5, 0.3]))
    W, Th = np.zeros((2, 3)), np.array([[0, 0, 0.1], [0.2, 0, 0]])
    reduced = reduce_to_modes(MatrixState(W, np.eye(2), Th), system)
    np.testing.assert_array_equal(reduced.system.lambda_d, [0.3, 0.9])
    np.testing.assert_array_equal(reduced.state.target, [0.1, 0.2])


@pytest.mark.parametrize("empty", [[0], [1, 2], [0, 1, 2]])
def test_an_empty_row_stands_for_a_mode_that_no_other_row_has(empty: list[int]) -> None:
    state, modes, directions, system = decoupled(np.random.default_rng(2), 5, 3)
    state.online[empty] = state.target[empty] = 0.0
    reduced = reduce_to_modes(expand_modes(state, directions), system)
    U = reduced.directions
    close(U @ U.T, np.eye(3), ROUNDING)
    close(U @ system.sigma_s, reduced.system.lambda_s[:, None] * U, ROUNDING)
    close(U @ system.sigma_d, reduced.system.lambda_d[:, None] * U, ROUNDING)
    kept = np.setdiff1d(np.arange(3), empty)
    close(reduced.system.lambda_s[kept], modes.lambda_s[kept], ROUNDING)


def test_empty_rows_tell_modes_by_the_second_moments_where_cross_moments_are_equal() -> None:
    Q = rotation(np.random.default_rng(4), 4)
    system = MatrixSystem(conjugated(np.array([2.0, 1.5, 1.0, 0.5]), Q), 0.3 * np.eye(4), **TAUS)
    W = np.vstack([0.4 * Q[:, 0], np.zeros((2, 4))])
    reduced = reduce_to_modes(MatrixState(W, np.diag([0.2, 0.3, 0.4]), W), system)
    U = reduced.directions
    close(U @ U.T, np.eye(3), ROUNDING)
    close(U @ system.sigma_s, reduced.system.lambda_s[:, None] * U, ROUNDING)


# --- refusals -----------------------------------------------------------------------------------------------


def test_moments_that_do_not_commute_are_refused_with_their_commutator() -> None:
    S, D = np.array([[2.0, 0.5], [0.5, 1.0]]), np.diag([0.5, 0.2])
    system = MatrixSystem(S, D)
    size = np.linalg.norm(S @ D - D @ S) / np.linalg.norm(S @ D)
    assert commutator(system) == pytest.approx(size, rel=1e-14)
    message = (
        rf"^Σs and Σd must commute .* got ‖ΣsΣd − ΣdΣs‖/‖ΣsΣd‖ = {size:.3g}; integrate the full flow instead$"
    )
    with pytest.raises(ValueError, match=message):
        joint_eigenbasis(system)
    with pytest.raises(ValueError, match=message):
        reduce_to_modes(MatrixState(np.eye(2), np.eye(2), np.eye(2)), system)


def refused(W: object, P: object, Th: object, message: str) -> None:
    system = MatrixSystem(np.ones(3), np.array([0.9, 0.5, 0.3]))
    with pytest.raises(ValueError, match=message):
        reduce_to_modes(MatrixState(W, P, Th), system)


AXES = np.eye(3)[:2]


def test_a_row_off_the_eigenvectors_is_refused() -> None:
    astray = np.array([[1.0, 0, 0], [0, 1.0, 1e-3]])
    message = "^each row of `online` and `target` must lie along one joint eigenvector .* row 1 strays from that by "
    refused(astray, np.eye(2), AXES, message)
    refused(AXES, np.eye(2), astray, message)
    refused(astray, np.eye(2), astray, message)
    refused(AXES, np.eye(2), AXES[::-1], message.replace("row 1", "row 0"))


def test_a_predictor_that_mixes_rows_is_refused() -> None:
    message = r"^`predictor` must be diagonal to decouple, got an off-diagonal entry of 0\.25$"
    refused(AXES, np.array([[1.0, -0.25], [0, 1.0]]), AXES, message)


def test_two_rows_on_one_eigenvector_are_refused() -> None:
    message = "^rows of `online` and `target` must lie along different eigenvectors to decouple$"
    refused(AXES[[0, 0]], np.eye(2), AXES[[0, 0]], message)
    refused(AXES[[0, 0]], np.eye(2), -2 * AXES[[0, 0]], message)


def test_more_rows_than_eigenvectors_are_refused() -> None:
    W = np.vstack([np.eye(3), np.zeros((1, 3))])
    refused(W, np.eye(4), W, "^`online` must have at most 3 rows, its columns, to decouple, got 4$")


# --- the joint basis ----------------------------------------------------------------------------------------


@given(seed=seeds, n1=st.integers(1, 8), repeats=st.booleans())
def test_the_joint_basis_diagonalises_both_moments(seed: int, n1: int, repeats: bool) -> None:
    rng = np.random.default_rng(seed)
    Q = rotation(rng, n1)
    # repeated eigenvalues of one matrix are told apart by the other
    lambda_s = rng.integers(1, 3, n1).astype(float) if repeats else rng.uniform(0.5, 2.0, n1)
    lambda_d = rng.integers(0, 3, n1) / 4 if repeats else rng.uniform(0.0, 0.5, n1)
    system = MatrixSystem(conjugated(lambda_s, Q), conjugated(lambda_d, Q))
    basis = joint_eigenbasis(system)
    U = basis.directions
    close(U.T @ U, np.eye(n1), ROUNDING)
    # a combination separates eigenvalues by 1e-6 at least in all but one case in a million: eps/1e-6
    close(system.sigma_s @ U, U * basis.lambda_s, 1e-9)
    close(system.sigma_d @ U, U * basis.lambda_d, 1e-9)
    close(np.sort(basis.lambda_s), np.sort(lambda_s), 1e-9)
    ratios = basis.lambda_d / basis.lambda_s
    assert np.all(np.diff(ratios) <= 1e-9)


@pytest.mark.parametrize("weight", [*_WEIGHTS, np.pi / 4, 1.0, 0.5])
def test_no_combination_of_the_moments_is_trusted_blindly(weight: float) -> None:
    # λs/‖λs‖ + weight λd/‖λd‖ takes the same value in both modes, though neither moment does
    scaled_gap = 1 / np.sqrt(5)
    d = brentq(lambda d: weight * (1 - d) / np.hypot(1, d) - scaled_gap, -1.0, 1.0, xtol=1e-16)
    lambda_s, lambda_d = np.array([1.0, 2.0]), np.array([1.0, d])
    Q = rotation(np.random.default_rng(0), 2)
    basis = joint_eigenbasis(MatrixSystem(conjugated(lambda_s, Q), conjugated(lambda_d, Q)))
    close(basis.lambda_s, lambda_s, ROUNDING)
    close(basis.lambda_d, lambda_d, ROUNDING)


def test_diagonal_moments_are_their_own_basis_sorted_by_ratio() -> None:
    basis = joint_eigenbasis(MatrixSystem(np.array([1.0, 2.0, 0.5]), np.array([0.5, 1.8, 0.1])))
    np.testing.assert_array_equal(basis.directions, np.eye(3)[:, [1, 0, 2]])
    np.testing.assert_array_equal(basis.lambda_s, [2.0, 1.0, 0.5])


@given(seed=seeds, n1=st.integers(1, 8), indefinite=st.booleans())
def test_the_spectrum_is_that_of_the_ratio_of_the_moments(seed: int, n1: int, indefinite: bool) -> None:
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((2, n1, n1))
    S = A @ A.T + np.eye(n1)
    D = B @ B.T
    if indefinite:  # as in R26, with eigenvectors in common
        values, Q = np.linalg.eigh(S)
        S = conjugated(values * rng.choice([-1.0, 1.0], n1), Q)
        D = conjugated(rng.uniform(0.1, 1.0, n1), Q)
    expected = np.sort(np.linalg.eigvals(D @ np.linalg.inv(S)).real)[::-1]
    found = spectrum(MatrixSystem((S + S.T) / 2, (D + D.T) / 2))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    if indefinite:
        diagonal = spectrum(MatrixSystem(np.array([-1.0, 2.0]), np.array([0.5, 0.5])))
        np.testing.assert_array_equal(diagonal, [0.25, -0.5])


def test_the_spectrum_of_singular_moments_is_refused() -> None:
    A = np.random.default_rng(0).standard_normal((6, 4))
    for sigma in (np.array([1.0, 0.0]), np.ones((2, 2)), A @ A.T):
        with pytest.raises(np.linalg.LinAlgError, match=r"^Σs is singular, reduce it to its support first$"):
            spectrum(MatrixSystem(sigma, sigma))
    # small is not singular
    np.testing.assert_allclose(
        spectrum(MatrixSystem(np.array([1.0, 1e-300]), np.array([0.5, 1e-301]))), [0.5, 0.1]
    )


def test_moments_that_vanish_commute() -> None:
    zero = np.zeros((2, 2))
    assert commutator(MatrixSystem(np.eye(2), zero)) == commutator(MatrixSystem(zero, zero)) == 0.0
    np.testing.assert_allclose(np.abs(joint_eigenbasis(MatrixSystem(zero, zero)).directions), np.eye(2))


@pytest.mark.parametrize(("tilt", "commute"), [(0.0, True), (1e-12, True), (1e-8, False), (1e-4, False)])
def test_moments_commute_to_rounding_or_not_at_all(tilt: float, commute: bool) -> None:
    c, s = np.cos(tilt), np.sin(tilt)
    R = np.array([[c, -s], [s, c]])
    system = MatrixSystem(np.diag([2.0, 1.0]), R @ np.diag([0.5, 0.1]) @ R.T)
    if commute:
        assert_allclose(joint_eigenbasis(system).lambda_d, [0.5, 0.1], rtol=1e-12)
    else:
        with pytest.raises(ValueError, match="must commute"):
            joint_eigenbasis(system)
