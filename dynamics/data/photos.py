"""Patches of the two photographs that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from dynamics.data.samples import Dataset

SIDE = 8
"""Side of a patch in pixels, unless another is given."""


def load_patches(side: str = "") -> Dataset:
    """Cut the photographs into patches that do not overlap, row by row.

    Parameters
    ----------
    side
        Side of a patch in pixels, from 1 to the height of the photographs; left out, `SIDE`.

    Returns
    -------
    Dataset
        Images (N, side, side, 3) of bytes; a label says which photograph.

    Raises
    ------
    ValueError
        The side is not such an integer.

    Examples
    --------
    >>> load_patches("64").images.shape
    (120, 64, 64, 3)
    """
    from sklearn.datasets import load_sample_images

    photographs = [np.asarray(each) for each in load_sample_images().images]
    most = min(min(each.shape[:2]) for each in photographs)
    given = side or str(SIDE)
    n = int(given) if given.isascii() and given.isdigit() else 0
    if not 1 <= n <= most:
        raise ValueError(f"the side of photos:SIDE must be an integer from 1 to {most}, got {side!r}")
    patches = [_cut(each, n) for each in photographs]
    labels = np.repeat(np.arange(len(patches)), [len(each) for each in patches])
    return Dataset(np.concatenate(patches), labels, f"photographs ({n} x {n} patches)")


def _cut(photograph: np.ndarray, side: int) -> np.ndarray:
    rows, columns = photograph.shape[0] // side, photograph.shape[1] // side
    tiles = photograph[: rows * side, : columns * side].reshape(rows, side, columns, side, -1)
    return tiles.swapaxes(1, 2).reshape(rows * columns, side, side, -1)
