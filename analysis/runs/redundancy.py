"""One run of a linear encoder under a loss of output moments, and what theory says of its end (R325–R329)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from analysis.contrastive.infonce_points import TIED, EncoderModes, encoder_modes
from analysis.fates.fate import Fate
from analysis.runs.encoders import EncoderSimulation, Saturating, _modes_of
from analysis.runs.infonce import _along_axes, _blocks, _coordinates, _error, _fates, _rank
from dynamics.exact.vicreg import vicreg_spectrum
from dynamics.fields.redundancy import (
    BarlowTwins,
    RedundancyLoss,
    SpectralContrastive,
    Vicreg,
    redundancy_field,
)
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem


def modes_of_loss(system: MatrixSystem, loss: RedundancyLoss) -> EncoderModes:
    """Modes in which sizes are counted, columns U of W = A Uᵀ.

    They are those of M with Uᵀ Σs U = I; of unnormalised Barlow Twins those of Σd, with Uᵀ Σd U = I where λd > 0.

    >>> modes_of_loss(MatrixSystem([1.0, 4.0], [0.25, 1.0]), BarlowTwins()).directions
    array([[2., 0.],
           [0., 1.]])
    """
    if not isinstance(loss, BarlowTwins) or loss.normalised:
        return encoder_modes(replace(system, weight_decay=0.0))
    vectors, lambda_s, lambda_d = _modes_of(system)
    rounding = len(lambda_d) * np.finfo(float).eps * np.max(lambda_d)
    silent = lambda_d <= rounding
    ratios = np.where(silent, 0.0, lambda_d) / lambda_s
    return EncoderModes(vectors / np.sqrt(np.where(silent, 1.0, lambda_d)), ratios, ratios)


def _sizes_of(loss: RedundancyLoss, system: MatrixSystem, online: np.ndarray, modes: EncoderModes) -> Any:
    """Coordinates A of W = A Uᵀ in the modes of a loss, shape (…, n2, n1)."""
    if not isinstance(loss, BarlowTwins) or loss.normalised:
        return _coordinates(online, system, modes)
    return online @ modes.directions / np.sum(modes.directions**2, axis=0)


def predict_redundancy(
    start: EncoderState, system: MatrixSystem, loss: RedundancyLoss
) -> tuple[np.ndarray, np.ndarray]:
    """Fate of every mode under a loss of output moments, and the size at which it rests.

    The flow keeps every block of rows and modes that the start does not connect. In a block of as many independent
    rows as it has, VICReg fills the spectrum like water, if the hinge can hold it (R327); the spectral loss rests at
    w Σs w = r of the largest ratios (R328); whitened outputs have the top modes at size 1 (R329). A row of unnormalised
    Barlow Twins that has a mode of its own ends at λd w² = 1 (R325), and of normalised at the length it has (R326).

    Parameters
    ----------
    start
        W(0), shape (n2, n1), as the run starts.
    system, loss
        As for `simulate_redundancy`.

    Returns
    -------
    fates, sizes : array
        Shape (n1,): learned, collapsed, or empty where no result applies, as with weight decay; and sizes at rest, or
        NaN.

    Raises
    ------
    ValueError
        Moments that no views have.

    Examples
    --------
    >>> system = MatrixSystem([10.0, 1.0], [5.0, 0.9])
    >>> fates, sizes = predict_redundancy(
    ...     EncoderState(np.array([[0.1, 0.1]])), system, SpectralContrastive())
    >>> fates.tolist(), sizes.tolist()
    (['collapsed', 'learned'], [0.0, 0.9])
    """
    modes = modes_of_loss(system, loss)
    A = _sizes_of(loss, system, start.online, modes)
    if system.weight_decay:
        return np.full(system.n1, "", dtype="<U9"), np.full(system.n1, np.nan)
    fates, sizes = np.full(system.n1, str(Fate.COLLAPSED)), np.zeros(system.n1)
    for rows, members in _blocks(A, modes):
        found = _block_rest(loss, A[np.ix_(rows, members)], modes.ratios[members])
        sizes[members] = found
        fates[members] = np.where(
            np.isnan(found), "", np.where(found > 0, str(Fate.LEARNED), str(Fate.COLLAPSED))
        )
    return fates, sizes


def _block_rest(loss: RedundancyLoss, block: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Sizes at which the modes of one block rest, NaN where no result says."""
    unknown = np.full(ratios.size, np.nan)
    rank = _rank(block)
    if isinstance(loss, BarlowTwins):
        if block.shape != (1, 1):
            return unknown
        return block[0] ** 2 if loss.normalised else np.where(ratios > 0, 1.0, block[0] ** 2)
    order = np.argsort(-ratios, kind="stable")
    if rank < ratios.size and ratios[order[rank - 1]] - ratios[order[rank]] <= TIED:
        return unknown
    if isinstance(loss, Vicreg):
        if rank < min(block.shape):
            return unknown
        weights = {"invariance": loss.invariance, "covariance": loss.covariance}
        filled = vicreg_spectrum(np.clip(ratios, 0, 1), len(block), **weights)
        if loss.variance >= filled.pull:
            return filled.amplitudes
        if len(block) == 1 and loss.invariance:  # one row, short of std = 1
            alone = (loss.variance / (4 * loss.invariance * (1 - np.max(ratios)))) ** 2
            return np.where(filled.amplitudes > 0, alone, 0.0)
        return unknown
    sizes = np.zeros(ratios.size)
    taken = order[:rank]
    sizes[taken] = ratios[taken] if isinstance(loss, SpectralContrastive) else 1.0
    return sizes


