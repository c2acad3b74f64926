"""Pages `batch-norm-spectrum` and `table-4`: what batch normalisation changes of stability, and what each part does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.experiments.normalisation import LAMBDA_S, MEAN, N2, RATIOS, ROWS, T_END, Features, features_of
from analysis.normalisation.stability import normalised_blocks
from analysis.stability.spectrum import stability
from dynamics.fields.batch_normalised import batch_normalised_field
from dynamics.fields.matrices import full_field, no_predictor_field
from dynamics.integration.integrate import integrate
from dynamics.normalisation import Normaliser
from dynamics.states import MatrixState, random_state
from dynamics.system import MatrixSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import is_narrow, panels
from figures.panels.palette import CATEGORIES
from figures.style import DASHED, style, theme

_FORCED = 1e-9  # of the largest rate: what a family of fixed points forces to be zero


# --- batch-norm-spectrum ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class NormalisedSpectra:
    """Largest growth rate of fixed points with two rows on two modes, with and without normalised features.

    Parameters
    ----------
    parameters
        As given.
    selections
        Modes of rows 1 and 2, counted from 0.
    norms
        ‖w_1‖, shape (n,); row 2 has length one.
    without, normalised
        Largest real part of an eigenvalue that is not forced to be zero, shape (n_selections, n).
    """

    parameters: dict[str, Any]
    selections: tuple[tuple[int, int], ...]
    norms: np.ndarray
    without: np.ndarray
    normalised: np.ndarray


def compute_batch_norm_spectrum(
    *,
    lambda_s: float = 1.0,
    ratio: tuple[float, float, float] = (0.9, 0.5, 0.2),
    tau_predictor: float = 1.0,
    tau_target: float = 1.0,
    norm: tuple[float, float] = (0.05, 5.0),
    n_norms: int = 121,
) -> NormalisedSpectra:
    """Find the growth rates at fixed points whose rows hold two of three modes, over the length of one row.

    Parameters
    ----------
    lambda_s
        λs > 0 of all modes.
    ratio
        Three ratios r, descending, within 0 and 1.
    tau_predictor, tau_target
        τp, τt > 0.
    norm
        Shortest and longest ‖w_1‖, > 0.
    n_norms
        Number of lengths, >= 2.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    parameters = dict(locals())
    r = np.array(ratio, dtype=float)
    if r.shape != (3,) or not np.all((r > 0) & (r < 1)) or np.any(np.diff(r) >= 0):
        raise ValueError(f"`ratio` must be three descending numbers within 0 and 1, got {ratio}")
    if not (np.isfinite(lambda_s) and lambda_s > 0):
        raise ValueError(f"`lambda_s` must be finite and > 0, got {lambda_s}")
    if not 0 < norm[0] < norm[1] < np.inf:
        raise ValueError(f"`norm` must be two numbers > 0, the shorter first, got {norm}")
    if n_norms < 2:
        raise ValueError(f"`n_norms` must be an integer >= 2, got {n_norms}")
    system = MatrixSystem(
        np.full(3, lambda_s), lambda_s * r, tau_predictor=tau_predictor, tau_target=tau_target
    )
    selections = ((0, 1), (1, 0), (0, 2))
    norms = np.geomspace(*norm, n_norms)
    found = np.empty((2, len(selections), n_norms))
    for k, selection in enumerate(selections):
        for at, length in enumerate(norms):
            W = np.zeros((2, 3))
            W[[0, 1], selection] = length, 1.0
            point = MatrixState(W, np.diag(r[list(selection)]), W)
            found[0, k, at] = _growth(stability(point, system).eigenvalues)
            blocks = normalised_blocks(selection, (length, 1.0), system)
            found[1, k, at] = _growth(np.concatenate([np.linalg.eigvals(block.matrix) for block in blocks]))
    return NormalisedSpectra(parameters, selections, norms, found[0], found[1])


def _growth(eigenvalues: np.ndarray) -> float:
    """Largest real part but for forced zeros."""
    kept = eigenvalues[np.abs(eigenvalues) > _FORCED * np.max(np.abs(eigenvalues))]
    return float(np.max(kept.real))


def draw_batch_norm_spectrum(result: NormalisedSpectra) -> Figure:
    """Growth rates over the length of a row, without normalisation and with it."""
    with style():
        headline = "Only top modes are stable where features are normalised, in any order if rows are long"
        figure, axes = panels(headline, 2, columns=2)
        for ax, rates, title in (
            (axes[0], result.without, "no normalisation"),
            (axes[1], result.normalised, "normalised by mean and deviation"),
        ):
            for colour, selection, path in zip(CATEGORIES, result.selections, rates, strict=False):
                ax.plot(result.norms, path, color=colour, label=_selected(selection))
            ax.axhline(0, color=theme().muted, linestyle=DASHED, linewidth=1.0, zorder=0)
            ax.set_xscale("log")
            ax.set_yscale("symlog", linthresh=0.1)
            ax.set(xlabel=r"length $\|w_1\|$ of row 1", ylabel="largest growth rate", title=title)
        legend_below(figure, axes[0].get_lines()[: len(result.selections)])
    return figure


def _selected(selection: tuple[int, int]) -> str:
    return f"rows 1, 2 on modes {selection[0] + 1}, {selection[1] + 1}"


def _caption_spectrum(result: NormalisedSpectra) -> str:
    exchanged = result.norms[result.normalised[1] < 0]
    least = f"{exchanged[0]:.3g}" if exchanged.size else "none of these"
    return (
        "Fixed points with two rows on two of three modes, row 2 of length one:"
        f" {described(result.parameters)}. Largest real part of the eigenvalues that no family of fixed points forces"
        " to be zero; below the dashed line the point is stable. Without normalisation the length of a row decides (R9,"
        " R10); with it a mode of larger ratio that no row holds always destabilises, and rows that hold the top modes"
        f" in the wrong order are stable from ‖w_1‖ = {least} on (R220)."
    )


