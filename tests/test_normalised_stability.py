"""Stability with normalised features, and what the mean does to modes: blocks, conditions, interlacing, runaways."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis.normalisation.mean import has_runaway_mode, interlacing, mean_runaway_rate
from analysis.normalisation.spectrum import field_jacobian, normalised_stability
from analysis.normalisation.stability import (
    decoupled_selection,
    is_stable,
    normalised_blocks,
    normalised_fixed_points,
    normalised_point,
    stability_conditions,
)
from dynamics.fields.batch_normalised import batch_normalised_field
from dynamics.integration.integrate import integrate
from dynamics.modes import spectrum
from dynamics.normalisation import Normaliser
from dynamics.states import pack, unpack
from dynamics.system import MatrixSystem

FULL = Normaliser(std="full")


def random_point(rng: np.random.Generator) -> tuple[list[int], np.ndarray, MatrixSystem]:
    """Selection, norms and system; a third of the points have small norms, a third the top modes in order."""
    n1, n2 = int(rng.integers(2, 6)), int(rng.integers(1, 4))
    n2 = min(n1, n2)
    s, r = rng.uniform(0.3, 2.0, n1), np.sort(rng.uniform(0.05, 0.95, n1))[::-1]
    rates = {name: float(rng.uniform(0.4, 2.0)) for name in ("tau_online", "tau_predictor", "tau_target")}
    kind = int(rng.integers(3))
    selection = (np.arange(n2) if kind else rng.permutation(n1)[:n2]).tolist()
    if kind == 2:
        selection = selection[::-1]
    norms = rng.uniform(0.1, 0.4, n2) if kind == 2 else rng.uniform(0.5, 1.5, n2)
    return selection, norms, MatrixSystem(s, r * s, **rates)


def match(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest distance of two spectra, eigenvalue by eigenvalue, in the best pairing."""
    from scipy.optimize import linear_sum_assignment

    away = np.abs(np.subtract.outer(found, wanted))
    return float(np.max(away[linear_sum_assignment(away)]))


def assembled(selection: list[int], norms: np.ndarray, system: MatrixSystem, blocks: Any) -> np.ndarray:
    """The Jacobian that consists of the blocks alone; those of other modes are in units of w_ij √λs_j/σ_i."""
    n1, n2 = system.n1, len(selection)
    at_W = np.arange(n2 * n1).reshape(n2, n1)
    at_P = n2 * n1 + np.arange(n2 * n2).reshape(n2, n2)
    at_Th = n2 * n1 + n2 * n2 + at_W
    found = np.zeros((n2 * n2 + 2 * n2 * n1,) * 2)
    for i, j, held_by, matrix in blocks:
        unit = norms[i] * np.sqrt(system.sigma_s[selection[i]] / system.sigma_s[j])
        if held_by is None:
            where, scale = [at_W[i, j], at_Th[i, j]], np.array([unit, unit])
        elif held_by == i:
            where, scale = [at_W[i, j], at_Th[i, j], at_P[i, i]], np.ones(3)
        else:
            where, scale = [at_W[i, j], at_P[i, held_by], at_Th[i, j]], np.array([unit, 1.0, unit])
        found[np.ix_(where, where)] = scale[:, None] * matrix / scale
    return found


@pytest.mark.parametrize("seed", range(50))
def test_blocks_are_the_whole_jacobian(seed: int) -> None:
    selection, norms, system = random_point(np.random.default_rng(seed))
    point, field = normalised_point(selection, norms, system), batch_normalised_field(FULL)
    assert np.max(np.abs(pack(field(0.0, point, system)))) < 1e-14
    blocks = normalised_blocks(selection, norms, system)
    found = assembled(selection, norms, system, blocks)
    jacobian = field_jacobian(point, system, field)
    assert np.max(np.abs(found - jacobian)) < 1e-12 * np.max(np.abs(jacobian))
    assert sum(len(block.matrix) for block in blocks) == len(jacobian)


