"""One run of a linear encoder under a contrastive loss, and what theory says of its end."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from analysis.fates.fate import Fate
from analysis.runs.simulation import COLLAPSED, cost_of, plain
from dynamics.exact.contrastive import simple_encoder
from dynamics.fields.contrastive import simple_field, simple_one_branch_field
from dynamics.fields.infonce import SaturatingLoss
from dynamics.fields.predictors import times
from dynamics.fields.redundancy import RedundancyLoss
from dynamics.fields.vector_field import VectorField
from dynamics.integration.trajectory import Status, Trajectory
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem

BRANCHES: dict[str, tuple[VectorField, int]] = {
    "all": (simple_field, 2),
    "one": (simple_one_branch_field, 1),
}
"""Fields of the simple contrastive loss by the branches that the gradient goes through, and c of R113."""


class Saturating(NamedTuple):
    """What a run under a loss that saturates has besides: sizes of modes, and where they rest.

    Parameters
    ----------
    loss
        The loss.
    sizes
        Part s of tr W Σs Wᵀ along every mode at `trajectory.ts`, shape (T, n1); of tr W Σd Wᵀ under unnormalised Barlow
        Twins, which learns the modes of Σd.
    predicted
        s at which each mode is said to rest, shape (n1,): 0 where it collapses, infinite where nothing holds it, and
        NaN where no result applies.
    """

    loss: SaturatingLoss | RedundancyLoss
    sizes: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True, eq=False)
class EncoderSimulation:
    """A run of a linear encoder under a contrastive loss, with what theory says of it.

    Modes of the simple loss are the eigenvectors q of Σd, those of the others the left eigenvectors of M = Σd Σs⁻¹:
    in the order of the system where the moments are diagonal, else by descending eigenvalue.

    Parameters
    ----------
    system, vector_field
        What was run.
    trajectory
        States of shape (T, n2, n1).
    directions
        Modes as unit columns, shape (n1, n1).
    lambda_s, lambda_d
        qᵀ Σs q and qᵀ Σd q, shape (n1,).
    shares
        Part of ‖W‖² along every mode at `trajectory.ts`, shape (T, n1); of tr W Σs Wᵀ under the others.
    fate
        What each mode did, shape (n1,). At rest, a mode is learned where its share is not zero, and collapsed where it
        is, or where all of W is zero; a run that is not at rest leaves modes undecided.
    predicted
        What theory says (`predict_simple`, `analysis.runs.infonce.predict_saturating`), shape (n1,): learned or
        collapsed; empty where no result applies.
    error
        Of the simple loss, the largest distance of the run from the exact solution W(0) e^{(cΣd − η)t}, relative to the
        largest weight at the time or at the start, whichever is larger. Of InfoNCE, the largest distance of the size of
        a learned mode at rest from that predicted, relative to it; NaN where there is none.
    saturating
        Of InfoNCE alone.
    """

    system: MatrixSystem
    vector_field: VectorField
    trajectory: Trajectory[EncoderState]
    directions: np.ndarray
    lambda_s: np.ndarray
    lambda_d: np.ndarray
    shares: np.ndarray
    fate: np.ndarray
    predicted: np.ndarray
    error: float
    saturating: Saturating | None = None

    @property
    def agrees(self) -> list[bool | None]:
        """Whether run and prediction agree, mode by mode; None where one of them does not decide."""
        return [
            None if fate == Fate.UNDECIDED or predicted == "" else bool(fate == predicted)
            for fate, predicted in zip(self.fate, self.predicted, strict=True)
        ]

    @property
    def online_singular_values(self) -> np.ndarray:
        """Singular values of the final W, descending."""
        return np.linalg.svd(self.trajectory.final.online, compute_uv=False)

    @property
    def amplitudes(self) -> np.ndarray:
        """Eigenvalues of the final W Σs Wᵀ, descending."""
        W = self.trajectory.final.online
        return np.maximum(np.linalg.eigvalsh(times(W, self.system.sigma_s) @ W.T)[::-1], 0.0)

    @property
    def rank(self) -> int:
        """Number of singular values of the final W above `COLLAPSED` times the largest; 0 where all of W collapsed."""
        values = self.online_singular_values
        learned = np.any(self.fate == Fate.LEARNED) or np.any(self.fate == Fate.UNDECIDED)
        return int(np.sum(values > COLLAPSED * values[0])) if learned else 0

    def report(self) -> dict[str, Any]:
        """Return the run as a dictionary of plain numbers and words, as `dyn simulate --json` prints it."""
        initial, final = (
            _along(state.online, self.directions)
            for state in (self.trajectory.initial, self.trajectory.final)
        )
        modes = [
            {
                "lambda_s": self.lambda_s[k],
                "lambda_d": self.lambda_d[k],
                "ratio": self.lambda_d[k] / self.lambda_s[k],
                "initial": _entry(initial[k]),
                "final": _entry(final[k]),
                "share": self.shares[-1, k],
                "fate": str(self.fate[k]),
                "agrees": self.agrees[k],
                "predicted": {
                    "fate": str(self.predicted[k]) or None,
                    "reason": _reason(self.saturating) if self.predicted[k] else None,
                    **_entry(np.nan),
                },
                "invariant": {"initial": None, "drift": None},
            }
            for k in range(len(self.fate))
        ]
        report: dict[str, Any] = {
            "objective": "simple",
            "modes": modes,
            "final": {"rank": self.rank, "online_singular_values": self.online_singular_values},
            "exact": {"error": self.error},
            "variant": self.vector_field.name,
            **cost_of(self.trajectory),
        }
        if self.saturating is not None:
            of = self.saturating
            for k, mode in enumerate(modes):
                mode["initial"]["amplitude"], mode["final"]["amplitude"] = of.sizes[[0, -1], k]
                mode["predicted"]["amplitude"] = of.predicted[k]
            report |= {"objective": of.loss.name, **_numbers(of.loss)}
            report["final"]["amplitudes"] = self.amplitudes
        return plain(report)


def _numbers(loss: SaturatingLoss | RedundancyLoss) -> dict[str, Any]:
    """Numbers that a loss was run with."""
    if not isinstance(loss, SaturatingLoss):
        return asdict(loss)
    negatives = "inf" if loss.negatives == np.inf else loss.negatives
    return {"temperature": loss.temperature, "negatives": negatives, "margin": loss.margin}


def _reason(saturating: Saturating | None) -> str:
    if saturating is None:
        return "R113"
    if not isinstance(saturating.loss, SaturatingLoss):
        return saturating.loss.source
    return "R116" if saturating.loss.negatives == np.inf else "R114"


def _entry(online: float) -> dict[str, float | None]:
    return {"online": online, "predictor": None, "target": None}


def _along(W: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Component of W along every mode, shape (n1,): of a single neuron with its sign, else the norm ‖W q‖."""
    columns = W @ directions
    if len(W) == 1:
        return columns[0]
    largest = np.max(np.abs(columns)) or 1.0  # squares of weights that grow for ever overflow
    return largest * np.linalg.norm(columns / largest, axis=0)


