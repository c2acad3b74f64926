"""R301–R310 in the registry: each is told apart from a broken version of itself; and the numbers of the theory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analysis.results.registry import Measurement, Result, check
from analysis.results.steps import RESULTS, critical, discrete, noise
from analysis.steps.competition import competition_rates, mode_competition
from analysis.steps.critical_steps import PairSteps, critical_step, pair_critical_steps
from analysis.steps.edge import TwoCycle, edge_invariant, first_collapse, second_doubling, two_cycle
from analysis.steps.fates import DiscreteFate, boundary_shift, discrete_fate
from analysis.steps.noise import (
    StationarySpread,
    balancing_moments,
    balancing_path,
    frozen_encoder_variance,
    stationary_covariance,
)
from analysis.steps.noisy_collapse import (
    CollapsePredictors,
    collapse_predictors,
    lyapunov_exponent,
    mean_square_predictor,
    mean_square_radius,
    second_moment_matrix,
)
from dynamics.exact.balancing import balancing_law
from dynamics.fields.matrices import error_matrix, full_field
from dynamics.fields.modes import full_mode_field
from dynamics.integration.batch_noise import (
    batch_moments,
    batches,
    expected_balance_change,
    residual_variance,
)
from dynamics.integration.discrete import (
    EmaOrder,
    balance_factor,
    balanced_after,
    balanced_map,
    gradient_step,
    modified_field,
)
from dynamics.integration.discrete_ensemble import iterate_ensemble
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


# --- mutants of noise -----------------------------------------------------------------------------------------


def other_chi(rng: Any, system: Any, batch: int, n: int) -> Any:
    """χ²_{B−1}/B, with its mean put right."""
    s, d = batch_moments(rng, system, batch + 1, n)
    return s, d


def independent(rng: Any, system: Any, batch: int, n: int) -> Any:
    s, _ = batch_moments(rng, system, batch, n)
    return s, batch_moments(rng, system, batch, n)[1]


def one_view(rng: Any, system: Any, batch: int, n: int) -> Any:
    """x2 = x1 in the target too."""
    s, _ = batch_moments(rng, system, batch, n)
    return s, s


def cross_of_two(state: Any, system: Any, batch: int) -> Any:
    w1, w2, th = state
    return (
        residual_variance(state, system, batch) + 2 * th * w1 * w2 * system.lambda_s * system.lambda_d / batch
    )


def faster(factor: Callable[[ModeSystem, int], Any]) -> Callable[..., np.ndarray]:
    return lambda t, c, system, step, batch: balancing_law(factor(system, batch) * t, c, system, step, batch)


def noisier(system: ModeSystem) -> float:
    """(λs² + λd²)/(λs² − λd²)."""
    r = float(system.ratio[0])
    return (1 + r**2) / (1 - r**2)


def lagged_spread(w: float, system: ModeSystem, step: float, h: float, batch: int) -> StationarySpread:
    """The map of the lagged order."""
    from scipy.linalg import solve_discrete_lyapunov

    ls, ld, r = (float(x[0]) for x in (system.lambda_s, system.lambda_d, system.ratio))
    A = ls * (r**2 / system.tau_online + w**2 / system.tau_predictor)
    M = np.array([[1 - step * A, ld * h], [step * r / system.tau_online, 1 - h]])
    n = np.array([-step * A, step * r / system.tau_online])
    S = solve_discrete_lyapunov(M, w**2 * (ls**2 - ld**2) / batch * np.outer(n, n))
    towards = np.array([1.0, ld])
    return StationarySpread(S, float(towards @ S @ towards / (ls * w) ** 2))


def wider_spread(w: float, system: ModeSystem, *arguments: Any) -> StationarySpread:
    found = stationary_covariance(w, system, *arguments)
    return StationarySpread(noisier(system) * found.covariance, noisier(system) * found.predictor)


def less_noise(p: float, system: ModeSystem, step: float, h: float, batch: int) -> float:
    """1 + 1/B for 1 + 2/B, as of a batch of twice the size, with E D̂² kept."""
    M = second_moment_matrix(p, system, step, h, batch)
    ls, r = float(system.lambda_s[0]), float(system.ratio[0])
    a, b = step * p**2 / system.tau_online, step * p / system.tau_online
    excess = np.array([a**2 * ls**2, -2 * a * b * ls**2 * r, 0.0]) / batch
    return float(np.max(np.abs(np.linalg.eigvals(M - np.stack([excess, h * excess, h**2 * excess])))))


def at_the_ratio(system: ModeSystem, step: float, batch: int) -> CollapsePredictors:
    """The threshold of the flow, p = r."""
    return CollapsePredictors(system.ratio, system.ratio)


def swapped_traces(state: MatrixState, system: MatrixSystem, step: float, batch: int) -> np.ndarray:
    W, P, Th = state
    sigma_s, sigma_d = (np.diag(x) if x.ndim == 1 else x for x in (system.sigma_s, system.sigma_d))
    A = P @ W
    cross = Th @ sigma_d @ A.T
    R = Th @ sigma_s @ Th.T - cross - cross.T + A @ sigma_s @ A.T
    wrong = (np.trace(R) - np.trace(sigma_s)) / batch * step**2
    right = expected_balance_change(state, system, step, batch)
    return right + wrong * (P.T @ R @ P / system.tau_online + W @ sigma_s @ W.T / system.tau_predictor)


def no_batches(state: MatrixState, system: MatrixSystem, step: float, batch: int) -> np.ndarray:
    return expected_balance_change(state, system, step, 10**12)


MUTANTS += [
    ("R306", {"moments_of": other_chi}),
    ("R306", {"moments_of": independent}),
    ("R306", {"moments_of": one_view}),
    ("R306", {"variance": cross_of_two}),
    ("R306", {"factor": lambda e, step, system: 1.0}),
    ("R307", {"law": faster(lambda system, batch: batch)}),
    ("R307", {"law": faster(lambda system, batch: noisier(system))}),
    ("R307", {"path": lambda ts, c, *rest: np.full(len(ts), c)}),
    (
        "R307",
        {"path": lambda ts, c, system, step, h, batch: balancing_path(ts, c, system, step, h, 3 * batch)},
    ),
    ("R308", {"spread_of": lagged_spread}),
    ("R308", {"spread_of": wider_spread}),
    ("R308", {"frozen": lambda gain, system, batch: frozen_encoder_variance(gain, system, 2 * batch) * 2}),
    ("R309", {"radius": less_noise}),
    ("R309", {"boundaries": at_the_ratio}),
    ("R309", {"boundaries": lambda *a: CollapsePredictors(*collapse_predictors(*a)[::-1])}),
    (
        "R309",
        {
            "exponent": lambda p, system, step, batch: (
                0.5 * np.log(mean_square_radius(p, system, step, 1.0, batch))
            )
        },
    ),
    ("R310", {"change": swapped_traces}),
    ("R310", {"change": no_batches}),
    ("R310", {"rates": lambda q, system, step, batch: -competition_rates(q, system, step, batch)}),
    (
        "R310",
        {
            "follow": lambda q, *rest: (found := mode_competition(q, *rest))._replace(
                squares=found.squares[:, ::-1]
            )
        },
    ),
]


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)


@pytest.mark.parametrize(
    ("name", "subjects"), MUTANTS, ids=[f"{n}-{k}-{next(iter(s))}" for k, (n, s) in enumerate(MUTANTS)]
)
def test_mutant_is_violated(name: str, subjects: dict[str, Any]) -> None:
    # a Neimark–Sacker point decides in one trial of ten or twenty
    n_trials = {"R303": 60, "R307": 2}.get(name, 8)
    assert check(RESULTS[name], n_trials=n_trials, **subjects).verdict == "violated"


@pytest.mark.parametrize(
    ("name", "attribute", "mutant"),
    [
        ("R301", "balance_factor", lambda e, step, system: 2 - balance_factor(e, step, system)),
        ("R302", "gradient_step", gauss_seidel),
        ("R304", "modified_field", lambda step, order: modified_field(step, EmaOrder.LAGGED)),
        ("R305", "balanced_map", lambda y, k: y + k * y * (1 - y)),
        ("R306", "residual_variance", cross_of_two),
        ("R307", "residual_variance", cross_of_two),
    ],
)
def test_mutated_proof_fails(
    monkeypatch: pytest.MonkeyPatch, name: str, attribute: str, mutant: Callable[..., Any]
) -> None:
    module = {"R305": critical, "R306": noise, "R307": noise}.get(name, discrete)
    monkeypatch.setattr(module, attribute, mutant if name != "R302" else _with_default(mutant))
    proof = RESULTS[name].proof
    assert proof is not None
    assert proof() is False


def _with_default(step_of: Callable[..., Any]) -> Callable[..., Any]:
    return lambda state, system, step, h, order=EmaOrder.PRACTICAL: step_of(state, system, step, h, order)


# --- numbers of the theory ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "end"),
    [(0.1, 0.5739441), (0.5, 0.5717574), (1.0, 0.5686772), (2.0, 0.5624526)],
)
def test_amplitudes_at_the_end_fall_with_the_step(step: float, end: float) -> None:
    run = iterate(
        ONE.state(0.3, 0.1, 0.3), ONE, step, min(step, 1.0), round(200 / step) if step > 0.01 else 60000
    )
    assert run.final.online[0] == pytest.approx(end, abs=6e-8)


@pytest.mark.parametrize(("step", "end"), [(0.05, 1.119945), (0.2, 1.127609), (0.5, 1.176419)])
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


# --- numbers of noise -----------------------------------------------------------------------------------------


def many(n: int) -> ModeSystem:
    return ModeSystem(np.ones(n), np.full(n, 0.5))


def test_slow_balancing_law_and_its_next_order_by_ten_thousand_runs() -> None:
    runs, steps = many(10_000), 2133
    ends = iterate_ensemble(runs.state(1.0, 0.5, 1.0), runs, 0.05, 0.05, steps, batch=2, seed=3)
    c = ends.final.online**2 - ends.final.predictor**2
    error = float(np.std(c)) / 100
    law = float(balancing_law(106.65, 0.75, ONE, 0.05, 2)[0])
    path = float(balancing_path([0.0, 106.65], 0.75, ONE, 0.05, 0.05, 2)[-1])
    assert law == pytest.approx(0.20866, abs=5e-6)
    assert float(np.mean(c)) == pytest.approx(0.2008, abs=1e-4 + 3 * error)
    # ê of one step still tells of the next while e relaxes, over 1/(εA) steps: v leaves that out, some 20 % of it
    spread = float(balancing_moments([0.0, 106.65], 0.75, ONE, 0.05, 0.05, 2).variance[-1])
    assert spread == pytest.approx(float(np.var(c)), rel=0.3)
    # the first order leaves 0.0079, and the next one a share εA (1 + 2/B) of that at most, A = 1.25
    assert abs(float(np.mean(c)) - path) < 0.05 * 1.25 * 2 * abs(law - path) + 3 * error


def test_frozen_encoder_variances() -> None:
    assert frozen_encoder_variance(0.5, ONE, 4) == pytest.approx(0.0750, abs=5e-5)
    assert frozen_encoder_variance(1.2, ONE, 8) == pytest.approx(0.2250, abs=5e-5)


@pytest.mark.parametrize(("h", "p"), [(1.0, 0.55257), (0.3, 0.53855), (0.05, 0.51445), (0.01, 0.50371)])
def test_average_brings_the_mean_square_boundary_nearer_to_the_ratio(h: float, p: float) -> None:
    assert mean_square_predictor(ONE, 0.5, h, 2) == pytest.approx(p, abs=5e-6)


def test_typical_runs_change_sides_between_two_predictors() -> None:
    # 3·10⁷ draws each gave +.00388 and −.00388 with a standard error of .00003
    assert lyapunov_exponent(0.44, ONE, 0.5, 2) == pytest.approx(0.00388, abs=1e-4)
    assert lyapunov_exponent(0.47, ONE, 0.5, 2) == pytest.approx(-0.00386, abs=1e-4)


@pytest.mark.parametrize(
    ("batch", "start", "probability"),
    [
        (1, 0.45, 0.279),
        (1, 0.51, 0.491),
        (1, 0.52, 0.657),
        (1, 0.6, 0.998),
        (4, 0.45, 0.0),
        (4, 0.51, 0.119),
        (4, 0.52, 0.664),
        (4, 0.6, 1.0),
    ],
)
def test_share_of_runs_that_noise_collapses(batch: int, start: float, probability: float) -> None:
    n = 1000
    system = many(n)
    ends = iterate_ensemble(system.state(0.1, start, 0.1), system, 0.2, 0.2, 20_000, batch=batch, seed=1)
    collapsed = np.abs(ends.final.online) < 1e-3
    collapsed &= ~ends.diverged
    # three standard errors of these runs and of the 2,000 behind the table, and half its last digit
    error = np.sqrt(probability * (1 - probability) * (1 / n + 1 / 2000))
    assert abs(np.mean(collapsed) - probability) <= 3 * error + 5e-4


def test_competition_follows_the_law_until_a_row_captures_the_mode() -> None:
    system = ModeSystem([1.0, 1.0], [0.97, 0.70])
    found = mode_competition([1.44, 1.44], system, 0.02, 4, [0.0, 400.0, 800.0])
    np.testing.assert_allclose(found.squares[1], [0.4843, 1.0536], atol=5e-5)
    np.testing.assert_allclose(found.squares[2], [0.208, 0.984], atol=5e-4)
    assert found.capture[0] == pytest.approx(0.189, abs=5e-4)
    full = MatrixSystem(np.ones(2), np.array([0.97, 0.70]))
    start = full.state(np.diag([1.2, 1.2]), np.diag([0.97, 0.70]))
    squares = []
    for seed in range(6):
        noisy = batches(np.random.default_rng(seed), full, 4)
        end = iterate(start, full, 0.02, 0.1, 10_000, batches=noisy).final  # t = 200
        squares.append(np.sum(end.online**2, axis=1))
    law = mode_competition([1.44, 1.44], system, 0.02, 4, [0.0, 200.0]).squares[-1]
    error = np.std(squares, axis=0, ddof=1) / np.sqrt(len(squares))
    # four standard errors, and the next order, of the share that the theory's own row shows at t = 400: 3 %
    np.testing.assert_array_less(np.abs(np.mean(squares, axis=0) - law), 4 * error + 0.03 * law)


def test_numbers_of_a_small_step() -> None:
    ends = iterate_ensemble(ONE.state(0.3, 0.1, 0.3), ONE, 0.001, 0.001, 400_000).final
    assert ends.online[0] == pytest.approx(0.5744512, abs=6e-8)
    around = ModeSystem(np.ones(2), np.full(2, 0.5))
    found = discrete_fate(around.state(1.0, [1.118069, 1.118071], 0.0), around, 0.001, 0.001)
    assert found.fate.tolist() == ["learned", "collapsed"]
    assert found.flow.tolist() == ["collapsed", "collapsed"]
