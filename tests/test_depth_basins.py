"""Basins of deep encoders: the compiled ensemble against other integrators, fates and boundaries against R320."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from analysis.depth import basins as rooms
from analysis.depth.basins import attracting_rest, deep_basins
from analysis.depth.decay import decay_rest, decay_threshold
from analysis.depth.fates import deep_fate
from analysis.depth.predictions import predict_deep_fates
from analysis.fates.basins import FATES, UNPREDICTED
from analysis.fates.boundaries import basin_boundary
from analysis.fates.fate import Fate
from analysis.runs.arrays import basin_arrays
from dynamics.fields.deep import (
    DEEP_FIELDS,
    DeepState,
    DeepSystem,
    deep_field,
    deep_no_ema_field,
    layer_invariants,
)
from dynamics.integration.deep_ensemble import integrate_deep_ensemble
from dynamics.integration.deep_kernels import A, C, arrived, speed, step
from dynamics.integration.ensemble import STATUSES
from dynamics.integration.trajectory import Status
from dynamics.states import pack, unpack

DEPTHS = (2, 3, 4, 5)
LEARNED, COLLAPSED, UNDECIDED = (FATES.index(fate) for fate in (Fate.LEARNED, Fate.COLLAPSED, Fate.UNDECIDED))


def gaussian(
    depth: int, n: int, seed: int, field: Any = deep_field, **rates: Any
) -> tuple[DeepState, DeepSystem]:
    """n starts of N(0, 1) weights, targets of their own, in one system."""
    rng = np.random.default_rng([seed, depth])
    system = DeepSystem(np.ones(n), np.full(n, 0.5), depth=depth, **rates)
    w, v, th = rng.standard_normal((depth, n)), rng.standard_normal(n), rng.standard_normal((depth, n))
    return system.deep_state(w, v, th if field is deep_field else w), system


def one_system(depth: int) -> DeepSystem:
    rates = {"tau_predictor": 1.3, "tau_target": 0.6, "weight_decay": 0.03}
    return DeepSystem(1.2, 0.7, depth=depth, tau_online=np.linspace(0.7, 1.4, depth), **rates)


def one_rate(system: DeepSystem) -> np.ndarray:
    """Parameters of the kernels."""
    rates = (
        system.lambda_s[0],
        system.lambda_d[0],
        system.tau_predictor,
        system.tau_target,
        system.weight_decay,
    )
    return np.array([*rates, *system.layer_times[:, 0]], dtype=np.float64)


# --- the method ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("name", DEEP_FIELDS)
def test_the_compiled_field_is_the_field(name: str, depth: int) -> None:
    system, field = one_system(depth), DEEP_FIELDS[name]
    rng = np.random.default_rng(depth)
    state = field.constrain(
        0.0, system.deep_state(*(rng.standard_normal(k) for k in (depth, 1, depth))), system
    )
    found = np.empty(2 * depth + 1)
    speed(pack(state), depth, one_rate(system), name == "full", found)
    # a product of at most 12 factors and a sum of three: a few roundings of numbers of order 1
    np.testing.assert_allclose(found, pack(field(0.0, state, system)), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", DEEP_FIELDS)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_steps_are_of_order_four(name: str, depth: int) -> None:
    """A wrong Jacobian, or a wrong digit of a coefficient, leaves order 1 or 2."""
    system, field = one_system(depth), DEEP_FIELDS[name]
    weights = np.linspace(0.6, 0.9, depth)
    state = field.constrain(0.0, system.deep_state(weights, 0.7, weights[::-1] - 1.2), system)
    exact = solve_ivp(
        lambda t, y: pack(field(t, unpack(y, state), system)),
        (0, 1),
        pack(state),
        "DOP853",
        rtol=1e-13,
        atol=1e-15,
    ).y[:, -1]
    errors = []
    for n in (20, 40, 80):
        y, K = pack(state), np.empty((6, 2 * depth + 1))
        for _ in range(n):
            moved = np.empty_like(y)
            step(y, 1 / n, depth, one_rate(system), name == "full", A, C, K, moved)
            y = moved
        errors.append(np.max(np.abs(y - exact)))
    slope = np.log2(errors[0] / errors[2]) / 2
    assert slope > 3.5
    assert errors[2] < 1e-7


@pytest.mark.parametrize("name", DEEP_FIELDS)
def test_ends_are_those_of_lsoda(name: str) -> None:
    field, n = DEEP_FIELDS[name], 25
    start, system = gaussian(3, n, 5, field, weight_decay=0.01, tau_online=[0.5, 1.0, 2.0])
    found = integrate_deep_ensemble(start, system, field, 4.0)
    assert np.all(found.status != STATUSES.index(Status.MAX_STEPS))
    for k in range(n):
        single = DeepSystem(1.0, 0.5, depth=3, weight_decay=0.01, tau_online=[0.5, 1.0, 2.0])
        state = DeepState(*(part[..., k : k + 1] for part in start))

        def rhs(t: float, y: np.ndarray, like: DeepState = state, one: DeepSystem = single) -> np.ndarray:
            return pack(field(t, unpack(y, like), one))

        exact = solve_ivp(rhs, (0, found.t[k]), pack(state), "LSODA", rtol=1e-11, atol=1e-13).y[:, -1]
        end = pack(DeepState(*(part[..., k] for part in found.final)))
        # a step errs by 1e-9 of its weight, and a hundred steps add up; the flow spreads errors by a few times
        np.testing.assert_allclose(end, exact, rtol=1e-6, atol=1e-6)


def test_time_is_what_was_asked_for() -> None:
    start, system = gaussian(2, 5, 0)
    found = integrate_deep_ensemble(start, system, deep_field, 1e-3)
    np.testing.assert_array_equal(found.status, STATUSES.index(Status.END_TIME))
    np.testing.assert_array_equal(found.t, 1e-3)
    np.testing.assert_array_equal(found.fate, UNDECIDED)
    spent = integrate_deep_ensemble(start, system, deep_field, max_steps=3)
    np.testing.assert_array_equal(spent.status, STATUSES.index(Status.MAX_STEPS))
    np.testing.assert_array_equal(spent.n_accepted + spent.n_rejected, 3)


def test_threads_do_not_matter() -> None:
    start, system = gaussian(3, 40, 2)
    one, two = (integrate_deep_ensemble(start, system, deep_field, threads=k) for k in (1, 2))
    np.testing.assert_array_equal(one.final.layers, two.final.layers)


# --- fates --------------------------------------------------------------------------------------------------


def by_mean(state: DeepState, system: DeepSystem) -> np.ndarray:
    """A mutant of R320: the mean of c_l in the place of the least."""
    mean = np.mean(layer_invariants(state, system), axis=0)
    return mean + np.where(state.predictor > 0, np.asarray(system.tau_predictor) * system.ratio**2, 0.0) <= 0


def of_the_other_sign(state: DeepState, system: DeepSystem) -> np.ndarray:
    """A mutant of R320: c_min >= 0 of negative predictors collapses."""
    least = np.min(layer_invariants(state, system), axis=0)
    return np.where(
        state.predictor > 0, least <= -np.asarray(system.tau_predictor) * system.ratio**2, least >= 0
    )


def by_any_predictor(state: DeepState, system: DeepSystem) -> np.ndarray:
    """A mutant of R320: −τp r² whatever the sign of v."""
    return (
        np.min(layer_invariants(state, system), axis=0) <= -np.asarray(system.tau_predictor) * system.ratio**2
    )


MUTANTS = (by_mean, of_the_other_sign, by_any_predictor)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("name", DEEP_FIELDS)
def test_gaussian_starts_go_where_r320_says(depth: int, name: str) -> None:
    field = DEEP_FIELDS[name]
    start, system = gaussian(depth, 2000, 1, field, tau_predictor=0.8, tau_target=1.7)
    found = integrate_deep_ensemble(start, system, field, rtol=1e-8)
    said = deep_fate(start, system).fate == Fate.COLLAPSED
    decided = found.fate != UNDECIDED
    assert np.sum(decided) >= 1998  # a start within its drift of the boundary may stay undecided
    np.testing.assert_array_equal((found.fate == COLLAPSED)[decided], said[decided])
    assert np.max(found.drift) < 1e-5  # some hundreds of steps of 1e-8 of weights of order 1, at most
    for mutant in MUTANTS:
        assert np.sum((mutant(start, system) != said)[decided]) > 50, mutant.__name__


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("above", [True, False])
def test_basins_part_where_r320_says(depth: int, above: bool) -> None:
    """Bisection by trajectories meets c_min = −τp r² for v > 0, and c_min = 0 for v < 0."""
    system = DeepSystem(1.0, 0.5, depth=depth, tau_predictor=1.5, tau_online=np.linspace(0.6, 1.2, depth))
    weights = np.linspace(0.4, 0.8, depth)
    least = np.min(system.layer_times[:, 0] * weights**2)  # c_min + τp v²
    exact = np.sqrt(least / 1.5 + 0.25) if above else -np.sqrt(least / 1.5)
    low, high = (exact - 0.1, exact + 0.12)  # beside it, not centred on it
    for _ in range(19):
        middle = (low + high) / 2
        start = system.deep_state(weights, middle)
        fate = integrate_deep_ensemble(start, system, deep_field, rtol=1e-10).fate[0]
        assert fate != UNDECIDED
        collapsed = fate == COLLAPSED
        low, high = (low, middle) if collapsed == above else (middle, high)
    assert (low + high) / 2 == pytest.approx(exact, abs=1e-6)


def test_small_starts_are_followed_for_as_long_as_they_crawl() -> None:
    """They leave the origin after a time like 1/w^(2L − 1), beside which their own clock is nothing."""
    size, rng, n = 1e-4, np.random.default_rng(8), 40
    system = DeepSystem(np.ones(n), np.full(n, 0.5), depth=4)
    start = system.deep_state(size * rng.standard_normal((4, n)), size * rng.standard_normal(n))
    found = integrate_deep_ensemble(start, system, deep_field)
    said = deep_fate(start, system).fate
    assert [FATES[k] for k in found.fate] == said.tolist()
    assert set(said) == {"learned", "collapsed"}
    assert np.max(found.t) > 1e20


@pytest.mark.parametrize("name", DEEP_FIELDS)
def test_starts_on_the_boundary_are_undecided(name: str) -> None:
    """c_min = 0 and v < 0: they tend to v = 0, which rounding may pass."""
    system = DeepSystem([1.0] * 3, [0.5] * 3, depth=3)
    w = np.array([[0.2, 0.9, 1e-3], [0.2, 1.3, 1e-3], [0.2, 2.0, 1e-3]])
    found = integrate_deep_ensemble(system.deep_state(w, -w[0]), system, DEEP_FIELDS[name], max_steps=3000)
    assert LEARNED not in found.fate
    y = np.array([0.6, 0.8, 0.503, 0.6, 0.8])
    rates = one_rate(DeepSystem(1.0, 0.5, depth=2))
    assert arrived(y, False, True, 0.0, 2, rates, True, np.full(3, np.nan)) == UNDECIDED


def test_layers_that_are_equal_die_together() -> None:
    """They come to zero like a power of time, and none crosses it: a fate of its own argument."""
    system = DeepSystem(1.0, 0.5, depth=4)
    found = integrate_deep_ensemble(system.deep_state(0.5, -0.8), system, deep_field)
    assert found.fate.tolist() == [COLLAPSED]
    assert np.ptp(found.final.layers) < 1e-9
    assert np.all(found.final.layers > 0)


@pytest.mark.parametrize("name", DEEP_FIELDS)
def test_layers_at_zero_stay_there(name: str) -> None:
    system = DeepSystem([1.0] * 2, [0.5] * 2, depth=3)
    start = system.deep_state([[0.0, 0.0], [0.0, 0.4], [0.5, 0.5]], 0.3)
    found = integrate_deep_ensemble(start, system, DEEP_FIELDS[name])
    assert found.fate.tolist() == [COLLAPSED, COLLAPSED]
    np.testing.assert_array_equal(found.t, 0)


def test_a_layer_at_zero_is_brought_back_by_its_target() -> None:
    system = DeepSystem(1.0, 0.5, depth=2)
    found = integrate_deep_ensemble(system.deep_state([0.0, 0.4], 0.3, [0.2, 0.4]), system, deep_field)
    assert found.fate.tolist() == [LEARNED]


@pytest.mark.parametrize(
    ("weights", "v", "targets", "drift", "fate"),
    [
        ((0.6, 0.8), 0.503, (0.6, 0.8), 0.0, LEARNED),
        ((0.6, 0.8), 0.51, (0.6, 0.8), 0.0, UNDECIDED),  # not beside r
        ((0.6, 0.8), 0.503, (-0.6, 0.8), 0.0, UNDECIDED),  # a target of the other sign
        ((1e-4, 0.8), 0.503, (1e-4, 0.8), 0.0, COLLAPSED),  # c_min < −r²
        ((1e-4, 0.8), 0.503, (1e-4, 0.8), 0.01, UNDECIDED),  # but not by more than the drift
        ((1e-4, 0.8), 0.497, (1e-4, 0.8), 0.0, LEARNED),  # it comes back
        ((1e-4, 0.8), 0.3, (1e-4, 0.8), 0.0, UNDECIDED),  # on its way back, not beside r
        ((1e-4, 0.8), -0.3, (1e-4, 0.8), 0.0, COLLAPSED),
        ((1e-4, 0.8), -0.3, (-1e-4, 0.8), 0.0, COLLAPSED),  # the pair spirals in, whatever its signs
        ((1e-4, 0.8), -0.3, (1e-4, 0.5), 0.0, UNDECIDED),  # the other target is not beside its layer
        ((1e-4, 0.8), -0.3, (0.1, 0.8), 0.0, UNDECIDED),  # a target that is not small
        ((1e-4, 0.8), -0.3, (1e-4, 0.8), 0.1, UNDECIDED),  # c_min < 0 is not known
    ],
)
def test_neighbourhoods_end_where_their_arguments_do(
    weights: tuple[float, float], v: float, targets: tuple[float, float], drift: float, fate: int
) -> None:
    rates = one_rate(DeepSystem(1.0, 0.5, depth=2))
    y = np.array([*weights, v, *targets])
    assert arrived(y, False, False, drift, 2, rates, True, np.full(3, np.nan)) == fate


# --- weight decay -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.9, 0.99, 1.01, 1.1])
@pytest.mark.parametrize("depth", [2, 3])
def test_weight_decay_that_a_mode_survives(depth: int, share: float) -> None:
    eta = share * float(decay_threshold(depth, 1.0, 0.8))
    rest = decay_rest(depth, 1.0, 0.8, eta)
    values = np.array([0.5, 0.9, 1.1, 1.5]) * (0.8 if share > 1 else rest.lower)
    n = values.size
    system = DeepSystem(np.ones(n), np.full(n, 0.8), depth=depth, weight_decay=eta)
    start = system.deep_state(np.repeat(values[None], depth, axis=0), values)
    single = DeepSystem(1.0, 0.8, depth=depth, weight_decay=eta)
    found = integrate_deep_ensemble(
        start, system, deep_no_ema_field, attractor=attracting_rest(single, deep_no_ema_field)
    )
    said = predict_deep_fates(start, system, deep_no_ema_field)
    assert [FATES[k] for k in found.fate] == said.fate.tolist()
    assert set(said.fate) == ({"collapsed"} if share > 1 else {"collapsed", "learned"})
    learned = found.fate == LEARNED
    np.testing.assert_allclose(found.final.predictor[learned], said.predictor[learned], rtol=1e-5)


def test_above_the_threshold_all_collapse_without_averages() -> None:
    start, system = gaussian(
        2, 300, 3, deep_no_ema_field, weight_decay=1.02 * float(decay_threshold(2, 1.0, 0.5))
    )
    found = integrate_deep_ensemble(start, system, deep_no_ema_field)
    np.testing.assert_array_equal(found.fate, COLLAPSED)
    assert set(predict_deep_fates(start, system, deep_no_ema_field).fate) == {"collapsed"}
    assert set(predict_deep_fates(start, system, deep_field).fate) == {""}


# --- maps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plane", [("layers", "predictor"), ("layer1", "predictor"), ("layer2", "layer1")])
def test_maps_agree_with_theory(plane: tuple[str, str]) -> None:
    found = deep_basins(
        DeepSystem(1.0, 0.5, depth=2), deep_field, plane=plane, grid=16, layers=(0.3, 0.5), at=-0.4
    )
    report = found.report()
    assert (report["theory_mismatches"], report["predicted_by_theory"], report["trajectories"]) == (
        0,
        256,
        256,
    )
    assert 0 < report["fractions"]["collapsed"] < 1
    u, v = np.meshgrid(*found.axes)
    np.testing.assert_array_equal(found.places, (u.ravel(), v.ravel()))
    above = found.learned_above(u, v).ravel()
    np.testing.assert_array_equal(found.fate == LEARNED, above > 0)


def test_coordinates_outside_a_plane_are_those_given() -> None:
    settings: dict[str, Any] = {"grid": 2, "layers": (0.3, 0.5, 0.7), "at": 0.2}
    system = DeepSystem(1.0, 0.5, depth=3)
    found: Any = deep_basins(system, deep_field, plane=("layer2", "targets"), **settings)
    np.testing.assert_array_equal(found.start.layers[[0, 2]], [[0.3] * 4, [0.7] * 4])
    np.testing.assert_array_equal(found.start.layers[1], found.places[0])
    np.testing.assert_array_equal(found.start.targets, [found.places[1]] * 3)
    np.testing.assert_array_equal(found.start.predictor, 0.2)
    arrays = basin_arrays(found)
    assert arrays["layers"].dims == ("start", "layer")
    assert arrays["layers_end"].values.shape == (4, 3)


def test_boundaries_of_maps_lie_on_r320() -> None:
    window = ((0.2, 1.0), (0.1, 1.2))
    found = deep_basins(DeepSystem(1.0, 0.5, depth=2), deep_field, grid=6, ranges=window, rtol=1e-9)
    w, v = basin_boundary(found).points.T
    assert len(w) > 3
    # an edge of at most 0.19 is halved 12 times, and its slope is at most 2.4
    np.testing.assert_allclose(v**2, w**2 + 0.25, atol=2.4 * 0.19 / 2**12)


def test_maps_with_weight_decay_predict_only_what_is_known() -> None:
    system = DeepSystem(1.0, 0.8, depth=2, weight_decay=0.04)
    found = deep_basins(system, deep_field, random=50, seed=3)
    assert found.rule is None
    np.testing.assert_array_equal(found.predicted, UNPREDICTED)
    assert set(np.unique(found.fate)) == {LEARNED, COLLAPSED}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"plane": ("online", "predictor")},
            "`plane` must be two of layers, layer1, layer2, predictor, targets",
        ),
        ({"plane": ("layers", "layer1")}, "`plane` must not hold layers and one of them"),
        ({"layers": (0.1,)}, "`layers` must be finite, one number per layer"),
        ({"at": np.nan}, "`at` must be finite"),
        ({"t_end": 0.0}, "`t_end` must be > 0"),
        ({"rtol": 0.0}, "`rtol` must be >="),
        ({"grid": None}, "give `grid` or `random`"),
    ],
)
def test_basins_refuse_nonsense(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        deep_basins(DeepSystem(1.0, 0.5, depth=2), deep_field, **{"grid": 2, **changed})


def test_targets_are_no_coordinate_without_averages() -> None:
    with pytest.raises(ValueError, match="`plane` must be two of layers, layer1, layer2, predictor, got"):
        deep_basins(DeepSystem(1.0, 0.5, depth=2), deep_no_ema_field, plane=("layers", "targets"), grid=2)


def test_ensembles_refuse_nonsense() -> None:
    start, system = gaussian(2, 3, 0)
    with pytest.raises(ValueError, match="`attractor` must have shape"):
        integrate_deep_ensemble(start, system, deep_field, attractor=[1.0])
    with pytest.raises(ValueError, match="`vector_field` must be full or no-ema"):
        integrate_deep_ensemble(start, system, replace(deep_field, name="full"))
    with pytest.raises(ValueError, match="`system` must have λs and λd > 0"):
        integrate_deep_ensemble(start, DeepSystem([1.0] * 3, [0.0] * 3, depth=2), deep_field)
    with pytest.raises(ValueError, match="`max_steps` must be >= 1"):
        integrate_deep_ensemble(start, system, deep_field, max_steps=0)
    assert rooms.plane_names(1).keys() == {"layers", "layer1", "predictor", "targets"}
