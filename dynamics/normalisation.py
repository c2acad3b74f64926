"""Batch normalisation: what it does to a batch, and to the moments from which a linear network learns.

A normaliser sends the features z of a batch to y = (z − mean)/deviation. Gradients may pass through the mean and the
deviation, or stop there; the two ways differ in what they make of the moments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from dynamics.system import MatrixSystem

MEANS = ("none", "forward", "full", "backward")
DEVIATIONS = ("none", "full", "detached")


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """Which batch statistics features are normalised by, and whether gradients pass through them.

    Parameters
    ----------
    mean
        ``none``; ``forward``, subtracted, a constant for gradients; ``full``, subtracted, with gradients through it;
        ``backward``, not subtracted, but gradients are centred as if it were.
    std
        ``none``; ``full``, divided by, with gradients through it; ``detached``, divided by, a constant for gradients.
    epsilon
        ε >= 0: features are divided by √(variance + ε).

    Raises
    ------
    ValueError
        A word is none of these, or ε is negative, or not zero without a deviation.

    Notes
    -----
    Table 4 of DD writes μ for full, μ̂ for forward, σ for full and σ̂ for detached. Source: R213, R218, R221.

    Examples
    --------
    >>> Normaliser(mean="full", std="detached").active
    True
    """

    mean: str = "none"
    std: str = "none"
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        for name, known in (("mean", MEANS), ("std", DEVIATIONS)):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"`{name}` must be one of {', '.join(known)}, got {value!r}")
        epsilon = self.epsilon
        number = isinstance(epsilon, (int, float, np.number)) and not isinstance(epsilon, bool)
        if not (number and 0 <= epsilon < np.inf):
            raise ValueError(f"`epsilon` must be finite and >= 0, got {epsilon!r}")
        if epsilon and self.std == "none":
            raise ValueError(f"`epsilon` must be 0 where `std` is none, got {epsilon:g}")

    @property
    def active(self) -> bool:
        """Whether it does anything."""
        return self.mean != "none" or self.std != "none"

    @property
    def subtracts(self) -> bool:
        """Whether outputs have mean zero."""
        return self.mean in ("forward", "full")


class MomentPair(NamedTuple):
    """Moments from which a part of the network learns: S′ of its input, and T′ of target input and input.

    Parameters
    ----------
    sigma_s, sigma_d
        S′ and T′, shape (n1, n1), or vectors (n1,) for diagonal matrices.
    """

    sigma_s: Any
    sigma_d: Any


class LearningMoments(NamedTuple):
    """Moments that the encoder learns from, and those that the predictor learns from."""

    encoder: MomentPair
    predictor: MomentPair


def learning_moments(
    raw: MomentPair,
    centred: MomentPair,
    normaliser: Normaliser,
    *,
    target_centred: bool = False,
    after_predictor: bool = False,
) -> LearningMoments:
    """Which of raw and centred moments encoder and predictor see through a normaliser that subtracts a mean.

        ∇_W = Pᵀ(P W S′ − Θ T′),   ∇_P = (P W S″ − Θ T″) Wᵀ

    Parameters
    ----------
    raw, centred
        Second moments and covariances, of a population or of a batch.
    normaliser
        Its `mean` is what counts; one between encoder and predictor, or behind the predictor.
    target_centred
        Whether the target network's outputs have mean zero.
    after_predictor
        Whether the normaliser is behind the predictor: then both parts learn from the same moments.

    Returns
    -------
    LearningMoments
        Σs or S, and Σd or D.

    Notes
    -----
    With a forward-only mean and a raw target the encoder sees (S, Σd): the gradient is not centred. Source: R213, R222.

    Examples
    --------
    >>> raw, centred = MomentPair("Σs", "Σd"), MomentPair("S", "D")
    >>> learning_moments(raw, centred, Normaliser(mean="forward"))
    LearningMoments(encoder=MomentPair(sigma_s='S', sigma_d='Σd'), predictor=MomentPair(sigma_s='S', sigma_d='D'))
    """
    aimed = centred.sigma_d if target_centred else raw.sigma_d
    encoder = {
        "none": MomentPair(raw.sigma_s, aimed),
        "forward": MomentPair(centred.sigma_s, aimed),
        "full": centred,
        "backward": centred,
    }[normaliser.mean]
    if after_predictor:
        return LearningMoments(encoder, encoder)
    # the predictor multiplies what the normaliser puts out: centred features see no mean of the target either
    predictor = centred if normaliser.subtracts else MomentPair(raw.sigma_s, aimed)
    return LearningMoments(encoder, predictor)


def batch_moments(
    x1: Any,
    x2: Any,
    normaliser: Normaliser,
    *,
    target_centred: bool = False,
    after_predictor: bool = False,
) -> LearningMoments:
    """Moments of a finite batch from which a linear network with mean normalisation learns, without any limit.

        S = E_B x1 x1ᵀ or Cov_B(x1),   T = E_B x2 x1ᵀ or Cov_B(x2, x1)

    Parameters
    ----------
    x1, x2
        The two views, shape (B, n1); x1 goes through the online network, x2 through the target.
    normaliser, target_centred, after_predictor
        As for `learning_moments`; `std` none.

    Returns
    -------
    LearningMoments
        T is not symmetric for a finite batch.

    Raises
    ------
    ValueError
        The views are not of one shape, fewer than two samples, or the normaliser divides: moments alone do not give its
        gradient.

    Notes
    -----
    Source: R213; DD 12–14, there for large batches.

    Examples
    --------
    >>> x = np.array([[1.0], [3.0]])
    >>> batch_moments(x, x, Normaliser(mean="full")).encoder
    MomentPair(sigma_s=array([[1.]]), sigma_d=array([[1.]]))
    """
    x1, x2 = (np.asarray(x, dtype=np.float64) for x in (x1, x2))
    if x1.ndim != 2 or x1.shape != x2.shape:
        raise ValueError(f"`x1` and `x2` must have one shape (B, n1), got {x1.shape} and {x2.shape}")
    _check_batch("x1", len(x1))
    if normaliser.std != "none":
        raise ValueError(f"`std` must be none for moments of a batch, got {normaliser.std}")
    n = len(x1)
    c1, c2 = x1 - x1.mean(0), x2 - x2.mean(0)
    raw, centred = MomentPair(x1.T @ x1 / n, x2.T @ x1 / n), MomentPair(c1.T @ c1 / n, c2.T @ c1 / n)
    return learning_moments(
        raw, centred, normaliser, target_centred=target_centred, after_predictor=after_predictor
    )


def normalise(z: Any, normaliser: Normaliser) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Normalised features of a batch, and the pullback of gradients through the normaliser.

        c = z, or z − m;   y = c/σ,  σ² = Var_B(z) + ε
        g_c = g/σ − (z − m) E_B[g y]/σ²,   g_z = g_c − E_B g_c

    where the second term of g_c is left out for a detached deviation, and that of g_z where gradients do not pass
    through the mean.

    Parameters
    ----------
    z
        Features, shape (B, n), B >= 2.
    normaliser
        What is done.

    Returns
    -------
    outputs, pullback
        y, shape (B, n), and g = ∂L/∂y ↦ ∂L/∂z. Infinite or NaN where a feature does not vary and ε = 0.

    Raises
    ------
    ValueError
        There are fewer than two samples.

    Notes
    -----
    Source: R213, R218; DD 12.

    Examples
    --------
    >>> y, pullback = normalise([[1.0], [3.0]], Normaliser(mean="full", std="full"))
    >>> y.ravel(), pullback(y).ravel()
    (array([-1.,  1.]), array([0., 0.]))
    """
    z = np.asarray(z, dtype=np.float64)
    if z.ndim != 2:
        raise ValueError(f"`z` must have shape (B, n), got {z.shape}")
    _check_batch("z", len(z))
    deviation = z - z.mean(0)
    c = deviation if normaliser.subtracts else z
    if normaliser.std == "none":
        sigma = np.ones(z.shape[1])
    else:
        sigma = np.sqrt(np.mean(deviation**2, axis=0) + normaliser.epsilon)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = c / sigma

    def pullback(g: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            g_z = g / sigma
            if normaliser.std == "full":
                g_z = g_z - deviation * np.mean(g * y, axis=0) / sigma**2
        if normaliser.mean in ("full", "backward"):
            g_z = g_z - g_z.mean(0)
        return g_z

    return y, pullback


def _check_batch(name: str, n: int) -> None:
    if n < 2:
        raise ValueError(f"`{name}` must hold at least two samples for statistics of the batch, got {n}")


def centred(sigma: Any, mean: Any) -> np.ndarray:
    """Σ − μμᵀ, a matrix, or a vector where Σ is diagonal and at most one entry of μ is not zero.

    >>> centred(np.array([1.0, 2.0]), np.array([0.0, 1.0]))
    array([1., 1.])
    """
    sigma, mu = np.asarray(sigma, dtype=np.float64), np.asarray(mean, dtype=np.float64)
    if sigma.ndim == 1:
        if np.count_nonzero(mu) <= 1:
            return sigma - mu**2
        sigma = np.diag(sigma)
    return sigma - np.outer(mu, mu)


def checked_mean(mean: Any, n1: int) -> np.ndarray:
    """Mean μ of the views, n1 finite numbers; zero where None is given.

    >>> checked_mean([1.0], 2)
    Traceback (most recent call last):
    ValueError: `mean` must hold 2 finite numbers, got 1
    """
    if mean is None:
        return np.zeros(n1)
    mu = np.array(mean, dtype=np.float64)
    if mu.shape != (n1,):
        raise ValueError(f"`mean` must hold {n1} finite numbers, got {mu.size}")
    if not np.all(np.isfinite(mu)):
        raise ValueError(f"`mean` must be finite, got {mu[~np.isfinite(mu)][0]}")
    return mu


def centred_moments(system: MatrixSystem, mean: Any) -> MatrixSystem:
    """System with the centred moments S = Σs − μμᵀ and D = Σd − μμᵀ.

    Linear BYOL with mean normalisation follows the flow of this system, wherever the normaliser sits.

    Parameters
    ----------
    system
        Σs and Σd, not centred.
    mean
        μ of the views, shape (n1,).

    Raises
    ------
    ValueError
        `mean` has another shape or is not finite, or D is not positive semidefinite: no views have that mean.

    Notes
    -----
    Source: R216.

    Examples
    --------
    >>> centred_moments(MatrixSystem([2.0, 1.0], [1.5, 0.2]), [1.0, 0.0]).sigma_d
    array([0.5, 0.2])
    """
    mu = checked_mean(mean, system.n1)
    S, D = centred(system.sigma_s, mu), centred(system.sigma_d, mu)
    least = float(np.min(D) if D.ndim == 1 else np.linalg.eigvalsh(D)[0])
    largest = float(np.max(np.abs(system.sigma_d)))
    if mu.any() and least < -4 * system.n1 * np.finfo(float).eps * largest:
        raise ValueError(
            f"`mean` must leave Σd − μμᵀ positive semidefinite, as it is for views, got an eigenvalue of {least:.3g}"
        )
    return replace(system, sigma_s=S, sigma_d=D)


def finite_batch_factor(batch_size: int) -> float:
    """1 − 1/B, by which the mean flow of batches of B samples is slower than that of centred moments (R214).

    >>> finite_batch_factor(4)
    0.75
    """
    if batch_size < 2:
        raise ValueError(f"`batch_size` must be an integer >= 2, got {batch_size}")
    return 1 - 1 / batch_size


def shared_statistics_moments(system: MatrixSystem, n_samples: int) -> MatrixSystem:
    """Expected moments where both views of N samples share one normaliser: it takes the same from both.

        S → S − (S + D)/(2N),   D → D − (S + D)/(2N)

    Parameters
    ----------
    system
        Centred moments S and D.
    n_samples
        N >= 1, in 2N views.

    Raises
    ------
    ValueError
        `n_samples` < 1.

    Notes
    -----
    Unlike 1 − 1/B this is no common factor: it lowers the ratios r, too. Source: R214.

    Examples
    --------
    >>> shared_statistics_moments(MatrixSystem([1.0], [0.5]), 3).sigma_d.tolist()
    [0.25]
    """
    if n_samples < 1:
        raise ValueError(f"`n_samples` must be an integer >= 1, got {n_samples}")
    lost = (system.sigma_s + system.sigma_d) / (2 * n_samples)
    return replace(system, sigma_s=system.sigma_s - lost, sigma_d=system.sigma_d - lost)
