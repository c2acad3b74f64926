"""Vector fields of a linear encoder trained by a contrastive loss alone: no predictor, no target.

With Σs = E[x1 x1ᵀ] and Σd = E[x1 x2ᵀ] of two views, the averages of the encoder's outputs over views have covariance
W Σd Wᵀ, and the simple contrastive loss of a population is L = −tr W Σd Wᵀ (R105).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.fields.predictors import times
from dynamics.fields.vector_field import VectorField
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem


def encoder_start(parts: Any, system: MatrixSystem) -> EncoderState:
    """Start of an encoder, W of shape (n2, n1), checked.

    >>> encoder_start([[[0.1, 0.2]]], MatrixSystem(np.eye(2), np.eye(2))).online
    array([[0.1, 0.2]])
    """
    (online,) = parts
    W = np.array(online, dtype=np.float64)
    if W.ndim != 2 or W.shape[0] < 1 or W.shape[1] != system.n1:
        raise ValueError(f"`online` must have shape (n2, {system.n1}), got {W.shape}")
    if not np.all(np.isfinite(W)):
        raise ValueError(f"`online` must be finite, got {W[~np.isfinite(W)].flat[0]}")
    return EncoderState(W)


def encoder_sizes(state: EncoderState) -> tuple[float]:
    """Largest entry of W, by which all its components are measured."""
    return (float(np.max(np.abs(state.online))),)


def simple_rates(system: MatrixSystem, branches: int) -> np.ndarray:
    """Growth rates c λd − η of the eigenmodes of Σd, ascending, shape (n1,)."""
    sigma = system.sigma_d
    values = np.sort(sigma) if sigma.ndim == 1 else np.linalg.eigvalsh(sigma)
    return branches * values - system.weight_decay


def _field(name: str, branches: int) -> VectorField:
    def simple(t: Any, state: EncoderState, system: MatrixSystem) -> EncoderState:
        (W,) = state
        return EncoderState(branches * times(W, system.sigma_d) - system.weight_decay * W)

    def clock(system: MatrixSystem) -> tuple[float, float]:
        speeds = np.abs(simple_rates(system, branches))
        speeds = speeds[speeds > speeds.size * np.finfo(float).eps * np.max(speeds)]
        return (1 / float(np.max(speeds)), 1 / float(np.min(speeds))) if speeds.size else (1.0, 1.0)

    def growth(system: MatrixSystem) -> float:
        return float(simple_rates(system, branches)[-1])

    return VectorField(name, simple, start=encoder_start, sizes=encoder_sizes, clock=clock, growth=growth)


simple_field = _field("simple", 2)
"""dW/dt = 2 W Σd − η W, the gradient flow of L = r₊ − r₋ through both branches (R105, R113)."""

simple_one_branch_field = _field("simple-one-branch", 1)
"""dW/dt = W Σd − η W, the same behind a stop-gradient on one branch: half as fast (R105; DD Thm 3)."""
