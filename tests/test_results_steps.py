"""R301–R310 in the registry: each is told apart from a broken version of itself; and the numbers of the theory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analysis.results.registry import Measurement, Result, check
from analysis.results.steps import RESULTS, critical, discrete
from analysis.steps.critical_steps import PairSteps, critical_step, pair_critical_steps
from analysis.steps.edge import TwoCycle, edge_invariant, first_collapse, second_doubling, two_cycle
from analysis.steps.fates import DiscreteFate, boundary_shift, discrete_fate
from dynamics.fields.matrices import error_matrix, full_field
from dynamics.fields.modes import full_mode_field
from dynamics.integration.discrete import (
    EmaOrder,
    balance_factor,
    balanced_after,
    balanced_map,
    gradient_step,
    modified_field,
)
from dynamics.integration.stepping import iterate, orbit_period
from dynamics.invariants import balance_matrix
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem

ONE = ModeSystem(1.0, 0.5)
OTHER = {EmaOrder.PRACTICAL: EmaOrder.LAGGED, EmaOrder.LAGGED: EmaOrder.PRACTICAL}


@pytest.mark.parametrize("result", RESULTS.values(), ids=list(RESULTS))
def test_one_seed_one_measurement(result: Result) -> None:
    first, second = (result.trial(np.random.default_rng(7)) for _ in range(2))
    assert isinstance(first, Measurement)
    assert first == second


# --- mutants ------------------------------------------------------------------------------------------------


def bracket(sign: int, *, power: int = 2, swapped: bool = False) -> Callable[..., np.ndarray]:
    """The change of C with another sign, another power of ε, or the time constants swapped."""

    def changed(state: MatrixState, system: MatrixSystem, step: float) -> np.ndarray:
        E = error_matrix(state, system)
        A, B = state.predictor.T @ E, state.online @ E.T
        to, tp = system.tau_online, system.tau_predictor
        to, tp = (tp, to) if swapped else (to, tp)
        kept = (1 - step * system.weight_decay) ** 2 * balance_matrix(state, system)
        return kept + sign * step**power * (A @ A.T / to - B @ B.T / tp)

    return changed


def gauss_seidel(state: Any, system: Any, step: Any, h: Any, order: Any) -> Any:
    """The predictor's step sees the encoder after its own."""
    after = gradient_step(state, system, step, h, order)
    field = full_mode_field if isinstance(state, ModeState) else full_field
    second = field.derivative(0.0, state._replace(online=after.online), system)
    return after._replace(predictor=state.predictor + step * second.predictor)


def keeps_the_boundary(start: Any, *arguments: Any) -> DiscreteFate:
    """R6's own boundary."""
    found = discrete_fate(start, *arguments)
    return found._replace(fate=found.flow)


def reversed_strip(start: Any, *arguments: Any) -> DiscreteFate:
    """The strip on the other side: gradient descent would collapse what is as far above R6's boundary."""
    found = discrete_fate(start, *arguments)
    system = arguments[0]
    edge = -system.tau_predictor * system.ratio**2
    c0 = system.tau_online * start.online**2 - system.tau_predictor * start.predictor**2
    reverse = np.where((start.predictor > 0) & (c0 < edge * 0.98), "collapsed", found.flow)
    return found._replace(fate=np.where((c0 > edge) & (c0 < 0.995 * edge), "collapsed", reverse))


def other_order(p: Any, w: Any, system: Any, h: Any, order: Any) -> PairSteps:
    return pair_critical_steps(p, w, system, h, OTHER[order])


def half_rate(p: Any, w: Any, system: Any, h: Any, order: Any) -> PairSteps:
    """h/2 for h/(2 − h)."""
    return pair_critical_steps(p, w, system, 4 * h / (2 * (2 + h)) if h < 1 else 0.5, order)


