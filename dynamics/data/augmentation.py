"""What an augmentation is: how it draws a view of an image, and what it does to moments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

Shape = tuple[int, ...]
Pair = tuple[np.ndarray, np.ndarray]


class Augmentation(ABC):
    """A random map of a sample to a view of it, x ↦ A x + ε, linear in the sample once it is drawn.

    Attributes
    ----------
    name, signature, meaning
        How a spec begins, how it reads in full, and what it does in one line.
    exact
        True when the averages over all draws have a closed form (`ExactAugmentation.propagate`).
    spatial
        True when it must know which pixels are neighbours, so that samples have to be images (h, w, c).

    Raises
    ------
    ValueError
        At construction: the parameter is out of range. In use: the samples do not suit it (`check`).
    """

    name: ClassVar[str]
    signature: ClassVar[str]
    meaning: ClassVar[str]
    exact: ClassVar[bool] = False
    spatial: ClassVar[bool] = False

    def check(self, shape: Shape) -> None:
        """Raise ValueError when samples of `shape`, (h, w, c) or (d,), cannot be augmented in this way."""
        if self.spatial and len(shape) != 3:
            raise ValueError(
                f"`{self}` must know which pixels are neighbours: give images as (N, h, w) or (N, h, w, c),"
                f" got flat samples of shape {shape}"
            )

    def sample(self, rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
        """Draw one view of each image: (N, h, w, c) or (N, d) to the same shape, float64."""
        self.check(images.shape[1:])
        return self._views(rng, np.asarray(images, dtype=np.float64))

    @abstractmethod
    def _views(self, rng: np.random.Generator, images: np.ndarray) -> np.ndarray: ...

    def __str__(self) -> str:
        """Return the spec that `parse` turns back into this augmentation."""
        parameter = self.signature.partition(":")[2]
        return f"{self.name}:{getattr(self, parameter)}" if parameter else self.name


class ExactAugmentation(Augmentation):
    """An augmentation whose averages over all its draws have a closed form."""

    exact = True

    def propagate(self, sigma_s: np.ndarray, sigma_d: np.ndarray, shape: Shape) -> Pair:
        """Σs ↦ E[A Σs Aᵀ] + E[ε εᵀ] and Σd ↦ E[A] Σd E[A]ᵀ, both (d, d); `shape` is that of one sample."""
        self.check(shape)
        return self._moments(sigma_s, sigma_d, shape)

    @abstractmethod
    def _moments(self, sigma_s: np.ndarray, sigma_d: np.ndarray, shape: Shape) -> Pair: ...
