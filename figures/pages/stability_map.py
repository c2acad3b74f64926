"""Page `stability-map`: which decoupled fixed points are stable, over amplitude and ratio (R9, R10)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from analysis.pair_spectrum import pair_eigenvalues
from dynamics.system import ModeSystem
from figures.pages.layout import is_narrow, panels
from figures.panels import maps
from figures.registry import Page
from figures.style import style

_LIMIT = 0.3  # of the colours


@dataclass(frozen=True, eq=False)
class StabilityMap:
    """Leading eigenvalue of the pair (i, j), over what decides it.

    Parameters
    ----------
    lambda_s, predictor, tau_online, tau_predictor, tau_target
        λs of all modes; p of row i in the map of selected modes; time constants.
    ratios
        r_j, shape (R,): the vertical axis of both maps.
    amplitudes, selected
        w_j of the row that holds mode j, shape (A,), and the larger real part of the pair's eigenvalues (R, A).
    border, balanced
        w_j at which R10 has the sign change, and w_j of balanced points, shape (R,); NaN for none.
    predictors, unselected
        p of row i, shape (B,), and the larger real part towards a mode that no row holds, shape (R, B).
    """

    lambda_s: float
    predictor: float
    tau_online: float
    tau_predictor: float
    tau_target: float
    ratios: np.ndarray
    amplitudes: np.ndarray
    selected: np.ndarray
    border: np.ndarray
    balanced: np.ndarray
    predictors: np.ndarray
    unselected: np.ndarray


def compute_stability_map(
    *,
    lambda_s: float = 1.0,
    predictor: float = 0.4,
    tau_online: float = 1.0,
    tau_predictor: float = 1.0,
    tau_target: float = 1.0,
    resolution: int = 241,
) -> StabilityMap:
    """Evaluate the eigenvalues of R9's blocks over amplitude and ratio.

    Parameters
    ----------
    lambda_s
        λs of all modes, > 0.
    predictor
        p = r_i of the row whose stability is looked at, in (0, 1).
    tau_online, tau_predictor, tau_target
        τo, τp, τt > 0.
    resolution
        Points along each axis, >= 2.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    for name, value in (("lambda_s", lambda_s), ("predictor", predictor)):
        if not 0 < value < (np.inf if name == "lambda_s" else 1):
            raise ValueError(f"`{name}` must be > 0{' and < 1' * (name == 'predictor')}, got {value}")
    if resolution < 2:
        raise ValueError(f"`resolution` must be an integer >= 2, got {resolution}")
    ratios = np.linspace(0.0, 1.0, resolution)
    system = ModeSystem(
        np.full(resolution, lambda_s),
        lambda_s * ratios,
        tau_online=tau_online,
        tau_predictor=tau_predictor,
        tau_target=tau_target,
    )
    balance = np.sqrt(tau_predictor / tau_online)
    amplitudes = np.linspace(0.0, 1.2 * balance, resolution)
    predictors = np.linspace(-0.5, 1.2, resolution)
    above = np.where(ratios >= predictor, ratios - predictor, np.nan)
    return StabilityMap(
        lambda_s=lambda_s,
        predictor=predictor,
        tau_online=tau_online,
        tau_predictor=tau_predictor,
        tau_target=tau_target,
        ratios=ratios,
        amplitudes=amplitudes,
        selected=pair_eigenvalues(predictor, amplitudes[:, None], system)[..., 0].real.T,
        border=balance * np.sqrt(predictor * above),
        balanced=balance * ratios,
        predictors=predictors,
        unselected=pair_eigenvalues(predictors[:, None], 0.0, system)[..., 0].real.T,
    )


def figure_stability_map(found: StabilityMap) -> Figure:
    """Leading eigenvalue over (w_j, r_j) for selected modes and over (p_i, r_j) for others."""
    with style():
        return _figure(found)


def _figure(found: StabilityMap) -> Figure:
    headline = "A row gives way to a stronger mode only where that mode is held weakly"
    figure, (left, right) = panels(headline, 2, columns=2, aspect=0.8)
    maps.draw_leading_eigenvalue(left, found.amplitudes, found.ratios, found.selected, _LIMIT)
    maps.draw_border(left, found.border, found.ratios)
    maps.draw_guide(left, found.balanced, found.ratios)
    left.set_title("Mode $j$ held by another row")
    left.set_xlabel("its amplitude $w_j$")
    left.set_ylabel("its ratio $r_j$")
    maps.draw_leading_eigenvalue(right, found.predictors, found.ratios, found.unselected, _LIMIT)
    held = found.ratios
    maps.draw_border(right, np.concatenate([np.zeros_like(held), held]), np.concatenate([held[::-1], held]))
    right.set_title("Mode $j$ held by no row")
    right.set_xlabel("predictor $p_i$ of row $i$")
    figure.colorbar(left.images[0], ax=[left, right], label="leading eigenvalue")
    return figure


STABILITY_MAP = Page("stability-map", "x", compute_stability_map, figure_stability_map, lambda s: "")
