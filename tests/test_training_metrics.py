"""Metrics against NumPy, SciPy and scikit-learn."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import pdist
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge

from analysis.runs.alignment import align
from dynamics.fields.matrices import full_field
from dynamics.integration.integrate import integrate
from dynamics.states import random_state
from dynamics.system import MatrixSystem
from dynamics.training.metrics import (
    RIDGE,
    alignment,
    entropy_rank,
    feature_metrics,
    on_host,
    predictor_metrics,
    probe_accuracy,
    tree_norm,
    uniformity,
)

RNG = np.random.default_rng(2)


def test_alignment_and_uniformity_are_those_of_their_authors() -> None:
    f, g = RNG.standard_normal((2, 30, 4))
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (f, g))
    assert float(alignment(jnp.asarray(f), jnp.asarray(g))) == pytest.approx(
        np.mean(np.linalg.norm(u - v, axis=1) ** 2), rel=1e-12
    )
    # Wang and Isola: log of the mean over pairs of exp(−t d²)
    wanted = np.log(np.mean(np.exp(-2 * pdist(u) ** 2)))
    assert float(uniformity(jnp.asarray(f))) == pytest.approx(wanted, rel=1e-12)


def test_ranks_are_exponentials_of_entropies() -> None:
    z = RNG.standard_normal((50, 6)) * [5, 3, 1, 0.5, 0.1, 0]
    found = feature_metrics(jnp.asarray(z))
    singular = np.linalg.svd(z, compute_uv=False)
    p, q = singular**2 / np.sum(singular**2), singular / np.sum(singular)
    assert_allclose(found["feature_eigenvalues"], singular**2 / 50, rtol=1e-10, atol=1e-13)
    assert_allclose(found["feature_std"], z.std(0), rtol=1e-12, atol=1e-14)
    entropies = [-np.sum(w[:5] * np.log(w[:5])) for w in (p, q)]
    # the sixth singular value is a root of rounding: √(50 ε)·5 at most, against 1e-7 in the entropy of q
    assert float(found["effective_rank"]) == pytest.approx(np.exp(entropies[0]), rel=1e-10)
    assert float(found["rankme"]) == pytest.approx(np.exp(entropies[1]), rel=1e-5)


@pytest.mark.parametrize("rank", [1, 4])
def test_the_rank_of_equal_directions_is_their_number(rank: int) -> None:
    assert float(entropy_rank(jnp.array([3.0] * rank + [0.0]))) == pytest.approx(rank, rel=1e-12)


def test_features_that_are_zero_have_rank_zero() -> None:
    found = feature_metrics(jnp.zeros((5, 3)))
    assert (float(found["effective_rank"]), float(found["rankme"])) == (0, 0)


def test_predictor_metrics_are_those_of_the_flow() -> None:
    system = MatrixSystem(np.eye(4), np.diag([0.9, 0.5, 0.3, 0.2]))
    start = random_state(4, 3, scale_online=1.0, scale_predictor=1.0, seed=3)
    run = integrate(start, system, full_field, 0.1)
    seen = align(run, system, full_field)
    W, P = start.online, start.predictor
    found = predictor_metrics(jnp.asarray(W @ W.T), jnp.asarray(P))
    assert float(found["commutator"]) == pytest.approx(seen.commutator[0], rel=1e-12)
    assert float(found["predictor_symmetry"]) == pytest.approx(seen.symmetry[0], rel=1e-12)
    assert_allclose(found["overlap"], seen.overlap[0], rtol=1e-10)
    relative = seen.commutator[0] / np.linalg.norm(W @ W.T) / np.linalg.norm(P)
    assert float(found["relative_commutator"]) == pytest.approx(relative, rel=1e-12)


def test_what_a_predictor_or_features_of_zero_leave_open_is_not_a_number() -> None:
    found = predictor_metrics(jnp.eye(3), jnp.zeros((3, 3)))
    assert np.all(np.isnan([found["predictor_symmetry"], found["relative_commutator"]]))
    assert np.all(np.isnan(found["overlap"]))
    found = predictor_metrics(jnp.zeros((3, 3)), jnp.eye(3))
    assert np.isnan(found["relative_commutator"])
    assert np.all(np.isnan(found["overlap"]))
    assert float(found["predictor_symmetry"]) == 1


@pytest.mark.parametrize("n_zero", [1, 40])
def test_features_that_vanish_have_neither_alignment_nor_uniformity(n_zero: int) -> None:
    f = np.random.default_rng(0).standard_normal((40, 4))
    f[:n_zero] = 0
    assert np.isnan(uniformity(jnp.asarray(f)))
    assert np.isnan(alignment(jnp.asarray(f), jnp.asarray(f)))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_metrics_without_a_unit_do_not_depend_on_the_scale_of_features(scale: float) -> None:
    f = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    one, other = jnp.asarray(f), jnp.asarray(f * np.float32(scale))
    # each operation rounds to 6e-8, and there are some hundred of them in a row
    assert_allclose(uniformity(other), uniformity(one), rtol=1e-5)
    assert_allclose(alignment(other, other[::-1]), alignment(one, one[::-1]), rtol=1e-5)
    for name in ("effective_rank", "rankme"):
        assert_allclose(feature_metrics(other)[name], feature_metrics(one)[name], rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_have_no_rank_and_no_probe(bad: float) -> None:
    f = jnp.asarray(np.random.default_rng(0).standard_normal((40, 4))).at[3, 1].set(bad)
    labels = jnp.arange(40) % 2
    found = feature_metrics(f)
    assert np.isnan(found["effective_rank"])
    assert np.isnan(found["rankme"])
    assert np.isnan(uniformity(f))
    assert np.isnan(probe_accuracy(f, labels, f[:9], labels[:9], 2))
    assert np.isnan(probe_accuracy(f[10:], labels[10:], f[:9], labels[:9], 2))


def test_eigenvalues_of_predictors_are_sorted_and_nan_where_they_are() -> None:
    P = np.stack([np.diag([0.1, 0.7, 0.3]), np.full((3, 3), np.nan)])
    P[0, 1, 2], P[0, 2, 1] = 0.5, -0.5
    found = on_host({"predictor": P, "loss": np.zeros(2)})["predictor_eigenvalues"]
    values = np.linalg.eigvals(P[0])
    assert_allclose(found[0, :, 0], np.sort(values.real)[::-1], rtol=1e-12)
    assert_allclose(np.sort(found[0, :, 1]), np.sort(values.imag), rtol=1e-12, atol=1e-14)
    assert np.all(np.isnan(found[1]))


def test_the_probe_is_ridge_regression_of_scikit_learn() -> None:
    X, y = load_digits(return_X_y=True)
    X = X[:, :40] / 16
    train, held_out = slice(0, 500), slice(500, 900)
    centred = X[train] - X[train].mean(0)
    kappa = RIDGE * np.sum(centred**2) / 40
    peer = Ridge(alpha=kappa).fit(X[train], np.eye(10)[y[train]])
    wanted = np.mean(np.argmax(peer.predict(X[held_out]), axis=1) == y[held_out])
    found = probe_accuracy(*map(jnp.asarray, (X[train], y[train], X[held_out], y[held_out])), 10)
    assert float(found) == pytest.approx(wanted, abs=1e-12)
    assert wanted > 0.7


def test_the_probe_of_equal_features_takes_the_largest_class() -> None:
    labels = jnp.array([0, 1, 1, 2])
    found = probe_accuracy(jnp.ones((4, 3)), labels, jnp.ones((2, 3)), jnp.array([1, 2]), 3)
    assert float(found) == 0.5


def test_the_probe_does_not_depend_on_the_scale_of_features() -> None:
    X, y = load_digits(return_X_y=True)
    first, second = (
        probe_accuracy(*map(jnp.asarray, (s * X[:300], y[:300], s * X[300:600], y[300:600])), 10)
        for s in (1, 1e-3)
    )
    assert float(first) == float(second)


def test_the_norm_of_a_tree_is_that_of_all_its_leaves() -> None:
    tree = {"a": jnp.array([3.0, 0.0]), "b": (jnp.array([[4.0]]),)}
    assert float(tree_norm(tree)) == pytest.approx(5)
    assert float(tree_norm(())) == 0


def test_the_ridge_of_the_probe_is_a_thousandth() -> None:
    # features of very different sizes and labels that the small ones decide: ten times the ridge loses them
    rng = np.random.default_rng(0)
    f = rng.standard_normal((400, 2)) * [1.0, 0.03]
    labels = (f[:, 1] + 0.02 * f[:, 0] > 0).astype(int)
    expected, coarser = (
        np.mean(
            (
                Ridge(alpha=ridge * np.trace(np.cov(f.T, bias=True)) * len(f) / 2)
                .fit(f[:200], labels[:200])
                .predict(f[200:])
                > 0.5
            )
            == labels[200:]
        )
        for ridge in (1e-3 / 2, 1e-1 / 2)
    )
    found = float(
        probe_accuracy(*(jnp.asarray(part) for part in (f[:200], labels[:200], f[200:], labels[200:])), 2)
    )
    assert found == pytest.approx(expected, abs=0.006)  # a sample of two hundred on the edge
    assert abs(found - coarser) > 0.01
