"""What is measured along a run: features, predictor, and the linear probe, each a function of arrays on the device.

A measurement that is not defined, such as the direction of features that have vanished, is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dynamics.training.lapack import one_by_one
from dynamics.training.modes import Spectrum, deviation_metrics, mode_metrics

UNIFORMITY_T = 2.0
"""t of the uniformity (RAFT, definition 2.2)."""
RIDGE = 1e-3
"""Ridge of the linear probe, in units of the mean eigenvalue of the features' covariance."""


def directions(x: Any) -> Any:
    """x/‖x‖ along the last axis, at any scale; NaN where x is 0 or not finite.

    >>> np.asarray(directions(jnp.array([[3e-30, 4e-30], [0.0, 0.0]]))).round(2).tolist()[1]
    [nan, nan]
    """
    x = x / jnp.max(jnp.abs(x), -1, keepdims=True)
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def alignment(q1: Any, q2: Any) -> Any:
    """Alignment of two views, E‖q1/‖q1‖ − q2/‖q2‖‖², for arrays (N, n2); in [0, 4]. RAFT, definition 2.1.

    NaN where a prediction is 0 and has no direction.

    >>> float(alignment(jnp.eye(2), -3 * jnp.eye(2)))
    4.0
    """
    return jnp.mean(jnp.sum((directions(q1) - directions(q2)) ** 2, -1))


def uniformity(f: Any) -> Any:
    """Uniformity of features, log E e^{−2‖f/‖f‖ − f′/‖f′‖‖²} over pairs of different samples, for an array (N, n2).

    Between −8 and 0; 0 when all features point one way, NaN when one of them is 0. RAFT, definition 2.2, with t = 2.

    >>> round(float(uniformity(jnp.array([[1.0, 0.0], [3.0, 0.0], [-1.0, 0.0]]))), 4)
    -1.0979
    """
    u, n = directions(f), len(f)
    squared = 2 - 2 * (u @ u.T)
    off = 1 - jnp.eye(n, dtype=f.dtype)
    return jnp.log(jnp.sum(off * jnp.exp(-UNIFORMITY_T * jnp.maximum(squared, 0))) / (n * (n - 1)))


def entropy_rank(weights: Any) -> Any:
    """Exponential of the entropy of weights >= 0 made to sum to 1; 0 when all are 0, NaN when one is not finite.

    Of the eigenvalues of F it is the effective rank, of the singular values of the features it is RankMe.

    >>> float(entropy_rank(jnp.array([2.0, 2.0, 0.0])))
    2.0
    """
    weights = jnp.maximum(weights, 0)
    total = jnp.sum(weights)
    p = weights / jnp.where(total == 0, 1, total)
    entropy = -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1)), 0))
    rank = jnp.where(total == 0, 0, jnp.exp(entropy))
    return jnp.where(jnp.isfinite(total), rank, jnp.nan)


def feature_metrics(z: Any) -> dict[str, Any]:
    """Spectrum and ranks of features (N, n2), from F = mean of z zᵀ.

    Returns
    -------
    dict
        ``feature_eigenvalues`` of F, descending (n2,); ``feature_std`` of each dimension (n2,); ``effective_rank``
        and ``rankme``, which are those of features of any scale.
    """
    largest = jnp.max(jnp.abs(z))
    unit = jnp.where(largest == 0, 1, largest)
    scaled = z / unit
    eigenvalues = one_by_one(jnp.linalg.eigvalsh)(scaled.T @ scaled / len(z))[::-1]
    return {
        "feature_eigenvalues": eigenvalues * unit**2,
        "feature_std": jnp.std(scaled, axis=0) * unit,
        "effective_rank": entropy_rank(eigenvalues),
        "rankme": entropy_rank(jnp.sqrt(jnp.maximum(eigenvalues, 0))),
    }


def deviations(z: Any) -> Any:
    """Deviations of features (N, n2) along their principal axes over their root mean square, descending (n2,).

    0 where the features have vanished.

    >>> np.asarray(deviations(jnp.array([[1.0, 1.0], [1.0, -1.0]])), np.float64).round(3)
    array([0.707, 0.   ])
    """
    largest = jnp.max(jnp.abs(z))
    z = z / jnp.where(largest == 0, 1, largest)
    size = jnp.sum(z * z) / len(z)
    z = z - jnp.mean(z, 0)
    values = one_by_one(jnp.linalg.eigvalsh)(z.T @ z / len(z))[::-1]
    return jnp.sqrt(jnp.maximum(values, 0) / jnp.where(size == 0, 1, size))


