"""Two-layer networks on clusters: gradients by hand, the flow that steps follow, conserved sums, overflow, refusals."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.contrastive.mixtures import gated_covariance
from analysis.experiments.runs import mean_of, student
from analysis.runs.two_layers import (
    Activity,
    active_centres,
    activity,
    cluster_problem,
    first_blow_up,
    trained_on_clusters,
)
from dynamics.data.clusters import GaussianMixture
from dynamics.exact.norm_growth import blow_up_bound, norm_growth_bound
from dynamics.exact.two_layers import blow_up_time
from dynamics.fields.normalised import normalised_gradient, normalised_outputs
from dynamics.fields.two_layers import TwoLayerState, diagonal_two_layer_field
from dynamics.training.two_layers import (
    TwoLayerSettings,
    contrastive_value,
    draw_two_layers,
    train_two_layers,
)

EPS = float(np.finfo(float).eps)


def slopes_of_outputs(f: np.ndarray, loss: str, temperature: float) -> np.ndarray:
    """∂L/∂f of a batch (3, n, n1) by hand."""
    anchor, positive, negative = f
    gap = ((anchor - positive) ** 2).sum(-1) / 2 - ((anchor - negative) ** 2).sum(-1) / 2
    weight = np.ones(len(gap)) if loss == "simple" else 1 / (1 + np.exp(-gap / temperature)) / temperature
    pull, push = (anchor - positive), (anchor - negative)
    return np.stack([pull - push, -pull, push]) * weight[:, None] / len(gap)


@pytest.mark.parametrize("loss", ["simple", "infonce"])
@pytest.mark.parametrize("normalised", [False, True])
def test_gradients_are_those_by_hand(loss: str, normalised: bool) -> None:
    rng = np.random.default_rng(0)
    state = TwoLayerState(rng.standard_normal((16, 4)), rng.standard_normal(16))
    x = rng.standard_normal((3, 30, 4))
    settings = TwoLayerSettings(loss, normalised=normalised, temperature=0.7, floor=1e-12)
    with jax.enable_x64(True):
        found, _ = jax.grad(lambda w: contrastive_value(settings, w, x), has_aux=True)(state)
    flat = x.reshape(-1, 4)
    if normalised:
        z, norms = normalised_outputs(state, flat)
        assert norms.min() > 1e-2  # the floor is out of sight: its share of ‖f‖² is below rounding
        by = normalised_gradient(
            state, flat, slopes_of_outputs(z.reshape(3, 30, 16), loss, 0.7).reshape(-1, 16)
        )
    else:
        hidden = np.maximum(flat @ state.bottom.T, 0)
        df = slopes_of_outputs((hidden * state.top).reshape(3, 30, 16), loss, 0.7).reshape(-1, 16)
        by = TwoLayerState((df * state.top * (hidden > 0)).T @ flat, (df * hidden).sum(0))
    for one, other in zip(found, by, strict=True):
        # sums of 90 samples, each a few products of 16 terms that may cancel, over ‖f‖ where that divides
        assert_allclose(
            one, other, rtol=0, atol=2000 * EPS * np.abs(other).max() / (1e-2 if normalised else 1)
        )


def test_the_mean_step_is_a_step_of_the_flow_at_speed_two() -> None:
    mixture, start, n = GaussianMixture.drawn(4, 3, 0.5, seed=1), draw_two_layers(6, 3, seed=1), 16
    settings = TwoLayerSettings(batch=5000, steps=1, learning_rate=1.0)
    run = train_two_layers(settings, [mixture] * n, [start] * n)
    flow = diagonal_two_layer_field(0.0, start, lambda W: gated_covariance(W, mixture), branches="all")
    for ends, before, rate in zip(run.final, start, flow, strict=True):
        # standard errors of the mean over 16 runs, within which 54 entries lie but for one case in ten thousand
        mean, error = mean_of(ends - before)
        tolerance = student(n, 1 - 2e-6) * error
        assert np.all(np.abs(mean - rate) <= tolerance)
        assert np.any(np.abs(rate) / 2 > tolerance)  # speed one would be seen


def test_under_normalisation_norms_grow_by_the_squares_of_the_steps_alone() -> None:
    problem = cluster_problem(2, nodes=8, dimension=5)
    settings = TwoLayerSettings("infonce", normalised=True, steps=200, floor=1e-30)
    run = trained_on_clusters(settings, problem)
    squares = run.top_norms**2
    # R129: each step rounds sums of 384 samples and of 8 weights
    assert_allclose(np.diff(squares, axis=1), run.increments, rtol=0, atol=1000 * EPS * squares.max())
    assert run.increments.max() > 1e6 * 1000 * EPS
    assert_allclose((run.final.top**2).sum(1), squares[:, -1], rtol=100 * EPS)
    plain = trained_on_clusters(replace(settings, normalised=False), problem)
    assert np.max(np.diff(plain.top_norms**2, axis=1) - plain.increments) > 1e-3


def test_infonce_never_outgrows_its_bound() -> None:
    settings = TwoLayerSettings("infonce", steps=300, learning_rate=0.01)
    run = trained_on_clusters(settings, cluster_problem(3))
    most = norm_growth_bound("infonce", negatives=1) * settings.learning_rate
    growth = np.diff(run.top_norms**2, axis=1) - run.increments
    assert np.all(growth <= most * (1 + 1e-9))  # R108 holds for every batch
    assert growth.max() > most / 10


def test_the_fastest_node_tells_when_the_simple_loss_overflows() -> None:
    problem = cluster_problem(4)
    times = np.array([first_blow_up(*one) for one in zip(problem.starts, problem.mixtures, strict=True)])
    late = {}
    for step in (0.01, 0.005):
        settings = TwoLayerSettings(steps=round(1.3 * times.max() / step), learning_rate=step)
        late[step] = trained_on_clusters(settings, problem).overflows * step / times - 1
    assert np.all(late[0.01] > 0)  # steps of Euler lag behind a solution that accelerates
    assert np.all(np.abs(late[0.005]) < 0.75 * late[0.01])  # by a time of order ε ln(1/ε)
    assert np.all(late[0.01] < 0.12)
    # R109 for the fastest of all nodes is no less than the blow-up
    for start, mixture, at in zip(problem.starts, problem.mixtures, times, strict=True):
        bounds = [
            blow_up_bound([w @ w, a**2], a**2 * w @ gated_covariance(w, mixture) @ w)
            for w, a in zip(*start, strict=True)
        ]
        assert at < min(bounds)


def test_the_blow_up_of_a_constant_covariance_is_the_closed_form() -> None:
    # all centres on the side that the node responds to, without noise: A is their covariance
    centres = np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 3.0]])
    mixture = GaussianMixture([1, 1, 1], centres, 0.0)
    w, a = np.array([0.3, 0.2]), 0.4
    A = gated_covariance(w, mixture)
    assert_allclose(A, np.cov(centres.T, bias=True), rtol=10 * EPS)
    start = TwoLayerState(w[None], np.array([a]))
    # the solver's relative tolerance of 1e-8 a step, some hundred steps
    assert first_blow_up(start, mixture) == pytest.approx(blow_up_time(w, a, A, branches="all"), rel=1e-6)
    assert first_blow_up(TwoLayerState(-w[None], np.array([a])), mixture) == np.inf  # dead


def test_runs_depend_on_their_seed_alone() -> None:
    problem = cluster_problem(2, nodes=4)
    settings = TwoLayerSettings("infonce", steps=10)
    one, same = (trained_on_clusters(settings, problem, seed=3) for _ in range(2))
    other = trained_on_clusters(settings, problem, seed=4)
    assert np.array_equal(one.top_norms, same.top_norms)
    assert not np.array_equal(one.top_norms, other.top_norms)
    assert np.all(np.isnan(one.overflows))
    before = jax.config.jax_enable_x64
    assert one.final.top.dtype == np.float64
    assert jax.config.jax_enable_x64 == before


def test_outputs_below_the_floor_are_counted() -> None:
    # weights so small that all outputs are: then nothing is learned
    mixture, start = GaussianMixture.drawn(3, 2, 0.3), draw_two_layers(4, 2)
    tiny = TwoLayerState(1e-9 * start.bottom, start.top)
    settings = TwoLayerSettings(normalised=True, steps=3, batch=10, learning_rate=1e-30)
    assert train_two_layers(settings, [mixture], [tiny]).n_short.tolist() == [3 * 10 * 3]
    dead = TwoLayerState(0 * start.bottom, start.top)  # f = 0 has no direction, and no gradient that is NaN
    run = train_two_layers(replace(settings, learning_rate=0.1), [mixture], [dead])
    assert np.array_equal(run.final.top[0], start.top)


def test_the_centre_at_zero_tells_nothing() -> None:
    mixture = GaussianMixture([1, 1, 1], [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], 0.1)
    assert active_centres([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], mixture).tolist() == [2, 1, 0]
    states = TwoLayerState(np.array([[[1.0, 1.0], [1.0, -1.0]]]), np.array([[-3.0, 5.0]]))
    found = activity(states, (mixture,))
    assert found.mean_weights() == {1: 5.0, 2: 3.0}
    assert found.rank_correlation == pytest.approx(-1.0)
    assert np.isnan(Activity(np.array([1, 1]), np.array([1.0, 2.0])).rank_correlation)


def test_ranks_of_ties_are_those_of_scipy() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(2)
    one = Activity(rng.integers(0, 5, 40), rng.standard_normal(40))
    assert one.rank_correlation == pytest.approx(spearmanr(*one).statistic, abs=1e-14)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "hinge"}, "`loss` must be one of simple, infonce, got 'hinge'"),
        ({"temperature": 0.0}, "`temperature` must be finite and > 0, got 0.0"),
        ({"learning_rate": np.inf}, "`learning_rate` must be finite and > 0, got inf"),
        ({"floor": -1.0}, "`floor` must be finite and > 0, got -1.0"),
        ({"batch": 0}, "`batch` must be an integer >= 1, got 0"),
        ({"steps": 2.5}, "`steps` must be an integer >= 1, got 2.5"),
    ],
)
def test_settings_refuse_nonsense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        TwoLayerSettings(**settings)


def test_shapes_that_do_not_fit_are_refused() -> None:
    mixture, start = GaussianMixture.drawn(3, 2, 0.3), draw_two_layers(4, 2)
    settings = TwoLayerSettings(steps=1)
    for mixtures, starts, message in (
        ([mixture], [], "`mixtures` must be one per start, got 1 for 0 starts"),
        (
            [mixture],
            [draw_two_layers(4, 3)],
            "`starts` must have shapes (4, 2) and (4,), got (4, 3) and (4,)",
        ),
        (
            [mixture, GaussianMixture.drawn(2, 2, 0.3)],
            [start, start],
            "`mixtures` must have centres of one shape",
        ),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            train_two_layers(settings, mixtures, starts)
    with pytest.raises(ValueError, match="two nodes at least to be normalised, got 1"):
        train_two_layers(replace(settings, normalised=True), [mixture], [draw_two_layers(1, 2)])
    for bad in ({"n_nodes": 0, "dimension": 2}, {"n_nodes": 2, "dimension": 0}):
        with pytest.raises(ValueError, match=re.escape("must be >= 1, got 0")):
            draw_two_layers(**bad)
    with pytest.raises(ValueError, match="`n_seeds` must be >= 1, got 0"):
        cluster_problem(0)
    with pytest.raises(ValueError, match="`variance` must be finite and >= 0, got -1"):
        cluster_problem(1, variance=-1.0)
