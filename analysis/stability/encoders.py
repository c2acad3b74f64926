"""Linear stability of an encoder alone at rest under a contrastive loss, by the dense Jacobian (R113, R117)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.contrastive.infonce_points import mean_field_jacobian
from analysis.runs.simulation import COLLAPSED
from analysis.stability.verdicts import Verdict, verdict_of_counts
from dynamics.fields.contrastive import encoder_start, simple_field
from dynamics.fields.infonce import infonce_field
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
        Error of an eigenvalue: what a Newton step to rest changes of the Jacobian, and its rounding.
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
                "max_real": float(self.eigenvalues[0]),
                "min_real": float(self.eigenvalues[-1]),
            },
            "n_zero_forced": self.n_zero_forced,
            "n_undetermined": max(0, self.counts["n_zero"] - self.n_zero_forced),
            "zero_tolerance": self.zero_tolerance,
        }


def encoder_jacobian(W: np.ndarray, system: MatrixSystem, temperature: float | None) -> np.ndarray:
    """Jacobian of InfoNCE's mean field, or of the simple loss where there is no temperature, shape (n2 n1, n2 n1).

    >>> encoder_jacobian(np.zeros((1, 1)), MatrixSystem([1.0], [0.5], weight_decay=0.25), None)
    array([[0.75]])
    """
    if temperature is not None:
        return mean_field_jacobian(W, system, temperature)
    sigma = np.diag(system.sigma_d) if system.sigma_d.ndim == 1 else system.sigma_d
    rate = 2 * sigma - system.weight_decay * np.eye(system.n1)
    return np.kron(np.eye(len(W)), rate)


def encoder_stability(
    state: EncoderState, system: MatrixSystem, temperature: float | None, *, tolerance: float = 1e-6
) -> EncoderStability:
    """Spectrum of the Jacobian at a resting encoder, under InfoNCE with many negatives or under the simple loss.

    Parameters
    ----------
    state
        W, shape (n2, n1).
    system
        Σs, Σd and η.
    temperature
        τ > 0 of InfoNCE; None for the simple loss.
    tolerance
        Largest residual that counts as rest.

    Raises
    ------
    ValueError
        The encoder is not at rest, too large for a dense eigenproblem, or of a wrong shape.

    Notes
    -----
    Source: R113, R117, R119.

    Examples
    --------
    >>> system = MatrixSystem([10.0, 1.0], [5.0, 0.9])
    >>> found = encoder_stability(EncoderState(np.zeros((1, 2))), system, 1.0)
    >>> found.verdict, found.eigenvalues.tolist()
    ('unstable', [10.0, 1.8])
    """
    start = encoder_start(state, system)
    W = start.online
    if W.size > MOST_UNKNOWNS:
        raise ValueError(
            f"`state` must have at most {MOST_UNKNOWNS} weights for a dense spectrum, got {W.size}"
        )
    field = simple_field if temperature is None else infonce_field(temperature)
    moved = field(0.0, start, system).online
    jacobian = encoder_jacobian(W, system, temperature)
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
    change = encoder_jacobian(W - step.reshape(W.shape), system, temperature) - jacobian
    error = 2 * float(np.linalg.norm(change, 2)) + 8 * W.size * _EPS * size
    rank = int(np.linalg.matrix_rank(W, rtol=COLLAPSED)) if np.any(W) else 0
    n2, free = len(W), len(W) - rank
    forced = (n2 * (n2 - 1) - free * (free - 1)) // 2
    return EncoderStability(residual, values[::-1], forced, error)
