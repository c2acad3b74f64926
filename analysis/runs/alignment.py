"""Whether predictor and features align as predicted: the commutator [F, P] along a run (R19, R22)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from analysis.runs.simulation import plain
from dynamics.fields.matrices import symmetric_predictor_field
from dynamics.fields.predictors import directpred_predictor, feature_covariance
from dynamics.fields.vector_field import VectorField
from dynamics.integration.integrate import Trajectory
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem

HYPOTHESIS = 1e-10
"""A hypothesis of the theorem counts as met up to this relative departure: rounding of products up to n = 10⁴."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """How far predictor and features commute along a run, and the bound that theory sets.

    Parameters
    ----------
    t
        Times, shape (T,), the first one the start.
    commutator
        ‖L‖_F with L = [F, P], F = W Σs Wᵀ, shape (T,).
    bound
        e^{−2 λ0 (t − t0)} ‖L(t0)‖_F, shape (T,); NaN where the theorem does not apply.
    sharp_bound
        exp(−2 ∫ λmin(K) dt) ‖L(t0)‖_F, the integral as a lower sum over the times, shape (T,); never above
        `bound`. NaN where the theorem does not apply.
    holds
        Whether the commutator stays below both bounds, up to the accuracy of the run; None where not applicable.
    overlap
        |cos(v, P v)| for the eigenvectors v of F, by descending eigenvalue, shape (T, n2): 1 where v is an
        eigenvector of P too, P v = 0 included.
    symmetry
        ‖½(P + Pᵀ)‖²_F/‖P‖²_F, shape (T,): 1 for a symmetric predictor, 0 for an antisymmetric one.
    lambda_0
        λ0, the least eigenvalue of K over the times; NaN where not applicable. The bound is true for λ0 <= 0 too,
        but then it does not decay.
    reason
        Why the theorem does not apply, in words; empty where it does.
    """

    t: np.ndarray
    commutator: np.ndarray
    bound: np.ndarray
    sharp_bound: np.ndarray
    holds: bool | None
    overlap: np.ndarray
    symmetry: np.ndarray
    lambda_0: float
    reason: str

    @property
    def applicable(self) -> bool:
        """Whether the run meets the hypotheses of the theorem."""
        return not self.reason

    def report(self) -> dict[str, Any]:
        """Return the alignment as a dictionary of plain numbers and words, as `dyn align --json` prints it."""
        shown = {item.name: getattr(self, item.name) for item in fields(self)}
        return plain(shown | {"applicable": self.applicable})


def feature_commutator(state: MatrixState, system: MatrixSystem) -> Any:
    """Commutator of features and predictor, L = F P − P F with F = W Σs Wᵀ, shape (n2, n2).

    Zero when they share eigenvectors. For Σs = (1 + σ²) I it is 1 + σ² times the L = [W Wᵀ, P] of NC, and obeys the
    same linear equation (R19).

    Examples
    --------
    >>> system = MatrixSystem(np.eye(2), np.eye(2))
    >>> feature_commutator(system.state(np.diag([2.0, 1.0]), [[0.0, 1.0], [1.0, 0.0]]), system)
    array([[ 0.,  3.],
           [-3.,  0.]])
    """
    F, P = feature_covariance(state.online, system), state.predictor
    return F @ P - P @ F


def alignment_rate(state: MatrixState, system: MatrixSystem) -> Any:
    """Rate at which features and predictor align, K in dL/dt = −(K L + L K).

    K = F/(2 τp) + (λs P² − λd τ P)/τo + (3/2) η I,   F = W Σs Wᵀ = λs W Wᵀ

    Parameters
    ----------
    state
        W (n2, n1), P (n2, n2) symmetric and Θ = τ W.
    system
        Σs = λs I and Σd = λd I.

    Returns
    -------
    array (n2, n2)
        K, symmetric. It means nothing where the hypotheses do not hold: see `align`.

    Notes
    -----
    Source: R19; NC theorem 3, with λd = 1, λs = 1 + σ², τo = 1, αp = 1/τp.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(2), np.eye(2))
    >>> alignment_rate(system.state(np.eye(2), 0.5 * np.eye(2)), system)
    array([[0.25, 0.  ],
           [0.  , 0.25]])
    """
    W, P, _ = state
    tau = _ratio(state)
    lambda_s, lambda_d = system.sigma_s.reshape(-1)[0], system.sigma_d.reshape(-1)[0]
    F = feature_covariance(W, system)
    align_features = F / (2 * system.tau_predictor)
    align_predictor = (lambda_s * P @ P - lambda_d * tau * P) / system.tau_online
    return align_features + align_predictor + 3 * system.weight_decay / 2 * np.eye(len(P), dtype=int)


def align(
    trajectory: Trajectory[MatrixState],
    system: MatrixSystem,
    vector_field: VectorField,
    *,
    rtol: float = 1e-8,
) -> Alignment:
    """Compare the commutator of features and predictor along a run with its bound.

    ‖L(t)‖_F <= exp(−2 ∫ λmin(K) dt) ‖L(t0)‖_F <= e^{−2 λ0 (t − t0)} ‖L(t0)‖_F,   λ0 = min λmin(K)

    Parameters
    ----------
    trajectory
        A run; its times are those at which K is looked at.
    system, vector_field
        What was run.
    rtol
        Relative tolerance of the run, > 0: an error of 10 rtol in W and P moves ‖L‖ by at most 60 rtol ‖F‖ ‖P‖,
        which `holds` forgives.

    Returns
    -------
    Alignment
        Not applicable, with the reason, unless Σs and Σd are multiples of I, Θ = τ(t) W, and the predictor is
        symmetric and follows the symmetric gradient flow, as in `aligned_field`; the commutator is there all the same.

    Raises
    ------
    ValueError
        `rtol` is out of range, or the run diverged.

    Notes
    -----
    λ0 and the lower sum are exact when λmin(K) is monotone between times. Source: R19; NC theorem 3.

    Examples
    --------
    >>> from dynamics.fields.matrices import aligned_field
    >>> from dynamics.integration.integrate import integrate
    >>> system = MatrixSystem(1.5 * np.eye(2), np.eye(2), weight_decay=0.1)
    >>> field, start = aligned_field(lambda t: 0.9), system.state(np.eye(2), [[0.5, 0.1], [0.1, 0.2]])
    >>> align(integrate(start, system, field, 5.0), system, field).holds
    True
    """
    if not (np.isfinite(rtol) and rtol > 0):
        raise ValueError(f"`rtol` must be finite and > 0, got {rtol}")
    states = [MatrixState(*parts) for parts in zip(*trajectory.states, strict=True)]
    if not all(np.all(np.isfinite(part)) for part in trajectory.final):
        raise ValueError(f"`trajectory` must be finite, got one with status {trajectory.status.value!r}")
    commutator = np.array([np.linalg.norm(feature_commutator(state, system)) for state in states])
    reason = "; ".join(_departures(trajectory.ts, states, system, vector_field))
    bound = sharp_bound = np.full(commutator.shape, np.nan)
    lambda_0, holds = np.nan, None
    if not reason:
        least = np.array([np.linalg.eigvalsh(alignment_rate(state, system))[0] for state in states])
        lambda_0, steps = float(np.min(least)), np.diff(trajectory.ts)
        integral = np.concatenate([[0.0], np.cumsum(steps * np.minimum(least[:-1], least[1:]))])
        bound = np.exp(-2 * lambda_0 * (trajectory.ts - trajectory.ts[0])) * commutator[0]
        sharp_bound = np.exp(-2 * integral) * commutator[0]
        sizes = [
            np.linalg.norm(feature_covariance(s.online, system)) * np.linalg.norm(s.predictor) for s in states
        ]
        holds = bool(np.all(commutator <= sharp_bound + 60 * rtol * max(sizes)))
    return Alignment(
        t=trajectory.ts,
        commutator=commutator,
        bound=bound,
        sharp_bound=sharp_bound,
        holds=holds,
        overlap=np.array([_overlap(state, system) for state in states]),
        symmetry=np.array([_symmetry(state.predictor) for state in states]),
        lambda_0=lambda_0,
        reason=reason,
    )


def _departures(
    ts: np.ndarray, states: list[MatrixState], system: MatrixSystem, vector_field: VectorField
) -> list[str]:
    """Hypotheses of the theorem that a run does not meet, one clause each."""
    found = []
    for letters, sigma in (("Σs", system.sigma_s), ("Σd", system.sigma_d)):
        matrix = np.diag(sigma) if sigma.ndim == 1 else sigma
        off = np.max(np.abs(matrix - matrix[0, 0] * np.eye(system.n1)))
        if off > HYPOTHESIS * np.max(np.abs(matrix)):
            found.append(f"{letters} must be a multiple of the identity, and departs from one by {off:.3g}")
    off = max(_relative(s.target - _ratio(s) * s.online, s.online) for s in states)
    if off > HYPOTHESIS:
        found.append(f"Θ must be proportional to W at all times, and departs from that by {off:.3g} of ‖W‖")
    off = max(_relative(s.predictor - s.predictor.T, s.predictor) for s in states)
    if off > HYPOTHESIS:
        found.append(f"P must be symmetric at all times, and P − Pᵀ reaches {off:.3g} of ‖P‖")
    elif not all(_follows(t, state, system, vector_field) for t, state in zip(ts, states, strict=True)):
        found.append(
            f"W and P must follow the gradient flow with a symmetric predictor, and {vector_field.name} does not"
        )
    return found


def _ratio(state: MatrixState) -> Any:
    """τ of the multiple τ W nearest to Θ; 0 where W = 0."""
    size = np.sum(state.online**2)
    return np.sum(state.target * state.online) / size if size else 0.0


def _relative(difference: np.ndarray, reference: np.ndarray) -> float:
    size = np.linalg.norm(reference)
    return float(np.linalg.norm(difference) / size) if size else float(np.any(difference))


def _follows(t: float, state: MatrixState, system: MatrixSystem, vector_field: VectorField) -> bool:
    """Whether a field moves W and P as the symmetric gradient flow does, relative to the terms of that."""
    given, wanted = vector_field(t, state, system), symmetric_predictor_field(t, state, system)
    W, P, Th = (np.linalg.norm(part) for part in state)
    push = Th * np.linalg.norm(system.sigma_d) + P * W * np.linalg.norm(system.sigma_s)
    sizes = (
        P * push / system.tau_online + system.weight_decay * W,
        W * push / system.tau_predictor + system.weight_decay * P,
    )
    pairs = zip(given[:2], wanted[:2], sizes, strict=True)
    return all(np.linalg.norm(a - b) <= HYPOTHESIS * size for a, b, size in pairs)


def _overlap(state: MatrixState, system: MatrixSystem) -> np.ndarray:
    V = np.linalg.eigh(feature_covariance(state.online, system))[1][:, ::-1]
    PV = state.predictor @ V
    length = np.linalg.norm(PV, axis=0)
    return np.where(length == 0, 1.0, np.abs(np.sum(V * PV, axis=0)) / np.where(length == 0, 1.0, length))


def _symmetry(P: np.ndarray) -> float:
    size = np.sum(P**2)
    return float(np.sum(((P + P.T) / 2) ** 2) / size) if size else 1.0


def direct_distance(trajectory: Trajectory[MatrixState], system: MatrixSystem, **options: Any) -> np.ndarray:
    """Distance of a learned predictor from the one that DirectPred would set, ‖P − P_direct(F)‖_F/‖P‖_F.

    Parameters
    ----------
    trajectory, system
        A run of the full network.
    **options
        options of `directpred_spectrum`, such as ``**DIRECT_OPTIONS["sqrt"]``.

    Returns
    -------
    array (T,)
        At the times of the run; infinite where P = 0 and DirectPred's is not.

    Notes
    -----
    On the balanced leaf τo W Wᵀ = τp P², that weight decay leads to, a learned symmetric predictor is
    √(τo/τp) (W Wᵀ)^½: with Σs = I and τo = τp, DirectPred at ε = 0. Source: R22, with R2.

    Examples
    --------
    >>> from dynamics.fields.matrices import directpred_field
    >>> from dynamics.integration.integrate import integrate
    >>> from dynamics.fields.predictors import DIRECT_OPTIONS
    >>> system = MatrixSystem(np.eye(2), 0.5 * np.eye(2))
    >>> run = integrate(system.state(np.eye(2), np.eye(2)), system, directpred_field, 1.0)
    >>> float(np.max(direct_distance(run, system, **DIRECT_OPTIONS["sqrt-0.1"])))
    0.0
    """
    distances = []
    for W, P in zip(trajectory.states.online, trajectory.states.predictor, strict=True):
        distance = np.linalg.norm(P - directpred_predictor(feature_covariance(W, system), **options))
        size = np.linalg.norm(P)
        distances.append(distance / size if size else (np.inf if distance else 0.0))
    return np.array(distances)