@pytest.mark.parametrize("seed", range(50))
def test_spectra_of_blocks_are_the_dense_spectrum(seed: int) -> None:
    from scipy.optimize import linear_sum_assignment

    selection, norms, system = random_point(np.random.default_rng(seed))
    point = normalised_point(selection, norms, system)
    blocks = normalised_blocks(selection, norms, system)
    together = np.concatenate([np.linalg.eigvals(block.matrix) for block in blocks])
    dense = normalised_stability(point, system, FULL)
    away = np.abs(np.subtract.outer(together, dense.eigenvalues))
    assert np.max(away[linear_sum_assignment(away)]) < 1e-8 * max(1.0, np.max(np.abs(together)))
    # the verdict of the conditions is that of the signs
    assert dense.n_zero_forced == len(selection) ** 2
    assert (dense.verdict == "stable") == is_stable(selection, norms, system)


def test_complex_steps_are_autodiff() -> None:
    rng = np.random.default_rng(1)
    system = MatrixSystem([1.5, 1.0, 0.7], [0.9, 0.5, 0.2], tau_online=0.6)
    mu = np.array([0.3, 0.0, 0.0])
    state = system.state(
        rng.standard_normal((2, 3)), rng.standard_normal((2, 2)), rng.standard_normal((2, 3))
    )
    for std in ("full", "detached"):
        field = batch_normalised_field(Normaliser(mean="none", std=std), mu)

        def flat(y: Any, field: Any = field) -> Any:
            moved = field(0.0, unpack(y, state), system)
            return jnp.concatenate([jnp.ravel(part) for part in moved])

        with jax.enable_x64(True):
            exact = np.asarray(jax.jacobian(flat)(jnp.asarray(pack(state))))
        assert np.max(np.abs(exact - field_jacobian(state, system, field))) < 1e-13 * np.max(np.abs(exact))


def test_only_top_modes_are_stable_and_small_rows_exchange_them() -> None:
    system = MatrixSystem([1.0, 1.0, 1.0], [0.9, 0.5, 0.1])
    assert is_stable([0, 1], 1.0, system)
    assert is_stable([1, 0], 1.0, system)  # permuted
    assert not is_stable([0, 2], 1.0, system)  # a larger mode is free
    assert not is_stable([1, 0], [0.12, 1.0], system)  # r (r_j − r) = .2 > ‖w‖²
    assert is_stable([1, 0], [np.sqrt(0.2) * 1.001, 1.0], system)
    assert not is_stable([1, 0], [np.sqrt(0.2) * 0.999, 1.0], system)


def test_amplitudes_do_not_matter_for_modes_that_no_row_holds() -> None:
    system = MatrixSystem([1.0, 2.0], [0.9, 1.0])
    for norm in (1e-3, 1.0, 1e3):
        assert is_stable([0], norm, system)
        assert not is_stable([1], norm, system)


def test_a_row_on_a_mode_without_ratio_is_indifferent() -> None:
    system = MatrixSystem([1.0, 1.0], [0.0, 0.5])
    (condition,) = stability_conditions([0], 1.0, system)
    assert condition.verdict == "degenerate"
    assert normalised_stability(normalised_point([0], 1.0, system), system, FULL).verdict == "degenerate"


def test_sentences_name_rows_and_modes_from_one() -> None:
    system = MatrixSystem([1.0, 1.0, 1.0], [0.9, 0.5, 0.1])
    worst = min(stability_conditions([2, 1], 0.1, system), key=lambda c: c.margin)
    assert worst.sentence == "row 1 leaves its mode for mode 2, which row 2 holds: margin -3 (R220)"


