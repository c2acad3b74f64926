"""Boundaries between basins, found by bisection with trajectories where no formula is known.

That is so under weight decay off the balanced sheet, and for the sign of w1 under any target rate; where there is a
formula, R6 for the fate and `analysis.phase_planes.separatrices.leaf_separatrix` for the sign, the points lie on it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.fates.basins import FATES, BasinMap
from analysis.fates.fate import Fate

_SHARES = (0.5, 0.4, 0.6)  # where an edge is cut: a start that is undecided may have hit the boundary itself


class BasinBoundary(NamedTuple):
    """Points on the boundary between basins, one for each edge of the lattice that crosses it.

    Parameters
    ----------
    points
        Coordinates in the plane of the basin map, shape (n, 2): middle of the last interval.
    half_width
        The boundary is this far away at most, along the edge, shape (n,).
    sides
        What the starts of either side become, shape (n, 2): 0 collapsed, and learned with the sign of w1, ±1.
    """

    points: np.ndarray
    half_width: np.ndarray
    sides: np.ndarray


def basin_boundary(found: BasinMap, *, signs: bool = False, halvings: int = 12) -> BasinBoundary:
    """Refine the boundaries of a lattice: bisect every edge between cells of different fate.

    Parameters
    ----------
    found
        A lattice of `analysis.fates.basins.basins`.
    signs
        Tell learned starts apart by the sign of w1 at the end, too.
    halvings
        How often each edge is halved, >= 1; less often where starts about its middle stay undecided.

    Returns
    -------
    BasinBoundary
        Empty where all cells agree. Edges to undecided cells are left out.

    Raises
    ------
    ValueError
        Random starts, or fewer than one halving.

    Examples
    --------
    >>> from analysis.fates.basins import basins
    >>> from dynamics.fields.modes import full_mode_field
    >>> from dynamics.system import ModeSystem
    >>> found = basins(ModeSystem(1.0, 0.5), full_mode_field, grid=8, ranges=((0.0, 1.0), (0.0, 1.5)))
    >>> w1, w2 = basin_boundary(found).points.T
    >>> bool(np.all(np.abs(w2**2 - w1**2 - 0.25) < 1e-3))
    True
    """
    if halvings < 1:
        raise ValueError(f"`halvings` must be >= 1, got {halvings}")
    columns, rows = found.axes
    labels = _labels(found.fate, found.encoder_end, signs).reshape(rows.size, columns.size)
    u, v = np.meshgrid(columns, rows)
    places = np.stack([u, v], axis=-1)
    ends, sides = [], []
    every, first, second = slice(None), slice(-1), slice(1, None)
    for near, far in (((every, first), (every, second)), ((first, every), (second, every))):
        crossed = (labels[near] != labels[far]) & np.isfinite(labels[near]) & np.isfinite(labels[far])
        ends.append(np.stack([places[near][crossed], places[far][crossed]]))
        sides.append(np.stack([labels[near][crossed], labels[far][crossed]]))
    (low, high), (below, above) = np.concatenate(ends, axis=1), np.concatenate(sides, axis=1)
    n_undecided = np.zeros(len(low), dtype=int)
    for _ in range(halvings):
        edges = np.flatnonzero(n_undecided < len(_SHARES))
        if edges.size == 0:
            break
        share = np.array(_SHARES)[n_undecided[edges], None]
        middle = (1 - share) * low[edges] + share * high[edges]
        encoder, fate = found.follow(middle)
        label = _labels(fate, encoder, signs)
        like_below = label == below[edges]
        low[edges[like_below]] = middle[like_below]
        # a third basin between the two has a boundary with the first as well: that one is followed
        other = ~like_below & np.isfinite(label)
        high[edges[other]], above[edges[other]] = middle[other], label[other]
        n_undecided[edges] += np.isnan(label)
    return BasinBoundary(
        (low + high) / 2, np.max(np.abs(high - low), axis=1) / 2, np.stack([below, above], axis=1)
    )


def _labels(fate: np.ndarray, online: np.ndarray, signs: bool) -> np.ndarray:
    learned = np.sign(online) if signs else np.ones(online.shape)
    known = np.where(fate == FATES.index(Fate.COLLAPSED), 0.0, learned)
    return np.where(fate == FATES.index(Fate.UNDECIDED), np.nan, known)
