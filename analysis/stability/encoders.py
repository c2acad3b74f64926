"""Linear stability of an encoder alone at rest under a contrastive loss, by the dense Jacobian (R113, R117)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.contrastive.infonce_points import encoder_modes, mean_field_jacobian
from analysis.runs.simulation import COLLAPSED
from analysis.stability.verdicts import Verdict, verdict_of_counts
from dynamics.fields.contrastive import encoder_start, simple_field
from dynamics.fields.infonce import SaturatingLoss, saturating_field
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem

_EPS = float(np.finfo(float).eps)
_REGULAR = (
    1e-8  # of the largest eigenvalue: less is a direction along the fixed points, where no Newton step goes
)
MOST_UNKNOWNS = 4000
"""Largest dense eigenproblem: a minute on one core."""


@dataclass(frozen=True, eq=False)
class EncoderStability:
    """Spectrum of the flow's Jacobian at a resting encoder.

    Parameters
    ----------
    residual
        Largest entry of dW/dt over that of ‖J‖ W: 0 at rest.
    eigenvalues
        All n1 n2 of them, real, descending.
    n_zero_forced
        Zeros that rotations of the outputs, W → Q W, force.
    zero_tolerance
        Error of an eigenvalue: what a Newton step to rest changes of the Jacobian, its own error, and rounding.
    """

    residual: float
    eigenvalues: np.ndarray
    n_zero_forced: int
    zero_tolerance: float

    @property
    def counts(self) -> dict[str, int]:
        """How many eigenvalues are positive, zero within the tolerance, and negative."""
        positive = int(np.sum(self.eigenvalues > self.zero_tolerance))
        negative = int(np.sum(self.eigenvalues < -self.zero_tolerance))
        zero = self.eigenvalues.size - positive - negative
        return {"n_positive": positive, "n_zero": zero, "n_negative": negative}

    @property
    def verdict(self) -> Verdict:
        """Stable, saddle, unstable or degenerate, across rotations."""
        counts = self.counts
        zeros = max(0, counts["n_zero"] - self.n_zero_forced)
        return verdict_of_counts(counts["n_positive"], zeros, counts["n_negative"])

    def report(self) -> dict[str, Any]:
        """Return the spectrum as a dictionary, as `dyn stability --json` prints it."""
        return {
            "residual": self.residual,
            "n_unknowns": self.eigenvalues.size,
            "method": "dense",
            "verdict": self.verdict,
            "spectrum": {
                **self.counts,
                "max_real": float(self.eigenvalues[0]) if self.eigenvalues.size else None,
                "min_real": float(self.eigenvalues[-1]) if self.eigenvalues.size else None,
            },
            "n_zero_forced": self.n_zero_forced,
            "n_undetermined": max(0, self.counts["n_zero"] - self.n_zero_forced),
            "zero_tolerance": self.zero_tolerance,
        }


def encoder_jacobian(
    W: np.ndarray, system: MatrixSystem, loss: SaturatingLoss | None
) -> tuple[np.ndarray, float]:
    """Jacobian of the flow of an encoder, shape (n2 n1, n2 n1), and what its entries may be off together.

    It is exact of the simple loss, where `loss` is None, and of InfoNCE with many negatives. With one negative it is a
    difference of the field, of fourth order; its error is at most the distance from the same with twice the step.

    >>> encoder_jacobian(np.zeros((1, 1)), MatrixSystem([1.0], [0.5], weight_decay=0.25), None)
    (array([[0.75]]), 0.0)
    >>> loss = SaturatingLoss("triplet", negatives=1)
    >>> jacobian, error = encoder_jacobian(np.zeros((1, 1)), MatrixSystem([1.0], [0.5]), loss)
    >>> abs(float(jacobian[0, 0]) - 0.5) < error + 1e-9 < 1e-8
    True
    """
    if loss is not None and loss.negatives == np.inf:
        return mean_field_jacobian(W, system, loss.temperature), 0.0
    if loss is not None:
        return _by_differences(W, system, loss)
    sigma = np.diag(system.sigma_d) if system.sigma_d.ndim == 1 else system.sigma_d
    rate = 2 * sigma - system.weight_decay * np.eye(system.n1)
    return np.kron(np.eye(len(W)), rate), 0.0


_STEP = 1e-3  # of the size of weights: fourth order leaves 1e-12, and rounding of the field 1e-10


def _by_differences(W: np.ndarray, system: MatrixSystem, loss: SaturatingLoss) -> tuple[np.ndarray, float]:
    """Derivative of the flow with one negative by differences of four values, and its distance from twice the step."""
    widest = 1 / np.min(np.linalg.norm(encoder_modes(system).directions, axis=0))
    step = _STEP * max(float(np.max(np.abs(W))), float(np.sqrt(loss.temperature) / widest))
    flow = saturating_field(loss)
    found = np.zeros((2, W.size, W.size))
    for k in range(W.size):
        shift = np.zeros(W.size)
        shift[k] = step
        odd = []
        for multiple in (1, 2, 4):
            ahead, behind = (
                flow(0.0, EncoderState(W + sign * multiple * shift.reshape(W.shape)), system).online.ravel()
                for sign in (1, -1)
            )
            odd.append((ahead - behind) / (2 * multiple * step))
        found[:, k] = [(4 * odd[0] - odd[1]) / 3, (4 * odd[1] - odd[2]) / 3]
    found = (found + found.transpose(0, 2, 1)) / 2
    return found[0], float(np.linalg.norm(found[0] - found[1], 2))


def encoder_stability(
    state: EncoderState, system: MatrixSystem, loss: SaturatingLoss | None, *, tolerance: float = 1e-6
) -> EncoderStability:
    """Spectrum of the Jacobian at a resting encoder, under InfoNCE, the triplet or the simple loss.

    Parameters
    ----------
    state
        W, shape (n2, n1).
    system
        Σs, Σd and η.
    loss
        InfoNCE or triplet; None for the simple loss.
    tolerance
        Largest residual that counts as rest.

    Raises
    ------
    ValueError
        The encoder is not at rest, too large for a dense eigenproblem, or of a wrong shape.

    Notes
    -----
    Source: R113, R114, R117, R119.

    Examples
    --------
    >>> system = MatrixSystem([10.0, 1.0], [5.0, 0.9])
    >>> found = encoder_stability(EncoderState(np.zeros((1, 2))), system, SaturatingLoss())
    >>> found.verdict, found.eigenvalues.tolist()
    ('unstable', [10.0, 1.8])
    """
    start = encoder_start(state, system)
    W = start.online
    if W.size > MOST_UNKNOWNS:
        raise ValueError(
            f"`state` must have at most {MOST_UNKNOWNS} weights for a dense spectrum, got {W.size}"
        )
    field = simple_field if loss is None else saturating_field(loss)
    moved = field(0.0, start, system).online
    jacobian, inexact = encoder_jacobian(W, system, loss)
    values, vectors = np.linalg.eigh(jacobian)
    size = float(np.max(np.abs(values)))
    scale = size * float(np.max(np.abs(W)))
    residual = float(np.max(np.abs(moved))) / scale if scale else 0.0
    if residual > tolerance:
        raise ValueError(
            f"`state` must be at rest to `tolerance` {tolerance:g}, got a residual of {residual:.3g}"
        )
    regular = np.abs(values) > _REGULAR * size
    step = vectors[:, regular] @ ((vectors[:, regular].T @ moved.ravel()) / values[regular])
    moved_jacobian, _ = encoder_jacobian(W - step.reshape(W.shape), system, loss)
    error = 2 * float(np.linalg.norm(moved_jacobian - jacobian, 2)) + inexact + 8 * W.size * _EPS * size
    rank = int(np.linalg.matrix_rank(W, rtol=COLLAPSED)) if np.any(W) else 0
    n2, free = len(W), len(W) - rank
    forced = (n2 * (n2 - 1) - free * (free - 1)) // 2
    return EncoderStability(residual, values[::-1], forced, error)
