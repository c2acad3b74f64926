"""The table of objectives: every objective is one row, and nothing else lists them.

Options, help texts, `dyn info`, the moments of a flow, bifurcations, sweeps and the trainer's losses are derived from
it. An objective that a question does not cover is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Objective:
    """One objective.

    Parameters
    ----------
    name
        As on the command line.
    meaning
        One line for `dyn info`.
    weights
        Names of the numbers that it takes, settings and options alike.
    align, cross
        α and β terms of a predictive objective in the order of its formula: whether predictions of two views are drawn
        together, and the sign with which predictions are drawn to targets.
    transform
        (Σs, Σd, α, β) -> (Σs′, Σd′), the moments with which the BYOL flow is that of this objective for linear networks
        and squared errors; None where no such moments exist.
    contrastive
        Whether it compares different samples, and needs neither predictor nor target.
    encoder_flow
        Whether the flow of a linear encoder under it is known from the moments alone (R113–R115).
    negatives
        Whether its number of negatives is free: a number of the flow, and in training the batch.
    directional
        Whether its flow of modes has a field of its own, in `dynamics.fields.cosine`. The trainer has the cosine loss
        as byol with normalised outputs.
    of_moments
        Whether it is a loss of the moments of an encoder's outputs, without negatives, predictor or target (R325–R329).
    """

    name: str
    meaning: str
    weights: tuple[str, ...] = ()
    align: bool = False
    cross: int = 1
    transform: Callable[[Any, Any, Any, Any], tuple[Any, Any]] | None = None
    contrastive: bool = False
    encoder_flow: bool = False
    negatives: bool = False
    directional: bool = False
    of_moments: bool = False

    @property
    def alone(self) -> bool:
        """Whether it trains an encoder alone, without predictor and target."""
        return self.contrastive or self.of_moments


def _own(sigma_s: Any, sigma_d: Any, alpha: Any, beta: Any) -> tuple[Any, Any]:
    return sigma_s, sigma_d


def _aligned(sign: int) -> Callable[[Any, Any, Any, Any], tuple[Any, Any]]:
    def transform(sigma_s: Any, sigma_d: Any, alpha: Any, beta: Any) -> tuple[Any, Any]:
        weight = sign * beta
        return 2 * alpha * (sigma_s - sigma_d) + weight * sigma_s, weight * sigma_s

    return transform


_ROWS = (
    Objective("byol", "E‖P W x1 − Θ x2‖²", transform=_own),
    Objective(
        "byol-prime",
        "α E‖P W (x1 − x2)‖² + β E‖P W x2 − Θ x2‖², an upper bound (R24)",
        ("alpha", "beta"),
        align=True,
        transform=_aligned(1),
    ),
    Objective(
        "raft",
        "α E‖P W (x1 − x2)‖² − β E‖P W x2 − Θ x2‖² (R26)",
        ("alpha", "beta"),
        align=True,
        cross=-1,
        transform=_aligned(-1),
    ),
    Objective(
        "infonce",
        "−log e^{−r₊/T}/(e^{−r₊/T} + Σ e^{−r₋/T}), r half a squared distance (R114, R115)",
        ("temperature",),
        contrastive=True,
        encoder_flow=True,
        negatives=True,
    ),
    Objective("simple", "r₊ − mean r₋ (R105, R113)", contrastive=True, encoder_flow=True),
    Objective(
        "triplet",
        "T mean log(1 + e^{(r₊ − r₋ + margin)/T}) (R114)",
        ("temperature", "margin"),
        contrastive=True,
        encoder_flow=True,
    ),
    Objective("cosine", "1 − E cos(P W x1, Θ x2), in high dimension (R311–R315)", directional=True),
    Objective("iso", "E‖P W x1 − Θ x2‖², its error unturned by P for the encoder (R323)", directional=True),
    Objective(
        "barlow-twins",
        "Σ(C_ii − 1)² + λ Σ C_ij², C the correlations of two views, normalised or not (R325, R326)",
        ("off_diagonal",),
        encoder_flow=True,
        of_moments=True,
    ),
    Objective(
        "vicreg",
        "λ_i E‖z1 − z2‖² + μ Σ(1 − std)₊ + ν Σ cov_ij² (R327)",
        ("invariance", "variance", "covariance"),
        encoder_flow=True,
        of_moments=True,
    ),
    Objective(
        "spectral", "−2 E z1ᵀz2 + ‖E z zᵀ‖², spectral contrastive (R328)", encoder_flow=True, of_moments=True
    ),
    Objective("whitened", "½ E‖z1 − z2‖² of whitened outputs (R329)", encoder_flow=True, of_moments=True),
)

OBJECTIVES: dict[str, Objective] = {row.name: row for row in _ROWS}
"""All objectives by name."""


def linear_objectives() -> dict[str, Objective]:
    """Objectives of linear networks with squared errors, whose flow is that of BYOL with other moments.

    >>> list(linear_objectives())
    ['byol', 'byol-prime', 'raft']
    """
    return {name: row for name, row in OBJECTIVES.items() if row.transform is not None}


def flow_objectives() -> dict[str, Objective]:
    """Objectives whose flow of linear networks is known from the moments.

    >>> set(OBJECTIVES) - set(flow_objectives())
    set()
    """
    return {
        name: row
        for name, row in OBJECTIVES.items()
        if row.transform is not None or row.encoder_flow or row.directional
    }


def trained_objectives() -> dict[str, Objective]:
    """Objectives that the trainer has a loss for.

    >>> "cosine" in trained_objectives()
    False
    """
    return {name: row for name, row in OBJECTIVES.items() if not row.directional}


def with_weight(weight: str) -> tuple[str, ...]:
    """Names of the objectives that take a weight.

    >>> with_weight("margin")
    ('triplet',)
    """
    return tuple(name for name, row in OBJECTIVES.items() if weight in row.weights)


def check_taken(objective: Objective, **numbers: Any) -> None:
    """Refuse numbers of losses of an encoder alone that are given, and that an objective does not take.

    Parameters
    ----------
    objective
        A row of `OBJECTIVES`.
    **numbers
        temperature, margin, negatives and weights; None where one is not given.

    Raises
    ------
    ValueError
        A number is given that the objective does not take.

    Examples
    --------
    >>> check_taken(OBJECTIVES["triplet"], temperature=0.5, negatives=None)
    >>> check_taken(OBJECTIVES["simple"], temperature=0.5)
    Traceback (most recent call last):
        ...
    ValueError: `temperature` must go with `objective` infonce or triplet, got simple
    """
    for name, value in numbers.items():
        takers = [
            row.name for row in _ROWS if (row.negatives if name == "negatives" else name in row.weights)
        ]
        if value is not None and objective.name not in takers:
            raise ValueError(f"`{name}` must go with `objective` {' or '.join(takers)}, got {objective.name}")
