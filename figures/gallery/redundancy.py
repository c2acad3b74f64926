"""Pages `vicreg-spectrum` and `barlow-plateaus`: how VICReg fills its spectrum, and how Barlow Twins goes by steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dynamics.exact.redundancy import barlow_twins_plateau
from dynamics.exact.vicreg import vicreg_rank, vicreg_spectrum
from dynamics.fields.redundancy import BarlowTwins, Vicreg, redundancy_field
from dynamics.integration.integrate import integrate
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import is_narrow, panels
from figures.panels.palette import shades
from figures.panels.stability import mark
from figures.style import DASHED, style, theme


@dataclass(frozen=True, eq=False)
class VicregSpectrum:
    """Water-filling for several weights of the covariance term, by formula and by runs.

    Parameters
    ----------
    parameters
        As given.
    ratios
        r, descending, shape (n1,).
    levels
        m/λ_i for every ν, shape (n_covariance,).
    amplitudes, runs
        g by formula, and eigenvalues of W Σs Wᵀ where runs came to rest, NaN if not, shape (n_covariance, n1).
    curve, ranks
        ν/λ_i, shape (n,), and number of modes learned.
    """

    parameters: dict[str, Any]
    ratios: np.ndarray
    levels: np.ndarray
    amplitudes: np.ndarray
    runs: np.ndarray
    curve: np.ndarray
    ranks: np.ndarray


def compute_vicreg_spectrum(
    *,
    ratios: tuple[float, ...] = (0.95, 0.9, 0.7, 0.5, 0.3, 0.1),
    dim: int = 4,
    invariance: float = 1.0,
    covariance: tuple[float, ...] = (0.05, 0.2, 1.0),
    seed: int = 0,
) -> VicregSpectrum:
    """Fill the spectrum of VICReg by formula, and run encoders to rest beside it.

    Parameters
    ----------
    ratios
        r of the modes, from 0 to 1; all have λs = 1.
    dim
        n2, number of rows.
    invariance
        λ_i > 0. The variance weight is 4λ_i, which holds every row at std = 1.
    covariance
        ν > 0, one for each panel.
    seed
        Of the start.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    parameters = dict(locals())
    if not 0 < invariance < np.inf:
        raise ValueError(f"`invariance` must be finite and > 0, got {invariance}")
    if not covariance or not all(0 < nu < np.inf for nu in covariance):
        raise ValueError(f"`covariance` must be finite and > 0, got {covariance}")
    r = np.sort(ratios)[::-1]
    system = MatrixSystem(np.ones(r.size), r)
    start = EncoderState(0.1 * np.random.default_rng(seed).standard_normal((dim, r.size)))
    filled = [vicreg_spectrum(r, dim, invariance=invariance, covariance=nu) for nu in covariance]
    runs = np.zeros((len(covariance), r.size))
    for k, nu in enumerate(covariance):
        run = integrate(
            start,
            system,
            redundancy_field(Vicreg(invariance, 4 * invariance, nu)),
            rtol=1e-6,
            atol=1e-9,
        )
        values = np.linalg.eigvalsh(run.final.online @ run.final.online.T)[::-1][: r.size]
        runs[k, : values.size] = values if run.status.value == "steady" else np.nan
    curve = np.geomspace(1e-3, 10, 400)
    return VicregSpectrum(
        parameters,
        r,
        np.array([found.level for found in filled]) / invariance,
        np.array([found.amplitudes for found in filled]),
        runs,
        curve,
        np.array([vicreg_rank(r, dim, invariance=1.0, covariance=nu) for nu in curve]),
    )


