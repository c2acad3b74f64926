"""Page `compare-objectives`: which modes each objective learns from the same moments, in what order, how large."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.contrastive.infonce_points import encoder_modes
from analysis.runs.encoders import simulate_encoder
from analysis.runs.infonce import simulate_saturating
from analysis.runs.redundancy import simulate_redundancy
from dynamics.data.dataset_moments import dataset_moments
from dynamics.data.datasets import load
from dynamics.data.views import parse
from dynamics.fields.infonce import SaturatingLoss
from dynamics.fields.matrices import full_field
from dynamics.fields.redundancy import BarlowTwins, SpectralContrastive, Vicreg, Whitened
from dynamics.integration.integrate import integrate
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import is_narrow, sheet
from figures.panels.palette import shades
from figures.style import style, theme

_SHOWN = 6  # modes with a colour of their own


@dataclass(frozen=True, eq=False)
class ComparedObjectives:
    """One start under several objectives on the same moments.

    Parameters
    ----------
    parameters
        As given.
    ratios
        r of the modes of M, descending, shape (n1,).
    names
        Of the objectives.
    ts, shares
        For each: times (T,), and the part of tr W Σs Wᵀ along every mode (T, n1).
    amplitudes
        Part of tr W Σs Wᵀ along every mode at the end, shape (n_objectives, n1); infinite where it grows for ever.
    statuses
        How each run ended.
    """

    parameters: dict[str, Any]
    ratios: np.ndarray
    names: list[str]
    ts: list[np.ndarray]
    shares: list[np.ndarray]
    amplitudes: np.ndarray
    statuses: list[str]


def compute_compare_objectives(
    *,
    source: str = "digits",
    augment: tuple[str, ...] = ("shift:1", "noise:0.3"),
    components: int = 10,
    dim: int = 3,
    start: float = 0.02,
    seed: int = 0,
) -> ComparedObjectives:
    """Run BYOL, InfoNCE, the simple loss, Barlow Twins, VICReg, spectral and whitened losses from one small start.

    Parameters
    ----------
    source, augment
        Samples, and the chain of augmentations that makes a view.
    components
        Principal components of Σs that are kept, at least 2.
    dim
        n2, number of rows.
    start
        Size of W at the start, > 0, W ~ N(0, start²/n1); BYOL starts with Θ = W and a predictor of a tenth of it,
        as R6 asks of an encoder that is to learn.
    seed
        Of the start.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    parameters = dict(locals())
    moments = dataset_moments(load(source), [parse(spec, seed=seed) for spec in augment], seed=seed)
    if not 2 <= components <= moments.n1:
        raise ValueError(f"`components` must be from 2 to {moments.n1}, got {components}")
    if not 0 < start < np.inf:
        raise ValueError(f"`start` must be finite and > 0, got {start}")
    basis = np.linalg.eigh(moments.sigma_s)[1][:, ::-1][:, :components]
    s, d = (basis.T @ sigma @ basis for sigma in (moments.sigma_s, moments.sigma_d))
    system = MatrixSystem((s + s.T) / 2, (d + d.T) / 2)
    modes = encoder_modes(system)
    rng = np.random.default_rng(seed)
    W = start / np.sqrt(components) * rng.standard_normal((dim, components))
    P = start / 10 * rng.standard_normal((dim, dim))
    encoder = EncoderState(W)
    runs: dict[str, Callable[[], Any]] = {
        "BYOL": lambda: integrate(system.state(W, P, W), system, full_field),
        "InfoNCE": lambda: simulate_saturating(encoder, system, SaturatingLoss()).trajectory,
        "simple": lambda: simulate_encoder(encoder, system).trajectory,
        "Barlow Twins": lambda: simulate_redundancy(encoder, system, BarlowTwins(1.0)).trajectory,
        "VICReg": lambda: simulate_redundancy(encoder, system, Vicreg(1.0, 4.0, 0.1)).trajectory,
        "spectral": lambda: simulate_redundancy(encoder, system, SpectralContrastive()).trajectory,
        "whitened": lambda: simulate_redundancy(encoder, system, Whitened()).trajectory,
    }
    ts, shares, ends, statuses = [], [], [], []
    for run in (make() for make in runs.values()):
        online = run.states.online
        scale = np.max(np.abs(online), axis=(1, 2), keepdims=True)
        along = np.sum((online / scale @ system.sigma_s @ modes.directions) ** 2, axis=1)
        total = np.sum(along, axis=1, keepdims=True)
        ts.append(run.ts)
        shares.append(along / total)
        statuses.append(run.status.value)
        grown = np.inf if run.status.value == "unbounded" else scale[-1, 0, 0] ** 2
        ends.append(np.where(along[-1] > 1e-6 * total[-1], along[-1] * grown, 0.0))
    return ComparedObjectives(parameters, modes.ratios, list(runs), ts, shares, np.array(ends), statuses)


