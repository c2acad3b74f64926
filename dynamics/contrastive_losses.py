"""Contrastive losses of half squared distances: simple, triplet, InfoNCE; their slopes, and l2 normalisation (R104).

The functions take arrays of NumPy or of JAX and return the same kind; the trainer and the theory call the same ones.
The classes are losses with their parameters fixed and checked: what an operator or a bound asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

NORM_FLOOR = 1e-12
"""Features shorter than this have no direction: they are divided by it instead of by their norm."""


def simple_loss(r_pos: Any, r_neg: Any, *, where: Any = None) -> Any:
    """L = r₊ − mean_k r_k.

    Parameters
    ----------
    r_pos
        r₊ = ½‖f1 − f₊‖², half the squared distance of two views of one sample, shape (...).
    r_neg
        r_k = ½‖f1 − f_k‖², k = 1 … H, of views of different samples, shape (..., H).
    where
        Which of the H are negatives, shape (..., H), at least one for each positive; None for all.

    Returns
    -------
    Loss of each positive, shape (...).

    Notes
    -----
    Source: R104; DD 2.

    Examples
    --------
    >>> simple_loss(1.0, [2.0, 4.0])
    np.float64(-2.0)
    """
    r_pos, r_neg = _arrays(r_pos, r_neg)
    return r_pos - _mean(r_neg, where)


def triplet_loss(r_pos: Any, r_neg: Any, temperature: Any, margin: Any = 0.0, *, where: Any = None) -> Any:
    """L = mean_k τ log(1 + e^{(r₊ − r_k + r0)/τ}), the soft triplet loss.

    Parameters
    ----------
    r_pos, r_neg, where
        As in `simple_loss`.
    temperature
        τ > 0; see `hard_triplet_loss` for its limit τ → 0.
    margin
        r0, any sign.

    Returns
    -------
    Loss of each positive, shape (...).

    Notes
    -----
    Source: R104; DD 2.

    Examples
    --------
    >>> float(np.round(triplet_loss(1.0, [1.0], 2.0) / np.log(2), 12))
    2.0
    """
    r_pos, r_neg = _arrays(r_pos, r_neg)
    excess = (r_pos[..., None] - r_neg + margin) / temperature
    return temperature * _mean(_softplus(excess), where)


def hard_triplet_loss(r_pos: Any, r_neg: Any, margin: Any = 0.0) -> Any:
    """L = mean_k max(r₊ − r_k + r0, 0), the limit τ → 0 of `triplet_loss`; parameters and shapes as there.

    >>> hard_triplet_loss(1.0, [0.5, 3.0], margin=0.5)
    np.float64(0.5)
    """
    r_pos, r_neg = _arrays(r_pos, r_neg)
    xp = r_neg.__array_namespace__()
    return _mean(xp.maximum(r_pos[..., None] - r_neg + margin, xp.zeros_like(r_neg)), None)


def infonce_loss(r_pos: Any, r_neg: Any, temperature: Any, positive_in_denominator: bool = True) -> Any:
    """L = −log[e^{−r₊/τ}/(e^{−r₊/τ} + Σ_k e^{−r_k/τ})].

    Parameters
    ----------
    r_pos, r_neg
        As in `simple_loss`.
    temperature
        τ > 0.
    positive_in_denominator
        False leaves e^{−r₊/τ} out of the denominator. That is also the way to pass a whole row of a batch, in which
        the positive pair already stands.

    Returns
    -------
    Loss of each positive, shape (...): log Σ_k e^{(r₊ − r_k)/τ}, or softplus of that with the positive.

    Notes
    -----
    Source: R104; DD 2.

    Examples
    --------
    >>> float(np.round(infonce_loss(1.0, [1.0, 1.0, 1.0], 0.5) / np.log(2), 12))
    2.0
    """
    r_pos, r_neg = _arrays(r_pos, r_neg)
    total = _log_sum_exp((r_pos[..., None] - r_neg) / temperature)
    return _softplus(total) if positive_in_denominator else total


def uniformity_loss(r_pos: Any, r_neg: Any, weight: Any, sharpness: Any) -> Any:
    """L = r₊ + λ log mean_k e^{−t r_k}, alignment and uniformity: no function of differences r_k − r₊ (R104).

    Parameters
    ----------
    r_pos, r_neg
        As in `simple_loss`.
    weight, sharpness
        λ and t, > 0.

    Examples
    --------
    >>> uniformity_loss(1.0, [3.0, 3.0], 0.5, 2.0)
    np.float64(-2.0)
    """
    r_pos, r_neg = _arrays(r_pos, r_neg)
    return r_pos + weight * (_log_sum_exp(-sharpness * r_neg) - np.log(r_neg.shape[-1]))


# --- losses with fixed parameters -----------------------------------------------------------------------------------


class ContrastiveLoss(Protocol):
    """For developers: what a loss supplies to `pair_weights` and to the covariance operator."""

    def __call__(self, r_pos: Any, r_neg: Any) -> Any:
        """Loss of each positive, shape (...), for r₊ (...) and r_k (..., H)."""
        ...

    def slopes(self, r_pos: Any, r_neg: Any) -> tuple[Any, Any]:
        """∂L/∂r₊, shape (...), and ξ_k = −∂L/∂r_k, shape (..., H)."""
        ...


@dataclass(frozen=True)
class SimpleLoss:
    """`simple_loss`: L = r₊ − mean_k r_k.

    >>> pair_weights(SimpleLoss(), 1.0, [2.0, 4.0])
    (array(1.), array([0.5, 0.5]))
    """

    def __call__(self, r_pos: Any, r_neg: Any) -> Any:
        """Loss of each positive, shape (...)."""
        return simple_loss(r_pos, r_neg)

    def slopes(self, r_pos: Any, r_neg: Any) -> tuple[Any, Any]:
        """1 and ξ_k = 1/H."""
        r_pos, r_neg = _arrays(r_pos, r_neg)
        xp = r_neg.__array_namespace__()
        return xp.ones_like(r_pos), xp.ones_like(r_neg) / r_neg.shape[-1]


@dataclass(frozen=True)
class TripletLoss:
    """`triplet_loss` with τ > 0 and margin r0, or `hard_triplet_loss` with τ = 0.

    Raises
    ------
    ValueError
        `temperature` is negative or not finite, or `margin` is not finite.

    Examples
    --------
    >>> pair_weights(TripletLoss(temperature=0.5), 1.0, [1.0])
    (np.float64(0.5), array([0.5]))
    """

    temperature: float = 1.0
    margin: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < np.inf:
            raise ValueError(f"`temperature` must be finite and >= 0, got {self.temperature}")
        if not np.isfinite(self.margin):
            raise ValueError(f"`margin` must be finite, got {self.margin}")

    def __call__(self, r_pos: Any, r_neg: Any) -> Any:
        """Loss of each positive, shape (...)."""
        if self.temperature == 0:
            return hard_triplet_loss(r_pos, r_neg, self.margin)
        return triplet_loss(r_pos, r_neg, self.temperature, self.margin)

    def slopes(self, r_pos: Any, r_neg: Any) -> tuple[Any, Any]:
        """ξ_k = σ((r₊ − r_k + r0)/τ)/H, at τ = 0 a step that is 0 at its foot, and their sum."""
        r_pos, r_neg = _arrays(r_pos, r_neg)
        xp = r_neg.__array_namespace__()
        excess = r_pos[..., None] - r_neg + self.margin
        share = (excess > 0) * xp.ones_like(r_neg) if self.temperature == 0 else None
        xi = (_logistic(excess / self.temperature) if share is None else share) / r_neg.shape[-1]
        return xp.sum(xi, axis=-1), xi


@dataclass(frozen=True)
class InfoNCELoss:
    """`infonce_loss` with τ > 0, with or without the positive in the denominator.

    Raises
    ------
    ValueError
        `temperature` is not finite and > 0.

    Examples
    --------
    >>> pair_weights(InfoNCELoss(temperature=0.5), 1.0, [1.0, 1.0, 1.0])
    (np.float64(1.5), array([0.5, 0.5, 0.5]))
    """

    temperature: float = 1.0
    positive_in_denominator: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"`temperature` must be finite and > 0, got {self.temperature}")

    def __call__(self, r_pos: Any, r_neg: Any) -> Any:
        """Loss of each positive, shape (...)."""
        return infonce_loss(r_pos, r_neg, self.temperature, self.positive_in_denominator)

    def slopes(self, r_pos: Any, r_neg: Any) -> tuple[Any, Any]:
        """ξ_k = p_k/τ, p_k the share of pair k in the denominator, and their sum."""
        r_pos, r_neg = _arrays(r_pos, r_neg)
        xp = r_neg.__array_namespace__()
        logits = (r_pos[..., None] - r_neg) / self.temperature
        xi = _shares(logits, own=self.positive_in_denominator) / self.temperature
        return xp.sum(xi, axis=-1), xi


@dataclass(frozen=True)
class UniformityLoss:
    """`uniformity_loss` with weight λ > 0 and sharpness t > 0: its slopes sum to 1 − λt, not to 0.

    Raises
    ------
    ValueError
        A parameter is not finite and > 0.

    Examples
    --------
    >>> pair_weights(UniformityLoss(weight=0.5, sharpness=4.0), 1.0, [1.0, 1.0])
    (array(1.), array([1., 1.]))
    """

    weight: float = 1.0
    sharpness: float = 1.0

    def __post_init__(self) -> None:
        for name in ("weight", "sharpness"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"`{name}` must be finite and > 0, got {getattr(self, name)}")

    def __call__(self, r_pos: Any, r_neg: Any) -> Any:
        """Loss of each positive, shape (...)."""
        return uniformity_loss(r_pos, r_neg, self.weight, self.sharpness)

    def slopes(self, r_pos: Any, r_neg: Any) -> tuple[Any, Any]:
        """1 and ξ_k = λ t p_k, p_k the share of pair k in the mean."""
        r_pos, r_neg = _arrays(r_pos, r_neg)
        xp = r_neg.__array_namespace__()
        return xp.ones_like(r_pos), self.weight * self.sharpness * _shares(-self.sharpness * r_neg, own=False)


def pair_weights(loss: ContrastiveLoss, r_pos: Any, r_neg: Any) -> tuple[Any, Any]:
    """Weights of the pairs in the gradient: a = ∂L/∂r₊ and ξ_k = −∂L/∂r_k.

    For losses of the differences r_k − r₊ alone, a = Σ_k ξ_k.

    Parameters
    ----------
    loss
        `SimpleLoss`, `TripletLoss`, `InfoNCELoss`, `UniformityLoss`, or anything else with `slopes`.
    r_pos, r_neg
        Half squared distances r₊ (...) and r_k (..., H), H >= 1.

    Returns
    -------
    a, xi
        Shapes (...) and (..., H).

    Raises
    ------
    ValueError
        There is no negative.

    Notes
    -----
    Source: R104; DD Theorem 2.

    Examples
    --------
    >>> pair_weights(InfoNCELoss(), 0.0, [0.0])
    (np.float64(0.5), array([0.5]))
    """
    r_pos, r_neg = _arrays(r_pos, r_neg)
    if r_neg.shape[-1] < 1:
        raise ValueError("`r_neg` must hold at least one negative, got none")
    return loss.slopes(r_pos, r_neg)


def normalise(f: Any) -> tuple[Any, Any]:
    """Unit vectors z = f/‖f‖ along the last axis, and how many of the f are too short to have a direction.

    Parameters
    ----------
    f
        Features, shape (..., n2), finite.

    Returns
    -------
    z, n_degenerate
        z = f/max(‖f‖, `NORM_FLOOR`), and the number of ‖f‖ < `NORM_FLOOR`: what ‖W‖ does under a normalised loss
        depends on the floor as soon as there are any (R129).

    Notes
    -----
    Source: R103, R129.

    Examples
    --------
    >>> normalise(np.array([[3.0, 4.0], [0.0, 0.0]]))
    (array([[0.6, 0.8], [0. , 0. ]]), np.int64(1))
    """
    f = np.asarray(f, dtype=np.float64) if not hasattr(f, "__array_namespace__") else f
    xp = f.__array_namespace__()
    largest = xp.max(xp.abs(f), axis=-1, keepdims=True)
    scale = xp.maximum(largest, NORM_FLOOR * xp.ones_like(largest))  # squares neither overflow nor vanish
    scaled = f / scale
    squared = xp.sum(scaled * scaled, axis=-1, keepdims=True)
    floor = NORM_FLOOR / scale
    degenerate = squared < floor * floor
    # where first: at f = 0 the slope of the root is infinite, and JAX would make NaN of it
    return scaled / xp.sqrt(xp.where(degenerate, floor * floor, squared)), xp.sum(degenerate)


# --- array library -------------------------------------------------------------------------------------------------


def _arrays(r_pos: Any, r_neg: Any) -> tuple[Any, Any]:
    """Both as arrays, of NumPy where they are none yet."""
    if not hasattr(r_neg, "__array_namespace__"):
        r_neg = np.asarray(r_neg, dtype=np.float64)
    if not hasattr(r_pos, "__array_namespace__"):
        r_pos = r_neg.__array_namespace__().asarray(r_pos, dtype=r_neg.dtype)
    return r_pos, r_neg


def _mean(values: Any, where: Any) -> Any:
    xp = values.__array_namespace__()
    if where is None:
        return xp.mean(values, axis=-1)
    return xp.sum(where * values, axis=-1) / xp.sum(where, axis=-1)


def _softplus(x: Any) -> Any:
    """log(1 + e^x)."""
    xp = x.__array_namespace__()
    return xp.logaddexp(x, xp.zeros_like(x))


def _logistic(x: Any) -> Any:
    """1/(1 + e^{−x}), to a few roundings of itself on both sides."""
    xp = x.__array_namespace__()
    small = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, xp.ones_like(x), small) / (1 + small)


def _shares(logits: Any, *, own: bool) -> Any:
    """e^{x_k}/Σ_k e^{x_k}, with 1, the positive's own term, added to the sum if `own`."""
    xp = logits.__array_namespace__()
    top = xp.max(logits, axis=-1, keepdims=True)
    if own:
        top = xp.maximum(top, xp.zeros_like(top))
    terms = xp.exp(logits - top)
    total = xp.sum(terms, axis=-1, keepdims=True)
    return terms / (total + xp.exp(-top) if own else total)


def _log_sum_exp(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        from scipy.special import logsumexp
    else:
        from jax.nn import logsumexp
    return logsumexp(x, axis=-1)
