"""Noise and second moments of SGD under the simple loss, against exact sums over Gauss–Hermite nodes (R106, R107)."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from dynamics.exact.sgd_moments import (
    first_order_misalignment,
    in_batch_noise,
    settled_misalignment,
    sgd_second_moment,
    triplet_noise,
)
from dynamics.system import MatrixSystem

SYSTEM = MatrixSystem([[2.0]], [[1.3]])
W = 0.7
X, P = np.polynomial.hermite_e.hermegauss(3)
P = P / P.sum()


def moments(n_normals: int, gradient: object) -> tuple[float, float]:
    """Mean and variance of a function of Gaussians, of degree at most 2 in each: three nodes are exact."""
    nodes = np.stack([g.ravel() for g in np.meshgrid(*[X] * n_normals, indexing="ij")])
    chance = np.prod(np.stack([g.ravel() for g in np.meshgrid(*[P] * n_normals, indexing="ij")]), axis=0)
    values = gradient(nodes)  # type: ignore[operator]
    mean = chance @ values
    return mean, chance @ (values - mean) ** 2


def views(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    common, noise = np.sqrt(1.3), np.sqrt(0.7)
    return common * z[0] + noise * z[1], common * z[0] + noise * z[2]


def test_noise_of_a_triplet() -> None:
    def gradient(z: np.ndarray) -> np.ndarray:
        x1, x2 = views(z)
        return x1 * (x2 - np.sqrt(2.0) * z[3]) * W

    mean, variance = moments(4, gradient)
    assert mean == pytest.approx(1.3 * W, rel=1e-13)
    assert triplet_noise(SYSTEM, [W], 1).item() == pytest.approx(variance, rel=1e-12)
    moved = (1 + 0.1 * 1.3) ** 2 * W**2 + 0.01 * variance
    assert np.exp(sgd_second_moment([[W**2]], SYSTEM, 0.1, 1, 1).log_trace) == pytest.approx(moved, rel=1e-12)


@pytest.mark.parametrize("n", [2, 3])
def test_noise_and_mean_of_in_batch_negatives(n: int) -> None:
    def gradient(z: np.ndarray) -> np.ndarray:
        x1, x2 = (
            np.stack(part) for part in zip(*(views(z[3 * i : 3 * i + 3]) for i in range(n)), strict=True)
        )
        others = (x2.sum(axis=0) - x2) / (n - 1)
        return np.mean(x1 * (x2 - others), axis=0) * W

    mean, variance = moments(3 * n, gradient)
    assert mean == pytest.approx(1.3 * W, rel=1e-12)
    assert in_batch_noise(SYSTEM, [W], n).item() == pytest.approx(variance, rel=1e-12)


def test_misalignment_settles_to_its_first_order() -> None:
    system = MatrixSystem([2.0, 1.0, 1.5], [1.5, 0.5, 0.7])
    errors = [
        settled_misalignment(system, e, 8) / first_order_misalignment(system, e, 8) - 1 for e in (2e-3, 1e-3)
    ]
    assert abs(errors[1]) < 0.01
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.05)  # the rest is O(ε) of itself
    run = sgd_second_moment(np.eye(3), system, 1e-2, 8, 4000).share
    assert_allclose((run[1, 1] + run[2, 2]) / run[0, 0], settled_misalignment(system, 1e-2, 8), rtol=1e-9)
