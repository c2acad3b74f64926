"""Samples of view pairs with exact moments, random problems, and every variant: what field tests share."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose

from dynamics.fields.matrices import proportional_ema_field
from dynamics.fields.modes import proportional_ema_mode_field
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem
from dynamics.variants import FIELDS, MODE_FIELDS

SHARE = 0.7
"""Θ = 0.7 W in the tests of the proportional target."""

MATRIX_VARIANTS = {**FIELDS, "proportional-ema": proportional_ema_field(lambda t: SHARE)}
MODE_VARIANTS = {**MODE_FIELDS, "proportional-ema": proportional_ema_mode_field(lambda t: SHARE)}


def assert_states_close(actual: Any, desired: Any, rtol: float = 1e-12, atol: float = 1e-13) -> None:
    """By default to a thousand roundings of sums of products of order one."""
    for part, other in zip(actual, desired, strict=True):
        assert_allclose(np.asarray(part), np.asarray(other), rtol=rtol, atol=atol)


def view_pairs(n1: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Five samples, each with views x ± n and all four pairs of them: independent given the sample."""
    rng = np.random.default_rng(seed)
    x, n = rng.standard_normal((5, n1)), 0.6 * rng.standard_normal((5, n1))
    views = (x + n, x - n)
    pairs = [(first, second) for first in views for second in views]
    return np.concatenate([first for first, _ in pairs]), np.concatenate([second for _, second in pairs])


RATES = {"tau_online": 1.3, "tau_predictor": 0.6, "tau_target": 2.1, "weight_decay": 0.07}


def matrix_problem(seed: int) -> tuple[MatrixState, MatrixSystem, np.ndarray, np.ndarray]:
    """A random state, 3 features of 4 inputs, with the moments of a sample and that sample."""
    x1, x2 = view_pairs(4, seed)
    system = MatrixSystem(x1.T @ x1 / len(x1), x2.T @ x1 / len(x1), **RATES)
    rng = np.random.default_rng(seed + 1)
    state = system.state(*(rng.standard_normal(shape) for shape in ((3, 4), (3, 3), (3, 4))))
    return state, system, x1, x2


def mode_problem(seed: int, *, tied: bool = False) -> tuple[ModeState, ModeSystem, np.ndarray, np.ndarray]:
    """Four modes, each with its own samples of one number; `tied` has w1 = w2 and τo = τp."""
    x1, x2 = view_pairs(4, seed)
    rates = {**RATES, "tau_predictor": RATES["tau_online"]} if tied else RATES
    system = ModeSystem(np.mean(x1**2, axis=0), np.mean(x2 * x1, axis=0), **rates)
    w1, w2, th = np.random.default_rng(seed + 1).standard_normal((3, 4))
    return system.state(w1, w1 if tied else w2, th), system, x1, x2


def encode(W: Any, x: Any) -> Any:
    return x @ W.T if jnp.ndim(W) == 2 else x * W


def loss(W: Any, P: Any, Th: Any, x1: Any, x2: Any) -> Any:
    """½ E‖P W x1 − Θ x2‖², the mean over the pairs; for modes the sum over modes."""
    return jnp.mean(jnp.sum((encode(P, encode(W, x1)) - encode(Th, x2)) ** 2, axis=1)) / 2
