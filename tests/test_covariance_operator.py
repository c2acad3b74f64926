"""The covariance operator against sums written out, its closed forms, and both counterexamples (R105, R110–R112)."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.contrastive.correction import correction_bound
from analysis.contrastive.covariance_operator import covariance_operator, mean_connection
from analysis.contrastive.gaussian_operator import gaussian_operator, semidefinite_share
from dynamics.contrastive_losses import InfoNCELoss, SimpleLoss, TripletLoss, pair_weights
from dynamics.data.view_tables import GaussianViews, ViewTable
from dynamics.deep_networks import DeepReLU, connection, forward, vec
from dynamics.system import MatrixSystem

RNG = np.random.default_rng(0)
NET = DeepReLU([RNG.standard_normal(s) for s in ((4, 3), (3, 4), (2, 3))], 0.1)
TABLE = ViewTable([0.2, 0.3, 0.5], RNG.standard_normal((3, 2, 3)), [[0.3, 0.7], [0.5, 0.5], [0.9, 0.1]])


def written_out(layer: int, loss: Any, branches: str, negatives: int) -> np.ndarray:
    n, a, _ = TABLE.views.shape
    K = connection(NET, TABLE.views, layer).reshape(n * a, -1, 2)
    f = forward(NET, TABLE.views).output.reshape(n * a, -1)
    chance, given = (TABLE.prior[:, None] * TABLE.view_prior).ravel(), TABLE.view_prior.ravel()
    total = np.zeros((K.shape[1],) * 2)
    for i in range(n * a):
        r = np.sum((f[i] - f) ** 2, axis=1) / 2
        for j in range(i // a * a, (i // a + 1) * a):
            for ks in product(range(n * a), repeat=negatives):
                slope, xi = pair_weights(loss, r[j], r[list(ks)])
                p = chance[i] * given[j] * np.prod(chance[list(ks)])
                for weight, b in [(-slope, j), *zip(xi, ks, strict=True)]:
                    left = K[i] if branches == "one" else K[i] - K[b]
                    total += p * weight * left @ (K[i] - K[b]).T
    return total


@pytest.mark.parametrize("branches", ["one", "all"])
@pytest.mark.parametrize(
    ("loss", "negatives"), [(InfoNCELoss(0.7), 2), (TripletLoss(0.5, 0.1), 1), (SimpleLoss(), 1)]
)
@pytest.mark.parametrize("layer", [1, 3])
def test_operator_is_the_sum_over_all_tuples(layer: int, loss: Any, negatives: int, branches: Any) -> None:
    found = covariance_operator(NET, TABLE, layer, loss, branches=branches, negatives=negatives).dense()
    assert_allclose(found, written_out(layer, loss, branches, negatives), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_simple_loss_gives_the_covariance_of_mean_connections(layer: int) -> None:
    V = TABLE.covariance(mean_connection(NET, TABLE, layer))
    for branches, factor in (("one", 1), ("all", 2)):
        found = covariance_operator(NET, TABLE, layer, SimpleLoss(), branches=branches)  # type: ignore[arg-type]
        assert_allclose(found.dense(), factor * V, rtol=1e-12, atol=1e-13)
        assert found.semidefiniteness().holds
    variance = np.trace(TABLE.covariance(TABLE.average(forward(NET, TABLE.views).output)[..., None]))
    w = vec(NET.weights[layer - 1])
    assert w @ V @ w == pytest.approx(variance, rel=1e-12)


def test_lanczos_finds_the_ends_of_the_dense_spectrum() -> None:
    net = DeepReLU([RNG.standard_normal((20, 15)), RNG.standard_normal((3, 20))])
    views = GaussianViews(np.eye(15), 0.5 * np.eye(15))
    found = covariance_operator(net, views, 1, InfoNCELoss(1.0), negatives=2, draws=60)
    assert found.size == 300
    values = np.linalg.eigvalsh(found.dense())
    # Lanczos stops at residuals of 1e-6 of an eigenvalue, which bound its error
    assert_allclose(found.extremes(), (values[0], values[-1]), rtol=1e-6)
    assert not found.semidefiniteness().holds


def test_augmented_infonce_operators_of_one_and_all_branches_are_not_proportional() -> None:
    one, both = (
        covariance_operator(NET, TABLE, 1, InfoNCELoss(0.7), branches=b).dense()  # type: ignore[arg-type]
        for b in ("one", "all")
    )
    assert np.linalg.norm(both - 2 * one) > 0.05 * np.linalg.norm(both)


@pytest.mark.parametrize("negatives", [1, 2, 3])
def test_without_augmentation_one_branch_is_symmetric_with_one_negative_alone(negatives: int) -> None:
    table, loss = ViewTable([0.2, 0.3, 0.5], TABLE.views[:, :1]), InfoNCELoss(0.7)
    one, both = (
        covariance_operator(NET, table, 2, loss, branches=b, negatives=negatives)  # type: ignore[arg-type]
        for b in ("one", "all")
    )
    assert both.symmetric_defect == 0
    assert both.semidefiniteness().holds
    assert both.lowest_eigenvalue >= -both.rounding
    if negatives == 1:
        # sums of 9 tuples in another order
        assert_allclose(one.dense(), both.dense() / 2, rtol=0, atol=1e-14 * np.max(np.abs(both.dense())))
        assert one.symmetric_defect < 1e-14
    else:
        assert one.symmetric_defect > 1e-3
        assert "R110" not in one.semidefiniteness().why


@pytest.mark.parametrize(
    ("temperature", "norm", "bound"), [(1.0, np.tanh(1), 1.0), (5.0, np.tanh(0.2) / 5, 0.04)]
)
def test_first_counterexample(temperature: float, norm: float, bound: float) -> None:
    table = ViewTable([0.5, 0.5], [[[1.0, 1.0]], [[-1.0, -1.0]]], originals=[[0.0, 1.0], [0.0, -1.0]])
    found = correction_bound(DeepReLU(([[1.0, 0.0]],)), table, 1, InfoNCELoss(temperature))
    assert found.without_bias == 0
    assert found.norm == pytest.approx(norm, rel=1e-13)
    assert found.bound == pytest.approx(bound, rel=1e-13)


def test_second_counterexample() -> None:
    # one sample and Gaussian noise, τ → ∞, ξ = 1/2τ + (r₊ − r₋)/4τ²: by Isserlis (−8 + 2)/4 = −3/2 through all
    # branches, and not twice the −1/2 of one; the next order is smaller by s²/τ², and GH integrates these polynomials
    sigma, w, tau = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([0.3, -0.4]), 1e3
    found = gaussian_operator(MatrixSystem(sigma, np.zeros((2, 2))), w, InfoNCELoss(tau)).matrix
    assert_allclose(found, -1.5 * np.outer(sigma @ w, sigma @ w) / tau**2, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("loss", [InfoNCELoss(0.8), TripletLoss(0.6, 0.1)])
def test_random_biased_augmentations_keep_the_bound(seed: int, loss: Any) -> None:
    rng = np.random.default_rng(seed)
    originals = rng.standard_normal((3, 3))
    views = originals[:, None] + rng.standard_normal((3, 1, 3)) + 0.5 * rng.standard_normal((3, 2, 3))
    table = ViewTable(rng.dirichlet(np.ones(3)), views, rng.dirichlet(np.ones(2), 3), originals)
    for layer in (1, 2, 3):
        found = correction_bound(NET, table, layer, loss)
        assert 0 < found.norm <= found.bound
        operator = covariance_operator(NET, table, layer, loss, branches="one").dense()
        assert_allclose(found.weighted + found.correction, operator, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("negatives", [1, 3])
@pytest.mark.parametrize("loss", [InfoNCELoss(1.0), TripletLoss(0.7, 0.2)])
def test_gaussian_operator_is_that_of_drawn_views(loss: Any, negatives: int) -> None:
    system = MatrixSystem(np.array([[1.0, 0.3], [0.3, 2.0]]), np.array([[0.5, 0.1], [0.1, 1.2]]))
    w, draws = np.array([0.5, -0.4]), 40_000
    views = GaussianViews(system.sigma_s, system.sigma_d)
    sampled = covariance_operator(
        DeepReLU((w[None],)), views, 1, loss, negatives=negatives, draws=draws
    ).dense()
    found = gaussian_operator(system, w, loss, negatives=negatives)
    # entries of one draw's operator deviate by at most about 10; six standard errors
    assert np.max(np.abs(sampled - found.matrix)) < 6 * 10 / np.sqrt(draws)


@pytest.mark.parametrize(
    ("lambda_s", "r", "w", "lowest"),
    [((1.0, 2.0), (0.5, 0.9), (2.0, 0.1), -0.76)],
)
def test_indefinite_operator_of_infonce(lambda_s: Any, r: Any, w: Any, lowest: float) -> None:
    system = MatrixSystem(np.array(lambda_s), np.multiply(lambda_s, r))
    found = gaussian_operator(system, w, InfoNCELoss(), negatives=np.inf)
    assert found.eigenvalues[0] == pytest.approx(lowest, abs=0.005)
    assert semidefinite_share(lambda_s, r, w) > 1


def test_operator_turns_indefinite_on_its_way() -> None:
    from scipy.integrate import solve_ivp

    lambda_s, r = np.array([1.0, 10.0]), np.array([0.05, 0.9])
    system = MatrixSystem(lambda_s, lambda_s * r)

    def operator(w: np.ndarray) -> Any:
        return gaussian_operator(system, w, InfoNCELoss(), negatives=np.inf)

    ts = np.linspace(0, 6, 601)
    run = solve_ivp(
        lambda t, w: operator(w).matrix @ w, (0, 6), [0.18, 0.001], t_eval=ts, rtol=1e-9, atol=1e-12
    )
    lowest = np.array([operator(w).eigenvalues[0] for w in run.y.T])
    assert lowest.min() == pytest.approx(-0.026, abs=0.0005)
    # from t = .35 on; it tends to 0 from below as the small mode dies, and stays indefinite
    first = ts[np.argmax(lowest < 0)]
    assert first == pytest.approx(0.35, abs=0.05)
    assert np.all(lowest[ts > first] < 0)
    assert -1e-7 < lowest[-1] < -1e-9
    assert np.array_equal(lowest < 0, semidefinite_share(lambda_s, r, run.y.T) > 1)
