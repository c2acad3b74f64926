"""Which modes of a deep encoder collapse (R320).

With c_l = τ_l w_l² − τp v² and c_min the least of them, the layer of c_min is the one that can reach zero.

Without averages v moves towards r and never turns, so that a layer dies if and only if τp v² reaches −c_min on the
way.

With an average of every layer the rule is a theorem for v(0) > 0, and for c_min > 0. Write u for the weight of the
layer m of c_min. All |w_l| and |v| are increasing functions of |u| on the leaf, and

    τ_m du/dt = v Π_{k≠m} w_k (λd Π θ_k − λs v ω),   τt dθ_l/dt = w_l(u) − θ_l.

Where v > 0, and u and θ have the signs of the weights, which they keep, every off-diagonal derivative is >= 0: the
flow is cooperative. The states u = a, θ_l = (1 − δ) w_l(a) for l ≠ m, θ_m = a rise in every coordinate for small δ
while v(a) < r, and the states u = b, θ_l = w_l(b) fall while v(b) > r. The flow keeps their order, so it squeezes
every trajectory to v = r, or to u = 0 if v > r all along the leaf. A θ_l of the wrong sign gains the right one, or
u → 0 on the stable manifold of u = 0. For c_min > 0 no weight changes its sign, so that all θ have the right one in
the end, and v < 0 rises until it is positive.

What is left is v(0) < 0 with c_min <= 0. All fixed points of these leaves are collapsed; that every trajectory
converges is verified (`benchmarks/campaign_depth.py`), not proved.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.fates.fate import Fate
from dynamics.exact.deep import check_depth
from dynamics.fields.deep import DeepState, DeepSystem, layer_invariants


class DeepFate(NamedTuple):
    """Predicted ends of the modes of a deep encoder.

    Parameters
    ----------
    fate
        learned or collapsed, or "" where no result applies, shape (n_modes,).
    layers
        |w_l| at the end, shape (L, n_modes); NaN where unknown.
    predictor
        v at the end, shape (n_modes,).
    proved
        Whether the rule is proved for this start also with averages, shape (n_modes,).
    """

    fate: np.ndarray
    layers: np.ndarray
    predictor: np.ndarray
    proved: np.ndarray


def deep_fate(state: DeepState, system: DeepSystem) -> DeepFate:
    """Predict where every mode of a deep encoder ends.

    With c_min = min_l (τ_l w_l² − τp v²) at the start: collapse iff v > 0 and c_min <= −τp r², or v <= 0 and
    c_min <= 0. Learned modes end at v = r and w_l² = (c_l + τp r²)/τ_l, collapsed ones at |v| = sqrt(−c_min/τp) and
    w_l² = (c_l − c_min)/τ_l.

    Parameters
    ----------
    state
        Start; the targets play no part.
    system
        λs > 0, λd > 0 and η = 0; empty elsewhere.

    Notes
    -----
    Off the stable manifold of collapsed points with 0 < v < r. Without averages a theorem; with averages of every
    layer a theorem but for v(0) < 0 with c_min <= 0 (see the module). Source: R320.

    Examples
    --------
    >>> system = DeepSystem(1.0, 0.5, depth=2)
    >>> found = deep_fate(system.deep_state([0.3, 0.5], 0.4), system)
    >>> found.fate.tolist(), found.layers.ravel().round(5).tolist()
    (['learned'], [0.42426, 0.5831])
    """
    w, v, _ = state
    to, tp = system.layer_times, np.asarray(system.tau_predictor)
    c = layer_invariants(state, system)
    least = np.min(c, axis=0)
    known = (system.lambda_s > 0) & (system.lambda_d > 0) & (np.asarray(system.weight_decay) == 0)
    r = np.where(known, system.ratio, 1.0)
    # a layer that is zero with its target stays there, and so do two layers that are zero
    zero = w == 0
    rests = np.any(zero & (state.targets == 0), axis=0) | (np.sum(zero, axis=0) > 1)
    collapsed = deep_margin(state, system) <= 0
    root = np.sqrt(np.maximum(np.where(collapsed, -least, tp * r**2), 0.0) / tp)
    end = np.where(collapsed, np.where(v > 0, root, -root), r)
    squares = np.maximum(c + np.where(collapsed, -least, tp * r**2), 0.0) / to
    collapsed = collapsed | rests
    end, squares = np.where(rests, v, end), np.where(rests, w**2, squares)
    return DeepFate(
        fate=np.where(known, np.where(collapsed, str(Fate.COLLAPSED), str(Fate.LEARNED)), ""),
        layers=np.where(known, np.sqrt(squares), np.nan),
        predictor=np.where(known, end, np.nan),
        proved=known & (rests | (v > 0) | (least > 0)),
    )


def deep_margin(state: DeepState, system: DeepSystem) -> np.ndarray:
    """Margin of learning: c_min + τp r² where v > 0, c_min elsewhere; positive where a mode is learned (R320).

    The boundaries of basins are where this changes sign.

    >>> system = DeepSystem(1.0, 0.5, depth=2)
    >>> deep_margin(system.deep_state([0.3, 0.5], 0.4), system).round(12).tolist()
    [0.18]
    """
    least: np.ndarray = np.min(layer_invariants(state, system), axis=0)
    tp = np.asarray(system.tau_predictor)
    return least + np.where(np.asarray(state.predictor) > 0, tp * system.ratio**2, 0.0)


def collapse_probability(depth: int, ratio: float) -> tuple[float, float]:
    """Probability that a mode of a deep encoder collapses from N(0, 1) weights, all τ = 1.

        P = L/(2(L + 1)) + ∫_r^∞ φ(v) [1 − P(|w| > sqrt(v² − r²))^L] dv

    Parameters
    ----------
    depth
        L >= 1.
    ratio
        r >= 0.

    Returns
    -------
    total, negative
        P, and its first term, the part of v <= 0: the least of L + 1 equal sizes is one of the layers'.

    Raises
    ------
    ValueError
        An argument is out of range.

    Notes
    -----
    Source: R320.

    Examples
    --------
    >>> [round(collapse_probability(L, 0.5)[0], 4) for L in (1, 2, 3, 5, 10)]
    [0.4363, 0.5742, 0.6401, 0.7028, 0.7553]
    """
    from scipy.integrate import quad
    from scipy.special import erfc

    L = check_depth(depth)
    if not (np.isfinite(ratio) and ratio >= 0):
        raise ValueError(f"`ratio` must be finite and >= 0, got {ratio}")
    negative = L / (2 * (L + 1))

    def density(x: float) -> float:  # v = sqrt(r² + x²), so that the root is smooth at v = r
        v2 = ratio**2 + x**2
        jacobian = x / np.sqrt(v2) if v2 > 0 else 1.0
        return float(jacobian * np.exp(-v2 / 2) / np.sqrt(2 * np.pi) * (1 - erfc(x / np.sqrt(2)) ** L))

    positive, _ = quad(density, 0.0, np.inf, epsabs=0.0, epsrel=1e-11, limit=200)
    return negative + positive, negative