BATCH_NORM_SPECTRUM = Page(
    "batch-norm-spectrum",
    "Stability of fixed points with and without batch normalisation",
    compute_batch_norm_spectrum,
    draw_batch_norm_spectrum,
    _caption_spectrum,
)
"""Growth rates over the length of a row."""


# --- table-4 ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LinearTable:
    """What flows of linear networks learn, for every part of batch normalisation.

    Parameters
    ----------
    parameters
        As given.
    names
        Rows of the table.
    features
        Of every row, shape (n_rows, n_starts) each; see `analysis.experiments.normalisation.Features`.
    """

    parameters: dict[str, Any]
    names: tuple[str, ...]
    features: Features


def compute_table_4(
    *,
    init_online: float = 0.5,
    init_predictor: float = 0.3,
    tau_target: float = 1.0,
    n_starts: int = 8,
    seed: int = 0,
) -> LinearTable:
    """Follow the flow of every row of the table, from the same random starts.

    Parameters
    ----------
    init_online, init_predictor
        Standard deviation of the entries of W = Θ and P at the start.
    tau_target
        τt > 0.
    n_starts
        Number of starts, >= 1.
    seed
        Seed of the first; the others follow.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    parameters = dict(locals())
    if n_starts < 1:
        raise ValueError(f"`n_starts` must be an integer >= 1, got {n_starts}")
    if not init_online > 0:
        raise ValueError(f"`init_online` must be > 0, got {init_online}")
    s, mu = np.array(LAMBDA_S), np.array(MEAN)
    outer = np.outer(mu, mu)
    system = MatrixSystem(np.diag(s) + outer, np.diag(s * RATIOS) + outer, tau_target=tau_target)
    found = []
    for row in ROWS:
        mean, std = row.projector.split("/")
        base = full_field if row.predictor else no_predictor_field
        normaliser = Normaliser(mean=mean, std=std)
        centred = row.target_centred and normaliser.subtracts
        flow = batch_normalised_field(normaliser, mu, base=base, target_centred=centred)
        encoders = []
        for k in range(n_starts):
            sizes = {"scale_online": init_online, "scale_predictor": init_predictor}
            start = random_state(system.n1, N2, **sizes, seed=seed + k)
            run = integrate(start, system, flow, T_END, rtol=1e-6, atol=1e-8, max_steps=300)
            encoders.append(run.final.online)
        found.append(features_of(np.stack(encoders)))
    stacked = Features(*(np.stack(part) for part in zip(*found, strict=True)))
    return LinearTable(parameters, tuple(row.name for row in ROWS), stacked)


def draw_table_4(result: LinearTable) -> Figure:
    """Overlap with the top modes, effective rank and share of the mean, row by row."""
    with style():
        headline = "Mean subtraction decides what is learned; the deviation only keeps rows alive"
        figure, axes = panels(headline, 3, columns=3, aspect=0.75 if is_narrow() else 1.25)
        places = np.arange(len(result.names))[::-1]
        shown = (
            ("overlap", "overlap with the top modes", (0.0, 1.05)),
            ("rank", "effective rank", (0.0, N2 + 0.2)),
            ("share", "share of the mean in power", (0.0, 1.05)),
        )
        for k, (ax, (part, title, limits)) in enumerate(zip(axes, shown, strict=True)):
            values = getattr(result.features, part)
            ax.plot(
                values,
                np.broadcast_to(places[:, None], values.shape),
                "o",
                color=theme().muted,
                markersize=3.5,
            )
            dead = np.all(np.isnan(values), axis=1)
            means = np.array(
                [np.nan if gone else np.nanmean(row) for gone, row in zip(dead, values, strict=True)]
            )
            ax.plot(means, places, "|", color=theme().ink, markersize=12, markeredgewidth=2)
            for place in places[dead]:
                ax.annotate(
                    "collapsed", (limits[0], place), xytext=(4, 0), textcoords="offset points", va="center"
                )
            ax.set_xlim(*limits)
            ax.set_ylim(-0.7, len(places) - 0.3)
            ax.set_yticks(places, result.names if k == 0 or is_narrow() else [""] * len(places))
            ax.set_xlabel(title)
    return figure


def _caption_table(result: LinearTable) -> str:
    means = {
        name: np.mean(values) for name, values in zip(result.names, result.features.overlap, strict=True)
    }
    return (
        "Table 4 of DD with linear networks (R222), batch normalisation before the predictor: mean μ and deviation σ in"
        f" the graph of gradients, or detached, μ̂ and σ̂; – for none. {len(LAMBDA_S)} inputs, {N2} rows, flows of large"
        f" batches until t = {T_END:g}: {described(result.parameters)}. Dots are starts, bars their means. Overlap with"
        f" the top modes of D S⁻¹ is {means['–/–']:.3g} without normalisation, {means['μ/–']:.3g} with the mean"
        f" subtracted, and {means['–/σ']:.3g} with the deviation alone. A detached mean with a raw"
        " target runs away along the mean (R216), and is followed for 300 steps; without a predictor all rows turn to"
        " one mode (R219), or collapse (R215)."
    )


TABLE_4 = Page(
    "table-4",
    "Batch normalisation taken apart, in linear networks",
    compute_table_4,
    draw_table_4,
    _caption_table,
)
"""Flows of every row."""
