"""One run of a linear encoder under InfoNCE or the triplet loss, and what theory says of its end (R114, R116, R119)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from analysis.contrastive.infonce_points import TIED, EncoderModes, encoder_modes, saturation_norms
from analysis.fates.fate import Fate
from analysis.runs.encoders import EncoderSimulation, Saturating
from analysis.runs.simulation import COLLAPSED
from dynamics.fields.contrastive import encoder_start
from dynamics.fields.infonce import SaturatingLoss, saturating_field
from dynamics.fields.predictors import times
from dynamics.integration.trajectory import Status, Trajectory
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem

LARGEST_START = 1e6
"""Largest weight of a start in units of √(τ/λs): beyond, squares of weights hide those of size one."""
SMALLEST_START = 1e-20
"""Smallest weight of a mode at the start in the same units: less grows unseen behind the rounding of others."""


def predict_saturating(
    start: EncoderState, system: MatrixSystem, loss: SaturatingLoss
) -> tuple[np.ndarray, np.ndarray]:
    """Fate of every mode of M under InfoNCE or the triplet loss, and where it rests.

    The flow keeps the rank of W and every block of rows and modes that the start does not connect. Of the modes of a
    block, as many are learned as its rank: those with the largest r − ητ/(2λs), as far as that is positive.

    Parameters
    ----------
    start
        W(0), shape (n2, n1).
    system
        Σs ≻ 0, 0 ≼ Σd ≼ Σs and η >= 0.
    loss
        InfoNCE or triplet.

    Returns
    -------
    fates, sizes : array
        Shape (n1,): learned, collapsed, or empty where no result applies, which is weight decay with one negative, a
        margin with several independent rows, and modes of equal ratio of which only some are learned; and their sizes
        w Σs wᵀ at rest, 0 or NaN.

    Raises
    ------
    ValueError
        A number is out of range, or moments that no views have.

    Notes
    -----
    Where the moments are not diagonal, all modes are taken as connected. Source: R114, R116, R119.

    Examples
    --------
    >>> system = MatrixSystem([10.0, 1.0], [5.0, 0.9])
    >>> fates, sizes = predict_saturating(EncoderState(np.array([[0.1, 0.1]])), system, SaturatingLoss())
    >>> fates.tolist(), sizes.round(6).tolist()
    (['collapsed', 'learned'], [0.0, 4.854102])
    """
    modes = encoder_modes(system, 1 / loss.pull)
    A = _coordinates(start.online, system, modes)
    if (loss.negatives != np.inf and system.weight_decay) or (loss.margin and _rank(A) > 1):
        return np.full(system.n1, "", dtype="<U9"), np.full(system.n1, np.nan)
    fates = np.full(system.n1, str(Fate.COLLAPSED))
    for rows, members in _blocks(A, modes):
        block = A[np.ix_(rows, members)]
        rank = _rank(block)
        rho = modes.effective[members]
        order = np.argsort(-rho, kind="stable")
        taken = order[: min(rank, int(np.sum(rho > 0)))]
        fates[members[taken]] = str(Fate.LEARNED)
        if taken.size and taken.size < rho.size:
            edge = rho[order[taken.size - 1]]
            if edge - rho[order[taken.size]] <= TIED and rho[order[taken.size]] > 0:
                fates[members[np.abs(rho - edge) <= TIED]] = ""
    norms = saturation_norms(modes, loss.temperature, loss.negatives, loss.margin)
    sizes = np.where(fates == Fate.LEARNED, norms, np.where(fates == "", np.nan, 0.0))
    return fates, sizes


def _rank(A: np.ndarray) -> int:
    """Rank of weights of any size."""
    return int(np.linalg.matrix_rank(A / (np.max(np.abs(A)) or 1.0)))


def _coordinates(W: np.ndarray, system: MatrixSystem, modes: EncoderModes) -> np.ndarray:
    """A of W = A Uᵀ, shape (…, n2, n1), U the modes with Uᵀ Σs U = I, so that W Σs Wᵀ = A Aᵀ."""
    return np.asarray(times(W, system.sigma_s) @ modes.directions)


def _blocks(A: np.ndarray, modes: EncoderModes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and modes that the start connects; none of a block without weights."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    n2, n1 = A.shape
    if not np.any(A):
        return []
    if not _along_axes(modes):  # rounding connects them
        return [(np.arange(n2), np.arange(n1))]
    graph = csr_array(np.block([[np.zeros((n2, n2)), A != 0], [np.zeros((n1, n2 + n1))]]))
    count, label = connected_components(graph, directed=False)
    found = [(np.flatnonzero(label[:n2] == k), np.flatnonzero(label[n2:] == k)) for k in range(count)]
    return [(rows, members) for rows, members in found if rows.size and members.size]


def _along_axes(modes: EncoderModes) -> bool:
    return np.count_nonzero(modes.directions) == len(modes.directions)


def _row_basis(W: np.ndarray, blocks: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Orthonormal Q, shape (n2, k), with W = Q R of k rows that are not dependent, in which the flow stays.

    Rounding would make dependent rows part. Rows that are independent are left as they are.
    """
    columns = []
    for rows, _ in blocks:
        largest = np.max(np.abs(W[rows]))
        left, values, _ = np.linalg.svd(W[rows] / largest, full_matrices=False)
        rank = int(np.sum(values > max(W.shape) * np.finfo(float).eps * values[0]))
        kept = np.zeros((len(W), rank))
        kept[rows] = np.eye(rank) if rank == len(rows) else left[:, :rank]
        columns.append(kept)
    return np.concatenate(columns, axis=1) if columns else np.eye(len(W))


