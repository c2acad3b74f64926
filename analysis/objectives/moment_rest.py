"""Points of rest under losses of output moments: closed forms, and the dense spectrum at each (R325–R329)."""

from __future__ import annotations

from typing import Any

from analysis.objectives.moment_points import MomentPoint, moment_points
from analysis.stability.output_moments import MomentStability, moment_stability
from dynamics.fields.redundancy import BarlowTwins, RedundancyLoss, Vicreg
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem

MOST_WORK = 1e9
"""Most points times the cube of weights whose dense spectra are computed: some seconds."""


def moment_rest(system: MatrixSystem, n2: int, loss: RedundancyLoss, *, limit: int = 1000) -> dict[str, Any]:
    """Points of rest of an encoder under a loss of output moments, as `dyn fixed-points --json` lists them.

    Parameters
    ----------
    system, n2, loss, limit
        As for `moment_points`.

    Returns
    -------
    dict
        fixed_points, each with name, modes, online, predictor and target (None), amplitudes, eigenvalues (None where
        there are more than `MOST_WORK` allows, or the flow has no derivative), stability (None where only a spectrum
        could say), zero_directions and exact; and notes: what the list leaves out.

    Raises
    ------
    ValueError
        As for `moment_points`.

    Notes
    -----
    Source: R325–R329.

    Examples
    --------
    >>> from dynamics.fields.redundancy import Whitened
    >>> found = moment_rest(MatrixSystem([10.0, 1.0], [5.0, 0.9]), 1, Whitened())
    >>> [(point["name"], point["stability"]) for point in found["fixed_points"]]
    [('mode 1', 'unstable'), ('mode 2', 'stable')]
    """
    points = moment_points(system, n2, loss, limit=limit)
    affordable = len(points) * (n2 * system.n1) ** 3 <= MOST_WORK
    entries = []
    for point in points:
        found = None
        if affordable and point.differentiable:
            found = moment_stability(EncoderState(point.online), system, loss)
        entries.append(_entry(point, found))
    notes = _notes(loss, n2, points)
    if not any(entry["stability"] == "stable" for entry in entries):
        notes.append("none of these points is known to be stable: the flow ends at one that is not listed")
    return {"fixed_points": entries, "lines": [], "notes": notes}


def _entry(point: MomentPoint, found: MomentStability | None) -> dict[str, Any]:
    values = None if found is None else [[value, 0.0] for value in found.eigenvalues.tolist()]
    return {
        "name": point.name,
        "modes": list(point.modes),
        "online": point.online,
        "predictor": None,
        "target": None,
        "amplitudes": point.amplitudes,
        "eigenvalues": values,
        "stability": found.verdict if point.stability is None and found is not None else point.stability,
        "zero_directions": None if found is None else found.zero_directions,
        "exact": {"online": point.exact, "predictor": None, "target": None},
    }


def _notes(loss: RedundancyLoss, n2: int, points: list[MomentPoint]) -> list[str]:
    """What closed forms do not cover, and conventions."""
    notes = []
    if isinstance(loss, BarlowTwins) and n2 > 1:
        what = "rows that are mixtures of modes" if loss.normalised else "rows that fall into groups"
        notes.append(f"{what} can rest elsewhere, too ({loss.source})")
    if isinstance(loss, Vicreg):
        notes.append("rows at std = 1 are judged within std = 1, where the flow slides (R327)")
        if n2 > 1:
            notes.append("rows of different std that share modes can rest elsewhere, too (R327)")
        if not all(point.differentiable for point in points):
            notes.append("degenerate without eigenvalues: a row at std = 1 with a pull of 0 or μ (R327)")
    return notes
