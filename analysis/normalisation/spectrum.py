"""Spectrum of the Jacobian with normalised features, at any fixed point, by a dense eigenproblem (R220, R221)."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.stability.adapted import bounded_spectrum
from analysis.stability.spectrum import Stability, counted
from dynamics.fields.batch_normalised import batch_normalised_field, deviations
from dynamics.fields.vector_field import VectorField
from dynamics.normalisation import Normaliser, centred, checked_mean
from dynamics.states import MatrixState, pack, unpack
from dynamics.system import MatrixSystem

RANK = 1e-6
"""Singular values of normalised rows below this part of the largest count as zero."""


def field_jacobian(state: Any, system: MatrixSystem, field: VectorField) -> np.ndarray:
    """Jacobian of a field of matrices by the complex step, exact to rounding, shape (n, n) in the order of `pack`.

    >>> system = MatrixSystem([1.0], [0.5])
    >>> field = batch_normalised_field(Normaliser(std="full"))
    >>> field_jacobian(system.state([[2.0]], [[0.5]]), system, field).round(12) + 0.0
    array([[ 0.,  0.,  0.],
           [ 0., -1.,  0.],
           [ 1.,  0., -1.]])
    """
    y = pack(state)
    step = 1e-200  # its square is 0: no truncation error
    columns = []
    for k in range(y.size):
        moved = y.astype(np.complex128)
        moved[k] += step * 1j
        velocity = field(0.0, unpack(moved, state), system)
        columns.append(np.concatenate([np.imag(part).ravel() for part in velocity]) / step)
    return np.stack(columns, axis=1)


MOST_UNKNOWNS = 2000
"""Largest dense eigenproblem: seconds on one core."""


def normalised_stability(
    state: MatrixState,
    system: MatrixSystem,
    normaliser: Normaliser,
    mean: Any = None,
    *,
    target_centred: bool = False,
    tolerance: float = 1e-6,
) -> Stability:
    """Spectrum of the Jacobian at a fixed point of the flow with a normaliser.

    Parameters
    ----------
    state
        W, P, Θ.
    system
        Moments that are not centred, and rates.
    normaliser, mean, target_centred
        As for `dynamics.fields.batch_normalised.batch_normalised_field`.
    tolerance
        Largest residual ‖F‖/(‖J‖ ‖state‖) that counts as rest.

    Returns
    -------
    Stability
        Where every row is normalised and rows are independent, n2² zeros are forced: the n2 lengths of rows, and their
        mixtures among the modes that they hold. Of dependent rows only the lengths are known to be free.

    Raises
    ------
    ValueError
        The state is not at rest, too large, or has a row of zeros.

    Notes
    -----
    Source: R220, R221.

    Examples
    --------
    >>> system = MatrixSystem([1.0, 1.0, 1.0], [0.9, 0.5, 0.2])
    >>> found = normalised_stability(system.state([[1.0, 0.0, 0.0]], [[0.9]]), system, Normaliser(std="full"))
    >>> found.verdict, found.n_zero_forced
    ('stable', 1)
    """
    start = system.state(*state)
    field = batch_normalised_field(normaliser, mean, target_centred=target_centred)
    field.require(start, system)
    y = pack(start)
    if y.size > MOST_UNKNOWNS:
        raise ValueError(
            f"`state` must have at most {MOST_UNKNOWNS} unknowns for a dense spectrum, got {y.size}"
        )
    jacobian = field_jacobian(start, system, field)
    size = float(np.linalg.norm(jacobian))
    moved = float(np.linalg.norm(pack(field(0.0, start, system))))
    residual = moved / (size * float(np.linalg.norm(y))) if size else 0.0
    if not residual <= tolerance:
        raise ValueError(
            f"`state` must be at rest to `tolerance` {tolerance:g}, got a residual of {residual:.3g}"
        )
    noise = max(float(np.finfo(float).eps), residual)
    return counted(
        bounded_spectrum([jacobian[None]], noise),
        y.size,
        residual,
        _forced(start, system, normaliser, mean),
        None,
    )


def _forced(state: MatrixState, system: MatrixSystem, normaliser: Normaliser, mean: Any) -> int | None:
    """Zeros that fixed points around force; None where that is not known: without a deviation."""
    if normaliser.std == "none" or normaliser.epsilon or system.weight_decay:
        return None
    W = state.online
    rows = W / deviations(W, centred(system.sigma_s, checked_mean(mean, system.n1)))
    n2 = len(W)
    return n2 * n2 if np.linalg.matrix_rank(rows, rtol=RANK) == n2 else n2
