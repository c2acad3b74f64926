"""Page `raft-figure-5`: features of digits on a circle over time, for five ways of training (R335, R336)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.objectives.circle import circle_density, circle_projection, circle_uniformity, wrapped_kde
from analysis.runs.circles import supervised_and_mirrored
from dynamics.data.dataset_moments import dataset_moments
from dynamics.data.datasets import load, standardised
from dynamics.data.starts import draw_start
from dynamics.data.views import parse
from dynamics.fields.matrices import full_field, no_predictor_field
from dynamics.integration.integrate import integrate
from dynamics.system import MatrixSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import is_narrow, sheet
from figures.style import DASHED, style, theme

NAMES = ("supervised", "BYOL", "no predictor", "BYOL′", "RAFT")
_GRID = np.linspace(-np.pi, np.pi, 361)
_HEIGHT = 0.9  # of the band, radii for a density of one
_OUTER = 1.9  # where a band ends that would be higher


@dataclass(frozen=True, eq=False)
class RaftCircles:
    """Features on a circle, by the way of training and the time.

    Parameters
    ----------
    parameters
        As given.
    times
        Times, shape (T,).
    densities
        Kernel estimates on a grid of angles, shape (5, T, 361).
    spreads
        b = σ2/σ1, shape (5, T).
    pairs
        Angles of the two views of some samples, shape (5, T, n_pairs, 2).
    mirrored
        Largest difference of the features of RAFT from −W and of BYOL′ over their size, shape (T,).
    """

    parameters: dict[str, Any]
    times: np.ndarray
    densities: np.ndarray
    spreads: np.ndarray
    pairs: np.ndarray
    mirrored: np.ndarray


def compute_raft_figure_5(
    *,
    times: tuple[float, ...] = (0.0, 5.0, 20.0, 100.0),
    dim: int = 8,
    samples: int = 400,
    bandwidth: float = 0.15,
    step: float = 0.1,
    seed: int = 0,
) -> RaftCircles:
    """Train linear encoders on digits in five ways, and project clean digits to the circle at several times.

    BYOL and its flow without a predictor are integrated with exact moments. BYOL′, RAFT from −W and the supervised
    encoder take gradient steps on one draw of views, with normalised features as R25 asks, and a target that follows.

    Parameters
    ----------
    times
        Times at which features are shown, >= 0, ascending.
    dim
        n2, at least 2.
    samples
        Digits, from 20 to 1797.
    bandwidth
        Deviation of the wrapped Gaussian kernel, in radians, at least 0.01.
    step
        Step of the gradient descents, > 0, in units of time.
    seed
        Of start and views.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    parameters = dict(locals())
    at = np.array(times, dtype=float)
    if at.ndim != 1 or at.size == 0 or not np.all(np.isfinite(at) & (at >= 0)) or np.any(np.diff(at) <= 0):
        raise ValueError(f"`times` must be finite, >= 0 and ascending, got {times}")
    if not 0 < step < np.inf:
        raise ValueError(f"`step` must be finite and > 0, got {step}")
    data = load("digits")
    if not 20 <= samples <= len(data.images):
        raise ValueError(f"`samples` must be from 20 to {len(data.images)}, got {samples}")
    if dim < 2:
        raise ValueError(f"`dim` must be an integer >= 2, got {dim}")
    chain = [parse(spec, seed=seed) for spec in ("shift:1", "noise:0.3")]
    moments = dataset_moments(data, chain, seed=seed)
    start = draw_start(moments, dim, init_online=0.3, init_predictor=0.1, seed=seed)
    batches = standardised(data.images)
    images = np.concatenate(list(batches.samples))[:samples].reshape(samples, *batches.shape)
    views = []
    for k in range(2):
        rng, view = np.random.default_rng([seed, k]), images
        for augmentation in chain:
            view = augmentation.sample(rng, view)
        views.append(view)
    basis = np.eye(images[0].size) if moments.support is None else moments.support
    clean, x1, x2 = (x.reshape(samples, -1) @ basis for x in (images, *views))
    system = MatrixSystem(moments.sigma_s, moments.sigma_d)
    ts = np.unique(np.concatenate([[0.0], at]))
    shown = np.isin(ts, at)
    flows = [
        integrate(start, system, field, ts=ts).states.online[shown] if ts.size > 1 else start.online[None]
        for field in (full_field, no_predictor_field)
    ]
    labels = np.asarray(data.labels)[:samples]
    trained = supervised_and_mirrored(start, x1, x2, labels, np.round(at / step).astype(int), step)
    encoders = [trained.supervised, *flows, trained.byol_prime, trained.raft]
    densities = np.zeros((len(NAMES), at.size, _GRID.size))
    spreads = np.zeros((len(NAMES), at.size))
    kept = np.arange(0, samples, max(1, samples // 12))[:12]
    pairs = np.zeros((len(NAMES), at.size, kept.size, 2))
    for i, online in enumerate(encoders):
        for j, W in enumerate(online):
            z = clean @ W.T
            centre = z.mean(axis=0)
            angles, spreads[i, j] = circle_projection(z)
            densities[i, j] = wrapped_kde(_GRID, angles, bandwidth)
            _, _, axes = np.linalg.svd(z - centre, full_matrices=False)
            for side, x in enumerate((x1, x2)):
                plane = (x[kept] @ W.T - centre) @ axes[:2].T
                pairs[i, j, :, side] = np.arctan2(plane[:, 1], plane[:, 0])
    difference = np.max(np.abs(trained.raft - trained.byol_prime), axis=(1, 2))
    size = np.max(np.abs(trained.byol_prime), axis=(1, 2))
    return RaftCircles(parameters, at, densities, spreads, pairs, difference / size)


def draw_raft_figure_5(result: RaftCircles) -> Figure:
    """A row for each time and a column for each way of training: the band's width is the density."""
    n_times = result.times.size
    with style():
        headline = "Features of digits on a circle: only without a predictor do they fall on a line"
        figure = sheet(headline, (1.3 if is_narrow() else 1.75) * n_times + 0.3)
        grid = figure.subplots(n_times, len(NAMES), squeeze=False)
        for j, row in enumerate(grid):
            for i, ax in enumerate(row):
                _draw_circle(ax, result, i, j)
                if j == 0:
                    ax.set_title(NAMES[i], loc="center")
                if i == 0:
                    place: dict[str, Any] = {
                        "transform": ax.transAxes,
                        "ha": "right",
                        "va": "center",
                        "rotation": 90,
                    }
                    ax.text(-0.02, 0.5, f"$t = {result.times[j]:g}$", **place)
    return figure


def _draw_circle(ax: Any, result: RaftCircles, i: int, j: int) -> None:
    density, b = result.densities[i, j], float(result.spreads[i, j])
    radius = np.minimum(1 + _HEIGHT * density, _OUTER)
    band = np.concatenate([radius, np.ones_like(radius)])
    angles = np.concatenate([_GRID, _GRID[::-1]])
    ax.fill(
        band * np.cos(angles), band * np.sin(angles), color=theme().weights["online"], alpha=0.35, linewidth=0
    )
    if b > 0.02:  # else the law is narrower than the kernel
        law = np.minimum(1 + _HEIGHT * circle_density(_GRID, b), _OUTER)
        ax.plot(law * np.cos(_GRID), law * np.sin(_GRID), color=theme().ink, linestyle=DASHED, linewidth=0.8)
    for pair in result.pairs[i, j]:
        joined: dict[str, Any] = {"linewidth": 0.7, "marker": "o", "markersize": 1.8}
        ax.plot(0.92 * np.cos(pair), 0.92 * np.sin(pair), color=theme().weights["predictor"], **joined)
    text = f"$b$ = {b:.3f}\n$u$ = {float(circle_uniformity(b)):.3f}"
    if NAMES[i] == "RAFT":
        text += f", |Δ| = {result.mirrored[j]:.0e}"
        other = np.minimum(1 + _HEIGHT * result.densities[NAMES.index("BYOL′"), j], _OUTER)
        ax.plot(other * np.cos(_GRID), other * np.sin(_GRID), color=theme().weights["target"], linewidth=0.9)
    ax.text(0, -1.65, text, ha="center", va="top", fontsize="x-small")
    ax.set(xlim=(-2.0, 2.0), ylim=(-2.5, 1.6), aspect="equal")
    ax.axis("off")


def _caption(result: RaftCircles) -> str:
    row = NAMES.index("no predictor")
    return (
        "Features of clean digits under linear encoders, projected to the plane of their two leading principal axes at"
        " each time and normalised: the band's width is a wrapped Gaussian kernel estimate, dashed is the law of"
        " elliptical features with the b = σ2/σ1 below, where u is the uniformity of that law (R335). Joined dots are"
        f" two views of one digit: {described(result.parameters)}. BYOL and its flow without a predictor follow exact"
        " moments; the others take gradient steps with normalised features. RAFT starts at −W of BYOL′ and is the same"
        f" run (R25): its column has the outline of BYOL′ over it, and |Δ| is the largest difference of their encoders."
        f" Without a predictor b falls to {result.spreads[row, -1]:.1g}, two antipodal points with uniformity −0.693"
        " (R336), not one point. RAFT gives no kernel, bandwidth, times or basis for its figure (E37): these are ours."
    )


RAFT_FIGURE_5 = Page(
    "raft-figure-5",
    "Features on a circle over time, for five ways of training",
    compute_raft_figure_5,
    draw_raft_figure_5,
    _caption,
)
