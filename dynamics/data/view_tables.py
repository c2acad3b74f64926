"""Views for contrastive learning: a finite table of them, for exact sums, and Gaussian views, to draw from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from dynamics.data.moment_checks import check_one_shape, check_order, checked_symmetric, slack_of
from dynamics.data.moment_checks import check_semidefinite as check_psd
from dynamics.data.samples import check_finite, real_numbers


class ContrastiveDraw(NamedTuple):
    """Draws of what a contrastive loss compares.

    Parameters
    ----------
    anchor, positive
        Two views of each of n samples, independent given the sample, shape (n, d).
    negatives
        H views of other samples for each of them, drawn independently, shape (n, H, d).
    """

    anchor: np.ndarray
    positive: np.ndarray
    negatives: np.ndarray


class ViewSource(Protocol):
    """For developers: what a source of views supplies to sampled operators."""

    def sample(self, rng: np.random.Generator, n: int, negatives: int = 1) -> ContrastiveDraw:
        """Draw n anchors, each with a positive and H negatives."""
        ...


def _probabilities(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Probabilities along the last axis, broadcast to a shape; they sum to 1 within rounding, and exactly so after."""
    p = real_numbers(name, value)
    check_finite(name, np.atleast_1d(p))
    try:
        p = np.broadcast_to(p, shape)
    except ValueError:
        raise ValueError(f"`{name}` must have shape {shape}, got {p.shape}") from None
    total = p.sum(axis=-1, keepdims=True)
    if np.any(p < 0) or np.max(np.abs(total - 1)) > 1e-9:
        raise ValueError(f"`{name}` must be >= 0 and sum to 1, got a sum of {total.flat[0]:.12g}")
    return p / total


