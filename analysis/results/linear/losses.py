"""Losses of the trials of objectives: as the trainer has them, and as formulas."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from dynamics.data.moments import Moments

# --- the objectives as networks are trained on them ---------------------------------------------------------------

Loss = Callable[[Any, Any, Any, Any, Any], Any]
"""(z1, z2, z̄2, α, β) -> mean over the batch: predictions of the two views, and the target's view 2."""


def trained_loss(kind: str, *, normalize: bool = False) -> Loss:
    """Objective of `dynamics.training`, one-sided, on outputs of shape (N, n): a scalar that JAX can differentiate."""

    def mean_loss(z1: Any, z2: Any, target2: Any, alpha: Any, beta: Any) -> Any:
        import jax.numpy as jnp

        from dynamics.training.objectives import loss, views_needed
        from dynamics.training.parts import ObjectiveSettings

        settings = ObjectiveSettings(kind=kind, symmetric=False, normalize=normalize)
        seen, seen_by_target = views_needed(settings)
        views, targets = jnp.stack([z1, z2]), jnp.stack([0 * target2, target2])
        weights = {"alpha": alpha, "beta": beta}
        return loss(settings, weights, views[jnp.array(seen)], targets[jnp.array(seen_by_target, int)]).value

    return mean_loss


BYOL, BYOL_PRIME, RAFT, SIMPLE = (trained_loss(kind) for kind in ("byol", "byol-prime", "raft", "simple"))
BYOL_PRIME_NORMALISED, RAFT_NORMALISED = (
    trained_loss(kind, normalize=True) for kind in ("byol-prime", "raft")
)


@lru_cache(maxsize=16)
def compiled_loss(loss: Loss, *, each: bool = False) -> Callable[..., np.ndarray]:
    """Evaluate a loss in float64, compiled; with `each`, of every sample by itself."""
    import jax

    one = jax.vmap(lambda *z: loss(*(x[None] for x in z[:3]), *z[3:]), in_axes=(0, 0, 0, None, None))
    run = jax.jit(one if each else loss)

    def evaluate(*arguments: Any) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(run(*arguments))

    return evaluate


# --- the same as formulas, for proofs: sample by sample -----------------------------------------------------------


def _squared(a: Any, b: Any) -> Any:
    return ((a - b) ** 2).sum(axis=-1)


def byol_loss(z1: Any, target2: Any) -> Any:
    """BYOL, ‖z1 − z̄2‖² (RAFT 4, BYOL)."""
    return _squared(z1, target2)


def byol_prime_loss(z1: Any, z2: Any, target2: Any, alpha: Any, beta: Any) -> Any:
    """BYOL′, α‖z1 − z2‖² + β‖z2 − z̄2‖² (RAFT 7)."""
    return alpha * _squared(z1, z2) + beta * _squared(z2, target2)


def raft_loss(z1: Any, z2: Any, target2: Any, alpha: Any, beta: Any) -> Any:
    """RAFT, α‖z1 − z2‖² − β‖z2 − z̄2‖² (RAFT 9)."""
    return alpha * _squared(z1, z2) - beta * _squared(z2, target2)


def tangential_loss(z: Any, target: Any, inner: Any) -> Any:
    """‖z̄ − λz‖²/λ with λ = sg⟨z, z̄⟩ given as `inner` (RAFT, remark to theorem 5.1)."""
    return ((target - inner * z) ** 2).sum(axis=-1) / inner


def slope_of(loss: Callable[[np.ndarray], Any], at: np.ndarray) -> np.ndarray:
    """Gradient of a quadratic, for which central differences of any width are exact."""
    slope = np.empty(at.shape)
    for index in np.ndindex(at.shape):
        step = np.zeros(at.shape)
        step[index] = 1.0
        slope[index] = (loss(at + step) - loss(at - step)) / 2
    return slope


def population(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, Moments]:
    """Both views of every equally likely pair, (N, n) each, of samples with three views, and their moments."""
    views = rng.standard_normal((2 * n, 1, n)) + 0.6 * rng.standard_normal((2 * n, 3, n))
    x1, x2 = (np.repeat(views, 3, axis=1).reshape(-1, n), np.tile(views, (1, 3, 1)).reshape(-1, n))
    mean = views.mean(axis=1)
    sigma_s = np.einsum("nai,naj->ij", views, views) / (len(views) * 3)
    return x1, x2, Moments.from_matrices(sigma_s, mean.T @ mean / len(mean))
