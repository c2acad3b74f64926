"""R223–R227 in the registry: each is told apart from a broken version of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.fates.restarts import collapse_fraction
from analysis.results.registry import check, collect
from analysis.results.trees import restarts
from dynamics.exact.ema_recurrence import CriticalDamping, EmaRates, critical_damping, ema_solution
from dynamics.exact.restarts import RestartLaw, restart_map
from dynamics.fields.matrices import no_predictor_field
from dynamics.fields.modes import fixed_target_mode_field

RESULTS = collect((restarts,))


def printed_sign(steps: Any, w: float, v: float, alpha: float, eta: float, gain: float) -> Any:
    """1 − λ for 1 + λ (E3)."""
    return ema_solution(steps, w, v, alpha, eta, -gain)


def target_from_zero(steps: Any, w: float, v: float, alpha: float, eta: float, gain: float) -> Any:
    """The source's start of the target (E28)."""
    return ema_solution(steps, w, 0.0, alpha, eta, gain)


def upper_bound(alpha: Any, eta: Any, gain: Any) -> EmaRates:
    """κ+ = b."""
    b = np.asarray(alpha * eta * gain / (alpha + eta), dtype=complex)
    return EmaRates(b, -(alpha + eta) - b)


def at_the_other_edge(alpha: float, m: float) -> CriticalDamping:
    """The other double root, α(√(1 + m) − √m)²."""
    found = critical_damping(alpha, m)
    return found._replace(target_rate=found.spirals[0])


def symmetric_edges(x: Any, p: Any, r: Any) -> Any:
    """Fate by p² >= x for p > 0, too."""
    return np.where(np.asarray(p) ** 2 < x, restart_map(x, p, r), 0.0)


def without_ratio(x: Any, p: Any, r: Any) -> Any:
    """Forgets r²."""
    return np.where(restart_map(x, p, r) > 0, x - np.asarray(p) ** 2, 0.0)


def one_step_late(x: float, r: float, law: RestartLaw, k: int) -> float:
    return collapse_fraction(x, r, law, k - 1)


def symmetric_fraction(x: float, r: float, law: RestartLaw, k: int) -> float:
    """2 P(p <= −√x): the edge −√x on both sides."""
    return min(1.0, 2 * float(law.cdf(-np.sqrt(x)))) + collapse_fraction(x, r, law, k) * 0


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R223", {"solution": printed_sign}),
    ("R223", {"solution": target_from_zero}),
    ("R223", {"rates": upper_bound}),
    ("R223", {"damping": at_the_other_edge}),
    ("R224", {"field": fixed_target_mode_field}),
    ("R225", {"restarted": symmetric_edges}),
    ("R225", {"restarted": without_ratio}),
    ("R226", {"fraction": one_step_late}),
    ("R226", {"fraction": symmetric_fraction}),
    ("R226", {"survives": lambda r, law: law.scale < r}),
    ("R227", {"field": no_predictor_field}),
    ("R227", {"gain": lambda tp, rest, fresh: tp * (np.sum(rest**2) - np.sum(fresh))}),
    ("R227", {"gain": lambda tp, rest, fresh: np.sum(rest**2) - np.sum(fresh**2)}),
]


@pytest.mark.parametrize(
    ("name", "broken"), MUTANTS, ids=[f"{name}-{k}" for k, (name, _) in enumerate(MUTANTS)]
)
def test_a_broken_version_is_caught(name: str, broken: dict[str, Any]) -> None:
    assert check(RESULTS[name], n_trials=6, **broken).verdict == "violated"


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)