def half_share(p: Any, w: Any, system: Any, h: Any, order: Any) -> PairSteps:
    """h/2 for h/(2 − h) in the flip, and the right spiral."""
    A = system.lambda_s * (np.asarray(p) ** 2 / system.tau_online + np.asarray(w) ** 2 / system.tau_predictor)
    s = system.lambda_d * p / system.tau_online
    sign = 1 if order is EmaOrder.LAGGED else -1
    return pair_critical_steps(p, w, system, h, order)._replace(flip=2 / (A + sign * h / 2 * s))


def no_predictor_curvature(p: Any, w: Any, system: Any, h: Any, order: Any) -> PairSteps:
    """A without w²/τp."""
    return pair_critical_steps(p, 0.0 * w, system, h, order)


def never_spirals(p: Any, w: Any, system: Any, h: Any, order: Any) -> PairSteps:
    found = pair_critical_steps(p, w, system, h, order)
    return found._replace(neimark_sacker=np.full_like(found.flip, np.inf))


def lagged_edge(step: Any, system: Any, h: Any, order: Any) -> np.ndarray:
    return edge_invariant(step, system, h, OTHER[order])


def opposite_square(step: float, order: EmaOrder) -> Any:
    """+ ½ f′f."""
    right = modified_field(step, order)
    wrong = modified_field(-step, order)
    practical = modified_field(0.0, order)

    def derivative(t: Any, state: Any, system: Any) -> ModeState:
        here = (field.derivative(t, state, system) for field in (right, wrong, practical))
        ahead = full_mode_field.derivative(t, state, system).online / system.tau_target
        a, b, f = here
        moved = ModeState(
            *(2 * z - x if order is EmaOrder.LAGGED else y for x, y, z in zip(a, b, f, strict=True))
        )
        if order is EmaOrder.PRACTICAL:
            moved = moved._replace(target=moved.target + 2 * step * ahead)
        return moved

    from dynamics.fields.vector_field import VectorField

    return VectorField("mutant", derivative)


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R301", {"changed": bracket(-1)}),
    ("R301", {"changed": bracket(1, swapped=True)}),
    ("R301", {"changed": bracket(1, power=1)}),
    ("R301", {"step_of": gauss_seidel}),
    ("R301", {"factor": lambda e, step, system: 2 - balance_factor(e, step, system)}),
    ("R302", {"fate_of": keeps_the_boundary}),
    ("R302", {"fate_of": reversed_strip}),
    ("R303", {"steps_of": other_order}),
    ("R303", {"steps_of": half_rate}),
    ("R303", {"steps_of": half_share}),
    ("R303", {"steps_of": no_predictor_curvature}),
    ("R303", {"steps_of": never_spirals}),
    ("R304", {"field_of": opposite_square}),
    ("R304", {"field_of": lambda step, order: modified_field(step, EmaOrder.LAGGED)}),
    ("R304", {"field_of": lambda step, order: full_mode_field}),
    ("R305", {"edge": lagged_edge}),
    ("R305", {"mapped": lambda y, k: y + k * y * (1 - y)}),
    ("R305", {"cycle": lambda k: TwoCycle(*two_cycle(1.01 * k))}),
    ("R305", {"doubling": lambda: 2.5}),
    ("R305", {"collapse": lambda: 3.42}),
]


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)


@pytest.mark.parametrize(
    ("name", "subjects"), MUTANTS, ids=[f"{n}-{k}-{next(iter(s))}" for k, (n, s) in enumerate(MUTANTS)]
)
def test_mutant_is_violated(name: str, subjects: dict[str, Any]) -> None:
    assert check(RESULTS[name], n_trials=8, **subjects).verdict == "violated"


@pytest.mark.parametrize(
    ("name", "attribute", "mutant"),
    [
        ("R301", "balance_factor", lambda e, step, system: 2 - balance_factor(e, step, system)),
        ("R302", "gradient_step", gauss_seidel),
        ("R304", "modified_field", lambda step, order: modified_field(step, EmaOrder.LAGGED)),
        ("R305", "balanced_map", lambda y, k: y + k * y * (1 - y)),
    ],
)
def test_mutated_proof_fails(
    monkeypatch: pytest.MonkeyPatch, name: str, attribute: str, mutant: Callable[..., Any]
) -> None:
    module = critical if name == "R305" else discrete
    monkeypatch.setattr(module, attribute, mutant if name != "R302" else _with_default(mutant))
    proof = RESULTS[name].proof
    assert proof is not None
    assert proof() is False


