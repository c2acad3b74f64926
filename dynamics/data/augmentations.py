"""The named augmentations: how each one draws a view, and how it moves Σs and Σd.

A view is x ↦ A x + ε with A and ε drawn afresh, independently of x, and E ε = 0. Averages over the draws then
act on the moments alone,

    Σs ↦ E[A Σs Aᵀ] + E[ε εᵀ],    Σd ↦ E[A] Σd E[A]ᵀ,

and a chain of augmentations composes these maps in its order; started from (Σx, Σx) it is exact. Images are
(N, h, w, c) or flat (N, d); moments are those of the flattened sample, channels last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np

from dynamics.data.augmentation import Augmentation, ExactAugmentation, Pair, Shape


def _parameter(name: str, value: Any, valid: Callable[[float], bool], wanted: str) -> float:
    if not isinstance(value, Real) or not valid(float(value)):
        raise ValueError(f"`{name}` must be {wanted}, got {value}")
    return float(value)


def _whole(name: str, value: Any) -> int:
    return int(_parameter(name, value, lambda v: v >= 0 and v.is_integer(), "an integer >= 0"))


def _deviation(name: str, value: Any) -> float:
    return _parameter(name, value, lambda v: 0 <= v < np.inf, "finite and >= 0")


def _fraction(name: str, value: Any) -> float:
    return _parameter(name, value, lambda v: 0 < v <= 1, "> 0 and <= 1")


@dataclass(frozen=True)
class Shift(ExactAugmentation):
    """Cyclic shift by a rows and b columns, (a, b) uniform over the (2k + 1)² pairs in {−k, …, k}².

        (A x)[i, j] = x[i − a mod h, j − b mod w]

    Parameters
    ----------
    k
        Largest shift in pixels, an integer >= 0, smaller than both sides of the image.

    Examples
    --------
    >>> Shift(1).propagate(np.eye(4), np.eye(4), (2, 2, 1))[1][0].round(3)
    array([0.309, 0.247, 0.247, 0.198])
    """

    k: int
    spatial = True
    name = "shift"
    signature = "shift:k"
    meaning = "cyclic shift by up to k pixels in each direction, all (2k+1)^2 shifts equally likely"

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", _whole("k", self.k))

    def check(self, shape: Shape) -> None:
        """Refuse flat samples and images with a side of k pixels or fewer."""
        super().check(shape)
        h, w, _ = shape
        if self.k >= min(h, w):
            raise ValueError(f"`{self}` must shift by less than the image, got images of {h} x {w} pixels")

    def _views(self, rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
        n, h, w, _ = images.shape
        down, right = rng.integers(-self.k, self.k + 1, (2, n, 1))
        rows, columns = (np.arange(h) - down) % h, (np.arange(w) - right) % w
        return images[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]

    def _moments(self, sigma_s: np.ndarray, sigma_d: np.ndarray, shape: Shape) -> Pair:
        S, D = sigma_s.reshape(shape + shape), sigma_d.reshape(shape + shape)
        # rows and columns shift independently, so two averages of 2k + 1 terms make that over all (2k + 1)²
        for axes in ((0, 3), (1, 4)):  # both pixels of a pair move together
            S = self._average(S, axes)
        for axis in (0, 1, 3, 4):  # each pixel moves by itself
            D = self._average(D, (axis,))
        return S.reshape(sigma_s.shape), D.reshape(sigma_d.shape)

    def _average(self, tensor: np.ndarray, axes: Shape) -> np.ndarray:
        total = np.zeros_like(tensor)
        for step in range(-self.k, self.k + 1):
            total += np.roll(tensor, (step,) * len(axes), axes)
        total /= 2 * self.k + 1
        return total


@dataclass(frozen=True)
class Roll(ExactAugmentation):
    """Cyclic shift along the rows by b columns, b uniform over all of them: views of an object on a ring (R121).

        (A x)[i, j] = x[i, j − b mod w],   E[A] = the mean of each row

    Examples
    --------
    >>> Roll().propagate(np.diag([1.0, 3.0]), np.diag([1.0, 3.0]), (1, 2, 1))
    (array([[2., 0.],
           [0., 2.]]), array([[1., 1.],
           [1., 1.]]))
    """

    spatial = True
    name = "roll"
    signature = "roll"
    meaning = "cyclic shift along the rows, all columns equally likely: positions on a ring"

    def _views(self, rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
        n, _, w, _ = images.shape
        columns = (np.arange(w) - rng.integers(0, w, (n, 1))) % w
        return np.take_along_axis(images, columns[:, None, :, None], axis=2)

    def _moments(self, sigma_s: np.ndarray, sigma_d: np.ndarray, shape: Shape) -> Pair:
        S, D = sigma_s.reshape(shape + shape), sigma_d.reshape(shape + shape)
        together = np.zeros_like(S)
        for step in range(shape[1]):
            together += np.roll(S, (step, step), (1, 4))
        apart = np.broadcast_to(D.mean(axis=(1, 4), keepdims=True), D.shape)
        return together.reshape(sigma_s.shape) / shape[1], apart.reshape(sigma_d.shape)


@dataclass(frozen=True)
class Noise(ExactAugmentation):
    """Additive white noise: x ↦ x + ε, ε ~ N(0, s² I); Σs ↦ Σs + s² I, Σd ↦ Σd. Source: R16, additive model.

    Parameters
    ----------
    s
        Standard deviation at every pixel, finite and >= 0, in units of the scaled data.

    Examples
    --------
    >>> Noise(0.5).propagate(np.eye(2), np.eye(2), (2,))[0]
    array([[1.25, 0.  ],
           [0.  , 1.25]])
    """

    s: float
    name = "noise"
    signature = "noise:s"
    meaning = "add N(0, s^2) to every pixel, s in units of the scaled data"

    def __post_init__(self) -> None:
        object.__setattr__(self, "s", _deviation("s", self.s))

    def _views(self, rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
        return images + self.s * rng.standard_normal(images.shape)

    def _moments(self, sigma_s: np.ndarray, sigma_d: np.ndarray, shape: Shape) -> Pair:
        return sigma_s + self.s**2 * np.eye(len(sigma_s)), sigma_d


@dataclass(frozen=True)
class Flip(ExactAugmentation):
    """Left-right mirror with probability one half: A = F or I, so Σs ↦ (Σs + F Σs F)/2, E[A] = (I + F)/2.

    Examples
    --------
    >>> Flip().propagate(np.diag([1.0, 3.0]), np.diag([1.0, 3.0]), (1, 2, 1))[1]
    array([[1., 1.],
           [1., 1.]])
    """

    spatial = True
    name = "flip"
    signature = "flip"
    meaning = "left-right mirror with probability 1/2"

    def _views(self, rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
        mirrored = rng.integers(0, 2, len(images)) == 1
        return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)

    def _moments(self, sigma_s: np.ndarray, sigma_d: np.ndarray, shape: Shape) -> Pair:
        S, D = sigma_s.reshape(shape + shape), sigma_d.reshape(shape + shape)
        S = (S + np.flip(S, (1, 4))) / 2
        for axis in (1, 4):
            D = (D + np.flip(D, axis)) / 2
        return S.reshape(sigma_s.shape), D.reshape(sigma_d.shape)


@dataclass(frozen=True)
class Crop(Augmentation):
    """Random resized crop: a box of side fraction u ~ U[f, 1], placed uniformly, stretched back to full size.

        (A x)[i, j] = x(top + u (i + ½) − ½, left + u (j + ½) − ½)

    where x( , ) is bilinear between pixel centres and constant beyond the outermost ones.

    Parameters
    ----------
    f
        Smallest side of the box as a fraction of the image's, 0 < f <= 1; f = 1 leaves images as they are.

    Notes
    -----
    Crops form a continuum, so moments are sampled. The box has the image's aspect ratio; it is only ever
    enlarged, so nothing has to be smoothed against aliasing.

    Examples
    --------
    >>> Crop(1.0).sample(np.random.default_rng(0), np.arange(4.0).reshape(1, 2, 2, 1)).ravel()
    array([0., 1., 2., 3.])
    """

    f: float
    spatial = True
    name = "crop"
    signature = "crop:f"
    meaning = "random box of side fraction f to 1, resized back (bilinear); its moments are sampled"

    def __post_init__(self) -> None:
        object.__setattr__(self, "f", _fraction("f", self.f))

    def _views(self, rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
        n, h, w, _ = images.shape
        side = rng.uniform(self.f, 1, (n, 1))
        top, left = rng.uniform(0, 1, (2, n, 1)) * (1 - side)
        R = _interpolation(h * top + side * (np.arange(h) + 0.5) - 0.5, h)
        C = _interpolation(w * left + side * (np.arange(w) + 0.5) - 0.5, w)
        stretched = (R @ images.reshape(n, h, -1)).reshape(images.shape)
        return C[:, np.newaxis] @ stretched


def _interpolation(at: np.ndarray, size: int) -> np.ndarray:
    """Weights (…, size) of the pixels in the linear interpolation at coordinates (…), constant past the ends."""
    return np.maximum(0, 1 - np.abs(np.clip(at, 0, size - 1)[..., np.newaxis] - np.arange(size)))


@dataclass(frozen=True)
class Erase(ExactAugmentation):
    """Random erasing: the pixels of a square, uniform over the positions where it fits, are set to zero.

        E[A] = diag(m),  E[A Σ Aᵀ] = K ∘ Σ,  m(p) = P(p kept),  K(p, q) = P(p and q kept)

    Parameters
    ----------
    f
        Area of the square as a fraction of the image's, 0 < f <= 1; its side is max(1, round(sqrt(f h w))).

    Notes
    -----
    Zero means the mean image when the data are centred. All channels of a pixel are erased together.

    Examples
    --------
    >>> Erase(0.25).propagate(np.ones((4, 4)), np.ones((4, 4)), (2, 2, 1))[0][0]
    array([0.75, 0.5 , 0.5 , 0.5 ])
    """

    f: float
    spatial = True
    name = "erase"
    signature = "erase:f"
    meaning = "set a random square of about a fraction f of the image's area to zero"

    def __post_init__(self) -> None:
        object.__setattr__(self, "f", _fraction("f", self.f))

    def side(self, h: int, w: int) -> int:
        """Side of the square in pixels for images of h x w pixels."""
        return max(1, round(np.sqrt(self.f * h * w)))

    def check(self, shape: Shape) -> None:
        """Refuse flat samples and images into which the square does not fit."""
        super().check(shape)
        h, w, _ = shape
        if self.side(h, w) > min(h, w):
            raise ValueError(
                f"`{self}` must fit: its side is {self.side(h, w)}, got images of {h} x {w} pixels"
            )

    def _views(self, rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
        n, h, w, _ = images.shape
        side = self.side(h, w)
        rows = np.arange(h) - rng.integers(0, h - side + 1, (n, 1))
        columns = np.arange(w) - rng.integers(0, w - side + 1, (n, 1))
        in_rows, in_columns = (rows >= 0) & (rows < side), (columns >= 0) & (columns < side)
        erased = in_rows[:, :, None] & in_columns[:, None, :]
        return np.where(erased[..., None], 0.0, images)

    def _moments(self, sigma_s: np.ndarray, sigma_d: np.ndarray, shape: Shape) -> Pair:
        h, w, _ = shape
        rows, columns = _covered(h, self.side(h, w)), _covered(w, self.side(h, w))
        erased = np.outer(np.diag(rows), np.diag(columns))  # P(p erased)
        both_erased = rows[:, None, :, None] * columns[None, :, None, :]  # P(p and q erased)
        m = 1 - erased
        K = 1 - erased[:, :, None, None] - erased + both_erased
        return _masked(sigma_s, K, shape), _masked(sigma_d, np.multiply.outer(m, m), shape)


def _covered(length: int, side: int) -> np.ndarray:
    """P(an interval of `side` pixels, placed uniformly on `length` of them, covers both i and j)."""
    start = np.arange(length - side + 1)[:, None]
    covers = ((start <= np.arange(length)) & (np.arange(length) < start + side)).astype(np.float64)
    return covers.T @ covers / len(start)


def _masked(sigma: np.ndarray, mask: np.ndarray, shape: Shape) -> np.ndarray:
    """Hadamard product of Σ, over pixels and channels, with a mask (h, w, h, w) over pixels."""
    return (sigma.reshape(shape + shape) * mask[:, :, None, :, :, None]).reshape(sigma.shape)


@dataclass(frozen=True)
class Scramble(ExactAugmentation):
    """Multiplicative scrambling of a random k-dimensional subspace: A = Pc + U B Uᵀ, Pc = I − U Uᵀ.

        Σs ↦ Pc Σs Pc + tr(Uᵀ Σs U) U Uᵀ,  Σd ↦ Pc Σd Pc

    B has independent N(0, 1) entries; U (d, k) is drawn once, orthonormal, and belongs to the augmentation.
    Source: R16, multiplicative model, which corrects the printed Σs.

    Parameters
    ----------
    k
        Dimension of the scrambled subspace, an integer from 0 to d.
    seed
        Seed of U: equal seeds scramble the same subspace.

    Examples
    --------
    >>> np.trace(Scramble(2).propagate(np.eye(4), np.eye(4), (4,))[1]).round(12)
    np.float64(2.0)
    """

    k: int
    seed: int = 0
    name = "scramble"
    signature = "scramble:k"
    meaning = "scramble a fixed random k-dimensional subspace by a Gaussian matrix"

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", _whole("k", self.k))

    def basis(self, d: int) -> np.ndarray:
        """U, orthonormal columns of shape (d, k)."""
        return _random_basis(d, self.k, self.seed)

    def check(self, shape: Shape) -> None:
        """Refuse samples of fewer than k numbers."""
        d = int(np.prod(shape))
        if self.k > d:
            raise ValueError(f"`{self}` must leave k <= d, got samples of d = {d} numbers")

    def _views(self, rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
        X = images.reshape(len(images), -1)
        U = self.basis(X.shape[1])
        Z = X @ U
        # B z is N(0, ‖z‖² I) for one z, and every view has a B of its own
        BZ = np.linalg.norm(Z, axis=1, keepdims=True) * rng.standard_normal(Z.shape)
        return (X + (BZ - Z) @ U.T).reshape(images.shape)

    def _moments(self, sigma_s: np.ndarray, sigma_d: np.ndarray, shape: Shape) -> Pair:
        return scrambled(sigma_s, sigma_d, self.basis(len(sigma_s)))


@lru_cache(maxsize=8)
def _random_basis(d: int, k: int, seed: int) -> np.ndarray:
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, k)))[0]
    basis.setflags(write=False)
    return basis


def scrambled(sigma_s: np.ndarray, sigma_d: np.ndarray, basis: np.ndarray) -> Pair:
    """Scramble a subspace: Σs ↦ Pc Σs Pc + tr(Uᵀ Σs U) U Uᵀ and Σd ↦ Pc Σd Pc, where Pc = I − U Uᵀ.

    Parameters
    ----------
    sigma_s, sigma_d
        Σs and Σd before, shape (d, d), as those that are returned.
    basis
        U, orthonormal columns of shape (d, k), not checked here.

    Notes
    -----
    For B with independent entries of mean 0 and variance 1, E[B S Bᵀ] = tr(S) I and the cross terms vanish.
    Source: R16.

    Examples
    --------
    >>> scrambled(np.diag([1.0, 3.0]), np.diag([1.0, 3.0]), np.array([[0.0], [1.0]]))[1]
    array([[1., 0.],
           [0., 0.]])
    """
    U = basis

    def conserved(sigma: np.ndarray) -> np.ndarray:
        left = sigma - U @ (U.T @ sigma)
        return left - (left @ U) @ U.T

    return conserved(sigma_s) + np.trace(U.T @ sigma_s @ U) * (U @ U.T), conserved(sigma_d)


@dataclass(frozen=True)
class Gain(ExactAugmentation):
    """Random contrast: x ↦ g x, one g ~ N(1, s²) a view; Σs ↦ (1 + s²) Σs, Σd ↦ Σd: ratios shrink by 1 + s².

    Parameters
    ----------
    s
        Standard deviation of the gain, finite and >= 0.

    Examples
    --------
    >>> Gain(1.0).propagate(np.eye(1), np.eye(1), (1,))
    (array([[2.]]), array([[1.]]))
    """

    s: float
    name = "gain"
    signature = "gain:s"
    meaning = "multiply the image by g ~ N(1, s^2)"

    def __post_init__(self) -> None:
        object.__setattr__(self, "s", _deviation("s", self.s))

    def _views(self, rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
        return images * rng.normal(1, self.s, (len(images),) + (1,) * (images.ndim - 1))

    def _moments(self, sigma_s: np.ndarray, sigma_d: np.ndarray, shape: Shape) -> Pair:
        return (1 + self.s**2) * sigma_s, sigma_d