@dataclass(frozen=True, eq=False)
class ViewTable:
    """A finite population: N samples with A views each, and their probabilities.

    Parameters
    ----------
    prior
        P(x), shape (N,), >= 0, summing to 1.
    views
        The views x′ of each sample, shape (N, A, d).
    view_prior
        P(x′ | x), shape (N, A), or (A,) for all samples alike; None for equal shares.
    originals
        The samples x before augmentation, shape (N, d), where a question needs them (R111); else None.

    Raises
    ------
    ValueError
        Shapes do not fit, an entry is not finite, or probabilities are negative or do not sum to 1.

    Examples
    --------
    >>> table = ViewTable([0.5, 0.5], [[[0.0], [2.0]], [[3.0], [5.0]]])
    >>> table.mean_view.ravel()
    array([1., 4.])
    """

    prior: Any
    views: Any
    view_prior: Any = None
    originals: Any = None

    def __post_init__(self) -> None:
        views = real_numbers("views", self.views)
        if views.ndim != 3 or 0 in views.shape:
            raise ValueError(f"`views` must have shape (N, A, d), got {views.shape}")
        check_finite("views", views)
        n, a, d = views.shape
        given = np.full(a, 1 / a) if self.view_prior is None else self.view_prior
        parts = {
            "prior": _probabilities("prior", self.prior, (n,)),
            "views": views,
            "view_prior": _probabilities("view_prior", given, (n, a)),
        }
        if self.originals is not None:
            originals = real_numbers("originals", self.originals)
            if originals.shape != (n, d):
                raise ValueError(f"`originals` must have shape {(n, d)}, got {originals.shape}")
            check_finite("originals", originals)
            parts["originals"] = originals
        for name, array in parts.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def mean_view(self) -> np.ndarray:
        """Average view of each sample, shape (N, d)."""
        return self.average(self.views)

    def average(self, of_views: np.ndarray) -> np.ndarray:
        """Average over the views of each sample: (N, A, ...) -> (N, ...)."""
        return np.einsum("na,na...->n...", self.view_prior, of_views)

    def expectation(self, of_samples: np.ndarray) -> np.ndarray:
        """Average over samples: (N, ...) -> (...)."""
        return np.tensordot(self.prior, of_samples, axes=1)

    def covariance(self, of_samples: np.ndarray) -> np.ndarray:
        """Covariance over samples, V_x = E[a aᵀ] − E[a] E[a]ᵀ: of vectors (N, m) or matrices (N, m, c), (m, m)."""
        centred = of_samples - self.expectation(of_samples)
        centred = centred.reshape(*of_samples.shape[:2], -1)
        return np.einsum("n,nic,njc->ij", self.prior, centred, centred, optimize=True)

    def sample(self, rng: np.random.Generator, n: int, negatives: int = 1) -> ContrastiveDraw:
        """Draw n anchors, each with a positive view of its sample and H views drawn from the whole table.

        >>> table = ViewTable([0.5, 0.5], [[[0.0], [2.0]], [[3.0], [5.0]]])
        >>> table.sample(np.random.default_rng(0), 4, negatives=2).negatives.shape
        (4, 2, 1)
        """
        x = rng.choice(len(self.prior), n, p=self.prior)
        others = rng.choice(len(self.prior), (n, negatives), p=self.prior)
        return ContrastiveDraw(self._views_of(rng, x), self._views_of(rng, x), self._views_of(rng, others))

    def _views_of(self, rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
        below = np.cumsum(self.view_prior, axis=1)[x] <= rng.random(x.shape)[..., None]
        a = np.minimum(np.sum(below, axis=-1), self.views.shape[1] - 1)  # the last sum may be 1 − eps
        return self.views[x, a]


@dataclass(frozen=True, eq=False)
class GaussianViews:
    """Centred Gaussian views x + n with covariance Σs, two of one sample having cross-covariance Σd.

    Parameters
    ----------
    sigma_s, sigma_d
        Σs and Σd, shape (d, d), 0 ≼ Σd ≼ Σs, within the rounding of printed digits.

    Raises
    ------
    ValueError
        A matrix is not symmetric, finite and positive semidefinite, or Σd exceeds Σs.

    Examples
    --------
    >>> views = GaussianViews(np.diag([2.0, 1.0]), np.diag([1.0, 0.9]))
    >>> views.sample(np.random.default_rng(0), 5, negatives=3).negatives.shape
    (5, 3, 2)
    """

    sigma_s: Any
    sigma_d: Any

    def __post_init__(self) -> None:
        sigma_s, sigma_d = (checked_symmetric(f"sigma_{k}", getattr(self, f"sigma_{k}")) for k in "sd")
        check_one_shape("sigma_s", sigma_s, "sigma_d", sigma_d)
        for name, sigma in (("sigma_s", sigma_s), ("sigma_d", sigma_d)):
            check_psd(name, sigma, slack_of(sigma_s, sigma_s))
        check_order(sigma_s, sigma_d)
        object.__setattr__(self, "sigma_s", sigma_s)
        object.__setattr__(self, "sigma_d", sigma_d)
        object.__setattr__(self, "_roots", (_root(sigma_d), _root(sigma_s - sigma_d)))

    @property
    def roots(self) -> tuple[np.ndarray, np.ndarray]:
        """Symmetric square roots of Σd and of Σs − Σd, the covariances of the sample and of a view's noise."""
        roots: tuple[np.ndarray, np.ndarray] = self.__dict__["_roots"]
        return roots

    def sample(self, rng: np.random.Generator, n: int, negatives: int = 1) -> ContrastiveDraw:
        """Draw n anchors, each with a positive view of its sample and H independent views."""
        common, noise = self.roots
        d = len(common)
        x = rng.standard_normal((n, d)) @ common
        e1, e2 = rng.standard_normal((2, n, d)) @ noise
        others = (
            rng.standard_normal((n, negatives, d)) @ common + rng.standard_normal((n, negatives, d)) @ noise
        )
        return ContrastiveDraw(x + e1, x + e2, others)


def _root(sigma: np.ndarray) -> np.ndarray:
    """Symmetric square root; eigenvalues that rounding put below zero count as zero."""
    values, vectors = np.linalg.eigh(sigma)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
