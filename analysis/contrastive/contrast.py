"""What a linear contrastive encoder learns from moments of views: which modes, how large, how fast (R113–R120)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from analysis.contrastive.infonce_points import (
    TIED,
    EncoderModes,
    EncoderPoint,
    covered,
    critical_points,
    encoder_modes,
    learned_modes,
    minimum,
    n_critical_points,
    saturation_norms,
)
from analysis.contrastive.learned_subspaces import EQUAL
from dynamics.exact.norm_growth import norm_growth_bound
from dynamics.objectives import OBJECTIVES, Objective, check_taken
from dynamics.system import MatrixSystem

MOST_POINTS = 1000
"""Critical points that are listed."""


class Learned(NamedTuple):
    """What a small generic start comes to.

    Parameters
    ----------
    modes
        Learned modes, counted from 0: as given for diagonal moments, else down in the ratio; for the simple loss on
        moments that do not commute, eigenvectors of Σd down in λd, as `basis` says.
    ratios
        Their r = uᵀ Σd u/uᵀ Σs u.
    amplitudes
        Their norms w Σs wᵀ, infinite where nothing holds them.
    rank
        Rank of the encoder's limit, of its direction where it is unbounded.
    basis
        "M" or "sigma_d": whose eigenvectors the modes are.
    decided
        Whether the last learned mode is apart from those that are not.
    """

    modes: tuple[int, ...]
    ratios: np.ndarray
    amplitudes: np.ndarray
    rank: int
    basis: str
    decided: bool


class Growth(NamedTuple):
    """How fast the encoder grows.

    Parameters
    ----------
    bound
        Of d‖W‖²/dt, whatever the data; None where there is none.
    initial_rate
        Largest growth rate of a small encoder, 2 λd times the mean weight of its pairs, less weight decay.
    blow_up_time
        None: one linear layer never blows up in finite time.
    """

    bound: float | None
    initial_rate: float
    blow_up_time: None = None


@dataclass(frozen=True, eq=False)
class Contrast:
    """Answer of `contrast`.

    Parameters
    ----------
    objective, temperature, negatives, margin
        As given; None where the objective has none.
    modes, norms
        Modes of M, and where each saturates by itself.
    points
        Critical points; the stable one alone where there are too many to list, of which `n_points` tells the number.
    learned, growth
        What is learned, and how fast.
    """

    objective: str
    temperature: float | None
    negatives: float | None
    margin: float | None
    modes: EncoderModes
    norms: np.ndarray
    points: list[EncoderPoint]
    n_points: int
    learned: Learned
    growth: Growth

    @property
    def ceiling(self) -> str:
        """How large a mode of ratio r becomes, in words.

        >>> contrast(MatrixSystem(np.ones(1), np.array([0.5])), 1, OBJECTIVES["infonce"]).ceiling
        'τ y*(r)'
        """
        if self.objective == "simple":
            return "unbounded"
        if self.negatives == np.inf:
            return "τ y*(r)"
        return (
            "2rτ/((1 − r)(3 + r))" if self.negatives in (None, 1) and not self.margin else "a numerical root"
        )

    def report(self) -> dict[str, Any]:
        """Return the answer as a dictionary of plain values, as `dyn contrast --json` prints it."""
        points = [
            {
                "modes": list(point.modes),
                "amplitudes": point.amplitudes,
                "stability": point.stability,
                "loss": point.loss,
            }
            for point in self.points
        ]
        return {
            "objective": self.objective,
            "temperature": self.temperature,
            "negatives": {None: None, np.inf: "inf"}.get(self.negatives, self.negatives),
            "margin": self.margin,
            "modes": [
                {"ratio": r, "saturation": s}
                for r, s in zip(self.modes.ratios.tolist(), self.norms.tolist(), strict=True)
            ],
            "critical_points": points,
            "n_critical_points": self.n_points,
            "learned": self.learned._asdict(),
            "growth": self.growth._asdict(),
        }


def contrast(
    system: MatrixSystem,
    n2: int,
    objective: Objective,
    *,
    temperature: float | None = None,
    negatives: float | None = None,
    margin: float | None = None,
    limit: int = MOST_POINTS,
) -> Contrast:
    """Tell what n2 rows of a linear encoder learn under a contrastive loss of Gaussian views.

    Parameters
    ----------
    system
        Σs ≻ 0, 0 ≼ Σd ≼ Σs, commuting or not, and η >= 0.
    n2
        Number of rows, >= 1.
    objective
        The row simple, triplet or infonce of `dynamics.objectives.OBJECTIVES`.
    temperature, negatives, margin
        τ > 0 of triplet and infonce (1); H of infonce, an integer >= 1 or infinite (infinite); m >= 0 of triplet (0).
    limit
        Most critical points to list.

    Returns
    -------
    Contrast
        From closed forms for H = 1 and ∞ and m = 0; else from numerical roots, to about 1e-9.

    Raises
    ------
    ValueError
        As `analysis.contrastive.infonce_points.critical_points` does; an objective that is not contrastive, or a number
        that it does not take.

    Notes
    -----
    Source: R108, R113, R114, R116, R119, R120.

    Examples
    --------
    >>> system = MatrixSystem(np.array([10.0, 1.0]), np.array([5.0, 0.9]))
    >>> [contrast(system, 1, OBJECTIVES[name]).learned.modes for name in ("simple", "infonce")]
    [(0,), (1,)]
    """
    check_taken(objective, temperature=temperature, negatives=negatives, margin=margin)
    tau = 1.0 if temperature is None else temperature
    if objective.name == "simple":
        return _simple(system, n2)
    if objective.name == "triplet":
        m = 0.0 if margin is None else margin
        found = _logistic_loss(system, n2, tau, 1, m, limit)
        # the triplet loss is τ times the logistic loss
        rate = 2 * _logistic(m / tau) * _largest(system.sigma_d) - _decay(system)
        points = [replace(point, loss=tau * point.loss) for point in found.points]
        growth = Growth(norm_growth_bound("triplet", temperature=tau, margin=m), rate)
        return replace(found, objective="triplet", negatives=None, margin=m, points=points, growth=growth)
    if objective.name == "infonce":
        return _logistic_loss(system, n2, tau, np.inf if negatives is None else negatives, 0.0, limit)
    known = ", ".join(name for name, row in OBJECTIVES.items() if row.contrastive)
    raise ValueError(f"`objective` must be one of {known}, got {objective.name}")


def _logistic_loss(
    system: MatrixSystem, n2: int, tau: float, negatives: float, margin: float, limit: int
) -> Contrast:
    """InfoNCE with any number of negatives, or with one and a margin."""
    covered(system, n2, negatives, margin)
    modes = encoder_modes(system, tau)
    norms = saturation_norms(modes, tau, negatives, margin)
    n_points = n_critical_points(modes, n2, norms)
    if n_points <= limit:
        points = critical_points(system, n2, tau, negatives, margin, limit=limit)
    else:
        stable = minimum(system, n2, tau, negatives, margin)
        points = [] if stable is None else [stable]
    which = learned_modes(modes, n2)
    learned = Learned(
        which,
        modes.ratios[list(which)],
        norms[list(which)],
        len(which),
        "M",
        _apart(modes.effective, n2, TIED),
    )
    share = negatives / (negatives + 1) if negatives < np.inf else 1.0
    rate = 2 / tau * share * _largest(system.sigma_d) - _decay(system)
    bound = norm_growth_bound("infonce", negatives=negatives) if negatives < np.inf else None
    growth = Growth(bound, rate)
    return Contrast("infonce", tau, negatives, None, modes, norms, points, n_points, learned, growth)


def _logistic(x: float) -> float:
    from scipy.special import expit

    return float(expit(x))


def _decay(system: MatrixSystem) -> float:
    return float(system.weight_decay)


def _largest(sigma: np.ndarray) -> float:
    return float(np.max(sigma) if sigma.ndim == 1 else np.linalg.eigvalsh(sigma)[-1])


def _apart(values: np.ndarray, k: int, gap: float) -> bool:
    """Whether the k-th largest value, as far as it is positive, is apart from the next."""
    down = np.maximum(np.sort(values)[::-1], 0.0)
    return k >= down.size or down[k - 1] == 0 or bool(down[k - 1] - down[k] > gap)


def _simple(system: MatrixSystem, n2: int) -> Contrast:
    """Every row goes to the top eigenvector of Σd without bound where 2λd > η, else to zero (R113, R119)."""
    if n2 < 1:
        raise ValueError(f"`n2` must be an integer >= 1, got {n2}")
    modes = encoder_modes(system)
    if np.ndim(system.sigma_d) == 1:
        values, vectors = system.sigma_d, np.eye(system.n1)
    else:
        values, vectors = np.linalg.eigh(system.sigma_d)
    top = int(np.argmax(values))
    v = vectors[:, top]
    sigma_s, sigma_d = (
        np.diag(part) if part.ndim == 1 else part for part in (system.sigma_s, system.sigma_d)
    )
    # the mode of M along v, if there is one
    cosines = np.abs(v @ modes.directions) / np.linalg.norm(modes.directions, axis=0)
    along = int(np.argmax(cosines))
    of_modes = bool(1 - cosines[along] < EQUAL)
    rates = 2 * values - system.weight_decay
    grows = bool(rates[top] > 0)
    learned = Learned(
        (along if of_modes else 0,) if grows else (),
        np.array([v @ sigma_d @ v / (v @ sigma_s @ v)] if grows else []),
        np.array([np.inf] if grows else []),
        int(grows),
        "M" if of_modes else "sigma_d",
        _apart(rates, 1, EQUAL * 2 * float(values[top])),
    )
    if np.any(rates > 0):
        stability = "unstable" if np.all(rates > 0) else "saddle"
    else:
        stability = "stable" if np.all(rates < 0) else "degenerate"
    origin = EncoderPoint((), np.zeros(0), np.zeros((n2, system.n1)), stability, 0.0)
    norms = np.where(
        2 * np.einsum("ij,jk,ki->i", modes.directions.T, sigma_d, modes.directions) > 0, np.inf, 0.0
    )
    return Contrast(
        "simple", None, None, None, modes, norms, [origin], 1, learned, Growth(None, float(rates[top]))
    )
