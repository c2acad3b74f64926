"""The flow of a deep linear encoder of matrices as a vector field: W_1 (n2, n1), W_2 … W_L (n2, n2), and P (R320)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dynamics.fields.deep import DeepState, deep_matrix_field, layer_balances
from dynamics.fields.vector_field import VectorField
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem


class DeepMatrixState(NamedTuple):
    """State of a deep linear encoder of matrices, every layer with an average of its own.

    Parameters
    ----------
    first
        W_1, shape (n2, n1).
    upper
        W_2 … W_L, shape (L − 1, n2, n2).
    predictor
        P, shape (n2, n2).
    first_target, upper_targets
        Θ_1 and Θ_2 … Θ_L, which follow the layers one by one.

    A trajectory holds the same fields with time first.
    """

    first: Any
    upper: Any
    predictor: Any
    first_target: Any
    upper_targets: Any


def as_layers(state: DeepMatrixState) -> DeepState:
    """The same state as lists of layers and targets, first to last.

    >>> W = np.eye(2)
    >>> len(as_layers(DeepMatrixState(W, W[None], W, W, W[None])).layers)
    2
    """
    first, upper, P, target, targets = state
    return DeepState([first, *upper], P, [target, *targets])


def as_product(state: DeepMatrixState) -> MatrixState:
    """The encoder Ω = W_L ⋯ W_1, the predictor, and the target Θ_L ⋯ Θ_1; of trajectories too, time first.

    >>> W = 2 * np.eye(1)
    >>> as_product(DeepMatrixState(W, np.stack([W, W]), W, W, np.stack([W, W]))).online.tolist()
    [[8.0]]
    """
    first, upper, P, target, targets = state
    for k in range(np.shape(upper)[-3]):
        first, target = upper[..., k, :, :] @ first, targets[..., k, :, :] @ target
    return MatrixState(first, P, target)


def deep_matrix_state(parts: Any, system: MatrixSystem) -> DeepMatrixState:
    """Start of a run, checked.

    Raises
    ------
    ValueError
        A number is not finite, or the shapes do not fit.

    Examples
    --------
    >>> W, upper = np.ones((2, 3)), np.ones((1, 2, 2))
    >>> parts = (W, upper, np.eye(2), W, upper)
    >>> deep_matrix_state(parts, MatrixSystem(np.eye(3), np.eye(3))).upper.shape
    (1, 2, 2)
    """
    arrays = [np.array(part, dtype=np.float64) for part in parts]
    state = DeepMatrixState(*arrays)
    n2, L = len(state.first), len(state.upper) + 1
    shapes = [(n2, system.n1), (L - 1, n2, n2), (n2, n2), (n2, system.n1), (L - 1, n2, n2)]
    for name, part, shape in zip(DeepMatrixState._fields, arrays, shapes, strict=True):
        if n2 == 0 or part.shape != shape:
            raise ValueError(f"`{name}` must have shape {shape}, got {part.shape}")
        if not np.all(np.isfinite(part)):
            raise ValueError(f"`{name}` must be finite")
    return state


def _deep(t: Any, state: DeepMatrixState, system: MatrixSystem) -> DeepMatrixState:
    layers = as_layers(state)
    times = [float(system.tau_online)] * len(layers.layers)
    moved = deep_matrix_field(t, layers, system.sigma_s, system.sigma_d, times, system)
    first, *upper = moved.layers
    target, *targets = moved.targets
    shape = np.shape(state.upper)
    return DeepMatrixState(
        first, np.reshape(upper, shape), moved.predictor, target, np.reshape(targets, shape)
    )


def _own_targets(t: Any, state: DeepMatrixState, system: MatrixSystem) -> DeepMatrixState:
    return state._replace(first_target=state.first, upper_targets=state.upper)


def _without_average(t: Any, state: DeepMatrixState, system: MatrixSystem) -> DeepMatrixState:
    moved = _deep(t, state, system)
    return moved._replace(first_target=moved.first, upper_targets=moved.upper)


def _sizes(state: DeepMatrixState) -> tuple[Any, ...]:
    """Largest entry of every layer, W_l and Θ_l together; of all for the predictor."""
    first, upper, P, target, targets = (np.abs(part) for part in state)
    size = max(np.max(first), np.max(target))
    sizes = np.max(np.maximum(upper, targets), axis=(1, 2), keepdims=True)
    return size, sizes, max(np.max(P), size, np.max(sizes, initial=0.0)), size, sizes


deep_matrices_field = VectorField("full", _deep, start=deep_matrix_state, sizes=_sizes)
"""A deep encoder of matrices, with an average of every layer (`dynamics.fields.deep.deep_matrix_field`)."""

deep_matrices_no_ema_field = replace(
    deep_matrices_field, name="no-ema", derivative=_without_average, constrain=_own_targets
)
"""The same without averages, Θ_l = W_l."""

DEEP_MATRIX_FIELDS: dict[str, VectorField] = {
    one.name: one for one in (deep_matrices_field, deep_matrices_no_ema_field)
}
"""Fields of deep encoders of matrices by the name of their variant."""


def largest_imbalance(ts: Any, states: DeepMatrixState, system: MatrixSystem) -> float:
    """Largest departure of the invariants of R320 from e^{−2ηt} times their start along a trajectory, by entries.

    The invariants are τ_{l+1} W_{l+1}ᵀ W_{l+1} − τ_l W_l W_lᵀ, and τ_L W_L W_Lᵀ − τp Pᵀ P.
    """
    worst, first = 0.0, None
    for k, t in enumerate(ts):
        layers = as_layers(DeepMatrixState(*(part[k] for part in states)))
        times = [float(system.tau_online)] * len(layers.layers)
        here = np.stack(layer_balances(layers, times, float(system.tau_predictor)))
        first = here if first is None else first
        left = np.exp(-2 * system.weight_decay * (t - ts[0]))
        worst = max(worst, float(np.max(np.abs(here - left * first))))
    return worst
