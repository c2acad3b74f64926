"""Linear stability of modes at rest under the cosine loss and the IsoLoss, by the dense Jacobian (R315, R323)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.runs.directional import FIELDS
from analysis.stability.verdicts import Verdict, verdict_of_counts
from dynamics.fields.cosine import mode_scales
from dynamics.fields.vector_field import VectorField
from dynamics.states import ModeState
from dynamics.system import ModeSystem

_EPS = float(np.finfo(float).eps)
_TINY = 1e-30  # a complex step, of the size of the state
_ZERO = 1e-6  # of the largest weight: a mode with less is collapsed

SIZES = "sizes of learned modes"
UNSEEN = "predictors of collapsed modes"
LENGTH = "length of P"


@dataclass(frozen=True, eq=False)
class DirectionalStability:
    """Spectrum of the flow's Jacobian at modes that rest under a loss of directions.

    Parameters
    ----------
    residual
        Largest entry of the field over that of ‖J‖ times the state: 0 at rest.
    eigenvalues
        All of them, by descending real part: three a mode with a moving average, two without.
    tolerances
        Error of each: what a Newton step to rest changes of the Jacobian, and rounding, times its condition number.
    zero_directions
        How many zeros each family of fixed points forces, by name.
    """

    residual: float
    eigenvalues: np.ndarray
    tolerances: np.ndarray
    zero_directions: dict[str, int]

    @property
    def n_zero_forced(self) -> int:
        """Zeros along the fixed points around."""
        return sum(self.zero_directions.values())

    @property
    def counts(self) -> dict[str, int]:
        """How many real parts are positive, zero within the tolerance, and negative."""
        positive = int(np.sum(self.eigenvalues.real > self.tolerances))
        negative = int(np.sum(self.eigenvalues.real < -self.tolerances))
        zero = self.eigenvalues.size - positive - negative
        return {"n_positive": positive, "n_zero": zero, "n_negative": negative}

    @property
    def verdict(self) -> Verdict:
        """Stable, saddle, unstable or degenerate, across the fixed points around."""
        counts = self.counts
        zeros = max(0, counts["n_zero"] - self.n_zero_forced)
        return verdict_of_counts(counts["n_positive"], zeros, counts["n_negative"])

    def report(self) -> dict[str, Any]:
        """Return the spectrum as a dictionary, as `dyn stability --json` prints it."""
        real = self.eigenvalues.real
        return {
            "residual": self.residual,
            "n_unknowns": self.eigenvalues.size,
            "method": "dense",
            "verdict": self.verdict,
            "spectrum": {**self.counts, "max_real": float(real[0]), "min_real": float(real[-1])},
            "n_zero_forced": self.n_zero_forced,
            "n_undetermined": max(0, self.counts["n_zero"] - self.n_zero_forced),
            "zero_tolerance": float(np.max(self.tolerances)),
            "zero_directions": self.zero_directions,
        }


def _jacobian(field: VectorField, state: ModeState, system: ModeSystem, free: int, unit: float) -> np.ndarray:
    """Derivative of the first `free` parts by those parts, by complex steps: exact to rounding."""
    n, step = state.online.size, _TINY * unit
    columns = []
    for k in range(free * n):
        parts = [np.array(part, dtype=complex) for part in state]
        parts[k // n][k % n] += 1j * step
        moved = field(0.0, ModeState(*parts), system)
        columns.append(np.imag(np.concatenate(moved[:free])) / step)
    return np.array(columns).T


def _rate(state: ModeState, system: ModeSystem, objective: str) -> float:
    """Size of the terms of the Jacobian, which can cancel."""
    w, p, _ = (np.abs(part) for part in state)
    if objective == "cosine":
        kappa, clock = mode_scales(state, system)
        terms = clock * ((p + w) * system.lambda_d + np.abs(kappa) * (p**2 + w**2) * system.lambda_s)
    else:
        terms = system.lambda_d + (p + w) * system.lambda_s
    return float(np.max(terms) / max(system.tau_online, system.tau_predictor))


def _families(state: ModeState, free: int, *, cosine: bool) -> dict[str, list[np.ndarray]]:
    """Directions along the fixed points around, by name, all orthogonal."""
    w, p, _ = state
    learned = np.abs(w) > _ZERO * np.max(np.abs(w), initial=0.0)
    axes, zero = np.eye(w.size), np.zeros(w.size)

    def direction(online: np.ndarray, predictor: np.ndarray) -> np.ndarray:
        return np.concatenate([online, predictor, online][:free])

    whole = np.where(learned, p, 0.0)
    found = {
        SIZES: [direction(axes[k], zero) for k in np.flatnonzero(learned)],
        UNSEEN: [direction(zero, axes[k]) for k in np.flatnonzero(~learned)],
        LENGTH: [direction(zero, whole)] if cosine and np.any(whole) else [],
    }
    return {name: directions for name, directions in found.items() if directions}


def directional_stability(
    state: ModeState,
    system: ModeSystem,
    objective: str = "cosine",
    variant: str = "full",
    *,
    tolerance: float = 1e-6,
) -> DirectionalStability:
    """Spectrum of the Jacobian at modes that rest under the cosine loss in high dimension, or the IsoLoss.

    Parameters
    ----------
    state, system
        Modes and their moments, without weight decay.
    objective, variant
        A key of `analysis.runs.directional.FIELDS`.
    tolerance
        Largest residual that counts as rest.

    Returns
    -------
    DirectionalStability
        Of the cosine loss n + 1 zeros are forced for n modes: the size of each learned one, the predictor of each
        collapsed one, and the length of P.

    Raises
    ------
    ValueError
        There is no such field, weight decay, modes that are not at rest, or outputs that are all zero, at which the
        cosine has no derivative.

    Notes
    -----
    Source: R311, R315, R323.

    Examples
    --------
    >>> system = ModeSystem([1.0, 1.0], [0.8, 0.4])
    >>> found = directional_stability(system.state(0.3, [0.4, 0.2], 0.3), system)
    >>> found.verdict, found.zero_directions
    ('stable', {'sizes of learned modes': 2, 'length of P': 1})
    """
    from scipy.linalg import eig, null_space

    if (objective, variant) not in FIELDS:
        known = ", ".join(f"{one} {two}" for one, two in FIELDS)
        raise ValueError(f"`objective` and `variant` must be one of {known}, got {objective} {variant}")
    check_no_decay(system, objective)
    field = FIELDS[objective, variant]
    state = system.state(*state)
    field.require(state, system)
    free = 3 if variant == "full" else 2
    unit = max(float(np.max(np.abs(part))) for part in state) or 1.0
    flow = field(0.0, state, system)
    moved = np.concatenate(flow[:free])
    J = _jacobian(field, state, system, free, unit)
    size = max(float(np.max(np.abs(J))), _rate(state, system, objective))
    residual = float(np.max(np.abs(moved))) / (size * unit) if size else 0.0
    if residual > tolerance:
        raise ValueError(
            f"`state` must be at rest to `tolerance` {tolerance:g}, got a residual of {residual:.3g}"
        )
    step = np.linalg.lstsq(J, moved, rcond=1e-8)[0].reshape(free, -1)
    beside = ModeState(
        *(part - shift for part, shift in zip(state, [*step, np.zeros_like(step[0])], strict=False))
    )
    change = float(np.linalg.norm(_jacobian(field, beside, system, free, unit) - J, 2))
    families = _families(state, free, cosine=objective == "cosine")
    along = np.array([one / np.linalg.norm(one) for found in families.values() for one in found]).T
    # J − J T Tᵀ for the tangent T, whose zeros are exact: they would hide others, for J is not symmetric
    across = null_space(along.T)
    base = 2 * change + float(np.linalg.norm(J @ along, 2)) + 8 * len(J) * _EPS * size
    values, left, right = eig(across.T @ J @ across, left=True, right=True)
    overlap = np.maximum(np.abs(np.sum(np.conj(left) * right, axis=0)), _EPS)
    values = np.concatenate([values, np.zeros(along.shape[1])])
    errors = np.concatenate([base / overlap, np.full(along.shape[1], base)])
    order = np.argsort(-values.real, kind="stable")
    counts = {name: len(found) for name, found in families.items()}
    return DirectionalStability(residual, values[order], errors[order], counts)


def check_no_decay(system: ModeSystem, objective: str) -> None:
    """Refuse weight decay, with which no weights rest under the cosine loss, and no flow of the IsoLoss is known."""
    if not np.any(np.asarray(system.weight_decay) != 0):
        return
    why = (
        "with it no weights are at rest: they die while their directions come to rest (R312)"
        if objective == "cosine"
        else "its flow is known without it (R323)"
    )
    raise ValueError(
        f"`weight_decay` must be 0 for points of rest under the objective {objective}: {why}, got"
        f" {np.max(system.weight_decay):g}"
    )
