"""R101–R107 and R110–R112 in the registry: each holds, and each is told apart from a broken version of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.contrastive.correction import Correction, correction_bound
from analysis.contrastive.covariance_operator import CovarianceOperator, covariance_operator
from analysis.contrastive.gaussian_operator import GaussianOperator, gaussian_operator, semidefinite_share
from analysis.results.contrastive import connections, covariance, gaussian_views, sgd_noise
from analysis.results.registry import check, collect
from dynamics.contrastive_losses import InfoNCELoss, normalise, pair_weights
from dynamics.deep_networks import DeepReLU, connection, distance_gradient, forward, output_jacobian
from dynamics.exact.sgd_moments import (
    first_order_misalignment,
    in_batch_noise,
    mean_factor,
    settled_misalignment,
    sgd_second_moment,
    triplet_noise,
)
from dynamics.fields.infonce import infonce_mean_field

RESULTS = collect((connections, covariance, sgd_noise, gaussian_views))


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


def as_if_triplets(system: Any, w: Any, batch: int) -> np.ndarray:
    """2 s Σs, as with independent negatives, in a batch."""
    return triplet_noise(system, w, batch - 1)


def called_semidefinite(*arguments: Any, **options: Any) -> CovarianceOperator:
    """The one-branch operator called semidefinite, at every H."""
    return replace(covariance_operator(*arguments, **options), theorem="R110")


def other_branches(*arguments: Any, branches: Any, **options: Any) -> CovarianceOperator:
    return covariance_operator(*arguments, branches={"one": "all", "all": "one"}[branches], **options)


def unlike_all(*arguments: Any, branches: Any, **options: Any) -> CovarianceOperator:
    return covariance_operator(*arguments, branches="one", **options)


def printed_bound(*arguments: Any) -> Correction:
    """DD (62)."""
    found = correction_bound(*arguments)
    return found._replace(bound=found.without_bias)


def bound_by(factor: float) -> Any:
    def mutant(*arguments: Any) -> Correction:
        found = correction_bound(*arguments)
        return found._replace(bound=factor * found.bound)

    return mutant


def whole_covariance(*arguments: Any) -> Correction:
    """V for ½V."""
    found = correction_bound(*arguments)
    return found._replace(weighted=2 * found.weighted)


def half_scale(*arguments: Any, **options: Any) -> GaussianOperator:
    """E[Σξ] Σd, of one branch."""
    found = gaussian_operator(*arguments, **options)
    return replace(found, scale=found.scale / 2)


def without_span(*arguments: Any, **options: Any) -> GaussianOperator:
    """2 E[Σξ] Σd alone."""
    found = gaussian_operator(*arguments, **options)
    return replace(found, C=0 * found.C)


def linear_saturation(system: Any, w: Any, loss: Any, *, negatives: float = 1) -> GaussianOperator:
    """κ = 1 − u, of the logarithm alone."""
    found = gaussian_operator(system, w, loss, negatives=negatives)
    if negatives < np.inf:
        return found
    sigma_s = np.diag(system.sigma_s) if system.sigma_s.ndim == 1 else system.sigma_s
    u = 1 / (1 + w @ sigma_s @ w / loss.temperature)
    return replace(found, C=found.C / (1 + u / 2))


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
    ("R106", {"in_batch": lambda system, w, batch: in_batch_noise(system, w, batch + 1)}),
    ("R106", {"in_batch": as_if_triplets}),
    ("R106", {"triplets": lambda system, w, batch: in_batch_noise(system, w, batch + 1)}),
    ("R106", {"factor": lambda batch, **kind: mean_factor(batch, **{**kind, "finite_population": False})}),
    ("R106", {"factor": lambda batch, **kind: mean_factor(batch, **{**kind, "includes_itself": False})}),
    (
        "R107",
        {
            "moment": lambda M, system, step, batch, n, *, negatives: sgd_second_moment(
                M, system, step, batch + 1, n, negatives=negatives
            )
        },
    ),
    (
        "R107",
        {
            "moment": lambda M, system, step, batch, n, *, negatives: sgd_second_moment(
                M, system, step, batch if negatives == "independent" else batch - 1, n
            )
        },
    ),
    (
        "R107",
        {
            "settled": lambda system, step, batch: settled_misalignment(
                system, step, batch + 1, negatives="in-batch"
            )
        },
    ),
    ("R107", {"settled": first_order_misalignment}),
    ("R107", {"first_order": lambda system, step, batch: first_order_misalignment(system, step, batch) / 2}),
    ("R110", {"operator": called_semidefinite}),
    ("R110", {"operator": unlike_all}),
    ("R110", {"operator": lambda *a, branches, negatives: covariance_operator(*a, branches=branches)}),
    ("R111", {"correction": printed_bound}),
    ("R111", {"correction": bound_by(4)}),  # 1/τ² for 1/4τ²
    ("R111", {"correction": bound_by(0.25)}),
    ("R111", {"correction": whole_covariance}),
    ("R111", {"operator": other_branches}),
    ("R112", {"gaussian": half_scale}),
    ("R112", {"gaussian": without_span}),
    ("R112", {"gaussian": linear_saturation}),
    ("R112", {"share": lambda ls, r, w, tau: 1 - 1e-9 + 0 * semidefinite_share(ls, r, w, tau)}),  # always
    ("R112", {"share": lambda ls, r, w, tau: semidefinite_share(ls, 0 * r + 1, w, tau)}),
    ("R112", {"field": lambda t, W, system, tau: infonce_mean_field(t, W, system, tau) / 2}),
]


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)


@pytest.mark.parametrize(
    ("name", "subjects"), MUTANTS, ids=[f"{n}-{next(iter(s))}-{k}" for k, (n, s) in enumerate(MUTANTS)]
)
def test_mutant_is_violated(name: str, subjects: dict[str, Any]) -> None:
    assert check(RESULTS[name], **subjects).verdict == "violated"
