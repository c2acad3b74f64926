"""Linear encoders by gradient steps on one draw of views: supervised, BYOL′, and RAFT from −W (R25, R336)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynamics.states import MatrixState


class TrainedCircles(NamedTuple):
    """Encoders at some steps, shape (n, n2, n1) each."""

    supervised: np.ndarray
    byol_prime: np.ndarray
    raft: np.ndarray


def supervised_and_mirrored(
    start: MatrixState, x1: np.ndarray, x2: np.ndarray, labels: np.ndarray, at: np.ndarray, step: float
) -> TrainedCircles:
    """Train from one start in three ways, with full batches and no weight decay.

    Parameters
    ----------
    start
        (W, P, Θ); RAFT starts from (W, −P, Θ), as its mirror has the predictor negated (R25).
    x1, x2
        Views, shape (N, n1).
    labels
        Classes of the samples, integers >= 0, shape (N,).
    at
        Steps at which encoders are kept, ascending, shape (n,).
    step
        ε > 0 of gradient descent; the target follows W with the rate ε, τt = 1.

    Returns
    -------
    TrainedCircles
        Encoders of float64. Features are l2-normalised in BYOL′ and RAFT, α = β = 1; the supervised encoder has a
        linear classifier that starts at zero, under cross-entropy.
    """
    import jax
    import jax.numpy as jnp

    from dynamics.training.objectives import loss
    from dynamics.training.parts import ObjectiveSettings

    n_steps = int(at[-1])
    with jax.enable_x64(True):
        X, Y = jnp.asarray(np.stack([x1, x2])), jax.nn.one_hot(labels, int(np.max(labels)) + 1)

        def run(value: Any, weights: Any, target: Any) -> np.ndarray:
            slope = jax.grad(value)

            def move(state: Any, _: Any) -> Any:
                own, followed = state
                gradient = slope(own, followed)
                moved = jax.tree.map(lambda w, g: w - step * g, own, gradient)
                return (moved, followed + step * (moved[0] - followed)), own[0]

            (last, _), path = jax.lax.scan(jax.jit(move), (weights, target), None, length=n_steps)
            whole = np.concatenate([np.asarray(path), np.asarray(last[0])[None]])
            return whole[at]

        def mirrored(kind: str) -> Any:
            settings = ObjectiveSettings(kind=kind, normalize=True)

            def value(weights: Any, followed: Any) -> Any:
                W, P = weights
                t = jax.lax.stop_gradient(X @ followed.T)
                return loss(settings, {"alpha": 1.0, "beta": 1.0}, X @ W.T @ P.T, t).value

            return value

        def supervised(weights: Any, followed: Any) -> Any:
            W, V = weights
            return -jnp.mean(jnp.sum(Y * jax.nn.log_softmax(X @ W.T @ V.T), -1))

        W, P, Th = (jnp.asarray(part) for part in start)
        return TrainedCircles(
            run(supervised, (W, jnp.zeros((Y.shape[1], len(W)))), Th),
            run(mirrored("byol-prime"), (W, P), Th),
            run(mirrored("raft"), (W, -P), Th),
        )