def draw_compare_objectives(result: ComparedObjectives) -> Figure:
    """Shares of the output variance over time, a panel for each objective, and a table of what each has at the end."""
    shown = min(_SHOWN, result.ratios.size)
    colours = shades(shown)
    with style():
        narrow = is_narrow()
        figure = sheet(
            "Seven objectives on the same moments: which modes, in which order, how large",
            8.6 if narrow else 5.4,
        )
        grid = figure.add_gridspec(4, 2) if narrow else figure.add_gridspec(2, 4)
        cells = [grid[k // grid.ncols, k % grid.ncols] for k in range(8)]
        for cell, name, t, share in zip(cells, result.names, result.ts, result.shares, strict=False):
            ax = figure.add_subplot(cell)
            for k, colour in reversed(list(enumerate(colours))):
                ax.plot(t[1:], share[1:, k], color=colour, label=f"{result.ratios[k]:.2f}")
            moved = np.max(np.abs(share - share[-1]), axis=1)
            settled = t[min(np.flatnonzero(moved > 1e-3)[-1] + 1, len(t) - 1)]
            started = np.flatnonzero(np.max(np.abs(share - share[0]), axis=1) > 0.02)[0]
            ax.set_xscale("log")
            ax.set(xlim=(t[max(started, 1)] / 2, settled * 1.5), ylim=(0, 1), title=name)
            if not narrow or cell.rowspan.start == 3:
                ax.set_xlabel("time $t$")
            if cell.colspan.start == 0:
                ax.set_ylabel(r"share of tr $W \Sigma_s W^T$")
            if name == result.names[0]:
                handles, labels = ax.get_legend_handles_labels()
        table = figure.add_subplot(cells[7])
        _draw_table(table, result, shown)
        figure.legend(
            handles[::-1],
            labels[::-1],
            title="ratio $r$ of the mode",
            loc="outside lower center",
            ncols=shown // 2 if narrow else shown,
        )
    return figure


def _draw_table(ax: Any, result: ComparedObjectives, shown: int) -> None:
    """Amplitudes at the end, a row for each objective and a column for each mode, shaded by share."""
    shares = np.array([share[-1, :shown] for share in result.shares])
    ax.imshow(shares, cmap="Greys", vmin=0, vmax=1.6, aspect="auto")
    for i, row in enumerate(result.amplitudes[:, :shown]):
        for j, value in enumerate(row):
            text = "∞" if np.isinf(value) else f"{value:.2g}" if value > 5e-3 else "·"
            ax.text(j, i, text, ha="center", va="center", fontsize="x-small", color=theme().ink)
    ax.set_yticks(range(len(result.names)), result.names, fontsize="x-small")
    ax.set_xticks(
        range(shown), [f"{r:.2g}" for r in result.ratios[:shown]], fontsize=4.5 if is_narrow() else "x-small"
    )
    ax.set(title="size at the end", xlabel="ratio $r$")
    ax.grid(False)


def _caption(result: ComparedObjectives) -> str:
    ended = ", ".join(f"{name} {status}" for name, status in zip(result.names, result.statuses, strict=True))
    return (
        "One small start under seven objectives on the same moments, of digits with random shifts and noise on their"
        f" leading principal components: {described(result.parameters)}. Colours are the modes of M = Σd Σs⁻¹ by"
        " their ratio r. BYOL, InfoNCE, spectral contrastive and whitened outputs end on the modes of the largest r,"
        " each with sizes of its own; VICReg fills a spectrum that may leave rows to share modes (R327, here λ_i = 1,"
        " μ = 4, ν = 0.1); Barlow Twins (λ = 1) goes by λd, the modes of Σd, which are mixtures here (R325); the"
        f" simple loss turns to one direction and grows for ever (R113). Ends: {ended}. Clocks differ."
    )


COMPARE_OBJECTIVES = Page(
    "compare-objectives",
    "Seven objectives on the same moments: which modes, in which order, how large",
    compute_compare_objectives,
    draw_compare_objectives,
    _caption,
)
