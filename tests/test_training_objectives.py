"""Objectives against sums over samples written out; tangential gradients (R27), bounds (R23), contrast (R30)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from dynamics.training import ObjectiveSettings
from dynamics.training.objectives import TANGENTIAL_FLOOR, loss, unit, views_needed

WEIGHTS = {"alpha": 0.7, "beta": 1.9, "temperature": 0.4, "margin": 0.3}
N, D = 6, 3
RNG = np.random.default_rng(0)
Q, T = RNG.standard_normal((2, N, D)), RNG.standard_normal((2, N, D))


def settings_of(kind: str, **options: Any) -> ObjectiveSettings:
    own = {
        "byol-prime": ("alpha", "beta"),
        "raft": ("alpha", "beta"),
        "infonce": ("temperature",),
        "triplet": ("temperature", "margin"),
    }
    return ObjectiveSettings(kind=kind, **{name: WEIGHTS[name] for name in own.get(kind, ())}, **options)


def value_of(settings: ObjectiveSettings, q: Any = Q, t: Any = T) -> float:
    seen, aimed = views_needed(settings)
    return float(loss(settings, WEIGHTS, jnp.asarray(q[list(seen)]), jnp.asarray(t[list(aimed)])).value)


def squared(a: np.ndarray, b: np.ndarray, normalize: bool) -> float:
    if normalize:
        a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return float(np.sum((a - b) ** 2))


def expected(kind: str, symmetric: bool, normalize: bool) -> float:
    """Objectives sample by sample, as the settings' docstring prints them."""

    def d(a: np.ndarray, b: np.ndarray) -> float:
        return squared(a, b, normalize)

    total = 0.0
    for i in range(N):
        (q1, q2), (t1, t2) = Q[:, i], T[:, i]
        align, cross = d(q1, q2), d(q2, t2)
        if symmetric:
            cross = (d(q1, t1) + d(q2, t2)) / 2
        if kind == "byol":
            total += d(q1, t2) + (d(q2, t1) if symmetric else 0)
        elif kind in ("byol-prime", "raft"):
            sign = 1 if kind == "byol-prime" else -1
            total += WEIGHTS["alpha"] * align + sign * WEIGHTS["beta"] * cross
        else:
            total += contrast(kind, i, Q[0], Q[1], d) + (contrast(kind, i, Q[1], Q[0], d) if symmetric else 0)
    return total / N


def contrast(kind: str, i: int, z1: np.ndarray, z2: np.ndarray, d: Any) -> float:
    positive = d(z1[i], z2[i]) / 2
    negative = [d(z1[i], z2[k]) / 2 for k in range(N) if k != i]
    tau, margin = WEIGHTS["temperature"], WEIGHTS["margin"]
    if kind == "simple":
        return positive - float(np.mean(negative))
    if kind == "triplet":
        return float(np.mean([tau * np.log(1 + np.exp((positive - r + margin) / tau)) for r in negative]))
    top = np.exp(-positive / tau)
    return float(-np.log(top / (top + np.sum(np.exp(-np.array(negative) / tau)))))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", ["byol", "byol-prime", "raft", "simple", "triplet", "infonce"])
def test_objectives_are_what_is_printed(kind: str, symmetric: bool, normalize: bool) -> None:
    settings = settings_of(kind, symmetric=symmetric, normalize=normalize)
    assert value_of(settings) == pytest.approx(expected(kind, symmetric, normalize), rel=1e-12)


def test_halved_objectives_are_half() -> None:
    assert value_of(settings_of("byol", halved=True)) == pytest.approx(
        value_of(settings_of("byol")) / 2, rel=1e-14
    )


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_byol_prime_bounds_byol(symmetric: bool, normalize: bool) -> None:
    # R23 bounds ‖q1 − t2‖²; the symmetric loss adds a second such term, bounded by the exchanged cross-model loss
    alpha, beta = WEIGHTS["alpha"], WEIGHTS["beta"]
    bound = (1 / alpha + 1 / beta) * value_of(
        settings_of("byol-prime", symmetric=symmetric, normalize=normalize)
    )
    byol = value_of(settings_of("byol", symmetric=symmetric, normalize=normalize))
    assert byol <= (2 if symmetric else 1) * bound


