"""Objectives on features of two views: BYOL, BYOL′, RAFT, and the contrastive ones (R1, R23–R27, R30)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dynamics.contrastive_losses import NORM_FLOOR, infonce_loss, simple_loss, triplet_loss
from dynamics.training.parts import ObjectiveSettings

TANGENTIAL_FLOOR = 1e-3
"""λ = ⟨z, t⟩ of the tangential loss is clipped from below here: at 0 it is singular, below 0 it changes sign (R27)."""
SQUARED_NORM_FLOOR = NORM_FLOOR**2
"""Squared norms are not taken to be smaller than this when features are normalised."""


class Loss(NamedTuple):
    """Value of an objective on a batch.

    Parameters
    ----------
    value
        The loss, a scalar.
    clipped
        Number of pairs whose λ was clipped in the tangential loss, 0 otherwise.
    """

    value: Any
    clipped: Any


def views_needed(settings: ObjectiveSettings) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Views, 0 or 1, that the online network and the target network have to see.

    >>> views_needed(ObjectiveSettings(symmetric=False))
    ((0,), (1,))
    """
    if settings.row.alone:
        return (0, 1), ()
    if settings.symmetric:
        return (0, 1), (0, 1)
    return ((0, 1), (1,)) if settings.row.align else ((0,), (1,))


def unit(x: Any) -> Any:
    """x/‖x‖ along the last axis."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, -1, keepdims=True), SQUARED_NORM_FLOOR))


def loss(settings: ObjectiveSettings, weights: Mapping[str, Any], q: Any, t: Any) -> Loss:
    """Value of the objective on predictions and targets of one batch.

    Parameters
    ----------
    settings
        Which objective.
    weights
        ``alpha``, ``beta``, ``temperature`` and ``margin``, scalars.
    q
        Predictions (or, for contrastive objectives, features) of the online views of `views_needed`, in that order,
        shape (V, N, n2).
    t
        Features of the target views of `views_needed`, in that order, gradient stopped or not by the caller.

    Returns
    -------
    Loss
        As written in `ObjectiveSettings`.
    """
    if settings.normalize:
        q, t = unit(q), unit(t)
    if settings.row.of_moments:
        value, clipped = _of_moments(settings, weights, q), jnp.zeros((), jnp.int32)
    elif settings.row.contrastive:
        value, clipped = _contrastive(settings, weights, q), jnp.zeros((), jnp.int32)
    elif not settings.row.align:
        value, clipped = _distance(settings, q, t[::-1])  # each prediction beside the other view's target
        value = value * len(q)
    else:
        align, clipped_align = _distance(settings, q[:1], q[1:])
        cross, clipped_cross = _distance(settings, q[-len(t) :], t)
        value = weights["alpha"] * align + settings.row.cross * weights["beta"] * cross
        clipped = clipped_align + clipped_cross
    return Loss(value / 2 if settings.halved else value, clipped)


def _distance(settings: ObjectiveSettings, z: Any, t: Any) -> tuple[Any, Any]:
    """Mean of d(z, t) over views and samples, tangential or not, and the number of clipped pairs."""
    if not settings.tangential:
        return jnp.mean(jnp.sum((z - t) ** 2, -1)), jnp.zeros((), jnp.int32)
    cosine = jax.lax.stop_gradient(jnp.sum(z * t, -1))
    lam = jnp.maximum(cosine, TANGENTIAL_FLOOR)
    value = jnp.mean(jnp.sum((t - lam[..., None] * z) ** 2, -1) / lam)
    return value, jnp.sum(cosine < TANGENTIAL_FLOOR, dtype=jnp.int32)


def _contrastive(settings: ObjectiveSettings, weights: Mapping[str, Any], z: Any) -> Any:
    r = (
        jnp.sum((z[0][:, None] - z[1][None]) ** 2, -1) / 2
    )  # r[i, k] of view 1 of sample i and view 2 of sample k
    pairs = (r, r.T) if settings.symmetric else (r,)
    return sum(_contrast(settings, weights, one) for one in pairs)


def _of_moments(settings: ObjectiveSettings, weights: Mapping[str, Any], z: Any) -> Any:
    """Losses of S and D, the moments of the outputs of a batch, which are not centred (R325, R327–R329)."""
    n = z.shape[1]
    S = (z[0].T @ z[0] + z[1].T @ z[1]) / (2 * n)
    D = (z[0].T @ z[1] + z[1].T @ z[0]) / (2 * n)
    off = 1 - jnp.eye(len(S), dtype=S.dtype)
    if settings.kind == "barlow-twins":
        return jnp.sum((jnp.diagonal(D) - 1) ** 2) + weights["off_diagonal"] * jnp.sum(off * D**2)
    if settings.kind == "vicreg":
        std = jnp.sqrt(jnp.maximum(jnp.diagonal(S), SQUARED_NORM_FLOOR))
        short = jnp.sum(jnp.maximum(1 - std, 0))
        return (
            2 * weights["invariance"] * jnp.trace(S - D)
            + weights["variance"] * short
            + weights["covariance"] * jnp.sum(off * S**2)
        )
    if settings.kind == "spectral":
        return jnp.sum(S**2) - 2 * jnp.trace(D)
    if settings.kind == "whitened":
        return -jnp.trace(jnp.linalg.solve(S, D)) / 2
    raise ValueError(
        f"`objective.kind` must be barlow-twins, vicreg, spectral or whitened, got {settings.kind!r}"
    )


def _contrast(settings: ObjectiveSettings, weights: Mapping[str, Any], r: Any) -> Any:
    """Mean loss of a batch whose positive pairs stand on the diagonal of r, all other pairs being negative."""
    positive, others = jnp.diag(r), ~jnp.eye(len(r), dtype=bool)
    if settings.kind == "simple":
        return jnp.mean(simple_loss(positive, r, where=others))
    if settings.kind == "triplet":
        return jnp.mean(triplet_loss(positive, r, weights["temperature"], weights["margin"], where=others))
    if settings.kind == "infonce":
        # each row holds its positive pair already
        return jnp.mean(infonce_loss(positive, r, weights["temperature"], positive_in_denominator=False))
    raise ValueError(f"`objective.kind` must be simple, triplet or infonce, got {settings.kind!r}")
