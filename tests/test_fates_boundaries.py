"""Predicted fates exactly on, and next to, the boundaries of R6 and R15."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.fates.predictions import predict_fates
from analysis.phase_planes.separatrices import leaf_separatrix
from dynamics.exact.fixed_points import weight_decay_fixed_points
from dynamics.system import ModeSystem


@pytest.mark.parametrize(
    ("online", "predictor", "fate", "algebraic"),
    [
        (0.375, 0.625, "collapsed", True),  # c = 9/64 − 25/64 = −r²
        (0.375, np.nextafter(0.625, 1), "collapsed", False),
        (0.375, np.nextafter(0.625, 0), "learned", False),
        (0.5, -0.5, "collapsed", True),  # c = 0
        (0.5, np.nextafter(-0.5, -1), "collapsed", False),
        (0.5, np.nextafter(-0.5, 0), "learned", False),
        (0.5, 0.0, "learned", False),
        (0.0, 0.3, "learned", False),  # the target sets w1 going
    ],
)
def test_on_the_boundary_itself_it_collapses(
    online: float, predictor: float, fate: str, algebraic: bool
) -> None:
    system = ModeSystem(1.0, 0.5)
    found = predict_fates(system.state(online, predictor, 0.1), system)
    assert (found.fate[0], bool(found.algebraic[0])) == (fate, algebraic)


@pytest.mark.parametrize("tau_predictor", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_balanced_starts_are_told_by_the_saddle_of_unequal_rates(tau_predictor: float, sign: int) -> None:
    system = ModeSystem(1.0, 0.5, tau_predictor=tau_predictor, weight_decay=0.04)
    lower, upper = weight_decay_fixed_points(system).points.predictor[[1, 3], 0]
    kappa = np.sqrt(tau_predictor)  # a power of two: c = τo w1² − τp w2² is exactly 0
    for share, fate, end in ((0.98, "collapsed", 0.0), (1.02, "learned", upper)):
        w2 = share * lower
        start = system.state(sign * kappa * w2, w2, sign * kappa * w2)
        found = predict_fates(start, system)
        assert found.fate[0] == fate
        np.testing.assert_allclose(found.online[0], sign * kappa * end, rtol=1e-14)
        np.testing.assert_allclose(found.predictor[0], end, rtol=1e-14)


def test_the_sign_is_decided_a_little_off_the_stable_manifold_and_not_on_it() -> None:
    system = ModeSystem(1.0, 0.5)
    w1, w2 = np.array([0.3]), np.array([0.5])  # −r² < c < 0
    manifold = leaf_separatrix(w1, w2, system)
    for share, sign in ((1 - 1e-5, 1.0), (1 + 1e-5, -1.0)):  # θ < 0 there: further down is the other side
        found = predict_fates(system.state(w1, w2, share * manifold), system, decide_sign=True)
        assert np.sign(found.online[0]) == sign
    on_it = predict_fates(system.state(w1, w2, manifold), system, decide_sign=True)
    assert np.isnan(on_it.online[0])
    assert on_it.fate[0] == "learned"
