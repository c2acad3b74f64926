"""C14, C15: networks that explode and that saturate; each fails when the theory it tests is wrong."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.experiments import EXPERIMENTS, Effort, Verdict, explosion, two_layers
from analysis.runs.two_layers import cluster_problem
from dynamics.contrastive_losses import ContrastiveLoss, InfoNCELoss, SimpleLoss
from dynamics.data.clusters import GaussianMixture
from dynamics.deep_networks import DeepReLU, forward
from dynamics.fields.two_layers import TwoLayerState

QUICK = Effort(quick=True)

# --- C14 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [SimpleLoss(), InfoNCELoss(0.5)])
def test_descent_is_minus_the_gradient(loss: ContrastiveLoss) -> None:
    rng = np.random.default_rng(0)
    net, _ = explosion.problem(rng, 3)
    x = rng.standard_normal((7, 4, explosion.INPUTS))  # two negatives

    def value(net: DeepReLU) -> float:
        f = forward(net, x).output
        r = ((f[:, :1] - f[:, 1:]) ** 2).sum(-1) / 2
        return float(np.mean(loss(r[:, 0], r[:, 1:])))

    for layer, move in enumerate(explosion.descent(net, x, loss), start=1):
        direction = rng.standard_normal(move.shape)
        h = 1e-5
        there, back = (
            value(net.with_layer(layer, net.weights[layer - 1] + s * h * direction)) for s in (1, -1)
        )
        # a central difference: h² of the third derivative, and rounding over h, of losses of order ten
        assert_allclose((there - back) / (2 * h), -np.sum(direction * move), rtol=0, atol=1e-6)


def test_explosions_hold_and_a_bound_that_is_a_twentieth_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert explosion.run(QUICK).verdict is Verdict.HOLDS
    honest = explosion.blow_up_bound
    monkeypatch.setattr(explosion, "blow_up_bound", lambda N, v: honest(N, v) / 20)
    assert not any(m.holds for m in explosion.explosions(QUICK, 1, 200)[0])


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_chains_tell_one_branch_from_all(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = explosion.blow_up_bound
    monkeypatch.setattr(explosion, "blow_up_bound", lambda N, v: factor * honest(N, v))
    assert not any(m.holds for m in explosion.chains(200))


def test_chains_tell_a_product_from_a_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    # v >= v0 Σ(1 + y/N_l)/L, the mutant of R109: its integral diverges, and stands for a time that is far too long
    monkeypatch.setattr(explosion, "blow_up_bound", lambda N, v: float(np.sum(N)) / v)
    assert not any(m.holds for m in explosion.chains(200))


def test_growth_of_infonce_tells_a_bound_that_is_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    measurements, _ = explosion.growth_of_infonce(QUICK, 1, 100)
    assert all(m.holds and m.measured < 0 for m in measurements)
    honest = explosion.norm_growth_bound
    monkeypatch.setattr(
        explosion, "norm_growth_bound", lambda loss, negatives: honest(loss, negatives=negatives) / 10
    )
    assert not any(m.holds for m in explosion.growth_of_infonce(QUICK, 1, 100)[0])


def test_a_run_that_does_not_blow_up_has_no_time() -> None:
    net, views = explosion.problem(np.random.default_rng(0), 2)
    assert explosion.ends(net, views, 1e-9, 4, np.random.default_rng(1)) == math.inf


# --- C15 -----------------------------------------------------------------------------------------------------


def run_of(top_norms: np.ndarray) -> Any:
    """What `saturation` reads of a run, without steps of its own."""
    return SimpleNamespace(top_norms=top_norms, increments=np.zeros((len(top_norms), top_norms.shape[1] - 1)))


def test_saturation_tells_growth_that_goes_on() -> None:
    t, scale = np.linspace(0, 1, 101), np.array([[0.1], [0.11], [0.12]])
    stops, grows = run_of(1 + scale * (1 - np.exp(-9 * t))), run_of(1 + scale * t ** (1 / 3))
    steady = run_of(np.sqrt(1 + scale * t))
    assert two_layers.saturation(stops)[0][0].holds
    assert not two_layers.saturation(steady)[0][0].holds
    share = (1 - 0.4 ** (1 / 3)) / 0.4 ** (1 / 3)
    assert pytest.approx(share, rel=0.1) == float(two_layers.saturation(grows)[0][0].measured)
    assert two_layers.saturation(steady)[0][1].holds  # slower than the bound
    fast = run_of(np.sqrt(1 + 1000 * scale * t))
    assert not two_layers.saturation(fast)[0][1].holds


def states(n_runs: int, counted: int) -> tuple[Any, TwoLayerState]:
    """Networks of five nodes that respond to 0 … 4 of four centres, and whose |w2| falls or rises with that."""
    centres = np.concatenate([np.zeros((1, 4)), np.eye(4)])
    mixture = GaussianMixture(np.ones(5), centres, 0.1)
    W1 = np.where(np.arange(4) < np.arange(5)[:, None], 1.0, -1.0)
    w2 = np.exp(counted * np.arange(5.0))
    problem = SimpleNamespace(mixtures=(mixture,) * n_runs)
    return problem, TwoLayerState(np.stack([W1] * n_runs), np.stack([w2] * n_runs))


def test_rank_correlations_see_the_order_of_the_nodes() -> None:
    for sign in (1, -1):
        problem, found = states(3, sign)
        assert_allclose(two_layers.rank_correlations(found, problem), sign, rtol=1e-14)
    assert_allclose(two_layers.counts(found, problem), 2.0)
    flat = found._replace(top=np.ones((3, 5)))
    assert_allclose(two_layers.rank_correlations(flat, problem), 0.0)


def test_cosines_are_those_of_the_largest_nodes() -> None:
    problem, found = states(2, 1)  # the largest node is (1, 1, 1, 1): cos = ½ with every centre
    top, others = two_layers.cosines(found, problem)
    assert_allclose(top, 0.5)
    assert_allclose(others, (-0.5 + 3 * 0.5) / 4)


@pytest.mark.slow
def test_figures_7_and_8_hold_and_a_flow_of_half_the_speed_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found = two_layers.run(QUICK)
    assert found.verdict is Verdict.HOLDS
    assert "gives neither d, n1" in found.reason
    honest = two_layers.first_blow_up
    monkeypatch.setattr(two_layers, "first_blow_up", lambda *one: honest(*one, branches="one"))
    assert not two_layers.explosion(QUICK, cluster_problem(3), 32)[0][0].holds


def test_they_are_registered() -> None:
    assert EXPERIMENTS["C14"].run is explosion.run
    assert EXPERIMENTS["C15"].run is two_layers.run