def _with_default(step_of: Callable[..., Any]) -> Callable[..., Any]:
    return lambda state, system, step, h, order=EmaOrder.PRACTICAL: step_of(state, system, step, h, order)


# --- numbers of the theory ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "end"),
    [(0.001, 0.5744512), (0.1, 0.5739441), (0.5, 0.5717574), (1.0, 0.5686772), (2.0, 0.5624526)],
)
def test_amplitudes_at_the_end_fall_with_the_step(step: float, end: float) -> None:
    run = iterate(
        ONE.state(0.3, 0.1, 0.3), ONE, step, min(step, 1.0), round(200 / step) if step > 0.01 else 60000
    )
    assert run.final.online[0] == pytest.approx(end, abs=6e-8 if step > 0.01 else 2e-6)


@pytest.mark.parametrize(
    ("step", "end"), [(0.001, 1.118070), (0.05, 1.119945), (0.2, 1.127609), (0.5, 1.176419)]
)
def test_boundary_moves_with_the_step(step: float, end: float) -> None:
    found = boundary_shift(1.0, 0.0, ONE, step, step, tolerance=2e-7)
    assert found.flow == pytest.approx(1.118034, abs=5e-7)
    assert found.steps == pytest.approx(end, abs=7e-7)
    # the second method: Π (1 − κ²) at the boundary is τp r²/|c0|
    c0 = 1 - found.steps**2
    assert found.kept == pytest.approx(-0.25 / c0, abs=3e-6)


def test_boundary_of_a_small_start() -> None:
    found = boundary_shift(0.1, 0.1, ONE, 1.0, 1.0)
    assert (found.flow, found.steps) == pytest.approx((0.509902, 0.509914), abs=6e-7)


def test_nothing_is_promised_beyond_a_kappa_of_one() -> None:
    assert np.isnan(boundary_shift(1.0, 0.0, ONE, 1.0, 1.0).steps)


@pytest.mark.parametrize(
    ("order", "h", "value"),
    [
        ("lagged", 0.2, 3.7894737),
        ("practical", 0.2, 4.2352941),
        ("lagged", 0.0, 4.0),
        ("lagged", 1.0, 2.6666667),
        ("practical", 1.0, 8.0),
    ],
)
def test_critical_steps_of_a_learned_point(order: str, h: float, value: float) -> None:
    assert pair_critical_steps(0.5, 0.5, ONE, h, EmaOrder(order)).flip[0] == pytest.approx(value, abs=5e-8)


@pytest.mark.parametrize(
    ("order", "p", "value", "kind"),
    [
        ("lagged", 0.8, 1.9230769, "flip"),
        ("practical", 0.8, 8.3333333, "flip"),
        ("lagged", -0.8, 2.5, "neimark-sacker"),
        ("lagged", -0.3, 6.6666667, "neimark-sacker"),
    ],
)
def test_critical_steps_of_a_collapsed_point(order: str, p: float, value: float, kind: str) -> None:
    system = MatrixSystem(np.ones(1), np.array([0.5]))
    found = critical_step(system.state([[0.0]], [[p]]), system, 1.0, EmaOrder(order))
    assert found.value == pytest.approx(value, abs=5e-8)
    assert found.kind == kind


def test_no_step_is_stable_at_a_saddle() -> None:
    system = MatrixSystem(np.ones(1), np.array([0.5]))
    assert critical_step(system.state([[0.0]], [[0.3]]), system, 0.5)[:2] == (0.0, None)


