"""The drift that batches cause: exact against all batches of a small sample, and against runs on digits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.runs.batch_noise import Views, balance_drift_of_steps, is_covered, noisy_path
from analysis.runs.training import predict
from dynamics.invariants import balance_matrix
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem
from dynamics.training import TrainingData, TrainingRun, flow_of, load_data, train
from dynamics.training.presets import preset
from figures.results.training import figure_training


def moments_of(views: Views) -> tuple[np.ndarray, np.ndarray]:
    """Σs and Σd of the views, of both orders."""
    x1, x2 = views[:2]
    return (x1.T @ x1 + x2.T @ x2) / 2 / len(x1), (x2.T @ x1 + x1.T @ x2) / 2 / len(x1)


@pytest.mark.parametrize("batch", [1, 2, 3, None])
def test_the_drift_is_the_mean_over_all_batches(batch: int | None) -> None:
    rng = np.random.default_rng(0)
    n, n1, n2, dt = 3, 4, 2, 0.3
    views = Views(*rng.standard_normal((2, n, n1)), symmetric=True)
    system = MatrixSystem(*moments_of(views), tau_online=1.3, tau_predictor=0.7)
    state = MatrixState(
        rng.standard_normal((n2, n1)), rng.standard_normal((n2, n2)), rng.standard_normal((n2, n1))
    )
    W, P, Th = state
    before = balance_matrix(state, system)
    changes = []
    for rows in product(range(n), repeat=batch) if batch is not None else [tuple(range(n))]:
        x1, x2 = views.first[list(rows)], views.second[list(rows)]
        G = sum((Th @ b.T - P @ W @ a.T) @ a for a, b in ((x1, x2), (x2, x1))) / 2 / len(rows)
        step = state._replace(
            online=W + dt * P.T @ G / system.tau_online, predictor=P + dt * G @ W.T / system.tau_predictor
        )
        changes.append(balance_matrix(step, system) - before)
    found = balance_drift_of_steps(state, system, views, batch, dt)
    assert_allclose(found, np.mean(changes, axis=0) / dt, atol=1e-12)


def test_one_prediction_is_half_of_two() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((500, 3))
    system = MatrixSystem(np.eye(3), 0.5 * np.eye(3))
    state = MatrixState(rng.standard_normal((2, 3)), rng.standard_normal((2, 2)), rng.standard_normal((2, 3)))
    # views that are one: both orders are the same loss
    both, one = (
        balance_drift_of_steps(state, system, Views(x, x, symmetric), 4, 0.1) for symmetric in (True, False)
    )
    assert_allclose(both, one, atol=1e-12)


@cache
def digits() -> tuple[TrainingRun, TrainingData]:
    settings = preset("linear")
    data = load_data(settings.data)
    return train(replace(settings, steps=4000), list(range(6)), data=data), data


@pytest.mark.slow
def test_eigenvalues_of_runs_on_digits_drift_as_their_batches_say() -> None:
    run, data = digits()
    ends, flows, noisy = [], [], []
    for index in range(run.n_runs):
        found = predict(run, data, index)
        assert found.noisy_features is not None
        ends.append(run.metrics["feature_eigenvalues"][index, -1, :4])
        flows.append(found.feature_eigenvalues[-1, :4])
        noisy.append(found.noisy_features[-1, :4])
    ends, flows, noisy = (np.mean(np.log(part), axis=0) for part in (ends, flows, noisy))
    # the largest have grown by half and more past the flow; a run fluctuates about the drift by some per cent (R308)
    assert np.all((ends - flows)[:2] > 0.4)
    assert np.max(np.abs(ends - noisy)) < 0.08
    assert np.all(np.abs(ends - noisy) < 0.3 * np.abs(ends - flows))


def test_the_picture_has_the_drift_dotted_and_the_flow_dashed() -> None:
    run, data = digits()
    found = predict(run, data)
    assert found.noisy_features is not None
    ax = figure_training(run, found).axes[2]
    dotted, dashed = ([line for line in ax.lines if line.get_linestyle() == kind] for kind in (":", "--"))
    assert_allclose([line.get_ydata() for line in dotted], found.noisy_features.T)
    assert_allclose([line.get_ydata() for line in dashed], found.feature_eigenvalues.T)


def test_without_noise_the_path_is_the_flow() -> None:
    run, data = digits()
    settings = run.settings.at(0)
    flow = flow_of(settings, data.moments())
    support = data.moments().support
    S = np.eye(data.n1) if support is None else support
    W, P, Th = (np.asarray(part[0], np.float64) for part in run.initial)
    start = flow.system.state(W @ S, P, Th @ S)
    nothing = Views(np.zeros((1, S.shape[1])), np.zeros((1, S.shape[1])), symmetric=True)
    ts = flow.dt * np.array([0.0, 50.0, 100.0])
    path = noisy_path(start, flow._replace(dt=0.0), nothing, 1, ts)
    from dynamics.integration.integrate import integrate

    exact = integrate(start, flow.system, flow.vector_field, ts=ts, rtol=1e-9, atol=1e-11)
    assert_allclose(path, exact.states.online, atol=1e-4)


@pytest.mark.parametrize(
    "changed",
    [
        {"batch": None, "data": {"source": "exact", "sigma_s": [1.0, 1.0], "sigma_d": [0.5, 0.2]}},
        {"objective": {"kind": "byol-prime"}},
        {"predictor": {"kind": "none"}},
    ],
)
def test_what_is_not_known_is_not_drawn(changed: dict) -> None:
    encoder = {"encoder": {"features": 2}} if "data" in changed else {}
    settings = replace(preset("linear"), **changed, **encoder)
    moments = load_data(settings.data).moments()
    assert not is_covered(settings, flow_of(settings, moments))
