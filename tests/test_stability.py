"""R4, R9, R15: spectra at fixed points by every method."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from stability_points import (
    RATES,
    Point,
    decoupled_point,
    difference_jacobian,
    general_point,
    orthogonal,
    spectral_distance,
    turned,
)

from analysis.stability import spectrum as module
from analysis.stability.adapted import fixed_point_residual
from analysis.stability.forced_zeros import forced_zeros
from analysis.stability.pair_conditions import pair_conditions
from analysis.stability.spectrum import stability
from analysis.stability.verdicts import classify
from dynamics.fields.matrices import full_field
from dynamics.states import MatrixState, pack
from dynamics.system import MatrixSystem

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


# --- rates of very different sizes


@pytest.mark.parametrize("power", [-100, -12, 0, 12, 20, 100])
def test_signs_do_not_depend_on_the_clock_of_the_target(power: int) -> None:
    """R10: w²/τp = 1 against (p/τo)(r − p) = 0.4 · 0.5, whatever τt: each pair has a determinant of its own."""
    system = MatrixSystem(np.ones(2), np.array([0.9, 0.4]), tau_target=10.0**power)
    state = system.state(np.eye(2), np.diag([0.9, 0.4]))
    result = stability(state, system)
    # two pairs of eigenvalues a row, and a forced zero for each of the 4 entries of P
    assert (result.verdict, result.n_positive, result.n_zero, result.n_negative) == ("stable", 0, 4, 8)
    small = system.state(0.1 * np.eye(2), np.diag([0.9, 0.4]))
    assert stability(small, system).n_positive == 1  # 0.01 < 0.2 for row 2 towards mode 1, and only there


@pytest.mark.parametrize("power", [0, 8, 12])
def test_signs_in_general_position_follow_their_own_errors(power: int) -> None:
    """A shear keeps P W = W M (R4): no block is known in closed form. In units of time and of w nothing changes."""
    (W, P, _), system = general_point(2, commuting=True, n1=4, n2=2)
    slow = MatrixSystem(
        system.sigma_s, system.sigma_d, **{**RATES, "tau_target": RATES["tau_target"] * 10.0**power}
    )
    result = stability(slow.state(W, P), slow)
    # determinant of the flow: its sign is that at τt = 2, and zeros cross nowhere (no Hopf point: λs > 0)
    usual = stability(system.state(W, P), system)
    assert (result.n_positive, result.n_zero_forced) == (usual.n_positive, usual.n_zero_forced)


def test_a_sign_below_its_error_is_not_determined() -> None:
    fold = MatrixSystem(np.ones(1), np.array([0.5]), weight_decay=0.0625)
    result = stability(fold.state([[0.25]], [[0.25]]), fold)
    assert (result.n_zero_other, result.verdict) == (1, "degenerate")
    assert result.zero_tolerance < 1e-13


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


def test_the_bound_on_entries_is_met_where_the_encoder_alone_is_followed() -> None:
    """At the origin only dΘ/dt = (W − Θ)/τt has a Jacobian: two entries for each weight of the encoder."""
    from analysis.stability.adapted import adapt
    from analysis.stability.spectrum import _n_entries

    system = MatrixSystem(np.array([1.0, 2.0, 1.5]), np.array([0.5, 0.4, 0.3]))
    state = system.state(np.zeros((2, 3)), np.zeros((2, 2)), np.zeros((2, 3)))
    assert _n_entries(adapt(state, system, 0.0)) == 2 * 2 * 3