def _column_sizes(state: Any) -> tuple[np.ndarray]:
    return (np.max(np.abs(state.online), axis=0, keepdims=True),)


def simulate_saturating(
    state: EncoderState,
    system: MatrixSystem,
    loss: SaturatingLoss,
    t_end: float | None = None,
    **options: Any,
) -> EncoderSimulation:
    """Run a linear encoder under InfoNCE or the triplet loss, and compare where it rests with R114, R116 and R119.

    The run is made in units of the temperature and of the largest eigenvalue of Σs, W √(λs/τ), over
    the time in which a small encoder moves, in which neither appears (R115).

    Parameters
    ----------
    state, system, t_end, **options
        As for `dynamics.integration.integrate.integrate`, but for `atol`, which is in units of √(τ/λs).
    loss
        InfoNCE or triplet.

    Raises
    ------
    ValueError
        An argument is out of range, moments that no views have, or a start beyond `LARGEST_START` or below
        `SMALLEST_START` for the temperature.

    Notes
    -----
    Source: R114, R115, R116, R119.

    Examples
    --------
    >>> system = MatrixSystem([10.0, 1.0], [5.0, 0.9])
    >>> found = simulate_saturating(EncoderState([[0.1, 0.1]]), system, SaturatingLoss())
    >>> found.fate.tolist(), found.amplitudes.round(3).tolist()
    (['collapsed', 'learned'], [4.854])
    """
    from dynamics.integration.integrate import integrate  # SciPy's integrators take their time to import

    vector_field = saturating_field(loss)
    temperature = loss.temperature
    start = encoder_start(state, system)
    predicted, sizes_at_rest = predict_saturating(start, system, loss)
    modes = encoder_modes(system, 1 / loss.pull)
    largest = float(
        np.max(system.sigma_s) if system.sigma_s.ndim == 1 else np.linalg.eigvalsh(system.sigma_s)[-1]
    )
    unit = np.sqrt(temperature) / np.sqrt(largest)  # of weights
    if (size := float(np.max(np.abs(start.online)))) > LARGEST_START * unit:
        raise ValueError(
            f"`temperature` must be at least {(size / LARGEST_START) ** 2 * largest:.3g} for a start of weights up to"
            f" {size:.3g}, beyond which their squares hide weights of size one, got {temperature:g}"
        )
    columns = _column_sizes(start)[0] if _along_axes(modes) else np.array(size)
    faint = columns[(columns > 0) & (columns < SMALLEST_START * unit)]
    if faint.size:
        raise ValueError(
            f"`online` must be zero along a mode, or at least {SMALLEST_START:g} √(τ/λs) = {SMALLEST_START * unit:.3g},"
            f" below which rounding hides it while it grows, got {faint.flat[0]:.3g}"
        )
    tick = 1 / loss.pull / largest
    scaled = MatrixSystem(
        system.sigma_s / largest, system.sigma_d / largest, weight_decay=system.weight_decay * tick
    )
    blocks = _blocks(_coordinates(start.online, system, modes), modes)
    basis = _row_basis(start.online, blocks)
    flow = saturating_field(loss.unit)
    if _along_axes(modes):  # each has a fate of its own, however small it starts
        flow = replace(flow, sizes=_column_sizes)
    run: Trajectory[EncoderState] = integrate(
        EncoderState(basis.T @ start.online / unit),
        scaled,
        flow,
        None if t_end is None else t_end / tick,
        **options,
    )
    trajectory = replace(
        run,
        ts=run.ts * tick,
        states=EncoderState(basis @ run.states.online * unit),
        distance=run.distance * unit,
    )
    A = _coordinates(trajectory.states.online, system, modes)
    sizes = np.sum(A**2, axis=1)
    total = np.sum(sizes, axis=1, keepdims=True)
    lengths = np.linalg.norm(modes.directions, axis=0)
    fate = _fates(trajectory, np.linalg.norm(A, axis=1) * lengths, unit)
    return EncoderSimulation(
        system=system,
        vector_field=vector_field,
        trajectory=trajectory,
        directions=modes.directions / lengths,
        lambda_s=1 / lengths**2,
        lambda_d=modes.ratios / lengths**2,
        shares=np.divide(sizes, total, out=np.full_like(sizes, np.nan), where=total > 0),
        fate=fate,
        predicted=predicted,
        error=_error(fate, predicted, sizes[-1], sizes_at_rest),
        saturating=Saturating(loss, sizes, sizes_at_rest),
    )


def _fates(trajectory: Trajectory[EncoderState], weights: np.ndarray, unit: float) -> np.ndarray:
    """At rest a mode is learned unless its weights, shape (T, n1), are faint, or no more than what is left to travel.

    They are faint below `COLLAPSED` times the largest at the end, or where all are below that part of the start, or of
    a unit where the start is larger.
    """
    if trajectory.status is not Status.STEADY:
        return np.full(weights.shape[1], str(Fate.UNDECIDED))
    left = 2 * trajectory.distance if np.isfinite(trajectory.distance) else 0.0
    largest = max(float(np.max(weights[-1])), min(float(np.max(weights[0])), unit))
    threshold = max(COLLAPSED * largest, left)
    return np.where(weights[-1] > threshold, str(Fate.LEARNED), str(Fate.COLLAPSED))


def _error(fate: np.ndarray, predicted: np.ndarray, sizes: np.ndarray, at_rest: np.ndarray) -> float:
    both = (fate == Fate.LEARNED) & (predicted == Fate.LEARNED)
    return float(np.max(np.abs(sizes[both] / at_rest[both] - 1))) if np.any(both) else np.nan
