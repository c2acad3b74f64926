"""The flow of a deep linear encoder and a predictor, with an average of every layer as target (R320–R322)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from dynamics.fields.predictors import times
from dynamics.fields.vector_field import VectorField
from dynamics.system import ModeSystem


class DeepState(NamedTuple):
    """State of a deep linear encoder, of decoupled modes or of matrices.

    Parameters
    ----------
    layers
        Of modes w_1 … w_L, first to last, shape (L, n_modes), or (T, L, n_modes) for a trajectory. Of matrices a
        sequence of W_1 … W_L, whose product W_L ⋯ W_1 is the encoder.
    predictor
        v, shape (n_modes,), or P, shape (n2, n2).
    targets
        θ_1 … θ_L, which follow the layers one by one; as `layers`.
    """

    layers: Any
    predictor: Any
    targets: Any


@dataclass(frozen=True, eq=False)
class DeepSystem(ModeSystem):
    """Decoupled modes of a deep linear encoder.

    Parameters
    ----------
    lambda_s, lambda_d, tau_predictor, tau_target, weight_decay
        As for `ModeSystem`.
    depth
        L >= 1, the number of layers.
    tau_online
        τ_l > 0: one number for all layers, or one for each, shape (L,).

    Raises
    ------
    ValueError
        As for `ModeSystem`; `depth` < 1; `tau_online` has another shape.

    Examples
    --------
    >>> DeepSystem(1.0, 0.5, depth=2, tau_online=[1.0, 2.0]).layer_times
    array([[1.],
           [2.]])
    """

    depth: int = field(default=1, kw_only=True)
    layer_times: Any = field(init=False, repr=False, default=None)  # τ_l, shape (L, 1)

    def __post_init__(self) -> None:
        whole = isinstance(self.depth, (int, np.integer)) and not isinstance(self.depth, bool)
        if not (whole and self.depth >= 1):
            raise ValueError(f"`depth` must be an integer >= 1, got {self.depth!r}")
        times = np.array(self.tau_online, dtype=np.float64)
        if times.shape not in ((), (self.depth,)):
            raise ValueError(
                f"`tau_online` must be one number or one per layer ({self.depth}), got shape {times.shape}"
            )
        if not np.all(np.isfinite(times) & (times > 0)):
            raise ValueError(f"`tau_online` must be finite and > 0, got {self.tau_online}")
        object.__setattr__(self, "tau_online", float(np.max(times)))  # the slowest, for clocks
        super().__post_init__()
        column = np.broadcast_to(times, (self.depth,))[:, None].copy()
        column.setflags(write=False)
        object.__setattr__(self, "layer_times", column)

    def deep_state(self, layers: Any = 0.1, predictor: Any = 0.1, targets: Any = None) -> DeepState:
        """Start of all modes, checked.

        Parameters
        ----------
        layers
            w_1 … w_L: one number for all, shape (L,) for all modes, or (L, n_modes).
        predictor
            v, one number for all modes or one for each.
        targets
            θ_1 … θ_L, likewise; the layers themselves when left out.

        Raises
        ------
        ValueError
            A number is not finite, or the shapes do not fit.

        Examples
        --------
        >>> DeepSystem(1.0, 0.5, depth=2).deep_state([0.3, 0.5], 0.4).targets.tolist()
        [[0.3], [0.5]]
        """
        shape = (self.depth, self.n_modes)
        parts = []
        for name, value in (("layers", layers), ("targets", layers if targets is None else targets)):
            array = np.array(value, dtype=np.float64)
            array = array[:, None] if array.shape == (self.depth,) else array
            if array.shape not in ((), (self.depth, 1), shape) or not np.all(np.isfinite(array)):
                raise ValueError(
                    f"`{name}` must be finite, one number per layer ({self.depth}), got {np.asarray(value).tolist()}"
                )
            parts.append(np.broadcast_to(array, shape).copy())
        return DeepState(parts[0], super().state(predictor=predictor).predictor, parts[1])


def products_of_others(factors: Any) -> Any:
    """Π_{k≠l} of factors along the first axis, for every l; no division, so that zeros are no matter.

    >>> products_of_others(np.array([2.0, 3.0, 0.0])).tolist()
    [0.0, 0.0, 6.0]
    """
    n = len(factors)
    below, above = [np.ones_like(factors[0])], [np.ones_like(factors[0])]
    for k in range(n - 1):
        below.append(below[-1] * factors[k])
        above.append(above[-1] * factors[n - 1 - k])
    return np.stack([below[k] * above[n - 1 - k] for k in range(n)])


def _deep(t: Any, state: DeepState, system: Any) -> DeepState:
    w, v, th = state
    others = products_of_others(w)
    omega = others[0] * w[0]
    e = np.prod(th, axis=0) * system.lambda_d - v * omega * system.lambda_s
    eta = system.weight_decay
    return DeepState(
        v * others * e / system.layer_times - eta * w,
        omega * e / system.tau_predictor - eta * v,
        (w - th) / system.tau_target,
    )


def _deep_without_average(t: Any, state: DeepState, system: Any) -> DeepState:
    moved = _deep(t, state, system)
    return moved._replace(targets=moved.layers)


def _own_target(t: Any, state: DeepState, system: Any) -> DeepState:
    return state._replace(targets=state.layers)


def _start(parts: Any, system: DeepSystem) -> DeepState:
    return system.deep_state(*parts)


def _sizes(state: DeepState) -> tuple[Any, ...]:
    """Layers move by products with all others: each is sized by itself, the predictor by the largest of all."""
    w, v, th = (np.abs(part) for part in state)
    size = np.maximum(w, th)
    return size, np.maximum(v, np.max(size, axis=0)), size


deep_field = VectorField("full", _deep, start=_start, sizes=_sizes)
"""Modes of a deep encoder: with ω = Π w_k and e = λd Π θ_k − λs v ω,

    dw_l/dt = v (Π_{k≠l} w_k) e/τ_l − η w_l,   dv/dt = ω e/τp − η v,   dθ_l/dt = (w_l − θ_l)/τt.
