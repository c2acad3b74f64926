"""Lucky nodes: how many random rectified units it takes for one to select a latent variable (R208)."""

from __future__ import annotations

import math

LUCKY = 0.25
"""Probability with which a node with symmetric random weights is at least as selective as half the median (R208)."""


def nodes_needed(confidence: float) -> int:
    """Nodes of which one is lucky with a given confidence: the least n with 1 − (3/4)ⁿ >= confidence.

    Parameters
    ----------
    confidence
        In [0, 1).

    Raises
    ------
    ValueError
        It is not so.

    Notes
    -----
    Source: R208.

    Examples
    --------
    >>> nodes_needed(0.95)
    11
    """
    if not 0 <= confidence < 1:
        raise ValueError(f"`confidence` must be in [0, 1), got {confidence}")
    return math.ceil(math.log1p(-confidence) / math.log1p(-LUCKY))