def draw_vicreg_spectrum(result: VicregSpectrum) -> Figure:
    """Ratios as bars above a water level for each ν, eigenvalues above them, and the rank over ν."""
    nus, invariance = result.parameters["covariance"], result.parameters["invariance"]
    with style():
        n = len(nus) + 1
        headline = "VICReg fills its spectrum from the largest ratio down, like water"
        figure, axes = panels(headline, n, columns=2, aspect=0.45 if is_narrow() else 0.7)
        k = np.arange(1, result.ratios.size + 1)
        for ax, nu, level, g, run in zip(
            axes, nus, result.levels, result.amplitudes, result.runs, strict=False
        ):
            above = np.maximum(result.ratios - max(level, 0.0), 0.0)
            kept = np.where(g > 0, above, 0.0)
            ax.bar(k, result.ratios, color=theme().muted, alpha=0.3, width=0.7)
            ax.bar(k, kept, bottom=result.ratios - kept, color=theme().weights["online"], width=0.7)
            ax.axhline(level, color=theme().ink, linestyle=DASHED, linewidth=1.0)
            ax.set(
                title=rf"$\nu/\lambda_i = {nu / invariance:g}$",
                xlabel="mode",
                ylabel="ratio $r$",
                ylim=(min(0.0, level) - 0.02, 1.6),
            )
            ax.set_xticks(k)
            for x, r, value, measured in zip(k, result.ratios, g, run, strict=True):
                if value > 0:
                    ax.annotate(
                        f"{value:.2f}" if is_narrow() else f"{value:.2f}\n({measured:.2f})",
                        (x, r),
                        xytext=(0, 4),
                        textcoords="offset points",
                        ha="center",
                        fontsize="small",
                    )
        last = axes[-1]
        last.step(result.curve, result.ranks, color=theme().ink, where="mid")
        learned = np.sum(result.runs > 1e-4, axis=1)
        last.plot(np.array(nus) / invariance, learned, **mark("stable"), label="runs at rest")
        last.set_xscale("log")
        last.set(xlabel=r"$\nu/\lambda_i$", ylabel="modes learned", title="rank", ylim=(0, None))
        last.set_yticks(range(int(np.max(result.ranks)) + 1))
        last.legend(loc="upper left")
    return figure


def _caption_vicreg(result: VicregSpectrum) -> str:
    worst = float(np.nanmax(np.abs(result.runs - result.amplitudes)))
    return (
        "VICReg of a linear encoder with standard deviations of 1: eigenvalues of W Σs Wᵀ are g = (λ_i r − m)₊/ν with"
        " sum n2 (R327). Bars are ratios, the dashed line is the water level m/λ_i, which may lie below zero, the"
        f" coloured part is above it; numbers are g and, in brackets, runs at rest: {described(result.parameters)}."
        f" Runs and formula differ by {worst:.1g} at most. Lower right: the number of modes learned rises with ν/λ_i."
    )


VICREG_SPECTRUM = Page(
    "vicreg-spectrum",
    "The spectrum that VICReg learns, as water-filling",
    compute_vicreg_spectrum,
    draw_vicreg_spectrum,
    _caption_vicreg,
)


@dataclass(frozen=True, eq=False)
class BarlowPlateaus:
    """Runs of Barlow Twins from a small start, for several weights of the off-diagonal terms.

    Parameters
    ----------
    parameters
        As given.
    lambda_d
        λd, descending, shape (n1,).
    ts, losses, sizes
        For every weight: times (T,), the loss (T,), and λd‖W q‖² of every mode (T, n1).
    plateaus
        c_k for every weight and k = 1, …, n2, shape (n_weights, n2).
    """

    parameters: dict[str, Any]
    lambda_d: np.ndarray
    ts: list[np.ndarray]
    losses: list[np.ndarray]
    sizes: list[np.ndarray]
    plateaus: np.ndarray


