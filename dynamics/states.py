"""States of flows: NamedTuples of arrays, such as (W, P, Θ) of linear BYOL.

As NamedTuples, JAX sees them as pytrees and everybody can unpack them: ``W, P, Th = state``. A flow may have any such
state; its vector field says what its parts are.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np


class ModeState(NamedTuple):
    """State of decoupled eigenmodes, one scalar triple (w1, w2, θ) a mode.

    Parameters
    ----------
    online, predictor, target
        w1, w2 and θ; shape (n_modes,), or (T, n_modes) for a trajectory. Any array that broadcasts will do:
        NumPy, JAX, SymPy symbols.
    """

    online: Any
    predictor: Any
    target: Any


class MatrixState(NamedTuple):
    """State of the full network.

    Parameters
    ----------
    online
        W, shape (n2, n1): the encoder that gradient steps move.
    predictor
        P, shape (n2, n2).
    target
        Θ, shape (n2, n1): the encoder that follows W by an exponential moving average.

    A trajectory holds the same fields with time first: (T, n2, n1), (T, n2, n2), (T, n2, n1).
    """

    online: Any
    predictor: Any
    target: Any


class EncoderState(NamedTuple):
    """State of a network that is an encoder alone, such as one trained by a contrastive loss.

    Parameters
    ----------
    online
        W, shape (n2, n1), or (T, n2, n1) for a trajectory.
    """

    online: Any


State = TypeVar("State", bound=NamedTuple)


def pack(state: NamedTuple) -> np.ndarray:
    """Flatten a state into one float64 vector, part by part, each in row-major order.

    >>> pack(ModeState(np.array([1.0]), np.array([2.0]), np.array([3.0])))
    array([1., 2., 3.])
    """
    return np.concatenate([np.ravel(part) for part in state]).astype(np.float64, copy=False)


def unpack(vector: np.ndarray, like: State) -> State:
    """Rebuild a state from a vector, or from an array (..., n) of vectors: the inverse of `pack`.

    Parameters
    ----------
    vector
        Shape (..., n) with n the number of unknowns of `like`.
    like
        A state whose shapes are to be used.

    >>> like = ModeState(np.zeros(1), np.zeros(1), np.zeros(1))
    >>> unpack(np.arange(3.0), like).predictor
    array([1.])
    """
    lead, parts, start = vector.shape[:-1], [], 0
    for part in like:
        stop = start + np.size(part)
        parts.append(vector[..., start:stop].reshape(lead + np.shape(part)))
        start = stop
    return like._make(parts)


def random_state(n1: int, n2: int, *, scale_online: float, scale_predictor: float, seed: int) -> MatrixState:
    """Gaussian start: W ~ scale_online·N(0, 1), P ~ scale_predictor·N(0, 1), Θ = W.

    Parameters
    ----------
    n1, n2
        Input and feature dimension, each >= 1.
    scale_online, scale_predictor
        Standard deviation of the entries, finite and >= 0.
    seed
        Seed of NumPy's default generator; equal seeds give equal states bit for bit.

    >>> random_state(3, 2, scale_online=1.0, scale_predictor=0.1, seed=0).predictor.shape
    (2, 2)
    """
    for name, value in (("n1", n1), ("n2", n2)):
        if value < 1:
            raise ValueError(f"`{name}` must be an integer >= 1, got {value}")
    for name, scale in (("scale_online", scale_online), ("scale_predictor", scale_predictor)):
        if not (np.isfinite(scale) and scale >= 0):
            raise ValueError(f"`{name}` must be finite and >= 0, got {scale}")
    rng = np.random.default_rng(seed)
    online = scale_online * rng.standard_normal((n2, n1))
    return MatrixState(online, scale_predictor * rng.standard_normal((n2, n2)), online.copy())
