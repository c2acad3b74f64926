"""Moments of the views of a data set, whether augmentations or a latent tree make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dynamics.data.augmentation import Augmentation
from dynamics.data.moments import Moments
from dynamics.data.samples import Dataset
from dynamics.data.tree_moments import tree_view_moments


def dataset_moments(
    dataset: Dataset,
    augmentations: Sequence[Augmentation],
    *,
    center: bool = True,
    scale: bool = True,
    **options: Any,
) -> Moments:
    """Moments of a data set's views: exact where its views are those of a latent tree, else `Moments.from_data`.

    Parameters
    ----------
    dataset
        Samples as `dynamics.data.datasets.load` returns them.
    augmentations, center, scale, **options
        As for `Moments.from_data`; for a tree, augmentations must have exact averages.

    Raises
    ------
    ValueError
        As `Moments.from_data` and `dynamics.data.tree_moments.tree_view_moments` do.

    Examples
    --------
    >>> from dynamics.data.datasets import load
    >>> dataset_moments(load("tree:branching=1:height=1:polarity=0.5"), []).ratios
    array([0.25])
    """
    if dataset.tree is None:
        return Moments.from_data(dataset.images, augmentations, center=center, scale=scale, **options)
    pair, notes = tree_view_moments(dataset.tree, augmentations, center=center, scale=scale)
    return Moments(*pair, notes=notes)
