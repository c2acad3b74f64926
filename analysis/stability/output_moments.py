"""Linear stability of an encoder at rest under a loss of its output moments, by the dense Jacobian (R325–R329)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from analysis.stability.encoders import MOST_UNKNOWNS, EncoderStability
from dynamics.fields.infonce import output_moments
from dynamics.fields.predictors import times
from dynamics.fields.redundancy import (
    RedundancyLoss,
    SpectralContrastive,
    Vicreg,
    Whitened,
    redundancy_field,
    whitened_encoder,
)
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem

_EPS = float(np.finfo(float).eps)
_TINY = 1e-30  # a complex step, of the size of W: its square is below rounding
_SAME = 1e-6  # of the largest: numbers of a state at rest that differ by less are one
_REGULAR = 1e-8  # of the largest eigenvalue: along less no Newton step goes

ROTATIONS = "rotations of the outputs"
KEPT_ROTATIONS = "rotations of the outputs that keep each variance"
INPUTS = "rotations of the inputs"
LENGTHS = "lengths of rows"
SILENT = "modes of zero λd"


@dataclass(frozen=True, eq=False)
class MomentStability(EncoderStability):
    """Spectrum of the flow's Jacobian at an encoder that rests under a loss of output moments.

    Parameters
    ----------
    residual, eigenvalues, n_zero_forced, zero_tolerance
        As of `EncoderStability`. The spectrum of whitened outputs is that within V Vᵀ = I, and with rows that VICReg
        holds at std = 1 it is that of the sliding flow, within std = 1 of those rows.
    zero_directions
        How many zeros each symmetry forces, by name; their sum is `n_zero_forced`.
    held
        Rows that VICReg holds at std = 1, counted from 0.
    """

    zero_directions: dict[str, int]
    held: tuple[int, ...]

    def report(self) -> dict[str, Any]:
        """Return the spectrum as a dictionary, as `dyn stability --json` prints it."""
        rows = [row + 1 for row in self.held]
        return {**super().report(), "zero_directions": self.zero_directions, "held_rows": rows}


class _Rest(NamedTuple):
    """What is linearised: a flow with its multipliers, its constraints, and who is held."""

    online: np.ndarray
    system: MatrixSystem
    off: float  # how far the state was from its constraint
    multipliers: np.ndarray | None
    held: tuple[int, ...]


def _dense(sigma: np.ndarray) -> np.ndarray:
    return np.diag(sigma) if sigma.ndim == 1 else sigma


def _white(W: np.ndarray, system: MatrixSystem, tolerance: float) -> _Rest:
    """V = W Σs^½ and its moments: there the whitened flow is symmetric."""
    S, _ = output_moments(W, system)
    off = float(np.max(np.abs(S - np.eye(len(S)))))
    if off > tolerance:
        raise ValueError(
            f"`state` must have white outputs, W Σs Wᵀ = I to `tolerance` {tolerance:g}, got a deviation of {off:.3g}"
        )
    values, vectors = np.linalg.eigh(_dense(system.sigma_s))
    root, inverse = ((vectors * values**power) @ vectors.T for power in (0.5, -0.5))
    M = inverse @ _dense(system.sigma_d) @ inverse
    white = MatrixSystem(np.eye(len(M)), (M + M.T) / 2)
    return _Rest(whitened_encoder(W, system) @ root, white, off, None, ())


def _held(W: np.ndarray, system: MatrixSystem, loss: Vicreg, tolerance: float) -> _Rest:
    """Rows at std = 1 are put there exactly; the pull that holds them lies within 0 and μ, or they are on an edge."""
    std = np.sqrt(np.sum(W * times(W, system.sigma_s), axis=1))
    at_one = np.abs(std - 1) <= tolerance
    W = np.where(at_one, 1 / std, 1.0)[:, None] * W
    std = np.where(at_one, 1.0, std)
    pull = times(W, system.sigma_s) / std[:, None]
    drift = loss.drift(W, system) - system.weight_decay * W
    needed = -np.sum(pull * drift, axis=1) / np.sum(pull * pull, axis=1)
    edge = _SAME * loss.variance
    for row in np.flatnonzero(at_one):
        if min(abs(needed[row]), abs(needed[row] - loss.variance)) <= edge:
            raise ValueError(
                f"`state` must not have a row at std = 1 whose pull is 0 or μ, where the flow has two derivatives, got"
                f" row {row + 1} with a pull of {needed[row]:.6g} and μ = {loss.variance:g}"
            )
    free = np.where(std < 1, loss.variance, 0.0)
    multipliers = np.where(at_one, np.clip(needed, 0.0, loss.variance), free)
    off = float(np.max(np.abs(1 / std - 1), where=at_one, initial=0.0))
    return _Rest(W, system, off, multipliers, tuple(int(row) for row in np.flatnonzero(at_one)))


def _flow(loss: RedundancyLoss, rest: _Rest) -> Callable[[np.ndarray], np.ndarray]:
    """dW/dt for complex W, with the multipliers of rows as they are at rest."""
    system = rest.system

    def moved(W: np.ndarray) -> np.ndarray:
        if isinstance(loss, Vicreg):
            assert rest.multipliers is not None
            raised = times(W, system.sigma_s)
            std = np.sum(W * raised, axis=1) ** 0.5
            pulled = (rest.multipliers / std)[:, None] * raised
            return np.asarray(loss.drift(W, system) - system.weight_decay * W + pulled)
        return np.asarray(loss.descent(W, system) - system.weight_decay * W)

    return moved


def _jacobian(flow: Callable[[np.ndarray], np.ndarray], W: np.ndarray, unit: float) -> np.ndarray:
    columns = []
    step = _TINY * unit
    for k in range(W.size):
        shift = np.zeros(W.size, dtype=complex)
        shift[k] = 1j * step
        columns.append(np.imag(flow(W + shift.reshape(W.shape))).ravel() / step)
    return np.array(columns).T


def _normals(loss: RedundancyLoss, rest: _Rest) -> np.ndarray:
    """Directions out of the constraint, one a row."""
    W, found = rest.online, []
    if isinstance(loss, Whitened):
        n2 = len(W)
        for i in range(n2):
            for j in range(i, n2):
                normal = np.zeros_like(W)
                normal[i] += W[j]
                normal[j] += W[i]
                found.append(normal.ravel())
    for row in rest.held:
        normal = np.zeros_like(W)
        normal[row] = times(W, rest.system.sigma_s)[row]
        found.append(normal.ravel())
    return np.array(found).reshape(-1, W.size)


def _tangent(loss: RedundancyLoss, rest: _Rest) -> np.ndarray:
    """Orthonormal directions along the constraint, one a column."""
    from scipy.linalg import null_space

    normals = _normals(loss, rest)
    if not len(normals):
        return np.eye(rest.online.size)
    return np.asarray(null_space(normals / np.linalg.norm(normals, axis=1, keepdims=True)))


def _left(W: np.ndarray, outputs: np.ndarray | None, marks: np.ndarray | None) -> Iterator[np.ndarray]:
    """X W for antisymmetric X; only those that keep diag C and mix rows of one mark, where C is given."""
    from scipy.linalg import null_space

    pairs = list(combinations(range(len(W)), 2))
    mixtures = np.eye(len(pairs))
    if outputs is not None and marks is not None and pairs:
        scale = _SAME * max(float(np.max(np.abs(marks))), np.finfo(float).tiny)
        pairs = [(i, j) for i, j in pairs if abs(marks[i] - marks[j]) <= scale]
        size = float(np.max(np.abs(outputs))) or 1.0
        change = np.zeros((len(W), len(pairs)))
        for k, (i, j) in enumerate(pairs):
            change[i, k], change[j, k] = outputs[i, j] / size, -outputs[i, j] / size
        mixtures = null_space(np.where(np.abs(change) > _SAME, change, 0.0)) if pairs else np.zeros((0, 0))
    for mixture in mixtures.T:
        X = np.zeros((len(W), len(W)))
        for share, (i, j) in zip(mixture, pairs, strict=True):
            X[i, j], X[j, i] = share, -share
        yield X @ W


def _right(W: np.ndarray, sigma: np.ndarray) -> Iterator[np.ndarray]:
    """W R Z R⁻¹ for antisymmetric Z with Σ = R Rᵀ, on the support of Σ: they keep W Σ Wᵀ."""
    values, vectors = np.linalg.eigh(_dense(sigma))
    there = values > values.size * _EPS * values[-1]
    root, basis = np.sqrt(values[there]), vectors[:, there]
    _, size, spanned = np.linalg.svd(W @ basis * root)
    rank = int(np.sum(size > _SAME * np.max(size, initial=0.0)))
    for a in range(rank):
        for b in range(a + 1, len(spanned)):
            Z = np.outer(spanned[a], spanned[b]) - np.outer(spanned[b], spanned[a])
            yield W @ ((basis * root) @ Z @ (basis / root).T)


def _rows(W: np.ndarray, directions: np.ndarray) -> Iterator[np.ndarray]:
    for row in range(len(W)):
        for direction in directions:
            one = np.zeros_like(W)
            one[row] = direction
            yield one


def _symmetries(loss: RedundancyLoss, rest: _Rest) -> Iterator[tuple[str, Iterator[np.ndarray]]]:
    """Directions along which the loss does not change, or fixed points lie, by name."""
    W, system = rest.online, rest.system
    still = not system.weight_decay
    S, D = output_moments(W, system)
    if isinstance(loss, SpectralContrastive | Whitened):
        yield ROTATIONS, _left(W, None, None)
    elif isinstance(loss, Vicreg):
        assert rest.multipliers is not None
        yield KEPT_ROTATIONS, _left(W, S, rest.multipliers / np.sqrt(np.diag(S)))
        if loss.invariance == 0 and still:
            yield INPUTS, _right(W, system.sigma_s)
    elif loss.normalised:
        yield LENGTHS, (one for row in range(len(W)) for one in [np.eye(len(W))[row][:, None] * W])
    else:
        whole = loss.off_diagonal == 1
        yield (
            (ROTATIONS, _left(W, None, None)) if whole else (KEPT_ROTATIONS, _left(W, D, np.diag(D).copy()))
        )
        if still:
            apart = [np.eye(len(W))[row][:, None] * W for row in range(len(W))]
            parts = apart if loss.off_diagonal == 0 else [W]
            yield INPUTS, (one for part in parts for one in _right(part, system.sigma_d))
            values, vectors = np.linalg.eigh(_dense(system.sigma_d))
            yield SILENT, _rows(W, vectors[:, values <= values.size * _EPS * values[-1]].T)


def _zero_directions(loss: RedundancyLoss, rest: _Rest) -> dict[str, int]:
    """Dimensions that each symmetry adds to those before it."""
    spanned = np.zeros((rest.online.size, 0))
    counts: dict[str, int] = {}
    least = _SAME**2 * float(np.linalg.norm(rest.online))  # of a mixture that leaves W as it is
    for name, directions in _symmetries(loss, rest):
        there = [one.ravel() for one in directions]
        if not there:
            continue
        columns = np.array(there).T
        lengths = np.linalg.norm(columns, axis=0)
        columns = columns[:, lengths > least] / lengths[lengths > least]
        fresh = columns - spanned @ (spanned.T @ columns)
        left, sizes, _ = np.linalg.svd(fresh, full_matrices=False)
        kept = sizes > _SAME
        if np.any(kept):
            counts[name] = int(np.sum(kept))
            spanned = np.concatenate([spanned, left[:, kept]], axis=1)
    return counts


def moment_stability(
    state: EncoderState, system: MatrixSystem, loss: RedundancyLoss, *, tolerance: float = 1e-6
) -> MomentStability:
    """Spectrum of the Jacobian at an encoder that rests under Barlow Twins, VICReg, the spectral loss or whitened.

    Parameters
    ----------
    state
        W, shape (n2, n1).
    system
        Σs, Σd and η.
    loss
        A loss of output moments.
    tolerance
        Largest residual that counts as rest, and largest distance of a row from std = 1 that VICReg holds there.

    Returns
    -------
    MomentStability
        Rows at std = 1 are linearised within std = 1, where VICReg's flow slides; out of it the hinge brings them back
        faster than any eigenvalue.

    Raises
    ------
    ValueError
        The encoder is not at rest, too large, of a wrong shape, or one at which the flow has no derivative: a row of
        zero output where the loss divides by it, or one at std = 1 whose pull is 0 or μ.

    Notes
    -----
    Source: R325–R329.

    Examples
    --------
    >>> system = MatrixSystem([1.0, 1.0], [0.9, 0.5])
    >>> found = moment_stability(EncoderState(np.array([[0.9**0.5, 0.0]])), system, SpectralContrastive())
    >>> found.verdict, found.eigenvalues.round(12).tolist()
    ('stable', [-1.6, -7.2])
    """
    field = redundancy_field(loss)
    given = EncoderState(np.array(state.online, dtype=np.float64))
    field.start(given, system)  # refuses what the loss does not allow
    if given.online.size > MOST_UNKNOWNS:
        raise ValueError(
            f"`state` must have at most {MOST_UNKNOWNS} weights for a dense spectrum, got {given.online.size}"
        )
    rest = _Rest(given.online, system, 0.0, None, ())
    if isinstance(loss, Whitened):
        rest = _white(given.online, system, tolerance)
    elif isinstance(loss, Vicreg):
        rest = _held(given.online, system, loss, tolerance)
    W, flow = rest.online, _flow(loss, rest)
    widest = float(np.max(np.abs(_dense(rest.system.sigma_s))))
    unit = float(np.max(np.abs(W))) or 1 / np.sqrt(widest or 1.0)
    full = _jacobian(flow, W, unit)
    along = _tangent(loss, rest)
    within = along.T @ full @ along
    values, vectors = np.linalg.eigh((within + within.T) / 2)
    size = max(float(np.max(np.abs(full))), _EPS * widest)
    moved = flow(W)
    scale = size * float(np.max(np.abs(W)))
    residual = max(rest.off, float(np.max(np.abs(moved))) / scale if scale else 0.0)
    if residual > tolerance:
        raise ValueError(
            f"`state` must be at rest to `tolerance` {tolerance:g}, got a residual of {residual:.3g}"
        )
    regular = np.abs(values) > _REGULAR * size
    tangent_step = vectors[:, regular] @ (
        (vectors[:, regular].T @ (along.T @ moved.ravel())) / values[regular]
    )
    beside = W - (along @ tangent_step).reshape(W.shape)
    change = float(np.linalg.norm(_jacobian(flow, beside, unit) - full, 2))
    # the multipliers and the tangent are off by what the state is
    error = 2 * change + 4 * residual * size * (len(rest.held) > 0) + 8 * W.size * _EPS * size
    named = _zero_directions(loss, rest)
    return MomentStability(residual, values[::-1], sum(named.values()), error, named, rest.held)
