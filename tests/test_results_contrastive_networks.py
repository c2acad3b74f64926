"""R101–R105 in the registry: each holds, and each is told apart from a broken version of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.contrastive.covariance_operator import covariance_operator
from analysis.results.contrastive import connections, covariance
from analysis.results.registry import check, collect
from dynamics.contrastive_losses import InfoNCELoss, normalise, pair_weights
from dynamics.deep_networks import DeepReLU, connection, distance_gradient, forward, output_jacobian

RESULTS = collect((connections, covariance))


def row_stacking(net: DeepReLU, x: Any, layer: int) -> np.ndarray:
    n, m = net.weights[layer - 1].shape
    return connection(net, x, layer).reshape(m, n, -1).swapaxes(0, 1).reshape(n * m, -1)


def jacobian_at_activation(net: DeepReLU, x: Any, layer: int) -> np.ndarray:
    """Without the slope of layer l itself."""
    found = forward(net, x)
    J = output_jacobian(net, x, layer)
    if net.activated(layer):
        slope = np.where(found.pre[layer - 1] > 0, 1.0, net.leak)
        J = J / np.where(slope == 0, 1.0, slope)
    return np.kron(found.post[layer - 1][:, None], J.T)


def biases_allowed(
    weights: Any, leak: float = 0.0, activated_top: bool = False, *, biases: Any = None
) -> DeepReLU:
    return DeepReLU(weights, leak, activated_top)


def own_q(net: DeepReLU, x: Any, other: Any, layer: int, *, normalised: bool = False) -> np.ndarray:
    """Each branch with its own I − z zᵀ: zero."""
    return 0 * distance_gradient(net, x, other, layer, normalised=normalised)


def no_norm(net: DeepReLU, x: Any, other: Any, layer: int, *, normalised: bool = False) -> np.ndarray:
    return distance_gradient(net, x, other, layer, normalised=normalised) * np.linalg.norm(
        forward(net, x).output
    )


def printed(net: DeepReLU, x: Any, other: Any, layer: int, *, normalised: bool = False) -> np.ndarray:
    """K_1(z1 − z2)/‖f1‖, not projected."""
    f1 = forward(net, x).output
    return connection(net, x, layer) @ (normalise(f1)[0] - normalise(other)[0]) / np.linalg.norm(f1)


def positive_left_out(loss: Any, r_pos: Any, r_neg: Any) -> Any:
    a, xi = pair_weights(loss, r_pos, r_neg)
    return (1 / loss.temperature, xi) if isinstance(loss, InfoNCELoss) else (a, xi)


def no_temperature(loss: Any, r_pos: Any, r_neg: Any) -> Any:
    a, xi = pair_weights(loss, r_pos, r_neg)
    T = loss.temperature if isinstance(loss, InfoNCELoss) else 1.0
    return a * T, xi * T


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R101", {"connection": row_stacking}),
    ("R101", {"connection": jacobian_at_activation}),
    ("R101", {"gradient": lambda *a: -distance_gradient(*a)}),
    ("R102", {"network": biases_allowed}),
    ("R102", {"connection": row_stacking}),
    ("R102", {"degree": lambda p, above: 1.0}),
    ("R103", {"gradient": own_q}),
    ("R103", {"gradient": no_norm}),
    ("R103", {"gradient": printed}),
    ("R104", {"weights": positive_left_out}),
    ("R104", {"weights": no_temperature}),
    ("R105", {"operator": lambda *a, branches: covariance_operator(*a, branches="all")}),
    ("R105", {"mean": lambda net, table, layer: connection(net, table.views[:, 0], layer)}),
]


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)


@pytest.mark.parametrize(("name", "subjects"), MUTANTS, ids=[f"{n}-{next(iter(s))}" for n, s in MUTANTS])
def test_mutant_is_violated(name: str, subjects: dict[str, Any]) -> None:
    assert check(RESULTS[name], **subjects).verdict == "violated"
