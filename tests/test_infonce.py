"""InfoNCE of linear encoders: extremes of closed forms, one method against another, the race of two modes, starts."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from analysis.contrastive.contrast import contrast
from analysis.contrastive.infonce_points import critical_points, minimum
from analysis.contrastive.learned_subspaces import compare
from analysis.results.contrastive.linear import random_encoder_system
from dynamics.exact.infonce import one_negative_saturation, saturation, saturation_norm
from dynamics.exact.one_negative import one_negative
from dynamics.exact.several_negatives import one_row
from dynamics.fields.infonce import infonce_mean_field, infonce_mean_loss
from dynamics.objectives import OBJECTIVES
from dynamics.system import MatrixSystem

RACE = MatrixSystem(np.array([10.0, 1.0]), np.array([5.0, 0.9]))


def test_saturation_is_exact_at_both_ends() -> None:
    tiny = np.array([1e-300, 1e-15])
    assert_allclose(saturation(tiny), 2 * tiny / 3, rtol=4e-15)
    assert_allclose(one_negative_saturation(tiny), 2 * tiny / 3, rtol=4e-15)
    near = 2.0**-53
    assert_allclose(saturation(1 - near), 1 / (2 * near), rtol=1e-14)
    assert saturation(1.0) == one_negative_saturation(1.0) == np.inf


@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
def test_the_temperature_is_a_scale(scale: float) -> None:
    assert_allclose(saturation_norm(0.4, scale), scale * saturation(0.4), rtol=1e-15)
    found = one_negative([[0.8 * scale]], [[0.3 * scale]], scale)
    same = one_negative([[0.8]], [[0.3]], 1.0)
    assert_allclose(
        [found.loss, found.by_sigma_s[0, 0] * scale], [same.loss, same.by_sigma_s[0, 0]], rtol=1e-13
    )


@pytest.mark.parametrize(("y", "r"), [(0.01, 0.3), (1.0, 0.0), (3.0, 0.5), (4.6, 0.9)])
def test_quadrature_over_negatives_is_the_transform_for_one(y: float, r: float) -> None:
    quadrature, transform = one_row(y, r, 1), one_negative([[y]], [[r * y]], 1.0)
    slope = y * float(transform.by_sigma_s[0, 0] + r * transform.by_sigma_d[0, 0])
    assert_allclose([quadrature.loss, quadrature.slope], [transform.loss, slope], rtol=1e-12, atol=1e-13)


def test_norms_between_one_and_many_negatives() -> None:
    norms = [saturation_norm(0.5, 1.0, negatives=H) for H in (2, 4, 16, 64)]
    assert_allclose(norms, [0.5851993, 0.5974894, 0.6117032, 0.6163476], atol=1e-7)


def test_the_larger_variance_leads_and_the_larger_ratio_wins() -> None:
    run = solve_ivp(
        lambda t, w: infonce_mean_field(t, w[None], RACE, 1.0)[0],
        (0, 60),
        [0.01, 0.001],
        t_eval=[4, 8, 12, 60],
        rtol=1e-10,
        atol=1e-14,
    )
    s = run.y**2 * RACE.sigma_s[:, None]
    assert_allclose((s[0] / s.sum(axis=0))[:3], [0.998, 0.224, 0.0], atol=5e-4)
    assert_allclose(s.sum(axis=0)[[0, 3]], [0.618, 4.854102], atol=5e-4)


def test_forty_random_starts_come_to_the_minimum_that_is_said() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        system, tau = random_encoder_system(rng, 4), float(rng.uniform(0.3, 2.0))
        point = minimum(system, 2, tau)
        assert point is not None

        def loss(w: np.ndarray, system: MatrixSystem = system, tau: float = tau) -> float:
            return float(infonce_mean_loss(w.reshape(2, 4), system, tau))

        def slope(w: np.ndarray, system: MatrixSystem = system, tau: float = tau) -> np.ndarray:
            return -infonce_mean_field(0.0, w.reshape(2, 4), system, tau).ravel()

        W = minimize(loss, rng.standard_normal(8), jac=slope, options={"gtol": 1e-8}).x.reshape(2, 4)
        assert_allclose(
            np.linalg.eigvalsh(W @ system.sigma_s @ W.T), np.sort(point.amplitudes), rtol=1e-5, atol=1e-5
        )


def test_a_mode_without_noise_grows_for_ever() -> None:
    system = MatrixSystem(np.array([1.0, 1.0]), np.array([1.0, 0.5]))
    assert minimum(system, 1, 1.0) is None
    found = contrast(system, 1, OBJECTIVES["infonce"])
    assert found.learned.amplitudes.tolist() == [np.inf]
    assert [point.modes for point in found.points] == [(), (1,)]


def test_weight_decay_decides_what_the_simple_loss_does() -> None:
    for eta, rank in ((9.9, 1), (10.1, 0)):
        decayed = MatrixSystem(RACE.sigma_s, RACE.sigma_d, weight_decay=eta)
        assert contrast(decayed, 2, OBJECTIVES["simple"]).learned.rank == rank


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: critical_points(RACE, 0, 1.0), "`n2` must be an integer >= 1, got 0"),
        (lambda: critical_points(RACE, 1, -1.0), "`temperature` must be finite and > 0"),
        (lambda: critical_points(RACE, 1, 1.0, 0.5), "`negatives` must be an integer >= 1"),
        (lambda: critical_points(RACE, 2, 1.0, 3), "`negatives` must be 1 or inf for several rows"),
        (lambda: critical_points(RACE, 2, 1.0, 1, 0.5), "`margin` must be 0 for several rows"),
        (lambda: critical_points(RACE, 2, 1.0, limit=2), "`limit` must be at least the 4 critical points"),
        (
            lambda: critical_points(MatrixSystem([1.0], [2.0]), 1, 1.0),
            "`sigma_d` must be positive semidefinite",
        ),
        (lambda: saturation_norm(0.99, 1.0, negatives=2), "`negatives` must be 1 or inf for a ratio above"),
        (lambda: compare(RACE, 1, ["simclr"]), "`objectives` must be of byol, infonce"),
        (lambda: compare(RACE, 3), "`n2` must be from 1 to 2, got 3"),
    ],
)
def test_nonsense_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
