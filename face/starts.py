"""Where runs of the full network start, and by which field they go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from face.systems import System

if TYPE_CHECKING:
    from dynamics.states import MatrixState


def matrix_field(made: System) -> Any:
    """Vector field of the full network of the system's variant, which must have one."""
    if made.variant.matrix_field is None:
        raise ValueError(
            f"`variant` must be one of matrices, too, for the full network, got {made.variant.name}"
        )
    return made.variant.matrix_field


def start_of(
    made: System, state: Any, dim: int | None, init_online: float, init_predictor: float, seed: int
) -> MatrixState:
    """W, P and Θ on the support of Σs, from a state in terms of the samples or at random."""
    from dynamics.data.starts import draw_start, on_support
    from dynamics.states import MatrixState

    n = made.moments.n_inputs
    if state is None:
        n2 = min(8, n) if dim is None else dim
        return draw_start(made.moments, n2, init_online=init_online, init_predictor=init_predictor, seed=seed)
    if dim is not None:
        raise ValueError(f"`dim` must not be given with `state`, which has its own, got {dim}")
    import numpy as np

    parts = [np.asarray(part, dtype=float) for part in state]
    if len(parts) != 3 or parts[0].ndim != 2 or parts[0].shape[1] != n:
        raise ValueError(
            f"`state` must hold W, P and Θ, W of shape (n2, {n}), got {[p.shape for p in parts]}"
        )
    return made.matrices.state(*on_support(MatrixState(*parts), made.moments))
