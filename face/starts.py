"""Where runs of the full network start, and by which field they go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from face.systems import System

if TYPE_CHECKING:
    from dynamics.states import EncoderState, MatrixState


def matrix_field(made: System) -> Any:
    """Vector field of the full network of the system's variant, which must have one."""
    if made.variant.matrix_field is None:
        raise ValueError(
            f"`variant` must be one of matrices, too, for the full network, got {made.variant.name}"
        )
    return made.variant.matrix_field


def start_of(
    made: System,
    state: Any,
    dim: int | None = None,
    init_online: float | None = None,
    init_predictor: float | None = None,
    seed: int = 0,
) -> MatrixState:
    """W, P and Θ on the support of Σs, from a state in terms of the samples or at random."""
    from dynamics.data.starts import draw_start, on_support
    from dynamics.states import MatrixState

    n = made.moments.n_inputs
    drawn = {"init_online": init_online, "init_predictor": init_predictor}
    given = {name: size for name, size in drawn.items() if size is not None}
    if state is None:
        return draw_start(made.moments, min(8, n) if dim is None else dim, **given, seed=seed)
    for name, value in {"dim": dim, **given}.items():
        if value is not None:
            raise ValueError(f"`{name}` must not be given with `state`, the whole start, got {value:g}")
    import numpy as np

    parts = [np.asarray(part, dtype=float) for part in state]
    if len(parts) != 3 or parts[0].ndim != 2 or parts[0].shape[1] != n:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ValueError(f"`state` must hold W, P and Θ, W of shape (n2, {n}), got shapes {shapes}")
    if any(not np.all(np.isfinite(part)) for part in parts):
        raise ValueError("`state` must be finite")
    if parts[2].shape != parts[0].shape:
        raise ValueError(f"`state` must hold Θ of W's shape {parts[0].shape}, got {parts[2].shape}")
    return made.matrices.state(*on_support(MatrixState(*parts), made.moments))


def encoder_of(
    made: System,
    online: Any = None,
    state: Any = None,
    dim: int | None = None,
    init_online: float | None = None,
    seed: int = 0,
) -> EncoderState:
    """W on the support of Σs: one neuron along the modes, a state (W,) in terms of the samples, or at random."""
    import numpy as np

    from dynamics.data.starts import draw_start, on_support
    from dynamics.states import EncoderState

    n = made.moments.n_inputs
    if state is not None:
        for name, value in (("online", online), ("dim", dim), ("init_online", init_online)):
            if value is not None:
                raise ValueError(f"`{name}` must not be given with `state`, the whole start, got {value}")
        (W,) = (np.asarray(part, dtype=float) for part in state)
        if W.ndim != 2 or W.shape[1] != n:
            raise ValueError(f"`state` must hold W of shape (n2, {n}), got shape {W.shape}")
        return on_support(EncoderState(W), made.moments)
    if made.of_modes and dim is None and init_online is None:
        weights = np.atleast_1d(np.asarray(0.1 if online is None else online, dtype=float))
        if weights.shape not in ((1,), (n,)):
            raise ValueError(
                f"`online` must be one number, or one for each of {n} modes, got shape {weights.shape}"
            )
        return EncoderState(np.broadcast_to(weights, (1, n)))
    if online is not None:
        raise ValueError("`online` must go with modes; `dim` draws a start at random")
    sizes = {} if init_online is None else {"init_online": init_online}
    return EncoderState(
        draw_start(made.moments, min(8, n) if dim is None else dim, **sizes, seed=seed).online
    )