def _modes_of(system: MatrixSystem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Modes as columns, and qᵀ Σs q and qᵀ Σd q."""
    sigma_s, sigma_d = (np.diag(x) if x.ndim == 1 else x for x in (system.sigma_s, system.sigma_d))
    if np.array_equal(sigma_d, np.diag(np.diagonal(sigma_d))):
        return np.eye(len(sigma_d)), np.diagonal(sigma_s), np.diagonal(sigma_d)
    values, vectors = (part[..., ::-1] for part in np.linalg.eigh(sigma_d))
    return vectors, np.einsum("ik,ij,jk->k", vectors, sigma_s, vectors), values


def _shares(W: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Part of ‖W‖² along every mode, shape (T, n1), of weights of any size; NaN where W = 0."""
    largest = np.max(np.abs(W), axis=(1, 2), keepdims=True)
    squares = np.sum((W / np.where(largest == 0, 1.0, largest) @ directions) ** 2, axis=1)
    total = np.sum(squares, axis=1, keepdims=True)
    return np.divide(squares, total, out=np.full_like(squares, np.nan), where=total > 0)


def predict_simple(
    start: EncoderState, system: MatrixSystem, branches: int, directions: np.ndarray, lambda_d: np.ndarray
) -> np.ndarray:
    """Fate of every mode under the simple loss, shape (n1,): learned or collapsed (R113, R119).

    Of the modes that the start excites, those with the largest λd are learned, if c λd >= η; all others fall behind
    them, or to zero. Eigenvalues that agree to rounding are one.

    >>> from dynamics.states import EncoderState
    >>> system = MatrixSystem([10.0, 1.0], [5.0, 0.9])
    >>> start = EncoderState(np.array([[0.1, 0.1]]))
    >>> predict_simple(start, system, 2, np.eye(2), system.sigma_d).tolist()
    ['learned', 'collapsed']
    """
    excited = np.any(start.online @ directions != 0, axis=0)
    rounding = lambda_d.size * np.finfo(float).eps * np.max(np.abs(lambda_d))
    top = np.max(lambda_d[excited], initial=-np.inf)
    learned = excited & (lambda_d >= top - rounding) & (branches * lambda_d >= system.weight_decay)
    return np.where(learned, str(Fate.LEARNED), str(Fate.COLLAPSED))


def simulate_encoder(
    state: EncoderState,
    system: MatrixSystem,
    branches: str = "all",
    t_end: float | None = None,
    **options: Any,
) -> EncoderSimulation:
    """Run a linear encoder under the simple contrastive loss, and compare it with R113.

    Parameters
    ----------
    state, system, t_end, **options
        As for `dynamics.integration.integrate.integrate`.
    branches
        A key of `BRANCHES`: whether the gradient goes through both views' branches, or one.

    Raises
    ------
    ValueError
        An argument is out of range.

    Examples
    --------
    >>> system = MatrixSystem([10.0, 1.0], [5.0, 0.9])
    >>> found = simulate_encoder(EncoderState([[0.1, 0.1]]), system)
    >>> found.fate.tolist(), found.trajectory.status.value
    (['learned', 'collapsed'], 'unbounded')
    """
    from dynamics.integration.integrate import integrate  # SciPy's integrators take their time to import

    if branches not in BRANCHES:
        raise ValueError(f"`branches` must be one of {', '.join(BRANCHES)}, got {branches!r}")
    vector_field, count = BRANCHES[branches]
    trajectory = integrate(state, system, vector_field, t_end, **options)
    directions, lambda_s, lambda_d = _modes_of(system)
    shares = _shares(trajectory.states.online, directions)
    exact = simple_encoder(trajectory.ts, trajectory.initial, system, branches=count).online
    return EncoderSimulation(
        system=system,
        vector_field=vector_field,
        trajectory=trajectory,
        directions=directions,
        lambda_s=lambda_s,
        lambda_d=lambda_d,
        shares=shares,
        fate=_fates(trajectory, shares[-1]),
        predicted=predict_simple(trajectory.initial, system, count, directions, lambda_d),
        error=_error(trajectory.states.online, exact),
    )


def _fates(trajectory: Trajectory[EncoderState], share: np.ndarray) -> np.ndarray:
    if trajectory.status is Status.UNBOUNDED:
        learned = share > COLLAPSED**2
    elif trajectory.status is Status.STEADY:
        start, end = (np.max(np.abs(state.online)) for state in (trajectory.initial, trajectory.final))
        learned = (share > COLLAPSED**2) & bool(end > COLLAPSED * start)
    else:
        return np.full(share.shape, str(Fate.UNDECIDED))
    return np.where(learned, str(Fate.LEARNED), str(Fate.COLLAPSED))


def _error(W: np.ndarray, exact: np.ndarray) -> float:
    """Largest entry of W − exact, relative to the largest weight at the time or at the start."""
    size = np.maximum(np.max(np.abs(exact), axis=(1, 2)), np.max(np.abs(exact[0])))
    size = np.where(size > 0, size, 1.0)[:, None, None]
    return float(np.max(np.abs(W / size - exact / size)))
