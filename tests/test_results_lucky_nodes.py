"""R206–R209: numbers, second methods and refusals; each result is told apart from a broken version of itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analysis.results.registry import Measurement, Result, check, collect
from analysis.results.trees import lucky_nodes
from analysis.trees.lucky_event import (
    TwoPointLaw,
    conditional_inputs,
    event_correlation,
    event_probability,
    jensen_attaining_law,
    largest_event_size,
    polarity_threshold,
    relu_jensen_bound,
    sensitivity_bound,
)
from analysis.trees.lucky_nodes import (
    antithetic_weights,
    lucky_probability_bound,
    mean_square_bound,
    nodes_needed,
    selectivity_gap,
    unit_selectivity,
    updated_weights,
)

RESULTS = collect((lucky_nodes,))
EPS = float(np.finfo(float).eps)


@pytest.mark.parametrize("result", RESULTS.values(), ids=list(RESULTS))
def test_one_seed_one_measurement(result: Result) -> None:
    first, second = (result.trial(np.random.default_rng(7)) for _ in range(2))
    assert isinstance(first, Measurement)
    assert first == second


# --- R206 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "variance", "printed"), [(0, 1, 0.5), (0.5, 1, 0.30901), (-1, 0.5, 0.11237), (2, 3, 0.32287)]
)
def test_the_jensen_bound_is_the_value_of_a_linear_programme(
    mean: float, variance: float, printed: float
) -> None:
    from scipy.optimize import linprog

    x = np.linspace(-8, 8, 1601)
    ones = np.ones_like(x)
    found = linprog(
        -np.maximum(x, 0), A_eq=np.array([ones, x, x**2]), b_eq=[1, mean, mean**2 + variance], method="highs"
    )
    value = -found.fun - max(mean, 0)
    assert value == pytest.approx(printed, abs=1e-5)  # digits of the table
    # a law on the grid is a law; the best one is at most a grid step h away from ±√(μ² + V), where the quadratic
    # (x² + h²)/(2h) − |x| that certifies it is (step)²/(2h) high; solvers are exact to 1e-7
    assert -1e-7 <= relu_jensen_bound(mean, variance) - value <= 0.01**2 / 2 + 1e-7


def test_the_jensen_bound_keeps_its_digits_over_all_decades() -> None:
    assert relu_jensen_bound(1e8, 1.0) == pytest.approx(
        1 / (4e8), rel=1e-15
    )  # V/(4|μ|): the roots would cancel
    for scale in (1e-150, 1e-100, 1.0, 1e100, 1e150):
        assert relu_jensen_bound(0.5 * scale, scale**2) == pytest.approx(scale * relu_jensen_bound(0.5, 1.0))
    assert relu_jensen_bound(0.0, 0.0) == relu_jensen_bound(-3.0, 0.0) == 0.0
    assert relu_jensen_bound([0.0, 0.5], 1.0).shape == (2,)
    assert jensen_attaining_law(0.0, 0.0).probabilities.tolist() == [0.5, 0.5]
    assert jensen_attaining_law(1e8, 1.0).probabilities[0] == pytest.approx(0.25e-16, rel=1e-15)


# --- R207 ---------------------------------------------------------------------------------------------------


def test_event_probabilities_are_those_of_the_table() -> None:
    found = [event_probability(c, 0.2195) for c in (1, 4, 9)]
    np.testing.assert_allclose(found, [5.81e-2, 6.76e-3, 3.11e-4], rtol=2e-3)  # three digits
    assert event_probability(9, 0.4279) == pytest.approx(8.29e-5, rel=2e-3)
    assert nodes_needed(probability=event_probability(9, 0.4279)) == pytest.approx(36_000, rel=0.01)
    assert event_correlation(np.full(8, 0.5), np.full(8, 0.5), [0.8, -0.8] * 4) == pytest.approx(
        0.2195, abs=5e-5
    )
    threshold = polarity_threshold(9)
    assert threshold**2 == pytest.approx(6 / 15, rel=1e-15)
    assert event_correlation([0.5] * 8, [0.5] * 8, [threshold, -threshold] * 4) == pytest.approx(
        0.4286, abs=1e-3
    )


@pytest.mark.parametrize("c", [0.0, 1e-300, 1e-6, 0.3, 5.0, 30.0])
@pytest.mark.parametrize("r", [0.0, 1e-12, 0.5, 0.97])
def test_the_event_is_what_owens_function_says(c: float, r: float) -> None:
    from scipy.special import ndtr, owens_t

    h, slope = math.sqrt(c), r / math.sqrt((1 - r) * (1 + r))
    # a difference of two numbers below ½, which loses digits in the tail
    assert event_probability(c, r) == pytest.approx(float(ndtr(-h) / 2 - owens_t(h, slope)), abs=2e-15)


@pytest.mark.parametrize(
    ("c", "r"), [(1.0, 0.999), (9.0, 0.2195), (30.0, 0.9), (100.0, 0.4279), (700.0, 0.2195), (1e-8, 1 - 1e-9)]
)
def test_the_event_keeps_its_digits_in_the_tail(c: float, r: float) -> None:
    """Forty digits of e^{−c/(2(1 − r²))}/2π ∫_0^∞ e^{−c(au + u²/2)}/(1 + (a + u)²) du, a = r/√(1 − r²)."""
    import mpmath as mp

    with mp.workdps(40):
        sine = mp.sqrt((1 - mp.mpf(r)) * (1 + mp.mpf(r)))
        a = mp.mpf(r) / sine
        scale = 1 / (c * a)  # of u: what is beyond 128 of them is e^{−128}, or falls as a Gaussian before

        def integrand(v: mp.mpf) -> mp.mpf:
            u = v * scale
            return mp.exp(-c * (a * u + u**2 / 2)) / (1 + (a + u) ** 2) * scale

        points = [0, *(mp.mpf(2) ** k for k in range(-8, 8))]
        stated = mp.exp(-c / (2 * sine**2)) * mp.quad(integrand, points) / (2 * mp.pi)
        error = abs(event_probability(c, r) / stated - 1)
    # the exponent is known to a few roundings
    assert error < EPS * (64 + 4 * c / (2 * (1 - r) * (1 + r)))


def test_the_event_has_its_limits() -> None:
    assert event_probability(0, 0) == pytest.approx(0.25, rel=1e-14)
    assert event_probability(4, 1.0) == 0.0
    assert event_probability(1e6, 0.1) == 0.0  # underflows
    assert event_probability(1e-40, 1 - 2.0**-50) == pytest.approx(
        2.0**-24.5 / (2 * math.pi), rel=1e-5
    )  # arccos r/2π
    # the exponent of the number of nodes is c/(2(1 − r²))
    r, c = 0.6, np.array([400.0, 404.0])
    ratio = math.log(event_probability(c[0], r) / event_probability(c[1], r)) / 4
    assert ratio == pytest.approx(1 / (2 * (1 - r**2)), rel=0.01)


def test_gaussian_units_meet_the_event_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    plus, minus = conditional_inputs([0.5] * 4, [0.5] * 4, [0.8, -0.8] * 2)
    n, c = 400_000, 1.0
    w = rng.standard_normal((n, 4))
    met = np.mean((w @ plus >= math.sqrt(c) * np.linalg.norm(plus)) & (w @ minus < 0))
    q = event_probability(c, event_correlation([0.5] * 4, [0.5] * 4, [0.8, -0.8] * 2))
    assert abs(met - q) < 4 * math.sqrt(q * (1 - q) / n)  # four standard errors


@pytest.mark.parametrize("c", [1.0, 4.0, 9.0])
def test_parallel_inputs_never_meet_the_event(c: float) -> None:
    """R207 (b): leaves in {0, 1} and equal polarities make u⁺ and u⁻ parallel, and v⁺ > 0 forces v⁻ > 0."""
    rng = np.random.default_rng(1)
    plus, minus = conditional_inputs([0.5] * 8, [0.5] * 8, 0.8)
    w = rng.uniform(-1, 1, (200_000, 8)) * math.sqrt(3 / 8)
    met = (w @ plus >= math.sqrt(c / 8) * np.linalg.norm(plus)) & (w @ minus < 0)
    assert not met.any()
    assert event_probability(c, event_correlation([0.5] * 8, [0.5] * 8, 0.8)) < 1e-8  # r = 1 but for rounding


def test_bounded_weights_cannot_be_in_the_printed_example() -> None:
    plus, _ = conditional_inputs([0.5, 0.5], [0.5, 0.5], 0.8)
    assert largest_event_size(plus) == pytest.approx(6.0, rel=1e-15)  # c = 9 with two children is impossible
    # (9) as printed asks for more at c = 64 than any weights give
    printed = 3 * np.mean(0.25 * ((64 + 6) / 6 * 0.8**2 - 1))
    # v⁺ is largest, and v⁻ too, with both weights at √(3/2); v is convex in w, so corners are the extremes
    f = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    laws = np.array([[0.81, 0.09, 0.09, 0.01], [0.01, 0.09, 0.09, 0.81]])
    corner = math.sqrt(1.5) * np.ones(2)
    active = np.maximum(f @ corner, 0) @ laws.T
    assert abs(active[1] ** 2 - active[0] ** 2) == pytest.approx(4.8, rel=1e-12)
    assert printed == pytest.approx(4.85, abs=5e-3)


# --- R208 ---------------------------------------------------------------------------------------------------


def test_eleven_nodes_are_enough_for_nineteen_times_in_twenty() -> None:
    assert nodes_needed() == nodes_needed(0.95) == 11
    assert nodes_needed(0.75, probability=0.5) == 2  # a whole number, which must not become three
    assert nodes_needed(0.5, probability=1.0) == 1
    assert (nodes_needed(0.0), nodes_needed(1e-9)) == (0, 1)
    assert nodes_needed(0.95, probability=1e-300) > 1e300


def test_the_best_of_several_nodes_is_lucky_as_often_as_said() -> None:
    """Half the median of |⟨w, a⟩| is reached by the best of n nodes with probability 1 − (3/4)ⁿ at least."""
    rng = np.random.default_rng(2)
    N, rho, trials = 4, np.array([0.8, -0.6, 0.7, 0.5]), 4000
    f = np.indices((2,) * N).reshape(N, -1).T.astype(float)
    laws = np.stack([np.prod((1 + side * rho * (2 * f - 1)) / 2, axis=1) for side in (-1, 1)])
    w = rng.uniform(-1, 1, (10 * trials, N)) * math.sqrt(3 / N)
    a = rho / 2
    q = float(np.median(np.abs(w @ a))) / 2
    reached = (np.abs(unit_selectivity(w, f, laws)) >= q).reshape(trials, 10)
    for n in (1, 2, 5, 10):
        share = np.mean(reached[:, :n].any(axis=1))
        least = 1 - 0.75**n
        assert share >= least - 4 * math.sqrt(least * (1 - least) / trials)
    assert lucky_probability_bound(q, w, a) == pytest.approx(0.25, abs=1e-4)
    squares = unit_selectivity(w, f, laws) ** 2
    error = np.std(squares) / math.sqrt(len(w))
    assert squares.mean() >= mean_square_bound(a) - 4 * error


def test_antithetic_weights_have_the_stated_law() -> None:
    w = antithetic_weights(np.random.default_rng(0), 20_000, 3, weight_std=2.0)
    np.testing.assert_array_equal(w[::2], -w[1::2])
    assert np.abs(w).max() <= 2.0
    # variance σ_w²/N, with the standard error of a uniform law's second moment, on half as many draws
    assert np.mean(w**2) == pytest.approx(4 / 3, rel=4 * math.sqrt(0.8 / 30_000))


# --- R209 ---------------------------------------------------------------------------------------------------


def test_an_update_does_nothing_where_nothing_is_known_of_the_root() -> None:
    w, a = np.array([1.0, -2.0]), np.array([0.3, 0.4])
    for path, root in ((0.0, 0.0), (1.0, 1.0), (1.0, -1.0)):
        np.testing.assert_array_equal(updated_weights(w, a, path, root, 1.0), w)


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: relu_jensen_bound(math.nan, 1.0), "`mean` must be finite, got nan"),
        (lambda: relu_jensen_bound(0.0, -1.0), "`variance` must be finite and >= 0, got -1.0"),
        (lambda: jensen_attaining_law(0.0, math.inf), "`variance` must be finite and >= 0, got inf"),
        (lambda: event_probability(-1.0, 0.5), "`c` must be finite and >= 0, got -1.0"),
        (lambda: event_probability(1.0, 1.1), "`r` must be >= 0 and <= 1, got 1.1"),
        (lambda: event_probability(1.0, math.nan), "`r` must be >= 0 and <= 1, got nan"),
        (lambda: polarity_threshold(math.inf), "`c` must be finite and >= 0, got inf"),
        (lambda: sensitivity_bound(-1, [0.5], [0.5]), "`c` must be finite and >= 0, got -1"),
        (lambda: event_correlation([0.5], [0.4], [0.5]), r"`mean` must be >= |selectivity|, got [0.4] with [0.5]"),
        (lambda: event_correlation([0.5], [0.5], [1.5]), r"`polarity` must be >= -1 and <= 1, got [1.5]"),
        (lambda: largest_event_size([0.0, 0.0]), "`inputs` must not be zero, got [0.0, 0.0]"),
        (lambda: selectivity_gap([1.0], [1.0], slope=2.0), "`slope` must be >= 0 and <= 1, got 2.0"),
        (lambda: lucky_probability_bound(math.nan, [[1.0]], [1.0]), "`q` must be >= 0, got nan"),
        (lambda: nodes_needed(1.0), "`confidence` must be in [0, 1), got 1.0"),
        (lambda: nodes_needed(probability=0.0), "`probability` must be > 0 and <= 1, got 0.0"),
        (lambda: antithetic_weights(np.random.default_rng(0), 3, 2), "`n_units` must be even and >= 2, got 3"),
        (lambda: updated_weights([1], [1], 1, 0, 1, branches="both"), "`branches` must be one or all, got 'both'"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == message


# --- mutants ------------------------------------------------------------------------------------------------


def root_of_variance(mean: Any, variance: Any) -> Any:
    """DD lemma 6."""
    return np.sqrt(variance)


def half_root(mean: Any, variance: Any) -> Any:
    """The best constant, without the mean."""
    return np.sqrt(variance) / 2


def even_law(mean: float, variance: float) -> TwoPointLaw:
    h = math.hypot(mean, math.sqrt(variance))
    return TwoPointLaw(np.array([-h, h]), np.array([0.5, 0.5]))


def exponential(c: float, r: float) -> float:
    """|N_μ| = O(e^c)."""
    return math.exp(-c)


def uncorrelated(c: float, r: float) -> float:
    """Half of the tail of v⁺."""
    return math.erfc(math.sqrt(c / 2)) / 4


def misread_tail(c: float, r: float) -> float:
    """√c/2 for √(c/2)."""
    return event_probability(c / 2, r)


def correlation_of_selectivities(selectivity: Any, mean: Any, polarity: Any) -> float:
    """‖a‖² added."""
    plus, minus = conditional_inputs(selectivity, mean, polarity)
    a = (plus - minus) / 2
    return float((np.dot(mean, mean) + a @ a) / np.linalg.norm(plus) / np.linalg.norm(minus))


def printed_bound(c: float, s: Any, rho: Any, *, weight_std: float = 1.0, noise: float = 0.0) -> float:
    """DD (9)."""
    s, rho = np.asarray(s), np.asarray(rho)
    return float(3 * weight_std**2 * np.mean(s**2 * ((c + 6) / 6 * rho**2 - 1) - noise))


def full_jensen(c: float, s: Any, rho: Any, *, weight_std: float = 1.0, noise: float = 0.0) -> float:
    """√V in place of ½√V."""
    s, rho = np.asarray(s), np.asarray(rho)
    return float(weight_std**2 * np.mean(s**2 * (c * (1 + rho**2) - 3 * (1 - rho**2)) - 3 * noise))


def as_many_as_exp(confidence: float = 0.95, *, probability: float = 0.25) -> int:
    return math.ceil(1 / probability)


def plain_gap(weights: Any, child_selectivity: Any, *, slope: float = 0.0) -> Any:
    """The identity of a plain rectifier for a leaky one."""
    return selectivity_gap(weights, child_selectivity)


def asymmetric(rng: np.random.Generator, n: int, fan_in: int, *, weight_std: float = 1.0) -> np.ndarray:
    return rng.uniform(-1, 2, (n, fan_in)) * weight_std * math.sqrt(4 / (3 * fan_in))


def leaky_bound(q: float, weights: Any, child_selectivity: Any, *, slope: float = 0.0) -> float:
    """Without ½."""
    return 2 * lucky_probability_bound(q, weights, child_selectivity, slope=slope)


def doubled_mean_square(a: Any, *, weight_std: float = 1.0, slope: float = 0.0) -> float:
    """½ for ¼."""
    return 2 * mean_square_bound(a, weight_std=weight_std, slope=slope)


def one_branch_always(w: Any, a: Any, path: float, root: float, step: float, *, branches: str) -> Any:
    return updated_weights(w, a, path, root, step)


def scanned_root(w: Any, a: Any, path: float, root: float, step: float, *, branches: str) -> Any:
    """DD theorem 6 as scanned: 1 − ρ_0 for 1 − ρ_0²."""
    count = 2 if branches == "all" else 1
    return np.asarray(w) + count * step * path**2 * (1 - root) * np.asarray(a) * np.dot(a, w)


def path_once(w: Any, a: Any, path: float, root: float, step: float, *, branches: str) -> Any:
    """ρ_0μ for its square."""
    return updated_weights(w, a, math.sqrt(abs(path)), root, step, branches=branches)


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R206", {"bound": root_of_variance}),
    ("R206", {"bound": half_root}),
    ("R206", {"law": even_law}),
    ("R207", {"probability": exponential}),
    ("R207", {"probability": uncorrelated}),
    ("R207", {"probability": misread_tail}),
    ("R207", {"correlation": correlation_of_selectivities}),
    ("R207", {"largest": lambda inputs: 3.0 * len(inputs)}),
    ("R207", {"bound": printed_bound}),
    ("R207", {"bound": full_jensen}),
    ("R207", {"needed": as_many_as_exp}),
    ("R208", {"gap": plain_gap}),
    ("R208", {"draw": asymmetric}),
    ("R208", {"chance": leaky_bound}),
    ("R208", {"mean_square": doubled_mean_square}),
    ("R208", {"needed": as_many_as_exp}),
    ("R208", {"selectivity": lambda *args, slope: unit_selectivity(*args, slope=0.5 * slope)}),
    ("R209", {"updated": one_branch_always}),
    ("R209", {"updated": scanned_root}),
    ("R209", {"updated": path_once}),
]


@pytest.mark.parametrize(
    ("name", "subjects"), MUTANTS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(MUTANTS)]
)
def test_trials_reject_false_statements(name: str, subjects: dict[str, Any]) -> None:
    assert check(RESULTS[name], n_trials=12, **subjects).verdict == "violated"


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)
