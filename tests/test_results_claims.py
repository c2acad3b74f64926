"""R333–R336 in the registry: each is told apart from broken versions of itself, and its numbers are those derived."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.objectives.circle import (
    circle_density,
    circle_entropy,
    circle_projection,
    circle_uniformity,
    line_uniformity,
    sample_uniformity,
    sphere_uniformity,
    wrapped_kde,
)
from analysis.objectives.claims import collapse_share, no_stop_gradient_rate
from analysis.results.objectives import claims
from analysis.results.registry import check, collect
from dynamics.system import MatrixSystem

RESULTS = collect((claims,))


def _von_mises(phi: Any, b: Any) -> Any:
    """The von Mises law of two peaks with the same first moment of the doubled angle."""
    from scipy.special import i0

    kappa = 2 * (1 - b) / (1 + b)
    return np.exp(kappa * np.cos(2 * np.asarray(phi))) / (2 * np.pi * i0(kappa))


def _gap(system: MatrixSystem) -> float:
    s, d = (np.diag(x) if x.ndim == 1 else x for x in (system.sigma_s, system.sigma_d))
    return float(np.linalg.eigvalsh(s - d)[0])


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R333", {"zeros": lambda n2: 0}),
    ("R333", {"zeros": lambda n2: n2 * (n2 + 1) // 2 + 1}),
    ("R333", {"share": lambda r, scale: 0.5 * collapse_share(r, scale)}),
    ("R333", {"share": lambda r, scale: collapse_share(2 * r, scale)}),
    ("R334", {"rate": _gap}),
    ("R334", {"rate": lambda system: 2 * no_stop_gradient_rate(system)}),
    ("R335", {"density": _von_mises}),
    ("R335", {"density": lambda phi, b: circle_density(phi, b * b)}),
    ("R335", {"entropy": lambda b: circle_entropy(b * b)}),
    ("R335", {"uniformity": lambda b: circle_uniformity(b * b)}),
    ("R336", {"floor": lambda share: 0.0}),
    ("R336", {"uniformity": lambda b: circle_uniformity(b) + 0.01}),
]


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)


@pytest.mark.parametrize(
    ("name", "subjects"), MUTANTS, ids=[f"{n}-{next(iter(s))}-{k}" for k, (n, s) in enumerate(MUTANTS)]
)
def test_mutant_is_violated(name: str, subjects: dict[str, Any]) -> None:
    assert check(RESULTS[name], **subjects).verdict == "violated"


def test_mutated_proof_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_least", lambda s, r: s - r * s)
    proof = RESULTS["R334"].proof
    assert proof is not None
    assert proof() is False


def test_numbers_of_the_circle() -> None:
    said = (-1.5750, -1.4533, -0.9429, -0.7210, -0.6928)
    assert_allclose(circle_uniformity([1.0, 0.5, 0.1, 0.01, 0.0]), said, atol=5e-5)
    assert_allclose(circle_entropy(1.0), np.log(2 * np.pi), rtol=1e-15)
    assert circle_entropy(0.0) == -np.inf
    assert_allclose(sphere_uniformity(2), circle_uniformity(1.0), rtol=1e-14)
    assert_allclose(circle_uniformity(1e-300), line_uniformity(0.5), rtol=1e-14)
    assert_allclose(line_uniformity(1e-300), -2e-300, rtol=1e-3)


def test_gaussian_samples_follow_the_law_of_the_circle() -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((4000, 2)) * [1.0, 0.3]
    angles, b = circle_projection(z @ np.linalg.qr(rng.standard_normal((5, 5)))[0][:2])
    assert_allclose(b, 0.3, rtol=5 / np.sqrt(4000))  # five errors of a ratio of deviations
    # uniformity is a mean over 8e6 pairs, whose error is that of 4,000 points
    unit = np.column_stack([np.cos(angles), np.sin(angles)])
    assert_allclose(sample_uniformity(unit), circle_uniformity(b), atol=5 / np.sqrt(4000))
    # counts of 12 bins
    edges = np.linspace(-np.pi, np.pi, 13)
    grid = np.linspace(-np.pi, np.pi, 12 * 200, endpoint=False) + np.pi / 2400
    mass = circle_density(grid, b).reshape(12, 200).mean(axis=1) * 2 * np.pi / 12
    counts = np.histogram(angles, edges)[0]
    assert np.sum((counts - 4000 * mass) ** 2 / (4000 * mass)) < 45  # χ² of 11, at 1e-5


def test_the_kernel_estimate_is_a_density_that_wraps() -> None:
    phi = np.linspace(-np.pi, np.pi, 400, endpoint=False)
    f = wrapped_kde(phi, [np.pi - 0.01, 0.4], 0.15)
    assert_allclose(np.sum(f) * 2 * np.pi / 400, 1.0, rtol=1e-12)
    across = wrapped_kde([-np.pi, np.pi], [np.pi - 0.01], 0.15)
    assert_allclose(across[0], across[1], rtol=1e-9)
    assert_allclose(wrapped_kde([0.3], [0.3], 0.15), 1 / np.sqrt(2 * np.pi) / 0.15, rtol=1e-12)


@pytest.mark.parametrize(
    ("scale", "said"), [(1.0, (0.4769, 0.4367, 0.3674)), (0.1, (0.8625, 0.7730, 0.6513))]
)
def test_numbers_of_the_share_of_collapse(scale: float, said: tuple[float, ...]) -> None:
    found = [collapse_share(r, scale) for r in (0.25, 0.5, 0.9)]
    assert_allclose(found, said, atol=2.5 * 0.5 / 2000)  # of 4e6 draws, whose error is at most 0.00025
    # second method: the plane of starts in polar coordinates, whose radius is exact
    for r, value in zip((0.25, 0.5, 0.9), found, strict=True):
        # w1 = σ ρ sin a, w2 = ρ cos a: collapse for cos a > σ|sin a| and ρ² (cos²a − σ² sin²a) >= r²
        edge = np.arctan(1 / scale)
        a = (np.arange(200_000) + 0.5) / 200_000 * edge
        room = np.cos(a) ** 2 - (scale * np.sin(a)) ** 2
        second = np.mean(np.exp(-(r**2) / (2 * room))) * edge / np.pi
        assert_allclose(value, edge / np.pi + second, rtol=1e-6)  # the midpoint rule with 2e5 points


def test_refusals() -> None:
    for call, message in (
        (lambda: circle_density(0.0, 0.0), "`b` must be > 0 for a density, got 0"),
        (lambda: circle_entropy(1.5), "`b` must be from 0 to 1, got 1.5"),
        (lambda: circle_projection([[1.0, 2.0]]), "`features` must have shape"),
        (lambda: circle_projection([[1.0, 2.0], [1.0, 2.0]]), "not all the same"),
        (lambda: wrapped_kde([0.0], [0.0], 0.0), "`bandwidth` must be finite and >= 0.01"),
        (lambda: line_uniformity(2.0), "`share` must be from 0 to 1"),
        (lambda: sphere_uniformity(1), "`d` must be an integer >= 2"),
        (lambda: collapse_share(0.0), "`ratio` must be finite and > 0"),
        (lambda: no_stop_gradient_rate(MatrixSystem([1.0, 0.0], [0.5, 0.0])), "`sigma_s` must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
