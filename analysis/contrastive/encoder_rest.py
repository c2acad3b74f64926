"""Where an encoder rests under a contrastive loss, with the spectrum of the flow there (R113, R114, R116, R117)."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.contrastive.infonce_points import (
    EncoderPoint,
    covered,
    critical_points,
    n_critical_points,
    saturation_norms,
)
from analysis.contrastive.infonce_points import encoder_modes as modes_of
from analysis.stability.encoders import encoder_stability
from dynamics.fields.infonce import SaturatingLoss
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem

MOST_DIFFERENCES = 2000
"""Most weights of all points whose spectra are differences of the field: some seconds."""


def encoder_rest(
    system: MatrixSystem,
    n2: int,
    loss: SaturatingLoss | None,
    *,
    limit: int = 1000,
) -> list[dict[str, Any]]:
    """Fixed points of an encoder's flow, up to W → Q W, as `dyn fixed-points --json` lists them.

    Parameters
    ----------
    system
        Σs, Σd and η.
    n2
        Rows, >= 1.
    loss
        InfoNCE or triplet; None for the simple loss, which rests at W = 0 alone (where 2λd = η, modes of that λd rest
        at any size, too).
    limit
        Most points to list.

    Returns
    -------
    list of dict
        Of each: name, modes, online, predictor and target (None), amplitudes w Σs wᵀ, eigenvalues (None with one
        negative and more than `MOST_DIFFERENCES` weights of all points), stability, and exact forms of the amplitudes.

    Raises
    ------
    ValueError
        A number is out of range, no result solves the rows, or there are more points than `limit`.

    Notes
    -----
    Source: R113, R114, R116, R117, R119.

    Examples
    --------
    >>> system = MatrixSystem([10.0, 1.0], [5.0, 0.9])
    >>> [(point["name"], point["stability"]) for point in encoder_rest(system, 1, SaturatingLoss())]
    [('collapsed', 'unstable'), ('mode 1', 'saddle'), ('mode 2', 'stable')]
    """
    if loss is None:
        found = encoder_stability(EncoderState(np.zeros((n2, system.n1))), system, None)
        origin = EncoderPoint((), np.zeros(0), np.zeros((n2, system.n1)), found.verdict, 0.0)
        return [_entry(origin, found.eigenvalues, "0")]
    temperature, negatives, margin = loss.temperature, loss.negatives, loss.margin
    covered(system, n2, negatives, margin)
    modes = modes_of(system, temperature)
    count = n_critical_points(modes, n2, saturation_norms(modes, temperature, negatives, margin))
    if count > limit:
        raise ValueError(f"`dim` must be less: at most {limit} fixed points are listed, there are {count}")
    exact = "2 r τ/((1 − r)(3 + r))" if not margin else "a numerical root (R114)"
    if negatives == np.inf:
        exact = (
            "τ (2/(√(9 − 8ρ) − 1) − 1), ρ = r − η τ/(2 λs)"
            if system.weight_decay
            else "τ (2/(√(9 − 8r) − 1) − 1)"
        )
    entries = []
    for point in critical_points(system, n2, temperature, negatives, margin, limit=limit):
        values = None
        if negatives == np.inf or count * n2 * system.n1 <= MOST_DIFFERENCES:
            values = encoder_stability(EncoderState(point.online), system, loss).eigenvalues
        entries.append(_entry(point, values, exact if point.modes else "0"))
    return entries


def _entry(point: EncoderPoint, eigenvalues: np.ndarray | None, exact: str) -> dict[str, Any]:
    names = ", ".join(str(k + 1) for k in point.modes)
    return {
        "name": f"mode{'s' * (len(point.modes) > 1)} {names}" if point.modes else "collapsed",
        "modes": list(point.modes),
        "online": point.online,
        "predictor": None,
        "target": None,
        "amplitudes": point.amplitudes,
        "eigenvalues": None if eigenvalues is None else [[value, 0.0] for value in eigenvalues.tolist()],
        "stability": point.stability,
        "exact": {"online": exact, "predictor": None, "target": None},
    }
