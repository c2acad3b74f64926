"""A gradient step on exact moments is a step of the flow: all objectives and predictors (R1, R24, R26, R29)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from dynamics.data.moments import Moments
from dynamics.fields.predictors import optimal_predictor
from dynamics.integration.integrate import integrate
from dynamics.states import MatrixState, random_state
from dynamics.training import Flow, TrainingRun, TrainingSettings, flow_of, train

N1, N2 = 4, 3


def moments() -> Moments:
    """Σs and Σd that do not commute, 0 ≺ Σd ≺ Σs."""
    rng = np.random.default_rng(3)
    A, B = rng.standard_normal((2, N1, N1))
    return Moments.additive_noise(A @ A.T / N1, B @ B.T / N1)


def start() -> MatrixState:
    state = random_state(N1, N2, scale_online=0.5, scale_predictor=0.5, seed=7)
    return state._replace(target=state.online[::-1] + 0.1)


def exact_settings(**changes: Any) -> TrainingSettings:
    sigma = moments()
    settings: dict[str, Any] = {
        "data": {"source": "exact", "sigma_s": sigma.sigma_s, "sigma_d": sigma.sigma_d},
        "batch": None,
        "encoder": {"features": N2},
        "optimizer": {"learning_rate": 0.05},
        "steps": 1,
        "dtype": "float64",
    }
    return TrainingSettings(**settings | changes)


def one_step(settings: TrainingSettings) -> tuple[TrainingRun, Flow]:
    first = start()
    if settings.predictor.symmetric:
        first = first._replace(predictor=first.predictor + first.predictor.T)
    return train(settings, initial=first), flow_of(settings, moments())


def assert_one_step_is_the_flow(settings: TrainingSettings) -> None:
    run, flow = one_step(settings)
    before = MatrixState(*(part[0] for part in run.initial))
    field = flow.vector_field(0.0, before, flow.system)
    predictor = settings.predictor.trained
    # a few dozen products of numbers of order one, in float64
    tolerance = {"rtol": 1e-12, "atol": 1e-13}
    assert_allclose(run.final.online[0], before.online + flow.dt * field.online, **tolerance)
    if predictor:
        assert_allclose(run.final.predictor[0], before.predictor + flow.dt * field.predictor, **tolerance)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", ["byol", "byol-prime", "raft"])
def test_a_step_of_each_objective_is_a_step_of_its_flow(kind: str, symmetric: bool) -> None:
    weights = {} if kind == "byol" else {"alpha": 0.7, "beta": 1.9}
    # ½ in front or not: both are seen, one with each symmetry
    settings = exact_settings(objective={"kind": kind, "symmetric": symmetric, "halved": symmetric} | weights)
    assert_one_step_is_the_flow(settings)


@pytest.mark.parametrize(
    ("objective", "factor"),
    [
        ({"symmetric": False, "halved": True}, 1),
        ({"symmetric": False}, 2),
        ({"symmetric": True, "halved": True}, 2),
        ({"symmetric": True}, 4),
        ({"kind": "byol-prime"}, 2),
        ({"kind": "raft", "symmetric": False}, 2),
    ],
)
def test_the_factor_between_step_size_and_time(objective: dict[str, Any], factor: int) -> None:
    assert flow_of(exact_settings(objective=objective), moments()).dt == pytest.approx(
        factor * 0.05, rel=1e-15
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"predictor": {"kind": "none"}},
        {"predictor": {"kind": "linear", "symmetric": True}},
        {"predictor": {"kind": "optimal", "average": 0.0}},
        {"predictor": {"kind": "direct", "option": "sqrt-0.1", "average": 0.0}},
        {"predictor": {"kind": "direct", "option": "normalised-set", "average": 0.0}},
        {"target": {"kind": "none"}},
        {"target": {"kind": "fixed"}},
        {"target": {"kind": "none"}, "objective": {"stop_gradient": False}},
        {"target": {"kind": "none"}, "objective": {"stop_gradient": False, "symmetric": False}},
        {
            "optimizer": {
                "learning_rate": 0.05,
                "predictor_rate": 4.0,
                "weight_decay": 0.2,
                "predictor_weight_decay": 0.05,
            }
        },
    ],
    ids=str,
)
def test_a_step_of_each_variant_is_a_step_of_its_flow(changes: dict[str, Any]) -> None:
    assert_one_step_is_the_flow(exact_settings(**changes))


def test_the_target_takes_a_step_towards_the_new_weights() -> None:
    settings = exact_settings(target={"kind": "ema", "decay": 0.7})
    run, flow = one_step(settings)
    assert_allclose(run.final.target[0], 0.7 * start().target + 0.3 * run.final.online[0], rtol=1e-14)
    assert flow.system.tau_target == pytest.approx(flow.dt / 0.3, rel=1e-14)


def test_the_target_without_an_average_is_the_online_network() -> None:
    run = train(exact_settings(target={"kind": "none"}, steps=3), initial=start())
    assert_allclose(run.final.target, run.final.online, rtol=0)


def test_the_optimal_predictor_is_that_of_the_moments() -> None:
    settings = exact_settings(predictor={"kind": "optimal", "average": 0.0})
    run, flow = one_step(settings)
    before = MatrixState(*(part[0] for part in run.initial))
    # the pseudo-inverse of a matrix of condition about 100
    assert_allclose(before.predictor, optimal_predictor(before, flow.system), rtol=1e-11)


def test_small_steps_follow_the_flow_with_an_error_proportional_to_their_size() -> None:
    t_end, errors, sizes = 2.0, [], np.array([0.008, 0.004, 0.002])
    for size in sizes:
        steps = round(t_end / (4 * size))
        # the target's time constant is the same at all sizes: τt = 4 size/(1 − γ) = 0.5
        settings = exact_settings(
            optimizer={"learning_rate": size},
            target={"decay": 1 - 8 * size},
            steps=steps,
            metrics_every=steps,
        )
        flow = flow_of(settings, moments())
        assert flow.system.tau_target == pytest.approx(0.5)
        run = train(settings, initial=start())
        exact = integrate(start(), flow.system, flow.vector_field, t_end, rtol=1e-10, atol=1e-12).final
        errors.append(max(np.max(np.abs(a[0] - b)) for a, b in zip(run.final, exact, strict=True)))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    # the next order adds O(ε): some per cent at these sizes
    assert slope == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": {"kind": "mlp", "widths": (4,), "features": N2}}, "encoder must be linear"),
        ({"predictor": {"kind": "mlp"}}, "predictor must be a matrix"),
        ({"predictor": {"kind": "direct"}}, "predictor.average must be 0"),
        ({"objective": {"normalize": True}}, "objective.normalize must be false"),
        ({"optimizer": {"kind": "adam"}}, "optimizer must be sgd"),
        ({"optimizer": {"predictor_rate": 2.0, "weight_decay": 0.1}}, "one η for both"),
        ({"optimizer": {"predictor_rate": 0.0}}, "predictor_rate must be > 0"),
        ({"target": {"schedule": "cosine"}}, "target.schedule must be constant"),
        ({"target": {"kind": "none"}, "predictor": {"kind": "none"}}, "target must be ema"),
    ],
)
def test_settings_that_no_flow_describes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flow_of(exact_settings(**changes), moments())


@pytest.mark.parametrize(("decay", "name"), [(0.0, "no-ema"), (0.7, "full"), (1.0, "fixed-target")])
def test_the_average_without_memory_is_no_average_and_with_nothing_else_a_fixed_target(
    decay: float, name: str
) -> None:
    from dynamics.training.flow import _field

    assert _field(exact_settings(target={"kind": "ema", "decay": decay})).name == name