def simulate_redundancy(
    state: EncoderState,
    system: MatrixSystem,
    loss: RedundancyLoss,
    t_end: float | None = None,
    **options: Any,
) -> EncoderSimulation:
    """Run a linear encoder under a loss of output moments, and compare where it rests with R325–R329.

    Parameters
    ----------
    state, system, t_end, **options
        As for `dynamics.integration.integrate.integrate`. Whitened outputs start from the nearest white encoder.
    loss
        Barlow Twins, VICReg, the spectral contrastive loss, or whitened alignment.

    Raises
    ------
    ValueError
        An argument is out of range, moments that no views have, or a start that the loss does not allow.

    Notes
    -----
    Source: R325–R329.

    Examples
    --------
    >>> system = MatrixSystem([10.0, 1.0], [5.0, 0.9])
    >>> found = simulate_redundancy(EncoderState([[0.1, 0.1]]), system, SpectralContrastive())
    >>> found.fate.tolist(), found.amplitudes.round(6).tolist()
    (['collapsed', 'learned'], [0.9])
    """
    from dynamics.integration.integrate import integrate  # SciPy's integrators take their time to import

    vector_field = redundancy_field(loss)
    start = vector_field.start(state, system)
    modes = modes_of_loss(system, loss)
    predicted, at_rest = predict_redundancy(start, system, loss)
    if _along_axes(modes):  # each has a fate of its own, however small it starts
        vector_field = replace(
            vector_field, sizes=lambda state: (np.max(np.abs(state.online), axis=0, keepdims=True),)
        )
    trajectory = integrate(start, system, vector_field, t_end, **options)
    A = _sizes_of(loss, system, trajectory.states.online, modes)
    sizes = np.sum(A**2, axis=1)
    total = np.sum(sizes, axis=1, keepdims=True)
    lengths = np.linalg.norm(modes.directions, axis=0)
    unit = 1 / float(np.sqrt(np.max(1 / lengths**2)))
    fate = _fates(trajectory, np.linalg.norm(A, axis=1) * lengths, unit)
    directions = modes.directions / lengths
    lambda_s, lambda_d = (
        np.einsum("ik,ij,jk->k", directions, np.diag(x) if x.ndim == 1 else x, directions)
        for x in (system.sigma_s, system.sigma_d)
    )
    return EncoderSimulation(
        system=system,
        vector_field=vector_field,
        trajectory=trajectory,
        directions=directions,
        lambda_s=lambda_s,
        lambda_d=lambda_d,
        shares=np.divide(sizes, total, out=np.full_like(sizes, np.nan), where=total > 0),
        fate=fate,
        predicted=predicted,
        error=_error(fate, predicted, sizes[-1], at_rest),
        saturating=Saturating(loss, sizes, at_rest),
    )
