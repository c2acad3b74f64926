"""R113–R120 in the registry: each is told apart from a broken version of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.contrastive.infonce_points import critical_points, decoupled_spectrum
from analysis.contrastive.learned_subspaces import LEARNERS, compare
from analysis.results.contrastive import linear, mean_field, spectrum
from analysis.results.registry import check, collect
from dynamics.exact.contrastive import simple_encoder
from dynamics.exact.contrastive_growth import noiseless_growth, turning_factor
from dynamics.exact.infonce import (
    finite_negative_correction,
    one_negative_saturation,
    saturation,
    saturation_norm,
)
from dynamics.exact.one_negative import one_negative
from dynamics.exact.unit_outputs import equal_mode_cosine, second_mode_gain
from dynamics.fields.contrastive import simple_one_branch_field
from dynamics.fields.infonce import infonce_mean_field, infonce_mean_loss, output_moments
from dynamics.fields.matrices import no_predictor_field

RESULTS = collect((linear, mean_field, spectrum))


def without_half_log_det(W: Any, system: Any, tau: float) -> Any:
    S, _ = output_moments(W, system)
    xp = S.__array_namespace__()
    return infonce_mean_loss(W, system, tau) - xp.linalg.slogdet(xp.eye(len(S)) + S / tau)[1] / 2


def without_half_trace(W: Any, system: Any, tau: float) -> Any:
    S, _ = output_moments(W, system)
    xp = S.__array_namespace__()
    return (
        infonce_mean_loss(W, system, tau) - xp.linalg.trace(S @ xp.linalg.inv(tau * xp.eye(len(S)) + S)) / 2
    )


def top_of_sigma_d(system: Any, n2: int, tau: float, *rest: Any) -> Any:
    """Claims that the top eigenvectors of Σd are the stable set."""
    points = critical_points(system, n2, tau, *rest)
    weights = [np.trace(p.online @ system.sigma_d @ p.online.T) for p in points]
    wrong = int(np.argsort(weights)[0])
    return [replace(p, stability="stable" if k == wrong else "saddle") for k, p in enumerate(points)]


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R113", {"encoder": lambda t, W, system, branches: simple_encoder(t, W, system, branches=3 - branches)}),
    ("R113", {"factor": lambda e, a, b, branches: turning_factor(2 * e, a, b, branches=branches)}),
    ("R113", {"learned": LEARNERS["preserved-pca"]}),
    ("R114", {"saturated": lambda r: 2 * r / ((1 - r) * (1 + r))}),
    ("R114", {"saturated": lambda r: 2 * r / ((1 - r) * (3 - r))}),
    ("R114", {"saturated": saturation}),
    ("R114", {"loss": lambda S, D, tau: one_negative(S, D, 1.001 * tau)}),
    ("R114", {"points": lambda system, n2, tau, H: critical_points(system, n2, tau)}),
    ("R114", {"noiseless": lambda t, ls, tau: noiseless_growth(2 * t, ls, tau)}),
    ("R115", {"loss": without_half_log_det}),
    ("R115", {"loss": without_half_trace}),
    ("R115", {"field": lambda t, W, system, tau: infonce_mean_field(t, W, system, tau) / 2}),
    ("R115", {"exponent": lambda depth: -1 / 2}),
    ("R116", {"saturated": lambda r: 2 / (np.sqrt(1 + 8 * r) - 1) - 1}),
    ("R116", {"points": top_of_sigma_d}),
    ("R116", {"least": lambda r: -saturation(r) / 2}),
    ("R117", {"spectrum": lambda point, system, tau: decoupled_spectrum(point, system, 2 * tau)}),
    ("R117", {"jacobian": lambda W, system, tau: np.zeros((W.size, W.size))}),
    ("R118", {"correction": lambda S, D, tau, **which: 1.01 * finite_negative_correction(S, D, tau, **which)}),
    (
        "R118",
        {"correction": lambda S, D, tau, **_: finite_negative_correction(S, D, tau, positive_in_denominator=False)},
    ),
    ("R119", {"simple": simple_one_branch_field}),
    ("R119", {"norm": lambda r, tau, weight_decay, lambda_s: saturation_norm(
        r, tau, weight_decay=2 * weight_decay, lambda_s=lambda_s)}),
    ("R120", {"many": lambda t, W, system, tau: infonce_mean_field(t, W, system, tau) - 0.1 * W}),
    ("R120", {"compared": lambda system, n2, names: compare(
        replace(system, sigma_d=system.sigma_d[::-1] / 20), n2, names)}),
    ("R120", {"equal": lambda k, r: equal_mode_cosine(k + 1, r)}),
    ("R120", {"gain": lambda q, ratios: 2 * second_mode_gain(q, ratios)}),
    ("R120", {"one": infonce_mean_field}),
    ("R120", {"byol": no_predictor_field}),
]  # fmt: skip


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS) == {f"R{k}" for k in range(113, 121)}


@pytest.mark.parametrize(("name", "subjects"), MUTANTS, ids=[f"{n}-{next(iter(s))}" for n, s in MUTANTS])
def test_mutant_is_violated(name: str, subjects: dict[str, Any]) -> None:
    assert check(RESULTS[name], n_trials=3, **subjects).verdict == "violated"


def test_numbers_of_the_theory() -> None:
    np.testing.assert_allclose(
        one_negative_saturation([0.3, 0.5, 0.7, 0.9]), [0.2597403, 0.5714286, 1.2612613, 4.6153846], atol=5e-8
    )
    np.testing.assert_allclose(saturation([0.5, 0.9]), [0.618034, 4.854102], atol=5e-7)