def gradient(settings: ObjectiveSettings, q: Any, t: Any) -> np.ndarray:
    return np.asarray(jax.grad(lambda x: loss(settings, WEIGHTS, x, jnp.asarray(t)).value)(jnp.asarray(q)))


@pytest.mark.parametrize("kind", ["byol", "byol-prime", "raft"])
def test_the_tangential_loss_has_the_gradient_of_the_normalised_one(kind: str) -> None:
    # gradients pass through the norm, which leaves their tangential part alone; close pairs keep λ above the floor
    q = Q[:1] + 0.1 * RNG.standard_normal((2, N, D))
    t = q + 0.1 * RNG.standard_normal((2, N, D))
    plain, tangential = (settings_of(kind, normalize=True, tangential=flag) for flag in (False, True))
    assert int(loss(tangential, WEIGHTS, jnp.asarray(q), jnp.asarray(t)).clipped) == 0
    assert_allclose(gradient(tangential, q, t), gradient(plain, q, t), rtol=1e-11, atol=1e-14)


def test_the_tangential_gradient_on_the_sphere() -> None:
    # R27: ∇_z ‖t − λ z‖²/λ = −2(t − ⟨z, t⟩ z), before the norm is differentiated
    z, t = np.asarray(unit(jnp.asarray(Q[0]))), np.asarray(unit(jnp.asarray(Q[0] + 0.3 * T[0])))
    settings = settings_of("byol", symmetric=False, normalize=True, tangential=True)
    wanted = -2 * (t - np.sum(z * t, -1, keepdims=True) * z) / N
    # the norm's derivative at a unit vector projects on the tangent, where this already lies
    assert_allclose(gradient(settings, z[None], t[None])[0], wanted, rtol=1e-10, atol=1e-13)


def test_opposite_pairs_are_clipped_and_counted() -> None:
    q = np.stack([Q[0], Q[0]])
    t = np.stack([Q[0], -Q[0]])
    settings = settings_of("byol", normalize=True, tangential=True)
    found = loss(settings, WEIGHTS, jnp.asarray(q), jnp.asarray(t))
    assert int(found.clipped) == N
    # λ at its floor, ⟨z, t⟩ = −1: ‖t − λz‖²/λ = (1 + λ)²/λ; the other view has λ = 1 and no loss
    assert float(found.value) == pytest.approx((1 + TANGENTIAL_FLOOR) ** 2 / TANGENTIAL_FLOOR, rel=1e-12)


def test_features_of_length_zero_have_no_direction_and_finite_gradients() -> None:
    settings = settings_of("byol", normalize=True)
    assert np.all(np.isfinite(gradient(settings, np.zeros((2, N, D)), T)))


def test_the_simple_contrast_moves_linear_features_along_the_covariance_of_averaged_views() -> None:
    # R30: −∇ = 2 W V a direction of view; over all pairs of different samples V is an unbiased covariance, written out
    W = RNG.standard_normal((2, D))
    x1, x2 = Q + 0.0

    def value(w: Any) -> Any:
        return loss(
            settings_of("simple", symmetric=False), WEIGHTS, jnp.asarray(Q) @ w.T, jnp.zeros((0,))
        ).value

    positive = (x1 - x2).T @ (x1 - x2) / N
    negative = sum(np.outer(a - b, a - b) for i, a in enumerate(x1) for k, b in enumerate(x2) if i != k)
    assert_allclose(
        np.asarray(jax.grad(value)(jnp.asarray(W))), W @ (positive - negative / (N * (N - 1))), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "dino"}, r"`objective.kind` must be one of byol, .*, got 'dino'"),
        (
            {"alpha": 2.0},
            "`objective.alpha` must be left out unless the objective is byol-prime or raft, got byol",
        ),
        ({"kind": "raft", "beta": -1.0}, r"`objective.beta` must be finite and >= 0, got -1.0"),
        ({"kind": "infonce", "temperature": 0.0}, r"`objective.temperature` must be finite and > 0, got 0.0"),
        ({"tangential": True}, "`objective.tangential` must go with `normalize`"),
        ({"symmetric": 1}, "`objective.symmetric` must be true or false, got 1"),
    ],
)
def test_objectives_refuse_nonsense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectiveSettings(**options)