@pytest.mark.parametrize(("norm", "rank"), [(0.12, 1), (0.46, 2)])
def test_a_small_row_joins_another_on_the_top_mode(norm: float, rank: int) -> None:
    # the threshold is √.2 = .447; no output is constant, for norms are conserved, but a dimension is lost
    system = MatrixSystem([1.0, 1.0], [0.9, 0.5])
    point = normalised_point([1, 0], [norm, 1.0], system)
    nudged = point._replace(online=point.online + np.array([[1e-3, 0.0], [0.0, 1e-3]]))
    run = integrate(nudged, system, batch_normalised_field(FULL), 600.0)
    lengths = np.linalg.norm(run.final.online, axis=1)
    assert np.allclose(lengths, np.linalg.norm(nudged.online, axis=1), rtol=1e-6)
    assert np.linalg.matrix_rank(run.final.online / lengths[:, None], tol=1e-3) == rank


def test_selections_come_by_ratio() -> None:
    system = MatrixSystem([1.0, 1.0, 1.0], [0.1, 0.9, 0.5])
    assert list(normalised_fixed_points(system, 1)) == [(1,), (2,), (0,)]
    with pytest.raises(ValueError, match="`limit` must be at least the 3"):
        normalised_fixed_points(system, 2, limit=2)
    with pytest.raises(ValueError, match="`n2` must lie within 1 and 3"):
        normalised_fixed_points(system, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 0], 1.0), "`selection` must name distinct modes"),
        (([3], 1.0), "`selection` must name modes from 0 to 1"),
        (([0], 0.0), "`norms` must be finite and > 0"),
        (([0], np.nan), "`norms` must be finite and > 0"),
    ],
)
def test_points_refuse(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        normalised_point(*arguments, MatrixSystem([1.0, 1.0], [0.9, 0.5]))


def test_systems_that_blocks_do_not_hold_for_are_refused() -> None:
    with pytest.raises(ValueError, match="`weight_decay` must be 0"):
        normalised_point([0], 1.0, MatrixSystem([1.0], [0.5], weight_decay=0.1))
    with pytest.raises(ValueError, match="`sigma_s` must be diagonal"):
        normalised_blocks([0], 1.0, MatrixSystem([[1.0, 0.1], [0.1, 1.0]], np.eye(2) / 2))
    with pytest.raises(ValueError, match="`sigma_s` must be positive definite"):
        normalised_point([0], 1.0, MatrixSystem([0.0], [0.0]))


def test_points_of_moments_that_do_not_commute_are_at_rest() -> None:
    system = random_moments(np.random.default_rng(0), 4)
    point = normalised_point([2, 0], [0.5, 1.5], system)
    ratios = spectrum(system)
    assert np.allclose(point.predictor.diagonal(), ratios[[2, 0]], rtol=1e-10)
    found = normalised_stability(point, system, FULL)
    assert found.residual < 1e-13
    assert found.verdict == "saddle"
    assert normalised_stability(normalised_point([0], 1.0, system), system, FULL).verdict == "stable"


def test_a_point_is_told_from_its_neighbours() -> None:
    system = MatrixSystem([1.0, 1.0, 1.0], [0.9, 0.5, 0.1])
    point = normalised_point([1, 0], [0.5, 2.0], system)
    found = decoupled_selection(point, system)
    assert found is not None
    assert found[0] == [1, 0]
    assert np.all(found[1] == [0.5, 2.0])
    turned = point._replace(online=-point.online, target=-point.target)
    assert decoupled_selection(turned, system) is not None
    assert decoupled_selection(point._replace(predictor=np.eye(2)), system) is None
    assert decoupled_selection(point._replace(target=-point.target), system) is None
    both = system.state([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], 0.9 * np.eye(2))
    assert decoupled_selection(both, system) is None


def test_what_is_not_at_rest_or_too_large_is_refused() -> None:
    system = MatrixSystem([1.0, 1.0], [0.9, 0.5])
    with pytest.raises(ValueError, match="`state` must be at rest"):
        normalised_stability(system.state([[1.0, 1.0]], [[0.5]]), system, FULL)
    large = MatrixSystem(np.ones(40), 0.5 * np.ones(40))
    with pytest.raises(ValueError, match="`state` must have at most 2000 unknowns"):
        normalised_stability(large.state(np.eye(40), 0.5 * np.eye(40)), large, FULL)


def test_of_dependent_rows_only_lengths_are_forced() -> None:
    system = MatrixSystem([1.0, 1.0], [0.9, 0.5])
    state = system.state([[1.0, 0.0], [2.0, 0.0]], np.diag([0.9, 0.9]))
    assert normalised_stability(state, system, FULL).n_zero_forced == 2


# --- the mean -----------------------------------------------------------------------------------------------


def random_moments(rng: np.random.Generator, n1: int) -> MatrixSystem:
    A, Q = rng.standard_normal((n1, n1)), np.linalg.qr(rng.standard_normal((n1, n1)))[0]
    L = np.linalg.cholesky(A @ A.T + 0.1 * np.eye(n1))
    S, D = L @ L.T, L @ (Q * rng.uniform(0, 1, n1)) @ Q.T @ L.T
    return MatrixSystem((S + S.T) / 2, (D + D.T) / 2)


def test_ratios_interlace_on_two_hundred_pairs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        n1 = int(rng.integers(1, 6))
        found = interlacing(random_moments(rng, n1), rng.standard_normal(n1) * rng.uniform(0, 5))
        assert found.excess() < 1e-10
        assert found.raw.shape == found.centred.shape == (n1,)


def test_interlacing_that_is_broken_is_seen() -> None:
    found = interlacing(MatrixSystem([1.0, 1.0], [0.5, 0.2]), [0.0, 3.0])
    assert found._replace(raw=found.centred - 0.1).excess() > 0.05
    assert found._replace(raw=found.raw + 0.5).excess() > 0.05
    assert found._replace(bound=0.99).excess() > 0.05


def test_runaway_rate_of_the_report_and_of_the_flow() -> None:
    rate = mean_runaway_rate(1.0, 0.5, 0.3)
    assert abs(rate - 0.1196531749) < 1e-9
    system = MatrixSystem([1.3], [0.8])  # S = 1, D = .5, m² = .3
    field = batch_normalised_field(Normaliser(mean="forward"), [np.sqrt(0.3)])
    # at the start of the run the predictor has to find its optimum; afterwards w grows like e^{gt}
    run = integrate(system.state([[0.5]], [[0.3]]), system, field, ts=[0.0, 60.0, 90.0], method="exponential")
    w = run.states.online[:, 0, 0]
    assert abs(np.log(w[2] / w[1]) / 30 - rate) < 1e-4
    assert abs(run.final.predictor[0, 0] - 0.5 / (1 + rate)) < 1e-3


def test_runaway_rate_solves_its_equation_over_all_decades() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        s, d, m, to, tt = 10.0 ** rng.uniform(-30, 30, 5)
        g = mean_runaway_rate(s, d, m, tau_online=to, tau_target=tt)
        left = np.log(g) + np.log(to) + 2 * np.log1p(g * tt)
        assert abs(left - np.log(d / s * m)) < 1e-12
    assert mean_runaway_rate(1.0, 0.0, 0.3) == 0
    assert mean_runaway_rate(1.0, 0.5, 0.0) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0.5, 0.3), "`lambda_s` must be finite and > 0, got 0.0"),
        ((1.0, -0.5, 0.3), "`lambda_d` must be finite and >= 0, got -0.5"),
        ((1.0, 0.5, np.nan), "`mean_square` must be finite and >= 0, got nan"),
    ],
)
def test_runaway_rates_refuse(arguments: tuple[float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_runaway_rate(*arguments)


def test_a_mode_runs_away_behind_the_predictor_where_an_eigenvalue_exceeds_one() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(500):
        n1 = int(rng.integers(1, 5))
        system = random_moments(rng, n1)
        mu = rng.standard_normal(n1) * rng.uniform(0, 2)
        ratio = spectrum(MatrixSystem(system.sigma_s, system.sigma_d + np.outer(mu, mu)))[0]
        if abs(ratio - 1) > 1e-8:
            assert has_runaway_mode(system, mu) == (ratio > 1)
            seen.add(bool(ratio > 1))
    assert seen == {False, True}