"""

deep_no_ema_field = replace(
    deep_field, name="no-ema", derivative=_deep_without_average, constrain=_own_target
)
"""The same without averages, θ_l = w_l: e = ω (λd − λs v)."""

DEEP_FIELDS: dict[str, VectorField] = {one.name: one for one in (deep_field, deep_no_ema_field)}
"""Fields of deep encoders by the name of their variant."""


def layer_invariants(state: DeepState, system: DeepSystem) -> Any:
    """Invariants c_l = τ_l w_l² − τp v² of every layer, shape (…, L, n_modes) (R320).

    With weight decay c_l(t) = e^{−2ηt} c_l(0).

    >>> system = DeepSystem(1.0, 0.5, depth=2)
    >>> layer_invariants(system.deep_state([0.3, 0.5], 0.4), system).ravel().round(12).tolist()
    [-0.07, 0.09]
    """
    w, v, _ = state
    v = np.expand_dims(v, -2)
    # τ w² − τp v² as a product of sums does not cancel where they are close
    a, b = np.sqrt(system.layer_times) * w, np.sqrt(system.tau_predictor) * v
    return (a - b) * (a + b)


# --- matrices -----------------------------------------------------------------------------------------------


def _product(factors: Sequence[Any], n: int) -> Any:
    """W_k ⋯ W_1 of some layers, first to last; the identity of size n for none of them."""
    return reduce(lambda product, W: W @ product, factors, np.eye(n))


def deep_matrix_field(
    t: float, state: DeepState, sigma_s: Any, sigma_d: Any, layer_times: Sequence[float], system: Any
) -> DeepState:
    """Flow of a deep linear encoder of matrices.

    With Ω = W_L ⋯ W_1, Q = Θ_L ⋯ Θ_1 and E = Q Σd − P Ω Σs,

        dW_l/dt = (P W_L ⋯ W_{l+1})ᵀ E (W_{l−1} ⋯ W_1)ᵀ/τ_l − η W_l
        dP/dt   = E Ωᵀ/τp − η P
        dΘ_l/dt = (W_l − Θ_l)/τt

    Parameters
    ----------
    t
        Time; the field does not depend on it.
    state
        Sequences of layers whose shapes may differ, and P.
    sigma_s, sigma_d
        Σs and Σd, shape (n1, n1), or (n1,) where they are diagonal.
    layer_times
        τ_1 … τ_L.
    system
        Gives τp, τt and η.

    Notes
    -----
    Source: R320.

    Examples
    --------
    >>> state = DeepState([np.array([[0.5]])], np.array([[0.2]]), [np.array([[0.5]])])
    >>> moved = deep_matrix_field(0.0, state, np.eye(1), 0.5 * np.eye(1), [1.0], ModeSystem(1.0, 0.5))
    >>> moved.predictor.round(12).tolist()
    [[0.075]]
    """
    W, P, Th = state
    n1 = W[0].shape[1]
    Q, Omega = _product(Th, n1), _product(W, n1)
    E = times(Q, sigma_d) - times(P @ Omega, sigma_s)
    eta = system.weight_decay
    layers = []
    for k, (one, tau) in enumerate(zip(W, layer_times, strict=True)):
        above = P @ _product(W[k + 1 :], len(one))
        layers.append(above.T @ E @ _product(W[:k], n1).T / tau - eta * one)
    targets = [(one - th) / system.tau_target for one, th in zip(W, Th, strict=True)]
    return DeepState(layers, E @ Omega.T / system.tau_predictor - eta * P, targets)


def layer_balances(state: DeepState, layer_times: Sequence[float], tau_predictor: float) -> list[Any]:
    """Invariants of a deep encoder of matrices: one per pair of neighbouring layers, the predictor the last (R320).

    τ_{l+1} W_{l+1}ᵀ W_{l+1} − τ_l W_l W_lᵀ for l < L, and τ_L W_L W_Lᵀ − τp Pᵀ P; times e^{2ηt} with weight decay.

    >>> [c.item() for c in layer_balances(DeepState([np.eye(1), 2 * np.eye(1)], np.eye(1), []), [1.0, 1.0], 1.0)]
    [3.0, 3.0]
    """
    W, P, _ = state
    pairs = zip(W[:-1], W[1:], layer_times[:-1], layer_times[1:], strict=True)
    balances = [upper * B.T @ B - lower * A @ A.T for A, B, lower, upper in pairs]
    return [*balances, layer_times[-1] * W[-1] @ W[-1].T - tau_predictor * P.T @ P]
