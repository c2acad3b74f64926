"""Gaussian clusters: views are fresh noise around one of several centres (R127, R128)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamics.data.samples import Dataset

MOST_SAMPLES = 10**7
"""Most samples that a source draws."""


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """Sources that are clusters: a view of cluster k is x ~ N(μ_k, Σ), fresh for every view.

    Parameters
    ----------
    prior
        π_k, probability of each cluster, shape (K,), > 0, in any unit.
    centres
        μ_k, shape (K, d), finite.
    covariance
        Σ, the same for all clusters: a matrix (d, d), symmetric and positive semidefinite, or one variance >= 0 for
        Σ = σ² I.

    Raises
    ------
    ValueError
        One of these is not so.

    Notes
    -----
    Source: DD 4.2; R127.

    Examples
    --------
    >>> GaussianMixture([1, 3], [[0.0], [2.0]], 0.1).prior
    array([0.25, 0.75])
    """

    prior: Any
    centres: Any
    covariance: Any

    def __post_init__(self) -> None:
        centres = np.array(self.centres, dtype=np.float64)
        if centres.ndim != 2 or centres.size == 0 or not np.all(np.isfinite(centres)):
            raise ValueError(f"`centres` must be finite, of shape (K, d), got shape {centres.shape}")
        K, d = centres.shape
        prior = np.array(self.prior, dtype=np.float64)
        if prior.shape != (K,) or not np.all(np.isfinite(prior) & (prior > 0)):
            raise ValueError(f"`prior` must be {K} finite numbers > 0, one per centre, got {self.prior}")
        prior = prior / prior.max()
        covariance = np.array(self.covariance, dtype=np.float64)
        if covariance.ndim == 0:
            covariance = covariance * np.eye(d)
        if covariance.shape != (d, d) or not np.all(np.isfinite(covariance)):
            raise ValueError(
                f"`covariance` must be a finite number or of shape ({d}, {d}), got {self.covariance}"
            )
        # rounding of a computed covariance: d products per entry
        rounding = d * np.finfo(float).eps * np.max(np.abs(covariance))
        if (
            np.max(np.abs(covariance - covariance.T)) > rounding
            or np.linalg.eigvalsh(covariance)[0] < -rounding
        ):
            raise ValueError(
                f"`covariance` must be symmetric and positive semidefinite, got {self.covariance}"
            )
        for name, array in (("prior", prior / prior.sum()), ("centres", centres), ("covariance", covariance)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def drawn(
        cls,
        n_clusters: int,
        dimension: int,
        deviation: float,
        *,
        seed: int = 0,
        first_at_origin: bool = False,
    ) -> GaussianMixture:
        """Draw equally likely clusters with centres μ_k ~ N(0, I) and Σ = σ² I.

        Parameters
        ----------
        n_clusters, dimension
            K and d, integers >= 1.
        deviation
            σ, finite and >= 0.
        seed
            Seed of the centres, an integer >= 0.
        first_at_origin
            Put the first centre at 0, as DD G.1 does.

        Examples
        --------
        >>> GaussianMixture.drawn(3, 2, 0.3).centres.shape
        (3, 2)
        """
        for name, value, least in (
            ("n_clusters", n_clusters, 1),
            ("dimension", dimension, 1),
            ("seed", seed, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"`{name}` must be an integer >= {least}, got {value}")
        if not (np.isfinite(deviation) and deviation >= 0):
            raise ValueError(f"`deviation` must be finite and >= 0, got {deviation}")
        centres = np.random.default_rng(seed).standard_normal((n_clusters, dimension))
        if first_at_origin:
            centres[0] = 0.0
        return cls(np.ones(n_clusters), centres, float(deviation) ** 2)

    @property
    def root(self) -> np.ndarray:
        """A matrix R with R Rᵀ = Σ, shape (d, d): μ + R z is a view for standard normal z."""
        values, vectors = np.linalg.eigh(self.covariance)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))

    def sample(self, rng: np.random.Generator, clusters: Any) -> np.ndarray:
        """Draw one view of each of some clusters, given by their numbers (...): shape (..., d)."""
        root, clusters = self.root, np.asarray(clusters)
        return self.centres[clusters] + rng.standard_normal((*clusters.shape, root.shape[0])) @ root.T


def load_clusters(spec: str) -> Dataset:
    """Draw samples of Gaussian clusters whose centres are Gaussian themselves.

    Parameters
    ----------
    spec
        ``name=number`` pairs, separated by colons, in any order: K, number of clusters (10); d, dimension (20);
        sigma, deviation of a sample from its centre (0.3); n, number of samples (1000); seed (0). What is left out
        has the value in brackets.

    Returns
    -------
    Dataset
        Vectors (n, d); a label says which cluster, and all clusters are equally likely. Views in the sense of the
        theory, fresh noise around one centre, are those of ``sigma=0`` with the augmentation ``noise:s``; with
        sigma > 0 the views of a sample share its own deviation.

    Raises
    ------
    ValueError
        A name is unknown or given twice, or a number is out of range.

    Examples
    --------
    >>> load_clusters("K=3:d=2:n=50").images.shape
    (50, 2)
    """
    settings: dict[str, float] = {"K": 10, "d": 20, "sigma": 0.3, "n": 1000, "seed": 0}
    given: set[str] = set()
    for part in spec.split(":") if spec else []:
        name, equals, text = part.partition("=")
        if name not in settings or name in given or not equals:
            raise ValueError(
                f"clusters must be given as {':'.join(f'{key}={value:g}' for key, value in settings.items())},"
                f" each once and in any order, got {part!r}"
            )
        given.add(name)
        settings[name] = _number(name, text)
    K, d, n, seed = (int(settings[name]) for name in ("K", "d", "n", "seed"))
    mixture = GaussianMixture.drawn(K, d, settings["sigma"], seed=seed)
    rng = np.random.default_rng([seed, 1])  # apart from the centres, which do not depend on n
    labels = rng.integers(0, K, n)
    return Dataset(mixture.sample(rng, labels), labels, f"{K} Gaussian clusters in {d} dimensions")


def _number(name: str, text: str) -> float:
    least = {"K": 1, "d": 1, "n": 2, "seed": 0}
    if name in least:
        value = int(text) if text.isascii() and text.isdigit() else -1
        if not least[name] <= value <= MOST_SAMPLES:
            raise ValueError(
                f"{name} of clusters must be an integer from {least[name]} to {MOST_SAMPLES}, got {text!r}"
            )
        return value
    try:
        deviation = float(text)
    except ValueError:
        deviation = np.nan
    if not (np.isfinite(deviation) and deviation >= 0):
        raise ValueError(f"{name} of clusters must be a finite number >= 0, got {text!r}")
    return deviation
