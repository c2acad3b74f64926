"""Objects on a ring of pixels, seen through a receptive field (R121): exact tables of their views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from dynamics.data.samples import Dataset

LONGEST = 4096
"""Most pixels of a ring that is listed position by position."""


class RingViews(NamedTuple):
    """All views of all sources, with their probabilities.

    Parameters
    ----------
    prior
        Probability of each source, shape (N,).
    views
        The views of each source, shape (N, n_views, n_inputs).
    view_prior
        Probability of each view of a source, shape (n_views,).
    """

    prior: np.ndarray
    views: np.ndarray
    view_prior: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """Mean view of each source, shape (N, n_inputs)."""
        return np.einsum("a,nai->ni", self.view_prior, self.views)


@dataclass(frozen=True, eq=False)
class RingObjects:
    """Objects that may stand anywhere on a ring of pixels; a view puts one of them at a uniform position.

    Parameters
    ----------
    length
        d, the number of pixels, from 1 to `LONGEST`.
    objects
        The pixels that each object lights, as a word of 0s and 1s such as "101", or as its brightnesses; no longer
        than the ring.
    prior
        Probability of each object, > 0, in any unit; left out, all are equal.

    Raises
    ------
    ValueError
        One of these is not so.

    Notes
    -----
    Source: DD 4.1; R121–R123.

    Examples
    --------
    >>> RingObjects(5, ["11", "101"]).profiles
    array([[1., 1., 0., 0., 0.],
           [1., 0., 1., 0., 0.]])
    """

    length: int
    objects: Sequence[Any]
    prior: Any = None
    profiles: np.ndarray = field(init=False, repr=False)
    """Each object with its first pixel at position 0, shape (n_objects, d)."""

    def __post_init__(self) -> None:
        d = self.length
        if isinstance(d, bool) or not isinstance(d, (int, np.integer)) or not 1 <= d <= LONGEST:
            raise ValueError(f"`length` must be an integer from 1 to {LONGEST}, got {d}")
        if isinstance(self.objects, str) or len(self.objects) == 0:
            raise ValueError(
                f"`objects` must be at least one object, such as ['11', '101'], got {self.objects!r}"
            )
        profiles = np.stack([_profile(one, int(d)) for one in self.objects])
        prior = _probabilities(self.prior, len(profiles))
        for array in (profiles, prior):
            array.setflags(write=False)
        object.__setattr__(self, "objects", tuple(self.objects))
        object.__setattr__(self, "prior", prior)
        object.__setattr__(self, "profiles", profiles)

    @property
    def masses(self) -> np.ndarray:
        """Total brightness of each object, shape (n_objects,)."""
        return self.profiles.sum(axis=1)

    def views(self, offsets: Any = None, shifts: Any = None) -> RingViews:
        """List every view exactly.

        Parameters
        ----------
        offsets
            Pixels that the receptive field sees, as for `receptive_field`; left out, all of them.
        shifts
            p(b) of shifts by b = 0, 1, …, d − 1 pixels, >= 0, in any unit. Left out, a view is an object at a
            uniform position, and the sources are the objects. Given, the sources are objects at a position of their
            own, drawn uniformly, (object 0 at 0, …, d − 1, then object 1, …), and a view shifts that by b.

        Raises
        ------
        ValueError
            Offsets or shifts are not so.

        Examples
        --------
        >>> RingObjects(5, ["11"]).views([0, 1]).views[0].tolist()
        [[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]
        """
        d = self.length
        pixels = np.arange(d) if offsets is None else _offsets(d, offsets)
        turned = np.stack(
            [np.roll(self.profiles, b, axis=1) for b in range(d)], axis=1
        )  # object, position, pixel
        if shifts is None:
            return RingViews(self.prior, turned[..., pixels], np.full(d, 1 / d))
        law = _shift_law(shifts, d)
        places = (np.arange(d)[:, None] + np.arange(d)) % d  # own position z, shifted by b
        views = turned[:, places].reshape(-1, d, d)
        return RingViews(np.repeat(self.prior / d, d), views[..., pixels], law)


def receptive_field(ring: RingObjects, offsets: Any) -> np.ndarray:
    """Matrix that picks the pixels at some offsets, counted around the ring.

    Parameters
    ----------
    ring
        The ring of d pixels.
    offsets
        Whole numbers that name k >= 1 different pixels, modulo d.

    Returns
    -------
    array
        Shape (k, d), one 1 in each row.

    Raises
    ------
    ValueError
        The offsets are not so.

    Examples
    --------
    >>> receptive_field(RingObjects(3, ["1"]), [-1, 0])
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    return np.eye(ring.length)[_offsets(ring.length, offsets)]


def pattern_frequencies(ring: RingObjects, offsets: Any) -> dict[str, np.ndarray]:
    """How often each object shows each pattern to a receptive field, over all d positions (R121).

    A window of k >= 2 neighbouring pixels on a ring of d >= k + 2 sees the object 11 whole at k − 1 positions, its
    one pixel at either edge at 1 + 1, and nothing at d − k − 1; the object 101 whole at k − 2, one pixel at 2 + 2
    and nothing at d − k − 2.

    Parameters
    ----------
    ring
        Objects of zeros and ones.
    offsets
        Pixels that the receptive field sees, as for `receptive_field`.

    Returns
    -------
    dict
        Patterns that occur, as words of 0s and 1s in the order of `offsets`, from 1…1 down; for each its frequency
        for each object, shape (n_objects,).

    Raises
    ------
    ValueError
        An object has brightnesses other than 0 and 1; the offsets are not those of `receptive_field`.

    Notes
    -----
    Source: DD Figure 3; R121.

    Examples
    --------
    >>> found = pattern_frequencies(RingObjects(8, ["11", "101"]), [0, 1])
    >>> {pattern: (8 * frequency).tolist() for pattern, frequency in found.items()}
    {'11': [1.0, 0.0], '10': [1.0, 2.0], '01': [1.0, 2.0], '00': [5.0, 4.0]}
    """
    if not np.all(np.isin(ring.profiles, (0.0, 1.0))):
        raise ValueError(
            "`objects` must be of zeros and ones to be counted by pattern, got other brightnesses"
        )
    seen = ring.views(offsets).views.astype(int)
    words = [["".join(map(str, view)) for view in views] for views in seen]
    return {
        pattern: np.array([views.count(pattern) for views in words]) / ring.length
        for pattern in sorted({word for views in words for word in views}, reverse=True)
    }


def load_ring(spec: str) -> Dataset:
    """List the objects of a ring at all their positions, as images of one row.

    Parameters
    ----------
    spec
        ``LENGTH:OBJECTS``, such as ``8:11,101``; an object that is named twice is twice as frequent.

    Returns
    -------
    Dataset
        Images (n_objects · d, 1, d, 1); a label says which object. Two views in the sense of the
        theory are two uniform positions of one object, which the augmentation ``roll`` draws.

    Raises
    ------
    ValueError
        The text is not so, or no such ring exists.

    Examples
    --------
    >>> load_ring("8:11,101").images.shape
    (16, 1, 8, 1)
    """
    length, colon, words = spec.partition(":")
    if not (length.isascii() and length.isdigit() and colon and words):
        raise ValueError(
            f"a ring must be written ring:LENGTH:OBJECTS, such as ring:8:11,101, got 'ring:{spec}'"
        )
    try:
        ring = RingObjects(int(length), words.split(","))
    except ValueError as error:
        raise ValueError(f"in 'ring:{spec}', {error}") from None
    views = ring.views().views
    labels = np.repeat(np.arange(len(views)), ring.length)
    return Dataset(views.reshape(-1, 1, ring.length, 1), labels, f"ring of {ring.length} pixels ({words})")


def _profile(one: Any, d: int) -> np.ndarray:
    if isinstance(one, str):
        if not one or set(one) - {"0", "1"}:
            raise ValueError(f"`objects` must be words of 0s and 1s, such as 101, got {one!r}")
        one = [float(letter) for letter in one]
    pixels = np.asarray(one, dtype=np.float64)
    if pixels.ndim != 1 or not 1 <= pixels.size <= d or not np.all(np.isfinite(pixels)):
        raise ValueError(
            f"`objects` must have 1 to {d} finite pixels, as many as the ring at most, got {one}"
        )
    return np.concatenate([pixels, np.zeros(d - pixels.size)])


def _probabilities(prior: Any, n: int) -> np.ndarray:
    weights = np.ones(n) if prior is None else np.array(prior, dtype=np.float64)
    if weights.shape != (n,) or not np.all(np.isfinite(weights) & (weights > 0)):
        raise ValueError(f"`prior` must be {n} finite numbers > 0, one per object, got {prior}")
    weights = weights / weights.max()
    return weights / weights.sum()


def _shift_law(shifts: Any, d: int) -> np.ndarray:
    law = np.array(shifts, dtype=np.float64)
    if law.shape != (d,) or not np.all(np.isfinite(law) & (law >= 0)) or not law.any():
        raise ValueError(f"`shifts` must be {d} finite numbers >= 0, not all zero, got {shifts}")
    law = law / law.max()
    return law / law.sum()


def _offsets(d: int, offsets: Any) -> np.ndarray:
    given = np.asarray(offsets)
    if (
        given.ndim != 1
        or given.size == 0
        or given.dtype.kind not in "iu"
        or np.unique(given % d).size < given.size
    ):
        raise ValueError(
            f"`offsets` must be whole numbers that name different pixels modulo {d}, got {offsets}"
        )
    return given % d
