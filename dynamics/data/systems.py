"""Systems of the flow that an objective follows on given moments, with the sizes that their flows can be told for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dynamics.data.moments import Moments
from dynamics.data.objective_moments import objective_moments
from dynamics.objectives import Objective, with_weight
from dynamics.system import MatrixSystem, ModeSystem

CRITICAL = ("no-predictor", "no-stop-gradient")
"""Variants whose fixed points form a line at λs = λd."""
LEAST, MOST = 1e-150, 1e150
"""Sizes whose squares neither vanish nor overflow."""


def flow_moments(
    moments: Moments, objective: Objective, alpha: float | None = None, beta: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Σs and Σd of the flow that an objective follows (R24, R26).

    Parameters
    ----------
    moments
        Σs and Σd of the views.
    objective
        A row of `dynamics.objectives.OBJECTIVES`.
    alpha, beta
        Its weights, where it has them; 1 where left out.

    Raises
    ------
    ValueError
        A weight that the objective does not have, or that is out of range; an objective without such a flow.

    Examples
    --------
    >>> from dynamics.objectives import OBJECTIVES
    >>> flow_moments(Moments.from_eigenvalues(1.0, 0.5), OBJECTIVES["byol-prime"], beta=2.0)
    (array([[3.]]), array([[2.]]))
    """
    given = {name: value for name, value in (("alpha", alpha), ("beta", beta)) if value is not None}
    for name in given:
        if name not in objective.weights:
            takers = " or ".join(with_weight(name))
            raise ValueError(f"`{name}` must go with `objective` {takers}, got {objective.name}")
    return objective_moments(objective.name, moments, **given)


def mode_system(
    moments: Moments,
    objective: Objective,
    variant: str = "full",
    *,
    alpha: float | None = None,
    beta: float | None = None,
    **rates: Any,
) -> ModeSystem:
    """System of decoupled modes of moments that are diagonal.

    Parameters
    ----------
    moments, objective, alpha, beta
        As for `flow_moments`.
    variant
        Name of the variant that is to be run.
    **rates
        tau_online, tau_predictor, tau_target and weight_decay, as for `ModeSystem`.

    Raises
    ------
    ValueError
        A number is out of range, or α is lost to rounding beside β where it decides.

    Examples
    --------
    >>> from dynamics.objectives import OBJECTIVES
    >>> mode_system(Moments.from_eigenvalues(1.0, 0.5), OBJECTIVES["byol"], weight_decay=0.01).ratio
    array([0.5])
    """
    sigma_s, sigma_d = (sigma.diagonal() for sigma in flow_moments(moments, objective, alpha, beta))
    lost = (sigma_s == sigma_d) & (moments.sigma_s.diagonal() != moments.sigma_d.diagonal())
    if variant in CRITICAL and alpha != 0 and lost.any():
        raise ValueError(
            "`alpha` must not be lost to rounding beside `beta`, as 2α(λs − λd) decides where the variant"
            f" {variant} ends, got alpha {1.0 if alpha is None else alpha:g} and beta"
            f" {1.0 if beta is None else beta:g}"
        )
    return ModeSystem(sigma_s, sigma_d, **rates)


def matrix_system(
    moments: Moments,
    objective: Objective,
    *,
    alpha: float | None = None,
    beta: float | None = None,
    **rates: Any,
) -> MatrixSystem:
    """System of the full network on the support of Σs.

    Parameters
    ----------
    moments, objective, alpha, beta
        As for `flow_moments`.
    **rates
        tau_online, tau_predictor, tau_target and weight_decay, as for `MatrixSystem`.

    Raises
    ------
    ValueError
        A number is out of range, or has no square that is a number.

    Examples
    --------
    >>> from dynamics.objectives import OBJECTIVES
    >>> matrix_system(Moments.from_eigenvalues([1.0, 1.0], [0.5, 0.2]), OBJECTIVES["byol"]).n1
    2
    """
    for name, value in rates.items():
        if np.ndim(value) == 0 and not (value == 0 or LEAST <= abs(value) <= MOST or math.isnan(value)):
            raise ValueError(
                f"`{name}` must lie within {LEAST:g} and {MOST:g} for a flow of matrices, where squares are numbers,"
                f" got {value:g}"
            )
    largest = abs(moments.sigma_s).max()
    if not LEAST <= largest <= MOST:
        raise ValueError(
            f"eigenvalues of Σs (`lambda_s` or `moments`) must lie within {LEAST:g} and {MOST:g} for a flow of"
            f" matrices, got {largest:g}"
        )
    return MatrixSystem(*flow_moments(moments, objective, alpha, beta), **rates)
