"""Samples: what a data set is, and what its arrays must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamics.data.latent_trees import LatentTree

MOST_CHANNELS = 4


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples, and their classes where they are known.

    Parameters
    ----------
    images
        Shape (N, h, w, c), or (N, d) for vectors, N >= 2, of any real number type; may be a memory map, to be
        read in slices. An array (N, h, w) is taken as one channel.
    labels
        Class of each sample, integers of shape (N,), or None.
    name
        What messages and figures call it.
    tree
        The latent tree whose leaves the samples are, shape (N, leaves), where views keep the root, a sample's label,
        and draw all else anew; None where augmentations alone make views.

    Raises
    ------
    ValueError
        The images are not numbers, not so shaped, empty or a single one, or the labels do not fit.

    Examples
    --------
    >>> Dataset(np.zeros((5, 8, 6)), None, "zeros").images.shape
    (5, 8, 6, 1)
    """

    images: np.ndarray
    labels: np.ndarray | None
    name: str
    tree: LatentTree | None = None

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype.kind not in "biuf":
            raise ValueError(f"{self.name} must hold real numbers, got an array of type {images.dtype}")
        if images.ndim not in (2, 3, 4):
            raise ValueError(
                f"{self.name} must have shape (N, d), (N, h, w) or (N, h, w, c), got {images.shape}"
            )
        check_channels(self.name, images.shape)
        if images.size == 0 or len(images) < 2:
            raise ValueError(f"{self.name} must hold at least two samples, got shape {images.shape}")
        if images.ndim == 3:
            object.__setattr__(self, "images", images[..., np.newaxis])
        if labels is not None and (labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]):
            raise ValueError(
                f"the labels of {self.name} must be {len(images)} integers,"
                f" got {labels.dtype} of shape {labels.shape}"
            )


def check_channels(name: str, shape: tuple[int, ...]) -> None:
    """Refuse images whose channels come first, which would pass for images of a few rows.

    >>> check_channels("photos.npy", (10, 3, 32, 32))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: photos.npy must have its channels last, (N, h, w, c), got shape (10, 3, 32, 32), which looks like...
    """
    if len(shape) == 4 and shape[1] <= MOST_CHANNELS < shape[3]:
        raise ValueError(
            f"{name} must have its channels last, (N, h, w, c), got shape {shape}, which looks like (N, c, h, w):"
            " store images.transpose(0, 2, 3, 1)"
        )


def real_numbers(name: str, value: Any) -> np.ndarray:
    """Return a float64 copy of an array of real numbers; refuse anything else, naming it.

    Raises
    ------
    ValueError
        Text, objects, complex numbers, or rows of different lengths.

    Examples
    --------
    >>> real_numbers("labels", ["cat"])
    Traceback (most recent call last):
    ValueError: `labels` must be real numbers, got <U3
    """
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"`{name}` must be an array, got rows of different lengths") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"`{name}` must be real numbers, got {array.dtype}")
    return array.astype(np.float64)


def check_finite(name: str, array: np.ndarray, rows: np.ndarray | None = None) -> None:
    """Raise ValueError at the first entry that is NaN or infinite, with its index.

    Parameters
    ----------
    name, array
        What is checked.
    rows
        Numbers of the rows of `array` in the file that they come from, where they are others.

    Examples
    --------
    >>> check_finite("images", np.array([[0.0], [np.nan]]), np.array([7, 3]))
    Traceback (most recent call last):
    ValueError: `images` must be finite, got nan at (3, 0)
    """
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        if rows is not None:  # the first in the file
            bad = bad[np.argsort(rows[bad[:, 0]], kind="stable")]
        row, *rest = (int(i) for i in bad[0])
        place = (row if rows is None else int(rows[row]), *rest)
        raise ValueError(f"`{name}` must be finite, got {array[tuple(bad[0])]} at {place}")