def predictor_metrics(F: Any, P: Any) -> dict[str, Any]:
    """How a linear predictor P stands to the features' correlation F, both (n2, n2).

    Returns
    -------
    dict
        ``predictor``, P itself, for `on_host`; ``predictor_symmetry`` ‖½(P + Pᵀ)‖²/‖P‖²; ``commutator`` ‖FP − PF‖;
        ``relative_commutator``, the same over ‖F‖‖P‖; ``overlap`` (n2,), |cos(v, P v)| for the eigenvectors v of F,
        by descending eigenvalue. What P = 0 or F = 0 leaves open is NaN.
    """
    size = jnp.sum(P * P)
    symmetric = jnp.sum(((P + P.T) / 2) ** 2)
    commutator = jnp.linalg.norm(F @ P - P @ F)
    scale = jnp.linalg.norm(F) * jnp.sqrt(size)
    V = one_by_one(lambda A: jnp.linalg.eigh(A)[1])(F)[:, ::-1]
    PV = P @ V
    length = jnp.linalg.norm(PV, axis=0)
    cosine = jnp.abs(jnp.sum(V * PV, axis=0)) / length
    return {
        "predictor": P,
        "predictor_symmetry": symmetric / size,
        "commutator": commutator,
        "relative_commutator": commutator / scale,
        "overlap": jnp.where(jnp.any(F), cosine, jnp.nan),
    }


def on_host(measured: Mapping[str, Any], spectrum: Spectrum | None = None) -> dict[str, np.ndarray]:
    """Fetch measurements (n_runs, …); ``predictor`` P becomes ``predictor_eigenvalues``, by descending real part.

    XLA has no general eigensolver on GPUs, so eigenvalues of P are computed here; NaN where P is not finite. What the
    ``encoder`` in the basis of the data's modes, or the ``deviations`` of features, hold of these modes is worked out
    here as well, in double precision.

    >>> on_host({"predictor": np.array([[[1.0, 0.0], [0.0, 2.0]]])})["predictor_eigenvalues"][0, :, 0]
    array([2., 1.])
    """
    found = {name: np.asarray(values) for name, values in measured.items()}
    if spectrum is not None:
        if "encoder" in found:
            modes = mode_metrics(found.pop("encoder"), spectrum, found.get("predictor"))
        else:
            modes = deviation_metrics(found.pop("deviations"), spectrum)
        found |= {name: values.astype(found["loss"].dtype) for name, values in modes.items()}
    if "predictor" in found:
        P = found.pop("predictor")
        finite = np.all(np.isfinite(P), axis=(-2, -1))[:, None]
        values = np.linalg.eigvals(np.where(finite[..., None], P, 0)).astype(np.complex128)
        values = np.take_along_axis(values, np.argsort(-values.real, axis=-1, kind="stable"), axis=-1)
        pairs = np.stack([values.real, values.imag], axis=-1)
        found["predictor_eigenvalues"] = np.where(finite[..., None], pairs, np.nan).astype(P.dtype)
    return found


def probe_accuracy(f: Any, labels: Any, f_held_out: Any, labels_held_out: Any, n_classes: int) -> Any:
    """Held-out accuracy of a linear probe: ridge regression to one-hot labels, the largest output wins.

        A = Y_cᵀ X_c (X_cᵀ X_c + κ I)⁻¹,  κ = 0.001 tr(X_cᵀ X_c)/d,  prediction  argmax A (x − x̄) + ȳ

    Parameters
    ----------
    f, f_held_out
        Features (N, d) and (M, d).
    labels, labels_held_out
        Classes 0, 1, … of shape (N,) and (M,).
    n_classes
        Number of classes.

    Returns
    -------
    scalar in [0, 1]
        The share of the largest class, if the features are all the same; NaN, if they are not finite.
    """
    size = jnp.max(jnp.abs(f))
    unit = jnp.where(size == 0, 1, size)
    f, f_held_out = f / unit, f_held_out / unit
    Y = jax.nn.one_hot(labels, n_classes, dtype=f.dtype)
    x_mean, y_mean = jnp.mean(f, 0), jnp.mean(Y, 0)
    X = f - x_mean
    S = X.T @ X
    kappa = RIDGE * jnp.trace(S) / len(S)
    ridge = S + jnp.where(kappa == 0, 1, kappa) * jnp.eye(len(S), dtype=f.dtype)
    A = one_by_one(jnp.linalg.solve)(ridge, X.T @ (Y - y_mean))
    predicted = jnp.argmax((f_held_out - x_mean) @ A + y_mean, axis=1)
    accuracy = jnp.mean(predicted == labels_held_out, dtype=f.dtype)
    return jnp.where(jnp.all(jnp.isfinite(f)) & jnp.all(jnp.isfinite(f_held_out)), accuracy, jnp.nan)


def tree_norm(tree: Any) -> Any:
    """Euclidean norm of all leaves of a pytree together."""
    return jnp.sqrt(sum((jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(tree)), jnp.zeros(())))
