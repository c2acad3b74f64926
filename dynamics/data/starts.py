"""Starts of matrix runs, drawn at random in the support of the moments."""

from __future__ import annotations

import numpy as np

from dynamics.data.moments import Moments
from dynamics.fields.deep_matrices import DeepMatrixState
from dynamics.states import MatrixState, State, random_state

SMALLEST, LARGEST = 1e-150, 1e7
"""Sizes of starts: squares are numbers, and above a few times the largest, rounding hides weights of size 1."""


def draw_start(
    moments: Moments, dim: int, *, init_online: float = 0.3, init_predictor: float = 0.1, seed: int = 0
) -> MatrixState:
    """Gaussian start of a matrix run on data, the same for all that run on them.

    W ~ init_online·N(0, 1)/√n_inputs and P ~ init_predictor·N(0, 1), Θ = W. W is drawn in terms of the samples, so that
    directions in which the data do not vary change nothing, and then written on the support of Σs.

    Parameters
    ----------
    moments
        Moments of the data.
    dim
        n2 >= 1.
    init_online, init_predictor
        Sizes: 0, or within `SMALLEST` and `LARGEST`.
    seed
        Seed of the draw.

    Raises
    ------
    ValueError
        A number is out of range.

    Examples
    --------
    >>> draw_start(Moments.from_eigenvalues([1.0, 1.0], [0.5, 0.2]), 3).online.shape
    (3, 2)
    """
    if dim < 1:
        raise ValueError(f"`dim` must be an integer >= 1, got {dim}")
    for name, value in (("init_online", init_online), ("init_predictor", init_predictor)):
        if not (value == 0 or SMALLEST <= value <= LARGEST):
            raise ValueError(f"`{name}` must be 0, or lie within {SMALLEST:g} and {LARGEST:g}, got {value:g}")
    n_inputs = moments.n_inputs
    scale = init_online / np.sqrt(n_inputs)
    start = random_state(n_inputs, dim, scale_online=scale, scale_predictor=init_predictor, seed=seed)
    return on_support(start, moments)


def draw_deep_start(
    moments: Moments,
    dim: int,
    depth: int,
    *,
    init_online: float = 0.3,
    init_predictor: float = 0.1,
    seed: int = 0,
) -> DeepMatrixState:
    """Gaussian start of a deep encoder: W_1 and P as of `draw_start`, W_l ~ init_online·N(0, 1)/√n2, Θ_l = W_l.

    Parameters
    ----------
    moments, dim, init_online, init_predictor, seed
        As for `draw_start`; with equal seeds W_1 and P are the same at every depth.
    depth
        L >= 1.

    Raises
    ------
    ValueError
        A number is out of range.

    Examples
    --------
    >>> draw_deep_start(Moments.from_eigenvalues([1.0, 1.0], [0.5, 0.2]), 3, 4).upper.shape
    (3, 3, 3)
    """
    if depth < 1:
        raise ValueError(f"`depth` must be an integer >= 1, got {depth}")
    start = draw_start(moments, dim, init_online=init_online, init_predictor=init_predictor, seed=seed)
    # a stream of their own, beside that of the first layer
    rng = np.random.default_rng([seed, depth])
    upper = init_online / np.sqrt(dim) * rng.standard_normal((depth - 1, dim, dim))
    return DeepMatrixState(start.online, upper, start.predictor, start.target, upper.copy())


_OF_INPUTS = ("online", "target", "first", "first_target")  # parts of states that read the inputs


def on_support(state: State, moments: Moments) -> State:
    """A state in terms of the samples, written on the support of Σs."""
    V = moments.support
    if V is None:
        return state
    return state._replace(**{name: getattr(state, name) @ V for name in _OF_INPUTS if name in state._fields})