@pytest.mark.parametrize("order", list(EmaOrder))
def test_a_kick_dies_below_the_critical_step_and_grows_above_it(order: EmaOrder) -> None:
    value = float(pair_critical_steps(0.5, 0.5, ONE, 0.2, order).flip[0])
    kicks = []
    for factor in (0.99, 1.01):
        run = iterate(ONE.state(0.5, 0.5 + 1e-6, 0.5), ONE, factor * value, 0.2, 400, order, rtol=1e-14)
        e = run.final.target * 0.5 - run.final.online * run.final.predictor
        kicks.append(abs(float(e[0])))
    assert kicks[0] < 5e-7 / 10 < 5e-7 * 10 < kicks[1]


@pytest.mark.parametrize(
    ("step", "h", "start", "edge", "end"),
    [
        (0.7, 1.0, 1.75, 2.6071, 2.37606),
        (0.7, 1.0, 1.9, 2.6071, 1.61111),
        (0.7, 0.3, 1.75, 2.4013, 1.89648),
        (0.7, 0.3, 1.9, 2.4013, 1.05949),
        (1.2, 1.0, 1.75, 1.4167, 0.28671),
    ],
)
def test_runs_from_beyond_the_edge_settle_at_flatter_points(
    step: float, h: float, start: float, edge: float, end: float
) -> None:
    assert edge_invariant(step, ONE, h)[0] == pytest.approx(edge, abs=5e-5)
    run = iterate(ONE.state(start, 0.49, start), ONE, step, h, 4000)
    assert run.status == "steady"
    assert float(run.final.online[0]) ** 2 - 0.25 == pytest.approx(end, abs=6e-6)


def test_too_large_a_step_collapses_and_need_not_diverge() -> None:
    run = iterate(ONE.state(1.9, 0.49, 1.9), ONE, 1.2, 1.0, 4000)
    assert run.status == "steady"
    assert abs(float(run.final.online[0])) < 1e-9
    assert run.final.predictor[0] == pytest.approx(1.21004, abs=5e-6)


def test_where_the_edge_is_below_zero_runs_stay_in_motion_on_the_balanced_sheet() -> None:
    step = 2.1 / 0.25
    assert edge_invariant(step, ONE, 1.0)[0] < 0
    run = iterate(ONE.state(0.52, 0.49, 0.52), ONE, step, 1.0, 5000)
    assert run.status == "end-time"
    assert 0 <= float(run.final.online[0] ** 2 - run.final.predictor[0] ** 2) < 1e-12
    assert orbit_period(run.final, ONE, step, 1.0) == 2


def test_numbers_of_the_balanced_map() -> None:
    assert second_doubling() == pytest.approx(2.4773776, abs=5e-8)
    assert first_collapse() == pytest.approx(3.4107388, abs=5e-8)
    assert (two_cycle(2.1).total, two_cycle(2.3).total) == pytest.approx((1.972492, 1.923141), abs=5e-7)


def test_almost_all_of_an_interval_collapses_just_beyond_the_window() -> None:
    y = np.linspace(0.3, 1.2, 20000)
    gain = 1.02 * first_collapse()
    for _ in range(5000):
        y = np.where(y > 0, balanced_map(np.maximum(y, 0), gain), y)
    # the share still positive falls geometrically; after 5,000 steps .9995 of the theory's row have fallen
    assert np.mean(y <= 0) > 0.999


@pytest.mark.parametrize("order", list(EmaOrder))
@pytest.mark.parametrize("seed", range(4))
def test_changed_matrix_is_that_of_a_step(order: EmaOrder, seed: int) -> None:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((3, 3))
    system = MatrixSystem(A @ A.T, (A + A.T) / 2, tau_online=0.7, tau_predictor=1.3)
    state = MatrixState(rng.standard_normal((2, 3)), rng.standard_normal((2, 2)), rng.standard_normal((2, 3)))
    after = balance_matrix(gradient_step(state, system, 0.3, 0.2, order), system)
    # sums of at most five products of entries of the size of W⁺ and P⁺
    np.testing.assert_allclose(after, balanced_after(state, system, 0.3), rtol=1e-12, atol=1e-12)
