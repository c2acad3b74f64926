"""Two-layer rectified networks with normalised outputs (R129)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynamics.fields.two_layers import TwoLayerState


class Outputs(NamedTuple):
    """Normalised outputs z = f/‖f‖ of some inputs, shape (n, n_outputs), and ‖f‖, shape (n,)."""

    z: np.ndarray
    norms: np.ndarray

    def degenerate(self, tolerance: float) -> int:
        """Number of outputs with ‖f‖ < tolerance: their gradients are as large as 1/‖f‖.

        >>> Outputs(np.eye(2), np.array([1.0, 1e-9])).degenerate(1e-6)
        1
        """
        return int(np.count_nonzero(self.norms < tolerance))


def normalised_outputs(state: TwoLayerState, x: Any) -> Outputs:
    """Outputs z = f/‖f‖, f = W2 ReLU(W1 x), of a network without biases.

    Parameters
    ----------
    state
        `bottom` W1 (n1, d), and `top` W2 (n2, n1), or (n1,) where it is diagonal; two outputs at least.
    x
        Inputs, shape (n, d).

    Returns
    -------
    Outputs
        Where f = 0, z = 0.

    Raises
    ------
    ValueError
        There is but one output: then z = ±1 and every gradient is zero.

    Examples
    --------
    >>> normalised_outputs(TwoLayerState(np.eye(2), np.array([3.0, 4.0])), [[1.0, 1.0]]).z
    array([[0.6, 0.8]])
    """
    W1, W2 = _full(state)
    f = np.maximum(np.asarray(x, dtype=np.float64) @ W1.T, 0.0) @ W2.T
    norms = np.linalg.norm(f, axis=1)
    return Outputs(f / np.where(norms == 0, 1.0, norms)[:, None], norms)


def normalised_gradient(state: TwoLayerState, x: Any, slopes: Any) -> TwoLayerState:
    """Gradient by the weights of a loss of normalised outputs, from its gradient by those, ∂L/∂z.

        ∂L/∂f = (I − z zᵀ) ∂L/∂z / ‖f‖

    Parameters
    ----------
    state, x
        As for `normalised_outputs`.
    slopes
        ∂L/∂z for each input, shape (n, n_outputs).

    Returns
    -------
    TwoLayerState
        Shaped like `state`. An input with f = 0, at which L has no gradient, counts as zero.

    Raises
    ------
    ValueError
        There is but one output.

    Notes
    -----
    Whatever the loss, ⟨W1, ∂L/∂W1⟩ = ⟨W2, ∂L/∂W2⟩ = 0, and w2_j ∂L/∂w2_j = w1_jᵀ ∂L/∂w1_j for a diagonal W2: the flow
    conserves Σ_j w2_j², ‖W1‖² and every w2_j² − ‖w1_j‖², and a step of size ε adds exactly ε²‖g‖² to the squared
    norm of each layer. Source: R129, R103.

    Examples
    --------
    >>> state = TwoLayerState(np.eye(2), np.array([3.0, 4.0]))
    >>> normalised_gradient(state, [[1.0, 1.0]], [[1.0, 0.0]]).top.round(12)
    array([ 0.128, -0.096])
    """
    W1, W2 = _full(state)
    X, dz = np.asarray(x, dtype=np.float64), np.asarray(slopes, dtype=np.float64)
    z, norms = normalised_outputs(state, X)
    hidden = np.maximum(X @ W1.T, 0.0)
    across = dz - z * (z * dz).sum(axis=1, keepdims=True)
    df = np.where(norms[:, None] == 0, 0.0, across) / np.where(norms == 0, 1.0, norms)[:, None]
    top = df.T @ hidden
    bottom = (df @ W2 * (hidden > 0)).T @ X
    return TwoLayerState(bottom, top if np.ndim(state.top) == 2 else np.diagonal(top).copy())


def _full(state: TwoLayerState) -> tuple[np.ndarray, np.ndarray]:
    W1, top = (np.asarray(part, dtype=np.float64) for part in state)
    W2 = np.diag(top) if top.ndim == 1 else top
    if len(W2) < 2:
        raise ValueError(
            "`top` must have two outputs at least to be normalised, got 1: z = ±1 has no gradient"
        )
    return W1, W2
