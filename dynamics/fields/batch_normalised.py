"""Vector fields of linear BYOL with batch normalisation, in the limit of large batches.

Features z = W x of online and target network are normalised row by row, ŵ_i = w_i/σ_i with σ_i² = w_i S w_iᵀ + ε and
S = Σs − μμᵀ, between encoder and predictor. A normaliser that subtracts the mean and divides by nothing needs no field
of its own: it is the flow of centred moments (`dynamics.normalisation.centred_moments`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.fields.contrastive import encoder_sizes, encoder_start
from dynamics.fields.matrices import full_field, no_ema_field, no_predictor_field
from dynamics.fields.predictors import times
from dynamics.fields.vector_field import VectorField
from dynamics.normalisation import MomentPair, Normaliser, centred, checked_mean, learning_moments
from dynamics.states import EncoderState, MatrixState
from dynamics.system import MatrixSystem

BASES = (full_field, no_predictor_field, no_ema_field)
"""Flows that are defined with a normaliser that divides or whose mean is detached."""


def deviations(W: Any, sigma: Any, epsilon: float = 0.0) -> Any:
    """Standard deviation of every output, σ_i = √(w_i S w_iᵀ + ε), shape (…, n2, 1).

    >>> deviations(np.array([[3.0, 4.0]]), np.array([1.0, 1.0]))
    array([[5.]])
    """
    return ((times(W, sigma) * W).sum(-1, keepdims=True) + epsilon) ** 0.5


def batch_normalised_field(
    normaliser: Normaliser,
    mean: Any = None,
    *,
    base: VectorField = full_field,
    target_centred: bool = False,
    after_predictor: bool = False,
) -> VectorField:
    """Flow of linear BYOL with a normaliser, of a `MatrixState` and a system with moments that are not centred.

        G = Pᵀ(Θ̂ T′ − P Ŵ S′),   E = Θ̂ T″ − P Ŵ S″
        dw_i/dt = (G_i − (ŵ_i·(Pᵀ E)_i) ŵ_i S)/(σ_i τo) − η w_i,   dP/dt = E Ŵᵀ/τp − η P,   dΘ/dt = (W − Θ)/τt

    with the moments S′, T′ and S″, T″ of R213; the second term of dw_i/dt is left out for a detached deviation, and
    Ŵ = W, Θ̂ = Θ, σ = 1 for none.

    Parameters
    ----------
    normaliser
        What is done to the features.
    mean
        μ of the views, shape (n1,); zero where left out.
    base
        One of `BASES`: what moves besides.
    target_centred
        Whether the target's outputs have mean zero in any case. Where the normaliser subtracts with gradients, or
        only backward, it makes no difference (R213).
    after_predictor
        Whether a normaliser without deviation is behind the predictor.

    Returns
    -------
    VectorField
        It refuses starts with a zero row where the deviation has no floor ε.

    Raises
    ------
    ValueError
        A base that is not known, or a deviation behind the predictor.

    Notes
    -----
    Where encoder and predictor learn from the same moments, every ‖w_i‖ is conserved with the deviation in the graph,
    and every τo‖w_i‖² − τp‖P_{:i}‖² with a detached one. Without predictor
    and average the mean changes nothing (R215). Source: R213, R216, R218, R221.

    Examples
    --------
    >>> system = MatrixSystem([1.0], [0.5])
    >>> field = batch_normalised_field(Normaliser(std="full"))
    >>> moved = field(0.0, system.state([[0.3]], [[0.1]]), system)
    >>> moved.online.round(12) + 0.0, moved.predictor
    (array([[0.]]), array([[0.4]]))
    """
    if base not in BASES:
        raise ValueError(f"`base` must be one of {', '.join(b.name for b in BASES)}, got {base.name}")
    if after_predictor and normaliser.std != "none":
        raise ValueError(f"`std` must be none for a normaliser after the predictor, got {normaliser.std}")
    divides, epsilon = normaliser.std != "none", normaliser.epsilon

    def derivative(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
        W, P, Th = state
        raw, mu = MomentPair(system.sigma_s, system.sigma_d), checked_mean(mean, system.n1)
        middle = MomentPair(centred(raw.sigma_s, mu), centred(raw.sigma_d, mu)) if mu.any() else raw
        options = {"target_centred": target_centred, "after_predictor": after_predictor}
        seen = learning_moments(raw, middle, normaliser, **options)
        S = middle.sigma_s
        sigma = deviations(W, S, epsilon) if divides else 1.0
        Wn, Tn = W / sigma, (Th / deviations(Th, S, epsilon) if divides else Th)
        PW = P @ Wn
        E = times(Tn, seen.predictor.sigma_d) - times(PW, seen.predictor.sigma_s)
        G = P.T @ (times(Tn, seen.encoder.sigma_d) - times(PW, seen.encoder.sigma_s))
        if normaliser.std == "full":
            G = G - (Wn * (P.T @ E)).sum(-1, keepdims=True) * times(Wn, S)
        dW = G / sigma / system.tau_online - system.weight_decay * W
        if base is no_predictor_field:
            dP = 0.0 * P
        else:
            dP = E @ Wn.T / system.tau_predictor - system.weight_decay * P
        return MatrixState(dW, dP, dW if base is no_ema_field else (W - Th) / system.tau_target)

    def require(state: MatrixState, system: MatrixSystem) -> None:
        mu = checked_mean(mean, system.n1)
        if not divides or epsilon:
            return
        S = centred(system.sigma_s, mu)
        for name in ("online", "target"):
            if np.any(still := deviations(getattr(state, name), S)[:, 0] == 0):
                raise ValueError(
                    f"`{name}` must have no row of zeros, which cannot be normalised, got one in row"
                    f" {int(np.argmax(still)) + 1}"
                )

    name = f"batch-norm-{base.name}-{normaliser.mean}-{normaliser.std}"
    return VectorField(name, derivative, base.constrain, require)


def _rayleigh(t: Any, state: EncoderState, system: MatrixSystem) -> EncoderState:
    (W,) = state
    WS, WD = times(W, system.sigma_s), times(W, system.sigma_d)
    variance = (WS * W).sum(-1, keepdims=True)
    quotient = (WD * W).sum(-1, keepdims=True) / variance
    return EncoderState((WD - quotient * WS) / variance / system.tau_online)


def _no_zero_row(state: EncoderState, system: MatrixSystem) -> None:
    if np.any(still := deviations(state.online, system.sigma_s)[:, 0] == 0):
        raise ValueError(
            "`online` must have no row of zeros, which cannot be normalised, got one in row"
            f" {int(np.argmax(still)) + 1}"
        )


rayleigh_field = VectorField(
    "rayleigh", _rayleigh, require=_no_zero_row, start=encoder_start, sizes=encoder_sizes
)
"""dw_i/dt = ½∇R(w_i)/τo, R(w) = w D wᵀ/w S wᵀ: the flow with normalised features, neither predictor nor average (R219).

It is the same with or without subtraction of the mean; S and D, the moments of its system, are centred."""