def compute_barlow_plateaus(
    *,
    lambda_d: tuple[float, ...] = (1.0, 0.3, 0.08, 0.02),
    dim: int = 4,
    off_diagonal: tuple[float, ...] = (1.0, 0.3, 0.05),
    start: float = 1e-4,
    seed: int = 0,
) -> BarlowPlateaus:
    """Run unnormalised Barlow Twins from a small random start to rest.

    Parameters
    ----------
    lambda_d
        λd > 0 of the modes.
    dim
        n2, at most the number of modes.
    off_diagonal
        λ > 0, one for each column.
    start
        Standard deviation of the weights at the start, > 0.
    seed
        Of the start.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    parameters = dict(locals())
    values = np.sort(lambda_d)[::-1]
    if not 1 <= dim <= values.size:
        raise ValueError(f"`dim` must be from 1 to {values.size}, got {dim}")
    if not 0 < start < np.inf:
        raise ValueError(f"`start` must be finite and > 0, got {start}")
    if not off_diagonal or not all(0 < weight < np.inf for weight in off_diagonal):
        raise ValueError(f"`off_diagonal` must be finite and > 0, got {off_diagonal}")
    system = MatrixSystem(np.full(values.size, 2 * values[0]), values)
    W0 = start * np.random.default_rng(seed).standard_normal((dim, values.size))
    ts, losses, sizes = [], [], []
    for weight in off_diagonal:
        loss = BarlowTwins(weight)
        run = integrate(EncoderState(W0), system, redundancy_field(loss))
        ts.append(run.ts)
        losses.append(np.array([float(loss.value(W, system)) for W in run.states.online]))
        sizes.append(np.sum(run.states.online**2, axis=1) * values)
    plateaus = [[barlow_twins_plateau(k + 1, dim, weight) for k in range(dim)] for weight in off_diagonal]
    return BarlowPlateaus(parameters, values, ts, losses, sizes, np.array(plateaus))


def draw_barlow_plateaus(result: BarlowPlateaus) -> Figure:
    """Sizes of modes above the loss, a column for each weight, with the plateaus of theory dashed."""
    weights = result.parameters["off_diagonal"]
    n = result.parameters["dim"]
    colours = shades(result.lambda_d.size)
    with style():
        figure, axes = panels(
            "Barlow Twins learns mode by mode; a small off-diagonal weight makes the steps long",
            2 * len(weights),
            columns=len(weights),
            aspect=0.36 if is_narrow() else 0.8,
        )
        grid = np.array(axes, dtype=object).reshape(2, len(weights))
        for k, weight in enumerate(weights):
            upper, lower = grid[:, k]
            shown = result.ts[k] > 0
            t = result.ts[k][shown]
            levels = result.plateaus[k]
            for j, colour in enumerate(colours):
                label = rf"$\lambda_d = {result.lambda_d[j]:g}$" if k == 0 else None
                upper.plot(t, result.sizes[k][shown, j], color=colour, label=label)
            for level in np.unique(levels.round(12)):
                upper.axhline(level, color=theme().muted, linestyle=DASHED, linewidth=0.9, zorder=0)
            lower.plot(t, result.losses[k][shown], color=theme().ink)
            for step, level in enumerate(levels, 1):
                lower.axhline(
                    n - step * level, color=theme().muted, linestyle=DASHED, linewidth=0.9, zorder=0
                )
            upper.set_title(rf"$\lambda = {weight:g}$")
            rising = np.flatnonzero(result.sizes[k][shown, 0] > 1e-3)
            for ax in (upper, lower):
                ax.set_xscale("log")
                ax.set_xlim(t[rising[0]] / 1.5, t[-1])
            lower.set_xlabel("time $t$")
        grid[0, 0].set_ylabel(r"$\lambda_d\,\|W q\|^2$")
        grid[1, 0].set_ylabel("loss")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _caption_barlow(result: BarlowPlateaus) -> str:
    return (
        "Unnormalised Barlow Twins of a linear encoder from a small random start, for several weights λ of the"
        f" off-diagonal terms: {described(result.parameters)}. Above, the part of W Σd Wᵀ along every mode; dashed, the"
        " plateaus c_k = 1/(λ + (1 − λ)k/n) of k learned modes (R325). Below, the loss, with its plateaus n − k c_k."
        " The smaller λ, the longer each plateau lasts: its next mode grows at 4 λd λ c_k."
    )


BARLOW_PLATEAUS = Page(
    "barlow-plateaus",
    "Plateaus of Barlow Twins, and how the off-diagonal weight stretches them",
    compute_barlow_plateaus,
    draw_barlow_plateaus,
    _caption_barlow,
)
