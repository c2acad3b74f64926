"""How far a start is from the boundary between learning and collapse, in closed form (R6)."""

from __future__ import annotations

from typing import Any

import numpy as np


def leaf_margin(online: Any, predictor: Any, ratio: Any, tau_online: Any, tau_predictor: Any) -> np.ndarray:
    """Margin of R6, c + τp r² where w2 > 0 and c = τo w1² − τp w2² elsewhere: positive iff the mode is learned.

    Parameters
    ----------
    online, predictor
        w1 and w2 at the start, of any shape; λs > 0 and λd >= 0, without weight decay.
    ratio
        r = λd/λs.
    tau_online, tau_predictor
        τo, τp > 0.

    Notes
    -----
    For pictures: squares are not scaled, as `analysis.fates.cases` does to decide single starts. Source: R6.

    Examples
    --------
    >>> leaf_margin(0.1, [0.1, 0.6], 0.5, 1.0, 1.0).round(12)
    array([ 0.25, -0.1 ])
    """
    w1, w2 = np.asarray(online, np.float64), np.asarray(predictor, np.float64)
    r = np.asarray(ratio, np.float64)
    margin: np.ndarray = (
        tau_online * w1**2 - tau_predictor * w2**2 + np.where(w2 > 0, tau_predictor * r**2, 0.0)
    )
    return margin
