"""States and systems: packing, random starts, what a system holds, and every refusal at birth."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamics.states import MatrixState, ModeState, pack, random_state, unpack
from dynamics.system import MatrixSystem, ModeSystem

# --- packing ------------------------------------------------------------------------------------------------


@given(n1=st.integers(1, 5), n2=st.integers(1, 4), lead=st.lists(st.integers(1, 3), max_size=2))
def test_unpack_inverts_pack(n1: int, n2: int, lead: list[int]) -> None:
    like = random_state(n1, n2, scale_online=1.0, scale_predictor=1.0, seed=n1 * n2)
    vector = pack(like)
    assert vector.dtype == np.float64
    assert vector.shape == (2 * n1 * n2 + n2 * n2,)
    many = np.broadcast_to(vector, (*lead, vector.size))
    for part, whole in zip(unpack(many, like), like, strict=True):
        np.testing.assert_array_equal(part, np.broadcast_to(whole, (*lead, *whole.shape)))


def test_pack_puts_online_then_predictor_then_target_row_by_row() -> None:
    state = MatrixState(np.array([[1, 2], [3, 4]]), np.array([[5, 6], [7, 8]]), np.array([[9, 10], [11, 12]]))
    np.testing.assert_array_equal(pack(state), np.arange(1.0, 13.0))


def test_unpack_keeps_the_kind_of_state() -> None:
    modes = ModeState(*np.zeros((3, 2)))
    matrices = MatrixState(np.zeros((2, 3)), np.zeros((2, 2)), np.zeros((2, 3)))
    assert isinstance(unpack(np.zeros(6), modes), ModeState)
    assert isinstance(unpack(np.zeros(16), matrices), MatrixState)


# --- random starts ------------------------------------------------------------------------------------------


def test_random_state_is_repeatable_and_starts_the_target_at_the_online_weights() -> None:
    first, second, other = (
        random_state(6, 3, scale_online=0.3, scale_predictor=0.1, seed=seed) for seed in (4, 4, 5)
    )
    for a, b, c in zip(first, second, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    np.testing.assert_array_equal(first.online, first.target)
    assert first.online is not first.target


def test_random_state_has_the_asked_scales() -> None:
    # the standard deviation of 40,000 normal numbers is off by 1/sqrt(80,000) = 0.35 %: five of those
    state = random_state(200, 200, scale_online=0.3, scale_predictor=2.0, seed=0)
    assert np.std(state.online) == pytest.approx(0.3, rel=0.018)
    assert np.std(state.predictor) == pytest.approx(2.0, rel=0.018)


def test_random_state_of_scale_zero_is_zero() -> None:
    assert not any(np.any(part) for part in random_state(2, 2, scale_online=0.0, scale_predictor=0.0, seed=0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n1": 0}, "`n1` must be an integer >= 1, got 0"),
        ({"n2": -1}, "`n2` must be an integer >= 1, got -1"),
        ({"scale_online": -0.1}, "`scale_online` must be finite and >= 0, got -0.1"),
        ({"scale_online": np.inf}, "`scale_online` must be finite and >= 0, got inf"),
        ({"scale_predictor": np.nan}, "`scale_predictor` must be finite and >= 0, got nan"),
    ],
)
def test_random_state_refuses(change: dict[str, Any], message: str) -> None:
    options = {"n1": 2, "n2": 2, "scale_online": 1.0, "scale_predictor": 1.0, "seed": 0} | change
    with pytest.raises(ValueError, match=f"^{message}$"):
        random_state(**options)


# --- systems of modes ---------------------------------------------------------------------------------------


def test_a_mode_system_holds_what_it_was_given() -> None:
    system = ModeSystem(
        [2.0, 1.0], [0.5, 0.25], tau_online=np.array([1.0, 3.0]), tau_target=2, weight_decay=0.1
    )
    np.testing.assert_array_equal(system.ratio, [0.25, 0.25])
    np.testing.assert_array_equal(np.asarray(system.tau_online), [1.0, 3.0])
    assert (system.tau_predictor, system.tau_target, system.weight_decay) == (1.0, 2.0, 0.1)
    assert system.n_modes == 2


def test_the_ratio_of_a_mode_without_input_is_not_a_number() -> None:
    np.testing.assert_array_equal(ModeSystem([0.0, 2.0], [0.0, 1.0]).ratio, [np.nan, 0.5])


@given(value=st.floats(-1e3, 1e3))
def test_a_start_is_spread_over_all_modes(value: float) -> None:
    state = ModeSystem([1.0, 1.0, 1.0], [0.5, 0.2, 0.1]).state(value, [value, 1.0, 2.0], [value])
    np.testing.assert_array_equal(state, [[value] * 3, [value, 1.0, 2.0], [value] * 3])
    state.online[0] = 7.0  # parts are the caller's own: writable and apart from each other
    assert state.target[0] == value


BAD_RATES = [
    ({"tau_online": 0.0}, r"`tau_online` must be finite and > 0, got 0\.0"),
    ({"tau_predictor": -1.0}, r"`tau_predictor` must be finite and > 0, got -1\.0"),
    ({"tau_target": np.nan}, "`tau_target` must be finite, got nan"),
    ({"tau_target": np.inf}, "`tau_target` must be finite, got inf"),
    ({"weight_decay": -1.0}, r"`weight_decay` must be finite and >= 0, got -1\.0"),
    ({"weight_decay": "much"}, "`weight_decay` must be numbers, got 'much'"),
]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *BAD_RATES,
        ({"lambda_s": np.nan}, "`lambda_s` must be finite, got nan"),
        ({"lambda_d": [0.5, -np.inf], "lambda_s": [1.0, 1.0]}, "`lambda_d` must be finite, got -inf"),
        ({"lambda_s": None}, "`lambda_s` must be finite, got nan"),
        (
            {"lambda_s": [1.0, 2.0]},
            r"`lambda_s` and `lambda_d` must hold one eigenvalue a mode each, got shapes \(2,\) and \(1,\)",
        ),
        (
            {"lambda_s": [], "lambda_d": []},
            r"`lambda_s` and `lambda_d` must hold one eigenvalue a mode each, got shapes \(0,\) and \(0,\)",
        ),
        (
            {"tau_online": [1.0, 2.0]},
            r"`tau_online` must be one number or one a mode \(1\), got shape \(2,\)",
        ),
    ],
)
def test_a_mode_system_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        ModeSystem(**({"lambda_s": 1.0, "lambda_d": 0.5} | change))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (
            {"online": [0.1, 0.2, 0.3]},
            r"`online` must be one number for all modes or one for each of 2, got shape \(3,\)",
        ),
        ({"predictor": np.nan}, "`predictor` must be finite, got nan"),
        ({"target": "a"}, "`target` must be numbers, got 'a'"),
    ],
)
def test_a_mode_system_refuses_a_start(start: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        ModeSystem([1.0, 1.0], [0.5, 0.2]).state(**start)


def test_negative_eigenvalues_are_accepted_for_the_objectives_that_have_them() -> None:
    assert ModeSystem(-1.0, -0.5).ratio == 0.5


# --- systems of matrices ------------------------------------------------------------------------------------


def test_a_matrix_system_takes_a_diagonal_as_a_vector() -> None:
    assert MatrixSystem(np.ones(3), np.full(3, 0.5)).n1 == 3


def test_asymmetry_of_rounding_is_accepted() -> None:
    data = np.random.default_rng(0).standard_normal((50, 400))
    sigma = np.array([[row @ column for column in data] for row in data])  # each entry summed on its own
    sigma += np.tril(np.full_like(sigma, np.finfo(float).eps * np.max(sigma)), -1)
    assert MatrixSystem(sigma, sigma).n1 == 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *BAD_RATES,
        (
            {"sigma_s": np.zeros((2, 3))},
            r"`sigma_s` must be a square matrix or its diagonal, got shape \(2, 3\)",
        ),
        ({"sigma_d": 1.0}, r"`sigma_d` must be a square matrix or its diagonal, got shape \(\)"),
        ({"sigma_d": []}, r"`sigma_d` must be a square matrix or its diagonal, got shape \(0,\)"),
        ({"sigma_s": [[1.0, 0.5], [0.4, 1.0]]}, r"`sigma_s` must be symmetric, got an asymmetry of 0\.1"),
        ({"sigma_d": [[1.0, np.nan], [0.4, 1.0]]}, "`sigma_d` must be finite, got nan"),
        ({"sigma_d": np.eye(3)}, r"`sigma_s` and `sigma_d` must have one shape, got \(2, 2\) and \(3, 3\)"),
        ({"sigma_d": np.ones(2)}, r"`sigma_s` and `sigma_d` must have one shape, got \(2, 2\) and \(2,\)"),
        ({"tau_online": [1.0, 2.0]}, r"`tau_online` must be one number, got shape \(2,\)"),
    ],
)
def test_a_matrix_system_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        MatrixSystem(**({"sigma_s": np.eye(2), "sigma_d": 0.5 * np.eye(2)} | change))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ((np.zeros((2, 4)), np.eye(2)), r"`online` must have shape \(n2, 3\), got \(2, 4\)"),
        ((np.zeros(3), np.eye(1)), r"`online` must have shape \(n2, 3\), got \(3,\)"),
        ((np.zeros((0, 3)), np.zeros((0, 0))), r"`online` must have shape \(n2, 3\), got \(0, 3\)"),
        ((np.zeros((2, 3)), np.eye(3)), r"`predictor` must have shape \(2, 2\), got \(3, 3\)"),
        (
            (np.zeros((2, 3)), np.eye(2), np.zeros((1, 3))),
            r"`target` must have the shape of `online`, \(2, 3\), got \(1, 3\)",
        ),
        ((np.full((2, 3), np.inf), np.eye(2)), "`online` must be finite, got inf"),
    ],
)
def test_a_matrix_system_refuses_a_start(start: tuple[np.ndarray, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        MatrixSystem(np.eye(3), 0.5 * np.eye(3)).state(*start)


def test_a_start_without_target_has_the_target_at_the_online_weights() -> None:
    W = np.arange(6.0).reshape(2, 3)
    state = MatrixSystem(np.eye(3), np.eye(3)).state(W, np.eye(2))
    np.testing.assert_array_equal(state.target, W)
    state.target[0, 0] = 9.0
    assert state.online[0, 0] == W[0, 0] == 0.0


# --- frozen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "system", [ModeSystem(1.0, 0.5), MatrixSystem(np.eye(2), np.eye(2))], ids=["modes", "matrices"]
)
def test_a_system_cannot_change_after_it_was_checked(system: ModeSystem | MatrixSystem) -> None:
    with pytest.raises(FrozenInstanceError):
        system.weight_decay = -1.0  # type: ignore[misc]
    moments = system.lambda_s if isinstance(system, ModeSystem) else system.sigma_s
    with pytest.raises(ValueError, match="read-only"):
        moments[0] = -1.0


def test_a_system_keeps_a_copy_of_what_it_was_given() -> None:
    sigma = np.eye(2)
    system = MatrixSystem(sigma, sigma)
    sigma[0, 0] = 5.0
    np.testing.assert_array_equal(system.sigma_s, np.eye(2))
