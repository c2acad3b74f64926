"""What a fate is, and what a prediction of one says."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numpy as np


class Fate(StrEnum):
    """What becomes of a mode: its online weight ends away from zero, or at zero, or it is not known."""

    LEARNED = "learned"
    COLLAPSED = "collapsed"
    UNDECIDED = "undecided"


class Prediction(NamedTuple):
    """Predicted ends, one for each start and mode; arrays of the shape of the starts.

    Parameters
    ----------
    fate
        "learned" (w1 ends away from 0), "collapsed" (w1 ends at 0), or "" where no result applies.
    online, predictor, target
        End point (w1, w2, θ); NaN where unknown.
    amplitude
        |w1| at the end, known also where the sign of w1 is not; NaN where unknown.
    algebraic
        True where the end is approached like a power of t, not exponentially: do not integrate until it is reached.
    reason
        The result used and the condition that holds, in words.
    """

    fate: np.ndarray
    online: np.ndarray
    predictor: np.ndarray
    target: np.ndarray
    amplitude: np.ndarray
    algebraic: np.ndarray
    reason: np.ndarray
