"""Page `covariance-operator`: InfoNCE loses the semidefinite operator during training (R112)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.contrastive.gaussian_operator import gaussian_operator, semidefinite_share
from dynamics.contrastive_losses import InfoNCELoss
from dynamics.fields.infonce import infonce_mean_field
from dynamics.system import MatrixSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import is_narrow, panels
from figures.panels.semidefinite import draw_sign
from figures.style import style

_RTOL, _ATOL = 1e-9, 1e-12


@dataclass(frozen=True, eq=False)
class SemidefiniteRun:
    """One linear neuron under InfoNCE with H → ∞, and its covariance operator.

    Parameters
    ----------
    ts, weights
        Times, shape (T,), and weights on the modes, shape (T, n1).
    lowest
        Lowest eigenvalue of OP, shape (T,).
    excess
        κ(s) Σ_i q_i/r_i − 1, shape (T,): OP is semidefinite exactly where this is <= 0.
    """

    ts: np.ndarray
    weights: np.ndarray
    lowest: np.ndarray
    excess: np.ndarray

    @property
    def turns(self) -> float:
        """First of the times at which OP is indefinite; NaN where it never is."""
        below = self.lowest < 0
        return float(self.ts[np.argmax(below)]) if np.any(below) else math.nan


@dataclass(frozen=True, eq=False)
class SemidefiniteRuns:
    """Both runs of the page, and its parameters."""

    parameters: dict[str, Any]
    runs: tuple[SemidefiniteRun, SemidefiniteRun]


def _followed(
    lambda_s: np.ndarray, ratios: np.ndarray, start: np.ndarray, temperature: float, ts: np.ndarray
) -> SemidefiniteRun:
    from scipy.integrate import solve_ivp

    system, loss = MatrixSystem(lambda_s, lambda_s * ratios), InfoNCELoss(temperature)
    run = solve_ivp(
        lambda t, w: infonce_mean_field(t, w[None], system, temperature)[0],
        (ts[0], ts[-1]),
        start,
        t_eval=ts,
        method="LSODA",
        rtol=_RTOL,
        atol=_ATOL,
    )
    if not run.success:
        raise ValueError(f"`t_end` must be a time that the integration reaches, got {ts[-1]}: {run.message}")
    weights = run.y.T
    lowest = [gaussian_operator(system, w, loss, negatives=math.inf).eigenvalues[0] for w in weights]
    excess = semidefinite_share(lambda_s, ratios, weights, temperature) - 1
    return SemidefiniteRun(ts, weights, np.array(lowest), excess)


def _refuse_by_name(
    name: str, lambda_s: np.ndarray, ratios: np.ndarray, start: np.ndarray, temperature: float
) -> None:
    """Refuse what is out of range, by the names that parameters have on this page."""
    try:
        semidefinite_share(lambda_s, ratios, start, temperature)
    except ValueError as error:
        message = str(error)
        for there, here in (("lambda_s", "lambda_s"), ("ratios", "ratios"), ("w", "start")):
            message = message.replace(f"`{there}`", f"`{name}_{here}`")
        raise ValueError(message) from None


def compute_covariance_operator(
    *,
    first_lambda_s: tuple[float, ...] = (1.0, 10.0),
    first_ratios: tuple[float, ...] = (0.05, 0.9),
    first_start: tuple[float, ...] = (0.18, 0.001),
    second_lambda_s: tuple[float, ...] = (1.0, 2.0),
    second_ratios: tuple[float, ...] = (0.5, 0.9),
    second_start: tuple[float, ...] = (2.0, 0.1),
    temperature: float = 1.0,
    t_end: float = 4.0,
    points: int = 401,
) -> SemidefiniteRuns:
    """Follow two linear neurons under InfoNCE with many negatives, and the lowest eigenvalue of their operators.

    Parameters
    ----------
    first_lambda_s, first_ratios, first_start
        λs > 0, r in (0, 1] and w(0), not all zero, of the modes of the first.
    second_lambda_s, second_ratios, second_start
        The same of the second.
    temperature
        τ > 0.
    t_end
        Time up to which both are followed, > 0.
    points
        Times at which they are shown, >= 2.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> found = compute_covariance_operator(points=5)
    >>> found.runs[1].lowest[0].round(2)
    np.float64(-0.76)
    """
    parameters = {**locals()}
    if not (math.isfinite(t_end) and t_end > 0):
        raise ValueError(f"`t_end` must be finite and > 0, got {t_end}")
    if points < 2:
        raise ValueError(f"`points` must be >= 2, got {points}")
    ts = np.linspace(0.0, t_end, points)
    runs = []
    for name in ("first", "second"):
        lambda_s, ratios, start = (
            np.array(parameters[f"{name}_{part}"], dtype=np.float64)
            for part in ("lambda_s", "ratios", "start")
        )
        for part, value in (("ratios", ratios), ("start", start)):
            if value.shape != lambda_s.shape:
                raise ValueError(
                    f"`{name}_{part}` must be {lambda_s.size} numbers, as `{name}_lambda_s`, got {value.size}"
                )
        _refuse_by_name(name, lambda_s, ratios, start, temperature)
        runs.append(_followed(lambda_s, ratios, start, temperature, ts))
    return SemidefiniteRuns(parameters, (runs[0], runs[1]))


def figure_covariance_operator(found: SemidefiniteRuns) -> Figure:
    """Lowest eigenvalues above, what decides their sign below."""
    indefinite = any(np.any(run.lowest < 0) for run in found.runs)
    headline = (
        "With augmentation, the operator of InfoNCE is indefinite for part of the training"
        if indefinite
        else "The operator of InfoNCE stays positive semidefinite on both runs"
    )
    with style():
        figure, axes = panels(headline, 4, columns=2, aspect=0.55)
        for k, run in enumerate(found.runs):
            above, below = axes[2 * k : 2 * k + 2] if is_narrow() else axes[k::2]
            name = ("first", "second")[k]
            modes = ", ".join(f"{x:g}" for x in found.parameters[f"{name}_lambda_s"])
            ratios = ", ".join(f"{x:g}" for x in found.parameters[f"{name}_ratios"])
            draw_sign(above, run.ts, run.lowest, bad=-1)
            above.set_title(rf"$\lambda_s$ = ({modes}), $r$ = ({ratios})")
            above.set_ylabel("lowest eigenvalue of OP")
            draw_sign(below, run.ts, run.excess, bad=1)
            below.set_ylabel(r"$\kappa(s)\,\Sigma_i\,q_i/r_i - 1$")
            for ax in (above, below):
                ax.set_xlabel("time $t$")
                ax.set_xlim(run.ts[0], run.ts[-1])
        return figure


def caption_covariance_operator(found: SemidefiniteRuns) -> str:
    """Say when each operator is indefinite, and by how much."""
    parts = []
    for name, run in zip(("first", "second"), found.runs, strict=True):
        if math.isnan(run.turns):
            parts.append(f"the {name} is semidefinite at all times shown")
            continue
        k = int(np.argmin(run.lowest))
        since = "from the start" if run.turns == run.ts[0] else f"from t = {run.turns:.3g} on"
        last = "and still is" if run.lowest[-1] < 0 else "and no longer is"
        parts.append(
            f"the {name} is indefinite {since}, by {-run.lowest[k]:.2g} at most (t = {run.ts[k]:.3g}), "
            f"{last} at t = {run.ts[-1]:g}"
        )
    return (
        "One linear neuron, Gaussian views, InfoNCE with many negatives, dw/dt = OP w; "
        f"{described(found.parameters)}. Top: lowest eigenvalue of OP = (2/τ)[Σd − κ(s) Σs w wᵀΣs/s], s = wᵀΣs w. "
        "Bottom: κ(s) Σ q_i/r_i − 1, q_i the share of mode i in s: OP is positive semidefinite exactly where this is "
        f"not positive (R112). Of the two runs, {'; '.join(parts)} (shaded). Theorem 4 of the source has it "
        "semidefinite over the entire training, up to a remainder; without augmentation it is (R110)."
    )


COVARIANCE_OPERATOR = Page(
    "covariance-operator",
    "When the covariance operator of InfoNCE is indefinite (R112)",
    compute_covariance_operator,
    figure_covariance_operator,
    caption_covariance_operator,
)
