"""R210–R212: numbers, limits and refusals; each result is told apart from a broken version of itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.results.registry import Measurement, Result, check, collect
from analysis.results.trees import layer_law
from analysis.trees.ceilings import bayes_ceiling
from analysis.trees.layer_law import (
    balance_rates,
    layer_rates,
    linear_tree_blow_up,
    linear_tree_gain,
    norm_increments,
    unit_balance,
)

RESULTS = collect((layer_law,))


@pytest.mark.parametrize("result", RESULTS.values(), ids=list(RESULTS))
def test_one_seed_one_measurement(result: Result) -> None:
    first, second = (result.trial(np.random.default_rng(7)) for _ in range(2))
    assert isinstance(first, Measurement)
    assert first == second


def test_the_blow_up_time_is_that_of_the_table() -> None:
    assert linear_tree_blow_up(2, [0.9, 0.7, 0.8], 0.8) == pytest.approx(6.151187327, abs=5e-10)
    # of the product of the gains alone the order of the levels does not matter
    assert linear_tree_gain(2, [0.8, 0.9, 0.7]) == pytest.approx(
        linear_tree_gain(2, [0.9, 0.7, 0.8]), rel=1e-15
    )


def test_the_blow_up_time_has_its_limits() -> None:
    assert linear_tree_blow_up(2, [0.9], 0.8) == math.inf  # exponential growth
    assert linear_tree_blow_up(2, [0.9, 0.0], 0.8) == math.inf
    assert linear_tree_blow_up(2, [0.9, 0.5], 0.8, root_polarity=-1.0) == math.inf
    assert linear_tree_blow_up(2, [0.9, 0.5, 0.5], 1e-200) == math.inf  # overflows
    # t* is of degree 1 − L in q
    times = [linear_tree_blow_up(3, [0.9, 0.5, 0.7], q) for q in (1e-60, 1e-40)]
    assert times[0] / times[1] == pytest.approx(1e40, rel=1e-14)


def test_what_is_conserved_is_the_integral_of_its_rate() -> None:
    rng = np.random.default_rng(0)
    shapes = [(1, 2, 4), (2, 2, 4), (4, 2, 2)]
    W, g = ([rng.standard_normal(shape) for shape in shapes] for _ in range(2))
    h = 1e-3
    after, before = (unit_balance([w - s * h * x for w, x in zip(W, g, strict=True)]) for s in (1, -1))
    for high, low, rate in zip(after, before, balance_rates(W, g), strict=True):
        # a central difference of squares is exact but for rounding
        np.testing.assert_allclose((high - low) / (2 * h), rate, atol=1e-11)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear_tree_gain(0, [0.5]), "`branching` must be >= 1, got 0"),
        (lambda: linear_tree_gain(2, [1.5]), "`polarities` must be >= -1 and <= 1, got [1.5]"),
        (lambda: linear_tree_blow_up(2, [0.5], 0.0), "`squared_weight` must be finite and > 0, got 0.0"),
        (lambda: linear_tree_blow_up(2, [0.5], math.nan), "`squared_weight` must be finite and > 0, got nan"),
        (
            lambda: linear_tree_blow_up(2, [0.5], 1.0, root_polarity=2),
            "`root_polarity` must be >= -1 and <= 1, got 2",
        ),
        (
            lambda: linear_tree_blow_up(2, [0.5, 0.5], 1.0, branches="both"),
            "`branches` must be one or all, got 'both'",
        ),
    ],
)
def test_nonsense_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == message


# --- mutants ------------------------------------------------------------------------------------------------


def _with_hidden(change: Callable[[Any], Any]) -> Callable[..., Any]:
    """Outputs of networks whose lowest layer passes through a change before its rectifier."""

    def outputs(settings: Any, weights: Any, leaves: Any) -> Any:
        import jax
        import jax.numpy as jnp

        from dynamics.training.tree_networks import tree_outputs

        *above, lowest = weights
        pairs = jnp.swapaxes(leaves.reshape(len(lowest), -1, leaves.shape[1]), 1, 2)
        h = jax.nn.relu(change(pairs @ jnp.swapaxes(lowest, 1, 2)))
        # an identity in place of the layer that was changed: units become leaves, and ψ(ψ(x)) = ψ(x)
        latents, n, units = h.shape
        shown = jnp.swapaxes(h, 1, 2).reshape(latents * units, n)
        same = jnp.broadcast_to(jnp.eye(units), (latents, units, units))
        return tree_outputs(settings, (*above, same), shown)

    return outputs


def _standardised(x: Any) -> Any:
    return (x - x.mean(axis=1, keepdims=True)) / (1e-3 + x.std(axis=1, keepdims=True))


biased = _with_hidden(lambda x: x + 0.3)
batch_normalised = _with_hidden(_standardised)


def saturating(settings: Any, weights: Any, leaves: Any) -> Any:
    """Outputs that are not homogeneous."""
    import jax.numpy as jnp

    from dynamics.training.tree_networks import tree_outputs

    return jnp.tanh(tree_outputs(settings, weights, leaves))


def unmatched(weights: Any, gradients: Any) -> list[np.ndarray]:
    """Units as if fan-in and fan-out were of one size: what enters counts once more."""
    return [
        rate - 2 * np.sum(w * g, axis=2)
        for rate, w, g in zip(balance_rates(weights, gradients), weights[1:], gradients[1:], strict=True)
    ]


def conserved(step: float, gradients: Any) -> np.ndarray:
    """‖W_l‖² conserved by SGD."""
    return 0 * norm_increments(step, gradients)


def _changed_time(factor: Callable[[int, Any, float], float]) -> Callable[..., float]:
    def blow_up(b: int, rho: Any, q0: float, **options: Any) -> float:
        return linear_tree_blow_up(b, rho, q0, **options) * factor(b, rho, q0)

    return blow_up


def without_root(b: int, rho: Any, q0: float, *, root_polarity: float, **options: Any) -> float:
    return linear_tree_blow_up(b, rho, q0, **options)


def _other_measure(change: Callable[[list[Any], Any], list[Any]]) -> Callable[..., Any]:
    """Records of a level, changed."""

    def measure(settings: Any, weights: Any, states: Any, root_mean: float) -> Any:
        from dynamics.training.tree_networks import measure_levels

        levels = measure_levels(settings, weights, states, root_mean)
        return [change(list(level), layer) for level, layer in zip(levels, weights, strict=True)]

    return measure


def _own_scale(level: list[Any], layer: Any) -> list[Any]:
    """‖OP‖ as if its own layer counted."""
    return [level[0], level[1] * (layer**2).sum(), *level[2:]]


def measured_on_other_values(settings: Any, weights: Any, states: Any, root_mean: float) -> Any:
    """Leaves as if they were −1 and 1."""
    from dynamics.training.tree_networks import measure_levels

    return measure_levels(replace(settings, leaf_values=(-1.0, 1.0)), weights, states, root_mean)


def half_weighted(settings: Any, weights: Any, states: Any, root_mean: float) -> Any:
    """Roots as if they were equally likely."""
    from dynamics.training.tree_networks import measure_levels

    return measure_levels(settings, weights, states, 0.5)


def large_floor(settings: Any, weights: Any, leaves: Any) -> Any:
    """A normaliser that short outputs feel."""
    from dynamics.training.tree_networks import tree_outputs

    return tree_outputs(replace(settings, floor=1.0), weights, leaves)


def no_path(tree: Any, node: int, a: Any) -> np.ndarray:
    """Theorem 6 without ρ_0μ²."""
    return np.outer(a, a) * 4 * np.prod(tree.root_law)


def squared_ceiling(tree: Any) -> Any:
    """c for √c."""
    found = bayes_ceiling(tree)
    return found._replace(correlation=found.correlation**2)


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R210", {"outputs": biased}),
    ("R210", {"outputs": batch_normalised}),
    ("R210", {"outputs": saturating}),
    ("R210", {"balance": unmatched}),
    ("R210", {"rates": lambda weights, by: layer_rates(weights, by) * [1, 1, 1 + 1e-6]}),
    ("R210", {"rates": lambda weights, by: layer_rates(weights, by) / 2}),
    ("R210", {"increments": conserved}),
    ("R210", {"increments": lambda step, by: norm_increments(step, by) / step}),
    ("R210", {"blow_up": _changed_time(lambda b, rho, q0: q0)}),
    ("R210", {"blow_up": _changed_time(lambda b, rho, q0: len(rho) - 1 + 1e-6)}),
    ("R210", {"blow_up": without_root}),
    ("R211", {"measure": _other_measure(_own_scale)}),
    ("R211", {"measure": _other_measure(lambda level, W: [level[0], level[1], level[1], level[3]])}),
    ("R211", {"measure": _other_measure(lambda level, W: [*level[:3], level[3] * (W**2).mean()])}),
    ("R211", {"measure": measured_on_other_values}),
    ("R211", {"measure": half_weighted}),
    ("R211", {"covariance": no_path}),
    ("R211", {"outputs": large_floor}),
    ("R212", {"measure": _other_measure(lambda level, W: [level[0] ** 2, *level[1:]])}),
    ("R212", {"measure": _other_measure(lambda level, W: [level[0] * abs(W).mean(), *level[1:]])}),
    ("R212", {"measure": half_weighted}),
    ("R212", {"ceiling": squared_ceiling}),
]


@pytest.mark.parametrize(
    ("name", "subjects"), MUTANTS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(MUTANTS)]
)
def test_trials_reject_false_statements(name: str, subjects: dict[str, Any]) -> None:
    assert check(RESULTS[name], n_trials=12, **subjects).verdict == "violated"


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)
