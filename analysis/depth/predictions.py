"""What theory says of the ends of modes of a deep encoder: R320, and R322 with weight decay.

Without averages all fixed points with weight decay are balanced, for c_l(t) = e^{−2ηt} c_l(0) is constant there.
Weights stay bounded: d(τp v²)/dt <= 0 where v is outside [0, r], and τ_l w_l² = τp v² + c_l. A trajectory then comes
to the balanced weights, on which the flow is that of one variable, and above the threshold 0 is its one fixed point,
which all solutions approach: so does the trajectory, as those of asymptotically autonomous systems do whose limit
flow recurs nowhere else.
"""

from __future__ import annotations

import numpy as np

from analysis.depth.decay import balanced_speed, decay_rest, decay_threshold
from analysis.depth.fates import DeepFate, deep_fate
from analysis.fates.fate import Fate
from dynamics.fields.deep import DeepState, DeepSystem, deep_no_ema_field, layer_invariants
from dynamics.fields.vector_field import VectorField


def predict_deep_fates(state: DeepState, system: DeepSystem, vector_field: VectorField) -> DeepFate:
    """Predict where every mode of a deep encoder ends, with weight decay or without.

    Without weight decay, R320. With it, and without averages, R322: above the threshold every mode collapses; below
    it, modes of positive balanced weights, which stay balanced, collapse from below the saddle, and come to the upper
    point from above it.

    Parameters
    ----------
    state, system
        Start of all modes.
    vector_field
        With averages or without, one of `DEEP_FIELDS`.

    Returns
    -------
    DeepFate
        "" and NaN where no result applies.

    Notes
    -----
    Source: R320, R322.

    Examples
    --------
    >>> system = DeepSystem(1.0, 0.8, depth=2, weight_decay=0.04)
    >>> predict_deep_fates(system.deep_state(0.6, 0.6), system, deep_no_ema_field).fate.tolist()
    ['learned']
    """
    said = deep_fate(state, system)
    decay = np.broadcast_to(system.weight_decay, (system.n_modes,))
    reached = (decay > 0) & (system.lambda_s > 0) & (system.lambda_d > 0)
    if vector_field is not deep_no_ema_field or not np.any(reached):
        return said
    speed = balanced_speed(system.layer_times, float(np.max(system.tau_predictor)))
    star = decay_threshold(system.depth, system.lambda_s, system.lambda_d, speed)
    balanced = np.all(layer_invariants(state, system) == 0, axis=0) & (state.predictor > 0)
    lower, upper = np.full(system.n_modes, np.nan), np.zeros(system.n_modes)
    below = reached & balanced & (decay <= star)
    rates = np.stack([system.lambda_s, system.lambda_d, decay])
    different, which = np.unique(rates[:, below], axis=1, return_inverse=True)
    rests = [decay_rest(system.depth, s, d, eta, speed) for s, d, eta in different.T.tolist()]
    lower[below] = np.array([rest.lower for rest in rests])[which] if rests else np.nan
    upper[below] = np.array([rest.upper for rest in rests])[which] if rests else np.nan
    decided = (reached & (decay > star)) | (below & (state.predictor != lower) & (lower < upper))
    learned = below & (state.predictor > lower)
    level = np.where(learned, upper, 0.0)
    layers = level * np.sqrt(np.max(system.tau_predictor) / system.layer_times)
    return DeepFate(
        np.where(decided, np.where(learned, str(Fate.LEARNED), str(Fate.COLLAPSED)), said.fate),
        np.where(decided, layers, said.layers),
        np.where(decided, level, said.predictor),
        said.proved | decided,
    )
