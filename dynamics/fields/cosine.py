"""The flow of the cosine loss in high dimension, and of the IsoLoss with a learned predictor (R311, R315, R323).

The cosine loss L = 1 − E cos(P W x1, sg Θ x2) of many modes is 1 − T/(N_p N_t), for norms of high-dimensional vectors
hardly fluctuate: T = tr(P W Σd Θᵀ), N_p² = tr(P W Σs Wᵀ Pᵀ), N_t² = tr(Θ Σs Θᵀ).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dynamics.fields.predictors import times
from dynamics.fields.vector_field import VectorField
from dynamics.states import MatrixState, ModeState


class CosineScales(NamedTuple):
    """What norms make of the flow.

    Parameters
    ----------
    kappa
        κ = T/N_p², by which Σs is scaled.
    clock
        1/(N_p N_t), by which time runs.
    """

    kappa: Any
    clock: Any


def mode_scales(state: ModeState, system: Any) -> CosineScales:
    """κ and the clock of decoupled modes, of which T and the squared norms are sums.

    >>> from dynamics.system import ModeSystem
    >>> system = ModeSystem(1.0, 0.5)
    >>> mode_scales(system.state(2.0, 0.5, 2.0), system).kappa.item()
    1.0
    """
    w, p, th = state
    seen, aimed = (p * w) ** 2 * system.lambda_s, th**2 * system.lambda_s
    T, Np2, Nt2 = (
        np.sum(part, axis=-1, keepdims=True) for part in (p * w * th * system.lambda_d, seen, aimed)
    )
    return CosineScales(T / Np2, 1 / (np.sqrt(Np2) * np.sqrt(Nt2)))


def _modes(t: Any, state: ModeState, system: Any) -> ModeState:
    w, p, th = state
    kappa, clock = mode_scales(state, system)
    e = clock * (th * system.lambda_d - kappa * p * w * system.lambda_s)
    eta = system.weight_decay
    return ModeState(
        p * e / system.tau_online - eta * w,
        w * e / system.tau_predictor - eta * p,
        (w - th) / system.tau_target,
    )


def matrix_scales(state: MatrixState, system: Any) -> CosineScales:
    """κ and the clock of the full network.

    >>> from dynamics.system import MatrixSystem
    >>> system = MatrixSystem(np.eye(2), 0.5 * np.eye(2))
    >>> float(matrix_scales(system.state(np.eye(2), 0.5 * np.eye(2)), system).kappa)
    1.0
    """
    W, P, Th = state
    A = P @ W
    T, Np2, Nt2 = (
        (times(X, sigma) * Y).sum()
        for X, sigma, Y in ((A, system.sigma_d, Th), (A, system.sigma_s, A), (Th, system.sigma_s, Th))
    )
    return CosineScales(T / Np2, 1 / (Np2**0.5 * Nt2**0.5))


def _matrices(t: Any, state: MatrixState, system: Any) -> MatrixState:
    W, P, Th = state
    kappa, clock = matrix_scales(state, system)
    E = clock * (times(Th, system.sigma_d) - kappa * (P @ times(W, system.sigma_s)))
    eta = system.weight_decay
    return MatrixState(
        P.T @ E / system.tau_online - eta * W,
        E @ W.T / system.tau_predictor - eta * P,
        (W - Th) / system.tau_target,
    )


def _outputs_live(state: Any, system: Any) -> None:
    """Refuse states whose outputs have no direction."""
    scales = mode_scales if isinstance(state, ModeState) else matrix_scales
    with np.errstate(divide="ignore", invalid="ignore"):
        found = scales(state, system)
    if not np.all(np.isfinite(found.kappa) & np.isfinite(found.clock)):
        raise ValueError("the start must have predictions and targets that are not all zero, got none")


def _own_target(t: Any, state: Any, system: Any) -> Any:
    return state._replace(target=state.online)


cosine_mode_field = VectorField("cosine", _modes, require=_outputs_live)
"""Modes of cosine BYOL in high dimension: with κ = T/N_p² and e = (θ λd − κ p w λs)/(N_p N_t),

    dw/dt = p e/τo − η w,   dp/dt = w e/τp − η p,   dθ/dt = (w − θ)/τt   (R315).
"""

cosine_field = VectorField("cosine", _matrices, require=_outputs_live)
"""The full network: E = (Θ Σd − κ P W Σs)/(N_p N_t), dW/dt = Pᵀ E/τo − η W, dP/dt = E Wᵀ/τp − η P (R315)."""


def _without_average(t: Any, state: MatrixState, system: Any) -> MatrixState:
    moved = _matrices(t, state, system)
    return moved._replace(target=moved.online)


def _modes_without_average(t: Any, state: ModeState, system: Any) -> ModeState:
    moved = _modes(t, state, system)
    return moved._replace(target=moved.online)


cosine_no_ema_mode_field = replace(
    cosine_mode_field, name="cosine-no-ema", derivative=_modes_without_average, constrain=_own_target
)
"""Modes whose target is their own encoder, behind a stop-gradient."""

cosine_no_ema_field = replace(
    cosine_field, name="cosine-no-ema", derivative=_without_average, constrain=_own_target
)
"""The full network whose target is its own encoder, behind a stop-gradient."""


def sample_cosine_loss(W: Any, P: Any, Th: Any, x1: Any, x2: Any) -> Any:
    """Cosine loss 1 − mean cos(P W x1, Θ x2) of a batch; arrays of NumPy or of JAX.

    Parameters
    ----------
    W, P, Th
        Encoder (n2, n1), predictor (n2, n2) and target (n2, n1).
    x1, x2
        Views, shape (B, n1).

    Examples
    --------
    >>> float(sample_cosine_loss(np.eye(2), np.eye(2), np.eye(2), np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]])))
    1.0
    """
    z, aim = x1 @ (P @ W).T, x2 @ Th.T
    z, aim = (y / ((y**2).sum(axis=-1, keepdims=True)) ** 0.5 for y in (z, aim))
    return 1 - (z * aim).sum(axis=-1).mean()


def _iso(t: Any, state: ModeState, system: Any) -> ModeState:
    w, p, th = state
    e = th * system.lambda_d - p * w * system.lambda_s
    return ModeState(e / system.tau_online, w * e / system.tau_predictor, (w - th) / system.tau_target)


def _iso_without_average(t: Any, state: ModeState, system: Any) -> ModeState:
    moved = _iso(t, state, system)
    return moved._replace(target=moved.online)


iso_mode_field = VectorField("iso", _iso)
"""Modes of the IsoLoss with a learned predictor: e = θ λd − w2 w1 λs reaches the encoder without the predictor,

    dw1/dt = e/τo,   dw2/dt = w1 e/τp,   dθ/dt = (w1 − θ)/τt   (R323).
"""

iso_no_ema_mode_field = VectorField("iso-no-ema", _iso_without_average, constrain=_own_target)
"""The same without an average, θ = w1."""


def iso_invariant(state: ModeState, system: Any) -> Any:
    """Invariant τo w1²/2 − τp w2 of the IsoLoss, for any θ (R323).

    >>> from dynamics.system import ModeSystem
    >>> system = ModeSystem(1.0, 0.5)
    >>> iso_invariant(system.state(0.4, -0.3), system).round(12).tolist()
    [0.38]
    """
    w, p, _ = state
    return system.tau_online * w**2 / 2 - system.tau_predictor * p
